// SPDX-License-Identifier: MIT
/*
 * What the figures are to be seen against: the cost of reading the counter, a
 * loop of known length, a cheap system call, a page fault, copies; and whether a
 * string instruction counts once or once for each step.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "measure.h"
#include "peer.h"

static char *from, *to, *fresh;

static void reading(void)
{
}

static void system_call(void)
{
	syscall(SYS_getppid);
}

static void copy_64(void)
{
	memcpy(to, from, 64);
}

static void copy_256(void)
{
	memcpy(to, from, 256);
}

static void copy_4096(void)
{
	memcpy(to, from, 4096);
}

static void copy_16384(void)
{
	memcpy(to, from, 16384);
}

#ifdef __x86_64__
/* Two instructions a round. */
static void loop_1000(void)
{
	unsigned long n = 1000;

	__asm__ volatile("1: dec %0; jnz 1b" : "+r"(n));
}

static void rep_movsb_4096(void)
{
	void *d = to, *s = from;
	unsigned long n = 4096;

	__asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) :: "memory");
}

static void rep_stosq_512(void)
{
	void *d = to;
	unsigned long n = 512;

	__asm__ volatile("rep stosq" : "+D"(d), "+c"(n) : "a"(0) : "memory");
}
#endif

static const struct {
	const char *name;
	void (*fn)(void);
} limits[] = {
	{ "reading", reading },
	{ "getppid", system_call },
	{ "memcpy_64", copy_64 },
	{ "memcpy_256", copy_256 },
	{ "memcpy_4096", copy_4096 },
	{ "memcpy_16384", copy_16384 },
#ifdef __x86_64__
	{ "loop_of_2000", loop_1000 },
	{ "rep_movsb_4096", rep_movsb_4096 },
	{ "rep_stosq_512", rep_stosq_512 },
#endif
};

/* The first write to a page of fresh memory. */
static void fault(void)
{
	*fresh = 1;
	fresh += PAGE;
}

/** work_limits() - print them all */
void work_limits(const struct options *opt)
{
	(void)opt;
	print_head("limits");
	from = map_anonymous(16384);
	to = map_anonymous(16384);
	memset(from, 1, 16384);
	memset(to, 1, 16384);
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
		printf(" %s=%.1f", limits[i].name, measure_cost(limits[i].fn));
	fresh = map_anonymous(COST_CALLS * PAGE);
	madvise(fresh, COST_CALLS * PAGE, MADV_NOHUGEPAGE);
	printf(" page_fault=%.1f", measure_cost(fault));
}
