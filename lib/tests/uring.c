// SPDX-License-Identifier: MIT
/* Installs by a ring of the program's own. Needs the module, and liburing. */
#include <wxpool-uring.h>

#include <fcntl.h>

#include "test.h"

#define MANY	8

static struct io_uring ring;

static void open_ring(unsigned int flags)
{
	int err = io_uring_queue_init(2 * MANY, &ring, flags);

	if (err)
		test_fail(__FILE__, __LINE__, "io_uring_queue_init: %s", strerror(-err));
}

/* Code of pools 1 to MANY that is not installed yet */
struct jobs {
	struct wxp *w;
	char code[MANY][CODE_SIZE];
	struct wxp_span spans[MANY];
	struct wxp_piece pieces[MANY];
	struct wxp_op *ops[MANY];
	int results[MANY];
};

static void open_jobs(struct jobs *j)
{
	struct wxp_request r = { CODE_SIZE, 0, WXP_RX };
	uint32_t i;

	*j = (struct jobs){ .w = open_default() };
	for (i = 0; i < MANY; i++) {
		CHECK_EQ(wxp_place(j->w, i + 1, &r, 1, &j->spans[i]), 0);
		code_write(j->code[i], 10 + i);
		j->pieces[i] = (struct wxp_piece){ j->spans[i].addr, j->code[i], CODE_SIZE };
	}
}

static void prepare(struct jobs *j, uint32_t i)
{
	struct wxp_piece piece = j->pieces[i];

	CHECK_EQ(wxp_install_prepare(j->w, i + 1, &piece, 1, &j->ops[i]), 0);
	/* Which is not needed any more. */
	memset(&piece, 0xff, sizeof(piece));
}

static struct io_uring_sqe *submit_later(struct jobs *j, uint32_t i)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	CHECK(sqe);
	wxp_uring_prep_install(sqe, j->w, j->ops[i]);
	sqe->user_data = i;
	return sqe;
}

static void run_ring(struct jobs *j, unsigned int nr)
{
	struct io_uring_cqe *cqe;
	unsigned int i;

	CHECK_EQ(io_uring_submit(&ring), nr);
	for (i = 0; i < nr; i++) {
		CHECK(!io_uring_wait_cqe(&ring, &cqe));
		CHECK(cqe->user_data < MANY);
		j->results[cqe->user_data] = cqe->res;
		io_uring_cqe_seen(&ring, cqe);
	}
}

/* The ring's result for one */
static int run_one(struct jobs *j, uint32_t i)
{
	submit_later(j, i);
	run_ring(j, 1);
	return j->results[i];
}

static int complete(struct jobs *j, uint32_t i, int result)
{
	return wxp_install_complete(j->w, j->ops[i], result);
}

static bool is_installed(struct jobs *j, uint32_t i)
{
	return code_run(j->spans[i].addr) == 10 + i;
}

/* Nothing has come of it: it can be installed, and only now. */
static void install_now(struct jobs *j, uint32_t i)
{
	CHECK_EQ(wxp_install(j->w, i + 1, &j->pieces[i], 1), 0);
	CHECK(is_installed(j, i));
	CHECK_EQ(wxp_install(j->w, i + 1, &j->pieces[i], 1), -EEXIST);
}

static void close_jobs(struct jobs *j)
{
	uint32_t i;

	check_stats(j->w);
	for (i = 1; i <= MANY; i++)
		CHECK_EQ(wxp_free(j->w, i), 0);
	CHECK_EQ(stats_of(j->w, 0).pools, 0);
	wxp_close(j->w);
}

static void install_by_ring(unsigned int flags)
{
	uint32_t i;
	struct jobs j;

	open_ring(flags);
	open_jobs(&j);
	j.pieces[3].src = (void *)8;	/* not readable */
	for (i = 0; i < MANY; i++) {
		prepare(&j, i);
		submit_later(&j, i);
	}
	run_ring(&j, MANY);
	for (i = 0; i < MANY; i++) {
		CHECK_EQ(wxp_free(j.w, i + 1), -EBUSY);
		CHECK_EQ(complete(&j, i, j.results[i]), i == 3 ? -EFAULT : 0);
		CHECK(i == 3 || is_installed(&j, i));
	}
	CHECK_EQ(stats_of(j.w, 0).installed, (MANY - 1) * WXP_LINE);
	j.pieces[3].src = j.code[3];
	install_now(&j, 3);
	close_jobs(&j);
	io_uring_queue_exit(&ring);
}

