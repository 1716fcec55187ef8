// SPDX-License-Identifier: MIT
/*
 * Spans: lines of zones that pools hold. The lines themselves tell where each
 * begins and ends, and link those of one pool.
 */
#include <errno.h>

#include "internal.h"

static void tally_add(struct tally *t, uint64_t bytes, uint32_t lines)
{
	t->spans++;
	t->bytes += bytes;
	t->lines += lines;
}

/* How many lines the span has that begins at @rel. */
static uint32_t span_lines(const struct zone *zone, uint32_t rel)
{
	uint32_t end = zone->nr_lines, i = rel + 1;
	uint64_t stop;

	while (i < end) {
		stop = (~zone->held[i / 64] | zone->first[i / 64]) >> i % 64;
		if (stop)
			return i + (uint32_t)__builtin_ctzll(stop) - rel;
		i += 64 - i % 64;
	}
	return end - rel;
}

/* Lists a pool's spans, from *@line = pool->spans on. */
bool spans_next(const struct wxp *w, uint32_t *line, struct zone **zone, uint32_t *rel,
		uint32_t *nr)
{
	if (*line == NO_LINE)
		return false;
	*zone = zone_at(w, *line);
	*rel = *line - (*zone)->start;
	*nr = span_lines(*zone, *rel);
	*line = (*zone)->info[*rel].next;
	return true;
}

static void span_add(struct wxp *w, struct pool *pool, uint32_t line, uint32_t nr)
{
	struct zone *zone = zone_at(w, line);
	uint32_t rel = line - zone->start;

	if (zone->prot == WXP_RW)
		cache_lines_zero(w, zone, rel, nr);
	bits_set(zone->held, rel, nr);
	zone->first[rel / 64] |= 1ull << rel % 64;
	zone->info[rel] = (struct span_info){ pool->id, pool->spans };
	zone->nr_held += nr;
	pool->spans = line;
}

static void lines_leave(struct zone *zone, uint32_t rel, uint32_t nr)
{
	bits_clear(zone->held, rel, nr);
	bits_clear(zone->live, rel, nr);
	zone->nr_held -= nr;
}

static void lines_drop(struct wxp *w, struct zone *zone, uint32_t rel, uint32_t nr)
{
	lines_leave(zone, rel, nr);
	if (zone->prot == WXP_RW)
		cache_lines_freed(w, zone, rel, nr);
	if (zone->nr_kept)
		space_give(&zone->lines, rel, nr);
	else
		lines_give(w, zone->prot, zone->start + rel, nr);
}

/* Drops spans of @pool, the newest first, until @line is the newest. */
static void spans_drop_to(struct wxp *w, struct pool *pool, uint32_t line)
{
	struct zone *zone;
	uint32_t rel, nr;

	while (pool->spans != line && spans_next(w, &pool->spans, &zone, &rel, &nr)) {
		zone->first[rel / 64] &= ~(1ull << rel % 64);
		lines_drop(w, zone, rel, nr);
	}
}

/*
 * The device refuses lines that a child still shows, and any line of a page that
 * has no others: until the pool is released, no span gets lines of such a zone.
 */
static void spans_retire(struct wxp *w, struct pool *pool)
{
	uint32_t waiting = NO_LINE, rel, nr;
	struct zone *zone;

	lines_gather(w);
	while (spans_next(w, &pool->spans, &zone, &rel, &nr)) {
		zone->first[rel / 64] &= ~(1ull << rel % 64);
		if (zone->prot == WXP_RW) {
			lines_drop(w, zone, rel, nr);
			continue;
		}
		lines_leave(zone, rel, nr);
		zone->nr_kept += nr;
		zone->info[rel] = (struct span_info){ nr, waiting };
		waiting = zone->start + rel;
	}
	pool->spans = waiting;
}

/* Gives back the lines of a retired pool. */
void spans_release(struct wxp *w, struct pool *pool)
{
	struct span_info *span;
	struct zone *zone;
	uint32_t rel;

	while (pool->spans != NO_LINE) {
		zone = zone_at(w, pool->spans);
		rel = pool->spans - zone->start;
		span = &zone->info[rel];
		zone->nr_kept -= span->owner;
		space_give(&zone->lines, rel, span->owner);
		pool->spans = span->next;
	}
}

