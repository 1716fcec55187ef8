#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Tests wxbench in a guest, as root: all of `make bench`, but each measurement
# with few items. Figures are not judged. Prints TAP.

set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
bench=${O:?}/wxbench/wxbench
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
nr=0 failed=0
groups=(instructions scale churn free events llvm)
keys="load_vs_mprotect install_vs_mprotect batch64_vs_mprotect install_shootdowns close_per_pool
library_bytes_per_function first_load first_load_huge churn_refused_percent churn_worst
threads_4_vs_1 module_install_small_pages_vs_llvm module_install_syscalls module_inplace_vs_llvm
module_install_vs_llvm module_syscalls vmas_10000_modules lost_percent_tiny cost_1m_vs_1k
faults_4mib llvm_vmas_10000 llvm_lost_percent_tiny device_install_256 device_install64_64
device_install_free_256 device_install_free_12k device_inplace_vs_llvm device_huge_vs_llvm
device_install_vs_llvm device_bytes_per_function device_charged_per_function
device_free_all_per_pool device_inplace_shootdowns device_install_shootdowns device_install_16m
llvm19_rtdyld_load llvm19_rtdyld_unload llvm19_jitlink_load llvm19_jitlink_unload llvm19_syscalls
llvm19_vmas llvm22_rtdyld_load llvm22_rtdyld_unload llvm22_jitlink_load llvm22_jitlink_unload
llvm22_syscalls llvm22_vmas
llvm19_remote_load llvm19_remote_unload llvm19_remote_load_messages llvm19_remote_unload_messages
llvm19_remote_vmas llvm22_remote_load llvm22_remote_unload llvm22_remote_load_messages
llvm22_remote_unload_messages llvm22_remote_vmas"

# check NAME COMMAND...: what it prints is shown where it fails
check()
{
	local name=$1

	nr=$((nr + 1))
	if "${@:2}" > "$tmp/why" 2>&1; then
		echo "ok $nr $name"
	else
		head -n 20 "$tmp/why" | sed 's/^/# /'
		echo "not ok $nr $name"
		failed=$((failed + 1))
	fi
}

refused()
{
	! "$@" > "$tmp/out" 2> "$tmp/err" && [ "$(wc -l < "$tmp/err")" -eq 1 ] &&
		grep -q '^wxbench: ' "$tmp/err"
}

plan()
{
	if ! WXBENCH_SHORT=1 "$here/plan.sh" "$1" > "$tmp/$1"; then
		grep -v '^wxbench: work=' "$tmp/$1"
		return 1
	fi
}

# Only a CPU without protection keys is an excuse.
available()
{
	! cat "${groups[@]/#/$tmp/}" | grep unavailable= | grep -v no-protection-keys
}

report()
{
	awk -v dir="$tmp" -f "$here/report.awk" "$1"
}

numeric()
{
	grep -qE "^  \"$1\": -?[0-9.e+-]+,?\$" "$tmp/summary.json"
}

incomplete()
{
	grep -v 'peer=wxpool-huge' "$tmp/raw" > "$tmp/less"
	! report "$tmp/less" > /dev/null 2> "$tmp/err" && grep -q install_vs_mprotect "$tmp/err"
}

valid_json()
{
	python3 -c 'import json, sys; [json.load(open(f)) for f in sys.argv[1:]]' \
		"$tmp/summary.json" "$tmp/results.json"
}

# calls_by_strace PEER N: system calls of N modules, as strace counts them. How many it takes to
# reserve a window depends on the address, so that is the same each time.
calls_by_strace()
{
	setarch -R strace -f -o "$tmp/trace" -e trace=mmap,munmap,mprotect,madvise,ioctl \
		"$bench" module "$1" "n=$2" > "$tmp/line"
	wc -l < "$tmp/trace"
}

# 40 modules more make as many calls more as 40 times what wxbench says.
same_calls()
{
	local few many says

	few=$(calls_by_strace "$1" 10)
	many=$(calls_by_strace "$1" 50)
	says=$(sed -n 's/.* calls=\([0-9]*\)\.0000 .*/\1/p' "$tmp/line")
	echo "strace: $((many - few)) calls for 40 modules; wxbench: '$says' each"
	[ -n "$says" ] && [ $((many - few)) -eq $((40 * says)) ]
}

echo "TAP version 13"
check "modprobe wxpool" modprobe wxpool
check "an unknown workload is refused" refused "$bench" nothing
check "an unknown peer is refused" refused "$bench" publish nobody
check "an unknown option is refused" refused "$bench" publish mprotect x=1
check "a bad number is refused" refused "$bench" publish mprotect n=1x
check "a number out of range is refused" refused "$bench" publish mprotect batch=65
for group in "${groups[@]}"; do
	check "measurements: $group" plan "$group"
done
check "every peer is available" available
cat "${groups[@]/#/$tmp/}" > "$tmp/raw"
check "report" report "$tmp/raw"
for k in $keys; do
	check "summary: $k is a number" numeric "$k"
done
check "summary and results are JSON" valid_json
check "a report that lacks a measurement fails" incomplete
for peer in llvm-smm llvm-replay device-inplace device-install wxpool-inplace \
	wxpool-install wxpool-huge; do
	check "strace counts the same calls: $peer" same_calls "$peer"
done
echo "1..$nr"
[ "$failed" -eq 0 ]
