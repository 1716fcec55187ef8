/* SPDX-License-Identifier: MIT */
/*
 * TAP for the tests of <wxpool/llvm.hpp>. Each runs in a process of its own, once for each
 * way to plug the memory managers in.
 */
#ifndef WXP_TEST_LLVM_HARNESS_HPP
#define WXP_TEST_LLVM_HARNESS_HPP

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include <wxpool/llvm.hpp>

/* MCJIT; LLJIT with RuntimeDyld, and with JITLink, by a layer; and by a process control */
enum Way { MCJIT, RTDYLD, JITLINK, EPC, NR_WAYS };

#define MASK(way)	(1u << (way))
#define ALL_WAYS	(MASK(NR_WAYS) - 1)
#define ORC_WAYS	(ALL_WAYS & ~MASK(MCJIT))
#define JITLINK_WAYS	(MASK(JITLINK) | MASK(EPC))

struct Test {
	Test(const char *name, unsigned int ways, void (*fn)(Way way));

	const char *name;
	unsigned int ways;
	void (*fn)(Way way);
	Test *next = nullptr;
};

#define TEST(name, ways)						\
	static void name(Way way);					\
	static Test test_##name(#name, ways, name);			\
	static void name([[maybe_unused]] Way way)

#define CHECK(cond)							\
	do {								\
		if (!(cond))						\
			fail(__FILE__, __LINE__, #cond);		\
	} while (0)

[[noreturn]] void fail(const char *file, int line, const std::string &what);

/* ends the test with the error, if there is one */
void must(llvm::Error err);

template <class T> T must(llvm::Expected<T> &&value)
{
	if (!value)
		must(value.takeError());
	return static_cast<T &&>(*value);
}

/* An object of IR, for this machine */
std::unique_ptr<llvm::MemoryBuffer> compile(const std::string &text);

/* What calls of the library were made: linked with --wrap */
struct Calls {
	unsigned int place, install, free, sync;
};

extern Calls calls;

#endif
