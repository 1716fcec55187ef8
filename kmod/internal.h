/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * wxpool: what the files of the module share
 */
#ifndef WXPOOL_INTERNAL_H
#define WXPOOL_INTERNAL_H

#include <linux/fs.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/rhashtable-types.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/xarray.h>
#include <uapi/linux/wxpool.h>

#include "arch.h"
#include "compat.h"

/*
 * Words, beside those of the UAPI header:
 *
 * - A table holds the pages of 2 MiB of offsets, which is a block.
 * - A region is what pages have in common: those of one ALLOC, one packed page, or a block.
 * - An extent is adjacent lines of one pool. Pages that ALLOC gave to a pool are extents of full
 *   pages of lines.
 * - A region is hidden as long as the owner and guests do not see it any more, but heirs do.
 *
 * Objects, and who keeps them alive:
 *
 * - A context (struct wxpool_context) is one open file. Every view holds the file, so the context
 *   goes in ->release, when no view is left.
 * - A pool belongs to its context from its first page or line to FREE. One that ended while an
 *   heir lived that inherited it is kept by the newest such heir.
 * - Heirs (struct wxpool_heirs) are held by their views, which count themselves in ->open and
 *   ->close.
 * - A region is there as long as one of its pages is. A packed page is there as long as one of
 *   its lines is live or kept; a block may stay idle.
 * - A folio is held by its page in the table. Page tables, pins and GUP add references of their
 *   own, so a page in use never goes back to the system early, and PROTECT can see all users.
 * - A user (struct wxpool_user) is held by the contexts it opened.
 *
 * Locks, outermost first:
 *
 *   mmap_lock			the core's; faults, mmap and fork come with it held
 *     wxpool_users_lock	users, and which contexts they have
 *       wxpool_context.lock	pages, pools, heirs and counters
 *         mapping->i_mmap_rwsem  the core's; to unmap
 *         folio lock		a fault holds it until its PTE is in place
 *
 * As faults take wxpool_context.lock inside mmap_lock, nothing that holds it touches user memory
 * or takes mmap_lock: arguments and bytes are copied before. Memory may be got under it, so the
 * shrinker only tries to take locks.
 *
 * A fault reads a page's state under wxpool_context.lock, and drops it with the folio locked. So
 * whoever changes a state or takes a page away (under the lock, for writing) must pass through
 * the folio's lock before it unmaps the page: after that no fault is left that saw the old state.
 */

/* A cgroup over its limit gets -ENOMEM, not the OOM killer. */
#define WXPOOL_GFP		(GFP_USER | __GFP_ACCOUNT | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)
/* For io_uring, before it asks a worker: nothing may block. */
#define WXPOOL_GFP_NOWAIT	(GFP_NOWAIT | __GFP_ACCOUNT | __GFP_NOWARN)

#define WXPOOL_SPACE		BIT_ULL(40)	/* bytes of a context's offsets */
#define WXPOOL_LINE_SHIFT	6
#define WXPOOL_LINE_SIZE	BIT(WXPOOL_LINE_SHIFT)
#define WXPOOL_LINES_SHIFT	(PAGE_SHIFT - WXPOOL_LINE_SHIFT)
#define WXPOOL_LINES		BIT(WXPOOL_LINES_SHIFT)		/* of a page */
#define WXPOOL_BLOCK_ORDER	(ilog2(SZ_2M) - PAGE_SHIFT)
#define WXPOOL_BLOCK_PAGES	BIT(WXPOOL_BLOCK_ORDER)
/* Can a block be one folio, mapped by one PMD? */
#define WXPOOL_HAS_BLOCKS	(IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) && PMD_SIZE == SZ_2M)

enum wxpool_state {
	WXPOOL_OPEN,
	WXPOOL_SEALED_R = WXPOOL_PROT_R,
	WXPOOL_SEALED_X = WXPOOL_PROT_X,
	WXPOOL_SEALED_XO = WXPOOL_PROT_XO,
	WXPOOL_NR_STATES,
};

/* What all contexts of one user hold */
struct wxpool_user {
	kuid_t uid;
	struct list_head contexts;	/* under wxpool_users_lock */
	unsigned int nr_contexts;	/* the same, but read without it */
	atomic_long_t charged;		/* bytes */
	struct rcu_head rcu;
};

/* All that follows is under wxpool_context.lock, if nothing else is said. */

