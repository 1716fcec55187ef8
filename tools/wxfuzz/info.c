// SPDX-License-Identifier: MIT
/*
 * wxfuzz: what INFO says, against the model; and what of it the model learns from
 * INFO: which idle block is still there, and whether a limit is near
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>

#include "wxfuzz.h"

/*
 * What the module needs beside pages, at most: for a call, and for all that a
 * context has (see ceiling()).
 */
#define CALL_SLACK	(96u << 10)
#define CTX_SLACK	(128u << 10)
/* What a context without pages and pools has: a table, and INSTALL's buffer */
#define EMPTY_MOST	(42u << 10)

long info_ask(unsigned int ctx, uint32_t pool, struct wxpool_info *info)
{
	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
	info->pool = pool ? W->pool_base + pool : 0;
	return ioctl(FD_CTX + ctx, WXPOOL_IOC_INFO, info) ? -errno : 0;
}

static void ask(unsigned int ctx, uint32_t pool, struct wxpool_info *info)
{
	long err = info_ask(ctx, pool, info);

	if (err)
		miss(MISS_STAT, ctx, 0, err, "whether INFO can be had");
}

/* ---- has memory been short? */

/* Objects that shrinkers have looked at since the kernel was started */
static uint64_t nr_scanned(void)
{
	FILE *f = fopen("/proc/vmstat", "r");
	char name[64];
	unsigned long long val, found = 0;

	if (!f)
		return 0;
	while (fscanf(f, "%63s %llu", name, &val) == 2)
		if (!strcmp(name, "slabs_scanned"))
			found = val;
	fclose(f);
	return found;
}

void info_init(void)
{
	W->scanned = nr_scanned();
}

bool info_may_go(const struct mregion *r)
{
	return W->ctx[r->ctx].tight || nr_scanned() != W->scanned;
}

/* ---- idle blocks */

/* A page of a block that no operation names */
#define INNER		(BLOCK_PAGES / 2)

static int try_view(unsigned int ctx, uint32_t page, int prot)
{
	uint32_t ret;
	void *p;
	int sig;

	p = mmap(NULL, PAGE, prot, MAP_SHARED, FD_CTX + ctx, page_offset(page));
	if (p == MAP_FAILED)
		miss(MISS_STAT, ctx, 0, -errno, "whether a block can be mapped");
	sig = prot == PROT_EXEC ? probe_exec(p, &ret) : probe_read(p);
	munmap(p, PAGE);
	return sig;
}

/* Is there a block, live or idle? */
bool info_block(unsigned int ctx, unsigned int stretch)
{
	uint32_t page = stretch * BLOCK_PAGES + INNER;

	return try_view(ctx, page, PROT_READ) != SIGBUS ||
	       try_view(ctx, page, PROT_EXEC) != SIGBUS;
}

static bool is_there(const struct mregion *r)
{
	return info_block(r->ctx, r->pgoff / BLOCK_PAGES);
}

static unsigned int nr_idle(unsigned int ctx)
{
	const struct mregion *r;
	unsigned int n = 0;

	for (r = W->region; r < W->region + NR_REGIONS; r++)
		n += r->used && r->idle && r->ctx == ctx;
	return n;
}

/* @op may have dropped it, and failed then. */
static void settle(struct mregion *r, const struct op *op)
{
	if (is_there(r))
		return;
	if (!(op && model_drops(op, r)) && !info_may_go(r))
		miss(MISS_STAT, r->ctx, 1, 0, "whether an idle block is there");
	model_region_end(r);
	seen(EV_IDLE_WENT);
}

static uint64_t idle_pages(unsigned int ctx)
{
	struct wxpool_info info;

	ask(ctx, 0, &info);
	return info.pages_idle;
}

/* @op: that was done, or NULL. Among other threads a total tells nothing. */
static void settle_idle(unsigned int ctx, const struct op *op)
{
	struct mregion *r;

	if (!nr_idle(ctx) && W->shared)
		return;
	if (!W->shared && idle_pages(ctx) == (uint64_t)nr_idle(ctx) * BLOCK_PAGES) {
		W->ctx[ctx].tight = 0;
		return;
	}
	for (r = W->region; r < W->region + NR_REGIONS; r++)
		if (r->used && r->idle && r->ctx == ctx)
			settle(r, op);
	W->ctx[ctx].tight = 0;
	if (!W->shared && idle_pages(ctx) != (uint64_t)nr_idle(ctx) * BLOCK_PAGES)
		miss(MISS_STAT, ctx, nr_idle(ctx) * BLOCK_PAGES, idle_pages(ctx),
		     "info pages_idle");
}

