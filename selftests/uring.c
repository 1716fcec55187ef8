// SPDX-License-Identifier: GPL-2.0
/*
 * The operations as IORING_OP_URING_CMD: the same structures and results as by
 * ioctl(), whoever carries them out: the submitter, a worker, or the kernel's
 * own submission thread. And what goes wrong goes wrong as it does there.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "wxpool_uring.h"
#include "wxpool_util.h"

#define POOL	1
#define OTHER	2

#define AT(page, line)	((uint64_t)PG(page) + (line) * LINE)

FIXTURE(uring) {
	int fd;
	char *x, *win;
	struct io_uring ring;
};

/* Who carries the operations out */
FIXTURE_VARIANT(uring)
{
	unsigned int setup;	/* of the ring */
	unsigned int flags;	/* of each SQE */
};

FIXTURE_VARIANT_ADD(uring, submitter) {
	.setup = 0,
};

FIXTURE_VARIANT_ADD(uring, worker) {
	.flags = IOSQE_ASYNC,
};

FIXTURE_VARIANT_ADD(uring, sqpoll) {
	.setup = IORING_SETUP_SQPOLL,
};

FIXTURE_VARIANT_ADD(uring, sqpoll_worker) {
	.setup = IORING_SETUP_SQPOLL, .flags = IOSQE_ASYNC,
};

FIXTURE_VARIANT_ADD(uring, deferred) {
	.setup = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
};

FIXTURE_VARIANT_ADD(uring, deferred_worker) {
	.setup = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	.flags = IOSQE_ASYNC,
};

FIXTURE_VARIANT_ADD(uring, large_sqes) {
	.setup = IORING_SETUP_SQE128,
};

/* Rings end after the process that had them, and with them the context of the test before. */
static void wait_for_earlier_contexts(int fd)
{
	int ms;

	for (ms = 0; ms < 10000 && !wx_is_alone(fd); ms++)
		usleep(1000);
}

FIXTURE_SETUP(uring)
{
	self->fd = wx_open();
	if (self->fd == -ENOENT)
		SKIP(return, "no " WX_DEV ": modprobe wxpool first");
	ASSERT_GE(self->fd, 0);
	wait_for_earlier_contexts(self->fd);
	RING_OR_SKIP(&self->ring, variant->setup);
	self->x = wx_view(self->fd, RX, 0, 64);
	self->win = mmap(NULL, PG(64), PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, self->x);
	ASSERT_NE(MAP_FAILED, self->win);
}

FIXTURE_TEARDOWN(uring)
{
}

#define OP(op, arg)	ring_op(&self->ring, self->fd, op, arg, variant->flags)

static struct wxpool_alloc alloc_of(uint32_t pool, struct wxpool_alloc_range *r,
				    uint32_t nr)
{
	return (struct wxpool_alloc) {
		.size = sizeof(struct wxpool_alloc), .pool = pool,
		.ranges = (uintptr_t)r, .nr_ranges = nr,
	};
}

static struct wxpool_protect protect_of(uint32_t pool,
					struct wxpool_protect_range *r, uint32_t nr)
{
	return (struct wxpool_protect) {
		.size = sizeof(struct wxpool_protect), .pool = pool,
		.ranges = (uintptr_t)r, .nr_ranges = nr,
	};
}

static struct wxpool_install install_of(uint32_t pool,
					struct wxpool_install_range *r, uint32_t nr)
{
	return (struct wxpool_install) {
		.size = sizeof(struct wxpool_install), .pool = pool,
		.ranges = (uintptr_t)r, .nr_ranges = nr,
	};
}

static struct wxpool_free free_of(uint32_t *pools, uint32_t nr)
{
	return (struct wxpool_free) {
		.size = sizeof(struct wxpool_free),
		.pools = (uintptr_t)pools, .nr_pools = nr,
	};
}

/* The pools of the tests, at addresses */
static uint32_t pool_nr = POOL, other_nr = OTHER;

/* -------------------------------------------------------- each operation */

