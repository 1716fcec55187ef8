// SPDX-License-Identifier: GPL-2.0
/*
 * Everything at once, for as long as is asked for: rounds of processes that
 * publish, run, free, pin, map, fork, pass and freeze, are killed or run out of
 * memory. In each round the module must refuse to go; after it, nothing of the
 * round may be left, and the module goes and comes back. Each of these things has
 * to happen at least once, for which slow machines get some more rounds.
 *
 * Whoever publishes code knows what it returns and what its page holds, and
 * looks until it frees it; so a store that lands in a sealed page is found.
 *
 * WXPOOL_TORTURE_SECONDS: for how long, at least (default 20)
 */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/sysinfo.h>
#include <sys/uio.h>
#include <time.h>

#include "wxpool_group.h"
#include "wxpool_uring.h"
#include "wxpool_util.h"

#define ROUND_SECONDS	15
#define MORE_ROUNDS	20

/* Pages of each publisher; the installers share the pages after them. */
#define OWN		32
#define PUBLISHERS	3
#define INSTALLERS	2
#define PACKED		(OWN * PUBLISHERS)
#define SHARED		16
#define BUFFER		(33 << 10)	/* what INSTALL holds for the time, at most */
#define PAGES		(PACKED + SHARED)

#define AT(page, line)	((uint64_t)PG(page) + (line) * LINE)

enum {
	PUBLISHED, INSTALLED, RUN, STORED, REFUSED, PINNED, MAPPED, FORKED,
	KEPT, PASSED, ASKED, FROZEN, REVOKED, STARVED, IDLED, KILLED, PRESSED,
	NR_COUNTS,
};

static const char * const count_names[NR_COUNTS] = {
	"published", "installed", "run", "stored", "refused", "pinned", "mapped",
	"forked", "kept", "passed", "asked", "frozen", "revoked", "starved", "idled",
	"killed", "pressed",
};

/* What all processes of a round see */
struct arena {
	atomic_bool stop;
	atomic_ulong counts[NR_COUNTS];
};

static struct arena *arena;

/* The context that most of it is about, and views of its PAGES pages */
static int ctx;
static char *w, *x, *xo;

/* Where publishers have an open page, mostly */
static atomic_size_t opened[PUBLISHERS];

static void count(int what)
{
	arena->counts[what]++;
}

static unsigned int dice(unsigned int *seed, unsigned int sides)
{
	*seed = *seed * 1103515245 + 12345;
	return (*seed >> 16) % sides;
}

/* What shortage may do to any operation */
static bool short_of(int ret)
{
	return ret == -ENOMEM || ret == -ENOSPC;
}

/* -------------------------------------------------------------- publishers */

static uint64_t digest(const char *p)
{
	const uint64_t *words = (const void *)p;
	uint64_t sum = 1;
	size_t i;

	for (i = 0; i < wx_page_size / 8; i++)
		sum = (sum ^ words[i]) * 0x100000001b3ull;
	return sum;
}

/* Code says where it is, so that anybody can tell whether it is right. */
static uint32_t value_of(size_t page, uint32_t turn)
{
	return page << 20 | (turn & 0xfffff);
}

/* An XO page's sum is 0: nobody reads it. */
static uint64_t sealed_digest(size_t page, uint32_t prot)
{
	return prot == WXPOOL_PROT_X ? digest(x + PG(page)) : 0;
}

static void check_sealed(size_t page, uint32_t prot, uint32_t val, uint64_t sum)
{
	uint32_t got = 0;

	CHILD_CHECK(!try_exec(xo + PG(page), &got) && got == val);
	if (prot == WXPOOL_PROT_X)
		CHILD_CHECK(!try_exec(x + PG(page), &got) && got == val);
	else
		CHILD_CHECK(try_read(x + PG(page)) == SIGBUS);
	CHILD_CHECK(sealed_digest(page, prot) == sum);
	CHILD_CHECK(try_write(w + PG(page) + 100, 1) == SIGBUS);
	CHILD_CHECK(try_write(x + PG(page) + 100, 1) == SIGSEGV);
}

