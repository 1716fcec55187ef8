// SPDX-License-Identifier: GPL-2.0
/*
 * Views: what each kind shows of each page state, and that nothing a process
 * can do to a mapping makes one kind into another. Where an attack is tried,
 * the same is done to plain memory first, to show that the attempt works.
 */
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#include "wxpool_trace.h"
#include "wxpool_util.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE		25
#endif

#define POOL	1

static char *plain_pages(size_t nr)
{
	return mmap(NULL, PG(nr), RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* ------------------------------------------ kinds of views, states of pages */

/* The pages of the fixture, and how they show themselves */
enum { ABSENT, OPEN, SEALED_R, SEALED_X, SEALED_XO, FREED, NR_PAGES };

#define CODE	0x600d0000u

FIXTURE_VARIANT(view)
{
	int prot;		/* as asked of mmap() */
	int full;		/* the most that mprotect() may set */
	bool fixed_size;	/* it neither grows nor is doubled */
	int read[NR_PAGES], write[NR_PAGES], exec[NR_PAGES];
};

FIXTURE(view) {
	int fd;
	char *v;		/* the view */
	int read[NR_PAGES];	/* as the variant's, if the processor keeps XO */
	char *win;		/* room for NR_PAGES and more behind it */
};

#define ALL(sig)	{ sig, sig, sig, sig, sig, sig }

/*
 * To run what must not be run ends in one of two signals: x86 lets the page
 * fault in first, others look at the mapping first.
 */
#define REFUSED		(-1)

static int try_exec_kind(const void *p, int expected, uint32_t *val)
{
	int sig = try_exec(p, val);

	return expected == REFUSED && (sig == SIGSEGV || sig == SIGBUS) ?
	       REFUSED : sig;
}

FIXTURE_VARIANT_ADD(view, w) {
	.prot = RW, .full = RW, .fixed_size = true,
	.read = { SIGBUS, 0, SIGBUS, SIGBUS, SIGBUS, SIGBUS },
	.write = { SIGBUS, 0, SIGBUS, SIGBUS, SIGBUS, SIGBUS },
	.exec = ALL(REFUSED),
};

FIXTURE_VARIANT_ADD(view, x) {
	.prot = RX, .full = RX,
	.read = { SIGBUS, SIGBUS, SIGBUS, 0, SIGBUS, SIGBUS },
	.write = ALL(SIGSEGV),
	.exec = { SIGBUS, SIGBUS, SIGBUS, 0, SIGBUS, SIGBUS },
};

/* Of no use to whoever wants to read, or where the processor does not help */
FIXTURE_VARIANT_ADD(view, xo) {
	.prot = XO, .full = XO,
	.read = { SIGBUS, SIGBUS, SIGBUS, 0, 0, SIGBUS },
	.write = ALL(SIGSEGV),
	.exec = { SIGBUS, SIGBUS, SIGBUS, 0, 0, SIGBUS },
};

FIXTURE_VARIANT_ADD(view, r) {
	.prot = PROT_READ, .full = PROT_READ,
	.read = { SIGBUS, SIGBUS, 0, 0, SIGBUS, SIGBUS },
	.write = ALL(SIGSEGV),
	.exec = ALL(REFUSED),
};

FIXTURE_VARIANT_ADD(view, write_only) {
	.prot = PROT_WRITE, .full = RW, .fixed_size = true,
	.read = { SIGBUS, 0, SIGBUS, SIGBUS, SIGBUS, SIGBUS },
	.write = { SIGBUS, 0, SIGBUS, SIGBUS, SIGBUS, SIGBUS },
	.exec = ALL(REFUSED),
};

FIXTURE_VARIANT_ADD(view, none) {
	.prot = PROT_NONE, .full = PROT_READ,
	.read = ALL(SIGSEGV),
	.write = ALL(SIGSEGV),
	.exec = ALL(REFUSED),
};

/*
 * The view exists, and is touched, before the pages get their states, so that
 * whatever a page left behind in it would show.
 */
FIXTURE_SETUP(view)
{
	struct wxpool_info info;
	char *w;
	int i;

	self->fd = wx_open();
	if (self->fd == -ENOENT)
		SKIP(return, "no " WX_DEV ": modprobe wxpool first");
	ASSERT_GE(self->fd, 0);
	ASSERT_EQ(0, wx_info(self->fd, &info));
	for (i = 0; i < NR_PAGES; i++)
		self->read[i] = variant->full == XO && info.features & WXPOOL_FEATURE_XO ?
				SIGSEGV : variant->read[i];
	self->win = mmap(NULL, PG(32), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	ASSERT_NE(MAP_FAILED, self->win);
	ASSERT_EQ(0, wx_view_at(self->fd, variant->prot, 0, NR_PAGES,
				self->win));
	self->v = self->win;

	ASSERT_EQ(0, wx_alloc(self->fd, POOL, OPEN, 4));
	ASSERT_EQ(0, wx_alloc(self->fd, 2, FREED, 1));
	w = wx_view(self->fd, RW, 0, NR_PAGES);
	ASSERT_NE(MAP_FAILED, w);
	for (i = OPEN; i < NR_PAGES; i++) {
		wx_emit(w + PG(i), CODE + i);
		wx_look(self->v + PG(i));
	}
	ASSERT_EQ(0, wx_protect(self->fd, POOL, SEALED_R, 1, WXPOOL_PROT_R));
	ASSERT_EQ(0, wx_protect(self->fd, POOL, SEALED_X, 1, WXPOOL_PROT_X));
	ASSERT_EQ(0, wx_protect(self->fd, POOL, SEALED_XO, 1, WXPOOL_PROT_XO));
	ASSERT_EQ(0, wx_protect(self->fd, 2, FREED, 1, WXPOOL_PROT_X));
	for (i = 0; i < NR_PAGES; i++)
		wx_look(self->v + PG(i));
	ASSERT_EQ(0, wx_free(self->fd, 2));
	munmap(w, PG(NR_PAGES));
}

FIXTURE_TEARDOWN(view)
{
}

/* The view at @v, with all of its protection, is just what its kind is. */
#define EXPECT_KIND(v) do {						\
	uint32_t _val;							\
	int _i;								\
									\
	for (_i = 0; _i < NR_PAGES; _i++) {				\
		int _exec = variant->exec[_i];				\
									\
		EXPECT_EQ(_exec, try_exec_kind((v) + PG(_i), _exec,	\
					       &_val));			\
		EXPECT_TRUE(_exec || _val == CODE + _i);		\
		EXPECT_EQ(self->read[_i], try_read((v) + PG(_i)));	\
		EXPECT_EQ(variant->write[_i],				\
			  try_write((v) + PG(_i) + 64, 1));		\
		EXPECT_EQ(_exec, try_exec_kind((v) + PG(_i), _exec,	\
					       NULL));			\
	}								\
} while (0)

TEST_F(view, touch)
{
	EXPECT_KIND(self->v);
	EXPECT_STAT_XO(self->fd, 1, 1, 1, 1, 1, 0);
}

/* All eight protections: only less than the kind, and back again */
TEST_F(view, mprotect)
{
	char *plain = plain_pages(1);
	int prot, ret;

	ASSERT_NE(MAP_FAILED, plain);
	ASSERT_EQ(0, wx_mprotect(plain, 1, RX));
	ASSERT_EQ(0, wx_mprotect(plain, 1, RW));

	for (prot = 0; prot <= RWX; prot++) {
		ret = wx_mprotect(self->v, NR_PAGES, prot);
		EXPECT_EQ(prot & ~variant->full ? -EACCES : 0, ret) {
			TH_LOG("protection %d", prot);
		}
		EXPECT_EQ(0, wx_mprotect(self->v, NR_PAGES, variant->prot));
		EXPECT_KIND(self->v);
	}
}

/*
 * Lower the protection, touch, raise it again: a page that the lowered view
 * let in must not be there with more than the kind allows. So faults may not
 * go by the current protection.
 */
TEST_F(view, mprotect_touch_mprotect)
{
	int prot, i;

	for (prot = 0; prot <= RWX; prot++) {
		if (wx_mprotect(self->v, NR_PAGES, prot))
			continue;
		for (i = 0; i < NR_PAGES; i++) {
			try_read(self->v + PG(i));
			try_write(self->v + PG(i) + 64, 1);
			try_exec(self->v + PG(i), NULL);
		}
		ASSERT_EQ(0, wx_mprotect(self->v, NR_PAGES, variant->prot));
		EXPECT_KIND(self->v);
	}
}

TEST_F(view, pkey_mprotect)
{
	int key, prot;

	key = pkey_alloc(0, 0);
	if (key < 0)
		SKIP(return, "no protection keys: %s", strerror(errno));
	for (prot = 0; prot <= RWX; prot++) {
		int ret = pkey_mprotect(self->v, PG(NR_PAGES), prot, key) ?
			  -errno : 0;

		EXPECT_EQ(prot & ~variant->full ? -EACCES : 0, ret);
		/*
		 * Back to key 0: signal handlers run without the others. To the
		 * kernel's own for XO views, which mprotect() chooses.
		 */
		EXPECT_EQ(0, variant->prot == XO ?
			  mprotect(self->v, PG(NR_PAGES), XO) :
			  pkey_mprotect(self->v, PG(NR_PAGES), variant->prot, 0));
		EXPECT_KIND(self->v);
	}
}

TEST_F(view, mremap_move)
{
	char *to = self->win + PG(8);

	ASSERT_EQ(to, mremap(self->v, PG(NR_PAGES), PG(NR_PAGES),
			     MREMAP_MAYMOVE | MREMAP_FIXED, to));
	EXPECT_KIND(to);
	EXPECT_EQ(SIGSEGV, try_read(self->v));
}

/* A view that grows shows the pages behind, by the same rules; a W view does not. */
TEST_F(view, mremap_grow_and_shrink)
{
	char *to = self->win + PG(8);
	char *p;

	munmap(to, PG(NR_PAGES));
	ASSERT_EQ(to, mremap(self->v, PG(2), PG(2),
			     MREMAP_MAYMOVE | MREMAP_FIXED, to));
	p = mremap(to, PG(2), PG(NR_PAGES), 0);
	if (variant->fixed_size) {
		EXPECT_EQ(MAP_FAILED, p);
		EXPECT_EQ(EFAULT, errno);
		EXPECT_EQ(self->read[OPEN], try_read(to + PG(OPEN)));
		EXPECT_EQ(MAP_FAILED, mremap(to, PG(2), PG(3), MREMAP_MAYMOVE));
		EXPECT_EQ(EFAULT, errno);
		EXPECT_EQ(to, mremap(to, PG(2), PG(1), 0));
		return;
	}
	ASSERT_EQ(to, p);
	EXPECT_KIND(to);
	EXPECT_EQ(to, mremap(to, PG(NR_PAGES), PG(2), 0));
	EXPECT_EQ(self->read[OPEN], try_read(to + PG(OPEN)));
	EXPECT_EQ(SIGSEGV, try_read(to + PG(2)));
}

/* Old size 0 makes a second view of the same pages, but of a W view. */
TEST_F(view, mremap_duplicate)
{
	char *to = self->win + PG(8);
	char *p = mremap(self->v, 0, PG(NR_PAGES), MREMAP_MAYMOVE | MREMAP_FIXED, to);

	if (variant->fixed_size) {
		EXPECT_EQ(MAP_FAILED, p);
		EXPECT_EQ(EFAULT, errno);
		EXPECT_KIND(self->v);
		return;
	}
	ASSERT_EQ(to, p);
	EXPECT_KIND(to);
	EXPECT_KIND(self->v);
	/* ... which FREE takes the pages away from as well. */
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_EQ(wx_look(self->v + PG(SEALED_X)), wx_look(to + PG(SEALED_X)));
	EXPECT_NE(0, try_read(to + PG(SEALED_X)));
	EXPECT_NE(0, try_exec(to + PG(SEALED_X), NULL));
}

TEST_F(view, mremap_dontunmap)
{
	char *to = self->win + PG(8);
	char *p = mremap(self->v, PG(NR_PAGES), PG(NR_PAGES),
			 MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, to);

	if (variant->fixed_size) {
		EXPECT_EQ(MAP_FAILED, p);
		EXPECT_KIND(self->v);
		return;
	}
	if (p == MAP_FAILED) {
		EXPECT_KIND(self->v);
		SKIP(return, "MREMAP_DONTUNMAP: %s", strerror(errno));
	}
	EXPECT_KIND(to);
	EXPECT_KIND(self->v);
}

/* Slot 0 of the view shows the X page, slot 3 the OPEN page; if allowed. */
TEST_F(view, remap_file_pages)
{
	char *plain = mmap(NULL, PG(2), RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int a, b, i;

	ASSERT_NE(MAP_FAILED, plain);
	plain[PG(1)] = 1;
	ASSERT_EQ(0, remap_file_pages(plain, PG(1), 0, 1, 0));
	ASSERT_EQ(1, plain[0]);

	a = remap_file_pages(self->v, PG(1), 0, SEALED_X, 0);
	b = remap_file_pages(self->v + PG(SEALED_X), PG(1), 0, OPEN, 0);
	EXPECT_EQ(a ? self->read[0] : self->read[SEALED_X],
		  try_read(self->v));
	EXPECT_EQ(variant->write[SEALED_X], try_write(self->v, 1));
	EXPECT_EQ(a ? variant->exec[0] : variant->exec[SEALED_X],
		  try_exec_kind(self->v, variant->exec[0], NULL));
	EXPECT_EQ(b ? variant->exec[SEALED_X] : variant->exec[OPEN],
		  try_exec_kind(self->v + PG(SEALED_X), variant->exec[OPEN],
				NULL));
	for (i = 0; i < NR_PAGES; i++)
		if (!try_exec(self->v + PG(i), NULL))
			EXPECT_NE(0, try_write(self->v + PG(i), 1));
}

/* Each advice that a user may give; none of them changes what is shown. */
TEST_F(view, madvise_all)
{
	const int range[][2] = { { 0, 25 }, { 102, 103 } };
	unsigned int i;
	int advice;

	for (i = 0; i < 2; i++)
		for (advice = range[i][0]; advice <= range[i][1]; advice++) {
			int ret = madvise(self->v, PG(NR_PAGES), advice);

			if (advice == MADV_GUARD_INSTALL && !ret)
				continue;	/* its opposite comes next */
			EXPECT_KIND(self->v);
		}
	EXPECT_STAT_XO(self->fd, 1, 1, 1, 1, 1, 0);
}

TEST_F(view, madvise_remove)
{
	char *plain = mmap(NULL, PG(1), RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, plain);
	plain[0] = 1;
	ASSERT_EQ(0, madvise(plain, PG(1), MADV_REMOVE));
	ASSERT_EQ(0, plain[0]);
	EXPECT_EQ(-1, madvise(self->v, PG(NR_PAGES), MADV_REMOVE));
	EXPECT_KIND(self->v);
}

TEST_F(view, populate)
{
	char *plain = plain_pages(1);
	int i, ret;

	ASSERT_NE(MAP_FAILED, plain);
	if (madvise(plain, PG(1), MADV_POPULATE_WRITE))
		SKIP(return, "MADV_POPULATE_WRITE: %s", strerror(errno));
	for (i = 0; i < NR_PAGES; i++) {
		ret = madvise(self->v + PG(i), PG(1), MADV_POPULATE_READ);
		EXPECT_EQ(variant->prot & PROT_READ && !self->read[i] ?
			  0 : -1, ret);
		ret = madvise(self->v + PG(i), PG(1), MADV_POPULATE_WRITE);
		EXPECT_EQ(variant->write[i] ? -1 : 0, ret);
		ret = mmap(self->win + PG(16), PG(1), variant->prot,
			   MAP_SHARED | MAP_FIXED | MAP_POPULATE, self->fd,
			   (off_t)PG(i)) == MAP_FAILED;
		EXPECT_EQ(0, ret);
		EXPECT_EQ(self->read[i], try_read(self->win + PG(16)));
		EXPECT_EQ(variant->write[i], try_write(self->win + PG(16) + 64, 1));
	}
	EXPECT_KIND(self->v);
}

/* Locked views are as any other, and locking holds no page against a seal. */
TEST_F(view, mlock)
{
	int i;

	for (i = 0; i < NR_PAGES; i++)
		mlock(self->v + PG(i), PG(1));
	EXPECT_KIND(self->v);
	EXPECT_EQ(0, wx_protect(self->fd, POOL, OPEN, 1, WXPOOL_PROT_R));
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	for (i = 0; i < NR_PAGES; i++)
		EXPECT_NE(0, try_read(self->v + PG(i)));
}

/* Reading as the kernel does for a user, which asks for PROT_READ */
TEST_F(view, process_vm_readv)
{
	struct iovec local, remote;
	char buf[16];
	bool ok;
	int i;

	for (i = 0; i < NR_PAGES; i++) {
		local = (struct iovec) { buf, sizeof(buf) };
		remote = (struct iovec) { self->v + PG(i), sizeof(buf) };
		ok = variant->prot & PROT_READ && !self->read[i];
		EXPECT_EQ(ok ? (ssize_t)sizeof(buf) : -1,
			  process_vm_readv(getpid(), &local, 1, &remote, 1, 0));
	}
}

/* A system call that stores for its caller: as a store of the caller's own */
TEST_F(view, read_into)
{
	int zero = open("/dev/zero", O_RDONLY), i;
	ssize_t ret;

	ASSERT_GE(zero, 0);
	for (i = 0; i < NR_PAGES; i++) {
		ret = read(zero, self->v + PG(i) + 64, 64);
		EXPECT_EQ(variant->write[i] ? -1 : 64, ret);
	}
	EXPECT_KIND(self->v);
}

/* ---------------------------------------------------------- making views */

TEST_F(ctx, mmap_kinds)
{
	const struct {
		int prot, flags, ret;
	} tries[] = {
		{ PROT_NONE, MAP_SHARED, 0 },
		{ PROT_READ, MAP_SHARED, 0 },
		{ PROT_WRITE, MAP_SHARED, 0 },
		{ RW, MAP_SHARED, 0 },
		{ PROT_EXEC, MAP_SHARED, 0 },
		{ RX, MAP_SHARED, 0 },
		{ PROT_WRITE | PROT_EXEC, MAP_SHARED, -EACCES },
		{ RWX, MAP_SHARED, -EACCES },
		{ RWX, MAP_SHARED_VALIDATE, -EACCES },
		{ PROT_NONE, MAP_PRIVATE, -EACCES },
		{ PROT_READ, MAP_PRIVATE, -EACCES },
		{ PROT_WRITE, MAP_PRIVATE, -EACCES },
		{ RW, MAP_PRIVATE, -EACCES },
		{ RX, MAP_PRIVATE, -EACCES },
		{ RWX, MAP_PRIVATE, -EACCES },
		{ RW, MAP_PRIVATE | MAP_POPULATE, -EACCES },
		{ RW, MAP_SHARED_VALIDATE, 0 },
		{ RX, MAP_SHARED_VALIDATE, 0 },
		{ RW, MAP_SHARED | MAP_POPULATE, 0 },
		{ RX, MAP_SHARED | MAP_POPULATE, 0 },
		{ RX, MAP_SHARED | MAP_NORESERVE, 0 },
		{ RW, MAP_SHARED | MAP_LOCKED, 0 },
	};
	unsigned int i, state;

	ASSERT_EQ(0, mprotect(self->win, PG(1), RWX));
	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 1));
	for (state = 0; state < 3; state++) {
		for (i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
			EXPECT_EQ(tries[i].ret,
				  wx_try_mmap(self->fd, tries[i].prot,
					      tries[i].flags, 0, 2)) {
				TH_LOG("try %u state %u", i, state);
			}
		}
		if (!state)
			ASSERT_EQ(0, wx_protect(self->fd, POOL, 0, 1, WXPOOL_PROT_X));
		if (state == 1)
			ASSERT_EQ(0, wx_free(self->fd, POOL));
	}
}

/* What fd it was opened with limits further, as for any file. */
TEST_F(ctx, open_modes)
{
	int rd = open(WX_DEV, O_RDONLY), wr = open(WX_DEV, O_WRONLY);

	ASSERT_GE(rd, 0);
	EXPECT_EQ(-EACCES, wx_try_mmap(rd, RW, MAP_SHARED, 0, 1));
	EXPECT_EQ(-EACCES, wx_try_mmap(rd, RWX, MAP_SHARED, 0, 1));
	EXPECT_EQ(-EACCES, wx_try_mmap(rd, RW, MAP_PRIVATE, 0, 1));
	EXPECT_EQ(-EACCES, wx_try_mmap(rd, RX, MAP_PRIVATE, 0, 1));
	if (wr >= 0)
		EXPECT_EQ(-EACCES, wx_try_mmap(wr, RX, MAP_SHARED, 0, 1));
}

/* Views of a read-only fd, which the core marks as not quite shared */
TEST_F(ctx, readonly_fd_views)
{
	int fd = open(WX_DEV, O_RDONLY), mem;
	char *x, *r;

	ASSERT_GE(fd, 0);
	/* Nothing comes into such a context. */
	ASSERT_EQ(-EBADF, wx_alloc(fd, POOL, 0, 2));
	ASSERT_EQ(-EBADF, wx_install_code(fd, POOL, 0, 1));
	EXPECT_STAT(fd, 0, 0, 0, 0, 0);
	x = wx_view(fd, RX, 0, 2);
	r = wx_view(fd, PROT_READ, 0, 2);
	ASSERT_NE(MAP_FAILED, x);
	ASSERT_NE(MAP_FAILED, r);
	mem = open("/proc/self/mem", O_RDWR);
	ASSERT_GE(mem, 0);
	EXPECT_EQ(SIGBUS, try_read(x));
	EXPECT_EQ(SIGBUS, try_exec(x, NULL));
	EXPECT_EQ(SIGBUS, try_read(r));
	/* Were it a private mapping, this would make a page of its own. */
	EXPECT_EQ(-1, pwrite(mem, "\xcc", 1, (off_t)(uintptr_t)x));
	EXPECT_EQ(-1, pwrite(mem, "\xcc", 1, (off_t)(uintptr_t)r));
	EXPECT_EQ(SIGBUS, try_read(x));
	EXPECT_EQ(SIGBUS, try_read(r));
	EXPECT_EQ(-EACCES, wx_mprotect(x, 1, RW));
	EXPECT_EQ(-EACCES, wx_mprotect(r, 1, RX));
	EXPECT_EQ(-EACCES, wx_mprotect(x, 1, RWX));
}

/* Many views of the same page are all seen by a seal and by FREE. */
TEST_F(ctx, seal_reaches_all_views)
{
	char *w[20], *x[20];
	int i;

	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 5, 1));
	for (i = 0; i < 20; i++) {
		w[i] = wx_view(self->fd, i & 1 ? RW : PROT_WRITE, i % 6, 6);
		x[i] = wx_view(self->fd, i & 1 ? RX : PROT_READ, i % 6, 6);
		ASSERT_NE(MAP_FAILED, w[i]);
		ASSERT_NE(MAP_FAILED, x[i]);
		w[i] += PG(5 - i % 6);
		x[i] += PG(5 - i % 6);
		EXPECT_EQ(0, try_write(w[i], i));
		EXPECT_EQ(SIGBUS, try_read(x[i]));
	}
	wx_emit(w[0], 8);
	ASSERT_EQ(0, wx_protect(self->fd, POOL, 5, 1, WXPOOL_PROT_X));
	for (i = 0; i < 20; i++) {
		EXPECT_EQ(SIGBUS, try_write(w[i], 0));
		EXPECT_EQ(0, try_read(x[i]));
	}
	ASSERT_EQ(0, wx_free(self->fd, POOL));
	for (i = 0; i < 20; i++)
		EXPECT_EQ(SIGBUS, try_read(x[i]));
}

