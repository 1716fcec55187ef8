// SPDX-License-Identifier: MIT
// <wxpool/llvm.hpp> in all ways to plug it in: programs, hooks, errors, ends.
#include <atomic>
#include <cstring>
#include <set>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include <llvm/AsmParser/Parser.h>
#include <llvm/ExecutionEngine/Orc/CompileUtils.h>
#include <llvm/Support/SourceMgr.h>

#include "jit.hpp"

using namespace llvm;
using namespace llvm::orc;

/* @n: to tell several of them apart */
static std::string module(int n)
{
	std::string i = std::to_string(n);

	return "@table" + i + " = internal constant [4 x i32] [i32 10, i32 20, i32 30, i32 40]\n"
	       "@calls" + i + " = global i32 100\n"
	       "@zeros" + i + " = internal global [100 x i32] zeroinitializer\n"
	       "define i32 @f" + i + "(i32 %n) {\n"
	       "  %c = load i32, ptr @calls" + i + "\n"
	       "  %more = add i32 %c, 1\n"
	       "  store i32 %more, ptr @calls" + i + "\n"
	       "  %p = getelementptr [4 x i32], ptr @table" + i + ", i32 0, i32 %n\n"
	       "  %t = load i32, ptr %p\n"
	       "  %zp = getelementptr [100 x i32], ptr @zeros" + i + ", i32 0, i32 %n\n"
	       "  %z = load i32, ptr %zp\n"
	       "  %s = add i32 %t, %more\n"
	       "  %r = add i32 %s, %z\n"
	       "  ret i32 %r\n"
	       "}\n";
}

TEST(functions_run, ALL_WAYS)
{
	auto context = openContext();
	wxp_stats stats;
	{
		Jit jit(way, context);

		jit.add(module(1));
		jit.add(module(2));
		jit.add("declare i32 @f1(i32)\n"
			"declare i32 @f2(i32)\n"
			"declare i32 @abs(i32)\n"
			"@calls1 = external global i32\n"
			"define i32 @both(i32 %n) {\n"
			"  %a = call i32 @f1(i32 %n)\n"
			"  %b = call i32 @f2(i32 %n)\n"
			"  %c = load i32, ptr @calls1\n"
			"  %ab = add i32 %a, %b\n"
			"  %abc = add i32 %ab, %c\n"
			"  %neg = sub i32 0, %abc\n"
			"  %r = call i32 @abs(i32 %neg)\n"
			"  ret i32 %r\n"
			"}\n");
		auto both = jit.get<int(int)>("both");

		CHECK(both(0) == 10 + 101 + 10 + 101 + 101);
		CHECK(both(3) == 40 + 102 + 40 + 102 + 102);
		stats = statsOf(context->get());
		CHECK(stats.pools == 3);
		CHECK(stats.installed && stats.code && stats.constants && stats.variables);
		CHECK(!stats.open && !stats.sealed);
	}
	stats = statsOf(context->get());
	CHECK(!stats.pools && !stats.code && !stats.constants && !stats.variables);
}

TEST(context_lives_as_long_as_its_users, ALL_WAYS)
{
	Jit jit(way, openContext());

	jit.add(module(1));
	CHECK(jit.get<int(int)>("f1")(1) == 121);
}

/* One place and one install for an object, one free for any number of them */
TEST(calls_are_few, ALL_WAYS)
{
	auto context = openContext();
	Jit jit(way, context);
	int i;

	jit.add(module(0));
	jit.address("f0");
	calls = {};
	for (i = 1; i <= 10; i++) {
		jit.add(module(i), 1);
		jit.address("f" + std::to_string(i));
	}
	/* RuntimeDyld reserves a .got beside the variables, and it goes beside the constants. */
	CHECK(calls.place == 10 || (!(MASK(way) & JITLINK_WAYS) && calls.place == 20));
	CHECK(calls.install == 10);
	CHECK(!calls.free && !calls.sync);
	if (way == MCJIT)
		return;
	must(jit.remove(1));
	CHECK(calls.free == (way == RTDYLD ? 10 : 1));
	CHECK(statsOf(context->get()).pools == 1);
}

TEST(cores_are_synced_if_wanted, ALL_WAYS)
{
	auto context = openContext();

	context->syncCores(true);
	Jit jit(way, context);

	jit.add(module(1));
	CHECK(jit.get<int(int)>("f1")(0) == 111);
	CHECK(calls.sync == 1);
}

