// SPDX-License-Identifier: MIT
/*
 * WXP_MSEAL and WXP_PKEY: what they stop is tried with and without them, so that
 * it is known to bite. Needs the module.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include "test.h"

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
	int ret = open_as(WXP_BACKEND_KERNEL, flags, window, &w);

	if (ret == -ENOSYS)
		test_skip(flags & WXP_PKEY ? "this processor has no protection keys" :
			  "this kernel has no mseal() (6.10)");
	CHECK_EQ(ret, 0);
	CHECK_EQ(wxp_get_flags(w), flags);
	return w;
}

/* A page of @prot with a function that returns @pool, installed or sealed in place. */
static char *load_page(struct wxp *w, uint32_t pool, enum wxp_prot prot, bool packed)
{
	struct wxp_request r = { PAGE, PAGE, prot };
	char code[CODE_SIZE], *p;
	struct wxp_piece piece = { .src = code, .size = CODE_SIZE };
	struct wxp_span s;

	code_write(code, pool);
	if (packed) {
		CHECK_EQ(wxp_place(w, pool, &r, 1, &s), 0);
		piece.addr = s.addr;
		CHECK_EQ(wxp_install(w, pool, &piece, 1), 0);
		return s.addr;
	}
	p = must_alloc(w, pool, PAGE, PAGE, prot);
	CHECK_EQ(wxp_write_begin(w), 0);
	memcpy(p, code, CODE_SIZE);
	CHECK_EQ(wxp_write_end(w), 0);
	CHECK_EQ(wxp_protect(w, pool), 0);
	return p;
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

/* What the process can do to its own code. Returns 0 or the errno. */
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

TEST(mseal_keeps_read_only_data)
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

/* Under fixed views, lines are used again as ever. */
TEST(mseal_spans_come_and_go)
{
	struct wxp *w = must_open(WXP_MSEAL, 32 * MIB);
	uint64_t vmas = 0;
	uint32_t i;
	char *p;

	for (i = 1; i <= 3000; i++) {
		p = load_page(w, i, i % 2 ? WXP_RX : WXP_R, true);
		CHECK(is_intact(p, i, i % 2 ? WXP_RX : WXP_R));
		if (i > 5)
			CHECK_EQ(wxp_free(w, i - 5), 0);
		if (i == 10)
			vmas = stats_of(w).vmas;
	}
	CHECK_EQ(stats_of(w).vmas, vmas);
	CHECK_EQ(stats_of(w).bytes_spent, 0);
	wxp_close(w);
}

/* A full window gives back what is not fixed, and keeps what is for spans. */
TEST(mseal_full_window)
{
	struct wxp *w = must_open(WXP_MSEAL, 4 * MIB);
	struct wxp_stats before, after;
	void *p;

	load_page(w, 1, WXP_RX, true);
	CHECK_EQ(wxp_free(w, 1), 0);
	before = stats_of(w);
	CHECK_EQ(wxp_alloc(w, 1, 4 * MIB, 0, WXP_RX, &p), -ENOMEM);
	CHECK_EQ(wxp_alloc(w, 1, 4 * MIB, 0, WXP_RW, &p), -ENOMEM);
	after = stats_of(w);
	check_same_stats(&before, &after);
	CHECK(is_intact(load_page(w, 1, WXP_RX, true), 1, WXP_RX));
	must_alloc(w, 2, 3 * MIB, 0, WXP_RX);
	wxp_close(w);
}

/* Where a region was protected, no other can be: the view is there for good. */
TEST(mseal_regions_spend_addresses)
{
	struct wxp *w = must_open(WXP_MSEAL, 2 * MIB);
	char *live = load_page(w, 1000, WXP_RX, false), *p;
	uint64_t nr = 0;
	void *q;

	/* What was never protected is not fixed. */
	p = must_alloc(w, 1, 1, 0, WXP_RX);
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK(must_alloc(w, 1, 1, 0, WXP_RX) == p);
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK_EQ(stats_of(w).bytes_spent, 0);
	while (!wxp_alloc(w, 1, PAGE, 0, WXP_R, &q)) {
		CHECK_EQ(wxp_protect(w, 1), 0);
		CHECK_EQ(wxp_free(w, 1), 0);
		CHECK_EQ(load_faults(q), SIGBUS);
		CHECK_EQ(stats_of(w).bytes_spent, ++nr * PAGE);
		CHECK_EQ(stats_of(w).pages_r, 0);
	}
	CHECK_EQ(nr, 2 * MIB / PAGE - 1);
	CHECK_EQ(stats_of(w).pools, 1);
	check_stats(w);
	CHECK(is_intact(live, 1000, WXP_RX));
	CHECK_EQ(wxp_free(w, 1000), 0);
	CHECK_EQ(stats_of(w).bytes_spent, 2 * MIB);
	wxp_close(w);
}

/* The memory is gone, the addresses are not. */
TEST(mseal_outlives_close)
{
	struct wxp *w = must_open(WXP_MSEAL, 0);
	char *region = load_page(w, 1, WXP_RX, false), *span = load_page(w, 2, WXP_RX, true);
	char *rw = must_alloc(w, 3, 1, 0, WXP_RW), *open_page = must_alloc(w, 3, 1, 0, WXP_RX);

	wxp_close(w);
	CHECK_EQ(load_faults(region), SIGBUS);
	CHECK_EQ(load_faults(span), SIGBUS);
	CHECK_EQ(attack(UNMAP, region), EPERM);
	CHECK_EQ(attack(MAP_OVER, span), EPERM);
	CHECK_EQ(load_faults(rw), SIGSEGV);
	CHECK_EQ(load_faults(open_page), SIGSEGV);
	w = must_open(0, 0);
	region = load_page(w, 1, WXP_RX, false);
	span = load_page(w, 2, WXP_RX, true);
	wxp_close(w);
	CHECK_EQ(load_faults(region), SIGSEGV);
	CHECK_EQ(load_faults(span), SIGSEGV);
}

TEST(mseal_in_a_child)
{
	struct wxp *w = must_open(WXP_MSEAL, 0);
	char *region = load_page(w, 1, WXP_RX, false), *span = load_page(w, 2, WXP_RX, true);
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		CHILD_CHECK(attack(UNMAP, region) == EPERM && attack(UNMAP, span) == EPERM);
		wxp_close(w);
		CHILD_CHECK(is_intact(region, 1, WXP_RX) && is_intact(span, 2, WXP_RX));
		_exit(0);
	}
	wait_child(pid);
	CHECK(is_intact(region, 1, WXP_RX) && is_intact(span, 2, WXP_RX));
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK_EQ(wxp_free(w, 2), 0);
	wxp_close(w);
}

