// SPDX-License-Identifier: MIT
/* Several threads on one context, and a random walk against a model. */
#include <pthread.h>
#include <time.h>

#include "test.h"

#define THREADS	4

struct worker {
	struct wxp *w;
	pthread_t thread;
	uint32_t nr;
	const char *failed;
};

#define WORKER_CHECK(cond)						\
	do {								\
		if (!(cond)) {						\
			me->failed = #cond;				\
			return NULL;					\
		}							\
	} while (0)

static void *work(void *arg)
{
	struct worker *me = arg;
	uint64_t seed = me->nr;
	uint32_t pool = 0, value, i, k;
	void *p[4];

	for (i = 0; i < 300; i++) {
		struct wxp_request r[] = { { CODE_SIZE, 0, WXP_RX }, { 100, 0, WXP_RW } };

		pool = me->nr + THREADS * (random_next(&seed) % 8);
		value = random_next(&seed);
		if (value & 1)
			WORKER_CHECK(!wxp_reserve(me->w, pool, r, 2));
		for (k = 0; k < 4; k++) {
			WORKER_CHECK(!wxp_alloc(me->w, pool, CODE_SIZE, 0, WXP_RX, &p[k]));
			code_write(p[k], value + k);
		}
		WORKER_CHECK(!wxp_protect(me->w, pool));
		for (k = 0; k < 4; k++)
			WORKER_CHECK(code_run(p[k]) == value + k);
		if (value & 2)
			WORKER_CHECK(!wxp_free(me->w, pool));
	}
	return NULL;
}

static void *work_installing(void *arg)
{
	struct wxp_request r[] = { { 200, 0, WXP_RX }, { 100, 0, WXP_RW } };
	struct worker *me = arg;
	uint64_t seed = me->nr;
	uint32_t pool, i, value;
	struct wxp_span s[2];
	char code[200] = { 0 };

	for (i = 0; i < 400; i++) {
		struct wxp_piece piece;
		struct wxp_item item = { 0, 0, &piece, 1 };

		item.pool = pool = me->nr + THREADS * (1 + random_next(&seed) % 50);
		value = random_next(&seed);
		WORKER_CHECK(!wxp_place(me->w, pool, r, 2, s));
		for (int k = 0; k < 100; k++)
			WORKER_CHECK(!((char *)s[1].addr)[k]);
		memset(s[1].addr, 1, 100);
		code_write(code, value);
		piece = (struct wxp_piece){ s[0].addr, code, 200 };
		WORKER_CHECK(!(value & 1 ? wxp_install(me->w, pool, &piece, 1) :
					   wxp_install_batch(me->w, &item, 1)));
		WORKER_CHECK(code_run(s[0].addr) == value);
		if (value & 2)
			WORKER_CHECK(!wxp_free(me->w, pool));
	}
	return NULL;
}

TEST(threads_install)
{
	struct worker workers[THREADS];
	struct wxp *w = open_default();
	int i;

	for (i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){ .w = w, .nr = (uint32_t)i + 1 };
		CHECK(!pthread_create(&workers[i].thread, NULL, work_installing, &workers[i]));
	}
	for (i = 0; i < THREADS; i++)
		pthread_join(workers[i].thread, NULL);
	for (i = 0; i < THREADS; i++)
		if (workers[i].failed)
			test_fail(__FILE__, __LINE__, "thread %d: %s", i, workers[i].failed);
	check_stats(w);
	wxp_close(w);
}

TEST(threads_share_a_context)
{
	struct worker workers[THREADS];
	struct wxp *w = open_default();
	int i;

	for (i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){ .w = w, .nr = (uint32_t)i + 1 };
		CHECK(!pthread_create(&workers[i].thread, NULL, work, &workers[i]));
	}
	for (i = 0; i < THREADS; i++)
		pthread_join(workers[i].thread, NULL);
	for (i = 0; i < THREADS; i++)
		if (workers[i].failed)
			test_fail(__FILE__, __LINE__, "thread %d: %s", i, workers[i].failed);
	check_stats(w);
	for (i = 1; i <= 8 * THREADS; i++)
		CHECK(wxp_free(w, (uint32_t)i) == 0 || wxp_free(w, (uint32_t)i) == -ENOENT);
	CHECK_EQ(stats_of(w).pools, 0);
	check_stats(w);
	wxp_close(w);
}

/* The model: all allocations alive, each filled with a byte of its own. */
#define POOLS	12
#define MAX_LIVE 4000

struct piece {
	unsigned char *p;
	size_t size;
	uint32_t pool;
	enum wxp_prot prot;
	unsigned char byte;
	bool sealed;
};

