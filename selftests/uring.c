// SPDX-License-Identifier: GPL-2.0
/*
 * The operations as IORING_OP_URING_CMD: the same structures and results as by
 * ioctl(), whoever carries them out: the submitter, a worker, or the kernel's
 * own submission thread. And what goes wrong goes wrong as it does there.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/prctl.h>

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

FIXTURE_VARIANT_ADD(uring, large_sqes) {
	.setup = IORING_SETUP_SQE128,
};

FIXTURE_SETUP(uring)
{
	self->fd = wx_open();
	if (self->fd == -ENOENT)
		SKIP(return, "no " WX_DEV ": modprobe wxpool first");
	ASSERT_GE(self->fd, 0);
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

static struct wxpool_vec vec_of(uint32_t pool, struct wxpool_range *r, uint32_t nr)
{
	return (struct wxpool_vec) {
		.size = sizeof(struct wxpool_vec), .pool = pool,
		.ranges = (uintptr_t)r, .nr_ranges = nr,
	};
}

static struct wxpool_free free_of(uint32_t pool)
{
	return (struct wxpool_free) {
		.size = sizeof(struct wxpool_free), .pool = pool,
	};
}

/* -------------------------------------------------------- each operation */

TEST_F(uring, life)
{
	struct wxpool_freeze freeze = { .size = sizeof(freeze) };
	struct wxpool_info info = { .size = sizeof(info) };
	struct wxpool_free arg = free_of(POOL);
	struct wxpool_range r[2];
	unsigned char code[LINE];
	struct wxpool_vec vec;
	uint32_t val;

	EXPECT_EQ(0, OP(WXPOOL_IOC_INFO, &info));
	EXPECT_EQ(WXPOOL_ABI_VERSION, info.abi_version);
	EXPECT_EQ(wx_page_size, info.page_size);

	/* Views in place, which are in the submitter's address space */
	r[0] = wx_range(0, 2, 0, self->win);
	r[1] = wx_range(5, 1, 0, NULL);
	vec = vec_of(POOL, r, 2);
	vec.nr_mapped = vec.map_error = 77;
	EXPECT_EQ(0, OP(WXPOOL_IOC_ALLOC, &vec));
	EXPECT_EQ(2, vec.nr_mapped);
	EXPECT_EQ(0, vec.map_error);
	EXPECT_STAT(self->fd, 1, 3, 0, 0, 0);
	EXPECT_EQ(RW, wx_vma_prot(self->win));
	wx_emit_pages(self->win, 2, 10);

	r[0].prot = WXPOOL_PROT_X;
	r[1].prot = WXPOOL_PROT_R;
	EXPECT_EQ(0, OP(WXPOOL_IOC_PROTECT, &vec));
	EXPECT_STAT(self->fd, 1, 0, 1, 2, 0);
	EXPECT_EQ(RX, wx_vma_prot(self->win));
	EXPECT_EQ(0, try_exec(self->win + PG(1), &val));
	EXPECT_EQ(11, val);

	r[0] = wx_bytes(AT(10, 3), code, wx_emit(code, 12), WXPOOL_PROT_X);
	r[1] = wx_bytes(AT(11, 0), "data", 4, WXPOOL_PROT_R);
	vec = vec_of(OTHER, r, 2);
	EXPECT_EQ(0, OP(WXPOOL_IOC_INSTALL, &vec));
	EXPECT_STAT(self->fd, 2, 0, 2, 3, 0);
	EXPECT_PACKED(self->fd, 2, 2, 0);
	EXPECT_EQ(0, try_exec(self->x + AT(10, 3), &val));
	EXPECT_EQ(12, val);

	EXPECT_EQ(0, OP(WXPOOL_IOC_FREEZE, &freeze));
	EXPECT_EQ(-EROFS, OP(WXPOOL_IOC_INSTALL, &vec));
	r[0] = wx_range(30, 1, 0, NULL);
	vec = vec_of(OTHER, r, 1);
	EXPECT_EQ(-EROFS, OP(WXPOOL_IOC_ALLOC, &vec));
	r[0] = wx_range(0, 1, WXPOOL_PROT_X, NULL);
	EXPECT_EQ(-EROFS, OP(WXPOOL_IOC_PROTECT, &vec));
	EXPECT_EQ(0, OP(WXPOOL_IOC_FREE, &arg));
	EXPECT_EQ(3, arg.nr_freed);
	arg = free_of(OTHER);
	EXPECT_EQ(0, OP(WXPOOL_IOC_FREE, &arg));
	EXPECT_EQ(2, arg.nr_freed);
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_EQ(SIGBUS, try_exec(self->win, NULL));
}

