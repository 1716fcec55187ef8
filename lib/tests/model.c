// SPDX-License-Identifier: MIT
/*
 * Random requests of all kinds, against a model of what each must do
 *
 *   model [-n REQUESTS] [-s SEED] [-w MIB] [-f FLAGS]
 *
 * The model knows the owner of each line of the window, and of each span its bytes and
 * what is installed of them. What a request concerned is looked at after it; now and then
 * everything is, the library's own tables included.
 */
#include <getopt.h>

#include "../internal.h"
#include "test.h"

#define MAX_SPANS	3000
#define NR_POOLS	150u
#define MAX_SIZE	(160u << 10)
#define MAX_VARIABLES	(3u << 20)
#define MAX_LINES	(64u << 20 >> 6)

/* struct span - @seed: of its bytes; @filled: of each line: all of it is installed (1), or some */
struct span {
	uint32_t pool;
	enum wxp_prot prot;
	enum { PLACED, INPLACE, PROTECTED } how;
	unsigned char *addr, *write;
	size_t size, align;
	uint32_t seed;
	unsigned char filled[MAX_SIZE / WXP_LINE];
};

static struct span spans[MAX_SPANS];
static unsigned int nr_spans;
static bool alive[NR_POOLS];
static uint32_t owner[MAX_LINES];	/* by line of the window: pool, or 0 */
static struct wxp *x;
static unsigned char *base;
static uint64_t rng;
static unsigned long done, refused;
static unsigned char bytes[MAX_VARIABLES];

static uint32_t rnd(uint32_t n)
{
	return random_next(&rng) % n;
}

/* ---- the library's tables */

static void check_run(const struct window *w, const struct area *a, uint32_t line, uint32_t len)
{
	const struct heap *h = &a->heap[kind_of(w, line)];
	uint32_t next, n = 0;

	CHECK(bit_test(w->bits, BIT_FREE, line + len - 1));
	CHECK(line + len == a->end || !bit_test(w->bits, BIT_FREE, line + len) ||
	      kind_of(w, line + len) != kind_of(w, line));
	CHECK(line + len != h->rest || !h->rest_end);
	CHECK(len == 1 || w->lines[line + len - 1].length == len);
	CHECK(a == &w->areas[VARIABLES] || !bits_any(w->bits, BIT_FILLED, line, len));
	for (next = w->lines[line].prev; next != NONE && n < MAX_LINES; n++) {
		CHECK_EQ(w->lines[w->lines[next].next].prev, next);
		next = w->lines[next].prev;
	}
}

static uint32_t check_line(const struct window *w, const struct area *a, uint32_t line,
			   unsigned int *nr)
{
	const struct heap *h = &a->heap[kind_of(w, line)];
	uint32_t len;

	if (kind_of(w, line) == FRESH)
		return BLOCK_LINES;
	CHECK(bit_test(w->bits, BIT_BEGIN, line));
	if (line == h->rest && h->rest_end) {
		CHECK(!bit_test(w->bits, BIT_FREE, line) && h->rest_end > line);
		return h->rest_end - line;
	}
	len = line_length(w, line);
	CHECK(len && line + len <= a->end);
	if (bit_test(w->bits, BIT_FREE, line))
		check_run(w, a, line, len);
	else
		*nr += w->lines[line].pool != 0;
	return len;
}

/* Each line is in one thing, and each span in its pool's list. */
static void check_tables(const struct window *w)
{
	unsigned int nr = 0, listed = 0, i;
	const struct area *a;
	uint32_t line;

	for (a = w->areas; a < w->areas + NR_AREAS; a++)
		for (line = a->start; line < a->end;)
			line += check_line(w, a, line, &nr);
	for (i = 1; i < w->pools.nr_used; i++) {
		if (!pool_at(w, i)->id)
			continue;
		CHECK_EQ(pool_find(w, pool_at(w, i)->id), i);
		for (line = pool_at(w, i)->spans; line != NONE; line = w->lines[line].sibling) {
			CHECK_EQ(w->lines[line].pool, i);
			listed++;
		}
	}
	CHECK_EQ(nr, listed);
}

/* ---- the model */

static void make_bytes(uint32_t seed, size_t size)
{
	uint64_t state = seed;
	size_t i;

	for (i = 0; i < size; i++)
		bytes[i] = (unsigned char)random_next(&state);
}

