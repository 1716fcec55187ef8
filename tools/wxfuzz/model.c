// SPDX-License-Identifier: MIT
/*
 * wxfuzz: what the operations of the device do to pools, regions and pages
 *
 * Of each operation one function says what it returns, but for want of memory,
 * and another does to the model what the operation does to the context. They
 * follow linux/wxpool.h and device.md; if these leave open which of two errors
 * comes first, the module's order.
 */
#include "wxfuzz.h"

static unsigned int region_index(const struct mregion *r)
{
	return r - W->region;
}

struct mregion *model_region(unsigned int ctx, uint32_t page)
{
	unsigned int i = page < NR_PAGES ? W->ctx[ctx].top[page] : 0;

	return i ? &W->region[i] : NULL;
}

static bool is_block(const struct mregion *r)
{
	return r->packed && r->nr == BLOCK_PAGES;
}

/* ---- pages */

/* A pin is gone, or the region that had the page */
void model_page_put(struct mpage *page)
{
	if (page->orphan && !page->pins)
		page->used = 0;
}

/* Pages that a pin holds after they were freed remain used: hence gaps. */
static uint32_t pages_get(unsigned int nr)
{
	uint32_t start = W->mpage_hint, run = 0, i, n;

	for (n = 0, i = start; n < 2 * NR_MPAGES; n++, i++) {
		if (i >= NR_MPAGES) {
			i = 0;
			run = 0;
		}
		run = W->mpage[i].used ? 0 : run + 1;
		if (run == nr) {
			W->mpage_hint = i + 1 < NR_MPAGES ? i + 1 : 0;
			return i + 1 - nr;
		}
	}
	fprintf(stderr, "wxfuzz: out of model pages\n");
	_exit(4);
}

/* As a free line, and an OPEN page, is */
void model_fill(struct mline *line, enum state state)
{
	bool traps = state == SEALED_X || state == SEALED_XO;

	*line = (struct mline){
		.stamp = traps ? STAMP_TRAP : STAMP_ZERO, .len = LINE,
	};
}

static void page_reset(struct mpage *page, enum state state)
{
	unsigned int i;

	memset(page, 0, sizeof(*page));
	page->used = 1;
	page->state = state;
	for (i = 0; i < PAGE_LINES; i++)
		model_fill(&page->line[i], state);
}

static void set_top(const struct mregion *r, unsigned int index)
{
	unsigned int i;

	for (i = 0; i < r->nr; i++)
		W->ctx[r->ctx].top[r->pgoff + i] = index;
}

/* All of it is absent. */
struct mregion *model_region_new(unsigned int ctx, uint32_t pgoff, unsigned int nr,
				 bool packed, enum state state)
{
	struct mregion *r;
	unsigned int i;

	for (i = 1; i < NR_REGIONS && W->region[i].used; i++)
		;
	if (i == NR_REGIONS) {
		fprintf(stderr, "wxfuzz: out of model regions\n");
		_exit(4);
	}
	r = &W->region[i];
	*r = (struct mregion){
		.used = 1, .packed = packed, .ctx = ctx, .pgoff = pgoff, .nr = nr,
		.born = W->ctx[ctx].forks, .page0 = pages_get(nr),
	};
	for (i = 0; i < nr; i++)
		page_reset(&W->mpage[r->page0 + i], state);
	set_top(r, region_index(r));
	return r;
}

/* Absent again */
void model_region_end(struct mregion *r)
{
	unsigned int i;

	set_top(r, 0);
	for (i = 0; i < r->nr; i++) {
		W->mpage[r->page0 + i].orphan = 1;
		model_page_put(&W->mpage[r->page0 + i]);
	}
	r->used = 0;
}

/* For heirs only, from now on */
static void region_hide(struct mregion *r)
{
	r->hidden = 1;
	r->ended = W->ctx[r->ctx].forks;
	seen(EV_HIDDEN);
}

/* ---- pools */

/* The live one of that number, or 0 */
uint16_t model_pool(unsigned int ctx, uint32_t number)
{
	unsigned int i;

	for (i = 1; i < NR_MPOOLS; i++) {
		const struct mpool *p = &W->pool[i];

		if (p->used && !p->kept && p->ctx == ctx && p->number == number)
			return i;
	}
	return 0;
}

