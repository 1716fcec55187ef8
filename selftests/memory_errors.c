// SPDX-License-Identifier: GPL-2.0
/*
 * Memory errors, of the kind that hardware reports, planted with MADV_HWPOISON: whoever
 * touches such a page gets SIGBUS, nothing is sealed or installed in it, and FREE and
 * close work. The rest of the context goes on.
 */
#include <sys/uio.h>

#include "wxpool_fork.h"

#ifndef MADV_HWPOISON
#define MADV_HWPOISON		100
#endif
#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE	101
#endif
#ifndef BUS_MCEERR_AR
#define BUS_MCEERR_AR		4
#endif

#define POOL	1
#define OTHER	2
#define VAL	7

#define KPF_HWPOISON	19

/* What the last SIGBUS was for; the harness's own handler does not tell. */
static volatile int bus_code;

static void on_bus(int sig, siginfo_t *info, void *ucontext)
{
	bus_code = info->si_code;
	if (wx_jmp_armed)
		siglongjmp(wx_jmp, sig);
	signal(sig, SIG_DFL);
}

FIXTURE_VARIANT(broken) {
	bool mapped;		/* in other views, when the page fails */
};

FIXTURE(broken) {
	int fd;
	char *x, *r;
};

FIXTURE_SETUP(broken)
{
	struct sigaction sa = {
		.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO | SA_NODEFER,
	};

	self->fd = wx_open();
	if (self->fd == -ENOENT)
		SKIP(return, "no " WX_DEV ": modprobe wxpool first");
	ASSERT_GE(self->fd, 0);
	/* Of no length: asks only if this can be done. */
	if (madvise(NULL, 0, MADV_HWPOISON))
		SKIP(return, "no MADV_HWPOISON: %s", strerror(errno));
	if (geteuid())
		SKIP(return, "only root can have memory fail");
	self->x = wx_view(self->fd, RX, 0, WIN_PAGES);
	self->r = wx_view(self->fd, PROT_READ, 0, WIN_PAGES);
	ASSERT_NE(MAP_FAILED, self->x);
	ASSERT_NE(MAP_FAILED, self->r);
	ASSERT_EQ(0, sigaction(SIGBUS, &sa, NULL));
}

FIXTURE_TEARDOWN(broken)
{
}

FIXTURE_VARIANT_ADD(broken, mapped) { .mapped = true };
FIXTURE_VARIANT_ADD(broken, not_mapped) { .mapped = false };

/* The flags of the page that is mapped at an address; 0 if none is */
static uint64_t page_flags(const char *p)
{
	int maps = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	int flags = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0, val = 0;

	if (pread(maps, &entry, 8, (off_t)((uintptr_t)p / wx_page_size * 8)) != 8 ||
	    !(entry >> 63) ||
	    pread(flags, &val, 8, (off_t)((entry & ((1ULL << 55) - 1)) * 8)) != 8)
		val = 0;
	close(maps);
	close(flags);
	return val;
}

/*
 * Has the page that a view shows fail, by a view of its own, so that others have
 * it mapped, or not, as they did. True if it has failed since.
 */
static bool break_page(int fd, int prot, size_t page)
{
	char *view = wx_view(fd, prot, page, 1);
	bool broken;

	if (view == MAP_FAILED || try_read(view))
		return false;
	/* It may say what it cannot do about it, and may kill whoever has it mapped. */
	if (WX_CATCH(madvise(view, PG(1), MADV_HWPOISON)))
		printf("# a signal at once\n");
	broken = page_flags(view) >> KPF_HWPOISON & 1;
	/* If it is not mapped any more, it was taken away for that reason. */
	if (!broken && !page_flags(view))
		broken = try_read(view) == SIGBUS && bus_code == BUS_MCEERR_AR;
	munmap(view, PG(1));
	return broken;
}

/* Touched anew, the page is refused for what it is. */
#define EXPECT_BROKEN(p) do {						\
	char *_p = p;							\
									\
	bus_code = 0;							\
	madvise(_p, PG(1), MADV_DONTNEED);				\
	EXPECT_EQ(SIGBUS, try_read(_p));				\
	EXPECT_EQ(BUS_MCEERR_AR, bus_code);				\
} while (0)

