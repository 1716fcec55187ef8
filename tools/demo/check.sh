#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Tests of wxlli, with the programs of the demo. Prints TAP; fails if a test
# does. check.sh [-q|-d]: with -q not all of them through each engine, as the kernel makes
# no difference there; with -d only those that use the device, each once. Needs what
# `make tools` built in $O. --memory=secure is tested where the module is loaded or modprobe
# can load it (as root, in a guest).

set -eu
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
out=${O:-$top/build}
wxlli=${WXLLI:-$out/wxlli/wxlli}
demo=$out/demo
quick=${1-}
ir=$(mktemp -d)
tmp=$ir
trap 'rm -rf "$ir"' EXIT

for file in "$wxlli" "$demo/attack" "$demo/twomod-main.bc"; do
	[ -e "$file" ] || { echo "Bail out! no $file: run make tools"; exit 1; }
done
engines=(--linker=jitlink --linker=rtdyld --engine=mcjit)
export LIFECYCLE="a b"
unset WXPOOL_BACKEND

# ---- TAP. Groups of tests run side by side and print lines without numbers.

# result STATUS DESCRIPTION; what the test left in $tmp/why explains a failure
result()
{
	if [ "$1" -eq 0 ]; then
		echo "ok - $2"
	else
		echo "not ok - $2"
		[ ! -s "$tmp/why" ] || sed 's/^/# /' "$tmp/why" | head -n 20
	fi
	: > "$tmp/why"
}

skip()
{
	echo "ok - $1 # SKIP $2"
}

# Numbers the results, prints the plan, fails if a test failed or none ran.
number()
{
	awk '/^ok - / { sub(/ /, " " ++nr " ") }
	     /^not ok - / { sub(/ok /, "ok " ++nr " "); failed++ }
	     / # SKIP / { skipped++ }
	     { print; fflush() }
	     END {
		print "1.." nr
		printf "# %d passed, %d failed, %d skipped\n",
		       nr - failed - skipped, failed, skipped
		exit failed > 0 || nr == 0
	     }'
}

# check DESCRIPTION COMMAND...: the command must succeed
check()
{
	local status=0

	: > "$tmp/why"
	"${@:2}" > "$tmp/why" 2>&1 || status=$?
	result "$status" "$1"
}

# ---- ways to test

# run ARG...: wxlli with output in $tmp/out and $tmp/err; sets $status
run()
{
	status=0
	{ "$wxlli" "$@" > "$tmp/out" 2> "$tmp/err" || status=$?; } 2> /dev/null
}

# error DESCRIPTION PATTERN ARG...: status 1, no output, one line that matches
error()
{
	local desc=$1 pattern=$2 good=0

	shift 2
	run "$@" < /dev/null
	[ "$status" -eq 1 ] && [ ! -s "$tmp/out" ] &&
		[ "$(wc -l < "$tmp/err")" -eq 1 ] &&
		grep -q "^wxlli: .*$pattern" "$tmp/err" || good=1
	{ echo "status $status"; cat "$tmp/out" "$tmp/err"; } > "$tmp/why"
	result "$good" "$desc"
}

# output DESCRIPTION STATUS TEXT ARG...: that status, that output, no error line
output()
{
	local desc=$1 want=$2 text=$3 good=0

	shift 3
	run "$@" < "${stdin:-/dev/null}"
	[ "$status" -eq "$want" ] && [ "$(cat "$tmp/out")" = "$text" ] &&
		[ ! -s "$tmp/err" ] || good=1
	{ echo "status $status"; cat "$tmp/out" "$tmp/err"; } > "$tmp/why"
	result "$good" "$desc"
}

# native NAME ARG...: what the native program does, kept in $tmp/native.*
native()
{
	native_status=0
	{
		"$demo/native/$1" "${@:2}" > "$tmp/native.out" \
			2> "$tmp/native.err" || native_status=$?
	} 2> /dev/null		# where the shell would say "Aborted"
}

