// SPDX-License-Identifier: MIT
/*
 * Write in place: for a code generator that writes where it is told to. wxp_alloc() gives
 * two addresses: bytes go to .write, and will run, or be read, at .addr. wxp_protect()
 * seals all that was written.
 */
#include "code.h"

int main(void)
{
	const struct wxp_request reqs[] = {
		{ .size = COUNTER_SIZE, .prot = WXP_RX },
		{ .size = sizeof(uint32_t), .prot = WXP_R },
	};
	struct wxp_mem text, step, counter;
	const uint32_t seven = 7;
	struct wxp *wxp;

	must(wxp_open(&wxp, NULL), "wxp_open");

	/* Not needed; but if it is known what will be allocated, it saves system calls. */
	must(wxp_reserve(wxp, 1, reqs, 2), "wxp_reserve");
	must(wxp_alloc(wxp, 1, COUNTER_SIZE, 0, WXP_RX, &text), "wxp_alloc");
	must(wxp_alloc(wxp, 1, sizeof(uint32_t), 0, WXP_R, &step), "wxp_alloc");
	must(wxp_alloc(wxp, 1, sizeof(uint32_t), 0, WXP_RW, &counter), "wxp_alloc");
	printf("code is written to %p, to run at %p\n", text.write, text.addr);

	/* Only stores go to .write. All that is known of an address is about .addr. */
	code_counter(text.write, text.addr, counter.addr, step.addr);
	memcpy(step.write, &seven, sizeof(seven));

	must(wxp_protect(wxp, 1), "wxp_protect");
	printf("The function returns %d, and then ", code_run(text.addr));
	printf("%d.\n", code_run(text.addr));

	must(wxp_free(wxp, 1), "wxp_free");
	wxp_close(wxp);
	return 0;
}
