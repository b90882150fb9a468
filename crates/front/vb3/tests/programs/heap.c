// Makes calls on a dma-heap and prints a line for each: heap NODE MORE. MORE is a size that exceeds the
// heap.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static int heap;

static void say(const char *what, long result)
{
	printf("%s: %s\n", what, result < 0 ? strerrorname_np(errno) : "ok");
}

static int allocate(unsigned long long len, unsigned fd, unsigned fd_flags, unsigned long long flags)
{
	struct dma_heap_allocation_data data = {
		.len = len, .fd = fd, .fd_flags = fd_flags, .heap_flags = flags
	};
	return ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &data) < 0 ? -1 : (int)data.fd;
}

static void list(void)
{
	struct dirent *entry;
	DIR *dir = opendir("/dev/dma_heap");
	char *names[16] = { 0 };
	int count = 0;
	while (dir && (entry = readdir(dir)) && count < 16)
		if (entry->d_name[0] != '.' && entry->d_type == DT_CHR)
			names[count++] = strdup(entry->d_name);
	for (int i = 0; i < count; i++)
		for (int k = i + 1; k < count; k++)
			if (strcmp(names[i], names[k]) > 0) {
				char *swap = names[i];
				names[i] = names[k];
				names[k] = swap;
			}
	printf("listed:");
	for (int i = 0; i < count; i++)
		printf(" %s", names[i]);
	printf("\n");
}

// All bytes are zero; writes through one mapping appear in another.
static long use(int fd, size_t len)
{
	unsigned char *at = mmap(0, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	unsigned char *again = mmap(0, len, PROT_READ, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED || again == MAP_FAILED)
		return -1;
	struct dma_buf_sync sync = { DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW };
	if (ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync) < 0)
		return -1;
	errno = EILSEQ;
	for (size_t i = 0; i < len; i++)
		if (at[i])
			return -1;
	memset(at, 0x5a, len);
	for (size_t i = 0; i < len; i++)
		if (again[i] != 0x5a)
			return -1;
	sync.flags = DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW;
	return ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync) | munmap(at, len) | munmap(again, len);
}

int main(int argc, char **argv)
{
	if (argc != 3 || (heap = open(argv[1], O_RDONLY | O_CLOEXEC)) < 0) {
		perror(argc > 1 ? argv[1] : "heap NODE MORE");
		return 2;
	}
	struct stat stat;
	list();
	say("character device", fstat(heap, &stat) || !S_ISCHR(stat.st_mode) ? -1 : 0);
	int dir = open("/dev/dma_heap", O_RDONLY | O_DIRECTORY);
	int relative = openat(dir, strrchr(argv[1], '/') + 1, O_RDONLY);
	say("openat", relative);
	close(relative);

	int fd = allocate(100000, 0, O_RDWR | O_CLOEXEC, 0);
	say("alloc", fd);
	say("close on exec", fcntl(fd, F_GETFD) == FD_CLOEXEC ? 0 : -1);
	printf("bytes: %ld\n", (long)lseek(fd, 0, SEEK_END));
	say("use", use(fd, 102400));
	say("rename", ioctl(fd, DMA_BUF_SET_NAME, "heap"));
	close(fd);
	// Allocates more often than the memory would last. At the beginning and at the end, all bytes are zero.
	int times = (strtoull(argv[2], 0, 0) >> 20) + 8;
	for (int i = 0; i < times && fd >= 0; i++) {
		fd = allocate(1 << 20, 0, O_RDWR, 0);
		if ((i < 3 || i + 3 >= times) && fd >= 0 && use(fd, 1 << 20) < 0) {
			close(fd);
			fd = -1;
			errno = EILSEQ;
			break;
		}
		close(fd);
	}
	say("many times", fd);
	fd = allocate(4096, 0, O_RDONLY, 0);
	say("read-only, mapped for writing",
	    mmap(0, 4096, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
	close(fd);

	say("no bytes", allocate(0, 0, O_RDWR, 0));
	say("all bytes", allocate(~0ull, 0, O_RDWR, 0));
	say("more bytes", allocate(strtoull(argv[2], 0, 0), 0, O_RDWR, 0));
	say("more than any machine has", allocate(1ull << 50, 0, O_RDWR, 0));
	say("fd given", allocate(4096, 1, O_RDWR, 0));
	say("wrong fd flags", allocate(4096, 0, O_RDWR | O_NONBLOCK, 0));
	say("heap flags", allocate(4096, 0, O_RDWR, 1));
	say("no structure", ioctl(heap, DMA_HEAP_IOCTL_ALLOC, 0));
	say("next call", ioctl(heap, _IOWR('H', 1, struct dma_heap_allocation_data), 0));
	char byte;
	say("read", read(heap, &byte, 1));
	say("mmap", mmap(0, 4096, PROT_READ, MAP_SHARED, heap, 0) == MAP_FAILED ? -1 : 0);
	struct pollfd poll_heap = { .fd = heap, .events = POLLIN | POLLOUT };
	say("poll", poll(&poll_heap, 1, 0) == 1 ? 0 : -1);
	heap = dup2(heap, 50);
	say("alloc at number 50", allocate(4096, 0, O_RDWR, 0));
	return 0;
}
