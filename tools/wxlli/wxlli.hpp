/* SPDX-License-Identifier: MIT */
/*
 * wxlli: run LLVM programs on memory from libwxpool.
 *
 * main.cpp	the order of things
 * options.cpp	the command line
 * objects.cpp	what is run: IR is compiled to objects, as a compiler does
 * memory.cpp	where the linkers put it, and what is counted
 * mcjit.cpp, orc.cpp	the engines, which link the objects
 * startup.cpp	constructors and destructors
 * remote.cpp	--memory=remote: another process compiles and links
 */
#ifndef WXLLI_HPP
#define WXLLI_HPP

#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include <llvm/ExecutionEngine/JITEventListener.h>
#include <llvm/ExecutionEngine/Orc/ExecutorProcessControl.h>
#include <llvm/ExecutionEngine/Orc/ObjectLinkingLayer.h>
#include <llvm/Object/ObjectFile.h>
#include <llvm/Support/MemoryBuffer.h>

#include <wxpool/llvm-remote.hpp>

/* die() - print one line "wxlli: ..." and end the process with status 1 */
[[noreturn]] void die(const llvm::Twine &message);

/* The same for an error of LLVM's, of which the first line says what is wrong */
[[noreturn]] void die(llvm::Error err);

template <class T> T must(llvm::Expected<T> &&value)
{
	if (!value)
		die(value.takeError());
	return std::move(*value);
}

inline void must(llvm::Error err)
{
	if (err)
		die(std::move(err));
}

enum class MemoryKind { Secure, Portable, Fast, LLVM, Remote };

struct Options {
	bool orc = true;
	bool jitlink = true;
	MemoryKind memory = MemoryKind::Secure;
	bool reserve = true;
	bool stats = false;
	bool gdb = false, perf = false;
	unsigned int level = 2;
	size_t window = 0;		/* 0: as large as the program needs */
	std::string cpu, attributes;	/* as for -mcpu and -mattr */
	std::string entry = "main";
	const char *argv0 = nullptr;	/* instead of the program's name */
	std::string program = "-";
	std::vector<std::string> modules, objects, archives, libraries;
};

extern Options options;

/* parseOptions() - returns the index of the program in argv, or argc without one */
int parseOptions(int argc, char **argv);

/*
 * Object - relocatable, as read or compiled
 * strong: names that it defines, and that nobody else may
 * weak: names that it can do without
 */
struct Object {
	std::string name;
	std::unique_ptr<llvm::MemoryBuffer> buffer;
	std::vector<std::string> strong, weak;
};

/*
 * Objects - all that is given to the engine at once
 * missing: names that some object can do without, and that no object and no library has
 * constants, variables: bytes of these, to choose a window
 */
struct Objects {
	std::vector<Object> list;
	std::vector<std::string> archives;
	std::set<std::string> missing;
	size_t constants = 0, variables = 0;
};

/* readObjects() - read all that the options name, and compile it */
Objects readObjects();

/* Does the entry return something, as far as that is known? */
bool entryReturns();

/* What native programs get from the compiler's and the C library's static parts: functions, */
struct Builtin {
	const char *name;
	void *address;
};

extern const Builtin builtins[];
extern const size_t nrBuiltins;

/* and variables, which are copied to where they can be reached */
struct Near {
	const char *name;
	const void *address;
	size_t size;
};

extern const Near nearby[];
extern const size_t nrNear;

/* Program - all that is needed of one to run it, at its addresses in the process that does */
struct Program {
	using Array = std::pair<const void *const *, size_t>;	/* of functions */

	void runConstructors(int argc, char **argv, char **envp) const;
	void runDestructors() const;

	void *entry = nullptr;
	bool returns = true;
	std::vector<Array> constructors, destructors;	/* the last of these begins */
};

/* Startup - constructors and destructors, found by the names of their sections */
class Startup {
public:
	/* By any thread that links. @object: its place in the order, or -1: after the others */
	void add(unsigned int object, llvm::StringRef section, const void *address, size_t size);

	/* Orders them, once all is linked: nothing needs the engine at exit. */
	void order(Program &program);

	static bool isMine(llvm::StringRef section);

private:
	struct Array {
		unsigned int priority, object;
		Program::Array functions;
	};

	std::mutex lock;
	std::vector<Array> arrays[2];
};

/*
 * Connection - to the process that runs what is compiled here, with --memory=remote
 * in, out: LLVM's
 * socket: the memory's; theirs: the number of its other end in that process
 */
struct Connection {
	int in, out, socket, theirs;
};

/*
 * linkRemotely() - have another process link the program, by @link, for this one to run
 *
 * The other one is a child, which has ended when this returns.
 */
Program linkRemotely(Program (*link)(const Connection *));

/* tellReady() - tell the other process that LLVM's connection is about to be made */
void tellReady(const Connection &connection);

/* tell() - tell the other process of a program that is linked for it */
void tell(llvm::orc::ExecutorProcessControl &control, const Program &program);

/* Memory - the context and the managers on it; and what linkers tell of what they put there */
class Memory {
public:
	/* Opens the context, with a window for @objects, and attaches the other process, if any. */
	Memory(const Objects &objects, const Connection *connection);
	~Memory();

	std::unique_ptr<llvm::RTDyldMemoryManager> rtdyld();
	std::unique_ptr<llvm::jitlink::JITLinkMemoryManager> jitlink();

	/* What tells unwinders of JITLink's objects, if that is not LLVM's own */
	std::unique_ptr<llvm::orc::ObjectLinkingLayer::Plugin> frames();

	/* A section has its address. By any thread that links */
	void add(llvm::StringRef object, llvm::StringRef section, const void *address, size_t size);
	void add(const llvm::object::ObjectFile &object,
		 const llvm::RuntimeDyld::LoadedObjectInfo &loaded);

	/* What went wrong in RuntimeDyld's memory, which MCJIT does not tell */
	std::string error() const;

	void printStats(const char *when) const;

	Startup startup;

	/* Of the other process, if there is one, until the engine takes it */
	std::unique_ptr<llvm::orc::ExecutorProcessControl> control;

private:
	void attach(const Connection &connection);

	std::shared_ptr<wxpool::Context> context;
	std::shared_ptr<wxpool::Remote> remote;
	std::vector<std::string> names;		/* of the objects, in their order */
	wxpool::RTDyldMemory *mcjit = nullptr;	/* its only one */
	mutable std::mutex lock;
	unsigned int sections = 0;
	size_t bytes = 0;
};

/* Engine - links objects, and finds what is in them */
class Engine {
public:
	virtual ~Engine() = default;

	/* Links everything that does not depend on what is asked for. */
	virtual void link(Objects objects) = 0;

	/* An address in the process that runs it */
	virtual void *find(const std::string &name) = 0;
};

/* LLVM's for perf, which has to be told of code that is installed */
llvm::JITEventListener *createPerfListener();

Engine *createMCJIT(Memory &memory);
Engine *createORC(Memory &memory);

#endif
