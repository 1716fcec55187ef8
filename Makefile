# SPDX-License-Identifier: MIT
#
# wxpool. `make help` lists the targets.
#   O=DIR     build in DIR (default: build/)
#   V=1       show the commands
#   KDIR=DIR  build the module for the kernel whose headers are in DIR
#   KERNEL=N  the kernel for bench, fuzz and torture (default: 6.12)
# demo, check and the like build in the test bed's root, in $(O)/bed: objects of this
# machine and of the bed never mix.

O ?= build
KDIR ?= /lib/modules/$(shell uname -r)/build
KERNELS := 6.1 6.12 7.3
CHECKED_KERNELS := debug kcsan

# make has no names with spaces: where the checkout's path has some, O stays relative.
ifneq ($(words $(O)),1)
$(error make cannot build in "$(O)", as that has a space: give another folder with O=)
endif
ifeq ($(words $(CURDIR)),1)
override O := $(abspath $(O))
endif
# $(call part,FOLDER,UP): make in FOLDER, from which UP leads here
part = +$(Q)$(MAKE) -C $(1) O=$(if $(filter /%,$(O)),,$(2))$(O)
# For parts that install: a relative DESTDIR is one from here.
dest = DESTDIR="$(if $(filter-out /%,$(firstword $(DESTDIR))),$(CURDIR)/)$(DESTDIR)"
bedout := $(O)/bed
armout := $(bedout)/arm64
jobs := $(shell nproc)

ifeq ($(V),1)
export V
Q :=
else
Q := @
MAKEFLAGS += --no-print-directory
endif

# A relative O= of the command line must not reach the parts.
MAKEOVERRIDES := $(filter-out O=%,$(MAKEOVERRIDES))
export BED_CALLER := make $(MAKECMDGOALS)
bed := O=$(bedout) tools/bed
arm := O=$(armout) tools/bed
# One at a time: .ci/run has two of these targets side by side. The bed's gcc is always the
# same: here, warnings are errors.
in-bed = mkdir -p $(bedout) && flock $(bedout)/lock env $(bed) enter -- \
	env CC='gcc -Werror' CXX='g++ -Werror' make -j$(jobs) $(if $(V),V=$(V),-s) $(1) O=$(bedout)

# wxlli needs LLVM, and the demo's programs clang: they are left out where it is missing.
LLVM_CONFIG ?= llvm-config-19
CLANG ?= clang-19
optional := $(if $(shell command -v $(LLVM_CONFIG) && command -v $(CXX)),wxlli,no-wxlli) \
	$(if $(shell command -v $(CLANG)),demo-programs)

all: modules lib wxpool-top $(optional) ## build the module, the library and the tools

help: ## list the targets
	@sed -nE 's/^([a-z0-9_-]+):[^#]*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | \
		awk -F '\t' '{ printf "  %-18s %s\n", $$1, $$2 }'

modules: ## build the kernel module for KDIR (this machine's kernel)
	@test -e $(KDIR)/Makefile || { echo "no kernel headers in $(KDIR):" \
		"install linux-headers-$$(uname -r), or give KDIR=" >&2; exit 1; }
	$(call part,kmod,../) KDIR=$(abspath $(KDIR))

lib: ## build libwxpool, shared and static
	$(call part,lib,../)

tools: wxpool-top wxlli demo-programs ## build wxpool-top, and with LLVM 19 wxlli and the demo's programs

wxpool-top:
	$(call part,tools/wxpool-top,../../)

wxlli: lib
	$(call part,tools/wxlli,../../)

no-wxlli:
	@echo "wxlli is left out, as there is no $(LLVM_CONFIG) or no $(CXX)" \
		"(Debian: llvm-19-dev, g++)"

demo-programs: lib
	$(call part,tools/demo,../../)

install: lib wxpool-top ## install the library, wxpool-top, and wxlli if built (PREFIX=, DESTDIR=)
	$(call part,lib,../) $(dest) install
	$(call part,tools/wxpool-top,../../) $(dest) install
	$(if $(wildcard $(O)/wxlli/wxlli),$(call part,tools/wxlli,../../) $(dest) install)

