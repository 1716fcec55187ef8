/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Helpers that all wxpool selftests share.
 *
 * Wrappers of the operations return 0 or a negative errno. Offsets are given
 * in pages where a parameter is called "page" or "nr", in bytes otherwise.
 */
#ifndef WXPOOL_UTIL_H
#define WXPOOL_UTIL_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/userfaultfd.h>
#include <linux/wxpool.h>

#include "kselftest_harness.h"

/*
 * For tests that hang, not for slow ones: an emulated guest on a busy machine,
 * perhaps with a sanitized kernel, takes minutes where 30 s are the default.
 */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	600

/* What several tests use and older headers do not have */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL	102
#define MADV_GUARD_REMOVE	103
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP	4
#endif
#ifndef PR_SET_MDWE
#define PR_SET_MDWE			65
#define PR_MDWE_REFUSE_EXEC_GAIN	1
#endif
#ifndef __NR_pidfd_open
#define __NR_pidfd_open		434
#endif
#ifndef __NR_mseal
#define __NR_mseal		462
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC	(1 << 15)
#endif
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY	1
#endif

#define WX_DEV		"/dev/wxpool"
#define WX_MODULE	"/sys/module/wxpool"
#define WX_PARAM_DIR	WX_MODULE "/parameters/"

#define RW		(PROT_READ | PROT_WRITE)
#define RX		(PROT_READ | PROT_EXEC)
#define RWX		(PROT_READ | PROT_WRITE | PROT_EXEC)
#define XO		PROT_EXEC

/* Size of the window that the fixture reserves, in pages */
#define WIN_PAGES	512

/* What a packed page consists of, in bytes */
#define LINE		64
#define PAGE_LINES	(wx_page_size / LINE)

static size_t wx_page_size;

#define PG(n)		((size_t)(n) * wx_page_size)

/*
 * WXPOOL_FEWER=N leaves an Nth of what tests do many times, for slow kernels.
 * run.sh sets it.
 */
static inline unsigned int wx_fewer(void)
{
	const char *env = getenv("WXPOOL_FEWER");
	int n = env ? atoi(env) : 1;

	return n > 1 ? n : 1;
}

static inline unsigned int wx_rounds(unsigned int all)
{
	unsigned int nr = all / wx_fewer();

	return nr ? nr : 1;
}

/* ------------------------------------------------------------ operations */

