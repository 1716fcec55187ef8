// SPDX-License-Identifier: MIT
/*
 * Which pages of the window, or lines of a zone, are free: a bitmap, and above
 * it a tree that knows the longest run of free ones below each node, so that
 * the first fit is found in O(log n) and giving back needs no memory.
 */
#include <errno.h>
#include <stdlib.h>

#include "internal.h"

#define BITS	64u

static struct gaps word_gaps(uint64_t word)
{
	struct gaps s = { BITS, BITS, BITS };
	uint64_t longer;
	uint32_t by;

	if (!~word)
		return s;
	s.pre = (uint32_t)__builtin_ctzll(~word);
	s.suf = (uint32_t)__builtin_clzll(~word);
	s.max = word != 0;
	/* A bit of @word begins a run of s.max ones. Try runs twice as long, */
	while ((longer = word & (word >> s.max))) {
		word = longer;
		s.max *= 2;
	}
	/* then longer by half of that, a quarter, ... */
	for (by = s.max / 2; by; by /= 2) {
		longer = word & (word >> by);
		if (longer) {
			word = longer;
			s.max += by;
		}
	}
	return s;
}

/* Two neighbours of @len pages each. */
static struct gaps join(const struct gaps *l, const struct gaps *r, uint32_t len)
{
	struct gaps s;

	s.pre = l->pre == len ? len + r->pre : l->pre;
	s.suf = r->suf == len ? len + l->suf : r->suf;
	s.max = l->max > r->max ? l->max : r->max;
	if (l->suf + r->pre > s.max)
		s.max = l->suf + r->pre;
	return s;
}

static bool same(const struct gaps *a, const struct gaps *b)
{
	return a->pre == b->pre && a->suf == b->suf && a->max == b->max;
}

static void update(struct space *s, uint32_t first, uint32_t last)
{
	uint32_t len = BITS, i;
	bool changed = true;
	struct gaps g;

	for (i = first; i <= last; i++)
		s->nodes[s->nr_leaves + i] = word_gaps(s->words[i]);
	first += s->nr_leaves;
	last += s->nr_leaves;
	for (; first > 1 && changed; len *= 2) {
		first /= 2;
		last /= 2;
		changed = false;
		for (i = first; i <= last; i++) {
			g = join(&s->nodes[2 * i], &s->nodes[2 * i + 1], len);
			changed |= !same(&g, &s->nodes[i]);
			s->nodes[i] = g;
		}
	}
}

void space_take(struct space *s, uint32_t i, uint32_t nr)
{
	if (!nr)
		return;
	bits_clear(s->words, i, nr);
	update(s, i / BITS, (i + nr - 1) / BITS);
}

void space_give(struct space *s, uint32_t i, uint32_t nr)
{
	if (!nr)
		return;
	bits_set(s->words, i, nr);
	update(s, i / BITS, (i + nr - 1) / BITS);
}

struct query {
	uint32_t from, want;
	uint32_t run;		/* free pages right before the place looked at */
};

static uint32_t find_in_word(uint64_t word, uint32_t lo, struct query *q)
{
	uint32_t bit = lo < q->from ? q->from - lo : 0, used, len;

	while (bit < BITS && word >> bit) {
		used = (uint32_t)__builtin_ctzll(word >> bit);
		if (used)
			q->run = 0;
		bit += used;
		len = ~(word >> bit) ? (uint32_t)__builtin_ctzll(~(word >> bit)) : BITS;
		if (q->run + len >= q->want)
			return lo + bit - q->run;
		q->run += len;
		bit += len;
	}
	if (bit < BITS)
		q->run = 0;
	return NO_PAGE;
}

/* Node @i is about @len pages from @lo. */
static uint32_t find_below(const struct space *s, uint32_t i, uint32_t lo, uint32_t len,
			   struct query *q)
{
	const struct gaps *n = &s->nodes[i];
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

/* Nothing is free yet. */
int space_init(struct space *s, uint32_t nr)
{
	s->nr_leaves = 1;
	while (s->nr_leaves * BITS < nr)
		s->nr_leaves *= 2;
	s->words = calloc(s->nr_leaves, sizeof(*s->words));
	s->nodes = calloc(2 * (size_t)s->nr_leaves, sizeof(*s->nodes));
	if (!s->words || !s->nodes) {
		space_exit(s);
		return -ENOMEM;
	}
	return 0;
}

void space_exit(struct space *s)
{
	free(s->words);
	free(s->nodes);
	s->words = NULL;
	s->nodes = NULL;
}
