/* SPDX-License-Identifier: MIT */
/*
 * LLVM's two linkers on libwxpool: memory managers for RuntimeDyld (MCJIT, and ORC's
 * RTDyldObjectLinkingLayer) and for JITLink (ORC's ObjectLinkingLayer).
 *
 * Header only, C++17, for LLVM 19 to 22: it takes on the settings (RTTI, assertions) of
 * the program that includes it. How to plug them in: examples/llvm.
 *
 * Each object that is linked has a pool of its own. It is linked in ordinary memory
 * (staging), gets its addresses before by one wxp_place(), and is installed by one
 * wxp_install(); variables are linked where they will be. So nothing of it can run, or be
 * seen, before it is whole; and a context may be one that only installs.
 */
#ifndef WXPOOL_LLVM_HPP
#define WXPOOL_LLVM_HPP

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <llvm/ADT/ArrayRef.h>
#include <llvm/ADT/SmallVector.h>
#include <llvm/Config/llvm-config.h>
#include <llvm/ExecutionEngine/JITLink/JITLink.h>
#include <llvm/ExecutionEngine/JITLink/JITLinkMemoryManager.h>
#include <llvm/ExecutionEngine/Orc/Shared/AllocationActions.h>
#include <llvm/ExecutionEngine/RTDyldMemoryManager.h>
#include <llvm/ExecutionEngine/RuntimeDyld.h>
#include <llvm/Support/Error.h>
#include <llvm/Support/MathExtras.h>

#include <wxpool.h>

#include "llvm-common.hpp"

namespace wxpool {

/**
 * class Context - a context that memory managers share
 *
 * It lives as long as one of them. May be used by several threads.
 */
class Context {
public:
	/** open() - as wxp_open(); without options that takes the best backend that there is */
	static llvm::Expected<std::shared_ptr<Context>> open(const wxp_options *opts = nullptr)
	{
		struct wxp *wxp;
		int err = wxp_open(&wxp, opts);

		if (err)
			return error("cannot open a context", err);
		return std::shared_ptr<Context>(new Context(wxp, true));
	}

	/** borrow() - a context that somebody else closes, after this object is gone */
	static std::shared_ptr<Context> borrow(struct wxp *wxp)
	{
		return std::shared_ptr<Context>(new Context(wxp, false));
	}

	~Context()
	{
		if (owned)
			wxp_close(wxp);
	}

	Context(const Context &) = delete;
	Context &operator=(const Context &) = delete;

	struct wxp *get() const { return wxp; }

	/**
	 * syncCores() - call wxp_sync_cores() whenever something was installed
	 *
	 * For programs whose threads run code that others linked, on arm64, or at
	 * addresses at which they ran code that is gone. To be set before linking.
	 */
	void syncCores(bool on) { sync = on; }

	/* If it is wanted */
	int synchronize() { return sync ? wxp_sync_cores(wxp) : 0; }

private:
	Context(struct wxp *w, bool o) : wxp(w), owned(o) {}

	struct wxp *wxp;
	bool owned, sync = false;
};

/**
 * struct Section - a section of an object, told to a hook when it has its address
 * @Pool: of the object
 * @Name: as in the object; valid during the call
 * @ID: RuntimeDyld's number of it, or JITLink's ordinal
 * @Address: where it will be, which is not where it is linked
 * @Size: in bytes
 * @Prot: WXP_RX, WXP_R or WXP_RW
 */
struct Section {
	uint32_t Pool;
	llvm::StringRef Name;
	unsigned ID;
	void *Address;
	size_t Size;
	wxp_prot Prot;
};

/**
 * struct Object - an object, told to a hook when it can run
 * @Pool: its pool, for wxp_get_stats()
 * @Name: JITLink's name of it; empty for RuntimeDyld, which does not tell
 * @Code, @Constants, @Variables: bytes that it has
 */
struct Object {
	uint32_t Pool;
	llvm::StringRef Name;
	size_t Code, Constants, Variables;
};

/*
 * Segment - adjacent sections of one protection
 * content: what may not be zero of the bytes that are used
 * target: where they will be; local: where they are linked, the same for variables
 */
struct Segment {
	size_t size, align;
	wxp_prot prot;
	size_t used = 0, content = 0;
	char *target = nullptr, *local = nullptr;
};

/* @segments have no place in the window. */
inline llvm::Error noPlace(llvm::ArrayRef<Segment> segments, int err)
{
	size_t code = 0, constants = 0, variables = 0;

	for (const Segment &s : segments)
		*(s.prot == WXP_RX ? &code : s.prot == WXP_R ? &constants : &variables) += s.size;
	return error("no place for " + llvm::Twine(code) + " bytes of code, " +
		     llvm::Twine(constants) + " of constants and " + llvm::Twine(variables) +
		     " of variables", err);
}

/*
 * Placement - an object on its way, in a pool that is freed unless it is released
 * shift: how far from its target it will run: not 0 if another process does that
 */
class Placement {
public:
	Placement(std::shared_ptr<Context> c, uint64_t s) : shift(s), ctx(std::move(c)) {}

