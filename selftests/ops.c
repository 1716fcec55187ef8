// SPDX-License-Identifier: GPL-2.0
/*
 * ALLOC, PROTECT and FREE: each transition of a page that exists, each that
 * does not, vectors that are all or nothing, and views that take each other's
 * place.
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

/* Do loads from XO views fail here? */
static bool loads_fail(int fd)
{
	struct wxpool_info info = { 0 };

	wx_info(fd, &info);
	return info.features & WXPOOL_FEATURE_XO;
}

TEST_F(ctx, seal_xo_is_only_run)
{
	uint32_t val;
	char *w, *x, *r, *xo;

	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 2));
	w = wx_view(self->fd, RW, 0, 2);
	x = wx_view(self->fd, RX, 0, 2);
	r = wx_view(self->fd, PROT_READ, 0, 2);
	xo = wx_view(self->fd, XO, 0, 2);
	ASSERT_NE(MAP_FAILED, w);
	ASSERT_NE(MAP_FAILED, x);
	ASSERT_NE(MAP_FAILED, r);
	ASSERT_NE(MAP_FAILED, xo);
	wx_emit_pages(w, 2, 30);
	EXPECT_EQ(SIGBUS, try_exec(xo, &val));

	ASSERT_EQ(0, wx_protect(self->fd, POOL, 0, 2, WXPOOL_PROT_XO));
	EXPECT_STAT_XO(self->fd, 1, 0, 0, 0, 2, 0);
	EXPECT_EQ(0, try_exec(xo, &val));
	EXPECT_EQ(30, val);
	EXPECT_EQ(0, try_exec(xo + PG(1), &val));
	EXPECT_EQ(31, val);
	EXPECT_EQ(loads_fail(self->fd) ? SIGSEGV : 0, try_read(xo));
	EXPECT_EQ(SIGSEGV, try_write(xo, 0));
	EXPECT_EQ(SIGBUS, try_read(r));
	EXPECT_EQ(SIGBUS, try_read(x));
	EXPECT_EQ(SIGBUS, try_exec(x, &val));
	EXPECT_EQ(SIGBUS, try_read(w));
	EXPECT_EQ(SIGBUS, try_write(w, 0));
	EXPECT_EQ(-EACCES, wx_mprotect(xo, 2, RX));
	EXPECT_EQ(-EACCES, wx_mprotect(xo, 2, PROT_READ));
	EXPECT_EQ(0, try_exec(xo, &val));
}

/* An XO view runs what an X view shows, and nothing of what an R view shows. */
TEST_F(ctx, xo_view_of_each_state)
{
	uint32_t val;
	char *w, *xo;

	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 4));
	w = wx_view(self->fd, RW, 0, 4);
	xo = wx_view(self->fd, XO, 0, 5);
	ASSERT_NE(MAP_FAILED, w);
	ASSERT_NE(MAP_FAILED, xo);
	wx_emit_pages(w, 4, 60);
	ASSERT_EQ(0, wx_protect(self->fd, POOL, 1, 1, WXPOOL_PROT_R));
	ASSERT_EQ(0, wx_protect(self->fd, POOL, 2, 1, WXPOOL_PROT_X));
	ASSERT_EQ(0, wx_protect(self->fd, POOL, 3, 1, WXPOOL_PROT_XO));
	EXPECT_EQ(SIGBUS, try_exec(xo, NULL));
	EXPECT_EQ(SIGBUS, try_exec(xo + PG(1), NULL));
	EXPECT_EQ(0, try_exec(xo + PG(2), &val));
	EXPECT_EQ(62, val);
	EXPECT_EQ(0, try_exec(xo + PG(3), &val));
	EXPECT_EQ(63, val);
	EXPECT_EQ(SIGBUS, try_exec(xo + PG(4), NULL));
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
	char *w, *x, *r, *xo;
	int look_w, look_x, look_r, run_xo;
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

FIXTURE_VARIANT_ADD(state, sealed_xo) {
	.present = true, .pool = POOL, .prot = WXPOOL_PROT_XO,
	.alloc = -EEXIST, .protect = -EPERM,
};

FIXTURE_VARIANT_ADD(state, sealed_x_of_another_pool) {
	.present = true, .pool = OTHER, .prot = WXPOOL_PROT_X,
	.alloc = -EEXIST, .protect = -ENOENT,
};

