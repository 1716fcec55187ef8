// SPDX-License-Identifier: MIT
/*
 * Failures of every call that the library makes, one after the other: a function that fails
 * has changed nothing, says why, and works when it is called again. And the number of those
 * calls. Linked with --wrap.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <linux/wxpool.h>

#include "test.h"
#include "wxpool-remote.h"

static struct {
	int countdown;		/* this call from now on fails, 0: none */
	int err;		/* what it failed with */
	bool no_views;		/* nothing can be mapped, as at the limit of mappings */
	bool no_options;	/* as where there is no mseal() and no key */
	bool kept;		/* what was to be unmapped may still be there */
	bool uncleared;		/* freed code may stay in the file */
	bool other_dev;		/* files are on another device than they were */
	uint64_t memory, calls;
	uint64_t allocs, protects, frees, installs;
} inject;

static bool fails(int err)
{
	if (!inject.countdown || --inject.countdown)
		return false;
	errno = inject.err = err;
	return true;
}

static bool memory_fails(void)
{
	inject.memory++;
	return fails(ENOMEM);
}

static bool call_fails(int err)
{
	inject.calls++;
	return fails(err);
}

static bool file_fails(int err)
{
	bool yes = call_fails(err);

	inject.uncleared |= yes;
	return yes;
}

static bool view_fails(void)
{
	if (inject.no_views) {
		inject.calls++;
		errno = inject.err = ENOMEM;
		return true;
	}
	return call_fails(ENOMEM);
}

static bool unmap_fails(void)
{
	bool yes = call_fails(ENOMEM);

	inject.kept |= yes;
	return yes;
}

static bool option_fails(int err)
{
	if (inject.no_options) {
		inject.calls++;
		errno = ENOSYS;
		return true;
	}
	return call_fails(err);
}

#define REPLACE_INT(name, params, args, fail)			\
	int __real_##name params;				\
	int __wrap_##name params;				\
	int __wrap_##name params				\
	{							\
		return fail ? -1 : __real_##name args;		\
	}

#define REPLACE_PTR(name, params, args, fail, bad)		\
	void *__real_##name params;				\
	void *__wrap_##name params;				\
	void *__wrap_##name params				\
	{							\
		return fail ? bad : __real_##name args;		\
	}

REPLACE_PTR(malloc, (size_t size), (size), memory_fails(), NULL)
REPLACE_PTR(calloc, (size_t nr, size_t size), (nr, size), memory_fails(), NULL)
REPLACE_PTR(realloc, (void *p, size_t size), (p, size), memory_fails(), NULL)
REPLACE_PTR(mmap, (void *p, size_t len, int prot, int flags, int fd, off_t offset),
	    (p, len, prot, flags, fd, offset), view_fails(), MAP_FAILED)
REPLACE_INT(mprotect, (void *p, size_t len, int prot), (p, len, prot), view_fails())
REPLACE_INT(munmap, (void *p, size_t len), (p, len), unmap_fails())
REPLACE_INT(madvise, (void *p, size_t len, int advice), (p, len, advice), call_fails(ENOMEM))
REPLACE_INT(munlock, (const void *p, size_t len), (p, len), call_fails(ENOMEM))
REPLACE_INT(memfd_create, (const char *name, unsigned int flags), (name, flags),
	    call_fails(EMFILE))
REPLACE_INT(ftruncate, (int fd, off_t len), (fd, len), call_fails(ENOMEM))
REPLACE_INT(fallocate, (int fd, int mode, off_t offset, off_t len), (fd, mode, offset, len),
	    call_fails(ENOMEM))
REPLACE_INT(poll, (struct pollfd *fds, nfds_t nr, int ms), (fds, nr, ms), call_fails(ENOMEM))
REPLACE_INT(getrlimit, (int what, struct rlimit *limit), (what, limit), file_fails(EINVAL))
REPLACE_INT(pkey_alloc, (unsigned int flags, unsigned int rights), (flags, rights),
	    option_fails(ENOSPC))
REPLACE_INT(pkey_mprotect, (void *p, size_t len, int prot, int key), (p, len, prot, key),
	    call_fails(ENOMEM))

int __real_pthread_atfork(void (*a)(void), void (*b)(void), void (*c)(void));
int __wrap_pthread_atfork(void (*a)(void), void (*b)(void), void (*c)(void));
ssize_t __real_pwrite(int fd, const void *p, size_t size, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *p, size_t size, off_t offset);
ssize_t __real_sendmsg(int fd, const struct msghdr *m, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *m, int flags);
ssize_t __real_recvmsg(int fd, struct msghdr *m, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *m, int flags);
int __real_fstat(int fd, struct stat *st);
int __wrap_fstat(int fd, struct stat *st);
int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __real_fcntl(int fd, int cmd, ...);
int __wrap_fcntl(int fd, int cmd, ...);
int __real_ioctl(int fd, unsigned long op, ...);
int __wrap_ioctl(int fd, unsigned long op, ...);
long __real_syscall(long nr, ...);
long __wrap_syscall(long nr, ...);

