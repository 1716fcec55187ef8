// SPDX-License-Identifier: MIT
/*
 * What is run. IR is compiled to objects here, as a compiler would do, and not by the
 * engines: so one way leads from any input to what is linked, and names in assembly, weak
 * definitions and aliases are a linker's affair. For MCJIT, which knows weak definitions
 * only within a module, LLVM links all IR to one before.
 */
#include <map>
#include <set>

#include <llvm/BinaryFormat/Magic.h>
#include <llvm/ExecutionEngine/Orc/JITTargetMachineBuilder.h>
#include <llvm/IR/Constants.h>
#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/InlineAsm.h>
#include <llvm/IR/LLVMContext.h>
#include <llvm/IR/LegacyPassManager.h>
#include <llvm/IR/Module.h>
#include <llvm/IR/Verifier.h>
#include <llvm/IRReader/IRReader.h>
#include <llvm/Linker/Linker.h>
#include <llvm/Object/ELFObjectFile.h>
#include <llvm/Support/DynamicLibrary.h>
#include <llvm/Support/SmallVectorMemoryBuffer.h>
#include <llvm/Support/SourceMgr.h>
#include <llvm/Support/raw_ostream.h>
#include <llvm/Target/TargetMachine.h>
#include <llvm/Transforms/Utils/ModuleUtils.h>

#include "wxlli.hpp"

using namespace llvm;

static LLVMContext context;
static FunctionType *entryType;
static std::set<std::string> undefined;		/* names that objects refer to */

static std::unique_ptr<MemoryBuffer> readFile(const std::string &path)
{
	auto buffer = MemoryBuffer::getFileOrSTDIN(path);

	if (!buffer)
		die(path + ": " + buffer.getError().message());
	return std::move(*buffer);
}

static std::unique_ptr<TargetMachine> createMachine()
{
	auto builder = must(orc::JITTargetMachineBuilder::detectHost());

	builder.setRelocationModel(Reloc::PIC_).setCodeModel(CodeModel::Small);
	builder.setCodeGenOptLevel(*CodeGenOpt::getLevel(static_cast<int>(options.level)));
	builder.getOptions().EmulatedTLS = true;
	builder.getOptions().UseInitArray = true;
	if (!options.cpu.empty() && options.cpu != "native") {
		builder.setCPU(options.cpu);
		builder.getFeatures() = SubtargetFeatures();
	}
	if (!options.attributes.empty()) {
		SmallVector<StringRef> list;

		StringRef(options.attributes).split(list, ',', -1, false);
		for (StringRef feature : list)
			builder.getFeatures().AddFeature(feature);
	}
	return must(builder.createTargetMachine());
}

static TargetMachine &machine()
{
	static auto m = createMachine();

	return *m;
}

static void checkTarget(const Module &module, const std::string &path)
{
	Triple triple(module.getTargetTriple()), own = machine().getTargetTriple();

	if (triple.getArch() != Triple::UnknownArch && triple.getArch() != own.getArch())
		die(path + ": made for " + triple.getArchName() + ", not for " +
		    own.getArchName());
}

static std::unique_ptr<Module> parse(std::unique_ptr<MemoryBuffer> buffer, const std::string &path)
{
	SMDiagnostic wrong;
	auto module = parseIR(buffer->getMemBufferRef(), wrong, context);
	std::string text;
	raw_string_ostream out(text);

	if (!module) {
		wrong.print("", out, false);
		if (StringRef(out.str()).starts_with(path))
			die(StringRef(out.str()).split('\n').first);
		die(path + ": " + StringRef(out.str()).split('\n').first);
	}
	if (verifyModule(*module, &out))
		die(path + ": invalid IR: " + StringRef(out.str()).split('\n').first);
	checkTarget(*module, path);
	module->setModuleIdentifier(path);
	return module;
}

/* A function that jumps to where @target says, whatever its arguments are */
static Function *createJump(Module &module, GlobalIFunc &ifunc, GlobalVariable *target)
{
	static const char x86[] = "jmpq *${0:c}(%rip)";
	static const char arm[] = "adrp x16, ${0}\nldr x16, [x16, :lo12:${0}]\nbr x16";
	auto *type = FunctionType::get(Type::getVoidTy(context), { target->getType() }, false);
	auto *f = Function::Create(cast<FunctionType>(ifunc.getValueType()), ifunc.getLinkage(),
				   "", module);
	IRBuilder<> builder(BasicBlock::Create(context, "", f));

	f->setVisibility(ifunc.getVisibility());
	f->addFnAttr(Attribute::Naked);
	builder.CreateCall(type, InlineAsm::get(type, machine().getTargetTriple().isX86() ? x86 :
						arm, "i", true), { target });
	builder.CreateUnreachable();
	return f;
}

