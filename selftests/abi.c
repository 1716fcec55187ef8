// SPDX-License-Identifier: GPL-2.0
/*
 * The shape of the interface: layout and growth of structures, unknown
 * operations, malformed arguments, bad pointers, contexts that are not the one
 * that was meant, and the order in which all that is noticed. Built for 32-bit
 * user space as well, where the toolchain can: abi_32 must pass on the same kernel.
 */
#include <stddef.h>

#include "wxpool_util.h"

#define MIB	(1U << 20)

/* A structure with room to grow, at the end of which memory ends */
union grown {
	struct wxpool_info info;
	struct wxpool_alloc alloc;
	struct wxpool_protect protect;
	struct wxpool_install install;
	struct wxpool_free free;
	struct wxpool_freeze freeze;
	struct {
		uint32_t size, second;
		uint64_t context;
	};
	unsigned char bytes[4096];
};

/* An element of the vector of any operation */
union element {
	struct wxpool_alloc_range alloc;
	struct wxpool_protect_range protect;
	struct wxpool_install_range install;
	uint32_t pool;
};

/* Three pages: read and write, then one of no access */
static char *guarded_pages(void)
{
	char *p = mmap(NULL, PG(3), RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p != MAP_FAILED && mprotect(p + PG(2), PG(1), PROT_NONE))
		return MAP_FAILED;
	return p;
}

TEST(layout)
{
	EXPECT_EQ(200, sizeof(struct wxpool_info));
	EXPECT_EQ(4, offsetof(struct wxpool_info, pool));
	EXPECT_EQ(8, offsetof(struct wxpool_info, context));
	EXPECT_EQ(24, offsetof(struct wxpool_info, features));
	EXPECT_EQ(40, offsetof(struct wxpool_info, page_size));
	EXPECT_EQ(52, offsetof(struct wxpool_info, max_ranges));
	EXPECT_EQ(56, offsetof(struct wxpool_info, context_limit));
	EXPECT_EQ(88, offsetof(struct wxpool_info, pools));
	EXPECT_EQ(168, offsetof(struct wxpool_info, lines_kept));
	EXPECT_EQ(176, offsetof(struct wxpool_info, pool_state));
	EXPECT_EQ(192, offsetof(struct wxpool_info, pool_lines));
	EXPECT_EQ(32, sizeof(struct wxpool_alloc));
	EXPECT_EQ(8, offsetof(struct wxpool_alloc, context));
	EXPECT_EQ(16, offsetof(struct wxpool_alloc, ranges));
	EXPECT_EQ(24, offsetof(struct wxpool_alloc, nr_ranges));
	EXPECT_EQ(28, offsetof(struct wxpool_alloc, flags));
	EXPECT_EQ(16, sizeof(struct wxpool_alloc_range));
	EXPECT_EQ(32, sizeof(struct wxpool_protect));
	EXPECT_EQ(8, offsetof(struct wxpool_protect, context));
	EXPECT_EQ(16, offsetof(struct wxpool_protect, ranges));
	EXPECT_EQ(24, offsetof(struct wxpool_protect, nr_ranges));
	EXPECT_EQ(28, offsetof(struct wxpool_protect, flags));
	EXPECT_EQ(24, sizeof(struct wxpool_protect_range));
	EXPECT_EQ(16, offsetof(struct wxpool_protect_range, prot));
	EXPECT_EQ(32, sizeof(struct wxpool_install));
	EXPECT_EQ(8, offsetof(struct wxpool_install, context));
	EXPECT_EQ(16, offsetof(struct wxpool_install, ranges));
	EXPECT_EQ(24, offsetof(struct wxpool_install, nr_ranges));
	EXPECT_EQ(28, offsetof(struct wxpool_install, flags));
	EXPECT_EQ(32, sizeof(struct wxpool_install_range));
	EXPECT_EQ(16, offsetof(struct wxpool_install_range, source));
	EXPECT_EQ(24, offsetof(struct wxpool_install_range, prot));
	EXPECT_EQ(28, offsetof(struct wxpool_install_range, flags));
	EXPECT_EQ(56, sizeof(struct wxpool_free));
	EXPECT_EQ(4, offsetof(struct wxpool_free, flags));
	EXPECT_EQ(8, offsetof(struct wxpool_free, context));
	EXPECT_EQ(16, offsetof(struct wxpool_free, pools));
	EXPECT_EQ(24, offsetof(struct wxpool_free, nr_pools));
	EXPECT_EQ(32, offsetof(struct wxpool_free, pages_freed));
	EXPECT_EQ(48, offsetof(struct wxpool_free, lines_kept));
	EXPECT_EQ(16, sizeof(struct wxpool_freeze));
	EXPECT_EQ(4, offsetof(struct wxpool_freeze, flags));
	EXPECT_EQ(8, offsetof(struct wxpool_freeze, context));
	EXPECT_EQ(16, sizeof(struct wxpool_uring_cmd));
	EXPECT_EQ(8, offsetof(struct wxpool_uring_cmd, __reserved));
	EXPECT_EQ(2, WXPOOL_ABI_VERSION);
	EXPECT_EQ(1, WXPOOL_PROT_R);
	EXPECT_EQ(2, WXPOOL_PROT_X);
	EXPECT_EQ(3, WXPOOL_PROT_XO);
	EXPECT_EQ(1, WXPOOL_FEATURE_XO);
	EXPECT_EQ(0, WXPOOL_POOL_GONE);
	EXPECT_EQ(1, WXPOOL_POOL_KEPT);
	EXPECT_EQ(2, WXPOOL_POOL_LIVE);
	EXPECT_EQ(1, WXPOOL_INSTALL_BLOCKS);
	EXPECT_EQ(1, WXPOOL_RANGE_CONT);
	EXPECT_EQ(1, WXPOOL_FREE_ALL);
	EXPECT_EQ(2, WXPOOL_FREE_REVOKE);
	EXPECT_EQ(1024, WXPOOL_MAX_RANGES);
	EXPECT_EQ(16 << 20, WXPOOL_MAX_INSTALL);
	EXPECT_EQ(0x5780, WXPOOL_IOC_INFO);
	EXPECT_EQ(0x5781, WXPOOL_IOC_ALLOC);
	EXPECT_EQ(0x5782, WXPOOL_IOC_PROTECT);
	EXPECT_EQ(0x5783, WXPOOL_IOC_FREE);
	EXPECT_EQ(0x5784, WXPOOL_IOC_INSTALL);
	EXPECT_EQ(0x5785, WXPOOL_IOC_FREEZE);
}

/* ------------------------------------------------------------------ INFO */

TEST_F(ctx, info)
{
	struct wxpool_info info;
	long bytes;

	ASSERT_EQ(0, wx_info(self->fd, &info));
	EXPECT_EQ(sizeof(info), info.size);
	EXPECT_EQ(WXPOOL_ABI_VERSION, info.abi_version);
	EXPECT_EQ(0, info.frozen);
	EXPECT_EQ(0, info.features & ~(uint64_t)WXPOOL_FEATURE_XO);
	EXPECT_EQ(wx_page_size, info.page_size);
	EXPECT_EQ(64, info.line_size);
	EXPECT_EQ(WXPOOL_MAX_RANGES, info.max_ranges);
	EXPECT_EQ(0, info.block_size & (info.block_size - 1));
	EXPECT_TRUE(!info.block_size || info.block_size > info.page_size);
	EXPECT_EQ(0, info.space % info.page_size);
	EXPECT_GE(info.space, 1UL << 30);
	EXPECT_NE(0, info.context);

	bytes = wx_read_long(WX_PARAM_DIR "max_bytes_per_context");
	ASSERT_GE(bytes, 0);
	EXPECT_EQ(bytes, info.context_limit);
	bytes = wx_read_long(WX_PARAM_DIR "max_bytes_per_user");
	ASSERT_GE(bytes, 0);
	EXPECT_EQ(bytes, info.user_limit);
}

/* Everything but the first three is output, whatever was there before. */
TEST_F(ctx, info_overwrites)
{
	struct wxpool_info clean, dirty;

	ASSERT_EQ(0, wx_make_code(self->fd, 1, 0, 1));
	ASSERT_EQ(0, wx_info(self->fd, &clean));
	memset(&dirty, 0xff, sizeof(dirty));
	dirty.size = sizeof(dirty);
	dirty.pool = 0;
	dirty.context = 0;
	ASSERT_EQ(0, wx_ioctl(self->fd, WXPOOL_IOC_INFO, &dirty));
	EXPECT_EQ(0, dirty.__reserved);
	EXPECT_EQ(0, memcmp(&clean, &dirty, sizeof(clean)));
}

