// SPDX-License-Identifier: MIT
/* Opening contexts, names and errors. */
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "test.h"

/*
 * WXPOOL_TEST_PAGE: a larger page size than this machine's, for all of "unit" but
 * the kernel backend.
 */
long __real_sysconf(int name);
long __wrap_sysconf(int name);

long __wrap_sysconf(int name)
{
	static const char *page;

	if (name != _SC_PAGESIZE)
		return __real_sysconf(name);
	if (!page)
		page = getenv("WXPOOL_TEST_PAGE");
	if (!page)
		page = "0";
	return atol(page) ? atol(page) : __real_sysconf(name);
}

static int open_as(enum wxp_backend backend, unsigned int flags, size_t window, size_t size)
{
	struct wxp_options opts = {
		.size = size, .backend = backend, .flags = flags, .window = window,
	};
	struct wxp *w = NULL;
	int ret = wxp_open(&w, &opts);

	CHECK(!ret == !!w);
	wxp_close(w);
	return ret;
}

TEST(open_default_window)
{
	struct wxp *w = NULL;
	size_t size;
	void *base;

	CHECK_EQ(wxp_open(&w, NULL), 0);
	wxp_get_window(w, &base, &size);
	CHECK_EQ(size, (size_t)1 << 30);
	CHECK_EQ((uintptr_t)base % (2 * MIB), 0);
	check_stats(w);
	CHECK_EQ(stats_of(w).syscalls, 0);
	wxp_close(w);
}

TEST(open_bad_options)
{
	size_t size = sizeof(struct wxp_options);

	CHECK_EQ(wxp_open(NULL, NULL), -EINVAL);
	CHECK_EQ(open_as(WXP_BACKEND_FAST, 0, 0, size - 1), -EINVAL);
	CHECK_EQ(open_as(WXP_BACKEND_FAST, 0, 0, 0), -EINVAL);
	CHECK_EQ(open_as(WXP_BACKEND_FAST, 16, 0, size), -EINVAL);
	CHECK_EQ(open_as(WXP_BACKEND_FAST, WXP_HUGE, 14 * MIB, size), -EINVAL);
	CHECK_EQ(open_as((enum wxp_backend)4, 0, 0, size), -EINVAL);
	CHECK_EQ(open_as((enum wxp_backend)-1, 0, 0, size), -EINVAL);
	CHECK_EQ(open_as(WXP_BACKEND_FAST, 0, 2 * MIB - 1, size), -EINVAL);
	CHECK_EQ(open_as(WXP_BACKEND_FAST, 0, 3 * MIB, size), -EINVAL);
	CHECK_EQ(open_as(WXP_BACKEND_FAST, 0, 2050 * MIB, size), -EINVAL);
	CHECK_EQ(open_as(WXP_BACKEND_FAST, 0, SIZE_MAX, size), -EINVAL);
	CHECK_EQ(open_as(WXP_BACKEND_FAST, 0, 2 * MIB, size), 0);
	CHECK_EQ(open_as(WXP_BACKEND_FAST, 0, 2048 * MIB, size), 0);
	CHECK_EQ(open_as(WXP_BACKEND_FAST, WXP_HUGE, 16 * MIB, size), 0);
}

static int open_guarded(enum wxp_backend backend, unsigned int flags, struct wxp **w)
{
	struct wxp_options opts = { .size = sizeof(opts), .backend = backend, .flags = flags };

	*w = NULL;
	return wxp_open(w, &opts);
}

TEST(guards_need_the_kernel_backend)
{
	static const unsigned int flags[] = { WXP_MSEAL, WXP_PKEY, WXP_MSEAL | WXP_PKEY };
	enum wxp_backend b;
	struct wxp *w;
	int i;

	for (i = 0; i < 3; i++) {
		for (b = WXP_BACKEND_PORTABLE; b <= WXP_BACKEND_FAST; b++) {
			CHECK_EQ(open_guarded(b, flags[i], &w), -EOPNOTSUPP);
			CHECK(!w);
			CHECK_EQ(open_guarded(b, flags[i] | WXP_IF_POSSIBLE | WXP_HUGE, &w), 0);
			CHECK_EQ(wxp_get_flags(w), WXP_HUGE);
			CHECK_EQ(wxp_write_begin(w), 0);
			CHECK_EQ(wxp_write_end(w), 0);
			wxp_close(w);
		}
	}
	CHECK_EQ(wxp_write_begin(NULL), -EINVAL);
	CHECK_EQ(wxp_write_end(NULL), -EINVAL);
}

/* Insisting on them is insisting on the device: there is no way around it. */
TEST(guards_do_not_fall_back)
{
	unsigned int flags = WXP_MSEAL | WXP_PKEY;
	struct wxp *w;
	pid_t pid;
	int ret;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		unsetenv("WXPOOL_BACKEND");
		ret = open_guarded(WXP_BACKEND_AUTO, flags, &w);
		CHILD_CHECK(!ret == !!w);
		CHILD_CHECK(ret || (is_kernel(w) && wxp_get_flags(w) == flags));
		wxp_close(w);
		CHILD_CHECK(open_guarded(WXP_BACKEND_KERNEL, flags, &w) == ret);
		wxp_close(w);
		CHILD_CHECK(!open_guarded(WXP_BACKEND_AUTO, flags | WXP_IF_POSSIBLE, &w));
		CHILD_CHECK(!ret == (wxp_get_flags(w) == flags));
		_exit(0);
	}
	wait_child(pid);
}

