#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Makes the manual pages: those of lib/man/ as they are, and one for each function of the
# comments in the headers, by the kernel's kernel-doc (the one in Perl) and man/page.pl.
#   VERSION=N lib/man.sh FOLDER [KERNEL-DOC]
set -eu

out=$1
here=$(cd "$(dirname "$0")" && pwd)
include=$here/../include

# Debian has it in linux-kbuild-*, others in the kernel's headers.
find_kernel_doc()
{
	for f in /usr/lib/linux-kbuild-*/scripts/kernel-doc /usr/src/*/scripts/kernel-doc \
			"/lib/modules/$(uname -r)/build/scripts/kernel-doc"; do
		if [ -r "$f" ] && head -n 1 "$f" | grep -q perl; then
			echo "$f"
			return
		fi
	done
}

# pages HEADER: a page for each function that it describes
pages()
{
	# A comment of one line is none for kernel-doc.
	sed -E 's|^/\*\* (wxp_[a-z_]+\(\) .*) \*/$|/**\n * \1\n */|' "$include/$1" > "$out/$1"
	# shellcheck disable=SC2046
	perl "$kernel_doc" -man $(sed -nE 's|^ \* (wxp_[a-z_]+)\(\) - .*|-function \1|p' "$out/$1") \
		"$out/$1" 2> "$out/log" | perl "$here/man/page.pl" "$1" "$VERSION" "$out/man3"
	# What one line describes has no arguments described.
	if grep -vE 'not described in|warnings? as|^$|warnings$' "$out/log"; then
		exit 1
	fi
	rm "$out/$1" "$out/log"
}

rm -rf "$out"
mkdir -p "$out/man4" "$out/man7"
cp "$here"/man/*.4 "$out/man4"
cp "$here"/man/*.7 "$out/man7"
kernel_doc=${2:-$(find_kernel_doc)}
# Perl may lack what it uses.
if [ -z "$kernel_doc" ] || ! perl -c "$kernel_doc" > /dev/null 2>&1; then
	echo "no kernel-doc that runs here (Debian: linux-kbuild-6.12 and perl), so no manual" \
		"pages of functions" >&2
	exit 0
fi
mkdir "$out/man3"
pages wxpool.h
pages wxpool-uring.h
pages wxpool-remote.h
