// SPDX-License-Identifier: MIT
/*
 * The window: one reservation of address space, and where in it what goes.
 *
 *   0          1/4                          rw_start
 *   | RX --->  | R --->            ...       | RW ---> |
 *
 * Code is placed from the bottom, read-only data from a quarter on, so that
 * equal views lie side by side and merge into few mappings; both may use any
 * page below rw_start. Zones of packed code begin at an eighth, those of packed
 * read-only data at three. From rw_start to the top all pages are mapped
 * writable; that part grows down in steps as needed, and shrinks when the rest
 * is full.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "internal.h"

#define BASE_ALIGN	(2ul << 20)	/* so that huge pages are possible */
#define RW_STEP		256		/* pages */
#define RW_SHARE	16		/* a step is at most this part of the window */

/* Replaces what is mapped at the pages by new anonymous memory. */
int window_map(struct wxp *w, uint32_t page, uint32_t nr, int prot)
{
	void *p;

	w->syscalls++;
	p = mmap(page_addr(w, page), nr * w->page_size, prot,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
	return p == MAP_FAILED ? -errno : 0;
}

int window_protect(struct wxp *w, const struct run *run, int prot)
{
	w->syscalls++;
	return mprotect(page_addr(w, run->page), run_bytes(w, run), prot) ? -errno : 0;
}

/* Gives the memory of writable pages back: they read as zero from now on. */
void window_discard(struct wxp *w, uint32_t page, uint32_t nr)
{
	w->syscalls++;
	/* Locked memory cannot be given back. */
	if (madvise(page_addr(w, page), nr * w->page_size, MADV_DONTNEED))
		memset(page_addr(w, page), 0, nr * w->page_size);
}

static bool rw_grow(struct wxp *w, uint32_t nr)
{
	uint32_t want = nr - space_run(&w->space, w->rw_start, nr);
	uint32_t step = (uint32_t)min_size(RW_STEP, w->nr_pages / RW_SHARE);

	if (step < want || step > w->rw_start ||
	    space_run(&w->space, w->rw_start - step, step) < step)
		step = want;
	if (step > w->rw_start || space_run(&w->space, w->rw_start - step, step) < step)
		return false;
	if (window_map(w, w->rw_start - step, step, PROT_READ | PROT_WRITE))
		return false;
	w->rw_start -= step;
	return true;
}

static bool rw_shrink(struct wxp *w)
{
	uint32_t nr = space_run(&w->space, w->rw_start, w->nr_pages - w->rw_start);

	if (!nr || window_map(w, w->rw_start, nr, w->ops->unused))
		return false;
	cache_forget(w, w->rw_start, nr);
	w->rw_start += nr;
	return true;
}

static uint32_t find_below_rw(struct wxp *w, uint32_t from, uint32_t nr)
{
	uint32_t page = space_find(&w->space, from, nr);

	return page != NO_PAGE && page + nr <= w->rw_start ? page : NO_PAGE;
}

/* The lowest place where @nr pages fit, at no cost for others. */
uint32_t window_find(struct wxp *w, enum wxp_prot prot, uint32_t nr)
{
	uint32_t page = NO_PAGE;

	if (prot == WXP_RW) {
		page = space_find(&w->space, w->rw_start, nr);
		if (page == NO_PAGE && rw_grow(w, nr))
			page = space_find(&w->space, w->rw_start, nr);
		return page;
	}
	if (prot == WXP_R)
		page = find_below_rw(w, w->nr_pages / 4, nr);
	return page == NO_PAGE ? find_below_rw(w, 0, nr) : page;
}

/*
 * Takes back a run. The last one of each protection waits for the next that is
 * of its size, as with one module after the other, which spares two updates of
 * the tree. Nothing else can be mapped where a view stays for good.
 */
void window_give(struct wxp *w, enum wxp_prot prot, uint32_t page, uint32_t nr)
{
	struct spare *s = &w->spares[prot];

	if (is_fixed(w, page)) {
		w->spent += nr;
		return;
	}
	space_give(&w->space, s->page, s->nr);
	*s = (struct spare){ page, nr };
}

/* A run of just that size, or NO_PAGE. */
uint32_t spare_take(struct wxp *w, enum wxp_prot prot, uint32_t nr)
{
	struct spare *s = &w->spares[prot];

	if (s->nr != nr)
		return NO_PAGE;
	s->nr = 0;
	return s->page;
}

void spares_drop(struct wxp *w)
{
	struct spare *s;

	for (s = w->spares; s < w->spares + NR_PROTS; s++) {
		space_give(&w->space, s->page, s->nr);
		s->nr = 0;
	}
}

/* The lowest @nr pages in a row between @from and @end that begin with a unit. */
static uint32_t find_aligned(const struct wxp *w, uint32_t from, uint32_t end, uint32_t nr)
{
	uint32_t next = from, page;

	do {
		page = (uint32_t)round_up(next, w->zone_pages);
		if (page > end || nr > end - page)
			return NO_PAGE;
		next = space_find(&w->space, page, nr);
	} while (next != page && next != NO_PAGE);
	return next;
}

static uint32_t rw_grow_aligned(struct wxp *w, uint32_t nr)
{
	uint32_t end = w->rw_start & ~(w->zone_pages - 1), step;

	if (end < nr)
		return NO_PAGE;
	step = w->rw_start - (end - nr);
	if (space_run(&w->space, end - nr, step) < step ||
	    window_map(w, end - nr, step, PROT_READ | PROT_WRITE))
		return NO_PAGE;
	w->rw_start = end - nr;
	return w->rw_start;
}

static uint32_t find_zone(struct wxp *w, enum wxp_prot prot, uint32_t nr)
{
	uint32_t page;

	if (prot == WXP_RW) {
		page = find_aligned(w, w->rw_start, w->nr_pages, nr);
		return page == NO_PAGE ? rw_grow_aligned(w, nr) : page;
	}
	page = find_aligned(w, w->nr_pages / 8 * (prot == WXP_R ? 3 : 1), w->rw_start, nr);
	return page == NO_PAGE ? find_aligned(w, 0, w->rw_start, nr) : page;
}

/* Like @find, but makes place where the window is full. */
static uint32_t find_hard(struct wxp *w, enum wxp_prot prot, uint32_t nr,
			  uint32_t (*find)(struct wxp *w, enum wxp_prot prot, uint32_t nr))
{
	uint32_t page;

	spares_drop(w);
	page = find(w, prot, nr);
	if (page == NO_PAGE) {
		pools_reclaim(w);
		spares_drop(w);
		room_drop_all(w);
		page = find(w, prot, nr);
	}
	if (page == NO_PAGE && zones_reclaim(w))
		page = find(w, prot, nr);
	if (page == NO_PAGE && prot != WXP_RW && rw_shrink(w))
		page = find(w, prot, nr);
	return page;
}

uint32_t window_find_hard(struct wxp *w, enum wxp_prot prot, uint32_t nr)
{
	return find_hard(w, prot, nr, window_find);
}

/* @nr pages, whole units, that begin with a unit. */
uint32_t window_find_zone(struct wxp *w, enum wxp_prot prot, uint32_t nr)
{
	return find_hard(w, prot, nr, find_zone);
}

static int reserve_addresses(struct wxp *w)
{
	size_t size = w->size + BASE_ALIGN, before;
	char *p;

	p = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -ENOMEM;
	before = round_up((uintptr_t)p, BASE_ALIGN) - (uintptr_t)p;
	if (before)
		munmap(p, before);
	munmap(p + before + w->size, BASE_ALIGN - before);
	w->base = p + before;
	return 0;
}

int window_open(struct wxp *w)
{
	int ret = space_init(&w->space, w->nr_pages);

	if (ret)
		return ret;
	space_give(&w->space, 0, w->nr_pages);
	w->rw_start = w->nr_pages;
	ret = reserve_addresses(w);
	if (ret)
		space_exit(&w->space);
	return ret;
}

/* All but the views that stay for good. */
void window_unmap(struct wxp *w)
{
	uint32_t page = 0, end;

	while (w->fixed && page < w->nr_pages) {
		for (end = page; end < w->nr_pages && !is_fixed(w, end);)
			end++;
		if (end > page)
			munmap(page_addr(w, page), (end - page) * w->page_size);
		for (page = end; page < w->nr_pages && is_fixed(w, page);)
			page++;
	}
	if (!w->fixed)
		munmap(w->base, w->size);
}

void window_close(struct wxp *w)
{
	munmap(w->base, w->size);
	space_exit(&w->space);
}
