#!/bin/bash
# SPDX-License-Identifier: MIT
# The examples: built with pkg-config against what "make install" leaves, and run.
# O=BUILD CC=COMPILER lib/tests/examples.sh [PROGRAMS]
# With PROGRAMS, a folder of built ones, it runs those, on the backend that WXPOOL_BACKEND
# names.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
lib=$(dirname "$here")
O=${O:-$lib/../build}
CC=${CC:-cc}
programs=${1:-}
# shellcheck source=lib/tests/tap.sh
. "$here/tap.sh"

export LD_LIBRARY_PATH=$O/lib WXPOOL_BACKEND=${WXPOOL_BACKEND:-portable}

# Into a root of their own, with warnings as errors
root=$O/lib/examples-test

builds() {
	rm -rf "$root"
	make -s -C "$lib" O="$O" DESTDIR="$root/dest" SANITIZE= install
	PKG_CONFIG_SYSROOT_DIR=$root/dest PKG_CONFIG_PATH=$root/dest/usr/local/lib/pkgconfig \
		make -s -C "$lib/../examples" O="$root" CC="$CC" CFLAGS="-O2 -Wall -Wextra -Werror"
}

# runs COMMAND...: it ends by itself, well, and says something.
runs() {
	timeout 60 "$@" > "$O/lib/example-output"
	cat "$O/lib/example-output"
	[ -s "$O/lib/example-output" ]
}

if [ -z "$programs" ]; then
	if ! command -v pkg-config > /dev/null; then
		tap_ok "examples" "pkg-config is not installed"
		tap_end
		exit
	fi
	tap_test "all build with pkg-config" builds
	LD_LIBRARY_PATH=$root/dest/usr/local/lib
	programs=$root/examples
fi
for source in "$lib"/../examples/*.{c,cpp}; do
	name=$(basename "${source%.*}")
	if [[ $name =~ ^(ring|seccomp|asmjit)$ ]] && [ ! -e "$programs/$name" ]; then
		tap_ok "$name" "not built, for want of a library"
	else
		tap_test "$name" runs "$programs/$name"
	fi
done

# ffi INTERPRETER FILE: an example in another language. It calls code that was loaded, and has
# a failed call's words.
ffi() {
	runs "$1" "$lib/../examples/ffi/$2"
	grep -E 'The function at 0x[0-9a-f]+ returns 42\.' "$O/lib/example-output"
	grep -E '^Freed twice: wxp_free: .* pool' "$O/lib/example-output"
}

# unopened INTERPRETER FILE: what is said if the library cannot be opened
unopened() {
	WXPOOL_BACKEND=none runs "$1" "$lib/../examples/ffi/$2" 2> "$O/lib/example-error" && return 1
	cat "$O/lib/example-error"
	grep 'wxp_open: ' "$O/lib/example-error"
}

for pair in "python3 load.py" "luajit load.lua"; do
	interpreter=${pair% *} name=${pair#* }
	if command -v "$interpreter" > /dev/null; then
		tap_test "$name" ffi "$interpreter" "$name"
		tap_test "$name, opened in vain" unopened "$interpreter" "$name"
	else
		tap_ok "$name" "$interpreter is not installed"
	fi
done
tap_end
