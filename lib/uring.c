// SPDX-License-Identifier: MIT
/*
 * A small ring of the context's own. Only one thread at a time uses it, under
 * the context's lock, and nothing is left in it between two calls.
 */
#include <stdlib.h>
#include <unistd.h>

#include "internal.h"
#include "wxpool-uring.h"

static int ring_setup(struct wxp *w)
{
	int ret;

	w->syscalls += 3;	/* setup, and two mappings */
	ret = io_uring_queue_init(RING_SIZE, w->ring, 0);
	if (ret)
		return ret;
	/* A child has no use for it. */
	w->syscalls += 2;
	ret = io_uring_ring_dontfork(w->ring);
	if (ret)
		io_uring_queue_exit(w->ring);
	return ret;
}

/* Tries once: where it is forbidden or not there, it stays so. */
int ring_open(struct wxp *w)
{
	int ret;

	if (w->ring)
		return 0;
	if (w->no_ring)
		return -ENOSYS;
	w->ring = calloc(1, sizeof(*w->ring));
	if (!w->ring)
		return -ENOMEM;
	ret = ring_setup(w);
	if (ret) {
		free(w->ring);
		w->ring = NULL;
		w->no_ring = true;
	}
	return ret;
}

/* @forked: its mappings are not there, and others may be in their place. */
void ring_close(struct wxp *w, bool forked)
{
	if (!w->ring)
		return;
	if (forked)
		close(w->ring->ring_fd);
	else
		io_uring_queue_exit(w->ring);
	free(w->ring);
	w->ring = NULL;
}

static unsigned int ring_reap(struct wxp *w, int *results)
{
	struct io_uring_cqe *cqe;
	unsigned int nr = 0;

	for (; !io_uring_peek_cqe(w->ring, &cqe); nr++) {
		results[cqe->user_data] = cqe->res;
		io_uring_cqe_seen(w->ring, cqe);
	}
	return nr;
}

/*
 * Submits installs, RING_SIZE at most, and waits for them. Returns how many
 * the ring has taken: only those have results.
 */
unsigned int ring_run(struct wxp *w, struct wxpool_install *ops, int *results, unsigned int nr)
{
	unsigned int taken = 0, done = 0, want = nr, i;
	struct io_uring_sqe *sqe;
	int ret;

	for (i = 0; i < nr; i++) {
		sqe = io_uring_get_sqe(w->ring);
		wxp_uring_prep_install(sqe, w->fd, &ops[i]);
		sqe->user_data = i;
	}
	while (done < want) {
		w->syscalls++;
		ret = io_uring_submit_and_wait(w->ring, want - done);
		if (ret > 0)
			taken += (unsigned int)ret;
		else if (ret < 0 && ret != -EINTR)
			want = taken;
		done += ring_reap(w, results);
	}
	/* What it did not take must not be submitted later. */
	if (taken < nr)
		ring_close(w, false);
	return taken;
}
