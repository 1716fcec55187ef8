// SPDX-License-Identifier: MIT
/*
 * Messages between an owner and an executor: one is one packet of a SOCK_SEQPACKET socket, so
 * it is there as a whole or not at all.
 *
 * No call of these blocks in the kernel for longer than it is to wait: they poll, and do
 * not wait then. A signal does not end them.
 */
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "remote.h"

#ifndef SCM_PIDFD
#define SCM_PIDFD	4
#endif

#define MAX_CONTROL	512

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* When @ms will be over; a negative number never is. */
static int64_t deadline_of(int ms)
{
	return ms < 0 ? -1 : now() + ms;
}

static int wait_for(int socket, short events, int64_t deadline)
{
	struct pollfd p = { .fd = socket, .events = events };
	int64_t left = -1;
	int n;

	do {
		if (deadline >= 0) {
			left = deadline - now();
			left = left > 0 ? left : 0;
		}
		n = poll(&p, 1, (int)left);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n ? 0 : -ETIMEDOUT;
}

static bool try_again(ssize_t n)
{
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

static int error_of_peer(void)
{
	return errno == ECONNRESET || errno == ENOTCONN ? -EPIPE : -errno;
}

int message_check_socket(int socket)
{
	int type = 0, domain = 0;
	socklen_t size = sizeof(int);

	if (getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &size) ||
	    getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &size))
		return -EINVAL;
	return type == SOCK_SEQPACKET && domain == AF_UNIX ? 0 : -EINVAL;
}

/* @pid: the process that began. In a child of it, what that has is left alone. */
void message_close_socket(int socket, pid_t pid)
{
	if (getpid() == pid)
		shutdown(socket, SHUT_RDWR);
	close(socket);
}

/* @fd: to go with it, or -1. If it fails, nothing was sent. */
int message_send(int socket, const struct iovec *iov, size_t nr, int fd, int ms)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .room = { 0 } };
	struct msghdr m = { .msg_iov = (struct iovec *)iov, .msg_iovlen = nr };
	int64_t deadline = deadline_of(ms);
	ssize_t n;
	int err;

	if (fd >= 0) {
		m.msg_control = control.room;
		m.msg_controllen = sizeof(control.room);
		*CMSG_FIRSTHDR(&m) = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(sizeof(int)),
			.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS,
		};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &fd, sizeof(fd));
	}
	do {
		err = wait_for(socket, POLLOUT, deadline);
		if (err)
			return err;
		n = sendmsg(socket, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (try_again(n));
	return n < 0 ? error_of_peer() : 0;
}

static bool has_descriptors(const struct cmsghdr *c)
{
	return c->cmsg_level == SOL_SOCKET &&
	       (c->cmsg_type == SCM_RIGHTS || c->cmsg_type == SCM_PIDFD);
}

/* The first descriptor becomes @fd, if one is wanted. Tells how many there are. */
static size_t take_descriptors(struct msghdr *m, int *fd)
{
	struct cmsghdr *c;
	size_t i, nr = 0;
	int got;

	for (c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (!has_descriptors(c))
			continue;
		for (i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
			memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof(got));
			if (fd && !nr && c->cmsg_type == SCM_RIGHTS)
				*fd = got;
			else
				close(got);
			nr++;
		}
	}
	return nr;
}

/*
 * @fd: receives the descriptor that has to be there, or NULL if there may be none. Others
 * are closed. Returns the size.
 */
ssize_t message_receive(int socket, void *buf, size_t size, int *fd, int ms)
{
	union {
		char room[MAX_CONTROL];
		struct cmsghdr align;
	} control;
	struct iovec iov = { buf, size };
	int64_t deadline = deadline_of(ms);
	struct msghdr m;
	ssize_t n;
	int err;

	if (fd)
		*fd = -1;
	do {
		err = wait_for(socket, POLLIN, deadline);
		if (err)
			return err;
		m = (struct msghdr){ .msg_iov = &iov, .msg_iovlen = 1,
				     .msg_control = control.room,
				     .msg_controllen = sizeof(control.room) };
		n = recvmsg(socket, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (try_again(n));
	if (n < 0)
		return error_of_peer();
	if (take_descriptors(&m, fd) == (fd ? 1 : 0) && n &&
	    !(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return n;
	if (fd && *fd >= 0)
		close(*fd);
	/* An empty packet is as good as the end. */
	return n ? -EPROTO : -EPIPE;
}
