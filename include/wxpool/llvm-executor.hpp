/* SPDX-License-Identifier: MIT */
/*
 * What an executor of LLVM's has for <wxpool/llvm-remote.hpp>: functions that LLVM's
 * process control calls, in <wxpool/llvm-executor.cpp>.
 *
 * That file is compiled into the program that runs code, or as a shared library that
 * llvm-jitlink-executor loads. Its program links with libwxpool and LLVM, and needs no
 * access to /dev/wxpool.
 */
#ifndef WXPOOL_LLVM_EXECUTOR_HPP
#define WXPOOL_LLVM_EXECUTOR_HPP

#include <cstdint>

#include <llvm/ADT/StringMap.h>
#include <llvm/ExecutionEngine/Orc/Shared/AllocationActions.h>
#include <llvm/ExecutionEngine/Orc/Shared/ExecutorAddress.h>
#include <llvm/ExecutionEngine/Orc/Shared/WrapperFunctionUtils.h>

namespace wxpool {

/* The name of attach(), as a symbol of the library and of the program's bootstrap */
inline constexpr char attachName[] = "wxpool_llvm_attach";

/* attach(): takes a socket's number; returns the executor, initialize and deinitialize */
using SPSAttach = llvm::orc::shared::SPSExpected<llvm::orc::shared::SPSTuple<
	llvm::orc::shared::SPSExecutorAddr, llvm::orc::shared::SPSExecutorAddr,
	llvm::orc::shared::SPSExecutorAddr>>(int32_t);

/* Bytes to store to variables, and how many zeros follow them */
using SPSVariables = llvm::orc::shared::SPSTuple<
	llvm::orc::shared::SPSExecutorAddr, uint64_t, llvm::orc::shared::SPSString>;

/* initialize(): the executor, what to store, finalize actions */
using SPSInitialize = llvm::orc::shared::SPSError(
	llvm::orc::shared::SPSExecutorAddr, llvm::orc::shared::SPSSequence<SPSVariables>,
	llvm::orc::shared::SPSSequence<llvm::orc::shared::SPSAllocActionCallPair>);

/* deinitialize(): dealloc actions, the last of which is run first */
using SPSDeinitialize = llvm::orc::shared::SPSError(
	llvm::orc::shared::SPSSequence<llvm::orc::shared::SPSWrapperFunctionCall>);

/** addBootstrapSymbols() - for a program with a SimpleRemoteEPCServer of its own */
void addBootstrapSymbols(llvm::StringMap<llvm::orc::ExecutorAddr> &symbols);

} /* namespace wxpool */

#endif /* WXPOOL_LLVM_EXECUTOR_HPP */