/*
 * Neighbouring views of one kind are one VMA, whatever their pages are. W views, of
 * which there are few and for a short time, are not.
 */
TEST_F(ctx, neighbours_merge)
{
	const int prots[] = { RW, RX, XO, PROT_READ };
	int i, kind;

	for (kind = 0; kind < 4; kind++) {
		for (i = 0; i < 64; i++)
			ASSERT_EQ(0, wx_view_at(self->fd, prots[kind], i, 1,
						self->win + PG(i)));
		EXPECT_EQ(kind ? 1 : 64, wx_count_vmas(self->win, self->win + PG(64)));
	}
}

#define WALK_PAGES	4096

/* A view of a kind, or none, over whatever is there */
static int walk_step(int fd, int kind, size_t first, size_t nr, char *addr)
{
	if (kind != PROT_NONE)
		return wx_view_at(fd, kind, first, nr, addr);
	return mmap(addr, PG(nr), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
		    MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED ? -errno : 0;
}

/* What a page of the walk does is what the last view over it was made for. */
static bool walk_page_is(char *p, int kind, size_t page)
{
	bool open = page % 2;
	uint32_t val;

	switch (kind) {
	case PROT_NONE:
		return try_read(p) == SIGSEGV;
	case RW:
		return try_write(p + 64, 1) == (open ? 0 : SIGBUS);
	default:
		return open ? try_exec(p, &val) == SIGBUS :
			      !try_exec(p, &val) && val == page;
	}
}

/* Odd pages stay OPEN, even ones become functions that return their number. */
static int walk_setup(int fd)
{
	static struct wxpool_protect_range r[WXPOOL_MAX_RANGES];
	size_t page, nr = WXPOOL_MAX_RANGES;
	int ret = wx_alloc(fd, POOL, 0, WALK_PAGES);
	char *w = wx_view(fd, RW, 0, WALK_PAGES);

	if (ret || w == MAP_FAILED)
		return ret ?: -errno;
	wx_emit_pages(w, WALK_PAGES, 0);
	munmap(w, PG(WALK_PAGES));
	for (page = 0; page < WALK_PAGES && !ret; page += 2) {
		r[page / 2 % nr] = wx_protect_range(page, 1, WXPOOL_PROT_X);
		if (page / 2 % nr == nr - 1)
			ret = wx_protect_vec(fd, POOL, r, nr);
	}
	return ret;
}

/* Warnings that the kernel has logged since @kmsg was opened and at its end */
static int count_warnings(int kmsg)
{
	char line[8192];
	int warnings = 0;
	ssize_t len;

	while ((len = read(kmsg, line, sizeof(line) - 1)) > 0 ||
	       (len < 0 && errno == EPIPE)) {
		line[len < 0 ? 0 : len] = 0;
		warnings += !!strstr(line, "[ cut here ]");
	}
	return warnings;
}

/*
 * Views over parts of other views, at random: whatever the core makes of it by
 * splitting and merging, each page goes on as its last view says. 6.12 goes
 * wrong there with views that merge late, and says so in its log.
 */
TEST_F(ctx, random_walk)
{
	static int model[WALK_PAGES];	/* PROT_NONE */
	const int kinds[] = { RW, RX, XO, PROT_NONE };
	int kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK), kind;
	size_t page, first, nr;
	unsigned int steps = wx_rounds(10000), step;
	char *win;

	if (kmsg >= 0)
		lseek(kmsg, 0, SEEK_END);
	ASSERT_EQ(0, walk_setup(self->fd));
	win = mmap(NULL, PG(WALK_PAGES), PROT_NONE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, win);
	srand(1);
	for (step = 0; step < steps; step++) {
		first = rand() % WALK_PAGES;
		nr = 1 + rand() % (rand() % 4 ? 8 : 80);
		if (nr > WALK_PAGES - first)
			nr = WALK_PAGES - first;
		kind = kinds[rand() % (rand() % 4 ? 3 : 4)];
		ASSERT_EQ(0, walk_step(self->fd, kind, first, nr,
				       win + PG(first)));
		for (page = first; page < first + nr; page++)
			model[page] = kind;
		page = step % 2 ? rand() % WALK_PAGES : first;
		ASSERT_TRUE(walk_page_is(win + PG(page), model[page], page));
	}
	for (page = 0; page < WALK_PAGES; page++)
		ASSERT_TRUE(walk_page_is(win + PG(page), model[page], page));
	EXPECT_EQ(0, kmsg < 0 ? 0 : count_warnings(kmsg));
}

