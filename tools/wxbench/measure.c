// SPDX-License-Identifier: MIT
/* Reading the counters. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "measure.h"
#include "wxbench.h"

const char *const phase_names[NR_PHASES] = {
	[PH_ALLOC] = "alloc",
	[PH_WRITE] = "write",
	[PH_PROTECT] = "protect",
	[PH_RUN] = "run",
	[PH_FREE] = "free",
};

__thread uint64_t lap_last;
__thread uint64_t lap_sum[NR_PHASES];

static FILE *open_proc(const char *path)
{
	FILE *f = fopen(path, "re");

	if (!f)
		die("cannot read %s", path);
	return f;
}

static int64_t read_faults(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return ru.ru_minflt + ru.ru_majflt;
}

/* Sum of all CPUs in the row "TLB:" of /proc/interrupts; 0 where there is none. */
static int64_t read_shootdowns(void)
{
	FILE *f = open_proc("/proc/interrupts");
	int64_t sum = 0;
	char *line = NULL, *p, *end;
	size_t size = 0;

	while (getline(&line, &size, f) > 0) {
		p = line + strspn(line, " ");
		if (strncmp(p, "TLB:", 4))
			continue;
		for (p += 4;; p = end) {
			sum += (int64_t)strtoull(p, &end, 10);
			if (end == p)
				break;
		}
	}
	free(line);
	fclose(f);
	return sum;
}

static int64_t read_switches(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return ru.ru_nvcsw;
}

/** measure_vmas() - mappings that the process has now */
int64_t measure_vmas(void)
{
	FILE *f = open_proc("/proc/self/maps");
	int64_t nr = 0;
	int c;

	while ((c = getc(f)) != EOF)
		nr += c == '\n';
	fclose(f);
	return nr;
}

/** measure_rows() - sum in bytes of the rows of a file in /proc that counts in kB */
int64_t measure_rows(const char *path, const char *const *rows, size_t nr)
{
	FILE *f = open_proc(path);
	int64_t sum = 0, kb;
	char name[64], line[256];

	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%63s %ld", name, &kb) != 2)
			continue;
		for (size_t i = 0; i < nr; i++)
			if (!strcmp(name, rows[i]))
				sum += kb * 1024;
	}
	fclose(f);
	return sum;
}

/* Slab, page tables and vmalloc; not the pages that hold code or data. */
static int64_t read_kernel(void)
{
	static const char *const rows[] = { "SUnreclaim:", "PageTables:", "VmallocUsed:" };

	return measure_rows("/proc/meminfo", rows, ARRAY_SIZE(rows));
}

/**
 * measure_start() - begin to count
 * @c: for measure_stop()
 *
 * The slow readings come first, so that they do not count.
 */
void measure_start(struct counters *c)
{
	c->vmas = measure_vmas();
	c->kernel = read_kernel();
	c->shootdowns = read_shootdowns();
	c->faults = read_faults();
	c->switches = read_switches();
	c->calls = (int64_t)calls_made();
	memset(lap_sum, 0, sizeof(lap_sum));
	profile_start();
	lap_last = read_instructions();
	c->instructions = lap_last;
}

/** measure_stop() - turn what measure_start() read into differences */
void measure_stop(struct counters *c)
{
	c->instructions = read_instructions() - c->instructions;
	profile_stop();
	memcpy(c->phases, lap_sum, sizeof(c->phases));
	c->calls = (int64_t)calls_made() - c->calls;
	c->faults = read_faults() - c->faults;
	c->switches = read_switches() - c->switches;
	c->shootdowns = read_shootdowns() - c->shootdowns;
	c->kernel = read_kernel() - c->kernel;
	c->vmas = measure_vmas() - c->vmas;
}

static void print_instructions(const struct counters *c, double items)
{
	printf(" instructions=%.1f", (double)c->instructions / items);
	for (int i = 0; i < NR_PHASES; i++)
		printf(" %s=%.1f", phase_names[i], (double)c->phases[i] / items);
}

/**
 * measure_print() - "name=value" for each counter
 * @c: the counters
 * @items: what all but VMAs are divided by
 * @alone: no other thread was at work, so that instructions mean something
 */
void measure_print(const struct counters *c, double items, bool alone)
{
	if (alone)
		print_instructions(c, items);
	printf(" calls=%.4f", (double)c->calls / items);
	printf(" faults=%.4f", (double)c->faults / items);
	printf(" shootdowns=%.4f", (double)c->shootdowns / items);
	printf(" switches=%.4f", (double)c->switches / items);
	printf(" vmas=%ld", (long)c->vmas);
	printf(" kmem=%.1f", (double)c->kernel / items);
}

static double average(void (*fn)(void))
{
	uint64_t sum = 0, start;

	for (int i = 0; i < COST_ROUNDS; i++) {
		start = read_instructions();
		fn();
		sum += read_instructions() - start;
	}
	return (double)sum / COST_ROUNDS;
}

/**
 * measure_cost() - instructions of a call of @fn
 * @fn: is called COST_CALLS times
 *
 * The least of several averages, as the guest's clock jumps ahead when it has
 * nothing to do, such as in waiting for a part of this program to be read in.
 */
double measure_cost(void (*fn)(void))
{
	double least = average(fn), now;

	for (int i = COST_ROUNDS; i < COST_CALLS; i += COST_ROUNDS) {
		now = average(fn);
		if (now < least)
			least = now;
	}
	return least;
}
