// SPDX-License-Identifier: GPL-2.0
/*
 * fork(): a child runs what it inherited, whatever the owner frees, and is not
 * the owner. What the owner freed is out of its own reach at once, but for lines
 * in pages that other pools use, and goes when the last child is gone that
 * inherited it. What children do to their views is heirs.c's.
 */

#include "wxpool_fork.h"

#define POOL	1

TEST_F(ctx, child_runs_code)
{
	struct wxpool_free arg;
	struct child c;
	uint32_t val;
	char *x, *r;

	ASSERT_EQ(0, wx_make_code(self->fd, POOL, 0, 31));
	ASSERT_EQ(0, wx_make_code(self->fd, POOL, 1, 32));
	x = wx_view(self->fd, RX, 0, 2);
	r = wx_view(self->fd, PROT_READ, 0, 2);
	ASSERT_NE(MAP_FAILED, x);
	ASSERT_NE(MAP_FAILED, r);
	/* Page 0 has been touched by the parent, page 1 by nobody. */
	ASSERT_EQ(0, try_exec(x, NULL));

	ASSERT_GE(FORK(&c), 0);
	if (!c.pid) {
		child_waits(&c);
		CHILD_CHECK(!try_exec(x, &val) && val == 31);
		CHILD_CHECK(!try_exec(x + PG(1), &val) && val == 32);
		CHILD_CHECK(!try_read(r) && !try_read(r + PG(1)));
		CHILD_CHECK(try_write(x, 0) == SIGSEGV);
		CHILD_CHECK(wx_mprotect(x, 2, RW) == -EACCES);
		CHILD_CHECK(!memcmp(x, r, PG(2)));
		_exit(0);
	}
	ASSERT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(0, arg.pages_freed);
	EXPECT_EQ(2, arg.pages_kept);
	EXPECT_EQ(0, arg.lines_kept);
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 2);
	EXPECT_POOL(self->fd, POOL, WXPOOL_POOL_KEPT, 2, 0);

	/* Out of the owner's reach, by any view and any operation */
	EXPECT_EQ(SIGBUS, try_exec(x, NULL));
	EXPECT_EQ(SIGBUS, try_read(r));
	EXPECT_EQ(SIGBUS, try_read(wx_view(self->fd, RX, 0, 2)));
	EXPECT_EQ(SIGBUS, try_exec(wx_view(self->fd, XO, 0, 2), NULL));
	EXPECT_EQ(SIGBUS, try_read(wx_view(self->fd, PROT_READ, 0, 2)));
	EXPECT_EQ(SIGBUS, try_write(wx_view(self->fd, RW, 0, 2), 1));
	EXPECT_EQ(-ENOENT, wx_free(self->fd, POOL));
	EXPECT_EQ(-ENOENT, wx_protect(self->fd, POOL, 0, 1, WXPOOL_PROT_X));
	EXPECT_EQ(-EEXIST, wx_alloc(self->fd, POOL, 0, 1));
	EXPECT_EQ(-EEXIST, wx_alloc(self->fd, 2, 1, 1));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 2);
	/* A living pool of the same name does not get them back. */
	EXPECT_EQ(0, wx_alloc(self->fd, POOL, 5, 1));
	EXPECT_EQ(WXPOOL_POOL_LIVE, wx_pool_info(self->fd, POOL).pool_state);
	EXPECT_EQ(-ENOENT, wx_protect(self->fd, POOL, 0, 1, WXPOOL_PROT_X));
	EXPECT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(1, arg.pages_freed);
	EXPECT_EQ(0, arg.pages_kept);
	EXPECT_POOL(self->fd, POOL, WXPOOL_POOL_KEPT, 2, 0);

	EXPECT_EQ(0, child_end(&c));
	/* At once, without an operation */
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_POOL(self->fd, POOL, WXPOOL_POOL_GONE, 0, 0);
	EXPECT_EQ(0, wx_alloc(self->fd, POOL, 0, 2));
	EXPECT_STAT(self->fd, 1, 2, 0, 0, 0);
}

/*
 * Each child inherits one pool more than the one before. All is freed in the parent
 * before they look for the first time, and what is kept is exactly what the
 * oldest and the youngest of those that are left have between them.
 */
TEST_F(ctx, many_children)
{
	struct child c[8];
	int i, j, order;
	char *x;

	x = wx_view(self->fd, RX, 0, 8);
	ASSERT_NE(MAP_FAILED, x);
	for (order = 0; order < 2; order++) {
		for (i = 0; i < 8; i++) {
			ASSERT_EQ(0, wx_make_code(self->fd, 1 + i, i, 40 + i));
			ASSERT_GE(FORK(&c[i]), 0);
			if (!c[i].pid) {
				child_waits(&c[i]);
				for (j = 0; j <= i; j++)
					CHILD_CHECK(runs(x + PG(j), 40 + j));
				for (; j < 8; j++)
					CHILD_CHECK(try_read(x + PG(j)) == SIGBUS);
				_exit(0);
			}
		}
		for (i = 0; i < 8; i++)
			EXPECT_EQ(0, wx_free(self->fd, 1 + i));
		EXPECT_STAT(self->fd, 0, 0, 0, 0, 8);
		/* The youngest has it all; what it alone has goes with it. */
		for (i = 0; i < 8; i++) {
			EXPECT_EQ(0, child_end(&c[order ? 7 - i : i]));
			EXPECT_STAT(self->fd, 0, 0, 0, 0, order || i == 7 ? 7 - i : 8);
		}
		EXPECT_EQ(0, wx_alloc(self->fd, 9, 0, 8));
		EXPECT_STAT(self->fd, 1, 8, 0, 0, 0);
		EXPECT_EQ(0, wx_free(self->fd, 9));
	}
}