/* Sealed if nobody holds the page, else it stays open. */
static int seal(uint32_t pool, size_t page, uint32_t prot)
{
	int ret, i;

	for (i = 0; i < 100; i++) {
		ret = wx_protect(ctx, pool, page, 1, prot);
		if (ret != -EBUSY)
			return ret;
		count(REFUSED);
		usleep(1000);
	}
	return ret;
}

/* Leaves the others a moment to find the page open. */
static void write_code(size_t page, uint32_t val)
{
	opened[page / OWN] = page;
	CHILD_CHECK(!WX_CATCH(wx_emit(w + PG(page), val)));
	if (val % 2)
		usleep(500);
}

static void publish(uint32_t pool, size_t page, uint32_t turn, int looks)
{
	uint32_t prot = turn % 4 ? WXPOOL_PROT_X : WXPOOL_PROT_XO;
	uint32_t val = value_of(page, turn);
	struct wxpool_free arg;
	uint64_t sum;
	int ret;

	ret = wx_alloc(ctx, pool, page, 1);
	/* EEXIST: a child still shows what was there. */
	CHILD_CHECK(!ret || short_of(ret) || ret == -EEXIST);
	if (ret) {
		count(REFUSED);
		return;
	}
	CHILD_CHECK(try_exec(x + PG(page), NULL) == SIGBUS);
	write_code(page, val);
	ret = seal(pool, page, prot);
	CHILD_CHECK(!ret || ret == -EBUSY);
	if (!ret) {
		sum = sealed_digest(page, prot);
		while (looks--)
			check_sealed(page, prot, val, sum);
		check_sealed(page, prot, val, sum);
	}
	CHILD_CHECK(!wx_free_out(ctx, pool, &arg));
	CHILD_CHECK(arg.pages_freed + arg.pages_kept == 1);
	if (arg.pages_kept)
		count(KEPT);
	CHILD_CHECK(try_read(x + PG(page)) == SIGBUS);
	CHILD_CHECK(try_exec(xo + PG(page), NULL) == SIGBUS);
	count(PUBLISHED);
}

static void *publisher(void *arg)
{
	unsigned int nr = (uintptr_t)arg, seed = nr, turn = 0;

	while (!arena->stop)
		publish(100 + nr, nr * OWN + dice(&seed, OWN), turn++, dice(&seed, 4));
	return NULL;
}

/* -------------------------------------------------------------- installers */

/* In two pieces, which are one function */
static int install_by(struct io_uring *ring, uint32_t pool, uint64_t offset,
		      const unsigned char *code, size_t len, uint32_t flags)
{
	struct wxpool_install_range r[2] = {
		wx_bytes(offset, code, len / 2, WXPOOL_PROT_X),
		wx_more(code + len / 2, len - len / 2),
	};
	struct wxpool_install arg = {
		.size = sizeof(arg), .pool = pool, .ranges = (uintptr_t)r,
		.nr_ranges = 2, .flags = flags,
	};

	if (!ring)
		return wx_ioctl(ctx, WXPOOL_IOC_INSTALL, &arg);
	return ring_op(ring, ctx, WXPOOL_IOC_INSTALL, &arg, 0);
}

/* Lines of one installer alternate with those of the other. */
static void install(struct io_uring *ring, unsigned int nr, uint32_t turn,
		    unsigned int *seed)
{
	size_t page = PACKED + dice(seed, SHARED);
	size_t line = dice(seed, PAGE_LINES / INSTALLERS) * INSTALLERS + nr;
	uint32_t pool = 200 + nr, val = value_of(page, turn), got = 0;
	unsigned char code[LINE];
	size_t len = wx_emit(code, val);
	int ret, sig;

	ret = install_by(ring, pool, AT(page, line), code, len, 0);
	/* EEXIST: a child still shows the line, or the page as it was. */
	CHILD_CHECK(!ret || short_of(ret) || ret == -EEXIST);
	if (ret) {
		count(REFUSED);
		return;
	}
	CHILD_CHECK(!try_exec(x + AT(page, line), &got) && got == val);
	CHILD_CHECK(try_write(w + AT(page, line), 1) == SIGBUS);
	CHILD_CHECK(wx_is_fill(x + AT(page, line) + len, LINE - len, WXPOOL_PROT_X));
	CHILD_CHECK(!wx_free(ctx, pool));
	/* For as long as a child shows it, in a page that is not its own, it runs. */
	sig = try_exec(x + AT(page, line), &got);
	CHILD_CHECK(sig == SIGBUS || sig == SIGTRAP || (!sig && got == val));
	count(INSTALLED);
}

