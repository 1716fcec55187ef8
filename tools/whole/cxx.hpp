/* SPDX-License-Identifier: MIT */
/* C++ in three modules: exceptions across them, threads, coroutines, regular expressions */
#ifndef WHOLE_CXX_HPP
#define WHOLE_CXX_HPP

#include <stdexcept>
#include <string>
#include <vector>

struct TooMany : std::runtime_error {
	explicit TooMany(int n) : std::runtime_error("too many"), nr(n) {}
	int nr;
};

std::vector<std::string> matches(const std::string &text, const std::string &pattern);
std::vector<int> squares(int n);
long sumByThreads(int threads, int n);
int limited(int n, int most);

#endif