TEST_F(ctx, grandchild)
{
	struct child c;
	uint32_t val;
	pid_t pid;
	char *x;

	/* So that it can wait for the grandchild's end */
	ASSERT_EQ(0, prctl(PR_SET_CHILD_SUBREAPER, 1));
	ASSERT_EQ(0, wx_make_code(self->fd, POOL, 0, 33));
	x = wx_view(self->fd, RX, 0, 1);
	ASSERT_NE(MAP_FAILED, x);
	ASSERT_GE(FORK(&c), 0);
	if (!c.pid) {
		/* Such that the grandchild ends with the test, if that fails */
		close(c.go[1]);
		pid = fork();
		CHILD_CHECK(pid >= 0);
		if (pid)
			_exit(0);
		child_waits(&c);
		val = try_exec(x, &val) ? 0 : val;
		CHILD_CHECK(write(c.done[1], &val, sizeof(val)) == sizeof(val));
		child_waits(&c);
		_exit(0);
	}
	/* The child itself is gone; its own child shows the page. */
	ASSERT_EQ(0, wx_wait(c.pid));
	close(c.done[1]);
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 1);
	wx_step(c.go[1]);
	ASSERT_EQ(sizeof(val), read(c.done[0], &val, sizeof(val)));
	EXPECT_EQ(33, val);
	EXPECT_EQ(-EEXIST, wx_alloc(self->fd, POOL, 0, 1));
	wx_step(c.go[1]);
	EXPECT_EQ(0, wx_wait(-1));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_EQ(0, wx_alloc(self->fd, POOL, 0, 1));
}

/* No operation but INFO, and no W view, for whoever is not the owner */
static void check_not_owner(int fd, size_t page)
{
	struct wx_stat st = wx_stat(fd), now;
	struct wxpool_info info;

	CHILD_CHECK(!wx_info(fd, &info));
	CHILD_CHECK(wx_alloc(fd, POOL, 500, 1) == -EXDEV);
	CHILD_CHECK(wx_alloc(fd, 99, 500, 1) == -EXDEV);
	CHILD_CHECK(wx_protect(fd, POOL, page, 1, WXPOOL_PROT_X) == -EXDEV);
	CHILD_CHECK(wx_protect(fd, 99, page, 1, WXPOOL_PROT_R) == -EXDEV);
	CHILD_CHECK(wx_free(fd, POOL) == -EXDEV);
	CHILD_CHECK(wx_free(fd, 99) == -EXDEV);
	CHILD_CHECK(wx_revoke(fd, POOL) == -EXDEV);
	CHILD_CHECK(wx_free_all(fd, WXPOOL_FREE_REVOKE) == -EXDEV);
	CHILD_CHECK(wx_install_code(fd, POOL, PG(500), 1) == -EXDEV);
	CHILD_CHECK(wx_install_code(fd, 99, PG(500), 1) == -EXDEV);
	CHILD_CHECK(wx_freeze(fd) == -EXDEV);
	CHILD_CHECK(wx_try_mmap(fd, RW, MAP_SHARED, page, 1) == -EXDEV);
	CHILD_CHECK(wx_try_mmap(fd, PROT_WRITE, MAP_SHARED, page, 1) == -EXDEV);
	CHILD_CHECK(wx_try_mmap(fd, RW, MAP_PRIVATE, page, 1) == -EACCES);
	CHILD_CHECK(wx_try_mmap(fd, RWX, MAP_SHARED, page, 1) == -EACCES);
	CHILD_CHECK(!wx_try_mmap(fd, RX, MAP_SHARED, page, 1));
	CHILD_CHECK(!wx_try_mmap(fd, PROT_READ, MAP_SHARED, page, 1));
	now = wx_stat(fd);
	CHILD_CHECK(!memcmp(&st, &now, sizeof(st)));
}

TEST_F(ctx, child_is_not_the_owner)
{
	pid_t pid;
	char *x;
	int fd;

	ASSERT_EQ(0, wx_make_code(self->fd, POOL, 0, 34));
	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 1, 1));
	x = wx_view(self->fd, RX, 0, 2);
	ASSERT_NE(MAP_FAILED, x);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		check_not_owner(self->fd, 1);
		/* Inherited or made anew, views show what is sealed. */
		CHILD_CHECK(!try_exec(x, NULL));
		CHILD_CHECK(try_read(x + PG(1)) == SIGBUS);
		x = wx_view(self->fd, RX, 0, 2);
		CHILD_CHECK(x != MAP_FAILED && !try_exec(x, NULL));
		CHILD_CHECK(try_read(x + PG(1)) == SIGBUS);
		/* A context of its own is its own. */
		fd = wx_open();
		CHILD_CHECK(fd >= 0 && !wx_make_code(fd, POOL, 0, 35));
		CHILD_CHECK(!wx_free(fd, POOL));
		_exit(0);
	}
	EXPECT_EQ(0, wx_wait(pid));
	/* The owner is so all the while. */
	EXPECT_EQ(0, wx_protect(self->fd, POOL, 1, 1, WXPOOL_PROT_R));
	EXPECT_EQ(0, wx_free(self->fd, POOL));
}

/*
 * Every way to touch a W view, in a child that must not have it. If it is mapped at
 * all, it shows nothing.
 */
static void check_no_w_view(char *w, bool mapped)
{
	int zero = open("/dev/zero", O_RDONLY);
	int sig = mapped ? SIGBUS : SIGSEGV;
	pid_t pid;

	CHILD_CHECK((wx_vma_prot(w) != -1) == mapped);
	CHILD_CHECK(try_write(w, 2));
	CHILD_CHECK(try_read(w) == sig);
	CHILD_CHECK(try_read(w + PG(1)) == sig);
	wx_mprotect(w, 4, RW);
	CHILD_CHECK(try_write(w, 2) == sig);
	CHILD_CHECK(try_read(w + PG(3)) == sig);
	/* Nor by the kernel, on the child's behalf */
	CHILD_CHECK(madvise(w, PG(4), MADV_POPULATE_WRITE));
	CHILD_CHECK(read(zero, w, 8) < 0);
	/* Nor in a child's child */
	pid = fork();
	if (!pid)
		_exit(try_read(w) != sig || try_write(w, 2) != sig);
	CHILD_CHECK(pid > 0 && !wx_wait(pid));
	_exit(0);
}

TEST_F(ctx, w_views_are_not_inherited)
{
	char *w, *plain;
	pid_t pid;

	plain = mmap(NULL, PG(1), RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, plain);
	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 4));
	w = wx_view(self->fd, RW, 0, 4);
	ASSERT_NE(MAP_FAILED, w);
	w[0] = w[PG(1)] = 1;
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		CHILD_CHECK(!try_write(plain, 1));
		check_no_w_view(w, false);
	}
	EXPECT_EQ(0, wx_wait(pid));
	EXPECT_EQ(1, plain[0]);
	EXPECT_EQ(1, w[0]);
}

