// SPDX-License-Identifier: MIT
/*
 * wxfuzz: the operations of the device, with sound and with malformed arguments
 */
#include <fcntl.h>
#include <liburing.h>
#include <sys/ioctl.h>

#include "wxfuzz.h"

#define ARG_SIZE	(4 * PAGE)
#define RANGE_SIZE	(MAX_INSTALL + PAGE)
#define SRC_SIZE	(NR_RANGES * RANGE_SIZE)

/*
 * Where arguments are: some pages, one that cannot be touched, one that can only be
 * read; then sources, and a page that cannot be touched.
 */
static __thread unsigned char *args;

static unsigned char *arg_page(void)
{
	if (args)
		return args;
	args = mmap(NULL, ARG_SIZE + 2 * PAGE + SRC_SIZE + PAGE,
		    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (args == MAP_FAILED)
		abort();
	mprotect(args + ARG_SIZE, PAGE, PROT_NONE);
	mprotect(args + ARG_SIZE + PAGE, PAGE, PROT_READ);
	mprotect(args + ARG_SIZE + 2 * PAGE + SRC_SIZE, PAGE, PROT_NONE);
	return args;
}

static unsigned char *sources(void)
{
	return arg_page() + ARG_SIZE + 2 * PAGE;
}

union arg {
	uint32_t size;
	struct wxpool_info info;
	struct wxpool_alloc alloc;
	struct wxpool_protect protect;
	struct wxpool_free free;
	struct wxpool_install install;
	struct wxpool_freeze freeze;
	unsigned char bytes[PAGE];
};

/*
 * struct call - an operation as the kernel gets it
 * @element: size of one element of its vector
 * @results: where in the structure they begin, 0 if there are none
 */
struct call {
	const struct op *op;
	unsigned long cmd;
	size_t size;
	size_t element;
	size_t results;
	void *arg;
	union arg before;
};

static void call_init(struct call *c, const struct op *op)
{
	static const struct {
		unsigned long cmd;
		size_t size, element, results;
	} kinds[NR_OPS] = {
		[OP_INFO] = { WXPOOL_IOC_INFO, sizeof(struct wxpool_info), 0,
			      offsetof(struct wxpool_info, context) },
		[OP_ALLOC] = { WXPOOL_IOC_ALLOC, sizeof(struct wxpool_alloc),
			       sizeof(struct wxpool_alloc_range), 0 },
		[OP_PROTECT] = { WXPOOL_IOC_PROTECT, sizeof(struct wxpool_protect),
				 sizeof(struct wxpool_protect_range), 0 },
		[OP_FREE] = { WXPOOL_IOC_FREE, sizeof(struct wxpool_free),
			      sizeof(uint32_t), offsetof(struct wxpool_free, pages_freed) },
		[OP_INSTALL] = { WXPOOL_IOC_INSTALL, sizeof(struct wxpool_install),
				 sizeof(struct wxpool_install_range), 0 },
		[OP_FREEZE] = { WXPOOL_IOC_FREEZE, sizeof(struct wxpool_freeze), 0, 0 },
	};

	c->op = op;
	c->cmd = kinds[op->kind].cmd;
	c->size = kinds[op->kind].size;
	c->element = kinds[op->kind].element;
	c->results = kinds[op->kind].results;
	memset(&c->before, 0, 512);
}

/* @len bytes of a run's, from the @from'th on */
static void run_bytes(uint32_t stamp, uint32_t from, uint32_t len, unsigned char *to)
{
	unsigned char line[LINE];
	uint32_t n;

	for (; len; len -= n, from += n, to += n) {
		n = LINE - from % LINE < len ? LINE - from % LINE : len;
		content_line(stamp + from / LINE, line);
		memcpy(to, line + from % LINE, n);
	}
}

static void make_pages(const struct op *op, unsigned int i, struct vrange *to)
{
	const struct range *r = &op->r[i];

	memset(to, 0, sizeof(*to));
	to->offset = page_offset(r->at);
	to->length = (uint64_t)r->len * PAGE;
	to->prot = r->prot;
}

/* What is wrong with a vector is so with ranges in one piece. */
static unsigned int nr_pieces(const struct op *op)
{
	unsigned int nr, i;

	if (op->kind != OP_INSTALL || op->mut || !op->b)
		return 1;
	nr = op->b;
	for (i = 0; i < op->nr; i++)
		nr = op->r[i].len < nr ? op->r[i].len : nr;
	return nr;
}

unsigned int device_nr_elements(const struct op *op)
{
	return op->nr * nr_pieces(op);
}

struct piece device_piece(const struct op *op, unsigned int n)
{
	unsigned int nr = nr_pieces(op), k = n % nr;
	struct piece p = { .i = n / nr };
	uint64_t len = op->r[p.i].len;

	p.from = len * k / nr;
	p.len = len * (k + 1) / nr - p.from;
	return p;
}

/* The bytes of an element of INSTALL's, and where they are: at all alignments */
static void make_lines(const struct op *op, unsigned int n, struct vrange *to)
{
	struct piece p = device_piece(op, n);
	unsigned char *src = sources() + (size_t)p.i * RANGE_SIZE + p.from +
			     (op->c >> p.i * 6 & 63);
	const struct range *r = &op->r[p.i], *head;
	uint32_t from = run_before(op, p.i, &head) + p.from;

	memset(to, 0, sizeof(*to));
	to->length = p.len;
	if (r->cont || p.from) {
		to->flags = WXPOOL_RANGE_CONT;
	} else {
		to->offset = page_offset(0) + (uint64_t)r->at * LINE;
		to->prot = r->prot;
	}
	to->source = (uintptr_t)src;
	if (p.i + 1 == op->nr && op->mut == M_SRC_NULL)
		to->source = 0;
	else if (p.i + 1 == op->nr && op->mut == M_SRC_CUT)
		to->source = (uintptr_t)sources() + SRC_SIZE - (r->len - 1);
	else
		run_bytes(head->stamp, from, p.len, src);
}

static uint64_t too_long(const struct op *op)
{
	return op->kind == OP_INSTALL ? 17 << 20 : SPACE / 2;
}

/* What is wrong with a vector is wrong with its last range; or its first. */
void device_spoil(const struct op *op, unsigned int i, struct vrange *r)
{
	bool lines = op->kind == OP_INSTALL;

	if (op->mut == M_CONT_FIRST && !i) {
		r->flags = WXPOOL_RANGE_CONT;
		r->offset = r->prot = 0;
	}
	if (i + 1 != op->nr)
		return;
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
		r->reserved = 1;
		break;
	case M_PROT:
		r->prot = 4 * (op->pool & 1);
		break;
	case M_RANGE_FLAGS:
		r->flags |= 2;
		break;
	case M_CONT_OFFSET:
		r->flags = WXPOOL_RANGE_CONT;
		r->offset = PAGE;
		r->prot = 0;
		break;
	case M_CONT_PROT:
		r->flags = WXPOOL_RANGE_CONT;
		r->offset = 0;
		r->prot = WXPOOL_PROT_X;
		break;
	}
}