uninstall: ## remove what install has installed
	$(call part,lib,../) $(dest) uninstall
	$(call part,tools/wxpool-top,../../) $(dest) uninstall
	$(call part,tools/wxlli,../../) $(dest) uninstall

modules_install: modules ## install the module for KDIR (INSTALL_MOD_PATH=)
	$(call part,kmod,../) KDIR=$(abspath $(KDIR)) modules_install

modules_uninstall: ## remove the module for KDIR
	$(call part,kmod,../) KDIR=$(abspath $(KDIR)) modules_uninstall

policy_install: ## install who may open the device (PREFIX=, DESTDIR=)
	$(call part,policy,../) $(dest) install

policy_uninstall: ## remove it
	$(call part,policy,../) $(dest) uninstall

dist: ## pack the sources
	$(Q)tools/make-dist $(O)

deb: ## build Debian packages in $(O)/deb
	$(Q)tools/make-deb $(O)/deb

# As it was given: it may hold a "$".
tree: export override LINUX := $(value LINUX)
tree: ## make the module a part of the kernel source in LINUX
	$(Q)tools/make-tree "$$LINUX"

demo: bed-root ## run LLVM programs on sealed code, in a virtual machine
	$(Q)$(call in-bed,tools)
	$(Q)$(bed) module 6.12
	$(Q)$(bed) run -t 600 -- tools/demo/demo.sh

# What Debian's kernels do by themselves, and would hide a module's failure: zero
# all memory that they give out, and refuse writes to /proc/PID/mem.
proc_mem := proc_mem.force_override=always
plain := init_on_alloc=0 $(proc_mem)

# $(call guest,KERNEL,QUICK,LLVM): the suites that run in a guest. QUICK: see lib/tests/guest.sh;
# the adapter's tests are those of one LLVM, or none: versions differ in what needs no kernel.
# Nor do wxlli's tests run in full on each, or with each LLVM.
wxlli_on_6.1 := tools/demo/check.sh -d
wxlli_on_6.12 := tools/demo/check.sh
wxlli_on_7.3 := env WXLLI=$(bedout)/wxlli-22/wxlli tools/demo/check.sh -q
guest = "selftests on $(1)" \
	"$(bed) run -k $(1) -c $(if $(2),2,4) -t 1200 -a '$(plain)' -- selftests/run.sh" \
	"library on $(1)" "$(bed) run -k $(1) -c 2 -t 1500 -- lib/tests/guest.sh $(2)" \
	$(if $(3),"LLVM adapter on $(1)" \
	"$(bed) run -k $(1) -c 2 -m 2048 -t 900 -- lib/tests/llvm/guest.sh $(3)") \
	"wxlli on $(1)" "$(bed) run -k $(1) -c 2 -m 2048 -t 900 -- $(wxlli_on_$(1))"

# One security module of those that exclude each other at a time
policies = "policies with AppArmor" "$(bed) run -k $(1) -a 'lsm=landlock,apparmor' -t 400 -- \
		policy/tests/guest.sh apparmor filters containers" \
	"policies with SELinux" "$(bed) run -k $(1) -a 'lsm=landlock,selinux' -t 400 -- \
		policy/tests/guest.sh selinux"

# $(call whole,KERNEL,ARGUMENTS)
whole = "whole programs on $(1)" \
	"$(bed) run -k $(1) -c 2 -m 2048 -t 900 -- tools/whole/check.sh secure $(2)"

seen = "seen in production on $(1)" \
	"$(bed) run -k $(1) -c 2 -m 2048 -t 600 -- tools/wxpool-top/check.sh"