/*
 * Asked for with MADV_DOFORK, which some kernels refuse for such mappings, the
 * view may be there, but shows nothing. And it makes the child no heir.
 */
TEST_F(ctx, w_views_with_dofork)
{
	struct wxpool_free arg;
	int readonly, refused;
	struct child c;
	char *w;

	w = wx_view(self->fd, RW, 0, 4);
	ASSERT_NE(MAP_FAILED, w);
	for (readonly = 0; readonly < 2; readonly++) {
		ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 4));
		refused = madvise(w, PG(4), MADV_DOFORK);
		ASSERT_EQ(0, wx_mprotect(w, 4, RW));
		w[0] = w[PG(1)] = 1;
		if (readonly)
			ASSERT_EQ(0, wx_mprotect(w, 4, PROT_READ));
		ASSERT_GE(FORK(&c), 0);
		if (!c.pid) {
			child_waits(&c);
			check_no_w_view(w, !refused);
		}
		EXPECT_EQ(0, wx_protect(self->fd, POOL, 1, 2, WXPOOL_PROT_X));
		EXPECT_EQ(0, child_end(&c));
		EXPECT_EQ(1, w[0]);
		/* One that lives on, and inherits nothing else */
		ASSERT_GE(FORK(&c), 0);
		if (!c.pid) {
			child_waits(&c);
			_exit(0);
		}
		EXPECT_EQ(0, wx_free_out(self->fd, POOL, &arg));
		EXPECT_EQ(4, arg.pages_freed);
		EXPECT_EQ(0, arg.pages_kept);
		EXPECT_EQ(0, child_end(&c));
	}
}

/*
 * fork() usually leaves the page tables of file mappings to faults. Not so
 * where a mapping has guard pages (6.15): those it copies, with all that is in
 * them, and no fault would tell the child from the owner.
 */
TEST_F(ctx, w_views_with_guards_and_dofork)
{
	pid_t pid;
	char *w;

	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 4));
	w = wx_view(self->fd, RW, 0, 4);
	ASSERT_NE(MAP_FAILED, w);
	if (madvise(w + PG(2), PG(1), MADV_GUARD_INSTALL))
		SKIP(return, "no guard pages in W views: %s", strerror(errno));
	if (madvise(w, PG(4), MADV_DOFORK))
		SKIP(return, "no MADV_DOFORK of W views: %s", strerror(errno));
	w[0] = w[PG(1)] = 1;
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid)
		check_no_w_view(w, true);
	EXPECT_EQ(0, wx_wait(pid));
	EXPECT_EQ(1, w[0]);
	EXPECT_EQ(0, wx_protect(self->fd, POOL, 0, 4, WXPOOL_PROT_X));
}

/* The same with X views, whose page tables may be copied: FREE finds them. */
TEST_F(ctx, x_views_with_guards)
{
	struct child c;
	uint32_t val;
	char *x;

	ASSERT_EQ(0, wx_make_code(self->fd, POOL, 0, 35));
	x = wx_view(self->fd, RX, 0, 4);
	ASSERT_NE(MAP_FAILED, x);
	if (madvise(x + PG(2), PG(1), MADV_GUARD_INSTALL))
		SKIP(return, "no guard pages in views: %s", strerror(errno));
	ASSERT_EQ(0, try_exec(x, NULL));
	ASSERT_GE(FORK(&c), 0);
	if (!c.pid) {
		child_waits(&c);
		CHILD_CHECK(!try_exec(x, &val) && val == 35);
		CHILD_CHECK(try_read(x + PG(2)) == SIGSEGV);
		_exit(0);
	}
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_EQ(SIGBUS, try_exec(x, NULL));
	EXPECT_EQ(0, child_end(&c));
}

/*
 * What is sealed after the fork can be mapped by the child, as by any holder
 * of the fd, but was not inherited: nothing is kept for it.
 */
TEST_F(ctx, sealed_after_the_fork)
{
	struct wxpool_free arg;
	struct child c;
	char *x;

	x = wx_view(self->fd, RX, 0, 4);
	ASSERT_NE(MAP_FAILED, x);
	ASSERT_EQ(0, wx_make_code(self->fd, POOL, 0, 36));
	ASSERT_GE(FORK(&c), 0);
	if (!c.pid) {
		child_waits(&c);
		CHILD_CHECK(!try_exec(x, NULL));
		CHILD_CHECK(!try_exec(x + PG(1), NULL));
		wx_step(c.done[1]);
		child_waits(&c);
		CHILD_CHECK(!try_exec(x, NULL));
		CHILD_CHECK(try_exec(x + PG(1), NULL) == SIGBUS);
		_exit(0);
	}
	ASSERT_EQ(0, wx_make_code(self->fd, 2, 1, 37));
	wx_step(c.go[1]);
	close(c.done[1]);
	ASSERT_EQ(0, wx_wait_step(c.done[0]));
	EXPECT_EQ(0, wx_free_out(self->fd, 2, &arg));
	EXPECT_EQ(1, arg.pages_freed);
	EXPECT_EQ(0, arg.pages_kept);
	EXPECT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(0, arg.pages_freed);
	EXPECT_EQ(1, arg.pages_kept);
	EXPECT_EQ(0, child_end(&c));
}

/* A child that is gone, or that inherited no view, keeps nothing. */
TEST_F(ctx, nothing_kept_for_nobody)
{
	struct wxpool_free arg;
	struct child c;
	char *x;

	x = wx_view(self->fd, RX, 0, 2);
	ASSERT_NE(MAP_FAILED, x);
	ASSERT_EQ(0, wx_make_code(self->fd, POOL, 0, 38));
	ASSERT_GE(FORK(&c), 0);
	if (!c.pid)
		_exit(0);
	ASSERT_EQ(0, wx_wait(c.pid));
	EXPECT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(1, arg.pages_freed);
	EXPECT_EQ(0, arg.pages_kept);

	ASSERT_EQ(0, wx_make_code(self->fd, POOL, 0, 38));
	ASSERT_EQ(0, madvise(x, PG(2), MADV_DONTFORK));
	ASSERT_GE(FORK(&c), 0);
	if (!c.pid) {
		child_waits(&c);
		_exit(0);
	}
	EXPECT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(1, arg.pages_freed);
	EXPECT_EQ(0, arg.pages_kept);
	EXPECT_EQ(0, child_end(&c));
}

