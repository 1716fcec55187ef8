#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Whole programs in wxlli, whose output has to be that of the native ones: through each
# engine and linker. Prints TAP. check.sh MEMORY [WXLLI]. In a guest (as root) MEMORY is
# secure; with another, IR is run too, which takes long to compile in an emulated machine.

set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
out=${O:-$here/../../build}
memory=${1:?secure, portable, fast or llvm}
wxlli=${2:-$out/wxlli/wxlli}
whole=$out/whole
engines=(--linker=jitlink --linker=rtdyld --engine=mcjit)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
nr=0 failed=0 skipped=0

# The arguments of a program
declare -A arguments=([lua]=$here/lua.lua)

# How wxlli is started
start=()

# same NAME OPTION...: wxlli with these does as the native program
same()
{
	local name=$1 status=0 want=0 what

	# shellcheck disable=SC2086
	"$whole/native/$name" ${arguments[$name]-} > "$tmp/want" 2>&1 || want=$?
	# shellcheck disable=SC2086
	"${start[@]}" "$wxlli" --memory="$memory" "${@:2}" ${arguments[$name]-} \
		> "$tmp/got" 2>&1 || status=$?
	nr=$((nr + 1))
	what="${start[1]-} $name $2 ${!#}"
	what="${what//"$whole/"/}"
	if [ $status -eq $want ] && cmp -s "$tmp/want" "$tmp/got"; then
		echo "ok $nr ${what# }"
		return
	fi
	echo "not ok $nr ${what# }"
	echo "# status $status, natively $want"
	diff "$tmp/want" "$tmp/got" | head -n 10 | sed 's/^/# /'
	failed=$((failed + 1))
}

echo "TAP version 13"
[ "$memory" != secure ] || modprobe wxpool
for name in sqlite lua zstd cxx; do
	for engine in "${engines[@]}"; do
		same $name "$engine" "$whole/$name.o"
	done
done
for engine in "${engines[@]}"; do
	# The first is the program, the others are linked to it.
	mapfile -t list < <(printf '%s\n' "$whole"/cxx/*.bc | sed '2,$s/^/--extra-module=/' | tac)
	same cxx "$engine" "${list[@]}"
done

# refused WAY ENGINE: LLVM's own memory is not had there, in one line or by a signal.
refused()
{
	local status=0

	"$whole/hardened" "$1" "$wxlli" --memory=llvm "$2" "$whole/cxx.o" > "$tmp/got" 2>&1 ||
		status=$?
	nr=$((nr + 1))
	if [ $status -ne 7 ] && [ $status -ne 0 ]; then
		echo "ok $nr $1: LLVM's own memory fails, $2"
	else
		echo "not ok $nr $1: LLVM's own memory fails, $2"
		failed=$((failed + 1))
	fi
}

# sees NAME COMMAND...: what it prints matches the words in $want
sees()
{
	nr=$((nr + 1))
	if (cd "$tmp" && HOME=$tmp JITDUMPDIR=$tmp "${@:2}" 2>&1) > "$tmp/got" &&
	   grep -Eq "$want" "$tmp/got"; then
		echo "ok $nr $1"
	else
		echo "not ok $nr $1"
		tail -n 10 "$tmp/got" | sed 's/^/# /'
		failed=$((failed + 1))
	fi
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

# On a machine that may count: a container often may not
if [ "$memory" = secure ]; then
	for engine in "${engines[@]}"; do
		want='in gives_up \(why=.*hot\.c:[0-9]+'
		sees "gdb shows names and lines, $engine" debugger "$engine"
	done
	want='Hardware assisted breakpoint.*hot\.c'
	sees "gdb has the processor's breakpoints" breakpoint
	want='jitted-.*hot_loop'
	sees "perf shows names, as Documentation/debugging.md says" page
	sees "perf shows names, --engine=mcjit" profiler --engine=mcjit
fi

for way in mdwe seccomp; do
	if ! "$whole/hardened" $way true 2> /dev/null; then
		nr=$((nr + 1))
		skipped=$((skipped + 1))
		echo "ok $nr $way # SKIP not on this kernel"
		continue
	fi
	if [ "$memory" = secure ] || [ "$memory" = portable ]; then
		start=("$whole/hardened" "$way")
		for engine in "${engines[@]}"; do
			same cxx "$engine" "$whole/cxx.o"
			same lua "$engine" "$whole/lua.o"
			refused $way "$engine"
		done
		start=()
	fi
done
if [ "$memory" != secure ]; then
	mapfile -t list < <(printf '%s\n' "$whole"/lua/*.bc | sed '2,$s/^/--extra-module=/' | tac)
	for engine in "${engines[@]}"; do
		same lua "$engine" -O1 "${list[@]}"
	done
	same sqlite -O0 "$whole/sqlite.bc"
	same zstd -O1 "$whole/zstd.bc"
fi
echo "1..$nr"
echo "# $((nr - failed - skipped)) passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