# same DESCRIPTION ARG...: wxlli must do the same as the last native
same()
{
	local good=0

	run "${@:2}"
	{
		[ "$status" -eq "$native_status" ] ||
			echo "status $status, natively $native_status"
		diff "$tmp/native.out" "$tmp/out" || true
		diff "$tmp/native.err" "$tmp/err" || true
	} > "$tmp/why" 2>&1
	[ ! -s "$tmp/why" ] || good=1
	result "$good" "$1"
}

# Prints the counter NAME of --stats in the last run, at exit or when freed.
counter()
{
	sed -n "s/^wxlli: $1: $2 *\([0-9]*\)\$/\1/p" "$tmp/err"
}

ir()
{
	cat > "$ir/$1.ll"
}

# ---- programs that are too small for a file

ir empty_main <<'END'
define i32 @main() {
  ret i32 0
}
END
ir seven <<'END'
define i32 @main() {
  ret i32 7
}
define i32 @other(i32 %n, ptr %v) {
  ret i32 %n
}
define i64 @wrong() {
  ret i64 0
}
END
ir argv0 <<'END'
declare i32 @puts(ptr)
define i32 @main(i32 %n, ptr %v) {
  %name = load ptr, ptr %v
  %r = call i32 @puts(ptr %name)
  ret i32 %n
}
END
ir syntax <<'END'
define i32 @main() {
  ret i32 %nothing
}
END
ir invalid <<'END'
define i32 @main() {
  br label %b
a:
  %x = add i32 1, 1
  br label %b
b:
  ret i32 %x
}
END
ir no_main <<'END'
define i32 @start() {
  ret i32 0
}
END
ir unresolved <<'END'
declare i32 @no_such_function()
define i32 @main() {
  %r = call i32 @no_such_function()
  ret i32 %r
}
END
ir foreign <<'END'
target triple = "s390x-unknown-linux-gnu"
define i32 @main() {
  ret i32 0
}
END
ir foreign_extra <<'END'
target triple = "s390x-unknown-linux-gnu"
define i32 @f() {
  ret i32 0
}
END
ir huge <<'END'
@v = global [3221225472 x i8] zeroinitializer
define i32 @main() {
  %r = load i8, ptr @v
  %i = zext i8 %r to i32
  ret i32 %i
}
END
ir bss <<'END'
@v = internal global [1610612736 x i8] zeroinitializer
define i32 @main() {
  %p = getelementptr i8, ptr @v, i64 1610612735
  store volatile i8 3, ptr %p
  %b = load volatile i8, ptr %p
  %r = zext i8 %b to i32
  ret i32 %r
}
END
ir aligned <<'END'
@v = global [5000 x i8] zeroinitializer, section ".data.v", align 65536
@w = global i32 5, section ".data.w", align 65536
@c = constant [5000 x i8] zeroinitializer, section ".rodata.c", align 16384
@d = constant i32 6, section ".rodata.d", align 16384
define i32 @main() {
  %v = ptrtoint ptr @v to i64
  %w = ptrtoint ptr @w to i64
  %c = ptrtoint ptr @c to i64
  %d = ptrtoint ptr @d to i64
  %vw = or i64 %v, %w
  %cd = or i64 %c, %d
  %x = and i64 %vw, 65535
  %y = and i64 %cd, 16383
  %z = or i64 %x, %y
  %ok = icmp eq i64 %z, 0
  %r = select i1 %ok, i32 11, i32 1
  ret i32 %r
}
END
ir void_main <<'END'
@done = global i32 0
declare void @exit(i32)
@llvm.global_dtors = appending global [1 x { i32, ptr, ptr }]
  [{ i32, ptr, ptr } { i32 65535, ptr @leave, ptr null }]