/* Kept pages count: an owner cannot pile them up beyond its limit unseen. */
TEST_F(ctx, kept_pages_count)
{
	uint64_t empty, full;
	struct child c;

	ASSERT_EQ(0, wx_warm_up(self->fd));
	empty = wx_stat(self->fd).charged;
	ASSERT_NE(MAP_FAILED, wx_view(self->fd, RX, 0, 16));
	ASSERT_EQ(0, wx_make_pages(self->fd, POOL, 0, 16, 1));
	full = wx_stat(self->fd).charged;
	EXPECT_LE(empty + PG(16), full);
	ASSERT_GE(FORK(&c), 0);
	if (!c.pid) {
		child_waits(&c);
		_exit(0);
	}
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 16);
	EXPECT_EQ(full, wx_stat(self->fd).charged);
	EXPECT_EQ(0, child_end(&c));
	EXPECT_EQ(empty, wx_stat(self->fd).charged);
}

/*
 * Only children forked before a pool was freed keep its pages: of a server
 * whose children come and go there is always one, but never the same.
 */
TEST_F(ctx, children_in_turn)
{
	struct child first, second;
	uint32_t val;
	char *x;

	ASSERT_EQ(0, wx_make_code(self->fd, POOL, 0, 70));
	x = wx_view(self->fd, RX, 0, 1);
	ASSERT_NE(MAP_FAILED, x);
	ASSERT_GE(FORK(&first), 0);
	if (!first.pid) {
		child_waits(&first);
		CHILD_CHECK(!try_exec(x, &val) && val == 70);
		_exit(0);
	}
	ASSERT_EQ(0, wx_free(self->fd, POOL));
	ASSERT_GE(FORK(&second), 0);
	if (!second.pid) {
		CHILD_CHECK(try_read(x) == SIGBUS);
		wx_step(second.done[1]);
		child_waits(&second);
		CHILD_CHECK(!try_exec(x, &val) && val == 71);
		_exit(0);
	}
	close(second.done[1]);
	ASSERT_EQ(0, wx_wait_step(second.done[0]));
	EXPECT_EQ(-EEXIST, wx_alloc(self->fd, POOL, 0, 1));
	EXPECT_EQ(0, child_end(&first));
	ASSERT_EQ(0, wx_make_code(self->fd, POOL, 0, 71));
	EXPECT_EQ(0, child_end(&second));
	EXPECT_STAT(self->fd, 1, 0, 0, 1, 0);
}

/* ------------------------------------------------------------ packed pages */

/*
 * A page that two pools share: the owner frees one's lines, which stay as they are
 * until the child is gone. Others can come beside them, for all to see.
 */
TEST_F(packed, shared_page)
{
	struct wxpool_free arg;
	struct child c;
	int touched;

	for (touched = 0; touched < 2; touched++) {
		ASSERT_EQ(0, wx_install_code(self->fd, 1, AT(0, 0), 10));
		ASSERT_EQ(0, wx_install_code(self->fd, 2, AT(0, 1), 20));
		if (touched)
			EXPECT_CODE(self->x, 10);
		ASSERT_GT(child_start(&c), -1);
		if (!c.pid) {
			child_waits(&c);
			CHILD_CHECK(runs(self->x, 10));
			CHILD_CHECK(runs(self->x + LINE, 20));
			CHILD_CHECK(!memcmp(self->x, self->r, PG(1)));
			child_says(&c, 1);
			child_waits(&c);
			CHILD_CHECK(runs(self->x, 10));
			CHILD_CHECK(runs(self->x + LINE, 20));
			CHILD_CHECK(runs(self->x + 2 * LINE, 40));
			CHILD_CHECK(try_exec(self->x + 3 * LINE, NULL) == SIGTRAP);
			_exit(0);
		}
		ASSERT_EQ(0, wx_free_out(self->fd, 1, &arg));
		EXPECT_EQ(0, arg.pages_freed);
		EXPECT_EQ(0, arg.pages_kept);
		EXPECT_EQ(1, arg.lines_kept);
		EXPECT_STAT(self->fd, 1, 0, 0, 1, 0);
		EXPECT_PACKED(self->fd, 1, 1, 0);
		EXPECT_KEPT_LINES(self->fd, 1);
		EXPECT_POOL(self->fd, 1, WXPOOL_POOL_KEPT, 0, 1);
		/* The exception: the owner could still run it. */
		EXPECT_CODE(self->x, 10);
		EXPECT_CODE(self->x + LINE, 20);
		ASSERT_EQ(1, child_step(&c));

		EXPECT_EQ(-EEXIST, wx_install_code(self->fd, 3, AT(0, 0), 30));
		EXPECT_EQ(-EEXIST, wx_install_code(self->fd, 2, AT(0, 0), 30));
		ASSERT_EQ(0, wx_install_code(self->fd, 3, AT(0, 2), 40));
		ASSERT_EQ(0, wx_free_out(self->fd, 2, &arg));
		EXPECT_EQ(0, arg.pages_kept);
		EXPECT_EQ(1, arg.lines_kept);
		EXPECT_CODE(self->x + LINE, 20);
		/* The pool is of after the fork: nothing is kept of it. */
		ASSERT_EQ(0, wx_install_code(self->fd, 4, AT(0, 3), 50));
		ASSERT_EQ(0, wx_free_out(self->fd, 4, &arg));
		EXPECT_EQ(0, arg.lines_kept);
		EXPECT_EQ(SIGTRAP, try_exec(self->x + 3 * LINE, NULL));
		EXPECT_STAT(self->fd, 1, 0, 0, 1, 0);
		EXPECT_PACKED(self->fd, 1, 1, 0);
		EXPECT_KEPT_LINES(self->fd, 2);

		EXPECT_EQ(0, child_end(&c));
		/* At once, without an operation */
		EXPECT_EQ(SIGTRAP, try_exec(self->x, NULL));
		EXPECT_EQ(SIGTRAP, try_exec(self->x + LINE, NULL));
		EXPECT_TRUE(wx_is_fill(self->r, 2 * LINE, WXPOOL_PROT_X));
		EXPECT_CODE(self->x + 2 * LINE, 40);
		EXPECT_KEPT_LINES(self->fd, 0);
		EXPECT_POOL(self->fd, 1, WXPOOL_POOL_GONE, 0, 0);
		ASSERT_EQ(0, wx_install_code(self->fd, 3, AT(0, 0), 30));
		ASSERT_EQ(0, wx_free(self->fd, 3));
		EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
		EXPECT_PACKED(self->fd, 0, 0, 0);
	}
}

