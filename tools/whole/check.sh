#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Whole programs in wxlli, whose output has to be that of the native ones: through each
# engine and linker. Prints TAP. check.sh MEMORY [WXLLI [hardened]]. In a guest (as root) MEMORY is
# secure, and remote is tested as well; with another, IR is run too, which takes long to
# compile in an emulated machine. With "hardened" programs are run as services with
# MemoryDenyWriteExecute= are, and no others.

set -eu
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
out=${O:-$here/../../build}
memory=${1:?secure, portable, fast or llvm}
wxlli=${2:-$out/wxlli/wxlli}
whole=$out/whole
engines=(--linker=jitlink --linker=rtdyld --engine=mcjit)
remote=(--linker=jitlink --linker=rtdyld)
# shellcheck source=lib/tests/tap.sh
. "$here/../../lib/tests/tap.sh"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp" "$tap_tmp"' EXIT

# The arguments of a program
declare -A arguments=([lua]=$here/lua.lua)

# How wxlli is started
start=()

# does_same NAME OPTION...: wxlli with these does as the native program
does_same()
{
	local name=$1 status=0 want=0

	# shellcheck disable=SC2086
	"$whole/native/$name" ${arguments[$name]-} > "$tmp/want" 2>&1 || want=$?
	# shellcheck disable=SC2086
	"${start[@]}" "$wxlli" --memory="$memory" "${@:2}" ${arguments[$name]-} \
		> "$tmp/got" 2>&1 || status=$?
	echo "status $status, natively $want"
	diff "$tmp/want" "$tmp/got" | head -n 10
	[ $status -eq $want ] && cmp -s "$tmp/want" "$tmp/got"
}

same()
{
	local what="${start[1]-} $memory $1 $2 ${!#}"

	what=${what//"$whole/"/}
	tap_test "${what# }" does_same "$@"
}

# modules NAME OPTION...: the same of its IR, module by module, through each engine
modules()
{
	local engine list

	# The first is the program, the others are linked to it.
	mapfile -t list < <(printf '%s\n' "$whole/$1"/*.bc | sed '2,$s/^/--extra-module=/' | tac)
	for engine in "${engines[@]}"; do
		same "$1" "$engine" "${@:2}" "${list[@]}"
	done
}

# refused WAY ENGINE: LLVM's own memory is not had there, in one line or by a signal.
refused()
{
	local status=0

	"$whole/hardened" "$1" "$wxlli" --memory=llvm "$2" "$whole/cxx.o" || status=$?
	[ $status -ne 7 ] && [ $status -ne 0 ]
}

# prints COMMAND...: what it prints matches the words in $want
prints()
{
	cd "$tmp"
	HOME=$tmp JITDUMPDIR=$tmp "$@" > got 2>&1 || { tail -n 10 got; return 1; }
	grep -Eq "$want" got || { tail -n 10 got; return 1; }
}

debugger()
{
	gdb -q -batch -ex run -ex bt --args "$wxlli" --memory="$memory" --gdb "$1" "$whole/hot.bc" abort
}

# Stops before the program aborts, and sets a breakpoint in sealed code, by the processor.
breakpoint()
{
	gdb -q -batch -ex 'set breakpoint pending on' -ex 'tbreak abort' -ex run -ex 'hbreak hot_loop' \
		--args "$wxlli" --memory="$memory" --gdb "$whole/hot.bc" abort
}

# One by a write is not hit, and nobody says so.
no_breakpoint()
{
	gdb -q -batch -ex 'set breakpoint pending on' -ex 'break hot_loop' -ex run \
		--args "$wxlli" --memory="$memory" --gdb "$whole/hot.bc" abort > "$tmp/got" 2>&1
	cat "$tmp/got"
	grep SIGABRT "$tmp/got" && ! grep 'Breakpoint 1, ' "$tmp/got"
}

# What the page prints
page()
{
	cp "$whole/hot.bc" program.bc
	PATH=$(dirname "$wxlli"):$PATH bash -eux \
		<(sed -n 's/^    //p' "$here/../../Documentation/debugging.md")
}

profiler()
{
	perf record -q -k 1 -e cpu-clock -o data "$wxlli" --memory="$memory" --perf "$1" "$whole/hot.bc" &&
	perf inject --jit -i data -o jit.data && perf report -i jit.data --stdio
}

# programs ENGINE...
programs()
{
	local name engine

	for name in sqlite lua zstd cxx; do
		for engine in "$@"; do
			same $name "$engine" "$whole/$name.o"
		done
	done
}

# With the device, also by another process; what debuggers see, on a machine that may count: a
# container often may not
with_device()
{
	local engine

	memory=remote
	programs "${remote[@]}"
	memory=secure
	for engine in "${engines[@]}"; do
		want='in gives_up \(why=.*hot\.c:[0-9]+'
		tap_test "gdb shows names and lines, $engine" prints debugger "$engine"
	done
	want='Hardware assisted breakpoint.*hot\.c'
	tap_test "gdb has the processor's breakpoints" prints breakpoint
	tap_test "gdb misses one that it writes" no_breakpoint
	want='jitted-.*hot_loop'
	tap_test "perf shows names, as Documentation/debugging.md says" prints page
	tap_test "perf shows names, --engine=mcjit" prints profiler --engine=mcjit
}

[ "$memory" != secure ] || modprobe wxpool
if [ $# -lt 3 ]; then
	programs "${engines[@]}"
	modules cxx
	[ "$memory" != secure ] || with_device
fi

for way in mdwe seccomp; do
	if ! "$whole/hardened" $way true 2> /dev/null; then
		tap_ok "$way" "not on this kernel"
		continue
	fi
	if [ "$memory" = secure ] || [ "$memory" = portable ]; then
		start=("$whole/hardened" "$way")
		for engine in "${engines[@]}"; do
			same cxx "$engine" "$whole/cxx.o"
			same lua "$engine" "$whole/lua.o"
			tap_test "$way: LLVM's own memory fails, $engine" refused $way "$engine"
		done
		if [ "$memory" = secure ]; then
			memory=remote
			for engine in "${remote[@]}"; do
				same cxx "$engine" "$whole/cxx.o"
			done
			memory=secure
		fi
		start=()
	fi
done
if [ "$memory" != secure ]; then
	modules lua -O1
	same sqlite -O0 "$whole/sqlite.bc"
	same zstd -O1 "$whole/zstd.bc"
fi
tap_end
