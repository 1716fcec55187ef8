// SPDX-License-Identifier: MIT
/*
 * What only a machine with /dev/wxpool shows. Run as root: changes limits of
 * the module and of the system, and puts them back.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <linux/wxpool.h>

#include "test.h"

#define PARAM(name)	"/sys/module/wxpool/parameters/" name
#define MAP_COUNT	"/proc/sys/vm/max_map_count"

/* A setting that is put back, without memory allocation on the way. */
struct setting {
	int fd;
	char old[32];
	ssize_t len;
};

static void setting_open(struct setting *s, const char *path)
{
	s->fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK(s->fd >= 0);
	s->len = pread(s->fd, s->old, sizeof(s->old), 0);
	CHECK(s->len > 0);
}

static void set(struct setting *s, const char *value)
{
	CHECK_EQ(pwrite(s->fd, value, strlen(value), 0), strlen(value));
}

static void set_back(struct setting *s)
{
	CHECK_EQ(pwrite(s->fd, s->old, (size_t)s->len, 0), s->len);
}

static void set_pages(struct setting *s, size_t pages)
{
	char bytes[32];

	snprintf(bytes, sizeof(bytes), "%zu", pages * PAGE);
	set(s, bytes);
}

static struct wxpool_info info_of(struct wxp *w)
{
	struct wxpool_info info = { .size = sizeof(info) };

	CHECK(!ioctl(wxp_get_fd(w), WXPOOL_IOC_INFO, &info));
	return info;
}

static void limit_is_met(const char *param)
{
	struct wxp_request r[] = { { 40 * PAGE, 0, WXP_RX }, { 40 * PAGE, 0, WXP_R } };
	struct wxp_stats before, after;
	struct setting limit;
	struct wxp *w;
	int within, first, second;
	void *p;

	w = open_default();
	setting_open(&limit, param);
	set_pages(&limit, 64);
	within = wxp_alloc(w, 1, 30 * PAGE, 0, WXP_RX, &p);
	before = stats_of(w);
	first = wxp_alloc(w, 2, 35 * PAGE, 0, WXP_RX, &p);
	second = wxp_reserve(w, 1, r, 2);
	set_back(&limit);
	after = stats_of(w);
	CHECK_EQ(within, 0);
	CHECK_EQ(first, -ENOSPC);
	CHECK_EQ(second, -ENOSPC);
	check_same_stats(&before, &after);
	CHECK_EQ(after.vmas, before.vmas);
	must_alloc(w, 2, 35 * PAGE, 0, WXP_RX);
	CHECK_EQ(wxp_free(w, 1), 0);
	wxp_close(w);
	close(limit.fd);
}

TEST(limit_of_context)
{
	limit_is_met(PARAM("max_bytes_per_context"));
}

TEST(limit_of_user)
{
	limit_is_met(PARAM("max_bytes_per_user"));
}

static int install_code(struct wxp *w, uint32_t pool, const struct wxp_span *s, uint32_t value)
{
	char code[CODE_SIZE];

	code_write(code, value);
	return wxp_install(w, pool, &(struct wxp_piece){ s->addr, code, CODE_SIZE }, 1);
}

TEST(limit_for_installed_pages)
{
	struct wxp_request r[] = { { 20 * PAGE, 0, WXP_RX }, { CODE_SIZE, PAGE, WXP_RX } };
	struct wxp *w = open_default();
	struct wxp_span s[2];
	struct setting limit;
	char *bytes = calloc(20, PAGE);
	int big, small;

	CHECK_EQ(wxp_place(w, 1, r, 2, s), 0);
	setting_open(&limit, PARAM("max_bytes_per_context"));
	/* The device counts what it needs for them, too. */
	set_pages(&limit, 19);
	big = wxp_install(w, 1, &(struct wxp_piece){ s[0].addr, bytes, 20 * PAGE }, 1);
	small = install_code(w, 1, &s[1], 7);
	set_back(&limit);
	close(limit.fd);
	CHECK_EQ(big, -ENOSPC);
	CHECK_EQ(small, 0);
	CHECK_EQ(stats_of(w).lines_installed, 1);
	CHECK_EQ(code_run(s[1].addr), 7);
	CHECK_EQ(wxp_install(w, 1, &(struct wxp_piece){ s[0].addr, bytes, 20 * PAGE }, 1), 0);
	free(bytes);
	wxp_close(w);
}