static inline int wx_open(void)
{
	int fd = open(WX_DEV, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static inline int wx_ioctl(int fd, unsigned long op, void *arg)
{
	return ioctl(fd, op, arg) < 0 ? -errno : 0;
}

static inline int wx_info(int fd, struct wxpool_info *info)
{
	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
	return wx_ioctl(fd, WXPOOL_IOC_INFO, info);
}

/* Id of the context that a descriptor is of; 0 on failure, which no context has */
static inline uint64_t wx_id(int fd)
{
	struct wxpool_info info;

	return wx_info(fd, &info) ? 0 : info.context;
}

/* What INFO says of one pool; a state of UINT32_MAX stands for an error. */
static inline struct wxpool_info wx_pool_info(int fd, uint32_t pool)
{
	struct wxpool_info info = { .size = sizeof(info), .pool = pool };

	if (wx_ioctl(fd, WXPOOL_IOC_INFO, &info))
		info.pool_state = UINT32_MAX;
	return info;
}

static inline struct wxpool_alloc_range wx_alloc_range(size_t page, size_t nr)
{
	return (struct wxpool_alloc_range) {
		.offset = (uint64_t)page * wx_page_size,
		.length = (uint64_t)nr * wx_page_size,
	};
}

static inline struct wxpool_protect_range wx_protect_range(size_t page,
							   size_t nr,
							   uint32_t prot)
{
	return (struct wxpool_protect_range) {
		.offset = (uint64_t)page * wx_page_size,
		.length = (uint64_t)nr * wx_page_size,
		.prot = prot,
	};
}

static inline int wx_alloc_vec(int fd, uint32_t pool,
			       const struct wxpool_alloc_range *r, uint32_t nr)
{
	struct wxpool_alloc arg = {
		.size = sizeof(arg), .pool = pool, .ranges = (uintptr_t)r,
		.nr_ranges = nr,
	};

	return wx_ioctl(fd, WXPOOL_IOC_ALLOC, &arg);
}

static inline int wx_protect_vec(int fd, uint32_t pool,
				 const struct wxpool_protect_range *r,
				 uint32_t nr)
{
	struct wxpool_protect arg = {
		.size = sizeof(arg), .pool = pool, .ranges = (uintptr_t)r,
		.nr_ranges = nr,
	};

	return wx_ioctl(fd, WXPOOL_IOC_PROTECT, &arg);
}

static inline int wx_alloc(int fd, uint32_t pool, size_t page, size_t nr)
{
	struct wxpool_alloc_range r = wx_alloc_range(page, nr);

	return wx_alloc_vec(fd, pool, &r, 1);
}

static inline int wx_protect(int fd, uint32_t pool, size_t page, size_t nr,
			     uint32_t prot)
{
	struct wxpool_protect_range r = wx_protect_range(page, nr, prot);

	return wx_protect_vec(fd, pool, &r, 1);
}

/* Ends pools; the whole structure is left to a caller that wants the outputs. */
static inline int wx_free_vec(int fd, const uint32_t *pools, uint32_t nr,
			      uint32_t flags, struct wxpool_free *arg)
{
	memset(arg, 0, sizeof(*arg));
	arg->size = sizeof(*arg);
	arg->flags = flags;
	arg->pools = (uintptr_t)pools;
	arg->nr_pools = nr;
	return wx_ioctl(fd, WXPOOL_IOC_FREE, arg);
}

static inline int wx_free_out(int fd, uint32_t pool, struct wxpool_free *arg)
{
	return wx_free_vec(fd, &pool, 1, 0, arg);
}

static inline int wx_free(int fd, uint32_t pool)
{
	struct wxpool_free arg;

	return wx_free_out(fd, pool, &arg);
}

static inline int wx_free_many(int fd, const uint32_t *pools, uint32_t nr)
{
	struct wxpool_free arg;

	return wx_free_vec(fd, pools, nr, 0, &arg);
}

/* Ends all pools; @flags are 0 or WXPOOL_FREE_REVOKE. */
static inline int wx_free_all(int fd, uint32_t flags)
{
	struct wxpool_free arg;

	return wx_free_vec(fd, NULL, 0, WXPOOL_FREE_ALL | flags, &arg);
}

/* Ends a pool, also for heirs. */
static inline int wx_revoke(int fd, uint32_t pool)
{
	struct wxpool_free arg;

	return wx_free_vec(fd, &pool, 1, WXPOOL_FREE_REVOKE, &arg);
}

/* The range of an INSTALL: @len bytes at @src, for offset @offset in bytes */
static inline struct wxpool_install_range wx_bytes(uint64_t offset,
						   const void *src,
						   uint64_t len, uint32_t prot)
{
	return (struct wxpool_install_range) {
		.offset = offset,
		.length = len,
		.source = (uintptr_t)src,
		.prot = prot,
	};
}

/* The same for bytes that go on behind those of the range before */
static inline struct wxpool_install_range wx_more(const void *src, uint64_t len)
{
	return (struct wxpool_install_range) {
		.length = len,
		.source = (uintptr_t)src,
		.flags = WXPOOL_RANGE_CONT,
	};
}

static inline int wx_install_flags(int fd, uint32_t pool,
				   const struct wxpool_install_range *r,
				   uint32_t nr, uint32_t flags)
{
	struct wxpool_install arg = {
		.size = sizeof(arg), .pool = pool, .ranges = (uintptr_t)r,
		.nr_ranges = nr, .flags = flags,
	};

	return wx_ioctl(fd, WXPOOL_IOC_INSTALL, &arg);
}

static inline int wx_install_vec(int fd, uint32_t pool,
				 const struct wxpool_install_range *r,
				 uint32_t nr)
{
	return wx_install_flags(fd, pool, r, nr, 0);
}

static inline int wx_install(int fd, uint32_t pool, uint64_t offset,
			     const void *src, size_t len, uint32_t prot)
{
	struct wxpool_install_range r = wx_bytes(offset, src, len, prot);

	return wx_install_vec(fd, pool, &r, 1);
}

static inline int wx_freeze(int fd)
{
	struct wxpool_freeze arg = { .size = sizeof(arg) };

	return wx_ioctl(fd, WXPOOL_IOC_FREEZE, &arg);
}

/* A view of [page, page + nr), anywhere; MAP_FAILED and errno on failure */
static inline char *wx_view(int fd, int prot, size_t page, size_t nr)
{
	return mmap(NULL, PG(nr), prot, MAP_SHARED, fd, (off_t)PG(page));
}

/* As wx_view(), at a fixed address; 0 or a negative errno */
static inline int wx_view_at(int fd, int prot, size_t page, size_t nr,
			     void *addr)
{
	void *p = mmap(addr, PG(nr), prot, MAP_SHARED | MAP_FIXED, fd,
		       (off_t)PG(page));

	return p == MAP_FAILED ? -errno : 0;
}

/* Protection to mmap() the view of pages sealed to a WXPOOL_PROT_* with */
static inline int wx_view_prot(uint32_t prot)
{
	return prot == WXPOOL_PROT_R ? PROT_READ :
	       prot == WXPOOL_PROT_X ? RX : XO;
}

/* Pages and a W view of them at an address: 0 or what either of both says */
static inline int wx_alloc_at(int fd, uint32_t pool, size_t page, size_t nr,
			      void *addr)
{
	int ret = wx_alloc(fd, pool, page, nr);

	return ret ? ret : wx_view_at(fd, RW, page, nr, addr);
}

/* Seals pages, and shows them at an address by a view of the kind for that. */
static inline int wx_protect_at(int fd, uint32_t pool, size_t page, size_t nr,
				uint32_t prot, void *addr)
{
	int ret = wx_protect(fd, pool, page, nr, prot);

	return ret ? ret : wx_view_at(fd, wx_view_prot(prot), page, nr, addr);
}

/* 0 or -errno of an mmap() that is not meant to be used */
static inline int wx_try_mmap(int fd, int prot, int flags, size_t page,
			      size_t nr)
{
	void *p = mmap(NULL, PG(nr), prot, flags, fd, (off_t)PG(page));

	if (p == MAP_FAILED)
		return -errno;
	munmap(p, PG(nr));
	return 0;
}

static inline int wx_mprotect(void *p, size_t nr, int prot)
{
	return mprotect(p, PG(nr), prot) ? -errno : 0;
}

/* ---------------------------------------------------------------- counts */

/* What a context holds: pages, but for pools, lines, and bytes at the end */
struct wx_stat {
	long pools, open, read, exec, exec_only, packed, huge, kept;
	long lines, kept_lines, idle;
	uint64_t charged, user_charged, limit;
};

/* As fdinfo tells people, also of another process; it has no user_charged. */
static inline int wx_stat_of(pid_t pid, int fd, struct wx_stat *st)
{
	const struct {
		const char *name;
		long *count;
		uint64_t *bytes;
	} fields[] = {
		{ "wxpool-pools:", .count = &st->pools },
		{ "wxpool-open:", .count = &st->open },
		{ "wxpool-read:", .count = &st->read },
		{ "wxpool-exec:", .count = &st->exec },
		{ "wxpool-exec-only:", .count = &st->exec_only },
		{ "wxpool-packed:", .count = &st->packed },
		{ "wxpool-huge:", .count = &st->huge },
		{ "wxpool-idle:", .count = &st->idle },
		{ "wxpool-kept:", .count = &st->kept },
		{ "wxpool-lines:", .count = &st->lines },
		{ "wxpool-kept-lines:", .count = &st->kept_lines },
		{ "wxpool-charged:", .bytes = &st->charged },
		{ "wxpool-limit:", .bytes = &st->limit },
	};
	const unsigned int nr = sizeof(fields) / sizeof(fields[0]);
	unsigned long long value;
	unsigned int found = 0, i;
	char path[64], line[128];
	FILE *f;

	memset(st, 0, sizeof(*st));
	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", (int)pid, fd);
	f = fopen(path, "r");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f))
		for (i = 0; i < nr; i++) {
			if (strncmp(line, fields[i].name, strlen(fields[i].name)) ||
			    sscanf(line + strlen(fields[i].name), "\t%llu", &value) != 1)
				continue;
			if (fields[i].bytes)
				*fields[i].bytes = value;
			else
				*fields[i].count = value;
			found |= 1U << i;
		}
	fclose(f);
	return found == (1U << nr) - 1 ? 0 : -ENODATA;
}

