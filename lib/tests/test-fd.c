// SPDX-License-Identifier: MIT
/*
 * Whatever happens to the descriptor: programs close what they do not know, as daemons do,
 * and their own files get the number. Then functions fail that need it, and nothing happens
 * to that file, nor to code that is there.
 */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "test.h"

#define WINDOW	(32 * MIB)
#define LENGTH	(8 * MIB)	/* of a file of the program's own */

enum what { CLOSED, REGULAR, MEMFD, PIPE, SOCKET, NULL_DEVICE, OTHER, REOPENED, NR_WHATS };

static const char *const names[] = {
	"closed", "a regular file", "a memfd", "a pipe", "a socket", "/dev/null",
	"another context", "a new context",
};

/* What the number of a context's descriptor became */
struct lost {
	int what;
	int fd, keep;			/* the number, and a duplicate of what it was */
	int own;			/* the program's file */
	int peer;			/* the other end of it */
	struct wxp *other;
	void *code;
	struct wxp_stats stats;
};

static struct wxp *open_small(unsigned int flags)
{
	struct wxp_options opts = { .size = sizeof(opts), .flags = flags, .window = WINDOW };
	struct wxp *w = NULL;

	CHECK_EQ(wxp_open(&w, &opts), 0);
	return w;
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* A context, and the number of its descriptor, which is the lowest one that is free */
static struct wxp *open_with_fd(unsigned int flags, int *fd)
{
	bool used[64];
	struct wxp *w;
	int i;