/* Which idle blocks will an operation find? */
void info_before(const struct op *op)
{
	settle_idle(op->ctx, NULL);
}

/* Has the idle block that a slot shows gone, at another context's limit or without one? */
void info_before_touch(const struct op *op)
{
	const struct slot *s = &W->proc[me].slot[op->a];
	const struct mregion *r = s->kind ? space_region(s) : NULL;

	if (r && r->idle && !W->shared && W->proc[me].fd[s->ctx])
		settle_idle(s->ctx, NULL);
}

/* Which are there after it? At a limit others' contexts have given up theirs, too. */
void info_after(const struct op *op)
{
	unsigned int i;

	settle_idle(op->ctx, op);
	for (i = 0; i < NR_CTX; i++)
		if (W->ctx[i].used && W->ctx[i].tight && W->proc[me].fd[i])
			settle_idle(i, NULL);
}

/*
 * Of the blocks of a protection that a FREE has emptied the one that was last
 * emptied stays, and no other. Which came last is up to the module. Returns how
 * many pages have gone.
 */
static unsigned int settle_state(unsigned int ctx, enum state state)
{
	unsigned int emptied = 0, stay = 0, gone = 0;
	struct mregion *r;
	bool there;

	for (r = W->region; r < W->region + NR_REGIONS; r++)
		emptied += r->used && r->emptied && r->ctx == ctx &&
			   W->mpage[r->page0].state == state;
	if (!emptied)
		return 0;
	for (r = W->region; r < W->region + NR_REGIONS; r++) {
		if (!r->used || r->ctx != ctx || (!r->emptied && !r->idle) ||
		    W->mpage[r->page0].state != state)
			continue;
		there = is_there(r);
		if (there && !r->emptied)
			miss(MISS_STAT, ctx, 0, 1, "whether an older idle block stays");
		r->idle = there;
		r->emptied = 0;
		seen(there ? EV_IDLE : EV_IDLE_DROPPED);
		stay += there;
		if (!there) {
			model_region_end(r);
			gone += BLOCK_PAGES;
		}
	}
	if (stay > 1 || (!stay && nr_scanned() == W->scanned))
		miss(MISS_STAT, ctx, 1, stay, "how many emptied blocks stay");
	return gone;
}

unsigned int info_settle_emptied(unsigned int ctx)
{
	return settle_state(ctx, SEALED_R) + settle_state(ctx, SEALED_X) +
	       settle_state(ctx, SEALED_XO);
}

/* ---- limits */

static uint64_t all_idle(void)
{
	unsigned int ctx, sum = 0;

	for (ctx = 0; ctx < NR_CTX; ctx++)
		sum += nr_idle(ctx);
	return (uint64_t)sum * BLOCK_PAGES * PAGE;
}

/* Bytes of all pages of a context, which is the least that it is charged */
static uint64_t page_bytes(unsigned int ctx)
{
	const struct mregion *r;
	uint64_t sum = 0;

	for (r = W->region; r < W->region + NR_REGIONS; r++)
		sum += r->used && r->ctx == ctx ? r->nr : 0;
	return sum * PAGE;
}

static uint64_t ceiling(unsigned int ctx)
{
	const struct mregion *r;
	const struct mpool *p;
	uint64_t sum = page_bytes(ctx) + CTX_SLACK;

	for (r = W->region; r < W->region + NR_REGIONS; r++)
		if (r->used && r->ctx == ctx)
			sum += 1024 + (r->nr == BLOCK_PAGES ? 8192 : 0) +
			       64 * (r->nr_live + r->nr_kept);
	for (p = W->pool; p < W->pool + NR_MPOOLS; p++)
		if (p->used && p->ctx == ctx)
			sum += 512;
	return sum;
}

/*
 * Of an operation that needs at least @least new pages, or @most with all blocks:
 * must it fail for want of room, or may it? If it may, idle blocks may have to go
 * first, and all that the user keeps for speed.
 */
void info_judge(unsigned int ctx, uint64_t least, uint64_t most, struct room *room)
{
	uint64_t idle = (uint64_t)nr_idle(ctx) * BLOCK_PAGES * PAGE;
	struct wxpool_info info;
	uint64_t held, user;
	unsigned int i;

	memset(room, 0, sizeof(*room));
	if (W->shared)
		return;
	ask(ctx, 0, &info);
	held = info.charged + least * PAGE;
	user = info.user_charged + least * PAGE;
	most = (most - least) * PAGE + CALL_SLACK;
	room->may = held + most > W->ctx_limit || user + most > W->user_limit;
	/* A request to a ring may keep a closed context for a moment. */
	room->must = held > W->ctx_limit + idle + CALL_SLACK ||
		     (!W->uring && user > W->user_limit + all_idle() + CALL_SLACK);
	for (i = 0; i < NR_CTX; i++)
		if (room->may)
			W->ctx[i].tight = W->ctx[i].was_tight = 1;
	room->charged = info.charged - info.pages_idle * PAGE;
}

