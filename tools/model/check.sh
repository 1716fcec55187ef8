#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Checks the model with spin: that the protocol holds in each configuration, that
# states that matter are reached, and that without each step a property fails.
# Prints TAP; works in $O/model. Documentation/model.md explains.
#
# check.sh trail CONFIG FLAG... prints the steps to the first error instead.

set -eu
src=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
out=$(realpath -m "${O:-$src/../../build}")/model
command -v spin > /dev/null || {
	echo "Bail out! no spin; run: tools/bed enter -- tools/model/check.sh"
	exit 1
}

# search DIR OPT CONFIG FLAG...: all states of one model, the result in DIR/log
search()
{
	local dir=$1 opt=$2 config=$3

	shift 3
	rm -rf "$dir"
	mkdir -p "$dir"
	cd "$dir"
	spin "-DCONFIG_$config" "$@" -a "$src/wxpool.pml" > spin.log
	gcc "$opt" -w -DSAFETY -DCOLLAPSE -DNOFAIR -DMEMLIM=1500 -o pan pan.c
	./pan -m1000000 -w22 > log 2>&1
}

if [ "${1:-}" = trail ]; then
	config=$2
	shift 2
	search "$out/trail" -O1 "$config" "$@"
	[ -e wxpool.pml.trail ] || { echo "no error"; exit 0; }
	# Again for a short one.
	./pan -m1000 -i > log 2>&1
	exec spin "-DCONFIG_$config" "$@" -k wxpool.pml.trail -p -g "$src/wxpool.pml"
fi

names=() dirs=() wants=() running=0

# Searches run two at a time; $1 is what is wanted, $2 the name of the test.
start()
{
	local dir=$out/$((${#names[@]} + 1))

	wants+=("$1") names+=("$2") dirs+=("$dir")
	shift 2
	if [ $running -eq "${JOBS:-2}" ]; then
		wait -n || true		# its log tells
	else
		running=$((running + 1))
	fi
	(search "$dir" "$@") > "$dir.err" 2>&1 &
}

holds()
{
	start none "protocol holds: $2" -O1 "$1"
}

# reach CONFIG N NAME
reach()
{
	start "WITNESS" "reached: $3" -O0 "$1" "-DWITNESS=$2"
}

# fails CONFIG FLAG N PROPERTY NAME: with FLAG, and only property N asserted
fails()
{
	start "$4" "without $5: fails ($4)" -O0 "$1" "-D$2" "-DONLY=$3"
}

# What went wrong in the search in $1: none, or the property, or not finished
verdict()
{
	if ! grep -q '^State-vector' "$1/log" 2> /dev/null; then
		echo "no result"
	elif grep -q 'invalid end state (at' "$1/log"; then
		echo deadlock
	elif grep -q 'assertion violated.*!= *[0-9]' "$1/log"; then
		echo WITNESS
	elif grep -q 'assertion violated' "$1/log"; then
		sed -n 's/^pan:1: assertion violated *!(\([A-Z0-9]*\)_.*/\1/p' "$1/log"
	elif grep -qE 'Search not completed|max search depth|out of memory' "$1/log"; then
		echo "not complete"
	else
		echo none
	fi
}

report()
{
	local i got states bad=0

	for ((i = 0; i < ${#names[@]}; i++)); do
		got=$(verdict "${dirs[i]}")
		states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' "${dirs[i]}/log" || true)
		if [ "$got" = "${wants[i]}" ]; then
			echo "ok $((i + 1)) - ${names[i]} ($states states)"
		else
			echo "not ok $((i + 1)) - ${names[i]}: $got; log: ${dirs[i]}/log"
			bad=1
		fi
	done
	echo "1..${#names[@]}"
	return $bad
}

mkdir -p "$out"
holds LINES "lines, fork and free"
holds SEAL "seal against faults, pins and zaps"
holds MPROTECT "seal against mprotect"
holds DOFORK "writable views and fork"
holds FORK "sealed views, fork and free"
holds INSTALL "two threads that install and free"

reach SEAL 1 "sealed in place and run by the owner"
reach SEAL 3 "GUP-fast loses the race and lets go"
reach SEAL 4 "EBUSY, rolled back"
reach MPROTECT 2 "sealed R and read by a peer"
reach FORK 6 "sealed and run by the child"
reach FORK 7 "freed and still run by the child"
reach INSTALL 11 "a page covered in full takes its place"
reach INSTALL 12 "a line is in use, the other dropped"
reach INSTALL 13 "a line is written beside one that runs"
reach LINES 14 "a page is copied for the owner"
reach LINES 10 "the child runs the old page, the owner a new one"

fails SEAL NO_FOLIO_WAIT 3 I3 "the wait for the folio lock, in free"
fails SEAL NO_FOLIO_WAIT 7 B "the wait for the folio lock, in seal"
fails SEAL NO_PIN_CHECK 1 I1 "the pin check"
fails SEAL NO_PIN_CHECK 2 I2 "the pin check"
fails SEAL NO_ROLLBACK 1 I1 "the roll-back after EBUSY"
fails SEAL CHECK_BEFORE_UNMAP 1 I1 "the unmap before the pin check"
fails SEAL NO_UNMAP_IN_SEAL 7 B "the unmap in seal"
fails SEAL UNMAP_FIRST 3 I3 "the wait before the unmap, in free"
fails SEAL UNMAP_FIRST 7 B "the change of state before the unmap, in seal"
fails SEAL NO_UNMAP_IN_FREE 3 I3 "the unmap in free"
fails SEAL NO_ZERO 3 I3 "zeroing before reuse"
fails SEAL NO_OWNER_IN_OPS 5 I5 "the owner check of operations"
fails SEAL MAP_UNDER_LOCK 0 deadlock "unlocking before views are mapped"
fails MPROTECT FAULT_BY_CURRENT_BITS 2 I2 "the MAY-bit rule in fault"
fails MPROTECT NO_CLEAR_MAYEXEC 1 I1 "the loss of VM_MAYEXEC in W views"
fails MPROTECT NO_CLEAR_MAYWRITE 1 I1 "the loss of VM_MAYWRITE in X views"
fails DOFORK NO_OWNER_IN_FAULT 5 I5 "the owner rule in fault"
fails DOFORK NO_UNMAP_IN_FORK 5 I5 "the unmap of W views in fork"
fails FORK NO_KEEP 6 H "keeping pages for heirs"
fails FORK NO_REAP_CHECK 6 H "looking for heirs before kept pages go"
fails INSTALL NO_CLAIM_CHECK 2 I2 "the claim of lines"
fails INSTALL WRITE_BEFORE_CLAIM 4 I4 "all claims before the first write"
fails INSTALL NO_FILL 4 I4 "filling new packed pages"
fails INSTALL NO_CLEAR 3 I3 "clearing freed lines"
fails LINES NO_SPLIT 6 H "the owner's copy of a page with heirs"
wait
report
