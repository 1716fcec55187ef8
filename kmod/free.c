// SPDX-License-Identifier: GPL-2.0-only
/*
 * wxpool: FREE ends pools, all of a vector or none
 *
 * A pool that a living heir inherited is kept, whole, by the newest such heir.
 * When that ends, the next older one that inherited it has it, or it goes. Nothing
 * is copied, nothing is looked for, and no memory is needed.
 *
 * Under the context's lock, for each page that goes or is hidden: faults in
 * flight are waited for, it goes out of its table, and in the end it is unmapped,
 * together with its neighbours. For each line of a page that stays: it becomes
 * trap instructions or zeros, unless it is kept.
 */
#include <linux/rhashtable.h>
#include <linux/slab.h>

#include "internal.h"

static void wxpool_end_page(struct wxpool_context *ctx, struct wxpool_page *page,
			    pgoff_t pgoff, enum wxpool_fate fate, struct wxpool_ending *ending)
{
	if (fate == WXPOOL_REAPED)
		ctx->info.pages_kept--;
	else
		--*wxpool_nr_pages(ctx, wxpool_state(page));
	if (fate != WXPOOL_KEPT) {
		wxpool_end_pages(ctx, pgoff, ending);
		return;
	}
	page->region->ended = ctx->forks;
	ctx->info.pages_kept++;
	ending->kept++;
	wxpool_hide_pages(ctx, pgoff, ending);
}

void wxpool_end_extent(struct wxpool_context *ctx, const struct wxpool_extent *extent,
		       enum wxpool_fate fate, struct wxpool_ending *ending)
{
	u64 line = extent->line, end = line + extent->nr;
	struct wxpool_page *page;
	unsigned int nr;

	for (; line < end; line += nr) {
		page = wxpool_find_page(ctx, line >> WXPOOL_LINES_SHIFT);
		nr = wxpool_lines_of_region(page->region, line, end);
		if (page->region->page)
			wxpool_end_lines(ctx, page->region, line, nr, fate, ending);
		else
			wxpool_end_page(ctx, page, line >> WXPOOL_LINES_SHIFT, fate, ending);
		cond_resched();
	}
}

/* Ends a pool that is not found any more, and is kept no more either. */
void wxpool_end_pool(struct wxpool_context *ctx, struct wxpool_pool *pool,
		     enum wxpool_fate fate, struct wxpool_ending *ending)
{
	const struct wxpool_extent *extents = wxpool_extents(pool);
	u32 i;

	lockdep_assert_held_write(&ctx->lock);
	for (i = 0; i < pool->nr; i++)
		wxpool_end_extent(ctx, &extents[i], fate, ending);
	if (fate != WXPOOL_KEPT)
		wxpool_pool_destroy(ctx, pool);
}

/* If the newest heirs inherited it, they have it from now on. */
static void wxpool_keep_pool(struct wxpool_context *ctx, struct wxpool_pool *pool,
			     struct wxpool_ending *ending)
{
	struct wxpool_heirs *newest = list_last_entry(&ctx->heirs, struct wxpool_heirs, link);

	if (!list_empty(&ctx->heirs) && newest->nr > pool->born) {
		pool->next = newest->kept;
		newest->kept = pool;
		wxpool_end_pool(ctx, pool, WXPOOL_KEPT, ending);
	} else {
		wxpool_end_pool(ctx, pool, WXPOOL_FREED, ending);
	}
}

static void wxpool_keep_one(void *pool, void *ending)
{
	wxpool_keep_pool(((struct wxpool_ending *)ending)->ctx, pool, ending);
}

static void wxpool_forget_one(void *pool, void *ending)
{
	wxpool_pool_destroy(((struct wxpool_ending *)ending)->ctx, pool);
	cond_resched();
}