/* ------------------------------------------------------- a view beside a view */

/*
 * The core joins neighbours that look alike, on some kernels before the device has
 * said what the new one is. So each kind is mapped beside each other kind whose
 * protection was lowered, and must be what it is nevertheless.
 */
enum { W, X, XONLY, R, NONE, NR_KINDS };

static const struct {
	const char *name;
	int prot, full;
} kinds[NR_KINDS] = {
	[W] = { "W", RW, RW },
	[X] = { "X", RX, RX },
	[XONLY] = { "XO", XO, XO },
	[R] = { "R", PROT_READ, PROT_READ },
	[NONE] = { "none", PROT_NONE, PROT_READ },
};

FIXTURE_VARIANT(beside) {
	int flags;		/* of open() */
	bool noexec;		/* /dev is mounted so */
	bool dofork;		/* W views are to be inherited */
	bool read_is_exec;	/* the personality */
	int err[NR_KINDS];	/* what mmap() says */
};

FIXTURE(beside) {
	int fd;
	char *win;
};

/* As any process would have it, in a namespace of this test's own */
static int mount_noexec(void)
{
	return unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	       mount("/dev", "/dev", NULL, MS_BIND, NULL) ||
	       mount(NULL, "/dev", NULL, MS_REMOUNT | MS_BIND | MS_NOEXEC, NULL) ? -errno : 0;
}