/* As INFO says; all bits set if it fails */
static inline struct wx_stat wx_stat(int fd)
{
	struct wxpool_info info;
	struct wx_stat st;

	if (wx_info(fd, &info)) {
		memset(&st, 0xff, sizeof(st));
		return st;
	}
	return (struct wx_stat) {
		.pools = info.pools,
		.open = info.pages_open,
		.read = info.pages_read,
		.exec = info.pages_exec,
		.exec_only = info.pages_exec_only,
		.packed = info.pages_packed,
		.huge = info.pages_huge,
		.idle = info.pages_idle,
		.kept = info.pages_kept,
		.lines = info.lines,
		.kept_lines = info.lines_kept,
		.charged = info.charged,
		.user_charged = info.user_charged,
		.limit = info.context_limit,
	};
}

#define EXPECT_STAT_XO(fd, n_pools, n_open, n_read, n_exec, n_xo, n_kept) do { \
	struct wx_stat _st = wx_stat(fd);				\
									\
	EXPECT_EQ((n_pools), _st.pools);				\
	EXPECT_EQ((n_open), _st.open);					\
	EXPECT_EQ((n_read), _st.read);					\
	EXPECT_EQ((n_exec), _st.exec);					\
	EXPECT_EQ((n_xo), _st.exec_only);				\
	EXPECT_EQ((n_kept), _st.kept);					\
} while (0)

