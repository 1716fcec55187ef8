// SPDX-License-Identifier: GPL-2.0
/*
 * Several CPUs at once: faults and attempts to write against ALLOC, PROTECT,
 * FREE, fork and exit. Rounds are counted and nothing is timed; each round
 * goes on only when the other threads have had their part in it.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/uio.h>

#include "wxpool_util.h"

#define POOL	1
#define PAGES	8

/* ---------------------------------------------------------- write and seal */

/* What the pages are, for certain, while the value does not change */
enum { UNSURE, UNSEALED, SEALED };

struct race {
	bool (*methods[3])(struct race *race, char **own, size_t page);
	int fd, mem, zero;
	char *w, *x;			/* views of PAGES pages */
	atomic_bool stop;
	atomic_ulong stage;		/* round * 4 + one of the above */
	atomic_ulong tries, hits;	/* attempts to write, and successes */
	atomic_ulong broken;		/* successes while sealed */
};

static bool by_store(struct race *race, char **own, size_t page)
{
	return !try_write(race->w + PG(page) + 64, rand());
}

static bool by_vm_writev(struct race *race, char **own, size_t page)
{
	char byte = (char)page;
	struct iovec local = { &byte, 1 };
	struct iovec remote = { race->w + PG(page) + 65, 1 };

	return process_vm_writev(getpid(), &local, 1, &remote, 1, 0) == 1;
}

static bool by_proc_mem(struct race *race, char **own, size_t page)
{
	char byte = (char)rand();
	bool x = rand() & 1;

	return pwrite(race->mem, &byte, 1, (off_t)(uintptr_t)
		      ((x ? race->x : race->w) + PG(page) + 66)) == 1;
}

static bool by_read(struct race *race, char **own, size_t page)
{
	return read(race->zero, race->w + PG(page) + 1024, 2048) > 0;
}

static bool by_new_view(struct race *race, char **own, size_t page)
{
	char *w = wx_view(race->fd, RW, page, 1);
	bool hit;

	if (w == MAP_FAILED)
		return false;
	hit = !try_write(w + 67, rand());
	munmap(w, PG(1));
	return hit;
}

static bool by_mprotect(struct race *race, char **own, size_t page)
{
	char *p = *own + PG(page);

	wx_mprotect(p, 1, PROT_READ);
	try_read(p);
	wx_mprotect(p, 1, RW);
	return !try_write(p + 68, rand());
}

static bool by_madvise(struct race *race, char **own, size_t page)
{
	char *p = *own + PG(page);

	madvise(p, PG(1), MADV_DONTNEED);
	if (!madvise(p, PG(1), 23 /* MADV_POPULATE_WRITE */))
		return !try_write(p + 69, rand());
	return false;
}

static bool by_mlock(struct race *race, char **own, size_t page)
{
	char *p = *own + PG(page);
	bool hit;

	mlock(p, PG(1));
	hit = !try_write(p + 70, rand());
	munlock(p, PG(1));
	return hit;
}

static bool by_mremap(struct race *race, char **own, size_t page)
{
	char *to = mremap(*own, PG(PAGES), PG(PAGES),
			  MREMAP_MAYMOVE | MREMAP_FIXED,
			  *own + (page & 1 ? PG(PAGES) : -PG(PAGES)));

	if (to != MAP_FAILED)
		*own = to;
	return !try_write(*own + PG(page) + 71, rand());
}

/* There is no second W view to be had from a first, nor a larger one. */
static bool by_duplicate(struct race *race, char **own, size_t page)
{
	if (mremap(*own + PG(page), 0, PG(1), MREMAP_MAYMOVE) != MAP_FAILED ||
	    mremap(*own + PG(page), PG(1), PG(2), MREMAP_MAYMOVE) != MAP_FAILED)
		race->broken++;
	return !try_write(*own + PG(page) + 72, rand());
}