/* With its last live line, whoever's it was, a page is for heirs alone. */
TEST_F(packed, last_live_line)
{
	struct wxpool_free arg;
	struct child c;

	ASSERT_EQ(0, wx_install_code(self->fd, 1, AT(0, 0), 10));
	ASSERT_EQ(0, wx_install_code(self->fd, 2, AT(0, 1), 20));
	ASSERT_GT(child_start(&c), -1);
	if (!c.pid) {
		child_waits(&c);
		CHILD_CHECK(runs(self->x, 10) && runs(self->x + LINE, 20));
		_exit(0);
	}
	/* Two pools of after the fork, one of them with a page of its own */
	ASSERT_EQ(0, wx_install_code(self->fd, 3, AT(0, 2), 30));
	ASSERT_EQ(0, wx_install_code(self->fd, 3, AT(1, 0), 31));
	ASSERT_EQ(0, wx_free(self->fd, 1));
	ASSERT_EQ(0, wx_free(self->fd, 2));
	EXPECT_STAT(self->fd, 1, 0, 0, 2, 0);
	EXPECT_KEPT_LINES(self->fd, 2);
	EXPECT_CODE(self->x, 10);
	ASSERT_EQ(0, wx_free_out(self->fd, 3, &arg));
	EXPECT_EQ(1, arg.pages_freed);
	EXPECT_EQ(1, arg.pages_kept);
	EXPECT_EQ(0, arg.lines_kept);
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 1);
	EXPECT_PACKED(self->fd, 0, 0, 0);
	EXPECT_KEPT_LINES(self->fd, 2);
	EXPECT_EQ(SIGBUS, try_exec(self->x, NULL));
	EXPECT_EQ(SIGBUS, try_read(self->r + 2 * LINE));
	EXPECT_EQ(-EEXIST, wx_install_code(self->fd, 4, AT(0, 1), 40));
	EXPECT_EQ(-EEXIST, wx_alloc(self->fd, 4, 0, 1));
	EXPECT_EQ(SIGBUS, try_exec(self->x, NULL));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 1);
	/* With another line in it, it is shared again. */
	ASSERT_EQ(0, wx_install_code(self->fd, 4, AT(0, 2), 40));
	EXPECT_STAT(self->fd, 1, 0, 0, 1, 0);
	EXPECT_PACKED(self->fd, 1, 1, 0);
	EXPECT_KEPT_LINES(self->fd, 2);
	EXPECT_CODE(self->x, 10);
	EXPECT_CODE(self->x + 2 * LINE, 40);
	EXPECT_EQ(-EEXIST, wx_install_code(self->fd, 4, AT(0, 0), 40));
	ASSERT_EQ(0, wx_free_out(self->fd, 4, &arg));
	EXPECT_EQ(1, arg.pages_kept);
	EXPECT_EQ(0, arg.lines_kept);
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 1);
	EXPECT_EQ(SIGBUS, try_exec(self->x + 2 * LINE, NULL));
	EXPECT_EQ(0, child_end(&c));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_KEPT_LINES(self->fd, 0);
	EXPECT_EQ(SIGBUS, try_read(self->x));
	EXPECT_EQ(0, wx_install_code(self->fd, 4, AT(0, 2), 40));
}

/* A page that ends is kept, and takes lines of its own kind only. */
TEST_F(packed, page_that_ends)
{
	struct wxpool_install_range both[2];
	struct wxpool_free arg;
	struct child c, late;
	char src[LINE];

	wx_pattern(src, sizeof(src), 1);
	both[0] = wx_bytes(AT(0, 6), src, LINE, WXPOOL_PROT_X);
	both[1] = wx_bytes(AT(0, 5), src, LINE, WXPOOL_PROT_X);
	ASSERT_EQ(0, wx_install_code(self->fd, 1, AT(0, 5), 10));
	ASSERT_EQ(0, wx_install(self->fd, 2, AT(1, 0), src, LINE, WXPOOL_PROT_R));
	ASSERT_GE(FORK(&c), 0);
	if (!c.pid) {
		child_waits(&c);
		CHILD_CHECK(runs(self->x + AT(0, 5), 10));
		CHILD_CHECK(wx_is_fill(self->r, 5 * LINE, WXPOOL_PROT_X));
		CHILD_CHECK(!memcmp(src, self->r + PG(1), LINE));
		CHILD_CHECK(try_read(self->x + PG(1)) == SIGBUS);
		_exit(0);
	}
	ASSERT_EQ(0, wx_free_out(self->fd, 1, &arg));
	EXPECT_EQ(0, arg.pages_freed);
	EXPECT_EQ(1, arg.pages_kept);
	EXPECT_EQ(1, arg.lines_kept);
	ASSERT_EQ(0, wx_free_out(self->fd, 2, &arg));
	EXPECT_EQ(1, arg.pages_kept);
	EXPECT_EQ(1, arg.lines_kept);
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 2);
	EXPECT_PACKED(self->fd, 0, 0, 0);
	EXPECT_EQ(SIGBUS, try_exec(self->x + AT(0, 5), NULL));
	EXPECT_EQ(SIGBUS, try_read(self->r + PG(1)));
	EXPECT_EQ(-EEXIST, wx_alloc(self->fd, 1, 0, 1));
	EXPECT_EQ(-EEXIST, wx_alloc(self->fd, 1, 1, 1));
	EXPECT_EQ(-ENOENT, wx_protect(self->fd, 1, 0, 1, WXPOOL_PROT_X));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 2);

	EXPECT_EQ(-EEXIST, wx_install(self->fd, 1, AT(0, 6), src, 1, WXPOOL_PROT_R));
	EXPECT_EQ(-EEXIST, wx_install_code(self->fd, 1, AT(0, 5), 11));
	EXPECT_EQ(-EEXIST, wx_install_code(self->fd, 1, AT(1, 1), 11));
	ASSERT_GE(FORK(&late), 0);
	if (!late.pid) {
		child_waits(&late);
		CHILD_CHECK(try_read(self->r) == SIGBUS);
		_exit(0);
	}
	/* What a call shows that fails is hidden again, from younger children, too. */
	EXPECT_EQ(-EEXIST, wx_install_vec(self->fd, 1, both, 2));
	EXPECT_EQ(0, child_end(&late));
	EXPECT_EQ(SIGBUS, try_read(self->r));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 2);
	EXPECT_EQ(0, child_end(&c));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_EQ(0, wx_alloc(self->fd, 1, 0, 2));
	EXPECT_STAT(self->fd, 1, 2, 0, 0, 0);
}