/* The same if no page is XO */
#define EXPECT_STAT(fd, n_pools, n_open, n_read, n_exec, n_kept)	\
	EXPECT_STAT_XO(fd, n_pools, n_open, n_read, n_exec, 0, n_kept)

#define EXPECT_PACKED(fd, n_packed, n_lines, n_huge) do {		\
	struct wx_stat _pst = wx_stat(fd);				\
									\
	EXPECT_EQ((n_packed), _pst.packed);				\
	EXPECT_EQ((n_lines), _pst.lines);				\
	EXPECT_EQ((n_huge), _pst.huge);					\
} while (0)

#define EXPECT_IDLE(fd, n_idle)						\
	EXPECT_EQ((n_idle), wx_stat(fd).idle)

#define EXPECT_KEPT_LINES(fd, n_lines)					\
	EXPECT_EQ((n_lines), wx_stat(fd).kept_lines)

#define EXPECT_POOL(fd, pool, state, n_pages, n_lines) do {		\
	struct wxpool_info _info = wx_pool_info(fd, pool);		\
									\
	EXPECT_EQ((state), _info.pool_state);				\
	EXPECT_EQ((n_pages), _info.pool_pages);				\
	EXPECT_EQ((n_lines), _info.pool_lines);				\
} while (0)

/*
 * What a refused operation must leave behind: the counts of before. Idle pages are
 * as good as absent, and what is charged includes them, and a table or buffer that
 * a context keeps for the next time.
 */
static inline bool wx_same_counts(const struct wx_stat *a, const struct wx_stat *b)
{
	return !memcmp(a, b, offsetof(struct wx_stat, idle));
}

