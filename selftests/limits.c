// SPDX-License-Identifier: GPL-2.0
/*
 * What a context, a user and a memory cgroup may hold; that all of it counts, also
 * what the module needs for it; that a refusal leaves nothing behind, and that all is
 * given back.
 */
#include <sys/ptrace.h>
#include <sys/sysinfo.h>

#include "wxpool_fork.h"
#include "wxpool_group.h"

#define POOL		1
#define MIB		(1L << 20)
#define CONTEXT_PARAM	WX_PARAM_DIR "max_bytes_per_context"
#define USER_PARAM	WX_PARAM_DIR "max_bytes_per_user"

/* Two users that nothing else runs as */
#define USER_A		54321
#define USER_B		54322

/* How much of a limit of some hundred pages its last page may not fit into */
#define SLACK		(64 * 1024)

/* The limits are the module's: put back as they were, also after a failure. */
FIXTURE(limit) {
	long context, user;
};

static int set_limits(long context, long user)
{
	char text[32];
	int ret;

	snprintf(text, sizeof(text), "%ld", context);
	ret = wx_write_file(CONTEXT_PARAM, text);
	snprintf(text, sizeof(text), "%ld", user);
	return ret ? ret : wx_write_file(USER_PARAM, text);
}

FIXTURE_SETUP(limit)
{
	if (access(WX_DEV, F_OK))
		SKIP(return, "no " WX_DEV ": modprobe wxpool first");
	if (geteuid())
		SKIP(return, "only root can change the limits");
	NODE_OR_SKIP();
	self->context = wx_read_long(CONTEXT_PARAM);
	self->user = wx_read_long(USER_PARAM);
	ASSERT_GT(self->context, 0);
	ASSERT_GT(self->user, 0);
}

FIXTURE_TEARDOWN(limit)
{
	if (self->context > 0)
		set_limits(self->context, self->user);
}

/* Runs a function as a user, in a process of its own; its status */
static int as_user(uid_t uid, void (*fn)(void))
{
	pid_t pid = fork();

	if (pid)
		return pid < 0 ? -errno : wx_wait(pid);
	CHILD_CHECK(!setresuid(uid, uid, uid));
	fn();
	_exit(0);
}

/* What INFO says of a context must be within its limits. */
static bool within_limits(int fd)
{
	struct wxpool_info info;

	return !wx_info(fd, &info) && info.charged <= info.context_limit &&
	       info.charged <= info.user_charged && info.user_charged <= info.user_limit;
}

/* Takes pages, each for a pool of its own, until there are no more: how many */
static size_t take_all(int fd, uint32_t pool, size_t page)
{
	size_t nr;
	int ret;

	for (nr = 0; !(ret = wx_alloc(fd, pool + nr, page + nr, 1)); nr++)
		CHILD_CHECK(within_limits(fd));
	CHILD_CHECK(ret == -ENOSPC && within_limits(fd));
	return nr;
}

/* An operation that is one page too many: it leaves the counts, and no pool. */
#define CHECK_FULL(fd, op) do {						\
	struct wx_stat _before = wx_stat(fd), _after;			\
									\
	CHILD_CHECK((op) == -ENOSPC);					\
	_after = wx_stat(fd);						\
	CHILD_CHECK(wx_same_counts(&_before, &_after));			\
	CHILD_CHECK(within_limits(fd));					\
} while (0)

/* --------------------------------------------------------------- defaults */

/* A quarter of the machine's memory, if nothing else was asked for */
TEST_F(limit, default_limits)
{
	struct wxpool_info info;
	struct sysinfo machine;
	uint64_t total;
	int fd = wx_open();

	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, sysinfo(&machine));
	ASSERT_EQ(0, wx_info(fd, &info));
	total = (uint64_t)machine.totalram * machine.mem_unit;
	EXPECT_EQ(self->context, (long)info.context_limit);
	EXPECT_EQ(self->user, (long)info.user_limit);
	EXPECT_LE(info.user_limit, total / 4);
	EXPECT_GE(info.user_limit, total / 4 - MIB);
	EXPECT_EQ(info.user_limit, info.context_limit);
	EXPECT_EQ(info.context_limit, wx_stat(fd).limit);
}

/* ---------------------------------------------------------------- contexts */

static void context_of_a_mib(void)
{
	const size_t pages = MIB / wx_page_size;
	struct wxpool_alloc_range r[3];
	struct wxpool_info info;
	int fd = wx_open();
	size_t nr, i;

	CHILD_CHECK(fd >= 0);
	CHILD_CHECK(!wx_info(fd, &info));
	CHILD_CHECK(info.context_limit == MIB && info.user_limit == 10 * MIB);

	/* Pages for all of it, which leave nothing for what the module needs */
	CHECK_FULL(fd, wx_alloc(fd, POOL, 0, pages));
	CHECK_FULL(fd, wx_alloc(fd, POOL, 0, pages + 1));
	nr = take_all(fd, 100, 0);
	CHILD_CHECK(nr < pages && nr > pages / 4 * 3);
	CHILD_CHECK(wx_stat(fd).charged + SLACK > MIB);
	CHILD_CHECK(wx_stat(fd).charged > PG(nr));

	/* A vector that goes over with its last range leaves nothing of it. */
	for (i = 0; i < 4; i++)
		CHILD_CHECK(!wx_free(fd, 100 + i));
	for (i = 0; i < 3; i++)
		r[i] = wx_alloc_range(1 + 1000 * i, 2);
	r[0].offset = 0;
	CHECK_FULL(fd, wx_alloc_vec(fd, POOL, r, 3));
	CHECK_FULL(fd, wx_alloc_vec(fd, 104, r, 3));
	CHILD_CHECK(!wx_alloc_vec(fd, POOL, r, 1));

	/* Sealed pages count as before; freed ones do not. */
	CHILD_CHECK(take_all(fd, 1000, 2000) <= 2);
	for (i = 4; i < nr; i++)
		CHILD_CHECK(!wx_protect(fd, 100 + i, i, 1, 1 + i % 3));
	CHECK_FULL(fd, wx_alloc(fd, 2000, 3000, 3));
	CHILD_CHECK(!wx_free(fd, 110) && !wx_free(fd, 111) && !wx_free(fd, 112) &&
		    !wx_free(fd, 113));
	CHILD_CHECK(!wx_alloc(fd, 2000, 10, 3));
	/* Refusals for other reasons are not charged. */
	CHILD_CHECK(!wx_free_all(fd, 0));
	for (i = 0; i < 100; i++) {
		CHILD_CHECK(!wx_alloc(fd, POOL, 0, pages / 2));
		CHILD_CHECK(wx_alloc(fd, POOL, pages / 2 - 1, pages / 3) == -EEXIST);
		CHILD_CHECK(wx_alloc(fd, 2, pages / 2 - 1, pages / 3) == -EEXIST);
		CHILD_CHECK(!wx_alloc(fd, 2, pages / 2, pages / 3));
		CHILD_CHECK(!wx_free_many(fd, (uint32_t[]){ POOL, 2 }, 2));
	}
}

