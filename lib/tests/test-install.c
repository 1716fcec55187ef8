// SPDX-License-Identifier: MIT
/* Bytes in, and addresses first: what is loaded, placed, installed, and what freeing leaves. */
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <linux/wxpool.h>

#include "test.h"

#define NR(a)		(sizeof(a) / sizeof((a)[0]))
#define FULL(n)		(((n) + WXP_LINE - 1) / WXP_LINE * WXP_LINE)
#define BLOCK		(2 * MIB)

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

/* A function that returns @value, in @size bytes */
static void *must_install(struct wxp *w, uint32_t pool, size_t size, uint32_t value)
{
	struct wxp_span span = must_place(w, pool, size, 0, WXP_RX);
	char *code = calloc(1, size);

	code_write(code, value);
	CHECK_EQ(install(w, pool, span.addr, code, size), 0);
	free(code);
	return span.addr;
}

static void check_unchanged(struct wxp *w, const struct wxp_stats *before)
{
	struct wxp_stats now = stats_of(w, 0);

	check_same_stats(before, &now);
	check_stats(w);
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

/* Traps in code, zeros elsewhere */
static bool is_filler(const char *p, size_t size, enum wxp_prot prot)
{
	for (; size; p++, size--)
		if (*p != (prot == WXP_RX ? CODE_TRAP[(uintptr_t)p % 4] : 0))
			return false;
	return true;
}

/* Is there nothing in these lines? Pages that were never used are zeros, or not there. */
static bool is_empty(struct wxp *w, const char *p, size_t size, enum wxp_prot prot)
{
	size_t n;

	for (; size; p += n, size -= n) {
		n = WXP_LINE - (uintptr_t)p % WXP_LINE;
		n = n < size ? n : size;
		if (is_kernel(w) && load_faults(p))
			continue;
		if (!is_filler(p, n, prot) && (is_kernel(w) || !is_zero(p, n)))
			return false;
	}
	return true;
}

static unsigned char *random_bytes(size_t size, uint64_t seed)
{
	unsigned char *bytes = malloc(size);
	size_t i, n;

	CHECK(bytes);
	for (i = 0; i < size && i < 4099; i++)
		bytes[i] = (unsigned char)random_next(&seed);
	/* The rest is the same again, at another offset of pages and lines. */
	for (; i < size; i += n) {
		n = size - i < i ? size - i : i;
		memcpy(bytes + i, bytes, n);
	}
	return bytes;
}

/* Bytes the last page of which cannot be read */
static char *bad_source(size_t size)
{
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	memset(p, 7, size);
	CHECK(!mprotect(p + size - PAGE, PAGE, PROT_NONE));
	return p;
}

__attribute__((noinline)) static int install_bad_source(struct wxp *w, uint32_t pool,
							const struct wxp_piece *pieces, size_t nr)
{
	return wxp_install(w, pool, pieces, nr);
}

__attribute__((noinline)) static int load_bad_source(struct wxp *w, uint32_t pool,
						     struct wxp_part *parts, size_t nr)
{
	if (nr == 1)
		return wxp_load(w, pool, parts->bytes, parts->size, parts->prot, &parts->addr);
	return wxp_load_many(w, pool, parts, nr);
}

/* The number of mappings that the process has */
static int count_maps(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	int c, nr = 0;

	CHECK(f);
	while ((c = getc(f)) != EOF)
		nr += c == '\n';
	fclose(f);
	return nr;
}

/* -------------------------------------------------------------------------
 * Loading
 */

TEST(load_and_run)
{
	unsigned char bytes[CODE_SIZE + 8];
	struct wxp *w = open_default();
	struct wxp_stats s;
	void *addr;
	uint32_t i;

	for (i = 0; i < 8; i++) {
		code_write(bytes + i, 40 + i);
		CHECK_EQ(wxp_load(w, 1, bytes + i, CODE_SIZE, WXP_RX, &addr), 0);
		CHECK_EQ((uintptr_t)addr % WXP_LINE, 0);
		CHECK_EQ(code_run(addr), 40 + i);
		CHECK(is_filler((char *)addr + CODE_SIZE, WXP_LINE - CODE_SIZE, WXP_RX));
		CHECK_EQ(!store_faults(addr), is_fast(w));
	}
	CHECK_EQ(wxp_load(w, 1, bytes + 7, CODE_SIZE, WXP_R, &addr), 0);
	CHECK(!memcmp(addr, bytes + 7, CODE_SIZE));
	CHECK(is_filler((char *)addr + CODE_SIZE, WXP_LINE - CODE_SIZE, WXP_R));
	CHECK_EQ(!store_faults(addr), is_fast(w));
	CHECK_EQ(!run_faults(addr), is_fast(w));
	s = stats_of(w, 0);
	CHECK_EQ(s.pools, 1);
	CHECK_EQ(s.code, 8 * WXP_LINE);
	CHECK_EQ(s.constants, WXP_LINE);
	CHECK_EQ(s.installed, 9 * WXP_LINE);
	CHECK_EQ(s.variables + s.open + s.sealed + s.retired, 0);
	CHECK_EQ(s.charged >= 2 * PAGE, is_kernel(w));
	check_stats(w);
	wxp_close(w);
}

TEST(load_all_sizes)
{
	static const size_t sizes[] = {
		1, 2, 63, 64, 65, 127, 128, 129, 4095, 4096, 4097, 65535, 65536, 65537,
		BLOCK - 1, BLOCK, BLOCK + 1, WXP_MAX_INSTALL - 1, WXP_MAX_INSTALL,
	};
	static const enum wxp_prot prots[] = { WXP_RX, WXP_R };
	unsigned char *src = random_bytes(WXP_MAX_INSTALL, 3);
	struct wxp *w = open_default();
	size_t i, rest;
	uint32_t k;
	void *p;

	for (i = 0; i < NR(sizes); i++) {
		for (k = 0; k < 2; k++) {
			CHECK_EQ(wxp_load(w, 9 + k, src, sizes[i], prots[k], &p), 0);
			CHECK(!memcmp(p, src, sizes[i]));
			rest = FULL(sizes[i]) - sizes[i];
			CHECK(is_filler((char *)p + sizes[i], rest, prots[k]));
			CHECK_EQ(stats_of(w, 9 + k).installed, FULL(sizes[i]));
			CHECK_EQ(wxp_free(w, 9 + k), 0);
		}
	}
	CHECK_EQ(stats_of(w, 0).pools, 0);
	check_stats(w);
	free(src);
	wxp_close(w);
}

TEST(load_is_refused)
{
	static const enum wxp_prot bad[] = { WXP_RW, 0, 1, 5, 0x10, 0x14, 0x17 };
	struct wxp *w = open_window(6 * MIB);
	unsigned char *src = random_bytes(WXP_MAX_INSTALL + 1, 4);
	void *none = src, *addr = none;
	struct wxp_stats before;
	size_t i;

	must_load(w, 1, 5);
	before = stats_of(w, 0);
	CHECK_EQ(wxp_load(NULL, 1, src, 1, WXP_RX, &addr), -EINVAL);
	CHECK_EQ(wxp_load(w, 0, src, 1, WXP_RX, &addr), -EINVAL);
	CHECK_EQ(wxp_load(w, 1, src, 0, WXP_RX, &addr), -EINVAL);
	CHECK_EQ(wxp_load(w, 1, src, 1, WXP_RX, NULL), -EINVAL);
	for (i = 0; i < NR(bad); i++)
		CHECK_EQ(wxp_load(w, 1, src, 1, bad[i], &addr), -EINVAL);
	CHECK_EQ(wxp_load(w, 2, src, WXP_MAX_INSTALL + 1, WXP_R, &addr), -E2BIG);
	CHECK_EQ(wxp_load(w, 2, src, SIZE_MAX, WXP_R, &addr), -E2BIG);
	CHECK_EQ(wxp_load(w, 2, src, BLOCK, WXP_RX, &addr), -ENOMEM);
	CHECK_EQ(wxp_load(w, 2, src, BLOCK + 1, WXP_R, &addr), -ENOMEM);
	CHECK(addr == none);
	check_unchanged(w, &before);
	CHECK_EQ(wxp_free(w, 2), -ENOENT);
	free(src);
	wxp_close(w);
}

static struct wxp_part *new_parts(size_t nr, size_t max_size)
{
	struct wxp_part *parts = calloc(nr, sizeof(*parts));
	uint64_t seed = nr;
	size_t i;

	for (i = 0; i < nr; i++) {
		parts[i].size = CODE_SIZE + random_next(&seed) % max_size;
		parts[i].bytes = random_bytes(parts[i].size, i);
		code_write((void *)(uintptr_t)parts[i].bytes, (uint32_t)i);
		parts[i].prot = random_next(&seed) % 3 ? WXP_RX : WXP_R;
	}
	return parts;
}

static void free_parts(struct wxp_part *parts, size_t nr)
{
	while (nr--)
		free((void *)(uintptr_t)parts[nr].bytes);
	free(parts);
}

static void check_parts(const struct wxp_part *parts, size_t nr)
{
	size_t i, rest;

	for (i = 0; i < nr; i++) {
		rest = FULL(parts[i].size) - parts[i].size;
		CHECK_EQ((uintptr_t)parts[i].addr % WXP_LINE, 0);
		CHECK(!memcmp(parts[i].addr, parts[i].bytes, parts[i].size));
		CHECK(is_filler((char *)parts[i].addr + parts[i].size, rest, parts[i].prot));
		if (parts[i].prot == WXP_RX)
			CHECK_EQ(code_run(parts[i].addr), i);
	}
}

TEST(load_many_parts)
{
	static const size_t nrs[] = { 1, 2, 16, 17, 64, 65, 511, WXP_MAX_PIECES };
	struct wxp *w = open_default();
	struct wxp_part *parts;
	uint64_t total;
	size_t i, k;

	for (i = 0; i < NR(nrs); i++) {
		parts = new_parts(nrs[i], 1000);
		CHECK_EQ(wxp_load_many(w, (uint32_t)i + 1, parts, nrs[i]), 0);
		check_parts(parts, nrs[i]);
		for (k = 0, total = 0; k < nrs[i]; k++)
			total += FULL(parts[k].size);
		CHECK_EQ(stats_of(w, (uint32_t)i + 1).installed, total);
		free_parts(parts, nrs[i]);
	}
	check_stats(w);
	wxp_close(w);
}

static int load_sizes(struct wxp *w, const void *src, size_t a, size_t b, size_t c)
{
	struct wxp_part parts[] = {
		{ src, a, WXP_R, NULL }, { src, b, WXP_RX, NULL }, { src, c, WXP_R, NULL },
	};
	int err = wxp_load_many(w, 3, parts, c ? 3 : 2);

	CHECK(err || (!memcmp(parts[0].addr, src, a) && !memcmp(parts[1].addr, src, b)));
	return err;
}

TEST(load_many_is_all_or_nothing)
{
	size_t half = WXP_MAX_INSTALL / 2, nr = WXP_MAX_PIECES + 1, i;
	struct wxp_part *parts = new_parts(nr, 100), good = parts[70];
	unsigned char *src = random_bytes(WXP_MAX_INSTALL, 4);
	struct wxp *w = open_default();
	struct wxp_stats before;

	must_load(w, 1, 5);
	before = stats_of(w, 0);
	CHECK_EQ(wxp_load_many(NULL, 1, parts, 1), -EINVAL);
	CHECK_EQ(wxp_load_many(w, 0, parts, 1), -EINVAL);
	CHECK_EQ(wxp_load_many(w, 1, NULL, 1), -EINVAL);
	CHECK_EQ(wxp_load_many(w, 1, parts, 0), -EINVAL);
	CHECK_EQ(wxp_load_many(w, 2, parts, nr), -E2BIG);
	CHECK_EQ(load_sizes(w, src, half, half, 1), -E2BIG);
	CHECK_EQ(load_sizes(w, src, SIZE_MAX, half, half), -E2BIG);
	parts[70].size = 0;
	CHECK_EQ(wxp_load_many(w, 2, parts, 100), -EINVAL);
	parts[70] = good;
	parts[70].prot = WXP_RW;
	CHECK_EQ(wxp_load_many(w, 2, parts, 100), -EINVAL);
	parts[70] = good;
	for (i = 0; i < nr; i++)
		CHECK(!parts[i].addr);
	check_unchanged(w, &before);
	CHECK_EQ(load_sizes(w, src, half, half - WXP_LINE + 1, 0), 0);
	CHECK_EQ(wxp_free(w, 3), 0);
	check_unchanged(w, &before);
	free(src);
	free_parts(parts, nr);
	wxp_close(w);
}

TEST(load_many_without_room)
{
	unsigned char *src = random_bytes(MIB, 4);
	struct wxp_part parts[] = {
		{ src, 64, WXP_R, NULL }, { src, MIB, WXP_RX, NULL }, { src, 5, WXP_RX, NULL },
		{ src, MIB, WXP_RX, NULL },
	};
	struct wxp *w = open_window(6 * MIB);
	struct wxp_stats before = stats_of(w, 0);

	CHECK_EQ(wxp_load_many(w, 2, parts, 4), -ENOMEM);
	check_unchanged(w, &before);
	CHECK_EQ(wxp_free(w, 2), -ENOENT);
	CHECK_EQ(wxp_load_many(w, 2, parts, 3), 0);
	before = stats_of(w, 0);
	CHECK_EQ(wxp_load_many(w, 2, parts, 3), -ENOMEM);
	check_unchanged(w, &before);
	CHECK(!memcmp(parts[1].addr, src, MIB));
	free(src);
	wxp_close(w);
}

TEST(load_from_a_bad_source)
{
	static const size_t sizes[] = { 2 * 65536, 4 * 65536, 3 * MIB };
	struct wxp *w = open_default();
	struct wxp_stats before;
	struct wxp_part *parts;
	char *bad, *next;
	size_t i;

	if (is_fast(w)) {
		wxp_close(w);
		test_skip("the fast backend copies by itself");
	}
	for (i = 0; i < NR(sizes); i++) {
		parts = new_parts(3, 100);
		bad = bad_source(sizes[i]);
		free((void *)(uintptr_t)parts[2].bytes);
		parts[2].bytes = bad;
		parts[2].size = sizes[i];
		parts[2].prot = i % 2 ? WXP_R : WXP_RX;
		before = stats_of(w, 0);
		CHECK_EQ(load_bad_source(w, 1, &parts[2], 1), -EFAULT);
		CHECK_EQ(load_bad_source(w, 1, parts, 3), -EFAULT);
		CHECK(!parts[0].addr && !parts[2].addr);
		CHECK_EQ(wxp_free(w, 1), -ENOENT);
		check_unchanged(w, &before);
		/* What comes to their places is whole. */
		next = must_load(w, 2, 77);
		CHECK_EQ(code_run(next), 77);
		CHECK(is_filler(next + CODE_SIZE, WXP_LINE - CODE_SIZE, WXP_RX));
		CHECK(is_empty(w, next + WXP_LINE, 4 * WXP_LINE, WXP_RX));
		CHECK_EQ(wxp_free(w, 2), 0);
		munmap(bad, sizes[i]);
		parts[2].bytes = NULL;
		free_parts(parts, 3);
	}
	wxp_close(w);
}

/* -------------------------------------------------------------------------
 * Placing
 */

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
	CHECK_EQ(stats_of(w, 0).installed, 0);
	CHECK(!is_kernel(w) || load_faults(s[0].addr) == SIGBUS);
	CHECK(!is_kernel(w) || load_faults(s[1].addr) == SIGBUS);
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
	CHECK(is_filler((char *)s[0].addr + CODE_SIZE, WXP_LINE - CODE_SIZE, WXP_RX));
	CHECK(is_filler((char *)s[1].addr + 500, 12, WXP_R));
	CHECK_EQ(!store_faults(s[0].addr), is_fast(w));
	CHECK_EQ(!store_faults(s[1].addr), is_fast(w));
	st = stats_of(w, 0);
	CHECK_EQ(st.pools, 1);
	CHECK_EQ(st.code, WXP_LINE);
	CHECK_EQ(st.constants, 8 * WXP_LINE);
	CHECK_EQ(st.variables, 5 * WXP_LINE);
	CHECK_EQ(st.installed, 9 * WXP_LINE);
	check_stats(w);
	CHECK_EQ(wxp_free(w, 7), 0);
	st = stats_of(w, 0);
	CHECK_EQ(st.pools + st.code + st.constants + st.variables + st.installed, 0);
	CHECK_EQ(wxp_free(w, 7), -ENOENT);
	wxp_close(w);
}