struct wxpool_page {
	unsigned long word;		/* a &struct page, its state in the low bits */
#define WXPOOL_STATE_MASK	3ul
	struct wxpool_region *region;	/* NULL if the page is absent */
};

struct wxpool_table {
	unsigned long index;		/* of its block */
	unsigned int nr;		/* pages that are not absent */
	struct wxpool_page *pages;	/* apart, as a power of two wastes nothing */
};

struct wxpool_region {
	struct wxpool_pool *pool;	/* of ALLOC's pages */
	struct page *page;		/* of packed ones: the first */
	pgoff_t pgoff;			/* and where it is */
	u64 born;			/* wxpool_context.forks when it, or its pool, was made */
	u64 ended;			/* the same when it was hidden, if it is */
	enum wxpool_state state;	/* of packed pages */
	bool hidden;
	bool revived;			/* it was idle once: a call that fails leaves it so */
	bool broken;			/* a memory error was seen in it: it is none to keep */
	unsigned int nr_pages;
	unsigned int nr_lines;		/* live ones */
	unsigned int nr_kept;		/* lines of kept pools */
	unsigned long lines[];		/* of packed pages: which are live or kept */
};

struct wxpool_extent {
	u64 line : 34;			/* the first, by its offset in lines */
	u64 nr : 30;
#define WXPOOL_EXTENT_MAX	(BIT(30) - 1)
};

/* There may be very many of them, each for a line or two: they are small. */
struct wxpool_pool {
	union {
		struct rhash_head node;		/* in wxpool_context.pools */
		struct wxpool_pool *next;	/* in wxpool_heirs.kept */
	};
	u32 id;				/* the user's name for it */
	u32 nr : 26;			/* extents */
	u32 order : 5;			/* there is room for so many, as a power of two */
	u32 doomed : 1;			/* named by the FREE on its way */
	union {
		struct wxpool_extent extent;	/* the only one, if @order is 0 */
		struct wxpool_extent *extents;
	};
	u64 born;			/* wxpool_context.forks when it was made */
};

/* The views that one fork() gave to a child, and what became of them there and later */
struct wxpool_heirs {
	struct list_head link;		/* in wxpool_context.heirs */
	struct wxpool_pool *kept;	/* pools that no newer heirs inherited */
	u64 nr;				/* of the fork */
	atomic_long_t views;
};

/* One open of the device. @info is what INFO tells: sizes, and counters. */
struct wxpool_context {
	struct rw_semaphore lock;
	gfp_t gfp;			/* of the operation that has the lock for writing */
	struct wxpool_info info;	/* without what is charged, and of a pool */
	struct mm_struct *owner;	/* opened it; compared, never used (mm_count held) */
	struct wxpool_user *user;
	struct list_head link;		/* in wxpool_user.contexts */
	struct inode *inode;		/* carries the mapping that all views are in */
	struct xarray tables;		/* by block */
	struct wxpool_table *hot;	/* the one found last, or NULL */
	struct wxpool_table *empty;	/* one without pages that stays, or NULL */
	struct rhashtable pools;	/* by id */
	struct wxpool_region *idle[WXPOOL_NR_STATES];	/* blocks without lines, or NULL */
	struct list_head heirs;		/* those that live, oldest first */
	struct wxpool_heirs *fork_heirs;	/* those of the last fork, or NULL */
	struct mm_struct *fork_mm;	/* theirs, not to be used again (mm_count held) */
	u64 forks;			/* children that fork() has given views of the owner */
	struct wxpool_buffer *spare;	/* for the next INSTALL; by xchg() */
	atomic_long_t charged;		/* bytes */
};

/* What becomes of a pool's pages and lines */
enum wxpool_fate {
	WXPOOL_FREED,			/* they were live, and are for nobody */
	WXPOOL_KEPT,			/* they were live, and are for heirs */
	WXPOOL_REAPED,			/* they were kept, and are for nobody */
};

/* Pages that are going away, or are sealed */
struct wxpool_ending {
	struct wxpool_context *ctx;
	enum wxpool_fate fate;
	pgoff_t first, stop;		/* those that have still to be unmapped */
	u64 freed;			/* pages that went back */
	u64 kept;			/* pages that only heirs see now */
	u64 lines_kept;
	bool undone;			/* a call failed: no block is idle that was not before */
};

