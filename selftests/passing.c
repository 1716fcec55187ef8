// SPDX-License-Identifier: GPL-2.0
/*
 * A context passed to an unrelated process over a socket: the peer can map and
 * run what is sealed, and nothing else. It cannot hold the owner's memory.
 */
#include "wxpool_util.h"

#define POOL	1

/*
 * The peer is forked off before the context exists, so that it has inherited
 * nothing. Owner and peer take turns by a byte over the socket.
 */
FIXTURE(peer) {
	int fd;
	int sock;		/* the owner's end, or the peer's in the peer */
	pid_t pid;
};

static void peer_says(int sock)
{
	CHILD_CHECK(!wx_step(sock));
}

static void peer_waits(int sock)
{
	CHILD_CHECK(!wx_wait_step(sock));
}

FIXTURE_SETUP(peer)
{
	self->fd = -1;
}

FIXTURE_TEARDOWN(peer)
{
}

#define START_PEER(fn) do {						\
	int _pair[2];							\
									\
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, _pair));	\
	self->pid = wx_fork();						\
	ASSERT_GE(self->pid, 0);					\
	if (!self->pid) {						\
		close(_pair[0]);					\
		fn(_pair[1], wx_recv_fd(_pair[1]));			\
		_exit(0);						\
	}								\
	close(_pair[1]);						\
	self->sock = _pair[0];						\
	self->fd = wx_open();						\
	if (self->fd == -ENOENT)					\
		SKIP(return, "no " WX_DEV ": modprobe wxpool first");	\
	ASSERT_GE(self->fd, 0);						\
	ASSERT_EQ(0, wx_make_code(self->fd, POOL, 0, 81));		\
	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 1, 2));			\
	ASSERT_EQ(0, wx_protect(self->fd, POOL, 2, 1, WXPOOL_PROT_R));	\
	ASSERT_EQ(0, wx_send_fd(self->sock, self->fd));			\
} while (0)

/* Lets the peer take its turn. */
#define TURN() do {							\
	ASSERT_EQ(0, wx_step(self->sock));				\
	ASSERT_EQ(0, wx_wait_step(self->sock));				\
} while (0)

/* Page 0 is code, 1 OPEN, 2 sealed R, 3 absent, and here 4 is XO. */
static void peer_maps(int sock, int fd)
{
	char *x, *r, *xo;
	uint32_t val;

	CHILD_CHECK(fd >= 0);
	peer_waits(sock);
	x = wx_view(fd, RX, 0, 5);
	r = wx_view(fd, PROT_READ, 0, 5);
	xo = wx_view(fd, XO, 0, 5);
	CHILD_CHECK(x != MAP_FAILED && r != MAP_FAILED && xo != MAP_FAILED);
	CHILD_CHECK(!try_exec(x, &val) && val == 81);
	CHILD_CHECK(try_read(x + PG(1)) == SIGBUS);
	CHILD_CHECK(try_read(x + PG(2)) == SIGBUS);
	CHILD_CHECK(try_read(x + PG(3)) == SIGBUS);
	CHILD_CHECK(try_read(x + PG(4)) == SIGBUS);
	CHILD_CHECK(try_read(r + PG(4)) == SIGBUS);
	CHILD_CHECK(!try_exec(xo, &val) && val == 81);
	CHILD_CHECK(try_exec(xo + PG(2), NULL) == SIGBUS);
	CHILD_CHECK(!try_exec(xo + PG(4), &val) && val == 80);
	CHILD_CHECK(wx_mprotect(xo, 5, RX) == -EACCES);
	CHILD_CHECK(wx_mprotect(xo, 5, PROT_READ) == -EACCES);
	CHILD_CHECK(!try_read(r));
	CHILD_CHECK(try_read(r + PG(1)) == SIGBUS);
	CHILD_CHECK(!try_read(r + PG(2)));
	CHILD_CHECK(try_read(r + PG(3)) == SIGBUS);
	CHILD_CHECK(try_write(x, 1) == SIGSEGV);
	CHILD_CHECK(wx_mprotect(x, 4, RW) == -EACCES);
	CHILD_CHECK(wx_mprotect(r, 4, RX) == -EACCES);
	CHILD_CHECK(wx_mprotect(r, 4, RW) == -EACCES);
	peer_says(sock);
}

TEST_F(peer, maps_what_is_sealed)
{
	unsigned char code[LINE];

	START_PEER(peer_maps);
	ASSERT_EQ(0, wx_install(self->fd, POOL, PG(4), code, wx_emit(code, 80),
				WXPOOL_PROT_XO));
	TURN();
	EXPECT_EQ(0, wx_wait(self->pid));
	EXPECT_STAT_XO(self->fd, 1, 1, 1, 1, 1, 0);
}

