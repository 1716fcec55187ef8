// SPDX-License-Identifier: MIT
/*
 * ORC's LLJIT, with either linker. The program is linked whole, as natively: each object, and
 * not only what is asked for.
 */
#include <llvm/ExecutionEngine/Orc/Debugging/DebuggerSupport.h>
#include <llvm/ExecutionEngine/Orc/ExecutionUtils.h>
#include <llvm/ExecutionEngine/Orc/LLJIT.h>
#include <llvm/ExecutionEngine/Orc/ObjectFileInterface.h>
#include <llvm/ExecutionEngine/Orc/RTDyldObjectLinkingLayer.h>
#if LLVM_VERSION_MAJOR < 21
#include <llvm/ExecutionEngine/Orc/EPCEHFrameRegistrar.h>
#else
#include <llvm/ExecutionEngine/Orc/EHFrameRegistrationPlugin.h>
#endif

#include "wxlli.hpp"

using namespace llvm;
using namespace llvm::orc;

/* Tells of sections, and has JITLink keep those that nobody refers to. */
class Watcher : public ObjectLinkingLayer::Plugin {
public:
	explicit Watcher(Memory &m) : memory(m) {}

	void modifyPassConfig(MaterializationResponsibility &, jitlink::LinkGraph &,
			      jitlink::PassConfiguration &config) override
	{
		config.PrePrunePasses.push_back([](jitlink::LinkGraph &graph) -> Error {
			for (auto &section : graph.sections())
				if (Startup::isMine(section.getName()))
					keep(graph, section);
			if (auto *frames = graph.findSectionByName(".eh_frame"))
				pack(*frames);
			return Error::success();
		});
		config.PostAllocationPasses.push_back([this](jitlink::LinkGraph &graph) -> Error {
			for (auto &section : graph.sections())
				tell(graph, section);
			return Error::success();
		});
	}

	Error notifyFailed(MaterializationResponsibility &) override { return Error::success(); }
	Error notifyRemovingResources(JITDylib &, ResourceKey) override { return Error::success(); }
	void notifyTransferringResources(JITDylib &, ResourceKey, ResourceKey) override {}

private:
	static void keep(jitlink::LinkGraph &graph, jitlink::Section &section)
	{
		for (auto *block : section.blocks())
			graph.addAnonymousSymbol(*block, 0, block->getSize(), false, true);
	}

	/*
	 * JITLink drops the frame of a weak function that another object has defined first. What
	 * pads the next one then is zero, which ends a list of frames.
	 */
	static void pack(jitlink::Section &frames)
	{
		for (auto *block : frames.blocks()) {
			block->setAlignment(4);
			block->setAlignmentOffset(0);
		}
	}

	void tell(const jitlink::LinkGraph &graph, const jitlink::Section &section)
	{
		jitlink::SectionRange range(section);

		if (section.getMemLifetime() != MemLifetime::NoAlloc && !range.empty())
			memory.add(graph.getName(), section.getName(),
				   range.getStart().toPtr<void *>(), range.getSize());
	}

	Memory &memory;
};

class ORCEngine : public Engine {
public:
	explicit ORCEngine(Memory &m) : memory(m)
	{
		jit = must(LLJITBuilder()
			.setExecutorProcessControl(std::move(memory.control))
			.setProcessSymbolsJITDylibSetup(findInProcess)
			.setPlatformSetUp(setUpInactivePlatform)
			.setObjectLinkingLayerCreator([this](ExecutionSession &session, auto &&...) {
				return createLayer(session);
			})
			.create());
		session().setErrorReporter([this](Error err) { report(std::move(err)); });
		if (options.jitlink && options.gdb)
			must(enableDebuggerSupport(*jit));
	}

