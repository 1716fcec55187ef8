// SPDX-License-Identifier: MIT
/* Opening, freezing and closing contexts; names and errors. */
#include <fcntl.h>
#include <limits.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "test.h"

#define NR(a)		(sizeof(a) / sizeof((a)[0]))
#define HARDENED	(WXP_MSEAL | WXP_PKEY | WXP_EXEC_ONLY | WXP_BTI | WXP_COMPILE_ONLY)
#define LEAST		(6 * MIB)

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

/* Opens and closes. What fails must not touch the handle. */
static int try_open(const struct wxp_options *opts)
{
	struct wxp *const none = (struct wxp *)&opts;
	struct wxp *w = none;
	int ret = wxp_open(&w, opts);

	CHECK_EQ(w == none, !!ret);
	if (!ret)
		wxp_close(w);
	return ret;
}

static struct wxp_options fast_options(void)
{
	struct wxp_options opts = { .size = sizeof(opts), .backend = WXP_BACKEND_FAST };

	return opts;
}

static int try_size(size_t size)
{
	struct wxp_options opts = fast_options();

	opts.size = size;
	return try_open(&opts);
}

static int try_backend(enum wxp_backend backend)
{
	struct wxp_options opts = fast_options();

	opts.backend = backend;
	return try_open(&opts);
}

static int try_flags(unsigned int flags)
{
	struct wxp_options opts = fast_options();

	opts.flags = flags;
	return try_open(&opts);
}

static int try_window(size_t window)
{
	struct wxp_options opts = fast_options();

	opts.window = window;
	return try_open(&opts);
}

static int try_shares(unsigned int r_share, unsigned int rw_share)
{
	struct wxp_options opts = fast_options();

	opts.r_share = r_share;
	opts.rw_share = rw_share;
	return try_open(&opts);
}

TEST(open_default_window)
{
	struct wxp *w = NULL;
	size_t size;
	void *base;

	CHECK_EQ(wxp_open(&w, NULL), 0);
	wxp_get_window(w, &base, &size);
	CHECK_EQ(size, 1024 * MIB);
	CHECK_EQ((uintptr_t)base % (2 * MIB), 0);
	CHECK_EQ(wxp_get_flags(w), 0);
	CHECK_EQ(stats_of(w, 0).free, 1024 * MIB);
	CHECK_EQ(stats_of(w, 0).largest, 512 * MIB);
	check_stats(w);
	wxp_close(w);
}

TEST(misuse_of_options)
{
	CHECK_EQ(wxp_open(NULL, NULL), -EINVAL);
	CHECK_EQ(try_size(0), -EINVAL);
	CHECK_EQ(try_size(sizeof(struct wxp_options) - 1), -EINVAL);
	CHECK_EQ(try_size(sizeof(struct wxp_options) + 8), -EINVAL);
	CHECK_EQ(try_size(sizeof(struct wxp_options)), 0);
	CHECK_EQ(try_backend((enum wxp_backend)4), -EINVAL);
	CHECK_EQ(try_backend((enum wxp_backend)-1), -EINVAL);
	CHECK_EQ(try_flags(256), -EINVAL);
	CHECK_EQ(try_flags(1u << 31 | WXP_HUGE), -EINVAL);
}

TEST(sizes_of_windows)
{
	static const size_t bad[] = { 1, 2 * MIB, 4 * MIB, LEAST - 1, LEAST + 1, 7 * MIB,
				      2049 * MIB, 2050 * MIB, 4096 * MIB, SIZE_MAX,
				      SIZE_MAX - 2 * MIB + 1 };
	static const size_t good[] = { LEAST, 8 * MIB, 14 * MIB, 2046 * MIB, 2048 * MIB };
	size_t i, size;
	struct wxp *w;
	void *base;

	for (i = 0; i < NR(bad); i++)
		CHECK_EQ(try_window(bad[i]), -EINVAL);
	for (i = 0; i < NR(good); i++) {
		w = open_window(good[i]);
		wxp_get_window(w, &base, &size);
		CHECK_EQ(size, good[i]);
		CHECK_EQ((uintptr_t)base % (2 * MIB), 0);
		check_stats(w);
		wxp_close(w);
	}
	wxp_get_window(NULL, &base, &size);
	CHECK(!base && !size);
}