FIXTURE_VARIANT_ADD(state, sealed_xo_of_another_pool) {
	.present = true, .pool = OTHER, .prot = WXPOOL_PROT_XO,
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
	self->xo = wx_view(self->fd, XO, 0, 1);
	ASSERT_NE(MAP_FAILED, self->w);
	ASSERT_NE(MAP_FAILED, self->x);
	ASSERT_NE(MAP_FAILED, self->r);
	ASSERT_NE(MAP_FAILED, self->xo);
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
	self->run_xo = try_exec(self->xo, NULL);
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
	EXPECT_EQ(self->run_xo, try_exec(self->xo, NULL));		\
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

TEST_F(state, protect_xo)
{
	uint32_t val;

	EXPECT_EQ(variant->protect,
		  wx_protect(self->fd, POOL, 0, 1, WXPOOL_PROT_XO));
	if (!variant->protect) {
		EXPECT_STAT_XO(self->fd, 2, 2, 0, 0, 1, 0);
		EXPECT_EQ(0, try_exec(self->xo, &val));
		EXPECT_EQ(99, val);
		EXPECT_EQ(SIGBUS, try_read(self->r));
	} else {
		EXPECT_SAME_PAGE();
	}
}

/* INSTALL goes to lines: into no page that ALLOC gave, of whichever pool. */
TEST_F(state, install)
{
	unsigned char code[LINE];
	uint32_t prot, pool, val;
	size_t len = wx_emit(code, 98);

	for (prot = WXPOOL_PROT_R; prot <= WXPOOL_PROT_XO; prot++)
		for (pool = POOL; pool <= 3 && variant->present; pool++)
			EXPECT_EQ(-EEXIST, wx_install(self->fd, pool, 0, code,
						      len, prot));
	if (variant->present) {
		EXPECT_SAME_PAGE();
		return;
	}
	EXPECT_EQ(0, wx_install(self->fd, POOL, 0, code, len, WXPOOL_PROT_XO));
	EXPECT_STAT_XO(self->fd, 2, 2, 0, 0, 1, 0);
	EXPECT_EQ(0, try_exec(self->xo, &val));
	EXPECT_EQ(98, val);
	EXPECT_EQ(SIGBUS, try_read(self->x));
}

/* A pool that is not alive has no pages, whatever is at the offset. */
TEST_F(state, protect_for_no_pool)
{
	EXPECT_POOL(self->fd, 3, WXPOOL_POOL_GONE, 0, 0);
	EXPECT_EQ(-ENOENT, wx_protect(self->fd, 3, 0, 1, WXPOOL_PROT_X));
	EXPECT_EQ(-ENOENT, wx_free(self->fd, 3));
	EXPECT_SAME_PAGE();
}

TEST_F(state, free_own_pool)
{
	struct wxpool_free arg;
	bool own = variant->present && variant->pool == POOL;

	EXPECT_POOL(self->fd, POOL, WXPOOL_POOL_LIVE, own ? 2 : 1, 0);
	EXPECT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(own ? 2 : 1, arg.pages_freed);
	EXPECT_EQ(0, arg.pages_kept);
	EXPECT_EQ(0, arg.lines_kept);
	EXPECT_EQ(-ENOENT, wx_free(self->fd, POOL));
	EXPECT_POOL(self->fd, POOL, WXPOOL_POOL_GONE, 0, 0);
	if (own || !variant->present) {
		EXPECT_STAT(self->fd, 1, 1, 0, 0, 0);
		EXPECT_EQ(SIGBUS, try_write(self->w, 1));
		EXPECT_EQ(SIGBUS, try_read(self->w));
		EXPECT_EQ(SIGBUS, try_exec(self->x, NULL));
		EXPECT_EQ(SIGBUS, try_exec(self->xo, NULL));
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
	uint32_t next, val;
	size_t i;

	EXPECT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_EQ(0, wx_free(self->fd, OTHER));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	for (next = WXPOOL_PROT_R; next <= WXPOOL_PROT_XO; next++) {
		ASSERT_EQ(0, wx_alloc(self->fd, 5, 0, 1));
		for (i = 0; i < PG(1); i++)
			ASSERT_EQ(0, self->w[i]);
		wx_emit(self->w, next);
		EXPECT_EQ(0, wx_protect(self->fd, 5, 0, 1, next));
		EXPECT_EQ(next == WXPOOL_PROT_XO ? SIGBUS : 0, try_read(self->r));
		EXPECT_EQ(next == WXPOOL_PROT_X ? 0 : SIGBUS,
			  try_exec(self->x, NULL));
		EXPECT_EQ(next == WXPOOL_PROT_R ? SIGBUS : 0,
			  try_exec(self->xo, &val));
		if (next != WXPOOL_PROT_R)
			EXPECT_EQ(next, val);
		EXPECT_EQ(0, wx_free(self->fd, 5));
	}
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
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
	struct wxpool_protect_range r[64];
	struct wxpool_alloc_range a[64];
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
			r[j] = wx_protect_range(j, 1, 1 + j % 3);
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
			a[j] = wx_alloc_range(300 + j, 1);
		a[pos].offset = PG(5);
		EXPECT_EQ(-EEXIST, wx_alloc_vec(self->fd, POOL, a, 64));
		EXPECT_EQ(-EEXIST, wx_alloc_vec(self->fd, 77, a, 64));
		EXPECT_POOL(self->fd, 77, WXPOOL_POOL_GONE, 0, 0);
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
	struct wxpool_alloc_range a[2];
	struct wxpool_protect_range r[2];
	char *w;

	a[0] = wx_alloc_range(0, 4);
	a[1] = wx_alloc_range(3, 4);
	EXPECT_EQ(-EEXIST, wx_alloc_vec(self->fd, POOL, a, 2));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_EQ(-ENOENT, wx_free(self->fd, POOL));

	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 7));
	r[0] = wx_protect_range(0, 4, WXPOOL_PROT_R);
	r[1] = wx_protect_range(3, 4, WXPOOL_PROT_X);
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
	struct wxpool_protect_range r[4];
	char *w, *x, *xo, *ro;
	uint32_t val;

	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 8));
	w = wx_view(self->fd, RW, 0, 8);
	x = wx_view(self->fd, RX, 0, 8);
	xo = wx_view(self->fd, XO, 0, 8);
	ro = wx_view(self->fd, PROT_READ, 0, 8);
	ASSERT_NE(MAP_FAILED, w);
	ASSERT_NE(MAP_FAILED, x);
	ASSERT_NE(MAP_FAILED, xo);
	ASSERT_NE(MAP_FAILED, ro);
	wx_emit_pages(w, 8, 40);
	r[0] = wx_protect_range(0, 2, WXPOOL_PROT_X);
	r[1] = wx_protect_range(5, 1, WXPOOL_PROT_R);
	r[2] = wx_protect_range(2, 1, WXPOOL_PROT_X);
	r[3] = wx_protect_range(6, 2, WXPOOL_PROT_XO);
	ASSERT_EQ(0, wx_protect_vec(self->fd, POOL, r, 4));
	EXPECT_STAT_XO(self->fd, 1, 2, 1, 3, 2, 0);
	EXPECT_EQ(0, try_exec(x + PG(2), &val));
	EXPECT_EQ(42, val);
	EXPECT_EQ(0, try_write(w + PG(3), 1));
	EXPECT_EQ(SIGBUS, try_read(x + PG(3)));
	EXPECT_EQ(SIGBUS, try_read(x + PG(5)));
	EXPECT_EQ(SIGBUS, try_read(x + PG(6)));
	EXPECT_EQ(0, try_read(ro + PG(5)));
	EXPECT_EQ(0, try_exec(xo + PG(7), &val));
	EXPECT_EQ(47, val);
	EXPECT_EQ(SIGBUS, try_exec(xo + PG(5), NULL));
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
	EXPECT_EQ(1, arg.pages_freed);
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

