// SPDX-License-Identifier: MIT
/* The counters of a context. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

/* Does a line of /proc/self/maps ("start-end ...") lie inside the window? */
static bool in_window(const struct wxp *w, const char *line)
{
	uintptr_t base = (uintptr_t)w->base;
	char *rest;
	uintptr_t start = (uintptr_t)strtoull(line, &rest, 16), end;

	if (*rest != '-')
		return false;
	end = (uintptr_t)strtoull(rest + 1, NULL, 16);
	return start < base + w->size && end > base;
}

static uint64_t count_vmas(const struct wxp *w)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	uint64_t nr = 0;
	char line[64];
	bool at_start = true;

	if (!maps)
		return 0;
	while (fgets(line, sizeof(line), maps)) {
		nr += at_start && in_window(w, line);
		at_start = strchr(line, '\n') != NULL;
	}
	fclose(maps);
	return nr;
}

/* Pages that hold lines of spans. */
static uint64_t count_packed(const struct wxp *w)
{
	uint32_t per_page = lines_per_page(w), page;
	const struct zone *zone;
	uint64_t nr = 0;
	int prot;

	for (prot = WXP_R; prot < NR_PROTS; prot++)
		for (zone = w->areas[prot].zones; zone; zone = zone->next)
			for (page = 0; page < zone->ready; page++)
				nr += bits_any(zone->held, page * per_page, per_page);
	return nr;
}

static void fill_stats(struct wxp *w, struct wxp_stats *s)
{
	uint64_t pages = w->pages_open + w->pages[WXP_R] + w->pages[WXP_RX] + w->pages[WXP_RW];
	struct wxpool_info info = { .pages_kept = 0 };

	pools_reclaim(w);
	if (w->ops->info && !w->ops->info(w, &info))
		info = (struct wxpool_info){ .pages_kept = 0 };
	s->pools = w->nr_pools;
	s->allocations = w->allocations;
	s->bytes_requested = w->requested;
	s->bytes_lost = pages * w->page_size - w->requested;
	s->pages_open = w->pages_open;
	s->pages_r = w->pages[WXP_R];
	s->pages_rx = w->pages[WXP_RX];
	s->pages_rw = w->pages[WXP_RW];
	s->pages_kept = info.pages_kept;
	s->syscalls = w->syscalls;
	s->vmas = count_vmas(w);
	s->spans = w->placed.spans;
	s->bytes_placed = w->placed.bytes;
	s->lines = w->placed.lines;
	s->lines_installed = w->placed.live;
	s->pages_packed = count_packed(w);
	s->pages_huge = info.pages_huge;
	s->bytes_cached = w->cache.nr * w->page_size;
	s->bytes_spent = w->spent * w->page_size;
}

/* A caller of the first version has fewer fields, one of a later version more. */
WXP_EXPORT int wxp_get_stats(struct wxp *w, struct wxp_stats *stats)
{
	struct wxp_stats s;
	int ret = wxp_enter(w);
	size_t size;

	if (ret)
		return ret;
	if (stats && stats->size >= offsetof(struct wxp_stats, spans)) {
		size = stats->size;
		fill_stats(w, &s);
		s.size = size;
		memset(stats, 0, size);
		memcpy(stats, &s, min_size(size, sizeof(s)));
	} else {
		ret = -EINVAL;
	}
	wxp_leave(w);
	return ret;
}