/* What the operation that failed for want of room left behind: nothing */
void info_check_failed(unsigned int ctx, const struct room *room)
{
	struct wxpool_info info;
	uint64_t charged;

	if (W->shared)
		return;
	ask(ctx, 0, &info);
	charged = info.charged - info.pages_idle * PAGE;
	if (charged > room->charged + CALL_SLACK)
		miss(MISS_STAT, ctx, room->charged, charged,
		     "what is charged after a failure");
}

/* ---- all of it */

/*
 * Once all is freed, the same is charged each time: what the first ALLOC or INSTALL
 * gets, and what is kept for speed, unless that had to go. A call that failed may or may
 * not have got as far as that.
 */
static void check_base(unsigned int ctx, const struct wxpool_info *i)
{
	struct mctx *c = &W->ctx[ctx];

	if (!c->warm || i->pools || i->lines_kept || i->pages_kept || i->pages_idle)
		return;
	seen(EV_EMPTY);
	if (c->warm != c->base_warm) {
		c->base = i->charged;
		c->base_warm = c->warm;
	}
	if (c->failed && i->charged > c->base)
		c->base = i->charged;
	c->failed = 0;
	if (i->charged > EMPTY_MOST || i->charged > c->base ||
	    (i->charged < c->base && !c->was_tight && nr_scanned() == W->scanned))
		miss(MISS_STAT, ctx, c->base, i->charged, "info charged");
}

static void check_charges(unsigned int ctx, const struct wxpool_info *i)
{
	if (i->charged > i->context_limit || i->user_charged > i->user_limit ||
	    i->charged > i->user_charged)
		miss(MISS_STAT, ctx, i->context_limit, i->charged,
		     "whether what is charged is below the limits");
	if (i->charged < page_bytes(ctx))
		miss(MISS_STAT, ctx, page_bytes(ctx), i->charged,
		     "whether all pages are charged");
	if (i->charged > ceiling(ctx))
		miss(MISS_STAT, ctx, ceiling(ctx), i->charged,
		     "whether nothing else is charged");
	check_base(ctx, i);
}

#define FIELD(name)	{ offsetof(struct wxpool_info, name), #name }

/* Those that other threads do not change, and all others */
static const struct field {
	size_t offset;
	const char *name;
} pool_fields[] = {
	FIELD(pool_pages), FIELD(pool_lines),
}, fields[] = {
	FIELD(pools), FIELD(pages_open), FIELD(pages_read), FIELD(pages_exec),
	FIELD(pages_exec_only), FIELD(pages_packed), FIELD(pages_huge),
	FIELD(pages_idle), FIELD(pages_kept), FIELD(lines), FIELD(lines_kept),
};

#define NR_FIELDS(f)	(sizeof(f) / sizeof((f)[0]))

/* As the address of a miss */
static uint64_t asked(unsigned int ctx, uint32_t pool)
{
	return ctx + pool * NR_CTX;
}

static void compare(uint64_t asked, const struct wxpool_info *want,
		    const struct wxpool_info *got, const struct field *f, unsigned int nr)
{
	uint64_t w, g;

	for (; nr; nr--, f++) {
		memcpy(&w, (const char *)want + f->offset, sizeof(w));
		memcpy(&g, (const char *)got + f->offset, sizeof(g));
		if (w != g)
			miss(MISS_STAT, asked, w, g, "info %s", f->name);
	}
}

static void compare_fixed(unsigned int ctx, const struct wxpool_info *got)
{
	const struct mctx *c = &W->ctx[ctx];

	if (got->abi_version != WXPOOL_ABI_VERSION || got->space != SPACE ||
	    got->page_size != PAGE || got->line_size != LINE ||
	    got->features & ~WXPOOL_FEATURE_XO || got->__reserved ||
	    got->max_ranges != WXPOOL_MAX_RANGES || got->block_size != c->block_size)
		miss(MISS_STAT, ctx, 0, 0, "what INFO says about the module");
	if (got->context != c->id)
		miss(MISS_STAT, ctx, c->id, got->context, "info context");
	if (got->context_limit != W->ctx_limit)
		miss(MISS_STAT, ctx, W->ctx_limit, got->context_limit,
		     "info context_limit");
	if (got->user_limit != W->user_limit)
		miss(MISS_STAT, ctx, W->user_limit, got->user_limit,
		     "info user_limit");
}

