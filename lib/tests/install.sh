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
		.$prefix/lib/cmake/wxpool/wxpoolConfig.cmake
		.$prefix/lib/cmake/wxpool/wxpoolConfigVersion.cmake
		.$prefix/lib/libwxpool.a
		.$prefix/lib/libwxpool.so
		.$prefix/lib/libwxpool.so.0
		.$prefix/lib/libwxpool.so.$version
		.$prefix/lib/pkgconfig/libwxpool.pc
	END
}

# Where it goes is nobody else's business who installs from the same build meanwhile.
build_knows_no_place() {
	! grep -rlF --exclude-dir=install-test $prefix "$O/lib"
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

# As C++, too
cxx_example() {
	# shellcheck disable=SC2046
	"$CXX" -x c++ -Wall -Wextra -Werror -o "$B/example-cxx" "$B/example.c" -x none \
		$(pc --cflags --libs)
	WXPOOL_BACKEND=portable LD_LIBRARY_PATH=$libdir "$B/example-cxx" | grep '^42$'
}

# What it needs to be linked with
needs() {
	[ -z "$(pc --print-requires --print-requires-private)" ]
	[ "$(pc --modversion)" = "$version" ]
	readelf -d "$libdir/libwxpool.so" | awk '/NEEDED/ { print $NF }' | diff - <(echo '[libc.so.6]')
}

too_new() {
	pc --exists --print-errors "libwxpool >= $version"
	not pc --exists "libwxpool >= 99"
}

# project NAME LANGUAGE FILE SED-EXPRESSION: the guide's project for a build system, with this
# changed, in folder NAME
project() {
	rm -rf "${B:?}/$1"
	mkdir -p "$B/$1"
	awk -v "fence=\`\`\`$2" '$0 == fence { on = 1; next } /^```$/ { on = 0 } on' \
		"$top/Documentation/library.md" > "$B/guide"
	sed "$4" "$B/guide" > "$B/$1/$3"
	[ -s "$B/guide" ]
	[ -z "$4" ] || not cmp -s "$B/guide" "$B/$1/$3"
	cp "$B/example.c" "$B/$1/program.c"
	cp "$B/example.c" "$B/$1/program.cpp"
}

# runs FOLDER [STATIC]: the program that was built there, with the library that it should have
runs() {
	if [ $# -gt 1 ]; then
		readelf -d "$1/program" > "$B/needed"
		not grep libwxpool "$B/needed"
	else
		readelf -d "$1/program" | grep 'NEEDED.*\[libwxpool.so.0\]'
	fi
	WXPOOL_BACKEND=portable LD_LIBRARY_PATH=$libdir "$1/program" | grep '^42$'
}

# cmake_project NAME SED-EXPRESSION
cmake_project() {
	project "$1" cmake CMakeLists.txt "$2"
	CC=$CC CXX=$CXX CFLAGS='-Wall -Wextra -Werror' \
		cmake -S "$B/$1" -B "$B/$1/build" -DCMAKE_PREFIX_PATH="$dest$prefix"
}

cmake_builds() {
	cmake_project "$1" "$2"
	cmake --build "$B/$1/build"
	runs "$B/$1/build" "${@:3}"
}

# What CMake has said, which it folds where the paths in it would have it
cmake_said() {
	tr -s '\n ' ' ' < "$B/log" > "$B/said"
}

# cmake_takes VERSION|RANGE
cmake_takes() {
	cmake_project cmake-version "s/ 0\.2 / $1 /"
}

# cmake_refuses VERSION|RANGE: it is asked for, and what is installed is not that, and said to be
cmake_refuses() {
	not cmake_takes "$1" > "$B/log" 2>&1
	cmake_said
	grep -E "compatible with requested version (range )?\"$1\"" "$B/said"
	grep "wxpoolConfig.cmake, version: $version" "$B/said"
}

# The library is gone, but not what tells of it.
cmake_misses() {
	mv "$libdir/libwxpool.a" "$libdir/libwxpool.a.away"
	cmake_project cmake-missing "" > "$B/log" 2>&1 && touch "$B/taken"
	mv "$libdir/libwxpool.a.away" "$libdir/libwxpool.a"
	cmake_said
	[ ! -e "$B/taken" ]
	grep "libwxpool.a is missing" "$B/said"
}

# meson_project NAME SED-EXPRESSION
meson_project() {
	project "$1" meson meson.build "$2"
	PKG_CONFIG_SYSROOT_DIR=$dest PKG_CONFIG_PATH=$libdir/pkgconfig \
		CC=$CC CXX=$CXX meson setup --werror "$B/$1/build" "$B/$1"
}

meson_builds() {
	meson_project "$1" "$2"
	meson compile -C "$B/$1/build"
	runs "$B/$1/build" "${@:3}"
}

meson_refuses() {
	not meson_project meson-version "s/>=0\.2/>=$1/" > "$B/said" 2>&1
	grep -E "[Ff]ound .*$version.*'>=$1'|'>=$1'.* found .*$version" "$B/said"
}

# What load.py and load.lua say of the header is what it says.
ffi_agrees() {
	local ffi=$top/examples/ffi

	{
		echo '#include <errno.h>'
		echo '#include <wxpool.h>'
		sed -nE 's/^(local )?((WXP_|E)[A-Z_]+) = ([0-9a-fx]+)$/_Static_assert(\2 == \4, "\2");/p' \
			"$ffi/load.py" "$ffi/load.lua"
		sed -n '/^ffi.cdef/,/^\]\]/p' "$ffi/load.lua" | sed '1d; $d; s/int prot/enum wxp_prot prot/'
	} > "$B/ffi.c"
	[ "$(grep -c _Static_assert "$B/ffi.c")" = 3 ]
	[ "$(grep -c '(' "$B/ffi.c")" -ge 8 ]
	"$CC" -Wall -Wextra -Werror -fsyntax-only -I"$inc" "$B/ffi.c"
}

uninstalls() {
	make -s -C "$lib" O="$O" DESTDIR="$dest" PREFIX=$prefix SANITIZE= uninstall
	[ -z "$(find "$dest" ! -type d)" ]
}

tap_test "installs these files" installs
tap_test "nothing of the place in the build" build_knows_no_place
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
	tap_test "program of the guide, C++" cxx_example
	tap_test "needs nothing but the C library" needs
	tap_test "pkg-config refuses a version too new" too_new
else
	tap_ok "program of the guide" "pkg-config is not installed"
fi
if command -v cmake > /dev/null; then
	tap_test "CMake, as the guide says" cmake_builds cmake ""
	tap_test "CMake, static" cmake_builds cmake-static "s/wxpool::wxpool/&_static/" static
	tap_test "CMake, C++" cmake_builds cmake-cxx "s/program C)/program CXX)/; s/program\.c/&pp/"
	tap_test "CMake, any version" cmake_builds cmake-any "s/ 0\.2 / /"
	tap_test "CMake, this version exactly" cmake_builds cmake-exact "s/ 0\.2 / $version EXACT /"
	for v in 0 0.1...0.9 "0.1...$version" "$version...1" "$version...<$version.1"; do
		tap_test "CMake takes version $v" cmake_takes "$v"
	done
	for v in 0.1 0.3 1 1.0 "$version.1" "0.1...<$version" 0.1...0.1.9 "$version.1...0.9"; do
		tap_test "CMake refuses version $v" cmake_refuses "$v"
	done
	tap_test "CMake says what is missing" cmake_misses
else
	tap_ok "CMake" "cmake is not installed"
fi
if command -v meson > /dev/null && command -v pkg-config > /dev/null; then
	tap_test "Meson, as the guide says" meson_builds meson ""
	tap_test "Meson, static" meson_builds meson-static "s/version:/static: true, &/" static
	tap_test "Meson, C++" meson_builds meson-cxx "s/'c'/'cpp'/; s/program\.c/&pp/"
	tap_test "Meson refuses a version too new" meson_refuses 99
else
	tap_ok "Meson" "meson is not installed"
fi
tap_test "examples/ffi declares what the header does" ffi_agrees
tap_test "uninstalls them" uninstalls
tap_end
