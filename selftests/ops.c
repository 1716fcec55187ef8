// SPDX-License-Identifier: GPL-2.0
/*
 * ALLOC, PROTECT and FREE: each transition of a page that exists, each that
 * does not, vectors that are all or nothing, and views made in place.
 */
#include <sys/mount.h>
#include <sys/stat.h>

#include "wxpool_util.h"

#define POOL	1
#define OTHER	2

/* ----------------------------------------------------- single transitions */

TEST_F(ctx, alloc_gives_zeroed_open_pages)
{
	char *w;
	size_t i;

	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 4));
	EXPECT_STAT(self->fd, 1, 4, 0, 0, 0);
	w = wx_view(self->fd, RW, 0, 4);
	ASSERT_NE(MAP_FAILED, w);
	for (i = 0; i < PG(4); i++)
		ASSERT_EQ(0, w[i]);
	memset(w, 0x5a, PG(4));
	for (i = 0; i < PG(4); i += 64)
		ASSERT_EQ(0x5a, w[i]);
}

TEST_F(ctx, seal_x_shows_what_was_written)
{
	uint32_t val;
	char *w, *x, *r;

	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 2));
	w = wx_view(self->fd, RW, 0, 2);
	x = wx_view(self->fd, RX, 0, 2);
	r = wx_view(self->fd, PROT_READ, 0, 2);
	ASSERT_NE(MAP_FAILED, w);
	ASSERT_NE(MAP_FAILED, x);
	ASSERT_NE(MAP_FAILED, r);
	wx_emit_pages(w, 2, 1000);

	ASSERT_EQ(0, wx_protect(self->fd, POOL, 0, 2, WXPOOL_PROT_X));
	EXPECT_STAT(self->fd, 1, 0, 0, 2, 0);
	EXPECT_EQ(0, try_exec(x, &val));
	EXPECT_EQ(1000, val);
	EXPECT_EQ(0, try_exec(x + PG(1), &val));
	EXPECT_EQ(1001, val);
	EXPECT_EQ(0, try_read(r));
	EXPECT_EQ(0, memcmp(x, r, PG(2)));
	EXPECT_EQ(SIGSEGV, try_write(x, 0));
	EXPECT_EQ(SIGSEGV, try_write(r, 0));
	EXPECT_EQ(SIGSEGV, try_exec(r, &val));
	EXPECT_EQ(SIGBUS, try_write(w, 0));
	EXPECT_EQ(SIGBUS, try_read(w));
}

TEST_F(ctx, seal_r_is_never_code)
{
	uint32_t val;
	char *w, *x, *r;

	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 1));
	w = wx_view(self->fd, RW, 0, 1);
	x = wx_view(self->fd, RX, 0, 1);
	r = wx_view(self->fd, PROT_READ, 0, 1);
	ASSERT_NE(MAP_FAILED, w);
	ASSERT_NE(MAP_FAILED, x);
	ASSERT_NE(MAP_FAILED, r);
	wx_emit(w, 7);

	ASSERT_EQ(0, wx_protect(self->fd, POOL, 0, 1, WXPOOL_PROT_R));
	EXPECT_STAT(self->fd, 1, 0, 1, 0, 0);
	EXPECT_EQ(0, try_read(r));
	EXPECT_EQ(SIGBUS, try_exec(x, &val));
	EXPECT_EQ(SIGBUS, try_read(x));
	EXPECT_EQ(SIGBUS, try_write(w, 0));
}

/* Page 0 of each test: in one of the states that a page can have */
FIXTURE_VARIANT(state)
{
	bool present;
	uint32_t pool;		/* whose the page is */
	uint32_t prot;		/* 0 while open */
	int alloc, protect;	/* what the operations for POOL return */
};

FIXTURE(state) {
	int fd;
	struct wx_stat st;
	char *w, *x, *r;
	int look_w, look_x, look_r;
};

FIXTURE_VARIANT_ADD(state, absent) {
	.alloc = 0, .protect = -ENOENT,
};

FIXTURE_VARIANT_ADD(state, open) {
	.present = true, .pool = POOL, .alloc = -EEXIST, .protect = 0,
};

