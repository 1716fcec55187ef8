// SPDX-License-Identifier: MIT
/*
 * wxfuzz: a list of operations as a program in C, which needs nothing but
 * linux/wxpool.h and the C library
 *
 * Processes other than the first are forks of the program that go through the
 * same steps and do those that are theirs.
 */
#include <fcntl.h>

#include "wxfuzz.h"

static const char head[] =
"#define _GNU_SOURCE\n"
"#include <errno.h>\n#include <fcntl.h>\n#include <setjmp.h>\n#include <signal.h>\n"
"#include <stdint.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n"
"#include <sys/ioctl.h>\n#include <sys/mman.h>\n#include <sys/socket.h>\n"
"#include <sys/syscall.h>\n#include <sys/uio.h>\n#include <sys/wait.h>\n"
"#include <unistd.h>\n"
"#include <linux/io_uring.h>\n#include <linux/wxpool.h>\n\n"
"/* Not all are used by each program */\n"
"#pragma GCC diagnostic ignored \"-Wunused-function\"\n\n"
"static sigjmp_buf jmp;\n\n"
"static void on_signal(int sig)\n{\n\tsiglongjmp(jmp, sig);\n}\n\n"
"/* The signal that a statement raises, or 0 */\n"
"#define TRY(...) ({ int s_ = sigsetjmp(jmp, 1); if (!s_) { __VA_ARGS__; } s_; })\n"
"#define RET(call) ((call) == -1 ? -errno : 0)\n"
"#define CHECK(want, got) do { long w_ = (want), g_ = (got); \\\n"
"\tif (w_ != g_) { printf(\"line %d: expected %ld, got %ld\\n\", \\\n"
"\t\t__LINE__, w_, g_); exit(1); } } while (0)\n\n";

static const char line_fn[] =
"static void line(uint32_t stamp, unsigned char *out)\n{\n"
"\tuint64_t rng = stamp, z;\n\tint i;\n\n"
"\tfor (i = 0; i < 64; i += 8) {\n"
"\t\tz = rng += 0x9e3779b97f4a7c15ull;\n"
"\t\tz = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;\n"
"\t\tz = (z ^ z >> 27) * 0x94d049bb133111ebull;\n"
"\t\tz ^= z >> 31;\n\t\tmemcpy(out + i, &z, 8);\n\t}\n"
"#ifdef __aarch64__\n"
"\tuint32_t code[] = { 0x52800000u | (stamp & 0xffff) << 5,\n"
"\t\t0x72a00000u | (stamp >> 16) << 5, 0xd65f03c0u };\n"
"\tmemcpy(out, code, 12);\n"
"#else\n"
"\tout[0] = 0xb8;\n\tmemcpy(out + 1, &stamp, 4);\n\tout[5] = 0xc3;\n"
"#endif\n}\n\n"
"/* Bytes of lines, from the @from'th on, at the end of memory that can be read, but\n"
" * for @cut bytes */\n"
"static void *source(uint32_t stamp, uint32_t from, uint32_t len, uint32_t cut)\n{\n"
"\tchar *p = mmap(NULL, 1 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);\n"
"\tchar *end = p + (1 << 19);\n\tunsigned char bytes[64];\n\tuint32_t i;\n\n"
"\tfor (i = 0; i < len - cut; i++) {\n"
"\t\tline(stamp + (from + i) / 64, bytes);\n"
"\t\t(end - (len - cut))[i] = bytes[(from + i) % 64];\n\t}\n"
"\tmprotect(end, 4096, PROT_NONE);\n"
"\treturn end - (len - cut);\n}\n\n"
"static void *copy_of(const void *from, size_t len, size_t cut, int prot)\n{\n"
"\tchar *p = mmap(NULL, 1 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);\n"
"\tchar *end = p + 4096;\n\n"
"\tmemcpy(end - (len - cut), from, len - cut);\n"
"\tmprotect(p, 4096, prot);\n\tmprotect(end, 4096, PROT_NONE);\n"
"\treturn end - (len - cut);\n}\n\n";

