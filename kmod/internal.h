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
#include <linux/sizes.h>
#include <linux/string.h>
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
 * - A pool belongs to its context from its first region or line to FREE.
 * - A region belongs to its pool; a packed one, which has lines of several
 *   pools, to the context as long as a line is live. In the end it goes away,
 *   or, if a forked child shows it, to the context's kept list.
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

/* A cgroup over its limit gets -ENOMEM, not the OOM killer. */
#define WXP_GFP		(GFP_USER | __GFP_ACCOUNT | __GFP_RETRY_MAYFAIL | \
			 __GFP_NOWARN)
/* Where nothing may block. */
#define WXP_GFP_NOWAIT	(GFP_NOWAIT | __GFP_ACCOUNT | __GFP_NOWARN)

/* Size of a context's offset space in bytes. */
#define WXP_SPACE	BIT_ULL(40)

#define WXP_LINE_SHIFT	6
#define WXP_LINE_SIZE	BIT(WXP_LINE_SHIFT)
/* Lines of a page. */
#define WXP_LINES_SHIFT	(PAGE_SHIFT - WXP_LINE_SHIFT)
#define WXP_LINES	BIT(WXP_LINES_SHIFT)

/* A window of packed pages that can be one folio, mapped by one PMD; 0: none. */
#define WXP_HUGE_SIZE	(IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) && \
			 PMD_SIZE == SZ_2M ? SZ_2M : 0)
#define WXP_WINDOW_PAGES	(SZ_2M >> PAGE_SHIFT)

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
 * struct wxp_region - the pages of one range of one ALLOC, or packed pages:
 *	a single one or a window of huge size
 * @link: in wxp_pool.regions, wxp_ctx.packed or wxp_ctx.kept; under
 *	wxp_ctx.lock
 * @pool: NULL once kept, and of packed pages; under wxp_ctx.lock
 * @older: kept packed pages of the same place; under wxp_ctx.lock
 * @newer: the region whose @older it is, or NULL; under wxp_ctx.lock
 * @copy: for the owner, if a FREE on its way needs one; under wxp_ctx.lock
 * @born: wxp_ctx.forks when it was made
 * @ended: wxp_ctx.forks when it was kept, WXP_ALIVE before; under wxp_ctx.lock
 * @pgoff: offset of the first page
 * @lines: bitmap of the live lines, NULL if not packed; under wxp_ctx.lock
 * @nr_lines: number of live lines; under wxp_ctx.lock
 * @nr_doomed: those of the pool that is being freed; under wxp_ctx.lock
 * @nr_pages: number of @pages
 * @pages: the pages. Those of a huge folio each hold a reference to it
 */
struct wxp_region {
	struct list_head link;
	struct wxp_pool *pool;
	struct wxp_region *older;
	struct wxp_region *newer;
	struct wxp_region *copy;
	unsigned long born;
	unsigned long ended;
	pgoff_t pgoff;
	unsigned long *lines;
	unsigned int nr_lines;
	unsigned int nr_doomed;
	unsigned long nr_pages;
	struct wxp_page pages[] __counted_by(nr_pages);
};

#define WXP_ALIVE	ULONG_MAX

/**
 * struct wxp_extent - adjacent lines of one pool
 * @line: offset of the first, in lines
 * @nr: how many
 */
struct wxp_extent {
	u64 line;
	u64 nr;
};

/**
 * struct wxp_batch - what one INSTALL gave to a pool
 * @link: in wxp_pool.batches; under wxp_ctx.lock
 * @nr: number of @extents
 * @extents: the lines; the last may grow, under wxp_ctx.lock
 */
struct wxp_batch {
	struct list_head link;
	u32 nr;
	struct wxp_extent extents[] __counted_by(nr);
};

/**
 * struct wxp_pool - a lifetime
 * @id: the user's name for it
 * @regions: what ALLOC gave it; under wxp_ctx.lock
 * @batches: what INSTALL gave it; under wxp_ctx.lock
 *
 * Once it is visible not both are empty.
 */
