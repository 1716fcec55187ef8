#!/bin/bash
# SPDX-License-Identifier: MIT
# The tests of <wxpool/llvm.hpp> on a machine that may load the module, as root:
# O=BUILD lib/tests/llvm/guest.sh [VERSION]: those of one LLVM, or of all
set -eu

here=$(cd "$(dirname "$0")" && pwd)
O=${O:-$here/../../../build}
# shellcheck source=lib/tests/tap.sh
. "$here/../tap.sh"

tap_test "modprobe wxpool" modprobe wxpool
WXPOOL_BACKEND=kernel
versions=${1:-19 22}
# shellcheck source=lib/tests/llvm/run.sh
. "$here/run.sh"
# The command that the page has
page() {
	cd "$O/examples"
	LD_LIBRARY_PATH=$O/lib bash -eu <(grep '^\./llvm-.*/remote ' "$here/../../../Documentation/llvm.md") |
	grep -x "The answer is 41\."
}

tap_test "what llvm.md prints about executors" page
for v in $versions; do
	tap_run "LLVM $v, remote" env PROGRAMS="$O/lib/llvm-$v" "$O/lib/llvm-$v/remote"
	tap_test "LLVM $v: example remote" prints "$O/examples/llvm-$v/remote" \
		"llvm-jitlink-executor-$v" "$O/examples/llvm-$v/executor.so"
done
tap_test "rmmod wxpool" rmmod wxpool
tap_end