/* Within and between pools nothing is lost but the rest of each last line. */
TEST(spans_are_packed)
{
	static const enum wxp_prot prots[] = { WXP_RX, WXP_R, WXP_RW };
	struct wxp *w = open_default();
	char *next, *p;
	uint32_t i;
	int k;

	for (k = 0; k < 3; k++) {
		next = NULL;
		for (i = 1; i <= 500; i++) {
			p = must_place(w, 1 + i % 50, 1 + i % 200, 0, prots[k]).addr;
			CHECK(!next || p == next);
			next = p + FULL(1 + i % 200);
		}
	}
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
	char *first = must_place(w, 1, 1, 0, WXP_RX).addr;
	char *aligned = must_place(w, 1, PAGE, PAGE, WXP_RX).addr;

	CHECK(aligned != first);
	/* The gap before it is there for what fits. */
	CHECK(must_place(w, 2, PAGE - WXP_LINE, 0, WXP_RX).addr == first + WXP_LINE);
	CHECK(must_place(w, 2, 1, 0, WXP_RX).addr == aligned + PAGE);
	wxp_close(w);
}

TEST(alignments_up_to_a_block)
{
	static const enum wxp_prot prots[] = { WXP_RX, WXP_R, WXP_RW };
	static const size_t sizes[] = { 1, 100, 5000, BLOCK - 64, BLOCK + 64 };
	struct wxp *w = open_window(512 * MIB);
	uint32_t pool = 1;
	size_t align, i;
	int k;

	for (k = 0; k < 3; k++)
		for (i = 0; i < NR(sizes); i++)
			for (align = 1; align <= WXP_MAX_ALIGN; align *= 2)
				must_place(w, pool++, sizes[i], align, prots[k]);
	CHECK_EQ(code_run(must_install(w, pool, CODE_SIZE, 6)), 6);
	check_stats(w);
	for (; pool; pool--)
		CHECK_EQ(wxp_free(w, pool), 0);
	CHECK_EQ(stats_of(w, 0).free, 512 * MIB);
	wxp_close(w);
}

TEST(place_many_at_once)
{
	enum { N = 3000 };
	static struct wxp_request r[N];
	static struct wxp_span s[N];
	static const enum wxp_prot prots[] = { WXP_RX, WXP_R, WXP_RW };
	struct wxp *w = open_default();
	uint64_t seed = 8, total = 0;
	size_t i;

	for (i = 0; i < N; i++) {
		r[i] = (struct wxp_request){ 1 + random_next(&seed) % 900,
					     (size_t)1 << random_next(&seed) % 10, prots[i % 3] };
		total += FULL(r[i].size);
	}
	CHECK_EQ(wxp_place(w, 1, r, N, s), 0);
	for (i = 0; i < N; i++) {
		CHECK_EQ(s[i].size, r[i].size);
		CHECK_EQ((uintptr_t)s[i].addr % r[i].align, 0);
		if (r[i].prot != WXP_RW)
			continue;
		CHECK(is_zero(s[i].addr, r[i].size));
		memset(s[i].addr, 1, r[i].size);
	}
	/* None is part of another. */
	CHECK_EQ(stats_of(w, 1).code + stats_of(w, 1).constants + stats_of(w, 1).variables, total);
	for (i = 2; i < N; i += 3)
		CHECK(all_bytes(s[i].addr, r[i].size, 1));
	wxp_close(w);
}

