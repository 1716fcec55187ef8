// SPDX-License-Identifier: MIT
/* wxlli - run LLVM IR, bitcode and objects, like lli, on memory from libwxpool */
#include <cerrno>
#include <cstring>
#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <llvm/Support/DynamicLibrary.h>
#include <llvm/Support/ErrorHandling.h>
#include <llvm/Support/TargetSelect.h>

#include "wxlli.hpp"

using namespace llvm;

/* Not destroyed at exit, unless atExit() does it; with --memory=remote the compiler's */
static Memory *memory;
static Engine *engine;
static Program program;
static pid_t owner;

void die(const Twine &message)
{
	std::string line = message.str();

	line.resize(strcspn(line.c_str(), "\n"));
	fprintf(stderr, "wxlli: %s\n", line.c_str());
	/* The handlers of exit() may be the program's, and LLVM in the middle of something. */
	fflush(nullptr);
	_exit(1);
}

void die(Error err)
{
	die(toString(std::move(err)));
}

static void fatal(void *, const char *reason, bool)
{
	if (memory && !memory->error().empty())
		die(memory->error());
	die(reason);
}

extern "C" {
/* In the compiler's library, where nobody finds them by name */
#ifdef __x86_64__
extern const unsigned int __cpu_model[4], __cpu_features2[3];
int __cpu_indicator_init(void);
#endif
}

const Builtin builtins[] = {
	{ "atexit", reinterpret_cast<void *>(&atexit) },
	{ "at_quick_exit", reinterpret_cast<void *>(&at_quick_exit) },
	{ "pthread_atfork", reinterpret_cast<void *>(&pthread_atfork) },
	{ "stat", reinterpret_cast<void *>(&stat) },
	{ "fstat", reinterpret_cast<void *>(&fstat) },
	{ "lstat", reinterpret_cast<void *>(&lstat) },
	{ "mknod", reinterpret_cast<void *>(&mknod) },
#ifdef __x86_64__
	{ "__cpu_indicator_init", reinterpret_cast<void *>(&__cpu_indicator_init) },
#endif
};

const size_t nrBuiltins = sizeof(builtins) / sizeof(builtins[0]);

static const char dsoHandle[8] = {};

const Near nearby[] = {
	{ "__dso_handle", dsoHandle, sizeof(dsoHandle) },
#ifdef __x86_64__
	{ "__cpu_model", __cpu_model, sizeof(__cpu_model) },
	{ "__cpu_features2", __cpu_features2, sizeof(__cpu_features2) },
#endif
};

const size_t nrNear = sizeof(nearby) / sizeof(nearby[0]);

static void loadLibraries()
{
	std::string twice;	/* is no error */

	sys::DynamicLibrary::LoadLibraryPermanently(nullptr);
	for (const std::string &library : options.libraries) {
		/* LLVM closes them at exit, when their threads may run still. */
		void *handle = dlopen(library.c_str(), RTLD_LAZY | RTLD_GLOBAL | RTLD_NODELETE);

		if (!handle)
			die("--dlopen=" + library + ": " + dlerror());
		sys::DynamicLibrary::addPermanentLibrary(handle, &twice);
	}
	for (const Builtin &b : builtins)
		sys::DynamicLibrary::AddSymbol(b.name, b.address);
}

/* As lli names it: without the suffix of bitcode */
static char *programName(const char *path)
{
	StringRef name = path;

	if (options.argv0)
		return strdup(options.argv0);
	name.consume_back(".bc");
	return strdup(name.str().c_str());
}

static unsigned int countThreads()
{
	DIR *dir = opendir("/proc/self/task");
	unsigned int nr = 0;

	if (!dir)
		return 2;	/* for all that is known */
	while (const dirent *entry = readdir(dir))
		nr += entry->d_name[0] != '.';
	closedir(dir);
	return nr;
}

/*
 * The last of exit()'s handlers. Threads may run the program still, and a child has its
 * parent's code: then its memory is left to the end of the process.
 */
static void atExit()
{
	program.runDestructors();
	/* Buffers given to setvbuf() may be in the program's data. */
	fflush(nullptr);
	if (!memory || getpid() != owner)
		return;
	if (options.stats)
		memory->printStats("at exit");
	if (countThreads() > 1)
		return;
	delete engine;
	if (options.stats)
		memory->printStats("freed");
	delete memory;
}

static Program link(const Connection *connection)
{
	Objects objects = readObjects();
	Program linked;

	memory = new Memory(objects, connection);

	auto *control = memory->control.get();

	engine = options.orc ? createORC(*memory) : createMCJIT(*memory);
	engine->link(std::move(objects));
	linked.entry = engine->find(options.entry);
	if (!linked.entry)
		die(options.program + ": no function '" + options.entry + "'");
	linked.returns = entryReturns();
	memory->startup.order(linked);
	if (connection && options.stats)
		memory->printStats("linked");
	if (connection)
		tell(*control, linked);
	return linked;
}

int main(int argc, char **argv, char **envp)
{
	int first = parseOptions(argc, argv);
	int status;

	install_fatal_error_handler(fatal);
	InitializeNativeTarget();
	InitializeNativeTargetAsmPrinter();
	InitializeNativeTargetAsmParser();	/* for inline assembly */
	loadLibraries();
	program = options.memory == MemoryKind::Remote ? linkRemotely(link) : link(nullptr);

	/* Without a file there are no arguments: argv[argc] is NULL. */
	if (first == argc)
		first = argc - 1;
	argv[first] = programName(options.program.c_str());
	owner = getpid();
	if (atexit(atExit))
		die("out of memory");
	program.runConstructors(argc - first, argv + first, envp);
	errno = 0;
	status = reinterpret_cast<int (*)(int, char **, char **)>(program.entry)(
		argc - first, argv + first, envp);
	exit(program.returns ? status : 0);
}
