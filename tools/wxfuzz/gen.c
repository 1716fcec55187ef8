// SPDX-License-Identifier: MIT
/*
 * wxfuzz: which operation comes next
 *
 * Looks at the model, so that most operations have something to do, and leaves
 * enough to chance for the others.
 */
#include "wxfuzz.h"

static __thread uint64_t *rng;

static uint32_t rnd(uint32_t n)
{
	return (splitmix(rng) >> 33) % n;
}

static bool one_in(uint32_t n)
{
	return rnd(n) == 0;
}

/* ---- can it be done at all, whatever comes of it? */

static bool uses_fd(unsigned int kind)
{
	return (kind >= OP_INFO && kind <= OP_BADMAP) || kind == OP_CLOSE ||
	       kind == OP_PASS;
}

/* The model ends there, not the context. */
static bool in_model(const struct op *op)
{
	unsigned int i;

	for (i = 0; i < op->nr; i++) {
		const struct range *r = &op->r[i];

		if (op->kind == OP_INSTALL &&
		    r->at + nr_lines_of(r->len) > NR_PAGES * PAGE_LINES)
			return false;
		if (op->kind != OP_INSTALL && r->at + r->len > NR_PAGES)
			return false;
	}
	return true;
}

/* See space_map(). */
static bool maps_over_heirs(const struct op *op)
{
	const struct slot *s = &W->proc[op->proc].slot[op->a];
	unsigned int i;

	if (W->ctx[op->ctx].owner == op->proc)
		return false;
	for (i = 0; i < op->nr; i++)
		if (s[i].kind)
			return true;
	return false;
}

/* What cannot be predicted: reads of what is only to be run or written */
static bool odd_read(const struct op *op)
{
	int prot = W->proc[op->proc].slot[op->a].prot;

	return prot && !(prot & PROT_READ);
}

static bool has_fixed(const struct mproc *p)
{
	unsigned int i;

	for (i = 0; i < NR_PINS; i++)
		if (p->pin[i].used == 2)
			return true;
	return false;
}

static bool pin_applies(const struct op *op)
{
	const struct mproc *p = &W->proc[op->proc];

	if (op->kind == OP_UNPIN)
		return p->pin[op->c].used;
	if (p->pin[op->c].used || odd_read(op))
		return false;
	return !op->b || (W->uring && !has_fixed(p));
}

bool op_applies(const struct op *op)
{
	const struct mproc *p = &W->proc[op->proc];

	if (!p->alive || (uses_fd(op->kind) && !p->fd[op->ctx]))
		return false;
	switch (op->kind) {
	case OP_OPEN:
		return !W->ctx[op->ctx].used;
	case OP_ALLOC:
	case OP_PROTECT:
	case OP_INSTALL:
		return in_model(op);
	case OP_MMAP:
		return op->b + op->nr <= NR_PAGES && !maps_over_heirs(op);
	case OP_MREMAP:
		/* A move onto itself of what is not there: one of two errors */
		if (op->a < op->b || op->a >= op->b + op->c)
			return true;
		return op->flags != 1 && p->slot[op->a].kind;
	case OP_KREAD:
		return !odd_read(op);
	case OP_DIRECT:
		return content_disk() >= 0;
	case OP_PIN:
	case OP_UNPIN:
		return pin_applies(op);
	case OP_FORK:
		return !W->proc[op->a].alive;
	case OP_EXIT:
	case OP_EXEC:
		return op->proc != 0;
	case OP_PASS:
		return W->proc[op->a].alive && !W->proc[op->a].fd[op->ctx];
	}
	return true;
}

/* ---- choices */

static uint32_t any_page(void)
{
	uint32_t r = rnd(16);

	if (r < 12)
		return rnd(SMALL_PAGES);
	return WINDOW_PAGES * (1 + rnd(2)) + (r == 15 ? WINDOW_PAGES - 1 : rnd(3));
}

static const struct mregion *region_of(unsigned int ctx, uint32_t page)
{
	unsigned int i = W->ctx[ctx].top[page];

	return i ? &W->region[i] : NULL;
}

static uint32_t absent_page(unsigned int ctx)
{
	uint32_t page = any_page(), n;

	for (n = 0; n < 12 && region_of(ctx, page); n++)
		page = any_page();
	return page;
}