TEST_F(limit, per_context)
{
	ASSERT_EQ(0, set_limits(MIB, 10 * MIB));
	EXPECT_EQ(0, as_user(USER_A, context_of_a_mib));
}

/* ------------------------------------------------------------------- users */

static void user_of_a_mib(void)
{
	int a = wx_open(), b = wx_open(), c = wx_open();
	const size_t pages = MIB / wx_page_size;
	size_t nr;

	CHILD_CHECK(a >= 0 && b >= 0 && c >= 0);
	CHILD_CHECK(!wx_alloc(a, POOL, 0, pages / 2));
	CHILD_CHECK(!wx_alloc(b, POOL, 0, pages / 4));
	CHECK_FULL(c, wx_alloc(c, POOL, 0, pages / 4));
	CHECK_FULL(b, wx_alloc(b, POOL, 1000, pages / 4));
	nr = take_all(c, 1, 0);
	CHILD_CHECK(nr > 0 && nr < pages / 4);
	CHILD_CHECK(wx_stat(c).user_charged + SLACK > MIB);
	/* All of it, and nothing else */
	CHILD_CHECK(wx_stat(a).charged + wx_stat(b).charged + wx_stat(c).charged ==
		    wx_stat(a).user_charged);
	CHILD_CHECK(wx_stat(a).user_charged == wx_stat(c).user_charged);
	CHECK_FULL(a, wx_alloc(a, 2, 1000, 4));
	/* What a closed context held is there for the others. */
	close(a);
	CHILD_CHECK(!wx_alloc(c, 5000, 5000, pages / 4));
	CHILD_CHECK(!wx_alloc(b, 2, 1000, pages / 8));
	CHECK_FULL(b, wx_alloc(b, 2, 2000, pages / 4));
}

/* Twice over: the first process's exit gave everything back. */
TEST_F(limit, per_user)
{
	ASSERT_EQ(0, set_limits(MIB, MIB));
	EXPECT_EQ(0, as_user(USER_A, user_of_a_mib));
	EXPECT_EQ(0, as_user(USER_A, user_of_a_mib));
	EXPECT_EQ(0, as_user(USER_B, user_of_a_mib));
}

static void user_at_limit(void)
{
	int fd = wx_open();

	CHILD_CHECK(fd >= 0);
	CHECK_FULL(fd, wx_alloc(fd, POOL, 0, SLACK / wx_page_size));
}

/* A user at the limit does not get in another's way. */
TEST_F(limit, users_are_apart)
{
	struct child c;

	ASSERT_EQ(0, set_limits(MIB, MIB));
	ASSERT_GT(child_start(&c), -1);
	if (!c.pid) {
		int fd;

		CHILD_CHECK(!setresuid(USER_A, USER_A, USER_A));
		fd = wx_open();
		CHILD_CHECK(fd >= 0 && take_all(fd, 1, 0));
		child_waits(&c);
		child_says(&c, 1);
		child_waits(&c);
		_exit(0);
	}
	ASSERT_EQ(1, child_step(&c));
	EXPECT_EQ(0, as_user(USER_B, user_of_a_mib));
	EXPECT_EQ(0, as_user(USER_A, user_at_limit));
	EXPECT_EQ(0, child_end(&c));
	EXPECT_EQ(0, as_user(USER_A, user_of_a_mib));
}

/* Charged to the one who opened it, wherever the owner's rights go. */
static void opener_pays(void)
{
	const size_t most = MIB / wx_page_size / 4 * 3;
	int fd = wx_open(), other;

	CHILD_CHECK(fd >= 0 && !wx_alloc(fd, POOL, 0, most));
	CHILD_CHECK(!seteuid(USER_B) && !setreuid(USER_B, -1));
	other = wx_open();
	CHILD_CHECK(other >= 0);
	CHILD_CHECK(!wx_alloc(other, POOL, 0, most));
	CHECK_FULL(fd, wx_alloc(fd, POOL, most, most / 2));
	CHECK_FULL(other, wx_alloc(other, POOL, most, most / 2));
	CHILD_CHECK(!wx_alloc(fd, POOL, most, most / 6));
	CHILD_CHECK(!wx_alloc(other, POOL, most, most / 6));
}

TEST_F(limit, opener_is_charged)
{
	pid_t pid;

	ASSERT_EQ(0, set_limits(10 * MIB, MIB));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		CHILD_CHECK(!setresuid(USER_A, USER_A, USER_B));
		opener_pays();
		_exit(0);
	}
	EXPECT_EQ(0, wx_wait(pid));
}

/* ------------------------------------------------------------- other limits */

/* Absurd lengths are over the limit at once, not after filling memory. */
TEST_F(limit, absurd_lengths)
{
	int fd = wx_open();
	struct wxpool_alloc_range r[8];
	struct wxpool_info info;
	unsigned int i;

	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, wx_info(fd, &info));
	for (i = 0; i < 8; i++)
		r[i] = (struct wxpool_alloc_range) {
			.offset = i * (info.space / 8), .length = info.space / 8,
		};
	EXPECT_EQ(-ENOSPC, wx_alloc_vec(fd, POOL, r, 8));
	r[0].length = info.space;
	EXPECT_EQ(-ENOSPC, wx_alloc_vec(fd, POOL, r, 1));
	EXPECT_STAT(fd, 0, 0, 0, 0, 0);
}

