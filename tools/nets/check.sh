#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Every net catches fish: the module is built with one defect planted (a lock, a
# check, a put or an unmapping dropped), and the tests that are there for its kind
# have to fail, and say why. Prints TAP; run by `make check-nets`. With names as
# arguments, those only; of kernels that look for errors, only $CHECKED_KERNELS.
#
# The model plants its own: tools/model/check.sh.

set -eu
cd "$(dirname "$0")/../.."
base=$(realpath -m "${O:-build/bed}")
wanted=" $* "
n=0 failed=0

# plant KERNEL PLANT PROGRAM: the module with PLANT, and PROGRAM, in $dir.
plant()
{
	rm -rf "$dir"
	mkdir -p "$dir"
	cp "$base/$3" "$dir"
	WXPOOL_PLANT=$2 O=$dir tools/bed module "$1"
}

# In a guest: as tests are short, KCSAN looks at more accesses than it does by itself,
# and longer.
# shellcheck disable=SC2016 # expanded in the guest
in_guest='
cd /sys/module/kcsan/parameters 2> /dev/null &&
	echo 400 > skip_watch && echo 1000 > udelay_task
modprobe wxpool && "$@"
'

# test_it KERNEL PROGRAM [ARG...]: run it in a guest with that module. To look for
# leaks takes longer than all else, so it is done only where a leak is planted.
test_it()
{
	local args=kmemleak=off

	[ "$name" != kmemleak ] || args=
	O=$dir tools/bed run -k "$1" -c 2 -t "${limit:-400}" -a "$args" -- \
		bash -c "$in_guest" net "$dir/${2##*/}" "${@:3}"
}

# net NAME KERNEL PATTERN PLANT PROGRAM [ARG...]: with PLANT in the module, PROGRAM
# fails in a guest on KERNEL and says PATTERN.
net()
{
	local name=$1 kernel=$2 pattern=$3 plant=$4 dir=$base/nets/$1 log=$base/nets/$1.log
	local wrong='' start=$SECONDS

	shift 4
	[ "$wanted" = "  " ] || [[ $wanted == *" $name "* ]] || return 0
	n=$((n + 1))
	if [[ " ${CHECKED_KERNELS-debug kcsan} 6.12 " != *" $kernel "* ]]; then
		echo "ok $n $name # SKIP the kernel $kernel is not to be used"
		return
	fi
	if ! plant "$kernel" "$plant" "$1" > "$log" 2>&1; then
		wrong="was not built"
	elif test_it "$kernel" "$@" >> "$log" 2>&1; then
		wrong="noticed nothing"
	else
		cat "$dir"/logs/console-* >> "$log" 2> /dev/null || true
		grep -qE -- "$pattern" "$log" || wrong="failed, but not as meant"
	fi
	rm -rf "$dir"
	if [ -n "$wrong" ]; then
		failed=$((failed + 1))
		echo "not ok $n $name $wrong; log: $log"
	else
		echo "ok $n $name ($((SECONDS - start)) s)"
	fi
}

mkdir -p "$base/nets"

# ---- sanitised kernels

# PROTECT takes no lock.
net lockdep debug 'WARNING: .* wxpool_' \
	'protect.c /err = wxpool_lock/,+2d; /up_write/d' \
	selftests/ops -t seal_x_shows_what_was_written
# FREE leaves in the table what it gives back.
net kasan debug 'BUG: KASAN: .* in wxpool_' \
	'region.c /^void wxpool_end_pages/,/^}/s/memset\(.*\);/;/' \
	selftests/ops -t free_own_pool
# FREE forgets the pool.
net kmemleak debug 'unreferenced object' \
	'pool.c /^void wxpool_pool_destroy/,/^}/s/kfree\(.*\);/;/' \
	selftests/install -t pools_share_a_page
# Faults may not sleep, and do.
net atomic-sleep debug 'BUG: sleeping function called' \
	'view.c s/if \(down_read_killable\(&ctx->lock\)\)/preempt_disable(); if (0)/; s/up_read\(&ctx->lock\)/preempt_enable()/' \
	selftests/ops -t seal_x_shows_what_was_written
# PROTECT takes no lock, and other threads are at work.
net kcsan kcsan 'BUG: KCSAN: data-race in .*wxpool_' \
	'protect.c /err = wxpool_lock/,+2d; /up_write/d; /lockdep_assert/d' \
	selftests/races -t forks

# ---- tests of one kind of trouble each

# mprotect() can add to an X view.
net attacks 6.12 '^not ok .*mprotect_rw' \
	'view.c s/\*flags &= ~VM_MAYWRITE;/;/' \
	selftests/attack_views -t mprotect_rw
# PROTECT does not look for pins.
net pins 6.12 '^not ok .*vmsplice_write' \
	'protect.c s/page_count\(wxpool_page\(page\)\) > 1 \? -EBUSY : 0/0/' \
	selftests/attack_pins -t vmsplice_write
# An ALLOC that fails stays charged.
net injection debug '^not ok .*alloc' \
	'alloc.c /^err_uncharge:/,/^}/s/wxpool_uncharge\(.*\);/;/' \
	selftests/inject -v alloc
# ALLOC does not look for signals.
export WXPOOL_KILL_PAGES=40000
net kill 6.12 '^not ok .*alloc' \
	'alloc.c s/return wxpool_pause\(\);/return 0;/' \
	selftests/kill -v alloc
# FREE leaves pages where they are mapped.
export WXPOOL_TORTURE_SECONDS=1
net torture 6.12 '^not ok .*rounds' \
	'region.c /^void wxpool_unmap_ended/,/^}/{/^\tif/,/;$/d}' \
	selftests/torture
# A process that had a context is never quite gone: the test waits for it in vain.
limit=120 net torture-leak 6.12 '^# [0-9]+ pages are still charged' \
	'context.c s/mmdrop\(ctx->owner\);/;/' \
	selftests/torture
# INSTALL does not look whether lines are free.
net fuzzer 6.12 '^not ok' \
	'packed.c /find_next_bit/,+1d' \
	wxfuzz/wxfuzz --ops 20000
# Of a view that an heir splits off nobody knows.
net heirs 6.12 '^not ok' \
	'view.c /^static void wxpool_heir_open/,/^}/s/atomic_long_inc\(.*\);/;/' \
	selftests/heirs
# INSTALL writes what it has claimed before it has claimed all.
net early-write 6.12 '^not ok' \
	'install.c s/^\t\tinst->nr_claimed \+= nr;/&\n\t\tif (part->bytes)\n\t\t\twxpool_write_lines(inst->ctx, line, nr, part->bytes + (line - part->line) * WXPOOL_LINE_SIZE);/' \
	selftests/install
# What a pool has of extents is free of charge, until it is given back.
net uncharged 6.12 '^not ok' \
	'pool.c /^int wxpool_pool_room/,/^}/{s/wxpool_get_memory\(ctx, (.*), ctx->gfp\)/kvzalloc(\1, ctx->gfp) ?: ERR_PTR(-ENOMEM)/}' \
	selftests/limits
# What io_uring gives to a worker counts as refused.
net trace 6.12 '^not ok .*uring' \
	'main.c s/if \(err && err != -EAGAIN && argp\)/if (err)/' \
	selftests/trace -t uring
# Whose descriptor it is does not matter.
net context 6.12 '^not ok .*wrong_context' \
	'main.c s/if \(args->vec.context \&\& .*\)$/if (0)/' \
	selftests/abi -t wrong_context

echo "1..$n"
[ "$failed" -eq 0 ]
