#!/bin/bash
# SPDX-License-Identifier: MIT
#
# guest.sh apparmor|selinux|filters|containers...: what policies make of the device, in a guest
# that was started with that security module; as root. Prints TAP.

set -eu
here=$(cd "$(dirname "$0")" && pwd)
policy=$(dirname "$here")
top=$(dirname "$policy")
O=${O:-$top/build}
probe=$O/policy/probe
# shellcheck source=lib/tests/tap.sh
. "$top/lib/tests/tap.sh"
# shellcheck source=policy/tests/probe.sh
. "$here/probe.sh"

# says WORDS: the library names the remedy
says()
{
	cat "$steps"
	grep -q "^# .*$1" "$steps"
}

# probe_as COMMAND...: runs the probe by it
probe_as()
{
	"$@" "$probe" > "$steps" 2>&1 || echo "status $?" >> "$steps"
}

# in_context FILE CONTEXT COMMAND...: for a security module, from the next exec on
in_context()
{
	(
		printf %s "$2" > "/proc/self/attr/$1"
		exec "${@:3}"
	)
}

# example_as NAME WORDS COMMAND...: one of the examples, run by it, says so
example_as()
{
	"${@:3}" env LD_LIBRARY_PATH="$O/lib" WXPOOL_BACKEND=kernel "$O/examples/$1" > "$steps" 2>&1
	cat "$steps"
	grep -q "$2" "$steps"
}

# ---- AppArmor

apparmor_profiles()
{
	mount -t securityfs securityfs /sys/kernel/security 2> /dev/null || true
	mkdir -p /etc/apparmor.d/abstractions
	cp "$policy/apparmor/wxpool" /etc/apparmor.d/abstractions
	{ echo "@{OUT}=$O"; cat "$here/apparmor/profiles"; } > /tmp/profiles
	apparmor_parser -K -T -r /tmp/profiles
	grep -q '^wxpool-abstraction (enforce)' /sys/kernel/security/apparmor/profiles
}

apparmor()
{
	tap_test "AppArmor: the abstraction is loaded" apparmor_profiles
	probe_as in_context apparmor/exec "exec wxpool-abstraction"
	tap_test "AppArmor: all works with the abstraction" gets "${all_works[@]}"
	probe_as in_context apparmor/exec "exec wxpool-rw"
	tap_test "AppArmor: without 'm' nothing is mapped executable" \
		gets open ok info ok install ok map EACCES library EPERM
	tap_test "AppArmor: the library names 'm'" says "AppArmor: 'm'"
	probe_as in_context apparmor/exec "exec wxpool-r"
	tap_test "AppArmor: without 'w' nothing is opened for writing, or added" \
		gets open EACCES open-read ok info ok alloc EBADF protect EBADF install EBADF \
		ring EBADF free EBADF freeze EBADF library EACCES
	probe_as in_context apparmor/exec "exec wxpool-none"
	tap_test "AppArmor: without a rule nothing is opened" \
		gets open EACCES open-read EACCES library EACCES
	tap_test "AppArmor: the library names 'rw'" says "AppArmor: 'rw'"
}

# ---- SELinux

selinux_policy()
{
	mount -t selinuxfs selinuxfs /sys/fs/selinux
	grep -q '^/dev/wxpool' "$O/policy/file_contexts"
	python3 "$here/selinux/load.py" "$O"/policy/policy.*
	[ "$(cat /sys/fs/selinux/enforce)" = 1 ]
}

in_domain()
{
	in_context exec "system_u:system_r:$1:s0" "${@:2}"
}

handed_to_runner()
{
	# shellcheck disable=SC2016 # for the shell that is started
	in_domain jit_t "$probe" bash -c \
		'echo -n system_u:system_r:runner_t:s0 > /proc/self/attr/exec; exec "$0" --fd 9' \
		"$probe" > "$steps" 2>&1
	sed -n '/^run/,$p' "$steps" | sed 1d > "$steps.runner"
	mv "$steps.runner" "$steps"
}

selinux()
{
	tap_test "SELinux: the policy is loaded and enforced" selinux_policy
	probe_as in_domain none_t
	tap_test "SELinux: a domain with nothing gets nothing" \
		gets anonymous EACCES open EACCES open-read EACCES library EACCES
	probe_as in_domain ring_t
	tap_test "SELinux: all works, but for anonymous code" \
		gets anonymous EACCES memfd EACCES tmp EACCES "${all_works[@]}"
	probe_as in_domain jit_t
	tap_test "SELinux: without io_uring's commands all but rings works" \
		gets anonymous EACCES install ok map ok run ok ring EACCES library ok
	probe_as in_domain free_t
	tap_test "SELinux: INSTALL is refused by its number" \
		gets open ok info ok alloc EACCES protect EACCES install EACCES ring EACCES map ok \
		freeze ok library EACCES
	tap_test "SELinux: the library names ioctl" says "SELinux: ioctl"
	probe_as in_domain free_ring_t
	tap_test "SELinux: also by a ring" gets install EACCES ring EACCES
	handed_to_runner
	tap_test "SELinux: who is handed a descriptor runs code and adds none" \
		gets map ok run ok write EXDEV install EACCES
	tap_test "SELinux: where rings may not, the library does without" \
		example_as ring 43 in_domain jit_t
}

