// SPDX-License-Identifier: MIT
/* Pools: lookup by number, allocation, protection and the end of their life. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define MIN_BUCKETS	64

static struct pool **bucket(const struct wxp *w, uint32_t id)
{
	/* Fibonacci hashing, as numbers tend to be multiples of something. */
	return &w->buckets[(id * 2654435769u) >> 7 & (w->nr_buckets - 1)];
}

struct pool *pool_find(const struct wxp *w, uint32_t id)
{
	struct pool *pool = w->nr_buckets ? *bucket(w, id) : NULL;

	while (pool && pool->id != id)
		pool = pool->next;
	return pool;
}

static int grow_table(struct wxp *w)
{
	struct pool **old = w->buckets, *pool;
	size_t nr_old = w->nr_buckets, i;
	size_t nr = nr_old ? nr_old * 2 : MIN_BUCKETS;
	struct pool **new = calloc(nr, sizeof(struct pool *));

	if (!new)
		return -ENOMEM;
	w->buckets = new;
	w->nr_buckets = nr;
	for (i = 0; i < nr_old; i++) {
		while ((pool = old[i])) {
			old[i] = pool->next;
			pool->next = *bucket(w, pool->id);
			*bucket(w, pool->id) = pool;
		}
	}
	free(old);
	return 0;
}

/* The pool @id, made if it is new. NULL: out of memory. */
struct pool *pool_get(struct wxp *w, uint32_t id)
{
	struct pool *pool = pool_find(w, id);

	if (pool)
		return pool;
	/* A full table is only slow: it has to grow the first time. */
	if (w->nr_pools >= w->nr_buckets && grow_table(w) && !w->nr_buckets)
		return NULL;
	pool = calloc(1, sizeof(*pool));
	if (!pool)
		return NULL;
	pool->id = id;
	pool->next = *bucket(w, id);
	*bucket(w, id) = pool;
	w->nr_pools++;
	return pool;
}

static void unlink_pool(struct wxp *w, struct pool *pool)
{
	struct pool **p = bucket(w, pool->id);

	while (*p != pool)
		p = &(*p)->next;
	*p = pool->next;
	w->nr_pools--;
}

static void free_runs(struct wxp *w, struct run **list)
{
	struct run *run;

	while ((run = *list)) {
		*list = run->next;
		space_give(&w->space, run->page, run->nr);
		free(run);
	}
}

static void free_pool(struct wxp *w, struct pool *pool)
{
	int prot;

	for (prot = WXP_R; prot < NR_PROTS; prot++) {
		free_runs(w, &pool->bins[prot].fresh);
		free_runs(w, &pool->bins[prot].done);
		reservations_cut(pool, (enum wxp_prot)prot);
	}
	free_runs(w, &pool->stuck);
	free(pool);
}

static bool is_empty(const struct pool *pool)
{
	int prot;

	for (prot = WXP_R; prot < NR_PROTS; prot++)
		if (pool->bins[prot].fresh || pool->bins[prot].done)
			return false;
	return !pool->stuck;
}

/* Ends a pool that a failed call made. */
void pool_put(struct wxp *w, struct pool *pool)
{
	if (!is_empty(pool))
		return;
	unlink_pool(w, pool);
	free_pool(w, pool);
}

void pools_destroy(struct wxp *w)
{
	struct pool *pool;
	size_t i;

	for (i = 0; i < w->nr_buckets; i++) {
		while ((pool = w->buckets[i])) {
			w->buckets[i] = pool->next;
			free_pool(w, pool);
		}
	}
	while ((pool = w->retired)) {
		w->retired = pool->next;
		free_pool(w, pool);
	}
	free(w->buckets);
}

/* Takes back addresses that children have stopped using. */
void pools_reclaim(struct wxp *w)
{
	struct pool **p = &w->retired, *pool;
	bool all = !w->retired || !w->ops->kept(w);

	while ((pool = *p)) {
		if (all || w->ops->probe(w, pool)) {
			*p = pool->next;
			free_pool(w, pool);
		} else {
			p = &pool->next;
		}
	}
}

/* Pages of retired pools that children still use. */
uint64_t pools_kept(struct wxp *w)
{
	uint64_t nr = w->retired ? w->ops->kept(w) : 0;

	if (!nr)
		pools_reclaim(w);
	return nr == UINT64_MAX ? 0 : nr;
}

static int alloc_locked(struct wxp *w, struct pool *pool, struct demand *d)
{
	int ret = 0;

	if (!reservation_take(pool, d) && !fill_hole(&pool->bins[d->prot], d))
		ret = fill(w, pool, d, 1, true);
	if (ret)
		return ret;
	if (d->prot == WXP_RX)
		memset(w->base + d->offset, 0, d->size);
	pool->requested += d->size;
	pool->allocations++;
	w->requested += d->size;
	w->allocations++;
	return 0;
}

