// SPDX-License-Identifier: MIT
/*
 * Requests logged before the first allocation. Equal ones lie next to each
 * other, so that a reservation is a short sorted table of groups.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* By protection, then the strictest alignment first: that pads least. */
static int compare(const void *pa, const void *pb)
{
	const struct group *a = pa, *b = pb;

	if (a->prot != b->prot)
		return a->prot < b->prot ? -1 : 1;
	if (a->align != b->align)
		return a->align > b->align ? -1 : 1;
	if (a->size != b->size)
		return a->size > b->size ? -1 : 1;
	return 0;
}

static struct reservation *log_requests(const struct wxp *w, const struct wxp_request *reqs,
					size_t nr, int *err)
{
	struct reservation *r;
	struct group *g;
	size_t i;

	*err = -ENOMEM;
	if (nr > (SIZE_MAX - sizeof(*r)) / sizeof(*g))
		return NULL;
	r = calloc(1, sizeof(*r) + nr * sizeof(*g));
	if (!r)
		return NULL;
	r->nr = nr;
	r->left = nr;
	for (i = 0; i < nr; i++) {
		g = &r->groups[i];
		*g = (struct group){ reqs[i].size, reqs[i].align, 1, 0, reqs[i].prot };
		*err = check_request(w, g->size, &g->align, g->prot);
		if (*err) {
			free(r);
			return NULL;
		}
	}
	return r;
}

/* Sorts the requests and makes one group of equal ones. */
static struct reservation *join_equal(struct reservation *r)
{
	struct group *last = r->groups;
	struct reservation *smaller;
	size_t i;

	qsort(r->groups, r->nr, sizeof(r->groups[0]), compare);
	for (i = 1; i < r->nr; i++) {
		if (compare(last, &r->groups[i]))
			*++last = r->groups[i];
		else
			last->left++;
	}
	r->nr = (size_t)(last - r->groups) + 1;
	smaller = realloc(r, sizeof(*r) + r->nr * sizeof(r->groups[0]));
	return smaller ? smaller : r;
}

/* The bytes that @demand takes with @g added, its places from @g->offset on. */
static size_t add_group(const struct wxp *w, const struct demand *demand, struct group *g)
{
	size_t stride = round_up(g->size, g->align);

	g->offset = round_up(demand->size, g->align);
	if (g->left > w->size / stride)
		return SIZE_MAX;
	return g->offset + (g->left - 1) * stride + g->size;
}

/*
 * Places the groups of each protection from 0 on. Returns for how many
 * protections there are demands, 0 if they are beyond the window.
 */
static unsigned int lay_out(const struct wxp *w, struct reservation *r, struct demand *demands)
{
	unsigned int nr = 0;
	struct demand *d = NULL;
	struct group *g;

	for (g = r->groups; g < r->groups + r->nr; g++) {
		if (!d || g->prot != d->prot) {
			d = &demands[nr++];
			*d = (struct demand){ .prot = g->prot, .align = g->align };
		}
		d->size = add_group(w, d, g);
		if (d->size > w->size)
			return 0;
	}
	return nr;
}

/* Fills the gaps before and between the places of a group of code. */
static void pad_group(const struct wxp *w, const struct group *g, size_t end)
{
	size_t stride = round_up(g->size, g->align), place = g->offset, i;

	fill_traps(w->base + end, place - end);
	for (i = 1; stride > g->size && i < g->left; i++, place += stride)
		fill_traps(w->base + place + g->size, stride - g->size);
}

static void move_to(const struct wxp *w, struct reservation *r, const struct demand *demands)
{
	const struct demand *d = demands;
	size_t i, end = d->offset;
	struct group *g;

	for (i = 0; i < r->nr; i++) {
		g = &r->groups[i];
		if (g->prot != d->prot) {
			d++;
			end = d->offset;
		}
		g->offset += d->offset;
		if (g->prot == WXP_RX)
			pad_group(w, g, end);
		end = g->offset + (g->left - 1) * round_up(g->size, g->align) + g->size;
	}
}

static int reserve_locked(struct wxp *w, uint32_t id, struct reservation *r)
{
	struct demand demands[NR_PROTS];
	unsigned int nr = lay_out(w, r, demands);
	struct pool *pool;
	int ret = nr ? pool_get_regions(w, id, &pool) : -ENOMEM;

	if (ret)
		return ret;
	ret = fill(w, pool, demands, nr, false);
	if (ret) {
		pool_put(w, pool);
		return ret;
	}
	move_to(w, r, demands);
	r->next = pool->regions->reservations;
	pool->regions->reservations = r;
	return 0;
}

WXP_EXPORT int wxp_reserve(struct wxp *w, uint32_t id, const struct wxp_request *reqs, size_t nr)
{
	int ret = wxp_enter_change(w), rights;
	struct reservation *r = NULL;

	if (ret)
		return ret;
	ret = -EINVAL;
	if (id && reqs && nr)
		r = log_requests(w, reqs, nr, &ret);
	if (r) {
		r = join_equal(r);
		rights = guard_enter(w);
		ret = reserve_locked(w, id, r);
		guard_leave(w, rights);
		if (ret)
			free(r);
	}
	wxp_leave(w);
	return ret;
}

static void drop_if_used_up(struct reservation **p)
{
	struct reservation *r = *p;

	if (r->left)
		return;
	*p = r->next;
	free(r);
}

/* Gives a request its logged place, if it has one. */
bool reservation_take(struct pool *pool, struct demand *d)
{
	struct group key = { .size = d->size, .align = d->align, .prot = d->prot };
	struct reservation **p;
	struct group *g;

	for (p = &pool->regions->reservations; *p; p = &(*p)->next) {
		g = bsearch(&key, (*p)->groups, (*p)->nr, sizeof(key), compare);
		if (!g || !g->left)
			continue;
		d->offset = g->offset;
		d->skipped = (*p)->skipped;
		g->offset += round_up(g->size, g->align);
		g->left--;
		(*p)->left--;
		drop_if_used_up(p);
		return true;
	}
	return false;
}

static void skip_group(const struct wxp *w, const struct group *g)
{
	size_t i;

	for (i = 0; i < g->left; i++)
		fill_traps(w->base + g->offset + i * round_up(g->size, g->align), g->size);
}

/* Nobody has written the places for code that are left: they must not run. */
void reservations_skip(struct wxp *w, struct pool *pool)
{
	struct reservation *r;
	size_t i;

	for (r = pool->regions->reservations; r; r = r->next) {
		for (i = 0; i < r->nr; i++)
			if (r->groups[i].prot == WXP_RX)
				skip_group(w, &r->groups[i]);
		r->skipped = true;
	}
}

/* Places of @prot cannot be taken any more. */
void reservations_cut(struct pool *pool, enum wxp_prot prot)
{
	struct reservation **p = &pool->regions->reservations, *r;
	size_t i;

	while ((r = *p)) {
		for (i = 0; i < r->nr; i++) {
			if (r->groups[i].prot != prot)
				continue;
			r->left -= r->groups[i].left;
			r->groups[i].left = 0;
		}
		drop_if_used_up(p);
		if (*p == r)
			p = &r->next;
	}
}
