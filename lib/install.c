// SPDX-License-Identifier: MIT
/*
 * Addresses first: places for a module, which are installed once it is relocated.
 *
 * Lines are claimed (BIT_FILLED) under the lock before the system call that fills them,
 * and given up again if it fails.
 */
#include <stdlib.h>

#include "internal.h"

#define FEW	16		/* pieces, for which no memory is needed */

static int check_requests(const struct wxp_request *reqs, size_t nr)
{
	size_t align, i;

	for (i = 0; i < nr; i++) {
		align = reqs[i].align;
		if (unlikely(check_request(reqs[i].size, &align, reqs[i].prot, 1)))
			return -EINVAL;
	}
	return 0;
}

static int place_all(struct window *w, uint32_t pool, const struct wxp_request *reqs, size_t nr,
		     struct wxp_span *spans)
{
	uint32_t before = pool_at(w, pool)->spans, line;
	size_t i;

	for (i = 0; i < nr; i++) {
		line = span_place(w, pool, area_for(reqs[i].prot), reqs[i].size, reqs[i].align);
		if (unlikely(line == NONE)) {
			spans_drop_to(w, pool, before);
			return -ENOMEM;
		}
		spans[i] = (struct wxp_span){ line_addr(w, line), reqs[i].size };
	}
	return 0;
}

WXP_EXPORT int wxp_place(struct wxp *x, uint32_t id, const struct wxp_request *reqs, size_t nr,
			 struct wxp_span *spans)
{
	uint32_t pool;
	int err;

	if (unlikely(!id || !reqs || !nr || !spans || check_requests(reqs, nr)))
		return -EINVAL;
	err = context_enter_new(x);
	if (unlikely(err))
		return err;
	err = pool_get(x->window, id, &pool);
	if (likely(!err)) {
		err = place_all(x->window, pool, reqs, nr, spans);
		if (unlikely(err))
			pool_put(x->window, pool);
	}
	context_leave(x);
	return err;
}

static int shrink(struct window *w, struct wxp_span *span, size_t size)
{
	size_t offset = window_offset(w, span->addr);
	uint32_t line = (uint32_t)(offset / WXP_LINE), keep = lines_for(size), nr, state;

	if (offset >= w->size || offset % WXP_LINE || kind_of(w, line) != PACKED ||
	    span_of(w, line) != line || w->inherited)
		return -EINVAL;
	nr = line_length(w, line);
	if (lines_for(span->size) != nr)
		return -EINVAL;
	state = pool_state(pool_at(w, w->lines[line].pool));
	if (state & (POOL_DYING | POOL_RETIRED))
		return state & POOL_DYING ? -EBUSY : -EINVAL;
	if (!is_variable(w, line) && bits_any(w->bits, BIT_FILLED, line + keep, nr - keep))
		return -EEXIST;
	if (keep < nr) {
		if (keep > 1)
			w->lines[line + 1].length = keep;
		lines_give(w, line + keep, nr - keep);
	}
	span->size = size;
	return 0;
}

WXP_EXPORT int wxp_shrink(struct wxp *x, struct wxp_span *span, size_t size)
{
	int err;

	if (!span || !size || size > span->size)
		return -EINVAL;
	err = context_enter(x);
	if (err)
		return err;
	err = shrink(x->window, span, size);
	context_leave(x);
	return err;
}

/* Is the piece within a span of the pool that can be installed? */
static bool is_of_pool(const struct window *w, uint32_t pool, size_t offset, size_t size)
{
	uint32_t line = (uint32_t)(offset / WXP_LINE), first = line;

	if (unlikely(offset >= window_sealable(w) || kind_of(w, line) != PACKED))
		return false;
	if (unlikely(!bit_test(w->bits, BIT_BEGIN, line) || bit_test(w->bits, BIT_FREE, line)))
		first = span_of(w, line);
	return first != NONE && w->lines[first].pool == pool && size &&
	       size <= (size_t)(first + line_length(w, first)) * WXP_LINE - offset;
}

/*
 * struct gather - pieces on their way to ranges of the device
 * @end: of the last piece. In the middle of a line, another piece may go on there
 */
struct gather {
	struct window *w;
	struct wxpool_install_range *at;
	size_t end;
};

static void gather_range(struct gather *g, size_t offset, const void *src, size_t size, bool cont)
{
	enum area_kind area = is_code(g->w, offset) ? CODE : CONSTANTS;

	*g->at++ = (struct wxpool_install_range){
		.offset = cont ? 0 : offset,
		.length = size,
		.source = (uintptr_t)src,
		.prot = cont ? 0 : device_prot(g->w, area),
		.flags = cont ? WXPOOL_RANGE_CONT : 0,
	};
}

/*
 * Adds a piece, which claims its lines: all but the first if the last piece ended there.
 * What is before it in that line is filled.
 */
