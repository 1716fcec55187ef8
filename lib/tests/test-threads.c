// SPDX-License-Identifier: MIT
/* Several threads in one context, and in one pool. */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "test.h"

#define NR(a)	(sizeof(a) / sizeof((a)[0]))
#define THREADS	4u

struct worker {
	struct wxp *w;
	pthread_t thread;
	uint32_t nr;
	const char *failed;
};

static pthread_barrier_t barrier;

#define WORKER_CHECK(cond)						\
	do {								\
		if (!(cond)) {						\
			me->failed = #cond;				\
			return NULL;					\
		}							\
	} while (0)

static uint32_t rounds(uint32_t nr)
{
	return under_valgrind() ? nr / 10 : nr;
}

static void run_workers(struct wxp *w, void *(*work)(void *arg))
{
	static struct worker workers[THREADS];
	uint32_t i;

	for (i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){ .w = w, .nr = i };
		CHECK(!pthread_create(&workers[i].thread, NULL, work, &workers[i]));
	}
	for (i = 0; i < THREADS; i++)
		CHECK(!pthread_join(workers[i].thread, NULL));
	for (i = 0; i < THREADS; i++)
		if (workers[i].failed)
			test_fail(__FILE__, __LINE__, "thread %u: %s", i, workers[i].failed);
	check_stats(w);
}

static void free_all(struct wxp *w, uint32_t last)
{
	size_t window;
	uint32_t i;
	void *base;
	int ret;

	for (i = 1; i <= last; i++) {
		ret = wxp_free(w, i);
		CHECK(!ret || ret == -ENOENT);
	}
	wxp_get_window(w, &base, &window);
	check_stats(w);
	CHECK_EQ(stats_of(w, 0).pools, 0);
	CHECK_EQ(stats_of(w, 0).free, window);
}

static void in_both(void *(*work)(void *arg), uint32_t last)
{
	static const unsigned int flags[] = { 0, WXP_ONE_ADDRESS };
	struct wxp *w;
	size_t i;

	for (i = 0; i < NR(flags); i++) {
		w = open_flags(flags[i]);
		run_workers(w, work);
		free_all(w, last);
		wxp_close(w);
	}
}

/* ---- each in pools of its own */

static void *write_in_place(void *arg)
{
	struct wxp_request r[] = { { 4 * CODE_SIZE, 64, WXP_RX }, { 100, 0, WXP_R } };
	struct worker *me = arg;
	uint64_t seed = me->nr;
	uint32_t pool, value, i, k;
	struct wxp_mem m[4], data;

	for (i = 0; i < rounds(400); i++) {
		pool = 1 + me->nr + THREADS * (random_next(&seed) % 8);
		value = random_next(&seed);
		if (value & 1)
			WORKER_CHECK(!wxp_reserve(me->w, pool, r, 2));
		for (k = 0; k < 4; k++) {
			WORKER_CHECK(!wxp_alloc(me->w, pool, CODE_SIZE, 0, WXP_RX, &m[k]));
			WORKER_CHECK(is_zero(m[k].write, CODE_SIZE));
			code_write(m[k].write, value + k);
		}
		WORKER_CHECK(!wxp_alloc(me->w, pool, 100, 0, WXP_RW, &data));
		WORKER_CHECK(is_zero(data.write, 100));
		memset(data.write, 1, 100);
		WORKER_CHECK(!wxp_protect(me->w, pool));
		for (k = 0; k < 4; k++)
			WORKER_CHECK(code_run(m[k].addr) == value + k);
		WORKER_CHECK(wxp_pool_of(me->w, m[0].addr) == pool);
		if (value & 2)
			WORKER_CHECK(!wxp_free(me->w, pool));
	}
	return NULL;
}

TEST(threads_write_in_place)
{
	in_both(write_in_place, 8 * THREADS);
}

