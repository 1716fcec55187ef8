#!/bin/bash
# SPDX-License-Identifier: MIT
# The library's tests on a machine that may load the module, as root:
# O=BUILD lib/tests/guest.sh. They have been built by "make -C lib tests".
set -eu

here=$(cd "$(dirname "$0")" && pwd)
O=${O:-$here/../../build}
tests=$O/lib/tests
# shellcheck source=lib/tests/tap.sh
. "$here/tap.sh"

for b in portable fast; do
	tap_run "$b, no module" env WXPOOL_BACKEND=$b "$tests/unit"
done
tap_test "modprobe wxpool" modprobe wxpool
tap_run "kernel" env WXPOOL_BACKEND=kernel "$tests/unit"
tap_run "kernel, faults" env WXPOOL_BACKEND=kernel "$tests/fault"
tap_run "kernel, device" env WXPOOL_BACKEND=kernel "$tests/device"
tap_run "kernel, io_uring" env WXPOOL_BACKEND=kernel "$tests/uring"
tap_run "kernel, mseal and keys" env WXPOOL_BACKEND=kernel "$tests/guard"
for b in portable fast; do
	tap_run "$b, faults" env WXPOOL_BACKEND=$b "$tests/fault"
done
tap_test "rmmod wxpool" rmmod wxpool
tap_end
