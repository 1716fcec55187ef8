// SPDX-License-Identifier: MIT
/* The same handle goes on in a child made by fork(), and other ways to make processes. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "test.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE	0x100000
#endif

#define NR(a)		(sizeof(a) / sizeof((a)[0]))
#define NOBODY		65534

/* Not larger than it must be, as each child that makes code opens as much. */
static struct wxp *open_small(unsigned int flags)
{
	struct wxp_options opts = { .size = sizeof(opts), .window = 64 * MIB, .flags = flags };
	struct wxp *w = NULL;

	CHECK_EQ(wxp_open(&w, &opts), 0);
	return w;
}

/* A child does a job, which uses CHILD_CHECK(), and ends. */
static pid_t child_of(void (*job)(void *), void *arg)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid)
		return pid;
	alarm(200);
	job(arg);
	fflush(stdout);
	_exit(0);
}

static void in_child(void (*job)(void *), void *arg)
{
	wait_child(child_of(job, arg));
}

/* struct family - what a parent has: pools 1, 2 and 3, and an empty one */
struct family {
	struct wxp *w;
	char *loaded, *constant, *placed, *sealed, *constant2;
	int *variable;
	uint32_t named;
	struct wxp_stats before;
};

static void family_install(struct family *f)
{
	struct wxp_request r[] = { { CODE_SIZE, 0, WXP_RX }, { sizeof(int), 0, WXP_RW } };
	char code[CODE_SIZE];
	struct wxp_piece piece;
	struct wxp_span s[2];
	void *p;

	f->loaded = must_load(f->w, 1, 101);
	CHECK_EQ(wxp_load(f->w, 1, "constant", 9, WXP_R, &p), 0);
	f->constant = p;
	CHECK_EQ(wxp_place(f->w, 2, r, 2, s), 0);
	code_write(code, 102);
	piece = (struct wxp_piece){ s[0].addr, code, CODE_SIZE };
	CHECK_EQ(wxp_install(f->w, 2, &piece, 1), 0);
	f->placed = s[0].addr;
	f->variable = s[1].addr;
	*f->variable = 55;
}

static void family_make(struct family *f, struct wxp *w)
{
	struct wxp_mem code, constant;

	f->w = w;
	family_install(f);
	code = must_alloc(w, 3, CODE_SIZE, 0, WXP_RX);
	constant = must_alloc(w, 3, 100, 0, WXP_R);
	code_write(code.write, 103);
	strcpy(constant.write, "constant");
	CHECK_EQ(wxp_protect(w, 3), 0);
	f->sealed = code.addr;
	f->constant2 = constant.addr;
	CHECK_EQ(wxp_new_pool(w, &f->named), 0);
	f->before = stats_of(w, 0);
}

static bool family_runs(const struct family *f)
{
	return code_run(f->loaded) == 101 && code_run(f->placed) == 102 &&
	       code_run(f->sealed) == 103 && !strcmp(f->constant, "constant") &&
	       !strcmp(f->constant2, "constant");
}

static bool family_is_known(const struct family *f)
{
	return wxp_pool_of(f->w, f->loaded) == 1 && wxp_pool_of(f->w, f->constant) == 1 &&
	       wxp_pool_of(f->w, f->placed) == 2 && wxp_pool_of(f->w, f->variable) == 2 &&
	       wxp_pool_of(f->w, f->sealed) == 3 && wxp_pool_of(f->w, f->constant2) == 3;
}

/* The parent has noticed nothing. */
static void family_check(const struct family *f)
{
	struct wxp_stats now = stats_of(f->w, 0);

	check_same_stats(&f->before, &now);
	check_stats(f->w);
	CHECK(family_runs(f) && family_is_known(f));
	CHECK_EQ(*f->variable, 55);
}

/* must_load() for children */
static void *child_load(struct wxp *w, uint32_t pool, uint32_t value)
{
	unsigned char code[CODE_SIZE];
	void *p = NULL;

	code_write(code, value);
	CHILD_CHECK(!wxp_load(w, pool, code, sizeof(code), WXP_RX, &p));
	CHILD_CHECK(code_run(p) == value);
	CHILD_CHECK(wxp_pool_of(w, p) == pool);
	return p;
}

static void *child_installs(struct wxp *w, uint32_t pool, uint32_t value)
{
	struct wxp_request r[] = { { 1000, 0, WXP_RX }, { 100, 0, WXP_RW } };
	char code[CODE_SIZE];
	struct wxp_piece piece;
	struct wxp_span s[2];

	code_write(code, value);
	CHILD_CHECK(!wxp_place(w, pool, r, 2, s));
	CHILD_CHECK(is_zero(s[1].addr, 100));
	memset(s[1].addr, 1, 100);
	piece = (struct wxp_piece){ (char *)s[0].addr + 4, code, CODE_SIZE };
	CHILD_CHECK(!wxp_install(w, pool, &piece, 1));
	CHILD_CHECK(wxp_install(w, pool, &piece, 1) == -EEXIST);
	CHILD_CHECK(!wxp_shrink(w, &s[0], 100));
	CHILD_CHECK(code_run(piece.addr) == value);
	return piece.addr;
}

static void *child_allocs(struct wxp *w, uint32_t pool, uint32_t value)
{
	struct wxp_request r = { 100, 0, WXP_RX };
	struct wxp_mem code, constant, variable;

	CHILD_CHECK(!wxp_reserve(w, pool, &r, 1));
	CHILD_CHECK(!wxp_alloc(w, pool, 100, 0, WXP_RX, &code));
	CHILD_CHECK(!wxp_alloc(w, pool, 100, 0, WXP_R, &constant));
	CHILD_CHECK(!wxp_alloc(w, pool, 100, 0, WXP_RW, &variable));
	CHILD_CHECK(is_zero(code.write, 100) && is_zero(constant.write, 100));
	CHILD_CHECK(is_zero(variable.addr, 100));
	code_write(code.write, value);
	memset(constant.write, 7, 100);
	memset(variable.addr, 8, 100);
	CHILD_CHECK(!wxp_protect(w, pool));
	CHILD_CHECK(code_run(code.addr) == value);
	CHILD_CHECK(((char *)constant.addr)[99] == 7);
	CHILD_CHECK(wxp_get_backend(w) == WXP_BACKEND_FAST || store_faults(code.addr));
	return code.addr;
}

