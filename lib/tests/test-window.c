// SPDX-License-Identifier: MIT
/* The window: how full it gets, what moves in it, and how small limits make it. */
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "test.h"

#define BLOCK	(2 * MIB)
#define NR(a)	(sizeof(a) / sizeof((a)[0]))

static const enum wxp_prot prots[] = { WXP_R, WXP_RX, WXP_RW };

/* Of a window of 32 MiB and the default shares */
#define WINDOW	(32 * MIB)
static const size_t areas[] = { 8 * MIB, 16 * MIB, 8 * MIB };

static struct wxp *open_small(unsigned int flags)
{
	struct wxp_options opts = { .size = sizeof(opts), .window = WINDOW, .flags = flags };
	struct wxp *w = NULL;

	CHECK_EQ(wxp_open(&w, &opts), 0);
	return w;
}

static void check_all_free(struct wxp *w)
{
	struct wxp_stats s = stats_of(w, 0);
	size_t window;
	void *base;

	wxp_get_window(w, &base, &window);
	check_stats(w);
	CHECK_EQ(s.pools, 0);
	CHECK_EQ(s.free, window);
	CHECK_EQ(s.retired, 0);
}

static int place_one(struct wxp *w, uint32_t pool, size_t size, size_t align, enum wxp_prot prot,
		     struct wxp_span *span)
{
	struct wxp_request r = { size, align, prot };

	return wxp_place(w, pool, &r, 1, span);
}

/* Each way to ask for more than is there is refused, with nothing changed. */
static void check_full(struct wxp *w, enum wxp_prot prot)
{
	struct wxp_request r = { 1, 0, prot };
	struct wxp_stats before = stats_of(w, 0), after;
	struct wxp_span span;
	struct wxp_mem m;
	void *p;

	CHECK_EQ(wxp_alloc(w, 77777, 1, 0, prot, &m), -ENOMEM);
	CHECK_EQ(wxp_place(w, 77777, &r, 1, &span), -ENOMEM);
	CHECK_EQ(wxp_reserve(w, 77777, &r, 1), prot == WXP_RW ? 0 : -ENOMEM);
	CHECK_EQ(wxp_load(w, 77777, "x", 1, prot, &p), prot == WXP_RW ? -EINVAL : -ENOMEM);
	after = stats_of(w, 0);
	check_same_stats(&before, &after);
	check_stats(w);
}

/* Allocates a page for each pool, until the area is full. Returns the number of pools. */
static uint32_t fill_with_pages(struct wxp *w, uint32_t first, enum wxp_prot prot)
{
	uint32_t i = first;
	struct wxp_mem m;
	int ret;

	while (!(ret = wxp_alloc(w, i, PAGE, PAGE, prot, &m)))
		i++;
	CHECK_EQ(ret, -ENOMEM);
	check_full(w, prot);
	return i - first;
}

static void free_range(struct wxp *w, uint32_t first, uint32_t nr, uint32_t step)
{
	for (; nr > 0; first += step, nr -= step < nr ? step : nr)
		CHECK_EQ(wxp_free(w, first), 0);
}

static void fill_each_area(unsigned int flags)
{
	uint32_t nr[3], k, round, first;
	struct wxp *w = open_small(flags);

	for (round = 0; round < 2; round++) {
		for (k = 0, first = 1; k < 3; k++, first += nr[k - 1]) {
			nr[k] = fill_with_pages(w, first, prots[k]);
			CHECK_EQ(nr[k], areas[k] / PAGE);
		}
		CHECK_EQ(stats_of(w, 0).free, 0);
		CHECK_EQ(stats_of(w, 0).largest, 0);
		for (k = 0, first = 1; k < 3; k++, first += nr[k - 1]) {
			CHECK_EQ(wxp_free(w, first + 50), 0);
			must_alloc(w, first + 50, PAGE, 0, prots[k]);
			check_full(w, prots[k]);
		}
		free_range(w, 1, first - 1, 1);
		check_all_free(w);
	}
	wxp_close(w);
}

TEST(full_areas_can_be_used_again)
{
	fill_each_area(0);
	fill_each_area(WXP_ONE_ADDRESS);
}

static void check_byte(struct wxp *w, struct wxp_mem *m, size_t offset)
{
	CHECK(!((char *)m->write)[offset]);
	((char *)m->write)[offset] = 1;
	check_stats(w);
}

