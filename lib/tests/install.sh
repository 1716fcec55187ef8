#!/bin/bash
# SPDX-License-Identifier: MIT
# What "make install" leaves: headers that compile alone, the exports of the
# symbol map, and a place where programs build with pkg-config.
# O=BUILD CC=COMPILER CXX=COMPILER lib/tests/install.sh
set -eu

here=$(cd "$(dirname "$0")" && pwd)
lib=$(dirname "$here")
top=$(dirname "$lib")
O=${O:-$top/build}
CC=${CC:-cc}
CXX=${CXX:-c++}
B=$O/lib/install-test
# shellcheck source=lib/tests/tap.sh
. "$here/tap.sh"

rm -rf "$B"
mkdir -p "$B"
dest=$B/root
prefix=/opt/wx
inc=$dest$prefix/include
libdir=$dest$prefix/lib
version=$(cat "$lib/../VERSION")

installs() {
	make -s -C "$lib" O="$O" DESTDIR="$dest" PREFIX=$prefix SANITIZE= install
	(cd "$dest" && find . -path '*/man/man?' -prune -o ! -type d -print | sort) > "$B/files"
	diff - "$B/files" <<-END
		.$prefix/include/linux/wxpool.h
		.$prefix/include/wxpool-remote.h
		.$prefix/include/wxpool-uring.h
		.$prefix/include/wxpool.h
		.$prefix/include/wxpool/llvm-c.cpp
		.$prefix/include/wxpool/llvm-c.h
		.$prefix/include/wxpool/llvm-common.hpp
		.$prefix/include/wxpool/llvm-executor.cpp
		.$prefix/include/wxpool/llvm-executor.hpp
		.$prefix/include/wxpool/llvm-remote.hpp
		.$prefix/include/wxpool/llvm.hpp
		.$prefix/lib/libwxpool.a
		.$prefix/lib/libwxpool.so
		.$prefix/lib/libwxpool.so.0
		.$prefix/lib/libwxpool.so.$version
		.$prefix/lib/pkgconfig/libwxpool.pc
	END
}

# compiles COMPILER-AND-OPTIONS... -- HEADER : nothing else is included before it
compiles() {
	local header=${*: -1}
	printf '#include <%s>\n#include <%s>\n' "$header" "$header" |
		"${@:1:$#-2}" -Wall -Wextra -Werror -pedantic -fsyntax-only -I"$inc" -
}

# Names after "global:" in the symbol map
map_names() {
	sed -n '/global:/,/local:/s/^[[:space:]]*\(wxp_[a-z_]*\);$/\1/p' "$lib/libwxpool.map" | sort
}

exports() {
	nm -D --defined-only "$libdir/libwxpool.so.$version" | awk '$2 == "T" { print $3 }' | sort > "$B/exports"
	map_names | sed 's/$/@@LIBWXPOOL_0.2/' | diff - "$B/exports"
	! nm -D --defined-only "$libdir/libwxpool.so.$version" | grep -v ' [TA] '
}

static_exports() {
	nm -g --defined-only "$libdir/libwxpool.a" | awk 'NF == 3 { print $3 }' | sort > "$B/static"
	map_names | diff - "$B/static"
}

# Every exported function is declared in a header, and the other way round.
header_matches() {
	grep -h '^[a-z]' "$inc/wxpool.h" "$inc/wxpool-remote.h" | grep -o 'wxp_[a-z_]*(' | tr -d '(' | sort > "$B/declared"
	map_names | diff - "$B/declared"
}

soname() {
	readelf -d "$libdir/libwxpool.so" | grep -q 'SONAME.*\[libwxpool.so.0\]'
}

# The first C program of the guide
example() {
	awk '/^```c$/ { on = 1; next } /^```$/ { on = 0 } on' "$top/Documentation/library.md" > "$B/example.c"
	grep -q 'int main' "$B/example.c"
}

pc() {
	PKG_CONFIG_SYSROOT_DIR=$dest PKG_CONFIG_PATH=$libdir/pkgconfig pkg-config "$@" libwxpool
}

shared_example() {
	# shellcheck disable=SC2046
	"$CC" -Wall -Wextra -Werror -o "$B/example" "$B/example.c" $(pc --cflags --libs)
	readelf -d "$B/example" | grep -q 'NEEDED.*libwxpool.so.0'
	WXPOOL_BACKEND=portable LD_LIBRARY_PATH=$libdir "$B/example" | grep '^42$'
}

static_example() {
	# shellcheck disable=SC2046
	"$CC" -Wall -Wextra -Werror -static -o "$B/example-static" "$B/example.c" \
		$(pc --static --cflags --libs)
	WXPOOL_BACKEND=fast "$B/example-static" | grep '^42$'
}

# What it needs to be linked with
needs() {
	[ -z "$(pc --print-requires --print-requires-private)" ]
	[ "$(pc --modversion)" = "$version" ]
	readelf -d "$libdir/libwxpool.so" | awk '/NEEDED/ { print $NF }' | diff - <(echo '[libc.so.6]')
}

uninstalls() {
	make -s -C "$lib" O="$O" DESTDIR="$dest" PREFIX=$prefix SANITIZE= uninstall
	[ -z "$(find "$dest" ! -type d)" ]
}

tap_test "installs these files" installs
tap_test "wxpool.h is C11" compiles "$CC" -std=c11 -x c -- wxpool.h
tap_test "wxpool.h is C++11" compiles "$CXX" -std=c++11 -x c++ -- wxpool.h
tap_test "wxpool.h is C++20" compiles "$CXX" -std=c++20 -x c++ -- wxpool.h
tap_test "linux/wxpool.h is C11" compiles "$CC" -std=c11 -x c -- linux/wxpool.h
tap_test "linux/wxpool.h is C++11" compiles "$CXX" -std=c++11 -x c++ -- linux/wxpool.h
tap_test "wxpool-remote.h is C11" compiles "$CC" -std=c11 -x c -- wxpool-remote.h
tap_test "wxpool-remote.h is C++11" compiles "$CXX" -std=c++11 -x c++ -- wxpool-remote.h
tap_test "wxpool-uring.h is C11" compiles "$CC" -std=gnu11 -x c -- wxpool-uring.h
tap_test "wxpool-uring.h is C++11" compiles "$CXX" -std=gnu++11 -x c++ -- wxpool-uring.h
tap_test "wxpool-uring.h is C++20" compiles "$CXX" -std=c++20 -x c++ -- wxpool-uring.h
tap_test "shared library exports the map" exports
tap_test "static library exports the map" static_exports
tap_test "header declares the map" header_matches
tap_test "soname" soname
tap_test "guide has a program" example
if command -v pkg-config > /dev/null; then
	tap_test "program of the guide, shared" shared_example
	tap_test "program of the guide, static" static_example
	tap_test "needs nothing but the C library" needs
else
	tap_ok "program of the guide" "pkg-config is not installed"
fi
tap_test "uninstalls them" uninstalls
tap_end