static void child_loads_many(struct wxp *w, uint32_t pool)
{
	unsigned char code[2][CODE_SIZE];
	struct wxp_part parts[] = {
		{ code[0], CODE_SIZE, WXP_RX, NULL }, { code[1], CODE_SIZE, WXP_RX, NULL },
	};

	code_write(code[0], 1);
	code_write(code[1], 2);
	CHILD_CHECK(!wxp_load_many(w, pool, parts, 2));
	CHILD_CHECK(code_run(parts[0].addr) + code_run(parts[1].addr) == 3);
}

/* All ways to make code, in a pool that nobody has, which is free afterwards */
static void child_makes_all(struct wxp *w, uint32_t pool)
{
	struct wxp_stats s = { .size = sizeof(s) };
	void *a, *b, *c;

	a = child_load(w, pool, 1001);
	b = child_installs(w, pool, 1002);
	c = child_allocs(w, pool, 1003);
	child_loads_many(w, pool);
	CHILD_CHECK(code_run(a) + code_run(b) + code_run(c) == 3006);
	CHILD_CHECK(!wxp_get_stats(w, pool, &s));
	CHILD_CHECK(s.pools == 1 && s.installed == 4 * WXP_LINE && s.sealed == 2 * PAGE);
	CHILD_CHECK(s.code == 5 * WXP_LINE + PAGE && s.variables == 4 * WXP_LINE);
	CHILD_CHECK(!wxp_free(w, pool));
	CHILD_CHECK(wxp_free(w, pool) == -ENOENT);
	CHILD_CHECK(!wxp_pool_of(w, a) && !wxp_pool_of(w, b) && !wxp_pool_of(w, c));
}

static void job_all(void *arg)
{
	struct family *f = arg;

	CHILD_CHECK(family_runs(f) && family_is_known(f));
	CHILD_CHECK(*f->variable == 55);
	*f->variable = 56;
	child_makes_all(f->w, 10);
	CHILD_CHECK(family_runs(f) && family_is_known(f));
	CHILD_CHECK(*f->variable == 56);
	child_makes_all(f->w, 11);
}

/* A child, another one, and in the end the parent */
TEST(child_goes_on)
{
	struct family f;

	family_make(&f, open_small(0));
	in_child(job_all, &f);
	in_child(job_all, &f);
	family_check(&f);
	job_all(&f);
	CHECK_EQ(*f.variable, 56);
	wxp_close(f.w);
}

TEST(child_goes_on_with_one_address)
{
	struct family f;

	family_make(&f, open_small(WXP_ONE_ADDRESS));
	in_child(job_all, &f);
	family_check(&f);
	wxp_close(f.w);
}

static void job_look(void *arg)
{
	struct family *f = arg;
	struct wxp_stats s = { .size = sizeof(s) };
	struct wxp_span span = { f->placed, CODE_SIZE };
	void *base, *again;
	size_t size;

	wxp_get_window(f->w, &base, &size);
	CHILD_CHECK((char *)base <= f->loaded && f->loaded < (char *)base + size);
	CHILD_CHECK(family_runs(f) && family_is_known(f));
	CHILD_CHECK(!wxp_get_stats(f->w, 0, &s));
	CHILD_CHECK(s.pools == 4 && s.code == f->before.code && s.sealed == f->before.sealed);
	CHILD_CHECK(!wxp_get_stats(f->w, 2, &s) && s.pools == 1 && s.code == WXP_LINE);
	CHILD_CHECK(wxp_get_stats(f->w, 9, &s) == -ENOENT);
	CHILD_CHECK(wxp_shrink(f->w, &span, 1) == -EINVAL);
	CHILD_CHECK(!wxp_pool_of(f->w, (char *)base + size - 1) && !wxp_pool_of(f->w, f));
	/* None of this has made another window. */
	wxp_get_window(f->w, &again, &size);
	CHILD_CHECK(again == base);
	child_load(f->w, 10, 5);
	wxp_get_window(f->w, &again, &size);
	CHILD_CHECK(again != base);
}

TEST(child_looks_around)
{
	struct family f;

	family_make(&f, open_small(0));
	in_child(job_look, &f);
	family_check(&f);
	wxp_close(f.w);
}

static void job_free(void *arg)
{
	uint32_t pools[] = { 1, 77, 3 };
	struct family *f = arg;
	struct wxp_stats s = { .size = sizeof(s) };

	CHILD_CHECK(wxp_free(f->w, 9) == -ENOENT);
	CHILD_CHECK(wxp_free(f->w, 0) == -EINVAL);
	CHILD_CHECK(!wxp_free(f->w, 2));
	CHILD_CHECK(wxp_free(f->w, 2) == -ENOENT);
	CHILD_CHECK(!wxp_pool_of(f->w, f->placed) && !wxp_pool_of(f->w, f->variable));
	CHILD_CHECK(wxp_pool_of(f->w, f->loaded) == 1);
	CHILD_CHECK(!wxp_free(f->w, f->named));
	CHILD_CHECK(wxp_free(f->w, f->named) == -ENOENT);
	CHILD_CHECK(wxp_free_many(f->w, pools, 3) == -ENOENT);
	CHILD_CHECK(wxp_free(f->w, 1) == -ENOENT && wxp_free(f->w, 3) == -ENOENT);
	CHILD_CHECK(!wxp_get_stats(f->w, 0, &s) && !s.pools && !s.code && !s.sealed);
	child_makes_all(f->w, 2);
	CHILD_CHECK(wxp_free(f->w, 1) == -ENOENT);
}

static void job_free_after_own(void *arg)
{
	struct family *f = arg;

	child_makes_all(f->w, 10);
	child_load(f->w, 11, 11);
	CHILD_CHECK(!wxp_free(f->w, 11));
	job_free(arg);
}

static void job_child_frees(void *arg)
{
	struct family *f = arg;
	int status = 1;
	pid_t pid;

	child_makes_all(f->w, 12);
	pid = child_of(job_free_after_own, f);
	CHILD_CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && !status);
	CHILD_CHECK(family_runs(f) && family_is_known(f));
	child_makes_all(f->w, 12);
}

TEST(child_frees_inherited_pools)
{
	struct family f;

	family_make(&f, open_small(0));
	in_child(job_free, &f);
	in_child(job_free_after_own, &f);
	in_child(job_child_frees, &f);
	family_check(&f);
	wxp_close(f.w);
}

