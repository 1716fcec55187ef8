// SPDX-License-Identifier: MIT
/*
 * wxfuzz: trying what can be read, written and run
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>

#include "wxfuzz.h"

static __thread sigjmp_buf jmp;
static __thread volatile sig_atomic_t armed;

static void on_signal(int sig)
{
	if (armed)
		siglongjmp(jmp, sig);
	/* A crash of our own: let it happen again, undisturbed. */
	signal(sig, SIG_DFL);
}

void probe_init(void)
{
	const int sigs[] = { SIGSEGV, SIGBUS, SIGILL, SIGTRAP };
	struct sigaction sa = {
		.sa_handler = on_signal,
		.sa_flags = SA_NODEFER,
	};
	unsigned int i;

	for (i = 0; i < 4; i++)
		sigaction(sigs[i], &sa, NULL);
}

/* Runs a statement; the value is 0 or the signal that it raised. */
#define CATCH(...) ({							\
	int _sig = sigsetjmp(jmp, 0);					\
									\
	if (!_sig) {							\
		armed = 1;						\
		__VA_ARGS__;						\
	}								\
	armed = 0;							\
	_sig;								\
})

int probe_read(const void *p)
{
	return CATCH((void)*(const volatile unsigned char *)p);
}

int probe_write(void *p, unsigned char val)
{
	return CATCH(*(volatile unsigned char *)p = val);
}

int probe_exec(const void *p, uint32_t *ret)
{
	uint32_t (*volatile fn)(void);
	volatile uint32_t val = 0;
	int sig;

	memcpy((void *)&fn, &p, sizeof(fn));
	sig = CATCH(val = fn());
	*ret = val;
	return sig;
}

int probe_copy(void *to, const void *from, size_t len)
{
	return CATCH(memcpy(to, from, len));
}

static void check_line(unsigned int slot, const struct mpage *page,
		       unsigned int line)
{
	unsigned char want[LINE], got[LINE];
	unsigned char *p = (unsigned char *)slot_addr(slot) + line * LINE;
	unsigned int i;

	content_expect(&page->line[line], page, want);
	if (probe_copy(got, p, LINE))
		miss(MISS_READ, (uintptr_t)p, 0, 1, "a line cannot be read");
	if (!memcmp(want, got, LINE))
		return;
	for (i = 0; want[i] == got[i]; i++)
		;
	miss(MISS_BYTES, (uintptr_t)p + i, want[i], got[i], "a line's bytes");
}

/* Is it a view of an idle block, and may that have gone by itself? */
bool probe_idle_gone(const struct slot *s)
{
	const struct mregion *r = s->kind ? space_region(s) : NULL;

	return r && r->idle && info_may_go(r);
}

static void check_read(unsigned int slot, const struct slot *s,
		       const struct mpage *page, unsigned int line)
{
	void *p = (unsigned char *)slot_addr(slot) + line * LINE;
	int want = space_read(me, s), got;

	got = probe_read(p);
	if (!want && !got)
		check_line(slot, page, line);
	if (got == SIGBUS && probe_idle_gone(s))
		return;
	if (s->kind == KIND_XO && page && got == SIGSEGV)
		seen(EV_XO_REFUSED);
	if (got != want)
		miss(MISS_READ, (uintptr_t)p, want, got, "signal of a read");
}

/* With the byte that is there, so that nothing changes */
static void check_write(unsigned int slot, const struct slot *s,
			const struct mpage *page, unsigned int line)
{
	unsigned char *p = (unsigned char *)slot_addr(slot) + line * LINE;
	int want = space_write(me, s), got;
	unsigned char bytes[LINE] = { 0 };

	if (page)
		content_expect(&page->line[line], page, bytes);
	got = probe_write(p, bytes[0]);
	if (got != want)
		miss(MISS_WRITE, (uintptr_t)p, want, got, "signal of a write");
}

static void check_exec(unsigned int slot, const struct slot *s,
		       const struct mpage *page, unsigned int line)
{
	void *p = (unsigned char *)slot_addr(slot) + line * LINE;
	int want = space_exec(me, s), got;
	uint32_t val = 0, ret = 0;

	if (W->blind)
		return;
	if (!want && !content_runs(&page->line[line], &val))
		return;
	if (!want && !val)
		want = SIGTRAP;
	got = probe_exec(p, &ret);
	if (got == SIGBUS && probe_idle_gone(s))
		return;
	if (got != want)
		miss(MISS_EXEC, (uintptr_t)p, want, got, "signal of a call");
	if (!want && ret != val)
		miss(MISS_EXEC, (uintptr_t)p, val, ret, "what a call returns");
	if (!got && page->state == SEALED_XO)
		seen(EV_XO_RUN);
}

