// SPDX-License-Identifier: MIT
/*
 * A program that has all the code it needs, and has the kernel refuse more, by any context that
 * it has or will open. (For one context wxp_freeze() does.) With arguments it runs these as a
 * command that can publish nothing by the device. Built on libseccomp.
 *
 * The kernel looks at 32 bits of the number of an operation, so the filter must not look at
 * more: a number with higher bits would pass it. What a ring does, no filter sees: so
 * io_uring_setup() belongs to it, and rings that the program has already are not refused.
 */
#include <errno.h>
#include <seccomp.h>
#include <unistd.h>

#include <linux/wxpool.h>

#include "code.h"

static const uint32_t refused[] = { WXPOOL_IOC_ALLOC, WXPOOL_IOC_PROTECT, WXPOOL_IOC_INSTALL };

static int add_rules(scmp_filter_ctx filter)
{
	const uint32_t refuse = SCMP_ACT_ERRNO(EPERM);
	unsigned int i;
	int err;

	err = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);	/* all threads */
	if (!err)
		err = seccomp_rule_add(filter, refuse, SCMP_SYS(io_uring_setup), 0);
	for (i = 0; i < sizeof(refused) / sizeof(refused[0]) && !err; i++)
		err = seccomp_rule_add(filter, refuse, SCMP_SYS(ioctl), 1,
				       SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffff, refused[i]));
	return err;
}

static void refuse_more_code(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int err = filter ? add_rules(filter) : -ENOMEM;

	if (!err)
		err = seccomp_load(filter);
	seccomp_release(filter);
	if (err) {
		fprintf(stderr, "No filter: %s\n", strerror(-err));
		exit(1);
	}
}

int main(int argc, char **argv)
{
	char code[ANSWER_SIZE];
	struct wxp *wxp;
	void *addr, *more;
	int err;

	if (argc > 1) {
		refuse_more_code();
		execvp(argv[1], argv + 1);
		perror(argv[1]);
		return 127;
	}
	must(wxp_open(&wxp, NULL), "wxp_open");
	code_answer(code, 42);
	must(wxp_load(wxp, 1, code, sizeof(code), WXP_RX, &addr), "wxp_load");
	refuse_more_code();
	err = wxp_load(wxp, 2, code, sizeof(code), WXP_RX, &more);
	if (err)
		printf("More code is refused: %s\n", wxp_strerror(err));
	else
		printf("The backend is %s, whose code no filter on operations refuses.\n",
		       wxp_backend_name(wxp_get_backend(wxp)));
	printf("The function returns %d.\n", code_run(addr));
	must(wxp_free(wxp, 1), "wxp_free");
	wxp_close(wxp);
	return 0;
}
