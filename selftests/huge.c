// SPDX-License-Identifier: GPL-2.0
/*
 * WXPOOL_INSTALL_HUGE: a window of packed pages made as one huge page, which an
 * aligned view maps at once; everything that is true of packed pages is so of
 * these; and where there is no huge page, single ones do.
 */
#include <sys/resource.h>

#include "wxpool_util.h"

#define POOL	1
#define OTHER	2

#define AT(page, line)	((uint64_t)PG(page) + (line) * LINE)

/* Windows that the fixture shows */
#define WINDOWS	3

/* Views of the first windows: at addresses like their offsets, and not so */
FIXTURE(huge) {
	int fd;
	size_t size;
	long nr;		/* pages of a window */
	char *x, *r, *odd;
};

static char *view_at_like(int fd, int prot, size_t size, size_t shift)
{
	size_t len = (WINDOWS + 2) * size;
	char *p = mmap(NULL, len, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return p;
	p = (char *)(((uintptr_t)p + size - 1) & ~(uintptr_t)(size - 1)) + shift;
	return mmap(p, WINDOWS * size, prot, MAP_SHARED | MAP_FIXED, fd, 0);
}

FIXTURE_SETUP(huge)
{
	struct wxpool_info info;

	self->fd = wx_open();
	if (self->fd == -ENOENT)
		SKIP(return, "no " WX_DEV ": modprobe wxpool first");
	ASSERT_GE(self->fd, 0);
	ASSERT_EQ(0, wx_info(self->fd, &info));
	if (!info.huge_size)
		SKIP(return, "this kernel has no huge pages");
	self->size = info.huge_size;
	self->nr = self->size / wx_page_size;
	self->x = view_at_like(self->fd, RX, self->size, 0);
	self->r = view_at_like(self->fd, PROT_READ, self->size, 0);
	self->odd = view_at_like(self->fd, RX, self->size, PG(1));
	ASSERT_NE(MAP_FAILED, self->x);
	ASSERT_NE(MAP_FAILED, self->r);
	ASSERT_NE(MAP_FAILED, self->odd);
}

FIXTURE_TEARDOWN(huge)
{
}

/* Code at an offset, in a huge page if there is one */
static int install_huge(int fd, uint32_t pool, uint64_t offset, uint32_t val)
{
	unsigned char code[LINE];
	struct wxpool_range r;

	r = wx_bytes(offset, code, wx_emit(code, val), WXPOOL_PROT_X);
	return wx_install_flags(fd, pool, &r, 1, WXPOOL_INSTALL_HUGE);
}

/* Code at both ends of window 0, and in between, which must be huge then */
#define HUGE_WINDOW() do {						\
	ASSERT_EQ(0, install_huge(self->fd, POOL, 0, 1));		\
	ASSERT_EQ(0, install_huge(self->fd, POOL, self->size - LINE, 2)); \
	ASSERT_EQ(0, install_huge(self->fd, OTHER, AT(100, 3), 3));	\
	if (!wx_stat(self->fd).huge)					\
		SKIP(return, "no huge page to be had");			\
	EXPECT_STAT(self->fd, 2, 0, 0, self->nr, 0);			\
	EXPECT_PACKED(self->fd, self->nr, 3, self->nr);			\
} while (0)

#define EXPECT_CODE(p, want) do {					\
	uint32_t _val = 0;						\
									\
	EXPECT_EQ(0, try_exec(p, &_val));				\
	EXPECT_EQ((want), _val);					\
} while (0)

#define EXPECT_WINDOW(x) do {						\
	EXPECT_CODE(x, 1);						\
	EXPECT_CODE((x) + self->size - LINE, 2);			\
	EXPECT_CODE((x) + AT(100, 3), 3);				\
	EXPECT_EQ(SIGTRAP, try_exec((x) + LINE, NULL));			\
	EXPECT_EQ(SIGTRAP, try_exec((x) + AT(200, 0), NULL));		\
} while (0)

static long minor_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_minflt;
}

/* Faults that touching all pages of a window takes */
static long faults_of(const char *p, long nr)
{
	long i, before = 0;
	int sig;

	/* The ways there, for what else they may fault in. */
	sig = try_read(&before);
	minor_faults();
	before = minor_faults();
	for (i = 0; i < nr; i++)
		sig |= try_read(p + PG(i));
	return sig ? -1 : minor_faults() - before;
}