TEST_F(uring, life)
{
	struct wxpool_freeze freeze = { .size = sizeof(freeze) };
	struct wxpool_info info = { .size = sizeof(info), .pool = POOL };
	struct wxpool_free arg = free_of(&pool_nr, 1);
	struct wxpool_protect_range pr[3];
	struct wxpool_install_range in[3];
	struct wxpool_alloc_range r[2];
	struct wxpool_protect protect;
	struct wxpool_install install;
	struct wxpool_alloc alloc;
	unsigned char code[LINE];
	uint32_t val;
	size_t len;
	char *xo;

	r[0] = wx_alloc_range(0, 3);
	r[1] = wx_alloc_range(5, 1);
	alloc = alloc_of(POOL, r, 2);
	EXPECT_EQ(0, OP(WXPOOL_IOC_ALLOC, &alloc));
	EXPECT_STAT(self->fd, 1, 4, 0, 0, 0);
	/* Views are made by none but mmap(). */
	EXPECT_EQ(PROT_NONE, wx_vma_prot(self->win));
	ASSERT_EQ(0, wx_view_at(self->fd, RW, 0, 3, self->win));
	wx_emit_pages(self->win, 3, 10);

	pr[0] = wx_protect_range(0, 2, WXPOOL_PROT_X);
	pr[1] = wx_protect_range(5, 1, WXPOOL_PROT_R);
	pr[2] = wx_protect_range(2, 1, WXPOOL_PROT_XO);
	protect = protect_of(POOL, pr, 3);
	EXPECT_EQ(0, OP(WXPOOL_IOC_PROTECT, &protect));
	EXPECT_STAT_XO(self->fd, 1, 0, 1, 2, 1, 0);
	EXPECT_EQ(SIGBUS, try_write(self->win, 1));
	EXPECT_EQ(0, try_exec(self->x + PG(1), &val));
	EXPECT_EQ(11, val);
	xo = wx_view(self->fd, XO, 0, 3);
	ASSERT_NE(MAP_FAILED, xo);
	EXPECT_EQ(0, try_exec(xo + PG(2), &val));
	EXPECT_EQ(12, val);

	/* The first range goes on: the code comes in two pieces. */
	len = wx_emit(code, 12);
	in[0] = wx_bytes(AT(10, 3), code, 2, WXPOOL_PROT_X);
	in[1] = wx_more(code + 2, len - 2);
	in[2] = wx_bytes(AT(11, 0), "data", 4, WXPOOL_PROT_R);
	install = install_of(OTHER, in, 3);
	EXPECT_EQ(0, OP(WXPOOL_IOC_INSTALL, &install));
	EXPECT_STAT_XO(self->fd, 2, 0, 2, 3, 1, 0);
	EXPECT_PACKED(self->fd, 2, 2, 0);
	EXPECT_EQ(0, try_exec(self->x + AT(10, 3), &val));
	EXPECT_EQ(12, val);

	EXPECT_EQ(0, OP(WXPOOL_IOC_INFO, &info));
	EXPECT_EQ(WXPOOL_ABI_VERSION, info.abi_version);
	EXPECT_EQ(wx_page_size, info.page_size);
	EXPECT_EQ(2, info.pools);
	EXPECT_EQ(WXPOOL_POOL_LIVE, info.pool_state);
	EXPECT_EQ(4, info.pool_pages);
	EXPECT_EQ(wx_id(self->fd), info.context);

	EXPECT_EQ(0, OP(WXPOOL_IOC_FREEZE, &freeze));
	EXPECT_EQ(-EROFS, OP(WXPOOL_IOC_INSTALL, &install));
	EXPECT_EQ(-EROFS, OP(WXPOOL_IOC_ALLOC, &alloc));
	EXPECT_EQ(-EROFS, OP(WXPOOL_IOC_PROTECT, &protect));
	EXPECT_EQ(0, OP(WXPOOL_IOC_FREE, &arg));
	EXPECT_EQ(4, arg.pages_freed);
	arg = free_of(&other_nr, 1);
	EXPECT_EQ(0, OP(WXPOOL_IOC_FREE, &arg));
	EXPECT_EQ(2, arg.pages_freed);
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_EQ(SIGBUS, try_exec(self->x, NULL));
}

TEST_F(uring, free_of_many)
{
	struct wxpool_free arg;
	uint32_t pools[20], i;

	for (i = 0; i < 20; i++) {
		pools[i] = 1 + i;
		ASSERT_EQ(0, wx_install_code(self->fd, pools[i], AT(0, i), 1));
	}
	pools[7] = 99;
	arg = free_of(pools, 20);
	EXPECT_EQ(-ENOENT, OP(WXPOOL_IOC_FREE, &arg));
	pools[7] = 1;
	EXPECT_EQ(-ENOENT, OP(WXPOOL_IOC_FREE, &arg));
	EXPECT_PACKED(self->fd, 1, 20, 0);
	arg.nr_pools = 7;
	EXPECT_EQ(0, OP(WXPOOL_IOC_FREE, &arg));
	EXPECT_PACKED(self->fd, 1, 13, 0);
	arg = (struct wxpool_free) {
		.size = sizeof(arg), .flags = WXPOOL_FREE_ALL | WXPOOL_FREE_REVOKE,
	};
	EXPECT_EQ(0, OP(WXPOOL_IOC_FREE, &arg));
	EXPECT_EQ(1, arg.pages_freed);
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
}

/* What is kept for a child is not to be had by a ring either, until it ends. */
TEST_F(uring, with_a_child)
{
	struct wxpool_free arg = free_of(&pool_nr, 1);
	struct wxpool_install_range r;
	struct wxpool_install install;
	unsigned char code[LINE];
	uint32_t val;
	int go[2];
	pid_t pid;

	ASSERT_EQ(0, pipe(go));
	r = wx_bytes(AT(1, 0), code, wx_emit(code, 20), WXPOOL_PROT_X);
	install = install_of(POOL, &r, 1);
	ASSERT_EQ(0, OP(WXPOOL_IOC_INSTALL, &install));
	pid = wx_fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		close(go[1]);
		wx_wait_step(go[0]);
		CHILD_CHECK(!try_exec(self->x + PG(1), &val) && val == 20);
		_exit(0);
	}
	EXPECT_EQ(0, OP(WXPOOL_IOC_FREE, &arg));
	EXPECT_EQ(0, arg.pages_freed);
	EXPECT_EQ(1, arg.pages_kept);
	EXPECT_EQ(1, arg.lines_kept);
	wx_emit(code, 21);
	EXPECT_EQ(-EEXIST, OP(WXPOOL_IOC_INSTALL, &install));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 1);
	r.offset = AT(2, 0);
	EXPECT_EQ(0, OP(WXPOOL_IOC_INSTALL, &install));
	EXPECT_STAT(self->fd, 1, 0, 0, 1, 1);
	close(go[1]);
	EXPECT_EQ(0, wx_wait(pid));
	EXPECT_STAT(self->fd, 1, 0, 0, 1, 0);
	r.offset = AT(1, 0);
	EXPECT_EQ(0, OP(WXPOOL_IOC_INSTALL, &install));
	EXPECT_EQ(0, try_exec(self->x + PG(1), &val));
	EXPECT_EQ(21, val);
	EXPECT_STAT(self->fd, 1, 0, 0, 2, 0);
}

