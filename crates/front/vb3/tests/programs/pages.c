/* Prints a machine's page size as a program sees it: mmap offsets, and lengths of buffers, dma-bufs
 * and a heap's memory, next to the program's page size. */
#include <fcntl.h>
#include <linux/dma-heap.h>
#include <linux/videodev2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static void need(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

static long long bytes_of(int fd)
{
	return lseek(fd, 0, SEEK_END);
}

int main(void)
{
	int fd = open("/dev/video0", O_RDWR);
	need(fd >= 0, "open");
	struct v4l2_requestbuffers request = {
		.count = 3, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP,
	};
	need(ioctl(fd, VIDIOC_REQBUFS, &request) == 0, "REQBUFS");
	printf("program: %ld\n", sysconf(_SC_PAGESIZE));
	for (unsigned i = 0; i < 3; i++) {
		struct v4l2_buffer buffer = {
			.index = i, .type = request.type, .memory = V4L2_MEMORY_MMAP,
		};
		need(ioctl(fd, VIDIOC_QUERYBUF, &buffer) == 0, "QUERYBUF");
		struct v4l2_exportbuffer export = { .type = request.type, .index = i };
		need(ioctl(fd, VIDIOC_EXPBUF, &export) == 0, "EXPBUF");
		printf("buffer %u: offset %u length %u dma-buf %lld\n", i, buffer.m.offset,
		       buffer.length, bytes_of(export.fd));
		char *at = mmap(NULL, buffer.length, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
				buffer.m.offset);
		need(at != MAP_FAILED, "mmap");
		char *shared = mmap(NULL, buffer.length, PROT_READ, MAP_SHARED, export.fd, 0);
		need(shared != MAP_FAILED, "mmap of a dma-buf");
		at[buffer.length - 1] = (char)(i + 1);
		need(shared[buffer.length - 1] == (char)(i + 1), "the same bytes");
		/* A page of the program's size, from a longer dma-buf. */
		char *second = mmap(NULL, 1, PROT_READ, MAP_SHARED, export.fd,
				    sysconf(_SC_PAGESIZE));
		need(second != MAP_FAILED, "mmap of a dma-buf's second page");
	}
	int heap = open("/dev/dma_heap/system", O_RDWR);
	need(heap >= 0, "heap");
	struct dma_heap_allocation_data data = { .len = 1, .fd_flags = O_RDWR };
	need(ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &data) == 0, "ALLOC");
	printf("heap: %lld\n", bytes_of(data.fd));
	return 0;
}