uint16_t model_pool_get(unsigned int ctx, uint32_t number)
{
	unsigned int i = model_pool(ctx, number);

	if (i)
		return i;
	for (i = 1; i < NR_MPOOLS && W->pool[i].used; i++)
		;
	if (i == NR_MPOOLS) {
		fprintf(stderr, "wxfuzz: out of model pools\n");
		_exit(4);
	}
	W->pool[i] = (struct mpool){
		.used = 1, .ctx = ctx, .number = number, .born = W->ctx[ctx].forks,
	};
	return i;
}

/* The newest of the forks after @born, up to @ended, that left an heir, or 0 */
static uint32_t newest_heir(unsigned int ctx, uint32_t born, uint32_t ended)
{
	const struct slot *s;
	uint32_t gen = 0;
	unsigned int p, i;

	for (p = 0; ended > born && p < NR_PROCS; p++) {
		if (!W->proc[p].alive)
			continue;
		for (i = 0; i < NR_SLOTS; i++) {
			s = &W->proc[p].slot[i];
			if (s->kind && s->ctx == ctx && s->gen > born &&
			    s->gen <= ended && s->gen > gen)
				gen = s->gen;
		}
	}
	return gen;
}

static void free_line(struct mline *l, const struct mpage *p)
{
	struct mline old = *l;

	model_fill(l, p->state);
	if (!p->pins)
		return;
	l->old = old.stamp;
	l->old_len = old.len;
}

/* What a FREE does to the lines of a pool in a region. Are there any? */
static bool end_lines(struct mregion *r, uint16_t pool, bool keep)
{
	bool any = false;
	uint32_t i;

	for (i = 0; i < r->nr * PAGE_LINES; i++) {
		struct mpage *p = &W->mpage[r->page0 + i / PAGE_LINES];
		struct mline *l = &p->line[i % PAGE_LINES];

		if (l->state == LINE_FREE || l->pool != pool)
			continue;
		any = true;
		r->nr_live -= l->state == LINE_LIVE;
		r->nr_kept -= l->state == LINE_KEPT;
		if (keep) {
			l->state = LINE_KEPT;
			r->nr_kept++;
		} else {
			free_line(l, p);
		}
	}
	return any;
}

/* What is still there is filled. */
static void forget_old(unsigned int ctx)
{
	const struct mregion *r;
	struct mpage *p;
	uint32_t i, k;

	for (r = W->region; r < W->region + NR_REGIONS; r++)
		for (i = 0; r->used && r->ctx == ctx && i < r->nr; i++) {
			p = &W->mpage[r->page0 + i];
			for (k = 0; p->pins && k < PAGE_LINES; k++)
				p->line[k].old_len = 0;
		}
}

/* Packed pages of which lines have gone */
static void settle_packed(struct mregion *r, struct wxpool_free *out)
{
	if (!r->nr_live && !r->nr_kept && (r->hidden || !is_block(r))) {
		out->pages_freed += r->nr;
		model_region_end(r);
		return;
	}
	if (r->nr_live || r->hidden)
		return;
	if (r->nr_kept) {
		out->pages_kept += r->nr;
		region_hide(r);
	} else {
		r->emptied = 1;
	}
}

static void end_region(struct mregion *r, uint16_t pool, bool keep,
		       struct wxpool_free *out)
{
	if (!r->packed) {
		if (r->pool != pool)
			return;
		if (keep) {
			region_hide(r);
			out->pages_kept += r->nr;
		} else {
			out->pages_freed += r->nr;
			model_region_end(r);
		}
		return;
	}
	if (end_lines(r, pool, keep))
		settle_packed(r, out);
}

static void end_pool(uint16_t i, bool keep, struct wxpool_free *out)
{
	struct mpool *p = &W->pool[i];
	struct mregion *r;

	for (r = W->region; r < W->region + NR_REGIONS; r++)
		if (r->used && r->ctx == p->ctx && !r->idle && !r->emptied)
			end_region(r, i, keep, out);
	p->kept = keep;
	p->keeper = newest_heir(p->ctx, p->born, UINT32_MAX);
	p->ended = W->ctx[p->ctx].forks;
	p->used = keep;
	if (keep) {
		out->lines_kept += p->lines;
		seen(EV_KEPT);
	}
}

