// SPDX-License-Identifier: GPL-2.0
/*
 * SIGKILL in long operations: what takes long looks for it, gives up and leaves
 * everything as it was; what cannot be left half done is done. How long the
 * process lives on is printed, not judged.
 *
 * WXPOOL_KILL_PAGES: how many pages the operations are about
 */
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/sysinfo.h>
#include <time.h>

#include "wxpool_group.h"
#include "wxpool_uring.h"
#include "wxpool_util.h"

#define CONTEXT_PARAM	WX_PARAM_DIR "max_pages_per_context"
#define USER_PARAM	WX_PARAM_DIR "max_pages_per_user"

#define POOL		1
#define OTHER		2
#define CTX_FD		200	/* the victim's context */
#define TRIES		4

static size_t nr_pages;

static struct wxpool_range ranges[WXPOOL_MAX_RANGES];

/* A vector of as many ranges as there can be, of all pages */
static uint32_t all_pages(uint32_t prot)
{
	size_t each = (nr_pages + WXPOOL_MAX_RANGES - 1) / WXPOOL_MAX_RANGES;
	uint32_t nr = nr_pages / each, i;

	for (i = 0; i < nr; i++)
		ranges[i] = wx_range(i * each, each, prot, NULL);
	return nr;
}

/* One line in each of up to @nr pages from @page on */
static uint32_t line_of_each(size_t page, uint32_t nr, unsigned int line)
{
	static const char byte[] = "x";
	uint32_t i;

	for (i = 0; i < nr; i++)
		ranges[i] = wx_bytes(PG(page + i) + line * LINE, byte, 1,
				     WXPOOL_PROT_X);
	return nr;
}

static void install_lines(uint32_t pool, unsigned int line)
{
	size_t page;

	for (page = 0; page + WXPOOL_MAX_RANGES <= nr_pages; page += WXPOOL_MAX_RANGES)
		CHILD_CHECK(!wx_install_vec(CTX_FD, pool, ranges,
					    line_of_each(page, WXPOOL_MAX_RANGES,
							 line)));
}

/* ------------------------------------------------------- the victim's work */

static void nothing(void)
{
}

static int alloc_all(void)
{
	return wx_alloc_vec(CTX_FD, POOL, ranges, all_pages(0));
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
	return wx_protect_vec(CTX_FD, POOL, ranges, all_pages(WXPOOL_PROT_X));
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
			ranges[i] = wx_range(page + i, 1, 0, NULL);
		CHILD_CHECK(!wx_alloc_vec(CTX_FD, POOL, ranges, i));
	}
}

static void prepare_free_lines(void)
{
	install_lines(POOL, 3);
}

/* Each page is another pool's as well, and a child shows it: copies of all */
static void prepare_free_inherited(void)
{
	char *x = wx_view(CTX_FD, RX, 0, nr_pages);
	pid_t pid;

	CHILD_CHECK(x != MAP_FAILED);
	install_lines(POOL, 3);
	install_lines(OTHER, 5);
	pid = fork();
	CHILD_CHECK(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
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

/* A line in each of many windows of huge size */
static int install_windows(void)
{
	struct wxpool_info info;
	uint32_t nr, i;

	CHILD_CHECK(!wx_info(CTX_FD, &info));
	if (!info.huge_size)
		info.huge_size = wx_page_size;
	nr = PG(nr_pages) / info.huge_size;
	if (nr > WXPOOL_MAX_RANGES)
		nr = WXPOOL_MAX_RANGES;
	for (i = 0; i < nr; i++)
		ranges[i] = wx_bytes((uint64_t)i * info.huge_size, "x", 1,
				     WXPOOL_PROT_X);
	return wx_install_flags(CTX_FD, POOL, ranges, nr, WXPOOL_INSTALL_HUGE);
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
	struct wxpool_vec vec = {
		.size = sizeof(vec), .pool = POOL, .ranges = (uintptr_t)ranges,
		.nr_ranges = all_pages(0),
	};

	return ring_op(&ring, CTX_FD, WXPOOL_IOC_ALLOC, &vec, IOSQE_ASYNC);
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

FIXTURE_VARIANT_ADD(kill, free_inherited) {
	.job = { .prepare = prepare_free_inherited, .run = free_pool, .stops = true },
};

FIXTURE_VARIANT_ADD(kill, install) {
	.job = { .prepare = prepare_install, .run = install_all, .stops = true },
};

FIXTURE_VARIANT_ADD(kill, install_windows) {
	.job = { .prepare = nothing, .run = install_windows, .stops = true },
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

static int set_limit(const char *param, long pages)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", pages);
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
	ASSERT_EQ(0, set_limit(CONTEXT_PARAM, 3 * nr_pages));
	ASSERT_EQ(0, set_limit(USER_PARAM, 3 * nr_pages));
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
	if (!memcmp(end, &v->before, sizeof(*end)))
		return UNDONE;
	return memcmp(end, done, sizeof(*end)) ? TORN : DONE;
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

/* Nothing is charged to the user any more. */
static bool all_given_back(long pages)
{
	int fd = wx_open();
	bool ok;

	set_limit(USER_PARAM, 5);
	ok = wx_alloc(fd, POOL, 0, 6) == -ENOSPC && !wx_alloc(fd, POOL, 0, 5);
	set_limit(USER_PARAM, pages);
	close(fd);
	return ok;
}

/*
 * Killed at some points of its way, the operation is done or undone. One that
 * looks for signals, and takes long enough to tell, is undone at least once
 * when it had worked already. How far it is when the signal comes nobody knows
 * on a busy machine: so it is tried more often, and earlier.
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
			       ms * (TRIES - i % TRIES) / (TRIES + 1) / (1 + i / TRIES / 3));
		ASSERT_NE(MISHAP, fate);
		ASSERT_NE(TORN, fate);
		undone += fate == UNDONE;
	}
	EXPECT_TRUE(undone || !must_stop);
	/* Grandchildren and workers may take a moment longer. */
	while (!all_given_back(3 * nr_pages))
		usleep(100000);
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
