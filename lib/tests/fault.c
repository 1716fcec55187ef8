// SPDX-License-Identifier: MIT
/*
 * Failures of every call that the library makes, one after the other, and the
 * library's own account of its system calls. Linked with --wrap.
 */
#include <liburing.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <linux/wxpool.h>

#include "test.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t nr, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset);
int __real_mprotect(void *addr, size_t len, int prot);
int __real_madvise(void *addr, size_t len, int advice);
int __real_ioctl(int fd, unsigned long op, ...);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t nr, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset);
int __wrap_mprotect(void *addr, size_t len, int prot);
int __wrap_madvise(void *addr, size_t len, int advice);
int __wrap_ioctl(int fd, unsigned long op, ...);
int __real_munmap(void *addr, size_t len);
int __real_memfd_create(const char *name, unsigned int flags);
int __real_ftruncate(int fd, off_t len);
int __real_fallocate(int fd, int mode, off_t offset, off_t len);
ssize_t __real_pwrite(int fd, const void *buf, size_t size, off_t offset);
int __wrap_munmap(void *addr, size_t len);
int __wrap_memfd_create(const char *name, unsigned int flags);
int __wrap_ftruncate(int fd, off_t len);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t len);
long __real_syscall(long nr, ...);
int __real_pkey_alloc(unsigned int flags, unsigned int rights);
int __real_pkey_mprotect(void *addr, size_t len, int prot, int key);
long __wrap_syscall(long nr, ...);
int __wrap_pkey_alloc(unsigned int flags, unsigned int rights);
int __wrap_pkey_mprotect(void *addr, size_t len, int prot, int key);
ssize_t __wrap_pwrite(int fd, const void *buf, size_t size, off_t offset);
int __real_io_uring_submit_and_wait(struct io_uring *ring, unsigned int nr);
int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned int nr);

static struct {
	int countdown;		/* this call from now on fails, 0: none */
	bool no_views;		/* as at the limit of mappings */
	bool no_guards;		/* as where there is no mseal() and no key */
	bool no_commands;	/* as where a policy forbids them by a ring */
	uint64_t syscalls, allocs, protects, frees, installs;
} inject;

static bool fails(void)
{
	if (!inject.countdown || --inject.countdown)
		return false;
	errno = ENOMEM;
	return true;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t nr, size_t size)
{
	return fails() ? NULL : __real_calloc(nr, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return fails() ? NULL : __real_realloc(p, size);
}

void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	inject.syscalls++;
	if (inject.no_views) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	return fails() ? MAP_FAILED : __real_mmap(addr, len, prot, flags, fd, offset);
}

int __wrap_mprotect(void *addr, size_t len, int prot)
{
	inject.syscalls++;
	if (inject.no_views) {
		errno = ENOMEM;
		return -1;
	}
	return fails() ? -1 : __real_mprotect(addr, len, prot);
}

int __wrap_madvise(void *addr, size_t len, int advice)
{
	inject.syscalls++;
	return fails() ? -1 : __real_madvise(addr, len, advice);
}

/* Not made to fail: nothing could be done about it. */
int __wrap_munmap(void *addr, size_t len)
{
	inject.syscalls++;
	return __real_munmap(addr, len);
}

int __wrap_memfd_create(const char *name, unsigned int flags)
{
	inject.syscalls++;
	return fails() ? -1 : __real_memfd_create(name, flags);
}

int __wrap_ftruncate(int fd, off_t len)
{
	inject.syscalls++;
	return fails() ? -1 : __real_ftruncate(fd, len);
}

int __wrap_fallocate(int fd, int mode, off_t offset, off_t len)
{
	inject.syscalls++;
	return __real_fallocate(fd, mode, offset, len);
}

/* What was written before the failure counts: it must not stay. */
ssize_t __wrap_pwrite(int fd, const void *buf, size_t size, off_t offset)
{
	inject.syscalls++;
	return fails() ? -1 : __real_pwrite(fd, buf, size, offset);
}

int __wrap_ioctl(int fd, unsigned long op, ...)
{
	va_list args;
	void *arg;

	va_start(args, op);
	arg = va_arg(args, void *);
	va_end(args);
	/* To ask is not a call for memory. */
	inject.syscalls += op != WXPOOL_IOC_INFO;
	inject.allocs += op == WXPOOL_IOC_ALLOC;
	inject.protects += op == WXPOOL_IOC_PROTECT;
	inject.frees += op == WXPOOL_IOC_FREE;
	inject.installs += op == WXPOOL_IOC_INSTALL;
	return fails() ? -1 : __real_ioctl(fd, op, arg);
}

