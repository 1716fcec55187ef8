// SPDX-License-Identifier: MIT
/*
 * Memory that is written in place: spans of whole pages, which one pool cuts from their
 * start (bump()), and which are sealed whole.
 *
 * A span is BUSY while pages are being got for it, or sealed; OPEN while something can be
 * taken from it: it is in its pool's list then; and SEALED.
 */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define LEAST_ALIGN	16

_Static_assert(CODE < 2 && CONSTANTS < 2, "pools have lists of open spans for these two");

static size_t span_size(const struct window *w, uint32_t line)
{
	return (size_t)line_length(w, line) * WXP_LINE;
}

static void span_open(struct window *w, struct pool *p, uint32_t line)
{
	enum area_kind area = is_code(w, (size_t)line * WXP_LINE) ? CODE : CONSTANTS;

	w->lines[line + 2].state = SPAN_OPEN;
	w->lines[line + 3].open_next = p->open[area];
	p->open[area] = line;
}

/* What nobody has got of a page of code traps, once it is sealed; until then it is zero. */
static void fill_gap(const struct window *w, size_t offset, size_t size, bool sealed)
{
	int rights;

	if (!size || !is_code(w, offset))
		return;
	rights = harden_enter(w);
	if (sealed)
		fill_traps(w->write + offset, size);
	else
		memset(w->write + offset, 0, size);
	harden_leave(w, rights);
}

static void fill_rest(const struct window *w, uint32_t line, bool sealed)
{
	uint32_t used = w->lines[line + 2].used;

	fill_gap(w, (size_t)line * WXP_LINE + used, span_size(w, line) - used, sealed);
}

/* Cuts from an open span, if there is room in it. */
static bool bump(struct window *w, uint32_t line, size_t size, size_t align, size_t *offset)
{
	size_t start = (size_t)line * WXP_LINE, end;

	end = start + w->lines[line + 2].used;
	*offset = round_up(end, align);
	if (*offset + size > start + span_size(w, line))
		return false;
	fill_gap(w, end, *offset - end, true);
	w->lines[line + 2].used = (uint32_t)(*offset + size - start);
	return true;
}

/* From any of the pool's: of what was reserved, the newest may have none. */
static bool bump_any(struct window *w, uint32_t line, size_t size, size_t align, size_t *offset)
{
	while (line != NONE && !bump(w, line, size, align, offset))
		line = w->lines[line + 3].open_next;
	return line != NONE;
}

/* The bytes that are missing behind an open span for a piece of memory; 0: it fits */
static size_t open_lacks(const struct window *w, uint32_t line, size_t size, size_t align)
{
	size_t start = (size_t)line * WXP_LINE, end = start + span_size(w, line);
	size_t want = round_up(start + w->lines[line + 2].used, align) + size;

	return want > end ? round_up(want - end, w->page_size) : 0;
}

/*
 * Pages for a piece of memory, if it does not fit into the pool's open span: if possible,
 * right behind that.
 */
static int pages_find(struct window *w, uint32_t pool, enum area_kind area, size_t size,
		      size_t align, struct wxpool_protect_range *r)
{
	uint32_t open = pool_at(w, pool)->open[area], line = NONE;
	size_t length = 0;

	*r = (struct wxpool_protect_range){ .length = 0 };
	if (!size)
		return 0;
	if (open != NONE) {
		length = open_lacks(w, open, size, align);
		if (!length)
			return 0;
		line = open + line_length(w, open);
		if (!lines_take_at(w, area, line, lines_for(length)))
			line = NONE;
	}
	if (line == NONE) {
		length = round_up(size, w->page_size);
		align = align > w->page_size ? align : w->page_size;
		line = span_take(w, area, PAGED, lines_for(length), align);
	}
	if (line == NONE)
		return -ENOMEM;
	*r = (struct wxpool_protect_range){ .offset = (size_t)line * WXP_LINE, .length = length };
	span_add(w, pool, line, lines_for(length));
	w->lines[line + 2] = (struct line){ .used = 0, .state = SPAN_BUSY };
	return 0;
}

