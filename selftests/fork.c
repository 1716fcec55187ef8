// SPDX-License-Identifier: GPL-2.0
/*
 * fork(): a child runs what it inherited, whatever the owner frees, and is not
 * the owner. What the owner freed is out of its own reach at once, and goes
 * back to the system when the last child is gone.
 */

#include "wxpool_util.h"

#define POOL	1

static void child_waits(struct child *c)
{
	CHILD_CHECK(!wx_wait_step(c->go[0]));
}

/* Lets the child go on, or end, and gets its status if it ends. */
static int child_end(struct child *c)
{
	wx_step(c->go[1]);
	return wx_wait(c->pid);
}

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
	EXPECT_EQ(0, arg.nr_freed);
	EXPECT_EQ(2, arg.nr_kept);
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 2);

	/* Out of the owner's reach, by any view and any operation */
	EXPECT_EQ(SIGBUS, try_exec(x, NULL));
	EXPECT_EQ(SIGBUS, try_read(r));
	EXPECT_EQ(MAP_FAILED == wx_view(self->fd, RX, 0, 2), 0);
	EXPECT_EQ(SIGBUS, try_read(wx_view(self->fd, RX, 0, 2)));
	EXPECT_EQ(SIGBUS, try_read(wx_view(self->fd, PROT_READ, 0, 2)));
	EXPECT_EQ(SIGBUS, try_write(wx_view(self->fd, RW, 0, 2), 1));
	EXPECT_EQ(-ENOENT, wx_free(self->fd, POOL));
	EXPECT_EQ(-ENOENT, wx_protect(self->fd, POOL, 0, 1, WXPOOL_PROT_X));
	EXPECT_EQ(-EEXIST, wx_alloc(self->fd, POOL, 0, 1));
	EXPECT_EQ(-EEXIST, wx_alloc(self->fd, 2, 1, 1));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 2);
	/* A living pool of the same name does not get them back. */
	EXPECT_EQ(0, wx_alloc(self->fd, POOL, 5, 1));
	EXPECT_EQ(-ENOENT, wx_protect(self->fd, POOL, 0, 1, WXPOOL_PROT_X));
	EXPECT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(1, arg.nr_freed);

	EXPECT_EQ(0, child_end(&c));
	EXPECT_EQ(0, wx_alloc(self->fd, POOL, 0, 2));
	EXPECT_STAT(self->fd, 1, 2, 0, 0, 0);
}

/* Freed in the parent before the child looks for the first time */
TEST_F(ctx, many_children)
{
	struct child c[8];
	uint32_t val;
	char *x;
	int i, j;

	x = wx_view(self->fd, RX, 0, 8);
	ASSERT_NE(MAP_FAILED, x);
	for (i = 0; i < 8; i++) {
		ASSERT_EQ(0, wx_make_code(self->fd, 1 + i, i, 40 + i));
		ASSERT_GE(FORK(&c[i]), 0);
		if (!c[i].pid) {
			child_waits(&c[i]);
			for (j = 0; j <= i; j++)
				CHILD_CHECK(!try_exec(x + PG(j), &val) &&
					    val == 40 + j);
			_exit(0);
		}
	}
	for (i = 0; i < 8; i++)
		EXPECT_EQ(0, wx_free(self->fd, 1 + i));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 8);
	/* The first ones go; pages stay until the last is gone, or earlier. */
	for (i = 0; i < 7; i++)
		EXPECT_EQ(0, child_end(&c[i]));
	EXPECT_EQ(-EEXIST, wx_alloc(self->fd, 9, 7, 1));
	EXPECT_EQ(0, child_end(&c[7]));
	EXPECT_EQ(0, wx_alloc(self->fd, 9, 0, 8));
	EXPECT_STAT(self->fd, 1, 8, 0, 0, 0);
}

TEST_F(ctx, grandchild)
{
	struct child c;
	uint32_t val;
	pid_t pid;
	char *x;

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
		close(c.done[1]);
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
	EXPECT_EQ(0, read(c.done[0], &val, sizeof(val)));
	/* The pipe ends before the address space does, or after. */
	while (wx_alloc(self->fd, POOL, 0, 1) == -EEXIST)
		usleep(1000);
	EXPECT_STAT(self->fd, 1, 1, 0, 0, 0);
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

/* Every way to touch a W view, in a child that must not have it */
static void check_no_w_view(char *w)
{
	int zero = open("/dev/zero", O_RDONLY);

	CHILD_CHECK(try_write(w, 2));
	CHILD_CHECK(try_read(w));
	CHILD_CHECK(try_read(w + PG(1)));
	wx_mprotect(w, 4, RW);
	CHILD_CHECK(try_write(w, 2));
	CHILD_CHECK(try_read(w + PG(3)));
	/* Nor by the kernel, on the child's behalf */
	CHILD_CHECK(madvise(w, PG(4), 23 /* MADV_POPULATE_WRITE */));
	CHILD_CHECK(read(zero, w, 8) < 0);
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
		CHILD_CHECK(wx_vma_prot(w) == -1);
		check_no_w_view(w);
	}
	EXPECT_EQ(0, wx_wait(pid));
	EXPECT_EQ(1, plain[0]);
	EXPECT_EQ(1, w[0]);
}