/* Blocks of one kind that the window has room for */
static uint32_t blocks_of(struct wxp *w, enum wxp_prot prot)
{
	struct wxp_request r = { 2 * MIB, 2 * MIB, prot };
	struct wxp_span span;
	uint32_t nr = 0;

	while (!wxp_place(w, 1, &r, 1, &span))
		nr++;
	return nr;
}

static void check_shares(size_t window, unsigned int r_share, unsigned int rw_share,
			 uint32_t r, uint32_t rw)
{
	struct wxp_options opts = {
		.size = sizeof(opts), .window = window,
		.r_share = r_share, .rw_share = rw_share,
	};
	uint32_t blocks = (uint32_t)(window / (2 * MIB));
	struct wxp *w = NULL;

	CHECK_EQ(wxp_open(&w, &opts), 0);
	CHECK_EQ(stats_of(w, 0).largest, (blocks - r - rw) * 2 * MIB);
	CHECK_EQ(blocks_of(w, WXP_R), r);
	CHECK_EQ(blocks_of(w, WXP_RW), rw);
	CHECK_EQ(blocks_of(w, WXP_RX), blocks - r - rw);
	CHECK_EQ(stats_of(w, 0).free, 0);
	check_stats(w);
	wxp_close(w);
}

TEST(shares_of_the_window)
{
	check_shares(200 * MIB, 0, 0, 25, 25);
	check_shares(200 * MIB, 10, 30, 10, 30);
	check_shares(200 * MIB, 30, 0, 30, 25);
	check_shares(200 * MIB, 0, 1, 25, 1);
	check_shares(40 * MIB, 1, 1, 1, 1);
	check_shares(20 * MIB, 45, 45, 4, 4);
	check_shares(LEAST, 0, 0, 1, 1);
	check_shares(LEAST, 80, 10, 1, 1);
	check_shares(8 * MIB, 10, 80, 1, 2);
	CHECK_EQ(try_shares(100, 0), -EINVAL);
	CHECK_EQ(try_shares(0, 100), -EINVAL);
	CHECK_EQ(try_shares(50, 50), -EINVAL);
	CHECK_EQ(try_shares(90, 0), -EINVAL);
	CHECK_EQ(try_shares(UINT_MAX, 2), -EINVAL);
	CHECK_EQ(try_shares(2, UINT_MAX), -EINVAL);
	CHECK_EQ(try_shares(1u << 31, 1u << 31), -EINVAL);
}

TEST(one_address_excludes_some)
{
	static const unsigned int bad[] = { WXP_MSEAL, WXP_PKEY, WXP_MSEAL | WXP_PKEY,
					    WXP_COMPILE_ONLY };
	struct wxp *w;
	size_t i;

	for (i = 0; i < NR(bad); i++) {
		CHECK_EQ(try_flags(WXP_ONE_ADDRESS | bad[i]), -EINVAL);
		CHECK_EQ(try_flags(WXP_ONE_ADDRESS | bad[i] | WXP_IF_POSSIBLE), -EINVAL);
	}
	w = open_flags(WXP_ONE_ADDRESS | WXP_HUGE);
	CHECK_EQ(wxp_get_flags(w), WXP_ONE_ADDRESS | WXP_HUGE);
	wxp_close(w);
}

static int open_hardened(enum wxp_backend backend, unsigned int flags, struct wxp **w)
{
	struct wxp_options opts = {
		.size = sizeof(opts), .backend = backend, .flags = flags, .window = 32 * MIB,
	};

	*w = NULL;
	return wxp_open(w, &opts);
}

TEST(hardening_needs_the_kernel_backend)
{
	static const unsigned int flags[] = { WXP_MSEAL, WXP_PKEY, WXP_EXEC_ONLY, WXP_BTI,
					      WXP_COMPILE_ONLY, HARDENED };
	enum wxp_backend b;
	struct wxp *w;
	size_t i;

	for (i = 0; i < NR(flags); i++) {
		for (b = WXP_BACKEND_PORTABLE; b <= WXP_BACKEND_FAST; b++) {
			CHECK_EQ(open_hardened(b, flags[i], &w), -EOPNOTSUPP);
			CHECK(!w);
			CHECK_EQ(open_hardened(b, flags[i] | WXP_IF_POSSIBLE | WXP_HUGE, &w), 0);
			CHECK_EQ(wxp_get_flags(w) & (HARDENED | WXP_HUGE), WXP_HUGE);
			CHECK_EQ(wxp_write_begin(w), 0);
			code_write(must_alloc(w, 1, CODE_SIZE, 0, WXP_RX).write, 1);
			CHECK_EQ(wxp_write_end(w), 0);
			CHECK_EQ(code_run(must_load(w, 1, 7)), 7);
			wxp_close(w);
		}
	}
}

