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
 * (not GFP_HIGHUSER_MOVABLE).
 */
#define WXP_GFP_PAGE	(WXP_GFP | __GFP_HIGHMEM | __GFP_ZERO)

/* Takes the pages that are there, which may be fewer than @nr_pages. */
void wxp_region_free(struct wxp_region *region)
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

/**
 * wxp_region_alloc() - make a region without pages
 * @pgoff: offset of its first page
 * @nr_pages: room for so many
 * @packed: with a bitmap for their lines
 * @gfp: WXP_GFP or WXP_GFP_NOWAIT
 *
 * Return: the region, to be given to wxp_region_free(), or NULL.
 */
struct wxp_region *wxp_region_alloc(pgoff_t pgoff, unsigned long nr_pages,
				    bool packed, gfp_t gfp)
{
	struct wxp_region *region;
	size_t size = struct_size(region, pages, nr_pages), lines = 0;

	if (packed)
		lines = BITS_TO_LONGS(nr_pages << WXP_LINES_SHIFT) * sizeof(long);
	region = kvzalloc(size_add(size, lines), gfp);
	if (!region)
		return NULL;
	region->nr_pages = nr_pages;
	region->pgoff = pgoff;
	region->ended = WXP_ALIVE;
	if (packed)
		region->lines = (void *)region + size;
	return region;
}

static struct wxp_region *wxp_region_new(const struct wxpool_range *range)
{
	struct wxp_region *region;
	int err;

	region = wxp_region_alloc(range->offset >> PAGE_SHIFT,
				  range->length >> PAGE_SHIFT, false, WXP_GFP);
	if (!region)
		return ERR_PTR(-ENOMEM);
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

static int wxp_new_regions(struct wxp_ctx *ctx, const struct wxp_ranges *ranges,
			   struct list_head *regions)
{
	struct wxp_region *region;
	unsigned long nr_pages;
	u32 i;
	int err;

