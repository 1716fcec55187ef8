// SPDX-License-Identifier: GPL-2.0
/*
 * Heirs: whatever a child does to the views that it inherited, and whoever does it,
 * what it inherited is kept while it has one of them, counted, and goes at once with
 * the last one.
 */
#include <linux/sched.h>
#include <pthread.h>
#include <sys/sysinfo.h>
#include <sys/uio.h>
#include <time.h>

#include "wxpool_fork.h"
#include "wxpool_trace.h"

#ifndef __NR_process_madvise
#define __NR_process_madvise	440
#endif

#define POOL	1
#define NR	16		/* pages of the fixture's view */
#define TAG	0x100		/* what their functions return, and up */

/* An X view of the first pages, and room to move it to */
FIXTURE(heirs) {
	int fd;
	char *x, *spare;
};

FIXTURE_SETUP(heirs)
{
	self->fd = wx_open();
	if (self->fd == -ENOENT)
		SKIP(return, "no " WX_DEV ": modprobe wxpool first");
	ASSERT_GE(self->fd, 0);
	/* So that it can wait for the ends of grandchildren */
	ASSERT_EQ(0, prctl(PR_SET_CHILD_SUBREAPER, 1));
	self->spare = mmap(NULL, PG(8 * NR), PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, self->spare);
	self->x = self->spare + PG(6 * NR);
	ASSERT_EQ(0, wx_view_at(self->fd, RX, 0, NR, self->x));
}

FIXTURE_TEARDOWN(heirs)
{
}

/* What is kept, and nothing else is there */
#define EXPECT_KEPT(nr)	EXPECT_EQ((nr), wx_stat(self->fd).kept)

static char *move(char *from, size_t nr, char *to)
{
	return mremap(from, PG(nr), PG(nr), MREMAP_MAYMOVE | MREMAP_FIXED, to);
}

/* ------------------------------------------------- what a child does itself */

/* Splits by mprotect() and munmap(), a move; then they go one after the other. */
TEST_F(heirs, rearranged)
{
	char *x = self->x, *to = self->spare;
	struct wxpool_free arg;
	struct child c;
	int i;

	ASSERT_EQ(0, wx_make_pages(self->fd, POOL, 0, NR, TAG));
	ASSERT_GT(child_start(&c), -1);
	if (!c.pid) {
		child_waits(&c);
		CHILD_CHECK(runs_pages(x, NR, TAG));
		child_says(&c, 1);
		child_waits(&c);
		CHILD_CHECK(!wx_mprotect(x + PG(2), 1, PROT_READ));
		CHILD_CHECK(!wx_mprotect(x + PG(2), 1, RX));
		CHILD_CHECK(!munmap(x + PG(5), PG(1)));
		CHILD_CHECK(!wx_mprotect(x + PG(8), 3, PROT_NONE));
		CHILD_CHECK(!wx_mprotect(x + PG(8), 3, RX));
		CHILD_CHECK(move(x + PG(12), 2, to) == to);
		CHILD_CHECK(!madvise(x, PG(2), MADV_DONTNEED));
		for (i = 0; i < 12; i++)
			CHILD_CHECK(i == 5 || runs(x + PG(i), TAG + i));
		CHILD_CHECK(runs_pages(to, 2, TAG + 12));
		child_says(&c, 2);
		child_waits(&c);
		CHILD_CHECK(!munmap(x, PG(NR)) && runs_pages(to, 2, TAG + 12));
		child_says(&c, 3);
		child_waits(&c);
		CHILD_CHECK(!munmap(to, PG(1)) && runs(to + PG(1), TAG + 13));
		child_says(&c, 4);
		child_waits(&c);
		CHILD_CHECK(!munmap(to + PG(1), PG(1)));
		child_says(&c, 5);
		child_waits(&c);
		_exit(0);
	}
	EXPECT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(0, arg.pages_freed);
	EXPECT_EQ(NR, arg.pages_kept);
	EXPECT_EQ(SIGBUS, try_read(x));
	for (i = 1; i <= 4; i++) {
		ASSERT_EQ(i, child_step(&c));
		EXPECT_KEPT(NR);
	}
	/* The last piece of one page, of a child that lives on */
	ASSERT_EQ(5, child_step(&c));
	EXPECT_KEPT(0);
	EXPECT_EQ(0, wx_alloc(self->fd, 2, 0, NR));
	EXPECT_EQ(0, child_end(&c));
}

/* Views of the child's that fork() did not give it are a guest's. */
TEST_F(heirs, guest_beside)
{
	char *x = self->x, *guest = x + PG(4), *other;
	struct child c;

	ASSERT_EQ(0, wx_make_pages(self->fd, POOL, 0, 4, TAG));
	ASSERT_EQ(0, munmap(guest, PG(NR - 4)));
	ASSERT_GT(child_start(&c), -1);
	if (!c.pid) {
		child_waits(&c);
		/* It cannot be made more of. */
		CHILD_CHECK(mremap(x, 0, PG(4), MREMAP_MAYMOVE) == MAP_FAILED);
		CHILD_CHECK(errno == EFAULT);
		CHILD_CHECK(mremap(x, PG(4), PG(6), MREMAP_MAYMOVE) == MAP_FAILED);
		CHILD_CHECK(errno == EFAULT);
		CHILD_CHECK(mremap(x, PG(4), PG(4), MREMAP_MAYMOVE | MREMAP_DONTUNMAP,
				   NULL) == MAP_FAILED);
		/* A guest's view beside it is none of its own. */
		CHILD_CHECK(!wx_view_at(self->fd, RX, 4, 4, guest));
		CHILD_CHECK(wx_count_vmas(x, x + PG(8)) == 2);
		other = wx_view(self->fd, RX, 0, 4);
		CHILD_CHECK(other != MAP_FAILED && try_read(other) == SIGBUS);
		CHILD_CHECK(runs_pages(x, 4, TAG));
		/* In its place a guest's shows what is there now, which is nothing. */
		CHILD_CHECK(!wx_view_at(self->fd, RX, 1, 1, x + PG(1)));
		CHILD_CHECK(try_read(x + PG(1)) == SIGBUS);
		CHILD_CHECK(runs(x, TAG) && runs_pages(x + PG(2), 2, TAG + 2));
		child_says(&c, 1);
		child_waits(&c);
		CHILD_CHECK(!munmap(x, PG(1)) && !munmap(x + PG(2), PG(2)));
		child_says(&c, 2);
		child_waits(&c);
		CHILD_CHECK(!readable_pages(guest, 4) && !readable_pages(other, 4));
		CHILD_CHECK(try_read(x + PG(1)) == SIGBUS);
		child_says(&c, 3);
		child_waits(&c);
		_exit(0);
	}
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	ASSERT_EQ(1, child_step(&c));
	EXPECT_KEPT(4);
	ASSERT_EQ(2, child_step(&c));
	EXPECT_KEPT(0);
	ASSERT_EQ(3, child_step(&c));
	EXPECT_EQ(0, wx_alloc(self->fd, 2, 0, 8));
	EXPECT_EQ(0, child_end(&c));
}