/* Which are the parent's own, and go back to the system, or are zeroed. */
TEST(variables_are_zero_after_a_fork)
{
	struct wxp_request r = { 4 * MIB, 0, WXP_RW };
	struct wxp *w = open_default();
	struct wxp_span span;
	struct family f;
	int i;

	family_make(&f, open_small(0));
	for (i = 0; i < 2; i++) {
		CHECK_EQ(wxp_place(w, 1, &r, 1, &span), 0);
		CHECK(is_zero(span.addr, span.size));
		memset(span.addr, 1, span.size);
		in_child(job_all, &f);
		CHECK_EQ(wxp_free(w, 1), 0);
	}
	CHECK_EQ(wxp_place(w, 1, &r, 1, &span), 0);
	CHECK(is_zero(span.addr, span.size));
	wxp_close(f.w);
	wxp_close(w);
}

/* Of a number that both have, the pool is one. */
static void job_both(void *arg)
{
	struct family *f = arg;
	char *own = child_load(f->w, 1, 201);
	struct wxp_stats s = { .size = sizeof(s) };
	struct wxp_piece piece = { f->loaded, own, 1 };

	CHILD_CHECK(wxp_pool_of(f->w, f->loaded) == 1 && wxp_pool_of(f->w, own) == 1);
	CHILD_CHECK(wxp_install(f->w, 1, &piece, 1) == -ESTALE);
	child_load(f->w, 2, 202);
	CHILD_CHECK(!wxp_get_stats(f->w, 1, &s) && s.pools == 1 && s.code == 2 * WXP_LINE);
	CHILD_CHECK(!wxp_get_stats(f->w, 0, &s) && s.pools == 4);
	CHILD_CHECK(s.code == f->before.code + 2 * WXP_LINE);
	CHILD_CHECK(!wxp_free(f->w, 1));
	CHILD_CHECK(!wxp_pool_of(f->w, f->loaded) && !wxp_pool_of(f->w, own));
	CHILD_CHECK(wxp_free(f->w, 1) == -ENOENT);
	CHILD_CHECK(wxp_pool_of(f->w, f->placed) == 2);
	CHILD_CHECK(!wxp_protect(f->w, 3));
	CHILD_CHECK(wxp_protect(f->w, 4) == -ENOENT);
	CHILD_CHECK(code_run(f->placed) == 102);
}

TEST(child_adds_to_inherited_pools)
{
	struct family f;

	family_make(&f, open_small(0));
	in_child(job_both, &f);
	family_check(&f);
	wxp_close(f.w);
}

static void job_new_pools(void *arg)
{
	struct family *f = arg;
	uint32_t pool, i;

	for (i = 0; i < 10; i++) {
		CHILD_CHECK(!wxp_new_pool(f->w, &pool));
		CHILD_CHECK(pool >= 0x80000000u && pool != f->named);
	}
	child_load(f->w, pool, 1);
	CHILD_CHECK(!wxp_free(f->w, pool));
	CHILD_CHECK(!wxp_free(f->w, f->named));
	CHILD_CHECK(wxp_free(f->w, pool) == -ENOENT);
}

TEST(child_chooses_new_pools)
{
	struct family f;

	family_make(&f, open_small(0));
	in_child(job_new_pools, &f);
	family_check(&f);
	CHECK_EQ(wxp_free(f.w, f.named), 0);
	wxp_close(f.w);
}

/* struct line - generations, of which those in @makes have code of their own */
#define GENERATIONS	4

struct line {
	struct wxp *w;
	int depth;
	uint32_t makes;
	void *code[GENERATIONS];
};

static void line_check(const struct line *l)
{
	int i;

	for (i = 0; i < GENERATIONS; i++) {
		if (!l->code[i])
			continue;
		CHILD_CHECK(code_run(l->code[i]) == 100u + (uint32_t)i);
		CHILD_CHECK(wxp_pool_of(l->w, l->code[i]) == 100u + (uint32_t)i);
	}
}

static void job_generation(void *arg)
{
	struct line *l = arg;
	int depth = l->depth++, status = 1;
	pid_t pid;

	if (l->makes >> depth & 1)
		l->code[depth] = child_load(l->w, 100 + (uint32_t)depth, 100 + (uint32_t)depth);
	line_check(l);
	if (l->depth < GENERATIONS) {
		pid = child_of(job_generation, l);
		CHILD_CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && !status);
	}
	line_check(l);
	/* Oneself's and those of all that were before */
	for (; depth >= 0; depth--)
		CHILD_CHECK(wxp_free(l->w, 100 + (uint32_t)depth) ==
			    (l->code[depth] ? 0 : -ENOENT));
}

TEST(children_of_children)
{
	struct line l;
	uint32_t i;

	for (i = 0; i < 1u << GENERATIONS; i++) {
		l = (struct line){ .w = open_window(6 * MIB), .makes = i };
		in_child(job_generation, &l);
		CHECK_EQ(stats_of(l.w, 0).pools, 0);
		CHECK_EQ(code_run(must_load(l.w, 1, 9)), 9);
		wxp_close(l.w);
	}
}

/* struct runner - a child that runs inherited code whenever it is asked to */
#define NR_CODES	60

struct runner {
	struct wxp *w;
	void *code[NR_CODES + 1];		/* that of pool i returns i */
	int ask[2], answer[2];
	pid_t pid;
};

static void runner_make(struct runner *r, struct wxp *w)
{
	struct wxp_mem mem;
	uint32_t i;

	r->w = w;
	for (i = 1; i <= NR_CODES; i++) {
		if (i % 3) {
			r->code[i] = must_load(w, i, i);
			continue;
		}
		mem = must_alloc(w, i, CODE_SIZE, 0, WXP_RX);
		code_write(mem.write, i);
		CHECK_EQ(wxp_protect(w, i), 0);
		r->code[i] = mem.addr;
	}
}

static void job_runner(void *arg)
{
	struct runner *r = arg;
	uint32_t i;
	char byte;

	close(r->ask[1]);
	while (read(r->ask[0], &byte, 1) == 1) {
		for (i = 1; i <= NR_CODES; i++) {
			CHILD_CHECK(code_run(r->code[i]) == i);
			CHILD_CHECK(wxp_pool_of(r->w, r->code[i]) == i);
		}
		CHILD_CHECK(write(r->answer[1], "y", 1) == 1);
	}
}

static void runner_start(struct runner *r)
{
	CHECK(!pipe(r->ask) && !pipe(r->answer));
	r->pid = child_of(job_runner, r);
	close(r->answer[1]);
}

static void runner_run(struct runner *r)
{
	char byte = 0;

	CHECK(write(r->ask[1], "r", 1) == 1);
	CHECK(read(r->answer[0], &byte, 1) == 1 && byte == 'y');
}

static void runner_end(struct runner *r)
{
	close(r->ask[1]);
	close(r->ask[0]);
	close(r->answer[0]);
	wait_child(r->pid);
}

