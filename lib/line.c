// SPDX-License-Identifier: MIT
/*
 * Lines of WXP_LINE bytes, for what is packed. Each protection has zones in
 * the window, mapped once, so that installing needs no mapping call.
 *
 * New spans are cut from one free run of lines, one after the other. Freed
 * ones wait in short stacks by size, from where the next of that size are taken,
 * or go back to the zone's tree, where neighbours join. The next run to cut from
 * is the first that is long enough; a zone grows when there is none.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static void zone_free(struct zone *zone)
{
	space_exit(&zone->lines);
	free(zone->held);
	free(zone->info);
	free(zone);
}

static struct zone *zone_alloc(const struct wxp *w, enum wxp_prot prot, uint32_t nr_pages)
{
	struct zone *zone = calloc(1, sizeof(*zone));
	uint32_t words = nr_pages * lines_per_page(w) / 64;

	if (!zone)
		return NULL;
	zone->prot = prot;
	zone->nr_pages = nr_pages;
	zone->nr_lines = words * 64;
	zone->held = calloc((size_t)3 * words, sizeof(*zone->held));
	zone->info = calloc(zone->nr_lines, sizeof(*zone->info));
	if (!zone->held || !zone->info || space_init(&zone->lines, zone->nr_lines)) {
		zone_free(zone);
		return NULL;
	}
	zone->first = zone->held + words;
	zone->live = zone->first + words;
	return zone;
}

/* The zone of each unit that it takes. */
static void zone_show(struct wxp *w, const struct zone *zone, struct zone *value)
{
	uint32_t unit = zone->page / w->zone_pages, i;

	for (i = 0; i < zone->nr_pages / w->zone_pages; i++)
		w->zones[unit + i] = value;
}

static int zone_new(struct wxp *w, enum wxp_prot prot, uint32_t nr_pages)
{
	struct zone **p = &w->areas[prot].zones, *zone;

	if (!w->zones)
		w->zones = calloc(w->nr_pages / w->zone_pages, sizeof(struct zone *));
	nr_pages = (uint32_t)round_up(nr_pages, w->zone_pages);
	zone = w->zones ? zone_alloc(w, prot, nr_pages) : NULL;
	if (!zone)
		return -ENOMEM;
	zone->page = window_find_zone(w, prot, nr_pages);
	if (zone->page == NO_PAGE) {
		zone_free(zone);
		return -ENOMEM;
	}
	zone->start = zone->page * lines_per_page(w);
	space_take(&w->space, zone->page, nr_pages);
	zone_show(w, zone, zone);
	while (*p)
		p = &(*p)->next;
	*p = zone;
	return 0;
}

/* Makes further pages of @zone ready, at least @nr_pages if it has them. */
static int zone_extend(struct wxp *w, struct zone *zone, uint32_t nr_pages)
{
	uint32_t left = zone->nr_pages - zone->ready, step = w->ops->view_step;
	int ret = 0;

	if (!step || zone->prot == WXP_RW)
		step = left;
	nr_pages = (uint32_t)min_size(left, nr_pages > step ? nr_pages : step);
	if (zone->prot != WXP_RW)
		ret = w->ops->view(w, zone->page + zone->ready, nr_pages, zone->prot);
	if (ret)
		return ret;
	space_give(&zone->lines, zone->ready * lines_per_page(w), nr_pages * lines_per_page(w));
	zone->ready += nr_pages;
	return 0;
}

static int area_grow(struct wxp *w, enum wxp_prot prot, uint32_t nr)
{
	uint32_t nr_pages = (nr + lines_per_page(w) - 1) / lines_per_page(w);
	struct zone *zone;

	for (zone = w->areas[prot].zones; zone; zone = zone->next)
		if (zone->ready < zone->nr_pages)
			return zone_extend(w, zone, nr_pages);
	return zone_new(w, prot, nr_pages);
}

static void tree_give(struct wxp *w, uint32_t line, uint32_t nr)
{
	struct zone *zone = nr ? zone_at(w, line) : NULL;

	if (zone)
		space_give(&zone->lines, line - zone->start, nr);
}

static void cut_drop(struct wxp *w, struct area *area)
{
	tree_give(w, area->cut, area->cut_end - area->cut);
	area->cut = 0;
	area->cut_end = 0;
}

/* Returns whether there was anything. */
static bool quick_drop(struct wxp *w, struct area *area)
{
	bool any = area->nr_big;
	uint32_t nr;

	tree_give(w, area->big, area->nr_big);
	area->nr_big = 0;

	for (nr = 1; nr < QUICK_SIZES; nr++) {
		any |= area->nr_quick[nr];
		while (area->nr_quick[nr])
			tree_give(w, area->quick[nr][--area->nr_quick[nr]], nr);
	}
	return any;
}