#define EXPECT_ABSENT(p) do {						\
	bus_code = 0;							\
	EXPECT_EQ(SIGBUS, try_read(p));					\
	EXPECT_EQ(BUS_ADRERR, bus_code);				\
} while (0)

/* A packed page of two pools */
TEST_F(broken, packed_page)
{
	struct wxpool_install_range r[2];
	struct wxpool_free arg;
	unsigned char code[LINE];

	ASSERT_EQ(0, wx_install_code(self->fd, POOL, AT(0, 0), VAL));
	ASSERT_EQ(0, wx_install_code(self->fd, OTHER, AT(0, 1), VAL));
	ASSERT_EQ(0, wx_install_code(self->fd, OTHER, AT(1, 0), VAL));
	if (variant->mapped)
		EXPECT_EQ(0, try_read(self->x) | try_read(self->r));
	ASSERT_TRUE(break_page(self->fd, RX, 0));
	EXPECT_BROKEN(self->x);
	EXPECT_BROKEN(self->r);
	EXPECT_BROKEN(wx_view(self->fd, RX, 0, 1));
	EXPECT_CODE(self->x + PG(1), VAL);

	/* Nothing comes there, nor anywhere else by the same call. */
	EXPECT_EQ(-EHWPOISON, wx_install_code(self->fd, POOL, AT(0, 2), VAL));
	r[0] = wx_bytes(AT(1, 1), code, wx_emit(code, VAL), WXPOOL_PROT_X);
	r[1] = wx_bytes(AT(0, 3), code, LINE, WXPOOL_PROT_X);
	EXPECT_EQ(-EHWPOISON, wx_install_vec(self->fd, POOL, r, 2));
	EXPECT_EQ(SIGTRAP, try_exec(self->x + AT(1, 1), NULL));
	EXPECT_EQ(-EEXIST, wx_alloc(self->fd, 3, 0, 1));
	EXPECT_STAT(self->fd, 2, 0, 0, 2, 0);

	EXPECT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(0, arg.pages_freed);
	EXPECT_BROKEN(self->x);
	EXPECT_EQ(0, wx_free_out(self->fd, OTHER, &arg));
	EXPECT_EQ(2, arg.pages_freed);
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
	EXPECT_ABSENT(self->x);
	/* Another page in its place is sound. */
	EXPECT_EQ(0, wx_install_code(self->fd, POOL, AT(0, 0), VAL));
	EXPECT_CODE(self->x, VAL);
}

/* A page of ALLOC's that is written at the time, beside others of its pool */
TEST_F(broken, open_page)
{
	struct wxpool_protect_range r[2];
	struct wxpool_free arg;
	char *w;

	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 4));
	w = wx_view(self->fd, RW, 0, 4);
	ASSERT_NE(MAP_FAILED, w);
	wx_emit_pages(w, variant->mapped ? 4 : 1, VAL);
	ASSERT_TRUE(break_page(self->fd, RW, 1));
	EXPECT_BROKEN(w + PG(1));
	EXPECT_EQ(0, try_write(w + PG(2), 1));

	EXPECT_EQ(-EHWPOISON, wx_protect(self->fd, POOL, 1, 1, WXPOOL_PROT_X));
	EXPECT_EQ(-EHWPOISON, wx_protect(self->fd, POOL, 0, 4, WXPOOL_PROT_R));
	r[0] = wx_protect_range(2, 2, WXPOOL_PROT_X);
	r[1] = wx_protect_range(0, 2, WXPOOL_PROT_X);
	EXPECT_EQ(-EHWPOISON, wx_protect_vec(self->fd, POOL, r, 2));
	EXPECT_STAT(self->fd, 1, 4, 0, 0, 0);
	EXPECT_EQ(0, try_write(w + PG(3), 1));
	EXPECT_EQ(0, wx_protect(self->fd, POOL, 0, 1, WXPOOL_PROT_X));
	EXPECT_CODE(self->x, VAL);

	EXPECT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(4, arg.pages_freed);
	EXPECT_ABSENT(w + PG(1));
	EXPECT_EQ(0, wx_make_pages(self->fd, POOL, 0, 4, VAL));
	EXPECT_TRUE(runs_pages(self->x, 4, VAL));
}