static void whole_area(unsigned int flags, enum wxp_prot prot, size_t size)
{
	struct wxp *w = open_small(flags);
	struct wxp_span span;
	struct wxp_mem m;
	int round;

	for (round = 0; round < 3; round++) {
		CHECK_EQ(wxp_alloc(w, 1, size + 1, 0, prot, &m), -ENOMEM);
		m = must_alloc(w, 1, size, WXP_MAX_ALIGN, prot);
		check_byte(w, &m, 0);
		check_byte(w, &m, size - 1);
		check_full(w, prot);
		CHECK_EQ(wxp_protect(w, 1), 0);
		check_full(w, prot);
		CHECK_EQ(wxp_free(w, 1), 0);
		check_all_free(w);
		CHECK_EQ(place_one(w, 1, size + 1, 0, prot, &span), -ENOMEM);
		CHECK_EQ(place_one(w, 1, size, WXP_MAX_ALIGN, prot, &span), 0);
		check_full(w, prot);
		CHECK_EQ(wxp_free(w, 1), 0);
		check_all_free(w);
	}
	wxp_close(w);
}

TEST(whole_areas_in_one)
{
	size_t k;

	for (k = 0; k < 3; k++) {
		whole_area(0, prots[k], areas[k]);
		whole_area(WXP_ONE_ADDRESS, prots[k], areas[k]);
	}
}

/* Nothing larger than wxp_get_stats() says finds a gap, and that does. */
static void check_largest(struct wxp *w, size_t want)
{
	struct wxp_span span;

	CHECK_EQ(stats_of(w, 0).largest, want);
	CHECK_EQ(place_one(w, 99999, want + 1, 0, WXP_RX, &span), -ENOMEM);
	CHECK_EQ(stats_of(w, 0).largest, want);
	if (!want)
		return;
	CHECK_EQ(place_one(w, 99999, want, 0, WXP_RX, &span), 0);
	CHECK_EQ(wxp_free(w, 99999), 0);
}

TEST(largest_request_for_code)
{
	struct wxp *w = open_small(0);
	struct wxp_span span[8];
	uint32_t i;

	check_largest(w, 16 * MIB);
	for (i = 0; i < 8; i++)
		CHECK_EQ(place_one(w, 1 + i, BLOCK, 0, WXP_RX, &span[i]), 0);
	check_largest(w, 0);
	CHECK_EQ(wxp_free(w, 3), 0);
	CHECK_EQ(wxp_free(w, 6), 0);
	check_largest(w, BLOCK);
	CHECK_EQ(wxp_free(w, 4), 0);
	check_largest(w, 2 * BLOCK);
	CHECK_EQ(wxp_shrink(w, &span[4], 100), 0);
	check_largest(w, 2 * BLOCK);
	free_range(w, 1, 2, 1);
	check_largest(w, 4 * BLOCK);
	CHECK_EQ(wxp_free(w, 5), 0);
	free_range(w, 7, 2, 1);
	check_all_free(w);
	check_largest(w, 16 * MIB);
	wxp_close(w);
}

/* Of what was written in place, too, whole blocks are for any use again. */
TEST(largest_request_after_pages)
{
	struct wxp *w = open_small(0);

	CHECK_EQ(fill_with_pages(w, 1, WXP_RX), areas[1] / PAGE);
	check_largest(w, 0);
	free_range(w, 1, (uint32_t)(areas[1] / PAGE), 1);
	check_all_free(w);
	check_largest(w, 16 * MIB);
	wxp_close(w);
}

/* Small spans that are freed wait for others of their size, but stand in nobody's way. */
TEST(largest_request_after_small_spans)
{
	struct wxp *w = open_small(0);
	struct wxp_span span;
	uint32_t i;

	CHECK_EQ(place_one(w, 1, 16 * MIB - 64 * 100, 0, WXP_RX, &span), 0);
	for (i = 2; i < 102; i++)
		CHECK_EQ(place_one(w, i, 64, 0, WXP_RX, &span), 0);
	check_full(w, WXP_RX);
	free_range(w, 2, 100, 1);
	check_largest(w, 64 * 100);
	wxp_close(w);
}

