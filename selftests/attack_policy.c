// SPDX-License-Identifier: GPL-2.0
/*
 * The attack book, policy: what a program may not do with the device, because of a
 * security module, of how it was opened, or of the mode of its node; and descriptors
 * that are another file's by now.
 */
#include <sys/sysmacros.h>

#include "attack.h"
#include "wxpool_uring.h"

#define USER	54321

static const char no_ring[] = "no io_uring";

static struct wxpool_install install_of(const struct wxpool_install_range *r,
					uint64_t context)
{
	return (struct wxpool_install) {
		.size = sizeof(struct wxpool_install), .pool = POOL, .context = context,
		.ranges = (uintptr_t)r, .nr_ranges = 1,
	};
}

/* An operation by a ring of the caller's: what it says, or MISSING */
static int by_ring(int fd, unsigned long op, void *arg)
{
	struct io_uring ring;
	int ret;

	if (ring_init(&ring, 0))
		return MISSING;
	ret = ring_op(&ring, fd, op, arg, 0);
	io_uring_queue_exit(&ring);
	return ret;
}

/* The attacker's function by INSTALL, into the page that is free in each context */
static int install_evil(int fd, bool ring)
{
	struct wxpool_install_range r = wx_bytes(PG(4), evil_page(), LINE, WXPOOL_PROT_X);
	struct wxpool_install arg = install_of(&r, 0);

	return ring ? by_ring(fd, WXPOOL_IOC_INSTALL, &arg) :
		      wx_ioctl(fd, WXPOOL_IOC_INSTALL, &arg);
}

static int alloc_by_ring(int fd)
{
	struct wxpool_alloc_range r = wx_alloc_range(6, 1);
	struct wxpool_alloc arg = {
		.size = sizeof(arg), .pool = POOL, .ranges = (uintptr_t)&r, .nr_ranges = 1,
	};

	return by_ring(fd, WXPOOL_IOC_ALLOC, &arg);
}

/* ---------------------------------------------------------------- Landlock */

#define NR_LANDLOCK_CREATE_RULESET	444
#define NR_LANDLOCK_RESTRICT_SELF	446
#define LANDLOCK_VERSION		(1U << 0)
#define LANDLOCK_IOCTL_DEV		(1ULL << 15)

/* May do all it could, but no ioctl() on devices that it opens: 0 or MISSING */
static int forbid_ioctl(void)
{
	uint64_t handled = LANDLOCK_IOCTL_DEV;
	int fd;

	if (syscall(NR_LANDLOCK_CREATE_RULESET, NULL, 0, LANDLOCK_VERSION) < 5)
		return MISSING;
	fd = syscall(NR_LANDLOCK_CREATE_RULESET, &handled, sizeof(handled), 0);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (fd < 0 || syscall(NR_LANDLOCK_RESTRICT_SELF, fd, 0))
		return MISSING;
	close(fd);
	return 0;
}

/* Code of its own, of the kind that the victim is made of */
static int add_own_code(struct victim *v, bool ring)
{
	struct io_uring_sqe sqe = { .opcode = IORING_OP_WRITE, .len = LINE };
	struct io_uring u;
	char *p;
	int ret;

	if (v->kind == WXPOOL) {
		v->fd = wx_open();
		if (v->fd < 0)
			return v->fd;
		ret = install_evil(v->fd, ring);
		/* What a worker of the ring does is no other matter. */
		if (ring && ret == -EACCES)
			ret = alloc_by_ring(v->fd);
		return ret ? ret : run(wx_view(v->fd, RX, 4, 1));
	}
	if (v->kind == MPROTECT) {
		p = evil_page();
		return mprotect(p, PG(1), RX) ? -errno : run(p);
	}
	v->fd = memfd_create("own", MFD_CLOEXEC);
	p = wx_view(v->fd, RX, 0, 1);
	if (ftruncate(v->fd, (off_t)PG(1)) || p == MAP_FAILED)
		return BROKEN;
	if (ring) {
		if (ring_init(&u, 0))
			return MISSING;
		sqe.fd = v->fd;
		sqe.addr = (uintptr_t)evil_page();
		ring_submit(&u, &sqe);
		ret = ring_wait(&u);
	} else {
		ret = pwrite(v->fd, evil_page(), LINE, 0);
	}
	return ret == LINE ? run(p) : BROKEN;
}

