// SPDX-License-Identifier: GPL-2.0
/*
 * INSTALL: bytes go into free lines of packed pages, which are R or X from the
 * start. What it copies, what it leaves alone, what it refuses, and that a
 * refusal has changed nothing: no byte, no line, no page, no count.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#include "wxpool_fork.h"

#define POOL	1
#define OTHER	2
#define MIB	((size_t)1 << 20)

static char *plain_pages(size_t nr)
{
	return mmap(NULL, PG(nr), RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void *unmapped_page(void)
{
	char *p = plain_pages(1);

	munmap(p, PG(1));
	return p;
}

static size_t lines_of(size_t len)
{
	return (len + LINE - 1) / LINE;
}

/* --------------------------------------------------------- what it copies */

TEST_F(packed, code_runs)
{
	unsigned char code[LINE];
	struct wxpool_install_range range = wx_bytes(0, code, wx_emit(code, 71),
					     WXPOOL_PROT_X);
	char *x, *r;
	uint32_t val;

	EXPECT_EQ(SIGBUS, try_exec(self->x, NULL));
	EXPECT_EQ(SIGBUS, try_read(self->r));
	ASSERT_EQ(0, wx_install_vec(self->fd, POOL, &range, 1));
	EXPECT_STAT(self->fd, 1, 0, 0, 1, 0);
	EXPECT_PACKED(self->fd, 1, 1, 0);

	/* Views made before and after */
	EXPECT_EQ(0, try_exec(self->x, &val));
	EXPECT_EQ(71, val);
	x = wx_view(self->fd, RX, 0, 1);
	r = wx_view(self->fd, PROT_READ, 0, 1);
	ASSERT_NE(MAP_FAILED, x);
	ASSERT_NE(MAP_FAILED, r);
	EXPECT_EQ(0, try_exec(x, &val));
	EXPECT_EQ(71, val);
	EXPECT_EQ(0, memcmp(code, self->r, range.length));
	EXPECT_EQ(0, memcmp(x, r, PG(1)));
	EXPECT_EQ(SIGSEGV, try_exec(r, NULL));
	EXPECT_EQ(SIGBUS, try_read(self->x + PG(1)));
	EXPECT_EQ(SIGBUS, try_read(self->r + PG(1)));
}

/* A line installed later shows in views that have the page mapped already. */
TEST_F(packed, lines_come_one_by_one)
{
	uint32_t val;
	size_t i, j;

	for (i = 0; i < PAGE_LINES; i++) {
		ASSERT_EQ(0, wx_install_code(self->fd, 1 + i % 3, AT(0, i), 100 + i));
		for (j = 0; j < PAGE_LINES; j++) {
			int sig = try_exec(self->x + j * LINE, &val);

			ASSERT_EQ(j <= i ? 0 : SIGTRAP, sig);
			if (j <= i)
				ASSERT_EQ(100 + j, val);
		}
	}
	EXPECT_STAT(self->fd, 3, 0, 0, 1, 0);
	EXPECT_PACKED(self->fd, 1, PAGE_LINES, 0);
}

TEST_F(packed, data_is_never_code)
{
	unsigned char code[LINE];
	size_t len = wx_emit(code, 72);

	ASSERT_EQ(0, wx_install(self->fd, POOL, AT(0, 3), code, len, WXPOOL_PROT_R));
	EXPECT_STAT(self->fd, 1, 0, 1, 0, 0);
	EXPECT_PACKED(self->fd, 1, 1, 0);
	EXPECT_EQ(0, memcmp(code, self->r + 3 * LINE, len));
	EXPECT_TRUE(wx_is_fill(self->r, 3 * LINE, WXPOOL_PROT_R));
	EXPECT_TRUE(wx_is_fill(self->r + 3 * LINE + len, PG(1) - 3 * LINE - len,
			       WXPOOL_PROT_R));
	EXPECT_EQ(SIGSEGV, try_exec(self->r + 3 * LINE, NULL));
	EXPECT_EQ(SIGBUS, try_exec(self->x + 3 * LINE, NULL));
	EXPECT_EQ(SIGBUS, try_read(self->x));
	EXPECT_EQ(-EACCES, wx_mprotect(self->r, 1, RX));
}

/* Every length at the end of a line, of both kinds */
TEST_F(packed, rest_of_the_last_line)
{
	char src[2 * LINE], *p;
	uint32_t prot;
	size_t len;

	wx_pattern(src, sizeof(src), 1);
	for (prot = WXPOOL_PROT_R; prot <= WXPOOL_PROT_X; prot++)
		for (len = 1; len <= 2 * LINE; len++) {
			size_t page = prot * 16 + len / 16;
			size_t line = len % 16 * 3 + 1;

			ASSERT_EQ(0, wx_install(self->fd, POOL, AT(page, line), src,
						len, prot));
			p = self->r + AT(page, line);
			ASSERT_EQ(0, memcmp(src, p, len));
			/* One more line, which nothing was installed in */
			ASSERT_TRUE(wx_is_fill(p + len,
					       (lines_of(len) + 1) * LINE - len, prot)) {
				TH_LOG("length %zu protection %u", len, prot);
			}
		}
	EXPECT_PACKED(self->fd, 18, 2 * (LINE + 2 * LINE), 0);
}

TEST_F(packed, unwritten_lines_trap)
{
	size_t i;

	ASSERT_EQ(0, wx_install_code(self->fd, POOL, AT(0, 5), 73));
	for (i = 0; i < PG(1); i += 16)
		EXPECT_EQ(i == 5 * LINE ? 0 : SIGTRAP, try_exec(self->x + i, NULL));
	EXPECT_TRUE(wx_is_fill(self->x, 5 * LINE, WXPOOL_PROT_X));
	EXPECT_TRUE(wx_is_fill(self->x + 6 * LINE, PG(1) - 6 * LINE, WXPOOL_PROT_X));
}

/* Memory that was somebody's before does not shine through. */
TEST_F(packed, pages_are_fresh)
{
	size_t nr = 256, i;
	char *w;

	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, nr));
	w = wx_view(self->fd, RW, 0, nr);
	ASSERT_NE(MAP_FAILED, w);
	wx_pattern(w, PG(nr), 2);
	ASSERT_EQ(0, wx_free(self->fd, POOL));
	for (i = 0; i < nr; i++) {
		uint32_t prot = 1 + i % 2;

		ASSERT_EQ(0, wx_install(self->fd, POOL, AT(i, 0), "\x01", 1, prot));
		ASSERT_EQ(1, self->r[PG(i)]);
		ASSERT_TRUE(wx_is_fill(self->r + PG(i) + 1, PG(1) - 1, prot));
	}
}

TEST_F(packed, sizes)
{
	const size_t sizes[] = {
		1, LINE - 1, LINE, LINE + 1, PG(1) - 1, PG(1), PG(1) + 1, PG(2) + 65,
		PG(16) + 7, MIB - 1, MIB, WXPOOL_MAX_INSTALL - 1, WXPOOL_MAX_INSTALL,
	};
	size_t nr = WXPOOL_MAX_INSTALL / wx_page_size, i, len, end;
	char *src = plain_pages(nr + 1), *r;
	uint32_t prot;

	r = wx_view(self->fd, PROT_READ, 0, nr);
	ASSERT_NE(MAP_FAILED, r);
	ASSERT_NE(MAP_FAILED, src);
	wx_pattern(src, PG(nr + 1), 3);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		prot = 1 + i % 2;
		len = sizes[i];
		end = lines_of(len) * LINE;
		ASSERT_EQ(0, wx_install(self->fd, POOL, 0, src + i, len, prot)) {
			TH_LOG("size %zu", len);
		}
		ASSERT_EQ(0, memcmp(src + i, r, len));
		end = (end + PG(1) - 1) / PG(1) * PG(1);
		ASSERT_TRUE(wx_is_fill(r + len, end - len, prot));
		EXPECT_PACKED(self->fd, (long)(end / PG(1)), (long)lines_of(len), 0);
		ASSERT_EQ(0, wx_free(self->fd, POOL));
		EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	}
	if (end < PG(nr))
		EXPECT_EQ(SIGBUS, try_read(r + end));
}

TEST_F(packed, unaligned_source)
{
	char *src = plain_pages(2);
	size_t i;

	ASSERT_NE(MAP_FAILED, src);
	wx_pattern(src, PG(2), 4);
	for (i = 0; i < LINE; i++) {
		/* Across the border of its two pages, by i bytes */
		const char *from = src + PG(1) - i;

		ASSERT_EQ(0, wx_install(self->fd, POOL, AT(i, 1), from, 200,
					WXPOOL_PROT_X));
		ASSERT_EQ(0, memcmp(from, self->x + AT(i, 1), 200));
	}
}