int __wrap_pthread_atfork(void (*a)(void), void (*b)(void), void (*c)(void))
{
	return memory_fails() ? ENOMEM : __real_pthread_atfork(a, b, c);
}

ssize_t __wrap_pwrite(int fd, const void *p, size_t size, off_t offset)
{
	return file_fails(ENOMEM) ? -1 : __real_pwrite(fd, p, size, offset);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *m, int flags)
{
	return call_fails(ENOBUFS) ? -1 : __real_sendmsg(fd, m, flags);
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *m, int flags)
{
	return call_fails(ENOMEM) ? -1 : __real_recvmsg(fd, m, flags);
}

int __wrap_fstat(int fd, struct stat *st)
{
	int ret = file_fails(EBADF) ? -1 : __real_fstat(fd, st);

	if (inject.other_dev)
		st->st_dev++;
	return ret;
}

/* The library makes no files. */
int __wrap_open(const char *path, int flags, ...)
{
	return call_fails(EMFILE) ? -1 : __real_open(path, flags);
}

int __wrap_fcntl(int fd, int cmd, ...)
{
	va_list args;
	int arg;

	va_start(args, cmd);
	arg = va_arg(args, int);
	va_end(args);
	return call_fails(EMFILE) ? -1 : __real_fcntl(fd, cmd, arg);
}

int __wrap_ioctl(int fd, unsigned long op, ...)
{
	va_list args;
	void *arg;

	va_start(args, op);
	arg = va_arg(args, void *);
	va_end(args);
	inject.allocs += op == WXPOOL_IOC_ALLOC;
	inject.protects += op == WXPOOL_IOC_PROTECT;
	inject.frees += op == WXPOOL_IOC_FREE;
	inject.installs += op == WXPOOL_IOC_INSTALL;
	/* INFO fails where the descriptor is another context's. */
	return call_fails(op == WXPOOL_IOC_INFO ? ESTALE : ENOMEM) ? -1 : __real_ioctl(fd, op, arg);
}

/* mseal() */
long __wrap_syscall(long nr, ...)
{
	unsigned long addr, len, flags;
	va_list args;

	va_start(args, nr);
	addr = va_arg(args, unsigned long);
	len = va_arg(args, unsigned long);
	flags = va_arg(args, unsigned long);
	va_end(args);
	return option_fails(ENOMEM) ? -1 : __real_syscall(nr, addr, len, flags);
}

static void inject_nothing(void)
{
	memset(&inject, 0, sizeof(inject));
}

/* What a context is known to hold, which is looked at again and again */
struct func {
	const void *addr;
	void *write;
	uint32_t pool, value;
	bool runs;
};

struct vars {
	unsigned char *p;
	size_t size;
	uint32_t pool;
};

#define MAX_FUNCS	400
#define MAX_VARS	16
#define WINDOW		(64 * MIB)

struct state {
	struct wxp *w;
	unsigned int flags, step, turn;
	struct func funcs[MAX_FUNCS];
	struct vars vars[MAX_VARS];
	unsigned int nr_funcs, nr_vars;
	struct wxp_span spans[4];
	bool frozen;
};

static struct func *add_func(struct state *s, uint32_t pool, const void *addr, void *write)
{
	struct func *f = &s->funcs[s->nr_funcs++];

	CHECK(s->nr_funcs < MAX_FUNCS);
	*f = (struct func){ addr, write, pool, s->nr_funcs + 1000, !write };
	return f;
}

static void write_func(struct state *s, const struct func *f)
{
	CHECK_EQ(wxp_write_begin(s->w), 0);
	code_write(f->write, f->value);
	CHECK_EQ(wxp_write_end(s->w), 0);
}

static bool can_store(struct state *s, void *p)
{
	bool ok;

	CHECK_EQ(wxp_write_begin(s->w), 0);
	ok = !store_faults(p);
	CHECK_EQ(wxp_write_end(s->w), 0);
	return ok;
}

static bool is_filled(const unsigned char *p, size_t size, unsigned char value)
{
	while (size && *p == value) {
		p++;
		size--;
	}
	return !size;
}

