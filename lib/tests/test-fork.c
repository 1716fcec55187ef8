// SPDX-License-Identifier: MIT
/* What a child made by fork() may do, and what it may not disturb. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "test.h"

static void child_is_refused(struct wxp *w)
{
	struct wxp_stats s = { .size = sizeof(s) };
	struct wxp_request r = { 1, 0, WXP_R };
	void *p;

	CHILD_CHECK(wxp_alloc(w, 1, 1, 0, WXP_R, &p) == -EXDEV);
	CHILD_CHECK(wxp_reserve(w, 1, &r, 1) == -EXDEV);
	CHILD_CHECK(wxp_protect(w, 1) == -EXDEV);
	CHILD_CHECK(wxp_free(w, 1) == -EXDEV);
	CHILD_CHECK(wxp_get_stats(w, &s) == -EXDEV);
}

static void child_opens_its_own(uint32_t value)
{
	struct wxp *w;
	void *p;

	CHILD_CHECK(!wxp_open(&w, NULL));
	CHILD_CHECK(!wxp_alloc(w, 1, CODE_SIZE, 0, WXP_RX, &p));
	code_write(p, value);
	CHILD_CHECK(!wxp_protect(w, 1));
	CHILD_CHECK(code_run(p) == value);
	wxp_close(w);
}

static char *load(struct wxp *w, uint32_t pool)
{
	char *p = must_alloc(w, pool, CODE_SIZE, 0, WXP_RX);

	code_write(p, pool);
	CHECK_EQ(wxp_protect(w, pool), 0);
	return p;
}

TEST(child_runs_inherited_code_only)
{
	struct wxp *w = open_default();
	char *code = load(w, 5), *data = must_alloc(w, 5, 1, 0, WXP_RW);
	pid_t pid;

	must_alloc(w, 6, 1, 0, WXP_RX);
	*data = 1;
	fflush(stdout);
	pid = fork();
	if (!pid) {
		child_is_refused(w);
		CHILD_CHECK(code_run(code) == 5);
		*data = 2;
		child_opens_its_own(9);
		CHILD_CHECK(code_run(code) == 5);
		_exit(0);
	}
	wait_child(pid);
	CHECK_EQ(*data, 1);
	CHECK_EQ(code_run(code), 5);
	CHECK_EQ(wxp_free(w, 5), 0);
	wxp_close(w);
}

TEST(child_closes)
{
	struct wxp *w = open_default();
	char *code = load(w, 5), *data = must_alloc(w, 5, 1, 0, WXP_RW), *open_page;
	pid_t pid;

	*data = 1;
	open_page = must_alloc(w, 6, 1, 0, WXP_RX);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		wxp_close(w);
		CHILD_CHECK(load_faults(code) && load_faults(data));
		child_opens_its_own(3);
		_exit(0);
	}
	wait_child(pid);
	CHECK_EQ(code_run(code), 5);
	CHECK_EQ(*data, 1);
	*open_page = 1;
	CHECK_EQ(wxp_protect(w, 6), 0);
	CHECK_EQ(stats_of(w).pools, 2);
	check_stats(w);
	wxp_close(w);
}

TEST(grandchild_is_refused)
{
	struct wxp *w = open_default();
	char *code = load(w, 5);
	pid_t pid, pid2;
	int status;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		pid2 = fork();
		if (!pid2) {
			child_is_refused(w);
			CHILD_CHECK(code_run(code) == 5);
			_exit(0);
		}
		CHILD_CHECK(waitpid(pid2, &status, 0) == pid2 && !status);
		_exit(0);
	}
	wait_child(pid);
	wxp_close(w);
}

/* The addresses are not used again before the child is gone. */
TEST(parent_frees_what_a_child_runs)
{
	struct wxp *w = open_default();
	char *code = load(w, 5), *again;
	struct child child;

	start_child(&child, code, 5);
	CHECK_EQ(wxp_free(w, 5), 0);
	CHECK_EQ(stats_of(w).pools, 0);
	CHECK_EQ(stats_of(w).pages_kept, is_kernel(w));
	again = load(w, 5);
	CHECK_EQ(code_run(again), 5);
	CHECK(!is_kernel(w) || again != code);
	end_child(&child);
	CHECK_EQ(stats_of(w).pages_kept, 0);
	CHECK_EQ(wxp_free(w, 5), 0);
	again = load(w, 5);
	CHECK(again == code);
	wxp_close(w);
}

TEST(full_window_waits_for_child)
{
	struct wxp *w = open_window(2 * MIB);
	char *code = load(w, 5);
	struct child child;
	void *p;
	int ret;

	start_child(&child, code, 5);
	CHECK_EQ(wxp_free(w, 5), 0);
	ret = wxp_alloc(w, 1, 2 * MIB, 0, WXP_RX, &p);
	CHECK_EQ(ret, is_kernel(w) ? -ENOMEM : 0);
	end_child(&child);
	if (ret)
		must_alloc(w, 1, 2 * MIB, 0, WXP_RX);
	wxp_close(w);
}

static atomic_bool stop;

static void *hammer(void *arg)
{
	struct wxp *w = arg;
	void *p;

	while (!stop) {
		if (wxp_alloc(w, 7, 64, 0, WXP_RX, &p) || wxp_protect(w, 7) || wxp_free(w, 7))
			return w;
	}
	return NULL;
}

/* The lock may be held by a thread that the child does not have. */
TEST(fork_beside_a_busy_thread)
{
	struct wxp *w = open_default();
	char *code = load(w, 5);
	pthread_t thread;
	void *failed;
	pid_t pid;
	int i;

	stop = false;
	CHECK(!pthread_create(&thread, NULL, hammer, w));
	for (i = 0; i < 20; i++) {
		fflush(stdout);
		pid = fork();
		if (!pid) {
			alarm(60);
			child_is_refused(w);
			CHILD_CHECK(code_run(code) == 5);
			wxp_close(w);
			child_opens_its_own(4);
			_exit(0);
		}
		wait_child(pid);
	}
	stop = true;
	CHECK(!pthread_join(thread, &failed));
	CHECK(!failed);
	check_stats(w);
	wxp_close(w);
}