/* In a system with memory left there is one: not a test to skip. */
TEST_F(huge, one_mapping)
{
	ASSERT_EQ(0, install_huge(self->fd, POOL, 0, 1));
	EXPECT_STAT(self->fd, 1, 0, 0, self->nr, 0);
	EXPECT_PACKED(self->fd, self->nr, 1, self->nr);
	EXPECT_EQ(0, wx_smaps(self->x, "FilePmdMapped"));
	EXPECT_EQ(1, faults_of(self->x, self->nr));
	EXPECT_EQ(1, faults_of(self->r, self->nr));
	EXPECT_EQ((long)self->size / 1024, wx_smaps(self->x, "FilePmdMapped"));
	EXPECT_EQ((long)self->size / 1024, wx_smaps(self->r, "FilePmdMapped"));
	/* At an odd address the same memory is mapped in single pages. */
	EXPECT_LE(2, faults_of(self->odd, self->nr));
	EXPECT_EQ(0, wx_smaps(self->odd, "FilePmdMapped"));
	EXPECT_EQ(0, memcmp(self->x, self->odd, self->size));
	EXPECT_EQ(0, memcmp(self->x, self->r, self->size));
	EXPECT_TRUE(wx_is_fill(self->r + LINE, self->size - LINE, WXPOOL_PROT_X));
	EXPECT_EQ(SIGBUS, try_read(self->x + self->size));
	EXPECT_EQ(SIGBUS, try_read(self->odd + self->size));
	/* Lines that come later show in all of them. */
	ASSERT_EQ(0, wx_install_code(self->fd, POOL, AT(300, 7), 9));
	EXPECT_CODE(self->x + AT(300, 7), 9);
	EXPECT_CODE(self->odd + AT(300, 7), 9);
	EXPECT_PACKED(self->fd, self->nr, 2, self->nr);
}

TEST_F(huge, both_ends)
{
	HUGE_WINDOW();
	EXPECT_WINDOW(self->x);
	EXPECT_WINDOW(self->odd);
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_EQ(0, wx_free(self->fd, OTHER));
	EXPECT_PACKED(self->fd, 0, 0, 0);
}

TEST_F(huge, data_only)
{
	struct wxpool_range r;

	r = wx_bytes(self->size - LINE, "data", 4, WXPOOL_PROT_R);
	ASSERT_EQ(0, wx_install_flags(self->fd, POOL, &r, 1, WXPOOL_INSTALL_HUGE));
	if (!wx_stat(self->fd).huge)
		SKIP(return, "no huge page to be had");
	EXPECT_STAT(self->fd, 1, 0, self->nr, 0, 0);
	EXPECT_EQ(1, faults_of(self->r, self->nr));
	EXPECT_EQ((long)self->size / 1024, wx_smaps(self->r, "FilePmdMapped"));
	EXPECT_TRUE(wx_is_fill(self->r, self->size - LINE, WXPOOL_PROT_R));
	EXPECT_EQ(0, memcmp("data", self->r + self->size - LINE, 4));
	EXPECT_EQ(SIGBUS, try_exec(self->x + self->size - LINE, NULL));
	EXPECT_EQ(SIGBUS, try_read(self->x));
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_EQ(SIGBUS, try_read(self->r));
}

TEST_F(huge, not_unless_asked)
{
	ASSERT_EQ(0, wx_install_code(self->fd, POOL, 0, 1));
	EXPECT_PACKED(self->fd, 1, 1, 0);
	EXPECT_EQ(SIGBUS, try_read(self->x + PG(1)));
}

