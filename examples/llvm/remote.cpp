// SPDX-License-Identifier: MIT
// A compiler whose code llvm-jitlink-executor runs: remote EXECUTOR LIBRARY. Nothing that it
// compiles is executable here, and nothing of it is ever writable there.
#include <csignal>
#include <cstdlib>
#include <sys/wait.h>

#include <llvm/AsmParser/Parser.h>
#include <llvm/ExecutionEngine/Orc/LLJIT.h>
#include <llvm/ExecutionEngine/Orc/SimpleRemoteEPC.h>
#include <llvm/ExecutionEngine/Orc/Shared/SimpleRemoteEPCUtils.h>
#include <llvm/IR/LLVMContext.h>
#include <llvm/IR/Module.h>
#include <llvm/Support/SourceMgr.h>
#include <llvm/Support/TargetSelect.h>
#include <wxpool/llvm-remote.hpp>

#include "module.h"

using namespace llvm::orc;

// What connects the two: LLVM's pipes (a socket would keep LLVM from ending), wxpool's packets
struct Ends {
	int in, out, packets;
};

static pid_t start(const char *executor, const Ends &theirs, const Ends &ours)
{
	std::string arg = "filedescs=" + std::to_string(theirs.in) + "," +
			  std::to_string(theirs.out);
	pid_t pid = fork();

	if (!pid) {
		for (int fd : { ours.in, ours.out, ours.packets })
			close(fd);
		execlp(executor, executor, arg.c_str(), nullptr);
		_exit(127);
	}
	for (int fd : { theirs.in, theirs.out, theirs.packets })
		close(fd);
	return pid;
}

int main(int argc, char **argv)
{
	llvm::ExitOnError must("remote: ");
	auto llvm = std::make_unique<llvm::LLVMContext>();
	llvm::SMDiagnostic wrong;
	int to[2], from[2], packets[2], status;
	wxp_options options = {};

	signal(SIGPIPE, SIG_IGN);	// an executor that dies is an error of LLVM's
	if (argc != 3 || pipe(to) || pipe(from) || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, packets))
		return 1;
	const Ends ours = { from[0], to[1], packets[0] }, theirs = { to[0], from[1], packets[1] };
	pid_t pid = start(argv[1], theirs, ours);

	llvm::InitializeNativeTarget();
	llvm::InitializeNativeTargetAsmPrinter();
	options.size = sizeof(options);
	options.flags = WXP_COMPILE_ONLY;

	auto context = must(wxpool::Context::open(&options));
	SimpleRemoteEPC::Setup setup;

	setup.CreateMemoryManager = [&](SimpleRemoteEPC &epc)
			-> llvm::Expected<std::unique_ptr<llvm::jitlink::JITLinkMemoryManager>> {
		auto remote = wxpool::Remote::attach(epc, context, ours.packets,
						     theirs.packets, argv[2]);

		if (!remote)
			return remote.takeError();
		return std::make_unique<wxpool::RemoteJITLinkMemory>(*remote);
	};
	auto epc = must(SimpleRemoteEPC::Create<FDSimpleRemoteEPCTransport>(
		std::make_unique<DynamicThreadPoolTaskDispatcher>(std::nullopt), std::move(setup),
		ours.in, ours.out));
	auto &executor = *epc;
	auto jit = must(LLJITBuilder().setExecutorProcessControl(std::move(epc)).create());
	auto module = llvm::parseAssemblyString(module_text, wrong, *llvm);

	must(jit->addIRModule(ThreadSafeModule(std::move(module), std::move(llvm))));
	auto answer = must(jit->lookup("answer"));

	llvm::outs() << "The answer is " << must(executor.runAsIntFunction(answer, 4)) << ".\n";
	jit.reset();
	return waitpid(pid, &status, 0) != pid || status;
}
