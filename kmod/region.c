// SPDX-License-Identifier: GPL-2.0-only
/*
 * wxpool: granting pages to pools, and taking them back
 */
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "internal.h"

/*
 * Zeroed, so that nothing of a former user is seen (I3). Unmovable: without a
 * page cache or LRU behind them, migration could not find the page tables
 * (GFP_HIGHUSER, not GFP_HIGHUSER_MOVABLE). A cgroup over its limit gets
 * -ENOMEM, not the OOM killer.
 */
#define WXP_GFP_PAGE	(GFP_HIGHUSER | __GFP_ACCOUNT | __GFP_ZERO | \
			 __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

/* Takes the pages that are there, which may be fewer than @nr_pages. */
static void wxp_region_free(struct wxp_region *region)
{
	unsigned long i;

	for (i = 0; i < region->nr_pages && region->pages[i].folio; i++) {
		folio_put(region->pages[i].folio);
		cond_resched();
	}
	kvfree(region);
}

static int wxp_region_fill(struct wxp_region *region)
{
	unsigned long i;

	for (i = 0; i < region->nr_pages; i++) {
		if (fatal_signal_pending(current))
			return -EINTR;
		region->pages[i].folio = folio_alloc(WXP_GFP_PAGE, 0);
		if (!region->pages[i].folio)
			return -ENOMEM;
		cond_resched();
	}
	return 0;
}

static struct wxp_region *wxp_region_new(struct wxp_ctx *ctx,
					 const struct wxpool_range *range)
{
	unsigned long nr_pages = range->length >> PAGE_SHIFT;
	struct wxp_region *region;
	int err;

	region = kvzalloc(struct_size(region, pages, nr_pages),
			  GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!region)
		return ERR_PTR(-ENOMEM);
	region->nr_pages = nr_pages;
	region->pgoff = range->offset >> PAGE_SHIFT;
	err = wxp_region_fill(region);
	if (err) {
		wxp_region_free(region);
		return ERR_PTR(err);
	}
	return region;
}

/**
 * wxp_free_regions() - give back the pages of regions nobody can find
 * @ctx: the context charged
 * @regions: the regions; left empty
 */
void wxp_free_regions(struct wxp_ctx *ctx, struct list_head *regions)
{
	struct wxp_region *region, *next;

	list_for_each_entry_safe(region, next, regions, link) {
		wxp_uncharge(ctx, region->nr_pages);
		wxp_region_free(region);
	}
	INIT_LIST_HEAD(regions);
}

static int wxp_new_regions(struct wxp_ctx *ctx,
			   const struct wxpool_range *ranges, u32 nr,
			   struct list_head *regions)
{
	struct wxp_region *region;
	u32 i;
	int err;

	for (i = 0; i < nr; i++) {
		err = wxp_charge(ctx, ranges[i].length >> PAGE_SHIFT);
		if (err)
			goto err_free;
		region = wxp_region_new(ctx, &ranges[i]);
		if (IS_ERR(region)) {
			err = PTR_ERR(region);
			wxp_uncharge(ctx, ranges[i].length >> PAGE_SHIFT);
			goto err_free;
		}
		list_add_tail(&region->link, regions);
	}
	return 0;

err_free:
	wxp_free_regions(ctx, regions);
	return err;
}

/**
 * wxp_settle_page() - change a page's state for all faults to come
 * @page: a page of a region in the tree
 * @state: its new state; may be the old one
 *
 * With wxp_ctx.lock held for writing. Waits for faults in flight, which hold
 * the folio's lock until their PTE is in place, so that unmapping the page
 * afterwards finds them all.
 */
void wxp_settle_page(struct wxp_page *page, enum wxp_state state)
{
	folio_lock(page->folio);
	page->state = state;
	folio_unlock(page->folio);
}

/* From all views in all processes. */
void wxp_unmap(struct wxp_ctx *ctx, loff_t offset, loff_t length)
{
	unmap_mapping_range(ctx->inode->i_mapping, offset, length, 1);
}

static void wxp_unmap_region(struct wxp_ctx *ctx, struct wxp_region *region)
{
	unsigned long i;

	for (i = 0; i < region->nr_pages; i++)
		wxp_settle_page(&region->pages[i], region->pages[i].state);
	wxp_unmap(ctx, (loff_t)region->pgoff << PAGE_SHIFT,
		  (loff_t)region->nr_pages << PAGE_SHIFT);
}

static struct wxp_pool *wxp_pool_get(struct wxp_ctx *ctx, u32 id)
{
	struct wxp_pool *pool = xa_load(&ctx->pools, id);
	int err;

	lockdep_assert_held_write(&ctx->lock);
	if (pool)
		return pool;
	pool = kzalloc(sizeof(*pool), GFP_KERNEL_ACCOUNT);
	if (!pool)
		return ERR_PTR(-ENOMEM);
	pool->id = id;
	INIT_LIST_HEAD(&pool->regions);
	err = xa_err(xa_store(&ctx->pools, id, pool, GFP_KERNEL_ACCOUNT));
	if (err) {
		kfree(pool);
		return ERR_PTR(err);
	}
	ctx->nr_pools++;
	return pool;
}

static void wxp_pool_end(struct wxp_ctx *ctx, struct wxp_pool *pool)
{
	lockdep_assert_held_write(&ctx->lock);
	xa_erase(&ctx->pools, pool->id);
	ctx->nr_pools--;
	kfree(pool);
}

static int wxp_insert_regions(struct wxp_ctx *ctx, struct wxp_pool *pool,
			      struct list_head *regions)
{
	struct wxp_region *region;
	int err;