define internal void @leave() {
  ret void
}
define void @main() {
  call void @exit(i32 3)
  ret void
}
END
ir uses_extra <<'END'
@data = external global i32
declare i32 @f(i32)
define i32 @back(i32 %x) {
  %r = mul i32 %x, 2
  ret i32 %r
}
define i32 @main() {
  %d = load i32, ptr @data
  %r = call i32 @f(i32 %d)
  ret i32 %r
}
END
ir extra <<'END'
@data = global i32 10
declare i32 @back(i32)
define i32 @f(i32 %x) {
  %r = call i32 @back(i32 %x)
  %s = add i32 %r, 1
  ret i32 %s
}
END
# Local functions that are named as another module's global one, and as another
# module's constructor.
ir names_main <<'END'
@llvm.global_ctors = appending global [1 x { i32, ptr, ptr }]
  [{ i32, ptr, ptr } { i32 65535, ptr @init, ptr null }]
@sum = global i32 0
declare i32 @f()
define internal void @init() {
  %s = load i32, ptr @sum
  %t = add i32 %s, 1
  store i32 %t, ptr @sum
  ret void
}
define i32 @main() {
  %f = call i32 @f()
  %s = load i32, ptr @sum
  %r = add i32 %f, %s
  ret i32 %r
}
END
ir names_global <<'END'
define i32 @f() {
  ret i32 100
}
END
ir names_local <<'END'
@llvm.global_ctors = appending global [1 x { i32, ptr, ptr }]
  [{ i32, ptr, ptr } { i32 65535, ptr @init, ptr null }]
@sum = external global i32
define internal i32 @f() {
  ret i32 50
}
define i32 @g() {
  %r = call i32 @f()
  ret i32 %r
}
define internal void @init() {
  %s = load i32, ptr @sum
  %t = add i32 %s, 10
  store i32 %t, ptr @sum
  ret void
}
END
ir waits <<'END'
@text = constant [6 x i8] c"ready\00"
declare i32 @puts(ptr)
declare i32 @fflush(ptr)
declare i32 @pause()
define i32 @main() {
  %p = call i32 @puts(ptr @text)
  %f = call i32 @fflush(ptr null)
  %r = call i32 @pause()
  ret i32 %r
}
END
# Status 1 if a SIGCHLD is pending
ir pending <<'END'
declare i32 @sigpending(ptr)
declare i32 @sigismember(ptr, i32)
define i32 @main() {
  %set = alloca [128 x i8]
  %p = call i32 @sigpending(ptr %set)
  %r = call i32 @sigismember(ptr %set, i32 17)
  ret i32 %r
}
END
ir writes_code <<'END'
define i32 @main() {
  store volatile i8 0, ptr @main
  ret i32 0
}
END
printf 'BC\xc0\xde truncated' > "$ir/broken.bc"

# ---- the groups of tests

test_options()
{
	run --help
	check "--help explains the options" grep -q -- --extra-module=FILE "$tmp/out"
	check "--help succeeds" test "$status" -eq 0
	run --version
	check "--version names both versions" grep -Eq '^wxlli .* \(LLVM (19|22)\.' "$tmp/out"

	error "unknown option" "unrecognized option '--nonsense'" --nonsense
	error "option without its argument" "requires an argument" --extra-module
	error "unknown memory" "must be secure, remote, portable, fast or llvm" \
		--memory=slow x.ll
	error "unknown engine" "must be orc or mcjit" --engine=interpreter x.ll
	error "unknown linker" "must be jitlink or rtdyld" --linker=ld x.ll
	error "linker that the engine lacks" "mcjit has no --linker=jitlink" \
		--engine=mcjit --linker=jitlink x.ll
	error "remote with the engine that cannot" "mcjit has no --memory=remote" \
		--engine=mcjit --memory=remote x.ll
	error "remote with a debugger" "has neither --gdb nor --perf" --gdb --memory=remote x.ll
	error "perf with the linker that cannot" "needs --linker=rtdyld or --engine=mcjit" \
		--perf x.ll
	error "reserve what" "must be yes or no" --reserve=maybe x.ll
	error "window that is none" "a multiple of 2M, from 6M to 2G" --window=many x.ll
	error "window that is too large" "a multiple of 2M, from 6M to 2G" --window=3G x.ll
	error "window of odd size" "a multiple of 2M, from 6M to 2G" --window=7M x.ll
	error "unknown level" "must be -O0, -O1, -O2 or -O3" -O4 x.ll
	error "level with a tail" "must be -O0" -O22 x.ll
	error "--protect=no with secure memory" "needs --memory=fast" \
		--protect=no "$ir/seven.ll"
	error "--protect=no with portable memory" "needs --memory=fast" \
		--memory=portable --protect=no "$ir/seven.ll"
}