	for (i = 0; i < ranges->nr; i++) {
		nr_pages = ranges->r[i].length >> PAGE_SHIFT;
		err = wxp_charge(ctx, nr_pages);
		if (err)
			goto err_free;
		region = wxp_region_new(&ranges->r[i]);
		if (IS_ERR(region)) {
			err = PTR_ERR(region);
			wxp_uncharge(ctx, nr_pages);
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

static void wxp_unmap_ended(struct wxp_ctx *ctx, struct wxp_ending *ending)
{
	if (ending->first < ending->stop)
		wxp_unmap(ctx, (loff_t)ending->first << PAGE_SHIFT,
			  (loff_t)(ending->stop - ending->first) << PAGE_SHIFT);
	ending->first = 0;
	ending->stop = 0;
}

/* Unmaps it together with its neighbours: wxp_unmap_ended() is still to come. */
static void wxp_unmap_region(struct wxp_ctx *ctx, struct wxp_region *region,
			     struct wxp_ending *ending)
{
	unsigned long i;

	for (i = 0; i < region->nr_pages; i++) {
		wxp_settle_page(&region->pages[i], region->pages[i].state);
		cond_resched();
	}
	if (ending->stop != region->pgoff) {
		wxp_unmap_ended(ctx, ending);
		ending->first = region->pgoff;
	}
	ending->stop = region->pgoff + region->nr_pages;
}

/**
 * wxp_pool_get() - find a pool, or make it
 * @ctx: the context
 * @id: its number
 * @gfp: WXP_GFP or WXP_GFP_NOWAIT
 *
 * Return: the pool, to be given to wxp_pool_put() if nothing comes into it, or
 * -ENOMEM.
 */
struct wxp_pool *wxp_pool_get(struct wxp_ctx *ctx, u32 id, gfp_t gfp)
{
	struct wxp_pool *pool = ctx->hot_pool;
	int err;

	lockdep_assert_held_write(&ctx->lock);
	if (pool && pool->id == id)
		return pool;
	pool = xa_load(&ctx->pools, id);
	ctx->hot_pool = pool;
	if (pool)
		return pool;
	pool = kzalloc(sizeof(*pool), gfp);
	if (!pool)
		return ERR_PTR(-ENOMEM);
	pool->id = id;
	INIT_LIST_HEAD(&pool->regions);
	INIT_LIST_HEAD(&pool->batches);
	err = xa_err(xa_store(&ctx->pools, id, pool, gfp));
	if (err) {
		kfree(pool);
		return ERR_PTR(err);
	}
	ctx->nr_pools++;
	return pool;
}

/* The regions are somewhere else by now. */
void wxp_pool_destroy(struct wxp_pool *pool)
{
	struct wxp_batch *batch, *next;

	list_for_each_entry_safe(batch, next, &pool->batches, link)
		kvfree(batch);
	kfree(pool);
}

static void wxp_pool_end(struct wxp_ctx *ctx, struct wxp_pool *pool)
{
	lockdep_assert_held_write(&ctx->lock);
	xa_erase(&ctx->pools, pool->id);
	ctx->hot_pool = NULL;
	ctx->nr_pools--;
	wxp_pool_destroy(pool);
}

/* Ends a pool that a failed operation made. */
void wxp_pool_put(struct wxp_ctx *ctx, struct wxp_pool *pool)
{
	if (list_empty(&pool->regions) && list_empty(&pool->batches))
		wxp_pool_end(ctx, pool);
}

/**
 * wxp_replace_region() - let something else be found in a region's place
 * @ctx: the context
 * @old: what is in the tree
 * @new: of the same place and size; or NULL, and nothing is found there
 *
 * There is no way back from here, so it must not fail: to take an entry out,
 * the tree may need nodes.
 */
void wxp_replace_region(struct wxp_ctx *ctx, struct wxp_region *old,
			struct wxp_region *new)
{
	lockdep_assert_held_write(&ctx->lock);
	mtree_store_range(&ctx->regions, old->pgoff,
			  old->pgoff + old->nr_pages - 1, new,
			  GFP_KERNEL | __GFP_NOFAIL);
}

/* One try, without waiting for memory */
static int wxp_try_insert(struct wxp_ctx *ctx, struct wxp_region *region,
			  pgoff_t last)
{
	MA_STATE(mas, &ctx->regions, region->pgoff, last);
	unsigned long index = region->pgoff;
	int err;

	if (mt_find(&ctx->regions, &index, last))
		return -EEXIST;
	mas_lock(&mas);
	mas_store(&mas, region);
	err = xa_err(mas.node);
	mas_destroy(&mas);
	mas_unlock(&mas);
	return err;
}

/**
 * wxp_insert_region() - let a region be found
 * @ctx: the context
 * @region: the region
 * @gfp: WXP_GFP or WXP_GFP_NOWAIT
 *
 * Where mtree_insert_range() gets some of the nodes that it needs, but not all,
 * it tries again until it does (up to 6.17), whatever @gfp says. So it either
 * gets them without fail, or is not asked.
 *
 * Return: 0, -EEXIST, or without blocking also -ENOMEM.
 */
int wxp_insert_region(struct wxp_ctx *ctx, struct wxp_region *region, gfp_t gfp)
{
	pgoff_t last = region->pgoff + region->nr_pages - 1;

	lockdep_assert_held_write(&ctx->lock);
	if (!gfpflags_allow_blocking(gfp))
		return wxp_try_insert(ctx, region, last);
	return mtree_insert_range(&ctx->regions, region->pgoff, last, region,
				  GFP_KERNEL | __GFP_NOFAIL);
}

static int wxp_insert_regions(struct wxp_ctx *ctx, struct wxp_pool *pool,
			      struct list_head *regions)
{
	struct wxp_region *region;
	int err;

	lockdep_assert_held_write(&ctx->lock);
	list_for_each_entry(region, regions, link) {
		err = wxp_insert_region(ctx, region, WXP_GFP);
		if (err)
			goto err_erase;
		region->pool = pool;
		region->born = atomic_long_read(&ctx->forks);
	}
	return 0;

err_erase:
	list_for_each_entry_continue_reverse(region, regions, link)
		wxp_replace_region(ctx, region, NULL);
	return err;
}

/* Moves all of @regions to the pool, or changes nothing. */
static int wxp_pool_add(struct wxp_ctx *ctx, u32 id, struct list_head *regions)
{
	struct wxp_region *region;
	struct wxp_pool *pool;
	int err;

	if (ctx->frozen)
		return -EROFS;
	pool = wxp_pool_get(ctx, id, WXP_GFP);
	if (IS_ERR(pool))
		return PTR_ERR(pool);
	err = wxp_insert_regions(ctx, pool, regions);
	if (err) {
		wxp_pool_put(ctx, pool);
		return err;
	}
	list_for_each_entry(region, regions, link)
		ctx->nr[WXP_OPEN] += region->nr_pages;
	list_splice_tail_init(regions, &pool->regions);
	return 0;
}

/* Nobody finds it any more; what it hides comes out again. */
static void wxp_unlink_region(struct wxp_ctx *ctx, struct wxp_region *region)
{
	lockdep_assert_held_write(&ctx->lock);
	if (region->older)
		region->older->newer = region->newer;
	if (region->newer)
		region->newer->older = region->older;
	else
		wxp_replace_region(ctx, region, region->older);
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
		wxp_unlink_region(ctx, region);
		list_move_tail(&region->link, dead);
		WRITE_ONCE(ctx->nr_kept, ctx->nr_kept - region->nr_pages);
		cond_resched();
	}
}

/*
 * Nobody can reach a kept region any more once all children are gone that were
 * forked before it ended. As it is the oldest child that tells, it may take
 * longer than it had to; but children that come and go never hold all.
 */
int wxp_reap(struct wxp_ctx *ctx)
{
	LIST_HEAD(dead);

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
	struct wxpool_range few[WXP_FEW_RANGES];
	struct wxp_ranges ranges = { .room = few, .nr_room = WXP_FEW_RANGES };
	LIST_HEAD(regions);
	int err;

	err = wxp_copy_ranges(&ranges, vec, &wxp_alloc_form);
	if (err)
		return err;
	err = wxp_reap_kept(ctx);
	if (err)
		goto out;
	err = wxp_new_regions(ctx, &ranges, &regions);
	if (err)
		goto out;
	if (down_write_killable(&ctx->lock)) {
		err = -EINTR;
		goto out_free;
	}
	err = wxp_pool_add(ctx, vec->pool, &regions);
	up_write(&ctx->lock);
	if (!err)
		wxp_map_views(file, &ranges, vec);
out_free:
	wxp_free_regions(ctx, &regions);
out:
	wxp_put_ranges(&ranges);
	return err;
}

static void wxp_count_out(struct wxp_ctx *ctx, const struct wxp_region *region)
{
	unsigned long i;

	for (i = 0; i < region->nr_pages; i++)
		ctx->nr[region->pages[i].state]--;
}

/* For its heirs only. Its open pages no view can show any more. */
void wxp_keep_region(struct wxp_ctx *ctx, struct wxp_region *region,
		     struct wxp_ending *ending)
{
	region->pool = NULL;
	region->ended = atomic_long_read(&ctx->forks);
	list_move_tail(&region->link, &ctx->kept);
	WRITE_ONCE(ctx->nr_kept, ctx->nr_kept + region->nr_pages);
	ending->nr_kept += region->nr_pages;
	wxp_unmap_region(ctx, region, ending);
}

/**
 * wxp_end_region() - take a region out of the owner's reach
 * @ctx: the context
 * @region: the region, not counted any more
 * @ending: receives it if no heir shows it
 */
void wxp_end_region(struct wxp_ctx *ctx, struct wxp_region *region,
		    struct wxp_ending *ending)
{
	lockdep_assert_held_write(&ctx->lock);
	if (wxp_has_heir(region, ending)) {
		wxp_keep_region(ctx, region, ending);
		return;
	}
	wxp_unlink_region(ctx, region);
	list_move_tail(&region->link, &ending->dead);
	ending->nr_freed += region->nr_pages;
	wxp_unmap_region(ctx, region, ending);
}

static int wxp_pool_free(struct wxp_ctx *ctx, struct wxp_pool *pool,
			 struct wxp_ending *ending)
{
	struct wxp_region *region, *next;
	struct wxp_heirs heirs;
	int err;

	lockdep_assert_held_write(&ctx->lock);
	wxp_find_heirs(ctx, NULL, &heirs);
	ending->newest_heir = heirs.newest;
	err = wxp_free_lines(ctx, pool, ending);
	if (!err) {
		list_for_each_entry_safe(region, next, &pool->regions, link) {
			wxp_count_out(ctx, region);
			wxp_end_region(ctx, region, ending);
		}
		wxp_pool_end(ctx, pool);
	}
	wxp_unmap_ended(ctx, ending);
	return err;
}

int wxp_ioc_free(struct file *file, void *argp)
{
	struct wxp_ctx *ctx = file->private_data;
	struct wxp_ending ending = { .dead = LIST_HEAD_INIT(ending.dead) };
	struct wxpool_free *arg = argp;
	struct wxp_pool *pool;
	int err;

	if (!arg->pool || arg->flags || arg->__reserved)
		return -EINVAL;
	err = wxp_reap_kept(ctx);
	if (err)
		return err;
	if (down_write_killable(&ctx->lock))
		return -EINTR;
	pool = xa_load(&ctx->pools, arg->pool);
	err = pool ? wxp_pool_free(ctx, pool, &ending) : -ENOENT;
	up_write(&ctx->lock);
	wxp_free_regions(ctx, &ending.dead);
	arg->nr_freed = ending.nr_freed;
	arg->nr_kept = ending.nr_kept;
	return err;
}
