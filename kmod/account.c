// SPDX-License-Identifier: GPL-2.0-only
/*
 * wxpool: what contexts and their users may hold
 *
 * All that operations make counts, in bytes: pages, and what the module needs for them and for
 * pools. What is kept for speed alone (idle blocks, an empty table) counts too, and goes at the
 * limit of the context or its user, or when the system needs it, through the shrinker.
 */
#include <linux/cred.h>
#include <linux/debugfs.h>
#include <linux/mutex.h>
#include <linux/seq_file.h>
#include <linux/shrinker.h>

#include "internal.h"
#include "trace.h"

unsigned long wxpool_context_limit;
unsigned long wxpool_user_limit;

/* The users with an open context, by uid; changed under wxpool_users_lock, and freed by RCU. */
static DEFINE_XARRAY(wxpool_users);
static DEFINE_MUTEX(wxpool_users_lock);

static atomic_long_t wxpool_idle_pages;	/* in all contexts */

static struct wxpool_user *wxpool_user_new(kuid_t uid)
{
	struct wxpool_user *user = kzalloc(sizeof(*user), GFP_KERNEL_ACCOUNT);

	if (!user)
		return NULL;
	user->uid = uid;
	INIT_LIST_HEAD(&user->contexts);
	if (!xa_err(xa_store(&wxpool_users, __kuid_val(uid), user, GFP_KERNEL)))
		return user;
	kfree(user);
	return NULL;
}

/* The context is current's user's from now on. */
int wxpool_user_get(struct wxpool_context *ctx)
{
	mutex_lock(&wxpool_users_lock);
	ctx->user = xa_load(&wxpool_users, __kuid_val(current_uid()));
	if (!ctx->user)
		ctx->user = wxpool_user_new(current_uid());
	if (ctx->user) {
		list_add(&ctx->link, &ctx->user->contexts);
		WRITE_ONCE(ctx->user->nr_contexts, ctx->user->nr_contexts + 1);
	}
	mutex_unlock(&wxpool_users_lock);
	return ctx->user ? 0 : -ENOMEM;
}

void wxpool_user_put(struct wxpool_context *ctx)
{
	struct wxpool_user *user = ctx->user;

	mutex_lock(&wxpool_users_lock);
	list_del(&ctx->link);
	WRITE_ONCE(user->nr_contexts, user->nr_contexts - 1);
	if (list_empty(&user->contexts)) {
		xa_erase(&wxpool_users, __kuid_val(user->uid));
		kfree_rcu(user, rcu);
	}
	mutex_unlock(&wxpool_users_lock);
}

/* Never over @max, not even for an instant: others would see it. */
static bool wxpool_add_below(atomic_long_t *counter, unsigned long n, unsigned long max)
{
	long old = atomic_long_read(counter);

	do {
		if (n > max || old > max - n)
			return false;
	} while (!atomic_long_try_cmpxchg(counter, &old, old + n));
	return true;
}

/* Counts bytes towards the limits of a context and its user: 0 or -ENOSPC. */
int wxpool_charge(struct wxpool_context *ctx, unsigned long bytes)
{
	if (!wxpool_add_below(&ctx->charged, bytes, READ_ONCE(wxpool_context_limit))) {
		trace_wxpool_limit(ctx, false, bytes);
		return -ENOSPC;
	}
	if (wxpool_add_below(&ctx->user->charged, bytes, READ_ONCE(wxpool_user_limit)))
		return 0;
	atomic_long_sub(bytes, &ctx->charged);
	trace_wxpool_limit(ctx, true, bytes);
	return -ENOSPC;
}

void wxpool_uncharge(struct wxpool_context *ctx, unsigned long bytes)
{
	atomic_long_sub(bytes, &ctx->user->charged);
	atomic_long_sub(bytes, &ctx->charged);
}

/* Zeroed, for bookkeeping; or -ENOMEM or -ENOSPC */
void *wxpool_get_memory(struct wxpool_context *ctx, size_t size, gfp_t gfp)
{
	void *p;

	if (wxpool_charge(ctx, wxpool_cost(size)))
		return ERR_PTR(-ENOSPC);
	p = kvzalloc(size, gfp);
	if (p)
		return p;
	wxpool_uncharge(ctx, wxpool_cost(size));
	return ERR_PTR(-ENOMEM);
}

