// SPDX-License-Identifier: MIT
/*
 * asmjit on wxpool: in the place of asmjit::JitRuntime, a runtime that has each function
 * relocated in a buffer, for the address where it will be, and installed. x86-64.
 */
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <asmjit/asmjit.h>
#include <wxpool.h>

namespace {

class Runtime : public asmjit::Target {
public:
	Runtime()
	{
		const int err = wxp_open(&wxp_, nullptr);

		if (err) {
			std::fprintf(stderr, "wxp_open: %s\n", wxp_strerror(err));
			std::exit(1);
		}
		_environment = asmjit::Environment::host();
	}
	~Runtime() { wxp_close(wxp_); }
	Runtime(const Runtime &) = delete;
	Runtime &operator=(const Runtime &) = delete;

	/* Each function has a pool of its own. */
	template <typename Function>
	asmjit::Error add(Function *function, asmjit::CodeHolder *code)
	{
		void *addr;
		const asmjit::Error err = add_code(&addr, code);

		if (!err)
			*function = reinterpret_cast<Function>(addr);
		return err;
	}

	template <typename Function> void release(Function function)
	{
		wxp_free(wxp_, wxp_pool_of(wxp_, reinterpret_cast<const void *>(function)));
	}

	const char *backend() const { return wxp_backend_name(wxp_get_backend(wxp_)); }

private:
	asmjit::Error add_code(void **addr, asmjit::CodeHolder *code)
	{
		uint32_t pool;

		ASMJIT_PROPAGATE(code->flatten());
		ASMJIT_PROPAGATE(code->resolveUnresolvedLinks());
		if (wxp_new_pool(wxp_, &pool))
			return asmjit::kErrorOutOfMemory;
		const asmjit::Error err = install(pool, addr, code);
		if (err)
			wxp_free(wxp_, pool);
		return err;
	}

	asmjit::Error install(uint32_t pool, void **addr, asmjit::CodeHolder *code)
	{
		const wxp_request request = { code->codeSize(), 0, WXP_RX };
		wxp_span span;

		if (wxp_place(wxp_, pool, &request, 1, &span))
			return asmjit::kErrorOutOfMemory;
		ASMJIT_PROPAGATE(code->relocateToBase(reinterpret_cast<uint64_t>(span.addr)));

		/* May be smaller by now. */
		std::vector<char> bytes(code->codeSize());
		const wxp_piece piece = { span.addr, bytes.data(), bytes.size() };

		ASMJIT_PROPAGATE(code->copyFlattenedData(bytes.data(), bytes.size()));
		if (wxp_install(wxp_, pool, &piece, 1))
			return asmjit::kErrorOutOfMemory;
		*addr = span.addr;
		return asmjit::kErrorOk;
	}

	wxp *wxp_;
};

/* int function(int x) { return x + add; } */
asmjit::Error emit(asmjit::CodeHolder *code, int add)
{
	asmjit::x86::Assembler a(code);

	ASMJIT_PROPAGATE(a.lea(asmjit::x86::eax, asmjit::x86::ptr(asmjit::x86::rdi, add)));
	return a.ret();
}

} // namespace

int main()
{
	int (*function)(int);
	asmjit::CodeHolder code;
	Runtime runtime;

	asmjit::Error err = code.init(runtime.environment());
	if (!err)
		err = emit(&code, 40);
	if (!err)
		err = runtime.add(&function, &code);
	if (err) {
		std::fprintf(stderr, "asmjit: %s\n", asmjit::DebugUtils::errorAsString(err));
		return 1;
	}
	std::printf("asmjit's function, on the backend %s, returns %d.\n", runtime.backend(),
		    function(2));
	runtime.release(function);
	return 0;
}