/* All that fits into one call, and a block */
TEST_F(uring, big)
{
	size_t len = WXPOOL_MAX_INSTALL, i;
	char *src = mmap(NULL, len, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *r;
	struct wxpool_free arg = free_of(&pool_nr, 1);
	struct wxpool_install_range range, *many;
	struct wxpool_install vec;

	ASSERT_NE(MAP_FAILED, src);
	wx_pattern(src, len, 1);
	range = wx_bytes(0, src, len, WXPOOL_PROT_R);
	vec = install_of(POOL, &range, 1);
	EXPECT_EQ(0, OP(WXPOOL_IOC_INSTALL, &vec));
	r = wx_view(self->fd, PROT_READ, 0, len / wx_page_size);
	ASSERT_NE(MAP_FAILED, r);
	EXPECT_EQ(0, memcmp(src, r, len));
	EXPECT_EQ(0, OP(WXPOOL_IOC_FREE, &arg));
	EXPECT_EQ(len / wx_page_size, arg.pages_freed);

	many = calloc(WXPOOL_MAX_RANGES, sizeof(*many));
	ASSERT_NE(NULL, many);
	for (i = 0; i < WXPOOL_MAX_RANGES; i++)
		many[i] = wx_bytes(i * 3 * LINE, src + i, 100, WXPOOL_PROT_R);
	vec = install_of(POOL, many, WXPOOL_MAX_RANGES);
	vec.flags = WXPOOL_INSTALL_BLOCKS;
	EXPECT_EQ(0, OP(WXPOOL_IOC_INSTALL, &vec));
	for (i = 0; i < WXPOOL_MAX_RANGES; i++)
		ASSERT_EQ(0, memcmp(src + i, r + i * 3 * LINE, 100));
	EXPECT_EQ(2 * WXPOOL_MAX_RANGES, wx_stat(self->fd).lines);
	EXPECT_EQ(0, OP(WXPOOL_IOC_FREE, &arg));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	free(many);
}

/* ----------------------------------------------------------- what is wrong */

static const unsigned long all_ops[] = {
	WXPOOL_IOC_INFO, WXPOOL_IOC_ALLOC, WXPOOL_IOC_PROTECT, WXPOOL_IOC_FREE,
	WXPOOL_IOC_INSTALL, WXPOOL_IOC_FREEZE,
};

#define NR_OPS	(sizeof(all_ops) / sizeof(all_ops[0]))

union any_arg {
	struct {
		uint32_t size, pool;
		uint64_t context;
	};
	struct wxpool_info info;
	struct wxpool_alloc alloc;
	struct wxpool_protect protect;
	struct wxpool_install install;
	struct wxpool_free free;
	struct wxpool_freeze freeze;
};

/* The element of its vector */
union any_range {
	struct wxpool_alloc_range alloc;
	struct wxpool_protect_range protect;
	struct wxpool_install_range install;
	uint64_t offset;
};

/* Arguments that are right for the operation, if the fixture's state is */
static void good_arg(union any_arg *arg, unsigned long op, union any_range *r)
{
	memset(arg, 0, sizeof(*arg));
	switch (op) {
	case WXPOOL_IOC_INFO:
		arg->size = sizeof(arg->info);
		break;
	case WXPOOL_IOC_FREE:
		arg->free = free_of(&pool_nr, 1);
		break;
	case WXPOOL_IOC_FREEZE:
		arg->size = sizeof(arg->freeze);
		break;
	case WXPOOL_IOC_ALLOC:
		r->alloc = wx_alloc_range(20, 1);
		arg->alloc = alloc_of(POOL, &r->alloc, 1);
		break;
	case WXPOOL_IOC_PROTECT:
		r->protect = wx_protect_range(0, 1, WXPOOL_PROT_X);
		arg->protect = protect_of(POOL, &r->protect, 1);
		break;
	case WXPOOL_IOC_INSTALL:
		r->install = wx_bytes(AT(1, 1), "x", 1, WXPOOL_PROT_X);
		arg->install = install_of(POOL, &r->install, 1);
		break;
	}
}

static bool has_output(unsigned long op)
{
	return op == WXPOOL_IOC_INFO || op == WXPOOL_IOC_FREE;
}

static bool has_ranges(unsigned long op)
{
	return op == WXPOOL_IOC_ALLOC || op == WXPOOL_IOC_PROTECT ||
	       op == WXPOOL_IOC_INSTALL;
}

/* An OPEN page, a line of code, and counts that nothing refused may change */
#define POPULATE() do {							\
	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 1));			\
	ASSERT_EQ(0, wx_install_code(self->fd, POOL, AT(1, 0), 30));	\
} while (0)

#define REFUSED(err, sqe) do {						\
	struct io_uring_sqe _sqe = sqe;					\
									\
	ring_submit(&self->ring, &_sqe);				\
	EXPECT_EQ(err, ring_wait(&self->ring));				\
	EXPECT_SAME_STAT(self->fd, st);					\
} while (0)