/* With pages kept for a child, INSTALL has more to do than it can at once. */
TEST_F(uring, with_a_child)
{
	struct wxpool_free arg = free_of(POOL);
	unsigned char code[LINE];
	struct wxpool_range r;
	struct wxpool_vec vec;
	uint32_t val;
	int go[2];
	pid_t pid;

	ASSERT_EQ(0, pipe(go));
	r = wx_bytes(AT(1, 0), code, wx_emit(code, 20), WXPOOL_PROT_X);
	vec = vec_of(POOL, &r, 1);
	ASSERT_EQ(0, OP(WXPOOL_IOC_INSTALL, &vec));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(go[1]);
		wx_wait_step(go[0]);
		CHILD_CHECK(!try_exec(self->x + PG(1), &val) && val == 20);
		_exit(0);
	}
	EXPECT_EQ(0, OP(WXPOOL_IOC_FREE, &arg));
	EXPECT_EQ(1, arg.nr_kept);
	wx_emit(code, 21);
	EXPECT_EQ(0, OP(WXPOOL_IOC_INSTALL, &vec));
	EXPECT_EQ(0, try_exec(self->x + PG(1), &val));
	EXPECT_EQ(21, val);
	EXPECT_STAT(self->fd, 1, 0, 0, 1, 1);
	close(go[1]);
	EXPECT_EQ(0, wx_wait(pid));
	r.offset = AT(2, 0);
	EXPECT_EQ(0, OP(WXPOOL_IOC_INSTALL, &vec));
	EXPECT_STAT(self->fd, 1, 0, 0, 2, 0);
}

