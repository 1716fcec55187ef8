// SPDX-License-Identifier: MIT
/* How requests share pages, with and without a reservation. */
#include "test.h"

#define NR(a)	(sizeof(a) / sizeof((a)[0]))

static uint64_t pages_held(struct wxp *w)
{
	struct wxp_stats s = stats_of(w);

	return s.pages_open + s.pages_r + s.pages_rx + s.pages_rw;
}

static uint64_t pages_needed(size_t bytes)
{
	return (bytes + PAGE - 1) / PAGE;
}

TEST(small_requests_share_a_page)
{
	struct wxp *w = open_default();
	int i;

	for (i = 0; i < 64; i++)
		must_alloc(w, 1, PAGE / 64, 0, WXP_RX);
	CHECK_EQ(pages_held(w), 1);
	CHECK_EQ(stats_of(w).bytes_lost, 0);
	must_alloc(w, 1, 1, 0, WXP_RX);
	CHECK_EQ(pages_held(w), 2);
	wxp_close(w);
}

TEST(protections_do_not_share_pages)
{
	struct wxp *w = open_default();
	uintptr_t a = (uintptr_t)must_alloc(w, 1, 8, 0, WXP_RX) / PAGE;
	uintptr_t b = (uintptr_t)must_alloc(w, 1, 8, 0, WXP_R) / PAGE;
	uintptr_t c = (uintptr_t)must_alloc(w, 1, 8, 0, WXP_RW) / PAGE;

	CHECK(a != b && b != c && a != c);
	wxp_close(w);
}

TEST(pools_do_not_share_pages)
{
	struct wxp *w = open_default();
	uintptr_t a = (uintptr_t)must_alloc(w, 1, 8, 0, WXP_RX) / PAGE;
	uintptr_t b = (uintptr_t)must_alloc(w, 2, 8, 0, WXP_RX) / PAGE;

	CHECK(a != b);
	wxp_close(w);
}

/* Less than a page is lost for each pool and protection, without a log too. */
TEST(interleaved_pools_lose_less_than_a_page)
{
	static const enum wxp_prot prots[] = { WXP_R, WXP_RW, WXP_RX };
	struct wxp *w = open_default();
	size_t bytes[16][3] = { 0 };
	uint64_t seed = 1, need = 0;
	uint32_t i, k, round;

	for (round = 0; round < 100; round++) {
		for (i = 0; i < 16; i++) {
			k = random_next(&seed) % 3;
			bytes[i][k] += 2112;
			must_alloc(w, i + 1, 2112, 64, prots[k]);
		}
	}
	for (i = 0; i < 16; i++)
		for (k = 0; k < 3; k++)
			need += pages_needed(bytes[i][k]);
	CHECK_EQ(pages_held(w), need);
	check_stats(w);
	wxp_close(w);
}

TEST(one_pool_fills_its_holes)
{
	struct wxp *w = open_default();
	int i;

	for (i = 0; i < 20; i++) {
		must_alloc(w, 1, 16, 16, WXP_R);
		must_alloc(w, 1, PAGE, PAGE, WXP_R);
	}
	CHECK_EQ(pages_held(w), 21);
	wxp_close(w);
}

TEST(growth_after_fragmentation)
{
	struct wxp *w = open_default();
	uint32_t i;

	/* One free page between any two pools. */
	for (i = 1; i <= 200; i++)
		must_alloc(w, i, PAGE, 0, WXP_RX);
	for (i = 1; i <= 200; i++)
		CHECK_EQ(wxp_protect(w, i), 0);
	for (i = 1; i <= 200; i += 2)
		CHECK_EQ(wxp_free(w, i), 0);
	for (i = 0; i < 100; i++)
		must_alloc(w, 1000, 2112, 64, WXP_RX);
	CHECK_EQ(pages_held(w), 100 + pages_needed(100 * 2112));
	wxp_close(w);
}

