// SPDX-License-Identifier: MIT
/*
 * Write in place at one address: for a code generator that cannot tell two addresses apart.
 * It costs mappings, and a system call for each piece of memory that is protected.
 */
#include "code.h"

int main(void)
{
	struct wxp_options opts = { .size = sizeof(opts), .flags = WXP_ONE_ADDRESS };
	const uint32_t seven = 7;
	struct wxp_mem text, step, counter;
	struct wxp *wxp;

	must(wxp_open(&wxp, &opts), "wxp_open");
	must(wxp_alloc(wxp, 1, COUNTER_SIZE, 0, WXP_RX, &text), "wxp_alloc");
	must(wxp_alloc(wxp, 1, sizeof(uint32_t), 0, WXP_R, &step), "wxp_alloc");
	must(wxp_alloc(wxp, 1, sizeof(uint32_t), 0, WXP_RW, &counter), "wxp_alloc");
	printf("code is written to %p, and will run there\n", text.write);
	if (text.write != text.addr)
		return 1;

	code_counter(text.addr, text.addr, counter.addr, step.addr);
	memcpy(step.addr, &seven, sizeof(seven));

	must(wxp_protect(wxp, 1), "wxp_protect");
	printf("The function returns %d.\n", code_run(text.addr));

	must(wxp_free(wxp, 1), "wxp_free");
	wxp_close(wxp);
	return 0;
}
