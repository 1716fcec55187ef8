/* SPDX-License-Identifier: MIT */
/*
 * wxbench: what publishing code costs, by several ways.
 *
 * wxbench.c	options
 * measure.c	counters
 * calls.c	the count of system calls
 * code.c	functions and modules to publish
 * peer-*	the ways, each behind a struct peer
 * work-*	the workloads
 */
#ifndef WXBENCH_H
#define WXBENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define PAGE		((size_t)4096)
#define BLOCK		((size_t)2 << 20)	/* of huge pages */
#define LINE		((size_t)64)		/* of packed pages */
#define MAX_PARTS	64

/** enum kind - what a part of a module is for */
enum kind {
	CODE,
	RODATA,
	DATA,
};

/**
 * struct part - one piece of code or data, of one kind
 * @kind: what for
 * @size: its bytes
 * @bytes: where they are before
 * @at: where load() put them
 */
struct part {
	enum kind kind;
	size_t size;
	const void *bytes;
	char *at;
};

/**
 * struct module - parts with one lifetime; a function is a module with one part
 * @id: a number that no other live module has, from 1
 * @nr: number of @parts
 * @parts: the parts
 * @priv: a peer's own: what unload() needs
 * @priv_size: the same
 */
struct module {
	uint32_t id;
	unsigned int nr;
	struct part *parts;
	void *priv;
	size_t priv_size;
};

/**
 * struct peer - one way to publish code
 * @name: its name in the tables
 * @about: what it does, for --list
 * @open: gets ready for @modules live modules of @bytes code and data in all;
 *	returns NULL, or why this way is not available here
 * @load: publishes a module: copies the bytes, makes code executable; calls
 *	lap() where a phase ends
 * @unload: takes it back; NULL where the peer cannot
 * @held: bytes of memory in use for code and data now
 * @close: the end
 *
 * load() and unload() may be called by several threads at once.
 */
struct peer {
	const char *name;
	const char *about;
	const char *(*open)(size_t modules, size_t bytes);
	void (*load)(struct module *mod);
	void (*unload)(struct module *mod);
	size_t (*held)(void);
	void (*close)(void);
};

const struct peer *peer_find(const char *name);

/**
 * struct options - what the command line says
 * @peer: the way
 * @n: items to measure
 * @size: bytes of a function
 * @batch: functions in one load()
 * @live: modules that live at the same time
 * @threads: number of threads that publish
 * @busy: number of threads that only spin beside
 * @cpus: number of CPUs that these run on, 0: all
 * @pool: 0: each load() has a pool of its own; else all are in this one
 * @warm: not 0: as many functions as are measured were there before, in a pool
 *	that is gone
 */
struct options {
	const struct peer *peer;
	size_t n;
	size_t size;
	size_t batch;
	size_t live;
	size_t threads;
	size_t busy;
	size_t cpus;
	size_t pool;
	size_t warm;
};

/* work-*.c */
void work_limits(const struct options *opt);
void work_device(const struct options *opt);
void work_first(const struct options *opt);
void work_pools(const struct options *opt);
void work_mixed(const struct options *opt);
void work_publish(const struct options *opt);
void work_module(const struct options *opt);
void work_tiny(const struct options *opt);
void work_free(const struct options *opt);
void work_churn(const struct options *opt);
void work_threads(const struct options *opt);
void work_footprint(const struct options *opt);
void busy_start(size_t nr);
void busy_stop(size_t nr);

/* wxbench.c */
void die(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
void print_head(const char *work);

static inline size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) & ~(to - 1);
}

#ifdef __cplusplus
}
#endif

#endif /* WXBENCH_H */
