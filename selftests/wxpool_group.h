/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A memory cgroup for the processes of a test, and how many of the kernel's
 * pages are charged to it: exact, where /proc/meminfo is not.
 */
#ifndef WXPOOL_GROUP_H
#define WXPOOL_GROUP_H

#include <sys/mount.h>
#include <sys/stat.h>

#include "wxpool_util.h"

#define GROUP_MOUNT	"/tmp/wxpool-cgroup"

/* Bits of /proc/kpageflags: of the page cache, of processes, of slabs */
#define GROUP_NOT_OURS	(1ULL << 3 | 1ULL << 5 | 1ULL << 7 | 1ULL << 12)

struct group {
	bool mounted;
	char root[64], dir[128];
};

static inline int group_write(const struct group *g, const char *file,
			      const char *text)
{
	char path[192];

	snprintf(path, sizeof(path), "%s/%s", g->dir, file);
	return wx_write_file(path, text);
}

/* NULL, or why there is no such group */
static inline const char *group_make(struct group *g, const char *name)
{
	char path[128];

	memset(g, 0, sizeof(*g));
	strcpy(g->root, "/sys/fs/cgroup");
	if (access("/sys/fs/cgroup/cgroup.controllers", F_OK)) {
		mkdir(GROUP_MOUNT, 0755);
		if (access(GROUP_MOUNT "/cgroup.controllers", F_OK) &&
		    mount("none", GROUP_MOUNT, "cgroup2", 0, NULL))
			return "no cgroup2";
		g->mounted = true;
		strcpy(g->root, GROUP_MOUNT);
	}
	snprintf(path, sizeof(path), "%s/cgroup.subtree_control", g->root);
	if (wx_write_file(path, "+memory"))
		return "no memory controller in cgroup2";
	wx_write_file(path, "+pids");
	snprintf(g->dir, sizeof(g->dir), "%s/%s", g->root, name);
	if (mkdir(g->dir, 0755) && errno != EEXIST)
		return "no cgroup can be made";
	return NULL;
}

static inline void group_remove(struct group *g)
{
	rmdir(g->dir);
	if (g->mounted)
		umount(GROUP_MOUNT);
}

/* The calling process's memory is the group's from now on. */
static inline int group_join(const struct group *g)
{
	return group_write(g, "cgroup.procs", "0");
}

/* Is a page one of the kernel's, not of a process or a file? */
static inline bool group_is_kernels(int flags, uint64_t pfn)
{
	uint64_t flag = GROUP_NOT_OURS;

	return pread(flags, &flag, 8, pfn * 8) == 8 && !(flag & GROUP_NOT_OURS);
}

/*
 * Pages of the kernel charged to the group, or -1 where that cannot be told.
 * Those that a process of the group has, or a file's cache, do not count. It
 * looks at all pages of the machine, which takes its time.
 */
static inline long group_pages(const struct group *g)
{
	int cgroups = open("/proc/kpagecgroup", O_RDONLY);
	int flags = open("/proc/kpageflags", O_RDONLY);
	static uint64_t owner[8192];
	uint64_t pfn = 0;
	struct stat st;
	ssize_t len, i;
	long nr = -1;

	if (cgroups < 0 || flags < 0 || stat(g->dir, &st))
		goto out;
	nr = 0;
	while ((len = read(cgroups, owner, sizeof(owner))) > 0) {
		for (i = 0; i < len / 8; i++)
			nr += owner[i] == st.st_ino &&
			      group_is_kernels(flags, pfn + i);
		pfn += len / 8;
	}
out:
	close(cgroups);
	close(flags);
	return nr;
}

/*
 * A CPU with nothing to do keeps the page table of the last process that it ran,
 * until it runs another one, and references to pages lately unmapped from where
 * mlock() was used, in batches that drop_caches empties.
 */
static inline void group_visit_cpus(void)
{
	cpu_set_t all, one;
	int cpu;

	if (sched_getaffinity(0, sizeof(all), &all))
		return;
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		sched_setaffinity(0, sizeof(one), &one);
	}
	sched_setaffinity(0, sizeof(all), &all);
	wx_write_file("/proc/sys/vm/drop_caches", "1");
}

/*
 * Waits until no page is charged any more: some are given back by the kernel's
 * own threads, after the last process has ended. The time limit of the test
 * ends this if there are pages for good. False where pages cannot be counted.
 */
static inline bool group_wait_empty(const struct group *g)
{
	long nr, last = -1;

	while ((nr = group_pages(g)) > 0) {
		if (nr != last)
			printf("# %ld pages are still charged\n", nr);
		fflush(stdout);
		last = nr;
		group_visit_cpus();
		usleep(200000);
	}
	return !nr;
}

/* The same for the group of that name: NULL, or why that cannot be told. */
static inline const char *group_await_empty(const char *name)
{
	struct group group;
	const char *why;
	bool counted;

	if (access(WX_DEV, F_OK))
		return "no " WX_DEV ": modprobe wxpool first";
	why = group_make(&group, name);
	if (why)
		return why;
	counted = group_wait_empty(&group);
	group_remove(&group);
	return counted ? NULL : "no /proc/kpagecgroup";
}

#endif /* WXPOOL_GROUP_H */
