/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests add to liburing: rings of any setup, and the device's
 * operations as submissions, with every byte in the test's hands.
 */
#ifndef WXPOOL_URING_H
#define WXPOOL_URING_H

#include <liburing.h>
#include <stddef.h>

#include "wxpool_util.h"

#define RING_ENTRIES	256

/* 0 or a negative errno; -ENOSYS or -EPERM where there is no io_uring */
static inline int ring_init(struct io_uring *ring, unsigned int setup)
{
	struct io_uring_params p = { .flags = setup, .sq_thread_idle = 50 };

	return io_uring_queue_init_params(RING_ENTRIES, ring, &p);
}

#define RING_OR_SKIP(ring, setup) do {					\
	int _ret = ring_init(ring, setup);				\
									\
	if (_ret)							\
		SKIP(return, "io_uring: %s", strerror(-_ret));		\
} while (0)

/* Puts a submission into the ring; the kernel need not know of it yet. */
static inline void ring_queue(struct io_uring *ring,
			      const struct io_uring_sqe *sqe)
{
	struct io_uring_sqe *to;

	/* The thread of SQPOLL tells of completions before it gives their places back. */
	while (!(to = io_uring_get_sqe(ring)))
		io_uring_sqring_wait(ring);
	memcpy(to, sqe, sizeof(*sqe));
}

static inline void ring_submit(struct io_uring *ring,
			       const struct io_uring_sqe *sqe)
{
	ring_queue(ring, sqe);
	io_uring_submit(ring);
}

/* The next completion, without waiting; false if there is none */
static inline bool ring_peek(struct io_uring *ring, struct io_uring_cqe *cqe)
{
	struct io_uring_cqe *next;

	if (io_uring_peek_cqe(ring, &next))
		return false;
	*cqe = *next;
	io_uring_cqe_seen(ring, next);
	return true;
}

static inline void ring_wait_cqe(struct io_uring *ring,
				 struct io_uring_cqe *cqe)
{
	struct io_uring_cqe *next;

	while (io_uring_wait_cqe(ring, &next))
		;
	*cqe = *next;
	io_uring_cqe_seen(ring, next);
}

static inline int ring_wait(struct io_uring *ring)
{
	struct io_uring_cqe cqe;

	ring_wait_cqe(ring, &cqe);
	return cqe.res;
}

/* An operation of the device as a submission */
static inline struct io_uring_sqe ring_cmd(int fd, unsigned long op, void *arg,
					   unsigned int sqe_flags,
					   uint64_t user_data)
{
	struct wxpool_uring_cmd cmd = { .arg = (uintptr_t)arg };
	struct io_uring_sqe sqe = {
		.opcode = IORING_OP_URING_CMD,
		.flags = sqe_flags,
		.fd = fd,
		.cmd_op = op,
		.user_data = user_data,
	};

	memcpy((char *)&sqe + offsetof(struct io_uring_sqe, cmd), &cmd,
	       sizeof(cmd));
	return sqe;
}

/* Submits one operation and waits for it: 0 or a negative errno */
static inline int ring_op(struct io_uring *ring, int fd, unsigned long op,
			  void *arg, unsigned int sqe_flags)
{
	struct io_uring_sqe sqe = ring_cmd(fd, op, arg, sqe_flags, 0);

	ring_submit(ring, &sqe);
	return ring_wait(ring);
}

#endif /* WXPOOL_URING_H */