WXP_EXPORT int wxp_alloc(struct wxp *w, uint32_t id, size_t size, size_t align,
			 enum wxp_prot prot, void **ptr)
{
	struct demand d = { .prot = prot, .size = size };
	struct pool *pool;
	int ret = wxp_enter(w);

	if (ret)
		return ret;
	ret = id && ptr ? check_request(w, size, &align, prot) : -EINVAL;
	if (ret)
		goto out;
	d.align = align;
	ret = -ENOMEM;
	pool = pool_get(w, id);
	if (!pool)
		goto out;
	ret = alloc_locked(w, pool, &d);
	if (ret)
		pool_put(w, pool);
	else
		*ptr = w->base + d.offset;
out:
	wxp_leave(w);
	return ret;
}

/* Lists open runs of R and RX memory in w->batch. */
static unsigned int collect(struct wxp *w, const struct pool *pool)
{
	static const enum wxp_prot prots[] = { WXP_R, WXP_RX };
	struct run *run;
	unsigned int nr = 0, i;

	for (i = 0; i < 2; i++)
		for (run = pool->bins[prots[i]].fresh; run && nr < MAX_BATCH; run = run->next)
			w->batch[nr++] = run;
	return nr;
}

static void finish_run(struct wxp *w, struct bin *bin, struct run *run)
{
	char *start = page_addr(w, run->page);

	w->pages_open -= run->nr;
	w->pages[run->prot] += run->nr;
	if (run->prot == WXP_RX)
		__builtin___clear_cache(start, start + run_bytes(w, run));
	run_push(&bin->done, run);
}

/* Does the accounts for runs that the backend moved on. */
static void settle(struct wxp *w, struct pool *pool, enum wxp_prot prot)
{
	struct bin *bin = &pool->bins[prot];
	struct run **p = &bin->fresh, *run;
	bool moved = false;

	while ((run = *p)) {
		moved |= run->state != RUN_OPEN;
		if (run->state == RUN_DONE) {
			*p = run->next;
			finish_run(w, bin, run);
		} else {
			p = &run->next;
		}
	}
	if (moved) {
		bin_close(w, bin, prot);
		reservations_cut(pool, prot);
	}
}

static int protect_locked(struct wxp *w, struct pool *pool)
{
	unsigned int nr;
	int ret = 0;

	do {
		nr = collect(w, pool);
		if (!nr)
			break;
		ret = w->ops->seal(w, pool, w->batch, nr);
		settle(w, pool, WXP_R);
		settle(w, pool, WXP_RX);
	} while (!ret && nr == MAX_BATCH);
	bin_settles(w, &pool->bins[WXP_RW], WXP_RW);
	return ret;
}

WXP_EXPORT int wxp_protect(struct wxp *w, uint32_t id)
{
	struct pool *pool;
	int ret = wxp_enter(w);

	if (ret)
		return ret;
	pool = pool_find(w, id);
	ret = pool ? protect_locked(w, pool) : -ENOENT;
	wxp_leave(w);
	return ret;
}

static uint64_t pages_of(const struct run *run)
{
	uint64_t nr = 0;

	for (; run; run = run->next)
		nr += run->nr;
	return nr;
}

static void forget(struct wxp *w, struct pool *pool)
{
	struct run *run;
	int prot;

	for (prot = WXP_R; prot < NR_PROTS; prot++)
		bin_close(w, &pool->bins[prot], (enum wxp_prot)prot);
	for (run = pool->bins[WXP_RW].fresh; run; run = run->next)
		window_discard(w, run);
	w->pages[WXP_RW] -= pages_of(pool->bins[WXP_RW].fresh);
	w->pages[WXP_R] -= pages_of(pool->bins[WXP_R].done);
	w->pages[WXP_RX] -= pages_of(pool->bins[WXP_RX].done);
	w->pages_open -= pages_of(pool->bins[WXP_R].fresh);
	w->pages_open -= pages_of(pool->bins[WXP_RX].fresh);
	w->requested -= pool->requested;
	w->allocations -= pool->allocations;
}

static int free_locked(struct wxp *w, struct pool *pool)
{
	int ret = w->ops->drop(w, pool);

	if (ret)
		return ret;
	forget(w, pool);
	unlink_pool(w, pool);
	if (!pool->kept) {
		free_pool(w, pool);
		return 0;
	}
	/* The device refuses these addresses until the child is gone. */
	free_runs(w, &pool->bins[WXP_RW].fresh);
	pool->next = w->retired;
	w->retired = pool;
	return 0;
}

WXP_EXPORT int wxp_free(struct wxp *w, uint32_t id)
{
	struct pool *pool;
	int ret = wxp_enter(w);

	if (ret)
		return ret;
	pool = pool_find(w, id);
	ret = pool ? free_locked(w, pool) : -ENOENT;
	wxp_leave(w);
	return ret;
}