/* Places spans until there is no gap for one. */
static size_t fill_with_spans(struct wxp *w, uint32_t first, size_t size, enum wxp_prot prot)
{
	struct wxp_span span;
	uint32_t i = first;

	while (!place_one(w, i, size, 0, prot, &span))
		i++;
	return i - first;
}

static void fragment(enum wxp_prot prot, size_t area)
{
	struct wxp *w = open_small(0);
	uint32_t nr = (uint32_t)(area / 8192);
	struct wxp_span span;

	CHECK_EQ(fill_with_spans(w, 1, 8192, prot), nr);
	free_range(w, 1, nr, 2);
	CHECK_EQ(stats_of(w, 0).free, WINDOW - area / 2);
	CHECK_EQ(place_one(w, nr + 1, 8193, 0, prot, &span), -ENOMEM);
	CHECK_EQ(wxp_free(w, 500), 0);
	CHECK_EQ(place_one(w, nr + 1, 3 * 8192, 0, prot, &span), 0);
	CHECK_EQ(place_one(w, nr + 2, 8193, 0, prot, &span), -ENOMEM);
	CHECK_EQ(fill_with_spans(w, nr + 2, 4096, prot), (nr / 2 - 2) * 2);
	CHECK_EQ(wxp_free(w, nr + 1), 0);
	CHECK_EQ(fill_with_spans(w, 10 * nr, 64, prot), 3 * 8192 / 64);
	check_full(w, prot);
	wxp_close(w);
}

TEST(gaps_are_used_and_joined)
{
	size_t k;

	for (k = 0; k < 3; k++)
		fragment(prots[k], areas[k]);
}

/* All of the area to the other use, and back */
static void move_blocks(unsigned int flags, enum wxp_prot prot, size_t area)
{
	struct wxp *w = open_small(flags);
	uint32_t pages = (uint32_t)(area / PAGE), spans = (uint32_t)(area / 4096);
	int round;

	for (round = 0; round < 3; round++) {
		CHECK_EQ(fill_with_spans(w, 1, 4096, prot), spans);
		check_full(w, prot);
		free_range(w, 1, spans, 1);
		check_all_free(w);
		CHECK_EQ(fill_with_pages(w, 1, prot), pages);
		free_range(w, 1, pages, 1);
		check_all_free(w);
	}
	wxp_close(w);
}

TEST(blocks_move_between_packed_and_paged)
{
	move_blocks(0, WXP_R, areas[0]);
	move_blocks(0, WXP_RX, areas[1]);
	move_blocks(WXP_ONE_ADDRESS, WXP_RX, areas[1]);
}

/* What was installed in packed lines is not there when they are written in place. */
static void reuse_packed(unsigned int flags)
{
	unsigned char bytes[1000];
	struct wxp *w = open_small(flags);
	uint32_t nr = 0, round;
	struct wxp_mem m;
	void *p;

	memset(bytes, 0x5a, sizeof(bytes));
	for (round = 0; round < 2; round++) {
		while (!wxp_load(w, ++nr, bytes, sizeof(bytes), WXP_RX, &p))
			;
		CHECK_EQ(nr - 1, areas[1] / 1024);
		free_range(w, 1, nr - 1, 1);
		m = must_alloc(w, 1, areas[1], 0, WXP_RX);
		CHECK(is_zero(m.write, areas[1]));
		memset(m.write, 0x5a, areas[1]);
		CHECK_EQ(wxp_free(w, 1), 0);
		nr = 0;
	}
	wxp_close(w);
}

TEST(packed_lines_become_zeroed_pages)
{
	reuse_packed(0);
	reuse_packed(WXP_ONE_ADDRESS);
}

/* One block of code is the other use's, wherever it lies among those that are full. */
TEST(one_block_moves)
{
	struct wxp *w = open_small(0);
	struct wxp_span span[8];
	uint32_t i;

	for (i = 0; i < 8; i++)
		CHECK_EQ(place_one(w, 1 + i, BLOCK, 0, WXP_RX, &span[i]), 0);
	for (i = 0; i < 8; i++) {
		CHECK_EQ(wxp_free(w, 1 + i), 0);
		CHECK(must_alloc(w, 100, BLOCK, BLOCK, WXP_RX).addr == span[i].addr);
		check_full(w, WXP_RX);
		CHECK_EQ(wxp_free(w, 100), 0);
		CHECK_EQ(place_one(w, 1 + i, BLOCK, 0, WXP_RX, &span[i]), 0);
		check_full(w, WXP_RX);
	}
	wxp_close(w);
}

