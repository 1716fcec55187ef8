// SPDX-License-Identifier: MIT
/*
 * A program that gives up the right to publish code in new contexts, for itself and for what it
 * starts. Landlock's right ioctl_dev goes with the opening of a device: the context that is
 * open before keeps it. Who must not even map the code of others is denied to open the device
 * at all (LANDLOCK_ACCESS_FS_READ_FILE, LANDLOCK_ACCESS_FS_WRITE_FILE).
 */
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "code.h"

#ifndef LANDLOCK_ACCESS_FS_IOCTL_DEV
#define LANDLOCK_ACCESS_FS_IOCTL_DEV	(1ULL << 15)	/* Linux 6.10 */
#endif

static int load(struct wxp *wxp, uint16_t answer)
{
	char code[ANSWER_SIZE];
	uint32_t pool;
	void *addr;

	code_answer(code, answer);
	must(wxp_new_pool(wxp, &pool), "wxp_new_pool");
	must(wxp_load(wxp, pool, code, sizeof(code), WXP_RX, &addr), "wxp_load");
	return code_run(addr);
}

/* The version that knows the right; none at all is less. */
static int knows_operations(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) >= 5;
}

/* Operations on devices that are opened from now on; no rule gives any of them back. */
static void restrict_devices(void)
{
	const struct landlock_ruleset_attr attr = {
		.handled_access_fs = LANDLOCK_ACCESS_FS_IOCTL_DEV,
	};
	int rules = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);

	if (rules < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    syscall(SYS_landlock_restrict_self, rules, 0)) {
		perror("Landlock");
		exit(1);
	}
	close(rules);
}

int main(void)
{
	struct wxp *first, *second;
	int err;

	must(wxp_open(&first, NULL), "wxp_open");
	printf("The first context's function returns %d.\n", load(first, 42));
	if (!knows_operations()) {
		printf("This kernel's Landlock does not know of operations on devices.\n");
		return 0;
	}
	restrict_devices();
	printf("The first context's function returns %d.\n", load(first, 43));
	err = wxp_open(&second, NULL);
	if (err) {
		printf("The second context: %s\n", wxp_strerror(err));
	} else {
		printf("The second context is on the backend %s.\n",
		       wxp_backend_name(wxp_get_backend(second)));
		wxp_close(second);
	}
	wxp_close(first);
	return 0;
}
