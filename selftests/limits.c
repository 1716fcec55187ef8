// SPDX-License-Identifier: GPL-2.0
/*
 * What a context, a user and a memory cgroup may hold; that a refusal leaves
 * nothing behind, and that all of it is given back.
 */
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>

#include "wxpool_util.h"

#define POOL		1
#define CONTEXT_PARAM	WX_PARAM_DIR "max_pages_per_context"
#define USER_PARAM	WX_PARAM_DIR "max_pages_per_user"

/* Two users that nothing else runs as */
#define USER_A		54321
#define USER_B		54322

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

static void context_of_ten(void)
{
	struct wxpool_range r[3];
	struct wxpool_info info;
	int fd = wx_open();

	CHILD_CHECK(fd >= 0);
	CHILD_CHECK(!wx_info(fd, &info));
	CHILD_CHECK(info.context_limit == PG(10));
	CHILD_CHECK(info.user_limit == PG(100));
	CHILD_CHECK(wx_stat(fd).limit == 10);

	CHILD_CHECK(wx_alloc(fd, POOL, 0, 11) == -ENOSPC);
	CHILD_CHECK(!wx_stat(fd).open && !wx_stat(fd).pools);
	CHILD_CHECK(!wx_alloc(fd, POOL, 0, 6));
	/* A vector that goes over with its last range leaves nothing of it. */
	r[0] = wx_range(10, 2, 0, NULL);
	r[1] = wx_range(20, 2, 0, NULL);
	r[2] = wx_range(30, 1, 0, NULL);
	CHILD_CHECK(wx_alloc_vec(fd, POOL, r, 3) == -ENOSPC);
	CHILD_CHECK(wx_alloc_vec(fd, 2, r, 3) == -ENOSPC);
	CHILD_CHECK(wx_stat(fd).open == 6 && wx_stat(fd).pools == 1);
	CHILD_CHECK(!wx_alloc_vec(fd, 2, r, 2));
	CHILD_CHECK(wx_stat(fd).open == 10);
	CHILD_CHECK(wx_alloc(fd, 2, 40, 1) == -ENOSPC);

	/* Sealed pages count as before; freed ones do not. */
	CHILD_CHECK(!wx_protect(fd, POOL, 0, 6, WXPOOL_PROT_X));
	CHILD_CHECK(wx_alloc(fd, 2, 40, 1) == -ENOSPC);
	CHILD_CHECK(!wx_free(fd, POOL));
	CHILD_CHECK(!wx_alloc(fd, 2, 40, 6));
	CHILD_CHECK(wx_alloc(fd, 2, 50, 1) == -ENOSPC);
	/* Refusals for other reasons are not charged. */
	CHILD_CHECK(!wx_free(fd, 2));
	CHILD_CHECK(!wx_alloc(fd, POOL, 0, 5));
	CHILD_CHECK(wx_alloc(fd, POOL, 4, 5) == -EEXIST);
	CHILD_CHECK(!wx_alloc(fd, POOL, 5, 5));
}

TEST_F(limit, per_context)
{
	ASSERT_EQ(0, set_limits(10, 100));
	EXPECT_EQ(0, as_user(USER_A, context_of_ten));
}

static void user_of_twenty(void)
{
	int a = wx_open(), b = wx_open(), c = wx_open();

	CHILD_CHECK(a >= 0 && b >= 0 && c >= 0);
	CHILD_CHECK(!wx_alloc(a, POOL, 0, 10));
	CHILD_CHECK(!wx_alloc(b, POOL, 0, 6));
	CHILD_CHECK(wx_alloc(c, POOL, 0, 5) == -ENOSPC);
	CHILD_CHECK(wx_alloc(b, POOL, 6, 5) == -ENOSPC);
	CHILD_CHECK(!wx_stat(c).open && !wx_stat(c).pools);
	CHILD_CHECK(!wx_alloc(c, POOL, 0, 4));
	CHILD_CHECK(wx_alloc(c, POOL, 4, 1) == -ENOSPC);
	/* What a closed context held is there for the others. */
	close(a);
	CHILD_CHECK(!wx_alloc(c, POOL, 4, 6));
	CHILD_CHECK(!wx_alloc(b, POOL, 6, 4));
	CHILD_CHECK(wx_alloc(b, POOL, 10, 1) == -ENOSPC);
}