TEST(open_larger_options)
{
	struct { struct wxp_options opts; uint64_t later; } arg = { .later = 0 };
	struct wxp *w;

	arg.opts.size = sizeof(arg);
	arg.opts.backend = WXP_BACKEND_FAST;
	CHECK_EQ(wxp_open(&w, &arg.opts), 0);
	wxp_close(w);
	arg.later = 1;
	CHECK_EQ(wxp_open(&w, &arg.opts), -EINVAL);
}

static int open_env(const char *value, enum wxp_backend option, enum wxp_backend *got)
{
	struct wxp_options opts = { .size = sizeof(opts), .backend = option };
	char *old = getenv("WXPOOL_BACKEND");
	struct wxp *w = NULL;
	int ret;

	old = old ? strdup(old) : NULL;
	setenv("WXPOOL_BACKEND", value, 1);
	ret = wxp_open(&w, &opts);
	if (!ret)
		*got = wxp_get_backend(w);
	wxp_close(w);
	if (old)
		setenv("WXPOOL_BACKEND", old, 1);
	else
		unsetenv("WXPOOL_BACKEND");
	free(old);
	return ret;
}

TEST(environment_chooses_backend)
{
	enum wxp_backend got = WXP_BACKEND_AUTO;

	CHECK_EQ(open_env("fast", WXP_BACKEND_AUTO, &got), 0);
	CHECK_EQ(got, WXP_BACKEND_FAST);
	CHECK_EQ(open_env("portable", WXP_BACKEND_AUTO, &got), 0);
	CHECK_EQ(got, WXP_BACKEND_PORTABLE);
	CHECK_EQ(open_env("auto", WXP_BACKEND_AUTO, &got), 0);
	CHECK(got == WXP_BACKEND_KERNEL || got == WXP_BACKEND_PORTABLE);
	CHECK_EQ(open_env("kernal", WXP_BACKEND_AUTO, &got), -EINVAL);
	CHECK_EQ(open_env("", WXP_BACKEND_AUTO, &got), -EINVAL);
	CHECK_EQ(open_env("FAST", WXP_BACKEND_AUTO, &got), -EINVAL);
}

TEST(option_wins_over_environment)
{
	enum wxp_backend got = WXP_BACKEND_AUTO;

	CHECK_EQ(open_env("fast", WXP_BACKEND_PORTABLE, &got), 0);
	CHECK_EQ(got, WXP_BACKEND_PORTABLE);
	CHECK_EQ(open_env("kernal", WXP_BACKEND_FAST, &got), 0);
	CHECK_EQ(got, WXP_BACKEND_FAST);
}

/* AUTO takes the device exactly where it can be had; KERNEL insists on it. */
TEST(kernel_only_with_device)
{
	enum wxp_backend got = WXP_BACKEND_AUTO;
	int fd = open("/dev/wxpool", O_RDWR);
	int err = fd < 0 ? errno : 0;

	CHECK_EQ(open_env("auto", WXP_BACKEND_AUTO, &got), 0);
	CHECK_EQ(got, fd < 0 ? WXP_BACKEND_PORTABLE : WXP_BACKEND_KERNEL);
	CHECK_EQ(open_env("kernel", WXP_BACKEND_AUTO, &got), -err);
	CHECK_EQ(open_env("fast", WXP_BACKEND_KERNEL, &got), -err);
	if (fd >= 0)
		close(fd);
}

TEST(backend_names)
{
	CHECK(!strcmp(wxp_backend_name(WXP_BACKEND_AUTO), "auto"));
	CHECK(!strcmp(wxp_backend_name(WXP_BACKEND_KERNEL), "kernel"));
	CHECK(!strcmp(wxp_backend_name(WXP_BACKEND_PORTABLE), "portable"));
	CHECK(!strcmp(wxp_backend_name(WXP_BACKEND_FAST), "fast"));
	CHECK(!strcmp(wxp_backend_name((enum wxp_backend)4), "unknown"));
}

static void has_word(int err, const char *word)
{
	if (!strstr(wxp_strerror(err), word))
		test_fail(__FILE__, __LINE__, "error %d: no \"%s\" in \"%s\"", err, word,
			  wxp_strerror(err));
}

