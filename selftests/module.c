// SPDX-License-Identifier: GPL-2.0
/*
 * The module stays while anybody uses it, and can go and come back otherwise.
 */
#include <sys/stat.h>

#include "wxpool_util.h"

#define POOL	1

FIXTURE(module) {
	int fd;
};

FIXTURE_SETUP(module)
{
	struct stat st;

	if (stat(WX_MODULE "/refcnt", &st))
		SKIP(return, "wxpool is not loaded as a module");
	if (geteuid())
		SKIP(return, "only root can unload modules");
	self->fd = wx_open();
	ASSERT_GE(self->fd, 0);
}

FIXTURE_TEARDOWN(module)
{
	if (access(WX_DEV, F_OK))
		wx_load();
}

#define EXPECT_IN_USE() do {						\
	EXPECT_EQ(-EAGAIN, wx_unload());				\
	EXPECT_EQ(0, access(WX_DEV, F_OK));				\
} while (0)

/* The last user is gone: it unloads, leaves nothing, and loads again. */
#define EXPECT_UNUSED() do {						\
	EXPECT_EQ(0, wx_unload());					\
	EXPECT_NE(0, access(WX_DEV, F_OK));				\
	EXPECT_NE(0, access(WX_MODULE, F_OK));				\
	EXPECT_EQ(-ENOENT, wx_open());					\
	ASSERT_EQ(0, wx_load());						\
	EXPECT_EQ(0, access(WX_DEV, F_OK));				\
} while (0)

TEST_F(module, open)
{
	int dup_fd = dup(self->fd);

	EXPECT_IN_USE();
	close(self->fd);
	EXPECT_IN_USE();
	close(dup_fd);
	EXPECT_UNUSED();
}

/* A field of what the kernel tells udev of the node; false if it has none */
static bool node_field(const char *name, char *val, size_t size)
{
	FILE *f = fopen("/sys/class/misc/wxpool/uevent", "r");
	size_t len = strlen(name);
	bool found = false;
	char line[128];

	while (f && !found && fgets(line, sizeof(line), f)) {
		found = !strncmp(line, name, len) && line[len] == '=';
		if (found)
			snprintf(val, size, "%s", strtok(line + len + 1, "\n"));
	}
	if (f)
		fclose(f);
	return found;
}

/*
 * The kernel makes the node for root alone: 0600 is what it takes if a device
 * does not say more. When a rule opens it nobody knows, so it may be open by now.
 */
TEST_F(module, node_is_roots)
{
	char val[64] = "";
	struct stat st;

	ASSERT_TRUE(node_field("DEVNAME", val, sizeof(val)));
	EXPECT_STREQ("wxpool", val);
	if (node_field("DEVMODE", val, sizeof(val)))
		EXPECT_EQ(0600, strtol(val, NULL, 8));
	EXPECT_FALSE(node_field("DEVUID", val, sizeof(val)));
	EXPECT_FALSE(node_field("DEVGID", val, sizeof(val)));
	ASSERT_EQ(0, stat(WX_DEV, &st));
	EXPECT_TRUE(S_ISCHR(st.st_mode));
	EXPECT_EQ(0600, st.st_mode & 0600);
}

static int open_as_nobody(void)
{
	pid_t pid = fork();
	int fd;

	if (!pid) {
		CHILD_CHECK(!setuid(65534));
		fd = wx_open();
		CHILD_CHECK(fd >= 0 || fd == -EACCES);
		if (fd >= 0)
			CHILD_CHECK(!wx_make_code(fd, POOL, 0, 1));
		_exit(fd < 0 ? 100 : 0);
	}
	return pid < 0 ? -errno : wx_wait(pid);
}

/* Others open it as its mode says, which is again root's after a reload. */
TEST_F(module, node_of_others)
{
	/* After the rule that the load before this one may still bring about */
	wx_await_node();
	ASSERT_EQ(0, chmod(WX_DEV, 0600));
	EXPECT_EQ(100, open_as_nobody());
	close(self->fd);
	EXPECT_UNUSED();
	NODE_OR_SKIP();
	EXPECT_EQ(0, open_as_nobody());
}

TEST_F(module, with_pages)
{
	ASSERT_EQ(0, wx_make_code(self->fd, POOL, 0, 1));
	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 1, 100));
	ASSERT_EQ(0, wx_install_code(self->fd, POOL, PG(200), 1));
	EXPECT_IN_USE();
	close(self->fd);
	EXPECT_UNUSED();
}

/* A view is a user, of whichever kind and without the fd. */
TEST_F(module, mapped)
{
	const int prots[] = { RW, RX, PROT_READ, XO };
	uint32_t val;
	char *v;
	int i;

	for (i = 0; i < 4; i++) {
		self->fd = i ? wx_open() : self->fd;
		ASSERT_EQ(0, wx_make_code(self->fd, POOL, 0, 90));
		v = wx_view(self->fd, prots[i], 0, 1);
		ASSERT_NE(MAP_FAILED, v);
		close(self->fd);
		EXPECT_IN_USE();
		if (prots[i] & PROT_EXEC) {
			EXPECT_EQ(0, try_exec(v, &val));
			EXPECT_EQ(90, val);
		}
		ASSERT_EQ(0, munmap(v, PG(1)));
		EXPECT_UNUSED();
	}
}