/* Twice over: the first process's exit gave everything back. */
TEST_F(limit, per_user)
{
	ASSERT_EQ(0, set_limits(10, 20));
	EXPECT_EQ(0, as_user(USER_A, user_of_twenty));
	EXPECT_EQ(0, as_user(USER_A, user_of_twenty));
	EXPECT_EQ(0, as_user(USER_B, user_of_twenty));
}

static void user_at_limit(void)
{
	int fd = wx_open();

	CHILD_CHECK(fd >= 0 && wx_alloc(fd, POOL, 0, 1) == -ENOSPC);
	CHILD_CHECK(!wx_stat(fd).open && !wx_stat(fd).pools);
}

/* A user at the limit does not get in another's way. */
TEST_F(limit, users_are_apart)
{
	int ready[2], go[2];
	pid_t pid;

	ASSERT_EQ(0, set_limits(20, 20));
	ASSERT_EQ(0, pipe(ready));
	ASSERT_EQ(0, pipe(go));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		int fd;

		close(go[1]);
		CHILD_CHECK(!setresuid(USER_A, USER_A, USER_A));
		fd = wx_open();
		CHILD_CHECK(fd >= 0 && !wx_alloc(fd, POOL, 0, 20));
		wx_step(ready[1]);
		wx_wait_step(go[0]);
		_exit(0);
	}
	close(ready[1]);
	ASSERT_EQ(0, wx_wait_step(ready[0]));
	EXPECT_EQ(0, set_limits(10, 20));
	EXPECT_EQ(0, as_user(USER_B, user_of_twenty));
	EXPECT_EQ(0, as_user(USER_A, user_at_limit));
	wx_step(go[1]);
	EXPECT_EQ(0, wx_wait(pid));
	EXPECT_EQ(0, as_user(USER_A, user_of_twenty));
}

/* Charged to the one who opened it, wherever the owner's rights go. */
static void opener_pays(void)
{
	int fd = wx_open(), other;

	CHILD_CHECK(fd >= 0 && !wx_alloc(fd, POOL, 0, 15));
	CHILD_CHECK(!seteuid(USER_B) && !setreuid(USER_B, -1));
	other = wx_open();
	CHILD_CHECK(other >= 0);
	CHILD_CHECK(!wx_alloc(other, POOL, 0, 15));
	CHILD_CHECK(wx_alloc(fd, POOL, 15, 6) == -ENOSPC);
	CHILD_CHECK(!wx_alloc(fd, POOL, 15, 5));
	CHILD_CHECK(!wx_alloc(other, POOL, 15, 5));
}

TEST_F(limit, opener_is_charged)
{
	pid_t pid;

	ASSERT_EQ(0, set_limits(100, 20));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		CHILD_CHECK(!setresuid(USER_A, USER_A, USER_B));
		opener_pays();
		_exit(0);
	}
	EXPECT_EQ(0, wx_wait(pid));
}

/* Absurd lengths are over the limit at once, not after filling memory. */
TEST_F(limit, absurd_lengths)
{
	int fd = wx_open();
	struct wxpool_range r[8];
	struct wxpool_info info;
	unsigned int i;

	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, wx_info(fd, &info));
	for (i = 0; i < 8; i++) {
		r[i] = wx_range(0, 1, 0, NULL);
		r[i].offset = i * (info.space / 8);
		r[i].length = info.space / 8;
	}
	EXPECT_EQ(-ENOSPC, wx_alloc_vec(fd, POOL, r, 8));
	r[0].length = info.space;
	EXPECT_EQ(-ENOSPC, wx_alloc_vec(fd, POOL, r, 1));
	EXPECT_STAT(fd, 0, 0, 0, 0, 0);
}

