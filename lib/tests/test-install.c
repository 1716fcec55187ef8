// SPDX-License-Identifier: MIT
/* Placing and installing: packing, each line once, and what freeing leaves. */
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <signal.h>

#include <linux/wxpool.h>

#include "test.h"

#define NR(a)	(sizeof(a) / sizeof((a)[0]))
#define LINES(n) (((n) + WXP_LINE - 1) / WXP_LINE)

static struct wxp_span must_place(struct wxp *w, uint32_t pool, size_t size, size_t align,
				  enum wxp_prot prot)
{
	struct wxp_request r = { size, align, prot };
	struct wxp_span span = { 0 };
	size_t window;
	void *base;

	CHECK_EQ(wxp_place(w, pool, &r, 1, &span), 0);
	wxp_get_window(w, &base, &window);
	CHECK((uintptr_t)span.addr >= (uintptr_t)base);
	CHECK((uintptr_t)span.addr + size <= (uintptr_t)base + window);
	CHECK_EQ((uintptr_t)span.addr % (align > WXP_LINE ? align : WXP_LINE), 0);
	CHECK_EQ(span.size, size);
	return span;
}

static int install(struct wxp *w, uint32_t pool, void *addr, const void *src, size_t size)
{
	struct wxp_piece piece = { addr, src, size };

	return wxp_install(w, pool, &piece, 1);
}

/* A function that returns @value, in @size bytes. */
static void *must_load(struct wxp *w, uint32_t pool, size_t size, uint32_t value)
{
	struct wxp_span span = must_place(w, pool, size, 0, WXP_RX);
	char *code = calloc(1, size);

	code_write(code, value);
	CHECK_EQ(install(w, pool, span.addr, code, size), 0);
	free(code);
	return span.addr;
}

static bool all_bytes(const void *p, size_t size, int byte)
{
	const unsigned char *bytes = p;

	while (size && *bytes == byte) {
		bytes++;
		size--;
	}
	return !size;
}

static bool is_traps(const char *p, size_t size)
{
	size_t i;

	for (i = 0; i + 4 <= size; i += 4)
		if (memcmp(p + i, CODE_TRAP, 4))
			return false;
	return true;
}

TEST(place_install_run_free)
{
	struct wxp_request r[] = {
		{ CODE_SIZE, 0, WXP_RX }, { 500, 32, WXP_R }, { 300, 8, WXP_RW },
	};
	char code[CODE_SIZE], data[500];
	struct wxp *w = open_default();
	struct wxp_piece pieces[2];
	struct wxp_span s[3];
	struct wxp_stats st;

	CHECK_EQ(wxp_place(w, 7, r, 3, s), 0);
	CHECK(is_zero(s[2].addr, 300));
	memset(s[2].addr, 1, 300);
	code_write(code, 42);
	memset(data, 9, sizeof(data));
	pieces[0] = (struct wxp_piece){ s[0].addr, code, CODE_SIZE };
	pieces[1] = (struct wxp_piece){ s[1].addr, data, 500 };
	CHECK_EQ(wxp_install(w, 7, pieces, 2), 0);
	CHECK_EQ(code_run(s[0].addr), 42);
	CHECK(all_bytes(s[1].addr, 500, 9));
	CHECK(all_bytes(s[2].addr, 300, 1));
	CHECK(is_traps((char *)s[0].addr + 12, WXP_LINE - 12));
	CHECK(is_zero((char *)s[1].addr + 500, 12));
	CHECK(is_fast(w) || (store_faults(s[0].addr) && store_faults(s[1].addr)));
	CHECK(is_fast(w) || run_faults(s[1].addr));
	st = stats_of(w);
	CHECK_EQ(st.pools, 1);
	CHECK_EQ(st.spans, 3);
	CHECK_EQ(st.bytes_placed, CODE_SIZE + 800);
	CHECK_EQ(st.lines, 1 + 8 + 5);
	CHECK_EQ(st.lines_installed, 1 + 8);
	CHECK_EQ(st.pages_packed, 3);
	check_stats(w);
	CHECK_EQ(wxp_free(w, 7), 0);
	st = stats_of(w);
	CHECK_EQ(st.pools + st.spans + st.bytes_placed + st.lines + st.lines_installed, 0);
	CHECK_EQ(st.pages_packed, 0);
	CHECK_EQ(wxp_free(w, 7), -ENOENT);
	wxp_close(w);
}

/* Within and between pools nothing is lost but the rest of each last line. */
TEST(spans_are_packed)
{
	struct wxp *w = open_default();
	char *next = NULL, *p;
	uint32_t i;

	for (i = 1; i <= 500; i++) {
		p = must_place(w, 1 + i % 50, 1 + i % 200, 0, WXP_RX).addr;
		CHECK(!next || p == next);
		next = p + LINES(1 + i % 200) * WXP_LINE;
	}
	CHECK_EQ(stats_of(w).pages_packed, (stats_of(w).lines * WXP_LINE + PAGE - 1) / PAGE);
	wxp_close(w);
}

TEST(protections_are_packed_apart)
{
	struct wxp *w = open_default();
	uintptr_t a = (uintptr_t)must_place(w, 1, 8, 0, WXP_RX).addr / PAGE;
	uintptr_t b = (uintptr_t)must_place(w, 1, 8, 0, WXP_R).addr / PAGE;
	uintptr_t c = (uintptr_t)must_place(w, 1, 8, 0, WXP_RW).addr / PAGE;

	CHECK(a != b && b != c && a != c);
	wxp_close(w);
}

