// SPDX-License-Identifier: GPL-2.0
/*
 * The shape of the interface: layout and growth of structures, unknown
 * operations, malformed arguments, bad pointers. Built for 32-bit user space
 * as well, where the toolchain can: abi_32 must pass on the same kernel.
 */
#include <stddef.h>

#include "wxpool_util.h"

#define MIB	(1U << 20)

/* A structure with room to grow, at the end of which memory ends */
union grown {
	struct wxpool_info info;
	struct wxpool_vec vec;
	struct wxpool_free free;
	struct wxpool_freeze freeze;
	uint32_t size;
	unsigned char bytes[4096];
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
	EXPECT_EQ(56, sizeof(struct wxpool_info));
	EXPECT_EQ(8, offsetof(struct wxpool_info, features));
	EXPECT_EQ(40, offsetof(struct wxpool_info, page_size));
	EXPECT_EQ(52, offsetof(struct wxpool_info, max_ranges));
	EXPECT_EQ(32, sizeof(struct wxpool_range));
	EXPECT_EQ(16, offsetof(struct wxpool_range, addr));
	EXPECT_EQ(24, offsetof(struct wxpool_range, prot));
	EXPECT_EQ(32, sizeof(struct wxpool_vec));
	EXPECT_EQ(8, offsetof(struct wxpool_vec, ranges));
	EXPECT_EQ(16, offsetof(struct wxpool_vec, nr_ranges));
	EXPECT_EQ(28, offsetof(struct wxpool_vec, map_error));
	EXPECT_EQ(32, sizeof(struct wxpool_free));
	EXPECT_EQ(16, offsetof(struct wxpool_free, nr_freed));
	EXPECT_EQ(8, sizeof(struct wxpool_freeze));
	EXPECT_EQ(4, offsetof(struct wxpool_freeze, flags));
	EXPECT_EQ(16, sizeof(struct wxpool_uring_cmd));
	EXPECT_EQ(8, offsetof(struct wxpool_uring_cmd, __reserved));
	EXPECT_EQ(1, WXPOOL_INSTALL_HUGE);
	EXPECT_EQ(16 << 20, WXPOOL_MAX_INSTALL);
	EXPECT_EQ(0x5780, WXPOOL_IOC_INFO);
	EXPECT_EQ(0x5781, WXPOOL_IOC_ALLOC);
	EXPECT_EQ(0x5782, WXPOOL_IOC_PROTECT);
	EXPECT_EQ(0x5783, WXPOOL_IOC_FREE);
	EXPECT_EQ(0x5784, WXPOOL_IOC_INSTALL);
	EXPECT_EQ(0x5785, WXPOOL_IOC_FREEZE);
}

TEST_F(ctx, info)
{
	struct wxpool_info info;
	long pages;

	ASSERT_EQ(0, wx_info(self->fd, &info));
	EXPECT_EQ(sizeof(info), info.size);
	EXPECT_EQ(WXPOOL_ABI_VERSION, info.abi_version);
	EXPECT_EQ(0, info.features);
	EXPECT_EQ(wx_page_size, info.page_size);
	EXPECT_EQ(64, info.line_size);
	EXPECT_EQ(WXPOOL_MAX_RANGES, info.max_ranges);
	EXPECT_EQ(0, info.huge_size & (info.huge_size - 1));
	EXPECT_TRUE(!info.huge_size || info.huge_size > info.page_size);
	EXPECT_EQ(0, info.space % info.page_size);
	EXPECT_GE(info.space, 1UL << 30);

	pages = wx_read_long(WX_PARAM_DIR "max_pages_per_context");
	ASSERT_GE(pages, 0);
	EXPECT_EQ((uint64_t)pages * wx_page_size, info.context_limit);
	EXPECT_EQ(pages, wx_stat(self->fd).limit);
	pages = wx_read_long(WX_PARAM_DIR "max_pages_per_user");
	ASSERT_GE(pages, 0);
	EXPECT_EQ((uint64_t)pages * wx_page_size, info.user_limit);
}