/* Kept for a child, pages count; once it is gone they do not. */
TEST_F(limit, kept_then_gone)
{
	int fd = wx_open();
	struct child c;
	char *x;

	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, wx_make_pages(fd, POOL, 0, 100, 1));
	x = wx_view(fd, RX, 0, 100);
	ASSERT_NE(MAP_FAILED, x);
	ASSERT_EQ(0, set_limits(wx_stat(fd).charged + PG(10), self->user));
	ASSERT_GT(child_start(&c), -1);
	if (!c.pid) {
		child_waits(&c);
		CHILD_CHECK(runs_pages(x, 100, 1));
		_exit(0);
	}
	ASSERT_EQ(0, wx_free(fd, POOL));
	EXPECT_STAT(fd, 0, 0, 0, 0, 100);
	EXPECT_EQ(-ENOSPC, wx_alloc(fd, POOL, 200, 20));
	EXPECT_STAT(fd, 0, 0, 0, 0, 100);
	EXPECT_EQ(0, child_end(&c));
	EXPECT_EQ(0, wx_alloc(fd, POOL, 0, 100));
	EXPECT_STAT(fd, 1, 100, 0, 0, 0);
}

/* A limit taken below what is held refuses more, and takes nothing away. */
TEST_F(limit, lowered)
{
	int fd = wx_open();
	char *w;

	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, wx_alloc(fd, POOL, 0, 100));
	w = wx_view(fd, RW, 0, 100);
	ASSERT_NE(MAP_FAILED, w);
	ASSERT_EQ(0, set_limits(PG(50), self->user));
	EXPECT_EQ(PG(50), wx_stat(fd).limit);
	EXPECT_LT(PG(100), wx_stat(fd).charged);
	EXPECT_EQ(-ENOSPC, wx_alloc(fd, POOL, 100, 1));
	EXPECT_EQ(-ENOSPC, wx_install_code(fd, 2, PG(1000), 1));
	EXPECT_EQ(0, try_write(w + PG(99), 1));
	EXPECT_EQ(0, wx_protect(fd, POOL, 0, 100, WXPOOL_PROT_X));
	/* What only takes away needs nothing, however little there is. */
	ASSERT_EQ(0, set_limits(1, self->user));
	EXPECT_EQ(0, wx_free(fd, POOL));
	EXPECT_STAT(fd, 0, 0, 0, 0, 0);
	EXPECT_EQ(-ENOSPC, wx_alloc(fd, POOL, 0, 1));
	EXPECT_EQ(0, wx_freeze(fd));
	ASSERT_EQ(0, set_limits(PG(50), self->user));
}

/*
 * At the limit, with a child that inherited all: FREE of lines in pages that others
 * share needs no room. They count until the child is gone.
 */
TEST_F(limit, free_needs_no_room)
{
	int fd = wx_open();
	struct wxpool_free arg;
	struct child c;
	size_t i;
	char *x;

	ASSERT_GE(fd, 0);
	/* Pages 0 and 1 are shared with pool 2, page 2 is the pool's own. */
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, wx_install_code(fd, POOL, AT(i, 0), 10 + i));
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, wx_install_code(fd, 2, AT(i, 1), 20 + i));
	x = wx_view(fd, RX, 0, 3);
	ASSERT_NE(MAP_FAILED, x);
	ASSERT_GT(child_start(&c), -1);
	if (!c.pid) {
		child_waits(&c);
		for (i = 0; i < 3; i++)
			CHILD_CHECK(runs(x + AT(i, 0), 10 + i));
		_exit(0);
	}
	ASSERT_EQ(0, set_limits(1, self->user));
	EXPECT_EQ(-ENOSPC, wx_install_code(fd, 9, AT(9, 0), 1));
	EXPECT_EQ(0, wx_free_out(fd, POOL, &arg));
	EXPECT_EQ(0, arg.pages_freed);
	EXPECT_EQ(1, arg.pages_kept);
	EXPECT_EQ(3, arg.lines_kept);
	EXPECT_STAT(fd, 1, 0, 0, 2, 1);
	ASSERT_EQ(0, set_limits(self->context, self->user));
	EXPECT_EQ(-EEXIST, wx_install_code(fd, 2, AT(0, 0), 1));
	EXPECT_EQ(-EEXIST, wx_install_code(fd, 2, AT(2, 0), 1));
	EXPECT_EQ(0, child_end(&c));
	EXPECT_EQ(SIGTRAP, try_exec(x + AT(0, 0), NULL));
	EXPECT_EQ(0, try_exec(x + AT(0, 1), NULL));
	EXPECT_EQ(SIGBUS, try_exec(x + AT(2, 0), NULL));
	EXPECT_STAT(fd, 1, 0, 0, 2, 0);
}

/* ------------------------------------------------------------ packed pages */