/* A thread that stores once, when it is told to. */
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

/* Returns the signal. */
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
	struct wxp *w;
	char *p;

	/* Whether it can be had, while there is no thread yet. */
	wxp_close(must_open(flags, 0));
	stranger_start(&before);
	w = must_open(flags, 0);
	stranger_start(&after);
	p = must_alloc(w, 1, CODE_SIZE, 0, prot);
	CHECK(is_zero(p, CODE_SIZE));
	CHECK_EQ(store_faults(p), sig);
	CHECK_EQ(wxp_write_begin(w), 0);
	code_write(p, 1);
	CHECK_EQ(stranger_stores(&before, p), sig);
	CHECK_EQ(stranger_stores(&after, p), sig);
	code_write(p, 2);
	CHECK_EQ(wxp_write_end(w), 0);
	CHECK_EQ(store_faults(p), sig);
	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK(is_intact(p, 2, prot));
	wxp_close(w);
}

TEST(key_is_for_the_writing_thread)
{
	store_beside_writer(WXP_PKEY, WXP_RX);
	store_beside_writer(WXP_PKEY, WXP_R);
}

TEST(key_and_mseal_together)
{
	wxp_close(must_open(WXP_MSEAL, 0));
	store_beside_writer(WXP_PKEY | WXP_MSEAL, WXP_RX);
	store_beside_writer(WXP_PKEY | WXP_MSEAL, WXP_R);
}

TEST(without_key_others_can_store)
{
	store_beside_writer(0, WXP_RX);
	store_beside_writer(0, WXP_R);
}

/* Data that stays writable is no business of the key's. */
TEST(key_leaves_writable_data_alone)
{
	struct wxp *w = must_open(WXP_PKEY, 0);

	CHECK(!store_faults(must_alloc(w, 1, 100, 0, WXP_RW)));
	CHECK_EQ(wxp_write_end(w), 0);
	wxp_close(w);
}

static void check_traps(const char *p, const char *end)
{
	for (; p < end; p += 4)
		CHECK(!memcmp(p, CODE_TRAP, 4));
}