/* What no heir shows any more goes, whatever happens or not. */
void model_reap(unsigned int ctx)
{
	struct wxpool_free out = { 0 };
	bool any = false;
	unsigned int i;

	for (i = 1; i < NR_MPOOLS; i++) {
		struct mpool *p = &W->pool[i];
		uint32_t keeper;

		if (!p->used || !p->kept || p->ctx != ctx)
			continue;
		keeper = newest_heir(ctx, p->born, p->ended);
		if (!keeper) {
			end_pool(i, false, &out);
			any = true;
			seen(EV_REAPED);
		} else if (keeper != p->keeper) {
			p->keeper = keeper;
			seen(EV_PASSED_ON);
		}
	}
	if (any)
		forget_old(ctx);
}

/* ---- ALLOC */

static bool all_absent(const struct op *op, unsigned int n)
{
	const struct range *r = &op->r[n], *o;
	const struct mregion *reg;
	uint32_t page;

	for (page = r->at; page < NR_PAGES && page - r->at < r->len; page++) {
		reg = model_region(op->ctx, page);
		if (reg && !reg->idle)
			return false;
	}
	for (o = op->r; o < r; o++)
		if (r->at < o->at + o->len && o->at < r->at + r->len)
			return false;
	return true;
}

long model_alloc_error(const struct op *op)
{
	unsigned int i;

	if (W->ctx[op->ctx].frozen)
		return ERR(EROFS);
	for (i = 0; i < op->nr; i++)
		if (!all_absent(op, i))
			return ERR(EEXIST);
	return 0;
}

void model_alloc(const struct op *op)
{
	uint16_t pool = model_pool_get(op->ctx, op->pool);
	struct mregion *r;
	unsigned int i;

	for (r = W->region; r < W->region + NR_REGIONS; r++)
		if (r->used && r->idle && model_drops(op, r)) {
			model_region_end(r);
			seen(EV_IDLE_DROPPED);
		}
	for (i = 0; i < op->nr; i++) {
		r = model_region_new(op->ctx, op->r[i].at, op->r[i].len, false, OPEN);
		r->pool = pool;
		r->born = W->pool[pool].born;
		W->pool[pool].pages += r->nr;
	}
}

/* ---- PROTECT */

static long page_error(const struct op *op, unsigned int n, uint32_t page,
		       uint16_t pool)
{
	struct mregion *r = model_region(op->ctx, page);
	const struct range *o;

	if (!r || r->packed || r->hidden || r->pool != pool)
		return ERR(ENOENT);
	if (region_page(r, page)->state != OPEN)
		return ERR(EPERM);
	for (o = op->r; o < op->r + n; o++)
		if (page >= o->at && page < o->at + o->len)
			return ERR(EPERM);
	return region_page(r, page)->poison ? ERR(EHWPOISON) : 0;
}

static bool is_pinned(const struct op *op)
{
	unsigned int i;
	uint32_t k;

	for (i = 0; i < op->nr; i++)
		for (k = 0; k < op->r[i].len; k++)
			if (region_page(model_region(op->ctx, op->r[i].at + k),
					op->r[i].at + k)->pins)
				return true;
	return false;
}

long model_protect_error(const struct op *op)
{
	uint16_t pool = model_pool(op->ctx, op->pool);
	unsigned int i;
	uint32_t k;
	long err = 0;

	if (W->ctx[op->ctx].frozen)
		return ERR(EROFS);
	if (!pool)
		return ERR(ENOENT);
	for (i = 0; i < op->nr && !err; i++)
		for (k = 0; k < op->r[i].len && !err; k++)
			err = page_error(op, i, op->r[i].at + k, pool);
	if (!err && is_pinned(op))
		err = ERR(EBUSY);
	return err;
}

void model_protect(const struct op *op)
{
	unsigned int i;
	uint32_t k;

	for (i = 0; i < op->nr; i++)
		for (k = 0; k < op->r[i].len; k++)
			region_page(model_region(op->ctx, op->r[i].at + k),
				    op->r[i].at + k)->state = op->r[i].prot;
}

/* ---- FREE */

long model_free_error(const struct op *op)
{
	unsigned int i, k;

	for (i = 0; i < op->nr; i++) {
		if (!model_pool(op->ctx, op->r[i].at))
			return ERR(ENOENT);
		for (k = 0; k < i; k++)
			if (op->r[k].at == op->r[i].at)
				return ERR(ENOENT);
	}
	return 0;
}