/* Several pools, of all kinds, in one FREE; the others are not touched. */
TEST_F(ctx, free_of_many)
{
	uint32_t pools[64], i;
	struct wxpool_free arg;
	uint32_t val;
	char *x;

	x = wx_view(self->fd, RX, 0, 256);
	ASSERT_NE(MAP_FAILED, x);
	/* A page of its own and a line of page 200, that all pools share */
	for (i = 0; i < 64; i++) {
		ASSERT_EQ(0, wx_make_code(self->fd, 1 + i, 2 * i, 100 + i));
		ASSERT_EQ(0, wx_install_code(self->fd, 1 + i,
					     PG(200) + i % PAGE_LINES * LINE, 500 + i));
	}
	EXPECT_STAT(self->fd, 64, 0, 0, 65, 0);
	/* Every second one, in no order */
	for (i = 0; i < 32; i++)
		pools[i] = 2 + 2 * (i * 13 % 32);
	ASSERT_EQ(0, wx_free_vec(self->fd, pools, 32, 0, &arg));
	EXPECT_EQ(32, arg.pages_freed);
	EXPECT_EQ(0, arg.pages_kept);
	EXPECT_EQ(0, arg.lines_kept);
	EXPECT_STAT(self->fd, 32, 0, 0, 33, 0);
	EXPECT_PACKED(self->fd, 1, 32, 0);
	for (i = 0; i < 64; i++) {
		bool gone = (1 + i) % 2 == 0;

		EXPECT_EQ(gone ? SIGBUS : 0, try_exec(x + PG(2 * i), &val));
		EXPECT_EQ(gone ? SIGTRAP : 0,
			  try_exec(x + PG(200) + i * LINE, &val));
		if (!gone)
			EXPECT_EQ(500 + i, val);
		EXPECT_POOL(self->fd, 1 + i,
			    gone ? WXPOOL_POOL_GONE : WXPOOL_POOL_LIVE, !gone, !gone);
	}
	/* The rest, with one that is gone: nothing; without it: all */
	for (i = 0; i < 32; i++)
		pools[i] = 1 + 2 * i;
	pools[32] = 2;
	EXPECT_EQ(-ENOENT, wx_free_many(self->fd, pools, 33));
	EXPECT_STAT(self->fd, 32, 0, 0, 33, 0);
	ASSERT_EQ(0, wx_free_vec(self->fd, pools, 32, 0, &arg));
	EXPECT_EQ(33, arg.pages_freed);
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_PACKED(self->fd, 0, 0, 0);
}