/* Asked for with MADV_DOFORK, the mapping may be there, but shows nothing. */
TEST_F(ctx, w_views_with_dofork)
{
	pid_t pid;
	int readonly;
	char *w;

	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 4));
	w = wx_view(self->fd, RW, 0, 4);
	ASSERT_NE(MAP_FAILED, w);
	for (readonly = 0; readonly < 2; readonly++) {
		madvise(w, PG(4), MADV_DOFORK);
		ASSERT_EQ(0, wx_mprotect(w, 4, RW));
		w[0] = w[PG(1)] = 1;
		if (readonly)
			ASSERT_EQ(0, wx_mprotect(w, 4, PROT_READ));
		pid = fork();
		ASSERT_GE(pid, 0);
		if (!pid)
			check_no_w_view(w);
		EXPECT_EQ(0, wx_wait(pid));
		EXPECT_EQ(1, w[0]);
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
	if (madvise(w + PG(2), PG(1), 102 /* MADV_GUARD_INSTALL */))
		SKIP(return, "no guard pages in views: %s", strerror(errno));
	madvise(w, PG(4), MADV_DOFORK);
	w[0] = w[PG(1)] = 1;
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid)
		check_no_w_view(w);
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
	if (madvise(x + PG(2), PG(1), 102 /* MADV_GUARD_INSTALL */))
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
	EXPECT_EQ(1, arg.nr_freed);
	EXPECT_EQ(0, arg.nr_kept);
	EXPECT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(0, arg.nr_freed);
	EXPECT_EQ(1, arg.nr_kept);
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
	EXPECT_EQ(1, arg.nr_freed);
	EXPECT_EQ(0, arg.nr_kept);

	ASSERT_EQ(0, wx_make_code(self->fd, POOL, 0, 38));
	ASSERT_EQ(0, madvise(x, PG(2), MADV_DONTFORK));
	ASSERT_GE(FORK(&c), 0);
	if (!c.pid) {
		child_waits(&c);
		_exit(0);
	}
	EXPECT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(1, arg.nr_freed);
	EXPECT_EQ(0, arg.nr_kept);
	EXPECT_EQ(0, child_end(&c));
}

/* What a child does to its views: split, moved, copied, they show the same. */
TEST_F(ctx, child_rearranges_views)
{
	struct child c;
	uint32_t val;
	char *x, *to;
	int i;

	for (i = 0; i < 6; i++)
		ASSERT_EQ(0, wx_make_code(self->fd, POOL, i, 60 + i));
	x = wx_view(self->fd, RX, 0, 6);
	ASSERT_NE(MAP_FAILED, x);
	ASSERT_GE(FORK(&c), 0);
	if (!c.pid) {
		CHILD_CHECK(!wx_mprotect(x + PG(1), 1, PROT_READ));
		CHILD_CHECK(!munmap(x + PG(3), PG(1)));
		child_waits(&c);
		CHILD_CHECK(!wx_mprotect(x + PG(1), 1, RX));
		CHILD_CHECK(!try_exec(x + PG(1), &val) && val == 61);
		to = mremap(x + PG(4), PG(2), PG(2),
			    MREMAP_MAYMOVE | MREMAP_FIXED, self->win);
		CHILD_CHECK(to == self->win);
		CHILD_CHECK(!try_exec(to, &val) && val == 64);
		CHILD_CHECK(!madvise(to, PG(2), MADV_DONTNEED));
		CHILD_CHECK(!try_exec(to + PG(1), &val) && val == 65);
		to = mremap(x, 0, PG(3), MREMAP_MAYMOVE);
		CHILD_CHECK(to != MAP_FAILED);
		CHILD_CHECK(!try_exec(to + PG(2), &val) && val == 62);
		_exit(0);
	}
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_EQ(0, child_end(&c));
}