/* Code that runs does so, and what is not protected yet can be written. */
static void check_contents(struct state *s)
{
	const struct vars *v;
	const struct func *f;

	for (f = s->funcs; f < s->funcs + s->nr_funcs; f++) {
		if (!f->pool)
			continue;
		if (f->runs)
			CHECK_EQ(code_run(f->addr), f->value);
		else
			CHECK(can_store(s, f->write));
	}
	for (v = s->vars; v < s->vars + s->nr_vars; v++)
		if (v->pool)
			CHECK(is_filled(v->p, v->size, (unsigned char)v->pool));
}

static int open_it(struct state *s, uint32_t pool)
{
	struct wxp_options opts = { .size = sizeof(opts), .flags = s->flags, .window = WINDOW };

	(void)pool;
	return wxp_open(&s->w, &opts);
}

static int alloc_code(struct state *s, uint32_t pool)
{
	struct wxp_mem m;
	int err = wxp_alloc(s->w, pool, CODE_SIZE, 0, WXP_RX, &m);

	if (!err) {
		CHECK(is_zero(m.write, CODE_SIZE));
		write_func(s, add_func(s, pool, m.addr, m.write));
	}
	return err;
}

/* Two pools that grow by turns: each time another piece of memory */
static int alloc_by_turns(struct state *s, uint32_t pool)
{
	struct wxp_mem m;
	int err;

	pool += s->turn % 2;
	err = wxp_alloc(s->w, pool, PAGE, 0, WXP_RX, &m);
	if (!err) {
		write_func(s, add_func(s, pool, m.addr, m.write));
		s->turn++;
	}
	return err;
}

static int alloc_pages(struct state *s, uint32_t pool)
{
	struct wxp_mem m;
	int err = wxp_alloc(s->w, pool, 3 * PAGE, 0, WXP_RX, &m);

	if (!err)
		CHECK(is_zero(m.write, 3 * PAGE));
	return err;
}

static int alloc_constants(struct state *s, uint32_t pool)
{
	struct wxp_mem m;
	int err = wxp_alloc(s->w, pool, 500, 0, WXP_R, &m);

	if (!err)
		CHECK(is_zero(m.write, 500));
	return err;
}

static int add_vars(struct state *s, uint32_t pool, size_t size)
{
	struct wxp_mem m;
	int err = wxp_alloc(s->w, pool, size, 0, WXP_RW, &m);

	if (!err) {
		CHECK(is_zero(m.addr, size));
		CHECK(s->nr_vars < MAX_VARS);
		memset(m.addr, (int)pool, size);
		s->vars[s->nr_vars++] = (struct vars){ m.addr, size, pool };
	}
	return err;
}

static int alloc_variables(struct state *s, uint32_t pool)
{
	return add_vars(s, pool, 5000);
}

/* Whose memory goes back to the system */
static int alloc_large_variables(struct state *s, uint32_t pool)
{
	return add_vars(s, pool, MIB + PAGE);
}

static int reserve(struct state *s, uint32_t pool)
{
	static const struct wxp_request module_log[] = {
		{ CODE_SIZE, 0, WXP_RX }, { 300, 0, WXP_R }, { 5000, 0, WXP_RW },
		{ 9000, 4096, WXP_RX }, { 20000, 0, WXP_R },
	};

	return wxp_reserve(s->w, pool, module_log, 5);
}

static int protect(struct state *s, uint32_t pool)
{
	int err = wxp_protect(s->w, pool);
	struct func *f;

	for (f = s->funcs; f < s->funcs + s->nr_funcs && !err; f++)
		f->runs |= f->pool == pool;
	return err;
}

static int load(struct state *s, uint32_t pool)
{
	struct func *f = add_func(s, pool, NULL, NULL);
	char code[CODE_SIZE];
	void *addr;
	int err;

	code_write(code, f->value);
	err = wxp_load(s->w, pool, code, sizeof(code), WXP_RX, &addr);
	f->addr = addr;
	s->nr_funcs -= !!err;
	return err;
}

#define MANY	70

static int load_many(struct state *s, uint32_t pool)
{
	static char code[MANY][CODE_SIZE];
	struct wxp_part parts[MANY];
	unsigned int i;
	int err;

	for (i = 0; i < MANY; i++) {
		code_write(code[i], add_func(s, pool, NULL, NULL)->value);
		parts[i] = (struct wxp_part){ code[i], CODE_SIZE, WXP_RX, NULL };
	}
	err = wxp_load_many(s->w, pool, parts, MANY);
	for (i = 0; i < MANY; i++)
		s->funcs[s->nr_funcs - MANY + i].addr = parts[i].addr;
	s->nr_funcs -= err ? MANY : 0;
	return err;
}

