// SPDX-License-Identifier: MIT
/*
 * wxfuzz: bytes that get into and out of views without mmap(): stores, the
 * kernel's copies, direct I/O; and pins, by which the kernel holds pages
 *
 * store:    a slot, b line, c stamp, flags number of lines
 * kwrite:   a slot, b line, c stamp, flags: 0 read(), 1 /proc/self/mem,
 *           2 process_vm_writev()
 * kread:    likewise
 * direct:   a slot
 * pin:      a slot, b 0 a pipe, 1 a fixed buffer of io_uring; c its number
 * unpin:    c its number
 */
#include <fcntl.h>
#include <liburing.h>
#include <sys/uio.h>

#include "wxfuzz.h"

static __thread struct io_uring rings[2];
static __thread bool ring_there[2], ring_failed;
static __thread int pipes[NR_PINS][2], bytes_pipe[2] = { -1, -1 };
static __thread int mem_fd = -1;

static struct io_uring *ring_nr(unsigned int i)
{
	if (ring_there[i] || ring_failed || !W->uring)
		return ring_there[i] ? &rings[i] : NULL;
	ring_failed = io_uring_queue_init(8, &rings[i], 0) < 0;
	if (ring_failed)
		return NULL;
	io_uring_ring_dontfork(&rings[i]);
	ring_there[i] = true;
	return &rings[i];
}

/* For operations */
struct io_uring *ring_get(void)
{
	return ring_nr(0);
}

/* After a fork: what the parent has open is none of our business. */
void pin_forget(void)
{
	unsigned int i;

	for (i = 0; i < 2; i++)
		if (ring_there[i])
			close(rings[i].ring_fd);
	ring_there[0] = ring_there[1] = ring_failed = false;
	for (i = 0; i < NR_PINS; i++) {
		if (!pipes[i][0])
			continue;
		close(pipes[i][0]);
		close(pipes[i][1]);
		pipes[i][0] = pipes[i][1] = 0;
	}
	if (bytes_pipe[0] >= 0) {
		close(bytes_pipe[0]);
		close(bytes_pipe[1]);
		bytes_pipe[0] = -1;
	}
	if (mem_fd >= 0)
		close(mem_fd);
	mem_fd = -1;
}

static int *get_pipe(void)
{
	if (bytes_pipe[0] < 0 && pipe2(bytes_pipe, O_CLOEXEC))
		abort();
	return bytes_pipe;
}

static int get_mem(void)
{
	if (mem_fd < 0)
		mem_fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	return mem_fd;
}

static unsigned char *line_addr(const struct op *op)
{
	return (unsigned char *)slot_addr(op->a) + op->b * LINE;
}

static void model_store(const struct op *op, uint32_t stamp, unsigned int line,
			unsigned int nr)
{
	struct mpage *page = space_page(me, &W->proc[me].slot[op->a]);
	unsigned int i;

	for (i = 0; i < nr; i++) {
		page->line[line + i].stamp = stamp + i;
		page->line[line + i].len = LINE;
	}
}

static long do_store(const struct op *op)
{
	int want = space_write(me, &W->proc[me].slot[op->a]), got;
	unsigned char bytes[PAGE];
	unsigned int i;

	for (i = 0; i < op->flags; i++)
		content_line(op->c + i, bytes + i * LINE);
	got = probe_copy(line_addr(op), bytes, op->flags * LINE);
	if (got != want)
		miss(MISS_WRITE, (uintptr_t)line_addr(op), want, got,
		     "signal of a store");
	if (!want)
		model_store(op, op->c, op->b, op->flags);
	expect_ret(op, want ? ERR(EFAULT) : 0, got ? ERR(EFAULT) : 0);
	return want ? ERR(EFAULT) : 0;
}

