#!/bin/bash
# SPDX-License-Identifier: MIT
#
# bench.sh [-k KERNEL] DIR: measure in guests, and write tables, JSON and plots to
# DIR. The programs and the module have been built into $O; see Makefile and
# Documentation/benchmarks.md.

set -eu
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
bed=$here/../bed
export O=${O:?}
kernel=6.12
while getopts k: o; do
	case $o in
	k) kernel=$OPTARG ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
dir=${1:?"which folder?"}
work=$O/bench

die()
{
	echo "bench: $*" >&2
	exit 1
}

# measure NAME OPTIONS-OF-BED GROUP...: one guest; its lines go to NAME.raw
measure()
{
	local name=$1 options=$2

	shift 2
	printf '  BENCH   %s (kernel %s)\n' "$*" "$kernel"
	# shellcheck disable=SC2086
	"$bed" run -k "$kernel" $options -t 1500 -- "$here/plan.sh" "$@" > "$work/$name.raw"
}

# Says what failed in the guest of that name, and ends.
failed()
{
	grep -v 'wxbench: work=' "$work/$1.raw" | tail -n 5 >&2
	die "the measurement '$1' failed; its output: $work/$1.raw"
}

report()
{
	printf '  REPORT  %s\n' "$dir"
	cat "$work"/*.raw > "$work/raw"
	"$bed" enter -- awk -v dir="$work" -f "$here/report.awk" "$work/raw" > "$work/table.txt" ||
		{ cat "$work/table.txt"; die "the report is incomplete"; }
	"$bed" enter -- gnuplot -e "dir='$work'; kernel='$kernel'" "$here/plots.gp"
	mkdir -p "$dir"
	cp "$work"/table.txt "$work"/*.json "$work"/*.svg "$work"/*.png "$dir"
	cat "$work/table.txt"
}

rm -rf "$work"
mkdir -p "$work"
# A guest that counts instructions is one thread of the machine, and does not
# mind what runs beside it: so two at a time.
measure scale "-i -m 2560" scale &
other=$!
measure instructions "-i -m 1536" instructions churn free || failed instructions
measure llvm "-i -m 2560" llvm || failed llvm
measure events "-c 4 -m 1024" events || failed events
wait $other || failed scale
report