static void *installer(void *arg)
{
	unsigned int nr = (uintptr_t)arg, seed = 50 + nr, turn = 0;
	struct io_uring ring;
	bool have_ring = nr && !ring_init(&ring, 0);

	for (; !arena->stop; turn++)
		install(have_ring && turn % 2 ? &ring : NULL, nr, turn, &seed);
	if (have_ring)
		io_uring_queue_exit(&ring);
	return NULL;
}

/* ------------------------------------------------------ runners and storers */

/* Whatever runs says where it is; else there is no code at the moment. */
static void run_any(unsigned int *seed)
{
	size_t page = dice(seed, PACKED);
	uint32_t got = 0;
	int sig = try_exec(x + PG(page), &got);

	CHILD_CHECK(sig == SIGBUS || (!sig && got >> 20 == page));
	if (!sig)
		count(RUN);
}

static void *runner(void *arg)
{
	unsigned int seed = 70;

	while (!arena->stop)
		run_any(&seed);
	return NULL;
}

static size_t likely_open(unsigned int *seed)
{
	return dice(seed, 4) ? opened[dice(seed, PUBLISHERS)] : dice(seed, PAGES);
}

/* Beyond the code, at any time: lands in an open page, or faults. */
static void *storer(void *arg)
{
	struct iovec local = { "s", 1 }, remote = { NULL, 1 };
	unsigned int seed = 80;
	char *p;

	while (!arena->stop) {
		p = w + PG(likely_open(&seed)) + wx_page_size / 2 + dice(&seed, 64);
		if (!try_write(p, seed))
			count(STORED);
		remote.iov_base = p;
		process_vm_writev(getpid(), &local, 1, &remote, 1, 0);
		CHILD_CHECK(try_write(x + (p - w), seed) == SIGSEGV);
	}
	return NULL;
}

/* -------------------------------------------------------- pins and mappings */

static void *pinner(void *arg)
{
	struct iovec iov = { .iov_len = 64 };
	unsigned int seed = 90;
	char buf[64];
	int p[2];

	CHILD_CHECK(!pipe2(p, O_NONBLOCK));
	while (!arena->stop) {
		iov.iov_base = w + PG(likely_open(&seed));
		if (vmsplice(p[1], &iov, 1, SPLICE_F_NONBLOCK) != 64)
			continue;
		count(PINNED);
		usleep(dice(&seed, 3000));
		CHILD_CHECK(read(p[0], buf, 64) == 64);
	}
	return NULL;
}

static const int advices[] = {
	MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTNEED,
	MADV_DONTFORK, MADV_DOFORK, MADV_DONTDUMP, MADV_DODUMP, MADV_HUGEPAGE,
	MADV_NOHUGEPAGE, 20 /* COLD */, 21 /* PAGEOUT */,
	22 /* POPULATE_READ */, 23 /* POPULATE_WRITE */,
};

