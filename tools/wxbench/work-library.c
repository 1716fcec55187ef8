// SPDX-License-Identifier: MIT
/*
 * What a context of libwxpool costs: its first function, n= pools of one line and
 * their end, and n= functions of many sizes in a window that is nearly full.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <wxpool.h>

#include "code.h"
#include "measure.h"

#define SMALL		((size_t)256)
#define LARGEST		((size_t)8192)
#define MIXED_WINDOW	((size_t)64 << 20)
#define MIXED_CODE	(MIXED_WINDOW / 2)	/* the default share */

static struct wxp *wxp;
static char code[LARGEST];

static bool begin(size_t window, unsigned int flags)
{
	struct wxp_options opts = {
		.size = sizeof(opts),
		.backend = WXP_BACKEND_KERNEL,
		.flags = flags,
		.window = window,
	};

	return !wxp_open(&wxp, &opts);
}

static int load(uint32_t pool, size_t size)
{
	void *addr;

	return wxp_load(wxp, pool, code, size, WXP_RX, &addr);
}

static void must(int err)
{
	if (err)
		die("libwxpool: %s", wxp_strerror(err));
}

/* ---- the first function */

static void measure_first(const char *name, unsigned int flags)
{
	uint64_t ioctls = 0, start, opened, loaded;

	calls_time_ioctl(&ioctls);
	start = read_instructions();
	if (!begin(0, flags))
		die("a second context cannot be opened");
	opened = read_instructions();
	must(load(1, SMALL));
	loaded = read_instructions();
	calls_time_ioctl(NULL);
	printf(" %s=%lu %s_open=%lu %s_ioctls=%lu", name, (unsigned long)(loaded - start),
	       name, (unsigned long)(opened - start), name, (unsigned long)ioctls);
	wxp_close(wxp);
}

/**
 * work_first() - instructions of opening a context and of the first function in it
 * @opt: nothing
 *
 * Not of the process's first context: parts of the program are read in for that, and
 * the guest's clock jumps ahead.
 */
void work_first(const struct options *opt)
{
	(void)opt;
	print_head("first");
	if (!begin(0, 0)) {
		printf(" unavailable=no-module");
		return;
	}
	code_make(code, LARGEST, 1);
	must(load(1, SMALL));
	wxp_close(wxp);
	measure_first("first_load", 0);
	measure_first("first_load_huge", WXP_HUGE);
}

/* ---- many pools */

static int64_t own_bytes(void)
{
	static const char *const rows[] = { "RssAnon:" };

	return measure_rows("/proc/self/status", rows, ARRAY_SIZE(rows));
}

/** work_pools() - memory of the library for a pool of one line, and the end of n= of them */
void work_pools(const struct options *opt)
{
	uint64_t start;
	int64_t bytes;
	size_t i;

	print_head("pools");
	if (!begin(0, 0)) {
		printf(" unavailable=no-module");
		return;
	}
	code_make(code, LARGEST, 1);
	bytes = own_bytes();
	start = read_instructions();
	for (i = 1; i <= opt->n; i++)
		must(load((uint32_t)i, LINE));
	printf(" load_pool=%.1f", (double)(read_instructions() - start) / (double)opt->n);
	printf(" library_bytes=%.1f", (double)(own_bytes() - bytes) / (double)opt->n);
	start = read_instructions();
	wxp_close(wxp);
	printf(" close_pool=%.1f", (double)(read_instructions() - start) / (double)opt->n);
}

/* ---- many sizes */

struct function {
	uint32_t pool;
	uint32_t size;		/* in full lines */
};

/*
 * struct mixed - what is there, and what was seen
 * @all: the functions, each in a pool of its own
 * @nr: their number
 * @live: their bytes
 * @pool: the last number given out
 * @tried, @refused: publishes, and those that found no room
 * @sum: instructions of all publishes
 * @worst: the most that one took of the library
 * @worst_ioctl: the most that one took of the device
 */
struct mixed {
	struct function *all;
	size_t nr, live;
	uint32_t pool;
	size_t tried, refused;
	uint64_t sum, worst, worst_ioctl;
};

/* As many in each octave */
static size_t random_size(void)
{
	size_t octave = (size_t)64 << random_below(7);

	return octave + random_below(octave) + 1;
}

static void make_room(struct mixed *m, size_t size)
{
	size_t i;

	while (m->live + size > MIXED_CODE / 10 * 9) {
		i = random_below(m->nr);
		must(wxp_free(wxp, m->all[i].pool));
		m->live -= m->all[i].size;
		m->all[i] = m->all[--m->nr];
	}
}

static int publish(struct mixed *m, size_t size)
{
	uint64_t ioctls = 0, start, all;
	int err;

	calls_time_ioctl(&ioctls);
	start = read_instructions();
	err = load(++m->pool, size);
	all = read_instructions() - start;
	calls_time_ioctl(NULL);
	m->sum += all;
	if (all - ioctls > m->worst)
		m->worst = all - ioctls;
	if (ioctls > m->worst_ioctl)
		m->worst_ioctl = ioctls;
	return err;
}

static void step(struct mixed *m)
{
	size_t size = random_size(), lines = round_up(size, LINE);
	int err;

	make_room(m, lines);
	err = publish(m, size);
	m->tried++;
	if (err == -ENOMEM) {
		m->refused++;
		return;
	}
	must(err);
	m->all[m->nr++] = (struct function){ m->pool, (uint32_t)lines };
	m->live += lines;
}

/** work_mixed() - what is refused, and the worst publish, with random sizes and lives */
void work_mixed(const struct options *opt)
{
	struct mixed m = { .all = calloc(MIXED_CODE / LINE, sizeof(*m.all)) };
	size_t i;

	if (!m.all)
		die("out of memory");
	print_head("mixed");
	if (!begin(MIXED_WINDOW, 0)) {
		printf(" unavailable=no-module");
		return;
	}
	code_make(code, LARGEST, 1);
	for (i = 0; i < opt->n / 2; i++)
		step(&m);
	m.tried = m.refused = 0;
	m.sum = 0;
	for (; i < opt->n; i++)
		step(&m);
	printf(" live=%zu full=%.2f refused_percent=%.4f publish=%.1f worst=%lu worst_ioctl=%lu",
	       m.nr, 100.0 * (double)m.live / (double)MIXED_CODE,
	       100.0 * (double)m.refused / (double)m.tried, (double)m.sum / (double)m.tried,
	       (unsigned long)m.worst, (unsigned long)m.worst_ioctl);
	wxp_close(wxp);
}
