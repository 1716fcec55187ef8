// SPDX-License-Identifier: MIT
/*
 * What only a machine with /dev/wxpool shows. Run as root: changes limits of
 * the module and of the system, and puts them back.
 */
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

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

static void limit_is_met(const char *param)
{
	struct wxp_request r[] = { { 40 * PAGE, 0, WXP_RX }, { 40 * PAGE, 0, WXP_R } };
	struct wxp_stats before, after;
	struct setting limit;
	struct wxp *w;
	int first, second;
	void *p;

	setting_open(&limit, param);
	set(&limit, "64");
	w = open_default();
	must_alloc(w, 1, 30 * PAGE, 0, WXP_RX);
	before = stats_of(w);
	first = wxp_alloc(w, 2, 35 * PAGE, 0, WXP_RX, &p);
	second = wxp_reserve(w, 1, r, 2);
	set_back(&limit);
	after = stats_of(w);
	CHECK_EQ(first, -ENOSPC);
	CHECK_EQ(second, -ENOSPC);
	check_same_stats(&before, &after);
	must_alloc(w, 2, 35 * PAGE, 0, WXP_RX);
	CHECK_EQ(wxp_free(w, 1), 0);
	wxp_close(w);
	close(limit.fd);
}

TEST(limit_of_context)
{
	limit_is_met(PARAM("max_pages_per_context"));
}

TEST(limit_of_user)
{
	limit_is_met(PARAM("max_pages_per_user"));
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

static unsigned long long device_says(const char *what)
{
	unsigned long long nr = 0;
	char path[64], line[128], format[64];
	FILE *f;
	int fd;

	snprintf(format, sizeof(format), "wxpool-%s: %%llu", what);
	for (fd = 3; fd < 64; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
		f = fopen(path, "r");
		while (f && fgets(line, sizeof(line), f)) {
			if (sscanf(line, format, &nr) == 1) {
				fclose(f);
				return nr;
			}
		}
		if (f)
			fclose(f);
	}
	test_fail(__FILE__, __LINE__, "no wxpool-%s in any fdinfo", what);
}

/* The library's own books against the device's. */
TEST(device_agrees_with_stats)
{
	struct wxp *w = open_window(32 * MIB);
	uint64_t seed = 11;
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
		CHECK_EQ(device_says("open"), s.pages_open);
		CHECK_EQ(device_says("read"), s.pages_r);
		CHECK_EQ(device_says("exec"), s.pages_rx);
		CHECK_EQ(device_says("pools"), s.pools);
	}
	wxp_close(w);
}
