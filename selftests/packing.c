// SPDX-License-Identifier: GPL-2.0
/*
 * Packed pages that several pools share: FREE of one makes its lines traps or
 * zeros again and touches no other; a page without a live line goes back.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "wxpool_fork.h"

#define POOL	1
#define OTHER	2

/* ---------------------------------------------------------- single steps */

TEST_F(packed, free_leaves_traps)
{
	struct wxpool_free arg;
	uint32_t val;
	size_t i;

	for (i = 0; i < PAGE_LINES; i++)
		ASSERT_EQ(0, wx_install_code(self->fd, 1 + i % 2, AT(0, i), 100 + i));
	ASSERT_EQ(0, wx_free_out(self->fd, 1, &arg));
	EXPECT_EQ(0, arg.pages_freed);
	EXPECT_EQ(0, arg.pages_kept);
	EXPECT_STAT(self->fd, 1, 0, 0, 1, 0);
	EXPECT_PACKED(self->fd, 1, (long)PAGE_LINES / 2, 0);
	for (i = 0; i < PAGE_LINES; i++) {
		if (i % 2 == 0) {
			ASSERT_TRUE(wx_is_fill(self->r + i * LINE, LINE,
					       WXPOOL_PROT_X));
			ASSERT_EQ(SIGTRAP, try_exec(self->x + i * LINE, NULL));
			continue;
		}
		ASSERT_EQ(0, try_exec(self->x + i * LINE, &val));
		ASSERT_EQ(100 + i, val);
	}
	/* The lines can be used again, and only they. */
	EXPECT_EQ(-EEXIST, wx_install_code(self->fd, 1, AT(0, 1), 9));
	EXPECT_EQ(0, wx_install_code(self->fd, 3, AT(0, 0), 9));
	EXPECT_EQ(0, try_exec(self->x, &val));
	EXPECT_EQ(9, val);
}

/* The same of what can only be run, so that only running it tells */
TEST_F(packed, free_leaves_traps_to_run)
{
	char *xo = wx_view(self->fd, XO, 0, 1);
	unsigned char code[LINE];
	size_t i;

	ASSERT_NE(MAP_FAILED, xo);
	for (i = 0; i < PAGE_LINES; i++)
		ASSERT_EQ(0, wx_install(self->fd, 1 + i % 2, AT(0, i), code,
					wx_emit(code, 100 + i), WXPOOL_PROT_XO));
	ASSERT_EQ(0, wx_free(self->fd, 1));
	for (i = 0; i < PAGE_LINES; i += 2) {
		ASSERT_EQ(SIGTRAP, try_exec(xo + i * LINE, NULL));
		EXPECT_CODE(xo + (i + 1) * LINE, 101 + i);
	}
	EXPECT_STAT_XO(self->fd, 1, 0, 0, 0, 1, 0);
	EXPECT_EQ(0, wx_install(self->fd, 3, AT(0, 0), code, wx_emit(code, 9),
				WXPOOL_PROT_XO));
	EXPECT_CODE(xo, 9);
}

TEST_F(packed, free_leaves_zeros)
{
	char src[3 * LINE];

	wx_pattern(src, sizeof(src), 1);
	ASSERT_EQ(0, wx_install(self->fd, POOL, AT(0, 1), src, sizeof(src),
				WXPOOL_PROT_R));
	ASSERT_EQ(0, wx_install(self->fd, OTHER, AT(0, 0), src, 1, WXPOOL_PROT_R));
	ASSERT_EQ(0, wx_install(self->fd, OTHER, AT(0, 4), src, LINE, WXPOOL_PROT_R));
	ASSERT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_STAT(self->fd, 1, 0, 1, 0, 0);
	EXPECT_PACKED(self->fd, 1, 2, 0);
	EXPECT_EQ(src[0], self->r[0]);
	EXPECT_TRUE(wx_is_fill(self->r + 1, 4 * LINE - 1, WXPOOL_PROT_R));
	EXPECT_EQ(0, memcmp(src, self->r + 4 * LINE, LINE));
}