/* Nor is one that a child of its own gets from it. */
TEST_F(heirs, guests_child)
{
	struct child c, own;
	char *guest;

	ASSERT_EQ(0, wx_make_pages(self->fd, POOL, 0, 2, TAG));
	ASSERT_EQ(0, child_pipes(&own));
	ASSERT_GT(child_start(&c), -1);
	if (!c.pid) {
		guest = wx_view(self->fd, RX, 0, 2);
		CHILD_CHECK(guest != MAP_FAILED && runs_pages(guest, 2, TAG));
		CHILD_CHECK(!munmap(self->x, PG(NR)));
		if (!child_start_own(&own)) {
			child_waits(&own);
			child_says(&own, runs_pages(guest, 2, TAG));
			child_waits(&own);
			CHILD_CHECK(!readable_pages(guest, 2));
			_exit(0);
		}
		_exit(0);
	}
	child_ends(&own, false);
	EXPECT_EQ(0, wx_wait(c.pid));
	ASSERT_EQ(1, child_step(&own));
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	wx_step(own.go[1]);
	EXPECT_EQ(0, wx_wait(-1));
}

static const struct {
	const char *name;
	int prot;
} kinds[] = { { "R", PROT_READ }, { "X", RX }, { "XO", XO }, { "none", PROT_NONE } };

/* A view of any kind makes a heir, whatever the page is, and its protection now. */
TEST_F(heirs, any_kind_of_view)
{
	struct wxpool_free arg;
	struct child c;
	char *view;
	int i;

	ASSERT_EQ(0, munmap(self->x, PG(NR)));
	for (i = 0; i < 4; i++) {
		view = wx_view(self->fd, kinds[i].prot, 0, 4);
		ASSERT_NE(MAP_FAILED, view);
		ASSERT_EQ(0, wx_make_pages(self->fd, POOL, 0, 2, TAG));
		ASSERT_EQ(0, wx_install_code(self->fd, POOL, AT(2, 0), TAG + 2));
		ASSERT_EQ(0, wx_install(self->fd, POOL, AT(3, 0), "data", 4, WXPOOL_PROT_R));
		if (i % 2)
			ASSERT_EQ(0, wx_mprotect(view, 4, PROT_NONE));
		ASSERT_GT(child_start(&c), -1);
		if (!c.pid) {
			child_waits(&c);
			CHILD_CHECK(!wx_mprotect(view, 4, kinds[i].prot ?: PROT_READ));
			if (kinds[i].prot & PROT_EXEC)
				CHILD_CHECK(runs_pages(view, 3, TAG));
			else
				CHILD_CHECK(readable_pages(view, 4) == 4);
			_exit(0);
		}
		EXPECT_EQ(0, wx_free_out(self->fd, POOL, &arg));
		EXPECT_EQ(4, arg.pages_kept) {
			TH_LOG("a view of kind %s", kinds[i].name);
		}
		EXPECT_EQ(2, arg.lines_kept);
		EXPECT_EQ(0, child_end(&c));
		EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
		ASSERT_EQ(0, munmap(view, PG(4)));
	}
}

/* Grandchildren that outlive the child, whose memory the next child may get */
TEST_F(heirs, grandchildren)
{
	unsigned int rounds = wx_rounds(30), round;
	struct child own[30];
	pid_t pid;

	for (round = 0; round < rounds; round++) {
		char *x = self->x + PG(round % NR);

		/* In its place in later rounds there is nothing: the first is kept. */
		if (round && !(round % NR))
			continue;
		ASSERT_EQ(0, wx_make_pages(self->fd, 1 + round, round % NR, 1, TAG + round));
		ASSERT_EQ(0, child_pipes(&own[round]));
		pid = fork();
		ASSERT_GE(pid, 0);
		if (!pid) {
			if (child_start_own(&own[round]))
				_exit(0);
			child_waits(&own[round]);
			child_says(&own[round], runs(x, TAG + round));
			child_waits(&own[round]);
			_exit(0);
		}
		child_ends(&own[round], false);
		ASSERT_EQ(0, wx_wait(pid));
		if (!round)
			continue;
		EXPECT_EQ(0, wx_free(self->fd, 1 + round));
		EXPECT_KEPT(1);
		EXPECT_EQ(1, child_step(&own[round]));
		EXPECT_KEPT(1);
		wx_step(own[round].go[1]);
		EXPECT_EQ(0, wx_wait(-1));
		EXPECT_KEPT(0);
	}
	/* That of the first round is the oldest, and has been there all the time. */
	EXPECT_EQ(0, wx_free(self->fd, 1));
	EXPECT_KEPT(1);
	EXPECT_EQ(1, child_step(&own[0]));
	wx_step(own[0].go[1]);
	EXPECT_EQ(0, wx_wait(-1));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
}