/*
 * In a child, through a W view that it should not have: with MADV_DOFORK the
 * mapping is copied, and with a guard page in it the page tables are as well.
 */
static bool by_child(struct race *race, char **own, size_t page)
{
	char *guard = *own + PG(PAGES);
	pid_t pid;

	/* No new child after FREE: what it shows would be kept for ever. */
	if (race->stage % 4 == UNSURE)
		return false;
	if (!wx_view_at(race->fd, RW, PAGES, 1, guard))
		madvise(guard, PG(1), 102 /* MADV_GUARD_INSTALL */);
	madvise(*own, PG(PAGES + 1), MADV_DOFORK);
	madvise(race->w, PG(PAGES), MADV_DOFORK);
	try_write(*own + PG(page) + 73, rand());
	pid = fork();
	/* No rand() here, whose lock another thread may have held. */
	if (!pid)
		_exit(!try_write(*own + PG(page) + 73, page) ||
		      !try_write(race->w + PG(page) + 74, page));
	/* At no stage is this right. */
	if (pid > 0 && wx_wait(pid))
		race->broken++;
	return false;
}

struct race_thread {
	pthread_t thread;
	struct race *race;
	unsigned int nr;
};

static void *writer(void *arg)
{
	struct race_thread *t = arg;
	struct race *race = t->race;
	unsigned long before;
	unsigned int i = t->nr;
	char *own;
	bool hit;

	/* A W view of the thread's own, with room on both sides to move it */
	own = mmap(NULL, PG(PAGES * 3), PROT_NONE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	own += PG(PAGES);
	if (wx_view_at(race->fd, RW, 0, PAGES, own))
		return NULL;
	while (!race->stop) {
		before = race->stage;
		hit = race->methods[t->nr](race, &own, i++ % PAGES);
		race->tries++;
		race->hits += hit;
		if (hit && before % 4 == SEALED && before == race->stage)
			race->broken++;
	}
	return NULL;
}

/* Waits until the threads have done their share, with a glance at the rest. */
static void wait_for(atomic_ulong *count, unsigned long more)
{
	unsigned long until = *count + more;

	while (*count < until)
		sched_yield();
}

FIXTURE(race) {
	struct race race;
	struct race_thread threads[3];
};

FIXTURE_VARIANT(race)
{
	bool (*methods[3])(struct race *race, char **own, size_t page);
	unsigned int rounds;
};

FIXTURE_VARIANT_ADD(race, stores) {
	.methods = { by_store, by_store, by_store }, .rounds = 100,
};

FIXTURE_VARIANT_ADD(race, kernel) {
	.methods = { by_vm_writev, by_proc_mem, by_read }, .rounds = 80,
};

FIXTURE_VARIANT_ADD(race, mappings) {
	.methods = { by_new_view, by_mprotect, by_madvise }, .rounds = 50,
};

FIXTURE_VARIANT_ADD(race, more_mappings) {
	.methods = { by_mlock, by_mremap, by_duplicate }, .rounds = 50,
};

FIXTURE_VARIANT_ADD(race, children) {
	.methods = { by_store, by_store, by_child }, .rounds = 40,
};

FIXTURE_SETUP(race)
{
	struct race *race = &self->race;
	int i;

	memset(race, 0, sizeof(*race));
	race->fd = wx_open();
	if (race->fd == -ENOENT)
		SKIP(return, "no " WX_DEV ": modprobe wxpool first");
	ASSERT_GE(race->fd, 0);
	race->mem = open("/proc/self/mem", O_RDWR);
	race->zero = open("/dev/zero", O_RDONLY);
	race->w = wx_view(race->fd, RW, 0, PAGES);
	race->x = wx_view(race->fd, RX, 0, PAGES);
	ASSERT_NE(MAP_FAILED, race->w);
	ASSERT_NE(MAP_FAILED, race->x);
	for (i = 0; i < 3; i++)
		race->methods[i] = variant->methods[i];
}

FIXTURE_TEARDOWN(race)
{
}

/*
 * Rounds of ALLOC, PROTECT and FREE under fire. Once PROTECT has returned, no
 * attempt succeeds, and the pages stay as they were at that moment. Faults and
 * unmappings in flight may be seen as pins for an instant: those are retried.
 */
TEST_F(race, seal_under_fire)
{
	static char snap[PAGES * 65536];
	struct race *race = &self->race;
	unsigned int rounds = wx_rounds(variant->rounds), round;
	unsigned long busy = 0;
	int i, ret;

	for (i = 0; i < 3; i++) {
		self->threads[i].race = race;
		self->threads[i].nr = i;
		ASSERT_EQ(0, pthread_create(&self->threads[i].thread, NULL,
					    writer, &self->threads[i]));
	}
	for (round = 0; round < rounds; round++) {
		/* A child that one of the methods made may still show them. */
		while ((ret = wx_alloc(race->fd, POOL, 0, PAGES)) == -EEXIST)
			sched_yield();
		ASSERT_EQ(0, ret);
		race->stage = round * 4 + UNSEALED;
		wait_for(&race->hits, PAGES);
		while ((ret = wx_protect(race->fd, POOL, 0, PAGES,
					 WXPOOL_PROT_X)) == -EBUSY)
			busy++;
		ASSERT_EQ(0, ret);
		memcpy(snap, race->x, PG(PAGES));
		race->stage = round * 4 + SEALED;
		wait_for(&race->tries, 3 * PAGES);
		ASSERT_EQ(0, memcmp(snap, race->x, PG(PAGES)));
		race->stage = round * 4 + UNSURE;
		ASSERT_EQ(0, wx_free(race->fd, POOL));
	}
	race->stop = true;
	for (i = 0; i < 3; i++)
		pthread_join(self->threads[i].thread, NULL);
	EXPECT_EQ(0, atomic_load(&race->broken));
	EXPECT_GT(atomic_load(&race->hits), rounds);
	TH_LOG("%lu attempts, %lu successful, %lu seals retried",
	       (unsigned long)race->tries, (unsigned long)race->hits, busy);
	EXPECT_EQ(-ENOENT, wx_free(race->fd, POOL));
	EXPECT_STAT(race->fd, 0, 0, 0, 0, 0);
}

/* ---------------------------------------------------------------- free */

/* Makes the one page fault again and again, in views that all threads share. */
static void *toucher(void *arg)
{
	struct race *race = arg;

	while (!race->stop) {
		madvise(race->w, PG(1), MADV_DONTNEED);
		race->hits += !try_write(race->w, 1);
		madvise(race->x, PG(1), MADV_DONTNEED);
		race->hits += !try_read(race->x);
		race->tries++;
	}
	return NULL;
}

/* When FREE has returned, no fault brings the page back. */
TEST_F(ctx, free_under_fire)
{
	struct race race = { .fd = self->fd };
	unsigned int rounds = wx_rounds(400), round;
	pthread_t threads[3];
	int i, ret;

	race.w = wx_view(self->fd, RW, 0, 1);
	race.x = wx_view(self->fd, RX, 0, 1);
	ASSERT_NE(MAP_FAILED, race.w);
	ASSERT_NE(MAP_FAILED, race.x);
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, toucher, &race));
	for (round = 0; round < rounds; round++) {
		ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 1));
		while (round % 2 && (ret = wx_protect(self->fd, POOL, 0, 1,
						      WXPOOL_PROT_X)))
			ASSERT_EQ(-EBUSY, ret);
		wait_for(&race.hits, 3);
		ASSERT_EQ(0, wx_free(self->fd, POOL));
		for (i = 0; i < 3; i++) {
			EXPECT_EQ(SIGBUS, try_read(race.w));
			EXPECT_EQ(SIGBUS, try_read(race.x));
			sched_yield();
		}
	}
	race.stop = true;
	for (i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
}

