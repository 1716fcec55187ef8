/* SPDX-License-Identifier: MIT */
/*
 * Code that one process makes and another one runs.
 *
 * The *owner* opens a context (kernel backend, best with WXP_COMPILE_ONLY) and places,
 * installs and frees as usual; that takes no message. The *executor* gets the context's
 * descriptor over a socket and maps code and constants into a window of its own. It has
 * variables of its own. Everything has the same offset in both windows, so relative
 * addresses are right as they are; absolute ones are relocated by wxp_remote_addr(). A
 * module needs one message once it is installed (its variables, and what is to be called
 * first), and one before it is freed (what is to be called last).
 *
 * Each end is one of a connected pair of Unix sockets of the type SOCK_SEQPACKET. Who may
 * connect is up to who makes the socket: the executor runs what its owner tells it to.
 * Documentation/remote.md has the protocol, and what each side can do to the other.
 *
 * Functions return 0 or a negative errno, as those of <wxpool.h> do. No function raises
 * SIGPIPE. None but wxp_executor_serve() is a cancellation point. Errors of both sides:
 *
 * -EINVAL: an argument is malformed: no pointer, no connected SOCK_SEQPACKET socket
 * -EPIPE: the other side has closed the connection, or has died; or the connection was
 *	ended here before, because of one of the next two
 * -EPROTO: the other side said what the protocol does not allow, or speaks another
 *	version. The connection is ended
 * -ETIMEDOUT: the other side did not answer in time. The connection is ended
 * -ENOMEM: out of memory, or of addresses
 */
#ifndef WXPOOL_REMOTE_H
#define WXPOOL_REMOTE_H

#include <stddef.h>
#include <stdint.h>

#include "wxpool.h"

