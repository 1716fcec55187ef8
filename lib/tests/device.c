// SPDX-License-Identifier: MIT
/*
 * What only a machine with /dev/wxpool shows. Run as root: changes limits of the module and
 * of the system, and puts them back.
 */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <linux/wxpool.h>

#include "test.h"

#ifndef MADV_HWPOISON
#define MADV_HWPOISON	100
#endif

#define PARAM(name)	"/sys/module/wxpool/parameters/" name
#define MAP_COUNT	"/proc/sys/vm/max_map_count"

/* A setting that is put back, without memory allocation on the way */
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
	close(s->fd);
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

static int load_value(struct wxp *w, uint32_t pool, uint32_t value, void **addr)
{
	char code[CODE_SIZE];

	code_write(code, value);
	return wxp_load(w, pool, code, sizeof(code), WXP_RX, addr);
}

static struct wxp_mem alloc_code(struct wxp *w, uint32_t pool, uint32_t value)
{
	struct wxp_mem m = must_alloc(w, pool, CODE_SIZE, 0, WXP_RX);

	code_write(m.write, value);
	return m;
}

/* Beyond a limit that leaves room for so many pages more */
static void limit_is_met(const char *param)
{
	static char bytes[35 * 4096];
	struct wxp_request r[] = { { 40 * PAGE, 0, WXP_RX }, { 40 * PAGE, 0, WXP_R } };
	struct wxp_stats before, after;
	struct wxp *w = open_default();
	struct wxp_piece piece;
	struct setting limit;
	int errs[4], within;
	struct wxp_span s;
	struct wxp_mem m;
	void *p;

	CHECK_EQ(wxp_place(w, 3, &r[0], 1, &s), 0);
	piece = (struct wxp_piece){ s.addr, bytes, sizeof(bytes) };
	setting_open(&limit, param);
	set_pages(&limit, 64);
	within = wxp_alloc(w, 1, 30 * PAGE, 0, WXP_RX, &m);
	before = stats_of(w, 0);
	errs[0] = wxp_alloc(w, 2, 35 * PAGE, 0, WXP_RX, &m);
	errs[1] = wxp_reserve(w, 1, r, 2);
	errs[2] = wxp_load(w, 2, bytes, sizeof(bytes), WXP_R, &p);
	errs[3] = wxp_install(w, 3, &piece, 1);
	set_back(&limit);
	after = stats_of(w, 0);
	CHECK_EQ(within, 0);
	CHECK_EQ(errs[0], -ENOSPC);
	CHECK_EQ(errs[1], -ENOSPC);
	CHECK_EQ(errs[2], -ENOSPC);
	CHECK_EQ(errs[3], -ENOSPC);
	check_same_stats(&before, &after);
	must_alloc(w, 2, 35 * PAGE, 0, WXP_RX);
	CHECK_EQ(wxp_load(w, 2, bytes, sizeof(bytes), WXP_R, &p), 0);
	CHECK_EQ(wxp_install(w, 3, &piece, 1), 0);
	CHECK_EQ(wxp_free_many(w, (uint32_t[]){ 1, 2, 3 }, 3), 0);
	wxp_close(w);
}

TEST(limit_of_context)
{
	limit_is_met(PARAM("max_bytes_per_context"));
}

TEST(limit_of_user)
{
	limit_is_met(PARAM("max_bytes_per_user"));
}

/* What a child shares is not copied, so that freeing needs nothing. */
TEST(free_at_the_limit_beside_a_child)
{
	struct wxp *w = open_default();
	struct setting limit;
	struct child child;
	void *code[2];
	int err, i;

	for (i = 0; i < 2; i++)
		code[i] = must_load(w, (uint32_t)i + 1, (uint32_t)i + 1);
	start_child(&child, code[0], 1);
	setting_open(&limit, PARAM("max_bytes_per_context"));
	set(&limit, "1");
	err = wxp_free(w, 1);
	set_back(&limit);
	CHECK_EQ(err, 0);
	CHECK_EQ(info_of(w).lines_kept, 1);
	CHECK_EQ(stats_of(w, 0).retired, WXP_LINE);
	CHECK_EQ(code_run(code[1]), 2);
	CHECK_EQ(wxp_free(w, 2), 0);
	CHECK_EQ(stats_of(w, 0).retired, 2 * WXP_LINE);
	CHECK_EQ(load_faults(code[1]), SIGBUS);
	end_child(&child);
	CHECK_EQ(stats_of(w, 0).retired, 0);
	CHECK_EQ(info_of(w).pages_kept + info_of(w).lines_kept, 0);
	wxp_close(w);
}

