// SPDX-License-Identifier: MIT
/* LLJIT by LLVM's C API: create the object layer with wxpool's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <llvm-c/Core.h>
#include <llvm-c/IRReader.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <wxpool/llvm-c.h>

#include "module.h"

static void must(LLVMErrorRef error)
{
	if (!error)
		return;
	fprintf(stderr, "c-api: %s\n", LLVMGetErrorMessage(error));
	exit(1);
}

static LLVMOrcObjectLayerRef create_layer(void *wxp, LLVMOrcExecutionSessionRef session,
					  const char *triple)
{
	(void)triple;
	return wxp_llvm_jitlink_layer(session, wxp);
}

/* Position independent, of the small code model: an own layer makes that the caller's. */
static LLVMTargetMachineRef create_machine(void)
{
	char *triple = LLVMGetDefaultTargetTriple(), *error;
	LLVMTargetRef target;

	if (LLVMGetTargetFromTriple(triple, &target, &error)) {
		fprintf(stderr, "c-api: %s\n", error);
		exit(1);
	}
	return LLVMCreateTargetMachine(target, triple, LLVMGetHostCPUName(),
				       LLVMGetHostCPUFeatures(), LLVMCodeGenLevelDefault,
				       LLVMRelocPIC, LLVMCodeModelSmall);
}

/* Compiles the module to an object: how IR is handed over changes from version to version. */
static LLVMMemoryBufferRef compile(void)
{
	LLVMTargetMachineRef machine = create_machine();
	LLVMContextRef llvm = LLVMContextCreate();
	LLVMMemoryBufferRef text, object;
	LLVMModuleRef module;
	char *error;

	text = LLVMCreateMemoryBufferWithMemoryRangeCopy(module_text, strlen(module_text),
							 "module");
	if (LLVMParseIRInContext(llvm, text, &module, &error) ||
	    LLVMTargetMachineEmitToMemoryBuffer(machine, module, LLVMObjectFile, &error,
						&object)) {
		fprintf(stderr, "c-api: %s\n", error);
		exit(1);
	}
	LLVMDisposeModule(module);
	LLVMContextDispose(llvm);
	LLVMDisposeTargetMachine(machine);
	return object;
}

int main(void)
{
	LLVMOrcJITTargetMachineBuilderRef target;
	LLVMOrcLLJITBuilderRef builder;
	LLVMOrcExecutorAddress address;
	LLVMOrcLLJITRef jit;
	struct wxp *wxp;
	int err = wxp_open(&wxp, NULL);

	if (err) {
		fprintf(stderr, "c-api: %s\n", wxp_strerror(err));
		return 1;
	}
	LLVMInitializeNativeTarget();
	LLVMInitializeNativeAsmPrinter();

	builder = LLVMOrcCreateLLJITBuilder();
	target = LLVMOrcJITTargetMachineBuilderCreateFromTargetMachine(create_machine());
	LLVMOrcLLJITBuilderSetJITTargetMachineBuilder(builder, target);
	LLVMOrcLLJITBuilderSetObjectLinkingLayerCreator(builder, create_layer, wxp);
	must(LLVMOrcCreateLLJIT(&jit, builder));
	must(LLVMOrcLLJITAddObjectFile(jit, LLVMOrcLLJITGetMainJITDylib(jit), compile()));
	must(LLVMOrcLLJITLookup(jit, &address, "answer"));
	printf("The answer is %d.\n", ((int (*)(int))address)(4));

	must(LLVMOrcDisposeLLJIT(jit));
	wxp_close(wxp);
	return 0;
}
