// SPDX-License-Identifier: MIT
/*
 * Two modules, installed by an io_uring of the program's own: one system call for both,
 * beside whatever else the program submits there. Only the kernel backend has rings. A ring
 * that the system refuses is no reason to fail: wxp_install_complete() installs by a system
 * call of its own then.
 */
#include <errno.h>

#include <wxpool-uring.h>

#include "code.h"

#define NR	2

static char code[NR][ANSWER_SIZE];
static struct wxp_span spans[NR];
static struct wxp_op *ops[NR];

/* Module @i is in pool @i + 1. Tells if a ring can install it. */
static int prepare(struct wxp *wxp, unsigned int i)
{
	const struct wxp_request req = { .size = ANSWER_SIZE, .prot = WXP_RX };
	struct wxp_piece piece;
	int ret;

	must(wxp_place(wxp, i + 1, &req, 1, &spans[i]), "wxp_place");
	code_answer(code[i], (uint16_t)(42 + i));
	piece = (struct wxp_piece){ spans[i].addr, code[i], ANSWER_SIZE };
	ret = wxp_install_prepare(wxp, i + 1, &piece, 1, &ops[i]);
	if (ret == -EOPNOTSUPP)
		must(wxp_install(wxp, i + 1, &piece, 1), "wxp_install");
	else
		must(ret, "wxp_install_prepare");
	return !ret;
}

static void install_by_ring(struct wxp *wxp, struct io_uring *ring)
{
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	unsigned int i;
	int ret;

	for (i = 0; i < NR; i++) {
		sqe = io_uring_get_sqe(ring);
		wxp_uring_prep_install(sqe, wxp, ops[i]);
		sqe->user_data = i;
	}
	ret = io_uring_submit_and_wait(ring, NR);
	must(ret < 0 ? ret : 0, "io_uring_submit_and_wait");
	while (!io_uring_peek_cqe(ring, &cqe)) {
		must(wxp_install_complete(wxp, ops[cqe->user_data], cqe->res),
		     "wxp_install_complete");
		io_uring_cqe_seen(ring, cqe);
	}
	printf("A ring has installed both.\n");
}

int main(void)
{
	struct io_uring ring;
	unsigned int i, ready = 0;
	struct wxp *wxp;

	must(wxp_open(&wxp, NULL), "wxp_open");
	for (i = 0; i < NR; i++)
		ready += (unsigned int)prepare(wxp, i);
	if (!ready) {
		printf("The backend is %s, which has no rings: wxp_install() did it.\n",
		       wxp_backend_name(wxp_get_backend(wxp)));
	} else if (!io_uring_queue_init(NR, &ring, 0)) {
		install_by_ring(wxp, &ring);
		io_uring_queue_exit(&ring);
	} else {
		for (i = 0; i < NR; i++)
			must(wxp_install_complete(wxp, ops[i], -EOPNOTSUPP),
			     "wxp_install_complete");
		printf("There is no io_uring here: system calls did it.\n");
	}
	for (i = 0; i < NR; i++)
		printf("Function %u returns %d.\n", i, code_run(spans[i].addr));
	wxp_close(wxp);		/* and all pools */
	return 0;
}