/* Insisting on it is insisting on the device: there is no way around that. */
TEST(hardening_does_not_fall_back)
{
	unsigned int flags = WXP_MSEAL | WXP_PKEY;
	struct wxp *w;
	pid_t pid;
	int ret;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		unsetenv("WXPOOL_BACKEND");
		ret = open_hardened(WXP_BACKEND_AUTO, flags, &w);
		CHILD_CHECK(!ret == !!w);
		CHILD_CHECK(ret || (is_kernel(w) && wxp_get_flags(w) == flags));
		wxp_close(w);
		CHILD_CHECK(open_hardened(WXP_BACKEND_KERNEL, flags, &w) == ret);
		wxp_close(w);
		CHILD_CHECK(!open_hardened(WXP_BACKEND_AUTO, flags | WXP_IF_POSSIBLE, &w));
		CHILD_CHECK(!ret == ((wxp_get_flags(w) & flags) == flags));
		wxp_close(w);
		_exit(0);
	}
	wait_child(pid);
}

/* NULL unsets it. Sets the backend and the fallback if it opens. */
static int open_env(const char *value, enum wxp_backend option, enum wxp_backend *got,
		    int *fallback)
{
	struct wxp_options opts = { .size = sizeof(opts), .backend = option };
	char *old = getenv("WXPOOL_BACKEND");
	struct wxp *w = NULL;
	int ret;

	old = old ? strdup(old) : NULL;
	if (value)
		setenv("WXPOOL_BACKEND", value, 1);
	else
		unsetenv("WXPOOL_BACKEND");
	ret = wxp_open(&w, &opts);
	if (old)
		setenv("WXPOOL_BACKEND", old, 1);
	else
		unsetenv("WXPOOL_BACKEND");
	free(old);
	if (ret)
		return ret;
	*got = wxp_get_backend(w);
	*fallback = wxp_get_fallback(w);
	wxp_close(w);
	return 0;
}

static void check_env(const char *value, enum wxp_backend option, enum wxp_backend want)
{
	enum wxp_backend got = WXP_BACKEND_AUTO;
	int fallback = 1;

	CHECK_EQ(open_env(value, option, &got, &fallback), 0);
	CHECK_EQ(got, want);
	CHECK_EQ(fallback, 0);
}

TEST(environment_chooses_backend)
{
	static const char *const wrong[] = { "kernal", "FAST", " fast", "fast ", "0", "2" };
	enum wxp_backend got;
	int fallback;
	size_t i;

	check_env("fast", WXP_BACKEND_AUTO, WXP_BACKEND_FAST);
	check_env("portable", WXP_BACKEND_AUTO, WXP_BACKEND_PORTABLE);
	for (i = 0; i < NR(wrong); i++)
		CHECK_EQ(open_env(wrong[i], WXP_BACKEND_AUTO, &got, &fallback), -EINVAL);
}

TEST(option_wins_over_environment)
{
	check_env("fast", WXP_BACKEND_PORTABLE, WXP_BACKEND_PORTABLE);
	check_env("portable", WXP_BACKEND_FAST, WXP_BACKEND_FAST);
	check_env("kernal", WXP_BACKEND_FAST, WXP_BACKEND_FAST);
}

/* AUTO takes the device if it can be had, and tells why not; KERNEL insists on it. */
TEST(kernel_only_with_device)
{
	static const char *const automatic[] = { NULL, "", "auto" };
	int fd = open("/dev/wxpool", O_RDWR);
	int err = fd >= 0 ? 0 : errno == ENOENT ? -ENODEV : -errno;
	enum wxp_backend got = WXP_BACKEND_AUTO;
	int fallback = 1;
	size_t i;

	for (i = 0; i < NR(automatic); i++) {
		CHECK_EQ(open_env(automatic[i], WXP_BACKEND_AUTO, &got, &fallback), 0);
		CHECK_EQ(got, err ? WXP_BACKEND_PORTABLE : WXP_BACKEND_KERNEL);
		CHECK_EQ(fallback, err);
	}
	CHECK_EQ(open_env("kernel", WXP_BACKEND_AUTO, &got, &fallback), err);
	CHECK_EQ(open_env("fast", WXP_BACKEND_KERNEL, &got, &fallback), err);
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
	CHECK(!strcmp(wxp_backend_name((enum wxp_backend)-1), "unknown"));
}