FIXTURE_VARIANT_ADD(state, open_of_another_pool) {
	.present = true, .pool = OTHER, .alloc = -EEXIST, .protect = -ENOENT,
};

FIXTURE_VARIANT_ADD(state, sealed_r) {
	.present = true, .pool = POOL, .prot = WXPOOL_PROT_R,
	.alloc = -EEXIST, .protect = -EPERM,
};

FIXTURE_VARIANT_ADD(state, sealed_x) {
	.present = true, .pool = POOL, .prot = WXPOOL_PROT_X,
	.alloc = -EEXIST, .protect = -EPERM,
};

FIXTURE_VARIANT_ADD(state, sealed_x_of_another_pool) {
	.present = true, .pool = OTHER, .prot = WXPOOL_PROT_X,
	.alloc = -EEXIST, .protect = -ENOENT,
};

/* Both pools live, each with a page of its own besides page 0. */
FIXTURE_SETUP(state)
{
	self->fd = wx_open();
	if (self->fd == -ENOENT)
		SKIP(return, "no " WX_DEV ": modprobe wxpool first");
	ASSERT_GE(self->fd, 0);
	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 10, 1));
	ASSERT_EQ(0, wx_alloc(self->fd, OTHER, 20, 1));
	self->w = wx_view(self->fd, RW, 0, 1);
	self->x = wx_view(self->fd, RX, 0, 1);
	self->r = wx_view(self->fd, PROT_READ, 0, 1);
	ASSERT_NE(MAP_FAILED, self->w);
	ASSERT_NE(MAP_FAILED, self->x);
	ASSERT_NE(MAP_FAILED, self->r);
	if (variant->present) {
		ASSERT_EQ(0, wx_alloc(self->fd, variant->pool, 0, 1));
		wx_emit(self->w, 99);
	}
	if (variant->prot)
		ASSERT_EQ(0, wx_protect(self->fd, variant->pool, 0, 1,
					variant->prot));
	self->st = wx_stat(self->fd);
	self->look_w = wx_look(self->w);
	self->look_x = wx_look(self->x);
	self->look_r = wx_look(self->r);
}

FIXTURE_TEARDOWN(state)
{
}

/* Page 0 shows in each kind of view just what it showed at the setup. */
#define EXPECT_SAME_PAGE() do {						\
	EXPECT_SAME_STAT(self->fd, self->st);				\
	EXPECT_EQ(self->look_w, wx_look(self->w));			\
	EXPECT_EQ(self->look_x, wx_look(self->x));			\
	EXPECT_EQ(self->look_r, wx_look(self->r));			\
	EXPECT_EQ(variant->present && !variant->prot ? 0 : SIGBUS,	\
		  try_write(self->w + 64, 1));				\
} while (0)

TEST_F(state, alloc)
{
	EXPECT_EQ(variant->alloc, wx_alloc(self->fd, POOL, 0, 1));
	if (!variant->alloc)
		EXPECT_STAT(self->fd, 2, 3, 0, 0, 0);
	else
		EXPECT_SAME_PAGE();
}

TEST_F(state, protect_r)
{
	EXPECT_EQ(variant->protect,
		  wx_protect(self->fd, POOL, 0, 1, WXPOOL_PROT_R));
	if (!variant->protect)
		EXPECT_STAT(self->fd, 2, 2, 1, 0, 0);
	else
		EXPECT_SAME_PAGE();
}

TEST_F(state, protect_x)
{
	uint32_t val;

	EXPECT_EQ(variant->protect,
		  wx_protect(self->fd, POOL, 0, 1, WXPOOL_PROT_X));
	if (!variant->protect) {
		EXPECT_STAT(self->fd, 2, 2, 0, 1, 0);
		EXPECT_EQ(0, try_exec(self->x, &val));
		EXPECT_EQ(99, val);
	} else {
		EXPECT_SAME_PAGE();
	}
}

/* A pool that is not alive has no pages, whatever is at the offset. */
TEST_F(state, protect_for_no_pool)
{
	EXPECT_EQ(-ENOENT, wx_protect(self->fd, 3, 0, 1, WXPOOL_PROT_X));
	EXPECT_EQ(-ENOENT, wx_free(self->fd, 3));
	EXPECT_SAME_PAGE();
}