test_bad_programs()
{
	local m=--memory=portable

	error "missing file" "no.such.ll: No such file" "$m" "$ir/no.such.ll"
	error "folder" "$ir: " "$m" "$ir"
	error "syntax error" "syntax.ll:2:11: error: use of undefined value" \
		"$m" "$ir/syntax.ll"
	error "invalid IR" "invalid IR: Instruction does not dominate" \
		"$m" "$ir/invalid.ll"
	error "broken bitcode" "broken.bc: " "$m" "$ir/broken.bc"
	error "nothing on standard input" "-: no function 'main'" "$m"
	error "no main" "no_main.ll: no function 'main'" "$m" "$ir/no_main.ll"
	error "entry that is not there" "no function 'begin'" \
		"$m" --entry-function=begin "$ir/seven.ll"
	error "entry of another type" "'wrong' is not an int" \
		"$m" --entry-function=wrong "$ir/seven.ll"
	error "unresolved symbol" "Symbols not found: \[ no_such_function \]" \
		"$m" "$ir/unresolved.ll"
	error "unresolved symbol, rtdyld" "Symbols not found: \[ no_such_function \]" \
		"$m" --linker=rtdyld "$ir/unresolved.ll"
	error "unresolved symbol, mcjit" "Symbol not found: no_such_function" \
		"$m" --engine=mcjit "$ir/unresolved.ll"
	error "program for another machine" "foreign.ll: made for s390x" "$m" "$ir/foreign.ll"
	error "program that is linked already" "is linked already" "$m" "$demo/native/many"
	error "an ifunc in an object" "'chosen' is an ifunc" \
		"$m" --extra-object="$demo/ifunc.o" "$demo/symbols-main.bc"
	error "a thread-local variable in an object" "'per_thread' is thread-local" \
		"$m" "$demo/tls.o"
	error "missing library" "--dlopen=nothing.so: " "$m" --dlopen=nothing.so "$ir/seven.ll"
	error "missing extra module" "gone.ll: No such file" \
		"$m" --extra-module="$ir/gone.ll" "$ir/seven.ll"
	error "extra module for another machine" "foreign_extra.ll: made for s390x" \
		"$m" --extra-module="$ir/foreign_extra.ll" "$ir/seven.ll"
	error "symbol defined twice" "'main' is defined in .*seven.ll and in" \
		"$m" --extra-module="$ir/empty_main.ll" "$ir/seven.ll"
	error "symbol defined twice, mcjit" "'main' is defined in .*seven.ll and in" \
		"$m" --engine=mcjit --extra-module="$ir/empty_main.ll" "$ir/seven.ll"
}

