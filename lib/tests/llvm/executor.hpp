/* SPDX-License-Identifier: MIT */
/* LLVM's own executor as a child, for the tests and the benchmark; its messages are counted */
#ifndef WXP_TEST_LLVM_EXECUTOR_HPP
#define WXP_TEST_LLVM_EXECUTOR_HPP

#include <string>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <llvm/ExecutionEngine/Orc/Shared/SimpleRemoteEPCUtils.h>

/* LLVM's, for SimpleRemoteEPC::Create() */
class CountingTransport : public llvm::orc::SimpleRemoteEPCTransport {
public:
	static inline unsigned int sent;

	static llvm::Expected<std::unique_ptr<CountingTransport>>
	Create(llvm::orc::SimpleRemoteEPCTransportClient &client, int in, int out)
	{
		auto t = std::make_unique<CountingTransport>();

		t->pipes = llvm::cantFail(
			llvm::orc::FDSimpleRemoteEPCTransport::Create(client, in, out));
		return t;
	}

	llvm::Error start() override { return pipes->start(); }
	void disconnect() override { pipes->disconnect(); }

	llvm::Error sendMessage(llvm::orc::SimpleRemoteEPCOpcode code, uint64_t number,
				llvm::orc::ExecutorAddr tag, llvm::ArrayRef<char> bytes) override
	{
		sent++;
		return pipes->sendMessage(code, number, tag, bytes);
	}

private:
	std::unique_ptr<llvm::orc::FDSimpleRemoteEPCTransport> pipes;
};

/*
 * Executor - in, out: LLVM's pipes; socket: the library's, whose other end has the number
 * theirs there
 */
struct Executor {
	static constexpr int theirs = 100;

	pid_t pid = -1;
	int in, out, socket;
};

/* @prepare: called by the child, before it is @program. The pid is -1 if there is none. */
template <class F> Executor startExecutor(const char *program, F prepare)
{
	int to[2], from[2], packets[2];
	Executor e;

	if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC) ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, packets))
		return e;
	e.pid = fork();
	if (!e.pid) {
		std::string arg = "filedescs=" + std::to_string(dup(to[0])) + "," +
				  std::to_string(dup(from[1]));

		if (dup2(packets[1], Executor::theirs) == Executor::theirs && prepare())
			execlp(program, program, arg.c_str(), nullptr);
		_exit(127);
	}
	for (int fd : { to[0], from[1], packets[1] })
		close(fd);
	e.in = from[0];
	e.out = to[1];
	e.socket = packets[0];
	return e;
}

#endif