static const char ring_fn[] =
"/* One command through a ring of its own */\n"
"static long uring(int fd, uint32_t cmd, void *arg, uint64_t reserved)\n{\n"
"\tstruct io_uring_params p = { 0 };\n"
"\tint ring = syscall(SYS_io_uring_setup, 2, &p);\n"
"\tchar *r = mmap(NULL, 1 << 16, 3, MAP_SHARED, ring, IORING_OFF_SQ_RING);\n"
"\tstruct io_uring_sqe *sqe = mmap(NULL, 4096, 3, MAP_SHARED, ring,\n"
"\t\t\t\t\tIORING_OFF_SQES);\n"
"\tuint64_t payload[2] = { (uintptr_t)arg, reserved };\n"
"\tlong res;\n\n"
"\tif (ring < 0 || r == MAP_FAILED)\n\t\treturn -ENOSYS;\n"
"\tmemset(sqe, 0, sizeof(*sqe));\n"
"\tsqe->opcode = IORING_OP_URING_CMD;\n\tsqe->fd = fd;\n\tsqe->cmd_op = cmd;\n"
"\tmemcpy(sqe->cmd, payload, 16);\n"
"\t((uint32_t *)(r + p.sq_off.array))[0] = 0;\n"
"\t*(uint32_t *)(r + p.sq_off.tail) = 1;\n"
"\tif (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)\n"
"\t\treturn -errno;\n"
"\tres = ((struct io_uring_cqe *)(r + p.cq_off.cqes))->res;\n"
"\tmunmap(r, 1 << 16);\n\tmunmap(sqe, 4096);\n\tclose(ring);\n"
"\treturn res;\n}\n\n";

static const char procs_fn[] =
"static volatile int *turn;\nstatic int me, sock[8][2], child[8];\n\n"
"/* Step @n is process @p's; all others wait until it is done. */\n"
"#define STEP(n, p) \\\n\tfor (wait_turn(n); *turn == (n) && me == (p); ++*turn)\n\n"
"static void wait_turn(int n)\n{\n\twhile (*turn < n)\n\t\tusleep(100);\n}\n\n"
"static void send_fd(int s, int fd)\n{\n"
"\tchar c = 0, buf[CMSG_SPACE(sizeof(int))] = { 0 };\n"
"\tstruct iovec iov = { &c, 1 };\n"
"\tstruct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = buf,\n"
"\t\t.msg_controllen = sizeof(buf) };\n"
"\tstruct cmsghdr *h = CMSG_FIRSTHDR(&m);\n\n"
"\th->cmsg_level = SOL_SOCKET;\n\th->cmsg_type = SCM_RIGHTS;\n"
"\th->cmsg_len = CMSG_LEN(sizeof(int));\n\tmemcpy(CMSG_DATA(h), &fd, sizeof(fd));\n"
"\tsendmsg(s, &m, 0);\n}\n\n"
"static void recv_fd(int s, int as)\n{\n"
"\tchar c, buf[CMSG_SPACE(sizeof(int))];\n"
"\tstruct iovec iov = { &c, 1 };\n"
"\tstruct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = buf,\n"
"\t\t.msg_controllen = sizeof(buf) };\n\tint fd;\n\n"
"\trecvmsg(s, &m, 0);\n\tmemcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));\n"
"\tdup2(fd, as);\n\tclose(fd);\n}\n\n"
"static void start(int n)\n{\n"
"\tint pid = me ? (int)syscall(SYS_clone, 0x8000 | SIGCHLD, 0, 0, 0, 0) : fork();\n\n"
"\tif (pid)\n\t\tchild[n] = pid;\n\telse\n\t\tme = n;\n}\n\n";

static const char info_fn[] =
"static struct wxpool_info info_of(int fd, uint32_t pool)\n{\n"
"\tstruct wxpool_info i = { .size = sizeof(i), .pool = pool };\n\n"
"\tif (ioctl(fd, WXPOOL_IOC_INFO, &i))\n\t\tperror(\"WXPOOL_IOC_INFO\");\n"
"\treturn i;\n}\n\n";

static bool needs_procs(const struct world *w)
{
	unsigned int i;

	for (i = 0; i < w->nr_ops; i++)
		if (w->log[i].proc || w->log[i].kind == OP_PASS ||
		    w->log[i].kind == OP_FORK)
			return true;
	return w->miss.proc != 0;
}