TEST_F(ctx, info_counts)
{
	struct wxpool_info info;
	uint64_t charged, user;

	ASSERT_EQ(0, wx_info(self->fd, &info));
	EXPECT_EQ(0, info.pools + info.pages_open + info.pages_read +
		     info.pages_exec + info.pages_exec_only + info.pages_packed +
		     info.pages_huge + info.pages_idle + info.pages_kept +
		     info.lines + info.lines_kept);
	charged = info.charged;
	user = info.user_charged;
	EXPECT_LE(charged, user);
	EXPECT_LE(user, info.user_limit);

	/* A page or two of each state, and lines of two pools in each kind */
	ASSERT_EQ(0, wx_alloc(self->fd, 1, 0, 10));
	ASSERT_EQ(0, wx_protect(self->fd, 1, 1, 2, WXPOOL_PROT_R));
	ASSERT_EQ(0, wx_protect(self->fd, 1, 3, 3, WXPOOL_PROT_X));
	ASSERT_EQ(0, wx_protect(self->fd, 1, 6, 1, WXPOOL_PROT_XO));
	ASSERT_EQ(0, wx_install(self->fd, 2, PG(20), "r", 1, WXPOOL_PROT_R));
	ASSERT_EQ(0, wx_install(self->fd, 2, PG(21), "x", 1, WXPOOL_PROT_X));
	ASSERT_EQ(0, wx_install(self->fd, 3, PG(21) + LINE, "x", 1, WXPOOL_PROT_X));
	ASSERT_EQ(0, wx_install(self->fd, 3, PG(22), "xo", 2, WXPOOL_PROT_XO));
	ASSERT_EQ(0, wx_install_code(self->fd, 3, PG(23), 1));

	ASSERT_EQ(0, wx_info(self->fd, &info));
	EXPECT_EQ(3, info.pools);
	EXPECT_EQ(4, info.pages_open);
	EXPECT_EQ(3, info.pages_read);
	EXPECT_EQ(5, info.pages_exec);
	EXPECT_EQ(2, info.pages_exec_only);
	EXPECT_EQ(4, info.pages_packed);
	EXPECT_EQ(0, info.pages_huge);
	EXPECT_EQ(0, info.pages_idle);
	EXPECT_EQ(0, info.pages_kept);
	EXPECT_EQ(5, info.lines);
	EXPECT_EQ(0, info.lines_kept);
	EXPECT_GE(info.charged, charged + PG(14));
	EXPECT_EQ(info.charged - charged, info.user_charged - user);
	EXPECT_EQ(0, info.pool_state + info.pool_pages + info.pool_lines);
	EXPECT_POOL(self->fd, 1, WXPOOL_POOL_LIVE, 10, 0);
	EXPECT_POOL(self->fd, 2, WXPOOL_POOL_LIVE, 0, 2);
	EXPECT_POOL(self->fd, 3, WXPOOL_POOL_LIVE, 0, 3);
	EXPECT_POOL(self->fd, 4, WXPOOL_POOL_GONE, 0, 0);
	EXPECT_POOL(self->fd, UINT32_MAX, WXPOOL_POOL_GONE, 0, 0);

	ASSERT_EQ(0, wx_freeze(self->fd));
	ASSERT_EQ(0, wx_info(self->fd, &info));
	EXPECT_EQ(1, info.frozen);
	ASSERT_EQ(0, wx_free_all(self->fd, 0));
	ASSERT_EQ(0, wx_info(self->fd, &info));
	EXPECT_EQ(0, info.pools + info.pages_open + info.pages_read +
		     info.pages_exec + info.pages_exec_only + info.pages_packed +
		     info.lines);
	EXPECT_POOL(self->fd, 1, WXPOOL_POOL_GONE, 0, 0);
}

/* All that is charged to a context goes with it. */
TEST_F(ctx, info_of_the_user)
{
	uint64_t before = wx_stat(self->fd).user_charged;
	struct wx_stat st;
	int fd = wx_open();

	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, wx_alloc(fd, 1, 0, 100));
	ASSERT_EQ(0, wx_install_code(fd, 2, PG(200), 1));
	st = wx_stat(fd);
	EXPECT_GE(st.charged, PG(101));
	EXPECT_EQ(before + st.charged, wx_stat(self->fd).user_charged);
	EXPECT_EQ(before + st.charged, st.user_charged);
	close(fd);
	EXPECT_EQ(before, wx_stat(self->fd).user_charged);
}

/* A child with the views of the moment, which ends with a step through @end */
static pid_t fork_heir(int *end)
{
	int go[2];
	pid_t pid;

	if (pipe(go))
		return -1;
	pid = wx_fork();
	if (!pid) {
		wx_wait_step(go[0]);
		_exit(0);
	}
	*end = go[1];
	return pid;
}

/* Children that show pools keep them: with the number free for another. */
TEST_F(ctx, info_of_kept_pools)
{
	struct wxpool_free arg;
	uint64_t charged;
	pid_t old, young;
	int end[2];

	ASSERT_EQ(0, wx_view_at(self->fd, RX, 0, 20, self->win));
	ASSERT_EQ(0, wx_alloc(self->fd, 1, 0, 3));
	ASSERT_EQ(0, wx_protect(self->fd, 1, 0, 2, WXPOOL_PROT_X));
	ASSERT_EQ(0, wx_install_code(self->fd, 1, PG(10), 1));
	ASSERT_EQ(0, wx_install_code(self->fd, 2, PG(10) + LINE, 1));
	charged = wx_stat(self->fd).charged;
	old = fork_heir(&end[0]);
	ASSERT_GE(old, 0);
	EXPECT_POOL(self->fd, 1, WXPOOL_POOL_LIVE, 3, 1);
	ASSERT_EQ(0, wx_free_out(self->fd, 1, &arg));
	EXPECT_EQ(0, arg.pages_freed);
	EXPECT_EQ(3, arg.pages_kept);
	EXPECT_EQ(1, arg.lines_kept);
	EXPECT_POOL(self->fd, 1, WXPOOL_POOL_KEPT, 3, 1);
	EXPECT_STAT(self->fd, 1, 0, 0, 1, 3);
	EXPECT_PACKED(self->fd, 1, 1, 0);
	EXPECT_KEPT_LINES(self->fd, 1);
	EXPECT_GE(wx_stat(self->fd).charged, PG(4));
	EXPECT_LE(wx_stat(self->fd).charged, charged);

	/* The same number lives again, elsewhere, and is nobody's but the owner's. */
	EXPECT_EQ(-EEXIST, wx_alloc(self->fd, 1, 0, 1));
	ASSERT_EQ(0, wx_alloc(self->fd, 1, 5, 2));
	EXPECT_POOL(self->fd, 1, WXPOOL_POOL_LIVE, 2, 0);
	ASSERT_EQ(0, wx_free_out(self->fd, 1, &arg));
	EXPECT_EQ(2, arg.pages_freed);
	EXPECT_POOL(self->fd, 1, WXPOOL_POOL_KEPT, 3, 1);

	/* And again, until another child keeps that too. */
	ASSERT_EQ(0, wx_alloc(self->fd, 1, 5, 2));
	young = fork_heir(&end[1]);
	ASSERT_GE(young, 0);
	ASSERT_EQ(0, wx_free_out(self->fd, 1, &arg));
	EXPECT_EQ(0, arg.pages_freed);
	EXPECT_EQ(2, arg.pages_kept);
	EXPECT_POOL(self->fd, 1, WXPOOL_POOL_KEPT, 5, 1);
	EXPECT_STAT(self->fd, 1, 0, 0, 1, 5);

	wx_step(end[0]);
	EXPECT_EQ(0, wx_wait(old));
	EXPECT_POOL(self->fd, 1, WXPOOL_POOL_KEPT, 2, 0);
	EXPECT_KEPT_LINES(self->fd, 0);
	wx_step(end[1]);
	EXPECT_EQ(0, wx_wait(young));
	EXPECT_POOL(self->fd, 1, WXPOOL_POOL_GONE, 0, 0);
	EXPECT_STAT(self->fd, 1, 0, 0, 1, 0);
}

/* INFO is not the owner's alone, unlike everything else. */
TEST_F(ctx, info_by_a_child)
{
	uint64_t id = wx_id(self->fd);
	struct wxpool_info info;
	pid_t pid;

	ASSERT_EQ(0, wx_alloc(self->fd, 1, 0, 3));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		CHILD_CHECK(!wx_info(self->fd, &info));
		CHILD_CHECK(info.abi_version == WXPOOL_ABI_VERSION);
		CHILD_CHECK(info.context == id && info.pages_open == 3);
		CHILD_CHECK(wx_pool_info(self->fd, 1).pool_pages == 3);
		_exit(0);
	}
	EXPECT_EQ(0, wx_wait(pid));
}

