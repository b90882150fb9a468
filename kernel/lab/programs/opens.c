/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Opens a directory's files at random, with any flags, and reads, seeks, writes and polls them:
 *
 *   opens DIRECTORY ROUNDS SEED STEP
 *
 * Every call answers with bytes or an errno. Prints the counts of opened and refused files as one step.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define FILES 16

static unsigned int state;

static unsigned int below(unsigned int n)
{
	state = state * 1664525u + 1013904223u;
	return (state >> 8) % n;
}

/* Uses a file in a few random ways. */
static void use(int fd)
{
	static char bytes[70000];
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	unsigned int i;

	for (i = below(4); i > 0; i--) {
		switch (below(6)) {
		case 0:
			lseek(fd, (off_t)below(100000) - 10, below(4));
			break;
		case 1:
			pread(fd, bytes, below(sizeof(bytes)), (off_t)below(80000) << below(40));
			break;
		case 2:
			(void)!write(fd, bytes, below(5000));
			break;
		case 3:
			ioctl(fd, below(1 << 16), bytes);
			break;
		case 4:
			poll(&wait, 1, 0);
			break;
		default:
			(void)!read(fd, bytes, below(sizeof(bytes)));
		}
	}
	if (!below(8) && mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED)
		exit(1);
}

int main(int argc, char **argv)
{
	static const int flags[] = { O_RDONLY, O_RDWR, O_WRONLY, O_TRUNC, O_APPEND | O_WRONLY, O_NONBLOCK,
				     O_DIRECTORY, O_PATH, O_CREAT | O_EXCL, O_DIRECT };
	static const char *const names[] = { "refusals", "buffers", "counters", "none", "." };
	int held[FILES], rounds, dir, opened = 0, refused = 0, i;

	if (argc < 5 || (dir = open(argv[1], O_RDONLY | O_DIRECTORY)) < 0)
		return 1;
	rounds = atoi(argv[2]);
	state = atoi(argv[3]);
	for (i = 0; i < FILES; i++)
		held[i] = -1;
	for (i = 0; i < rounds; i++) {
		int *slot = &held[below(FILES)];

		if (*slot >= 0)
			close(*slot);
		*slot = openat(dir, names[below(sizeof(names) / sizeof(*names))], flags[below(sizeof(flags) / sizeof(*flags))], 0600);
		if (*slot >= 0) {
			opened++;
			use(*slot);
		} else if (errno > 0) {
			refused++;
		}
	}
	printf("{\"step\":\"%s\",\"opened\":%d,\"refused\":%d,\"ok\":%s}\n", argv[4], opened, refused,
	       opened + refused == rounds && opened && refused ? "true" : "false");
	return 0;
}