/* Addresses that a child uses are nobody else's, until it ends. */
TEST(kept_addresses)
{
	struct wxp *w = open_window(6 * MIB);
	struct wxp_mem m = alloc_code(w, 1, 7);
	struct wxp_stats before, kept;
	struct child child;
	uint32_t i, nr;
	void *p;

	CHECK_EQ(wxp_protect(w, 1), 0);
	start_child(&child, m.addr, 7);
	before = stats_of(w, 0);
	CHECK_EQ(wxp_free(w, 1), 0);
	kept = stats_of(w, 0);
	CHECK_EQ(kept.retired, before.sealed);
	CHECK_EQ(kept.free, before.free);
	CHECK_EQ(wxp_pool_of(w, m.addr), 0);
	/* All of the window, but for that block: the number's next pool, too */
	for (nr = 0; !wxp_alloc(w, 1, PAGE, 0, WXP_RX, &m); nr++)
		CHECK_EQ(stats_of(w, 0).retired, PAGE);
	CHECK_EQ(nr, 2 * MIB / PAGE - 1);
	CHECK_EQ(load_value(w, 2, 1, &p), -ENOMEM);
	end_child(&child);
	must_alloc(w, 3, PAGE, 0, WXP_RX);
	CHECK_EQ(stats_of(w, 0).retired, 0);
	for (i = 1; i <= 3; i += 2)
		CHECK_EQ(wxp_free(w, i), 0);
	CHECK_EQ(code_run(must_load(w, 4, 8)), 8);
	wxp_close(w);
}

/* All mappings are there from the start, but for those that are written to. */
TEST(limit_of_mappings)
{
	struct wxp *w = open_default(), *other = NULL;
	struct wxp_stats before = stats_of(w, 0), after;
	struct setting limit;
	int errs[6];
	struct wxp_mem m;
	void *p = NULL;

	setting_open(&limit, MAP_COUNT);
	set(&limit, "0");
	errs[0] = wxp_alloc(w, 1, CODE_SIZE, 0, WXP_RX, &m);
	errs[1] = wxp_open(&other, NULL);
	errs[2] = load_value(w, 2, 5, &p);
	set_back(&limit);
	CHECK_EQ(errs[0], -ENOMEM);
	CHECK_EQ(errs[1], -ENOMEM);
	CHECK_EQ(errs[2], 0);
	CHECK_EQ(code_run(p), 5);
	CHECK_EQ(wxp_free(w, 2), 0);
	after = stats_of(w, 0);
	check_same_stats(&before, &after);

	alloc_code(w, 3, 6);
	setting_open(&limit, MAP_COUNT);
	set(&limit, "0");
	errs[3] = wxp_alloc(w, 1, CODE_SIZE, 0, WXP_RX, &m);
	errs[4] = wxp_protect(w, 1);
	errs[5] = wxp_free(w, 3);
	set_back(&limit);
	CHECK_EQ(errs[3] | errs[4] | errs[5], 0);
	CHECK(is_zero(m.addr, CODE_SIZE));
	wxp_close(w);
}

