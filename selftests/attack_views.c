// SPDX-License-Identifier: GPL-2.0
/*
 * The attack book, mappings: making code writable where it is mapped, mapping it
 * once more, and moving, copying or replacing mappings.
 */
#include <sys/personality.h>
#include <sys/shm.h>

#include "attack.h"

#ifndef SHM_EXEC
#define SHM_EXEC		0100000
#endif
#ifndef SHM_REMAP
#define SHM_REMAP		040000
#endif

/* ------------------------------------------------- changing the protection */

/* Makes a mapping writable, changes it, makes it executable and runs it. */
static int write_by_mprotect(char *p, int prot)
{
	int sig;

	if (mprotect(p, PG(1), prot))
		return -errno;
	sig = overwrite(p);
	if (mprotect(p, PG(1), RX) && !sig)
		return -errno;
	return sig;
}

ATTACK(mprotect_rw, -EACCES, DONE, DONE)
{
	return write_by_mprotect(v->code, RW);
}

ATTACK(mprotect_rwx, -EACCES, DONE, DONE)
{
	return write_by_mprotect(v->code, RWX);
}

/* glibc takes mprotect() where there is no key. */
ATTACK(pkey_mprotect_rwx, -EACCES, DONE, DONE)
{
	int key = pkey_alloc(0, 0), sig;

	if (syscall(__NR_pkey_mprotect, v->code, PG(1), RWX, key)) {
		if (errno == ENOSYS)
			return missing(v, "no pkey_mprotect()");
		return -errno;
	}
	sig = overwrite(v->code);
	/* Signal handlers, which later looks need, run with key 0 only. */
	syscall(__NR_pkey_mprotect, v->code, PG(1), RX, 0);
	return sig;
}

/* A mapping that was made with no access at all */
ATTACK(mprotect_from_none, -EACCES, NONE, DONE)
{
	char *p = wx_view(v->fd, PROT_NONE, 0, 1);

	return p == MAP_FAILED ? -errno : write_by_mprotect(p, RWX);
}

/* Where code is written, it is run as well: W and X without a seal. */
ATTACK_OPEN(mprotect_open_rwx, -EACCES, DONE, DONE)
{
	int ret;

	if (mprotect(v->w, PG(1), RWX))
		return -errno;
	ret = overwrite_and_run(v->w);
	wx_emit(v->w, GOOD);
	return ret;
}

/*
 * Takes execution away, has the page that is still written mapped to read, and
 * gives execution back.
 */
ATTACK_OPEN(lower_touch_raise, SIGBUS, NONE, DONE)
{
	int ret;

	if (mprotect(v->code, PG(1), PROT_READ))
		return -errno;
	try_read(v->code);
	if (mprotect(v->code, PG(1), RX))
		return -errno;
	overwrite(v->w);
	ret = run(v->code);
	wx_emit(v->w, GOOD);
	return ret;
}

/* The same with a page that was protected as data */
ATTACK(lower_touch_raise_data, SIGBUS, NONE, DONE)
{
	char *p = v->code + PG(1);

	overwrite(v->w + PG(1));
	if (v->kind == WXPOOL && wx_protect(v->fd, POOL, 1, 1, WXPOOL_PROT_R))
		return BROKEN;
	if (mprotect(p, PG(1), PROT_READ))
		return -errno;
	try_read(p);
	return mprotect(p, PG(1), RX) ? -errno : run(p);
}

/* ... and with the code, where it was written */
ATTACK(lower_touch_raise_alias, SIGBUS, NONE, DONE)
{
	if (mprotect(v->w, PG(1), PROT_READ))
		return -errno;
	try_read(v->w);
	return mprotect(v->w, PG(1), RW) ? -errno : overwrite(v->w);
}

/* --------------------------------------------------------- further mappings */

/* The mapping through which the code was written is still there. */
ATTACK(alias_kept, SIGBUS, NONE, DONE)
{
	return overwrite(v->w);
}

ATTACK(alias_rw, SIGBUS, NONE, DONE)
{
	char *p = wx_view(v->fd, RW, 0, 1);

	return p == MAP_FAILED ? -errno : overwrite(p);
}

ATTACK(alias_rwx, -EACCES, NONE, DONE)
{
	char *p = wx_view(v->fd, RWX, 0, 1);

	return p == MAP_FAILED ? -errno : overwrite_and_run(p);
}

