// SPDX-License-Identifier: MIT
/*
 * WXP_MSEAL, WXP_PKEY, WXP_EXEC_ONLY and WXP_BTI: what they stop is tried with and without
 * them, so that it is known to bite. Needs the module.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include "test.h"

#define ALL	(WXP_MSEAL | WXP_PKEY | WXP_EXEC_ONLY)

static int open_as(enum wxp_backend backend, unsigned int flags, size_t window, struct wxp **w)
{
	struct wxp_options opts = {
		.size = sizeof(opts), .backend = backend, .flags = flags, .window = window,
	};

	*w = NULL;
	return wxp_open(w, &opts);
}

/* Skips the test where the machine cannot do it. */
static struct wxp *must_open(unsigned int flags, size_t window)
{
	struct wxp *w;
	int err = open_as(WXP_BACKEND_KERNEL, flags, window, &w);

	if (err == -EOPNOTSUPP && flags & ALL)
		test_skip(flags & WXP_MSEAL ? "this kernel has no mseal() (6.10), or no keys" :
			  "this processor has no protection keys");
	CHECK_EQ(err, 0);
	CHECK_EQ(wxp_get_flags(w), flags);
	return w;
}

static void write_code(struct wxp *w, void *p, uint32_t value)
{
	CHECK_EQ(wxp_write_begin(w), 0);
	code_write(p, value);
	CHECK_EQ(wxp_write_end(w), 0);
}

/* A page of @prot with a function that returns @pool, installed or sealed in place */
static char *load_page(struct wxp *w, uint32_t pool, enum wxp_prot prot, bool packed)
{
	struct wxp_request r = { PAGE, PAGE, prot };
	char code[CODE_SIZE];
	struct wxp_piece piece = { .src = code, .size = CODE_SIZE };
	struct wxp_span s;
	struct wxp_mem m;

	code_write(code, pool);
	if (packed) {
		CHECK_EQ(wxp_place(w, pool, &r, 1, &s), 0);
		piece.addr = s.addr;
		CHECK_EQ(wxp_install(w, pool, &piece, 1), 0);
		return s.addr;
	}
	m = must_alloc(w, pool, PAGE, PAGE, prot);
	write_code(w, m.write, pool);
	CHECK_EQ(wxp_protect(w, pool), 0);
	return m.addr;
}

static bool is_intact(const char *p, uint32_t value, enum wxp_prot prot)
{
	char code[CODE_SIZE];

	code_write(code, value);
	if (load_faults(p) || memcmp(p, code, CODE_SIZE))
		return false;
	return prot == WXP_R || (!run_faults(p) && code_run(p) == value);
}

enum { UNMAP, MAP_OVER, MOVE, MOVE_OVER, HIDE, NR_ATTACKS };

static void *new_page(void *at)
{
	return mmap(at, PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | (at ? MAP_FIXED : 0), -1, 0);
}

/* What the process can do to its own code: 0 or the errno */
static int attack(int how, void *page)
{
	void *other = new_page(NULL);
	int ret = 0;

	CHECK(other != MAP_FAILED);
	if (how == UNMAP)
		ret = munmap(page, PAGE);
	else if (how == HIDE)
		ret = mprotect(page, PAGE, PROT_NONE);
	else if (how == MAP_OVER)
		ret = -(new_page(page) == MAP_FAILED);
	else if (how == MOVE)
		ret = -(mremap(page, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, other) ==
			MAP_FAILED);
	else
		ret = -(mremap(other, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, page) ==
			MAP_FAILED);
	ret = ret ? errno : 0;
	munmap(other, PAGE);
	return ret;
}

static void attack_all(unsigned int flags, enum wxp_prot prot, bool packed)
{
	struct wxp *w = must_open(flags, 0);
	uint32_t how;
	char *p;

	for (how = 0; how < NR_ATTACKS; how++) {
		p = load_page(w, how + 1, prot, packed);
		CHECK(is_intact(p, how + 1, prot));
		CHECK_EQ(attack((int)how, p), flags & WXP_MSEAL ? EPERM : 0);
		CHECK_EQ(is_intact(p, how + 1, prot), !!(flags & WXP_MSEAL));
	}
	wxp_close(w);
}