/* A line of fdinfo as a number, or -1 */
static long long told_by_fdinfo(int fd, const char *name)
{
	char path[64], line[128];
	long long val = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ':')
			val = strtoll(line + strlen(name) + 1, NULL, 0);
	if (f)
		fclose(f);
	return val;
}

/* What people read is what programs are told. */
TEST_F(ctx, fdinfo_is_info)
{
	struct wx_stat told, read;
	pid_t pid;
	int end;

	ASSERT_EQ(0, wx_view_at(self->fd, RX, 0, 40, self->win));
	ASSERT_EQ(0, wx_alloc(self->fd, 1, 0, 10));
	ASSERT_EQ(0, wx_protect(self->fd, 1, 1, 2, WXPOOL_PROT_R));
	ASSERT_EQ(0, wx_protect(self->fd, 1, 3, 3, WXPOOL_PROT_X));
	ASSERT_EQ(0, wx_protect(self->fd, 1, 6, 1, WXPOOL_PROT_XO));
	ASSERT_EQ(0, wx_install_code(self->fd, 2, PG(20), 1));
	ASSERT_EQ(0, wx_install_code(self->fd, 3, PG(20) + LINE, 1));
	ASSERT_EQ(0, wx_alloc(self->fd, 3, 30, 2));
	pid = fork_heir(&end);
	ASSERT_GE(pid, 0);
	ASSERT_EQ(0, wx_free(self->fd, 3));
	told = wx_stat(self->fd);
	EXPECT_EQ(2, told.kept);
	EXPECT_EQ(1, told.kept_lines);
	ASSERT_EQ(0, wx_stat_of(getpid(), self->fd, &read));
	told.user_charged = 0;
	EXPECT_EQ(0, memcmp(&told, &read, sizeof(told)));
	EXPECT_EQ(wx_id(self->fd), told_by_fdinfo(self->fd, "wxpool-context"));
	EXPECT_EQ(2, told_by_fdinfo(self->fd, "wxpool-pools"));
	EXPECT_EQ(4, told_by_fdinfo(self->fd, "wxpool-open"));
	EXPECT_EQ(1, told_by_fdinfo(self->fd, "wxpool-exec-only"));
	/* The same of another process's */
	ASSERT_EQ(0, wx_stat_of(pid, self->fd, &read));
	EXPECT_EQ(0, memcmp(&told, &read, sizeof(told)));
	wx_step(end);
	EXPECT_EQ(0, wx_wait(pid));
}

/* ------------------------------------------------------------- structures */

static const struct {
	unsigned long op;
	uint32_t size;
	bool output;
} ops[] = {
	{ WXPOOL_IOC_INFO, sizeof(struct wxpool_info), true },
	{ WXPOOL_IOC_ALLOC, sizeof(struct wxpool_alloc), false },
	{ WXPOOL_IOC_PROTECT, sizeof(struct wxpool_protect), false },
	{ WXPOOL_IOC_INSTALL, sizeof(struct wxpool_install), false },
	{ WXPOOL_IOC_FREE, sizeof(struct wxpool_free), true },
	{ WXPOOL_IOC_FREEZE, sizeof(struct wxpool_freeze), false },
};

#define NR_OPS	(sizeof(ops) / sizeof(ops[0]))

/*
 * Arguments with which operation @i succeeds once: ALLOC of page 0 of pool 1,
 * PROTECT of the same, INSTALL of a line, and FREE of all; after FREEZE, which
 * is the last, none does. @e outlives the call.
 */
static void good_args(union grown *g, unsigned int i, union element *e)
{
	memset(g, 0, ops[i].size);
	g->size = ops[i].size;
	switch (ops[i].op) {
	case WXPOOL_IOC_ALLOC:
		e->alloc = wx_alloc_range(0, 1);
		g->alloc.pool = 1;
		g->alloc.ranges = (uintptr_t)e;
		g->alloc.nr_ranges = 1;
		break;
	case WXPOOL_IOC_PROTECT:
		e->protect = wx_protect_range(0, 1, WXPOOL_PROT_X);
		g->protect.pool = 1;
		g->protect.ranges = (uintptr_t)e;
		g->protect.nr_ranges = 1;
		break;
	case WXPOOL_IOC_INSTALL:
		e->install = wx_bytes(PG(1), "line", 4, WXPOOL_PROT_R);
		g->install.pool = 1;
		g->install.ranges = (uintptr_t)e;
		g->install.nr_ranges = 1;
		break;
	case WXPOOL_IOC_FREE:
		e->pool = 1;
		g->free.pools = (uintptr_t)e;
		g->free.nr_pools = 1;
		break;
	}
}

TEST_F(ctx, too_short)
{
	const uint32_t cut[] = { 1, 4, 8 };
	union grown g = { 0 };
	struct wx_stat st;
	unsigned int i, j;
	union element e;

	for (i = 0; i < NR_OPS; i++) {
		st = wx_stat(self->fd);
		for (j = 0; j < 3; j++) {
			good_args(&g, i, &e);
			g.size -= cut[j];
			EXPECT_EQ(-EINVAL, wx_ioctl(self->fd, ops[i].op, &g));
		}
		g.size = 0;
		EXPECT_EQ(-EINVAL, wx_ioctl(self->fd, ops[i].op, &g));
		EXPECT_SAME_STAT(self->fd, st);
		good_args(&g, i, &e);
		EXPECT_EQ(0, wx_ioctl(self->fd, ops[i].op, &g));
	}
}

TEST_F(ctx, longer_with_zero_tail)
{
	const uint32_t sizes[] = { 4, 8, 64, 0 };
	union grown g = { 0 };
	unsigned int i, j, k;
	union element e;
	int fd;

	for (j = 0; j < 4; j++) {
		fd = wx_open();
		ASSERT_GE(fd, 0);
		for (i = 0; i < NR_OPS; i++) {
			memset(&g, 0, sizeof(g));
			good_args(&g, i, &e);
			g.size = sizes[j] ? ops[i].size + sizes[j] : sizeof(g);
			EXPECT_EQ(0, wx_ioctl(fd, ops[i].op, &g)) {
				TH_LOG("op %#lx size %u", ops[i].op, g.size);
			}
			for (k = ops[i].size; k < sizeof(g); k++)
				ASSERT_EQ(0, g.bytes[k]);
		}
		EXPECT_STAT(fd, 0, 0, 0, 0, 0);
	}
}

TEST_F(ctx, longer_with_unknown_tail)
{
	union grown g = { 0 };
	struct wx_stat st;
	union element e;
	unsigned int i;

	for (i = 0; i < NR_OPS; i++) {
		st = wx_stat(self->fd);

		memset(&g, 0, sizeof(g));
		good_args(&g, i, &e);
		g.size = ops[i].size + 1;
		g.bytes[ops[i].size] = 1;
		EXPECT_EQ(-E2BIG, wx_ioctl(self->fd, ops[i].op, &g));

		memset(&g, 0, sizeof(g));
		good_args(&g, i, &e);
		g.size = sizeof(g);
		g.bytes[sizeof(g) - 1] = 0x80;
		EXPECT_EQ(-E2BIG, wx_ioctl(self->fd, ops[i].op, &g));
		EXPECT_SAME_STAT(self->fd, st);

		/* Beyond what the size covers it is none of its business. */
		g.size = sizeof(g) - 1;
		EXPECT_EQ(0, wx_ioctl(self->fd, ops[i].op, &g));
	}
}

