/* SPDX-License-Identifier: MIT */
/* libwxpool: what its files share. */
#ifndef WXP_INTERNAL_H
#define WXP_INTERNAL_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <linux/wxpool.h>

#include "wxpool.h"

#define WXP_EXPORT	__attribute__((visibility("default")))

#define NO_PAGE		UINT32_MAX
#define NO_LINE		UINT32_MAX
#define NR_PROTS	(WXP_RX + 1)	/* arrays are indexed by enum wxp_prot */
#define MAX_HOLES	8
#define MAX_BATCH	1024		/* runs handed to a backend at once */

/*
 * Pools whose size is not known in advance get room to grow in place, so that
 * no request is cut off from the rest of a page. The room is address space
 * only. With more than MAX_ROOMY of them being filled at once it is given up:
 * a thousand open pools have to lie side by side in the end, as the gaps
 * between them cost mappings.
 */
#define MAX_ROOMY	16
#define MIN_ROOM	16		/* pages */
#define MAX_ROOM	48
#define ROOM_SHARE	128		/* at most this part of the window */

static inline size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) & ~(to - 1);
}

static inline size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

/*
 * To be called once code was stored at @start, or through another mapping of the
 * same memory, and before it runs at @start, where it can be read by now. The
 * kernel backend has it done by the device and by the system's first executable
 * mapping of a page.
 *
 * On arm64, unless CTR_EL0 says that caches follow stores (IDC, DIC): clean the
 * data cache to the point of unification (DC CVAU), DSB, invalidate the
 * instruction cache (IC IVAU), DSB, ISB. Data caches are as if physically
 * indexed, so that any mapping's address cleans them; instruction caches may be
 * virtually indexed, so that it must be the address where the code will run.
 * Both reach all processors, but the ISB is this thread's own: others are up to
 * wxp_sync_cores().
 */
static inline void sync_icache(char *start, size_t size)
{
	__builtin___clear_cache(start, start + size);
}

/* bits.c: ranges of bitmaps. Those within one word, which most are, are inline. */
void bits_set_many(uint64_t *words, uint32_t i, uint32_t nr);
void bits_clear_many(uint64_t *words, uint32_t i, uint32_t nr);
bool bits_any_many(const uint64_t *words, uint32_t i, uint32_t nr);
bool bits_all_many(const uint64_t *words, uint32_t i, uint32_t nr);

static inline bool in_one_word(uint32_t i, uint32_t nr)
{
	return nr && nr <= 64 - i % 64;
}

static inline uint64_t bits_mask(uint32_t i, uint32_t nr)
{
	return ~0ull >> (64 - nr) << i % 64;
}

static inline bool bit_test(const uint64_t *words, uint32_t i)
{
	return words[i / 64] >> i % 64 & 1;
}

static inline void bits_set(uint64_t *words, uint32_t i, uint32_t nr)
{
	if (in_one_word(i, nr))
		words[i / 64] |= bits_mask(i, nr);
	else
		bits_set_many(words, i, nr);
}

static inline void bits_clear(uint64_t *words, uint32_t i, uint32_t nr)
{
	if (in_one_word(i, nr))
		words[i / 64] &= ~bits_mask(i, nr);
	else
		bits_clear_many(words, i, nr);
}

static inline bool bits_any(const uint64_t *words, uint32_t i, uint32_t nr)
{
	return in_one_word(i, nr) ? words[i / 64] & bits_mask(i, nr) : bits_any_many(words, i, nr);
}

static inline bool bits_all(const uint64_t *words, uint32_t i, uint32_t nr)
{
	return in_one_word(i, nr) ? !(~words[i / 64] & bits_mask(i, nr)) :
				    bits_all_many(words, i, nr);
}

/* space.c: which pages of the window, or lines of a zone, are free. */

struct gaps {
	uint32_t pre, suf, max;		/* free ones: first, last, longest run */
};

struct space {
	uint32_t nr_leaves;		/* words, a power of two */
	uint64_t *words;		/* bit set: is free */
	struct gaps *nodes;		/* a heap: the children of i: 2i, 2i + 1 */
};