	~Placement() { discard(); }

	Placement(const Placement &) = delete;
	Placement &operator=(const Placement &) = delete;

	/* Finds places for more segments, by one call: 0 or an errno. */
	int place(llvm::ArrayRef<Segment> more)
	{
		llvm::SmallVector<wxp_request, 8> reqs;
		llvm::SmallVector<wxp_span, 8> spans;
		int err = 0;

		if (more.empty())
			return 0;
		for (const Segment &s : more) {
			size_t over = s.align > WXP_MAX_ALIGN ? s.align - WXP_MAX_ALIGN : 0;

			reqs.push_back({std::max<size_t>(s.size, 1) + over, s.align - over,
					s.prot});
		}
		spans.resize(reqs.size());
		if (!pool)
			err = wxp_new_pool(ctx->get(), &pool);
		if (!err)
			err = wxp_place(ctx->get(), pool, reqs.data(), reqs.size(),
					spans.data());
		if (err)
			return err;
		for (size_t i = 0; i < more.size(); i++) {
			segments.push_back(more[i]);
			segments.back().target = aligned(spans[i].addr, more[i].align);
		}
		return stage(segments.size() - more.size());
	}

	/* All of it, by one call if it is not larger than one takes */
	int install()
	{
		Pieces pieces;
		size_t bytes = 0;
		int err = 0;

		for (const Segment &s : segments) {
			size_t at = 0, n;

			for (; s.prot != WXP_RW && at < s.used && !err; at += n) {
				n = std::min(s.used - at, WXP_MAX_INSTALL);
				if (pieces.size() == WXP_MAX_PIECES ||
				    bytes + n + WXP_LINE > WXP_MAX_INSTALL)
					err = flush(pieces, bytes);
				pieces.push_back({s.target + at, s.local + at, n});
				bytes += llvm::alignTo(n, WXP_LINE);
			}
		}
		if (!err)
			err = flush(pieces, bytes);
		staging.clear();
		trim();
		return err;
	}

	/* Ordinary memory that goes when this is installed */
	char *newStaging(size_t size, size_t align)
	{
		void *p = aligned_alloc(align, llvm::alignTo(size, align));

		staging.emplace_back(static_cast<char *>(p), &free);
		return staging.back().get();
	}

	/* Who has it now frees it. */
	uint32_t release() { return std::exchange(pool, 0); }

	void discard()
	{
		if (pool)
			wxp_free(ctx->get(), release());
	}

	Object describe(llvm::StringRef name) const
	{
		Object o = {pool, name, 0, 0, 0};

		for (const Segment &s : segments)
			*(s.prot == WXP_RX ? &o.Code : s.prot == WXP_R ? &o.Constants :
			  &o.Variables) += s.used;
		return o;
	}

	llvm::orc::ExecutorAddr executorAddress(const char *target) const
	{
		return llvm::orc::ExecutorAddr::fromPtr(target) + shift;
	}

	uint32_t pool = 0;
	llvm::SmallVector<Segment, 4> segments;

private:
	using Pieces = llvm::SmallVector<wxp_piece, 4>;

	char *aligned(void *p, size_t align) const
	{
		return reinterpret_cast<char *>(
			llvm::alignTo(reinterpret_cast<uintptr_t>(p) + shift, align) - shift);
	}

