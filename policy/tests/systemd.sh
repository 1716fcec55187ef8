#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Services that publish code, in a guest whose first process is systemd (bed.systemd on the
# kernel's command line); as root. Prints TAP.

set -eu
here=$(cd "$(dirname "$0")" && pwd)
policy=$(dirname "$here")
top=$(dirname "$policy")
O=${O:-$top/build}
# shellcheck source=lib/tests/tap.sh
. "$top/lib/tests/tap.sh"
# shellcheck source=policy/tests/probe.sh
. "$here/probe.sh"
unit=wxpool-jit.service

# as_printed PATTERN: the page's lines from the one that matches to the next empty one
as_printed()
{
	local lines

	lines=$(sed -n "/^    $1/,/^$/s/^    //p" "$top/Documentation/access.md")
	[ -n "$lines" ]
	echo "$lines"
	(cd "$top" && bash -euc "$lines")
}

# udev reads a new rule as soon as anything happens to a device.
make()
{
	command make "$@" && udevadm control --reload
}
export -f make

policy()
{
	systemctl --version | head -n 1
	as_printed systemd-sysusers
	udevadm settle
	ls -l /dev/wxpool
	[ "$(stat -c '%a %U %G' /dev/wxpool)" = "660 root wxpool" ]
}

# Programs are where services look for them.
programs()
{
	mkdir -p /usr/local/bin /usr/local/lib
	cp "$O"/policy/probe "$O"/examples/asmjit /usr/local/bin
	cp "$O"/wxlli/wxlli /usr/bin
	cp -a "$O"/lib/libwxpool.so* /usr/local/lib
	cp "$O"/demo/dispatch.ll /usr/local/lib/program.ll
	cp /usr/local/share/wxpool/$unit /etc/systemd/system
	ldconfig
}

# What the page shows of the example is in it.
page()
{
	diff <(sed -n '/^    DynamicUser/,/^$/s/^    //p' "$top/Documentation/access.md") \
		<(grep -E '^(DynamicUser|Supp|Device|Memory.*yes|[A-Za-z]*Paths|SystemCallFilter)' \
			"$policy/systemd/$unit")
}

# in_service COMMAND [PROPERTY...]: what it prints, and its status if that is not 0. (There is
# no bus, which systemd-run needs.)
in_service()
{
	rm -f /run/output
	{
		printf '%s\n' '[Service]' Type=oneshot "ExecStart=$1" StandardOutput=file:/run/output
		[ $# -lt 2 ] || printf '%s\n' "${@:2}"
	} > /run/systemd/system/probe.service
	systemctl daemon-reload
	systemctl start probe.service > "$steps" 2>&1 || echo "status $?" >> "$steps"
	cat /run/output >> "$steps"
}

# set_unit LINE...: changes the example's section [Service]. What it runs ends, so that
# starting it waits for that.
set_unit()
{
	mkdir -p /run/systemd/system/$unit.d
	{
		printf '%s\n' '[Service]' Type=oneshot StandardOutput=file:/run/output \
			StandardError=file:/run/errors
		[ $# -eq 0 ] || printf '%s\n' "$@"
	} > /run/systemd/system/$unit.d/test.conf
	rm -f /run/output /run/errors
	systemctl daemon-reload
}

unit_runs()
{
	set_unit "${@:2}"
	systemctl start $unit || { systemctl status $unit; cat /run/errors; false; }
	cat /run/output
	grep -q "$1" /run/output
}

# unit_fails WORDS LINE...: says why
unit_fails()
{
	set_unit "${@:2}"
	if systemctl start $unit; then
		return 1
	fi
	cat /run/errors
	grep -q "$1" /run/errors
}

well_formed()
{
	systemd-analyze verify $unit > "$steps" 2>&1 || true	# of other units' faults, too
	cat "$steps"
	! grep $unit "$steps"
}

new='ExecStart='

tap_test "policy_install opens the device to the group" policy
tap_test "programs are installed" programs
tap_test "the page shows the example unit" page
tap_test "the example unit is well-formed" well_formed
tap_test "wxlli runs in it" unit_runs "threaded: 42"
tap_test "LLVM's own memory manager fails in it" unit_fails "Permission denied\|not permitted" \
	"$new" "ExecStart=/usr/bin/wxlli --memory=llvm /usr/local/lib/program.ll"
tap_test "asmjit's example runs in it" unit_runs "backend kernel, returns 42" \
	"$new" ExecStart=/usr/local/bin/asmjit
tap_test "without the group it fails, and says why" unit_fails "group wxpool" \
	"$new" ExecStart=/usr/local/bin/asmjit SupplementaryGroups=
tap_test "there is nothing to fall back to, either" unit_fails "group wxpool" \
	"$new" ExecStart=/usr/local/bin/asmjit SupplementaryGroups= Environment=WXPOOL_BACKEND=auto
probe=/usr/local/bin/probe
tap_test "the device works in it" unit_runs "library ok" "$new" ExecStart=$probe
cp /run/output "$steps"
tap_test "nothing else in it makes memory executable" gets anonymous EACCES memfd EPERM tmp EPERM \
	var-tmp EPERM dev-shm EPERM shm EPERM mem EROFS
tap_test "nor is there a ring in it" gets ring EPERM

in_service $probe
tap_test "a service of root opens it" gets "${all_works[@]}"
tap_test "and has all other ways" gets anonymous ok memfd ok tmp ok var-tmp ok dev-shm ok shm ok mem ok
in_service $probe MemoryDenyWriteExecute=yes
tap_test "MemoryDenyWriteExecute= closes one of them" gets anonymous EACCES memfd ok tmp ok mem ok
in_service $probe DynamicUser=yes
tap_test "DynamicUser= alone does not" gets open EACCES library EACCES
in_service $probe DynamicUser=yes SupplementaryGroups=wxpool
tap_test "SupplementaryGroups=wxpool does" gets "${all_works[@]}"
in_service $probe DevicePolicy=closed
tap_test "DevicePolicy=closed: refused" gets open EPERM open-read EPERM library EPERM
in_service $probe DevicePolicy=closed "DeviceAllow=/dev/wxpool r"
tap_test "DeviceAllow= with 'r': nothing is added" gets open EPERM open-read ok install EBADF
in_service $probe DevicePolicy=closed "DeviceAllow=/dev/wxpool rw"
tap_test "DeviceAllow= with 'rw': all works" gets "${all_works[@]}"
in_service $probe PrivateDevices=yes
tap_test "PrivateDevices=: there is no device" gets open ENOENT library ENODEV
in_service $probe PrivateDevices=yes BindPaths=/dev/wxpool "DeviceAllow=/dev/wxpool rw"
tap_test "BindPaths= brings it" gets "${all_works[@]}"
in_service $probe NoExecPaths=/ "ExecPaths=/usr"
tap_test "NoExecPaths=: nothing is mapped executable" gets open ok map EPERM library EPERM
in_service $probe NoExecPaths=/ "ExecPaths=/usr /dev/wxpool"
tap_test "ExecPaths=/dev/wxpool: all works" gets "${all_works[@]}"
in_service "$probe --fill" MemoryMax=24M
tap_test "MemoryMax=: refused, not killed" gets fill ENOMEM
tap_end
