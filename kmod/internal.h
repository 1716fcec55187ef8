/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * wxpool: what the files of the module share
 */
#ifndef WXPOOL_INTERNAL_H
#define WXPOOL_INTERNAL_H

#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/fs.h>
#include <linux/list.h>
#include <linux/maple_tree.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/types.h>
#include <linux/uidgid.h>
#include <linux/xarray.h>
#include <uapi/linux/wxpool.h>

#include "compat.h"

/*
 * Objects, and who keeps them alive:
 *
 * - A context (struct wxp_ctx) is one open file. Every view holds the file, so
 *   the context goes in ->release, when no view is left.
 * - A pool belongs to its context from its first region to FREE.
 * - A region belongs to its pool. At FREE it goes away, or, if a forked child
 *   shows it, to the context's kept list.
 * - A folio is held by its region. Page tables, pins and GUP add references of
 *   their own, so a page in use never goes back to the system early, and a
 *   seal can see all users.
 * - A user (struct wxp_user) is held by the contexts it opened.
 *
 * Locks, outermost first:
 *
 *   mmap_lock			the core's; faults, mmap and fork come with it held
 *     wxp_ctx.lock		regions, pools and page states
 *       mapping->i_mmap_rwsem	the core's; to unmap, and to look at all views
 *       folio lock		a fault holds it until its PTE is in place
 *
 * As faults take wxp_ctx.lock inside mmap_lock, nothing that holds it may touch
 * user memory or take mmap_lock: arguments are copied before, views are mapped
 * after.
 *
 * A fault reads a page's state under wxp_ctx.lock, and drops it with the folio
 * locked. So whoever changes a state (under the lock, for writing) must pass
 * through the folio's lock before it unmaps the page: after that no fault is
 * left that saw the old state.
 */

/* Size of a context's offset space in bytes. */
#define WXP_SPACE	BIT_ULL(40)
#define WXP_LINE_SIZE	64

enum wxp_state {
	WXP_OPEN,
	WXP_SEALED_R,
	WXP_SEALED_X,
	WXP_NR_STATES,
};

/**
 * struct wxp_user - what all contexts of one user hold
 * @uid: who
 * @refs: contexts; under wxp_users_lock
 * @pages: pages charged
 */
struct wxp_user {
	kuid_t uid;
	unsigned long refs;
	atomic_long_t pages;
};

/**
 * struct wxp_page - one page of a region
 * @folio: never NULL while the region is in the tree
 * @state: changes under wxp_ctx.lock for writing and the folio lock
 */
struct wxp_page {
	struct folio *folio;
	enum wxp_state state;
};

/**
 * struct wxp_region - the pages of one range of one ALLOC
 * @link: in wxp_pool.regions or wxp_ctx.kept; under wxp_ctx.lock
 * @pool: NULL once kept; under wxp_ctx.lock
 * @born: wxp_ctx.forks when it was made
 * @ended: wxp_ctx.forks when it was kept; under wxp_ctx.lock
 * @pgoff: offset of the first page
 * @nr_pages: number of @pages
 * @pages: the pages
 */
struct wxp_region {
	struct list_head link;
	struct wxp_pool *pool;
	unsigned long born;
	unsigned long ended;
	pgoff_t pgoff;
	unsigned long nr_pages;
	struct wxp_page pages[] __counted_by(nr_pages);
};

/**
 * struct wxp_pool - a lifetime
 * @id: the user's name for it
 * @regions: never empty once the pool is visible; under wxp_ctx.lock
 */
struct wxp_pool {
	u32 id;
	struct list_head regions;
};

/**
 * struct wxp_ctx - one open of the device
 * @lock: see above
 * @owner: the mm that opened it; compared, never used (mm_count held)
 * @user: who is charged
 * @inode: carries the mapping that all views are in
 * @regions: page offsets to &struct wxp_region; written under @lock
 * @pools: ids to &struct wxp_pool; under @lock
 * @kept: regions of ended pools that forked children show, in the order they
 *	ended; under @lock
 * @nr: pages by state, kept ones not included; under @lock
 * @nr_kept: pages on @kept; written under @lock
 * @nr_pools: entries of @pools; under @lock
 * @forks: number of views that fork() has copied from the owner; each copy
 *	bears its number
 * @pages: pages charged
 */
struct wxp_ctx {
	struct rw_semaphore lock;
	struct mm_struct *owner;
	struct wxp_user *user;
	struct inode *inode;
	struct maple_tree regions;
	struct xarray pools;
	struct list_head kept;
	unsigned long nr[WXP_NR_STATES];
	unsigned long nr_kept;
	unsigned long nr_pools;
	atomic_long_t forks;
	atomic_long_t pages;
};

/**
 * struct wxp_heirs - the views that fork() copied from the owner
 * @oldest: their lowest number, ULONG_MAX if there is none
 * @newest: their highest number, 0 if there is none
 */
struct wxp_heirs {
	unsigned long oldest;
	unsigned long newest;
};

static inline bool wxp_is_owner(const struct wxp_ctx *ctx)
{
	return current->mm == ctx->owner;
}

/* context.c */
extern unsigned long wxp_max_context_pages;
extern unsigned long wxp_max_user_pages;
int wxp_open(struct inode *inode, struct file *file);
int wxp_release(struct inode *inode, struct file *file);
int wxp_charge(struct wxp_ctx *ctx, unsigned long nr_pages);
void wxp_uncharge(struct wxp_ctx *ctx, unsigned long nr_pages);

/* range.c */
struct wxpool_range *wxp_copy_ranges(const struct wxpool_vec *vec, u32 max_prot);
void wxp_map_views(struct file *file, const struct wxpool_range *ranges,
		   struct wxpool_vec *vec);

/* region.c */
int wxp_ioc_alloc(struct file *file, void *arg);
int wxp_ioc_free(struct file *file, void *arg);
void wxp_settle_page(struct wxp_page *page, enum wxp_state state);
void wxp_unmap(struct wxp_ctx *ctx, loff_t offset, loff_t length);
void wxp_free_regions(struct wxp_ctx *ctx, struct list_head *regions);

/* seal.c */
int wxp_ioc_protect(struct file *file, void *arg);

/* view.c; wxp_mmap() is declared in compat.h */
void wxp_find_heirs(struct wxp_ctx *ctx, const struct mm_struct *mm,
		    struct wxp_heirs *heirs);

#endif /* WXPOOL_INTERNAL_H */
