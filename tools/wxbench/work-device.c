// SPDX-License-Identifier: MIT
/*
 * What /dev/wxpool itself costs, by its bare calls: INSTALL and FREE in a block
 * that is there, 16 MiB into blocks that are not, and n= pools of one line.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <linux/wxpool.h>

#include "area.h"
#include "measure.h"
#include "peer.h"

#define BIG	((size_t)WXPOOL_MAX_INSTALL)
#define BATCH	64
#define POOL	1

static int fd;
static char *source;		/* BIG bytes */
static size_t next;		/* the first offset not used yet */
static uint32_t last_pool;
static uint32_t flags;

/* Puts @nr times @size bytes at @next. */
static void install(uint32_t pool, uint32_t nr, size_t size)
{
	struct wxpool_install_range ranges[BATCH];
	struct wxpool_install arg = {
		.size = sizeof(arg), .pool = pool, .ranges = (uintptr_t)ranges,
		.nr_ranges = nr, .flags = flags,
	};

	for (uint32_t i = 0; i < nr; i++) {
		ranges[i] = (struct wxpool_install_range){
			.offset = next,
			.length = size,
			.source = (uintptr_t)source + i * size,
			.prot = WXPOOL_PROT_X,
		};
		next += round_up(size, LINE);
	}
	device_call(fd, WXPOOL_IOC_INSTALL, &arg, "INSTALL");
}

static void free_pool(uint32_t pool)
{
	struct wxpool_free arg = {
		.size = sizeof(arg), .pools = (uintptr_t)&pool, .nr_pools = 1,
	};

	device_call(fd, WXPOOL_IOC_FREE, &arg, "FREE");
}

static void free_all(void)
{
	struct wxpool_free arg = { .size = sizeof(arg), .flags = WXPOOL_FREE_ALL };

	device_call(fd, WXPOOL_IOC_FREE, &arg, "FREE");
}

static struct wxpool_info info(void)
{
	struct wxpool_info arg = { .size = sizeof(arg) };

	device_call(fd, WXPOOL_IOC_INFO, &arg, "INFO");
	return arg;
}

/* A context of its own; returns false if there is no device. */
static bool begin(void)
{
	fd = open("/dev/wxpool", O_RDWR | O_CLOEXEC);
	next = 0;
	return fd >= 0;
}

/* ---- calls in a warm block */

static void no_operation(void)
{
	ioctl(fd, 0, NULL);
}

static void install_256(void)
{
	install(POOL, 1, 256);
}

static void install64_64(void)
{
	install(POOL, BATCH, 64);
}

static void install_free(size_t size)
{
	size_t at = next;

	install(++last_pool, 1, size);
	free_pool(last_pool);
	next = at;
}

static void install_free_256(void)
{
	install_free(256);
}

static void install_free_12k(void)
{
	install_free(12288);
}

/* @fn begins in a block that is there, as another pool has a line in it. */
static double warm_cost(void (*fn)(void))
{
	next = round_up(next, BLOCK);
	install(POOL, 1, LINE);
	fn();
	return measure_cost(fn);
}

static void measure_calls(void)
{
	flags = WXPOOL_INSTALL_BLOCKS;
	last_pool = POOL;
	printf(" ioctl=%.1f", measure_cost(no_operation));
	printf(" install_256=%.1f", warm_cost(install_256));
	printf(" install64_64=%.1f", warm_cost(install64_64) / BATCH);
	printf(" install_free_256=%.1f", warm_cost(install_free_256));
	printf(" install_free_12k=%.1f", warm_cost(install_free_12k));
}

/* ---- much code at once */

static void measure_big(void)
{
	uint64_t start;

	flags = WXPOOL_INSTALL_BLOCKS;
	start = read_instructions();
	install(POOL, 1, BIG);
	printf(" install_16m=%lu", (unsigned long)(read_instructions() - start));
	printf(" huge_16m=%lu", (unsigned long)(info().pages_huge * PAGE));
}

/* ---- many pools */

/* Slab and vmalloc, once nothing is about to be freed: the lines' pages are neither. */
static int64_t kernel_bytes(void)
{
	static const char *const rows[] = { "SUnreclaim:", "VmallocUsed:" };

	sleep(2);
	return measure_rows("/proc/meminfo", rows, ARRAY_SIZE(rows));
}

static int64_t charged_bytes(void)
{
	struct wxpool_info i = info();

	return (int64_t)(i.charged - i.pages_packed * PAGE);
}

static void measure_pools(size_t n)
{
	int64_t kernel, charged;
	uint64_t start;

	flags = 0;
	install(POOL, 1, LINE);
	free_all();
	kernel = kernel_bytes();
	charged = charged_bytes();
	start = read_instructions();
	for (size_t i = 1; i <= n; i++)
		install((uint32_t)i, 1, LINE);
	printf(" install_pool=%.1f", (double)(read_instructions() - start) / (double)n);
	printf(" pool_bytes=%.1f", (double)(kernel_bytes() - kernel) / (double)n);
	printf(" pool_charged=%.1f", (double)(charged_bytes() - charged) / (double)n);
	if (info().pools != n)
		die("not as many pools as were made");
	start = read_instructions();
	free_all();
	printf(" free_all=%.1f", (double)(read_instructions() - start) / (double)n);
	if (info().pools)
		die("FREE of all left pools");
}

/** work_device() - instructions of calls, and memory of n= pools */
void work_device(const struct options *opt)
{
	print_head("device");
	if (!begin()) {
		printf(" unavailable=no-module");
		return;
	}
	source = area_map_data(BIG);
	memset(source, 0x90, BIG);
	measure_calls();
	close(fd);
	begin();
	measure_big();
	close(fd);
	begin();
	measure_pools(opt->n);
	close(fd);
}