/* One element of a vector as the operation has it */
static size_t put_range(const struct op *op, const struct vrange *v, void *to)
{
	struct wxpool_alloc_range a = { v->offset, v->length };
	struct wxpool_protect_range p = { v->offset, v->length, v->prot, v->reserved };
	struct wxpool_install_range i = {
		v->offset, v->length, v->source, v->prot, v->flags,
	};

	switch (op->kind) {
	case OP_ALLOC:
		memcpy(to, &a, sizeof(a));
		return sizeof(a);
	case OP_PROTECT:
		memcpy(to, &p, sizeof(p));
		return sizeof(p);
	default:
		memcpy(to, &i, sizeof(i));
		return sizeof(i);
	}
}

static size_t make_elements(const struct op *op, unsigned char *to)
{
	unsigned char *p = to;
	struct vrange v;
	uint32_t pool;
	unsigned int i;

	for (i = 0; i < device_nr_elements(op); i++) {
		if (op->kind == OP_FREE) {
			pool = W->pool_base + op->r[i].at;
			if (op->mut == M_POOL_0 && i + 1 == op->nr)
				pool = 0;
			memcpy(p, &pool, sizeof(pool));
			p += sizeof(pool);
			continue;
		}
		if (op->kind == OP_INSTALL)
			make_lines(op, i, &v);
		else
			make_pages(op, i, &v);
		device_spoil(op, i, &v);
		p += put_range(op, &v, p);
	}
	return p - to;
}