	for (i = 0; i < 64; i++)
		used[i] = is_open(i);
	w = open_small(flags);
	for (i = 3; i < 64 && (used[i] || !is_open(i)); i++)
		;
	if (is_fast(w)) {
		wxp_close(w);
		test_skip("the fast backend has no descriptor");
	}
	CHECK(i < 64);
	if (is_kernel(w))
		CHECK_EQ(wxp_get_fd(w), i);
	*fd = i;
	return w;
}

static int regular_file(void)
{
	char name[] = "/tmp/libwxpool-test-XXXXXX";
	int fd = mkstemp(name);

	CHECK(fd >= 0 && !unlink(name));
	return fd;
}

static void fill_file(int fd)
{
	static char bytes[1 << 16];
	size_t at;

	memset(bytes, 'x', sizeof(bytes));
	for (at = 0; at < LENGTH; at += sizeof(bytes))
		CHECK_EQ(pwrite(fd, bytes, sizeof(bytes), (off_t)at), sizeof(bytes));
}

/* Nothing was written to it, and no hole was made in it. */
static void check_file(int fd)
{
	static char bytes[1 << 16];
	struct stat st;
	size_t at, i;

	CHECK(!fstat(fd, &st));
	CHECK_EQ(st.st_size, LENGTH);
	for (at = 0; at < LENGTH; at += sizeof(bytes)) {
		CHECK_EQ(pread(fd, bytes, sizeof(bytes), (off_t)at), sizeof(bytes));
		for (i = 0; i < sizeof(bytes) && bytes[i] == 'x'; i++)
			;
		CHECK_EQ(i, sizeof(bytes));
	}
}

static void make_ends(struct lost *l, bool is_pipe)
{
	int ends[2];

	CHECK(!(is_pipe ? pipe(ends) : socketpair(AF_UNIX, SOCK_STREAM, 0, ends)));
	l->peer = ends[0];
	l->own = ends[1];
}

static void make_own(struct lost *l)
{
	switch (l->what) {
	case REGULAR:
	case MEMFD:
		l->own = l->what == MEMFD ? memfd_create("own", 0) : regular_file();
		fill_file(l->own);
		break;
	case PIPE:
	case SOCKET:
		make_ends(l, l->what == PIPE);
		break;
	case NULL_DEVICE:
		l->own = open("/dev/null", O_RDWR);
		break;
	case OTHER:
		l->other = open_with_fd(0, &l->own);
		break;
	default:
		break;
	}
}

/* Makes the number something else, as @what says. */
static void lose(struct lost *l, int what, int fd)
{
	*l = (struct lost){ .what = (enum what)what, .fd = fd, .own = -1, .peer = -1 };
	l->keep = fcntl(fd, F_DUPFD_CLOEXEC, 100);
	CHECK(l->keep >= 100);
	make_own(l);
	if (what == CLOSED || what == REOPENED)
		close(fd);
	else
		CHECK_EQ(dup2(l->own, fd), fd);
	if (what == REOPENED) {
		l->other = open_with_fd(0, &l->own);
		CHECK_EQ(l->own, fd);
	}
	if (l->other) {
		l->code = must_load(l->other, 1, 77);
		must_load(l->other, 2, 78);
		l->stats = stats_of(l->other, 0);
	}
}

/* Nothing has happened to what it became. */
static void check_own(struct lost *l)
{
	struct wxp_stats stats;
	int bytes = -1;

	CHECK_EQ(is_open(l->fd), l->what != CLOSED);
	if (l->what == REGULAR || l->what == MEMFD)
		check_file(l->own);
	if (l->peer >= 0) {
		CHECK(!ioctl(l->peer, FIONREAD, &bytes));
		CHECK_EQ(bytes, 0);
	}
	if (!l->other)
		return;
	CHECK_EQ(code_run(l->code), 77);
	stats = stats_of(l->other, 0);
	check_same_stats(&stats, &l->stats);
	CHECK_EQ(stats.charged, l->stats.charged);
	CHECK_EQ(code_run(must_load(l->other, 3, 79)), 79);
	CHECK_EQ(wxp_free(l->other, 3), 0);
}

/* The program's file goes, and the descriptor is back. */
static void give_back(struct lost *l)
{
	wxp_close(l->other);
	if (l->own >= 0)
		close(l->own);
	if (l->peer >= 0)
		close(l->peer);
	CHECK_EQ(dup2(l->keep, l->fd), l->fd);
	close(l->keep);
}

/* Pools 1: runs, 2: is open, 3: has a place, 4: has variables alone */
struct victim {
	struct wxp *w;
	int fd;
	void *code;
	struct wxp_mem open, vars;
	struct wxp_span span;
};

static void make_victim(struct victim *v, unsigned int flags, bool has_open)
{
	struct wxp_request r = { CODE_SIZE, 0, WXP_RX };

	*v = (struct victim){ 0 };
	v->w = open_with_fd(flags, &v->fd);
	v->code = must_load(v->w, 1, 5);
	must_alloc(v->w, 1, 2 * MIB, 0, WXP_RW);
	if (has_open) {
		v->open = must_alloc(v->w, 2, CODE_SIZE, 0, WXP_RX);
		code_write(v->open.write, 6);
	}
	CHECK_EQ(wxp_place(v->w, 3, &r, 1, &v->span), 0);
	v->vars = must_alloc(v->w, 4, 2 * MIB, 0, WXP_RW);
	memset(v->vars.addr, 7, 2 * MIB);
}

static int install(struct victim *v)
{
	char code[CODE_SIZE];

	code_write(code, 8);
	return wxp_install(v->w, 3, &(struct wxp_piece){ v->span.addr, code, CODE_SIZE }, 1);
}

static void check_victim(struct victim *v)
{
	const char *vars = v->vars.addr;

	CHECK_EQ(code_run(v->code), 5);
	CHECK(vars[0] == 7 && vars[MIB] == 7 && vars[2 * MIB - 1] == 7);
	if (v->open.write) {
		CHECK(!store_faults(v->open.write));
		code_write(v->open.write, 6);
	}
}

/* Each function that needs the descriptor, none of which changes anything */
static void call_all(struct victim *v)
{
	struct wxp_stats before = stats_of(v->w, 0), after;
	struct wxp_part part = { "\0", 1, WXP_R, NULL };
	char code[CODE_SIZE] = { 0 };
	void *addr;

	CHECK_EQ(wxp_load(v->w, 1, code, CODE_SIZE, WXP_RX, &addr), -EBADF);
	CHECK_EQ(wxp_load(v->w, 9, code, CODE_SIZE, WXP_RX, &addr), -EBADF);
	CHECK_EQ(wxp_load_many(v->w, 9, &part, 1), -EBADF);
	CHECK_EQ(install(v), -EBADF);
	CHECK_EQ(install(v), -EBADF);
	if (v->open.write)
		CHECK_EQ(wxp_protect(v->w, 2), -EBADF);
	CHECK_EQ(wxp_free(v->w, 1), -EBADF);
	CHECK_EQ(wxp_free_many(v->w, (uint32_t[]){ 1, 4 }, 2), -EBADF);
	if (is_kernel(v->w))
		CHECK_EQ(wxp_freeze(v->w), -EBADF);
	after = stats_of(v->w, 0);
	check_same_stats(&before, &after);
	CHECK_EQ(after.charged, 0);
	check_victim(v);
}

/* The first memory of all, for which the W view is made, or more of it */
static void call_alloc(struct victim *v)
{
	struct wxp_request r = { 3 * PAGE, 0, WXP_RX };
	struct wxp_stats before = stats_of(v->w, 0), after;
	struct wxp_mem m;
	int i;

	if (is_kernel(v->w)) {
		for (i = 0; i < 2; i++) {
			CHECK_EQ(wxp_alloc(v->w, 5, CODE_SIZE, 0, WXP_RX, &m), -EBADF);
			CHECK_EQ(wxp_alloc(v->w, 5, CODE_SIZE, 0, WXP_R, &m), -EBADF);
			CHECK_EQ(wxp_reserve(v->w, 5, &r, 1), -EBADF);
		}
		after = stats_of(v->w, 0);
		check_same_stats(&before, &after);
		return;
	}
	/* That memory is not the file's: it fails where it is sealed. */
	m = must_alloc(v->w, 5, CODE_SIZE, 0, WXP_RX);
	CHECK(is_zero(m.write, CODE_SIZE));
	code_write(m.write, 9);
	CHECK_EQ(wxp_protect(v->w, 5), -EBADF);
	CHECK(!store_faults(m.write));
	CHECK_EQ(wxp_free(v->w, 5), -EBADF);
}

/* With the descriptor back, all goes on as if nothing had been. */
static void go_on(struct victim *v)
{
	int err;

	check_victim(v);
	if (v->open.write) {
		CHECK_EQ(wxp_protect(v->w, 2), 0);
		CHECK_EQ(code_run(v->open.addr), 6);
		CHECK_EQ(wxp_free(v->w, 2), 0);
	}
	CHECK_EQ(install(v), 0);
	CHECK_EQ(code_run(v->span.addr), 8);
	CHECK_EQ(code_run(must_load(v->w, 1, 3)), 3);
	err = wxp_free(v->w, 5);
	CHECK(err == 0 || err == -ENOENT);
	CHECK_EQ(wxp_free_many(v->w, (uint32_t[]){ 1, 3, 4 }, 3), 0);
	CHECK_EQ(stats_of(v->w, 0).pools, 0);
	check_stats(v->w);
	CHECK_EQ(wxp_freeze(v->w), 0);
	wxp_close(v->w);
	CHECK(!is_open(v->fd));
}

static void lose_and_go_on(int what, unsigned int flags, bool has_open)
{
	struct victim v;
	struct lost l;

	make_victim(&v, flags, has_open);
	lose(&l, what, v.fd);
	call_all(&v);
	check_own(&l);
	call_alloc(&v);
	check_own(&l);
	/* Neither of these has anything in the file. */
	must_alloc(v.w, 6, 100, 0, WXP_RW);
	CHECK_EQ(wxp_free(v.w, 6), 0);
	CHECK_EQ(wxp_place(v.w, 6, &(struct wxp_request){ PAGE, 0, WXP_RX }, 1, &(struct wxp_span){
			   .size = 0 }), 0);
	CHECK_EQ(wxp_free(v.w, 6), 0);
	check_victim(&v);
	check_own(&l);
	give_back(&l);
	go_on(&v);
}

static void lose_each(unsigned int flags, bool has_open)
{
	int what;

	for (what = 0; what < NR_WHATS; what++) {
		printf("# %s\n", names[what]);
		lose_and_go_on(what, flags, has_open);
	}
}

TEST(lost_descriptor)
{
	lose_each(0, true);
}

TEST(lost_descriptor_before_the_first_alloc)
{
	lose_each(0, false);
}

TEST(lost_descriptor_with_one_address)
{
	lose_each(WXP_ONE_ADDRESS, true);
}

/* It is not the library's any more to close. */
static void lose_and_close(int what, unsigned int flags)
{
	struct victim v;
	struct lost l;

	make_victim(&v, flags, true);
	lose(&l, what, v.fd);
	wxp_close(v.w);
	check_own(&l);
	CHECK(load_faults(v.code));
	if (l.other) {
		CHECK_EQ(wxp_free_many(l.other, (uint32_t[]){ 1, 2 }, 2), 0);
		CHECK_EQ(stats_of(l.other, 0).pools, 0);
	}
	give_back(&l);
	close(v.fd);
}

TEST(close_with_a_lost_descriptor)
{
	int what;

	for (what = 0; what < NR_WHATS; what++) {
		printf("# %s\n", names[what]);
		lose_and_close(what, 0);
		lose_and_close(what, WXP_ONE_ADDRESS);
	}
}

/* All at once, by a number that no context has any more */
TEST(all_descriptors_closed)
{
	struct victim a, b;
	struct wxp *w;
	int fd;

	make_victim(&a, 0, true);
	make_victim(&b, 0, true);
	close(a.fd);
	close(b.fd);
	w = open_with_fd(0, &fd);
	CHECK_EQ(fd, a.fd);
	call_all(&a);
	call_all(&b);
	CHECK_EQ(code_run(must_load(w, 1, 10)), 10);
	wxp_close(b.w);
	wxp_close(a.w);
	CHECK(is_open(fd));
	CHECK_EQ(code_run(must_load(w, 1, 11)), 11);
	wxp_close(w);
	CHECK(!is_open(fd));
}

/* A free that fails in a child forgets nothing of what was inherited. */
TEST(failed_free_in_a_child)
{
	struct wxp *w;
	void *inherited;
	int fd;
	pid_t pid;

	w = open_with_fd(0, &fd);
	inherited = must_load(w, 7, 70);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		int own = dup(0);
		void *p;

		CHILD_CHECK(own >= 0 && !close(own));
		CHILD_CHECK(!wxp_load(w, 7, "\xc3", 1, WXP_RX, &p));
		/* The child's descriptor got the lowest number that was free. */
		for (own = 3; own < 64; own++)
			if (own != fd)
				close(own);
		CHILD_CHECK(wxp_free(w, 7) == -EBADF);
		CHILD_CHECK(wxp_pool_of(w, inherited) == 7 && wxp_pool_of(w, p) == 7);
		CHILD_CHECK(code_run(inherited) == 70);
		_exit(0);
	}
	wait_child(pid);
	wxp_close(w);
}