TEST(mseal_keeps_code)
{
	attack_all(WXP_MSEAL, WXP_RX, false);
	attack_all(WXP_MSEAL, WXP_RX, true);
}

TEST(mseal_keeps_constants)
{
	attack_all(WXP_MSEAL, WXP_R, false);
	attack_all(WXP_MSEAL, WXP_R, true);
}

TEST(without_mseal_code_can_be_replaced)
{
	attack_all(0, WXP_RX, false);
	attack_all(0, WXP_RX, true);
	attack_all(0, WXP_R, false);
	attack_all(0, WXP_R, true);
}

/* Also where nothing has been yet, from the start */
TEST(mseal_of_the_whole_window)
{
	struct wxp *w = must_open(WXP_MSEAL, 64 * MIB);
	size_t size, at, sealed = 0;
	char *base;
	void *p;

	wxp_get_window(w, &p, &size);
	base = p;
	for (at = 0; at < size && attack(UNMAP, base + at) == EPERM; at += MIB)
		sealed += MIB;
	/* The last quarter is for variables, which are not sealed. */
	CHECK_EQ(sealed, 48 * MIB);
	CHECK_EQ(attack(MAP_OVER, base), EPERM);
	CHECK(is_intact(load_page(w, 1, WXP_RX, true), 1, WXP_RX));
	wxp_close(w);
}

/* Twice as many pages as there are addresses, of which few are alive at a time */
static void load_and_free(struct wxp *w, bool packed)
{
	const uint32_t nr = 2 * 2 * MIB / PAGE;
	enum wxp_prot prot;
	uint32_t i;
	char *p;

	for (i = 1; i <= nr; i++) {
		prot = i % 3 ? WXP_RX : WXP_R;
		p = load_page(w, i, prot, packed);
		CHECK(is_intact(p, i, prot));
		if (i > 5)
			CHECK_EQ(wxp_free(w, i - 5), 0);
	}
	for (i -= 5; i <= nr; i++)
		CHECK_EQ(wxp_free(w, i), 0);
}

/* Addresses are used again as ever, whatever lay there: nothing is spent. */
TEST(mseal_spends_no_addresses)
{
	struct wxp *w = must_open(WXP_MSEAL, 6 * MIB);
	struct wxp_stats before = stats_of(w, 0), after;

	load_and_free(w, true);
	load_and_free(w, false);
	load_and_free(w, true);
	after = stats_of(w, 0);
	check_same_stats(&before, &after);
	check_stats(w);
	wxp_close(w);
}

/* The memory is gone, the addresses are not. */
static void close_and_look(unsigned int flags)
{
	struct wxp *w = must_open(flags, 0);
	char *page = load_page(w, 1, WXP_RX, false), *span = load_page(w, 2, WXP_RX, true);
	struct wxp_mem vars = must_alloc(w, 3, 1, 0, WXP_RW);
	struct wxp_mem open = must_alloc(w, 3, 1, 0, WXP_RX);
	int sig = flags & WXP_MSEAL ? SIGBUS : SIGSEGV;

	wxp_close(w);
	CHECK_EQ(load_faults(page), sig);
	CHECK_EQ(load_faults(span), sig);
	CHECK_EQ(load_faults(open.addr), sig);
	CHECK_EQ(load_faults(vars.addr), SIGSEGV);
	CHECK_EQ(load_faults(open.write), SIGSEGV);
	if (flags & WXP_MSEAL) {
		CHECK_EQ(attack(UNMAP, page), EPERM);
		CHECK_EQ(attack(MAP_OVER, span), EPERM);
	}
}

TEST(mseal_outlives_close)
{
	close_and_look(WXP_MSEAL);
	close_and_look(0);
}

static void seal_in_child(struct wxp *w, char *page, char *span)
{
	char *own;

	CHILD_CHECK(attack(UNMAP, page) == EPERM && attack(UNMAP, span) == EPERM);
	CHILD_CHECK(wxp_get_flags(w) == WXP_MSEAL);
	own = load_page(w, 3, WXP_RX, true);
	CHILD_CHECK(attack(UNMAP, own) == EPERM && attack(MOVE, own) == EPERM);
	wxp_close(w);
	CHILD_CHECK(is_intact(page, 1, WXP_RX) && is_intact(span, 2, WXP_RX));
	CHILD_CHECK(load_faults(own) == SIGBUS);
	_exit(0);
}

