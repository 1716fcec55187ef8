// SPDX-License-Identifier: GPL-2.0-only
/*
 * wxpool: packed pages, whose lines may belong to different pools
 *
 * A packed page is never writable for anyone but the kernel, so bytes get into
 * it without a mapping to make or to take away. It is there as long as one of
 * its lines is live.
 *
 * What is live, doomed or absent changes under wxp_ctx.lock. So does what is in
 * the lines; but views show that at once, to processors that may be running
 * the lines beside them.
 */
#include <linux/bitmap.h>
#include <linux/log2.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "internal.h"

static bool wxp_covers(const struct wxp_region *region, pgoff_t pgoff)
{
	return pgoff - region->pgoff < region->nr_pages;
}

static unsigned long wxp_line_bit(const struct wxp_region *region, u64 line)
{
	return line - ((u64)region->pgoff << WXP_LINES_SHIFT);
}

static struct wxp_region *wxp_line_region(struct wxp_ctx *ctx, u64 line)
{
	return mtree_load(&ctx->regions, line >> WXP_LINES_SHIFT);
}

/* All lines up to the end of its page follow there. */
static void *wxp_line_address(const struct wxp_region *region, u64 line)
{
	struct page *page = wxp_region_page(region, line >> WXP_LINES_SHIFT);

	return page_address(page) + (line % WXP_LINES) * WXP_LINE_SIZE;
}

static void wxp_sync_lines(const struct wxp_region *region, void *start,
			   size_t size)
{
	if (region->pages[0].state == WXP_SEALED_X)
		wxp_sync_icache((unsigned long)start, (unsigned long)start + size);
}

/**
 * wxp_write_lines() - put bytes into lines of one page
 * @region: packed pages
 * @line: the first line
 * @nr: number of lines, none of another page
 * @bytes: @nr full lines
 */
void wxp_write_lines(const struct wxp_region *region, u64 line, unsigned int nr,
		     const void *bytes)
{
	void *to = wxp_line_address(region, line);
	unsigned int i;

	for (i = 0; i < nr * WXP_LINE_SIZE; i += WXP_LINE_SIZE)
		memcpy(to + i, bytes + i, WXP_LINE_SIZE);
	wxp_sync_lines(region, to, nr * WXP_LINE_SIZE);
}

static void wxp_clear_lines(const struct wxp_region *region, u64 line,
			    unsigned int nr)
{
	void *to = wxp_line_address(region, line);

	wxp_fill(to, region->pages[0].state, nr * WXP_LINE_SIZE);
	wxp_sync_lines(region, to, nr * WXP_LINE_SIZE);
}

/* With one folio for all pages if there is one, else with single ones. */
static int wxp_packed_populate(struct wxp_region *region, enum wxp_state state,
			       gfp_t gfp)
{
	/* Not worth much of an effort. */
	gfp_t huge_gfp = (gfp & ~__GFP_RETRY_MAYFAIL) | __GFP_NORETRY;
	unsigned int order = ilog2(region->nr_pages);
	unsigned long i = 0, stop;
	struct folio *folio;

	while (i < region->nr_pages) {
		folio = folio_alloc(order ? huge_gfp : gfp, order);
		if (!folio && !order)
			return -ENOMEM;
		if (!folio) {
			order = 0;
			continue;
		}
		folio->index = region->pgoff + i;
		folio_ref_add(folio, folio_nr_pages(folio) - 1);
		for (stop = i + folio_nr_pages(folio); i < stop; i++)
			region->pages[i] = (struct wxp_page){ folio, state };
	}
	return 0;
}

/**
 * wxp_packed_new() - make packed pages that nobody can find yet
 * @ctx: the context to charge
 * @pgoff: where they shall be
 * @nr_pages: 1 or WXP_WINDOW_PAGES
 * @state: WXP_SEALED_R or WXP_SEALED_X
 * @gfp: WXP_GFP or WXP_GFP_NOWAIT
 *
 * The caller has to write all their bytes: they are not zeroed.
 *
 * Return: the pages, to be given to wxp_packed_insert() or
 * wxp_free_regions(), or -ENOMEM or -ENOSPC.
 */