void wxpool_put_memory(struct wxpool_context *ctx, const void *p, size_t size)
{
	kvfree(p);
	wxpool_uncharge(ctx, wxpool_cost(size));
}

void wxpool_count_idle(struct wxpool_context *ctx, long nr_pages)
{
	ctx->info.pages_idle += nr_pages;
	atomic_long_add(nr_pages, &wxpool_idle_pages);
}

/* Takes what the user's contexts keep for speed, but from those that are at work. */
static unsigned long wxpool_reclaim_user(struct wxpool_user *user)
{
	struct wxpool_context *ctx;
	unsigned long bytes = 0;

	lockdep_assert_held(&wxpool_users_lock);
	list_for_each_entry(ctx, &user->contexts, link) {
		if (!down_write_trylock(&ctx->lock))
			continue;
		bytes += wxpool_drop_idle(ctx);
		up_write(&ctx->lock);
	}
	return bytes;
}

/* For a context that is at its or its user's limit, and not locked: is there room now? */
bool wxpool_reclaim(struct wxpool_context *ctx)
{
	unsigned long bytes;

	if (down_write_killable(&ctx->lock))
		return false;
	bytes = wxpool_drop_idle(ctx);
	up_write(&ctx->lock);
	if (mutex_lock_killable(&wxpool_users_lock))
		return false;
	bytes += wxpool_reclaim_user(ctx->user);
	mutex_unlock(&wxpool_users_lock);
	return bytes;
}

static unsigned long wxpool_shrink_count(struct shrinker *shrinker, struct shrink_control *sc)
{
	return atomic_long_read(&wxpool_idle_pages) ?: SHRINK_EMPTY;
}

/* Whoever is out of memory may hold any of our locks. */
static unsigned long wxpool_shrink_scan(struct shrinker *shrinker, struct shrink_control *sc)
{
	struct wxpool_user *user;
	unsigned long uid, pages = 0;

	if (!mutex_trylock(&wxpool_users_lock))
		return SHRINK_STOP;
	xa_for_each(&wxpool_users, uid, user) {
		pages += wxpool_reclaim_user(user) >> PAGE_SHIFT;
		if (pages >= sc->nr_to_scan)
			break;
	}
	mutex_unlock(&wxpool_users_lock);
	return pages ?: SHRINK_STOP;
}

/* A line for each user, for root. Without a lock, so that it holds up nobody. */
static int wxpool_users_show(struct seq_file *m, void *unused)
{
	struct wxpool_user *user;
	unsigned long uid;

	seq_puts(m, "uid\tcontexts\tcharged\tlimit\n");
	rcu_read_lock();
	xa_for_each(&wxpool_users, uid, user)
		seq_printf(m, "%lu\t%u\t%ld\t%lu\n", uid, READ_ONCE(user->nr_contexts),
			   atomic_long_read(&user->charged), READ_ONCE(wxpool_user_limit));
	rcu_read_unlock();
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(wxpool_users);

static struct shrinker *wxpool_shrinker;
static struct dentry *wxpool_debugfs;

int wxpool_account_init(void)
{
	if (!wxpool_user_limit)
		wxpool_user_limit = totalram_pages() / 4 << PAGE_SHIFT;
	if (!wxpool_context_limit)
		wxpool_context_limit = wxpool_user_limit;
	wxpool_shrinker = shrinker_alloc(0, "wxpool");
	if (!wxpool_shrinker)
		return -ENOMEM;
	wxpool_shrinker->count_objects = wxpool_shrink_count;
	wxpool_shrinker->scan_objects = wxpool_shrink_scan;
	shrinker_register(wxpool_shrinker);
	wxpool_debugfs = debugfs_create_dir("wxpool", NULL);
	debugfs_create_file("users", 0400, wxpool_debugfs, NULL, &wxpool_users_fops);
	return 0;
}

void wxpool_account_exit(void)
{
	debugfs_remove(wxpool_debugfs);
	shrinker_free(wxpool_shrinker);
}
