// SPDX-License-Identifier: MIT
/*
 * wxfuzz: views, page by page, and what touching them must do
 */
#include <signal.h>

#include "wxfuzz.h"

/* What is there now, or what was there when the view was inherited */
struct mregion *space_region(const struct slot *s)
{
	unsigned int top = s->page < NR_PAGES ? W->ctx[s->ctx].top[s->page] : 0, i;
	struct mregion *r;

	for (i = top; i; i = r->older) {
		r = &W->region[i];
		if (s->gen > r->born && s->gen <= r->ended)
			return r;
	}
	return top && !W->region[top].kept ? &W->region[top] : NULL;
}

static bool may_show(unsigned int proc, const struct slot *s,
		     const struct mpage *page)
{
	const struct mctx *c = &W->ctx[s->ctx];

	if (s->kind == KIND_W)
		return page->state == OPEN && c->owner == proc && !c->owner_gone;
	if (s->kind == KIND_X)
		return page->state == SEALED_X;
	return page->state != OPEN;
}

/* The page that a view shows there, or NULL */
struct mpage *space_page(unsigned int proc, const struct slot *s)
{
	struct mregion *r = s->kind ? space_region(s) : NULL;
	struct mpage *page;

	if (!r)
		return NULL;
	page = region_page(r, s->page);
	return may_show(proc, s, page) ? page : NULL;
}

static int touch(unsigned int proc, const struct slot *s, int prot)
{
	if (!s->kind || !(s->prot & prot))
		return SIGSEGV;
	return space_page(proc, s) ? 0 : SIGBUS;
}

/*
 * The signal that a touch raises, or 0. What can be written can be read. Whether
 * what can only be run can be read is up to the processor: -1.
 */
int space_read(unsigned int proc, const struct slot *s)
{
	if (s->kind && s->prot == PROT_EXEC)
		return -1;
	return touch(proc, s, PROT_READ | PROT_WRITE);
}

int space_write(unsigned int proc, const struct slot *s)
{
	return touch(proc, s, PROT_WRITE);
}

/*
 * x86 takes a call for a read until the page is mapped, and refuses it then: the
 * signal is that of the page, if there is one.
 */
int space_exec(unsigned int proc, const struct slot *s)
{
#if defined(__x86_64__)
	if (s->kind && s->prot && !(s->prot & PROT_EXEC) && !space_page(proc, s))
		return SIGBUS;
#endif
	return touch(proc, s, PROT_EXEC);
}

static uint32_t own_gen(unsigned int ctx)
{
	const struct slot *s;
	uint32_t gen = 0;

	if (W->ctx[ctx].owner == me && !W->ctx[ctx].owner_gone)
		return 0;
	if (!W->ctx[ctx].forks)
		return 0;
	for (s = W->proc[me].slot; s < W->proc[me].slot + NR_SLOTS; s++)
		if (s->kind && s->ctx == ctx && s->gen > gen)
			gen = s->gen;
	return gen;
}

/* A new view of the calling process */
void space_map(unsigned int slot, unsigned int nr, unsigned int ctx,
	       uint32_t page, int prot)
{
	struct slot new = { .ctx = ctx, .prot = prot };
	unsigned int i;

	/*
	 * Asked before or after what is there goes: the same, but for the last
	 * view of an heir, which op_applies() keeps out.
	 */
	new.gen = own_gen(ctx);
	if (prot & PROT_WRITE)
		new.kind = KIND_W;
	else
		new.kind = prot & PROT_EXEC ? KIND_X : KIND_R;
	new.dontcopy = new.kind == KIND_W;
	for (i = 0; i < nr; i++) {
		new.page = page + i;
		W->proc[me].slot[slot + i] = new;
	}
}

void space_unmap(unsigned int slot, unsigned int nr)
{
	memset(&W->proc[me].slot[slot], 0, nr * sizeof(struct slot));
}

long space_mprotect(unsigned int slot, unsigned int nr, int prot)
{
	static const int may[] = {
		[KIND_W] = PROT_READ | PROT_WRITE,
		[KIND_X] = PROT_READ | PROT_EXEC,
		[KIND_R] = PROT_READ,
	};
	struct slot *s = &W->proc[me].slot[slot];

	for (; nr; nr--, s++) {
		if (!s->kind)
			return ERR(ENOMEM);
		if (prot & ~may[s->kind])
			return ERR(EACCES);
		s->prot = prot;
	}
	return 0;
}

void space_fork(unsigned int from, unsigned int to)
{
	bool counted[NR_CTX] = { 0 };
	struct mproc *f = &W->proc[from], *t = &W->proc[to];
	unsigned int i;

	memset(t->slot, 0, sizeof(t->slot));
	memset(t->pin, 0, sizeof(t->pin));
	memcpy(t->fd, f->fd, sizeof(t->fd));
	for (i = 0; i < NR_SLOTS; i++) {
		const struct slot *s = &f->slot[i];
		struct mctx *c = &W->ctx[s->ctx];

		if (!s->kind || s->dontcopy)
			continue;
		t->slot[i] = *s;
		if (c->owner != from || c->owner_gone)
			continue;
		c->forks += !counted[s->ctx];
		counted[s->ctx] = true;
		t->slot[i].gen = c->forks;
	}
	t->alive = 1;
}

/* Is there nothing left that keeps the context? */
void space_ctx_check(unsigned int ctx)
{
	unsigned int p, i;

	if (!W->ctx[ctx].used)
		return;
	for (p = 0; p < NR_PROCS; p++)
		if (W->proc[p].alive && W->proc[p].fd[ctx])
			return;
	for (p = 0; p < NR_PROCS; p++)
		for (i = 0; W->proc[p].alive && i < NR_SLOTS; i++)
			if (W->proc[p].slot[i].kind &&
			    W->proc[p].slot[i].ctx == ctx)
				return;
	model_ctx_release(ctx);
}

/* Its pins go with it. */
void space_exit(unsigned int proc)
{
	struct mproc *p = &W->proc[proc];
	unsigned int i;

	for (i = 0; i < NR_PINS; i++) {
		struct mpage *page = &W->mpage[p->pin[i].page];

		if (!p->pin[i].used)
			continue;
		page->pins--;
		page->lazy = 1;
		model_page_put(page);
	}
	memset(p->slot, 0, sizeof(p->slot));
	memset(p->fd, 0, sizeof(p->fd));
	memset(p->pin, 0, sizeof(p->pin));
	p->alive = 0;
	for (i = 0; i < NR_CTX; i++) {
		if (W->ctx[i].used && W->ctx[i].owner == proc)
			W->ctx[i].owner_gone = 1;
		space_ctx_check(i);
	}
}