/* On a view of its own: what may be done to a view, and what may not */
static void map_any(unsigned int *seed)
{
	const int prots[] = { RW, RX, PROT_READ, XO };
	int prot = prots[dice(seed, 4)];
	size_t page = dice(seed, PAGES - 8);
	char *v = wx_view(ctx, prot, page, 8), *to;

	if (v == MAP_FAILED) {
		CHILD_CHECK(errno == ENOMEM);
		return;
	}
	madvise(v, PG(8), advices[dice(seed, sizeof(advices) / sizeof(int))]);
	try_read(v + PG(dice(seed, 8)));
	if (prot != RW)
		CHILD_CHECK(wx_mprotect(v, 4, RW) == -EACCES);
	if (prot != RX)
		CHILD_CHECK(wx_mprotect(v, 4, RX) == -EACCES);
	CHILD_CHECK(wx_mprotect(v, 4, RWX) == -EACCES);
	if (prot == XO)
		CHILD_CHECK(wx_mprotect(v, 4, PROT_READ) == -EACCES);
	else
		CHILD_CHECK(!wx_mprotect(v, 4, PROT_READ) || errno == ENOMEM);
	try_read(v);
	if (prot == RW)
		CHILD_CHECK(mremap(v, 0, PG(1), MREMAP_MAYMOVE) == MAP_FAILED);
	mlock(v, PG(8));
	to = mremap(v, PG(8), PG(8), MREMAP_MAYMOVE);
	if (to != MAP_FAILED)
		v = to;
	munmap(v + PG(2), PG(1));
	munmap(v, PG(8));
	count(MAPPED);
}

static void *mapper(void *arg)
{
	unsigned int seed = 110;

	while (!arena->stop)
		map_any(&seed);
	return NULL;
}

/* --------------------------------------------------------------- questions */

/* What INFO and fdinfo say holds together at any moment. */
static void *asker(void *arg)
{
	struct wxpool_info info;
	struct wx_stat st;

	while (!arena->stop) {
		CHILD_CHECK(!wx_info(ctx, &info));
		CHILD_CHECK(info.charged <= info.context_limit);
		/* The buffers of two INSTALLs may come or go at this moment. */
		CHILD_CHECK(info.charged <= info.user_charged + INSTALLERS * BUFFER);
		CHILD_CHECK(info.pools <= PUBLISHERS + INSTALLERS);
		CHILD_CHECK(info.pages_open + info.pages_read + info.pages_exec +
			    info.pages_exec_only + info.pages_kept <= PAGES);
		CHILD_CHECK(info.pages_packed <= SHARED);
		CHILD_CHECK((info.pages_open + info.pages_exec + info.pages_exec_only +
			     info.pages_kept) * wx_page_size <= info.charged);
		CHILD_CHECK(wx_pool_info(ctx, 100).pool_pages <= OWN);
		CHILD_CHECK(!wx_stat_of(getpid(), ctx, &st));
		CHILD_CHECK(st.pools <= PUBLISHERS + INSTALLERS);
		count(ASKED);
		usleep(1000);
	}
	return NULL;
}

/* ------------------------------------------------------------------- forks */

/* A child runs what is there, can write nothing and do nothing. */
static void be_child(unsigned int seed)
{
	uint32_t val[PACKED], got;
	int sig[PACKED];
	size_t i;

	for (i = 0; i < PACKED; i++)
		sig[i] = try_exec(x + PG(i), &val[i]);
	CHILD_CHECK(wx_alloc(ctx, 1, 0, 1) == -EXDEV);
	if (seed % 3 == 0)
		usleep(seed % 5000);
	for (i = 0; i < PACKED; i++) {
		CHILD_CHECK(try_write(w + PG(i), 1) == SIGSEGV);
		CHILD_CHECK(sig[i] || val[i] >> 20 == i);
		/* What was published after the fork may go. */
		if (!sig[i])
			CHILD_CHECK(try_exec(x + PG(i), &got) || got >> 20 == i);
	}
	_exit(0);
}

static void *forker(void *arg)
{
	unsigned int seed = 120;
	pid_t pid;
	int ret;

	while (!arena->stop) {
		pid = wx_fork();
		if (!pid)
			be_child(seed);
		dice(&seed, 2);
		if (pid < 0) {
			usleep(1000);
			continue;
		}
		if (dice(&seed, 4) == 0) {
			usleep(dice(&seed, 20000));
			kill(pid, SIGKILL);
			count(KILLED);
		}
		ret = wx_wait(pid);
		CHILD_CHECK(!ret || ret == 256 + SIGKILL);
		count(FORKED);
	}
	return NULL;
}

