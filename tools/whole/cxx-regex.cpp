// SPDX-License-Identifier: MIT
#include <regex>

#include "cxx.hpp"

std::vector<std::string> matches(const std::string &text, const std::string &pattern)
{
	std::vector<std::string> found;
	std::regex regex(pattern);

	for (std::sregex_iterator i(text.begin(), text.end(), regex), end; i != end; ++i)
		found.push_back((*i)[2].str() + ":" + (*i)[1].str());
	return found;
}