/* A window with a page in it, of whatever sort, is made page by page. */
TEST_F(huge, window_in_use)
{
	size_t i;

	ASSERT_EQ(0, wx_alloc(self->fd, OTHER, 7, 1));
	ASSERT_EQ(0, wx_install(self->fd, OTHER, self->size + AT(self->nr - 1, 63),
				"x", 1, WXPOOL_PROT_R));
	ASSERT_EQ(0, wx_install_code(self->fd, OTHER, 2 * self->size, 6));
	EXPECT_STAT(self->fd, 1, 1, 1, 1, 0);
	for (i = 0; i < WINDOWS; i++) {
		ASSERT_EQ(0, install_huge(self->fd, POOL, i * self->size + AT(20, 0),
					  4 + i));
		EXPECT_CODE(self->x + i * self->size + AT(20, 0), 4 + i);
		EXPECT_EQ(SIGBUS, try_read(self->x + i * self->size + PG(21)));
	}
	EXPECT_STAT(self->fd, 2, 1, 1, 4, 0);
	EXPECT_PACKED(self->fd, 5, 5, 0);
	EXPECT_CODE(self->x + 2 * self->size, 6);
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_EQ(0, wx_free(self->fd, OTHER));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
}

/* A range over three windows, of which the middle one is in use */
TEST_F(huge, across_windows)
{
	size_t len = self->size + 2 * PG(1), at = self->size - PG(1);
	char *src = mmap(NULL, len, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct wxpool_range r = wx_bytes(at, src, len, WXPOOL_PROT_X);
	struct wx_stat st;
	struct wxpool_free arg;

	ASSERT_NE(MAP_FAILED, src);
	wx_pattern(src, len, 1);
	ASSERT_EQ(0, wx_install_code(self->fd, OTHER, 2 * self->size + AT(9, 0), 5));
	ASSERT_EQ(0, wx_install_flags(self->fd, POOL, &r, 1, WXPOOL_INSTALL_HUGE));
	st = wx_stat(self->fd);
	EXPECT_EQ(0, memcmp(src, self->x + at, len));
	EXPECT_EQ(0, memcmp(src, self->odd + at, len));
	EXPECT_CODE(self->x + 2 * self->size + AT(9, 0), 5);
	EXPECT_EQ(SIGBUS, try_read(self->x + 2 * self->size + PG(1)));
	EXPECT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(st.packed - 1, (long)arg.nr_freed);
	EXPECT_PACKED(self->fd, 1, 1, 0);
	if (!st.huge)
		SKIP(return, "no huge page to be had");
	EXPECT_EQ(2 * self->nr, st.huge);
	EXPECT_EQ(2 * self->nr + 2, st.packed);
}

/* Two ranges of one vector in the same window share what the first makes. */
TEST_F(huge, vector_in_a_window)
{
	struct wxpool_range r[3];
	unsigned char code[LINE];
	size_t len = wx_emit(code, 8), i;
	struct wx_stat st;

	for (i = 0; i < 3; i++)
		r[i] = wx_bytes(i / 2 * self->size + AT(50 + i, i), code, len,
				WXPOOL_PROT_X);
	ASSERT_EQ(0, wx_install_flags(self->fd, POOL, r, 3, WXPOOL_INSTALL_HUGE));
	for (i = 0; i < 3; i++)
		EXPECT_CODE(self->x + r[i].offset, 8);
	st = wx_stat(self->fd);
	EXPECT_EQ(3, st.lines);
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_PACKED(self->fd, 0, 0, 0);
	if (!st.huge)
		SKIP(return, "no huge page to be had");
	EXPECT_EQ(2 * self->nr, st.huge);
	EXPECT_EQ(2 * self->nr, st.packed);
}

/* What is refused leaves no huge page behind. */
TEST_F(huge, refused)
{
	unsigned char code[LINE];
	struct wxpool_range r[2];
	size_t len = wx_emit(code, 8);
	struct wx_stat st;
	int i;

	ASSERT_EQ(0, wx_install_code(self->fd, OTHER, 2 * self->size, 5));
	st = wx_stat(self->fd);
	for (i = 0; i < 10; i++) {
		/* A source that is not there, a line in use, the other kind */
		r[0] = wx_bytes(i * LINE, code, len, WXPOOL_PROT_X);
		r[1] = wx_bytes(self->size, NULL, len, WXPOOL_PROT_X);
		EXPECT_EQ(-EFAULT, wx_install_flags(self->fd, POOL, r, 2,
						    WXPOOL_INSTALL_HUGE));
		EXPECT_SAME_STAT(self->fd, st);
		r[1] = wx_bytes(2 * self->size, code, len, WXPOOL_PROT_X);
		EXPECT_EQ(-EEXIST, wx_install_flags(self->fd, POOL, r, 2,
						    WXPOOL_INSTALL_HUGE));
		EXPECT_SAME_STAT(self->fd, st);
		r[1].prot = WXPOOL_PROT_R;
		r[1].offset += LINE;
		EXPECT_EQ(-EEXIST, wx_install_flags(self->fd, POOL, r, 2,
						    WXPOOL_INSTALL_HUGE));
		EXPECT_SAME_STAT(self->fd, st);
		EXPECT_EQ(SIGBUS, try_read(self->x));
		EXPECT_EQ(SIGBUS, try_read(self->x + self->size));
		EXPECT_EQ(-ENOENT, wx_free(self->fd, POOL));
	}
	/* The window is absent as ever. */
	EXPECT_EQ(0, wx_alloc(self->fd, POOL, 0, 1));
}

TEST_F(huge, free_of_everything)
{
	struct wxpool_free arg;

	HUGE_WINDOW();
	EXPECT_WINDOW(self->x);
	EXPECT_WINDOW(self->odd);
	EXPECT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(0, arg.nr_freed);
	EXPECT_EQ(0, wx_free_out(self->fd, OTHER, &arg));
	EXPECT_EQ(self->nr, (long)arg.nr_freed);
	EXPECT_EQ(0, arg.nr_kept);
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_PACKED(self->fd, 0, 0, 0);
	EXPECT_EQ(SIGBUS, try_read(self->x));
	EXPECT_EQ(SIGBUS, try_exec(self->x + AT(100, 3), NULL));
	EXPECT_EQ(SIGBUS, try_read(self->odd + PG(self->nr - 1)));
	EXPECT_EQ(0, wx_smaps(self->x, "FilePmdMapped"));
	/* All of the window can be anything again. */
	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, self->nr));
	ASSERT_EQ(0, wx_protect(self->fd, POOL, 0, self->nr, WXPOOL_PROT_R));
	EXPECT_TRUE(wx_is_fill(self->r, self->size, WXPOOL_PROT_R));
	ASSERT_EQ(0, wx_free(self->fd, POOL));
	HUGE_WINDOW();
	EXPECT_WINDOW(self->x);
	EXPECT_TRUE(wx_is_fill(self->r + LINE, AT(100, 3) - LINE, WXPOOL_PROT_X));
}