int space_init(struct space *s, uint32_t nr);
void space_exit(struct space *s);
uint32_t space_find(const struct space *s, uint32_t from, uint32_t nr);
uint32_t space_run(const struct space *s, uint32_t page, uint32_t max);
void space_take(struct space *s, uint32_t page, uint32_t nr);
void space_give(struct space *s, uint32_t page, uint32_t nr);

/* Adjacent pages of one pool. @state only ever moves on. */
enum run_state {
	RUN_OPEN,	/* writable */
	RUN_SEALED,	/* the device sealed it, but the view is missing */
	RUN_DONE,	/* has its final protection */
};

struct run {
	struct run *next;
	uint32_t page;
	uint32_t nr;
	enum wxp_prot prot;
	enum run_state state;
};

struct hole {
	size_t offset, size;
};

/* The memory of one protection in a pool. Offsets are bytes in the window. */
struct bin {
	struct run *fresh;		/* open runs, the newest first */
	struct run *done;
	size_t used, end;		/* of the run being filled, 0: none */
	uint32_t room;			/* pages after @end that are ours */
	bool growing;			/* its size is not known in advance */
	struct hole holes[MAX_HOLES];	/* gaps in open runs */
};

/* Places of equal requests, one after the other. */
struct group {
	size_t size, align, left;
	size_t offset;			/* of the next place */
	enum wxp_prot prot;
};

struct reservation {
	struct reservation *next;
	size_t left, nr;
	bool skipped;			/* its places hold traps */
	struct group groups[];
};

/* What is placed: spans, bytes asked for, lines held, lines installed. */
struct tally {
	uint64_t bytes;
	uint32_t spans, lines, live;
};

/* What a pool has by wxp_alloc(). */
struct regions {
	struct bin bins[NR_PROTS];
	uint64_t requested, allocations;
	struct reservation *reservations;
};

struct pool {
	struct pool *next;		/* in its bucket, retired, or unused */
	uint32_t id;
	bool on_device;			/* the device knows it */
	bool kept;			/* children use what it had when it was freed */
	uint32_t spans;			/* the newest one's first line */
	uint32_t in_flight;		/* prepared installs */
	struct tally placed;
	struct regions *regions;	/* NULL: no use of wxp_alloc() so far */
};

/*
 * Lines of one protection, packed: a piece of the window from which spans are
 * cut. Lines count from the zone's start.
 */
struct zone {
	struct zone *next;		/* of the same protection */
	enum wxp_prot prot;
	uint32_t page, nr_pages;
	uint32_t start, nr_lines;	/* the same in the window's lines */
	uint32_t ready;			/* pages from the start that are mapped */
	uint32_t nr_held;
	uint32_t nr_kept;		/* of retired pools: others get none meanwhile */
	struct space lines;		/* free ones that are not at hand */
	uint64_t *held;			/* lines in spans, */
	uint64_t *first;		/* the first of each span, */
	uint64_t *live;			/* and those installed */
	struct span_info {
		uint32_t owner, next;	/* pool; first line, in the window */
	} *info;			/* at first lines; once kept, @owner is their number */
};

#define QUICK_SIZES	65		/* spans up to 64 lines */
#define QUICK_DEPTH	8

/* The lines of one protection that are at hand. */
struct area {
	struct zone *zones;		/* the oldest first */
	uint32_t cut, cut_end;		/* where new spans come from */
	unsigned char nr_quick[QUICK_SIZES];
	uint32_t quick[QUICK_SIZES][QUICK_DEPTH];	/* freed, by size */
	uint32_t big, nr_big;		/* the last one freed that is larger */
};

/* Writable pages that nobody uses, but which are not zero. */
struct cache {
	uint64_t *dirty;
	uint64_t *stale;		/* packed pages: free lines may not be zero */
	uint32_t nr, max;		/* dirty pages */
};