/* ------------------------------------------- another process with the fd */

/* Gets the fd again and again; can run what is sealed and nothing else. */
static void be_peer(int sock)
{
	unsigned int seed = 130;
	char *p;
	int fd;

	while ((fd = wx_recv_fd(sock)) >= 0) {
		CHILD_CHECK(wx_view(fd, RW, 0, 1) == MAP_FAILED && errno == EXDEV);
		CHILD_CHECK(wx_free(fd, 100) == -EXDEV);
		p = wx_view(fd, RX, 0, PAGES);
		close(fd);
		if (p == MAP_FAILED)
			continue;
		x = p;
		run_any(&seed);
		CHILD_CHECK(wx_mprotect(p, PAGES, RW) == -EACCES);
		munmap(p, PG(PAGES));
		count(PASSED);
	}
	_exit(0);
}

static void *passer(void *arg)
{
	int sock = *(int *)arg;

	while (!arena->stop)
		if (wx_send_fd(sock, ctx))
			break;
	shutdown(sock, SHUT_WR);
	return NULL;
}

/* --------------------------------------------------------------- the owner */

static _Noreturn void be_owner(const struct group *group)
{
	void *(*const work[])(void *) = {
		runner, storer, pinner, mapper, forker, asker,
	};
	pthread_t threads[PUBLISHERS + INSTALLERS + 7];
	int pair[2], nr = 0;
	uintptr_t i;
	pid_t peer;

	if (group)
		group_join(group);
	ctx = wx_open();
	CHILD_CHECK(ctx >= 0);
	CHILD_CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	peer = fork();
	CHILD_CHECK(peer >= 0);
	if (!peer) {
		close(pair[0]);
		close(ctx);
		be_peer(pair[1]);
	}
	close(pair[1]);
	w = wx_view(ctx, RW, 0, PAGES);
	x = wx_view(ctx, RX, 0, PAGES);
	xo = wx_view(ctx, XO, 0, PAGES);
	CHILD_CHECK(w != MAP_FAILED && x != MAP_FAILED && xo != MAP_FAILED);
	for (i = 0; i < PUBLISHERS; i++)
		CHILD_CHECK(!pthread_create(&threads[nr++], NULL, publisher, (void *)i));
	for (i = 0; i < INSTALLERS; i++)
		CHILD_CHECK(!pthread_create(&threads[nr++], NULL, installer, (void *)i));
	for (i = 0; i < 6; i++)
		CHILD_CHECK(!pthread_create(&threads[nr++], NULL, work[i], NULL));
	CHILD_CHECK(!pthread_create(&threads[nr++], NULL, passer, &pair[0]));
	while (nr)
		pthread_join(threads[--nr], NULL);
	CHILD_CHECK(!wx_wait(peer));
	_exit(0);
}

/* -------------------------------------------- short lives, and short memory */

/* Opens, uses, freezes, forks, and leaves without a word. */
static void be_short(unsigned int seed)
{
	char code[LINE];
	size_t len = wx_emit(code, 7);
	int fd = wx_open(), ret;
	uint32_t val;
	char *v;

	CHILD_CHECK(fd >= 0 || fd == -ENOMEM);
	v = fd < 0 ? MAP_FAILED : wx_view(fd, RX, 0, 64);
	if (v == MAP_FAILED)
		_exit(0);
	ret = wx_alloc(fd, 1, 0, 1 + seed % 32);
	CHILD_CHECK(!ret || short_of(ret));
	if (!ret && seed % 2)
		CHILD_CHECK(!wx_protect(fd, 1, 0, 1, WXPOOL_PROT_X));
	ret = wx_install(fd, 2, AT(40, 3), code, len, WXPOOL_PROT_X);
	CHILD_CHECK(!ret || short_of(ret));
	CHILD_CHECK(ret || (!try_exec(v + AT(40, 3), &val) && val == 7));
	CHILD_CHECK(!wx_freeze(fd));
	CHILD_CHECK(wx_install(fd, 2, AT(41, 3), code, len, WXPOOL_PROT_X) == -EROFS);
	count(FROZEN);
	if (seed % 3 == 0)
		fork();
	if (seed % 7 == 0) {
		/* The child of the fork above, if this is it, is not the owner. */
		ret = wx_free_all(fd, WXPOOL_FREE_REVOKE);
		CHILD_CHECK(!ret || ret == -EXDEV);
		CHILD_CHECK(ret || try_read(v + AT(40, 3)) == SIGBUS);
		if (!ret)
			count(REVOKED);
	}
	if (seed % 5 == 0)
		close(fd);
	_exit(0);
}

