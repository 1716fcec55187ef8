// SPDX-License-Identifier: GPL-2.0-only
/*
 * wxpool: contexts, from open to release, and what they say of themselves
 */
#include <linux/mount.h>
#include <linux/pseudo_fs.h>
#include <linux/rhashtable.h>
#include <linux/sched/mm.h>
#include <linux/seq_file.h>

#include "internal.h"

#define WXPOOL_FS_MAGIC	0x57585021	/* "WXP!" */

/*
 * All opens of the node share its inode, but each context needs a mapping of its own for its views.
 * The file stays the node's, so that noexec and security modules judge views by the node.
 */
static int wxpool_init_fs_context(struct fs_context *fc)
{
	return init_pseudo(fc, WXPOOL_FS_MAGIC) ? 0 : -ENOMEM;
}

static struct file_system_type wxpool_fs_type = {
	.name = "wxpool",
	.owner = THIS_MODULE,
	.init_fs_context = wxpool_init_fs_context,
	.kill_sb = kill_anon_super,
};

static struct vfsmount *wxpool_fs_mnt;
static int wxpool_fs_count;

static struct inode *wxpool_inode_new(void)
{
	struct inode *inode;
	int err;

	err = simple_pin_fs(&wxpool_fs_type, &wxpool_fs_mnt, &wxpool_fs_count);
	if (err)
		return ERR_PTR(err);
	inode = alloc_anon_inode(wxpool_fs_mnt->mnt_sb);
	if (IS_ERR(inode))
		simple_release_fs(&wxpool_fs_mnt, &wxpool_fs_count);
	else
		i_size_write(inode, WXPOOL_SPACE);
	return inode;
}

static void wxpool_inode_free(struct inode *inode)
{
	iput(inode);
	simple_release_fs(&wxpool_fs_mnt, &wxpool_fs_count);
}

static struct wxpool_context *wxpool_context_new(void)
{
	static atomic64_t ids;
	struct wxpool_context *ctx;

	ctx = kzalloc(sizeof(*ctx), GFP_KERNEL_ACCOUNT);
	if (!ctx)
		return NULL;
	init_rwsem(&ctx->lock);
	ctx->info = (struct wxpool_info){
		.context = atomic64_inc_return(&ids),
		.abi_version = WXPOOL_ABI_VERSION,
		.features = wxpool_keeps_xo() ? WXPOOL_FEATURE_XO : 0,
		.space = WXPOOL_SPACE,
		.page_size = PAGE_SIZE,
		.line_size = WXPOOL_LINE_SIZE,
		.block_size = WXPOOL_HAS_BLOCKS ? SZ_2M : 0,
		.max_ranges = WXPOOL_MAX_RANGES,
	};
	xa_init_flags(&ctx->tables, XA_FLAGS_ACCOUNT);
	INIT_LIST_HEAD(&ctx->heirs);
	mmgrab(current->mm);
	ctx->owner = current->mm;
	return ctx;
}

static void wxpool_context_free(struct wxpool_context *ctx)
{
	mmdrop(ctx->owner);
	kfree(ctx);
}

int wxpool_open(struct inode *inode, struct file *file)
{
	struct wxpool_context *ctx;
	int err;

	if (!current->mm)
		return -EXDEV;
	ctx = wxpool_context_new();
	if (!ctx)
		return -ENOMEM;
	err = wxpool_pools_init(ctx);
	if (err)
		goto err_context;
	ctx->inode = wxpool_inode_new();
	if (IS_ERR(ctx->inode)) {
		err = PTR_ERR(ctx->inode);
		goto err_pools;
	}
	err = wxpool_user_get(ctx);
	if (err)
		goto err_inode;
	file->f_mapping = ctx->inode->i_mapping;
	file->private_data = ctx;
	return nonseekable_open(inode, file);

err_inode:
	wxpool_inode_free(ctx->inode);
err_pools:
	rhashtable_destroy(&ctx->pools);
err_context:
	wxpool_context_free(ctx);
	return err;
}