TEST(alignment_loses_nothing)
{
	struct wxp *w = open_default();
	uintptr_t p;
	int i;

	must_place(w, 1, 1, 0, WXP_RX);
	p = (uintptr_t)must_place(w, 1, PAGE, PAGE, WXP_RX).addr;
	/* The gap before it is there for the next. */
	for (i = 0; i < 3; i++)
		CHECK((uintptr_t)must_place(w, 1, PAGE / 4, 0, WXP_RX).addr != p);
	CHECK((uintptr_t)must_place(w, 1, (PAGE / WXP_LINE - 1) * WXP_LINE, 0, WXP_RX).addr);
	for (i = 7; i <= 12; i++)
		must_place(w, 1, 100, (size_t)1 << i, WXP_R);
	wxp_close(w);
}

static void load_tiny(struct wxp *w, uint32_t pool)
{
	struct wxp_request r[] = { { 107, 16, WXP_RX }, { 145, 16, WXP_R }, { 132, 8, WXP_RW } };
	char code[107] = { 0 }, data[145];
	struct wxp_piece pieces[2];
	struct wxp_span s[3];

	CHECK_EQ(wxp_place(w, pool, r, 3, s), 0);
	code_write(code, pool);
	memset(data, (int)pool, sizeof(data));
	pieces[0] = (struct wxp_piece){ s[0].addr, code, 107 };
	pieces[1] = (struct wxp_piece){ s[1].addr, data, 145 };
	CHECK_EQ(wxp_install(w, pool, pieces, 2), 0);
	CHECK(is_zero(s[2].addr, 132));
	memset(s[2].addr, (int)pool, 132);
	CHECK_EQ(code_run(s[0].addr), pool);
}

TEST(ten_thousand_tiny_modules)
{
	uint32_t nr = under_valgrind() || sanitized() ? 1000 : 10000, i;
	struct wxp *w = open_default();
	struct wxp_stats s;

	for (i = 1; i <= nr; i++)
		load_tiny(w, i);
	s = stats_of(w);
	printf("# %s: %llu mappings, %llu pages for %llu lines\n",
	       wxp_backend_name(wxp_get_backend(w)), (unsigned long long)s.vmas,
	       (unsigned long long)s.pages_packed, (unsigned long long)s.lines);
	CHECK_EQ(s.lines, nr * (2 + 3 + 3));
	CHECK(s.vmas <= 16);
	CHECK(s.pages_packed * PAGE <= s.lines * WXP_LINE * 11 / 10);
	for (i = 1; i <= nr; i++)
		CHECK_EQ(wxp_free(w, i), 0);
	CHECK_EQ(stats_of(w).lines, 0);
	wxp_close(w);
}

TEST(place_bad_arguments)
{
	struct wxp_request good = { 100, 0, WXP_RX };
	struct wxp_request bad[][2] = {
		{ good, { 0, 0, WXP_RX } }, { good, { 1, 3, WXP_RX } },
		{ good, { 1, 2 * PAGE, WXP_RX } }, { good, { 1, 0, (enum wxp_prot)0 } },
		{ good, { 1, 0, (enum wxp_prot)9 } },
	};
	struct wxp *w = open_default();
	struct wxp_span s[2];
	size_t i;

	for (i = 0; i < NR(bad); i++)
		CHECK_EQ(wxp_place(w, 1, bad[i], 2, s), -EINVAL);
	CHECK_EQ(wxp_place(w, 0, &good, 1, s), -EINVAL);
	CHECK_EQ(wxp_place(w, 1, NULL, 1, s), -EINVAL);
	CHECK_EQ(wxp_place(w, 1, &good, 0, s), -EINVAL);
	CHECK_EQ(wxp_place(w, 1, &good, 1, NULL), -EINVAL);
	CHECK_EQ(wxp_place(NULL, 1, &good, 1, s), -EINVAL);
	good.size = SIZE_MAX;
	CHECK_EQ(wxp_place(w, 1, &good, 1, s), -ENOMEM);
	CHECK_EQ(stats_of(w).pools, 0);
	CHECK_EQ(stats_of(w).syscalls, 0);
	wxp_close(w);
}

TEST(failed_place_keeps_nothing)
{
	struct wxp_request r[] = { { 100, 0, WXP_RX }, { MIB, 0, WXP_RX }, { 3 * MIB, 0, WXP_RW } };
	struct wxp *w = open_window(4 * MIB);
	struct wxp_stats before, after;
	struct wxp_span s[3];

	must_place(w, 1, 200, 0, WXP_RX);
	before = stats_of(w);
	CHECK_EQ(wxp_place(w, 1, r, 3, s), -ENOMEM);
	CHECK_EQ(wxp_place(w, 2, r, 3, s), -ENOMEM);
	after = stats_of(w);
	check_same_stats(&before, &after);
	CHECK_EQ(wxp_place(w, 2, r, 2, s), 0);
	wxp_close(w);
}