/* One that is sealed already, of each kind */
TEST_F(broken, sealed_page)
{
	struct wxpool_free arg;

	ASSERT_EQ(0, wx_make_pages(self->fd, POOL, 0, 2, VAL));
	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 2, 2));
	ASSERT_EQ(0, wx_protect(self->fd, POOL, 2, 2, WXPOOL_PROT_R));
	if (variant->mapped)
		EXPECT_EQ(4, readable_pages(self->r, 4));
	ASSERT_TRUE(break_page(self->fd, RX, 0));
	ASSERT_TRUE(break_page(self->fd, PROT_READ, 2));
	EXPECT_BROKEN(self->x);
	EXPECT_BROKEN(self->r);
	EXPECT_BROKEN(self->r + PG(2));
	EXPECT_CODE(self->x + PG(1), VAL + 1);
	EXPECT_EQ(0, try_read(self->r + PG(3)));
	EXPECT_EQ(-EPERM, wx_protect(self->fd, POOL, 1, 1, WXPOOL_PROT_R));
	EXPECT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(4, arg.pages_freed);
	EXPECT_ABSENT(self->x);
}

/* A page of a block: the others are as good as before, in small pages perhaps. */
TEST_F(broken, block)
{
	struct wxpool_install_range r;
	unsigned char code[LINE];
	struct wxpool_info info;
	struct wxpool_free arg;
	uint64_t nr;

	ASSERT_EQ(0, wx_info(self->fd, &info));
	if (!info.block_size)
		SKIP(return, "this kernel has no huge pages");
	nr = info.block_size / wx_page_size;
	r = wx_bytes(AT(3, 0), code, wx_emit(code, VAL), WXPOOL_PROT_X);
	ASSERT_EQ(0, wx_install_flags(self->fd, POOL, &r, 1, WXPOOL_INSTALL_BLOCKS));
	ASSERT_EQ(0, wx_install_code(self->fd, OTHER, AT(4, 0), VAL + 1));
	if (!wx_stat(self->fd).huge)
		SKIP(return, "no huge page to be had");
	if (variant->mapped)
		EXPECT_EQ(0, try_read(self->x) | try_read(self->r));
	ASSERT_TRUE(break_page(self->fd, RX, 3));
	EXPECT_BROKEN(self->x + PG(3));
	EXPECT_BROKEN(self->r + PG(3));
	madvise(self->x, PG(WIN_PAGES), MADV_DONTNEED);
	EXPECT_CODE(self->x + PG(4), VAL + 1);
	EXPECT_EQ(SIGTRAP, try_exec(self->x + PG(5), NULL));
	EXPECT_BROKEN(self->x + PG(3));
	EXPECT_EQ(-EHWPOISON, wx_install_code(self->fd, OTHER, AT(3, 1), VAL));
	EXPECT_EQ(0, wx_install_code(self->fd, OTHER, AT(5, 0), VAL + 2));
	EXPECT_CODE(self->x + PG(5), VAL + 2);

	EXPECT_EQ(0, wx_free_out(self->fd, POOL, &arg));
	EXPECT_EQ(0, arg.pages_freed);
	/* Such a block is none to keep. */
	EXPECT_EQ(0, wx_free_out(self->fd, OTHER, &arg));
	EXPECT_EQ(nr, arg.pages_freed);
	EXPECT_IDLE(self->fd, 0);
	EXPECT_ABSENT(self->x + PG(4));
	ASSERT_EQ(0, wx_install_flags(self->fd, POOL, &r, 1, WXPOOL_INSTALL_BLOCKS));
	EXPECT_CODE(self->x + PG(3), VAL);
}