static void checkSection(const void *address, size_t size, wxp_prot prot, uint32_t pool)
{
	const Seen *s = record.find(address, size);

	CHECK(s);
	CHECK(s->prot == prot);
	CHECK(s->pool == pool);
	CHECK(!s->name.empty());
}

TEST(hooks_are_told, ALL_WAYS)
{
	auto context = openContext();
	Jit jit(way, context);
	std::set<unsigned int> ids;
	wxp_stats stats = {};
	uint32_t pool;
	void *f;

	jit.add(module(1) + "@shown = constant i32 77\n");
	f = jit.address("f1");
	pool = wxp_pool_of(context->get(), f);
	CHECK(pool);
	checkSection(f, 8, WXP_RX, pool);
	checkSection(jit.address("calls1"), 4, WXP_RW, pool);
	checkSection(jit.address("shown"), 4, WXP_R, pool);
	for (const Seen &s : record.sections)
		CHECK(ids.insert(s.id).second);
	CHECK(record.objects.size() == 1);

	const wxpool::Object &o = record.objects[0];

	stats.size = sizeof(stats);
	CHECK(!wxp_get_stats(context->get(), pool, &stats));
	CHECK(o.Pool == pool && o.Code && o.Code <= stats.code && o.Code + 64 > stats.code);
	CHECK(o.Constants >= 20 && o.Constants <= stats.constants);
	CHECK(o.Variables >= 404 && o.Variables <= stats.variables);
}

/* What is read through a .got is not written any more. */
TEST(got_is_constant, MASK(RTDYLD) | JITLINK_WAYS)
{
	auto context = openContext();
	Jit jit(way, context);
	bool found = false;

	jit.add("@environ = external global ptr\n"
		"define ptr @env() {\n"
		"  %e = load ptr, ptr @environ\n"
		"  ret ptr %e\n"
		"}\n");
	CHECK(jit.get<char **()>("env")() == environ);
	for (const Seen &s : record.sections) {
		if (s.name.find("GOT") == std::string::npos && s.name != ".got")
			continue;
		CHECK(s.prot == WXP_R);
		found = true;
	}
	CHECK(found);
}

TEST(alignments_are_kept, ALL_WAYS)
{
	static const unsigned int aligns[] = { 1, 64, 4096, 65536, 2 << 20, 4 << 20 };
	Jit jit(way, openContext());
	std::string text, i;

	for (unsigned int align : aligns) {
		i = std::to_string(align);
		text += "@v" + i + " = global i8 1, align " + i + "\n"
			"@z" + i + " = global [7 x i8] zeroinitializer, align " + i + "\n"
			"@c" + i + " = constant i8 2, align " + i + "\n";
		if (align <= 65536)
			text += "define i32 @a" + i + "() align " + i + " {\n  ret i32 " + i + "\n}\n";
	}
	jit.add(text);
	for (unsigned int align : aligns) {
		i = std::to_string(align);
		for (const char *kind : { "v", "z", "c" })
			CHECK(!(reinterpret_cast<uintptr_t>(jit.address(kind + i)) % align));
		CHECK(*static_cast<char *>(jit.address("v" + i)) == 1);
		CHECK(*static_cast<char *>(jit.address("c" + i)) == 2);
		CHECK(*static_cast<char *>(jit.address("z" + i)) == 0);
		if (align > 65536)
			continue;
		CHECK(!(reinterpret_cast<uintptr_t>(jit.address("a" + i)) % align));
		CHECK(jit.get<int()>("a" + i)() == static_cast<int>(align));
	}
}

TEST(exceptions_cross_modules, ALL_WAYS)
{
	Jit jit(way, openContext());

	jit.addFile("throws");
	jit.addFile("catches");
	jit.initialize();
	CHECK(jit.get<int()>("catches")() == 1);
	jit.deinitialize();
}

TEST(threads_have_variables, ALL_WAYS)
{
	Jit jit(way, openContext());

	jit.addFile("locals");
	jit.initialize();
	CHECK(jit.get<int()>("locals")() == 1);
	jit.deinitialize();
}

/*
 * Exceptions are thrown by what comes after what was removed, at the same addresses. (LLVM
 * forgets to remove the symbols that they need together with a tracker.)
 */
TEST(exceptions_after_removals, ORC_WAYS)
{
	auto context = openContext(16 << 20);
	Jit jit(way, context);
	int i;

	for (i = 0; i < 20; i++) {
		jit.addFile("throws");
		jit.addFile("catches");
		CHECK(jit.get<int()>("catches")() == 1);
		jit.clear();
		CHECK(!statsOf(context->get()).pools);
	}
}