/* In each four pages one is OPEN, and one sealed of each kind, with a function. */
#define GROUP	4

static int fill_groups(int fd, size_t nr)
{
	int ret = wx_alloc(fd, POOL, 0, nr * GROUP);
	char *w = wx_view(fd, RW, 0, nr * GROUP);
	size_t i;

	if (ret || w == MAP_FAILED)
		return ret ?: -errno;
	wx_emit_pages(w, nr * GROUP, CODE);
	munmap(w, PG(nr * GROUP));
	for (i = 0; i < nr * GROUP && !ret; i++)
		if (i % GROUP)
			ret = wx_protect(fd, POOL, i, 1, i % GROUP);
	return ret;
}

typedef FIXTURE_VARIANT(beside) beside_how;

/* Nothing else may come to where the views will be. */
static void *reserve(char *win)
{
	return mmap(win, PG(8 * GROUP), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
		    (win ? MAP_FIXED : 0), -1, 0);
}

FIXTURE_SETUP(beside)
{
	int ret = variant->noexec ? mount_noexec() : 0;

	if (ret)
		SKIP(return, "no mount of /dev without execution: %s", strerror(-ret));
	if (access(WX_DEV, F_OK))
		SKIP(return, "no " WX_DEV ": modprobe wxpool first");
	self->fd = open(WX_DEV, variant->flags);
	ASSERT_GE(self->fd, 0);
	if (variant->flags == O_RDWR)
		ASSERT_EQ(0, fill_groups(self->fd, 3));
	self->win = reserve(NULL);
	ASSERT_NE(MAP_FAILED, self->win);
	if (variant->read_is_exec && personality(READ_IMPLIES_EXEC) < 0)
		SKIP(return, "personality: %s", strerror(errno));
}