static const struct wxp_request module_log[] = {
	{ 3000, 16, WXP_RX }, { 5000, 16, WXP_RX }, { 100, 4096, WXP_RX },
	{ 700, 8, WXP_R }, { 700, 8, WXP_R }, { 64, 64, WXP_R }, { 3, 1, WXP_R },
	{ 2000, 32, WXP_RW }, { 2000, 0, WXP_RW }, { 1, 1, WXP_RW },
};

static void take(struct wxp *w, uint32_t pool, const struct wxp_request *r)
{
	memset(must_alloc(w, pool, r->size, r->align, r->prot), 0x33, r->size);
}

static void check_three_classes(struct wxp *w)
{
	CHECK_EQ(pages_held(w), pages_needed(8112) + 1 + 1);
	CHECK(stats_of(w).bytes_lost < 3 * PAGE);
}

TEST(reserve_exact)
{
	struct wxp *w = open_default();
	uint64_t calls;
	size_t i;

	CHECK_EQ(wxp_reserve(w, 1, module_log, NR(module_log)), 0);
	CHECK_EQ(stats_of(w).pools, 1);
	CHECK_EQ(stats_of(w).allocations, 0);
	calls = stats_of(w).syscalls;
	/* Grants code and read-only data, maps each, and maps more writable memory. */
	CHECK(!is_kernel(w) || calls <= 4);
	for (i = 0; i < NR(module_log); i++)
		take(w, 1, &module_log[i]);
	CHECK_EQ(stats_of(w).syscalls, calls);
	CHECK_EQ(stats_of(w).allocations, NR(module_log));
	check_three_classes(w);
	check_stats(w);
	wxp_close(w);
}

TEST(reserve_out_of_order)
{
	struct wxp *w = open_default();
	uint64_t calls;
	size_t i;

	CHECK_EQ(wxp_reserve(w, 1, module_log, NR(module_log)), 0);
	calls = stats_of(w).syscalls;
	for (i = NR(module_log); i--;)
		take(w, 1, &module_log[i]);
	CHECK_EQ(stats_of(w).syscalls, calls);
	check_three_classes(w);
	wxp_close(w);
}

/* What was logged and never asked for is sealed along, and freed with the rest. */
TEST(reserve_partly_used)
{
	struct wxp_request r[] = { { 10 * PAGE, 0, WXP_RX }, { CODE_SIZE, 0, WXP_RX } };
	struct wxp *w = open_default();
	char *p;

	CHECK_EQ(wxp_reserve(w, 1, r, 2), 0);
	p = must_alloc(w, 1, CODE_SIZE, 0, WXP_RX);
	code_write(p, 77);
	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK_EQ(code_run(p), 77);
	CHECK_EQ(stats_of(w).pages_rx, 11);
	CHECK_EQ(stats_of(w).pages_open, 0);
	/* Too late for the rest of the log: those pages are sealed. */
	p = must_alloc(w, 1, 10 * PAGE, 0, WXP_RX);
	CHECK(!store_faults(p));
	CHECK_EQ(stats_of(w).pages_open, 10);
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK_EQ(pages_held(w), 0);
	wxp_close(w);
}

TEST(reserved_writable_data_outlives_protect)
{
	struct wxp_request r[] = { { 100, 0, WXP_RW }, { 200, 0, WXP_RW }, { 16, 0, WXP_R } };
	struct wxp *w = open_default();

	CHECK_EQ(wxp_reserve(w, 1, r, 3), 0);
	must_alloc(w, 1, 100, 0, WXP_RW);
	CHECK_EQ(wxp_protect(w, 1), 0);
	must_alloc(w, 1, 200, 0, WXP_RW);
	CHECK_EQ(stats_of(w).pages_rw, 1);
	wxp_close(w);
}

