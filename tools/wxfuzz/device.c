// SPDX-License-Identifier: MIT
/*
 * wxfuzz: the operations of the device, with sound and with malformed arguments
 */
#include <fcntl.h>
#include <liburing.h>
#include <sys/ioctl.h>

#include "wxfuzz.h"

#define SRC_PAGES	40u

/*
 * Where arguments are: a page, one that cannot be touched, one that can only be
 * read; then sources, and one that cannot be touched.
 */
static __thread unsigned char *args;

static unsigned char *arg_page(void)
{
	if (args)
		return args;
	args = mmap(NULL, (4 + SRC_PAGES) * PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (args == MAP_FAILED)
		abort();
	mprotect(args + PAGE, PAGE, PROT_NONE);
	mprotect(args + 2 * PAGE, PAGE, PROT_READ);
	mprotect(args + (3 + SRC_PAGES) * PAGE, PAGE, PROT_NONE);
	return args;
}

static unsigned char *sources(void)
{
	return arg_page() + 3 * PAGE;
}

union arg {
	uint32_t size;
	struct wxpool_info info;
	struct wxpool_vec vec;
	struct wxpool_free free;
	struct wxpool_freeze freeze;
	unsigned char bytes[PAGE];
};

/* struct call - an operation as the kernel gets it */
struct call {
	const struct op *op;
	unsigned long cmd;
	size_t size;
	bool results;
	void *arg;
	union arg before;
};

static void call_init(struct call *c, const struct op *op)
{
	static const struct {
		unsigned long cmd;
		size_t size;
		bool results;
	} kinds[NR_OPS] = {
		[OP_INFO] = { WXPOOL_IOC_INFO, sizeof(struct wxpool_info), true },
		[OP_ALLOC] = { WXPOOL_IOC_ALLOC, sizeof(struct wxpool_vec), true },
		[OP_PROTECT] = { WXPOOL_IOC_PROTECT, sizeof(struct wxpool_vec), true },
		[OP_INSTALL] = { WXPOOL_IOC_INSTALL, sizeof(struct wxpool_vec), false },
		[OP_FREE] = { WXPOOL_IOC_FREE, sizeof(struct wxpool_free), true },
		[OP_FREEZE] = { WXPOOL_IOC_FREEZE, sizeof(struct wxpool_freeze), false },
	};

	c->op = op;
	c->cmd = kinds[op->kind].cmd;
	c->size = kinds[op->kind].size;
	c->results = kinds[op->kind].results;
	memset(&c->before, 0, 256);
}

/* The bytes that a range installs; returns where they are. */
static uint64_t make_source(const struct range *r, unsigned char **to)
{
	unsigned char *start = *to;
	uint32_t i, n = nr_lines_of(r->len);

	for (i = 0; i < n; i++)
		content_line(r->stamp + i, start + i * LINE);
	*to += (size_t)n * LINE;
	return (uintptr_t)start;
}

static uint64_t last_source(const struct op *op, const struct range *r)
{
	if (op->mut == M_SRC_NULL)
		return 0;
	return (uintptr_t)sources() + SRC_PAGES * PAGE - (r->len - 1);
}

static void make_range(const struct op *op, unsigned int i,
		       struct wxpool_range *to, unsigned char **src)
{
	const struct range *r = &op->r[i];

	memset(to, 0, sizeof(*to));
	to->prot = r->prot;
	if (op->kind != OP_INSTALL) {
		to->offset = page_offset(r->at);
		to->length = (uint64_t)r->len * PAGE;
		to->addr = r->slot == NO_SLOT ? 0 : (uintptr_t)slot_addr(r->slot);
		return;
	}
	to->offset = page_offset(0) + (uint64_t)r->at * LINE;
	to->length = r->len;
	if (i + 1 == op->nr && (op->mut == M_SRC_NULL || op->mut == M_SRC_CUT))
		to->addr = last_source(op, r);
	else
		to->addr = make_source(r, src);
}

static uint64_t too_long(const struct op *op)
{
	return op->kind == OP_INSTALL ? 17 << 20 : SPACE / 2;
}

/* What is wrong with a vector is wrong with its last range. */
void device_spoil(const struct op *op, struct wxpool_range *r)
{
	bool lines = op->kind == OP_INSTALL;

	switch (op->mut) {
	case M_OFFSET:
		r->offset += lines ? 32 : LINE;
		break;
	case M_LEN_0:
		r->length = 0;
		break;
	case M_LEN_ODD:
		r->length += 8;
		break;
	case M_LEN_BIG:
		r->length = too_long(op);
		break;
	case M_OVER:
		r->offset = SPACE - (lines ? LINE : PAGE);
		r->length = lines ? LINE + 1 : 2 * PAGE;
		break;
	case M_RANGE_RESERVED:
		r->__reserved = 1;
		break;
	case M_PROT:
		r->prot = op->kind == OP_ALLOC ? 1 : 3 * (op->pool & 1);
		break;
	case M_ADDR_ODD:
		r->addr += 8;
		break;
	case M_ADDR_BAD:
		r->addr = BAD_ADDR;
		break;
	}
}

/* Before or after the structure, out of its way */
static struct wxpool_range *place_ranges(const struct op *op)
{
	unsigned char *p = arg_page();

	if (op->mut == M_VEC_CUT)
		return (void *)(p + PAGE - op->nr * sizeof(struct wxpool_range) + 8);
	return (void *)(p + 1024);
}

static void make_vec(struct call *c)
{
	unsigned char *src = sources() + (c->op->c & 7);
	struct wxpool_vec *v = &c->before.vec;
	struct wxpool_range r[NR_RANGES];
	void *to = place_ranges(c->op);
	size_t len = c->op->nr * sizeof(r[0]);
	unsigned int i;

	for (i = 0; i < c->op->nr; i++)
		make_range(c->op, i, &r[i], &src);
	device_spoil(c->op, &r[c->op->nr - 1]);
	memcpy(to, r, c->op->mut == M_VEC_CUT ? len - 8 : len);
	v->ranges = c->op->mut == M_VEC_NULL ? 0 : (uintptr_t)to;
	v->nr_ranges = c->op->nr;
	v->pool = W->pool_base + c->op->pool;
	v->flags = c->op->flags;
	v->map_error = 99;
	if (c->op->mut == M_NR_0)
		v->nr_ranges = 0;
	if (c->op->mut == M_NR_MANY)
		v->nr_ranges = WXPOOL_MAX_RANGES + 1;
	if (c->op->mut == M_POOL_0)
		v->pool = 0;
	if (c->op->mut == M_FLAGS)
		v->flags |= 1u << (c->op->kind == OP_INSTALL ? 1 : 0);
}

static void make_free(struct call *c)
{
	struct wxpool_free *f = &c->before.free;

	f->pool = c->op->mut == M_POOL_0 ? 0 : W->pool_base + c->op->pool;
	f->flags = c->op->mut == M_FLAGS;
	f->__reserved = c->op->mut == M_RESERVED;
	f->nr_freed = 77;
}

static void make_size(struct call *c)
{
	uint32_t size = c->size;

	switch (c->op->mut) {
	case M_SIZE_0:
		size = 0;
		break;
	case M_SIZE_SHORT:
		size -= 1;
		break;
	case M_SIZE_BIG:
		size = PAGE + 1;
		break;
	case M_TAIL_BAD:
		c->before.bytes[size + 7] = 1;
		__attribute__((fallthrough));
	case M_TAIL_ZERO:
		size += 8;
		break;
	}
	c->before.size = size;
}

static void place_arg(struct call *c)
{
	unsigned char *p = arg_page();

	c->arg = p;
	switch (c->op->mut) {
	case M_ARG_NULL:
		c->arg = NULL;
		return;
	case M_ARG_CUT:
		c->arg = p + PAGE - c->size + 4;
		memcpy(c->arg, &c->before, c->size - 4);
		return;
	case M_ARG_RO:
		c->arg = p + 2 * PAGE;
		mprotect(c->arg, PAGE, PROT_READ | PROT_WRITE);
		memcpy(c->arg, &c->before, c->size);
		mprotect(c->arg, PAGE, PROT_READ);
		return;
	}
	memcpy(c->arg, &c->before, c->size + 8);
}

static void make_arg(struct call *c)
{
	switch (c->op->kind) {
	case OP_ALLOC:
	case OP_PROTECT:
	case OP_INSTALL:
		make_vec(c);
		break;
	case OP_FREE:
		make_free(c);
		break;
	case OP_FREEZE:
		c->before.freeze.flags = c->op->mut == M_FLAGS;
		break;
	}
	make_size(c);
	place_arg(c);
	/* A number without an operation; all sizes and folders are wrong */
	if (c->op->mut == M_CMD)
		c->cmd = c->op->pool & 1 ? c->cmd | 0x40080000 : c->cmd + 6;
}

static long call_uring(struct call *c, struct io_uring *ring)
{
	struct wxpool_uring_cmd cmd = { .arg = (uintptr_t)c->arg };
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	struct io_uring_cqe *cqe;
	long ret;

	cmd.__reserved = c->op->mut == M_URING_FLAGS;
	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, FD_CTX + c->op->ctx, NULL, 0, 0);
	sqe->cmd_op = c->cmd;
	memcpy((char *)sqe + offsetof(struct io_uring_sqe, cmd), &cmd, sizeof(cmd));
	do {
		ret = io_uring_submit_and_wait(ring, 1);
	} while (ret == -EINTR);
	if (io_uring_peek_cqe(ring, &cqe))
		return ERR(ENODATA);
	ret = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return ret;
}

