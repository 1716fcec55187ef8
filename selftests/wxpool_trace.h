/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the kernel does for a test, counted by its own tracing. Where there is none,
 * or the test may not use it, the answer is -1.
 */
#ifndef WXPOOL_TRACE_H
#define WXPOOL_TRACE_H

#include "wxpool_util.h"

#define TRACING	"/sys/kernel/tracing/"

static inline int trace_write(const char *file, int flags, const char *text)
{
	char path[128];
	int fd, ret;

	snprintf(path, sizeof(path), TRACING "%s", file);
	fd = open(path, O_WRONLY | O_CLOEXEC | flags);
	if (fd < 0)
		return -errno;
	ret = !*text || write(fd, text, strlen(text)) > 0 ? 0 : -errno;
	close(fd);
	return ret;
}

/* Lines of the trace with a word in them */
static inline long trace_lines(const char *word)
{
	FILE *f = fopen(TRACING "trace", "r");
	char line[512];
	long nr = 0;

	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f))
		nr += *line != '#' && strstr(line, word);
	fclose(f);
	return nr;
}

/* Runs @fn with what is set up: such lines that it leaves in the trace */
static inline long trace_run(void (*fn)(int fd), int fd, const char *word)
{
	trace_write("trace", O_TRUNC, "");
	trace_write("tracing_on", 0, "1");
	fn(fd);
	trace_write("tracing_on", 0, "0");
	return trace_lines(word);
}

/*
 * The module's functions, and those of the core's that go with a walk over many
 * things. (Functions of lib/, such as rb_next(), cannot be traced.)
 */
static inline int trace_calls(void)
{
	static const char *const names[] = {
		"vma_*", "*i_mmap*", "*cond_resched*", "*:mod:wxpool",
	};
	char pid[16];
	size_t i;

	if (trace_write("current_tracer", 0, "nop") ||
	    trace_write("set_ftrace_filter", O_TRUNC, ""))
		return -ENODEV;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		trace_write("set_ftrace_filter", O_APPEND, names[i]);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	if (trace_write("set_ftrace_pid", O_TRUNC, pid))
		return -ENODEV;
	return trace_write("current_tracer", 0, "function");
}

/* Calls of such functions that @fn makes; it is run in any case. */
static inline long count_calls(void (*fn)(int fd), int fd)
{
	long nr = -1;

	if (trace_calls())
		fn(fd);
	else
		nr = trace_run(fn, fd, "");
	trace_write("current_tracer", 0, "nop");
	trace_write("set_ftrace_filter", O_TRUNC, "");
	trace_write("set_ftrace_pid", O_TRUNC, "");
	trace_write("tracing_on", 0, "1");
	return nr;
}

/* Pieces of work that @fn has threads of the kernel do, on whichever CPU */
static inline long count_work(void (*fn)(int fd), int fd)
{
	const char *event = "events/workqueue/workqueue_queue_work/enable";
	char who[16];
	long nr = -1;

	/* As the trace names who asked for it: the program's name and this */
	snprintf(who, sizeof(who), "-%d ", (int)getpid());
	if (trace_write(event, 0, "1"))
		fn(fd);
	else
		nr = trace_run(fn, fd, who);
	trace_write(event, 0, "0");
	trace_write("tracing_on", 0, "1");
	return nr;
}

#endif /* WXPOOL_TRACE_H */
