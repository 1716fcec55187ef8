/* SPDX-License-Identifier: MIT */
/*
 * LLVM's linkers on libwxpool, for programs that use LLVM's C API. They compile
 * <wxpool/llvm-c.cpp> (installed beside this file) with the C++ compiler and the flags of
 * their LLVM, and link it in.
 */
#ifndef WXPOOL_LLVM_C_H
#define WXPOOL_LLVM_C_H

#include <llvm-c/ExecutionEngine.h>
#include <llvm-c/Orc.h>

#include <wxpool.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * wxp_llvm_jitlink_layer() - an object layer with JITLink
 * @session: of the LLJIT
 * @wxp: a context that outlives the LLJIT
 *
 * For LLVMOrcLLJITBuilderSetObjectLinkingLayerCreator(). Code has to be position
 * independent, of the small code model: LLVMRelocPIC, LLVMCodeModelSmall.
 *
 * Return: the layer, which is the caller's to pass on.
 */
LLVMOrcObjectLayerRef wxp_llvm_jitlink_layer(LLVMOrcExecutionSessionRef session,
					     struct wxp *wxp);

/** wxp_llvm_rtdyld_layer() - the same with RuntimeDyld */
LLVMOrcObjectLayerRef wxp_llvm_rtdyld_layer(LLVMOrcExecutionSessionRef session,
					    struct wxp *wxp);

/**
 * wxp_llvm_mcjit_memory() - a memory manager for MCJIT
 * @wxp: a context that outlives the engine
 *
 * Return: it, for LLVMMCJITCompilerOptions.MCJMM. The engine owns it then.
 */
LLVMMCJITMemoryManagerRef wxp_llvm_mcjit_memory(struct wxp *wxp);

/**
 * wxp_llvm_mcjit_error() - did it fail? MCJIT does not tell
 * @memory: of wxp_llvm_mcjit_memory(). To be asked when an address was got, before it is run
 *
 * Return: what went wrong, valid as long as @memory; or NULL.
 */
const char *wxp_llvm_mcjit_error(LLVMMCJITMemoryManagerRef memory);

#ifdef __cplusplus
}
#endif

#endif /* WXPOOL_LLVM_C_H */