/* From the middle of one page to that of another, where one is there already */
TEST_F(packed, across_pages)
{
	char *src = plain_pages(8), *before;
	uint32_t prot;
	size_t i;

	ASSERT_NE(MAP_FAILED, src);
	wx_pattern(src, PG(8), 5);
	before = malloc(PG(8));
	ASSERT_NE(NULL, before);
	for (prot = WXPOOL_PROT_R; prot <= WXPOOL_PROT_X; prot++) {
		size_t base = 100 * prot, at = PG(1) / 2, len = PG(5) + 10;
		char *r = self->r + PG(base);

		/* Page 0 exists, 1 to 3 do not, 4 and 5 do; 6 is untouched. */
		ASSERT_EQ(0, wx_install(self->fd, OTHER, AT(base, 1), src, 90, prot));
		ASSERT_EQ(0, wx_install(self->fd, OTHER, AT(base + 5, 40), src, LINE,
					prot));
		memcpy(before, r, PG(1));
		ASSERT_EQ(0, wx_install(self->fd, POOL, PG(base) + at, src + 3, len,
					prot));
		EXPECT_EQ(0, memcmp(before, r, at));
		EXPECT_EQ(0, memcmp(src + 3, r + at, len));
		EXPECT_TRUE(wx_is_fill(r + at + len, PG(5) + 40 * LINE - at - len,
				       prot));
		EXPECT_EQ(0, memcmp(src, r + PG(5) + 40 * LINE, LINE));
		EXPECT_TRUE(wx_is_fill(r + PG(5) + 41 * LINE, PG(1) - 41 * LINE, prot));
		EXPECT_EQ(SIGBUS, try_read(r + PG(6)));
	}
	EXPECT_STAT(self->fd, 2, 0, 6, 6, 0);
	EXPECT_PACKED(self->fd, 12, 2 * (long)(2 + 1 + lines_of(PG(5) + 10)), 0);
	for (i = POOL; i <= OTHER; i++)
		EXPECT_EQ(0, wx_free(self->fd, i));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_PACKED(self->fd, 0, 0, 0);
	free(before);
}

/* The most that one call takes: scattered, of both kinds, in no order */
TEST_F(packed, vector_of_all_ranges)
{
	const unsigned int nr = WXPOOL_MAX_RANGES;
	struct wxpool_install_range *r = calloc(nr, sizeof(*r));
	unsigned char *src = malloc(nr * LINE);
	unsigned int i;
	uint32_t val;

	ASSERT_NE(NULL, r);
	ASSERT_NE(NULL, src);
	for (i = 0; i < nr; i++) {
		size_t slot = i * 389 % nr;	/* 64 pages of 16 lines each */
		size_t page = slot / 16, line = slot % 16 * 4;
		size_t len = wx_emit(src + i * LINE, 5000 + i);

		r[i] = wx_bytes(AT(page, line), src + i * LINE, len, 1 + page % 2);
	}
	ASSERT_EQ(0, wx_install_vec(self->fd, POOL, r, nr));
	EXPECT_STAT(self->fd, 1, 0, 32, 32, 0);
	EXPECT_PACKED(self->fd, 64, nr, 0);
	for (i = 0; i < nr; i++) {
		ASSERT_EQ(0, memcmp(src + i * LINE, self->r + r[i].offset,
				    r[i].length));
		if (r[i].prot == WXPOOL_PROT_R)
			continue;
		ASSERT_EQ(0, try_exec(self->x + r[i].offset, &val));
		ASSERT_EQ(5000 + i, val);
	}
	free(src);
	free(r);
}

TEST_F(packed, pools_share_a_page)
{
	uint32_t val;
	size_t i;

	for (i = 0; i < PAGE_LINES; i++)
		ASSERT_EQ(0, wx_install_code(self->fd, 1 + i, AT(7, i), 300 + i));
	EXPECT_STAT(self->fd, (long)PAGE_LINES, 0, 0, 1, 0);
	for (i = 0; i < PAGE_LINES; i++) {
		ASSERT_EQ(0, try_exec(self->x + AT(7, i), &val));
		ASSERT_EQ(300 + i, val);
	}
}

/* ----------------------------------------------------------- each line once */

/* A refused INSTALL by @pool; everything stays as it was. */
#define EXPECT_REFUSED(err, pool, r, nr) do {				\
	struct wx_stat _before = wx_stat(self->fd);			\
									\
	EXPECT_EQ((err), wx_install_vec(self->fd, pool, r, nr));	\
	EXPECT_SAME_STAT(self->fd, _before);				\
} while (0)

TEST_F(packed, each_line_once)
{
	char src[4 * LINE], *before = malloc(PG(1));
	struct wxpool_install_range r[3];
	uint32_t pool, prot;

	ASSERT_NE(NULL, before);
	wx_pattern(src, sizeof(src), 6);
	for (prot = WXPOOL_PROT_R; prot <= WXPOOL_PROT_X; prot++) {
		char *page = self->r + PG(prot);

		/* Lines 10 to 12, of which the last is written by a byte only */
		ASSERT_EQ(0, wx_install(self->fd, POOL, AT(prot, 10), src,
					2 * LINE + 1, prot));
		memcpy(before, page, PG(1));
		for (pool = POOL; pool <= OTHER; pool++) {
			r[0] = wx_bytes(AT(prot, 10), src + 1, 1, prot);
			EXPECT_REFUSED(-EEXIST, pool, r, 1);
			r[0] = wx_bytes(AT(prot, 12), src + 1, 1, prot);
			EXPECT_REFUSED(-EEXIST, pool, r, 1);
			r[0] = wx_bytes(AT(prot, 8), src + 1, 2 * LINE + 1, prot);
			EXPECT_REFUSED(-EEXIST, pool, r, 1);
			/* The same bytes once more are no better. */
			r[0] = wx_bytes(AT(prot, 10), src, 2 * LINE + 1, prot);
			EXPECT_REFUSED(-EEXIST, pool, r, 1);
			/* Wherever in a vector, also from or to absent pages */
			r[0] = wx_bytes(AT(prot, 0), src, LINE, prot);
			r[1] = wx_bytes(AT(20, 0), src, LINE, prot);
			r[2] = wx_bytes(AT(prot, 11), src, LINE, prot);
			EXPECT_REFUSED(-EEXIST, pool, r, 3);
			EXPECT_EQ(SIGBUS, try_read(self->r + PG(20)));
		}
		/* Twice in a vector, as a whole or by the last byte */
		r[0] = wx_bytes(AT(prot, 30), src, LINE, prot);
		r[1] = wx_bytes(AT(prot, 31), src, LINE, prot);
		r[2] = wx_bytes(AT(prot, 30), src, LINE, prot);
		EXPECT_REFUSED(-EEXIST, OTHER, r, 3);
		r[2] = wx_bytes(AT(prot, 29), src, LINE + 1, prot);
		EXPECT_REFUSED(-EEXIST, OTHER, r, 3);
		/* ... and in a page that would be a new one */
		r[0] = wx_bytes(AT(20, 5), src, 2 * LINE, prot);
		r[1] = wx_bytes(AT(20, 6), src, 1, prot);
		EXPECT_REFUSED(-EEXIST, POOL, r, 2);
		EXPECT_EQ(SIGBUS, try_read(self->r + PG(20)));
		EXPECT_EQ(0, memcmp(before, page, PG(1)));
		EXPECT_EQ(-ENOENT, wx_free(self->fd, OTHER));
		/* What was refused is free still. */
		EXPECT_EQ(0, wx_install(self->fd, POOL, AT(prot, 29), src,
					3 * LINE, prot));
		EXPECT_EQ(0, wx_install(self->fd, POOL, AT(prot, 13), src, 1, prot));
		EXPECT_EQ(0, wx_install(self->fd, POOL, AT(prot, 8), src,
					2 * LINE, prot));
	}
	free(before);
}