TEST(errors_in_words)
{
	static const int all[] = { 0, -EINVAL, -ENOENT, -EACCES, -EPERM, -EPROTO, -ENOMEM,
				   -ENOSPC, -EBUSY, -EXDEV, -EMFILE, -ENFILE, -ENOSYS,
				   -EOPNOTSUPP, -EEXIST, -EFAULT, -EROFS, -EHWPOISON,
				   -EBADF, -ESTALE, -ENOTTY };
	size_t i, j, nr = sizeof(all) / sizeof(all[0]);

	for (i = 0; i < nr; i++) {
		CHECK(strcmp(wxp_strerror(all[i]), "unknown error"));
		for (j = 0; j < i; j++)
			CHECK(strcmp(wxp_strerror(all[i]), wxp_strerror(all[j])));
	}
	has_word(-ENOENT, "modprobe wxpool");
	has_word(-EACCES, "/dev/wxpool");
	has_word(-EPERM, "noexec");
	has_word(-ENOSPC, "max_bytes_per_context");
	has_word(-ENOSPC, "max_bytes_per_user");
	has_word(-EHWPOISON, "memory error");
	has_word(-EBADF, "closed the context's descriptor");
	has_word(-ESTALE, "another context's");
	has_word(-ENOTTY, "another file's");
	has_word(-EXDEV, "fork");
	has_word(-ENOMEM, "vm.max_map_count");
	has_word(-ENOSYS, "6.10 for WXP_MSEAL");
	has_word(-ENOSYS, "ospke");
	has_word(-EOPNOTSUPP, "WXP_PKEY");
	CHECK(!strcmp(wxp_strerror(-9999), "unknown error"));
	CHECK(!strcmp(wxp_strerror(EINVAL), "unknown error"));
}

TEST(null_context)
{
	struct wxp_stats s = { .size = sizeof(s) };
	struct wxp_request r = { 1, 0, WXP_R };
	void *p;

	CHECK_EQ(wxp_alloc(NULL, 1, 1, 0, WXP_R, &p), -EINVAL);
	CHECK_EQ(wxp_reserve(NULL, 1, &r, 1), -EINVAL);
	CHECK_EQ(wxp_protect(NULL, 1), -EINVAL);
	CHECK_EQ(wxp_free(NULL, 1), -EINVAL);
	CHECK_EQ(wxp_get_stats(NULL, &s), -EINVAL);
	wxp_close(NULL);
}

TEST(two_contexts)
{
	struct wxp *a = open_window(2 * MIB), *b = open_window(2 * MIB);
	char *p = must_alloc(a, 1, 100, 0, WXP_RW), *q = must_alloc(b, 1, 100, 0, WXP_RW);

	memset(p, 1, 100);
	CHECK(is_zero(q, 100));
	CHECK_EQ(wxp_free(b, 1), 0);
	CHECK_EQ(wxp_free(b, 1), -ENOENT);
	CHECK_EQ(p[99], 1);
	wxp_close(b);
	CHECK_EQ(p[99], 1);
	CHECK_EQ(wxp_free(a, 1), 0);
	wxp_close(a);
}

/* Many contexts, one after the other, leave nothing behind. */
TEST(open_close_often)
{
	int fd = open("/dev/null", O_RDONLY), after, i;
	struct wxp *w;

	for (i = 0; i < 100; i++) {
		w = open_default();
		code_write(must_alloc(w, 7, CODE_SIZE, 0, WXP_RX), 7);
		CHECK_EQ(wxp_protect(w, 7), 0);
		must_alloc(w, 8, 1, 0, WXP_R);
		wxp_close(w);
	}
	after = open("/dev/null", O_RDONLY);
	CHECK_EQ(after, fd + 1);
	close(fd);
	close(after);
}

TEST(address_space_limit)
{
	struct rlimit limit = { 256 * MIB, 256 * MIB };
	struct wxp_options opts = { .size = sizeof(opts), .window = 64 * MIB };
	struct wxp *w;
	pid_t pid;

	if (sanitized() || under_valgrind())
		test_skip("the sanitizer's own memory does not fit RLIMIT_AS");
	pid = fork();
	if (!pid) {
		CHILD_CHECK(!setrlimit(RLIMIT_AS, &limit));
		CHILD_CHECK(wxp_open(&w, NULL) == -ENOMEM);
		CHILD_CHECK(wxp_open(&w, &opts) == 0);
		wxp_close(w);
		_exit(0);
	}
	wait_child(pid);
}

/* As under systemd's MemoryDenyWriteExecute=: only the device can do it. */
TEST(policy_against_writable_code)
{
	size_t size = sizeof(struct wxp_options);
	bool device = !access("/dev/wxpool", R_OK | W_OK);
	pid_t pid;

#ifndef PR_SET_MDWE
#define PR_SET_MDWE		65
#define PR_MDWE_REFUSE_EXEC_GAIN	1
#define PR_GET_MDWE		66
#endif
	if (prctl(PR_GET_MDWE, 0, 0, 0, 0) < 0)
		test_skip("this kernel has no PR_SET_MDWE (6.3)");
	if (under_valgrind())
		test_skip("valgrind itself needs writable code");
	fflush(stdout);
	pid = fork();
	if (!pid) {
		CHILD_CHECK(!prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0));
		CHILD_CHECK(open_as(WXP_BACKEND_PORTABLE, 0, 0, size) == -EPERM);
		CHILD_CHECK(open_as(WXP_BACKEND_FAST, 0, 0, size) == -EPERM);
		CHILD_CHECK(open_as(WXP_BACKEND_KERNEL, 0, 0, size) == (device ? 0 : -ENOENT));
		_exit(0);
	}
	wait_child(pid);
}