/* A heir's own child has what the heir has; which of both ends first is all one. */
TEST_F(heirs, part_of_a_part)
{
	struct child c, own;
	char *x = self->x;
	int order;

	for (order = 0; order < 2; order++) {
		ASSERT_EQ(0, wx_make_pages(self->fd, POOL, 0, 8, TAG));
		ASSERT_EQ(0, child_pipes(&own));
		ASSERT_GT(child_start(&c), -1);
		if (!c.pid) {
			CHILD_CHECK(!munmap(x + PG(6), PG(NR - 6)));
			CHILD_CHECK(!madvise(x, PG(4), MADV_DONTFORK));
			if (!child_start_own(&own)) {
				child_waits(&own);
				CHILD_CHECK(try_read(x) == SIGSEGV);
				CHILD_CHECK(runs_pages(x + PG(4), 2, TAG + 4));
				child_says(&own, 1);
				child_waits(&own);
				_exit(0);
			}
			child_waits(&c);
			CHILD_CHECK(runs_pages(x, 6, TAG));
			child_says(&c, 1);
			child_waits(&c);
			/* In this order it is there when its child ends. */
			CHILD_CHECK(order || !wx_wait(own.pid));
			child_says(&c, 2);
			child_waits(&c);
			_exit(0);
		}
		child_ends(&own, false);
		EXPECT_EQ(0, wx_free(self->fd, POOL));
		EXPECT_KEPT(8);
		EXPECT_EQ(1, child_step(&own));
		EXPECT_EQ(1, child_step(&c));
		EXPECT_KEPT(8);
		if (!order)
			wx_step(own.go[1]);
		EXPECT_EQ(2, child_step(&c));
		EXPECT_KEPT(8);
		EXPECT_EQ(0, child_end(&c));
		if (order) {
			EXPECT_KEPT(8);
			wx_step(own.go[1]);
			EXPECT_EQ(0, wx_wait(-1));
		}
		EXPECT_KEPT(0);
	}
}

/* ------------------------------------------------- forks that end otherwise */

/* All is copied when the kernel finds that there is no such number to be had. */
TEST_F(heirs, failed_fork)
{
	pid_t one = 1;
	struct clone_args args = {
		.exit_signal = SIGCHLD, .set_tid = (uintptr_t)&one, .set_tid_size = 1,
	};
	struct wxpool_free arg;
	int i;

	ASSERT_EQ(0, wx_make_pages(self->fd, POOL, 0, 2, TAG));
	for (i = 0; i < 50; i++) {
		long ret = syscall(__NR_clone3, &args, sizeof(args));

		if (!ret)
			_exit(0);
		if (ret < 0 && errno == EPERM)
			SKIP(return, "a process cannot choose its number");
		ASSERT_EQ(-1, ret);
		ASSERT_EQ(EEXIST, errno);
	}
	EXPECT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(2, arg.pages_freed);
	EXPECT_EQ(0, arg.pages_kept);
}

/*
 * Memory that fork() has no room for: in pieces each was less than the machine has,
 * together it is more. NULL if that cannot be.
 */
static char *too_much_to_copy(char *at, size_t *len)
{
	struct sysinfo info;
	size_t piece;
	int i;

	if (wx_read_long("/proc/sys/vm/overcommit_memory") || sysinfo(&info))
		return NULL;
	piece = (info.totalram + info.totalswap) / 5 * 3 / wx_page_size * wx_page_size;
	*len = 2 * piece;
	for (i = 0; at && i < 2; i++)
		if (mmap(at + i * piece, piece, RW, MAP_PRIVATE | MAP_ANONYMOUS |
			 MAP_FIXED, -1, 0) == MAP_FAILED)
			return NULL;
	return at;
}