FIXTURE_TEARDOWN(beside)
{
}

FIXTURE_VARIANT_ADD(beside, plain) { .flags = O_RDWR };

FIXTURE_VARIANT_ADD(beside, dofork) { .flags = O_RDWR, .dofork = true };

FIXTURE_VARIANT_ADD(beside, rdonly) { .flags = O_RDONLY, .err = { [W] = -EACCES } };

FIXTURE_VARIANT_ADD(beside, noexec) {
	.flags = O_RDWR, .noexec = true, .err = { [X] = -EPERM, [XONLY] = -EPERM },
};

FIXTURE_VARIANT_ADD(beside, noexec_dofork) {
	.flags = O_RDWR, .noexec = true, .dofork = true,
	.err = { [X] = -EPERM, [XONLY] = -EPERM },
};

FIXTURE_VARIANT_ADD(beside, noexec_rdonly) {
	.flags = O_RDONLY, .noexec = true,
	.err = { [W] = -EACCES, [X] = -EPERM, [XONLY] = -EPERM },
};

FIXTURE_VARIANT_ADD(beside, read_is_exec) {
	.flags = O_RDWR, .read_is_exec = true, .err = { [W] = -EACCES },
};

FIXTURE_VARIANT_ADD(beside, read_is_exec_rdonly) {
	.flags = O_RDONLY, .read_is_exec = true, .err = { [W] = -EACCES },
};

/* Does a group, with all its protection, show what a view of the kind shows? */
static bool shows_as(char *p, int kind, bool empty)
{
	/* OPEN, R, X, XO */
	static const bool shown[NR_KINDS][GROUP] = {
		[W] = { true }, [X] = { false, false, true },
		[XONLY] = { false, false, true, true },
		[R] = { false, true, true }, [NONE] = { false, true, true },
	};
	bool execs = kinds[kind].full & PROT_EXEC, ok = true;
	int i, exec;

	for (i = 0; i < GROUP && ok; i++) {
		bool there = shown[kind][i] && !empty;

		exec = try_exec(p + PG(i), NULL);
		ok = execs ? exec == (there ? 0 : SIGBUS) :
			     exec == SIGSEGV || exec == SIGBUS;
		ok &= try_write(p + PG(i) + 64, 1) ==
		      (kind != W ? SIGSEGV : there ? 0 : SIGBUS);
		if (kind != XONLY)
			ok &= try_read(p + PG(i)) == (there ? 0 : SIGBUS);
	}
	return ok;
}

/* Is it just that kind, whatever mprotect() is asked for? */
static bool is_kind(char *p, int kind, bool empty)
{
	bool ok = true;
	int prot;

	for (prot = 0; prot <= RWX; prot++)
		ok &= wx_mprotect(p, GROUP, prot) ==
		      (prot & ~kinds[kind].full ? -EACCES : 0);
	ok &= !wx_mprotect(p, GROUP, kinds[kind].full);
	return ok && shows_as(p, kind, empty);
}

/* Where the second view comes to lie beside the first */
enum { ABOVE, BELOW, MOVED_ABOVE, NR_WAYS };

static int map_beside(int fd, char *second, int prot, int way)
{
	char *p;

	if (way != MOVED_ABOVE)
		return wx_view_at(fd, prot, way == BELOW ? 0 : 2 * GROUP, GROUP, second);
	p = wx_view(fd, prot, 2 * GROUP, GROUP);
	if (p == MAP_FAILED || mremap(p, PG(GROUP), PG(GROUP),
				      MREMAP_MAYMOVE | MREMAP_FIXED, second) != second)
		return -errno;
	return 0;
}

/*
 * A view as asked for, lowered, and another beside it: false if one of them is not what
 * it must be. With the personality what is asked to be R is X.
 */
static bool each_is_itself(int fd, char *win, const int *asked, int low, int way,
			   const beside_how *v)
{
	char *first = win + PG(3 * GROUP);
	char *second = win + PG((way == BELOW ? 2 : 4) * GROUP);
	bool empty = v->flags != O_RDWR, ok;
	int kind[2], i;

	for (i = 0; i < 2; i++)
		kind[i] = asked[i] == R && v->read_is_exec ? X : asked[i];
	if (low & ~kinds[kind[0]].full)
		return true;
	if (wx_view_at(fd, kinds[asked[0]].prot, GROUP, GROUP, first))
		return false;
	if (asked[0] == W && v->dofork)
		madvise(first, PG(GROUP), MADV_DOFORK);
	ok = !wx_mprotect(first, GROUP, low) &&
	     !map_beside(fd, second, kinds[asked[1]].prot, way) &&
	     is_kind(second, kind[1], empty) && is_kind(first, kind[0], empty);
	reserve(win);
	return ok;
}

TEST_F(beside, each_other)
{
	int asked[2], low, way, i;

	for (i = 0; i < NR_KINDS; i++)
		EXPECT_EQ(variant->err[i], wx_try_mmap(self->fd, kinds[i].prot, MAP_SHARED,
						       0, GROUP));
	for (i = 0; i < NR_KINDS * NR_KINDS; i++) {
		asked[0] = i / NR_KINDS;
		asked[1] = i % NR_KINDS;
		if (variant->err[asked[0]] || variant->err[asked[1]])
			continue;
		for (low = 0; low <= RWX; low++)
			for (way = 0; way < NR_WAYS; way++) {
				EXPECT_TRUE(each_is_itself(self->fd, self->win, asked, low,
							   way, variant)) {
					TH_LOG("%s, lowered to %d, and %s, way %d",
					       kinds[asked[0]].name, low,
					       kinds[asked[1]].name, way);
				}
			}
	}
}

/* ------------------------------------------- settings of the whole process */

