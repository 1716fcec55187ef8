// SPDX-License-Identifier: MIT
/* <wxpool/llvm-executor.hpp>, to be compiled by the program that runs code */
#include <tuple>
#include <vector>

#include <wxpool-remote.h>
#include <wxpool/llvm-common.hpp>
#include <wxpool/llvm-executor.hpp>

namespace wxpool {
namespace {

using llvm::orc::ExecutorAddr;
using llvm::orc::shared::WrapperFunction;

llvm::Error initialize(ExecutorAddr executor,
		       const std::vector<std::tuple<ExecutorAddr, uint64_t, llvm::StringRef>> &variables,
		       llvm::orc::shared::AllocActions actions)
{
	std::vector<wxp_piece> pieces;
	int err;

	for (const auto &[address, zeros, bytes] : variables) {
		if (!bytes.empty())
			pieces.push_back({address.toPtr<void *>(), bytes.data(), bytes.size()});
		if (zeros)
			pieces.push_back({(address + bytes.size()).toPtr<void *>(), nullptr, zeros});
	}
	err = wxp_executor_write(executor.toPtr<wxp_executor *>(), pieces.data(), pieces.size());
	if (err)
		return error("cannot store variables", err);
	return runActions(actions).takeError();
}

/* What LLVM calls a function that takes and returns bytes is named anew in version 22. */
using Result = decltype(llvm::orc::shared::WrapperFunctionCall().run().release());

extern "C" Result initializeWrapper(const char *data, size_t size)
{
	return WrapperFunction<SPSInitialize>::handle(data, size, initialize).release();
}

extern "C" Result deinitializeWrapper(const char *data, size_t size)
{
	return WrapperFunction<SPSDeinitialize>::handle(
		data, size, [](const std::vector<llvm::orc::shared::WrapperFunctionCall> &actions) {
			return undoActions(actions);
		}).release();
}

/* For the rest of the process: what is mapped stays, and is run by who knows whom. */
llvm::Expected<std::tuple<ExecutorAddr, ExecutorAddr, ExecutorAddr>> attach(int32_t socket)
{
	struct wxp_executor *executor;
	int err = wxp_executor_attach(socket, &executor);

	if (err)
		return error("the executor cannot attach", err);
	return std::tuple(ExecutorAddr::fromPtr(executor), ExecutorAddr::fromPtr(&initializeWrapper),
			  ExecutorAddr::fromPtr(&deinitializeWrapper));
}

} /* namespace */
} /* namespace wxpool */

extern "C" __attribute__((visibility("default"))) wxpool::Result
wxpool_llvm_attach(const char *data, size_t size)
{
	return wxpool::WrapperFunction<wxpool::SPSAttach>::handle(data, size,
								  wxpool::attach).release();
}

void wxpool::addBootstrapSymbols(llvm::StringMap<llvm::orc::ExecutorAddr> &symbols)
{
	symbols[attachName] = llvm::orc::ExecutorAddr::fromPtr(&wxpool_llvm_attach);
}