/* What the structures of all operations with a vector begin with */
struct wxpool_vec {
	u32 size;
	u32 word;			/* one meaning or another */
	u64 context;
	u64 addr;
	u32 nr;
};

union wxpool_args {
	struct wxpool_vec vec;
	struct wxpool_info info;
	struct wxpool_alloc alloc;
	struct wxpool_protect protect;
	struct wxpool_free free;
	struct wxpool_install install;
	struct wxpool_freeze freeze;
};

/* @vec: the vector, copied. With WXPOOL_GFP_NOWAIT: -EAGAIN if it would block */
typedef int (wxpool_execute_fn)(struct wxpool_context *ctx, union wxpool_args *args,
				const void *vec, gfp_t gfp);

static inline bool wxpool_is_owner(const struct wxpool_context *ctx)
{
	return current->mm == ctx->owner;
}

/* As good as absent, but for views. */
static inline bool wxpool_is_idle(const struct wxpool_context *ctx,
				  const struct wxpool_region *region)
{
	return ctx->idle[region->state] == region;
}

static inline struct page *wxpool_page(const struct wxpool_page *page)
{
	return (struct page *)(page->word & ~WXPOOL_STATE_MASK);
}

static inline enum wxpool_state wxpool_state(const struct wxpool_page *page)
{
	return page->word & WXPOOL_STATE_MASK;
}

/* The counter of pages in a state */
static inline u64 *wxpool_nr_pages(struct wxpool_context *ctx, enum wxpool_state state)
{
	static_assert(offsetof(struct wxpool_info, pages_exec_only) ==
		      offsetof(struct wxpool_info, pages_open) + WXPOOL_SEALED_XO * sizeof(u64));

	return &ctx->info.pages_open + state;
}

/* What kvmalloc() takes at most, and the memory cgroup to note whose it is */
static inline unsigned long wxpool_cost(size_t size)
{
	return roundup_pow_of_two(max_t(size_t, size, KMALLOC_MIN_SIZE)) + sizeof(void *);
}

/* 0, -EINTR, or -EAGAIN if @gfp must not block */
static inline int wxpool_lock(struct wxpool_context *ctx, gfp_t gfp)
{
	int err;

	if (gfpflags_allow_blocking(gfp))
		err = down_write_killable(&ctx->lock);
	else
		err = down_write_trylock(&ctx->lock) ? 0 : -EAGAIN;
	if (!err)
		ctx->gfp = gfp;
	return err;
}

/* Between two steps of what may be long. -EINTR if nobody waits for it any more */
static inline int wxpool_pause(void)
{
	cond_resched();
	return fatal_signal_pending(current) ? -EINTR : 0;
}

/* What is not live: traps, so that no byte is ever left over (I4). @size: of words */
static inline void wxpool_fill(void *to, enum wxpool_state state, size_t size)
{
	memset64(to, state == WXPOOL_SEALED_R ? 0 : WXPOOL_TRAPS, size / sizeof(u64));
}

/* context.c */
int wxpool_open(struct inode *inode, struct file *file);
int wxpool_release(struct inode *inode, struct file *file);
void wxpool_show_fdinfo(struct seq_file *m, struct file *file);
wxpool_execute_fn wxpool_op_info, wxpool_op_freeze;

/* account.c */
extern unsigned long wxpool_context_limit;
extern unsigned long wxpool_user_limit;
int wxpool_account_init(void);
void wxpool_account_exit(void);
int wxpool_user_get(struct wxpool_context *ctx);
void wxpool_user_put(struct wxpool_context *ctx);
int wxpool_charge(struct wxpool_context *ctx, unsigned long bytes);
void wxpool_uncharge(struct wxpool_context *ctx, unsigned long bytes);
void *wxpool_get_memory(struct wxpool_context *ctx, size_t size, gfp_t gfp);
void wxpool_put_memory(struct wxpool_context *ctx, const void *p, size_t size);
void wxpool_count_idle(struct wxpool_context *ctx, long nr_pages);
bool wxpool_reclaim(struct wxpool_context *ctx);