static bool ends(const struct op *op, const struct mpool *p)
{
	unsigned int i;

	if (op->flags & WXPOOL_FREE_ALL)
		return true;
	for (i = 0; i < op->nr; i++)
		if (op->r[i].at == p->number)
			return true;
	return false;
}

/* Nothing stays, not even an idle block. */
static void end_all(unsigned int ctx, struct wxpool_free *out)
{
	struct mregion *r;
	unsigned int i;

	for (r = W->region; r < W->region + NR_REGIONS; r++) {
		if (!r->used || r->ctx != ctx)
			continue;
		out->pages_freed += r->nr;
		model_region_end(r);
	}
	for (i = 1; i < NR_MPOOLS; i++)
		if (W->pool[i].ctx == ctx)
			W->pool[i].used = 0;
}

/* Which of the blocks that are emptied stays: see info_settle_emptied(). */
void model_free(const struct op *op, struct wxpool_free *out)
{
	bool revoke = op->flags & WXPOOL_FREE_REVOKE, inherited;
	unsigned int i;

	if (op->flags & WXPOOL_FREE_ALL &&
	    (revoke || !newest_heir(op->ctx, 0, UINT32_MAX))) {
		end_all(op->ctx, out);
		return;
	}
	for (i = 1; i < NR_MPOOLS; i++) {
		const struct mpool *p = &W->pool[i];

		if (!p->used || p->kept || p->ctx != op->ctx || !ends(op, p))
			continue;
		inherited = newest_heir(p->ctx, p->born, UINT32_MAX);
		if (inherited && revoke)
			seen(EV_REVOKED);
		end_pool(i, inherited && !revoke, out);
	}
	forget_old(op->ctx);
}

/* ---- the rest */

static void count_region(const struct mregion *r, struct wxpool_info *info)
{
	uint64_t state[NR_STATES] = { 0 };
	unsigned int i;

	info->lines += r->nr_live;
	if (r->hidden) {
		info->pages_kept += r->nr;
		return;
	}
	if (r->idle) {
		info->pages_idle += r->nr;
		return;
	}
	for (i = 0; i < r->nr; i++)
		state[W->mpage[r->page0 + i].state]++;
	info->pages_open += state[OPEN];
	info->pages_read += state[SEALED_R];
	info->pages_exec += state[SEALED_X];
	info->pages_exec_only += state[SEALED_XO];
	info->pages_packed += r->packed ? r->nr : 0;
	info->pages_huge += is_block(r) ? r->nr : 0;
}

static void count_pool(const struct mpool *p, uint32_t number, struct wxpool_info *info)
{
	uint32_t state = p->kept ? WXPOOL_POOL_KEPT : WXPOOL_POOL_LIVE;

	info->pools += !p->kept;
	info->lines_kept += p->kept ? p->lines : 0;
	if (p->number != number || state < info->pool_state)
		return;
	if (state > info->pool_state)
		info->pool_pages = info->pool_lines = 0;
	info->pool_state = state;
	info->pool_pages += p->pages;
	info->pool_lines += p->lines;
}

/* What INFO must say, but for sizes and what depends on the kernel's memory */
void model_count(unsigned int ctx, uint32_t pool, struct wxpool_info *info)
{
	unsigned int i;

	memset(info, 0, sizeof(*info));
	info->frozen = W->ctx[ctx].frozen;
	for (i = 1; i < NR_REGIONS; i++)
		if (W->region[i].used && W->region[i].ctx == ctx)
			count_region(&W->region[i], info);
	for (i = 1; i < NR_MPOOLS; i++)
		if (W->pool[i].used && W->pool[i].ctx == ctx)
			count_pool(&W->pool[i], pool, info);
}

void model_ctx_release(unsigned int ctx)
{
	struct wxpool_free out = { 0 };

	end_all(ctx, &out);
	memset(&W->ctx[ctx], 0, sizeof(W->ctx[ctx]));
}

/* A world in which nothing has happened */
void model_init(void)
{
	size_t from = offsetof(struct world, cmd);

	W->step = 0;
	memset(&W->miss, 0, sizeof(W->miss));
	memset((char *)W + from, 0, sizeof(*W) - from);
	W->proc[0].alive = 1;
	W->proc[0].pid = getpid();
}