/* What a child shares is not copied, so that freeing needs nothing. */
TEST(free_at_the_limit_beside_a_child)
{
	struct wxp_request r = { CODE_SIZE, 0, WXP_RX };
	struct wxp *w = open_default();
	struct setting limit;
	struct wxp_span s[2];
	struct child child;
	uint64_t charged;
	int ret, i;

	for (i = 0; i < 2; i++) {
		CHECK_EQ(wxp_place(w, (uint32_t)i + 1, &r, 1, &s[i]), 0);
		CHECK_EQ(install_code(w, (uint32_t)i + 1, &s[i], (uint32_t)i + 1), 0);
	}
	setting_open(&limit, PARAM("max_bytes_per_context"));
	start_child(&child, s[0].addr, 1);
	charged = info_of(w).charged;
	set(&limit, "1");
	ret = wxp_free(w, 1);
	set_back(&limit);
	close(limit.fd);
	CHECK_EQ(ret, 0);
	CHECK(info_of(w).charged <= charged);
	CHECK_EQ(info_of(w).lines_kept, 1);
	CHECK_EQ(stats_of(w).pages_kept, 0);
	CHECK_EQ(code_run(s[1].addr), 2);
	CHECK_EQ(wxp_free(w, 2), 0);
	CHECK_EQ(stats_of(w).pages_kept, 1);
	CHECK_EQ(load_faults(s[1].addr), SIGBUS);
	end_child(&child);
	CHECK_EQ(stats_of(w).pages_kept, 0);
	CHECK_EQ(info_of(w).lines_kept, 0);
	wxp_close(w);
}

/* Nothing can be mapped: pages that were granted wait in their pool. */
TEST(no_mapping_for_new_pages)
{
	struct wxp *w = open_default();
	char *code = must_alloc(w, 1, CODE_SIZE, 0, WXP_RX), *more;
	struct wxp_stats before = stats_of(w), after;
	struct setting limit;
	int known, fresh;
	void *p;

	setting_open(&limit, MAP_COUNT);
	set(&limit, "0");
	known = wxp_alloc(w, 1, 3 * PAGE, 0, WXP_RX, &p);
	fresh = wxp_alloc(w, 2, 3 * PAGE, 0, WXP_RX, &p);
	set_back(&limit);
	close(limit.fd);
	CHECK_EQ(known, -ENOMEM);
	CHECK_EQ(fresh, -ENOMEM);
	after = stats_of(w);
	check_same_stats(&before, &after);
	code_write(code, 5);
	more = must_alloc(w, 1, 3 * PAGE, 0, WXP_RX);
	CHECK(is_zero(more, 3 * PAGE));
	must_alloc(w, 2, 3 * PAGE, 0, WXP_RX);
	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK_EQ(code_run(code), 5);
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK_EQ(wxp_free(w, 2), 0);
	wxp_close(w);
}

TEST(no_mapping_for_sealed_pages)
{
	struct wxp *w = open_default();
	char *code = must_alloc(w, 1, CODE_SIZE, 0, WXP_RX);
	struct setting limit;
	int ret;

	code_write(code, 5);
	*(char *)must_alloc(w, 1, 1, 0, WXP_R) = 1;
	setting_open(&limit, MAP_COUNT);
	set(&limit, "0");
	ret = wxp_protect(w, 1);
	set_back(&limit);
	close(limit.fd);
	CHECK_EQ(ret, -ENOMEM);
	CHECK(store_faults(code));
	/* Sealed pages take no more requests, whether mapped or not. */
	CHECK((uintptr_t)must_alloc(w, 1, 1, 0, WXP_RX) / PAGE != (uintptr_t)code / PAGE);
	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK_EQ(code_run(code), 5);
	CHECK_EQ(stats_of(w).pages_open, 0);
	CHECK_EQ(wxp_free(w, 1), 0);
	wxp_close(w);
}

TEST(pinned_page_is_busy)
{
	struct wxp *w = open_default();
	char *code = must_alloc(w, 1, CODE_SIZE, 0, WXP_RX), *more;
	struct iovec iov = { code, CODE_SIZE };
	int ends[2];

	code_write(code, 5);
	CHECK(!pipe(ends));
	CHECK_EQ(vmsplice(ends[1], &iov, 1, 0), CODE_SIZE);
	CHECK_EQ(wxp_protect(w, 1), -EBUSY);
	CHECK(!store_faults(code));
	more = must_alloc(w, 1, CODE_SIZE, 0, WXP_RX);
	code_write(more, 6);
	CHECK_EQ(wxp_protect(w, 1), -EBUSY);
	CHECK_EQ(stats_of(w).pages_open, 1);
	close(ends[0]);
	close(ends[1]);
	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK_EQ(code_run(code) + code_run(more), 11);
	wxp_close(w);
}

static int open_kernel(void)
{
	struct wxp_options opts = { .size = sizeof(opts), .backend = WXP_BACKEND_KERNEL };
	struct wxp *w = NULL;
	int ret = wxp_open(&w, &opts);

	wxp_close(w);
	return ret;
}

static enum wxp_backend open_auto(void)
{
	enum wxp_backend got = WXP_BACKEND_AUTO;
	struct wxp *w = NULL;