static void peer_tries_to_own(int sock, int fd)
{
	struct wxpool_info info;

	CHILD_CHECK(fd >= 0);
	peer_waits(sock);
	CHILD_CHECK(!wx_info(fd, &info) && info.pages_open == 1);
	CHILD_CHECK(wx_pool_info(fd, POOL).pool_pages == 3);
	CHILD_CHECK(wx_try_mmap(fd, RW, MAP_SHARED, 0, 4) == -EXDEV);
	CHILD_CHECK(wx_try_mmap(fd, PROT_WRITE, MAP_SHARED, 1, 1) == -EXDEV);
	CHILD_CHECK(wx_try_mmap(fd, RWX, MAP_SHARED, 0, 4) == -EACCES);
	CHILD_CHECK(wx_try_mmap(fd, RW, MAP_PRIVATE, 0, 4) == -EACCES);
	CHILD_CHECK(wx_alloc(fd, POOL, 10, 1) == -EXDEV);
	CHILD_CHECK(wx_alloc(fd, 2, 10, 1) == -EXDEV);
	CHILD_CHECK(wx_protect(fd, POOL, 1, 1, WXPOOL_PROT_X) == -EXDEV);
	CHILD_CHECK(wx_free(fd, POOL) == -EXDEV);
	CHILD_CHECK(wx_free(fd, 2) == -EXDEV);
	CHILD_CHECK(wx_revoke(fd, POOL) == -EXDEV);
	CHILD_CHECK(wx_free_all(fd, 0) == -EXDEV);
	CHILD_CHECK(wx_free_all(fd, WXPOOL_FREE_REVOKE) == -EXDEV);
	CHILD_CHECK(wx_install_code(fd, POOL, PG(10), 1) == -EXDEV);
	CHILD_CHECK(wx_install_code(fd, 2, PG(10), 1) == -EXDEV);
	CHILD_CHECK(wx_freeze(fd) == -EXDEV);
	peer_says(sock);
}

TEST_F(peer, is_not_the_owner)
{
	START_PEER(peer_tries_to_own);
	TURN();
	EXPECT_EQ(0, wx_wait(self->pid));
	EXPECT_STAT(self->fd, 1, 1, 1, 1, 0);
	EXPECT_EQ(0, wx_protect(self->fd, POOL, 1, 1, WXPOOL_PROT_X));
}

/* Makes views first; then sees pages come and go under them. */
static void peer_watches(int sock, int fd)
{
	char *x, *r;
	uint32_t val;

	CHILD_CHECK(fd >= 0);
	peer_waits(sock);
	x = wx_view(fd, RX, 0, 4);
	r = wx_view(fd, PROT_READ, 0, 4);
	CHILD_CHECK(x != MAP_FAILED && r != MAP_FAILED);
	CHILD_CHECK(!try_exec(x, &val) && val == 81);
	CHILD_CHECK(try_read(r + PG(1)) == SIGBUS);
	peer_says(sock);

	peer_waits(sock);	/* page 1 is sealed */
	CHILD_CHECK(!try_exec(x + PG(1), &val) && val == 82);
	CHILD_CHECK(!try_read(r + PG(1)));
	peer_says(sock);

	peer_waits(sock);	/* everything is freed */
	CHILD_CHECK(try_exec(x, &val) == SIGBUS);
	CHILD_CHECK(try_exec(x + PG(1), &val) == SIGBUS);
	CHILD_CHECK(try_read(r) == SIGBUS);
	CHILD_CHECK(try_read(r + PG(2)) == SIGBUS);
	peer_says(sock);

	peer_waits(sock);	/* and page 0 is made anew */
	CHILD_CHECK(!try_exec(x, &val) && val == 83);
	CHILD_CHECK(try_read(x + PG(1)) == SIGBUS);
	peer_says(sock);
}

TEST_F(peer, cannot_hold_memory)
{
	struct wxpool_free arg;
	char *w;

	START_PEER(peer_watches);
	TURN();

	w = wx_view(self->fd, RW, 1, 1);
	ASSERT_NE(MAP_FAILED, w);
	wx_emit(w, 82);
	ASSERT_EQ(0, wx_protect(self->fd, POOL, 1, 1, WXPOOL_PROT_X));
	TURN();

	ASSERT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(3, arg.pages_freed);
	EXPECT_EQ(0, arg.pages_kept);
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	TURN();

	ASSERT_EQ(0, wx_make_code(self->fd, 2, 0, 83));
	TURN();
	EXPECT_EQ(0, wx_wait(self->pid));
}