static uint32_t open_page(unsigned int ctx)
{
	const struct mregion *r;
	uint32_t page = 0, n;

	for (n = 0; n < 40; n++) {
		page = any_page();
		r = region_of(ctx, page);
		if (r && !r->packed && !r->kept &&
		    W->mpage[r->page0 + page - r->pgoff].state == OPEN)
			break;
	}
	return page;
}

static uint32_t any_pool(unsigned int ctx, bool there)
{
	uint32_t pool = 1 + rnd(NR_POOLS), n;

	for (n = 0; there && n < 6 && !model_pool_exists(ctx, pool); n++)
		pool = 1 + rnd(NR_POOLS);
	return pool;
}

static uint32_t slot_for(uint32_t nr)
{
	return rnd(SMALL_SLOTS - nr + 1);
}

/* A slot with a view, of a kind or of any (0) */
static uint32_t mapped_slot(const struct op *op, unsigned int kind)
{
	uint32_t s = rnd(SMALL_SLOTS), n;

	if (!kind && one_in(12))
		return WINDOW_PAGES + rnd(2) * WINDOW_PAGES + rnd(8);
	for (n = 0; n < SMALL_SLOTS; n++, s = (s + 1) % SMALL_SLOTS) {
		const struct slot *v = &W->proc[op->proc].slot[s];

		if (v->kind && (!kind || v->kind == kind))
			return s;
	}
	return s;
}

/* Rather one through which something can be written */
static uint32_t writable_slot(const struct op *op)
{
	uint32_t s = 0, n;

	for (n = 0; n < 12; n++) {
		s = mapped_slot(op, KIND_W);
		if (!space_write(op->proc, &W->proc[op->proc].slot[s]))
			break;
	}
	return s;
}

static uint32_t next_stamp(void)
{
	return 0x1000 + (W->step * 512 + rnd(8) * 64) % 0xe0000000;
}

/* ---- the device */

static void gen_alloc(struct op *op)
{
	unsigned int i;

	op->pool = any_pool(op->ctx, one_in(2));
	op->nr = one_in(4) ? 1 + rnd(NR_RANGES) : 1;
	for (i = 0; i < op->nr; i++) {
		struct range *r = &op->r[i];

		r->at = absent_page(op->ctx);
		r->len = 1 + rnd(one_in(3) ? 5 : 2);
		r->slot = one_in(2) ? NO_SLOT : slot_for(r->len);
		r->prot = 0;
	}
}

static void gen_protect(struct op *op)
{
	const struct mregion *reg = NULL;
	unsigned int i;

	op->nr = one_in(4) ? 1 + rnd(NR_RANGES) : 1;
	op->pool = any_pool(op->ctx, true);
	for (i = 0; i < op->nr; i++) {
		struct range *r = &op->r[i];

		r->at = open_page(op->ctx);
		reg = region_of(op->ctx, r->at);
		r->len = 1;
		if (reg && one_in(2))
			r->len = reg->pgoff + reg->nr - r->at;
		if (r->len > 8 || one_in(16))
			r->len = 1 + rnd(6);
		r->prot = 1 + rnd(2);
		r->slot = one_in(2) ? NO_SLOT : slot_for(r->len);
		if (reg && reg->pool && !one_in(12))
			op->pool = reg->pool;
	}
}

static uint32_t install_line(unsigned int ctx, uint32_t *prot)
{
	const struct mregion *r = NULL;
	uint32_t page = 0, line, n;

	for (n = 0; n < 8; n++) {
		page = any_page();
		r = region_of(ctx, page);
		if (!r || r->packed)
			break;
	}
	*prot = 1 + rnd(2);
	line = one_in(3) ? 0 : rnd(PAGE_LINES);
	if (!r || !r->packed)
		return page * PAGE_LINES + line;
	if (!one_in(8))
		*prot = W->mpage[r->page0].state == SEALED_X ? 2 : 1;
	for (n = 0; n < PAGE_LINES &&
	     W->mpage[r->page0 + page - r->pgoff].line[line].live; n++)
		line = (line + 1) % PAGE_LINES;
	return page * PAGE_LINES + line;
}