static bool needs_ring(const struct world *w)
{
	unsigned int i;

	for (i = 0; i < w->nr_ops; i++)
		if (w->log[i].uring)
			return true;
	return false;
}

static uint64_t addr_of(const struct world *w, unsigned int slot)
{
	return w->arena + (uint64_t)slot * PAGE;
}

static const char *cmd_name(unsigned int kind)
{
	static const char *const names[] = {
		[OP_INFO] = "INFO", [OP_ALLOC] = "ALLOC", [OP_PROTECT] = "PROTECT",
		[OP_FREE] = "FREE", [OP_INSTALL] = "INSTALL", [OP_FREEZE] = "FREEZE",
	};

	return names[kind];
}

static struct vrange range_of(const struct world *w, const struct op *op, unsigned int n)
{
	struct piece p = device_piece(op, n);
	const struct range *from = &op->r[p.i];
	bool lines = op->kind == OP_INSTALL;
	struct vrange r = {
		.offset = (uint64_t)w->page_base * PAGE +
			  (uint64_t)from->at * (lines ? LINE : PAGE),
		.length = (uint64_t)p.len * (lines ? 1 : PAGE),
		.prot = from->prot,
	};

	if (from->cont || p.from) {
		r.offset = r.prot = 0;
		r.flags = WXPOOL_RANGE_CONT;
	}
	device_spoil(op, p.i, &r);
	return r;
}

static void emit_source(FILE *f, const struct op *op, unsigned int n)
{
	struct piece p = device_piece(op, n);
	bool last = p.i + 1 == op->nr;
	const struct range *head;
	uint32_t from = run_before(op, p.i, &head) + p.from;

	if (last && op->mut == M_SRC_NULL)
		fprintf(f, "\t\t\t  .source = 0,");
	else
		fprintf(f, "\t\t\t  .source = (uintptr_t)source(%#x, %u, %u, %u),",
			head->stamp, from, p.len, last && op->mut == M_SRC_CUT);
}

static void emit_range(FILE *f, const struct world *w, const struct op *op,
		       unsigned int i)
{
	struct vrange r = range_of(w, op, i);

	fprintf(f, "\t\t\t{ .offset = %#llx, .length = %#llx,",
		(unsigned long long)r.offset, (unsigned long long)r.length);
	switch (op->kind) {
	case OP_PROTECT:
		fprintf(f, "\n\t\t\t  .prot = %u, .__reserved = %u,", r.prot, r.reserved);
		break;
	case OP_INSTALL:
		fputc('\n', f);
		emit_source(f, op, i);
		fprintf(f, "\n\t\t\t  .prot = %u, .flags = %u,", r.prot, r.flags);
		break;
	}
	fprintf(f, " },\n");
}

static void emit_vector(FILE *f, const struct world *w, const struct op *op)
{
	static const char *const types[] = {
		[OP_ALLOC] = "struct wxpool_alloc_range",
		[OP_PROTECT] = "struct wxpool_protect_range",
		[OP_INSTALL] = "struct wxpool_install_range", [OP_FREE] = "uint32_t",
	};
	unsigned int i;

	fprintf(f, "\t\t%s r[] = {\n", types[op->kind]);
	for (i = 0; i < device_nr_elements(op); i++) {
		if (op->kind != OP_FREE)
			emit_range(f, w, op, i);
		else if (op->mut == M_POOL_0 && i + 1 == op->nr)
			fprintf(f, "\t\t\t0,\n");
		else
			fprintf(f, "\t\t\t%u,\n", w->pool_base + op->r[i].at);
	}
	fprintf(f, "\t\t};\n");
}

static const char *size_text(const struct op *op)
{
	switch (op->mut) {
	case M_SIZE_0: return "0";
	case M_SIZE_SHORT: return "sizeof(a.s) - 1";
	case M_SIZE_BIG: return "4097";
	case M_TAIL_ZERO: case M_TAIL_BAD: return "sizeof(a.s) + 8";
	}
	return "sizeof(a.s)";
}