TEST(others_run_during_removals, ORC_WAYS)
{
	auto context = openContext();
	Jit jit(way, context);
	std::atomic<bool> stop{ false };
	std::atomic<long> runs{ 0 }, wrong{ 0 };
	std::vector<std::thread> threads;
	int i;

	jit.add("define i32 @kept(i32 %n) {\n  %r = mul i32 %n, 3\n  ret i32 %r\n}\n");
	auto kept = jit.get<int(int)>("kept");

	for (i = 0; i < 3; i++)
		threads.emplace_back([&, i] {
			while (!stop) {
				wrong += kept(i) != 3 * i;
				runs++;
			}
		});
	for (i = 1; i <= 60; i++) {
		jit.add(module(1), i);
		CHECK(jit.get<int(int)>("f1")(2) == 131);
		must(jit.remove(i));
	}
	stop = true;
	for (auto &t : threads)
		t.join();
	CHECK(runs > 0 && !wrong);
	CHECK(statsOf(context->get()).pools == 1);
}

/* Four threads compile, as many look up, run and remove. */
TEST(many_threads_compile, MASK(RTDYLD) | MASK(JITLINK))
{
	auto context = openContext();
	Jit jit(way, context, 4);
	std::vector<std::thread> threads;
	std::atomic<int> wrong{ 0 };
	int i;

	for (i = 0; i < 4; i++)
		threads.emplace_back([&, i] {
			for (int k = 100 * i + 1; k <= 100 * i + 50; k++) {
				jit.add(module(k), k);
				wrong += jit.get<int(int)>("f" + std::to_string(k))(0) != 111;
				if (k % 2)
					must(jit.remove(k));
			}
		});
	for (auto &t : threads)
		t.join();
	CHECK(!wrong);
	/* What was removed while LLVM's threads had it goes when they are done. */
	for (i = 0; i < 1000 && statsOf(context->get()).pools != 100; i++)
		usleep(10000);
	CHECK(statsOf(context->get()).pools == 100);
}

static bool failsWith(Jit &jit, const char *name, const char *word)
{
	auto address = jit.find(name);
	std::string text = address ? "no error" : toString(address.takeError());

	if (text.find(word) == std::string::npos)
		printf("# %s\n", text.c_str());
	return text.find(word) != std::string::npos;
}

TEST(unresolved_symbols_leave_nothing, ORC_WAYS)
{
	auto context = openContext();
	Jit jit(way, context);

	/* Its own errors are told to the session. */
	jit.orc().getExecutionSession().setErrorReporter([](Error e) {
		consumeError(std::move(e));
	});
	jit.add("declare i32 @nowhere()\n"
		"define i32 @calls_nowhere() {\n  %r = call i32 @nowhere()\n  ret i32 %r\n}\n");
	CHECK(failsWith(jit, "calls_nowhere", "calls_nowhere"));
	CHECK(!statsOf(context->get()).pools);
	jit.add(module(1));
	CHECK(jit.get<int(int)>("f1")(0) == 111);
}

static std::string reported;

static void listen(Way way, Jit &jit)
{
	if (way != MCJIT)
		jit.orc().getExecutionSession().setErrorReporter([](Error e) {
			reported += toString(std::move(e));
		});
}

static void checkFails(Way way, Jit &jit, const char *name, const char *word)
{
	if (way == MCJIT) {
		CHECK(failsWith(jit, name, word));
		return;
	}
	CHECK(failsWith(jit, name, name));
	CHECK(reported.find(word) != std::string::npos);
}

TEST(frozen_contexts_are_told, ALL_WAYS)
{
	auto context = openContext();
	Jit jit(way, context);

	listen(way, jit);
	jit.add(module(1));
	auto f = jit.get<int(int)>("f1");

	CHECK(f(0) == 111);
	CHECK(!wxp_freeze(context->get()));
	jit.add(module(2));
	checkFails(way, jit, "f2", "frozen");
	CHECK(f(0) == 112);
	CHECK(statsOf(context->get()).pools == 1);
}

TEST(full_windows_are_told, ALL_WAYS)
{
	auto context = openContext(6 << 20);
	Jit jit(way, context);

	listen(way, jit);
	jit.add("@large = constant [4000000 x i8] zeroinitializer\n"
		"define ptr @get() {\n  ret ptr @large\n}\n");
	checkFails(way, jit, "get", "out of memory");
	if (way == MCJIT)
		return;
	CHECK(!statsOf(context->get()).pools);
	jit.add(module(1));
	CHECK(jit.get<int(int)>("f1")(0) == 111);
}