struct wxp_pool {
	u32 id;
	struct list_head regions;
	struct list_head batches;
};

/**
 * struct wxp_ctx - one open of the device
 * @lock: see above
 * @owner: the mm that opened it; compared, never used (mm_count held)
 * @user: who is charged
 * @inode: carries the mapping that all views are in
 * @regions: page offsets to &struct wxp_region; written under @lock
 * @pools: ids to &struct wxp_pool; under @lock
 * @hot_pool: the last one asked for, or NULL; under @lock
 * @packed: packed pages with a live line; under @lock
 * @hot: one of them, most likely that of the next line, or NULL; under @lock
 * @kept: regions of ended pools that forked children show, in the order they
 *	ended; under @lock
 * @frozen: only FREE is left; under @lock
 * @nr: pages by state, kept ones not included; under @lock
 * @nr_packed: those that are packed; under @lock
 * @nr_huge: those that are part of a huge folio; under @lock
 * @nr_lines: live lines; under @lock
 * @nr_kept: pages on @kept; written under @lock
 * @nr_pools: entries of @pools; under @lock
 * @spare: what the last INSTALL needed, for the next one
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
	struct wxp_pool *hot_pool;
	struct list_head packed;
	struct wxp_region *hot;
	struct list_head kept;
	bool frozen;
	unsigned long nr[WXP_NR_STATES];
	unsigned long nr_packed;
	unsigned long nr_huge;
	unsigned long nr_lines;
	unsigned long nr_kept;
	unsigned long nr_pools;
	struct wxp_install *spare;
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

/**
 * struct wxp_ending - what a FREE ends
 * @newest_heir: of &struct wxp_heirs
 * @dead: regions that nobody can find any more
 * @nr_freed: their pages
 * @nr_kept: pages of those that heirs show
 * @first: offset of pages that have to be unmapped
 * @stop: end of these
 */
struct wxp_ending {
	unsigned long newest_heir;
	struct list_head dead;
	unsigned long nr_freed;
	unsigned long nr_kept;
	pgoff_t first;
	pgoff_t stop;
};

/**
 * struct wxp_ranges - a vector copied from the user
 * @r: the ranges
 * @nr: how many
 * @room: where they are copied to, if that is enough
 * @nr_room: how many fit in there
 */
struct wxp_ranges {
	struct wxpool_range *r;
	u32 nr;
	u32 nr_room;
	struct wxpool_range *room;
};

/* On the stack: most calls are for one module. */
#define WXP_FEW_RANGES	3

static inline bool wxp_is_owner(const struct wxp_ctx *ctx)
{
	return current->mm == ctx->owner;
}

static inline struct page *wxp_region_page(const struct wxp_region *region,
					   pgoff_t pgoff)
{
	unsigned long i = pgoff - region->pgoff;
	struct folio *folio = region->pages[i].folio;

	return folio_page(folio, i % folio_nr_pages(folio));
}

/* What PROTECT and INSTALL make of the pages of a range. */
static inline enum wxp_state wxp_range_state(const struct wxpool_range *range)
{
	return range->prot == WXPOOL_PROT_X ? WXP_SEALED_X : WXP_SEALED_R;
}

/* How many lines from @line to @end are in the same page as @line. */
static inline unsigned int wxp_lines_of_page(u64 line, u64 end)
{
	return min_t(u64, end - line, WXP_LINES - line % WXP_LINES);
}

/* Does one of the heirs that live see it? */
static inline bool wxp_has_heir(const struct wxp_region *region,
				const struct wxp_ending *ending)
{
	return ending->newest_heir > region->born;
}

/* @size: in multiples of 8 bytes */
static inline void wxp_fill(void *to, enum wxp_state state, size_t size)
{
	/* What is not live: traps, so that no byte is ever left over (I4). */
	memset64(to, state == WXP_SEALED_X ? WXP_TRAPS : 0, size / sizeof(u64));
}

static inline bool wxp_is_kept(const struct wxp_region *region)
{
	return region->ended != WXP_ALIVE;
}