static const char *arg_text(const struct op *op)
{
	switch (op->mut) {
	case M_ARG_NULL: return "NULL";
	case M_ARG_RO: return "copy_of(&a, sizeof(a), 0, PROT_READ)";
	case M_ARG_CUT: return "copy_of(&a, sizeof(a.s), sizeof(a.s) - 4, 3)";
	}
	return "&a";
}

static bool has_vector(const struct op *op)
{
	return op->nr && op->mut != M_VEC_NULL;
}

static void emit_vec_fields(FILE *f, const struct world *w, const struct op *op)
{
	bool pools = op->kind == OP_FREE;

	if (!pools)
		fprintf(f, "\t\t\t.pool = %u,\n",
			op->mut == M_POOL_0 ? 0 : w->pool_base + op->pool);
	fprintf(f, "\t\t\t.flags = %u, .nr_%s = %u,\n", device_flags(op),
		pools ? "pools" : "ranges", device_nr(op));
	if (has_vector(op))
		fprintf(f, "\t\t\t.%s = (uintptr_t)%s,\n", pools ? "pools" : "ranges",
			op->mut == M_VEC_CUT ?
			"copy_of(r, sizeof(r), sizeof(r[0]) / 2, 3)" : "r");
	else if (op->mut == M_ALL_POOLS)
		fprintf(f, "\t\t\t.pools = (uintptr_t)\"pools\",\n");
	if (pools)
		fprintf(f, "\t\t\t.__reserved = %u,\n", op->mut == M_RESERVED);
}

static void emit_fields(FILE *f, const struct world *w, const struct op *op)
{
	unsigned int ctx = op->id == ID_OTHER ? (op->ctx + 1) % NR_CTX : op->ctx;

	if (op->id == ID_RIGHT || op->id == ID_OTHER)
		fprintf(f, "\t\t\t.context = info_of(%u, 0).context,\n", FD_CTX + ctx);
	else if (op->id == ID_WRONG)
		fprintf(f, "\t\t\t.context = info_of(%u, 0).context + 1000000,\n",
			FD_CTX + ctx);
	switch (op->kind) {
	case OP_INFO:
		fprintf(f, "\t\t\t.pool = %u,\n", w->pool_base + op->pool);
		break;
	case OP_ALLOC: case OP_PROTECT: case OP_INSTALL: case OP_FREE:
		emit_vec_fields(f, w, op);
		break;
	case OP_FREEZE:
		fprintf(f, "\t\t\t.flags = %u,\n", device_flags(op));
		break;
	}
}

static void emit_call(FILE *f, const struct op *op, long want)
{
	char cmd[64];

	snprintf(cmd, sizeof(cmd), "WXPOOL_IOC_%s%s", cmd_name(op->kind),
		 op->mut != M_CMD ? "" : op->pool & 1 ? " | 0x40080000" : " + 6");
	if (op->uring)
		fprintf(f, "\t\tCHECK(%ld, uring(%u, %s, %s, %u));\n", want,
			FD_CTX + op->ctx, cmd, arg_text(op), op->mut == M_URING_FLAGS);
	else
		fprintf(f, "\t\tCHECK(%ld, RET(ioctl(%u, %s, %s)));\n", want,
			FD_CTX + op->ctx, cmd, arg_text(op));
}

static void emit_device(FILE *f, const struct world *w, unsigned int n)
{
	static const char *const types[] = {
		[OP_INFO] = "info", [OP_ALLOC] = "alloc", [OP_PROTECT] = "protect",
		[OP_FREE] = "free", [OP_INSTALL] = "install", [OP_FREEZE] = "freeze",
	};
	const struct op *op = &w->log[n];
	const struct miss *m = &w->miss;

	if (has_vector(op))
		emit_vector(f, w, op);
	fprintf(f, "\t\tstruct { struct wxpool_%s s; uint64_t tail; } a = { .s = {\n"
		"\t\t\t.size = %s,\n", types[op->kind], size_text(op));
	emit_fields(f, w, op);
	fprintf(f, "\t\t}, .tail = %d };\n", op->mut == M_TAIL_BAD);
	emit_call(f, op, w->ret[n]);
	if (n + 1 == w->nr_ops && m->kind == MISS_OUT && !strncmp(m->what, "output ", 7))
		fprintf(f, "\t\tCHECK(%ld, a.s.%s);\n", m->want, m->what + 7);
}

