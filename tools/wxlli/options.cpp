// SPDX-License-Identifier: MIT
#include <cstring>
#include <getopt.h>

#include "wxlli.hpp"

Options options;

static const char help[] =
"Usage: wxlli [options] [program [arguments...]]\n"
"\n"
"Compiles and links a program, runs it and exits with its status. The program is LLVM\n"
"IR (.ll), bitcode (.bc), an object file (.o) or an archive of these (.a). Without one,\n"
"or with \"-\", it is read from standard input.\n"
"\n"
"  --memory=secure      code is sealed by /dev/wxpool before it runs, and cannot\n"
"                       be changed by anything the process does (default)\n"
"  --memory=remote      as secure, and another process compiles: this one has\n"
"                       nothing that adds code\n"
"  --memory=portable    no /dev/wxpool needed: never writable and executable at\n"
"                       once, which the process can undo\n"
"  --memory=fast        memory is writable and executable all the time: for\n"
"                       programs that are trusted\n"
"  --memory=llvm        LLVM's own memory managers, to compare\n"
"  --window=SIZE        addresses for code and data, up to 2G (K, M or G may\n"
"                       follow the number; default: what the program needs)\n"
"  --engine=orc|mcjit   LLVM's engine (default orc)\n"
"  --linker=jitlink|rtdyld\n"
"                       the linker of orc (default jitlink); mcjit has rtdyld\n"
"  --reserve=yes|no     have rtdyld say before how much memory it needs (default\n"
"                       yes)\n"
"  --protect=yes|no     protect code once it is linked (default yes); \"no\" is only\n"
"                       for --memory=fast, as other memory cannot run without\n"
"  --extra-module=FILE, --extra-object=FILE, --extra-archive=FILE\n"
"                       link another file; all see each other's symbols (may be\n"
"                       repeated)\n"
"  --dlopen=LIBRARY     load a shared library before (may be repeated)\n"
"  --entry-function=FN  begin there and not at main\n"
"  --fake-argv0=NAME    give the program another argv[0]\n"
"  -O0, -O1, -O2, -O3   effort of code generation (default -O2)\n"
"  -mcpu=CPU, -mattr=FEATURES\n"
"                       generate code for another processor than this one\n"
"  --gdb                tell a debugger of the code\n"
"  --perf               tell perf of it, by a jitdump (not with jitlink)\n"
"  --stats              say on standard error, at exit, what memory was used\n"
"  --help, --version    print this, or the versions\n"
"\n"
"Exit status: the program's; 1 if it could not be run.\n";

enum {
	OPT_MEMORY = 256, OPT_WINDOW, OPT_ENGINE, OPT_LINKER, OPT_RESERVE, OPT_PROTECT,
	OPT_MODULE, OPT_OBJECT, OPT_ARCHIVE, OPT_DLOPEN, OPT_ENTRY, OPT_ARGV0, OPT_CPU,
	OPT_ATTRIBUTES, OPT_GDB, OPT_PERF, OPT_STATS, OPT_HELP, OPT_VERSION,
};

static const option table[] = {
	{ "memory", required_argument, nullptr, OPT_MEMORY },
	{ "window", required_argument, nullptr, OPT_WINDOW },
	{ "engine", required_argument, nullptr, OPT_ENGINE },
	{ "linker", required_argument, nullptr, OPT_LINKER },
	{ "reserve", required_argument, nullptr, OPT_RESERVE },
	{ "protect", required_argument, nullptr, OPT_PROTECT },
	{ "extra-module", required_argument, nullptr, OPT_MODULE },
	{ "extra-object", required_argument, nullptr, OPT_OBJECT },
	{ "extra-archive", required_argument, nullptr, OPT_ARCHIVE },
	{ "dlopen", required_argument, nullptr, OPT_DLOPEN },
	{ "entry-function", required_argument, nullptr, OPT_ENTRY },
	{ "fake-argv0", required_argument, nullptr, OPT_ARGV0 },
	{ "mcpu", required_argument, nullptr, OPT_CPU },
	{ "mattr", required_argument, nullptr, OPT_ATTRIBUTES },
	{ "gdb", no_argument, nullptr, OPT_GDB },
	{ "perf", no_argument, nullptr, OPT_PERF },
	{ "stats", no_argument, nullptr, OPT_STATS },
	{ "help", no_argument, nullptr, OPT_HELP },
	{ "version", no_argument, nullptr, OPT_VERSION },
	{ nullptr, 0, nullptr, 0 },
};

static bool protect = true, linker;

