// SPDX-License-Identifier: MIT
/*
 * Bytes in, function out: for code that does not depend on its address. wxp_load() finds a
 * place and copies the bytes there, by one system call. No mapping of the code is ever
 * writable.
 */
#include "code.h"

int main(void)
{
	char first[ANSWER_SIZE], second[ANSWER_SIZE];
	struct wxp_part parts[] = {
		{ .bytes = second, .size = sizeof(second), .prot = WXP_RX },
		{ .bytes = "a constant", .size = 11, .prot = WXP_R },
	};
	struct wxp *wxp;
	void *f;

	must(wxp_open(&wxp, NULL), "wxp_open");
	printf("The backend is %s.\n", wxp_backend_name(wxp_get_backend(wxp)));
	if (wxp_get_fallback(wxp))
		printf("It is not kernel: %s.\n", wxp_strerror(wxp_get_fallback(wxp)));

	/* Pool 1: a function */
	code_answer(first, 42);
	must(wxp_load(wxp, 1, first, sizeof(first), WXP_RX, &f), "wxp_load");
	printf("The function at %p returns %d.\n", f, code_run(f));

	/* Pool 2: a function and a constant, by one call */
	code_answer(second, 43);
	must(wxp_load_many(wxp, 2, parts, 2), "wxp_load_many");
	printf("The function at %p returns %d.\n", parts[0].addr, code_run(parts[0].addr));
	printf("At %p there is %s.\n", parts[1].addr, (const char *)parts[1].addr);

	/* The end of pool 1 is no business of pool 2's. */
	must(wxp_free(wxp, 1), "wxp_free");
	printf("The first pool is gone. The second one still returns %d.\n",
	       code_run(parts[0].addr));
	must(wxp_free(wxp, 2), "wxp_free");
	wxp_close(wxp);
	return 0;
}
