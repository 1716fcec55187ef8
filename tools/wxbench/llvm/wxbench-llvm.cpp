// SPDX-License-Identifier: MIT
/*
 * wxbench-llvm LINKER PEER OBJECT N: what ORC's linkers take to load and to unload an
 * object, N of which are alive, each in a dylib of its own, on memory of
 *
 *   wxpool, wxpool-huge	<wxpool/llvm.hpp>, the latter in huge pages
 *   section			LLVM's SectionMemoryManager (rtdyld)
 *   in-process, mapper		LLVM's two managers for jitlink
 *
 * All else of LLVM is the same, and counts. Built once for each LLVM.
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
	return wxpool::Context::open(&options);
}

/* Of this many objects nothing is counted: the first ones make what all use. */
static const size_t warm = 20;

struct Totals {
	uint64_t load = 0, unload = 0, loadCalls = 0, unloadCalls = 0;
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
		uint64_t calls = calls_made(), start = read_instructions();

		must(jit.addObjectFile(trackers[i], MemoryBuffer::getMemBuffer(
			object.getMemBufferRef(), false)));
		auto code = must(jit.lookup(*dylibs[i], "wxbench_code")).toPtr<int (*)()>();

		if (i >= warm) {
			t.load += read_instructions() - start;
			t.loadCalls += calls_made() - calls;
		} else if (i == warm - 1) {
			t.vmas = -measure_vmas();
		}
		t.wrong += code() != 42;
	}
	t.vmas += measure_vmas();
	for (i = warm; i < n + warm; i++) {
		uint64_t calls = calls_made(), start = read_instructions();

		must(trackers[i]->remove());
		t.unload += read_instructions() - start;
		t.unloadCalls += calls_made() - calls;
	}
	return t;
}

int main(int argc, char **argv)
{
	struct utsname uts;
	double n;

	if (argc != 5) {
		fputs("usage: wxbench-llvm rtdyld|jitlink PEER OBJECT N\n", stderr);
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
	auto jit = must(LLJITBuilder()
		.setObjectLinkingLayerCreator([](ExecutionSession &session, auto &&...) {
			return createLayer(session);
		})
		.create());
	Totals t = run(*jit, *object, static_cast<size_t>(n));

	if (t.wrong)
		die("code returned something else");
	uname(&uts);
	printf("wxbench: work=llvm%d-%s kernel=%s peer=%s n=%.0f load=%.0f unload=%.0f "
	       "load_calls=%.3f unload_calls=%.3f vmas=%ld\n", LLVM_VERSION_MAJOR,
	       linker.c_str(), uts.release, peer.c_str(), n, t.load / n, t.unload / n,
	       t.loadCalls / n, t.unloadCalls / n, static_cast<long>(t.vmas));
	return 0;
}