	void link(Objects objects) override
	{
		JITDylib &dylib = jit->getMainJITDylib();
		SymbolMap symbols;

		for (size_t i = 0; i < nrBuiltins; i++)
			symbols[session().intern(builtins[i].name)] = {
				ExecutorAddr::fromPtr(builtins[i].address),
				JITSymbolFlags::Exported | JITSymbolFlags::Weak,
			};
		for (const std::string &name : objects.missing)
			symbols[session().intern(name)] = {
				ExecutorAddr(), JITSymbolFlags::Exported | JITSymbolFlags::Weak,
			};
		check(dylib.define(absoluteSymbols(std::move(symbols))));
		for (const std::string &path : objects.archives)
			dylib.addGenerator(must(StaticLibraryDefinitionGenerator::Load(
				jit->getObjLinkingLayer(), path.c_str())));

		SymbolLookupSet all;

		for (Object &object : objects.list) {
			auto interface = must(getObjectFileInterface(
				session(), object.buffer->getMemBufferRef()));

			for (const auto &symbol : interface.SymbolFlags)
				all.add(symbol.first, symbol.second.hasMaterializationSideEffectsOnly() ?
					SymbolLookupFlags::WeaklyReferencedSymbol :
					SymbolLookupFlags::RequiredSymbol);
			check(jit->addObjectFile(std::move(object.buffer)));
		}
		all.sortByName();
		all.removeDuplicates();
		auto found = session().lookup(makeJITDylibSearchOrder(
			&dylib, JITDylibLookupFlags::MatchAllSymbols), std::move(all));

		check(found.takeError());
	}

	void *find(const std::string &name) override
	{
		auto address = jit->lookup(name);

		check(address.takeError());
		return address->toPtr<void *>();
	}

private:
	/*
	 * Also for another process, which has the same libraries (remote.cpp): to ask it would
	 * take a message, and a thread that can wait for it; and RuntimeDyld of LLVM 19 crashes
	 * if a symbol does not come at once.
	 */
	static Expected<JITDylibSP> findInProcess(LLJIT &jit)
	{
		JITDylib &dylib = jit.getExecutionSession().createBareJITDylib("process");

		dylib.addGenerator(must(DynamicLibrarySearchGenerator::GetForCurrentProcess(
			jit.getDataLayout().getGlobalPrefix())));
		return &dylib;
	}

	ExecutionSession &session() { return jit->getExecutionSession(); }

	/* The session's errors say why; what a lookup returns says only what failed. */
	void report(Error err)
	{
		std::lock_guard<std::mutex> guard(lock);

		if (reason.empty())
			reason = toString(std::move(err));
		else
			consumeError(std::move(err));
	}

	void check(Error err)
	{
		if (!err)
			return;
		std::lock_guard<std::mutex> guard(lock);

		if (reason.empty())
			die(std::move(err));
		consumeError(std::move(err));
		die(StringRef(reason).split('\n').first);
	}

	std::unique_ptr<ObjectLayer> createRTDyld(ExecutionSession &session)
	{
		auto layer = std::make_unique<RTDyldObjectLinkingLayer>(
			session, [this](auto &&...) { return memory.rtdyld(); });

		layer->setAutoClaimResponsibilityForObjectSymbols(true);
		layer->setOverrideObjectFlagsWithResponsibilityFlags(true);
		layer->setNotifyLoaded([this](MaterializationResponsibility &,
					      const object::ObjectFile &object,
					      const RuntimeDyld::LoadedObjectInfo &loaded) {
			memory.add(object, loaded);
		});
		if (options.gdb)
			layer->registerJITEventListener(
				*JITEventListener::createGDBRegistrationListener());
		if (options.perf)
			layer->registerJITEventListener(*createPerfListener());
		return layer;
	}

	std::unique_ptr<ObjectLayer> createLayer(ExecutionSession &session)
	{
		if (!options.jitlink)
			return createRTDyld(session);
		auto layer = std::make_unique<ObjectLinkingLayer>(session, memory.jitlink());

		layer->addPlugin(std::make_unique<Watcher>(memory));
		if (auto frames = memory.frames()) {
			layer->addPlugin(std::move(frames));
			return layer;
		}
#if LLVM_VERSION_MAJOR < 21
		layer->addPlugin(std::make_unique<EHFrameRegistrationPlugin>(
			session, must(EPCEHFrameRegistrar::Create(session))));
#else
		layer->addPlugin(must(EHFrameRegistrationPlugin::Create(session)));
#endif
		return layer;
	}

	Memory &memory;
	std::unique_ptr<LLJIT> jit;
	std::mutex lock;
	std::string reason;
};

Engine *createORC(Memory &memory)
{
	return new ORCEngine(memory);
}