/* INFO is not the owner's alone, unlike everything else. */
TEST_F(ctx, info_by_a_child)
{
	struct wxpool_info info;
	pid_t pid = fork();

	ASSERT_GE(pid, 0);
	if (!pid)
		_exit(wx_info(self->fd, &info) ||
		      info.abi_version != WXPOOL_ABI_VERSION);
	EXPECT_EQ(0, wx_wait(pid));
}

static const struct {
	unsigned long op;
	uint32_t size;
	bool output;
} ops[] = {
	{ WXPOOL_IOC_INFO, sizeof(struct wxpool_info), true },
	{ WXPOOL_IOC_ALLOC, sizeof(struct wxpool_vec), true },
	{ WXPOOL_IOC_PROTECT, sizeof(struct wxpool_vec), true },
	{ WXPOOL_IOC_INSTALL, sizeof(struct wxpool_vec), false },
	{ WXPOOL_IOC_FREE, sizeof(struct wxpool_free), true },
	{ WXPOOL_IOC_FREEZE, sizeof(struct wxpool_freeze), false },
};

#define NR_OPS	(sizeof(ops) / sizeof(ops[0]))

/*
 * Arguments with which operation @i succeeds once: ALLOC of page 0 of pool 1,
 * PROTECT of the same, INSTALL of a line, and FREE of all; after FREEZE, which
 * is the last, none does. @r outlives the call.
 */
static void good_args(union grown *g, unsigned int i, struct wxpool_range *r)
{
	memset(g, 0, ops[i].size);
	g->size = ops[i].size;
	if (ops[i].op == WXPOOL_IOC_FREE)
		g->free.pool = 1;
	if (ops[i].size != sizeof(struct wxpool_vec) ||
	    ops[i].op == WXPOOL_IOC_FREE)
		return;
	*r = wx_range(0, 1, ops[i].op == WXPOOL_IOC_ALLOC ? 0 : WXPOOL_PROT_X,
		      NULL);
	if (ops[i].op == WXPOOL_IOC_INSTALL)
		*r = wx_bytes(PG(1), "line", 4, WXPOOL_PROT_R);
	g->vec.pool = 1;
	g->vec.ranges = (uintptr_t)r;
	g->vec.nr_ranges = 1;
}

TEST_F(ctx, too_short)
{
	const uint32_t cut[] = { 1, 4, 8 };
	struct wxpool_range r;
	union grown g = { 0 };
	struct wx_stat st;
	unsigned int i, j;

	for (i = 0; i < NR_OPS; i++) {
		st = wx_stat(self->fd);
		for (j = 0; j < 3; j++) {
			good_args(&g, i, &r);
			g.size -= cut[j];
			EXPECT_EQ(-EINVAL, wx_ioctl(self->fd, ops[i].op, &g));
		}
		g.size = 0;
		EXPECT_EQ(-EINVAL, wx_ioctl(self->fd, ops[i].op, &g));
		EXPECT_SAME_STAT(self->fd, st);
		good_args(&g, i, &r);
		EXPECT_EQ(0, wx_ioctl(self->fd, ops[i].op, &g));
	}
}

