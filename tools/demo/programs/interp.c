// SPDX-License-Identifier: MIT
/*
 * An interpreter of a small language of stack words, which runs the script
 * that is its argument.
 *
 *	12		push a number
 *	+ - * / % < =	replace two numbers by one
 *	dup drop swap over rot
 *	. emit cr	print a number, a character, a line end
 *	: NAME ... ;	define a word
 *	if ... else ... then
 *	begin ... until	repeat until a true value is dropped
 *	N exit		end with status N
 *	# ...		comment to the end of the line
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum op { NUM, ADD, SUB, MUL, DIV, MOD, LESS, EQUAL, DUP, DROP, SWAP, OVER,
	  ROT, DOT, EMIT, CR, EXIT, CALL, RET, JUMP, JZERO, NR_OPS };

static const char *const names[NR_OPS] = {
	[ADD] = "+", [SUB] = "-", [MUL] = "*", [DIV] = "/", [MOD] = "%",
	[LESS] = "<", [EQUAL] = "=", [DUP] = "dup", [DROP] = "drop",
	[SWAP] = "swap", [OVER] = "over", [ROT] = "rot", [DOT] = ".",
	[EMIT] = "emit", [CR] = "cr", [EXIT] = "exit",
};

struct word {
	char name[16];
	int start;
};

static long code[4096], stack[256];
static int calls[256];
static int len, sp, depth;
static struct word words[64];
static int nr_words;

__attribute__((noreturn, format(printf, 1, 2)))
static void fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	exit(2);
}

static void gen(long value)
{
	if (len == 4096)
		fail("program too long");
	code[len++] = value;
}

static void push(long value)
{
	if (sp == 256)
		fail("stack overflow");
	stack[sp++] = value;
}

static long pop(void)
{
	if (sp == 0)
		fail("stack underflow");
	return stack[--sp];
}

/* Returns 0 at the end of the script. */
static int token(FILE *f, char *buf, size_t size)
{
	size_t n = 0;
	int c;

	do {
		c = getc(f);
		if (c == '#')
			while (c != '\n' && c != EOF)
				c = getc(f);
	} while (isspace(c));
	for (; c != EOF && !isspace(c); c = getc(f))
		if (n + 1 < size)
			buf[n++] = (char)c;
	buf[n] = '\0';
	return n > 0;
}

static int find_word(const char *name)
{
	for (int i = nr_words - 1; i >= 0; i--)
		if (!strcmp(words[i].name, name))
			return words[i].start;
	fail("unknown word: %s", name);
}

static void define(FILE *f, int *skip)
{
	if (nr_words == 64)
		fail("too many words");
	if (!token(f, words[nr_words].name, sizeof(words[0].name)))
		fail(": without a name");
	gen(JUMP);
	*skip = len;
	gen(0);
	words[nr_words++].start = len;
}

/* Control words; marks[] holds the places to fill in or to jump to. */
static int compile_control(FILE *f, const char *t)
{
	static int marks[32], nr, skip;

	if (!strcmp(t, ":")) {
		define(f, &skip);
	} else if (!strcmp(t, ";")) {
		gen(RET);
		code[skip] = len;
	} else if (!strcmp(t, "if")) {
		gen(JZERO);
		marks[nr++ & 31] = len;
		gen(0);
	} else if (!strcmp(t, "else")) {
		gen(JUMP);
		gen(0);
		code[marks[(nr - 1) & 31]] = len;
		marks[(nr - 1) & 31] = len - 1;
	} else if (!strcmp(t, "then")) {
		code[marks[--nr & 31]] = len;
	} else if (!strcmp(t, "begin")) {
		marks[nr++ & 31] = len;
	} else if (!strcmp(t, "until")) {
		gen(JZERO);
		gen(marks[--nr & 31]);
	} else {
		return 0;
	}
	return 1;
}

static void compile_word(const char *t)
{
	char *end;
	long value = strtol(t, &end, 10);

	if (!*end) {
		gen(NUM);
		gen(value);
		return;
	}
	for (int op = 0; op < NR_OPS; op++) {
		if (names[op] && !strcmp(names[op], t)) {
			gen(op);
			return;
		}
	}
	gen(CALL);
	gen(find_word(t));
}

static void binary(enum op op)
{
	long b = pop(), a = pop();

	if ((op == DIV || op == MOD) && b == 0)
		fail("division by zero");
	switch (op) {
	case ADD:
		return push(a + b);
	case SUB:
		return push(a - b);
	case MUL:
		return push(a * b);
	case DIV:
		return push(a / b);
	case MOD:
		return push(a % b);
	case LESS:
		return push(a < b);
	default:
		return push(a == b);
	}
}

static void push2(long a, long b)
{
	push(a);
	push(b);
}

static void shuffle(enum op op)
{
	long a = pop(), b = op == DUP || op == DROP ? 0 : pop(), c;

	switch (op) {
	case DUP:
		return push2(a, a);
	case SWAP:
		return push2(a, b);
	case OVER:
		push2(b, a);
		return push(b);
	case ROT:
		c = pop();
		push2(b, a);
		return push(c);
	default:
		return;
	}
}

/* Operations that read what follows them return where to go on. */
static int jump(enum op op, int pc)
{
	switch (op) {
	case NUM:
		push(code[pc]);
		return pc + 1;
	case JUMP:
		return (int)code[pc];
	case JZERO:
		return pop() ? pc + 1 : (int)code[pc];
	case CALL:
		if (depth == 256)
			fail("calls too deep");
		calls[depth++] = pc + 1;
		return (int)code[pc];
	default:
		return calls[--depth];
	}
}

static int run(void)
{
	int pc = 0;

	while (pc < len) {
		enum op op = (enum op)code[pc++];

		switch (op) {
		case NUM:
		case JUMP:
		case JZERO:
		case CALL:
		case RET:
			pc = jump(op, pc);
			break;
		case DUP:
		case DROP:
		case SWAP:
		case OVER:
		case ROT:
			shuffle(op);
			break;
		case DOT:
			printf("%ld ", pop());
			break;
		case EMIT:
			putchar((int)pop());
			break;
		case CR:
			putchar('\n');
			break;
		case EXIT:
			return (int)pop();
		default:
			binary(op);
			break;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	char t[32];
	FILE *f;

	if (argc != 2)
		fail("usage: interp SCRIPT");
	f = fopen(argv[1], "r");
	if (!f)
		fail("cannot open the script");
	while (token(f, t, sizeof(t)))
		if (!compile_control(f, t))
			compile_word(t);
	fclose(f);
	return run();
}
