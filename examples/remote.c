// SPDX-License-Identifier: MIT
/*
 * One process compiles, another one runs what it compiled. The compiler maps nothing that
 * can be executed; the executor, which is this program once more, can neither add code nor
 * change any. Only the kernel backend can do that.
 */
#include <errno.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <wxpool-remote.h>

#include "code.h"

/* Until the compiler goes */
static int execute(int sock)
{
	struct wxp_executor *executor;
	size_t size;
	void *base;
	int ret;

	must(wxp_executor_attach(sock, &executor), "wxp_executor_attach");
	wxp_executor_get_window(executor, &base, &size);
	printf("Executor: %zu MiB are mapped at %p.\n", size >> 20, base);
	fflush(stdout);
	ret = wxp_executor_serve(executor);
	must(ret == -EPIPE ? 0 : ret, "wxp_executor_serve");
	printf("Executor: the compiler has gone.\n");
	wxp_executor_detach(executor);
	return 0;
}

static pid_t start_executor(int socks[2])
{
	char number[16];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, socks))
		must(-errno, "socketpair");
	fflush(stdout);
	pid = fork();
	if (!pid) {
		close(socks[0]);
		snprintf(number, sizeof(number), "%d", socks[1]);
		execl("/proc/self/exe", "remote", number, (char *)NULL);
		_exit(1);
	}
	must(pid < 0 ? -errno : 0, "fork");
	close(socks[1]);
	return pid;
}

/*
 * A counter: code, its step and its count. Their distances are the same in both processes, so
 * that relative addresses need nothing; absolute ones would be those of wxp_remote_addr().
 */
static void *install_counter(struct wxp *wxp, struct wxp_remote *remote, uint32_t pool,
			     int first, int step)
{
	const struct wxp_request reqs[] = {
		{ COUNTER_SIZE, 0, WXP_RX },
		{ sizeof(step), 0, WXP_R },
		{ sizeof(first), 0, WXP_RW },
	};
	struct wxp_piece pieces[2], variable;
	char code[COUNTER_SIZE];
	struct wxp_span s[3];

	must(wxp_place(wxp, pool, reqs, 3, s), "wxp_place");
	code_counter(code, s[0].addr, s[2].addr, s[1].addr);
	pieces[0] = (struct wxp_piece){ s[0].addr, code, sizeof(code) };
	pieces[1] = (struct wxp_piece){ s[1].addr, &step, sizeof(step) };
	must(wxp_install(wxp, pool, pieces, 2), "wxp_install");
	variable = (struct wxp_piece){ s[2].addr, &first, sizeof(first) };
	must(wxp_remote_write(remote, &variable, 1), "wxp_remote_write");
	printf("Compiler: the function at %p is at 0x%llx there.\n", s[0].addr,
	       (unsigned long long)wxp_remote_addr(remote, s[0].addr));
	return s[0].addr;
}

int main(int argc, char **argv)
{
	struct wxp_options opts = { .size = sizeof(opts), .flags = WXP_COMPILE_ONLY };
	struct wxp_remote *remote;
	int socks[2], i, ret;
	struct wxp *wxp;
	uint64_t value;
	void *counter;
	pid_t pid;

	if (argc > 1)
		return execute(atoi(argv[1]));
	ret = wxp_open(&wxp, &opts);
	if (ret) {
		printf("This needs the kernel backend, which cannot be had here (%s).\n",
		       strerror(-ret));
		return 0;
	}
	pid = start_executor(socks);
	must(wxp_remote_connect(wxp, socks[0], &remote), "wxp_remote_connect");
	counter = install_counter(wxp, remote, 1, 40, 2);
	for (i = 0; i < 2; i++) {
		must(wxp_remote_call(remote, counter, 0, &value), "wxp_remote_call");
		printf("Compiler: it returned %d.\n", (int)value);
	}
	must(wxp_free(wxp, 1), "wxp_free");
	fflush(stdout);
	wxp_remote_close(remote);
	wxp_close(wxp);
	return waitpid(pid, &ret, 0) != pid || ret;
}