TEST_F(ctx, read_implies_exec)
{
	char *plain, *w, *x;

	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 2));
	w = wx_view(self->fd, PROT_WRITE, 0, 2);
	ASSERT_NE(MAP_FAILED, w);
	wx_emit(w, 11);
	wx_emit(w + PG(1), 12);
	if (personality(READ_IMPLIES_EXEC) < 0)
		SKIP(return, "personality: %s", strerror(errno));

	plain = plain_pages(1);
	ASSERT_NE(MAP_FAILED, plain);
	if (wx_vma_prot(plain) != RWX)
		SKIP(return, "READ_IMPLIES_EXEC does nothing here");

	/* To read would be to run: no such view of what can be written */
	EXPECT_EQ(-EACCES, wx_try_mmap(self->fd, RW, MAP_SHARED, 0, 2));
	EXPECT_NE(0, try_exec(w, NULL));
	wx_mprotect(w, 2, RW);
	EXPECT_NE(0, try_exec(w, NULL));
	EXPECT_EQ(0, wx_vma_prot(w) & PROT_EXEC);

	ASSERT_EQ(0, wx_protect(self->fd, POOL, 0, 1, WXPOOL_PROT_X));
	ASSERT_EQ(0, wx_protect(self->fd, POOL, 1, 1, WXPOOL_PROT_R));
	x = wx_view(self->fd, PROT_READ, 0, 2);
	ASSERT_NE(MAP_FAILED, x);
	/* Whatever it became, the R page is not run in it. */
	EXPECT_NE(0, try_exec(x + PG(1), NULL));
	EXPECT_EQ(SIGSEGV, try_write(x, 0));
	EXPECT_EQ(-EACCES, wx_mprotect(x, 2, RW));
}

/* PR_SET_MDWE forbids what a JIT did before: seals in place work under it. */
TEST_F(ctx, mdwe)
{
	char *plain = plain_pages(1);
	uint32_t val;

	ASSERT_NE(MAP_FAILED, plain);
	if (prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0))
		SKIP(return, "PR_SET_MDWE: %s", strerror(errno));
	EXPECT_EQ(-EACCES, wx_mprotect(plain, 1, RX));

	ASSERT_EQ(0, wx_alloc_at(self->fd, POOL, 0, 1, self->win));
	wx_emit(self->win, 13);
	ASSERT_EQ(0, wx_protect_at(self->fd, POOL, 0, 1, WXPOOL_PROT_X,
				   self->win));
	EXPECT_EQ(0, try_exec(self->win, &val));
	EXPECT_EQ(13, val);
}

/* A view that mseal() holds stays: the seal happens, and leaves it nothing to show. */
TEST_F(ctx, mseal)
{
	ASSERT_EQ(0, wx_alloc_at(self->fd, POOL, 0, 1, self->win));
	wx_emit(self->win, 14);
	if (syscall(__NR_mseal, self->win, PG(1), 0))
		SKIP(return, "mseal: %s", strerror(errno));
	ASSERT_EQ(0, wx_protect(self->fd, POOL, 0, 1, WXPOOL_PROT_X));
	EXPECT_EQ(-EPERM, wx_view_at(self->fd, RX, 0, 1, self->win));
	EXPECT_STAT(self->fd, 1, 0, 0, 1, 0);
	EXPECT_EQ(SIGBUS, try_write(self->win, 0));

	/* And the other way: code whose mapping cannot be taken away */
	ASSERT_EQ(0, wx_view_at(self->fd, RX, 0, 1, self->win + PG(1)));
	ASSERT_EQ(0, syscall(__NR_mseal, self->win + PG(1), PG(1), 0));
	EXPECT_EQ(-1, munmap(self->win + PG(1), PG(1)));
	EXPECT_EQ(-EPERM, wx_view_at(self->fd, RW, 0, 1, self->win + PG(1)));
	EXPECT_EQ(0, try_exec(self->win + PG(1), NULL));
	EXPECT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_EQ(SIGBUS, try_exec(self->win + PG(1), NULL));
}

TEST_F(ctx, mlockall)
{
	char *plain = plain_pages(1);
	uint32_t val;
	int i;

	ASSERT_NE(MAP_FAILED, plain);
	ASSERT_EQ(0, munmap(self->win, PG(WIN_PAGES)));
	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		SKIP(return, "mlockall: %s", strerror(errno));
	self->win = mmap(NULL, PG(16), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	ASSERT_NE(MAP_FAILED, self->win);
	for (i = 0; i < 16; i++) {
		ASSERT_EQ(0, wx_alloc_at(self->fd, 1 + i, i, 1, self->win + PG(i)));
		wx_emit(self->win + PG(i), i);
		ASSERT_EQ(0, wx_protect_at(self->fd, 1 + i, i, 1, WXPOOL_PROT_X,
					   self->win + PG(i)));
		EXPECT_EQ(0, try_exec(self->win + PG(i), &val));
		EXPECT_EQ(i, val);
	}
	for (i = 0; i < 16; i++)
		EXPECT_EQ(0, wx_free(self->fd, 1 + i));
	EXPECT_STAT(self->fd, 0, 0, 0, 0, 0);
}

static int run_on_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

/*
 * A fault in a locked view leaves a reference to the page in a list of that
 * CPU, for the kernel to sort later: not a pin, wherever the seal comes from.
 */
TEST_F(ctx, mlock_then_seal)
{
	int cpu, late, nr = sysconf(_SC_NPROCESSORS_ONLN);
	char *w;

	for (late = 0, cpu = 0; cpu < nr; cpu += late, late = !late) {
		w = wx_view(self->fd, RW, 0, 8);
		ASSERT_NE(MAP_FAILED, w);
		/* Without pages it says ENOMEM, and locks what will be there. */
		if (!late)
			mlock(w, PG(8));
		ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 8));
		ASSERT_EQ(0, run_on_cpu(cpu));
		memset(w, 1, PG(8));
		if (late)
			ASSERT_EQ(0, mlock(w, PG(8)));
		ASSERT_EQ(0, run_on_cpu((cpu + 1) % nr));
		EXPECT_EQ(0, wx_protect(self->fd, POOL, 0, 8, WXPOOL_PROT_X));
		EXPECT_EQ(0, wx_free(self->fd, POOL));
		munmap(w, PG(8));
	}
}

#define REFUSALS	50

/* Has a page that is pinned refused, while other CPUs have pages in such lists. */
static void seal_what_is_pinned(int fd)
{
	char *plain;
	int i;

	for (i = 0; i < REFUSALS; i++) {
		run_on_cpu(1);
		plain = plain_pages(3);
		if (plain == MAP_FAILED || try_write(plain, 1) || try_write(plain + PG(1), 1))
			abort();
		run_on_cpu(0);
		if (wx_protect(fd, POOL, 0, 1, WXPOOL_PROT_X) != -EBUSY)
			abort();
		munmap(plain, PG(3));
	}
}

/* Has the kernel empty them, which is what a seal must not do. */
static void empty_all_lists(int fd)
{
	char *plain;

	run_on_cpu(1);
	plain = plain_pages(3);
	if (plain == MAP_FAILED || try_write(plain, 1))
		abort();
	run_on_cpu(0);
	wx_write_file("/proc/sys/vm/compact_memory", "1");
	munmap(plain, PG(3));
}

/* A seal that is refused gives other CPUs nothing to do. Counted by their work. */
TEST_F(ctx, pinned_and_other_cpus)
{
	struct iovec iov;
	int p[2];
	char *w;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "needs two CPUs");
	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 1));
	w = wx_view(self->fd, RW, 0, 1);
	ASSERT_NE(MAP_FAILED, w);
	ASSERT_EQ(0, try_write(w, 1));
	ASSERT_EQ(0, pipe(p));
	iov = (struct iovec) { w, PG(1) };
	ASSERT_EQ((ssize_t)PG(1), vmsplice(p[1], &iov, 1, 0));
	if (count_work(empty_all_lists, self->fd) <= 0)
		SKIP(return, "this kernel does not tell what it has CPUs do");
	/* The kernel may empty a list meanwhile for a reason of its own. */
	EXPECT_GT(REFUSALS / 2, count_work(seal_what_is_pinned, self->fd));
	close(p[0]);
	close(p[1]);
	EXPECT_EQ(0, wx_protect(self->fd, POOL, 0, 1, WXPOOL_PROT_X));
}