	unsetenv("WXPOOL_BACKEND");
	if (!wxp_open(&w, NULL))
		got = wxp_get_backend(w);
	wxp_close(w);
	return got;
}

TEST(noexec_dev)
{
	unsigned long flags = MS_REMOUNT | MS_BIND | MS_NOEXEC;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		CHILD_CHECK(!unshare(CLONE_NEWNS));
		CHILD_CHECK(!mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
		CHILD_CHECK(!mount("/dev", "/dev", NULL, MS_BIND, NULL));
		CHILD_CHECK(!mount(NULL, "/dev", NULL, flags, NULL));
		CHILD_CHECK(open_kernel() == -EPERM);
		CHILD_CHECK(open_auto() == WXP_BACKEND_PORTABLE);
		_exit(0);
	}
	wait_child(pid);
	CHECK_EQ(open_kernel(), 0);
}

TEST(no_permission)
{
	struct stat st;
	int status = -1;
	pid_t pid;

	CHECK(!stat("/dev/wxpool", &st));
	CHECK(!chmod("/dev/wxpool", 0600));
	fflush(stdout);
	pid = fork();
	if (!pid) {
		CHILD_CHECK(!setuid(65534));
		CHILD_CHECK(open_kernel() == -EACCES);
		CHILD_CHECK(open_auto() == WXP_BACKEND_PORTABLE);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	CHECK(!chmod("/dev/wxpool", st.st_mode & 07777));
	CHECK_EQ(status, 0);
}

/* A device that is not ours, at our name. */
TEST(other_device)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		CHILD_CHECK(!unshare(CLONE_NEWNS));
		CHILD_CHECK(!mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
		CHILD_CHECK(!mount("/dev/null", "/dev/wxpool", NULL, MS_BIND, NULL));
		CHILD_CHECK(open_kernel() == -EPROTO);
		_exit(0);
	}
	wait_child(pid);
}

TEST(batch_without_io_uring)
{
	struct wxp_request r = { CODE_SIZE, 0, WXP_RX };
	const char *path = "/proc/sys/kernel/io_uring_disabled";
	struct wxp *w = open_default();
	struct wxp_piece pieces[10];
	struct wxp_item items[10];
	char code[10][CODE_SIZE];
	struct setting setting;
	struct wxp_span s;
	uint32_t i;
	int ret;

	if (access(path, F_OK)) {
		wxp_close(w);
		test_skip("this kernel cannot disable io_uring");
	}
	for (i = 0; i < 10; i++) {
		CHECK_EQ(wxp_place(w, i + 1, &r, 1, &s), 0);
		code_write(code[i], i);
		pieces[i] = (struct wxp_piece){ s.addr, code[i], CODE_SIZE };
		items[i] = (struct wxp_item){ i + 1, 1, &pieces[i], 1 };
	}
	items[5].pool = 99;
	setting_open(&setting, path);
	set(&setting, "2");
	ret = wxp_install_batch(w, items, 10);
	set_back(&setting);
	close(setting.fd);
	CHECK_EQ(ret, -ENOENT);
	for (i = 0; i < 10; i++)
		CHECK_EQ(i == 5 ? items[5].result + ENOENT :
			 items[i].result + (int)code_run(pieces[i].addr) - (int)i, 0);
	wxp_close(w);
}

/* What the program made of the library's descriptor is not the library's. */
TEST(descriptor_that_the_program_closed)
{
	struct wxp_request r = { CODE_SIZE, 0, WXP_RX };
	struct wxp *w = open_default(), *other;
	char *p = must_alloc(w, 1, CODE_SIZE, 0, WXP_RX), *code;
	int fd = wxp_get_fd(w);
	struct wxp_span s;
	void *q;

	code_write(p, 1);
	CHECK_EQ(wxp_protect(w, 1), 0);
	must_alloc(w, 2, CODE_SIZE, 0, WXP_RX);
	CHECK_EQ(wxp_place(w, 3, &r, 1, &s), 0);
	close(fd);
	CHECK_EQ(wxp_free(w, 1), -EBADF);
	CHECK_EQ(wxp_alloc(w, 4, 1, 0, WXP_RX, &q), -EBADF);
	CHECK_EQ(install_code(w, 3, &s, 3), -EBADF);

	CHECK_EQ(open("/dev/null", O_RDWR), fd);
	CHECK_EQ(wxp_free(w, 1), -ENOTTY);
	CHECK_EQ(wxp_protect(w, 2), -ENOTTY);
	CHECK_EQ(install_code(w, 3, &s, 3), -ENOTTY);
	close(fd);

	other = open_default();
	CHECK_EQ(wxp_get_fd(other), fd);
	code = must_alloc(other, 1, CODE_SIZE, 0, WXP_RX);
	code_write(code, 5);
	CHECK_EQ(wxp_protect(other, 1), 0);
	CHECK_EQ(wxp_free(w, 1), -ESTALE);
	CHECK_EQ(wxp_protect(w, 2), -ESTALE);
	CHECK_EQ(wxp_alloc(w, 4, 1, 0, WXP_RX, &q), -ESTALE);
	CHECK_EQ(install_code(w, 3, &s, 3), -ESTALE);
	CHECK_EQ(wxp_freeze(w), -ESTALE);
	CHECK_EQ(code_run(p), 1);
	wxp_close(w);
	CHECK_EQ(code_run(code), 5);
	CHECK_EQ(info_of(other).pools, 1);
	CHECK_EQ(wxp_free(other, 1), 0);
	wxp_close(other);
	CHECK_EQ(fcntl(fd, F_GETFD), -1);
}

