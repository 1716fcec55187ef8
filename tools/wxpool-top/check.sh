#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Tests of what can be seen in production, as TAP, as root, in a guest: wxpool-top, totals per
# user, fdinfo, and trace events with the scripts of examples/trace. All commands of
# Documentation/observing.md are run as they are printed there. Needs what
# `make -C tools/wxpool-top check` built in $O.

set -eu
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
built=$(realpath "${O:-$top/build}")/wxpool-top
page=$top/Documentation/observing.md
# shellcheck source=lib/tests/tap.sh
. "$top/lib/tests/tap.sh"
work=$(mktemp -d)
trap 'rm -rf "$work" "$tap_tmp"' EXIT
chmod 755 "$work"
cd "$work"
ln -s "$top/examples" .
mkdir bin
PATH=$work/bin:$PATH
cp "$built/wxpool-top" bin
nobody=(setpriv --reuid=65534 --clear-groups)

# printed PATTERN: the commands of the page that match
printed()
{
	sed -n '/^```/,/^```/d; s/^    //p' "$page" | grep -e "$1"
}

# says STATUS PATTERN COMMAND...: it ends so, and says that in one line on stderr
says()
{
	local status=0

	"${@:3}" > out 2> err || status=$?
	cat out err
	[ "$status" -eq "$1" ] && [ ! -s out ] && grep -q "$2" err && [ "$(wc -l < err)" -eq 1 ]
}

# ---- wxpool-top

no_module()
{
	says 1 '^wxpool-top: the module wxpool is not loaded' wxpool-top
}

no_proc()
{
	says 1 '^wxpool-top: there are no processes in /proc: is it mounted?' \
		unshare -m sh -c 'mount -t tmpfs none /proc && exec wxpool-top'
}

usage()
{
	wxpool-top --help | grep -e '--json'
	wxpool-top --version | grep -Fx "wxpool-top $(cat "$top/VERSION")"
	says 2 "unrecognized option '--nonsense'" wxpool-top --nonsense
	says 1 "what is 'this' for" wxpool-top this
	says 1 '^wxpool-top: cannot write' sh -c 'wxpool-top > /dev/full'
}

manual()
{
	MANWIDTH=80 man --no-hyphenation --warnings -l "$top/tools/wxpool-top/wxpool-top.1" \
		> manual 2> warnings
	cat warnings
	[ ! -s warnings ] && grep '^EXIT STATUS' manual
	codespell manual
}

# hold WHAT: holds contexts until fd 7 is closed; sets $parent and $child.
hold()
{
	rm -f held pids
	mkfifo held pids
	"${nobody[@]}" "$built/load" "$1" < held > pids &
	exec 7> held
	read -r parent child < pids
	[ -n "$child" ]
}

# fdinfo of all contexts of a process, each once
contexts_of()
{
	grep -lr '^wxpool-context' "/proc/$1/fdinfo" | xargs cat
}

charged()
{
	awk '/^wxpool-context/ { id = $2 } /^wxpool-charged/ { bytes[id] = $2 }
		END { for (id in bytes) sum += bytes[id]; print sum }' \
		<(contexts_of "$parent") <(contexts_of "$child")
}

# listed COMMAND...: who holds which pages, without ids of contexts and bytes, in any order
listed()
{
	"$@" > list
	cat list
	awk '$1 ~ /^[0-9]+$/ { $3 = $7 = $8 = ""; print }' list | tr -s ' ' | sort > rows
	sort > want <<-END
		$parent 65534 1 4 0 a "b\\c"
		$parent 65534 1 3 5 a "b\\c"
		$child 65534 1 3 5 child?
		$child 65534 1 0 1 child? (frozen)
	END
	diff want rows
	grep -x "contexts: 3, bytes: $(charged)" list
}

all_rows()
{
	listed bash -c "$(printed '^wxpool-top$')"
	grep -x "of all users: contexts: 3, bytes: $(charged)" list
	[ "$(grep -c 'not looked at' list)" -eq 0 ]
}

# in_order NR: it is so, of so many contexts.
in_order()
{
	awk '$1 ~ /^[0-9]+$/ { print $7, $3 }' list > bytes
	sort -s -c -k 1,1nr bytes
	# Who shares a context side by side: as many changes of it as contexts
	[ "$(cut -d ' ' -f 2 bytes | uniq | wc -l)" -eq "$1" ]
}