/*
 * Several generations in a page, each with a child of its own, which end in each
 * order: exactly what the others inherited stays.
 */
TEST_F(packed, generations)
{
	const int orders[][3] = {
		{ 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 },
	};
	struct child c[3];
	unsigned int order;
	bool gone[3];
	int i, j;

	for (order = 0; order < 6; order++) {
		ASSERT_EQ(0, wx_install_code(self->fd, 50, AT(0, 9), 99));
		for (i = 0; i < 3; i++) {
			/* Line i and all of page 1 + i, which line 9 does not keep */
			ASSERT_EQ(0, wx_install_code(self->fd, 1 + i, AT(0, i), 10 + i));
			ASSERT_EQ(0, wx_install_code(self->fd, 1 + i, AT(1 + i, 0), 20 + i));
			ASSERT_GE(FORK(&c[i]), 0);
			if (!c[i].pid) {
				child_waits(&c[i]);
				CHILD_CHECK(runs(self->x + AT(0, i), 10 + i));
				CHILD_CHECK(runs(self->x + PG(1 + i), 20 + i));
				CHILD_CHECK(runs(self->x + AT(0, 9), 99));
				if (i)
					CHILD_CHECK(try_exec(self->x + PG(i), NULL) == SIGBUS);
				_exit(0);
			}
			ASSERT_EQ(0, wx_free(self->fd, 1 + i));
			EXPECT_CODE(self->x + AT(0, i), 10 + i);
			EXPECT_EQ(SIGBUS, try_exec(self->x + PG(1 + i), NULL));
			gone[i] = false;
		}
		EXPECT_STAT(self->fd, 1, 0, 0, 1, 3);
		EXPECT_KEPT_LINES(self->fd, 6);
		for (i = 0; i < 3; i++) {
			EXPECT_EQ(0, child_end(&c[orders[order][i]]));
			gone[orders[order][i]] = true;
			EXPECT_STAT(self->fd, 1, 0, 0, 1, 2 - i);
			EXPECT_KEPT_LINES(self->fd, 2 * (2 - i));
			for (j = 0; j < 3; j++)
				EXPECT_EQ(gone[j] ? SIGTRAP : 0,
					  try_exec(self->x + AT(0, j), NULL));
			EXPECT_CODE(self->x + AT(0, 9), 99);
		}
		ASSERT_EQ(0, wx_free(self->fd, 50));
		EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
		EXPECT_PACKED(self->fd, 0, 0, 0);
	}
}

TEST_F(packed, grandchild)
{
	struct child c;
	pid_t pid;
	char ok;

	ASSERT_EQ(0, prctl(PR_SET_CHILD_SUBREAPER, 1));
	ASSERT_EQ(0, wx_install_code(self->fd, 1, AT(0, 0), 10));
	ASSERT_EQ(0, wx_install_code(self->fd, 2, AT(0, 1), 20));
	ASSERT_GE(FORK(&c), 0);
	if (!c.pid) {
		/* Such that the grandchild ends with the test, if that fails */
		close(c.go[1]);
		pid = fork();
		CHILD_CHECK(pid >= 0);
		if (pid)
			_exit(0);
		child_waits(&c);
		ok = runs(self->x, 10) && runs(self->x + LINE, 20);
		CHILD_CHECK(write(c.done[1], &ok, 1) == 1);
		child_waits(&c);
		_exit(0);
	}
	ASSERT_EQ(0, wx_wait(c.pid));
	close(c.done[1]);
	ASSERT_EQ(0, wx_free(self->fd, 1));
	EXPECT_EQ(-EEXIST, wx_install_code(self->fd, 3, AT(0, 0), 30));
	EXPECT_STAT(self->fd, 1, 0, 0, 1, 0);
	EXPECT_KEPT_LINES(self->fd, 1);
	wx_step(c.go[1]);
	ASSERT_EQ(1, read(c.done[0], &ok, 1));
	EXPECT_EQ(1, ok);
	wx_step(c.go[1]);
	EXPECT_EQ(0, wx_wait(-1));
	EXPECT_KEPT_LINES(self->fd, 0);
	EXPECT_EQ(SIGTRAP, try_exec(self->x, NULL));
	EXPECT_EQ(0, wx_install_code(self->fd, 3, AT(0, 0), 30));
	EXPECT_CODE(self->x, 30);
	EXPECT_CODE(self->x + LINE, 20);
}

/* Not inherited, nothing kept: lines of after the fork, views that are gone */
TEST_F(packed, nothing_to_keep)
{
	struct wxpool_free arg;
	struct child c;

	/* A page of after the fork, in a view of before: seen, as by any holder */
	ASSERT_GT(child_start(&c), -1);
	if (!c.pid) {
		child_waits(&c);
		CHILD_CHECK(runs(self->x, 10));
		child_says(&c, 1);
		child_waits(&c);
		CHILD_CHECK(try_exec(self->x, NULL) == SIGTRAP);
		CHILD_CHECK(runs(self->x + LINE, 20));
		_exit(0);
	}
	ASSERT_EQ(0, wx_install_code(self->fd, 1, AT(0, 0), 10));
	ASSERT_EQ(0, wx_install_code(self->fd, 2, AT(0, 1), 20));
	ASSERT_EQ(1, child_step(&c));
	ASSERT_EQ(0, wx_free_out(self->fd, 1, &arg));
	EXPECT_EQ(0, arg.pages_kept);
	EXPECT_EQ(0, arg.lines_kept);
	EXPECT_EQ(SIGTRAP, try_exec(self->x, NULL));
	EXPECT_STAT(self->fd, 1, 0, 0, 1, 0);
	EXPECT_EQ(0, child_end(&c));

	/* A child that unmaps its views, and lives on */
	ASSERT_EQ(0, wx_install_code(self->fd, 1, AT(0, 0), 10));
	ASSERT_GT(child_start(&c), -1);
	if (!c.pid) {
		CHILD_CHECK(runs(self->x, 10));
		child_waits(&c);
		munmap(self->x, PG(WIN_PAGES));
		munmap(self->r, PG(WIN_PAGES));
		child_says(&c, 1);
		child_waits(&c);
		_exit(0);
	}
	ASSERT_EQ(0, wx_free_out(self->fd, 1, &arg));
	EXPECT_EQ(1, arg.lines_kept);
	EXPECT_CODE(self->x, 10);
	ASSERT_EQ(1, child_step(&c));
	EXPECT_EQ(SIGTRAP, try_exec(self->x, NULL));
	ASSERT_EQ(0, wx_install_code(self->fd, 1, AT(0, 0), 11));
	EXPECT_STAT(self->fd, 2, 0, 0, 1, 0);
	ASSERT_EQ(0, wx_free_out(self->fd, 1, &arg));
	EXPECT_EQ(0, arg.lines_kept);
	EXPECT_CODE(self->x + LINE, 20);
	EXPECT_EQ(0, child_end(&c));
}