/* Kept pages count: an owner cannot pile them up beyond its limit unseen. */
TEST_F(ctx, kept_pages_count)
{
	struct wxpool_info info;
	struct child c;
	uint64_t limit;
	char *x;

	ASSERT_EQ(0, wx_info(self->fd, &info));
	limit = info.context_limit / wx_page_size;
	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 16));
	ASSERT_EQ(0, wx_protect(self->fd, POOL, 0, 16, WXPOOL_PROT_X));
	x = wx_view(self->fd, RX, 0, 16);
	ASSERT_NE(MAP_FAILED, x);
	ASSERT_GE(FORK(&c), 0);
	if (!c.pid) {
		child_waits(&c);
		_exit(0);
	}
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 16);
	EXPECT_EQ(-ENOSPC, wx_alloc(self->fd, POOL, 100, limit - 15));
	EXPECT_EQ(0, child_end(&c));
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

#define AT(page, line)	((uint64_t)PG(page) + (line) * LINE)

static bool runs(const char *p, uint32_t want)
{
	uint32_t val = 0;

	return !try_exec(p, &val) && val == want;
}

#define EXPECT_CODE(p, want) do {					\
	uint32_t _val = 0;						\
									\
	EXPECT_EQ(0, try_exec(p, &_val));				\
	EXPECT_EQ((want), _val);					\
} while (0)

/*
 * A page that two pools share: the owner frees one's lines, and others come
 * there; a child of before sees none of that, one of after sees all of it.
 */
TEST_F(packed, shared_page)
{
	struct child before, after;
	struct wxpool_free arg;
	int touched;

	for (touched = 0; touched < 2; touched++) {
		ASSERT_EQ(0, wx_install_code(self->fd, 1, AT(0, 0), 10));
		ASSERT_EQ(0, wx_install_code(self->fd, 2, AT(0, 1), 20));
		if (touched)
			EXPECT_CODE(self->x, 10);
		ASSERT_GE(FORK(&before), 0);
		if (!before.pid) {
			if (touched)
				CHILD_CHECK(runs(self->x, 10));
			wx_step(before.done[1]);
			child_waits(&before);
			CHILD_CHECK(runs(self->x, 10));
			CHILD_CHECK(runs(self->x + LINE, 20));
			CHILD_CHECK(!memcmp(self->x, self->r, PG(1)));
			wx_step(before.done[1]);
			child_waits(&before);
			CHILD_CHECK(runs(self->x, 10));
			CHILD_CHECK(runs(self->x + LINE, 20));
			/* What came there later is not for it. */
			CHILD_CHECK(!runs(self->x + 2 * LINE, 40));
			_exit(0);
		}
		close(before.done[1]);
		ASSERT_EQ(0, wx_wait_step(before.done[0]));
		ASSERT_EQ(0, wx_free_out(self->fd, 1, &arg));
		EXPECT_EQ(0, arg.nr_freed);
		EXPECT_EQ(1, arg.nr_kept);
		EXPECT_STAT(self->fd, 1, 0, 0, 1, 1);
		EXPECT_PACKED(self->fd, 1, 1, 0);
		/* At once a trap for the owner, by each of its views */
		EXPECT_EQ(SIGTRAP, try_exec(self->x, NULL));
		EXPECT_TRUE(wx_is_fill(self->r, LINE, WXPOOL_PROT_X));
		EXPECT_CODE(self->x + LINE, 20);
		wx_step(before.go[1]);
		ASSERT_EQ(0, wx_wait_step(before.done[0]));

		ASSERT_EQ(0, wx_install_code(self->fd, 3, AT(0, 0), 30));
		ASSERT_EQ(0, wx_install_code(self->fd, 3, AT(0, 2), 40));
		EXPECT_CODE(self->x, 30);
		ASSERT_GE(FORK(&after), 0);
		if (!after.pid) {
			child_waits(&after);
			CHILD_CHECK(runs(self->x, 30));
			CHILD_CHECK(runs(self->x + LINE, 20));
			CHILD_CHECK(runs(self->x + 2 * LINE, 40));
			_exit(0);
		}
		ASSERT_EQ(0, wx_free(self->fd, 2));
		EXPECT_EQ(SIGTRAP, try_exec(self->x + LINE, NULL));
		EXPECT_CODE(self->x, 30);
		EXPECT_EQ(0, child_end(&before));
		EXPECT_EQ(0, child_end(&after));
		ASSERT_EQ(0, wx_free(self->fd, 3));
		EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
		EXPECT_PACKED(self->fd, 0, 0, 0);
	}
}