static void install_in_a_mib(void)
{
	const size_t pages = MIB / wx_page_size, len = PG(pages + 1);
	struct wxpool_install_range r[40];
	char *src = malloc(len), *x;
	int fd = wx_open(), ret = 0;
	size_t nr, i;

	CHILD_CHECK(fd >= 0 && src);
	wx_pattern(src, len, 1);
	x = wx_view(fd, RX, 0, 2048);
	CHILD_CHECK(x != MAP_FAILED);
	/* Too much in one range; then a line in each page until there are no more */
	r[0] = wx_bytes(0, src, len, WXPOOL_PROT_X);
	CHECK_FULL(fd, wx_install_vec(fd, POOL, r, 1));
	CHILD_CHECK(try_read(x) == SIGBUS && wx_free(fd, POOL) == -ENOENT);
	for (nr = 0; !ret; nr++) {
		ret = wx_install(fd, 100 + nr, AT(nr, 5), src, 1, WXPOOL_PROT_X);
		CHILD_CHECK(within_limits(fd));
	}
	nr--;
	CHILD_CHECK(ret == -ENOSPC && nr < pages && nr > pages / 4 * 3);
	CHILD_CHECK(wx_stat(fd).charged + SLACK > MIB);
	CHILD_CHECK(wx_stat(fd).packed == (long)nr && try_read(x + PG(nr)) == SIGBUS);

	/* Where pages are, there is room for more than would fit in new ones. */
	for (i = 0; i < 8; i++)
		CHILD_CHECK(!wx_free(fd, 100 + i));
	for (i = 0; i < 40; i++)
		r[i] = wx_bytes(AT(20 + i, 7), src, 1, WXPOOL_PROT_X);
	CHILD_CHECK(!wx_install_vec(fd, 50, r, 40));
	CHILD_CHECK(!wx_install(fd, 51, AT(20, 10), src, 40 * LINE, WXPOOL_PROT_X));
	/* A vector that needs too many pages leaves nothing in the others, either. */
	for (i = 0; i < 40; i++)
		r[i] = wx_bytes(AT(i % 2 ? 20 + i : 1000 + i, 20), src, 1, WXPOOL_PROT_X);
	r[0].offset = AT(21, 20);
	r[1].offset = AT(22, 20);
	CHECK_FULL(fd, wx_install_vec(fd, 52, r, 40));
	CHILD_CHECK(wx_free(fd, 52) == -ENOENT);
	CHILD_CHECK(try_exec(x + AT(21, 20), NULL) == SIGTRAP);
	CHILD_CHECK(try_read(x + PG(1002)) == SIGBUS);
	CHECK_FULL(fd, wx_alloc(fd, 52, 1000, SLACK / wx_page_size));

	/* Refusals for other reasons are not charged. */
	for (i = 0; i < 100; i++) {
		r[0] = wx_bytes(PG(1500), src, PG(4), WXPOOL_PROT_X);
		r[1] = wx_bytes(PG(1510), NULL, 1, WXPOOL_PROT_X);
		CHILD_CHECK(wx_install_vec(fd, 52, r, 2) == -EFAULT);
		r[1] = wx_bytes(AT(20, 10), src, 1, WXPOOL_PROT_X);
		CHILD_CHECK(wx_install_vec(fd, 52, r, 2) == -EEXIST);
	}
	CHILD_CHECK(!wx_install_vec(fd, 52, r, 1));
	CHILD_CHECK(!wx_free_all(fd, 0));
	CHILD_CHECK(!wx_alloc(fd, POOL, 0, pages / 10 * 9));
}

TEST_F(limit, install)
{
	ASSERT_EQ(0, set_limits(MIB, 10 * MIB));
	EXPECT_EQ(0, as_user(USER_A, install_in_a_mib));
	ASSERT_EQ(0, set_limits(10 * MIB, MIB));
	EXPECT_EQ(0, as_user(USER_A, install_in_a_mib));
	EXPECT_EQ(0, as_user(USER_B, install_in_a_mib));
}

static int install_block(int fd, uint32_t pool, uint64_t offset)
{
	struct wxpool_install_range r = wx_bytes(offset, "x", 1, WXPOOL_PROT_X);

	return wx_install_flags(fd, pool, &r, 1, WXPOOL_INSTALL_BLOCKS);
}

/* There is room for one block, and half of one. */
static void install_huge(void)
{
	struct wxpool_info info;
	char *src = calloc(2, wx_page_size);
	struct wx_stat st;
	uint64_t size;
	int fd = wx_open();

	CHILD_CHECK(fd >= 0 && src && !wx_info(fd, &info));
	size = info.block_size;
	CHILD_CHECK(!install_block(fd, POOL, 0));
	st = wx_stat(fd);
	/* The next one gets a page. */
	CHILD_CHECK(!install_block(fd, 2, size));
	CHILD_CHECK(wx_stat(fd).packed == st.packed + 1);
	CHILD_CHECK(wx_stat(fd).huge == st.huge && within_limits(fd));
	if (!st.huge)
		return;
	/* With one page at a time it is full in the end. */
	CHILD_CHECK(!wx_free(fd, 2));
	CHILD_CHECK(!wx_alloc(fd, 2, 4 * st.huge, st.huge / 4));
	CHILD_CHECK(take_all(fd, 1000, 5 * st.huge) > 0);
	CHILD_CHECK(!wx_free(fd, 1000));
	/* What needs no page works: in lines, and in full pages. */
	CHILD_CHECK(!wx_install(fd, 3, AT(5, 1), src, LINE, WXPOOL_PROT_X));
	CHILD_CHECK(!wx_install(fd, 3, PG(6), src, PG(1), WXPOOL_PROT_X));
	CHILD_CHECK(!wx_free_all(fd, 0));
	/* All of it back, for regions now */
	CHILD_CHECK(!wx_alloc(fd, POOL, 0, st.huge + st.huge / 3));
	CHECK_FULL(fd, wx_alloc(fd, POOL, 4 * st.huge, st.huge / 2));
}

/* A block that is idle makes way: in the context, and in the user's others. */
static void idle_block_in_the_way(void)
{
	int fd = wx_open(), other = wx_open();
	struct wxpool_info info;
	uint32_t way;
	long nr;

	CHILD_CHECK(fd >= 0 && other >= 0 && !wx_info(fd, &info));
	nr = info.block_size / wx_page_size;
	for (way = 0; way < 4; way++) {
		int from = way % 2 ? other : fd, ret;

		CHILD_CHECK(!install_block(fd, POOL, 0));
		if (!wx_stat(fd).huge)
			return;
		CHILD_CHECK(!wx_free(fd, POOL));
		CHILD_CHECK(wx_stat(fd).idle == nr);
		/* What fits beside it leaves it alone. */
		CHILD_CHECK(!wx_alloc(from, 2, 4 * nr, nr / 4));
		CHILD_CHECK(wx_stat(fd).idle == nr && !wx_free(from, 2));
		ret = way < 2 ? wx_alloc(from, 2, 4 * nr, nr) :
				install_block(from, 2, PG(4 * nr));
		CHILD_CHECK(!ret && within_limits(from) && within_limits(fd));
		if (way < 2)
			CHILD_CHECK(!wx_stat(fd).idle);
		CHILD_CHECK(!wx_free(from, 2));
		CHILD_CHECK(!wx_stat(from).pools);
		/* Off with all that is idle now */
		CHILD_CHECK(!wx_alloc(from, 2, 4 * nr, nr) && !wx_free(from, 2));
		CHILD_CHECK(!wx_alloc(fd, 2, 0, 1) && !wx_free(fd, 2));
	}
}