/* Many pages, each of which the pools of even and of odd numbers share */
TEST_F(packed, many_pages)
{
	const size_t nr = 100;
	struct wxpool_free arg;
	struct child c;
	size_t i;

	for (i = 0; i < 2 * nr; i++)
		ASSERT_EQ(0, wx_install_code(self->fd, 1 + i % 2,
					     AT(i / 2, i % 2 * 30), 500 + i));
	ASSERT_GE(FORK(&c), 0);
	if (!c.pid) {
		for (i = 0; i < 2 * nr; i += 3)
			CHILD_CHECK(runs(self->x + AT(i / 2, i % 2 * 30), 500 + i));
		child_waits(&c);
		for (i = 0; i < 2 * nr; i++)
			CHILD_CHECK(runs(self->x + AT(i / 2, i % 2 * 30), 500 + i));
		_exit(0);
	}
	ASSERT_EQ(0, wx_free_out(self->fd, 1, &arg));
	EXPECT_EQ(0, arg.pages_freed);
	EXPECT_EQ(0, arg.pages_kept);
	EXPECT_EQ(nr, arg.lines_kept);
	EXPECT_STAT(self->fd, 1, 0, 0, (long)nr, 0);
	EXPECT_PACKED(self->fd, (long)nr, (long)nr, 0);
	for (i = 0; i < nr; i++)
		EXPECT_CODE(self->x + AT(i, 30), 501 + 2 * i);
	ASSERT_EQ(0, wx_free_out(self->fd, 2, &arg));
	EXPECT_EQ(0, arg.pages_freed);
	EXPECT_EQ(nr, arg.pages_kept);
	EXPECT_EQ(nr, arg.lines_kept);
	for (i = 0; i < nr; i++)
		EXPECT_EQ(SIGBUS, try_exec(self->x + AT(i, 0), NULL));
	EXPECT_EQ(0, child_end(&c));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_KEPT_LINES(self->fd, 0);
	EXPECT_EQ(0, wx_alloc(self->fd, 1, 0, nr));
	EXPECT_STAT(self->fd, 1, (long)nr, 0, 0, 0);
}

/* ----------------------------------------------------------------- REVOKE */

/* Nothing of a pool stays, in pages of its own nor in others', for nobody. */
TEST_F(packed, revoke)
{
	uint32_t pools[] = { 1, 3 };
	struct wxpool_free arg;
	struct child c;

	ASSERT_EQ(0, wx_install_code(self->fd, 1, AT(0, 0), 10));
	ASSERT_EQ(0, wx_install_code(self->fd, 2, AT(0, 1), 20));
	ASSERT_EQ(0, wx_install_code(self->fd, 1, AT(1, 0), 11));
	ASSERT_EQ(0, wx_make_code(self->fd, 1, 2, 12));
	ASSERT_EQ(0, wx_make_code(self->fd, 3, 3, 30));
	ASSERT_GT(child_start(&c), -1);
	if (!c.pid) {
		child_waits(&c);
		CHILD_CHECK(runs(self->x, 10) && runs(self->x + PG(1), 11));
		CHILD_CHECK(runs(self->x + PG(2), 12) && runs(self->x + PG(3), 30));
		child_says(&c, 1);
		child_waits(&c);
		CHILD_CHECK(try_exec(self->x, NULL) == SIGTRAP);
		CHILD_CHECK(runs(self->x + LINE, 20));
		CHILD_CHECK(try_exec(self->x + PG(1), NULL) == SIGBUS);
		CHILD_CHECK(try_exec(self->x + PG(2), NULL) == SIGBUS);
		CHILD_CHECK(try_read(self->r + PG(3)) == SIGBUS);
		_exit(0);
	}
	ASSERT_EQ(1, child_step(&c));
	ASSERT_EQ(0, wx_free_vec(self->fd, pools, 2, WXPOOL_FREE_REVOKE, &arg));
	EXPECT_EQ(3, arg.pages_freed);
	EXPECT_EQ(0, arg.pages_kept);
	EXPECT_EQ(0, arg.lines_kept);
	EXPECT_STAT(self->fd, 1, 0, 0, 1, 0);
	EXPECT_KEPT_LINES(self->fd, 0);
	EXPECT_EQ(SIGTRAP, try_exec(self->x, NULL));
	EXPECT_CODE(self->x + LINE, 20);
	EXPECT_EQ(0, wx_alloc(self->fd, 4, 1, 3));
	EXPECT_EQ(0, child_end(&c));
}

/* What is kept already goes with all the rest, and with nothing less. */
TEST_F(packed, revoke_what_is_kept)
{
	struct wxpool_free arg;
	struct child c;

	ASSERT_EQ(0, wx_install_code(self->fd, 1, AT(0, 0), 10));
	ASSERT_EQ(0, wx_install_code(self->fd, 2, AT(0, 1), 20));
	ASSERT_EQ(0, wx_make_pages(self->fd, 1, 1, 4, 11));
	ASSERT_GT(child_start(&c), -1);
	if (!c.pid) {
		child_waits(&c);
		CHILD_CHECK(runs(self->x, 10) && runs_pages(self->x + PG(1), 4, 11));
		child_says(&c, 1);
		child_waits(&c);
		CHILD_CHECK(!readable_pages(self->x, 8));
		_exit(0);
	}
	ASSERT_EQ(0, wx_free(self->fd, 1));
	EXPECT_STAT(self->fd, 1, 0, 0, 1, 4);
	EXPECT_EQ(-ENOENT, wx_revoke(self->fd, 1));
	ASSERT_EQ(0, wx_install_code(self->fd, 1, AT(6, 0), 16));
	EXPECT_EQ(0, wx_revoke(self->fd, 1));
	EXPECT_STAT(self->fd, 1, 0, 0, 1, 4);
	EXPECT_KEPT_LINES(self->fd, 1);
	ASSERT_EQ(1, child_step(&c));
	ASSERT_EQ(0, wx_free_vec(self->fd, NULL, 0, WXPOOL_FREE_ALL | WXPOOL_FREE_REVOKE,
				 &arg));
	EXPECT_EQ(5, arg.pages_freed);
	EXPECT_EQ(0, arg.pages_kept);
	EXPECT_EQ(0, arg.lines_kept);
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_KEPT_LINES(self->fd, 0);
	EXPECT_EQ(0, wx_alloc(self->fd, 1, 0, 8));
	EXPECT_EQ(0, wx_free(self->fd, 1));
	EXPECT_EQ(0, child_end(&c));
}