static int add_code_confined(struct victim *v)
{
	return forbid_ioctl() ?: add_own_code(v, false);
}

static int add_code_confined_by_ring(struct victim *v)
{
	return forbid_ioctl() ?: add_own_code(v, true);
}

static const char no_landlock[] = "no Landlock for ioctl() (6.10), or no io_uring";

ATTACK(landlock_add_code, -EACCES, DONE, DONE)
{
	int ret = in_child(v, add_code_confined);

	return ret == MISSING ? missing(v, no_landlock) : ret;
}

/* A ring is no way around it. */
ATTACK(landlock_add_code_ring, -EACCES, NONE, DONE)
{
	int ret = in_child(v, add_code_confined_by_ring);

	return ret == MISSING ? missing(v, no_landlock) : ret;
}

/* ------------------------------------------- descriptors that are not for both */

/* Of a file the same one, of the device a context of the attacker's own */
static int open_as(struct victim *v, int flags)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", v->fd);
	fd = open(v->kind == WXPOOL ? WX_DEV : path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int add_code_by(struct victim *v, int flags, bool ring)
{
	int fd = open_as(v, flags), ret;
	struct io_uring u;
	struct io_uring_sqe sqe = {
		.opcode = IORING_OP_WRITE, .fd = fd, .len = LINE,
		.addr = (uintptr_t)evil_page(),
	};

	if (fd < 0)
		return fd;
	if (v->kind == WXPOOL) {
		ret = install_evil(fd, ring);
		if (ring && ret == -EBADF)
			ret = alloc_by_ring(fd);
		return ret ? ret : DONE;
	}
	if (!ring)
		return pwrite(fd, evil_page(), LINE, 0) == LINE ? HARMLESS : -errno;
	if (ring_init(&u, 0))
		return MISSING;
	ring_submit(&u, &sqe);
	ret = ring_wait(&u);
	return ret == LINE ? HARMLESS : ret;
}

ATTACK(rdonly_add_code, -EBADF, NONE, -EBADF)
{
	return add_code_by(v, O_RDONLY, false);
}

ATTACK(rdonly_add_code_ring, -EBADF, NONE, -EBADF)
{
	int ret = add_code_by(v, O_RDONLY, true);

	return ret == MISSING ? missing(v, no_ring) : ret;
}

ATTACK(wronly_add_code, -EBADF, NONE, DONE)
{
	return add_code_by(v, O_WRONLY, false);
}

ATTACK(wronly_add_code_ring, -EBADF, NONE, DONE)
{
	int ret = add_code_by(v, O_WRONLY, true);

	return ret == MISSING ? missing(v, no_ring) : ret;
}

ATTACK(rdonly_map_rw, -EACCES, NONE, -EACCES)
{
	int fd = open_as(v, O_RDONLY);
	char *p = wx_view(fd, RW, 0, 1);

	return p == MAP_FAILED ? -errno : overwrite(p);
}

/* Opened anew for both: of the device that is another context, and an empty one. */
ATTACK(rdonly_reopen, HARMLESS, NONE, DONE)
{
	int fd = open_as(v, O_RDONLY), again;
	struct victim other = *v;

	if (fd < 0)
		return fd;
	other.fd = fd;
	other.kind = MEMFD;	/* by the name of the descriptor, whatever it is */
	again = open_as(&other, O_RDWR);
	if (again < 0)
		return again;
	if (v->kind != WXPOOL)
		return pwrite(again, evil_page(), LINE, 0) == LINE ? HARMLESS : -errno;
	if (wx_id(again) == wx_id(v->fd) || wx_id(again) == wx_id(fd) ||
	    wx_stat(again).pools || install_evil(again, false))
		return BROKEN;
	return wx_stat(v->fd).packed || wx_stat(fd).packed ? DONE : HARMLESS;
}

/* ---------------------------------------------------- the node, before a rule */

/* What the kernel tells of the node that it makes: 0600 if nothing is said */
static int node_mode(dev_t *dev)
{
	unsigned int major = 0, minor = 0, mode = 0600, val;
	FILE *f = fopen("/sys/class/misc/wxpool/uevent", "r");
	char line[128];

	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "MAJOR=%u", &val) == 1)
			major = val;
		if (sscanf(line, "MINOR=%u", &val) == 1)
			minor = val;
		if (sscanf(line, "DEVMODE=%o", &val) == 1)
			mode = val;
	}
	fclose(f);
	*dev = makedev(major, minor);
	return (int)mode;
}