TEST_F(limit, blocks)
{
	struct wxpool_info info;
	int fd = wx_open();
	long size;

	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, wx_info(fd, &info));
	size = info.block_size;
	if (!size)
		SKIP(return, "this kernel has no huge pages");
	ASSERT_EQ(0, set_limits(size + size / 2, 10 * size));
	EXPECT_EQ(0, as_user(USER_A, install_huge));
	ASSERT_EQ(0, set_limits(10 * size, size + size / 2));
	EXPECT_EQ(0, as_user(USER_A, install_huge));
	EXPECT_EQ(0, as_user(USER_A, idle_block_in_the_way));
	/* Too little for a block from the start */
	ASSERT_EQ(0, set_limits(size - 1, 10 * size));
	EXPECT_EQ(0, install_block(fd, POOL, 0));
	EXPECT_PACKED(fd, 1, 1, 0);
}

/* ------------------------------------------- what is charged is what is taken */

/* Kilobytes of a line of /proc/meminfo */
static long meminfo_kib(const char *name)
{
	char line[128];
	long kib = -1;
	FILE *f = fopen("/proc/meminfo", "r");

	while (kib < 0 && f && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, strlen(name)))
			sscanf(line + strlen(name), ": %ld", &kib);
	if (f)
		fclose(f);
	return kib;
}

static long group_read(const struct group *g, const char *file)
{
	char path[192];

	snprintf(path, sizeof(path), "%s/%s", g->dir, file);
	return wx_read_long(path);
}

/*
 * Memory that there is of the kernel's for a context, told twice: by what the kernel
 * has in all, beside the pages, and by what the process's memory cgroup is charged.
 * (How much is free tells nothing: processors keep some of it for themselves.)
 */
struct taken {
	long kernel, cgroup;
};

static struct taken taken(const struct group *g, int fd)
{
	struct wx_stat st = wx_stat(fd);
	long pages = st.open + st.read + st.exec + st.exec_only + st.kept + st.idle;

	return (struct taken) {
		.kernel = (meminfo_kib("SUnreclaim") + meminfo_kib("VmallocUsed")) * 1024 +
			  (long)PG(pages),
		.cgroup = group_read(g, "memory.current"),
	};
}

/*
 * Ways to have the module need memory of its own, a step at a time, each returning
 * what refused it
 */
static int step_line_and_pool(int fd, unsigned int i)
{
	return wx_install(fd, 1 + i, (uint64_t)i * LINE, "x", 1, WXPOOL_PROT_X);
}

static int step_page_and_pool(int fd, unsigned int i)
{
	return wx_install(fd, 1 + i, AT(i, i % PAGE_LINES), "x", 1, WXPOOL_PROT_X);
}

/* Lines of one pool that do not adjoin, so that each has to be known */
static int step_line_apart(int fd, unsigned int i)
{
	return wx_install(fd, 1, (uint64_t)i * 2 * LINE, "x", 1, WXPOOL_PROT_R);
}

static int step_region(int fd, unsigned int i)
{
	return wx_alloc(fd, 1 + i, i, 1);
}

static int step_regions_of_a_pool(int fd, unsigned int i)
{
	return wx_alloc(fd, 1, 2 * (size_t)i, 1);
}

/* Pages as far from each other as can be: one in 2 MiB */
static int step_far_apart(int fd, unsigned int i)
{
	return wx_alloc(fd, 1 + i, 512 * (size_t)i + i % 512, 1);
}

static int step_line_far_apart(int fd, unsigned int i)
{
	return wx_install(fd, 1 + i, AT(512 * (size_t)i, 63), "x", 1, WXPOOL_PROT_XO);
}

static const struct {
	const char *name;
	int (*step)(int fd, unsigned int i);
} hoards[] = {
	{ "a pool for each line", step_line_and_pool },
	{ "a pool for each packed page", step_page_and_pool },
	{ "one pool, lines apart", step_line_apart },
	{ "a pool for each page", step_region },
	{ "one pool, pages apart", step_regions_of_a_pool },
	{ "pages far apart", step_far_apart },
	{ "lines far apart", step_line_far_apart },
};

#define NR_HOARDS	(sizeof(hoards) / sizeof(hoards[0]))
#define HOARD		(16 * MIB)
/* What all else varies by meanwhile, and is kept for the next ones */
#define NOISE		(2 * MIB)

/*
 * Is the memory that was taken what was charged, more or less? The kernel gives some
 * of it back later, from threads of its own.
 */
static bool charged_fairly(const struct group *g, int fd, const char *what,
			   uint64_t empty, const struct taken *before)
{
	long charged = (long)(wx_stat(fd).charged - empty), kernel, cgroup, most;
	struct taken now;
	bool fair = false;
	int i;

	for (i = 0; i < 50 && !fair; i++) {
		if (i)
			usleep(100000);
		now = taken(g, fd);
		kernel = now.kernel - before->kernel;
		cgroup = now.cgroup - before->cgroup;
		most = kernel > cgroup ? kernel : cgroup;
		fair = most < charged / 10 * 11 + NOISE && charged < most / 10 * 12 + NOISE;
	}
	printf("# %s: charged %ld KiB, taken %ld, of the cgroup %ld%s\n", what,
	       charged / 1024, kernel / 1024, cgroup / 1024, fair ? "" : ": not fair");
	fflush(stdout);
	/* A kernel that checks itself has memory of its own beside all that. */
	return fair || wx_fewer() > 1;
}

