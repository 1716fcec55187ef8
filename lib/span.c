// SPDX-License-Identifier: MIT
/* Who holds which lines. */
#include <string.h>

#include "internal.h"

/* Lines that were taken become a span. */
void span_add(struct window *w, uint32_t pool, uint32_t line, uint32_t nr)
{
	struct pool *p = pool_at(w, pool);

	assert(!bits_any(w->bits, BIT_BEGIN, line, nr));
	bit_set(w->bits, BIT_BEGIN, line);
	w->lines[line] = (struct line){ .pool = pool, .sibling = p->spans };
	if (nr > 1)
		w->lines[line + 1].length = nr;
	p->spans = line;
}

/* Variables are zeroed when they are handed out, if need be. */
static void variables_zero(struct window *w, uint32_t line, uint32_t nr)
{
	if (bits_any(w->bits, BIT_FILLED, line, nr))
		memset(line_addr(w, line), 0, (size_t)nr * WXP_LINE);
	bits_set(w->bits, BIT_FILLED, line, nr);
}

/* Lines for a span; @align: in bytes */
uint32_t span_take(struct window *w, enum area_kind area, enum block_kind kind, uint32_t nr,
		   size_t align)
{
	uint32_t unit = align > WXP_LINE ? (uint32_t)(align / WXP_LINE) : 1;
	uint32_t line = lines_take(w, area, kind, nr, unit);

	if (unlikely(line == NONE) && spans_reclaim(w))
		line = lines_take(w, area, kind, nr, unit);
	return line;
}

/* Returns the first line, or NONE. */
uint32_t span_place(struct window *w, uint32_t pool, enum area_kind area, size_t size, size_t align)
{
	uint32_t nr = lines_for(size), line;

	if (unlikely(size > w->size))
		return NONE;
	line = span_take(w, area, PACKED, nr, align);
	if (unlikely(line == NONE))
		return NONE;
	span_add(w, pool, line, nr);
	if (area == VARIABLES)
		variables_zero(w, line, nr);
	return line;
}

/* Its lines are free, but those of variables may be not zero. */
static void span_drop(struct window *w, uint32_t line)
{
	uint32_t nr = line_length(w, line);

	if (!is_variable(w, line))
		bits_clear(w->bits, BIT_FILLED, line, nr);
	if (lines_spare(w, line, nr))
		return;
	bit_clear(w->bits, BIT_BEGIN, line);
	lines_give(w, line, nr);
}

/* One of a pool's, which need not be the newest */
static void span_unlink(struct window *w, uint32_t pool, uint32_t line)
{
	uint32_t *link = &pool_at(w, pool)->spans;

	while (*link != line)
		link = &w->lines[*link].sibling;
	*link = w->lines[line].sibling;
}

void span_remove(struct window *w, uint32_t pool, uint32_t line)
{
	span_unlink(w, pool, line);
	span_drop(w, line);
}

/* Two of a pool's that adjoin become one. */
void span_join(struct window *w, uint32_t pool, uint32_t first, uint32_t second)
{
	uint32_t nr = line_length(w, first) + line_length(w, second);

	span_unlink(w, pool, second);
	bit_clear(w->bits, BIT_BEGIN, second);
	w->lines[first + 1].length = nr;
}

/* Those of a pool that are newer than @stop */
void spans_drop_to(struct window *w, uint32_t pool, uint32_t stop)
{
	struct pool *p = pool_at(w, pool);
	uint32_t line;

	while ((line = p->spans) != stop) {
		p->spans = w->lines[line].sibling;
		span_drop(w, line);
	}
}

/* Of a pool that children use; variables are their own copies. */
void spans_retire(struct window *w, uint32_t pool)
{
	uint32_t *link = &pool_at(w, pool)->spans, line;

	while ((line = *link) != NONE) {
		if (!is_variable(w, line)) {
			w->retired_lines += line_length(w, line);
			link = &w->lines[line].sibling;
		} else {
			*link = w->lines[line].sibling;
			span_drop(w, line);
		}
	}
}

static bool is_kept(struct window *w, uint32_t id)
{
	struct wxpool_info info = { .pool = id };

	return !w->backend->info || w->backend->info(w, &info) ||
	       info.pool_state != WXPOOL_POOL_GONE;
}

static bool is_any_kept(struct window *w)
{
	struct wxpool_info info = { .pool = 0 };

	return !w->backend->info || w->backend->info(w, &info) || info.pages_kept ||
	       info.lines_kept;
}

/*
 * Frees what retired pools had that no child uses any more. Of a number that a live pool
 * has by now, that is known only if no child uses anything.
 */
bool spans_reclaim(struct window *w)
{
	uint32_t *link = &w->pools.retired, pool, line, id;
	bool any = false, any_kept = *link != NONE && is_any_kept(w);

	while ((pool = *link) != NONE) {
		id = pool_at(w, pool)->id;
		if (!id || (any_kept && is_kept(w, id))) {
			link = &pool_at(w, pool)->next;
			continue;
		}
		*link = pool_at(w, pool)->next;
		for (line = pool_at(w, pool)->spans; line != NONE; line = w->lines[line].sibling)
			w->retired_lines -= line_length(w, line);
		spans_drop_to(w, pool, NONE);
		pool_end(w, pool);
		any = true;
	}
	return any;
}

/* The first line of the span that @line is part of, or NONE */
uint32_t span_of(const struct window *w, uint32_t line)
{
	uint32_t first;

	if (kind_of(w, line) == FRESH)
		return NONE;
	first = bits_last(w->bits, BIT_BEGIN, line);
	if (first == NONE || bit_test(w->bits, BIT_FREE, first) || !w->lines[first].pool ||
	    line - first >= line_length(w, first))
		return NONE;
	return first;
}

WXP_EXPORT uint32_t wxp_pool_of(struct wxp *x, const void *addr)
{
	uint32_t first = NONE, id = 0;
	const struct window *w;
	const struct pool *p;
	size_t offset;

	if (context_enter(x))
		return 0;
	for (w = x->window; w && first == NONE; w = w->older) {
		offset = window_offset(w, addr);
		if (offset >= w->size)
			continue;
		first = span_of(w, (uint32_t)(offset / WXP_LINE));
		if (first == NONE)
			break;
		p = pool_at(w, w->lines[first].pool);
		id = pool_state(p) & POOL_RETIRED ? 0 : p->id;
	}
	context_leave(x);
	return id;
}