TEST(install_bad_pieces)
{
	struct wxp *w = open_default();
	char *x = must_place(w, 1, 3 * WXP_LINE, 0, WXP_RX).addr;
	char *other = must_place(w, 2, 3 * WXP_LINE, 0, WXP_RX).addr;
	char *rw = must_place(w, 1, 100, 0, WXP_RW).addr;
	char *region = must_alloc(w, 1, 100, 0, WXP_RX);
	char src[4 * WXP_LINE] = { 0 };
	struct wxp_piece good = { x, src, WXP_LINE };
	struct wxp_piece bad[] = {
		{ x + 1, src, 1 }, { x + 16, src, 1 }, { x, src, 0 }, { x, src, 3 * WXP_LINE + 1 },
		{ x + WXP_LINE, src, 2 * WXP_LINE + 1 }, { x - WXP_LINE, src, 1 },
		{ x, src, SIZE_MAX },
		{ other, src, 1 }, { other + WXP_LINE, src, 1 }, { rw, src, 64 }, { NULL, src, 1 },
		{ src, src, 1 }, { region, src, 1 },
		{ other + 3 * WXP_LINE, src, 1 }, { (char *)-(size_t)WXP_LINE, src, 64 },
	};
	struct wxp_piece two[2];
	size_t i;

	for (i = 0; i < NR(bad); i++) {
		two[0] = good;
		two[1] = bad[i];
		CHECK_EQ(wxp_install(w, 1, two, 2), -EINVAL);
		CHECK_EQ(wxp_install(w, 1, &bad[i], 1), -EINVAL);
	}
	CHECK_EQ(wxp_install(w, 1, &good, 0), -EINVAL);
	CHECK_EQ(wxp_install(w, 1, NULL, 1), -EINVAL);
	CHECK_EQ(wxp_install(NULL, 1, &good, 1), -EINVAL);
	CHECK_EQ(wxp_install(w, 3, &good, 1), -ENOENT);
	CHECK_EQ(stats_of(w).lines_installed, 0);
	CHECK_EQ(wxp_install(w, 1, &good, 1), 0);
	wxp_close(w);
}

TEST(each_line_once)
{
	struct wxp *w = open_default();
	char *x = must_place(w, 1, 10 * WXP_LINE, 0, WXP_RX).addr;
	char src[10 * WXP_LINE];
	struct wxp_piece overlap[] = {
		{ x + 4 * WXP_LINE, src, 2 * WXP_LINE }, { x + 5 * WXP_LINE, src, 1 },
	};
	int i;

	memset(src, 0, sizeof(src));
	code_write(src, 1);
	CHECK_EQ(install(w, 1, x, src, 100), 0);
	code_write(src, 2);
	for (i = 0; i < 2; i++)
		CHECK_EQ(install(w, 1, x + i * WXP_LINE, src, 1), -EEXIST);
	CHECK_EQ(install(w, 1, x, src, 10 * WXP_LINE), -EEXIST);
	CHECK_EQ(wxp_install(w, 1, overlap, 2), -EEXIST);
	CHECK_EQ(stats_of(w).lines_installed, 2);
	CHECK_EQ(code_run(x), 1);
	/* The rest, in any order. */
	CHECK_EQ(install(w, 1, x + 7 * WXP_LINE, src, 3 * WXP_LINE), 0);
	CHECK_EQ(install(w, 1, x + 2 * WXP_LINE, src, 5 * WXP_LINE), 0);
	CHECK_EQ(code_run(x), 1);
	CHECK_EQ(code_run(x + 2 * WXP_LINE) + code_run(x + 7 * WXP_LINE), 4);
	CHECK_EQ(stats_of(w).lines_installed, 10);
	wxp_close(w);
}

TEST(bad_source_leaves_nothing)
{
	struct wxp *w = open_default();
	char *x = must_place(w, 1, CODE_SIZE, 0, WXP_RX).addr;
	char *r = must_place(w, 1, 2 * PAGE, 0, WXP_R).addr;
	char code[CODE_SIZE], *half;
	struct wxp_piece pieces[2];

	if (is_fast(w)) {
		wxp_close(w);
		test_skip("the fast backend copies by itself");
	}
	half = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(half != MAP_FAILED);
	memset(half, 7, 2 * PAGE);
	CHECK(!mprotect(half + PAGE, PAGE, PROT_NONE));
	code_write(code, 3);
	pieces[0] = (struct wxp_piece){ x, code, CODE_SIZE };
	pieces[1] = (struct wxp_piece){ r, half, 2 * PAGE };
	CHECK_EQ(wxp_install(w, 1, pieces, 2), -EFAULT);
	CHECK_EQ(stats_of(w).lines_installed, 0);
	if (is_portable(w)) {
		CHECK(is_traps(x, WXP_LINE));
		CHECK(is_zero(r, 2 * PAGE));
	} else {
		CHECK(load_faults(x) && load_faults(r));
	}
	CHECK(!mprotect(half + PAGE, PAGE, PROT_READ));
	CHECK_EQ(wxp_install(w, 1, pieces, 2), 0);
	CHECK_EQ(code_run(x), 3);
	CHECK(all_bytes(r, 2 * PAGE, 7));
	munmap(half, 2 * PAGE);
	wxp_close(w);
}

TEST(freed_lines_are_empty_beside_others)
{
	struct wxp *w = open_default();
	char *a = must_load(w, 1, 200, 1), *b = must_load(w, 2, 200, 2);
	char *c = must_load(w, 3, 200, 3);
	char *r = must_place(w, 1, 128, 0, WXP_R).addr, src[128];
	char *r2 = must_place(w, 2, 128, 0, WXP_R).addr;

	memset(src, 5, sizeof(src));
	CHECK_EQ(install(w, 1, r, src, 128), 0);
	CHECK_EQ(install(w, 2, r2, src, 128), 0);
	CHECK_EQ((uintptr_t)a / PAGE, (uintptr_t)c / PAGE);
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK(is_traps(a, 256));
	CHECK(is_zero(r, 128));
	CHECK(all_bytes(r2, 128, 5));
	CHECK_EQ(code_run(b) + code_run(c), 5);
	CHECK_EQ(wxp_free(w, 3), 0);
	CHECK(is_traps(c, 256));
	CHECK_EQ(code_run(b), 2);
	/* And are used again. */
	CHECK(must_load(w, 4, 200, 4) == c || must_load(w, 4, 200, 4) == c);
	CHECK_EQ(code_run(c), 4);
	CHECK_EQ(code_run(b), 2);
	wxp_close(w);
}