/* Frees every other pool; returns the bytes that their code had. */
static uint64_t runner_free(struct runner *r, uint32_t first)
{
	uint64_t size = 0;
	uint32_t i;

	for (i = first; i <= NR_CODES; i += 2) {
		size += stats_of(r->w, i).code;
		CHECK_EQ(wxp_free(r->w, i), 0);
	}
	return size;
}

/* Pools that the child knows nothing of, at addresses that it does not use */
static void runner_reuse(struct runner *r, uint32_t first, bool retired)
{
	struct wxp_mem mem;
	uint32_t i, k;
	void *p;

	for (i = first; i < first + 2 * NR_CODES; i++) {
		p = must_load(r->w, i, i + 5000);
		mem = must_alloc(r->w, i, CODE_SIZE, 0, WXP_RX);
		code_write(mem.write, 5);
		CHECK_EQ(wxp_protect(r->w, i), 0);
		CHECK_EQ(code_run(p), i + 5000);
		for (k = 1; k <= NR_CODES && retired; k++)
			CHECK(p != r->code[k] && mem.addr != r->code[k]);
	}
}

static void retired_is(struct wxp *w, uint64_t size)
{
	CHECK_EQ(stats_of(w, 0).retired, is_fast(w) ? 0 : size);
	check_stats(w);
}

static void parent_frees(unsigned int flags)
{
	struct wxp *w = open_small(flags);
	struct runner r;
	uint64_t size;
	uint32_t i;

	runner_make(&r, w);
	runner_start(&r);
	runner_run(&r);
	size = runner_free(&r, 1);
	retired_is(w, size);
	runner_run(&r);
	runner_reuse(&r, 1000, !is_fast(w));
	runner_run(&r);
	for (i = 2; i <= NR_CODES; i += 2)
		CHECK_EQ(code_run(r.code[i]), i);
	/* What was made after the fork is free at once. */
	for (i = 1000; i < 1000 + 2 * NR_CODES; i++)
		CHECK_EQ(wxp_free(w, i), 0);
	retired_is(w, size);
	size += runner_free(&r, 2);
	retired_is(w, size);
	CHECK_EQ(stats_of(w, 0).pools, 0);
	runner_reuse(&r, 2000, !is_fast(w));
	runner_run(&r);
	runner_end(&r);
	retired_is(w, is_kernel(w) ? 0 : size);
	for (i = 2000; i < 2000 + 2 * NR_CODES; i++)
		CHECK_EQ(wxp_free(w, i), 0);
	retired_is(w, is_kernel(w) ? 0 : size);
	CHECK_EQ(stats_of(w, 0).code, 0);
	wxp_close(w);
}

TEST(parent_frees_what_a_child_runs)
{
	parent_frees(0);
}

TEST(parent_frees_what_a_child_runs_at_one_address)
{
	parent_frees(WXP_ONE_ADDRESS);
}

/* The numbers are free at once, and their pools are others. */
TEST(numbers_are_used_again)
{
	struct wxp *w = open_small(0);
	struct runner r;
	uint32_t i;

	runner_make(&r, w);
	runner_start(&r);
	runner_free(&r, 1);
	for (i = 1; i <= NR_CODES; i += 2) {
		CHECK_EQ(wxp_free(w, i), -ENOENT);
		CHECK_EQ(code_run(must_load(w, i, i + 7000)), i + 7000);
	}
	runner_run(&r);
	runner_end(&r);
	if (is_kernel(w))
		CHECK_EQ(stats_of(w, 0).retired, 0);
	for (i = 1; i <= NR_CODES; i++)
		CHECK_EQ(wxp_free(w, i), 0);
	if (is_kernel(w))
		CHECK_EQ(stats_of(w, 0).retired, 0);
	check_stats(w);
	wxp_close(w);
}

/* What a child keeps is nobody's in the parent. */
TEST(retired_spans_are_none)
{
	struct wxp_request r[] = { { 20 * WXP_LINE, 0, WXP_RX }, { 10 * WXP_LINE, 0, WXP_R } };
	struct wxp *w = open_small(0);
	char *code = must_load(w, 1, 1), src[64] = { 0 };
	struct wxp_stats before, now;
	struct wxp_piece piece;
	struct wxp_span s[2];
	struct child child;
	int i;

	CHECK_EQ(wxp_place(w, 1, r, 2, s), 0);
	start_child(&child, code, 1);
	CHECK_EQ(wxp_free(w, 1), 0);
	must_load(w, 2, 2);
	before = stats_of(w, 0);
	for (i = 0; i < 2 && !is_fast(w); i++) {
		piece = (struct wxp_piece){ (char *)s[i].addr + WXP_LINE, src, 64 };
		CHECK_EQ(wxp_pool_of(w, piece.addr), 0);
		CHECK_EQ(wxp_install(w, 1, &piece, 1), -ENOENT);
		CHECK_EQ(wxp_install(w, 2, &piece, 1), -EINVAL);
		CHECK_EQ(wxp_shrink(w, &s[i], 64), -EINVAL);
		CHECK_EQ(wxp_shrink(w, &s[i], s[i].size), -EINVAL);
	}
	now = stats_of(w, 0);
	check_same_stats(&before, &now);
	retired_is(w, 31 * WXP_LINE);
	end_child(&child);
	retired_is(w, is_kernel(w) ? 0 : 31 * WXP_LINE);
	wxp_close(w);
}

/* What one child keeps does not hold back what another has stopped using. */
TEST(children_keep_pools_apart)
{
	struct wxp *w = open_small(0);
	struct child first, second;
	char *a, *b;

	a = must_load(w, 1, 1);
	start_child(&first, a, 1);
	CHECK_EQ(wxp_free(w, 1), 0);
	retired_is(w, WXP_LINE);
	b = must_load(w, 2, 2);
	CHECK(is_fast(w) || b != a);
	start_child(&second, b, 2);
	CHECK_EQ(wxp_free(w, 2), 0);
	retired_is(w, 2 * WXP_LINE);
	end_child(&second);
	retired_is(w, (is_kernel(w) ? 1 : 2) * WXP_LINE);
	end_child(&first);
	retired_is(w, (is_kernel(w) ? 0 : 2) * WXP_LINE);
	CHECK_EQ(code_run(must_load(w, 1, 7)), 7);
	wxp_close(w);
}