/* Lines come and go under a peer's views as pages do. */
static void peer_watches_lines(int sock, int fd)
{
	char *x, *r;
	uint32_t val;

	CHILD_CHECK(fd >= 0);
	peer_waits(sock);	/* two lines of page 5 */
	x = wx_view(fd, RX, 5, 1);
	r = wx_view(fd, PROT_READ, 5, 1);
	CHILD_CHECK(x != MAP_FAILED && r != MAP_FAILED);
	CHILD_CHECK(!try_exec(x, &val) && val == 85);
	CHILD_CHECK(!try_exec(x + LINE, &val) && val == 86);
	CHILD_CHECK(try_exec(x + 2 * LINE, &val) == SIGTRAP);
	CHILD_CHECK(try_write(x + 2 * LINE, 1) == SIGSEGV);
	CHILD_CHECK(wx_mprotect(x, 1, RW) == -EACCES);
	CHILD_CHECK(wx_try_mmap(fd, RW, MAP_SHARED, 5, 1) == -EXDEV);
	peer_says(sock);

	peer_waits(sock);	/* the first is freed */
	CHILD_CHECK(try_exec(x, &val) == SIGTRAP);
	CHILD_CHECK(wx_is_fill(r, LINE, WXPOOL_PROT_X));
	CHILD_CHECK(!try_exec(x + LINE, &val) && val == 86);
	peer_says(sock);

	peer_waits(sock);	/* and the other */
	CHILD_CHECK(try_exec(x + LINE, &val) == SIGBUS);
	CHILD_CHECK(try_read(r) == SIGBUS);
	peer_says(sock);

	peer_waits(sock);	/* a new one */
	CHILD_CHECK(!try_exec(x + 2 * LINE, &val) && val == 87);
	CHILD_CHECK(try_exec(x, &val) == SIGTRAP);
	peer_says(sock);
}

TEST_F(peer, sees_lines_come_and_go)
{
	struct wxpool_free arg;

	START_PEER(peer_watches_lines);
	ASSERT_EQ(0, wx_install_code(self->fd, 2, PG(5), 85));
	ASSERT_EQ(0, wx_install_code(self->fd, 3, PG(5) + LINE, 86));
	TURN();
	ASSERT_EQ(0, wx_free_out(self->fd, 2, &arg));
	EXPECT_EQ(0, arg.pages_freed);
	EXPECT_EQ(0, arg.lines_kept);
	TURN();
	ASSERT_EQ(0, wx_free_out(self->fd, 3, &arg));
	EXPECT_EQ(1, arg.pages_freed);
	EXPECT_EQ(0, arg.pages_kept);
	TURN();
	ASSERT_EQ(0, wx_install_code(self->fd, 2, PG(5) + 2 * LINE, 87));
	TURN();
	EXPECT_EQ(0, wx_wait(self->pid));
}

/* A peer's own fork and its threads change nothing of that. */
static void peer_forks(int sock, int fd)
{
	int go[2], status;
	pid_t pid;
	char *x;

	CHILD_CHECK(fd >= 0 && !pipe(go));
	peer_waits(sock);
	x = wx_view(fd, RX, 0, 4);
	CHILD_CHECK(x != MAP_FAILED && !try_exec(x, NULL));
	pid = fork();
	CHILD_CHECK(pid >= 0);
	if (!pid) {
		wx_wait_step(go[0]);
		CHILD_CHECK(try_exec(x, NULL) == SIGBUS);
		CHILD_CHECK(wx_free(fd, 2) == -EXDEV);
		_exit(0);
	}
	peer_says(sock);
	peer_waits(sock);
	wx_step(go[1]);
	status = wx_wait(pid);
	CHILD_CHECK(!status);
	CHILD_CHECK(try_exec(x, NULL) == SIGBUS);
	peer_says(sock);
}

TEST_F(peer, fork_of_a_peer_keeps_nothing)
{
	struct wxpool_free arg;

	START_PEER(peer_forks);
	TURN();
	ASSERT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(3, arg.pages_freed);
	EXPECT_EQ(0, arg.pages_kept);
	TURN();
	EXPECT_EQ(0, wx_wait(self->pid));
}

/*
 * What is kept for a child of the owner's is out of a peer's reach, but for lines
 * in pages that others use; and it comes back for nobody when the child ends.
 */
