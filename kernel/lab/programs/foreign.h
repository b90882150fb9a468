// SPDX-License-Identifier: MIT OR Apache-2.0
/* Memory of other exporters than videobuf2's allocators. Their users define _GNU_SOURCE. */
#ifndef FOREIGN_H
#define FOREIGN_H

#include <errno.h>
#include <fcntl.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))

/* Returns the errno of a call, 0 for success. */
static UNUSED int call(int fd, unsigned long request, void *arg)
{
	int ret;

	do
		ret = ioctl(fd, request, arg);
	while (ret < 0 && errno == EINTR);
	return ret < 0 ? errno : 0;
}

/* Returns a program's memory as a dma-buf, in pieces if it is longer than a page. */
static UNUSED int udmabuf(uint32_t size)
{
	struct udmabuf_create c = { .flags = UDMABUF_FLAGS_CLOEXEC, .size = size };
	int dev = open("/dev/udmabuf", O_RDWR), fd;
	uint8_t *view;

	c.memfd = memfd_create("frame", MFD_ALLOW_SEALING);
	if (dev < 0 || (int)c.memfd < 0 || ftruncate(c.memfd, size))
		return -1;
	view = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, c.memfd, 0);
	for (uint32_t page = 0; page < size; page += 8192)
		view[page] = 1;
	free(malloc(1 << 20));
	for (uint32_t page = 4096; page < size; page += 8192)
		view[page] = 1;
	munmap(view, size);
	fcntl(c.memfd, F_ADD_SEALS, F_SEAL_SHRINK);
	fd = ioctl(dev, UDMABUF_CREATE, &c);
	close(dev);
	close(c.memfd);
	return fd;
}

/* Returns memory of the system heap, or of udmabuf in kernels without heaps, such as Debian's for
 * arm64. */
static UNUSED int heap_buffer(uint32_t size)
{
	struct dma_heap_allocation_data a = { .len = size, .fd_flags = O_RDWR | O_CLOEXEC };
	int heap = open("/dev/dma_heap/system", O_RDONLY);
	int ret;

	if (heap < 0)
		return udmabuf(size);
	ret = call(heap, DMA_HEAP_IOCTL_ALLOC, &a);
	close(heap);
	return ret ? -1 : (int)a.fd;
}

#endif