/* ------------------------------------------------------- run while it moves */

#define CODE	0x51000000u

struct window {
	int fd;
	char *win;
	atomic_bool stop;
	atomic_ulong calls, strange;
};

/* Calls whatever is there: a function of that page, or a signal, else broken */
static void *caller(void *arg)
{
	struct window *window = arg;
	unsigned int i = 0;
	uint32_t val;

	while (!window->stop) {
		i = (i + 1) % PAGES;
		if (try_exec(window->win + PG(i), &val))
			continue;
		window->calls++;
		if (val >> 24 != CODE >> 24 || val % PAGES != i)
			window->strange++;
	}
	return NULL;
}

/* In place: each page becomes a W view, an X view and nothing, over and over. */
TEST_F(ctx, call_while_sealed_in_place)
{
	struct window window = { .fd = self->fd, .win = self->win };
	unsigned int rounds = wx_rounds(100), round;
	pthread_t threads[3];
	int i, ret;

	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, caller, &window));
	for (round = 0; round < rounds; round++) {
		ASSERT_EQ(0, wx_alloc_at(self->fd, POOL, 0, PAGES, self->win));
		for (i = 0; i < PAGES; i++)
			wx_emit(self->win + PG(i), CODE + round * PAGES + i);
		while ((ret = wx_protect_at(self->fd, POOL, 0, PAGES,
					    WXPOOL_PROT_X, self->win)) == -EBUSY)
			;
		ASSERT_EQ(0, ret);
		wait_for(&window.calls, PAGES);
		ASSERT_EQ(0, wx_free(self->fd, POOL));
	}
	window.stop = true;
	for (i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	EXPECT_EQ(0, atomic_load(&window.strange));
}