static void peer_watches_kept(int sock, int fd)
{
	char *x, *late;
	uint32_t val;

	CHILD_CHECK(fd >= 0);
	peer_waits(sock);	/* all is there */
	x = wx_view(fd, RX, 0, 8);
	CHILD_CHECK(x != MAP_FAILED);
	CHILD_CHECK(!try_exec(x, &val) && val == 81);
	CHILD_CHECK(!try_exec(x + PG(5), &val) && val == 85);
	peer_says(sock);

	peer_waits(sock);	/* the pool is kept */
	late = wx_view(fd, RX, 0, 8);
	CHILD_CHECK(late != MAP_FAILED);
	CHILD_CHECK(try_exec(x, NULL) == SIGBUS);
	CHILD_CHECK(try_exec(late, NULL) == SIGBUS);
	CHILD_CHECK(!try_exec(x + PG(5), &val) && val == 85);
	CHILD_CHECK(!try_exec(late + PG(5) + LINE, &val) && val == 86);
	CHILD_CHECK(wx_pool_info(fd, POOL).pool_state == WXPOOL_POOL_KEPT);
	peer_says(sock);

	peer_waits(sock);	/* and gone */
	CHILD_CHECK(try_exec(x, NULL) == SIGBUS);
	CHILD_CHECK(try_exec(x + PG(5), NULL) == SIGTRAP);
	CHILD_CHECK(!try_exec(x + PG(5) + LINE, &val) && val == 86);
	CHILD_CHECK(wx_pool_info(fd, POOL).pool_state == WXPOOL_POOL_GONE);
	peer_says(sock);
}

TEST_F(peer, sees_nothing_of_what_is_kept)
{
	struct wxpool_free arg;
	uint32_t val;
	pid_t child;
	int go[2];
	char *x;

	START_PEER(peer_watches_kept);
	ASSERT_EQ(0, pipe(go));
	x = wx_view(self->fd, RX, 0, 8);
	ASSERT_NE(MAP_FAILED, x);
	ASSERT_EQ(0, wx_install_code(self->fd, POOL, PG(5), 85));
	ASSERT_EQ(0, wx_install_code(self->fd, 2, PG(5) + LINE, 86));
	child = fork();
	ASSERT_GE(child, 0);
	if (!child) {
		close(go[1]);
		close(self->sock);
		wx_wait_step(go[0]);
		CHILD_CHECK(!try_exec(x, &val) && val == 81);
		CHILD_CHECK(!try_exec(x + PG(5), &val) && val == 85);
		_exit(0);
	}
	close(go[0]);
	TURN();
	ASSERT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(3, arg.pages_kept);
	EXPECT_EQ(1, arg.lines_kept);
	TURN();
	close(go[1]);
	EXPECT_EQ(0, wx_wait(child));
	TURN();
	EXPECT_EQ(0, wx_wait(self->pid));
	EXPECT_STAT(self->fd, 1, 0, 0, 1, 0);
}

/*
 * When the owner is gone, the peer's views go on showing what is sealed: the
 * context lives until the last fd and view. Nobody can change it any more.
 */
TEST(owner_gone)
{
	int pair[2], fd;
	uint32_t val;
	pid_t pid;
	char *x;

	if (access(WX_DEV, F_OK))
		SKIP(return, "no " WX_DEV ": modprobe wxpool first");
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		fd = wx_open();
		CHILD_CHECK(fd >= 0 && !wx_make_code(fd, POOL, 0, 84));
		CHILD_CHECK(!wx_alloc(fd, POOL, 1, 1));
		CHILD_CHECK(!wx_send_fd(pair[1], fd));
		_exit(0);
	}
	close(pair[1]);
	fd = wx_recv_fd(pair[0]);
	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, wx_wait(pid));
	x = wx_view(fd, RX, 0, 2);
	ASSERT_NE(MAP_FAILED, x);
	EXPECT_EQ(0, try_exec(x, &val));
	EXPECT_EQ(84, val);
	EXPECT_EQ(SIGBUS, try_read(x + PG(1)));
	EXPECT_EQ(-EXDEV, wx_free(fd, POOL));
	EXPECT_EQ(-EXDEV, wx_free_all(fd, WXPOOL_FREE_REVOKE));
	EXPECT_EQ(-EXDEV, wx_alloc(fd, POOL, 5, 1));
	EXPECT_POOL(fd, POOL, WXPOOL_POOL_LIVE, 2, 0);
	EXPECT_EQ(-EXDEV, wx_try_mmap(fd, RW, MAP_SHARED, 1, 1));
	close(fd);
	EXPECT_EQ(0, try_exec(x, &val));
	EXPECT_EQ(84, val);
}

TEST_HARNESS_MAIN