/*
 * Is nothing left that the cgroup is charged for? (Slabs without an object the kernel
 * may keep for the next ones.)
 */
static bool given_back(const struct group *g, const struct taken *before)
{
	long left = 0;
	int i;

	for (i = 0; i < 50; i++) {
		left = group_read(g, "memory.current") - before->cgroup;
		if (left < NOISE)
			return true;
		usleep(100000);
	}
	printf("# %ld KiB are not given back\n", left / 1024);
	fflush(stdout);
	return false;
}

/* The group of those that hoard, made by the test */
static struct group hoarders;

static void hoard(void)
{
	struct taken before;
	uint64_t empty;
	unsigned int h, i;
	int fd, ret;

	for (h = 0; h < NR_HOARDS; h++) {
		fd = wx_open();
		CHILD_CHECK(fd >= 0 && !wx_warm_up(fd));
		empty = wx_stat(fd).charged;
		before = taken(&hoarders, fd);
		for (i = 0; !(ret = hoards[h].step(fd, i)); i++)
			if (!(i % 1024))
				CHILD_CHECK(within_limits(fd));
		CHILD_CHECK(ret == -ENOSPC && within_limits(fd));
		CHILD_CHECK(wx_stat(fd).charged + MIB > wx_stat(fd).limit);
		CHILD_CHECK(charged_fairly(&hoarders, fd, hoards[h].name, empty, &before));
		/* All of it comes back. */
		CHILD_CHECK(!wx_free_all(fd, 0));
		CHILD_CHECK(wx_stat(fd).charged == empty);
		CHILD_CHECK(given_back(&hoarders, &before));
		close(fd);
	}
}

/* The same of what is kept for a child, up to half of the limit, and then more */
static void hoard_for_a_child(void)
{
	struct taken before;
	unsigned int h, i;
	struct child c;
	uint64_t empty;
	int fd, ret;

	for (h = 0; h < NR_HOARDS; h++) {
		fd = wx_open();
		CHILD_CHECK(fd >= 0 && !wx_warm_up(fd));
		CHILD_CHECK(wx_view(fd, RX, 0, 1) != MAP_FAILED);
		empty = wx_stat(fd).charged;
		before = taken(&hoarders, fd);
		for (i = 0; wx_stat(fd).charged < wx_stat(fd).limit / 2; i++)
			CHILD_CHECK(!hoards[h].step(fd, i));
		CHILD_CHECK(child_start(&c) > -1);
		if (!c.pid) {
			child_waits(&c);
			_exit(0);
		}
		CHILD_CHECK(!wx_free_all(fd, 0));
		CHILD_CHECK(!wx_stat(fd).pools && wx_stat(fd).kept);
		CHILD_CHECK(wx_stat(fd).charged >= wx_stat(fd).limit / 2);
		/* The rest of the last page is the child's as well. */
		do {
			ret = hoards[h].step(fd, i++);
		} while (!ret || ret == -EEXIST);
		CHILD_CHECK(ret == -ENOSPC && within_limits(fd));
		CHILD_CHECK(charged_fairly(&hoarders, fd, hoards[h].name, empty, &before));
		CHILD_CHECK(!child_end(&c));
		CHILD_CHECK(!wx_stat(fd).kept && !wx_stat(fd).kept_lines);
		CHILD_CHECK(!wx_free_all(fd, 0));
		CHILD_CHECK(wx_stat(fd).charged == empty);
		CHILD_CHECK(given_back(&hoarders, &before));
		close(fd);
	}
}

/* The limit bounds the memory that is taken, whatever for: pages are not all. */
static int hoard_as_user(void (*fn)(void))
{
	pid_t pid = fork();

	if (pid)
		return pid < 0 ? -errno : wx_wait(pid);
	CHILD_CHECK(!group_join(&hoarders));
	_exit(as_user(USER_A, fn));
}

TEST_F(limit, all_memory_counts)
{
	const char *why = group_make(&hoarders, "wxpool-hoarders");

	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, set_limits(HOARD / wx_fewer(), HOARD / wx_fewer()));
	EXPECT_EQ(0, hoard_as_user(hoard));
	EXPECT_EQ(0, hoard_as_user(hoard_for_a_child));
	group_remove(&hoarders);
}

/* What a block would cost is no reason to refuse what single pages can hold. */
TEST_F(limit, single_pages_instead_of_blocks)
{
	char *src = calloc(1, MIB);
	int fd = wx_open();
	struct wxpool_install_range r = wx_bytes(0, src, MIB, WXPOOL_PROT_X);

	ASSERT_NE(NULL, src);
	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, wx_warm_up(fd));
	ASSERT_EQ(0, set_limits(wx_stat(fd).charged + MIB + MIB / 4, self->user));
	EXPECT_EQ(0, wx_install_flags(fd, POOL, &r, 1, WXPOOL_INSTALL_BLOCKS));
	EXPECT_PACKED(fd, MIB / (long)wx_page_size, MIB / LINE, 0);
	EXPECT_EQ(0, wx_free(fd, POOL));
	free(src);
}

/*
 * Each thing that the module has to know costs something: the same pages, in more
 * pieces, for more pools, farther apart, by more calls. (In memory some of it would
 * drown in the pages.)
 */
#define PAGES	64

static long charge_of(int fd, uint64_t empty, int ret)
{
	long charge = (long)(wx_stat(fd).charged - empty);

	if (ret || wx_stat(fd).packed + wx_stat(fd).open != PAGES || wx_free_all(fd, 0) ||
	    wx_stat(fd).charged != empty)
		return -1;
	return charge;
}

