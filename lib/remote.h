/* SPDX-License-Identifier: MIT */
/*
 * What an owner and an executor say to each other: Documentation/remote.md
 *
 * Both are on one machine, so numbers have its byte order. The receiver checks all that it
 * goes by; what it does not expect ends the connection.
 */
#ifndef WXP_REMOTE_H
#define WXP_REMOTE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "internal.h"
#include "wxpool-remote.h"

#define REMOTE_VERSION		1
#define REMOTE_PATIENCE		10000	/* ms, for the first messages */
#define REMOTE_FLAGS		(WXP_EXEC_ONLY | WXP_BTI)

enum remote_type {
	REMOTE_HELLO = 0x57585001,
	REMOTE_WELCOME,
	REMOTE_REQUEST,
	REMOTE_ANSWER,
};

/*
 * struct remote_hello - the owner's first message, with the descriptor
 * @context: the id of the device's context, not 0
 * @window: its size. All sizes and offsets are multiples of 2 MiB
 * @code: where code ends and constants begin
 * @constants: where constants end and variables begin
 * @flags: WXP_EXEC_ONLY and WXP_BTI, by which code is mapped
 * @reserved: 0
 */
struct remote_hello {
	uint32_t type;
	uint32_t version;
	uint64_t context;
	uint64_t window;
	uint64_t code;
	uint64_t constants;
	uint32_t flags;
	uint32_t reserved;
};

/* The executor's first message; @base: of its window, a multiple of 2 MiB */
struct remote_welcome {
	uint32_t type;
	uint32_t version;
	uint64_t base;
};

/* Followed by @nr of struct remote_op, and the bytes of all that are WXP_REMOTE_WRITE */
struct remote_request {
	uint32_t type;
	uint32_t nr;
	uint64_t serial;
};

/*
 * struct remote_op - one thing to do
 * @what: enum wxp_remote_what
 * @size: bytes to store, not 0; 0 for a call
 * @offset: in the window
 * @value: argument of a call, else 0
 */
struct remote_op {
	uint32_t what;
	uint32_t size;
	uint64_t offset;
	uint64_t value;
};

/* Followed by @nr results, of 64 bits each, of all calls in their order */
struct remote_answer {
	uint32_t type;
	uint32_t nr;
	uint64_t serial;
};

/* remote-message.c */
int message_check_socket(int socket);
void message_close_socket(int socket, pid_t pid);
int message_send(int socket, const struct iovec *iov, size_t nr, int fd, int ms);
ssize_t message_receive(int socket, void *buf, size_t size, int *fd, int ms);

/* May @op be done in a window that is so divided? */
static inline bool remote_op_fits(uint32_t what, uint64_t offset, uint64_t size, uint64_t code,
				  uint64_t constants, uint64_t window)
{
	if (what == WXP_REMOTE_CALL)
		return offset < code && !size;
	return (what == WXP_REMOTE_WRITE || what == WXP_REMOTE_ZERO) && size &&
	       offset >= constants && offset < window && size <= window - offset;
}

#endif /* WXP_REMOTE_H */
