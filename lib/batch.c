// SPDX-License-Identifier: MIT
/* Installs for several pools, submitted together. */
#include <errno.h>

#include "internal.h"

/* Submitted together; their ranges lie one after the other in w->ranges. */
struct queue {
	struct wxp_item *items[RING_SIZE];
	struct wxpool_install ops[RING_SIZE];
	int results[RING_SIZE];
	unsigned int nr, nr_ranges;
};

/* What the ring did not take or not know, or what a policy forbids by a ring. */
static bool needs_ioctl(int result)
{
	return result == -EOPNOTSUPP || result == -EACCES;
}

static void queue_flush(struct wxp *w, struct queue *q)
{
	unsigned int i, done = q->nr ? ring_run(w, q->ops, q->results, q->nr) : 0;
	int ret;

	for (i = 0; i < q->nr; i++) {
		ret = i < done ? q->results[i] : -EOPNOTSUPP;
		q->items[i]->result = install_done(w, &q->ops[i], ret);
	}
	for (i = 0; i < q->nr; i++)
		if (needs_ioctl(q->items[i]->result))
			q->items[i]->result = install_locked(w, q->items[i]->pool,
							     q->items[i]->pieces, q->items[i]->nr);
	q->nr = 0;
	q->nr_ranges = 0;
}

static void queue_add(struct wxp *w, struct queue *q, struct wxp_item *item)
{
	if (q->nr == RING_SIZE || item->nr > MAX_BATCH - q->nr_ranges)
		queue_flush(w, q);
	item->result = install_prepare(w, item->pool, item->pieces, item->nr, &q->ops[q->nr],
				       w->ranges + q->nr_ranges);
	if (item->result)
		return;
	q->items[q->nr++] = item;
	q->nr_ranges += (unsigned int)item->nr;
}

static void run_items(struct wxp *w, struct wxp_item *items, size_t nr)
{
	struct queue q = { .nr = 0 };
	bool ring = w->fd >= 0 && nr > 1 && !ring_open(w);
	struct wxp_item *item;

	for (item = items; item < items + nr; item++) {
		if (ring && item->pieces && item->nr && install_fits(item->pieces, item->nr)) {
			queue_add(w, &q, item);
			continue;
		}
		queue_flush(w, &q);
		item->result = install_locked(w, item->pool, item->pieces, item->nr);
	}
	queue_flush(w, &q);
}

WXP_EXPORT int wxp_install_batch(struct wxp *w, struct wxp_item *items, size_t nr)
{
	int ret = wxp_enter_change(w);
	size_t i;

	if (ret)
		return ret;
	if (items && nr)
		run_items(w, items, nr);
	else
		ret = -EINVAL;
	for (i = 0; i < nr && !ret; i++)
		ret = items[i].result;
	wxp_leave(w);
	return ret;
}
