// SPDX-License-Identifier: MIT
/* The window: what it holds, how full it gets, how few mappings it takes. */
#include "test.h"

static const enum wxp_prot prots[] = { WXP_R, WXP_RW, WXP_RX };

/* Allocates one page each until the window is full. Returns how many. */
static uint32_t fill_up(struct wxp *w, uint32_t first, enum wxp_prot prot)
{
	uint32_t i = first;
	void *p;
	int ret;

	while (!(ret = wxp_alloc(w, i, PAGE, 0, prot, &p)))
		i++;
	CHECK_EQ(ret, -ENOMEM);
	return i - first;
}

TEST(full_window_can_be_used_again)
{
	uint32_t pages = 512, i;
	struct wxp *w = open_window(pages * PAGE);
	struct wxp_stats before, after;
	int k;
	void *p;

	for (k = 0; k < 3; k++) {
		CHECK_EQ(fill_up(w, 1, prots[k]), pages);
		before = stats_of(w);
		for (i = 0; i < 3; i++)
			CHECK_EQ(wxp_alloc(w, pages + 1, 1, 0, prots[i], &p), -ENOMEM);
		after = stats_of(w);
		check_same_stats(&before, &after);
		CHECK_EQ(wxp_free(w, 100), 0);
		must_alloc(w, 100, 1, 0, prots[k]);
		for (i = 1; i <= pages; i++)
			CHECK_EQ(wxp_free(w, i), 0);
		CHECK_EQ(stats_of(w).pools, 0);
	}
	wxp_close(w);
}

TEST(full_window_of_all_kinds)
{
	struct wxp *w = open_window(4 * MIB);
	uint64_t pages = 4 * MIB / PAGE;
	uint32_t nr = 0, left = 3, i;
	struct wxp_stats s;
	void *p;

	while (left) {
		left = 0;
		for (i = 0; i < 3; i++)
			left += !wxp_alloc(w, ++nr, PAGE, 0, prots[i], &p);
	}
	s = stats_of(w);
	CHECK_EQ(s.pages_open + s.pages_rw, pages);
	wxp_close(w);
}

TEST(room_to_grow_is_given_up_when_needed)
{
	struct wxp *w = open_window(1024 * PAGE);
	uint32_t i;

	for (i = 1; i <= 10; i++)
		must_alloc(w, i, 16, 0, WXP_RX);
	must_alloc(w, 11, 1024 * PAGE - 10 * PAGE - 256 * PAGE, 0, WXP_RX);
	CHECK_EQ(fill_up(w, 12, WXP_RX), 256);
	wxp_close(w);
}

TEST(whole_window_in_one)
{
	struct wxp *w = open_window(8 * MIB);
	int i, round;
	void *p;

	for (round = 0; round < 2; round++) {
		for (i = 0; i < 3; i++) {
			char *q = must_alloc(w, 1, 8 * MIB, PAGE, prots[i]);

			CHECK(is_zero(q, 8 * MIB));
			q[0] = q[8 * MIB - 1] = 1;
			CHECK_EQ(wxp_alloc(w, 2, 1, 0, WXP_RX, &p), -ENOMEM);
			CHECK_EQ(wxp_protect(w, 1), 0);
			CHECK_EQ(wxp_free(w, 1), 0);
		}
	}
	CHECK_EQ(wxp_alloc(w, 1, 8 * MIB + 1, 0, WXP_RW, &p), -ENOMEM);
	wxp_close(w);
}

TEST(failed_reserve_keeps_nothing)
{
	struct wxp_request r[] = { { MIB, 0, WXP_RX }, { MIB, 0, WXP_R }, { MIB, 0, WXP_RW } };
	struct wxp *w = open_window(4 * MIB);
	struct wxp_stats before, after;

	must_alloc(w, 1, 3 * MIB / 2, 0, WXP_RX);
	before = stats_of(w);
	CHECK_EQ(wxp_reserve(w, 2, r, 3), -ENOMEM);
	CHECK_EQ(wxp_reserve(w, 1, r, 3), -ENOMEM);
	after = stats_of(w);
	check_same_stats(&before, &after);
	CHECK_EQ(wxp_reserve(w, 2, r, 2), 0);
	wxp_close(w);
}