/* Forks that fail when one view has been copied, and the other has not */
TEST_F(heirs, failed_amid_views)
{
	struct wxpool_free arg;
	struct child c;
	char *space, *x;
	size_t len = 0;
	int i;

	too_much_to_copy(NULL, &len);
	space = mmap(NULL, len + PG(8), PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (!len || space == MAP_FAILED || !too_much_to_copy(space + PG(4), &len))
		SKIP(return, "no way to have fork() fail");
	x = space + PG(4) + len;
	ASSERT_EQ(0, wx_view_at(self->fd, RX, 0, 2, space));
	ASSERT_EQ(0, wx_view_at(self->fd, RX, 0, 2, x));
	ASSERT_EQ(0, munmap(self->x, PG(NR)));
	ASSERT_EQ(0, wx_make_pages(self->fd, POOL, 0, 2, TAG));
	for (i = 0; i < 20; i++) {
		pid_t pid = fork();

		if (!pid)
			_exit(0);
		ASSERT_EQ(-1, pid);
		ASSERT_EQ(ENOMEM, errno);
	}
	EXPECT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(2, arg.pages_freed);
	EXPECT_EQ(0, arg.pages_kept);

	/* The same in a heir, which loses nothing by it */
	ASSERT_EQ(0, wx_make_pages(self->fd, POOL, 0, 2, TAG));
	ASSERT_EQ(0, munmap(space + PG(4), len));
	ASSERT_GT(child_start(&c), -1);
	if (!c.pid) {
		child_waits(&c);
		CHILD_CHECK(too_much_to_copy(space + PG(4), &len));
		for (i = 0; i < 20; i++)
			CHILD_CHECK(fork() == -1 && errno == ENOMEM);
		CHILD_CHECK(runs_pages(space, 2, TAG) && runs_pages(x, 2, TAG));
		child_says(&c, 1);
		child_waits(&c);
		_exit(0);
	}
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_EQ(1, child_step(&c));
	EXPECT_KEPT(2);
	EXPECT_EQ(0, child_end(&c));
	EXPECT_KEPT(0);
}

static void fork_for_ever(void)
{
	pid_t pid;

	for (;;) {
		pid = fork();
		if (!pid)
			_exit(0);
		wx_wait(pid);
	}
}

#define MANY	1500

/* Views of pages that nothing is in, each apart */
static char *many_views(int fd, size_t nr)
{
	char *space = mmap(NULL, PG(2 * nr), PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t i;

	for (i = 0; space != MAP_FAILED && i < nr; i++)
		if (wx_view_at(fd, RX, NR + 2 * i, 1, space + PG(2 * i)))
			return MAP_FAILED;
	return space;
}

/* A heir that forks without end, with many views, killed in the midst of it */
TEST_F(heirs, killed_in_fork)
{
	unsigned int tries = wx_rounds(10), i;
	pid_t pid;

	ASSERT_NE(MAP_FAILED, many_views(self->fd, MANY));
	for (i = 0; i < tries; i++) {
		ASSERT_EQ(0, wx_make_pages(self->fd, POOL, 0, 2, TAG));
		pid = fork();
		ASSERT_GE(pid, 0);
		if (!pid)
			fork_for_ever();
		EXPECT_EQ(0, wx_free(self->fd, POOL));
		EXPECT_KEPT(2);
		usleep(20000 + i * 7000);
		kill(pid, SIGKILL);
		while (wx_wait(-1) >= 0)
			;
		EXPECT_KEPT(0);
	}
}

/* The owner itself: nothing is left of it once its last child is gone. */
TEST_F(heirs, owner_killed_in_fork)
{
	unsigned int tries = wx_rounds(10), i;
	long refs = wx_read_long(WX_MODULE "/refcnt");
	struct child c;

	for (i = 0; i < tries; i++) {
		ASSERT_GT(child_start(&c), -1);
		if (!c.pid) {
			int fd = wx_open();

			CHILD_CHECK(fd >= 0 && !wx_make_pages(fd, POOL, 0, 2, TAG));
			CHILD_CHECK(many_views(fd, MANY) != MAP_FAILED);
			child_says(&c, 1);
			fork_for_ever();
		}
		ASSERT_EQ(1, child_step(&c));
		usleep(20000 + i * 7000);
		kill(c.pid, SIGKILL);
		while (wx_wait(-1) >= 0)
			;
		EXPECT_EQ(refs, wx_read_long(WX_MODULE "/refcnt"));
	}
}

/* A heir that becomes another program has no views any more. */
TEST_F(heirs, exec)
{
	struct child c;

	ASSERT_EQ(0, wx_make_pages(self->fd, POOL, 0, 2, TAG));
	ASSERT_GT(child_start(&c), -1);
	if (!c.pid) {
		child_waits(&c);
		fcntl(c.done[1], F_SETFD, FD_CLOEXEC);
		execlp("sleep", "sleep", "100", NULL);
		CHILD_CHECK(!"execlp");
	}
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_KEPT(2);
	/* The pipe is closed after the old views are gone. */
	EXPECT_EQ(-1, child_step(&c));
	EXPECT_KEPT(0);
	EXPECT_EQ(0, wx_alloc(self->fd, 2, 0, 2));
	child_kill(&c);
}

/* Heirs outlive the owner, and go on with all that it had. */
TEST_F(heirs, owner_is_gone)
{
	long refs = wx_read_long(WX_MODULE "/refcnt");
	struct child c, own;
	char *x;
	int fd;

	ASSERT_EQ(0, child_pipes(&own));
	ASSERT_GT(child_start(&c), -1);
	if (!c.pid) {
		fd = wx_open();
		CHILD_CHECK(fd >= 0);
		CHILD_CHECK(!wx_make_pages(fd, POOL, 0, 2, TAG));
		CHILD_CHECK(!wx_make_pages(fd, 2, 2, 2, TAG + 2));
		x = wx_view(fd, RX, 0, 4);
		CHILD_CHECK(x != MAP_FAILED);
		if (child_start_own(&own)) {
			CHILD_CHECK(!wx_free(fd, POOL));
			_exit(0);
		}
		child_waits(&own);
		CHILD_CHECK(runs_pages(x, 4, TAG));
		CHILD_CHECK(wx_stat(fd).kept == 2 && wx_stat(fd).exec == 2);
		close(fd);
		CHILD_CHECK(runs_pages(x, 4, TAG));
		CHILD_CHECK(!munmap(x + PG(1), PG(1)));
		CHILD_CHECK(runs_pages(x + PG(2), 2, TAG + 2));
		child_says(&own, 1);
		child_waits(&own);
		_exit(0);
	}
	child_ends(&own, false);
	EXPECT_EQ(0, wx_wait(c.pid));
	EXPECT_EQ(1, child_step(&own));
	EXPECT_EQ(refs + 1, wx_read_long(WX_MODULE "/refcnt"));
	wx_step(own.go[1]);
	EXPECT_EQ(0, wx_wait(-1));
	EXPECT_EQ(refs, wx_read_long(WX_MODULE "/refcnt"));
}

/* -------------------------------------------------- what others do to views */

/*
 * Views can be split by another process than the one that has them: by userfaultfd,
 * by advice, by a tracer. Whose they are is not changed by that.
 */
static int open_wp_uffd(void)
{
	return uffd_open(UFFD_USER_MODE_ONLY, UFFD_FEATURE_WP_ASYNC);
}

/*
 * The owner registers a part of what was a W view in the child (which
 * MADV_DOFORK gave it), and the child moves what it inherited beside a view of its
 * own. Several contexts, whose pages all count as long as they are shown.
 */
TEST_F(heirs, owner_registers_childs_view)
{
	const size_t nr = 64;
	struct wxpool_free arg;
	uint64_t before = wx_stat(self->fd).user_charged;
	struct child c[4];
	int pair[2], fd[4], uffd, i;
	char *x, *w, *to;

	ASSERT_EQ(0, munmap(self->x, PG(NR)));
	to = mmap(NULL, PG(nr + 2), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, to);
	for (i = 0; i < 4; i++) {
		fd[i] = wx_open();
		ASSERT_GE(fd[i], 0);
		ASSERT_EQ(0, wx_make_pages(fd[i], POOL, 0, nr, TAG));
		x = wx_view(fd[i], RX, 0, nr);
		w = wx_view(fd[i], RW, 900, 4);
		ASSERT_NE(MAP_FAILED, x);
		ASSERT_NE(MAP_FAILED, w);
		if (madvise(w, PG(4), MADV_DOFORK))
			SKIP(return, "no MADV_DOFORK of W views: %s", strerror(errno));
		ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
		ASSERT_GT(child_start(&c[i]), -1);
		if (!c[i].pid) {
			uffd = open_wp_uffd();
			if (uffd < 0)
				_exit(4);
			CHILD_CHECK(!wx_send_fd(pair[1], uffd));
			child_waits(&c[i]);
			CHILD_CHECK(runs_pages(x, nr, TAG));
			CHILD_CHECK(!wx_view_at(fd[i], RX, nr, 1, to + PG(nr)));
			CHILD_CHECK(move(x, nr, to) == to);
			CHILD_CHECK(!munmap(w, PG(4)));
			child_says(&c[i], 1);
			child_waits(&c[i]);
			CHILD_CHECK(runs_pages(to, nr, TAG));
			child_says(&c[i], 2);
			child_waits(&c[i]);
			_exit(0);
		}
		close(pair[1]);
		uffd = wx_recv_fd(pair[0]);
		if (uffd <= 0) {
			EXPECT_EQ(4, wx_wait(c[i].pid));
			SKIP(return, "no asynchronous userfaultfd write protection");
		}
		ASSERT_EQ(0, munmap(x, PG(nr)));
		EXPECT_EQ(0, wx_free_out(fd[i], POOL, &arg));
		EXPECT_EQ(nr, arg.pages_kept);
		if (uffd_register(uffd, w + PG(3), 1, UFFDIO_REGISTER_MODE_WP))
			SKIP(return, "userfaultfd takes no W views: %s", strerror(errno));
		close(uffd);
		close(pair[0]);
		ASSERT_EQ(0, munmap(w, PG(4)));
		ASSERT_EQ(1, child_step(&c[i]));
		EXPECT_EQ(0, wx_alloc(fd[i], 9, 5000, 1));
		EXPECT_EQ(0, wx_free(fd[i], 9));
		EXPECT_EQ((long)nr, wx_stat(fd[i]).kept);
	}
	EXPECT_LE(before + 4 * PG(nr), wx_stat(self->fd).user_charged);
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(2, child_step(&c[i]));
		EXPECT_EQ((long)nr, wx_stat(fd[i]).kept);
	}
	for (i = 0; i < 4; i++) {
		EXPECT_EQ(0, child_end(&c[i]));
		EXPECT_EQ(0, wx_stat(fd[i]).kept);
	}
}

/* A child registers a part of the owner's W view: it is the owner's as before. */
TEST_F(heirs, child_registers_owners_view)
{
	struct wxpool_free arg;
	struct child c;
	int uffd;
	char *w;

	ASSERT_EQ(0, munmap(self->x, PG(NR)));
	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 8));
	w = wx_view(self->fd, RW, 0, 8);
	ASSERT_NE(MAP_FAILED, w);
	memset(w, 1, PG(8));
	uffd = open_wp_uffd();
	if (uffd < 0)
		SKIP(return, "no asynchronous userfaultfd write protection");
	ASSERT_GT(child_start(&c), -1);
	if (!c.pid) {
		child_waits(&c);
		child_says(&c, uffd_register(uffd, w + PG(3), 2, UFFDIO_REGISTER_MODE_WP) ?
			   -1 : 1);
		child_waits(&c);
		_exit(0);
	}
	if (child_step(&c) < 0)
		SKIP(return, "userfaultfd takes no W views");
	EXPECT_LE(3, wx_count_vmas(w, w + PG(8)));
	EXPECT_EQ(0, try_write(w + PG(3), 1));
	EXPECT_EQ(0, try_write(w + PG(7), 1));
	EXPECT_EQ(0, wx_protect(self->fd, POOL, 2, 4, WXPOOL_PROT_X));
	EXPECT_EQ(SIGBUS, try_write(w + PG(3), 1));
	EXPECT_EQ(0, try_write(w + PG(7), 1));
	EXPECT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(8, arg.pages_freed);
	EXPECT_EQ(0, arg.pages_kept);
	EXPECT_EQ(0, child_end(&c));
}

