#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs the selftests on the running kernel: loads the module, then runs what was
# built in $O/selftests with the kernel's own runner. Prints TAP; the status is
# 0 only if no test failed.
#
# usage: [O=<build folder>] [KSELFTEST_DIR=...] run.sh
set -eu

here=$(cd "$(dirname "$0")" && pwd)
O=$(realpath -m "${O:-$here/../build}")

die()
{
	echo "Bail out! run.sh: $*"
	exit 1
}

[ "$(id -u)" = 0 ] || die "must run as root, to load the module"
[ -x "$O/selftests/abi" ] ||
	die "no programs in $O/selftests: make -C $here O=$O"
[ -e /dev/wxpool ] || modprobe wxpool ||
	die "no module wxpool for kernel $(uname -r): make modules_install"
[ -e /dev/wxpool ] || die "the module is loaded, but there is no /dev/wxpool"

# A kernel that checks its own locks is slow at whatever is tested.
[ ! -e /proc/lockdep_stats ] || export WXPOOL_FEWER="${WXPOOL_FEWER:-5}"

# The runner writes to /dev/stdout, which a bare /dev has not.
[ -e /dev/stdout ] || ln -s /proc/self/fd/1 /dev/stdout

# The runner's own status says nothing. tee passes everything on at once, so that
# what a hanging test printed is not lost.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
make -s -C "$here" O="$O" run_tests 2>&1 | tee "$log"
! grep -q '^not ok ' "$log" && grep -q '^ok ' "$log"