TEST_F(huge, free_of_a_part)
{
	struct wxpool_free arg;

	HUGE_WINDOW();
	EXPECT_WINDOW(self->x);
	ASSERT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(0, arg.nr_freed);
	EXPECT_STAT(self->fd, 1, 0, 0, self->nr, 0);
	EXPECT_PACKED(self->fd, self->nr, 1, self->nr);
	EXPECT_EQ(SIGTRAP, try_exec(self->x, NULL));
	EXPECT_EQ(SIGTRAP, try_exec(self->x + self->size - LINE, NULL));
	EXPECT_EQ(SIGTRAP, try_exec(self->odd, NULL));
	EXPECT_CODE(self->x + AT(100, 3), 3);
	EXPECT_CODE(self->odd + AT(100, 3), 3);
	EXPECT_TRUE(wx_is_fill(self->r, AT(100, 3), WXPOOL_PROT_X));
	EXPECT_TRUE(wx_is_fill(self->r + AT(100, 4), self->size - AT(100, 4),
			       WXPOOL_PROT_X));
	EXPECT_EQ(0, install_huge(self->fd, 3, 0, 4));
	EXPECT_CODE(self->x, 4);
}

/* Views may be cut, changed and moved within the window. */
TEST_F(huge, views_in_parts)
{
	char *to;

	HUGE_WINDOW();
	EXPECT_WINDOW(self->x);
	ASSERT_EQ(0, munmap(self->x + PG(10), PG(20)));
	EXPECT_EQ(SIGSEGV, try_read(self->x + PG(10)));
	EXPECT_WINDOW(self->x);
	ASSERT_EQ(0, wx_mprotect(self->x + PG(100), 1, PROT_READ));
	EXPECT_EQ(SIGSEGV, try_exec(self->x + AT(100, 3), NULL));
	EXPECT_EQ(0, try_read(self->x + AT(100, 3)));
	ASSERT_EQ(0, wx_mprotect(self->x + PG(100), 1, PROT_NONE));
	EXPECT_EQ(SIGSEGV, try_read(self->x + AT(100, 3)));
	ASSERT_EQ(0, wx_mprotect(self->x + PG(100), 1, RX));
	EXPECT_EQ(-EACCES, wx_mprotect(self->x + PG(100), 1, RW));
	EXPECT_WINDOW(self->x);
	ASSERT_EQ(0, madvise(self->x, PG(5), MADV_DONTNEED));
	EXPECT_WINDOW(self->x);

	/* The end of the window to another place, the odd view whole */
	to = mremap(self->x + PG(self->nr - 2), PG(2), PG(2), MREMAP_MAYMOVE |
		    MREMAP_FIXED, self->x + 2 * self->size);
	ASSERT_NE(MAP_FAILED, to);
	EXPECT_CODE(to + PG(2) - LINE, 2);
	EXPECT_EQ(SIGSEGV, try_read(self->x + self->size - LINE));
	to = mremap(self->odd, 0, self->size, MREMAP_MAYMOVE);
	ASSERT_NE(MAP_FAILED, to);
	EXPECT_WINDOW(to);
	EXPECT_WINDOW(self->odd);
	/* FREE finds all the parts. */
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_EQ(SIGTRAP, try_exec(to, NULL));
	EXPECT_EQ(0, wx_free(self->fd, OTHER));
	EXPECT_EQ(SIGBUS, try_read(to));
	EXPECT_EQ(SIGBUS, try_read(self->x));
	EXPECT_EQ(SIGBUS, try_read(self->x + PG(100)));
	EXPECT_EQ(SIGBUS, try_read(self->odd));
}

