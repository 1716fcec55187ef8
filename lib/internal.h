/* SPDX-License-Identifier: MIT */
/*
 * libwxpool: what its files share
 *
 * context   what wxp_open() gives: a window, and those that a parent had at a fork
 * window    a range of addresses with a layout that never changes, its descriptor, and
 *           the tables of what lies where
 * area      a part of a window: code (an X view), constants (an R view), variables
 *           (private memory)
 * block     2 MiB of an area: fresh, packed (of lines) or paged (of whole pages, to be
 *           written in place)
 * line      64 bytes; numbered from the start of the window
 * span      adjacent lines that one pool got together
 * run       adjacent free lines, as many as there are
 * open      of whole pages: written in place, not protected yet
 * retired   of a pool: freed, but a forked child can still run it
 *
 * Layers, each of which calls only those after it: remote (also remote-executor and
 * remote-message); context, load, install, alloc, free and uring; stats; span and pool; area;
 * window; backends, harden and sync; bits and arch.
 *
 * A context's lock guards its window's tables and all pools in them. No system call for
 * code is made with it held: a call that is about to make one counts itself in its pool
 * (pool_hold()), so that nobody frees it meanwhile, and what it has taken is out of
 * others' reach already. A pool that is being freed is marked (POOL_DYING), and other calls
 * on it fail. Counts go down without the lock.
 *
 * contexts_lock (context.c) guards the list of contexts, and is taken before theirs.
 */
#ifndef WXP_INTERNAL_H
#define WXP_INTERNAL_H

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/wxpool.h>

#include "arch.h"
#include "bits.h"
#include "wxpool.h"

#define WXP_EXPORT	__attribute__((visibility("default")))

#define NONE		UINT32_MAX
#define BLOCK		((size_t)2 << 20)
#define BLOCK_LINES	((uint32_t)(BLOCK / WXP_LINE))
#define MIN_WINDOW	(3 * BLOCK)
#define MAX_WINDOW	((size_t)2 << 30)
#define MAX_BLOCKS	(MAX_WINDOW / BLOCK)

#define likely(x)	__builtin_expect(!!(x), 1)
#define unlikely(x)	__builtin_expect(!!(x), 0)

/* @to: a power of two */
static inline size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) & ~(to - 1);
}

static inline uint32_t lines_for(size_t bytes)
{
	return (uint32_t)((bytes + WXP_LINE - 1) / WXP_LINE);
}

/*
 * struct line - what is known of a line, if a span or a run begins there or shortly
 * before
 *
 *            span              span of pages        listed run
 *   first    pool, sibling     the same             next, prev
 *   second   length, -         the same             length, -
 *   third    -                 used, state          -
 *   fourth   -                 open_next, -         -
 *   last     -                 -                    length, -
 *
 * Lengths are in lines. What has a single line needs none: the next begins something.
 */
struct line {
	union {
		uint32_t pool;		/* 0: a rest, or a spare span */
		uint32_t next;
		uint32_t length;
		uint32_t used;		/* bytes given out */
		uint32_t open_next;	/* of those of a pool that are open */
	};
	union {
		uint32_t sibling;	/* of the same pool */
		uint32_t prev;
		uint32_t state;		/* enum span_state */
	};
};

enum span_state { SPAN_BUSY, SPAN_OPEN, SPAN_SEALED };

enum area_kind { CODE, CONSTANTS, VARIABLES, NR_AREAS };
enum block_kind { FRESH, PACKED, PAGED, NR_KINDS };

/* Runs of up to EXACT - 1 units are listed by length; longer ones, 16 lists an octave */
#define EXACT		256u
#define NR_LISTS	(EXACT + 18 * 16)
#define NR_LIST_WORDS	((NR_LISTS + 63) / 64)

/* Spans up to so many lines are kept, a few of each length, as they were freed. */
#define MAX_SPARE	64u
#define NR_SPARES	4u

/* Free lines in the blocks of one kind */
struct heap {
	unsigned int shift;		/* a unit is 1 << shift lines */
	uint32_t rest, rest_end;	/* the one run that is not listed, or 0 */
	uint32_t list_words;		/* which of @lists are not 0, */
	uint64_t lists[NR_LIST_WORDS];	/* which lists are not empty, */
	uint32_t first[NR_LISTS];	/* and where these begin */
	unsigned char nr_spare[MAX_SPARE + 1];
	uint32_t spare[MAX_SPARE + 1][NR_SPARES];
};

struct area {
	uint32_t start, end;		/* lines */
	uint32_t low, high;		/* blocks: those between are fresh */
	struct heap heap[NR_KINDS];	/* but for FRESH */
};

