// SPDX-License-Identifier: MIT
/* Allocation, protection and freeing, one call at a time. */
#include <fcntl.h>
#include <sys/mman.h>

#include "test.h"

static const enum wxp_prot prots[] = { WXP_R, WXP_RW, WXP_RX };

TEST(memory_is_zero_and_writable)
{
	struct wxp *w = open_default();
	int i;

	for (i = 0; i < 3; i++) {
		char *p = must_alloc(w, 1, 10000, 0, prots[i]);

		CHECK(is_zero(p, 10000));
		memset(p, 0x5a, 10000);
		CHECK_EQ(p[9999], 0x5a);
		check_stats(w);
	}
	wxp_close(w);
}

TEST(code_runs_and_is_read_only)
{
	struct wxp *w = open_default();
	char *p = must_alloc(w, 1, CODE_SIZE, 0, WXP_RX);

	code_write(p, 42);
	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK_EQ(code_run(p), 42);
	CHECK(!load_faults(p));
	CHECK_EQ(!store_faults(p), is_fast(w));
	CHECK_EQ(code_run(p), 42);
	wxp_close(w);
}

static void check_traps(const char *p, const char *end)
{
	p += -(uintptr_t)p % 4;
	for (; p < end; p += 4)
		CHECK(!memcmp(p, CODE_TRAP, 4));
}

/* The rest of executable pages, reserved and not used places too. */
TEST(unwritten_code_is_traps)
{
	struct wxp_request r[] = { { 64, 64, WXP_RX }, { 100, 0, WXP_RX },
				   { 3 * PAGE, 0, WXP_RX } };
	struct wxp *w = open_default();
	char *a, *b, *base;
	size_t size;

	CHECK_EQ(wxp_reserve(w, 1, r, 3), 0);
	a = must_alloc(w, 1, 64, 64, WXP_RX);
	b = must_alloc(w, 1, 100, 0, WXP_RX);
	CHECK(is_zero(a, 64) && is_zero(b, 100));
	wxp_get_window(w, (void **)&base, &size);
	CHECK_EQ(wxp_protect(w, 1), 0);
	check_traps(base, a);
	check_traps(a + 64, b);
	check_traps(b + 100, base + 4 * PAGE);
	CHECK_EQ(stats_of(w).pages_rx, 4);
	wxp_close(w);
}

/* With all ways to leave gaps: all words of code pages that nobody has. */
TEST(all_gaps_of_code_are_traps)
{
	enum { N = 60, PAGES = 256 };
	struct wxp *w = open_window(16 * MIB);
	char *used = calloc(PAGES, PAGE), *base, *p;
	struct wxp_request r[N];
	uint64_t seed = 17;
	size_t size, i, k;

	wxp_get_window(w, (void **)&base, &size);
	for (k = 0; k < 6; k++) {
		for (i = 0; i < N; i++)
			r[i] = (struct wxp_request){ 1 + random_next(&seed) % (k % 2 ? 40 : 700),
						     1u << random_next(&seed) % 10, WXP_RX };
		CHECK_EQ(wxp_reserve(w, 1, r, N), 0);
		for (i = 0; i < N; i++) {
			size = r[i].size + (i % 7 == 6);
			if (i % 5 == 4)
				continue;
			p = must_alloc(w, 1, size, r[i].align, WXP_RX);
			CHECK(is_zero(p, size));
			memset(p, 0x90, size);
			memset(used + (p - base), 1, size);
		}
	}
	CHECK_EQ(wxp_protect(w, 1), 0);
	size = stats_of(w).pages_rx * PAGE;
	CHECK(size > 0 && size <= PAGES * PAGE);
	for (i = 0; i < size; i += 4)
		if (is_zero(used + i, 4))
			check_traps(base + i, base + i + 4);
	free(used);
	wxp_close(w);
}

TEST(open_code_does_not_run)
{
	struct wxp *w = open_default();
	char *p = must_alloc(w, 1, CODE_SIZE, 0, WXP_RX);

	code_write(p, 42);
	CHECK_EQ(!run_faults(p), is_fast(w));
	CHECK(!store_faults(p));
	wxp_close(w);
}

