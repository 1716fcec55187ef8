// SPDX-License-Identifier: GPL-2.0
/*
 * The attack book, reading: code that is to be run and not to be read. An attack
 * here is done when the attacker has its bytes.
 */
#include <sys/uio.h>

#include "attack.h"
#include "wxpool_fork.h"

#define SECRET	0x5ec2e7u

static const char no_force[] =
	"/proc/PID/mem overrides nothing (proc_mem.force_override=)";
static const char no_help[] = "this processor reads what it may execute";

/* A function, and where it can be run alone; NULL if it cannot be made */
static char *secret_code(struct victim *v)
{
	unsigned char code[LINE];
	size_t len = wx_emit(code, SECRET);
	char *p = MAP_FAILED;
	uint32_t val;

	if (v->kind == WXPOOL) {
		if (!wx_install(v->fd, POOL, PG(4), code, len, WXPOOL_PROT_XO))
			p = wx_view(v->fd, XO, 4, 1);
	} else if (v->kind == MEMFD) {
		memcpy(v->w + PG(1), code, len);
		p = wx_view(v->fd, XO, 1, 1);
	} else {
		p = plain_pages(1, RW);
		wx_emit(p, SECRET);
		wx_mprotect(p, 1, XO);
	}
	return p != MAP_FAILED && !try_exec(p, &val) && val == SECRET ? p : NULL;
}

static int is_secret(const void *bytes)
{
	unsigned char code[LINE];

	return memcmp(bytes, code, wx_emit(code, SECRET)) ? BROKEN : DONE;
}

/* Loads it: DONE or a signal */
static int load(const char *p)
{
	unsigned char got[LINE] = { 0 };
	int sig = WX_CATCH(memcpy(got, p, LINE));

	return sig ? sig : is_secret(got);
}

/* Does the processor fault on loads from what can only be executed? */
static bool processor_helps(void)
{
	struct wxpool_info info;
	int fd = wx_open();
	bool helps = fd >= 0 && !wx_info(fd, &info) && info.features & WXPOOL_FEATURE_XO;

	close(fd);
	return helps;
}

/* --------------------------------------------------------- through mappings */

/* Where it is run; kept by the processor, not by the module */
ATTACK(xo_load, SIGSEGV, SIGSEGV, SIGSEGV)
{
	char *p = secret_code(v);

	if (!processor_helps())
		return missing(v, no_help);
	return p ? load(p) : BROKEN;
}

ATTACK(xo_mprotect, -EACCES, DONE, DONE)
{
	char *p = secret_code(v);

	if (!p)
		return BROKEN;
	return mprotect(p, PG(1), RX) ? -errno : load(p);
}

/* Without execution, so that the kernel may see nothing in it */
ATTACK(xo_mprotect_read, -EACCES, DONE, DONE)
{
	char *p = secret_code(v);

	if (!p || mprotect(p, PG(1), PROT_NONE))
		return BROKEN;
	return mprotect(p, PG(1), PROT_READ) ? -errno : load(p);
}

/* Where the secret's page is in the file */
static int map_again(struct victim *v, int prot)
{
	char *p = secret_code(v);

	if (!p)
		return BROKEN;
	p = wx_view(v->fd, prot, v->kind == WXPOOL ? 4 : 1, 1);
	return p == MAP_FAILED ? -errno : load(p);
}

ATTACK(xo_map_read, SIGBUS, NONE, DONE)
{
	return map_again(v, PROT_READ);
}

ATTACK(xo_map_run, SIGBUS, NONE, DONE)
{
	return map_again(v, RX);
}

/* Through the mapping that it was written by */
ATTACK(xo_alias, SIGBUS, NONE, DONE)
{
	wx_emit(v->w + PG(1), SECRET);
	if (v->kind == WXPOOL && wx_protect(v->fd, POOL, 1, 1, WXPOOL_PROT_XO))
		return BROKEN;
	return load(v->w + PG(1));
}

/* Duplicates the mapping, and makes that readable. */
ATTACK(xo_mremap_old_len_0, -EACCES, NONE, DONE)
{
	char *p = secret_code(v);

	if (!p)
		return BROKEN;
	p = mremap(p, 0, PG(1), MREMAP_MAYMOVE);
	if (p == MAP_FAILED)
		return -errno;
	return mprotect(p, PG(1), PROT_READ) ? -errno : load(p);
}

static char *inherited;

static int mprotect_inherited(struct victim *v)
{
	return mprotect(inherited, PG(1), PROT_READ) ? -errno : load(inherited);
}

ATTACK(xo_child_mprotect, -EACCES, DONE, DONE)
{
	inherited = secret_code(v);
	return inherited ? in_child(v, mprotect_inherited) : BROKEN;
}

/* -------------------------------------------------------- through the kernel */

ATTACK(xo_proc_self_mem, -EIO, DONE, DONE)
{
	int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	char *p = secret_code(v), got[LINE];

	if (!p || mem < 0)
		return BROKEN;
	if (pread(mem, got, LINE, (off_t)(uintptr_t)p) == LINE)
		return is_secret(got);
	return v->kind == WXPOOL ? -errno : missing(v, no_force);
}