/* No structure grows beyond a page, whatever the tail holds. */
TEST_F(ctx, absurd_size)
{
	const uint32_t sizes[] = { 4097, 8192, 1U << 20, UINT32_MAX };
	char *mem = mmap(NULL, MIB, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	union grown *g = (void *)mem;
	unsigned int i, j;
	union element e;

	ASSERT_NE(MAP_FAILED, mem);
	for (i = 0; i < NR_OPS; i++)
		for (j = 0; j < 4; j++) {
			good_args(g, i, &e);
			g->size = sizes[j] == 4097 ? wx_page_size + 1 : sizes[j];
			EXPECT_EQ(-E2BIG, wx_ioctl(self->fd, ops[i].op, g)) {
				TH_LOG("op %#lx size %u", ops[i].op, g->size);
			}
		}
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
}

/* No byte beyond the size is read or written: the next page is no memory. */
TEST_F(ctx, exact_end)
{
	char *end = guarded_pages();
	union element e;
	unsigned int i;
	union grown *g;

	ASSERT_NE(MAP_FAILED, end);
	end += PG(2);
	for (i = 0; i < NR_OPS; i++) {
		g = (void *)(end - ops[i].size);
		good_args(g, i, &e);
		EXPECT_EQ(0, wx_ioctl(self->fd, ops[i].op, g));
	}
}

TEST_F(ctx, unknown_ops)
{
	union grown g = { .size = sizeof(g) };
	unsigned long nr;

	for (nr = 0x7c; nr <= 0x93; nr++) {
		if (nr >= 0x80 && nr <= 0x85)
			continue;
		EXPECT_EQ(-ENOTTY, wx_ioctl(self->fd, _IO('W', nr), &g));
	}
	/* The right number of another type, direction or size */
	EXPECT_EQ(-ENOTTY, wx_ioctl(self->fd, _IO('X', 0x81), &g));
	EXPECT_EQ(-ENOTTY, wx_ioctl(self->fd, _IO(0, 0x81), &g));
	EXPECT_EQ(-ENOTTY,
		  wx_ioctl(self->fd, _IOW('W', 0x81, struct wxpool_alloc), &g));
	EXPECT_EQ(-ENOTTY,
		  wx_ioctl(self->fd, _IOWR('W', 0x83, struct wxpool_free), &g));
	EXPECT_EQ(-ENOTTY,
		  wx_ioctl(self->fd, _IOW('W', 0x84, struct wxpool_install), &g));
	EXPECT_EQ(-ENOTTY,
		  wx_ioctl(self->fd, _IOW('W', 0x85, struct wxpool_freeze), &g));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
}

TEST_F(ctx, bad_pointers)
{
	char *none = mmap(NULL, PG(1), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	struct wx_stat st;
	union element e;
	unsigned int i;
	union grown g;

	ASSERT_NE(MAP_FAILED, none);
	for (i = 0; i < NR_OPS; i++) {
		st = wx_stat(self->fd);
		EXPECT_EQ(-EFAULT, wx_ioctl(self->fd, ops[i].op, NULL));
		EXPECT_EQ(-EFAULT, wx_ioctl(self->fd, ops[i].op, none));
		/* The kernel's half of the address space */
		EXPECT_EQ(-EFAULT, wx_ioctl(self->fd, ops[i].op,
					    (void *)~0xfffUL));
		EXPECT_SAME_STAT(self->fd, st);
		good_args(&g, i, &e);
		EXPECT_EQ(0, wx_ioctl(self->fd, ops[i].op, &g));
	}
}

TEST_F(ctx, struct_runs_out_of_memory)
{
	char *end = guarded_pages();
	struct wx_stat st;
	union element e;
	unsigned int i;
	union grown g, *p;

	ASSERT_NE(MAP_FAILED, end);
	end += PG(2);
	for (i = 0; i < NR_OPS; i++) {
		st = wx_stat(self->fd);
		good_args(&g, i, &e);
		p = (void *)(end - ops[i].size + 8);
		memcpy(p, &g, ops[i].size - 8);
		EXPECT_EQ(-EFAULT, wx_ioctl(self->fd, ops[i].op, p));
		p = (void *)(end - 4);
		p->size = ops[i].size;
		EXPECT_EQ(-EFAULT, wx_ioctl(self->fd, ops[i].op, p));
		EXPECT_SAME_STAT(self->fd, st);
		EXPECT_EQ(0, wx_ioctl(self->fd, ops[i].op, &g));
	}
}

/*
 * Outputs that cannot be delivered: the operation must not have happened. Where
 * there are none, the structure need not be writable.
 */
TEST_F(ctx, readonly_struct)
{
	char *mem = guarded_pages();
	union grown *g = (void *)mem;
	struct wx_stat st;
	union element e;
	unsigned int i;

	ASSERT_NE(MAP_FAILED, mem);
	for (i = 0; i < NR_OPS; i++) {
		st = wx_stat(self->fd);
		good_args(g, i, &e);
		ASSERT_EQ(0, mprotect(mem, PG(1), PROT_READ));
		EXPECT_EQ(ops[i].output ? -EFAULT : 0,
			  wx_ioctl(self->fd, ops[i].op, mem)) {
			TH_LOG("op %#lx", ops[i].op);
		}
		ASSERT_EQ(0, mprotect(mem, PG(1), RW));
		if (!ops[i].output)
			continue;
		EXPECT_SAME_STAT(self->fd, st);
		EXPECT_EQ(0, wx_ioctl(self->fd, ops[i].op, mem));
	}
}

/* ------------------------------------------ the context that was meant */

TEST_F(ctx, ids_are_unique)
{
	uint64_t ids[100];
	unsigned int i, j;
	pid_t pid;
	int fd;

	ids[0] = wx_id(self->fd);
	EXPECT_NE(0, ids[0]);
	for (i = 1; i < 100; i++) {
		fd = wx_open();
		ASSERT_GE(fd, 0);
		ids[i] = wx_id(fd);
		EXPECT_NE(0, ids[i]);
		for (j = 0; j < i; j++)
			ASSERT_NE(ids[i], ids[j]);
		/* Whether the one before it is still there or not */
		if (i % 2)
			close(fd);
	}
	/* One context is one id, by whichever descriptor and process. */
	fd = dup(self->fd);
	EXPECT_EQ(ids[0], wx_id(fd));
	ASSERT_EQ(0, wx_make_code(self->fd, 1, 0, 1));
	EXPECT_EQ(ids[0], wx_id(self->fd));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid)
		_exit(wx_id(self->fd) != ids[0]);
	EXPECT_EQ(0, wx_wait(pid));
}

/* Each operation does what it does with the right id, and nothing with another. */
TEST_F(ctx, wrong_context)
{
	uint64_t id = wx_id(self->fd);
	int other = wx_open();
	const uint64_t wrong[] = {
		wx_id(other), id + 1000000, id ^ 1ULL << 32, id ^ 1ULL << 63,
		UINT64_MAX,
	};
	struct wx_stat st;
	unsigned int i, j;
	union element e;
	union grown g;

	ASSERT_GE(other, 0);
	for (i = 0; i < NR_OPS; i++) {
		st = wx_stat(self->fd);
		for (j = 0; j < 5; j++) {
			good_args(&g, i, &e);
			g.context = wrong[j];
			EXPECT_EQ(-ESTALE, wx_ioctl(self->fd, ops[i].op, &g)) {
				TH_LOG("op %#lx id %u", ops[i].op, j);
			}
			/* And nothing was said instead. */
			EXPECT_EQ(wrong[j], g.context);
		}
		EXPECT_SAME_STAT(self->fd, st);
		good_args(&g, i, &e);
		g.context = id;
		EXPECT_EQ(0, wx_ioctl(self->fd, ops[i].op, &g)) {
			TH_LOG("op %#lx", ops[i].op);
		}
		EXPECT_EQ(id, g.context);
	}
	EXPECT_EQ(-EROFS, wx_alloc(self->fd, 1, 0, 1));
	EXPECT_EQ(0, wx_alloc(other, 1, 0, 1));
}

/* A number that was closed, and means another context by now */
TEST_F(ctx, descriptor_closed_behind_its_back)
{
	uint64_t id = wx_id(self->fd);
	union element e;
	unsigned int i;
	union grown g;
	int again;

	close(self->fd);
	again = wx_open();
	ASSERT_EQ(self->fd, again);
	ASSERT_EQ(0, wx_make_code(again, 1, 0, 1));
	for (i = 0; i < NR_OPS; i++) {
		good_args(&g, i, &e);
		g.context = id;
		EXPECT_EQ(-ESTALE, wx_ioctl(self->fd, ops[i].op, &g));
	}
	EXPECT_STAT(again, 1, 0, 0, 1, 0);
	EXPECT_EQ(0, wx_alloc(again, 1, 1, 1));
}

/* A descriptor that is not open for both adds and removes nothing. */
TEST_F(ctx, half_open_descriptor)
{
	const int modes[] = { O_RDONLY, O_WRONLY };
	unsigned int i, m;
	struct wx_stat st;
	union element e;
	union grown g;
	int fd;

	for (m = 0; m < 2; m++) {
		fd = open(WX_DEV, modes[m] | O_CLOEXEC);
		ASSERT_GE(fd, 0);
		st = wx_stat(fd);
		EXPECT_EQ(0, st.pools);
		EXPECT_NE(0, wx_id(fd));
		for (i = 0; i < NR_OPS; i++) {
			good_args(&g, i, &e);
			EXPECT_EQ(ops[i].op == WXPOOL_IOC_INFO ? 0 : -EBADF,
				  wx_ioctl(fd, ops[i].op, &g)) {
				TH_LOG("op %#lx mode %d", ops[i].op, modes[m]);
			}
			good_args(&g, i, &e);
			g.context = wx_id(fd);
			EXPECT_EQ(ops[i].op == WXPOOL_IOC_INFO ? 0 : -EBADF,
				  wx_ioctl(fd, ops[i].op, &g));
		}
		EXPECT_EQ(-EBADF, wx_free_all(fd, 0));
		EXPECT_EQ(-EBADF, wx_free_all(fd, WXPOOL_FREE_REVOKE));
		EXPECT_SAME_STAT(fd, st);
		EXPECT_EQ(0, wx_pool_info(fd, 1).frozen);
		EXPECT_EQ(-EACCES, wx_try_mmap(fd, RW, MAP_SHARED, 0, 1));
		EXPECT_EQ(m ? -EACCES : 0,
			  wx_try_mmap(fd, PROT_READ, MAP_SHARED, 0, 1));
		EXPECT_EQ(m ? -EACCES : 0, wx_try_mmap(fd, RX, MAP_SHARED, 0, 1));
		EXPECT_EQ(m ? -EACCES : 0, wx_try_mmap(fd, XO, MAP_SHARED, 0, 1));
		close(fd);
	}
}

/* In a child, which is not the owner of @fd */
static void try_in_order(int fd, uint64_t id, bool half)
{
	union element e;
	unsigned int i;
	union grown g;

	for (i = 1; i < NR_OPS; i++) {
		/* With everything wrong, from what counts last to what counts first */
		good_args(&g, i, &e);
		g.second = ops[i].op == WXPOOL_IOC_FREE ||
			   ops[i].op == WXPOOL_IOC_FREEZE ? 1U << 31 : 0;
		CHILD_CHECK(wx_ioctl(fd, ops[i].op, &g) == (half ? -EBADF : -EXDEV));
		g.context = id;
		CHILD_CHECK(wx_ioctl(fd, ops[i].op, &g) == (half ? -EBADF : -EXDEV));
		g.context = id + 1;
		CHILD_CHECK(wx_ioctl(fd, ops[i].op, &g) == -ESTALE);
		memset(g.bytes + ops[i].size, 1, 8);
		g.size += 8;
		CHILD_CHECK(wx_ioctl(fd, ops[i].op, &g) == -E2BIG);
		g.size = ops[i].size - 1;
		CHILD_CHECK(wx_ioctl(fd, ops[i].op, &g) == -EINVAL);
		CHILD_CHECK(wx_ioctl(fd, ops[i].op, NULL) == -EFAULT);
		CHILD_CHECK(wx_ioctl(fd, ops[i].op + 0x40, NULL) == -ENOTTY);
	}
}

TEST_F(ctx, order_of_errors)
{
	int half = open(WX_DEV, O_RDONLY | O_CLOEXEC);
	uint64_t id = wx_id(self->fd), half_id = wx_id(half);
	struct wx_stat st;
	union grown g;
	pid_t pid;

	ASSERT_GE(half, 0);
	ASSERT_EQ(0, wx_alloc(self->fd, 1, 0, 1));
	st = wx_stat(self->fd);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		try_in_order(self->fd, id, false);
		try_in_order(half, half_id, true);
		_exit(0);
	}
	EXPECT_EQ(0, wx_wait(pid));
	EXPECT_SAME_STAT(self->fd, st);

	/* The owner's own: what is malformed before what the context says */
	ASSERT_EQ(0, wx_freeze(self->fd));
	EXPECT_EQ(-EINVAL, wx_alloc(self->fd, 0, 0, 1));
	EXPECT_EQ(-EINVAL, wx_alloc(self->fd, 1, 0, 0));
	EXPECT_EQ(-EINVAL, wx_protect(self->fd, 1, 0, 1, 4));
	EXPECT_EQ(-EFAULT, wx_alloc_vec(self->fd, 1, NULL, 1));
	EXPECT_EQ(-EFAULT, wx_install(self->fd, 1, 0, NULL, 1, WXPOOL_PROT_X));
	EXPECT_EQ(-EROFS, wx_alloc(self->fd, 1, 0, 1));
	EXPECT_EQ(-EROFS, wx_protect(self->fd, 2, 0, 1, WXPOOL_PROT_X));
	EXPECT_EQ(-EROFS, wx_install(self->fd, 1, 0, "x", 1, WXPOOL_PROT_X));
	/* With no room for results, and nothing to free */
	memset(&g, 0, sizeof(g));
	g.free = (struct wxpool_free) { .size = sizeof(g.free), .flags = 1U << 31 };
	EXPECT_EQ(-EINVAL, wx_ioctl(self->fd, WXPOOL_IOC_FREE, &g));
	EXPECT_SAME_STAT(self->fd, st);
}