TEST(mseal_in_a_child)
{
	struct wxp *w = must_open(WXP_MSEAL, 0);
	char *page = load_page(w, 1, WXP_RX, false), *span = load_page(w, 2, WXP_RX, true);
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid)
		seal_in_child(w, page, span);
	wait_child(pid);
	CHECK(is_intact(page, 1, WXP_RX) && is_intact(span, 2, WXP_RX));
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK_EQ(wxp_free(w, 2), 0);
	wxp_close(w);
}

/* A thread that stores once, when it is told to */
struct stranger {
	pthread_t thread;
	pthread_barrier_t start;
	char *p;
	int sig;
};

static void *stranger_main(void *arg)
{
	struct stranger *s = arg;

	pthread_barrier_wait(&s->start);
	s->sig = store_faults(s->p);
	return NULL;
}

static void stranger_start(struct stranger *s)
{
	CHECK(!pthread_barrier_init(&s->start, NULL, 2));
	CHECK(!pthread_create(&s->thread, NULL, stranger_main, s));
}

/* The signal */
static int stranger_stores(struct stranger *s, void *p)
{
	s->p = p;
	pthread_barrier_wait(&s->start);
	CHECK(!pthread_join(s->thread, NULL));
	pthread_barrier_destroy(&s->start);
	return s->sig;
}

static void store_beside_writer(unsigned int flags, enum wxp_prot prot)
{
	int sig = flags & WXP_PKEY ? SIGSEGV : 0;
	struct stranger before, after;
	struct wxp_mem m;
	struct wxp *w;

	/* Whether it can be had, while there is no thread yet */
	wxp_close(must_open(flags, 0));
	stranger_start(&before);
	w = must_open(flags, 0);
	stranger_start(&after);
	m = must_alloc(w, 1, CODE_SIZE, 0, prot);
	CHECK(is_zero(m.write, CODE_SIZE));
	CHECK_EQ(store_faults(m.write), sig);
	CHECK_EQ(wxp_write_begin(w), 0);
	CHECK_EQ(wxp_write_begin(w), 0);
	code_write(m.write, 1);
	CHECK_EQ(stranger_stores(&before, m.write), sig);
	CHECK_EQ(stranger_stores(&after, m.write), sig);
	code_write(m.write, 2);
	CHECK_EQ(wxp_write_end(w), 0);
	CHECK_EQ(load_faults(m.write), 0);
	CHECK_EQ(store_faults(m.write), sig);
	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK(is_intact(m.addr, 2, prot));
	wxp_close(w);
}

TEST(key_is_for_the_writing_thread)
{
	store_beside_writer(WXP_PKEY, WXP_RX);
	store_beside_writer(WXP_PKEY, WXP_R);
}

TEST(key_and_mseal_together)
{
	store_beside_writer(WXP_PKEY | WXP_MSEAL, WXP_RX);
	store_beside_writer(WXP_PKEY | WXP_MSEAL, WXP_R);
}

TEST(without_key_others_can_store)
{
	store_beside_writer(0, WXP_RX);
	store_beside_writer(0, WXP_R);
}

/* Variables are no business of the key's. */
TEST(key_leaves_variables_alone)
{
	struct wxp *w = must_open(WXP_PKEY, 0);
	struct stranger other;
	struct wxp_mem m;

	stranger_start(&other);
	m = must_alloc(w, 1, 100, 0, WXP_RW);
	CHECK_EQ(wxp_write_end(w), 0);
	CHECK_EQ(store_faults(m.addr), 0);
	CHECK_EQ(stranger_stores(&other, m.addr), 0);
	wxp_close(w);
}

static void check_traps(const char *p, const char *end)
{
	CHECK(p < end);
	for (; p < end; p += 4)
		CHECK(!memcmp(p, CODE_TRAP, 4));
}

