#!/bin/bash
# SPDX-License-Identifier: MIT
# Causes of errors, one after the other, and the sentences that the library has for them; on a
# machine whose module may be loaded, as root: O=BUILD lib/tests/words.sh
set -eu

here=$(cd "$(dirname "$0")" && pwd)
O=${O:-$here/../../build}
words=$O/lib/tests/words
# shellcheck source=lib/tests/tap.sh
. "$here/tap.sh"
unset WXPOOL_BACKEND
said=$(mktemp)
trap 'rm -f "$tap_tmp" "$said"' EXIT

# matches PATTERN...: each is in a line of what was said
matches()
{
	local pattern

	cat "$said"
	for pattern in "$@"; do
		grep -q -- "$pattern" "$said" || { echo "not said: $pattern"; return 1; }
	done
}

# says NAME PATTERN... -- COMMAND...
says()
{
	local name=$1 patterns=()

	shift
	while [ "$1" != -- ]; do
		patterns+=("$1")
		shift
	done
	shift
	"$@" > "$said" 2>&1 || true
	if grep -q '^skip ' "$said"; then
		tap_ok "$name" "$(sed -n 's/^skip //p' "$said")"
	else
		tap_test "$name" matches "${patterns[@]}"
	fi
}

kernel()
{
	WXPOOL_BACKEND=kernel "$@"
}

# A mount namespace in which COMMAND can be tried: elsewhere SCRIPT
unshared()
{
	unshare -m bash -euc "$1; \"\$@\"" - "${@:2}"
}

user()
{
	setpriv --reuid 1000 --regid 1000 --clear-groups "$@"
}

says "no module" "^backend portable" "^fallback ENODEV: .*modprobe wxpool" -- "$words"
says "no module, insisting" "^open ENODEV: .*modprobe wxpool" -- kernel "$words"
modprobe wxpool
pkill -f 'mdev -d' || true	# the bed's own
chmod 0660 /dev/wxpool
says "the module" "^backend kernel" -- "$words"
says "no device in a container" "^fallback ENODEV: .*container.*PrivateDevices" -- \
	unshared "mount -t tmpfs none /dev" "$words"
says "/dev is mounted noexec" "^fallback EPERM: .*/dev is mounted noexec" -- \
	unshared "mount --bind /dev /dev; mount -o remount,bind,noexec /dev" "$words"
says "not in the group" "^backend portable" "^fallback EACCES: .*group wxpool" -- user "$words"
says "not in the group, insisting" "^open EACCES: .*group wxpool" -- kernel user "$words"

says "empty environment" "^backend kernel" -- env WXPOOL_BACKEND= "$words"
says "environment chooses" "^backend portable" -- env WXPOOL_BACKEND=portable "$words"
says "wrong environment" "^open EINVAL: .*WXPOOL_BACKEND is kernel, portable, fast or auto" -- \
	env WXPOOL_BACKEND=sealed "$words"
cp "$words" /tmp/words
chmod 4755 /tmp/words
says "a set-uid program asks no environment" "^backend kernel" -- \
	env WXPOOL_BACKEND=portable setpriv --reuid 1000 --regid 1000 --clear-groups /tmp/words
says "nor a wrong one" "^backend kernel" -- \
	env WXPOOL_BACKEND=sealed setpriv --reuid 1000 --regid 1000 --clear-groups /tmp/words

says "MemoryDenyWriteExecute, fast" "^open EPERM: .*executable memory is refused" -- \
	env WXPOOL_BACKEND=fast "$words" mdwe
says "MemoryDenyWriteExecute, kernel" "^backend kernel" -- "$words" mdwe
says "too little address space" "^open ENOMEM: .*ulimit -v" -- kernel "$words" space
says "too many open files" "^open EMFILE: .*ulimit -n" -- kernel "$words" files
says "a hardening without the device" "^open EOPNOTSUPP: .*modprobe wxpool" -- \
	env WXPOOL_BACKEND=portable "$words" mseal

old=$(cat /sys/module/wxpool/parameters/max_bytes_per_context)
echo 65536 > /sys/module/wxpool/parameters/max_bytes_per_context
says "the module's limit" "^limit ENOSPC: .*max_bytes_per_context" -- "$words" limit
echo "$old" > /sys/module/wxpool/parameters/max_bytes_per_context
says "a full window" "^window ENOMEM: .*larger window" -- "$words" window
says "frozen" "^frozen EROFS: .*is frozen" -- "$words" frozen
says "a pool that is not there" "^freed ENOENT: no such pool" -- "$words" freed
says "pool 0" "^zero EINVAL: .*a pool is not 0" -- "$words" zero
says "installed twice" "^twice EEXIST: installed already" -- "$words" twice
says "too many pieces" "^many E2BIG: .*512 pieces" -- "$words" many
says "a source that cannot be read" "^unreadable EFAULT: a source cannot be read" -- \
	"$words" unreadable
says "a descriptor that the program closed" "^closed EBADF: .*closed the context" -- "$words" closed
says "a raw clone" "^cloned EXDEV: .*raw clone" -- "$words" cloned
says "placed before a fork" "^forked ESTALE: lost at a fork" -- "$words" forked
modprobe -r wxpool
tap_end
