// SPDX-License-Identifier: MIT
/*
 * wxfuzz: what the operations of the device do to regions, pages and lines
 *
 * Each function says what an operation returns, and does to the model what the
 * operation does to the context. They follow linux/wxpool.h and device.md;
 * where these leave open which of two errors comes first, the module's order.
 */
#include "wxfuzz.h"

static unsigned int region_index(const struct mregion *r)
{
	return r - W->region;
}

static struct mregion *region_at(unsigned int ctx, uint32_t page)
{
	unsigned int i = page < NR_PAGES ? W->ctx[ctx].top[page] : 0;

	return i ? &W->region[i] : NULL;
}

/* ---- pages, and what is charged for them */

static bool charge(unsigned int ctx, uint64_t nr)
{
	struct mctx *c = &W->ctx[ctx];

	if (c->charged + nr > W->ctx_limit || W->user + nr > W->user_limit)
		return false;
	c->charged += nr;
	W->user += nr;
	return true;
}

static void uncharge(unsigned int ctx, uint64_t nr)
{
	W->ctx[ctx].charged -= nr;
	W->user -= nr;
}

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

static void page_reset(struct mpage *page, enum state state, uint32_t stamp)
{
	unsigned int i;

	memset(page, 0, sizeof(*page));
	page->used = 1;
	page->state = state;
	for (i = 0; i < PAGE_LINES; i++) {
		page->line[i].stamp = stamp;
		page->line[i].len = LINE;
	}
}

static struct mregion *region_new(unsigned int ctx, uint32_t pgoff,
				  unsigned int nr, bool packed, enum state state)
{
	uint32_t stamp = packed && state == SEALED_X ? STAMP_TRAP : STAMP_ZERO;
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
		.born = W->ctx[ctx].forks, .ended = ALIVE,
		.page0 = pages_get(nr),
	};
	for (i = 0; i < nr; i++)
		page_reset(&W->mpage[r->page0 + i], state, stamp);
	return r;
}

static void region_drop(struct mregion *r)
{
	unsigned int i;

	for (i = 0; i < r->nr; i++) {
		W->mpage[r->page0 + i].orphan = 1;
		model_page_put(&W->mpage[r->page0 + i]);
	}
	r->used = 0;
}

static void set_top(const struct mregion *r, unsigned int index)
{
	unsigned int i;

	for (i = 0; i < r->nr; i++)
		W->ctx[r->ctx].top[r->pgoff + i] = index;
}

/* What it hides comes out again. */
static void region_unlink(struct mregion *r)
{
	struct mregion *newer = region_at(r->ctx, r->pgoff);

	if (newer == r) {
		set_top(r, r->older);
		return;
	}
	while (newer->older != region_index(r))
		newer = &W->region[newer->older];
	newer->older = r->older;
}

static void region_free(struct mregion *r)
{
	region_unlink(r);
	uncharge(r->ctx, r->nr);
	region_drop(r);
}

/* ---- forked children */

static void find_heirs(unsigned int ctx, uint32_t *oldest, uint32_t *newest)
{
	const struct slot *s;
	unsigned int p, i;

	*oldest = ALIVE;
	*newest = 0;
	if (!W->ctx[ctx].forks)
		return;
	for (p = 0; p < NR_PROCS; p++) {
		if (!W->proc[p].alive)
			continue;
		for (i = 0; i < NR_SLOTS; i++) {
			s = &W->proc[p].slot[i];
			if (!s->kind || s->ctx != ctx || !s->gen)
				continue;
			*oldest = s->gen < *oldest ? s->gen : *oldest;
			*newest = s->gen > *newest ? s->gen : *newest;
		}
	}
}

static bool has_heir(const struct mregion *r, uint32_t newest)
{
	return newest > r->born;
}

void model_reap(unsigned int ctx)
{
	uint32_t oldest, newest;
	unsigned int i;

	if (!W->ctx[ctx].nr_kept)
		return;
	find_heirs(ctx, &oldest, &newest);
	for (i = 1; i < NR_REGIONS; i++) {
		struct mregion *r = &W->region[i];

		if (r->used && r->ctx == ctx && r->kept && oldest > r->ended) {
			W->ctx[ctx].nr_kept -= r->nr;
			region_free(r);
		}
	}
}

static void region_keep(struct mregion *r)
{
	r->kept = 1;
	r->pool = 0;
	r->ended = W->ctx[r->ctx].forks;
	W->ctx[r->ctx].nr_kept += r->nr;
}

static void region_end(struct mregion *r, uint32_t newest, uint64_t *freed,
		       uint64_t *kept)
{
	if (has_heir(r, newest)) {
		region_keep(r);
		*kept += r->nr;
	} else {
		*freed += r->nr;
		region_free(r);
	}
}

