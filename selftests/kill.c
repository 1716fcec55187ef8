// SPDX-License-Identifier: GPL-2.0
/*
 * SIGKILL in long operations: what takes long looks for it, gives up and leaves
 * everything as it was; what cannot be left half done is done. How long the
 * process lives on is printed, not judged.
 *
 * WXPOOL_KILL_PAGES: how many pages the operations are about
 */
#include <pthread.h>
#include <sys/ptrace.h>
#include <sys/sysinfo.h>
#include <time.h>

#include "wxpool_group.h"
#include "wxpool_uring.h"
#include "wxpool_util.h"

#define CONTEXT_PARAM	WX_PARAM_DIR "max_bytes_per_context"
#define USER_PARAM	WX_PARAM_DIR "max_bytes_per_user"

#define POOL		1
#define OTHER		2
#define CTX_FD		200	/* the victim's context */
#define TRIES		4

static size_t nr_pages;

static union {
	struct wxpool_alloc_range alloc[WXPOOL_MAX_RANGES];
	struct wxpool_protect_range protect[WXPOOL_MAX_RANGES];
	struct wxpool_install_range install[WXPOOL_MAX_RANGES];
} ranges;

/* A vector of as many ranges as there can be, of all pages */
static size_t pages_of_each(void)
{
	return (nr_pages + WXPOOL_MAX_RANGES - 1) / WXPOOL_MAX_RANGES;
}

static uint32_t nr_ranges(void)
{
	return nr_pages / pages_of_each();
}

/* One line in each of up to @nr pages from @page on */
static uint32_t line_of_each(size_t page, uint32_t nr, unsigned int line)
{
	static const char byte[] = "x";
	uint32_t i;

	for (i = 0; i < nr; i++)
		ranges.install[i] = wx_bytes(PG(page + i) + line * LINE, byte, 1,
					     WXPOOL_PROT_X);
	return nr;
}

static void install_lines(uint32_t pool, unsigned int line)
{
	size_t page;

	for (page = 0; page + WXPOOL_MAX_RANGES <= nr_pages; page += WXPOOL_MAX_RANGES)
		CHILD_CHECK(!wx_install_vec(CTX_FD, pool, ranges.install,
					    line_of_each(page, WXPOOL_MAX_RANGES,
							 line)));
}

/* ------------------------------------------------------- the victim's work */

static void nothing(void)
{
}

static void fill_alloc(void)
{
	uint32_t i;

	for (i = 0; i < nr_ranges(); i++)
		ranges.alloc[i] = wx_alloc_range(i * pages_of_each(), pages_of_each());
}

static int alloc_all(void)
{
	fill_alloc();
	return wx_alloc_vec(CTX_FD, POOL, ranges.alloc, nr_ranges());
}

static void prepare_protect(void)
{
	char *w;

	CHILD_CHECK(!alloc_all());
	w = wx_view(CTX_FD, RW, 0, nr_pages);
	CHILD_CHECK(w != MAP_FAILED && !try_write(w, 1));
}

static int protect_all(void)
{
	uint32_t i;

	for (i = 0; i < nr_ranges(); i++)
		ranges.protect[i] = wx_protect_range(i * pages_of_each(),
						     pages_of_each(), WXPOOL_PROT_X);
	return wx_protect_vec(CTX_FD, POOL, ranges.protect, nr_ranges());
}

static void prepare_free(void)
{
	CHILD_CHECK(!alloc_all());
}

static int free_pool(void)
{
	return wx_free(CTX_FD, POOL);
}

/* As many regions as pages */
static void prepare_free_regions(void)
{
	size_t page;
	uint32_t i;

	for (page = 0; page + WXPOOL_MAX_RANGES <= nr_pages; page += i) {
		for (i = 0; i < WXPOOL_MAX_RANGES; i++)
			ranges.alloc[i] = wx_alloc_range(page + i, 1);
		CHILD_CHECK(!wx_alloc_vec(CTX_FD, POOL, ranges.alloc, i));
	}
}