/* A page that ends is kept; the owner can install there again at once. */
TEST_F(packed, page_that_ends)
{
	struct wxpool_free arg;
	struct child c;
	char src[LINE];

	wx_pattern(src, sizeof(src), 1);
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
	EXPECT_EQ(0, arg.nr_freed);
	EXPECT_EQ(1, arg.nr_kept);
	ASSERT_EQ(0, wx_free_out(self->fd, 2, &arg));
	EXPECT_EQ(1, arg.nr_kept);
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 2);
	EXPECT_PACKED(self->fd, 0, 0, 0);
	EXPECT_EQ(SIGBUS, try_exec(self->x + AT(0, 5), NULL));
	EXPECT_EQ(SIGBUS, try_read(self->r + PG(1)));
	EXPECT_EQ(-EEXIST, wx_alloc(self->fd, 1, 0, 1));
	EXPECT_EQ(-EEXIST, wx_alloc(self->fd, 1, 1, 1));
	EXPECT_EQ(-ENOENT, wx_protect(self->fd, 1, 0, 1, WXPOOL_PROT_X));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 2);

	/* In the other kind, too, and in full */
	ASSERT_EQ(0, wx_install(self->fd, 1, AT(0, 5), src, 1, WXPOOL_PROT_R));
	EXPECT_TRUE(wx_is_fill(self->r, 5 * LINE, WXPOOL_PROT_R));
	EXPECT_EQ(src[0], self->r[5 * LINE]);
	EXPECT_TRUE(wx_is_fill(self->r + 5 * LINE + 1, PG(1) - 5 * LINE - 1,
			       WXPOOL_PROT_R));
	EXPECT_EQ(SIGBUS, try_read(self->x));
	ASSERT_EQ(0, wx_install_code(self->fd, 1, AT(1, 0), 11));
	EXPECT_CODE(self->x + PG(1), 11);
	EXPECT_STAT(self->fd, 1, 0, 1, 1, 2);
	/* Made, ended and refused in front of what is kept */
	ASSERT_EQ(0, wx_free_out(self->fd, 1, &arg));
	EXPECT_EQ(2, arg.nr_freed);
	EXPECT_EQ(0, arg.nr_kept);
	EXPECT_EQ(-EFAULT, wx_install(self->fd, 1, AT(0, 5), NULL, 1,
				      WXPOOL_PROT_X));
	EXPECT_EQ(SIGBUS, try_read(self->r));
	EXPECT_EQ(-EEXIST, wx_alloc(self->fd, 1, 0, 1));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 2);
	EXPECT_EQ(0, child_end(&c));
	EXPECT_EQ(0, wx_alloc(self->fd, 1, 0, 2));
	EXPECT_STAT(self->fd, 1, 2, 0, 0, 0);
}

/*
 * Several generations in the same place, each with a child of its own, which
 * end in each order.
 */
TEST_F(packed, generations)
{
	const int orders[][3] = { { 0, 1, 2 }, { 2, 1, 0 }, { 1, 0, 2 }, { 1, 2, 0 } };
	struct child c[3];
	unsigned int order;
	int i;

	for (order = 0; order < 4; order++) {
		ASSERT_EQ(0, wx_install_code(self->fd, 50, AT(0, 9), 99));
		for (i = 0; i < 3; i++) {
			/* Line 0 and all of page 1, which line 9 does not keep */
			ASSERT_EQ(0, wx_install_code(self->fd, 1 + i, AT(0, 0), 10 + i));
			ASSERT_EQ(0, wx_install_code(self->fd, 1 + i, AT(1, 0), 20 + i));
			ASSERT_GE(FORK(&c[i]), 0);
			if (!c[i].pid) {
				child_waits(&c[i]);
				CHILD_CHECK(runs(self->x, 10 + i));
				CHILD_CHECK(runs(self->x + PG(1), 20 + i));
				CHILD_CHECK(runs(self->x + AT(0, 9), 99));
				_exit(0);
			}
			ASSERT_EQ(0, wx_free(self->fd, 1 + i));
			EXPECT_EQ(SIGTRAP, try_exec(self->x, NULL));
			EXPECT_EQ(SIGBUS, try_exec(self->x + PG(1), NULL));
		}
		EXPECT_STAT(self->fd, 1, 0, 0, 1, 6);
		ASSERT_EQ(0, wx_install_code(self->fd, 4, AT(0, 0), 13));
		ASSERT_EQ(0, wx_install_code(self->fd, 4, AT(1, 0), 23));
		for (i = 0; i < 3; i++) {
			EXPECT_EQ(0, child_end(&c[orders[order][i]]));
			/* An operation, which may take back what nobody shows */
			EXPECT_EQ(-EEXIST, wx_alloc(self->fd, 4, 1, 1));
			EXPECT_CODE(self->x, 13);
			EXPECT_CODE(self->x + PG(1), 23);
			EXPECT_CODE(self->x + AT(0, 9), 99);
		}
		EXPECT_STAT(self->fd, 2, 0, 0, 2, 0);
		ASSERT_EQ(0, wx_free(self->fd, 4));
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
		close(c.done[1]);
		_exit(0);
	}
	ASSERT_EQ(0, wx_wait(c.pid));
	close(c.done[1]);
	ASSERT_EQ(0, wx_free(self->fd, 1));
	ASSERT_EQ(0, wx_install_code(self->fd, 3, AT(0, 0), 30));
	EXPECT_STAT(self->fd, 2, 0, 0, 1, 1);
	wx_step(c.go[1]);
	ASSERT_EQ(1, read(c.done[0], &ok, 1));
	EXPECT_EQ(1, ok);
	EXPECT_CODE(self->x, 30);
	wx_step(c.go[1]);
	EXPECT_EQ(0, read(c.done[0], &ok, 1));
	/* The pipe ends before the address space does, or after. */
	while (wx_stat(self->fd).kept) {
		wx_alloc(self->fd, 1, 0, 1);
		usleep(1000);
	}
	EXPECT_CODE(self->x, 30);
	EXPECT_CODE(self->x + LINE, 20);
}