void spans_drop(struct wxp *w, struct pool *pool)
{
	if (pool->kept)
		spans_retire(w, pool);
	else
		spans_drop_to(w, pool, NO_LINE);
	w->placed.spans -= pool->placed.spans;
	w->placed.bytes -= pool->placed.bytes;
	w->placed.lines -= pool->placed.lines;
	w->placed.live -= pool->placed.live;
	pool->placed = (struct tally){ 0 };
}

static int check_requests(const struct wxp *w, const struct wxp_request *reqs, size_t nr)
{
	const struct wxp_request *r;
	size_t align;
	int ret = 0;

	for (r = reqs; r < reqs + nr && !ret; r++) {
		align = r->align;
		ret = check_request(w, r->size, &align, r->prot);
	}
	return ret;
}

static int place_locked(struct wxp *w, struct pool *pool, const struct wxp_request *reqs,
			size_t nr, struct wxp_span *spans)
{
	uint32_t newest = pool->spans, lines, align, line;
	struct tally sum = { 0 };
	size_t i;
	int ret;

	for (i = 0; i < nr; i++) {
		lines = lines_for(reqs[i].size);
		align = reqs[i].align > WXP_LINE ? lines_for(reqs[i].align) : 1;
		ret = lines_take(w, reqs[i].prot, lines, align, &line);
		if (ret) {
			spans_drop_to(w, pool, newest);
			return ret;
		}
		span_add(w, pool, line, lines);
		tally_add(&sum, reqs[i].size, lines);
		spans[i] = (struct wxp_span){ line_addr(w, line), reqs[i].size };
	}
	pool->placed.spans += sum.spans;
	pool->placed.bytes += sum.bytes;
	pool->placed.lines += sum.lines;
	w->placed.spans += sum.spans;
	w->placed.bytes += sum.bytes;
	w->placed.lines += sum.lines;
	return 0;
}

WXP_EXPORT int wxp_place(struct wxp *w, uint32_t id, const struct wxp_request *reqs, size_t nr,
			 struct wxp_span *spans)
{
	struct pool *pool;
	int ret = wxp_enter_change(w);

	if (ret)
		return ret;
	ret = id && reqs && nr && spans ? check_requests(w, reqs, nr) : -EINVAL;
	if (ret)
		goto out;
	ret = -ENOMEM;
	pool = pool_get(w, id);
	if (!pool)
		goto out;
	ret = place_locked(w, pool, reqs, nr, spans);
	if (ret)
		pool_put(w, pool);
out:
	wxp_leave(w);
	return ret;
}

static void shrink_tallies(struct wxp *w, struct pool *pool, uint64_t bytes, uint32_t lines)
{
	/* The caller's word for the old size is not to be relied on. */
	if (bytes > pool->placed.bytes)
		bytes = pool->placed.bytes;
	pool->placed.bytes -= bytes;
	pool->placed.lines -= lines;
	w->placed.bytes -= bytes;
	w->placed.lines -= lines;
}

static int shrink_locked(struct wxp *w, const struct wxp_span *span, size_t size)
{
	size_t offset = (uintptr_t)span->addr - (uintptr_t)w->base;
	uint32_t line = (uint32_t)(offset / WXP_LINE), keep = lines_for(size), nr, rel;
	struct zone *zone;

	if (offset >= w->size || offset % WXP_LINE || !size || size > span->size)
		return -EINVAL;
	zone = zone_at(w, line);
	if (!zone)
		return -EINVAL;
	rel = line - zone->start;
	if (!bit_test(zone->first, rel))
		return -EINVAL;
	nr = span_lines(zone, rel);
	if (span->size > (size_t)nr * WXP_LINE || span->size <= (size_t)(nr - 1) * WXP_LINE)
		return -EINVAL;
	if (bits_any(zone->live, rel + keep, nr - keep))
		return -EEXIST;
	shrink_tallies(w, pool_find(w, zone->info[rel].owner), span->size - size, nr - keep);
	if (nr > keep)
		lines_drop(w, zone, rel + keep, nr - keep);
	return 0;
}

WXP_EXPORT int wxp_shrink(struct wxp *w, struct wxp_span *span, size_t size)
{
	int ret = wxp_enter(w);

	if (ret)
		return ret;
	ret = span ? shrink_locked(w, span, size) : -EINVAL;
	if (!ret)
		span->size = size;
	wxp_leave(w);
	return ret;
}