test_invocation()
{
	local m=--memory=portable engine

	output "main's status" 7 "" "$m" "$ir/seven.ll"
	output "another entry" 3 "" "$m" --entry-function=other "$ir/seven.ll" a b
	output "main without a result" 3 "" "$m" "$ir/void_main.ll"
	output "argv[0] is the file" 1 "$ir/argv0.ll" "$m" "$ir/argv0.ll"
	cp "$ir/argv0.ll" "$ir/suffix.bc"
	output "argv[0] without .bc" 1 "$ir/suffix" "$m" "$ir/suffix.bc"
	output "--fake-argv0" 1 "me.bc" "$m" --fake-argv0=me.bc "$ir/suffix.bc"
	stdin=$ir/argv0.ll
	output "program on standard input" 1 "-" "$m"
	output "the same with -" 3 "-" "$m" - a b
	unset stdin
	output "one dash is enough" 7 "" -memory=portable -O0 "$ir/seven.ll"
	output "another processor" 7 "" "$m" -mcpu=x86-64 -mattr=+sse3 "$ir/seven.ll"
	output "a library" 7 "" "$m" --dlopen=libm.so.6 "$ir/seven.ll"
	cp "$demo/busy.so" "$tmp/other.so"
	output "libraries with threads" 7 "" "$m" --dlopen="$demo/busy.so" \
		--dlopen="$tmp/other.so" "$ir/seven.ll"
	output "a small window" 7 "" "$m" --window=6M "$ir/seven.ll"
	output "options end at the program" 2 "$ir/argv0.ll" \
		"$m" "$ir/argv0.ll" --nonsense
	output "-- ends options" 7 "" "$m" -- "$ir/seven.ll"
	for engine in "${engines[@]}"; do
		output "alignment beyond a page, $engine" 11 "" "$m" "$engine" "$ir/aligned.ll"
		output "modules that need each other, $engine" 21 "" \
			"$m" "$engine" --extra-module="$ir/extra.ll" "$ir/uses_extra.ll"
		output "local names are a module's own, $engine" 111 "" "$m" "$engine" \
			--extra-module="$ir/names_global.ll" \
			--extra-module="$ir/names_local.ll" "$ir/names_main.ll"
		output "1.5 GiB of variables, $engine" 3 "" "$m" "$engine" "$ir/bss.ll"
	done
	output "without a reservation" 21 "" "$m" --linker=rtdyld --reserve=no \
		--extra-module="$ir/extra.ll" "$ir/uses_extra.ll"
	native recursion
	same "an object" "$m" "$demo/recursion.o"
	native twomod
	same "a module and an archive" "$m" --extra-archive="$demo/libtwomod.a" \
		"$demo/twomod-main.bc"
	for engine in "${engines[@]}"; do
		same "a module and an object, $engine" "$m" "$engine" \
			--extra-object="$demo/twomod-other.o" "$demo/twomod-main.bc"
	done
	run "$m" "$ir/writes_code.ll"
	check "a store into the own code ends by SIGSEGV" test "$status" -eq 139
	run --memory=fast "$ir/writes_code.ll"
	check "fast memory lets it through" test "$status" -eq 0
}

# Each way out of a program, and what runs on the way.
test_lifecycle()
{
	local how

	for how in return exit _exit abort; do
		native lifecycle "$how" "two words"
		same "$1: $how" --memory="$1" --fake-argv0="$demo/native/lifecycle" \
			"$demo/lifecycle.ll" "$how" "two words"
	done
	native threads
	same "$1: threads, a child, a thread that never ends" \
		--memory="$1" "$demo/threads.ll"
}

test_exit_stats()
{
	run --memory="$1" --stats "$demo/threads.ll"
	check "$1: one process has statistics" \
		test "$(grep -c "^wxlli: at exit: pools" "$tmp/err")" -eq 1
	check "$1: and says nothing else" \
		test "$(grep -vc "^wxlli: at exit: " "$tmp/err")" -eq 0
	check "$1: code under a running thread is not freed" \
		test "$(grep -c "^wxlli: freed: " "$tmp/err")" -eq 0
}

test_program()
{
	local name=$1 file

	shift
	file=$(echo "$demo/$name".[bl][cl])
	native "$name" "${@:$((opts + 1))}"
	same "${*:1:$opts}: $name" "${@:1:$opts}" "$file" "${@:$((opts + 1))}"
}

# Modules that need each other
test_modules()
{
	native "$1"
	same "${*:2}: $1" "${@:2}" --extra-module="$demo/$1-other.bc" "$demo/$1-main.bc"
}

# test_programs OPTION...: all of them, with these options
test_programs()
{
	local name opts=$#

	for name in recursion dispatch floats exceptions many; do
		test_program $name "$@"
	done
	test_program varargs "$@" "two words" ""
	test_program interp "$@" "$demo/primes.words"
	test_modules twomod "$@"
	test_modules symbols "$@"
}