/*
 * The only whole block that is free is found, beside a gap that is longer than a block and
 * has none.
 */
TEST(block_beside_a_longer_gap)
{
	/* In units of 64 KiB: the second spans no whole block, the fourth does. */
	static const size_t sizes[] = { 19, 37, 32, 40, 128 };
	struct wxp *w = open_small(0);
	struct wxp_span span;
	uint32_t i;

	for (i = 0; i < NR(sizes); i++)
		CHECK_EQ(place_one(w, 1 + i, sizes[i] << 16, 0, WXP_RX, &span), 0);
	check_full(w, WXP_RX);
	CHECK_EQ(wxp_free(w, 2), 0);
	CHECK_EQ(wxp_free(w, 4), 0);
	must_alloc(w, 30, BLOCK, 0, WXP_RX);
	CHECK_EQ(place_one(w, 31, 37 << 16, 0, WXP_RX, &span), 0);
	wxp_close(w);
}

/* An aligned request gets the gap that it fits exactly. */
TEST(exact_gap_of_an_aligned_request)
{
	struct wxp *w = open_small(0);
	struct wxp_span span;
	uint32_t i;

	for (i = 1; i <= 32; i++)
		CHECK_EQ(place_one(w, i, BLOCK / 4, BLOCK / 4, WXP_RX, &span), 0);
	check_full(w, WXP_RX);
	for (i = 1; i <= 32; i += 3) {
		CHECK_EQ(wxp_free(w, i), 0);
		CHECK_EQ(place_one(w, i, BLOCK / 4 + 1, 0, WXP_RX, &span), -ENOMEM);
		CHECK_EQ(place_one(w, i, BLOCK / 4, BLOCK / 4, WXP_RX, &span), 0);
		check_full(w, WXP_RX);
	}
	wxp_close(w);
}

TEST(failed_calls_keep_nothing)
{
	struct wxp_request r[] = { { 9 * MIB, 0, WXP_RX }, { MIB, 0, WXP_R }, { 9 * MIB, 0, WXP_R },
				   { MIB, 0, WXP_RW } };
	struct wxp *w = open_small(0);
	struct wxp_stats before, after;
	struct wxp_span spans[4];

	must_alloc(w, 1, 3 * MIB, 0, WXP_RX);
	before = stats_of(w, 0);
	CHECK_EQ(wxp_reserve(w, 2, r, 4), -ENOMEM);
	CHECK_EQ(wxp_reserve(w, 1, r, 4), -ENOMEM);
	CHECK_EQ(wxp_place(w, 2, r, 4, spans), -ENOMEM);
	CHECK_EQ(wxp_place(w, 1, r, 4, spans), -ENOMEM);
	after = stats_of(w, 0);
	check_same_stats(&before, &after);
	CHECK_EQ(wxp_reserve(w, 2, r, 2), 0);
	CHECK_EQ(wxp_free(w, 2), 0);
	CHECK_EQ(wxp_place(w, 2, r, 2, spans), 0);
	check_stats(w);
	wxp_close(w);
}

/*
 * Spans of random sizes and lives, in an area of code that is 90 percent full: at most one
 * in a thousand finds no gap.
 */
TEST(few_refusals_in_a_full_area)
{
	enum { SLOTS = 16000 };
	uint32_t steps = under_valgrind() ? 20000 : 200000, refused = 0, i, k;
	size_t *held = calloc(SLOTS, sizeof(*held)), sum = 0, size;
	struct wxp *w = open_small(0);
	struct wxp_span span;
	uint64_t seed = 23;

	for (i = 0; i < steps; i++) {
		k = random_next(&seed) % SLOTS;
		size = (size_t)64 << random_next(&seed) % 7;
		size += random_next(&seed) % size;
		if (held[k]) {
			CHECK_EQ(wxp_free(w, 1 + k), 0);
			sum -= held[k];
			held[k] = 0;
		}
		if (sum + size > areas[1] / 10 * 9)
			continue;
		if (place_one(w, 1 + k, size, 0, WXP_RX, &span)) {
			refused++;
			continue;
		}
		held[k] = (size + WXP_LINE - 1) / WXP_LINE * WXP_LINE;
		sum += held[k];
	}
	CHECK_EQ(stats_of(w, 0).code, sum);
	CHECK(sum > areas[1] / 10 * 8);
	if (refused > steps / 1000)
		test_fail(__FILE__, __LINE__, "%u of %u refused", refused, steps);
	check_stats(w);
	free(held);
	wxp_close(w);
}