/* It fails while a block is idle: nobody comes to it. */
TEST_F(broken, idle_block)
{
	struct wxpool_install_range r;
	unsigned char code[LINE];
	struct wxpool_info info;

	ASSERT_EQ(0, wx_info(self->fd, &info));
	if (!info.block_size)
		SKIP(return, "this kernel has no huge pages");
	r = wx_bytes(AT(3, 0), code, wx_emit(code, VAL), WXPOOL_PROT_X);
	ASSERT_EQ(0, wx_install_flags(self->fd, POOL, &r, 1, WXPOOL_INSTALL_BLOCKS));
	ASSERT_EQ(0, wx_free(self->fd, POOL));
	if (!wx_stat(self->fd).idle)
		SKIP(return, "no huge page to be had");
	if (variant->mapped)
		EXPECT_EQ(0, try_read(self->x) | try_read(self->r));
	ASSERT_TRUE(break_page(self->fd, RX, 3));
	EXPECT_BROKEN(self->x + PG(3));
	ASSERT_EQ(0, wx_install_flags(self->fd, POOL, &r, 1, WXPOOL_INSTALL_BLOCKS));
	EXPECT_CODE(self->x + PG(3), VAL);
	EXPECT_EQ(0, wx_free(self->fd, POOL));
}

/* A page in a pipe, which goes on holding it after FREE and close */
TEST_F(broken, page_in_a_pipe)
{
	int p[2], other = wx_open();
	struct iovec iov = { self->x, PG(1) };
	char *got = malloc(PG(1)), *x;
	ssize_t ret;

	ASSERT_NE(NULL, got);
	ASSERT_EQ(0, pipe(p));
	ASSERT_EQ(0, wx_install_code(self->fd, POOL, AT(0, 0), VAL));
	ASSERT_EQ((ssize_t)PG(1), vmsplice(p[1], &iov, 1, 0));
	if (!variant->mapped)
		ASSERT_EQ(0, madvise(self->x, PG(1), MADV_DONTNEED));
	ASSERT_TRUE(break_page(self->fd, RX, 0));
	EXPECT_BROKEN(self->x);
	/* No second one can be got; the first is there to be read, or an error. */
	EXPECT_EQ(-1, vmsplice(p[1], &iov, 1, 0));
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_ABSENT(self->x);
	ret = read(p[0], got, PG(1));
	EXPECT_TRUE(ret == (ssize_t)PG(1) || ret < 0);
	close(p[0]);
	close(p[1]);

	/* The same when the context is closed first */
	ASSERT_GE(other, 0);
	ASSERT_EQ(0, pipe(p));
	ASSERT_EQ(0, wx_make_code(other, POOL, 0, VAL));
	x = wx_view(other, RX, 0, 1);
	iov.iov_base = x;
	ASSERT_EQ((ssize_t)PG(1), vmsplice(p[1], &iov, 1, 0));
	ASSERT_TRUE(break_page(other, RX, 0));
	munmap(x, PG(1));
	close(other);
	close(p[0]);
	close(p[1]);
	free(got);
}

/* Closed with all of them there: whoever is the last to have them mapped */
TEST_F(broken, close)
{
	long refs = wx_read_long(WX_MODULE "/refcnt");
	int fd = wx_open();
	char *x, *w;

	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, wx_install_code(fd, POOL, AT(0, 0), VAL));
	ASSERT_EQ(0, wx_make_pages(fd, POOL, 1, 2, VAL));
	ASSERT_EQ(0, wx_alloc(fd, POOL, 3, 1));
	x = wx_view(fd, RX, 0, 4);
	w = wx_view(fd, RW, 3, 1);
	ASSERT_NE(MAP_FAILED, x);
	ASSERT_NE(MAP_FAILED, w);
	if (variant->mapped)
		EXPECT_EQ(0, try_read(x) | try_read(x + PG(1)) | try_write(w, 1));
	ASSERT_TRUE(break_page(fd, RX, 0));
	ASSERT_TRUE(break_page(fd, RX, 1));
	ASSERT_TRUE(break_page(fd, RW, 3));
	close(fd);
	EXPECT_BROKEN(x);
	EXPECT_BROKEN(w);
	munmap(x, PG(4));
	munmap(w, PG(1));
	EXPECT_EQ(refs, wx_read_long(WX_MODULE "/refcnt"));
}