TEST_F(limit, each_thing_counts)
{
	const long lines = PAGES * (long)PAGE_LINES;
	long plain, pieces, pools, apart, region, regions;
	int fd = wx_open(), ret = 0;
	char *src = calloc(PAGES, PG(1));
	uint64_t empty;
	long i;

	ASSERT_GE(fd, 0);
	ASSERT_NE(NULL, src);
	ASSERT_EQ(0, wx_warm_up(fd));
	empty = wx_stat(fd).charged;
	plain = charge_of(fd, empty, wx_install(fd, POOL, 0, src, PG(PAGES), WXPOOL_PROT_X));
	ASSERT_LE((long)PG(PAGES), plain);

	for (i = 0; i < lines && !ret; i += 2)
		ret = wx_install(fd, POOL, i * LINE, src, 1, WXPOOL_PROT_X);
	pieces = charge_of(fd, empty, ret);
	EXPECT_LE(plain + lines / 2 * 8, pieces);

	for (i = 0; i < lines && !ret; i++)
		ret = wx_install(fd, 1 + i, i * LINE, src, 1, WXPOOL_PROT_X);
	pools = charge_of(fd, empty, ret);
	EXPECT_LE(plain + lines * 32, pools);

	for (i = 0; i < PAGES && !ret; i++)
		ret = wx_install(fd, POOL, AT(512 * i, 0), src, 1, WXPOOL_PROT_X);
	apart = charge_of(fd, empty, ret);
	EXPECT_LE(plain + (PAGES - 1) * 4096L, apart);

	region = charge_of(fd, empty, wx_alloc(fd, POOL, 0, PAGES));
	ASSERT_LE((long)PG(PAGES), region);
	for (i = 0; i < PAGES && !ret; i++)
		ret = wx_alloc(fd, 1 + i, i, 1);
	regions = charge_of(fd, empty, ret);
	EXPECT_LE(region + PAGES * 32L, regions);
	free(src);
}

/* Nothing is charged for good by what comes and goes. */
TEST_F(limit, comes_and_goes)
{
	unsigned int rounds = wx_rounds(2000), i;
	int fd = wx_open();
	uint64_t empty;

	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, wx_warm_up(fd));
	empty = wx_stat(fd).charged;
	for (i = 0; i < rounds; i++) {
		ASSERT_EQ(0, wx_install_code(fd, 1 + i, AT(i % 300, i % PAGE_LINES), i));
		ASSERT_EQ(0, wx_install_code(fd, 1 + i, AT(i % 300 + 1000, 0), i));
		if (i % 3)
			ASSERT_EQ(0, wx_alloc(fd, 1 + i, 2000 + i % 50, 1));
		if (i % 5 == 4)
			ASSERT_EQ(0, wx_free_all(fd, i % 2 * WXPOOL_FREE_REVOKE));
	}
	ASSERT_EQ(0, wx_free_all(fd, 0));
	EXPECT_EQ(empty, wx_stat(fd).charged);
}

/* ---------------------------------------------------------- memory cgroups */

FIXTURE(memcg) {
	struct group group;
};

FIXTURE_SETUP(memcg)
{
	const char *why;

	if (access(WX_DEV, F_OK))
		SKIP(return, "no " WX_DEV ": modprobe wxpool first");
	why = group_make(&self->group, "wxpool-test");
	if (why)
		SKIP(return, "%s", why);
}

FIXTURE_TEARDOWN(memcg)
{
	group_remove(&self->group);
}

/* Pages show up in the group of the one who calls, and go when freed. */
static void charged_child(const struct group *group, int say, int hear)
{
	int fd;

	CHILD_CHECK(!group_join(group));
	fd = wx_open();
	CHILD_CHECK(fd >= 0);
	wx_step(say);
	wx_wait_step(hear);
	CHILD_CHECK(!wx_alloc(fd, POOL, 0, 16 * MIB / wx_page_size));
	wx_step(say);
	wx_wait_step(hear);
	CHILD_CHECK(!wx_free(fd, POOL));
	wx_step(say);
	wx_wait_step(hear);
	_exit(0);
}

TEST_F(memcg, charge)
{
	long before, with, after;
	int say[2], hear[2];
	pid_t pid;

	ASSERT_EQ(0, group_write(&self->group, "memory.max", "max"));
	ASSERT_EQ(0, pipe(say));
	ASSERT_EQ(0, pipe(hear));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid)
		charged_child(&self->group, say[1], hear[0]);
	close(say[1]);
	ASSERT_EQ(0, wx_wait_step(say[0]));
	before = group_read(&self->group, "memory.current");
	wx_step(hear[1]);
	ASSERT_EQ(0, wx_wait_step(say[0]));
	with = group_read(&self->group, "memory.current");
	wx_step(hear[1]);
	ASSERT_EQ(0, wx_wait_step(say[0]));
	after = group_read(&self->group, "memory.current");
	wx_step(hear[1]);
	EXPECT_EQ(0, wx_wait(pid));
	/* The kernel counts in batches: a MiB either way */
	EXPECT_GT(with, before + 15 * MIB);
	EXPECT_LT(with, before + 20 * MIB);
	EXPECT_LT(after, before + 2 * MIB);
}

static void limited_child(const struct group *group)
{
	size_t nr = 64 * MIB / wx_page_size;
	int fd, i, ret;

	CHILD_CHECK(!group_join(group));
	fd = wx_open();
	CHILD_CHECK(fd >= 0);
	for (i = 0; i < 3; i++) {
		ret = wx_alloc(fd, POOL, 0, nr);
		CHILD_CHECK(ret == -ENOMEM);
		CHILD_CHECK(!wx_stat(fd).open && !wx_stat(fd).pools);
	}
	/* What fits is granted still. */
	CHILD_CHECK(!wx_alloc(fd, POOL, 0, 4 * MIB / wx_page_size));
	CHILD_CHECK(wx_alloc(fd, POOL, nr, nr) == -ENOMEM);
	CHILD_CHECK(!wx_protect(fd, POOL, 0, 4 * MIB / wx_page_size,
				WXPOOL_PROT_X));
	_exit(0);
}

TEST_F(memcg, limit)
{
	pid_t pid;

	ASSERT_EQ(0, group_write(&self->group, "memory.max", "33554432"));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid)
		limited_child(&self->group);
	EXPECT_EQ(0, wx_wait(pid));
	EXPECT_LT(group_read(&self->group, "memory.current"), 8 * MIB);
}

