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
	./pan -m1000000 -w23 > log 2>&1
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
holds LINES "packed pages, heirs, FREE and REVOKE"
holds FORK "pages of ALLOC, heirs, FREE and REVOKE"
holds INSTALL "two threads that install and free"
holds VECTOR "PROTECT of two pages against faults and pins"
holds SEAL "PROTECT against faults, pins and zaps"
holds MPROTECT "PROTECT against mprotect"
holds XO "pages that are execute only"
holds DOFORK "writable views and fork"

reach SEAL 1 "sealed in place and run by the owner"
reach SEAL 4 "GUP-fast loses the race and lets go"
reach SEAL 5 "EBUSY, rolled back"
reach VECTOR 21 "ALLOC of two pages gets one, and fails"
reach VECTOR 16 "EBUSY for the second page, the first rolled back"
reach VECTOR 17 "EPERM for the second page, the first rolled back"
reach MPROTECT 2 "sealed R and read by a guest"
reach XO 3 "execute only, and run by a guest"
reach FORK 6 "sealed and run by the child"
reach FORK 7 "freed and still run by the child"
reach FORK 8 "newer heirs end, older ones did not inherit the page"
reach FORK 9 "newer heirs end, older ones keep the page"
reach INSTALL 11 "a page filled before takes its place"
reach INSTALL 12 "a line is in use, the other dropped"
reach INSTALL 13 "a line is written beside one that runs"
reach INSTALL 14 "a page was made for a call that fails"
reach INSTALL 15 "lines are installed in an idle block"
reach INSTALL 18 "a call fails in an idle block, which stays"
reach LINES 7 "a page only for heirs is run by the child"
reach LINES 9 "newer heirs end, older ones keep the lines"
reach LINES 10 "the owner sees kept lines beside live ones"
reach LINES 19 "heirs end, their lines become traps beside live ones"
reach LINES 20 "heirs end, others show what these kept"
reach LINES 21 "lines are installed in a page that was hidden"

