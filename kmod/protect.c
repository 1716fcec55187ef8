// SPDX-License-Identifier: GPL-2.0-only
/*
 * wxpool: PROTECT seals pages, all of a vector or none
 *
 * Under the context's lock, so that no fault reads a state meanwhile:
 *
 * 1. each page must be OPEN and the pool's; it changes its state, and waits
 *    for faults in flight;
 * 2. the ranges are unmapped, with which the last PTE that could write is gone
 *    from all processes and TLBs;
 * 3. whoever still holds a reference can write through a pin: all pages go
 *    back to OPEN. Nobody can have read or run them in between.
 *
 * The core's own batches hold no references to them: the pages are on no LRU, and
 * W views cannot be locked in memory (view.c).
 *
 * On architectures whose instruction caches do not follow stores (arm64), the
 * core makes them agree when it maps a page executable for the first time
 * (set_pte_at and PG_dcache_clean): every page comes here fresh, and is never
 * written again.
 */
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "internal.h"

/* One PROTECT on its way */
struct wxpool_seal {
	struct wxpool_context *ctx;
	struct wxpool_pool *pool;
	const struct wxpool_protect_range *ranges;
	u32 nr_ranges;
	unsigned long done;		/* pages that have changed their state, from the first */
};

typedef int (*wxpool_page_fn)(struct wxpool_seal *seal, struct wxpool_page *page,
			      enum wxpool_state to);

static int wxpool_walk_range(struct wxpool_seal *seal, const struct wxpool_protect_range *range,
			     wxpool_page_fn fn)
{
	pgoff_t pgoff = range->offset >> PAGE_SHIFT;
	pgoff_t end = pgoff + (range->length >> PAGE_SHIFT);
	struct wxpool_page *page;
	int ret;

	for (; pgoff < end; pgoff++) {
		page = wxpool_find_page(seal->ctx, pgoff);
		if (!page || page->region->pool != seal->pool)
			return -ENOENT;
		ret = fn(seal, page, range->prot);
		if (ret)
			return ret;
		cond_resched();
	}
	return 0;
}

/* Calls @fn for each page in order, until it returns other than 0. */
static int wxpool_walk(struct wxpool_seal *seal, wxpool_page_fn fn)
{
	u32 i;
	int ret = 0;

	lockdep_assert_held_write(&seal->ctx->lock);
	for (i = 0; i < seal->nr_ranges && !ret; i++)
		ret = wxpool_walk_range(seal, &seal->ranges[i], fn);
	return ret;
}

static int wxpool_seal_page(struct wxpool_seal *seal, struct wxpool_page *page,
			    enum wxpool_state to)
{
	if (fatal_signal_pending(current))
		return -EINTR;
	if (wxpool_state(page) != WXPOOL_OPEN)
		return -EPERM;
	if (PageHWPoison(wxpool_page(page)))
		return -EHWPOISON;
	wxpool_settle_page(page, to);
	--*wxpool_nr_pages(seal->ctx, WXPOOL_OPEN);
	++*wxpool_nr_pages(seal->ctx, to);
	seal->done++;
	return 0;
}

static int wxpool_reopen_page(struct wxpool_seal *seal, struct wxpool_page *page,
			      enum wxpool_state to)
{
	if (!seal->done)
		return 1;
	wxpool_settle_page(page, WXPOOL_OPEN);
	++*wxpool_nr_pages(seal->ctx, WXPOOL_OPEN);
	--*wxpool_nr_pages(seal->ctx, to);
	seal->done--;
	return 0;
}

static int wxpool_check_pin(struct wxpool_seal *seal, struct wxpool_page *page,
			    enum wxpool_state to)
{
	return page_count(wxpool_page(page)) > 1 ? -EBUSY : 0;
}

/* Ranges that adjoin together: each call may interrupt other processors. */
static void wxpool_unmap_ranges(struct wxpool_seal *seal)
{
	const struct wxpool_protect_range *range = seal->ranges;
	u64 first = range->offset, stop = first;

	for (; range < seal->ranges + seal->nr_ranges; range++) {
		if (range->offset != stop) {
			wxpool_unmap(seal->ctx, first >> PAGE_SHIFT,
				     (stop - first) >> PAGE_SHIFT);
			first = range->offset;
		}
		stop = range->offset + range->length;
	}
	wxpool_unmap(seal->ctx, first >> PAGE_SHIFT, (stop - first) >> PAGE_SHIFT);
}

static int wxpool_seal_pages(struct wxpool_seal *seal)
{
	int err;

	err = wxpool_walk(seal, wxpool_seal_page);
	if (err)
		goto err_reopen;
	wxpool_unmap_ranges(seal);
	/*
	 * Pairs with GUP-fast, which takes its reference and then looks at the
	 * PTE again: it finds the PTE gone, or we find the reference.
	 */
	smp_mb();
	err = wxpool_walk(seal, wxpool_check_pin);
	if (err)
		goto err_reopen;
	return 0;

err_reopen:
	wxpool_walk(seal, wxpool_reopen_page);
	return err;
}

int wxpool_op_protect(struct wxpool_context *ctx, union wxpool_args *args, const void *vec,
		      gfp_t gfp)
{
	const struct wxpool_protect *arg = &args->protect;
	struct wxpool_seal seal = { .ctx = ctx, .ranges = vec, .nr_ranges = arg->nr_ranges };
	int err;
	u32 i;

	if (!arg->pool || arg->flags || !arg->nr_ranges)
		return -EINVAL;
	for (i = 0; i < seal.nr_ranges; i++) {
		if (seal.ranges[i].__reserved || !seal.ranges[i].prot ||
		    seal.ranges[i].prot >= WXPOOL_NR_STATES)
			return -EINVAL;
		err = wxpool_check_pages(seal.ranges[i].offset, seal.ranges[i].length);
		if (err)
			return err;
	}
	err = wxpool_lock(ctx, gfp);
	if (err)
		return err;
	seal.pool = wxpool_pool_find(ctx, arg->pool);
	if (ctx->info.frozen)
		err = -EROFS;
	else if (!seal.pool)
		err = -ENOENT;
	else
		err = wxpool_seal_pages(&seal);
	up_write(&ctx->lock);
	return err;
}