struct wxp_region *wxp_packed_new(struct wxp_ctx *ctx, pgoff_t pgoff,
				  unsigned long nr_pages, enum wxp_state state,
				  gfp_t gfp)
{
	struct wxp_region *region;
	int err;

	err = wxp_charge(ctx, nr_pages);
	if (err)
		return ERR_PTR(err);
	err = -ENOMEM;
	region = wxp_region_alloc(pgoff, nr_pages, true, gfp);
	if (!region)
		goto err_uncharge;
	err = wxp_packed_populate(region, state, gfp);
	if (err)
		goto err_free;
	return region;

err_free:
	wxp_region_free(region);
err_uncharge:
	wxp_uncharge(ctx, nr_pages);
	return ERR_PTR(err);
}

static void wxp_count_packed(struct wxp_ctx *ctx, struct wxp_region *region, int n)
{
	long nr_pages = n * (long)region->nr_pages;

	/* All that begins or ends comes by here, so it is never stale. */
	ctx->hot = n > 0 ? region : NULL;
	ctx->nr[region->pages[0].state] += nr_pages;
	ctx->nr_packed += nr_pages;
	if (folio_test_large(region->pages[0].folio))
		ctx->nr_huge += nr_pages;
}

static void wxp_packed_begin(struct wxp_ctx *ctx, struct wxp_region *region)
{
	region->born = atomic_long_read(&ctx->forks);
	list_move(&region->link, &ctx->packed);
	wxp_count_packed(ctx, region, 1);
}

/**
 * wxp_packed_insert() - let packed pages be found
 * @ctx: the context
 * @region: the pages, in a list
 * @gfp: WXP_GFP or WXP_GFP_NOWAIT
 *
 * Return: 0, -EEXIST or -ENOMEM.
 */
int wxp_packed_insert(struct wxp_ctx *ctx, struct wxp_region *region, gfp_t gfp)
{
	int err;

	lockdep_assert_held_write(&ctx->lock);
	err = wxp_insert_region(ctx, region, gfp);
	if (!err)
		wxp_packed_begin(ctx, region);
	return err;
}

/* Puts packed pages in the place of kept ones of the same size. */
static void wxp_packed_hide(struct wxp_ctx *ctx, struct wxp_region *region,
			    struct wxp_region *older)
{
	region->older = older;
	older->newer = region;
	wxp_replace_region(ctx, older, region);
	wxp_packed_begin(ctx, region);
}

static struct wxp_region *wxp_packed_add(struct wxp_ctx *ctx, pgoff_t pgoff,
					 unsigned long nr_pages,
					 struct wxp_region *older,
					 enum wxp_state state, gfp_t gfp)
{
	struct wxp_region *region;
	unsigned long i;
	LIST_HEAD(failed);
	int err = 0;

	region = wxp_packed_new(ctx, pgoff, nr_pages, state, gfp);
	if (IS_ERR(region))
		return region;
	for (i = 0; i < nr_pages; i++)
		wxp_clear_lines(region, (u64)(pgoff + i) << WXP_LINES_SHIFT, WXP_LINES);
	list_add(&region->link, &failed);
	if (older)
		wxp_packed_hide(ctx, region, older);
	else
		err = wxp_packed_insert(ctx, region, gfp);
	wxp_free_regions(ctx, &failed);
	return err ? ERR_PTR(err) : region;
}

static struct wxp_region *wxp_packed_add_window(struct wxp_ctx *ctx, pgoff_t pgoff,
						enum wxp_state state, gfp_t gfp)
{
	unsigned long first = round_down(pgoff, WXP_WINDOW_PAGES);
	unsigned long index = first;

	if (!WXP_HUGE_SIZE ||
	    mt_find(&ctx->regions, &index, first + WXP_WINDOW_PAGES - 1))
		return ERR_PTR(-EEXIST);
	return wxp_packed_add(ctx, first, WXP_WINDOW_PAGES, NULL, state, gfp);
}

