// SPDX-License-Identifier: MIT
/*
 * <wxpool/llvm-remote.hpp>, with LLVM's own executor. Needs the module. What owners and
 * executors can do to each other is tested in lib/tests/remote.c.
 */
#include <csignal>
#include <cstring>
#include <atomic>
#include <thread>

#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <llvm/AsmParser/Parser.h>
#include <llvm/ExecutionEngine/Orc/LLJIT.h>
#include <llvm/ExecutionEngine/Orc/RTDyldObjectLinkingLayer.h>
#include <llvm/ExecutionEngine/Orc/SimpleRemoteEPC.h>
#include <llvm/IR/LLVMContext.h>
#include <llvm/IR/Module.h>
#include <llvm/IRReader/IRReader.h>
#include <llvm/Support/SourceMgr.h>

#include <wxpool/llvm-remote.hpp>

#include "executor.hpp"
#include "harness.hpp"

using namespace llvm;
using namespace llvm::orc;

#ifndef PR_SET_MDWE
#define PR_SET_MDWE		65
#define PR_MDWE_REFUSE_EXEC_GAIN	1
#define PR_GET_MDWE		66
#endif

#define REMOTE_WAYS	(MASK(RTDYLD) | MASK(JITLINK) | MASK(EPC))

struct Setup {
	std::string library = std::string(getenv("PROGRAMS")) + "/libexecutor.so";
	wxp_backend backend = WXP_BACKEND_KERNEL;
	bool hardened = false, wrongSocket = false;
};

class RemoteJit {
public:
	explicit RemoteJit(Way w, const Setup &s = Setup()) : way(w), setup(s)
	{
		wxp_options options = {};

		options.size = sizeof(options);
		options.backend = setup.backend;
		options.flags = setup.backend == WXP_BACKEND_KERNEL ? WXP_COMPILE_ONLY : 0;
		context = must(wxpool::Context::open(&options));
		start();
	}

	~RemoteJit()
	{
		int status;

		jit.reset();
		CHECK(waitpid(pid, &status, 0) == pid);
	}

	/* Connects, and makes the session. */
	Error connect()
	{
		auto epc = SimpleRemoteEPC::Create<CountingTransport>(
			std::make_unique<DynamicThreadPoolTaskDispatcher>(std::nullopt),
			memory(), executor.in, executor.out);

		if (!epc)
			return epc.takeError();
		control = epc->get();
		jit = must(LLJITBuilder()
			.setExecutorProcessControl(std::move(*epc))
			.setObjectLinkingLayerCreator(layer())
			.setProcessSymbolsJITDylibSetup(symbols())
			.create());
		jit->getExecutionSession().setErrorReporter([this](Error err) {
			reported += toString(std::move(err));
		});
		return Error::success();
	}

	ResourceTrackerSP add(const std::string &text, JITDylib *dylib = nullptr)
	{
		auto llvm = std::make_unique<LLVMContext>();
		SMDiagnostic wrong;
		auto module = parseAssemblyString(text, wrong, *llvm);

		CHECK(module);
		return add(std::move(module), std::move(llvm), dylib);
	}

	void addFile(const std::string &name)
	{
		auto llvm = std::make_unique<LLVMContext>();
		SMDiagnostic wrong;
		auto module = parseIRFile(getenv("PROGRAMS") + ("/" + name) + ".bc", wrong, *llvm);

		CHECK(module);
		add(std::move(module), std::move(llvm), nullptr);
	}

	Expected<int> call(const std::string &name, int arg = 0, JITDylib *dylib = nullptr)
	{
		auto address = jit->lookup(dylib ? *dylib : jit->getMainJITDylib(), name);

		if (!address)
			return address.takeError();
		auto result = control->runAsIntFunction(*address, arg);

		if (!result)
			return result.takeError();
		return *result;
	}

	/* Lines of the executor's or our own mappings, by what they have in them */
	long mappings(const char *path, const char *prot = "", pid_t of = 0)
	{
		std::string name = "/proc/" + std::to_string(of ? of : pid) + "/maps";
		char line[512];
		FILE *f = fopen(name.c_str(), "r");
		long nr = 0;

		CHECK(f);
		while (fgets(line, sizeof(line), f)) {
			char *p = strchr(line, ' ') + 1;

			nr += strstr(p, path) && contains(p, prot);
		}
		fclose(f);
		return nr;
	}