check: bed-build ## all tests, those of the module in a guest on 6.12
	$(Q)$(bed) module 6.12
	$(Q)tools/tap $(O)/check \
		"test bed" "$(bed) check" \
		"build and install" "O=$(bedout) tools/install-check" \
		"library" "$(bed) enter -- make -C lib check O=$(bedout)" \
		"LLVM adapter" "$(bed) enter -- lib/tests/llvm/check.sh" \
		$(call guest,6.12,,19) \
		"whole programs" "$(bed) enter -- tools/whole/check.sh portable" \
		$(call whole,6.12) \
		$(call policies,6.12) \
		$(call seen,6.12) \
		"wxbench" "$(bed) run -c 4 -m 1536 -t 1200 -- tools/wxbench/test.sh" \
		"wxfuzz" "$(bed) run -t 900 -- tools/wxfuzz/test.sh"

check-kernels: bed-build ## the tests in guests on 6.1, 6.12 and 7.3
	$(Q)for k in $(KERNELS); do $(bed) module $$k || exit 1; done
	$(Q)tools/tap $(O)/check $(foreach k,$(KERNELS),$(call guest,$(k),-q,$(if $(filter 7.3,$(k)),22))) \
		$(foreach k,$(filter 7.3,$(KERNELS)),$(call seen,$(k)) \
		$(call whole,$(k),$(bedout)/wxlli-22/wxlli hardened))

# What these kernels look for is in the module: the library's tests would be of no use.
checked = "selftests on $(1)" "$(bed) run -k $(1) -c 2 -t 3600 -- selftests/run.sh" \
	"wxlli on $(1)" "$(bed) run -k $(1) -c 2 -m 4096 -t 1800 -- tools/demo/check.sh -d" \
	"fuzzer on $(1)" "$(call fuzz,$(1),5000)"

check-debug: bed-build ## the tests on kernels that look for errors of the module
	$(Q)for k in $(CHECKED_KERNELS); do $(bed) module $$k || exit 1; done
	$(Q)tools/tap $(O)/check $(foreach k,$(CHECKED_KERNELS),$(call checked,$(k)))

check-rt: bed-build ## the selftests on a kernel with PREEMPT_RT
	$(Q)$(bed) module rt
	$(Q)tools/tap $(O)/check \
		"selftests on rt" "$(bed) run -k rt -c 4 -t 1800 -a '$(plain)' -- selftests/run.sh"

# No other objects than its own may be in its O.
check-arm64: bed-root ## the selftests and the library's tests on arm64, emulated
	$(Q)$(arm) module arm64
	$(Q)$(arm) enter -k arm64 -- $(MAKE) -j$(jobs) $(if $(V),V=$(V),-s) O=$(armout) \
		-C selftests KSELFTEST_DIR=/usr/src/linux-source/tools/testing/selftests
	$(Q)$(arm) enter -k arm64 -- $(MAKE) -j$(jobs) $(if $(V),V=$(V),-s) O=$(armout) \
		-C lib all tests examples
	$(Q)tools/tap $(O)/check \
		"selftests on arm64" "$(arm) run -k arm64 -c 4 -t 2400 -- selftests/run.sh" \
		"library on arm64" "$(arm) run -k arm64 -t 2400 -- lib/tests/guest.sh"

check-systemd: bed-build ## services that publish code, in a guest that systemd boots
	$(Q)$(bed) module 6.12
	$(Q)tools/tap $(O)/check services "$(bed) run -s -t 900 -- policy/tests/systemd.sh"

check-tree: bed-root ## the module as a part of a kernel's source: built, documented, run (QUICK=1)
	$(Q)for k in 6.12 7.3; do $(bed) module $$k || exit 1; done
	$(Q)tools/tap $(O)/check "kernel tree" "O=$(bedout) tools/tree-check $(if $(QUICK),quick)"

DEBIAN := 12 13

check-packages: bed-root ## build, install, upgrade and purge the Debian packages (DEBIAN=)
	$(Q)tools/tap $(O)/check $(foreach d,$(DEBIAN),"packages on Debian $(d)" \
		"tools/package-check $(d)")

