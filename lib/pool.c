// SPDX-License-Identifier: MIT
/*
 * Which pools there are: a table by number, in which no insertion is slower than another
 * by more than one malloc(). Buckets grow by one at a time (linear hashing), pools never
 * move.
 */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define FIRST_NUMBER	0x80000000u	/* of those that the library chooses */

/* Appends a chunk to an array of pointers, whose size is the next power of two. */
static int chunk_add(void ***array, uint32_t *nr, size_t size, int fill)
{
	void **p = *array, *chunk;

	if (!(*nr & (*nr - 1))) {
		p = realloc(p, (*nr ? *nr * 2 : 1) * sizeof(*p));
		if (!p)
			return -ENOMEM;
		*array = p;
	}
	chunk = malloc(size);
	if (!chunk)
		return -ENOMEM;
	if (fill)
		memset(chunk, fill, size);
	p[(*nr)++] = chunk;
	return 0;
}

static int buckets_add(struct pools *t)
{
	return chunk_add((void ***)&t->buckets, &t->nr_bucket_chunks, CHUNK * sizeof(uint32_t),
			 0xff);
}

static uint32_t *bucket_at(const struct pools *t, uint32_t i)
{
	return &t->buckets[i / CHUNK][i % CHUNK];
}

/* Fibonacci hashing, as numbers tend to be multiples of something. */
static uint32_t *bucket_of(const struct pools *t, uint32_t id, uint32_t *i)
{
	uint32_t hash = id * 2654435769u;

	hash ^= hash >> 15;
	*i = hash & t->mask;
	if (*i >= t->nr_buckets)
		*i &= t->mask / 2;
	return bucket_at(t, *i);
}

/* 0: there is none */
uint32_t pool_find(const struct window *w, uint32_t id)
{
	uint32_t i, pool = *bucket_of(&w->pools, id, &i);

	while (pool != NONE && pool_at(w, pool)->id != id)
		pool = pool_at(w, pool)->next;
	return pool == NONE ? 0 : pool;
}

/* One bucket more takes its share of another's pools. */
static void bucket_split(struct window *w)
{
	struct pools *t = &w->pools;
	uint32_t new = t->nr_buckets, *from, *to, i;
	struct pool *p;

	if (new / CHUNK >= t->nr_bucket_chunks && buckets_add(t))
		return;
	if (new > t->mask)
		t->mask = t->mask * 2 + 1;
	t->nr_buckets++;
	from = bucket_at(t, new & (t->mask / 2));
	to = bucket_at(t, new);
	while (*from != NONE) {
		p = pool_at(w, *from);
		bucket_of(t, p->id, &i);
		if (i == new) {
			i = *from;
			*from = p->next;
			p->next = *to;
			*to = i;
		} else {
			from = &p->next;
		}
	}
}

static uint32_t pool_unused(struct window *w)
{
	struct pools *t = &w->pools;
	uint32_t pool = t->unused;

	if (pool != NONE) {
		t->unused = pool_at(w, pool)->next;
		return pool;
	}
	if (t->nr_used / CHUNK >= t->nr_chunks &&
	    chunk_add((void ***)&t->chunks, &t->nr_chunks, CHUNK * sizeof(struct pool), 0))
		return 0;
	return t->nr_used++;
}

static int pool_new(struct window *w, uint32_t id, uint32_t *pool)
{
	struct pools *t = &w->pools;
	uint32_t *bucket, i;

	if (t->nr >= t->nr_buckets)
		bucket_split(w);
	*pool = pool_unused(w);
	if (!*pool)
		return -ENOMEM;
	bucket = bucket_of(t, id, &i);
	*pool_at(w, *pool) = (struct pool){
		.id = id, .next = *bucket, .spans = NONE, .open = { NONE, NONE },
		.state = w->era << POOL_ERA_SHIFT,
	};
	*bucket = *pool;
	t->nr++;
	return 0;
}

/* The pool of that number; it may be new, and empty, and is to be put back if it stays so. */
int pool_get(struct window *w, uint32_t id, uint32_t *pool)
{
	*pool = pool_find(w, id);
	if (*pool)
		return pool_state(pool_at(w, *pool)) & POOL_DYING ? -EBUSY : 0;
	return pool_new(w, id, pool);
}

void pool_put(struct window *w, uint32_t pool)
{
	struct pool *p = pool_at(w, pool);

	if (p->spans == NONE && !(pool_state(p) & (POOL_HOLDS | POOL_NAMED | POOL_ON_DEVICE)))
		pool_end(w, pool);
}

static void pool_unhash(struct window *w, uint32_t pool)
{
	struct pools *t = &w->pools;
	uint32_t i, *link = bucket_of(t, pool_at(w, pool)->id, &i);

	while (*link != pool)
		link = &pool_at(w, *link)->next;
	*link = pool_at(w, pool)->next;
	t->nr--;
}

/* Its spans are gone. */
void pool_end(struct window *w, uint32_t pool)
{
	struct pool *p = pool_at(w, pool);

	assert(p->spans == NONE && !(pool_state(p) & POOL_HOLDS));
	if (!(p->state & POOL_RETIRED))
		pool_unhash(w, pool);
	p->id = 0;
	p->next = w->pools.unused;
	w->pools.unused = pool;
}

/* Its number is free, its lines are not. */
void pool_retire(struct window *w, uint32_t pool)
{
	struct pool *p = pool_at(w, pool);

	pool_unhash(w, pool);
	p->state |= POOL_RETIRED;
	p->next = w->pools.retired;
	w->pools.retired = pool;
}

/* Tells those that began before a fork from those to come. */
void pools_forked(struct window *w)
{
	uint32_t i;

	if (w->era < POOL_MAX_ERA) {
		w->era++;
		return;
	}
	/* No more numbers: of all that are there a child knows. */
	for (i = 1; i < w->pools.nr_used; i++)
		__atomic_fetch_and(&pool_at(w, i)->state, ~(POOL_MAX_ERA << POOL_ERA_SHIFT),
				   __ATOMIC_RELAXED);
	w->era = 1;
}

int pools_init(struct window *w)
{
	struct pools *t = &w->pools;

	t->nr_used = 1;
	t->unused = t->retired = NONE;
	t->nr_buckets = 64;
	t->mask = t->nr_buckets - 1;
	return buckets_add(t) ? -ENOMEM : 0;
}

void pools_exit(struct window *w)
{
	struct pools *t = &w->pools;

	while (t->nr_chunks)
		free(t->chunks[--t->nr_chunks]);
	while (t->nr_bucket_chunks)
		free(t->buckets[--t->nr_bucket_chunks]);
	free(t->chunks);
	free(t->buckets);
}

static bool is_known(const struct wxp *x, uint32_t id)
{
	const struct window *w;

	for (w = x->window; w; w = w->older)
		if (pool_find(w, id))
			return true;
	return false;
}

WXP_EXPORT int wxp_new_pool(struct wxp *x, uint32_t *id)
{
	uint32_t pool;
	int err = id ? context_enter_new(x) : -EINVAL;

	if (err)
		return err;
	do {
		*id = FIRST_NUMBER | x->next_id++;
	} while (is_known(x, *id));
	err = pool_new(x->window, *id, &pool);
	if (!err)
		pool_at(x->window, pool)->state |= POOL_NAMED;
	context_leave(x);
	return err;
}