TEST_F(ctx, free_of_all)
{
	struct wxpool_free arg;
	struct wx_stat warm;
	uint32_t i, flags;
	char *x;

	x = wx_view(self->fd, RX, 0, 256);
	ASSERT_NE(MAP_FAILED, x);
	/* What a context needs once, it has from then on. */
	ASSERT_EQ(0, wx_make_code(self->fd, 1, 0, 1));
	ASSERT_EQ(0, wx_install_code(self->fd, 1, PG(200), 1));
	ASSERT_EQ(0, wx_free_all(self->fd, 0));
	warm = wx_stat(self->fd);
	for (flags = 0; flags <= WXPOOL_FREE_REVOKE; flags += WXPOOL_FREE_REVOKE) {
		for (i = 0; i < 100; i++) {
			ASSERT_EQ(0, wx_make_code(self->fd, 1 + i * 7919, i, i));
			ASSERT_EQ(0, wx_install_code(self->fd, 1 + i * 7919,
						     PG(200) + i * LINE, i));
		}
		ASSERT_EQ(0, wx_alloc(self->fd, 5, 150, 10));
		EXPECT_LT(warm.charged + PG(110), wx_stat(self->fd).charged);
		ASSERT_EQ(0, wx_free_vec(self->fd, NULL, 0,
					 WXPOOL_FREE_ALL | flags, &arg));
		EXPECT_EQ(110 + (100 + PAGE_LINES - 1) / PAGE_LINES, arg.pages_freed);
		EXPECT_EQ(0, arg.pages_kept);
		EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
		EXPECT_PACKED(self->fd, 0, 0, 0);
		EXPECT_EQ(warm.charged, wx_stat(self->fd).charged);
		for (i = 0; i < 100; i++) {
			EXPECT_EQ(SIGBUS, try_read(x + PG(i)));
			EXPECT_EQ(-ENOENT, wx_free(self->fd, 1 + i * 7919));
		}
		EXPECT_EQ(SIGBUS, try_read(x + PG(200)));
	}
	/* All of nothing is nothing. */
	EXPECT_EQ(0, wx_free_vec(self->fd, NULL, 0, WXPOOL_FREE_ALL, &arg));
	EXPECT_EQ(0, arg.pages_freed);
}

/* ------------------------------------------------------- views in place */

