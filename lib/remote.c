// SPDX-License-Identifier: MIT
/*
 * The owner's side of a connection to an executor.
 *
 * What is sent needs no copy: a message is gathered from the caller's memory. One is
 * under way at a time, so that each answer is that of the last message.
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "remote.h"

#define MAX_TIMEOUT	(24u * 60 * 60 * 1000)

/* One message in the making */
struct batch {
	struct remote_request head;
	struct remote_op ops[WXP_REMOTE_MAX_OPS];
	struct iovec iov[2 + WXP_REMOTE_MAX_OPS];
	size_t nr_iov, size;
	uint32_t calls;
};

struct answer {
	struct remote_answer head;
	uint64_t results[WXP_REMOTE_MAX_OPS];
};

struct wxp_remote {
	/* Constant */
	int socket;
	pid_t pid;
	uintptr_t here;
	uint64_t there;
	uint64_t window, code, constants;

	pthread_mutex_t lock;		/* guards all that follows */
	bool broken;
	int ms;				/* to wait, or -1 */
	uint64_t serial;
	struct batch batch;
	struct answer answer;
};

/* What is to be said of the context, and the descriptor. */
static int describe(struct wxp *x, struct wxp_remote *r, struct remote_hello *hello)
{
	int err = context_enter(x), fd;
	struct window *w;

	if (err)
		return err;
	w = x->window;
	fd = w->fd;
	if (w->inherited)
		err = -ESTALE;
	else if (!w->backend->is_ours(w))
		err = -EBADF;
	r->here = (uintptr_t)w->base;
	r->window = w->size;
	r->code = (uint64_t)w->areas[CODE].end * WXP_LINE;
	r->constants = window_sealable(w);
	*hello = (struct remote_hello){
		.type = REMOTE_HELLO,
		.version = REMOTE_VERSION,
		.context = w->id,
		.window = r->window,
		.code = r->code,
		.constants = r->constants,
		.flags = w->flags & REMOTE_FLAGS,
	};
	context_leave(x);
	return err ? err : fd;
}

/* The executor may be anyone: a base that is none would make addresses of nothing. */
static int receive_welcome(struct wxp_remote *r)
{
	struct remote_welcome welcome;
	ssize_t n = message_receive(r->socket, &welcome, sizeof(welcome), NULL, REMOTE_PATIENCE);

	if (n < 0)
		return (int)n;
	if (n != sizeof(welcome) || welcome.type != REMOTE_WELCOME ||
	    welcome.version != REMOTE_VERSION || !welcome.base || welcome.base % BLOCK ||
	    welcome.base > INT64_MAX - r->window)
		return -EPROTO;
	r->there = welcome.base;
	return 0;
}

static int greet(struct wxp *x, struct wxp_remote *r)
{
	struct remote_hello hello;
	struct iovec iov = { &hello, sizeof(hello) };
	int fd = describe(x, r, &hello), err;

	if (fd < 0)
		return fd;
	err = message_send(r->socket, &iov, 1, fd, REMOTE_PATIENCE);
	if (!err)
		err = receive_welcome(r);
	if (err)
		shutdown(r->socket, SHUT_RDWR);
	return err;
}

static void remote_delete(struct wxp_remote *r)
{
	pthread_mutex_destroy(&r->lock);
	free(r);
}

WXP_EXPORT int wxp_remote_connect(struct wxp *x, int socket, struct wxp_remote **out)
{
	struct wxp_remote *r;
	int err, cancel;

	if (!x || !out || message_check_socket(socket))
		return -EINVAL;
	if (x->backend != WXP_BACKEND_KERNEL)
		return -EOPNOTSUPP;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->socket = socket;
	r->pid = getpid();
	r->ms = -1;
	pthread_mutex_init(&r->lock, NULL);
	cancel = cancel_disable();
	err = greet(x, r);
	cancel_restore(cancel);
	if (err)
		remote_delete(r);
	else
		*out = r;
	return err;
}

WXP_EXPORT int wxp_remote_set_timeout(struct wxp_remote *r, unsigned int ms)
{
	if (!r || ms > MAX_TIMEOUT)
		return -EINVAL;
	pthread_mutex_lock(&r->lock);
	r->ms = ms ? (int)ms : -1;
	pthread_mutex_unlock(&r->lock);
	return 0;
}

/* The offset of @addr, or one beyond the window */
static uint64_t offset_of(const struct wxp_remote *r, const void *addr)
{
	return (uintptr_t)addr - r->here;
}

WXP_EXPORT uint64_t wxp_remote_addr(const struct wxp_remote *r, const void *addr)
{
	uint64_t offset = offset_of(r, addr);

	return offset < r->window ? r->there + offset : 0;
}

static bool is_valid(const struct wxp_remote *r, const struct wxp_remote_op *op)
{
	uint64_t size = op->what == WXP_REMOTE_CALL ? 0 : op->size;

	return remote_op_fits(op->what, offset_of(r, op->addr), size, r->code, r->constants,
			      r->window) && (op->what != WXP_REMOTE_WRITE || op->src);
}