/*
 * struct pool - a pool
 * @id: 0 for one that is unused, or retired for good
 * @next: in its bucket, of the retired, or of the unused
 * @spans: the first line of its newest one
 * @open: the same of its open pages, by area
 * @state: number of calls under way (HOLDS), the forks before it began (ERA, portable), and
 *	flags. Atomic, as holds end without the lock
 */
struct pool {
	uint32_t id;
	uint32_t next;
	uint32_t spans;
	uint32_t open[2];
	uint32_t state;
};

#define POOL_ON_DEVICE	(1u << 31)	/* the device knows it */
#define POOL_DYING	(1u << 30)
#define POOL_NAMED	(1u << 29)	/* by wxp_new_pool(): lives on without spans */
#define POOL_RETIRED	(1u << 28)
#define POOL_ERA_SHIFT	18
#define POOL_MAX_ERA	0x3ffu
#define POOL_SEALING	(1u << 17)	/* by one thread at a time */
#define POOL_HOLDS	(POOL_SEALING - 1)

#define CHUNK		1024u

/* Pools never move; their buckets grow by one at a time (linear hashing). */
struct pools {
	struct pool **chunks;
	uint32_t nr_chunks, nr_used;	/* pool 0 is none */
	uint32_t unused, retired;	/* lists */
	uint32_t **buckets;
	uint32_t nr_bucket_chunks, nr_buckets, mask;
	uint32_t nr;			/* alive */
};

struct backend;

struct window {
	/* Constant once open; what a backend's @open sets comes first */
	const struct backend *backend;
	int fd;				/* -1: none */
	uint64_t features;		/* of the device */
	uint64_t id;			/* of the device's context, or the file's inode */
	uint64_t file_dev;		/* the device that has the file */
	size_t page_size;
	unsigned int flags;		/* those of the context */
	int key;			/* of the W view, or -1 */
	size_t size;			/* all that follows depends on it */
	size_t tables_size;
	char *base;
	char *write;			/* the W view; @base if there is one address */
	struct window *older;		/* of the parent */

	bool writable;			/* the W view is there (atomic) */
	unsigned char written[MAX_BLOCKS];	/* these of it can be (portable; atomic) */

	/* Under the lock */
	bool inherited;			/* nothing is made or used again here */
	uint32_t era;			/* forks, up to POOL_MAX_ERA, and then again from 1 */
	uint64_t retired_lines;
	struct area areas[NR_AREAS];
	struct pools pools;
	struct line *lines;
	uint64_t *bits;
	unsigned char kind[MAX_BLOCKS + 1];
};

struct wxp {
	/* Constant once open */
	struct wxp *next;		/* of all contexts; under contexts_lock */
	enum wxp_backend backend;
	unsigned int flags;
	int fallback;
	int key;
	size_t asked;			/* size of the window, or 0 */
	unsigned int r_share, rw_share;

	pthread_mutex_t lock;		/* guards all that follows */
	struct window *window;
	bool frozen;
	uint32_t next_id;		/* for wxp_new_pool() */
	struct wxp_op *ops;		/* prepared for rings */
};

/*
 * struct backend - what gives memory, and seals it
 *
 * Offsets are those in the window. @map is called with addresses reserved from @base on
 * and, if it is another, from @write. The operations for code are called without the
 * lock, by several threads at once, but not for the same lines. What fails has changed
 * nothing. Fast has only @map, @alloc, @protect, @install and @clear; only kernel has @freeze
 * and @info.
 *
 * @open: gets the descriptor, and checks that all below will be allowed
 * @map: the views of code and constants, which show traps and zeros, or nothing
 * @open_write: makes the W view writable; again and again is as once. May be absent
 * @alloc: opens pages, zeroed; with WXP_ONE_ADDRESS writable where they are
 * @protect: seals them
 * @install: copies bytes into lines
 * @free: ends pools, all if @nr is 0; tells if a child still uses any of them
 * @clear: a span of a pool that @free has ended. If it fails, that is never used again
 * @freeze, @info: the device's
 * @is_ours: is the descriptor still what @open got?
 */