TEST_F(uring, malformed_commands)
{
	struct io_uring_sqe sqe;
	union any_range r;
	union any_arg arg;
	struct iovec iov = { &arg, sizeof(arg) };
	struct wx_stat st;
	unsigned int i, bit;
	uint64_t *reserved = (uint64_t *)((char *)&sqe +
					  offsetof(struct io_uring_sqe, cmd)) + 1;

	POPULATE();
	/* One of io_uring's flags is about registered buffers: here is one. */
	ASSERT_EQ(0, io_uring_register_buffers(&self->ring, &iov, 1));
	st = wx_stat(self->fd);
	for (i = 0; i < NR_OPS; i++) {
		good_arg(&arg, all_ops[i], &r);
		for (bit = 0; bit < 64; bit += 7) {
			sqe = ring_cmd(self->fd, all_ops[i], &arg, variant->flags, 0);
			*reserved = 1ULL << bit;
			REFUSED(-EINVAL, sqe);
		}
		/* No flags of io_uring's for commands, known to it or not */
		for (bit = 0; bit < 32; bit += bit < 4 ? 1 : 9) {
			sqe = ring_cmd(self->fd, all_ops[i], &arg, variant->flags, 0);
			sqe.uring_cmd_flags = 1U << bit;
			REFUSED(-EINVAL, sqe);
		}
	}
	/* Numbers that are none, also those that an ioctl would not see */
	good_arg(&arg, WXPOOL_IOC_FREE, &r);
	for (i = 0x7c; i <= 0x93; i++)
		if (i < 0x80 || i > 0x85)
			REFUSED(-ENOTTY, ring_cmd(self->fd, _IO('W', i), &arg,
						  variant->flags, 0));
	REFUSED(-ENOTTY, ring_cmd(self->fd, 0, &arg, variant->flags, 0));
	REFUSED(-ENOTTY, ring_cmd(self->fd, 0x83, &arg, variant->flags, 0));
	REFUSED(-ENOTTY, ring_cmd(self->fd, _IO('X', 0x83), &arg,
				  variant->flags, 0));
	REFUSED(-ENOTTY, ring_cmd(self->fd, _IOWR('W', 0x83, struct wxpool_free),
				  &arg, variant->flags, 0));
	EXPECT_EQ(0, OP(WXPOOL_IOC_FREE, &arg));
}

#define REFUSED_OP(err, op, arg)					\
	REFUSED(err, ring_cmd(self->fd, op, arg, variant->flags, 0))