/* Advice from one process about another's views, in parts, both ways */
static void advise(pid_t pid, char *p)
{
	int pidfd = syscall(__NR_pidfd_open, pid, 0), advice;
	struct iovec iov = { p, PG(2) };

	/* All but what has memory fail */
	for (advice = 0; advice < 128; advice++)
		if (advice != 100 && advice != 101)
			syscall(__NR_process_madvise, pidfd, &iov, 1UL, advice, 0);
	close(pidfd);
}

TEST_F(heirs, advice_from_outside)
{
	struct wxpool_free arg;
	char *x = self->x;
	struct child c;

	ASSERT_EQ(0, wx_make_pages(self->fd, POOL, 0, NR, TAG));
	ASSERT_GT(child_start(&c), -1);
	if (!c.pid) {
		child_waits(&c);
		advise(getppid(), x + PG(3));
		child_says(&c, 1);
		child_waits(&c);
		CHILD_CHECK(runs_pages(x, NR, TAG));
		CHILD_CHECK(!munmap(x, PG(NR)));
		child_says(&c, 2);
		child_waits(&c);
		_exit(0);
	}
	ASSERT_EQ(1, child_step(&c));
	advise(c.pid, x + PG(5));
	EXPECT_TRUE(runs_pages(x, NR, TAG));
	EXPECT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(NR, arg.pages_kept);
	EXPECT_FALSE(readable_pages(x, NR));
	ASSERT_EQ(2, child_step(&c));
	EXPECT_KEPT(0);
	EXPECT_EQ(0, child_end(&c));
}

/* A tracer has a process split, move and unmap parts of its views. */
static void rearrange(pid_t pid, char *x, char *to)
{
	CHILD_CHECK(!wx_attach(pid));
	CHILD_CHECK(!wx_inject(pid, __NR_mprotect, (uintptr_t)x + PG(3), PG(1),
			       PROT_READ, 0, 0));
	CHILD_CHECK(!wx_inject(pid, __NR_mprotect, (uintptr_t)x + PG(3), PG(1), RX, 0, 0));
	CHILD_CHECK(!wx_inject(pid, __NR_munmap, (uintptr_t)x + PG(5), PG(1), 0, 0, 0));
	CHILD_CHECK(wx_inject(pid, __NR_mremap, (uintptr_t)x + PG(6), PG(2), PG(2),
			      MREMAP_MAYMOVE | MREMAP_FIXED, (uintptr_t)to) ==
		    (long)(uintptr_t)to);
	CHILD_CHECK(!ptrace(PTRACE_DETACH, pid, NULL, NULL));
}

TEST_F(heirs, traced_child)
{
	char *x = self->x, *to = self->spare;
	struct child c;

	if (!HAVE_INJECT)
		SKIP(return, "no code to inject on this architecture");
	ASSERT_EQ(0, wx_make_pages(self->fd, POOL, 0, 8, TAG));
	ASSERT_GT(child_start(&c), -1);
	if (!c.pid) {
		child_waits(&c);
		CHILD_CHECK(runs_pages(x, 5, TAG) && runs_pages(to, 2, TAG + 6));
		CHILD_CHECK(try_read(x + PG(5)) == SIGSEGV);
		CHILD_CHECK(!munmap(x, PG(NR)));
		child_says(&c, 1);
		child_waits(&c);
		CHILD_CHECK(!munmap(to, PG(2)));
		child_says(&c, 2);
		child_waits(&c);
		_exit(0);
	}
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	/* By the owner, as whom it must not be taken for */
	rearrange(c.pid, x, to);
	EXPECT_KEPT(8);
	ASSERT_EQ(1, child_step(&c));
	EXPECT_KEPT(8);
	ASSERT_EQ(2, child_step(&c));
	EXPECT_KEPT(0);
	EXPECT_EQ(0, child_end(&c));
}