/* Also what a program holds that got the descriptor. */
TEST(close_frees_all)
{
	struct wxp_request r = { CODE_SIZE, 0, WXP_RX };
	struct wxpool_info info = { .size = sizeof(info) };
	struct wxp *w = open_default();
	struct wxp_span s;
	uint32_t pool;
	int fd;

	for (pool = 1; pool <= 3000; pool++) {
		CHECK_EQ(wxp_place(w, pool, &r, 1, &s), 0);
		CHECK_EQ(install_code(w, pool, &s, pool), 0);
		if (pool % 10 == 0)
			must_alloc(w, pool, CODE_SIZE, 0, WXP_RX);
	}
	fd = dup(wxp_get_fd(w));
	CHECK(!ioctl(fd, WXPOOL_IOC_INFO, &info));
	CHECK_EQ(info.pools, 3000);
	wxp_close(w);
	CHECK(!ioctl(fd, WXPOOL_IOC_INFO, &info));
	CHECK_EQ(info.pools + info.lines, 0);
	CHECK_EQ(info.pages_open + info.pages_exec + info.pages_kept, 0);
	close(fd);
}

/* What is installed, too, and that freezing is the device's own doing. */
TEST(device_agrees_about_lines)
{
	struct wxp_request r = { 0, 0, WXP_RX };
	struct wxp *w = open_window(32 * MIB);
	static char bytes[9000];
	uint64_t seed = 12;
	struct wxp_span s;
	uint32_t i, pool;

	for (i = 0; i < 600; i++) {
		pool = 1 + random_next(&seed) % 10;
		r.size = 1 + random_next(&seed) % 9000;
		r.prot = i % 2 ? WXP_R : WXP_RX;
		if (i % 23 == 22) {
			wxp_free(w, pool);
		} else {
			CHECK_EQ(wxp_place(w, pool, &r, 1, &s), 0);
			if (i % 3)
				CHECK_EQ(wxp_install(w, pool, &(struct wxp_piece){ s.addr, bytes,
						     1 + random_next(&seed) % r.size }, 1), 0);
		}
		CHECK_EQ(info_of(w).lines, stats_of(w).lines_installed);
		CHECK(info_of(w).pages_packed <= stats_of(w).pages_packed);
	}
	CHECK_EQ(wxp_freeze(w), 0);
	CHECK_EQ(ioctl(wxp_get_fd(w), WXPOOL_IOC_ALLOC, &(struct wxpool_alloc){
		.size = sizeof(struct wxpool_alloc), .pool = 99, .nr_ranges = 1,
		.ranges = (uintptr_t)&(struct wxpool_alloc_range){ .length = PAGE } }), -1);
	CHECK_EQ(errno, EROFS);
	for (pool = 1; pool <= 10; pool++)
		wxp_free(w, pool);
	CHECK_EQ(info_of(w).lines, 0);
	CHECK_EQ(info_of(w).pages_packed, 0);
	wxp_close(w);
}

/* The library's own books against the device's. */
TEST(device_agrees_with_stats)
{
	struct wxp *w = open_window(32 * MIB);
	uint64_t seed = 11;
	struct wxpool_info info;
	struct wxp_stats s;
	uint32_t i, pool;
	void *p;

	for (i = 0; i < 600; i++) {
		pool = 1 + random_next(&seed) % 10;
		if (i % 7 == 6)
			wxp_protect(w, pool);
		else if (i % 23 == 22)
			wxp_free(w, pool);
		else
			CHECK_EQ(wxp_alloc(w, pool, 1 + random_next(&seed) % 9000, 0,
					   i % 2 ? WXP_R : WXP_RX, &p), 0);
		s = stats_of(w);
		info = info_of(w);
		CHECK_EQ(info.pages_open, s.pages_open);
		CHECK_EQ(info.pages_read, s.pages_r);
		CHECK_EQ(info.pages_exec, s.pages_rx);
		CHECK_EQ(info.pools, s.pools);
	}
	wxp_close(w);
}
