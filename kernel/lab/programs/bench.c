// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Times operations of the loaded module through the driver of kernel/lab/driver (instant=1). One line of
 * JSON for each: nanoseconds for one operation, the median of the rounds.
 *
 *   bench DEVICE PREFIX
 */
#define _GNU_SOURCE
#include "edu.h"
#include <time.h>

#define ROUNDS 21

static void must(int fd, unsigned long request, void *arg, const char *what)
{
	if (ioctl(fd, request, arg) < 0) {
		printf("{\"step\":\"%s.bench.%s\",\"ok\":false,\"errno\":%d}\n", prefix, what, errno);
		exit(1);
	}
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void report(const char *name, uint64_t *ns, uint32_t per)
{
	qsort(ns, ROUNDS, sizeof(*ns), by_size);
	printf("{\"step\":\"%s.bench.%s\",\"ns\":%llu}\n", prefix, name,
	       (unsigned long long)(ns[ROUNDS / 2] / per));
	fflush(stdout);
}

static void request(int type, int memory, int count)
{
	struct v4l2_requestbuffers r = { .type = type, .memory = memory, .count = count };

	must(video, VIDIOC_REQBUFS, &r, "reqbufs");
}

static void cycle(int memory, uint32_t index, unsigned long at)
{
	struct v4l2_buffer v = {
		.type = OUT, .memory = memory, .index = index, .bytesused = bytes, .length = bytes,
	};

	if (memory == V4L2_MEMORY_USERPTR)
		v.m.userptr = at;
	else if (memory == V4L2_MEMORY_DMABUF)
		v.m.fd = at;
	must(video, VIDIOC_QBUF, &v, "qbuf");
	memset(&v, 0, sizeof(v));
	v.type = OUT;
	v.memory = memory;
	must(video, VIDIOC_DQBUF, &v, "dqbuf");
}

static void allocate(const char *name, uint32_t size)
{
	uint64_t ns[ROUNDS];

	set_size(size);
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t start = now();

		for (int j = 0; j < 16; j++) {
			request(OUT, V4L2_MEMORY_MMAP, 2);
			request(OUT, V4L2_MEMORY_MMAP, 0);
		}
		ns[i] = now() - start;
	}
	report(name, ns, 32);
}

static void map_and_export(void)
{
	struct v4l2_exportbuffer e = { .type = OUT, .flags = O_CLOEXEC };
	struct v4l2_buffer v = { .type = OUT, .memory = V4L2_MEMORY_MMAP };
	uint64_t ns[ROUNDS];

	set_size(65536);
	request(OUT, V4L2_MEMORY_MMAP, 1);
	must(video, VIDIOC_QUERYBUF, &v, "querybuf");
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t start = now();

		for (int j = 0; j < 64; j++)
			munmap(mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, video,
				    v.m.offset), bytes);
		ns[i] = now() - start;
	}
	report("mmap", ns, 64);
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t start = now();

		for (int j = 0; j < 64; j++) {
			must(video, VIDIOC_EXPBUF, &e, "expbuf");
			close(e.fd);
		}
		ns[i] = now() - start;
	}
	report("expbuf", ns, 64);
	request(OUT, V4L2_MEMORY_MMAP, 0);
}

static void streaming(const char *name, int memory, unsigned long a, unsigned long b, int moving)
{
	int type = OUT;
	uint64_t ns[ROUNDS];

	request(OUT, memory, 2);
	must(video, VIDIOC_STREAMON, &type, "streamon");
	cycle(memory, 0, a);
	cycle(memory, 1, a);
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t start = now();

		for (int j = 0; j < 64; j++)
			cycle(memory, moving == 2 ? j & 1 : 0, moving == 1 && (j & 1) ? b : a);
		ns[i] = now() - start;
	}
	report(name, ns, 64);
	must(video, VIDIOC_STREAMOFF, &type, "streamoff");
	request(OUT, memory, 0);
}

/*
 * Makes dma-bufs of buffers of the other queue: the loaded module is then both exporter and importer. Their
 * pages are contiguous, because the cost of mapping scattered pages depends on the places that the kernel
 * chose for them.
 */
static void exported(int fds[2])
{
	parameter("attrs", "64"); /* DMA_ATTR_FORCE_CONTIGUOUS */
	request(CAP, V4L2_MEMORY_MMAP, 2);
	parameter("attrs", "0");
	for (int i = 0; i < 2; i++) {
		struct v4l2_exportbuffer e = { .type = CAP, .index = i, .flags = O_CLOEXEC };

		must(video, VIDIOC_EXPBUF, &e, "expbuf");
		fds[i] = e.fd;
	}
}

int main(int argc, char **argv)
{
	uint8_t *a, *b;
	int own[2], heap[2];

	prefix = argc > 2 ? argv[2] : "x";
	video = open(argv[1], O_RDWR);
	if (video < 0)
		return 1;
	allocate("alloc-4k", 4096);
	allocate("alloc-64k", 65536);
	allocate("alloc-1m", 1 << 20);
	map_and_export();
	streaming("cycle-mmap", V4L2_MEMORY_MMAP, 0, 0, 0);
	exported(own);
	streaming("export-moving", V4L2_MEMORY_DMABUF, own[0], own[1], 1);
	/* Only an IOMMU makes user memory contiguous. */
	if (argc > 3 && !strcmp(argv[3], "iommu")) {
		/* Parts of a huge page are contiguous, for the same reason as in exported(). */
		a = huge_page();
		b = a + bytes;
		streaming("cycle-userptr", V4L2_MEMORY_USERPTR, (unsigned long)a, 0, 0);
		streaming("userptr-moving", V4L2_MEMORY_USERPTR, (unsigned long)a,
			  (unsigned long)b, 1);
		heap[0] = heap_buffer(bytes);
		heap[1] = heap_buffer(bytes);
		streaming("cycle-dmabuf", V4L2_MEMORY_DMABUF, heap[0], 0, 0);
		streaming("dmabuf-moving", V4L2_MEMORY_DMABUF, heap[0], heap[1], 1);
		streaming("dmabuf-other-index", V4L2_MEMORY_DMABUF, heap[0], 0, 2);
	}
	return 0;
}