static int place(struct state *s, uint32_t pool)
{
	static const struct wxp_request reqs[] = {
		{ 4 * WXP_LINE, 0, WXP_RX }, { 700, 0, WXP_R }, { 200, 0, WXP_RW },
		{ 2 * MIB + 1, 0, WXP_RX },
	};
	int err = wxp_place(s->w, pool, reqs, 4, s->spans);

	if (!err)
		CHECK(is_zero(s->spans[2].addr, 200));
	return err;
}

/* Code at a line of the first span, in so many pieces, and constants */
static int install_pieces(struct state *s, uint32_t pool, unsigned int line, struct wxp_op **op)
{
	struct func *f = add_func(s, pool, (char *)s->spans[0].addr + line * WXP_LINE, NULL);
	static char code[CODE_SIZE], data[30];
	struct wxp_piece p[CODE_SIZE + 20];
	size_t nr = 0, i;
	int err;

	code_write(code, f->value);
	for (i = 0; i < CODE_SIZE; i++)
		p[nr++] = (struct wxp_piece){ (char *)(uintptr_t)f->addr + i, code + i, 1 };
	for (i = 0; i < 20 && !line; i++)
		p[nr++] = (struct wxp_piece){ (char *)s->spans[1].addr + 33 * i, data, 30 };
	err = op ? wxp_install_prepare(s->w, pool, p, nr, op) : wxp_install(s->w, pool, p, nr);
	s->nr_funcs -= !!err;
	return err;
}

static int install_few(struct state *s, uint32_t pool)
{
	return install_pieces(s, pool, 2, NULL);
}

static int install_many(struct state *s, uint32_t pool)
{
	return install_pieces(s, pool, 0, NULL);
}

/* By a ring that a policy refuses */
static int install_by_ring(struct state *s, uint32_t pool)
{
	struct wxp_op *op;
	int err = install_pieces(s, pool, 3, &op);

	if (!is_kernel(s->w)) {
		CHECK_EQ(err, -EOPNOTSUPP);
		return 0;
	}
	if (err)
		return err;
	err = wxp_install_complete(s->w, op, -EACCES);
	s->nr_funcs -= !!err;
	return err;
}

static int new_pool(struct state *s, uint32_t pool)
{
	uint32_t id;

	(void)pool;
	return wxp_new_pool(s->w, &id);
}

/* Is it anything else than it was? */
static bool is_gone(const struct func *f)
{
	char code[CODE_SIZE];

	code_write(code, f->value);
	return load_faults(f->addr) || memcmp(f->addr, code, CODE_SIZE);
}

static void forget_pool(struct state *s, uint32_t pool)
{
	struct func *f;
	struct vars *v;

	for (f = s->funcs; f < s->funcs + s->nr_funcs; f++) {
		if (f->pool != pool)
			continue;
		if (f->runs)
			CHECK(is_gone(f) || inject.uncleared);
		f->pool = 0;
	}
	/* A handler that was left by a jump has left its rights here, which are none. */
	CHECK_EQ(wxp_write_end(s->w), 0);
	for (v = s->vars; v < s->vars + s->nr_vars; v++)
		if (v->pool == pool)
			v->pool = 0;
}

static int free_one(struct state *s, uint32_t pool)
{
	int err = wxp_free(s->w, pool);

	if (!err)
		forget_pool(s, pool);
	return err;
}

static int free_two(struct state *s, uint32_t pool)
{
	uint32_t pools[] = { pool, pool + 1 };
	int err = wxp_free_many(s->w, pools, 2);

	if (!err) {
		forget_pool(s, pool);
		forget_pool(s, pool + 1);
	}
	return err;
}

static int freeze(struct state *s, uint32_t pool)
{
	int err = wxp_freeze(s->w);

	(void)pool;
	s->frozen |= !err;
	return err;
}

static const struct step {
	int (*call)(struct state *s, uint32_t pool);
	uint32_t pool;
	unsigned int times;
} steps[] = {
	{ open_it, 0, 1 },
	{ alloc_code, 1, 1 },
	{ alloc_pages, 1, 1 },
	{ alloc_constants, 1, 1 },
	{ alloc_variables, 1, 1 },
	{ reserve, 2, 1 },
	{ alloc_code, 2, 2 },
	{ alloc_variables, 2, 1 },
	{ protect, 1, 1 },
	{ protect, 2, 1 },
	{ alloc_code, 1, 1 },
	{ protect, 1, 1 },
	{ reserve, 2, 1 },
	{ load, 3, 1 },
	{ load_many, 3, 1 },
	{ place, 4, 1 },
	{ install_few, 4, 1 },
	{ install_many, 4, 1 },
	{ install_by_ring, 4, 1 },
	{ new_pool, 0, 1 },
	{ alloc_by_turns, 5, 70 },
	{ protect, 5, 1 },
	{ protect, 6, 1 },
	{ free_one, 1, 1 },
	{ load, 1, 1 },
	{ alloc_code, 7, 1 },
	{ free_one, 7, 1 },		/* open */
	{ alloc_large_variables, 8, 1 },
	{ free_one, 8, 1 },
	{ free_one, 4, 1 },
	{ free_two, 2, 1 },
	{ place, 9, 1 },		/* where another was */
	{ install_many, 9, 1 },
	{ alloc_code, 9, 1 },
	{ freeze, 0, 1 },
	{ free_two, 5, 1 },
};