/* A private copy of the code, changed, and run */
ATTACK(map_private, -EACCES, NONE, DONE)
{
	char *p = mmap(NULL, PG(1), RW, MAP_PRIVATE, v->fd, 0);
	int sig;

	if (p == MAP_FAILED)
		return -errno;
	sig = write_by_mprotect(p, RW);
	return sig ? sig : run(p);
}

/* A private mapping to run, whose copy the kernel makes for a forced write */
ATTACK(map_private_forced, -EACCES, NONE, DONE)
{
	char *p = mmap(NULL, PG(1), RX, MAP_PRIVATE, v->fd, 0);
	int mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);

	if (p == MAP_FAILED)
		return -errno;
	if (pwrite(mem, evil_page(), LINE, (off_t)(uintptr_t)p) == LINE)
		return run(p);
	if (v->kind == WXPOOL)
		return -errno;
	return missing(v, "/proc/PID/mem overrides nothing (proc_mem.force_override=)");
}

/* ----------------------------------------------------------------- mremap */

/* Is the mapping what it was where it is now? */
ATTACK(mremap_move, -EACCES, DONE, DONE)
{
	char *to = plain_pages(1, PROT_NONE);
	char *p = mremap(v->code, PG(1), PG(1), MREMAP_MAYMOVE | MREMAP_FIXED, to);
	int ret;

	if (p == MAP_FAILED)
		return -errno;
	ret = write_by_mprotect(p, RW);
	mremap(p, PG(1), PG(1), MREMAP_MAYMOVE | MREMAP_FIXED, v->code);
	return ret;
}

/* Old length 0: a second mapping of the same pages */
ATTACK(mremap_old_len_0, -EACCES, NONE, DONE)
{
	char *p = mremap(v->code, 0, PG(1), MREMAP_MAYMOVE);

	return p == MAP_FAILED ? -errno : write_by_mprotect(p, RW);
}

/* Moves the pages and leaves the mapping, and puts it back where it was. */
ATTACK(mremap_dontunmap, -EACCES, DONE, DONE)
{
	char *p = mremap(v->code, PG(1), PG(1), MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0);
	int ret;

	if (p == MAP_FAILED && errno == EINVAL)
		return missing(v, "no MREMAP_DONTUNMAP of files");
	if (p == MAP_FAILED)
		return -errno;
	ret = write_by_mprotect(p, RW);
	mremap(p, PG(1), PG(1), MREMAP_MAYMOVE | MREMAP_FIXED, v->code);
	return ret;
}

/* Grows a mapping over the page behind, which is still written. */
ATTACK(mremap_grow, SIGBUS, NONE, DONE)
{
	char *p = mremap(v->code, 0, PG(1), MREMAP_MAYMOVE);

	if (p == MAP_FAILED)
		return -errno;
	p = mremap(p, PG(1), PG(2), MREMAP_MAYMOVE);
	if (p == MAP_FAILED && v->kind == WXPOOL)
		return missing(v, "views do not grow here");
	if (p == MAP_FAILED)
		return -errno;
	overwrite(v->w + PG(1));
	return run(p + PG(1));
}

/* Where the code is, the mapping is to show the page that is still written. */
ATTACK(remap_file_pages_open, SIGBUS, NONE, DONE)
{
	int ret;

	overwrite(v->w + PG(1));
	if (remap_file_pages(v->code, PG(1), 0, 1, 0))
		return -errno;
	ret = run(v->code);
	remap_file_pages(v->code, PG(1), 0, 0, 0);
	return ret;
}

/* ----------------------------------------------- settings of the process */

/* Everything that can be read can be run. */
ATTACK(read_implies_exec, -EACCES, DONE, DONE)
{
	int old = personality(READ_IMPLIES_EXEC), err;
	char *p;

	if (v->kind == MPROTECT)
		p = plain_pages(1, RW);
	else
		p = wx_view(v->fd, RW, 1, 1);
	err = errno;
	personality(old);
	return p == MAP_FAILED ? -err : overwrite_and_run(p);
}

/* The same for a mapping that is there, by way of mprotect() */
ATTACK(read_implies_exec_mprotect, SIGSEGV, DONE, DONE)
{
	int old = personality(READ_IMPLIES_EXEC);
	int err = mprotect(v->w + PG(1), PG(1), RW) ? errno : 0;

	personality(old);
	return err ? -err : overwrite_and_run(v->w + PG(1));
}

