/* SPDX-License-Identifier: MIT */
/* What several peers need. */
#ifndef WXBENCH_PEER_H
#define WXBENCH_PEER_H

#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "wxbench.h"

static inline char *map_anonymous(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("mmap of %zu bytes failed", size);
	return (char *)p;
}

static inline void protect(void *at, size_t size, enum kind kind)
{
	if (mprotect(at, size, kind == CODE ? PROT_READ | PROT_EXEC : PROT_READ))
		die("mprotect of %zu bytes failed", size);
}

static inline void device_call(int fd, unsigned long op, void *arg, const char *name)
{
	if (ioctl(fd, op, arg))
		die("%s on /dev/wxpool failed: %m", name);
}

static inline void write_parts(struct module *mod)
{
	for (unsigned int i = 0; i < mod->nr; i++)
		memcpy(mod->parts[i].at, mod->parts[i].bytes, mod->parts[i].size);
}

#endif /* WXBENCH_PEER_H */