/* ---------------------------------------------------------------- vectors */

TEST_F(ctx, bad_vector)
{
	struct wxpool_alloc arg = { .size = sizeof(arg), .pool = 1, .nr_ranges = 1 };
	struct wxpool_install_range *in;
	struct wxpool_protect_range *pr;
	char *end = guarded_pages();
	struct wxpool_alloc_range *r;
	uint32_t *pools;

	ASSERT_NE(MAP_FAILED, end);
	end += PG(2);

	/* The second of two elements lies in no memory. */
	r = (void *)(end - sizeof(*r));
	*r = wx_alloc_range(0, 1);
	EXPECT_EQ(-EFAULT, wx_alloc_vec(self->fd, 1, r, 2));
	EXPECT_EQ(-EFAULT, wx_alloc_vec(self->fd, 1, (void *)end, 1));
	EXPECT_EQ(-EFAULT, wx_alloc_vec(self->fd, 1, NULL, 1));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);

	/* Addresses that a 32-bit process must not see cut short */
	arg.ranges = (uintptr_t)r | 1ULL << 63;
	EXPECT_EQ(-EFAULT, wx_ioctl(self->fd, WXPOOL_IOC_ALLOC, &arg));
	if (sizeof(long) == 4) {
		arg.ranges = (uintptr_t)r | 1ULL << 32;
		EXPECT_EQ(-EFAULT, wx_ioctl(self->fd, WXPOOL_IOC_ALLOC, &arg));
	}
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_EQ(0, wx_alloc_vec(self->fd, 1, r, 1));

	pr = (void *)(end - sizeof(*pr));
	*pr = wx_protect_range(0, 1, WXPOOL_PROT_R);
	EXPECT_EQ(-EFAULT, wx_protect_vec(self->fd, 1, pr, 2));
	EXPECT_EQ(-EFAULT, wx_protect_vec(self->fd, 1, NULL, 1));
	EXPECT_STAT(self->fd, 1, 1, 0, 0, 0);
	EXPECT_EQ(0, wx_protect_vec(self->fd, 1, pr, 1));

	in = (void *)(end - sizeof(*in));
	*in = wx_bytes(PG(1), "x", 1, WXPOOL_PROT_R);
	EXPECT_EQ(-EFAULT, wx_install_vec(self->fd, 2, in, 2));
	EXPECT_EQ(-EFAULT, wx_install_vec(self->fd, 2, NULL, 1));
	EXPECT_STAT(self->fd, 1, 0, 1, 0, 0);
	EXPECT_EQ(0, wx_install_vec(self->fd, 2, in, 1));

	pools = (void *)(end - sizeof(*pools));
	*pools = 1;
	EXPECT_EQ(-EFAULT, wx_free_many(self->fd, pools, 2));
	EXPECT_EQ(-EFAULT, wx_free_many(self->fd, NULL, 1));
	EXPECT_STAT(self->fd, 2, 0, 2, 0, 0);
	EXPECT_EQ(0, wx_free_many(self->fd, pools, 1));
	EXPECT_STAT(self->fd, 1, 0, 1, 0, 0);
}

/* The same of a source's address */
TEST_F(ctx, source_too_high)
{
	uint64_t high = sizeof(long) == 4 ? 1ULL << 32 : 1ULL << 63;
	char src[LINE] = "source";
	struct wxpool_install_range r = wx_bytes(0, src, 6, WXPOOL_PROT_R);

	r.source |= high;
	EXPECT_EQ(-EFAULT, wx_install_vec(self->fd, 1, &r, 1));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_PACKED(self->fd, 0, 0, 0);
	r.source ^= high;
	EXPECT_EQ(0, wx_install_vec(self->fd, 1, &r, 1));
}

