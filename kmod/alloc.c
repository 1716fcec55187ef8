// SPDX-License-Identifier: GPL-2.0-only
/*
 * wxpool: ALLOC grants zeroed pages to a pool, all of a vector or none
 *
 * Under the context's lock they are got, cleared, so that nothing of a former user is
 * seen (I3), and take their places. If one fails, all that have theirs come out again;
 * nobody can have seen them, as faults wait for the lock.
 */
#include "internal.h"
#include "trace.h"

/* One ALLOC on its way */
struct wxpool_grant {
	struct wxpool_context *ctx;
	const struct wxpool_alloc_range *ranges;
	u32 nr_ranges;
	unsigned long nr_pages;		/* in all ranges */
	struct wxpool_region *region;	/* has those that have their places */
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

/* Charged already. Unmovable, as packed ones: see wxpool_packed_new(). */
static int wxpool_place_page(struct wxpool_grant *grant, pgoff_t pgoff)
{
	struct wxpool_page *old = wxpool_find_page(grant->ctx, pgoff);
	struct wxpool_table *table;
	struct page *page;

	if (old && !wxpool_is_idle(grant->ctx, old->region))
		return -EEXIST;
	if (old)
		wxpool_drop_block(grant->ctx, wxpool_state(old));
	table = wxpool_get_table(grant->ctx, pgoff);
	if (IS_ERR(table))
		return PTR_ERR(table);
	page = alloc_page(grant->ctx->gfp | __GFP_ZERO);
	if (!page)
		return -ENOMEM;
	wxpool_set_page(grant->ctx, table, pgoff, page, WXPOOL_OPEN, grant->region);
	grant->region->nr_pages++;
	return wxpool_pause();
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
			if (err)
				return err;
		}
	}
	return 0;
}

/* Those that have their places, which are the first of the ranges; and the region */
static void wxpool_take_out(struct wxpool_grant *grant)
{
	unsigned long left = grant->region->nr_pages;
	const struct wxpool_alloc_range *range;
	struct wxpool_ending ending = { .ctx = grant->ctx };
	pgoff_t pgoff, end;

	/* With the last page the region goes. */
	if (!left)
		wxpool_region_free(grant->ctx, grant->region);
	for (range = grant->ranges; left; range++) {
		pgoff = range->offset >> PAGE_SHIFT;
		end = pgoff + min(left, (unsigned long)(range->length >> PAGE_SHIFT));
		for (; pgoff < end; pgoff++, left--)
			wxpool_end_pages(&ending, pgoff);
	}
	wxpool_unmap_ended(&ending);
}

static int wxpool_grant_locked(struct wxpool_grant *grant, u32 id)
{
	struct wxpool_context *ctx = grant->ctx;
	struct wxpool_pool *pool = wxpool_pool_get(ctx, id);
	u64 nr_lines = (u64)grant->nr_pages << WXPOOL_LINES_SHIFT;
	u32 i;
	int err;

	if (IS_ERR(pool))
		return PTR_ERR(pool);
	/* All at once: what is over the limit is not even tried. */
	err = wxpool_charge(ctx, grant->nr_pages << PAGE_SHIFT);
	if (err)
		goto err_pool;
	grant->region = wxpool_region_new(ctx, 0, ctx->gfp);
	err = PTR_ERR_OR_ZERO(grant->region);
	if (err)
		goto err_uncharge;
	grant->region->pool = pool;
	grant->region->born = pool->born;
	err = wxpool_pool_room(ctx, pool, grant->nr_ranges + nr_lines / WXPOOL_EXTENT_MAX) ?:
	      wxpool_place_pages(grant);
	if (err)
		goto err_pages;
	for (i = 0; i < grant->nr_ranges; i++)
		wxpool_pool_add(pool, grant->ranges[i].offset >> WXPOOL_LINE_SHIFT,
				grant->ranges[i].length >> WXPOOL_LINE_SHIFT);
	*wxpool_nr_pages(ctx, WXPOOL_OPEN) += grant->nr_pages;
	trace_wxpool_alloc(ctx, id, grant->nr_ranges, grant->nr_pages << PAGE_SHIFT);
	return 0;

err_pages:
	/* The others go back with their charge. */
	grant->nr_pages -= grant->region->nr_pages;
	wxpool_take_out(grant);
err_uncharge:
	wxpool_uncharge(ctx, grant->nr_pages << PAGE_SHIFT);
err_pool:
	wxpool_pool_put(ctx, pool);
	return err;
}

int wxpool_op_alloc(struct wxpool_context *ctx, union wxpool_args *args, const void *vec, gfp_t gfp)
{
	const struct wxpool_alloc *arg = &args->alloc;
	struct wxpool_grant grant = { .ctx = ctx, .ranges = vec, .nr_ranges = arg->nr_ranges };
	int err;

	if (!arg->pool || arg->flags || !arg->nr_ranges)
		return -EINVAL;
	err = wxpool_check_grant(&grant) ?: wxpool_lock(ctx, gfp);
	if (err)
		return err;
	err = wxpool_grant_locked(&grant, arg->pool);
	up_write(&ctx->lock);
	return err;
}