/* Each protects what it has written into one pool, when the others do. */
static void *protect_together(void *arg)
{
	struct worker *me = arg;
	struct wxp_mem m;
	uint32_t i, nr = rounds(300);
	int err;

	for (i = 0; i < nr; i++) {
		WORKER_CHECK(!wxp_alloc(me->w, 1, 50000, 0, WXP_RX, &m));
		code_write(m.write, me->nr + i);
		pthread_barrier_wait(&barrier);
		do {
			err = wxp_protect(me->w, 1);
		} while (err == -EBUSY && !sched_yield());
		WORKER_CHECK(!err);
		WORKER_CHECK(code_run(m.addr) == me->nr + i);
		if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
			WORKER_CHECK(!wxp_free(me->w, 1));
		pthread_barrier_wait(&barrier);
	}
	return NULL;
}

TEST(threads_protect_one_pool)
{
	CHECK(!pthread_barrier_init(&barrier, NULL, THREADS));
	in_both(protect_together, 1);
	pthread_barrier_destroy(&barrier);
}

static void *install(void *arg)
{
	struct wxp_request r[] = { { 200, 0, WXP_RX }, { 100, 0, WXP_RW } };
	struct worker *me = arg;
	struct wxp_stats stats = { .size = sizeof(stats) };
	uint64_t seed = me->nr;
	uint32_t pool, i, value;
	struct wxp_piece piece;
	struct wxp_span s[2];
	char code[200] = { 0 };
	void *p;

	for (i = 0; i < rounds(1000); i++) {
		pool = 1 + me->nr + THREADS * (random_next(&seed) % 50);
		value = random_next(&seed);
		code_write(code, value);
		WORKER_CHECK(!wxp_place(me->w, pool, r, 2, s));
		WORKER_CHECK(is_zero(s[1].addr, 100));
		memset(s[1].addr, 1, 100);
		piece = (struct wxp_piece){ s[0].addr, code, CODE_SIZE };
		WORKER_CHECK(!wxp_install(me->w, pool, &piece, 1));
		WORKER_CHECK(!wxp_shrink(me->w, &s[0], CODE_SIZE));
		WORKER_CHECK(code_run(s[0].addr) == value);
		WORKER_CHECK(!wxp_load(me->w, pool, code, 200, WXP_RX, &p));
		WORKER_CHECK(code_run(p) == value);
		WORKER_CHECK(!wxp_get_stats(me->w, pool, &stats) && stats.installed >= 320);
		if (value & 2)
			WORKER_CHECK(!wxp_free(me->w, pool));
	}
	return NULL;
}

TEST(threads_install)
{
	in_both(install, 50 * THREADS);
}

/* ---- all in one pool */

/* Once it is sealed, what any thread wrote runs for every thread. */
static void *share_a_pool(void *arg)
{
	static struct wxp_mem shared[THREADS][32];
	static void *loaded[THREADS];
	struct worker *me = arg;
	unsigned char code[CODE_SIZE];
	uint32_t i, k, round;

	for (round = 0; round < rounds(40); round++) {
		for (i = 0; i < 32; i++) {
			WORKER_CHECK(!wxp_alloc(me->w, 1, CODE_SIZE + i * 40, 0, WXP_RX,
						&shared[me->nr][i]));
			WORKER_CHECK(is_zero(shared[me->nr][i].write, CODE_SIZE + i * 40));
			code_write(shared[me->nr][i].write, me->nr * 1000 + i);
		}
		code_write(code, me->nr);
		WORKER_CHECK(!wxp_load(me->w, 1, code, CODE_SIZE, WXP_RX, &loaded[me->nr]));
		if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD) {
			WORKER_CHECK(!wxp_protect(me->w, 1));
			WORKER_CHECK(!wxp_sync_cores(me->w) || under_valgrind());
		}
		pthread_barrier_wait(&barrier);
		for (k = 0; k < THREADS; k++) {
			for (i = 0; i < 32; i++)
				WORKER_CHECK(code_run(shared[k][i].addr) == k * 1000 + i);
			WORKER_CHECK(code_run(loaded[k]) == k);
		}
		if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD && round % 4)
			WORKER_CHECK(!wxp_free(me->w, 1));
		pthread_barrier_wait(&barrier);
	}
	return NULL;
}