/*
 * The linkers know no ifuncs. Each becomes a jump, to where its resolver says when a
 * constructor asks it, before all others.
 */
static void lowerIFuncs(Module &module)
{
	auto *pointer = PointerType::getUnqual(context);
	auto *type = FunctionType::get(Type::getVoidTy(context), false);
	Function *init = nullptr;

	for (GlobalIFunc &ifunc : make_early_inc_range(module.ifuncs())) {
		if (!init) {
			init = Function::Create(type, GlobalValue::InternalLinkage,
						"wxlli.resolve", module);
			ReturnInst::Create(context, BasicBlock::Create(context, "", init));
			appendToGlobalCtors(module, init, 0);
		}
		auto *target = new GlobalVariable(module, pointer, false,
						  GlobalValue::InternalLinkage,
						  ConstantPointerNull::get(pointer),
						  ifunc.getName() + ".target");
		Function *jump = createJump(module, ifunc, target);
		IRBuilder<> builder(init->getEntryBlock().getTerminator());

		builder.CreateStore(builder.CreateCall(FunctionType::get(pointer, false),
						       ifunc.getResolver()), target);
		jump->takeName(&ifunc);
		ifunc.replaceAllUsesWith(jump);
		ifunc.eraseFromParent();
	}
}

/*
 * Tentative definitions are one, as large as the largest of them, or a declaration of
 * what is defined elsewhere.
 */
static void mergeCommons(const std::vector<std::unique_ptr<Module>> &modules)
{
	std::map<StringRef, GlobalVariable *> largest;
	std::set<StringRef> defined;

	for (const auto &module : modules) {
		for (GlobalVariable &v : module->globals()) {
			if (v.hasExternalLinkage() && !v.isDeclaration())
				defined.insert(v.getName());
			if (!v.hasCommonLinkage())
				continue;
			auto size = [&](const GlobalVariable &g) {
				return machine().createDataLayout().getTypeAllocSize(
					g.getValueType()).getFixedValue();
			};
			auto [at, fresh] = largest.try_emplace(v.getName(), &v);

			if (!fresh && size(v) > size(*at->second))
				at->second = &v;
		}
	}
	for (const auto &module : modules) {
		for (GlobalVariable &v : module->globals()) {
			if (!v.hasCommonLinkage())
				continue;
			if (largest[v.getName()] != &v || defined.count(v.getName()))
				v.setInitializer(nullptr);
			v.setLinkage(GlobalValue::ExternalLinkage);
		}
	}
}

static Object compile(std::unique_ptr<Module> module)
{
	auto bytes = std::make_unique<SmallVector<char, 0>>();
	std::string path = module->getModuleIdentifier();
	raw_svector_ostream out(*bytes);
	legacy::PassManager passes;
	MCContext *mc;

	lowerIFuncs(*module);
	module->setDataLayout(machine().createDataLayout());
	if (machine().addPassesToEmitMC(passes, mc, out))
		die(path + ": this processor's code generator makes no objects");
	passes.run(*module);

	Object object;

	object.name = path;
	object.buffer = std::make_unique<SmallVectorMemoryBuffer>(std::move(*bytes), path);
	return object;
}

static std::unique_ptr<object::ObjectFile> openObject(const Object &object)
{
	auto file = object::ObjectFile::createELFObjectFile(object.buffer->getMemBufferRef());

	if (!file)
		die(object.name + ": " + toString(file.takeError()));
	return std::move(*file);
}

/* It would have no place, or crash. */
static void checkSymbol(const Object &object, const object::ELFSymbolRef &symbol)
{
	if (symbol.getELFType() == ELF::STT_GNU_IFUNC)
		die(object.name + ": '" + must(symbol.getName()) +
		    "' is an ifunc, which LLVM's linkers do not know in objects");
	if (symbol.getELFType() == ELF::STT_TLS)
		die(object.name + ": '" + must(symbol.getName()) + "' is thread-local, which "
		    "LLVM's linkers do not know in objects (compile with -femulated-tls)");
}

