// SPDX-License-Identifier: GPL-2.0
/*
 * The attack book, code itself: races with its writer, other processors, what is
 * left when it is freed or lies beside it, and the operations that add to it.
 */
#include "attack.h"

#define ROUNDS	20

/* ------------------------------------------------------------------ races */

struct thread {
	pthread_t id;
	int cpu;
	bool drop;
	char *to;
	volatile int state;
	volatile uint64_t stores;
	int sig;
};

/* States of a thread that waits without a system call, so that its TLB stays */
enum { STARTED, READY, GO, STOP };

static int on_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) ? -errno : 0;
}

static void wait_for(const struct thread *t, int state)
{
	while (t->state != state)
		;
}

static void *page_of(char *p)
{
	return (void *)((uintptr_t)p & ~(uintptr_t)(wx_page_size - 1));
}

static void store_until_told(struct thread *t)
{
	while (t->state != STOP) {
		if (t->drop)
			madvise(page_of(t->to), PG(1), MADV_DONTNEED);
		*(volatile uint64_t *)t->to = t->stores + 1;
		t->stores++;
		if (t->state == STARTED)
			t->state = READY;
	}
}

/* Stores ever larger numbers behind the code, until that is refused. */
static void *store_on(void *arg)
{
	struct thread *t = arg;

	t->sig = WX_CATCH(store_until_told(t));
	t->state = STOP;
	return NULL;
}

static int race(struct victim *v, bool drop)
{
	struct thread t = { .to = v->w + 1024, .drop = drop };
	uint64_t then;
	int ret;

	if (pthread_create(&t.id, NULL, store_on, &t))
		return BROKEN;
	wait_for(&t, READY);
	/* What is just being unmapped is taken for pinned. */
	do
		ret = victim_publish(v);
	while (drop && ret == -EBUSY);
	then = t.stores;
	/* Until it has ended, or stored what it should not */
	while (t.state != STOP && t.stores < then + 2)
		;
	t.state = STOP;
	pthread_join(t.id, NULL);
	return ret ? ret : t.sig;
}

static int race_once(struct victim *v)
{
	return race(v, false);
}

static int race_once_with_faults(struct victim *v)
{
	return race(v, true);
}

static int rounds(struct victim *v, attack_fn fn)
{
	int ret = HARMLESS, i;
	struct victim next;

	for (i = 0; i < ROUNDS && ret < DONE; i++) {
		if (victim_open(&next, v->kind))
			return BROKEN;
		ret = verdict(&next, fn(&next));
		close(next.fd);
	}
	v->missing = next.missing;
	return ret;
}

/* A thread stores while the code is published; after that no byte changes. */
ATTACK_OPEN(write_race, SIGBUS, SIGSEGV, DONE)
{
	return rounds(v, race_once);
}

/* ... with a page fault before each store */
ATTACK_OPEN(fault_race, SIGBUS, NONE, DONE)
{
	return rounds(v, race_once_with_faults);
}

static void *store_late(void *arg)
{
	struct thread *t = arg;

	on_cpu(t->cpu);
	overwrite(t->to);
	wx_emit(t->to, GOOD);
	t->state = READY;
	wait_for(t, GO);
	t->sig = overwrite(t->to);
	return NULL;
}

/*
 * @late begins on the other CPU, which has the page in its TLB then, and goes on
 * after @step.
 */
static int stale_once(struct victim *v, char *to, void *(*late)(void *),
		      int (*step)(struct victim *))
{
	struct thread t = { .to = to, .cpu = 1 };
	int ret;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		return missing(v, "one CPU");
	on_cpu(0);
	if (pthread_create(&t.id, NULL, late, &t))
		return BROKEN;
	wait_for(&t, READY);
	ret = step(v);
	t.state = GO;
	pthread_join(t.id, NULL);
	return ret ? ret : t.sig;
}

static int stale_store_once(struct victim *v)
{
	return stale_once(v, v->w, store_late, victim_publish);
}

ATTACK_OPEN(stale_tlb_store, SIGBUS, SIGSEGV, DONE)
{
	return rounds(v, stale_store_once);
}

/* ------------------------------------------------------------------- reuse */