#define NR_STEPS	(sizeof(steps) / sizeof(steps[0]))

/* What the library says to the error that was injected */
static bool is_sensible(const struct state *s, int ret)
{
	if (ret == -inject.err || ret == -ENOMEM)
		return true;
	if (inject.err == ESTALE)
		return ret == -EBADF || (!s->step && ret == -EPROTO);
	return !s->step && ret == -EOPNOTSUPP && s->flags & (WXP_PKEY | WXP_MSEAL);
}

/* The error of a step, after which nothing has changed, and the next try succeeds. */
static int try_step(struct state *s, bool no_views)
{
	const struct step *step = &steps[s->step];
	struct wxp_stats before = { 0 }, after;
	int countdown = inject.countdown, ret;

	inject.countdown = 0;
	if (s->step)
		before = stats_of(s->w, 0);
	inject.countdown = countdown;
	inject.no_views = no_views;
	inject.err = 0;
	inject.uncleared = false;
	ret = step->call(s, step->pool);
	countdown = inject.countdown;
	inject.countdown = 0;
	inject.no_views = false;
	if (ret) {
		CHECK(is_sensible(s, ret));
		if (s->step) {
			after = stats_of(s->w, 0);
			check_stats(s->w);
			check_same_stats(&before, &after);
			check_contents(s);
		}
		/* What follows takes more from the same pages. */
		if (step->call == protect)
			CHECK_EQ(alloc_code(s, step->pool), 0);
		CHECK_EQ(step->call(s, step->pool), 0);
	}
	if (ret || inject.err) {
		check_contents(s);
		check_stats(s->w);
	}
	inject.countdown = countdown;
	return ret;
}

static int try_steps(struct state *s, unsigned int no_views_at)
{
	unsigned int i;
	int failures = 0;

	for (s->step = 0; s->step < NR_STEPS; s->step++)
		for (i = 0; i < steps[s->step].times; i++)
			failures += !!try_step(s, s->step == no_views_at);
	return failures;
}

static void finish(struct state *s)
{
	CHECK(s->frozen);
	check_contents(s);
	CHECK_EQ(free_one(s, 1), 0);
	CHECK_EQ(free_one(s, 9), 0);
	CHECK_EQ(wxp_free(s->w, 0x80000000u), 0);
	CHECK_EQ(stats_of(s->w, 0).pools, 0);
	check_stats(s->w);
	wxp_close(s->w);
}

static void fail_every_call(unsigned int flags, int least)
{
	int nr, step = under_valgrind() ? 7 : 1, failures = 0;
	bool used_up = true;

	inject_nothing();
	for (nr = 1; used_up; nr += step) {
		struct state s = { .flags = flags };

		inject.countdown = nr;
		failures += try_steps(&s, NR_STEPS);
		used_up = !inject.countdown;
		inject.countdown = 0;
		finish(&s);
	}
	printf("# %d failures among %d calls\n", failures, nr - 1 - step);
	CHECK(failures >= least / step);
}

/* Of the options that insist on the kernel backend, those that can be had */
static unsigned int options(void)
{
	struct state s = {
		.flags = WXP_MSEAL | WXP_PKEY | WXP_EXEC_ONLY | WXP_IF_POSSIBLE
	};
	unsigned int flags;

	inject_nothing();
	CHECK_EQ(open_it(&s, 0), 0);
	flags = wxp_get_flags(s.w) & ~WXP_IF_POSSIBLE;
	wxp_close(s.w);
	if (!flags)
		test_skip("neither mseal() nor protection keys with this backend");
	return flags;
}

/* Whether this call made the first one of a process fail, or only another */
static int open_first(int nr)
{
	struct state s = { 0 };
	int err;

	inject.countdown = nr;
	err = open_it(&s, 0);
	CHILD_CHECK(err == 0 || err == -ENOMEM || err == -ENOSYS || is_sensible(&s, err));
	if (inject.countdown)
		return 2;
	CHILD_CHECK(!err || !open_it(&s, 0));
	CHILD_CHECK(!alloc_code(&s, 1) && !protect(&s, 1));
	CHILD_CHECK(code_run(s.funcs[0].addr) == s.funcs[0].value);
	wxp_close(s.w);
	return err ? 3 : 4;
}