/* The library's own stores, by a thread that has the right, or has not */
static void fill_around(struct wxp *w, uint32_t pool, bool may_write)
{
	struct wxp_mem a, b;
	char *end;

	if (may_write)
		CHECK_EQ(wxp_write_begin(w), 0);
	a = must_alloc(w, pool, 64, 64, WXP_RX);
	b = must_alloc(w, pool, 128, 1024, WXP_RX);
	CHECK_EQ(!store_faults(b.write), may_write);
	/* A handler that was left by a jump has left its rights here, which are none. */
	CHECK_EQ(may_write ? wxp_write_begin(w) : wxp_write_end(w), 0);
	CHECK(is_zero(a.write, 64) && is_zero(b.write, 128));
	CHECK_EQ(wxp_protect(w, pool), 0);
	/* Neither more nor less than before */
	b = must_alloc(w, pool + 1, 64, 64, WXP_RX);
	CHECK_EQ(!store_faults(b.write), may_write);
	CHECK_EQ(wxp_write_end(w), 0);
	end = (char *)(((uintptr_t)a.addr | (PAGE - 1)) + 1);
	check_traps((char *)a.addr + 64, (char *)a.addr + 1024);
	check_traps((char *)a.addr + 1024 + 128, end);
	CHECK(is_zero(a.addr, 64));
}

TEST(key_and_the_librarys_stores)
{
	struct wxp *w = must_open(WXP_PKEY, 0);

	fill_around(w, 1, false);
	fill_around(w, 3, true);
	wxp_close(w);
}

/* Of a thread that never got any right, as it was there before the context */
struct old_thread {
	pthread_barrier_t start;
	struct wxp *w;
	int err, sig;
};

static void *alloc_and_protect(void *arg)
{
	struct old_thread *t = arg;
	struct wxp_mem m;

	pthread_barrier_wait(&t->start);
	t->err = wxp_alloc(t->w, 1, 64, 64, WXP_RX, &m);
	t->err = t->err ? t->err : wxp_alloc(t->w, 1, 64, 1024, WXP_RX, &m);
	t->err = t->err ? t->err : wxp_protect(t->w, 1);
	t->err = t->err ? t->err : wxp_alloc(t->w, 1, 64, 64, WXP_RX, &m);
	t->sig = t->err ? 0 : store_faults(m.write);
	return NULL;
}

TEST(key_and_the_librarys_stores_in_another_thread)
{
	struct old_thread t = { .err = 1 };
	pthread_t thread;

	wxp_close(must_open(WXP_PKEY, 0));
	CHECK(!pthread_barrier_init(&t.start, NULL, 2));
	CHECK(!pthread_create(&thread, NULL, alloc_and_protect, &t));
	t.w = must_open(WXP_PKEY, 0);
	pthread_barrier_wait(&t.start);
	CHECK(!pthread_join(thread, NULL));
	CHECK_EQ(t.err, 0);
	CHECK_EQ(t.sig, SIGSEGV);
	wxp_close(t.w);
}

/* Several threads write, each in its own time. */
static void *write_often(void *arg)
{
	struct wxp *w = arg;
	uint32_t pool = 1000 + (uint32_t)gettid(), i;
	struct wxp_mem m;

	for (i = 0; i < 40; i++) {
		if (wxp_alloc(w, pool, CODE_SIZE, 0, WXP_RX, &m) || wxp_write_begin(w))
			return w;
		code_write(m.write, i);
		if (wxp_write_end(w) || wxp_protect(w, pool) || code_run(m.addr) != i ||
		    wxp_free(w, pool))
			return w;
	}
	return NULL;
}

TEST(key_and_several_writers)
{
	struct wxp *w = must_open(WXP_PKEY, 0);
	pthread_t threads[3];
	void *failed;
	int i;

	for (i = 0; i < 3; i++)
		CHECK(!pthread_create(&threads[i], NULL, write_often, w));
	for (i = 0; i < 3; i++) {
		CHECK(!pthread_join(threads[i], &failed));
		CHECK(!failed);
	}
	CHECK_EQ(stats_of(w, 0).pools, 0);
	wxp_close(w);
}