/* Kept for a child, pages count; once it is gone they do not. */
TEST_F(limit, kept_then_gone)
{
	int fd = wx_open(), go[2];
	pid_t pid;
	char *x;

	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, pipe(go));
	ASSERT_EQ(0, set_limits(10, self->user));
	ASSERT_EQ(0, wx_alloc(fd, POOL, 0, 10));
	ASSERT_EQ(0, wx_protect(fd, POOL, 0, 10, WXPOOL_PROT_X));
	x = wx_view(fd, RX, 0, 10);
	ASSERT_NE(MAP_FAILED, x);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		wx_wait_step(go[0]);
		CHILD_CHECK(!try_read(x + PG(9)));
		_exit(0);
	}
	ASSERT_EQ(0, wx_free(fd, POOL));
	EXPECT_STAT(fd, 0, 0, 0, 0, 10);
	EXPECT_EQ(-ENOSPC, wx_alloc(fd, POOL, 20, 1));
	wx_step(go[1]);
	ASSERT_EQ(0, wx_wait(pid));
	EXPECT_EQ(0, wx_alloc(fd, POOL, 0, 10));
	EXPECT_STAT(fd, 1, 10, 0, 0, 0);
}

/* A limit taken below what is held refuses more, and takes nothing away. */
TEST_F(limit, lowered)
{
	int fd = wx_open();
	char *w;

	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, wx_alloc(fd, POOL, 0, 10));
	w = wx_view(fd, RW, 0, 10);
	ASSERT_NE(MAP_FAILED, w);
	ASSERT_EQ(0, set_limits(5, self->user));
	EXPECT_EQ(5, wx_stat(fd).limit);
	EXPECT_EQ(-ENOSPC, wx_alloc(fd, POOL, 10, 1));
	EXPECT_EQ(0, try_write(w + PG(9), 1));
	EXPECT_EQ(0, wx_protect(fd, POOL, 0, 10, WXPOOL_PROT_X));
	EXPECT_EQ(0, wx_free(fd, POOL));
	EXPECT_EQ(0, wx_alloc(fd, POOL, 0, 5));
	EXPECT_EQ(-ENOSPC, wx_alloc(fd, POOL, 5, 1));
}

/* ------------------------------------------------------------ packed pages */

#define AT(page, line)	((uint64_t)PG(page) + (line) * LINE)

/* What a refused INSTALL leaves: the counts, an absent page, no pool */
#define CHECK_NO_SPACE(fd, pool, r, nr) do {				\
	struct wx_stat _before = wx_stat(fd), _after;			\
									\
	CHILD_CHECK(wx_install_vec(fd, pool, r, nr) == -ENOSPC);	\
	_after = wx_stat(fd);						\
	CHILD_CHECK(!memcmp(&_before, &_after, sizeof(_before)));	\
	CHILD_CHECK(wx_free(fd, pool) == -ENOENT);			\
} while (0)

static void install_in_ten(void)
{
	size_t len = PG(11), i;
	struct wxpool_range r[11];
	char *src = malloc(len), *x;
	int fd = wx_open();

	CHILD_CHECK(fd >= 0 && src);
	wx_pattern(src, len, 1);
	x = wx_view(fd, RX, 0, 64);
	CHILD_CHECK(x != MAP_FAILED);
	/* Eleven pages are one too many, in one range or in eleven. */
	r[0] = wx_bytes(0, src, len, WXPOOL_PROT_X);
	CHECK_NO_SPACE(fd, POOL, r, 1);
	CHILD_CHECK(try_read(x) == SIGBUS);
	for (i = 0; i < 11; i++)
		r[i] = wx_bytes(AT(3 * i, i), src, 1, 1 + i % 2);
	CHECK_NO_SPACE(fd, POOL, r, 11);
	CHILD_CHECK(try_read(x + PG(3)) == SIGBUS);
	CHILD_CHECK(!wx_install_vec(fd, POOL, r, 10));
	CHILD_CHECK(wx_stat(fd).packed == 10);
	CHECK_NO_SPACE(fd, 2, r + 10, 1);

	/* Pages that are there cost nothing, whichever pool comes to them. */
	for (i = 0; i < 10; i++)
		r[i].offset += LINE;
	CHILD_CHECK(!wx_install_vec(fd, 2, r, 10));
	CHILD_CHECK(!wx_install(fd, 3, AT(3, 10), src, 40 * LINE, WXPOOL_PROT_X));
	/* A vector that needs one page more changes nothing of these, either. */
	for (i = 0; i < 11; i++)
		r[i].offset += LINE;
	CHECK_NO_SPACE(fd, 4, r, 11);
	CHILD_CHECK(wx_alloc(fd, 4, 60, 1) == -ENOSPC);
	/* Refusals for other reasons are not charged. */
	CHILD_CHECK(!wx_free(fd, POOL) && !wx_free(fd, 2));
	CHILD_CHECK(wx_stat(fd).packed == 1);
	for (i = 0; i < 20; i++) {
		r[0] = wx_bytes(PG(20), src, PG(4), WXPOOL_PROT_X);
		r[1] = wx_bytes(AT(30, 0), NULL, 1, WXPOOL_PROT_X);
		CHILD_CHECK(wx_install_vec(fd, 4, r, 2) == -EFAULT);
		r[1] = wx_bytes(AT(3, 10), src, 1, WXPOOL_PROT_X);
		CHILD_CHECK(wx_install_vec(fd, 4, r, 2) == -EEXIST);
	}
	CHILD_CHECK(!wx_install(fd, 4, PG(20), src, PG(9), WXPOOL_PROT_X));
	CHILD_CHECK(!wx_free(fd, 4) && !wx_free(fd, 3));
	CHILD_CHECK(!wx_alloc(fd, 4, 0, 10));
}