/* What comes to a line after FREE has nothing of what was there before it. */
TEST_F(packed, reused_lines_are_fresh)
{
	char src[2 * LINE];
	uint32_t prot;

	wx_pattern(src, sizeof(src), 2);
	for (prot = WXPOOL_PROT_R; prot <= WXPOOL_PROT_X; prot++) {
		char *r = self->r + PG(prot);

		ASSERT_EQ(0, wx_install(self->fd, OTHER, AT(prot, 0), src, LINE, prot));
		ASSERT_EQ(0, wx_install(self->fd, POOL, AT(prot, 1), src, 2 * LINE,
					prot));
		ASSERT_EQ(0, wx_free(self->fd, POOL));
		ASSERT_EQ(0, wx_install(self->fd, 3, AT(prot, 1), "ab", 2, prot));
		EXPECT_EQ(0, memcmp("ab", r + LINE, 2));
		EXPECT_TRUE(wx_is_fill(r + LINE + 2, PG(1) - LINE - 2, prot));
		EXPECT_EQ(0, memcmp(src, r, LINE));
	}
}

/* With its last line a page is absent, and what comes there is a new one. */
TEST_F(packed, last_line_gives_the_page_back)
{
	struct wxpool_free arg;
	char src[LINE];
	uint32_t prot;

	wx_pattern(src, sizeof(src), 3);
	for (prot = WXPOOL_PROT_R; prot <= WXPOOL_PROT_X; prot++) {
		char *r = self->r + PG(prot);

		ASSERT_EQ(0, wx_install(self->fd, POOL, AT(prot, 3), src, LINE, prot));
		ASSERT_EQ(0, wx_install(self->fd, OTHER, AT(prot, 9), src, LINE, prot));
		EXPECT_EQ(0, try_read(r));
		EXPECT_EQ(0, wx_free_out(self->fd, POOL, &arg));
		EXPECT_EQ(0, arg.pages_freed);
		EXPECT_EQ(0, wx_free_out(self->fd, OTHER, &arg));
		EXPECT_EQ(1, arg.pages_freed);
		EXPECT_EQ(0, arg.pages_kept);
		EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
		EXPECT_PACKED(self->fd, 0, 0, 0);
		EXPECT_EQ(SIGBUS, try_read(r));
		EXPECT_EQ(SIGBUS, try_exec(self->x + AT(prot, 3), NULL));
		/* Of the other kind this time */
		ASSERT_EQ(0, wx_install(self->fd, POOL, AT(prot, 5), src, 1, 3 - prot));
		EXPECT_TRUE(wx_is_fill(r, 5 * LINE, 3 - prot));
		EXPECT_TRUE(wx_is_fill(r + 5 * LINE + 1, PG(1) - 5 * LINE - 1,
				       3 - prot));
		ASSERT_EQ(0, wx_free(self->fd, POOL));
		/* Or as a region */
		ASSERT_EQ(0, wx_alloc(self->fd, POOL, prot, 1));
		ASSERT_EQ(0, wx_protect(self->fd, POOL, prot, 1, WXPOOL_PROT_R));
		EXPECT_TRUE(wx_is_fill(r, PG(1), WXPOOL_PROT_R));
		ASSERT_EQ(0, wx_free(self->fd, POOL));
	}
}

TEST_F(packed, free_of_nothing)
{
	struct wx_stat st;

	ASSERT_EQ(0, wx_install_code(self->fd, POOL, AT(0, 0), 1));
	st = wx_stat(self->fd);
	EXPECT_EQ(-ENOENT, wx_free(self->fd, OTHER));
	EXPECT_EQ(-EINVAL, wx_free(self->fd, 0));
	EXPECT_SAME_STAT(self->fd, st);
	EXPECT_EQ(0, try_exec(self->x, NULL));
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_EQ(-ENOENT, wx_free(self->fd, POOL));
}