/* FREE of all leaves heirs theirs. */
TEST_F(packed, free_all)
{
	struct wxpool_free arg;
	struct child c;

	ASSERT_EQ(0, wx_install_code(self->fd, 1, AT(0, 0), 10));
	ASSERT_EQ(0, wx_install_code(self->fd, 2, AT(0, 1), 20));
	ASSERT_EQ(0, wx_make_pages(self->fd, 3, 1, 2, 30));
	ASSERT_GT(child_start(&c), -1);
	if (!c.pid) {
		child_waits(&c);
		CHILD_CHECK(runs(self->x, 10) && runs(self->x + LINE, 20));
		CHILD_CHECK(runs_pages(self->x + PG(1), 2, 30));
		_exit(0);
	}
	ASSERT_EQ(0, wx_make_pages(self->fd, 4, 3, 2, 40));
	ASSERT_EQ(0, wx_free_vec(self->fd, NULL, 0, WXPOOL_FREE_ALL, &arg));
	EXPECT_EQ(2, arg.pages_freed);
	EXPECT_EQ(3, arg.pages_kept);
	EXPECT_EQ(2, arg.lines_kept);
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 3);
	EXPECT_EQ(SIGBUS, try_exec(self->x, NULL));
	EXPECT_EQ(0, child_end(&c));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
}

/* The owner is an address space: whoever shares it is the owner, too. */
static int vm_child(void *arg)
{
	int fd = *(int *)arg;
	uint32_t val;
	char *x;

	if (wx_make_code(fd, 2, 10, 50) || wx_free(fd, POOL))
		return 1;
	x = wx_view(fd, RX, 10, 1);
	return x == MAP_FAILED || try_exec(x, &val) || val != 50;
}

TEST_F(ctx, clone_vm_is_the_owner)
{
	static char stack[64 * 1024] __attribute__((aligned(16)));
	pid_t pid;

	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 1));
	pid = clone(vm_child, stack + sizeof(stack),
		    CLONE_VM | CLONE_VFORK | SIGCHLD, &self->fd);
	ASSERT_GE(pid, 0);
	EXPECT_EQ(0, wx_wait(pid));
	EXPECT_STAT(self->fd, 1, 0, 0, 1, 0);
}

/* --------------------------------------------------------- after an execve() */

#define EXEC_ENV	"WXPOOL_TEST_FD"

/* The other half of the tests below: main() is not reached in that process. */
static __attribute__((constructor)) void exec_child(void)
{
	const char *env = getenv(EXEC_ENV);
	uint32_t val;
	char *x;
	int fd;

	if (!env)
		return;
	wx_page_size = (size_t)sysconf(_SC_PAGESIZE);
	fd = atoi(env);
	check_not_owner(fd, 1);
	x = wx_view(fd, RX, 0, 2);
	CHILD_CHECK(x != MAP_FAILED);
	CHILD_CHECK(!try_exec(x, &val) && val == 39);
	CHILD_CHECK(try_read(x + PG(1)) == SIGBUS);
	_exit(0);
}

static void exec_self(int fd)
{
	char env[64];
	char name[] = "fork", *argv[] = { name, NULL }, *envp[] = { env, NULL };

	snprintf(env, sizeof(env), EXEC_ENV "=%d", fd);
	fcntl(fd, F_SETFD, 0);
	execve("/proc/self/exe", argv, envp);
	_exit(125);
}

TEST_F(ctx, exec_in_a_child)
{
	pid_t pid;

	ASSERT_EQ(0, wx_make_code(self->fd, POOL, 0, 39));
	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 1, 1));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid)
		exec_self(self->fd);
	EXPECT_EQ(0, wx_wait(pid));
	pid = vfork();
	ASSERT_GE(pid, 0);
	if (!pid)
		exec_self(self->fd);
	EXPECT_EQ(0, wx_wait(pid));
	EXPECT_STAT(self->fd, 1, 1, 0, 1, 0);
}

/* The owner's own execve() ends the ownership for good. */
TEST_F(ctx, exec_of_the_owner)
{
	pid_t pid = fork();
	int fd;

	ASSERT_GE(pid, 0);
	if (!pid) {
		fd = wx_open();
		CHILD_CHECK(fd >= 0 && !wx_make_code(fd, POOL, 0, 39));
		CHILD_CHECK(!wx_alloc(fd, POOL, 1, 1));
		exec_self(fd);
	}
	EXPECT_EQ(0, wx_wait(pid));
}

/*
 * An owner that is gone must not come back by chance: the kernel soon uses the
 * same memory for another process's address space.
 */
TEST_F(ctx, owner_is_not_reborn)
{
	int pair[2], fd, i;
	pid_t pid;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		fd = wx_open();
		CHILD_CHECK(fd >= 0 && !wx_make_code(fd, POOL, 0, 39));
		CHILD_CHECK(!wx_alloc(fd, POOL, 1, 1));
		CHILD_CHECK(!wx_send_fd(pair[1], fd));
		_exit(0);
	}
	fd = wx_recv_fd(pair[0]);
	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, wx_wait(pid));
	for (i = 0; i < 100; i++) {
		pid = fork();
		ASSERT_GE(pid, 0);
		if (!pid) {
			check_not_owner(fd, 1);
			_exit(0);
		}
		ASSERT_EQ(0, wx_wait(pid));
	}
}

TEST_HARNESS_MAIN