/* Mappings that lie in a range of addresses */
static int count_mappings(const void *base, size_t size)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	uintptr_t start, end;
	char line[512], *rest;
	int nr = 0;

	CHECK(maps);
	while (fgets(line, sizeof(line), maps)) {
		start = strtoull(line, &rest, 16);
		CHECK(*rest == '-');
		end = strtoull(rest + 1, NULL, 16);
		nr += start < (uintptr_t)base + size && end > (uintptr_t)base;
	}
	fclose(maps);
	return nr;
}

static int window_mappings(struct wxp *w)
{
	size_t size;
	void *base;

	wxp_get_window(w, &base, &size);
	return count_mappings(base, size);
}

static void put_in_place(struct wxp *w, uint32_t pool)
{
	code_write(must_alloc(w, pool, CODE_SIZE, 0, WXP_RX).write, pool);
	*(uint32_t *)must_alloc(w, pool, 4, 0, WXP_R).write = pool;
	*(uint32_t *)must_alloc(w, pool, 4, 0, WXP_RW).write = pool;
}

#define MANY	1000u

TEST(mappings_are_made_once)
{
	struct wxp *w = open_default();
	int mappings = window_mappings(w);
	uint32_t i;

	CHECK_EQ(mappings, is_fast(w) ? 2 : 3);
	for (i = 1; i <= MANY; i++) {
		put_in_place(w, i);
		must_load(w, i, i);
		if (i % 3)
			CHECK_EQ(wxp_protect(w, i), 0);
	}
	CHECK_EQ(window_mappings(w), mappings);
	free_range(w, 1, MANY, 2);
	CHECK_EQ(window_mappings(w), mappings);
	check_stats(w);
	wxp_close(w);
}

/* Open memory takes mappings there, until it is sealed or freed. */
TEST(mappings_of_one_address)
{
	struct wxp *w = open_flags(WXP_ONE_ADDRESS);
	int mappings = window_mappings(w);
	uint32_t i;

	CHECK_EQ(mappings, is_fast(w) ? 2 : 3);
	for (i = 1; i <= MANY; i++) {
		put_in_place(w, i);
		CHECK_EQ(wxp_protect(w, i), 0);
	}
	CHECK_EQ(window_mappings(w), mappings);
	for (i = 1; i <= MANY; i++)
		put_in_place(w, i);
	for (i = 1; i <= MANY; i++)
		CHECK_EQ(i % 2 ? wxp_protect(w, i) : wxp_free(w, i), 0);
	CHECK_EQ(window_mappings(w), mappings);
	check_stats(w);
	wxp_close(w);
}

TEST(tens_of_thousands_of_pools)
{
	uint32_t nr = under_valgrind() || sanitized() ? 5000 : 40000, i;
	void **p = calloc(nr + 1, sizeof(*p));
	struct wxp *w = open_default();

	for (i = 1; i <= nr; i++)
		p[i] = must_load(w, i, i);
	CHECK_EQ(stats_of(w, 0).pools, nr);
	CHECK_EQ(stats_of(w, 0).installed, (uint64_t)nr * WXP_LINE);
	for (i = 1; i <= nr; i += 3)
		CHECK_EQ(wxp_free(w, i), 0);
	for (i = 2; i <= nr; i += 3) {
		CHECK_EQ(code_run(p[i]), i);
		CHECK_EQ(wxp_pool_of(w, p[i]), i);
		CHECK_EQ(wxp_pool_of(w, p[i - 1]), 0);
	}
	check_stats(w);
	free(p);
	wxp_close(w);
}

/* All kinds are in reach of each other's 32-bit relative addresses. */
TEST(all_within_reach)
{
	struct wxp *w = open_window(2048 * MIB);
	struct wxp_span span[3];
	intptr_t d;
	int i, k;

	for (i = 0; i < 3; i++)
		CHECK_EQ(place_one(w, 1, 64, 0, prots[i], &span[i]), 0);
	for (i = 0; i < 3; i++) {
		for (k = 0; k < 3; k++) {
			d = (intptr_t)span[i].addr - (intptr_t)span[k].addr;
			CHECK(d == (int32_t)d);
		}
	}
	wxp_close(w);
}