static void prepare_free_lines(void)
{
	install_lines(POOL, 3);
}

/* A pool for each page, and lines of all of them in pages that they share */
static void prepare_free_pools(void)
{
	size_t nr = nr_pages < 16384 ? nr_pages : 16384, page;

	for (page = 0; page < nr; page++) {
		CHILD_CHECK(!wx_alloc(CTX_FD, 1 + page, page, 1));
		CHILD_CHECK(!wx_install_code(CTX_FD, 1 + page,
					     PG(2 * nr_pages) + page * LINE, 1));
	}
}

static int free_all(void)
{
	return wx_free_all(CTX_FD, 0);
}

/* Each page is another pool's as well, and a child shows it: all are kept */
static void prepare_free_inherited(void)
{
	char *x = wx_view(CTX_FD, RX, 0, nr_pages);
	pid_t pid;

	CHILD_CHECK(x != MAP_FAILED);
	install_lines(POOL, 3);
	install_lines(OTHER, 5);
	pid = wx_fork();
	CHILD_CHECK(pid >= 0);
	if (!pid) {
		for (;;)
			pause();
	}
}

static int revoke_all(void)
{
	return wx_free_all(CTX_FD, WXPOOL_FREE_REVOKE);
}

static char *bytes;

static void prepare_install(void)
{
	bytes = mmap(NULL, WXPOOL_MAX_INSTALL, RW,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHILD_CHECK(bytes != MAP_FAILED);
	memset(bytes, 0x11, WXPOOL_MAX_INSTALL);
}

static int install_all(void)
{
	return wx_install(CTX_FD, POOL, 0, bytes, WXPOOL_MAX_INSTALL,
			  WXPOOL_PROT_X);
}

/* A line in each of many blocks */
static int install_blocks(void)
{
	struct wxpool_info info;
	uint32_t nr, i;

	CHILD_CHECK(!wx_info(CTX_FD, &info));
	if (!info.block_size)
		info.block_size = wx_page_size;
	nr = PG(2 * nr_pages) / info.block_size;
	if (nr > WXPOOL_MAX_RANGES)
		nr = WXPOOL_MAX_RANGES;
	for (i = 0; i < nr; i++)
		ranges.install[i] = wx_bytes((uint64_t)i * info.block_size, "x", 1,
					     WXPOOL_PROT_X);
	return wx_install_flags(CTX_FD, POOL, ranges.install, nr,
				WXPOOL_INSTALL_BLOCKS);
}

static int close_context(void)
{
	return close(CTX_FD);
}

/* Views that cannot merge, all with pages to show */
static void prepare_fork(void)
{
	/* Of all there is, slow kernels are slowest at making views. */
	size_t nr = wx_rounds(nr_pages < 16384 ? nr_pages : 16384), i;
	char *p;

	p = mmap(NULL, PG(nr), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHILD_CHECK(p != MAP_FAILED);
	CHILD_CHECK(!wx_alloc(CTX_FD, POOL, 0, nr));
	CHILD_CHECK(!wx_protect(CTX_FD, POOL, 0, nr, WXPOOL_PROT_X));
	for (i = 0; i < nr; i++) {
		CHILD_CHECK(!wx_view_at(CTX_FD, i % 2 ? RX : PROT_READ, i, 1,
					p + PG(i)));
		CHILD_CHECK(!try_read(p + PG(i)));
	}
}

static int fork_views(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	return pid < 0 ? -errno : 0;
}

static struct io_uring ring;

static void prepare_worker(void)
{
	CHILD_CHECK(!ring_init(&ring, 0));
}

static int alloc_by_worker(void)
{
	struct wxpool_alloc arg = {
		.size = sizeof(arg), .pool = POOL,
		.ranges = (uintptr_t)ranges.alloc, .nr_ranges = nr_ranges(),
	};

	fill_alloc();
	return ring_op(&ring, CTX_FD, WXPOOL_IOC_ALLOC, &arg, IOSQE_ASYNC);
}

/* ---------------------------------------------------------------- fixture */

struct job {
	void (*prepare)(void);
	int (*run)(void);
	bool stops;		/* gives up when a signal comes */
	bool remote;		/* another thread works */
	bool closes;		/* the context is gone afterwards */
};

FIXTURE(kill) {
	struct group group;
	bool grouped;
	long context, user;
};

FIXTURE_VARIANT(kill)
{
	struct job job;
};

FIXTURE_VARIANT_ADD(kill, alloc) {
	.job = { .prepare = nothing, .run = alloc_all, .stops = true },
};

FIXTURE_VARIANT_ADD(kill, protect) {
	.job = { .prepare = prepare_protect, .run = protect_all, .stops = true },
};

FIXTURE_VARIANT_ADD(kill, free) {
	.job = { .prepare = prepare_free, .run = free_pool },
};

FIXTURE_VARIANT_ADD(kill, free_regions) {
	.job = { .prepare = prepare_free_regions, .run = free_pool },
};

FIXTURE_VARIANT_ADD(kill, free_lines) {
	.job = { .prepare = prepare_free_lines, .run = free_pool },
};

FIXTURE_VARIANT_ADD(kill, free_pools) {
	.job = { .prepare = prepare_free_pools, .run = free_all },
};

FIXTURE_VARIANT_ADD(kill, free_inherited) {
	.job = { .prepare = prepare_free_inherited, .run = free_pool },
};

FIXTURE_VARIANT_ADD(kill, revoke) {
	.job = { .prepare = prepare_free_inherited, .run = revoke_all },
};

FIXTURE_VARIANT_ADD(kill, install) {
	.job = { .prepare = prepare_install, .run = install_all, .stops = true },
};

FIXTURE_VARIANT_ADD(kill, install_blocks) {
	.job = { .prepare = nothing, .run = install_blocks, .stops = true },
};

FIXTURE_VARIANT_ADD(kill, close) {
	.job = { .prepare = prepare_free, .run = close_context, .closes = true },
};

FIXTURE_VARIANT_ADD(kill, fork) {
	.job = { .prepare = prepare_fork, .run = fork_views },
};

FIXTURE_VARIANT_ADD(kill, worker) {
	.job = { .prepare = prepare_worker, .run = alloc_by_worker, .remote = true },
};

static int set_limit(const char *param, long bytes)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", bytes);
	return wx_write_file(param, text);
}

/* A third of what is free, so that it can be there twice */
static size_t how_many(void)
{
	const char *env = getenv("WXPOOL_KILL_PAGES");
	struct sysinfo info;
	size_t most = wx_rounds(16384), nr;

	if (env)
		return strtoul(env, NULL, 0);
	sysinfo(&info);
	nr = info.freeram / 3 / wx_page_size;
	return nr < most ? nr : most;
}

FIXTURE_SETUP(kill)
{
	if (access(WX_DEV, F_OK))
		SKIP(return, "no " WX_DEV ": modprobe wxpool first");
	if (geteuid())
		SKIP(return, "only root can change the limits");
	self->context = wx_read_long(CONTEXT_PARAM);
	self->user = wx_read_long(USER_PARAM);
	nr_pages = how_many();
	self->grouped = !group_make(&self->group, "wxpool-kill");
	if (variant->job.remote) {
		RING_OR_SKIP(&ring, 0);
		io_uring_queue_exit(&ring);
	}
	ASSERT_EQ(0, set_limit(CONTEXT_PARAM, PG(4 * nr_pages)));
	ASSERT_EQ(0, set_limit(USER_PARAM, PG(4 * nr_pages)));
}

FIXTURE_TEARDOWN(kill)
{
	if (self->context > 0 && !geteuid()) {
		set_limit(CONTEXT_PARAM, self->context);
		set_limit(USER_PARAM, self->user);
	}
}

/* ------------------------------------------------------ killing and looking */

struct victim {
	pid_t pid;
	int say;		/* where it tells how far it is */
	long cpu;		/* its processor time when it began */
	struct wx_stat before;
};

static void be_victim(const struct group *group, const struct job *job, int say)
{
	int fd;

	if (group)
		CHILD_CHECK(!group_join(group));
	fd = wx_open();
	CHILD_CHECK(fd >= 0 && dup2(fd, CTX_FD) == CTX_FD && !close(fd));
	job->prepare();
	CHILD_CHECK(!ptrace(PTRACE_TRACEME, 0, NULL, NULL));
	raise(SIGSTOP);
	wx_step(say);
	CHILD_CHECK(!job->run());
	wx_step(say);
	for (;;)
		pause();
}

/* Processor time of a process, in ticks */
static long cpu_time(pid_t pid)
{
	unsigned long user = 0, sys = 0;
	char path[64], line[512];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "r");
	if (f && fgets(line, sizeof(line), f))
		sscanf(strrchr(line, ')') + 1,
		       " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
		       &user, &sys);
	if (f)
		fclose(f);
	return user + sys;
}