static int gather_piece(struct gather *g, const struct wxp_piece *piece, size_t offset)
{
	size_t start = offset & ~(size_t)(WXP_LINE - 1), from = start;
	uint32_t line = (uint32_t)(start / WXP_LINE);
	uint32_t nr = lines_for(offset - start + piece->size);
	bool cont = g->end > start && g->end < start + WXP_LINE;

	if (cont) {
		if (offset < g->end)
			return -EEXIST;
		from = g->end;
		line++;
		nr--;
	}
	if (unlikely(bits_any(g->w->bits, BIT_FILLED, line, nr)))
		return -EEXIST;
	bits_set(g->w->bits, BIT_FILLED, line, nr);
	if (offset > from) {
		gather_range(g, from, backend_filler(g->w, from), offset - from, cont);
		cont = true;
	}
	gather_range(g, offset, piece->src, piece->size, cont);
	g->end = offset + piece->size;
	return 0;
}

/* Gives up the lines of pieces that were claimed. */
static void install_unclaim(struct window *w, const struct wxp_piece *pieces, size_t nr)
{
	size_t offset, i;
	uint32_t line;

	for (i = 0; i < nr; i++) {
		offset = window_offset(w, pieces[i].addr);
		line = (uint32_t)(offset / WXP_LINE);
		bits_clear(w->bits, BIT_FILLED, line,
			   lines_for(offset % WXP_LINE + pieces[i].size));
	}
}

/*
 * Claims the lines of all pieces and makes ranges of them, of which there is room for two
 * each.
 */
static int install_claim(struct window *w, uint32_t pool, const struct wxp_piece *pieces,
			 size_t nr, struct wxpool_install_range *ranges, uint32_t *nr_ranges)
{
	struct gather g = { .w = w, .at = ranges };
	size_t offset, lines = 0, i;
	int err = 0;

	for (i = 0; i < nr; i++) {
		offset = window_offset(w, pieces[i].addr);
		if (unlikely(!is_of_pool(w, pool, offset, pieces[i].size)))
			err = -EINVAL;
		else
			err = gather_piece(&g, &pieces[i], offset);
		if (unlikely(err))
			break;
		lines += lines_for(offset % WXP_LINE + pieces[i].size);
	}
	if (!err && unlikely(lines > WXP_MAX_INSTALL / WXP_LINE))
		err = -E2BIG;
	if (unlikely(err))
		install_unclaim(w, pieces, i);
	*nr_ranges = (uint32_t)(g.at - ranges);
	return err;
}

/* Is one of a parent's, who had not installed it at the fork? */
static bool is_inherited(const struct window *w, const struct wxp_piece *pieces, size_t nr)
{
	size_t i;

	for (; w; w = w->older)
		for (i = 0; i < nr; i++)
			if (window_offset(w, pieces[i].addr) < window_sealable(w))
				return true;
	return false;
}

/* Claims the lines of pieces, and holds the pool, which must be of the newest window. */
int install_begin(struct wxp *x, uint32_t id, const struct wxp_piece *pieces, size_t nr,
		  struct wxpool_install_range *ranges, uint32_t *nr_ranges, struct pool **p)
{
	int err = context_enter_new(x);
	struct window *w;
	uint32_t pool;

	if (unlikely(err))
		return err;
	w = x->window;
	pool = pool_find(w, id);
	*p = pool ? pool_at(w, pool) : NULL;
	if (unlikely(!pool))
		err = -ENOENT;
	else if (unlikely(!pool_can_hold(*p)))
		err = -EBUSY;
	else
		err = install_claim(w, pool, pieces, nr, ranges, nr_ranges);
	if (likely(!err))
		pool_hold(*p);
	else if (is_inherited(w->older, pieces, nr))
		err = -ESTALE;
	context_leave(x);
	return err;
}

/* It is done, or failed. */
void install_end(struct wxp *x, struct window *w, struct pool *p, const struct wxp_piece *pieces,
		 size_t nr, int err)
{
	if (unlikely(err)) {
		pthread_mutex_lock(&x->lock);
		install_unclaim(w, pieces, nr);
		context_leave(x);
	}
	pool_release(p, !err);
}

int install_check(const struct wxp_piece *pieces, size_t nr, uint32_t pool)
{
	if (unlikely(!pool || !pieces || !nr))
		return -EINVAL;
	return unlikely(nr > WXP_MAX_PIECES) ? -E2BIG : 0;
}

WXP_EXPORT int wxp_install(struct wxp *x, uint32_t id, const struct wxp_piece *pieces, size_t nr)
{
	struct wxpool_install_range few[2 * FEW], *ranges = few;
	int err = install_check(pieces, nr, id);
	struct pool *p;
	uint32_t nr_ranges;

	if (unlikely(err))
		return err;
	if (nr > FEW) {
		ranges = malloc(2 * nr * sizeof(*ranges));
		if (!ranges)
			return -ENOMEM;
	}
	err = install_begin(x, id, pieces, nr, ranges, &nr_ranges, &p);
	if (likely(!err)) {
		err = x->window->backend->install(x->window, id, ranges, nr_ranges);
		install_end(x, x->window, p, pieces, nr, err);
	}
	if (ranges != few)
		free(ranges);
	return err;
}