/* Out of the structure's way; if it is to be cut, the last half element */
static uint64_t place_vector(const struct call *c)
{
	static __thread unsigned char elements[NR_RANGES * MAX_PIECES *
					       sizeof(struct wxpool_install_range)];
	size_t len = make_elements(c->op, elements), cut = c->element / 2;
	unsigned char *p = arg_page();

	if (c->op->mut == M_VEC_NULL)
		return 0;
	if (c->op->mut == M_VEC_CUT) {
		memcpy(p + ARG_SIZE - len + cut, elements, len - cut);
		return (uintptr_t)p + ARG_SIZE - len + cut;
	}
	memcpy(p + 1024, elements, len);
	return (uintptr_t)p + 1024;
}

uint32_t device_nr(const struct op *op)
{
	switch (op->mut) {
	case M_NR_0:
		return 0;
	case M_NR_MANY:
		return WXPOOL_MAX_RANGES + 1;
	case M_ALL_NR:
		return 1;
	}
	return device_nr_elements(op);
}

/* A flag that there is not */
uint32_t device_flags(const struct op *op)
{
	if (op->mut != M_FLAGS)
		return op->flags;
	switch (op->kind) {
	case OP_FREE:
		return op->flags | 4;
	case OP_INSTALL:
		return op->flags | 2;
	}
	return op->flags | 1;
}

static uint64_t make_id(const struct op *op)
{
	const struct mctx *other = &W->ctx[(op->ctx + 1) % NR_CTX];

	switch (op->id) {
	case ID_RIGHT:
		return W->ctx[op->ctx].id;
	case ID_OTHER:
		if (other->used)
			return other->id;
		__attribute__((fallthrough));
	case ID_WRONG:
		return W->ctx[op->ctx].id + 1000000;
	}
	return 0;
}

/* They differ in their ranges only. */
static void make_vec(struct call *c)
{
	struct wxpool_install *v = &c->before.install;

	_Static_assert(sizeof(struct wxpool_alloc) == sizeof(*v) &&
		       sizeof(struct wxpool_protect) == sizeof(*v) &&
		       offsetof(struct wxpool_alloc, flags) ==
		       offsetof(struct wxpool_install, flags) &&
		       offsetof(struct wxpool_protect, flags) ==
		       offsetof(struct wxpool_install, flags), "");
	v->pool = c->op->mut == M_POOL_0 ? 0 : W->pool_base + c->op->pool;
	v->context = make_id(c->op);
	v->ranges = place_vector(c);
	v->nr_ranges = device_nr(c->op);
	v->flags = device_flags(c->op);
}

static void make_free(struct call *c)
{
	struct wxpool_free *f = &c->before.free;
	bool all = c->op->flags & WXPOOL_FREE_ALL;

	f->flags = device_flags(c->op);
	f->context = make_id(c->op);
	f->pools = all && c->op->mut != M_ALL_POOLS ? 0 : place_vector(c);
	f->nr_pools = device_nr(c->op);
	f->__reserved = c->op->mut == M_RESERVED;
	f->pages_freed = 77;
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
		c->arg = p + ARG_SIZE - c->size + 4;
		memcpy(c->arg, &c->before, c->size - 4);
		return;
	case M_ARG_RO:
		c->arg = p + ARG_SIZE + PAGE;
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
	case OP_INFO:
		c->before.info.pool = W->pool_base + c->op->pool;
		c->before.info.context = make_id(c->op);
		break;
	case OP_ALLOC:
	case OP_PROTECT:
	case OP_INSTALL:
		make_vec(c);
		break;
	case OP_FREE:
		make_free(c);
		break;
	case OP_FREEZE:
		c->before.freeze.flags = device_flags(c->op);
		c->before.freeze.context = make_id(c->op);
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
	switch (op->mut) {
	case M_POOL_0: case M_FLAGS: case M_RESERVED: case M_NR_0: case M_NR_MANY:
	case M_OFFSET: case M_LEN_0: case M_LEN_ODD: case M_RANGE_RESERVED:
	case M_PROT: case M_RANGE_FLAGS: case M_CONT_FIRST: case M_CONT_OFFSET:
	case M_CONT_PROT: case M_ALL_POOLS:
		return ERR(EINVAL);
	case M_ALL_NR: case M_VEC_NULL: case M_VEC_CUT: case M_SRC_NULL: case M_SRC_CUT:
		return ERR(EFAULT);
	case M_OVER:
		return ERR(EOVERFLOW);
	case M_LEN_BIG:
		if (page_offset(NR_PAGES) + too_long(op) > SPACE)
			return ERR(EOVERFLOW);
		return op->kind == OP_INSTALL ? ERR(EINVAL) : 0;
	}
	return 0;
}

