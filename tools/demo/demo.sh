#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The demonstration: real LLVM programs on sealed code, attempts to change it,
# and everything given back. Runs as root where the module can be loaded (`make
# demo` does that in a guest) on what `make tools` built in $O. Fails if
# anything is not as promised.

set -eu
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
out=${O:-$top/build}
wxlli=$out/wxlli/wxlli
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
refcnt=/sys/module/wxpool/refcnt
wrong=0 loaded=n

die()
{
	echo "demo: $*" >&2
	exit 1
}

step()
{
	printf '\n== %s\n' "$*"
}

bad()
{
	echo "   (!) $*"
	wrong=$((wrong + 1))
}

# Prints the counter NAME of --stats, at exit or when freed.
counter()
{
	sed -n "s/^wxlli: $1: $2 *\([0-9]*\)\$/\1/p" "$tmp/stats"
}

# compare LABEL NATIVE [wxlli option or file]... [-- argument]...
compare()
{
	local label=$1 native=$2 options=() status=0 want=0 left

	shift 2
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	[ $# -eq 0 ] || shift
	"./native/$native" "$@" > "$tmp/native" 2>&1 || want=$?
	"$wxlli" --stats "${options[@]}" "$@" > "$tmp/jit" 2> "$tmp/stats" ||
		status=$?
	printf '   %-28s %4d lines, status %2d  %7d %9d %9d %5d\n' "$label" \
		"$(wc -l < "$tmp/jit")" "$status" "$(counter "at exit" code)" \
		"$(counter "at exit" constants)" "$(counter "at exit" variables)" \
		"$(counter "at exit" pools)"
	[ "$status" -eq "$want" ] || bad "natively its status is $want"
	cmp -s "$tmp/native" "$tmp/jit" ||
		bad "natively its output is: $(diff "$tmp/native" "$tmp/jit" | head -n 3)"
	! grep -v '^wxlli: [a-z ]*: ' "$tmp/stats" || bad "it said the above"
	left=$(($(counter freed pools) + $(counter freed code) + $(counter freed constants) +
		$(counter freed variables) + $(counter freed retired)))
	[ "$left" -eq 0 ] || bad "it left $left pools and bytes"
}

programs()
{
	printf '   %-28s %21s  %7s %9s %9s %5s\n' "" "as native:" code constants \
		variables pools
	compare "recursion" recursion recursion.ll
	compare "varargs and printf" varargs varargs.ll -- "an argument" 2
	compare "function pointers, switches" dispatch dispatch.ll
	compare "floating point" floats floats.ll
	compare "C++ exceptions, constructors" exceptions exceptions.bc
	compare "208 functions" many many.bc
	compare "interpreter with a script" interp interp.ll -- primes.words
	compare "two modules" twomod --extra-module=twomod-other.bc twomod-main.bc
	echo "   (bytes of code, constants and variables; pools)"
}

[ "$(id -u)" -eq 0 ] || die "needs root, to load the module"
[ -x "$wxlli" ] || die "no $wxlli: run make tools"
cd "$out/demo"

step "1. The module, on Linux $(uname -r)"
[ -d /sys/module/wxpool ] || loaded=y
modprobe wxpool || die "the module wxpool cannot be loaded"
echo "   $(stat -c '%A %U:%G %n, device %Hr:%Lr' /dev/wxpool)"
before=$(cat $refcnt)
echo "   module references: $before"

step "2. Programs compiled to LLVM IR, run by wxlli on sealed code"
programs

step "3. What such a program sees of its own memory"
"$wxlli" maps.ll > "$tmp/maps" || bad "something is writable and executable"
sed 's/^/   /' "$tmp/maps"
grep -q '^code .* r-xs .*/dev/wxpool' "$tmp/maps" || bad "the code is not sealed"

step "4. Code that somebody tries to change"
./attack | sed 's/^\(.\)/   \1/'
[ "${PIPESTATUS[0]}" -eq 0 ] || bad "attack found something"

step "5. Everything given back"
after=$(cat $refcnt)
echo "   module references: $after"
[ "$after" = "$before" ] || bad "there were $before"
if [ $loaded = y ]; then
	if rmmod wxpool; then
		echo "   the module is unloaded"
	else
		bad "the module cannot be unloaded"
	fi
fi

echo
[ $wrong -eq 0 ] || die "$wrong things are not as promised: see (!)"
echo "demo: all as promised"