/* ---- ALLOC */

static bool all_absent(const struct op *op, unsigned int n)
{
	const struct range *r = &op->r[n], *o;
	uint32_t i;

	for (i = 0; i < r->len; i++)
		if (region_at(op->ctx, r->at + i))
			return false;
	for (o = op->r; o < r; o++)
		if (r->at < o->at + o->len && o->at < r->at + r->len)
			return false;
	return true;
}

long model_alloc(const struct op *op)
{
	uint64_t charged = 0;
	unsigned int i;
	long err = 0;

	for (i = 0; i < op->nr && !err; i++) {
		if (charge(op->ctx, op->r[i].len))
			charged += op->r[i].len;
		else
			err = ERR(ENOSPC);
	}
	if (!err && W->ctx[op->ctx].frozen)
		err = ERR(EROFS);
	for (i = 0; i < op->nr && !err; i++)
		if (!all_absent(op, i))
			err = ERR(EEXIST);
	if (err) {
		uncharge(op->ctx, charged);
		return err;
	}
	for (i = 0; i < op->nr; i++) {
		struct mregion *r = region_new(op->ctx, op->r[i].at, op->r[i].len,
					       false, OPEN);

		r->pool = op->pool;
		set_top(r, region_index(r));
	}
	return 0;
}

/* ---- PROTECT */

bool model_pool_exists(unsigned int ctx, uint32_t pool)
{
	const struct mregion *r;
	unsigned int i;

	for (r = W->region; r < W->region + NR_REGIONS; r++) {
		if (!r->used || r->ctx != ctx || r->kept)
			continue;
		if (!r->packed && r->pool == pool)
			return true;
		for (i = 0; r->packed && i < r->nr * PAGE_LINES; i++) {
			const struct mline *l =
				&W->mpage[r->page0 + i / PAGE_LINES].line[i % PAGE_LINES];

			if (l->live && l->pool == pool)
				return true;
		}
	}
	return false;
}

static long seal_page(const struct op *op, uint32_t page, enum state to)
{
	struct mregion *r = region_at(op->ctx, page);
	struct mpage *p;

	if (!r || r->packed || r->kept || r->pool != op->pool)
		return ERR(ENOENT);
	p = region_page(r, page);
	if (p->state != OPEN)
		return ERR(EPERM);
	p->state = to;
	return 0;
}

/* Up to the page that failed, if @err; else checks pins, too. */
static long seal_settle(const struct op *op, long err, uint64_t done)
{
	unsigned int i;
	uint64_t n = 0;
	uint32_t k;

	for (i = 0; i < op->nr && !err; i++)
		for (k = 0; k < op->r[i].len; k++)
			if (region_page(region_at(op->ctx, op->r[i].at + k),
					op->r[i].at + k)->pins)
				err = ERR(EBUSY);
	for (i = 0; i < op->nr && err; i++)
		for (k = 0; k < op->r[i].len && n < done; k++, n++)
			region_page(region_at(op->ctx, op->r[i].at + k),
				    op->r[i].at + k)->state = OPEN;
	return err;
}

long model_protect(const struct op *op)
{
	uint64_t done = 0;
	unsigned int i;
	uint32_t k;
	long err = 0;

	if (W->ctx[op->ctx].frozen)
		return ERR(EROFS);
	if (!model_pool_exists(op->ctx, op->pool))
		return ERR(ENOENT);
	for (i = 0; i < op->nr && !err; i++)
		for (k = 0; k < op->r[i].len && !err; k++) {
			err = seal_page(op, op->r[i].at + k,
					op->r[i].prot == WXPOOL_PROT_X ? SEALED_X :
									 SEALED_R);
			done += !err;
		}
	return seal_settle(op, err, done);
}

/* ---- INSTALL */

/* struct part - what of a range is in one page */
struct part {
	uint32_t line, nr, last_len, stamp;
	enum state state;
	bool full, bad;
	struct mregion *region;
};

struct install {
	const struct op *op;
	struct part part[64];
	unsigned int nr, claimed;
	unsigned int staged;	/* charged pages that may be used */
	struct mregion *made[64];
	unsigned int nr_made;
};

static uint32_t split_range(struct install *in, const struct range *r, bool last)
{
	uint32_t line = r->at, end = r->at + nr_lines_of(r->len), n;
	struct part *p = NULL;

	for (; line < end; line += n) {
		n = PAGE_LINES - line % PAGE_LINES;
		n = n < end - line ? n : end - line;
		p = &in->part[in->nr++];
		*p = (struct part){
			.line = line, .nr = n, .last_len = LINE,
			.stamp = r->stamp + line - r->at,
			.state = r->prot == WXPOOL_PROT_X ? SEALED_X : SEALED_R,
			.bad = in->op->mut == M_SRC_NULL && last,
		};
	}
	if (r->len % LINE)
		p->last_len = r->len % LINE;
	if (in->op->mut == M_SRC_CUT && last)
		p->bad = true;
	return nr_lines_of(r->len);
}