	size_t resident()
	{
		std::string name = "/proc/" + std::to_string(pid) + "/statm";
		unsigned long total, pages;
		FILE *f = fopen(name.c_str(), "r");

		CHECK(f && fscanf(f, "%lu %lu", &total, &pages) == 2);
		fclose(f);
		return pages * 4096;
	}

	wxp_stats stats()
	{
		wxp_stats s = {};

		s.size = sizeof(s);
		CHECK(!wxp_get_stats(context->get(), 0, &s));
		return s;
	}

	/* What a thread of LLVM's has in its hands goes when that lets it go. */
	bool empties()
	{
		for (int i = 0; i < 100 && stats().pools; i++)
			usleep(100000);
		return !stats().pools;
	}

	Way way;
	Setup setup;
	std::shared_ptr<wxpool::Context> context;
	std::shared_ptr<wxpool::Remote> remote;
	ExecutorProcessControl *control = nullptr;
	std::unique_ptr<LLJIT> jit;
	std::string reported;
	pid_t pid;

private:
	/* All letters of @prot in the first four of @p */
	static bool contains(const char *p, const char *prot)
	{
		for (; *prot; prot++)
			if (!memchr(p, *prot, 4))
				return false;
		return true;
	}

	/* A runner that is hardened may not open the device either. */
	void start()
	{
		executor = startExecutor(EXECUTOR, [this] {
			return !setup.hardened ||
			       (!prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) &&
				!setgid(65534) && !setuid(65534));
		});
		pid = executor.pid;
		CHECK(pid > 0);
	}

	SimpleRemoteEPC::Setup memory()
	{
		SimpleRemoteEPC::Setup s;

		s.CreateMemoryManager = [this](SimpleRemoteEPC &epc)
				-> Expected<std::unique_ptr<jitlink::JITLinkMemoryManager>> {
			auto r = wxpool::Remote::attach(
				epc, context, executor.socket,
				setup.wrongSocket ? Executor::theirs - 1 : Executor::theirs,
				setup.library.c_str());

			if (!r)
				return r.takeError();
			remote = *r;
			return std::make_unique<wxpool::RemoteJITLinkMemory>(remote);
		};
		return s;
	}

	LLJITBuilder::ObjectLinkingLayerCreator layer()
	{
		if (way == EPC)
			return nullptr;
		return [this](ExecutionSession &session, auto &&...)
				-> Expected<std::unique_ptr<ObjectLayer>> {
			if (way == RTDYLD) {
				auto layer = std::make_unique<RTDyldObjectLinkingLayer>(
					session, [this](auto &&...) {
						return std::make_unique<wxpool::RemoteRTDyldMemory>(
							remote);
					});

				layer->setAutoClaimResponsibilityForObjectSymbols(true);
				return layer;
			}
			auto layer = std::make_unique<ObjectLinkingLayer>(
				session, std::make_unique<wxpool::RemoteJITLinkMemory>(remote));

			/* Later ones have a plugin in LLJIT's platform. */
			if (LLVM_VERSION_MAJOR < 21)
				layer->addPlugin(std::make_unique<wxpool::RemoteFrames>(remote));
			return layer;
		};
	}

	LLJITBuilder::ProcessSymbolsJITDylibSetupFunction symbols()
	{
		if (way != RTDYLD)
			return nullptr;
		return [this](LLJIT &j) -> Expected<JITDylibSP> {
			auto &dylib = j.getExecutionSession().createBareJITDylib("process");

			dylib.addGenerator(std::make_unique<wxpool::RemoteSymbols>(*control));
			return &dylib;
		};
	}

	ResourceTrackerSP add(std::unique_ptr<Module> module, std::unique_ptr<LLVMContext> llvm,
			      JITDylib *dylib)
	{
		auto tracker = (dylib ? *dylib : jit->getMainJITDylib()).createResourceTracker();

		must(jit->addIRModule(tracker, ThreadSafeModule(std::move(module),
								std::move(llvm))));
		return tracker;
	}

	Executor executor;
};

