// SPDX-License-Identifier: MIT
/*
 * The portable backend: anonymous memory and mprotect(). Never writable and
 * executable at once, but nothing stops the process from undoing it.
 *
 * What is packed lies in a memfd, at the offsets of the window: mapped there
 * for good, readable or executable, and written by pwrite(), or by a writable
 * mapping elsewhere for a moment. A child made by fork() shares it.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "internal.h"

/* A security policy is better met here than at the first wxp_protect(). */
static int portable_open(struct wxp *w)
{
	struct run run = { .page = 0, .nr = 1 };
	int ret = window_protect(w, &run, PROT_READ | PROT_WRITE);

	if (!ret) {
		*(volatile char *)w->base = 0;
		ret = window_protect(w, &run, PROT_READ | PROT_EXEC);
	}
	if (ret == -EACCES)
		ret = -EPERM;
	return ret ? ret : window_map(w, 0, 1, PROT_NONE);
}

static void portable_close(struct wxp *w, bool forked)
{
	(void)forked;
	if (w->memfd >= 0)
		close(w->memfd);
}

static void take_back(struct wxp *w, const struct run *run)
{
	/* At the limit of mappings it can still be emptied. */
	if (window_map(w, run->page, run->nr, PROT_NONE))
		madvise(page_addr(w, run->page), run_bytes(w, run), MADV_DONTNEED);
}

static int portable_grant(struct wxp *w, struct pool *pool, struct run **runs, unsigned int nr)
{
	unsigned int i;
	int ret = 0;

	(void)pool;
	for (i = 0; i < nr && !ret; i++)
		ret = window_protect(w, runs[i], PROT_READ | PROT_WRITE);
	if (ret)
		while (--i)
			take_back(w, runs[i - 1]);
	return ret;
}

static int portable_seal(struct wxp *w, struct pool *pool, struct run **runs, unsigned int nr)
{
	unsigned int i;
	int ret;

	(void)pool;
	for (i = 0; i < nr; i++) {
		ret = window_protect(w, runs[i],
				     runs[i]->prot == WXP_RX ? PROT_READ | PROT_EXEC : PROT_READ);
		if (ret)
			return ret == -EACCES ? -EPERM : ret;
		if (runs[i]->prot == WXP_RX)
			sync_icache(page_addr(w, runs[i]->page), run_bytes(w, runs[i]));
		runs[i]->state = RUN_DONE;
	}
	return 0;
}

#ifndef MFD_EXEC
#define MFD_EXEC	0x10u
#endif

static int memfd_open(struct wxp *w)
{
	struct rlimit limit;
	int fd;

	/* Where files may not grow so far, the attempt would be a signal. */
	if (getrlimit(RLIMIT_FSIZE, &limit) || limit.rlim_cur < w->size)
		return -ENOMEM;
	w->syscalls += 2;
	fd = memfd_create("libwxpool", MFD_CLOEXEC | MFD_EXEC);
	if (fd < 0 && errno == EINVAL) {	/* before Linux 6.3 */
		w->syscalls++;
		fd = memfd_create("libwxpool", MFD_CLOEXEC);
	}
	if (fd < 0)
		return errno == EACCES ? -EPERM : -ENOMEM;
	if (ftruncate(fd, (off_t)w->size)) {
		close(fd);
		return -ENOMEM;
	}
	w->memfd = fd;
	return 0;
}

/* Makes lines trap instructions, or zeros, through a mapping of their pages. */
static int fill_lines(struct wxp *w, size_t offset, size_t size, enum wxp_prot prot)
{
	size_t start = offset & ~(w->page_size - 1);
	size_t len = round_up(offset + size, w->page_size) - start;
	char *p;

	w->syscalls += 2;
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, w->memfd, (off_t)start);
	if (p == MAP_FAILED)
		return -ENOMEM;
	if (prot == WXP_RX)
		fill_traps(p + (offset - start), size);
	else
		memset(p + (offset - start), 0, size);
	munmap(p, len);
	return 0;
}

