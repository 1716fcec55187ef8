// SPDX-License-Identifier: MIT
/*
 * wxpool-top: which processes hold what of /dev/wxpool
 *
 * Looks at each descriptor of each process: those of the device say in fdinfo what their context
 * holds. A process is listed once for each context, however many descriptors it has of it; a
 * context counts once in the sum, however many processes share it.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <linux/kcmp.h>

#define DEVICE	"/sys/class/misc/wxpool/dev"
#define USERS	"/sys/kernel/debug/wxpool/users"

/* The keys of fdinfo, without "wxpool-", in the order in which they are printed */
enum key {
	CONTEXT, POOLS, OPEN, READ, EXEC, EXEC_ONLY, PACKED, HUGE, IDLE, KEPT, LINES, KEPT_LINES,
	CHARGED, LIMIT, NR_KEYS
};

static const char *const keys[NR_KEYS] = {
	"context", "pools", "open", "read", "exec", "exec-only", "packed", "huge", "idle", "kept",
	"lines", "kept-lines", "charged", "limit",
};

/* A process that holds a context */
struct holder {
	int pid;
	unsigned int uid;
	bool frozen;
	char command[64];
	uint64_t value[NR_KEYS];
};

struct list {
	struct holder *holders;
	size_t nr, room;
	size_t hidden;			/* processes that we may not look at */
	uint64_t contexts, charged;	/* each once */
	bool users;			/* is the same known of all users? */
	uint64_t users_contexts, users_charged;
};

__attribute__((format(printf, 1, 2), noreturn))
static void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("wxpool-top: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static dev_t find_device(void)
{
	unsigned int major, minor;
	FILE *f = fopen(DEVICE, "re");

	if (!f && errno == ENOENT)
		die("the module wxpool is not loaded (no %s)", DEVICE);
	if (!f || fscanf(f, "%u:%u", &major, &minor) != 2)
		die("cannot read %s", DEVICE);
	fclose(f);
	return makedev(major, minor);
}

static FILE *open_at(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");

	if (!f && fd >= 0)
		close(fd);
	return f;
}

static DIR *open_dir_at(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d && fd >= 0)
		close(fd);
	return d;
}

/* One line of fdinfo: adds the key that it has to @found. */
static void read_key(const char *line, struct holder *holder, unsigned int *found)
{
	size_t len;
	char *end;
	int i;

	if (strncmp(line, "wxpool-", 7))
		return;
	line += 7;
	for (i = 0; i < NR_KEYS; i++) {
		len = strlen(keys[i]);
		if (strncmp(line, keys[i], len) || line[len] != ':')
			continue;
		holder->value[i] = strtoull(line + len + 1, &end, 10);
		*found |= 1U << i;
		if (i == CONTEXT)
			holder->frozen = strstr(end, "frozen");
	}
}

static bool may_not_look(void)
{
	return errno == EACCES || errno == EPERM;
}

/*
 * A descriptor may be gone, or another file's, by the time that we look: 0 then, 1 if it is a
 * context's, -1 if we may not look.
 */
static int read_fdinfo(int proc, const char *fd, struct holder *holder)
{
	unsigned int found = 0;
	char name[300], line[128];
	FILE *f;

	snprintf(name, sizeof(name), "fdinfo/%s", fd);
	f = open_at(proc, name);
	if (!f)
		return may_not_look() ? -1 : 0;
	while (fgets(line, sizeof(line), f))
		read_key(line, holder, &found);
	fclose(f);
	return found == (1U << NR_KEYS) - 1;
}

static void add_holder(struct list *list, const struct holder *holder)
{
	if (list->nr == list->room) {
		list->room = list->room ? 2 * list->room : 16;
		list->holders = realloc(list->holders, list->room * sizeof(*holder));
		if (!list->holders)
			die("out of memory");
	}
	list->holders[list->nr++] = *holder;
}

/* Whose it is, and what it calls itself, which may be anything */
static void read_process(int proc, struct holder *holder)
{
	FILE *f = open_at(proc, "status");
	char line[128];
	size_t len = 0;

	if (f) {
		while (fgets(line, sizeof(line), f) && sscanf(line, "Uid: %u", &holder->uid) != 1)
			;
		fclose(f);
	}
	f = open_at(proc, "comm");
	if (f) {
		len = fread(holder->command, 1, sizeof(holder->command) - 1, f);
		fclose(f);
	}
	if (len && holder->command[len - 1] == '\n')
		len--;
	holder->command[len] = 0;
}

/*
 * Answers as read_fdinfo(). Asks no file system, as it may never answer: what it knows already
 * will do. Follows the link to the open file, whatever its name is.
 */
