// SPDX-License-Identifier: MIT
/*
 * The executor's side of a connection: maps what an owner makes, and does what it says.
 *
 * Everything is mapped at the beginning, also where nothing is installed yet: the device
 * shows what is there when it is touched. So the descriptor is needed no longer, and a
 * module is no change of the executor's mappings.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "remote.h"

#define MANY_ZEROS	(16u << 10)	/* bytes: fewer are stored faster */
#define MISC_MAJOR	10		/* of Linux's small devices, as /dev/wxpool is one */

union message {
	struct remote_request head;
	char bytes[WXP_REMOTE_MAX_MESSAGE];
};

struct wxp_executor {
	int socket;
	pid_t pid;
	char *base;
	uint64_t window, code, constants;
	uint64_t results[WXP_REMOTE_MAX_OPS];
	union message in;
};

static int check_hello(const struct remote_hello *h, ssize_t size)
{
	if (size != sizeof(*h) || h->type != REMOTE_HELLO || h->version != REMOTE_VERSION ||
	    !h->context || h->flags & ~(uint32_t)REMOTE_FLAGS || h->reserved)
		return -EPROTO;
	if (h->window > MAX_WINDOW || h->window % BLOCK || h->code % BLOCK ||
	    h->constants % BLOCK || !h->code || h->code >= h->constants ||
	    h->constants >= h->window)
		return -EPROTO;
	return 0;
}

static int call_device(int fd, unsigned long op, void *arg)
{
	return ioctl(fd, op, arg) ? -errno : 0;
}

/* An owner's mappings would be of another kind, and its own code in its power. */
static int check_not_owner(int fd, uint64_t context)
{
	struct wxpool_free nothing = { .size = sizeof(nothing), .context = context };

	return call_device(fd, WXPOOL_IOC_FREE, &nothing) == -EINVAL ? -EXDEV : 0;
}

/* Of what is not such a device, nothing is asked. */
static int check_device(int fd, uint64_t context)
{
	struct wxpool_info info = { .size = sizeof(info), .context = context };
	struct stat st;
	int err;

	if (fstat(fd, &st) || !S_ISCHR(st.st_mode) || major(st.st_rdev) != MISC_MAJOR)
		return -EPROTO;
	err = call_device(fd, WXPOOL_IOC_INFO, &info);
	if (err)
		return err == -EACCES || err == -EPERM ? err : -EPROTO;
	if (info.abi_version != WXPOOL_ABI_VERSION || info.context != context ||
	    info.space < MAX_WINDOW)
		return -EPROTO;
	return check_not_owner(fd, context);
}

static int map_view(struct wxp_executor *e, uint64_t start, uint64_t end, int prot, int fd)
{
	void *p = mmap(e->base + start, end - start, prot, MAP_SHARED | MAP_FIXED, fd,
		       (off_t)start);

	if (p == MAP_FAILED)
		return errno == EAGAIN ? -ENOMEM : -errno;
	return 0;
}

static int map_window(struct wxp_executor *e, const struct remote_hello *h, int fd)
{
	int err;

	e->base = window_reserve(e->window);
	if (!e->base)
		return -ENOMEM;
	err = map_view(e, 0, e->code, kernel_code_prot(h->flags), fd);
	if (!err)
		err = map_view(e, e->code, e->constants, PROT_READ, fd);
	if (err)
		return err;
	madvise(e->base + e->constants, e->window - e->constants, MADV_NOHUGEPAGE);
	return mprotect(e->base + e->constants, e->window - e->constants,
			PROT_READ | PROT_WRITE) ? -ENOMEM : 0;
}

static int send_welcome(const struct wxp_executor *e)
{
	struct remote_welcome welcome = {
		.type = REMOTE_WELCOME,
		.version = REMOTE_VERSION,
		.base = (uintptr_t)e->base,
	};
	struct iovec iov = { &welcome, sizeof(welcome) };

	return message_send(e->socket, &iov, 1, -1, REMOTE_PATIENCE);
}

static int attach_to(struct wxp_executor *e, const struct remote_hello *h, int fd)
{
	int err = check_device(fd, h->context);

	if (err)
		return err;
	e->window = h->window;
	e->code = h->code;
	e->constants = h->constants;
	err = map_window(e, h, fd);
	return err ? err : send_welcome(e);
}

static int receive_hello(struct wxp_executor *e)
{
	struct remote_hello hello;
	int fd, err;
	ssize_t n = message_receive(e->socket, &hello, sizeof(hello), &fd, REMOTE_PATIENCE);

	if (n < 0)
		return (int)n;
	err = check_hello(&hello, n);
	if (!err)
		err = attach_to(e, &hello, fd);
	close(fd);
	return err;
}

static void executor_delete(struct wxp_executor *e)
{
	if (e->base)
		munmap(e->base, e->window);
	free(e);
}

static int attach(struct wxp_executor *e)
{
	int cancel = cancel_disable(), err = sync_cores();

	if (!err)
		err = receive_hello(e);
	if (err)
		shutdown(e->socket, SHUT_RDWR);
	cancel_restore(cancel);
	return err;
}