/* A pool may have all there is: regions in each state, and lines of each kind. */
TEST_F(packed, regions_and_lines)
{
	struct wxpool_free arg;
	char src[LINE];
	char *w;

	wx_pattern(src, sizeof(src), 4);
	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 3));
	ASSERT_EQ(0, wx_protect(self->fd, POOL, 1, 1, WXPOOL_PROT_R));
	ASSERT_EQ(0, wx_protect(self->fd, POOL, 2, 1, WXPOOL_PROT_X));
	ASSERT_EQ(0, wx_install(self->fd, POOL, AT(3, 0), src, LINE, WXPOOL_PROT_R));
	ASSERT_EQ(0, wx_install(self->fd, POOL, AT(4, 0), src, LINE, WXPOOL_PROT_X));
	ASSERT_EQ(0, wx_install(self->fd, POOL, AT(5, 0), src, LINE, WXPOOL_PROT_X));
	ASSERT_EQ(0, wx_install_code(self->fd, OTHER, AT(5, 1), 55));
	w = wx_view(self->fd, RW, 0, 6);
	ASSERT_NE(MAP_FAILED, w);
	EXPECT_EQ(0, try_write(w, 1));
	EXPECT_STAT(self->fd, 2, 1, 2, 3, 0);
	EXPECT_PACKED(self->fd, 3, 4, 0);

	ASSERT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(5, arg.pages_freed);
	EXPECT_STAT(self->fd, 1, 0, 0, 1, 0);
	EXPECT_PACKED(self->fd, 1, 1, 0);
	EXPECT_EQ(SIGBUS, try_write(w, 1));
	EXPECT_EQ(SIGBUS, try_read(self->r + PG(1)));
	EXPECT_EQ(SIGBUS, try_read(self->r + PG(2)));
	EXPECT_EQ(SIGBUS, try_read(self->r + PG(3)));
	EXPECT_EQ(SIGBUS, try_read(self->r + PG(4)));
	EXPECT_TRUE(wx_is_fill(self->r + PG(5), LINE, WXPOOL_PROT_X));
	EXPECT_EQ(0, try_exec(self->x + AT(5, 1), NULL));
	/* All of it is there for the next one. */
	EXPECT_EQ(0, wx_alloc(self->fd, POOL, 0, 5));
	EXPECT_EQ(0, wx_install(self->fd, POOL, AT(5, 0), src, LINE, WXPOOL_PROT_X));
}

/* Several pools at once: what they shared is free, what others have is not. */
TEST_F(packed, pools_in_a_vector)
{
	const uint32_t pools[] = { 5, 1, 3 };
	struct wxpool_free arg;
	struct wx_stat st;
	size_t i;

	for (i = 0; i < 3 * PAGE_LINES; i++)
		ASSERT_EQ(0, wx_install_code(self->fd, 1 + i % 3 + i / PAGE_LINES * 2,
					     AT(i / PAGE_LINES, i % PAGE_LINES), i));
	st = wx_stat(self->fd);
	/* Page 0 is of 1, 2, 3; page 1 of 3, 4, 5; page 2 of 5, 6, 7. */
	EXPECT_EQ(7, st.pools);
	ASSERT_EQ(0, wx_free_vec(self->fd, pools, 3, 0, &arg));
	EXPECT_EQ(0, arg.pages_freed);
	EXPECT_STAT(self->fd, 4, 0, 0, 3, 0);
	for (i = 0; i < 3 * PAGE_LINES; i++) {
		uint32_t pool = 1 + i % 3 + i / PAGE_LINES * 2;
		char *x = self->x + AT(i / PAGE_LINES, i % PAGE_LINES);

		EXPECT_TRUE(pool % 2 && pool < 7 ? try_exec(x, NULL) == SIGTRAP :
						   runs(x, i));
	}
	/* One that is gone by now, or comes twice: none of them is freed. */
	st = wx_stat(self->fd);
	EXPECT_EQ(-ENOENT, wx_free_many(self->fd, (uint32_t[]){ 2, 4, 5 }, 3));
	EXPECT_EQ(-ENOENT, wx_free_many(self->fd, (uint32_t[]){ 2, 4, 2 }, 3));
	EXPECT_EQ(-EINVAL, wx_free_many(self->fd, (uint32_t[]){ 2, 4, 0 }, 3));
	EXPECT_SAME_STAT(self->fd, st);
	ASSERT_EQ(0, wx_free_vec(self->fd, (uint32_t[]){ 4, 2 }, 2, 0, &arg));
	EXPECT_EQ(2, arg.pages_freed);
	ASSERT_EQ(0, wx_free_vec(self->fd, NULL, 0, WXPOOL_FREE_ALL, &arg));
	EXPECT_EQ(1, arg.pages_freed);
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
}