	lockdep_assert_held_write(&ctx->lock);
	list_for_each_entry(region, regions, link) {
		err = mtree_insert_range(&ctx->regions, region->pgoff,
					 region->pgoff + region->nr_pages - 1,
					 region, GFP_KERNEL_ACCOUNT);
		if (err)
			goto err_erase;
		region->pool = pool;
		region->born = atomic_long_read(&ctx->forks);
	}
	return 0;

err_erase:
	list_for_each_entry_continue_reverse(region, regions, link)
		mtree_erase(&ctx->regions, region->pgoff);
	return err;
}

/* Moves all of @regions to the pool, or changes nothing. */
static int wxp_pool_add(struct wxp_ctx *ctx, u32 id, struct list_head *regions)
{
	struct wxp_region *region;
	struct wxp_pool *pool;
	int err;

	pool = wxp_pool_get(ctx, id);
	if (IS_ERR(pool))
		return PTR_ERR(pool);
	err = wxp_insert_regions(ctx, pool, regions);
	if (err) {
		if (list_empty(&pool->regions))
			wxp_pool_end(ctx, pool);
		return err;
	}
	list_for_each_entry(region, regions, link)
		ctx->nr[WXP_OPEN] += region->nr_pages;
	list_splice_tail_init(regions, &pool->regions);
	return 0;
}

static void wxp_find_dead(struct wxp_ctx *ctx, struct list_head *dead)
{
	struct wxp_region *region, *next;
	struct wxp_heirs heirs;

	lockdep_assert_held_write(&ctx->lock);
	wxp_find_heirs(ctx, NULL, &heirs);
	list_for_each_entry_safe(region, next, &ctx->kept, link) {
		if (heirs.oldest <= region->ended)
			break;
		mtree_erase(&ctx->regions, region->pgoff);
		list_move_tail(&region->link, dead);
		WRITE_ONCE(ctx->nr_kept, ctx->nr_kept - region->nr_pages);
	}
}

/*
 * Nobody can reach a kept region any more once all children are gone that were
 * forked before it ended. As it is the oldest child that tells, it may take
 * longer than it had to; but children that come and go never hold all.
 */
static int wxp_reap_kept(struct wxp_ctx *ctx)
{
	LIST_HEAD(dead);

	if (!READ_ONCE(ctx->nr_kept))
		return 0;
	if (down_write_killable(&ctx->lock))
		return -EINTR;
	wxp_find_dead(ctx, &dead);
	up_write(&ctx->lock);
	wxp_free_regions(ctx, &dead);
	return 0;
}

int wxp_ioc_alloc(struct file *file, void *arg)
{
	struct wxp_ctx *ctx = file->private_data;
	struct wxpool_vec *vec = arg;
	struct wxpool_range *ranges;
	LIST_HEAD(regions);
	int err;

	ranges = wxp_copy_ranges(vec, 0);
	if (IS_ERR(ranges))
		return PTR_ERR(ranges);
	err = wxp_reap_kept(ctx);
	if (err)
		goto out;
	err = wxp_new_regions(ctx, ranges, vec->nr_ranges, &regions);
	if (err)
		goto out;
	if (down_write_killable(&ctx->lock)) {
		err = -EINTR;
		goto out_free;
	}
	err = wxp_pool_add(ctx, vec->pool, &regions);
	up_write(&ctx->lock);
	if (!err)
		wxp_map_views(file, ranges, vec);
out_free:
	wxp_free_regions(ctx, &regions);
out:
	kvfree(ranges);
	return err;
}

static void wxp_count_out(struct wxp_ctx *ctx, const struct wxp_region *region)
{
	unsigned long i;

	for (i = 0; i < region->nr_pages; i++)
		ctx->nr[region->pages[i].state]--;
}

/* Its open pages no view can show any more. */
static void wxp_keep_region(struct wxp_ctx *ctx, struct wxp_region *region)
{
	region->pool = NULL;
	region->ended = atomic_long_read(&ctx->forks);
	list_move_tail(&region->link, &ctx->kept);
	WRITE_ONCE(ctx->nr_kept, ctx->nr_kept + region->nr_pages);
}

static void wxp_pool_free(struct wxp_ctx *ctx, struct wxp_pool *pool,
			  struct list_head *dead, struct wxpool_free *arg)
{
	struct wxp_region *region, *next;
	struct wxp_heirs heirs;

	lockdep_assert_held_write(&ctx->lock);
	wxp_find_heirs(ctx, NULL, &heirs);
	list_for_each_entry_safe(region, next, &pool->regions, link) {
		wxp_count_out(ctx, region);
		if (heirs.newest > region->born) {
			wxp_keep_region(ctx, region);
			arg->nr_kept += region->nr_pages;
		} else {
			mtree_erase(&ctx->regions, region->pgoff);
			list_move_tail(&region->link, dead);
			arg->nr_freed += region->nr_pages;
		}
		wxp_unmap_region(ctx, region);
	}
	wxp_pool_end(ctx, pool);
}

int wxp_ioc_free(struct file *file, void *argp)
{
	struct wxp_ctx *ctx = file->private_data;
	struct wxpool_free *arg = argp;
	struct wxp_pool *pool;
	LIST_HEAD(dead);
	int err;

	if (!arg->pool || arg->flags || arg->__reserved)
		return -EINVAL;
	arg->nr_freed = 0;
	arg->nr_kept = 0;
	err = wxp_reap_kept(ctx);
	if (err)
		return err;
	if (down_write_killable(&ctx->lock))
		return -EINTR;
	pool = xa_load(&ctx->pools, arg->pool);
	if (pool)
		wxp_pool_free(ctx, pool, &dead, arg);
	up_write(&ctx->lock);
	wxp_free_regions(ctx, &dead);
	return pool ? 0 : -ENOENT;
}