/* All that fits into one call, and a huge page */
TEST_F(uring, big)
{
	size_t len = WXPOOL_MAX_INSTALL, i;
	char *src = mmap(NULL, len, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *r;
	struct wxpool_free arg = free_of(POOL);
	struct wxpool_range range, *many;
	struct wxpool_vec vec;

	ASSERT_NE(MAP_FAILED, src);
	wx_pattern(src, len, 1);
	range = wx_bytes(0, src, len, WXPOOL_PROT_R);
	vec = vec_of(POOL, &range, 1);
	EXPECT_EQ(0, OP(WXPOOL_IOC_INSTALL, &vec));
	r = wx_view(self->fd, PROT_READ, 0, len / wx_page_size);
	ASSERT_NE(MAP_FAILED, r);
	EXPECT_EQ(0, memcmp(src, r, len));
	EXPECT_EQ(0, OP(WXPOOL_IOC_FREE, &arg));
	EXPECT_EQ(len / wx_page_size, arg.nr_freed);

	many = calloc(WXPOOL_MAX_RANGES, sizeof(*many));
	ASSERT_NE(NULL, many);
	for (i = 0; i < WXPOOL_MAX_RANGES; i++)
		many[i] = wx_bytes(i * 3 * LINE, src + i, 100, WXPOOL_PROT_R);
	vec = vec_of(POOL, many, WXPOOL_MAX_RANGES);
	vec.flags = WXPOOL_INSTALL_HUGE;
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
	uint32_t size;
	struct wxpool_info info;
	struct wxpool_vec vec;
	struct wxpool_free free;
	struct wxpool_freeze freeze;
};

/* Arguments that are right for the operation, if the fixture's state is */
static void good_arg(union any_arg *arg, unsigned long op, struct wxpool_range *r)
{
	memset(arg, 0, sizeof(*arg));
	switch (op) {
	case WXPOOL_IOC_INFO:
		arg->size = sizeof(arg->info);
		break;
	case WXPOOL_IOC_FREE:
		arg->free = free_of(POOL);
		break;
	case WXPOOL_IOC_FREEZE:
		arg->size = sizeof(arg->freeze);
		break;
	case WXPOOL_IOC_ALLOC:
		*r = wx_range(20, 1, 0, NULL);
		arg->vec = vec_of(POOL, r, 1);
		break;
	case WXPOOL_IOC_PROTECT:
		*r = wx_range(0, 1, WXPOOL_PROT_X, NULL);
		arg->vec = vec_of(POOL, r, 1);
		break;
	case WXPOOL_IOC_INSTALL:
		*r = wx_bytes(AT(1, 1), "x", 1, WXPOOL_PROT_X);
		arg->vec = vec_of(POOL, r, 1);
		break;
	}
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
	struct wxpool_range r;
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

TEST_F(uring, malformed_arguments)
{
	char *none = mmap(NULL, PG(1), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	union any_arg *arg = mmap(NULL, PG(1), RW, MAP_PRIVATE | MAP_ANONYMOUS,
				  -1, 0);
	void *bad[] = { NULL, none, (void *)~0xfffUL };
	struct wxpool_range r;
	struct wx_stat st;
	unsigned int i, j;

	ASSERT_NE(MAP_FAILED, none);
	ASSERT_NE(MAP_FAILED, (void *)arg);
	POPULATE();
	st = wx_stat(self->fd);
	for (i = 0; i < NR_OPS; i++) {
		for (j = 0; j < 3; j++)
			REFUSED(-EFAULT, ring_cmd(self->fd, all_ops[i], bad[j],
						  variant->flags, 0));
		good_arg(arg, all_ops[i], &r);
		arg->size = 4;
		REFUSED(-EINVAL, ring_cmd(self->fd, all_ops[i], arg,
					  variant->flags, 0));
		arg->size = PG(1) + 1;
		REFUSED(-E2BIG, ring_cmd(self->fd, all_ops[i], arg,
					 variant->flags, 0));
		/* Outputs that cannot be delivered, of those that have any */
		good_arg(arg, all_ops[i], &r);
		if (all_ops[i] == WXPOOL_IOC_INSTALL ||
		    all_ops[i] == WXPOOL_IOC_FREEZE)
			continue;
		ASSERT_EQ(0, mprotect(arg, PG(1), PROT_READ));
		REFUSED(-EFAULT, ring_cmd(self->fd, all_ops[i], arg,
					  variant->flags, 0));
		ASSERT_EQ(0, mprotect(arg, PG(1), RW));
	}
	for (i = 0; i < NR_OPS; i++) {
		good_arg(arg, all_ops[i], &r);
		if (all_ops[i] == WXPOOL_IOC_FREE || all_ops[i] == WXPOOL_IOC_INFO ||
		    all_ops[i] == WXPOOL_IOC_FREEZE)
			continue;
		arg->vec.pool = 0;
		REFUSED(-EINVAL, ring_cmd(self->fd, all_ops[i], arg,
					  variant->flags, 0));
		good_arg(arg, all_ops[i], &r);
		arg->vec.ranges = (uintptr_t)none;
		REFUSED(-EFAULT, ring_cmd(self->fd, all_ops[i], arg,
					  variant->flags, 0));
		good_arg(arg, all_ops[i], &r);
		r.offset += 1;
		REFUSED(-EINVAL, ring_cmd(self->fd, all_ops[i], arg,
					  variant->flags, 0));
		good_arg(arg, all_ops[i], &r);
		r.offset = 1ULL << 62;
		REFUSED(-EOVERFLOW, ring_cmd(self->fd, all_ops[i], arg,
					     variant->flags, 0));
	}
	good_arg(arg, WXPOOL_IOC_INSTALL, &r);
	r.addr = (uintptr_t)none;
	REFUSED(-EFAULT, ring_cmd(self->fd, WXPOOL_IOC_INSTALL, arg,
				  variant->flags, 0));
	r = wx_bytes(AT(1, 0), "x", 1, WXPOOL_PROT_X);
	REFUSED(-EEXIST, ring_cmd(self->fd, WXPOOL_IOC_INSTALL, arg,
				  variant->flags, 0));
	arg->free = free_of(OTHER);
	REFUSED(-ENOENT, ring_cmd(self->fd, WXPOOL_IOC_FREE, arg,
				  variant->flags, 0));
	EXPECT_EQ(0, try_exec(self->x + PG(1), NULL));
}

/* ------------------------------------------------------- links, and many */

/* A chain goes on as long as all is well; the rest of it is cancelled. */
TEST_F(uring, links)
{
	struct wxpool_range r[2];
	struct wxpool_free f[2] = { free_of(POOL), free_of(OTHER) };
	struct wxpool_vec v[2];
	struct io_uring_sqe sqe;
	struct io_uring_cqe cqe;
	int res[4], fail, i;

	for (fail = 0; fail < 2; fail++) {
		r[0] = wx_range(0, 2, 0, NULL);
		r[1] = wx_range(0, fail ? 3 : 2, WXPOOL_PROT_X, NULL);
		v[0] = vec_of(POOL, &r[0], 1);
		v[1] = vec_of(POOL, &r[1], 1);
		/* ALLOC, PROTECT (of a page too many), FREE; and one apart */
		sqe = ring_cmd(self->fd, WXPOOL_IOC_ALLOC, &v[0],
			       variant->flags | IOSQE_IO_LINK, 0);
		ring_queue(&self->ring, &sqe);
		sqe = ring_cmd(self->fd, WXPOOL_IOC_PROTECT, &v[1],
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
	static struct wxpool_range r[MANY];
	static struct wxpool_vec v[MANY];
	static struct wxpool_free f[MANY];
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
			v[i] = vec_of(1 + i, &r[i], 1);
			sqe = ring_cmd(self->fd, WXPOOL_IOC_INSTALL, &v[i],
				       variant->flags, i);
			ring_queue(&self->ring, &sqe);
		}
		io_uring_submit(&self->ring);
		for (i = 0; i < MANY; i++) {
			ring_wait_cqe(&self->ring, &cqe);
			ASSERT_LT(cqe.user_data, MANY);
			f[cqe.user_data] = free_of(1 + cqe.user_data);
			f[cqe.user_data].nr_freed = cqe.res;
			ASSERT_TRUE(!cqe.res || cqe.res == -EEXIST);
		}
		EXPECT_EQ(MANY - MANY / 10, wx_stat(self->fd).lines);
		for (i = 0; i < MANY; i++) {
			int won = !f[i].nr_freed;

			ASSERT_EQ(1, won + (i % 10 < 8 ? 0 : !f[i ^ 1].nr_freed));
			if (!won)
				continue;
			ASSERT_EQ(0, try_exec(self->x + r[i].offset, &val));
			ASSERT_EQ(1000 + i, val);
		}
		for (i = 0; i < MANY; i++) {
			sqe = ring_cmd(self->fd, WXPOOL_IOC_FREE, &f[i],
				       variant->flags, f[i].nr_freed ? 1 : 0);
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
	unsigned char code[LINE];
	struct wxpool_range r;
	struct wxpool_free f;
	struct wxpool_vec v;
	pthread_t thread;
	unsigned int i;
	uint32_t val;

	ASSERT_EQ(0, pthread_create(&thread, NULL, holder, &h));
	for (i = 0; h.rounds < 20 || i < 100; i++) {
		r = wx_bytes(AT(2, i % 64), code, wx_emit(code, i), WXPOOL_PROT_X);
		v = vec_of(1 + i % 5, &r, 1);
		ASSERT_EQ(0, OP(WXPOOL_IOC_INSTALL, &v));
		ASSERT_EQ(0, try_exec(self->x + AT(2, i % 64), &val));
		ASSERT_EQ(i, val);
		f = free_of(1 + i % 5);
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
	struct wxpool_range r;
	union any_arg arg;
	unsigned int i;
	int want, ret;

	for (i = 0; i < NR_OPS; i++) {
		good_arg(&arg, all_ops[i], &r);
		want = all_ops[i] == WXPOOL_IOC_INFO ? 0 : -EXDEV;
		ret = ring_op(ring, fd, all_ops[i], &arg, flags);
		CHILD_CHECK(ret == want);
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
	struct wxpool_free arg = free_of(POOL);
	struct io_uring own;
	pid_t pid;

	POPULATE();
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		CHILD_CHECK(!ring_init(&own, variant->setup));
		try_all(&own, self->fd, variant->flags);
		/* The owner is whoever calls, not who made the ring. */
		if (!variant->setup)
			try_all(&self->ring, self->fd, variant->flags);
		register_fd(&own, self->fd);
		{
			struct wxpool_free f = free_of(POOL);

			CHILD_CHECK(ring_op(&own, 0, WXPOOL_IOC_FREE, &f,
					    variant->flags | IOSQE_FIXED_FILE) ==
				    -EXDEV);
		}
		_exit(0);
	}
	EXPECT_EQ(0, wx_wait(pid));
	EXPECT_STAT(self->fd, 1, 1, 0, 1, 0);
	EXPECT_EQ(0, OP(WXPOOL_IOC_FREE, &arg));
}

/* A registered file is the context as any other reference, also the last. */
TEST_F(uring, registered_file)
{
	long refs = wx_read_long("/sys/module/wxpool/refcnt");
	struct wxpool_range r = wx_range(0, 1, 0, NULL);
	struct wxpool_vec vec = vec_of(POOL, &r, 1);
	struct wxpool_free arg = free_of(POOL);
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
	/* Let go of by io_uring in its own time, as may be what was before it */
	while (wx_read_long("/sys/module/wxpool/refcnt") > refs)
		usleep(1000);
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
	struct wxpool_range r = wx_range(0, 1, 0, NULL);
	struct wxpool_vec vec = vec_of(POOL, &r, 1);
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
	struct wxpool_range r[2];
	struct wxpool_vec vec;
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
	s->vec = vec_of(OTHER, s->r, 2);
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
	struct wxpool_range r;
	struct wxpool_vec vec;
	struct stuck s;

	POPULATE();
	STUCK_OR_SKIP(&s);
	r = wx_bytes(AT(2, 0), "x", 1, WXPOOL_PROT_R);
	vec = vec_of(POOL, &r, 1);
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
	static struct wxpool_range r[100];
	static struct wxpool_vec v[100];
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
			r[i] = wx_range(100 + i * 64, 64, 0, NULL);
			v[i] = vec_of(1 + i, &r[i], 1);
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
