// SPDX-License-Identifier: GPL-2.0-only
/*
 * wxpool: contexts, and what their users may hold
 */
#include <linux/cred.h>
#include <linux/mount.h>
#include <linux/pseudo_fs.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "internal.h"

#define WXP_FS_MAGIC	0x57585021	/* "WXP!" */

unsigned long wxp_max_context_pages;
unsigned long wxp_max_user_pages;

/* The users with an open context, by uid; guarded by wxp_users_lock. */
static DEFINE_XARRAY(wxp_users);
static DEFINE_MUTEX(wxp_users_lock);

static struct wxp_user *wxp_user_new(kuid_t uid)
{
	struct wxp_user *user;
	int err;

	lockdep_assert_held(&wxp_users_lock);
	user = kzalloc(sizeof(*user), GFP_KERNEL_ACCOUNT);
	if (!user)
		return NULL;
	user->uid = uid;
	err = xa_err(xa_store(&wxp_users, __kuid_val(uid), user, GFP_KERNEL));
	if (err) {
		kfree(user);
		return NULL;
	}
	return user;
}

static struct wxp_user *wxp_user_get(kuid_t uid)
{
	struct wxp_user *user;

	mutex_lock(&wxp_users_lock);
	user = xa_load(&wxp_users, __kuid_val(uid));
	if (!user)
		user = wxp_user_new(uid);
	if (user)
		user->refs++;
	mutex_unlock(&wxp_users_lock);
	return user;
}

static void wxp_user_put(struct wxp_user *user)
{
	mutex_lock(&wxp_users_lock);
	if (!--user->refs) {
		xa_erase(&wxp_users, __kuid_val(user->uid));
		kfree(user);
	}
	mutex_unlock(&wxp_users_lock);
}

/* Never over @max, not even for an instant: others would see it. */
static bool wxp_add_below(atomic_long_t *counter, unsigned long n,
			  unsigned long max)
{
	long old = atomic_long_read(counter);

	do {
		if (n > max || old > max - n)
			return false;
	} while (!atomic_long_try_cmpxchg(counter, &old, old + n));
	return true;
}

/**
 * wxp_charge() - count pages towards the limits of a context and its user
 * @ctx: the context
 * @nr_pages: how many
 *
 * Return: 0 or -ENOSPC.
 */
int wxp_charge(struct wxp_ctx *ctx, unsigned long nr_pages)
{
	if (!wxp_add_below(&ctx->pages, nr_pages,
			   READ_ONCE(wxp_max_context_pages)))
		return -ENOSPC;
	if (!wxp_add_below(&ctx->user->pages, nr_pages,
			   READ_ONCE(wxp_max_user_pages))) {
		atomic_long_sub(nr_pages, &ctx->pages);
		return -ENOSPC;
	}
	return 0;
}

void wxp_uncharge(struct wxp_ctx *ctx, unsigned long nr_pages)
{
	atomic_long_sub(nr_pages, &ctx->user->pages);
	atomic_long_sub(nr_pages, &ctx->pages);
}

/*
 * All opens of the device node share its inode, but each context needs a
 * mapping of its own for its views to be found in. The file stays the node's,
 * so that noexec and security modules judge views by the node.
 */
static int wxp_init_fs_context(struct fs_context *fc)
{
	return init_pseudo(fc, WXP_FS_MAGIC) ? 0 : -ENOMEM;
}

static struct file_system_type wxp_fs_type = {
	.name = "wxpool",
	.owner = THIS_MODULE,
	.init_fs_context = wxp_init_fs_context,
	.kill_sb = kill_anon_super,
};

static struct vfsmount *wxp_fs_mnt;
static int wxp_fs_count;

static struct inode *wxp_inode_new(void)
{
	struct inode *inode;
	int err;

	err = simple_pin_fs(&wxp_fs_type, &wxp_fs_mnt, &wxp_fs_count);
	if (err)
		return ERR_PTR(err);
	inode = alloc_anon_inode(wxp_fs_mnt->mnt_sb);
	if (IS_ERR(inode))
		simple_release_fs(&wxp_fs_mnt, &wxp_fs_count);
	else
		i_size_write(inode, WXP_SPACE);
	return inode;
}

static void wxp_inode_free(struct inode *inode)
{
	iput(inode);
	simple_release_fs(&wxp_fs_mnt, &wxp_fs_count);
}

static struct wxp_ctx *wxp_ctx_new(void)
{
	struct wxp_ctx *ctx;

	ctx = kzalloc(sizeof(*ctx), GFP_KERNEL_ACCOUNT);
	if (!ctx)
		return NULL;
	init_rwsem(&ctx->lock);
	mt_init(&ctx->regions);
	xa_init_flags(&ctx->pools, XA_FLAGS_ACCOUNT);
	INIT_LIST_HEAD(&ctx->packed);
	INIT_LIST_HEAD(&ctx->kept);
	mmgrab(current->mm);
	ctx->owner = current->mm;
	return ctx;
}

static void wxp_ctx_free(struct wxp_ctx *ctx)
{
	mmdrop(ctx->owner);
	kfree(ctx);
}

int wxp_open(struct inode *inode, struct file *file)
{
	struct wxp_ctx *ctx;
	int err;

	if (!current->mm)
		return -EXDEV;
	ctx = wxp_ctx_new();
	if (!ctx)
		return -ENOMEM;
	ctx->user = wxp_user_get(current_uid());
	if (!ctx->user) {
		err = -ENOMEM;
		goto err_ctx;
	}
	ctx->inode = wxp_inode_new();
	if (IS_ERR(ctx->inode)) {
		err = PTR_ERR(ctx->inode);
		goto err_user;
	}
	file->f_mapping = ctx->inode->i_mapping;
	file->private_data = ctx;
	return nonseekable_open(inode, file);

err_user:
	wxp_user_put(ctx->user);
err_ctx:
	wxp_ctx_free(ctx);
	return err;
}

/* No view is left, so no fault comes and no lock is needed. */
int wxp_release(struct inode *inode, struct file *file)
{
	struct wxp_ctx *ctx = file->private_data;
	struct wxp_pool *pool;
	unsigned long id;

	mtree_destroy(&ctx->regions);
	xa_for_each(&ctx->pools, id, pool) {
		wxp_free_regions(ctx, &pool->regions);
		wxp_pool_destroy(pool);
	}
	xa_destroy(&ctx->pools);
	wxp_free_regions(ctx, &ctx->packed);
	wxp_free_regions(ctx, &ctx->kept);
	wxp_free_spare(ctx);
	wxp_inode_free(ctx->inode);
	wxp_user_put(ctx->user);
	wxp_ctx_free(ctx);
	return 0;
}

int wxp_ioc_freeze(struct file *file, void *argp)
{
	struct wxp_ctx *ctx = file->private_data;
	struct wxpool_freeze *arg = argp;

	if (arg->flags)
		return -EINVAL;
	if (down_write_killable(&ctx->lock))
		return -EINTR;
	ctx->frozen = true;
	up_write(&ctx->lock);
	return 0;
}