/* Pages that are absent when the call begins, and covered in full by it */
static void mark_full(struct install *in)
{
	int head = -1;
	unsigned int i;

	for (i = 0; i < in->nr; i++) {
		struct part *p = &in->part[i];

		if (p->line % PAGE_LINES == 0)
			head = i;
		else if (head >= 0 && p[-1].line + p[-1].nr != p->line)
			head = -1;
		if (head < 0 || (p->line + p->nr) % PAGE_LINES ||
		    region_at(in->op->ctx, p->line / PAGE_LINES))
			continue;
		for (; head <= (int)i; head++)
			in->part[head].full = true;
		head = -1;
	}
}

static long stage(struct install *in)
{
	uint32_t lines = 0;
	unsigned int i;

	for (i = 0; i < in->op->nr; i++)
		lines += split_range(in, &in->op->r[i], i + 1 == in->op->nr);
	if (lines >= PAGE_LINES && !(in->op->flags & WXPOOL_INSTALL_HUGE))
		mark_full(in);
	for (i = 0; i < in->nr; i++) {
		if (in->part[i].full && in->part[i].line % PAGE_LINES == 0) {
			if (!charge(in->op->ctx, 1))
				return ERR(ENOSPC);
			in->staged++;
		}
		if (in->part[i].bad)
			return ERR(EFAULT);
	}
	return 0;
}

static struct mregion *make_packed(struct install *in, uint32_t pgoff,
				   unsigned int nr, uint16_t older,
				   enum state state)
{
	struct mregion *r = region_new(in->op->ctx, pgoff, nr, true, state);

	r->older = older;
	set_top(r, region_index(r));
	in->made[in->nr_made++] = r;
	return r;
}

static bool window_absent(unsigned int ctx, uint32_t page)
{
	uint32_t first = page / WINDOW_PAGES * WINDOW_PAGES, i;

	for (i = 0; i < WINDOW_PAGES; i++)
		if (W->ctx[ctx].top[first + i])
			return false;
	return true;
}

static long find_place(struct install *in, struct part *p)
{
	uint32_t page = p->line / PAGE_LINES;
	unsigned int ctx = in->op->ctx;
	struct mregion *old = region_at(ctx, page);

	if (p->full && p->line % PAGE_LINES == 0 && !old) {
		in->staged--;		/* stays charged */
		p->region = make_packed(in, page, 1, 0, p->state);
		return 0;
	}
	if (old && !old->packed)
		return ERR(EEXIST);
	if (old && !old->kept) {
		p->region = old;
		return 0;
	}
	if (old) {
		if (!charge(ctx, old->nr))
			return ERR(ENOSPC);
		p->region = make_packed(in, old->pgoff, old->nr,
					region_index(old), p->state);
		return 0;
	}
	if (in->op->flags & WXPOOL_INSTALL_HUGE && window_absent(ctx, page) &&
	    charge(ctx, WINDOW_PAGES)) {
		p->region = make_packed(in, page / WINDOW_PAGES * WINDOW_PAGES,
					WINDOW_PAGES, 0, p->state);
		return 0;
	}
	if (!charge(ctx, 1))
		return ERR(ENOSPC);
	p->region = make_packed(in, page, 1, 0, p->state);
	return 0;
}

static struct mline *part_line(const struct part *p, uint32_t i)
{
	return &region_page(p->region, p->line / PAGE_LINES)
			->line[p->line % PAGE_LINES + i];
}

static long claim(struct install *in, struct part *p)
{
	long err = find_place(in, p);
	uint32_t i;

	if (err)
		return err;
	if (W->mpage[p->region->page0].state != p->state)
		return ERR(EEXIST);
	for (i = 0; i < p->nr; i++)
		if (part_line(p, i)->live)
			return ERR(EEXIST);
	for (i = 0; i < p->nr; i++)
		part_line(p, i)->live = 1;
	p->region->nr_lines += p->nr;
	return 0;
}

static void unclaim(struct install *in)
{
	unsigned int i;
	uint32_t k;

	for (i = 0; i < in->claimed; i++) {
		for (k = 0; k < in->part[i].nr; k++)
			part_line(&in->part[i], k)->live = 0;
		in->part[i].region->nr_lines -= in->part[i].nr;
	}
	while (in->nr_made)
		region_free(in->made[--in->nr_made]);
}