TEST(last_pool_of_a_page)
{
	struct wxp *w = open_default();
	char *p = must_load(w, 1, 100, 1);
	int i;

	for (i = 2; i < 20; i++) {
		CHECK_EQ(wxp_free(w, (uint32_t)i - 1), 0);
		CHECK(!is_kernel(w) || load_faults(p));
		CHECK(is_kernel(w) || is_traps(p, 128));
		CHECK(must_load(w, (uint32_t)i, 100, (uint32_t)i) == p);
		CHECK_EQ(code_run(p), i);
	}
	wxp_close(w);
}

TEST(writable_lines_read_as_zero_again)
{
	struct wxp *w = open_default();
	uint32_t i, k;
	char *p, *keep;

	keep = must_place(w, 1000, 100, 0, WXP_RW).addr;
	memset(keep, 3, 100);
	for (i = 1; i < 40; i++) {
		for (k = 0; k < 4; k++) {
			size_t size = 1 + (i * 397 + k * 2903) % (3 * PAGE);

			p = must_place(w, i, size, 0, WXP_RW).addr;
			CHECK(is_zero(p, size));
			memset(p, 0xff, LINES(size) * WXP_LINE);
		}
		if (i > 3)
			CHECK_EQ(wxp_free(w, i - 3), 0);
	}
	CHECK(all_bytes(keep, 100, 3));
	wxp_close(w);
}

TEST(writable_memory_is_cached)
{
	struct wxp *w = open_window(256 * MIB);
	uint64_t limit = 4 * MIB;
	char *p;
	int i;

	for (i = 0; i < 12; i++) {
		p = must_alloc(w, 1, MIB - PAGE, 0, WXP_RW);
		CHECK(is_zero(p, MIB - PAGE));
		memset(p, 1, MIB - PAGE);
		p = must_place(w, 2, MIB - PAGE, 0, WXP_RW).addr;
		CHECK(is_zero(p, MIB - PAGE));
		memset(p, 1, MIB - PAGE);
		CHECK_EQ(wxp_free(w, 1), 0);
		CHECK(stats_of(w).bytes_cached >= MIB - PAGE);
		CHECK_EQ(wxp_free(w, 2), 0);
		CHECK(stats_of(w).bytes_cached <= limit);
	}
	/* More than that goes back to the system. */
	p = must_alloc(w, 1, 16 * MIB, 0, WXP_RW);
	CHECK(is_zero(p, 16 * MIB));
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK_EQ(stats_of(w).bytes_cached, 0);
	wxp_close(w);
}

TEST(shrink_gives_lines_back)
{
	struct wxp *w = open_default();
	struct wxp_span s = must_place(w, 1, 1000, 0, WXP_RX), old = s, t;
	char src[1000];

	CHECK_EQ(wxp_shrink(w, &s, 100), 0);
	CHECK(s.addr == old.addr && s.size == 100);
	CHECK_EQ(stats_of(w).lines, 2);
	CHECK_EQ(stats_of(w).bytes_placed, 100);
	CHECK_EQ(wxp_shrink(w, &s, 100), 0);
	CHECK_EQ(wxp_shrink(w, &s, 70), 0);
	CHECK_EQ(stats_of(w).lines, 2);
	t = must_place(w, 2, 14 * WXP_LINE, 0, WXP_RX);
	CHECK((char *)t.addr == (char *)s.addr + 2 * WXP_LINE);
	memset(src, 0, sizeof(src));
	CHECK_EQ(install(w, 1, s.addr, src, 1000), -EINVAL);
	CHECK_EQ(install(w, 1, s.addr, src, 70), 0);
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK_EQ(wxp_free(w, 2), 0);
	CHECK_EQ(stats_of(w).bytes_placed, 0);
	wxp_close(w);
}

TEST(shrink_bad_arguments)
{
	struct wxp *w = open_default();
	struct wxp_span s = must_place(w, 1, 1000, 0, WXP_RX), bad;
	char src[WXP_LINE] = { 0 };

	CHECK_EQ(wxp_shrink(w, &s, 0), -EINVAL);
	CHECK_EQ(wxp_shrink(w, &s, 1001), -EINVAL);
	CHECK_EQ(wxp_shrink(w, NULL, 1), -EINVAL);
	bad = (struct wxp_span){ (char *)s.addr + WXP_LINE, 1000 - WXP_LINE };
	CHECK_EQ(wxp_shrink(w, &bad, 1), -EINVAL);
	bad = (struct wxp_span){ s.addr, 2000 };
	CHECK_EQ(wxp_shrink(w, &bad, 1), -EINVAL);
	bad = (struct wxp_span){ src, 1000 };
	CHECK_EQ(wxp_shrink(w, &bad, 1), -EINVAL);
	bad = (struct wxp_span){ (char *)s.addr + 1024, 1000 };
	CHECK_EQ(wxp_shrink(w, &bad, 1), -EINVAL);
	CHECK_EQ(install(w, 1, (char *)s.addr + 5 * WXP_LINE, src, 1), 0);
	CHECK_EQ(wxp_shrink(w, &s, 5 * WXP_LINE), -EEXIST);
	CHECK_EQ(s.size, 1000);
	CHECK_EQ(wxp_shrink(w, &s, 5 * WXP_LINE + 1), 0);
	CHECK_EQ(stats_of(w).lines, 6);
	wxp_close(w);
}