static void pin_and_protect(unsigned int flags)
{
	struct wxp *w = open_flags(flags);
	struct wxp_mem m = alloc_code(w, 1, 5), other = alloc_code(w, 2, 7), more;
	struct iovec iov = { m.write, CODE_SIZE };
	struct wxp_stats before = stats_of(w, 0), after;
	int ends[2];

	CHECK(!pipe(ends));
	CHECK_EQ(vmsplice(ends[1], &iov, 1, 0), CODE_SIZE);
	CHECK_EQ(wxp_protect(w, 1), -EBUSY);
	after = stats_of(w, 0);
	check_same_stats(&before, &after);
	CHECK(!store_faults(m.write));
	/* What is left of the page is still zero. */
	more = must_alloc(w, 1, CODE_SIZE, 0, WXP_RX);
	CHECK_EQ((uintptr_t)more.addr / PAGE, (uintptr_t)m.addr / PAGE);
	CHECK(is_zero(more.write, PAGE - (uintptr_t)more.write % PAGE));
	code_write(more.write, 6);
	CHECK_EQ(wxp_protect(w, 1), -EBUSY);
	/* That is nothing to other pools. */
	CHECK_EQ(wxp_protect(w, 2), 0);
	CHECK_EQ(code_run(other.addr), 7);
	close(ends[0]);
	close(ends[1]);
	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK_EQ(code_run(m.addr) + code_run(more.addr), 11);
	CHECK(store_faults(m.write));
	wxp_close(w);
}

TEST(pinned_page_is_busy)
{
	pin_and_protect(0);
	pin_and_protect(WXP_ONE_ADDRESS);
}

static int open_as(enum wxp_backend backend, struct wxp **w)
{
	struct wxp_options opts = { .size = sizeof(opts), .backend = backend };

	*w = NULL;
	return wxp_open(w, &opts);
}

/* In a child: the kernel backend cannot be had, and portable takes its place. */
static void check_fallback(int err)
{
	struct wxp *w;

	unsetenv("WXPOOL_BACKEND");
	CHILD_CHECK(open_as(WXP_BACKEND_KERNEL, &w) == err && !w);
	CHILD_CHECK(!open_as(WXP_BACKEND_AUTO, &w));
	CHILD_CHECK(wxp_get_backend(w) == WXP_BACKEND_PORTABLE);
	CHILD_CHECK(wxp_get_fallback(w) == err);
	CHILD_CHECK(code_run(must_load(w, 1, 9)) == 9);
	wxp_close(w);
	_exit(0);
}

static void check_no_fallback(void)
{
	struct wxp *w;

	CHECK_EQ(open_as(WXP_BACKEND_KERNEL, &w), 0);
	CHECK_EQ(wxp_get_fallback(w), 0);
	wxp_close(w);
}

static pid_t start(void)
{
	fflush(stdout);
	return fork();
}

static void own_mounts(void)
{
	CHILD_CHECK(!unshare(CLONE_NEWNS));
	CHILD_CHECK(!mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
}

TEST(noexec_dev)
{
	pid_t pid = start();

	if (!pid) {
		own_mounts();
		CHILD_CHECK(!mount("/dev", "/dev", NULL, MS_BIND, NULL));
		CHILD_CHECK(!mount(NULL, "/dev", NULL, MS_REMOUNT | MS_BIND | MS_NOEXEC, NULL));
		check_fallback(-EPERM);
	}
	wait_child(pid);
	check_no_fallback();
}

TEST(no_permission)
{
	struct stat st;
	int status = -1;
	pid_t pid;

	CHECK(!stat("/dev/wxpool", &st));
	CHECK(!chmod("/dev/wxpool", 0600));
	pid = start();
	if (!pid) {
		CHILD_CHECK(!setuid(65534));
		check_fallback(-EACCES);
	}
	waitpid(pid, &status, 0);
	CHECK(!chmod("/dev/wxpool", st.st_mode & 07777));
	CHECK_EQ(status, 0);
}

TEST(no_device)
{
	pid_t pid = start();

	if (!pid) {
		own_mounts();
		CHILD_CHECK(!mount("none", "/dev", "tmpfs", 0, NULL));
		check_fallback(-ENODEV);
	}
	wait_child(pid);
}

/* A device that is not ours, at our name */
TEST(other_device)
{
	pid_t pid = start();

	if (!pid) {
		own_mounts();
		CHILD_CHECK(!mount("/dev/null", "/dev/wxpool", NULL, MS_BIND, NULL));
		check_fallback(-EPROTO);
	}
	wait_child(pid);
}

#define LOW_WORD	(__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4 : 0)

/* From now on ioctl() fails for operations from one to another, in this process. */
static void forbid(unsigned int from, unsigned int to, unsigned int err)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, args[1]) + LOW_WORD),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, from, 0, 2),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, to, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | err),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(code[0]), code };

	CHILD_CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	CHILD_CHECK(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog));
}