/**
 * struct wxp_ops - what a backend does; all but @open under the context's lock
 * @unused: protection of window pages that belong to nobody
 * @open: prepares the reserved window
 * @close: @forked: in a child, where only its own resources may be touched
 * @grant: makes the runs readable, writable and zero: all or none
 * @seal: moves runs on to RUN_DONE; after an error some may be
 * @drop: takes the memory of the pool's R and RX runs back; may set @kept
 * @info: what the device says, also of @pool in it; false: nothing
 * @view_step: pages of a zone that one @view makes ready, 0: all
 * @view: makes pages of a zone ready for @install: trap bytes, or zeros
 * @unview: the opposite, for a whole zone
 * @install: copies, all or nothing
 * @freeze: has the device refuse what makes code
 */
struct wxp_ops {
	const char *name;
	int unused;
	int (*open)(struct wxp *w);
	void (*close)(struct wxp *w, bool forked);
	int (*grant)(struct wxp *w, struct pool *pool, struct run **runs, unsigned int nr);
	int (*seal)(struct wxp *w, struct pool *pool, struct run **runs, unsigned int nr);
	int (*drop)(struct wxp *w, struct pool *pool);
	bool (*info)(const struct wxp *w, struct wxpool_info *info);
	uint32_t view_step;
	int (*view)(struct wxp *w, uint32_t page, uint32_t nr, enum wxp_prot prot);
	void (*unview)(struct wxp *w, struct zone *zone);
	int (*install)(struct wxp *w, struct pool *pool, struct wxpool_install_range *ranges,
		       unsigned int nr);
	int (*freeze)(struct wxp *w);
};

extern const struct wxp_ops wxp_kernel_ops, wxp_portable_ops, wxp_fast_ops;

struct wxp {
	/* Constant once open. */
	const struct wxp_ops *ops;
	enum wxp_backend backend;
	char *base;
	size_t size;
	size_t page_size;
	uint32_t nr_pages;
	uint32_t zone_pages;		/* unit of zones, a power of two, */
	unsigned int zone_shift;	/* its logarithm, of lines */
	unsigned int flags;
	int fd;				/* -1 without a device */
	uint64_t context;		/* what the device calls it */
	int memfd;			/* of the portable backend's zones, or -1 */
	int key;			/* of writable views, or -1 */
	const volatile uint32_t *alive;	/* 0 in a child: the page is wiped */

	pthread_mutex_t lock;		/* guards all that follows */
	bool frozen;
	struct space space;
	struct spare {
		uint32_t page, nr;
	} spares[NR_PROTS];		/* the run freed last, not in @space yet */
	uint32_t rw_start;		/* pages from here on are RW memory */
	uint64_t *fixed;		/* pages with views that stay for good, or NULL */
	uint64_t spent;			/* those of freed pools */
	struct cache cache;
	struct area areas[NR_PROTS];
	struct zone **zones;		/* by unit of the window */
	struct tally placed;
	struct pool **buckets;
	size_t nr_buckets;		/* a power of two */
	size_t nr_pools;
	struct slab *slabs;
	struct pool *unused;
	struct pool *retired;		/* children use what they had */
	unsigned int nr_growing[NR_PROTS];
	struct bin *roomy[NR_PROTS][MAX_ROOMY];
	uint64_t requested, allocations;
	uint64_t pages_open;
	uint64_t pages[NR_PROTS];	/* R and RX: sealed ones */
	uint64_t syscalls;
	struct run *batch[MAX_BATCH];	/* scratch of wxp_protect() */
	union {				/* scratch of any call */
		struct wxpool_install_range ranges[MAX_BATCH];
		struct wxpool_protect_range protects[MAX_BATCH];
	};
	struct io_uring *ring;		/* of wxp_install_batch() */
	bool no_ring;			/* it cannot be had */
};

/* @prot as the device has it: WXP_R or WXP_RX */
static inline uint32_t device_prot(enum wxp_prot prot)
{
	return prot == WXP_RX ? WXPOOL_PROT_X : WXPOOL_PROT_R;
}

static inline char *page_addr(const struct wxp *w, uint32_t page)
{
	return w->base + page * w->page_size;
}

static inline size_t run_bytes(const struct wxp *w, const struct run *run)
{
	return run->nr * w->page_size;
}

static inline uint32_t lines_for(size_t bytes)
{
	return (uint32_t)((bytes + WXP_LINE - 1) / WXP_LINE);
}