/* Kept for a heir, who gets to know it as everybody does */
TEST_F(broken, kept_page)
{
	struct child c;

	ASSERT_EQ(0, wx_make_pages(self->fd, POOL, 0, 2, VAL));
	ASSERT_EQ(0, wx_install_code(self->fd, POOL, AT(2, 0), VAL + 2));
	ASSERT_EQ(0, wx_install_code(self->fd, OTHER, AT(2, 1), VAL + 3));
	if (variant->mapped)
		EXPECT_EQ(3, readable_pages(self->x, 3));
	ASSERT_GT(child_start(&c), -1);
	if (!c.pid) {
		child_waits(&c);
		CHILD_CHECK(try_read(self->r) == SIGBUS && bus_code == BUS_MCEERR_AR);
		CHILD_CHECK(try_read(self->r + PG(2)) == SIGBUS);
		CHILD_CHECK(bus_code == BUS_MCEERR_AR);
		CHILD_CHECK(runs(self->x + PG(1), VAL + 1));
		_exit(0);
	}
	ASSERT_TRUE(break_page(self->fd, RX, 0));
	ASSERT_TRUE(break_page(self->fd, RX, 2));
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_EQ(2, wx_stat(self->fd).kept);
	EXPECT_ABSENT(self->r);
	EXPECT_EQ(0, child_end(&c));
	EXPECT_EQ(0, wx_stat(self->fd).kept);
	EXPECT_EQ(0, wx_free(self->fd, OTHER));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
}

/* Sources of an INSTALL: plain memory, and a page of the context's own */
TEST_F(broken, source)
{
	char *plain = mmap(NULL, PG(2), RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct wxpool_install_range r[2];
	struct wx_stat st;

	ASSERT_NE(MAP_FAILED, plain);
	memset(plain, 1, PG(2));
	ASSERT_EQ(0, wx_install_code(self->fd, POOL, AT(0, 0), VAL));
	if (variant->mapped)
		EXPECT_EQ(0, try_read(self->x));
	ASSERT_TRUE(break_page(self->fd, RX, 0));
	/* A signal comes at once; then it is not there any more. */
	WX_CATCH(madvise(plain + PG(1), PG(1), MADV_HWPOISON));
	ASSERT_EQ(SIGBUS, try_read(plain + PG(1)));
	st = wx_stat(self->fd);
	madvise(self->x, PG(1), MADV_DONTNEED);
	EXPECT_EQ(-EFAULT, wx_install(self->fd, POOL, AT(1, 0), self->x, LINE,
				      WXPOOL_PROT_X));
	EXPECT_EQ(-EFAULT, wx_install(self->fd, POOL, AT(1, 0), plain + PG(1) - 1, 2,
				      WXPOOL_PROT_X));
	r[0] = wx_bytes(AT(1, 0), plain, PG(1), WXPOOL_PROT_X);
	r[1] = wx_bytes(AT(3, 0), plain + PG(1), PG(1), WXPOOL_PROT_R);
	EXPECT_EQ(-EFAULT, wx_install_vec(self->fd, POOL, r, 2));
	EXPECT_SAME_STAT(self->fd, st);
	EXPECT_ABSENT(self->x + PG(1));
	EXPECT_EQ(0, wx_install_vec(self->fd, POOL, r, 1));
	EXPECT_EQ(0, wx_free(self->fd, POOL));
}

/* Memory to be taken out of use while it still works: no reason to lose anything */
TEST_F(broken, soft_offline)
{
	ASSERT_EQ(0, wx_make_pages(self->fd, POOL, 0, 2, VAL));
	ASSERT_EQ(0, wx_install_code(self->fd, POOL, AT(2, 0), VAL + 2));
	if (variant->mapped)
		EXPECT_EQ(3, readable_pages(self->x, 3));
	madvise(wx_view(self->fd, RX, 0, 3), PG(3), MADV_SOFT_OFFLINE);
	EXPECT_TRUE(runs_pages(self->x, 3, VAL));
	madvise(self->x, PG(3), MADV_DONTNEED);
	EXPECT_TRUE(runs_pages(self->x, 3, VAL));
	EXPECT_EQ(0, wx_install_code(self->fd, POOL, AT(2, 1), VAL));
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
}

TEST_HARNESS_MAIN
