// SPDX-License-Identifier: MIT
#include <llvm/AsmParser/Parser.h>
#include <llvm/ExecutionEngine/Orc/RTDyldObjectLinkingLayer.h>
#if LLVM_VERSION_MAJOR >= 21
#include <llvm/ExecutionEngine/Orc/SelfExecutorProcessControl.h>
#else
#include <llvm/ExecutionEngine/Orc/EPCEHFrameRegistrar.h>
#include <llvm/ExecutionEngine/Orc/ExecutorProcessControl.h>
#endif
#include <llvm/IRReader/IRReader.h>
#include <llvm/Support/SourceMgr.h>
#include <llvm/Target/TargetOptions.h>

#include "jit.hpp"

using namespace llvm;
using namespace llvm::orc;

Record record;

const Seen *Record::find(const void *address, size_t size)
{
	const char *p = static_cast<const char *>(address);

	for (const Seen &s : sections)
		if (p >= s.address && p + size <= s.address + s.size)
			return &s;
	return nullptr;
}

const Seen *Record::find(const std::string &name)
{
	for (const Seen &s : sections)
		if (s.name == name)
			return &s;
	return nullptr;
}

/* As a user would subclass them */
template <class Memory> class Recording : public Memory {
public:
	using Memory::Memory;

protected:
	void notifySection(const wxpool::Section &s) override
	{
		std::lock_guard<std::mutex> guard(record.lock);

		record.sections.push_back({ s.Name.str(), s.Pool, s.ID,
					    static_cast<char *>(s.Address), s.Size, s.Prot });
	}

	void notifyObject(const wxpool::Object &o) override
	{
		std::lock_guard<std::mutex> guard(record.lock);

		record.objects.push_back(o);
	}
};

using RTDyld = Recording<wxpool::RTDyldMemory>;
using JITLink = Recording<wxpool::JITLinkMemory>;

static std::unique_ptr<ObjectLayer> createLayer(Way way, ExecutionSession &session,
						const std::shared_ptr<wxpool::Context> &context,
						const std::shared_ptr<Plugin> &plugin)
{
	if (way == RTDYLD) {
		auto layer = std::make_unique<RTDyldObjectLinkingLayer>(
			session, [context](auto &&...) {
				return std::make_unique<RTDyld>(context);
			});

		/* DW.ref.__gxx_personality_v0 is in the object, but not in the module. */
		layer->setAutoClaimResponsibilityForObjectSymbols(true);
		return layer;
	}
	auto layer = std::make_unique<ObjectLinkingLayer>(session,
							  std::make_unique<JITLink>(context));
	if (plugin)
		layer->addPlugin(plugin);
#if LLVM_VERSION_MAJOR < 21
	layer->addPlugin(std::make_unique<EHFrameRegistrationPlugin>(
		session, must(EPCEHFrameRegistrar::Create(session))));
#endif
	return layer;
}

Jit::Jit(Way w, std::shared_ptr<wxpool::Context> context, unsigned int threads,
	 std::function<std::shared_ptr<Plugin>()> plugin)
	: way(w)
{
	std::string error;

	if (way == MCJIT) {
		auto manager = std::make_unique<RTDyld>(context);
		TargetOptions options;

		memory = manager.get();
		own = std::make_unique<LLVMContext>();
		options.EmulatedTLS = true;
		engine.reset(EngineBuilder(std::make_unique<Module>("empty", *own))
			.setErrorStr(&error)
			.setTargetOptions(options)
			.setMCJITMemoryManager(std::move(manager))
			.create());
		if (!engine)
			fail(__FILE__, __LINE__, error);
		return;
	}
	auto target = must(JITTargetMachineBuilder::detectHost());
	LLJITBuilder builder;

	target.setRelocationModel(Reloc::PIC_).setCodeModel(CodeModel::Small);
	target.getOptions().EmulatedTLS = true;
	builder.setJITTargetMachineBuilder(target).setNumCompileThreads(threads);
	if (way == EPC)
		builder.setExecutorProcessControl(must(SelfExecutorProcessControl::Create(
			nullptr, std::make_unique<InPlaceTaskDispatcher>(),
			std::make_unique<JITLink>(context))));
	else
		builder.setObjectLinkingLayerCreator([=](ExecutionSession &session, auto &&...) {
			return createLayer(way, session, context, plugin ? plugin() : nullptr);
		});
	lljit = must(builder.create());
	if (way == EPC && plugin)
		static_cast<ObjectLinkingLayer &>(lljit->getObjLinkingLayer()).addPlugin(plugin());
}