/* context.c */
extern unsigned long wxp_max_context_pages;
extern unsigned long wxp_max_user_pages;
int wxp_open(struct inode *inode, struct file *file);
int wxp_release(struct inode *inode, struct file *file);
int wxp_charge(struct wxp_ctx *ctx, unsigned long nr_pages);
void wxp_uncharge(struct wxp_ctx *ctx, unsigned long nr_pages);

int wxp_ioc_freeze(struct file *file, void *arg);

/* range.c */
struct wxp_form;
extern const struct wxp_form wxp_alloc_form, wxp_protect_form, wxp_install_form;
int wxp_copy_ranges(struct wxp_ranges *ranges, const struct wxpool_vec *vec,
		    const struct wxp_form *form);
int wxp_copy_words(void *to, const void __user *from, size_t len);
void wxp_put_ranges(struct wxp_ranges *ranges);
void wxp_map_views(struct file *file, const struct wxp_ranges *ranges,
		   struct wxpool_vec *vec);

/* region.c */
int wxp_ioc_alloc(struct file *file, void *arg);
int wxp_ioc_free(struct file *file, void *arg);
struct wxp_pool *wxp_pool_get(struct wxp_ctx *ctx, u32 id, gfp_t gfp);
void wxp_pool_put(struct wxp_ctx *ctx, struct wxp_pool *pool);
void wxp_pool_destroy(struct wxp_pool *pool);
struct wxp_region *wxp_region_alloc(pgoff_t pgoff, unsigned long nr_pages,
				    bool packed, gfp_t gfp);
void wxp_region_free(struct wxp_region *region);
int wxp_insert_region(struct wxp_ctx *ctx, struct wxp_region *region, gfp_t gfp);
void wxp_replace_region(struct wxp_ctx *ctx, struct wxp_region *old,
			struct wxp_region *new);
void wxp_keep_region(struct wxp_ctx *ctx, struct wxp_region *region,
		     struct wxp_ending *ending);
void wxp_end_region(struct wxp_ctx *ctx, struct wxp_region *region,
		    struct wxp_ending *ending);
int wxp_reap(struct wxp_ctx *ctx);
void wxp_settle_page(struct wxp_page *page, enum wxp_state state);
void wxp_unmap(struct wxp_ctx *ctx, loff_t offset, loff_t length);
void wxp_free_regions(struct wxp_ctx *ctx, struct list_head *regions);

/* packed.c */
struct wxp_region *wxp_packed_new(struct wxp_ctx *ctx, pgoff_t pgoff,
				  unsigned long nr_pages, enum wxp_state state,
				  gfp_t gfp);
int wxp_packed_insert(struct wxp_ctx *ctx, struct wxp_region *region, gfp_t gfp);
struct wxp_region *wxp_packed_get(struct wxp_ctx *ctx, pgoff_t pgoff,
				  enum wxp_state state, bool huge, gfp_t gfp);
int wxp_claim_lines(struct wxp_ctx *ctx, struct wxp_region *region, u64 line,
		    unsigned int nr);
void wxp_write_lines(const struct wxp_region *region, u64 line, unsigned int nr,
		     const void *bytes);
void wxp_drop_lines(struct wxp_ctx *ctx, struct wxp_region *region, u64 line,
		    unsigned int nr, struct wxp_ending *ending);
int wxp_free_lines(struct wxp_ctx *ctx, struct wxp_pool *pool,
		   struct wxp_ending *ending);

/* install.c */
int wxp_ioc_install(struct file *file, void *arg);
int wxp_try_install(struct file *file, void *arg);
void wxp_free_spare(struct wxp_ctx *ctx);

static inline int wxp_reap_kept(struct wxp_ctx *ctx)
{
	return READ_ONCE(ctx->nr_kept) ? wxp_reap(ctx) : 0;
}

/* seal.c */
int wxp_ioc_protect(struct file *file, void *arg);

/* view.c; wxp_mmap() is declared in compat.h */
void wxp_find_heirs(struct wxp_ctx *ctx, const struct mm_struct *mm,
		    struct wxp_heirs *heirs);

#endif /* WXPOOL_INTERNAL_H */