/* A victim that has begun its work, or 0 and an errno */
static int start(struct victim *v, const struct group *group, const struct job *job)
{
	int say[2], status;

	if (pipe(say))
		return -errno;
	fflush(stdout);
	v->pid = fork();
	if (v->pid < 0)
		return -errno;
	if (!v->pid) {
		close(say[0]);
		be_victim(group, job, say[1]);
	}
	close(say[1]);
	v->say = say[0];
	if (waitpid(v->pid, &status, 0) != v->pid || !WIFSTOPPED(status))
		return -ECHILD;
	ptrace(PTRACE_SETOPTIONS, v->pid, NULL, PTRACE_O_TRACEEXIT);
	if (wx_stat_of(v->pid, CTX_FD, &v->before))
		return -ENODATA;
	v->cpu = cpu_time(v->pid);
	ptrace(PTRACE_CONT, v->pid, NULL, NULL);
	return wx_wait_step(v->say);
}

static long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* What the context is when the process comes to its end; -1 on a mishap */
static int at_the_end(struct victim *v, struct wx_stat *st)
{
	int status, ret;

	while ((ret = waitpid(v->pid, &status, 0)) == v->pid && WIFSTOPPED(status) &&
	       status >> 8 != (SIGTRAP | PTRACE_EVENT_EXIT << 8))
		ptrace(PTRACE_CONT, v->pid, NULL, NULL);
	if (ret != v->pid || !WIFSTOPPED(status))
		return -1;
	return wx_stat_of(v->pid, CTX_FD, st);
}