static void addSymbols(Object &object, const object::ObjectFile &file)
{
	for (const object::ELFSymbolRef symbol : file.symbols()) {
		uint32_t flags = must(symbol.getFlags());
		bool isUndefined = flags & object::SymbolRef::SF_Undefined;
		bool weak = flags & object::SymbolRef::SF_Weak;

		checkSymbol(object, symbol);
		if (!(flags & object::SymbolRef::SF_Global))
			continue;
		if (isUndefined)
			undefined.insert(must(symbol.getName()).str());
		if (isUndefined && weak)
			object.weak.push_back(must(symbol.getName()).str());
		else if (!isUndefined && !weak && !(flags & object::SymbolRef::SF_Common))
			object.strong.push_back(must(symbol.getName()).str());
	}
}

static void addObject(Objects &objects, Object object)
{
	auto file = openObject(object);

	if (file->getArch() != machine().getTargetTriple().getArch())
		die(object.name + ": made for another processor");
	addSymbols(object, *file);
	for (const object::ELFSectionRef section : file->sections()) {
		if (!(section.getFlags() & ELF::SHF_ALLOC) || section.isText())
			continue;
		*(section.getFlags() & ELF::SHF_WRITE ? &objects.variables :
		  &objects.constants) += section.getSize();
	}
	objects.list.push_back(std::move(object));
}

/* Who defines what: the last definition, or the first, would silently win. */
class Definitions {
public:
	void add(StringRef name, StringRef where)
	{
		auto [at, fresh] = seen.try_emplace(name, where);

		if (!fresh)
			die("'" + name + "' is defined in " + at->second + " and in " + where);
	}

private:
	std::map<StringRef, StringRef> seen;
};

static void checkDuplicates(const Objects &objects)
{
	Definitions definitions;

	for (const Object &object : objects.list)
		for (const std::string &name : object.strong)
			definitions.add(name, object.name);
}

static std::set<std::string> findMissing(const std::vector<Object> &list)
{
	std::set<StringRef> there;
	std::set<std::string> names;

	for (const Object &object : list) {
		auto file = openObject(object);

		for (const auto &symbol : file->symbols())
			if (!(must(symbol.getFlags()) & object::SymbolRef::SF_Undefined))
				there.insert(must(symbol.getName()));
	}
	for (const Object &object : list)
		for (const std::string &name : object.weak)
			if (there.insert(name).second &&
			    !sys::DynamicLibrary::SearchForAddressOfSymbol(name))
				names.insert(name);
	return names;
}

/*
 * RuntimeDyld does not know that a weak reference to what nobody defines is null. To an
 * absolute symbol it is.
 */
static void makeAbsolute(Object &object, const std::set<std::string> &names)
{
	auto copy = WritableMemoryBuffer::getNewUninitMemBuffer(object.buffer->getBufferSize(),
								object.name);
	auto file = must(object::ELF64LEObjectFile::create(object.buffer->getMemBufferRef()));

	memcpy(copy->getBufferStart(), object.buffer->getBufferStart(), copy->getBufferSize());
	for (const object::ELFSymbolRef symbol : file.symbols()) {
		const auto *raw = must(file.getSymbol(symbol.getRawDataRefImpl()));
		size_t at = reinterpret_cast<const char *>(raw) - object.buffer->getBufferStart();

		if (raw->st_shndx == ELF::SHN_UNDEF && names.count(must(symbol.getName()).str()))
			reinterpret_cast<object::ELF64LE::Sym *>(copy->getBufferStart() + at)
				->st_shndx = ELF::SHN_ABS;
	}
	object.buffer = std::move(copy);
}

static void resolveWeak(Objects &objects)
{
	for (Object &object : objects.list)
		for (const std::string &name : object.weak)
			if (objects.missing.count(name)) {
				makeAbsolute(object, objects.missing);
				break;
			}
	objects.missing.clear();
}

/* What is in a file? */
struct Inputs {
	std::vector<std::unique_ptr<Module>> modules;
	std::vector<std::pair<size_t, Object>> objects;	/* and after how many modules */
	std::vector<std::string> archives;
};