static char *handler_stores_at;
static volatile int handler_sig;

static void on_usr1(int sig)
{
	(void)sig;
	handler_sig = store_faults(handler_stores_at);
}

/* As documented: a handler has no right, and its end gives it back. */
TEST(key_in_a_signal_handler)
{
	struct sigaction act = { .sa_handler = on_usr1 }, old;
	struct wxp *w = must_open(WXP_PKEY, 0);
	struct wxp_mem m = must_alloc(w, 1, CODE_SIZE, 0, WXP_RX);

	handler_stores_at = m.write;
	CHECK(!sigaction(SIGUSR1, &act, &old));
	CHECK_EQ(wxp_write_begin(w), 0);
	raise(SIGUSR1);
	sigaction(SIGUSR1, &old, NULL);
	CHECK_EQ(handler_sig, SIGSEGV);
	code_write(m.write, 3);
	CHECK_EQ(wxp_write_end(w), 0);
	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK_EQ(code_run(m.addr), 3);
	wxp_close(w);
}

TEST(key_is_inherited_by_new_threads)
{
	struct wxp *w = must_open(WXP_PKEY, 0);
	struct wxp_mem m = must_alloc(w, 1, CODE_SIZE, 0, WXP_RX);
	struct stranger child;

	CHECK_EQ(wxp_write_begin(w), 0);
	stranger_start(&child);
	CHECK_EQ(wxp_write_end(w), 0);
	CHECK_EQ(stranger_stores(&child, m.write), 0);
	CHECK_EQ(store_faults(m.write), SIGSEGV);
	wxp_close(w);
}

TEST(keys_are_few_and_given_back)
{
	struct wxp *w[20], *spare;
	int round, nr, i;

	for (round = 0; round < 3; round++) {
		w[0] = must_open(WXP_PKEY, 64 * MIB);
		for (nr = 1; nr < 20; nr++)
			if (open_as(WXP_BACKEND_KERNEL, WXP_PKEY, 64 * MIB, &w[nr]))
				break;
		CHECK(nr > 2 && nr < 16);
		CHECK_EQ(open_as(WXP_BACKEND_KERNEL, WXP_PKEY, 0, &spare), -EOPNOTSUPP);
		CHECK_EQ(open_as(WXP_BACKEND_KERNEL, WXP_PKEY | WXP_IF_POSSIBLE, 0, &spare), 0);
		CHECK_EQ(wxp_get_flags(spare), WXP_IF_POSSIBLE);
		CHECK_EQ(store_faults(must_alloc(spare, 1, 1, 0, WXP_RX).write), 0);
		wxp_close(spare);
		for (i = 0; i < nr; i++)
			wxp_close(w[i]);
	}
}

/* It has the same key, for a W view of its own. */
static void write_in_child(struct wxp *w, const struct wxp_mem *lost)
{
	struct wxp_mem m;

	CHILD_CHECK(wxp_get_flags(w) == WXP_PKEY);
	CHILD_CHECK(load_faults(lost->write));
	CHILD_CHECK(!wxp_alloc(w, 2, CODE_SIZE, 0, WXP_RX, &m));
	CHILD_CHECK(store_faults(m.write) == SIGSEGV);
	CHILD_CHECK(!wxp_write_begin(w));
	CHILD_CHECK(store_faults(lost->write));
	CHILD_CHECK(!wxp_write_begin(w));
	code_write(m.write, 4);
	CHILD_CHECK(!wxp_write_end(w) && !wxp_protect(w, 2));
	CHILD_CHECK(wxp_protect(w, 1) == -ESTALE);
	CHILD_CHECK(code_run(m.addr) == 4);
	wxp_close(w);
	CHILD_CHECK(load_faults(m.addr));
	_exit(0);
}

TEST(key_in_a_child)
{
	struct wxp *w = must_open(WXP_PKEY, 0);
	struct wxp_mem m = must_alloc(w, 1, CODE_SIZE, 0, WXP_RX);
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid)
		write_in_child(w, &m);
	wait_child(pid);
	CHECK_EQ(store_faults(m.write), SIGSEGV);
	write_code(w, m.write, 5);
	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK_EQ(code_run(m.addr), 5);
	wxp_close(w);
}