TEST(place_is_refused)
{
	struct wxp_request good = { 100, 0, WXP_RX };
	struct wxp_request bad[][2] = {
		{ good, { 0, 0, WXP_RX } }, { good, { 1, 3, WXP_RX } },
		{ good, { 1, 2 * WXP_MAX_ALIGN, WXP_RX } }, { good, { 1, SIZE_MAX, WXP_R } },
		{ good, { 1, 0, (enum wxp_prot)0 } }, { good, { 1, 0, (enum wxp_prot)1 } },
		{ good, { 1, 0, (enum wxp_prot)0x17 } },
	};
	struct wxp *w = open_default();
	struct wxp_stats before;
	struct wxp_span s[2];
	size_t i;

	must_place(w, 1, 100, 0, WXP_RW);
	before = stats_of(w, 0);
	for (i = 0; i < NR(bad); i++)
		CHECK_EQ(wxp_place(w, 1 + i % 2, bad[i], 2, s), -EINVAL);
	CHECK_EQ(wxp_place(w, 0, &good, 1, s), -EINVAL);
	CHECK_EQ(wxp_place(w, 1, NULL, 1, s), -EINVAL);
	CHECK_EQ(wxp_place(w, 1, &good, 0, s), -EINVAL);
	CHECK_EQ(wxp_place(w, 1, &good, 1, NULL), -EINVAL);
	CHECK_EQ(wxp_place(NULL, 1, &good, 1, s), -EINVAL);
	good.size = SIZE_MAX;
	CHECK_EQ(wxp_place(w, 1, &good, 1, s), -ENOMEM);
	good.size = (size_t)1 << 38;
	CHECK_EQ(wxp_place(w, 2, &good, 1, s), -ENOMEM);
	check_unchanged(w, &before);
	wxp_close(w);
}

TEST(failed_place_keeps_nothing)
{
	struct wxp_request r[] = {
		{ 100, 0, WXP_RX }, { MIB, 0, WXP_RX }, { 50, 0, WXP_R }, { 3 * MIB, 0, WXP_RW },
	};
	struct wxp *w = open_window(6 * MIB);
	struct wxp_stats before;
	struct wxp_span s[4];

	must_place(w, 1, 200, 0, WXP_RX);
	before = stats_of(w, 0);
	CHECK_EQ(wxp_place(w, 1, r, 4, s), -ENOMEM);
	CHECK_EQ(wxp_place(w, 2, r, 4, s), -ENOMEM);
	check_unchanged(w, &before);
	CHECK_EQ(wxp_free(w, 2), -ENOENT);
	CHECK_EQ(wxp_place(w, 2, r, 3, s), 0);
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
	CHECK(all_bytes(s[1].addr, 145, (int)(pool & 0xff)));
}

/* None of them costs a mapping. */
TEST(ten_thousand_tiny_modules)
{
	uint32_t nr = under_valgrind() || sanitized() ? 1000 : 10000, i;
	struct wxp *w = open_default();
	int maps = count_maps();
	struct wxp_stats s;

	for (i = 1; i <= nr; i++)
		load_tiny(w, i);
	s = stats_of(w, 0);
	CHECK_EQ(s.code, nr * 2 * WXP_LINE);
	CHECK_EQ(s.constants + s.variables, nr * 6 * WXP_LINE);
	CHECK(under_valgrind() || sanitized() || count_maps() <= maps + 2);
	for (i = 1; i <= nr; i++)
		CHECK_EQ(wxp_free(w, i), 0);
	s = stats_of(w, 0);
	CHECK_EQ(s.pools + s.code + s.constants + s.variables + s.installed, 0);
	wxp_close(w);
}

/* -------------------------------------------------------------------------
 * Installing
 */

/* struct canvas - a span, and what it must look like; @covered: the lines that it has got */
struct canvas {
	struct wxp_span span;
	enum wxp_prot prot;
	size_t lines;
	unsigned char *want;
	bool *covered;
};

static void canvas_init(struct canvas *c, struct wxp *w, uint32_t pool, size_t size,
			enum wxp_prot prot)
{
	size_t i;

	c->span = must_place(w, pool, size, 0, prot);
	c->prot = prot;
	c->lines = FULL(size) / WXP_LINE;
	c->covered = calloc(c->lines, sizeof(*c->covered));
	c->want = calloc(c->lines, WXP_LINE);
	for (i = 0; i < FULL(size) && prot == WXP_RX; i++)
		c->want[i] = (unsigned char)CODE_TRAP[i % 4];
}

static void canvas_exit(struct canvas *c)
{
	free(c->covered);
	free(c->want);
}

static struct wxp_piece canvas_piece(struct canvas *c, size_t at, const unsigned char *src,
				     size_t size)
{
	size_t i;

	memcpy(c->want + at, src, size);
	for (i = at / WXP_LINE; i <= (at + size - 1) / WXP_LINE; i++)
		c->covered[i] = true;
	return (struct wxp_piece){ (char *)c->span.addr + at, src, size };
}

/* Installs pieces of any size and with any gaps into a part of it. */
static void canvas_fill(struct canvas *c, struct wxp *w, uint32_t pool, size_t from, size_t end,
			uint64_t *seed)
{
	unsigned char *src = random_bytes(5000, *seed);
	struct wxp_piece pieces[WXP_MAX_PIECES];
	size_t nr = 0, at = from, n;

	while (nr < WXP_MAX_PIECES) {
		at += random_next(seed) % 3 ? 0 : random_next(seed) % 150;
		if (at >= end)
			break;
		n = 1 + random_next(seed) % (random_next(seed) % 4 ? 40 : 700);
		n = n < end - at ? n : end - at;
		pieces[nr++] = canvas_piece(c, at, src + random_next(seed) % 4000, n);
		at += n;
	}
	if (nr)
		CHECK_EQ(wxp_install(w, pool, pieces, nr), 0);
	free(src);
}

static void canvas_check(struct canvas *c, struct wxp *w)
{
	const char *line;
	size_t i;

	for (i = 0; i < c->lines; i++) {
		line = (char *)c->span.addr + i * WXP_LINE;
		if (c->covered[i])
			CHECK(!memcmp(line, c->want + i * WXP_LINE, WXP_LINE));
		else
			CHECK(is_empty(w, line, WXP_LINE, c->prot));
	}
}

static size_t canvas_covered(const struct canvas *c)
{
	size_t i, nr = 0;

	for (i = 0; i < c->lines; i++)
		nr += c->covered[i];
	return nr * WXP_LINE;
}

/* Several calls for a span, the later parts of it first */
TEST(gather_at_any_offset)
{
	uint32_t rounds = under_valgrind() ? 10 : 60, i;
	struct wxp *w = open_default();
	size_t size, from, end;
	uint64_t seed = 21;
	struct canvas c;

	for (i = 1; i <= rounds; i++) {
		size = 1 + random_next(&seed) % (i % 5 ? 3000 : 30000);
		canvas_init(&c, w, i, size, i % 2 ? WXP_RX : WXP_R);
		for (end = size; end; end = from) {
			from = random_next(&seed) % end / WXP_LINE * WXP_LINE;
			canvas_fill(&c, w, i, from, end, &seed);
			canvas_check(&c, w);
			CHECK_EQ(stats_of(w, i).installed, canvas_covered(&c));
		}
		canvas_exit(&c);
	}
	check_stats(w);
	wxp_close(w);
}

/* One byte each, in a line, at all distances */
TEST(pieces_in_a_line)
{
	static const enum wxp_prot prots[] = { WXP_RX, WXP_R };
	struct wxp *w = open_default();
	struct wxp_piece pieces[WXP_LINE];
	unsigned char *src = random_bytes(WXP_LINE, 3);
	size_t step, nr, at;
	struct canvas c;

	for (step = 1; step <= WXP_LINE; step++) {
		canvas_init(&c, w, 1, 2 * WXP_LINE, prots[step % 2]);
		for (nr = 0, at = step - 1; at < WXP_LINE; nr++, at += step)
			pieces[nr] = canvas_piece(&c, at, src + at, 1);
		CHECK_EQ(wxp_install(w, 1, pieces, nr), 0);
		canvas_check(&c, w);
		canvas_exit(&c);
	}
	CHECK_EQ(stats_of(w, 1).installed, WXP_LINE * WXP_LINE);
	free(src);
	wxp_close(w);
}

static void refused(struct wxp *w, char *x, size_t at1, size_t n1, size_t at2, size_t n2,
		    size_t at3, size_t n3)
{
	static const char src[4 * WXP_LINE];
	struct wxp_piece pieces[] = { { x + at1, src, n1 }, { x + at2, src, n2 },
				      { x + at3, src, n3 } };
	struct wxp_stats before = stats_of(w, 0);

	CHECK_EQ(wxp_install(w, 1, pieces, n3 ? 3 : 2), -EEXIST);
	check_unchanged(w, &before);
	CHECK(is_empty(w, x, 4 * WXP_LINE, WXP_R));
}

TEST(order_within_a_line)
{
	struct wxp *w = open_default();
	char *x = must_place(w, 1, 4 * WXP_LINE, 0, WXP_R).addr, src[4 * WXP_LINE];
	struct wxp_piece pieces[] = {
		{ x + 3 * WXP_LINE, src, 10 }, { x + 2 * WXP_LINE, src, 10 },
		{ x + 10, src, 10 }, { x + 20, src, 100 }, { x + 126, src, 2 },
	};

	memset(src, 9, sizeof(src));
	refused(w, x, 20, 10, 10, 10, 0, 0);		/* backwards */
	refused(w, x, 10, 10, 19, 10, 0, 0);		/* overlap: a byte, */
	refused(w, x, 10, 10, 10, 10, 0, 0);		/* all, */
	refused(w, x, 10, 10, 5, 50, 0, 0);		/* more, */
	refused(w, x, 0, 200, 128, 10, 0, 0);		/* inside, in another line */
	refused(w, x, 128, 10, 0, 200, 0, 0);
	refused(w, x, 10, 60, 64, 1, 0, 0);
	refused(w, x, 0, 64, 63, 10, 0, 0);
	refused(w, x, 10, 10, 128, 10, 30, 10);		/* not one after the other */
	refused(w, x, 10, 118, 128, 10, 127, 1);
	/* Lines may be in any order. */
	CHECK_EQ(wxp_install(w, 1, pieces, NR(pieces)), 0);
	CHECK(is_zero(x, 10) && all_bytes(x + 10, 110, 9) && is_zero(x + 120, 6));
	CHECK(all_bytes(x + 126, 12, 9) && is_zero(x + 138, 54) && all_bytes(x + 192, 10, 9));
	CHECK_EQ(stats_of(w, 0).installed, 4 * WXP_LINE);
	wxp_close(w);
}