ResourceTrackerSP Jit::tracker(unsigned int group)
{
	std::lock_guard<std::mutex> guard(lock);

	if (trackers.size() <= group)
		trackers.resize(group + 1);
	if (!trackers[group])
		trackers[group] = lljit->getMainJITDylib().createResourceTracker();
	return trackers[group];
}

void Jit::addModule(std::unique_ptr<Module> module, std::unique_ptr<LLVMContext> context,
		    unsigned int group)
{
	if (way == MCJIT)
		engine->addModule(std::move(module));
	else
		must(lljit->addIRModule(tracker(group), ThreadSafeModule(std::move(module),
									 std::move(context))));
}

void Jit::add(const std::string &text, unsigned int group)
{
	auto context = way == MCJIT ? nullptr : std::make_unique<LLVMContext>();
	SMDiagnostic wrong;
	auto module = parseAssemblyString(text, wrong, context ? *context : *own);

	if (!module)
		fail(__FILE__, __LINE__, wrong.getMessage().str());
	addModule(std::move(module), std::move(context), group);
}

void Jit::addFile(const std::string &name, unsigned int group)
{
	auto context = way == MCJIT ? nullptr : std::make_unique<LLVMContext>();
	const char *programs = getenv("PROGRAMS");
	SMDiagnostic wrong;
	auto module = parseIRFile((programs ? programs + ("/" + name) : name) + ".bc", wrong,
				  context ? *context : *own);

	if (!module)
		fail(__FILE__, __LINE__, wrong.getMessage().str());
	addModule(std::move(module), std::move(context), group);
}

Expected<void *> Jit::find(const std::string &name)
{
	if (way != MCJIT) {
		auto address = lljit->lookup(name);

		if (!address)
			return address.takeError();
		return address->toPtr<void *>();
	}
	uint64_t address = engine->getGlobalValueAddress(name);

	if (!address)
		address = engine->getFunctionAddress(name);
	if (engine->hasError() || !memory->getError().empty())
		return make_error<StringError>(engine->hasError() ? engine->getErrorMessage() :
					       memory->getError(), inconvertibleErrorCode());
	return reinterpret_cast<void *>(address);
}

Error Jit::remove(unsigned int group)
{
	ResourceTrackerSP t = tracker(group);

	std::lock_guard<std::mutex> guard(lock);

	trackers[group] = nullptr;
	return t->remove();
}

void Jit::clear()
{
	trackers.clear();
	must(lljit->getMainJITDylib().clear());
}

void Jit::initialize()
{
	if (way == MCJIT) {
		engine->finalizeObject();
		engine->runStaticConstructorsDestructors(false);
	} else {
		must(lljit->initialize(lljit->getMainJITDylib()));
	}
}

void Jit::deinitialize()
{
	if (way == MCJIT)
		engine->runStaticConstructorsDestructors(true);
	else
		must(lljit->deinitialize(lljit->getMainJITDylib()));
}

wxp_stats statsOf(struct wxp *wxp)
{
	wxp_stats stats = {};

	stats.size = sizeof(stats);
	CHECK(!wxp_get_stats(wxp, 0, &stats));
	return stats;
}

std::shared_ptr<wxpool::Context> openContext(size_t window)
{
	wxp_options options = {};

	options.size = sizeof(options);
	options.window = window;
	return must(wxpool::Context::open(&options));
}
