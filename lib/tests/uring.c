// SPDX-License-Identifier: MIT
/*
 * wxpool-uring.h on a ring of the program's own. Needs the module, and
 * liburing.
 */
#include <wxpool-uring.h>

#include <fcntl.h>
#include <sys/mman.h>

#include "test.h"

static struct io_uring ring;

static struct wxp *open_both(unsigned int flags)
{
	struct wxp *w = open_default();
	int ret;

	ret = io_uring_queue_init(8, &ring, flags);
	if (ret) {
		wxp_close(w);
		test_fail(__FILE__, __LINE__, "io_uring_queue_init: %s", strerror(-ret));
	}
	return w;
}

static void close_both(struct wxp *w)
{
	io_uring_queue_exit(&ring);
	wxp_close(w);
}

static struct io_uring_sqe *next_sqe(void)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	CHECK(sqe);
	return sqe;
}

/* Submits and waits for @nr completions; results by user data. */
static void run(int *results, unsigned int nr)
{
	struct io_uring_cqe *cqe;
	unsigned int i;

	CHECK_EQ(io_uring_submit(&ring), nr);
	for (i = 0; i < nr; i++) {
		CHECK(!io_uring_wait_cqe(&ring, &cqe));
		CHECK(cqe->user_data < nr);
		results[cqe->user_data] = cqe->res;
		io_uring_cqe_seen(&ring, cqe);
	}
}

static void install_by_ring(unsigned int flags)
{
	struct wxp *w = open_both(flags);
	struct wxp_request r = { CODE_SIZE, 0, WXP_RX };
	char code[2][CODE_SIZE];
	struct wxpool_install_range ranges[2];
	struct wxpool_install ops[2];
	struct wxp_span s[2];
	struct wxp_piece p[2];
	int res[2], fd = wxp_get_fd(w);
	struct io_uring_sqe *sqe;
	uint32_t i;

	for (i = 0; i < 2; i++) {
		CHECK_EQ(wxp_place(w, i + 1, &r, 1, &s[i]), 0);
		code_write(code[i], i + 10);
		p[i] = (struct wxp_piece){ s[i].addr, code[i], CODE_SIZE };
		CHECK_EQ(wxp_install_prepare(w, i + 1, &p[i], 1, &ops[i], &ranges[i]), 0);
		sqe = next_sqe();
		wxp_uring_prep_install(sqe, fd, &ops[i]);
		sqe->user_data = i;
	}
	ranges[1].source = 8;	/* not readable */
	CHECK_EQ(wxp_free(w, 1), -EBUSY);
	run(res, 2);
	CHECK_EQ(wxp_install_done(w, &ops[0], res[0]), 0);
	CHECK_EQ(wxp_install_done(w, &ops[1], res[1]), -EFAULT);
	CHECK_EQ(code_run(s[0].addr), 10);
	CHECK(load_faults((char *)s[0].addr + PAGE));
	CHECK_EQ(stats_of(w).lines_installed, 1);
	CHECK_EQ(wxp_install(w, 2, &p[1], 1), 0);
	CHECK_EQ(code_run(s[1].addr), 11);
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK_EQ(wxp_free(w, 2), 0);
	close_both(w);
}

TEST(install_by_own_ring)
{
	install_by_ring(0);
}

TEST(install_by_polled_ring)
{
	install_by_ring(IORING_SETUP_SQPOLL);
}