/* Only mseal() is called this way. */
long __wrap_syscall(long nr, ...)
{
	unsigned long addr, len, flags;
	va_list args;

	va_start(args, nr);
	addr = va_arg(args, unsigned long);
	len = va_arg(args, unsigned long);
	flags = va_arg(args, unsigned long);
	va_end(args);
	inject.syscalls++;
	if (inject.no_guards) {
		errno = ENOSYS;
		return -1;
	}
	return fails() ? -1 : __real_syscall(nr, addr, len, flags);
}

int __wrap_pkey_alloc(unsigned int flags, unsigned int rights)
{
	inject.syscalls++;
	if (inject.no_guards) {
		errno = ENOSPC;
		return -1;
	}
	return fails() ? -1 : __real_pkey_alloc(flags, rights);
}

int __wrap_pkey_mprotect(void *addr, size_t len, int prot, int key)
{
	inject.syscalls++;
	return fails() ? -1 : __real_pkey_mprotect(addr, len, prot, key);
}

/* The commands are changed to some that do nothing, and their results to EACCES. */
int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned int nr)
{
	unsigned int i;
	int ret;

	for (i = ring->sq.sqe_head; inject.no_commands && i != ring->sq.sqe_tail; i++)
		ring->sq.sqes[i & *ring->sq.kring_mask].cmd_op = 0;
	ret = __real_io_uring_submit_and_wait(ring, nr);
	for (i = *ring->cq.khead; inject.no_commands && i != *ring->cq.ktail; i++)
		ring->cq.cqes[i & *ring->cq.kring_mask].res = -EACCES;
	return ret;
}

/* What a call looks like to the runner: it can be made again. */
struct state {
	struct wxp *w;
	unsigned int flags;
	uint32_t step;
	char *p[8];
	struct wxp_span spans[4];
};

static const struct wxp_request module_log[] = {
	{ CODE_SIZE, 0, WXP_RX }, { 300, 0, WXP_R }, { 5000, 0, WXP_RW },
};

static int open_state(struct state *s)
{
	struct wxp_options opts = { .size = sizeof(opts), .flags = s->flags };

	return wxp_open(&s->w, &opts);
}

static int alloc(struct state *s, int i, uint32_t pool, size_t size, enum wxp_prot prot)
{
	return wxp_alloc(s->w, pool, size, 0, prot, (void **)&s->p[i]);
}

static int alloc_code(struct state *s, int i, uint32_t pool, uint32_t value)
{
	int ret = alloc(s, i, pool, CODE_SIZE, WXP_RX);

	if (!ret) {
		CHECK_EQ(wxp_write_begin(s->w), 0);
		code_write(s->p[i], value);
		CHECK_EQ(wxp_write_end(s->w), 0);
	}
	return ret;
}

static const struct wxp_request placed[] = {
	{ 150, 0, WXP_RX }, { 700, 0, WXP_R }, { 200, 0, WXP_RW }, { 2 * MIB + 1, 0, WXP_RX },
};

static int place(struct state *s, uint32_t pool)
{
	return wxp_place(s->w, pool, placed, 4, s->spans);
}

static int install(struct state *s, uint32_t pool, uint32_t value)
{
	static char code[150], data[700];
	struct wxp_piece pieces[] = {
		{ s->spans[0].addr, code, 150 }, { s->spans[1].addr, data, 700 },
	};

	code_write(code, value);
	memset(data, (int)value, sizeof(data));
	return wxp_install(s->w, pool, pieces, 2);
}

