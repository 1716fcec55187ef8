#!/bin/bash
# SPDX-License-Identifier: MIT
# The library's tests on a machine that may load the module, as root:
# O=BUILD lib/tests/guest.sh [-q]. They have been built by "make -C lib tests". With -q
# those are left out that do not depend on the kernel.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
O=${O:-$here/../../build}
tests=$O/lib/tests
# shellcheck source=lib/tests/tap.sh
. "$here/tap.sh"

quick=${1-}
[ -n "$quick" ] || tap_run "portable, no module" env WXPOOL_BACKEND=portable "$tests/unit"
tap_run "words" env O="$O" "$here/words.sh"
tap_test "modprobe wxpool" modprobe wxpool
tap_run "kernel" env WXPOOL_BACKEND=kernel "$tests/unit"
tap_run "kernel, device" env WXPOOL_BACKEND=kernel "$tests/device"
tap_run "kernel, io_uring" env WXPOOL_BACKEND=kernel "$tests/uring"
tap_run "kernel, remote" env WXPOOL_BACKEND=kernel "$tests/remote"
tap_run "kernel, mseal and keys" env WXPOOL_BACKEND=kernel "$tests/harden"
tap_run "kernel, model" env WXPOOL_BACKEND=kernel "$tests/model" -n 20000
if [ -z "$quick" ]; then
	tap_run "kernel, faults" env WXPOOL_BACKEND=kernel "$tests/fault"
	tap_run "kernel, model, huge pages" env WXPOOL_BACKEND=kernel "$tests/model" -n 20000 -f 1
	tap_run "kernel, model, one address" env WXPOOL_BACKEND=kernel "$tests/model" -n 20000 -f 2
	if [ -d "$O/examples" ]; then
		tap_run "kernel, examples" env WXPOOL_BACKEND=kernel O="$O" "$here/examples.sh" "$O/examples"
	else
		tap_ok "kernel, examples" "not built (make -C lib examples)"
	fi
	# In an emulated machine all of "unit" takes too long.
	if command -v valgrind > /dev/null; then
		tap_run "kernel, valgrind model" env WXPOOL_BACKEND=kernel valgrind -q \
			--leak-check=full --error-exitcode=9 --smc-check=all "$tests/model" -n 1000 -w 8
	else
		tap_ok "kernel, valgrind model" "valgrind is not installed"
	fi
fi
tap_test "rmmod wxpool" rmmod wxpool
tap_end
