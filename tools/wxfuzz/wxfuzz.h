/* SPDX-License-Identifier: MIT */
/*
 * wxfuzz: random operations on /dev/wxpool, and a model that knows what each
 * of them must do
 *
 * An operation (struct op) consists of plain numbers: it can be repeated, left
 * out and printed as C. All that the model knows is in a world (struct world),
 * in memory that the processes of a run share: whichever process executes an
 * operation asks the model itself, one at a time.
 */
#ifndef WXFUZZ_H
#define WXFUZZ_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include <linux/wxpool.h>

#define LINE		64u
#define PAGE		4096u
#define PAGE_LINES	(PAGE / LINE)
#define WINDOW_PAGES	512u

/* Pages of a context that are used: a window for small pages, two to be huge */
#define NR_PAGES	(3 * WINDOW_PAGES)
#define SMALL_PAGES	48u

/* Pages of address space for views; those from WINDOW_PAGES on for huge ones */
#define NR_SLOTS	(3 * WINDOW_PAGES)
#define SMALL_SLOTS	96u
#define ARENA		0x100000000000ull

#define NR_PROCS	4u	/* the first, a stranger to it, and children */
#define NR_CTX		3u
#define NR_POOLS	10u
#define NR_REGIONS	512u
#define NR_MPAGES	6144u
#define NR_PINS		4u
#define NR_RANGES	3u
#define MAX_OPS		2048u	/* of one run */
#define NR_ERRS		134u	/* the last: any other */
#define FD_CTX		100	/* number of the first context's file */
#define ALIVE		UINT32_MAX

enum op_kind {
	OP_NONE, OP_OPEN, OP_CLOSE, OP_INFO, OP_ALLOC, OP_PROTECT, OP_FREE,
	OP_INSTALL, OP_FREEZE, OP_MMAP, OP_BADMAP, OP_MUNMAP, OP_MPROTECT,
	OP_MREMAP, OP_MADVISE, OP_STORE, OP_KWRITE, OP_KREAD, OP_DIRECT, OP_PIN,
	OP_UNPIN, OP_FORK, OP_EXIT, OP_EXEC, OP_PASS, OP_CHECK, OP_LIE,
	NR_OPS
};

/* What is wrong with an operation's arguments */
enum mut {
	M_NONE, M_CMD, M_URING_FLAGS, M_SIZE_0, M_SIZE_SHORT, M_SIZE_BIG,
	M_TAIL_ZERO, M_TAIL_BAD, M_ARG_NULL, M_ARG_RO, M_ARG_CUT,
	M_POOL_0, M_FLAGS, M_RESERVED, M_NR_0, M_NR_MANY, M_VEC_NULL, M_VEC_CUT,
	M_OFFSET, M_LEN_0, M_LEN_ODD, M_LEN_BIG, M_OVER, M_RANGE_RESERVED,
	M_PROT, M_ADDR_ODD, M_ADDR_BAD, M_SRC_NULL, M_SRC_CUT,
	NR_MUTS
};

enum kind { KIND_NONE, KIND_W, KIND_X, KIND_R };
enum state { OPEN, SEALED_R, SEALED_X };

#define STAMP_ZERO	0u
#define STAMP_TRAP	1u
#define STAMP_DISK	0xf0000000u	/* from here on: lines of the disk */
#define NO_SLOT		UINT16_MAX

/*
 * struct range - one range of an operation
 * @at: page, or for INSTALL line, in the context
 * @len: pages, or for INSTALL bytes
 * @stamp: what is installed: line i has the bytes of @stamp + i
 * @slot: where the view is to be, or NO_SLOT
 */
struct range {
	uint32_t at;
	uint32_t len;
	uint32_t stamp;
	uint16_t slot;
	uint16_t prot;
};

/*
 * struct op - one operation; what @a, @b and @c are depends on its kind
 * @rnd: what of it is tried afterwards
 */