TEST_F(uring, malformed_arguments)
{
	char *none = mmap(NULL, PG(1), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	union any_arg *arg = mmap(NULL, PG(1), RW, MAP_PRIVATE | MAP_ANONYMOUS,
				  -1, 0);
	void *bad[] = { NULL, none, (void *)~0xfffUL };
	uint64_t id = wx_id(self->fd);
	union any_range r;
	struct wx_stat st;
	unsigned int i, j;

	ASSERT_NE(MAP_FAILED, none);
	ASSERT_NE(MAP_FAILED, (void *)arg);
	POPULATE();
	st = wx_stat(self->fd);
	for (i = 0; i < NR_OPS; i++) {
		for (j = 0; j < 3; j++)
			REFUSED_OP(-EFAULT, all_ops[i], bad[j]);
		good_arg(arg, all_ops[i], &r);
		arg->size = 4;
		REFUSED_OP(-EINVAL, all_ops[i], arg);
		arg->size = PG(1) + 1;
		REFUSED_OP(-E2BIG, all_ops[i], arg);
		good_arg(arg, all_ops[i], &r);
		arg->context = id + 1;
		REFUSED_OP(-ESTALE, all_ops[i], arg);
		/* Outputs that cannot be delivered, of those that have any */
		if (!has_output(all_ops[i]))
			continue;
		good_arg(arg, all_ops[i], &r);
		arg->context = id;
		ASSERT_EQ(0, mprotect(arg, PG(1), PROT_READ));
		REFUSED_OP(-EFAULT, all_ops[i], arg);
		ASSERT_EQ(0, mprotect(arg, PG(1), RW));
	}
	for (i = 0; i < NR_OPS; i++) {
		if (!has_ranges(all_ops[i]))
			continue;
		good_arg(arg, all_ops[i], &r);
		arg->pool = 0;
		REFUSED_OP(-EINVAL, all_ops[i], arg);
		good_arg(arg, all_ops[i], &r);
		arg->alloc.ranges = (uintptr_t)none;
		REFUSED_OP(-EFAULT, all_ops[i], arg);
		good_arg(arg, all_ops[i], &r);
		r.offset += 1;
		REFUSED_OP(-EINVAL, all_ops[i], arg);
		good_arg(arg, all_ops[i], &r);
		r.offset = 1ULL << 62;
		REFUSED_OP(-EOVERFLOW, all_ops[i], arg);
	}
	good_arg(arg, WXPOOL_IOC_INSTALL, &r);
	r.install.source = (uintptr_t)none;
	REFUSED_OP(-EFAULT, WXPOOL_IOC_INSTALL, arg);
	r.install = wx_bytes(AT(1, 0), "x", 1, WXPOOL_PROT_X);
	REFUSED_OP(-EEXIST, WXPOOL_IOC_INSTALL, arg);
	r.install = wx_more("x", 1);
	REFUSED_OP(-EINVAL, WXPOOL_IOC_INSTALL, arg);
	arg->free = free_of(&other_nr, 1);
	REFUSED_OP(-ENOENT, WXPOOL_IOC_FREE, arg);
	arg->free = free_of((void *)none, 1);
	REFUSED_OP(-EFAULT, WXPOOL_IOC_FREE, arg);
	arg->free = free_of(&pool_nr, 1);
	arg->free.flags = WXPOOL_FREE_ALL;
	REFUSED_OP(-EINVAL, WXPOOL_IOC_FREE, arg);
	EXPECT_EQ(0, try_exec(self->x + PG(1), NULL));
	/* All of them do what they are for, with the right id. */
	for (i = 0; i < NR_OPS; i++) {
		good_arg(arg, all_ops[i], &r);
		arg->context = id;
		if (all_ops[i] != WXPOOL_IOC_FREE)
			EXPECT_EQ(0, OP(all_ops[i], arg));
	}
	good_arg(arg, WXPOOL_IOC_FREE, &r);
	EXPECT_EQ(0, OP(WXPOOL_IOC_FREE, arg));
}

/* A descriptor that is not open for both adds and removes nothing this way. */
TEST_F(uring, half_open_descriptor)
{
	const int modes[] = { O_RDONLY, O_WRONLY };
	unsigned int i, m;
	union any_range r;
	union any_arg arg;
	int fd;

	for (m = 0; m < 2; m++) {
		fd = open(WX_DEV, modes[m] | O_CLOEXEC);
		ASSERT_GE(fd, 0);
		for (i = 0; i < NR_OPS; i++) {
			good_arg(&arg, all_ops[i], &r);
			EXPECT_EQ(all_ops[i] == WXPOOL_IOC_INFO ? 0 : -EBADF,
				  ring_op(&self->ring, fd, all_ops[i], &arg,
					  variant->flags)) {
				TH_LOG("op %#lx mode %d", all_ops[i], modes[m]);
			}
			good_arg(&arg, all_ops[i], &r);
			arg.context = wx_id(fd) + 1;
			EXPECT_EQ(-ESTALE, ring_op(&self->ring, fd, all_ops[i],
						   &arg, variant->flags));
		}
		EXPECT_STAT(fd, 0, 0, 0, 0, 0);
		EXPECT_EQ(0, wx_pool_info(fd, 0).frozen);
		close(fd);
	}
}

/* ------------------------------------------------------- links, and many */

/* A chain goes on as long as all is well; the rest of it is cancelled. */
TEST_F(uring, links)
{
	struct wxpool_free f[2] = { free_of(&pool_nr, 1), free_of(&other_nr, 1) };
	struct wxpool_protect_range pr;
	struct wxpool_protect protect;
	struct wxpool_alloc_range r;
	struct wxpool_alloc alloc;
	struct io_uring_sqe sqe;
	struct io_uring_cqe cqe;
	int res[4], fail, i;

	for (fail = 0; fail < 2; fail++) {
		r = wx_alloc_range(0, 2);
		pr = wx_protect_range(0, fail ? 3 : 2, WXPOOL_PROT_X);
		alloc = alloc_of(POOL, &r, 1);
		protect = protect_of(POOL, &pr, 1);
		/* ALLOC, PROTECT (of a page too many), FREE; and one apart */
		sqe = ring_cmd(self->fd, WXPOOL_IOC_ALLOC, &alloc,
			       variant->flags | IOSQE_IO_LINK, 0);
		ring_queue(&self->ring, &sqe);
		sqe = ring_cmd(self->fd, WXPOOL_IOC_PROTECT, &protect,
			       variant->flags | IOSQE_IO_LINK, 1);
		ring_queue(&self->ring, &sqe);
		sqe = ring_cmd(self->fd, WXPOOL_IOC_FREE, &f[0], variant->flags, 2);
		ring_queue(&self->ring, &sqe);
		sqe = ring_cmd(self->fd, WXPOOL_IOC_FREE, &f[1], variant->flags, 3);
		ring_queue(&self->ring, &sqe);
		io_uring_submit(&self->ring);
		for (i = 0; i < 4; i++) {
			ring_wait_cqe(&self->ring, &cqe);
			ASSERT_LT(cqe.user_data, 4);
			res[cqe.user_data] = cqe.res;
		}
		EXPECT_EQ(0, res[0]);
		EXPECT_EQ(fail ? -ENOENT : 0, res[1]);
		EXPECT_EQ(fail ? -ECANCELED : 0, res[2]);
		EXPECT_EQ(-ENOENT, res[3]);
		EXPECT_STAT(self->fd, fail, fail ? 2 : 0, 0, 0, 0);
	}
}

#define MANY	200

/* More at a time than there are workers, and each gets its own result. */
TEST_F(uring, many_in_flight)
{
	static struct wxpool_install_range r[MANY];
	static struct wxpool_install v[MANY];
	static struct wxpool_free f[MANY];
	static uint32_t pools[MANY];
	static int res[MANY];
	static unsigned char code[MANY][LINE];
	struct io_uring_sqe sqe;
	struct io_uring_cqe cqe;
	unsigned int i, round;
	uint32_t val;

	for (round = 0; round < 3; round++) {
		for (i = 0; i < MANY; i++) {
			size_t len = wx_emit(code[i], 1000 + i);

			/* Every tenth wants the line of the one before it. */
			r[i] = wx_bytes(i % 10 == 9 ? r[i - 1].offset : i * LINE,
					code[i], len, WXPOOL_PROT_X);
			v[i] = install_of(1 + i, &r[i], 1);
			sqe = ring_cmd(self->fd, WXPOOL_IOC_INSTALL, &v[i],
				       variant->flags, i);
			ring_queue(&self->ring, &sqe);
		}
		io_uring_submit(&self->ring);
		for (i = 0; i < MANY; i++) {
			ring_wait_cqe(&self->ring, &cqe);
			ASSERT_LT(cqe.user_data, MANY);
			res[cqe.user_data] = cqe.res;
			ASSERT_TRUE(!cqe.res || cqe.res == -EEXIST);
		}
		EXPECT_EQ(MANY - MANY / 10, wx_stat(self->fd).lines);
		for (i = 0; i < MANY; i++) {
			int won = !res[i];

			ASSERT_EQ(1, won + (i % 10 < 8 ? 0 : !res[i ^ 1]));
			if (!won)
				continue;
			ASSERT_EQ(0, try_exec(self->x + r[i].offset, &val));
			ASSERT_EQ(1000 + i, val);
		}
		for (i = 0; i < MANY; i++) {
			pools[i] = 1 + i;
			f[i] = free_of(&pools[i], 1);
			sqe = ring_cmd(self->fd, WXPOOL_IOC_FREE, &f[i],
				       variant->flags, res[i] ? 1 : 0);
			ring_queue(&self->ring, &sqe);
		}
		io_uring_submit(&self->ring);
		for (i = 0; i < MANY; i++) {
			ring_wait_cqe(&self->ring, &cqe);
			ASSERT_EQ(cqe.user_data ? -ENOENT : 0, cqe.res);
		}
		EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
		EXPECT_PACKED(self->fd, 0, 0, 0);
	}
}

/* Keeps the context busy, most of all with FREE and PROTECT of many pages. */
struct holder {
	int fd;
	atomic_bool stop;
	atomic_ulong rounds, failed;
};

static void *holder(void *arg)
{
	struct holder *h = arg;

	while (!h->stop) {
		h->failed += !!wx_alloc(h->fd, 7000, 10000, 512);
		h->failed += !!wx_protect(h->fd, 7000, 10000, 512, WXPOOL_PROT_X);
		h->failed += !!wx_free(h->fd, 7000);
		h->rounds++;
	}
	return NULL;
}

/* What cannot be done at once is done by a worker, and not refused. */
TEST_F(uring, while_others_hold_the_lock)
{
	struct holder h = { .fd = self->fd };
	struct wxpool_install_range r;
	unsigned char code[LINE];
	struct wxpool_install v;
	struct wxpool_free f;
	uint32_t val, pool;
	pthread_t thread;
	unsigned int i;

	ASSERT_EQ(0, pthread_create(&thread, NULL, holder, &h));
	/* Each waits for many of the holder's rounds. */
	for (i = 0; h.rounds < 10 || i < 20; i++) {
		r = wx_bytes(AT(2, i % 64), code, wx_emit(code, i), WXPOOL_PROT_X);
		pool = 1 + i % 5;
		v = install_of(pool, &r, 1);
		ASSERT_EQ(0, OP(WXPOOL_IOC_INSTALL, &v));
		ASSERT_EQ(0, try_exec(self->x + AT(2, i % 64), &val));
		ASSERT_EQ(i, val);
		f = free_of(&pool, 1);
		ASSERT_EQ(0, OP(WXPOOL_IOC_FREE, &f));
	}
	h.stop = true;
	pthread_join(thread, NULL);
	EXPECT_EQ(0, atomic_load(&h.failed));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
}

/* --------------------------------------------------------- who may, and how */

/* In a child: nothing but INFO, by whichever ring and however it names the fd */
static void try_all(struct io_uring *ring, int fd, unsigned int flags)
{
	struct wx_stat st = wx_stat(fd), now;
	uint64_t id = wx_id(fd);
	union any_range r;
	union any_arg arg;
	unsigned int i;
	int want, ret;

	for (i = 0; i < NR_OPS; i++) {
		good_arg(&arg, all_ops[i], &r);
		want = all_ops[i] == WXPOOL_IOC_INFO ? 0 : -EXDEV;
		ret = ring_op(ring, fd, all_ops[i], &arg, flags);
		CHILD_CHECK(ret == want);
		good_arg(&arg, all_ops[i], &r);
		arg.context = id;
		ret = ring_op(ring, fd, all_ops[i], &arg, flags);
		CHILD_CHECK(ret == want);
		arg.context = id + 1;
		ret = ring_op(ring, fd, all_ops[i], &arg, flags);
		CHILD_CHECK(ret == -ESTALE);
	}
	now = wx_stat(fd);
	CHILD_CHECK(!memcmp(&st, &now, sizeof(st)));
}

static void register_fd(struct io_uring *ring, int fd)
{
	CHILD_CHECK(!io_uring_register_files(ring, &fd, 1));
}

TEST_F(uring, not_the_owner)
{
	struct wxpool_free arg = free_of(&pool_nr, 1);
	struct io_uring own, parents;
	pid_t pid;

	POPULATE();
	ASSERT_EQ(0, ring_init(&parents, variant->setup));
	pid = wx_fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		CHILD_CHECK(!ring_init(&own, variant->setup));
		try_all(&own, self->fd, variant->flags);
		/* The owner is whoever calls, not who made the ring. */
		if (!variant->setup)
			try_all(&parents, self->fd, variant->flags);
		register_fd(&own, self->fd);
		{
			struct wxpool_free f = free_of(&pool_nr, 1);

			CHILD_CHECK(ring_op(&own, 0, WXPOOL_IOC_FREE, &f,
					    variant->flags | IOSQE_FIXED_FILE) ==
				    -EXDEV);
		}
		_exit(0);
	}
	EXPECT_EQ(0, wx_wait(pid));
	/* How far it is now, only the child has known. */
	io_uring_queue_exit(&parents);
	EXPECT_STAT(self->fd, 1, 1, 0, 1, 0);
	EXPECT_EQ(0, OP(WXPOOL_IOC_FREE, &arg));
}