/* ---- limits of the process: all in a child, as they are not raised again */

static void limit(int what, size_t value)
{
	struct rlimit l = { value, value };

	CHILD_CHECK(!setrlimit((__typeof__(RLIMIT_AS))what, &l));
}

/* What a window is for, in a child */
static void child_use(struct wxp *w)
{
	unsigned char bytes[CODE_SIZE];
	struct wxp_mem m;
	void *p;

	code_write(bytes, 5);
	CHILD_CHECK(!wxp_load(w, 1, bytes, CODE_SIZE, WXP_RX, &p) && code_run(p) == 5);
	/* The smallest window has one block for code. */
	CHILD_CHECK(!wxp_free(w, 1));
	CHILD_CHECK(!wxp_alloc(w, 1, MIB, 0, WXP_RX, &m));
	code_write(m.write, 6);
	CHILD_CHECK(!wxp_protect(w, 1) && code_run(m.addr) == 6);
	CHILD_CHECK(!wxp_alloc(w, 1, MIB, 0, WXP_RW, &m));
	memset(m.write, 1, MIB);
	CHILD_CHECK(!wxp_free(w, 1));
}

/* Opens the default window, which must be a smaller one, and uses it. Returns its size. */
static size_t child_open_smaller(unsigned int flags)
{
	struct wxp_options opts = { .size = sizeof(opts), .flags = flags };
	size_t size, halved;
	struct wxp *w;
	void *base;
	int err = wxp_open(&w, &opts);

	if (err)
		printf("# wxp_open: %s\n", wxp_strerror(err));
	CHILD_CHECK(!err);
	wxp_get_window(w, &base, &size);
	for (halved = 1024 * MIB; halved > size; halved /= 2)
		;
	CHILD_CHECK(size == halved || size == 6 * MIB);
	child_use(w);
	wxp_close(w);
	return size;
}

static int child_open(size_t window)
{
	struct wxp_options opts = { .size = sizeof(opts), .window = window };
	struct wxp *w;
	int err = wxp_open(&w, &opts);

	if (!err)
		wxp_close(w);
	return err;
}

static void in_child(void (*fn)(unsigned int flags), unsigned int flags)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		fn(flags);
		fflush(stdout);
		_exit(0);
	}
	wait_child(pid);
}

/* Of address space, all that the process has so far */
static size_t child_size(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	size_t pages = 0;

	CHILD_CHECK(f && fscanf(f, "%zu", &pages) == 1 && pages);
	fclose(f);
	return pages * (size_t)getpagesize();
}

static void with_limit_of_addresses(unsigned int flags)
{
	limit(RLIMIT_AS, child_size() + 570 * MIB);
	CHILD_CHECK(child_open(0) == 0);
	CHILD_CHECK(child_open(1024 * MIB) == -ENOMEM);
	CHILD_CHECK(child_open(64 * MIB) == 0);
	CHILD_CHECK(child_open_smaller(flags) >= 256 * MIB);
}

/* There libgcc finds no frames: see window_reserve(). */
TEST(no_multiple_of_4_gib)
{
	const uintptr_t unit = (uintptr_t)4 << 30, half = 512 * MIB;
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	uintptr_t start, end;
	char *top, *filler;
	struct wxp *w;
	size_t size;
	void *base;

	/* The kernel goes on below what it has mapped: the next GiB would have one. */
	top = mmap(NULL, half, PROT_NONE, flags, -1, 0);
	end = (uintptr_t)top;
	start = ((end - half) & ~(unit - 1)) + half;
	filler = mmap((void *)start, end - start, PROT_NONE, flags | MAP_FIXED_NOREPLACE, -1, 0);
	if (filler != (void *)start) {
		munmap(top, half);
		test_skip("something else is mapped there");
	}
	CHECK_EQ(wxp_open(&w, NULL), 0);
	wxp_get_window(w, &base, &size);
	CHECK(size == 2 * half);
	CHECK_EQ(((uintptr_t)base - 1) / unit, ((uintptr_t)base + size - 1) / unit);
	wxp_close(w);
	munmap(filler, end - start);
	munmap(top, half);
}

