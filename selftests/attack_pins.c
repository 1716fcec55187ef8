// SPDX-License-Identifier: GPL-2.0
/*
 * The attack book, references that outlive a mapping: what was taken while the
 * code was written stores after it was published, without any mapping.
 */
#include <linux/aio_abi.h>
#include <sys/uio.h>

#include "attack.h"
#include "wxpool_uring.h"

/* ------------------------------------------------------------------ pipes */

static int pin_by_pipe(struct victim *v, int *p, unsigned int flags)
{
	struct iovec iov = { v->w, PG(1) };

	if (pipe(p) || vmsplice(p[1], &iov, 1, flags) != (ssize_t)PG(1))
		return -errno;
	return 0;
}

static void close_pipe(int *p)
{
	close(p[0]);
	close(p[1]);
}

/* A write that is to land in the page that the pipe holds */
ATTACK_OPEN(vmsplice_write, -EBUSY, HARMLESS, HARMLESS)
{
	int p[2], ret = pin_by_pipe(v, p, 0);

	if (ret)
		return ret;
	ret = victim_publish(v);
	if (write(p[1], evil_page(), LINE) != LINE)
		ret = BROKEN;
	close_pipe(p);
	return ret;
}

/* A second pipe holds what the first has let go of. */
ATTACK_OPEN(vmsplice_tee, -EBUSY, HARMLESS, HARMLESS)
{
	int p[2], q[2], ret = pin_by_pipe(v, p, 0);

	if (ret)
		return ret;
	if (pipe(q) || tee(p[0], q[1], PG(1), 0) != (ssize_t)PG(1))
		return -errno;
	close_pipe(p);
	ret = victim_publish(v);
	if (write(q[1], evil_page(), LINE) != LINE)
		ret = BROKEN;
	close_pipe(q);
	return ret;
}

/* The page is given away, to become a file's, which can be written. */
ATTACK_OPEN(vmsplice_gift, -EBUSY, HARMLESS, HARMLESS)
{
	int p[2], ret = pin_by_pipe(v, p, SPLICE_F_GIFT);
	int fd = memfd_create("thief", MFD_CLOEXEC);

	if (ret)
		return ret;
	ret = victim_publish(v);
	if (splice(p[0], NULL, fd, NULL, PG(1), SPLICE_F_MOVE) != (ssize_t)PG(1) ||
	    pwrite(fd, evil_page(), LINE, 0) != LINE)
		ret = BROKEN;
	close_pipe(p);
	return ret;
}

/* --------------------------------------------------------------- io_uring */

static int ring_rw(struct io_uring *ring, int op, int fd, void *to)
{
	struct io_uring_sqe sqe = {
		.opcode = op, .fd = fd, .addr = (uintptr_t)to, .len = LINE,
	};

	ring_submit(ring, &sqe);
	return ring_wait(ring);
}

static int pin_by_ring(struct victim *v, struct io_uring *ring, void *p)
{
	struct iovec iov = { p, PG(1) };

	if (ring_init(ring, 0))
		return missing(v, "no io_uring");
	return io_uring_register_buffers(ring, &iov, 1);
}

/* wxpool, up to 6.4: no such buffers in files' mappings; later: EBUSY */
ATTACK_OPEN(uring_fixed_buffer, REFUSED, DONE, DONE)
{
	struct io_uring ring;
	int ret = pin_by_ring(v, &ring, v->w);

	if (ret)
		return ret;
	ret = victim_publish(v);
	if (!ret)
		ret = ring_rw(&ring, IORING_OP_READ_FIXED, evil_file(), v->w);
	io_uring_queue_exit(&ring);
	return ret == LINE ? HARMLESS : ret;
}

/* Where published code was written is no buffer to be written any more. */
ATTACK(uring_fixed_buffer_late, REFUSED, -EFAULT, DONE)
{
	struct io_uring ring;
	int ret = pin_by_ring(v, &ring, v->w);

	if (ret)
		return ret;
	ret = ring_rw(&ring, IORING_OP_READ_FIXED, evil_file(), v->w);
	return ret == LINE ? HARMLESS : ret;
}

/* Without a buffer of its own the ring stores as the process would. */
ATTACK(uring_read, -EFAULT, -EFAULT, DONE)
{
	struct io_uring ring;
	int ret;

	if (ring_init(&ring, 0))
		return missing(v, "no io_uring");
	ret = ring_rw(&ring, IORING_OP_READ, evil_file(), v->w);
	return ret == LINE ? HARMLESS : ret;
}

/* Begun while the code was written, and ended when it is published */
ATTACK_OPEN(uring_read_across, -EFAULT, -EFAULT, DONE)
{
	struct io_uring_sqe sqe = {
		.opcode = IORING_OP_READ, .addr = (uintptr_t)v->w,
		.len = LINE, .off = -1,
	};
	struct io_uring ring;
	int p[2], ret;

	if (ring_init(&ring, 0))
		return missing(v, "no io_uring");
	if (pipe(p))
		return -errno;
	sqe.fd = p[0];
	ring_submit(&ring, &sqe);
	ret = victim_publish(v);
	if (ret || write(p[1], evil_page(), LINE) != LINE)
		return BROKEN;
	ret = ring_wait(&ring);
	return ret == LINE ? HARMLESS : ret;
}

/*
 * The page is memory of a ring's own queues, to which the kernel writes. What is
 * submitted lies there before the code is published, and is done after that.
 */