static long call_once(struct call *c)
{
	struct io_uring *ring = c->op->uring ? ring_get() : NULL;

	if (ring)
		return call_uring(c, ring);
	return ioctl(FD_CTX + c->op->ctx, c->cmd, c->arg) ? -errno : 0;
}

/* ---- what it must return */

static bool is_owner(unsigned int ctx)
{
	return W->ctx[ctx].owner == me && !W->ctx[ctx].owner_gone;
}

/* Of the structure, in the order in which the module looks at it */
static long size_error(const struct call *c)
{
	switch (c->op->mut) {
	case M_SIZE_0:
	case M_SIZE_SHORT:
		return ERR(EINVAL);
	case M_SIZE_BIG:
	case M_TAIL_BAD:
		return ERR(E2BIG);
	case M_ARG_NULL:
	case M_ARG_CUT:
		return ERR(EFAULT);
	case M_ARG_RO:
		return c->results ? ERR(EFAULT) : 0;
	}
	return 0;
}

static long form_error(const struct op *op)
{
	bool lines = op->kind == OP_INSTALL;

	switch (op->mut) {
	case M_POOL_0: case M_FLAGS: case M_RESERVED: case M_NR_0: case M_NR_MANY:
	case M_OFFSET: case M_LEN_0: case M_RANGE_RESERVED: case M_PROT:
	case M_LEN_ODD: case M_ADDR_ODD:
		return ERR(EINVAL);
	case M_VEC_NULL: case M_VEC_CUT:
		return ERR(EFAULT);
	case M_OVER:
		return ERR(EOVERFLOW);
	case M_LEN_BIG:
		if (page_offset(NR_PAGES) + too_long(op) > SPACE)
			return ERR(EOVERFLOW);
		return lines ? ERR(EINVAL) : 0;
	}
	return 0;
}