test_stats()
{
	local held=0 name

	run --memory="$1" --stats --extra-module="$demo/twomod-other.bc" \
		"$demo/twomod-main.bc"
	cp "$tmp/err" "$tmp/why"
	check "$1: a pool for each object" \
		test "$(counter "at exit" pools)" -eq "$(counter "at exit" objects)"
	check "$1: nothing stays open" test "$(counter "at exit" open)" -eq 0
	for name in code constants variables; do
		check "$1: $name" test "$(counter "at exit" $name)" -gt 0
		held=$((held + $(counter "at exit" $name)))
	done
	check "$1: less than a line lost per section, and a few" \
		test "$held" -lt $(($(counter "at exit" "bytes linked") +
			64 * $(counter "at exit" sections) + 1024))
	for name in pools code constants variables installed open sealed retired; do
		check "$1: freed: $name" test "$(counter freed "$name")" -eq 0
	done
	run --memory="$1" --engine=mcjit --stats "$demo/exceptions.bc"
	check "$1: freed with mcjit" test "$(counter freed pools)" -eq 0
}

test_maps()
{
	local want=$2

	run --memory="$1" "$demo/maps.ll"
	check "$1: $3" grep -Eq "^code +[0-9a-f]+-[0-9a-f]+ $4" "$tmp/out"
	check "$1: writable and executable mappings: status $want" \
		test "$status" -eq "$want"
}

# limited LIMIT...: wxlli under a limit of the shell from now on
limited()
{
	wxlli=$tmp/limited
	printf '#!/bin/bash\nulimit %s && exec %q "$@"\n' "$*" "$tool" > "$wxlli"
	chmod +x "$wxlli"
}

test_out_of_memory()
{
	local tool=$wxlli

	error "$1: more than any window has" "3221225472 of variables: too many for a window" \
		--memory="$1" "$ir/huge.ll"
	error "$1: more than this window has" "too many for a window of 64 MiB (--window)" \
		--memory="$1" --window=64M "$ir/bss.ll"
	limited -v 900000
	output "$1: little address space: a smaller window" 7 "" \
		--memory="$1" "$ir/seven.ll"
	wxlli=$tool
}

test_memory()
{
	test_lifecycle "$1"
	test_exit_stats "$1"
	test_programs --memory="$1"
	test_stats "$1"
	test_out_of_memory "$1"
}

test_no_module()
{
	error "secure memory without the module" \
		"run 'modprobe wxpool', or use --memory=portable" "$ir/seven.ll"
	error "remote memory without the module" \
		"run 'modprobe wxpool', or use --memory=portable" --memory=remote "$ir/seven.ll"
}

test_portable()
{
	test_memory portable
	test_maps portable 0 "code is a view of a memfd" "r-xs .*/memfd:libwxpool"
}

# All that is asked of the device for two modules: to open it, to ask what it is and what
# is allowed, to map its views, and for each object to install and to free it.
test_calls()
{
	local nr

	strace -f -qq -o "$tmp/trace" -P /dev/wxpool "$wxlli" \
		--extra-module="$demo/twomod-other.bc" "$demo/twomod-main.bc" \
		> /dev/null || true
	nr=$(wc -l < "$tmp/trace")
	check "few system calls on the device: $nr" test "$nr" -ge 10 -a "$nr" -le 24
}

test_secure()
{
	local limit=/sys/module/wxpool/parameters/max_bytes_per_context old

	test_memory secure
	[ "$quick" = -d ] || test_programs --memory=secure --engine=mcjit
	if [ -z "$quick" ]; then
		test_programs --memory=secure -O0
		test_programs --memory=secure --linker=rtdyld
		test_programs --memory=secure --linker=rtdyld --reserve=no
	fi
	test_maps secure 0 "code is a sealed view" "r-xs .*/dev/wxpool"
	test_calls
	check "every attack is refused" "$demo/attack"
	if [ -w $limit ]; then
		old=$(cat $limit)
		echo 8192 > $limit
		error "the module's limit" "cannot install: .*max_bytes_per_context" \
			"$demo/many.bc"
		echo "$old" > $limit
	else
		skip "the module's limit" "not root"
	fi
	output "and without it" 7 "" "$ir/seven.ll"
	test_remote
	check "nothing is left: the module is unused" \
		grep -qx 0 /sys/module/wxpool/refcnt
}

