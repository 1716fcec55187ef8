// SPDX-License-Identifier: MIT
/* What backends share. Those without a device put bytes into lines themselves. */
#include <fcntl.h>
#include <unistd.h>

#include "internal.h"

#define FIRST_FD	3

#define FILLER	4096			/* bytes at a time */

static char traps[FILLER], zeros[FILLER];

__attribute__((constructor(101))) static void traps_init(void)
{
	fill_traps(traps, sizeof(traps));
}

/* The same file by a number that is not 0 to 2: these are the program's, open or not. */
int backend_keep_fd(int fd)
{
	int kept = fd;

	if (fd < FIRST_FD) {
		kept = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FD);
		if (kept < 0)
			kept = -errno;
		close(fd);
	}
	return kept;
}

/* What fills an offset, up to the end of its line, that nothing is put into */
const char *backend_filler(const struct window *w, uint64_t offset)
{
	return (is_code(w, offset) ? traps : zeros) + offset % WXP_LINE;
}

static int put_fillers(struct window *w, size_t offset, size_t end, put_fn put)
{
	size_t n;
	int err = 0;

	for (; offset < end && !err; offset += n) {
		n = FILLER - offset % WXP_LINE;
		if (n > end - offset)
			n = end - offset;
		err = put(w, offset, backend_filler(w, offset), n);
	}
	return err;
}

/* The end of the first range, and of those that go on from it */
static uint32_t run_of(const struct wxpool_install_range *r, uint32_t nr, size_t *end)
{
	uint32_t i = 0;

	*end = r->offset;
	do {
		*end += r[i++].length;
	} while (i < nr && r[i].flags & WXPOOL_RANGE_CONT);
	return i;
}

static int put_run(struct window *w, const struct wxpool_install_range *r, uint32_t nr,
		   size_t end, put_fn put)
{
	size_t offset = r->offset, start = offset;
	uint32_t i;
	int err = 0;

	for (i = 0; i < nr && !err; i++) {
		err = put(w, offset, (const void *)(uintptr_t)r[i].source, r[i].length);
		offset += r[i].length;
	}
	if (!err)
		err = put_fillers(w, end, round_up(end, WXP_LINE), put);
	if (err)
		put_fillers(w, start, round_up(end, WXP_LINE), put);
	if (is_code(w, start))
		sync_icache(w->base + start, end - start);
	return err;
}

int backend_install(struct window *w, const struct wxpool_install_range *r, uint32_t nr,
		    put_fn put)
{
	const struct wxpool_install_range *at = r, *stop = r + nr;
	size_t end;
	uint32_t n;
	int err = 0;

	while (at < stop && !err) {
		n = run_of(at, (uint32_t)(stop - at), &end);
		err = put_run(w, at, n, end, put);
		if (!err)
			at += n;
	}
	/* Nothing of a call that fails stays. */
	for (stop = at; err && r < stop; r += n) {
		n = run_of(r, (uint32_t)(stop - r), &end);
		put_fillers(w, r->offset, round_up(end, WXP_LINE), put);
	}
	return err;
}

/* Fills the lines of a span that ends, whose whole pages go back to the system. */
int backend_clear(struct window *w, uint32_t line, uint32_t nr, put_fn put,
		  int (*discard)(struct window *w, size_t offset, size_t size))
{
	size_t start = (size_t)line * WXP_LINE, end = start + (size_t)nr * WXP_LINE;
	size_t first = round_up(start, w->page_size), last = end & ~(w->page_size - 1);
	int err;

	if (first >= last || discard(w, first, last - first))
		first = last = end;
	err = put_fillers(w, start, first, put);
	if (!err)
		err = put_fillers(w, last, end, put);
	if (is_code(w, start))
		sync_icache(w->base + start, end - start);
	return err;
}
