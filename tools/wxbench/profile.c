// SPDX-License-Identifier: MIT
/*
 * Where the instructions of a measurement go: samples of the instruction
 * pointer, one each WXBENCH_PROFILE nanoseconds of CPU time, which under
 * -icount are instructions. Interrupts that are off put a sample off, so what
 * they hide is seen where they are switched on again.
 */
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "measure.h"
#include "wxbench.h"

#define BUFFER	((size_t)1 << 24)

static int fd = -1;
static struct perf_event_mmap_page *ring;

static void profile_open(uint64_t period)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.sample_period = period,
		.sample_type = PERF_SAMPLE_IP,
		.exclude_hv = 1,
	};

	fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0)
		die("cannot sample: %m");
	ring = (void *)syscall(SYS_mmap, NULL, PAGE + BUFFER, PROT_READ | PROT_WRITE,
			       MAP_SHARED, fd, 0);
	if (ring == MAP_FAILED)
		die("no memory for samples: %m");
}

/** profile_start() - begin to sample this thread if WXBENCH_PROFILE says so */
void profile_start(void)
{
	const char *period = getenv("WXBENCH_PROFILE");

	if (period)
		profile_open(strtoul(period, NULL, 10));
}

/** profile_stop() - print a line "sample ADDRESS" for each sample */
void profile_stop(void)
{
	struct perf_event_header *h;
	char *data = (char *)ring + PAGE;
	uint64_t at, end, ip;

	if (fd < 0)
		return;
	close(fd);
	putchar('\n');
	end = ring->data_head;
	for (at = 0; at < end; at += h->size) {
		h = (struct perf_event_header *)(data + at);
		if (h->type != PERF_RECORD_SAMPLE)
			continue;
		memcpy(&ip, h + 1, sizeof(ip));
		printf("sample %lx\n", (unsigned long)ip);
	}
	fd = -1;
}
