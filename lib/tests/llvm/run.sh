# SPDX-License-Identifier: MIT
# The tests and the examples on the backend that WXPOOL_BACKEND names. To be sourced.

# prints PROGRAM [ARGUMENT]...: what all examples do
prints() {
	LD_LIBRARY_PATH=$O/lib "$@" > "$O/lib/llvm-output"
	grep -x "The answer is 41\." "$O/lib/llvm-output"
}

export WXPOOL_BACKEND
for v in ${versions:-19 22}; do
	if [ ! -e "$O/lib/llvm-$v/test" ]; then
		tap_ok "LLVM $v, $WXPOOL_BACKEND" "not built"
		continue
	fi
	tap_run "LLVM $v, $WXPOOL_BACKEND" env PROGRAMS="$O/lib/llvm-$v" "$O/lib/llvm-$v/test"
	for program in mcjit lljit-epc lljit-layer c-api; do
		tap_test "LLVM $v, $WXPOOL_BACKEND: example $program" \
			prints "$O/examples/llvm-$v/$program"
	done
done