static void emit_view(FILE *f, const struct world *w, unsigned int n)
{
	const struct op *op = &w->log[n];
	unsigned long long at = addr_of(w, op->a);
	int prot, flags;
	long offset, want = w->ret[n];

	switch (op->kind) {
	case OP_OPEN:
		fprintf(f, "\t\tdup2(open(\"/dev/wxpool\", %s), %u);\n",
			view_open_mode(op) == O_RDWR ? "O_RDWR" :
			view_open_mode(op) == O_RDONLY ? "O_RDONLY" : "O_WRONLY",
			FD_CTX + op->ctx);
		break;
	case OP_CLOSE:
		fprintf(f, "\t\tclose(%u);\n", FD_CTX + op->ctx);
		break;
	case OP_MMAP:
		fprintf(f, "\t\tCHECK(%ld, RET((long)mmap((void *)%#llx, %u, %u,\n"
			"\t\t\tMAP_SHARED%s, %u, %#llx)));\n", want, want ? 0 : at,
			op->nr * PAGE, op->flags, want ? "" : " | MAP_FIXED",
			FD_CTX + op->ctx,
			(unsigned long long)(w->page_base + op->b) * PAGE);
		break;
	case OP_BADMAP:
		view_bad_map(op, &prot, &flags, &offset);
		fprintf(f, "\t\tCHECK(%ld, RET((long)mmap(NULL, %u, %u, %u, %u, %#llx)));\n",
			want, op->nr * PAGE, prot, flags, FD_CTX + op->ctx,
			(unsigned long long)(w->page_base + op->b) * PAGE + offset);
		break;
	case OP_MUNMAP:
		fprintf(f, "\t\tCHECK(%ld, RET(munmap((void *)%#llx, %u)));\n", want, at,
			op->b * PAGE);
		break;
	case OP_MPROTECT:
		fprintf(f, "\t\tCHECK(%ld, RET(mprotect((void *)%#llx, %u, %u)));\n",
			want, at, op->b * PAGE, op->flags);
		break;
	case OP_MREMAP:
		fprintf(f, "\t\tCHECK(%ld, RET((long)mremap((void *)%#llx, %u, %u, %u,\n"
			"\t\t\t(void *)%#llx)));\n", want, at, op->flags == 1 ? 0 : PAGE,
			op->c * PAGE, 3 | (op->flags == 2 ? 4 : 0),
			(unsigned long long)addr_of(w, op->b));
		break;
	case OP_POISON:
		fprintf(f, "\t\tmadvise((void *)%#llx, %u, MADV_HWPOISON);\n", at, PAGE);
		break;
	case OP_MLOCK:
		fprintf(f, "\t\tCHECK(%ld, RET(%s((void *)%#llx, %u%s)));\n", want,
			op->flags == 0 ? "mlock" : op->flags == 1 ? "mlock2" : "munlock",
			at, op->b * PAGE, op->flags == 1 ? ", MLOCK_ONFAULT" : "");
		break;
	default:
		fprintf(f, "\t\tCHECK(%ld, RET(madvise((void *)%#llx, %u, %d)));\n",
			want, at, op->b * PAGE, view_advice(op));
		break;
	}
}

