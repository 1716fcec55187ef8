// SPDX-License-Identifier: MIT
/*
 * Filling pools: requests of one protection are packed one after the other,
 * and pages are added to the end, in place where that is possible.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* Pages to be added to a bin. */
struct grow {
	struct bin *bin;
	struct run *run;	/* the new pages, NULL: there is enough */
	uint32_t extra;		/* those of them taken from the free ones */
	bool in_place;
};

/* Puts @run in front of @list, as part of its first run where the two adjoin. */
void run_push(struct run **list, struct run *run)
{
	struct run *head = *list;
	bool behind = head && head->page + head->nr == run->page;
	bool before = head && run->page + run->nr == head->page;

	if ((behind || before) && head->state == run->state && head->prot == run->prot) {
		head->page = behind ? head->page : run->page;
		head->nr += run->nr;
		free(run);
		return;
	}
	run->next = head;
	*list = run;
}

/*
 * What nobody writes in an executable page must not run: the instruction that the
 * device uses too. An arm64 one may be filled in by two calls, of which each has
 * a part.
 */
void fill_traps(char *start, size_t size)
{
#if defined(__x86_64__)
	memset(start, 0xcc, size);		/* int3 */
#elif defined(__aarch64__)
	static const char brk[4] = { 0x00, 0x00, 0x20, (char)0xd4 };
	size_t i;

	for (i = 0; i < size; i++)
		start[i] = brk[(uintptr_t)(start + i) % 4];
#else
#error "what is a trap instruction here?"
#endif
}

/* A gap that a later request may fill. */
static void hole_add(struct bin *bin, size_t offset, size_t end)
{
	struct hole *least = bin->holes;
	int i;

	for (i = 1; i < MAX_HOLES; i++)
		if (bin->holes[i].size < least->size)
			least = &bin->holes[i];
	if (end - offset > least->size)
		*least = (struct hole){ offset, end - offset };
}

/* Memory from which no request was taken. It is zero until then. */
static void skip(struct wxp *w, struct bin *bin, enum wxp_prot prot, size_t offset, size_t end)
{
	if (prot == WXP_RX)
		fill_traps(w->base + offset, end - offset);
	hole_add(bin, offset, end);
}

/* Skips what is left of the pages that are being filled. */
void bin_skip_rest(struct wxp *w, struct bin *bin, enum wxp_prot prot)
{
	skip(w, bin, prot, bin->used, bin->end);
	bin->used = bin->end;
}

/* Takes a request's place from what was skipped. */
bool fill_hole(struct bin *bin, struct demand *d)
{
	struct hole *hole, old;
	size_t start, end;

	for (hole = bin->holes; hole < bin->holes + MAX_HOLES; hole++) {
		old = *hole;
		start = round_up(old.offset, d->align);
		end = old.offset + old.size;
		if (start >= end || end - start < d->size)
			continue;
		hole->size = 0;
		hole_add(bin, old.offset, start);
		hole_add(bin, start + d->size, end);
		d->offset = start;
		d->skipped = true;
		return true;
	}
	return false;
}

/* No more requests go into the pages that the bin has. */
void bin_close(struct wxp *w, struct bin *bin, enum wxp_prot prot)
{
	int i;

	bin_settles(w, bin, prot);
	bin->used = 0;
	bin->end = 0;
	for (i = 0; i < MAX_HOLES; i++)
		bin->holes[i].size = 0;
}

static uint32_t pages_for(const struct wxp *w, size_t bytes)
{
	return (uint32_t)(round_up(bytes, w->page_size) / w->page_size);
}

/* Pages that @d lacks at the end of what is being filled. */
static uint32_t pages_lacking(const struct wxp *w, const struct bin *bin,
			      const struct demand *d)
{
	size_t end = round_up(bin->used, d->align) + d->size;

	return end > bin->end ? pages_for(w, end - bin->end) : 0;
}

static struct run *run_new(enum wxp_prot prot)
{
	struct run *run = calloc(1, sizeof(*run));

	if (run)
		run->prot = prot;
	return run;
}

