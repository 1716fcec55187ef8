// SPDX-License-Identifier: MIT
/*
 * A child made by fork() goes on with the same handle. It runs the code that it inherited,
 * also when its parent has freed that. What it loads itself is its own.
 */
#include <sys/wait.h>
#include <unistd.h>

#include "code.h"

static void *load(struct wxp *wxp, uint32_t pool, uint16_t value)
{
	char code[ANSWER_SIZE];
	void *f;

	code_answer(code, value);
	must(wxp_load(wxp, pool, code, sizeof(code), WXP_RX, &f), "wxp_load");
	return f;
}

/* Waits until the parent has freed what both of them have. */
static int be_child(struct wxp *wxp, const void *inherited, int parent)
{
	char byte;
	void *own;

	if (read(parent, &byte, 1) != 1)
		return 1;
	printf("child: inherited code still returns %d\n", code_run(inherited));
	own = load(wxp, 2, 43);
	printf("child: code of its own returns %d\n", code_run(own));
	must(wxp_free(wxp, 1), "wxp_free");	/* only forgets it */
	must(wxp_free(wxp, 2), "wxp_free");
	wxp_close(wxp);
	return 0;
}

int main(void)
{
	struct wxp *wxp;
	int pipe_fds[2], status;
	void *f;
	pid_t pid;

	must(wxp_open(&wxp, NULL), "wxp_open");
	f = load(wxp, 1, 42);
	printf("parent: its code returns %d\n", code_run(f));
	fflush(stdout);
	if (pipe(pipe_fds))
		return 1;
	pid = fork();
	if (pid < 0)
		return 1;
	if (!pid)
		return be_child(wxp, f, pipe_fds[0]);

	must(wxp_free(wxp, 1), "wxp_free");
	printf("parent: it is freed here\n");
	fflush(stdout);
	if (write(pipe_fds[1], "", 1) != 1 || waitpid(pid, &status, 0) != pid)
		return 1;
	wxp_close(wxp);
	return status ? 1 : 0;
}