TEST(each_line_once)
{
	struct wxp *w = open_default();
	char *x = must_place(w, 1, 10 * WXP_LINE, 0, WXP_RX).addr;
	char src[10 * WXP_LINE] = { 0 };
	int i;

	code_write(src, 1);
	CHECK_EQ(install(w, 1, x, src, 100), 0);
	code_write(src, 2);
	for (i = 0; i < 2; i++)
		CHECK_EQ(install(w, 1, x + i * WXP_LINE, src, 1), -EEXIST);
	CHECK_EQ(install(w, 1, x + 100, src, 1), -EEXIST);
	CHECK_EQ(install(w, 1, x + 127, src, 2), -EEXIST);
	CHECK_EQ(install(w, 1, x, src, 10 * WXP_LINE), -EEXIST);
	CHECK_EQ(stats_of(w, 0).installed, 2 * WXP_LINE);
	CHECK_EQ(code_run(x), 1);
	CHECK(is_filler(x + 100, 28, WXP_RX));
	/* The rest, in any order. */
	CHECK_EQ(install(w, 1, x + 7 * WXP_LINE, src, 3 * WXP_LINE), 0);
	CHECK_EQ(install(w, 1, x + 2 * WXP_LINE, src, 5 * WXP_LINE), 0);
	CHECK_EQ(install(w, 1, x + 2 * WXP_LINE, src, 8 * WXP_LINE), -EEXIST);
	CHECK_EQ(code_run(x), 1);
	CHECK_EQ(code_run(x + 2 * WXP_LINE) + code_run(x + 7 * WXP_LINE), 4);
	CHECK_EQ(stats_of(w, 0).installed, 10 * WXP_LINE);
	wxp_close(w);
}

TEST(install_is_refused)
{
	struct wxp *w = open_window(64 * MIB);
	char *x = must_place(w, 1, 3 * WXP_LINE, 0, WXP_RX).addr;
	char *beside = must_place(w, 1, 3 * WXP_LINE, 0, WXP_RX).addr;
	char *other = must_place(w, 2, 3 * WXP_LINE, 0, WXP_RX).addr;
	char *rw = must_place(w, 1, 100, 0, WXP_RW).addr;
	char *rw2 = must_alloc(w, 1, 9, 0, WXP_RW).addr;
	struct wxp_mem mem = must_alloc(w, 1, 100, 0, WXP_RX);
	char src[7 * WXP_LINE] = { 0 };
	struct wxp_piece good = { x, src, WXP_LINE }, two[2];
	struct wxp_piece bad[] = {
		{ x, src, 0 }, { x, src, 3 * WXP_LINE + 1 }, { x + 1, src, 3 * WXP_LINE },
		{ x + WXP_LINE, src, 2 * WXP_LINE + 1 }, { x - 1, src, 1 }, { x, src, SIZE_MAX },
		{ x + 1, src, SIZE_MAX }, { x + 5, src, (size_t)1 << 32 }, { x, src, 6 * WXP_LINE },
		{ beside - 1, src, 2 }, { other, src, 1 }, { other + WXP_LINE, src, 1 },
		{ other + 3 * WXP_LINE, src, 1 }, { rw, src, 64 }, { rw2, src, 1 },
		{ mem.addr, src, 1 }, { mem.write, src, 1 }, { NULL, src, 1 }, { src, src, 1 },
		{ (char *)-(size_t)WXP_LINE, src, 64 }, { (char *)-1, src, 1 },
	};
	struct wxp_stats before = stats_of(w, 0);
	size_t i;

	for (i = 0; i < NR(bad); i++) {
		two[0] = good;
		two[1] = bad[i];
		CHECK_EQ(wxp_install(w, 1, two, 2), -EINVAL);
		CHECK_EQ(wxp_install(w, 1, &bad[i], 1), -EINVAL);
	}
	CHECK_EQ(wxp_install(w, 0, &good, 1), -EINVAL);
	CHECK_EQ(wxp_install(w, 1, &good, 0), -EINVAL);
	CHECK_EQ(wxp_install(w, 1, NULL, 1), -EINVAL);
	CHECK_EQ(wxp_install(NULL, 1, &good, 1), -EINVAL);
	CHECK_EQ(wxp_install(w, 3, &good, 1), -ENOENT);
	check_unchanged(w, &before);
	CHECK(is_empty(w, x, 9 * WXP_LINE, WXP_RX));
	CHECK_EQ(wxp_install(w, 1, &good, 1), 0);
	wxp_close(w);
}

/* A span of a pool that was freed is none of the next pool of that number. */
TEST(old_spans_are_refused)
{
	struct wxp *w = open_default();
	char *x = must_place(w, 1, 3 * WXP_LINE, 0, WXP_RX).addr, src[64] = { 0 };
	struct wxp_span s = { x, 3 * WXP_LINE };

	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK_EQ(install(w, 1, x, src, 64), -ENOENT);
	must_place(w, 1, 100, 0, WXP_R);
	CHECK_EQ(install(w, 1, x, src, 64), -EINVAL);
	CHECK_EQ(install(w, 1, x + 64, src, 64), -EINVAL);
	CHECK_EQ(wxp_shrink(w, &s, 64), -EINVAL);
	CHECK_EQ(wxp_pool_of(w, x), 0);
	CHECK_EQ(s.size, 3 * WXP_LINE);
	wxp_close(w);
}

/* Which of them cannot be read: beside others in a line, before, after or far from them */
TEST(install_from_a_bad_source)
{
	static const size_t sizes[] = { 2 * 65536, 4 * 65536, 3 * MIB };
	struct wxp *w = open_default();
	char code[2 * WXP_LINE] = { 0 }, *bad, *x, *r;
	struct wxp_piece pieces[4];
	struct wxp_stats before;
	size_t i, k;

	if (is_fast(w)) {
		wxp_close(w);
		test_skip("the fast backend copies by itself");
	}
	code_write(code, 3);
	for (i = 0; i < NR(sizes); i++) {
		bad = bad_source(sizes[i]);
		x = must_place(w, 1, 3 * WXP_LINE, 0, WXP_RX).addr;
		r = must_place(w, 1, sizes[i], 0, i % 2 ? WXP_RX : WXP_R).addr;
		before = stats_of(w, 0);
		for (k = 0; k < 4; k++) {
			pieces[0] = (struct wxp_piece){ x, code, CODE_SIZE };
			pieces[1] = (struct wxp_piece){ x + CODE_SIZE, code, CODE_SIZE };
			pieces[2] = (struct wxp_piece){ x + 3 * CODE_SIZE, code, 2 * WXP_LINE };
			pieces[3] = (struct wxp_piece){ r, bad, k == 3 ? sizes[i] : 3 * PAGE / 4 };
			if (k < 3)
				pieces[k].src = bad + sizes[i] - PAGE - 1;
			CHECK_EQ(install_bad_source(w, 1, pieces, 4), -EFAULT);
			check_unchanged(w, &before);
			CHECK(is_empty(w, x, 3 * WXP_LINE, WXP_RX));
			CHECK(is_empty(w, r, 2 * PAGE, i % 2 ? WXP_RX : WXP_R));
		}
		CHECK(!mprotect(bad, sizes[i], PROT_READ));
		CHECK_EQ(wxp_install(w, 1, pieces, 4), 0);
		CHECK_EQ(code_run(x) + code_run(x + 3 * CODE_SIZE), 6);
		CHECK(all_bytes(r, sizes[i] - PAGE, 7));
		munmap(bad, sizes[i]);
	}
	wxp_close(w);
}

TEST(install_limits_of_pieces)
{
	static const size_t nrs[] = { 15, 16, 17, 63, 64, 65, 511, WXP_MAX_PIECES };
	enum { N = WXP_MAX_PIECES + 1 };
	static struct wxp_piece pieces[N];
	static char code[N][CODE_SIZE];
	struct wxp *w = open_default();
	struct wxp_stats before;
	char *x;
	size_t i, k;

	for (i = 0; i < NR(nrs); i++) {
		x = must_place(w, 1, N * WXP_LINE, 0, WXP_RX).addr;
		for (k = 0; k < N; k++) {
			code_write(code[k], (uint32_t)(i * N + k));
			pieces[k] = (struct wxp_piece){ x + k * WXP_LINE + k % 10 * 4, code[k],
							CODE_SIZE };
		}
		before = stats_of(w, 0);
		CHECK_EQ(wxp_install(w, 1, pieces, N), -E2BIG);
		check_unchanged(w, &before);
		CHECK_EQ(wxp_install(w, 1, pieces, nrs[i]), 0);
		for (k = 0; k < nrs[i]; k++)
			CHECK_EQ(code_run(pieces[k].addr), i * N + k);
		CHECK_EQ(stats_of(w, 1).installed - before.installed, nrs[i] * WXP_LINE);
		CHECK_EQ(wxp_install(w, 1, pieces + nrs[i] - 1, 2), -EEXIST);
		CHECK_EQ(wxp_install(w, 1, pieces + nrs[i], 1), 0);
	}
	wxp_close(w);
}

TEST(install_limits_of_bytes)
{
	size_t half = WXP_MAX_INSTALL / 2, size = 33 * MIB;
	unsigned char *src = random_bytes(size, 5);
	struct wxp *w = open_default();
	char *x = must_place(w, 1, size, 0, WXP_R).addr;
	struct wxp_stats before = stats_of(w, 0);
	struct wxp_piece pieces[] = {
		{ x, src, half }, { x + half, src + half, half },
		{ x + 2 * half, src + 2 * half, 1 },
	};

	CHECK_EQ(install(w, 1, x, src, WXP_MAX_INSTALL + 1), -E2BIG);
	CHECK_EQ(install(w, 1, x, src, size), -E2BIG);
	CHECK_EQ(wxp_install(w, 1, pieces, 3), -E2BIG);
	check_unchanged(w, &before);
	CHECK_EQ(wxp_install(w, 1, pieces, 2), 0);
	CHECK_EQ(install(w, 1, x + WXP_MAX_INSTALL, src + WXP_MAX_INSTALL, WXP_MAX_INSTALL), 0);
	CHECK_EQ(install(w, 1, x + 32 * MIB, src + 32 * MIB, MIB), 0);
	CHECK(!memcmp(x, src, size));
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK(is_empty(w, x, 4 * PAGE, WXP_R));
	free(src);
	wxp_close(w);
}