static const unsigned int needed[] = {
	WXPOOL_IOC_INFO, WXPOOL_IOC_ALLOC, WXPOOL_IOC_PROTECT, WXPOOL_IOC_FREE,
	WXPOOL_IOC_INSTALL,
};

/* What the policy says is one error: that of a permission. */
TEST(policy_that_forbids_an_operation)
{
	static const unsigned int errors[] = { EACCES, EPERM };
	unsigned int i, k;
	pid_t pid;

	for (i = 0; i < 5; i++) {
		for (k = 0; k < 2; k++) {
			pid = start();
			if (!pid) {
				forbid(needed[i], needed[i], errors[k]);
				check_fallback(-EACCES);
			}
			wait_child(pid);
		}
	}
}

/* An option that insists on the device does so here, too. */
TEST(policy_and_options)
{
	struct wxp_options opts = { .size = sizeof(opts), .flags = WXP_EXEC_ONLY };
	struct wxp *w = NULL;
	pid_t pid = start();

	if (!pid) {
		unsetenv("WXPOOL_BACKEND");
		forbid(WXPOOL_IOC_INSTALL, WXPOOL_IOC_INSTALL, EPERM);
		CHILD_CHECK(wxp_open(&w, &opts) == -EACCES && !w);
		opts.flags |= WXP_IF_POSSIBLE;
		CHILD_CHECK(!wxp_open(&w, &opts));
		CHILD_CHECK(wxp_get_backend(w) == WXP_BACKEND_PORTABLE);
		CHILD_CHECK(wxp_get_flags(w) == WXP_IF_POSSIBLE);
		wxp_close(w);
		_exit(0);
	}
	wait_child(pid);
}

/* A context that was open before: what is there stays, also in the tables. */
static void use_under_policy(unsigned int from, unsigned int to, int err)
{
	struct wxp *w = open_default();
	void *code = must_load(w, 1, 4), *p;
	struct wxp *fresh = open_default();
	struct wxp_mem m = alloc_code(w, 2, 5), more;
	struct wxp_stats before = stats_of(w, 0), after;

	forbid(from, to, (unsigned int)-err);
	CHILD_CHECK(wxp_alloc(fresh, 1, 1, 0, WXP_RX, &more) == err);
	CHILD_CHECK(load_value(w, 1, 6, &p) == err);
	CHILD_CHECK(load_value(w, 9, 6, &p) == err);
	CHILD_CHECK(wxp_protect(w, 2) == err);
	CHILD_CHECK(wxp_alloc(w, 3, 2 * PAGE, 0, WXP_RX, &more) == err);
	CHILD_CHECK(wxp_free(w, 1) == err);
	after = stats_of(w, 0);
	check_same_stats(&before, &after);
	CHILD_CHECK(code_run(code) == 4 && !store_faults(m.write));
	wxp_close(w);
	CHILD_CHECK(load_faults(code));
	_exit(0);
}

TEST(policy_that_comes_later)
{
	unsigned int round;
	pid_t pid;

	for (round = 0; round < 4; round++) {
		pid = start();
		/* With and without INFO, the first number */
		if (!pid)
			use_under_policy(WXPOOL_IOC_INFO + round / 2, WXPOOL_IOC_FREEZE,
					 round % 2 ? -EACCES : -EPERM);
		wait_child(pid);
	}
}

