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
#define BLOCK_PAGES	512u

/* Pages of a context that are used: small ones, then two places for blocks */
#define NR_PAGES	(3 * BLOCK_PAGES)
#define SMALL_PAGES	48u

/* Pages of address space for views; those from BLOCK_PAGES on for blocks */
#define NR_SLOTS	(3 * BLOCK_PAGES)
#define SMALL_SLOTS	96u
#define ARENA		0x100000000000ull

#define NR_PROCS	5u	/* the first, a stranger to it, and children */
#define NR_CTX		4u	/* the last by a descriptor for one direction only */
#define NR_POOLS	10u
#define NR_MPOOLS	1024u
#define NR_REGIONS	4096u
#define NR_MPAGES	6144u
#define NR_PINS		4u
#define NR_RANGES	4u
#define MAX_INSTALL	(40u * PAGE)	/* of one range */
#define MAX_PIECES	100u
#define MAX_OPS		2048u	/* of one run */
#define NR_ERRS		135u	/* the last: any other */
#define FD_CTX		100	/* number of the first context's file */

enum op_kind {
	OP_NONE, OP_OPEN, OP_CLOSE, OP_INFO, OP_ALLOC, OP_PROTECT, OP_FREE,
	OP_INSTALL, OP_FREEZE, OP_MMAP, OP_BADMAP, OP_MUNMAP, OP_MPROTECT,
	OP_MREMAP, OP_MADVISE, OP_MLOCK, OP_POISON, OP_STORE, OP_KWRITE,
	OP_KREAD, OP_DIRECT, OP_PIN, OP_UNPIN, OP_FORK, OP_EXIT, OP_EXEC,
	OP_PASS, OP_CHECK, OP_LIE,
	NR_OPS
};

/* What is wrong with an operation's arguments */
enum mut {
	M_NONE, M_CMD, M_URING_FLAGS, M_SIZE_0, M_SIZE_SHORT, M_SIZE_BIG,
	M_TAIL_ZERO, M_TAIL_BAD, M_ARG_NULL, M_ARG_RO, M_ARG_CUT,
	M_POOL_0, M_FLAGS, M_RESERVED, M_NR_0, M_NR_MANY, M_VEC_NULL, M_VEC_CUT,
	M_OFFSET, M_LEN_0, M_LEN_ODD, M_LEN_BIG, M_OVER, M_RANGE_RESERVED,
	M_PROT, M_RANGE_FLAGS, M_CONT_FIRST, M_CONT_OFFSET, M_CONT_PROT,
	M_SRC_NULL, M_SRC_CUT, M_ALL_POOLS, M_ALL_NR,
	NR_MUTS
};

/* What must happen now and then, or the fuzzer is of little use */
enum event {
	EV_BLOCK, EV_BLOCK_REFUSED, EV_IDLE, EV_IDLE_USED, EV_IDLE_DROPPED,
	EV_IDLE_WENT, EV_KEPT, EV_REVOKED, EV_PASSED_ON, EV_REAPED, EV_HIDDEN,
	EV_HIDDEN_SHOWN, EV_SHARED_AGAIN, EV_KEPT_LINE, EV_XO_RUN, EV_XO_REFUSED,
	EV_GATHER, EV_EMPTY,
	NR_EVENTS
};

/* Which context an operation says it is for */
enum id { ID_ANY, ID_RIGHT, ID_WRONG, ID_OTHER, NR_IDS };

enum kind { KIND_NONE, KIND_W, KIND_X, KIND_XO, KIND_R };

/* OPEN, or sealed to a &enum wxpool_prot */
enum state {
	OPEN,
	SEALED_R = WXPOOL_PROT_R,
	SEALED_X = WXPOOL_PROT_X,
	SEALED_XO = WXPOOL_PROT_XO,
	NR_STATES
};

enum line_state { LINE_FREE, LINE_LIVE, LINE_KEPT };

#define STAMP_ZERO	0u
#define STAMP_TRAP	1u
#define STAMP_DISK	0xf0000000u	/* from here on: lines of the disk */

/*
 * struct range - one range of an operation, or a pool of FREE's (@at)
 * @at: page, or for INSTALL line, in the context
 * @len: pages, or for INSTALL bytes
 * @stamp: what is installed: line i has the bytes of @stamp + i
 * @cont: goes on from the range before, as do its bytes; has no @at, @stamp
 *	and @prot of its own
 */
struct range {
	uint32_t at;
	uint32_t len;
	uint32_t stamp;
	uint16_t cont;
	uint16_t prot;
};