TEST(thousands_of_pieces)
{
	enum { N = 2500 };
	struct wxp_piece *pieces = calloc(N, sizeof(*pieces));
	struct wxp_request *r = calloc(N, sizeof(*r));
	struct wxp_span *s = calloc(N, sizeof(*s));
	char (*code)[CODE_SIZE] = calloc(N, CODE_SIZE);
	struct wxp *w = open_default();
	uint64_t calls;
	uint32_t i;

	for (i = 0; i < N; i++)
		r[i] = (struct wxp_request){ CODE_SIZE, 0, WXP_RX };
	CHECK_EQ(wxp_place(w, 1, r, N, s), 0);
	calls = stats_of(w).syscalls;
	for (i = 0; i < N; i++) {
		code_write(code[i], i);
		pieces[i] = (struct wxp_piece){ s[i].addr, code[i], CODE_SIZE };
	}
	CHECK_EQ(wxp_install(w, 1, pieces, N), 0);
	CHECK(!is_kernel(w) || stats_of(w).syscalls == calls + 3);
	for (i = 0; i < N; i++)
		CHECK_EQ(code_run(s[i].addr), i);
	CHECK_EQ(stats_of(w).lines_installed, N);
	free(pieces);
	free(r);
	free(s);
	free(code);
	wxp_close(w);
}

TEST(large_pieces)
{
	size_t size = 33 * MIB + 12345, i;
	struct wxp *w = open_default();
	char *src = malloc(size), *p = must_place(w, 1, size, 0, WXP_R).addr;
	uint64_t calls = stats_of(w).syscalls;

	for (i = 0; i < size; i += PAGE)
		memset(src + i, (int)(i / PAGE * 31 % 251), i + PAGE > size ? size - i : PAGE);
	CHECK_EQ(install(w, 1, p, src, size), 0);
	CHECK(!is_kernel(w) || stats_of(w).syscalls == calls + 3);
	CHECK(!memcmp(p, src, size));
	CHECK_EQ(wxp_free(w, 1), 0);
	free(src);
	wxp_close(w);
}

/* Random life, with contents checked, and the same window for all of it. */
TEST(churn_of_packed_pools)
{
	static struct { uint32_t id; char *code, *data; size_t size; } live[300], *l;
	uint32_t rounds = under_valgrind() ? 1000 : 5000, i, next = 1;
	struct wxp *w = open_window(32 * MIB);
	uint64_t seed = 5;
	char *src = malloc(9000);

	memset(live, 0, sizeof(live));
	for (i = 0; i < rounds; i++) {
		l = &live[random_next(&seed) % 300];
		if (l->id) {
			CHECK_EQ(code_run(l->code), l->id);
			CHECK(all_bytes(l->data, l->size, (int)(l->id & 0xff)));
			CHECK_EQ(wxp_free(w, l->id), 0);
		}
		l->id = next++;
		l->size = 1 + random_next(&seed) % (i % 10 ? 300 : 9000);
		l->code = must_load(w, l->id, CODE_SIZE + random_next(&seed) % 500, l->id);
		l->data = must_place(w, l->id, l->size, 1u << random_next(&seed) % 9, WXP_R).addr;
		memset(src, (int)(l->id & 0xff), l->size);
		CHECK_EQ(install(w, l->id, l->data, src, l->size), 0);
		if (i % 5 == 0)
			CHECK(is_zero(must_place(w, l->id, l->size, 0, WXP_RW).addr, l->size));
	}
	CHECK(stats_of(w).vmas <= 16);
	for (l = live; l < live + 300; l++)
		if (l->id)
			CHECK_EQ(wxp_free(w, l->id), 0);
	CHECK_EQ(stats_of(w).lines + stats_of(w).bytes_placed + stats_of(w).pages_packed, 0);
	free(src);
	wxp_close(w);
}

TEST(regions_and_spans_in_one_pool)
{
	struct wxp *w = open_default();
	char *region, *span;
	int i;

	for (i = 0; i < 3; i++) {
		span = must_load(w, 1, 100, 1);
		region = must_alloc(w, 1, CODE_SIZE, 0, WXP_RX);
		code_write(region, 2);
		must_place(w, 1, 100, 0, WXP_RW);
		CHECK_EQ(wxp_protect(w, 1), 0);
		CHECK_EQ(code_run(region) + code_run(span), 3);
		check_stats(w);
		CHECK_EQ(wxp_free(w, 1), 0);
		CHECK_EQ(stats_of(w).pools, 0);
	}
	span = must_load(w, 1, 100, 1);
	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK_EQ(wxp_protect(w, 2), -ENOENT);
	wxp_close(w);
}

/* Address space goes where it is needed. */
TEST(full_window_of_spans)
{
	static const enum wxp_prot prots[] = { WXP_R, WXP_RW, WXP_RX };
	struct wxp_request r = { 3 * PAGE, 0, WXP_RX };
	size_t window = 2048 * PAGE;
	struct wxp *w = open_window(window);
	struct wxp_span s;
	uint32_t nr, i;
	int k, ret;

	for (k = 0; k < 3; k++) {
		r.prot = prots[k];
		nr = 0;
		do {
			ret = wxp_place(w, nr + 1, &r, 1, &s);
			nr += !ret;
		} while (!ret);
		CHECK_EQ(ret, -ENOMEM);
		CHECK(nr >= window / (3 * PAGE) * 9 / 10);
		for (i = 1; i <= nr; i++)
			CHECK_EQ(wxp_free(w, i), 0);
		must_alloc(w, 1, window, 0, prots[(k + 1) % 3]);
		CHECK_EQ(wxp_free(w, 1), 0);
	}
	wxp_close(w);
}

