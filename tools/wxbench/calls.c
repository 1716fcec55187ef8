// SPDX-License-Identifier: MIT
/*
 * Counts system calls that concern memory, of whoever makes them: these
 * functions take the place of the C library's, also for shared libraries; and
 * the linker gives us what this program and libwxpool ask of syscall(). The C
 * library's own (malloc) do not come through here.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include "measure.h"

static atomic_ulong made, mapped;
static uint64_t *ioctl_sum;

long __real_syscall(long nr, ...);
long __wrap_syscall(long nr, long a, long b, long c, long d, long e, long f);

/** calls_made() - how many there were so far, of all threads */
uint64_t calls_made(void)
{
	return atomic_load_explicit(&made, memory_order_relaxed);
}

/** bytes_mapped() - private memory mapped now; wrong where files are unmapped */
uint64_t bytes_mapped(void)
{
	return atomic_load_explicit(&mapped, memory_order_relaxed);
}

/** calls_time_ioctl() - add up in @sum the instructions of ioctls; NULL: no more */
void calls_time_ioctl(uint64_t *sum)
{
	ioctl_sum = sum;
}

static void count(void)
{
	atomic_fetch_add_explicit(&made, 1, memory_order_relaxed);
}

static void *count_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	count();
	if (flags & MAP_ANONYMOUS)
		atomic_fetch_add_explicit(&mapped, len, memory_order_relaxed);
	return (void *)__real_syscall(SYS_mmap, addr, len, prot, flags, fd, offset);
}

void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	return count_mmap(addr, len, prot, flags, fd, offset);
}

void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off64_t offset)
{
	return count_mmap(addr, len, prot, flags, fd, offset);
}

int munmap(void *addr, size_t len)
{
	count();
	atomic_fetch_sub_explicit(&mapped, len, memory_order_relaxed);
	return (int)__real_syscall(SYS_munmap, addr, len);
}

int mprotect(void *addr, size_t len, int prot)
{
	count();
	return (int)__real_syscall(SYS_mprotect, addr, len, prot);
}

int madvise(void *addr, size_t len, int advice)
{
	count();
	return (int)__real_syscall(SYS_madvise, addr, len, advice);
}

int pkey_mprotect(void *addr, size_t len, int prot, int key)
{
	count();
	return (int)__real_syscall(SYS_pkey_mprotect, addr, len, prot, key);
}

int memfd_create(const char *name, unsigned int flags)
{
	count();
	return (int)__real_syscall(SYS_memfd_create, name, flags);
}

int ftruncate(int fd, off_t length)
{
	count();
	return (int)__real_syscall(SYS_ftruncate, fd, length);
}

int ftruncate64(int fd, off64_t length)
{
	count();
	return (int)__real_syscall(SYS_ftruncate, fd, length);
}

int munlock(const void *addr, size_t len)
{
	count();
	return (int)__real_syscall(SYS_munlock, addr, len);
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t offset)
{
	count();
	return __real_syscall(SYS_pwrite64, fd, buf, len, offset);
}

ssize_t pwrite64(int fd, const void *buf, size_t len, off64_t offset)
{
	count();
	return __real_syscall(SYS_pwrite64, fd, buf, len, offset);
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
	count();
	return (int)__real_syscall(SYS_fallocate, fd, mode, offset, len);
}

static int timed_ioctl(int fd, unsigned long op, void *arg)
{
	uint64_t start = read_instructions();
	int ret = (int)__real_syscall(SYS_ioctl, fd, op, arg);

	*ioctl_sum += read_instructions() - start;
	return ret;
}

int ioctl(int fd, unsigned long op, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, op);
	arg = va_arg(ap, void *);
	va_end(ap);
	count();
	if (ioctl_sum)
		return timed_ioctl(fd, op, arg);
	return (int)__real_syscall(SYS_ioctl, fd, op, arg);
}

long __wrap_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	count();
	return __real_syscall(nr, a, b, c, d, e, f);
}
