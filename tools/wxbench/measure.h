/* SPDX-License-Identifier: MIT */
/*
 * What is counted, and how.
 *
 * Instructions are read from the time stamp counter, which QEMU makes count
 * guest instructions under -icount shift=0. Nothing is subtracted: what a
 * reading costs is printed by the "limits" workload.
 */
#ifndef WXBENCH_MEASURE_H
#define WXBENCH_MEASURE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * enum phase - the parts of an item's life
 * @PH_ALLOC: getting memory, or a place
 * @PH_WRITE: writing the bytes, with the page faults of that
 * @PH_PROTECT: making them executable, or installing them
 * @PH_RUN: calling the code once in each page, reading and writing data once
 * @PH_FREE: giving all of it back
 */
enum phase {
	PH_ALLOC,
	PH_WRITE,
	PH_PROTECT,
	PH_RUN,
	PH_FREE,
	NR_PHASES,
};

/**
 * struct counters - differences between measure_start() and measure_stop()
 * @instructions: of the whole machine, kernel and interrupts included
 * @phases: the same by phase, of the thread that called lap()
 * @calls: system calls that concern memory, of all threads
 * @faults: page faults, minor and major
 * @shootdowns: interrupts to other CPUs that flush their TLBs
 * @switches: context switches that threads asked for: they waited for something
 * @vmas: lines of /proc/self/maps
 * @kernel: kernel memory in bytes: slab, page tables, vmalloc
 */
struct counters {
	uint64_t instructions;
	uint64_t phases[NR_PHASES];
	int64_t calls;
	int64_t faults;
	int64_t shootdowns;
	int64_t switches;
	int64_t vmas;
	int64_t kernel;
};

extern const char *const phase_names[NR_PHASES];

/* How often measure_cost() calls. */
#define COST_ROUNDS	200
#define COST_CALLS	(6 * COST_ROUNDS)

void measure_start(struct counters *c);
int64_t measure_vmas(void);
int64_t measure_rows(const char *path, const char *const *rows, size_t nr);
void measure_stop(struct counters *c);
void measure_print(const struct counters *c, double items, bool alone);
double measure_cost(void (*fn)(void));

/* Of this thread. */
extern __thread uint64_t lap_last;
extern __thread uint64_t lap_sum[NR_PHASES];

static inline uint64_t read_instructions(void)
{
#ifdef __x86_64__
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi) :: "memory");
	return (uint64_t)hi << 32 | lo;
#else
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
#endif
}

/* lap() - what passed since the last lap belongs to @phase */
static inline void lap(enum phase phase)
{
	uint64_t now = read_instructions();

	lap_sum[phase] += now - lap_last;
	lap_last = now;
}

/* calls.c */
uint64_t calls_made(void);
uint64_t bytes_mapped(void);
void calls_time_ioctl(uint64_t *sum);

/* profile.c */
void profile_start(void);
void profile_stop(void);

#ifdef __cplusplus
}
#endif

#endif /* WXBENCH_MEASURE_H */