TEST(freeze_is_for_good)
{
	struct wxp_request r = { 100, 0, WXP_RX };
	struct wxp *w = open_default();
	char *code = must_load(w, 1, 100, 1), *region, src[100] = { 0 };
	struct wxp_item item = { 2, 0, NULL, 0 };
	struct wxp_span s = must_place(w, 2, 200, 0, WXP_RX);
	struct wxp_piece piece = { s.addr, src, 100 };
	void *p;

	region = must_alloc(w, 3, CODE_SIZE, 0, WXP_RX);
	code_write(region, 3);
	CHECK_EQ(wxp_protect(w, 3), 0);
	must_alloc(w, 4, CODE_SIZE, 0, WXP_RX);
	CHECK_EQ(wxp_freeze(w), 0);
	CHECK_EQ(wxp_freeze(w), 0);
	CHECK_EQ(wxp_alloc(w, 1, 1, 0, WXP_RX, &p), -EROFS);
	CHECK_EQ(wxp_reserve(w, 1, &r, 1), -EROFS);
	CHECK_EQ(wxp_protect(w, 4), -EROFS);
	CHECK_EQ(wxp_place(w, 1, &r, 1, &s), -EROFS);
	CHECK_EQ(wxp_install(w, 2, &piece, 1), -EROFS);
	item.pieces = &piece;
	item.nr = 1;
	CHECK_EQ(wxp_install_batch(w, &item, 1), -EROFS);
	CHECK_EQ(code_run(code) + code_run(region), 4);
	CHECK_EQ(wxp_shrink(w, &s, 100), 0);
	for (uint32_t i = 1; i <= 4; i++)
		CHECK_EQ(wxp_free(w, i), 0);
	CHECK_EQ(stats_of(w).pools, 0);
	wxp_close(w);
	CHECK_EQ(wxp_freeze(NULL), -EINVAL);
	w = open_default();
	CHECK_EQ(code_run(must_load(w, 1, 100, 5)), 5);
	wxp_close(w);
}

static struct wxp *open_huge(size_t window)
{
	struct wxp_options opts = { .size = sizeof(opts), .flags = WXP_HUGE, .window = window };
	struct wxp *w = NULL;

	CHECK_EQ(wxp_open(&w, &opts), 0);
	return w;
}

TEST(huge_windows)
{
	struct wxp *w = open_huge(0);
	uint32_t i, nr = 3000;
	char **code = calloc(nr + 1, sizeof(*code));

	for (i = 1; i <= nr; i++)
		code[i] = must_load(w, i, 1000, i);
	CHECK_EQ((uintptr_t)code[1] % (2 * MIB), 0);
	printf("# %s: %llu of %llu pages are huge\n", wxp_backend_name(wxp_get_backend(w)),
	       (unsigned long long)stats_of(w).pages_huge,
	       (unsigned long long)stats_of(w).pages_packed);
	for (i = 1; i <= nr; i++)
		CHECK_EQ(code_run(code[i]), i);
	CHECK(stats_of(w).vmas <= 16);
	for (i = 1; i <= nr; i++)
		CHECK_EQ(wxp_free(w, i), 0);
	for (i = 0; i < 20; i++) {
		CHECK_EQ(code_run(must_load(w, 1, 1000, i)), i);
		CHECK_EQ(wxp_free(w, 1), 0);
	}
	/* All numbers are the program's. */
	CHECK_EQ(code_run(must_load(w, UINT32_MAX, 1000, 21)), 21);
	CHECK_EQ(wxp_free(w, UINT32_MAX), 0);
	free(code);
	wxp_close(w);
}

TEST(huge_windows_can_be_full)
{
	struct wxp *w = open_huge(16 * MIB);
	int i;

	for (i = 0; i < 4; i++) {
		must_load(w, 1, 3 * MIB, 1);
		must_load(w, 2, 64, 1);
		CHECK_EQ(wxp_free(w, 1), 0);
		CHECK_EQ(wxp_free(w, 2), 0);
		must_alloc(w, 1, 16 * MIB, 0, i % 2 ? WXP_RX : WXP_R);
		CHECK_EQ(wxp_free(w, 1), 0);
	}
	wxp_close(w);
}

TEST(prepared_install)
{
	struct wxp *w = open_default();
	char *x = must_place(w, 1, 200, 0, WXP_RX).addr, code[CODE_SIZE];
	struct wxp_piece piece = { x, code, CODE_SIZE };
	struct wxpool_install_range range;
	struct wxpool_install op;
	int ret;

	if (!is_kernel(w)) {
		CHECK_EQ(wxp_install_prepare(w, 1, &piece, 1, &op, &range), -EOPNOTSUPP);
		CHECK_EQ(wxp_get_fd(w), -EOPNOTSUPP);
		wxp_close(w);
		return;
	}
	code_write(code, 9);
	CHECK_EQ(wxp_install_prepare(w, 2, &piece, 1, &op, &range), -ENOENT);
	CHECK_EQ(wxp_install_prepare(w, 1, &piece, 0, &op, &range), -EINVAL);
	CHECK_EQ(wxp_install_prepare(w, 1, &piece, 1025, &op, &range), -EINVAL);
	CHECK_EQ(wxp_install_prepare(w, 1, &piece, 1, &op, &range), 0);
	/* It is under way. */
	CHECK_EQ(wxp_install(w, 1, &piece, 1), -EEXIST);
	CHECK_EQ(wxp_free(w, 1), -EBUSY);
	CHECK_EQ(wxp_install_done(w, &op, -ECANCELED), -ECANCELED);
	CHECK_EQ(wxp_install_done(w, &op, 0), -EINVAL);
	CHECK_EQ(stats_of(w).lines_installed, 0);
	CHECK_EQ(wxp_install_prepare(w, 1, &piece, 1, &op, &range), 0);
	ret = ioctl(wxp_get_fd(w), WXPOOL_IOC_INSTALL, &op) ? -errno : 0;
	CHECK_EQ(wxp_install_done(w, &op, 1), -EINVAL);
	CHECK_EQ(wxp_install_done(w, &op, ret), 0);
	CHECK_EQ(code_run(x), 9);
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK(load_faults(x));
	wxp_close(w);
}