TEST_F(state, free_own_pool)
{
	struct wxpool_free arg;
	bool own = variant->present && variant->pool == POOL;

	EXPECT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(own ? 2 : 1, arg.nr_freed);
	EXPECT_EQ(0, arg.nr_kept);
	EXPECT_EQ(-ENOENT, wx_free(self->fd, POOL));
	if (own || !variant->present) {
		EXPECT_STAT(self->fd, 1, 1, 0, 0, 0);
		EXPECT_EQ(SIGBUS, try_write(self->w, 1));
		EXPECT_EQ(SIGBUS, try_read(self->w));
		EXPECT_EQ(SIGBUS, try_exec(self->x, NULL));
		EXPECT_EQ(SIGBUS, try_read(self->r));
	} else {
		self->st.pools--;
		self->st.open--;
		EXPECT_SAME_PAGE();
	}
}

/* Whatever it was, after FREE it can become anything again, from zero. */
TEST_F(state, reuse_after_free)
{
	size_t i;

	EXPECT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_EQ(0, wx_free(self->fd, OTHER));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	ASSERT_EQ(0, wx_alloc(self->fd, 5, 0, 1));
	for (i = 0; i < PG(1); i++)
		ASSERT_EQ(0, self->w[i]);
	wx_emit(self->w, 5);
	EXPECT_EQ(0, wx_protect(self->fd, 5, 0, 1,
				variant->prot == WXPOOL_PROT_X ?
				WXPOOL_PROT_R : WXPOOL_PROT_X));
	EXPECT_EQ(0, try_read(self->r));
	EXPECT_EQ(variant->prot == WXPOOL_PROT_X ? SIGBUS : 0,
		  try_exec(self->x, NULL));
}

/* ----------------------------------------------------------------- ranges */

/* Ranges of PROTECT need not be those of ALLOC. */
TEST_F(ctx, ranges_across_regions)
{
	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 3));
	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 3, 3));
	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 6, 3));
	EXPECT_EQ(0, wx_protect(self->fd, POOL, 1, 7, WXPOOL_PROT_X));
	EXPECT_STAT(self->fd, 1, 2, 0, 7, 0);
	EXPECT_EQ(0, wx_protect(self->fd, POOL, 8, 1, WXPOOL_PROT_R));
	EXPECT_EQ(0, wx_protect(self->fd, POOL, 0, 1, WXPOOL_PROT_R));
	EXPECT_STAT(self->fd, 1, 0, 2, 7, 0);
}

/* A range that is only partly right is wrong, wherever the flaw sits. */
TEST_F(ctx, range_with_a_flaw)
{
	const size_t at[] = { 0, 7, 15 };
	unsigned int i;
	char *w;

	w = wx_view(self->fd, RW, 0, 16);
	ASSERT_NE(MAP_FAILED, w);
	for (i = 0; i < 3; i++) {
		size_t bad = at[i];

		/* A hole, another pool's page, then a sealed page */
		if (bad)
			ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, bad));
		if (bad < 15)
			ASSERT_EQ(0, wx_alloc(self->fd, POOL, bad + 1, 15 - bad));
		EXPECT_EQ(-ENOENT, wx_protect(self->fd, POOL, 0, 16, WXPOOL_PROT_X));
		EXPECT_STAT(self->fd, 1, 15, 0, 0, 0);

		ASSERT_EQ(0, wx_alloc(self->fd, OTHER, bad, 1));
		EXPECT_EQ(-ENOENT, wx_protect(self->fd, POOL, 0, 16, WXPOOL_PROT_X));
		EXPECT_STAT(self->fd, 2, 16, 0, 0, 0);
		ASSERT_EQ(0, wx_free(self->fd, OTHER));

		ASSERT_EQ(0, wx_alloc(self->fd, POOL, bad, 1));
		ASSERT_EQ(0, wx_protect(self->fd, POOL, bad, 1, WXPOOL_PROT_R));
		EXPECT_EQ(-EPERM, wx_protect(self->fd, POOL, 0, 16, WXPOOL_PROT_X));
		EXPECT_STAT(self->fd, 1, 15, 1, 0, 0);
		EXPECT_EQ(0, try_write(w + PG(bad ? 0 : 1), 1));
		EXPECT_EQ(-EEXIST, wx_alloc(self->fd, POOL, 0, 16));
		EXPECT_EQ(-EEXIST, wx_alloc(self->fd, OTHER, 0, 16));
		EXPECT_STAT(self->fd, 1, 15, 1, 0, 0);
		ASSERT_EQ(0, wx_free(self->fd, POOL));
	}
}