static inline uint32_t lines_per_page(const struct wxp *w)
{
	return (uint32_t)(w->page_size / WXP_LINE);
}

static inline char *line_addr(const struct wxp *w, uint32_t line)
{
	return w->base + (size_t)line * WXP_LINE;
}

/* The zone that @line of the window is in, or NULL. */
static inline struct zone *zone_at(const struct wxp *w, uint32_t line)
{
	return w->zones ? w->zones[line >> w->zone_shift] : NULL;
}

/*
 * Each call begins with it. Asks before it takes the lock: a thread of the
 * parent may have held that when the child was forked.
 */
static inline int wxp_enter(struct wxp *w)
{
	if (!w)
		return -EINVAL;
	if (!*w->alive)
		return -EXDEV;
	pthread_mutex_lock(&w->lock);
	return 0;
}

static inline void wxp_leave(struct wxp *w)
{
	pthread_mutex_unlock(&w->lock);
}

/* For what a frozen context refuses. */
static inline int wxp_enter_change(struct wxp *w)
{
	int ret = wxp_enter(w);

	if (!ret && w->frozen) {
		wxp_leave(w);
		ret = -EROFS;
	}
	return ret;
}

#define DEFAULT_ALIGN	16

static inline int check_request(const struct wxp *w, size_t size, size_t *align, enum wxp_prot prot)
{
	if (!*align)
		*align = DEFAULT_ALIGN;
	if (!size || prot < WXP_R || prot > WXP_RX)
		return -EINVAL;
	if (*align & (*align - 1) || *align > w->page_size)
		return -EINVAL;
	return size > w->size ? -ENOMEM : 0;
}

/* window.c */
int window_open(struct wxp *w);
void window_close(struct wxp *w);
void window_unmap(struct wxp *w);
uint32_t window_find(struct wxp *w, enum wxp_prot prot, uint32_t nr);
uint32_t window_find_hard(struct wxp *w, enum wxp_prot prot, uint32_t nr);
void window_give(struct wxp *w, enum wxp_prot prot, uint32_t page, uint32_t nr);
uint32_t spare_take(struct wxp *w, enum wxp_prot prot, uint32_t nr);
void spares_drop(struct wxp *w);
uint32_t window_find_zone(struct wxp *w, enum wxp_prot prot, uint32_t nr);
int window_map(struct wxp *w, uint32_t page, uint32_t nr, int prot);
int window_protect(struct wxp *w, const struct run *run, int prot);
void window_discard(struct wxp *w, uint32_t page, uint32_t nr);

/* cache.c */
int cache_open(struct wxp *w);
void cache_close(struct wxp *w);
void cache_add(struct wxp *w, uint32_t page, uint32_t nr);
void cache_forget(struct wxp *w, uint32_t page, uint32_t nr);
void cache_zero(struct wxp *w, uint32_t page, uint32_t nr);
void cache_lines_freed(struct wxp *w, const struct zone *zone, uint32_t line, uint32_t nr);
void cache_lines_zero(struct wxp *w, const struct zone *zone, uint32_t line, uint32_t nr);

/* line.c */
int lines_find(struct wxp *w, enum wxp_prot prot, uint32_t nr, uint32_t align, uint32_t *line);

/* Takes @nr lines, the first a multiple of @align, which is a power of two. */
static inline int lines_take(struct wxp *w, enum wxp_prot prot, uint32_t nr, uint32_t align,
			     uint32_t *line)
{
	struct area *area = &w->areas[prot];

	if (align > 1 || area->cut_end - area->cut < nr ||
	    (nr < QUICK_SIZES ? area->nr_quick[nr] : area->nr_big == nr))
		return lines_find(w, prot, nr, align, line);
	*line = area->cut;
	area->cut += nr;
	return 0;
}

void lines_give(struct wxp *w, enum wxp_prot prot, uint32_t line, uint32_t nr);
void lines_gather(struct wxp *w);
bool zones_reclaim(struct wxp *w);
void zones_destroy(struct wxp *w);

/* place.c */
bool spans_next(const struct wxp *w, uint32_t *line, struct zone **zone, uint32_t *rel,
		uint32_t *nr);