/* Nothing is kept, so nobody has to look which lines are whose. */
static void wxpool_end_all(struct wxpool_context *ctx, struct wxpool_ending *ending)
{
	const size_t first = offsetof(struct wxpool_info, pages_open);
	const size_t stop = offsetofend(struct wxpool_info, lines_kept);
	struct wxpool_heirs *heirs;
	struct wxpool_pool *pool;

	list_for_each_entry(heirs, &ctx->heirs, link) {
		while ((pool = heirs->kept)) {
			heirs->kept = pool->next;
			wxpool_forget_one(pool, ending);
		}
	}
	wxpool_count_idle(ctx, -(long)ctx->info.pages_idle);
	memset(ctx->idle, 0, sizeof(ctx->idle));
	memset((void *)&ctx->info + first, 0, stop - first);
	ending->freed += wxpool_end_tables(ctx);
	wxpool_unmap(ctx, 0, WXPOOL_SPACE >> PAGE_SHIFT);
}

/* All pools; @revoke: also from heirs, with what these keep */
void wxpool_free_all(struct wxpool_context *ctx, bool revoke, struct wxpool_ending *ending)
{
	bool all = revoke || list_empty(&ctx->heirs);

	rhashtable_free_and_destroy(&ctx->pools, all ? wxpool_forget_one : wxpool_keep_one,
				    ending);
	/* Cannot fail: it is content with a small table. */
	WARN_ON_ONCE(wxpool_pools_init(ctx));
	ctx->info.pools = 0;
	if (all)
		wxpool_end_all(ctx, ending);
}

/* Looks for all pools before any is touched. */
static int wxpool_doom(struct wxpool_context *ctx, const u32 *ids, u32 nr)
{
	struct wxpool_pool *pool;
	u32 i;

	for (i = 0; i < nr; i++) {
		pool = wxpool_pool_find(ctx, ids[i]);
		if (!pool || pool->doomed)
			break;
		pool->doomed = 1;
	}
	if (i == nr)
		return 0;
	while (i--)
		wxpool_pool_find(ctx, ids[i])->doomed = 0;
	return -ENOENT;
}

static int wxpool_free_some(struct wxpool_context *ctx, const u32 *ids, u32 nr, bool revoke,
			    struct wxpool_ending *ending)
{
	struct wxpool_pool *pool;
	int err;
	u32 i;

	err = wxpool_doom(ctx, ids, nr);
	if (err)
		return err;
	for (i = 0; i < nr; i++) {
		pool = wxpool_pool_find(ctx, ids[i]);
		wxpool_pool_unlink(ctx, pool);
		if (revoke)
			wxpool_end_pool(ctx, pool, WXPOOL_FREED, ending);
		else
			wxpool_keep_pool(ctx, pool, ending);
	}
	return 0;
}

int wxpool_op_free(struct wxpool_context *ctx, union wxpool_args *args, const void *vec,
		   gfp_t gfp)
{
	struct wxpool_free *arg = &args->free;
	bool all = arg->flags & WXPOOL_FREE_ALL, revoke = arg->flags & WXPOOL_FREE_REVOKE;
	struct wxpool_ending ending = { .ctx = ctx };
	const u32 *ids = vec;
	int err;
	u32 i;

	if (arg->flags & ~(WXPOOL_FREE_ALL | WXPOOL_FREE_REVOKE) || arg->__reserved ||
	    (all && arg->pools) || all == !!arg->nr_pools)
		return -EINVAL;
	for (i = 0; i < arg->nr_pools; i++)
		if (!ids[i])
			return -EINVAL;
	err = wxpool_lock(ctx, gfp);
	if (err)
		return err;
	if (all)
		wxpool_free_all(ctx, revoke, &ending);
	else
		err = wxpool_free_some(ctx, ids, arg->nr_pools, revoke, &ending);
	wxpool_unmap_ended(ctx, &ending);
	up_write(&ctx->lock);
	arg->pages_freed = ending.freed;
	arg->pages_kept = ending.kept;
	arg->lines_kept = ending.lines_kept;
	return err;
}