ATTACK_OPEN(uring_queues, -EBUSY, DONE, DONE)
{
	struct io_uring_sqe *sqe = (void *)plain_pages(1, RW);
	struct io_uring_params p = { .flags = IORING_SETUP_NO_MMAP };
	int fd, ret;

	sqe->opcode = IORING_OP_NOP;
	p.sq_off.user_addr = (uintptr_t)sqe;
	p.cq_off.user_addr = (uintptr_t)v->w;
	fd = io_uring_setup(1, &p);
	if (fd == -EFAULT)
		return fd;
	if (fd < 0)
		return missing(v, "no io_uring with memory of the user's (6.5)");
	*(uint32_t *)(v->w + p.sq_off.tail) = 1;
	ret = victim_publish(v);
	if (!ret && io_uring_enter(fd, 1, 1, IORING_ENTER_GETEVENTS, NULL) != 1)
		ret = BROKEN;
	close(fd);
	/* Not published: the JIT writes once more. */
	if (ret == -EBUSY)
		wx_emit(v->w, GOOD);
	return ret;
}

/* ------------------------------------------------------------- direct I/O */

/*
 * A read into two buffers, which the kernel pins one after the other: the code,
 * and a page that userfaultfd holds back. So the read is under way, with the code
 * pinned, for as long as the attacker likes.
 */
struct direct_read {
	int dev;
	struct iovec iov[2];
	bool aio;
	ssize_t ret;
};

static ssize_t read_by_aio(const struct direct_read *r)
{
	struct iocb cb = {
		.aio_lio_opcode = IOCB_CMD_PREADV, .aio_fildes = r->dev,
		.aio_buf = (uintptr_t)r->iov, .aio_nbytes = 2,
	}, *cbs = &cb;
	aio_context_t aio = 0;
	struct io_event event;

	if (syscall(__NR_io_setup, 1, &aio) ||
	    syscall(__NR_io_submit, aio, 1, &cbs) != 1 ||
	    syscall(__NR_io_getevents, aio, 1, 1, &event, NULL) != 1)
		return -errno;
	return event.res;
}

static void *read_direct(void *arg)
{
	struct direct_read *r = arg;

	if (r->aio)
		r->ret = read_by_aio(r);
	else
		r->ret = preadv(r->dev, r->iov, 2, 0);
	return NULL;
}

/* The first disk: what its first block holds is not the code. */
static int open_disk(void)
{
	static const char *const names[] = {
		"/dev/vda", "/dev/sda", "/dev/nvme0n1",
	};
	int fd = -1;
	size_t i;

	for (i = 0; i < 3 && fd < 0; i++)
		fd = open(names[i], O_RDONLY | O_DIRECT | O_CLOEXEC);
	return fd;
}

static int read_across_publish(struct victim *v, bool aio)
{
	char *late = plain_pages(1, RW);
	struct direct_read r = {
		.dev = open_disk(), .aio = aio,
		.iov = { { v->w, 512 }, { late, 512 } },
	};
	int uffd = uffd_open(0, 0), ret;
	pthread_t t;

	if (r.dev < 0)
		return missing(v, "no disk for O_DIRECT");
	if (uffd < 0)
		return missing(v, "no userfaultfd for faults of the kernel");
	if (uffd_register(uffd, late, 1, UFFDIO_REGISTER_MODE_MISSING))
		return BROKEN;
	pthread_create(&t, NULL, read_direct, &r);
	if (uffd_wait(uffd) != late)
		return BROKEN;
	ret = victim_publish(v);
	uffd_copy(uffd, late, evil_page());
	pthread_join(t, NULL);
	if (r.ret != 1024)
		return BROKEN;
	/* Not published: what came is the JIT's to write over. */
	if (ret)
		wx_emit(v->w, GOOD);
	return ret;
}

ATTACK_OPEN(direct_read, -EBUSY, DONE, DONE)
{
	return read_across_publish(v, false);
}

ATTACK_OPEN(direct_read_aio, -EBUSY, DONE, DONE)
{
	return read_across_publish(v, true);
}

/* Begun when the code is published */
ATTACK(direct_read_late, -EFAULT, -EFAULT, DONE)
{
	int dev = open_disk();

	if (dev < 0)
		return missing(v, "no disk for O_DIRECT");
	return pread(dev, v->w, 512, 0) == 512 ? HARMLESS : -errno;
}

/* ---------------------------------------------------- reading sealed pages */

/* Where it lies, a page in a pipe must outlive its pool, as it was. */
ATTACK(vmsplice_sealed_and_free, HARMLESS, HARMLESS, DONE)
{
	struct iovec iov = { v->code, PG(1) };
	char *got = plain_pages(1, RW), *w;
	int p[2];

	if (pipe(p) || vmsplice(p[1], &iov, 1, 0) != (ssize_t)PG(1))
		return -errno;
	victim_free(v);
	/* The place is used again, by the next one who writes code. */
	w = v->w;
	if (v->kind == WXPOOL && wx_alloc(v->fd, POOL, 0, 1))
		return BROKEN;
	if (v->kind == MPROTECT)
		w = mmap(v->code, PG(1), RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (overwrite(w) || read(p[0], got, PG(1)) != (ssize_t)PG(1))
		return BROKEN;
	return memcmp(got, v->was, PG(1)) ? DONE : HARMLESS;
}

TEST_HARNESS_MAIN
