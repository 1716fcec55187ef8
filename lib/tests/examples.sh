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

# It ends by itself, well, and says something.
runs() {
	timeout 60 "$programs/$1" > "$O/lib/example-output"
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
		tap_test "$name" runs "$name"
	fi
done
tap_end