/* All or nothing, with the flaw in the first, a middle and the last range */
TEST_F(ctx, vector_with_a_flaw)
{
	const unsigned int at[] = { 0, 31, 63 };
	struct wxpool_range r[64];
	unsigned int i, j, pos;
	char *w, *x;

	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 64));
	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 200, 1));
	ASSERT_EQ(0, wx_protect(self->fd, POOL, 200, 1, WXPOOL_PROT_X));
	ASSERT_EQ(0, wx_alloc(self->fd, OTHER, 201, 1));
	w = wx_view(self->fd, RW, 0, 64);
	x = wx_view(self->fd, RX, 0, 64);
	ASSERT_NE(MAP_FAILED, w);
	ASSERT_NE(MAP_FAILED, x);
	wx_emit_pages(w, 64, 500);

	for (i = 0; i < 3; i++) {
		pos = at[i];
		for (j = 0; j < 64; j++)
			r[j] = wx_range(j, 1, j & 1 ? WXPOOL_PROT_X :
					WXPOOL_PROT_R, NULL);
		r[pos].offset = PG(200);
		EXPECT_EQ(-EPERM, wx_protect_vec(self->fd, POOL, r, 64));
		r[pos].offset = PG(201);
		EXPECT_EQ(-ENOENT, wx_protect_vec(self->fd, POOL, r, 64));
		r[pos].offset = PG(202);
		EXPECT_EQ(-ENOENT, wx_protect_vec(self->fd, POOL, r, 64));
		EXPECT_STAT(self->fd, 2, 65, 0, 1, 0);
		for (j = 0; j < 64; j++) {
			ASSERT_EQ(0, try_write(w + PG(j) + 100, i + 1));
			ASSERT_EQ(SIGBUS, try_read(x + PG(j)));
		}

		for (j = 0; j < 64; j++)
			r[j] = wx_range(300 + j, 1, 0, NULL);
		r[pos].offset = PG(5);
		EXPECT_EQ(-EEXIST, wx_alloc_vec(self->fd, POOL, r, 64));
		EXPECT_EQ(-EEXIST, wx_alloc_vec(self->fd, 77, r, 64));
		EXPECT_STAT(self->fd, 2, 65, 0, 1, 0);
	}
	/* The refusals have left everything as it must be for this: */
	EXPECT_EQ(0, wx_alloc(self->fd, POOL, 300, 64));
	EXPECT_EQ(0, wx_protect(self->fd, POOL, 0, 64, WXPOOL_PROT_X));
	for (j = 0; j < 64; j++) {
		uint32_t val;

		ASSERT_EQ(0, try_exec(x + PG(j), &val));
		ASSERT_EQ(500 + j, val);
		ASSERT_EQ(3, x[PG(j) + 100]);
	}
}

/* The same page twice in a vector is a transition that does not exist. */
TEST_F(ctx, vector_with_overlaps)
{
	struct wxpool_range r[2];
	char *w;

	r[0] = wx_range(0, 4, 0, NULL);
	r[1] = wx_range(3, 4, 0, NULL);
	EXPECT_EQ(-EEXIST, wx_alloc_vec(self->fd, POOL, r, 2));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_EQ(-ENOENT, wx_free(self->fd, POOL));

	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 7));
	r[0].prot = WXPOOL_PROT_R;
	r[1].prot = WXPOOL_PROT_X;
	EXPECT_EQ(-EPERM, wx_protect_vec(self->fd, POOL, r, 2));
	r[1] = r[0];
	EXPECT_EQ(-EPERM, wx_protect_vec(self->fd, POOL, r, 2));
	EXPECT_STAT(self->fd, 1, 7, 0, 0, 0);
	w = wx_view(self->fd, RW, 0, 7);
	ASSERT_NE(MAP_FAILED, w);
	EXPECT_EQ(0, try_write(w + PG(3), 1));
}

