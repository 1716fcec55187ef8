/* SPDX-License-Identifier: MIT */
/* libwxpool: what its files share. */
#ifndef WXP_INTERNAL_H
#define WXP_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "wxpool.h"

#define WXP_EXPORT	__attribute__((visibility("default")))

#define NO_PAGE		UINT32_MAX
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

/* space.c: which pages of the window are free. */

struct span {
	uint32_t pre, suf, max;		/* free pages: first, last, longest run */
};

struct space {
	uint32_t nr_leaves;		/* words, a power of two */
	uint64_t *words;		/* bit set: page is free */
	struct span *nodes;		/* a heap: the children of i: 2i, 2i + 1 */
};

int space_init(struct space *s, uint32_t nr_pages);
void space_exit(struct space *s);
uint32_t space_find(const struct space *s, uint32_t from, uint32_t nr);
uint32_t space_run(const struct space *s, uint32_t page, uint32_t max);
void space_take(struct space *s, uint32_t page, uint32_t nr);
void space_give(struct space *s, uint32_t page, uint32_t nr);

/*
 * Adjacent pages of one pool. @state only ever moves on, but for RUN_STUCK,
 * which becomes RUN_OPEN again.
 */
enum run_state {
	RUN_OPEN,	/* writable */
	RUN_STUCK,	/* the device granted it, but the view is missing */
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
	struct group groups[];
};

struct pool {
	struct pool *next;		/* in its bucket, or retired */
	uint32_t id;
	bool on_device;			/* the device knows it */
	uint64_t requested, allocations;
	bool kept;			/* a child used pages when it was freed */
	struct bin bins[NR_PROTS];
	struct run *stuck;
	struct reservation *reservations;
};

/**
 * struct wxp_ops - what a backend does; all but @open under the context's lock
 * @unused: protection of window pages that belong to nobody
 * @open: prepares the reserved window
 * @close: @forked: in a child, where only its own resources may be touched
 * @grant: makes the runs readable, writable and zero: all or none, but runs
 *	that it leaves in RUN_STUCK
 * @seal: moves runs on to RUN_DONE; after an error some may be
 * @drop: takes the memory of the pool's R and RX runs back; may set @kept
 * @unstick: tries again to map a run in RUN_STUCK
 * @probe: whether no child uses the pages of a retired pool any more
 * @kept: pages of all retired pools that children use, UINT64_MAX: not known
 */
struct wxp_ops {
	const char *name;
	int unused;
	int (*open)(struct wxp *w);
	void (*close)(struct wxp *w, bool forked);
	int (*grant)(struct wxp *w, struct pool *pool, struct run **runs, unsigned int nr);
	int (*seal)(struct wxp *w, struct pool *pool, struct run **runs, unsigned int nr);
	int (*drop)(struct wxp *w, struct pool *pool);
	int (*unstick)(struct wxp *w, struct run *run);
	bool (*probe)(struct wxp *w, struct pool *pool);
	uint64_t (*kept)(struct wxp *w);
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
	int fd;				/* -1 without a device */
	const volatile uint32_t *alive;	/* 0 in a child: the page is wiped */

	pthread_mutex_t lock;		/* guards all that follows */
	struct space space;
	uint32_t rw_start;		/* pages from here on are RW memory */
	struct pool **buckets;
	size_t nr_buckets;		/* a power of two */
	size_t nr_pools;
	struct pool *retired;
	unsigned int nr_growing[NR_PROTS];
	struct bin *roomy[NR_PROTS][MAX_ROOMY];
	uint64_t requested, allocations;
	uint64_t pages_open;
	uint64_t pages[NR_PROTS];	/* R and RX: sealed ones */
	uint64_t syscalls;
	struct run *batch[MAX_BATCH];	/* scratch of wxp_protect() */
	void *priv;			/* of the backend */
};

static inline char *page_addr(const struct wxp *w, uint32_t page)
{
	return w->base + page * w->page_size;
}

static inline size_t run_bytes(const struct wxp *w, const struct run *run)
{
	return run->nr * w->page_size;
}

/* context.c */
int wxp_enter(struct wxp *w);
void wxp_leave(struct wxp *w);

/* window.c */
int window_open(struct wxp *w);
void window_close(struct wxp *w);
uint32_t window_find(struct wxp *w, enum wxp_prot prot, uint32_t nr);
uint32_t window_find_hard(struct wxp *w, enum wxp_prot prot, uint32_t nr);
int window_map(struct wxp *w, uint32_t page, uint32_t nr, int prot);
int window_protect(struct wxp *w, const struct run *run, int prot);
void window_discard(struct wxp *w, const struct run *run);

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
};

int fill(struct wxp *w, struct pool *pool, struct demand *demands, unsigned int nr,
	 bool growing);
bool fill_hole(struct bin *bin, struct demand *d);
void bin_close(struct wxp *w, struct bin *bin, enum wxp_prot prot);
void run_push(struct run **list, struct run *run);

/* pool.c */
struct pool *pool_find(const struct wxp *w, uint32_t id);
struct pool *pool_get(struct wxp *w, uint32_t id);
void pool_put(struct wxp *w, struct pool *pool);
void pools_destroy(struct wxp *w);
void pools_reclaim(struct wxp *w);
uint64_t pools_kept(struct wxp *w);

/* reserve.c */
bool reservation_take(struct pool *pool, struct demand *d);
void reservations_cut(struct pool *pool, enum wxp_prot prot);
int check_request(const struct wxp *w, size_t size, size_t *align, enum wxp_prot prot);

#endif /* WXP_INTERNAL_H */
