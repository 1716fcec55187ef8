// SPDX-License-Identifier: MIT
/*
 * Installs that a ring of the caller's does: what is to be there before, and after.
 *
 * An operation is in its context's list from prepare to complete, so that what comes back
 * can be checked, and it holds its pool.
 */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define MAX_ERRNO	4095

struct wxp_op {
	struct wxp_op *next;
	struct window *w;
	struct pool *pool;
	struct wxpool_install arg;
	size_t nr;
	struct wxp_piece *pieces;		/* copies; behind the ranges */
	struct wxpool_install_range ranges[];
};

static struct wxp_op *op_new(const struct wxp_piece *pieces, size_t nr)
{
	struct wxp_op *op;

	op = malloc(sizeof(*op) + nr * (2 * sizeof(op->ranges[0]) + sizeof(*pieces)));
	if (!op)
		return NULL;
	op->nr = nr;
	op->pieces = (struct wxp_piece *)(op->ranges + 2 * nr);
	memcpy(op->pieces, pieces, nr * sizeof(*pieces));
	return op;
}

WXP_EXPORT int wxp_install_prepare(struct wxp *x, uint32_t id, const struct wxp_piece *pieces,
				   size_t nr, struct wxp_op **out)
{
	int err = install_check(pieces, nr, id);
	struct wxp_op *op;
	uint32_t n;

	if (err)
		return err;
	if (!x || !out)
		return -EINVAL;
	if (x->backend != WXP_BACKEND_KERNEL)
		return -EOPNOTSUPP;
	op = op_new(pieces, nr);
	if (!op)
		return -ENOMEM;
	err = install_begin(x, id, op->pieces, nr, op->ranges, &n, &op->pool);
	if (err) {
		free(op);
		return err;
	}
	pthread_mutex_lock(&x->lock);
	op->w = x->window;
	op->next = x->ops;
	x->ops = op;
	context_leave(x);
	kernel_install_arg(op->w, &op->arg, id, op->ranges, n);
	*out = op;
	return 0;
}

WXP_EXPORT void *wxp_op_arg(struct wxp_op *op)
{
	return &op->arg;
}

static int op_take(struct wxp *x, const struct wxp_op *op)
{
	struct wxp_op **link;
	int err = context_enter(x);

	if (err)
		return err;
	for (link = &x->ops; *link && *link != op;)
		link = &(*link)->next;
	if (*link)
		*link = op->next;
	else
		err = -EINVAL;
	context_leave(x);
	return err;
}

/* What the ring did not take or not know, or what a policy forbids by a ring */
static bool needs_ioctl(int result)
{
	return result == -EOPNOTSUPP || result == -EACCES || result == -EPERM;
}

WXP_EXPORT int wxp_install_complete(struct wxp *x, struct wxp_op *op, int result)
{
	int err = result > 0 || result < -MAX_ERRNO ? -EINVAL : op_take(x, op);

	if (err)
		return err;
	if (needs_ioctl(result))
		result = op->w->backend->install(op->w, op->arg.pool, op->ranges,
						 op->arg.nr_ranges);
	else if (result == -ESTALE || kernel_is_lost(op->w))
		result = -EBADF;	/* another file's: /dev/null, for one, takes any command */
	install_end(x, op->w, op->pool, op->pieces, op->nr, result);
	free(op);
	return result;
}

/* In a child, and at the end */
void ops_forget(struct wxp *x)
{
	struct wxp_op *op;

	while ((op = x->ops)) {
		x->ops = op->next;
		free(op);
	}
}