TEST(install_by_own_ring)
{
	install_by_ring(0);
}

TEST(install_by_polled_ring)
{
	install_by_ring(IORING_SETUP_SQPOLL);
}

/* Pieces of several sources, and what they leave of their lines */
TEST(gather_by_ring)
{
	struct wxp_request r[] = { { 300, 0, WXP_RX }, { 200, 0, WXP_R } };
	struct wxp *w = open_default();
	struct wxp_span s[2];
	struct wxp_piece p[3];
	struct jobs j = { .w = w };
	char code[CODE_SIZE];

	open_ring(0);
	CHECK_EQ(wxp_place(w, 1, r, 2, s), 0);
	code_write(code, 99);
	p[0] = (struct wxp_piece){ (char *)s[0].addr + 128, code, 3 };
	p[1] = (struct wxp_piece){ (char *)s[0].addr + 131, code + 3, CODE_SIZE - 3 };
	p[2] = (struct wxp_piece){ (char *)s[1].addr + 10, "constants", 10 };
	CHECK_EQ(wxp_install_prepare(w, 1, p, 3, &j.ops[0]), 0);
	CHECK_EQ(complete(&j, 0, run_one(&j, 0)), 0);
	CHECK_EQ(code_run((char *)s[0].addr + 128), 99);
	CHECK(!memcmp((char *)s[0].addr + 128 + CODE_SIZE, CODE_TRAP, 4));
	CHECK(!strcmp((char *)s[1].addr + 10, "constants"));
	CHECK(is_zero(s[1].addr, 10) && is_zero((char *)s[1].addr + 20, 44));
	CHECK_EQ(stats_of(w, 1).installed, 2 * WXP_LINE);
	CHECK_EQ(wxp_free(w, 1), 0);
	wxp_close(w);
	io_uring_queue_exit(&ring);
}

TEST(linked_installs_in_order)
{
	struct jobs j;
	uint32_t i;

	open_ring(0);
	open_jobs(&j);
	for (i = 0; i < 4; i++) {
		prepare(&j, i);
		submit_later(&j, i)->flags |= i < 3 ? IOSQE_IO_LINK : 0;
	}
	run_ring(&j, 4);
	for (i = 0; i < 4; i++) {
		CHECK_EQ(complete(&j, i, j.results[i]), 0);
		CHECK(is_installed(&j, i));
	}
	close_jobs(&j);
	io_uring_queue_exit(&ring);
}

/* A second install that is linked to one that fails is never started. */
TEST(linked_install_is_cancelled)
{
	struct jobs j;

	open_ring(0);
	open_jobs(&j);
	j.pieces[0].src = (void *)8;
	prepare(&j, 0);
	prepare(&j, 1);
	submit_later(&j, 0)->flags |= IOSQE_IO_LINK;
	submit_later(&j, 1);
	run_ring(&j, 2);
	CHECK_EQ(complete(&j, 0, j.results[0]), -EFAULT);
	CHECK_EQ(complete(&j, 1, j.results[1]), -ECANCELED);
	CHECK_EQ(stats_of(j.w, 0).installed, 0);
	j.pieces[0].src = j.code[0];
	install_now(&j, 0);
	install_now(&j, 1);
	close_jobs(&j);
	io_uring_queue_exit(&ring);
}

TEST(errors_of_prepare)
{
	static struct wxp_piece many[WXP_MAX_PIECES + 1];
	struct wxp_op *op = NULL;
	struct wxp_piece beyond;
	struct jobs j;

	open_jobs(&j);
	beyond = (struct wxp_piece){ j.pieces[0].addr, j.code, 2 * WXP_LINE };
	CHECK_EQ(wxp_install_prepare(NULL, 1, j.pieces, 1, &op), -EINVAL);
	CHECK_EQ(wxp_install_prepare(j.w, 0, j.pieces, 1, &op), -EINVAL);
	CHECK_EQ(wxp_install_prepare(j.w, 1, NULL, 1, &op), -EINVAL);
	CHECK_EQ(wxp_install_prepare(j.w, 1, j.pieces, 0, &op), -EINVAL);
	CHECK_EQ(wxp_install_prepare(j.w, 1, j.pieces, 1, NULL), -EINVAL);
	CHECK_EQ(wxp_install_prepare(j.w, 1, &beyond, 1, &op), -EINVAL);
	CHECK_EQ(wxp_install_prepare(j.w, 2, j.pieces, 1, &op), -EINVAL);
	CHECK_EQ(wxp_install_prepare(j.w, 99, j.pieces, 1, &op), -ENOENT);
	CHECK_EQ(wxp_install_prepare(j.w, 1, many, WXP_MAX_PIECES + 1, &op), -E2BIG);
	CHECK(!op);
	/* Lines that are under way are nobody else's. */
	prepare(&j, 0);
	CHECK_EQ(wxp_install_prepare(j.w, 1, j.pieces, 1, &op), -EEXIST);
	CHECK_EQ(wxp_install(j.w, 1, j.pieces, 1), -EEXIST);
	CHECK_EQ(complete(&j, 0, -ECANCELED), -ECANCELED);
	install_now(&j, 0);
	close_jobs(&j);
}

