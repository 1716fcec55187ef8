// SPDX-License-Identifier: MIT
/*
 * words [CAUSE]: opens a context and makes the cause of an error, for words.sh, which made
 * others around it. Prints what went wrong, as "STEP ERROR: SENTENCE", or the backend;
 * or "skip REASON", if the kernel cannot make the cause.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "wxpool.h"

#ifndef PR_SET_MDWE
#define PR_SET_MDWE	65
#endif

static const char code[64];

static void say(const char *step, int err)
{
	printf("%s %s: %s\n", step, strerrorname_np(-err), wxp_strerror(err));
	fflush(stdout);
}

static int load(struct wxp *w, uint32_t pool)
{
	void *addr;

	return wxp_load(w, pool, code, sizeof(code), WXP_RX, &addr);
}

static int freed(struct wxp *w)
{
	return wxp_free(w, 7);
}

static int zero(struct wxp *w)
{
	return load(w, 0);
}

static int frozen(struct wxp *w)
{
	int err = wxp_freeze(w);

	return err ? err : load(w, 1);
}

static int limit(struct wxp *w)
{
	static char much[1 << 20];
	void *addr;

	return wxp_load(w, 1, much, sizeof(much), WXP_RX, &addr);
}

static int window(struct wxp *w)
{
	struct wxp_request r = { .size = (size_t)4 << 30, .prot = WXP_RX };
	struct wxp_span span;

	return wxp_place(w, 1, &r, 1, &span);
}

/* Pieces of an install: @nr of the span's bytes, from @src, and again */
static int pieces(struct wxp *w, size_t nr, const void *src, bool again)
{
	struct wxp_request r = { .size = 64, .prot = WXP_RX };
	struct wxp_piece p[600];
	struct wxp_span span;
	size_t i;
	int err = wxp_place(w, 1, &r, 1, &span);

	for (i = 0; i < nr; i++)
		p[i] = (struct wxp_piece){ span.addr, src, 1 };
	if (!err)
		err = wxp_install(w, 1, p, nr);
	if (!err && again)
		err = wxp_install(w, 1, p, nr);
	return err;
}

static int twice(struct wxp *w)
{
	return pieces(w, 1, code, true);
}

static int many(struct wxp *w)
{
	return pieces(w, 600, code, false);
}

static int unreadable(struct wxp *w)
{
	return pieces(w, 1, (const void *)64, false);
}

static int closed(struct wxp *w)
{
	close(wxp_get_fd(w));
	return load(w, 1);
}

/* Runs in a child that fork() made, or one that the kernel alone knows of. */
static int in_child(struct wxp *w, bool cloned, int (*function)(struct wxp *w))
{
	int status = 0;
	pid_t pid;

	pid = cloned ? (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) : fork();
	if (!pid)
		_exit(-function(w));
	waitpid(pid, &status, 0);
	return -WEXITSTATUS(status);
}

static int load_one(struct wxp *w)
{
	return load(w, 1);
}

static int cloned(struct wxp *w)
{
	return in_child(w, true, load_one);
}

static struct wxp_span inherited;

static int install_inherited(struct wxp *w)
{
	struct wxp_piece p = { inherited.addr, code, 1 };

	return wxp_install(w, 1, &p, 1);
}

static int forked(struct wxp *w)
{
	struct wxp_request r = { .size = 64, .prot = WXP_RX };
	int err = wxp_place(w, 1, &r, 1, &inherited);

	return err ? err : in_child(w, false, install_inherited);
}

static const struct {
	const char *name;
	int (*function)(struct wxp *w);
} causes[] = {
	{ "freed", freed },	{ "zero", zero },		{ "frozen", frozen },
	{ "limit", limit },	{ "window", window },		{ "twice", twice },
	{ "many", many },	{ "unreadable", unreadable },	{ "closed", closed },
	{ "cloned", cloned },	{ "forked", forked },
};

static int made(const char *cause, struct wxp *w)
{
	size_t i;

	for (i = 0; i < sizeof(causes) / sizeof(causes[0]); i++)
		if (!strcmp(cause, causes[i].name))
			return causes[i].function(w);
	return load_one(w);
}

static void before_opening(const char *cause)
{
	struct rlimit few = { .rlim_cur = 3, .rlim_max = 3 };

	if (!strcmp(cause, "mdwe") && prctl(PR_SET_MDWE, 1, 0, 0, 0)) {
		printf("skip this kernel has no PR_SET_MDWE (6.3)\n");
		exit(1);
	} else if (!strcmp(cause, "files")) {
		setrlimit(RLIMIT_NOFILE, &few);
	} else if (!strcmp(cause, "space")) {
		setrlimit(RLIMIT_AS, &few);
	}
}

int main(int argc, char **argv)
{
	const char *cause = argc > 1 ? argv[1] : "load";
	struct wxp_options options = {
		.size = sizeof(options),
		.flags = strcmp(cause, "mseal") ? 0 : WXP_MSEAL,
	};
	struct wxp *w;
	int err;

	before_opening(cause);
	err = wxp_open(&w, &options);
	if (err) {
		say("open", err);
		return 1;
	}
	printf("backend %s\n", wxp_backend_name(wxp_get_backend(w)));
	if (wxp_get_fallback(w))
		say("fallback", wxp_get_fallback(w));
	err = made(cause, w);
	if (err)
		say(cause, err);
	wxp_close(w);
	return err != 0;
}