/* A registered file is the context as any other reference, also the last. */
TEST_F(uring, registered_file)
{
	long refs = wx_read_long("/sys/module/wxpool/refcnt");
	struct wxpool_alloc_range r = wx_alloc_range(0, 1);
	struct wxpool_alloc vec = alloc_of(POOL, &r, 1);
	struct wxpool_free arg = free_of(&pool_nr, 1);
	unsigned int flags = variant->flags | IOSQE_FIXED_FILE;
	int fd = wx_open();

	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, io_uring_register_files(&self->ring, &fd, 1));
	close(fd);
	EXPECT_EQ(0, ring_op(&self->ring, 0, WXPOOL_IOC_ALLOC, &vec, flags));
	EXPECT_EQ(-EEXIST, ring_op(&self->ring, 0, WXPOOL_IOC_ALLOC, &vec, flags));
	EXPECT_EQ(-EBADF, ring_op(&self->ring, 1, WXPOOL_IOC_FREE, &arg, flags));
	EXPECT_EQ(0, ring_op(&self->ring, 0, WXPOOL_IOC_FREE, &arg, flags));
	ASSERT_EQ(0, io_uring_unregister_files(&self->ring));
	/*
	 * io_uring lets go of the file in its own time, as it may of what was
	 * before. If a worker carried an operation out, a deferred ring's last
	 * work on it waits until the submitter asks for its events.
	 */
	while (wx_read_long("/sys/module/wxpool/refcnt") > refs) {
		io_uring_get_events(&self->ring);
		usleep(1000);
	}
}