/* Is this the only context of the user? */
static inline bool wx_is_alone(int fd)
{
	struct wx_stat st = wx_stat(fd);

	return st.user_charged == st.charged;
}

/*
 * Of all contexts of the user only one is left, which was opened just now. A
 * test that waits for this has none open, nor has any other program.
 */
static inline bool wx_nothing_charged(void)
{
	int fd = wx_open();
	bool alone = wx_is_alone(fd);

	close(fd);
	return fd >= 0 && alone;
}

/* io_uring lets go of files in its own time. */
static inline bool wx_soon_nothing_charged(void)
{
	unsigned int tries = 0;

	while (!wx_nothing_charged()) {
		if (++tries == 1000)
			return false;
		usleep(10000);
	}
	return true;
}

#define EXPECT_SAME_STAT(fd, st) do {					\
	EXPECT_STAT_XO(fd, (st).pools, (st).open, (st).read, (st).exec,	\
		       (st).exec_only, (st).kept);			\
	EXPECT_PACKED(fd, (st).packed, (st).lines, (st).huge);		\
	EXPECT_KEPT_LINES(fd, (st).kept_lines);				\
} while (0)

/* ------------------------------------------------- touching memory safely */

static __thread sigjmp_buf wx_jmp;
static __thread volatile sig_atomic_t wx_jmp_armed;

static void wx_on_signal(int sig)
{
	if (wx_jmp_armed)
		siglongjmp(wx_jmp, sig);
	/* A crash of the test itself: let it happen again, undisturbed. */
	signal(sig, SIG_DFL);
}

/*
 * The status of a program whose tests were all skipped is KSFT_SKIP, for who runs it. The
 * harness ends with exit(0). Not for children, which inherit this and the counts.
 */
static pid_t wx_program;

static void wx_at_exit(void)
{
	if (getpid() != wx_program || !ksft_get_xskip_cnt() || ksft_get_pass_cnt() ||
	    ksft_get_fail_cnt() || ksft_get_xfail_cnt() || ksft_get_error_cnt())
		return;
	fflush(NULL);
	_exit(KSFT_SKIP);
}

static __attribute__((constructor)) void wx_init(void)
{
	const int sigs[] = { SIGSEGV, SIGBUS, SIGILL, SIGTRAP };
	struct sigaction sa = {
		.sa_handler = wx_on_signal,
		.sa_flags = SA_NODEFER,
	};
	unsigned int i;

	wx_page_size = (size_t)sysconf(_SC_PAGESIZE);
	wx_program = getpid();
	atexit(wx_at_exit);
	for (i = 0; i < 4; i++)
		sigaction(sigs[i], &sa, NULL);
}

/*
 * Runs a statement; the value is 0 or the signal that it raised. The fences keep
 * the compiler from moving parts of it to where nothing catches the signal.
 */
#define WX_CATCH(...) ({						\
	int _sig = sigsetjmp(wx_jmp, 0);				\
									\
	if (!_sig) {							\
		wx_jmp_armed = 1;					\
		atomic_signal_fence(memory_order_seq_cst);		\
		__VA_ARGS__;						\
		atomic_signal_fence(memory_order_seq_cst);		\
	}								\
	wx_jmp_armed = 0;						\
	_sig;								\
})

static inline int try_read(const void *p)
{
	return WX_CATCH((void)*(const volatile unsigned char *)p);
}

static inline int try_write(void *p, unsigned char val)
{
	return WX_CATCH(*(volatile unsigned char *)p = val);
}

/* Calls p() as a function that returns a number. */
static inline int try_exec(const void *p, uint32_t *ret)
{
	uint32_t (*volatile fn)(void);
	volatile uint32_t val = 0;
	int sig;

	memcpy((void *)&fn, &p, sizeof(fn));
	sig = WX_CATCH(val = fn());
	if (ret)
		*ret = val;
	return sig;
}

/* Signal of a read or a byte's value plus 256, for comparing two looks */
static inline int wx_look(const void *p)
{
	volatile unsigned char val = 0;
	int sig = WX_CATCH(val = *(const volatile unsigned char *)p);

	return sig ? sig : 256 + val;
}