/* The operations map nothing and unmap nothing: views are mmap()'s affair. */
TEST_F(ctx, operations_map_nothing)
{
	char *w, *x;
	int nr;

	w = wx_view(self->fd, RW, 0, 4);
	x = wx_view(self->fd, RX, 0, 4);
	ASSERT_NE(MAP_FAILED, w);
	ASSERT_NE(MAP_FAILED, x);
	nr = wx_count_vmas(NULL, (void *)-1);
	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 8));
	ASSERT_EQ(0, wx_protect(self->fd, POOL, 0, 2, WXPOOL_PROT_X));
	ASSERT_EQ(0, wx_protect(self->fd, POOL, 4, 2, WXPOOL_PROT_R));
	ASSERT_EQ(0, wx_install_code(self->fd, POOL, PG(20), 1));
	EXPECT_EQ(nr, wx_count_vmas(NULL, (void *)-1));
	ASSERT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_EQ(nr, wx_count_vmas(NULL, (void *)-1));
	EXPECT_EQ(RW, wx_vma_prot(w));
	EXPECT_EQ(RX, wx_vma_prot(x));
}

TEST_F(ctx, in_place)
{
	uint32_t val;
	char *a = self->win + PG(10);

	/* What was there is replaced, and only that. */
	ASSERT_EQ(0, mprotect(self->win, PG(WIN_PAGES), RW));
	memset(self->win, 0xee, PG(20));
	ASSERT_EQ(0, wx_alloc_at(self->fd, POOL, 3, 3, a));
	EXPECT_EQ(RW, wx_vma_prot(a));
	EXPECT_EQ(0, a[0]);
	EXPECT_EQ(0xee, (unsigned char)a[-1]);
	EXPECT_EQ(0xee, (unsigned char)a[PG(3)]);
	wx_emit_pages(a, 3, 21);
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

	ASSERT_EQ(0, wx_protect_at(self->fd, POOL, 5, 1, WXPOOL_PROT_XO,
				   a + PG(2)));
	EXPECT_EQ(XO, wx_vma_prot(a + PG(2)));
	EXPECT_EQ(0, try_exec(a + PG(2), &val));
	EXPECT_EQ(23, val);
	EXPECT_EQ(SIGSEGV, try_write(a + PG(2), 0));
	EXPECT_EQ(0xee, (unsigned char)a[-1]);
	EXPECT_EQ(0xee, (unsigned char)a[PG(3)]);
}

/* A W view that stays where it was shows nothing of what is sealed. */
TEST_F(ctx, view_stays)
{
	ASSERT_EQ(0, wx_alloc_at(self->fd, POOL, 0, 2, self->win));
	memcpy(self->win, "data", 5);
	ASSERT_EQ(0, wx_protect(self->fd, POOL, 0, 1, WXPOOL_PROT_R));
	EXPECT_EQ(RW, wx_vma_prot(self->win));
	EXPECT_EQ(SIGBUS, try_read(self->win));
	EXPECT_EQ(SIGBUS, try_write(self->win, 1));
	EXPECT_EQ(0, try_write(self->win + PG(1), 1));
	ASSERT_EQ(0, wx_view_at(self->fd, PROT_READ, 0, 1, self->win));
	EXPECT_EQ(0, strcmp(self->win, "data"));
}

/* PROTECT's arguments lie in the very page that it seals. */
TEST_F(ctx, arguments_in_the_page)
{
	struct wxpool_protect_range *r = (void *)(self->win + 64);
	struct wxpool_protect *arg = (void *)(self->win + 128);
	char before[256];
	uint32_t val;

	ASSERT_EQ(0, wx_alloc_at(self->fd, POOL, 0, 1, self->win));
	wx_emit(self->win, 17);
	*r = wx_protect_range(0, 1, WXPOOL_PROT_X);
	*arg = (struct wxpool_protect) {
		.size = sizeof(*arg), .pool = POOL, .nr_ranges = 1,
		.ranges = (uintptr_t)r,
	};
	memcpy(before, self->win, sizeof(before));
	EXPECT_EQ(0, wx_ioctl(self->fd, WXPOOL_IOC_PROTECT, arg));
	EXPECT_STAT(self->fd, 1, 0, 0, 1, 0);
	ASSERT_EQ(0, wx_view_at(self->fd, RX, 0, 1, self->win));
	EXPECT_EQ(0, try_exec(self->win, &val));
	EXPECT_EQ(17, val);
	EXPECT_EQ(0, memcmp(before, self->win, sizeof(before)));
}