/* A page is what it was made as: packed R, X or XO, or a region's. */
TEST_F(packed, kinds_of_pages)
{
	struct wxpool_install_range r[2];
	struct wxpool_alloc_range a[2];
	char src[LINE], *plain;
	size_t page;
	uint32_t prot;

	wx_pattern(src, sizeof(src), 7);
	/* 0 to 2: packed R, X, XO; 3: OPEN; 4 to 6: sealed R, X, XO */
	for (prot = WXPOOL_PROT_R; prot <= WXPOOL_PROT_XO; prot++)
		ASSERT_EQ(0, wx_install(self->fd, POOL, AT(prot - 1, 0), src, LINE, prot));
	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 3, 4));
	for (prot = WXPOOL_PROT_R; prot <= WXPOOL_PROT_XO; prot++)
		ASSERT_EQ(0, wx_protect(self->fd, POOL, 3 + prot, 1, prot));

	for (page = 0; page < 7; page++)
		for (prot = WXPOOL_PROT_R; prot <= WXPOOL_PROT_XO; prot++) {
			if (page + 1 == prot)
				continue;
			r[0] = wx_bytes(AT(page, 20), src, LINE, prot);
			EXPECT_REFUSED(-EEXIST, POOL, r, 1);
			EXPECT_REFUSED(-EEXIST, OTHER, r, 1);
		}
	/* Two at once in a page that is not there yet */
	for (prot = WXPOOL_PROT_R; prot <= WXPOOL_PROT_XO; prot++) {
		r[0] = wx_bytes(AT(9, 0), src, LINE, prot);
		r[1] = wx_bytes(AT(9, 1), src, LINE, 1 + prot % 3);
		EXPECT_REFUSED(-EEXIST, POOL, r, 2);
		EXPECT_EQ(SIGBUS, try_read(self->r + PG(9)));
	}
	/* A range that runs from packed pages into a region */
	plain = plain_pages(3);
	ASSERT_NE(MAP_FAILED, plain);
	r[0] = wx_bytes(AT(2, 1), plain, PG(2), WXPOOL_PROT_XO);
	EXPECT_REFUSED(-EEXIST, POOL, r, 1);
	/* ALLOC, where packed pages are */
	for (page = 0; page < 3; page++)
		EXPECT_EQ(-EEXIST, wx_alloc(self->fd, POOL + page % 2, page, 1));
	a[0] = wx_alloc_range(30, 1);
	a[1] = wx_alloc_range(1, 1);
	EXPECT_EQ(-EEXIST, wx_alloc_vec(self->fd, OTHER, a, 2));
	/* PROTECT, which is for regions only */
	for (page = 0; page < 3; page++)
		for (prot = WXPOOL_PROT_R; prot <= WXPOOL_PROT_XO; prot++) {
			EXPECT_EQ(-ENOENT, wx_protect(self->fd, POOL, page, 1, prot));
			EXPECT_EQ(-ENOENT, wx_protect(self->fd, OTHER, page, 1, prot));
		}
	EXPECT_EQ(-ENOENT, wx_protect(self->fd, POOL, 2, 2, WXPOOL_PROT_X));
	EXPECT_STAT_XO(self->fd, 1, 1, 2, 2, 2, 0);
	EXPECT_PACKED(self->fd, 3, 3, 0);
	/* A region next to packed pages is as good as any. */
	EXPECT_EQ(0, wx_protect(self->fd, POOL, 3, 1, WXPOOL_PROT_X));
	EXPECT_EQ(0, wx_alloc(self->fd, POOL, 7, 1));
	EXPECT_EQ(0, wx_install(self->fd, POOL, AT(8, 0), src, 1, WXPOOL_PROT_X));
}

/* What can only be run: seen by XO views, in each line what was installed, or traps */
TEST_F(packed, execute_only)
{
	char *xo = wx_view(self->fd, XO, 0, WIN_PAGES);
	unsigned char code[LINE];
	struct wx_stat st;
	size_t i;

	ASSERT_NE(MAP_FAILED, xo);
	for (i = 0; i < PAGE_LINES; i += 3)
		ASSERT_EQ(0, wx_install(self->fd, POOL, AT(2, i), code,
					wx_emit(code, 40 + i), WXPOOL_PROT_XO));
	EXPECT_STAT_XO(self->fd, 1, 0, 0, 0, 1, 0);
	for (i = 0; i < PAGE_LINES; i++) {
		EXPECT_TRUE(i % 3 ? try_exec(xo + AT(2, i), NULL) == SIGTRAP :
				    runs(xo + AT(2, i), 40 + i));
		EXPECT_EQ(SIGBUS, try_read(self->r + AT(2, i)));
		EXPECT_EQ(SIGBUS, try_exec(self->x + AT(2, i), NULL));
	}
	st = wx_stat(self->fd);
	EXPECT_EQ(-EEXIST, wx_install(self->fd, POOL, AT(2, 0), code, 1, WXPOOL_PROT_XO));
	EXPECT_EQ(-EEXIST, wx_install(self->fd, POOL, AT(2, 1), code, 1, WXPOOL_PROT_X));
	EXPECT_SAME_STAT(self->fd, st);
	/* Freed in part, and as a whole */
	ASSERT_EQ(0, wx_install(self->fd, OTHER, AT(2, 1), code, wx_emit(code, 99),
				WXPOOL_PROT_XO));
	ASSERT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_EQ(SIGTRAP, try_exec(xo + AT(2, 0), NULL));
	EXPECT_CODE(xo + AT(2, 1), 99);
	ASSERT_EQ(0, wx_free(self->fd, OTHER));
	EXPECT_EQ(SIGBUS, try_exec(xo + AT(2, 1), NULL));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
}

/* --------------------------------------------------- ranges that go on */

/* Bytes from many places come to lie one behind the other. */
TEST_F(packed, gather)
{
	const size_t lens[] = { 1, 63, 64, 65, 7, 200, 1, 4096, 3, 9000, 128, 11 };
	const unsigned int nr = sizeof(lens) / sizeof(lens[0]);
	struct wxpool_install_range r[sizeof(lens) / sizeof(lens[0])];
	size_t total = 0, at = 0, i;
	char *src, *want;
	uint32_t prot;

	for (i = 0; i < nr; i++)
		total += lens[i];
	src = plain_pages(16);
	want = malloc(total);
	ASSERT_NE(MAP_FAILED, src);
	ASSERT_NE(NULL, want);
	wx_pattern(src, PG(16), 11);
	for (prot = WXPOOL_PROT_R; prot <= WXPOOL_PROT_X; prot++) {
		char *p = self->r + AT(10 * prot, 5);

		for (i = 0, at = 0; i < nr; at += lens[i++]) {
			const char *from = src + PG(i) + 17 * i;

			r[i] = i ? wx_more(from, lens[i]) :
				   wx_bytes(AT(10 * prot, 5), from, lens[i], prot);
			memcpy(want + at, from, lens[i]);
		}
		ASSERT_EQ(0, wx_install_vec(self->fd, POOL, r, nr));
		EXPECT_EQ(0, memcmp(want, p, total));
		EXPECT_TRUE(wx_is_fill(p - 5 * LINE, 5 * LINE, prot));
		EXPECT_TRUE(wx_is_fill(p + total, (lines_of(total) + 1) * LINE - total,
				       prot));
		/* Each line once, however many pieces it has */
		EXPECT_EQ((long)lines_of(total), wx_stat(self->fd).lines);
		ASSERT_EQ(0, wx_free(self->fd, POOL));
	}
	free(want);
}

/* Several of them in a vector, and a function in pieces of a byte each */
TEST_F(packed, gather_several)
{
	struct wxpool_install_range r[64];
	unsigned char code[LINE];
	size_t len = wx_emit(code, 4321), i, n = 0;

	for (i = 0; i < len; i++)
		r[n++] = i ? wx_more(code + i, 1) :
			     wx_bytes(AT(1, 3), code, 1, WXPOOL_PROT_X);
	r[n++] = wx_bytes(AT(0, 0), code, len, WXPOOL_PROT_X);
	r[n++] = wx_bytes(AT(2, 63), "data", 4, WXPOOL_PROT_R);
	r[n++] = wx_more("more", 4);
	/* ... from one page to the next */
	r[n++] = wx_bytes(AT(4, 63), code, len, WXPOOL_PROT_XO);
	r[n++] = wx_more(code + len, LINE - len);
	r[n++] = wx_more(code, len);
	ASSERT_EQ(0, wx_install_vec(self->fd, POOL, r, n));
	EXPECT_CODE(self->x + AT(1, 3), 4321);
	EXPECT_CODE(self->x, 4321);
	EXPECT_EQ(0, memcmp("datamore", self->r + AT(2, 63), 8));
	EXPECT_CODE(wx_view(self->fd, XO, 5, 1), 4321);
	EXPECT_STAT_XO(self->fd, 1, 0, 1, 2, 2, 0);
	EXPECT_PACKED(self->fd, 5, 5, 0);
}