TEST_F(ctx, mixed_vector)
{
	struct wxpool_range r[3];
	char *w, *x, *ro;
	uint32_t val;

	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 6));
	w = wx_view(self->fd, RW, 0, 6);
	x = wx_view(self->fd, RX, 0, 6);
	ro = wx_view(self->fd, PROT_READ, 0, 6);
	ASSERT_NE(MAP_FAILED, w);
	ASSERT_NE(MAP_FAILED, x);
	ASSERT_NE(MAP_FAILED, ro);
	wx_emit_pages(w, 6, 40);
	r[0] = wx_range(0, 2, WXPOOL_PROT_X, NULL);
	r[1] = wx_range(5, 1, WXPOOL_PROT_R, NULL);
	r[2] = wx_range(2, 1, WXPOOL_PROT_X, NULL);
	ASSERT_EQ(0, wx_protect_vec(self->fd, POOL, r, 3));
	EXPECT_STAT(self->fd, 1, 2, 1, 3, 0);
	EXPECT_EQ(0, try_exec(x + PG(2), &val));
	EXPECT_EQ(42, val);
	EXPECT_EQ(0, try_write(w + PG(3), 1));
	EXPECT_EQ(SIGBUS, try_read(x + PG(3)));
	EXPECT_EQ(SIGBUS, try_read(x + PG(5)));
	EXPECT_EQ(0, try_read(ro + PG(5)));
}

/* ------------------------------------------------------------------ pools */

TEST_F(ctx, pools_are_independent)
{
	const uint32_t ids[] = { 1, 2, 0x7fffffff, 0x80000000, UINT32_MAX };
	struct wxpool_free arg;
	unsigned int i;
	uint32_t val;
	char *x;

	x = wx_view(self->fd, RX, 0, 5);
	ASSERT_NE(MAP_FAILED, x);
	for (i = 0; i < 5; i++)
		ASSERT_EQ(0, wx_make_code(self->fd, ids[i], i, 70 + i));
	EXPECT_STAT(self->fd, 5, 0, 0, 5, 0);
	ASSERT_EQ(0, wx_free_out(self->fd, ids[2], &arg));
	EXPECT_EQ(1, arg.nr_freed);
	for (i = 0; i < 5; i++) {
		EXPECT_EQ(i == 2 ? SIGBUS : 0, try_exec(x + PG(i), &val));
		if (i != 2)
			EXPECT_EQ(70 + i, val);
	}
	for (i = 0; i < 5; i++)
		EXPECT_EQ(i == 2 ? -ENOENT : 0, wx_free(self->fd, ids[i]));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
}

TEST_F(ctx, contexts_are_independent)
{
	int fd = wx_open();
	char *x, *y;
	uint32_t val;

	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, wx_make_code(self->fd, POOL, 0, 1));
	EXPECT_STAT(fd, 0, 0, 0, 0, 0);
	EXPECT_EQ(-ENOENT, wx_free(fd, POOL));
	ASSERT_EQ(0, wx_make_code(fd, POOL, 0, 2));
	x = wx_view(self->fd, RX, 0, 1);
	y = wx_view(fd, RX, 0, 1);
	ASSERT_NE(MAP_FAILED, x);
	ASSERT_NE(MAP_FAILED, y);
	EXPECT_EQ(0, try_exec(x, &val));
	EXPECT_EQ(1, val);
	EXPECT_EQ(0, try_exec(y, &val));
	EXPECT_EQ(2, val);
	EXPECT_EQ(0, wx_free(fd, POOL));
	EXPECT_EQ(0, try_exec(x, &val));
	EXPECT_EQ(SIGBUS, try_exec(y, &val));
}

/* Views hold the context, also when its fd is closed. */
TEST_F(ctx, views_outlive_the_fd)
{
	uint32_t val;
	char *x;

	ASSERT_EQ(0, wx_make_code(self->fd, POOL, 0, 3));
	x = wx_view(self->fd, RX, 0, 1);
	ASSERT_NE(MAP_FAILED, x);
	ASSERT_EQ(0, close(self->fd));
	EXPECT_EQ(0, try_exec(x, &val));
	EXPECT_EQ(3, val);
}