/* A second install that is linked to one that fails is never started. */
TEST(linked_install_is_cancelled)
{
	struct wxp *w = open_both(0);
	struct wxp_request r = { CODE_SIZE, 0, WXP_RX };
	char code[CODE_SIZE];
	struct wxpool_install_range ranges[2];
	struct wxpool_install ops[2];
	struct wxp_span s[2];
	struct io_uring_sqe *sqe;
	int res[2];
	uint32_t i;

	code_write(code, 1);
	for (i = 0; i < 2; i++) {
		CHECK_EQ(wxp_place(w, i + 1, &r, 1, &s[i]), 0);
		CHECK_EQ(wxp_install_prepare(w, i + 1,
					     &(struct wxp_piece){ s[i].addr, code, CODE_SIZE }, 1,
					     &ops[i], &ranges[i]), 0);
		sqe = next_sqe();
		wxp_uring_prep_install(sqe, wxp_get_fd(w), &ops[i]);
		sqe->user_data = i;
		sqe->flags |= i ? 0 : IOSQE_IO_LINK;
	}
	ranges[0].source = 8;
	run(res, 2);
	CHECK_EQ(wxp_install_done(w, &ops[0], res[0]), -EFAULT);
	CHECK_EQ(wxp_install_done(w, &ops[1], res[1]), -ECANCELED);
	CHECK_EQ(stats_of(w).lines_installed, 0);
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK_EQ(wxp_free(w, 2), 0);
	close_both(w);
}

/* Runs the one that was filled in last. */
static int run_one(struct io_uring_sqe *sqe)
{
	int res = 1;

	sqe->user_data = 0;
	run(&res, 1);
	return res;
}

/* All operations, on a device of the program's own. */
TEST(every_operation)
{
	struct wxp *w = open_both(0);
	struct wxpool_info info = { .size = sizeof(info) };
	struct wxpool_alloc_range pages = { .length = PAGE };
	struct wxpool_alloc alloc = {
		.size = sizeof(alloc), .pool = 1, .ranges = (uintptr_t)&pages, .nr_ranges = 1,
	};
	struct wxpool_protect_range sealed = { .length = PAGE, .prot = WXPOOL_PROT_X };
	struct wxpool_protect protect = {
		.size = sizeof(protect), .pool = 1, .ranges = (uintptr_t)&sealed, .nr_ranges = 1,
	};
	struct wxpool_install_range bytes = { .length = CODE_SIZE, .prot = WXPOOL_PROT_X };
	struct wxpool_install install = {
		.size = sizeof(install), .pool = 1, .ranges = (uintptr_t)&bytes, .nr_ranges = 1,
	};
	uint32_t pool = 1;
	struct wxpool_free arg = {
		.size = sizeof(arg), .pools = (uintptr_t)&pool, .nr_pools = 1,
	};
	struct wxpool_freeze freeze = { .size = sizeof(freeze) };
	struct io_uring_sqe *sqe;
	char code[CODE_SIZE], *p;
	int fd;

	fd = open("/dev/wxpool", O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	sqe = next_sqe();
	wxp_uring_prep_info(sqe, fd, &info);
	CHECK_EQ(run_one(sqe), 0);
	CHECK_EQ(info.abi_version, WXPOOL_ABI_VERSION);
	CHECK_EQ(info.page_size, PAGE);
	protect.context = info.context;

	sqe = next_sqe();
	wxp_uring_prep_alloc(sqe, fd, &alloc);
	CHECK_EQ(run_one(sqe), 0);
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	code_write(p, 33);
	sqe = next_sqe();
	wxp_uring_prep_protect(sqe, fd, &protect);
	CHECK_EQ(run_one(sqe), 0);
	CHECK(store_faults(p));
	munmap(p, PAGE);
	p = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	CHECK_EQ(code_run(p), 33);
	munmap(p, PAGE);
	sqe = next_sqe();
	wxp_uring_prep_free(sqe, fd, &arg);
	CHECK_EQ(run_one(sqe), 0);
	CHECK_EQ(arg.pages_freed, 1);
	sqe = next_sqe();
	wxp_uring_prep_free(sqe, fd, &arg);
	CHECK_EQ(run_one(sqe), -ENOENT);

	sqe = next_sqe();
	wxp_uring_prep_freeze(sqe, fd, &freeze);
	CHECK_EQ(run_one(sqe), 0);
	code_write(code, 1);
	bytes.source = (uintptr_t)code;
	sqe = next_sqe();
	wxp_uring_prep_install(sqe, fd, &install);
	CHECK_EQ(run_one(sqe), -EROFS);
	close(fd);
	close_both(w);
}