/* ------------------------------------------------- instead of the code */

/* Not prevented by wxpool: the process takes its own code away. */
ATTACK(map_over, DONE, DONE, DONE)
{
	char *p = mmap(v->code, PG(1), RW,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	return p == MAP_FAILED ? -errno : write_by_mprotect(p, RW);
}

ATTACK(unmap_and_map, DONE, DONE, DONE)
{
	if (munmap(v->code, PG(1)))
		return -errno;
	if (mmap(v->code, PG(1), RW, MAP_PRIVATE | MAP_ANONYMOUS |
		 MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED)
		return -errno;
	return write_by_mprotect(v->code, RW);
}

ATTACK(mremap_over, DONE, DONE, DONE)
{
	char *p = evil_page();

	if (mprotect(p, PG(1), RX) ||
	    mremap(p, PG(1), PG(1), MREMAP_MAYMOVE | MREMAP_FIXED,
		   v->code) == MAP_FAILED)
		return -errno;
	return HARMLESS;
}

/* System V's shared memory: writable and executable at once, by its flag */
static char *shm_attach(void *at, int flags)
{
	int id = shmget(IPC_PRIVATE, PG(1), IPC_CREAT | 0700), err;
	char *p = id < 0 ? MAP_FAILED : shmat(id, at, flags);

	err = errno;
	if (id >= 0)
		shmctl(id, IPC_RMID, NULL);
	errno = err;
	return p;
}

ATTACK(shmat_over, DONE, DONE, DONE)
{
	char *p = shm_attach(v->code, SHM_EXEC | SHM_REMAP);

	if (p == MAP_FAILED && errno == ENOSYS)
		return missing(v, "no System V shared memory");
	return p == MAP_FAILED ? -errno : overwrite_and_run(p);
}

/* Not prevented by wxpool: executable memory that is not wxpool's */
ATTACK(shmat_exec, DONE, DONE, DONE)
{
	char *p = shm_attach(NULL, SHM_EXEC);

	if (p == MAP_FAILED && errno == ENOSYS)
		return missing(v, "no System V shared memory");
	return p == MAP_FAILED ? -errno : overwrite_and_run(p);
}

/* ... made of a file of the attacker's own, which PR_SET_MDWE does not prevent */
static int map_own_twice(struct victim *v)
{
	int fd = evil_file();
	char *p;

	if (prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0))
		perror("# PR_SET_MDWE");
	p = wx_view(fd, RX, 0, 1);
	return p == MAP_FAILED ? -errno : run(p);
}

ATTACK(memfd_exec, DONE, DONE, DONE)
{
	return in_child(v, map_own_twice);
}

/* Under PR_SET_MDWE only wxpool still publishes; the others cannot live. */
static int exec_under_mdwe(struct victim *v)
{
	struct victim later;
	char *p;

	if (prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0))
		return missing(v, "no PR_SET_MDWE");
	if (victim_new(&later, v->kind) || run(later.code))
		return BROKEN;
	p = shm_attach(NULL, SHM_EXEC);
	if (p != MAP_FAILED)
		return overwrite_and_run(p);
	if (errno == ENOSYS)
		return missing(v, "no System V shared memory");
	return write_by_mprotect(plain_pages(1, RW), RW);
}

/* Also the detours end where the process has forbidden itself to gain code. */
ATTACK(exec_gain_mdwe, -EACCES, NONE, NONE)
{
	int ret = in_child(v, exec_under_mdwe);

	if (ret == MISSING)
		return missing(v, "no PR_SET_MDWE or no System V shared memory");
	return ret;
}

/* ------------------------------------------------------------------ mseal */

static int seal_mapping(struct victim *v)
{
	if (!syscall(__NR_mseal, v->code, PG(1), 0))
		return 0;
	return errno == ENOSYS ? missing(v, "no mseal()") : -errno;
}

/* What the library's WXP_MSEAL does, against those above */
ATTACK(mseal_map_over, -EPERM, -EPERM, -EPERM)
{
	int ret = seal_mapping(v);

	return ret ? ret : attack_map_over(v);
}

ATTACK(mseal_unmap, -EPERM, -EPERM, -EPERM)
{
	int ret = seal_mapping(v);

	return ret ? ret : attack_unmap_and_map(v);
}