/* --------------------------------------------------------- other detours */

/* Opening the fd anew, by whatever name, is a new and empty context. */
TEST_F(ctx, reopen)
{
	char path[64], name[64];
	char *x;
	int fd;

	ASSERT_EQ(0, wx_make_code(self->fd, POOL, 0, 5));
	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 1, 1));
	x = wx_view(self->fd, RX, 0, 1);
	ASSERT_NE(MAP_FAILED, x);

	snprintf(path, sizeof(path), "/proc/self/fd/%d", self->fd);
	fd = open(path, O_RDWR);
	ASSERT_GE(fd, 0);
	EXPECT_STAT(fd, 0, 0, 0, 0, 0);
	EXPECT_EQ(-ENOENT, wx_free(fd, POOL));
	EXPECT_EQ(0, wx_alloc(fd, POOL, 0, 1));
	EXPECT_EQ(0, wx_free(fd, POOL));

	snprintf(name, sizeof(name), "/proc/self/map_files/%lx-%lx",
		 (unsigned long)x, (unsigned long)(x + PG(1)));
	fd = open(name, O_RDWR);
	if (fd >= 0) {
		EXPECT_STAT(fd, 0, 0, 0, 0, 0);
		EXPECT_EQ(0, wx_alloc(fd, POOL, 0, 1));
	} else {
		TH_LOG("map_files: %s", strerror(errno));
	}
	EXPECT_EQ(0, try_exec(x, NULL));
	EXPECT_STAT(self->fd, 1, 1, 0, 1, 0);
}

/* The fd is no file to read, write, truncate, punch or splice into. */
TEST_F(ctx, file_operations)
{
	int pipes[2], zero = open("/dev/zero", O_RDONLY);
	char buf[64] = { 0 };
	loff_t off = 0;
	char *x, *w;

	ASSERT_EQ(0, wx_make_code(self->fd, POOL, 0, 6));
	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 1, 1));
	x = wx_view(self->fd, RX, 0, 1);
	w = wx_view(self->fd, RW, 1, 1);
	ASSERT_NE(MAP_FAILED, x);
	ASSERT_NE(MAP_FAILED, w);
	ASSERT_EQ(0, try_write(w, 7));
	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(64, write(pipes[1], buf, 64));

	EXPECT_EQ(-1, read(self->fd, buf, 64));
	EXPECT_EQ(-1, write(self->fd, buf, 64));
	EXPECT_EQ(-1, pread(self->fd, buf, 64, 0));
	EXPECT_EQ(-1, pwrite(self->fd, buf, 64, 0));
	EXPECT_EQ(-1, ftruncate(self->fd, 0));
	EXPECT_EQ(-1, ftruncate(self->fd, (off_t)PG(1)));
	EXPECT_EQ(-1, fallocate(self->fd, FALLOC_FL_PUNCH_HOLE |
				FALLOC_FL_KEEP_SIZE, 0, (off_t)PG(2)));
	EXPECT_EQ(-1, fallocate(self->fd, 0, 0, (off_t)PG(4)));
	EXPECT_EQ(-1, splice(pipes[0], NULL, self->fd, NULL, 64, 0));
	EXPECT_EQ(-1, splice(pipes[0], NULL, self->fd, &off, 64,
			     SPLICE_F_MOVE));
	EXPECT_EQ(-1, splice(self->fd, NULL, pipes[1], NULL, 64, 0));
	EXPECT_EQ(-1, sendfile(self->fd, zero, NULL, 64));
	EXPECT_EQ(-1, sendfile(pipes[1], self->fd, NULL, 64));
	EXPECT_EQ(-1, copy_file_range(zero, NULL, self->fd, NULL, 64, 0));
	EXPECT_EQ(-1, fcntl(self->fd, F_ADD_SEALS, 0));
	EXPECT_EQ(-1, readahead(self->fd, 0, PG(2)));
	EXPECT_EQ(-1, fcntl(self->fd, F_SETFL, O_DIRECT));
	EXPECT_EQ(-1, fdatasync(self->fd));
	sync_file_range(self->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	posix_fadvise(self->fd, 0, 0, POSIX_FADV_DONTNEED);
	msync(x, PG(1), MS_SYNC | MS_INVALIDATE);
	msync(w, PG(1), MS_SYNC | MS_INVALIDATE);

	EXPECT_STAT(self->fd, 1, 1, 0, 1, 0);
	EXPECT_EQ(0, try_exec(x, NULL));
	EXPECT_EQ(7, w[0]);
}

