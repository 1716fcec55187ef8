// SPDX-License-Identifier: MIT
/*
 * wxfuzz: what INSTALL does to packed pages and their lines
 *
 * What of a range is in one page is a part. Whether there is memory for a block, or
 * an idle one stays, is up to the kernel: so the functions here take @blocks, a bit
 * for each stretch of 2 MiB in which one can be had.
 */
#include "wxfuzz.h"

/*
 * struct part - @nr lines of a page, from @line on
 * @first: the first of the pages that this part makes, or takes from an idle block
 * @nr_pages: how many; 0 if they are there already
 */
struct part {
	uint32_t line, nr, last_len, stamp;
	enum state state;
	uint32_t first, nr_pages;
	bool idle;
};

struct install {
	const struct op *op;
	struct part part[NR_RANGES * (MAX_INSTALL / PAGE + 1)];
	unsigned int nr;
	unsigned int blocks;
};

/* The end of the run of ranges that begins with @i, and its bytes */
unsigned int run_end(const struct op *op, unsigned int i, uint32_t *len)
{
	*len = op->r[i++].len;
	while (i < op->nr && op->r[i].cont)
		*len += op->r[i++].len;
	return i;
}

/* The bytes of the ranges between the first of its run, @head, and range @i */
uint32_t run_before(const struct op *op, unsigned int i, const struct range **head)
{
	uint32_t sum = 0;

	for (*head = &op->r[i]; (*head)->cont; --*head)
		sum += (*head)[-1].len;
	return sum;
}

static void split_run(struct install *in, const struct range *r, uint32_t len)
{
	uint32_t line = r->at, end = r->at + nr_lines_of(len), n;
	struct part *p = NULL;

	for (; line < end; line += n) {
		n = PAGE_LINES - line % PAGE_LINES;
		n = n < end - line ? n : end - line;
		p = &in->part[in->nr++];
		*p = (struct part){
			.line = line, .nr = n, .last_len = LINE,
			.stamp = r->stamp + line - r->at, .state = r->prot,
		};
	}
	if (len % LINE)
		p->last_len = len % LINE;
}

static void split(struct install *in, const struct op *op, unsigned int blocks)
{
	unsigned int i, next;
	uint32_t len;

	in->op = op;
	in->nr = 0;
	in->blocks = blocks;
	for (i = 0; i < op->nr; i = next) {
		next = run_end(op, i, &len);
		split_run(in, &op->r[i], len);
	}
}

static uint32_t part_page(const struct part *p)
{
	return p->line / PAGE_LINES;
}

/* Has an earlier part made something in that stretch of 2 MiB? Which the page? */
static const struct part *find_made(const struct install *in, const struct part *p,
				    bool *stretch)
{
	uint32_t page = part_page(p);
	const struct part *q;

	*stretch = false;
	for (q = in->part; q < p; q++) {
		if (!q->nr_pages || part_page(q) / BLOCK_PAGES != page / BLOCK_PAGES)
			continue;
		*stretch = true;
		if (page - q->first < q->nr_pages)
			return q;
	}
	return NULL;
}

static bool stretch_absent(unsigned int ctx, uint32_t page)
{
	uint32_t first = page / BLOCK_PAGES * BLOCK_PAGES, i;
	const struct mregion *r;

	for (i = 0; i < BLOCK_PAGES; i++) {
		r = model_region(ctx, first + i);
		if (r && !r->idle)
			return false;
	}
	return true;
}

/* Where nothing is, but perhaps an idle block, and @stretch: an earlier part's */
static void plan_pages(struct install *in, struct part *p, const struct mregion *idle,
		       bool stretch)
{
	unsigned int ctx = in->op->ctx;
	uint32_t page = part_page(p);

	p->first = page;
	p->nr_pages = 1;
	if (stretch || !(in->op->flags & WXPOOL_INSTALL_BLOCKS) ||
	    !(in->blocks & 1u << page / BLOCK_PAGES))
		return;
	p->idle = idle && W->mpage[idle->page0].state == p->state;
	if (!p->idle && (!W->ctx[ctx].block_size || !stretch_absent(ctx, page)))
		return;
	p->first = page / BLOCK_PAGES * BLOCK_PAGES;
	p->nr_pages = BLOCK_PAGES;
}

static struct mline *part_line(struct mregion *r, const struct part *p, uint32_t i)
{
	return &region_page(r, part_page(p))->line[p->line % PAGE_LINES + i];
}