/* Each line in all of the pages is one of many pools: they end in any order. */
TEST_F(packed, many_pools)
{
	const size_t pages = 32, nr = pages * PAGE_LINES;
	struct wxpool_free arg;
	size_t i, freed = 0;
	uint32_t val;

	for (i = 0; i < nr; i++)
		ASSERT_EQ(0, wx_install_code(self->fd, 1 + i, i * 171 % nr * LINE,
					     7000 + i));
	EXPECT_STAT(self->fd, (long)nr, 0, 0, (long)pages, 0);
	EXPECT_PACKED(self->fd, (long)pages, (long)nr, 0);
	for (i = 0; i < nr; i++) {
		size_t id = i * 389 % nr;
		char *x = self->x + id * 171 % nr * LINE;

		ASSERT_EQ(0, try_exec(x, &val));
		ASSERT_EQ(7000 + id, val);
		ASSERT_EQ(0, wx_free_out(self->fd, 1 + id, &arg));
		freed += arg.pages_freed;
		ASSERT_EQ(arg.pages_freed ? SIGBUS : SIGTRAP, try_exec(x, NULL));
	}
	EXPECT_EQ(pages, freed);
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_PACKED(self->fd, 0, 0, 0);
}

/* Calls that go on where the one before them ended, in lines and in pages */
TEST_F(packed, one_after_another)
{
	const size_t lens[] = { 3, 1, 60, 64, 130, 5 };
	struct wxpool_free arg;
	char *src = calloc(5, PG(1));
	size_t i, line = 0;

	ASSERT_NE(NULL, src);
	for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		ASSERT_EQ(0, wx_install(self->fd, POOL, line * LINE, src,
					lens[i] * LINE - 1, WXPOOL_PROT_X));
		line += lens[i];
	}
	EXPECT_PACKED(self->fd, 5, (long)line, 0);
	ASSERT_EQ(0, wx_install_code(self->fd, OTHER, line * LINE, 1));
	ASSERT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(4, arg.pages_freed);
	EXPECT_PACKED(self->fd, 1, 1, 0);
	EXPECT_TRUE(wx_is_fill(self->x + PG(4), line * LINE - PG(4), WXPOOL_PROT_X));
	ASSERT_EQ(0, wx_install(self->fd, POOL, 0, src, line * LINE, WXPOOL_PROT_X));
	free(src);
}

/* A context that is closed gives back everything, shared or not. */
TEST_F(packed, close_gives_back)
{
	long refs = wx_read_long("/sys/module/wxpool/refcnt");
	uint64_t charged = wx_stat(self->fd).user_charged;
	size_t i;
	int fd;

	fd = wx_open();
	ASSERT_GE(fd, 0);
	for (i = 0; i < 3 * PAGE_LINES; i++)
		ASSERT_EQ(0, wx_install_code(fd, 1 + i % 7, i * LINE, i));
	EXPECT_LT(charged, wx_stat(self->fd).user_charged);
	close(fd);
	EXPECT_EQ(refs, wx_read_long("/sys/module/wxpool/refcnt"));
	EXPECT_EQ(charged, wx_stat(self->fd).user_charged);
}

/* ------------------------------------------------------------- by a model */

#define M_PAGES	64
#define M_POOLS	32

/* What the context must be: for each page its kind, for each line its pool */
struct model {
	uint8_t kind[M_PAGES];		/* 0: absent, or a WXPOOL_PROT_ */
	uint8_t live[M_PAGES];
	uint8_t owner[M_PAGES * 64];	/* 0: free */
	unsigned char *bytes;		/* of all pages */
};

static uint32_t rnd_state = 1;

static uint32_t rnd(uint32_t n)
{
	rnd_state = rnd_state * 1664525 + 1013904223;
	return (rnd_state >> 8) % n;
}

static void model_fill(struct model *m, size_t offset, size_t len, uint32_t prot)
{
	size_t i;

	for (i = offset; i < offset + len; i++)
		m->bytes[i] = wx_fill_byte(i, prot);
}

/* 0, or -EEXIST and a model that is none any more */
static int model_install(struct model *m, uint32_t pool,
			 const struct wxpool_install_range *r, unsigned int nr)
{
	size_t at = 0, i, page;
	uint32_t prot = 0;
	unsigned int j;

	for (j = 0; j < nr; j++) {
		bool more = r[j].flags & WXPOOL_RANGE_CONT;

		if (!more) {
			at = r[j].offset;
			prot = r[j].prot;
		}
		/* Where it goes on in a line, that is taken already. */
		i = (at + (more ? LINE - 1 : 0)) / LINE;
		for (; i <= (at + r[j].length - 1) / LINE; i++) {
			page = i / PAGE_LINES;
			if (m->owner[i] || (m->kind[page] && m->kind[page] != prot))
				return -EEXIST;
			if (!m->kind[page]) {
				m->kind[page] = prot;
				model_fill(m, PG(page), PG(1), prot);
			}
			m->owner[i] = pool;
			m->live[page]++;
		}
		memcpy(m->bytes + at, (void *)(uintptr_t)r[j].source, r[j].length);
		at += r[j].length;
	}
	return 0;
}