/* A ring that is restricted to some operations may have this among them. */
TEST_F(uring, restricted_ring)
{
	struct io_uring_restriction only = {
		.opcode = IORING_RESTRICTION_SQE_OP,
		.sqe_op = IORING_OP_URING_CMD,
	};
	struct wxpool_info info = { .size = sizeof(info) };
	struct io_uring ring;
	int nop;

	for (nop = 0; nop < 2; nop++) {
		RING_OR_SKIP(&ring, variant->setup | IORING_SETUP_R_DISABLED);
		only.sqe_op = nop ? IORING_OP_NOP : IORING_OP_URING_CMD;
		ASSERT_EQ(0, io_uring_register_restrictions(&ring, &only, 1));
		ASSERT_EQ(0, io_uring_enable_rings(&ring));
		/* Flags are restricted, too. */
		EXPECT_EQ(nop ? -EACCES : 0,
			  ring_op(&ring, self->fd, WXPOOL_IOC_INFO, &info, 0));
		io_uring_queue_exit(&ring);
	}
}

/*
 * There is nothing to poll for. Kernels refuse it in such a ring, or complete it
 * as always (7.x); what the completion says must be what has happened.
 */
TEST_F(uring, polled_ring)
{
	struct wxpool_alloc_range r = wx_alloc_range(0, 1);
	struct wxpool_alloc vec = alloc_of(POOL, &r, 1);
	struct io_uring ring;
	int ret;

	RING_OR_SKIP(&ring, variant->setup | IORING_SETUP_IOPOLL);
	ret = ring_op(&ring, self->fd, WXPOOL_IOC_ALLOC, &vec, variant->flags);
	EXPECT_TRUE(!ret || ret == -EOPNOTSUPP || ret == -EINVAL) {
		TH_LOG("%d", ret);
	}
	EXPECT_STAT(self->fd, !ret, !ret, 0, 0, 0);
	EXPECT_EQ(ret ? -ENOENT : 0, wx_free(self->fd, POOL));
}

/* --------------------------------------------------- requests that wait */

/* An INSTALL by a worker that waits for a page which userfaultfd brings */
struct stuck {
	int uffd;
	char *src;
	struct wxpool_install_range r[2];
	struct wxpool_install vec;
};

static int stuck_start(struct stuck *s, struct io_uring *ring, int fd)
{
	struct io_uring_sqe sqe;

	s->uffd = uffd_open(0, 0);
	if (s->uffd < 0)
		return s->uffd;
	s->src = mmap(NULL, PG(2), RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(s->src, 0x11, PG(1));
	if (uffd_register(s->uffd, s->src + PG(1), 1,
			  UFFDIO_REGISTER_MODE_MISSING))
		return -EINVAL;
	s->r[0] = wx_bytes(AT(40, 0), s->src, LINE, WXPOOL_PROT_X);
	s->r[1] = wx_bytes(AT(41, 0), s->src, PG(2), WXPOOL_PROT_X);
	s->vec = install_of(OTHER, s->r, 2);
	sqe = ring_cmd(fd, WXPOOL_IOC_INSTALL, &s->vec, IOSQE_ASYNC, 99);
	ring_submit(ring, &sqe);
	return uffd_wait(s->uffd) == s->src + PG(1) ? 0 : -EIO;
}

#define STUCK_OR_SKIP(s) do {						\
	int _ret = stuck_start(s, &self->ring, self->fd);		\
									\
	if ((s)->uffd < 0)						\
		SKIP(return, "userfaultfd: %s", strerror(-_ret));	\
	ASSERT_EQ(0, _ret);						\
} while (0)