/* The most pieces of a call, and the most bytes; the sum is of lines that are used. */
TEST_F(packed, gather_limits)
{
	const unsigned int nr = WXPOOL_MAX_RANGES;
	const size_t each = WXPOOL_MAX_INSTALL / nr;
	struct wxpool_install_range *r = calloc(nr + 1, sizeof(*r));
	char *src = plain_pages(WXPOOL_MAX_INSTALL / wx_page_size + 1), *x;
	unsigned int i;

	ASSERT_NE(NULL, r);
	ASSERT_NE(MAP_FAILED, src);
	wx_pattern(src, WXPOOL_MAX_INSTALL, 12);
	x = wx_view(self->fd, RX, 0, WXPOOL_MAX_INSTALL / wx_page_size);
	ASSERT_NE(MAP_FAILED, x);
	for (i = 0; i < nr; i++)
		r[i] = i ? wx_more(src + i, 1) : wx_bytes(0, src, 1, WXPOOL_PROT_X);
	ASSERT_EQ(0, wx_install_vec(self->fd, POOL, r, nr));
	EXPECT_EQ(0, memcmp(src, x, nr));
	EXPECT_PACKED(self->fd, 1, (long)nr / LINE, 0);
	ASSERT_EQ(0, wx_free(self->fd, POOL));
	/* Pieces that fill no line each, but all lines together */
	for (i = 0; i < nr; i++)
		r[i] = i ? wx_more(src + i * each + 1, each) :
			   wx_bytes(0, src, each + 1, WXPOOL_PROT_X);
	r[nr - 1].length = each - 1;
	ASSERT_EQ(0, wx_install_vec(self->fd, POOL, r, nr));
	EXPECT_EQ(0, memcmp(src, x, WXPOOL_MAX_INSTALL));
	ASSERT_EQ(0, wx_free(self->fd, POOL));
	r[nr - 1].length = each;
	EXPECT_REFUSED(-EINVAL, POOL, r, nr);
	/* Absurd, whichever error that is */
	r[nr / 2].length = UINT64_MAX;
	EXPECT_GT(0, wx_install_vec(self->fd, POOL, r, nr));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	free(r);
}

TEST_F(packed, gather_refused)
{
	struct wxpool_install_range r[4];
	char src[4 * LINE], *before = malloc(PG(1));
	struct wxpool_info info;
	int i;

	ASSERT_NE(NULL, before);
	ASSERT_EQ(0, wx_info(self->fd, &info));
	wx_pattern(src, sizeof(src), 13);
	ASSERT_EQ(0, wx_install(self->fd, OTHER, AT(0, 10), src, 1, WXPOOL_PROT_X));
	memcpy(before, self->r, PG(1));
#define REFUSED(err, change) do {					\
	r[0] = wx_bytes(AT(0, 4), src, 10, WXPOOL_PROT_X);		\
	for (i = 1; i < 4; i++)						\
		r[i] = wx_more(src + i, 100);				\
	change;								\
	EXPECT_REFUSED(err, POOL, r, 4);				\
	EXPECT_EQ(0, memcmp(before, self->r, PG(1)));			\
} while (0)
	/* Nothing is there to go on from, or more is said than that it goes on. */
	REFUSED(-EINVAL, r[0] = wx_more(src, 10));
	REFUSED(-EINVAL, r[0].flags = WXPOOL_RANGE_CONT);
	REFUSED(-EINVAL, r[1].offset = AT(0, 5));
	REFUSED(-EINVAL, r[1].offset = LINE);
	REFUSED(-EINVAL, r[2].prot = WXPOOL_PROT_X);
	REFUSED(-EINVAL, r[3].flags |= 2);
	REFUSED(-EINVAL, r[2].length = 0);
	/* Its last byte comes to a line that is in use. */
	REFUSED(-EEXIST, r[3].length = 6 * LINE - 210 + 1);
	REFUSED(-EFAULT, r[1].source = 0);
	REFUSED(-EFAULT, r[3].source = UINTPTR_MAX);
	REFUSED(-EFAULT, r[2].source = (uintptr_t)unmapped_page());
	/* ... or to where no line is. */
	REFUSED(-EOVERFLOW, r[0].offset = info.space - 4 * LINE);
	/* To a line that the one before it has taken */
	REFUSED(-EEXIST, r[2] = wx_bytes(AT(0, 5), src, 1, WXPOOL_PROT_X));
	REFUSED(-EEXIST, r[3] = wx_bytes(AT(0, 3), src, LINE + 1, WXPOOL_PROT_X));
#undef REFUSED
	/* Exactly up to it is fine. */
	r[0] = wx_bytes(AT(0, 4), src, 10, WXPOOL_PROT_X);
	r[1] = wx_more(src, 4 * LINE);
	r[2] = wx_more(src, 2 * LINE - 10);
	EXPECT_EQ(0, wx_install_vec(self->fd, POOL, r, 3));
	EXPECT_EQ(0, memcmp(src, self->r + AT(0, 4) + 10, 4 * LINE));
	free(before);
}

/* ------------------------------------------------------------ what is wrong */

static const struct {
	const char *name;
	int err;
	uint64_t offset, length;	/* set if not 0 */
	uint32_t flags, prot;
} bad_ranges[] = {
	{ "offset of a byte", -EINVAL, .offset = 1 },
	{ "offset of half a line", -EINVAL, .offset = 32 },
	{ "offset of a byte less", -EINVAL, .offset = 4095 },
	{ "a flag that is none", -EINVAL, .flags = 2 },
	{ "a flag, high", -EINVAL, .flags = 1U << 31 },
	{ "goes on, with an offset and all", -EINVAL, .flags = WXPOOL_RANGE_CONT },
	{ "protection 4", -EINVAL, .prot = 4 },
	{ "protection 7", -EINVAL, .prot = 7 },
	{ "protection, high", -EINVAL, .prot = 1U << 31 },
	{ "protection and more", -EINVAL, .prot = 1U << 31 | 2 },
	{ "a byte too long", -EINVAL, .length = WXPOOL_MAX_INSTALL + 1 },
	{ "twice too long", -EINVAL, .length = 2 * WXPOOL_MAX_INSTALL },
	{ "4 GiB and a byte", -EINVAL, .length = (1ULL << 32) + 1 },
};

TEST_F(packed, malformed_range)
{
	char src[LINE] = "x";
	struct wxpool_install_range r[3], *bad;
	unsigned int i, j, pos;
	struct wx_stat st;

	ASSERT_EQ(0, wx_install(self->fd, POOL, 0, src, 1, WXPOOL_PROT_X));
	for (i = 0; i < 3 * sizeof(bad_ranges) / sizeof(bad_ranges[0]); i++) {
		pos = i % 3;
		for (j = 0; j < 3; j++)
			r[j] = wx_bytes(AT(j, 1), src, 1, WXPOOL_PROT_X);
		bad = &r[pos];
		bad->offset += bad_ranges[i / 3].offset;
		bad->length = bad_ranges[i / 3].length ?: 1;
		bad->flags = bad_ranges[i / 3].flags;
		bad->prot = bad_ranges[i / 3].prot ?: WXPOOL_PROT_X;
		st = wx_stat(self->fd);
		EXPECT_EQ(bad_ranges[i / 3].err, wx_install_vec(self->fd, POOL, r, 3)) {
			TH_LOG("range %u: %s", pos, bad_ranges[i / 3].name);
		}
		EXPECT_SAME_STAT(self->fd, st);
	}
	for (pos = 0; pos < 3; pos++) {
		for (j = 0; j < 3; j++)
			r[j] = wx_bytes(AT(j, 1), src, 1, WXPOOL_PROT_X);
		r[pos].length = 0;
		EXPECT_REFUSED(-EINVAL, POOL, r, 3);
		r[pos].length = 1;
		r[pos].prot = 0;
		EXPECT_REFUSED(-EINVAL, POOL, r, 3);
		r[pos].prot = WXPOOL_PROT_X;
		r[pos].source = 0;
		EXPECT_REFUSED(-EFAULT, POOL, r, 3);
	}
	EXPECT_EQ(SIGBUS, try_read(self->r + PG(1)));
	EXPECT_TRUE(wx_is_fill(self->x + 1, PG(1) - 1, WXPOOL_PROT_X));
}