/* The first test, as the library keeps something in a process for good. */
TEST(first_open_of_a_process)
{
	int nr, status, failures = 0;
	pid_t pid;

	inject_nothing();
	for (nr = 1;; nr++) {
		fflush(stdout);
		pid = fork();
		if (!pid)
			_exit(open_first(nr));
		CHECK_EQ(waitpid(pid, &status, 0), pid);
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) > 1);
		if (WEXITSTATUS(status) == 2)
			break;
		failures += WEXITSTATUS(status) == 3;
	}
	printf("# %d failures among %d calls\n", failures, nr - 1);
	CHECK(failures > 5);
}

TEST(every_call_fails_once)
{
	fail_every_call(0, 15);
}

TEST(every_call_fails_once_with_one_address)
{
	fail_every_call(WXP_ONE_ADDRESS, 15);
}

TEST(every_call_fails_once_with_options)
{
	fail_every_call(options(), 25);
}

/* What was not asked for by size can be smaller. */
TEST(open_makes_do_with_less)
{
	struct wxp *w = NULL;
	int nr, err = 0, smaller = 0;
	bool used_up = true;
	size_t size;
	void *base;

	if (under_valgrind())
		test_skip("slow: windows of 1 GiB");
	inject_nothing();
	for (nr = 1; used_up; nr++) {
		inject.countdown = nr;
		err = wxp_open(&w, NULL);
		used_up = !inject.countdown;
		inject.countdown = 0;
		if (err)
			continue;
		wxp_get_window(w, &base, &size);
		CHECK(size == 1024 * MIB || size == 512 * MIB);
		smaller += size == 512 * MIB;
		CHECK_EQ(code_run(must_load(w, 1, 7)), 7);
		wxp_close(w);
	}
	CHECK_EQ(err, 0);
	CHECK(smaller > 3);
	inject.no_views = true;
	err = wxp_open(&w, NULL);
	inject.no_views = false;
	CHECK_EQ(err, -ENOMEM);
}

TEST(close_whatever_fails)
{
	struct state s;
	bool used_up = true;
	int nr, fd;

	inject_nothing();
	for (nr = 1; used_up; nr++) {
		s = (struct state){ 0 };
		CHECK_EQ(open_it(&s, 0), 0);
		CHECK_EQ(alloc_code(&s, 1) + load(&s, 2) + alloc_variables(&s, 3), 0);
		fd = wxp_get_fd(s.w);
		inject.err = 0;
		inject.countdown = nr;
		wxp_close(s.w);
		used_up = !inject.countdown;
		inject.countdown = 0;
		/* One that seems to be the program's own stays. */
		if (fd >= 0 && inject.err != ESTALE)
			CHECK_EQ(fcntl(fd, F_GETFD), -1);
	}
	CHECK(nr > 4);
}

static int open_without_options(unsigned int flags, unsigned int *got)
{
	struct state s = { .flags = flags };
	int err;

	inject.no_options = true;
	err = open_it(&s, 0);
	inject.no_options = false;
	if (!err) {
		*got = wxp_get_flags(s.w);
		CHECK_EQ(alloc_code(&s, 1), 0);
		CHECK_EQ(protect(&s, 1), 0);
		check_contents(&s);
		wxp_close(s.w);
	}
	return err;
}

TEST(options_that_are_not_there)
{
	unsigned int got = ~0u;

	options();
	CHECK_EQ(open_without_options(WXP_MSEAL, &got), -EOPNOTSUPP);
	CHECK_EQ(open_without_options(WXP_PKEY, &got), -EOPNOTSUPP);
	CHECK_EQ(open_without_options(WXP_PKEY | WXP_MSEAL, &got), -EOPNOTSUPP);
	CHECK_EQ(open_without_options(WXP_PKEY | WXP_MSEAL | WXP_IF_POSSIBLE, &got), 0);
	CHECK_EQ(got, WXP_IF_POSSIBLE);
}

/* At each step: nothing can be mapped, then it can again. */
static int meet_limit_of_mappings(unsigned int flags)
{
	unsigned int at;
	int failures = 0;

	inject_nothing();
	for (at = 0; at < NR_STEPS; at++) {
		struct state s = { .flags = flags };

		failures += try_steps(&s, at);
		finish(&s);
	}
	printf("# %d failures\n", failures);
	return failures;
}

/* All mappings are made at the start. (Portable: the W view is writable block by block.) */
TEST(limit_of_mappings)
{
	CHECK(meet_limit_of_mappings(0) <= 3);
}