/* A child's own context is refused, what it inherited runs. */
TEST(policy_in_a_child)
{
	struct wxp *w = open_default();
	void *code = must_load(w, 1, 4), *p;
	pid_t pid = start();

	if (!pid) {
		forbid(WXPOOL_IOC_INSTALL, WXPOOL_IOC_INSTALL, EPERM);
		CHILD_CHECK(load_value(w, 2, 5, &p) == -EACCES);
		CHILD_CHECK(load_value(w, 2, 5, &p) == -EACCES);
		CHILD_CHECK(code_run(code) == 4);
		CHILD_CHECK(!wxp_free(w, 1));
		_exit(0);
	}
	wait_child(pid);
	CHECK_EQ(code_run(code), 4);
	wxp_close(w);
}

static int raw_alloc(struct wxp *w)
{
	struct wxpool_alloc_range r = { .length = PAGE };
	struct wxpool_alloc arg = {
		.size = sizeof(arg), .pool = 99, .ranges = (uintptr_t)&r, .nr_ranges = 1,
	};

	return ioctl(wxp_get_fd(w), WXPOOL_IOC_ALLOC, &arg) ? -errno : 0;
}

/* It is the device that refuses, whoever asks. */
TEST(frozen_context)
{
	struct wxp_request r = { CODE_SIZE, 0, WXP_RX };
	struct wxp *w = open_default();
	struct wxp_mem open = alloc_code(w, 2, 2), m;
	void *code = must_load(w, 1, 1), *p;
	struct wxp_span s;

	CHECK_EQ(wxp_freeze(w), 0);
	CHECK_EQ(wxp_freeze(w), 0);
	CHECK_EQ(info_of(w).frozen, 1);
	CHECK_EQ(raw_alloc(w), -EROFS);
	CHECK_EQ(load_value(w, 1, 3, &p), -EROFS);
	CHECK_EQ(wxp_alloc(w, 1, 1, 0, WXP_RX, &m), -EROFS);
	CHECK_EQ(wxp_place(w, 1, &r, 1, &s), -EROFS);
	CHECK_EQ(wxp_protect(w, 2), -EROFS);
	CHECK(!store_faults(open.write));
	CHECK_EQ(code_run(code), 1);
	CHECK_EQ(wxp_free(w, 2), 0);
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK_EQ(info_of(w).pools, 0);
	wxp_close(w);
}

/* A context that another holder of the descriptor froze */
TEST(frozen_by_the_device)
{
	struct wxpool_freeze arg = { .size = sizeof(arg) };
	struct wxp *w = open_default();
	struct wxp_mem open = alloc_code(w, 2, 2), m;
	void *code = must_load(w, 1, 1), *p;
	struct wxp_stats before = stats_of(w, 0), after;

	CHECK(!ioctl(wxp_get_fd(w), WXPOOL_IOC_FREEZE, &arg));
	CHECK_EQ(load_value(w, 1, 3, &p), -EROFS);
	CHECK_EQ(wxp_alloc(w, 3, 1, 0, WXP_RX, &m), -EROFS);
	CHECK_EQ(wxp_protect(w, 2), -EROFS);
	after = stats_of(w, 0);
	check_same_stats(&before, &after);
	CHECK(!store_faults(open.write));
	CHECK_EQ(code_run(code), 1);
	CHECK_EQ(wxp_free_many(w, (uint32_t[]){ 1, 2 }, 2), 0);
	wxp_close(w);
}

static void on_bus(int sig)
{
	(void)sig;
}

/* The page fails, as hardware reports it, perhaps to this process at once. */
static void break_page(void *p)
{
	struct sigaction act = { .sa_handler = on_bus }, old;
	char *page = (char *)((uintptr_t)p & ~(PAGE - 1));

	if (madvise(NULL, 0, MADV_HWPOISON))
		test_skip("this kernel plants no memory errors");
	CHECK(!load_faults(page));
	sigaction(SIGBUS, &act, &old);
	if (madvise(page, PAGE, MADV_HWPOISON))
		printf("# madvise: %s\n", strerror(errno));
	sigaction(SIGBUS, &old, NULL);
	madvise(page, PAGE, MADV_DONTNEED);
	CHECK_EQ(load_faults(page), SIGBUS);
}