static _Noreturn void be_short_lived(const struct group *group)
{
	unsigned int seed = 140;
	pid_t pid;
	int ret;

	if (group)
		group_join(group);
	while (!arena->stop) {
		pid = fork();
		if (!pid)
			be_short(seed);
		if (pid > 0 && dice(&seed, 3) == 0) {
			usleep(dice(&seed, 10000));
			kill(pid, SIGKILL);
			count(KILLED);
		}
		dice(&seed, 2);
		ret = pid < 0 ? 0 : wx_wait(pid);
		CHILD_CHECK(!ret || ret == 256 + SIGKILL);
	}
	_exit(0);
}

static int grab(int fd, uint32_t pool, size_t page, bool block)
{
	struct wxpool_install_range r = wx_bytes(PG(page), "x", 1, WXPOOL_PROT_X);

	if (block)
		return wx_install_flags(fd, pool, &r, 1, WXPOOL_INSTALL_BLOCKS);
	return wx_alloc(fd, pool, page, 256);
}

/* Takes what its group has until there is no more, in all ways. */
static void be_greedy(unsigned int seed)
{
	int fd = wx_open(), ret;

	if (fd < 0)
		_exit(0);
	while (!arena->stop) {
		ret = grab(fd, 1 + dice(&seed, 8), 512 * dice(&seed, 4096), dice(&seed, 2));
		CHILD_CHECK(!ret || short_of(ret) || ret == -EEXIST);
		if (!short_of(ret))
			continue;
		count(STARVED);
		if (fork() == 0)
			_exit(0);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		ret = wx_free(fd, 1 + dice(&seed, 8));
		CHILD_CHECK(!ret || ret == -ENOENT);
		if (wx_stat(fd).idle)
			count(IDLED);
	}
	_exit(0);
}

/* In a group that is too small, where the kernel may also kill it */
static _Noreturn void be_greedy_again(const struct group *group)
{
	unsigned int seed = 150;
	pid_t pid;
	int ret;

	while (!arena->stop) {
		pid = fork();
		if (!pid) {
			if (group)
				group_join(group);
			be_greedy(seed);
		}
		dice(&seed, 2);
		ret = pid < 0 ? 0 : wx_wait(pid);
		CHILD_CHECK(!ret || ret == 256 + SIGKILL);
	}
	_exit(0);
}

/* The machine's memory: used up in part, given back, and moved about */
static _Noreturn void be_pressure(void)
{
	struct sysinfo info;
	size_t len;
	char *p;

	while (!arena->stop) {
		sysinfo(&info);
		len = info.freeram / 2;
		p = mmap(NULL, len, RW, MAP_PRIVATE | MAP_ANONYMOUS |
			 MAP_NORESERVE, -1, 0);
		if (p == MAP_FAILED)
			continue;
		for (len /= wx_page_size; len-- && !arena->stop;)
			p[PG(len)] = 1;
		munmap(p, info.freeram / 2);
		wx_write_file("/proc/sys/vm/drop_caches", "3");
		wx_write_file("/proc/sys/vm/compact_memory", "1");
		count(PRESSED);
		usleep(10000);
	}
	_exit(0);
}

/* ------------------------------------------------------------------- rounds */

#define GROUP		"wxpool-torture"
#define SMALL_GROUP	"wxpool-small"

FIXTURE(torture) {
	struct group group, small;
	bool grouped, module;
};