static long plan_part(struct install *in, struct part *p)
{
	struct mregion *r = model_region(in->op->ctx, part_page(p));
	const struct part *q;
	bool stretch;
	uint32_t i;

	for (q = in->part; q < p; q++)
		if (p->line < q->line + q->nr && q->line < p->line + p->nr)
			return ERR(EEXIST);
	if (!r || r->idle) {
		q = find_made(in, p, &stretch);
		if (q)
			return q->state == p->state ? 0 : ERR(EEXIST);
		plan_pages(in, p, r, stretch);
		return 0;
	}
	if (!r->packed || W->mpage[r->page0].state != p->state)
		return ERR(EEXIST);
	for (i = 0; i < p->nr; i++) {
		if (part_line(r, p, i)->state == LINE_KEPT)
			seen(EV_KEPT_LINE);
		if (part_line(r, p, i)->state != LINE_FREE)
			return ERR(EEXIST);
	}
	return region_page(r, part_page(p))->poison ? ERR(EHWPOISON) : 0;
}

static long plan(struct install *in, const struct op *op, unsigned int blocks)
{
	unsigned int i;
	long err = 0;

	split(in, op, blocks);
	for (i = 0; i < in->nr && !err; i++)
		err = plan_part(in, &in->part[i]);
	return err;
}

/* But for want of room */
long model_install_error(const struct op *op, unsigned int blocks)
{
	static __thread struct install in;

	if (W->ctx[op->ctx].frozen)
		return ERR(EROFS);
	return plan(&in, op, blocks);
}

/* How many new pages it needs */
uint64_t model_install_pages(const struct op *op, unsigned int blocks)
{
	static __thread struct install in;
	uint64_t sum = 0;
	unsigned int i;

	plan(&in, op, blocks);
	for (i = 0; i < in.nr; i++)
		sum += in.part[i].idle ? 0 : in.part[i].nr_pages;
	return sum;
}

static struct mregion *make_place(struct install *in, const struct part *p)
{
	struct mregion *r = model_region(in->op->ctx, part_page(p));

	if (r && !r->idle)
		return r;
	if (p->idle) {
		r->idle = 0;
		seen(EV_IDLE_USED);
		return r;
	}
	if (r) {
		if (in->op->flags & WXPOOL_INSTALL_BLOCKS &&
		    W->mpage[r->page0].state == p->state && !info_may_go(r))
			miss(MISS_STAT, r->ctx, 1, 0, "whether an idle block is used");
		model_region_end(r);
		seen(EV_IDLE_DROPPED);
	}
	if (p->nr_pages > 1)
		seen(EV_BLOCK);
	return model_region_new(in->op->ctx, p->first, p->nr_pages, true, p->state);
}

static void write_part(struct install *in, const struct part *p, uint16_t pool)
{
	struct mregion *r = make_place(in, p);
	uint32_t i;

	if (r->hidden) {
		r->hidden = 0;
		seen(EV_SHARED_AGAIN);
	}
	for (i = 0; i < p->nr; i++)
		*part_line(r, p, i) = (struct mline){
			.stamp = p->stamp + i, .state = LINE_LIVE, .pool = pool,
			.len = i == p->nr - 1 ? p->last_len : LINE,
		};
	r->nr_live += p->nr;
	W->pool[pool].lines += p->nr;
}

static bool wants_block(struct install *in, const struct op *op, unsigned int blocks)
{
	unsigned int i;

	plan(in, op, blocks);
	for (i = 0; i < in->nr; i++)
		if (in->part[i].nr_pages > 1)
			return true;
	return false;
}

void model_install(const struct op *op, unsigned int blocks)
{
	static __thread struct install in;
	uint16_t pool = model_pool_get(op->ctx, op->pool);
	unsigned int i;

	if (wants_block(&in, op, ~0u) && !wants_block(&in, op, blocks))
		seen(EV_BLOCK_REFUSED);
	plan(&in, op, blocks);
	for (i = 0; i < in.nr; i++)
		write_part(&in, &in.part[i], pool);
	for (i = 1; i < op->nr; i++)
		if (op->r[i].cont)
			seen(EV_GATHER);
}

/* Does it name a page of an idle block, other than to install what suits it? */
bool model_drops(const struct op *op, const struct mregion *r)
{
	unsigned int i, next, n = op->kind == OP_INSTALL ? PAGE_LINES : 1;
	uint32_t first, last, len;

	if (r->ctx != op->ctx || (op->kind != OP_INSTALL && op->kind != OP_ALLOC))
		return false;
	for (i = 0; i < op->nr; i = next) {
		next = run_end(op, i, &len);
		first = op->r[i].at / n;
		last = (op->r[i].at + (n > 1 ? nr_lines_of(len) : len) - 1) / n;
		if (first < r->pgoff + r->nr && last >= r->pgoff &&
		    (!(op->flags & WXPOOL_INSTALL_BLOCKS) ||
		     op->r[i].prot != W->mpage[r->page0].state))
			return true;
	}
	return false;
}