/* -------------------------------------------------------------- churn, fork */

#define MAGIC	0x77a0000000000000ull

/* Two threads make and free sealed pages, each in its half; others look. */
struct churn {
	int fd;
	char *w, *x, *r;		/* views of 2 * PAGES pages */
	atomic_bool stop;
	atomic_ulong rounds, looks, strange, failed;
};

struct churner {
	pthread_t thread;
	struct churn *churn;
	size_t first;
};

static void *churner(void *arg)
{
	struct churner *c = arg;
	struct churn *churn = c->churn;
	uint32_t pool = 10 + c->first;
	uint64_t *p, round;
	size_t i, page;
	int ret;

	for (round = 0; !churn->stop; round++) {
		/* A child may still show what was freed last. */
		ret = wx_alloc(churn->fd, pool, c->first, PAGES);
		if (ret == -EEXIST) {
			sched_yield();
			continue;
		}
		churn->failed += !!ret;
		for (page = c->first; page < c->first + PAGES; page++) {
			p = (uint64_t *)(churn->w + PG(page));
			for (i = 0; i < PG(1) / 8; i += 8)
				churn->failed += p[i] != 0;
			for (i = 0; i < PG(1) / 8; i++)
				p[i] = MAGIC | (round & 0xffffff) << 16 | page;
		}
		while ((ret = wx_protect(churn->fd, pool, c->first, PAGES,
					 WXPOOL_PROT_X)) == -EBUSY)
			;
		churn->failed += !!ret;
		churn->failed += !!wx_free(churn->fd, pool);
		churn->rounds++;
	}
	return NULL;
}

/* A page shows its own bytes, or nothing; as long as it is open, also zeros. */
static bool strange_word(const char *view, size_t page, size_t word, bool zero)
{
	const volatile uint64_t *p = (const void *)(view + PG(page));
	volatile uint64_t val = 0;
	int sig = WX_CATCH(val = p[word]);

	if (sig)
		return false;
	if (!val && zero)
		return false;
	return (val & 0xffff00000000ffffull) != (MAGIC | page);
}