static long early_error(const struct call *c)
{
	if (c->op->mut == M_URING_FLAGS)
		return ERR(EINVAL);
	if (c->op->mut == M_CMD)
		return ERR(ENOTTY);
	if (c->op->kind != OP_INFO && !is_owner(c->op->ctx))
		return ERR(EXDEV);
	return size_error(c);
}

/* struct want - what an operation must give */
struct want {
	long ret;
	uint64_t freed, kept;
	uint32_t nr_mapped, map_error;
};

static void map_views(const struct op *op, struct want *w)
{
	int prot = PROT_READ | PROT_WRITE;
	unsigned int i;

	w->nr_mapped = op->nr;
	for (i = 0; i < op->nr; i++) {
		const struct range *r = &op->r[i];

		if (op->mut == M_ADDR_BAD && i + 1 == op->nr) {
			w->nr_mapped = i;
			w->map_error = ENOMEM;
			return;
		}
		if (op->kind == OP_PROTECT)
			prot = r->prot == WXPOOL_PROT_X ? PROT_READ | PROT_EXEC :
							  PROT_READ;
		if (r->slot != NO_SLOT)
			space_map(r->slot, r->len, op->ctx, r->at, prot);
	}
}

static long want_vec(const struct op *op, struct want *w)
{
	struct op big = *op;
	long err;

	if (op->kind == OP_INSTALL)
		model_reap(op->ctx);
	err = form_error(op);
	if (err)
		return err;
	if (op->mut == M_LEN_BIG)
		big.r[op->nr - 1].len = SPACE / 2 / PAGE;
	if (op->kind == OP_INSTALL)
		return model_install(op);
	if (op->kind == OP_PROTECT) {
		err = model_protect(&big);
	} else {
		model_reap(op->ctx);
		err = model_alloc(&big);
	}
	if (!err)
		map_views(op, w);
	return err;
}