TEST(shrink_gives_lines_back)
{
	struct wxp *w = open_default();
	struct wxp_span s = must_place(w, 1, 1000, 0, WXP_RX), old = s, t;
	char src[1000] = { 0 };

	CHECK_EQ(wxp_shrink(w, &s, 100), 0);
	CHECK(s.addr == old.addr && s.size == 100);
	CHECK_EQ(stats_of(w, 1).code, 2 * WXP_LINE);
	CHECK_EQ(wxp_shrink(w, &s, 100), 0);
	CHECK_EQ(wxp_shrink(w, &s, 70), 0);
	CHECK_EQ(stats_of(w, 1).code, 2 * WXP_LINE);
	check_stats(w);
	t = must_place(w, 2, 14 * WXP_LINE, 0, WXP_RX);
	CHECK((char *)t.addr == (char *)s.addr + 2 * WXP_LINE);
	CHECK_EQ(wxp_pool_of(w, (char *)s.addr + 2 * WXP_LINE), 2);
	CHECK_EQ(install(w, 1, s.addr, src, 1000), -EINVAL);
	CHECK_EQ(install(w, 1, s.addr, src, 70), 0);
	CHECK_EQ(wxp_shrink(w, &s, 1), -EEXIST);
	CHECK_EQ(wxp_shrink(w, &s, 65), 0);
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK_EQ(wxp_free(w, 2), 0);
	CHECK_EQ(stats_of(w, 0).code, 0);
	check_stats(w);
	wxp_close(w);
}

/* To a single line, of all lengths, and variables too, whose end is zeroed for the next */
TEST(shrink_to_a_line)
{
	static const enum wxp_prot prots[] = { WXP_RX, WXP_R, WXP_RW };
	struct wxp *w = open_default();
	struct wxp_span s;
	uint32_t lines;
	char *p;
	int k;

	for (k = 0; k < 3; k++) {
		for (lines = 2; lines < 80; lines++) {
			s = must_place(w, lines, lines * WXP_LINE, 0, prots[k]);
			if (prots[k] == WXP_RW)
				memset(s.addr, 9, s.size);
			CHECK_EQ(wxp_shrink(w, &s, 1), 0);
			p = must_place(w, 100, (lines - 1) * WXP_LINE, 0, prots[k]).addr;
			CHECK(prots[k] != WXP_RW || is_zero(p, (lines - 1) * WXP_LINE));
			CHECK(prots[k] != WXP_RW || all_bytes(s.addr, WXP_LINE, 9));
			check_stats(w);
		}
		for (lines = 2; lines < 80; lines++)
			CHECK_EQ(wxp_free(w, lines), 0);
	}
	CHECK_EQ(wxp_free(w, 100), 0);
	CHECK_EQ(stats_of(w, 0).pools, 0);
	check_stats(w);
	wxp_close(w);
}

TEST(shrink_is_refused)
{
	struct wxp *w = open_window(64 * MIB);
	struct wxp_span s = must_place(w, 1, 1000, 0, WXP_RX), one;
	struct wxp_mem mem = must_alloc(w, 1, 1000, 0, WXP_RX);
	char src[1000] = { 0 }, *addr = s.addr;
	struct wxp_span bad[] = {
		{ addr + WXP_LINE, 1000 - WXP_LINE }, { addr, 2000 }, { addr, 900 }, { src, 1000 },
		{ addr + 1024, 1000 }, { addr + 1, 1000 }, { mem.addr, 1000 }, { NULL, 1000 },
		{ addr + 100 * MIB, 1000 }, { (char *)-(size_t)WXP_LINE, 1000 },
	};
	struct wxp_stats before = stats_of(w, 0);
	size_t i;

	CHECK_EQ(wxp_shrink(NULL, &s, 1), -EINVAL);
	CHECK_EQ(wxp_shrink(w, &s, 0), -EINVAL);
	CHECK_EQ(wxp_shrink(w, &s, 1001), -EINVAL);
	CHECK_EQ(wxp_shrink(w, NULL, 1), -EINVAL);
	for (i = 0; i < NR(bad); i++) {
		one = bad[i];
		CHECK_EQ(wxp_shrink(w, &one, 1), -EINVAL);
		CHECK(one.addr == bad[i].addr && one.size == bad[i].size);
	}
	check_unchanged(w, &before);
	CHECK_EQ(install(w, 1, addr + 5 * WXP_LINE, src, 1), 0);
	CHECK_EQ(wxp_shrink(w, &s, 5 * WXP_LINE), -EEXIST);
	CHECK_EQ(wxp_shrink(w, &s, 1), -EEXIST);
	CHECK(s.addr == addr && s.size == 1000);
	CHECK_EQ(wxp_shrink(w, &s, 5 * WXP_LINE + 1), 0);
	CHECK_EQ(stats_of(w, 1).code - stats_of(w, 1).open, 6 * WXP_LINE);
	wxp_close(w);
}

/* -------------------------------------------------------------------------
 * The end
 */

TEST(freed_lines_are_empty_beside_others)
{
	struct wxp *w = open_default();
	char *a = must_install(w, 1, 200, 1), *b = must_install(w, 2, 200, 2);
	char *c = must_install(w, 3, 200, 3), *d, *e;
	char *r = must_place(w, 1, 128, 0, WXP_R).addr, src[128];
	char *r2 = must_place(w, 2, 128, 0, WXP_R).addr;

	memset(src, 5, sizeof(src));
	CHECK_EQ(install(w, 1, r, src, 128), 0);
	CHECK_EQ(install(w, 2, r2, src, 128), 0);
	CHECK_EQ((uintptr_t)a / PAGE, (uintptr_t)c / PAGE);
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK(is_filler(a, 256, WXP_RX));
	CHECK(is_filler(r, 128, WXP_R));
	CHECK(all_bytes(r2, 128, 5));
	CHECK_EQ(code_run(b) + code_run(c), 5);
	CHECK_EQ(wxp_free(w, 3), 0);
	CHECK(is_filler(c, 256, WXP_RX));
	CHECK_EQ(code_run(b), 2);
	/* And are used again. */
	d = must_install(w, 4, 200, 4);
	e = must_install(w, 5, 200, 5);
	CHECK((d == a && e == c) || (d == c && e == a));
	CHECK_EQ(code_run(d) + code_run(e), 9);
	CHECK_EQ(code_run(b), 2);
	wxp_close(w);
}

/* Large ones: their whole pages go, and what shares the others stays. */
TEST(freed_pages_are_empty_beside_others)
{
	size_t size = 3 * PAGE + 320, i;
	unsigned char *src = random_bytes(size, 3);
	struct wxp *w = open_default();
	void *p[7], *q;
	uint32_t k;

	for (i = 0; i < 7; i++)
		CHECK_EQ(wxp_load(w, (uint32_t)i + 1, src, size, i == 5 ? WXP_R : WXP_RX, &p[i]),
			 0);
	for (k = 2; k <= 6; k += 2) {
		CHECK_EQ(wxp_free(w, k), 0);
		CHECK(is_empty(w, p[k - 1], size, k == 6 ? WXP_R : WXP_RX));
		for (i = 0; i < 7; i += 2)
			CHECK(!memcmp(p[i], src, size));
	}
	CHECK_EQ(wxp_load(w, 2, src, size - 64, WXP_RX, &q), 0);
	CHECK(!memcmp(q, src, size - 64));
	CHECK_EQ(wxp_free(w, 2), 0);
	CHECK(is_empty(w, q, size - 64, WXP_RX));
	check_stats(w);
	free(src);
	wxp_close(w);
}

TEST(last_pool_of_a_page)
{
	struct wxp *w = open_default();
	char *p = must_install(w, 1, 100, 1);
	uint32_t i;

	for (i = 2; i < 20; i++) {
		CHECK_EQ(wxp_free(w, i - 1), 0);
		CHECK(!is_kernel(w) || load_faults(p) == SIGBUS);
		CHECK(is_kernel(w) || is_filler(p, 128, WXP_RX));
		CHECK(must_install(w, i, 100, i) == p);
		CHECK_EQ(code_run(p), i);
	}
	wxp_close(w);
}

/* Enough pools for several calls of the device */
static void *load_pools(struct wxp *w, uint32_t *pools, size_t nr)
{
	void *last = NULL;
	size_t i;

	for (i = 0; i < nr; i++) {
		pools[i] = (uint32_t)(1000 + 7 * i);
		last = must_load(w, pools[i], pools[i]);
		must_place(w, pools[i], 100, 0, i % 2 ? WXP_RW : WXP_R);
	}
	return last;
}

TEST(free_many_pools)
{
	static const size_t nrs[] = { 1, 2, 63, 64, 65, 128, 129, 300 };
	struct wxp *w = open_default();
	char *keep = must_load(w, 1, 11), *last;
	struct wxp_stats before = stats_of(w, 0);
	uint32_t pools[300];
	size_t i;

	for (i = 0; i < NR(nrs); i++) {
		last = load_pools(w, pools, nrs[i]);
		CHECK_EQ(wxp_free_many(w, pools, nrs[i]), 0);
		check_unchanged(w, &before);
		CHECK_EQ(wxp_pool_of(w, last), 0);
		CHECK(is_empty(w, last, WXP_LINE, WXP_RX));
		CHECK_EQ(wxp_free_many(w, pools, nrs[i]), -ENOENT);
		CHECK_EQ(code_run(keep), 11);
	}
	wxp_close(w);
}

