// SPDX-License-Identifier: MIT
/* What is held. */
#include "internal.h"

static void count_span(struct window *w, uint32_t line, struct wxp_stats *s)
{
	uint32_t nr = line_length(w, line);
	uint64_t size = (uint64_t)nr * WXP_LINE;

	if (is_variable(w, line)) {
		s->variables += size;
		return;
	}
	*(line < w->areas[CODE].end ? &s->code : &s->constants) += size;
	if (kind_of(w, line) == PACKED)
		s->installed += (uint64_t)bits_count(w->bits, BIT_FILLED, line, nr) * WXP_LINE;
	else if (is_open(w, line))
		s->open += size;
	else
		s->sealed += size;
}

/* One pool of a number: a child's own one and its parent's are the same. */
static bool is_counted(struct window *newer, const struct window *w, uint32_t id)
{
	while (newer != w && !pool_find(newer, id))
		newer = newer->older;
	return newer != w;
}

static void count_pool(struct wxp *x, struct window *w, uint32_t pool, struct wxp_stats *s)
{
	uint32_t line;

	s->pools += !is_counted(x->window, w, pool_at(w, pool)->id);
	for (line = pool_at(w, pool)->spans; line != NONE; line = w->lines[line].sibling)
		count_span(w, line, s);
}

static void count_pools(struct wxp *x, struct window *w, struct wxp_stats *s)
{
	const struct pool *p;
	uint32_t i;

	for (i = 1; i < w->pools.nr_used; i++) {
		p = pool_at(w, i);
		if (p->id && !(pool_state(p) & POOL_RETIRED))
			count_pool(x, w, i, s);
	}
}

static void count_rest(struct window *w, struct wxp_stats *s)
{
	struct wxpool_info info = { .pool = 0 };
	uint32_t largest, unused;

	spans_reclaim(w);
	s->free = area_free(w, &w->areas[CODE], &largest);
	s->free += area_free(w, &w->areas[CONSTANTS], &unused);
	s->free += area_free(w, &w->areas[VARIABLES], &unused);
	s->free *= WXP_LINE;
	s->largest = (uint64_t)largest * WXP_LINE;
	s->retired = w->retired_lines * WXP_LINE;
	s->tables = sizeof(*w) + (uint64_t)CHUNK * (w->pools.nr_chunks * sizeof(struct pool) +
						    w->pools.nr_bucket_chunks * sizeof(uint32_t));
	if (w->backend->info && !w->backend->info(w, &info)) {
		s->charged = info.charged;
		s->huge = info.pages_huge * w->page_size;
	}
}

static int count(struct wxp *x, uint32_t id, struct wxp_stats *s)
{
	struct window *w = x->window;
	uint32_t pool;

	do {
		pool = id ? pool_find(w, id) : 0;
		if (pool)
			count_pool(x, w, pool, s);
		else if (!id)
			count_pools(x, w, s);
		w = w->older;
	} while (w);
	if (id)
		return s->pools ? 0 : -ENOENT;
	if (!x->window->inherited)
		count_rest(x->window, s);
	return 0;
}

/* A caller of a later version has more fields than this one. */
WXP_EXPORT int wxp_get_stats(struct wxp *x, uint32_t pool, struct wxp_stats *stats)
{
	struct wxp_stats s = { .size = 0 };
	int err;

	if (!stats || stats->size < sizeof(s))
		return -EINVAL;
	err = context_enter(x);
	if (err)
		return err;
	err = count(x, pool, &s);
	context_leave(x);
	if (err)
		return err;
	s.size = stats->size;
	memset(stats, 0, s.size);
	memcpy(stats, &s, sizeof(s));
	return 0;
}