/* The pages that go back, or -ENOENT */
static int model_free(struct model *m, uint32_t pool)
{
	int lines = 0, pages = 0;
	size_t i, page;

	for (i = 0; i < M_PAGES * PAGE_LINES; i++) {
		if (m->owner[i] != pool)
			continue;
		page = i / PAGE_LINES;
		m->owner[i] = 0;
		model_fill(m, i * LINE, LINE, m->kind[page]);
		lines++;
		if (!--m->live[page]) {
			m->kind[page] = 0;
			pages++;
		}
	}
	return lines ? pages : -ENOENT;
}

/* The same for several, of which each must be there; or a model that is none */
static int model_free_many(struct model *m, const uint32_t *pools, unsigned int nr)
{
	int pages = 0, ret;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		ret = model_free(m, pools[i]);
		if (ret < 0)
			return ret;
		pages += ret;
	}
	return pages;
}

static int model_free_all(struct model *m)
{
	int pages = 0, ret;
	uint32_t pool;

	for (pool = 1; pool <= M_POOLS; pool++) {
		ret = model_free(m, pool);
		pages += ret > 0 ? ret : 0;
	}
	return pages;
}

static bool model_page_ok(const struct model *m, size_t page, const char *x,
			  const char *r)
{
	if (!m->kind[page])
		return try_read(r + PG(page)) == SIGBUS &&
		       try_read(x + PG(page)) == SIGBUS;
	if (memcmp(m->bytes + PG(page), r + PG(page), PG(1)))
		return false;
	if (m->kind[page] == WXPOOL_PROT_R)
		return try_read(x + PG(page)) == SIGBUS;
	return !memcmp(m->bytes + PG(page), x + PG(page), PG(1));
}

static struct wx_stat model_stat(const struct model *m)
{
	struct wx_stat st = { 0 };
	bool pools[M_POOLS + 1] = { 0 };
	size_t i;

	for (i = 0; i < M_PAGES; i++) {
		st.read += m->kind[i] == WXPOOL_PROT_R;
		st.exec += m->kind[i] == WXPOOL_PROT_X;
		st.packed += !!m->kind[i];
		st.lines += m->live[i];
	}
	for (i = 0; i < M_PAGES * PAGE_LINES; i++)
		pools[m->owner[i]] = true;
	for (i = 1; i <= M_POOLS; i++)
		st.pools += pools[i];
	return st;
}

/* A vector of what may or may not fit, from bytes at @src */
static unsigned int random_ranges(struct wxpool_install_range *r, const char *src)
{
	unsigned int nr = 1 + rnd(4) * rnd(2), i;
	size_t end = 0;

	for (i = 0; i < nr; i++) {
		size_t len = rnd(12) ? 1 + rnd(200) : 1 + rnd(PG(2));
		size_t line = rnd(M_PAGES * PAGE_LINES - (len + LINE - 1) / LINE + 1);
		/* Pages of one third are X more often than not, and so on. */
		uint32_t prot = line / PAGE_LINES % 3 ? 2 : 1;

		if (!rnd(40))
			prot = 3 - prot;
		if (i && !rnd(3) && end + len <= PG(M_PAGES)) {
			r[i] = wx_more(src + rnd(PG(1)), len);
		} else {
			r[i] = wx_bytes(line * LINE, src + rnd(PG(1)), len, prot);
			end = r[i].offset;
		}
		end += len;
	}
	return nr;
}

/* Does the context look like the model? Where it has changed, or everywhere */
static bool model_ok(const struct model *m, const struct model *before,
		     const char *x, const char *r)
{
	size_t page;

	for (page = 0; page < M_PAGES; page++) {
		bool same = before && m->kind[page] == before->kind[page] &&
			    !memcmp(m->bytes + PG(page), before->bytes + PG(page),
				    PG(1));

		if (!same && !model_page_ok(m, page, x, r)) {
			printf("# page %zu is not as it should be\n", page);
			return false;
		}
	}
	return true;
}

/*
 * A walk at random: most calls succeed, many are refused, and what the views
 * show is always what the model says, to the byte.
 */