TEST_F(limit, install)
{
	ASSERT_EQ(0, set_limits(10, 100));
	EXPECT_EQ(0, as_user(USER_A, install_in_ten));
	ASSERT_EQ(0, set_limits(100, 10));
	EXPECT_EQ(0, as_user(USER_A, install_in_ten));
	EXPECT_EQ(0, as_user(USER_B, install_in_ten));
}

/* At the limit: full pages into a window that has them, or that is new */
static void install_huge(void)
{
	struct wxpool_info info;
	struct wxpool_range r;
	char *src = calloc(2, wx_page_size);
	struct wx_stat st;
	uint64_t size;
	int fd = wx_open();

	CHILD_CHECK(fd >= 0 && src && !wx_info(fd, &info));
	size = info.huge_size;
	/* There is room for one window and half of one. */
	r = wx_bytes(0, src, 1, WXPOOL_PROT_X);
	CHILD_CHECK(!wx_install_flags(fd, POOL, &r, 1, WXPOOL_INSTALL_HUGE));
	st = wx_stat(fd);
	r = wx_bytes(size, src, 1, WXPOOL_PROT_X);
	CHILD_CHECK(!wx_install_flags(fd, 2, &r, 1, WXPOOL_INSTALL_HUGE));
	CHILD_CHECK(wx_stat(fd).packed == st.packed + 1);
	CHILD_CHECK(wx_stat(fd).huge == st.huge);
	if (!st.huge)
		return;
	/* With one page at a time it is full in the end. */
	CHILD_CHECK(!wx_free(fd, 2));
	CHILD_CHECK(!wx_alloc(fd, 2, 4 * st.huge, st.huge / 2));
	r = wx_bytes(size, src, 1, WXPOOL_PROT_X);
	CHILD_CHECK(wx_install_flags(fd, 3, &r, 1, WXPOOL_INSTALL_HUGE) == -ENOSPC);
	/* What needs no page works: in lines, and in full pages. */
	CHILD_CHECK(!wx_install(fd, 3, AT(5, 1), src, LINE, WXPOOL_PROT_X));
	CHILD_CHECK(!wx_install(fd, 3, PG(6), src, PG(1), WXPOOL_PROT_X));
	CHILD_CHECK(!wx_free(fd, POOL) && !wx_free(fd, 2) && !wx_free(fd, 3));
	/* All of it back, for regions now */
	CHILD_CHECK(!wx_alloc(fd, POOL, 0, st.huge + st.huge / 2));
	CHILD_CHECK(wx_alloc(fd, POOL, 2 * st.huge, 1) == -ENOSPC);
}

TEST_F(limit, huge)
{
	struct wxpool_range r = wx_bytes(0, "x", 1, WXPOOL_PROT_X);
	struct wxpool_info info;
	int fd = wx_open();
	long nr;

	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, wx_info(fd, &info));
	if (!info.huge_size)
		SKIP(return, "this kernel has no huge pages");
	nr = info.huge_size / wx_page_size;
	ASSERT_EQ(0, set_limits(nr + nr / 2, 10 * nr));
	EXPECT_EQ(0, as_user(USER_A, install_huge));
	/* Too little for a window from the start */
	ASSERT_EQ(0, set_limits(nr - 1, 10 * nr));
	EXPECT_EQ(0, wx_install_flags(fd, POOL, &r, 1, WXPOOL_INSTALL_HUGE));
	EXPECT_PACKED(fd, 1, 1, 0);
}