/* ... and a heir does that to the owner, whose views remain the owner's. */
TEST_F(heirs, traced_owner)
{
	char *x = self->x, *to = self->spare;
	struct wxpool_free arg;
	struct child c;

	if (!HAVE_INJECT)
		SKIP(return, "no code to inject on this architecture");
	ASSERT_EQ(0, wx_make_pages(self->fd, POOL, 0, 8, TAG));
	ASSERT_GT(child_start(&c), -1);
	if (!c.pid) {
		child_waits(&c);
		rearrange(getppid(), x, to);
		child_says(&c, 1);
		child_waits(&c);
		CHILD_CHECK(runs_pages(x, 8, TAG));
		CHILD_CHECK(!munmap(x, PG(NR)));
		child_says(&c, 2);
		child_waits(&c);
		_exit(0);
	}
	ASSERT_EQ(1, child_step(&c));
	EXPECT_TRUE(runs_pages(x, 5, TAG));
	EXPECT_TRUE(runs_pages(to, 2, TAG + 6));
	ASSERT_EQ(2, child_step(&c));
	/* None of its parts is a heir's, so nothing is kept. */
	EXPECT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(8, arg.pages_freed);
	EXPECT_EQ(0, arg.pages_kept);
	EXPECT_EQ(SIGBUS, try_read(to));
	EXPECT_EQ(0, child_end(&c));
}

/* ------------------------------------------------------------ who keeps what */

/*
 * An old child, and others that come and go: what these inherited, and the old one
 * did not, goes when they do.
 */
TEST_F(heirs, one_old_child)
{
	struct child old, c;
	int i;

	ASSERT_EQ(0, wx_make_pages(self->fd, POOL, 0, 1, TAG));
	ASSERT_GT(child_start(&old), -1);
	if (!old.pid) {
		child_waits(&old);
		CHILD_CHECK(runs(self->x, TAG));
		CHILD_CHECK(!readable_pages(self->x + PG(1), NR - 1));
		_exit(0);
	}
	for (i = 1; i < NR; i++) {
		ASSERT_EQ(0, wx_make_pages(self->fd, 10 + i, i, 1, TAG + i));
		ASSERT_GT(child_start(&c), -1);
		if (!c.pid) {
			child_waits(&c);
			CHILD_CHECK(runs(self->x, TAG) && runs(self->x + PG(i), TAG + i));
			_exit(0);
		}
		EXPECT_EQ(0, wx_free(self->fd, 10 + i));
		EXPECT_KEPT(1);
		EXPECT_EQ(0, child_end(&c));
		EXPECT_KEPT(0);
	}
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_KEPT(1);
	EXPECT_EQ(0, child_end(&old));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
}

/* Who has lines of a page that hides keeps it, whenever that is; nobody else. */
static void looks_on(struct child *c, const char *x)
{
	for (;;) {
		child_waits(c);
		child_says(c, !try_read(x));
	}
}

#define LOOKS_ON(c) do {						\
	ASSERT_GT(child_start(c), -1);					\
	if (!(c)->pid)							\
		looks_on(c, self->x);					\
} while (0)

#define INSTALL_LINE(pool, line)					\
	ASSERT_EQ(0, wx_install_code(self->fd, pool, AT(0, line), TAG))

#define FREE_POOL(pool)	ASSERT_EQ(0, wx_free(self->fd, pool))

/* Two that inherited it while it showed a line of another's */
TEST_F(heirs, hidden_page)
{
	struct child a, b;

	INSTALL_LINE(1, 0);
	LOOKS_ON(&a);
	INSTALL_LINE(9, 1);
	FREE_POOL(1);
	LOOKS_ON(&b);
	INSTALL_LINE(2, 2);
	EXPECT_EQ(1, child_step(&b));
	EXPECT_EQ(1, child_step(&a));
	FREE_POOL(2);
	EXPECT_KEPT(0);
	FREE_POOL(9);
	EXPECT_KEPT(1);
	EXPECT_EQ(1, child_step(&a));
	EXPECT_EQ(1, child_step(&b));
	child_kill(&a);
	EXPECT_KEPT(1);
	EXPECT_EQ(1, child_step(&b));
	child_kill(&b);
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
}

/* The younger one goes first, and one of after it hides has nothing of it. */
TEST_F(heirs, hidden_page_of_the_older)
{
	struct child a, b, late;

	INSTALL_LINE(1, 0);
	LOOKS_ON(&a);
	INSTALL_LINE(3, 1);
	FREE_POOL(1);
	LOOKS_ON(&b);
	INSTALL_LINE(2, 2);
	FREE_POOL(3);
	FREE_POOL(2);
	EXPECT_KEPT(1);
	LOOKS_ON(&late);
	EXPECT_EQ(0, child_step(&late));
	EXPECT_EQ(1, child_step(&a));
	EXPECT_EQ(1, child_step(&b));
	child_kill(&b);
	EXPECT_KEPT(1);
	EXPECT_EQ(1, child_step(&a));
	child_kill(&a);
	EXPECT_KEPT(0);
	child_kill(&late);
}

/* Three, the lines of which end in an order of their own */
TEST_F(heirs, hidden_page_of_three)
{
	struct child a, b, c;

	INSTALL_LINE(1, 0);
	LOOKS_ON(&a);
	INSTALL_LINE(4, 3);
	FREE_POOL(1);
	LOOKS_ON(&b);
	INSTALL_LINE(5, 4);
	LOOKS_ON(&c);
	INSTALL_LINE(7, 5);
	FREE_POOL(5);
	FREE_POOL(4);
	EXPECT_KEPT(0);
	FREE_POOL(7);
	EXPECT_KEPT(1);
	EXPECT_EQ(1, child_step(&a));
	EXPECT_EQ(1, child_step(&b));
	EXPECT_EQ(1, child_step(&c));
	child_kill(&a);
	EXPECT_EQ(1, child_step(&b));
	child_kill(&c);
	EXPECT_EQ(1, child_step(&b));
	EXPECT_KEPT(1);
	child_kill(&b);
	EXPECT_KEPT(0);
}

