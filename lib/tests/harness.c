// SPDX-License-Identifier: MIT
/* Runs the tests, and what several of them need. */
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>

#include "test.h"

#define MAX_TESTS	200

static struct {
	const char *name;
	test_fn fn;
} tests[MAX_TESTS];
static int nr_tests;
static sigjmp_buf end_of_test;
static const char *skipped;

void test_add(const char *name, test_fn fn)
{
	if (nr_tests == MAX_TESTS)
		abort();
	tests[nr_tests].name = name;
	tests[nr_tests++].fn = fn;
}

_Noreturn void test_fail(const char *file, int line, const char *fmt, ...)
{
	va_list args;

	printf("# %s:%d: ", file, line);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	siglongjmp(end_of_test, 1);
}

_Noreturn void test_skip(const char *why)
{
	skipped = why;
	siglongjmp(end_of_test, 2);
}

/* Contexts that a failed test leaves open are of no more interest. */
static bool run_test(int i)
{
	int how = sigsetjmp(end_of_test, 1);

	if (!how)
		tests[i].fn();
	printf("%sok %d %s", how == 1 ? "not " : "", i + 1, tests[i].name);
	if (how == 2)
		printf(" # SKIP %s", skipped);
	printf("\n");
	fflush(stdout);
	return how != 1;
}

int main(void)
{
	bool ok = true;
	int i;

	printf("TAP version 13\n1..%d\n", nr_tests);
	fflush(stdout);
	for (i = 0; i < nr_tests; i++)
		ok &= run_test(i);
	return ok ? 0 : 1;
}

struct wxp *open_window(size_t window)
{
	struct wxp_options opts = { .size = sizeof(opts), .window = window };
	struct wxp *w = NULL;
	int ret = wxp_open(&w, &opts);

	if (ret)
		test_fail(__FILE__, __LINE__, "wxp_open: %s", wxp_strerror(ret));
	return w;
}

struct wxp *open_default(void)
{
	return open_window(0);
}

bool is_kernel(const struct wxp *w)
{
	return wxp_get_backend(w) == WXP_BACKEND_KERNEL;
}

bool is_portable(const struct wxp *w)
{
	return wxp_get_backend(w) == WXP_BACKEND_PORTABLE;
}

bool is_fast(const struct wxp *w)
{
	return wxp_get_backend(w) == WXP_BACKEND_FAST;
}

void *must_alloc(struct wxp *w, uint32_t pool, size_t size, size_t align, enum wxp_prot prot)
{
	void *p = NULL, *base;
	size_t window;
	int ret = wxp_alloc(w, pool, size, align, prot, &p);

	if (ret)
		test_fail(__FILE__, __LINE__, "wxp_alloc(%u, %zu, %zu, %d): %s", pool, size, align,
			  prot, wxp_strerror(ret));
	wxp_get_window(w, &base, &window);
	CHECK((uintptr_t)p >= (uintptr_t)base);
	CHECK((uintptr_t)p + size <= (uintptr_t)base + window);
	CHECK_EQ((uintptr_t)p % (align ? align : 16), 0);
	return p;
}

struct wxp_stats stats_of(struct wxp *w)
{
	struct wxp_stats s = { .size = sizeof(s) };

	CHECK_EQ(wxp_get_stats(w, &s), 0);
	return s;
}

/* What is true of the counters at any time. */
void check_stats(struct wxp *w)
{
	struct wxp_stats s = stats_of(w);
	uint64_t pages = s.pages_open + s.pages_r + s.pages_rx + s.pages_rw;
	size_t window;
	void *base;

	wxp_get_window(w, &base, &window);
	CHECK_EQ(s.bytes_requested + s.bytes_lost, pages * PAGE);
	CHECK(pages * PAGE <= window);
	CHECK(s.allocations <= s.bytes_requested);
	CHECK(s.vmas >= 1);
	CHECK(s.spans <= s.lines && s.bytes_placed <= s.lines * WXP_LINE);
	CHECK(s.lines_installed <= s.lines && s.lines * WXP_LINE <= s.pages_packed * PAGE);
	if (!s.pools)
		CHECK_EQ(pages + s.allocations + s.bytes_requested + s.lines, 0);
	if (!s.allocations)
		CHECK_EQ(s.bytes_requested, 0);
}