/* Memory that is asked for is had as soon as the child has ended. */
TEST(full_window_waits_for_a_child)
{
	struct wxp_request all = { 8 * MIB, 0, WXP_RX };
	struct wxp *w = open_window(16 * MIB);
	char *code = must_load(w, 5, 5);
	struct child child;
	struct wxp_span s;

	start_child(&child, code, 5);
	CHECK_EQ(wxp_place(w, 1, &all, 1, &s), -ENOMEM);
	CHECK_EQ(wxp_free(w, 5), 0);
	CHECK_EQ(wxp_place(w, 1, &all, 1, &s), is_fast(w) ? 0 : -ENOMEM);
	CHECK_EQ(wxp_free(w, 1), is_fast(w) ? 0 : -ENOENT);
	end_child(&child);
	CHECK_EQ(wxp_place(w, 2, &all, 1, &s), is_portable(w) ? -ENOMEM : 0);
	retired_is(w, is_portable(w) ? WXP_LINE : 0);
	wxp_close(w);
}

/* Variables of a child are its own: they are free at once. */
TEST(variables_are_not_retired)
{
	struct wxp *w = open_small(0);
	char *code = must_load(w, 5, 5), *rw = must_alloc(w, 5, 100, 0, WXP_RW).addr;
	struct child child;

	memset(rw, 1, 100);
	start_child(&child, code, 5);
	CHECK_EQ(wxp_free(w, 5), 0);
	CHECK_EQ(stats_of(w, 0).variables, 0);
	retired_is(w, WXP_LINE);
	CHECK(must_alloc(w, 6, 100, 0, WXP_RW).addr == rw);
	CHECK(is_zero(rw, 100));
	end_child(&child);
	wxp_close(w);
}

/* Children that are long gone keep nothing, however many there were. */
TEST(many_forks)
{
	struct wxp *w = open_window(6 * MIB);
	uint32_t nr = is_portable(w) && !under_valgrind() && !sanitized() ? 1100 : 20, i;
	pid_t pid;

	must_load(w, 1, 1);
	for (i = 0; i < nr; i++) {
		pid = fork();
		if (!pid)
			_exit(0);
		wait_child(pid);
	}
	must_load(w, 2, 2);
	CHECK_EQ(wxp_free(w, 2), 0);
	retired_is(w, 0);
	CHECK_EQ(wxp_free(w, 1), 0);
	retired_is(w, is_portable(w) ? WXP_LINE : 0);
	wxp_close(w);
}

/* -------------------------------------------------------------------------
 * Threads
 */

static atomic_bool stop;

static void *hammer_load(void *arg)
{
	unsigned char code[CODE_SIZE];
	struct wxp *w = arg;
	uint32_t i;
	void *p;

	for (i = 0; !stop; i++) {
		code_write(code, i);
		if (wxp_load(w, 7, code, sizeof(code), WXP_RX, &p) || code_run(p) != i ||
		    wxp_free(w, 7))
			return w;
	}
	return NULL;
}

static void *hammer_alloc(void *arg)
{
	struct wxp *w = arg;
	struct wxp_mem mem;
	uint32_t i;

	for (i = 0; !stop; i++) {
		if (wxp_alloc(w, 8, 64, 0, WXP_RX, &mem))
			return w;
		code_write(mem.write, i);
		if (wxp_protect(w, 8) || code_run(mem.addr) != i || wxp_free(w, 8))
			return w;
	}
	return NULL;
}

static void job_beside_threads(void *arg)
{
	struct family *f = arg;
	uint32_t i;
	int err;

	CHILD_CHECK(family_runs(f) && family_is_known(f));
	/* The threads' pools are there or not, and not in use. */
	for (i = 7; i <= 8; i++) {
		err = wxp_free(f->w, i);
		CHILD_CHECK(!err || err == -ENOENT);
	}
	child_makes_all(f->w, 7);
	child_makes_all(f->w, 8);
	CHILD_CHECK(!wxp_free(f->w, 1) && wxp_pool_of(f->w, f->sealed) == 3);
	wxp_close(f->w);
}

/* Locks may be held by threads that the child does not have. */
static void fork_beside_threads(unsigned int flags)
{
	int nr = under_valgrind() ? 5 : 25, i;
	pthread_t threads[2];
	struct family f;
	void *failed[2];

	family_make(&f, open_small(flags));
	stop = false;
	CHECK(!pthread_create(&threads[0], NULL, hammer_load, f.w));
	CHECK(!pthread_create(&threads[1], NULL, hammer_alloc, f.w));
	for (i = 0; i < nr; i++)
		in_child(job_beside_threads, &f);
	stop = true;
	for (i = 0; i < 2; i++)
		CHECK(!pthread_join(threads[i], &failed[i]));
	CHECK(!failed[0] && !failed[1]);
	CHECK(family_runs(&f) && family_is_known(&f));
	CHECK_EQ(stats_of(f.w, 0).pools, 4);
	check_stats(f.w);
	wxp_close(f.w);
}

TEST(fork_beside_busy_threads)
{
	fork_beside_threads(0);
}

TEST(fork_beside_busy_threads_at_one_address)
{
	fork_beside_threads(WXP_ONE_ADDRESS);
}

/* -------------------------------------------------------------------------
 * What is lost, closed and frozen
 */

/* struct lost - memory that was open at a fork */
struct lost {
	struct family f;
	struct wxp_mem code, more, constant;
};