/* A vector in read-only memory is fine: nothing is written to it. */
TEST_F(ctx, readonly_vector)
{
	union element *e = (void *)guarded_pages();

	ASSERT_NE(MAP_FAILED, (char *)e);
	e[0].alloc = wx_alloc_range(0, 1);
	e[1].protect = wx_protect_range(0, 1, WXPOOL_PROT_X);
	e[2].install = wx_bytes(PG(1), "x", 1, WXPOOL_PROT_X);
	e[3].pool = 1;
	ASSERT_EQ(0, mprotect(e, PG(1), PROT_READ));
	EXPECT_EQ(0, wx_alloc_vec(self->fd, 1, &e[0].alloc, 1));
	EXPECT_EQ(0, wx_protect_vec(self->fd, 1, &e[1].protect, 1));
	EXPECT_EQ(0, wx_install_vec(self->fd, 1, &e[2].install, 1));
	EXPECT_EQ(0, wx_free_many(self->fd, &e[3].pool, 1));
}

/* ALLOC's, PROTECT's and INSTALL's structures are of one shape. */
TEST_F(ctx, malformed_structure)
{
	const struct {
		unsigned long op;
		size_t element;
		uint32_t flags;		/* those that there are */
	} of[] = {
		{ WXPOOL_IOC_ALLOC, sizeof(struct wxpool_alloc_range), 0 },
		{ WXPOOL_IOC_PROTECT, sizeof(struct wxpool_protect_range), 0 },
		{ WXPOOL_IOC_INSTALL, sizeof(struct wxpool_install_range),
		  WXPOOL_INSTALL_BLOCKS },
	};
	struct wxpool_alloc good, a;
	struct wx_stat st;
	union element e;
	unsigned int i, j;
	char *many;

	many = calloc(WXPOOL_MAX_RANGES + 1, sizeof(union element));
	ASSERT_NE(NULL, many);
	/* The pool is there from the start, and one page of it stays open. */
	ASSERT_EQ(0, wx_alloc(self->fd, 1, 2000, 1));

	for (i = 0; i < 3; i++) {
		st = wx_stat(self->fd);
		for (j = 0; j <= WXPOOL_MAX_RANGES; j++) {
			if (!i)
				e.alloc = wx_alloc_range(j, 1);
			else if (i == 1)
				e.protect = wx_protect_range(j, 1, WXPOOL_PROT_X);
			else
				e.install = wx_bytes(PG(3000) + j * LINE, "x", 1,
						     WXPOOL_PROT_X);
			memcpy(many + j * of[i].element, &e, of[i].element);
		}
		memset(&good, 0, sizeof(good));
		good.size = sizeof(good);
		good.pool = 1;
		good.ranges = (uintptr_t)many;
		good.nr_ranges = 1;

#define REFUSED(err, change) do {					\
	a = good;							\
	change;								\
	EXPECT_EQ((err), wx_ioctl(self->fd, of[i].op, &a)) {		\
		TH_LOG("op %#lx: %s", of[i].op, #change);		\
	}								\
	EXPECT_SAME_STAT(self->fd, st);					\
} while (0)
		REFUSED(-EINVAL, a.pool = 0);
		for (j = 0; j < 32; j++)
			if (!(of[i].flags & 1U << j))
				REFUSED(-EINVAL, a.flags = 1U << j);
		REFUSED(-EINVAL, a.nr_ranges = 0);
		REFUSED(-EINVAL, a.nr_ranges = WXPOOL_MAX_RANGES + 1);
		REFUSED(-EINVAL, a.nr_ranges = UINT32_MAX);
		/* The vector is not looked at if its length is wrong. */
		REFUSED(-EINVAL, a.nr_ranges = 0; a.ranges = 0);
		REFUSED(-EFAULT, a.ranges = 0);
#undef REFUSED
		/* The most that one call takes */
		a = good;
		a.nr_ranges = WXPOOL_MAX_RANGES;
		EXPECT_EQ(0, wx_ioctl(self->fd, of[i].op, &a));
	}
	EXPECT_STAT(self->fd, 1, 1, 0, WXPOOL_MAX_RANGES +
		    WXPOOL_MAX_RANGES / PAGE_LINES, 0);
	free(many);
}

/* A range of the operation at hand, good but for one thing, among good ones */
#define REFUSED(err, call, r, change) do {				\
	unsigned int _pos;						\
									\
	for (_pos = 0; _pos < 3; _pos++) {				\
		typeof(*(r)) *bad = &(r)[_pos], _good = *bad;		\
									\
		change;							\
		EXPECT_EQ((err), call(self->fd, 1, r, 3)) {		\
			TH_LOG("range %u: %s", _pos, #change);		\
		}							\
		*bad = _good;						\
	}								\
	EXPECT_SAME_STAT(self->fd, st);					\
} while (0)

TEST_F(ctx, malformed_alloc_range)
{
	struct wxpool_alloc_range r[3];
	struct wx_stat st = wx_stat(self->fd);
	unsigned int i;

	for (i = 0; i < 3; i++)
		r[i] = wx_alloc_range(i, 1);
	REFUSED(-EINVAL, wx_alloc_vec, r, bad->length = 0);
	REFUSED(-EINVAL, wx_alloc_vec, r, bad->length += 1);
	REFUSED(-EINVAL, wx_alloc_vec, r, bad->length += LINE);
	REFUSED(-EINVAL, wx_alloc_vec, r, bad->length -= 1);
	REFUSED(-EINVAL, wx_alloc_vec, r, bad->offset += 1);
	REFUSED(-EINVAL, wx_alloc_vec, r, bad->offset += PG(1) / 2);
	EXPECT_EQ(0, wx_alloc_vec(self->fd, 1, r, 3));
}

TEST_F(ctx, malformed_protect_range)
{
	struct wxpool_protect_range r[3];
	struct wx_stat st;
	unsigned int i;

	ASSERT_EQ(0, wx_alloc(self->fd, 1, 0, 4));
	st = wx_stat(self->fd);
	for (i = 0; i < 3; i++)
		r[i] = wx_protect_range(i, 1, 1 + i);
	REFUSED(-EINVAL, wx_protect_vec, r, bad->length = 0);
	REFUSED(-EINVAL, wx_protect_vec, r, bad->length += 1);
	REFUSED(-EINVAL, wx_protect_vec, r, bad->length += LINE);
	REFUSED(-EINVAL, wx_protect_vec, r, bad->length -= 1);
	REFUSED(-EINVAL, wx_protect_vec, r, bad->offset += 1);
	REFUSED(-EINVAL, wx_protect_vec, r, bad->offset += PG(1) / 2);
	REFUSED(-EINVAL, wx_protect_vec, r, bad->prot = 0);
	REFUSED(-EINVAL, wx_protect_vec, r, bad->prot = 4);
	REFUSED(-EINVAL, wx_protect_vec, r, bad->prot |= 4);
	REFUSED(-EINVAL, wx_protect_vec, r, bad->prot |= 1U << 31);
	REFUSED(-EINVAL, wx_protect_vec, r, bad->__reserved = 1);
	REFUSED(-EINVAL, wx_protect_vec, r, bad->__reserved = 1U << 31);
	EXPECT_EQ(0, wx_protect_vec(self->fd, 1, r, 3));
}