/* It runs, and cannot be read, nor be made readable. */
static void check_exec_only(const char *p, uint32_t value)
{
	char *page = (char *)((uintptr_t)p & ~(PAGE - 1));

	CHECK_EQ(code_run(p), value);
	CHECK_EQ(load_faults(p), SIGSEGV);
	CHECK_EQ(store_faults((char *)(uintptr_t)p), SIGSEGV);
	CHECK_EQ(mprotect(page, PAGE, PROT_READ | PROT_EXEC), -1);
	CHECK_EQ(errno, EACCES);
	CHECK_EQ(mprotect(page, PAGE, PROT_READ), -1);
	CHECK_EQ(errno, EACCES);
	CHECK_EQ(load_faults(p), SIGSEGV);
	CHECK_EQ(code_run(p), value);
}

/* Nor does another view show it, unless that cannot be read either. */
static void check_second_views(struct wxp *w, const char *p, uint32_t value)
{
	static const int prots[] = { PROT_READ, PROT_READ | PROT_EXEC, PROT_EXEC };
	char *view, *page = (char *)((uintptr_t)p & ~(PAGE - 1));
	size_t size, i;
	void *base;

	wxp_get_window(w, &base, &size);
	for (i = 0; i < 3; i++) {
		view = mmap(NULL, PAGE, prots[i], MAP_SHARED, wxp_get_fd(w),
			    page - (char *)base);
		CHECK(view != MAP_FAILED);
		if (prots[i] & PROT_READ)
			CHECK_EQ(load_faults(view + (p - page)), SIGBUS);
		else
			check_exec_only(view + (p - page), value);
		munmap(view, PAGE);
	}
}

/* Installed, written in place, and, if the views may be changed, all the same after that */
static void exec_only(unsigned int flags)
{
	struct wxp *w = must_open(flags, 0);
	struct wxp_mem m = must_alloc(w, 1, CODE_SIZE, 0, WXP_RX);
	struct wxp_mem r = must_alloc(w, 1, CODE_SIZE, 0, WXP_R);
	char *p = must_load(w, 2, 32);

	write_code(w, m.write, 31);
	write_code(w, r.write, 31);
	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK(is_intact(r.addr, 31, WXP_R));
	check_exec_only(m.addr, 31);
	check_exec_only(p, 32);
	check_second_views(w, m.addr, 31);
	check_second_views(w, p, 32);
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK_EQ(code_run(p), 32);
	check_exec_only(must_load(w, 1, 33), 33);
	wxp_close(w);
}

TEST(exec_only_code)
{
	exec_only(WXP_EXEC_ONLY);
}

TEST(exec_only_code_with_one_address)
{
	exec_only(WXP_EXEC_ONLY | WXP_ONE_ADDRESS);
}

TEST(exec_only_code_in_huge_pages)
{
	exec_only(WXP_EXEC_ONLY | WXP_HUGE);
}

TEST(other_code_can_be_read)
{
	struct wxp *w = must_open(0, 0);
	char *p = must_load(w, 1, 30);

	CHECK(is_intact(p, 30, WXP_RX));
	wxp_close(w);
}

static void exec_only_in_child(struct wxp *w, const char *p)
{
	CHILD_CHECK(wxp_get_flags(w) == WXP_EXEC_ONLY);
	check_exec_only(p, 34);
	check_exec_only(must_load(w, 2, 35), 35);
	wxp_close(w);
	_exit(0);
}

TEST(exec_only_in_a_child)
{
	struct wxp *w = must_open(WXP_EXEC_ONLY, 0);
	char *p = must_load(w, 1, 34);
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid)
		exec_only_in_child(w, p);
	wait_child(pid);
	check_exec_only(p, 34);
	wxp_close(w);
}