/* Can anything else come to this page? */
static bool is_taken(void *p)
{
	void *page = (void *)((uintptr_t)p & ~(PAGE - 1));
	void *got = mmap(page, PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (got == MAP_FAILED)
		return errno == EEXIST;
	munmap(got, PAGE);
	return got != page;
}

static void job_lost(void *arg)
{
	struct lost *l = arg;
	struct wxp_mem *mem[] = { &l->code, &l->more, &l->constant }, own;
	int i;

	CHILD_CHECK(family_runs(&l->f) && family_is_known(&l->f));
	for (i = 0; i < 3; i++) {
		CHILD_CHECK(store_faults(mem[i]->write));
		CHILD_CHECK(is_taken(mem[i]->write) && is_taken(mem[i]->addr));
		CHILD_CHECK(wxp_pool_of(l->f.w, mem[i]->addr) == (i == 1 ? 5 : 4));
	}
	CHILD_CHECK(wxp_protect(l->f.w, 4) == -ESTALE && wxp_protect(l->f.w, 5) == -ESTALE);
	CHILD_CHECK(!wxp_alloc(l->f.w, 4, CODE_SIZE, 0, WXP_RX, &own));
	CHILD_CHECK(wxp_protect(l->f.w, 4) == -ESTALE);
	child_makes_all(l->f.w, 6);
	for (i = 0; i < 3; i++)
		CHILD_CHECK(store_faults(mem[i]->write));
	CHILD_CHECK(family_runs(&l->f));
	CHILD_CHECK(!wxp_free(l->f.w, 4) && !wxp_free(l->f.w, 5));
	child_allocs(l->f.w, 4, 400);
	for (i = 0; i < 3; i++)
		CHILD_CHECK(is_taken(mem[i]->write));
}

static void open_memory_is_lost(unsigned int flags)
{
	struct lost l;

	family_make(&l.f, open_small(flags));
	l.code = must_alloc(l.f.w, 4, CODE_SIZE, 0, WXP_RX);
	l.more = must_alloc(l.f.w, 5, 3 * PAGE, 0, WXP_RX);
	l.constant = must_alloc(l.f.w, 4, 100, 0, WXP_R);
	code_write(l.code.write, 104);
	memset(l.constant.write, 6, 100);
	in_child(job_lost, &l);
	/* Not for the parent */
	code_write(l.more.write, 105);
	CHECK_EQ(wxp_protect(l.f.w, 4), 0);
	CHECK_EQ(wxp_protect(l.f.w, 5), 0);
	CHECK_EQ(code_run(l.code.addr) + code_run(l.more.addr), 209);
	CHECK_EQ(((char *)l.constant.addr)[99], 6);
	CHECK_EQ(wxp_free(l.f.w, 4) + wxp_free(l.f.w, 5), 0);
	CHECK(family_runs(&l.f));
	wxp_close(l.f.w);
}

static void job_placed(void *arg)
{
	struct family *f = arg;
	struct wxp_piece piece = { f->placed + WXP_LINE, "1234", 4 };

	CHILD_CHECK(wxp_install(f->w, 7, &piece, 1) == -ESTALE);
	child_load(f->w, 7, 700);
	CHILD_CHECK(wxp_install(f->w, 7, &piece, 1) == -ESTALE);
	CHILD_CHECK(!wxp_free(f->w, 7) && wxp_free(f->w, 7) == -ENOENT);
	child_makes_all(f->w, 7);
}

TEST(places_are_lost)
{
	const struct wxp_request r = { 2 * WXP_LINE, 0, WXP_RX };
	struct wxp_span span;
	struct family f;

	family_make(&f, open_small(0));
	CHECK_EQ(wxp_place(f.w, 7, &r, 1, &span), 0);
	f.placed = span.addr;
	in_child(job_placed, &f);
	wxp_close(f.w);
}

TEST(memory_that_is_open_is_lost)
{
	open_memory_is_lost(0);
}

TEST(memory_that_is_open_is_lost_at_one_address)
{
	open_memory_is_lost(WXP_ONE_ADDRESS);
}

static void check_closed(struct family *f, struct wxp_mem *open)
{
	CHILD_CHECK(load_faults(f->loaded) && load_faults(f->constant));
	CHILD_CHECK(load_faults(f->sealed) && load_faults(f->variable));
	CHILD_CHECK(load_faults(open->write));
}

struct closing {
	struct family f;
	struct wxp_mem open;
};

static void child_opens_another(void)
{
	struct wxp *w;

	CHILD_CHECK(!wxp_open(&w, NULL));
	child_makes_all(w, 1);
	wxp_close(w);
}

static void job_close(void *arg)
{
	struct closing *c = arg;

	wxp_close(c->f.w);
	check_closed(&c->f, &c->open);
	child_opens_another();
}

static void job_use_and_close(void *arg)
{
	struct closing *c = arg;
	char *own = child_load(c->f.w, 10, 10);

	wxp_close(c->f.w);
	check_closed(&c->f, &c->open);
	CHILD_CHECK(load_faults(own));
	child_opens_another();
}

static void job_close_in_child_of_child(void *arg)
{
	struct closing *c = arg;
	int status = 1;
	pid_t pid;

	child_load(c->f.w, 10, 10);
	pid = child_of(job_use_and_close, c);
	CHILD_CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && !status);
	CHILD_CHECK(family_runs(&c->f));
	child_makes_all(c->f.w, 11);
}

static void child_closes_one(unsigned int flags)
{
	struct wxp_stats before, now;
	struct closing c;

	family_make(&c.f, open_small(flags));
	c.open = must_alloc(c.f.w, 6, CODE_SIZE, 0, WXP_RX);
	before = stats_of(c.f.w, 0);
	in_child(job_close, &c);
	in_child(job_use_and_close, &c);
	in_child(job_close_in_child_of_child, &c);
	now = stats_of(c.f.w, 0);
	check_same_stats(&before, &now);
	CHECK(family_runs(&c.f) && *c.f.variable == 55);
	code_write(c.open.write, 6);
	CHECK_EQ(wxp_protect(c.f.w, 6), 0);
	CHECK_EQ(code_run(c.open.addr), 6);
	CHECK_EQ(code_run(must_load(c.f.w, 7, 7)), 7);
	check_stats(c.f.w);
	wxp_close(c.f.w);
}

TEST(child_closes)
{
	child_closes_one(0);
}

TEST(child_closes_at_one_address)
{
	child_closes_one(WXP_ONE_ADDRESS);
}

/* The parent's end is not the child's. */
static void job_orphan(void *arg)
{
	struct runner *r = arg;
	uint32_t i;
	char byte;

	close(r->ask[1]);
	CHILD_CHECK(read(r->ask[0], &byte, 1) == 0);
	for (i = 1; i <= NR_CODES; i++)
		CHILD_CHECK(code_run(r->code[i]) == i);
	child_makes_all(r->w, 100);
}

TEST(parent_closes)
{
	struct runner r;

	runner_make(&r, open_small(0));
	CHECK(!pipe(r.ask));
	r.pid = child_of(job_orphan, &r);
	wxp_close(r.w);
	close(r.ask[0]);
	close(r.ask[1]);
	wait_child(r.pid);
}

static void child_is_frozen(struct wxp *w)
{
	struct wxp_request r = { 100, 0, WXP_RX };
	struct wxp_part part = { &r, 1, WXP_R, NULL };
	struct wxp_span s;
	struct wxp_mem m;
	uint32_t pool;
	void *p;

	CHILD_CHECK(wxp_load(w, 1, &r, 1, WXP_RX, &p) == -EROFS);
	CHILD_CHECK(wxp_load_many(w, 1, &part, 1) == -EROFS);
	CHILD_CHECK(wxp_place(w, 1, &r, 1, &s) == -EROFS);
	CHILD_CHECK(wxp_alloc(w, 1, 1, 0, WXP_RX, &m) == -EROFS);
	CHILD_CHECK(wxp_reserve(w, 1, &r, 1) == -EROFS);
	CHILD_CHECK(wxp_protect(w, 1) == -EROFS);
	CHILD_CHECK(wxp_new_pool(w, &pool) == -EROFS);
	CHILD_CHECK(!wxp_freeze(w));
}

