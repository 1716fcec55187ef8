// SPDX-License-Identifier: MIT
/*
 * wxbench WORK [PEER] [NAME=NUMBER]...: measure one workload on one peer, and
 * print one line of name=value. bench.sh runs it in a guest and makes the
 * tables.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "wxbench.h"

extern const struct peer peer_memcpy, peer_mprotect, peer_mprotect_packed,
	peer_memfd_dual, peer_memfd_remap, peer_pkey, peer_asmjit, peer_asmjit_dual,
	peer_llvm_replay, peer_llvm_smm, peer_llvm_mcjit, peer_device_inplace,
	peer_device_install, peer_device_huge, peer_wxpool_inplace, peer_wxpool_install,
	peer_wxpool_huge, peer_wxpool_load, peer_wxpool_load_huge, peer_wxpool_many,
	peer_wxpool_many_huge, peer_portable_inplace, peer_portable_install;

static const struct peer *const peers[] = {
	&peer_memcpy, &peer_mprotect, &peer_mprotect_packed, &peer_memfd_dual,
	&peer_memfd_remap, &peer_pkey, &peer_asmjit, &peer_asmjit_dual, &peer_llvm_replay,
	&peer_llvm_smm, &peer_llvm_mcjit, &peer_device_inplace, &peer_device_install,
	&peer_device_huge, &peer_wxpool_inplace, &peer_wxpool_install, &peer_wxpool_huge,
	&peer_wxpool_load, &peer_wxpool_load_huge, &peer_wxpool_many, &peer_wxpool_many_huge,
	&peer_portable_inplace, &peer_portable_install,
};

static const struct {
	const char *name;
	const char *about;
	bool needs_peer;
	void (*run)(const struct options *opt);
} works[] = {
	{ "limits", "what a counter's reading, a system call and a copy cost", false, work_limits },
	{ "device", "calls of /dev/wxpool, and n= pools of one line", false, work_device },
	{ "first", "a context of libwxpool, and the first function in it", false, work_first },
	{ "pools", "n= pools of libwxpool with one line, and their end", false, work_pools },
	{ "mixed", "n= functions of 64 B to 8 KiB in a window 90 % full", false, work_mixed },
	{ "publish", "n= functions of size=, batch= in a call, all in pool=", true, work_publish },
	{ "module", "load and unload n= modules, live= at a time", true, work_module },
	{ "tiny", "n= tiny modules alive", true, work_tiny },
	{ "churn", "n= times free one of live= functions and publish another", true, work_churn },
	{ "free", "free a pool of n= functions, live= others", true, work_free },
	{ "threads", "threads= publish n= functions each, busy= spin", true, work_threads },
	{ "footprint", "run size= bytes of code once in each page", true, work_footprint },
};

/** die() - print one line "wxbench: ..." and end with status 1 */
void die(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("wxbench: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

/** peer_find() - the peer of that name, or NULL */
const struct peer *peer_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++)
		if (!strcmp(peers[i]->name, name))
			return peers[i];
	return NULL;
}

/* As asked for, before make_short(). */
static struct options asked;

/** print_head() - begin the line of a result: what was measured */
void print_head(const char *work)
{
	const struct options *opt = &asked;
	struct utsname uts;

	uname(&uts);
	printf("wxbench: work=%s kernel=%s", work, uts.release);
	if (!opt->peer)
		return;
	printf(" peer=%s n=%zu size=%zu batch=%zu live=%zu threads=%zu busy=%zu cpus=%zu pool=%zu"
	       " warm=%zu",
	       opt->peer->name, opt->n, opt->size, opt->batch, opt->live,
	       opt->threads, opt->busy, opt->cpus, opt->pool,
	       opt->warm);
}

static void print_help(void)
{
	puts("usage: wxbench WORK [PEER] [NAME=NUMBER]...\nworkloads:");
	for (size_t i = 0; i < ARRAY_SIZE(works); i++)
		printf("  %-18s %s\n", works[i].name, works[i].about);
	puts("peers:");
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++)
		printf("  %-18s %s\n", peers[i]->name, peers[i]->about);
	exit(0);
}

static void parse_number(struct options *opt, const char *arg)
{
	const struct {
		const char *name;
		size_t *to;
	} names[] = {
		{ "n=", &opt->n }, { "size=", &opt->size },
		{ "batch=", &opt->batch }, { "live=", &opt->live },
		{ "threads=", &opt->threads }, { "busy=", &opt->busy },
		{ "cpus=", &opt->cpus },
		{ "pool=", &opt->pool }, { "warm=", &opt->warm },
	};
	size_t len;
	char *end;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		len = strlen(names[i].name);
		if (strncmp(arg, names[i].name, len))
			continue;
		*names[i].to = strtoul(arg + len, &end, 10);
		if (*end || end == arg + len)
			break;
		return;
	}
	die("'%s' is not understood; see wxbench --help", arg);
}

static void check_options(const struct options *opt)
{
	if (!opt->n || !opt->live || !opt->threads || opt->threads > 64 || opt->busy > 64)
		die("n, live and threads must be from 1, threads at most 64");
	if (!opt->batch || opt->batch > MAX_PARTS)
		die("batch must be from 1 to %d", MAX_PARTS);
	if (opt->size < 16 || opt->size > 64 << 20)
		die("size must be from 16 bytes to 64 MiB");
}

/* With WXBENCH_SHORT=1 little is measured, and said to be all: to test the tool. */
static void make_short(struct options *opt)
{
	const char *env = getenv("WXBENCH_SHORT");

	if (!env || strcmp(env, "1"))
		return;
	if (opt->n > 64)
		opt->n = 64;
	if (opt->live > 128)
		opt->live = 128;
}

static void run_work(size_t i, const struct options *opt)
{
	busy_start(opt->busy);
	works[i].run(opt);
	busy_stop(opt->busy);
	putchar('\n');
}

int main(int argc, char **argv)
{
	struct options opt = {
		.n = 100, .size = 256, .batch = 1, .live = 1, .threads = 1,
	};
	size_t i;
	int arg = 2;

	if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "--list"))
		print_help();
	for (i = 0; i < ARRAY_SIZE(works); i++)
		if (!strcmp(argv[1], works[i].name))
			break;
	if (i == ARRAY_SIZE(works))
		die("no workload '%s'; see wxbench --help", argv[1]);
	if (works[i].needs_peer) {
		opt.peer = argc > 2 ? peer_find(argv[2]) : NULL;
		if (!opt.peer)
			die("no peer '%s'; see wxbench --help", argc > 2 ? argv[2] : "");
		arg++;
	}
	for (; arg < argc; arg++)
		parse_number(&opt, argv[arg]);
	check_options(&opt);
	asked = opt;
	make_short(&opt);
	run_work(i, &opt);
	return 0;
}