static uint32_t line_of(const void *p)
{
	return (uint32_t)(((const unsigned char *)p - base) / WXP_LINE);
}

static void own(const struct span *s, size_t from, size_t to, uint32_t before, uint32_t after)
{
	uint32_t line;

	for (line = line_of(s->addr + from); line <= line_of(s->addr + to - 1); line++) {
		CHECK_EQ(owner[line], before);
		owner[line] = after;
	}
}

static void check_addr(const struct span *s)
{
	void *start;
	size_t size;

	wxp_get_window(x, &start, &size);
	CHECK(s->addr >= base && s->addr + s->size <= base + size);
	CHECK_EQ((uintptr_t)s->addr % (s->align ? s->align : 1), 0);
	CHECK_EQ(wxp_pool_of(x, s->addr), s->pool);
	CHECK_EQ(wxp_pool_of(x, s->addr + s->size - 1), s->pool);
}

static struct span *span_new(uint32_t pool, enum wxp_prot prot, void *addr, size_t size,
			     size_t align)
{
	struct span *s = &spans[nr_spans++];

	memset(s->filled, 0, sizeof(s->filled));
	s->pool = pool;
	s->prot = prot;
	s->how = PLACED;
	s->addr = s->write = addr;
	s->size = size;
	s->align = align;
	s->seed = random_next(&rng);
	alive[pool] = true;
	check_addr(s);
	return s;
}

/* Several in-place spans of a pool may share lines. */
static void span_placed(struct span *s)
{
	own(s, 0, s->size, 0, s->pool);
	if (s->prot != WXP_RW)
		return;
	CHECK(is_zero(s->addr, s->size));
	make_bytes(s->seed, s->size);
	memcpy(s->addr, bytes, s->size);
}

static void span_check(const struct span *s)
{
	size_t i, n;

	make_bytes(s->seed, s->size);
	check_addr(s);
	if (s->prot == WXP_RW || s->how == PROTECTED) {
		CHECK(!memcmp(s->addr, bytes, s->size));
	} else if (s->how == INPLACE) {
		CHECK(!memcmp(s->write, bytes, s->size));
	} else {
		for (i = 0; i < s->size; i += WXP_LINE) {
			n = s->size - i < WXP_LINE ? s->size - i : WXP_LINE;
			CHECK(s->filled[i / WXP_LINE] != 1 || !memcmp(s->addr + i, bytes + i, n));
		}
	}
}

static uint64_t lines_of_pool(uint32_t pool)
{
	uint64_t nr = 0;
	uint32_t i;

	for (i = 0; i < MAX_LINES; i++)
		nr += owner[i] == pool;
	return nr;
}

static void check_all(void)
{
	struct wxp_stats s = { .size = sizeof(s) };
	unsigned int i, nr = 0;

	for (i = 0; i < nr_spans; i++)
		span_check(&spans[i]);
	for (i = 1; i < NR_POOLS; i++)
		nr += alive[i];
	check_stats(x);
	check_tables(x->window);
	CHECK_EQ(stats_of(x, 0).pools, nr);
	i = 1 + rnd(NR_POOLS - 1);
	CHECK_EQ(wxp_get_stats(x, i, &s), alive[i] ? 0 : -ENOENT);
	if (alive[i])
		CHECK((s.code + s.constants + s.variables) / WXP_LINE >= lines_of_pool(i));
}

/* ---- requests */

static uint32_t any_pool(void)
{
	return 1 + rnd(NR_POOLS - 1);
}

static size_t any_size(void)
{
	switch (rnd(8)) {
	case 0:
		return 1 + rnd(MAX_SIZE);
	case 1:
		return WXP_LINE * (1 + rnd(80));
	case 2:
		return 1 + rnd(16384);
	default:
		return 1 + rnd(700);
	}
}

static size_t any_align(void)
{
	return rnd(3) ? 0 : (size_t)1 << rnd(rnd(16) ? 13 : 22);
}

static enum wxp_prot any_prot(bool data)
{
	static const enum wxp_prot prots[] = { WXP_RX, WXP_RX, WXP_R, WXP_RW };

	return prots[rnd(data ? 4 : 3)];
}