/* A younger one sees nothing of what is hidden, and all of what comes there. */
TEST_F(heirs, after_a_hidden_page)
{
	struct child a, late;

	INSTALL_LINE(1, 0);
	LOOKS_ON(&a);
	INSTALL_LINE(8, 1);
	FREE_POOL(1);
	FREE_POOL(8);
	EXPECT_KEPT(1);
	LOOKS_ON(&late);
	EXPECT_EQ(0, child_step(&late));
	child_kill(&a);
	EXPECT_KEPT(0);
	INSTALL_LINE(8, 1);
	EXPECT_EQ(1, child_step(&late));
	child_kill(&late);
	FREE_POOL(8);
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
}

/* ------------------------------------------------------- FREE amid a fork */

struct racer {
	pthread_t thread;
	int fd, ret;
	double delay;
	struct wxpool_free out;
	atomic_bool go;
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void *free_amid(void *arg)
{
	struct racer *r = arg;
	double until;

	while (!r->go)
		;
	until = now() + r->delay;
	while (now() < until)
		;
	r->ret = wx_free_out(r->fd, POOL, &r->out);
	return NULL;
}

static double time_of_fork(void)
{
	double start = now();
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	start = now() - start;
	wx_wait(pid);
	return start;
}

/*
 * A pool that is freed while a fork copies views, some before and some after: the
 * child has all of it, and it is kept, or nothing of it.
 */
TEST_F(heirs, free_amid_a_fork)
{
	unsigned int rounds = wx_rounds(40), round, kept = 0;
	char *views = many_views(self->fd, MANY), *to = self->spare;
	double fork_time;
	struct racer r;
	struct child c;
	long seen;

	ASSERT_NE(MAP_FAILED, views);
	time_of_fork();
	fork_time = time_of_fork();
	for (round = 0; round < rounds; round++) {
		ASSERT_EQ(0, wx_make_pages(self->fd, POOL, 0, NR, TAG));
		r = (struct racer) {
			.fd = self->fd, .delay = fork_time * 1.1 * round / rounds,
		};
		ASSERT_EQ(0, pthread_create(&r.thread, NULL, free_amid, &r));
		r.go = true;
		ASSERT_GT(child_start(&c), -1);
		if (!c.pid) {
			child_waits(&c);
			child_says(&c, readable_pages(self->x, NR));
			child_waits(&c);
			/* Beside views of its own, and as its only one */
			CHILD_CHECK(!wx_view_at(self->fd, RX, NR, 1, to + PG(NR)));
			CHILD_CHECK(move(self->x, NR, to) == to);
			CHILD_CHECK(!munmap(views, PG(2 * MANY)));
			child_says(&c, readable_pages(to, NR));
			child_waits(&c);
			CHILD_CHECK(!munmap(to, PG(NR)));
			child_says(&c, 0);
			child_waits(&c);
			_exit(0);
		}
		pthread_join(r.thread, NULL);
		ASSERT_EQ(0, r.ret);
		ASSERT_EQ(NR, r.out.pages_freed + r.out.pages_kept);
		seen = wx_stat(self->fd).kept;
		ASSERT_TRUE(seen == 0 || seen == NR);
		ASSERT_EQ(seen, (long)r.out.pages_kept);
		ASSERT_EQ(seen, child_step(&c));
		ASSERT_EQ(seen, child_step(&c));
		EXPECT_KEPT(seen);
		ASSERT_EQ(0, child_step(&c));
		EXPECT_KEPT(0);
		EXPECT_EQ(0, child_end(&c));
		kept += !!seen;
	}
	TH_LOG("kept in %u of %u rounds, of which each had a fork of %.1f ms", kept, rounds,
	       fork_time * 1e3);
	EXPECT_GT(kept, 0);
}

/* --------------------------------------------------------------- at random */

#define SLOTS	64	/* each a page, and a line of the page behind them */

struct slots {
	int fd;
	char *x, *spare;
	uint32_t tags[SLOTS];	/* pool and code of each, or 0 */
	uint32_t last;
	unsigned long forks, frees, kept, bad;
	pthread_mutex_t lock;
	atomic_bool stop;
};

static struct slots slots = { .lock = PTHREAD_MUTEX_INITIALIZER };

/*
 * Code in the line and in the page, which is a packed one or not. EEXIST if a heir has
 * something there.
 */
static int slot_make(unsigned int i, uint32_t tag)
{
	struct wxpool_install_range r[2];
	unsigned char code[LINE];
	size_t len = wx_emit(code, tag);
	int ret;

	r[0] = wx_bytes(AT(SLOTS, i), code, len, WXPOOL_PROT_X);
	r[1] = wx_bytes(AT(i, 0), code, len, WXPOOL_PROT_X);
	ret = wx_install_vec(slots.fd, tag, r, tag % 2 ? 2 : 1);
	if (ret || tag % 2)
		return ret;
	ret = wx_make_pages(slots.fd, tag, i, 1, tag);
	if (ret)
		slots.bad += !!wx_free(slots.fd, tag);
	return ret;
}

static void slot_turn(unsigned int i)
{
	struct wxpool_free arg;
	int ret;

	if (slots.tags[i]) {
		slots.bad += !!wx_free_out(slots.fd, slots.tags[i], &arg);
		slots.kept += arg.pages_kept;
		slots.frees++;
		slots.tags[i] = 0;
		return;
	}
	ret = slot_make(i, ++slots.last);
	if (!ret)
		slots.tags[i] = slots.last;
	slots.bad += ret && ret != -EEXIST;
}

/* What a child has, and where it has it by now; NULL once it is gone */
struct legacy {
	uint32_t tags[SLOTS];
	char *at[SLOTS];
};

static void check_legacy(const struct legacy *l, unsigned int i)
{
	if (!l->tags[i])
		return;
	CHILD_CHECK(runs(slots.x + AT(SLOTS, i), l->tags[i]));
	CHILD_CHECK(!l->at[i] || runs(l->at[i], l->tags[i]));
}

static void heir_lives(struct legacy *l, unsigned int seed)
{
	int steps = rand_r(&seed) % 60, forks = 0;
	char *guest;

	while (steps--) {
		unsigned int i = rand_r(&seed) % SLOTS;
		char *p = l->at[i];

		check_legacy(l, i);
		switch (rand_r(&seed) % 8) {
		case 0:
			if (p)
				CHILD_CHECK(!munmap(p, PG(1)));
			l->at[i] = NULL;
			break;
		case 1:
			if (p)
				CHILD_CHECK(!wx_mprotect(p, 1, PROT_READ) &&
					    !wx_mprotect(p, 1, RX));
			break;
		case 2:
			if (p && p == slots.x + PG(i)) {
				l->at[i] = slots.spare + PG(i);
				CHILD_CHECK(move(p, 1, l->at[i]) == l->at[i]);
			}
			break;
		case 3:
			/* Both go on from here. */
			if (forks++ < 2 && !fork())
				seed += getpid();
			break;
		case 4:
			guest = wx_view(slots.fd, RX, i, 1);
			CHILD_CHECK(guest != MAP_FAILED);
			try_read(guest);
			munmap(guest, PG(1));
			break;
		case 5:
			if (p)
				CHILD_CHECK(!madvise(p, PG(1), MADV_DONTNEED));
			break;
		default:
			usleep(rand_r(&seed) % 4000);
		}
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
	_exit(0);
}

static void slot_fork(unsigned int seed)
{
	struct legacy l;
	unsigned int i;
	pid_t pid = fork();

	if (!pid) {
		memcpy(l.tags, slots.tags, sizeof(l.tags));
		for (i = 0; i < SLOTS; i++)
			l.at[i] = slots.x + PG(i);
		heir_lives(&l, seed);
	}
	slots.bad += pid < 0;
	slots.forks++;
}

/* Ends of children, and of theirs: all of them are to find what they inherited. */
static void slot_reap(int flags)
{
	int status;

	while (waitpid(-1, &status, flags) > 0)
		slots.bad += !!status;
}

static void *slot_owner(void *arg)
{
	unsigned int seed = (uintptr_t)arg;

	while (!slots.stop) {
		pthread_mutex_lock(&slots.lock);
		slot_turn(rand_r(&seed) % SLOTS);
		if (!(rand_r(&seed) % 8))
			slot_fork(seed);
		slot_reap(WNOHANG);
		slots.stop = slots.stop || slots.forks >= wx_rounds(300) || slots.bad;
		pthread_mutex_unlock(&slots.lock);
	}
	return NULL;
}

/*
 * Two threads of the owner make, free and fork; children and theirs rearrange their
 * views at random, and look at what they inherited. In the end nothing is kept.
 */
TEST_F(heirs, at_random)
{
	pthread_t threads[2];
	long i;

	slots.fd = self->fd;
	slots.x = wx_view(self->fd, RX, 0, SLOTS + 1);
	slots.spare = mmap(NULL, PG(SLOTS), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, slots.x);
	ASSERT_NE(MAP_FAILED, slots.spare);
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, slot_owner, (void *)(i + 1)));
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	slot_reap(0);
	TH_LOG("%lu forks, %lu times freed, %lu pages kept at that time", slots.forks,
	       slots.frees, slots.kept);
	EXPECT_EQ(0, slots.bad);
	EXPECT_GT(slots.kept, 0);
	EXPECT_KEPT(0);
	EXPECT_KEPT_LINES(self->fd, 0);
	for (i = 0; i < SLOTS; i++)
		if (slots.tags[i])
			EXPECT_EQ(0, wx_free(self->fd, slots.tags[i]));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_EQ(0, wx_alloc(self->fd, POOL, 0, SLOTS + 1));
}

