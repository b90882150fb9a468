// Descriptors appear and disappear at device numbers, among the program's own: churn COUNT SEED NODE.
// COUNT is the number of opens and closes of all threads together.
//
// Two threads open and close NODE. Three open ordinary files at the lowest free number and at the
// highest ones, and check each number's file afterwards. So many numbers are in use that the lowest
// free one repeatedly approaches those of devices and falls again. A file is lost if its number refers
// to another file, or to none before its close.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEVICES = 2, OWN = 3, LIMIT = 1024 };

static const char *node;
static atomic_long left;
static atomic_long opened, refused, own, lost;

struct thread {
	pthread_t thread;
	uint64_t state;
};

static uint64_t draw(struct thread *t)
{
	t->state ^= t->state << 13;
	t->state ^= t->state >> 7;
	t->state ^= t->state << 17;
	return t->state;
}

static int is_more(void)
{
	return atomic_fetch_sub(&left, 2) > 0;
}

static void *devices(void *given)
{
	struct thread *t = given;
	int held[4] = { -1, -1, -1, -1 };
	while (is_more()) {
		int *at = &held[draw(t) % 4];
		if (*at >= 0)
			close(*at);
		*at = open(node, O_RDWR);
		atomic_fetch_add(*at < 0 ? &refused : &opened, 1);
	}
	for (unsigned i = 0; i < 4; i++)
		if (held[i] >= 0)
			close(held[i]);
	return NULL;
}

/* Returns whether a number still refers to the file with this inode. */
static int names(int fd, ino_t inode)
{
	struct stat stat;
	return fstat(fd, &stat) == 0 && stat.st_ino == inode;
}

static void check(int fd, ino_t inode, const char *when)
{
	if (names(fd, inode))
		return;
	fprintf(stderr, "churn: number %d does not name the program's own file %s\n", fd, when);
	atomic_fetch_add(&lost, 1);
}

static void *owns(void *given)
{
	struct thread *t = given;
	int file = memfd_create("own", MFD_CLOEXEC);
	struct stat stat;
	if (file < 0 || fstat(file, &stat)) {
		perror("churn: own file");
		exit(1);
	}
	static _Thread_local int taken[LIMIT];
	unsigned count = 0, most = 0;
	while (is_more()) {
		/* The number of used descriptors rises and falls. */
		if (count >= most || count >= LIMIT / OWN) {
			while (count) {
				check(taken[--count], stat.st_ino, "before its close");
				close(taken[count]);
			}
			most = 1 + (unsigned)(draw(t) % (LIMIT / OWN));
		}
		int above = draw(t) % 4 == 0;
		int fd = fcntl(file, F_DUPFD_CLOEXEC, above ? LIMIT - 256 + (int)(draw(t) % 256) : 0);
		if (fd < 0) {
			/* The table is at its limit, so descriptors are closed from here on. */
			most = count;
			continue;
		}
		atomic_fetch_add(&own, 1);
		check(fd, stat.st_ino, "after its open");
		taken[count++] = fd;
	}
	while (count) {
		check(taken[--count], stat.st_ino, "at the end");
		close(taken[count]);
	}
	close(file);
	return NULL;
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	struct rlimit limit = { LIMIT, LIMIT };
	if (setrlimit(RLIMIT_NOFILE, &limit)) {
		perror("churn: RLIMIT_NOFILE");
		return 1;
	}
	node = argv[3];
	atomic_store(&left, atol(argv[1]));
	static struct thread all[DEVICES + OWN];
	for (unsigned i = 0; i < DEVICES + OWN; i++) {
		all[i].state = (strtoull(argv[2], NULL, 0) * 8 + i + 1) * 0x9e3779b97f4a7c15u;
		if (pthread_create(&all[i].thread, NULL, i < DEVICES ? devices : owns, &all[i]))
			return 1;
	}
	for (unsigned i = 0; i < DEVICES + OWN; i++)
		pthread_join(all[i].thread, NULL);
	printf("opened %ld refused %ld own %ld lost %ld\n", opened, refused, own, lost);
	return opened == 0 || own == 0 || lost != 0;
}
