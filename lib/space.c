// SPDX-License-Identifier: MIT
/*
 * Which pages of the window are free: a bitmap, and above it a tree that
 * knows the longest run of free pages below each node, so that the first fit
 * is found in O(log n) and giving back needs no memory.
 */
#include <errno.h>
#include <stdlib.h>

#include "internal.h"

#define BITS	64u

static struct span word_span(uint64_t word)
{
	struct span s = { BITS, BITS, 0 };

	if (~word) {
		s.pre = (uint32_t)__builtin_ctzll(~word);
		s.suf = (uint32_t)__builtin_clzll(~word);
	}
	/* Each round takes one page off the end of every run. */
	for (; word; word &= word << 1)
		s.max++;
	return s;
}

/* Two neighbours of @len pages each. */
static struct span join(const struct span *l, const struct span *r, uint32_t len)
{
	struct span s;

	s.pre = l->pre == len ? len + r->pre : l->pre;
	s.suf = r->suf == len ? len + l->suf : r->suf;
	s.max = l->max > r->max ? l->max : r->max;
	if (l->suf + r->pre > s.max)
		s.max = l->suf + r->pre;
	return s;
}

static void update(struct space *s, uint32_t first, uint32_t last)
{
	uint32_t len = BITS, i;

	for (i = first; i <= last; i++)
		s->nodes[s->nr_leaves + i] = word_span(s->words[i]);
	first += s->nr_leaves;
	last += s->nr_leaves;
	for (; first > 1; len *= 2) {
		first /= 2;
		last /= 2;
		for (i = first; i <= last; i++)
			s->nodes[i] = join(&s->nodes[2 * i], &s->nodes[2 * i + 1], len);
	}
}

static void set_range(struct space *s, uint32_t page, uint32_t nr, bool is_free)
{
	uint32_t first = page / BITS, end = page + nr, i = page;
	uint64_t mask;

	while (i < end) {
		mask = ~0ull << i % BITS;
		if (end - i < BITS - i % BITS)
			mask &= ~0ull >> (BITS - end % BITS);
		if (is_free)
			s->words[i / BITS] |= mask;
		else
			s->words[i / BITS] &= ~mask;
		i += BITS - i % BITS;
	}
	if (nr)
		update(s, first, (end - 1) / BITS);
}

void space_take(struct space *s, uint32_t page, uint32_t nr)
{
	set_range(s, page, nr, false);
}

void space_give(struct space *s, uint32_t page, uint32_t nr)
{
	set_range(s, page, nr, true);
}

struct query {
	uint32_t from, want;
	uint32_t run;		/* free pages right before the place looked at */
};

static uint32_t find_in_word(uint64_t word, uint32_t lo, struct query *q)
{
	uint32_t bit;

	for (bit = 0; bit < BITS; bit++) {
		if (lo + bit < q->from || !(word >> bit & 1))
			q->run = 0;
		else if (++q->run == q->want)
			return lo + bit + 1 - q->want;
	}
	return NO_PAGE;
}

/* Node @i is about @len pages from @lo. */
static uint32_t find_below(const struct space *s, uint32_t i, uint32_t lo, uint32_t len,
			   struct query *q)
{
	const struct span *n = &s->nodes[i];
	uint32_t page;

	if (lo + len <= q->from)
		return NO_PAGE;
	if (lo >= q->from) {
		if (q->run + n->pre >= q->want)
			return lo - q->run;
		if (n->max < q->want) {
			q->run = n->pre == len ? q->run + len : n->suf;
			return NO_PAGE;
		}
	}
	if (len == BITS)
		return find_in_word(s->words[lo / BITS], lo, q);
	page = find_below(s, 2 * i, lo, len / 2, q);
	if (page != NO_PAGE)
		return page;
	return find_below(s, 2 * i + 1, lo + len / 2, len / 2, q);
}

/* The lowest @nr free pages in a row that begin at @from or above. */
uint32_t space_find(const struct space *s, uint32_t from, uint32_t nr)
{
	struct query q = { .from = from, .want = nr };

	return find_below(s, 1, 0, s->nr_leaves * BITS, &q);
}

/* How many pages from @page on are free, not counting beyond @max. */
uint32_t space_run(const struct space *s, uint32_t page, uint32_t max)
{
	uint32_t i = page, end = s->nr_leaves * BITS;
	uint64_t used;

	if (max < end - page)
		end = page + max;
	while (i < end) {
		used = ~s->words[i / BITS] >> i % BITS;
		if (used) {
			i += (uint32_t)__builtin_ctzll(used);
			break;
		}
		i += BITS - i % BITS;
	}
	return (i < end ? i : end) - page;
}

int space_init(struct space *s, uint32_t nr_pages)
{
	s->nr_leaves = 1;
	while (s->nr_leaves * BITS < nr_pages)
		s->nr_leaves *= 2;
	s->words = calloc(s->nr_leaves, sizeof(*s->words));
	s->nodes = calloc(2 * (size_t)s->nr_leaves, sizeof(*s->nodes));
	if (!s->words || !s->nodes) {
		space_exit(s);
		return -ENOMEM;
	}
	space_give(s, 0, nr_pages);
	return 0;
}

void space_exit(struct space *s)
{
	free(s->words);
	free(s->nodes);
	s->words = NULL;
	s->nodes = NULL;
}