TEST_F(ctx, many_pools)
{
	const unsigned int nr = 2 * wx_rounds(1500);
	unsigned int i;

	for (i = 1; i <= nr; i++)
		ASSERT_EQ(0, wx_alloc(self->fd, i * 2654435761u, i, 1));
	EXPECT_STAT(self->fd, nr, nr, 0, 0, 0);
	for (i = 1; i <= nr; i += 2)
		ASSERT_EQ(0, wx_free(self->fd, i * 2654435761u));
	EXPECT_STAT(self->fd, nr / 2, nr / 2, 0, 0, 0);
	for (i = 1; i <= nr; i++)
		ASSERT_EQ(i & 1 ? -ENOENT : 0,
			  wx_protect(self->fd, i * 2654435761u, i, 1,
				     WXPOOL_PROT_R));
	EXPECT_STAT(self->fd, nr / 2, 0, nr / 2, 0, 0);
}

/* --------------------------------------------------------------- in place */

TEST_F(ctx, in_place)
{
	uint32_t val;
	char *a = self->win + PG(10);

	/* What was there is replaced, and only that. */
	ASSERT_EQ(0, mprotect(self->win, PG(WIN_PAGES), RW));
	memset(self->win, 0xee, PG(20));
	ASSERT_EQ(0, wx_alloc_at(self->fd, POOL, 3, 2, a));
	EXPECT_EQ(RW, wx_vma_prot(a));
	EXPECT_EQ(0, a[0]);
	EXPECT_EQ(0xee, (unsigned char)a[-1]);
	EXPECT_EQ(0xee, (unsigned char)a[PG(2)]);
	wx_emit_pages(a, 2, 21);
	EXPECT_EQ(SIGSEGV, try_exec(a, &val));

	ASSERT_EQ(0, wx_protect_at(self->fd, POOL, 3, 1, WXPOOL_PROT_X, a));
	EXPECT_EQ(RX, wx_vma_prot(a));
	EXPECT_EQ(RW, wx_vma_prot(a + PG(1)));
	EXPECT_EQ(0, try_exec(a, &val));
	EXPECT_EQ(21, val);
	EXPECT_EQ(SIGSEGV, try_write(a, 0));
	EXPECT_EQ(0, try_write(a + PG(1), a[PG(1)]));

	ASSERT_EQ(0, wx_protect_at(self->fd, POOL, 4, 1, WXPOOL_PROT_R,
				   a + PG(1)));
	EXPECT_EQ(PROT_READ, wx_vma_prot(a + PG(1)));
	EXPECT_EQ(0, try_read(a + PG(1)));
	EXPECT_EQ(SIGSEGV, try_write(a + PG(1), 0));
	EXPECT_EQ(SIGSEGV, try_exec(a + PG(1), &val));
	EXPECT_EQ(0xee, (unsigned char)a[-1]);
	EXPECT_EQ(0xee, (unsigned char)a[PG(2)]);
}

TEST_F(ctx, in_place_vector)
{
	struct wxpool_range r[4];
	struct wxpool_vec vec;
	uint32_t val;

	r[0] = wx_range(0, 2, 0, self->win);
	r[1] = wx_range(8, 2, 0, NULL);
	r[2] = wx_range(4, 2, 0, self->win + PG(4));
	r[3] = wx_range(6, 1, 0, self->win + PG(6));
	ASSERT_EQ(0, wx_vec(self->fd, WXPOOL_IOC_ALLOC, &vec, POOL, r, 4));
	EXPECT_EQ(4, vec.nr_mapped);
	EXPECT_EQ(0, vec.map_error);
	EXPECT_EQ(PROT_NONE, wx_vma_prot(self->win + PG(8)));
	wx_emit(self->win + PG(4), 44);
	memcpy(self->win, "data", 5);

	r[0].prot = r[1].prot = r[3].prot = WXPOOL_PROT_R;
	r[2].prot = WXPOOL_PROT_X;
	r[3].addr = 0;
	ASSERT_EQ(0, wx_vec(self->fd, WXPOOL_IOC_PROTECT, &vec, POOL, r, 4));
	EXPECT_EQ(4, vec.nr_mapped);
	EXPECT_EQ(0, vec.map_error);
	EXPECT_EQ(PROT_READ, wx_vma_prot(self->win));
	EXPECT_EQ(0, strcmp(self->win, "data"));
	EXPECT_EQ(0, try_exec(self->win + PG(4), &val));
	EXPECT_EQ(44, val);
	/* No view was asked for: the W view is still there, and shows nothing. */
	EXPECT_EQ(RW, wx_vma_prot(self->win + PG(6)));
	EXPECT_EQ(SIGBUS, try_read(self->win + PG(6)));
}

