// SPDX-License-Identifier: GPL-2.0-only
/*
 * wxpool: packed pages, whose lines may belong to different pools
 *
 * A packed page is never writable for anyone but the kernel, so bytes get into it without a mapping
 * to make or to take away. It is there as long as one of its lines is live or kept for heirs.
 *
 * What is in the lines changes under wxpool_context.lock; but views show that at once, to
 * processors that may be running the lines beside them.
 */
#include <linux/bitmap.h>

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

static struct page *wxpool_region_page(const struct wxpool_region *region, u64 line)
{
	return region->page + ((line >> WXPOOL_LINES_SHIFT) - region->pgoff);
}

static void *wxpool_line_address(const struct wxpool_region *region, u64 line)
{
	return page_address(wxpool_region_page(region, line)) +
	       line % WXPOOL_LINES * WXPOOL_LINE_SIZE;
}

static void wxpool_sync_lines(void *start, enum wxpool_state state, size_t size)
{
	if (state != WXPOOL_SEALED_R)
		wxpool_sync_icache((unsigned long)start, (unsigned long)start + size);
}

/* Puts full lines into packed pages. */
void wxpool_write_lines(struct wxpool_context *ctx, u64 line, unsigned int nr, const void *bytes)
{
	struct wxpool_region *region;
	unsigned int n, i;
	u64 end = line + nr;
	void *to;

	for (; line < end; line += n, bytes += n * WXPOOL_LINE_SIZE) {
		n = wxpool_lines_of_page(line, end);
		region = wxpool_find_page(ctx, line >> WXPOOL_LINES_SHIFT)->region;
		to = wxpool_line_address(region, line);
		/* Eight moves each: mostly there are few, too few for a call. */
		for (i = 0; i < n * WXPOOL_LINE_SIZE; i += WXPOOL_LINE_SIZE)
			memcpy(to + i, bytes + i, WXPOOL_LINE_SIZE);
		wxpool_sync_lines(to, region->state, n * WXPOOL_LINE_SIZE);
	}
}

/* Has a page of these lines a memory error, as far as they are in the region? */
bool wxpool_are_broken(struct wxpool_region *region, u64 line, u64 nr)
{
	u64 end = min(line + nr, (u64)(region->pgoff + region->nr_pages) << WXPOOL_LINES_SHIFT);

	for (; line < end; line += wxpool_lines_of_page(line, end)) {
		if (PageHWPoison(wxpool_region_page(region, line))) {
			region->broken = true;
			return true;
		}
	}
	return false;
}

/* Nothing is written to a page with a memory error: it gets out of reach instead. */
static void wxpool_clear_lines(struct wxpool_ending *ending, struct wxpool_region *region,
			       u64 line, unsigned int nr)
{
	u64 end = line + nr;
	unsigned int n;
	void *to;

	for (; line < end; line += n) {
		n = wxpool_lines_of_page(line, end);
		if (unlikely(wxpool_are_broken(region, line, n))) {
			wxpool_hide_pages(ending, region->pgoff);
			continue;
		}
		to = wxpool_line_address(region, line);
		wxpool_fill(to, region->state, n * WXPOOL_LINE_SIZE);
		wxpool_sync_lines(to, region->state, n * WXPOOL_LINE_SIZE);
	}
}

/*
 * A packed page or a block, not cleared, that nobody can find yet. Unmovable: without a page cache
 * or LRU behind it, migration could not find the page tables. -ENOMEM or -ENOSPC
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
int wxpool_packed_insert(struct wxpool_context *ctx, struct wxpool_region *region, pgoff_t pgoff)
{
	bool absent = region->nr_pages > 1 ? wxpool_is_block_absent(ctx, pgoff) :
					     !wxpool_find_page(ctx, pgoff);
	struct wxpool_table *table;
	unsigned int i;

	lockdep_assert_held_write(&ctx->lock);
	if (!absent)
		return -EEXIST;
	table = wxpool_get_table(ctx, pgoff);
	if (IS_ERR(table))
		return PTR_ERR(table);
	region->born = ctx->forks;
	region->pgoff = pgoff;
	/* The core maps a block by one entry only if, by its index, it ends within the file. */
	page_folio(region->page)->index = pgoff;
	for (i = 0; i < region->nr_pages; i++)
		wxpool_set_page(ctx, table, pgoff + i, region->page + i, region->state, region);
	wxpool_sync_lines(page_address(region->page), region->state,
			  region->nr_pages << PAGE_SHIFT);
	return 0;
}

/* @fill: not all its lines will be written */
static struct wxpool_region *wxpool_packed_add(struct wxpool_context *ctx, pgoff_t pgoff,
					       unsigned int order, enum wxpool_state state,
					       bool fill)
{
	struct wxpool_region *region;
	int err;

	region = wxpool_packed_new(ctx, order, state, ctx->gfp);
	if (IS_ERR(region))
		return region;
	if (fill)
		wxpool_fill(page_address(region->page), state, PAGE_SIZE << order);
	err = wxpool_packed_insert(ctx, region, round_down(pgoff, BIT(order)));
	if (!err)
		return region;
	wxpool_packed_free(ctx, region);
	return ERR_PTR(err);
}