/* Of variables sometimes so much that it goes back to the system at the end */
static size_t size_for(enum wxp_prot prot)
{
	return prot == WXP_RW && !rnd(20) ? 1 + rnd(MAX_VARIABLES) : any_size();
}

/* Nobody can read them; to try is an error with the fast backend, and for valgrind. */
static bool bad_source(void)
{
	return !is_fast(x) && !under_valgrind() && !rnd(20);
}

static void check_nothing(int err, int want, const struct wxp_stats *before)
{
	struct wxp_stats after = stats_of(x, 0);

	CHECK_EQ(err, want);
	check_same_stats(before, &after);
}

/* Out of memory is right only if no gap would do; nothing may have changed. */
static bool had(int err, uint32_t pool, const struct wxp_stats *before)
{
	struct wxp_stats after;

	if (!err)
		return true;
	CHECK_EQ(err, -ENOMEM);
	after = stats_of(x, 0);
	check_same_stats(before, &after);
	if (!alive[pool])
		CHECK_EQ(wxp_get_stats(x, pool, &after), -ENOENT);
	refused++;
	return false;
}

static void do_load(void)
{
	struct wxp_stats before = stats_of(x, 0);
	enum wxp_prot prot = any_prot(false);
	uint32_t pool = any_pool(), seed = random_next(&rng);
	size_t size = any_size();
	struct span *s;
	void *addr;

	if (bad_source()) {
		int err = wxp_load(x, pool, (void *)8, size, prot, &addr);

		check_nothing(err, err == -ENOMEM ? err : -EFAULT, &before);
		return;
	}
	make_bytes(seed, size);
	if (!had(wxp_load(x, pool, bytes, size, prot, &addr), pool, &before))
		return;
	s = span_new(pool, prot, addr, size, WXP_LINE);
	s->seed = seed;
	memset(s->filled, 1, sizeof(s->filled));
	span_placed(s);
	span_check(s);
}

static void do_load_many(void)
{
	struct wxp_stats before = stats_of(x, 0);
	unsigned int nr = 1 + rnd(rnd(8) ? 8 : 90), i;
	uint32_t pool = any_pool();
	struct wxp_part parts[90];
	struct span *s;

	for (i = 0; i < nr; i++)
		parts[i] = (struct wxp_part){ bytes, 1 + rnd(300), any_prot(false), NULL };
	make_bytes(1, 300);
	if (bad_source()) {
		int err;

		parts[nr - 1].bytes = (void *)8;
		err = wxp_load_many(x, pool, parts, nr);
		check_nothing(err, err == -ENOMEM ? err : -EFAULT, &before);
		return;
	}
	if (nr_spans + nr > MAX_SPANS ||
	    !had(wxp_load_many(x, pool, parts, nr), pool, &before))
		return;
	for (i = 0; i < nr; i++) {
		s = span_new(pool, parts[i].prot, parts[i].addr, parts[i].size, WXP_LINE);
		s->seed = 1;
		memset(s->filled, 1, sizeof(s->filled));
		span_placed(s);
		span_check(s);
	}
}

static void do_place(void)
{
	struct wxp_stats before = stats_of(x, 0);
	unsigned int nr = 1 + rnd(4), i;
	uint32_t pool = any_pool();
	struct wxp_request reqs[4];
	struct wxp_span at[4];

	for (i = 0; i < nr; i++) {
		reqs[i] = (struct wxp_request){ .align = any_align(), .prot = any_prot(true) };
		reqs[i].size = size_for(reqs[i].prot);
	}
	if (nr_spans + nr > MAX_SPANS || !had(wxp_place(x, pool, reqs, nr, at), pool, &before))
		return;
	for (i = 0; i < nr; i++) {
		CHECK_EQ(at[i].size, reqs[i].size);
		span_placed(span_new(pool, reqs[i].prot, at[i].addr, at[i].size, reqs[i].align));
	}
}

static struct span *any_span(void)
{
	return nr_spans ? &spans[rnd(nr_spans)] : NULL;
}

/* What nothing was put into */
static bool is_filler(const struct span *s, size_t from, size_t to)
{
	const char *trap = CODE_TRAP;
	size_t i;

	for (i = from; i < to; i++)
		if (s->addr[i] != (s->prot == WXP_RX ? (unsigned char)trap[i % 4] : 0))
			return false;
	return true;
}