model: bed-root ## check the protocol's model, and that it needs each of its steps
	$(Q)tools/tap $(O)/check model "$(bed) enter -- tools/model/check.sh"

# $(call fuzz,KERNEL,OPERATIONS): /proc/PID/mem as the model knows it, see plain
fuzz = $(bed) run -k $(1) -c 2 -t $$(($(2) / 20 + 600)) -a $(proc_mem) -- \
	sh -c 'modprobe wxpool && $(bedout)/wxfuzz/wxfuzz --ops $(2) $(if $(SEED),--seed $(SEED)) \
		$(if $(LOOK),--look $(LOOK))'

fuzz: bed-build ## random operations against a model (SEED=, OPS=, KERNEL=, LOOK=)
	$(Q)$(bed) module $(or $(KERNEL),6.12)
	$(Q)tools/tap $(O)/check fuzzer "$(call fuzz,$(or $(KERNEL),6.12),$(or $(OPS),100000))"
	@grep -E "^(# seed|(not )?ok)" $(O)/check/fuzzer.log

torture: bed-build ## everything at once, under memory pressure (SECONDS=, KERNEL=)
	$(Q)$(bed) module $(or $(KERNEL),6.12)
	$(Q)WXPOOL_TORTURE_SECONDS=$(or $(SECONDS),120) tools/tap $(O)/check torture \
		"$(bed) run -k $(or $(KERNEL),6.12) -c 4 -t $$((4 * $(or $(SECONDS),120) + 600)) \
			-- sh -c 'modprobe wxpool && $(bedout)/selftests/torture'"

check-nets: bed-build ## plant defects in the module, which the tests have to notice (NETS=)
	$(Q)tools/tap $(O)/check nets \
		"O=$(bedout) CHECKED_KERNELS='$(CHECKED_KERNELS)' tools/nets/check.sh $(NETS)"

bench: bed-root ## measure beside other ways to publish code (KERNEL=)
	$(Q)$(call in-bed,bench-programs)
	$(Q)$(bed) module $(or $(KERNEL),6.12)
	$(Q)O=$(bedout) tools/wxbench/bench.sh -k $(or $(KERNEL),6.12) $(O)/bench

style: bed-root ## checkpatch, sparse, warnings, shellcheck, licences, headers
	$(Q)tools/tap $(O)/check style "$(bed) enter -- tools/style"

clean: ## remove what was built (not the bed: tools/bed clean)
	$(Q)rm -rf $(O)/kmod-* $(O)/lib $(O)/lib-* $(O)/policy $(O)/wxlli $(O)/wxlli-* \
		$(O)/wxpool-top $(O)/whole $(O)/demo $(O)/selftests $(O)/check $(O)/logs $(O)/bench \
		$(O)/examples $(bedout)

bed-root:
	$(Q)$(bed) root

bed-build: bed-root
	$(Q)$(call in-bed,guest-programs)

# What guests run; made in the bed.
guest-programs: lib tools bench-programs
	$(Q)$(MAKE) -C tools/wxfuzz O=$(O) all check
	$(Q)$(MAKE) -C lib O=$(O) tests examples llvm
	$(Q)$(MAKE) -C tools/wxlli O=$(O) LLVM_CONFIG=llvm-config-22
	$(Q)$(MAKE) -C tools/wxpool-top O=$(O) check
	$(Q)$(MAKE) -C tools/whole O=$(O)
	$(Q)$(MAKE) -C selftests O=$(O) CC='$(CC)'
	$(Q)$(MAKE) -C policy/tests O=$(O)

bench-programs: lib
	$(Q)$(MAKE) -C tools/wxbench O=$(O)

.PHONY: all help modules lib tools wxpool-top wxlli no-wxlli demo-programs install uninstall \
	modules_install modules_uninstall policy_install policy_uninstall tree dist deb demo check \
	check-kernels check-debug check-rt check-arm64 check-systemd check-tree check-packages \
	fuzz torture check-nets model bench style clean bed-root bed-build guest-programs \
	bench-programs