TEST_F(ctx, malformed_install_range)
{
	struct wxpool_install_range r[3], more[3];
	char *big = mmap(NULL, WXPOOL_MAX_INSTALL + PG(1), PROT_READ,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct wx_stat st;
	unsigned int i;

	ASSERT_NE(MAP_FAILED, big);
	/* One page is there, so that no refusal is that of a new one. */
	ASSERT_EQ(0, wx_install(self->fd, 1, 9 * LINE, "x", 1, WXPOOL_PROT_X));
	st = wx_stat(self->fd);
	for (i = 0; i < 3; i++)
		r[i] = wx_bytes(i * LINE, "x", 1, WXPOOL_PROT_X);
	REFUSED(-EINVAL, wx_install_vec, r, bad->length = 0);
	REFUSED(-EINVAL, wx_install_vec, r, bad->offset += 1);
	REFUSED(-EINVAL, wx_install_vec, r, bad->offset += LINE / 2);
	REFUSED(-EINVAL, wx_install_vec, r, bad->prot = 0);
	REFUSED(-EINVAL, wx_install_vec, r, bad->prot = 4);
	REFUSED(-EINVAL, wx_install_vec, r, bad->prot |= 1U << 31);
	for (i = 1; i < 32; i++)
		REFUSED(-EINVAL, wx_install_vec, r, bad->flags = 1U << i);
	REFUSED(-EINVAL, wx_install_vec, r, bad->length = WXPOOL_MAX_INSTALL;
		bad->source = (uintptr_t)big; bad->offset = PG(10));

	/* Going on from the one before: there is one, and it says all the rest. */
	more[0] = wx_bytes(0, "x", 1, WXPOOL_PROT_X);
	more[1] = wx_more("y", 1);
	more[2] = wx_more("z", 1);
	for (i = 0; i < 3; i++) {
		struct wxpool_install_range first = more[0];

		more[0] = wx_more("x", 1);
		EXPECT_EQ(-EINVAL, wx_install_vec(self->fd, 1, more, 1 + i));
		more[0] = first;
	}
	for (i = 1; i < 3; i++) {
		struct wxpool_install_range good = more[i];

		more[i].offset = LINE;
		EXPECT_EQ(-EINVAL, wx_install_vec(self->fd, 1, more, 3));
		more[i] = good;
		more[i].offset = 1;
		EXPECT_EQ(-EINVAL, wx_install_vec(self->fd, 1, more, 3));
		more[i] = good;
		more[i].prot = WXPOOL_PROT_X;
		EXPECT_EQ(-EINVAL, wx_install_vec(self->fd, 1, more, 3));
		more[i] = good;
		more[i].length = 0;
		EXPECT_EQ(-EINVAL, wx_install_vec(self->fd, 1, more, 3));
		more[i] = good;
		more[i].flags |= 2;
		EXPECT_EQ(-EINVAL, wx_install_vec(self->fd, 1, more, 3));
		more[i] = good;
		more[i].length = WXPOOL_MAX_INSTALL;
		more[i].source = (uintptr_t)big;
		EXPECT_EQ(-EINVAL, wx_install_vec(self->fd, 1, more, 3));
		more[i] = good;
	}
	EXPECT_SAME_STAT(self->fd, st);
	EXPECT_EQ(0, wx_install_vec(self->fd, 1, more, 3));
	EXPECT_EQ(0, wx_view_at(self->fd, PROT_READ, 0, 1, self->win));
	EXPECT_EQ(0, memcmp(self->win, "xyz", 3));
}

#undef REFUSED

/* ------------------------------------------------------------------- FREE */

/* Four pools with a page and a line each: 1, 2, 3 and the largest number */
#define POOLS	{ 1, 2, 3, UINT32_MAX }

#define MAKE_POOLS() do {						\
	unsigned int _i;						\
									\
	for (_i = 0; _i < 4; _i++) {					\
		ASSERT_EQ(0, wx_alloc(self->fd, pools[_i], _i, 1));	\
		ASSERT_EQ(0, wx_install_code(self->fd, pools[_i],	\
					     PG(10) + _i * LINE, _i));	\
	}								\
} while (0)

#define EXPECT_ALL_POOLS() do {						\
	unsigned int _i;						\
									\
	EXPECT_STAT(self->fd, 4, 4, 0, 1, 0);				\
	EXPECT_PACKED(self->fd, 1, 4, 0);				\
	for (_i = 0; _i < 4; _i++)					\
		EXPECT_POOL(self->fd, pools[_i], WXPOOL_POOL_LIVE, 1, 1); \
} while (0)

TEST_F(ctx, malformed_free)
{
	const uint32_t pools[] = POOLS;
	struct wxpool_free good = {
		.size = sizeof(good), .pools = (uintptr_t)pools, .nr_pools = 4,
	}, f;
	unsigned int i;

	MAKE_POOLS();

#define REFUSED(change) do {						\
	f = good;							\
	change;								\
	EXPECT_EQ(-EINVAL, wx_ioctl(self->fd, WXPOOL_IOC_FREE, &f)) {	\
		TH_LOG("%s", #change);					\
	}								\
	EXPECT_ALL_POOLS();						\
} while (0)
	for (i = 2; i < 32; i++)
		REFUSED(f.flags = 1U << i);
	REFUSED(f.__reserved = 1);
	REFUSED(f.__reserved = 1U << 31);
	REFUSED(f.nr_pools = 0);
	REFUSED(f.nr_pools = 0; f.pools = 0);
	REFUSED(f.nr_pools = WXPOOL_MAX_RANGES + 1);
	REFUSED(f.nr_pools = UINT32_MAX);
	/* All pools, and some of them: which? */
	REFUSED(f.flags = WXPOOL_FREE_ALL);
	REFUSED(f.flags = WXPOOL_FREE_ALL; f.nr_pools = 0);
	REFUSED(f.flags = WXPOOL_FREE_ALL | WXPOOL_FREE_REVOKE);
	REFUSED(f.flags = WXPOOL_FREE_ALL; f.pools = f.nr_pools = 0;
		f.__reserved = 1);
#undef REFUSED
	/* Is read before it is found to be one too many. */
	f = good;
	f.flags = WXPOOL_FREE_ALL;
	f.pools = 0;
	EXPECT_EQ(-EFAULT, wx_ioctl(self->fd, WXPOOL_IOC_FREE, &f));
	EXPECT_ALL_POOLS();
	/* What is output is not looked at. */
	f = good;
	f.pages_freed = f.pages_kept = f.lines_kept = ~0ULL;
	EXPECT_EQ(0, wx_ioctl(self->fd, WXPOOL_IOC_FREE, &f));
	EXPECT_EQ(5, f.pages_freed);
	EXPECT_EQ(0, f.pages_kept);
	EXPECT_EQ(0, f.lines_kept);
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_PACKED(self->fd, 0, 0, 0);
}

/* All of the vector or nothing: one that is not there, or there twice */
TEST_F(ctx, vector_of_pools)
{
	const uint32_t pools[] = POOLS;
	struct {
		uint32_t pools[4];
		int err;
	} bad[] = {
		{ { 1, 2, 3, 4 }, -ENOENT },
		{ { 4, 1, 2, 3 }, -ENOENT },
		{ { 1, 4, 2, 3 }, -ENOENT },
		{ { 1, 1, 2, 3 }, -ENOENT },
		{ { 1, 2, 3, 1 }, -ENOENT },
		{ { UINT32_MAX, 2, 3, UINT32_MAX }, -ENOENT },
		{ { 2, 2, 2, 2 }, -ENOENT },
		{ { 0, 1, 2, 3 }, -EINVAL },
		{ { 1, 2, 3, 0 }, -EINVAL },
		{ { 4, 2, 3, 0 }, -EINVAL },
	};
	uint32_t flags[] = { 0, WXPOOL_FREE_REVOKE };
	struct wxpool_free f;
	unsigned int i, j;

	MAKE_POOLS();
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		for (j = 0; j < 2; j++) {
			EXPECT_EQ(bad[i].err, wx_free_vec(self->fd, bad[i].pools,
							  4, flags[j], &f)) {
				TH_LOG("vector %u", i);
			}
			EXPECT_ALL_POOLS();
		}
	EXPECT_EQ(-ENOENT, wx_free(self->fd, 4));
	EXPECT_EQ(-ENOENT, wx_revoke(self->fd, 4));
	EXPECT_EQ(-EINVAL, wx_free(self->fd, 0));
	EXPECT_EQ(0, wx_free_many(self->fd, pools + 1, 2));
	EXPECT_STAT(self->fd, 2, 2, 0, 1, 0);
	EXPECT_EQ(0, wx_free_all(self->fd, 0));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_PACKED(self->fd, 0, 0, 0);
}

/* The most that one call takes, and one twice among so many */
TEST_F(ctx, long_vector_of_pools)
{
	static uint32_t pools[WXPOOL_MAX_RANGES + 1];
	struct wxpool_free f;
	unsigned int i;

	for (i = 0; i <= WXPOOL_MAX_RANGES; i++) {
		pools[i] = 1 + i * 2654435761u;
		ASSERT_EQ(0, wx_install(self->fd, pools[i], i * LINE, "x", 1,
					WXPOOL_PROT_R));
	}
	EXPECT_EQ(-EINVAL, wx_free_many(self->fd, pools, WXPOOL_MAX_RANGES + 1));
	pools[WXPOOL_MAX_RANGES] = pools[WXPOOL_MAX_RANGES - 1];
	pools[WXPOOL_MAX_RANGES - 1] = pools[3];
	EXPECT_EQ(-ENOENT, wx_free_many(self->fd, pools, WXPOOL_MAX_RANGES));
	EXPECT_PACKED(self->fd, wx_stat(self->fd).packed, WXPOOL_MAX_RANGES + 1, 0);
	pools[WXPOOL_MAX_RANGES - 1] = pools[WXPOOL_MAX_RANGES];
	EXPECT_EQ(0, wx_free_vec(self->fd, pools, WXPOOL_MAX_RANGES, 0, &f));
	EXPECT_EQ(WXPOOL_MAX_RANGES / PAGE_LINES, f.pages_freed);
	EXPECT_STAT(self->fd, 1, 0, 1, 0, 0);
}

