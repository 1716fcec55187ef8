// SPDX-License-Identifier: MIT
/*
 * The fast backend: code and read-only data are readable, writable and
 * executable from the start, and protecting them does nothing.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "internal.h"

#define PROT_ALL	(PROT_READ | PROT_WRITE | PROT_EXEC)

static int fast_open(struct wxp *w)
{
	int ret = window_map(w, 0, w->nr_pages, PROT_ALL);

	return ret == -EACCES ? -EPERM : ret;
}

static void fast_close(struct wxp *w, bool forked)
{
	(void)w;
	(void)forked;
}

static int fast_grant(struct wxp *w, struct pool *pool, struct run **runs, unsigned int nr)
{
	(void)w;
	(void)pool;
	(void)runs;
	(void)nr;
	return 0;
}

static int fast_seal(struct wxp *w, struct pool *pool, struct run **runs, unsigned int nr)
{
	unsigned int i;

	(void)pool;
	for (i = 0; i < nr; i++) {
		if (runs[i]->prot == WXP_RX)
			sync_icache(page_addr(w, runs[i]->page), run_bytes(w, runs[i]));
		runs[i]->state = RUN_DONE;
	}
	return 0;
}

static void discard_runs(struct wxp *w, const struct run *run)
{
	for (; run; run = run->next)
		window_discard(w, run->page, run->nr);
}

/* What lines hold that are not installed. */
static void fast_fill(char *start, size_t size, enum wxp_prot prot)
{
	if (prot != WXP_RX) {
		memset(start, 0, size);
		return;
	}
	fill_traps(start, size);
	sync_icache(start, size);
}

static int fast_drop(struct wxp *w, struct pool *pool)
{
	static const enum wxp_prot prots[] = { WXP_R, WXP_RX };
	uint32_t line = pool->spans, rel, nr;
	struct zone *zone;
	int i;

	for (i = 0; pool->regions && i < 2; i++) {
		discard_runs(w, pool->regions->bins[prots[i]].fresh);
		discard_runs(w, pool->regions->bins[prots[i]].done);
	}
	while (spans_next(w, &line, &zone, &rel, &nr))
		if (zone->prot != WXP_RW)
			fast_fill(line_addr(w, zone->start + rel), (size_t)nr * WXP_LINE,
				  zone->prot);
	return 0;
}

/* The pages are new. */
static int fast_view(struct wxp *w, uint32_t page, uint32_t nr, enum wxp_prot prot)
{
	if (prot == WXP_RX)
		fast_fill(page_addr(w, page), nr * w->page_size, prot);
	return 0;
}

static void fast_unview(struct wxp *w, struct zone *zone)
{
	window_discard(w, zone->page, zone->ready);
}

static int fast_install(struct wxp *w, struct pool *pool, struct wxpool_install_range *ranges,
			unsigned int nr)
{
	unsigned int i;
	char *to;

	(void)pool;
	for (i = 0; i < nr; i++) {
		to = w->base + ranges[i].offset;
		memcpy(to, (void *)(uintptr_t)ranges[i].source, ranges[i].length);
		sync_icache(to, ranges[i].length);
	}
	return 0;
}

const struct wxp_ops wxp_fast_ops = {
	.name = "fast",
	.unused = PROT_ALL,
	.open = fast_open,
	.close = fast_close,
	.grant = fast_grant,
	.seal = fast_seal,
	.drop = fast_drop,
	.view_step = 16,
	.view = fast_view,
	.unview = fast_unview,
	.install = fast_install,
};