/* Some bytes of a span, in a few pieces; what it says follows from the lines. */
static void do_install(void)
{
	struct span *s = any_span();
	struct wxp_piece p[40];
	size_t from, to, at, n;
	unsigned int nr = 0;
	bool taken = false;

	if (!s || s->how != PLACED || s->prot == WXP_RW)
		return;
	from = rnd(3) ? 0 : rnd((uint32_t)s->size);
	to = rnd(3) ? s->size : from + 1 + rnd((uint32_t)(s->size - from));
	make_bytes(s->seed, s->size);
	for (at = from / WXP_LINE; at <= (to - 1) / WXP_LINE; at++)
		taken |= s->filled[at];
	for (at = from; at < to && nr < 40; at += n) {
		n = nr == 39 ? to - at : 1 + rnd((uint32_t)(to - at));
		p[nr++] = (struct wxp_piece){ s->addr + at, bytes + at, n };
	}
	if (bad_source()) {
		struct wxp_stats before = stats_of(x, 0);

		p[nr - 1].src = (void *)8;
		check_nothing(wxp_install(x, s->pool, p, nr), taken ? -EEXIST : -EFAULT, &before);
		return;
	}
	CHECK_EQ(wxp_install(x, s->pool, p, nr), taken ? -EEXIST : 0);
	if (taken)
		return;
	CHECK(is_filler(s, from & ~(size_t)(WXP_LINE - 1), from));
	CHECK(is_filler(s, to, s->size < round_up(to, WXP_LINE) ? s->size :
								   round_up(to, WXP_LINE)));
	CHECK(!memcmp(s->addr + from, bytes + from, to - from));
	for (at = from / WXP_LINE; at <= (to - 1) / WXP_LINE; at++)
		s->filled[at] = at * WXP_LINE >= from &&
				((at + 1) * WXP_LINE <= to || to == s->size) ? 1 : 2;
}

static void do_shrink(void)
{
	struct span *s = any_span();
	struct wxp_span at;
	bool taken = false;
	size_t size, i;
	int err;

	if (!s || s->how != PLACED)
		return;
	at = (struct wxp_span){ s->addr, s->size };
	size = 1 + rnd((uint32_t)s->size);
	for (i = lines_for(size); i < lines_for(s->size) && s->prot != WXP_RW; i++)
		taken |= s->filled[i];
	err = wxp_shrink(x, &at, size);
	CHECK_EQ(err, taken ? -EEXIST : 0);
	CHECK_EQ(at.size, err ? s->size : size);
	if (err)
		return;
	if (lines_for(size) < lines_for(s->size))
		own(s, (size_t)lines_for(size) * WXP_LINE, s->size, s->pool, 0);
	s->size = size;
}

static bool alloc_one(uint32_t pool, size_t size, size_t align, enum wxp_prot prot)
{
	struct wxp_stats before = stats_of(x, 0);
	struct wxp_mem m;
	struct span *s;

	if (!had(wxp_alloc(x, pool, size, align, prot, &m), pool, &before))
		return false;
	s = span_new(pool, prot, m.addr, size, align);
	if (prot == WXP_RW) {
		span_placed(s);
		return true;
	}
	s->how = INPLACE;
	s->write = m.write;
	CHECK(is_zero(s->write, size));
	make_bytes(s->seed, size);
	memcpy(s->write, bytes, size);
	return true;
}

static void do_alloc(void)
{
	enum wxp_prot prot = any_prot(true);

	alloc_one(any_pool(), size_for(prot), any_align(), prot);
}

/* All that was reserved fits, in any order. */
static void do_reserve(void)
{
	struct wxp_stats before = stats_of(x, 0);
	uint32_t pool = any_pool();
	struct wxp_request reqs[4];
	unsigned int i, first;
	uint64_t open;

	for (i = 0; i < 4; i++)
		reqs[i] = (struct wxp_request){ any_size(), any_align(), any_prot(false) };
	if (!had(wxp_reserve(x, pool, reqs, 4), pool, &before))
		return;
	open = stats_of(x, 0).open;
	for (i = 0, first = rnd(4); i < 4; i++)
		CHECK(alloc_one(pool, reqs[(first + i) % 4].size, reqs[(first + i) % 4].align,
				reqs[(first + i) % 4].prot));
	CHECK_EQ(stats_of(x, 0).open, open);
}