static void has_word(int err, const char *word)
{
	if (!strstr(wxp_strerror(err), word))
		test_fail(__FILE__, __LINE__, "error %d: no \"%s\" in \"%s\"", err, word,
			  wxp_strerror(err));
}

/* Each that the header names has words of its own. */
TEST(errors_in_words)
{
	static const int all[] = { -EINVAL, -EBADF, -EBUSY, -EXDEV, -ENOMEM, -ENOSPC, -EROFS,
				   -EPERM, -EACCES, -ENODEV, -ENOENT, -EPROTO, -EMFILE,
				   -ENFILE, -ENOSYS, -EOPNOTSUPP, -EFAULT, -E2BIG, -EEXIST,
				   -EHWPOISON };
	size_t i, j;

	for (i = 0; i < NR(all); i++) {
		if (!strcmp(wxp_strerror(all[i]), strerror(-all[i])))
			test_fail(__FILE__, __LINE__, "no words for error %d", all[i]);
		for (j = 0; j < i; j++)
			CHECK(strcmp(wxp_strerror(all[i]), wxp_strerror(all[j])));
	}
	has_word(0, "no error");
	CHECK(!strcmp(wxp_strerror(-EIO), "unknown error"));
	CHECK(strcmp(wxp_strerror(EINVAL), wxp_strerror(-EINVAL)));
}

TEST(errors_tell_remedies)
{
	has_word(-EINVAL, "WXPOOL_BACKEND");
	has_word(-ENODEV, "modprobe wxpool");
	has_word(-EACCES, "/dev/wxpool");
	has_word(-EPERM, "noexec");
	has_word(-ENOSPC, "max_bytes_per_context");
	has_word(-ENOSPC, "max_bytes_per_user");
	has_word(-EHWPOISON, "memory error");
	has_word(-EBADF, "closed the context's descriptor");
	has_word(-EXDEV, "fork");
	has_word(-ENOMEM, "vm.max_map_count");
	has_word(-ENOMEM, "RLIMIT_FSIZE");
	has_word(-EMFILE, "ulimit -n");
	has_word(-ENFILE, "fs.file-max");
	has_word(-E2BIG, "16 MiB");
	has_word(-EROFS, "frozen");
	has_word(-ENOSYS, "4.14");
	has_word(-EOPNOTSUPP, "6.10");
	has_word(-EOPNOTSUPP, "ospke");
}

TEST(null_context)
{
	struct wxp_stats s = { .size = sizeof(s) };
	struct wxp_request r = { 1, 0, WXP_R };
	struct wxp_span span = { &r, 1 };
	struct wxp_piece piece = { &r, &r, 1 };
	struct wxp_part part = { &r, 1, WXP_R, NULL };
	struct wxp_mem mem;
	uint32_t pool = 1;
	void *p;

	CHECK_EQ(wxp_freeze(NULL), -EINVAL);
	CHECK_EQ(wxp_new_pool(NULL, &pool), -EINVAL);
	CHECK_EQ(wxp_load(NULL, 1, "x", 1, WXP_R, &p), -EINVAL);
	CHECK_EQ(wxp_load_many(NULL, 1, &part, 1), -EINVAL);
	CHECK_EQ(wxp_place(NULL, 1, &r, 1, &span), -EINVAL);
	CHECK_EQ(wxp_install(NULL, 1, &piece, 1), -EINVAL);
	CHECK_EQ(wxp_shrink(NULL, &span, 1), -EINVAL);
	CHECK_EQ(wxp_reserve(NULL, 1, &r, 1), -EINVAL);
	CHECK_EQ(wxp_alloc(NULL, 1, 1, 0, WXP_R, &mem), -EINVAL);
	CHECK_EQ(wxp_protect(NULL, 1), -EINVAL);
	CHECK_EQ(wxp_write_begin(NULL), -EINVAL);
	CHECK_EQ(wxp_write_end(NULL), -EINVAL);
	CHECK_EQ(wxp_free(NULL, 1), -EINVAL);
	CHECK_EQ(wxp_free_many(NULL, &pool, 1), -EINVAL);
	CHECK_EQ(wxp_sync_cores(NULL), -EINVAL);
	CHECK_EQ(wxp_pool_of(NULL, &r), 0);
	CHECK_EQ(wxp_get_stats(NULL, 0, &s), -EINVAL);
	CHECK_EQ(wxp_get_fd(NULL), -EINVAL);
	wxp_close(NULL);
}