/* FREE's lie in the page that it frees: done, but it cannot say how much. */
TEST_F(ctx, results_in_the_page)
{
	struct wxpool_free *arg = (void *)(self->win + 128);
	uint32_t *pool = (void *)self->win;

	ASSERT_EQ(0, wx_alloc_at(self->fd, POOL, 0, 1, self->win));
	*pool = POOL;
	*arg = (struct wxpool_free) {
		.size = sizeof(*arg), .pools = (uintptr_t)pool, .nr_pools = 1,
	};
	EXPECT_EQ(-EFAULT, wx_ioctl(self->fd, WXPOOL_IOC_FREE, arg));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_EQ(SIGBUS, try_read(self->win));
	EXPECT_EQ(-ENOENT, wx_free(self->fd, POOL));
	EXPECT_EQ(0, wx_alloc(self->fd, POOL, 0, 1));
	EXPECT_EQ(0, self->win[128]);
}

/* INSTALL's source lies in a page that is open, or sealed, or its target. */
TEST_F(ctx, source_in_a_view)
{
	uint32_t val;
	char *x;

	x = wx_view(self->fd, RX, 0, 8);
	ASSERT_NE(MAP_FAILED, x);
	ASSERT_EQ(0, wx_alloc_at(self->fd, POOL, 0, 1, self->win));
	wx_emit(self->win, 18);
	EXPECT_EQ(0, wx_install(self->fd, POOL, PG(1), self->win, LINE,
				WXPOOL_PROT_X));
	EXPECT_EQ(0, try_exec(x + PG(1), &val));
	EXPECT_EQ(18, val);
	EXPECT_EQ(0, wx_install(self->fd, POOL, PG(1) + LINE, x + PG(1), LINE,
				WXPOOL_PROT_X));
	EXPECT_EQ(0, try_exec(x + PG(1) + LINE, &val));
	EXPECT_EQ(18, val);
	/* Traps, from the line that they are to be installed in */
	EXPECT_EQ(0, wx_install(self->fd, POOL, PG(1) + 2 * LINE,
				x + PG(1) + 2 * LINE, LINE, WXPOOL_PROT_X));
	EXPECT_TRUE(wx_is_fill(x + PG(1) + 2 * LINE, LINE, WXPOOL_PROT_X));
	/* A page that is not there yet has no bytes. */
	EXPECT_EQ(-EFAULT, wx_install(self->fd, POOL, PG(2), x + PG(2), LINE,
				      WXPOOL_PROT_X));
	EXPECT_PACKED(self->fd, 1, 3, 0);
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
	EXPECT_EQ(-EPERM, wx_try_mmap(fd, XO, MAP_SHARED, 0, 1));
	EXPECT_EQ(0, wx_try_mmap(fd, RW, MAP_SHARED, 0, 1));
	EXPECT_EQ(0, wx_try_mmap(fd, PROT_READ, MAP_SHARED, 0, 1));
	ASSERT_EQ(0, wx_alloc_at(fd, POOL, 0, 1, self->win));
	/* The refusal is mmap()'s: it is no less sealed. */
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

/* The same in the order that merges least, and with three kinds of pages */
TEST_F(ctx, seals_merge_in_any_order)
{
	const size_t nr = 402;
	size_t i, page;

	for (i = 0; i < nr; i++) {
		page = i * 175 % nr;
		ASSERT_EQ(0, wx_alloc_at(self->fd, 1 + i, page, 1,
					 self->win + PG(page)));
		wx_emit(self->win + PG(page), (uint32_t)page);
		ASSERT_EQ(0, wx_protect_at(self->fd, 1 + i, page, 1,
					   1 + page / (nr / 3),
					   self->win + PG(page)));
	}
	EXPECT_LE(wx_count_vmas(self->win, self->win + PG(nr)), 8);
	for (i = 0; i < nr; i++)
		ASSERT_EQ(i < nr / 3 ? SIGSEGV : 0,
			  try_exec(self->win + PG(i), NULL));
}

TEST_HARNESS_MAIN