static int is_device(int proc, const char *fd, dev_t device)
{
	struct statx st;
	char name[300];

	snprintf(name, sizeof(name), "fd/%s", fd);
	if (statx(proc, name, AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, STATX_TYPE, &st))
		return may_not_look() ? -1 : 0;
	return S_ISCHR(st.stx_mode) && makedev(st.stx_rdev_major, st.stx_rdev_minor) == device;
}

/*
 * Of a process or one of its threads: false if we may not look. Who may list the descriptors may
 * not look at them by that.
 */
static bool look_at_table(struct list *list, int dir, struct holder *holder, dev_t device)
{
	DIR *fds = open_dir_at(dir, "fd");
	struct dirent *entry;
	int found = 0;

	if (!fds)
		return !may_not_look();
	while (found >= 0 && (entry = readdir(fds))) {
		if (!isdigit((unsigned char)*entry->d_name))
			continue;
		found = read_fdinfo(dir, entry->d_name, holder);
		if (found > 0)
			found = is_device(dir, entry->d_name, device);
		if (found > 0)
			add_holder(list, holder);
	}
	closedir(fds);
	return found >= 0;
}

/* Have two threads a table of descriptors each? Not if the kernel does not say. */
static bool tables_differ(int thread, int other)
{
	return syscall(SYS_kcmp, thread, other, KCMP_FILES, 0, 0) > 0;
}

