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
#include <pthread.h>

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

/* LLVM, which listens in one, ends the process if there is none. */
static void requireThreads()
{
	pthread_t thread;
	int err = pthread_create(&thread, nullptr, [](void *p) { return p; }, nullptr);

	if (err)
		die(Twine("no thread to listen in: ") + strerror(err));
	pthread_join(thread, nullptr);
}

/* Calls of the compiler's, which neither block nor call back, need no threads of their own. */
class InPlace : public SimpleRemoteEPCServer::Dispatcher {
	void dispatch(unique_function<void()> work) override { work(); }
	void shutdown() override {}
};

/* The compiler is about to connect. LLVM's server crashes if its client goes at once. */
void tellReady(const Connection &connection)
{
	requireThreads();
	if (write(connection.out, "", 1) != 1)
		die("the program has ended");
}

static bool hearReady(const Connection &connection)
{
	char byte;
	ssize_t n;

	do {
		n = read(connection.in, &byte, 1);
	} while (n < 0 && errno == EINTR);
	return n == 1;
}

/* Until the compiler goes, be it before it is ready: reap() knows why. */
static void serve(const Connection &connection)
{
	if (!hearReady(connection))
		return;
	requireThreads();

	auto server = SimpleRemoteEPCServer::Create<FDSimpleRemoteEPCTransport>(
		[](SimpleRemoteEPCServer::Setup &setup) -> Error {
			auto &symbols = setup.bootstrapSymbols();

			setup.setDispatcher(std::make_unique<InPlace>());
			setup.setErrorReporter([](Error err) { consumeError(std::move(err)); });
			symbols = SimpleRemoteEPCServer::defaultBootstrapSymbols();
			wxpool::addBootstrapSymbols(symbols);
			symbols[tellName] = ExecutorAddr::fromPtr(&hear);
			return Error::success();
		},
		connection.in, connection.out);

	consumeError(server ? (*server)->waitForDisconnect() : server.takeError());
}

/* ChildSignal - of the end of the compiler, which the program must not see */
class ChildSignal {
public:
	ChildSignal()
	{
		struct sigaction action = {};
		sigset_t set;

		sigemptyset(&set);
		sigaddset(&set, SIGCHLD);
		sigprocmask(SIG_BLOCK, &set, &mask);
		sigpending(&set);
		pending = sigismember(&set, SIGCHLD);
		action.sa_handler = SIG_DFL;		/* if ignored, nobody could wait */
		sigaction(SIGCHLD, &action, &old);
	}

	~ChildSignal()
	{
		const timespec now = {};
		sigset_t set;

		sigemptyset(&set);
		sigaddset(&set, SIGCHLD);
		if (!pending)
			sigtimedwait(&set, nullptr, &now);
		sigaction(SIGCHLD, &old, nullptr);
		sigprocmask(SIG_SETMASK, &mask, nullptr);
	}

private:
	struct sigaction old;
	sigset_t mask;
	bool pending;
};

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

/* Not among the standard streams, if some of these are closed */
static void moveUp(int fds[2])
{
	for (int i = 0; i < 2; i++) {
		int low = fds[i];

		if (low > STDERR_FILENO)
			continue;
		fds[i] = fcntl(low, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
		close(low);
		if (fds[i] < 0)
			die(Twine("no connection to a compiler: ") + strerror(errno));
	}
}

/* Two pipes and a pair of sockets: the descriptors of one side */
static Connection side(const int to[2], const int from[2], const int sockets[2], int i)
{
	return { from[0], to[1], sockets[i], sockets[!i] };
}

Program linkRemotely(Program (*link)(const Connection *))
{
	int to[2], from[2], sockets[2];
	pid_t child, parent = getpid();

	if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC) ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets))
		die(Twine("no connection to a compiler: ") + strerror(errno));
	for (int *fds : { to, from, sockets })
		moveUp(fds);

	Connection compiler = side(to, from, sockets, 0), runner = side(from, to, sockets, 1);

	ChildSignal signal;

	fflush(nullptr);
	child = fork();
	if (child < 0)
		die(Twine("no process to compile in: ") + strerror(errno));
	if (!child) {
		/* Nobody waits for what it does then. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		for (int fd : { runner.in, runner.out, runner.socket })
			close(fd);
		link(&compiler);
		/* What was installed stays, for the other process alone. */
		_exit(0);
	}
	close(compiler.out);
	close(compiler.socket);
	serve(runner);
	/* Open so long, as an answer that nobody hears would be SIGPIPE. */
	close(compiler.in);
	reap(child);
	close(runner.socket);	/* the compiler's end is gone; what is mapped stays */
	return std::move(told);
}