# The child of a process
child_of()
{
	tr -d ' ' < "/proc/$1/task/$1/children"
}

# Waits until COMMAND succeeds.
await()
{
	local i

	for ((i = 0; i < 300; i++)); do
		! "$@" || return 0
		sleep 0.1
	done
	return 1
}

has_child()
{
	[ -n "$(child_of "$1")" ]
}

# A program that waits: it is who was started, and has neither a child nor a way to the
# device, of which nothing is writable.
remote_program()
{
	local pid fd status=0

	"$wxlli" --memory=remote "$ir/waits.ll" > "$tmp/out" &
	pid=$!
	await grep -q ready "$tmp/out"
	! has_child "$pid" || status=1
	for fd in "/proc/$pid/fd"/*; do
		[ "$(readlink "$fd")" != /dev/wxpool ] || status=1
	done
	! grep ' .w.. .*/dev/wxpool' "/proc/$pid/maps" || status=1
	[ "$(grep -c /dev/wxpool "/proc/$pid/maps")" -eq 2 ] || status=1
	kill -TERM "$pid"
	wait "$pid" || [ $? -eq 143 ] || status=1
	return $status
}

# remote_dies SIDE: while the program is read, which takes for ever
remote_dies()
{
	local pid child status=0

	mkfifo "$tmp/program"
	"$wxlli" --memory=remote < "$tmp/program" 2> "$tmp/err" &
	pid=$!
	exec 7> "$tmp/program"
	await has_child "$pid"
	child=$(child_of "$pid")
	if [ "$1" = compiler ]; then
		kill -KILL "$child"
		wait "$pid" || status=$?
		cat "$tmp/err"
		[ "$status" -eq 1 ] && status=0
		grep -qx "wxlli: the compiler was ended by signal 9" "$tmp/err" || status=1
	else
		kill -KILL "$pid"
		wait "$pid" || status=$?
		[ "$status" -eq 137 ] && status=0
		await test ! -e "/proc/$child" || status=1
	fi
	exec 7>&-
	rm "$tmp/program"
	return "$status"
}

# ends DESCRIPTION STATUS LINES COMMAND [ARG]...: with that status, and that many lines of
# errors
ends()
{
	local status=0 good=0

	"${@:4}" 2> "$tmp/err" < /dev/null || status=$?
	[ "$status" -eq "$2" ] && [ "$(wc -l < "$tmp/err")" -eq "$3" ] || good=1
	{ echo "status $status"; cat "$tmp/err"; } > "$tmp/why"
	result "$good" "$1"
}

# What it is started with, that a compiler in a child could disturb, or be disturbed by
test_remote_start()
{
	local remote=("$wxlli" --memory=remote)

	chmod 755 "$ir"		# for another user
	error "remote: the compiler has ended before it is heard" "no.such.ll: No such file" \
		--memory=remote --dlopen="$demo/slow.so" "$ir/no.such.ll"
	# shellcheck disable=SC2016
	ends "remote: without standard streams" 7 0 \
		bash -c '"$@" <&- >&- 2>&-' - "${remote[@]}" --stats "$ir/seven.ll"
	# shellcheck disable=SC2016
	ends "remote: an error without standard streams" 1 0 \
		bash -c '"$@" <&- >&- 2>&-' - "${remote[@]}" "$ir/no.such.ll"
	ends "remote: no SIGCHLD is left for the program" 0 0 \
		env --block-signal=CHLD "${remote[@]}" "$ir/pending.ll"
	ends "remote: one line with SIGCHLD ignored" 1 1 \
		env --ignore-signal=CHLD "${remote[@]}" "$ir/no.such.ll"
	# shellcheck disable=SC2016
	ends "remote: few processes are enough" 7 0 \
		setpriv --reuid 65534 --clear-groups bash -c 'ulimit -u 6 && exec "$@"' - \
		"${remote[@]}" "$ir/seven.ll"
	# shellcheck disable=SC2016
	ends "remote: too few processes are one line" 1 1 \
		setpriv --reuid 65534 --clear-groups bash -c 'ulimit -u 2 && exec "$@"' - \
		"${remote[@]}" "$ir/seven.ll"
}