void spans_drop(struct wxp *w, struct pool *pool);
void spans_release(struct wxp *w, struct pool *pool);

/* guard.c */
int guard_open(struct wxp *w);
void guard_close(struct wxp *w);
int guard_fix(struct wxp *w, uint32_t page, uint32_t nr);
int guard_lock(struct wxp *w, uint32_t page, uint32_t nr);
int guard_enter(const struct wxp *w);
void guard_leave(const struct wxp *w, int rights);

/* What is asked of the kernel backend, and must not be had by half. */
#define GUARDS		(WXP_MSEAL | WXP_PKEY)

static inline bool guard_insists(const struct wxp *w)
{
	return w->flags & GUARDS && !(w->flags & WXP_IF_POSSIBLE);
}

/* Whether the view of a page can never be replaced. */
static inline bool is_fixed(const struct wxp *w, uint32_t page)
{
	return w->fixed && bit_test(w->fixed, page);
}

/* install.c */
int install_locked(struct wxp *w, uint32_t id, const struct wxp_piece *pieces, size_t nr);
bool install_fits(const struct wxp_piece *pieces, size_t nr);
int install_prepare(struct wxp *w, uint32_t id, const struct wxp_piece *pieces, size_t nr,
		    struct wxpool_install *op, struct wxpool_install_range *ranges);
int install_done(struct wxp *w, const struct wxpool_install *op, int result);
void install_op(const struct wxp *w, struct wxpool_install *op, uint32_t id,
		const struct wxpool_install_range *ranges, unsigned int nr);

/* uring.c */
#define RING_SIZE	64

int ring_open(struct wxp *w);
void ring_close(struct wxp *w, bool forked);
unsigned int ring_run(struct wxp *w, struct wxpool_install *ops, int *results, unsigned int nr);

/* room.c */
void room_claim(struct wxp *w, struct bin *bin, enum wxp_prot prot);
void room_drop(struct wxp *w, struct bin *bin, enum wxp_prot prot);
void room_drop_all(struct wxp *w);
bool room_wanted(const struct wxp *w, enum wxp_prot prot);
uint32_t room_least(const struct wxp *w);
void bin_grows(struct wxp *w, struct bin *bin, enum wxp_prot prot);
void bin_settles(struct wxp *w, struct bin *bin, enum wxp_prot prot);

/* fill.c */
struct demand {
	enum wxp_prot prot;
	size_t size, align;
	size_t offset;			/* result */
	bool skipped;			/* result: may hold traps instead of zeros */
};

int fill(struct wxp *w, struct pool *pool, struct demand *demands, unsigned int nr,
	 bool growing);
bool fill_hole(struct bin *bin, struct demand *d);
void bin_skip_rest(struct wxp *w, struct bin *bin, enum wxp_prot prot);
void bin_close(struct wxp *w, struct bin *bin, enum wxp_prot prot);
void run_push(struct run **list, struct run *run);
void fill_traps(char *start, size_t size);

/* pool.c */
static inline struct pool **pool_bucket(const struct wxp *w, uint32_t id)
{
	/* Fibonacci hashing, as numbers tend to be multiples of something. */
	return &w->buckets[(id * 2654435769u) >> 7 & (w->nr_buckets - 1)];
}

static inline struct pool *pool_find(const struct wxp *w, uint32_t id)
{
	struct pool *pool = w->nr_buckets ? *pool_bucket(w, id) : NULL;

	while (pool && pool->id != id)
		pool = pool->next;
	return pool;
}

struct pool *pool_get(struct wxp *w, uint32_t id);
int pool_get_regions(struct wxp *w, uint32_t id, struct pool **pool);
void pool_put(struct wxp *w, struct pool *pool);
void pools_destroy(struct wxp *w);
bool pools_reclaim(struct wxp *w);

/* reserve.c */
bool reservation_take(struct pool *pool, struct demand *d);
void reservations_cut(struct pool *pool, enum wxp_prot prot);
void reservations_skip(struct wxp *w, struct pool *pool);

#endif /* WXP_INTERNAL_H */