/* All but what may differ without harm: calls made, mappings. */
void check_same_stats(const struct wxp_stats *a, const struct wxp_stats *b)
{
	CHECK_EQ(a->pools, b->pools);
	CHECK_EQ(a->allocations, b->allocations);
	CHECK_EQ(a->bytes_requested, b->bytes_requested);
	CHECK_EQ(a->bytes_lost, b->bytes_lost);
	CHECK_EQ(a->pages_open, b->pages_open);
	CHECK_EQ(a->pages_r, b->pages_r);
	CHECK_EQ(a->pages_rx, b->pages_rx);
	CHECK_EQ(a->pages_rw, b->pages_rw);
	CHECK_EQ(a->pages_kept, b->pages_kept);
	CHECK_EQ(a->spans, b->spans);
	CHECK_EQ(a->bytes_placed, b->bytes_placed);
	CHECK_EQ(a->lines, b->lines);
	CHECK_EQ(a->lines_installed, b->lines_installed);
	CHECK_EQ(a->pages_packed, b->pages_packed);
}

bool is_zero(const void *p, size_t size)
{
	const unsigned char *bytes = p;

	while (size && !*bytes) {
		bytes++;
		size--;
	}
	return !size;
}

static sigjmp_buf end_of_try;

static void on_fault(int sig)
{
	siglongjmp(end_of_try, sig);
}

enum attempt { STORE, LOAD, RUN };

static void try_it(enum attempt what, void *p)
{
	volatile unsigned char *byte = p;

	if (what == STORE)
		*byte = *byte;
	else if (what == LOAD)
		(void)*byte;
	else
		code_run(p);
}

/* The signal that an access raised, or 0. In this process, as its views are meant. */
static int attempt(enum attempt what, void *p)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL };
	struct sigaction act = { .sa_handler = on_fault }, old[3];
	int i, sig;

	for (i = 0; i < 3; i++)
		sigaction(signals[i], &act, &old[i]);
	sig = sigsetjmp(end_of_try, 1);
	if (!sig)
		try_it(what, p);
	for (i = 0; i < 3; i++)
		sigaction(signals[i], &old[i], NULL);
	return sig;
}

int store_faults(volatile void *p)
{
	return attempt(STORE, (void *)p);
}

int load_faults(const volatile void *p)
{
	return attempt(LOAD, (void *)(uintptr_t)p);
}

/* @p holds whole code: trap bytes would say nothing about the page. */
int run_faults(const void *p)
{
	int sig = attempt(RUN, (void *)(uintptr_t)p);

	CHECK(sig != SIGILL);
	return sig;
}

void wait_child(pid_t pid)
{
	int status;

	CHECK(pid > 0);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		printf("# child: signal %d\n", WTERMSIG(status));
	CHECK(WIFEXITED(status) && !WEXITSTATUS(status));
}

void start_child(struct child *c, const void *code, uint32_t value)
{
	char byte;

	CHECK(!pipe(c->pipe));
	fflush(stdout);
	c->pid = fork();
	if (c->pid)
		return;
	close(c->pipe[1]);
	CHILD_CHECK(read(c->pipe[0], &byte, 1) == 0);
	CHILD_CHECK(code_run(code) == value);
	_exit(0);
}

void end_child(struct child *c)
{
	close(c->pipe[0]);
	close(c->pipe[1]);
	wait_child(c->pid);
}

/* Slow there, so that tests of sheer number do less. */
bool under_valgrind(void)
{
	const char *preload = getenv("LD_PRELOAD");

	return preload && strstr(preload, "vgpreload");
}

bool sanitized(void)
{
#ifdef __SANITIZE_ADDRESS__
	return true;
#else
	return false;
#endif
}

uint32_t random_next(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(*state >> 33);
}