	/* What a linker leaves of code is to trap. (On arm64, zeros do.) */
	static void fill(const Segment &s)
	{
#if defined(__x86_64__)
		memset(s.local, s.prot == WXP_RX ? 0xcc : 0, s.size);
#else
		memset(s.local, 0, s.size);
#endif
	}

	/* Memory to link the segments from @first on in, aligned as they will be */
	int stage(size_t first)
	{
		size_t size = 0, align = WXP_LINE, i;
		char *mem = nullptr;

		for (i = first; i < segments.size(); i++) {
			Segment &s = segments[i];

			s.local = s.target;
			if (s.prot == WXP_RW)
				continue;
			align = std::max(align, s.align);
			size = llvm::alignTo(size, s.align) + s.size;
		}
		if (size && !(mem = newStaging(size, align)))
			return -ENOMEM;
		for (i = first, size = 0; i < segments.size(); i++) {
			Segment &s = segments[i];

			if (s.prot == WXP_RW)
				continue;
			size = llvm::alignTo(size, s.align);
			s.local = mem + size;
			size += s.size;
			fill(s);
		}
		return 0;
	}

	/* RuntimeDyld reserves more than it uses. It does no harm if it cannot be given back. */
	void trim()
	{
		for (const Segment &s : segments) {
			wxp_span span = {s.target, s.size};

			if (s.used && s.used < s.size && wxp_shrink(ctx->get(), &span, s.used))
				continue;
		}
	}

	int flush(Pieces &pieces, size_t &bytes)
	{
		int err = 0;

		if (!pieces.empty())
			err = wxp_install(ctx->get(), pool, pieces.data(), pieces.size());
		pieces.clear();
		bytes = 0;
		return err;
	}

	const uint64_t shift;
	std::shared_ptr<Context> ctx;
	std::vector<std::unique_ptr<char, void (*)(void *)>> staging;
};

/* -------------------------------------------------------------------------
 * RuntimeDyld
 */

/**
 * class RTDyldMemory - the memory manager for MCJIT, and for RTDyldObjectLinkingLayer
 *
 * MCJIT has one for all its objects, an ORC layer one for each. All that was loaded goes
 * with it. May be subclassed: what is virtual in LLVM's is, and hooks are.
 */
class RTDyldMemory : public llvm::RTDyldMemoryManager {
public:
	explicit RTDyldMemory(std::shared_ptr<Context> c) : RTDyldMemory(std::move(c), 0) {}

	~RTDyldMemory() override
	{
		RTDyldMemory::deregisterEHFrames();
		if (!pools.empty())
			wxp_free_many(ctx->get(), pools.data(), pools.size());
	}

	/** getError() - what went wrong, or "": MCJIT does not ask what finalizing returned */
	const std::string &getError() const { return failure; }

	bool needsToReserveAllocationSpace() override { return true; }

	void reserveAllocationSpace(uintptr_t code, llvm::Align codeAlign, uintptr_t constants,
				    llvm::Align constantsAlign, uintptr_t variables,
				    llvm::Align variablesAlign) override
	{
		const Segment want[] = {
			{code, codeAlign.value(), WXP_RX},
			{constants, constantsAlign.value(), WXP_R},
			{variables, variablesAlign.value(), WXP_RW},
		};
		llvm::SmallVector<Segment, 3> some;

		std::copy_if(std::begin(want), std::end(want), std::back_inserter(some),
			     [](const Segment &s) { return s.size; });
		checkPlace(some, current().place(some));
	}

	uint8_t *allocateCodeSection(uintptr_t size, unsigned align, unsigned id,
				     llvm::StringRef name) override
	{
		return allocate(WXP_RX, size, align, id, name);
	}

	/* A .got is complete before it is sealed. */
	uint8_t *allocateDataSection(uintptr_t size, unsigned align, unsigned id,
				     llvm::StringRef name, bool readonly) override
	{
		return allocate(readonly || name == ".got" ? WXP_R : WXP_RW, size, align, id, name);
	}