struct backend {
	const char *name;
	unsigned int flags;		/* that it can do */
	int (*open)(struct window *w);
	int (*map)(struct window *w);
	int (*open_write)(struct window *w);
	int (*alloc)(struct window *w, uint32_t pool, const struct wxpool_protect_range *ranges,
		     uint32_t nr);
	int (*protect)(struct window *w, uint32_t pool, struct wxpool_protect_range *ranges,
		       uint32_t nr);
	int (*install)(struct window *w, uint32_t pool, struct wxpool_install_range *ranges,
		       uint32_t nr);
	int (*clear)(struct window *w, uint32_t line, uint32_t nr);
	int (*free)(struct window *w, const uint32_t *pools, uint32_t nr, bool *kept);
	int (*freeze)(struct window *w);
	int (*info)(struct window *w, struct wxpool_info *info);
	bool (*is_ours)(struct window *w);
};

extern const struct backend wxp_kernel, wxp_portable, wxp_fast;

/* A thread that is cancelled in the middle of a call would leave others waiting. */
static inline int cancel_disable(void)
{
	int old;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
	return old;
}

static inline void cancel_restore(int old)
{
	pthread_setcancelstate(old, &old);
}

/* backend.c */
typedef int (*put_fn)(struct window *w, size_t offset, const void *from, size_t size);

int backend_keep_fd(int fd);
const char *backend_filler(const struct window *w, uint64_t offset);
int backend_install(struct window *w, const struct wxpool_install_range *r, uint32_t nr,
		    put_fn put);
int backend_clear(struct window *w, uint32_t line, uint32_t nr, put_fn put,
		  int (*discard)(struct window *w, size_t offset, size_t size));

/* window.c */
int window_open(struct wxp *x, struct window **out);
void window_close(struct window *w);
char *window_reserve(size_t size);
int window_map(struct window *w, size_t offset, size_t size, int prot, int flags, int fd);
void window_disown(struct window *w);
void window_discard(char *from, size_t size);

static inline bool is_variable(const struct window *w, uint32_t line)
{
	return line >= w->areas[CONSTANTS].end;
}

static inline struct area *window_area(struct window *w, uint32_t line)
{
	if (line < w->areas[CODE].end)
		return &w->areas[CODE];
	return &w->areas[is_variable(w, line) ? VARIABLES : CONSTANTS];
}

static inline bool is_code(const struct window *w, uint64_t offset)
{
	return offset / WXP_LINE < w->areas[CODE].end;
}

/* Is memory written where it will run? */
static inline bool has_one_address(const struct window *w)
{
	return w->write == w->base;
}

/* Code and constants */
static inline size_t window_sealable(const struct window *w)
{
	return (size_t)w->areas[CONSTANTS].end * WXP_LINE;
}

/* The offset of @addr, or one beyond the window */
static inline size_t window_offset(const struct window *w, const void *addr)
{
	return (size_t)((uintptr_t)addr - (uintptr_t)w->base);
}

static inline char *line_addr(const struct window *w, uint32_t line)
{
	return w->base + (size_t)line * WXP_LINE;
}

static inline uint32_t device_prot(const struct window *w, enum area_kind kind)
{
	if (kind == CONSTANTS)
		return WXPOOL_PROT_R;
	return w->flags & WXP_EXEC_ONLY ? WXPOOL_PROT_XO : WXPOOL_PROT_X;
}

/* area.c: which lines are free */
void area_init(struct window *w, enum area_kind kind, uint32_t start, uint32_t end);
uint32_t lines_take(struct window *w, enum area_kind area, enum block_kind kind, uint32_t nr,
		    uint32_t align);
bool lines_take_at(struct window *w, enum area_kind area, uint32_t line, uint32_t nr);
void lines_give(struct window *w, uint32_t line, uint32_t nr);
bool lines_spare(struct window *w, uint32_t line, uint32_t nr);
uint64_t area_free(struct window *w, struct area *area, uint32_t *largest);

static inline enum block_kind kind_of(const struct window *w, uint32_t line)
{
	return (enum block_kind)w->kind[line / BLOCK_LINES];
}

/* Of the span that begins here: is it of pages that are not sealed yet? */
static inline bool is_open(const struct window *w, uint32_t line)
{
	return kind_of(w, line) == PAGED && w->lines[line + 2].state != SPAN_SEALED;
}

/* Does a span or a run begin here, given that one ends before it? */
static inline bool line_begins(const struct window *w, uint32_t line)
{
	return bit_test(w->bits, BIT_BEGIN, line) ||
	       (!(line % BLOCK_LINES) && kind_of(w, line) == FRESH);
}

/* Of the span or the listed run that begins here */
static inline uint32_t line_length(const struct window *w, uint32_t line)
{
	return line_begins(w, line + 1) ? 1 : w->lines[line + 1].length;
}