/* Which of two words is it? */
static bool choose(const char *option, const char *arg, const char *yes, const char *no)
{
	if (strcmp(arg, yes) && strcmp(arg, no))
		die(llvm::Twine("--") + option + "=" + arg + ": must be " + yes + " or " + no);
	return !strcmp(arg, yes);
}

static MemoryKind parseMemory(const char *arg)
{
	static const char *const names[] = { "secure", "portable", "fast", "llvm", "remote" };

	for (int i = 0; i < 5; i++)
		if (!strcmp(arg, names[i]))
			return static_cast<MemoryKind>(i);
	die(llvm::Twine("--memory=") + arg + ": must be secure, remote, portable, fast or llvm");
}

static size_t parseWindow(const char *arg)
{
	static const char units[] = "KMG";
	char *end;
	unsigned long long size = strtoull(arg, &end, 10);
	const char *unit = *end ? strchr(units, *end) : nullptr;

	if (unit) {
		size <<= 10 * (unit - units + 1);
		end++;
	}
	if (end == arg || *end || size < 6 << 20 || size > 2ull << 30 || size % (2 << 20))
		die(llvm::Twine("--window=") + arg +
		    ": must be a multiple of 2M, from 6M to 2G");
	return size;
}

static unsigned int parseLevel(const char *arg)
{
	if (arg[0] < '0' || arg[0] > '3' || arg[1])
		die(llvm::Twine("-O") + arg + ": must be -O0, -O1, -O2 or -O3");
	return arg[0] - '0';
}

static void handle(int opt, const char *arg)
{
	switch (opt) {
	case OPT_MEMORY:
		options.memory = parseMemory(arg);
		break;
	case OPT_WINDOW:
		options.window = parseWindow(arg);
		break;
	case OPT_ENGINE:
		options.orc = choose("engine", arg, "orc", "mcjit");
		break;
	case OPT_LINKER:
		options.jitlink = choose("linker", arg, "jitlink", "rtdyld");
		linker = true;
		break;
	case OPT_RESERVE:
		options.reserve = choose("reserve", arg, "yes", "no");
		break;
	case OPT_PROTECT:
		protect = choose("protect", arg, "yes", "no");
		break;
	case OPT_MODULE:
		options.modules.push_back(arg);
		break;
	case OPT_OBJECT:
		options.objects.push_back(arg);
		break;
	case OPT_ARCHIVE:
		options.archives.push_back(arg);
		break;
	case OPT_DLOPEN:
		options.libraries.push_back(arg);
		break;
	case OPT_ENTRY:
		options.entry = arg;
		break;
	case OPT_ARGV0:
		options.argv0 = arg;
		break;
	case OPT_CPU:
		options.cpu = arg;
		break;
	case OPT_ATTRIBUTES:
		options.attributes = arg;
		break;
	case OPT_GDB:
		options.gdb = true;
		break;
	case OPT_PERF:
		options.perf = true;
		break;
	case OPT_STATS:
		options.stats = true;
		break;
	case 'O':
		options.level = parseLevel(arg);
		break;
	case OPT_HELP:
		fputs(help, stdout);
		exit(0);
	case OPT_VERSION:
		printf("wxlli %s (LLVM %s)\n", WXLLI_VERSION, LLVM_VERSION_STRING);
		exit(0);
	default:
		exit(1);	/* getopt has said why */
	}
}

int parseOptions(int argc, char **argv)
{
	static char name[] = "wxlli";
	int opt;

	argv[0] = name;		/* begins getopt's messages */
	/* One dash is enough, as for lli. */
	while ((opt = getopt_long_only(argc, argv, "+O:", table, nullptr)) != -1)
		handle(opt, optarg);
	if (!protect && options.memory != MemoryKind::Fast)
		die("--protect=no needs --memory=fast: other memory cannot run unprotected");
	if (!options.orc && linker && options.jitlink)
		die("--engine=mcjit has no --linker=jitlink");
	if (!options.orc && options.memory == MemoryKind::Remote)
		die("--engine=mcjit has no --memory=remote: MCJIT knows only its own process");
	if (options.memory == MemoryKind::Remote && (options.gdb || options.perf))
		die("--memory=remote has neither --gdb nor --perf");
	options.jitlink &= options.orc;
	/* With LLVM 19 and 22: the flags of its file are garbage, or its addresses wrong. */
	if (options.jitlink && options.perf)
		die("--perf needs --linker=rtdyld or --engine=mcjit: perf cannot read what LLVM's "
		    "JITLink tells it");
	if (optind < argc)
		options.program = argv[optind];
	return optind;
}
