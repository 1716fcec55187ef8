// SPDX-License-Identifier: MIT
/*
 * The portable backend: a memfd in the device's place. Its views are readable, and those
 * of code executable; bytes get there by pwrite(), so that no mapping is ever writable
 * and executable, and it works under MemoryDenyWriteExecute. What is written in place is
 * private memory until it is protected. Nothing stops the process from undoing it all.
 *
 * A child made by fork() shares the file: so what it inherited is never used again.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"

#ifndef MFD_EXEC
#define MFD_EXEC	0x10u
#endif

static bool portable_is_ours(struct window *w)
{
	struct stat st;

	return !fstat(w->fd, &st) && st.st_ino == w->id && st.st_dev == w->file_dev;
}

static int portable_open(struct window *w)
{
	struct stat st;
	int fd = memfd_create("libwxpool", MFD_CLOEXEC | MFD_EXEC);

	if (fd < 0 && errno == EINVAL)		/* before Linux 6.3 */
		fd = memfd_create("libwxpool", MFD_CLOEXEC);
	if (fd < 0)
		return errno == EACCES ? -EPERM : -errno;
	w->fd = backend_keep_fd(fd);
	if (w->fd < 0)
		return w->fd;
	if (fstat(w->fd, &st))
		return -errno;
	w->id = st.st_ino;
	w->file_dev = st.st_dev;
	return 0;
}

/*
 * Views of the file. A core dump would read all of them, and so get memory for what is not
 * there: hundreds of megabytes. It does not matter if that cannot be prevented.
 */
static int map_final(struct window *w, size_t offset, size_t size)
{
	int err = window_map(w, offset, size,
			     is_code(w, offset) ? PROT_READ | PROT_EXEC : PROT_READ,
			     MAP_SHARED, w->fd);

	if (!err)
		madvise(w->base + offset, size, MADV_DONTDUMP);
	return err;
}

/* To write beyond the limit of files is a signal. It can get lower at any time. */
static int check_limit(struct window *w)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_FSIZE, &limit) || limit.rlim_cur < window_sealable(w) ? -ENOMEM : 0;
}

static int check_file(struct window *w)
{
	return portable_is_ours(w) ? check_limit(w) : -EBADF;
}

static int portable_map(struct window *w)
{
	size_t code = (size_t)w->areas[CODE].end * WXP_LINE, size = window_sealable(w);
	int err;

	/* What is beyond the end of a file is not filled when it is mapped. */
	err = map_final(w, 0, code);
	if (!err)
		err = map_final(w, code, size - code);
	munlock(w->base, size);
	if (!err)
		err = check_limit(w);
	return err || !ftruncate(w->fd, (off_t)size) ? err : -ENOMEM;
}

static int put(struct window *w, size_t offset, const void *from, size_t size)
{
	int cancel = cancel_disable(), err = 0;
	const char *p = from;
	ssize_t n = 0;

	for (; size && !err; p += n, offset += (size_t)n, size -= (size_t)n) {
		n = pwrite(w->fd, p, size, (off_t)offset);
		if (n <= 0)
			err = n && errno == EFAULT ? -EFAULT : -ENOMEM;
	}
	cancel_restore(cancel);
	return err;
}

static int discard(struct window *w, size_t offset, size_t size)
{
	int cancel = cancel_disable(), err;

	err = fallocate(w->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
			(off_t)size);
	cancel_restore(cancel);
	return err;
}

/* With one address: private memory instead of the file, or the other way round */
static int map_open(struct window *w, const struct wxpool_protect_range *r, bool open)
{
	if (open)
		return window_map(w, r->offset, r->length, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	return map_final(w, r->offset, r->length);
}

/*
 * Makes the blocks of a range writable in the W view: not all of it, as private memory that
 * is writable counts.
 */
static int open_write(struct window *w, const struct wxpool_protect_range *r)
{
	size_t i = r->offset / BLOCK, end = round_up(r->offset + r->length, BLOCK) / BLOCK;

	for (; i < end; i++) {
		if (__atomic_load_n(&w->written[i], __ATOMIC_ACQUIRE))
			continue;
		if (mprotect(w->write + i * BLOCK, BLOCK, PROT_READ | PROT_WRITE))
			return -ENOMEM;
		__atomic_store_n(&w->written[i], true, __ATOMIC_RELEASE);
	}
	return 0;
}

static int portable_alloc(struct window *w, uint32_t pool, const struct wxpool_protect_range *r,
			  uint32_t nr)
{
	uint32_t i;
	int err = 0;

	(void)pool;
	for (i = 0; i < nr && !err; i++)
		err = has_one_address(w) ? map_open(w, &r[i], true) : open_write(w, &r[i]);
	while (err && --i)
		if (has_one_address(w))
			map_open(w, &r[i - 1], false);
	return err;
}

/* The same for all that is sealed, or for none: then private memory gets its bytes back. */
static int map_sealed(struct window *w, const struct wxpool_protect_range *r, uint32_t nr)
{
	int err = 0, cancel;
	uint32_t i;

	if (!has_one_address(w))
		return 0;
	for (i = 0; i < nr && !err; i++)
		err = map_open(w, &r[i], false);
	cancel = cancel_disable();
	while (err && --i)
		if (!map_open(w, &r[i - 1], true) &&
		    pread(w->fd, w->base + r[i - 1].offset, r[i - 1].length,
			  (off_t)r[i - 1].offset) < 0)
			break;
	cancel_restore(cancel);
	return err;
}

static int portable_protect(struct window *w, uint32_t pool, struct wxpool_protect_range *r,
			    uint32_t nr)
{
	int err = check_file(w);
	uint32_t i;

	(void)pool;
	if (err)
		return err;
	for (i = 0; i < nr && !err; i++)
		err = put(w, r[i].offset, w->write + r[i].offset, r[i].length);
	if (!err)
		err = map_sealed(w, r, nr);
	if (err) {
		while (i--)
			discard(w, r[i].offset, r[i].length);
		return err;
	}
	for (i = 0; i < nr; i++) {
		if (!has_one_address(w))
			window_discard(w->write + r[i].offset, r[i].length);
		if (is_code(w, r[i].offset))
			sync_icache(w->base + r[i].offset, r[i].length);
	}
	return 0;
}

static int portable_install(struct window *w, uint32_t pool, struct wxpool_install_range *ranges,
			    uint32_t nr)
{
	int err = check_file(w);

	(void)pool;
	return err ? err : backend_install(w, ranges, nr, put);
}

static int portable_clear(struct window *w, uint32_t line, uint32_t nr)
{
	const struct wxpool_protect_range r = {
		.offset = (size_t)line * WXP_LINE, .length = (size_t)nr * WXP_LINE,
	};

	int err;

	if (!is_open(w, line)) {
		err = check_file(w);
		return err ? err : backend_clear(w, line, nr, put, discard);
	}
	if (has_one_address(w))
		return map_open(w, &r, false);
	window_discard(w->write + r.offset, r.length);
	return 0;
}

static int portable_free(struct window *w, const uint32_t *pools, uint32_t nr, bool *kept)
{
	(void)pools;
	(void)kept;
	return nr && !portable_is_ours(w) ? -EBADF : 0;
}

const struct backend wxp_portable = {
	.name = "portable",
	.open = portable_open,
	.map = portable_map,
	.alloc = portable_alloc,
	.protect = portable_protect,
	.install = portable_install,
	.clear = portable_clear,
	.free = portable_free,
	.is_ours = portable_is_ours,
};
