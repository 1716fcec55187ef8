/* SPDX-License-Identifier: MIT */
/*
 * LLVM's linkers on libwxpool, for code that another process runs: memory managers as those
 * of <wxpool/llvm.hpp>, which install here what an executor has mapped, and nothing of
 * it is executable here if the context is one with WXP_COMPILE_ONLY.
 *
 * LLVM's process control (SimpleRemoteEPC) starts and calls the executor, which has the
 * functions of <wxpool/llvm-executor.hpp>. An object takes one message when it is
 * installed, with its variables and finalize actions, and one before it is freed, with its dealloc
 * actions. How to plug it in: examples/llvm/remote.cpp.
 */
#ifndef WXPOOL_LLVM_REMOTE_HPP
#define WXPOOL_LLVM_REMOTE_HPP

#include <future>
#include <optional>
#include <tuple>

#include <sys/socket.h>
#include <unistd.h>

#include <llvm/Config/llvm-config.h>
#if LLVM_VERSION_MAJOR >= 20
#include <llvm/ExecutionEngine/Orc/AbsoluteSymbols.h>
#endif
#include <llvm/ExecutionEngine/Orc/Core.h>
#include <llvm/ExecutionEngine/Orc/ExecutorProcessControl.h>
#include <llvm/ExecutionEngine/Orc/ObjectLinkingLayer.h>
#include <llvm/ExecutionEngine/Orc/Shared/OrcRTBridge.h>

#include <wxpool-remote.h>

#include "llvm-executor.hpp"
#include "llvm.hpp"

namespace wxpool {

/**
 * class RemoteSymbols - finds symbols of the executor's process
 *
 * As LLVM's EPCDynamicLibrarySearchGenerator does, but waits for the answer: RuntimeDyld of
 * LLVM 19 crashes if a symbol does not come at once. For LLJIT's
 * setProcessSymbolsJITDylibSetup(), with a connection that does its tasks in other threads.
 */
class RemoteSymbols : public llvm::orc::DefinitionGenerator {
public:
	explicit RemoteSymbols(llvm::orc::ExecutorProcessControl &e) : epc(e) {}

	llvm::Error tryToGenerate(llvm::orc::LookupState &, llvm::orc::LookupKind,
				  llvm::orc::JITDylib &dylib, llvm::orc::JITDylibLookupFlags,
				  const llvm::orc::SymbolLookupSet &names) override
	{
		llvm::orc::SymbolLookupSet wanted;
		llvm::orc::SymbolMap found;

		for (const auto &name : names)
			wanted.add(name.first, llvm::orc::SymbolLookupFlags::WeaklyReferencedSymbol);
		auto addresses = lookUp(epc, nullptr, wanted);

		if (!addresses)
			return addresses.takeError();
		for (size_t i = 0; i < addresses->size(); i++)
			if ((*addresses)[i])
				found[wanted.begin()[i].first] = {(*addresses)[i],
								  llvm::JITSymbolFlags::Exported};
		return dylib.define(llvm::orc::absoluteSymbols(std::move(found)));
	}

	/* The addresses of @names in a library of the executor, in the same order; 0: not there */
	static llvm::Expected<std::vector<llvm::orc::ExecutorAddr>>
	lookUp(llvm::orc::ExecutorProcessControl &epc, const char *library,
	       const llvm::orc::SymbolLookupSet &names)
	{
#if LLVM_VERSION_MAJOR < 20
		auto &dylibs = epc;
#else
		auto &dylibs = epc.getDylibMgr();
#endif
		std::vector<llvm::orc::ExecutorAddr> addresses;
		auto handle = dylibs.loadDylib(library);

		if (!handle)
			return handle.takeError();
		auto found = dylibs.lookupSymbols({{*handle, names}});

		if (!found)
			return found.takeError();
		if (!found->empty())
			for (const auto &symbol : found->front())
				addresses.push_back(toAddress(symbol));
		addresses.resize(names.size());
		return addresses;
	}

private:
	static llvm::orc::ExecutorAddr toAddress(const llvm::orc::ExecutorSymbolDef &s)
	{
		return s.getAddress();
	}