WXP_EXPORT int wxp_executor_attach(int socket, struct wxp_executor **out)
{
	struct wxp_executor *e;
	int err;

	if (!out || message_check_socket(socket))
		return -EINVAL;
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->socket = socket;
	e->pid = getpid();
	err = attach(e);
	if (err)
		executor_delete(e);
	else
		*out = e;
	return err;
}

/* The things to do, of a message that check_message() has checked */
static const struct remote_op *ops_of(const struct wxp_executor *e)
{
	return (const struct remote_op *)(e->in.bytes + sizeof(e->in.head));
}

static bool is_op(const struct wxp_executor *e, const struct remote_op *op)
{
	return remote_op_fits(op->what, op->offset, op->size, e->code, e->constants, e->window) &&
	       (op->what == WXP_REMOTE_CALL || !op->value);
}

/* All of it, before any of it is done */
static int check_message(const struct wxp_executor *e, size_t size)
{
	const struct remote_request *head = &e->in.head;
	const struct remote_op *op = ops_of(e);
	size_t expected = sizeof(*head);
	uint32_t i;

	if (size < expected || head->type != REMOTE_REQUEST || !head->nr ||
	    head->nr > WXP_REMOTE_MAX_OPS || size < expected + head->nr * sizeof(*op))
		return -EPROTO;
	expected += head->nr * sizeof(*op);
	for (i = 0; i < head->nr; i++) {
		if (!is_op(e, &op[i]))
			return -EPROTO;
		if (op[i].what == WXP_REMOTE_WRITE)
			expected += op[i].size;
	}
	return expected == size ? 0 : -EPROTO;
}

static uint64_t call(const char *addr, uint64_t arg)
{
	uint64_t (*function)(uint64_t value);

	memcpy(&function, &addr, sizeof(function));
	return function(arg);
}

/* Many pages of zeros are given back: what replaces them is zero, and nothing until used. */
static void store_zeros(char *p, size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), before = -(uintptr_t)p & (page - 1), whole;

	whole = size < MANY_ZEROS ? 0 : (size - before) & ~(page - 1);
	if (!whole || madvise(p + before, whole, MADV_DONTNEED)) {
		memset(p, 0, size);
		return;
	}
	memset(p, 0, before);
	memset(p + before + whole, 0, size - before - whole);
}

/* No source means zeros. */
static void store(char *p, const void *src, size_t size)
{
	if (src)
		memcpy(p, src, size);
	else
		store_zeros(p, size);
}

/* Returns the number of calls. */
static uint32_t do_message(struct wxp_executor *e)
{
	const struct remote_op *op = ops_of(e), *end = op + e->in.head.nr;
	const char *data = (const char *)end;
	uint32_t nr = 0;

	for (; op < end; op++) {
		if (op->what == WXP_REMOTE_WRITE) {
			store(e->base + op->offset, data, op->size);
			data += op->size;
		} else if (op->what == WXP_REMOTE_ZERO) {
			store(e->base + op->offset, NULL, op->size);
		} else {
			e->results[nr++] = call(e->base + op->offset, op->value);
		}
	}
	return nr;
}

static int send_answer(const struct wxp_executor *e, uint32_t nr)
{
	struct remote_answer head = {
		.type = REMOTE_ANSWER, .nr = nr, .serial = e->in.head.serial,
	};
	struct iovec iov[] = {
		{ &head, sizeof(head) },
		{ (void *)e->results, nr * sizeof(e->results[0]) },
	};

	return message_send(e->socket, iov, 2, -1, -1);
}

/* A place that had other code before: no thread may go on with that. */
static int serve_one(struct wxp_executor *e)
{
	ssize_t n = message_receive(e->socket, &e->in, sizeof(e->in), NULL, -1);
	int err = n < 0 ? (int)n : check_message(e, (size_t)n);

	if (!err)
		err = sync_cores();
	return err ? err : send_answer(e, do_message(e));
}

WXP_EXPORT int wxp_executor_serve(struct wxp_executor *e)
{
	int err;

	if (!e)
		return -EINVAL;
	do {
		err = serve_one(e);
	} while (!err);
	shutdown(e->socket, SHUT_RDWR);
	return err;
}

static bool is_piece(const struct wxp_executor *e, const struct wxp_piece *p)
{
	return remote_op_fits(WXP_REMOTE_WRITE, (uintptr_t)p->addr - (uintptr_t)e->base, p->size,
			      e->code, e->constants, e->window);
}

WXP_EXPORT int wxp_executor_write(const struct wxp_executor *e, const struct wxp_piece *pieces,
				  size_t nr)
{
	size_t i;
	int err;

	if (!e || (nr && !pieces))
		return -EINVAL;
	for (i = 0; i < nr; i++)
		if (!is_piece(e, &pieces[i]))
			return -EINVAL;
	err = sync_cores();
	if (err)
		return err;
	for (i = 0; i < nr; i++)
		store(pieces[i].addr, pieces[i].src, pieces[i].size);
	return 0;
}

WXP_EXPORT void wxp_executor_get_window(const struct wxp_executor *e, void **base, size_t *size)
{
	*base = e->base;
	*size = e->window;
}

WXP_EXPORT void wxp_executor_detach(struct wxp_executor *e)
{
	if (!e)
		return;
	message_close_socket(e->socket, e->pid);
	executor_delete(e);
}