/* More than one call can install; and memory that nobody wrote to takes none. */
TEST(large_objects, ALL_WAYS)
{
	constexpr size_t part = 10000001;
	std::string parts = "[10000001 x i8]";
	auto context = openContext();
	Jit jit(way, context);
	size_t i;

	jit.add("@large = constant { i8, " + parts + ", i8, " + parts + ", i8 }\n"
		"  { i8 1, " + parts + " zeroinitializer, i8 2, " + parts + " zeroinitializer, i8 3 }\n"
		"@bss = global [200000000 x i8] zeroinitializer\n");
	auto large = static_cast<unsigned char *>(jit.address("large"));
	auto bss = static_cast<unsigned char *>(jit.address("bss"));

	CHECK(large[0] == 1 && large[1 + part] == 2 && large[2 + 2 * part] == 3);
	for (i = 1; i <= part; i += 4095)
		CHECK(!large[i] && !large[i + 1 + part]);
	CHECK(!bss[0] && !bss[199999999]);
	bss[199999999] = 1;
	CHECK(calls.install > 1);
}

/* ---- many, and large ones */

static long countMappings()
{
	FILE *f = fopen("/proc/self/maps", "r");
	long nr = 0;
	int c;

	CHECK(f);
	while ((c = getc(f)) != EOF)
		nr += c == '\n';
	fclose(f);
	return nr;
}

/* 1,000 of them come and go at random while others run; all goes back to the start. */
TEST(thousand_modules, MASK(RTDYLD) | MASK(JITLINK))
{
	constexpr unsigned int nr = 1000;
	auto context = openContext();
	Jit jit(way, context);
	std::vector<JITDylib *> dylibs(nr);
	std::atomic<bool> stop{ false };
	std::atomic<long> wrong{ 0 };
	auto object = compile("declare i32 @base(i32)\n"
			      "@own = internal global i32 5\n"
			      "define i32 @caller(i32 %n) {\n"
			      "  %b = call i32 @base(i32 %n)\n"
			      "  %o = load i32, ptr @own\n"
			      "  %r = add i32 %b, %o\n"
			      "  ret i32 %r\n"
			      "}\n");
	unsigned int i, seed = 1;
	int (*kept)(int) = nullptr;
	long mappings = 0;

	jit.add("define i32 @base(i32 %n) {\n  %r = mul i32 %n, 3\n  ret i32 %r\n}\n");
	auto load = [&](unsigned int k) {
		must(jit.orc().addObjectFile(*dylibs[k], MemoryBuffer::getMemBuffer(
			object->getMemBufferRef(), false)));
		auto f = must(jit.orc().lookup(*dylibs[k], "caller")).toPtr<int (*)(int)>();

		wrong += f(static_cast<int>(k)) != static_cast<int>(3 * k + 5);
		return f;
	};
	for (i = 0; i < nr; i++) {
		dylibs[i] = &must(jit.orc().createJITDylib("d" + std::to_string(i)));
		dylibs[i]->addToLinkOrder(jit.orc().getMainJITDylib());
		if (!i)
			kept = load(i);
		if (i == 20)
			mappings = countMappings();
		if (i)
			load(i);
	}
	CHECK(statsOf(context->get()).pools == nr + 1);
	std::thread runner([&] {
		while (!stop)
			wrong += kept(7) != 26;
	});
	for (i = 0; i < nr; i++) {
		unsigned int k = 1 + (seed = seed * 1103515245 + 12345) / 65536 % (nr - 1);

		must(dylibs[k]->clear());
		load(k);
	}
	stop = true;
	runner.join();
	CHECK(!wrong);
	CHECK(countMappings() <= mappings + 8);	/* malloc()'s */
	for (i = 0; i < nr; i++)
		must(dylibs[i]->clear());
	CHECK(statsOf(context->get()).pools == 1);
}

#ifdef __x86_64__
/* Assembly, as LLVM takes half a minute to compile so many */
TEST(many_functions, ORC_WAYS)
{
	constexpr int nr = 20000;
	Jit jit(way, openContext());
	std::string text = "module asm \".text\"\n";

	for (int i = 0; i < nr; i++) {
		std::string n = std::to_string(i);

		text += "module asm \".globl f" + n + "\"\n"
			"module asm \"f" + n + ": mov $" + n + ", %eax\"\n"
			"module asm \"ret\"\n";
	}
	auto object = compile(text);

	must(jit.orc().addObjectFile(MemoryBuffer::getMemBuffer(object->getMemBufferRef(), false)));
	for (int i = 0; i < nr; i += 1999)
		CHECK(jit.get<int()>("f" + std::to_string(i))() == i);
}