/* A view that mmap() refuses: sealed all the same, and said so. */
TEST_F(ctx, in_place_refused)
{
	struct wxpool_range r[3];
	struct wxpool_vec vec;

	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 3));
	r[0] = wx_range(0, 1, WXPOOL_PROT_R, self->win);
	r[1] = wx_range(1, 1, WXPOOL_PROT_R, (void *)-PG(1));
	r[2] = wx_range(2, 1, WXPOOL_PROT_R, self->win + PG(2));
	EXPECT_EQ(0, wx_vec(self->fd, WXPOOL_IOC_PROTECT, &vec, POOL, r, 3));
	EXPECT_EQ(1, vec.nr_mapped);
	EXPECT_EQ(ENOMEM, vec.map_error);
	EXPECT_STAT(self->fd, 1, 0, 3, 0, 0);
	EXPECT_EQ(PROT_READ, wx_vma_prot(self->win));
	EXPECT_EQ(PROT_NONE, wx_vma_prot(self->win + PG(2)));

	/* The caller can still map them. */
	EXPECT_EQ(0, wx_view_at(self->fd, PROT_READ, 2, 1, self->win + PG(2)));
	EXPECT_EQ(0, try_read(self->win + PG(2)));
}

/* A refused operation maps nothing, whatever addresses it was given. */
TEST_F(ctx, refused_maps_nothing)
{
	struct wxpool_range r[2];

	r[0] = wx_range(0, 1, 0, self->win);
	r[1] = wx_range(0, 1, 0, self->win + PG(1));
	EXPECT_EQ(-EEXIST, wx_alloc_vec(self->fd, POOL, r, 2));
	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 1));
	r[0].prot = WXPOOL_PROT_X;
	r[1] = wx_range(1, 1, WXPOOL_PROT_X, self->win + PG(1));
	EXPECT_EQ(-ENOENT, wx_protect_vec(self->fd, POOL, r, 2));
	EXPECT_EQ(1, wx_count_vmas(self->win, self->win + PG(WIN_PAGES)));
	EXPECT_EQ(PROT_NONE, wx_vma_prot(self->win));
}

/*
 * The structure lies where the call itself maps its view, or in the very page
 * that it seals. What the kernel writes back must not reach the sealed page.
 */
TEST_F(ctx, arguments_in_the_page)
{
	struct wxpool_range r = wx_range(0, 1, WXPOOL_PROT_X, NULL);
	struct wxpool_vec *vec, copy;
	char before[256];
	uint32_t val;
	int i;

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, wx_alloc_at(self->fd, POOL, 0, 1, self->win));
		wx_emit(self->win, 17);
		vec = (void *)(self->win + 128);
		*vec = (struct wxpool_vec) {
			.size = sizeof(*vec), .pool = POOL, .nr_ranges = 1,
			.ranges = (uintptr_t)&r,
			.nr_mapped = 0x5a5a5a5a, .map_error = 0x5a5a5a5a,
		};
		copy = *vec;
		memcpy(before, self->win, sizeof(before));
		if (i)
			r.addr = (uintptr_t)self->win;
		/* The results cannot be stored: whatever it says, it is sealed. */
		wx_ioctl(self->fd, WXPOOL_IOC_PROTECT, vec);
		EXPECT_STAT(self->fd, 1, 0, 0, 1, 0);
		ASSERT_EQ(0, wx_view_at(self->fd, RX, 0, 1, self->win));
		EXPECT_EQ(0, try_exec(self->win, &val));
		EXPECT_EQ(17, val);
		EXPECT_EQ(0, memcmp(before, self->win, 128));
		/* It holds what was there at the seal, outputs of before included. */
		EXPECT_EQ(copy.size, ((struct wxpool_vec *)(self->win + 128))->size);
		EXPECT_EQ(copy.ranges, ((struct wxpool_vec *)(self->win + 128))->ranges);
		EXPECT_NE(1, ((struct wxpool_vec *)(self->win + 128))->nr_mapped);
		ASSERT_EQ(0, wx_free(self->fd, POOL));
	}
}

