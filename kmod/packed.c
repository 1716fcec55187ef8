// SPDX-License-Identifier: GPL-2.0-only
/*
 * wxpool: packed pages, whose lines may belong to different pools
 *
 * A packed page is never writable for anyone but the kernel, so bytes get into
 * it without a mapping to make or to take away. It is there as long as one of
 * its lines is live or kept for heirs. A block is one huge page, and one region.
 *
 * What is live, kept or absent changes under wxpool_context.lock. So does what
 * is in the lines; but views show that at once, to processors that may be
 * running the lines beside them.
 */
#include <linux/bitmap.h>
#include <linux/slab.h>

#include "internal.h"

static unsigned long wxpool_line_bit(const struct wxpool_region *region, u64 line)
{
	return line - ((u64)region->pgoff << WXPOOL_LINES_SHIFT);
}

/* How many lines from @line to @end are in the same page as @line? */
static unsigned int wxpool_lines_of_page(u64 line, u64 end)
{
	return min_t(u64, end - line, WXPOOL_LINES - line % WXPOOL_LINES);
}

/* The same for what has one fate: a region of packed pages, or a page of ALLOC's */
unsigned int wxpool_lines_of_region(const struct wxpool_region *region, u64 line, u64 end)
{
	if (!region->page)
		return wxpool_lines_of_page(line, end);
	return min(end, (u64)(region->pgoff + region->nr_pages) << WXPOOL_LINES_SHIFT) - line;
}

static void *wxpool_line_address(const struct wxpool_page *page, u64 line)
{
	return page_address(wxpool_page(page)) + line % WXPOOL_LINES * WXPOOL_LINE_SIZE;
}

static void wxpool_sync_lines(void *start, enum wxpool_state state, size_t size)
{
	if (state != WXPOOL_SEALED_R)
		wxpool_sync_icache((unsigned long)start, (unsigned long)start + size);
}

/* Puts full lines into packed pages. */
void wxpool_write_lines(struct wxpool_context *ctx, u64 line, unsigned int nr,
			const void *bytes)
{
	u64 end = line + nr;
	struct wxpool_page *page;
	unsigned int n, i;
	void *to;

	for (; line < end; line += n, bytes += n * WXPOOL_LINE_SIZE) {
		n = wxpool_lines_of_page(line, end);
		page = wxpool_find_page(ctx, line >> WXPOOL_LINES_SHIFT);
		to = wxpool_line_address(page, line);
		/* Eight moves each: mostly there are few, too few for a call. */
		for (i = 0; i < n * WXPOOL_LINE_SIZE; i += WXPOOL_LINE_SIZE)
			memcpy(to + i, bytes + i, WXPOOL_LINE_SIZE);
		wxpool_sync_lines(to, wxpool_state(page), n * WXPOOL_LINE_SIZE);
	}
}

/* Nothing is written to a page with a memory error: it gets out of reach instead. */
static void wxpool_clear_lines(struct wxpool_context *ctx, u64 line, unsigned int nr,
			       struct wxpool_ending *ending)
{
	u64 end = line + nr;
	struct wxpool_page *page;
	unsigned int n;
	void *to;

	for (; line < end; line += n) {
		n = wxpool_lines_of_page(line, end);
		page = wxpool_find_page(ctx, line >> WXPOOL_LINES_SHIFT);
		if (unlikely(PageHWPoison(wxpool_page(page)))) {
			wxpool_hide_pages(ctx, page->region->pgoff, ending);
			continue;
		}
		to = wxpool_line_address(page, line);
		wxpool_fill(to, wxpool_state(page), n * WXPOOL_LINE_SIZE);
		wxpool_sync_lines(to, wxpool_state(page), n * WXPOOL_LINE_SIZE);
	}
}

/*
 * A packed page, or a block, that nobody can find yet: its bytes are to be written, they
 * are not cleared. Unmovable: without a page cache or LRU behind it, migration could not
 * find the page tables (not GFP_HIGHUSER_MOVABLE). -ENOMEM or -ENOSPC
 */
struct wxpool_region *wxpool_packed_new(struct wxpool_context *ctx, unsigned int order,
					enum wxpool_state state, gfp_t gfp)
{
	struct wxpool_region *region;
	struct folio *folio;
	int err = -ENOSPC;