TEST(two_contexts)
{
	struct wxp *a = open_window(LEAST), *b = open_window(LEAST);
	char *p = must_alloc(a, 1, 100, 0, WXP_RW).addr, *q = must_alloc(b, 1, 100, 0, WXP_RW).addr;
	void *code = must_load(a, 1, 5);

	memset(p, 1, 100);
	CHECK(is_zero(q, 100));
	CHECK_EQ(wxp_pool_of(a, p), 1);
	CHECK_EQ(wxp_pool_of(b, p), 0);
	CHECK_EQ(wxp_free(b, 1), 0);
	CHECK_EQ(wxp_free(b, 1), -ENOENT);
	CHECK_EQ(p[99], 1);
	wxp_close(b);
	CHECK_EQ(p[99], 1);
	CHECK_EQ(code_run(code), 5);
	CHECK_EQ(wxp_free(a, 1), 0);
	wxp_close(a);
}

static int count_mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	int c, nr = 0;

	CHECK(maps);
	while ((c = getc(maps)) != EOF)
		nr += c == '\n';
	fclose(maps);
	return nr;
}

static void open_use_close(unsigned int flags)
{
	struct wxp *w = open_flags(flags);

	code_write(must_alloc(w, 7, CODE_SIZE, 0, WXP_RX).write, 7);
	CHECK_EQ(wxp_protect(w, 7), 0);
	must_alloc(w, 8, 1, 0, WXP_R);
	must_alloc(w, 9, 1, 0, WXP_RW);
	must_load(w, 9, 9);
	wxp_close(w);
}

/* Many contexts, one after the other, leave nothing behind. */
TEST(open_close_often)
{
	int fd = open("/dev/null", O_RDONLY), mappings, after, i;
	int times = under_valgrind() ? 10 : 100;

	open_use_close(0);
	open_use_close(WXP_ONE_ADDRESS);
	mappings = count_mappings();
	for (i = 0; i < times; i++)
		open_use_close(i % 2 ? WXP_ONE_ADDRESS : 0);
	if (!sanitized() && !under_valgrind())
		CHECK(count_mappings() <= mappings + 2);
	after = open("/dev/null", O_RDONLY);
	CHECK_EQ(after, fd + 1);
	close(fd);
	close(after);
}