/* A thread may have a table of its own, and the main thread none, once it has ended. */
static bool look_at_threads(struct list *list, int proc, struct holder *holder, dev_t device)
{
	DIR *threads = open_dir_at(proc, "task");
	int dir, thread, last = holder->pid;
	struct dirent *entry;
	bool all = true;
	char name[300];

	while (threads && (entry = readdir(threads))) {
		thread = atoi(entry->d_name);
		if (!thread || !tables_differ(last, thread))
			continue;
		last = thread;
		snprintf(name, sizeof(name), "task/%s", entry->d_name);
		dir = openat(proc, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (dir < 0)
			continue;
		all &= look_at_table(list, dir, holder, device);
		close(dir);
	}
	if (threads)
		closedir(threads);
	return all;
}

static void look_at_process(struct list *list, int proc, int pid, dev_t device)
{
	struct holder holder = { .pid = pid };

	read_process(proc, &holder);
	if (!look_at_table(list, proc, &holder, device) ||
	    !look_at_threads(list, proc, &holder, device))
		list->hidden++;
}

static void look_at_processes(struct list *list, dev_t device)
{
	DIR *all = opendir("/proc");
	bool some = false;
	struct dirent *entry;
	char name[300];
	int proc;

	if (!all)
		die("cannot read /proc: %s", strerror(errno));
	while ((entry = readdir(all))) {
		if (!isdigit((unsigned char)*entry->d_name))
			continue;
		some = true;
		snprintf(name, sizeof(name), "/proc/%s", entry->d_name);
		proc = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (proc < 0)
			continue;
		look_at_process(list, proc, atoi(entry->d_name), device);
		close(proc);
	}
	closedir(all);
	if (!some)
		die("there are no processes in /proc: is it mounted?");
}

/* The most bytes first; who shares a context side by side */
static int compare(const void *a, const void *b)
{
	const struct holder *x = a, *y = b;

	if (x->value[CHARGED] != y->value[CHARGED])
		return x->value[CHARGED] < y->value[CHARGED] ? 1 : -1;
	if (x->value[CONTEXT] != y->value[CONTEXT])
		return x->value[CONTEXT] < y->value[CONTEXT] ? -1 : 1;
	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

static int compare_contexts(const void *a, const void *b)
{
	const struct holder *x = a, *y = b;

	if (x->value[CONTEXT] != y->value[CONTEXT])
		return x->value[CONTEXT] < y->value[CONTEXT] ? -1 : 1;
	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

/*
 * Leaves one line for each context of a process, and counts each context once. One that changes
 * between two looks at it is not where it would be by its bytes, so that comes last.
 */
static void merge(struct list *list)
{
	const struct holder *h, *last = NULL;
	size_t i, nr = 0;

	if (!list->nr)
		return;
	qsort(list->holders, list->nr, sizeof(*list->holders), compare_contexts);
	for (i = 0; i < list->nr; i++) {
		h = &list->holders[i];
		if (last && !compare_contexts(last, h))
			continue;
		if (!last || last->value[CONTEXT] != h->value[CONTEXT]) {
			list->contexts++;
			list->charged += h->value[CHARGED];
		}
		list->holders[nr] = *h;
		last = &list->holders[nr++];
	}
	list->nr = nr;
	qsort(list->holders, list->nr, sizeof(*list->holders), compare);
}

static void read_users(struct list *list)
{
	FILE *f = fopen(USERS, "re");
	uint64_t contexts, charged;
	char line[128];

	list->users = f;
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%*u %" SCNu64 " %" SCNu64, &contexts, &charged) != 2)
			continue;
		list->users_contexts += contexts;
		list->users_charged += charged;
	}
	if (f)
		fclose(f);
}

/* Such that it cannot do things to a terminal. */
static void print_command(const char *command)
{
	for (; *command; command++)
		putchar(isprint((unsigned char)*command) ? *command : '?');
}

static void print_text(const struct list *list)
{
	const struct holder *h;

	printf("%7s %7s %8s %8s %8s %8s %12s %12s  %s\n", "PID", "UID", "CONTEXT", "POOLS", "OPEN",
	       "SEALED", "BYTES", "LIMIT", "COMMAND");
	for (h = list->holders; h < list->holders + list->nr; h++) {
		const uint64_t *v = h->value;

		printf("%7d %7u %8" PRIu64 " %8" PRIu64 " %8" PRIu64 " %8" PRIu64 " %12" PRIu64
		       " %12" PRIu64 "  ", h->pid, h->uid, v[CONTEXT], v[POOLS], v[OPEN],
		       v[READ] + v[EXEC] + v[EXEC_ONLY], v[CHARGED], v[LIMIT]);
		print_command(h->command);
		puts(h->frozen ? " (frozen)" : "");
	}
	printf("contexts: %" PRIu64 ", bytes: %" PRIu64 "\n", list->contexts, list->charged);
	if (list->users)
		printf("of all users: contexts: %" PRIu64 ", bytes: %" PRIu64 "\n",
		       list->users_contexts, list->users_charged);
	if (list->hidden)
		printf("not looked at: %zu processes, for which CAP_SYS_PTRACE is needed\n",
		       list->hidden);
}

/* Bytes that are not ASCII are taken for Latin-1, as they may be no UTF-8. */
static void print_string(const char *s)
{
	putchar('"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			printf("\\%c", *s);
		else if (*s < ' ' || *s > '~')
			printf("\\u%04x", (unsigned char)*s);
		else
			putchar(*s);
	}
	putchar('"');
}

static void print_json(const struct list *list)
{
	const struct holder *h;
	const char *p;
	int i;

	printf("{\n  \"holders\": [");
	for (h = list->holders; h < list->holders + list->nr; h++) {
		printf("%s\n    { \"pid\": %d, \"uid\": %u, \"command\": ",
		       h > list->holders ? "," : "", h->pid, h->uid);
		print_string(h->command);
		printf(", \"frozen\": %s", h->frozen ? "true" : "false");
		for (i = 0; i < NR_KEYS; i++) {
			printf(", \"");
			for (p = keys[i]; *p; p++)
				putchar(*p == '-' ? '_' : *p);
			printf("\": %" PRIu64, h->value[i]);
		}
		printf(" }");
	}
	printf("\n  ],\n  \"contexts\": %" PRIu64 ",\n  \"charged\": %" PRIu64 ",\n",
	       list->contexts, list->charged);
	if (list->users)
		printf("  \"all_contexts\": %" PRIu64 ",\n  \"all_charged\": %" PRIu64 ",\n",
		       list->users_contexts, list->users_charged);
	printf("  \"hidden_processes\": %zu\n}\n", list->hidden);
}

static void print_help(void)
{
	puts("usage: wxpool-top [--json]\n"
	     "\n"
	     "Lists the processes that hold contexts of /dev/wxpool, the largest first.\n"
	     "\n"
	     "  -j, --json     print JSON\n"
	     "  -h, --help     print this\n"
	     "  -V, --version  print the version\n"
	     "\n"
	     "Without root, only those processes are listed that the user may look at.");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	struct list list = { 0 };
	bool json = false;
	int option;

	while ((option = getopt_long(argc, argv, "jhV", options, NULL)) != -1) {
		switch (option) {
		case 'j':
			json = true;
			break;
		case 'h':
			print_help();
			return 0;
		case 'V':
			puts("wxpool-top " WXPOOL_VERSION);
			return 0;
		default:
			return 2;
		}
	}
	if (optind < argc)
		die("what is '%s' for? see --help", argv[optind]);
	look_at_processes(&list, find_device());
	merge(&list);
	read_users(&list);
	if (json)
		print_json(&list);
	else
		print_text(&list);
	free(list.holders);
	if (fflush(stdout) || ferror(stdout))
		die("cannot write");
	return 0;
}
