// SPDX-License-Identifier: MIT
/*
 * wxfuzz: the shortest list of operations that still goes wrong in the same way
 */
#include "wxfuzz.h"

#define MAX_REPLAYS	600

struct shrink {
	struct world *w;
	struct op ops[MAX_OPS + 1], try[MAX_OPS + 1];
	unsigned int nr;
	struct miss miss;
	unsigned int replays;
};

/* Whatever the kernel and the model do not agree on is worth a short list. */
static bool same_miss(const struct miss *a, const struct miss *b)
{
	return (a->kind < MISS_KERNEL) == (b->kind < MISS_KERNEL);
}

/* Does it go wrong with the first @nr of s->try? Then they are kept. */
static bool try_list(struct shrink *s, unsigned int nr)
{
	if (s->replays == MAX_REPLAYS)
		return false;
	s->replays++;
	if (replay(s->w, s->try, nr) || !same_miss(&s->w->miss, &s->miss))
		return false;
	s->nr = s->w->miss.step + 1 < nr ? s->w->miss.step + 1 : nr;
	memcpy(s->ops, s->try, s->nr * sizeof(s->ops[0]));
	s->miss = s->w->miss;
	return true;
}

/* Without @n operations from @first on */
static bool try_without(struct shrink *s, unsigned int first, unsigned int n)
{
	unsigned int rest;

	if (first + n > s->nr)
		n = s->nr - first;
	rest = s->nr - first - n;
	memcpy(s->try, s->ops, first * sizeof(s->ops[0]));
	memcpy(s->try + first, s->ops + first + n, rest * sizeof(s->ops[0]));
	return try_list(s, first + rest);
}

static void shrink_list(struct shrink *s)
{
	unsigned int n, first;

	for (n = s->nr / 2; n; n /= 2) {
		for (first = s->nr > n ? s->nr - n : 0;; first -= n) {
			try_without(s, first, n);
			if (first < n)
				break;
		}
		/* The end is not at a multiple: what is left before it */
		if (first)
			try_without(s, 0, first);
	}
}

static bool try_op(struct shrink *s, unsigned int i, const struct op *op)
{
	if (!memcmp(&s->ops[i], op, sizeof(*op)))
		return false;
	memcpy(s->try, s->ops, s->nr * sizeof(s->ops[0]));
	s->try[i] = *op;
	return try_list(s, s->nr);
}

/* Plainer operations: no ring, no id, one range, of one page or line */
static void shrink_op(struct shrink *s, unsigned int i)
{
	struct op op = s->ops[i];
	unsigned int k;

	op.uring = 0;
	if (op.mut != M_URING_FLAGS)
		try_op(s, i, &op);
	if (i >= s->nr)
		return;
	op = s->ops[i];
	op.id = ID_ANY;
	try_op(s, i, &op);
	if (i >= s->nr || op.kind < OP_ALLOC || op.kind > OP_INSTALL)
		return;
	op = s->ops[i];
	if (op.kind == OP_INSTALL && op.b > 1) {
		op.b = 1;
		try_op(s, i, &op);
	}
	for (k = 0; i < s->nr && s->ops[i].nr > 1 && k < s->ops[i].nr; k++) {
		op = s->ops[i];
		op.r[0] = op.r[k];
		op.r[0].cont = 0;
		op.nr = 1;
		try_op(s, i, &op);
	}
	for (k = 0; i < s->nr && k < s->ops[i].nr && k < NR_RANGES; k++) {
		op = s->ops[i];
		op.r[k].len = 1;
		try_op(s, i, &op);
	}
}

/* Leaves the list and what is wrong with it in the world. */
void shrink(struct world *w)
{
	static struct shrink s;
	unsigned int i;

	s.w = w;
	s.miss = w->miss;
	s.nr = w->miss.step + 1;
	memcpy(s.ops, w->log, s.nr * sizeof(s.ops[0]));
	memcpy(s.try, w->log, s.nr * sizeof(s.ops[0]));
	if (try_list(&s, s.nr)) {
		shrink_list(&s);
		for (i = 0; i < s.nr; i++)
			shrink_op(&s, i);
		shrink_list(&s);
		printf("# shrunk in %u replays\n", s.replays);
	} else {
		printf("# does not go wrong again: not shrunk\n");
	}
	/* Once more, for what each operation is to return */
	replay(w, s.ops, s.nr);
	w->miss = s.miss;
}
