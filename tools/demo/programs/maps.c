// SPDX-License-Identifier: MIT
/*
 * Shows which mappings its own code, constants and variables are in. Status 0
 * if no mapping of the process is writable and executable at once.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char constant[] = "read-only data";
static int variable = 1;

static int has(unsigned long start, unsigned long end, const void *ptr)
{
	return (uintptr_t)ptr >= start && (uintptr_t)ptr < end;
}

int main(void)
{
	const char *volatile c = constant;
	int *volatile v = &variable;
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned long start, end;
	char line[512], prot[5];
	int nr_wx = 0;

	if (!f)
		return 2;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx %4s", &start, &end, prot) != 3)
			return 2;
		nr_wx += prot[1] == 'w' && prot[2] == 'x';
		if (has(start, end, (const void *)(uintptr_t)main))
			printf("code       %s", line);
		if (has(start, end, (const void *)c))
			printf("constants  %s", line);
		if (has(start, end, (const void *)v))
			printf("variables  %s", line);
	}
	fclose(f);
	printf("writable and executable mappings: %d\n", nr_wx);
	return nr_wx > 0;
}
