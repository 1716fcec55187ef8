// SPDX-License-Identifier: MIT
/*
 * Addresses first: for code that must know where it and its data will be. wxp_place() finds
 * places for a whole module, without a system call. The code is relocated for them in
 * buffers of the program's own. wxp_install() then copies all of it, by one system call.
 */
#include "code.h"

enum { TEXT, STEP, COUNTER };

int main(void)
{
	const size_t second = 32;		/* where the second function is in the text */
	const struct wxp_request reqs[] = {
		[TEXT] = { .size = second + ANSWER_SIZE, .align = 16, .prot = WXP_RX },
		[STEP] = { .size = sizeof(uint32_t), .prot = WXP_R },
		[COUNTER] = { .size = sizeof(uint32_t), .prot = WXP_RW },
	};
	struct wxp_span spans[3];
	struct wxp_piece pieces[3];
	char counter_code[COUNTER_SIZE], answer_code[ANSWER_SIZE], *text;
	uint32_t step = 7, start = 100, pool;
	struct wxp *wxp;

	must(wxp_open(&wxp, NULL), "wxp_open");
	must(wxp_new_pool(wxp, &pool), "wxp_new_pool");
	must(wxp_place(wxp, pool, reqs, 3, spans), "wxp_place");
	text = spans[TEXT].addr;
	printf("code at %p, a constant at %p, a variable at %p\n", spans[TEXT].addr,
	       spans[STEP].addr, spans[COUNTER].addr);

	/* Variables can be used at once. They are at 0 until somebody writes to them. */
	memcpy(spans[COUNTER].addr, &start, sizeof(start));

	/* Two functions in two buffers, for one span: pieces in the order of their addresses */
	code_counter(counter_code, text, spans[COUNTER].addr, spans[STEP].addr);
	code_answer(answer_code, 42);
	pieces[0] = (struct wxp_piece){ text, counter_code, sizeof(counter_code) };
	pieces[1] = (struct wxp_piece){ text + second, answer_code, sizeof(answer_code) };
	pieces[2] = (struct wxp_piece){ spans[STEP].addr, &step, sizeof(step) };
	must(wxp_install(wxp, pool, pieces, 3), "wxp_install");

	printf("The first function returns %d, and then ", code_run(text));
	printf("%d. The second one returns %d.\n", code_run(text), code_run(text + second));

	must(wxp_free(wxp, pool), "wxp_free");
	wxp_close(wxp);
	return 0;
}
