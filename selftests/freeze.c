// SPDX-License-Identifier: GPL-2.0
/*
 * FREEZE: from then on a context gains nothing. What is there stays, can be
 * mapped, run and freed.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "wxpool_util.h"

#define POOL	1
#define OTHER	2

#define AT(page, line)	((uint64_t)PG(page) + (line) * LINE)

/* Pages 0 to 2: OPEN, sealed R, sealed X; 3 to 5: packed X, R, XO */
static int populate(int fd)
{
	return wx_alloc(fd, POOL, 0, 3) ||
	       wx_protect(fd, POOL, 1, 1, WXPOOL_PROT_R) ||
	       wx_protect(fd, POOL, 2, 1, WXPOOL_PROT_X) ||
	       wx_install_code(fd, POOL, AT(3, 0), 60) ||
	       wx_install_code(fd, OTHER, AT(3, 1), 61) ||
	       wx_install(fd, OTHER, AT(4, 0), "data", 4, WXPOOL_PROT_R) ||
	       wx_install(fd, OTHER, AT(5, 0), "code", 4, WXPOOL_PROT_XO);
}

/* Each operation that makes something, in each way that would work */
#define EXPECT_FROZEN() do {						\
	struct wx_stat _st = wx_stat(self->fd);				\
	uint32_t _pool, _prot;						\
	size_t _page;							\
									\
	EXPECT_EQ(1, wx_pool_info(self->fd, 0).frozen);			\
	for (_pool = POOL; _pool <= 3; _pool++) {			\
		EXPECT_EQ(-EROFS, wx_alloc(self->fd, _pool, 20, 1));	\
		for (_page = 0; _page < 8; _page++)			\
			EXPECT_EQ(-EROFS,				\
				  wx_install_code(self->fd, _pool,	\
						  AT(_page, 9), 1));	\
	}								\
	EXPECT_EQ(-EROFS, wx_install(self->fd, POOL, AT(4, 9), "x", 1,	\
				     WXPOOL_PROT_R));			\
	for (_prot = WXPOOL_PROT_R; _prot <= WXPOOL_PROT_XO; _prot++)	\
		EXPECT_EQ(-EROFS,					\
			  wx_protect(self->fd, POOL, 0, 1, _prot));	\
	EXPECT_SAME_STAT(self->fd, _st);				\
	EXPECT_EQ(SIGBUS, try_read(self->r + PG(20)));			\
} while (0)

TEST_F(packed, one_way)
{
	struct wxpool_install_range block = wx_bytes(8 << 20, "x", 1,
						     WXPOOL_PROT_X);
	struct wxpool_free arg;
	struct wxpool_info info;
	char *w, *x, *r;
	uint32_t val;

	ASSERT_EQ(0, populate(self->fd));
	w = wx_view(self->fd, RW, 0, 5);
	ASSERT_NE(MAP_FAILED, w);
	EXPECT_EQ(0, try_write(w, 7));
	EXPECT_STAT_XO(self->fd, 2, 1, 2, 2, 1, 0);
	EXPECT_EQ(0, wx_pool_info(self->fd, 0).frozen);
	ASSERT_EQ(0, wx_freeze(self->fd));
	EXPECT_STAT_XO(self->fd, 2, 1, 2, 2, 1, 0);
	EXPECT_PACKED(self->fd, 3, 4, 0);
	EXPECT_FROZEN();
	EXPECT_EQ(-EROFS, wx_install_flags(self->fd, POOL, &block, 1,
					   WXPOOL_INSTALL_BLOCKS));
	/* Twice is once. */
	EXPECT_EQ(0, wx_freeze(self->fd));
	EXPECT_FROZEN();

	/* What is there can be used, by views of before and of now. */
	EXPECT_EQ(0, try_write(w, 8));
	EXPECT_EQ(0, try_exec(self->x + AT(3, 0), &val));
	EXPECT_EQ(60, val);
	x = wx_view(self->fd, RX, 0, 5);
	r = wx_view(self->fd, PROT_READ, 0, 5);
	w = wx_view(self->fd, RW, 0, 5);
	ASSERT_NE(MAP_FAILED, x);
	ASSERT_NE(MAP_FAILED, r);
	ASSERT_NE(MAP_FAILED, w);
	EXPECT_EQ(0, try_exec(x + AT(3, 1), &val));
	EXPECT_EQ(61, val);
	EXPECT_EQ(0, memcmp(r + PG(4), "data", 4));
	EXPECT_EQ(8, w[0]);
	EXPECT_EQ(0, try_write(w, 9));
	EXPECT_EQ(0, wx_info(self->fd, &info));
	EXPECT_EQ(WXPOOL_ABI_VERSION, info.abi_version);

	/* And freed, which unfreezes nothing. */
	EXPECT_EQ(-ENOENT, wx_free(self->fd, 3));
	EXPECT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(3, arg.pages_freed);
	EXPECT_EQ(SIGTRAP, try_exec(x + AT(3, 0), NULL));
	EXPECT_EQ(0, try_exec(x + AT(3, 1), NULL));
	EXPECT_FROZEN();
	EXPECT_EQ(0, wx_free_out(self->fd, OTHER, &arg));
	EXPECT_EQ(3, arg.pages_freed);
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_PACKED(self->fd, 0, 0, 0);
	EXPECT_FROZEN();
}

TEST_F(packed, freeze_of_nothing)
{
	ASSERT_EQ(0, wx_freeze(self->fd));
	EXPECT_FROZEN();
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_EQ(SIGBUS, try_read(self->x));
}