TEST(read_only_data)
{
	struct wxp *w = open_default();
	char *p = must_alloc(w, 1, CODE_SIZE, 0, WXP_R);

	code_write(p, 42);
	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK(!load_faults(p));
	CHECK_EQ(!store_faults(p), is_fast(w));
	CHECK_EQ(!run_faults(p), is_fast(w));
	wxp_close(w);
}

TEST(writable_data_never_runs)
{
	struct wxp *w = open_default();
	char *p = must_alloc(w, 1, CODE_SIZE, 0, WXP_RW);

	code_write(p, 42);
	CHECK(run_faults(p));
	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK(!store_faults(p));
	CHECK(run_faults(p));
	wxp_close(w);
}

TEST(alignments)
{
	struct wxp *w = open_default();
	size_t align;
	int i;

	for (i = 0; i < 3; i++) {
		for (align = 1; align <= PAGE; align *= 2) {
			must_alloc(w, 1, 1, align, prots[i]);
			must_alloc(w, 1, 33, 0, prots[i]);
		}
		for (align = PAGE; align; align /= 2)
			must_alloc(w, 1, 7, align, prots[i]);
	}
	check_stats(w);
	wxp_close(w);
}

TEST(bad_arguments_change_nothing)
{
	struct wxp *w = open_default();
	struct wxp_stats before = stats_of(w), after;
	void *p;

	CHECK_EQ(wxp_alloc(w, 1, 1, 3, WXP_R, &p), -EINVAL);
	CHECK_EQ(wxp_alloc(w, 1, 1, 24, WXP_R, &p), -EINVAL);
	CHECK_EQ(wxp_alloc(w, 1, 1, 2 * PAGE, WXP_R, &p), -EINVAL);
	CHECK_EQ(wxp_alloc(w, 1, 1, SIZE_MAX, WXP_R, &p), -EINVAL);
	CHECK_EQ(wxp_alloc(w, 1, 0, 0, WXP_R, &p), -EINVAL);
	CHECK_EQ(wxp_alloc(w, 0, 1, 0, WXP_R, &p), -EINVAL);
	CHECK_EQ(wxp_alloc(w, 1, 1, 0, (enum wxp_prot)0, &p), -EINVAL);
	CHECK_EQ(wxp_alloc(w, 1, 1, 0, (enum wxp_prot)4, &p), -EINVAL);
	CHECK_EQ(wxp_alloc(w, 1, 1, 0, WXP_R, NULL), -EINVAL);
	CHECK_EQ(wxp_protect(w, 0), -ENOENT);
	CHECK_EQ(wxp_protect(w, 1), -ENOENT);
	CHECK_EQ(wxp_free(w, 0), -ENOENT);
	CHECK_EQ(wxp_free(w, 1), -ENOENT);
	after = stats_of(w);
	check_same_stats(&before, &after);
	CHECK_EQ(after.syscalls, before.syscalls);
	wxp_close(w);
}

TEST(sizes)
{
	struct wxp *w = open_default();
	size_t sizes[] = { 1, PAGE - 1, PAGE, PAGE + 1, 5 * MIB, 40 * MIB + 1 };
	size_t i, k;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (k = 0; k < 3; k++) {
			char *p = must_alloc(w, 1 + (uint32_t)k, sizes[i], 0, prots[k]);

			p[0] = 1;
			p[sizes[i] - 1] = 2;
		}
	}
	check_stats(w);
	wxp_close(w);
}

TEST(sizes_beyond_reason)
{
	size_t sizes[] = { SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - PAGE, SIZE_MAX / 2, SIZE_MAX / 2 + 1,
			   ((size_t)1 << 30) + 1, (size_t)1 << 44 };
	struct wxp *w = open_default();
	struct wxp_stats s;
	size_t i, k;
	void *p;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (k = 0; k < 3; k++)
			CHECK_EQ(wxp_alloc(w, 1, sizes[i], 0, prots[k], &p), -ENOMEM);
	s = stats_of(w);
	CHECK_EQ(s.pools + s.pages_open + s.pages_rw, 0);
	wxp_close(w);
}