struct op {
	uint8_t kind;
	uint8_t proc;
	uint8_t ctx;
	uint8_t uring;
	uint8_t mut;
	uint16_t nr;
	uint16_t flags;
	uint32_t pool;
	uint32_t a, b, c;
	uint32_t rnd;
	struct range r[NR_RANGES];
};

struct mline {
	uint32_t stamp;
	uint8_t len;
	uint8_t live;
	uint16_t pool;
};

struct mpage {
	uint8_t used;
	uint8_t state;
	uint8_t pins;
	uint8_t lazy;		/* the kernel may still be letting go of a pin */
	uint8_t orphan;		/* only pins are left */
	struct mline line[PAGE_LINES];
};

struct mregion {
	uint8_t used, kept, packed, ctx;
	uint16_t older;
	uint16_t nr;
	uint32_t pgoff;
	uint32_t pool;
	uint32_t born, ended;
	uint32_t nr_lines;
	uint32_t page0;
};

struct mctx {
	uint8_t used, frozen, owner, owner_gone;
	uint32_t forks;
	uint32_t charged;
	uint32_t nr_kept;
	uint16_t top[NR_PAGES];
};

/* One page of address space. @gen: of the fork that copied the view, or 0 */
struct slot {
	uint8_t kind;
	uint8_t ctx;
	uint8_t prot;
	uint8_t dontcopy;
	uint32_t gen;
	uint32_t page;
};

struct pin {
	uint8_t used;		/* 1: pipe, 2: fixed buffer */
	uint16_t page;
};

struct mproc {
	uint8_t alive;
	uint8_t fd[NR_CTX];
	pid_t pid;
	struct pin pin[NR_PINS];
	struct slot slot[NR_SLOTS];
};

enum miss_kind {
	MISS_NONE, MISS_RET, MISS_OUT, MISS_READ, MISS_WRITE, MISS_EXEC,
	MISS_BYTES, MISS_STAT, MISS_KERNEL, MISS_CRASH, MISS_HANG
};

/* struct miss - where the kernel and the model differ */
struct miss {
	uint32_t kind;
	uint32_t step;
	uint32_t proc;
	uint32_t op;
	uint64_t addr;
	long want, got;
	char what[120];
};

struct world {
	/* set by the caller of a run */
	uint64_t seed;
	uint32_t ctx_limit, user_limit;
	uint32_t page_base, pool_base;
	uint64_t arena;
	uint8_t shared;		/* other threads use the contexts, too */
	uint8_t blind;		/* and the same pages: who knows what comes of it */
	uint8_t uring;
	uint8_t replay;
	uint32_t lie_at;
	uint32_t nr_ops;	/* to be done */
	uint32_t look;		/* what one in so many touched is tried */

	/* what happened */
	uint32_t step;
	struct op log[MAX_OPS + 1];
	int16_t ret[MAX_OPS + 1];
	struct miss miss;
	uint64_t count[NR_OPS][NR_ERRS];

	/* between processes */
	struct op cmd;
	uint32_t turn[NR_PROCS], done[NR_PROCS];
	int sock[NR_PROCS][2];

	/* the model */
	uint32_t user;
	uint32_t mpage_hint;
	struct mctx ctx[NR_CTX];
	struct mproc proc[NR_PROCS];
	struct mregion region[NR_REGIONS];
	struct mpage mpage[NR_MPAGES];
};

/* Per thread, but the first two that a fork() changes per process */
extern __thread struct world *W;
extern __thread unsigned int me;
extern const char *const op_names[NR_OPS];

#define ERR(e)		(-(long)(e))
#define SPACE		(1ull << 40)
#define BAD_ADDR	0xffff800000000000ull