TEST(memory_error_in_an_open_page)
{
	struct wxp *w = open_default();
	struct wxp_mem good = alloc_code(w, 2, 2), m = must_alloc(w, 1, 3 * PAGE, PAGE, WXP_RX);
	struct wxp_stats before, after;

	break_page((char *)m.write + PAGE);
	before = stats_of(w, 0);
	CHECK_EQ(wxp_protect(w, 1), -EHWPOISON);
	CHECK_EQ(wxp_protect(w, 1), -EHWPOISON);
	after = stats_of(w, 0);
	check_same_stats(&before, &after);
	CHECK(!store_faults(m.write));
	CHECK_EQ(wxp_protect(w, 2), 0);
	CHECK_EQ(code_run(good.addr), 2);
	CHECK_EQ(wxp_free(w, 1), 0);
	m = alloc_code(w, 1, 3);
	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK_EQ(code_run(m.addr), 3);
	wxp_close(w);
}

TEST(memory_error_in_installed_code)
{
	struct wxp *w = open_default();
	char *code = must_load(w, 1, 1), *more, bytes[CODE_SIZE];
	struct wxp_request r = { 2 * PAGE, 0, WXP_RX };
	struct wxp_piece pieces[2];
	struct wxp_span s;

	CHECK_EQ(wxp_place(w, 2, &r, 1, &s), 0);
	CHECK_EQ((uintptr_t)s.addr / PAGE, (uintptr_t)code / PAGE);
	more = (char *)s.addr + PAGE;
	code_write(bytes, 2);
	pieces[0] = (struct wxp_piece){ s.addr, bytes, CODE_SIZE };
	pieces[1] = (struct wxp_piece){ more, bytes, CODE_SIZE };
	break_page(code);
	CHECK_EQ(wxp_install(w, 2, pieces, 2), -EHWPOISON);
	CHECK_EQ(wxp_install(w, 2, &pieces[0], 1), -EHWPOISON);
	CHECK_EQ(stats_of(w, 2).installed, 0);
	CHECK_EQ(wxp_install(w, 2, &pieces[1], 1), 0);
	CHECK_EQ(code_run(more), 2);
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK_EQ(wxp_free(w, 2), 0);
	CHECK_EQ(code_run(must_load(w, 3, 3)), 3);
	wxp_close(w);
}

TEST(huge_pages)
{
	struct wxp *w = open_flags(WXP_HUGE), *small = open_default();
	struct wxpool_info info = info_of(w);
	void *code[2];

	CHECK(wxp_get_flags(w) & WXP_HUGE);
	code[0] = must_load(w, 1, 1);
	code[1] = must_load(w, 2, 2);
	must_load(small, 1, 1);
	CHECK_EQ(stats_of(small, 0).huge, 0);
	printf("# blocks of %u bytes, %llu bytes in huge pages\n", info.block_size,
	       (unsigned long long)stats_of(w, 0).huge);
	CHECK_EQ(stats_of(w, 0).huge, info.block_size);
	CHECK(stats_of(w, 0).charged >= info.block_size);
	CHECK(stats_of(small, 0).charged < 2 * MIB);
	CHECK_EQ(code_run(code[0]) + code_run(code[1]), 3);
	CHECK(store_faults(code[0]));
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK_EQ(code_run(code[1]), 2);
	CHECK_EQ(wxp_free(w, 2), 0);
	CHECK_EQ(code_run(must_load(w, 3, 3)), 3);
	wxp_close(w);
	wxp_close(small);
}