/* The same for lines that may hold code, at addresses where it ran. */
static int empty_lines(struct wxp *w, size_t offset, size_t size, enum wxp_prot prot)
{
	int ret = fill_lines(w, offset, size, prot);

	if (!ret && prot == WXP_RX)
		sync_icache(w->base + offset, size);
	return ret;
}

static int portable_view(struct wxp *w, uint32_t page, uint32_t nr, enum wxp_prot prot)
{
	size_t offset = page * w->page_size, size = nr * w->page_size;
	int ret = w->memfd < 0 ? memfd_open(w) : 0;
	void *p;

	if (!ret && prot == WXP_RX)
		ret = fill_lines(w, offset, size, prot);
	if (ret)
		return ret;
	w->syscalls++;
	p = mmap(w->base + offset, size, prot == WXP_RX ? PROT_READ | PROT_EXEC : PROT_READ,
		 MAP_SHARED | MAP_FIXED, w->memfd, (off_t)offset);
	if (p == MAP_FAILED)
		return errno == EACCES ? -EPERM : -errno;
	return 0;
}

static void portable_unview(struct wxp *w, struct zone *zone)
{
	window_map(w, zone->page, zone->ready, PROT_NONE);
	w->syscalls++;
	fallocate(w->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		  (off_t)(zone->page * w->page_size), (off_t)(zone->ready * w->page_size));
}

static int write_range(struct wxp *w, const struct wxpool_install_range *r)
{
	const char *src = (const char *)(uintptr_t)r->source;
	size_t done = 0;
	ssize_t ret;

	while (done < r->length) {
		w->syscalls++;
		ret = pwrite(w->memfd, src + done, r->length - done, (off_t)(r->offset + done));
		if (ret <= 0)
			return ret < 0 ? -errno : -ENOMEM;
		done += (size_t)ret;
	}
	sync_icache(w->base + r->offset, r->length);
	return 0;
}

static int portable_install(struct wxp *w, struct pool *pool, struct wxpool_install_range *ranges,
			    unsigned int nr)
{
	unsigned int i;
	int ret = 0;

	(void)pool;
	for (i = 0; i < nr && !ret; i++)
		ret = write_range(w, &ranges[i]);
	if (!ret)
		return 0;
	while (i--)
		empty_lines(w, ranges[i].offset, round_up(ranges[i].length, WXP_LINE),
			    ranges[i].prot == WXPOOL_PROT_X ? WXP_RX : WXP_R);
	return ret;
}

static int drop_spans(struct wxp *w, const struct pool *pool)
{
	uint32_t line = pool->spans, rel, nr;
	struct zone *zone;
	int ret = 0;

	while (!ret && spans_next(w, &line, &zone, &rel, &nr))
		if (zone->prot != WXP_RW && bits_any(zone->live, rel, nr))
			ret = empty_lines(w, (size_t)(zone->start + rel) * WXP_LINE,
					  (size_t)nr * WXP_LINE, zone->prot);
	return ret;
}

static int portable_drop(struct wxp *w, struct pool *pool)
{
	static const enum wxp_prot prots[] = { WXP_R, WXP_RX };
	int i, ret = drop_spans(w, pool);
	struct run *run;

	if (ret)
		return ret;
	for (i = 0; pool->regions && i < 2; i++) {
		for (run = pool->regions->bins[prots[i]].fresh; run; run = run->next)
			take_back(w, run);
		for (run = pool->regions->bins[prots[i]].done; run; run = run->next)
			take_back(w, run);
	}
	return 0;
}

const struct wxp_ops wxp_portable_ops = {
	.name = "portable",
	.unused = PROT_NONE,
	.open = portable_open,
	.close = portable_close,
	.grant = portable_grant,
	.seal = portable_seal,
	.drop = portable_drop,
	.view_step = 16,
	.view = portable_view,
	.unview = portable_unview,
	.install = portable_install,
};