TEST(limit_of_addresses)
{
	if (sanitized() || under_valgrind())
		test_skip("what instruments the program needs more addresses");
	in_child(with_limit_of_addresses, 0);
	in_child(with_limit_of_addresses, WXP_ONE_ADDRESS);
}

/* Root's own right goes beyond the limit. */
static void drop_ipc_lock(void)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];

	CHILD_CHECK(!syscall(SYS_capget, &head, data));
	data[0].effective &= ~(1u << CAP_IPC_LOCK);
	data[0].permitted &= ~(1u << CAP_IPC_LOCK);
	CHILD_CHECK(!syscall(SYS_capset, &head, data));
}

static void with_locked_memory(unsigned int flags)
{
	limit(RLIMIT_MEMLOCK, 8 * MIB);
	drop_ipc_lock();
	CHILD_CHECK(!mlockall(MCL_FUTURE));
	CHILD_CHECK(child_open(64 * MIB) == -ENOMEM);
	CHILD_CHECK(child_open_smaller(flags) <= 8 * MIB);
	/* Nothing of a window counts for longer than it takes to make it. */
	CHILD_CHECK(child_open_smaller(flags) >= 6 * MIB);
}

TEST(limit_of_locked_memory)
{
	if (sanitized() || under_valgrind())
		test_skip("what instruments the program allocates more memory");
	in_child(with_locked_memory, 0);
	in_child(with_locked_memory, WXP_ONE_ADDRESS);
}

/* All in use: the backends that need one more say so, whatever the window's size. */
static void with_no_descriptor(unsigned int fast)
{
	int fd = dup(1);

	CHILD_CHECK(fd >= 0 && !close(fd));
	limit(RLIMIT_NOFILE, (size_t)fd);
	CHILD_CHECK(child_open(0) == (fast ? 0 : -EMFILE));
	CHILD_CHECK(child_open(6 * MIB) == (fast ? 0 : -EMFILE));
	limit(RLIMIT_NOFILE, 0);
	CHILD_CHECK(child_open(0) == (fast ? 0 : -EMFILE));
}

TEST(limit_of_descriptors)
{
	struct wxp *w = open_default();
	bool fast = is_fast(w);

	wxp_close(w);
	if (under_valgrind())
		test_skip("valgrind keeps descriptors for itself");
	in_child(with_no_descriptor, fast);
}

/* Three quarters of the window are of the file. */
static void with_limit_of_files(unsigned int flags)
{
	limit(RLIMIT_FSIZE, 64 * MIB);
	CHILD_CHECK(child_open(128 * MIB) == -ENOMEM);
	CHILD_CHECK(child_open_smaller(flags) == 64 * MIB);
	limit(RLIMIT_FSIZE, 4 * MIB - 1);
	CHILD_CHECK(child_open(0) == -ENOMEM);
}

static void with_irrelevant_limit_of_files(unsigned int flags)
{
	limit(RLIMIT_FSIZE, 4096);
	CHILD_CHECK(child_open(1024 * MIB) == 0);
	CHILD_CHECK(child_open_smaller(flags) == 1024 * MIB);
}

TEST(limit_of_files)
{
	struct wxp *w = open_default();
	bool portable = is_portable(w);

	wxp_close(w);
	in_child(portable ? with_limit_of_files : with_irrelevant_limit_of_files, 0);
	in_child(portable ? with_limit_of_files : with_irrelevant_limit_of_files,
		 WXP_ONE_ADDRESS);
}

/* A sandbox that is closed after the window is open: an error, and not a signal. */
static void with_later_limit_of_files(unsigned int flags)
{
	struct wxp_options opts = { .size = sizeof(opts), .flags = flags, .window = 6 * MIB };
	unsigned char bytes[CODE_SIZE];
	struct wxp_mem m;
	struct wxp *w;
	void *p, *q;

	code_write(bytes, 5);
	CHILD_CHECK(!wxp_open(&w, &opts));
	CHILD_CHECK(!wxp_load(w, 1, bytes, CODE_SIZE, WXP_R, &p));
	CHILD_CHECK(!wxp_alloc(w, 2, CODE_SIZE, 0, WXP_RX, &m));
	code_write(m.write, 6);
	limit(RLIMIT_FSIZE, 0);
	CHILD_CHECK(wxp_load(w, 3, bytes, CODE_SIZE, WXP_R, &q) == -ENOMEM);
	CHILD_CHECK(wxp_protect(w, 2) == -ENOMEM);
	CHILD_CHECK(!wxp_free(w, 2) && !wxp_free(w, 1));
	/* What could not be cleared is not handed out again. */
	CHILD_CHECK(!wxp_place(w, 4, &(struct wxp_request){ CODE_SIZE, 0, WXP_R }, 1,
			       &(struct wxp_span){ 0 }));
	CHILD_CHECK(!wxp_pool_of(w, p));
	wxp_close(w);
}