/* A function with all that objects have: its constants, variables and zeros */
static std::string module(int n)
{
	std::string s = std::to_string(n);

	return "@ten = internal constant i32 10\n"
	       "@calls = internal global i32 100\n"
	       "@zero = internal global [1000 x i32] zeroinitializer\n"
	       "define i32 @f" + s + "(i32 %n) {\n"
	       "  %c = load i32, ptr @calls\n"
	       "  %more = add i32 %c, " + s + "\n"
	       "  store i32 %more, ptr @calls\n"
	       "  %p = getelementptr i32, ptr @zero, i32 %n\n"
	       "  %z = load i32, ptr %p\n"
	       "  store i32 7, ptr %p\n"
	       "  %t = load i32, ptr @ten\n"
	       "  %a = add i32 %more, %z\n"
	       "  %r = add i32 %a, %t\n"
	       "  ret i32 %r\n"
	       "}\n";
}

/*
 * LLVM 19 returns from a lookup before what is needed besides is finalized, which is in other
 * threads here: tests of several objects look each of them up.
 */

TEST(functions_run, REMOTE_WAYS)
{
	RemoteJit j(way);

	must(j.connect());
	j.add(module(1));
	must(j.jit->lookup("f1"));
	j.add("declare i32 @f1(i32)\n"
	      "declare i32 @getpid()\n"
	      "define i32 @twice(i32 %n) {\n"
	      "  %a = call i32 @f1(i32 %n)\n"
	      "  %b = call i32 @f1(i32 %n)\n"
	      "  %r = add i32 %a, %b\n"
	      "  ret i32 %r\n"
	      "}\n"
	      "define i32 @where(i32 %n) {\n"
	      "  %r = call i32 @getpid()\n"
	      "  ret i32 %r\n"
	      "}\n");
	CHECK(must(j.call("twice", 5)) == 111 + 112 + 7);
	CHECK(must(j.call("where")) == j.pid);
	CHECK(j.stats().pools == 2);
}

TEST(exceptions_cross_modules, REMOTE_WAYS)
{
	RemoteJit j(way);

	must(j.connect());
	j.addFile("throws");
	j.addFile("catches");
	must(j.jit->lookup("_Z7throweriPi"));
	CHECK(must(j.call("catches")) == 1);
}

/* Nothing of it can run here, nothing of it is ever writable there. */
TEST(each_side_has_its_own, REMOTE_WAYS)
{
	RemoteJit j(way);
	long before;

	must(j.connect());
	before = j.mappings("");
	for (int i = 1; i < 20; i++) {
		j.add(module(i));
		CHECK(must(j.call("f" + std::to_string(i), 3)) == 110 + i);
	}
	CHECK(j.mappings("/dev/wxpool", "x", getpid()) == 0);
	CHECK(j.mappings("", "wx", getpid()) == 0);
	CHECK(j.mappings("/dev/wxpool") == 2 && j.mappings("/dev/wxpool", "x") == 1);
	CHECK(j.mappings("/dev/wxpool", "w") == 0);
	CHECK(j.mappings("", "wx") == 0);
	CHECK(j.mappings("") <= before + 8);	/* malloc()'s */
}

/* One message for each to load, none or one to unload; and each place anew */
TEST(thousand_modules, MASK(RTDYLD) | MASK(JITLINK))
{
	constexpr int nr = 1000;
	RemoteJit j(way);
	auto object = compile(module(1));
	std::vector<JITDylib *> dylibs;
	std::vector<ResourceTrackerSP> trackers(nr);
	unsigned int sent;
	long before = 0;

	must(j.connect());
	for (int i = 0; i < nr; i++)
		dylibs.push_back(&must(j.jit->createJITDylib("d" + std::to_string(i))));
	for (int round = 0; round < 2; round++) {
		sent = CountingTransport::sent;
		for (int i = 0; i < nr; i++) {
			trackers[i] = dylibs[i]->createResourceTracker();
			must(j.jit->addObjectFile(trackers[i], MemoryBuffer::getMemBuffer(
				object->getMemBufferRef(), false)));
			must(j.jit->lookup(*dylibs[i], "f1"));
			if (i == 20)
				before = j.mappings("");
		}
		CHECK(CountingTransport::sent - sent <= nr);
		CHECK(j.stats().pools == nr);
		for (int i = 0; i < nr; i += 37)
			CHECK(must(j.call("f1", i % 1000, dylibs[i])) == 111);
		CHECK(j.mappings("") <= before + 8);
		sent = CountingTransport::sent;
		for (int i = 0; i < nr; i++)
			must(trackers[i]->remove());
		CHECK(CountingTransport::sent - sent <= nr);
		CHECK(!j.stats().pools && !j.stats().installed);
	}
}