/* Mapped over: the process may harm itself, but the page stays what it is. */
TEST_F(ctx, map_over)
{
	char *x, *p;
	uint32_t val;

	ASSERT_EQ(0, wx_make_code(self->fd, POOL, 0, 15));
	x = wx_view(self->fd, RX, 0, 1);
	ASSERT_NE(MAP_FAILED, x);
	ASSERT_EQ(0, try_exec(x, NULL));
	p = mmap(x, PG(1), RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	ASSERT_EQ(x, p);
	EXPECT_EQ(0, try_write(x, 0xff));
	ASSERT_EQ(0, wx_view_at(self->fd, RX, 0, 1, x));
	EXPECT_EQ(0, try_exec(x, &val));
	EXPECT_EQ(15, val);
}

TEST_F(ctx, hugepage_advice)
{
	const size_t huge = 2UL << 20, nr = huge / wx_page_size;
	char *win, *plain;
	size_t i;

	win = mmap(NULL, 4 * huge, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, win);
	win = (char *)(((uintptr_t)win + huge - 1) & ~(huge - 1));
	plain = mmap(win + huge, huge, RW,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	memset(plain, 1, huge);
	if (madvise(plain, huge, MADV_COLLAPSE))
		TH_LOG("MADV_COLLAPSE of plain memory: %s", strerror(errno));

	ASSERT_EQ(0, wx_alloc_at(self->fd, POOL, 0, nr, win));
	madvise(win, huge, MADV_HUGEPAGE);
	wx_emit_pages(win, nr, 0);
	EXPECT_NE(0, madvise(win, huge, MADV_COLLAPSE));
	ASSERT_EQ(0, wx_protect_at(self->fd, POOL, 0, nr, WXPOOL_PROT_X, win));
	madvise(win, huge, MADV_HUGEPAGE);
	for (i = 0; i < nr; i++)
		ASSERT_EQ(0, try_exec(win + PG(i), NULL));
	EXPECT_NE(0, madvise(win, huge, MADV_COLLAPSE));
	for (i = 0; i < nr; i++) {
		uint32_t val;

		ASSERT_EQ(0, try_exec(win + PG(i), &val));
		ASSERT_EQ(i, val);
	}
	EXPECT_EQ(SIGSEGV, try_write(win, 0));
}

/* User space cannot supply the pages of a view. */
TEST_F(ctx, userfaultfd_missing)
{
	const int prots[] = { RW, RX, XO, PROT_READ };
	char *plain = plain_pages(1);
	int uffd = uffd_open(UFFD_USER_MODE_ONLY, 0), i;
	char *v;

	ASSERT_NE(MAP_FAILED, plain);
	if (uffd < 0)
		SKIP(return, "userfaultfd: %s", strerror(-uffd));
	ASSERT_EQ(0, uffd_register(uffd, plain, 1, UFFDIO_REGISTER_MODE_MISSING));
	for (i = 0; i < 4; i++) {
		struct uffdio_copy copy = { .src = (uintptr_t)plain, .len = PG(1) };

		v = wx_view(self->fd, prots[i], 0, 4);
		ASSERT_NE(MAP_FAILED, v);
		EXPECT_NE(0, uffd_register(uffd, v, 4, UFFDIO_REGISTER_MODE_MISSING));
		EXPECT_NE(0, uffd_register(uffd, v, 4, UFFDIO_REGISTER_MODE_MINOR));
		copy.dst = (uintptr_t)v;
		EXPECT_EQ(-1, ioctl(uffd, UFFDIO_COPY, &copy));
		EXPECT_NE(0, try_read(v));
		EXPECT_NE(0, try_exec(v, NULL));
	}
}

/*
 * Asynchronous write protection (6.7) takes any mapping, and leaves markers
 * behind where pages were unmapped. Seal and FREE must not be misled.
 */
TEST_F(ctx, userfaultfd_wp)
{
	int uffd = uffd_open(UFFD_USER_MODE_ONLY, UFFD_FEATURE_WP_ASYNC), round;
	struct uffdio_writeprotect wp;
	char *w, *x;

	if (uffd < 0)
		SKIP(return, "no asynchronous userfaultfd write protection");
	w = wx_view(self->fd, RW, 0, 8);
	x = wx_view(self->fd, RX, 0, 8);
	ASSERT_NE(MAP_FAILED, w);
	ASSERT_NE(MAP_FAILED, x);
	if (uffd_register(uffd, w, 8, UFFDIO_REGISTER_MODE_WP))
		SKIP(return, "write protection of views: %s", strerror(errno));
	EXPECT_EQ(-EPERM, uffd_register(uffd, x, 8, UFFDIO_REGISTER_MODE_WP));
	for (round = 0; round < 3; round++) {
		ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 8));
		wx_emit_pages(w, 8, 30);
		wp = (struct uffdio_writeprotect) {
			.range = { .start = (uintptr_t)w, .len = PG(8) },
			.mode = UFFDIO_WRITEPROTECT_MODE_WP,
		};
		EXPECT_EQ(0, ioctl(uffd, UFFDIO_WRITEPROTECT, &wp));
		EXPECT_EQ(0, try_write(w + 100, 1));
		ASSERT_EQ(0, wx_protect(self->fd, POOL, 0, 8, WXPOOL_PROT_X));
		EXPECT_EQ(SIGBUS, try_write(w, 1));
		EXPECT_EQ(0, try_exec(x, NULL));
		/* Taking the protection away gives nothing to write either. */
		wp.mode = 0;
		EXPECT_EQ(0, ioctl(uffd, UFFDIO_WRITEPROTECT, &wp));
		EXPECT_EQ(SIGBUS, try_write(w + PG(1), 1));
		EXPECT_EQ(SIGSEGV, try_write(x, 1));
		EXPECT_EQ(0, try_exec(x + PG(2), NULL));
		ASSERT_EQ(0, wx_free(self->fd, POOL));
		EXPECT_EQ(SIGBUS, try_exec(x, NULL));
		EXPECT_EQ(SIGBUS, try_write(w, 1));
	}
}

/* move_pages() to where the pages are already must not disturb them. */
TEST_F(ctx, move_pages)
{
	void *pages[2];
	int status[2] = { -1, -1 }, nodes[2] = { 0, 0 };
	long ret;

	ASSERT_EQ(0, wx_alloc_at(self->fd, POOL, 0, 1, self->win));
	ASSERT_EQ(0, wx_make_code(self->fd, POOL, 1, 17));
	ASSERT_EQ(0, wx_view_at(self->fd, RX, 1, 1, self->win + PG(1)));
	ASSERT_EQ(0, try_write(self->win, 1));
	ASSERT_EQ(0, try_read(self->win + PG(1)));
	pages[0] = self->win;
	pages[1] = self->win + PG(1);
	ret = syscall(__NR_move_pages, 0, 2UL, pages, nodes, status,
		      1 << 1 /* MPOL_MF_MOVE */);
	if (ret < 0 && errno == ENOSYS)
		SKIP(return, "no move_pages()");
	/* Nor compaction, nor the end of all caches */
	wx_write_file("/proc/sys/vm/compact_memory", "1");
	wx_write_file("/proc/sys/vm/drop_caches", "3");
	EXPECT_EQ(1, self->win[0]);
	EXPECT_EQ(0, try_exec(self->win + PG(1), NULL));
	EXPECT_EQ(0, wx_protect(self->fd, POOL, 0, 1, WXPOOL_PROT_R));
}

static long read_all(const char *path)
{
	static char buf[65536];
	long total = 0, n;
	int fd = open(path, O_RDONLY);

	if (fd < 0)
		return -errno;
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		total += n;
	close(fd);
	return total;
}

/* What looks at page tables from outside finds its way, and harms nothing. */
TEST_F(ctx, proc_files)
{
	char clear[] = "1";
	uint64_t entry[2];
	unsigned char vec[2];
	char *w, *x;
	int fd, i;

	ASSERT_EQ(0, wx_make_code(self->fd, POOL, 0, 18));
	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 1, 1));
	w = wx_view(self->fd, RW, 0, 2);
	x = wx_view(self->fd, RX, 0, 2);
	ASSERT_NE(MAP_FAILED, w);
	ASSERT_NE(MAP_FAILED, x);
	ASSERT_EQ(0, try_exec(x, NULL));
	ASSERT_EQ(0, try_write(w + PG(1), 9));

	EXPECT_GT(read_all("/proc/self/smaps"), 0);
	EXPECT_GT(read_all("/proc/self/smaps_rollup"), 0);
	read_all("/proc/self/numa_maps");
	fd = open("/proc/self/pagemap", O_RDONLY);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(16, pread(fd, entry, 16, (off_t)((uintptr_t)x / wx_page_size * 8)));
	EXPECT_EQ(1, entry[0] >> 63);
	EXPECT_EQ(0, entry[1] >> 63);
	EXPECT_EQ(0, mincore(x, PG(2), vec));
	for (i = 1; i <= 5; i++) {
		clear[0] = '0' + i;
		wx_write_file("/proc/self/clear_refs", clear);
		EXPECT_EQ(0, try_write(w + PG(1), 9));
		EXPECT_EQ(0, try_exec(x, NULL));
		EXPECT_EQ(SIGBUS, try_write(w, 1));
		EXPECT_EQ(SIGSEGV, try_write(x, 1));
	}
	EXPECT_EQ(0, wx_protect(self->fd, POOL, 1, 1, WXPOOL_PROT_R));
}

/* A shared futex names a page by its file, which these pages do not have. */
TEST_F(ctx, futex)
{
	uint32_t *plain = (uint32_t *)plain_pages(1), *w;

	ASSERT_NE(MAP_FAILED, (char *)plain);
	ASSERT_EQ(0, wx_alloc_at(self->fd, POOL, 0, 1, self->win));
	w = (uint32_t *)self->win;
	ASSERT_EQ(0, syscall(__NR_futex, plain, 1 /* FUTEX_WAKE */, 1, NULL, NULL, 0));
	syscall(__NR_futex, w, 1 /* FUTEX_WAKE */, 1, NULL, NULL, 0);
	EXPECT_EQ(0, *w);
	EXPECT_EQ(0, wx_protect(self->fd, POOL, 0, 1, WXPOOL_PROT_X));
}

TEST_HARNESS_MAIN