TEST(threads_share_a_pool)
{
	CHECK(!pthread_barrier_init(&barrier, NULL, THREADS));
	in_both(share_a_pool, 1);
	pthread_barrier_destroy(&barrier);
}

static bool is_one_of(int ret, const int *list)
{
	while (*list && *list != ret)
		list++;
	return ret == *list;
}

/* Calls on a pool that others free at any time: refused, or as if before or after that. */
static void *use_and_free(void *arg)
{
	static const int none[] = { -EBUSY, 0 }, gone[] = { -EBUSY, -ENOENT, 0 };
	static const int lost[] = { -EBUSY, -ENOENT, -EINVAL, -EEXIST, 0 };
	struct wxp_request r[] = { { 20000, 0, WXP_RX }, { 300, 0, WXP_R }, { 100, 0, WXP_RW } };
	static unsigned char bytes[20000];
	struct worker *me = arg;
	uint64_t seed = me->nr;
	struct wxp_span s[3];
	struct wxp_piece piece;
	struct wxp_mem m;
	uint32_t i, pool;
	void *p;

	for (i = 0; i < rounds(3000); i++) {
		pool = 1 + random_next(&seed) % 2;
		switch (random_next(&seed) % 8) {
		case 0:
			WORKER_CHECK(is_one_of(wxp_load(me->w, pool, bytes, 20000, WXP_RX, &p),
					       none));
			break;
		case 1:
			if (wxp_place(me->w, pool, r, 3, s))
				break;
			piece = (struct wxp_piece){ s[0].addr, bytes, 20000 };
			WORKER_CHECK(is_one_of(wxp_install(me->w, pool, &piece, 1), lost));
			break;
		case 2:
			WORKER_CHECK(is_one_of(wxp_reserve(me->w, pool, r, 3), none));
			break;
		case 3:
			WORKER_CHECK(is_one_of(wxp_alloc(me->w, pool, 9000, 0, WXP_R, &m), none));
			break;
		case 4:
			WORKER_CHECK(is_one_of(wxp_alloc(me->w, pool, 90, 0, WXP_RW, &m), none));
			break;
		case 5:
			WORKER_CHECK(is_one_of(wxp_protect(me->w, pool), gone));
			break;
		default:
			WORKER_CHECK(is_one_of(wxp_free(me->w, pool), gone));
		}
	}
	return NULL;
}

TEST(threads_free_what_others_use)
{
	in_both(use_and_free, 2);
}

/* ---- calls do not wait for each other */

/* A page that no system call can read until it is filled */
struct stall {
	int fd;
	char *page;
	size_t size;
};