static void gen_install(struct op *op)
{
	uint32_t prot = 2;
	unsigned int i;

	op->pool = any_pool(op->ctx, one_in(2));
	op->nr = one_in(3) ? 1 + rnd(NR_RANGES) : 1;
	op->flags = one_in(8) ? WXPOOL_INSTALL_HUGE : 0;
	op->c = rnd(8);
	for (i = 0; i < op->nr; i++) {
		struct range *r = &op->r[i];

		r->at = install_line(op->ctx, &prot);
		/* One after the other, as callers do */
		if (i && one_in(2))
			r->at = r[-1].at + nr_lines_of(r[-1].len);
		else
			r->prot = prot;
		r->prot = i && one_in(2) ? r[-1].prot : prot;
		r->len = one_in(3) ? 1 + rnd(LINE * 3) : LINE * (1 + rnd(4));
		if (one_in(8))
			r->len = PAGE * (1 + rnd(3)) - (one_in(2) ? rnd(100) : 0);
		r->stamp = next_stamp() + i * 4096;
		r->slot = NO_SLOT;
	}
}

static const uint8_t vec_muts[] = {
	M_CMD, M_URING_FLAGS, M_SIZE_0, M_SIZE_SHORT, M_SIZE_BIG, M_TAIL_ZERO,
	M_TAIL_BAD, M_ARG_NULL, M_ARG_RO, M_ARG_CUT, M_POOL_0, M_FLAGS, M_NR_0,
	M_NR_MANY, M_VEC_NULL, M_VEC_CUT, M_OFFSET, M_LEN_0, M_LEN_BIG, M_OVER,
	M_RANGE_RESERVED, M_PROT, /* ALLOC, PROTECT: */ M_LEN_ODD, M_ADDR_ODD,
	M_ADDR_BAD, /* INSTALL: */ M_SRC_NULL, M_SRC_CUT,
};

static const uint8_t small_muts[] = {
	M_CMD, M_URING_FLAGS, M_SIZE_0, M_SIZE_SHORT, M_SIZE_BIG, M_TAIL_ZERO,
	M_TAIL_BAD, M_ARG_NULL, M_ARG_RO, M_ARG_CUT, /* FREEZE: */ M_FLAGS,
	/* FREE: */ M_POOL_0, M_RESERVED,
};

static unsigned int any_mut(const struct op *op)
{
	switch (op->kind) {
	case OP_ALLOC:
	case OP_PROTECT:
		return vec_muts[rnd(25)];
	case OP_INSTALL:
		return vec_muts[one_in(4) ? 25 + rnd(2) : rnd(22)];
	case OP_FREE:
		return small_muts[rnd(13)];
	case OP_FREEZE:
		return small_muts[rnd(11)];
	default:
		return small_muts[rnd(10)];
	}
}

static void gen_device(struct op *op)
{
	switch (op->kind) {
	case OP_ALLOC:
		gen_alloc(op);
		break;
	case OP_PROTECT:
		gen_protect(op);
		break;
	case OP_INSTALL:
		gen_install(op);
		break;
	default:
		op->pool = any_pool(op->ctx, !one_in(8));
		break;
	}
	op->uring = W->uring && one_in(4);
	if (one_in(10) || (op->kind == OP_FREEZE && !one_in(30)))
		op->mut = any_mut(op);
	/* Without a ring there is none of its arguments. */
	if (op->mut == M_URING_FLAGS && !op->uring)
		op->mut = M_CMD;
}

/* ---- views */

static void gen_mmap(struct op *op)
{
	static const int prots[] = {
		PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC,
		PROT_READ | PROT_EXEC, PROT_READ, PROT_READ, PROT_NONE, PROT_WRITE,
		PROT_EXEC,
	};

	op->flags = prots[rnd(one_in(4) ? 9 : 6)];
	op->nr = 1 + rnd(one_in(3) ? 24 : 4);
	op->a = slot_for(op->nr);
	op->b = any_page();
	op->c = rnd(64);
	if (op->kind == OP_MMAP && one_in(12)) {
		op->a = op->b = WINDOW_PAGES * (1 + rnd(2));
		op->nr = WINDOW_PAGES;
	}
}

static void gen_slots(struct op *op)
{
	static const uint8_t prots[] = {
		PROT_READ, PROT_NONE, PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC,
		PROT_READ | PROT_WRITE | PROT_EXEC, PROT_WRITE, PROT_EXEC,
	};

	op->a = mapped_slot(op, 0);
	op->b = 1 + rnd(one_in(3) ? 8 : 2);
	if (one_in(16))
		op->a = rnd(SMALL_SLOTS);
	if (op->kind == OP_MPROTECT)
		op->flags = prots[rnd(7)];
	if (op->kind == OP_MADVISE)
		op->flags = rnd(64);
	if (op->kind == OP_MUNMAP && one_in(16) && op->a >= WINDOW_PAGES)
		op->b = WINDOW_PAGES / 2;
	if (op->kind != OP_MREMAP)
		return;
	op->flags = rnd(3);
	op->c = op->flags == 2 ? 1 : 1 + rnd(3);
	op->b = slot_for(op->c);
}

