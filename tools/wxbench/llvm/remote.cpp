// SPDX-License-Identifier: MIT
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <linux/perf_event.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <llvm/ExecutionEngine/Orc/MapperJITLinkMemoryManager.h>
#include <llvm/ExecutionEngine/Orc/MemoryMapper.h>
#include <llvm/ExecutionEngine/Orc/Shared/SimpleRemoteEPCUtils.h>

#include "remote.hpp"

using namespace llvm;
using namespace llvm::orc;

static ExitOnError must("wxbench: ");
static uint64_t messages;
static pid_t executor;
static int counters[2];		/* this process, the executor */

class Transport : public SimpleRemoteEPCTransport {
public:
	static Expected<std::unique_ptr<Transport>> Create(SimpleRemoteEPCTransportClient &client,
							   int in, int out)
	{
		auto t = std::make_unique<Transport>();

		t->pipes = must(FDSimpleRemoteEPCTransport::Create(client, in, out));
		return t;
	}

	Error start() override { return pipes->start(); }
	void disconnect() override { pipes->disconnect(); }

	Error sendMessage(SimpleRemoteEPCOpcode code, uint64_t number, ExecutorAddr tag,
			  ArrayRef<char> bytes) override
	{
		messages++;
		return pipes->sendMessage(code, number, tag, bytes);
	}

private:
	std::unique_ptr<FDSimpleRemoteEPCTransport> pipes;
};

/* Of all its threads from now on */
static int countCalls(pid_t pid)
{
	static const char path[] = "/sys/kernel/tracing/events/raw_syscalls/sys_enter/id";
	perf_event_attr attr = {};

	if (access(path, R_OK))
		mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, nullptr);
	attr.size = sizeof(attr);
	attr.type = PERF_TYPE_TRACEPOINT;
	attr.inherit = 1;
	std::ifstream(path) >> attr.config;
	return static_cast<int>(syscall(SYS_perf_event_open, &attr, pid, -1, -1, PERF_FLAG_FD_CLOEXEC));
}

uint64_t messagesSent()
{
	return messages;
}

uint64_t callsOfBoth()
{
	uint64_t sum = 0, nr;

	for (int fd : counters)
		if (read(fd, &nr, sizeof(nr)) == sizeof(nr))
			sum += nr;
	return sum;
}

int64_t mappingsOfBoth()
{
	int64_t nr = 0;

	for (const std::string &pid : { std::string("self"), std::to_string(executor) }) {
		std::ifstream maps("/proc/" + pid + "/maps");

		nr += std::count(std::istreambuf_iterator<char>(maps), {}, '\n');
	}
	return nr;
}

/* Shared memory, at the same addresses as its names in the executor */
static Expected<std::unique_ptr<jitlink::JITLinkMemoryManager>> mapper(SimpleRemoteEPC &epc)
{
	SharedMemoryMapper::SymbolAddrs s;

	must(epc.getBootstrapSymbols({
		{ s.Instance, rt::ExecutorSharedMemoryMapperServiceInstanceName },
		{ s.Reserve, rt::ExecutorSharedMemoryMapperServiceReserveWrapperName },
		{ s.Initialize, rt::ExecutorSharedMemoryMapperServiceInitializeWrapperName },
		{ s.Deinitialize, rt::ExecutorSharedMemoryMapperServiceDeinitializeWrapperName },
		{ s.Release, rt::ExecutorSharedMemoryMapperServiceReleaseWrapperName } }));
	return MapperJITLinkMemoryManager::CreateWithMapper<SharedMemoryMapper>(64 << 20, epc, s);
}

std::unique_ptr<ExecutorProcessControl>
startExecutor(const std::string &peer, std::shared_ptr<wxpool::Context> context,
	      const char *name, const char *library)
{
	int to[2], from[2], packets[2];
	SimpleRemoteEPC::Setup setup;

	if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC) ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, packets))
		return nullptr;
	executor = fork();
	if (!executor) {
		std::string arg = "filedescs=" + std::to_string(dup(to[0])) + "," +
				  std::to_string(dup(from[1]));

		/* One that both sides know */
		dup2(packets[1], 100);
		execlp(name, name, arg.c_str(), nullptr);
		_exit(127);
	}
	for (int fd : { to[0], from[1], packets[1] })
		close(fd);
	counters[0] = countCalls(0);
	counters[1] = countCalls(executor);
	if (context)
		setup.CreateMemoryManager = [&](SimpleRemoteEPC &epc)
				-> Expected<std::unique_ptr<jitlink::JITLinkMemoryManager>> {
			return std::make_unique<wxpool::RemoteJITLinkMemory>(must(
				wxpool::Remote::attach(epc, context, packets[0], 100, library)));
		};
	else if (peer == "mapper")
		setup.CreateMemoryManager = mapper;
	return must(SimpleRemoteEPC::Create<Transport>(
		std::make_unique<DynamicThreadPoolTaskDispatcher>(std::nullopt), std::move(setup),
		from[0], to[1]));
}
