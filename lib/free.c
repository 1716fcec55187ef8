// SPDX-License-Identifier: MIT
/*
 * The end of pools.
 *
 * 1. Under the lock pools are marked, so that no other call gets at them.
 * 2. Without it the device frees them. If it does not, nothing has changed.
 * 3. What it does not clear is cleared.
 * 4. Under the lock again their lines are free, unless a child can still run them.
 */
#include "internal.h"

#define FEW		64		/* pools by one call */
#define LARGE		((size_t)1 << 20)	/* variables that go back to the system */

/* The whole pages of variables, if their memory goes back to the system; else 0 */
static size_t large_size(const struct window *w, uint32_t line, uint32_t nr, size_t *start)
{
	size_t end = ((size_t)line + nr) * WXP_LINE & ~(w->page_size - 1);

	*start = round_up((size_t)line * WXP_LINE, w->page_size);
	if (!is_variable(w, line) || end < *start + LARGE)
		return 0;
	return end - *start;
}

/* Does more than the device's FREE have to be done for a span? */
static bool needs_clear(const struct window *w, uint32_t line)
{
	size_t start;

	if (is_variable(w, line))
		return large_size(w, line, line_length(w, line), &start);
	return w->backend != &wxp_kernel || (has_one_address(w) && is_open(w, line));
}

/* Variables that go back to the system are zero then. */
static int span_clear(struct wxp *x, struct window *w, uint32_t line)
{
	uint32_t nr = line_length(w, line);
	size_t start, size = large_size(w, line, nr, &start);
	int err = 0;

	context_leave(x);
	if (size)
		window_discard(w->base + start, size);
	else
		err = w->backend->clear(w, line, nr);
	pthread_mutex_lock(&x->lock);
	bits_clear(w->bits, BIT_FILLED, (uint32_t)(start / WXP_LINE), lines_for(size));
	return err;
}

/* Called with the lock, which it does not hold while it clears something. */
static bool pool_clear(struct wxp *x, struct window *w, const struct pool *p)
{
	bool done = true;
	uint32_t line;

	for (line = p->spans; line != NONE; line = w->lines[line].sibling)
		if (needs_clear(w, line) && span_clear(x, w, line))
			done = false;
	return done;
}

/* @kept: by children, or else for good, as not all of it could be cleared */
static void pool_drop(struct window *w, uint32_t pool, bool clear, bool kept)
{
	struct pool *p = pool_at(w, pool);

	__atomic_fetch_and(&p->state, ~POOL_DYING, __ATOMIC_RELAXED);
	if (kept || !clear) {
		spans_retire(w, pool);
		pool_retire(w, pool);
		if (!clear)
			p->id = 0;
	} else {
		spans_drop_to(w, pool, NONE);
		pool_end(w, pool);
	}
}

/* Portable: a child that was forked since it began shares its file. */
static bool is_shared(const struct window *w, uint32_t pool)
{
	uint32_t era = pool_state(pool_at(w, pool)) >> POOL_ERA_SHIFT & POOL_MAX_ERA;

	return w->backend == &wxp_portable && era != w->era;
}

/* Pools of the process's own window that are marked, up to FEW */
static int free_marked(struct wxp *x, struct window *w, const uint32_t *pools, uint32_t nr)
{
	uint32_t ids[FEW], nr_ids = 0, i;
	bool kept = false, clear, shared;
	int err = 0;

	for (i = 0; i < nr; i++)
		if (pool_state(pool_at(w, pools[i])) & POOL_ON_DEVICE)
			ids[nr_ids++] = pool_at(w, pools[i])->id;
	context_leave(x);
	if (nr_ids && w->backend->free)
		err = w->backend->free(w, ids, nr_ids, &kept);
	pthread_mutex_lock(&x->lock);
	for (i = 0; i < nr; i++) {
		if (err) {
			__atomic_fetch_and(&pool_at(w, pools[i])->state, ~POOL_DYING,
					   __ATOMIC_RELAXED);
			continue;
		}
		shared = is_shared(w, pools[i]);
		clear = shared || pool_clear(x, w, pool_at(w, pools[i]));
		pool_drop(w, pools[i], clear, kept || shared);
	}
	return err;
}

/* Forgets it: its lines are not used again in this process. */
static int forget(struct window *w, uint32_t id)
{
	uint32_t pool = pool_find(w, id);

	if (!pool)
		return -ENOENT;
	pool_at(w, pool)->spans = NONE;
	pool_at(w, pool)->state = 0;
	pool_end(w, pool);
	return 0;
}

static int mark(struct window *w, uint32_t id, uint32_t *pool)
{
	uint32_t state;

	*pool = pool_find(w, id);
	if (!*pool)
		return -ENOENT;
	state = pool_state(pool_at(w, *pool));
	if (state & (POOL_DYING | POOL_HOLDS))
		return -EBUSY;
	__atomic_fetch_or(&pool_at(w, *pool)->state, POOL_DYING, __ATOMIC_RELAXED);
	return 0;
}

/* @err: what became of it in the process's own window. The rest is in those of parents. */
static int forget_inherited(struct window *w, uint32_t id, int err)
{
	for (; w && (!err || err == -ENOENT); w = w->older)
		if (w->inherited && !forget(w, id))
			err = 0;
	return err;
}

static int free_few(struct wxp *x, const uint32_t *ids, size_t nr)
{
	uint32_t marked[FEW], nr_marked = 0;
	struct window *w = x->window;
	int errs[FEW], first = 0, err;
	size_t i;

	for (i = 0; i < nr; i++) {
		errs[i] = !ids[i] ? -EINVAL : w->inherited ? -ENOENT :
			  mark(w, ids[i], &marked[nr_marked]);
		nr_marked += !errs[i];
	}
	err = nr_marked ? free_marked(x, w, marked, nr_marked) : 0;
	for (i = 0; i < nr; i++) {
		errs[i] = forget_inherited(w, ids[i], errs[i] ? errs[i] : err);
		first = first ? first : errs[i];
	}
	return first;
}

WXP_EXPORT int wxp_free_many(struct wxp *x, const uint32_t *pools, size_t nr)
{
	int err, first = 0;
	size_t n;

	if (!pools || !nr)
		return -EINVAL;
	err = context_enter(x);
	if (err)
		return err;
	for (; nr; pools += n, nr -= n) {
		n = nr < FEW ? nr : FEW;
		err = free_few(x, pools, n);
		first = first ? first : err;
	}
	context_leave(x);
	return first;
}

WXP_EXPORT int wxp_free(struct wxp *x, uint32_t pool)
{
	return pool ? wxp_free_many(x, &pool, 1) : -EINVAL;
}