static void let_end(struct victim *v)
{
	ptrace(PTRACE_CONT, v->pid, NULL, NULL);
	wx_wait(v->pid);
	close(v->say);
}

/* How long all of it takes, and what it makes of the context */
static long see_all(const struct group *group, const struct job *job,
		    struct wx_stat *done)
{
	struct victim v;
	long ms;

	if (start(&v, group, job))
		return -1;
	ms = now_ms();
	if (wx_wait_step(v.say))
		return -1;
	ms = now_ms() - ms;
	memset(done, 0, sizeof(*done));
	if (!job->closes && wx_stat_of(v.pid, CTX_FD, done))
		return -1;
	kill(v.pid, SIGKILL);
	at_the_end(&v, done);
	let_end(&v);
	return ms;
}

/* What became of the operation of a process that was killed in it */
enum fate { MISHAP, UNTOUCHED, UNDONE, DONE, TORN };

static enum fate fate_of(const struct job *job, const struct victim *v,
			 const struct wx_stat *done, struct wx_stat *end, int err)
{
	if (err)
		return job->closes ? DONE : MISHAP;
	if (wx_same_counts(end, &v->before))
		return UNDONE;
	return wx_same_counts(end, done) ? DONE : TORN;
}

/* Kills a process that has worked for some milliseconds. */
static enum fate kill_at(const struct group *group, const struct job *job,
			 const struct wx_stat *done, long delay)
{
	struct wx_stat end;
	struct victim v;
	enum fate fate;
	long killed, returned, cpu;
	bool worked;
	int err;

	if (start(&v, group, job))
		return MISHAP;
	usleep(delay * 1000);
	cpu = cpu_time(v.pid);
	worked = cpu > v.cpu;
	killed = now_ms();
	kill(v.pid, SIGKILL);
	err = at_the_end(&v, &end);
	returned = now_ms();
	cpu = cpu_time(v.pid) - cpu;
	fate = fate_of(job, &v, done, &end, err);
	if (fate == UNDONE && !worked)
		fate = UNTOUCHED;
	let_end(&v);
	printf("# killed after %ld ms: %s %ld ms later (%ld ms of processor time), gone after %ld ms\n",
	       delay, fate == DONE ? "done" : "as before", returned - killed,
	       cpu * 1000 / sysconf(_SC_CLK_TCK), now_ms() - killed);
	fflush(stdout);
	return fate;
}