TEST(limit_of_mappings_with_one_address)
{
	CHECK(meet_limit_of_mappings(WXP_ONE_ADDRESS) > 0);
}

TEST(limit_of_mappings_with_options)
{
	unsigned int flags = options();

	CHECK(meet_limit_of_mappings(flags) <= 2);
}

/* Memory that was open, and whose final view cannot be mapped, is nobody's any more. */
TEST(free_at_the_limit_of_mappings)
{
	struct state s = { .flags = WXP_ONE_ADDRESS };
	struct wxp_mem m[3];
	uint32_t i;

	inject_nothing();
	CHECK_EQ(open_it(&s, 0), 0);
	for (i = 0; i < 3; i++)
		CHECK_EQ(wxp_alloc(s.w, i + 1, PAGE, 0, WXP_RX, &m[i]), 0);
	inject.no_views = !is_fast(s.w);
	CHECK_EQ(wxp_free(s.w, 2), 0);
	inject.no_views = false;
	CHECK_EQ(wxp_pool_of(s.w, m[1].addr), 0);
	CHECK_EQ(wxp_alloc(s.w, 2, PAGE, 0, WXP_RX, &m[2]), 0);
	CHECK_EQ(m[2].addr == m[1].addr, is_fast(s.w));
	CHECK_EQ(stats_of(s.w, 0).retired, is_fast(s.w) ? 0 : PAGE);
	wxp_close(s.w);
}

/* Inode numbers are a file system's own. */
TEST(file_of_another_system_with_the_same_inode)
{
	struct state s = { 0 };

	inject_nothing();
	CHECK_EQ(open_it(&s, 0), 0);
	if (!is_portable(s.w)) {
		wxp_close(s.w);
		test_skip("only the portable backend has a file");
	}
	CHECK_EQ(alloc_code(&s, 1) + load(&s, 2), 0);
	inject.other_dev = true;
	CHECK_EQ(load(&s, 3), -EBADF);
	CHECK_EQ(protect(&s, 1), -EBADF);
	CHECK_EQ(free_one(&s, 2), -EBADF);
	inject.other_dev = false;
	check_contents(&s);
	CHECK_EQ(load(&s, 3) + protect(&s, 1), 0);
	check_contents(&s);
	wxp_close(s.w);
}

/* ---- owners and executors */

static size_t count_lines(const char *path)
{
	FILE *f = fopen(path, "r");
	size_t nr = 0;
	int c;

	CHILD_CHECK(f);
	while ((c = getc(f)) != EOF)
		nr += c == '\n';
	fclose(f);
	return nr;
}

static int next_fd(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

/* Executes until the owner goes, or whatever fails; tells if call @nr was made. */
static void execute(int socket, int nr)
{
	size_t maps = count_lines("/proc/self/maps");
	struct wxp_executor *e = NULL;
	int fd = next_fd(), err;

	inject_nothing();
	inject.countdown = nr;
	err = wxp_executor_attach(socket, &e);
	if (err) {
		CHILD_CHECK(!inject.countdown || err == -EPIPE);
		CHILD_CHECK(err == -inject.err || err == -ENOMEM || err == -EPROTO ||
			    err == -EPIPE);
		CHILD_CHECK(!e);
	} else {
		err = wxp_executor_serve(e);
		CHILD_CHECK(err == -EPIPE || err == -inject.err);
		wxp_executor_detach(e);
	}
	CHILD_CHECK(next_fd() == fd || next_fd() == socket);
	CHILD_CHECK(inject.kept || count_lines("/proc/self/maps") <= maps + 2);
	_exit(inject.countdown ? 2 : 3);
}

/* An owner of @w that stores something: 0 or what failed. */
static int own(struct wxp *w, void *variable, int socket)
{
	struct wxp_piece piece = { variable, "word", 4 };
	struct wxp_remote *r = NULL;
	int err;

	err = wxp_remote_connect(w, socket, &r);
	if (err) {
		CHECK(!r);
		close(socket);
		return err;
	}
	err = wxp_remote_write(r, &piece, 1);
	wxp_remote_close(r);
	return err;
}

/* Call @theirs of the executor fails, and @ours of the owner; which of these were made? */
static int own_and_execute(struct wxp *w, int ours, int theirs)
{
	struct wxp_request req = { 4, 0, WXP_RW };
	int p[2], fd = next_fd(), status, err;
	struct wxp_span span;
	pid_t pid;

	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, p));
	fflush(stdout);
	pid = fork();
	if (!pid) {
		close(p[0]);
		execute(p[1], theirs);
	}
	close(p[1]);
	inject_nothing();
	CHECK_EQ(wxp_place(w, 1, &req, 1, &span), 0);
	inject.countdown = ours;
	err = own(w, span.addr, p[0]);
	CHECK(err == 0 || err == -EPIPE || err == -inject.err || err == -ENOMEM ||
	      (inject.err == ESTALE && err == -EBADF));
	CHECK(!ours || inject.countdown || err);
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	CHECK(WEXITSTATUS(status) == 2 || WEXITSTATUS(status) == 3);
	CHECK_EQ(next_fd(), fd);
	status = (ours && !inject.countdown) || (theirs && WEXITSTATUS(status) == 3);
	inject_nothing();
	CHECK_EQ(wxp_free(w, 1), 0);
	return status;
}

