#!/bin/bash
# SPDX-License-Identifier: MIT
# The tests of <wxpool/llvm.hpp> on a machine that may load the module, as root:
# O=BUILD lib/tests/llvm/guest.sh [-q]. With -q those of the newest LLVM alone
set -eu

here=$(cd "$(dirname "$0")" && pwd)
O=${O:-$here/../../../build}
# shellcheck source=lib/tests/tap.sh
. "$here/../tap.sh"

tap_test "modprobe wxpool" modprobe wxpool
WXPOOL_BACKEND=kernel
[ $# = 0 ] || versions=22
# shellcheck source=lib/tests/llvm/run.sh
. "$here/run.sh"
tap_test "rmmod wxpool" rmmod wxpool
tap_end