static void job_frozen(void *arg)
{
	struct family *f = arg;

	child_is_frozen(f->w);
	CHILD_CHECK(family_runs(f) && family_is_known(f));
	CHILD_CHECK(!wxp_free(f->w, 1));
	CHILD_CHECK(!wxp_pool_of(f->w, f->loaded) && code_run(f->sealed) == 103);
}

static void job_freeze(void *arg)
{
	struct family *f = arg;
	char *own = child_load(f->w, 10, 10);
	int status = 1;
	pid_t pid;

	CHILD_CHECK(!wxp_freeze(f->w));
	pid = child_of(job_frozen, f);
	CHILD_CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && !status);
	child_is_frozen(f->w);
	CHILD_CHECK(code_run(own) == 10 && !wxp_free(f->w, 10) && !wxp_free(f->w, 2));
}

static void job_freeze_first(void *arg)
{
	struct family *f = arg;

	CHILD_CHECK(!wxp_freeze(f->w));
	job_frozen(f);
}

TEST(frozen_contexts_stay_frozen)
{
	struct family f;

	family_make(&f, open_small(0));
	in_child(job_freeze, &f);
	in_child(job_freeze_first, &f);
	family_check(&f);
	CHECK_EQ(code_run(must_load(f.w, 4, 4)), 4);
	CHECK_EQ(wxp_freeze(f.w), 0);
	in_child(job_frozen, &f);
	in_child(job_freeze_first, &f);
	CHECK(family_runs(&f));
	wxp_close(f.w);
}

/* -------------------------------------------------------------------------
 * Children that gave up their rights
 */

/* Every call that makes code says why it cannot; the others go on. */
static void child_cannot_open(struct family *f, int err)
{
	struct wxp_options opts = { .size = sizeof(opts), .backend = wxp_get_backend(f->w) };
	struct wxp_request r = { 100, 0, WXP_RX };
	struct wxp_part part = { &r, 1, WXP_R, NULL };
	struct wxp_piece piece = { f->placed, &r, 1 };
	struct wxp_span s;
	struct wxp_mem m;
	struct wxp *own;
	uint32_t pool;
	void *p;

	CHILD_CHECK(wxp_open(&own, &opts) == err);
	CHILD_CHECK(wxp_load(f->w, 9, &r, 1, WXP_RX, &p) == err);
	CHILD_CHECK(wxp_load_many(f->w, 9, &part, 1) == err);
	CHILD_CHECK(wxp_place(f->w, 9, &r, 1, &s) == err);
	CHILD_CHECK(wxp_install(f->w, 2, &piece, 1) == err);
	CHILD_CHECK(wxp_alloc(f->w, 9, 1, 0, WXP_RX, &m) == err);
	CHILD_CHECK(wxp_reserve(f->w, 9, &r, 1) == err);
	CHILD_CHECK(wxp_new_pool(f->w, &pool) == err);
	CHILD_CHECK(wxp_free(f->w, 9) == -ENOENT);
	CHILD_CHECK(family_runs(f) && family_is_known(f));
	CHILD_CHECK(*f->variable == 55);
	CHILD_CHECK(!wxp_free(f->w, 1) && !wxp_pool_of(f->w, f->loaded));
}

static void job_without_files(void *arg)
{
	struct rlimit limit, none;
	struct family *f = arg;

	CHILD_CHECK(!getrlimit(RLIMIT_NOFILE, &limit));
	none = (struct rlimit){ 0, limit.rlim_max };
	CHILD_CHECK(!setrlimit(RLIMIT_NOFILE, &none));
	if (is_fast(f->w)) {
		child_makes_all(f->w, 10);
		return;
	}
	child_cannot_open(f, -EMFILE);
	/* It is asked for again each time. */
	CHILD_CHECK(!setrlimit(RLIMIT_NOFILE, &limit));
	child_makes_all(f->w, 10);
	CHILD_CHECK(!setrlimit(RLIMIT_NOFILE, &none));
	child_makes_all(f->w, 11);
}

TEST(child_without_descriptors)
{
	struct family f;

	if (under_valgrind())
		test_skip("valgrind has descriptors of its own");
	family_make(&f, open_small(0));
	in_child(job_without_files, &f);
	family_check(&f);
	wxp_close(f.w);
}

static void give_up_rights(void)
{
	CHILD_CHECK(!setresgid(NOBODY, NOBODY, NOBODY));
	CHILD_CHECK(!setresuid(NOBODY, NOBODY, NOBODY));
}

static void job_without_rights(void *arg)
{
	give_up_rights();
	child_cannot_open(arg, -EACCES);
}

/* What it has got before stays. */
static void job_gives_up_later(void *arg)
{
	struct family *f = arg;
	char *own = child_load(f->w, 10, 10);

	give_up_rights();
	child_makes_all(f->w, 11);
	CHILD_CHECK(code_run(own) == 10 && !wxp_free(f->w, 10));
}

TEST(child_without_rights)
{
	struct stat st = { .st_mode = 0 };
	struct family f;

	family_make(&f, open_small(0));
	if (!is_kernel(f.w) || geteuid() || stat("/dev/wxpool", &st) || st.st_mode & 077) {
		wxp_close(f.w);
		test_skip("only root's device, with mode 0600");
	}
	in_child(job_without_rights, &f);
	in_child(job_gives_up_later, &f);
	family_check(&f);
	wxp_close(f.w);
}

/* -------------------------------------------------------------------------
 * Other ways to make processes
 */

/* No child has anything of the parent's. */
static void nothing_is_retired(struct family *f)
{
	family_check(f);
	CHECK_EQ(wxp_free(f->w, 1), 0);
	CHECK_EQ(stats_of(f->w, 0).retired, 0);
	CHECK_EQ(code_run(must_load(f->w, 1, 1)), 1);
	wxp_close(f->w);
}

TEST(vfork_and_exec)
{
	struct family f;
	pid_t pid;

	family_make(&f, open_small(0));
	fflush(stdout);
	pid = vfork();
	if (!pid) {
		execl("/bin/sh", "sh", "-c", "exit 0", (char *)NULL);
		_exit(1);
	}
	wait_child(pid);
	nothing_is_retired(&f);
}