static void emit_touch(FILE *f, const struct world *w, unsigned int n)
{
	const struct op *op = &w->log[n];
	unsigned long long at = addr_of(w, op->a);

	switch (op->kind) {
	case OP_STORE:
		fprintf(f, "\t\tTRY(memcpy((void *)%#llx, source(%#x, 0, %u, 0), %u));\n",
			at + op->b * LINE, op->c, op->flags * LINE, op->flags * LINE);
		break;
	case OP_KWRITE: case OP_KREAD:
		fprintf(f, "\t\tint fd = open(\"/proc/self/mem\", O_RDWR);\n\n"
			"\t\t/* or as method %u: see %s */\n", op->flags, "pins.c");
		if (op->kind == OP_KWRITE)
			fprintf(f, "\t\tif (pwrite(fd, source(%#x, 0, 64, 0), 64, %#llx)) { }\n",
				op->c, at + op->b * LINE);
		fprintf(f, "\t\tclose(fd);\n");
		break;
	case OP_DIRECT:
		fprintf(f, "\t\tint fd = open(\"/dev/vda\", O_RDONLY | O_DIRECT);\n\n"
			"\t\tif (pread(fd, (void *)%#llx, 4096, 1 << 20)) { }\n"
			"\t\tclose(fd);\n", at);
		break;
	case OP_PIN:
		fprintf(f, "\t\tstruct iovec v = { (void *)%#llx, 4096 };\n\n"
			"\t\tif (pipe(pin[%u])) { }%s\n"
			"\t\tCHECK(%ld, vmsplice(pin[%u][1], &v, 1, 0) == 4096 ? 0 : -errno);\n",
			at, op->c, op->b ? " /* in place of a fixed buffer */" : "",
			(long)w->ret[n], op->c);
		break;
	default:
		fprintf(f, "\t\tclose(pin[%u][0]);\n\t\tclose(pin[%u][1]);\n", op->c,
			op->c);
		break;
	}
}

static void emit_proc(FILE *f, const struct op *op)
{
	switch (op->kind) {
	case OP_FORK:
		fprintf(f, "\t\tstart(%u);\n\t\tif (me == %u)\n\t\t\tbreak;\n", op->a,
			op->a);
		break;
	case OP_PASS:
		fprintf(f, "\t\tsend_fd(sock[%u][0], %u);\n", op->a, FD_CTX + op->ctx);
		break;
	case OP_EXEC:
		fprintf(f, "\t\t++*turn;\n\t\texecl(\"/bin/true\", \"true\", NULL);\n");
		break;
	default:
		fprintf(f, "\t\t++*turn;\n\t\t_exit(0);\n");
		break;
	}
}

/* Operations that take two steps, in different processes */
static void emit_second(FILE *f, const struct op *op, unsigned int *step)
{
	if (op->kind == OP_PASS)
		fprintf(f, "\tSTEP(%u, %u)\n\t\trecv_fd(sock[%u][1], %u);\n", (*step)++,
			op->a, op->a, FD_CTX + op->ctx);
	if (op->kind == OP_EXIT || op->kind == OP_EXEC)
		fprintf(f, "\tSTEP(%u, 0)\n\t\twaitpid(-1, NULL, 0);\n", (*step)++);
}

static void emit_op(FILE *f, const struct world *w, unsigned int n)
{
	const struct op *op = &w->log[n];

	switch (op->kind) {
	case OP_OPEN: case OP_CLOSE: case OP_MMAP: case OP_BADMAP: case OP_MUNMAP:
	case OP_MPROTECT: case OP_MREMAP: case OP_MADVISE: case OP_MLOCK:
	case OP_POISON:
		emit_view(f, w, n);
		break;
	case OP_STORE: case OP_KWRITE: case OP_KREAD: case OP_DIRECT: case OP_PIN:
	case OP_UNPIN:
		emit_touch(f, w, n);
		break;
	case OP_FORK: case OP_PASS: case OP_EXIT: case OP_EXEC:
		emit_proc(f, op);
		break;
	case OP_CHECK:
		break;
	case OP_LIE:
		fprintf(f, "\t\t/* here the model was told something wrong */\n");
		break;
	default:
		emit_device(f, w, n);
		break;
	}
}

static void emit_miss(FILE *f, const struct world *w)
{
	const struct miss *m = &w->miss;
	unsigned long long at = m->addr;

	fprintf(f, "\t\t/* %s */\n", m->what);
	switch (m->kind) {
	case MISS_READ:
		fprintf(f, "\t\tCHECK(%ld, TRY((void)*(volatile char *)%#llx));\n",
			m->want, at);
		break;
	case MISS_WRITE:
		fprintf(f, "\t\tCHECK(%ld, TRY(*(volatile char *)%#llx = 1));\n",
			m->want, at);
		break;
	case MISS_EXEC:
		fprintf(f, "\t\tvolatile long val = 0;\n"
			"\t\tint sig = TRY(val = ((unsigned int (*)(void))%#llx)());\n\n"
			"\t\tCHECK(%ld, sig ? sig : val);\n", at, m->want);
		break;
	case MISS_BYTES:
		if (at > PAGE)
			fprintf(f, "\t\tCHECK(%ld, *(volatile unsigned char *)%#llx);\n",
				m->want, at);
		break;
	case MISS_STAT:
		if (!strncmp(m->what, "info ", 5))
			fprintf(f, "\t\tCHECK(%ld, info_of(%llu, %u).%s);\n", m->want,
				FD_CTX + at % NR_CTX,
				w->pool_base + (unsigned int)(at / NR_CTX),
				m->what + 5);
		break;
	}
}