static char node_dir[32];

static int open_node(struct victim *v)
{
	static const int flags[] = { O_RDWR, O_RDONLY, O_WRONLY };
	char path[64];
	int i;

	snprintf(path, sizeof(path), "%s/node", node_dir);
	if (setresgid(USER, USER, USER) || setresuid(USER, USER, USER))
		return BROKEN;
	for (i = 0; i < 3; i++)
		if (open(path, flags[i]) >= 0)
			return DONE;
	return -errno;
}

/* Opens the device as soon as it is there, as a user whom nobody has allowed to. */
ATTACK(open_before_rule, -EACCES, NONE, NONE)
{
	char path[64];
	dev_t dev = 0;
	int mode = node_mode(&dev), ret;

	if (mode < 0 || geteuid())
		return missing(v, "no /sys, or not root");
	strcpy(node_dir, "/tmp/wxpool.XXXXXX");
	if (!mkdtemp(node_dir) || chmod(node_dir, 0755))
		return BROKEN;
	snprintf(path, sizeof(path), "%s/node", node_dir);
	umask(0);
	/* One of the same kind: that in /dev has met a rule by now. */
	if (mknod(path, S_IFCHR | (mode_t)mode, dev))
		ret = missing(v, "no node can be made");
	else if (open(path, O_RDWR) < 0)
		ret = missing(v, "nodes are of no use in /tmp");
	else
		ret = in_child(v, open_node);
	unlink(path);
	rmdir(node_dir);
	return ret;
}

/* ------------------------------------------- the descriptor is another's by now */

/* All that the JIT does then, by its number: ESTALE, or what is not that */
static int use_stale(int fd, uint64_t id)
{
	struct wxpool_install_range r = wx_bytes(PG(4), evil_page(), LINE, WXPOOL_PROT_X);
	struct wxpool_install arg = install_of(&r, id);
	struct wxpool_free all = {
		.size = sizeof(all), .flags = WXPOOL_FREE_ALL, .context = id,
	};
	struct wxpool_freeze freeze = { .size = sizeof(freeze), .context = id };
	struct wxpool_info info = { .size = sizeof(info), .context = id };
	int ret[5], i;

	ret[0] = wx_ioctl(fd, WXPOOL_IOC_INSTALL, &arg);
	ret[1] = wx_ioctl(fd, WXPOOL_IOC_FREE, &all);
	ret[2] = wx_ioctl(fd, WXPOOL_IOC_FREEZE, &freeze);
	ret[3] = wx_ioctl(fd, WXPOOL_IOC_INFO, &info);
	ret[4] = by_ring(fd, WXPOOL_IOC_INSTALL, &arg);
	for (i = 0; i < 5; i++)
		if (ret[i] != -ESTALE && ret[i] != MISSING)
			return ret[i] ? ret[i] : DONE;
	return -ESTALE;
}

/* Another context is in the place of the JIT's, which names the one that it means. */
ATTACK(swap_fd_named, -ESTALE, NONE, DONE)
{
	struct victim other;
	uint64_t id = 0;
	int ret;

	if (v->kind == WXPOOL)
		id = wx_id(v->fd);
	if (victim_open(&other, v->kind) || overwrite(other.w) || victim_publish(&other) ||
	    dup2(other.fd, v->fd) < 0)
		return BROKEN;
	if (v->kind != WXPOOL)
		return run(wx_view(v->fd, RX, 0, 1));
	ret = use_stale(v->fd, id);
	/* Nothing of the other's has changed. */
	return run(other.code) == DONE ? ret : DONE;
}

/* The number belongs to a context again that was closed and opened. */
ATTACK(reopened_fd_named, -ESTALE, NONE, NONE)
{
	struct victim first, second;
	uint64_t id;
	int ret;

	if (victim_new(&first, WXPOOL))
		return BROKEN;
	id = wx_id(first.fd);
	munmap(first.code, PG(2));
	munmap(first.w, PG(2));
	close(first.fd);
	if (victim_new(&second, WXPOOL) || second.fd != first.fd)
		return BROKEN;
	ret = use_stale(second.fd, id);
	return victim_look(&second) == HARMLESS ? ret : DONE;
}

TEST_HARNESS_MAIN