fails SEAL NO_FOLIO_WAIT 3 I3 "the wait for the folio lock, in FREE"
fails SEAL NO_FOLIO_WAIT 7 B "the wait for the folio lock, in PROTECT"
fails SEAL NO_PIN_CHECK 1 I1 "the pin check"
fails SEAL NO_PIN_CHECK 2 I2 "the pin check"
fails SEAL NO_REOPEN 1 I1 "the roll-back after EBUSY"
fails SEAL CHECK_BEFORE_UNMAP 1 I1 "the unmap before the pin check"
fails SEAL NO_UNMAP_IN_SEAL 7 B "the unmap in PROTECT"
fails SEAL UNMAP_FIRST 3 I3 "the wait before the unmap, in FREE"
fails SEAL UNMAP_FIRST 7 B "the change of state before the unmap, in PROTECT"
fails SEAL NO_UNMAP_IN_FREE 3 I3 "the unmap in FREE"
fails SEAL NO_ZERO 3 I3 "zeroing before reuse"
fails SEAL NO_OWNER_IN_OPS 5 I5 "the owner check of operations"
fails VECTOR NO_CHECK_OF_OTHERS 1 I1 "the pin check of all pages"
fails VECTOR NO_REOPEN_OF_OTHERS 9 A "the roll-back of pages that nobody pinned"
fails MPROTECT FAULT_BY_CURRENT_BITS 2 I2 "the MAY-bit rule in fault"
fails MPROTECT NO_OPEN_CHECK 2 I2 "asking if the page is OPEN"
fails MPROTECT NO_CLEAR_MAYEXEC 1 I1 "the loss of VM_MAYEXEC in W views"
fails MPROTECT NO_CLEAR_MAYWRITE 1 I1 "the loss of VM_MAYWRITE in X views"
fails XO FAULT_BY_CURRENT_BITS 8 E "the MAY-bit rule in fault"
fails XO NO_READ_IN_FAULT 8 E "the refusal of XO pages to X views"
fails DOFORK NO_VOID 5 I5 "the end of W views in fork"
fails DOFORK NO_UNMAP_IN_FORK 5 I5 "the unmap of W views in fork"
fails FORK NO_KEEP 6 H "keeping pages for heirs"
fails FORK NO_BORN_IN_FREE 10 K "asking if heirs inherited it, in FREE"
fails FORK NO_HIDE 3 I3 "hiding kept pages"
fails FORK NO_UNMAP_IN_FREE 3 I3 "the unmap of hidden pages"
fails FORK NO_BORN_IN_FAULT 3 I3 "asking if heirs inherited it, in fault"
fails FORK NO_ENDED_IN_FAULT 3 I3 "asking if heirs came too late, in fault"
fails FORK KEEP_BY_OLDEST 6 H "keeping it by the newest heirs"
fails FORK NO_MOVE 6 H "what ends with its heirs going to older ones"
fails FORK NO_BORN_IN_MOVE 10 K "asking if the older ones inherited it"
fails FORK NO_REAP 10 K "what heirs kept going away with them"
fails FORK NO_OPEN_COUNT 11 U "the count in heirs' ->open"
fails FORK NO_CLOSE_COUNT 12 C "the count in ->close"
fails FORK NO_DONTEXPAND 10 K "keeping heirs' views apart"
fails FORK NO_MM_RULE 3 I3 "telling a fork by the view's mm"
fails FORK NO_MM_HOLD 6 H "the hold of the child's mm, heirs alive"
fails FORK NO_MM_HOLD 11 U "the hold of the child's mm, heirs gone"
fails FORK NO_REVOKE 3 I3 "taking pages from heirs in REVOKE"
fails FORK NO_UNHANG 11 U "REVOKE taking what is kept from heirs' lists"
fails INSTALL NO_CLAIM_CHECK 2 I2 "the claim of lines"
fails INSTALL WRITE_BEFORE_CLAIM 9 A "all claims before the first write"
fails INSTALL WRITE_BEFORE_STAGED 9 A "all bytes before the first write"
fails INSTALL NO_ABSENT_CHECK 9 A "asking with the lock if a page is absent"
fails INSTALL NO_DROP 9 A "dropping claims of a call that fails"
fails INSTALL NO_UNMAKE 9 A "taking out pages made for a call that fails"
fails INSTALL NO_REVIVED 9 A "leaving an idle block idle in a call that fails"
fails INSTALL NO_LOCK_IN_FAULT 9 A "the lock in fault"
fails INSTALL NO_FILL 4 I4 "filling new packed pages"
fails INSTALL NO_CLEAR 3 I3 "clearing freed lines"
fails INSTALL NO_CLEAR_OF_IDLE 3 I3 "clearing a block that stays idle"
fails INSTALL NO_FOLIO_WAIT 3 I3 "the wait for the folio lock, of packed pages"
fails INSTALL NO_UNMAP_IN_DROP_BLOCK 3 I3 "the unmap of an idle block that goes"
fails LINES COPY_UNDER_LOCK 0 deadlock "copying from the user before the lock"
fails LINES NO_KEEP 6 H "keeping lines for heirs"
fails LINES NO_HELD 6 H "kept lines not being free"
fails LINES NO_HELD_COUNT 6 H "the count of kept lines"
fails LINES NO_HIDE 3 I3 "hiding pages without a live line"
fails LINES NO_SHOW 3 I3 "showing them again with a new line"
fails LINES NO_CLEAR_IN_REAP 3 I3 "traps where heirs kept lines"
fails LINES NO_UNMAP_IN_REAP 3 I3 "the unmap when heirs end"
fails LINES NO_CLOSE_COUNT 10 K "the count in ->close"
fails LINES NO_MOVE 6 H "lines of ended heirs going to older ones"
fails LINES NO_REVOKE 3 I3 "taking lines from heirs in REVOKE"
fails LINES NO_UNMAP_IN_REVOKE 3 I3 "the unmap in REVOKE"
wait
report
