/* The program of the target `program`: makes the system calls that a file lists. Its arguments are the file's path, and
 * the paths of devices. Each record of the file is seven pairs of words, of which the first says what to do. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <linux/netlink.h>
#include <unistd.h>

#define AREA ((char *)0x20000000)
#define BYTES 0x4000
#define FILES 16

enum { PLAIN, FILE_NUMBER, IN_AREA };
/* Arguments that the calls may not have freely: a path that they may change, flags that make files. */
enum { ANY, CHANGES_1 = 1, CHANGES_0 = 2, FLAGS_2 = 4, FLAGS_1 = 8, OPENS = 16 };

static const struct { long nr; int rule; } calls[] = {
	{SYS_ioctl, ANY}, {SYS_read, ANY}, {SYS_readv, ANY}, {SYS_pread64, ANY}, {SYS_pwrite64, ANY},
	{SYS_preadv, ANY}, {SYS_preadv2, ANY}, {SYS_pwritev, ANY}, {SYS_pwritev2, ANY}, {SYS_write, ANY},
	{SYS_writev, ANY}, {SYS_lseek, ANY}, {SYS_fstat, ANY}, {SYS_fsync, ANY}, {SYS_close, ANY},
	{SYS_dup, OPENS}, {SYS_recvmsg, ANY}, {SYS_recvfrom, ANY}, {SYS_sendmsg, ANY}, {SYS_sendto, ANY},
	{SYS_bind, ANY}, {SYS_getsockname, ANY}, {SYS_flock, ANY}, {SYS_fallocate, ANY}, {SYS_ftruncate, ANY},
	{SYS_fcntl, OPENS}, {SYS_dup3, OPENS}, {SYS_sendfile, ANY}, {SYS_splice, ANY}, {SYS_copy_file_range, ANY},
	{SYS_mmap, ANY}, {SYS_ppoll, ANY}, {SYS_pselect6, ANY}, {SYS_newfstatat, ANY},
	{SYS_openat, FLAGS_2 | OPENS}, {SYS_openat2, CHANGES_1 | OPENS}, {SYS_statx, ANY}, {SYS_faccessat, ANY},
	{SYS_faccessat2, ANY}, {SYS_readlinkat, ANY}, {SYS_getdents64, ANY}, {SYS_epoll_ctl, ANY},
	{SYS_statfs, ANY}, {SYS_fstatfs, ANY}, {SYS_getxattr, ANY}, {SYS_lgetxattr, ANY}, {SYS_listxattr, ANY},
	{SYS_fchmodat, CHANGES_1}, {SYS_fchownat, CHANGES_1}, {SYS_utimensat, CHANGES_1},
	{SYS_inotify_add_watch, ANY}, {SYS_getcwd, ANY}, {SYS_socket, OPENS}, {SYS_setsockopt, ANY},
#ifdef SYS_open
	{SYS_poll, ANY}, {SYS_select, ANY}, {SYS_open, FLAGS_1 | OPENS}, {SYS_stat, ANY}, {SYS_lstat, ANY},
	{SYS_access, ANY}, {SYS_readlink, ANY}, {SYS_chmod, CHANGES_0}, {SYS_chown, CHANGES_0},
	{SYS_lchown, CHANGES_0}, {SYS_dup2, OPENS}, {SYS_epoll_wait, ANY},
#endif
};

static long files[FILES];
static unsigned next;

static void keep(long fd)
{
	if (fd >= 0 && fd < 1024)
		files[next++ % FILES] = fd;
}

static long value(uint64_t kind, uint64_t word)
{
	switch (kind % 3) {
	case FILE_NUMBER:
		return files[word % FILES];
	case IN_AREA:
		return (long)AREA + (long)(word % (BYTES + 64));
	default:
		return (long)word;
	}
}

int main(int argc, char **argv)
{
	const long making = O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY);
	/* The page behind the area cannot be read. */
	char *area = mmap(AREA, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	FILE *list = argc > 2 ? fopen(argv[1], "r") : NULL;
	struct itimerval most = {.it_value = {.tv_usec = 300000}};
	uint64_t record[14];
	int pair[2];

	if (area == MAP_FAILED || !list)
		return 2;
	/* The calls may write to any descriptor. */
	pair[0] = open("/dev/null", O_RDWR);
	for (int fd = 0; fd < 3; fd++)
		dup2(pair[0], fd);
	close(pair[0]);
	for (int i = 2; i < argc; i++)
		keep(open(argv[i], O_RDWR | O_NONBLOCK));
	keep(epoll_create1(0));
	keep(memfd_create("fuzz", 0));
	keep(socket(AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT));
	if (!socketpair(AF_UNIX, SOCK_DGRAM, 0, pair)) {
		keep(pair[0]);
		keep(pair[1]);
	}
	setitimer(ITIMER_REAL, &most, NULL);
	while (fread(record, sizeof(record), 1, list) == 1) {
		uint64_t at = record[1] % BYTES;

		if (record[0] == 0) {
			memcpy(area + at, record + 2, at + 96 > BYTES ? BYTES - at : 96);
		} else if (record[0] == 1) {
			long word = value(record[2], record[3]);

			memcpy(area + at, &word, at + 8 > BYTES ? BYTES - at : 8);
		} else if (record[0] == 2) {
			const char *path = argv[2 + record[2] % (argc - 2)];

			if (at + strlen(path) < BYTES)
				strcpy(area + at, path);
		} else {
			unsigned which = record[1] % (sizeof(calls) / sizeof(*calls));
			int rule = calls[which].rule;
			long a[6], result;

			for (int i = 0; i < 6; i++)
				a[i] = value(record[2 + 2 * i], record[3 + 2 * i]);
			if (rule & CHANGES_1)
				a[1] = (long)argv[2 + record[5] % (argc - 2)];
			if (rule & CHANGES_0)
				a[0] = (long)argv[2 + record[3] % (argc - 2)];
			if (rule & FLAGS_2)
				a[2] &= ~making;
			if (rule & FLAGS_1)
				a[1] &= ~making;
			result = syscall(calls[which].nr, a[0], a[1], a[2], a[3], a[4], a[5]);
			if (rule & OPENS)
				keep(result);
		}
	}
	return 0;
}