TEST(large_function, ALL_WAYS)
{
	Jit jit(way, openContext());

	jit.add("define i32 @large() {\n"
		"  call void asm sideeffect \".fill 2097152, 1, 0x90\", \"\"()\n"
		"  ret i32 43\n"
		"}\n");
	CHECK(jit.get<int()>("large")() == 43);
}
#endif

/* A child made by fork() goes on: what it inherited runs, and it links on its own. */
TEST(children_go_on, ALL_WAYS)
{
	auto context = openContext();
	Jit jit(way, context);
	int status;
	pid_t pid;

	jit.add(module(1), 1);
	auto f = jit.get<int(int)>("f1");

	CHECK(f(0) == 111);
	pid = fork();
	if (!pid) {
		CHECK(f(0) == 112);
		jit.add(module(2), 2);
		CHECK(jit.get<int(int)>("f2")(0) == 111);
		if (way != MCJIT) {
			must(jit.remove(1));
			must(jit.remove(2));
			CHECK(!statsOf(context->get()).pools);
		}
		fflush(stdout);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && !status);
	CHECK(f(0) == 112);
}

/* ---- JITLink: actions, sections that live shortly or not at all */

static const char content[] = "the contents of a section";
static std::vector<int> acted, undone;
static int wrong, failAt = -1;

#if LLVM_VERSION_MAJOR >= 22
using Result = shared::CWrapperFunctionBuffer;
#else
using Result = shared::CWrapperFunctionResult;
#endif

static Result act(const char *data, size_t size)
{
	using namespace shared;

	return WrapperFunction<SPSError(int32_t, SPSExecutorAddr, SPSExecutorAddr)>::handle(
		data, size, [](int32_t n, ExecutorAddr r, ExecutorAddr rw) -> Error {
			acted.push_back(n);
			wrong += memcmp(r.toPtr<const char *>(), content, sizeof(content)) != 0;
			wrong += memcmp(rw.toPtr<const char *>(), content, sizeof(content)) != 0;
			*rw.toPtr<char *>() = 'x';
			if (n == failAt)
				return make_error<StringError>("action failed",
							       inconvertibleErrorCode());
			return Error::success();
		}).release();
}

static Result undo(const char *data, size_t size)
{
	using namespace shared;

	return WrapperFunction<SPSError(int32_t)>::handle(data, size, [](int32_t n) -> Error {
		undone.push_back(n);
		return Error::success();
	}).release();
}

/* How many pools there are when others are told that an object is there, or is not */
static int poolsWhenTold = -1;

/* One that may add passes, and has nothing of its own to give back */
class Passes : public Plugin {
public:
	explicit Passes(struct wxp *w) : wxp(w) {}

private:
	Error tell()
	{
		poolsWhenTold = static_cast<int>(statsOf(wxp).pools);
		return Error::success();
	}

	Error notifyEmitted(MaterializationResponsibility &) override { return tell(); }
	Error notifyFailed(MaterializationResponsibility &) override { return tell(); }
	Error notifyRemovingResources(JITDylib &, ResourceKey) override { return Error::success(); }
	void notifyTransferringResources(JITDylib &, ResourceKey, ResourceKey) override {}

	struct wxp *wxp;
};

template <class P> static std::function<std::shared_ptr<Plugin>()> plugin(struct wxp *wxp)
{
	return [wxp] { return std::make_shared<P>(wxp); };
}

/* Sections of each lifetime, and actions that look at those that are there */
class Actions : public Passes {
	using Passes::Passes;