TEST_F(ctx, longer_with_zero_tail)
{
	const uint32_t sizes[] = { 4, 8, 64, 0 };
	struct wxpool_range r;
	union grown g = { 0 };
	unsigned int i, j, k;
	int fd;

	for (j = 0; j < 4; j++) {
		fd = wx_open();
		ASSERT_GE(fd, 0);
		for (i = 0; i < NR_OPS; i++) {
			memset(&g, 0, sizeof(g));
			good_args(&g, i, &r);
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
	struct wxpool_range r;
	union grown g = { 0 };
	struct wx_stat st;
	unsigned int i;

	for (i = 0; i < NR_OPS; i++) {
		st = wx_stat(self->fd);

		memset(&g, 0, sizeof(g));
		good_args(&g, i, &r);
		g.size = ops[i].size + 1;
		g.bytes[ops[i].size] = 1;
		EXPECT_EQ(-E2BIG, wx_ioctl(self->fd, ops[i].op, &g));

		memset(&g, 0, sizeof(g));
		good_args(&g, i, &r);
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
	struct wxpool_range r;
	unsigned int i, j;

	ASSERT_NE(MAP_FAILED, mem);
	for (i = 0; i < NR_OPS; i++)
		for (j = 0; j < 4; j++) {
			good_args(g, i, &r);
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
	struct wxpool_range r;
	unsigned int i;
	union grown *g;

	ASSERT_NE(MAP_FAILED, end);
	end += PG(2);
	for (i = 0; i < NR_OPS; i++) {
		g = (void *)(end - ops[i].size);
		good_args(g, i, &r);
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
		  wx_ioctl(self->fd, _IOW('W', 0x81, struct wxpool_vec), &g));
	EXPECT_EQ(-ENOTTY,
		  wx_ioctl(self->fd, _IOWR('W', 0x83, struct wxpool_free), &g));
	EXPECT_EQ(-ENOTTY,
		  wx_ioctl(self->fd, _IOW('W', 0x84, struct wxpool_vec), &g));
	EXPECT_EQ(-ENOTTY,
		  wx_ioctl(self->fd, _IOW('W', 0x85, struct wxpool_freeze), &g));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
}

TEST_F(ctx, bad_pointers)
{
	char *none = mmap(NULL, PG(1), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	struct wxpool_range r;
	struct wx_stat st;
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
		good_args(&g, i, &r);
		EXPECT_EQ(0, wx_ioctl(self->fd, ops[i].op, &g));
	}
}

TEST_F(ctx, struct_runs_out_of_memory)
{
	char *end = guarded_pages();
	struct wxpool_range r;
	struct wx_stat st;
	unsigned int i;
	union grown g, *p;

	ASSERT_NE(MAP_FAILED, end);
	end += PG(2);
	for (i = 0; i < NR_OPS; i++) {
		st = wx_stat(self->fd);
		good_args(&g, i, &r);
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
	struct wxpool_range r;
	struct wx_stat st;
	unsigned int i;

	ASSERT_NE(MAP_FAILED, mem);
	for (i = 0; i < NR_OPS; i++) {
		st = wx_stat(self->fd);
		good_args(g, i, &r);
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

TEST_F(ctx, bad_vector)
{
	char *end = guarded_pages();
	struct wxpool_range *r;
	struct wxpool_vec vec;

	ASSERT_NE(MAP_FAILED, end);
	end += PG(2);

	/* The second of two ranges lies in no memory. */
	r = (void *)(end - sizeof(*r));
	*r = wx_range(0, 1, 0, NULL);
	EXPECT_EQ(-EFAULT, wx_alloc_vec(self->fd, 1, r, 2));
	EXPECT_EQ(-EFAULT, wx_alloc_vec(self->fd, 1, (void *)end, 1));
	EXPECT_EQ(-EFAULT, wx_alloc_vec(self->fd, 1, NULL, 1));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);

	/* Addresses that a 32-bit process must not see cut short */
	memset(&vec, 0, sizeof(vec));
	vec.size = sizeof(vec);
	vec.pool = 1;
	vec.ranges = (uintptr_t)r | 1ULL << 63;
	vec.nr_ranges = 1;
	EXPECT_EQ(-EFAULT, wx_ioctl(self->fd, WXPOOL_IOC_ALLOC, &vec));
	if (sizeof(long) == 4) {
		vec.ranges = (uintptr_t)r | 1ULL << 32;
		EXPECT_EQ(-EFAULT, wx_ioctl(self->fd, WXPOOL_IOC_ALLOC, &vec));
	}
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);

	EXPECT_EQ(0, wx_alloc_vec(self->fd, 1, r, 1));
	r->prot = WXPOOL_PROT_R;
	EXPECT_EQ(-EFAULT, wx_protect_vec(self->fd, 1, r, 2));
	EXPECT_STAT(self->fd, 1, 1, 0, 0, 0);
}

/* The same of a source's address */
TEST_F(ctx, source_too_high)
{
	uint64_t high = sizeof(long) == 4 ? 1ULL << 32 : 1ULL << 63;
	char src[LINE] = "source";
	struct wxpool_range r = wx_bytes(0, src, 6, WXPOOL_PROT_R);

	r.addr |= high;
	EXPECT_EQ(-EFAULT, wx_install_vec(self->fd, 1, &r, 1));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_PACKED(self->fd, 0, 0, 0);
	r.addr ^= high;
	EXPECT_EQ(0, wx_install_vec(self->fd, 1, &r, 1));
}

/* A vector in read-only memory is fine: nothing is written to it. */
TEST_F(ctx, readonly_vector)
{
	struct wxpool_range *r = (void *)guarded_pages();

	ASSERT_NE(MAP_FAILED, (char *)r);
	r[0] = wx_range(0, 1, 0, NULL);
	r[1] = wx_range(0, 1, WXPOOL_PROT_X, NULL);
	ASSERT_EQ(0, mprotect(r, PG(1), PROT_READ));
	EXPECT_EQ(0, wx_alloc_vec(self->fd, 1, r, 1));
	EXPECT_EQ(0, wx_protect_vec(self->fd, 1, r + 1, 1));
}

TEST_F(ctx, malformed_vec)
{
	struct wxpool_range one = wx_range(0, 1, 0, NULL), *many;
	struct wxpool_vec good, v;
	struct wx_stat st;
	unsigned int i;

	many = calloc(WXPOOL_MAX_RANGES + 1, sizeof(*many));
	ASSERT_NE(NULL, many);
	for (i = 0; i <= WXPOOL_MAX_RANGES; i++)
		many[i] = wx_range(i, 1, 0, NULL);
	/* One page to seal; the other stays as it is. */
	ASSERT_EQ(0, wx_alloc(self->fd, 1, 2000, 1));
	st = wx_stat(self->fd);

	for (i = 1; i <= 2; i++) {
		one = i == 1 ? wx_range(0, 1, 0, NULL) :
			       wx_range(2000, 1, WXPOOL_PROT_X, NULL);
		memset(&good, 0, sizeof(good));
		good.size = sizeof(good);
		good.pool = 1;
		good.ranges = (uintptr_t)&one;
		good.nr_ranges = 1;

#define REFUSED(err, change) do {					\
	v = good;							\
	change;								\
	EXPECT_EQ((err), wx_ioctl(self->fd, ops[i].op, &v));		\
	EXPECT_SAME_STAT(self->fd, st);					\
} while (0)
		REFUSED(-EINVAL, v.pool = 0);
		REFUSED(-EINVAL, v.flags = 1);
		REFUSED(-EINVAL, v.flags = 1U << 31);
		REFUSED(-EINVAL, v.nr_ranges = 0);
		REFUSED(-EINVAL, v.nr_ranges = WXPOOL_MAX_RANGES + 1;
			v.ranges = (uintptr_t)many);
		REFUSED(-EINVAL, v.nr_ranges = UINT32_MAX);
#undef REFUSED
		/* What is output is not looked at. */
		v = good;
		v.nr_mapped = v.map_error = ~0U;
		EXPECT_EQ(0, wx_ioctl(self->fd, ops[i].op, &v));
		EXPECT_EQ(0, v.map_error);
		EXPECT_EQ(1, v.nr_mapped);
		st = wx_stat(self->fd);
	}

	/* The most that one call takes */
	EXPECT_EQ(0, wx_free(self->fd, 1));
	EXPECT_EQ(0, wx_alloc_vec(self->fd, 1, many, WXPOOL_MAX_RANGES));
	EXPECT_STAT(self->fd, 1, WXPOOL_MAX_RANGES, 0, 0, 0);
	for (i = 0; i < WXPOOL_MAX_RANGES; i++)
		many[i].prot = i & 1 ? WXPOOL_PROT_R : WXPOOL_PROT_X;
	EXPECT_EQ(0, wx_protect_vec(self->fd, 1, many, WXPOOL_MAX_RANGES));
	EXPECT_STAT(self->fd, 1, 0, WXPOOL_MAX_RANGES / 2,
		    WXPOOL_MAX_RANGES / 2, 0);
	free(many);
}

/* Three good ranges of operation @i: pages 0 to 2, or 100 to 102 to seal */
static void good_ranges(struct wxpool_range *r, unsigned int i)
{
	unsigned int j;

	for (j = 0; j < 3; j++)
		r[j] = i == 1 ? wx_range(j, 1, 0, NULL) :
				wx_range(100 + j, 1, WXPOOL_PROT_R, NULL);
}

static const struct {
	const char *name;
	uint64_t length, offset, addr;	/* added */
	uint32_t reserved, prot;	/* set, if not 0 */
} bad_ranges[] = {
	{ "length 0", .length = -4096ULL },
	{ "length of a byte more", .length = 1 },
	{ "length of a line more", .length = 64 },
	{ "offset of a byte", .offset = 1 },
	{ "offset of half a page", .offset = 2048 },
	{ "reserved", .reserved = 1 },
	{ "reserved, high", .reserved = 1U << 31 },
	{ "address of a byte", .addr = 1 },
	{ "address of half a page", .addr = 2048 },
	{ "protection 3", .prot = 3 },
	{ "protection 4", .prot = 4 },
	{ "protection, high", .prot = 1U << 31 },
};

TEST_F(ctx, malformed_range)
{
	struct wxpool_range r[3];
	struct wx_stat st;
	struct wxpool_vec v;
	unsigned int i, j, pos;

	if (wx_page_size != 4096)
		SKIP(return, "written for pages of 4 KiB");
	ASSERT_EQ(0, wx_alloc(self->fd, 1, 100, 3));
	st = wx_stat(self->fd);

	for (j = 0; j < 6 * sizeof(bad_ranges) / sizeof(bad_ranges[0]); j++) {
		typeof(bad_ranges[0]) *bad = &bad_ranges[j / 6];

		i = 1 + j % 2;
		pos = j / 2 % 3;
		good_ranges(r, i);
		r[pos].length += bad->length;
		r[pos].offset += bad->offset;
		r[pos].__reserved = bad->reserved;
		r[pos].prot = bad->prot ?: r[pos].prot;
		if (bad->addr)
			r[pos].addr = (uintptr_t)self->win + bad->addr;
		EXPECT_EQ(-EINVAL, wx_vec(self->fd, ops[i].op, &v, 1, r, 3)) {
			TH_LOG("op %u range %u: %s", i, pos, bad->name);
		}
		EXPECT_SAME_STAT(self->fd, st);
	}

	/* What is right for the one operation is not for the other. */
	for (i = WXPOOL_PROT_R; i <= WXPOOL_PROT_X; i++) {
		good_ranges(r, 1);
		r[1].prot = i;
		EXPECT_EQ(-EINVAL, wx_alloc_vec(self->fd, 1, r, 3));
	}
	good_ranges(r, 2);
	r[2].prot = 0;
	EXPECT_EQ(-EINVAL, wx_protect_vec(self->fd, 1, r, 3));
	EXPECT_SAME_STAT(self->fd, st);
	/* Nothing was mapped by the way. */
	EXPECT_EQ(1, wx_count_vmas(self->win, self->win + PG(WIN_PAGES)));
}

TEST_F(ctx, malformed_free)
{
	struct wxpool_free good = { .size = sizeof(good), .pool = 1 }, f;

	ASSERT_EQ(0, wx_alloc(self->fd, 1, 0, 3));

#define REFUSED(change) do {						\
	f = good;							\
	change;								\
	EXPECT_EQ(-EINVAL, wx_ioctl(self->fd, WXPOOL_IOC_FREE, &f));	\
	EXPECT_STAT(self->fd, 1, 3, 0, 0, 0);				\
} while (0)
	REFUSED(f.pool = 0);
	REFUSED(f.flags = 1);
	REFUSED(f.flags = 1U << 31);
	REFUSED(f.__reserved = 1);
#undef REFUSED
	f = good;
	f.nr_freed = f.nr_kept = ~0ULL;
	EXPECT_EQ(0, wx_ioctl(self->fd, WXPOOL_IOC_FREE, &f));
	EXPECT_EQ(3, f.nr_freed);
	EXPECT_EQ(0, f.nr_kept);
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
}

TEST_F(ctx, end_of_the_space)
{
	struct wxpool_info info;
	struct wxpool_range r;
	unsigned int i;
	uint64_t page;

	ASSERT_EQ(0, wx_info(self->fd, &info));
	page = info.page_size;

	for (i = 0; i < 2; i++) {
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
		unsigned int j;

		for (j = 0; j < sizeof(past) / sizeof(past[0]); j++) {
			r = wx_range(0, 1, i ? WXPOOL_PROT_X : 0, NULL);
			r.offset = past[j].offset;
			r.length = past[j].length;
			EXPECT_EQ(-EOVERFLOW,
				  (i ? wx_protect_vec : wx_alloc_vec)(self->fd, 1, &r, 1)) {
				TH_LOG("op %u range %u", i, j);
			}
		}
	}
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);

	/* The very last page is one like any other. */
	r = wx_range(0, 1, 0, NULL);
	r.offset = info.space - page;
	EXPECT_EQ(0, wx_alloc_vec(self->fd, 1, &r, 1));
	r.prot = WXPOOL_PROT_R;
	r.addr = (uintptr_t)self->win;
	EXPECT_EQ(0, wx_protect_vec(self->fd, 1, &r, 1));
	EXPECT_EQ(0, try_read(self->win));
	EXPECT_EQ(0, wx_free(self->fd, 1));
}

/* A view may run past the end, where there is never a page to show. */
TEST_F(ctx, view_past_the_space)
{
	const int prots[] = { RW, RX, PROT_READ };
	struct wxpool_info info;
	struct wxpool_range r;
	uint64_t last;
	unsigned int i;
	char *p;

	ASSERT_EQ(0, wx_info(self->fd, &info));
	last = info.space - info.page_size;
	if (sizeof(long) == 4 && last >> 12 >= UINT32_MAX)
		SKIP(return, "mmap2() cannot name the end of the space");

	r = wx_range(0, 1, 0, NULL);
	r.offset = last;
	ASSERT_EQ(0, wx_alloc_vec(self->fd, 1, &r, 1));
	for (i = 0; i < 3; i++) {
		p = mmap(NULL, PG(2), prots[i], MAP_SHARED, self->fd,
			 (off_t)last);
		ASSERT_NE(MAP_FAILED, p);
		EXPECT_EQ(prots[i] == RW ? 0 : SIGBUS, try_read(p));
		EXPECT_EQ(SIGBUS, try_read(p + PG(1)));
	}
}

/* An in-place address that no mmap() accepts is map_error, not cut short. */
TEST_F(ctx, address_too_high)
{
	uint64_t high = sizeof(long) == 4 ? 1ULL << 32 : 0;
	struct wxpool_range r[2];
	struct wxpool_vec vec;

	r[0] = wx_range(0, 1, 0, self->win);
	r[1] = wx_range(1, 1, 0, NULL);
	r[1].addr = high ? high + (uintptr_t)(self->win + PG(1)) : 1ULL << 63;
	EXPECT_EQ(0, wx_vec(self->fd, WXPOOL_IOC_ALLOC, &vec, 1, r, 2));
	EXPECT_EQ(1, vec.nr_mapped);
	EXPECT_EQ(ENOMEM, vec.map_error);
	EXPECT_STAT(self->fd, 1, 2, 0, 0, 0);
	EXPECT_EQ(RW, wx_vma_prot(self->win));
	EXPECT_EQ(PROT_NONE, wx_vma_prot(self->win + PG(1)));
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
