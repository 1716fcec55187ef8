// SPDX-License-Identifier: MIT
/*
 * wxfuzz: views, page by page, and what touching them must do
 */
#include <fcntl.h>
#include <signal.h>

#include "wxfuzz.h"

/* What is there, and for this view: what is hidden is so but for some heirs. */
struct mregion *space_region(const struct slot *s)
{
	struct mregion *r = model_region(s->ctx, s->page);

	if (r && r->hidden && (s->gen <= r->born || s->gen > r->ended))
		return NULL;
	return r;
}

/*
 * Views that the kernel neither merges nor grows nor locks: also those that have
 * all rights that the descriptor gives
 */
bool space_special(const struct slot *s)
{
	return s->kind == KIND_W || s->gen ||
	       (s->kind == KIND_X && W->ctx[s->ctx].mode == O_RDONLY);
}

static bool may_show(unsigned int proc, const struct slot *s,
		     const struct mpage *page)
{
	const struct mctx *c = &W->ctx[s->ctx];

	switch (s->kind) {
	case KIND_W:
		return page->state == OPEN && c->owner == proc && !c->owner_gone;
	case KIND_X:
		return page->state == SEALED_X;
	case KIND_XO:
		return page->state == SEALED_X || page->state == SEALED_XO;
	default:
		return page->state == SEALED_X || page->state == SEALED_R;
	}
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

/* Is there a page with a memory error? */
bool space_poison(unsigned int proc, unsigned int slot)
{
	const struct mpage *page = space_page(proc, &W->proc[proc].slot[slot]);

	return page && page->poison;
}

static int touch(unsigned int proc, const struct slot *s, int prot)
{
	if (!s->kind || !(s->prot & prot))
		return SIGSEGV;
	return space_page(proc, s) ? 0 : SIGBUS;
}

/*
 * The signal that a touch raises, or 0. What can be written can be read. What can
 * only be run can be read, too, if the processor does not keep it: INFO tells.
 */
int space_read(unsigned int proc, const struct slot *s)
{
	int prot = PROT_READ | PROT_WRITE;

	return touch(proc, s, W->xo ? prot : prot | PROT_EXEC);
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

/* A new view of the calling process: the owner's, or a guest's */
void space_map(unsigned int slot, unsigned int nr, unsigned int ctx,
	       uint32_t page, int prot)
{
	struct slot new = { .ctx = ctx, .prot = prot };
	unsigned int i;

	if (prot & PROT_WRITE)
		new.kind = KIND_W;
	else if (prot & PROT_EXEC)
		new.kind = prot & PROT_READ ? KIND_X : KIND_XO;
	else
		new.kind = KIND_R;
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
		[KIND_XO] = PROT_EXEC,
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
		t->slot[i].locked = 0;
		/* Only a W view that MADV_DOFORK copied is not an heir's. */
		if (c->owner != from || c->owner_gone || s->kind == KIND_W)
			continue;
		c->forks += !counted[s->ctx];
		counted[s->ctx] = true;
		t->slot[i].gen = c->forks;
	}
	t->alive = 1;
}

/* Is there nothing left that keeps the context? */
static void ctx_check(unsigned int ctx)
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

/* Views or descriptors have gone: and with them what only they kept. */
void space_settle(void)
{
	unsigned int i;

	for (i = 0; i < NR_CTX && !W->shared; i++) {
		ctx_check(i);
		model_reap(i);
	}
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
	for (i = 0; i < NR_CTX; i++)
		if (W->ctx[i].used && W->ctx[i].owner == proc)
			W->ctx[i].owner_gone = 1;
	space_settle();
}
