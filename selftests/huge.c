// SPDX-License-Identifier: GPL-2.0
/*
 * WXPOOL_INSTALL_BLOCKS: a block of packed pages made as one huge page, which an
 * aligned view maps at once; everything that is true of packed pages is so of
 * these; and if there is no huge page, single ones do. A block without a live line
 * stays for the next ones, if nobody needs its memory.
 */
#include <sys/resource.h>

#include "wxpool_fork.h"

#define POOL	1
#define OTHER	2

/* Blocks that the fixture shows */
#define BLOCKS	4

/* Views of the first blocks: at addresses like their offsets, and not so */
FIXTURE(huge) {
	int fd;
	size_t size;
	long nr;		/* pages of a block */
	char *x, *r, *odd;
};

static char *view_at_like(int fd, int prot, size_t size, size_t shift)
{
	size_t len = (BLOCKS + 2) * size;
	char *p = mmap(NULL, len, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return p;
	p = (char *)(((uintptr_t)p + size - 1) & ~(uintptr_t)(size - 1)) + shift;
	return mmap(p, BLOCKS * size, prot, MAP_SHARED | MAP_FIXED, fd, 0);
}

FIXTURE_SETUP(huge)
{
	struct wxpool_info info;

	self->fd = wx_open();
	if (self->fd == -ENOENT)
		SKIP(return, "no " WX_DEV ": modprobe wxpool first");
	ASSERT_GE(self->fd, 0);
	ASSERT_EQ(0, wx_info(self->fd, &info));
	if (!info.block_size)
		SKIP(return, "this kernel has no huge pages");
	self->size = info.block_size;
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
static int install_as(int fd, uint32_t pool, uint64_t offset, uint32_t val, uint32_t prot)
{
	unsigned char code[LINE];
	struct wxpool_install_range r;

	r = wx_bytes(offset, code, wx_emit(code, val), prot);
	return wx_install_flags(fd, pool, &r, 1, WXPOOL_INSTALL_BLOCKS);
}

static int install_huge(int fd, uint32_t pool, uint64_t offset, uint32_t val)
{
	return install_as(fd, pool, offset, val, WXPOOL_PROT_X);
}

/* Code at both ends of block 0, and in between, which must be huge then */
#define HUGE_BLOCK() do {						\
	ASSERT_EQ(0, install_huge(self->fd, POOL, 0, 1));		\
	ASSERT_EQ(0, install_huge(self->fd, POOL, self->size - LINE, 2)); \
	ASSERT_EQ(0, install_huge(self->fd, OTHER, AT(100, 3), 3));	\
	if (!wx_stat(self->fd).huge)					\
		SKIP(return, "no huge page to be had");			\
	EXPECT_STAT(self->fd, 2, 0, 0, self->nr, 0);			\
	EXPECT_PACKED(self->fd, self->nr, 3, self->nr);			\
} while (0)

#define EXPECT_BLOCK(x) do {						\
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

/* Faults that touching all pages of a block takes */
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
	HUGE_BLOCK();
	EXPECT_BLOCK(self->x);
	EXPECT_BLOCK(self->odd);
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_EQ(0, wx_free(self->fd, OTHER));
	EXPECT_PACKED(self->fd, 0, 0, 0);
}

TEST_F(huge, data_only)
{
	struct wxpool_install_range r;

	r = wx_bytes(self->size - LINE, "data", 4, WXPOOL_PROT_R);
	ASSERT_EQ(0, wx_install_flags(self->fd, POOL, &r, 1, WXPOOL_INSTALL_BLOCKS));
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
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_IDLE(self->fd, self->nr);
	EXPECT_TRUE(wx_is_fill(self->r, self->size, WXPOOL_PROT_R));
	EXPECT_EQ(SIGBUS, try_read(self->x));
}

TEST_F(huge, not_unless_asked)
{
	ASSERT_EQ(0, wx_install_code(self->fd, POOL, 0, 1));
	EXPECT_PACKED(self->fd, 1, 1, 0);
	EXPECT_EQ(SIGBUS, try_read(self->x + PG(1)));
}