/* FREE in each of its forms */
TEST_F(packed, free_of_all)
{
	const uint32_t pools[] = { OTHER, POOL };
	uint32_t flags;
	int fd;

	for (flags = 0; flags <= WXPOOL_FREE_REVOKE; flags += WXPOOL_FREE_REVOKE) {
		fd = wx_open();
		ASSERT_GE(fd, 0);
		ASSERT_EQ(0, populate(fd));
		ASSERT_EQ(0, wx_freeze(fd));
		EXPECT_EQ(0, wx_free_all(fd, flags));
		EXPECT_STAT(fd, 0, 0, 0, 0, 0);
		EXPECT_EQ(0, wx_free_all(fd, flags));
		EXPECT_EQ(-EROFS, wx_alloc(fd, POOL, 0, 1));
	}
	ASSERT_EQ(0, populate(self->fd));
	ASSERT_EQ(0, wx_freeze(self->fd));
	EXPECT_EQ(0, wx_free_many(self->fd, pools, 2));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_FROZEN();
}

TEST_F(packed, malformed)
{
	struct wxpool_freeze arg = { .size = sizeof(arg) };
	unsigned int i;

	for (i = 0; i < 32; i++) {
		arg.flags = 1U << i;
		EXPECT_EQ(-EINVAL, wx_ioctl(self->fd, WXPOOL_IOC_FREEZE, &arg));
	}
	EXPECT_EQ(0, wx_pool_info(self->fd, 0).frozen);
	EXPECT_EQ(0, populate(self->fd));
}

/* Other contexts of the same process are not touched. */
TEST_F(packed, this_context_only)
{
	int other = wx_open();

	ASSERT_GE(other, 0);
	ASSERT_EQ(0, wx_freeze(self->fd));
	EXPECT_EQ(0, populate(other));
	EXPECT_FROZEN();
	/* The same context by another number is the same. */
	close(other);
	other = dup(self->fd);
	EXPECT_EQ(-EROFS, wx_alloc(other, POOL, 0, 1));
}

TEST_F(packed, not_the_owner)
{
	pid_t pid;

	ASSERT_EQ(0, populate(self->fd));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		CHILD_CHECK(wx_freeze(self->fd) == -EXDEV);
		_exit(0);
	}
	EXPECT_EQ(0, wx_wait(pid));
	EXPECT_EQ(0, wx_alloc(self->fd, POOL, 20, 1));
	ASSERT_EQ(0, wx_freeze(self->fd));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		CHILD_CHECK(wx_freeze(self->fd) == -EXDEV);
		CHILD_CHECK(wx_alloc(self->fd, POOL, 30, 1) == -EXDEV);
		CHILD_CHECK(wx_install_code(self->fd, POOL, 0, 1) == -EXDEV);
		CHILD_CHECK(!try_exec(self->x + AT(3, 0), NULL));
		_exit(0);
	}
	EXPECT_EQ(0, wx_wait(pid));
}

/*
 * With a child that inherited: what the owner frees stays for the child, and the
 * line that shares its page with another pool's for the owner, until it ends.
 */
TEST_F(packed, free_with_a_child)
{
	struct wxpool_free arg;
	uint32_t val;
	pid_t pid;
	int go[2];

	ASSERT_EQ(0, pipe(go));
	ASSERT_EQ(0, populate(self->fd));
	ASSERT_EQ(0, wx_freeze(self->fd));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		close(go[1]);
		wx_wait_step(go[0]);
		CHILD_CHECK(!try_exec(self->x + AT(3, 0), &val) && val == 60);
		CHILD_CHECK(!try_exec(self->x + AT(3, 1), &val) && val == 61);
		_exit(0);
	}
	EXPECT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(0, arg.pages_freed);
	EXPECT_EQ(3, arg.pages_kept);
	EXPECT_EQ(1, arg.lines_kept);
	EXPECT_EQ(SIGBUS, try_read(self->r + PG(2)));
	EXPECT_EQ(0, try_exec(self->x + AT(3, 0), &val));
	EXPECT_EQ(60, val);
	EXPECT_EQ(0, try_exec(self->x + AT(3, 1), NULL));
	EXPECT_FROZEN();
	close(go[1]);
	EXPECT_EQ(0, wx_wait(pid));
	EXPECT_EQ(SIGTRAP, try_exec(self->x + AT(3, 0), NULL));
	EXPECT_EQ(0, try_exec(self->x + AT(3, 1), NULL));
	EXPECT_FROZEN();
	EXPECT_EQ(0, wx_free(self->fd, OTHER));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
}

struct maker {
	int fd;
	atomic_bool frozen, stop;
	atomic_ulong made, late, refused;
};

/* Makes things of all sorts, and notes what came after FREEZE had returned. */
static void *maker(void *arg)
{
	struct maker *m = arg;
	uint32_t pool = (uint32_t)(uintptr_t)&pool | 1;
	size_t page = gettid() % 1000 * 1000 + 1000, i;
	bool before;
	int ret;

	for (i = 0; !m->stop; i++) {
		before = m->frozen;
		if (i % 2)
			ret = wx_install_code(m->fd, pool, AT(page, i), 1);
		else
			ret = wx_alloc(m->fd, pool, page + 500 + i, 1);
		m->made += !ret;
		m->late += before && ret != -EROFS;
		m->refused += ret == -EROFS;
		if (i % 100 == 99) {
			wx_free(m->fd, pool);
			i = 0;
		}
	}
	return NULL;
}

TEST_F(packed, while_others_make)
{
	struct maker m = { .fd = self->fd };
	pthread_t threads[3];
	int i;

	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, maker, &m));
	while (m.made < 300)
		sched_yield();
	ASSERT_EQ(0, wx_freeze(self->fd));
	m.frozen = true;
	while (m.refused < 300)
		sched_yield();
	m.stop = true;
	for (i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	EXPECT_EQ(0, atomic_load(&m.late));
}

TEST_HARNESS_MAIN