	void notifyObjectLoaded(llvm::RuntimeDyld &dyld, const llvm::object::ObjectFile &) override
	{
		for (const auto &s : moved)
			dyld.reassignSectionAddress(s.first, s.second.getValue());
		moved.clear();
		loading = nullptr;
	}
	using llvm::RTDyldMemoryManager::notifyObjectLoaded;

	/* Comes before finalizeMemory(): an unwinder must not look there yet. */
	void registerEHFrames(uint8_t *, uint64_t address, size_t size) override
	{
		unregistered.push_back({reinterpret_cast<uint8_t *>(address), size});
	}

	void deregisterEHFrames() override
	{
		if (!EHFrames.empty())
			deinitialize(EHFrames);
		EHFrames.clear();
		unregistered.clear();
	}

	bool finalizeMemory(std::string *message) override
	{
		for (auto &p : placements)
			if (failure.empty())
				check("cannot install", p->install());
		if (failure.empty() && !placements.empty())
			check("cannot synchronize", ctx->synchronize());
		if (failure.empty())
			if (llvm::Error err = initialize(placements, unregistered))
				failure = llvm::toString(std::move(err));
		if (!failure.empty()) {
			if (message)
				*message = failure;
			return true;
		}
		for (auto &p : placements) {
			notifyObject(p->describe(""));
			if (p->pool)
				pools.push_back(p->release());
		}
		placements.clear();
		loading = nullptr;
		EHFrames.insert(EHFrames.end(), unregistered.begin(), unregistered.end());
		unregistered.clear();
		return false;
	}

protected:
	/** notifySection() - a section has its address */
	virtual void notifySection(const Section &) {}

	/** notifyObject() - an object can run */
	virtual void notifyObject(const Object &) {}

	/* What depends on where code runs: see <wxpool/llvm-remote.hpp> */

	RTDyldMemory(std::shared_ptr<Context> c, uint64_t s) : ctx(std::move(c)), shift(s) {}

	virtual llvm::Error initialize(const std::vector<std::unique_ptr<Placement>> &,
				       const EHFrameInfos &frames)
	{
		for (auto &f : frames)
			registerEHFramesInProcess(f.Addr, f.Size);
		return llvm::Error::success();
	}

	virtual void deinitialize(const EHFrameInfos &frames)
	{
		for (auto &f : frames)
			deregisterEHFramesInProcess(f.Addr, f.Size);
	}

private:
	/* Of the object that is being loaded */
	Placement &current()
	{
		if (!loading) {
			placements.push_back(std::make_unique<Placement>(ctx, shift));
			loading = placements.back().get();
		}
		return *loading;
	}

	bool check(const char *what, int err)
	{
		if (err && failure.empty())
			failure = llvm::toString(error(what, err));
		return !err;
	}

	bool checkPlace(llvm::ArrayRef<Segment> segments, int err)
	{
		if (err && failure.empty())
			failure = llvm::toString(noPlace(segments, err));
		return !err;
	}

	uint8_t *allocate(wxp_prot prot, size_t size, size_t align, unsigned id,
			  llvm::StringRef name)
	{
		Placement &p = current();
		char *target, *local;

		align = std::max<size_t>(align, 1);
		if (!carve(p, prot, size, align, target, local) &&
		    (!checkPlace(Segment{size, align, prot},
				 p.place(Segment{size, align, prot})) ||
		     !carve(p, prot, size, align, target, local)))
			return nowhere(p, size, align);
		llvm::orc::ExecutorAddr address = p.executorAddress(target);

		if (address != llvm::orc::ExecutorAddr::fromPtr(local))
			moved.push_back({id, address});
		notifySection({p.pool, name, id, address.toPtr<void *>(), size, prot});
		return reinterpret_cast<uint8_t *>(local);
	}

	static bool carve(Placement &p, wxp_prot prot, size_t size, size_t align, char *&target,
			  char *&local)
	{
		for (Segment &s : p.segments) {
			size_t at = llvm::alignTo(s.used, align);

			if (s.prot != prot || s.align < align || at + size > s.size)
				continue;
			target = s.target + at;
			local = s.local + at;
			s.used = s.content = at + size;
			return true;
		}
		return false;
	}