/* No view is left, so no fault comes; but its user and the shrinker may. */
int wxpool_release(struct inode *inode, struct file *file)
{
	struct wxpool_context *ctx = file->private_data;
	struct wxpool_ending ending = { .ctx = ctx };

	down_write(&ctx->lock);
	WARN_ON_ONCE(!list_empty(&ctx->heirs) || ctx->fork_mm || ctx->info.pages_kept);
	wxpool_free_all(&ending, false);
	wxpool_drop_idle(ctx);
	up_write(&ctx->lock);
	rhashtable_destroy(&ctx->pools);
	wxpool_free_spare(ctx);
	WARN_ON_ONCE(atomic_long_read(&ctx->charged));
	wxpool_user_put(ctx);
	wxpool_inode_free(ctx->inode);
	wxpool_context_free(ctx);
	return 0;
}

/* With ctx->lock held */
static void wxpool_get_info(struct wxpool_context *ctx, struct wxpool_info *info)
{
	*info = ctx->info;
	info->context_limit = READ_ONCE(wxpool_context_limit);
	info->user_limit = READ_ONCE(wxpool_user_limit);
	info->charged = atomic_long_read(&ctx->charged);
	info->user_charged = atomic_long_read(&ctx->user->charged);
}

static void wxpool_ask_pool(struct wxpool_context *ctx, struct wxpool_info *info, u32 id)
{
	struct wxpool_pool *pool = wxpool_pool_find(ctx, id);
	struct wxpool_heirs *heirs;

	info->pool = id;
	if (pool) {
		info->pool_state = WXPOOL_POOL_LIVE;
		wxpool_count_pool(ctx, pool, info);
		return;
	}
	list_for_each_entry(heirs, &ctx->heirs, link) {
		for (pool = heirs->kept; pool; pool = pool->next) {
			if (pool->id == id) {
				info->pool_state = WXPOOL_POOL_KEPT;
				wxpool_count_pool(ctx, pool, info);
			}
			cond_resched();
		}
	}
}

int wxpool_op_info(struct wxpool_context *ctx, union wxpool_args *args, const void *vec, gfp_t gfp)
{
	struct wxpool_info *info = &args->info;
	u32 size = info->size, pool = info->pool;

	if (down_read_killable(&ctx->lock))
		return -EINTR;
	wxpool_get_info(ctx, info);
	if (pool)
		wxpool_ask_pool(ctx, info, pool);
	up_read(&ctx->lock);
	info->size = size;
	return 0;
}

/* For who looks at others' contexts: Documentation/device.md has each line. */
void wxpool_show_fdinfo(struct seq_file *m, struct file *file)
{
	static const char *const names[] = {	/* of counters, as they come */
		"open", "read", "exec", "exec-only", "packed", "huge", "idle", "kept", "lines",
		"kept-lines",
	};
	struct wxpool_context *ctx = file->private_data;
	struct wxpool_info info;
	unsigned int i;

	if (down_read_killable(&ctx->lock))
		return;
	wxpool_get_info(ctx, &info);
	up_read(&ctx->lock);
	seq_printf(m, "wxpool-context:\t%llu%s\n", info.context, info.frozen ? " frozen" : "");
	seq_printf(m, "wxpool-pools:\t%llu\n", info.pools);
	for (i = 0; i < ARRAY_SIZE(names); i++)
		seq_printf(m, "wxpool-%s:\t%llu\n", names[i], (&info.pages_open)[i]);
	seq_printf(m, "wxpool-charged:\t%llu\n", info.charged);
	seq_printf(m, "wxpool-limit:\t%llu\n", info.context_limit);
}

int wxpool_op_freeze(struct wxpool_context *ctx, union wxpool_args *args, const void *vec,
		     gfp_t gfp)
{
	int err;

	if (args->freeze.flags)
		return -EINVAL;
	err = wxpool_lock(ctx, gfp);
	if (err)
		return err;
	ctx->info.frozen = 1;
	up_write(&ctx->lock);
	return 0;
}