/* Either it was done, or nothing was. */
#define EXPECT_DONE_OR_NOT(ret) do {					\
	if (!(ret)) {							\
		EXPECT_PACKED(self->fd, 4, 2 * (long)PAGE_LINES + 2, 0); \
		EXPECT_EQ(0x11, self->x[PG(40)]);			\
		EXPECT_EQ(0, wx_free(self->fd, OTHER));			\
	} else {							\
		EXPECT_EQ(SIGBUS, try_read(self->x + PG(40)));		\
		EXPECT_EQ(SIGBUS, try_read(self->x + PG(41)));		\
		EXPECT_EQ(-ENOENT, wx_free(self->fd, OTHER));		\
	}								\
	EXPECT_PACKED(self->fd, 1, 1, 0);				\
} while (0)

/* While one waits, others go on, by the same ring and by ioctl. */
TEST_F(uring, one_waits)
{
	char *page = mmap(NULL, PG(1), RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct io_uring_cqe cqe;
	struct wxpool_install_range r;
	struct wxpool_install vec;
	struct stuck s;

	POPULATE();
	STUCK_OR_SKIP(&s);
	r = wx_bytes(AT(2, 0), "x", 1, WXPOOL_PROT_R);
	vec = install_of(POOL, &r, 1);
	EXPECT_EQ(0, OP(WXPOOL_IOC_INSTALL, &vec));
	EXPECT_EQ(0, wx_alloc(self->fd, POOL, 3, 1));
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_EQ(0, wx_install_code(self->fd, POOL, AT(1, 0), 30));
	EXPECT_FALSE(ring_peek(&self->ring, &cqe));
	memset(page, 0x11, PG(1));
	ASSERT_EQ(0, uffd_copy(s.uffd, s.src + PG(1), page));
	ring_wait_cqe(&self->ring, &cqe);
	EXPECT_EQ(99, cqe.user_data);
	EXPECT_EQ(0, cqe.res);
	EXPECT_DONE_OR_NOT(cqe.res);
}

TEST_F(uring, cancelled)
{
	char *page = mmap(NULL, PG(1), RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct io_uring_sqe cancel = {
		.opcode = IORING_OP_ASYNC_CANCEL, .fd = -1, .addr = 99,
		.user_data = 100,
	};
	int res[2] = { 1, 1 }, i;
	struct io_uring_cqe cqe;
	struct stuck s;

	ASSERT_EQ(0, wx_install_code(self->fd, POOL, AT(1, 0), 30));
	STUCK_OR_SKIP(&s);
	ring_submit(&self->ring, &cancel);
	for (i = 0; i < 2; i++) {
		ring_wait_cqe(&self->ring, &cqe);
		ASSERT_TRUE(cqe.user_data == 99 || cqe.user_data == 100);
		res[cqe.user_data == 100] = cqe.res;
		/* It may have been too late to cancel it. */
		if (!i && cqe.user_data == 100)
			uffd_copy(s.uffd, s.src + PG(1), page);
	}
	EXPECT_TRUE(!res[1] || res[1] == -EALREADY || res[1] == -ENOENT);
	EXPECT_TRUE(!res[0] || res[0] == -ECANCELED || res[0] == -EINTR ||
		    res[0] == -EFAULT) {
		TH_LOG("%d", res[0]);
	}
	EXPECT_DONE_OR_NOT(res[0]);
}

/* The ring is closed with a request on its way: it ends one way or the other. */
TEST_F(uring, ring_closed)
{
	long refs = wx_read_long("/sys/module/wxpool/refcnt");
	char *page = mmap(NULL, PG(1), RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct stuck s;

	ASSERT_EQ(0, wx_install_code(self->fd, POOL, AT(1, 0), 30));
	STUCK_OR_SKIP(&s);
	io_uring_queue_exit(&self->ring);
	uffd_copy(s.uffd, s.src + PG(1), page);
	close(s.uffd);
	/* Closed behind our back: wait until the request lets go of the file. */
	close(self->fd);
	munmap(self->x, PG(64));
	while (wx_read_long("/sys/module/wxpool/refcnt") >= refs)
		usleep(1000);
}

/* A process is killed with requests in all stages: nothing is left of it. */
TEST_F(uring, killed)
{
	long refs = wx_read_long("/sys/module/wxpool/refcnt");
	static struct wxpool_alloc_range r[100];
	static struct wxpool_alloc v[100];
	struct io_uring_sqe sqe;
	int ready[2], i, fd;
	struct io_uring ring;
	struct stuck s;
	pid_t pid;

	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		fd = wx_open();
		CHILD_CHECK(fd >= 0 && !ring_init(&ring, variant->setup));
		if (stuck_start(&s, &ring, fd) && s.uffd < 0)
			_exit(4);
		for (i = 0; i < 100; i++) {
			r[i] = wx_alloc_range(100 + i * 64, 64);
			v[i] = alloc_of(1 + i, &r[i], 1);
			sqe = ring_cmd(fd, WXPOOL_IOC_ALLOC, &v[i], variant->flags, i);
			ring_queue(&ring, &sqe);
		}
		wx_step(ready[1]);
		io_uring_submit(&ring);
		for (;;)
			pause();
	}
	close(ready[1]);
	if (wx_wait_step(ready[0])) {
		EXPECT_EQ(4, wx_wait(pid));
		SKIP(return, "no userfaultfd");
	}
	kill(pid, SIGKILL);
	EXPECT_EQ(256 + SIGKILL, wx_wait(pid));
	while (wx_read_long("/sys/module/wxpool/refcnt") > refs)
		usleep(1000);
}

TEST_HARNESS_MAIN