static unsigned long count_strange(struct churn *churn, size_t pages)
{
	unsigned long n = 0;
	size_t page;

	for (page = 0; page < pages; page++) {
		n += strange_word(churn->x, page, 0, false);
		n += strange_word(churn->r, page, PG(1) / 8 - 1, false);
		n += strange_word(churn->r, page, page, false);
		n += strange_word(churn->w, page, 5, true);
	}
	return n;
}

static void *looker(void *arg)
{
	struct churn *churn = arg;

	while (!churn->stop) {
		churn->strange += count_strange(churn, 2 * PAGES);
		churn->looks++;
	}
	return NULL;
}

FIXTURE(churn) {
	struct churn churn;
	struct churner churners[2];
	pthread_t looker;
};

FIXTURE_SETUP(churn)
{
	struct churn *churn = &self->churn;
	size_t nr = 2 * PAGES;
	int i;

	memset(churn, 0, sizeof(*churn));
	churn->fd = wx_open();
	if (churn->fd == -ENOENT)
		SKIP(return, "no " WX_DEV ": modprobe wxpool first");
	ASSERT_GE(churn->fd, 0);
	churn->w = wx_view(churn->fd, RW, 0, nr);
	churn->x = wx_view(churn->fd, RX, 0, nr);
	churn->r = wx_view(churn->fd, PROT_READ, 0, nr);
	ASSERT_NE(MAP_FAILED, churn->w);
	ASSERT_NE(MAP_FAILED, churn->x);
	ASSERT_NE(MAP_FAILED, churn->r);
	for (i = 0; i < 2; i++) {
		self->churners[i].churn = churn;
		self->churners[i].first = i * PAGES;
		ASSERT_EQ(0, pthread_create(&self->churners[i].thread, NULL,
					    churner, &self->churners[i]));
	}
	ASSERT_EQ(0, pthread_create(&self->looker, NULL, looker, churn));
}

FIXTURE_TEARDOWN(churn)
{
}

#define END_CHURN() do {						\
	self->churn.stop = true;					\
	pthread_join(self->churners[0].thread, NULL);			\
	pthread_join(self->churners[1].thread, NULL);			\
	pthread_join(self->looker, NULL);				\
	EXPECT_EQ(0, atomic_load(&self->churn.strange));		\
	EXPECT_EQ(0, atomic_load(&self->churn.failed));			\
} while (0)

TEST_F(churn, looks)
{
	unsigned int rounds = wx_rounds(250), looks = wx_rounds(150);
	struct wx_stat st;

	while (self->churn.rounds < rounds || self->churn.looks < looks) {
		st = wx_stat(self->churn.fd);
		ASSERT_LE(st.open + st.read + st.exec, 2 * PAGES);
		ASSERT_LE(st.pools, 2);
		ASSERT_EQ(0, st.read + st.exec_only + st.kept);
	}
	END_CHURN();
	EXPECT_STAT(self->churn.fd, 0, 0, 0, 0, 0);
}

/* Runs the code of its page for a while, then looks at what others churn. */
static void churn_child(struct churn *churn, const char *code, uint32_t want)
{
	unsigned int looks = wx_rounds(30), i;
	uint32_t val;

	for (i = 0; i < looks; i++) {
		if (try_exec(code, &val) || val != want)
			_exit(1);
		if (count_strange(churn, 2 * PAGES))
			_exit(2);
		sched_yield();
	}
	_exit(0);
}

/*
 * Waves of children, whose code the owner frees as soon as they are born,
 * while other threads take their pages through their states. The churn stands
 * still while children show what was freed, and goes on between the waves.
 */