static long early_error(const struct call *c)
{
	const struct op *op = c->op;
	long err;

	if (op->mut == M_URING_FLAGS)
		return ERR(EINVAL);
	if (op->mut == M_CMD)
		return ERR(ENOTTY);
	err = size_error(c);
	if (err)
		return err;
	if (make_id(op) && make_id(op) != W->ctx[op->ctx].id)
		return ERR(ESTALE);
	if (op->kind == OP_INFO)
		return 0;
	if (W->ctx[op->ctx].mode != O_RDWR)
		return ERR(EBADF);
	if (!is_owner(op->ctx))
		return ERR(EXDEV);
	return 0;
}

#define ALL_BLOCKS	(~0u)

/* But for want of room */
static long model_error(const struct op *op)
{
	switch (op->kind) {
	case OP_ALLOC:
		return model_alloc_error(op);
	case OP_PROTECT:
		return model_protect_error(op);
	case OP_INSTALL:
		return model_install_error(op, ALL_BLOCKS);
	case OP_FREE:
		return model_free_error(op);
	}
	return 0;
}

static void judge(const struct op *op, struct room *room)
{
	uint64_t pages = 0;
	unsigned int i;

	for (i = 0; i < op->nr; i++)
		pages += op->r[i].len;
	switch (op->kind) {
	case OP_ALLOC:
		info_judge(op->ctx, pages, pages, room);
		break;
	case OP_INSTALL:
		/*
		 * With a block there may be no room for what comes after it; and a large
		 * call makes whole pages before it looks where they go.
		 */
		info_judge(op->ctx, model_install_pages(op, 0),
			   model_install_pages(op, ALL_BLOCKS) + pages / PAGE, room);
		break;
	}
}

/* Those of an INSTALL that was done */
static unsigned int blocks_made(const struct op *op)
{
	unsigned int i, blocks = 0;

	if (!(op->flags & WXPOOL_INSTALL_BLOCKS))
		return 0;
	for (i = 0; i < NR_PAGES / BLOCK_PAGES; i++)
		if (info_block(op->ctx, i))
			blocks |= 1u << i;
	return blocks;
}

/*
 * An ALLOC looks whether there is room before it looks at a page; an INSTALL of some
 * pages does, and one that needs a buffer.
 */
static bool room_first(const struct op *op, long form)
{
	if (op->kind == OP_ALLOC)
		return !form;
	return op->kind == OP_INSTALL && op->mut != M_POOL_0 && op->mut != M_FLAGS;
}

/*
 * What it must return, given that it may have returned @got: @form is what is wrong
 * with its arguments, @want with what they ask for.
 */
static long settle_ret(const struct op *op, const struct room *room, long form,
		       long want, long got)
{
	if (room->may && got == ERR(ENOSPC) && room_first(op, form))
		return got;
	if (form)
		return form;
	if (room->must && (!want || (op->kind == OP_ALLOC && want != ERR(EROFS))))
		return ERR(ENOSPC);
	/* Without a block, what is in its way is not. */
	if (op->kind == OP_INSTALL && !got)
		return model_install_error(op, blocks_made(op));
	/* Of two lines in one page, which is looked at first? */
	if (op->kind == OP_INSTALL && want == ERR(EHWPOISON) && got == ERR(EEXIST))
		return got;
	return want;
}

static void model_done(const struct op *op, struct wxpool_free *out)
{
	switch (op->kind) {
	case OP_ALLOC:
		model_alloc(op);
		break;
	case OP_PROTECT:
		model_protect(op);
		break;
	case OP_INSTALL:
		model_install(op, blocks_made(op));
		break;
	case OP_FREE:
		model_free(op, out);
		out->pages_freed += info_settle_emptied(op->ctx);
		break;
	case OP_FREEZE:
		W->ctx[op->ctx].frozen = 1;
		break;
	}
}

/* ---- what it did return */