# ---- what programs do to themselves

# A new open is refused; what was open before works.
landlock()
{
	example_as landlock "no permission on /dev/wxpool"
	grep -q "first context.* 43" "$steps"
}

filters()
{
	local name="Landlock: no operations without ioctl_dev"

	case $(uname -r) in
	6.[0-9].*) tap_ok "$name" "this kernel's Landlock has no such right" ;;
	*) tap_test "$name" landlock ;;
	esac
	tap_test "seccomp: a program refuses more code of itself" example_as seccomp "refused"
	probe_as env LD_LIBRARY_PATH="$O/lib" "$O/examples/seccomp"
	tap_test "seccomp: no operations by number, nor by a ring" \
		gets open ok info ok alloc EPERM protect EPERM install EPERM high EPERM ring EPERM \
		freeze ok library EACCES
}

# ---- users and containers

udev()
{
	pkill -f 'mdev -d' || true	# the bed's own
	modprobe -r wxpool
	mkdir -p /etc/udev/rules.d /etc/sysusers.d
	cp "$policy"/udev/70-wxpool.rules /etc/udev/rules.d
	cp "$policy"/sysusers.d/wxpool.conf /etc/sysusers.d
	systemd-sysusers /etc/sysusers.d/wxpool.conf
	/usr/lib/systemd/systemd-udevd --daemon
	modprobe wxpool
	udevadm settle
	ls -l /dev/wxpool
	[ "$(stat -c '%a %U %G' /dev/wxpool)" = "660 root wxpool" ]
	udevadm info /dev/wxpool | grep -q "^E: CURRENT_TAGS=.*:uaccess:"
}

as_user()
{
	setpriv --reuid 1000 --regid 1000 --no-new-privs "$@"
}

# container NAME DEVICE-ACCESS [MOUNT-OPTION]: runs the probe in one, by crun
container()
{
	local dir=/tmp/container-$1 device

	mkdir -p "$dir"/rootfs/{usr,proc,dev}
	ln -sfn usr/bin usr/lib usr/lib64 "$dir/rootfs"
	device='"type": "c", "major": '$((0x$(stat -c %t /dev/wxpool)))
	device+=', "minor": '$((0x$(stat -c %T /dev/wxpool)))
	mkdir -p "$dir/rootfs$O"
	cat > "$dir/config.json" <<-END
	{
	"ociVersion": "1.0.2",
	"process": {
		"user": { "uid": 0, "gid": 0 }, "cwd": "/", "noNewPrivileges": true,
		"args": [ "$probe" ]
	},
	"root": { "path": "$dir/rootfs" },
	"mounts": [
		{ "destination": "/proc", "type": "proc", "source": "proc" },
		{ "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
		  "options": [ "nosuid", "mode=755"${3:+, \"$3\"} ] },
		{ "destination": "/usr", "type": "bind", "source": "/usr", "options": [ "rbind", "ro" ] },
		{ "destination": "$O", "type": "bind", "source": "$O", "options": [ "rbind", "ro" ] }
	],
	"linux": {
		"namespaces": [ { "type": "pid" }, { "type": "mount" } ],
		"devices": [ { "path": "/dev/wxpool", $device, "fileMode": 438, "uid": 0, "gid": 0 } ],
		"resources": { "devices": [
			{ "allow": false, "access": "rwm" },
			{ "allow": true, $device, "access": "$2" }
		] }
	}
	}
	END
	timeout 60 crun --root /run/crun --cgroup-manager=cgroupfs run -b "$dir" "$1" \
		> "$steps" 2>&1 || echo "status $?" >> "$steps"
}

# As such a kernel demands; until the guest ends
unsigned()
{
	modprobe -r wxpool
	echo 1 > /sys/module/module/parameters/sig_enforce
	modprobe wxpool 2>&1 | tee /dev/stderr | grep 'Key was rejected by service'
}

containers()
{
	tap_test "udev: group and mode by the rule" udev
	probe_as as_user --clear-groups
	tap_test "a user who is not in the group opens nothing" \
		gets open EACCES open-read EACCES library EACCES
	tap_test "the library names the group" says "group wxpool"
	probe_as as_user --groups "$(getent group wxpool | cut -d: -f3)"
	tap_test "a member of the group publishes code" gets "${all_works[@]}"
	container rw rw
	tap_test "crun: a container with the device" gets "${all_works[@]}"
	container none w
	tap_test "crun: without 'r' nothing is opened" \
		gets open EPERM open-read EPERM library EPERM
	container read r
	tap_test "crun: with 'r' alone nothing is added" \
		gets open EPERM open-read ok install EBADF library EPERM
	container noexec rw noexec
	tap_test "crun: on a noexec mount nothing is mapped executable" \
		gets open ok install ok map EPERM library EPERM
	tap_test "crun: the library names noexec" says "noexec"
	tap_test "Secure Boot: a module without a signature is refused" unsigned
}

modprobe wxpool
for group in "$@"; do
	"$group"
done
tap_end
