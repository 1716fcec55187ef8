// SPDX-License-Identifier: MIT
/* Making other threads see new code. */
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"

static int membarrier(int cmd)
{
	return syscall(SYS_membarrier, cmd, 0, 0) ? -errno : 0;
}

int sync_cores(void)
{
	int err = membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE);

	if (err == -EPERM) {
		/* The first call of this process */
		err = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE);
		if (!err)
			err = membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE);
	}
	return err == -EINVAL ? -ENOSYS : err;
}

WXP_EXPORT int wxp_sync_cores(struct wxp *x)
{
	return x ? sync_cores() : -EINVAL;
}