static void addInput(Inputs &inputs, const std::string &path)
{
	std::unique_ptr<MemoryBuffer> buffer = readFile(path);

	switch (identify_magic(buffer->getBuffer())) {
	case file_magic::archive:
		if (path == "-")
			die("-: an archive must be a file");
		inputs.archives.push_back(path);
		break;
	case file_magic::elf_relocatable: {
		Object object;

		object.name = path;
		object.buffer = std::move(buffer);
		inputs.objects.emplace_back(inputs.modules.size(), std::move(object));
		break;
	}
	case file_magic::elf_shared_object:
	case file_magic::elf_executable:
		die(path + ": is linked already: a shared library can be given with --dlopen");
	default:
		inputs.modules.push_back(parse(std::move(buffer), path));
	}
}

static void linkModules(std::vector<std::unique_ptr<Module>> &modules)
{
	std::unique_ptr<Module> all = std::move(modules[0]);

	for (size_t i = 1; i < modules.size(); i++) {
		std::string path = modules[i]->getModuleIdentifier();

		if (Linker::linkModules(*all, std::move(modules[i])))
			die(path + ": cannot be linked to " + all->getModuleIdentifier());
	}
	modules.clear();
	modules.push_back(std::move(all));
}

static void checkModules(const std::vector<std::unique_ptr<Module>> &modules)
{
	Definitions definitions;

	for (const auto &module : modules)
		for (const GlobalValue &value : module->global_values())
			if (!value.isDeclaration() && value.hasExternalLinkage())
				definitions.add(value.getName(), module->getModuleIdentifier());
}

static bool isMain(const FunctionType &type)
{
	unsigned int nr = type.getNumParams();

	if (nr > 3 || type.isVarArg() ||
	    !(type.getReturnType()->isVoidTy() || type.getReturnType()->isIntegerTy(32)) ||
	    (nr && !type.getParamType(0)->isIntegerTy(32)))
		return false;
	for (unsigned int i = 1; i < nr; i++)
		if (!type.getParamType(i)->isPointerTy())
			return false;
	return true;
}

static void findEntry(const Inputs &inputs)
{
	for (const auto &module : inputs.modules) {
		const Function *f = module->getFunction(options.entry);

		if (!f || f->isDeclaration())
			continue;
		entryType = f->getFunctionType();
		if (!isMain(*entryType))
			die(module->getModuleIdentifier() + ": '" + options.entry +
			    "' is not an int (int, char **, char **)");
		return;
	}
	if (inputs.objects.empty() && inputs.archives.empty())
		die(options.program + ": no function '" + options.entry + "'");
}

bool entryReturns()
{
	return !entryType || !entryType->getReturnType()->isVoidTy();
}

/*
 * What compilers take to be near, as their own libraries' static parts are: a name for the
 * program in __cxa_atexit(), and what the processor is.
 */
static void addNear(Objects &objects)
{
	auto module = std::make_unique<Module>("wxlli", context);
	bool any = false;

	module->setTargetTriple(machine().getTargetTriple()
#if LLVM_VERSION_MAJOR < 21
				.str()
#endif
	);
	for (size_t i = 0; i < nrNear; i++) {
		auto *value = ConstantDataArray::get(context, ArrayRef<uint8_t>(
			static_cast<const uint8_t *>(nearby[i].address), nearby[i].size));

		if (!undefined.count(nearby[i].name))
			continue;
		auto *variable = new GlobalVariable(*module, value->getType(), false,
			GlobalValue::WeakAnyLinkage, value, nearby[i].name);

		variable->setAlignment(Align(16));
		any = true;
	}
	if (any)
		addObject(objects, compile(std::move(module)));
}

Objects readObjects()
{
	Objects objects;
	Inputs inputs;
	size_t i, k = 0;

	addInput(inputs, options.program);
	for (const auto *list : { &options.modules, &options.objects, &options.archives })
		for (const std::string &path : *list)
			addInput(inputs, path);
	findEntry(inputs);
	if (options.orc) {
		mergeCommons(inputs.modules);
	} else if (!inputs.modules.empty()) {
		checkModules(inputs.modules);
		linkModules(inputs.modules);
	}
	for (i = 0; i < inputs.modules.size(); i++) {
		for (; k < inputs.objects.size() && inputs.objects[k].first <= i; k++)
			addObject(objects, std::move(inputs.objects[k].second));
		addObject(objects, compile(std::move(inputs.modules[i])));
	}
	for (; k < inputs.objects.size(); k++)
		addObject(objects, std::move(inputs.objects[k].second));
	addNear(objects);
	checkDuplicates(objects);
	objects.missing = findMissing(objects.list);
	if (!options.jitlink)
		resolveWeak(objects);
	objects.archives = std::move(inputs.archives);
	return objects;
}