	/* A huge page is not worth much of an effort. */
	if (order)
		gfp = (gfp & ~__GFP_RETRY_MAYFAIL) | __GFP_NORETRY;
	region = wxpool_region_new(ctx, BIT(order), gfp);
	if (IS_ERR(region))
		return region;
	if (wxpool_charge(ctx, PAGE_SIZE << order))
		goto err_region;
	err = -ENOMEM;
	folio = folio_alloc(gfp, order);
	if (!folio)
		goto err_uncharge;
	region->page = folio_page(folio, 0);
	region->state = state;
	return region;

err_uncharge:
	wxpool_uncharge(ctx, PAGE_SIZE << order);
err_region:
	wxpool_region_free(ctx, region);
	return ERR_PTR(err);
}

void wxpool_packed_free(struct wxpool_context *ctx, struct wxpool_region *region)
{
	wxpool_free_pages(ctx, region->page);
	wxpool_region_free(ctx, region);
}

/* Lets it be found, with all bytes written: 0, -EEXIST, -ENOMEM or -ENOSPC. */
int wxpool_packed_insert(struct wxpool_context *ctx, struct wxpool_region *region,
			 pgoff_t pgoff, gfp_t gfp)
{
	bool absent = region->nr_pages > 1 ? wxpool_is_block_absent(ctx, pgoff) :
					     !wxpool_find_page(ctx, pgoff);
	struct wxpool_table *table;
	unsigned int i;

	lockdep_assert_held_write(&ctx->lock);
	if (!absent)
		return -EEXIST;
	table = wxpool_get_table(ctx, pgoff, gfp);
	if (IS_ERR(table))
		return PTR_ERR(table);
	region->born = ctx->forks;
	region->pgoff = pgoff;
	for (i = 0; i < region->nr_pages; i++)
		wxpool_set_page(ctx, table, pgoff + i, region->page + i, region->state, region);
	wxpool_sync_lines(page_address(region->page), region->state,
			  region->nr_pages << PAGE_SHIFT);
	return 0;
}

/* @fill: not all its lines will be written */
static struct wxpool_region *wxpool_packed_add(struct wxpool_context *ctx, pgoff_t pgoff,
					       unsigned int order, enum wxpool_state state,
					       bool fill, gfp_t gfp)
{
	struct wxpool_region *region;
	int err;

	region = wxpool_packed_new(ctx, order, state, gfp);
	if (IS_ERR(region))
		return region;
	if (fill)
		wxpool_fill(page_address(region->page), state, PAGE_SIZE << order);
	err = wxpool_packed_insert(ctx, region, round_down(pgoff, BIT(order)), gfp);
	if (!err)
		return region;
	wxpool_packed_free(ctx, region);
	return ERR_PTR(err);
}

/*
 * The packed page of a line, of which @nr lines will be written, made if it is absent:
 * as part of a block if @blocks. Else -EEXIST (of another kind, or hidden), -ENOMEM or
 * -ENOSPC.
 */
struct wxpool_region *wxpool_packed_get(struct wxpool_context *ctx, u64 line, u64 nr,
					enum wxpool_state state, bool blocks, gfp_t gfp)
{
	bool fill = line % WXPOOL_LINES || nr < WXPOOL_LINES;
	pgoff_t pgoff = line >> WXPOOL_LINES_SHIFT;
	struct wxpool_page *page = wxpool_find_page(ctx, pgoff);
	struct wxpool_region *region;

	lockdep_assert_held_write(&ctx->lock);
	if (page && wxpool_is_idle(page->region) &&
	    (wxpool_state(page) != state || wxpool_is_broken(page->region->page))) {
		wxpool_drop_block(ctx, wxpool_state(page));
		page = NULL;
	}
	if (page) {
		region = page->region;
		if (!region->page || wxpool_is_hidden(region) || region->state != state)
			return ERR_PTR(-EEXIST);
		return region;
	}
	if (blocks && WXPOOL_HAS_BLOCKS && wxpool_is_block_absent(ctx, pgoff)) {
		region = wxpool_packed_add(ctx, pgoff, WXPOOL_BLOCK_ORDER, state, true, gfp);
		if (!IS_ERR(region))
			return region;
	}
	return wxpool_packed_add(ctx, pgoff, 0, state, fill, gfp);
}

