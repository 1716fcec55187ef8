// SPDX-License-Identifier: MIT
/* Errors in words. */
#include <errno.h>
#include <string.h>

#include "internal.h"

static const struct {
	int err;
	const char *text;
} errors[] = {
	{ 0, "no error" },
	{ EINVAL, "invalid argument: a pool is not 0, a size is not 0, an alignment is a power of two "
		  "up to a page, a piece lies in an RX or R span of its pool from the start of a "
		  "line of 64 bytes, a window is a multiple of 2 MiB up to 2 GiB, and "
		  "WXPOOL_BACKEND is kernel, portable, fast or auto" },
	{ ENOENT, "no such pool; or, when opening, no /dev/wxpool: the module wxpool is not loaded: "
		  "run 'modprobe wxpool'" },
	{ EACCES, "no permission on /dev/wxpool: ask the administrator for read and write access "
		  "to it; or a security policy forbids its operations" },
	{ EPERM, "executable memory is refused: /dev is mounted noexec (remount it with exec), or a "
		 "security policy (SELinux, systemd's MemoryDenyWriteExecute, a device cgroup) is in "
		 "the way" },
	{ EPROTO, "the loaded module wxpool speaks another version: install the module and the library "
		  "of one release" },
	{ ENOMEM, "out of memory: the system, the memory cgroup, a resource limit, vm.max_map_count, "
		  "or the context's window is exhausted: free pools or open a larger window" },
	{ ENOSPC, "limit reached: see max_bytes_per_context and max_bytes_per_user of the module "
		  "wxpool" },
	{ EBUSY, "a page is in use by I/O, or an install is under way in a ring: try again when "
		 "that is done" },
	{ EEXIST, "installed already: each line of a span is installed once; or its page holds "
		  "nothing but freed code that a forked child still shows: try again when it is "
		  "gone" },
	{ EFAULT, "a source of the install is not readable memory" },
	{ EHWPOISON, "a page has a memory error, as the hardware reported: free the pool and make "
		     "it again" },
	{ EBADF, "the program has closed the context's descriptor of /dev/wxpool: close the context "
		 "and open a new one" },
	{ ESTALE, "the program has closed the context's descriptor of /dev/wxpool, and its number is "
		  "another context's by now: close the context and open a new one" },
	{ ENOTTY, "the program has closed the context's descriptor of /dev/wxpool, and its number is "
		  "another file's by now: close the context and open a new one" },
	{ EROFS, "the context is frozen: no more code from now on, but what is there runs and can be "
		 "freed" },
	{ EOPNOTSUPP, "only the kernel backend has a device, WXP_MSEAL and WXP_PKEY: run "
		      "'modprobe wxpool'" },
	{ EXDEV, "the context belongs to the parent process: open a new one after fork()" },
	{ EMFILE, "too many open files in this process: see 'ulimit -n'" },
	{ ENFILE, "too many open files in the system: see fs.file-max" },
	{ ENOSYS, "the system does not offer this: Linux 4.14 or newer is needed, 4.16 for "
		  "wxp_sync_cores(), 6.10 for WXP_MSEAL, and for WXP_PKEY a processor with "
		  "protection keys ('ospke' in /proc/cpuinfo) of which one is left; add "
		  "WXP_IF_POSSIBLE to do without" },
};

WXP_EXPORT const char *wxp_strerror(int err)
{
	size_t i;

	for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		if (err == -errors[i].err)
			return errors[i].text;
	return "unknown error";
}