/**
 * wxp_packed_get() - the packed pages of an offset, made if they are absent
 * @ctx: the context
 * @pgoff: the offset
 * @state: WXP_SEALED_R or WXP_SEALED_X, for new ones
 * @huge: prefer a window of huge size
 * @gfp: WXP_GFP or WXP_GFP_NOWAIT
 *
 * Return: the pages, or -EEXIST (not packed), -ENOMEM, -ENOSPC.
 */
struct wxp_region *wxp_packed_get(struct wxp_ctx *ctx, pgoff_t pgoff,
				  enum wxp_state state, bool huge, gfp_t gfp)
{
	struct wxp_region *old, *new;

	lockdep_assert_held_write(&ctx->lock);
	if (ctx->hot && wxp_covers(ctx->hot, pgoff))
		return ctx->hot;
	old = mtree_load(&ctx->regions, pgoff);
	if (old && !old->lines)
		return ERR_PTR(-EEXIST);
	if (old && wxp_is_kept(old))
		return wxp_packed_add(ctx, old->pgoff, old->nr_pages, old, state, gfp);
	if (old) {
		ctx->hot = old;
		return old;
	}
	if (huge) {
		new = wxp_packed_add_window(ctx, pgoff, state, gfp);
		if (!IS_ERR(new))
			return new;
	}
	return wxp_packed_add(ctx, pgoff, 1, NULL, state, gfp);
}

/**
 * wxp_claim_lines() - make lines of one page live
 * @ctx: the context
 * @region: its packed pages
 * @line: the first line
 * @nr: number of lines, none of another page
 *
 * Return: 0, or -EEXIST where one is live already.
 */
int wxp_claim_lines(struct wxp_ctx *ctx, struct wxp_region *region, u64 line,
		    unsigned int nr)
{
	unsigned long bit = wxp_line_bit(region, line);

	lockdep_assert_held_write(&ctx->lock);
	if (find_next_bit(region->lines, bit + nr, bit) < bit + nr)
		return -EEXIST;
	bitmap_set(region->lines, bit, nr);
	region->nr_lines += nr;
	ctx->nr_lines += nr;
	return 0;
}

/**
 * wxp_drop_lines() - make lines of one page free
 * @ctx: the context
 * @region: its packed pages
 * @line: the first line
 * @nr: number of lines, none of another page
 * @ending: receives the page if it has no live line any more
 *
 * The caller has seen to the bytes that were in them.
 */
void wxp_drop_lines(struct wxp_ctx *ctx, struct wxp_region *region, u64 line,
		    unsigned int nr, struct wxp_ending *ending)
{
	lockdep_assert_held_write(&ctx->lock);
	bitmap_clear(region->lines, wxp_line_bit(region, line), nr);
	region->nr_lines -= nr;
	ctx->nr_lines -= nr;
	if (!region->nr_lines) {
		wxp_count_packed(ctx, region, -1);
		wxp_end_region(ctx, region, ending);
	}
}

/* The same lines live, with the same bytes. */
static void wxp_copy_pages(struct wxp_region *new, struct wxp_region *old)
{
	unsigned long i;
	u64 line;

	for (i = 0; i < old->nr_pages; i++) {
		line = (u64)(old->pgoff + i) << WXP_LINES_SHIFT;
		wxp_write_lines(new, line, WXP_LINES, wxp_line_address(old, line));
	}
	bitmap_copy(new->lines, old->lines, old->nr_pages << WXP_LINES_SHIFT);
	new->nr_lines = old->nr_lines;
	new->nr_doomed = old->nr_doomed;
}

/*
 * Heirs go on seeing the page as it is, in which the owner wants to free lines.
 * The owner goes on with its copy.
 */
static struct wxp_region *wxp_split(struct wxp_ctx *ctx, struct wxp_region *old,
				    struct wxp_ending *ending)
{
	struct wxp_region *copy = old->copy;

	old->copy = NULL;
	wxp_copy_pages(copy, old);
	wxp_count_packed(ctx, old, -1);
	wxp_packed_hide(ctx, copy, old);
	wxp_keep_region(ctx, old, ending);
	return copy;
}