static void wxpool_count_packed(struct wxpool_context *ctx, const struct wxpool_region *region,
				int n)
{
	long nr_pages = n * (long)region->nr_pages;

	*wxpool_nr_pages(ctx, region->state) += nr_pages;
	ctx->info.pages_packed += nr_pages;
	if (region->nr_pages > 1)
		ctx->info.pages_huge += nr_pages;
}

static bool wxpool_are_broken(struct wxpool_context *ctx, u64 line, u64 end)
{
	struct wxpool_page *page;

	for (; line < end; line += wxpool_lines_of_page(line, end)) {
		page = wxpool_find_page(ctx, line >> WXPOOL_LINES_SHIFT);
		if (PageHWPoison(wxpool_page(page)))
			return true;
	}
	return false;
}

/* Makes lines of one region live: 0, or -EEXIST if one is live or kept, or -EHWPOISON. */
int wxpool_claim_lines(struct wxpool_context *ctx, struct wxpool_region *region, u64 line,
		       unsigned int nr)
{
	unsigned long bit = wxpool_line_bit(region, line);

	lockdep_assert_held_write(&ctx->lock);
	if (find_next_bit(region->lines, bit + nr, bit) < bit + nr)
		return -EEXIST;
	if (wxpool_are_broken(ctx, line, line + nr))
		return -EHWPOISON;
	if (ctx->idle[region->state] == region) {
		ctx->idle[region->state] = NULL;
		wxpool_count_idle(ctx, -(long)region->nr_pages);
		region->revived = true;
	}
	if (!region->nr_lines)
		wxpool_count_packed(ctx, region, 1);
	bitmap_set(region->lines, bit, nr);
	region->nr_lines += nr;
	ctx->info.lines += nr;
	return 0;
}

/* Its last live line is gone. */
static void wxpool_packed_fade(struct wxpool_context *ctx, struct wxpool_region *region,
			       struct wxpool_ending *ending)
{
	wxpool_count_packed(ctx, region, -1);
	if (region->nr_kept) {
		region->ended = ctx->forks;
		ctx->info.pages_kept += region->nr_pages;
		ending->kept += region->nr_pages;
		wxpool_hide_pages(ctx, region->pgoff, ending);
	} else if (region->nr_pages > 1 && (!ending->undone || region->revived) &&
		   !wxpool_is_broken(region->page)) {
		if (ctx->idle[region->state])
			ending->freed += wxpool_drop_block(ctx, region->state);
		ctx->idle[region->state] = region;
		wxpool_count_idle(ctx, region->nr_pages);
	} else {
		wxpool_end_pages(ctx, region->pgoff, ending);
	}
}

/* What becomes of lines of one region whose pool ended; @ending gets pages that go too. */
void wxpool_end_lines(struct wxpool_context *ctx, struct wxpool_region *region, u64 line,
		      unsigned int nr, enum wxpool_fate fate, struct wxpool_ending *ending)
{
	lockdep_assert_held_write(&ctx->lock);
	if (fate == WXPOOL_REAPED) {
		region->nr_kept -= nr;
		ctx->info.lines_kept -= nr;
	} else {
		region->nr_lines -= nr;
		ctx->info.lines -= nr;
	}
	if (fate == WXPOOL_KEPT) {
		region->nr_kept += nr;
		ctx->info.lines_kept += nr;
		ending->lines_kept += nr;
	} else {
		bitmap_clear(region->lines, wxpool_line_bit(region, line), nr);
		/* A page that ends needs no filling, a block may stay. */
		if (region->nr_lines || region->nr_kept || region->nr_pages > 1)
			wxpool_clear_lines(ctx, line, nr, ending);
	}
	if (!wxpool_is_hidden(region)) {
		if (!region->nr_lines)
			wxpool_packed_fade(ctx, region, ending);
	} else if (!region->nr_kept) {
		ctx->info.pages_kept -= region->nr_pages;
		wxpool_end_pages(ctx, region->pgoff, ending);
	}
}