TEST(spawned_processes)
{
	char name[] = "true";
	char *argv[2] = { name, NULL };
	struct family f;
	pid_t pid;

	family_make(&f, open_small(0));
	fflush(stdout);
	CHECK(!posix_spawn(&pid, "/bin/true", NULL, NULL, argv, NULL));
	wait_child(pid);
	nothing_is_retired(&f);
}

static void *in_same_memory;

static int job_same_memory(void *arg)
{
	struct family *f = arg;

	CHILD_CHECK(family_runs(f) && family_is_known(f));
	child_makes_all(f->w, 10);
	in_same_memory = child_load(f->w, 11, 11);
	CHILD_CHECK(!wxp_free(f->w, 1));
	return 0;
}

/* A process that shares all memory is as a thread: what it does stays. */
TEST(processes_in_the_same_memory)
{
	size_t size = 512 * 1024;
	struct family f;
	char *stack;

	if (under_valgrind())
		test_skip("valgrind does not know such processes");
	family_make(&f, open_small(0));
	stack = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(stack != MAP_FAILED);
	fflush(stdout);
	wait_child(clone(job_same_memory, stack + size, CLONE_VM | CLONE_VFORK | SIGCHLD, &f));
	CHECK_EQ(code_run(in_same_memory), 11);
	CHECK_EQ(wxp_free(f.w, 1), -ENOENT);
	CHECK_EQ(wxp_free(f.w, 11), 0);
	CHECK_EQ(wxp_free(f.w, 10), -ENOENT);
	CHECK_EQ(stats_of(f.w, 0).retired, 0);
	check_stats(f.w);
	wxp_close(f.w);
	munmap(stack, size);
}

static void cloned_makes_no_code(struct family *f)
{
	struct wxp_request r = { 100, 0, WXP_RX };
	struct wxp_part part = { &r, 1, WXP_R, NULL };
	struct wxp_piece piece = { f->placed, &r, 1 };
	struct wxp_span s;
	struct wxp_mem m;
	struct wxp *own;
	uint32_t pool;
	void *p;

	CHILD_CHECK(wxp_open(&own, NULL) == -EXDEV);
	CHILD_CHECK(wxp_load(f->w, 9, &r, 1, WXP_RX, &p) == -EXDEV);
	CHILD_CHECK(wxp_load_many(f->w, 9, &part, 1) == -EXDEV);
	CHILD_CHECK(wxp_place(f->w, 9, &r, 1, &s) == -EXDEV);
	CHILD_CHECK(wxp_install(f->w, 2, &piece, 1) == -EXDEV);
	CHILD_CHECK(wxp_alloc(f->w, 9, 1, 0, WXP_RX, &m) == -EXDEV);
	CHILD_CHECK(wxp_reserve(f->w, 9, &r, 1) == -EXDEV);
	CHILD_CHECK(wxp_protect(f->w, 3) == -EXDEV);
	CHILD_CHECK(wxp_new_pool(f->w, &pool) == -EXDEV);
}

static void cloned_is_refused(struct family *f)
{
	struct wxp_stats st = { .size = sizeof(st) };
	struct wxp_piece piece = { f->placed, f, 1 };
	struct wxp_span s = { f->placed, CODE_SIZE };
	uint32_t pools[] = { 1, 2 };
	struct wxp_op *op;
	void *base = f;
	size_t size = 1;

	cloned_makes_no_code(f);
	CHILD_CHECK(wxp_free(f->w, 1) == -EXDEV);
	CHILD_CHECK(wxp_free_many(f->w, pools, 2) == -EXDEV);
	CHILD_CHECK(wxp_shrink(f->w, &s, 1) == -EXDEV);
	CHILD_CHECK(wxp_freeze(f->w) == -EXDEV);
	CHILD_CHECK(wxp_get_stats(f->w, 0, &st) == -EXDEV);
	CHILD_CHECK(wxp_get_fd(f->w) == -EXDEV);
	CHILD_CHECK(wxp_install_prepare(f->w, 2, &piece, 1, &op) ==
		    (is_kernel(f->w) ? -EXDEV : -EOPNOTSUPP));
	CHILD_CHECK(!wxp_pool_of(f->w, f->loaded));
	wxp_get_window(f->w, &base, &size);
	CHILD_CHECK(!base && !size);
	/* Code runs, and closing does nothing. */
	CHILD_CHECK(family_runs(f));
	wxp_close(f->w);
	CHILD_CHECK(family_runs(f));
}

TEST(cloned_processes_are_refused)
{
	struct family f;
	pid_t pid;

	family_make(&f, open_small(0));
	fflush(stdout);
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (!pid) {
		alarm(200);
		cloned_is_refused(&f);
		fflush(stdout);
		_exit(0);
	}
	wait_child(pid);
	family_check(&f);
	wxp_close(f.w);
}

/* ---- handlers of the program's own */

static struct wxp *handled;
static int handler_err;

static void handler(void)
{
	void *p;

	if (handled && !handler_err)
		handler_err = wxp_load(handled, 3, "\xc3", 1, WXP_RX, &p);
}

static void job_handlers(void *arg)
{
	CHILD_CHECK(!handler_err);
	CHILD_CHECK(!wxp_free(arg, 3));
}

/* Before there is any context */
__attribute__((constructor)) static void handlers_init(void)
{
	pthread_atfork(handler, handler, handler);
}

TEST(handlers_of_forks_make_calls)
{
	struct wxp *w = open_small(0);

	handled = w;
	handler_err = 0;
	in_child(job_handlers, w);
	CHECK_EQ(handler_err, 0);
	CHECK_EQ(stats_of(w, 3).code, 2 * WXP_LINE);
	handled = NULL;
	wxp_close(w);
}

/* ---- children of processes that fork() did not make */

static void job_cloned(void *arg)
{
	struct wxp *other, *w = arg;
	int status;
	pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	void *p;

	if (pid) {
		CHILD_CHECK(waitpid(pid, &status, 0) == pid && !status);
		return;
	}
	pid = fork();
	CHILD_CHECK(pid >= 0);
	CHILD_CHECK(wxp_load(w, 1, "\xc3", 1, WXP_RX, &p) == -EXDEV);
	CHILD_CHECK(wxp_open(&other, NULL) == -EXDEV);
	CHILD_CHECK(!pid || (waitpid(pid, &status, 0) == pid && !status));
	_exit(0);
}

TEST(fork_in_a_process_of_clone)
{
	struct wxp *w = open_small(0);

	in_child(job_cloned, w);
	wxp_close(w);
}