FIXTURE_SETUP(torture)
{
	if (access(WX_DEV, F_OK))
		SKIP(return, "no " WX_DEV ": modprobe wxpool first");
	if (geteuid())
		SKIP(return, "only root can load modules");
	arena = mmap(NULL, PG(1), RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, arena);
	self->module = !access(WX_MODULE "/refcnt", F_OK);
	if (!self->module)
		printf("# wxpool is built in, and stays\n");
	self->grouped = !group_make(&self->group, GROUP) &&
			!group_make(&self->small, SMALL_GROUP);
	if (self->grouped) {
		group_write(&self->small, "memory.max", "25165824");
		group_write(&self->small, "pids.max", "20");
	} else {
		printf("# there are no cgroups: without their limits\n");
	}
}

/* What is charged to the groups is for another test to say. */
FIXTURE_TEARDOWN(torture)
{
}

static long seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static long seconds_asked_for(void)
{
	const char *env = getenv("WXPOOL_TORTURE_SECONDS");

	return env ? atol(env) : 20;
}

#define ACTORS	4

static pid_t actor(int nr, const struct group *group, const struct group *small)
{
	pid_t pid = wx_fork();

	if (pid)
		return pid;
	switch (nr) {
	case 0:
		be_owner(group);
	case 1:
		be_short_lived(group);
	case 2:
		be_greedy_again(small);
	default:
		be_pressure();
	}
}

/* Kernel threads may have to have their say first. */
static void wait_for_peace(void)
{
	while (!wx_nothing_charged())
		usleep(100000);
	while (wx_read_long(WX_MODULE "/refcnt") > 0)
		usleep(100000);
}

/* How many of its processes have failed */
static int play_round(bool module, const struct group *group,
		      const struct group *small)
{
	long until = seconds() + ROUND_SECONDS;
	int failed = 0, fd = wx_open(), i;
	pid_t pids[ACTORS];

	arena->stop = false;
	fflush(stdout);
	for (i = 0; i < ACTORS; i++)
		pids[i] = actor(i, group, small);
	for (; seconds() < until; usleep(200000))
		failed += module && wx_unload() != -EAGAIN;
	arena->stop = true;
	for (i = 0; i < ACTORS; i++)
		failed += pids[i] < 0 || wx_wait(pids[i]);
	close(fd);
	return failed;
}

static bool has_blocks(void)
{
	struct wxpool_info info = { 0 };
	int fd = wx_open();

	wx_info(fd, &info);
	close(fd);
	return info.block_size;
}

/* Something that has not happened yet, or NULL */
static const char *still_to_come(void)
{
	int i;

	for (i = 0; i < NR_COUNTS; i++)
		if (!arena->counts[i] && (i != IDLED || has_blocks()))
			return count_names[i];
	return NULL;
}

static void report(int rounds)
{
	int i;

	printf("# %d rounds", rounds);
	for (i = 0; i < NR_COUNTS; i++)
		printf(", %lu %s", (unsigned long)arena->counts[i], count_names[i]);
	printf("\n");
}

TEST_F_TIMEOUT(torture, rounds, 2 * 3600)
{
	const struct group *group = self->grouped ? &self->group : NULL;
	const struct group *small = self->grouped ? &self->small : NULL;
	long end = seconds() + seconds_asked_for();
	int rounds = 0, more = 0;

	while (seconds() < end || (still_to_come() && more++ < MORE_ROUNDS)) {
		ASSERT_EQ(0, play_round(self->module, group, small));
		wait_for_peace();
		rounds++;
		if (!self->module)
			continue;
		ASSERT_EQ(0, wx_unload());
		ASSERT_EQ(0, wx_load());
	}
	report(rounds);
	EXPECT_EQ(NULL, still_to_come()) {
		TH_LOG("nothing was %s", still_to_come());
	}
}

/* ------------------------------------------------------------ after all that */

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
	const char *why = group_await_empty(GROUP);

	if (!why)
		why = group_await_empty(SMALL_GROUP);
	if (why)
		SKIP(return, "%s", why);
}

TEST_HARNESS_MAIN