TEST_F(packed, malformed_vec)
{
	struct wxpool_install_range one, *many;
	struct wxpool_install good, v;
	char src[LINE] = "x";
	unsigned int i;

	many = calloc(WXPOOL_MAX_RANGES + 1, sizeof(*many));
	ASSERT_NE(NULL, many);
	for (i = 0; i <= WXPOOL_MAX_RANGES; i++)
		many[i] = wx_bytes(i * LINE, src, 1, WXPOOL_PROT_R);
	one = many[0];
	good = (struct wxpool_install) {
		.size = sizeof(good), .pool = POOL, .nr_ranges = 1,
		.ranges = (uintptr_t)&one,
	};
#define REFUSED(err, change) do {					\
	v = good;							\
	change;								\
	EXPECT_EQ((err), wx_ioctl(self->fd, WXPOOL_IOC_INSTALL, &v));	\
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);				\
	EXPECT_PACKED(self->fd, 0, 0, 0);				\
} while (0)
	REFUSED(-EINVAL, v.pool = 0);
	REFUSED(-EINVAL, v.flags = 2);
	REFUSED(-EINVAL, v.flags = WXPOOL_INSTALL_BLOCKS | 2);
	REFUSED(-EINVAL, v.flags = 1U << 31);
	REFUSED(-EINVAL, v.nr_ranges = 0);
	REFUSED(-EINVAL, v.nr_ranges = UINT32_MAX);
	REFUSED(-EINVAL, v.nr_ranges = WXPOOL_MAX_RANGES + 1;
		v.ranges = (uintptr_t)many);
	REFUSED(-EFAULT, v.ranges = 0);
	REFUSED(-EFAULT, v.ranges = 1ULL << 63);
	REFUSED(-EFAULT, v.ranges = (uintptr_t)~0xfffUL);
	REFUSED(-ESTALE, v.context = wx_id(self->fd) + 1);
	REFUSED(-ESTALE, v.context = UINT64_MAX);
#undef REFUSED
	/* Nothing of it is output. */
	v = good;
	v.context = wx_id(self->fd);
	good = v;
	EXPECT_EQ(0, wx_ioctl(self->fd, WXPOOL_IOC_INSTALL, &v));
	EXPECT_EQ(0, memcmp(&good, &v, sizeof(v)));
	EXPECT_PACKED(self->fd, 1, 1, 0);
	free(many);
}

/* The sum counts, each range in full lines. */
TEST_F(packed, too_many_bytes)
{
	const unsigned int nr = WXPOOL_MAX_RANGES;
	const size_t each = WXPOOL_MAX_INSTALL / nr;
	struct wxpool_install_range *r = calloc(nr, sizeof(*r));
	char *src = plain_pages(WXPOOL_MAX_INSTALL / wx_page_size);
	unsigned int i;

	ASSERT_NE(NULL, r);
	ASSERT_NE(MAP_FAILED, src);
	for (i = 0; i < nr; i++)
		r[i] = wx_bytes(i * (each + PG(1)), src, each - LINE + 1,
				WXPOOL_PROT_X);
	r[nr - 1].length = each + 1;
	EXPECT_REFUSED(-EINVAL, POOL, r, nr);
	/* Sums that do not fit into 32 or 64 bits */
	for (i = 0; i < nr; i++)
		r[i].length = 1ULL << 22;
	EXPECT_REFUSED(-EINVAL, POOL, r, nr);
	r[0] = wx_bytes(0, src, 8 * MIB, WXPOOL_PROT_X);
	r[1] = wx_bytes(8 * MIB, src, 8 * MIB, WXPOOL_PROT_X);
	r[2] = wx_bytes(16 * MIB, src, 1, WXPOOL_PROT_X);
	EXPECT_REFUSED(-EINVAL, POOL, r, 3);
	EXPECT_EQ(0, wx_install_vec(self->fd, POOL, r, 2));
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	for (i = 0; i < nr; i++)
		r[i] = wx_bytes(i * (each + PG(1)), src, each - LINE + 1,
				WXPOOL_PROT_X);
	EXPECT_EQ(0, wx_install_vec(self->fd, POOL, r, nr));
	free(r);
}

/* Absurd lengths are one error or the other, and never taken. */
TEST_F(packed, absurd_lengths)
{
	const uint64_t lengths[] = {
		1ULL << 40, (1ULL << 40) + 1, 1ULL << 62, 1ULL << 63,
		UINT64_MAX - 62, UINT64_MAX - 63, UINT64_MAX,
	};
	struct wxpool_install_range r[2];
	unsigned int i, second;
	char src[LINE];
	int ret;

	for (i = 0; i < 2 * sizeof(lengths) / sizeof(lengths[0]); i++) {
		second = i % 2;
		r[0] = wx_bytes(0, src, lengths[i / 2], WXPOOL_PROT_X);
		r[1] = wx_bytes(PG(1), src, lengths[i / 2], WXPOOL_PROT_X);
		ret = wx_install_vec(self->fd, POOL, r, 1 + second);
		EXPECT_TRUE(ret == -EINVAL || ret == -EOVERFLOW) {
			TH_LOG("length %#llx: %d", (long long)lengths[i / 2], ret);
		}
		EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
		EXPECT_PACKED(self->fd, 0, 0, 0);
	}
}

TEST_F(packed, end_of_the_space)
{
	char src[2 * LINE], *x;
	struct wxpool_info info;
	struct wxpool_install_range r;
	unsigned int i;
	uint32_t val;

	ASSERT_EQ(0, wx_info(self->fd, &info));
	const struct { uint64_t offset, length; } past[] = {
		{ info.space, 1 },
		{ info.space - LINE, LINE + 1 },
		{ info.space + (1ULL << 50), LINE },
		{ 1ULL << 63, LINE },
		{ 0 - (uint64_t)LINE, LINE },		/* ends at 2^64 */
		{ 0 - (uint64_t)LINE, 2 * LINE },	/* wraps round */
	};

	for (i = 0; i < sizeof(past) / sizeof(past[0]); i++) {
		r = wx_bytes(past[i].offset, src, past[i].length, WXPOOL_PROT_X);
		EXPECT_REFUSED(-EOVERFLOW, POOL, &r, 1);
	}
	/* The very last line is one like any other. */
	ASSERT_EQ(0, wx_install_code(self->fd, POOL, info.space - LINE, 74));
	x = wx_view(self->fd, RX, info.space / wx_page_size - 1, 1);
	ASSERT_NE(MAP_FAILED, x);
	EXPECT_EQ(0, try_exec(x + PG(1) - LINE, &val));
	EXPECT_EQ(74, val);
	EXPECT_EQ(0, wx_free(self->fd, POOL));
}

/* ------------------------------------------------------------ bad sources */

/* Pages that exist before the call, and that it would make */
#define THERE	10
#define NEW_X	20
#define NEW_R	30

struct bad_source {
	const char *name;
	const void *src;
	size_t len;
};

/* A mapping of a file that ends before it begins */
static void *empty_file(void)
{
	int fd = memfd_create("empty", 0);

	return mmap(NULL, PG(1), RW, MAP_SHARED, fd, 0);
}

FIXTURE(source) {
	int fd;
	char *x, *r, *mem;
	char *there;		/* what page THERE shows */
	struct bad_source bad[16];
	unsigned int nr_bad;
};

FIXTURE_SETUP(source)
{
	char *mem, *w;

	self->fd = wx_open();
	if (self->fd == -ENOENT)
		SKIP(return, "no " WX_DEV ": modprobe wxpool first");
	ASSERT_GE(self->fd, 0);
	self->x = wx_view(self->fd, RX, 0, 64);
	self->r = wx_view(self->fd, PROT_READ, 0, 64);
	ASSERT_NE(MAP_FAILED, self->x);
	ASSERT_NE(MAP_FAILED, self->r);
	/* An existing page, and an OPEN one for a W view */
	ASSERT_EQ(0, wx_install_code(self->fd, OTHER, AT(THERE, 0), 75));
	ASSERT_EQ(0, wx_alloc(self->fd, OTHER, 40, 1));
	w = wx_view(self->fd, RW, 40, 2);
	ASSERT_NE(MAP_FAILED, w);
	wx_pattern(w, PG(1), 8);
	self->there = malloc(PG(1));
	memcpy(self->there, self->r + PG(THERE), PG(1));

	/* Four pages, one of no access, one more */
	mem = plain_pages(6);
	ASSERT_NE(MAP_FAILED, mem);
	wx_pattern(mem, PG(6), 9);
	ASSERT_EQ(0, mprotect(mem + PG(4), PG(1), PROT_NONE));
	self->mem = mem;

	const struct bad_source bad[] = {
		{ "null", NULL, 1 },
		{ "no access", mem + PG(4), LINE },
		{ "ends after one byte", mem + PG(4) - 1, 2 },
		{ "ends after one line", mem + PG(4) - LINE, LINE + 1 },
		{ "last byte of many", mem + 1, PG(4) },
		{ "first byte", mem + PG(5) - 1, LINE },
		{ "a hole in the middle", mem + PG(3), PG(3) },
		{ "not mapped", unmapped_page(), 1 },
		{ "beyond the file's end", empty_file(), LINE },
		{ "the kernel's half", (void *)~0xfffUL, LINE },
		{ "round the end", (void *)(UINTPTR_MAX - 9), 100 },
		{ "no address", (void *)(UINTPTR_MAX / 2 + 1), LINE },
		{ "an X view of nothing", self->x, LINE },
		{ "an X view of an open page", self->x + PG(40), LINE },
		{ "a W view of nothing", w + PG(1), LINE },
		{ "a W view's border", w + PG(1) - 10, LINE },
	};
	memcpy(self->bad, bad, sizeof(bad));
	self->nr_bad = sizeof(bad) / sizeof(bad[0]);
}