/*
 * struct op - one operation; what @a, @b and @c are depends on its kind
 *
 * INSTALL hands over each range in @b pieces, from sources aligned as @c says.
 *
 * @id: a &enum id
 * @rnd: what of it is tried afterwards
 */
struct op {
	uint8_t kind;
	uint8_t proc;
	uint8_t ctx;
	uint8_t uring;
	uint8_t mut;
	uint8_t id;
	uint16_t nr;
	uint16_t flags;
	uint32_t pool;
	uint32_t a, b, c;
	uint32_t rnd;
	struct range r[NR_RANGES];
};

/*
 * struct mline - a line, or 64 bytes of a page that is not packed
 * @pool: whose it is, if not free
 * @old: what was in it, if a pin holds a page that ended with it: the module need
 *	not fill it then. @old_len is 0 if there is nothing.
 */
struct mline {
	uint32_t stamp, old;
	uint8_t len, old_len;
	uint8_t state;
	uint16_t pool;
};

struct mpage {
	uint8_t used;
	uint8_t state;
	uint8_t pins;
	uint8_t lazy;		/* the kernel may still be letting go of a pin */
	uint8_t orphan;		/* only pins are left */
	uint8_t poison;		/* has a memory error: nobody knows what views show */
	struct mline line[PAGE_LINES];
};

/*
 * struct mpool - a pool
 * @born, @ended: those that inherited it are the forks in between
 * @keeper: the newest of these that has an heir
 */
struct mpool {
	uint8_t used, kept, ctx;
	uint32_t number;
	uint32_t born, ended;
	uint32_t keeper;
	uint32_t pages, lines;
};

/*
 * struct mregion - pages that were made together
 * @pool: whose they are, if ALLOC made them
 * @hidden: for heirs only: those of the forks between @born and @ended
 * @idle: the block without a line that the context keeps
 * @emptied: a block that may become it
 */
struct mregion {
	uint8_t used, hidden, packed, idle, emptied, ctx;
	uint16_t nr;
	uint16_t pool;
	uint32_t pgoff;
	uint32_t born, ended;
	uint32_t nr_live, nr_kept;
	uint32_t page0;
};

#define FEW_RANGES	64	/* WXPOOL_FEW of kmod/install.c */

/*
 * struct mctx - a context
 * @mode: of its descriptors: O_RDWR or one of the others
 * @tight: a limit is near, so that idle blocks may have gone; @was_tight: once
 * @warm: a bit for each: an ALLOC or an INSTALL was done, or failed; an INSTALL of at most
 * FEW_RANGES was tried, whose buffer the module keeps
 * @base: what was charged when nothing was there, and @base_warm was @warm
 */
struct mctx {
	uint8_t used, frozen, owner, owner_gone, mode, tight, was_tight;
	uint8_t warm, base_warm, failed;	/* @failed: a call has, since the last look */
	uint32_t forks;
	uint64_t id, block_size, base;
	uint16_t top[NR_PAGES];
};

/* One page of address space. @gen: of the fork that made it an heir's, or 0 */
struct slot {
	uint8_t kind;
	uint8_t ctx;
	uint8_t prot;
	uint8_t dontcopy;
	uint8_t locked;
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

/*
 * struct piece - what of the range @i an element of INSTALL's vector has
 * @from: byte of the range at which it begins
 */
struct piece {
	unsigned int i;
	uint32_t from, len;
};

/* struct vrange - an element of any operation's vector */
struct vrange {
	uint64_t offset, length, source;
	uint32_t prot, flags, reserved;
};

/*
 * struct room - what an operation will find
 * @must: there is no room for it; @may: perhaps there is none
 * @charged: without idle blocks
 */
struct room {
	bool must, may;
	uint64_t charged;
};

struct world {
	/* set by the caller of a run */
	uint64_t seed;
	uint64_t ctx_limit, user_limit;	/* bytes */
	uint32_t page_base, pool_base;
	uint32_t block_prot;	/* of all blocks, if not 0 */
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
	uint64_t events[NR_EVENTS];

	/* between processes */
	struct op cmd;
	uint32_t turn[NR_PROCS], done[NR_PROCS];
	int sock[NR_PROCS][2];

