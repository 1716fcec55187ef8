/* SPDX-License-Identifier: MIT */
/*
 * Operations of /dev/wxpool on a ring of the caller's own, in the manner of
 * liburing, which this header needs. From Linux 5.19 on.
 *
 * Each wxp_uring_prep_*() fills in a submission, as io_uring_prep_*() do; set
 * its user data and flags afterwards. The structure, its ranges and an
 * install's sources must stay as they are until the completion, whose @res is
 *
 * - 0: done, all of it, and what the structure receives is there;
 * - a negative errno as from ioctl(), see <linux/wxpool.h>: nothing was done;
 * - -ECANCELED: not started: linked to one that failed, or cancelled;
 * - -EOPNOTSUPP: the module or the kernel has no io_uring for it;
 * - -EACCES: a security policy forbids it, perhaps by a ring only.
 *
 * An operation is never done in part, or after its completion. Submissions are
 * not ordered unless linked (IOSQE_IO_LINK). They count as the owner's only
 * where the ring was set up by the process that opened the device.
 *
 * With libwxpool use only wxp_uring_prep_install(), with what
 * wxp_install_prepare() filled in, and wxp_uring_prep_info(): the library
 * would not know of the others. All are for programs that use the device
 * directly.
 */
#ifndef WXPOOL_URING_H
#define WXPOOL_URING_H

#include <liburing.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/wxpool.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * wxp_uring_prep() - any operation of the device
 * @sqe: the submission
 * @fd: of the device: wxp_get_fd()
 * @op: its number, WXPOOL_IOC_*
 * @arg: its structure
 */
static inline void wxp_uring_prep(struct io_uring_sqe *sqe, int fd, unsigned int op, void *arg)
{
	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, fd, NULL, 0, 0);
	sqe->cmd_op = op;
	/* The first word of struct wxpool_uring_cmd; the second is zero. */
	sqe->addr3 = (uint64_t)(uintptr_t)arg;
}

/** wxp_uring_prep_info() - WXPOOL_IOC_INFO */
static inline void wxp_uring_prep_info(struct io_uring_sqe *sqe, int fd, struct wxpool_info *info)
{
	wxp_uring_prep(sqe, fd, WXPOOL_IOC_INFO, info);
}

/** wxp_uring_prep_alloc() - WXPOOL_IOC_ALLOC */
static inline void wxp_uring_prep_alloc(struct io_uring_sqe *sqe, int fd,
					struct wxpool_alloc *arg)
{
	wxp_uring_prep(sqe, fd, WXPOOL_IOC_ALLOC, arg);
}

/** wxp_uring_prep_protect() - WXPOOL_IOC_PROTECT */
static inline void wxp_uring_prep_protect(struct io_uring_sqe *sqe, int fd,
					  struct wxpool_protect *arg)
{
	wxp_uring_prep(sqe, fd, WXPOOL_IOC_PROTECT, arg);
}

/**
 * wxp_uring_prep_install() - WXPOOL_IOC_INSTALL
 * @sqe: the submission
 * @fd: of the device: wxp_get_fd()
 * @arg: what goes where
 *
 * The code may run once the completion was seen, under the same rules as with
 * wxp_install(); but on arm64, where the thread did not make a system call since,
 * it executes an ISB first. What wxp_install_prepare() filled in is passed to
 * wxp_install_done() with the completion's @res then, which does that.
 */
static inline void wxp_uring_prep_install(struct io_uring_sqe *sqe, int fd,
					  struct wxpool_install *arg)
{
	wxp_uring_prep(sqe, fd, WXPOOL_IOC_INSTALL, arg);
}

/** wxp_uring_prep_free() - WXPOOL_IOC_FREE */
static inline void wxp_uring_prep_free(struct io_uring_sqe *sqe, int fd, struct wxpool_free *arg)
{
	wxp_uring_prep(sqe, fd, WXPOOL_IOC_FREE, arg);
}

/** wxp_uring_prep_freeze() - WXPOOL_IOC_FREEZE */
static inline void wxp_uring_prep_freeze(struct io_uring_sqe *sqe, int fd,
					 struct wxpool_freeze *arg)
{
	wxp_uring_prep(sqe, fd, WXPOOL_IOC_FREEZE, arg);
}

#ifdef __cplusplus
}
#endif

#endif /* WXPOOL_URING_H */
