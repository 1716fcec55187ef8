// SPDX-License-Identifier: MIT
/*
 * wxlli - run LLVM IR or bitcode, like lli, on memory from libwxpool
 */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <llvm-c/ErrorHandling.h>

#include "wxlli.h"

#ifndef WXLLI_VERSION
#define WXLLI_VERSION "unknown"
#endif

struct options {
	enum wxp_backend backend;
	bool protect;
	bool stats;
	unsigned int opt_level;
	const char *entry;
	const char *argv0;
	const char **extra;
	unsigned int nr_extra;
};

static struct options options = {
	.backend = WXP_BACKEND_KERNEL,
	.protect = true,
	.opt_level = 2,
	.entry = "main",
};

static struct memory memory;
static struct program program;
static pid_t owner;

void die(const char *fmt, ...)
{
	va_list ap;

	fputs("wxlli: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

/*
 * MCJIT cannot hand an error of the memory manager back to its caller; it
 * comes here. Handlers of exit() must not run: the program's could be among
 * them, and LLVM is in the middle of something.
 */
static void fatal_error(const char *reason)
{
	if (memory.err)
		reason = memory.errmsg;
	fprintf(stderr, "wxlli: %.*s\n", (int)strcspn(reason, "\n"), reason);
	_exit(1);
}

static const char help_text[] =
"Usage: wxlli [options] [program.ll|program.bc [arguments...]]\n"
"\n"
"Compiles a program of LLVM IR or bitcode, runs it and exits with its status.\n"
"Without a file, or with \"-\", the program is read from standard input.\n"
"\n"
"  --memory=secure      code is sealed by /dev/wxpool before it runs, and cannot\n"
"                       be changed by anything the process does (default)\n"
"  --memory=portable    no /dev/wxpool needed: never writable and executable at\n"
"                       once, which the process can undo\n"
"  --memory=fast        memory is writable and executable all the time: for\n"
"                       programs that are trusted\n"
"  --no-protect         do not call wxp_protect() at all; only for\n"
"                       --memory=fast, as other memory cannot run without\n"
"  --extra-module=FILE  load another module, in a pool of its own; modules see\n"
"                       each other's symbols (may be repeated)\n"
"  --entry-function=FN  begin there and not at main\n"
"  --fake-argv0=NAME    give the program another argv[0]\n"
"  --stats              say on standard error, at exit, what memory was used\n"
"  -O0, -O1, -O2, -O3   effort of code generation (default -O2)\n"
"  --help, --version    print this, or the version\n"
"\n"
"Exit status: the program's; 1 if it could not be run.\n";

static void print_version(void)
{
	unsigned int major, minor, patch;

	LLVMGetVersion(&major, &minor, &patch);
	printf("wxlli %s (LLVM %u.%u.%u)\n", WXLLI_VERSION, major, minor, patch);
}

static enum wxp_backend parse_memory(const char *arg)
{
	if (!strcmp(arg, "secure"))
		return WXP_BACKEND_KERNEL;
	if (!strcmp(arg, "portable"))
		return WXP_BACKEND_PORTABLE;
	if (!strcmp(arg, "fast"))
		return WXP_BACKEND_FAST;
	die("--memory=%s: must be secure, portable or fast", arg);
}

static unsigned int parse_opt_level(const char *arg)
{
	if (arg[0] < '0' || arg[0] > '3' || arg[1])
		die("-O%s: must be -O0, -O1, -O2 or -O3", arg);
	return (unsigned int)(arg[0] - '0');
}

static void add_extra(const char *path)
{
	options.extra = reallocarray(options.extra, options.nr_extra + 1,
				     sizeof(*options.extra));
	if (!options.extra)
		die("out of memory");
	options.extra[options.nr_extra++] = path;
}

enum {
	OPT_MEMORY = 256,
	OPT_NO_PROTECT,
	OPT_EXTRA,
	OPT_ENTRY,
	OPT_ARGV0,
	OPT_STATS,
	OPT_HELP,
	OPT_VERSION,
};

static const struct option long_options[] = {
	{ "memory", required_argument, NULL, OPT_MEMORY },
	{ "no-protect", no_argument, NULL, OPT_NO_PROTECT },
	{ "extra-module", required_argument, NULL, OPT_EXTRA },
	{ "entry-function", required_argument, NULL, OPT_ENTRY },
	{ "fake-argv0", required_argument, NULL, OPT_ARGV0 },
	{ "stats", no_argument, NULL, OPT_STATS },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 },
};

static void handle_option(int opt, const char *arg)
{
	switch (opt) {
	case OPT_MEMORY:
		options.backend = parse_memory(arg);
		break;
	case OPT_NO_PROTECT:
		options.protect = false;
		break;
	case OPT_EXTRA:
		add_extra(arg);
		break;
	case OPT_ENTRY:
		options.entry = arg;
		break;
	case OPT_ARGV0:
		options.argv0 = arg;
		break;
	case OPT_STATS:
		options.stats = true;
		break;
	case 'O':
		options.opt_level = parse_opt_level(arg);
		break;
	case OPT_HELP:
		fputs(help_text, stdout);
		exit(0);
	case OPT_VERSION:
		print_version();
		exit(0);
	default:
		exit(1);	/* getopt has said why */
	}
}

/* Returns the index of the program in argv, or argc without one. */
static int parse_options(int argc, char **argv)
{
	int opt;

	argv[0] = (char *)"wxlli";	/* begins getopt's messages */
	/* One dash is enough, as for lli. */
	while ((opt = getopt_long_only(argc, argv, "+O:", long_options,
				       NULL)) != -1)
		handle_option(opt, optarg);
	if (!options.protect && options.backend != WXP_BACKEND_FAST)
		die("--no-protect needs --memory=fast: other memory cannot run unprotected");
	return optind;
}

static void open_memory(void)
{
	int err = memory_open(&memory, options.backend, options.protect);

	if (!err)
		return;
	if (err == -ENOENT)
		die("no secure memory: the module wxpool is not loaded: %s",
		    "run 'modprobe wxpool', or use --memory=portable, which protects less");
	if (options.backend == WXP_BACKEND_KERNEL)
		die("no secure memory: %s", wxp_strerror(err));
	die("no memory: %s", wxp_strerror(err));
}

/* As lli names it: without the suffix of bitcode. */
static char *program_argv0(const char *path)
{
	char *name = strdup(options.argv0 ? options.argv0 : path);
	size_t len;

	if (!name)
		die("out of memory");
	len = strlen(name);
	if (!options.argv0 && len > 3 && !strcmp(name + len - 3, ".bc"))
		name[len - 3] = '\0';
	return name;
}

static unsigned int count_threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	unsigned int nr = 0;

	if (!dir)
		return 1;
	while (readdir(dir))
		nr++;
	closedir(dir);
	return nr - 2;		/* "." and ".." */
}