/*
 * Where the owner needs a copy of a page that a child shows, there must be
 * room for it: else nothing changes, and it works once the child is gone.
 */
TEST_F(limit, no_room_for_a_copy)
{
	int fd = wx_open(), go[2];
	struct wxpool_free arg;
	struct wx_stat st;
	pid_t pid;
	size_t i;
	char *x;

	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, pipe(go));
	/* Pages 0 and 1 are shared with pool 2, page 2 is the pool's own. */
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, wx_install_code(fd, POOL, AT(i, 0), 10 + i));
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, wx_install_code(fd, 2, AT(i, 1), 20 + i));
	x = wx_view(fd, RX, 0, 3);
	ASSERT_NE(MAP_FAILED, x);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		close(go[1]);
		wx_wait_step(go[0]);
		for (i = 0; i < 3; i++)
			CHILD_CHECK(!try_exec(x + AT(i, 0), NULL));
		_exit(0);
	}
	/* Room for one of the two copies, and for none */
	for (i = 4; i >= 3; i--) {
		ASSERT_EQ(0, set_limits(i, self->user));
		/* An INSTALL shows what is charged: there is room as before. */
		EXPECT_EQ(i == 4 ? 0 : -ENOSPC, wx_install_code(fd, 9, AT(9, 0), 1));
		EXPECT_EQ(i == 4 ? 0 : -ENOENT, wx_free(fd, 9));
		st = wx_stat(fd);
		EXPECT_EQ(-ENOSPC, wx_free(fd, POOL));
		EXPECT_STAT(fd, st.pools, st.open, st.read, st.exec, st.kept);
		EXPECT_PACKED(fd, st.packed, st.lines, st.huge);
		EXPECT_EQ(0, try_exec(x + AT(0, 0), NULL));
		EXPECT_EQ(0, try_exec(x + AT(1, 0), NULL));
		EXPECT_EQ(0, try_exec(x + AT(2, 0), NULL));
		EXPECT_EQ(-EEXIST, wx_install_code(fd, 3, AT(0, 0), 1));
		EXPECT_EQ(-EEXIST, wx_install_code(fd, 3, AT(2, 0), 1));
	}
	close(go[1]);
	close(go[0]);
	EXPECT_EQ(0, wx_wait(pid));
	EXPECT_EQ(0, wx_free_out(fd, POOL, &arg));
	EXPECT_EQ(1, arg.nr_freed);
	EXPECT_EQ(0, arg.nr_kept);
	EXPECT_EQ(SIGTRAP, try_exec(x + AT(0, 0), NULL));
	EXPECT_EQ(0, try_exec(x + AT(0, 1), NULL));
	EXPECT_EQ(SIGBUS, try_exec(x + AT(2, 0), NULL));
	EXPECT_STAT(fd, 1, 0, 0, 2, 0);
}

/* ---------------------------------------------------------- memory cgroups */

#define CGROUP_DIR	"/tmp/wxpool-cgroup"
#define GROUP		CGROUP_DIR "/wxpool-test"
#define MIB		(1L << 20)

FIXTURE(memcg) {
	bool mounted;
	char root[64], group[96];
};

static int group_write(const char *dir, const char *file, const char *text)
{
	char path[192];

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	return wx_write_file(path, text);
}

static long group_read(const char *dir, const char *file)
{
	char path[192];

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	return wx_read_long(path);
}