/* ------------------------------------------------------------------ code */

/* Writes a function that returns @val; the bytes it takes */
static inline size_t wx_emit(void *p, uint32_t val)
{
#if defined(__x86_64__) || defined(__i386__)
	unsigned char code[] = { 0xb8, 0, 0, 0, 0, 0xc3 };

	memcpy(code + 1, &val, 4);
#elif defined(__aarch64__)
	uint32_t code[] = {
		0x52800000u | (val & 0xffff) << 5,	/* movz w0, #lo */
		0x72a00000u | (val >> 16) << 5,		/* movk w0, #hi, lsl 16 */
		0xd65f03c0u,				/* ret */
	};
#else
#error "no code for this architecture"
#endif
	memcpy(p, code, sizeof(code));
	__builtin___clear_cache((char *)p, (char *)p + sizeof(code));
	return sizeof(code);
}

/* Fills pages that a W view shows with one function each: val, val + 1, ... */
static inline void wx_emit_pages(char *w, size_t nr, uint32_t val)
{
	size_t i;

	for (i = 0; i < nr; i++)
		wx_emit(w + PG(i), val + (uint32_t)i);
}

/* A function sealed X at @page, by way of a W view that is unmapped again */
static inline int wx_make_code(int fd, uint32_t pool, size_t page,
			       uint32_t val)
{
	int ret = wx_alloc(fd, pool, page, 1);
	char *w;

	if (ret)
		return ret;
	w = wx_view(fd, RW, page, 1);
	if (w == MAP_FAILED)
		return -errno;
	wx_emit(w, val);
	munmap(w, PG(1));
	return wx_protect(fd, pool, page, 1, WXPOOL_PROT_X);
}

/* A function that returns @val, installed at an offset in bytes */
static inline int wx_install_code(int fd, uint32_t pool, uint64_t offset,
				  uint32_t val)
{
	unsigned char code[LINE];

	return wx_install(fd, pool, offset, code, wx_emit(code, val),
			  WXPOOL_PROT_X);
}

/* Bytes to recognize, none of which is a trap or zero */
static inline void wx_pattern(void *p, size_t len, uint32_t seed)
{
	unsigned char *c = p;
	size_t i;

	for (i = 0; i < len; i++)
		c[i] = 1 + (i * 7 + i / 61 + seed * 31) % 199;
}

/* The byte at an address in a packed page that nothing was installed in */
static inline unsigned char wx_fill_byte(uintptr_t at, uint32_t prot)
{
	if (prot == WXPOOL_PROT_R)
		return 0;
#if defined(__x86_64__) || defined(__i386__)
	return 0xcc;					/* int3 */
#elif defined(__aarch64__)
	return (0xd4200000u >> at % 4 * 8) & 0xff;	/* brk #0 */
#else
#error "no trap instruction for this architecture"
#endif
}

/* Are these bytes what fills a packed page that nothing was installed in? */
static inline bool wx_is_fill(const void *p, size_t len, uint32_t prot)
{
	const unsigned char *c = p;
	size_t i;

	for (i = 0; i < len; i++)
		if (c[i] != wx_fill_byte((uintptr_t)(c + i), prot))
			return false;
	return true;
}

/*
 * Seals once nobody holds the pages any more: the kernel drops some
 * references from a work queue. The harness's time limit ends the loop.
 */
static inline int wx_protect_wait(int fd, uint32_t pool, size_t page,
				  size_t nr, uint32_t prot)
{
	int ret;

	while ((ret = wx_protect(fd, pool, page, nr, prot)) == -EBUSY)
		usleep(1000);
	return ret;
}

/* ---------------------------------------------------------- /proc helpers */

static inline int wx_count_vmas(const void *lo, const void *hi)
{
	unsigned long start, end;
	char line[512];
	int n = 0;
	FILE *f = fopen("/proc/self/maps", "r");

	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx", &start, &end) == 2 &&
		    start < (uintptr_t)hi && end > (uintptr_t)lo)
			n++;
	fclose(f);
	return n;
}