FIXTURE_TEARDOWN(source)
{
}

/* Three good ranges: into a page that is there, and two that are not */
static void good_source(struct wxpool_install_range *r, const char *mem)
{
	r[0] = wx_bytes(AT(THERE, 8), mem, LINE + 3, WXPOOL_PROT_X);
	r[1] = wx_bytes(AT(NEW_X, 2), mem, PG(2), WXPOOL_PROT_X);
	r[2] = wx_bytes(AT(NEW_R, 0), mem, 1, WXPOOL_PROT_R);
}

/* Nothing of a refused call is there: its lines are traps, its pages absent. */
#define EXPECT_NOTHING_INSTALLED(st) do {				\
	EXPECT_SAME_STAT(self->fd, st);					\
	EXPECT_EQ(0, memcmp(self->there, self->r + PG(THERE), PG(1)));	\
	EXPECT_EQ(SIGTRAP, try_exec(self->x + AT(THERE, 8), NULL));	\
	EXPECT_EQ(0, try_exec(self->x + AT(THERE, 0), NULL));		\
	EXPECT_EQ(SIGBUS, try_read(self->r + PG(NEW_X)));		\
	EXPECT_EQ(SIGBUS, try_exec(self->x + AT(NEW_X, 2), NULL));	\
	EXPECT_EQ(SIGBUS, try_read(self->r + PG(NEW_X + 1)));		\
	EXPECT_EQ(SIGBUS, try_read(self->r + PG(NEW_R)));		\
	EXPECT_EQ(-ENOENT, wx_free(self->fd, POOL));			\
} while (0)

TEST_F(source, refused)
{
	struct wx_stat st = wx_stat(self->fd);
	struct wxpool_install_range r[3];
	unsigned int i, pos, huge;
	int ret;

	for (i = 0; i < 3 * self->nr_bad; i++) {
		const struct bad_source *bad = &self->bad[i / 3];

		pos = i % 3;
		huge = i & 1 ? WXPOOL_INSTALL_BLOCKS : 0;
		good_source(r, self->mem);
		r[pos].source = (uintptr_t)bad->src;
		r[pos].length = bad->len;
		ret = wx_install_flags(self->fd, POOL, r, 3, huge);
		EXPECT_EQ(-EFAULT, ret) {
			TH_LOG("range %u: %s", pos, bad->name);
		}
		EXPECT_NOTHING_INSTALLED(st);
	}
	/* All of it is free still. */
	good_source(r, self->mem);
	EXPECT_EQ(0, wx_install_vec(self->fd, POOL, r, 3));
	EXPECT_EQ(0, memcmp(self->mem, self->r + AT(NEW_X, 2), PG(2)));
	EXPECT_EQ(0, memcmp(self->mem, self->r + AT(THERE, 8), LINE + 3));
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_NOTHING_INSTALLED(st);
}

/* Through views of the context itself, and of the very page to be filled */
TEST_F(source, own_views)
{
	unsigned char code[LINE];
	uint32_t val;
	char *w;

	w = wx_view(self->fd, RW, 40, 1);
	ASSERT_NE(MAP_FAILED, w);
	wx_emit(w, 77);
	EXPECT_EQ(0, wx_install(self->fd, POOL, AT(0, 0), self->x + AT(THERE, 0),
				LINE, WXPOOL_PROT_X));
	EXPECT_EQ(0, wx_install(self->fd, POOL, AT(0, 1), self->r + AT(THERE, 0),
				LINE, WXPOOL_PROT_X));
	EXPECT_EQ(0, wx_install(self->fd, POOL, AT(0, 2), w, LINE, WXPOOL_PROT_X));
	EXPECT_EQ(0, wx_install(self->fd, POOL, AT(0, 3), self->x + AT(0, 2), LINE,
				WXPOOL_PROT_X));
	EXPECT_EQ(0, wx_install(self->fd, POOL, AT(0, 4), self->r, 4 * LINE,
				WXPOOL_PROT_X));
	EXPECT_EQ(0, try_exec(self->x + AT(0, 0), &val));
	EXPECT_EQ(75, val);
	EXPECT_EQ(0, try_exec(self->x + AT(0, 1), &val));
	EXPECT_EQ(75, val);
	EXPECT_EQ(0, try_exec(self->x + AT(0, 7), &val));
	EXPECT_EQ(77, val);
	/* A page of one's own that nobody has touched yet */
	wx_emit(code, 78);
	ASSERT_EQ(0, wx_install(self->fd, POOL, AT(1, 0), code, LINE,
				WXPOOL_PROT_R));
	madvise(self->r, PG(64), MADV_DONTNEED);
	EXPECT_EQ(0, wx_install(self->fd, POOL, AT(2, 0), self->r + PG(1), LINE,
				WXPOOL_PROT_X));
	EXPECT_EQ(0, try_exec(self->x + PG(2), &val));
	EXPECT_EQ(78, val);
	/* Lines that are free can be read, and so copied. */
	EXPECT_EQ(0, wx_install(self->fd, POOL, AT(2, 1), self->x + AT(2, 9), LINE,
				WXPOOL_PROT_X));
	EXPECT_EQ(SIGTRAP, try_exec(self->x + AT(2, 1), NULL));
}

/* ----------------------------------------- sources that take their time */

struct late {
	pthread_t thread;
	int fd, uffd;
	char *src;			/* of which the last page is late */
	size_t nr;			/* its pages */
	struct wxpool_install_range r[3];
	uint32_t flags;
	atomic_int ret;			/* 1 until it is done */
};

static void *late_install(void *arg)
{
	struct late *late = arg;

	late->ret = wx_install_flags(late->fd, POOL, late->r, 3, late->flags);
	return NULL;
}

/*
 * Begins an INSTALL that waits in its second range, of @nr pages, for the last of
 * them, which userfaultfd has to bring. 0 once it waits.
 */
static int late_begin(struct late *late, int fd, size_t nr)
{
	char *last;

	late->fd = fd;
	late->ret = 1;
	late->nr = nr;
	late->uffd = uffd_open(0, 0);
	if (late->uffd < 0)
		return late->uffd;
	late->src = plain_pages(nr);
	last = late->src + PG(nr - 1);
	wx_pattern(late->src, PG(nr - 1), 9);
	if (uffd_register(late->uffd, last, 1, UFFDIO_REGISTER_MODE_MISSING))
		return -EINVAL;
	late->r[1].source = (uintptr_t)late->src;
	late->r[1].length = PG(nr);
	if (pthread_create(&late->thread, NULL, late_install, late))
		return -errno;
	return uffd_wait(late->uffd) == last ? 0 : -EIO;
}

/* Has the page come: 0 or a negative errno */
static int late_bring(struct late *late, const char *page)
{
	int ret = uffd_copy(late->uffd, late->src + PG(late->nr - 1), page);

	if (!ret)
		pthread_join(late->thread, NULL);
	return ret;
}

static int late_start(struct late *late, int fd, const char *mem)
{
	good_source(late->r, mem);
	late->flags = 0;
	return late_begin(late, fd, 2);
}

#define LATE_OR_SKIP(late) do {						\
	int _ret = late_start(late, self->fd, self->mem);		\
									\
	if ((late)->uffd < 0)						\
		SKIP(return, "userfaultfd: %s", strerror(-_ret));	\
	ASSERT_EQ(0, _ret);						\
} while (0)