static long kernel_copy(const struct op *op, void *bytes, bool to_view)
{
	struct iovec ours = { bytes, LINE }, view = { line_addr(op), LINE };
	int *p = get_pipe();
	char drain[LINE];
	long ret;

	switch (op->flags) {
	case 0:
		ret = write(p[1], to_view ? bytes : view.iov_base, LINE);
		if (ret < 0)
			return -errno;
		ret = read(p[0], to_view ? view.iov_base : bytes, LINE);
		if (ret < 0) {
			ret = -errno;
			if (read(p[0], drain, LINE) < 0)
				abort();
			return ret;
		}
		break;
	case 1:
		if (to_view)
			ret = pwrite(get_mem(), bytes, LINE, (uintptr_t)view.iov_base);
		else
			ret = pread(get_mem(), bytes, LINE, (uintptr_t)view.iov_base);
		break;
	default:
		if (to_view)
			ret = process_vm_writev(getpid(), &ours, 1, &view, 1, 0);
		else
			ret = process_vm_readv(getpid(), &ours, 1, &view, 1, 0);
		break;
	}
	return ret < 0 ? -errno : ret == LINE ? 0 : ERR(EFAULT);
}

static long do_kwrite(const struct op *op)
{
	int sig = space_write(me, &W->proc[me].slot[op->a]);
	long want = !sig ? 0 : op->flags == 1 ? ERR(EIO) : ERR(EFAULT), ret;
	unsigned char bytes[LINE];

	content_line(op->c, bytes);
	ret = kernel_copy(op, bytes, true);
	if (!want && !ret)
		model_store(op, op->c, op->b, 1);
	expect_ret(op, want, ret);
	return ret;
}

/* /proc/self/mem does not ask for PROT_READ, but an XO view never has it. */
static bool forced_read(const struct slot *s)
{
	return s->kind != KIND_XO && space_page(me, s);
}

static long want_kread(const struct op *op, const struct slot *s)
{
	switch (op->flags) {
	case 0:
		return space_read(me, s) ? ERR(EFAULT) : 0;
	case 1:
		return forced_read(s) ? 0 : ERR(EIO);
	default:
		/* Goes by the view, not by the processor */
		return s->prot & PROT_READ && space_page(me, s) ? 0 : ERR(EFAULT);
	}
}

static long do_kread(const struct op *op)
{
	const struct slot *s = &W->proc[me].slot[op->a];
	struct mpage *page = space_page(me, s);
	unsigned char bytes[LINE], want_bytes[LINE];
	long want, ret;

	ret = kernel_copy(op, bytes, false);
	want = want_kread(op, s);
	if (!want && ret && probe_idle_gone(s))
		want = ret;
	expect_ret(op, want, ret);
	if (want)
		return ret;
	content_expect(&page->line[op->b], page, want_bytes);
	if (memcmp(bytes, want_bytes, LINE))
		miss(MISS_BYTES, (uintptr_t)line_addr(op), want_bytes[0], bytes[0],
		     "bytes that the kernel read");
	return 0;
}

static long do_direct(const struct op *op)
{
	long want = space_write(me, &W->proc[me].slot[op->a]) ? ERR(EFAULT) : 0, ret;

	ret = pread(content_disk(), slot_addr(op->a), PAGE, 1 << 20);
	ret = ret < 0 ? -errno : ret == PAGE ? 0 : ERR(EFAULT);
	if (!want && !ret)
		model_store(op, STAMP_DISK, 0, PAGE_LINES);
	expect_ret(op, want, ret);
	return ret;
}

/* ---- pins */

static void pin_page(const struct op *op, int used, struct mpage *page)
{
	struct pin *pin = &W->proc[me].pin[op->c];

	pin->used = used;
	pin->page = page - W->mpage;
	page->pins++;
}

/* Is it an idle block's that has gone? Who has not the descriptor cannot ask before. */
static bool is_gone(const struct slot *s)
{
	struct mregion *r = s->kind ? space_region(s) : NULL;

	if (!r || !r->idle || !info_may_go(r))
		return false;
	model_region_end(r);
	seen(EV_IDLE_WENT);
	return true;
}