/*
 * Killed at some points of its way, the operation is done or undone. One that
 * looks for signals, and takes long enough to tell, is undone at least once
 * when it had worked already. How far it is when the signal comes nobody knows
 * on a busy machine, nor if it took as long when it was undisturbed: so it is tried
 * more often, and ever earlier.
 */
TEST_F(kill, half_way)
{
	const struct group *group = self->grouped ? &self->group : NULL;
	unsigned int i, undone = 0;
	struct wx_stat done;
	enum fate fate;
	bool must_stop;
	long ms;

	ms = see_all(group, &variant->job, &done);
	ASSERT_GE(ms, 0);
	printf("# %zu pages, undisturbed: %ld ms\n", nr_pages, ms);
	must_stop = variant->job.stops && !variant->job.remote && ms >= 100;
	for (i = 0; i < TRIES || (must_stop && !undone && i < 40); i++) {
		fate = kill_at(group, &variant->job, &done,
			       (ms * (TRIES - i % TRIES) / (TRIES + 1)) >> (i / TRIES / 2));
		ASSERT_NE(MISHAP, fate);
		ASSERT_NE(TORN, fate);
		undone += fate == UNDONE;
	}
	EXPECT_TRUE(undone || !must_stop);
	/* Grandchildren and workers may take a moment longer. */
	while (!wx_nothing_charged())
		usleep(100000);
}

static pid_t forked_by;

static void until_orphaned(void)
{
	while (getppid() == forked_by)
		usleep(1000);
}

/* The tests' children go with the process that forked them, however soon that goes. */
TEST_F(ctx, child_of_the_dead)
{
	int says[2];
	pid_t pid;

	ASSERT_EQ(0, pipe(says));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		forked_by = getpid();
		if (!pthread_atfork(NULL, NULL, until_orphaned) && !wx_fork())
			pause();
		_exit(0);
	}
	close(says[1]);
	ASSERT_EQ(0, wx_wait(pid));
	/* Its end is closed when it is gone. */
	EXPECT_EQ(-1, wx_wait_step(says[0]));
}

/* ---------------------------------------------------------- who has to wait */

/* What another process does with a context, while its owner keeps it busy */
static void wait_in_fault(int fd, char *x)
{
	madvise(x, PG(1), MADV_DONTNEED);
	try_read(x);
}

static void wait_in_info(int fd, char *x)
{
	wx_id(fd);
}

static void wait_in_fdinfo(int fd, char *x)
{
	struct wx_stat st;

	wx_stat_of(getpid(), fd, &st);
}

FIXTURE(wait) {
	long context, user;
};