TEST(batch_of_pools)
{
	enum { N = 200 };
	static struct wxp_piece pieces[N];
	static struct wxp_item items[N];
	static char code[N][CODE_SIZE];
	struct wxp *w = open_default();
	uint64_t calls;
	uint32_t i;

	for (i = 0; i < N; i++) {
		code_write(code[i], i);
		pieces[i] = (struct wxp_piece){ must_place(w, i + 1, 100, 0, WXP_RX).addr, code[i],
						CODE_SIZE };
		items[i] = (struct wxp_item){ i + 1, 1, &pieces[i], 1 };
	}
	CHECK_EQ(wxp_install_batch(w, items, 1), 0);
	CHECK_EQ(wxp_install_batch(w, items + 1, 9), 0);
	calls = stats_of(w).syscalls;
	items[50].pool = 4000;
	items[60].pieces = NULL;
	items[70].nr = 0;
	pieces[80].addr = pieces[81].addr;
	/* 5 of these are there already. */
	CHECK_EQ(wxp_install_batch(w, items + 5, 105), -EEXIST);
	CHECK(!is_kernel(w) || stats_of(w).syscalls <= calls + 10);
	for (i = 5; i < 110; i++)
		CHECK_EQ(items[i].result, i < 10 ? -EEXIST : i == 50 ? -ENOENT :
			 i == 60 || i == 70 || i == 80 ? -EINVAL : 0);
	for (i = 0; i < 110; i++)
		if (i != 50 && i != 60 && i != 70 && i != 80)
			CHECK_EQ(code_run(pieces[i].addr), i);
	CHECK_EQ(stats_of(w).lines_installed, 110 - 4);
	CHECK_EQ(wxp_install_batch(w, items + 110, 90), 0);
	CHECK_EQ(wxp_install_batch(w, items, 0), -EINVAL);
	CHECK_EQ(wxp_install_batch(w, NULL, 1), -EINVAL);
	for (i = 0; i < N; i++)
		CHECK_EQ(wxp_free(w, i + 1), 0);
	wxp_close(w);
}

TEST(batch_with_bad_source)
{
	struct wxp *w = open_default();
	char *a = must_place(w, 1, 100, 0, WXP_RX).addr, *b = must_place(w, 2, 100, 0, WXP_RX).addr;
	char code[CODE_SIZE];
	struct wxp_piece pieces[2] = { { a, (void *)16, CODE_SIZE }, { b, code, CODE_SIZE } };
	struct wxp_item items[2] = { { 1, 0, &pieces[0], 1 }, { 2, 0, &pieces[1], 1 } };

	if (is_fast(w)) {
		wxp_close(w);
		test_skip("the fast backend copies by itself");
	}
	code_write(code, 8);
	CHECK_EQ(wxp_install_batch(w, items, 2), -EFAULT);
	CHECK_EQ(items[0].result, -EFAULT);
	CHECK_EQ(items[1].result, 0);
	CHECK_EQ(code_run(b), 8);
	pieces[0].src = code;
	CHECK_EQ(wxp_install_batch(w, items, 1), 0);
	CHECK_EQ(code_run(a), 8);
	wxp_close(w);
}

TEST(cores_can_be_synced)
{
	struct wxp *w = open_default();
	int ret = wxp_sync_cores(w);

	CHECK(ret == 0 || ret == -ENOSYS);
	CHECK_EQ(wxp_sync_cores(w), ret);
	CHECK_EQ(wxp_sync_cores(NULL), -EINVAL);
	wxp_close(w);
}

static void child_is_refused_all(struct wxp *w, struct wxp_span *s)
{
	struct wxp_request r = { 100, 0, WXP_RX };
	struct wxp_piece piece = { s->addr, &r, 1 };
	struct wxp_item item = { 1, 0, &piece, 1 };
	struct wxpool_install_range range;
	struct wxpool_install op = { .pool = 1 };
	struct wxp_span t;

	CHILD_CHECK(wxp_place(w, 9, &r, 1, &t) == -EXDEV);
	CHILD_CHECK(wxp_shrink(w, s, 1) == -EXDEV);
	CHILD_CHECK(wxp_install(w, 1, &piece, 1) == -EXDEV);
	CHILD_CHECK(wxp_install_batch(w, &item, 1) == -EXDEV);
	CHILD_CHECK(wxp_install_prepare(w, 1, &piece, 1, &op, &range) == -EXDEV);
	CHILD_CHECK(wxp_install_done(w, &op, 0) == -EXDEV);
	CHILD_CHECK(wxp_freeze(w) == -EXDEV);
	CHILD_CHECK(wxp_sync_cores(w) == -EXDEV);
	CHILD_CHECK(wxp_free(w, 1) == -EXDEV);
}