static void write_part(struct install *in, const struct part *p)
{
	uint32_t i;

	for (i = 0; i < p->nr; i++)
		*part_line(p, i) = (struct mline){
			.stamp = p->stamp + i, .live = 1, .pool = in->op->pool,
			.len = i == p->nr - 1 ? p->last_len : LINE,
		};
}

long model_install(const struct op *op)
{
	static __thread struct install in;
	unsigned int i;
	long err;

	memset(&in, 0, offsetof(struct install, part));
	in.op = op;
	in.nr = in.claimed = in.staged = in.nr_made = 0;
	err = stage(&in);
	if (!err && W->ctx[op->ctx].frozen)
		err = ERR(EROFS);
	for (; in.claimed < in.nr && !err; in.claimed += !err)
		err = claim(&in, &in.part[in.claimed]);
	if (err)
		unclaim(&in);
	else
		for (i = 0; i < in.nr; i++)
			write_part(&in, &in.part[i]);
	uncharge(op->ctx, in.staged);
	return err;
}

/* ---- FREE */

static uint32_t lines_of_pool(const struct mregion *r, uint32_t pool)
{
	uint32_t n = 0, i;

	for (i = 0; i < r->nr * PAGE_LINES; i++) {
		const struct mline *l =
			&W->mpage[r->page0 + i / PAGE_LINES].line[i % PAGE_LINES];

		n += l->live && l->pool == pool;
	}
	return n;
}

/* Children go on seeing the page; the owner goes on with a copy. */
static struct mregion *split(struct mregion *old)
{
	struct mregion *copy = region_new(old->ctx, old->pgoff, old->nr, true,
					  W->mpage[old->page0].state);
	unsigned int i;

	copy->nr_lines = old->nr_lines;
	copy->older = region_index(old);
	for (i = 0; i < old->nr; i++)
		memcpy(W->mpage[copy->page0 + i].line,
		       W->mpage[old->page0 + i].line,
		       sizeof(W->mpage[0].line));
	set_top(copy, region_index(copy));
	region_keep(old);
	return copy;
}

static void free_lines(struct mregion *r, uint32_t pool)
{
	uint32_t i;

	for (i = 0; i < r->nr * PAGE_LINES; i++) {
		struct mpage *p = &W->mpage[r->page0 + i / PAGE_LINES];
		struct mline *l = &p->line[i % PAGE_LINES];

		if (!l->live || l->pool != pool)
			continue;
		*l = (struct mline){
			.stamp = p->state == SEALED_X ? STAMP_TRAP : STAMP_ZERO,
			.len = LINE,
		};
		r->nr_lines--;
	}
}

static bool charge_copies(unsigned int ctx, uint32_t pool, uint32_t newest)
{
	uint64_t nr = 0;
	uint32_t n;
	struct mregion *r;

	for (r = W->region; r < W->region + NR_REGIONS; r++) {
		if (!r->used || r->ctx != ctx || r->kept || !r->packed)
			continue;
		n = lines_of_pool(r, pool);
		if (n && n < r->nr_lines && has_heir(r, newest))
			nr += r->nr;
	}
	return charge(ctx, nr);
}

static void free_region(struct mregion *r, uint32_t pool, uint32_t newest,
			uint64_t *freed, uint64_t *kept)
{
	uint32_t n = r->packed ? lines_of_pool(r, pool) : 0;

	if (!r->packed && r->pool == pool) {
		region_end(r, newest, freed, kept);
	} else if (n && n == r->nr_lines) {
		region_end(r, newest, freed, kept);
	} else if (n && has_heir(r, newest)) {
		*kept += r->nr;
		free_lines(split(r), pool);
	} else if (n) {
		free_lines(r, pool);
	}
}

long model_free(const struct op *op, uint64_t *freed, uint64_t *kept)
{
	uint8_t todo[NR_REGIONS];
	uint32_t oldest, newest;
	unsigned int i;

	*freed = *kept = 0;
	if (!model_pool_exists(op->ctx, op->pool))
		return ERR(ENOENT);
	find_heirs(op->ctx, &oldest, &newest);
	if (!charge_copies(op->ctx, op->pool, newest))
		return ERR(ENOSPC);
	/* Not those that are made on the way */
	for (i = 0; i < NR_REGIONS; i++)
		todo[i] = W->region[i].used && W->region[i].ctx == op->ctx &&
			  !W->region[i].kept;
	for (i = 0; i < NR_REGIONS; i++)
		if (todo[i])
			free_region(&W->region[i], op->pool, newest, freed, kept);
	return 0;
}

/* ---- the rest */

void model_ctx_release(unsigned int ctx)
{
	struct mregion *r;

	for (r = W->region; r < W->region + NR_REGIONS; r++) {
		if (!r->used || r->ctx != ctx)
			continue;
		uncharge(ctx, r->nr);
		region_drop(r);
	}
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
