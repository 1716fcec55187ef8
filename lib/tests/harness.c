// SPDX-License-Identifier: MIT
/* Runs the tests, and what several of them need. */
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>

#include "test.h"

#define MAX_TESTS	300

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

/* Valgrind takes seconds to map the default window. */
static struct wxp *open_with(size_t window, unsigned int flags)
{
	struct wxp_options opts = { .size = sizeof(opts), .window = window, .flags = flags };
	struct wxp *w = NULL;
	int err;

	if (!window && under_valgrind())
		opts.window = 256 * MIB;
	err = wxp_open(&w, &opts);
	if (err)
		test_fail(__FILE__, __LINE__, "wxp_open: %s", wxp_strerror(err));
	return w;
}

struct wxp *open_window(size_t window)
{
	return open_with(window, 0);
}

struct wxp *open_flags(unsigned int flags)
{
	return open_with(0, flags);
}

struct wxp *open_default(void)
{
	return open_with(0, 0);
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

struct wxp_mem must_alloc(struct wxp *w, uint32_t pool, size_t size, size_t align,
			  enum wxp_prot prot)
{
	struct wxp_mem m = { NULL, NULL };
	size_t window;
	void *base;
	bool same;
	int err = wxp_alloc(w, pool, size, align, prot, &m);

	if (err)
		test_fail(__FILE__, __LINE__, "wxp_alloc(%u, %zu, %zu, %d): %s", pool, size, align,
			  prot, wxp_strerror(err));
	wxp_get_window(w, &base, &window);
	CHECK((uintptr_t)m.addr >= (uintptr_t)base);
	CHECK((uintptr_t)m.addr + size <= (uintptr_t)base + window);
	CHECK_EQ((uintptr_t)m.addr % (align ? align : 16), 0);
	same = prot == WXP_RW || is_fast(w) || wxp_get_flags(w) & WXP_ONE_ADDRESS;
	CHECK_EQ(m.addr == m.write, same);
	return m;
}

/* A function that returns @value */
void *must_load(struct wxp *w, uint32_t pool, uint32_t value)
{
	unsigned char code[CODE_SIZE];
	void *addr = NULL;
	int err;

	code_write(code, value);
	err = wxp_load(w, pool, code, sizeof(code), WXP_RX, &addr);
	if (err)
		test_fail(__FILE__, __LINE__, "wxp_load: %s", wxp_strerror(err));
	return addr;
}

struct wxp_stats stats_of(struct wxp *w, uint32_t pool)
{
	struct wxp_stats s = { .size = sizeof(s) };

	CHECK_EQ(wxp_get_stats(w, pool, &s), 0);
	return s;
}

/* What is true of the counts at any time, in a process that made the context. */
void check_stats(struct wxp *w)
{
	struct wxp_stats s = stats_of(w, 0);
	size_t window;
	void *base;

	wxp_get_window(w, &base, &window);
	CHECK_EQ(s.code + s.constants + s.variables + s.free + s.retired, window);
	CHECK(s.installed + s.open + s.sealed <= s.code + s.constants);
	CHECK_EQ((s.open + s.sealed) % PAGE, 0);
	CHECK(s.largest <= s.free);
	if (!s.pools)
		CHECK_EQ(s.code + s.constants + s.variables, 0);
}

/* What is held, whatever it costs */
void check_same_stats(const struct wxp_stats *a, const struct wxp_stats *b)
{
	CHECK_EQ(a->pools, b->pools);
	CHECK_EQ(a->code, b->code);
	CHECK_EQ(a->constants, b->constants);
	CHECK_EQ(a->variables, b->variables);
	CHECK_EQ(a->installed, b->installed);
	CHECK_EQ(a->open, b->open);
	CHECK_EQ(a->sealed, b->sealed);
	CHECK_EQ(a->retired, b->retired);
	CHECK_EQ(a->free, b->free);
}

bool is_zero(const void *p, size_t size)
{
	const unsigned char *bytes = p;

	return !size || (!*bytes && !memcmp(bytes, bytes + 1, size - 1));
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
