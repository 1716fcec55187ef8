// SPDX-License-Identifier: MIT
/*
 * LLVM's own memory manager. "llvm-smm" asks a SectionMemoryManager for each
 * module's sections itself; in "llvm-mcjit" MCJIT loads an object file with the
 * same sections, with all that it does beside: symbol tables, and an engine for
 * each module where modules are unloaded, as it cannot give back the memory of
 * one alone.
 */
#include <cstring>
#include <memory>
#include <string>

#include <unistd.h>

#include <llvm/ExecutionEngine/MCJIT.h>
#include <llvm/ExecutionEngine/SectionMemoryManager.h>
#include <llvm/IR/LLVMContext.h>
#include <llvm/IR/Module.h>
#include <llvm/Object/ObjectFile.h>
#include <llvm/Support/MemoryBuffer.h>
#include <llvm/Support/TargetSelect.h>

#include "measure.h"
#include "wxbench.h"

using namespace llvm;

namespace {

/* All that is mapped after open() is LLVM's. */
size_t mapped_before;

const char *smm_open(size_t, size_t)
{
	mapped_before = bytes_mapped();
	return nullptr;
}

uint8_t *allocate(SectionMemoryManager &mm, const struct part &p, unsigned int id)
{
	if (p.kind == CODE)
		return mm.allocateCodeSection(p.size, 16, id, ".text");
	return mm.allocateDataSection(p.size, 16, id, ".data", p.kind == RODATA);
}

void smm_load(struct module *mod)
{
	auto *mm = new SectionMemoryManager();

	mod->priv = mm;
	for (unsigned int i = 0; i < mod->nr; i++)
		mod->parts[i].at = reinterpret_cast<char *>(allocate(*mm, mod->parts[i], i));
	lap(PH_ALLOC);
	for (unsigned int i = 0; i < mod->nr; i++)
		memcpy(mod->parts[i].at, mod->parts[i].bytes, mod->parts[i].size);
	lap(PH_WRITE);
	if (mm->finalizeMemory())
		die("SectionMemoryManager failed");
	lap(PH_PROTECT);
}

void smm_unload(struct module *mod)
{
	delete static_cast<SectionMemoryManager *>(mod->priv);
}

size_t llvm_held()
{
	return bytes_mapped() - mapped_before;
}

void llvm_close()
{
}

/* ---- MCJIT */

LLVMContext *context;
std::unique_ptr<MemoryBuffer> object;
ExecutionEngine *shared;	/* of modules that stay, NULL if they are unloaded */

std::string object_path(const char *name)
{
	char path[4096];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (len < 0)
		die("no path to %s", name);
	path[len] = '\0';
	*(strrchr(path, '/') + 1) = '\0';
	return std::string(path) + name;
}

ExecutionEngine *new_engine()
{
	auto mod = std::make_unique<Module>("wxbench", *context);
	std::string err;
	ExecutionEngine *engine =
		EngineBuilder(std::move(mod)).setErrorStr(&err).setEngineKind(EngineKind::JIT)
		.create();

	if (!engine)
		die("MCJIT: %s", err.c_str());
	return engine;
}

const char *mcjit_open(size_t modules, size_t bytes)
{
	auto buf = MemoryBuffer::getFile(object_path(bytes / modules > PAGE ? "module.o" : "tiny.o"));

	if (!buf)
		return "no-object-file";
	object = std::move(*buf);
	LLVMLinkInMCJIT();
	InitializeNativeTarget();
	InitializeNativeTargetAsmPrinter();
	context = new LLVMContext();
	if (bytes / modules <= PAGE)
		shared = new_engine();
	mapped_before = bytes_mapped();
	return nullptr;
}

char *address(ExecutionEngine *engine, const char *name)
{
	uint64_t addr = engine->getGlobalValueAddress(name);

	if (!addr)
		die("MCJIT does not find %s", name);
	return reinterpret_cast<char *>(addr);
}

/* The object's sections are as large as the module's parts. */
void mcjit_load(struct module *mod)
{
	ExecutionEngine *engine;

	if (mod->nr != 3)
		die("llvm-mcjit loads modules only");
	engine = shared ? shared : new_engine();
	auto obj = object::ObjectFile::createObjectFile(object->getMemBufferRef());

	if (!obj)
		die("the object file is not understood");
	lap(PH_ALLOC);
	engine->addObjectFile(std::move(*obj));
	lap(PH_WRITE);
	engine->finalizeObject();
	mod->priv = engine;
	mod->parts[CODE].at = address(engine, "wxbench_code");
	mod->parts[RODATA].at = address(engine, "wxbench_rodata");
	mod->parts[DATA].at = address(engine, "wxbench_data");
	lap(PH_PROTECT);
}

void mcjit_unload(struct module *mod)
{
	delete static_cast<ExecutionEngine *>(mod->priv);
}

} // namespace

extern "C" const struct peer peer_llvm_smm = {
	"llvm-smm", "LLVM's SectionMemoryManager, one for each module",
	smm_open, smm_load, smm_unload, llvm_held, llvm_close,
};

extern "C" const struct peer peer_llvm_mcjit = {
	"llvm-mcjit", "LLVM's MCJIT, which loads an object file",
	mcjit_open, mcjit_load, mcjit_unload, llvm_held, llvm_close,
};