/* What is mapped may still be there, else it cannot be had. */
static void check_poison(unsigned int slot)
{
	int want = space_read(me, &W->proc[me].slot[slot]);
	int got = probe_read(slot_addr(slot));

	if (got != want && got != SIGBUS)
		miss(MISS_READ, (uintptr_t)slot_addr(slot), want, got,
		     "signal of a read of a page with a memory error");
}

#define PROBE_READ	(1 << 17)

/* One touch: rather a read, which sees what is there */
void probe_slot(unsigned int slot, uint64_t rnd)
{
	const struct slot *s = &W->proc[me].slot[slot];
	const struct mpage *page = space_page(me, s);
	unsigned int line = rnd % PAGE_LINES;

	if (page && page->poison) {
		check_poison(slot);
		return;
	}
	if (page && space_region(s)->hidden)
		seen(EV_HIDDEN_SHOWN);
	/* Rather a line with something in it */
	if (page && rnd & 1 << 8)
		while (line && page->line[line].stamp < 2)
			line--;
	switch (rnd >> 16 & 3) {
	case 0:
		check_write(slot, s, page, line);
		break;
	case 1:
		check_exec(slot, s, page, line);
		break;
	default:
		check_read(slot, s, page, line);
		break;
	}
}

/* By what is part of the operation: a list that is repeated tries the same. */
bool probe_due(const struct op *op)
{
	return (op->rnd >> 20) % W->look == 0;
}

/* Where this process has a view of the page */
void probe_page(unsigned int ctx, uint32_t page, uint64_t rnd)
{
	const struct slot *slots = W->proc[me].slot;
	unsigned int start = rnd >> 32, n;

	for (n = 0; n < SMALL_SLOTS; n++) {
		unsigned int i = (start + n) % SMALL_SLOTS;

		if (slots[i].kind && slots[i].ctx == ctx && slots[i].page == page) {
			probe_slot(i, rnd);
			break;
		}
	}
	/* Views of blocks are where their offsets are. */
	if (page >= BLOCK_PAGES && page < NR_SLOTS && slots[page].kind)
		probe_slot(page, rnd >> 3);
}

/* All that this process sees */
void probe_all(uint64_t rnd)
{
	const struct slot *s = W->proc[me].slot;
	unsigned int i;

	for (i = 0; i < NR_SLOTS; i++) {
		uint64_t r = splitmix(&rnd);

		/* A block's pages are alike: some of them, and its ends */
		if (i >= BLOCK_PAGES && r >> 40 & 31 && i % BLOCK_PAGES > 3)
			continue;
		if (!s[i].kind && r >> 41 & 15)
			continue;
		probe_slot(i, r);
		probe_slot(i, r | PROBE_READ);
	}
	for (i = 0; i < NR_CTX; i++) {
		if (!W->proc[me].fd[i])
			continue;
		info_check(i, 1 + (rnd >> 32) % NR_POOLS);
		if (!W->shared)
			info_check_fdinfo(i);
	}
}

static void lie_about(struct mregion *r, unsigned int kind)
{
	struct mpage *p = &W->mpage[r->page0];
	unsigned int i;

	switch (kind) {
	case 0:		/* other bytes */
		for (i = 0; i < PAGE_LINES; i++)
			p->line[i].stamp ^= 4;
		break;
	case 1:		/* a seal */
		p->state = SEALED_X;
		break;
	case 2:		/* another pool */
		W->pool[r->pool].number = W->pool[r->pool].number % NR_POOLS + 1;
		break;
	case 3:		/* nothing there */
		W->ctx[r->ctx].top[r->pgoff] = 0;
		break;
	}
}

/* Tells the model something wrong: proof that what is wrong is found */
void probe_lie(const struct op *op)
{
	struct mregion *r;

	for (r = W->region; r < W->region + NR_REGIONS; r++)
		if (r->used && !r->hidden && !r->packed)
			lie_about(r, op->a);
}