	/* From LLVM 22 on */
	static llvm::orc::ExecutorAddr
	toAddress(const std::optional<llvm::orc::ExecutorSymbolDef> &s)
	{
		return s ? s->getAddress() : llvm::orc::ExecutorAddr();
	}

	llvm::orc::ExecutorProcessControl &epc;
};

/**
 * class Remote - an executor that has a context's code
 *
 * Memory managers share it. May be used by several threads.
 */
class Remote {
public:
	using Actions = JITLinkMemory::Actions;
	using ExecutorAddr = llvm::orc::ExecutorAddr;

	/**
	 * attach() - have an executor map the context's code
	 * @epc: LLVM's connection to it, which has to live longer
	 * @ctx: the context, on the kernel backend
	 * @socket: one end of a pair of Unix sockets of the type SOCK_SEQPACKET, which is closed
	 *	with this object, or if it cannot be made
	 * @theirs: the number that the other end has in the executor
	 * @library: path of the shared library made of <wxpool/llvm-executor.cpp>, or nullptr if
	 *	the executor's own program has it
	 */
	static llvm::Expected<std::shared_ptr<Remote>>
	attach(llvm::orc::ExecutorProcessControl &epc, std::shared_ptr<Context> ctx, int socket,
	       int theirs, const char *library = nullptr)
	{
		std::shared_ptr<Remote> r(new Remote(epc, std::move(ctx), socket));

		if (llvm::Error err = r->attach(theirs, library))
			return err;
		return r;
	}

	~Remote()
	{
		if (remote)
			wxp_remote_close(remote);
		else
			close(socket);
	}

	Remote(const Remote &) = delete;
	Remote &operator=(const Remote &) = delete;

	const std::shared_ptr<Context> &context() const { return ctx; }

	/* How far the executor's addresses are from those of the context's window */
	uint64_t shift() const
	{
		size_t size;
		void *base;

		wxp_get_window(ctx->get(), &base, &size);
		return wxp_remote_addr(remote, base) - reinterpret_cast<uintptr_t>(base);
	}

	/* An unwinder's part in one message, for RuntimeDyld */
	llvm::orc::shared::AllocActionCallPair frames(ExecutorAddr start, size_t size) const
	{
		using namespace llvm::orc::shared;
		using Args = SPSArgList<SPSExecutorAddrRange>;
		llvm::orc::ExecutorAddrRange range(start, start + size);

		return {llvm::cantFail(WrapperFunctionCall::Create<Args>(registerFrames, range)),
			llvm::cantFail(WrapperFunctionCall::Create<Args>(deregisterFrames, range))};
	}

	/* Has the executor store the variables of @placements and run the actions. */
	void initialize(llvm::ArrayRef<const Placement *> placements,
			llvm::orc::shared::AllocActions &actions,
			JITLinkMemory::OnInitialized done)
	{
		std::vector<Variables> variables;
		Actions undo;

		for (const Placement *p : placements)
			for (const Segment &s : p->segments)
				if (s.prot == WXP_RW)
					split(variables, s, p->executorAddress(s.target));
		for (const auto &a : actions)
			if (a.Dealloc)
				undo.push_back(a.Dealloc);
		epc.callSPSWrapperAsync<SPSInitialize>(
			initializer,
			[undo = std::move(undo), done = std::move(done)](llvm::Error wire,
									 llvm::Error err) mutable {
				err = llvm::joinErrors(std::move(wire), std::move(err));
				if (err)
					done(std::move(err));
				else
					done(std::move(undo));
			},
			executor, variables, actions);
	}

	void deinitialize(const Actions &actions, llvm::unique_function<void(llvm::Error)> done)
	{
		if (actions.empty())
			return done(llvm::Error::success());
		epc.callSPSWrapperAsync<SPSDeinitialize>(
			deinitializer,
			[done = std::move(done)](llvm::Error wire, llvm::Error err) mutable {
				done(llvm::joinErrors(std::move(wire), std::move(err)));
			},
			actions);
	}

private:
	/* Where, how many zeros follow, bytes: of the context's window, which has them */
	using Variables = std::tuple<ExecutorAddr, uint64_t, llvm::StringRef>;
	using Addresses = std::tuple<ExecutorAddr, ExecutorAddr, ExecutorAddr>;