FIXTURE_VARIANT(wait)
{
	void (*waits)(int fd, char *x);
};

FIXTURE_VARIANT_ADD(wait, fault) {
	.waits = wait_in_fault,
};

FIXTURE_VARIANT_ADD(wait, info) {
	.waits = wait_in_info,
};

FIXTURE_VARIANT_ADD(wait, fdinfo) {
	.waits = wait_in_fdinfo,
};

FIXTURE_SETUP(wait)
{
	if (access(WX_DEV, F_OK))
		SKIP(return, "no " WX_DEV ": modprobe wxpool first");
	if (geteuid())
		SKIP(return, "only root can change the limits");
	self->context = wx_read_long(CONTEXT_PARAM);
	self->user = wx_read_long(USER_PARAM);
	nr_pages = how_many();
	ASSERT_EQ(0, set_limit(CONTEXT_PARAM, PG(4 * nr_pages)));
	ASSERT_EQ(0, set_limit(USER_PARAM, PG(4 * nr_pages)));
}

FIXTURE_TEARDOWN(wait)
{
	if (self->context > 0 && !geteuid()) {
		set_limit(CONTEXT_PARAM, self->context);
		set_limit(USER_PARAM, self->user);
	}
}

static void be_waiter(int sock, void (*waits)(int fd, char *x))
{
	int fd = wx_recv_fd(sock);
	char *x;

	CHILD_CHECK(fd >= 0);
	x = wx_view(fd, RX, 0, 1);
	CHILD_CHECK(x != MAP_FAILED);
	waits(fd, x);
	wx_step(sock);
	for (;;)
		waits(fd, x);
}

static atomic_bool busy_done;

static void *be_busy(void *arg)
{
	CHILD_CHECK(!free_all());
	busy_done = true;
	return NULL;
}

/*
 * Kills a process that waits for the context while FREE of all has it. Is it gone
 * before FREE is done? @ms: how long that took; -1 on a mishap
 */
static bool waiter_goes_first(void (*waits)(int fd, char *x), long *ms)
{
	pthread_t thread;
	bool first;
	int sock[2];
	pid_t pid;
	long begun;

	*ms = -1;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sock))
		return false;
	fflush(stdout);
	pid = wx_fork();
	if (!pid) {
		close(sock[0]);
		be_waiter(sock[1], waits);
	}
	close(sock[1]);
	if (pid < 0 || dup2(wx_open(), CTX_FD) != CTX_FD)
		return false;
	prepare_free_pools();
	if (wx_send_fd(sock[0], CTX_FD) || wx_wait_step(sock[0]))
		return false;
	busy_done = false;
	begun = now_ms();
	if (pthread_create(&thread, NULL, be_busy, NULL))
		return false;
	usleep(20000);
	kill(pid, SIGKILL);
	if (wx_wait(pid) != 256 + SIGKILL)
		return false;
	first = !busy_done;
	pthread_join(thread, NULL);
	*ms = now_ms() - begun;
	close(CTX_FD);
	close(sock[0]);
	return first;
}

/* Whoever waits for a context that is busy can be killed, and goes at once. */
TEST_F(wait, is_killable)
{
	unsigned int tries = 0;
	long ms = 0;
	bool first;

	do {
		first = waiter_goes_first(variant->waits, &ms);
		ASSERT_GE(ms, 0);
		printf("# FREE took %ld ms, %s\n", ms,
		       first ? "the killed one was gone before" : "and then it was gone");
		fflush(stdout);
	} while (!first && ++tries < 20);
	/* FREE may be too quick to tell. */
	EXPECT_TRUE(first || ms < 200);
}

FIXTURE(after) {
};

FIXTURE_SETUP(after)
{
}

FIXTURE_TEARDOWN(after)
{
}

TEST_F(after, no_page_is_left)
{
	const char *why = group_await_empty("wxpool-kill");

	if (why)
		SKIP(return, "%s", why);
}

TEST_HARNESS_MAIN