/* Of one pool, more than its counter has room for: nothing happens to those that are. */
TEST(many_prepared_installs)
{
	enum { MOST = 0x20000 };
	const struct wxp_request all = { (size_t)MOST * WXP_LINE, 0, WXP_RX };
	static struct wxp_op *ops[MOST];
	struct wxp *w = open_window(64 * MIB);
	struct wxp_piece piece = { .src = "\xc3", .size = 1 };
	struct wxp_span span;
	uint32_t nr = 0;
	int err = 0;

	CHECK_EQ(wxp_place(w, 1, &all, 1, &span), 0);
	for (; !err && nr < MOST; nr += !err) {
		piece.addr = (char *)span.addr + (size_t)nr * WXP_LINE;
		err = wxp_install_prepare(w, 1, &piece, 1, &ops[nr]);
	}
	CHECK_EQ(err, -EBUSY);
	CHECK(nr > 1000);
	CHECK_EQ(wxp_free(w, 1), -EBUSY);
	while (nr--)
		CHECK_EQ(wxp_install_complete(w, ops[nr], -ECANCELED), -ECANCELED);
	CHECK_EQ(wxp_free(w, 1), 0);
	wxp_close(w);
}

TEST(other_backends_have_no_ring)
{
	struct wxp_options opts = { .size = sizeof(opts), .backend = WXP_BACKEND_PORTABLE };
	struct wxp_request r = { CODE_SIZE, 0, WXP_RX };
	struct wxp *w = NULL;
	struct wxp_span s;
	struct wxp_op *op;

	CHECK_EQ(wxp_open(&w, &opts), 0);
	CHECK_EQ(wxp_place(w, 1, &r, 1, &s), 0);
	CHECK_EQ(wxp_install_prepare(w, 1, &(struct wxp_piece){ s.addr, "", 1 }, 1, &op),
		 -EOPNOTSUPP);
	CHECK_EQ(wxp_get_fd(w), -EOPNOTSUPP);
	CHECK_EQ(wxp_free(w, 1), 0);
	wxp_close(w);
}

/* What is no result, or of no operation, changes nothing. */
TEST(what_comes_back_is_checked)
{
	static const int absurd[] = { 1, 64, 4096, INT32_MAX, -4096, -100000, INT32_MIN };
	struct jobs j, other;
	struct wxp_op *op;
	size_t i;

	open_ring(0);
	open_jobs(&j);
	open_jobs(&other);
	prepare(&j, 0);
	prepare(&j, 1);
	prepare(&other, 0);
	for (i = 0; i < sizeof(absurd) / sizeof(absurd[0]); i++)
		CHECK_EQ(complete(&j, 0, absurd[i]), -EINVAL);
	CHECK_EQ(wxp_install_complete(j.w, NULL, 0), -EINVAL);
	CHECK_EQ(wxp_install_complete(NULL, j.ops[0], 0), -EINVAL);
	CHECK_EQ(wxp_install_complete(j.w, (struct wxp_op *)&j, 0), -EINVAL);
	CHECK_EQ(wxp_install_complete(j.w, other.ops[0], -ECANCELED), -EINVAL);
	CHECK_EQ(wxp_install_complete(other.w, j.ops[0], -ECANCELED), -EINVAL);
	CHECK_EQ(wxp_free(j.w, 1), -EBUSY);
	CHECK_EQ(wxp_free(other.w, 1), -EBUSY);
	CHECK_EQ(complete(&j, 0, run_one(&j, 0)), 0);
	CHECK(is_installed(&j, 0));
	/* Twice: neither while others are under way, nor when none is. */
	op = j.ops[0];
	CHECK_EQ(wxp_install_complete(j.w, op, 0), -EINVAL);
	CHECK_EQ(wxp_install_complete(j.w, op, -ECANCELED), -EINVAL);
	CHECK_EQ(complete(&j, 1, -ECANCELED), -ECANCELED);
	CHECK_EQ(wxp_install_complete(j.w, op, -EACCES), -EINVAL);
	CHECK_EQ(complete(&other, 0, -ECANCELED), -ECANCELED);
	CHECK(is_installed(&j, 0));
	close_jobs(&j);
	close_jobs(&other);
	io_uring_queue_exit(&ring);
}