/* Not inherited, nothing kept: lines of after the fork, views that are gone */
TEST_F(packed, nothing_to_keep)
{
	struct wxpool_free arg;
	struct child c;

	/* A page of after the fork, in a view of before: seen, as by any holder */
	ASSERT_GE(FORK(&c), 0);
	if (!c.pid) {
		child_waits(&c);
		CHILD_CHECK(runs(self->x, 10));
		wx_step(c.done[1]);
		child_waits(&c);
		CHILD_CHECK(try_exec(self->x, NULL) == SIGTRAP);
		CHILD_CHECK(runs(self->x + LINE, 20));
		_exit(0);
	}
	close(c.done[1]);
	ASSERT_EQ(0, wx_install_code(self->fd, 1, AT(0, 0), 10));
	ASSERT_EQ(0, wx_install_code(self->fd, 2, AT(0, 1), 20));
	wx_step(c.go[1]);
	ASSERT_EQ(0, wx_wait_step(c.done[0]));
	ASSERT_EQ(0, wx_free_out(self->fd, 1, &arg));
	EXPECT_EQ(0, arg.nr_kept);
	EXPECT_STAT(self->fd, 1, 0, 0, 1, 0);
	EXPECT_EQ(0, child_end(&c));

	/* A child that unmaps its views, and lives on */
	ASSERT_EQ(0, wx_install_code(self->fd, 1, AT(0, 0), 10));
	ASSERT_GE(FORK(&c), 0);
	if (!c.pid) {
		CHILD_CHECK(runs(self->x, 10));
		child_waits(&c);
		munmap(self->x, PG(WIN_PAGES));
		munmap(self->r, PG(WIN_PAGES));
		wx_step(c.done[1]);
		child_waits(&c);
		_exit(0);
	}
	close(c.done[1]);
	ASSERT_EQ(0, wx_free_out(self->fd, 1, &arg));
	EXPECT_EQ(1, arg.nr_kept);
	wx_step(c.go[1]);
	ASSERT_EQ(0, wx_wait_step(c.done[0]));
	/* With the next operation the kept page goes back. */
	ASSERT_EQ(0, wx_install_code(self->fd, 1, AT(0, 0), 11));
	EXPECT_STAT(self->fd, 2, 0, 0, 1, 0);
	ASSERT_EQ(0, wx_free_out(self->fd, 1, &arg));
	EXPECT_EQ(0, arg.nr_kept);
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
	EXPECT_EQ(0, arg.nr_freed);
	EXPECT_EQ(nr, arg.nr_kept);
	EXPECT_STAT(self->fd, 1, 0, 0, (long)nr, (long)nr);
	EXPECT_PACKED(self->fd, (long)nr, (long)nr, 0);
	for (i = 0; i < nr; i++) {
		EXPECT_EQ(SIGTRAP, try_exec(self->x + AT(i, 0), NULL));
		EXPECT_CODE(self->x + AT(i, 30), 501 + 2 * i);
	}
	ASSERT_EQ(0, wx_free_out(self->fd, 2, &arg));
	EXPECT_EQ(nr, arg.nr_freed);
	EXPECT_EQ(0, child_end(&c));
	EXPECT_EQ(0, wx_alloc(self->fd, 1, 0, nr));
	EXPECT_STAT(self->fd, 1, (long)nr, 0, 0, 0);
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
