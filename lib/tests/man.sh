#!/bin/bash
# SPDX-License-Identifier: MIT
# The manual pages: that they are complete, and that man has nothing to say against them.
# O=BUILD lib/tests/man.sh
set -eu

here=$(cd "$(dirname "$0")" && pwd)
lib=$(dirname "$here")
top=$(dirname "$lib")
O=${O:-$top/build}
man=$O/lib/man
# shellcheck source=lib/tests/tap.sh
. "$here/tap.sh"

builds() {
	make -s -C "$lib" O="$O" SANITIZE= man && [ -e "$man/man7/libwxpool.7" ]
}

# plain PAGE : as it is read, without words that are cut
plain() {
	MANWIDTH=80 man --no-hyphenation --warnings -l "$1"
}

# No warning, and what has to be in it is.
page() {
	local file=$1

	plain "$file" 2> "$man/warnings" > "$man/text"
	if [ -s "$man/warnings" ]; then
		cat "$man/warnings"
		return 1
	fi
	grep -q '^NAME' "$man/text" && grep -q '^SYNOPSIS' "$man/text" &&
		grep -q '^SEE ALSO' "$man/text" && ! grep -n 'undescribed' "$file"
}

every_page() {
	local file

	for file in "$man"/man?/*; do
		page "$file" || { echo "$file"; return 1; }
	done
}

# Each function that the library exports has a page, and each page's is exported or inline.
every_function() {
	sed -n 's/^[[:space:]]*\(wxp_[a-z_]*\);$/\1.3/p' "$lib/libwxpool.map" > "$man/names"
	sed -n 's/^static inline [a-z]* \(wxp_[a-z_]*\)(.*/\1.3/p' "$top/include/wxpool-uring.h" \
		>> "$man/names"
	sort -o "$man/names" "$man/names"
	(cd "$man/man3" && printf '%s\n' *) | sort | diff "$man/names" -
}

# The constants, structures and members of wxpool.h are in libwxpool(7).
every_name() {
	local missing=0 name

	for name in $(grep -oE '\bWXP_[A-Z_]+\b' "$top/include/wxpool.h" | sort -u) \
			$(grep -oE '^struct wxp_[a-z]+' "$top/include/wxpool.h" | cut -d ' ' -f 2) \
			$(sed -nE 's/^ \* @([a-z_]+):.*/\1/p' "$top/include/wxpool.h" | sort -u); do
		case $name in
		WXP_MUST_CHECK | wxp | opts | nr | reqs | spans | span | pieces | pool | result | \
			stats | op | err | parts | mem) continue ;;
		esac
		grep -q "\<$name\>" "$man/text" || { echo "missing: $name"; missing=1; }
	done
	return $missing
}

every_reference() {
	local name missing=0

	for name in $(grep -ohE 'wxp_[a-z_]+ ?\(3\)|(lib)?wxpool ?\([47]\)' "$man"/man?/* | tr -d ' ' | \
			sort -u); do
		name=${name%)}
		[ -e "$man/man${name#*(}/${name%(*}.${name#*(}" ] || { echo "$name)"; missing=1; }
	done
	return $missing
}

spelling() {
	local file

	rm -rf "$man/spelling"
	mkdir "$man/spelling"
	for file in "$man"/man?/*; do
		plain "$file" > "$man/spelling/$(basename "$file").txt"
	done
	codespell "$man/spelling" "$top/README.md" "$top/Documentation" "$top/examples" \
		"$top/include"
}

overview() {
	plain "$man/man7/libwxpool.7" > "$man/text"
}

tap_test "pages are made" builds
if ! command -v man > /dev/null; then
	tap_ok "pages" "man-db is not installed"
	tap_end
	exit
fi
tap_test "no page has warnings" every_page
if [ -e "$man/man3" ]; then
	tap_test "every function has a page" every_function
	tap_test "every page that is named is there" every_reference
else
	tap_ok "every function has a page" "kernel-doc is not installed"
fi
overview
tap_test "every name of wxpool.h is in libwxpool(7)" every_name
if command -v codespell > /dev/null; then
	tap_test "spelling" spelling
else
	tap_ok "spelling" "codespell is not installed"
fi
tap_end
