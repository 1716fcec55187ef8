// SPDX-License-Identifier: MIT
#include <cstring>
#include <fstream>
#include <linux/perf_event.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <llvm/ExecutionEngine/Orc/MapperJITLinkMemoryManager.h>
#include <llvm/ExecutionEngine/Orc/MemoryMapper.h>

#include "../../../lib/tests/llvm/executor.hpp"
#include "remote.hpp"

using namespace llvm;
using namespace llvm::orc;

static ExitOnError must("wxbench: ");
static Executor executor;
static int counters[2];		/* this process, the executor */

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
	return CountingTransport::sent;
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

	for (const std::string &pid : { std::string("self"), std::to_string(executor.pid) }) {
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
connectExecutor(const std::string &peer, std::shared_ptr<wxpool::Context> context,
		const char *name, const char *library)
{
	SimpleRemoteEPC::Setup setup;

	executor = startExecutor(name, [] { return true; });
	if (executor.pid < 0)
		return nullptr;
	counters[0] = countCalls(0);
	counters[1] = countCalls(executor.pid);
	if (context)
		setup.CreateMemoryManager = [&](SimpleRemoteEPC &epc)
				-> Expected<std::unique_ptr<jitlink::JITLinkMemoryManager>> {
			return std::make_unique<wxpool::RemoteJITLinkMemory>(must(
				wxpool::Remote::attach(epc, context, executor.socket,
						       Executor::theirs, library)));
		};
	else if (peer == "mapper")
		setup.CreateMemoryManager = mapper;
	return must(SimpleRemoteEPC::Create<CountingTransport>(
		std::make_unique<DynamicThreadPoolTaskDispatcher>(std::nullopt), std::move(setup),
		executor.in, executor.out));
}