static int do_step(struct state *s)
{
	switch (s->step) {
	case 0: return open_state(s);
	case 1: return alloc_code(s, 0, 1, 10);
	case 2: return alloc(s, 1, 1, 3 * PAGE, WXP_RX);
	case 3: return alloc(s, 2, 1, 500, WXP_R);
	case 4: return alloc(s, 3, 1, 500, WXP_RW);
	case 5: return wxp_reserve(s->w, 2, module_log, 3);
	case 6: return alloc_code(s, 4, 2, 14);
	case 7: return alloc(s, 5, 2, 5000, WXP_RW);
	case 8: return wxp_protect(s->w, 1);
	case 9: return wxp_protect(s->w, 2);
	case 10: return alloc_code(s, 6, 1, 16);
	case 11: return wxp_protect(s->w, 1);
	case 12: return wxp_reserve(s->w, 2, module_log, 3);
	case 13: return wxp_free(s->w, 1);
	case 14: return alloc(s, 7, 3, 4 * MIB, WXP_RW);
	case 15: return alloc_code(s, 0, 4, 20);
	case 16: return wxp_protect(s->w, 4);
	case 17: return wxp_free(s->w, 2);
	case 18: return wxp_free(s->w, 3);
	case 19: return place(s, 5);
	case 20: return install(s, 5, 21);
	case 21: return wxp_free(s->w, 5);
	case 22: return place(s, 4);
	case 23: return install(s, 4, 22);
	default: return 1;
	}
}

static void check_contents(struct state *s)
{
	if (s->step > 9 && s->step < 18)
		CHECK_EQ(code_run(s->p[4]), 14);
	if (s->step > 8 && s->step < 14)
		CHECK_EQ(code_run(s->p[0]), 10);
	if (s->step > 11 && s->step < 14)
		CHECK_EQ(code_run(s->p[6]), 16);
	if (s->step == 3)
		CHECK(is_zero(s->p[1], 3 * PAGE));
	if (s->step == 15)
		CHECK(is_zero(s->p[7], 4 * MIB));
	if (s->step > 16)
		CHECK_EQ(code_run(s->p[0]), 20);
	if (s->step == 21 || s->step == 24)
		CHECK_EQ(code_run(s->spans[0].addr), s->step == 21 ? 21 : 22);
	if (s->step == 20 || s->step == 23)
		CHECK(is_zero(s->spans[2].addr, 200));
}

static bool is_protect(uint32_t step)
{
	return step == 8 || step == 9 || step == 11 || step == 16;
}

/* Runs a step that may fail, which must not show; the next try must succeed. */
static bool try_step(struct state *s)
{
	struct wxp_stats before = { 0 }, after;
	int countdown = inject.countdown, ret;
	bool no_views = inject.no_views;

	inject.countdown = 0;
	inject.no_views = false;
	if (s->step)
		before = stats_of(s->w);
	inject.countdown = countdown;
	inject.no_views = no_views;
	ret = do_step(s);
	countdown = inject.countdown;
	inject.countdown = 0;
	inject.no_views = false;
	if (ret < 0) {
		CHECK(ret == -ENOMEM || (!s->step && (ret == -EPROTO || ret == -ENOSYS)));
		if (s->step) {
			after = stats_of(s->w);
			check_stats(s->w);
			CHECK_EQ(after.allocations, before.allocations);
			if (!is_protect(s->step))
				check_same_stats(&before, &after);
		}
		CHECK_EQ(do_step(s), 0);
	}
	inject.countdown = countdown;
	s->step++;
	check_contents(s);
	return ret < 0;
}

static void finish(struct state *s)
{
	CHECK_EQ(wxp_free(s->w, 4), 0);
	CHECK_EQ(stats_of(s->w).pools, 0);
	check_stats(s->w);
	wxp_close(s->w);
}

#define LAST_STEP	23

static void fail_every_call(unsigned int flags)
{
	int nr, failures = 0;
	bool used_up = true;

	for (nr = 1; used_up; nr++) {
		struct state s = { .flags = flags };

		inject.countdown = nr;
		while (s.step <= LAST_STEP)
			failures += try_step(&s);
		used_up = !inject.countdown;
		inject.countdown = 0;
		finish(&s);
	}
	printf("# %d failures among %d calls\n", failures, nr - 1);
	CHECK(failures > 10 && nr > 20);
}

/* What the machine has of WXP_MSEAL and WXP_PKEY. */
static unsigned int guards(void)
{
	struct state s = { .flags = WXP_MSEAL | WXP_PKEY | WXP_IF_POSSIBLE };
	unsigned int flags;

	CHECK_EQ(open_state(&s), 0);
	flags = wxp_get_flags(s.w);
	wxp_close(s.w);
	if (!flags)
		test_skip("neither mseal() nor protection keys with this backend");
	return flags;
}