/* What is zero is not sent, and takes nothing there until it is used. */
TEST(zeros_are_not_sent, REMOTE_WAYS)
{
	RemoteJit j(way);
	size_t before;

	must(j.connect());
	j.add(module(1));
	CHECK(must(j.call("f1", 0)) == 111);
	before = j.resident();
	auto tracker = j.add(
		"@large = internal global [200000000 x i8] zeroinitializer\n"
		"define i32 @touch(i32 %n) {\n"
		"  %p = getelementptr i8, ptr @large, i32 %n\n"
		"  %v = load i8, ptr %p\n"
		"  store i8 9, ptr %p\n"
		"  %r = zext i8 %v to i32\n"
		"  ret i32 %r\n"
		"}\n");
	CHECK(must(j.call("touch", 199999999)) == 0);
	CHECK(must(j.call("touch", 199999999)) == 9);
	CHECK(j.resident() < before + (20 << 20));
	must(tracker->remove());
	/* The same place again */
	j.add("@large = internal global [200000000 x i8] zeroinitializer\n"
	      "define i32 @look(i32 %n) {\n"
	      "  %p = getelementptr i8, ptr @large, i32 %n\n"
	      "  %v = load i8, ptr %p\n"
	      "  %r = zext i8 %v to i32\n"
	      "  ret i32 %r\n"
	      "}\n");
	CHECK(must(j.call("look", 199999999)) == 0);
}

TEST(alignments_are_kept, REMOTE_WAYS)
{
	RemoteJit j(way);
	std::string text;

	must(j.connect());
	for (int align : { 64, 4096, 65536, 2 << 20, 4 << 20 })
		for (const char *kind : { "global", "constant" })
			text += "@" + std::string(kind) + std::to_string(align) + " = " + kind +
				" i8 1, align " + std::to_string(align) + "\n";
	j.add(text);
	for (int align : { 64, 4096, 65536, 2 << 20, 4 << 20 })
		for (const char *kind : { "global", "constant" })
			CHECK(!(must(j.jit->lookup(kind + std::to_string(align))).getValue() %
				align));
}

/* What a module calls last runs before its code goes. */
class Actions : public ObjectLinkingLayer::Plugin {
	void modifyPassConfig(MaterializationResponsibility &, jitlink::LinkGraph &,
			      jitlink::PassConfiguration &config) override
	{
		config.PostFixupPasses.push_back([](jitlink::LinkGraph &g) -> Error {
			ExecutorAddr begin, end;

			for (auto *s : g.defined_symbols()) {
				if (isNamed(*s, "begin"))
					begin = s->getAddress();
				if (isNamed(*s, "end"))
					end = s->getAddress();
			}
			if (begin)
				g.allocActions().push_back(
					{ cantFail(shared::WrapperFunctionCall::Create<
						   shared::SPSArgList<>>(begin)),
					  cantFail(shared::WrapperFunctionCall::Create<
						   shared::SPSArgList<>>(end)) });
			return Error::success();
		});
	}

	static bool isNamed(const jitlink::Symbol &s, StringRef name)
	{
#if LLVM_VERSION_MAJOR < 20
		return s.hasName() && s.getName() == name;
#else
		return s.hasName() && *s.getName() == name;
#endif
	}

	Error notifyFailed(MaterializationResponsibility &) override { return Error::success(); }
	Error notifyRemovingResources(JITDylib &, ResourceKey) override { return Error::success(); }
	void notifyTransferringResources(JITDylib &, ResourceKey, ResourceKey) override {}
};

/* What it returns is an error of LLVM's, or with @byte 0 none. */
static std::string action(const char *name, int add, int byte)
{
	return "define { i64, i64 } @" + std::string(name) + "(ptr %data, i64 %size) {\n"
	       "  %c = load i32, ptr @count\n"
	       "  %d = add i32 %c, " + std::to_string(add) + "\n"
	       "  store i32 %d, ptr @count\n"
	       "  ret { i64, i64 } { i64 " + std::to_string(byte) + ", i64 1 }\n"
	       "}\n";
}

static const char counter[] = "@count = global i32 0\n"
			      "define i32 @get(i32 %n) {\n"
			      "  %r = load i32, ptr @count\n"
			      "  ret i32 %r\n"
			      "}\n";