	/*
	 * To return nothing is fatal: RuntimeDyld ends the process. In ordinary memory the
	 * object gets as far as finalizeMemory(), which fails; nothing of it runs.
	 */
	static uint8_t *nowhere(Placement &p, size_t size, size_t align)
	{
		align = std::max<size_t>(align, WXP_LINE);
		return reinterpret_cast<uint8_t *>(p.newStaging(size, align));
	}

	std::shared_ptr<Context> ctx;
	uint64_t shift;
	/* Loaded, but not installed; with @loading, which may be more of an object */
	std::vector<std::unique_ptr<Placement>> placements;
	Placement *loading = nullptr;
	/* Sections that are not linked where they will be */
	std::vector<std::pair<unsigned, llvm::orc::ExecutorAddr>> moved;
	std::vector<uint32_t> pools;		/* installed */
	EHFrameInfos unregistered;
	std::string failure;
};

/* -------------------------------------------------------------------------
 * JITLink
 */

/**
 * class JITLinkMemory - the memory manager for ObjectLinkingLayer
 *
 * One for any number of objects. May be used by several threads; may be subclassed.
 */
class JITLinkMemory : public llvm::jitlink::JITLinkMemoryManager {
public:
	using Actions = std::vector<llvm::orc::shared::WrapperFunctionCall>;
	using OnInitialized = llvm::unique_function<void(llvm::Expected<Actions>)>;

	explicit JITLinkMemory(std::shared_ptr<Context> c) : JITLinkMemory(std::move(c), 0) {}

	void allocate(const llvm::jitlink::JITLinkDylib *, llvm::jitlink::LinkGraph &graph,
		      OnAllocatedFunction done) override
	{
		auto flight = std::make_unique<InFlight>(*this, graph);
		llvm::jitlink::BasicLayout layout(graph);
		llvm::Error err = flight->place(layout);

		if (!err)
			err = layout.apply();
		if (err) {
			flight.reset();
			return done(std::move(err));
		}
		for (const auto &section : graph.sections())
			notify(*flight, section);
		done(std::move(flight));
	}
	using JITLinkMemoryManager::allocate;

	void deallocate(std::vector<FinalizedAlloc> allocs, OnDeallocatedFunction done) override
	{
		std::vector<uint32_t> pools;
		Actions actions;

		for (FinalizedAlloc &alloc : allocs) {
			std::unique_ptr<Installed> i(
				alloc.release().template toPtr<Installed *>());

			std::move(i->actions.begin(), i->actions.end(),
				  std::back_inserter(actions));
			if (i->pool)
				pools.push_back(i->pool);
		}
		deinitialize(std::move(actions), [ctx = ctx, pools = std::move(pools),
						  done = std::move(done)](llvm::Error err) mutable {
			int ret = pools.empty() ? 0 :
				  wxp_free_many(ctx->get(), pools.data(), pools.size());

			if (ret)
				err = llvm::joinErrors(std::move(err), error("cannot free", ret));
			done(std::move(err));
		});
	}
	using JITLinkMemoryManager::deallocate;

protected:
	/** notifySection() - a section has its address. By several threads at once */
	virtual void notifySection(const Section &) {}

	/** notifyObject() - an object can run. By several threads at once */
	virtual void notifyObject(const Object &) {}

	/* What depends on where code runs: see <wxpool/llvm-remote.hpp> */

	JITLinkMemory(std::shared_ptr<Context> c, uint64_t s) : ctx(std::move(c)), shift(s) {}

	/* Runs finalize actions, once all is installed, and tells what undoes them. */
	virtual void initialize(llvm::ArrayRef<const Placement *>,
				llvm::orc::shared::AllocActions &actions, OnInitialized done)
	{
		done(runActions(actions));
	}

	/* Runs what undoes them, the last first, before all is freed. */
	virtual void deinitialize(Actions actions, OnDeallocatedFunction done)
	{
		done(undoActions(actions));
	}

private:
	using Lifetime = llvm::orc::MemLifetime;

	/* What a FinalizedAlloc stands for */
	struct Installed {
		uint32_t pool;
		Actions actions;
	};