TEST(free_leaves_others_alone)
{
	struct wxp *w = open_default();
	char *code[20], *data[20];
	uint32_t i;

	for (i = 0; i < 20; i++) {
		code[i] = must_alloc(w, i + 1, CODE_SIZE, 0, WXP_RX);
		data[i] = must_alloc(w, i + 1, 100, 0, WXP_RW);
		code_write(code[i], i);
		memset(data[i], (int)i, 100);
		CHECK_EQ(wxp_protect(w, i + 1), 0);
	}
	for (i = 0; i < 20; i += 2) {
		CHECK_EQ(wxp_free(w, i + 1), 0);
		check_stats(w);
	}
	for (i = 1; i < 20; i += 2) {
		CHECK_EQ(code_run(code[i]), i);
		CHECK_EQ(data[i][99], i);
	}
	CHECK_EQ(stats_of(w).pools, 10);
	wxp_close(w);
}

TEST(freed_memory_is_gone)
{
	struct wxp *w = open_default();
	char *code = must_alloc(w, 1, CODE_SIZE, 0, WXP_RX);
	char *ro = must_alloc(w, 1, CODE_SIZE, 0, WXP_R);
	char *open_ro = must_alloc(w, 2, CODE_SIZE, 0, WXP_R);

	code_write(code, 1);
	code_write(ro, 2);
	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK_EQ(wxp_free(w, 2), 0);
	if (is_fast(w)) {
		CHECK(is_zero(code, CODE_SIZE) && is_zero(ro, CODE_SIZE));
	} else {
		CHECK(run_faults(code) && load_faults(code));
		CHECK(load_faults(ro) && load_faults(open_ro));
	}
	wxp_close(w);
}

TEST(reused_memory_is_zero)
{
	struct wxp *w = open_window(4 * MIB);
	int i, k, round;

	for (round = 0; round < 4; round++) {
		for (i = 0; i < 3; i++) {
			for (k = 1; k <= 3; k++) {
				char *p = must_alloc(w, (uint32_t)k, 300000, 0, prots[i]);

				CHECK(is_zero(p, 300000));
				memset(p, 0xcc, 300000);
			}
		}
		CHECK_EQ(wxp_protect(w, 1), 0);
		for (k = 1; k <= 3; k++)
			CHECK_EQ(wxp_free(w, (uint32_t)k), 0);
		CHECK_EQ(stats_of(w).pages_open, 0);
	}
	wxp_close(w);
}

TEST(pool_numbers)
{
	static const uint32_t ids[] = { 1, 64, 128, 1u << 31, UINT32_MAX - 1, UINT32_MAX };
	struct wxp *w = open_default();
	char *p[6];
	uint32_t i;

	for (i = 0; i < 6; i++)
		code_write(p[i] = must_alloc(w, ids[i], CODE_SIZE, 0, WXP_RX), i);
	for (i = 0; i < 6; i++)
		CHECK_EQ(wxp_protect(w, ids[i]), 0);
	for (i = 0; i < 6; i++) {
		CHECK_EQ(code_run(p[i]), i);
		CHECK_EQ(wxp_free(w, ids[i]), 0);
		CHECK_EQ(wxp_free(w, ids[i]), -ENOENT);
	}
	must_alloc(w, ids[0], 1, 0, WXP_RX);
	CHECK_EQ(stats_of(w).pools, 1);
	wxp_close(w);
}

TEST(protect_again_does_only_what_is_new)
{
	struct wxp *w = open_default();
	uint64_t calls;
	char *p[50];
	uint32_t i, k;

	for (i = 0; i < 50; i++) {
		p[i] = must_alloc(w, 1, CODE_SIZE, 0, WXP_RX);
		CHECK(!i || (uintptr_t)p[i] / PAGE != (uintptr_t)p[i - 1] / PAGE);
		code_write(p[i], i);
		CHECK_EQ(wxp_protect(w, 1), 0);
		for (k = 0; k <= i; k++)
			CHECK_EQ(code_run(p[k]), k);
		check_stats(w);
	}
	calls = stats_of(w).syscalls;
	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK_EQ(stats_of(w).syscalls, calls);
	CHECK_EQ(stats_of(w).pages_rx, 50);
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK_EQ(stats_of(w).pages_rx, 0);
	wxp_close(w);
}