/* What the device sealed stays so, whatever the process does. */
TEST(sealed_for_good)
{
	struct wxp *w = open_default();
	struct wxp_mem m = alloc_code(w, 1, 1);
	char *code = must_load(w, 2, 2), *page = (char *)((uintptr_t)code & ~(PAGE - 1)), *view;
	size_t size;
	void *base;

	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK_EQ(store_faults(m.write), SIGBUS);
	CHECK_EQ(store_faults(m.addr), SIGSEGV);
	CHECK_EQ(store_faults(code), SIGSEGV);
	CHECK_EQ(mprotect(page, PAGE, PROT_READ | PROT_WRITE), -1);
	CHECK_EQ(errno, EACCES);
	wxp_get_window(w, &base, &size);
	view = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, wxp_get_fd(w),
		    page - (char *)base);
	CHECK(view != MAP_FAILED);
	CHECK_EQ(store_faults(view), SIGBUS);
	munmap(view, PAGE);
	CHECK_EQ(code_run(m.addr) + code_run(code), 3);
	wxp_close(w);
}

/* Also what a program holds that got the descriptor */
TEST(close_frees_all)
{
	struct wxpool_info info = { .size = sizeof(info) };
	struct wxp *w = open_default();
	uint32_t pool;
	int fd;

	for (pool = 1; pool <= 3000; pool++) {
		must_load(w, pool, pool);
		if (pool % 10 == 0)
			must_alloc(w, pool, CODE_SIZE, 0, WXP_RX);
	}
	fd = dup(wxp_get_fd(w));
	CHECK(!ioctl(fd, WXPOOL_IOC_INFO, &info));
	CHECK_EQ(info.pools, 3000);
	wxp_close(w);
	CHECK(!ioctl(fd, WXPOOL_IOC_INFO, &info));
	CHECK_EQ(info.pools + info.lines, 0);
	CHECK_EQ(info.pages_open + info.pages_exec - info.pages_idle + info.pages_kept, 0);
	close(fd);
}

static void check_books(struct wxp *w)
{
	struct wxpool_info info = info_of(w);
	struct wxp_stats s = stats_of(w, 0);

	CHECK_EQ(info.pages_open * PAGE, s.open);
	CHECK_EQ((info.pages_read + info.pages_exec - info.pages_packed) * PAGE, s.sealed);
	CHECK_EQ(info.lines * WXP_LINE, s.installed);
	CHECK_EQ(info.charged, s.charged);
	CHECK_EQ(info.pages_huge * PAGE, s.huge);
	CHECK_EQ(info.pools, s.pools);
}

/* A step of a random run; pools come to life by it, on both sides */
static void step_at_random(struct wxp *w, uint64_t *seed)
{
	static const enum wxp_prot prots[] = { WXP_R, WXP_RX };
	static char bytes[9000];
	uint32_t pool = 1 + random_next(seed) % 10, size = 1 + random_next(seed) % 9000;
	enum wxp_prot prot = prots[random_next(seed) % 2];
	struct wxp_piece piece = { .src = bytes };
	struct wxp_request r = { size, 0, prot };
	struct wxp_span s;
	void *p = NULL;
	int err = 0;

	switch (random_next(seed) % 8) {
	case 0:
		err = wxp_free(w, pool);
		break;
	case 1:
		err = wxp_protect(w, pool);
		break;
	case 2:
	case 3:
		must_alloc(w, pool, size, 0, prot);
		break;
	case 4:
		CHECK_EQ(wxp_place(w, pool, &r, 1, &s), 0);
		piece.addr = s.addr;
		piece.size = 1 + random_next(seed) % size;
		CHECK_EQ(wxp_install(w, pool, &piece, 1), 0);
		break;
	default:
		err = wxp_load(w, pool, bytes, size, prot, &p);
	}
	CHECK(err == 0 || err == -ENOENT);
}

/* The library's own books against the device's */
TEST(device_agrees_with_stats)
{
	struct wxp *w = open_window(64 * MIB);
	uint64_t seed = 11;
	uint32_t i;

	for (i = 0; i < 1500; i++) {
		step_at_random(w, &seed);
		check_books(w);
	}
	for (i = 1; i <= 10; i++)
		wxp_free(w, i);
	check_books(w);
	CHECK_EQ(info_of(w).pools, 0);
	wxp_close(w);
}