static int lowest_free_descriptor(void)
{
	int fd = open("/dev/null", O_RDONLY);

	close(fd);
	return fd;
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* Where a daemon closes its first three, they stay free for what it puts there. */
TEST(descriptor_is_not_among_the_first)
{
	struct wxp *w = open_default();
	bool has_one = !is_fast(w);
	unsigned char code[CODE_SIZE];
	void *p;
	pid_t pid;

	wxp_close(w);
	fflush(stdout);
	code_write(code, 11);
	pid = fork();
	if (!pid) {
		close(0);
		close(1);
		close(2);
		close(3);
		if (wxp_open(&w, NULL))
			_exit(2);
		if (is_open(0) || is_open(1) || is_open(2))
			_exit(3);
		if (is_open(3) != has_one || (has_one && !(fcntl(3, F_GETFD) & FD_CLOEXEC)))
			_exit(4);
		if (wxp_load(w, 1, code, CODE_SIZE, WXP_RX, &p) || code_run(p) != 11)
			_exit(5);
		wxp_close(w);
		_exit(is_open(3) ? 6 : 0);
	}
	wait_child(pid);
}

TEST(descriptor_is_the_devices)
{
	struct wxp *w = open_default();

	if (is_kernel(w))
		CHECK(wxp_get_fd(w) > 2);
	else
		CHECK_EQ(wxp_get_fd(w), -EOPNOTSUPP);
	wxp_close(w);
}

static bool is_unwritten(int fd, size_t size)
{
	char buf[4096];
	ssize_t n, sum = 0;

	while ((n = pread(fd, buf, sizeof(buf), sum)) > 0) {
		if (!is_zero(buf, (size_t)n))
			return false;
		sum += n;
	}
	return (size_t)sum == size;
}

/* All calls that would work on the descriptor, with a file of the program's own there */
static void use_lost_descriptor(struct wxp *w, void *code, struct wxp_mem *m)
{
	unsigned char bytes[CODE_SIZE];
	struct wxp_mem more;
	void *p;

	code_write(bytes, 1);
	CHECK_EQ(wxp_load(w, 1, bytes, sizeof(bytes), WXP_RX, &p), -EBADF);
	CHECK_EQ(wxp_load(w, 5, bytes, sizeof(bytes), WXP_RX, &p), -EBADF);
	CHECK_EQ(wxp_protect(w, 2), -EBADF);
	/* It goes on as before. */
	CHECK_EQ(wxp_alloc(w, 2, 300, 0, WXP_RX, &more), 0);
	CHECK(is_zero(more.write, 300));
	CHECK_EQ(wxp_free(w, 1), -EBADF);
	CHECK_EQ(wxp_free(w, 2), -EBADF);
	CHECK_EQ(wxp_alloc(w, 6, 1, 0, WXP_RW, &more), 0);
	*(char *)more.write = 1;
	CHECK_EQ(wxp_free(w, 6), 0);
	CHECK_EQ(code_run(code), 21);
	CHECK_EQ(*(char *)m->write, 0x77);
}

static void lose_descriptor(unsigned int flags, bool replace)
{
	int fd = lowest_free_descriptor(), file;
	struct wxp *w = open_flags(flags);
	struct wxp_stats before, after;
	struct wxp_mem m;
	void *code;

	if (is_fast(w)) {
		wxp_close(w);
		test_skip("the fast backend has no descriptor");
	}
	code = must_load(w, 1, 21);
	m = must_alloc(w, 2, 100, 0, WXP_RX);
	memset(m.write, 0x77, 100);
	file = fileno(tmpfile());
	CHECK(!ftruncate(file, 64 * (off_t)MIB) && file != fd);
	if (replace)
		CHECK_EQ(dup2(file, fd), fd);
	else
		CHECK(!close(fd));
	before = stats_of(w, 0);
	use_lost_descriptor(w, code, &m);
	after = stats_of(w, 0);
	check_same_stats(&before, &after);
	wxp_close(w);
	CHECK(is_unwritten(file, 64 * MIB));
	CHECK_EQ(is_open(fd), replace);
	if (replace)
		close(fd);
	close(file);
}

TEST(descriptor_that_was_closed)
{
	lose_descriptor(0, false);
	lose_descriptor(WXP_ONE_ADDRESS, false);
}

TEST(descriptor_that_is_another_file)
{
	lose_descriptor(0, true);
	lose_descriptor(WXP_ONE_ADDRESS, true);
}

/* What makes code, in each way */
static void check_frozen(struct wxp *w, struct wxp_span *span)
{
	struct wxp_request r[] = { { 8, 0, WXP_RX }, { 8, 0, WXP_RW } };
	struct wxp_part part = { "x", 1, WXP_R, NULL };
	struct wxp_piece piece = { span->addr, "x", 1 };
	struct wxp_span spans[2];
	struct wxp_mem m;
	void *p;

	CHECK_EQ(wxp_load(w, 1, "x", 1, WXP_RX, &p), -EROFS);
	CHECK_EQ(wxp_load_many(w, 1, &part, 1), -EROFS);
	CHECK_EQ(wxp_place(w, 1, r, 2, spans), -EROFS);
	CHECK_EQ(wxp_install(w, 1, &piece, 1), -EROFS);
	CHECK_EQ(wxp_reserve(w, 1, r, 2), -EROFS);
	CHECK_EQ(wxp_alloc(w, 1, 1, 0, WXP_RX, &m), -EROFS);
	CHECK_EQ(wxp_alloc(w, 4, 1, 0, WXP_R, &m), -EROFS);
	CHECK_EQ(wxp_protect(w, 2), -EROFS);
}

static void freeze(unsigned int flags)
{
	struct wxp_request r = { 1000, 0, WXP_RX };
	struct wxp *w = open_flags(flags);
	void *code = must_load(w, 1, 31);
	struct wxp_mem m = must_alloc(w, 2, CODE_SIZE, 0, WXP_RX), data;
	struct wxp_stats before, after;
	struct wxp_span span;

	data = must_alloc(w, 1, 100, 0, WXP_RW);
	CHECK_EQ(wxp_place(w, 1, &r, 1, &span), 0);
	before = stats_of(w, 0);
	CHECK_EQ(wxp_freeze(w), 0);
	CHECK_EQ(wxp_freeze(w), 0);
	check_frozen(w, &span);
	after = stats_of(w, 0);
	check_same_stats(&before, &after);
	CHECK_EQ(code_run(code), 31);
	memset(data.addr, 1, 100);
	CHECK_EQ(wxp_pool_of(w, m.addr), 2);
	CHECK_EQ(wxp_free(w, 2), 0);
	CHECK_EQ(wxp_free(w, 2), -ENOENT);
	CHECK_EQ(code_run(code), 31);
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK_EQ(stats_of(w, 0).pools, 0);
	check_stats(w);
	wxp_close(w);
}

TEST(frozen_contexts)
{
	freeze(0);
	freeze(WXP_ONE_ADDRESS);
}

/* One context's freeze is no other's. */
TEST(freeze_is_of_its_context)
{
	struct wxp *a = open_default(), *b = open_default();

	CHECK_EQ(wxp_freeze(a), 0);
	CHECK_EQ(code_run(must_load(b, 1, 3)), 3);
	wxp_close(a);
	CHECK_EQ(code_run(must_load(b, 1, 4)), 4);
	wxp_close(b);
}

#ifndef PR_SET_MDWE
#define PR_SET_MDWE		65
#define PR_MDWE_REFUSE_EXEC_GAIN	1
#define PR_GET_MDWE		66
#endif

static int child_open(enum wxp_backend backend)
{
	struct wxp_options opts = { .size = sizeof(opts), .backend = backend };
	struct wxp *w;
	int ret = wxp_open(&w, &opts);

	if (!ret)
		wxp_close(w);
	return ret;
}

static void use_in_place(enum wxp_backend backend, unsigned int flags)
{
	struct wxp_options opts = { .size = sizeof(opts), .backend = backend, .flags = flags };
	unsigned char code[CODE_SIZE];
	struct wxp_mem m;
	struct wxp *w;
	void *p;

	code_write(code, 41);
	CHILD_CHECK(!wxp_open(&w, &opts));
	CHILD_CHECK(!wxp_alloc(w, 1, CODE_SIZE, 0, WXP_RX, &m));
	code_write(m.write, 42);
	CHILD_CHECK(!wxp_protect(w, 1) && code_run(m.addr) == 42);
	CHILD_CHECK(!wxp_load(w, 1, code, CODE_SIZE, WXP_RX, &p) && code_run(p) == 41);
	CHILD_CHECK(!wxp_free(w, 1));
	wxp_close(w);
}

/* Such a policy is as systemd's MemoryDenyWriteExecute=. */
TEST(policy_against_writable_code)
{
	bool device = !access("/dev/wxpool", R_OK | W_OK);
	pid_t pid;

	if (prctl(PR_GET_MDWE, 0, 0, 0, 0) < 0)
		test_skip("this kernel has no PR_SET_MDWE (6.3)");
	if (under_valgrind())
		test_skip("valgrind itself needs writable code");
	fflush(stdout);
	pid = fork();
	if (!pid) {
		CHILD_CHECK(!prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0));
		CHILD_CHECK(child_open(WXP_BACKEND_FAST) == -EPERM);
		CHILD_CHECK(child_open(WXP_BACKEND_KERNEL) == (device ? 0 : -ENODEV));
		use_in_place(WXP_BACKEND_PORTABLE, 0);
		use_in_place(WXP_BACKEND_PORTABLE, WXP_ONE_ADDRESS);
		if (device) {
			use_in_place(WXP_BACKEND_KERNEL, 0);
			use_in_place(WXP_BACKEND_KERNEL, WXP_ONE_ADDRESS);
		}
		_exit(0);
	}
	wait_child(pid);
}
