// SPDX-License-Identifier: MIT
/* Pools: lookup by number, allocation, protection and the end of their life. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define MIN_BUCKETS	64
#define SLAB_POOLS	64

/* Pools come and go at every function: they are made many at a time. */
struct slab {
	struct slab *next;
	struct pool pools[SLAB_POOLS];
};

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
			pool->next = *pool_bucket(w, pool->id);
			*pool_bucket(w, pool->id) = pool;
		}
	}
	free(old);
	return 0;
}

static struct pool *pool_new(struct wxp *w)
{
	struct pool *pool = w->unused;
	struct slab *slab;
	int i;

	if (!pool) {
		slab = calloc(1, sizeof(*slab));
		if (!slab)
			return NULL;
		slab->next = w->slabs;
		w->slabs = slab;
		for (i = 0; i < SLAB_POOLS; i++) {
			slab->pools[i].next = w->unused;
			w->unused = &slab->pools[i];
		}
		pool = w->unused;
	}
	w->unused = pool->next;
	*pool = (struct pool){ .spans = NO_LINE };
	return pool;
}

/* The pool @id, made if it is new. NULL: out of memory. */
struct pool *pool_get(struct wxp *w, uint32_t id)
{
	struct pool *pool = pool_find(w, id), **p;

	if (pool)
		return pool;
	/* A full table is only slow: it has to grow the first time. */
	if (w->nr_pools >= w->nr_buckets && grow_table(w) && !w->nr_buckets)
		return NULL;
	pool = pool_new(w);
	if (!pool)
		return NULL;
	p = pool_bucket(w, id);
	pool->id = id;
	pool->next = *p;
	*p = pool;
	w->nr_pools++;
	return pool;
}

/* Like pool_get(), for use with wxp_alloc(). */
int pool_get_regions(struct wxp *w, uint32_t id, struct pool **p)
{
	struct pool *pool = pool_get(w, id);

	if (!pool)
		return -ENOMEM;
	if (!pool->regions)
		pool->regions = calloc(1, sizeof(*pool->regions));
	if (!pool->regions) {
		pool_put(w, pool);
		return -ENOMEM;
	}
	*p = pool;
	return 0;
}

static void unlink_pool(struct wxp *w, struct pool *pool)
{
	struct pool **p = pool_bucket(w, pool->id);

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
		window_give(w, run->prot, run->page, run->nr);
		free(run);
	}
}

static void free_pool(struct wxp *w, struct pool *pool)
{
	int prot;

	for (prot = WXP_R; pool->regions && prot < NR_PROTS; prot++) {
		free_runs(w, &pool->regions->bins[prot].fresh);
		free_runs(w, &pool->regions->bins[prot].done);
		reservations_cut(pool, (enum wxp_prot)prot);
	}
	free(pool->regions);
	pool->next = w->unused;
	w->unused = pool;
}

static bool is_empty(const struct pool *pool)
{
	int prot;

	for (prot = WXP_R; pool->regions && prot < NR_PROTS; prot++)
		if (pool->regions->bins[prot].fresh || pool->regions->bins[prot].done)
			return false;
	return pool->spans == NO_LINE;
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
	struct slab *slab;
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
	while ((slab = w->slabs)) {
		w->slabs = slab->next;
		free(slab);
	}
}

/* Takes back what children have stopped using. Returns whether there was any. */
bool pools_reclaim(struct wxp *w)
{
	struct wxpool_info info = { .pages_kept = 1 };
	struct pool **p = &w->retired, *pool;
	bool any = false;

	while ((pool = *p)) {
		info.pool = pool->id;
		/* Once nothing is kept at all, there is no need to ask for each. */
		if ((info.pages_kept || info.lines_kept) && !w->ops->info(w, &info))
			break;
		if ((info.pages_kept || info.lines_kept) &&
		    info.pool_state != WXPOOL_POOL_GONE) {
			p = &pool->next;
			continue;
		}
		*p = pool->next;
		spans_release(w, pool);
		free_pool(w, pool);
		any = true;
	}
	return any;
}

