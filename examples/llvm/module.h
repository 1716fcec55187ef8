/* SPDX-License-Identifier: MIT */
/* What the examples run, as LLVM IR: a function, a constant and a variable */
static const char module_text[] =
	"@ten = internal constant i32 10\n"
	"@calls = internal global i32 0\n"
	"define i32 @answer(i32 %n) {\n"
	"  %c = load i32, ptr @calls\n"
	"  %more = add i32 %c, 1\n"
	"  store i32 %more, ptr @calls\n"
	"  %t = load i32, ptr @ten\n"
	"  %m = mul i32 %n, %t\n"
	"  %r = add i32 %m, %more\n"
	"  ret i32 %r\n"
	"}\n";