/* pool.c: which pools there are */
int pools_init(struct window *w);
void pools_forked(struct window *w);
void pools_exit(struct window *w);
uint32_t pool_find(const struct window *w, uint32_t id);
int pool_get(struct window *w, uint32_t id, uint32_t *pool);
void pool_put(struct window *w, uint32_t pool);
void pool_end(struct window *w, uint32_t pool);
void pool_retire(struct window *w, uint32_t pool);

/* With the lock: what it gives never moves, but the table that it looks it up in does. */
static inline struct pool *pool_at(const struct window *w, uint32_t pool)
{
	return &w->pools.chunks[pool / CHUNK][pool % CHUNK];
}

static inline uint32_t pool_state(const struct pool *p)
{
	return __atomic_load_n(&p->state, __ATOMIC_ACQUIRE);
}

/* Prepared installs can be any number, other calls are not more than threads. */
static inline bool pool_can_hold(const struct pool *p)
{
	return !(pool_state(p) & POOL_DYING) && (pool_state(p) & POOL_HOLDS) < POOL_HOLDS / 2;
}

/* With the lock. Nobody frees it, until: */
static inline void pool_hold(struct pool *p)
{
	__atomic_fetch_add(&p->state, 1, __ATOMIC_RELAXED);
	assert(pool_state(p) & POOL_HOLDS && !(pool_state(p) & POOL_DYING));
}

/* @on_device: it has got something there */
static inline void pool_release(struct pool *p, bool on_device)
{
	if (on_device && !(pool_state(p) & POOL_ON_DEVICE))
		__atomic_fetch_or(&p->state, POOL_ON_DEVICE, __ATOMIC_RELAXED);
	assert(pool_state(p) & POOL_HOLDS);
	__atomic_fetch_sub(&p->state, 1, __ATOMIC_RELEASE);
}

/* span.c: who holds which lines */
uint32_t span_take(struct window *w, enum area_kind area, enum block_kind kind, uint32_t nr,
		   size_t align);
uint32_t span_place(struct window *w, uint32_t pool, enum area_kind area, size_t size,
		    size_t align);
void span_add(struct window *w, uint32_t pool, uint32_t line, uint32_t nr);
void span_remove(struct window *w, uint32_t pool, uint32_t line);
void span_join(struct window *w, uint32_t pool, uint32_t first, uint32_t second);
void spans_drop_to(struct window *w, uint32_t pool, uint32_t stop);
void spans_retire(struct window *w, uint32_t pool);
bool spans_reclaim(struct window *w);
uint32_t span_of(const struct window *w, uint32_t line);

/* context.c */
int context_enter(struct wxp *x);
int context_enter_new(struct wxp *x);

static inline void context_leave(struct wxp *x)
{
	pthread_mutex_unlock(&x->lock);
}

/* @align: of struct wxp_request; receives one from @least on */
static inline int check_request(size_t size, size_t *align, enum wxp_prot prot, size_t least)
{
	if (unlikely(!size || *align & (*align - 1) || *align > WXP_MAX_ALIGN ||
		     (prot != WXP_RX && prot != WXP_R && prot != WXP_RW)))
		return -EINVAL;
	if (*align < least)
		*align = least;
	return 0;
}

static inline enum area_kind area_for(enum wxp_prot prot)
{
	if (prot == WXP_RX)
		return CODE;
	return prot == WXP_R ? CONSTANTS : VARIABLES;
}

/* install.c */
int install_check(const struct wxp_piece *pieces, size_t nr, uint32_t pool);
int install_begin(struct wxp *x, uint32_t id, const struct wxp_piece *pieces, size_t nr,
		  struct wxpool_install_range *ranges, uint32_t *nr_ranges, struct pool **p);
void install_end(struct wxp *x, struct window *w, struct pool *p, const struct wxp_piece *pieces,
		 size_t nr, int err);

/* uring.c */
void ops_forget(struct wxp *x);

/* backend-kernel.c: what a ring needs, and an executor */
int kernel_code_prot(unsigned int flags);
bool kernel_is_lost(struct window *w);
void kernel_install_arg(const struct window *w, struct wxpool_install *arg, uint32_t pool,
			const struct wxpool_install_range *ranges, uint32_t nr);

/* sync.c */
int sync_cores(void);

/* harden.c: options that only the kernel backend has, and that may be insisted on */
#define HARDENED	(WXP_MSEAL | WXP_PKEY | WXP_EXEC_ONLY | WXP_BTI | WXP_COMPILE_ONLY)

int harden_check(struct wxp *x, const struct window *w);
int harden_views(struct window *w);
int harden_key(struct window *w);
int harden_enter(const struct window *w);
void harden_leave(const struct window *w, int rights);

#endif /* WXP_INTERNAL_H */