/* A view of a few pages in the middle, or of one */
TEST_F(huge, small_views)
{
	char *one, *few;

	HUGE_WINDOW();
	one = wx_view(self->fd, RX, 100, 1);
	few = wx_view(self->fd, RX, 98, 5);
	ASSERT_NE(MAP_FAILED, one);
	ASSERT_NE(MAP_FAILED, few);
	EXPECT_CODE(one + AT(0, 3), 3);
	EXPECT_CODE(few + AT(2, 3), 3);
	EXPECT_EQ(SIGTRAP, try_exec(few, NULL));
	EXPECT_EQ(SIGTRAP, try_exec(few + PG(4), NULL));
	EXPECT_EQ(SIGBUS, try_read(wx_view(self->fd, RW, 100, 1)));
	EXPECT_EQ(SIGSEGV, try_write(one, 1));
}

/* Of all its pages each is in use, also those without a line. */
TEST_F(huge, operations_in_the_window)
{
	struct wxpool_range r;
	struct wx_stat st;
	char src[LINE];
	size_t i;

	HUGE_WINDOW();
	st = wx_stat(self->fd);
	for (i = 0; i < 4; i++) {
		size_t page = i * (self->nr - 1) / 3;

		EXPECT_EQ(-EEXIST, wx_alloc(self->fd, POOL, page, 1));
		EXPECT_EQ(-ENOENT, wx_protect(self->fd, POOL, page, 1, WXPOOL_PROT_X));
		r = wx_bytes(AT(page, 20), src, LINE, WXPOOL_PROT_R);
		EXPECT_EQ(-EEXIST, wx_install_flags(self->fd, POOL, &r, 1, 0));
		EXPECT_EQ(-EEXIST, wx_install_flags(self->fd, POOL, &r, 1,
						    WXPOOL_INSTALL_HUGE));
	}
	EXPECT_EQ(-EEXIST, wx_alloc(self->fd, POOL, self->nr - 1, 2));
	EXPECT_EQ(-EEXIST, install_huge(self->fd, OTHER, 0, 9));
	EXPECT_EQ(-EEXIST, wx_install_code(self->fd, OTHER, AT(100, 3), 9));
	EXPECT_SAME_STAT(self->fd, st);
	EXPECT_WINDOW(self->x);
	EXPECT_EQ(0, wx_alloc(self->fd, POOL, self->nr, 1));
	EXPECT_EQ(0, wx_install_code(self->fd, 3, AT(5, 5), 9));
	EXPECT_CODE(self->x + AT(5, 5), 9);
	EXPECT_EQ(self->nr, wx_stat(self->fd).huge);
}

