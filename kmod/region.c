// SPDX-License-Identifier: GPL-2.0-only
/*
 * wxpool: pages by their offsets, and how they go away
 */
#include <linux/pagemap.h>

#include "internal.h"

#define WXPOOL_PAGES_SIZE	(WXPOOL_BLOCK_PAGES * sizeof(struct wxpool_page))
/* With what it needs of the index: at worst a node of its own */
#define WXPOOL_TABLE_COST	(WXPOOL_PAGES_SIZE + SZ_1K)

static struct wxpool_table *wxpool_find_table(struct wxpool_context *ctx, pgoff_t pgoff)
{
	unsigned long index = pgoff >> WXPOOL_BLOCK_ORDER;
	struct wxpool_table *table = READ_ONCE(ctx->hot);

	if (table && table->index == index)
		return table;
	table = xa_load(&ctx->tables, index);
	/* Several faults may do this at once; any of their tables will do. */
	if (table)
		WRITE_ONCE(ctx->hot, table);
	return table;
}

/* The page at an offset, or NULL if it is absent */
struct wxpool_page *wxpool_find_page(struct wxpool_context *ctx, pgoff_t pgoff)
{
	struct wxpool_table *table = wxpool_find_table(ctx, pgoff);
	struct wxpool_page *page;

	if (!table)
		return NULL;
	page = &table->pages[pgoff % WXPOOL_BLOCK_PAGES];
	return page->region ? page : NULL;
}

bool wxpool_is_block_absent(struct wxpool_context *ctx, pgoff_t pgoff)
{
	struct wxpool_table *table = wxpool_find_table(ctx, pgoff);

	return !table || !table->nr;
}

static void wxpool_table_free(struct wxpool_context *ctx, struct wxpool_table *table)
{
	if (!table)
		return;
	ctx->hot = NULL;
	xa_erase(&ctx->tables, table->index);
	kvfree(table->pages);
	kfree(table);
	wxpool_uncharge(ctx, WXPOOL_TABLE_COST);
}

/* One without pages stays, so that tables do not come and go with a page. */
static void wxpool_table_empty(struct wxpool_context *ctx, struct wxpool_table *table)
{
	if (ctx->empty != table)
		wxpool_table_free(ctx, ctx->empty);
	ctx->empty = table;
}

/* Made if it is not there, good until the next one is asked for. -ENOMEM or -ENOSPC */
struct wxpool_table *wxpool_get_table(struct wxpool_context *ctx, pgoff_t pgoff)
{
	struct wxpool_table *table = wxpool_find_table(ctx, pgoff);

	lockdep_assert_held_write(&ctx->lock);
	if (table)
		return table;
	if (wxpool_charge(ctx, WXPOOL_TABLE_COST))
		return ERR_PTR(-ENOSPC);
	table = kzalloc(sizeof(*table), ctx->gfp);
	if (!table)
		goto err_uncharge;
	table->index = pgoff >> WXPOOL_BLOCK_ORDER;
	table->pages = kvzalloc(WXPOOL_PAGES_SIZE, ctx->gfp);
	if (!table->pages || xa_err(xa_store(&ctx->tables, table->index, table, ctx->gfp)))
		goto err_table;
	wxpool_table_empty(ctx, table);
	return table;

err_table:
	kvfree(table->pages);
	kfree(table);
err_uncharge:
	wxpool_uncharge(ctx, WXPOOL_TABLE_COST);
	return ERR_PTR(-ENOMEM);
}

void wxpool_set_page(struct wxpool_context *ctx, struct wxpool_table *table, pgoff_t pgoff,
		     struct page *page, enum wxpool_state state, struct wxpool_region *region)
{
	struct wxpool_page *at = &table->pages[pgoff % WXPOOL_BLOCK_PAGES];

	WARN_ON_ONCE(at->region);
	if (ctx->empty == table)
		ctx->empty = NULL;
	table->nr++;
	*at = (struct wxpool_page){ (unsigned long)page | state, region };
}

static size_t wxpool_region_size(unsigned int nr_packed)
{
	return struct_size((struct wxpool_region *)NULL, lines,
			   BITS_TO_LONGS(nr_packed << WXPOOL_LINES_SHIFT));
}

/* Of so many packed pages, or of those that ALLOC will add to it if there are none */
struct wxpool_region *wxpool_region_new(struct wxpool_context *ctx, unsigned int nr_packed,
					gfp_t gfp)
{
	struct wxpool_region *region;

	region = wxpool_get_memory(ctx, wxpool_region_size(nr_packed), gfp);
	if (IS_ERR(region))
		return region;
	region->nr_pages = nr_packed;
	return region;
}

void wxpool_region_free(struct wxpool_context *ctx, struct wxpool_region *region)
{
	wxpool_put_memory(ctx, region, wxpool_region_size(region->nr_pages));
}

/*
 * The allocator keeps a single page with a memory error away from others, but not one that is part
 * of a block: such a block is for nobody any more.
 */