FIXTURE_SETUP(memcg)
{
	if (access(WX_DEV, F_OK))
		SKIP(return, "no " WX_DEV ": modprobe wxpool first");
	strcpy(self->root, "/sys/fs/cgroup");
	if (access("/sys/fs/cgroup/cgroup.controllers", F_OK)) {
		mkdir(CGROUP_DIR, 0755);
		if (mount("none", CGROUP_DIR, "cgroup2", 0, NULL))
			SKIP(return, "no cgroup2: %s", strerror(errno));
		self->mounted = true;
		strcpy(self->root, CGROUP_DIR);
	}
	snprintf(self->group, sizeof(self->group), "%s/wxpool-test", self->root);
	if (group_write(self->root, "cgroup.subtree_control", "+memory"))
		SKIP(return, "no memory controller in cgroup2");
	if (mkdir(self->group, 0755))
		ASSERT_EQ(EEXIST, errno);
}

FIXTURE_TEARDOWN(memcg)
{
	rmdir(self->group);
	if (self->mounted)
		umount(CGROUP_DIR);
}

/* Pages show up in the group of the one who calls, and go when freed. */
static void charged_child(const char *group, int say, int hear)
{
	int fd;

	CHILD_CHECK(!group_write(group, "cgroup.procs", "0"));
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

	ASSERT_EQ(0, group_write(self->group, "memory.max", "max"));
	ASSERT_EQ(0, pipe(say));
	ASSERT_EQ(0, pipe(hear));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid)
		charged_child(self->group, say[1], hear[0]);
	close(say[1]);
	ASSERT_EQ(0, wx_wait_step(say[0]));
	before = group_read(self->group, "memory.current");
	wx_step(hear[1]);
	ASSERT_EQ(0, wx_wait_step(say[0]));
	with = group_read(self->group, "memory.current");
	wx_step(hear[1]);
	ASSERT_EQ(0, wx_wait_step(say[0]));
	after = group_read(self->group, "memory.current");
	wx_step(hear[1]);
	EXPECT_EQ(0, wx_wait(pid));
	/* The kernel counts in batches: a MiB either way */
	EXPECT_GT(with, before + 15 * MIB);
	EXPECT_LT(with, before + 20 * MIB);
	EXPECT_LT(after, before + 2 * MIB);
}

static void limited_child(const char *group)
{
	size_t nr = 64 * MIB / wx_page_size;
	int fd, i, ret;

	CHILD_CHECK(!group_write(group, "cgroup.procs", "0"));
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

	ASSERT_EQ(0, group_write(self->group, "memory.max", "33554432"));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid)
		limited_child(self->group);
	EXPECT_EQ(0, wx_wait(pid));
	EXPECT_LT(group_read(self->group, "memory.current"), 8 * MIB);
}

/* In a group with less than a huge page left there are single pages. */
static void fill_group(const char *group)
{
	size_t nr = 256 * 1024 / wx_page_size, i;
	struct wxpool_range r;
	struct wx_stat st;
	uint32_t val;
	char *x;
	int fd;

	CHILD_CHECK(!group_write(group, "cgroup.procs", "0"));
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
					      WXPOOL_INSTALL_HUGE));
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

	ASSERT_EQ(0, group_write(self->group, "memory.max", "33554432"));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid)
		fill_group(self->group);
	EXPECT_EQ(0, wx_wait(pid));
	EXPECT_LT(group_read(self->group, "memory.current"), 8 * MIB);
}

/* An INSTALL that does not fit leaves nothing, and what fits does later. */
static void install_too_much(const char *group)
{
	char *src = mmap(NULL, WXPOOL_MAX_INSTALL, RW,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd, i;

	CHILD_CHECK(src != MAP_FAILED);
	memset(src, 0x11, WXPOOL_MAX_INSTALL);	/* charged to another group */
	CHILD_CHECK(!group_write(group, "cgroup.procs", "0"));
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

	ASSERT_EQ(0, group_write(self->group, "memory.max", "8388608"));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid)
		install_too_much(self->group);
	EXPECT_EQ(0, wx_wait(pid));
	EXPECT_LT(group_read(self->group, "memory.current"), 4 * MIB);
}

/* ---------------------------------------------------------------- signals */

static long free_memory_kib(void)
{
	char line[128];
	long kib = -1;
	FILE *f = fopen("/proc/meminfo", "r");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemFree: %ld", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib;
}

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
	start = free_memory_kib();
	ptrace(PTRACE_CONT, pid, NULL, NULL);
	wx_wait_step(ready[0]);
	while (start - free_memory_kib() < kib / 16)
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
	ASSERT_EQ(0, set_limits(nr, nr));
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