TEST(limit_of_files_after_opening)
{
	struct wxp *w = open_default();
	bool portable = is_portable(w);

	wxp_close(w);
	if (!portable)
		test_skip("for what is in a file");
	in_child(with_later_limit_of_files, 0);
	in_child(with_later_limit_of_files, WXP_ONE_ADDRESS);
}

/* Only what is written counts, not all that could be. */
static void with_limit_of_data(unsigned int flags)
{
	size_t size;

	limit(RLIMIT_DATA, 300 * MIB);
	size = child_open_smaller(flags & ~WXP_IF_POSSIBLE);
	/* Of the fast backend, all can be written. */
	CHILD_CHECK(size >= (flags & WXP_IF_POSSIBLE ? 128 : 256) * MIB);
}

TEST(limit_of_data)
{
	unsigned int fast;
	struct wxp *w;

	if (sanitized() || under_valgrind())
		test_skip("what instruments the program needs more data");
	w = open_default();
	fast = is_fast(w) ? WXP_IF_POSSIBLE : 0;
	wxp_close(w);
	in_child(with_limit_of_data, fast);
	in_child(with_limit_of_data, fast | WXP_ONE_ADDRESS);
}

/* After mlockall() the file is not filled when it is mapped. */
static void with_much_locked_memory(unsigned int flags)
{
	struct wxp_options opts = { .size = sizeof(opts), .flags = flags, .window = 64 * MIB };
	FILE *f = fopen("/proc/self/statm", "r");
	size_t before = 0, after = 0;
	struct wxp *w;

	CHILD_CHECK(!mlockall(MCL_FUTURE));
	CHILD_CHECK(f && fscanf(f, "%*u %*u %zu", &before) == 1);
	CHILD_CHECK(!wxp_open(&w, &opts));
	rewind(f);
	CHILD_CHECK(fscanf(f, "%*u %*u %zu", &after) == 1);
	CHILD_CHECK(after - before < 8 * MIB / (size_t)getpagesize());
	fclose(f);
	child_use(w);
	wxp_close(w);
}

TEST(locked_memory_is_not_filled)
{
	if (sanitized() || under_valgrind())
		test_skip("what instruments the program locks more memory");
	in_child(with_much_locked_memory, 0);
	in_child(with_much_locked_memory, WXP_ONE_ADDRESS);
}

/* ---- free blocks */

static uint64_t largest(struct wxp *w)
{
	return stats_of(w, 0).largest;
}

/* All that is free can be had again at once, whatever it was before. */
TEST(free_blocks_are_of_use_again)
{
	const struct wxp_request some = { 2 * MIB, 0, WXP_RX }, little = { 64, 0, WXP_RX };
	struct wxp_request all = { 0, 0, WXP_RX };
	struct wxp *w = open_window(24 * MIB);
	struct wxp_span span;
	unsigned int i;

	all.size = largest(w);
	for (i = 0; i < 3; i++) {
		CHECK_EQ(wxp_place(w, 1, &some, 1, &span), 0);
		must_alloc(w, 2, 3 * MIB, 0, WXP_RX);
		CHECK_EQ(wxp_place(w, 3, &little, 1, &span), 0);
		must_alloc(w, 4, PAGE, 0, WXP_RX);
		CHECK_EQ(wxp_free(w, i ? 1 : 4) + wxp_free(w, 2), 0);
		CHECK_EQ(wxp_free(w, i ? 4 : 1) + wxp_free(w, 3), 0);
		if (i == 1)
			CHECK_EQ(largest(w), all.size);
		CHECK_EQ(wxp_place(w, 5, &all, 1, &span), 0);
		CHECK_EQ(wxp_free(w, 5), 0);
	}
	CHECK_EQ(largest(w), all.size);
	wxp_close(w);
}