static void check_free(const struct call *c, const struct wxpool_free *want)
{
	const struct wxpool_free *f = c->arg;

	if (f->pages_freed != want->pages_freed)
		miss(MISS_OUT, 0, want->pages_freed, f->pages_freed, "output pages_freed");
	if (f->pages_kept != want->pages_kept)
		miss(MISS_OUT, 0, want->pages_kept, f->pages_kept, "output pages_kept");
	if (f->lines_kept != want->lines_kept)
		miss(MISS_OUT, 0, want->lines_kept, f->lines_kept, "output lines_kept");
}

static void check_results(const struct call *c, long ret,
			  const struct wxpool_free *freed)
{
	size_t same = ret || !c->results ? c->size : c->results;

	if (c->op->mut >= M_ARG_NULL && c->op->mut <= M_ARG_CUT)
		return;
	if (memcmp(c->arg, &c->before, same))
		miss(MISS_OUT, 0, 0, 0, "a structure that was changed");
	if (ret || !c->results)
		return;
	if (c->op->kind == OP_INFO)
		info_compare(c->op->ctx, c->op->pool, c->arg);
	else
		check_free(c, freed);
}

/* Does the kernel, as far as we know, still let go of one of these pages? */
static bool may_be_busy(const struct op *op)
{
	struct mregion *r;
	unsigned int i;
	uint32_t k;

	if (op->kind != OP_PROTECT)
		return false;
	for (i = 0; i < op->nr; i++)
		for (k = 0; k < op->r[i].len && op->r[i].at + k < NR_PAGES; k++) {
			r = model_region(op->ctx, op->r[i].at + k);
			if (r && region_page(r, op->r[i].at + k)->lazy)
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
	unsigned int i, next, n = op->kind == OP_INSTALL ? PAGE_LINES : 1;
	uint64_t rnd = op->rnd;
	uint32_t len;

	for (i = 0; i < op->nr && op->kind != OP_FREE; i = next) {
		uint32_t first = op->r[i].at / n, last;

		next = run_end(op, i, &len);
		if (op->kind == OP_INSTALL)
			last = (op->r[i].at + nr_lines_of(len) - 1) / n;
		else
			last = first + len - 1;
		probe_page(op->ctx, first, splitmix(&rnd));
		if (last != first)
			probe_page(op->ctx, last, splitmix(&rnd));
	}
}

/* An operation on a context that is ours */
static long do_owned(struct call *c)
{
	const struct op *op = c->op;
	struct wxpool_free freed = { 0 };
	long form = form_error(op), want = form, ret;
	struct op big = *op;
	struct room room = { 0 };

	if (op->mut == M_LEN_BIG)
		big.r[op->nr - 1].len = SPACE / 2 / PAGE;
	info_before(op);
	if (!form) {
		want = model_error(&big);
		judge(&big, &room);
	} else {
		judge(op, &room);
	}
	ret = call_patiently(c, want);
	want = settle_ret(op, &room, form, want, ret);
	if (!want && !ret)
		model_done(op, &freed);
	if (op->kind == OP_ALLOC || op->kind == OP_INSTALL)
		W->ctx[op->ctx].warm |= 1u << (2 * (op->kind == OP_INSTALL) + !ret);
	if (op->kind == OP_INSTALL && device_nr(op) <= FEW_RANGES)
		W->ctx[op->ctx].warm |= 1u << 4;
	W->ctx[op->ctx].failed |= !!ret;
	expect_ret(op, want, ret);
	check_results(c, want, &freed);
	info_after(op);
	if (ret == ERR(ENOSPC))
		info_check_failed(op->ctx, &room);
	return ret;
}

static long do_any(struct call *c, long want)
{
	long ret = call_once(c);

	expect_ret(c->op, want, ret);
	check_results(c, want, NULL);
	return ret;
}

long device_do(const struct op *op)
{
	static __thread struct call call;
	long early, ret;

	call_init(&call, op);
	make_arg(&call);
	early = early_error(&call);
	if (early || op->kind == OP_INFO)
		ret = do_any(&call, early);
	else
		ret = do_owned(&call);
	if (probe_due(op)) {
		info_check(op->ctx, op->kind == OP_FREE ? op->r[0].at : op->pool);
		probe_ranges(op);
	}
	return ret;
}