static void load(struct wxp *w, uint32_t pool)
{
	code_write(must_alloc(w, pool, CODE_SIZE, 0, WXP_RX), pool);
	*(uint32_t *)must_alloc(w, pool, 4, 0, WXP_R) = pool;
	*(uint32_t *)must_alloc(w, pool, 4, 0, WXP_RW) = pool;
}

#define MANY	1000u

TEST(thousand_pools_few_mappings)
{
	struct wxp *w = open_default();
	uint32_t i;

	for (i = 1; i <= MANY; i++) {
		load(w, i);
		CHECK_EQ(wxp_protect(w, i), 0);
	}
	CHECK_EQ(stats_of(w).pages_rx, MANY);
	CHECK_EQ(stats_of(w).pages_r, MANY);
	CHECK(stats_of(w).vmas <= 8);
	wxp_close(w);
}

TEST(thousand_open_pools_few_mappings)
{
	struct wxp *w = open_default();
	uint32_t i;

	for (i = 1; i <= MANY; i++)
		load(w, i);
	CHECK_EQ(stats_of(w).pages_open, 2 * MANY);
	/* The device's writable views do not merge, but those of sealed pages do. */
	CHECK(!is_kernel(w) || stats_of(w).vmas <= 2 * MANY + 8);
	for (i = MANY; i; i--)
		CHECK_EQ(wxp_protect(w, i), 0);
	/* Anonymous mappings that began apart do not merge. */
	CHECK(stats_of(w).vmas <= (is_portable(w) ? 400 : 8));
	for (i = 1; i <= MANY; i++)
		CHECK_EQ(wxp_free(w, i), 0);
	CHECK_EQ(stats_of(w).pools, 0);
	check_stats(w);
	wxp_close(w);
}

TEST(churn_does_not_scatter)
{
	uint32_t live[200] = { 0 }, next = 1, i, k;
	struct wxp *w = open_default();
	uint64_t seed = 3;

	for (i = 0; i < 4000; i++) {
		k = random_next(&seed) % 200;
		if (live[k])
			CHECK_EQ(wxp_free(w, live[k]), 0);
		live[k] = next++;
		load(w, live[k]);
		CHECK_EQ(wxp_protect(w, live[k]), 0);
	}
	CHECK(stats_of(w).vmas <= 4 * 200);
	check_stats(w);
	wxp_close(w);
}

TEST(tens_of_thousands_of_pools)
{
	uint32_t nr = under_valgrind() || sanitized() ? 5000 : 20000, i;
	struct wxp *w = open_window(2048 * MIB);
	void **p = calloc(nr + 1, sizeof(*p));

	for (i = 1; i <= nr; i++) {
		p[i] = must_alloc(w, i, CODE_SIZE, 0, WXP_RX);
		code_write(p[i], i);
		CHECK_EQ(wxp_protect(w, i), 0);
	}
	for (i = 1; i <= nr; i += 3)
		CHECK_EQ(wxp_free(w, i), 0);
	for (i = 2; i <= nr; i += 3)
		CHECK_EQ(code_run(p[i]), i);
	check_stats(w);
	free(p);
	wxp_close(w);
}

/* Code and data are in reach of each other's 32-bit relative addresses. */
TEST(all_within_reach)
{
	struct wxp *w = open_window(2048 * MIB);
	intptr_t p[3];
	int i;

	for (i = 0; i < 3; i++)
		p[i] = (intptr_t)must_alloc(w, 1, 64, 0, prots[i]);
	for (i = 0; i < 3; i++) {
		intptr_t d = p[i] - p[(i + 1) % 3];

		CHECK(d == (int32_t)d);
	}
	wxp_close(w);
}
