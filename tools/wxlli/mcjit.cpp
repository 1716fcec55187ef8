// SPDX-License-Identifier: MIT
#include <llvm/ExecutionEngine/JITEventListener.h>
#include <llvm/ExecutionEngine/MCJIT.h>
#include <llvm/IR/LLVMContext.h>
#include <llvm/IR/Module.h>
#include <llvm/Object/Archive.h>

#include "wxlli.hpp"

using namespace llvm;

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
			listenForPerf();
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

	void listenForPerf()
	{
		JITEventListener *listener = JITEventListener::createPerfJITEventListener();

		if (!listener)
			die("--perf: this LLVM was built without it");
		engine->RegisterJITEventListener(listener);
	}

	void notifyObjectLoaded(ObjectKey, const object::ObjectFile &object,
				const RuntimeDyld::LoadedObjectInfo &loaded) override
	{
		memory.add(object, loaded);
	}

	Memory &memory;
	LLVMContext context;
	std::unique_ptr<ExecutionEngine> engine;
};

Engine *createMCJIT(Memory &memory)
{
	return new MCJITEngine(memory);
}