/* All at once, in one context, with everything it does */
TEST(all_options_together)
{
	struct wxp *w = must_open(ALL, 0);
	char *p = must_load(w, 1, 41);
	struct wxp_mem m = must_alloc(w, 2, CODE_SIZE, 0, WXP_RX);

	CHECK_EQ(store_faults(m.write), SIGSEGV);
	write_code(w, m.write, 42);
	CHECK_EQ(wxp_protect(w, 2), 0);
	CHECK_EQ(code_run(p) + code_run(m.addr), 41 + 42);
	CHECK_EQ(load_faults(p), SIGSEGV);
	CHECK_EQ(load_faults(m.addr), SIGSEGV);
	CHECK_EQ(mprotect((char *)((uintptr_t)p & ~(PAGE - 1)), PAGE, PROT_READ), -1);
	CHECK_EQ(attack(UNMAP, (char *)((uintptr_t)p & ~(PAGE - 1))), EPERM);
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK_EQ(wxp_free(w, 2), 0);
	wxp_close(w);
}

/* What can be had alone can be had with IF_POSSIBLE, and nothing else. */
TEST(options_if_possible)
{
	static const unsigned int options[] = { WXP_MSEAL, WXP_PKEY, WXP_EXEC_ONLY, WXP_BTI };
	unsigned int had = 0, i;
	struct wxp *w;
	int err;

	for (i = 0; i < 4; i++) {
		err = open_as(WXP_BACKEND_KERNEL, options[i], 0, &w);
		CHECK(err == 0 || err == -EOPNOTSUPP);
		had |= err ? 0 : options[i];
		wxp_close(w);
	}
	printf("# options that can be had: %#x\n", had);
	CHECK_EQ(open_as(WXP_BACKEND_KERNEL, ALL | WXP_BTI | WXP_IF_POSSIBLE, 0, &w), 0);
	CHECK_EQ(wxp_get_flags(w), had | WXP_IF_POSSIBLE);
	CHECK_EQ(code_run(must_load(w, 1, 43)), 43);
	wxp_close(w);
	if (had == (ALL | WXP_BTI))
		return;
	CHECK_EQ(open_as(WXP_BACKEND_KERNEL, ALL | WXP_BTI, 0, &w), -EOPNOTSUPP);
	CHECK(!w);
}

TEST(bti_is_for_arm64)
{
	struct wxp *w;

#ifdef __x86_64__
	CHECK_EQ(open_as(WXP_BACKEND_KERNEL, WXP_BTI, 0, &w), -EOPNOTSUPP);
	CHECK_EQ(open_as(WXP_BACKEND_KERNEL, WXP_BTI | WXP_IF_POSSIBLE, 0, &w), 0);
	CHECK_EQ(wxp_get_flags(w), WXP_IF_POSSIBLE);
	wxp_close(w);
#else
	(void)w;
	test_skip("this is not x86");
#endif
}

TEST(options_that_exclude_each_other)
{
	struct wxp *w;

	CHECK_EQ(open_as(WXP_BACKEND_KERNEL, WXP_ONE_ADDRESS | WXP_MSEAL, 0, &w), -EINVAL);
	CHECK_EQ(open_as(WXP_BACKEND_KERNEL, WXP_ONE_ADDRESS | WXP_PKEY, 0, &w), -EINVAL);
	CHECK_EQ(open_as(WXP_BACKEND_KERNEL, WXP_ONE_ADDRESS | WXP_PKEY | WXP_IF_POSSIBLE, 0, &w),
		 -EINVAL);
}

/* They are the kernel backend's. */
TEST(options_of_other_backends)
{
	static const unsigned int options[] = { WXP_MSEAL, WXP_PKEY, WXP_EXEC_ONLY, WXP_BTI };
	enum wxp_backend b;
	struct wxp *w;
	int i;

	for (b = WXP_BACKEND_PORTABLE; b <= WXP_BACKEND_FAST; b++) {
		for (i = 0; i < 4; i++) {
			CHECK_EQ(open_as(b, options[i], 0, &w), -EOPNOTSUPP);
			CHECK_EQ(open_as(b, options[i] | WXP_IF_POSSIBLE, 0, &w), 0);
			CHECK_EQ(wxp_get_flags(w), WXP_IF_POSSIBLE);
			CHECK_EQ(wxp_write_begin(w) + wxp_write_end(w), 0);
			CHECK_EQ(code_run(must_load(w, 1, 44)), 44);
			wxp_close(w);
		}
	}
}
