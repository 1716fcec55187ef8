// SPDX-License-Identifier: MIT
/* Errors in words, with their remedy. */
#include "internal.h"

static const struct {
	int err;
	const char *text;
} errors[] = {
	{ 0, "no error" },
	{ EINVAL, "invalid argument: a pool is not 0, a size is not 0, an alignment is a power of two "
		  "up to 2 MiB, a piece lies in an RX or R span of its pool, a window is a multiple "
		  "of 2 MiB from 6 MiB to 2 GiB, shares are 90 percent at most, WXP_ONE_ADDRESS "
		  "does not go with WXP_MSEAL, WXP_PKEY or WXP_COMPILE_ONLY, and WXPOOL_BACKEND is kernel, "
		  "portable, fast or auto" },
	{ ENODEV, "no /dev/wxpool: the module is not loaded (run 'modprobe wxpool'), or the device is "
		  "not in this container or service (systemd: PrivateDevices=no, or "
		  "DeviceAllow=/dev/wxpool rw and BindPaths=/dev/wxpool)" },
	{ ENOENT, "no such pool: it was freed, or nothing was ever put into it" },
	{ EACCES, "no permission on /dev/wxpool: ask for read and write access to it (group wxpool; "
		  "in a container, a device rule 'rw'), or have the security policy allow its "
		  "operations (SELinux: ioctl; AppArmor: 'rw' and 'm' on the node; Landlock: "
		  "ioctl_dev; seccomp: ioctl). A child that gave up its rights opens before" },
	{ EPERM, "executable memory is refused: /dev is mounted noexec (in a container, mount it with "
		 "exec), or a security policy is in the way (AppArmor: 'm' on /dev/wxpool; SELinux: "
		 "map and execute; seccomp; a device cgroup; vm.memfd_noexec for the portable "
		 "backend)" },
	{ EPROTO, "the loaded module wxpool speaks another version: install the module and the library "
		  "of one release; or the other side of a connection said what it may not" },
	{ ENOMEM, "out of memory: free pools, or open a larger window (portable: what a forked child "
		  "inherited is never used again); or a limit is reached: of the "
		  "memory cgroup, RLIMIT_AS ('ulimit -v'), RLIMIT_DATA ('ulimit -d'), RLIMIT_MEMLOCK ('ulimit -l', after "
		  "mlockall()), RLIMIT_FSIZE ('ulimit -f', portable), vm.max_map_count, "
		  "vm.overcommit_memory" },
	{ ENOSPC, "limit of /dev/wxpool reached: see max_bytes_per_context and max_bytes_per_user of "
		  "the module wxpool" },
	{ EBUSY, "in use: another call on the pool is under way, or an install in a ring is not "
		 "completed, or a page is in use by I/O: try again when that is done" },
	{ EEXIST, "installed already: each line of 64 bytes of a span is installed once, and pieces "
		  "that meet in a line are in one call, in the order of their addresses" },
	{ E2BIG, "too much for one call: at most 512 pieces and 16 MiB are installed at once, and "
		 "1,024 pieces of memory protected: install in several calls, or reserve before "
		 "allocating" },
	{ EFAULT, "a source cannot be read" },
	{ EHWPOISON, "a page has a memory error, as the hardware reported: free the pool and make "
		     "it again" },
	{ EBADF, "the program has closed the context's descriptor, or made its number another "
		 "file's: close the context and open a new one" },
	{ EROFS, "the context is frozen: no more code from now on, but what is there runs and can be "
		 "freed" },
	{ EOPNOTSUPP, "an option cannot be had: WXP_MSEAL takes Linux 6.10, WXP_PKEY and WXP_EXEC_ONLY "
		      "a processor with protection keys ('ospke' in /proc/cpuinfo) or, the "
		      "latter, arm64 with EPAN, WXP_BTI arm64 with BTI, and all of them, "
		      "WXP_COMPILE_ONLY, executors and rings the kernel backend ('modprobe "
		      "wxpool'); add WXP_IF_POSSIBLE to do without" },
	{ EXDEV, "this process was made by a raw clone(), not by fork(): a context cannot be used in "
		 "it; or a connection is used in a forked child, or the owner itself attaches" },
	{ ESTALE, "lost at a fork: what a parent had placed or allocated, and not installed or "
		  "protected, is not in the child: free the pool, and make it again" },
	{ EPIPE, "the other side of a connection between owner and executor is gone, or the "
		 "connection was ended before: open both anew" },
	{ ETIMEDOUT, "the other side of a connection did not answer in time: see "
		     "wxp_remote_set_timeout()" },
	{ EMSGSIZE, "the socket does not take such messages: see SO_SNDBUF" },
	{ EMFILE, "too many open files in this process: see 'ulimit -n'" },
	{ ENFILE, "too many open files in the system: see fs.file-max" },
	{ ENOSYS, "the system does not offer this: Linux 4.14 or newer is needed, and 4.16 for "
		  "wxp_sync_cores()" },
};

WXP_EXPORT const char *wxp_strerror(int err)
{
	size_t i;

	for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		if (err == -errors[i].err)
			return errors[i].text;
	return "unknown error";
}