	void modifyPassConfig(MaterializationResponsibility &, jitlink::LinkGraph &,
			      jitlink::PassConfiguration &config) override
	{
		config.PostPrunePasses.push_back([](jitlink::LinkGraph &g) -> Error {
			add(g, "test.r", MemProt::Read, MemLifetime::Finalize);
			add(g, "test.rw", MemProt::Read | MemProt::Write, MemLifetime::Finalize);
			add(g, "test.none", MemProt::Read, MemLifetime::NoAlloc);
			return Error::success();
		});
		config.PostAllocationPasses.push_back([](jitlink::LinkGraph &g) -> Error {
			using namespace shared;

			for (int32_t n = 0; n < 2; n++) {
				auto doing = WrapperFunctionCall::Create<
					SPSArgList<int32_t, SPSExecutorAddr, SPSExecutorAddr>>(
					ExecutorAddr::fromPtr(&act), n, at(g, "test.r"),
					at(g, n ? "test.rw2" : "test.rw"));
				auto undoing = WrapperFunctionCall::Create<SPSArgList<int32_t>>(
					ExecutorAddr::fromPtr(&undo), n);

				g.allocActions().push_back({ cantFail(std::move(doing)),
							     cantFail(std::move(undoing)) });
			}
			return Error::success();
		});
		config.PostPrunePasses.push_back([](jitlink::LinkGraph &g) -> Error {
			add(g, "test.rw2", MemProt::Read | MemProt::Write, MemLifetime::Finalize);
			return Error::success();
		});
	}

	static void add(jitlink::LinkGraph &g, const char *name, MemProt prot, MemLifetime lifetime)
	{
		auto &section = g.createSection(name, prot);

		section.setMemLifetime(lifetime);
		g.createContentBlock(section, ArrayRef<char>(content, sizeof(content)),
				     ExecutorAddr(), 8, 0);
	}

	static ExecutorAddr at(jitlink::LinkGraph &g, const char *name)
	{
		return (*g.findSectionByName(name)->blocks().begin())->getAddress();
	}
};

TEST(actions_are_run, JITLINK_WAYS)
{
	auto context = openContext();
	Jit jit(way, context, 0, plugin<Actions>(context->get()));

	jit.add(module(1), 1);
	CHECK(jit.get<int(int)>("f1")(0) == 111);
	CHECK((acted == std::vector<int>{ 0, 1 }) && undone.empty() && !wrong);
	/* The sections that only they needed are gone. */
	CHECK(poolsWhenTold == 1);
	CHECK(statsOf(context->get()).pools == 1);
	for (const Seen &s : record.sections) {
		CHECK(s.name != "test.none");
		CHECK(wxp_pool_of(context->get(), s.address) == (s.name.find("test.") ? s.pool : 0));
	}
	must(jit.remove(1));
	CHECK((undone == std::vector<int>{ 1, 0 }));
	CHECK(!statsOf(context->get()).pools);
}

TEST(actions_that_fail_leave_nothing, JITLINK_WAYS)
{
	auto context = openContext();
	Jit jit(way, context, 0, plugin<Actions>(context->get()));

	listen(way, jit);
	failAt = 1;
	jit.add(module(1), 1);
	checkFails(way, jit, "f1", "action failed");
	CHECK((acted == std::vector<int>{ 0, 1 }) && (undone == std::vector<int>{ 0 }));
	CHECK(!poolsWhenTold);
	CHECK(!statsOf(context->get()).pools);
}

/* A section that is to be writable and executable is not had. */
class Mixed : public Passes {
	using Passes::Passes;

	void modifyPassConfig(MaterializationResponsibility &, jitlink::LinkGraph &,
			      jitlink::PassConfiguration &config) override
	{
		config.PostPrunePasses.push_back([](jitlink::LinkGraph &g) -> Error {
			auto &section = g.createSection("test.wx", MemProt::Write | MemProt::Exec);

			g.createContentBlock(section, ArrayRef<char>(content, sizeof(content)),
					     ExecutorAddr(), 8, 0);
			return Error::success();
		});
	}
};

TEST(writable_code_is_refused, JITLINK_WAYS)
{
	auto context = openContext();
	Jit jit(way, context, 0, plugin<Mixed>(context->get()));

	listen(way, jit);
	jit.add(module(1), 1);
	checkFails(way, jit, "f1", "writable and executable");
	CHECK(!poolsWhenTold);
	CHECK(!statsOf(context->get()).pools);
}

/* Others may be told by another thread, while the linker goes on. */
TEST(failures_are_told_when_nothing_is_left, JITLINK_WAYS)
{
	auto context = openContext();
	Jit jit(way, context, 0, plugin<Passes>(context->get()));

	listen(way, jit);
	jit.add("declare i32 @nowhere()\n"
		"define i32 @calls() {\n  %r = call i32 @nowhere()\n  ret i32 %r\n}\n");
	checkFails(way, jit, "calls", "nowhere");
	CHECK(!poolsWhenTold);
	poolsWhenTold = -1;
	CHECK(!wxp_freeze(context->get()));
	jit.add(module(1));
	checkFails(way, jit, "f1", "frozen");
	CHECK(!poolsWhenTold);
}