/* The place is given out again, and written by whoever gets it. */
static int free_and_reuse(struct victim *v)
{
	char *w = v->w;

	if (victim_free(v))
		return BROKEN;
	if (v->kind == WXPOOL && wx_alloc(v->fd, POOL + 1, 0, 1))
		return BROKEN;
	if (v->kind == MPROTECT)
		w = mmap(v->code, PG(1), RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	return overwrite(w) ? BROKEN : HARMLESS;
}

/* A pointer to freed code is called. */
ATTACK(reuse_after_free, SIGBUS, SIGSEGV, DONE)
{
	int ret = free_and_reuse(v);

	return ret ? ret : run(v->code);
}

static void *run_late(void *arg)
{
	struct thread *t = arg;

	on_cpu(t->cpu);
	run(t->to);
	t->state = READY;
	wait_for(t, GO);
	t->sig = run(t->to);
	return NULL;
}

/* ... by another CPU, which has the page in its TLB, to be run. */
static int stale_run_once(struct victim *v)
{
	if (victim_publish(v))
		return BROKEN;
	return stale_once(v, v->code, run_late, free_and_reuse);
}

ATTACK_OPEN(stale_tlb_run, SIGBUS, SIGSEGV, DONE)
{
	return rounds(v, stale_run_once);
}

/* What freed code leaves to the next who gets the memory */
ATTACK(leftover_bytes, HARMLESS, HARMLESS, DONE)
{
	char *w = v->w;

	if (victim_free(v))
		return BROKEN;
	/* As many pages as were freed: the same ones, most likely */
	if (v->kind == WXPOOL && wx_alloc(v->fd, POOL + 1, 0, 2))
		return BROKEN;
	if (v->kind == MPROTECT)
		w = plain_pages(2, RW);
	return memcmp(w, v->was, LINE) && memcmp(w + PG(1), v->was, LINE) ?
	       HARMLESS : DONE;
}

/* What the others do where wxpool has an operation: write where code is */
static int write_again(struct victim *v)
{
	int sig;

	if (v->kind == MPROTECT && mprotect(v->code, PG(1), RW))
		return -errno;
	sig = overwrite(v->w);
	if (v->kind == MPROTECT && mprotect(v->code, PG(1), RX))
		return -errno;
	return sig;
}

/*
 * A function in a page with others that a child inherited, freed by its owner. The
 * others stand for a JIT that marks it as free, and keeps the page.
 */
struct leftover {
	char *x;
	pid_t child;
};

static int free_beside(struct victim *v, struct leftover *l, uint32_t flags)
{
	const uint32_t pool = POOL + 1;
	struct wxpool_free arg;

	l->x = v->code;
	if (v->kind == WXPOOL) {
		l->x = wx_view(v->fd, RX, 4, 1);
		if (l->x == MAP_FAILED || wx_install_code(v->fd, pool, PG(4), GOOD) ||
		    wx_install_code(v->fd, POOL, PG(4) + LINE, GOOD))
			return BROKEN;
	}
	l->child = wx_fork();
	if (!l->child) {
		for (;;)
			pause();
	}
	if (v->kind == WXPOOL && wx_free_vec(v->fd, &pool, 1, flags, &arg))
		return BROKEN;
	return 0;
}

static void end_child(struct leftover *l)
{
	kill(l->child, SIGKILL);
	wx_wait(l->child);
}

/* Does what was freed run? */
static int run_left(const struct leftover *l)
{
	uint32_t val;
	int sig = try_exec(l->x, &val);

	return sig ? sig : val == GOOD ? DONE : BROKEN;
}

/* Not prevented by wxpool while the child lives: the exception to I3 */
ATTACK(kept_lines, DONE, DONE, DONE)
{
	struct leftover l;
	int ret = free_beside(v, &l, 0);

	if (!ret)
		ret = run_left(&l);
	end_child(&l);
	return ret;
}

ATTACK(kept_lines_at_the_end, SIGTRAP, DONE, DONE)
{
	struct leftover l;
	int ret = free_beside(v, &l, 0);

	end_child(&l);
	return ret ? ret : run_left(&l);
}

ATTACK(kept_lines_revoked, SIGTRAP, DONE, DONE)
{
	struct leftover l;
	int ret = free_beside(v, &l, WXPOOL_FREE_REVOKE);

	if (!ret)
		ret = run_left(&l);
	end_child(&l);
	return ret;
}

/* Nobody's lines are there to be written, while the child runs them. */
ATTACK(kept_lines_reused, -EEXIST, DONE, DONE)
{
	struct leftover l;
	int ret = free_beside(v, &l, 0);

	if (!ret && v->kind == WXPOOL)
		ret = wx_install_code(v->fd, POOL, PG(4), EVIL);
	else if (!ret)
		ret = write_again(v);
	end_child(&l);
	return ret;
}

/* ------------------------------------------------------- beside the code */

/* Jumps to what lies behind the code, where the attacker could write before. */
ATTACK_OPEN(jump_beside, SIGTRAP, DONE, DONE)
{
	size_t i;
	char *x;
	int ret;

	if (v->kind != WXPOOL) {
		ret = overwrite(v->w + LINE);
		return ret || victim_publish(v) ? BROKEN : run(v->code + LINE);
	}
	/* Installed code has nobody's bytes beside it. */
	x = wx_view(v->fd, RX, 4, 1);
	if (wx_install_code(v->fd, POOL, PG(4), GOOD))
		return BROKEN;
	for (i = LINE; i < PG(1); i += LINE) {
		ret = run(x + i);
		if (ret != SIGTRAP)
			return BROKEN;
	}
	return ret;
}

/* Not prevented by the module: beside sealed code is what was written there. */
ATTACK_OPEN(jump_beside_sealed, DONE, DONE, DONE)
{
	int ret = overwrite(v->w + LINE);

	return ret || victim_publish(v) ? BROKEN : run(v->code + LINE);
}

/* A function comes to a page that has one, which is attacked meanwhile. */
ATTACK(add_beside, SIGSEGV, DONE, DONE)
{
	int ret;

	if (v->kind == WXPOOL) {
		v->code = wx_view(v->fd, RX, 4, 1);
		if (wx_install_code(v->fd, POOL, PG(4), GOOD))
			return BROKEN;
		ret = overwrite(v->code);
		if (wx_install_code(v->fd, POOL, PG(4) + LINE, 1))
			return BROKEN;
		memcpy(v->was, v->code, PG(1));
		return ret;
	}
	if (v->kind == MPROTECT && mprotect(v->code, PG(1), RW))
		return -errno;
	wx_emit(v->w + LINE, 1);
	ret = overwrite(v->w);
	if (v->kind == MPROTECT && mprotect(v->code, PG(1), RX))
		return -errno;
	return ret;
}

/* ------------------------------------------------------- the operations */

/* Installs over what is installed. */
ATTACK(install_over, -EEXIST, DONE, DONE)
{
	if (v->kind != WXPOOL)
		return write_again(v);
	if (wx_install_code(v->fd, POOL, PG(4), GOOD))
		return BROKEN;
	v->code = wx_view(v->fd, RX, 4, 1);
	memcpy(v->was, v->code, PG(1));
	return wx_install_code(v->fd, POOL, PG(4), EVIL);
}

ATTACK(install_over_sealed, -EEXIST, DONE, DONE)
{
	if (v->kind != WXPOOL)
		return write_again(v);
	return wx_install_code(v->fd, POOL, 0, EVIL);
}

/* Asks for the pages again, to be written. */
ATTACK(alloc_over, -EEXIST, DONE, DONE)
{
	if (v->kind != WXPOOL)
		return write_again(v);
	return wx_alloc(v->fd, POOL, 0, 1);
}

/* Data that the attacker chose was protected as data, and is made code. */
ATTACK(data_to_code, -EPERM, DONE, DONE)
{
	char *p = v->code + PG(1);

	if (overwrite(v->w + PG(1)))
		return BROKEN;
	if (v->kind == WXPOOL) {
		if (wx_protect(v->fd, POOL, 1, 1, WXPOOL_PROT_R) ||
		    run(wx_view(v->fd, RX, 1, 1)) != SIGBUS)
			return BROKEN;
		return wx_protect(v->fd, POOL, 1, 1, WXPOOL_PROT_X);
	}
	if (mprotect(p, PG(1), PROT_READ) || mprotect(p, PG(1), RX))
		return -errno;
	return run(p);
}

/* Not prevented by wxpool: the owner's own system calls add code. */
static int add_code(struct victim *v)
{
	char *p = v->code + PG(1);
	int ret;

	if (overwrite(v->w + PG(1)))
		return BROKEN;
	if (v->kind == WXPOOL)
		ret = wx_protect(v->fd, POOL, 1, 1, WXPOOL_PROT_X);
	else
		ret = mprotect(p, PG(1), RX) ? -errno : 0;
	return ret ? ret : run(p);
}

ATTACK(add_code_as_owner, DONE, DONE, DONE)
{
	return add_code(v);
}

/* Not prevented by wxpool: the JIT's file descriptor becomes another file's. */
ATTACK(swap_fd, DONE, NONE, DONE)
{
	struct victim other;
	char *x;

	if (victim_open(&other, v->kind) || overwrite(other.w) ||
	    victim_publish(&other) || dup2(other.fd, v->fd) < 0)
		return BROKEN;
	x = wx_view(v->fd, RX, 0, 1);
	return x == MAP_FAILED ? -errno : run(x);
}

static int freeze(struct victim *v)
{
	return v->kind == WXPOOL ? wx_freeze(v->fd) : 0;
}

/* ... until it freezes its context, as it can once it needs no more. */
ATTACK(add_code_frozen, -EROFS, DONE, DONE)
{
	return freeze(v) ? BROKEN : add_code(v);
}

ATTACK(install_frozen, -EROFS, DONE, DONE)
{
	if (v->kind != WXPOOL)
		return add_code(v);
	return freeze(v) ? BROKEN : wx_install_code(v->fd, POOL, PG(4), EVIL);
}

TEST_HARNESS_MAIN