TEST(reserve_nothing_used)
{
	struct wxp *w = open_default();

	CHECK_EQ(wxp_reserve(w, 1, module_log, NR(module_log)), 0);
	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK_EQ(stats_of(w).pages_open, 0);
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK_EQ(pages_held(w), 0);
	CHECK_EQ(wxp_reserve(w, 1, module_log, NR(module_log)), 0);
	wxp_close(w);
}

TEST(unmatched_requests_are_ordinary)
{
	struct wxp_request r = { 1000, 16, WXP_RX };
	struct wxp *w = open_default();
	char *p[4];
	int i, k;

	CHECK_EQ(wxp_reserve(w, 1, &r, 1), 0);
	p[0] = must_alloc(w, 1, 1000, 32, WXP_RX);
	p[1] = must_alloc(w, 1, 1001, 16, WXP_RX);
	p[2] = must_alloc(w, 1, 1000, 16, WXP_RX);
	p[3] = must_alloc(w, 1, 1000, 16, WXP_RX);
	must_alloc(w, 1, 1000, 16, WXP_R);
	for (i = 0; i < 4; i++)
		for (k = 0; k < i; k++)
			CHECK(labs(p[i] - p[k]) >= 1000);
	CHECK_EQ(pages_held(w), 2);
	wxp_close(w);
}

TEST(reserve_is_of_its_pool)
{
	struct wxp_request r = { 100, 0, WXP_RX };
	struct wxp *w = open_default();

	CHECK_EQ(wxp_reserve(w, 1, &r, 1), 0);
	must_alloc(w, 2, 100, 0, WXP_RX);
	CHECK_EQ(pages_held(w), 2);
	must_alloc(w, 1, 100, 0, WXP_RX);
	CHECK_EQ(pages_held(w), 2);
	wxp_close(w);
}

TEST(reserve_twice)
{
	struct wxp_request a = { 100, 0, WXP_RX }, b = { 200, 64, WXP_RX };
	struct wxp *w = open_default();
	char *p[3];

	CHECK_EQ(wxp_reserve(w, 1, &a, 1), 0);
	CHECK_EQ(wxp_reserve(w, 1, &b, 1), 0);
	CHECK_EQ(wxp_reserve(w, 1, &a, 1), 0);
	p[0] = must_alloc(w, 1, 100, 0, WXP_RX);
	p[1] = must_alloc(w, 1, 200, 64, WXP_RX);
	p[2] = must_alloc(w, 1, 100, 0, WXP_RX);
	CHECK(labs(p[0] - p[1]) >= 100 && labs(p[1] - p[2]) >= 100 && labs(p[0] - p[2]) >= 100);
	CHECK_EQ(pages_held(w), 1);
	wxp_close(w);
}

TEST(reserve_in_a_used_pool)
{
	struct wxp *w = open_default();
	char *p = must_alloc(w, 1, 100, 0, WXP_RX);

	memset(p, 1, 100);
	CHECK_EQ(wxp_reserve(w, 1, module_log, NR(module_log)), 0);
	take(w, 1, &module_log[0]);
	take(w, 1, &module_log[1]);
	take(w, 1, &module_log[2]);
	CHECK_EQ(p[0] + p[99], 2);
	/* The code page before the log is filled up, so it counts once. */
	CHECK(stats_of(w).bytes_lost < 5 * PAGE);
	check_stats(w);
	wxp_close(w);
}

TEST(reserve_bad_arguments)
{
	struct wxp_request good = { 100, 0, WXP_RX };
	struct wxp_request bad[][2] = {
		{ good, { 0, 0, WXP_RX } }, { good, { 1, 3, WXP_RX } },
		{ good, { 1, 2 * PAGE, WXP_RX } }, { good, { 1, 0, (enum wxp_prot)0 } },
		{ good, { 1, 0, (enum wxp_prot)9 } },
	};
	struct wxp *w = open_default();
	size_t i;

	for (i = 0; i < NR(bad); i++)
		CHECK_EQ(wxp_reserve(w, 1, bad[i], 2), -EINVAL);
	CHECK_EQ(wxp_reserve(w, 0, &good, 1), -EINVAL);
	CHECK_EQ(wxp_reserve(w, 1, NULL, 1), -EINVAL);
	CHECK_EQ(wxp_reserve(w, 1, &good, 0), -EINVAL);
	CHECK_EQ(stats_of(w).pools, 0);
	CHECK_EQ(stats_of(w).syscalls, 0);
	wxp_close(w);
}