TEST(actions_are_run_there, MASK(JITLINK))
{
	RemoteJit j(way);

	must(j.connect());
	static_cast<ObjectLinkingLayer &>(j.jit->getObjLinkingLayer()).addPlugin(
		std::make_unique<Actions>());
	j.add(counter);
	must(j.jit->lookup("get"));
	auto tracker = j.add("@count = external global i32\n" + action("begin", 1, 0) +
			     action("end", 10, 0));
	must(j.jit->lookup("begin"));
	CHECK(must(j.call("get")) == 1);
	must(tracker->remove());
	CHECK(must(j.call("get")) == 11);
	CHECK(j.stats().pools == 1);
}

TEST(actions_that_fail_leave_nothing, MASK(JITLINK))
{
	RemoteJit j(way);

	must(j.connect());
	static_cast<ObjectLinkingLayer &>(j.jit->getObjLinkingLayer()).addPlugin(
		std::make_unique<Actions>());
	j.add(counter);
	must(j.jit->lookup("get"));
	j.add("@count = external global i32\n" + action("begin", 1, 7) + action("end", 10, 0));
	auto found = j.jit->lookup("begin");

	CHECK(!found);
	consumeError(found.takeError());
	CHECK(must(j.call("get")) == 1);
	CHECK(j.stats().pools == 1);
}

/* ---- what goes wrong */

static bool failsWith(Error err, const char *words)
{
	std::string text = toString(std::move(err));

	if (text.find(words) != std::string::npos)
		return true;
	printf("# %s\n", text.c_str());
	return false;
}

TEST(executors_that_cannot_attach, MASK(JITLINK))
{
	Setup setup;
	{
		RemoteJit j(way, setup);

		must(j.connect());
	}
	setup.wrongSocket = true;
	{
		RemoteJit j(way, setup);

		std::string text = toString(j.connect());

		CHECK(text.find("the executor cannot attach") != std::string::npos);
		CHECK(text.find("in time") == std::string::npos);	/* nobody has waited */
	}
	setup.wrongSocket = false;
	setup.backend = WXP_BACKEND_PORTABLE;
	{
		RemoteJit j(way, setup);

		CHECK(failsWith(j.connect(), "cannot connect"));
	}
	setup.backend = WXP_BACKEND_KERNEL;
	setup.library = "/nowhere/libexecutor.so";
	{
		RemoteJit j(way, setup);

		CHECK(failsWith(j.connect(), "/nowhere"));
	}
	setup.library = "libm.so.6";
	{
		RemoteJit j(way, setup);

		CHECK(failsWith(j.connect(), "wxpool_llvm_attach"));
	}
}

TEST(dead_executors, REMOTE_WAYS)
{
	RemoteJit j(way);

	signal(SIGPIPE, SIG_IGN);
	must(j.connect());
	auto tracker = j.add(module(1));
	CHECK(must(j.call("f1", 1)) == 111);
	kill(j.pid, SIGKILL);
	j.add(module(2));
	auto found = j.jit->lookup("f2");

	CHECK(!found);
	consumeError(found.takeError());
	consumeError(tracker->remove());
	/* LLVM 19 frees nothing after its plugin for unwinders has failed. */
	CHECK(j.empties() || (way == EPC && LLVM_VERSION_MAJOR < 21));
}

TEST(code_that_crashes, REMOTE_WAYS)
{
	RemoteJit j(way);

	must(j.connect());
	j.add("declare void @abort()\n"
	      "define i32 @crash(i32 %n) {\n"
	      "  call void @abort()\n"
	      "  ret i32 0\n"
	      "}\n");
	auto result = j.call("crash");

	CHECK(!result);
	consumeError(result.takeError());
}

TEST(several_threads_link, MASK(RTDYLD) | MASK(JITLINK))
{
	std::vector<std::thread> threads;
	std::atomic<int> wrong{ 0 };
	auto object = compile(module(1));
	RemoteJit j(way);

	must(j.connect());
	for (int t = 0; t < 4; t++)
		threads.emplace_back([&, t] {
			auto &dylib = must(j.jit->createJITDylib("t" + std::to_string(t)));

			for (int i = 0; i < 50; i++) {
				auto tracker = dylib.createResourceTracker();

				must(j.jit->addObjectFile(tracker, MemoryBuffer::getMemBuffer(
					object->getMemBufferRef(), false)));
				wrong += must(j.call("f1", 3, &dylib)) != 111;
				must(tracker->remove());
			}
		});
	for (auto &t : threads)
		t.join();
	CHECK(!wrong);
	CHECK(j.empties());
}

