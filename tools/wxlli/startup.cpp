// SPDX-License-Identifier: MIT
/*
 * Constructors and destructors. As a linker and the C library do: those of .init_array
 * by priority, then in the order of the objects; those of .fini_array the other way round.
 */
#include <algorithm>

#include "wxlli.hpp"

enum { INIT, FINI };

static const char *const names[] = { ".init_array", ".fini_array" };

bool Startup::isMine(llvm::StringRef section)
{
	for (const char *name : names)
		if (section == name || section.starts_with(std::string(name) + "."))
			return true;
	return false;
}

void Startup::add(unsigned int object, llvm::StringRef section, const void *address, size_t size)
{
	std::lock_guard<std::mutex> guard(lock);
	unsigned int priority = 65535;

	for (int kind : { INIT, FINI }) {
		llvm::StringRef rest = section;

		if (!rest.consume_front(names[kind]))
			continue;
		if (rest.consume_front("."))
			rest.getAsInteger(10, priority);
		arrays[kind].push_back({ priority, object,
					 { static_cast<const void *const *>(address),
					   size / sizeof(void *) } });
	}
}

void Startup::order(Program &program)
{
	std::vector<Program::Array> *to[] = { &program.constructors, &program.destructors };

	for (int kind : { INIT, FINI }) {
		auto &list = arrays[kind];

		std::stable_sort(list.begin(), list.end(), [](const Array &a, const Array &b) {
			return std::pair(a.priority, a.object) < std::pair(b.priority, b.object);
		});
		for (const Array &a : list)
			to[kind]->push_back(a.functions);
	}
}

void Program::runConstructors(int argc, char **argv, char **envp) const
{
	for (const auto &[first, nr] : constructors)
		for (size_t i = 0; i < nr; i++)
			reinterpret_cast<void (*)(int, char **, char **)>(
				const_cast<void *>(first[i]))(argc, argv, envp);
}

void Program::runDestructors() const
{
	for (auto a = destructors.rbegin(); a != destructors.rend(); ++a)
		for (size_t i = a->second; i; i--)
			reinterpret_cast<void (*)()>(const_cast<void *>(a->first[i - 1]))();
}