typedef int (*wxp_lines_fn)(struct wxp_ctx *ctx, u64 line, unsigned int nr,
			    struct wxp_ending *ending);

static int wxp_walk_extent(struct wxp_ctx *ctx, const struct wxp_extent *extent,
			   wxp_lines_fn fn, struct wxp_ending *ending)
{
	u64 line = extent->line, end = extent->line + extent->nr;
	unsigned int nr;
	int err;

	for (; line < end; line += nr) {
		nr = wxp_lines_of_page(line, end);
		err = fn(ctx, line, nr, ending);
		if (err)
			return err;
		cond_resched();
	}
	return 0;
}

/* Calls @fn for a pool's lines, those of one page at a time, until it fails. */
static int wxp_walk_lines(struct wxp_ctx *ctx, struct wxp_pool *pool,
			  wxp_lines_fn fn, struct wxp_ending *ending)
{
	struct wxp_batch *batch;
	int err;
	u32 i;

	lockdep_assert_held_write(&ctx->lock);
	list_for_each_entry(batch, &pool->batches, link) {
		for (i = 0; i < batch->nr; i++) {
			err = wxp_walk_extent(ctx, &batch->extents[i], fn, ending);
			if (err)
				return err;
		}
	}
	return 0;
}

static int wxp_doom(struct wxp_ctx *ctx, u64 line, unsigned int nr,
		    struct wxp_ending *ending)
{
	wxp_line_region(ctx, line)->nr_doomed += nr;
	return 0;
}

static bool wxp_survives(const struct wxp_region *region)
{
	return region->nr_lines > region->nr_doomed;
}

/* For a page that heirs see, and other pools use. */
static int wxp_make_copy(struct wxp_ctx *ctx, u64 line, unsigned int nr,
			 struct wxp_ending *ending)
{
	struct wxp_region *region = wxp_line_region(ctx, line), *copy;

	if (region->copy || !wxp_survives(region) ||
	    !wxp_has_heir(region, ending))
		return 0;
	if (fatal_signal_pending(current))
		return -EINTR;
	copy = wxp_packed_new(ctx, region->pgoff, region->nr_pages,
			      region->pages[0].state, WXP_GFP);
	if (IS_ERR(copy))
		return PTR_ERR(copy);
	list_add(&copy->link, &ending->dead);
	region->copy = copy;
	return 0;
}

/* After an error: the copies are in the list of the dead. */
static int wxp_spare(struct wxp_ctx *ctx, u64 line, unsigned int nr,
		     struct wxp_ending *ending)
{
	struct wxp_region *region = wxp_line_region(ctx, line);

	region->nr_doomed -= nr;
	region->copy = NULL;
	return 0;
}

static int wxp_free_part(struct wxp_ctx *ctx, u64 line, unsigned int nr,
			 struct wxp_ending *ending)
{
	struct wxp_region *region = wxp_line_region(ctx, line);

	if (region->copy)
		region = wxp_split(ctx, region, ending);
	/* What heirs see of a page that ends must stay. */
	if (wxp_survives(region))
		wxp_clear_lines(region, line, nr);
	region->nr_doomed -= nr;
	wxp_drop_lines(ctx, region, line, nr, ending);
	return 0;
}

/**
 * wxp_free_lines() - free all lines of a pool
 * @ctx: the context
 * @pool: the pool; its batches are left as they are
 * @ending: receives the pages without a live line
 *
 * Return: 0, or -EINTR, -ENOMEM or -ENOSPC, with nothing changed for anybody.
 */
int wxp_free_lines(struct wxp_ctx *ctx, struct wxp_pool *pool,
		   struct wxp_ending *ending)
{
	int err = 0;

	wxp_walk_lines(ctx, pool, wxp_doom, ending);
	if (ending->newest_heir)
		err = wxp_walk_lines(ctx, pool, wxp_make_copy, ending);
	if (err)
		wxp_walk_lines(ctx, pool, wxp_spare, ending);
	else
		wxp_walk_lines(ctx, pool, wxp_free_part, ending);
	return err;
}
