#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Tests wxfuzz in a guest, as root: that it finds what the model is told wrong,
# shrinks it, and does the same for the same seed. Prints TAP.

set -u
fuzz=${O:?}/wxfuzz/wxfuzz
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
nr=0 failed=0

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
	! "$@" > "$tmp/out" 2> "$tmp/err" && [ "$(wc -l < "$tmp/err")" -ge 1 ]
}

same()
{
	"$fuzz" --seed "$1" --ops 2000 --threads 0 > "$tmp/a" &&
	"$fuzz" --seed "$1" --ops 2000 --threads 0 > "$tmp/b" &&
	cmp "$tmp/a" "$tmp/b"
}

differs()
{
	! cmp -s "$tmp/a" <("$fuzz" --seed "$1" --ops 2000 --threads 0)
}

# lie SEED [OPTION]...: it is found, and what is printed has few operations.
lie()
{
	local n

	! "$fuzz" --seed "$1" --ops 1000 --lie 300 "${@:2}" > "$tmp/lie" ||
		return 1
	cat "$tmp/lie"
	n=$(sed -n 's/^# ---- reproducer of \([0-9]*\) operations/\1/p' "$tmp/lie")
	[ -n "$n" ] && [ "$n" -le 12 ] && grep -q 'told something wrong' "$tmp/lie"
}

# What must have come of operations, by their kinds
all_outcomes="
info ok E2BIG EFAULT EINVAL ENOTTY ESTALE
alloc ok E2BIG EBADF EEXIST EFAULT EINVAL ENOSPC ENOTTY EOVERFLOW EROFS ESTALE EXDEV
protect ok E2BIG EBADF EBUSY EFAULT EHWPOISON EINVAL ENOENT ENOTTY EOVERFLOW EPERM EROFS
protect ESTALE EXDEV
free ok E2BIG EBADF EFAULT EINVAL ENOENT ENOTTY ESTALE EXDEV
install ok E2BIG EBADF EEXIST EFAULT EHWPOISON EINVAL ENOSPC ENOTTY EOVERFLOW EROFS
install ESTALE EXDEV
freeze ok EINVAL
mmap ok EACCES EXDEV
mprotect ok EACCES ENOMEM
mremap ok EFAULT EINVAL
mlock ok ENOMEM
store ok EFAULT
kwrite ok EFAULT EIO
kread ok EFAULT EIO
pin ok EFAULT
fork ok
exit ok
exec ok
pass ok
"

# outcomes SEED: all that can come of an operation does, and all that is rare happens,
# but for idle blocks that go by themselves: that needs a limit of the right size.
outcomes()
{
	local kind list err missing='' rare

	"$fuzz" --seed "$1" --ops 20000 --threads 0 > "$tmp/all" || return 1
	while read -r kind list; do
		for err in $list; do
			grep -qE "^# $kind +[0-9]+:.* $err [1-9]" "$tmp/all" ||
				missing+=" $kind:$err"
		done
	done <<< "$all_outcomes"
	rare=$(grep '^# [a-z -]* 0$' "$tmp/all" | grep -v 'gone otherwise')
	echo "never:$missing $rare"
	[ -z "$missing$rare" ]
}

echo "TAP version 13"
check "modprobe wxpool" modprobe wxpool
check "an unknown option is refused" refused "$fuzz" --nothing
check "a bad number is refused" refused "$fuzz" --seed 1x
check "to look at none in 0 is refused" refused "$fuzz" --look 0
check "one seed does the same twice" same 7
check "another seed does not" differs 8
check "all outcomes are met" outcomes 7
for seed in 1 2 3 4; do
	check "a lie is found and shrunk, seed $seed" lie $seed
done
check "a lie is found at the end, if nothing is tried before" lie 5 --look 4096
echo "1..$nr"
[ "$failed" -eq 0 ]
