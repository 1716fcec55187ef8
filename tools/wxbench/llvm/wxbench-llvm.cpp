// SPDX-License-Identifier: MIT
/*
 * wxbench-llvm LINKER PEER OBJECT N: what ORC's linkers take to load and to unload an
 * object, N of which are alive, each in a dylib of its own, on memory of
 *
 *   wxpool, wxpool-huge	<wxpool/llvm.hpp>, the latter in huge pages
 *   section			LLVM's SectionMemoryManager (rtdyld)
 *   in-process, mapper		LLVM's two managers for jitlink
 *   simple, mapper		the same for code that LLVM's executor runs (remote)
 *
 * All else of LLVM is the same, and counts; with "remote" all that both processes do.
 * Built once for each LLVM.
 */
#include <cstdarg>
#include <sys/utsname.h>

#include <llvm/ExecutionEngine/Orc/LLJIT.h>
#include <llvm/ExecutionEngine/Orc/MapperJITLinkMemoryManager.h>
#include <llvm/ExecutionEngine/Orc/MemoryMapper.h>
#include <llvm/ExecutionEngine/Orc/ObjectLinkingLayer.h>
#include <llvm/ExecutionEngine/Orc/RTDyldObjectLinkingLayer.h>
#include <llvm/ExecutionEngine/SectionMemoryManager.h>
#include <llvm/Support/TargetSelect.h>

#include <wxpool/llvm.hpp>

#include "../measure.h"
#include "remote.hpp"

using namespace llvm;
using namespace llvm::orc;

static ExitOnError must("wxbench: ");
static std::shared_ptr<wxpool::Context> context;
static std::string linker, peer;

extern "C" void die(const char *fmt, ...)
{
	va_list ap;

	fputs("wxbench: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

static std::unique_ptr<RuntimeDyld::MemoryManager> rtdyldMemory()
{
	if (context)
		return std::make_unique<wxpool::RTDyldMemory>(context);
	return std::make_unique<SectionMemoryManager>();
}

static std::unique_ptr<jitlink::JITLinkMemoryManager> jitlinkMemory()
{
	if (context)
		return std::make_unique<wxpool::JITLinkMemory>(context);
	if (peer == "mapper")
		return must(MapperJITLinkMemoryManager::CreateWithMapper<InProcessMemoryMapper>(
			64 << 20));
	return must(jitlink::InProcessMemoryManager::Create());
}

static std::unique_ptr<ObjectLayer> createLayer(ExecutionSession &session)
{
	if (linker == "rtdyld")
		return std::make_unique<RTDyldObjectLinkingLayer>(
			session, [](auto &&...) { return rtdyldMemory(); });
	return std::make_unique<ObjectLinkingLayer>(session, jitlinkMemory());
}

static Expected<std::shared_ptr<wxpool::Context>> openContext()
{
	wxp_options options = {};

	options.size = sizeof(options);
	options.flags = peer == "wxpool-huge" ? WXP_HUGE : 0;
	if (linker == "remote")
		options.flags |= WXP_COMPILE_ONLY;
	return wxpool::Context::open(&options);
}

/* Of this many objects nothing is counted: the first ones make what all use. */
static const size_t warm = 20;

/* What has been done so far */
struct Counts {
	uint64_t instructions, calls, messages;
};

static Counts count()
{
	bool remote = linker == "remote";

	return { read_instructions(), remote ? callsOfBoth() : calls_made(), messagesSent() };
}

static void addTo(Counts &sum, const Counts &start)
{
	Counts end = count();

	sum.instructions += end.instructions - start.instructions;
	sum.calls += end.calls - start.calls;
	sum.messages += end.messages - start.messages;
}

static int64_t countMappings()
{
	return linker == "remote" ? mappingsOfBoth() : measure_vmas();
}

static int call(LLJIT &jit, ExecutorAddr code)
{
	if (linker != "remote")
		return code.toPtr<int (*)()>()();
	return must(jit.getExecutionSession().getExecutorProcessControl().runAsIntFunction(code, 0));
}

struct Totals {
	Counts load = {}, unload = {};
	int64_t vmas = 0;
	size_t wrong = 0;
};

static Totals run(LLJIT &jit, MemoryBuffer &object, size_t n)
{
	std::vector<ResourceTrackerSP> trackers;
	std::vector<JITDylib *> dylibs;
	Totals t;
	size_t i;

	for (i = 0; i < n + warm; i++) {
		dylibs.push_back(&must(jit.createJITDylib("d" + std::to_string(i))));
		trackers.push_back(dylibs[i]->createResourceTracker());
	}
	for (i = 0; i < n + warm; i++) {
		Counts start = count();

		must(jit.addObjectFile(trackers[i], MemoryBuffer::getMemBuffer(
			object.getMemBufferRef(), false)));
		auto code = must(jit.lookup(*dylibs[i], "wxbench_code"));

		if (i >= warm)
			addTo(t.load, start);
		else if (i == warm - 1)
			t.vmas = -countMappings();
		t.wrong += call(jit, code) != 42;
	}
	t.vmas += countMappings();
	for (i = warm; i < n + warm; i++) {
		Counts start = count();

		must(trackers[i]->remove());
		addTo(t.unload, start);
	}
	return t;
}

int main(int argc, char **argv)
{
	struct utsname uts;
	double n;

	if (argc != 5 && argc != 7) {
		fputs("usage: wxbench-llvm rtdyld|jitlink|remote PEER OBJECT N "
		      "[EXECUTOR LIBRARY]\n", stderr);
		return 1;
	}
	linker = argv[1];
	peer = argv[2];
	n = atoi(argv[4]);
	InitializeNativeTarget();
	InitializeNativeTargetAsmPrinter();
	if (peer == "wxpool" || peer == "wxpool-huge")
		context = must(openContext());
	auto object = must(errorOrToExpected(MemoryBuffer::getFile(argv[3])));
	LLJITBuilder builder;

	if (linker == "remote" && argc == 7)
		builder.setExecutorProcessControl(connectExecutor(peer, context, argv[5],
								  argv[6]));
	else
		builder.setObjectLinkingLayerCreator([](ExecutionSession &session, auto &&...) {
			return createLayer(session);
		});
	auto jit = must(builder.create());
	Totals t = run(*jit, *object, static_cast<size_t>(n));

	if (t.wrong)
		die("code returned something else");
	uname(&uts);
	printf("wxbench: work=llvm%d-%s kernel=%s peer=%s n=%.0f load=%.0f unload=%.0f "
	       "load_calls=%.3f unload_calls=%.3f vmas=%ld load_messages=%.3f "
	       "unload_messages=%.3f\n", LLVM_VERSION_MAJOR, linker.c_str(), uts.release,
	       peer.c_str(), n, t.load.instructions / n, t.unload.instructions / n,
	       t.load.calls / n, t.unload.calls / n, static_cast<long>(t.vmas),
	       t.load.messages / n, t.unload.messages / n);
	return 0;
}