TEST(reserve_too_large)
{
	struct wxp_request r[] = { { 64, 0, WXP_R }, { SIZE_MAX, 0, WXP_RX } };
	struct wxp *w = open_window(2 * MIB);
	struct wxp_request *many = calloc(5000, sizeof(*many));
	size_t i;

	CHECK_EQ(wxp_reserve(w, 1, r, 2), -ENOMEM);
	r[1].size = 2 * MIB;
	CHECK_EQ(wxp_reserve(w, 1, r, 2), -ENOMEM);
	r[1].size = 3 * MIB;
	CHECK_EQ(wxp_reserve(w, 1, r, 2), -ENOMEM);
	for (i = 0; i < 5000; i++)
		many[i] = (struct wxp_request){ 2 * MIB - 1, 1, WXP_RW };
	CHECK_EQ(wxp_reserve(w, 1, many, 5000), -ENOMEM);
	CHECK_EQ(wxp_reserve(w, 1, many, 2), -ENOMEM);
	CHECK_EQ(stats_of(w).pools, 0);
	CHECK_EQ(pages_held(w), 0);
	r[1].size = MIB;
	CHECK_EQ(wxp_reserve(w, 1, r, 2), 0);
	free(many);
	wxp_close(w);
}

/* All sums are right, none overlap, no call is made for a single one. */
TEST(reserve_thousands)
{
	static const enum wxp_prot prots[] = { WXP_R, WXP_RW, WXP_RX };
	enum { N = 6000 };
	struct wxp_request *r = calloc(N, sizeof(*r));
	struct wxp *w = open_default();
	uint64_t seed = 7, calls;
	char **p = calloc(N, sizeof(*p));
	size_t sum[3] = { 0 }, i, k;

	for (i = 0; i < N; i++) {
		k = random_next(&seed) % 3;
		r[i].size = 1 + random_next(&seed) % 500;
		r[i].align = (size_t)1 << random_next(&seed) % 7;
		r[i].prot = prots[k];
		sum[k] += (r[i].size + r[i].align - 1) & ~(r[i].align - 1);
	}
	CHECK_EQ(wxp_reserve(w, 1, r, N), 0);
	calls = stats_of(w).syscalls;
	for (i = N; i--;) {
		p[i] = must_alloc(w, 1, r[i].size, r[i].align, r[i].prot);
		CHECK(is_zero(p[i], r[i].size));
		memset(p[i], (int)(i % 255) + 1, r[i].size);
	}
	for (i = 0; i < N; i++) {
		CHECK_EQ((unsigned char)p[i][0], i % 255 + 1);
		CHECK_EQ((unsigned char)p[i][r[i].size - 1], i % 255 + 1);
	}
	CHECK_EQ(stats_of(w).syscalls, calls);
	CHECK(pages_held(w) <= pages_needed(sum[0]) + pages_needed(sum[1]) + pages_needed(sum[2]));
	free(p);
	free(r);
	wxp_close(w);
}

/* Strict alignments first: no padding but at the end. */
TEST(reserve_pads_least)
{
	struct wxp_request r[] = { { 16, 16, WXP_R }, { PAGE, PAGE, WXP_R }, { 16, 16, WXP_R },
				   { PAGE, PAGE, WXP_R }, { 1, 1, WXP_R }, { 64, 64, WXP_R } };
	struct wxp *w = open_default();

	CHECK_EQ(wxp_reserve(w, 1, r, NR(r)), 0);
	CHECK_EQ(pages_held(w), 3);
	wxp_close(w);
}
