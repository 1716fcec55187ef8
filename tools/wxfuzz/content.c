// SPDX-License-Identifier: MIT
/*
 * wxfuzz: the bytes that a stamp stands for
 *
 * Each line that is written begins with a function that returns its stamp, so
 * that running it tells as much as reading it.
 */
#include <fcntl.h>

#include "wxfuzz.h"

static unsigned char disk[PAGE];
static int disk_fd = -1;

/* A disk that takes O_DIRECT; what is on it is as good as anything. */
void content_init(void)
{
	static const char *const names[] = { "/dev/vda", "/dev/vdb" };
	unsigned int i;

	for (i = 0; i < 2 && disk_fd < 0; i++) {
		disk_fd = open(names[i], O_RDONLY | O_DIRECT | O_CLOEXEC);
		if (disk_fd >= 0) {
			int fd = open(names[i], O_RDONLY | O_CLOEXEC);

			if (pread(fd, disk, PAGE, 1 << 20) != PAGE) {
				close(disk_fd);
				disk_fd = -1;
			}
			close(fd);
		}
	}
}

int content_disk(void)
{
	return disk_fd;
}

#if defined(__x86_64__)
size_t content_code_size(void)
{
	return 6;
}

static void put_code(uint32_t val, unsigned char *out)
{
	out[0] = 0xb8;
	memcpy(out + 1, &val, 4);
	out[5] = 0xc3;
}

static void put_traps(unsigned char *out)
{
	memset(out, 0xcc, LINE);
}
#elif defined(__aarch64__)
size_t content_code_size(void)
{
	return 12;
}

static void put_code(uint32_t val, unsigned char *out)
{
	uint32_t code[] = {
		0x52800000u | (val & 0xffff) << 5,	/* movz w0, #lo */
		0x72a00000u | (val >> 16) << 5,		/* movk w0, #hi, lsl 16 */
		0xd65f03c0u,				/* ret */
	};

	memcpy(out, code, sizeof(code));
}

static void put_traps(unsigned char *out)
{
	const uint32_t brk = 0xd4200000u;
	unsigned int i;

	for (i = 0; i < LINE; i += 4)
		memcpy(out + i, &brk, 4);
}
#else
#error "wxfuzz: no code for this architecture"
#endif

void content_line(uint32_t stamp, unsigned char *out)
{
	uint64_t rng = stamp, word;
	unsigned int i;

	if (stamp == STAMP_ZERO) {
		memset(out, 0, LINE);
	} else if (stamp == STAMP_TRAP) {
		put_traps(out);
	} else if (stamp >= STAMP_DISK) {
		memcpy(out, disk + (stamp - STAMP_DISK) * LINE, LINE);
	} else {
		for (i = 0; i < LINE; i += 8) {
			word = splitmix(&rng);
			memcpy(out + i, &word, 8);
		}
		put_code(stamp, out);
	}
}

static void expect(uint32_t stamp, unsigned int len, const struct mpage *page,
		   unsigned char *out)
{
	unsigned char bytes[LINE];
	struct mline fill;

	content_line(stamp, bytes);
	model_fill(&fill, page->state);
	content_line(fill.stamp, out);
	memcpy(out, bytes, len);
}

/* What is in a line now: its bytes, and the filling up to its end */
void content_expect(const struct mline *line, const struct mpage *page,
		    unsigned char *out)
{
	expect(line->stamp, line->len, page, out);
}

/* What was there until its page ended */
void content_old(const struct mline *line, const struct mpage *page,
		 unsigned char *out)
{
	expect(line->old, line->old_len, page, out);
}

/* Is it a function, or does it trap (*@ret is 0 then)? */
bool content_runs(const struct mline *line, uint32_t *ret)
{
	*ret = line->stamp == STAMP_TRAP ? 0 : line->stamp;
	if (line->stamp == STAMP_TRAP)
		return true;
	return line->stamp > STAMP_TRAP && line->stamp < STAMP_DISK &&
	       line->len >= content_code_size();
}
