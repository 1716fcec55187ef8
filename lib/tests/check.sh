#!/bin/bash
# SPDX-License-Identifier: MIT
# The library's tests without the module: called by "make -C lib check", which
# has built them. O=BUILD CC=COMPILER lib/tests/check.sh
set -eu

here=$(cd "$(dirname "$0")" && pwd)
O=${O:-$here/../../build}
# shellcheck source=lib/tests/tap.sh
. "$here/tap.sh"

for b in portable fast; do
	tap_run "$b" env WXPOOL_BACKEND=$b "$O/lib/tests/unit"
	for t in unit fault model; do
		tap_run "$b, sanitized $t" env WXPOOL_BACKEND=$b "$O/lib-sanitize/tests/$t"
	done
	# WXP_ONE_ADDRESS
	tap_run "$b, model, one address" env WXPOOL_BACKEND=$b "$O/lib/tests/model" -n 20000 -f 2
done
for page in 16384 65536; do
	tap_run "portable, pages of $page" env WXPOOL_BACKEND=portable WXPOOL_TEST_PAGE=$page \
		"$O/lib/tests/unit"
done
tap_run "portable, as shipped" env WXPOOL_BACKEND=portable "$O/lib/tests/shipped"
# From Debian 13 on, addresses can be too random for gcc's.
tap_run "portable, threads sanitized" env WXPOOL_BACKEND=portable \
	setarch -R "$O/lib-thread/tests/threads"
tap_run "portable, model" env WXPOOL_BACKEND=portable "$O/lib/tests/model" -n 100000 -w 8
tap_run "fast, model" env WXPOOL_BACKEND=fast "$O/lib/tests/model" -n 20000
# All of "unit" would take several minutes.
if command -v valgrind > /dev/null; then
	memcheck=(valgrind -q --leak-check=full --error-exitcode=9 --smc-check=all)
	tap_run "portable, valgrind fault" env WXPOOL_BACKEND=portable \
		"${memcheck[@]}" --suppressions="$here/valgrind.supp" "$O/lib/tests/fault"
	tap_run "portable, valgrind model" env WXPOOL_BACKEND=portable \
		"${memcheck[@]}" "$O/lib/tests/model" -n 2000 -w 8
else
	tap_ok "portable, valgrind" "valgrind is not installed"
fi
tap_run "install" env O="$O" "$here/install.sh"
tap_run "examples" env O="$O" "$here/examples.sh"
tap_run "man" env O="$O" "$here/man.sh"
tap_end
