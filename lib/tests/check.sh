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
	for page in 16384 65536; do
		tap_run "$b, pages of $page" env WXPOOL_BACKEND=$b WXPOOL_TEST_PAGE=$page \
			"$O/lib/tests/unit"
	done
	for t in unit fault; do
		tap_run "$b, sanitized $t" env WXPOOL_BACKEND=$b "$O/lib-sanitize/tests/$t"
	done
done
if command -v valgrind > /dev/null; then
	for t in unit fault; do
		tap_run "portable, valgrind $t" env WXPOOL_BACKEND=portable \
			valgrind -q --leak-check=full --error-exitcode=9 --smc-check=all \
			--suppressions="$here/valgrind.supp" "$O/lib/tests/$t"
	done
else
	tap_ok "portable, valgrind" "valgrind is not installed"
fi
tap_run "install" env O="$O" "$here/install.sh"
tap_end
