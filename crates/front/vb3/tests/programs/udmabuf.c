// Makes calls on /dev/udmabuf and prints a line for each. A second argument adds those that need a
// kernel with udmabuf.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/udmabuf.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGES 4
#define LEN (PAGES * 4096)

static int device;

static void say(const char *what, long result)
{
	printf("%s: %s\n", what, result < 0 ? strerrorname_np(errno) : "ok");
}

static int memory(int seals)
{
	int fd = memfd_create("udmabuf", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, LEN) || (seals && fcntl(fd, F_ADD_SEALS, seals)))
		perror("memfd");
	return fd;
}

static int create(int memfd, unsigned long long offset, unsigned long long size)
{
	struct udmabuf_create create = { .memfd = memfd, .flags = UDMABUF_FLAGS_CLOEXEC,
					 .offset = offset, .size = size };
	return ioctl(device, UDMABUF_CREATE, &create);
}

static int create_list(unsigned count, const struct udmabuf_create_item *items)
{
	char bytes[sizeof(struct udmabuf_create_list) + 2 * sizeof(*items)];
	struct udmabuf_create_list *list = (void *)bytes;
	memset(bytes, 0, sizeof(bytes));
	list->count = count;
	for (unsigned i = 0; items && i < count && i < 2; i++)
		list->list[i] = items[i];
	return ioctl(device, UDMABUF_CREATE_LIST, list);
}

// Writes through the dma-buf appear in the memfd, and vice versa.
static long shares(int memfd, int fd)
{
	char *of_buf = mmap(0, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	char *of_memfd = mmap(0, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	if (of_buf == MAP_FAILED || of_memfd == MAP_FAILED)
		return -1;
	memset(of_buf, 1, LEN);
	of_memfd[LEN - 1] = 2;
	struct dma_buf_sync sync = { DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW };
	long failed = ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync);
	errno = EILSEQ;
	return failed || of_memfd[0] != 1 || of_buf[LEN - 1] != 2 ? -1 : 0;
}

int main(int argc, char **argv)
{
	(void)argv;
	device = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	if (device < 0) {
		perror("/dev/udmabuf");
		return 2;
	}
	struct stat stat;
	say("character device", fstat(device, &stat) || !S_ISCHR(stat.st_mode) ? -1 : 0);
	int memfd = memory(F_SEAL_SHRINK), fd = create(memfd, 0, LEN);
	say("create", fd);
	say("close on exec", fcntl(fd, F_GETFD) == FD_CLOEXEC ? 0 : -1);
	printf("bytes: %ld\n", (long)lseek(fd, 0, SEEK_END));
	say("shares", shares(memfd, fd));
	close(memfd);
	say("shares without the memfd",
	    mmap(0, LEN, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
	close(fd);
	memfd = memory(F_SEAL_SHRINK);
	struct udmabuf_create_item item = { .memfd = memfd, .size = LEN };
	fd = create_list(1, &item);
	say("list of one", fd);
	close(fd);

	say("offset within a page", create(memfd, 1, 4096));
	say("size within a page", create(memfd, 0, 4095));
	say("nothing", create(memfd, 0, 0));
	say("beyond the end", create(memfd, 0, LEN + 4096));
	say("more than the limit", create(memfd, 0, (64ull << 20) + 4096));
	say("empty list", create_list(0, 0));
	say("long list", create_list(1025, 0));
	say("no memfd", create(open("/proc/self/stat", O_RDONLY), 0, 4096));
	say("no descriptor", create(999, 0, 4096));
	say("not sealed", create(memory(0), 0, 4096));
	say("sealed against writing", create(memory(F_SEAL_SHRINK | F_SEAL_WRITE), 0, 4096));
	say("no structure", ioctl(device, UDMABUF_CREATE, 0));
	say("other call", ioctl(device, _IO('u', 1), 0));
	device = dup2(device, 50);
	say("create at number 50", create(memfd, 0, LEN));
	if (argc > 1) {
		struct udmabuf_create_item two[2] = { item, item };
		say("list of two", create_list(2, two));
		say("from the second page on", create(memfd, 4096, 4096));
	}
	return 0;
}