/* Those that are not there do not keep others from it. */
TEST(free_many_with_unknown_ones)
{
	struct wxp *w = open_default();
	char *keep = must_load(w, 1, 11);
	struct wxp_stats before = stats_of(w, 0);
	uint32_t pools[200], list[] = { 0, 1000, 4, 1007 };
	size_t i;

	load_pools(w, pools, NR(pools));
	pools[0] = pools[100] = pools[150] = 2;
	CHECK_EQ(wxp_free_many(w, pools, NR(pools)), -ENOENT);
	pools[0] = 1000;
	pools[100] = 1700;
	pools[150] = 2050;
	for (i = 0; i < NR(pools); i++)
		CHECK_EQ(wxp_free(w, pools[i]), i && i != 100 && i != 150 ? -ENOENT : 0);
	check_unchanged(w, &before);
	load_pools(w, pools, 2);
	CHECK_EQ(wxp_free_many(w, list, 4), -EINVAL);
	check_unchanged(w, &before);
	CHECK_EQ(wxp_free_many(w, list + 1, 3), -ENOENT);
	CHECK_EQ(code_run(keep), 11);
	wxp_close(w);
}

/* A pool that is named twice is freed once. */
TEST(free_many_with_doubles)
{
	struct wxp *w = open_default();
	char *keep = must_load(w, 1, 11);
	struct wxp_stats before = stats_of(w, 0);
	uint32_t pools[300];
	int err;

	load_pools(w, pools, 5);
	pools[5] = pools[2];
	pools[6] = pools[4];
	err = wxp_free_many(w, pools, 7);
	CHECK(err == -ENOENT || err == -EBUSY);
	check_unchanged(w, &before);
	load_pools(w, pools, 299);
	pools[299] = pools[0];
	err = wxp_free_many(w, pools, 300);
	CHECK(err == -ENOENT || err == -EBUSY);
	check_unchanged(w, &before);
	CHECK_EQ(code_run(keep), 11);
	wxp_close(w);
}

TEST(free_is_refused)
{
	struct wxp *w = open_default();
	uint32_t pools[] = { 1, 1, 1 };
	struct wxp_stats before;

	must_load(w, 1, 11);
	before = stats_of(w, 0);
	CHECK_EQ(wxp_free(NULL, 1), -EINVAL);
	CHECK_EQ(wxp_free(w, 0), -EINVAL);
	CHECK_EQ(wxp_free(w, 2), -ENOENT);
	CHECK_EQ(wxp_free(w, UINT32_MAX), -ENOENT);
	CHECK_EQ(wxp_free_many(NULL, pools, 1), -EINVAL);
	CHECK_EQ(wxp_free_many(w, NULL, 1), -EINVAL);
	CHECK_EQ(wxp_free_many(w, pools, 0), -EINVAL);
	check_unchanged(w, &before);
	wxp_close(w);
}

TEST(writable_lines_read_as_zero_again)
{
	struct wxp *w = open_default();
	uint32_t i, k;
	char *p, *keep;
	size_t size;

	keep = must_place(w, 1000, 100, 0, WXP_RW).addr;
	memset(keep, 3, 100);
	for (i = 1; i < 60; i++) {
		for (k = 0; k < 4; k++) {
			size = 1 + (i * 397 + k * 2903) % (3 * PAGE);
			p = k % 2 ? must_place(w, i, size, 0, WXP_RW).addr :
				    must_alloc(w, i, size, 0, WXP_RW).addr;
			CHECK(is_zero(p, FULL(size)));
			memset(p, 0xff, FULL(size));
		}
		if (i > 3)
			CHECK_EQ(wxp_free(w, i - 3), 0);
	}
	CHECK(all_bytes(keep, 100, 3));
	wxp_close(w);
}

/* Those that go back to the system share their first and last pages with others. */
TEST(large_variables_read_as_zero_again)
{
	static const size_t sizes[] = { MIB - 64, MIB + 64, MIB + 5000, 4 * MIB, 16 * MIB + 8 };
	struct wxp *w = open_window(256 * MIB);
	char *before, *p, *after;
	size_t i, k;

	for (k = 0; k < 2; k++) {
		for (i = 0; i < NR(sizes); i++) {
			before = must_place(w, 1, 200, 0, WXP_RW).addr;
			p = must_place(w, 2, sizes[i], 0, WXP_RW).addr;
			after = must_place(w, 3, 200, 0, WXP_RW).addr;
			CHECK(is_zero(p, FULL(sizes[i])));
			memset(before, 1, 200);
			memset(p, 2, FULL(sizes[i]));
			memset(after, 3, 200);
			CHECK_EQ(wxp_free(w, 2), 0);
			CHECK(all_bytes(before, 200, 1) && all_bytes(after, 200, 3));
			p = must_place(w, 2, sizes[i], 0, WXP_RW).addr;
			CHECK(is_zero(p, FULL(sizes[i])));
			memset(p, 2, FULL(sizes[i]));
			CHECK_EQ(wxp_free(w, 2), 0);
		}
		CHECK_EQ(wxp_free(w, 1) + wxp_free(w, 3), 0);
	}
	CHECK_EQ(stats_of(w, 0).free, 256 * MIB);
	wxp_close(w);
}

static size_t area_size(size_t window, enum wxp_prot prot)
{
	return prot == WXP_RX ? window / 2 : window / 4;
}

/* Of the window nothing is lost, whatever was there before. */
TEST(full_window)
{
	static const enum wxp_prot prots[] = { WXP_R, WXP_RW, WXP_RX };
	const size_t sizes[] = { under_valgrind() ? 5000 : 64, 1000, 3 * 4096, 640 };
	size_t window = 16 * MIB, all;
	struct wxp *w = open_window(window);
	struct wxp_request r = { 0, 0, WXP_RX };
	struct wxp_span s;
	uint32_t nr, i, k;
	int err;

	for (k = 0; k < 12; k++) {
		r.prot = prots[k % 3];
		r.size = sizes[k % 4];
		all = area_size(window, r.prot);
		for (nr = 0; !(err = wxp_place(w, nr + 1, &r, 1, &s)); nr++)
			;
		CHECK_EQ(err, -ENOMEM);
		CHECK_EQ(nr, all / FULL(r.size));
		for (i = 1; i <= nr; i++)
			CHECK_EQ(wxp_free(w, i), 0);
		check_stats(w);
		must_place(w, 1, all, 0, r.prot);
		CHECK_EQ(wxp_free(w, 1), 0);
		must_alloc(w, 1, all, 0, r.prot);
		CHECK_EQ(wxp_free(w, 1), 0);
	}
	CHECK_EQ(stats_of(w, 0).free, window);
	wxp_close(w);
}

TEST(largest_request_is_found)
{
	struct wxp *w = open_window(32 * MIB);
	uint64_t seed = 6, largest;
	uint32_t i, pool;

	CHECK_EQ(stats_of(w, 0).largest, 16 * MIB);
	for (i = 0; i < 300; i++) {
		pool = 1 + random_next(&seed) % 100;
		if (wxp_free(w, pool))
			must_place(w, pool, 1 + random_next(&seed) % 200000, 0, WXP_RX);
		largest = stats_of(w, 0).largest;
		CHECK(largest && largest % WXP_LINE == 0);
		if (i % 10)
			continue;
		must_place(w, 1000, largest, 0, WXP_RX);
		CHECK_EQ(wxp_free(w, 1000), 0);
	}
	wxp_close(w);
}

/* Random life, with contents checked, in a window that would be full soon */
TEST(churn_of_packed_pools)
{
	static struct { uint32_t id; char *code, *data; size_t size; } live[300], *l;
	uint32_t rounds = under_valgrind() ? 1000 : 8000, i, next = 1;
	struct wxp *w = open_window(6 * MIB);
	char *src = malloc(9000);
	int maps = count_maps();
	uint64_t seed = 5;

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
		l->code = must_install(w, l->id, CODE_SIZE + random_next(&seed) % 500, l->id);
		l->data = must_place(w, l->id, l->size, 1u << random_next(&seed) % 9, WXP_R).addr;
		memset(src, (int)(l->id & 0xff), l->size);
		CHECK_EQ(install(w, l->id, l->data, src, l->size), 0);
		if (i % 5 == 0)
			CHECK(is_zero(must_place(w, l->id, l->size, 0, WXP_RW).addr, l->size));
	}
	CHECK(under_valgrind() || sanitized() || count_maps() <= maps + 2);
	check_stats(w);
	for (l = live; l < live + 300; l++)
		if (l->id)
			CHECK_EQ(wxp_free(w, l->id), 0);
	CHECK_EQ(stats_of(w, 0).pools, 0);
	check_stats(w);
	free(src);
	wxp_close(w);
}

TEST(all_ways_in_one_pool)
{
	struct wxp *w = open_window(64 * MIB);
	struct wxp_mem mem;
	char *span, *loaded;
	int i;

	for (i = 0; i < 3; i++) {
		span = must_install(w, 1, 100, 1);
		mem = must_alloc(w, 1, CODE_SIZE, 0, WXP_RX);
		code_write(mem.write, 2);
		loaded = must_load(w, 1, 4);
		must_place(w, 1, 100, 0, WXP_RW);
		CHECK_EQ(wxp_protect(w, 1), 0);
		CHECK_EQ(code_run(mem.addr) + code_run(span) + code_run(loaded), 7);
		CHECK_EQ(stats_of(w, 1).installed, 3 * WXP_LINE);
		CHECK_EQ(stats_of(w, 1).sealed, PAGE);
		check_stats(w);
		CHECK_EQ(wxp_free(w, 1), 0);
		CHECK_EQ(stats_of(w, 0).pools, 0);
		CHECK(is_empty(w, mem.addr, PAGE, WXP_RX) && is_empty(w, span, 128, WXP_RX));
	}
	span = must_install(w, 1, 100, 1);
	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK_EQ(code_run(span), 1);
	CHECK_EQ(wxp_protect(w, 2), -ENOENT);
	wxp_close(w);
}

/* -------------------------------------------------------------------------
 * Questions
 */

#define ANY	UINT32_MAX

/* struct map - which pool each line of a window must belong to */
struct map {
	char *base;
	size_t size;
	uint32_t *want;
};

static void map_set(struct map *m, const void *addr, size_t size, uint32_t pool)
{
	size_t line = (size_t)((const char *)addr - m->base) / WXP_LINE, i;

	for (i = 0; i < FULL(size) / WXP_LINE; i++)
		m->want[line + i] = pool;
}

