# SPDX-License-Identifier: MIT
# What tests ask of the probe, after lib/tests/tap.sh. To be sourced.
# shellcheck shell=bash

# Steps of the last probe
steps=$(mktemp)
# shellcheck disable=SC2154 # tap.sh has it
trap 'rm -f "$tap_tmp" "$steps"' EXIT

# shellcheck disable=SC2034 # for who sources this
all_works=(open ok info ok alloc ok protect ok install ok high ok map ok run ok ring ok free ok
	freeze ok library ok)

# gets STEP RESULT [STEP RESULT]...: what the last probe said
gets()
{
	cat "$steps"
	while [ $# -gt 0 ]; do
		grep -qx "$1 $2" "$steps" || { echo "expected: $1 $2"; return 1; }
		shift 2
	done
}