#ifdef __cplusplus
extern "C" {
#endif

/* -------------------------------------------------------------------------
 * 1. The owner's side
 */

/** struct wxp_remote - the owner's end of a connection */
struct wxp_remote;

/**
 * wxp_remote_connect() - give an executor access to a context
 * @wxp: the context, which may have any number of executors
 * @socket: the socket, which is the connection's if this succeeds. If not, it stays the
 *	caller's, but is shut down once anything was sent
 * @remote: receives the connection
 *
 * Sends the descriptor and the layout of the window, and waits up to ten seconds for the
 * answer of wxp_executor_attach(). The connection does not depend on the context's life:
 * after wxp_close() the executor's code is gone, and its variables can still be written. In
 * a child that fork() made, it can only be closed.
 *
 * Return: 0, or an error of both sides, -EOPNOTSUPP (not the kernel backend), -ESTALE (a
 * forked child that has not made code yet), or an error of all functions.
 */
int wxp_remote_connect(struct wxp *wxp, int socket, struct wxp_remote **remote) WXP_MUST_CHECK;

/**
 * wxp_remote_set_timeout() - how long to wait for an answer
 * @remote: the connection
 * @ms: milliseconds; 0 means for ever, and is the default
 *
 * An answer comes when what a message calls has returned.
 *
 * Return: 0, or -EINVAL (no connection, or more than a day).
 */
int wxp_remote_set_timeout(struct wxp_remote *remote, unsigned int ms);

/**
 * wxp_remote_addr() - where the executor has something
 * @remote: the connection
 * @addr: an address in the context's window
 *
 * Return: the address in the executor, or 0 (not in the window).
 */
uint64_t wxp_remote_addr(const struct wxp_remote *remote, const void *addr);

/**
 * enum wxp_remote_what - what the executor is to do
 * @WXP_REMOTE_WRITE: store bytes to variables
 * @WXP_REMOTE_ZERO: store zeros to variables
 * @WXP_REMOTE_CALL: call a function of the type uint64_t function(uint64_t)
 */
enum wxp_remote_what {
	WXP_REMOTE_WRITE = 1,
	WXP_REMOTE_ZERO = 2,
	WXP_REMOTE_CALL = 3,
};

/**
 * struct wxp_remote_op - one thing to do
 * @what: a &enum wxp_remote_what
 * @addr: the owner's address of the variables or the function
 * @src: the bytes to store (WRITE)
 * @size: their number, not 0 (WRITE, ZERO)
 * @value: the argument; receives what the function returned (CALL)
 */
struct wxp_remote_op {
	enum wxp_remote_what what;
	void *addr;
	const void *src;
	size_t size;
	uint64_t value;
};

/** WXP_REMOTE_MAX_OPS - things to do that fit in one message */
#define WXP_REMOTE_MAX_OPS	512

/** WXP_REMOTE_MAX_MESSAGE - bytes of a message: 16, 24 for each thing to do, and what is stored */
#define WXP_REMOTE_MAX_MESSAGE	65536

/**
 * wxp_remote_do() - have the executor store and call
 * @remote: the connection
 * @ops: what to do, in this order
 * @nr: the number of things, not 0
 *
 * One message and one answer, if it fits; else several. All threads of the executor see
 * what was installed before (wxp_sync_cores()), so they may run it once they learn of
 * it. Variables of the executor are zero at first, but keep what they were when a pool is
 * freed: a module that is not the first at its place has all of its variables written.
 *
 * Calls of several threads happen one after the other. A function that crashes ends the
 * executor.
 *
 * Return: 0, or an error of both sides, -EINVAL (also: not within variables or code; then
 * nothing was done), -EFAULT (a source cannot be read), -EMSGSIZE, -ENOBUFS (the socket
 * does not take such a message) or -EXDEV (a forked child). After any other error than
 * -EINVAL the first of them may have been done.
 */
int wxp_remote_do(struct wxp_remote *remote, struct wxp_remote_op *ops, size_t nr)
	WXP_MUST_CHECK;

/**
 * wxp_remote_write() - store to the executor's variables
 * @remote: the connection
 * @pieces: what goes where; no source means zeros
 * @nr: their number, not 0
 *
 * Return: as wxp_remote_do().
 */
int wxp_remote_write(struct wxp_remote *remote, const struct wxp_piece *pieces, size_t nr)
	WXP_MUST_CHECK;

/**
 * wxp_remote_call() - call a function in the executor
 * @remote: the connection
 * @fn: the owner's address of a function of the type uint64_t function(uint64_t)
 * @arg: its argument
 * @result: receives what it returns, or NULL
 *
 * Return: as wxp_remote_do().
 */
int wxp_remote_call(struct wxp_remote *remote, const void *fn, uint64_t arg, uint64_t *result)
	WXP_MUST_CHECK;

/**
 * wxp_remote_close() - end a connection
 * @remote: the connection, or NULL
 *
 * Closes the socket. The executor's wxp_executor_serve() returns; its code stays as long as
 * the context has it. The last call on its connection.
 */
void wxp_remote_close(struct wxp_remote *remote);

/* -------------------------------------------------------------------------
 * 2. The executor's side
 */

/** struct wxp_executor - the executor's end of a connection */
struct wxp_executor;

/**
 * wxp_executor_attach() - map the code of another process
 * @socket: the socket, which is the connection's if this succeeds. If not, it stays the
 *	caller's, but is shut down
 * @executor: receives the connection
 *
 * Waits up to ten seconds for wxp_remote_connect() of the owner. Maps all that will be
 * needed, once: code to run, constants to read, and variables. The descriptor is closed
 * then; nothing but the owner can add to the context or change it anyhow. Needs no access
 * to /dev/wxpool.
 *
 * Return: 0, or an error of both sides, -EPROTO (also: what came is no context, or there
 * are too many open files), -EXDEV (this process is the owner), -EACCES, -EPERM (a
 * security policy forbids it, or /dev is mounted noexec), -ENOSYS (before Linux 4.16).
 */
int wxp_executor_attach(int socket, struct wxp_executor **executor) WXP_MUST_CHECK;

/**
 * wxp_executor_serve() - do what the owner says, until it goes
 * @executor: the connection, served by one thread
 *
 * What the owner calls runs in this thread. It must return, and not call functions of this
 * header on @executor.
 *
 * Return: -EPIPE when the owner is gone, or another error of both sides. What is mapped
 * stays, and can be run.
 */
int wxp_executor_serve(struct wxp_executor *executor);

/**
 * wxp_executor_write() - store to variables, for an owner with a protocol of its own
 * @executor: the connection
 * @pieces: what goes where, in this process; no source means zeros
 * @nr: their number
 *
 * For executors that are told what to do by other means than wxp_executor_serve(), as
 * LLVM's are. All threads of this process see what was installed before, as after
 * wxp_remote_do(). Zeros take no memory if there are many of them (16 KiB). May be called by
 * several threads.
 *
 * Return: 0, or -EINVAL (not within variables, or a size is 0; then nothing was done).
 */
int wxp_executor_write(const struct wxp_executor *executor, const struct wxp_piece *pieces,
		       size_t nr) WXP_MUST_CHECK;

/** wxp_executor_get_window() - where the executor has code, constants and variables */
void wxp_executor_get_window(const struct wxp_executor *executor, void **base, size_t *size);

/**
 * wxp_executor_detach() - end a connection, and unmap the code
 * @executor: the connection, or NULL
 *
 * Closes the socket. The code must not run any more, and nobody serve. The last call on its
 * connection.
 */
void wxp_executor_detach(struct wxp_executor *executor);

#ifdef __cplusplus
}
#endif

#endif /* WXPOOL_REMOTE_H */