static inline uint64_t splitmix(uint64_t *s)
{
	uint64_t z = *s += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static inline unsigned int nr_lines_of(uint32_t bytes)
{
	return (bytes + LINE - 1) / LINE;
}

static inline void *slot_addr(unsigned int slot)
{
	return (void *)(uintptr_t)(W->arena + (uint64_t)slot * PAGE);
}

static inline uint64_t page_offset(uint32_t page)
{
	return (uint64_t)(W->page_base + page) * PAGE;
}

static inline struct mpage *region_page(const struct mregion *r, uint32_t page)
{
	return &W->mpage[r->page0 + page - r->pgoff];
}

/* content.c: the bytes that a stamp stands for */
void content_init(void);
size_t content_code_size(void);
void content_line(uint32_t stamp, unsigned char *out);
void content_expect(const struct mline *line, const struct mpage *page,
		    unsigned char *out);
bool content_runs(const struct mline *line, uint32_t *ret);
int content_disk(void);

/* model.c: regions, pages and lines */
void model_init(void);
long model_alloc(const struct op *op);
long model_protect(const struct op *op);
long model_install(const struct op *op);
long model_free(const struct op *op, uint64_t *freed, uint64_t *kept);
void model_reap(unsigned int ctx);
void model_ctx_release(unsigned int ctx);
bool model_pool_exists(unsigned int ctx, uint32_t pool);
void model_page_put(struct mpage *page);

/* space.c: views */
struct mregion *space_region(const struct slot *s);
struct mpage *space_page(unsigned int proc, const struct slot *s);
int space_read(unsigned int proc, const struct slot *s);
int space_write(unsigned int proc, const struct slot *s);
int space_exec(unsigned int proc, const struct slot *s);
void space_map(unsigned int slot, unsigned int nr, unsigned int ctx,
	       uint32_t page, int prot);
long space_mprotect(unsigned int slot, unsigned int nr, int prot);
void space_unmap(unsigned int slot, unsigned int nr);
void space_fork(unsigned int from, unsigned int to);
void space_exit(unsigned int proc);
void space_ctx_check(unsigned int ctx);

/* device.c, views.c, pins.c, proc.c: executing operations */
long device_do(const struct op *op);
void device_spoil(const struct op *op, struct wxpool_range *last);
long view_do(const struct op *op);
int view_advice(const struct op *op);
void view_bad_map(const struct op *op, int *prot, int *flags, long *offset);
long touch_do(const struct op *op);
long pin_do(const struct op *op);
void pin_init(void);
void pin_forget(void);
struct io_uring *ring_get(void);
void ring_forget(void);
long proc_do(const struct op *op);
bool proc_wait_done(unsigned int proc);
void proc_start_stranger(void);
void proc_end_all(void);
long proc_recv(const struct op *op);

/* probe.c */
void probe_init(void);
int probe_read(const void *p);
int probe_write(void *p, unsigned char val);
int probe_exec(const void *p, uint32_t *ret);
int probe_copy(void *to, const void *from, size_t len);
bool probe_due(const struct op *op);
void probe_slot(unsigned int slot, uint64_t rnd);
void probe_page(unsigned int ctx, uint32_t page, uint64_t rnd);
void probe_all(uint64_t rnd);
void probe_lie(const struct op *op);

/* threads.c */
#define NR_THREADS	4u
void threads_setup(struct world *worlds, uint64_t seed);
void threads_run(struct world *worlds);

/* run.c */
void miss(enum miss_kind kind, uint64_t addr, long want, long got,
	  const char *fmt, ...) __attribute__((format(printf, 5, 6)));
void run_op(const struct op *op);
void run_here(const struct op *op);
void run_list(uint64_t rng);
void run_world(struct world *w);
void check_kernel(void);
void expect_ret(const struct op *op, long want, long got);

/* gen.c */
void gen_op(struct op *op, uint64_t *rng);
bool op_applies(const struct op *op);

/* shrink.c, emit.c */
bool replay(struct world *w, const struct op *ops, unsigned int nr);
void shrink(struct world *w);
void emit_reproducer(FILE *f, const struct world *w);
void emit_sample(void);

#endif /* WXFUZZ_H */