	/* LLVM's own operators for these are found in its namespaces only. */
	static bool has(llvm::orc::MemProt prot, llvm::orc::MemProt bit)
	{
		return static_cast<unsigned>(prot) & static_cast<unsigned>(bit);
	}

	static wxp_prot protFor(llvm::orc::MemProt prot)
	{
		if (has(prot, llvm::orc::MemProt::Write))
			return WXP_RW;
		return has(prot, llvm::orc::MemProt::Exec) ? WXP_RX : WXP_R;
	}

	/*
	 * Sections that only finalize actions use have a pool of their own, which ends then.
	 * What ends is gone before others are told: it may be another thread that is.
	 */
	class InFlight : public InFlightAlloc {
	public:
		InFlight(JITLinkMemory &o, llvm::jitlink::LinkGraph &g)
			: owner(o), graph(g), standard(o.ctx, o.shift),
			  transient(o.ctx, o.shift)
		{
		}

		llvm::Error place(llvm::jitlink::BasicLayout &layout)
		{
			llvm::SmallVector<Segment, 8> segments[2];
			size_t next[2] = {};
			int err;

			for (auto &[group, seg] : layout.segments()) {
				if (has(group.getMemProt(), llvm::orc::MemProt::Write) &&
				    has(group.getMemProt(), llvm::orc::MemProt::Exec))
					return llvm::make_error<llvm::jitlink::JITLinkError>(
						"wxpool: a section is writable and executable");
				segments[isTransient(group)].push_back(
					{seg.ContentSize + seg.ZeroFillSize,
					 seg.Alignment.value(), protFor(group.getMemProt())});
			}
			for (int i = 0; i < 2; i++)
				if ((err = (i ? transient : standard).place(segments[i])))
					return noPlace(segments[i], err);
			for (auto &[group, seg] : layout.segments()) {
				bool t = isTransient(group);
				Segment &s = (t ? transient : standard).segments[next[t]++];

				s.used = s.size;
				s.content = seg.ContentSize;
				seg.Addr = standard.executorAddress(s.target);
				seg.WorkingMem = s.local;
				if (s.local != s.target)
					memset(s.local + seg.ContentSize, 0, seg.ZeroFillSize);
			}
			return llvm::Error::success();
		}

		void abandon(OnAbandonedFunction done) override
		{
			discard();
			done(llvm::Error::success());
		}

		void finalize(OnFinalizedFunction done) override
		{
			int err = standard.install();

			if (!err)
				err = transient.install();
			if (!err)
				err = owner.ctx->synchronize();
			if (err) {
				discard();
				return done(error("cannot install", err));
			}
			owner.initialize({&standard, &transient}, graph.allocActions(),
					 [this, done = std::move(done)](auto undo) mutable {
				transient.discard();
				if (!undo) {
					standard.discard();
					return done(undo.takeError());
				}
				owner.notifyObject(standard.describe(graph.getName()));
				done(FinalizedAlloc(llvm::orc::ExecutorAddr::fromPtr(
					new Installed{standard.release(), std::move(*undo)})));
			});
		}

		uint32_t poolFor(const llvm::jitlink::Section &s) const
		{
			return (isTransient(s) ? transient : standard).pool;
		}

	private:
		void discard()
		{
			standard.discard();
			transient.discard();
		}

		template <class T> static bool isTransient(const T &t)
		{
			return t.getMemLifetime() == Lifetime::Finalize;
		}

		JITLinkMemory &owner;
		llvm::jitlink::LinkGraph &graph;
		Placement standard, transient;
	};

	void notify(const InFlight &flight, const llvm::jitlink::Section &section)
	{
		llvm::jitlink::SectionRange range(section);

		if (section.getMemLifetime() == Lifetime::NoAlloc || range.empty())
			return;
		notifySection({flight.poolFor(section), section.getName(),
			       static_cast<unsigned>(section.getOrdinal()),
			       range.getStart().template toPtr<void *>(), range.getSize(),
			       protFor(section.getMemProt())});
	}

	std::shared_ptr<Context> ctx;
	uint64_t shift;
};

} /* namespace wxpool */

#endif /* WXPOOL_LLVM_HPP */