/* Part of a view, or a copy of it at another place, is still a view. */
TEST_F(module, mapped_in_part)
{
	char *v = wx_view(self->fd, RX, 0, 8), *to;

	ASSERT_NE(MAP_FAILED, v);
	close(self->fd);
	ASSERT_EQ(0, munmap(v + PG(1), PG(7)));
	EXPECT_IN_USE();
	to = mremap(v, 0, PG(1), MREMAP_MAYMOVE);
	ASSERT_NE(MAP_FAILED, to);
	ASSERT_EQ(0, munmap(v, PG(1)));
	EXPECT_IN_USE();
	ASSERT_EQ(0, munmap(to, PG(1)));
	EXPECT_UNUSED();
}

/* Pages that are kept, and an idle block, go with the context. */
TEST_F(module, idle_and_kept)
{
	struct wxpool_install_range r = wx_bytes(8 << 20, "x", 1, WXPOOL_PROT_X);
	pid_t pid;
	char *x;

	x = wx_view(self->fd, RX, 0, 4);
	ASSERT_NE(MAP_FAILED, x);
	ASSERT_EQ(0, wx_make_code(self->fd, POOL, 0, 91));
	ASSERT_EQ(0, wx_install_flags(self->fd, 2, &r, 1, WXPOOL_INSTALL_BLOCKS));
	ASSERT_EQ(0, wx_free(self->fd, 2));
	pid = wx_fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		for (;;)
			pause();
	}
	ASSERT_EQ(0, wx_free(self->fd, POOL));
	EXPECT_EQ(1, wx_stat(self->fd).kept);
	close(self->fd);
	munmap(x, PG(4));
	EXPECT_IN_USE();
	kill(pid, SIGKILL);
	EXPECT_EQ(256 + SIGKILL, wx_wait(pid));
	EXPECT_UNUSED();
}

/* The views of a child that outlives its parent's interest */
TEST_F(module, inherited)
{
	int go[2];
	uint32_t val;
	pid_t pid;
	char *x;

	ASSERT_EQ(0, pipe(go));
	ASSERT_EQ(0, wx_make_code(self->fd, POOL, 0, 91));
	x = wx_view(self->fd, RX, 0, 1);
	ASSERT_NE(MAP_FAILED, x);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		close(self->fd);
		close(go[1]);
		wx_wait_step(go[0]);
		CHILD_CHECK(!try_exec(x, &val) && val == 91);
		_exit(0);
	}
	ASSERT_EQ(0, wx_free(self->fd, POOL));
	close(self->fd);
	munmap(x, PG(1));
	EXPECT_IN_USE();
	close(go[1]);
	close(go[0]);
	EXPECT_EQ(0, wx_wait(pid));
	EXPECT_UNUSED();
}

/* An fd on its way from one process to another */
TEST_F(module, in_a_socket)
{
	int pair[2];

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	ASSERT_EQ(0, wx_alloc(self->fd, POOL, 0, 4));
	ASSERT_EQ(0, wx_send_fd(pair[0], self->fd));
	close(self->fd);
	EXPECT_IN_USE();
	close(pair[0]);
	close(pair[1]);
	/* Sockets may be taken apart by a kernel thread. */
	while (wx_unload() == -EAGAIN)
		usleep(1000);
	EXPECT_NE(0, access(WX_DEV, F_OK));
	ASSERT_EQ(0, wx_load());
}

/* A process that is killed leaves nothing behind. */
TEST_F(module, killed_user)
{
	int ready[2];
	pid_t pid;
	char *x;

	close(self->fd);
	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		int fd = wx_open();

		CHILD_CHECK(fd >= 0 && !wx_make_code(fd, POOL, 0, 92));
		CHILD_CHECK(!wx_alloc(fd, 2, 1, 50));
		x = wx_view(fd, RX, 0, 1);
		CHILD_CHECK(x != MAP_FAILED && !try_exec(x, NULL));
		wx_step(ready[1]);
		for (;;)
			pause();
	}
	ASSERT_EQ(0, wx_wait_step(ready[0]));
	EXPECT_IN_USE();
	kill(pid, SIGKILL);
	EXPECT_EQ(256 + SIGKILL, wx_wait(pid));
	EXPECT_UNUSED();
}

/* Whatever is wrong with them, the limits come from the load. */
TEST_F(module, limits_after_reload)
{
	struct wxpool_info info;
	long context, user;

	close(self->fd);
	context = wx_read_long(WX_PARAM_DIR "max_bytes_per_context");
	ASSERT_LT(65536, context);
	ASSERT_EQ(0, wx_write_file(WX_PARAM_DIR "max_bytes_per_context", "65536"));
	EXPECT_UNUSED();
	self->fd = wx_open();
	ASSERT_GE(self->fd, 0);
	ASSERT_EQ(0, wx_info(self->fd, &info));
	user = wx_read_long(WX_PARAM_DIR "max_bytes_per_user");
	EXPECT_EQ(context, wx_read_long(WX_PARAM_DIR "max_bytes_per_context"));
	EXPECT_EQ(context, info.context_limit);
	EXPECT_EQ(user, info.user_limit);
}

TEST_HARNESS_MAIN