TEST(protect_of_one_pool_leaves_others_open)
{
	struct wxp *w = open_default();
	char *a = must_alloc(w, 1, CODE_SIZE, 0, WXP_RX);
	char *b = must_alloc(w, 2, CODE_SIZE, 0, WXP_RX);

	code_write(a, 1);
	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK(!store_faults(b));
	code_write(b, 2);
	CHECK_EQ(wxp_protect(w, 2), 0);
	CHECK_EQ(code_run(a) + code_run(b), 3);
	wxp_close(w);
}

TEST(writable_data_survives_protect)
{
	struct wxp *w = open_default();
	char *a = must_alloc(w, 1, 100, 0, WXP_RW), *b;
	uint64_t calls;

	memset(a, 1, 100);
	CHECK_EQ(wxp_protect(w, 1), 0);
	calls = stats_of(w).syscalls;
	b = must_alloc(w, 1, 100, 0, WXP_RW);
	CHECK_EQ(stats_of(w).syscalls, calls);
	CHECK_EQ((uintptr_t)b / PAGE, (uintptr_t)a / PAGE);
	memset(b, 2, 100);
	CHECK_EQ(a[0] + a[99] + b[0], 4);
	CHECK_EQ(stats_of(w).pages_rw, 1);
	wxp_close(w);
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
TEST(sealed_code_cannot_be_undone)
{
	struct wxp *w = open_default();
	char *p = must_alloc(w, 1, CODE_SIZE, 0, WXP_RX), *page;

	if (!is_kernel(w)) {
		wxp_close(w);
		test_skip("only the kernel backend stops the process itself");
	}
	code_write(p, 42);
	CHECK_EQ(wxp_protect(w, 1), 0);
	page = p - (uintptr_t)p % PAGE;
	CHECK_EQ(mprotect(page, PAGE, PROT_READ | PROT_WRITE), -1);
	CHECK_EQ(mprotect(page, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC), -1);
	CHECK(!proc_mem_writes(p));
	CHECK_EQ(code_run(p), 42);
	wxp_close(w);
}

TEST(stats_count_what_is_there)
{
	struct wxp *w = open_default();
	struct wxp_stats s;

	must_alloc(w, 1, 100, 0, WXP_RX);
	must_alloc(w, 1, PAGE, 0, WXP_R);
	must_alloc(w, 1, PAGE + 1, 0, WXP_RW);
	s = stats_of(w);
	CHECK_EQ(s.pools, 1);
	CHECK_EQ(s.allocations, 3);
	CHECK_EQ(s.bytes_requested, 100 + PAGE + PAGE + 1);
	CHECK_EQ(s.pages_open, 2);
	CHECK_EQ(s.pages_rw, 2);
	CHECK_EQ(s.bytes_lost, 4 * PAGE - s.bytes_requested);
	CHECK_EQ(wxp_protect(w, 1), 0);
	s = stats_of(w);
	CHECK_EQ(s.pages_open, 0);
	CHECK_EQ(s.pages_r, 1);
	CHECK_EQ(s.pages_rx, 1);
	CHECK_EQ(s.pages_rw, 2);
	CHECK_EQ(wxp_free(w, 1), 0);
	s = stats_of(w);
	CHECK_EQ(s.pools + s.allocations + s.bytes_requested + s.bytes_lost, 0);
	CHECK_EQ(s.pages_open + s.pages_r + s.pages_rx + s.pages_rw + s.pages_kept, 0);
	wxp_close(w);
}

TEST(stats_size)
{
	struct { struct wxp_stats s; uint64_t later; } arg;
	struct wxp *w = open_default();

	memset(&arg, 0xff, sizeof(arg));
	/* The first version ended before "spans". */
	arg.s.size = offsetof(struct wxp_stats, spans) - 1;
	CHECK_EQ(wxp_get_stats(w, &arg.s), -EINVAL);
	arg.s.size++;
	CHECK_EQ(wxp_get_stats(w, &arg.s), 0);
	CHECK_EQ(arg.s.pools, 0);
	CHECK_EQ(arg.s.spans, UINT64_MAX);
	CHECK_EQ(arg.s.size, offsetof(struct wxp_stats, spans));
	CHECK_EQ(wxp_get_stats(w, NULL), -EINVAL);
	arg.s.size = sizeof(arg);
	CHECK_EQ(wxp_get_stats(w, &arg.s), 0);
	CHECK_EQ(arg.later, 0);
	CHECK_EQ(arg.s.size, sizeof(arg));
	wxp_close(w);
}