TEST(child_runs_inherited_spans)
{
	struct wxp *w = open_default(), *own;
	char *code = must_load(w, 1, 100, 5), *rw = must_place(w, 1, 100, 0, WXP_RW).addr;
	struct wxp_span s = must_place(w, 1, 300, 0, WXP_RX);
	pid_t pid;

	*rw = 1;
	fflush(stdout);
	pid = fork();
	if (!pid) {
		child_is_refused_all(w, &s);
		CHILD_CHECK(code_run(code) == 5);
		CHILD_CHECK(*rw == 1);
		*rw = 2;
		wxp_close(w);
		CHILD_CHECK(load_faults(code) && load_faults(rw));
		CHILD_CHECK(!wxp_open(&own, NULL));
		CHILD_CHECK(code_run(must_load(own, 1, 100, 6)) == 6);
		wxp_close(own);
		_exit(0);
	}
	wait_child(pid);
	CHECK_EQ(*rw, 1);
	CHECK_EQ(code_run(code), 5);
	CHECK_EQ(wxp_free(w, 1), 0);
	wxp_close(w);
}

static struct wxp *open_where_children_keep(size_t window)
{
	struct wxp *w = open_window(window);

	if (!is_kernel(w)) {
		wxp_close(w);
		test_skip("without the kernel, a child shares what is installed");
	}
	return w;
}

/* The child keeps what it had; its lines are not used again before it is gone. */
TEST(parent_frees_spans_of_a_child)
{
	struct wxp *w = open_where_children_keep(0);
	struct wxp_span part = must_place(w, 1, 500, 0, WXP_RX);
	char *a = must_load(w, 1, 100, 1), *b = must_load(w, 2, 100, 2), *c, src[100] = { 0 };
	char *rw = must_place(w, 1, 100, 0, WXP_RW).addr;
	struct child child;

	start_child(&child, a, 1);
	must_load(w, 3, 100, 3);
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK_EQ(wxp_free(w, 3), 0);
	CHECK_EQ(stats_of(w).lines, 2);
	CHECK_EQ(stats_of(w).lines_installed, 2);
	CHECK_EQ(stats_of(w).pages_packed, 1);
	CHECK_EQ(stats_of(w).pages_kept, 0);
	CHECK_EQ(code_run(b), 2);
	/* What the child cannot have is free at once, */
	CHECK(must_place(w, 1, 100, 0, WXP_RW).addr == rw);
	/* and what was a span of the old pool is none of the new one. */
	CHECK_EQ(install(w, 1, part.addr, src, 100), -EINVAL);
	CHECK_EQ(wxp_shrink(w, &part, 64), -EINVAL);
	/* Nobody gets lines that may end up in a page of the child's alone. */
	c = must_load(w, 3, 100, 3);
	CHECK((uintptr_t)c / (2 * MIB) != (uintptr_t)a / (2 * MIB));
	CHECK_EQ(wxp_free(w, 2), 0);
	CHECK_EQ(stats_of(w).pages_kept, 1);
	CHECK(load_faults(a) && load_faults(b));
	CHECK_EQ(code_run(must_load(w, 4, 100, 4)), 4);
	CHECK_EQ(code_run(c), 3);
	end_child(&child);
	CHECK_EQ(stats_of(w).pages_kept, 0);
	CHECK_EQ(wxp_free(w, 3), 0);
	CHECK_EQ(wxp_free(w, 4), 0);
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK_EQ(stats_of(w).lines + stats_of(w).pages_packed, 0);
	wxp_close(w);
}

/* Spans that fill a zone, so that it shows which zones are in use. */
static char *place_zone(struct wxp *w, uint32_t pool)
{
	return must_place(w, pool, 2 * MIB, 0, WXP_RX).addr;
}

/* What one child keeps does not hold back what another has stopped using. */
TEST(children_keep_spans_apart)
{
	struct wxp *w = open_where_children_keep(0);
	char *a = must_load(w, 1, 100, 1), *b, *c;
	struct child first, second;

	CHECK_EQ((uintptr_t)a % (2 * MIB), 0);
	start_child(&first, a, 1);
	CHECK_EQ(wxp_free(w, 1), 0);
	b = must_load(w, 2, 100, 2);
	CHECK((uintptr_t)b % (2 * MIB) == 0 && b != a);
	start_child(&second, b, 2);
	CHECK_EQ(wxp_free(w, 2), 0);
	c = place_zone(w, 3);
	CHECK(c != a && c != b);
	CHECK_EQ(stats_of(w).pages_kept, 2);
	end_child(&second);
	CHECK(place_zone(w, 4) == b);
	c = place_zone(w, 5);
	CHECK(c != a);
	CHECK_EQ(stats_of(w).pages_kept, 1);
	end_child(&first);
	CHECK(place_zone(w, 6) == a);
	CHECK_EQ(code_run(must_load(w, 1, 100, 7)), 7);
	wxp_close(w);
}

TEST(full_window_waits_for_spans_of_a_child)
{
	struct wxp *w = open_where_children_keep(4 * MIB);
	char *a = must_load(w, 1, 100, 1);
	struct child child;
	void *p;

	start_child(&child, a, 1);
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK_EQ(wxp_alloc(w, 1, 4 * MIB, 0, WXP_RX, &p), -ENOMEM);
	end_child(&child);
	must_alloc(w, 1, 4 * MIB, 0, WXP_RX);
	wxp_close(w);
}

/* A page that only a child shows takes no more code until the child is gone. */
TEST(placed_beside_what_a_child_keeps)
{
	struct wxp *w = open_where_children_keep(0);
	char *a = must_load(w, 1, 100, 1), *b = must_place(w, 2, 100, 0, WXP_RX).addr;
	char code[100] = { 0 };
	struct child child;

	code_write(code, 2);
	start_child(&child, a, 1);
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK_EQ(install(w, 2, b, code, 100), -EEXIST);
	CHECK_EQ(stats_of(w).lines_installed, 0);
	end_child(&child);
	CHECK_EQ(install(w, 2, b, code, 100), 0);
	CHECK_EQ(code_run(b), 2);
	wxp_close(w);
}