static void emit_start(FILE *f, bool procs)
{
	fprintf(f, "int main(void)\n{\n"
		"\tconst int sigs[] = { SIGSEGV, SIGBUS, SIGILL, SIGTRAP };\n"
		"\tint i;\n\n"
		"\tfor (i = 0; i < 4; i++)\n\t\tsignal(sigs[i], on_signal);\n");
	if (procs)
		fprintf(f, "\tturn = mmap(NULL, 4096, 3, MAP_SHARED | MAP_ANONYMOUS, -1, 0);\n"
			"\tfor (i = 0; i < 8; i++)\n"
			"\t\tif (socketpair(AF_UNIX, SOCK_DGRAM, 0, sock[i]))\n"
			"\t\t\treturn 2;\n"
			"\tstart(1);\n");
}

static void emit_head(FILE *f, const struct world *w, bool procs)
{
	fprintf(f, "/*\n * %s: expected %ld, got %ld\n"
		" * max_bytes_per_context %llu, max_bytes_per_user %llu\n */\n%s%s%s",
		w->miss.what, w->miss.want, w->miss.got,
		(unsigned long long)w->ctx_limit, (unsigned long long)w->user_limit,
		head, line_fn, info_fn);
	if (needs_ring(w))
		fputs(ring_fn, f);
	if (procs)
		fputs(procs_fn, f);
	fprintf(f, "static int pin[%u][2];\n\n", NR_PINS);
}

void emit_reproducer(FILE *f, const struct world *w)
{
	bool procs = needs_procs(w);
	unsigned int i, step = 0;

	emit_head(f, w, procs);
	emit_start(f, procs);
	for (i = 0; i < w->nr_ops; i++) {
		if (w->log[i].kind == OP_CHECK)
			continue;
		if (procs)
			fprintf(f, "\tSTEP(%u, %u) {\n", step++, w->log[i].proc);
		else
			fprintf(f, "\t{\n");
		emit_op(f, w, i);
		fprintf(f, "\t}\n");
		emit_second(f, &w->log[i], &step);
	}
	if (procs)
		fprintf(f, "\tSTEP(%u, %u) {\n", step, w->miss.proc);
	else
		fprintf(f, "\t{\n");
	emit_miss(f, w);
	fprintf(f, "\t}\n\t(void)pin;\n\tputs(\"nothing went wrong\");\n\treturn 0;\n}\n");
}

/* All that can be printed, to see that it is C: what it does makes no sense. */
void emit_sample(void)
{
	static struct world w = { .arena = ARENA };
	unsigned int kind, mut;

	for (kind = OP_OPEN; kind < NR_OPS; kind++)
		for (mut = M_NONE; mut < NR_MUTS; mut++) {
			struct op *op = &w.log[w.nr_ops];

			if (mut && (kind < OP_INFO || kind > OP_FREEZE))
				break;
			*op = (struct op){
				.kind = kind, .mut = mut, .pool = 1, .a = 1, .b = 1,
				.c = 1, .flags = 1, .uring = mut & 1,
				.id = mut % NR_IDS,
				.nr = kind >= OP_ALLOC && kind <= OP_INSTALL ? 2 : 0,
				.r = { { 1, 1, 0, 0, 1 }, { 2, 1, 0, mut & 1, 1 } },
			};
			w.nr_ops++;
		}
	w.miss.kind = MISS_STAT;
	strcpy(w.miss.what, "info pools");
	emit_reproducer(stdout, &w);
}
