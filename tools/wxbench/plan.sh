#!/bin/bash
# SPDX-License-Identifier: MIT
#
# plan.sh GROUP...: run the measurements of these groups on the running kernel, as
# root; one line for each on stdout, for report.awk. bench.sh says in which guest each
# group runs. With WXBENCH_SHORT=1 all of them are small, to test the tool.
#   instructions, scale, churn, free, llvm   one CPU, -icount
#   events                             four CPUs

set -u
bench=${O:?}/wxbench/wxbench
status=0

# run WORK PEER NAME=NUMBER...
run()
{
	"$bench" "$@" 2>&1 && return
	status=1
	echo "plan.sh: failed: wxbench $*"
}

plain="memcpy mprotect mprotect-packed memfd-dual memfd-remap pkey asmjit asmjit-dual"
llvm="llvm-replay llvm-smm llvm-mcjit"
inplace="device-inplace wxpool-inplace portable-inplace"
install="device-install wxpool-install portable-install"
one=wxpool-load		# a function by a call
many=wxpool-many	# a batch by a call

instructions()
{
	local p size

	run limits
	for p in $plain $llvm $inplace $install device-huge wxpool-huge; do
		run module "$p" n=100
	done
	for p in mprotect-packed llvm-replay llvm-smm $inplace $install wxpool-huge; do
		run module "$p" n=200 live=64
	done
	for p in $plain $inplace $install $one; do
		run publish "$p" n=1024 size=256 live=1024
	done
	for p in $plain $inplace $install $many; do
		run publish "$p" n=2048 size=256 batch=64 live=1024
	done
	# 2 MiB of them: one huge page is cleared among them.
	for p in device-huge wxpool-huge $one-huge; do
		run publish "$p" n=8192 size=256 live=1024
	done
	for p in device-huge wxpool-huge $many-huge; do
		run publish "$p" n=8192 size=256 batch=64 live=1024
	done
	for p in $install device-huge wxpool-huge $one $one-huge; do
		run publish "$p" n=8192 size=256 live=1024 pool=1
	done
	for p in $install device-huge wxpool-huge $many $many-huge; do
		run publish "$p" n=8192 size=256 batch=64 live=1024 pool=1
	done
	for p in wxpool-install wxpool-huge $one $one-huge; do
		run publish "$p" n=8192 size=256 live=1024 pool=1 warm=1
	done
	for p in wxpool-install wxpool-huge $many $many-huge; do
		run publish "$p" n=8192 size=256 batch=64 live=1024 pool=1 warm=1
	done
	for size in 64 1024 4096; do
		for p in memcpy mprotect memfd-dual asmjit-dual device-install wxpool-install; do
			run publish "$p" n=512 size="$size" live=512
			run publish "$p" n=1024 size="$size" batch=64 live=512
		done
	done
	for p in mprotect memfd-dual asmjit-dual device-install device-huge wxpool-install \
		 wxpool-huge portable-install; do
		run footprint "$p" size=4194304
	done
	for p in $llvm memfd-dual asmjit-dual device-install wxpool-inplace wxpool-install \
		 wxpool-huge portable-install; do
		run tiny "$p" n=10000
	done
	run first
	for p in $one-huge mprotect; do
		run threads "$p" n=8192 size=256 threads=1 cpus=1
		run threads "$p" n=2048 size=256 threads=4 cpus=1
	done
}

scale()
{
	local p live

	run device n=1000000
	run pools n=1000000
	for p in device-install wxpool-install wxpool-huge; do
		for live in 1000 10000 100000; do
			run publish "$p" n=8192 size=256 live="$live"
		done
	done
	run publish wxpool-huge n=8192 size=256 live=1000000
}

churn()
{
	local p

	for p in mprotect memfd-dual asmjit-dual device-install wxpool-install wxpool-huge; do
		run churn "$p" n=10000 size=256 live=100000
	done
	run mixed n=100000
}

free()
{
	local p n

	for p in wxpool-install wxpool-huge; do
		for n in 64 1024 16384; do
			run free "$p" n="$n" size=256 batch=64 live=16384
		done
		run free "$p" n=1024 size=256 batch=64 live=100000
	done
}

# of_llvm VERSION "LINKER PEER" N [EXECUTOR LIBRARY]
of_llvm()
{
	# shellcheck disable=SC2086
	"$bench-llvm$1" $2 "${bench%/*}/module.o" "${@:3}" 2>&1 && return
	status=1
	echo "plan.sh: failed: wxbench-llvm$1 $2"
}

# Of all that LLVM does, on its own memory and on ours
llvm()
{
	local v n=1000

	[ -z "${WXBENCH_SHORT-}" ] || n=10
	for v in 19 22; do
		for p in "rtdyld section" "rtdyld wxpool" "rtdyld wxpool-huge" \
			 "jitlink in-process" "jitlink mapper" "jitlink wxpool" \
			 "jitlink wxpool-huge"; do
			of_llvm $v "$p" $n
		done
		for p in "remote simple" "remote mapper" "remote wxpool" "remote wxpool-huge"; do
			of_llvm $v "$p" $n "llvm-jitlink-executor-$v" "${bench%/*}/executor$v.so"
		done
	done
}

events()
{
	local p threads

	for p in mprotect memfd-dual memfd-remap asmjit-dual $inplace $install wxpool-huge \
		 $one $one-huge; do
		run threads "$p" n=500 size=256 threads=1 busy=3
	done
	for p in mprotect memfd-dual asmjit-dual device-install wxpool-install $one; do
		for threads in 1 2 4; do
			run threads "$p" n=500 size=256 threads="$threads"
		done
	done
	for p in llvm-replay llvm-smm mprotect-packed $inplace $install wxpool-huge; do
		run module "$p" n=100 busy=3
	done
}

[ -e /dev/wxpool ] || modprobe wxpool || exit
for group in "$@"; do
	case $group in
	instructions) instructions ;;
	scale) scale ;;
	churn) churn ;;
	free) free ;;
	llvm) llvm ;;
	events) events ;;
	*) echo "plan.sh: no group '$group'" >&2; exit 2 ;;
	esac
done
exit $status