without_root()
{
	listed "${nobody[@]}" wxpool-top
	[ "$(grep -c 'of all users' list)" -eq 0 ]
	grep -E '^not looked at: [1-9][0-9]* processes, for which CAP_SYS_PTRACE is needed$' list
	setpriv --reuid=65533 --clear-groups wxpool-top > other
	cat other
	grep -x 'contexts: 0, bytes: 0' other
}

# It may list the descriptors of others, but not look at them.
without_ptrace()
{
	setpriv --bounding-set -sys_ptrace --inh-caps -sys_ptrace wxpool-top > list
	cat list
	grep -x "contexts: 0, bytes: 0" list
	grep -E '^not looked at: ([2-9]|[1-9][0-9]+) processes, ' list
}

# Of no other descriptor a file system is asked, which may not answer: five are of the device.
asks_of_no_other()
{
	strace -o calls -e %%stat wxpool-top
	grep '"fd/' calls
	[ "$(grep '"fd/' calls | grep -c 'AT_STATX_DONT_SYNC.*S_IFCHR')" -eq 5 ]
	[ "$(grep -c '"fd/' calls)" -eq 5 ]
}

json()
{
	bash -c "$(printed '^wxpool-top --json$')" > json
	cat json
	python3 - "$parent" "$child" "$(charged)" <<-'END'
		import json, re, sys
		parent, child, charged = map(int, sys.argv[1:])
		top = json.load(open("json"))
		assert top["contexts"] == top["all_contexts"] == 3, "contexts"
		assert top["charged"] == top["all_charged"] == charged, "charged"
		assert top["hidden_processes"] == 0, "hidden"
		held = sorted((h["pid"], h["uid"], h["command"], h["frozen"], h["open"], h["exec"],
			       h["read"]) for h in top["holders"])
		assert held == sorted([
		    (parent, 65534, 'a "b\\c"', False, 4, 0, 0),
		    (parent, 65534, 'a "b\\c"', False, 3, 5, 0),
		    (child, 65534, "child\n", False, 3, 5, 0),
		    (child, 65534, "child\n", True, 0, 0, 1)]), held
		keys = {"pid", "uid", "command", "frozen"}
		for line in open("keys"):
		    keys.add(re.sub("^wxpool-", "", line.strip()).replace("-", "_"))
		assert all(set(h) == keys for h in top["holders"]), keys
	END
}

# Each context has one line for each process, in its place, and counts once.
many()
{
	hold many
	wxpool-top > list
	cat list
	awk '$1 ~ /^[0-9]+$/ { print $1, $4 }' list | sort | uniq -c | tr -s ' ' > rows
	printf ' 200 %s 1\n' "$parent" "$child" | sort -k 2,2 | diff - rows
	in_order 200
	grep -x "contexts: 200, bytes: $(charged)" list
	exec 7>&-
	wait
}

# What only a thread has, be it that the main one ended
threads()
{
	hold threads
	wxpool-top > list
	cat list
	awk '$1 ~ /^[0-9]+$/ { print $1, $4, $5 }' list | sort > rows
	printf '%s 1 %d\n' "$parent" 2 "$child" 3 | sort | diff - rows
	exec 7>&-
	wait
}

nobody_holds()
{
	wxpool-top > list
	cat list
	[ "$(wc -l < list)" -eq 3 ]
	grep -x 'contexts: 0, bytes: 0' list
	wxpool-top --json | python3 -c 'import json, sys; assert json.load(sys.stdin)["holders"] == []'
}

# ---- fdinfo and users

# The keys that device.md explains are those that are printed, in their order.
keys()
{
	sed -n 's/^| `\(wxpool-[a-z-]*\)` |.*/\1/p' "$top/Documentation/device.md" > keys
	[ -s keys ]
	contexts_of "$child" | sed -n '/^wxpool-limit/q; s/:.*//p' | grep '^wxpool-' > told
	echo wxpool-limit >> told
	diff keys told
}

users()
{
	bash -c "$(printed 'users$')" > users
	cat users
	head -n 1 users | tr '\t' '\n' > columns
	sed -n 's/^| `\(uid\|contexts\|charged\|limit\)` |.*/\1/p' "$page" | diff - columns
	tail -n +2 users | grep -Px "65534\t3\t$(charged)\t$(cat \
		/sys/module/wxpool/parameters/max_bytes_per_user)"
}

# Not even if the folder can be reached
users_is_roots()
{
	mount -o remount,mode=755 /sys/kernel/debug
	[ -z "$("${nobody[@]}" cat /sys/kernel/debug/wxpool/users)" ]
	"${nobody[@]}" ls /sys/kernel/debug/wxpool/users
	mount -o remount,mode=700 /sys/kernel/debug
}

# As with Secure Boot. There is no way back.
locked_down()
{
	mountpoint -q /sys/kernel/security || mount -t securityfs none /sys/kernel/security
	echo integrity > /sys/kernel/security/lockdown
	[ "$(wc -l < /sys/kernel/debug/wxpool/users)" -eq 1 ]
	wxpool-top
}

unload()
{
	rmmod wxpool
	[ ! -e /sys/kernel/debug/wxpool ] && [ ! -e /sys/kernel/tracing/events/wxpool ]
}

# ---- events

by_kernel()
{
	bash -c "$(printed 'echo 1 >')"
	"$built/load" work &
	wait $!
	bash -c "$(printed 'tracing/trace$')" > trace
	bash -c "$(printed 'echo 0 >')"
	sed -n "s/^ *load-$! .*: \(wxpool_[a-z]*: \)context=[0-9]* /\1/p" trace |
		sed 's/charged=.*/charged=/' > told
	cat trace
	diff - told <<-END
		wxpool_alloc: pool=1 ranges=1 bytes=32768
		wxpool_protect: pool=1 ranges=1 bytes=12288 exec=12288
		wxpool_protect: pool=1 ranges=1 bytes=4096 exec=0
		wxpool_install: pool=2 ranges=1 bytes=128 exec=128
		wxpool_install: pool=3 ranges=1 bytes=128 exec=128
		wxpool_install: pool=4 ranges=1 bytes=128 exec=128
		wxpool_install: pool=5 ranges=1 bytes=128 exec=128
		wxpool_install: pool=2 ranges=1 bytes=64 exec=0
		wxpool_refuse: op=FREE error=ENOENT
		wxpool_refuse: op=FREE error=ENOENT
		wxpool_refuse: op=INSTALL error=EEXIST
		wxpool_refuse: op=MMAP error=EACCES
		wxpool_refuse: op=none error=ENOTTY
		wxpool_refuse: op=none error=ENOTTY
		wxpool_limit: uid=0 of=context charged=
		wxpool_refuse: op=ALLOC error=ENOSPC
		wxpool_free: pool=1 bytes=32768 fate=freed
		wxpool_free: pool=2 bytes=192 fate=freed
		wxpool_free: pool=3 bytes=128 fate=freed
		wxpool_free: pool=4 bytes=128 fate=freed
		wxpool_free: pool=5 bytes=128 fate=freed
	END
}

# All that look for ten seconds do it at once. The "sleep" that they run when they are ready is not
# the usual one: it ends when the load has done its work.
watch()
{
	local command n=0 pids=() pid

	mkdir others
	cp "$built/load" others/sleep
	# bpftrace does not choose if there are two of that name.
	ln -s "$(command -v bpftrace)" "$(command -v perf)" others
	mkfifo go
	exec 8<> go
	: > ready
	while read -r command; do
		name=$(echo "$command" | sed -E 's|.*/([a-z]*)\.bt$|\1|; s|^(perf [a-z]*) .*|\1|')
		PATH=$work/others /bin/bash -c "exec $command" > "seen $name" 2>&1 < /dev/null 8>&- &
		pids+=($!)
		n=$((n + 1))
	done < <(printed 'sleep 10')
	[ $n -eq 7 ]
	until [ "$(wc -l < ready)" -eq $n ]; do
		for pid in "${pids[@]}"; do
			kill -0 "$pid" || { tail seen*; return 1; }
		done
		sleep 0.2
	done
	"$built/load" work &
	echo $! > worker
	wait $!
	exec 8>&-
	for pid in "${pids[@]}"; do
		wait "$pid"
	done
}

# seen NAME: what it printed, with LOAD for the load's pid and without what is not data, is stdin.
seen()
{
	cat "seen $1"
	grep -vE '^(Attaching .*)?$' "seen $1" | sed "s/\<$(cat worker)\>/LOAD/" > told
	diff - told
}

publish()
{
	seen publish <<-END
		@bytes[LOAD, load]: 12800
		@calls[LOAD, load]: 5
	END
}

inplace()
{
	seen inplace <<-END
		@granted[LOAD, load]: 32768
		@sealed[LOAD, load]: 16384
	END
}

# Of bytes, which pools had how many; of times, only that there are as many
lifetime()
{
	cat "seen lifetime"
	awk '/^@/ { name = $1 } /^\[/ { sub(/\|.*/, ""); n = $NF; sub(/ +[0-9]+ *$/, "")
		if (n > 0) print name, $0, n; all[name] += n }
		END { for (name in all) print "all", name, all[name] }' "seen lifetime" |
		grep -v '^@microseconds' | sort > told
	sort > want <<-END
		@bytes: [128, 256) 4
		@bytes: [32K, 64K) 1
		all @bytes: 5
		all @microseconds: 5
	END
	diff want told
}

refused()
{
	sort -o "seen refused" "seen refused"
	seen refused <<-END
		@refused[LOAD, load, ALLOC, ENOSPC]: 1
		@refused[LOAD, load, FREE, ENOENT]: 2
		@refused[LOAD, load, INSTALL, EEXIST]: 1
		@refused[LOAD, load, MMAP, EACCES]: 1
		@refused[LOAD, load, none, ENOTTY]: 2
	END
}

limits()
{
	local limit

	limit=$(cat /sys/module/wxpool/parameters/max_bytes_per_context)
	cat "seen limits"
	grep -cE "^0 +$(cat worker) +context +[0-9]+ +4294967296 +$limit  load\$" "seen limits" |
		grep -x 1
	grep -c ' load$' "seen limits" | grep -x 1
}

counted()
{
	cat "seen perf stat"
	awk '$2 ~ /^wxpool:/ { print $1, $2 }' "seen perf stat" | sort > told
	sort > want <<-END
		1 wxpool:wxpool_alloc
		5 wxpool:wxpool_free
		5 wxpool:wxpool_install
		1 wxpool:wxpool_limit
		2 wxpool:wxpool_protect
		7 wxpool:wxpool_refuse
	END
	diff want told
}

recorded()
{
	cat "seen perf record"
	bash -c "$(printed '^perf script')" > script
	cat script
	sed -n 's/.*wxpool:wxpool_refuse: context=[0-9]* //p' script | diff - <(cat <<-END
		op=FREE error=ENOENT
		op=FREE error=ENOENT
		op=INSTALL error=EEXIST
		op=MMAP error=EACCES
		op=none error=ENOTTY
		op=none error=ENOTTY
		op=ALLOC error=ENOSPC
	END
	)
}

# Each command of the page was run by one of the tests above.
every_command()
{
	printed . | grep -vE 'sleep 10|^wxpool-top( --json)?$|users$|^echo [01] > |tracing/trace$|^perf script' > left ||
		true
	cat left
	[ ! -s left ]
	[ "$(printed '\.bt$' | wc -l)" -eq "$(find examples/trace/ -name '*.bt' | wc -l)" ]
}

tap_test "every command of the page is tested" every_command
tap_test "without the module" no_module
modprobe wxpool
while [ "$(stat -c %a /dev/wxpool)" != 666 ]; do sleep 0.1; done
tap_test "without /proc" no_proc
tap_test "options" usage
tap_test "the manual page" manual
hold hold
tap_test "fdinfo has the keys that are documented" keys
tap_test "users" users
tap_test "users is root's" users_is_roots
tap_test "wxpool-top" all_rows
tap_test "the largest are first" in_order 3
tap_test "without root" without_root
tap_test "root without CAP_SYS_PTRACE" without_ptrace
tap_test "no other file is looked at" asks_of_no_other
tap_test "JSON" json
exec 7>&-
wait
tap_test "many contexts" many
tap_test "threads with descriptors of their own" threads
tap_test "nobody holds anything" nobody_holds
tap_test "events by the kernel alone" by_kernel
tap_test "bpftrace and perf are ready, and end" watch
tap_test "publish.bt" publish
tap_test "inplace.bt" inplace
tap_test "lifetime.bt" lifetime
tap_test "refused.bt" refused
tap_test "limits.bt" limits
tap_test "perf stat" counted
tap_test "perf record" recorded
tap_test "a kernel that is locked down" locked_down
tap_test "nothing is left without the module" unload
tap_end
