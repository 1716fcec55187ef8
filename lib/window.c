// SPDX-License-Identifier: MIT
/*
 * The layout of a window, made once:
 *
 *   base                                            write
 *   | code      X view | constants  R | variables |  ...  | code, constants  W view |
 *
 * With WXP_COMPILE_ONLY code and constants are addresses without access.
 *
 * The W view is made writable by the first wxp_alloc(); with WXP_ONE_ADDRESS there is
 * none, and pages are mapped writable over the other views while they are open.
 *
 * After mlockall(MCL_FUTURE) new mappings are filled, if they are accessible, and count
 * towards RLIMIT_MEMLOCK. So addresses are reserved without access, and unlocked before
 * they get any.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"

#define DEFAULT_WINDOW	((size_t)1 << 30)

/* @size bytes without access, from a multiple of a block on; NULL: there are none */
static char *reserve(size_t size)
{
	size_t extra = 0, before;
	char *p, *near = NULL;

	for (;;) {
		p = mmap(near, size + extra, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (p == MAP_FAILED)
			return NULL;
		before = -(uintptr_t)p & (BLOCK - 1);
		if (before <= extra)
			break;
		munmap(p, size + extra);
		/* Before Linux 6.7. More than is needed may be beyond a limit. */
		if (near)
			extra = BLOCK;
		near = p - BLOCK + before;
	}
	if (before)
		munmap(p, before);
	if (extra > before)
		munmap(p + before + size, extra - before);
	munlock(p + before, size);
	return p + before;
}

/*
 * libgcc takes a function that is at a multiple of 4 GiB for one that the linker has removed, as
 * the offsets of its frames have 32 bits, and does not unwind it.
 */
static bool has_null(const char *p, size_t size)
{
	return ((uintptr_t)p - 1) >> 32 != ((uintptr_t)p + size - 1) >> 32;
}

/* The same without a multiple of 4 GiB, if that can be had: not in one of two neighbours */
char *window_reserve(size_t size)
{
	char *p = reserve(size), *other, *worse;

	if (!p || !has_null(p, size))
		return p;
	other = reserve(size);
	if (!other)
		return p;
	worse = has_null(other, size) ? other : p;
	munmap(worse, size);
	return worse == p ? other : p;
}

/* Maps over a part of the window, at the same offset of a file. */
int window_map(struct window *w, size_t offset, size_t size, int prot, int flags, int fd)
{
	void *p = mmap(w->base + offset, size, prot, flags | MAP_FIXED, fd,
		       fd < 0 ? 0 : (off_t)offset);

	if (p == MAP_FAILED)
		return errno == EACCES ? -EPERM : errno == EAGAIN ? -ENOMEM : -errno;
	return 0;
}

/* Lost in a child; with one address, its place is a hole, unless that is made unusable. */
static void lose_open(struct window *w, uint32_t line)
{
	for (; line != NONE; line = w->lines[line].sibling)
		if (is_open(w, line))
			window_map(w, (size_t)line * WXP_LINE,
				   (size_t)line_length(w, line) * WXP_LINE, PROT_NONE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
}

/* The W view, in a child: a hole or a copy, which becomes unusable. */
static void lose_write(struct window *w)
{
	void *p;

	if (has_one_address(w))
		return;
	p = mmap(w->write, window_sealable(w), PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	if (p == MAP_FAILED)
		w->write = NULL;	/* not to be unmapped: it may be others' */
}

/*
 * In a child, before it does anything else: what its parent had stays as it is. Calls that
 * were under way there are not here.
 */
void window_disown(struct window *w)
{
	struct pools *t = &w->pools;
	struct pool *p;
	uint32_t i;

	w->inherited = true;
	for (i = 1; i < t->nr_used; i++) {
		p = pool_at(w, i);
		if (!p->id)
			continue;
		if (has_one_address(w))
			lose_open(w, p->spans);
		p->open[CODE] = p->open[CONSTANTS] = NONE;
		p->state &= ~(POOL_HOLDS | POOL_SEALING | POOL_DYING | POOL_ON_DEVICE);
	}
	lose_write(w);
}

/* Gives private memory back: it reads as zero then. If it is locked, it is zeroed. */
void window_discard(char *from, size_t size)
{
	if (madvise(from, size, MADV_DONTNEED))
		memset(from, 0, size);
}

static uint32_t share(uint32_t blocks, unsigned int percent, uint32_t most)
{
	uint32_t nr = (uint32_t)((uint64_t)blocks * percent / 100);

	if (!nr)
		return 1;
	return nr < most ? nr : most;
}

static void areas_init(struct window *w, const struct wxp *x)
{
	uint32_t blocks = (uint32_t)(w->size / BLOCK);
	uint32_t r = share(blocks, x->r_share, blocks - 2);
	uint32_t rw = share(blocks, x->rw_share, blocks - r - 1);
	uint32_t code = blocks - r - rw;

	area_init(w, CODE, 0, code * BLOCK_LINES);
	area_init(w, CONSTANTS, code * BLOCK_LINES, (code + r) * BLOCK_LINES);
	area_init(w, VARIABLES, (code + r) * BLOCK_LINES, blocks * BLOCK_LINES);
}

static int tables_map(struct window *w)
{
	uint32_t nr = (uint32_t)(w->size / WXP_LINE);
	size_t lines = nr * sizeof(struct line), bits = bits_size(nr);
	char *p;

	w->tables_size = round_up(lines + bits, BLOCK);
	p = window_reserve(w->tables_size);
	if (!p)
		return -ENOMEM;
	w->lines = (struct line *)p;
	w->bits = (uint64_t *)(p + lines);
	/* They are touched only as far as they are used. */
	madvise(p, w->tables_size, MADV_NOHUGEPAGE);
	return mprotect(p, w->tables_size, PROT_READ | PROT_WRITE) ? -ENOMEM : 0;
}

static int variables_map(struct window *w)
{
	char *p = w->base + window_sealable(w);
	size_t size = w->size - window_sealable(w);

	if (!(w->flags & WXP_HUGE))
		madvise(p, size, MADV_NOHUGEPAGE);
	return mprotect(p, size, PROT_READ | PROT_WRITE) ? -ENOMEM : 0;
}

static int window_try(struct window *w, const struct wxp *x)
{
	bool two = w->backend != &wxp_fast && !(w->flags & WXP_ONE_ADDRESS);
	int err;

	areas_init(w, x);
	w->base = window_reserve(w->size);
	if (!w->base)
		return -ENOMEM;
	w->write = two ? window_reserve(window_sealable(w)) : w->base;
	if (!w->write)
		return -ENOMEM;
	err = tables_map(w);
	if (!err)
		err = pools_init(w);
	if (!err)
		err = variables_map(w);
	if (!err)
		err = w->backend->map(w);
	munlock(w->base, window_sealable(w));
	if (!err)
		err = harden_key(w);
	return err ? err : harden_views(w);
}

/* Views with WXP_MSEAL stay. */
static void window_unmap(struct window *w)
{
	size_t sealable = window_sealable(w);

	if (w->base) {
		munmap(w->base, sealable);
		munmap(w->base + sealable, w->size - sealable);
	}
	if (w->write && !has_one_address(w))
		munmap(w->write, sealable);
	if (w->lines)
		munmap(w->lines, w->tables_size);
	pools_exit(w);
}

static size_t smaller(size_t size)
{
	return size / 2 > MIN_WINDOW || size == MIN_WINDOW ? size / 2 : MIN_WINDOW;
}

/* The size that was asked for, or the largest that can be had */
static int window_fit(struct window *w, const struct wxp *x)
{
	size_t size = x->asked ? x->asked : DEFAULT_WINDOW;
	int err;

	for (;;) {
		w->size = size;
		err = window_try(w, x);
		if (!err)
			return 0;
		window_unmap(w);
		size = smaller(size);
		if (err != -ENOMEM || x->asked || size < MIN_WINDOW)
			return err;
		memset(&w->size, 0, sizeof(*w) - offsetof(struct window, size));
	}
}

static int window_new(struct wxp *x, struct window **out)
{
	static const struct backend *const backends[] = {
		[WXP_BACKEND_KERNEL] = &wxp_kernel,
		[WXP_BACKEND_PORTABLE] = &wxp_portable,
		[WXP_BACKEND_FAST] = &wxp_fast,
	};
	struct window *w = calloc(1, sizeof(*w));
	int err;

	if (!w)
		return -ENOMEM;
	w->fd = -1;
	w->page_size = (size_t)sysconf(_SC_PAGESIZE);
	w->backend = backends[x->backend];
	err = w->backend->open ? w->backend->open(w) : 0;
	if (!err)
		err = harden_check(x, w);
	w->flags = x->flags;
	w->key = x->key;
	if (!err)
		err = window_fit(w, x);
	if (err) {
		if (w->fd >= 0)
			close(w->fd);
		free(w);
		return err;
	}
	*out = w;
	return 0;
}

int window_open(struct wxp *x, struct window **out)
{
	int cancel = cancel_disable(), err = window_new(x, out);

	cancel_restore(cancel);
	return err;
}

/* Whose number the descriptor's is by now is asked first: it may be the program's own. */
void window_close(struct window *w)
{
	int cancel = cancel_disable();

	if (w->fd >= 0 && w->backend->is_ours(w)) {
		if (!w->inherited)
			w->backend->free(w, NULL, 0, &(bool){ false });
		close(w->fd);
	}
	window_unmap(w);
	free(w);
	cancel_restore(cancel);
}