/* pool.c */
int wxpool_pools_init(struct wxpool_context *ctx);
struct wxpool_pool *wxpool_pool_find(struct wxpool_context *ctx, u32 id);
struct wxpool_pool *wxpool_pool_get(struct wxpool_context *ctx, u32 id);
void wxpool_pool_put(struct wxpool_context *ctx, struct wxpool_pool *pool);
void wxpool_pool_unlink(struct wxpool_context *ctx, struct wxpool_pool *pool);
void wxpool_pool_destroy(struct wxpool_context *ctx, struct wxpool_pool *pool);
int wxpool_pool_room(struct wxpool_context *ctx, struct wxpool_pool *pool, unsigned long nr);
void wxpool_pool_add(struct wxpool_pool *pool, u64 line, u64 nr);
void wxpool_count_pool(struct wxpool_context *ctx, const struct wxpool_pool *pool,
		       struct wxpool_info *info);
u64 wxpool_pool_bytes(const struct wxpool_pool *pool);

static inline struct wxpool_extent *wxpool_extents(struct wxpool_pool *pool)
{
	return pool->order ? pool->extents : &pool->extent;
}

/* region.c */
struct wxpool_page *wxpool_find_page(struct wxpool_context *ctx, pgoff_t pgoff);
bool wxpool_is_block_absent(struct wxpool_context *ctx, pgoff_t pgoff);
struct wxpool_table *wxpool_get_table(struct wxpool_context *ctx, pgoff_t pgoff);
void wxpool_set_page(struct wxpool_context *ctx, struct wxpool_table *table, pgoff_t pgoff,
		     struct page *page, enum wxpool_state state, struct wxpool_region *region);
struct wxpool_region *wxpool_region_new(struct wxpool_context *ctx, unsigned int nr_packed,
					gfp_t gfp);
void wxpool_region_free(struct wxpool_context *ctx, struct wxpool_region *region);
void wxpool_free_pages(struct wxpool_context *ctx, struct page *page);
void wxpool_settle_page(struct wxpool_page *page, enum wxpool_state state);
void wxpool_unmap(struct wxpool_context *ctx, pgoff_t pgoff, unsigned long nr);
void wxpool_unmap_later(struct wxpool_ending *ending, pgoff_t pgoff, unsigned long nr);
void wxpool_unmap_ended(struct wxpool_ending *ending);
void wxpool_hide_pages(struct wxpool_ending *ending, pgoff_t pgoff);
void wxpool_end_pages(struct wxpool_ending *ending, pgoff_t pgoff);
void wxpool_end_tables(struct wxpool_ending *ending);
unsigned long wxpool_drop_block(struct wxpool_context *ctx, enum wxpool_state state);
unsigned long wxpool_drop_idle(struct wxpool_context *ctx);

/* packed.c */
struct wxpool_region *wxpool_packed_new(struct wxpool_context *ctx, unsigned int order,
					enum wxpool_state state, gfp_t gfp);
void wxpool_packed_free(struct wxpool_context *ctx, struct wxpool_region *region);
int wxpool_packed_insert(struct wxpool_context *ctx, struct wxpool_region *region, pgoff_t pgoff);
struct wxpool_region *wxpool_packed_get(struct wxpool_context *ctx, u64 line, u64 nr,
					enum wxpool_state state, bool blocks);
bool wxpool_are_broken(struct wxpool_region *region, u64 line, u64 nr);
unsigned int wxpool_lines_of_region(const struct wxpool_region *region, u64 line, u64 end);
int wxpool_claim_lines(struct wxpool_context *ctx, struct wxpool_region *region, u64 line,
		       unsigned int nr);
void wxpool_write_lines(struct wxpool_context *ctx, u64 line, unsigned int nr, const void *bytes);
void wxpool_end_lines(struct wxpool_ending *ending, struct wxpool_region *region, u64 line, u32 nr);

/* alloc.c, protect.c, install.c, free.c */
wxpool_execute_fn wxpool_op_alloc, wxpool_op_protect, wxpool_op_install, wxpool_op_free;
void wxpool_free_spare(struct wxpool_context *ctx);
void wxpool_end_extent(struct wxpool_ending *ending, const struct wxpool_extent *extent);
void wxpool_end_pool(struct wxpool_ending *ending, struct wxpool_pool *pool);
void wxpool_free_all(struct wxpool_ending *ending, bool revoke);

/* vec.c */
int wxpool_copy_words(void *to, const void __user *from, size_t len);
int wxpool_check_pages(u64 offset, u64 length);

#endif /* WXPOOL_INTERNAL_H */