TEST_F(churn, forks)
{
	struct churn *churn = &self->churn;
	unsigned int waves = wx_rounds(15), wave, i;
	const size_t page = 100;
	pid_t pids[4];
	char *x;

	x = wx_view(churn->fd, RX, page, 4);
	ASSERT_NE(MAP_FAILED, x);
	for (wave = 0; wave < waves; wave++) {
		wait_for(&churn->rounds, 3);
		for (i = 0; i < 4; i++) {
			uint32_t code = CODE + wave * 4 + i;

			ASSERT_EQ(0, wx_make_code(churn->fd, 1 + i, page + i,
						  code));
			pids[i] = fork();
			ASSERT_GE(pids[i], 0);
			if (!pids[i])
				churn_child(churn, x + PG(i), code);
			ASSERT_EQ(0, wx_free(churn->fd, 1 + i));
			wait_for(&churn->looks, 1);
		}
		for (i = 0; i < 4; i++)
			EXPECT_EQ(0, wx_wait(pids[i]));
	}
	END_CHURN();
	/* What was kept went with the last child that showed it. */
	EXPECT_STAT(churn->fd, 0, 0, 0, 0, 0);
}

/* ------------------------------------------------------------ many at a time */

struct contest {
	int fd;
	unsigned int rounds;
	pthread_barrier_t start, end;
	int ret[3];
	uint64_t freed[3];
	char bytes[3 * LINE];
	int (*op)(struct contest *contest, unsigned int nr);
};

struct contestant {
	pthread_t thread;
	struct contest *contest;
	unsigned int nr;
};

static int contest_alloc(struct contest *contest, unsigned int nr)
{
	/* Each overlaps its neighbours. */
	return wx_alloc(contest->fd, 1 + nr, nr * 2, 5);
}

static int contest_protect(struct contest *contest, unsigned int nr)
{
	return wx_protect(contest->fd, POOL, 0, 5, WXPOOL_PROT_R + nr);
}

static int contest_free(struct contest *contest, unsigned int nr)
{
	struct wxpool_free arg;
	int ret = wx_free_out(contest->fd, POOL, &arg);

	contest->freed[nr] = ret ? 0 : arg.pages_freed;
	return ret;
}

/* Line 5 of page 20 is in the ranges of all, and lines that are not. */
static int contest_install(struct contest *contest, unsigned int nr)
{
	struct wxpool_install_range r[2];

	r[0] = wx_bytes(PG(21) + nr * LINE, "x", 1, WXPOOL_PROT_X);
	r[1] = wx_bytes(PG(20) + (3 + nr) * LINE, contest->bytes, 3 * LINE,
			WXPOOL_PROT_X);
	return wx_install_vec(contest->fd, 1 + nr, r, 2);
}

/* Each two of three pools: any two contestants want one of them both. */
static int contest_free_two(struct contest *contest, unsigned int nr)
{
	const uint32_t pools[] = { 1 + nr, 1 + (nr + 1) % 3 };

	return wx_free_many(contest->fd, pools, 2);
}

static void *contestant(void *arg)
{
	struct contestant *c = arg;
	struct contest *contest = c->contest;
	unsigned int round;

	for (round = 0; round < contest->rounds; round++) {
		pthread_barrier_wait(&contest->start);
		contest->ret[c->nr] = contest->op(contest, c->nr);
		pthread_barrier_wait(&contest->end);
	}
	return NULL;
}

static int count_ret(const struct contest *contest, int ret)
{
	return (contest->ret[0] == ret) + (contest->ret[1] == ret) +
	       (contest->ret[2] == ret);
}

/* Of the same thing tried by three threads exactly one succeeds. */
#define ONE_WINNER(what, err) do {					\
	contest.op = what;						\
	pthread_barrier_wait(&contest.start);				\
	pthread_barrier_wait(&contest.end);				\
	EXPECT_EQ(1, count_ret(&contest, 0));				\
	EXPECT_EQ(2, count_ret(&contest, err));				\
} while (0)