struct model {
	struct wxp *w;
	uint64_t seed;
	struct piece pieces[MAX_LIVE];
	uint32_t nr;
	bool alive[POOLS + 1];
	uint64_t bytes;
};

static size_t random_size(struct model *m)
{
	uint32_t r = random_next(&m->seed);

	return r % 50 == 0 ? 1 + r / 50 % (300 * 1024) : 1 + r / 50 % 3000;
}

static void model_alloc(struct model *m, uint32_t pool)
{
	static const enum wxp_prot prots[] = { WXP_R, WXP_RW, WXP_RX };
	size_t size = random_size(m), align = (size_t)1 << random_next(&m->seed) % 13;
	struct piece *piece = &m->pieces[m->nr];
	void *p;
	int ret;

	piece->prot = prots[random_next(&m->seed) % 3];
	ret = wxp_alloc(m->w, pool, size, align, piece->prot, &p);
	if (ret == -ENOMEM)
		return;
	CHECK_EQ(ret, 0);
	CHECK_EQ((uintptr_t)p % align, 0);
	CHECK(is_zero(p, size));
	piece->p = p;
	piece->size = size;
	piece->pool = pool;
	piece->byte = (unsigned char)(1 + random_next(&m->seed) % 255);
	piece->sealed = false;
	memset(p, piece->byte, size);
	m->bytes += size;
	m->alive[pool] = true;
	m->nr++;
}

static void model_reserve(struct model *m, uint32_t pool)
{
	struct wxp_request r[8];
	uint32_t i, nr = 1 + random_next(&m->seed) % 8;
	int ret;

	for (i = 0; i < nr; i++)
		r[i] = (struct wxp_request){ random_size(m), 0, 1 + random_next(&m->seed) % 3 };
	ret = wxp_reserve(m->w, pool, r, nr);
	CHECK(!ret || ret == -ENOMEM);
	m->alive[pool] |= !ret;
}

static void model_protect(struct model *m, uint32_t pool)
{
	uint32_t i;

	CHECK_EQ(wxp_protect(m->w, pool), m->alive[pool] ? 0 : -ENOENT);
	for (i = 0; i < m->nr; i++)
		if (m->pieces[i].pool == pool)
			m->pieces[i].sealed = m->pieces[i].prot != WXP_RW;
}

static void model_free(struct model *m, uint32_t pool)
{
	uint32_t i = 0;

	CHECK_EQ(wxp_free(m->w, pool), m->alive[pool] ? 0 : -ENOENT);
	m->alive[pool] = false;
	while (i < m->nr) {
		if (m->pieces[i].pool == pool) {
			m->bytes -= m->pieces[i].size;
			m->pieces[i] = m->pieces[--m->nr];
		} else {
			i++;
		}
	}
}

static void model_check(struct model *m)
{
	struct wxp_stats s = stats_of(m->w);
	uint32_t i, pools = 0;
	size_t k;

	for (i = 1; i <= POOLS; i++)
		pools += m->alive[i];
	CHECK_EQ(s.pools, pools);
	CHECK_EQ(s.allocations, m->nr);
	CHECK_EQ(s.bytes_requested, m->bytes);
	check_stats(m->w);
	for (i = 0; i < m->nr; i++) {
		struct piece *piece = &m->pieces[i];

		for (k = 0; k < piece->size; k += 61)
			CHECK_EQ(piece->p[k], piece->byte);
		CHECK_EQ(piece->p[piece->size - 1], piece->byte);
		if (!piece->sealed)
			memset(piece->p, piece->byte, piece->size);
	}
}

static void model_step(struct model *m)
{
	uint32_t pool = 1 + random_next(&m->seed) % POOLS, what = random_next(&m->seed) % 100;

	if (what < 80 && m->nr < MAX_LIVE)
		model_alloc(m, pool);
	else if (what < 85)
		model_reserve(m, pool);
	else if (what < 95)
		model_protect(m, pool);
	else
		model_free(m, pool);
}

/* WXPOOL_TEST_SEED repeats a run. */
TEST(random_walk)
{
	uint32_t steps = under_valgrind() ? 1500 : 6000, i;
	const char *seed = getenv("WXPOOL_TEST_SEED");
	struct model *m = calloc(1, sizeof(*m));

	m->seed = seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL);
	printf("# WXPOOL_TEST_SEED=%llu\n", (unsigned long long)m->seed);
	m->w = open_window(16 * MIB);
	for (i = 0; i < steps; i++) {
		model_step(m);
		if (i % 100 == 0)
			model_check(m);
	}
	for (i = 1; i <= POOLS; i++)
		model_free(m, i);
	model_check(m);
	wxp_close(m->w);
	free(m);
}