static bool cut_from(struct area *area, uint32_t nr)
{
	struct zone *zone = area->zones;
	uint32_t line;

	while (zone && (zone->nr_kept || zone->lines.nodes[1].max < nr))
		zone = zone->next;
	if (!zone)
		return false;
	line = space_find(&zone->lines, 0, nr);
	nr = space_run(&zone->lines, line, zone->nr_lines);
	space_take(&zone->lines, line, nr);
	area->cut = zone->start + line;
	area->cut_end = area->cut + nr;
	return true;
}

/* Finds a run of at least @nr free lines to cut from. */
static int refill(struct wxp *w, enum wxp_prot prot, uint32_t nr)
{
	struct area *area = &w->areas[prot];
	int ret;

	cut_drop(w, area);
	while (!cut_from(area, nr)) {
		if (quick_drop(w, area) || pools_reclaim(w))
			continue;
		ret = area_grow(w, prot, nr);
		if (ret)
			return ret;
	}
	return 0;
}

/* Takes what was freed last of that very size. */
static bool take_freed(struct area *area, uint32_t nr, uint32_t align, uint32_t *line)
{
	if (nr >= QUICK_SIZES) {
		if (area->nr_big != nr || area->big & (align - 1))
			return false;
		area->nr_big = 0;
		*line = area->big;
		return true;
	}
	if (!area->nr_quick[nr] || area->quick[nr][area->nr_quick[nr] - 1] & (align - 1))
		return false;
	*line = area->quick[nr][--area->nr_quick[nr]];
	return true;
}

/* lines_take() where that is more than to cut off the next ones. */
int lines_find(struct wxp *w, enum wxp_prot prot, uint32_t nr, uint32_t align, uint32_t *line)
{
	struct area *area = &w->areas[prot];
	uint32_t start;
	int ret;

	if (take_freed(area, nr, align, line))
		return 0;
	start = (uint32_t)round_up(area->cut, align);
	if (start + nr > area->cut_end) {
		ret = refill(w, prot, nr + align - 1);
		if (ret)
			return ret;
		start = (uint32_t)round_up(area->cut, align);
	}
	if (start > area->cut)
		lines_give(w, prot, area->cut, start - area->cut);
	area->cut = start + nr;
	*line = start;
	return 0;
}

void lines_give(struct wxp *w, enum wxp_prot prot, uint32_t line, uint32_t nr)
{
	struct area *area = &w->areas[prot];

	if (nr >= QUICK_SIZES) {
		tree_give(w, area->big, area->nr_big);
		area->big = line;
		area->nr_big = nr;
	} else if (area->nr_quick[nr] < QUICK_DEPTH) {
		area->quick[nr][area->nr_quick[nr]++] = line;
	} else {
		tree_give(w, line, nr);
	}
}

/* Gives what is at hand back to the zones. */
void lines_gather(struct wxp *w)
{
	int prot;

	for (prot = WXP_R; prot < NR_PROTS; prot++) {
		cut_drop(w, &w->areas[prot]);
		quick_drop(w, &w->areas[prot]);
	}
}

static void zone_end(struct wxp *w, struct zone *zone)
{
	if (zone->prot == WXP_RW)
		bits_clear(w->cache.stale, zone->page, zone->nr_pages);
	else if (zone->ready)
		w->ops->unview(w, zone);
	zone_show(w, zone, NULL);
	space_give(&w->space, zone->page, zone->nr_pages);
	zone_free(zone);
}

/* Gives the address space of unused zones back. */
bool zones_reclaim(struct wxp *w)
{
	struct zone **p, *zone;
	bool any = false;
	int prot;

	lines_gather(w);
	for (prot = WXP_R; prot < NR_PROTS; prot++) {
		for (p = &w->areas[prot].zones; (zone = *p);) {
			if (zone->nr_held || zone->nr_kept || is_fixed(w, zone->page)) {
				p = &zone->next;
				continue;
			}
			*p = zone->next;
			zone_end(w, zone);
			any = true;
		}
	}
	return any;
}

void zones_destroy(struct wxp *w)
{
	struct zone *zone;
	int prot;

	for (prot = WXP_R; prot < NR_PROTS; prot++) {
		while ((zone = w->areas[prot].zones)) {
			w->areas[prot].zones = zone->next;
			zone_free(zone);
		}
	}
	free(w->zones);
}