/* In a group with less than a huge page left there are single pages. */
static void fill_group(const struct group *group)
{
	size_t nr = 256 * 1024 / wx_page_size, i;
	struct wxpool_install_range r;
	struct wx_stat st;
	uint32_t val;
	char *x;
	int fd;

	CHILD_CHECK(!group_join(group));
	fd = wx_open();
	CHILD_CHECK(fd >= 0);
	x = wx_view(fd, RX, 0, 512);
	CHILD_CHECK(x != MAP_FAILED);
	for (i = 0; !wx_alloc(fd, 10 + i, 1024 + i * nr, nr); i++)
		;
	CHILD_CHECK(i > 4);
	CHILD_CHECK(!wx_free(fd, 10) && !wx_free(fd, 11));
	{
		unsigned char code[LINE];

		r = wx_bytes(0, code, wx_emit(code, 66), WXPOOL_PROT_X);
		CHILD_CHECK(!wx_install_flags(fd, POOL, &r, 1,
					      WXPOOL_INSTALL_BLOCKS));
	}
	CHILD_CHECK(!try_exec(x, &val) && val == 66);
	st = wx_stat(fd);
	CHILD_CHECK(!st.huge);
	CHILD_CHECK(!wx_free(fd, POOL));
	CHILD_CHECK(try_read(x) == SIGBUS && !wx_stat(fd).packed);
	_exit(0);
}

TEST_F(memcg, no_huge_page_left)
{
	pid_t pid;

	ASSERT_EQ(0, group_write(&self->group, "memory.max", "33554432"));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid)
		fill_group(&self->group);
	EXPECT_EQ(0, wx_wait(pid));
	EXPECT_LT(group_read(&self->group, "memory.current"), 8 * MIB);
}

/* An INSTALL that does not fit leaves nothing, and what fits does later. */
static void install_too_much(const struct group *group)
{
	char *src = mmap(NULL, WXPOOL_MAX_INSTALL, RW,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd, i;

	CHILD_CHECK(src != MAP_FAILED);
	memset(src, 0x11, WXPOOL_MAX_INSTALL);	/* charged to another group */
	CHILD_CHECK(!group_join(group));
	fd = wx_open();
	CHILD_CHECK(fd >= 0);
	for (i = 0; i < 3; i++) {
		CHILD_CHECK(wx_install(fd, POOL, 0, src, WXPOOL_MAX_INSTALL,
				       WXPOOL_PROT_X) == -ENOMEM);
		CHILD_CHECK(!wx_stat(fd).pools && !wx_stat(fd).packed &&
			    !wx_stat(fd).lines);
	}
	CHILD_CHECK(!wx_install(fd, POOL, 0, src, MIB, WXPOOL_PROT_X));
	_exit(0);
}

TEST_F(memcg, install)
{
	pid_t pid;

	ASSERT_EQ(0, group_write(&self->group, "memory.max", "8388608"));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid)
		install_too_much(&self->group);
	EXPECT_EQ(0, wx_wait(pid));
	EXPECT_LT(group_read(&self->group, "memory.current"), 4 * MIB);
}

/* ---------------------------------------------------------------- signals */

#define OPEN_FD	200	/* the number of the child's context */

static void alloc_child(int ready, size_t nr)
{
	int fd = wx_open();

	CHILD_CHECK(fd >= 0 && dup2(fd, OPEN_FD) == OPEN_FD);
	CHILD_CHECK(!ptrace(PTRACE_TRACEME, 0, NULL, NULL));
	raise(SIGSTOP);
	wx_step(ready);
	wx_alloc(OPEN_FD, POOL, 0, nr);
	/* In case that it ends before the signal comes */
	for (;;)
		pause();
}

/*
 * Kills a child that is in a long ALLOC, and looks at its context at the
 * moment of its exit: the pages that ALLOC granted, or -1 for a mishap
 */
static long pages_of_killed_alloc(size_t nr)
{
	long start, kib = (long)(nr * wx_page_size / 1024);
	struct wx_stat st = { .open = -1 };
	int ready[2], status, ret;
	pid_t pid;

	if (pipe(ready))
		return -1;
	pid = fork();
	if (pid < 0)
		return -1;
	if (!pid)
		alloc_child(ready[1], nr);
	close(ready[1]);
	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		return -1;
	ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACEEXIT);
	start = meminfo_kib("MemFree");
	ptrace(PTRACE_CONT, pid, NULL, NULL);
	wx_wait_step(ready[0]);
	while (start - meminfo_kib("MemFree") < kib / 16)
		sched_yield();
	kill(pid, SIGKILL);
	while ((ret = waitpid(pid, &status, 0)) == pid && WIFSTOPPED(status) &&
	       status >> 8 != (SIGTRAP | PTRACE_EVENT_EXIT << 8))
		ptrace(PTRACE_CONT, pid, NULL, NULL);
	if (ret == pid && WIFSTOPPED(status)) {
		if (wx_stat_of(pid, OPEN_FD, &st))
			st.open = -1;
		ptrace(PTRACE_CONT, pid, NULL, NULL);
		wx_wait(pid);
	}
	close(ready[0]);
	return st.open;
}

/* A SIGKILL ends a long ALLOC half way; nothing of it remains. */
TEST_F(limit, killed_in_alloc)
{
	struct sysinfo info;
	size_t nr;
	long open = -1;
	int i;

	ASSERT_EQ(0, sysinfo(&info));
	nr = info.freeram / 2 / wx_page_size;
	ASSERT_EQ(0, set_limits((long)info.totalram, (long)info.totalram));
	for (i = 0; i < 5 && open; i++) {
		open = pages_of_killed_alloc(nr);
		ASSERT_GE(open, 0);
		/* All or nothing, whichever was first */
		ASSERT_TRUE(!open || open == (long)nr);
	}
	EXPECT_EQ(0, open) {
		TH_LOG("in %d tries ALLOC was never interrupted", i);
	}
}

TEST_HARNESS_MAIN