void wxpool_free_pages(struct wxpool_context *ctx, struct page *page)
{
	unsigned long i, nr = folio_nr_pages(page_folio(page));

	wxpool_uncharge(ctx, nr << PAGE_SHIFT);
	for (i = 0; nr > 1 && i < nr; i++)
		if (PageHWPoison(page + i))
			return;
	put_page(page);
}

/*
 * The state of a page or a block for all faults to come. Waits for those in flight, which hold the
 * folio's lock until their PTE is in place, so that unmapping the page afterwards finds them all.
 */
void wxpool_settle_page(struct wxpool_page *page, enum wxpool_state state)
{
	struct folio *folio = page_folio(wxpool_page(page));

	folio_lock(folio);
	page->word = (page->word & ~WXPOOL_STATE_MASK) | state;
	folio_unlock(folio);
}

/* From all views in all processes */
void wxpool_unmap(struct wxpool_context *ctx, pgoff_t pgoff, unsigned long nr)
{
	unmap_mapping_range(ctx->inode->i_mapping, (loff_t)pgoff << PAGE_SHIFT,
			    (loff_t)nr << PAGE_SHIFT, 1);
}

void wxpool_unmap_ended(struct wxpool_ending *ending)
{
	if (ending->first < ending->stop)
		wxpool_unmap(ending->ctx, ending->first, ending->stop - ending->first);
	ending->first = 0;
	ending->stop = 0;
}

/* One of ALLOC's goes alone, packed ones with all of their region. */
static unsigned long wxpool_fellows(const struct wxpool_region *region)
{
	return region->page ? region->nr_pages : 1;
}

/* Together with its neighbours: each flush of other processors' TLBs interrupts them. */
void wxpool_unmap_later(struct wxpool_ending *ending, pgoff_t pgoff, unsigned long nr)
{
	if (ending->stop != pgoff) {
		wxpool_unmap_ended(ending);
		ending->first = pgoff;
	}
	ending->stop = pgoff + nr;
}

/* Has a page or a block unmapped; wxpool_unmap_ended() is still to come. */
void wxpool_hide_pages(struct wxpool_ending *ending, pgoff_t pgoff)
{
	struct wxpool_page *page = wxpool_find_page(ending->ctx, pgoff);

	lockdep_assert_held_write(&ending->ctx->lock);
	wxpool_settle_page(page, wxpool_state(page));
	wxpool_unmap_later(ending, pgoff, wxpool_fellows(page->region));
}

/* The same for one that is for nobody any more; until it is unmapped views hold it. */
void wxpool_end_pages(struct wxpool_ending *ending, pgoff_t pgoff)
{
	struct wxpool_context *ctx = ending->ctx;
	struct wxpool_table *table = wxpool_find_table(ctx, pgoff);
	struct wxpool_page *first = &table->pages[pgoff % WXPOOL_BLOCK_PAGES];
	struct wxpool_region *region = first->region;
	unsigned long nr = wxpool_fellows(region);

	wxpool_hide_pages(ending, pgoff);
	wxpool_free_pages(ctx, wxpool_page(first));
	memset(first, 0, nr * sizeof(*first));
	table->nr -= nr;
	if (!table->nr)
		wxpool_table_empty(ctx, table);
	if (region->page || !--region->nr_pages)
		wxpool_region_free(ctx, region);
	ending->freed += nr;
}

/* All pages there are; pools and counters are the caller's. */
void wxpool_end_tables(struct wxpool_ending *ending)
{
	struct wxpool_table *table;
	unsigned long index, i;

	xa_for_each(&ending->ctx->tables, index, table) {
		for (i = 0; table->nr; i++)
			if (table->pages[i].region)
				wxpool_end_pages(ending, (index << WXPOOL_BLOCK_ORDER) + i);
		cond_resched();
	}
}

/* The idle block of a state; returns how many pages went. */
unsigned long wxpool_drop_block(struct wxpool_context *ctx, enum wxpool_state state)
{
	struct wxpool_region *region = ctx->idle[state];
	struct wxpool_ending ending = { .ctx = ctx };

	lockdep_assert_held_write(&ctx->lock);
	ctx->idle[state] = NULL;
	wxpool_count_idle(ctx, -(long)region->nr_pages);
	wxpool_end_pages(&ending, region->pgoff);
	wxpool_unmap_ended(&ending);
	return ending.freed;
}

/*
 * What is kept for speed alone; returns how many bytes. A block whose folio is locked stays: that
 * may be by a fault that needs a page table, for which it is to go.
 */
unsigned long wxpool_drop_idle(struct wxpool_context *ctx)
{
	long before = atomic_long_read(&ctx->charged);
	enum wxpool_state state;
	struct folio *folio;

	for (state = 0; state < WXPOOL_NR_STATES; state++) {
		folio = ctx->idle[state] ? page_folio(ctx->idle[state]->page) : NULL;
		if (!folio || !folio_trylock(folio))
			continue;
		folio_unlock(folio);
		wxpool_drop_block(ctx, state);
	}
	wxpool_table_free(ctx, ctx->empty);
	ctx->empty = NULL;
	return max(before - atomic_long_read(&ctx->charged), 0l);
}