TEST(every_call_of_two_processes_fails_once)
{
	struct state s = { 0 };
	int nr, sum = 0;

	inject_nothing();
	CHECK_EQ(open_it(&s, 0), 0);
	if (!is_kernel(s.w)) {
		wxp_close(s.w);
		test_skip("only the kernel backend has executors");
	}
	for (nr = 1; own_and_execute(s.w, nr, 0); nr++)
		sum++;
	for (nr = 1; own_and_execute(s.w, 0, nr); nr++)
		sum++;
	printf("# %d calls\n", sum);
	CHECK(sum > 20);
	CHECK_EQ(own_and_execute(s.w, 0, 0), 0);
	wxp_close(s.w);
}

/* System calls, as they were counted, since the last time */
static uint64_t calls(void)
{
	uint64_t n = inject.calls;

	inject.calls = 0;
	return n;
}

/* What the library does all the time: as few system calls as said, and no memory */
TEST(calls_per_function)
{
	struct wxp_request r[] = { { 8192, 0, WXP_RX }, { 4096, 0, WXP_R }, { 4096, 0, WXP_RW } };
	static char bytes[8192];
	struct wxp_piece pieces[2];
	struct state s = { 0 };
	struct wxp_span spans[3];
	bool kernel;
	int i;

	inject_nothing();
	CHECK_EQ(open_it(&s, 0), 0);
	kernel = is_kernel(s.w);
	CHECK_EQ(load(&s, 1), 0);
	for (i = 0; i < 3; i++) {
		inject_nothing();
		CHECK_EQ(wxp_place(s.w, 2, r, 3, spans), 0);
		CHECK_EQ(calls(), 0);
		pieces[0] = (struct wxp_piece){ spans[0].addr, bytes, 8192 };
		pieces[1] = (struct wxp_piece){ spans[1].addr, bytes, 4096 };
		CHECK_EQ(wxp_install(s.w, 2, pieces, 2), 0);
		CHECK_EQ(calls(), kernel ? 1 : is_portable(s.w) ? 4 : 0);
		CHECK_EQ(wxp_free(s.w, 2), 0);
		CHECK(calls() <= (kernel ? 1 : 10));
		CHECK_EQ(load(&s, 3), 0);
		CHECK_EQ(calls(), kernel ? 1 : is_portable(s.w) ? 4 : 0);
		CHECK_EQ(free_one(&s, 3), 0);
		CHECK_EQ(inject.frees + inject.installs, kernel ? 4 : 0);
		CHECK_EQ(inject.memory, 0);
	}
	check_contents(&s);
	wxp_close(s.w);
}

/* One ALLOC, one PROTECT and one FREE for a module of any size, and one FREE at the end */
TEST(calls_per_module_written_in_place)
{
	static const enum wxp_prot prots[] = { WXP_R, WXP_RW, WXP_RX };
	enum { N = 3000 };
	static struct wxp_request r[N];
	struct state s = { 0 };
	uint32_t i;

	inject_nothing();
	CHECK_EQ(open_it(&s, 0), 0);
	if (!is_kernel(s.w)) {
		wxp_close(s.w);
		test_skip("only the kernel backend calls a device");
	}
	for (i = 0; i < N; i++)
		r[i] = (struct wxp_request){ 1 + i * 7 % 900, 1u << i % 9, prots[i % 3] };
	inject_nothing();
	CHECK_EQ(wxp_reserve(s.w, 1, r, N), 0);
	for (i = 0; i < N; i++)
		must_alloc(s.w, 1, r[i].size, r[i].align, r[i].prot);
	CHECK_EQ(wxp_protect(s.w, 1), 0);
	CHECK_EQ(wxp_free(s.w, 1), 0);
	CHECK_EQ(inject.allocs, 1);
	CHECK_EQ(inject.protects, 1);
	CHECK_EQ(inject.frees, 1);
	CHECK_EQ(inject.installs, 0);
	for (i = 1; i <= 100; i++)
		must_alloc(s.w, i, 1, 0, WXP_RX);
	wxp_close(s.w);
	CHECK_EQ(inject.frees, 2);
}