/* ---------------------------------------------------------- others' views */

#define CROWD	2000

static void map_once(int fd)
{
	char *view = wx_view(fd, RX, 0, 4);

	CHILD_CHECK(view != MAP_FAILED && runs(view, TAG) && !munmap(view, PG(4)));
}

static void free_once(int fd)
{
	CHILD_CHECK(!wx_free(fd, 2));
}

/* Maps the context once when it is told, and tells how many calls that took. */
static void guest_maps(struct child *c, int fd)
{
	long nr;

	for (;;) {
		child_waits(c);
		nr = count_calls(map_once, fd);
		CHILD_CHECK(write(c->done[1], &nr, sizeof(nr)) == sizeof(nr));
	}
}

static long guest_calls(struct child *guest)
{
	long nr = -2;

	wx_step(guest->go[1]);
	return read(guest->done[0], &nr, sizeof(nr)) == sizeof(nr) ? nr : -2;
}

/* A pool with a line beside POOL's, with a heir that lives: calls of its FREE */
static long calls_of_free(int fd)
{
	CHILD_CHECK(!wx_install_code(fd, 2, AT(0, 1), TAG));
	return count_calls(free_once, fd);
}

/*
 * What others map is no affair of a process that maps the context, nor of the owner:
 * neither does more because of that. Counted by calls of functions; where the
 * kernel cannot tell, only the results are looked at.
 */
TEST_F(heirs, crowd_of_guests)
{
	long maps[2], frees[2];
	struct child heir, guest, crowd;

	ASSERT_EQ(0, wx_install_code(self->fd, POOL, 0, TAG));
	LOOKS_ON(&heir);
	/* The others get the descriptor from fork(), and no view. */
	ASSERT_EQ(0, munmap(self->x, PG(NR)));
	ASSERT_GT(child_start(&guest), -1);
	if (!guest.pid)
		guest_maps(&guest, self->fd);
	ASSERT_GT(child_start(&crowd), -1);
	if (!crowd.pid) {
		child_waits(&crowd);
		CHILD_CHECK(many_views(self->fd, CROWD) != MAP_FAILED);
		child_says(&crowd, 1);
		child_waits(&crowd);
		_exit(0);
	}
	maps[0] = guest_calls(&guest);
	frees[0] = calls_of_free(self->fd);
	ASSERT_EQ(1, child_step(&crowd));
	maps[1] = guest_calls(&guest);
	frees[1] = calls_of_free(self->fd);
	ASSERT_GT(maps[0], -2);
	ASSERT_GT(maps[1], -2);
	if (maps[0] < 0) {
		TH_LOG("no function tracer: what it takes is not counted");
	} else {
		TH_LOG("calls for a view: %ld, then %ld; for a FREE: %ld, then %ld",
		       maps[0], maps[1], frees[0], frees[1]);
		EXPECT_GT(maps[0], 0);
		EXPECT_LT(maps[1], maps[0] + CROWD / 4);
		EXPECT_LT(frees[1], frees[0] + CROWD / 4);
	}
	/* None of them keeps anything. */
	EXPECT_EQ(1, child_step(&heir));
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_KEPT(1);
	EXPECT_EQ(1, child_step(&heir));
	child_kill(&heir);
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	child_kill(&guest);
	child_kill(&crowd);
}

TEST_HARNESS_MAIN