static int pages_get(struct window *w, uint32_t id, const struct wxpool_protect_range *r)
{
	struct wxpool_protect_range both[2];
	uint32_t nr = 0, i;
	int err = 0;

	for (i = 0; i < 2; i++)
		if (r[i].length)
			both[nr++] = r[i];
	if (!has_one_address(w) && w->backend->open_write &&
	    !__atomic_load_n(&w->writable, __ATOMIC_ACQUIRE)) {
		err = w->backend->open_write(w);
		__atomic_store_n(&w->writable, !err, __ATOMIC_RELEASE);
	}
	return err || !nr || !w->backend->alloc ? err : w->backend->alloc(w, id, both, nr);
}

/* They become part of the pool's open span, if they are right behind it. */
static void pages_open(struct window *w, uint32_t pool, enum area_kind area, uint32_t line)
{
	struct pool *p = pool_at(w, pool);
	uint32_t open = p->open[area];

	if (open != NONE && open + line_length(w, open) == line)
		span_join(w, pool, open, line);
	else
		span_open(w, p, line);
}

/* For code and constants, by one call, which is made without the lock */
static int pages_add(struct wxp *x, struct window *w, uint32_t pool, const size_t *size,
		     const size_t *align)
{
	struct pool *p = pool_at(w, pool);
	struct wxpool_protect_range r[2];
	uint32_t line, i;
	int err = pages_find(w, pool, CODE, size[CODE], align[CODE], &r[CODE]);

	if (err)
		return err;
	err = pages_find(w, pool, CONSTANTS, size[CONSTANTS], align[CONSTANTS], &r[CONSTANTS]);
	pool_hold(p);
	if (!err) {
		context_leave(x);
		err = pages_get(w, p->id, r);
		pthread_mutex_lock(&x->lock);
	}
	for (i = 0; i < 2; i++) {
		line = (uint32_t)(r[i].offset / WXP_LINE);
		if (r[i].length && err)
			span_remove(w, pool, line);
		else if (r[i].length)
			pages_open(w, pool, i, line);
	}
	pool_release(p, !err && (r[CODE].length || r[CONSTANTS].length));
	return err;
}

static int sum_requests(const struct wxp_request *reqs, size_t nr, size_t *size, size_t *align)
{
	enum area_kind area;
	size_t i, a;

	for (i = 0; i < nr; i++) {
		a = reqs[i].align;
		if (check_request(reqs[i].size, &a, reqs[i].prot, LEAST_ALIGN))
			return -EINVAL;
		area = area_for(reqs[i].prot);
		if (area == VARIABLES)
			continue;
		if (reqs[i].size > MAX_WINDOW || size[area] > MAX_WINDOW)
			return -ENOMEM;
		/* In any order, each may begin at the worst place. */
		size[area] += round_up(reqs[i].size, LEAST_ALIGN) + a - LEAST_ALIGN;
		if (a > align[area])
			align[area] = a;
	}
	return 0;
}

WXP_EXPORT int wxp_reserve(struct wxp *x, uint32_t id, const struct wxp_request *reqs, size_t nr)
{
	size_t size[2] = { 0, 0 }, align[2] = { LEAST_ALIGN, LEAST_ALIGN };
	int err = id && reqs && nr ? sum_requests(reqs, nr, size, align) : -EINVAL;
	uint32_t pool;

	if (!err)
		err = context_enter_new(x);
	if (err)
		return err;
	err = pool_get(x->window, id, &pool);
	if (!err) {
		err = pages_add(x, x->window, pool, size, align);
		pool_put(x->window, pool);
	}
	context_leave(x);
	return err;
}

static int alloc_variables(struct window *w, uint32_t pool, size_t size, size_t align,
			   size_t *offset)
{
	uint32_t line = span_place(w, pool, VARIABLES, size, align);

	*offset = (size_t)line * WXP_LINE;
	return line == NONE ? -ENOMEM : 0;
}

static int alloc_pages(struct wxp *x, uint32_t pool, enum area_kind area, size_t size,
		       size_t align, size_t *offset)
{
	size_t sizes[2] = { 0, 0 }, aligns[2] = { align, align };
	struct window *w = x->window;
	int err = 0;

	sizes[area] = size;
	/* Others may take from it what was got for this one. */
	while (!err && !bump_any(w, pool_at(w, pool)->open[area], size, align, offset))
		err = pages_add(x, w, pool, sizes, aligns);
	return err;
}

WXP_EXPORT int wxp_alloc(struct wxp *x, uint32_t id, size_t size, size_t align,
			 enum wxp_prot prot, struct wxp_mem *mem)
{
	enum area_kind area = area_for(prot);
	int err = !id || !mem ? -EINVAL : check_request(size, &align, prot, LEAST_ALIGN);
	struct window *w;
	uint32_t pool;
	size_t offset;