static bool plan_in_place(struct wxp *w, struct grow *g, const struct demand *d, uint32_t nr)
{
	struct bin *bin = g->bin;
	uint32_t end = (uint32_t)(bin->end / w->page_size);

	if (!end || (d->prot != WXP_RW && end + nr > w->rw_start))
		return false;
	spares_drop(w);
	g->extra = nr > bin->room ? nr - bin->room : 0;
	if (space_run(&w->space, end + bin->room, g->extra) < g->extra)
		return false;
	space_take(&w->space, end + bin->room, g->extra);
	g->run->page = end;
	g->run->nr = nr;
	g->in_place = true;
	return true;
}

static int plan_elsewhere(struct wxp *w, struct grow *g, const struct demand *d, bool growing)
{
	uint32_t nr = pages_for(w, d->size), page = NO_PAGE;
	bool spare = false;

	if (!growing) {
		page = spare_take(w, d->prot, nr);
		spare = page != NO_PAGE;
	} else if (room_wanted(w, d->prot)) {
		spares_drop(w);
		page = window_find(w, d->prot, nr + room_least(w));
	}
	if (page == NO_PAGE)
		page = window_find_hard(w, d->prot, nr);
	if (page == NO_PAGE)
		return -ENOMEM;
	if (!spare)
		space_take(&w->space, page, nr);
	g->run->page = page;
	g->run->nr = nr;
	g->extra = nr;
	g->in_place = false;
	return 0;
}

static int plan(struct wxp *w, struct grow *g, const struct demand *d, bool growing)
{
	uint32_t nr = pages_lacking(w, g->bin, d);
	int ret;

	if (g->bin->end && !nr)
		return 0;
	g->run = run_new(d->prot);
	if (!g->run)
		return -ENOMEM;
	if (plan_in_place(w, g, d, nr))
		return 0;
	ret = plan_elsewhere(w, g, d, growing);
	if (ret) {
		free(g->run);
		g->run = NULL;
	}
	return ret;
}

static void undo(struct wxp *w, struct grow *g)
{
	if (!g->run)
		return;
	space_give(&w->space, g->run->page + g->run->nr - g->extra, g->extra);
	free(g->run);
}

static int grant(struct wxp *w, struct pool *pool, struct grow *grows, unsigned int nr)
{
	struct run *runs[NR_PROTS];
	unsigned int n = 0, i;

	for (i = 0; i < nr; i++)
		if (grows[i].run && grows[i].run->prot != WXP_RW)
			runs[n++] = grows[i].run;
	return n ? w->ops->grant(w, pool, runs, n) : 0;
}

static void apply(struct wxp *w, struct grow *g, enum wxp_prot prot, bool growing)
{
	struct bin *bin = g->bin;
	struct run *run = g->run;

	if (!run)
		return;
	if (g->in_place) {
		bin->room -= run->nr - g->extra;
	} else {
		room_drop(w, bin, prot);
		skip(w, bin, prot, bin->used, bin->end);
		bin->used = run->page * w->page_size;
	}
	bin->end = (run->page + run->nr) * w->page_size;
	if (prot == WXP_RW)
		cache_zero(w, run->page, run->nr);
	*(prot == WXP_RW ? &w->pages[WXP_RW] : &w->pages_open) += run->nr;
	run_push(&bin->fresh, run);
	if (growing)
		bin_grows(w, bin, prot);
	if (bin->growing)
		room_claim(w, bin, prot);
}

static void carve(struct wxp *w, struct bin *bin, struct demand *d)
{
	d->offset = round_up(bin->used, d->align);
	skip(w, bin, d->prot, bin->used, d->offset);
	bin->used = d->offset + d->size;
}

/*
 * Finds places for @demands, one for each protection, with at most one call
 * to the backend. @growing: more are to be expected.
 */
int fill(struct wxp *w, struct pool *pool, struct demand *demands, unsigned int nr,
	 bool growing)
{
	struct grow grows[NR_PROTS] = { 0 };
	unsigned int i;
	int ret = 0;

	for (i = 0; i < nr && !ret; i++) {
		grows[i].bin = &pool->regions->bins[demands[i].prot];
		ret = plan(w, &grows[i], &demands[i], growing);
	}
	if (!ret)
		ret = grant(w, pool, grows, nr);
	if (ret) {
		while (i--)
			undo(w, &grows[i]);
		return ret;
	}
	for (i = 0; i < nr; i++) {
		apply(w, &grows[i], demands[i].prot, growing);
		carve(w, grows[i].bin, &demands[i]);
	}
	return 0;
}