TEST_F(packed, as_the_model_says)
{
	struct model m = { 0 }, next = { 0 };
	size_t taken = 0, refused = 0, faulted = 0, steps = wx_rounds(2000), step;
	char *src = mmap(NULL, PG(5), RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct wxpool_free arg;
	struct wxpool_install_range r[6];
	struct wx_stat st;
	unsigned char *swap;
	int ret, want;

	if (PAGE_LINES != 64)
		SKIP(return, "written for pages of 4 KiB");
	m.bytes = calloc(M_PAGES, PG(1));
	next.bytes = calloc(M_PAGES, PG(1));
	ASSERT_NE(NULL, m.bytes);
	ASSERT_NE(NULL, next.bytes);
	ASSERT_NE(MAP_FAILED, src);
	ASSERT_EQ(0, mprotect(src + PG(4), PG(1), PROT_NONE));
	for (step = 0; step < steps; step++) {
		uint32_t pool = 1 + rnd(M_POOLS);

		/* The model of what comes, beside that of what is */
		swap = next.bytes;
		memcpy(swap, m.bytes, PG(M_PAGES));
		next = m;
		next.bytes = swap;
		if (rnd(3)) {
			unsigned int nr = random_ranges(r, src);
			bool fault = !rnd(8);

			wx_pattern(src, PG(4), step);
			want = model_install(&next, pool, r, nr);
			if (fault) {
				unsigned int bad = rnd(nr);

				/* Its last byte at least is not readable. */
				r[bad].source = (uintptr_t)src + PG(4) + 1 -
					      (rnd(2) ? r[bad].length : 1);
			}
			ret = wx_install_vec(self->fd, pool, r, nr);
			if (fault && want != -EEXIST) {
				ASSERT_EQ(-EFAULT, ret);
				faulted++;
			} else if (fault) {
				/* Of two errors either will do. */
				ASSERT_TRUE(ret == -EFAULT || ret == -EEXIST);
			} else {
				ASSERT_EQ(want, ret);
			}
			refused += want && !fault;
			taken += !ret;
		} else if (rnd(100)) {
			uint32_t pools[3] = { pool, 1 + rnd(M_POOLS), 1 + rnd(M_POOLS) };
			unsigned int nr = rnd(3) ? 1 : 1 + rnd(3);

			want = model_free_many(&next, pools, nr);
			ret = wx_free_vec(self->fd, pools, nr, rnd(2) * WXPOOL_FREE_REVOKE,
					  &arg);
			ASSERT_EQ(want < 0 ? want : 0, ret);
			if (!ret)
				ASSERT_EQ(want, (int)arg.pages_freed);
		} else {
			want = model_free_all(&next);
			ret = wx_free_vec(self->fd, NULL, 0, WXPOOL_FREE_ALL, &arg);
			ASSERT_EQ(0, ret);
			ASSERT_EQ(want, (int)arg.pages_freed);
		}
		if (!ret) {
			swap = m.bytes;
			m = next;
			next.bytes = swap;
		}
		if (step % 16) {
			ASSERT_TRUE(model_ok(&m, ret ? NULL : &next, self->x, self->r));
			continue;
		}
		ASSERT_TRUE(model_ok(&m, NULL, self->x, self->r));
		st = model_stat(&m);
		EXPECT_SAME_STAT(self->fd, st);
	}
	TH_LOG("%zu installed, %zu in use, %zu unreadable", taken, refused, faulted);
	EXPECT_GT(taken, steps / 10);
	EXPECT_GT(refused, steps / 50);
	EXPECT_GT(faulted, steps / 100);
	for (step = 1; step <= M_POOLS; step++)
		wx_free(self->fd, step);
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_PACKED(self->fd, 0, 0, 0);
}

/* ------------------------------------------------------ several CPUs at once */

#define T_PAGES	4
#define CODE	0x52000000u

/*
 * Each thread has every third line of the pages for itself, and line 63 of
 * every second page is code that nobody frees.
 */
struct shared {
	int fd;
	char *x, *r;
	atomic_bool stop;
	atomic_ulong rounds, calls, failed, strange;
};

struct packer {
	pthread_t thread;
	struct shared *shared;
	unsigned int nr;
};

/* One of a thread's own lines: full, run, freed, and trap or nothing again */
static bool pack_once(struct shared *s, unsigned int nr, unsigned int round)
{
	size_t page = round % T_PAGES, line = nr + 3 * (round * 7 % 20);
	uint32_t code = CODE + round % 65536 * 4 + nr, val;
	char *x = s->x + AT(page, line);
	struct wxpool_install_range r[2];
	unsigned char src[LINE];
	int sig;

	/* Two lines of its own, in two pages */
	r[0] = wx_bytes(AT(page, line), src, wx_emit(src, code), WXPOOL_PROT_X);
	r[1] = r[0];
	r[1].offset = AT((page + 1) % T_PAGES, line);
	if (wx_install_vec(s->fd, 10 + nr, r, 2))
		return false;
	if (try_exec(x, &val) || val != code)
		return false;
	if (try_exec(s->x + r[1].offset, &val) || val != code)
		return false;
	if (memcmp(src, s->r + AT(page, line), r[0].length))
		return false;
	if (wx_free(s->fd, 10 + nr))
		return false;
	sig = try_exec(x, &val);
	return sig == SIGTRAP || sig == SIGBUS;
}

static void *packer(void *arg)
{
	struct packer *p = arg;
	struct shared *s = p->shared;
	unsigned int round;

	for (round = 0; !s->stop; round++) {
		s->failed += !pack_once(s, p->nr, round);
		s->rounds++;
	}
	return NULL;
}

/* Runs what is never freed, beside lines that come and go. */
static void *runner(void *arg)
{
	struct shared *s = arg;
	uint32_t val;
	size_t page;

	while (!s->stop)
		for (page = 0; page < T_PAGES; page += 2) {
			if (try_exec(s->x + AT(page, 63), &val) ||
			    val != CODE + page)
				s->strange++;
			s->calls++;
		}
	return NULL;
}

TEST_F(packed, threads)
{
	struct shared s = { .fd = self->fd, .x = self->x, .r = self->r };
	unsigned int rounds = wx_rounds(600);
	struct packer p[3];
	pthread_t run;
	size_t page;
	int i;

	for (page = 0; page < T_PAGES; page += 2)
		ASSERT_EQ(0, wx_install_code(self->fd, 1, AT(page, 63), CODE + page));
	for (i = 0; i < 3; i++) {
		p[i] = (struct packer) { .shared = &s, .nr = i };
		ASSERT_EQ(0, pthread_create(&p[i].thread, NULL, packer, &p[i]));
	}
	ASSERT_EQ(0, pthread_create(&run, NULL, runner, &s));
	while (s.rounds < rounds || s.calls < rounds)
		usleep(1000);
	s.stop = true;
	for (i = 0; i < 3; i++)
		pthread_join(p[i].thread, NULL);
	pthread_join(run, NULL);
	EXPECT_EQ(0, atomic_load(&s.failed));
	EXPECT_EQ(0, atomic_load(&s.strange));
	EXPECT_STAT(self->fd, 1, 0, 0, T_PAGES / 2, 0);
	EXPECT_PACKED(self->fd, T_PAGES / 2, T_PAGES / 2, 0);
}

/* Faults of the one page of a view, again and again */
static void *toucher(void *arg)
{
	struct shared *s = arg;

	while (!s->stop) {
		madvise(s->x, PG(1), MADV_DONTNEED);
		s->calls += !try_read(s->x);
		madvise(s->r, PG(1), MADV_DONTNEED);
		s->calls += !try_read(s->r);
		s->rounds++;
	}
	return NULL;
}

static void wait_for(atomic_ulong *count, unsigned long more)
{
	unsigned long until = *count + more;

	while (*count < until)
		sched_yield();
}

/* When FREE of the last line has returned, no fault brings the page back. */
TEST_F(packed, free_under_fire)
{
	struct shared s = { .fd = self->fd, .x = self->x, .r = self->r };
	unsigned int rounds = wx_rounds(200), round;
	pthread_t threads[3];
	int i;

	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, toucher, &s));
	for (round = 0; round < rounds; round++) {
		ASSERT_EQ(0, wx_install_code(self->fd, POOL, AT(0, 1), CODE));
		wait_for(&s.calls, 3);
		ASSERT_EQ(0, wx_free(self->fd, POOL));
		for (i = 0; i < 3; i++) {
			ASSERT_EQ(SIGBUS, try_read(self->x));
			ASSERT_EQ(SIGBUS, try_read(self->r));
			sched_yield();
		}
	}
	s.stop = true;
	for (i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
}