static int peek_parent(struct victim *v)
{
	pid_t pid = getppid();
	int ret = wx_attach(pid);
	long words[2];

	if (ret)
		return ret;
	errno = 0;
	words[0] = ptrace(PTRACE_PEEKDATA, pid, inherited, NULL);
	words[1] = ptrace(PTRACE_PEEKDATA, pid, inherited + sizeof(long), NULL);
	ret = errno ? -errno : is_secret(words);
	ptrace(PTRACE_DETACH, pid, NULL, NULL);
	return ret;
}

ATTACK(xo_ptrace_peek, -EIO, DONE, DONE)
{
	inherited = secret_code(v);
	return inherited ? in_child(v, peek_parent) : BROKEN;
}

/* Asks for what can be read, and gets nothing of what cannot, whosever that is. */
ATTACK(xo_process_vm_readv, -EFAULT, -EFAULT, -EFAULT)
{
	char *p = secret_code(v), got[LINE];
	struct iovec local = { got, LINE }, remote = { p, LINE };

	if (!p)
		return BROKEN;
	return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == LINE ?
	       is_secret(got) : -errno;
}

/* A page in a pipe, which is taken from the page tables if it is there */
ATTACK(xo_vmsplice, -EFAULT, -EFAULT, -EFAULT)
{
	char *p = secret_code(v), got[LINE];
	struct iovec iov = { p, LINE };
	int ends[2];

	if (!p || pipe(ends))
		return BROKEN;
	if (!processor_helps())
		return missing(v, no_help);
	if (vmsplice(ends[1], &iov, 1, 0) != LINE)
		return -errno;
	return read(ends[0], got, LINE) == LINE ? is_secret(got) : BROKEN;
}

/* A system call that loads for its caller */
ATTACK(xo_write, -EFAULT, -EFAULT, -EFAULT)
{
	char *p = secret_code(v), got[LINE];
	int ends[2];

	if (!p || pipe(ends))
		return BROKEN;
	if (!processor_helps())
		return missing(v, no_help);
	if (write(ends[1], p, LINE) != LINE)
		return -errno;
	return read(ends[0], got, LINE) == LINE ? is_secret(got) : BROKEN;
}

/* ... or that copies it to where it can be read: INSTALL */
ATTACK(xo_install, -EFAULT, NONE, NONE)
{
	char *p = secret_code(v);
	int ret;

	if (!p)
		return BROKEN;
	if (!processor_helps())
		return missing(v, no_help);
	ret = wx_install(v->fd, POOL, PG(8), p, LINE, WXPOOL_PROT_R);
	return ret ? ret : load(wx_view(v->fd, PROT_READ, 8, 1));
}

/* Asks for the page again, to have it as data. */
ATTACK(xo_protect_read, -EPERM, NONE, NONE)
{
	wx_emit(v->w + PG(1), SECRET);
	if (wx_protect(v->fd, POOL, 1, 1, WXPOOL_PROT_XO))
		return BROKEN;
	return wx_protect(v->fd, POOL, 1, 1, WXPOOL_PROT_R);
}

/* ----------------------------------------- past what the processor looks at */

#ifdef __x86_64__

static void write_pkru(uint32_t val)
{
	asm volatile(".byte 0x0f, 0x01, 0xef" : : "a" (val), "c" (0), "d" (0) : "memory");
}

static uint32_t read_pkru(void)
{
	uint32_t val, high;

	asm volatile(".byte 0x0f, 0x01, 0xee" : "=a" (val), "=d" (high) : "c" (0));
	return val;
}

static bool have_keys(void)
{
	return processor_helps();
}

#else

static void write_pkru(uint32_t val)
{
}

static uint32_t read_pkru(void)
{
	return 0;
}

static bool have_keys(void)
{
	return false;
}

#endif

static const char no_keys[] = "the processor does it otherwise than by protection keys";

/* Not prevented by wxpool: an instruction allows the thread to use all keys. */
ATTACK(xo_wrpkru, DONE, DONE, DONE)
{
	char *p = secret_code(v);
	uint32_t old;
	int ret;

	if (!have_keys())
		return missing(v, no_keys);
	if (!p)
		return BROKEN;
	old = read_pkru();
	write_pkru(0);
	ret = load(p);
	write_pkru(old);
	return ret;
}

/* ... and a system call gives the mapping another one. */
ATTACK(xo_pkey_mprotect, DONE, DONE, DONE)
{
	char *p = secret_code(v);

	if (!have_keys())
		return missing(v, no_keys);
	if (!p)
		return BROKEN;
	return pkey_mprotect(p, PG(1), XO, 0) ? -errno : load(p);
}

/* ... or there is none left to give when it is mapped. */
ATTACK(xo_keys_used_up, DONE, DONE, DONE)
{
	int keys[16], nr = 0, ret;
	char *p;

	if (!have_keys())
		return missing(v, no_keys);
	while (nr < 16 && (keys[nr] = pkey_alloc(0, 0)) >= 0)
		nr++;
	p = secret_code(v);
	ret = p ? load(p) : BROKEN;
	while (nr--)
		pkey_free(keys[nr]);
	return ret;
}

TEST_HARNESS_MAIN
