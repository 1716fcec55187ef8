// SPDX-License-Identifier: MIT
/*
 * --memory=remote. The process that was started, and has the standard streams, the
 * parent and the signals, is the one that runs the program. Its child has /dev/wxpool;
 * it compiles, links, and has ended before the program begins. So nobody is left who
 * could add code.
 *
 * Both have the same libraries at the same addresses, as the child is a fork. What is
 * linked has addresses of its own in each.
 */
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include <llvm/ExecutionEngine/Orc/Shared/SimpleRemoteEPCUtils.h>
#include <llvm/ExecutionEngine/Orc/TargetProcess/SimpleRemoteEPCServer.h>

#include "wxlli.hpp"

using namespace llvm;
using namespace llvm::orc;
using namespace llvm::orc::shared;

/* How a program is told: its entry, whether that returns something, the arrays */
using SPSArrays = SPSSequence<SPSTuple<SPSExecutorAddr, uint64_t>>;
using SPSProgram = void(SPSExecutorAddr, bool, SPSArrays, SPSArrays);
using Arrays = std::vector<std::pair<ExecutorAddr, uint64_t>>;

static const char tellName[] = "wxlli_tell";
static Program told;

static Arrays toArrays(const std::vector<Program::Array> &list)
{
	Arrays arrays;

	for (const auto &[first, nr] : list)
		arrays.emplace_back(ExecutorAddr::fromPtr(first), nr);
	return arrays;
}

static std::vector<Program::Array> fromArrays(const Arrays &arrays)
{
	std::vector<Program::Array> list;

	for (const auto &[first, nr] : arrays)
		list.emplace_back(first.toPtr<const void *const *>(), nr);
	return list;
}

void tell(ExecutorProcessControl &control, const Program &program)
{
	ExecutorAddr address;

	must(control.getBootstrapSymbols({ { address, tellName } }));
	must(control.callSPSWrapper<SPSProgram>(address, ExecutorAddr::fromPtr(program.entry),
						program.returns, toArrays(program.constructors),
						toArrays(program.destructors)));
}

static auto hear(const char *data, size_t size)
{
	return WrapperFunction<SPSProgram>::handle(
		data, size, [](ExecutorAddr entry, bool returns, const Arrays &constructors,
			       const Arrays &destructors) {
			told.entry = entry.toPtr<void *>();
			told.returns = returns;
			told.constructors = fromArrays(constructors);
			told.destructors = fromArrays(destructors);
		}).release();
}

/* Until the compiler goes, be it at once: reap() knows why. */
static void serve(const Connection &connection)
{
	auto server = SimpleRemoteEPCServer::Create<FDSimpleRemoteEPCTransport>(
		[](SimpleRemoteEPCServer::Setup &setup) -> Error {
			auto &symbols = setup.bootstrapSymbols();

			setup.setDispatcher(
				std::make_unique<SimpleRemoteEPCServer::ThreadDispatcher>());
			setup.setErrorReporter([](Error err) { consumeError(std::move(err)); });
			symbols = SimpleRemoteEPCServer::defaultBootstrapSymbols();
			wxpool::addBootstrapSymbols(symbols);
			symbols[tellName] = ExecutorAddr::fromPtr(&hear);
			return Error::success();
		},
		connection.in, connection.out);

	consumeError(server ? (*server)->waitForDisconnect() : server.takeError());
}

/* The child has said what went wrong, if it could. */
static void reap(pid_t child)
{
	int status = 0;

	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		continue;
	if (WIFSIGNALED(status))
		die(Twine("the compiler was ended by signal ") + Twine(WTERMSIG(status)));
	if (status)
		_exit(1);
	if (!told.entry)
		die("the compiler ended early");
}

/* Two pipes and a pair of sockets: the descriptors of one side */
static Connection side(const int to[2], const int from[2], const int sockets[2], int i)
{
	return { from[0], to[1], sockets[i], sockets[!i] };
}

static void closeAll(const Connection &connection)
{
	for (int fd : { connection.in, connection.out, connection.socket })
		close(fd);
}

Program linkRemotely(Program (*link)(const Connection *))
{
	int to[2], from[2], sockets[2];
	pid_t child, parent = getpid();

	if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC) ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets))
		die(Twine("no connection to a compiler: ") + strerror(errno));

	Connection compiler = side(to, from, sockets, 0), runner = side(from, to, sockets, 1);

	fflush(nullptr);
	child = fork();
	if (child < 0)
		die(Twine("no process to compile in: ") + strerror(errno));
	if (!child) {
		/* Nobody waits for what it does then. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		closeAll(runner);
		link(&compiler);
		/* What was installed stays, for the other process alone. */
		_exit(0);
	}
	closeAll(compiler);
	serve(runner);
	reap(child);
	close(runner.socket);	/* the compiler's end is gone; what is mapped stays */
	return std::move(told);
}