/* Three threads that do something at the same time, in rounds */
struct contest {
	int fd, ret[3];
	unsigned int rounds;
	uint32_t flags;
	int (*op)(struct contest *contest, unsigned int nr);
	pthread_barrier_t start, end;
};

struct contestant {
	pthread_t thread;
	struct contest *contest;
	unsigned int nr;
};

/* Lines 60 to 62, 61 to 63 or 62 to 64: they share line 62. */
static int want_the_same(struct contest *contest, unsigned int nr)
{
	unsigned char src[3 * LINE];

	wx_pattern(src, sizeof(src), nr);
	return wx_install(contest->fd, 1 + nr, AT(0, 60 + nr), src, sizeof(src),
			  WXPOOL_PROT_X);
}

/* Lines of their own in a page that is not there yet */
static int want_the_page(struct contest *contest, unsigned int nr)
{
	unsigned char code[LINE];
	struct wxpool_install_range r;

	r = wx_bytes(AT(0, 10 + nr), code, wx_emit(code, CODE + nr), WXPOOL_PROT_X);
	return wx_install_flags(contest->fd, 1 + nr, &r, 1, contest->flags);
}

static void *contestant(void *arg)
{
	struct contestant *c = arg;
	struct contest *contest = c->contest;
	unsigned int round;

	for (round = 0; round < contest->rounds; round++) {
		pthread_barrier_wait(&contest->start);
		contest->ret[c->nr] = contest->op(contest, c->nr);
		pthread_barrier_wait(&contest->end);
	}
	return NULL;
}