/* Protection (PROT_*) of the mapping at an address, or -1 for none */
static inline int wx_vma_prot(const void *p)
{
	unsigned long start, end;
	char line[512], perms[5];
	int prot = -1;
	FILE *f = fopen("/proc/self/maps", "r");

	if (!f)
		return -errno;
	while (prot < 0 && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx %4s", &start, &end, perms) != 3 ||
		    start > (uintptr_t)p || end <= (uintptr_t)p)
			continue;
		prot = (perms[0] == 'r' ? PROT_READ : 0) |
		       (perms[1] == 'w' ? PROT_WRITE : 0) |
		       (perms[2] == 'x' ? PROT_EXEC : 0);
	}
	fclose(f);
	return prot;
}

static inline int wx_write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static inline long wx_read_long(const char *path)
{
	long val = -1;
	FILE *f = fopen(path, "r");

	if (!f)
		return -errno;
	if (fscanf(f, "%ld", &val) != 1)
		val = -ENODATA;
	fclose(f);
	return val;
}

/* Kilobytes of a field of smaps, of the mapping at an address; -1 for none */
static inline long wx_smaps(const void *p, const char *field)
{
	unsigned long start, end;
	bool inside = false;
	char line[512];
	long kb = -1;
	FILE *f = fopen("/proc/self/smaps", "r");

	if (!f)
		return -errno;
	while (kb < 0 && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			inside = start <= (uintptr_t)p && end > (uintptr_t)p;
		else if (inside && !strncmp(line, field, strlen(field)))
			sscanf(line + strlen(field), ": %ld", &kb);
	}
	fclose(f);
	return kb;
}

/* ------------------------------------------------------------- the module */

static inline int wx_unload(void)
{
	return syscall(__NR_delete_module, "wxpool", O_NONBLOCK) ? -errno : 0;
}

static inline int wx_load(void)
{
	const char *cmd = getenv("WXPOOL_LOAD");

	return system(cmd ? cmd : "modprobe wxpool");
}

/*
 * The node is root's until a rule of the system's opens it: udev's, or in the
 * test bed's guests one of mdev's, shortly after the module was loaded. Waits
 * until anyone may open it: 0, or -EACCES if there is no such rule.
 */
static inline int wx_await_node(void)
{
	struct stat st;
	int i;

	for (i = 0; i < 100; i++) {
		if (!stat(WX_DEV, &st) && (st.st_mode & 0666) == 0666)
			return 0;
		usleep(100000);
	}
	return -EACCES;
}

#define NODE_OR_SKIP() do {						\
	if (wx_await_node())						\
		SKIP(return, WX_DEV " is root's only: no udev rule");	\
} while (0)

/* ------------------------------------------------------------ userfaultfd */

static inline int uffd_open(int flags, uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = syscall(__NR_userfaultfd, O_CLOEXEC | flags);

	if (fd < 0)
		return -errno;
	if (ioctl(fd, UFFDIO_API, &api)) {
		close(fd);
		return -EOPNOTSUPP;
	}
	return fd;
}

static inline int uffd_register(int uffd, void *p, size_t nr, uint64_t mode)
{
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)p, .len = PG(nr) },
		.mode = mode,
	};

	return ioctl(uffd, UFFDIO_REGISTER, &reg) ? -errno : 0;
}

/* Waits for a fault: its address's page, or NULL for anything else. */
static inline char *uffd_wait(int uffd)
{
	struct uffd_msg msg;

	if (read(uffd, &msg, sizeof(msg)) != sizeof(msg) ||
	    msg.event != UFFD_EVENT_PAGEFAULT)
		return NULL;
	return (char *)(uintptr_t)(msg.arg.pagefault.address &
				   ~(uint64_t)(wx_page_size - 1));
}