static void map_check(const struct map *m, struct wxp *w)
{
	size_t step = under_valgrind() ? 13 : 1, i;
	const char *line;

	for (i = 0; i < m->size / WXP_LINE; i += step) {
		line = m->base + i * WXP_LINE;
		if (m->want[i] == ANY)
			continue;
		CHECK_EQ(wxp_pool_of(w, line), m->want[i]);
		CHECK_EQ(wxp_pool_of(w, line + WXP_LINE - 1), m->want[i]);
	}
}

static void map_fill(struct map *m, struct wxp *w, uint32_t pool, uint64_t *seed)
{
	static const enum wxp_prot prots[] = { WXP_RX, WXP_R, WXP_RW };
	enum wxp_prot prot = prots[random_next(seed) % 3];
	size_t size = 1 + random_next(seed) % 3000;
	struct wxp_span s;
	char *p;

	switch (random_next(seed) % 3) {
	case 0:
		s = must_place(w, pool, size, (size_t)1 << random_next(seed) % 12, prot);
		if (pool % 4 == 0)
			CHECK_EQ(wxp_shrink(w, &s, (size + 1) / 2), 0);
		map_set(m, s.addr, s.size, pool);
		break;
	case 1:
		p = must_load(w, pool, pool);
		map_set(m, p, CODE_SIZE, pool);
		break;
	default:
		p = must_alloc(w, pool, size, 0, prot).addr;
		/* What nobody has got of its page is the pool's or nobody's. */
		if (prot != WXP_RW && (uintptr_t)p % PAGE == 0)
			map_set(m, p, (size + PAGE - 1) / PAGE * PAGE, ANY);
		map_set(m, p, size, pool);
	}
}

TEST(pool_of_every_address)
{
	struct wxp *w = open_window(16 * MIB);
	struct map m = { 0 };
	uint64_t seed = 12;
	uint32_t i;
	size_t k;

	wxp_get_window(w, (void **)&m.base, &m.size);
	m.want = calloc(m.size / WXP_LINE, sizeof(*m.want));
	map_check(&m, w);
	for (i = 1; i <= 150; i++)
		map_fill(&m, w, 1 + i % 40, &seed);
	map_check(&m, w);
	for (i = 1; i <= 40; i += 3) {
		CHECK_EQ(wxp_free(w, i), 0);
		for (k = 0; k < m.size / WXP_LINE; k++)
			m.want[k] = m.want[k] == i ? 0 : m.want[k];
	}
	map_check(&m, w);
	for (i = 41; i <= 90; i++)
		map_fill(&m, w, i, &seed);
	map_check(&m, w);
	CHECK_EQ(wxp_pool_of(w, m.base - 1), 0);
	CHECK_EQ(wxp_pool_of(w, m.base + m.size), 0);
	CHECK_EQ(wxp_pool_of(w, NULL), 0);
	CHECK_EQ(wxp_pool_of(w, (void *)-1), 0);
	CHECK_EQ(wxp_pool_of(w, &m), 0);
	CHECK_EQ(wxp_pool_of(NULL, m.base), 0);
	free(m.want);
	wxp_close(w);
}

TEST(pool_of_ends)
{
	struct wxp *w = open_window(64 * MIB);
	char *a = must_load(w, 5, 1), *b = must_place(w, 6, 300, 0, WXP_RX).addr;
	struct wxp_mem mem = must_alloc(w, 7, 2 * PAGE, 0, WXP_RX);
	char *rw = must_alloc(w, 8, 200, 0, WXP_RW).addr;
	size_t i;

	for (i = 0; i < CODE_SIZE; i++)
		CHECK_EQ(wxp_pool_of(w, a + i), 5);
	for (i = 0; i < 300; i++)
		CHECK_EQ(wxp_pool_of(w, b + i), 6);
	for (i = 0; i < 200; i++)
		CHECK_EQ(wxp_pool_of(w, rw + i), 8);
	CHECK_EQ(wxp_pool_of(w, a - 1) + wxp_pool_of(w, b + 320), 0);
	CHECK_EQ(wxp_pool_of(w, rw - 1) + wxp_pool_of(w, rw + 256), 0);
	CHECK_EQ(wxp_pool_of(w, mem.addr), 7);
	CHECK_EQ(wxp_pool_of(w, (char *)mem.addr + 2 * PAGE - 1), 7);
	CHECK_EQ(wxp_pool_of(w, (char *)mem.addr + 2 * PAGE), 0);
	CHECK_EQ(wxp_protect(w, 7), 0);
	CHECK_EQ(wxp_pool_of(w, (char *)mem.addr + PAGE), 7);
	wxp_close(w);
}

TEST(new_pools)
{
	struct wxp *w = open_default();
	uint32_t pool, last = 0, i;
	struct wxp_stats s;

	CHECK_EQ(wxp_new_pool(w, NULL), -EINVAL);
	CHECK_EQ(wxp_new_pool(NULL, &pool), -EINVAL);
	CHECK_EQ(stats_of(w, 0).pools, 0);
	for (i = 1; i <= 100; i++) {
		CHECK_EQ(wxp_new_pool(w, &pool), 0);
		CHECK(pool >= 0x80000000u && pool != last);
		last = pool;
		CHECK_EQ(stats_of(w, 0).pools, i);
		s = stats_of(w, pool);
		CHECK_EQ(s.pools, 1);
		CHECK_EQ(s.code + s.constants + s.variables, 0);
	}
	CHECK_EQ(wxp_protect(w, pool), 0);
	CHECK_EQ(code_run(must_load(w, pool, 3)), 3);
	CHECK_EQ(wxp_free(w, pool), 0);
	CHECK_EQ(wxp_free(w, pool), -ENOENT);
	CHECK_EQ(wxp_free(w, pool - 1), 0);
	CHECK_EQ(wxp_free(w, pool - 1), -ENOENT);
	CHECK_EQ(stats_of(w, 0).pools, 98);
	wxp_close(w);
}

/* Numbers that the program chose are not chosen again; a failed call does not end a pool. */
TEST(new_pools_beside_chosen_ones)
{
	struct wxp_request r = { BLOCK + 1, 0, WXP_RX };
	struct wxp *w = open_window(6 * MIB);
	uint32_t first, pool, i;
	struct wxp_span s;

	CHECK_EQ(wxp_new_pool(w, &first), 0);
	for (i = 1; i < 1000; i++)
		must_place(w, first + i, 1, 0, WXP_RW);
	for (i = 0; i < 10; i++) {
		CHECK_EQ(wxp_new_pool(w, &pool), 0);
		CHECK(pool < first || pool >= first + 1000);
		CHECK_EQ(stats_of(w, pool).variables, 0);
	}
	CHECK_EQ(wxp_place(w, pool, &r, 1, &s), -ENOMEM);
	CHECK_EQ(stats_of(w, pool).pools, 1);
	CHECK_EQ(wxp_free(w, pool), 0);
	wxp_close(w);
}

static void check_pool_stats(const struct wxp_stats *s, size_t code, size_t constants,
			     size_t variables, size_t installed, size_t open, size_t sealed)
{
	CHECK_EQ(s->pools, 1);
	CHECK_EQ(s->code, code);
	CHECK_EQ(s->constants, constants);
	CHECK_EQ(s->variables, variables);
	CHECK_EQ(s->installed, installed);
	CHECK_EQ(s->open, open);
	CHECK_EQ(s->sealed, sealed);
	CHECK_EQ(s->retired + s->free + s->largest + s->tables + s->charged + s->huge, 0);
}

TEST(stats_of_pools)
{
	struct wxp *w = open_window(64 * MIB);
	struct wxp_stats one, two, three, all;
	char src[64] = { 0 };

	CHECK_EQ(install(w, 1, must_place(w, 1, 1000, 0, WXP_RX).addr, src, 3), 0);
	must_place(w, 1, 65, 0, WXP_R);
	must_place(w, 1, 1, 0, WXP_RW);
	must_alloc(w, 2, 10, 0, WXP_RX);
	must_alloc(w, 2, 10, 0, WXP_R);
	CHECK_EQ(wxp_protect(w, 2), 0);
	must_alloc(w, 2, PAGE + 1, 0, WXP_RX);
	must_alloc(w, 2, 129, 0, WXP_RW);
	must_load(w, 3, 1);
	one = stats_of(w, 1);
	two = stats_of(w, 2);
	three = stats_of(w, 3);
	all = stats_of(w, 0);
	check_pool_stats(&one, 1024, 128, 64, 64, 0, 0);
	check_pool_stats(&two, 3 * PAGE, PAGE, 192, 0, 2 * PAGE, 2 * PAGE);
	check_pool_stats(&three, 64, 0, 0, 64, 0, 0);
	CHECK_EQ(all.pools, 3);
	CHECK_EQ(all.code, one.code + two.code + three.code);
	CHECK_EQ(all.constants, one.constants + two.constants);
	CHECK_EQ(all.variables, one.variables + two.variables);
	CHECK_EQ(all.installed, 128);
	CHECK_EQ(all.open, 2 * PAGE);
	CHECK_EQ(all.sealed, 2 * PAGE);
	CHECK(all.tables > 0);
	check_stats(w);
	wxp_close(w);
}

TEST(stats_are_refused)
{
	struct { struct wxp_stats s; unsigned char later[40]; } arg;
	struct wxp *w = open_default();

	must_load(w, 1, 1);
	memset(&arg, 0xff, sizeof(arg));
	arg.s.size = sizeof(arg.s) - 1;
	CHECK_EQ(wxp_get_stats(w, 0, &arg.s), -EINVAL);
	arg.s.size = sizeof(arg.s);
	CHECK_EQ(wxp_get_stats(NULL, 0, &arg.s), -EINVAL);
	CHECK_EQ(wxp_get_stats(w, 0, NULL), -EINVAL);
	CHECK_EQ(wxp_get_stats(w, 2, &arg.s), -ENOENT);
	CHECK_EQ(arg.s.pools, UINT64_MAX);
	CHECK_EQ(wxp_get_stats(w, 1, &arg.s), 0);
	CHECK_EQ(arg.s.pools, 1);
	CHECK(all_bytes(arg.later, sizeof(arg.later), 0xff));
	/* A later version's */
	arg.s.size = sizeof(arg) - 8;
	CHECK_EQ(wxp_get_stats(w, 0, &arg.s), 0);
	CHECK_EQ(arg.s.size, sizeof(arg) - 8);
	CHECK(is_zero(arg.later, sizeof(arg.later) - 8));
	CHECK(all_bytes(arg.later + sizeof(arg.later) - 8, 8, 0xff));
	wxp_close(w);
}

