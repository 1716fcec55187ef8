/* SPDX-License-Identifier: MIT */
/* One face for all ways to plug the memory managers into LLVM */
#ifndef WXP_TEST_LLVM_JIT_HPP
#define WXP_TEST_LLVM_JIT_HPP

#include <functional>
#include <mutex>
#include <vector>

#include <llvm/ExecutionEngine/MCJIT.h>
#include <llvm/ExecutionEngine/Orc/LLJIT.h>
#include <llvm/ExecutionEngine/Orc/ObjectLinkingLayer.h>
#include <llvm/IR/LLVMContext.h>
#include <llvm/IR/Module.h>

#include "harness.hpp"

struct Seen {
	std::string name;
	uint32_t pool;
	unsigned int id;
	char *address;
	size_t size;
	wxp_prot prot;
};

/* What hooks were told, by all managers */
struct Record {
	std::mutex lock;
	std::vector<Seen> sections;
	std::vector<wxpool::Object> objects;

	const Seen *find(const void *address, size_t size = 1);
	const Seen *find(const std::string &name);
};

extern Record record;

using Plugin = llvm::orc::ObjectLinkingLayer::Plugin;

class Jit {
public:
	Jit(Way way, std::shared_ptr<wxpool::Context> context, unsigned int threads = 0,
	    std::function<std::shared_ptr<Plugin>()> plugin = nullptr);

	/* A module, as text or a file; of a group that can be removed */
	void add(const std::string &text, unsigned int group = 0);
	void addFile(const std::string &name, unsigned int group = 0);

	/* What is in it, or what went wrong */
	llvm::Expected<void *> find(const std::string &name);
	void *address(const std::string &name) { return must(find(name)); }

	template <class F> F *get(const std::string &name)
	{
		return reinterpret_cast<F *>(address(name));
	}

	llvm::Error remove(unsigned int group);
	void clear();

	/* Constructors and destructors */
	void initialize();
	void deinitialize();

	llvm::orc::LLJIT &orc() { return *lljit; }

private:
	void addModule(std::unique_ptr<llvm::Module> module,
		       std::unique_ptr<llvm::LLVMContext> context, unsigned int group);
	llvm::orc::ResourceTrackerSP tracker(unsigned int group);

	Way way;
	std::unique_ptr<llvm::LLVMContext> own;
	std::unique_ptr<llvm::ExecutionEngine> engine;
	wxpool::RTDyldMemory *memory = nullptr;
	std::unique_ptr<llvm::orc::LLJIT> lljit;
	std::mutex lock;
	std::vector<llvm::orc::ResourceTrackerSP> trackers;
};

/* What @wxp holds */
wxp_stats statsOf(struct wxp *wxp);

/* A context of its own for a test; @window 0: the default's */
std::shared_ptr<wxpool::Context> openContext(size_t window = 0);

#endif