	/* the model */
	uint8_t xo;		/* the processor keeps XO views from being read */
	uint64_t scanned;	/* by shrinkers, before the run */
	uint32_t nr_ids;
	uint64_t ids[MAX_OPS];
	uint32_t mpage_hint;
	struct mctx ctx[NR_CTX];
	struct mproc proc[NR_PROCS];
	struct mpool pool[NR_MPOOLS];
	struct mregion region[NR_REGIONS];
	struct mpage mpage[NR_MPAGES];
};

/* Per thread, but the first two that a fork() changes per process */
extern __thread struct world *W;
extern __thread unsigned int me;
extern const char *const op_names[NR_OPS];

static inline void seen(enum event event)
{
	W->events[event]++;
}

#define ERR(e)		(-(long)(e))
#define SPACE		(1ull << 40)

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
void content_old(const struct mline *line, const struct mpage *page,
		 unsigned char *out);
bool content_runs(const struct mline *line, uint32_t *ret);
int content_disk(void);

/* model.c: pools, regions and pages; what heirs keep */
void model_init(void);
long model_alloc_error(const struct op *op);
void model_alloc(const struct op *op);
long model_protect_error(const struct op *op);
void model_protect(const struct op *op);
long model_free_error(const struct op *op);
void model_free(const struct op *op, struct wxpool_free *out);
void model_reap(unsigned int ctx);
void model_ctx_release(unsigned int ctx);
struct mregion *model_region(unsigned int ctx, uint32_t page);
struct mregion *model_region_new(unsigned int ctx, uint32_t pgoff, unsigned int nr,
				 bool packed, enum state state);
void model_region_end(struct mregion *r);
uint16_t model_pool(unsigned int ctx, uint32_t number);
uint16_t model_pool_get(unsigned int ctx, uint32_t number);
void model_page_put(struct mpage *page);
void model_count(unsigned int ctx, uint32_t pool, struct wxpool_info *info);
void model_fill(struct mline *line, enum state state);

/* packed.c: lines */
long model_install_error(const struct op *op, unsigned int blocks);
void model_install(const struct op *op, unsigned int blocks);
uint64_t model_install_pages(const struct op *op, unsigned int blocks);
bool model_drops(const struct op *op, const struct mregion *r);
unsigned int run_end(const struct op *op, unsigned int i, uint32_t *len);
uint32_t run_before(const struct op *op, unsigned int i, const struct range **head);

/* info.c: what INFO says, and what of it the model cannot know */
long info_ask(unsigned int ctx, uint32_t pool, struct wxpool_info *info);
void info_open(unsigned int ctx);
bool info_block(unsigned int ctx, unsigned int stretch);
void info_before(const struct op *op);
void info_before_touch(const struct op *op);
void info_after(const struct op *op);
unsigned int info_settle_emptied(unsigned int ctx);
bool info_may_go(const struct mregion *r);
void info_judge(unsigned int ctx, uint64_t least, uint64_t most, struct room *room);
void info_check_failed(unsigned int ctx, const struct room *room);
void info_compare(unsigned int ctx, uint32_t pool, const struct wxpool_info *got);
void info_check(unsigned int ctx, uint32_t pool);
void info_check_fdinfo(unsigned int ctx);
void info_init(void);

/* space.c: views */
struct mregion *space_region(const struct slot *s);
bool space_special(const struct slot *s);
bool space_poison(unsigned int proc, unsigned int slot);
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
void space_settle(void);

/* device.c, views.c, pins.c, proc.c: executing operations */
long device_do(const struct op *op);
uint32_t device_nr(const struct op *op);
unsigned int device_nr_elements(const struct op *op);
struct piece device_piece(const struct op *op, unsigned int n);
uint32_t device_flags(const struct op *op);
void device_spoil(const struct op *op, unsigned int i, struct vrange *r);
long view_do(const struct op *op);
int view_open_mode(const struct op *op);
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
bool probe_idle_gone(const struct slot *s);
void probe_slot(unsigned int slot, uint64_t rnd);
void probe_page(unsigned int ctx, uint32_t page, uint64_t rnd);
void probe_all(uint64_t rnd);
void probe_lie(const struct op *op);

/* threads.c */
#define NR_THREADS	4u
void threads_setup(struct world *worlds, uint64_t seed);
void threads_run(struct world *worlds);

/* run.c */
#define KERNEL_COMPLAINS	"the kernel complains: see its log"
void miss(enum miss_kind kind, uint64_t addr, long want, long got,
	  const char *fmt, ...) __attribute__((format(printf, 5, 6)));
void run_op(const struct op *op);
void run_here(const struct op *op);
void run_list(uint64_t rng);
void run_world(struct world *w);
bool kernel_complains(void);
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