ATTACK(mseal_mremap_over, -EPERM, -EPERM, -EPERM)
{
	int ret = seal_mapping(v);

	return ret ? ret : attack_mremap_over(v);
}

/* mseal() alone leaves plain memory another way in: past the mapping. */
ATTACK(mseal_alias, SIGBUS, NONE, DONE)
{
	int ret = seal_mapping(v);

	return ret ? ret : overwrite(v->w);
}

ATTACK(mseal_proc_mem, -EIO, DONE, -EIO)
{
	int mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	int ret = seal_mapping(v);

	if (ret)
		return ret;
	if (pwrite(mem, evil_page(), LINE, (off_t)(uintptr_t)v->code) == LINE)
		return HARMLESS;
	if (v->kind == MPROTECT)
		return missing(v, "/proc/PID/mem overrides nothing (proc_mem.force_override=)");
	return -errno;
}

/* ----------------------------------------------------- 32-bit system calls */

#define I386_NR_getpid		20
#define I386_NR_ioctl		54
#define I386_NR_mprotect	125
#define I386_NR_mmap2		192

#ifdef __x86_64__

/* A system call of i386's from a 64-bit process; -ENOSYS if there are none */
static int int80(long nr, unsigned long a, unsigned long b, unsigned long c,
		 unsigned long d, unsigned long e)
{
	long ret = nr;
	int sig;

	/* The sixth argument, always 0, is in a register of the compiler's. */
	sig = WX_CATCH(asm volatile("push %%rbp\n\txor %%ebp, %%ebp\n\t"
				    "int $0x80\n\tpop %%rbp"
				    : "+a" (ret)
				    : "b" (a), "c" (b), "d" (c), "S" (d), "D" (e)
				    : "r8", "r9", "r10", "r11", "memory"));
	return sig ? -ENOSYS : (int)ret;
}

#else

static int int80(long nr, unsigned long a, unsigned long b, unsigned long c,
		 unsigned long d, unsigned long e)
{
	return -ENOSYS;
}

#define MAP_32BIT	0

#endif

static bool have_int80(void)
{
	return int80(I386_NR_getpid, 0, 0, 0, 0, 0) == getpid();
}

/* The code where such a call's pointers reach */
static char *code_below_4g(struct victim *v)
{
	char *to = mmap(NULL, PG(1), PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	if (v->kind == MPROTECT)
		return mremap(v->code, PG(1), PG(1),
			      MREMAP_MAYMOVE | MREMAP_FIXED, to);
	return mmap(to, PG(1), RX, MAP_SHARED | MAP_FIXED, v->fd, 0);
}

ATTACK(compat_mprotect, -EACCES, DONE, DONE)
{
	char *p;
	int ret;

	if (!have_int80())
		return missing(v, "no 32-bit system calls");
	p = code_below_4g(v);
	if (p == MAP_FAILED)
		return -errno;
	ret = int80(I386_NR_mprotect, (uintptr_t)p, PG(1), RWX, 0, 0);
	if (!ret)
		ret = overwrite_and_run(p);
	if (v->kind == MPROTECT)
		mremap(p, PG(1), PG(1), MREMAP_MAYMOVE | MREMAP_FIXED, v->code);
	return ret;
}

ATTACK(compat_mmap_rwx, -EACCES, NONE, DONE)
{
	int ret;

	if (!have_int80())
		return missing(v, "no 32-bit system calls");
	ret = int80(I386_NR_mmap2, 0, PG(1), RWX, MAP_SHARED, v->fd);
	if (ret < 0 && ret > -4096)
		return ret;
	return overwrite_and_run((void *)(uintptr_t)(uint32_t)ret);
}

/* An operation, with its structures where such a call's pointers reach */
ATTACK(compat_ioctl, -EPERM, NONE, NONE)
{
	struct {
		struct wxpool_protect arg;
		struct wxpool_protect_range range;
	} *low = mmap(NULL, PG(1), RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	if (!have_int80())
		return missing(v, "no 32-bit system calls");
	low->range = wx_protect_range(0, 1, WXPOOL_PROT_R);
	low->arg = (struct wxpool_protect) {
		.size = sizeof(low->arg), .pool = POOL,
		.ranges = (uintptr_t)&low->range, .nr_ranges = 1,
	};
	return int80(I386_NR_ioctl, v->fd, WXPOOL_IOC_PROTECT,
		     (uintptr_t)&low->arg, 0, 0);
}

TEST_HARNESS_MAIN
