/* SPDX-License-Identifier: MIT */
/* What compilers and executors share: errors, and LLVM's actions, whose calls differ by version */
#ifndef WXPOOL_LLVM_COMMON_HPP
#define WXPOOL_LLVM_COMMON_HPP

#include <system_error>
#include <utility>
#include <vector>

#include <llvm/ADT/Twine.h>
#include <llvm/Config/llvm-config.h>
#include <llvm/ExecutionEngine/Orc/Shared/AllocationActions.h>
#include <llvm/Support/Error.h>

#include <wxpool.h>

namespace wxpool {

/** error() - an error of the library as LLVM's; @what was not possible */
inline llvm::Error error(const llvm::Twine &what, int err)
{
	return llvm::make_error<llvm::StringError>(
		"wxpool: " + what + ": " + wxp_strerror(err),
		std::error_code(-err, std::generic_category()));
}

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

#endif /* WXPOOL_LLVM_COMMON_HPP */