TEST_F(ctx, one_winner)
{
	struct contest contest = { .fd = self->fd, .rounds = 5 * wx_rounds(100) };
	struct contestant c[3];
	unsigned int round;
	struct wx_stat st;
	int i;

	pthread_barrier_init(&contest.start, NULL, 4);
	pthread_barrier_init(&contest.end, NULL, 4);
	for (i = 0; i < 3; i++) {
		c[i] = (struct contestant) { .contest = &contest, .nr = i };
		ASSERT_EQ(0, pthread_create(&c[i].thread, NULL, contestant, &c[i]));
	}
	for (round = 0; round < contest.rounds / 5; round++) {
		/* 0 and 2 may both have been before 1: they share page 4. */
		ONE_WINNER(contest_alloc, -EEXIST);
		EXPECT_EQ(5, wx_stat(self->fd).open);
		for (i = 0; i < 3; i++)
			EXPECT_EQ(contest.ret[i] ? -ENOENT : 0,
				  wx_free(self->fd, 1 + i));

		ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 5));
		ONE_WINNER(contest_protect, -EPERM);
		st = wx_stat(self->fd);
		EXPECT_EQ(contest.ret[0] ? 0 : 5, st.read);
		EXPECT_EQ(contest.ret[1] ? 0 : 5, st.exec);
		EXPECT_EQ(contest.ret[2] ? 0 : 5, st.exec_only);

		ONE_WINNER(contest_free, -ENOENT);
		EXPECT_EQ(5, contest.freed[0] + contest.freed[1] +
			     contest.freed[2]);

		ONE_WINNER(contest_install, -EEXIST);
		EXPECT_PACKED(self->fd, 2, 4, 0);
		EXPECT_EQ(0, wx_free_all(self->fd, 0));

		for (i = 1; i <= 3; i++)
			ASSERT_EQ(0, wx_alloc(self->fd, i, i, 1));
		ONE_WINNER(contest_free_two, -ENOENT);
		EXPECT_STAT(self->fd, 1, 1, 0, 0, 0);
		EXPECT_EQ(0, wx_free_all(self->fd, 0));
	}
	for (i = 0; i < 3; i++)
		pthread_join(c[i].thread, NULL);
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
}

/* ------------------------------------------------------------- sudden death */

/* A process with all of the above going on, until it is killed */
static void doomed(int ready, unsigned int head_start)
{
	struct churn churn = { .fd = wx_open() };
	struct churner c[2];
	pthread_t look;
	int i;

	CHILD_CHECK(churn.fd >= 0);
	churn.w = wx_view(churn.fd, RW, 0, 2 * PAGES);
	churn.x = wx_view(churn.fd, RX, 0, 2 * PAGES);
	churn.r = wx_view(churn.fd, PROT_READ, 0, 2 * PAGES);
	for (i = 0; i < 2; i++) {
		c[i] = (struct churner) { .churn = &churn, .first = i * PAGES };
		CHILD_CHECK(!pthread_create(&c[i].thread, NULL, churner, &c[i]));
	}
	CHILD_CHECK(!pthread_create(&look, NULL, looker, &churn));
	while (churn.rounds < head_start)
		sched_yield();
	wx_step(ready);
	for (;;)
		pause();
}

TEST_F(ctx, killed_at_work)
{
	unsigned long before, after;
	unsigned int i;
	int ready[2];
	pid_t pid;

	before = wx_read_long("/sys/module/wxpool/refcnt");
	for (i = 0; i < 12; i++) {
		ASSERT_EQ(0, pipe(ready));
		pid = wx_fork();
		ASSERT_GE(pid, 0);
		if (!pid)
			doomed(ready[1], i);
		close(ready[1]);
		ASSERT_EQ(0, wx_wait_step(ready[0]));
		close(ready[0]);
		kill(pid, SIGKILL);
		ASSERT_EQ(256 + SIGKILL, wx_wait(pid));
	}
	after = wx_read_long("/sys/module/wxpool/refcnt");
	EXPECT_EQ(before, after);
	EXPECT_EQ(0, wx_make_code(self->fd, POOL, 0, 1));
}

TEST_HARNESS_MAIN
