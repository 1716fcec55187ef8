/* SPDX-License-Identifier: MIT */
/* LLVM's own executor, and what it and this process do together */
#ifndef WXBENCH_REMOTE_HPP
#define WXBENCH_REMOTE_HPP

#include <llvm/ExecutionEngine/Orc/SimpleRemoteEPC.h>

#include <wxpool/llvm-remote.hpp>

/*
 * connectExecutor() - its process control, with the memory of a peer: LLVM's "simple" or
 * "mapper"; or the library's, in @context
 * @name: the program; @library: the library's part of it
 */
std::unique_ptr<llvm::orc::ExecutorProcessControl>
connectExecutor(const std::string &peer, std::shared_ptr<wxpool::Context> context,
		const char *name, const char *library);

/* LLVM's messages to it so far, and system calls and mappings of both processes */
uint64_t messagesSent();
uint64_t callsOfBoth();
int64_t mappingsOfBoth();

#endif