TEST(every_call_fails_once)
{
	fail_every_call(0);
}

TEST(every_call_fails_once_with_guards)
{
	fail_every_call(guards());
}

static int open_without_guards(unsigned int flags, unsigned int *got)
{
	struct state s = { .flags = flags };
	int ret;

	inject.no_guards = true;
	ret = open_state(&s);
	inject.no_guards = false;
	if (!ret) {
		*got = wxp_get_flags(s.w);
		CHECK_EQ(alloc_code(&s, 0, 1, 5), 0);
		CHECK_EQ(wxp_protect(s.w, 1), 0);
		CHECK_EQ(code_run(s.p[0]), 5);
		wxp_close(s.w);
	}
	return ret;
}

TEST(guards_that_are_not_there)
{
	unsigned int got = ~0u;

	guards();
	CHECK_EQ(open_without_guards(WXP_MSEAL, &got), -ENOSYS);
	CHECK_EQ(open_without_guards(WXP_PKEY, &got), -ENOSYS);
	CHECK_EQ(open_without_guards(WXP_PKEY | WXP_MSEAL, &got), -ENOSYS);
	CHECK_EQ(open_without_guards(WXP_PKEY | WXP_MSEAL | WXP_IF_POSSIBLE, &got), 0);
	CHECK_EQ(got, 0);
}

static void meet_limit_of_mappings(unsigned int flags)
{
	uint32_t at;
	int failures = 0;

	for (at = 0; at <= LAST_STEP; at++) {
		struct state s = { .flags = flags };

		while (s.step <= LAST_STEP) {
			inject.no_views = s.step == at;
			failures += try_step(&s);
		}
		finish(&s);
	}
	printf("# %d failures\n", failures);
	CHECK(failures > 0);
}

/* At each step: no view can be mapped, then they can again. */
TEST(limit_of_mappings)
{
	meet_limit_of_mappings(0);
}

TEST(limit_of_mappings_with_guards)
{
	meet_limit_of_mappings(guards());
}

static void count_calls(unsigned int flags)
{
	struct state s = { .flags = flags };
	uint64_t start = 0;

	while (s.step <= LAST_STEP) {
		CHECK_EQ(do_step(&s), 0);
		if (!s.step)
			start = inject.syscalls;
		s.step++;
		CHECK_EQ(stats_of(s.w).syscalls, inject.syscalls - start);
	}
	finish(&s);
}

/* The library counts what it really does. */
TEST(system_calls_are_counted)
{
	count_calls(0);
}

TEST(system_calls_are_counted_with_guards)
{
	count_calls(guards());
}

/* SELinux judges commands of a ring apart from ioctl(). */
TEST(batch_under_a_policy_against_rings)
{
	struct wxp_request r = { CODE_SIZE, 0, WXP_RX };
	struct wxp *w = open_default();
	struct wxp_piece pieces[3];
	struct wxp_item items[3];
	char code[3][CODE_SIZE];
	struct wxp_span s;
	uint32_t i;
	int ret;

	if (!is_kernel(w)) {
		wxp_close(w);
		test_skip("only the kernel backend has a ring");
	}
	for (i = 0; i < 3; i++) {
		CHECK_EQ(wxp_place(w, i + 1, &r, 1, &s), 0);
		code_write(code[i], i + 7);
		pieces[i] = (struct wxp_piece){ s.addr, code[i], CODE_SIZE };
		items[i] = (struct wxp_item){ i + 1, 1, &pieces[i], 1 };
	}
	pieces[1].src = (void *)8;
	inject.installs = 0;
	inject.no_commands = true;
	ret = wxp_install_batch(w, items, 3);
	inject.no_commands = false;
	CHECK_EQ(ret, -EFAULT);
	CHECK_EQ(items[1].result, -EFAULT);
	CHECK_EQ(code_run(pieces[0].addr) + code_run(pieces[2].addr), 7 + 9);
	CHECK_EQ(stats_of(w).lines_installed, 2);
	CHECK_EQ(inject.installs, 3);
	wxp_close(w);
}

/*
 * With a log: one ALLOC, one PROTECT and one FREE for a module of any size. And one
 * FREE for all that is left.
 */