static void do_protect(void)
{
	uint32_t pool = any_pool();
	unsigned int i;

	CHECK_EQ(wxp_protect(x, pool), alive[pool] ? 0 : -ENOENT);
	for (i = 0; i < nr_spans; i++) {
		if (spans[i].pool != pool || spans[i].how != INPLACE)
			continue;
		spans[i].how = PROTECTED;
		span_check(&spans[i]);
	}
}

static void forget_pool(uint32_t pool)
{
	unsigned int i;

	for (i = 0; i < nr_spans;) {
		if (spans[i].pool != pool) {
			i++;
			continue;
		}
		if (spans[i].how == PLACED)
			own(&spans[i], 0, spans[i].size, pool, 0);
		CHECK_EQ(wxp_pool_of(x, spans[i].addr), 0);
		spans[i] = spans[--nr_spans];
	}
	alive[pool] = false;
}

static void do_free(void)
{
	uint32_t pool = any_pool();

	CHECK_EQ(wxp_free(x, pool), alive[pool] ? 0 : -ENOENT);
	forget_pool(pool);
}

static void do_free_many(void)
{
	unsigned int nr = 1 + rnd(6), i, j;
	uint32_t pools[6];
	int want = 0;

	for (i = 0; i < nr; i++) {
		pools[i] = any_pool();
		for (j = 0; j < i && pools[j] != pools[i];)
			j++;
		if (!want && j < i)
			want = alive[pools[i]] ? -EBUSY : -ENOENT;
		else if (!want && !alive[pools[i]])
			want = -ENOENT;
	}
	CHECK_EQ(wxp_free_many(x, pools, nr), want);
	for (i = 0; i < nr; i++)
		forget_pool(pools[i]);
}

static void one_request(void)
{
	static const struct {
		unsigned int weight;
		void (*fn)(void);
	} kinds[] = {
		{ 20, do_load }, { 3, do_load_many }, { 20, do_place }, { 30, do_install },
		{ 8, do_shrink }, { 16, do_alloc }, { 3, do_reserve }, { 8, do_protect },
		{ 12, do_free }, { 3, do_free_many },
	};
	unsigned int i = 0, n = rnd(123);

	if (nr_spans >= MAX_SPANS - 8) {
		do_free();
		return;
	}
	for (; n >= kinds[i].weight; i++)
		n -= kinds[i].weight;
	kinds[i].fn();
	done++;
}

static unsigned long requests = 3000;
static uint64_t seed;
static size_t window = 24;
static unsigned int flags;

TEST(random_requests)
{
	struct wxp_options o = { .size = sizeof(o), .flags = flags, .window = window << 20 };
	unsigned int pool;
	size_t size;
	void *p;

	printf("# seed %llu\n", (unsigned long long)seed);
	rng = seed;
	CHECK_EQ(wxp_open(&x, &o), 0);
	wxp_get_window(x, &p, &size);
	base = p;
	while (done < requests) {
		one_request();
		if (!rnd(300))
			check_all();
	}
	check_all();
	for (pool = 1; pool < NR_POOLS; pool++)
		if (alive[pool])
			CHECK_EQ(wxp_free(x, pool), 0);
	nr_spans = 0;
	memset(alive, 0, sizeof(alive));
	check_all();
	CHECK_EQ(stats_of(x, 0).free + stats_of(x, 0).retired, size);
	wxp_close(x);
	printf("# %lu requests, %lu refused for want of room\n", done, refused);
}

/* Before main(), which knows of no options */
__attribute__((constructor)) static void read_options(int argc, char **argv)
{
	int opt;

	seed = (uint64_t)getpid() * 1000003u;
	while ((opt = getopt(argc, argv, "n:s:w:f:")) != -1) {
		if (opt == 'n')
			requests = strtoul(optarg, NULL, 0);
		else if (opt == 's')
			seed = strtoull(optarg, NULL, 0);
		else if (opt == 'w')
			window = strtoul(optarg, NULL, 0);
		else if (opt == 'f')
			flags = (unsigned int)strtoul(optarg, NULL, 0);
		else
			_exit(2);
	}
}
