// SPDX-License-Identifier: MIT
#include <llvm/ExecutionEngine/MCJIT.h>
#include <llvm/IR/LLVMContext.h>
#include <llvm/IR/Module.h>
#include <llvm/Object/Archive.h>

#include "wxlli.hpp"

using namespace llvm;

JITEventListener *createPerfListener()
{
	JITEventListener *listener = JITEventListener::createPerfJITEventListener();

	if (!listener)
		die("--perf: this LLVM was built without it");
	return listener;
}

class MCJITEngine : public Engine, JITEventListener {
public:
	explicit MCJITEngine(Memory &m) : memory(m)
	{
		std::string error;

		engine.reset(EngineBuilder(std::make_unique<Module>("wxlli", context))
			.setErrorStr(&error)
			.setMCJITMemoryManager(memory.rtdyld())
			.create());
		if (!engine)
			die(error);
		engine->RegisterJITEventListener(this);
		if (options.gdb)
			engine->RegisterJITEventListener(createGDBRegistrationListener());
		if (options.perf)
			perf = createPerfListener();
	}

	void link(Objects objects) override
	{
		for (Object &object : objects.list) {
			auto file = must(object::ObjectFile::createObjectFile(
				object.buffer->getMemBufferRef()));

			engine->addObjectFile(object::OwningBinary<object::ObjectFile>(
				std::move(file), std::move(object.buffer)));
		}
		for (const std::string &path : objects.archives)
			addArchive(path);
		engine->finalizeObject();
		check();
		for (const auto &object : linked)
			perf->notifyObjectLoaded(reinterpret_cast<ObjectKey>(object.first),
						 *object.first, *object.second);
	}

	void *find(const std::string &name) override
	{
		uint64_t address = engine->getGlobalValueAddress(name);

		check();
		return reinterpret_cast<void *>(address);
	}

private:
	void check()
	{
		if (engine->hasError())
			die(StringRef(engine->getErrorMessage()).split('\n').first);
		if (!memory.error().empty())
			die(memory.error());
	}

	void addArchive(const std::string &path)
	{
		auto buffer = MemoryBuffer::getFile(path);

		if (!buffer)
			die(path + ": " + buffer.getError().message());
		auto archive = must(object::Archive::create((*buffer)->getMemBufferRef()));

		engine->addArchive(object::OwningBinary<object::Archive>(std::move(archive),
									 std::move(*buffer)));
	}

	/* perf's listener reads the code, which is not there yet. */
	void notifyObjectLoaded(ObjectKey, const object::ObjectFile &object,
				const RuntimeDyld::LoadedObjectInfo &loaded) override
	{
		memory.add(object, loaded);
		if (perf)
			linked.emplace_back(&object, std::unique_ptr<RuntimeDyld::LoadedObjectInfo>(
				static_cast<RuntimeDyld::LoadedObjectInfo *>(
					loaded.clone().release())));
	}

	Memory &memory;
	LLVMContext context;
	std::unique_ptr<ExecutionEngine> engine;
	JITEventListener *perf = nullptr;
	std::vector<std::pair<const object::ObjectFile *,
			      std::unique_ptr<RuntimeDyld::LoadedObjectInfo>>> linked;
};

Engine *createMCJIT(Memory &memory)
{
	return new MCJITEngine(memory);
}