/* Gives a page that a fault waits for. */
static inline int uffd_copy(int uffd, void *to, const void *from)
{
	struct uffdio_copy copy = {
		.dst = (uintptr_t)to, .src = (uintptr_t)from, .len = PG(1),
	};

	return ioctl(uffd, UFFDIO_COPY, &copy) ? -errno : 0;
}

/* ------------------------------------------------------------- processes */

/* Exit status of a child, or 256 plus the signal that ended it */
static inline int wx_wait(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) :
				   256 + WTERMSIG(status);
}

/*
 * In a child made by fork(): a failed check ends it with the line's number
 * (the low seven bits and never 0), which the parent sees in the status.
 */
#define CHILD_CHECK(cond) do {						\
	if (!(cond)) {							\
		fprintf(stderr, "# %s:%d: child: %s\n", __FILE__,	\
			__LINE__, #cond);				\
		_exit(1 + __LINE__ % 127);				\
	}								\
} while (0)

/* One byte through a pipe or a socket, as a step from one process to another */
static inline int wx_step(int fd)
{
	return write(fd, "", 1) == 1 ? 0 : -1;
}

static inline int wx_wait_step(int fd)
{
	char c;

	return read(fd, &c, 1) == 1 ? 0 : -1;
}

static inline int wx_send_fd(int sock, int fd)
{
	char c = 0, buf[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &c, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = buf, .msg_controllen = sizeof(buf),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	return sendmsg(sock, &msg, 0) == 1 ? 0 : -errno;
}

static inline int wx_recv_fd(int sock)
{
	char c, buf[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { &c, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = buf, .msg_controllen = sizeof(buf),
	};
	struct cmsghdr *cmsg;
	int fd, ret;

	ret = recvmsg(sock, &msg, 0);
	if (ret != 1)
		return ret ? -errno : -EPIPE;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (!cmsg || cmsg->cmsg_type != SCM_RIGHTS)
		return -EBADMSG;
	memcpy(&fd, CMSG_DATA(cmsg), sizeof(int));
	return fd;
}

/*
 * A child that is killed when the thread that forked it ends, also if that was
 * before the child could ask for it
 */
static inline pid_t wx_fork(void)
{
	pid_t parent = getpid(), pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			raise(SIGKILL);
	}
	return pid;
}

/* A child that does nothing until it is told, and the pipes to tell it */
struct child {
	pid_t pid;
	int go[2], done[2];
};

#define FORK(c) ({							\
	int _ok = !pipe((c)->go) && !pipe((c)->done);			\
									\
	(c)->pid = _ok ? wx_fork() : -1;				\
})

/* -------------------------------------------------------------- fixtures */

/* Most programs use one of these, and newer harnesses make them static. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"

/* A context and a window of address space to place views in */
FIXTURE(ctx) {
	int fd;
	char *win;
};

FIXTURE_SETUP(ctx)
{
	self->fd = wx_open();
	if (self->fd == -ENOENT)
		SKIP(return, "no " WX_DEV ": modprobe wxpool first");
	ASSERT_GE(self->fd, 0);
	self->win = mmap(NULL, PG(WIN_PAGES), PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, self->win);
}

FIXTURE_TEARDOWN(ctx)
{
	/* The context and the window end with the process of the test. */
}

/* A context, and an X and an R view of its first pages, made before they are */
FIXTURE(packed) {
	int fd;
	char *x, *r;
};

FIXTURE_SETUP(packed)
{
	self->fd = wx_open();
	if (self->fd == -ENOENT)
		SKIP(return, "no " WX_DEV ": modprobe wxpool first");
	ASSERT_GE(self->fd, 0);
	self->x = wx_view(self->fd, RX, 0, WIN_PAGES);
	self->r = wx_view(self->fd, PROT_READ, 0, WIN_PAGES);
	ASSERT_NE(MAP_FAILED, self->x);
	ASSERT_NE(MAP_FAILED, self->r);
}

FIXTURE_TEARDOWN(packed)
{
}

#pragma GCC diagnostic pop

#endif /* WXPOOL_UTIL_H */