/* ------------------------------------------------------------------- fork */

static bool runs(const char *p, uint32_t want)
{
	uint32_t val = 0;

	return !try_exec(p, &val) && val == want;
}

static bool runs_window(const char *x, size_t size)
{
	return runs(x, 1) && runs(x + size - LINE, 2) && runs(x + AT(100, 3), 3);
}

/* A child that looks before and after the owner frees a part, then the rest */
TEST_F(huge, fork)
{
	struct wxpool_free arg;
	struct child c;

	HUGE_WINDOW();
	EXPECT_WINDOW(self->x);
	ASSERT_GE(FORK(&c), 0);
	if (!c.pid) {
		CHILD_CHECK(runs_window(self->x, self->size));
		wx_step(c.done[1]);
		CHILD_CHECK(!wx_wait_step(c.go[0]));
		CHILD_CHECK(runs_window(self->x, self->size));
		CHILD_CHECK(runs_window(self->odd, self->size));
		wx_step(c.done[1]);
		CHILD_CHECK(!wx_wait_step(c.go[0]));
		CHILD_CHECK(runs_window(self->x, self->size));
		CHILD_CHECK(runs_window(self->odd, self->size));
		_exit(0);
	}
	close(c.done[1]);
	ASSERT_EQ(0, wx_wait_step(c.done[0]));
	ASSERT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(0, arg.nr_freed);
	EXPECT_LT(0, arg.nr_kept);
	EXPECT_EQ((long)arg.nr_kept, wx_stat(self->fd).kept);
	EXPECT_EQ(SIGTRAP, try_exec(self->x, NULL));
	EXPECT_EQ(SIGTRAP, try_exec(self->x + self->size - LINE, NULL));
	EXPECT_EQ(SIGTRAP, try_exec(self->odd, NULL));
	EXPECT_CODE(self->x + AT(100, 3), 3);
	EXPECT_CODE(self->odd + AT(100, 3), 3);
	EXPECT_EQ(1, wx_stat(self->fd).lines);
	ASSERT_EQ(0, install_huge(self->fd, 3, 0, 4));
	EXPECT_CODE(self->x, 4);
	wx_step(c.go[1]);
	ASSERT_EQ(0, wx_wait_step(c.done[0]));

	ASSERT_EQ(0, wx_free(self->fd, OTHER));
	ASSERT_EQ(0, wx_free(self->fd, 3));
	EXPECT_EQ(SIGBUS, try_read(self->x));
	EXPECT_EQ(SIGBUS, try_read(self->odd + PG(100)));
	EXPECT_EQ(-EEXIST, wx_alloc(self->fd, POOL, 0, self->nr));
	ASSERT_EQ(0, install_huge(self->fd, POOL, AT(0, 1), 5));
	EXPECT_CODE(self->x + LINE, 5);
	wx_step(c.go[1]);
	EXPECT_EQ(0, wx_wait(c.pid));
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_PACKED(self->fd, 0, 0, 0);
	EXPECT_EQ(0, wx_alloc(self->fd, POOL, 0, self->nr));
}

/* Nothing freed but everything: kept whole, and given back whole */
TEST_F(huge, kept_whole)
{
	struct wxpool_free arg;
	struct child c;

	HUGE_WINDOW();
	ASSERT_GE(FORK(&c), 0);
	if (!c.pid) {
		CHILD_CHECK(!wx_wait_step(c.go[0]));
		CHILD_CHECK(runs_window(self->x, self->size));
		_exit(0);
	}
	ASSERT_EQ(0, wx_install_code(self->fd, POOL, AT(1, 0), 7));
	ASSERT_EQ(0, wx_free(self->fd, OTHER));
	ASSERT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(SIGBUS, try_read(self->x));
	EXPECT_LE(self->nr, wx_stat(self->fd).kept);
	EXPECT_STAT(self->fd, 0, 0, 0, 0, wx_stat(self->fd).kept);
	wx_step(c.go[1]);
	EXPECT_EQ(0, wx_wait(c.pid));
	EXPECT_EQ(0, wx_alloc(self->fd, POOL, 0, self->nr));
	EXPECT_STAT(self->fd, 1, self->nr, 0, 0, 0);
}

TEST_HARNESS_MAIN