/* A node in a file system that is mounted noexec grants no X view. */
TEST_F(ctx, noexec_node)
{
	char dir[] = "/tmp/wxpool.XXXXXX", path[64];
	struct stat st;
	int fd, err;

	ASSERT_EQ(0, fstat(self->fd, &st));
	ASSERT_NE(NULL, mkdtemp(dir));
	if (mount("none", dir, "tmpfs", MS_NOEXEC, NULL)) {
		err = errno;
		rmdir(dir);
		SKIP(return, "mount: %s", strerror(err));
	}
	snprintf(path, sizeof(path), "%s/wxpool", dir);
	err = mknod(path, S_IFCHR | 0600, st.st_rdev) ? errno : 0;
	fd = open(path, O_RDWR);
	umount2(dir, MNT_DETACH);
	rmdir(dir);
	ASSERT_EQ(0, err);
	ASSERT_GE(fd, 0);

	EXPECT_EQ(-EPERM, wx_try_mmap(fd, RX, MAP_SHARED, 0, 1));
	EXPECT_EQ(0, wx_try_mmap(fd, RW, MAP_SHARED, 0, 1));
	EXPECT_EQ(0, wx_try_mmap(fd, PROT_READ, MAP_SHARED, 0, 1));
	ASSERT_EQ(0, wx_alloc_at(fd, POOL, 0, 1, self->win));
	/* In place it is mmap()'s refusal, and no less sealed. */
	EXPECT_EQ(-EPERM, wx_protect_at(fd, POOL, 0, 1, WXPOOL_PROT_X, self->win));
	EXPECT_STAT(fd, 1, 0, 0, 1, 0);
	EXPECT_EQ(SIGBUS, try_write(self->win, 1));
}

/* In one window, in place, one page and one pool at a time */
TEST_F(ctx, thousand_seals_merge)
{
	const size_t nr = wx_rounds(1000);
	uint32_t val;
	size_t i;
	char *win;

	win = mmap(NULL, PG(nr), PROT_NONE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, win);
	for (i = 0; i < nr; i++) {
		ASSERT_EQ(0, wx_alloc_at(self->fd, 1 + i, i, 1, win + PG(i)));
		wx_emit(win + PG(i), (uint32_t)i);
		ASSERT_EQ(0, wx_protect_at(self->fd, 1 + i, i, 1,
					   WXPOOL_PROT_X, win + PG(i)));
	}
	EXPECT_LE(wx_count_vmas(win, win + PG(nr)), 8);
	for (i = 0; i < nr; i++) {
		ASSERT_EQ(0, try_exec(win + PG(i), &val));
		ASSERT_EQ(i, val);
	}
	for (i = 0; i < nr; i++)
		ASSERT_EQ(0, wx_free(self->fd, 1 + i));
	EXPECT_LE(wx_count_vmas(win, win + PG(nr)), 8);
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
}

/* The same in the order that merges least, and with two kinds of pages */
TEST_F(ctx, seals_merge_in_any_order)
{
	const size_t nr = 400;
	size_t i, page;

	for (i = 0; i < nr; i++) {
		page = i * 171 % nr;
		ASSERT_EQ(0, wx_alloc_at(self->fd, 1 + i, page, 1,
					 self->win + PG(page)));
		wx_emit(self->win + PG(page), (uint32_t)page);
		ASSERT_EQ(0, wx_protect_at(self->fd, 1 + i, page, 1,
					   page < nr / 2 ? WXPOOL_PROT_X :
					   WXPOOL_PROT_R,
					   self->win + PG(page)));
	}
	EXPECT_LE(wx_count_vmas(self->win, self->win + PG(nr)), 8);
	for (i = 0; i < nr / 2; i++)
		ASSERT_EQ(0, try_exec(self->win + PG(i), NULL));
}

TEST_HARNESS_MAIN