/* Is that what there is? */
void info_compare(unsigned int ctx, uint32_t pool, const struct wxpool_info *got)
{
	struct wxpool_info want;

	/* Another context of the user may have taken the idle ones' room. */
	if (!W->shared)
		settle_idle(ctx, NULL);
	compare_fixed(ctx, got);
	model_count(ctx, pool, &want);
	if (got->pool_state != want.pool_state)
		miss(MISS_STAT, asked(ctx, pool), want.pool_state, got->pool_state,
		     "info pool_state");
	compare(asked(ctx, pool), &want, got, pool_fields, NR_FIELDS(pool_fields));
	if (W->shared)
		return;
	if (got->frozen != want.frozen)
		miss(MISS_STAT, ctx, want.frozen, got->frozen, "info frozen");
	compare(ctx, &want, got, fields, NR_FIELDS(fields));
	check_charges(ctx, got);
}

void info_check(unsigned int ctx, uint32_t pool)
{
	struct wxpool_info got;

	ask(ctx, pool, &got);
	info_compare(ctx, pool, &got);
}

/* ---- for people: the same numbers */

static const struct {
	const char *line;
	size_t offset;
} shown[] = {
	{ "wxpool-context:", offsetof(struct wxpool_info, context) },
	{ "wxpool-pools:", offsetof(struct wxpool_info, pools) },
	{ "wxpool-open:", offsetof(struct wxpool_info, pages_open) },
	{ "wxpool-read:", offsetof(struct wxpool_info, pages_read) },
	{ "wxpool-exec:", offsetof(struct wxpool_info, pages_exec) },
	{ "wxpool-exec-only:", offsetof(struct wxpool_info, pages_exec_only) },
	{ "wxpool-packed:", offsetof(struct wxpool_info, pages_packed) },
	{ "wxpool-huge:", offsetof(struct wxpool_info, pages_huge) },
	{ "wxpool-idle:", offsetof(struct wxpool_info, pages_idle) },
	{ "wxpool-lines:", offsetof(struct wxpool_info, lines) },
	{ "wxpool-kept:", offsetof(struct wxpool_info, pages_kept) },
	{ "wxpool-kept-lines:", offsetof(struct wxpool_info, lines_kept) },
	{ "wxpool-charged:", offsetof(struct wxpool_info, charged) },
	{ "wxpool-limit:", offsetof(struct wxpool_info, context_limit) },
};

#define NR_SHOWN	(sizeof(shown) / sizeof(shown[0]))

/* Returns a bit for the line, if it is one of these. */
static unsigned int check_line(unsigned int ctx, const char *line,
			       const struct wxpool_info *info)
{
	uint64_t want;
	unsigned int i;

	for (i = 0; i < NR_SHOWN; i++) {
		size_t len = strlen(shown[i].line);

		if (strncmp(line, shown[i].line, len))
			continue;
		memcpy(&want, (const char *)info + shown[i].offset, sizeof(want));
		if (strtoull(line + len, NULL, 10) != want)
			miss(MISS_STAT, ctx, want, strtoull(line + len, NULL, 10),
			     "fdinfo's %s", shown[i].line);
		return 1u << i;
	}
	return 0;
}

void info_check_fdinfo(unsigned int ctx)
{
	struct wxpool_info info;
	char path[64], line[128];
	unsigned int lines = 0;
	FILE *f;

	ask(ctx, 0, &info);
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", FD_CTX + ctx);
	f = fopen(path, "r");
	if (!f)
		miss(MISS_STAT, ctx, 0, errno, "whether there is an fdinfo");
	while (fgets(line, sizeof(line), f))
		lines |= check_line(ctx, line, &info);
	fclose(f);
	if (lines != (1u << NR_SHOWN) - 1)
		miss(MISS_STAT, ctx, (1u << NR_SHOWN) - 1, lines, "the lines of fdinfo");
}

/* A new context: nobody had its id, and it holds nothing. */
void info_open(unsigned int ctx)
{
	struct mctx *c = &W->ctx[ctx];
	struct wxpool_info info;
	unsigned int i;

	ask(ctx, 0, &info);
	c->id = info.context;
	c->block_size = info.block_size;
	W->xo = info.features & WXPOOL_FEATURE_XO;
	for (i = 0; i < W->nr_ids; i++)
		if (W->ids[i] == c->id)
			miss(MISS_STAT, ctx, 0, c->id, "whether the id is a new one");
	if (!c->id)
		miss(MISS_STAT, ctx, 1, 0, "info context");
	if (W->nr_ids < MAX_OPS)
		W->ids[W->nr_ids++] = c->id;
	info_compare(ctx, 0, &info);
}