TEST(three_device_calls_per_module)
{
	enum { N = 3000 };
	struct wxp_request r[N];
	struct wxp *w = open_default();
	uint32_t i;

	if (!is_kernel(w)) {
		wxp_close(w);
		test_skip("only the kernel backend calls a device");
	}
	for (i = 0; i < N; i++)
		r[i] = (struct wxp_request){ 1 + i * 7 % 900, 1u << i % 9, 1 + i % 3 };
	inject.allocs = inject.protects = inject.frees = inject.installs = 0;
	CHECK_EQ(wxp_reserve(w, 1, r, N), 0);
	for (i = 0; i < N; i++)
		must_alloc(w, 1, r[i].size, r[i].align, r[i].prot);
	CHECK_EQ(wxp_protect(w, 1), 0);
	CHECK_EQ(wxp_free(w, 1), 0);
	CHECK_EQ(inject.allocs, 1);
	CHECK_EQ(inject.protects, 1);
	CHECK_EQ(inject.frees, 1);
	CHECK_EQ(inject.installs, 0);
	for (i = 1; i <= 100; i++)
		must_alloc(w, i, 1, 0, WXP_RX);
	wxp_close(w);
	CHECK_EQ(inject.frees, 2);
}

/* The same, installed: one INSTALL and one FREE, and writable data for nothing. */
TEST(calls_per_installed_module)
{
	struct wxp_request r[] = { { 8192, 0, WXP_RX }, { 4096, 0, WXP_R }, { 4096, 0, WXP_RW } };
	static char bytes[8192];
	struct wxp *w = open_default();
	struct wxp_piece pieces[2];
	struct wxp_span s[3];
	uint64_t calls = 0;
	uint32_t pool;

	for (pool = 1; pool <= 3; pool++) {
		calls = stats_of(w).syscalls;
		CHECK_EQ(wxp_place(w, pool, r, 3, s), 0);
		CHECK(is_zero(s[2].addr, 4096));
		memset(s[2].addr, 1, 4096);
		pieces[0] = (struct wxp_piece){ s[0].addr, bytes, 8192 };
		pieces[1] = (struct wxp_piece){ s[1].addr, bytes, 4096 };
		CHECK_EQ(wxp_install(w, pool, pieces, 2), 0);
		CHECK_EQ(wxp_free(w, pool), 0);
		calls = stats_of(w).syscalls - calls;
	}
	printf("# %s: %llu system calls to install and unload a module\n",
	       wxp_backend_name(wxp_get_backend(w)), (unsigned long long)calls);
	CHECK_EQ(calls, is_kernel(w) ? 2 : is_portable(w) ? 6 : 0);
	wxp_close(w);
}

/* The smallest module, with writable data mapped already. */
static uint64_t calls_of_module(struct wxp *w)
{
	struct wxp_request r[] = { { 8192, 0, WXP_RX }, { 4096, 0, WXP_R }, { 4096, 0, WXP_RW } };
	uint64_t calls = 0;
	uint32_t pool, i;

	for (pool = 1; pool <= 2; pool++) {
		calls = stats_of(w).syscalls;
		CHECK_EQ(wxp_reserve(w, pool, r, 3), 0);
		for (i = 0; i < 3; i++)
			must_alloc(w, pool, r[i].size, 0, r[i].prot);
		CHECK_EQ(wxp_protect(w, pool), 0);
		CHECK_EQ(wxp_free(w, pool), 0);
		calls = stats_of(w).syscalls - calls;
	}
	printf("# %s: %llu system calls to load and unload a module\n",
	       wxp_backend_name(wxp_get_backend(w)), (unsigned long long)calls);
	return calls;
}

TEST(calls_per_module)
{
	struct wxp *w = open_default();

	/* Kernel: ALLOC, PROTECT, FREE, and for code and constants two views each. */
	CHECK_EQ(calls_of_module(w), is_kernel(w) ? 7 : is_portable(w) ? 6 : 2);
	wxp_close(w);
}

/* Code and constants: sealed once each, and given the key once each. */
TEST(calls_per_module_with_guards)
{
	struct state s = { .flags = guards() };

	CHECK_EQ(open_state(&s), 0);
	CHECK_EQ(calls_of_module(s.w),
		 7 + (s.flags & WXP_MSEAL ? 2 : 0) + (s.flags & WXP_PKEY ? 2 : 0));
	wxp_close(s.w);
}