TEST(pool_stays_until_completion)
{
	struct wxp_stats before, after;
	struct jobs j;

	open_jobs(&j);
	prepare(&j, 0);
	before = stats_of(j.w, 1);
	CHECK_EQ(wxp_free(j.w, 1), -EBUSY);
	CHECK_EQ(wxp_free_many(j.w, (uint32_t[]){ 1, 2 }, 2), -EBUSY);
	after = stats_of(j.w, 1);
	check_same_stats(&before, &after);
	/* The other one went. */
	CHECK_EQ(wxp_free(j.w, 2), -ENOENT);
	CHECK_EQ(wxp_pool_of(j.w, j.spans[0].addr), 1);
	CHECK_EQ(complete(&j, 0, -ECANCELED), -ECANCELED);
	CHECK_EQ(wxp_free(j.w, 1), 0);
	CHECK_EQ(wxp_pool_of(j.w, j.spans[0].addr), 0);
	wxp_close(j.w);
}

/* Any error of the program's own: what was not submitted */
TEST(not_submitted)
{
	static const int errors[] = { -ECANCELED, -EAGAIN, -EBUSY, -ENOMEM, -4095 };
	struct jobs j;
	size_t i;

	open_jobs(&j);
	for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		prepare(&j, 0);
		CHECK_EQ(complete(&j, 0, errors[i]), errors[i]);
		CHECK_EQ(stats_of(j.w, 0).installed, 0);
	}
	install_now(&j, 0);
	close_jobs(&j);
}

/* Results by which a kernel or a policy refuses a ring */
TEST(refused_ring_is_replaced)
{
	static const int errors[] = { -EOPNOTSUPP, -EACCES, -EPERM };
	struct jobs j;
	uint32_t i;

	open_jobs(&j);
	j.pieces[4].src = (void *)8;
	for (i = 0; i < 3; i++) {
		prepare(&j, i);
		CHECK_EQ(complete(&j, i, errors[i]), 0);
		CHECK(is_installed(&j, i));
	}
	prepare(&j, 4);
	CHECK_EQ(complete(&j, 4, -EACCES), -EFAULT);
	CHECK_EQ(stats_of(j.w, 0).installed, 3 * WXP_LINE);
	j.pieces[4].src = j.code[4];
	install_now(&j, 4);
	close_jobs(&j);
}

/* A ring that is not allowed to do this */
TEST(restricted_ring)
{
	struct io_uring_restriction nops = {
		.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_NOP,
	};
	struct jobs j;

	open_ring(IORING_SETUP_R_DISABLED);
	CHECK(!io_uring_register_restrictions(&ring, &nops, 1));
	CHECK(!io_uring_enable_rings(&ring));
	open_jobs(&j);
	prepare(&j, 0);
	CHECK_EQ(run_one(&j, 0), -EACCES);
	CHECK_EQ(complete(&j, 0, j.results[0]), 0);
	CHECK(is_installed(&j, 0));
	close_jobs(&j);
	io_uring_queue_exit(&ring);
}

/* The device refuses, in the ring and out of it. */
TEST(frozen_meanwhile)
{
	struct wxp_op *op;
	struct jobs j;

	open_ring(0);
	open_jobs(&j);
	prepare(&j, 0);
	prepare(&j, 1);
	CHECK_EQ(wxp_freeze(j.w), 0);
	CHECK_EQ(wxp_install_prepare(j.w, 3, &j.pieces[2], 1, &op), -EROFS);
	CHECK_EQ(complete(&j, 0, run_one(&j, 0)), -EROFS);
	CHECK_EQ(complete(&j, 1, -EACCES), -EROFS);
	CHECK_EQ(stats_of(j.w, 0).installed, 0);
	close_jobs(&j);
	io_uring_queue_exit(&ring);
}