	if (!err)
		err = size > MAX_WINDOW ? -ENOMEM : context_enter_new(x);
	if (err)
		return err;
	w = x->window;
	err = pool_get(w, id, &pool);
	if (!err) {
		err = area == VARIABLES ? alloc_variables(w, pool, size, align, &offset) :
					  alloc_pages(x, pool, area, size, align, &offset);
		pool_put(w, pool);
	}
	if (!err) {
		mem->addr = w->base + offset;
		mem->write = (area == VARIABLES ? w->base : w->write) + offset;
	}
	context_leave(x);
	return err;
}

static uint32_t count_open(const struct window *w, const struct pool *p)
{
	uint32_t line, nr = 0, i;

	for (i = 0; i < 2; i++)
		for (line = p->open[i]; line != NONE; line = w->lines[line + 3].open_next)
			nr++;
	return nr;
}

/* Takes all open spans from the pool: nothing is cut from them any more. */
static void collect_open(struct window *w, struct pool *p, struct wxpool_protect_range *r)
{
	uint32_t line, i;
	size_t offset;

	for (i = 0; i < 2; i++) {
		while ((line = p->open[i]) != NONE) {
			offset = (size_t)line * WXP_LINE;
			p->open[i] = w->lines[line + 3].open_next;
			*r++ = (struct wxpool_protect_range){
				.offset = offset,
				.length = span_size(w, line),
				.prot = device_prot(w, i),
			};
			fill_rest(w, line, true);
			w->lines[line + 2].state = SPAN_BUSY;
		}
	}
}

static int protect(struct wxp *x, struct window *w, struct pool *p, struct wxpool_protect_range *r,
		   uint32_t nr)
{
	uint32_t line;
	int err;

	collect_open(w, p, r);
	pool_hold(p);
	__atomic_fetch_or(&p->state, POOL_SEALING, __ATOMIC_RELAXED);
	context_leave(x);
	err = w->backend->protect(w, p->id, r, nr);
	pthread_mutex_lock(&x->lock);
	while (nr--) {
		line = (uint32_t)(r[nr].offset / WXP_LINE);
		if (err) {
			fill_rest(w, line, false);
			span_open(w, p, line);
		} else {
			w->lines[line + 2].state = SPAN_SEALED;
		}
	}
	__atomic_fetch_and(&p->state, ~POOL_SEALING, __ATOMIC_RELAXED);
	pool_release(p, false);
	return err;
}

#define FEW	32	/* spans, for which no memory is needed */

static int protect_pool(struct wxp *x, struct window *w, struct pool *p)
{
	struct wxpool_protect_range few[FEW], *r = few;
	uint32_t nr = count_open(w, p);
	int err;

	/* What another thread seals at this moment may be what this one has written. */
	if (pool_state(p) & (POOL_DYING | POOL_SEALING))
		return -EBUSY;
	if (!nr)
		return 0;
	if (nr > WXPOOL_MAX_RANGES)
		return -E2BIG;
	if (nr > FEW) {
		r = malloc(nr * sizeof(*r));
		if (!r)
			return -ENOMEM;
	}
	err = protect(x, w, p, r, nr);
	if (r != few)
		free(r);
	return err;
}

/* Of what a parent had, nothing is left to do; or it was lost at the fork. */
static int protect_inherited(const struct window *w, uint32_t id)
{
	uint32_t pool, line;
	int err = -ENOENT;

	for (; w; w = w->older) {
		pool = pool_find(w, id);
		if (!pool)
			continue;
		err = 0;
		for (line = pool_at(w, pool)->spans; line != NONE; line = w->lines[line].sibling)
			if (is_open(w, line))
				return -ESTALE;
	}
	return err;
}

WXP_EXPORT int wxp_protect(struct wxp *x, uint32_t id)
{
	int err = id ? context_enter_new(x) : -EINVAL;
	struct window *w;
	uint32_t pool;

	if (err)
		return err;
	w = x->window;
	pool = pool_find(w, id);
	err = protect_inherited(w->older, id);
	if (pool && err != -ESTALE)
		err = protect_pool(x, w, pool_at(w, pool));
	context_leave(x);
	return err;
}