/* The library's own stores, by a thread that has no right, or has it. */
TEST(key_and_the_librarys_stores)
{
	struct wxp_request r[] = { { 64, 64, WXP_RX }, { 128, 0, WXP_RX }, { 300, 0, WXP_RX } };
	struct wxp *w = must_open(WXP_PKEY, 0);
	char *a, *b, *c;
	uint32_t i;

	for (i = 1; i <= 2; i++) {
		if (i == 2)
			CHECK_EQ(wxp_write_begin(w), 0);
		CHECK_EQ(wxp_reserve(w, i, r, 3), 0);
		a = must_alloc(w, i, 64, 64, WXP_RX);
		b = must_alloc(w, i, 128, 0, WXP_RX);
		c = must_alloc(w, i, 2 * PAGE, 0, WXP_RX);
		CHECK(is_zero(a, 64) && is_zero(b, 128) && is_zero(c, 2 * PAGE));
		if (i == 2)
			code_write(a, 7);
		CHECK_EQ(!store_faults(b), i == 2);
		CHECK_EQ(wxp_write_end(w), 0);
		CHECK_EQ(wxp_protect(w, i), 0);
		check_traps(c + 2 * PAGE, (char *)(((uintptr_t)c | (PAGE - 1)) + 1 + 2 * PAGE));
		CHECK(is_zero(b, 128));
	}
	CHECK_EQ(code_run(a), 7);
	wxp_close(w);
}

/* Several threads write, each in its own time. */
static void *write_often(void *arg)
{
	struct wxp *w = arg;
	uint32_t pool = 1000 + (uint32_t)gettid(), i;
	void *p;

	for (i = 0; i < 40; i++) {
		if (wxp_alloc(w, pool, CODE_SIZE, 0, WXP_RX, &p) || wxp_write_begin(w))
			return w;
		code_write(p, i);
		if (wxp_write_end(w) || wxp_protect(w, pool) || code_run(p) != i ||
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
	CHECK_EQ(stats_of(w).pools, 0);
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

	handler_stores_at = must_alloc(w, 1, CODE_SIZE, 0, WXP_RX);
	CHECK(!sigaction(SIGUSR1, &act, &old));
	CHECK_EQ(wxp_write_begin(w), 0);
	raise(SIGUSR1);
	sigaction(SIGUSR1, &old, NULL);
	CHECK_EQ(handler_sig, SIGSEGV);
	code_write(handler_stores_at, 3);
	CHECK_EQ(wxp_write_end(w), 0);
	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK_EQ(code_run(handler_stores_at), 3);
	wxp_close(w);
}

TEST(key_is_inherited_by_new_threads)
{
	struct wxp *w = must_open(WXP_PKEY, 0);
	char *p = must_alloc(w, 1, CODE_SIZE, 0, WXP_RX);
	struct stranger child;

	CHECK_EQ(wxp_write_begin(w), 0);
	stranger_start(&child);
	CHECK_EQ(wxp_write_end(w), 0);
	CHECK_EQ(stranger_stores(&child, p), 0);
	CHECK_EQ(store_faults(p), SIGSEGV);
	wxp_close(w);
}

TEST(keys_are_few_and_given_back)
{
	struct wxp *w[20], *spare;
	int round, nr, i;

	for (round = 0; round < 3; round++) {
		w[0] = must_open(WXP_PKEY, 0);
		for (nr = 1; nr < 20; nr++)
			if (open_as(WXP_BACKEND_KERNEL, WXP_PKEY, 0, &w[nr]))
				break;
		CHECK(nr > 2 && nr < 16);
		CHECK_EQ(open_as(WXP_BACKEND_KERNEL, WXP_PKEY, 0, &spare), -ENOSYS);
		CHECK_EQ(open_as(WXP_BACKEND_KERNEL, WXP_PKEY | WXP_IF_POSSIBLE, 0, &spare), 0);
		CHECK_EQ(wxp_get_flags(spare), 0);
		wxp_close(spare);
		for (i = 0; i < nr; i++)
			wxp_close(w[i]);
	}
}

TEST(key_in_a_child)
{
	struct wxp *w = must_open(WXP_PKEY, 0);
	char *p = must_alloc(w, 1, CODE_SIZE, 0, WXP_RX);
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		CHILD_CHECK(wxp_write_begin(w) == -EXDEV && wxp_write_end(w) == -EXDEV);
		wxp_close(w);
		CHILD_CHECK(load_faults(p));
		_exit(0);
	}
	wait_child(pid);
	CHECK_EQ(store_faults(p), SIGSEGV);
	wxp_close(w);
}