/* The number is another context's by the time the ring sees it. */
TEST(lost_descriptor)
{
	struct wxp_stats before, after;
	struct jobs j, other;
	int fd, keep, null;

	open_ring(0);
	open_jobs(&j);
	open_jobs(&other);
	install_now(&other, 0);
	fd = wxp_get_fd(j.w);
	keep = dup(fd);
	prepare(&j, 0);
	prepare(&j, 1);
	prepare(&j, 2);
	prepare(&j, 3);
	before = stats_of(other.w, 0);
	CHECK_EQ(dup2(wxp_get_fd(other.w), fd), fd);
	CHECK_EQ(complete(&j, 0, run_one(&j, 0)), -EBADF);
	/* Which takes any command */
	null = open("/dev/null", O_RDWR);
	CHECK_EQ(dup2(null, fd), fd);
	CHECK_EQ(complete(&j, 3, run_one(&j, 3)), -EBADF);
	close(null);
	close(fd);
	CHECK_EQ(complete(&j, 1, run_one(&j, 1)), -EBADF);
	CHECK_EQ(complete(&j, 2, -EACCES), -EBADF);
	after = stats_of(other.w, 0);
	check_same_stats(&before, &after);
	CHECK_EQ(before.charged, after.charged);
	CHECK(is_installed(&other, 0));
	CHECK_EQ(dup2(keep, fd), fd);
	close(keep);
	install_now(&j, 0);
	install_now(&j, 2);
	close_jobs(&j);
	close_jobs(&other);
	io_uring_queue_exit(&ring);
}

/* The operation is the parent's: the child has a window of its own. */
static void use_in_child(struct jobs *j)
{
	char code[CODE_SIZE];
	void *addr = NULL;

	CHILD_CHECK(complete(j, 0, 0) == -EINVAL);
	CHILD_CHECK(complete(j, 0, -EACCES) == -EINVAL);
	CHILD_CHECK(wxp_free(j->w, 1) == 0);
	CHILD_CHECK(wxp_free(j->w, 1) == -ENOENT);
	code_write(code, 3);
	CHILD_CHECK(!wxp_load(j->w, 1, code, CODE_SIZE, WXP_RX, &addr));
	CHILD_CHECK(code_run(addr) == 3 && code_run(j->spans[1].addr) == 11);
	CHILD_CHECK(!wxp_free(j->w, 1));
	wxp_close(j->w);
	_exit(0);
}

TEST(fork_with_a_prepared_install)
{
	struct jobs j;
	pid_t pid;

	open_ring(0);
	open_jobs(&j);
	install_now(&j, 1);
	prepare(&j, 0);
	fflush(stdout);
	pid = fork();
	if (!pid)
		use_in_child(&j);
	wait_child(pid);
	CHECK_EQ(wxp_free(j.w, 1), -EBUSY);
	CHECK_EQ(complete(&j, 0, run_one(&j, 0)), 0);
	CHECK(is_installed(&j, 0));
	close_jobs(&j);
	io_uring_queue_exit(&ring);
}

/* A child's own ring */
static void install_in_child(struct jobs *j)
{
	struct wxp_request r = { CODE_SIZE, 0, WXP_RX };

	open_ring(0);
	CHILD_CHECK(!wxp_place(j->w, 1, &r, 1, &j->spans[0]));
	j->pieces[0].addr = j->spans[0].addr;
	prepare(j, 0);
	CHILD_CHECK(!complete(j, 0, run_one(j, 0)));
	CHILD_CHECK(is_installed(j, 0) && is_installed(j, 1));
	_exit(0);
}

TEST(ring_in_a_child)
{
	struct jobs j;
	pid_t pid;

	open_jobs(&j);
	install_now(&j, 1);
	fflush(stdout);
	pid = fork();
	if (!pid)
		install_in_child(&j);
	wait_child(pid);
	install_now(&j, 0);
	close_jobs(&j);
}

/* What was prepared and not submitted goes with its context. */
TEST(close_with_a_prepared_install)
{
	struct jobs j;

	open_jobs(&j);
	prepare(&j, 0);
	prepare(&j, 5);
	wxp_close(j.w);
}
