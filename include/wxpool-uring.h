/* SPDX-License-Identifier: MIT */
/*
 * Installs by an io_uring of the caller's own, in the manner of liburing, which
 * this header needs. From Linux 5.19 on.
 */
#ifndef WXPOOL_URING_H
#define WXPOOL_URING_H

#include <liburing.h>
#include <stdint.h>

#include <linux/wxpool.h>

#include "wxpool.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * wxp_uring_prep_install() - fill in the submission of a prepared install
 * @sqe: the submission; set its user data and flags afterwards
 * @wxp: the context
 * @op: what wxp_install_prepare() gave
 *
 * As io_uring_prep_*() do. The ring must have been set up by this process. The
 * completion's @res is passed to wxp_install_complete(); on arm64 a thread that made no
 * system call since executes an ISB before it runs the code. Submissions are not
 * ordered unless linked (IOSQE_IO_LINK): one that is linked to a failed one is
 * -ECANCELED.
 */
static inline void wxp_uring_prep_install(struct io_uring_sqe *sqe, struct wxp *wxp,
					  struct wxp_op *op)
{
	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, wxp_get_fd(wxp), NULL, 0, 0);
	sqe->cmd_op = WXPOOL_IOC_INSTALL;
	/* The first word of struct wxpool_uring_cmd; the second is zero. */
	sqe->addr3 = (uint64_t)(uintptr_t)wxp_op_arg(op);
}

#ifdef __cplusplus
}
#endif

#endif /* WXPOOL_URING_H */
