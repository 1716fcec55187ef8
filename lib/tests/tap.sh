# SPDX-License-Identifier: MIT
# Joins the TAP of several programs into one stream. To be sourced.

tap_nr=0
tap_failed=0
tap_skipped=0
tap_tmp=$(mktemp)
trap 'rm -f "$tap_tmp"' EXIT
echo "TAP version 13"

# tap_ok NAME [SKIP-REASON]
tap_ok() {
	tap_nr=$((tap_nr + 1))
	if [ $# -gt 1 ]; then
		tap_skipped=$((tap_skipped + 1))
		echo "ok $tap_nr $1 # SKIP $2"
	else
		echo "ok $tap_nr $1"
	fi
}

tap_not_ok() {
	tap_nr=$((tap_nr + 1))
	tap_failed=$((tap_failed + 1))
	echo "not ok $tap_nr $1"
}

# As "! X" would not stop what runs with set -e
not() {
	! "$@"
}

# tap_test NAME CMD... : one test, its output shown where it fails
tap_test() {
	local name=$1 status
	shift
	# Not by "if", in which a function goes on after what fails.
	set +e
	(set -e; "$@") > "$tap_tmp" 2>&1
	status=$?
	set -e
	if [ $status = 0 ]; then
		tap_ok "$name"
	else
		sed 's/^/# /' "$tap_tmp"
		tap_not_ok "$name"
	fi
}

# tap_run LABEL CMD... : a program that writes TAP itself
tap_run() {
	local label=$1 status=0 line done=0 plan=-1
	shift
	"$@" > "$tap_tmp" 2>&1 || status=$?
	while IFS= read -r line; do
		case $line in
		"TAP version"*) ;;
		1..*) plan=${line#1..} ;;
		"not ok "*) done=$((done + 1)); tap_not_ok "$label: ${line#not ok * }" ;;
		"ok "*" # SKIP "*)
			done=$((done + 1))
			line=${line#ok * }
			tap_ok "$label: ${line%% # SKIP *}" "${line#* # SKIP }" ;;
		"ok "*) done=$((done + 1)); tap_ok "$label: ${line#ok * }" ;;
		"#"*) echo "$line" ;;
		*) echo "# $line" ;;
		esac
	done < "$tap_tmp"
	if [ "$done" != "$plan" ]; then
		tap_not_ok "$label: ended after $done of $plan tests, status $status"
	elif [ "$status" != 0 ] && ! grep -q '^not ok' "$tap_tmp"; then
		tap_not_ok "$label: exit status $status"
	fi
}

tap_end() {
	echo "1..$tap_nr"
	echo "# $((tap_nr - tap_failed - tap_skipped)) passed, $tap_failed failed, $tap_skipped skipped"
	[ "$tap_failed" = 0 ]
}
