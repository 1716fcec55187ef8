// SPDX-License-Identifier: MIT
#include <algorithm>

#include <llvm/ExecutionEngine/Orc/Shared/SimpleRemoteEPCUtils.h>
#include <llvm/ExecutionEngine/Orc/SimpleRemoteEPC.h>
#include <llvm/ExecutionEngine/SectionMemoryManager.h>

#include "wxlli.hpp"

using namespace llvm;

/* One that says how much it needs only if that is wanted */
template <class Manager> class RTDyld : public Manager {
public:
	using Manager::Manager;

	bool needsToReserveAllocationSpace() override { return options.reserve; }
};

/*
 * As much as the program needs: of the 2 GiB that can be had, code gets a tenth at least.
 * Linkers add something to each object: stubs, a table of addresses.
 */
static void chooseWindow(wxp_options &opts, const Objects &objects)
{
	constexpr size_t most = static_cast<size_t>(2) << 30, usual = most / 2;
	size_t extra = (objects.list.size() + 64) * 4096;
	size_t constants = objects.constants + objects.constants / 8 + extra;
	size_t variables = objects.variables + objects.variables / 64 + extra;
	size_t window = options.window ? options.window : usual;

	opts.window = options.window;
	if (constants <= window / 4 && variables <= window / 4)
		return;
	if (!options.window)
		opts.window = window = most;
	opts.r_share = std::max<size_t>(5, constants * 100 / window + 1);
	opts.rw_share = std::max<size_t>(5, variables * 100 / window + 1);
	if (opts.r_share + opts.rw_share > 90)
		die("the program has " + Twine(objects.constants) + " bytes of constants and " +
		    Twine(objects.variables) + " of variables: too many for a window of " +
		    Twine(window >> 20) + " MiB (--window)");
	/* What is left goes to all. */
	unsigned int left = 90 - opts.r_share - opts.rw_share;

	opts.r_share += left / 3;
	opts.rw_share += left / 3;
}

[[noreturn]] static void dieOpening(int err)
{
	if (err == -ENODEV)
		die("no secure memory: the module wxpool is not loaded: run 'modprobe wxpool', "
		    "or use --memory=portable, which protects less");
	if (options.memory == MemoryKind::Secure || options.memory == MemoryKind::Remote)
		die(Twine("no secure memory: ") + wxp_strerror(err));
	die(Twine("no memory: ") + wxp_strerror(err) +
	    (options.window ? " (--window)" : ""));
}

static wxp_backend backend()
{
	switch (options.memory) {
	case MemoryKind::Portable:
		return WXP_BACKEND_PORTABLE;
	case MemoryKind::Fast:
		return WXP_BACKEND_FAST;
	default:
		return WXP_BACKEND_KERNEL;
	}
}

Memory::Memory(const Objects &objects, const Connection *connection)
{
	wxp_options opts = {};
	struct wxp *wxp;
	int err;

	for (const Object &object : objects.list)
		names.push_back(object.name);
	if (options.memory == MemoryKind::LLVM)
		return;
	opts.size = sizeof(opts);
	opts.backend = backend();
	opts.flags = connection ? WXP_COMPILE_ONLY : 0;
	chooseWindow(opts, objects);
	err = wxp_open(&wxp, &opts);
	if (err)
		dieOpening(err);
	context = wxpool::Context::borrow(wxp);
	if (connection)
		attach(*connection);
}

/* No thread but LLVM's that listens: what it would hand on to others never waits. */
void Memory::attach(const Connection &connection)
{
	orc::SimpleRemoteEPC::Setup setup;

	setup.CreateMemoryManager = [&](orc::SimpleRemoteEPC &epc)
			-> Expected<std::unique_ptr<jitlink::JITLinkMemoryManager>> {
		remote = must(wxpool::Remote::attach(epc, context, connection.socket,
						     connection.theirs));
		return jitlink();
	};
	tellReady(connection);
	control = must(orc::SimpleRemoteEPC::Create<orc::FDSimpleRemoteEPCTransport>(
		std::make_unique<orc::InPlaceTaskDispatcher>(), std::move(setup), connection.in,
		connection.out));
}

Memory::~Memory()
{
	if (context)
		wxp_close(context->get());
}

std::unique_ptr<RTDyldMemoryManager> Memory::rtdyld()
{
	if (!context)
		return std::make_unique<RTDyld<SectionMemoryManager>>();
	if (remote)
		return std::make_unique<RTDyld<wxpool::RemoteRTDyldMemory>>(remote);
	auto manager = std::make_unique<RTDyld<wxpool::RTDyldMemory>>(context);

	if (!options.orc)
		mcjit = manager.get();
	return manager;
}

std::unique_ptr<jitlink::JITLinkMemoryManager> Memory::jitlink()
{
	if (!context)
		return must(jitlink::InProcessMemoryManager::Create());
	if (remote)
		return std::make_unique<wxpool::RemoteJITLinkMemory>(remote);
	return std::make_unique<wxpool::JITLinkMemory>(context);
}

std::unique_ptr<orc::ObjectLinkingLayer::Plugin> Memory::frames()
{
	return remote ? std::make_unique<wxpool::RemoteFrames>(remote) : nullptr;
}

std::string Memory::error() const
{
	return mcjit ? mcjit->getError() : "";
}

void Memory::add(StringRef object, StringRef section, const void *address, size_t size)
{
	std::lock_guard<std::mutex> guard(lock);
	auto at = std::find(names.begin(), names.end(), object);

	sections++;
	bytes += size;
	if (Startup::isMine(section))
		startup.add(at == names.end() ? -1u : at - names.begin(), section, address, size);
}

void Memory::add(const object::ObjectFile &object, const RuntimeDyld::LoadedObjectInfo &loaded)
{
	for (const object::SectionRef &section : object.sections()) {
		uint64_t address = loaded.getSectionLoadAddress(section);

		if (address)
			add(object.getFileName(), must(section.getName()),
			    reinterpret_cast<const void *>(address), section.getSize());
	}
}

static void printRow(const char *when, const char *name, uint64_t value)
{
	fprintf(stderr, "wxlli: %s: %-15s %llu\n", when, name,
		static_cast<unsigned long long>(value));
}

static void printHeld(const char *when, const wxp_stats &stats)
{
	printRow(when, "pools", stats.pools);
	printRow(when, "code", stats.code);
	printRow(when, "constants", stats.constants);
	printRow(when, "variables", stats.variables);
	printRow(when, "installed", stats.installed);
	printRow(when, "open", stats.open);
	printRow(when, "sealed", stats.sealed);
	printRow(when, "retired", stats.retired);
	printRow(when, "free", stats.free);
	printRow(when, "largest", stats.largest);
	printRow(when, "tables", stats.tables);
	printRow(when, "charged", stats.charged);
	printRow(when, "huge", stats.huge);
}

void Memory::printStats(const char *when) const
{
	wxp_stats stats = {};
	int err;

	printRow(when, "objects", names.size());
	printRow(when, "sections", sections);
	printRow(when, "bytes linked", bytes);
	if (!context)
		return;
	stats.size = sizeof(stats);
	err = wxp_get_stats(context->get(), 0, &stats);
	if (err)
		fprintf(stderr, "wxlli: no statistics: %s\n", wxp_strerror(err));
	else
		printHeld(when, stats);
}