/* -------------------------------------------------------- the space's end */

TEST_F(ctx, end_of_the_space)
{
	struct wxpool_protect_range pr;
	struct wxpool_alloc_range r;
	struct wxpool_info info;
	uint64_t page;
	unsigned int j;

	ASSERT_EQ(0, wx_info(self->fd, &info));
	page = info.page_size;
	{
		const struct { uint64_t offset, length; } past[] = {
			{ info.space, page },
			{ info.space - page, 2 * page },
			{ 0, info.space + page },
			{ info.space + (1ULL << 50), page },
			{ 1ULL << 63, page },
			{ 0 - page, page },		/* ends at 2^64 */
			{ 0 - page, 2 * page },		/* wraps round */
			{ page, 0 - page },
			{ 2 * page, 0 - page },
		};

		for (j = 0; j < sizeof(past) / sizeof(past[0]); j++) {
			r = (struct wxpool_alloc_range) {
				past[j].offset, past[j].length,
			};
			pr = (struct wxpool_protect_range) {
				.offset = past[j].offset,
				.length = past[j].length,
				.prot = WXPOOL_PROT_X,
			};
			EXPECT_EQ(-EOVERFLOW, wx_alloc_vec(self->fd, 1, &r, 1)) {
				TH_LOG("range %u", j);
			}
			EXPECT_EQ(-EOVERFLOW, wx_protect_vec(self->fd, 1, &pr, 1)) {
				TH_LOG("range %u", j);
			}
		}
	}
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);

	/* The very last page is one like any other. */
	r = (struct wxpool_alloc_range) { info.space - page, page };
	EXPECT_EQ(0, wx_alloc_vec(self->fd, 1, &r, 1));
	pr = (struct wxpool_protect_range) {
		.offset = info.space - page, .length = page, .prot = WXPOOL_PROT_R,
	};
	EXPECT_EQ(0, wx_protect_vec(self->fd, 1, &pr, 1));
	EXPECT_STAT(self->fd, 1, 0, 1, 0, 0);
	EXPECT_EQ(0, wx_free(self->fd, 1));
}

TEST_F(ctx, install_at_the_end_of_the_space)
{
	char *src = mmap(NULL, PG(2), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct wxpool_install_range r[2];
	struct wxpool_info info;

	ASSERT_NE(MAP_FAILED, src);
	ASSERT_EQ(0, wx_info(self->fd, &info));
	EXPECT_EQ(-EOVERFLOW, wx_install(self->fd, 1, info.space, src, 1,
					 WXPOOL_PROT_R));
	EXPECT_EQ(-EOVERFLOW, wx_install(self->fd, 1, info.space - LINE, src,
					 LINE + 1, WXPOOL_PROT_R));
	EXPECT_EQ(-EOVERFLOW, wx_install(self->fd, 1, info.space - PG(1), src,
					 PG(1) + 1, WXPOOL_PROT_R));
	EXPECT_EQ(-EOVERFLOW, wx_install(self->fd, 1, 1ULL << 63, src, 1,
					 WXPOOL_PROT_R));
	EXPECT_EQ(-EOVERFLOW, wx_install(self->fd, 1, 0ULL - LINE, src, LINE,
					 WXPOOL_PROT_R));
	/* In pieces, too */
	r[0] = wx_bytes(info.space - LINE, src, 10, WXPOOL_PROT_R);
	r[1] = wx_more(src, LINE - 9);
	EXPECT_EQ(-EOVERFLOW, wx_install_vec(self->fd, 1, r, 2));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	r[1] = wx_more(src, LINE - 10);
	EXPECT_EQ(0, wx_install_vec(self->fd, 1, r, 2));
	EXPECT_PACKED(self->fd, 1, 1, 0);
	EXPECT_EQ(0, wx_free(self->fd, 1));
}

/* Its end and its beginning do not adjoin: what a pool has in both is two pieces. */
TEST_F(ctx, space_is_no_ring)
{
	struct wxpool_install_range in[2];
	struct wxpool_alloc_range pages[2];
	struct wxpool_info info;
	struct wxpool_free out;

	ASSERT_EQ(0, wx_info(self->fd, &info));
	in[0] = wx_bytes(info.space - LINE, "x", 1, WXPOOL_PROT_R);
	in[1] = wx_bytes(0, "y", 1, WXPOOL_PROT_R);
	ASSERT_EQ(0, wx_install_vec(self->fd, 1, in, 2));
	EXPECT_POOL(self->fd, 1, WXPOOL_POOL_LIVE, 0, 2);
	EXPECT_EQ(0, wx_free_out(self->fd, 1, &out));
	EXPECT_EQ(2, out.pages_freed);

	ASSERT_EQ(0, wx_install_vec(self->fd, 1, &in[0], 1));
	ASSERT_EQ(0, wx_install_vec(self->fd, 1, &in[1], 1));
	EXPECT_POOL(self->fd, 1, WXPOOL_POOL_LIVE, 0, 2);
	EXPECT_EQ(0, wx_free(self->fd, 1));

	pages[0] = wx_alloc_range(info.space / PG(1) - 1, 1);
	pages[1] = wx_alloc_range(0, 1);
	ASSERT_EQ(0, wx_alloc_vec(self->fd, 1, pages, 2));
	EXPECT_POOL(self->fd, 1, WXPOOL_POOL_LIVE, 2, 0);
	EXPECT_EQ(0, wx_free_out(self->fd, 1, &out));
	EXPECT_EQ(2, out.pages_freed);
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_PACKED(self->fd, 0, 0, 0);
}

/* A view may run past the end, where there is never a page to show. */
TEST_F(ctx, view_past_the_space)
{
	const int prots[] = { RW, RX, PROT_READ, XO };
	struct wxpool_alloc_range r;
	struct wxpool_info info;
	uint64_t last;
	unsigned int i;
	char *p;

	ASSERT_EQ(0, wx_info(self->fd, &info));
	last = info.space - info.page_size;
	if (sizeof(long) == 4 && last >> 12 >= UINT32_MAX)
		SKIP(return, "mmap2() cannot name the end of the space");

	r = (struct wxpool_alloc_range) { last, info.page_size };
	ASSERT_EQ(0, wx_alloc_vec(self->fd, 1, &r, 1));
	for (i = 0; i < 4; i++) {
		p = mmap(NULL, PG(2), prots[i], MAP_SHARED, self->fd,
			 (off_t)last);
		ASSERT_NE(MAP_FAILED, p);
		if (prots[i] == XO) {
			EXPECT_EQ(SIGBUS, try_exec(p, NULL));
			EXPECT_EQ(SIGBUS, try_exec(p + PG(1), NULL));
			continue;
		}
		EXPECT_EQ(prots[i] == RW ? 0 : SIGBUS, try_read(p));
		EXPECT_EQ(SIGBUS, try_read(p + PG(1)));
	}
}

/* The whole way once, for the sake of the 32-bit build */
TEST_F(ctx, life)
{
	uint32_t val = 0;

	ASSERT_EQ(0, wx_alloc_at(self->fd, 1, 0, 1, self->win));
	wx_emit(self->win, 0x1234567);
	ASSERT_EQ(0, wx_protect_at(self->fd, 1, 0, 1, WXPOOL_PROT_X, self->win));
	EXPECT_EQ(0, try_exec(self->win, &val));
	EXPECT_EQ(0x1234567, val);
	EXPECT_EQ(SIGSEGV, try_write(self->win, 0));
	EXPECT_EQ(0, wx_free(self->fd, 1));
	EXPECT_EQ(SIGBUS, try_exec(self->win, &val));

	ASSERT_EQ(0, wx_install_code(self->fd, 1, 3 * LINE, 0x2345678));
	EXPECT_EQ(0, try_exec(self->win + 3 * LINE, &val));
	EXPECT_EQ(0x2345678, val);
	EXPECT_EQ(SIGTRAP, try_exec(self->win + 4 * LINE, &val));
	EXPECT_EQ(0, wx_freeze(self->fd));
	EXPECT_EQ(-EROFS, wx_install_code(self->fd, 1, 5 * LINE, 1));
	EXPECT_EQ(0, wx_free(self->fd, 1));
	EXPECT_EQ(SIGBUS, try_exec(self->win + 3 * LINE, &val));
}

TEST_HARNESS_MAIN