/* Each operation and a fault in each kind of view; none may wait for it. */
static int use_context(int fd, const char *x, size_t page)
{
	unsigned char code[LINE];
	struct wxpool_info info;
	uint32_t val;
	char *w, *v;
	pid_t pid;

	if (wx_info(fd, &info) || wx_alloc(fd, 9, page, 2))
		return -1;
	w = wx_view(fd, RW, page, 2);
	if (w == MAP_FAILED || try_write(w, 1))
		return -2;
	wx_emit(w, 80);
	if (wx_protect(fd, 9, page, 2, WXPOOL_PROT_X))
		return -3;
	v = wx_view(fd, RX, page, 2);
	if (v == MAP_FAILED || try_exec(v, &val) || val != 80)
		return -4;
	if (wx_install(fd, 9, AT(page + 2, 0), code, wx_emit(code, 81),
		       WXPOOL_PROT_X) ||
	    wx_install(fd, 9, AT(THERE, 60), code, LINE, WXPOOL_PROT_X))
		return -5;
	if (try_exec(x + PG(page + 2), &val) || val != 81)
		return -6;
	pid = fork();
	if (!pid)
		_exit(try_exec(x + AT(THERE, 60), &val) || val != 81);
	if (pid < 0 || wx_wait(pid) || wx_free(fd, 9))
		return -7;
	munmap(w, PG(2));
	munmap(v, PG(2));
	return wx_stat(fd).open;
}

/* No user memory is touched under a lock that others need. */
TEST_F(source, late)
{
	struct wx_stat st = wx_stat(self->fd);
	struct late late;
	int i;

	LATE_OR_SKIP(&late);
	for (i = 0; i < 3; i++)
		EXPECT_EQ(1, use_context(self->fd, self->x, 50));
	EXPECT_EQ(1, atomic_load(&late.ret));
	/* So far nothing can be run or read of what it has copied already. */
	EXPECT_NE(0, try_exec(self->x + AT(THERE, 8), NULL));
	EXPECT_TRUE(wx_is_fill(self->r + AT(THERE, 8), 2 * LINE, WXPOOL_PROT_X));
	EXPECT_NE(0, try_exec(self->x + AT(NEW_X, 2), NULL));

	ASSERT_EQ(0, late_bring(&late, self->mem + PG(1)));
	EXPECT_EQ(0, atomic_load(&late.ret));
	EXPECT_EQ(0, memcmp(self->mem, self->r + AT(NEW_X, 2), PG(2)));
	EXPECT_EQ(0, memcmp(self->mem, self->r + AT(THERE, 8), LINE + 3));
	EXPECT_EQ(self->mem[0], self->r[PG(NEW_R)]);
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_NOTHING_INSTALLED(st);
}

/*
 * The same with more than is staged at a time, into pages that are there and pages
 * that are not, in blocks or not: nothing of it is seen before all of it is there.
 */
TEST_F(source, late_and_large)
{
	const size_t nr = 400, at = 1324;	/* pages of two blocks */
	struct late late;
	char *x = wx_view(self->fd, RX, at, 2 * nr);
	struct wx_stat st;
	size_t i;
	int huge;

	ASSERT_NE(MAP_FAILED, x);
	/* The last of them is there, with a line that is somebody else's. */
	ASSERT_EQ(0, wx_install_code(self->fd, OTHER, AT(at + nr, 63), 76));
	st = wx_stat(self->fd);
	for (huge = 0; huge < 2; huge++) {
		good_source(late.r, self->mem);
		late.r[1].offset = AT(at, 3);
		late.flags = huge ? WXPOOL_INSTALL_BLOCKS : 0;
		i = late_begin(&late, self->fd, nr);
		if (late.uffd < 0)
			SKIP(return, "userfaultfd: %s", strerror(-(int)i));
		ASSERT_EQ(0, i);
		EXPECT_EQ(1, atomic_load(&late.ret));
		EXPECT_TRUE(wx_is_fill(self->r + AT(THERE, 8), 2 * LINE, WXPOOL_PROT_X));
		for (i = 0; i < nr; i++)
			EXPECT_NE(0, try_exec(x + AT(i, 3), NULL));
		EXPECT_TRUE(wx_is_fill(x + PG(nr), PG(1) - LINE, WXPOOL_PROT_X));
		EXPECT_CODE(x + AT(nr, 63), 76);
		EXPECT_EQ(1, atomic_load(&late.ret));
		ASSERT_EQ(0, late_bring(&late, self->mem + PG(1)));
		EXPECT_EQ(0, atomic_load(&late.ret));
		EXPECT_EQ(0, memcmp(late.src, x + AT(0, 3), PG(nr)));
		EXPECT_EQ(0, wx_free(self->fd, POOL));
		EXPECT_EQ(st.lines, wx_stat(self->fd).lines);
		EXPECT_TRUE(wx_is_fill(x + PG(nr), PG(1) - LINE, WXPOOL_PROT_X));
	}
}

/* The page does not come, but goes. */
TEST_F(source, late_and_gone)
{
	struct wx_stat st = wx_stat(self->fd);
	struct wxpool_install_range r[3];
	struct late late;

	LATE_OR_SKIP(&late);
	ASSERT_EQ(0, munmap(late.src + PG(1), PG(1)));
	close(late.uffd);
	pthread_join(late.thread, NULL);
	EXPECT_EQ(-EFAULT, atomic_load(&late.ret));
	EXPECT_NOTHING_INSTALLED(st);
	good_source(r, self->mem);
	EXPECT_EQ(0, wx_install_vec(self->fd, POOL, r, 3));
}

/* Of two that want the same line one gets it, and with it all or nothing. */
TEST_F(source, late_and_taken)
{
	struct late late;
	uint32_t val;
	int ret;

	LATE_OR_SKIP(&late);
	ret = wx_install_code(self->fd, OTHER, AT(NEW_X + 1, 5), 82);
	EXPECT_TRUE(!ret || ret == -EEXIST);
	ASSERT_EQ(0, late_bring(&late, self->mem + PG(1)));
	EXPECT_EQ(ret ? 0 : -EEXIST, atomic_load(&late.ret));
	if (!ret) {
		EXPECT_EQ(0, try_exec(self->x + AT(NEW_X + 1, 5), &val));
		EXPECT_EQ(82, val);
		EXPECT_EQ(SIGBUS, try_read(self->r + PG(NEW_X)));
		EXPECT_EQ(SIGBUS, try_read(self->r + PG(NEW_R)));
		EXPECT_EQ(0, memcmp(self->there, self->r + PG(THERE), PG(1)));
		EXPECT_EQ(-ENOENT, wx_free(self->fd, POOL));
	} else {
		EXPECT_EQ(0, memcmp(self->mem, self->r + AT(NEW_X, 2), PG(2)));
	}
}

/* FREE of the pool while an INSTALL for it is on its way: it begins anew. */
TEST_F(source, late_and_freed)
{
	struct late late;
	char src[LINE] = "x";

	ASSERT_EQ(0, wx_install(self->fd, POOL, AT(60, 0), src, 1, WXPOOL_PROT_R));
	LATE_OR_SKIP(&late);
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	/* ... and the page that it goes to, with the last other line in it */
	EXPECT_EQ(0, wx_free(self->fd, OTHER));
	EXPECT_EQ(SIGBUS, try_read(self->r + PG(60)));
	ASSERT_EQ(0, late_bring(&late, self->mem + PG(1)));
	EXPECT_EQ(0, atomic_load(&late.ret));
	EXPECT_EQ(0, memcmp(self->mem, self->r + AT(NEW_X, 2), PG(2)));
	EXPECT_EQ(0, memcmp(self->mem, self->r + AT(THERE, 8), LINE + 3));
	EXPECT_TRUE(wx_is_fill(self->r + PG(THERE), 8 * LINE, WXPOOL_PROT_X));
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_PACKED(self->fd, 0, 0, 0);
}

/* ALLOC of pages that an INSTALL on its way is about to make */
TEST_F(source, late_and_allocated)
{
	struct late late;
	int ret;

	LATE_OR_SKIP(&late);
	ret = wx_alloc(self->fd, OTHER, NEW_X + 1, 1);
	EXPECT_TRUE(!ret || ret == -EEXIST);
	ASSERT_EQ(0, late_bring(&late, self->mem + PG(1)));
	EXPECT_EQ(ret ? 0 : -EEXIST, atomic_load(&late.ret));
	if (!ret) {
		EXPECT_EQ(SIGBUS, try_read(self->x + PG(NEW_X)));
		EXPECT_EQ(SIGBUS, try_read(self->x + PG(NEW_X + 1)));
		EXPECT_EQ(SIGBUS, try_read(self->r + PG(NEW_R)));
		EXPECT_EQ(-ENOENT, wx_free(self->fd, POOL));
	}
}

