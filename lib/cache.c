// SPDX-License-Identifier: MIT
/*
 * Writable memory of freed pools is kept for the next ones, up to a limit, as
 * giving it back takes a system call, and getting it again a page fault for
 * each page. It is zeroed when it is handed out.
 *
 * A dirty page belongs to nobody. A stale page is one of a zone that somebody
 * uses in part: it cannot be given back, but its free lines may not be zero.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define CACHE_MAX	((size_t)4 << 20)
#define CACHE_SHARE	16		/* at most this part of the window */

int cache_open(struct wxp *w)
{
	struct cache *c = &w->cache;
	size_t words = (w->nr_pages + 63) / 64;

	c->dirty = calloc(2 * words, sizeof(*c->dirty));
	if (!c->dirty)
		return -ENOMEM;
	c->stale = c->dirty + words;
	c->max = (uint32_t)(min_size(CACHE_MAX, w->size / CACHE_SHARE) / w->page_size);
	return 0;
}

void cache_close(struct wxp *w)
{
	free(w->cache.dirty);
}

/* Dirty pages in a row from @page on. */
static uint32_t dirty_run(const struct wxp *w, uint32_t page)
{
	uint32_t end = page;

	while (end < w->nr_pages && bit_test(w->cache.dirty, end))
		end++;
	return end - page;
}

/* Gives all back, in as few calls as there are runs of pages. */
static void trim(struct wxp *w)
{
	struct cache *c = &w->cache;
	uint32_t page = w->rw_start, nr;

	while (c->nr) {
		while (!c->dirty[page / 64])
			page = (page / 64 + 1) * 64;
		nr = dirty_run(w, page);
		if (nr) {
			window_discard(w, page, nr);
			cache_forget(w, page, nr);
		}
		page += nr + 1;
	}
}

/* Pages that nobody uses any more. */
void cache_add(struct wxp *w, uint32_t page, uint32_t nr)
{
	bits_set(w->cache.dirty, page, nr);
	w->cache.nr += nr;
	if (w->cache.nr > w->cache.max)
		trim(w);
}

/* Pages whose contents do not matter any more. */
void cache_forget(struct wxp *w, uint32_t page, uint32_t nr)
{
	uint32_t i;

	for (i = page; i < page + nr; i++)
		w->cache.nr -= bit_test(w->cache.dirty, i);
	bits_clear(w->cache.dirty, page, nr);
	bits_clear(w->cache.stale, page, nr);
}

/*
 * In steps small enough for memset() to use vector stores: for larger ones it
 * has the processor repeat an instruction for each byte, which is slow to start
 * and, where instructions are counted, counts as so many.
 */
static void zero(char *start, size_t size)
{
	size_t step;

	for (; size; start += step, size -= step) {
		step = min_size(size, 1024);
		memset(start, 0, step);
	}
}

/* Makes pages that are handed out read as zero. */
void cache_zero(struct wxp *w, uint32_t page, uint32_t nr)
{
	uint32_t i;

	if (!w->cache.nr)
		return;
	for (i = page; i < page + nr; i++)
		if (bit_test(w->cache.dirty, i))
			zero(page_addr(w, i), w->page_size);
	cache_forget(w, page, nr);
}

/* Lines of a zone for writable data that nobody holds any more. */
void cache_lines_freed(struct wxp *w, const struct zone *zone, uint32_t line, uint32_t nr)
{
	uint32_t per_page = lines_per_page(w), rel, i;

	for (rel = line / per_page; rel <= (line + nr - 1) / per_page; rel++) {
		i = zone->page + rel;
		bits_set(w->cache.stale, i, 1);
		if (!bits_any(zone->held, rel * per_page, per_page)) {
			bits_clear(w->cache.stale, i, 1);
			cache_add(w, i, 1);
		}
	}
}

/* Makes lines that are handed out read as zero. */
void cache_lines_zero(struct wxp *w, const struct zone *zone, uint32_t line, uint32_t nr)
{
	uint32_t per_page = lines_per_page(w), end = line + nr, next, i;

	for (; line < end; line = next) {
		next = (line / per_page + 1) * per_page;
		if (next > end)
			next = end;
		i = zone->page + line / per_page;
		if (bit_test(w->cache.dirty, i)) {
			cache_forget(w, i, 1);
			bits_set(w->cache.stale, i, 1);
		}
		if (bit_test(w->cache.stale, i))
			zero(line_addr(w, zone->start + line), (size_t)(next - line) * WXP_LINE);
	}
}
