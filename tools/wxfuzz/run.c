// SPDX-License-Identifier: MIT
/*
 * wxfuzz: one run: a list of operations, made on the way or given
 */
#include <stdarg.h>

#include "wxfuzz.h"

__thread struct world *W;
__thread unsigned int me;

const char *const op_names[NR_OPS] = {
	"none", "open", "close", "info", "alloc", "protect", "free", "install",
	"freeze", "mmap", "badmap", "munmap", "mprotect", "mremap", "madvise",
	"mlock", "poison", "store", "kwrite", "kread", "direct", "pin", "unpin", "fork", "exit",
	"exec", "pass", "check", "lie",
};

/* Ends the run, if anything can be known. The first to notice tells. */
void miss(enum miss_kind kind, uint64_t addr, long want, long got,
	  const char *fmt, ...)
{
	struct miss *m = &W->miss;
	va_list ap;

	if (W->blind && kind != MISS_KERNEL)
		return;
	if (!m->kind) {
		m->step = W->step;
		m->proc = me;
		m->op = W->log[W->step].kind;
		m->addr = addr;
		m->want = want;
		m->got = got;
		va_start(ap, fmt);
		vsnprintf(m->what, sizeof(m->what), fmt, ap);
		va_end(ap);
		__atomic_store_n(&m->kind, kind, __ATOMIC_RELEASE);
	}
	_exit(3);
}

void expect_ret(const struct op *op, long want, long got)
{
	W->count[op->kind][got > -(long)NR_ERRS && got <= 0 ? -got : NR_ERRS - 1]++;
	W->ret[W->step] = want;
	if (want != got)
		miss(MISS_RET, 0, want, got, "what %s returns",
		     op_names[op->kind]);
}

static long kernel_taint(void)
{
	long val = 0;
	FILE *f = fopen("/proc/sys/kernel/tainted", "r");

	if (!f)
		return 0;
	if (fscanf(f, "%ld", &val) != 1)
		val = 0;
	fclose(f);
	return val;
}

/*
 * A bad page, an oops, a warning or a soft lockup (bits 5, 7, 9, 14) since the
 * first call, which is before all runs
 */
bool kernel_complains(void)
{
	static long before = -1;
	long now = kernel_taint() & 0x42a0;

	if (before < 0)
		before = now;
	return now != before;
}

static void check_kernel(void)
{
	if (kernel_complains() && !W->replay)
		miss(MISS_KERNEL, 0, 0, 1, KERNEL_COMPLAINS);
}

static void do_check(const struct op *op)
{
	probe_all(op->rnd);
	if (me == 0)
		check_kernel();
	expect_ret(op, 0, 0);
}

void run_here(const struct op *op)
{
	switch (op->kind) {
	case OP_OPEN: case OP_CLOSE: case OP_MMAP: case OP_BADMAP: case OP_MUNMAP:
	case OP_MPROTECT: case OP_MREMAP: case OP_MADVISE: case OP_MLOCK:
	case OP_POISON:
		view_do(op);
		break;
	case OP_STORE: case OP_KWRITE: case OP_KREAD: case OP_DIRECT:
		info_before_touch(op);
		touch_do(op);
		break;
	case OP_PIN: case OP_UNPIN:
		info_before_touch(op);
		pin_do(op);
		break;
	case OP_FORK: case OP_EXIT: case OP_EXEC: case OP_PASS:
		proc_do(op);
		break;
	case OP_CHECK:
		do_check(op);
		break;
	case OP_LIE:
		probe_lie(op);
		break;
	default:
		device_do(op);
		break;
	}
	space_settle();
}

static void check_all(uint32_t rnd)
{
	struct op op = { .kind = OP_CHECK, .rnd = rnd };

	for (op.proc = 0; op.proc < NR_PROCS; op.proc++)
		if (W->proc[op.proc].alive)
			run_op(&op);
}

static void next_op(struct op *op, uint64_t *rng)
{
	if (W->replay)
		return;
	gen_op(op, rng);
	if (W->lie_at == W->step + 1)
		*op = (struct op){ .kind = OP_LIE, .a = W->seed % 4 };
	else if (W->step + 1 == W->nr_ops)
		*op = (struct op){ .kind = OP_CHECK, .rnd = op->rnd };
}

void run_list(uint64_t rng)
{
	struct op *op;

	for (W->step = 0; W->step < W->nr_ops; W->step++) {
		op = &W->log[W->step];
		next_op(op, &rng);
		if (!op_applies(op))
			continue;
		if (op->kind == OP_CHECK)
			check_all(op->rnd);
		else
			run_op(op);
	}
}

/* Does not return if something is wrong. */
void run_world(struct world *w)
{
	W = w;
	model_init();
	info_init();
	probe_init();
	proc_start_stranger();
	run_list(W->seed);
	proc_end_all();
}
