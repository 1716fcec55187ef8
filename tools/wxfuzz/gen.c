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
	unsigned int i, next;
	uint32_t len;

	if (op->kind == OP_FREE)
		return true;
	for (i = 0; i < op->nr; i = next) {
		const struct range *r = &op->r[i];

		next = run_end(op, i, &len);
		if (op->kind == OP_INSTALL &&
		    r->at + nr_lines_of(len) > NR_PAGES * PAGE_LINES)
			return false;
		if (op->kind != OP_INSTALL && r->at + len > NR_PAGES)
			return false;
	}
	return true;
}

/*
 * What cannot be predicted: reads of what is only to be written, and pins of what
 * is only to be run, if the processor lets it be read
 */
static bool odd_read(const struct op *op)
{
	int prot = W->proc[op->proc].slot[op->a].prot;

	if (prot == PROT_EXEC)
		return op->kind == OP_PIN && !W->xo;
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

static bool poison_applies(const struct op *op)
{
	const struct slot *s = &W->proc[op->proc].slot[op->a];
	const struct mregion *r = s->kind ? space_region(s) : NULL;

	/*
	 * The kernel cannot split a block to part with a page of it, and kills who
	 * uses a page with an error.
	 */
	return r && (!r->packed || r->nr == 1) && s->prot & PROT_READ &&
	       !space_read(op->proc, s) && !space_poison(op->proc, op->a);
}

static bool pin_applies(const struct op *op)
{
	const struct mproc *p = &W->proc[op->proc];

	if (op->kind == OP_UNPIN)
		return p->pin[op->c].used;
	if (p->pin[op->c].used || odd_read(op) || space_poison(op->proc, op->a))
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
		return op->b + op->nr <= NR_PAGES;
	case OP_MREMAP:
		/* A move onto itself of what is not there: one of two errors */
		if (op->a < op->b || op->a >= op->b + op->c)
			return true;
		return op->flags != 1 && p->slot[op->a].kind;
	case OP_POISON:
		return poison_applies(op);
	case OP_STORE:
	case OP_KWRITE:
		return !space_poison(op->proc, op->a);
	case OP_KREAD:
		return !odd_read(op) && !space_poison(op->proc, op->a);
	case OP_DIRECT:
		return content_disk() >= 0 && !space_poison(op->proc, op->a);
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

/* One in @n where blocks are */
static uint32_t any_page(uint32_t n)
{
	if (!one_in(n))
		return rnd(SMALL_PAGES);
	return BLOCK_PAGES * (1 + rnd(2)) + (one_in(4) ? BLOCK_PAGES - 1 : rnd(3));
}

/* Rarely where they keep blocks away */
static uint32_t absent_page(unsigned int ctx)
{
	uint32_t page = any_page(40), n;

	for (n = 0; n < 12 && model_region(ctx, page); n++)
		page = any_page(40);
	return page;
}

static uint32_t open_page(unsigned int ctx)
{
	const struct mregion *r;
	uint32_t page = 0, n;

	for (n = 0; n < 40; n++) {
		page = any_page(16);
		r = model_region(ctx, page);
		if (r && !r->packed && !r->hidden &&
		    region_page(r, page)->state == OPEN)
			break;
	}
	return page;
}

static uint32_t any_pool(unsigned int ctx, bool there)
{
	uint32_t pool = 1 + rnd(NR_POOLS), n;

	for (n = 0; there && n < 6 && !model_pool(ctx, pool); n++)
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
		return BLOCK_PAGES + rnd(2) * BLOCK_PAGES + rnd(8);
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
	uint32_t s = rnd(SMALL_SLOTS), n;

	for (n = 0; n < SMALL_SLOTS; n++, s = (s + 1) % SMALL_SLOTS)
		if (!space_write(op->proc, &W->proc[op->proc].slot[s]))
			return s;
	return mapped_slot(op, KIND_W);
}

static uint32_t readable_slot(const struct op *op)
{
	uint32_t s = rnd(SMALL_SLOTS), n;

	for (n = 0; n < SMALL_SLOTS; n++, s = (s + 1) % SMALL_SLOTS)
		if (!space_read(op->proc, &W->proc[op->proc].slot[s]))
			return s;
	return mapped_slot(op, 0);
}

static uint32_t next_stamp(void)
{
	return 0x1000 + (W->step * 512 + rnd(8) * 64) % 0xe0000000;
}

/* ---- the device */

static unsigned int any_nr(uint32_t n)
{
	return one_in(n) ? 1 + rnd(NR_RANGES) : 1;
}

static void gen_alloc(struct op *op)
{
	unsigned int i;

	op->pool = any_pool(op->ctx, one_in(2));
	op->nr = any_nr(4);
	for (i = 0; i < op->nr; i++) {
		op->r[i].at = absent_page(op->ctx);
		op->r[i].len = 1 + rnd(one_in(3) ? 5 : 2);
	}
}

static void gen_protect(struct op *op)
{
	const struct mregion *reg = NULL;
	unsigned int i;

	op->nr = any_nr(4);
	op->pool = any_pool(op->ctx, true);
	for (i = 0; i < op->nr; i++) {
		struct range *r = &op->r[i];

		r->at = open_page(op->ctx);
		reg = model_region(op->ctx, r->at);
		r->len = 1;
		if (reg && one_in(2))
			r->len = reg->pgoff + reg->nr - r->at;
		if (r->len > 8 || one_in(16))
			r->len = 1 + rnd(6);
		r->prot = 1 + rnd(3);
		if (reg && reg->pool && !one_in(12))
			op->pool = W->pool[reg->pool].number;
	}
}

static void gen_free(struct op *op)
{
	unsigned int i;

	if (one_in(4))
		op->flags = WXPOOL_FREE_REVOKE;
	if (!W->shared && one_in(12)) {
		op->flags |= WXPOOL_FREE_ALL;
		return;
	}
	op->nr = any_nr(3);
	for (i = 0; i < op->nr; i++)
		op->r[i].at = any_pool(op->ctx, !one_in(8));
}

static bool suits(const struct mregion *r, uint32_t page, enum line_state wanted,
		  bool poison)
{
	if (!r)
		return wanted == LINE_FREE && !poison;
	if (!r->packed)
		return false;
	return (wanted == LINE_FREE || r->nr_kept) &&
	       (!poison || region_page(r, page)->poison);
}

/*
 * Rather a free line; of others one that is kept; now and then in a page with a
 * memory error
 */
static uint32_t install_line(unsigned int ctx, uint16_t *prot)
{
	enum line_state wanted = one_in(8) ? LINE_KEPT : LINE_FREE;
	const struct mregion *r = NULL;
	uint32_t page = 0, line, n;
	bool poison = one_in(16);

	for (n = 0; n < 24; n++) {
		page = any_page(4);
		r = model_region(ctx, page);
		if (suits(r, page, wanted, poison))
			break;
	}
	*prot = 1 + rnd(3);
	line = one_in(3) ? 0 : rnd(PAGE_LINES);
	if (!r || !r->packed)
		return page * PAGE_LINES + line;
	if (!one_in(8))
		*prot = W->mpage[r->page0].state;
	for (n = 0; n < PAGE_LINES &&
	     region_page(r, page)->line[line].state != wanted; n++)
		line = (line + 1) % PAGE_LINES;
	return page * PAGE_LINES + line;
}

/* Now and then more than the module's buffer takes at once */
static uint32_t install_len(void)
{
	if (one_in(24))
		return MAX_INSTALL - rnd(one_in(2) ? 3 * LINE : MAX_INSTALL);
	if (one_in(8))
		return PAGE * (1 + rnd(3)) - (one_in(2) ? rnd(100) : 0);
	return one_in(3) ? 1 + rnd(LINE * 3) : LINE * (1 + rnd(4));
}

/* One after the other, or gathered, as callers do */
static void gen_install_range(struct op *op, unsigned int i)
{
	struct range *r = &op->r[i];

	r->at = install_line(op->ctx, &r->prot);
	r->len = install_len();
	/* Where there is room for it */
	if (r->len > 4 * PAGE && !one_in(4))
		r->at = (SMALL_PAGES + rnd(BLOCK_PAGES / 2)) * PAGE_LINES +
			(one_in(2) ? 0 : rnd(PAGE_LINES));
	r->stamp = next_stamp() + i * 4096;
	if (!i)
		return;
	r->cont = one_in(3);
	if (one_in(2)) {
		r->at = r[-1].at + nr_lines_of(r[-1].len);
		r->prot = r[-1].prot;
	}
}

static void gen_install(struct op *op)
{
	unsigned int i;

	op->pool = any_pool(op->ctx, one_in(2));
	op->nr = any_nr(3);
	op->b = one_in(6) ? 1 + rnd(MAX_PIECES) : 1;
	op->c = rnd(1 << 24);
	for (i = 0; i < op->nr; i++)
		gen_install_range(op, i);
	if (one_in(op->r[0].at >= BLOCK_PAGES * PAGE_LINES ? 2 : 16))
		op->flags = WXPOOL_INSTALL_BLOCKS;
	for (i = 0; i < op->nr && op->flags && W->block_prot; i++)
		op->r[i].prot = W->block_prot;
}

static const uint8_t any_muts[] = {
	M_CMD, M_URING_FLAGS, M_SIZE_0, M_SIZE_SHORT, M_SIZE_BIG, M_TAIL_ZERO,
	M_TAIL_BAD, M_ARG_NULL, M_ARG_RO, M_ARG_CUT,
};

static const uint8_t vec_muts[] = {
	M_POOL_0, M_FLAGS, M_NR_0, M_NR_MANY, M_VEC_NULL, M_VEC_CUT, M_OFFSET,
	M_LEN_0, M_LEN_BIG, M_OVER, /* ALLOC, PROTECT: */ M_LEN_ODD,
	/* PROTECT: */ M_RANGE_RESERVED, M_PROT,
};

static const uint8_t install_muts[] = {
	M_POOL_0, M_FLAGS, M_NR_0, M_NR_MANY, M_VEC_NULL, M_VEC_CUT, M_OFFSET,
	M_LEN_0, M_LEN_BIG, M_OVER, M_PROT, M_RANGE_FLAGS, M_CONT_FIRST,
	M_CONT_OFFSET, M_CONT_PROT, M_SRC_NULL, M_SRC_NULL, M_SRC_CUT, M_SRC_CUT,
};

static const uint8_t free_muts[] = {
	M_FLAGS, M_RESERVED, M_POOL_0, M_NR_0, M_NR_MANY, M_VEC_NULL, M_VEC_CUT,
};

/* With WXPOOL_FREE_ALL */
static const uint8_t free_all_muts[] = {
	M_FLAGS, M_RESERVED, M_ALL_POOLS, M_ALL_NR,
};

static unsigned int any_mut(const struct op *op)
{
	if (op->kind == OP_INFO || one_in(3))
		return any_muts[rnd(sizeof(any_muts))];
	switch (op->kind) {
	case OP_ALLOC:
		return vec_muts[rnd(11)];
	case OP_PROTECT:
		return vec_muts[rnd(sizeof(vec_muts))];
	case OP_INSTALL:
		return install_muts[rnd(sizeof(install_muts))];
	case OP_FREE:
		return op->flags & WXPOOL_FREE_ALL ?
		       free_all_muts[rnd(sizeof(free_all_muts))] :
		       free_muts[rnd(sizeof(free_muts))];
	default:
		return M_FLAGS;
	}
}

static unsigned int any_id(void)
{
	if (one_in(24))
		return one_in(2) ? ID_WRONG : ID_OTHER;
	return one_in(2) ? ID_RIGHT : ID_ANY;
}

/* What is wrong may be so only with a range that has all fields. */
static void gen_mut(struct op *op)
{
	op->mut = any_mut(op);
	/* For want of room the user's idle blocks go, of whatever thread. */
	if (W->shared && op->kind == OP_ALLOC && op->mut == M_LEN_BIG)
		op->mut = M_LEN_0;
	if (op->kind == OP_INSTALL && (op->mut == M_OFFSET || op->mut == M_OVER ||
				       op->mut == M_PROT))
		op->r[op->nr - 1].cont = 0;
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
	case OP_FREE:
		gen_free(op);
		break;
	default:
		op->pool = any_pool(op->ctx, !one_in(8));
		break;
	}
	op->uring = W->uring && one_in(4);
	op->id = any_id();
	if (one_in(10) || (op->kind == OP_FREEZE && !one_in(30)))
		gen_mut(op);
	/* Without a ring there is none of its arguments. */
	if (op->mut == M_URING_FLAGS && !op->uring)
		op->mut = M_CMD;
}

/* ---- views */

/* Rather one that the view will show */
static uint32_t page_to_show(const struct op *op)
{
	const struct mregion *r;
	uint32_t page = 0, n;
	bool writes = op->flags & PROT_WRITE;

	for (n = 0; n < 12; n++) {
		page = any_page(4);
		r = model_region(op->ctx, page);
		if (r && (region_page(r, page)->state == OPEN) == writes)
			break;
	}
	return page;
}

static void gen_mmap(struct op *op)
{
	static const int prots[] = {
		PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC,
		PROT_READ | PROT_EXEC, PROT_READ, PROT_READ, PROT_EXEC, PROT_EXEC,
		PROT_NONE, PROT_WRITE,
	};

	op->flags = prots[rnd(one_in(8) ? 10 : 8)];
	op->nr = 1 + rnd(one_in(3) ? 24 : 4);
	op->a = slot_for(op->nr);
	op->b = page_to_show(op);
	op->c = rnd(64);
	if (op->kind == OP_MMAP && one_in(12)) {
		op->a = op->b = BLOCK_PAGES * (1 + rnd(2));
		op->nr = BLOCK_PAGES;
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
	if (op->kind == OP_MLOCK)
		op->flags = rnd(3);
	if (op->kind == OP_POISON)
		op->a = readable_slot(op);
	if (op->kind == OP_MUNMAP && one_in(16) && op->a >= BLOCK_PAGES)
		op->b = BLOCK_PAGES / 2;
	if (op->kind != OP_MREMAP)
		return;
	op->flags = rnd(3);
	op->c = op->flags == 2 ? 1 : 1 + rnd(3);
	op->b = slot_for(op->c);
}

static void gen_touch(struct op *op)
{
	op->a = one_in(4) ? mapped_slot(op, 0) : writable_slot(op);
	if (op->kind == OP_KREAD && one_in(2))
		op->a = readable_slot(op);
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
	op->a = one_in(2) ? readable_slot(op) : writable_slot(op);
	if (one_in(6))
		op->a = mapped_slot(op, 0);
	op->b = one_in(3);
	op->c = rnd(NR_PINS);
	op->pool = rnd(2);
}

static const struct {
	uint8_t kind;
	uint16_t weight;
} weights[] = {
	{ OP_OPEN, 60 }, { OP_CLOSE, 2 }, { OP_INFO, 15 }, { OP_ALLOC, 110 },
	{ OP_PROTECT, 130 }, { OP_FREE, 75 }, { OP_INSTALL, 180 },
	{ OP_FREEZE, 4 }, { OP_MMAP, 120 }, { OP_BADMAP, 15 },
	{ OP_MUNMAP, 25 }, { OP_MPROTECT, 60 }, { OP_MREMAP, 25 },
	{ OP_MADVISE, 50 }, { OP_MLOCK, 15 }, { OP_POISON, 3 },
	{ OP_STORE, 100 }, { OP_KWRITE, 25 }, { OP_KREAD, 25 },
	{ OP_DIRECT, 6 }, { OP_PIN, 15 }, { OP_UNPIN, 25 }, { OP_FORK, 12 },
	{ OP_EXIT, 8 }, { OP_EXEC, 2 }, { OP_PASS, 10 }, { OP_CHECK, 1 },
};

static unsigned int any_kind(void)
{
	unsigned int i;
	uint32_t sum = 0, r;

	for (i = 0; i < sizeof(weights) / sizeof(weights[0]); i++)
		sum += weights[i].weight;
	r = rnd(sum);
	for (i = 0; r >= weights[i].weight; i++)
		r -= weights[i].weight;
	return weights[i].kind;
}

/* Others cannot know of these. */
static bool alone(unsigned int kind)
{
	return kind == OP_OPEN || kind == OP_POISON || kind == OP_CLOSE || kind == OP_FREEZE ||
	       (kind >= OP_FORK && kind <= OP_PASS);
}

static void gen_any(struct op *op)
{
	memset(op, 0, sizeof(*op));
	op->rnd = splitmix(rng);
	op->kind = any_kind();
	if (W->shared && alone(op->kind))
		op->kind = OP_STORE;
	op->ctx = one_in(3) ? rnd(one_in(3) ? NR_CTX : NR_CTX - 1) : 0;
	if (!W->shared && (one_in(4) || op->kind == OP_EXIT))
		op->proc = rnd(NR_PROCS);
	if (op->kind <= OP_FREEZE && !one_in(8) && W->ctx[op->ctx].used &&
	    !W->ctx[op->ctx].owner_gone)
		op->proc = W->ctx[op->ctx].owner;
	switch (op->kind) {
	case OP_MMAP: case OP_BADMAP:
		gen_mmap(op);
		break;
	case OP_MUNMAP: case OP_MPROTECT: case OP_MREMAP: case OP_MADVISE: case OP_MLOCK:
	case OP_POISON:
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
	case OP_OPEN:
		op->flags = rnd(2);
		break;
	case OP_CLOSE: case OP_EXIT: case OP_EXEC: case OP_CHECK:
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