static void gen_touch(struct op *op)
{
	op->a = one_in(4) ? mapped_slot(op, 0) : writable_slot(op);
	op->b = rnd(PAGE_LINES);
	op->c = next_stamp();
	op->flags = rnd(3);
	if (op->kind != OP_STORE)
		return;
	op->flags = 1 + rnd(8);
	if (op->b + op->flags > PAGE_LINES)
		op->b = PAGE_LINES - op->flags;
}

static void gen_pin(struct op *op)
{
	op->a = one_in(3) ? mapped_slot(op, 0) : writable_slot(op);
	op->b = one_in(3);
	op->c = rnd(NR_PINS);
	op->pool = rnd(2);
}

static const struct {
	uint8_t kind;
	uint16_t weight;
} weights[] = {
	{ OP_OPEN, 60 }, { OP_CLOSE, 2 }, { OP_INFO, 6 }, { OP_ALLOC, 110 },
	{ OP_PROTECT, 130 }, { OP_FREE, 60 }, { OP_INSTALL, 160 },
	{ OP_FREEZE, 4 }, { OP_MMAP, 60 }, { OP_BADMAP, 15 },
	{ OP_MUNMAP, 25 }, { OP_MPROTECT, 60 }, { OP_MREMAP, 25 },
	{ OP_MADVISE, 50 }, { OP_STORE, 100 }, { OP_KWRITE, 25 },
	{ OP_KREAD, 25 }, { OP_DIRECT, 6 }, { OP_PIN, 15 }, { OP_UNPIN, 25 },
	{ OP_FORK, 3 }, { OP_EXIT, 2 }, { OP_EXEC, 1 }, { OP_PASS, 10 },
	{ OP_CHECK, 1 },
};

static unsigned int any_kind(void)
{
	unsigned int i;
	uint32_t r;

	r = rnd(980);
	for (i = 0; i < sizeof(weights) / sizeof(weights[0]); i++) {
		if (r < weights[i].weight)
			return weights[i].kind;
		r -= weights[i].weight;
	}
	return OP_STORE;
}

/* Others cannot know of these. */
static bool alone(unsigned int kind)
{
	return kind == OP_OPEN || kind == OP_CLOSE || kind == OP_FREEZE ||
	       (kind >= OP_FORK && kind <= OP_PASS);
}

static void gen_any(struct op *op)
{
	memset(op, 0, sizeof(*op));
	op->rnd = splitmix(rng);
	op->kind = any_kind();
	if (W->shared && alone(op->kind))
		op->kind = OP_STORE;
	op->ctx = one_in(3) ? rnd(NR_CTX) : 0;
	if (!W->shared && (one_in(5) || op->kind == OP_EXIT))
		op->proc = rnd(NR_PROCS);
	if (op->kind <= OP_FREEZE && !one_in(8) && W->ctx[op->ctx].used &&
	    !W->ctx[op->ctx].owner_gone)
		op->proc = W->ctx[op->ctx].owner;
	switch (op->kind) {
	case OP_MMAP: case OP_BADMAP:
		gen_mmap(op);
		break;
	case OP_MUNMAP: case OP_MPROTECT: case OP_MREMAP: case OP_MADVISE:
		gen_slots(op);
		break;
	case OP_STORE: case OP_KWRITE: case OP_KREAD: case OP_DIRECT:
		gen_touch(op);
		break;
	case OP_PIN: case OP_UNPIN:
		gen_pin(op);
		break;
	case OP_FORK:
		op->a = 2 + rnd(NR_PROCS - 2);
		break;
	case OP_PASS:
		op->a = rnd(NR_PROCS);
		break;
	case OP_OPEN: case OP_CLOSE: case OP_EXIT: case OP_EXEC: case OP_CHECK:
		break;
	default:
		gen_device(op);
		break;
	}
}

void gen_op(struct op *op, uint64_t *state)
{
	rng = state;
	do {
		gen_any(op);
	} while (!op_applies(op));
}