static int alloc_locked(struct wxp *w, struct pool *pool, struct demand *d)
{
	int ret = 0;

	if (!reservation_take(pool, d) && !fill_hole(&pool->regions->bins[d->prot], d))
		ret = fill(w, pool, d, 1, true);
	if (ret)
		return ret;
	if (d->prot == WXP_RX && d->skipped)
		memset(w->base + d->offset, 0, d->size);
	pool->regions->requested += d->size;
	pool->regions->allocations++;
	w->requested += d->size;
	w->allocations++;
	return 0;
}

WXP_EXPORT int wxp_alloc(struct wxp *w, uint32_t id, size_t size, size_t align,
			 enum wxp_prot prot, void **ptr)
{
	struct demand d = { .prot = prot, .size = size };
	int ret = wxp_enter_change(w), rights;
	struct pool *pool;

	if (ret)
		return ret;
	ret = id && ptr ? check_request(w, size, &align, prot) : -EINVAL;
	if (ret)
		goto out;
	d.align = align;
	ret = pool_get_regions(w, id, &pool);
	if (ret)
		goto out;
	rights = guard_enter(w);
	ret = alloc_locked(w, pool, &d);
	guard_leave(w, rights);
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

	for (i = 0; i < 2; i++) {
		run = pool->regions->bins[prots[i]].fresh;
		for (; run && nr < MAX_BATCH; run = run->next)
			w->batch[nr++] = run;
	}
	return nr;
}

static void finish_run(struct wxp *w, struct bin *bin, struct run *run)
{
	w->pages_open -= run->nr;
	w->pages[run->prot] += run->nr;
	run_push(&bin->done, run);
}

/* Does the accounts for runs that the backend moved on. */
static void settle(struct wxp *w, struct pool *pool, enum wxp_prot prot)
{
	struct bin *bin = &pool->regions->bins[prot];
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

	if (!pool->regions)
		return 0;
	reservations_skip(w, pool);
	bin_skip_rest(w, &pool->regions->bins[WXP_RX], WXP_RX);
	do {
		nr = collect(w, pool);
		if (!nr)
			break;
		ret = w->ops->seal(w, pool, w->batch, nr);
		settle(w, pool, WXP_R);
		settle(w, pool, WXP_RX);
	} while (!ret && nr == MAX_BATCH);
	bin_settles(w, &pool->regions->bins[WXP_RW], WXP_RW);
	return ret;
}

WXP_EXPORT int wxp_protect(struct wxp *w, uint32_t id)
{
	int ret = wxp_enter_change(w), rights;
	struct pool *pool;

	if (ret)
		return ret;
	rights = guard_enter(w);
	pool = pool_find(w, id);
	ret = pool ? protect_locked(w, pool) : -ENOENT;
	guard_leave(w, rights);
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

	if (!pool->regions)
		return;
	for (prot = WXP_R; prot < NR_PROTS; prot++)
		bin_close(w, &pool->regions->bins[prot], (enum wxp_prot)prot);
	for (run = pool->regions->bins[WXP_RW].fresh; run; run = run->next)
		cache_add(w, run->page, run->nr);
	w->pages[WXP_RW] -= pages_of(pool->regions->bins[WXP_RW].fresh);
	w->pages[WXP_R] -= pages_of(pool->regions->bins[WXP_R].done);
	w->pages[WXP_RX] -= pages_of(pool->regions->bins[WXP_RX].done);
	w->pages_open -= pages_of(pool->regions->bins[WXP_R].fresh);
	w->pages_open -= pages_of(pool->regions->bins[WXP_RX].fresh);
	w->requested -= pool->regions->requested;
	w->allocations -= pool->regions->allocations;
}

static int free_locked(struct wxp *w, struct pool *pool)
{
	int ret;

	if (pool->in_flight)
		return -EBUSY;
	ret = w->ops->drop(w, pool);
	if (ret)
		return ret;
	spans_drop(w, pool);
	forget(w, pool);
	unlink_pool(w, pool);
	if (!pool->kept) {
		free_pool(w, pool);
		return 0;
	}
	/* The device refuses these addresses until the children are gone. */
	if (pool->regions)
		free_runs(w, &pool->regions->bins[WXP_RW].fresh);
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