/* -------------------------------------------------------------------------
 * The whole context
 */

TEST(freeze_is_for_good)
{
	struct wxp_request r = { 100, 0, WXP_RX };
	struct wxp *w = open_window(64 * MIB);
	char *code = must_install(w, 1, 100, 1), src[100] = { 0 };
	struct wxp_span s = must_place(w, 2, 200, 0, WXP_RX), t;
	struct wxp_part part = { src, 1, WXP_R, NULL };
	struct wxp_mem sealed = must_alloc(w, 3, CODE_SIZE, 0, WXP_RX), m;
	struct wxp_stats before;
	uint32_t i;
	void *p;

	code_write(sealed.write, 3);
	CHECK_EQ(wxp_protect(w, 3), 0);
	must_alloc(w, 4, CODE_SIZE, 0, WXP_RX);
	before = stats_of(w, 0);
	CHECK_EQ(wxp_freeze(w), 0);
	CHECK_EQ(wxp_freeze(w), 0);
	CHECK_EQ(wxp_alloc(w, 1, 1, 0, WXP_RX, &m), -EROFS);
	CHECK_EQ(wxp_reserve(w, 1, &r, 1), -EROFS);
	CHECK_EQ(wxp_protect(w, 4), -EROFS);
	CHECK_EQ(wxp_place(w, 1, &r, 1, &t), -EROFS);
	CHECK_EQ(install(w, 2, s.addr, src, 100), -EROFS);
	CHECK_EQ(wxp_load(w, 1, src, 1, WXP_RX, &p), -EROFS);
	CHECK_EQ(wxp_load_many(w, 1, &part, 1), -EROFS);
	CHECK_EQ(wxp_new_pool(w, &i), -EROFS);
	check_unchanged(w, &before);
	CHECK_EQ(code_run(code) + code_run(sealed.addr), 4);
	CHECK_EQ(wxp_shrink(w, &s, 100), 0);
	CHECK_EQ(wxp_pool_of(w, s.addr), 2);
	for (i = 1; i <= 4; i++)
		CHECK_EQ(wxp_free(w, i), 0);
	CHECK_EQ(stats_of(w, 0).pools, 0);
	wxp_close(w);
	CHECK_EQ(wxp_freeze(NULL), -EINVAL);
	w = open_default();
	CHECK_EQ(code_run(must_load(w, 1, 5)), 5);
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
	uint32_t i, nr = under_valgrind() ? 300 : 3000;
	char **code = calloc(nr + 1, sizeof(*code));
	struct wxp *w = open_huge(0);
	struct wxp_stats s;

	for (i = 1; i <= nr; i++)
		code[i] = must_install(w, i, 1000, i);
	CHECK_EQ((uintptr_t)code[1] % BLOCK, 0);
	s = stats_of(w, 0);
	CHECK(is_kernel(w) || !s.huge);
	printf("# %s: %llu of %llu bytes are in huge pages\n", wxp_backend_name(wxp_get_backend(w)),
	       (unsigned long long)s.huge, (unsigned long long)s.code);
	for (i = 1; i <= nr; i++)
		CHECK_EQ(code_run(code[i]), i);
	for (i = 1; i <= nr; i++)
		CHECK_EQ(wxp_free(w, i), 0);
	CHECK(is_empty(w, code[1], 1024, WXP_RX));
	for (i = 0; i < 20; i++) {
		CHECK_EQ(code_run(must_install(w, 1, 1000, i)), i);
		CHECK_EQ(wxp_free(w, 1), 0);
	}
	/* All numbers are the program's. */
	CHECK_EQ(code_run(must_install(w, UINT32_MAX, 1000, 21)), 21);
	CHECK_EQ(wxp_free(w, UINT32_MAX), 0);
	free(code);
	wxp_close(w);
}

TEST(huge_windows_can_be_full)
{
	struct wxp *w = open_huge(16 * MIB);
	char *src = calloc(1, 3 * MIB);
	void *p;
	int i;

	for (i = 0; i < 4; i++) {
		CHECK_EQ(wxp_load(w, 1, src, 3 * MIB, WXP_RX, &p), 0);
		CHECK_EQ(wxp_load(w, 2, src, 64, WXP_R, &p), 0);
		CHECK_EQ(wxp_free(w, 1), 0);
		CHECK_EQ(wxp_free(w, 2), 0);
		must_alloc(w, 1, i % 2 ? 2 * BLOCK : BLOCK, 0, i % 2 ? WXP_RX : WXP_R);
		CHECK_EQ(wxp_free(w, 1), 0);
	}
	free(src);
	wxp_close(w);
}

TEST(prepared_install)
{
	struct wxp *w = open_default();
	char *x = must_place(w, 1, 200, 0, WXP_RX).addr, code[CODE_SIZE];
	struct wxp_piece piece = { x + 4, code, CODE_SIZE };
	struct wxp_op *op = NULL;
	int err;

	if (!is_kernel(w)) {
		CHECK_EQ(wxp_install_prepare(w, 1, &piece, 1, &op), -EOPNOTSUPP);
		CHECK_EQ(wxp_get_fd(w), -EOPNOTSUPP);
		wxp_close(w);
		return;
	}
	code_write(code, 9);
	CHECK_EQ(wxp_install_prepare(w, 2, &piece, 1, &op), -ENOENT);
	CHECK_EQ(wxp_install_prepare(w, 1, &piece, 0, &op), -EINVAL);
	CHECK_EQ(wxp_install_prepare(w, 1, &piece, WXP_MAX_PIECES + 1, &op), -E2BIG);
	CHECK_EQ(wxp_install_prepare(w, 1, &piece, 1, &op), 0);
	/* It is under way. */
	CHECK_EQ(wxp_install(w, 1, &piece, 1), -EEXIST);
	CHECK_EQ(wxp_free(w, 1), -EBUSY);
	CHECK_EQ(wxp_install_complete(w, op, -ECANCELED), -ECANCELED);
	CHECK_EQ(wxp_install_complete(w, op, 0), -EINVAL);
	CHECK_EQ(stats_of(w, 0).installed, 0);
	CHECK_EQ(wxp_install_prepare(w, 1, &piece, 1, &op), 0);
	err = ioctl(wxp_get_fd(w), WXPOOL_IOC_INSTALL, wxp_op_arg(op)) ? -errno : 0;
	CHECK_EQ(wxp_install_complete(w, op, 1), -EINVAL);
	CHECK_EQ(wxp_install_complete(w, op, err), 0);
	CHECK_EQ(code_run(x + 4), 9);
	CHECK(is_filler(x, 4, WXP_RX));
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK(load_faults(x));
	wxp_close(w);
}

TEST(cores_can_be_synced)
{
	struct wxp *w = open_default();
	int err = wxp_sync_cores(w);

	CHECK(err == 0 || err == -ENOSYS);
	CHECK_EQ(wxp_sync_cores(w), err);
	CHECK_EQ(wxp_sync_cores(NULL), -EINVAL);
	wxp_close(w);
}

/* The descriptor that the next open() will give */
static int next_fd(void)
{
	int fd = open("/dev/null", O_RDONLY);

	CHECK(fd >= 0);
	close(fd);
	return fd;
}

static int other_file(size_t size)
{
	int fd = memfd_create("other", MFD_CLOEXEC);
	char *p;

	CHECK(fd >= 0 && !ftruncate(fd, (off_t)size));
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	memset(p, 0x55, size);
	munmap(p, size);
	return fd;
}

static bool is_untouched(int fd, size_t size)
{
	char *p = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	bool same;

	CHECK(p != MAP_FAILED);
	same = all_bytes(p, size, 0x55);
	munmap(p, size);
	return same;
}

/* A number that became another file's: nothing happens to that. */
TEST(descriptor_of_another_file)
{
	int fd = next_fd(), other = other_file(16 * MIB);
	static char src[5 * 65536];
	struct wxp_mem mem, sealed;
	char *code, *small;
	struct wxp_stats before;
	struct wxp_span s;
	struct wxp *w;
	void *p;

	CHECK_EQ(close(other), 0);
	w = open_window(16 * MIB);
	other = other_file(16 * MIB);
	code = must_load(w, 1, 7);
	small = must_load(w, 2, 8);
	CHECK_EQ(wxp_load(w, 2, src, 5 * 65536, WXP_RX, &p), 0);
	sealed = must_alloc(w, 3, PAGE, 0, WXP_RX);
	code_write(sealed.write, 9);
	CHECK_EQ(wxp_protect(w, 3), 0);
	mem = must_alloc(w, 4, PAGE, 0, WXP_RX);
	memset(mem.write, 1, PAGE);
	s = must_place(w, 5, 100, 0, WXP_RX);
	if (is_fast(w)) {
		close(other);
		wxp_close(w);
		test_skip("the fast backend has no descriptor");
	}
	CHECK(!is_kernel(w) || wxp_get_fd(w) == fd);
	CHECK_EQ(dup2(other, fd), fd);
	before = stats_of(w, 0);
	CHECK_EQ(wxp_load(w, 1, src, 100, WXP_RX, &p), -EBADF);
	CHECK_EQ(install(w, 5, s.addr, src, 100), -EBADF);
	CHECK_EQ(wxp_protect(w, 4), -EBADF);
	CHECK_EQ(wxp_free(w, 2), -EBADF);
	CHECK_EQ(wxp_free(w, 3), -EBADF);
	check_unchanged(w, &before);
	CHECK(is_untouched(other, 16 * MIB));
	CHECK_EQ(code_run(code) + code_run(small) + code_run(sealed.addr), 24);
	wxp_close(w);
	CHECK(fcntl(fd, F_GETFD) >= 0 && is_untouched(fd, 16 * MIB));
	close(fd);
	close(other);
}