static void stall_begin(struct stall *s)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg;

	s->fd = under_valgrind() ? -1 : (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	if (s->fd < 0)
		test_skip("there is no userfaultfd() for this process");
	CHECK(!ioctl(s->fd, UFFDIO_API, &api));
	s->size = (size_t)getpagesize();
	s->page = mmap(NULL, s->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(s->page != MAP_FAILED);
	reg = (struct uffdio_register){
		.range = { (uintptr_t)s->page, s->size }, .mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	CHECK(!ioctl(s->fd, UFFDIO_REGISTER, &reg));
}

/* Until somebody waits for the page */
static void stall_wait(struct stall *s)
{
	struct uffd_msg msg;

	CHECK_EQ(read(s->fd, &msg, sizeof(msg)), sizeof(msg));
	CHECK_EQ(msg.event, UFFD_EVENT_PAGEFAULT);
}

static void stall_end(struct stall *s, uint32_t value)
{
	char *bytes = calloc(1, s->size);
	struct uffdio_copy copy = {
		.dst = (uintptr_t)s->page, .src = (uintptr_t)bytes, .len = s->size,
	};

	code_write(bytes, value);
	CHECK(!ioctl(s->fd, UFFDIO_COPY, &copy));
	free(bytes);
}

struct slow_call {
	struct wxp *w;
	struct stall stall;
	pthread_t thread;
	struct wxp_span span;
	int ret;
};

static void *slow_load(void *arg)
{
	struct slow_call *c = arg;

	c->ret = wxp_load(c->w, 1, c->stall.page, 100, WXP_RX, &c->span.addr);
	return NULL;
}

static void *slow_install(void *arg)
{
	struct slow_call *c = arg;
	struct wxp_piece piece = { c->span.addr, c->stall.page, 100 };

	c->ret = wxp_install(c->w, 1, &piece, 1);
	return NULL;
}

/*
 * Everything but the end of that pool, while the call is under way. With the portable
 * backend what writes to its file waits for that.
 */
static void use_meanwhile(struct wxp *w, uint32_t pool)
{
	struct wxp_mem m = must_alloc(w, pool, CODE_SIZE, 0, WXP_RX);
	void *p;

	CHECK_EQ(wxp_pool_of(w, m.addr), pool);
	if (is_portable(w))
		return;
	p = must_load(w, pool, 50 + pool);
	code_write(m.write, pool);
	CHECK_EQ(wxp_protect(w, pool), 0);
	CHECK_EQ(code_run(m.addr), pool);
	CHECK_EQ(code_run(p), 50 + pool);
	CHECK_EQ(wxp_pool_of(w, p), pool);
}

static void beside(struct slow_call *c, void *(*call)(void *arg))
{
	static const uint32_t pools[] = { 1, 3 };
	struct wxp_stats before, after;

	stall_begin(&c->stall);
	CHECK(!pthread_create(&c->thread, NULL, call, c));
	stall_wait(&c->stall);
	use_meanwhile(c->w, 1);
	use_meanwhile(c->w, 2);
	must_alloc(c->w, 3, 100, 0, WXP_RW);
	before = stats_of(c->w, 1);
	CHECK_EQ(wxp_free(c->w, 1), -EBUSY);
	CHECK_EQ(wxp_free_many(c->w, pools, 2), -EBUSY);
	CHECK_EQ(wxp_free(c->w, 3), -ENOENT);
	after = stats_of(c->w, 1);
	check_same_stats(&before, &after);
	stall_end(&c->stall, 77);
	CHECK(!pthread_join(c->thread, NULL));
	CHECK_EQ(c->ret, 0);
	CHECK_EQ(code_run(c->span.addr), 77);
	CHECK_EQ(wxp_free(c->w, 1), 0);
	munmap(c->stall.page, c->stall.size);
	close(c->stall.fd);
}

TEST(calls_under_way_and_others)
{
	struct wxp_request r = { 100, 0, WXP_RX };
	static struct slow_call c;

	c.w = open_default();
	beside(&c, slow_load);
	free_all(c.w, 2);
	CHECK_EQ(wxp_place(c.w, 1, &r, 1, &c.span), 0);
	beside(&c, slow_install);
	free_all(c.w, 2);
	wxp_close(c.w);
}

/* ---- numbers, and code that goes from thread to thread */

#define NUMBERS	500u

static uint32_t chosen[THREADS][NUMBERS];

static void *choose_numbers(void *arg)
{
	struct worker *me = arg;
	struct wxp_mem m;
	uint32_t i;

	for (i = 0; i < NUMBERS; i++) {
		WORKER_CHECK(!wxp_new_pool(me->w, &chosen[me->nr][i]));
		WORKER_CHECK(chosen[me->nr][i] >= 0x80000000);
		if (i % 2)
			WORKER_CHECK(!wxp_alloc(me->w, chosen[me->nr][i], 8, 0, WXP_RW, &m));
	}
	return NULL;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

TEST(threads_choose_numbers)
{
	struct wxp *w = open_default();
	uint32_t *all = &chosen[0][0], i;

	run_workers(w, choose_numbers);
	CHECK_EQ(stats_of(w, 0).pools, THREADS * NUMBERS);
	qsort(all, THREADS * NUMBERS, sizeof(*all), compare);
	for (i = 1; i < THREADS * NUMBERS; i++)
		CHECK(all[i] != all[i - 1]);
	CHECK_EQ(wxp_free_many(w, all, THREADS * NUMBERS), 0);
	free_all(w, 0);
	wxp_close(w);
}

static void *handed;
static uint32_t answer;

static void *run_what_is_handed(void *arg)
{
	struct worker *me = arg;
	uint32_t i;
	void *p;

	for (i = 1; i <= rounds(2000); i++) {
		while (!(p = __atomic_exchange_n(&handed, NULL, __ATOMIC_ACQUIRE)))
			sched_yield();
		__atomic_store_n(&answer, code_run(p), __ATOMIC_RELEASE);
		WORKER_CHECK(answer == i);
	}
	return NULL;
}

/* Other code at the same address each time */
TEST(code_is_handed_to_another_thread)
{
	static struct worker other;
	struct wxp *w = open_default();
	uint32_t i;
	void *p;

	answer = 0;
	other = (struct worker){ .w = w };
	CHECK(!pthread_create(&other.thread, NULL, run_what_is_handed, &other));
	for (i = 1; i <= rounds(2000); i++) {
		p = must_load(w, 1, i);
		CHECK(!wxp_sync_cores(w) || under_valgrind());
		__atomic_store_n(&handed, p, __ATOMIC_RELEASE);
		while (__atomic_load_n(&answer, __ATOMIC_ACQUIRE) != i && !other.failed)
			sched_yield();
		CHECK_EQ(wxp_free(w, 1), 0);
	}
	CHECK(!pthread_join(other.thread, NULL));
	CHECK(!other.failed);
	wxp_close(w);
}

/* ---- tables that grow */

static void *load_in_one(void *arg)
{
	struct worker *me = arg;
	unsigned char bytes[CODE_SIZE];
	uint32_t i;
	void *p;

	code_write(bytes, me->nr);
	for (i = 0; i < rounds(4000); i++) {
		if (me->nr % 2) {
			WORKER_CHECK(!wxp_load(me->w, 1 + me->nr, bytes, CODE_SIZE, WXP_RX, &p));
		} else {
			uint32_t pool;

			WORKER_CHECK(!wxp_new_pool(me->w, &pool));
		}
	}
	return NULL;
}

TEST(pools_come_beside_loads)
{
	struct wxp *w = open_default();

	run_workers(w, load_in_one);
	wxp_close(w);
}

/* ---- threads that are cancelled */

static void *cancelled_load(void *arg)
{
	void *p;

	pthread_cancel(pthread_self());
	return (void *)(intptr_t)wxp_load(arg, 7, "\xc3", 1, WXP_RX, &p);
}

static void *cancelled_protect(void *arg)
{
	pthread_cancel(pthread_self());
	return (void *)(intptr_t)wxp_protect(arg, 8);
}

static void *cancelled_free(void *arg)
{
	pthread_cancel(pthread_self());
	return (void *)(intptr_t)wxp_free(arg, 9);
}

static void *cancelled_open(void *arg)
{
	struct wxp *w = NULL;
	int err;

	(void)arg;
	pthread_cancel(pthread_self());
	err = wxp_open(&w, NULL);
	wxp_close(w);
	return (void *)(intptr_t)err;
}

TEST(calls_are_no_cancellation_points)
{
	static void *(*const calls[])(void *) = {
		cancelled_load, cancelled_protect, cancelled_free, cancelled_open,
	};
	struct wxp *w = open_default();
	pthread_t thread;
	unsigned int i;
	void *ret;

	must_alloc(w, 8, CODE_SIZE, 0, WXP_RX);
	must_load(w, 9, 1);
	for (i = 0; i < NR(calls); i++) {
		CHECK(!pthread_create(&thread, NULL, calls[i], w));
		CHECK(!pthread_join(thread, &ret));
		CHECK(!ret);
	}
	CHECK_EQ(wxp_free(w, 7) + wxp_free(w, 8), 0);
	CHECK_EQ(wxp_free(w, 9), -ENOENT);
	wxp_close(w);
}
