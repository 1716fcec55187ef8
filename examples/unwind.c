// SPDX-License-Identifier: MIT
/*
 * Unwinding through code made at run time, as exceptions, backtrace() and profilers do. The
 * code is a function that calls another one. A description of its frame (.eh_frame) lies
 * beside it as a constant, and __register_frame() makes it known.
 *
 * Addresses in the description are relative, with 32 bits: a window is never larger than
 * 2 GiB. Code and description are placed and installed together, and freed together.
 */
#include <unwind.h>

#include "code.h"

void __register_frame(void *begin);
void __deregister_frame(void *begin);

#ifdef __x86_64__
static const unsigned char code[] = {
	0x55,				/* push %rbp */
	0x48, 0x89, 0xe5,		/* mov %rsp, %rbp */
	0xff, 0xd7,			/* call *%rdi */
	0x5d,				/* pop %rbp */
	0xc3,				/* ret */
};

#define CODE_ALIGN	1
#define RETURN_REG	16

/* CFA is rsp + 8, rip is at CFA - 8. */
static const unsigned char at_start[] = { 0x0c, 7, 8, 0x90, 1 };
/* After 1 byte CFA is rsp + 16, and rbp at CFA - 16; after 3 more CFA is rbp + 16. */
static const unsigned char later[] = { 0x41, 0x0e, 16, 0x86, 2, 0x43, 0x0d, 6 };
#else
static const uint32_t code[] = {
	0xa9bf7bfd,			/* stp x29, x30, [sp, #-16]! */
	0xd63f0000,			/* blr x0 */
	0xa8c17bfd,			/* ldp x29, x30, [sp], #16 */
	0xd65f03c0,			/* ret */
};

#define CODE_ALIGN	4
#define RETURN_REG	30

/* CFA is sp. */
static const unsigned char at_start[] = { 0x0c, 31, 0 };
/* After 4 bytes CFA is sp + 16, x29 is at CFA - 16, x30 at CFA - 8. */
static const unsigned char later[] = { 0x41, 0x0e, 16, 0x9d, 2, 0x9e, 1 };
#endif

/* A CIE, an FDE, and a zero that ends them. Zeros at the end of instructions do nothing. */
struct eh_frame {
	uint32_t cie_length, cie_id;
	unsigned char cie[9], cie_code[7];
	uint32_t fde_length, fde_cie;
	int32_t start;
	uint32_t size;
	unsigned char fde, fde_code[11];
	uint32_t end;
};

static void describe(struct eh_frame *f, const struct eh_frame *at, const char *text)
{
	*f = (struct eh_frame){
		.cie_length = offsetof(struct eh_frame, fde_length) - 4,
		/* Version, augmentation; factors, of offsets -8; addresses are relative. */
		.cie = { 1, 'z', 'R', 0, CODE_ALIGN, 0x78, RETURN_REG, 1, 0x1b },
		.fde_length = offsetof(struct eh_frame, end) - offsetof(struct eh_frame, fde_cie),
		.fde_cie = offsetof(struct eh_frame, fde_cie),
		.start = (int32_t)(text - (const char *)&at->start),
		.size = sizeof(code),
	};
	memcpy(f->cie_code, at_start, sizeof(at_start));
	memcpy(f->fde_code, later, sizeof(later));
}

static const char *text;
static int nr_frames, found = -1;

static _Unwind_Reason_Code visit(struct _Unwind_Context *context, void *unused)
{
	uintptr_t ip = _Unwind_GetIP(context);

	(void)unused;
	if (ip > (uintptr_t)text && ip < (uintptr_t)text + sizeof(code))
		found = nr_frames;
	nr_frames++;
	return _URC_NO_REASON;
}

/* Called by the code */
static void callback(void)
{
	_Unwind_Backtrace(visit, NULL);
}

int main(void)
{
	const struct wxp_request reqs[] = {
		{ .size = sizeof(code), .prot = WXP_RX },
		{ .size = sizeof(struct eh_frame), .prot = WXP_R },
	};
	struct wxp_span spans[2];
	struct eh_frame frame;
	void (*function)(void (*)(void));
	struct wxp *wxp;

	must(wxp_open(&wxp, NULL), "wxp_open");
	must(wxp_place(wxp, 1, reqs, 2, spans), "wxp_place");
	text = spans[0].addr;
	describe(&frame, spans[1].addr, text);
	must(wxp_install(wxp, 1, (struct wxp_piece[]){ { spans[0].addr, code, sizeof(code) },
			 { spans[1].addr, &frame, sizeof(frame) } }, 2), "wxp_install");

	__register_frame(spans[1].addr);
	memcpy(&function, &text, sizeof(function));
	function(callback);
	/* Before its memory goes */
	__deregister_frame(spans[1].addr);

	if (found < 0 || found + 1 == nr_frames)
		printf("%d frames: it ends before the code, or there.\n", nr_frames);
	else
		printf("%d frames: the code's own, and %d that led to it.\n", nr_frames,
		       nr_frames - found - 1);
	wxp_close(wxp);
	return found < 0 || found + 1 == nr_frames;
}