test_remote_programs()
{
	local linker

	for linker in jitlink rtdyld; do
		test_programs --memory=remote --linker=$linker
	done
	test_lifecycle remote
	output "remote: another entry" 3 "" --memory=remote --entry-function=other \
		"$ir/seven.ll" a b
	stdin=$ir/argv0.ll
	output "remote: program on standard input" 3 "-" --memory=remote - a b
	unset stdin
	output "remote: 1.5 GiB of variables" 3 "" --memory=remote "$ir/bss.ll"
	output "remote: 1.5 GiB of variables, rtdyld" 3 "" --memory=remote --linker=rtdyld \
		"$ir/bss.ll"
	error "remote: missing file" "no.such.ll: No such file" --memory=remote "$ir/no.such.ll"
	error "remote: unresolved symbol" "Symbols not found: \[ no_such_function \]" \
		--memory=remote "$ir/unresolved.ll"
	error "remote: no main" "no function 'main'" --memory=remote "$ir/no_main.ll"
	run --memory=remote --stats --extra-module="$demo/twomod-other.bc" "$demo/twomod-main.bc"
	check "remote: a pool for each object" \
		test "$(counter linked pools)" -eq "$(counter linked objects)"
}

test_remote()
{
	local side good

	if [ "$quick" != -d ]; then
		test_remote_start
		test_remote_programs
	fi
	run --memory=remote "$ir/writes_code.ll"
	check "remote: a store into the own code ends by SIGSEGV" test "$status" -eq 139
	run --memory=remote "$demo/maps.ll"
	check "remote: code is a view of the device" \
		grep -Eq "^code +[0-9a-f]+-[0-9a-f]+ r-xs .*/dev/wxpool" "$tmp/out"
	check "remote: nothing is writable and executable" test "$status" -eq 0
	good=0
	remote_program > "$tmp/why" 2>&1 || good=1
	result $good "remote: a program that runs has no way to add code"
	for side in compiler runner; do
		good=0
		remote_dies $side > "$tmp/why" 2>&1 || good=1
		result $good "remote: the $side dies"
	done
}

test_fast()
{
	test_memory fast
	test_maps fast 1 "code is writable" "rwxp"
	output "--protect=no: fast memory runs" 7 "" --memory=fast --protect=no "$ir/seven.ll"
}

# LLVM's own managers, to compare
test_llvm()
{
	local engine

	for engine in "${engines[@]}"; do
		test_modules twomod --memory=llvm "$engine"
		test_modules symbols --memory=llvm "$engine"
	done
	run --memory=llvm --stats "$ir/seven.ll"
	check "llvm: sections are counted" test "$(counter "at exit" sections)" -gt 0
}

test_device()
{
	if [ -e /dev/wxpool ]; then
		skip "secure memory without the module" "the module is loaded"
	else
		test_no_module
	fi
	if [ -e /dev/wxpool ] || modprobe wxpool 2> /dev/null; then
		test_secure
	elif [ -d /var/lib/bed/run ]; then
		result 1 "a guest of the test bed has the module wxpool"
	else
		skip "secure memory" "no module wxpool on this machine"
	fi
}

# Two groups at once, each in a folder of its own.
first_group()
{
	tmp=$(mktemp -d -p "$ir")
	test_options
	test_bad_programs
	test_invocation
	test_portable
}

second_group()
{
	tmp=$(mktemp -d -p "$ir")
	test_device
	test_fast
	test_llvm
}

# A group that ends early counts as a failed test.
all()
{
	local first second

	if [ "$quick" = -d ]; then
		test_device
		return
	fi
	second_group > "$ir/second" 2>&1 &
	second=$!
	first_group &
	first=$!
	wait $first || echo "not ok - the first group ended early"
	wait $second || echo "not ok - the second group ended early" >> "$ir/second"
	cat "$ir/second"
}

all | number
exit "${PIPESTATUS[1]}"