/* Adds @op from byte @done on, or as much of it as there is room for. Tells how much. */
static size_t batch_add(struct wxp_remote *r, const struct wxp_remote_op *op, size_t done)
{
	size_t size = op->what == WXP_REMOTE_CALL ? 0 : op->size - done, room;
	struct batch *b = &r->batch;

	room = WXP_REMOTE_MAX_MESSAGE - b->size - sizeof(b->ops[0]);
	if (op->what == WXP_REMOTE_WRITE) {
		if (size > room)
			size = room;
		b->iov[b->nr_iov++] = (struct iovec){ (char *)op->src + done, size };
		b->size += size;
	}
	b->size += sizeof(b->ops[0]);
	b->calls += op->what == WXP_REMOTE_CALL;
	b->ops[b->head.nr++] = (struct remote_op){
		.what = op->what,
		.size = (uint32_t)size,
		.offset = offset_of(r, op->addr) + done,
		.value = op->what == WXP_REMOTE_CALL ? op->value : 0,
	};
	return size;
}

static bool batch_has_room(const struct batch *b)
{
	return b->head.nr < WXP_REMOTE_MAX_OPS &&
	       b->size + sizeof(b->ops[0]) < WXP_REMOTE_MAX_MESSAGE;
}

/* Makes a message of what is left: from byte @done of ops[0] on. Returns what it ends before. */
static size_t batch_fill(struct wxp_remote *r, const struct wxp_remote_op *ops, size_t nr,
			 size_t *done)
{
	struct batch *b = &r->batch;
	size_t i;

	b->head = (struct remote_request){ .type = REMOTE_REQUEST, .serial = ++r->serial };
	b->size = sizeof(b->head);
	b->calls = 0;
	b->nr_iov = 2;
	for (i = 0; i < nr && batch_has_room(b); i++) {
		*done += batch_add(r, &ops[i], *done);
		if (ops[i].what != WXP_REMOTE_CALL && *done < ops[i].size)
			break;
		*done = 0;
	}
	b->iov[0] = (struct iovec){ &b->head, sizeof(b->head) };
	b->iov[1] = (struct iovec){ b->ops, b->head.nr * sizeof(b->ops[0]) };
	return i;
}

static int receive_answer(struct wxp_remote *r)
{
	const struct remote_answer *head = &r->answer.head;
	ssize_t n = message_receive(r->socket, &r->answer, sizeof(r->answer), NULL, r->ms);

	if (n < 0)
		return (int)n;
	if ((size_t)n != sizeof(*head) + r->batch.calls * sizeof(r->answer.results[0]) ||
	    head->type != REMOTE_ANSWER || head->nr != r->batch.calls ||
	    head->serial != r->serial)
		return -EPROTO;
	return 0;
}

/* An answer that is late would be taken for that of the next message. */
static int exchange(struct wxp_remote *r)
{
	int err = message_send(r->socket, r->batch.iov, r->batch.nr_iov, -1, r->ms);

	if (err && err != -EPIPE && err != -ETIMEDOUT)
		return err;	/* as if nothing had been tried */
	if (!err)
		err = receive_answer(r);
	if (err) {
		r->broken = true;
		shutdown(r->socket, SHUT_RDWR);
	}
	return err;
}

static void take_results(const struct wxp_remote *r, struct wxp_remote_op *ops, size_t nr)
{
	const uint64_t *result = r->answer.results;
	size_t i;

	for (i = 0; i < nr; i++)
		if (ops[i].what == WXP_REMOTE_CALL)
			ops[i].value = *result++;
}

static int do_all(struct wxp_remote *r, struct wxp_remote_op *ops, size_t nr)
{
	size_t i = 0, done = 0, n;
	int err;

	while (i < nr) {
		if (r->broken)
			return -EPIPE;
		n = batch_fill(r, ops + i, nr - i, &done);
		err = exchange(r);
		if (err)
			return err;
		take_results(r, ops + i, n);
		i += n;
	}
	return 0;
}

WXP_EXPORT int wxp_remote_do(struct wxp_remote *r, struct wxp_remote_op *ops, size_t nr)
{
	int err, cancel;
	size_t i;

	if (!r || !ops || !nr)
		return -EINVAL;
	for (i = 0; i < nr; i++)
		if (!is_valid(r, &ops[i]))
			return -EINVAL;
	/* A child's message would be the parent's too. */
	if (getpid() != r->pid)
		return -EXDEV;
	cancel = cancel_disable();
	pthread_mutex_lock(&r->lock);
	err = do_all(r, ops, nr);
	pthread_mutex_unlock(&r->lock);
	cancel_restore(cancel);
	return err;
}

WXP_EXPORT int wxp_remote_write(struct wxp_remote *r, const struct wxp_piece *pieces, size_t nr)
{
	struct wxp_remote_op *ops;
	size_t i;
	int err;

	if (!r || !pieces || !nr)
		return -EINVAL;
	ops = calloc(nr, sizeof(*ops));
	if (!ops)
		return -ENOMEM;
	for (i = 0; i < nr; i++)
		ops[i] = (struct wxp_remote_op){
			.what = pieces[i].src ? WXP_REMOTE_WRITE : WXP_REMOTE_ZERO,
			.addr = pieces[i].addr,
			.src = pieces[i].src,
			.size = pieces[i].size,
		};
	err = wxp_remote_do(r, ops, nr);
	free(ops);
	return err;
}

WXP_EXPORT int wxp_remote_call(struct wxp_remote *r, const void *fn, uint64_t arg,
			       uint64_t *result)
{
	struct wxp_remote_op op = {
		.what = WXP_REMOTE_CALL, .addr = (void *)(uintptr_t)fn, .value = arg,
	};
	int err = wxp_remote_do(r, &op, 1);

	if (!err && result)
		*result = op.value;
	return err;
}

WXP_EXPORT void wxp_remote_close(struct wxp_remote *r)
{
	if (!r)
		return;
	message_close_socket(r->socket, r->pid);
	remote_delete(r);
}
