/* SPDX-License-Identifier: MIT */
/*
 * An object file for MCJIT, with sections as large as those of the workload:
 * CODE_SIZE, RODATA_SIZE and DATA_SIZE bytes. Each page of code begins with a
 * function that returns 42.
 */
	.macro	function
#ifdef __x86_64__
	movl	$42, %eax
	ret
#else
	mov	w0, #42
	ret
#endif
	.endm

	.text
	.p2align 4
	.globl	wxbench_code
	.type	wxbench_code, %function
wxbench_code:
	function
#if CODE_SIZE > 4096
	.org	wxbench_code + 4096
	function
#endif
	.org	wxbench_code + CODE_SIZE, 0xc3

	.section .rodata, "a"
	.p2align 4
	.globl	wxbench_rodata
	.type	wxbench_rodata, %object
wxbench_rodata:
	.fill	RODATA_SIZE, 1, 7

	.data
	.p2align 4
	.globl	wxbench_data
	.type	wxbench_data, %object
wxbench_data:
	.fill	DATA_SIZE, 1, 7

	.section .note.GNU-stack, "", %progbits