static long want_ret(const struct call *c, struct want *w)
{
	const struct op *op = c->op;
	long err = early_error(c);

	if (err)
		return err;
	switch (op->kind) {
	case OP_INFO:
		return 0;
	case OP_FREEZE:
		err = form_error(op);
		if (!err)
			W->ctx[op->ctx].frozen = 1;
		return err;
	case OP_FREE:
		err = form_error(op);
		if (err)
			return err;
		model_reap(op->ctx);
		return model_free(op, &w->freed, &w->kept);
	}
	return want_vec(op, w);
}

/* ---- what it did return */

static void check_vec(const struct call *c, const struct want *w)
{
	const struct wxpool_vec *v = c->arg;

	if (v->nr_mapped != w->nr_mapped)
		miss(MISS_OUT, 0, w->nr_mapped, v->nr_mapped, "nr_mapped");
	if (v->map_error != w->map_error)
		miss(MISS_OUT, 0, w->map_error, v->map_error, "map_error");
}

static void check_free(const struct call *c, const struct want *w)
{
	const struct wxpool_free *f = c->arg;

	if (f->nr_freed != w->freed)
		miss(MISS_OUT, 0, w->freed, f->nr_freed, "nr_freed");
	if (f->nr_kept != w->kept)
		miss(MISS_OUT, 0, w->kept, f->nr_kept, "nr_kept");
}

static void check_info(const struct call *c)
{
	const struct wxpool_info *i = c->arg;

	if (i->abi_version != WXPOOL_ABI_VERSION || i->space != SPACE ||
	    i->page_size != PAGE || i->line_size != LINE || i->features ||
	    i->max_ranges != WXPOOL_MAX_RANGES)
		miss(MISS_OUT, 0, 0, 0, "what INFO says");
	if (i->context_limit != (uint64_t)W->ctx_limit * PAGE)
		miss(MISS_OUT, 0, W->ctx_limit, i->context_limit / PAGE,
		     "the context's limit");
}

static void check_results(const struct call *c, const struct want *w)
{
	if (c->op->mut >= M_ARG_NULL && c->op->mut <= M_ARG_CUT)
		return;
	if (w->ret || !c->results) {
		if (memcmp(c->arg, &c->before, c->size))
			miss(MISS_OUT, 0, 0, 0, "a structure that was changed");
		return;
	}
	if (c->op->kind == OP_INFO)
		check_info(c);
	else if (c->op->kind == OP_FREE)
		check_free(c, w);
	else
		check_vec(c, w);
}

/* Does the kernel, as far as we know, still let go of one of these pages? */
static bool may_be_busy(const struct op *op)
{
	unsigned int i, top;
	uint32_t k;

	if (op->kind != OP_PROTECT || W->blind)
		return false;
	if (W->shared)
		return true;
	for (i = 0; i < op->nr; i++)
		for (k = 0; k < op->r[i].len && op->r[i].at + k < NR_PAGES; k++) {
			top = W->ctx[op->ctx].top[op->r[i].at + k];
			if (top && region_page(&W->region[top], op->r[i].at + k)->lazy)
				return true;
		}
	return false;
}

/* PROTECT again while something is let go of that is no pin any more */
static long call_patiently(struct call *c, long want)
{
	long ret = call_once(c);
	int tries;

	for (tries = 0; ret == ERR(EBUSY) && ret != want && tries < 5000 &&
	     may_be_busy(c->op); tries++) {
		usleep(tries < 100 ? 0 : 1000);
		ret = call_once(c);
	}
	return ret;
}

static void probe_ranges(const struct op *op)
{
	unsigned int i, n = op->kind == OP_INSTALL ? PAGE_LINES : 1;
	uint64_t rnd = op->rnd;

	for (i = 0; i < op->nr; i++) {
		uint32_t first = op->r[i].at / n, last;

		if (op->kind == OP_INSTALL)
			last = (op->r[i].at + nr_lines_of(op->r[i].len) - 1) / n;
		else
			last = first + op->r[i].len - 1;
		probe_page(op->ctx, first, splitmix(&rnd));
		if (last != first)
			probe_page(op->ctx, last, splitmix(&rnd));
	}
}

long device_do(const struct op *op)
{
	static __thread struct call call;
	struct want w = { 0 };
	long ret;

	call_init(&call, op);
	make_arg(&call);
	w.ret = want_ret(&call, &w);
	ret = call_patiently(&call, w.ret);
	expect_ret(op, w.ret, ret);
	check_results(&call, &w);
	if (probe_due(op))
		probe_ranges(op);
	return ret;
}