/* A process that is killed while it waits ends, and leaves nothing behind. */
TEST_F(source, late_and_killed)
{
	long refs = wx_read_long("/sys/module/wxpool/refcnt");
	int ready[2], fd;
	struct late late;
	pid_t pid;

	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		fd = wx_open();
		CHILD_CHECK(fd >= 0);
		if (late_start(&late, fd, self->mem) && late.uffd < 0)
			_exit(4);
		wx_step(ready[1]);
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
	EXPECT_EQ(refs, wx_read_long("/sys/module/wxpool/refcnt"));
}

/* -------------------------------------------------- nobody else can write */

/* Stores a byte at @p in a child that has the mapping, by ptrace: 0 or -errno */
static int poke(void *p)
{
	pid_t pid = fork();
	int ret = 0;

	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	if (ptrace(PTRACE_POKETEXT, pid, p, (void *)~0UL))
		ret = -errno;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return ret;
}

static int count_writes(char *p)
{
	int mem = open("/proc/self/mem", O_RDWR);
	int zero = open("/dev/zero", O_RDONLY);
	char byte = 1;
	struct iovec local = { &byte, 1 }, remote = { p, 1 };
	int n = 0;

	n += pwrite(mem, &byte, 1, (off_t)(uintptr_t)p) == 1;
	n += process_vm_writev(getpid(), &local, 1, &remote, 1, 0) == 1;
	n += read(zero, p, 1) == 1;
	n += !poke(p);
	n += !madvise(p, PG(1), MADV_POPULATE_WRITE);
	n += !try_write(p, 1);
	close(mem);
	close(zero);
	return n;
}

TEST_F(packed, nobody_else_writes)
{
	char src[3 * LINE], *plain = plain_pages(1), *w;
	struct wx_stat st;
	uint32_t prot;

	/* That each way works on plain memory shows that it was tried. */
	EXPECT_EQ(6, count_writes(plain));
	wx_pattern(src, sizeof(src), 10);
	ASSERT_EQ(0, wx_install(self->fd, POOL, AT(0, 0), src, sizeof(src),
				WXPOOL_PROT_R));
	ASSERT_EQ(0, wx_install(self->fd, POOL, AT(1, 0), src, sizeof(src),
				WXPOOL_PROT_X));
	st = wx_stat(self->fd);
	for (prot = WXPOOL_PROT_R; prot <= WXPOOL_PROT_X; prot++) {
		char *r = self->r + PG(prot - 1), *x = self->x + PG(prot - 1);

		w = wx_view(self->fd, RW, prot - 1, 1);
		ASSERT_NE(MAP_FAILED, w);
		EXPECT_EQ(SIGBUS, try_read(w));
		EXPECT_EQ(SIGBUS, try_write(w, 1));
		EXPECT_EQ(SIGBUS, try_write(w + PG(1) - 1, 1));
		EXPECT_EQ(0, count_writes(w));
		EXPECT_EQ(0, count_writes(x));
		EXPECT_EQ(0, count_writes(r));
		EXPECT_EQ(0, count_writes(x + LINE * 5));
		EXPECT_EQ(-EACCES, wx_mprotect(x, 1, RW));
		EXPECT_EQ(-EACCES, wx_mprotect(x, 1, RWX));
		EXPECT_EQ(-EACCES, wx_mprotect(r, 1, RW));
		EXPECT_EQ(-EACCES, wx_mprotect(r, 1, RX));
		EXPECT_EQ(-EACCES, wx_mprotect(w, 1, RX));
		EXPECT_EQ(0, wx_mprotect(w, 1, PROT_READ));
		EXPECT_EQ(SIGBUS, try_read(w));
		EXPECT_EQ(0, memcmp(src, r, sizeof(src)));
		EXPECT_TRUE(wx_is_fill(r + sizeof(src), PG(1) - sizeof(src), prot));
	}
	EXPECT_SAME_STAT(self->fd, st);
}

/* Who reads a page through a pipe holds the page, not what comes after it. */
TEST_F(packed, pipes_hold_pages)
{
	struct iovec iov = { self->x, PG(1) };
	char *buf = malloc(PG(1));
	int p[2];

	ASSERT_EQ(0, pipe(p));
	ASSERT_EQ(0, wx_install_code(self->fd, POOL, 0, 90));
	ASSERT_EQ((ssize_t)PG(1), vmsplice(p[1], &iov, 1, 0));
	/* Lines can still be installed: there is nobody who could write. */
	EXPECT_EQ(0, wx_install_code(self->fd, POOL, LINE, 91));
	EXPECT_EQ(0, try_exec(self->x + LINE, NULL));
	ASSERT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_EQ(SIGBUS, try_read(self->x));
	ASSERT_EQ(0, wx_install(self->fd, POOL, 0, "secret", 6, WXPOOL_PROT_R));
	ASSERT_EQ((ssize_t)PG(1), read(p[0], buf, PG(1)));
	EXPECT_NE(0, memcmp(buf, "secret", 6));
	free(buf);
}

/* Views in the ways that they come: moved, copied, split, of one page */
TEST_F(packed, views_of_all_sorts)
{
	uint32_t val;
	char *dup, *to, *one;

	dup = mremap(self->x, 0, PG(4), MREMAP_MAYMOVE);
	to = mremap(self->x + PG(8), PG(4), PG(4), MREMAP_MAYMOVE | MREMAP_FIXED,
		    self->x + PG(300));
	one = wx_view(self->fd, RX, 2, 1);
	ASSERT_NE(MAP_FAILED, dup);
	ASSERT_NE(MAP_FAILED, to);
	ASSERT_NE(MAP_FAILED, one);
	ASSERT_EQ(0, wx_mprotect(self->x + PG(1), 1, PROT_NONE));
	ASSERT_EQ(0, wx_install_code(self->fd, POOL, AT(1, 0), 92));
	ASSERT_EQ(0, wx_install_code(self->fd, POOL, AT(2, 1), 93));
	ASSERT_EQ(0, wx_install_code(self->fd, POOL, AT(9, 2), 94));
	EXPECT_EQ(SIGSEGV, try_read(self->x + PG(1)));
	ASSERT_EQ(0, wx_mprotect(self->x + PG(1), 1, RX));
	EXPECT_EQ(0, try_exec(self->x + PG(1), &val));
	EXPECT_EQ(92, val);
	EXPECT_EQ(0, try_exec(dup + PG(1), &val));
	EXPECT_EQ(92, val);
	EXPECT_EQ(0, try_exec(one + LINE, &val));
	EXPECT_EQ(93, val);
	EXPECT_EQ(0, try_exec(to + AT(1, 2), &val));
	EXPECT_EQ(94, val);
}

struct watcher {
	const volatile char *at;
	char fill;
	atomic_bool stop;
	bool seen;
};

static void *watch(void *arg)
{
	struct watcher *w = arg;

	while (!atomic_load(&w->stop))
		if (*w->at != w->fill)
			w->seen = true;
	return NULL;
}

/* While one thread's calls fail, another looks at what they would have brought. */
TEST_F(packed, failed_call_is_never_seen)
{
	struct watcher w = { .at = self->x + LINE };
	struct wxpool_install_range ranges[2];
	char code[LINE];
	pthread_t thread;
	unsigned int i;

	/* The page is there, and its fourth line is taken. */
	ASSERT_EQ(0, wx_install_code(self->fd, POOL, 0, 1));
	ASSERT_EQ(0, wx_install_code(self->fd, POOL, 3 * LINE, 2));
	w.fill = *w.at;
	wx_pattern(code, sizeof(code), 1);
	ASSERT_NE(w.fill, code[0]);
	ASSERT_EQ(0, pthread_create(&thread, NULL, watch, &w));
	ranges[0] = wx_bytes(LINE, code, sizeof(code), WXPOOL_PROT_X);
	ranges[1] = wx_bytes(3 * LINE, code, sizeof(code), WXPOOL_PROT_X);
	for (i = 0; i < wx_rounds(20000); i++)
		ASSERT_EQ(-EEXIST, wx_install_vec(self->fd, POOL, ranges, 2));
	atomic_store(&w.stop, true);
	pthread_join(thread, NULL);
	EXPECT_FALSE(w.seen);
	EXPECT_EQ(w.fill, *w.at);
}

TEST_HARNESS_MAIN