static long pin_pipe(const struct op *op)
{
	const struct slot *s = &W->proc[me].slot[op->a];
	struct iovec iov = { slot_addr(op->a), PAGE };
	long want = space_read(me, s) ? ERR(EFAULT) : 0, ret;
	int *p = pipes[op->c];

	if (pipe2(p, O_CLOEXEC))
		abort();
	ret = vmsplice(p[1], &iov, 1, op->pool & 1 ? SPLICE_F_GIFT : 0);
	ret = ret < 0 ? -errno : ret == PAGE ? 0 : ERR(ENODATA);
	if (ret == ERR(EFAULT) && !want && is_gone(s))
		want = ret;
	if (!ret && !want) {
		pin_page(op, 1, space_page(me, s));
	} else {
		close(p[0]);
		close(p[1]);
		p[0] = p[1] = 0;
	}
	expect_ret(op, want, ret);
	return ret;
}

/* Kernels may refuse fixed buffers in mappings of files. */
static long pin_fixed(const struct op *op)
{
	const struct slot *s = &W->proc[me].slot[op->a];
	struct iovec iov = { slot_addr(op->a), PAGE };
	struct io_uring *ring = ring_nr(1);
	struct mpage *page = space_page(me, s);
	long want = space_write(me, s) ? ERR(EFAULT) : 0, ret;

	if (!ring)
		return 0;
	ret = io_uring_register_buffers(ring, &iov, 1);
	if (ret == ERR(EOPNOTSUPP)) {
		if (page)
			page->lazy = 1;
		return ret;
	}
	if (!ret && !want)
		pin_page(op, 2, page);
	expect_ret(op, want, ret);
	return ret;
}

static void check_pinned(const struct mpage *page, unsigned int i,
			 const unsigned char *bytes)
{
	const struct mline *line = &page->line[i];
	unsigned char want[LINE], old[LINE];

	/* Nobody writes to it any more: lines that are freed stay what they were. */
	if (page->poison)
		return;
	content_expect(line, page, want);
	content_old(line, page, old);
	if (memcmp(want, bytes, LINE) && (!line->old_len || memcmp(old, bytes, LINE)))
		miss(MISS_BYTES, i * LINE, want[0], bytes[0], "bytes of a pinned page");
}

/* What a pipe held since is what the page has, even if it was freed. */
static void unpin_pipe(unsigned int n, struct mpage *page)
{
	unsigned char bytes[PAGE];
	unsigned int i;

	if (read(pipes[n][0], bytes, PAGE) != PAGE)
		miss(MISS_BYTES, 0, PAGE, errno, "length of a pinned page");
	close(pipes[n][0]);
	close(pipes[n][1]);
	pipes[n][0] = pipes[n][1] = 0;
	for (i = 0; i < PAGE_LINES; i++)
		check_pinned(page, i, bytes + i * LINE);
}

static long do_unpin(const struct op *op)
{
	struct pin *pin = &W->proc[me].pin[op->c];
	struct mpage *page = &W->mpage[pin->page];

	if (pin->used == 1) {
		unpin_pipe(op->c, page);
	} else {
		io_uring_unregister_buffers(&rings[1]);
		page->lazy = 1;
	}
	pin->used = 0;
	page->pins--;
	model_page_put(page);
	expect_ret(op, 0, 0);
	return 0;
}

long touch_do(const struct op *op)
{
	long ret;

	switch (op->kind) {
	case OP_STORE:
		ret = do_store(op);
		break;
	case OP_KWRITE:
		ret = do_kwrite(op);
		break;
	case OP_KREAD:
		return do_kread(op);
	default:
		ret = do_direct(op);
		break;
	}
	if (probe_due(op))
		probe_slot(op->a, op->rnd);
	return ret;
}

long pin_do(const struct op *op)
{
	if (op->kind == OP_UNPIN)
		return do_unpin(op);
	return op->b ? pin_fixed(op) : pin_pipe(op);
}