/*
 * The packed page of a line, of which @nr lines will be written, made if it is absent: as part of
 * a block if @blocks. Else -EEXIST (of another kind), -ENOMEM or -ENOSPC.
 */
struct wxpool_region *wxpool_packed_get(struct wxpool_context *ctx, u64 line, u64 nr,
					enum wxpool_state state, bool blocks)
{
	bool fill = line % WXPOOL_LINES || nr < WXPOOL_LINES;
	pgoff_t pgoff = line >> WXPOOL_LINES_SHIFT;
	struct wxpool_page *page = wxpool_find_page(ctx, pgoff);
	struct wxpool_region *region;

	lockdep_assert_held_write(&ctx->lock);
	if (page && wxpool_is_idle(ctx, page->region) &&
	    (!blocks || wxpool_state(page) != state ||
	     wxpool_are_broken(page->region, line, nr))) {
		wxpool_drop_block(ctx, wxpool_state(page));
		page = NULL;
	}
	if (page) {
		region = page->region;
		if (!region->page || region->state != state)
			return ERR_PTR(-EEXIST);
		return region;
	}
	if (blocks && wxpool_is_block_absent(ctx, pgoff)) {
		region = wxpool_packed_add(ctx, pgoff, WXPOOL_BLOCK_ORDER, state, true);
		if (!IS_ERR(region))
			return region;
	}
	return wxpool_packed_add(ctx, pgoff, 0, state, fill);
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

/* Makes lines of one region live: 0, or -EEXIST if one is live or kept. */
int wxpool_claim_lines(struct wxpool_context *ctx, struct wxpool_region *region, u64 line,
		       unsigned int nr)
{
	unsigned long bit = wxpool_line_bit(region, line);

	lockdep_assert_held_write(&ctx->lock);
	if (find_next_bit(region->lines, bit + nr, bit) < bit + nr)
		return -EEXIST;
	if (wxpool_is_idle(ctx, region)) {
		ctx->idle[region->state] = NULL;
		wxpool_count_idle(ctx, -(long)region->nr_pages);
		region->revived = true;
	}
	/* Kept lines beside those of others stay, for all to see. */
	if (region->hidden) {
		region->hidden = false;
		ctx->info.pages_kept -= region->nr_pages;
	}
	if (!region->nr_lines)
		wxpool_count_packed(ctx, region, 1);
	bitmap_set(region->lines, bit, nr);
	region->nr_lines += nr;
	ctx->info.lines += nr;
	return 0;
}

/* Its last live line is gone. */
static void wxpool_packed_fade(struct wxpool_ending *ending, struct wxpool_region *region)
{
	struct wxpool_context *ctx = ending->ctx;

	wxpool_count_packed(ctx, region, -1);
	if (region->nr_kept) {
		if (!ending->undone)
			region->ended = ctx->forks;
		region->hidden = true;
		ctx->info.pages_kept += region->nr_pages;
		ending->kept += region->nr_pages;
		wxpool_hide_pages(ending, region->pgoff);
	} else if (region->nr_pages > 1 && (!ending->undone || region->revived) &&
		   !region->broken) {
		if (ctx->idle[region->state])
			ending->freed += wxpool_drop_block(ctx, region->state);
		ctx->idle[region->state] = region;
		wxpool_count_idle(ctx, region->nr_pages);
	} else {
		wxpool_end_pages(ending, region->pgoff);
	}
}

/* What becomes of lines of one region whose pool ended; @ending gets pages that go too. */
void wxpool_end_lines(struct wxpool_ending *ending, struct wxpool_region *region, u64 line, u32 nr)
{
	struct wxpool_context *ctx = ending->ctx;

	lockdep_assert_held_write(&ctx->lock);
	if (ending->fate == WXPOOL_REAPED) {
		region->nr_kept -= nr;
		ctx->info.lines_kept -= nr;
	} else {
		region->nr_lines -= nr;
		ctx->info.lines -= nr;
	}
	if (ending->fate == WXPOOL_KEPT) {
		region->nr_kept += nr;
		ctx->info.lines_kept += nr;
		ending->lines_kept += nr;
	} else {
		bitmap_clear(region->lines, wxpool_line_bit(region, line), nr);
		/* A page that ends needs no filling, a block may stay. */
		if (region->nr_lines || region->nr_kept || region->nr_pages > 1)
			wxpool_clear_lines(ending, region, line, nr);
	}
	if (!region->hidden) {
		if (!region->nr_lines)
			wxpool_packed_fade(ending, region);
	} else if (!region->nr_kept) {
		ctx->info.pages_kept -= region->nr_pages;
		wxpool_end_pages(ending, region->pgoff);
	}
}
