// SPDX-License-Identifier: GPL-2.0-only
/*
 * wxpool: FREE ends pools, all of a vector or none
 *
 * A pool that a living heir inherited is kept, whole, by the newest such heir. When that ends, the
 * next older one that inherited it has it, or it goes. Nothing is copied, no memory is needed.
 *
 * Under the context's lock, for each page that goes or is hidden: faults in flight are waited for,
 * it goes out of its table, and is unmapped together with its neighbours. A line of a page that
 * stays becomes trap instructions or zeros, unless it is kept.
 */
#include <linux/rhashtable.h>

#include "internal.h"
#include "trace.h"

static void wxpool_end_page(struct wxpool_ending *ending, struct wxpool_page *page, pgoff_t pgoff)
{
	struct wxpool_context *ctx = ending->ctx;

	if (ending->fate == WXPOOL_REAPED)
		ctx->info.pages_kept--;
	else
		--*wxpool_nr_pages(ctx, wxpool_state(page));
	if (ending->fate != WXPOOL_KEPT) {
		wxpool_end_pages(ending, pgoff);
		return;
	}
	page->region->ended = ctx->forks;
	page->region->hidden = true;
	ctx->info.pages_kept++;
	ending->kept++;
	wxpool_hide_pages(ending, pgoff);
}

void wxpool_end_extent(struct wxpool_ending *ending, const struct wxpool_extent *extent)
{
	u64 line = extent->line, end = line + extent->nr;
	struct wxpool_page *page;
	unsigned int nr;

	for (; line < end; line += nr) {
		page = wxpool_find_page(ending->ctx, line >> WXPOOL_LINES_SHIFT);
		nr = wxpool_lines_of_region(page->region, line, end);
		if (page->region->page)
			wxpool_end_lines(ending, page->region, line, nr);
		else
			wxpool_end_page(ending, page, line >> WXPOOL_LINES_SHIFT);
		cond_resched();
	}
}

/* Ends a pool that is not found any more, and is kept no more either. */
void wxpool_end_pool(struct wxpool_ending *ending, struct wxpool_pool *pool)
{
	const struct wxpool_extent *extents = wxpool_extents(pool);
	u32 i;

	lockdep_assert_held_write(&ending->ctx->lock);
	trace_wxpool_free(ending->ctx, pool, ending->fate);
	for (i = 0; i < pool->nr; i++)
		wxpool_end_extent(ending, &extents[i]);
	if (ending->fate != WXPOOL_KEPT)
		wxpool_pool_destroy(ending->ctx, pool);
}

/* If the newest heirs inherited it, they have it from now on. */
static void wxpool_keep_pool(void *ptr, void *arg)
{
	struct wxpool_ending *ending = arg;
	struct list_head *heirs = &ending->ctx->heirs;
	struct wxpool_heirs *newest = list_last_entry(heirs, struct wxpool_heirs, link);
	struct wxpool_pool *pool = ptr;

	ending->fate = WXPOOL_FREED;
	if (!list_empty(heirs) && newest->nr > pool->born) {
		ending->fate = WXPOOL_KEPT;
		pool->next = newest->kept;
		newest->kept = pool;
	}
	wxpool_end_pool(ending, pool);
}

static void wxpool_forget_one(void *pool, void *arg)
{
	struct wxpool_ending *ending = arg;

	trace_wxpool_free(ending->ctx, pool, ending->fate);
	wxpool_pool_destroy(ending->ctx, pool);
}

/* All pools that are live or kept: so nobody has to look which lines are whose. */
static void wxpool_end_all(struct wxpool_ending *ending)
{
	struct wxpool_context *ctx = ending->ctx;
	const size_t first = offsetof(struct wxpool_info, pages_open);
	const size_t stop = offsetofend(struct wxpool_info, lines_kept);
	struct wxpool_heirs *heirs;
	struct wxpool_pool *pool;

	rhashtable_free_and_destroy(&ctx->pools, wxpool_forget_one, ending);
	ending->fate = WXPOOL_REAPED;
	list_for_each_entry(heirs, &ctx->heirs, link) {
		while ((pool = heirs->kept)) {
			heirs->kept = pool->next;
			wxpool_forget_one(pool, ending);
			cond_resched();
		}
	}
	wxpool_count_idle(ctx, -(long)ctx->info.pages_idle);
	memset(ctx->idle, 0, sizeof(ctx->idle));
	memset((void *)&ctx->info + first, 0, stop - first);
	wxpool_end_tables(ending);
}

/* All pools; @revoke: also from heirs, with what these keep */
void wxpool_free_all(struct wxpool_ending *ending, bool revoke)
{
	struct wxpool_context *ctx = ending->ctx;

	if (revoke || list_empty(&ctx->heirs))
		wxpool_end_all(ending);
	else
		rhashtable_free_and_destroy(&ctx->pools, wxpool_keep_pool, ending);
	/* Cannot fail: it is content with a small table. */
	WARN_ON_ONCE(wxpool_pools_init(ctx));
	ctx->info.pools = 0;
}

/* Marks pools, or takes the mark from them; returns how many there are before one is missing. */
static u32 wxpool_doom(struct wxpool_context *ctx, const u32 *ids, u32 nr, bool doom)
{
	struct wxpool_pool *pool;
	u32 i;

	for (i = 0; i < nr; i++) {
		pool = wxpool_pool_find(ctx, ids[i]);
		if (!pool || pool->doomed == doom)
			break;
		pool->doomed = doom;
	}
	return i;
}

static int wxpool_free_some(struct wxpool_ending *ending, const u32 *ids, u32 nr, bool revoke)
{
	struct wxpool_context *ctx = ending->ctx;
	u32 i, found = wxpool_doom(ctx, ids, nr, true);
	struct wxpool_pool *pool;

	if (found < nr) {
		wxpool_doom(ctx, ids, found, false);
		return -ENOENT;
	}
	for (i = 0; i < nr; i++) {
		pool = wxpool_pool_find(ctx, ids[i]);
		wxpool_pool_unlink(ctx, pool);
		if (revoke)
			wxpool_end_pool(ending, pool);
		else
			wxpool_keep_pool(pool, ending);
	}
	return 0;
}

int wxpool_op_free(struct wxpool_context *ctx, union wxpool_args *args, const void *vec, gfp_t gfp)
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
		wxpool_free_all(&ending, revoke);
	else
		err = wxpool_free_some(&ending, ids, arg->nr_pools, revoke);
	wxpool_unmap_ended(&ending);
	up_write(&ctx->lock);
	arg->pages_freed = ending.freed;
	arg->pages_kept = ending.kept;
	arg->lines_kept = ending.lines_kept;
	return err;
}
