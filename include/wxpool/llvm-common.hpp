/* SPDX-License-Identifier: MIT */
/* LLVM's finalize and dealloc actions, which differ from version to version */
#ifndef WXPOOL_LLVM_ACTIONS_HPP
#define WXPOOL_LLVM_ACTIONS_HPP

#include <utility>
#include <vector>

#include <llvm/Config/llvm-config.h>
#include <llvm/ExecutionEngine/Orc/Shared/AllocationActions.h>
#include <llvm/Support/Error.h>

namespace wxpool {

/* Runs finalize actions in this process, and returns what undoes them. */
inline llvm::Expected<std::vector<llvm::orc::shared::WrapperFunctionCall>>
runActions(llvm::orc::shared::AllocActions &actions)
{
#if LLVM_VERSION_MAJOR == 21	/* by a callback, in this version alone */
	std::vector<llvm::orc::shared::WrapperFunctionCall> undo;
	llvm::Error err = llvm::Error::success();

	llvm::orc::shared::runFinalizeActions(actions, [&](auto done) {
		if (done)
			undo = std::move(*done);
		else
			err = llvm::joinErrors(std::move(err), done.takeError());
	});
	if (err)
		return err;
	return undo;
#else
	return llvm::orc::shared::runFinalizeActions(actions);
#endif
}

/* Runs these, the last first. */
inline llvm::Error undoActions(const std::vector<llvm::orc::shared::WrapperFunctionCall> &actions)
{
#if LLVM_VERSION_MAJOR == 21
	llvm::Error err = llvm::Error::success();

	llvm::orc::shared::runDeallocActions(actions, [&](llvm::Error e) {
		err = llvm::joinErrors(std::move(err), std::move(e));
	});
	return err;
#else
	return llvm::orc::shared::runDeallocActions(actions);
#endif
}

} /* namespace wxpool */

#endif /* WXPOOL_LLVM_ACTIONS_HPP */
