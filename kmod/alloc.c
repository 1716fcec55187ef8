// SPDX-License-Identifier: GPL-2.0-only
/*
 * wxpool: ALLOC grants zeroed pages to a pool, all of a vector or none
 *
 * 1. Without a lock, all pages are got and cleared, so that nothing of a former
 *    user is seen (I3).
 * 2. Under the context's lock they take their places. If one is taken, all come
 *    out again; nobody can have seen them.
 */
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "internal.h"

/* One ALLOC on its way */
struct wxpool_grant {
	struct wxpool_context *ctx;
	const struct wxpool_alloc_range *ranges;
	u32 nr_ranges;
	gfp_t gfp;
	unsigned long nr_pages;		/* in all ranges */
	unsigned long nr_missing;	/* charged, but not got yet */
	struct list_head pages;		/* those that have no place, by their lru */
	struct wxpool_region *region;	/* of those that have one; NULL once it is the pool's */
};

static int wxpool_check_grant(struct wxpool_grant *grant)
{
	u32 i;
	int err;

	for (i = 0; i < grant->nr_ranges; i++) {
		err = wxpool_check_pages(grant->ranges[i].offset, grant->ranges[i].length);
		if (err)
			return err;
		grant->nr_pages += grant->ranges[i].length >> PAGE_SHIFT;
	}
	/* They overlap then. */
	return grant->nr_pages > WXPOOL_SPACE >> PAGE_SHIFT ? -EEXIST : 0;
}

static void wxpool_give_back(struct wxpool_grant *grant)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, &grant->pages, lru) {
		wxpool_free_pages(grant->ctx, page);
		cond_resched();
	}
	wxpool_uncharge(grant->ctx, grant->nr_missing << PAGE_SHIFT);
	if (grant->region)
		wxpool_region_free(grant->ctx, grant->region);
}

/* Unmovable pages, as packed ones: see wxpool_packed_new(). */
static int wxpool_get_pages(struct wxpool_grant *grant)
{
	struct wxpool_region *region;
	struct page *page;

	/* All at once: what is over the limit is not even tried. */
	if (wxpool_charge(grant->ctx, grant->nr_pages << PAGE_SHIFT))
		return -ENOSPC;
	grant->nr_missing = grant->nr_pages;
	region = wxpool_region_new(grant->ctx, 0, grant->gfp);
	if (IS_ERR(region))
		return PTR_ERR(region);
	grant->region = region;
	for (; grant->nr_missing; grant->nr_missing--) {
		if (fatal_signal_pending(current))
			return -EINTR;
		page = alloc_page(grant->gfp | __GFP_ZERO);
		if (!page)
			return -ENOMEM;
		list_add(&page->lru, &grant->pages);
		cond_resched();
	}
	return 0;
}

static int wxpool_place_page(struct wxpool_grant *grant, pgoff_t pgoff)
{
	struct wxpool_page *old = wxpool_find_page(grant->ctx, pgoff);
	struct wxpool_table *table;
	struct page *page;

	if (old && !wxpool_is_idle(old->region))
		return -EEXIST;
	if (old)
		wxpool_drop_block(grant->ctx, wxpool_state(old));
	table = wxpool_get_table(grant->ctx, pgoff, grant->gfp);
	if (IS_ERR(table))
		return PTR_ERR(table);
	page = list_first_entry(&grant->pages, struct page, lru);
	list_del(&page->lru);
	wxpool_set_page(grant->ctx, table, pgoff, page, WXPOOL_OPEN, grant->region);
	grant->region->nr_pages++;
	return 0;
}

/* Those of the ranges, one after the other, that have their places */
static void wxpool_take_out(struct wxpool_grant *grant)
{
	unsigned long left = grant->region->nr_pages;
	const struct wxpool_alloc_range *range;
	struct wxpool_ending ending = {};
	pgoff_t pgoff, end;

	/* With the last page the region goes. */
	if (left)
		grant->region = NULL;
	for (range = grant->ranges; left; range++) {
		pgoff = range->offset >> PAGE_SHIFT;
		end = pgoff + min(left, (unsigned long)(range->length >> PAGE_SHIFT));
		for (; pgoff < end; pgoff++, left--)
			wxpool_end_pages(grant->ctx, pgoff, &ending);
	}
	wxpool_unmap_ended(grant->ctx, &ending);
}

static int wxpool_place_pages(struct wxpool_grant *grant)
{
	const struct wxpool_alloc_range *range = grant->ranges;
	pgoff_t pgoff, end;
	int err;

	for (; range < grant->ranges + grant->nr_ranges; range++) {
		pgoff = range->offset >> PAGE_SHIFT;
		end = pgoff + (range->length >> PAGE_SHIFT);
		for (; pgoff < end; pgoff++) {
			err = wxpool_place_page(grant, pgoff);
			if (err) {
				wxpool_take_out(grant);
				return err;
			}
			cond_resched();
		}
	}
	return 0;
}

static int wxpool_grant_locked(struct wxpool_grant *grant, u32 id)
{
	struct wxpool_pool *pool = wxpool_pool_get(grant->ctx, id, grant->gfp);
	unsigned long nr_extents = grant->nr_ranges +
		((u64)grant->nr_pages << WXPOOL_LINES_SHIFT) / WXPOOL_EXTENT_MAX;
	u32 i;
	int err;

	if (IS_ERR(pool))
		return PTR_ERR(pool);
	grant->region->pool = pool;
	grant->region->born = pool->born;
	err = wxpool_pool_room(grant->ctx, pool, nr_extents, grant->gfp);
	if (!err)
		err = wxpool_place_pages(grant);
	if (err) {
		wxpool_pool_put(grant->ctx, pool);
		return err;
	}
	for (i = 0; i < grant->nr_ranges; i++)
		wxpool_pool_add(pool, grant->ranges[i].offset >> WXPOOL_LINE_SHIFT,
				grant->ranges[i].length >> WXPOOL_LINE_SHIFT);
	*wxpool_nr_pages(grant->ctx, WXPOOL_OPEN) += grant->nr_pages;
	grant->region = NULL;
	return 0;
}

int wxpool_op_alloc(struct wxpool_context *ctx, union wxpool_args *args, const void *vec,
		    gfp_t gfp)
{
	const struct wxpool_alloc *arg = &args->alloc;
	struct wxpool_grant grant = {
		.ctx = ctx,
		.ranges = vec,
		.nr_ranges = arg->nr_ranges,
		.gfp = gfp,
		.pages = LIST_HEAD_INIT(grant.pages),
	};
	int err;

	if (!arg->pool || arg->flags || !arg->nr_ranges)
		return -EINVAL;
	err = wxpool_check_grant(&grant);
	if (err)
		return err;
	err = wxpool_get_pages(&grant);
	if (!err)
		err = wxpool_lock(ctx, gfp);
	if (!err) {
		err = wxpool_grant_locked(&grant, arg->pool);
		up_write(&ctx->lock);
	}
	wxpool_give_back(&grant);
	return err;
}