/*
 * A runner that is taken over: a user who may not open the device, and has sworn to make
 * nothing executable. Each line is a way to add code, or to change it, and returns 1.
 */
static const char attack[] =
	"@device = private constant [12 x i8] c\"/dev/wxpool\\00\"\n"
	"@mem = private constant [15 x i8] c\"/proc/self/mem\\00\"\n"
	"declare i32 @open(ptr, i32, ...)\n"
	"declare ptr @mmap(ptr, i64, i32, i32, i32, i64)\n"
	"declare i32 @mprotect(ptr, i64, i32)\n"
	"declare i64 @pwrite(i32, ptr, i64, i64)\n"
	"define ptr @own() {\n"
	"  %a = ptrtoint ptr @attack to i64\n"
	"  %b = and i64 %a, -4096\n"
	"  %r = inttoptr i64 %b to ptr\n"
	"  ret ptr %r\n"
	"}\n"
	"define i32 @succeeded(i64 %x) {\n"
	"  %c = icmp sge i64 %x, 0\n"
	"  %r = zext i1 %c to i32\n"
	"  ret i32 %r\n"
	"}\n"
	"define i32 @attack(i32 %n) {\n"
	"  switch i32 %n, label %none [ i32 0, label %opens i32 1, label %maps\n"
	"    i32 2, label %makes_writable i32 3, label %writes i32 4, label %makes_executable ]\n"
	"none:\n"
	"  ret i32 0\n"
	"opens:\n"
	"  %o = call i32 (ptr, i32, ...) @open(ptr @device, i32 2)\n"
	"  %o2 = sext i32 %o to i64\n"
	"  %ro = call i32 @succeeded(i64 %o2)\n"
	"  ret i32 %ro\n"
	"maps:\n"
	"  %m = call ptr @mmap(ptr null, i64 4096, i32 7, i32 34, i32 -1, i64 0)\n"
	"  %m2 = ptrtoint ptr %m to i64\n"
	"  %rm = call i32 @succeeded(i64 %m2)\n"
	"  ret i32 %rm\n"
	"makes_writable:\n"
	"  %p = call ptr @own()\n"
	"  %w = call i32 @mprotect(ptr %p, i64 4096, i32 7)\n"
	"  %w2 = sext i32 %w to i64\n"
	"  %rw = call i32 @succeeded(i64 %w2)\n"
	"  ret i32 %rw\n"
	"writes:\n"
	"  %f = call i32 (ptr, i32, ...) @open(ptr @mem, i32 2)\n"
	"  %q = call ptr @own()\n"
	"  %q2 = ptrtoint ptr %q to i64\n"
	"  %s = call i64 @pwrite(i32 %f, ptr @mem, i64 8, i64 %q2)\n"
	"  %rs = call i32 @succeeded(i64 %s)\n"
	"  ret i32 %rs\n"
	"makes_executable:\n"
	"  %h = call ptr @mmap(ptr null, i64 4096, i32 3, i32 34, i32 -1, i64 0)\n"
	"  %x = call i32 @mprotect(ptr %h, i64 4096, i32 5)\n"
	"  %x2 = sext i32 %x to i64\n"
	"  %rx = call i32 @succeeded(i64 %x2)\n"
	"  ret i32 %rx\n"
	"}\n";

TEST(taken_over_runners, REMOTE_WAYS)
{
	Setup setup;
	std::string path;

	setup.hardened = true;
	/* What it is cannot be asked for before, either. */
	if (prctl(PR_GET_MDWE, 0, 0, 0, 0) < 0) {
		printf("# not before Linux 6.3\n");
		return;
	}
	RemoteJit j(way, setup);

	must(j.connect());
	/* Not everybody's, as where wxpool is installed */
	CHECK(!chmod("/dev/wxpool", 0660));
	j.add(attack);
	for (int i = 0; i < 5; i++)
		if (must(j.call("attack", i)))
			fail(__FILE__, __LINE__, "attack " + std::to_string(i));
	/* Nor has it a descriptor of the device. */
	for (int fd = 0; fd < 128; fd++) {
		char target[64] = "";

		path = "/proc/" + std::to_string(j.pid) + "/fd/" + std::to_string(fd);
		if (readlink(path.c_str(), target, sizeof(target) - 1) > 0)
			CHECK(!strstr(target, "wxpool"));
	}
	CHECK(!chmod("/dev/wxpool", 0666));
}