#define START_CONTEST() do {						\
	pthread_barrier_init(&contest.start, NULL, 4);			\
	pthread_barrier_init(&contest.end, NULL, 4);			\
	for (i = 0; i < 3; i++) {					\
		c[i] = (struct contestant) { .contest = &contest, .nr = i }; \
		ASSERT_EQ(0, pthread_create(&c[i].thread, NULL, contestant, \
					    &c[i]));			\
	}								\
} while (0)

/* Of those that want the same line one gets it. */
TEST_F(packed, one_winner)
{
	struct contest contest = {
		.fd = self->fd, .rounds = wx_rounds(200), .op = want_the_same,
	};
	unsigned char src[3 * LINE];
	struct contestant c[3];
	unsigned int round;
	int i, won;

	START_CONTEST();
	for (round = 0; round < contest.rounds; round++) {
		pthread_barrier_wait(&contest.start);
		pthread_barrier_wait(&contest.end);
		for (i = 0, won = -1; i < 3; i++) {
			if (!contest.ret[i]) {
				EXPECT_EQ(-1, won);
				won = i;
			} else {
				EXPECT_EQ(-EEXIST, contest.ret[i]);
			}
		}
		ASSERT_GE(won, 0);
		wx_pattern(src, sizeof(src), won);
		ASSERT_EQ(0, memcmp(src, self->r + AT(0, 60 + won), sizeof(src)));
		EXPECT_PACKED(self->fd, won == 2 ? 2 : 1, 3, 0);
		for (i = 0; i < 3; i++)
			EXPECT_EQ(contest.ret[i] ? -ENOENT : 0,
				  wx_free(self->fd, 1 + i));
	}
	for (i = 0; i < 3; i++)
		pthread_join(c[i].thread, NULL);
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
}

/* Those that want lines of the same absent page, huge or not, all get them. */
TEST_F(packed, new_page_for_all)
{
	struct contest contest = {
		.fd = self->fd, .rounds = wx_rounds(200), .op = want_the_page,
	};
	struct contestant c[3];
	unsigned int round;
	uint32_t val;
	int i;

	START_CONTEST();
	for (round = 0; round < contest.rounds; round++) {
		contest.flags = round % 2 ? WXPOOL_INSTALL_BLOCKS : 0;
		pthread_barrier_wait(&contest.start);
		pthread_barrier_wait(&contest.end);
		for (i = 0; i < 3; i++) {
			ASSERT_EQ(0, contest.ret[i]);
			ASSERT_EQ(0, try_exec(self->x + AT(0, 10 + i), &val));
			ASSERT_EQ(CODE + i, val);
		}
		ASSERT_EQ(3, wx_stat(self->fd).lines);
		for (i = 0; i < 3; i++)
			ASSERT_EQ(0, wx_free(self->fd, 1 + i));
		EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
		EXPECT_PACKED(self->fd, 0, 0, 0);
	}
	for (i = 0; i < 3; i++)
		pthread_join(c[i].thread, NULL);
}

TEST_HARNESS_MAIN
