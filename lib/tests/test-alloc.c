// SPDX-License-Identifier: MIT
/*
 * Memory that is written in place: allocation, protection and freeing, one call at a
 * time. Each test is run in both kinds of context, with two addresses and with one.
 */
#include <fcntl.h>
#include <sys/mman.h>

#include "test.h"

#define NR(a)	(sizeof(a) / sizeof((a)[0]))

#define TEST_BOTH(name)							\
	static void name(struct wxp *w);				\
	static void name##_in(unsigned int flags)			\
	{								\
		struct wxp *w = open_flags(flags);			\
									\
		name(w);						\
		check_stats(w);						\
		wxp_close(w);						\
	}								\
	TEST(name##_two_addresses)					\
	{								\
		name##_in(0);						\
	}								\
	TEST(name##_one_address)					\
	{								\
		name##_in(WXP_ONE_ADDRESS);				\
	}								\
	static void name(struct wxp *w)

static const enum wxp_prot prots[] = { WXP_R, WXP_RX, WXP_RW };

static bool has_one_address(struct wxp *w)
{
	return is_fast(w) || wxp_get_flags(w) & WXP_ONE_ADDRESS;
}

static size_t up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

static char *page_of(const void *p)
{
	return (char *)((uintptr_t)p / PAGE * PAGE);
}

/* Code in place that returns @value */
static struct wxp_mem must_write(struct wxp *w, uint32_t pool, uint32_t value)
{
	struct wxp_mem m = must_alloc(w, pool, CODE_SIZE, 0, WXP_RX);

	code_write(m.write, value);
	return m;
}

static void check_all_free(struct wxp *w)
{
	struct wxp_stats s = stats_of(w, 0);
	size_t window;
	void *base;

	wxp_get_window(w, &base, &window);
	CHECK_EQ(s.pools + s.installed + s.open + s.sealed, 0);
	CHECK_EQ(s.free, window);
}

TEST_BOTH(memory_is_zeroed_and_writable)
{
	struct wxp_mem m;
	size_t i;

	for (i = 0; i < 3; i++) {
		m = must_alloc(w, 1, 10000, 0, prots[i]);
		CHECK(is_zero(m.write, 10000));
		memset(m.write, 0x5a, 10000);
		CHECK_EQ(((char *)m.write)[9999], 0x5a);
		check_stats(w);
	}
}

/* The W view is outside of the window, all of it as far away. */
TEST_BOTH(distance_is_constant)
{
	struct wxp_mem m = must_alloc(w, 1, 1, 0, WXP_RX);
	uintptr_t distance = (uintptr_t)m.write - (uintptr_t)m.addr, base;
	uint64_t seed = 5;
	size_t window, i;

	wxp_get_window(w, (void **)&base, &window);
	CHECK_EQ(!distance, has_one_address(w));
	for (i = 0; i < 300; i++) {
		m = must_alloc(w, 1 + random_next(&seed) % 20, 1 + random_next(&seed) % 20000, 0,
			       prots[i % 2]);
		CHECK((uintptr_t)m.write - (uintptr_t)m.addr == distance);
		CHECK_EQ((uintptr_t)m.write - base < window, !distance);
		if (i % 10 == 9)
			CHECK_EQ(wxp_protect(w, 1 + random_next(&seed) % 20) % ENOENT, 0);
	}
}

TEST_BOTH(code_runs_and_is_read_only)
{
	struct wxp_mem m = must_write(w, 1, 42);

	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK_EQ(code_run(m.addr), 42);
	CHECK(!load_faults(m.addr));
	CHECK_EQ(!store_faults(m.addr), is_fast(w));
	if (is_kernel(w))
		CHECK(store_faults(m.write));
	CHECK_EQ(code_run(m.addr), 42);
}

TEST_BOTH(constants_are_read_only)
{
	struct wxp_mem m = must_alloc(w, 1, CODE_SIZE, 0, WXP_R);

	code_write(m.write, 42);
	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK(!load_faults(m.addr));
	CHECK_EQ(!store_faults(m.addr), is_fast(w));
	CHECK_EQ(!run_faults(m.addr), is_fast(w));
	if (is_kernel(w))
		CHECK(store_faults(m.write));
}

TEST_BOTH(open_code_does_not_run)
{
	struct wxp_mem m = must_write(w, 1, 42);

	CHECK(!store_faults(m.write));
	/* Elsewhere it is a hole in a file that can run. */
	if (is_kernel(w) || has_one_address(w))
		CHECK_EQ(!run_faults(m.addr), is_fast(w));
	if (!has_one_address(w))
		CHECK(run_faults(m.write) && store_faults(m.addr));
}

TEST_BOTH(variables_never_run)
{
	struct wxp_mem m = must_alloc(w, 1, CODE_SIZE, 0, WXP_RW);

	code_write(m.write, 42);
	CHECK(run_faults(m.addr));
	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK(!store_faults(m.addr));
	CHECK(run_faults(m.addr));
}

static void check_traps(const char *p, const char *end)
{
	p += -(uintptr_t)p % 4;
	for (; p + 4 <= end; p += 4)
		CHECK(!memcmp(p, CODE_TRAP, 4));
}

/* The gaps between allocations, and what is reserved and not used */
TEST_BOTH(unwritten_code_is_traps)
{
	struct wxp_request r[] = { { 64, 64, WXP_RX }, { 100, 0, WXP_RX },
				   { 3 * PAGE, 0, WXP_RX } };
	char *a, *b, *base;
	struct wxp_mem m;

	CHECK_EQ(wxp_reserve(w, 1, r, 3), 0);
	m = must_alloc(w, 1, 64, 64, WXP_RX);
	a = m.addr;
	base = page_of(a);
	CHECK(is_zero(m.write, 64));
	m = must_alloc(w, 1, 100, 1024, WXP_RX);
	b = m.addr;
	CHECK(is_zero(m.write, 100));
	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK_EQ(stats_of(w, 1).sealed, 4 * PAGE);
	CHECK(is_zero(a, 64) && is_zero(b, 100));
	CHECK(b >= a + 64 && b + 100 <= base + 4 * PAGE);
	check_traps(base, a);
	check_traps(a + 64, b);
	check_traps(b + 100, base + 4 * PAGE);
}

static void alloc_with_gaps(struct wxp *w, uint64_t *seed, char *used, const char *base)
{
	enum { N = 60 };
	struct wxp_request r[N];
	struct wxp_mem m;
	size_t i, size;

	for (i = 0; i < N; i++)
		r[i] = (struct wxp_request){ 1 + random_next(seed) % 700,
					     (size_t)1 << random_next(seed) % 10, WXP_RX };
	CHECK_EQ(wxp_reserve(w, 1, r, N), 0);
	for (i = 0; i < N; i++) {
		if (i % 5 == 4)
			continue;
		size = r[i].size + (i % 7 == 6);
		m = must_alloc(w, 1, size, r[i].align, WXP_RX);
		CHECK(is_zero(m.write, size));
		memset(m.write, 0x90, size);
		memset(used + ((char *)m.addr - base), 1, size);
	}
}

/* With all ways to leave gaps: all words of the pool's pages of code that nobody has */
TEST_BOTH(all_gaps_of_code_are_traps)
{
	uint64_t seed = 17, sealed = 0;
	size_t window, i, k;
	char *base, *used;

	wxp_get_window(w, (void **)&base, &window);
	used = mmap(NULL, window, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(used != MAP_FAILED);
	for (k = 0; k < 6; k++) {
		alloc_with_gaps(w, &seed, used, base);
		must_alloc(w, 2, 1, 0, WXP_RX);
		if (k % 2)
			CHECK_EQ(wxp_protect(w, 1), 0);
	}
	for (i = 0; i < window; i += PAGE) {
		if (wxp_pool_of(w, base + i) != 1)
			continue;
		sealed += PAGE;
		for (k = i; k < i + PAGE; k += 4)
			if (is_zero(used + k, 4))
				check_traps(base + k, base + k + 4);
	}
	CHECK(sealed);
	CHECK_EQ(stats_of(w, 1).sealed, sealed);
	munmap(used, window);
}

static bool overlap(const void *a, size_t a_size, const void *b, size_t b_size)
{
	return (uintptr_t)a < (uintptr_t)b + b_size && (uintptr_t)b < (uintptr_t)a + a_size;
}

TEST_BOTH(alignments)
{
	struct wxp_mem m, all[3 * 44];
	size_t align, nr = 0, i, k;

	for (i = 0; i < 3; i++) {
		for (align = 1; align <= WXP_MAX_ALIGN; align *= 2)
			all[nr++] = must_alloc(w, 1, 33, align, prots[i]);
		for (align = WXP_MAX_ALIGN; align; align /= 2)
			all[nr++] = must_alloc(w, 1, 33, align, prots[i]);
		m = must_alloc(w, 2, 33, 0, prots[i]);
		CHECK_EQ((uintptr_t)m.addr % 16, 0);
	}
	CHECK_EQ(nr, NR(all));
	for (i = 0; i < nr; i++)
		for (k = 0; k < i; k++)
			CHECK(!overlap(all[i].addr, 33, all[k].addr, 33));
}

TEST_BOTH(sizes)
{
	size_t list[] = { 1, PAGE - 1, PAGE, PAGE + 1, 5 * MIB, 40 * MIB + 1 }, i, k;
	struct wxp_mem m;

	for (i = 0; i < NR(list); i++) {
		for (k = 0; k < 3; k++) {
			m = must_alloc(w, 1 + (uint32_t)k, list[i], 0, prots[k]);
			((char *)m.write)[0] = 1;
			((char *)m.write)[list[i] - 1] = 2;
		}
	}
}

/* Refused, with nothing changed */
static void refused(struct wxp *w, uint32_t pool, size_t size, size_t align, enum wxp_prot prot,
		    int err)
{
	struct wxp_stats before = stats_of(w, 0), after;
	struct wxp_mem m = { &before, &after };

	CHECK_EQ(wxp_alloc(w, pool, size, align, prot, &m), err);
	CHECK(m.addr == &before && m.write == &after);
	after = stats_of(w, 0);
	check_same_stats(&before, &after);
}

static void misuse(struct wxp *w, uint32_t pool)
{
	static const size_t aligns[] = { 3, 24, 48, WXP_MAX_ALIGN + 1, 2 * WXP_MAX_ALIGN,
					 SIZE_MAX, ~(SIZE_MAX / 2) };
	static const int wrong[] = { 0, 1, 3, 4, 5, 0x10, 0x12, 0x14, 0x16, 0x17, -1 };
	size_t i, k;

	for (k = 0; k < 3; k++) {
		for (i = 0; i < NR(aligns); i++)
			refused(w, pool, 1, aligns[i], prots[k], -EINVAL);
		refused(w, pool, 0, 0, prots[k], -EINVAL);
		refused(w, 0, 1, 0, prots[k], -EINVAL);
	}
	for (i = 0; i < NR(wrong); i++)
		refused(w, pool, 1, 0, (enum wxp_prot)wrong[i], -EINVAL);
	CHECK_EQ(wxp_alloc(w, pool, 1, 0, WXP_R, NULL), -EINVAL);
	CHECK_EQ(wxp_protect(w, 0), -EINVAL);
	CHECK_EQ(wxp_free(w, 0), -EINVAL);
	CHECK_EQ(wxp_protect(w, pool + 1), -ENOENT);
	CHECK_EQ(wxp_free(w, pool + 1), -ENOENT);
}

TEST_BOTH(misuse_changes_nothing)
{
	struct wxp_mem m;

	misuse(w, 1);
	check_all_free(w);
	m = must_write(w, 1, 8);
	misuse(w, 1);
	CHECK(!store_faults(m.write));
	CHECK_EQ(wxp_protect(w, 1), 0);
	misuse(w, 1);
	CHECK_EQ(code_run(m.addr), 8);
}

TEST_BOTH(sizes_beyond_reason)
{
	static const size_t list[] = { SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 65536, SIZE_MAX / 2,
				       SIZE_MAX / 2 + 1, 512 * MIB + 1, 1025 * MIB, 2048 * MIB,
				       (size_t)1 << 32, ((size_t)1 << 38) + 1, (size_t)1 << 44 };
	size_t i, k;

	for (i = 0; i < NR(list); i++) {
		for (k = 0; k < 3; k++) {
			refused(w, 1, list[i], 0, prots[k], -ENOMEM);
			refused(w, 1, list[i], WXP_MAX_ALIGN, prots[k], -ENOMEM);
		}
	}
	check_all_free(w);
	must_alloc(w, 1, 1, 0, WXP_RX);
	for (i = 0; i < NR(list); i++)
		refused(w, 1, list[i], 0, WXP_RX, -ENOMEM);
}

/* A page holds as many as it has room for, and the next one is right behind it. */
static void fill_page(struct wxp *w, enum wxp_prot prot)
{
	char *first = must_alloc(w, 1, PAGE / 64, 0, prot).addr;
	int i;

	CHECK_EQ((uintptr_t)first % PAGE, 0);
	for (i = 1; i < 64; i++)
		CHECK(must_alloc(w, 1, PAGE / 64, 0, prot).addr == first + (size_t)i * PAGE / 64);
	CHECK_EQ(stats_of(w, 1).open, PAGE);
	CHECK(must_alloc(w, 1, 1, 0, prot).addr == first + PAGE);
	CHECK_EQ(stats_of(w, 1).open, 2 * PAGE);
	CHECK(must_alloc(w, 1, 2 * PAGE, 0, prot).addr == first + PAGE + 16);
	CHECK_EQ(stats_of(w, 1).open, 4 * PAGE);
	CHECK_EQ(wxp_free(w, 1), 0);
}

TEST_BOTH(small_allocations_share_pages)
{
	fill_page(w, WXP_R);
	fill_page(w, WXP_RX);
}

TEST_BOTH(open_memory_grows_in_place)
{
	size_t sum[2] = { 0, 0 }, size;
	char *next[2] = { NULL, NULL };
	uint64_t seed = 9;
	struct wxp_mem m;
	int i, k;

	for (i = 0; i < 600; i++) {
		k = i % 2;
		size = 1 + random_next(&seed) % 3000;
		m = must_alloc(w, 1, size, 0, prots[k]);
		CHECK(!next[k] || m.addr == next[k]);
		next[k] = (char *)m.addr + up(size, 16);
		sum[k] += up(size, 16);
	}
	CHECK_EQ(stats_of(w, 1).constants, up(sum[0], PAGE));
	CHECK_EQ(stats_of(w, 1).code, up(sum[1], PAGE));
	CHECK_EQ(stats_of(w, 1).open, up(sum[0], PAGE) + up(sum[1], PAGE));
}

TEST_BOTH(pages_are_not_shared)
{
	char *p[6];
	int i, k;

	for (i = 0; i < 6; i++)
		p[i] = page_of(must_alloc(w, 1 + (uint32_t)i / 3, 8, 0, prots[i % 3]).addr);
	for (i = 0; i < 6; i++)
		for (k = 0; k < i; k++)
			CHECK(p[i] != p[k] || (i % 3 == 2 && k % 3 == 2));
}

TEST_BOTH(variables_take_lines)
{
	char *a = must_alloc(w, 1, 1, 0, WXP_RW).addr, *b = must_alloc(w, 2, 65, 0, WXP_RW).addr;

	CHECK_EQ((uintptr_t)a % WXP_LINE, 0);
	CHECK(!overlap(a, WXP_LINE, b, 2 * WXP_LINE));
	CHECK(page_of(a) == page_of(b));
	CHECK_EQ(stats_of(w, 1).variables, WXP_LINE);
	CHECK_EQ(stats_of(w, 2).variables, 2 * WXP_LINE);
	CHECK_EQ(stats_of(w, 0).variables, 3 * WXP_LINE);
	CHECK_EQ(stats_of(w, 0).open, 0);
}

static const struct wxp_request module[] = {
	{ 3000, 16, WXP_RX }, { 5000, 16, WXP_RX }, { 100, 4096, WXP_RX },
	{ 700, 8, WXP_R }, { 700, 8, WXP_R }, { 64, 64, WXP_R }, { 3, 1, WXP_R },
	{ 2000, 32, WXP_RW }, { 2000, 0, WXP_RW }, { 1, 1, WXP_RW },
};

static void take(struct wxp *w, uint32_t pool, const struct wxp_request *r)
{
	memset(must_alloc(w, pool, r->size, r->align, r->prot).write, 0x33, r->size);
}

static void take_reserved(struct wxp *w, uint32_t pool, const struct wxp_request *r, size_t nr,
			  uint64_t *seed)
{
	uint64_t open = stats_of(w, pool).open;
	size_t order[64], i, k, n;

	for (i = 0; i < nr; i++) {
		k = random_next(seed) % (i + 1);
		order[i] = order[k];
		order[k] = i;
	}
	for (n = 0; n < nr; n++)
		take(w, pool, &r[order[n]]);
	CHECK_EQ(stats_of(w, pool).open, open);
}

TEST_BOTH(reserved_memory_fits_in_any_order)
{
	uint64_t seed = 1;
	uint32_t i;

	for (i = 1; i <= 100; i++) {
		CHECK_EQ(wxp_reserve(w, i, module, NR(module)), 0);
		CHECK_EQ(stats_of(w, i).open,
			 up(8112 + 4080, PAGE) + up(704 + 704 + 64 + 48 + 16, PAGE));
		CHECK_EQ(stats_of(w, i).variables, 0);
		take_reserved(w, i, module, NR(module), &seed);
		if (i % 2)
			CHECK_EQ(wxp_protect(w, i), 0);
		if (i % 3)
			CHECK_EQ(wxp_free(w, i), 0);
	}
}

/* Also in a pool that has some open memory, or sealed, or both. */
TEST_BOTH(reserve_of_random_sizes)
{
	struct wxp_request r[50];
	uint64_t seed = 3;
	uint32_t i, k;

	for (i = 0; i < 60; i++) {
		for (k = 0; k < NR(r); k++)
			r[k] = (struct wxp_request){ 1 + random_next(&seed) % 900,
						     random_next(&seed) % 12 ?
						     (size_t)1 << random_next(&seed) % 14 : 0,
						     prots[random_next(&seed) % 2] };
		CHECK_EQ(wxp_reserve(w, 1 + i % 4, r, NR(r)), 0);
		take_reserved(w, 1 + i % 4, r, NR(r), &seed);
		if (random_next(&seed) % 3 == 0)
			CHECK_EQ(wxp_protect(w, 1 + i % 4), 0);
		if (random_next(&seed) % 8 == 0)
			CHECK_EQ(wxp_free(w, 1 + i % 4), 0);
	}
}

static void check_contents(struct wxp_mem *m, const struct wxp_request *r, size_t nr, bool sealed)
{
	const unsigned char *p;
	size_t i;

	for (i = 0; i < nr; i++) {
		p = sealed ? m[i].addr : m[i].write;
		CHECK_EQ(p[0], i % 255 + 1);
		CHECK_EQ(p[r[i].size / 2], i % 255 + 1);
		CHECK_EQ(p[r[i].size - 1], i % 255 + 1);
	}
}

/* None overlap, and sealing moves their contents to where they run. */
TEST_BOTH(reserve_thousands)
{
	enum { N = 6000 };
	struct wxp_request *r = calloc(N, sizeof(*r));
	struct wxp_mem *m = calloc(N, sizeof(*m));
	uint64_t seed = 7, open;
	size_t i;

	for (i = 0; i < N; i++)
		r[i] = (struct wxp_request){ 1 + random_next(&seed) % 500,
					     (size_t)1 << random_next(&seed) % 7,
					     prots[random_next(&seed) % 3] };
	CHECK_EQ(wxp_reserve(w, 1, r, N), 0);
	open = stats_of(w, 1).open;
	for (i = N; i--;) {
		m[i] = must_alloc(w, 1, r[i].size, r[i].align, r[i].prot);
		CHECK(is_zero(m[i].write, r[i].size));
		memset(m[i].write, (int)(i % 255) + 1, r[i].size);
	}
	CHECK_EQ(stats_of(w, 1).open, open);
	check_contents(m, r, N, false);
	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK_EQ(stats_of(w, 1).sealed, open);
	check_contents(m, r, N, true);
	free(m);
	free(r);
}

/* What was reserved and never asked for is sealed along, and freed with the rest. */
TEST_BOTH(reserve_partly_used)
{
	struct wxp_request r[] = { { 10 * PAGE, 0, WXP_RX }, { CODE_SIZE, 0, WXP_RX } };
	struct wxp_mem m;

	CHECK_EQ(wxp_reserve(w, 1, r, 2), 0);
	m = must_write(w, 1, 77);
	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK_EQ(code_run(m.addr), 77);
	CHECK_EQ(stats_of(w, 0).sealed, 11 * PAGE);
	CHECK_EQ(stats_of(w, 0).open, 0);
	/* Too late for what is left of it: those pages are sealed. */
	m = must_alloc(w, 1, 10 * PAGE, 0, WXP_RX);
	CHECK(!store_faults(m.write));
	CHECK_EQ(stats_of(w, 0).open, 10 * PAGE);
	CHECK_EQ(wxp_free(w, 1), 0);
	check_all_free(w);
}

TEST_BOTH(reserve_nothing_used)
{
	struct wxp_request variables = { 100, 0, WXP_RW };

	CHECK_EQ(wxp_reserve(w, 1, &variables, 1), 0);
	check_all_free(w);
	CHECK_EQ(wxp_reserve(w, 1, module, NR(module)), 0);
	CHECK_EQ(stats_of(w, 0).pools, 1);
	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK_EQ(stats_of(w, 0).open, 0);
	CHECK_EQ(wxp_free(w, 1), 0);
	check_all_free(w);
	CHECK_EQ(wxp_reserve(w, 1, module, NR(module)), 0);
	CHECK_EQ(wxp_free(w, 1), 0);
	check_all_free(w);
}

TEST_BOTH(reserve_is_of_its_pool)
{
	struct wxp_request r = { PAGE, 0, WXP_RX };

	CHECK_EQ(wxp_reserve(w, 1, &r, 1), 0);
	must_alloc(w, 2, 100, 0, WXP_RX);
	CHECK_EQ(stats_of(w, 2).open, PAGE);
	must_alloc(w, 1, PAGE, 0, WXP_RX);
	CHECK_EQ(stats_of(w, 1).open, PAGE);
}

TEST_BOTH(reserve_misuse)
{
	struct wxp_request good = { 100, 0, WXP_RX };
	struct wxp_request bad[][2] = {
		{ good, { 0, 0, WXP_RX } }, { good, { 1, 3, WXP_RX } }, { good, { 1, 3, WXP_RW } },
		{ good, { 1, 2 * WXP_MAX_ALIGN, WXP_RX } }, { good, { 1, 0, (enum wxp_prot)0 } },
		{ good, { 1, 0, (enum wxp_prot)0x12 } }, { good, { 0, 0, WXP_RW } },
	};
	size_t i;

	for (i = 0; i < NR(bad); i++)
		CHECK_EQ(wxp_reserve(w, 1, bad[i], 2), -EINVAL);
	CHECK_EQ(wxp_reserve(w, 0, &good, 1), -EINVAL);
	CHECK_EQ(wxp_reserve(w, 1, NULL, 1), -EINVAL);
	CHECK_EQ(wxp_reserve(w, 1, &good, 0), -EINVAL);
	check_all_free(w);
}

TEST_BOTH(reserve_too_large)
{
	static const size_t list[] = { SIZE_MAX, SIZE_MAX / 2 + 1, (size_t)1 << 32, 2048 * MIB,
				       512 * MIB + 1, 512 * MIB };
	struct wxp_request r[] = { { 64, 0, WXP_R }, { 64, 0, WXP_RX }, { 64, 0, WXP_RX } };
	struct wxp_request *many = calloc(5000, sizeof(*many));
	size_t i;

	for (i = 0; i < NR(list); i++) {
		r[2].size = list[i];
		CHECK_EQ(wxp_reserve(w, 1, r, 3), -ENOMEM);
	}
	for (i = 0; i < 5000; i++)
		many[i] = (struct wxp_request){ 2048 * MIB, 1, WXP_R };
	for (i = 2; i <= 5000; i += 714)
		CHECK_EQ(wxp_reserve(w, 1, many, i), -ENOMEM);
	check_all_free(w);
	r[2].size = MIB;
	CHECK_EQ(wxp_reserve(w, 1, r, 3), 0);
	free(many);
}

TEST_BOTH(protect_again_does_only_what_is_new)
{
	struct wxp_mem m[50];
	uint32_t i, k;

	for (i = 0; i < 50; i++) {
		m[i] = must_write(w, 1, i);
		CHECK(!i || page_of(m[i].addr) != page_of(m[i - 1].addr));
		CHECK_EQ(stats_of(w, 1).open, PAGE);
		CHECK_EQ(wxp_protect(w, 1), 0);
		for (k = 0; k <= i; k++)
			CHECK_EQ(code_run(m[k].addr), k);
		check_stats(w);
	}
	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK_EQ(stats_of(w, 1).sealed, 50 * PAGE);
	CHECK_EQ(wxp_free(w, 1), 0);
	check_all_free(w);
}

TEST_BOTH(protect_of_one_pool_leaves_others_open)
{
	struct wxp_mem a = must_write(w, 1, 1), b = must_alloc(w, 2, CODE_SIZE, 0, WXP_RX);

	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK_EQ(stats_of(w, 2).open, PAGE);
	CHECK(!store_faults(b.write));
	code_write(b.write, 2);
	CHECK_EQ(wxp_protect(w, 2), 0);
	CHECK_EQ(code_run(a.addr) + code_run(b.addr), 3);
}

TEST_BOTH(variables_survive_protect)
{
	char *a = must_alloc(w, 1, 100, 0, WXP_RW).addr, *b;

	memset(a, 1, 100);
	CHECK_EQ(wxp_protect(w, 1), 0);
	b = must_alloc(w, 1, 100, 0, WXP_RW).addr;
	memset(b, 2, 100);
	CHECK(!overlap(a, 100, b, 100));
	CHECK_EQ(a[0] + a[99] + b[0], 4);
	CHECK_EQ(stats_of(w, 1).variables, 4 * WXP_LINE);
	CHECK_EQ(stats_of(w, 1).open + stats_of(w, 1).sealed, 0);
}

/* Two pools that take a page each in turn, so that neither's are adjacent */
static void grow_by_turns(struct wxp *w, int nr)
{
	int i;

	for (i = 0; i < nr; i++) {
		must_alloc(w, 1, PAGE, 0, WXP_RX);
		must_alloc(w, 2, PAGE, 0, WXP_RX);
	}
}

TEST_BOTH(protect_has_a_limit)
{
	struct wxp_stats before, after;
	struct wxp_mem m;

	grow_by_turns(w, 1023);
	m = must_write(w, 1, 5);
	CHECK_EQ(stats_of(w, 1).open, 1024 * PAGE);
	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK_EQ(stats_of(w, 1).sealed, 1024 * PAGE);
	CHECK_EQ(code_run(m.addr), 5);
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK_EQ(wxp_free(w, 2), 0);
	grow_by_turns(w, 1025);
	before = stats_of(w, 0);
	CHECK_EQ(wxp_protect(w, 1), -E2BIG);
	after = stats_of(w, 0);
	check_same_stats(&before, &after);
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK_EQ(wxp_free(w, 2), 0);
	check_all_free(w);
}

TEST_BOTH(free_leaves_others_alone)
{
	struct wxp_mem code[20];
	char *data[20];
	uint32_t i;

	for (i = 0; i < 20; i++) {
		code[i] = must_write(w, i + 1, i);
		data[i] = must_alloc(w, i + 1, 100, 0, WXP_RW).addr;
		memset(data[i], (int)i, 100);
		CHECK_EQ(wxp_protect(w, i + 1), 0);
	}
	for (i = 0; i < 20; i += 2) {
		CHECK_EQ(wxp_free(w, i + 1), 0);
		check_stats(w);
	}
	for (i = 1; i < 20; i += 2) {
		CHECK_EQ(code_run(code[i].addr), i);
		CHECK_EQ(data[i][0] + data[i][99], 2 * i);
	}
	CHECK_EQ(stats_of(w, 0).pools, 10);
}

static void check_gone(struct wxp *w, struct wxp_mem *m)
{
	CHECK_EQ(wxp_pool_of(w, m->addr), 0);
	if (is_kernel(w))
		CHECK(load_faults(m->addr) && store_faults(m->write) && run_faults(m->addr));
	else
		CHECK(is_zero(m->addr, CODE_SIZE));
}

TEST_BOTH(freed_memory_is_gone)
{
	struct wxp_mem code = must_write(w, 1, 1), constants = must_alloc(w, 1, 100, 0, WXP_R);
	struct wxp_mem open_code, open_constants;

	memset(constants.write, 1, 100);
	CHECK_EQ(wxp_protect(w, 1), 0);
	open_code = must_write(w, 1, 2);
	open_constants = must_alloc(w, 2, 100, 0, WXP_R);
	memset(open_constants.write, 1, 100);
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK_EQ(wxp_free(w, 2), 0);
	check_gone(w, &code);
	check_gone(w, &constants);
	check_gone(w, &open_code);
	check_gone(w, &open_constants);
	check_all_free(w);
}

/* Sealed and open memory, of all kinds and of two sizes */
TEST_BOTH(reused_memory_is_zero)
{
	static const size_t list[] = { 300000, 3 * MIB };
	uint32_t i, k, round;
	struct wxp_mem m;
	size_t n;

	for (round = 0; round < 4; round++) {
		for (n = 0; n < NR(list); n++) {
			for (i = 0; i < 9; i++) {
				k = 1 + i / 3;
				m = must_alloc(w, k, list[n], 0, prots[i % 3]);
				CHECK(is_zero(m.write, list[n]));
				memset(m.write, 0xcc, list[n]);
			}
			CHECK_EQ(wxp_protect(w, 1), 0);
			CHECK_EQ(wxp_protect(w, 2), 0);
			for (k = 1; k <= 3; k++)
				CHECK_EQ(wxp_free(w, k), 0);
			check_all_free(w);
		}
	}
}

TEST_BOTH(pool_numbers)
{
	static const uint32_t ids[] = { 1, 64, 128, 1u << 31, UINT32_MAX - 1, UINT32_MAX };
	struct wxp_mem m[NR(ids)];
	uint32_t i;

	for (i = 0; i < NR(ids); i++)
		m[i] = must_write(w, ids[i], i);
	for (i = 0; i < NR(ids); i++)
		CHECK_EQ(wxp_protect(w, ids[i]), 0);
	for (i = 0; i < NR(ids); i++) {
		CHECK_EQ(code_run(m[i].addr), i);
		CHECK_EQ(wxp_pool_of(w, m[i].addr), ids[i]);
		CHECK_EQ(wxp_free(w, ids[i]), 0);
		CHECK_EQ(wxp_free(w, ids[i]), -ENOENT);
		CHECK_EQ(wxp_protect(w, ids[i]), -ENOENT);
	}
	must_alloc(w, ids[0], 1, 0, WXP_RX);
	CHECK_EQ(stats_of(w, 0).pools, 1);
}

TEST_BOTH(pools_of_addresses)
{
	char *code = must_alloc(w, 5, 100, 0, WXP_RX).addr;
	struct wxp_mem data = must_alloc(w, 6, 100, 0, WXP_RW);
	size_t window;
	char *base;

	wxp_get_window(w, (void **)&base, &window);
	CHECK_EQ(wxp_pool_of(w, code), 5);
	CHECK_EQ(wxp_pool_of(w, code + 99), 5);
	CHECK_EQ(wxp_pool_of(w, (char *)data.addr + 99), 6);
	CHECK_EQ(wxp_pool_of(w, (char *)data.addr + 2 * WXP_LINE), 0);
	CHECK_EQ(wxp_pool_of(w, base), 0);
	CHECK_EQ(wxp_pool_of(w, base - 1), 0);
	CHECK_EQ(wxp_pool_of(w, base + window), 0);
	CHECK_EQ(wxp_pool_of(w, NULL), 0);
	CHECK_EQ(wxp_pool_of(w, (void *)UINTPTR_MAX), 0);
	CHECK_EQ(wxp_pool_of(w, &data), 0);
	CHECK_EQ(wxp_protect(w, 5), 0);
	CHECK_EQ(wxp_pool_of(w, code), 5);
	CHECK_EQ(wxp_free(w, 5), 0);
	CHECK_EQ(wxp_pool_of(w, code), 0);
}

TEST_BOTH(numbers_that_the_library_chooses)
{
	uint32_t ids[50], taken, i, k;

	CHECK_EQ(wxp_new_pool(w, NULL), -EINVAL);
	CHECK_EQ(wxp_new_pool(w, &ids[0]), 0);
	for (taken = ids[0] + 1; taken < ids[0] + 20; taken++)
		must_alloc(w, taken, 1, 0, WXP_RW);
	for (i = 1; i < 50; i++) {
		CHECK_EQ(wxp_new_pool(w, &ids[i]), 0);
		CHECK(ids[i] >= 0x80000000);
		CHECK(ids[i] < ids[0] + 1 || ids[i] >= ids[0] + 20);
		for (k = 0; k < i; k++)
			CHECK(ids[i] != ids[k]);
	}
	CHECK_EQ(stats_of(w, 0).pools, 50 + 19);
	CHECK_EQ(stats_of(w, ids[7]).pools, 1);
	CHECK_EQ(stats_of(w, ids[7]).code, 0);
	CHECK_EQ(wxp_protect(w, ids[7]), 0);
	CHECK_EQ(wxp_free(w, ids[7]), 0);
	CHECK_EQ(wxp_free(w, ids[7]), -ENOENT);
	CHECK_EQ(wxp_protect(w, ids[7]), -ENOENT);
}

/* A call that fails ends no pool that was there, and leaves none that was not. */
TEST_BOTH(failure_and_the_life_of_pools)
{
	struct wxp_stats s = { .size = sizeof(s) };
	uint32_t named;

	CHECK_EQ(wxp_new_pool(w, &named), 0);
	refused(w, named, 600 * MIB, 0, WXP_RX, -ENOMEM);
	refused(w, named, 600 * MIB, 0, WXP_RW, -ENOMEM);
	refused(w, 9, 600 * MIB, 0, WXP_RX, -ENOMEM);
	CHECK_EQ(wxp_get_stats(w, 9, &s), -ENOENT);
	CHECK_EQ(wxp_get_stats(w, named, &s), 0);
	CHECK_EQ(wxp_free(w, named), 0);
	check_all_free(w);
}

TEST_BOTH(free_many)
{
	uint32_t ids[200], i;

	for (i = 0; i < 200; i++) {
		ids[i] = i + 1;
		if (i != 30 && i != 150)
			must_write(w, ids[i], i);
		if (i % 3 == 0 && i != 30 && i != 150)
			CHECK_EQ(wxp_protect(w, ids[i]), 0);
	}
	must_write(w, 1000, 7);
	CHECK_EQ(wxp_free_many(w, NULL, 1), -EINVAL);
	CHECK_EQ(wxp_free_many(w, ids, 0), -EINVAL);
	CHECK_EQ(stats_of(w, 0).pools, 199);
	CHECK_EQ(wxp_free_many(w, ids, 200), -ENOENT);
	CHECK_EQ(stats_of(w, 0).pools, 1);
	ids[0] = 0;
	ids[1] = 1000;
	CHECK_EQ(wxp_free_many(w, ids, 2), -EINVAL);
	check_all_free(w);
	must_alloc(w, 1, 1, 0, WXP_R);
	must_alloc(w, 2, 1, 0, WXP_RW);
	ids[0] = 1;
	ids[1] = 2;
	CHECK_EQ(wxp_free_many(w, ids, 2), 0);
	check_all_free(w);
}

static bool proc_mem_writes(void *p)
{
	int fd = open("/proc/self/mem", O_RDWR);
	ssize_t n;

	CHECK(fd >= 0);
	n = pwrite(fd, "\0", 1, (off_t)(uintptr_t)p);
	close(fd);
	return n == 1;
}

/* Only the kernel backend promises these. */
TEST_BOTH(sealed_code_cannot_be_undone)
{
	struct wxp_mem m = must_write(w, 1, 42);
	char *page = page_of(m.addr);

	if (!is_kernel(w)) {
		wxp_close(w);
		test_skip("only the kernel backend stops the process itself");
	}
	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK_EQ(mprotect(page, PAGE, PROT_READ | PROT_WRITE), -1);
	CHECK_EQ(mprotect(page, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC), -1);
	CHECK(!proc_mem_writes(m.addr));
	CHECK(!proc_mem_writes(m.write));
	CHECK_EQ(code_run(m.addr), 42);
}

TEST_BOTH(stats_count_what_is_there)
{
	struct wxp_stats s;

	must_alloc(w, 1, 100, 0, WXP_RX);
	must_alloc(w, 2, PAGE, 0, WXP_R);
	must_alloc(w, 1, PAGE + 1, 0, WXP_RW);
	must_load(w, 1, 5);
	s = stats_of(w, 1);
	CHECK_EQ(s.pools, 1);
	CHECK_EQ(s.code, PAGE + WXP_LINE);
	CHECK_EQ(s.constants, 0);
	CHECK_EQ(s.variables, PAGE + WXP_LINE);
	CHECK_EQ(s.installed, WXP_LINE);
	CHECK_EQ(s.open, PAGE);
	CHECK_EQ(s.sealed, 0);
	CHECK_EQ(s.free + s.largest + s.retired + s.tables + s.charged + s.huge, 0);
	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK_EQ(stats_of(w, 1).sealed, PAGE);
	s = stats_of(w, 0);
	CHECK_EQ(s.pools, 2);
	CHECK_EQ(s.constants, PAGE);
	CHECK_EQ(s.sealed, PAGE);
	CHECK_EQ(s.open, PAGE);
	CHECK(s.tables > 0);
	CHECK_EQ(!!s.charged, is_kernel(w));
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK_EQ(wxp_free(w, 2), 0);
	check_all_free(w);
}

TEST(stats_size)
{
	struct { struct wxp_stats s; uint64_t later, guard; } arg;
	struct wxp *w = open_default();

	memset(&arg, 0xff, sizeof(arg));
	arg.s.size = sizeof(arg.s) - 1;
	CHECK_EQ(wxp_get_stats(w, 0, &arg.s), -EINVAL);
	CHECK_EQ(wxp_get_stats(w, 0, NULL), -EINVAL);
	arg.s.size = sizeof(arg.s);
	CHECK_EQ(wxp_get_stats(w, 1, &arg.s), -ENOENT);
	CHECK_EQ(arg.s.pools, UINT64_MAX);
	CHECK_EQ(wxp_get_stats(w, 0, &arg.s), 0);
	CHECK_EQ(arg.s.pools, 0);
	CHECK_EQ(arg.later, UINT64_MAX);
	arg.s.size = offsetof(__typeof__(arg), guard);
	CHECK_EQ(wxp_get_stats(w, 0, &arg.s), 0);
	CHECK_EQ(arg.later, 0);
	CHECK_EQ(arg.guard, UINT64_MAX);
	CHECK_EQ(arg.s.size, offsetof(__typeof__(arg), guard));
	wxp_close(w);
}

/* What is reserved can be had, whatever is allocated before, and by whom. */
TEST(reserved_memory_is_kept)
{
	const struct wxp_request page = { PAGE, 0, WXP_RX };
	struct wxp *w = open_window(6 * MIB);
	struct wxp_mem m;

	CHECK_EQ(wxp_reserve(w, 1, &page, 1), 0);
	must_alloc(w, 2, PAGE, 0, WXP_RX);
	must_alloc(w, 1, 16 * PAGE, 0, WXP_RX);
	while (!wxp_alloc(w, 3, PAGE, 0, WXP_RX, &m))
		;
	m = must_alloc(w, 1, PAGE, 0, WXP_RX);
	CHECK_EQ(wxp_alloc(w, 1, 16, 0, WXP_RX, &m), -ENOMEM);
	CHECK_EQ(wxp_protect(w, 1), 0);
	wxp_close(w);
}
