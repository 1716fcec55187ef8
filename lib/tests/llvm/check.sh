#!/bin/bash
# SPDX-License-Identifier: MIT
# The tests of <wxpool/llvm.hpp> without the module: O=BUILD lib/tests/llvm/check.sh. They
# have been built by "make -C lib llvm".
set -eu

here=$(cd "$(dirname "$0")" && pwd)
top=$here/../../..
O=${O:-$top/build}
# shellcheck source=lib/tests/tap.sh
. "$here/../tap.sh"

headers=(wxpool/llvm-c.h wxpool/llvm.hpp wxpool/llvm-c.cpp wxpool/llvm-executor.cpp)

# compiles VERSION COMPILER...: the headers, alone and without types at run time; either may
# be the first
compiles() {
	local order

	for order in "${headers[*]} wxpool/llvm-remote.hpp" "wxpool/llvm-remote.hpp ${headers[*]}"; do
		# shellcheck disable=SC2086
		printf '#include <%s>\n' $order |
		"${@:2}" -std=c++17 -Wall -Wextra -Werror -fno-rtti -fsyntax-only -D_GNU_SOURCE \
			-I"$top/include" -isystem "/usr/include/llvm-$1" \
			-isystem "/usr/include/llvm-c-$1" -x c++ -
	done
}

c_compiles() {
	printf '#include <wxpool/llvm-c.h>\n' |
	gcc -std=c11 -Wall -Wextra -Werror -fsyntax-only -I"$top/include" \
		-isystem "/usr/include/llvm-c-$1" -isystem "/usr/include/llvm-$1" -x c -
}

for v in 19 21 22; do
	if [ ! -d "/usr/include/llvm-$v" ]; then
		tap_ok "LLVM $v" "its headers are not installed"
		continue
	fi
	tap_test "LLVM $v, g++" compiles $v g++
	tap_test "LLVM $v, g++, C++20" compiles $v g++ -std=c++20
	tap_test "LLVM $v, clang++" compiles $v clang++-19
	tap_test "LLVM $v, C" c_compiles $v
done
for WXPOOL_BACKEND in portable fast; do
	# shellcheck source=lib/tests/llvm/run.sh
	. "$here/run.sh"
done
tap_end
