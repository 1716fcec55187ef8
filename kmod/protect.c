// SPDX-License-Identifier: GPL-2.0-only
/*
 * wxpool: PROTECT seals pages, all of a vector or none
 *
 * Under the context's lock, so that no fault reads a state meanwhile:
 *
 * 1. each page must be OPEN and the pool's; it changes its state, and waits for faults in flight;
 * 2. all are unmapped: no PTE that could write is left in any process or TLB;
 * 3. whoever still holds a reference can write through a pin: all pages go back to OPEN. Nobody
 *    can have read or run them in between.
 *
 * The core's own batches hold no references: the pages are on no LRU, and W views cannot be locked
 * in memory (view.c). If instruction caches do not follow stores (arm64), the core makes them agree
 * when it first maps a page executable (PG_dcache_clean): a page comes here fresh.
 */
#include "internal.h"
#include "trace.h"

/* One PROTECT on its way */
struct wxpool_seal {
	struct wxpool_context *ctx;
	struct wxpool_pool *pool;
	const struct wxpool_protect_range *ranges;
	u32 nr_ranges;
	struct wxpool_ending ending;	/* pages that have still to be unmapped */
	u32 range;			/* where the next page is: its range, and bytes before it */
	u64 pos;
	pgoff_t pgoff;			/* of the last page, and what it is to be */
	enum wxpool_state prot;
};

/* The next page, with its @prot, or NULL after the last, or -ENOENT */
static struct wxpool_page *wxpool_next_page(struct wxpool_seal *seal)
{
	const struct wxpool_protect_range *range = &seal->ranges[seal->range];
	struct wxpool_page *page;

	if (seal->range == seal->nr_ranges)
		return NULL;
	seal->pgoff = (range->offset + seal->pos) >> PAGE_SHIFT;
	seal->prot = range->prot;
	seal->pos += PAGE_SIZE;
	if (seal->pos == range->length) {
		seal->range++;
		seal->pos = 0;
	}
	cond_resched();
	page = wxpool_find_page(seal->ctx, seal->pgoff);
	return page && page->region->pool == seal->pool ? page : ERR_PTR(-ENOENT);
}

static int wxpool_seal_page(struct wxpool_seal *seal, struct wxpool_page *page)
{
	if (IS_ERR(page))
		return PTR_ERR(page);
	if (wxpool_state(page) != WXPOOL_OPEN)
		return -EPERM;
	if (PageHWPoison(wxpool_page(page)))
		return -EHWPOISON;
	wxpool_settle_page(page, seal->prot);
	wxpool_unmap_later(&seal->ending, seal->pgoff, 1);
	--*wxpool_nr_pages(seal->ctx, WXPOOL_OPEN);
	++*wxpool_nr_pages(seal->ctx, seal->prot);
	return 0;
}

/* The first @nr, in the order in which they were sealed */
static void wxpool_reopen_pages(struct wxpool_seal *seal, unsigned long nr)
{
	seal->range = 0;
	seal->pos = 0;
	for (; nr; nr--) {
		wxpool_settle_page(wxpool_next_page(seal), WXPOOL_OPEN);
		++*wxpool_nr_pages(seal->ctx, WXPOOL_OPEN);
		--*wxpool_nr_pages(seal->ctx, seal->prot);
	}
}

static int wxpool_seal_pages(struct wxpool_seal *seal)
{
	struct wxpool_page *page;
	unsigned long nr;
	int err = 0;

	lockdep_assert_held_write(&seal->ctx->lock);
	for (nr = 0; !err && (page = wxpool_next_page(seal)); nr += !err)
		err = fatal_signal_pending(current) ? -EINTR : wxpool_seal_page(seal, page);
	if (!err) {
		wxpool_unmap_ended(&seal->ending);
		/*
		 * Pairs with GUP-fast, which takes its reference and then looks at the PTE again:
		 * it finds the PTE gone, or we find the reference.
		 */
		smp_mb();
		seal->range = 0;
		while (!err && (page = wxpool_next_page(seal)))
			err = page_count(wxpool_page(page)) > 1 ? -EBUSY : 0;
	}
	if (err)
		wxpool_reopen_pages(seal, nr);
	return err;
}

static void wxpool_trace_seal(const struct wxpool_seal *seal)
{
	const struct wxpool_protect_range *range = seal->ranges;
	u64 bytes = 0, exec = 0;

	for (; range < seal->ranges + seal->nr_ranges; range++) {
		bytes += range->length;
		exec += range->prot != WXPOOL_PROT_R ? range->length : 0;
	}
	trace_wxpool_protect(seal->ctx, seal->pool->id, seal->nr_ranges, bytes, exec);
}

int wxpool_op_protect(struct wxpool_context *ctx, union wxpool_args *args, const void *vec,
		      gfp_t gfp)
{
	const struct wxpool_protect *arg = &args->protect;
	struct wxpool_seal seal = {
		.ctx = ctx, .ranges = vec, .nr_ranges = arg->nr_ranges, .ending.ctx = ctx,
	};
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
	if (!err && trace_wxpool_protect_enabled())
		wxpool_trace_seal(&seal);
	up_write(&ctx->lock);
	return err;
}