	Remote(llvm::orc::ExecutorProcessControl &e, std::shared_ptr<Context> c, int s)
		: epc(e), ctx(std::move(c)), socket(s)
	{
	}

	/* The address of attach() in the executor */
	llvm::Expected<ExecutorAddr> find(const char *library)
	{
		ExecutorAddr function;

		if (!library) {
			llvm::Error err = epc.getBootstrapSymbols({{function, attachName}});

			if (err)
				return err;
			return function;
		}
		auto found = RemoteSymbols::lookUp(
			epc, library,
			llvm::orc::SymbolLookupSet(
				epc.intern(attachName),
				llvm::orc::SymbolLookupFlags::WeaklyReferencedSymbol));

		if (!found)
			return found.takeError();
		if (!found->front())
			return llvm::make_error<llvm::StringError>(
				llvm::Twine("wxpool: ") + library + " has no function " + attachName +
				": it has to be made of <wxpool/llvm-executor.cpp>",
				llvm::inconvertibleErrorCode());
		return found->front();
	}

	llvm::Error findFrames()
	{
#if LLVM_VERSION_MAJOR < 21
		return epc.getBootstrapSymbols(
			{{registerFrames, llvm::orc::rt::RegisterEHFrameSectionWrapperName},
			 {deregisterFrames, llvm::orc::rt::DeregisterEHFrameSectionWrapperName}});
#else
		return epc.getBootstrapSymbols(
			{{registerFrames, llvm::orc::rt::RegisterEHFrameSectionAllocActionName},
			 {deregisterFrames, llvm::orc::rt::DeregisterEHFrameSectionAllocActionName}});
#endif
	}

	/* Both sides are in it at once. If one fails, the other does at once. */
	llvm::Error attach(int theirs, const char *library)
	{
		std::promise<llvm::MSVCPExpected<Addresses>> promise;
		auto function = find(library);
		int err;

		if (!function)
			return function.takeError();
		epc.callSPSWrapperAsync<SPSAttach>(
			llvm::orc::ExecutorProcessControl::RunInPlace(), *function,
			[this, &promise](llvm::Error wire, llvm::Expected<Addresses> addresses) {
				if (wire || !addresses)
					shutdown(socket, SHUT_RDWR);
				if (wire) {
					llvm::consumeError(addresses.takeError());
					promise.set_value(std::move(wire));
				} else {
					promise.set_value(std::move(addresses));
				}
			},
			static_cast<int32_t>(theirs));
		err = wxp_remote_connect(ctx->get(), socket, &remote);
		if (err)
			shutdown(socket, SHUT_RDWR);

		llvm::Expected<Addresses> addresses = promise.get_future().get();

		if (!addresses)
			return !err || err == -EPIPE ? addresses.takeError() :
			       llvm::joinErrors(error("cannot connect", err), addresses.takeError());
		if (err)
			return error("cannot connect", err);
		std::tie(executor, initializer, deinitializer) = *addresses;
		return findFrames();
	}

	static bool isZero(const char *p, size_t size)
	{
		return !*p && !memcmp(p, p + 1, size - 1);
	}

	/* By pages, those with nothing but zeros are not sent. */
	static void split(std::vector<Variables> &out, const Segment &s, ExecutorAddr there)
	{
		constexpr size_t page = 4096;
		size_t at = 0;

		auto step = [&] { return std::min(page, s.content - at); };

		while (at < s.used) {
			size_t start = at, end;

			while (at < s.content && !isZero(s.target + at, step()))
				at += step();
			end = at;
			while (at < s.content && isZero(s.target + at, step()))
				at += step();
			if (at == s.content)
				at = s.used;
			out.emplace_back(there + start, at - end,
					 llvm::StringRef(s.target + start, end - start));
		}
	}

	llvm::orc::ExecutorProcessControl &epc;
	std::shared_ptr<Context> ctx;
	int socket;
	struct wxp_remote *remote = nullptr;
	ExecutorAddr executor, initializer, deinitializer;
	ExecutorAddr registerFrames, deregisterFrames;
};

/**
 * class RemoteFrames - has an ObjectLinkingLayer register what unwinders need
 *
 * By the message that an object takes anyway, while LLVM's own plugin sends others before
 * version 21. For layers that are not LLJIT's. From version 21 on it is for those alone that
 * are set up without a platform: LLJIT's others have the plugin already.
 */
class RemoteFrames : public llvm::orc::ObjectLinkingLayer::Plugin {
public:
	explicit RemoteFrames(std::shared_ptr<Remote> r) : remote(std::move(r)) {}