/* A block with a page in it, of whatever sort, is made page by page. */
TEST_F(huge, block_in_use)
{
	size_t i;

	ASSERT_EQ(0, wx_alloc(self->fd, OTHER, 7, 1));
	ASSERT_EQ(0, wx_install(self->fd, OTHER, self->size + AT(self->nr - 1, 63),
				"x", 1, WXPOOL_PROT_R));
	ASSERT_EQ(0, wx_install_code(self->fd, OTHER, 2 * self->size, 6));
	EXPECT_STAT(self->fd, 1, 1, 1, 1, 0);
	for (i = 0; i < BLOCKS - 1; i++) {
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

/* A range over three blocks, of which the middle one is in use */
TEST_F(huge, across_blocks)
{
	size_t len = self->size + 2 * PG(1), at = self->size - PG(1);
	char *src = mmap(NULL, len, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct wxpool_install_range r = wx_bytes(at, src, len, WXPOOL_PROT_X);
	struct wx_stat st;
	struct wxpool_free arg;

	ASSERT_NE(MAP_FAILED, src);
	wx_pattern(src, len, 1);
	ASSERT_EQ(0, wx_install_code(self->fd, OTHER, 2 * self->size + AT(9, 0), 5));
	ASSERT_EQ(0, wx_install_flags(self->fd, POOL, &r, 1, WXPOOL_INSTALL_BLOCKS));
	st = wx_stat(self->fd);
	EXPECT_EQ(0, memcmp(src, self->x + at, len));
	EXPECT_EQ(0, memcmp(src, self->odd + at, len));
	EXPECT_CODE(self->x + 2 * self->size + AT(9, 0), 5);
	EXPECT_EQ(SIGBUS, try_read(self->x + 2 * self->size + PG(1)));
	/* Of the two blocks that it had to itself one stays, if they were that. */
	EXPECT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(st.packed - 1 - wx_stat(self->fd).idle, (long)arg.pages_freed);
	EXPECT_PACKED(self->fd, 1, 1, 0);
	EXPECT_IDLE(self->fd, st.huge ? self->nr : 0);
	if (!st.huge)
		SKIP(return, "no huge page to be had");
	EXPECT_EQ(2 * self->nr, st.huge);
	EXPECT_EQ(2 * self->nr + 2, st.packed);
}

/* Two ranges of one vector in the same block share what the first makes. */
TEST_F(huge, vector_in_a_block)
{
	struct wxpool_install_range r[3];
	unsigned char code[LINE];
	size_t len = wx_emit(code, 8), i;
	struct wx_stat st;

	for (i = 0; i < 3; i++)
		r[i] = wx_bytes(i / 2 * self->size + AT(50 + i, i), code, len,
				WXPOOL_PROT_X);
	ASSERT_EQ(0, wx_install_flags(self->fd, POOL, r, 3, WXPOOL_INSTALL_BLOCKS));
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

/* What is refused leaves nothing behind, but that the block may be idle. */
TEST_F(huge, refused)
{
	unsigned char code[LINE];
	struct wxpool_install_range r[2];
	size_t len = wx_emit(code, 8);
	struct wx_stat st;
	long idle;
	int i;

	ASSERT_EQ(0, wx_install_code(self->fd, OTHER, 2 * self->size, 5));
	st = wx_stat(self->fd);
	for (i = 0; i < 10; i++) {
		/* A source that is not there, a line in use, the other kind */
		r[0] = wx_bytes(i * LINE, code, len, WXPOOL_PROT_X);
		r[1] = wx_bytes(self->size, NULL, len, WXPOOL_PROT_X);
		EXPECT_EQ(-EFAULT, wx_install_flags(self->fd, POOL, r, 2,
						    WXPOOL_INSTALL_BLOCKS));
		EXPECT_SAME_STAT(self->fd, st);
		r[1] = wx_bytes(2 * self->size, code, len, WXPOOL_PROT_X);
		EXPECT_EQ(-EEXIST, wx_install_flags(self->fd, POOL, r, 2,
						    WXPOOL_INSTALL_BLOCKS));
		EXPECT_SAME_STAT(self->fd, st);
		r[1].prot = WXPOOL_PROT_R;
		r[1].offset += LINE;
		EXPECT_EQ(-EEXIST, wx_install_flags(self->fd, POOL, r, 2,
						    WXPOOL_INSTALL_BLOCKS));
		EXPECT_SAME_STAT(self->fd, st);
		idle = wx_stat(self->fd).idle / self->nr;
		EXPECT_EQ(idle, !try_read(self->x) + !try_read(self->x + self->size));
		EXPECT_EQ(idle ? SIGTRAP : SIGBUS, try_exec(self->x + i * LINE, NULL));
		EXPECT_TRUE(!idle || wx_is_fill(self->x, self->size, WXPOOL_PROT_X));
		EXPECT_EQ(-ENOENT, wx_free(self->fd, POOL));
	}
	/* It is as good as absent. */
	EXPECT_EQ(0, wx_alloc(self->fd, POOL, 0, 1));
}

TEST_F(huge, free_of_everything)
{
	struct wxpool_free arg;

	HUGE_BLOCK();
	EXPECT_BLOCK(self->x);
	EXPECT_BLOCK(self->odd);
	EXPECT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(0, arg.pages_freed);
	EXPECT_IDLE(self->fd, 0);
	EXPECT_EQ(0, wx_free_out(self->fd, OTHER, &arg));
	EXPECT_EQ(0, arg.pages_freed);
	EXPECT_EQ(0, arg.pages_kept);
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_PACKED(self->fd, 0, 0, 0);
	EXPECT_IDLE(self->fd, self->nr);
	/* All of the block can be anything again. */
	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, self->nr));
	EXPECT_IDLE(self->fd, 0);
	EXPECT_EQ(SIGBUS, try_read(self->x));
	EXPECT_EQ(SIGBUS, try_exec(self->x + AT(100, 3), NULL));
	EXPECT_EQ(SIGBUS, try_read(self->odd + PG(self->nr - 1)));
	EXPECT_EQ(0, wx_smaps(self->x, "FilePmdMapped"));
	ASSERT_EQ(0, wx_protect(self->fd, POOL, 0, self->nr, WXPOOL_PROT_R));
	EXPECT_TRUE(wx_is_fill(self->r, self->size, WXPOOL_PROT_R));
	ASSERT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(self->nr, (long)arg.pages_freed);
	EXPECT_EQ(SIGBUS, try_read(self->r));
	HUGE_BLOCK();
	EXPECT_BLOCK(self->x);
	EXPECT_TRUE(wx_is_fill(self->r + LINE, AT(100, 3) - LINE, WXPOOL_PROT_X));
}

TEST_F(huge, free_of_a_part)
{
	struct wxpool_free arg;

	HUGE_BLOCK();
	EXPECT_BLOCK(self->x);
	ASSERT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(0, arg.pages_freed);
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

/* Views may be cut, changed and moved within the block. */
TEST_F(huge, views_in_parts)
{
	char *to;

	HUGE_BLOCK();
	EXPECT_BLOCK(self->x);
	ASSERT_EQ(0, munmap(self->x + PG(10), PG(20)));
	EXPECT_EQ(SIGSEGV, try_read(self->x + PG(10)));
	EXPECT_BLOCK(self->x);
	ASSERT_EQ(0, wx_mprotect(self->x + PG(100), 1, PROT_READ));
	EXPECT_EQ(SIGSEGV, try_exec(self->x + AT(100, 3), NULL));
	EXPECT_EQ(0, try_read(self->x + AT(100, 3)));
	ASSERT_EQ(0, wx_mprotect(self->x + PG(100), 1, PROT_NONE));
	EXPECT_EQ(SIGSEGV, try_read(self->x + AT(100, 3)));
	ASSERT_EQ(0, wx_mprotect(self->x + PG(100), 1, RX));
	EXPECT_EQ(-EACCES, wx_mprotect(self->x + PG(100), 1, RW));
	EXPECT_BLOCK(self->x);
	ASSERT_EQ(0, madvise(self->x, PG(5), MADV_DONTNEED));
	EXPECT_BLOCK(self->x);

	/* The end of the block to another place, the odd view whole */
	to = mremap(self->x + PG(self->nr - 2), PG(2), PG(2), MREMAP_MAYMOVE |
		    MREMAP_FIXED, self->x + 2 * self->size);
	ASSERT_NE(MAP_FAILED, to);
	EXPECT_CODE(to + PG(2) - LINE, 2);
	EXPECT_EQ(SIGSEGV, try_read(self->x + self->size - LINE));
	to = mremap(self->odd, 0, self->size, MREMAP_MAYMOVE);
	ASSERT_NE(MAP_FAILED, to);
	EXPECT_BLOCK(to);
	EXPECT_BLOCK(self->odd);
	/* FREE finds all the parts. */
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_EQ(SIGTRAP, try_exec(to, NULL));
	EXPECT_EQ(0, wx_free(self->fd, OTHER));
	EXPECT_EQ(SIGTRAP, try_exec(to + AT(100, 3), NULL));
	EXPECT_EQ(SIGTRAP, try_exec(self->x + AT(100, 3), NULL));
	/* ... and so does who has the block go. */
	EXPECT_EQ(0, wx_alloc(self->fd, POOL, 7, 1));
	EXPECT_EQ(SIGBUS, try_read(to));
	EXPECT_EQ(SIGBUS, try_read(self->x));
	EXPECT_EQ(SIGBUS, try_read(self->x + PG(100)));
	EXPECT_EQ(SIGBUS, try_read(self->odd));
}

/* A view of a few pages in the middle, or of one */
TEST_F(huge, small_views)
{
	char *one, *few;

	HUGE_BLOCK();
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
TEST_F(huge, operations_in_the_block)
{
	struct wxpool_install_range r;
	struct wx_stat st;
	char src[LINE];
	size_t i;

	HUGE_BLOCK();
	st = wx_stat(self->fd);
	for (i = 0; i < 4; i++) {
		size_t page = i * (self->nr - 1) / 3;

		EXPECT_EQ(-EEXIST, wx_alloc(self->fd, POOL, page, 1));
		EXPECT_EQ(-ENOENT, wx_protect(self->fd, POOL, page, 1, WXPOOL_PROT_X));
		r = wx_bytes(AT(page, 20), src, LINE, WXPOOL_PROT_R);
		EXPECT_EQ(-EEXIST, wx_install_flags(self->fd, POOL, &r, 1, 0));
		EXPECT_EQ(-EEXIST, wx_install_flags(self->fd, POOL, &r, 1,
						    WXPOOL_INSTALL_BLOCKS));
	}
	EXPECT_EQ(-EEXIST, wx_alloc(self->fd, POOL, self->nr - 1, 2));
	EXPECT_EQ(-EEXIST, install_huge(self->fd, OTHER, 0, 9));
	EXPECT_EQ(-EEXIST, wx_install_code(self->fd, OTHER, AT(100, 3), 9));
	EXPECT_SAME_STAT(self->fd, st);
	EXPECT_BLOCK(self->x);
	EXPECT_EQ(0, wx_alloc(self->fd, POOL, self->nr, 1));
	EXPECT_EQ(0, wx_install_code(self->fd, 3, AT(5, 5), 9));
	EXPECT_CODE(self->x + AT(5, 5), 9);
	EXPECT_EQ(self->nr, wx_stat(self->fd).huge);
}

/* ------------------------------------------------------------------- fork */

static bool runs_block(const char *x, size_t size)
{
	return runs(x, 1) && runs(x + size - LINE, 2) && runs(x + AT(100, 3), 3);
}

/* A child that looks before and after the owner frees a part, then the rest */
TEST_F(huge, fork)
{
	struct wxpool_free arg;
	struct child c;

	HUGE_BLOCK();
	EXPECT_BLOCK(self->x);
	ASSERT_GT(child_start(&c), -1);
	if (!c.pid) {
		for (;;) {
			bool ok;

			child_waits(&c);
			ok = runs_block(self->x, self->size) &&
			     runs_block(self->odd, self->size);
			child_says(&c, ok);
		}
	}
	ASSERT_EQ(1, child_step(&c));
	ASSERT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(0, arg.pages_freed);
	EXPECT_EQ(0, arg.pages_kept);
	EXPECT_EQ(2, arg.lines_kept);
	EXPECT_BLOCK(self->x);
	EXPECT_BLOCK(self->odd);
	EXPECT_PACKED(self->fd, self->nr, 1, self->nr);
	EXPECT_EQ(-EEXIST, install_huge(self->fd, 3, 0, 4));
	EXPECT_EQ(-EEXIST, install_huge(self->fd, 3, self->size - LINE, 4));
	ASSERT_EQ(1, child_step(&c));
	/* Beside them there is room. */
	ASSERT_EQ(0, install_huge(self->fd, 3, AT(0, 1), 4));
	ASSERT_EQ(0, wx_free(self->fd, 3));

	ASSERT_EQ(0, wx_free_out(self->fd, OTHER, &arg));
	EXPECT_EQ(self->nr, (long)arg.pages_kept);
	EXPECT_STAT(self->fd, 0, 0, 0, 0, self->nr);
	EXPECT_PACKED(self->fd, 0, 0, 0);
	EXPECT_IDLE(self->fd, 0);
	EXPECT_EQ(SIGBUS, try_read(self->x));
	EXPECT_EQ(SIGBUS, try_read(self->odd + PG(100)));
	EXPECT_EQ(-EEXIST, wx_alloc(self->fd, POOL, 0, self->nr));
	EXPECT_EQ(-EEXIST, wx_alloc(self->fd, POOL, 200, 1));
	EXPECT_EQ(-EEXIST, install_huge(self->fd, POOL, 0, 5));
	ASSERT_EQ(1, child_step(&c));
	/* With another line in it, the block is shared again. */
	ASSERT_EQ(0, install_huge(self->fd, POOL, AT(0, 1), 5));
	EXPECT_STAT(self->fd, 1, 0, 0, self->nr, 0);
	EXPECT_CODE(self->x, 1);
	EXPECT_CODE(self->x + LINE, 5);
	ASSERT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, self->nr);
	EXPECT_EQ(SIGBUS, try_read(self->x));
	ASSERT_EQ(1, child_step(&c));
	child_kill(&c);
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_PACKED(self->fd, 0, 0, 0);
	EXPECT_EQ(0, wx_alloc(self->fd, POOL, 0, self->nr));
}

/* A part is traps again, and the block there, when the child ends. */
TEST_F(huge, fork_that_ends_first)
{
	struct child c;

	HUGE_BLOCK();
	ASSERT_GT(child_start(&c), -1);
	if (!c.pid) {
		child_waits(&c);
		_exit(0);
	}
	ASSERT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_BLOCK(self->x);
	EXPECT_EQ(0, child_end(&c));
	EXPECT_EQ(SIGTRAP, try_exec(self->x, NULL));
	EXPECT_EQ(SIGTRAP, try_exec(self->odd + self->size - LINE, NULL));
	EXPECT_CODE(self->x + AT(100, 3), 3);
	EXPECT_PACKED(self->fd, self->nr, 1, self->nr);
	EXPECT_EQ(0, install_huge(self->fd, 3, 0, 4));
	EXPECT_CODE(self->odd, 4);
}

/* Nothing freed but everything: kept whole, and given back whole */
TEST_F(huge, kept_whole)
{
	struct wxpool_free arg;
	struct child c;

	HUGE_BLOCK();
	ASSERT_GT(child_start(&c), -1);
	if (!c.pid) {
		child_waits(&c);
		CHILD_CHECK(runs_block(self->x, self->size));
		_exit(0);
	}
	/* A line of after the fork, which the pool keeps as well */
	ASSERT_EQ(0, wx_install_code(self->fd, POOL, AT(1, 0), 7));
	ASSERT_EQ(0, wx_free(self->fd, OTHER));
	ASSERT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(self->nr, (long)arg.pages_kept);
	EXPECT_EQ(3, arg.lines_kept);
	EXPECT_EQ(SIGBUS, try_read(self->x));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, self->nr);
	EXPECT_EQ(0, child_end(&c));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_EQ(0, wx_alloc(self->fd, POOL, 0, self->nr));
	EXPECT_STAT(self->fd, 1, self->nr, 0, 0, 0);
}

/* REVOKE leaves traps of a part, and of all of it nothing that anyone is shown. */
TEST_F(huge, revoke)
{
	struct child c;

	HUGE_BLOCK();
	ASSERT_GT(child_start(&c), -1);
	if (!c.pid) {
		child_waits(&c);
		CHILD_CHECK(runs_block(self->x, self->size));
		child_says(&c, 1);
		child_waits(&c);
		CHILD_CHECK(try_exec(self->x, NULL) == SIGTRAP);
		CHILD_CHECK(runs(self->x + AT(100, 3), 3));
		child_says(&c, 2);
		child_waits(&c);
		CHILD_CHECK(!runs(self->x + AT(100, 3), 3));
		_exit(0);
	}
	ASSERT_EQ(1, child_step(&c));
	ASSERT_EQ(0, wx_revoke(self->fd, POOL));
	EXPECT_EQ(SIGTRAP, try_exec(self->x, NULL));
	ASSERT_EQ(2, child_step(&c));
	ASSERT_EQ(0, wx_revoke(self->fd, OTHER));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_EQ(0, child_end(&c));
	EXPECT_EQ(0, wx_alloc(self->fd, POOL, 0, self->nr));
}

/* ------------------------------------------------------------ idle blocks */

/* An idle block of that protection, which POOL had */
#define IDLE_BLOCK(block, prot) do {					\
	ASSERT_EQ(0, install_as(self->fd, POOL, (block) * self->size + AT(3, 5), \
				1, prot));				\
	if (!wx_stat(self->fd).huge)					\
		SKIP(return, "no huge page to be had");			\
	ASSERT_EQ(0, wx_free(self->fd, POOL));				\
} while (0)

/* As good as absent, but still charged, mapped, and full of traps */
TEST_F(huge, idle)
{
	uint64_t empty, full;

	ASSERT_EQ(0, wx_warm_up(self->fd));
	empty = wx_stat(self->fd).charged;
	HUGE_BLOCK();
	full = wx_stat(self->fd).charged;
	EXPECT_LE(empty + self->size, full);
	EXPECT_EQ(1, faults_of(self->x, self->nr));
	ASSERT_EQ(0, wx_free(self->fd, POOL));
	ASSERT_EQ(0, wx_free(self->fd, OTHER));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_PACKED(self->fd, 0, 0, 0);
	EXPECT_IDLE(self->fd, self->nr);
	EXPECT_LE(empty + self->size, wx_stat(self->fd).charged);
	EXPECT_GE(full, wx_stat(self->fd).charged);
	/* It was not taken out of views, and comes into others. */
	EXPECT_EQ(0, faults_of(self->x, self->nr));
	EXPECT_TRUE(wx_is_fill(self->x, self->size, WXPOOL_PROT_X));
	EXPECT_TRUE(wx_is_fill(self->odd, self->size, WXPOOL_PROT_X));
	EXPECT_TRUE(wx_is_fill(wx_view(self->fd, PROT_READ, 0, self->nr), self->size,
			       WXPOOL_PROT_X));
	EXPECT_EQ(SIGTRAP, try_exec(self->x + AT(100, 3), NULL));
	EXPECT_EQ(SIGBUS, try_read(wx_view(self->fd, RW, 5, 1)));
	/* No operation finds anything in it. */
	EXPECT_EQ(-ENOENT, wx_free(self->fd, POOL));
	EXPECT_EQ(-ENOENT, wx_protect(self->fd, POOL, 5, 1, WXPOOL_PROT_X));
}

/* What comes there is there at once. */
TEST_F(huge, idle_used_again)
{
	struct wxpool_install_range r[2];
	unsigned char code[LINE];
	char *src = calloc(2, PG(1));

	ASSERT_NE(NULL, src);
	wx_pattern(src, PG(2), 1);
	IDLE_BLOCK(0, WXPOOL_PROT_X);
	EXPECT_EQ(0, try_read(self->x));
	r[0] = wx_bytes(AT(200, 7), code, wx_emit(code, 50), WXPOOL_PROT_X);
	r[1] = wx_bytes(PG(300), src, PG(2), WXPOOL_PROT_X);
	ASSERT_EQ(0, wx_install_flags(self->fd, OTHER, r, 2, WXPOOL_INSTALL_BLOCKS));
	EXPECT_IDLE(self->fd, 0);
	EXPECT_STAT(self->fd, 1, 0, 0, self->nr, 0);
	EXPECT_PACKED(self->fd, self->nr, 1 + 2 * (long)PAGE_LINES, self->nr);
	EXPECT_EQ(0, faults_of(self->x, self->nr));
	EXPECT_CODE(self->x + AT(200, 7), 50);
	EXPECT_EQ(0, memcmp(src, self->x + PG(300), PG(2)));
	EXPECT_EQ(SIGTRAP, try_exec(self->x + AT(3, 5), NULL));
	EXPECT_TRUE(wx_is_fill(self->x + PG(302), self->size - PG(302), WXPOOL_PROT_X));
	ASSERT_EQ(0, wx_free(self->fd, OTHER));
	EXPECT_IDLE(self->fd, self->nr);
	free(src);
}

/* Who does not ask for blocks gets single pages, as if there were none. */
TEST_F(huge, idle_and_no_blocks)
{
	struct wxpool_install_range r[2];
	unsigned char code[LINE];
	size_t len = wx_emit(code, 60);

	IDLE_BLOCK(0, WXPOOL_PROT_X);
	EXPECT_EQ(0, try_read(self->x));
	r[0] = wx_bytes(AT(3, 5), code, len, WXPOOL_PROT_X);
	r[1] = wx_bytes(AT(4, 0), code, len, WXPOOL_PROT_R);
	ASSERT_EQ(0, wx_install_vec(self->fd, OTHER, r, 2));
	EXPECT_IDLE(self->fd, 0);
	EXPECT_STAT(self->fd, 1, 0, 1, 1, 0);
	EXPECT_PACKED(self->fd, 2, 2, 0);
	EXPECT_EQ(0, wx_alloc(self->fd, OTHER, 10, 1));
	EXPECT_CODE(self->x + AT(3, 5), 60);
	EXPECT_EQ(SIGBUS, try_read(self->x + PG(5)));
	EXPECT_EQ(0, wx_free(self->fd, OTHER));
}

/* Each protection has one, and the newest of them it is. */
TEST_F(huge, idle_one_of_each)
{
	struct wxpool_free arg;
	uint32_t prot;

	for (prot = WXPOOL_PROT_R; prot <= WXPOOL_PROT_XO; prot++)
		IDLE_BLOCK(prot - 1, prot);
	EXPECT_IDLE(self->fd, 3 * self->nr);
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_TRUE(wx_is_fill(self->r, self->size, WXPOOL_PROT_R));
	EXPECT_EQ(SIGBUS, try_read(self->x));
	EXPECT_TRUE(wx_is_fill(self->x + self->size, self->size, WXPOOL_PROT_X));
	EXPECT_EQ(SIGBUS, try_read(self->x + 2 * self->size));
	EXPECT_EQ(SIGBUS, try_read(self->r + 2 * self->size));
	EXPECT_EQ(SIGTRAP, try_exec(wx_view(self->fd, XO, 2 * self->nr, 1), NULL));

	ASSERT_EQ(0, install_huge(self->fd, POOL, 3 * self->size, 1));
	ASSERT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(self->nr, (long)arg.pages_freed);
	EXPECT_IDLE(self->fd, 3 * self->nr);
	EXPECT_EQ(SIGBUS, try_read(self->x + self->size));
	EXPECT_EQ(SIGTRAP, try_exec(self->x + 3 * self->size, NULL));
	EXPECT_TRUE(wx_is_fill(self->r, self->size, WXPOOL_PROT_R));
}

/* Two that end in one call: one of them stays; if all ends, perhaps none. */
TEST_F(huge, idle_two_at_once)
{
	const uint32_t pools[] = { POOL, OTHER };
	struct wxpool_free arg;
	long idle;
	int all;

	for (all = 0; all < 2; all++) {
		ASSERT_EQ(0, install_huge(self->fd, POOL, 0, 1));
		ASSERT_EQ(0, install_huge(self->fd, OTHER, self->size, 2));
		if (wx_stat(self->fd).huge != 2 * self->nr)
			SKIP(return, "no huge page to be had");
		ASSERT_EQ(0, all ? wx_free_vec(self->fd, NULL, 0, WXPOOL_FREE_ALL, &arg) :
				   wx_free_vec(self->fd, pools, 2, 0, &arg));
		/* What is idle has not gone back, and all else has. */
		idle = wx_stat(self->fd).idle;
		EXPECT_EQ(2 * self->nr - idle, (long)arg.pages_freed);
		EXPECT_EQ(idle / self->nr, !try_read(self->x) +
					   !try_read(self->x + self->size));
		if (!all)
			EXPECT_EQ(self->nr, idle);
	}
}

/* It makes way for whatever is not of its kind. */
TEST_F(huge, idle_makes_way)
{
	struct wxpool_alloc_range a[2];

	/* Pages in the midst of it, and beyond its end */
	IDLE_BLOCK(0, WXPOOL_PROT_X);
	a[0] = wx_alloc_range(100, 2);
	a[1] = wx_alloc_range(self->nr - 1, 2);
	ASSERT_EQ(0, wx_alloc_vec(self->fd, OTHER, a, 2));
	EXPECT_IDLE(self->fd, 0);
	EXPECT_STAT(self->fd, 1, 4, 0, 0, 0);
	EXPECT_EQ(SIGBUS, try_read(self->x + AT(3, 5)));
	EXPECT_EQ(SIGBUS, try_read(self->x + PG(100)));
	EXPECT_EQ(SIGBUS, try_read(self->odd + PG(200)));
	ASSERT_EQ(0, wx_free(self->fd, OTHER));

	/* A page of another protection */
	IDLE_BLOCK(0, WXPOOL_PROT_X);
	ASSERT_EQ(0, wx_install(self->fd, OTHER, AT(7, 0), "data", 4, WXPOOL_PROT_R));
	EXPECT_IDLE(self->fd, 0);
	EXPECT_PACKED(self->fd, 1, 1, 0);
	EXPECT_EQ(SIGBUS, try_read(self->x + AT(3, 5)));
	EXPECT_EQ(SIGBUS, try_read(self->r + PG(8)));
	EXPECT_EQ(0, memcmp("data", self->r + PG(7), 4));
	ASSERT_EQ(0, wx_free(self->fd, OTHER));

	/* A block of another */
	IDLE_BLOCK(0, WXPOOL_PROT_R);
	ASSERT_EQ(0, install_huge(self->fd, OTHER, AT(7, 0), 4));
	EXPECT_IDLE(self->fd, 0);
	EXPECT_PACKED(self->fd, self->nr, 1, self->nr);
	EXPECT_CODE(self->x + PG(7), 4);
	EXPECT_TRUE(wx_is_fill(self->x, PG(7), WXPOOL_PROT_X));
	ASSERT_EQ(0, wx_free(self->fd, OTHER));
}

/* An INSTALL that fails has nothing in it, whether it is there still or not. */
TEST_F(huge, idle_and_refused)
{
	struct wxpool_install_range r[2];
	unsigned char code[LINE];
	int i;

	ASSERT_EQ(0, wx_install_code(self->fd, OTHER, 2 * self->size, 5));
	for (i = 0; i < 4; i++) {
		IDLE_BLOCK(0, WXPOOL_PROT_X);
		r[0] = wx_bytes(AT(9, 0), code, wx_emit(code, 6), WXPOOL_PROT_X);
		r[1] = i % 2 ? wx_bytes(AT(10, 0), NULL, LINE, WXPOOL_PROT_X) :
			       wx_bytes(2 * self->size, code, LINE, WXPOOL_PROT_X);
		EXPECT_EQ(i % 2 ? -EFAULT : -EEXIST,
			  wx_install_flags(self->fd, POOL, r, 2,
					   i / 2 ? WXPOOL_INSTALL_BLOCKS : 0));
		EXPECT_STAT(self->fd, 1, 0, 0, 1, 0);
		EXPECT_PACKED(self->fd, 1, 1, 0);
		EXPECT_FALSE(runs(self->x + PG(9), 6));
		EXPECT_EQ(-ENOENT, wx_free(self->fd, POOL));
		EXPECT_EQ(0, wx_install_vec(self->fd, POOL, r, 1));
		EXPECT_CODE(self->x + PG(9), 6);
		EXPECT_EQ(0, wx_free(self->fd, POOL));
	}
}

/* Who needs memory gets it. */
TEST_F(huge, idle_under_pressure)
{
	uint64_t empty;
	uint32_t prot;
	int i;

	if (geteuid())
		SKIP(return, "only root can have the kernel look for memory");
	ASSERT_EQ(0, wx_warm_up(self->fd));
	empty = wx_stat(self->fd).charged;
	for (prot = WXPOOL_PROT_R; prot <= WXPOOL_PROT_XO; prot++)
		IDLE_BLOCK(prot - 1, prot);
	EXPECT_EQ(0, try_read(self->r) | try_read(self->x + self->size));
	/* It may take more than once: a lock may be held at that moment. */
	for (i = 0; i < 50 && wx_stat(self->fd).idle; i++)
		ASSERT_EQ(0, wx_write_file("/proc/sys/vm/drop_caches", "2"));
	EXPECT_IDLE(self->fd, 0);
	EXPECT_GT(empty + self->size, wx_stat(self->fd).charged);
	EXPECT_EQ(SIGBUS, try_read(self->r));
	EXPECT_EQ(SIGBUS, try_read(self->x + self->size));
	/* What is in use it does not touch. */
	ASSERT_EQ(0, install_huge(self->fd, OTHER, 0, 3));
	ASSERT_EQ(0, wx_write_file("/proc/sys/vm/drop_caches", "2"));
	EXPECT_CODE(self->x, 3);
}

/* A heir has what is there at the fork, and later what any holder would see. */
TEST_F(huge, idle_with_an_heir)
{
	struct wxpool_free arg;
	struct child c;

	IDLE_BLOCK(0, WXPOOL_PROT_X);
	ASSERT_GT(child_start(&c), -1);
	if (!c.pid) {
		child_waits(&c);
		CHILD_CHECK(try_exec(self->x + AT(3, 5), NULL) == SIGTRAP);
		child_says(&c, 1);
		child_waits(&c);
		CHILD_CHECK(runs(self->x + AT(4, 0), 9));
		child_says(&c, 2);
		child_waits(&c);
		CHILD_CHECK(!runs(self->x + AT(4, 0), 9));
		_exit(0);
	}
	ASSERT_EQ(1, child_step(&c));
	ASSERT_EQ(0, install_huge(self->fd, OTHER, AT(4, 0), 9));
	EXPECT_PACKED(self->fd, self->nr, 1, self->nr);
	ASSERT_EQ(2, child_step(&c));
	/* It did not inherit that: idle once more, and nothing is kept. */
	ASSERT_EQ(0, wx_free_out(self->fd, OTHER, &arg));
	EXPECT_EQ(0, arg.pages_kept);
	EXPECT_EQ(0, arg.lines_kept);
	EXPECT_IDLE(self->fd, self->nr);
	EXPECT_EQ(0, child_end(&c));
}

/* With its context it goes. */
TEST_F(huge, idle_at_the_end)
{
	uint64_t charged = wx_stat(self->fd).user_charged;
	int fd = wx_open();

	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, install_huge(fd, POOL, 0, 1));
	ASSERT_EQ(0, wx_free(fd, POOL));
	if (!wx_stat(fd).idle)
		SKIP(return, "no huge page to be had");
	EXPECT_LE(charged + self->size, wx_stat(self->fd).user_charged);
	close(fd);
	EXPECT_EQ(charged, wx_stat(self->fd).user_charged);
}

TEST_HARNESS_MAIN
