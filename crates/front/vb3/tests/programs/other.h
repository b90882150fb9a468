// dma-bufs that other drivers make: udmabuf, and the system heap.
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define UDMABUF "/dev/udmabuf"
#define HEAP "/dev/dma_heap/system"

static size_t whole_pages(size_t bytes)
{
	return (bytes + 4095) & ~(size_t)4095;
}

static int udmabuf(size_t bytes)
{
	int device = open(UDMABUF, O_RDWR | O_CLOEXEC);
	if (device < 0)
		return -1;
	int memfd = memfd_create("rows", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct udmabuf_create create = { .memfd = (unsigned)memfd,
					 .flags = UDMABUF_FLAGS_CLOEXEC,
					 .size = whole_pages(bytes) };
	int fd = -1;
	if (memfd >= 0 && !ftruncate(memfd, (off_t)create.size) &&
	    !fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK))
		fd = ioctl(device, UDMABUF_CREATE, &create);
	int saved = errno;
	close(memfd);
	close(device);
	errno = saved;
	return fd;
}

static int heap_buffer(size_t bytes)
{
	const char *heap = getenv("HEAP");
	int device = open(heap ? heap : HEAP, O_RDWR | O_CLOEXEC);
	if (device < 0)
		return -1;
	struct dma_heap_allocation_data data = { .len = whole_pages(bytes),
						 .fd_flags = O_RDWR | O_CLOEXEC };
	int result = ioctl(device, DMA_HEAP_IOCTL_ALLOC, &data), saved = errno;
	close(device);
	errno = saved;
	return result < 0 ? -1 : (int)data.fd;
}

// A dma-buf of KIND ("udmabuf" or "heap"), or -1.
static int other_buffer(const char *kind, size_t bytes)
{
	return !strcmp(kind, "heap") ? heap_buffer(bytes) : udmabuf(bytes);
}