	void modifyPassConfig(llvm::orc::MaterializationResponsibility &,
			      llvm::jitlink::LinkGraph &,
			      llvm::jitlink::PassConfiguration &config) override
	{
		config.PostFixupPasses.push_back([this](llvm::jitlink::LinkGraph &graph) {
			if (auto *section = graph.findSectionByName(".eh_frame")) {
				llvm::jitlink::SectionRange range(*section);

				if (!range.empty())
					graph.allocActions().push_back(remote->frames(
						range.getStart(), range.getSize()));
			}
			return llvm::Error::success();
		});
	}

	llvm::Error notifyFailed(llvm::orc::MaterializationResponsibility &) override
	{
		return llvm::Error::success();
	}

	llvm::Error notifyRemovingResources(llvm::orc::JITDylib &, llvm::orc::ResourceKey) override
	{
		return llvm::Error::success();
	}

	void notifyTransferringResources(llvm::orc::JITDylib &, llvm::orc::ResourceKey,
					 llvm::orc::ResourceKey) override
	{
	}

private:
	std::shared_ptr<Remote> remote;
};

/** class RemoteJITLinkMemory - JITLinkMemory for what an executor runs */
class RemoteJITLinkMemory : public JITLinkMemory {
public:
	explicit RemoteJITLinkMemory(std::shared_ptr<Remote> r)
		: JITLinkMemory(r->context(), r->shift()), remote(std::move(r))
	{
	}

protected:
	void initialize(llvm::ArrayRef<const Placement *> placements,
			llvm::orc::shared::AllocActions &actions, OnInitialized done) override
	{
		remote->initialize(placements, actions, std::move(done));
	}

	void deinitialize(Actions actions, OnDeallocatedFunction done) override
	{
		remote->deinitialize(actions, std::move(done));
	}

private:
	std::shared_ptr<Remote> remote;
};

/**
 * class RemoteRTDyldMemory - RTDyldMemory for what an executor runs
 *
 * For RTDyldObjectLinkingLayer. Waits for answers, so LLVM's connection must not do its tasks in
 * place.
 */
class RemoteRTDyldMemory : public RTDyldMemory {
public:
	explicit RemoteRTDyldMemory(std::shared_ptr<Remote> r)
		: RTDyldMemory(r->context(), r->shift()), remote(std::move(r))
	{
	}

	~RemoteRTDyldMemory() override { RTDyldMemory::deregisterEHFrames(); }

protected:
	llvm::Error initialize(const std::vector<std::unique_ptr<Placement>> &installed,
			       const EHFrameInfos &frames) override
	{
		std::promise<llvm::MSVCPError> promise;
		llvm::orc::shared::AllocActions actions;
		std::vector<const Placement *> list;

		for (const auto &p : installed)
			list.push_back(p.get());
		for (const auto &f : frames)
			actions.push_back(remote->frames(llvm::orc::ExecutorAddr::fromPtr(f.Addr),
							 f.Size));
		remote->initialize(list, actions, [&promise](auto undo) {
			promise.set_value(undo.takeError());
		});
		return promise.get_future().get();
	}

	/* Nobody is told if this fails; then the executor is gone. */
	void deinitialize(const EHFrameInfos &frames) override
	{
		std::promise<void> promise;
		Remote::Actions actions;

		for (const auto &f : frames)
			actions.push_back(remote->frames(llvm::orc::ExecutorAddr::fromPtr(f.Addr),
							 f.Size).Dealloc);
		remote->deinitialize(actions, [&promise](llvm::Error err) {
			llvm::consumeError(std::move(err));
			promise.set_value();
		});
		promise.get_future().wait();
	}

private:
	std::shared_ptr<Remote> remote;
};

} /* namespace wxpool */

#endif /* WXPOOL_LLVM_REMOTE_HPP */