/*
 * Registered before the program runs, hence called after all of its own
 * atexit() handlers, however it comes to exit(). A forked child owns no pools,
 * and code under another thread that still runs stays until the process ends.
 */
static void at_exit(void)
{
	program_run_destructors(&program);
	/* Buffers given to setvbuf() may be in the program's data. */
	fflush(NULL);
	if (getpid() != owner)
		return;
	if (options.stats)
		memory_print_stats(&memory, "at exit");
	if (count_threads() > 1)
		return;
	program_free(&program);
	if (options.stats)
		memory_print_stats(&memory, "freed");
	memory_close(&memory);
}

int main(int argc, char **argv, char **envp)
{
	int first = parse_options(argc, argv);
	const char *path = first < argc ? argv[first] : "-";
	program_main_t entry;

	LLVMInstallFatalErrorHandler(fatal_error);
	program_init(&program, &memory, options.opt_level);
	program_add(&program, path);
	for (unsigned int i = 0; i < options.nr_extra; i++)
		program_add(&program, options.extra[i]);
	open_memory();
	program_load(&program);
	entry = program_find_main(&program, options.entry);

	/* Without a file there are no arguments: argv[argc] is NULL. */
	if (first == argc)
		first = argc - 1;
	argv[first] = program_argv0(path);
	owner = getpid();
	if (atexit(at_exit))
		die("out of memory");
	program_run_constructors(&program);
	errno = 0;
	exit(entry(argc - first, argv + first, envp));
}
