// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Random operations on the test driver's device (instant=1): allocations of every kind, exports
 * that outlive their queue, mappings, imports, user pointers, streaming. Ends by itself after
 * COUNT operations, or whenever it is killed.
 *
 *   stress DEVICE SEED COUNT [foreign|failing]
 *
 * With `foreign`, imported dma-bufs come from the system heap. videobuf2's core leaks its reference to
 * a dma-buf whose import fails. If that were the device's own dma-buf, the module could not be unloaded.
 *
 * `failing` does the same, and the kernel makes allocations for this program fail, as its fault
 * injection is set.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/videodev2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "foreign.h"

#define KEPT 16

static int video;
static uint64_t state;
static int fds[KEPT];
static void *views[KEPT];
static uint32_t bytes = 65536;
static uint8_t *user;
/* One per buffer: the checkers report memory that is mapped twice at a time. */
static int foreign[2][4];
static int is_foreign;

static uint32_t pick(uint32_t n)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(state >> 33) % n;
}

static int type_of(uint32_t at)
{
	return at ? V4L2_BUF_TYPE_VIDEO_CAPTURE : V4L2_BUF_TYPE_VIDEO_OUTPUT;
}

/* The result of a call does not matter here: each may be refused. */
static void one(void)
{
	int type = type_of(pick(2));
	struct v4l2_requestbuffers r = { .type = type };
	struct v4l2_buffer b = { .type = type, .index = pick(4), .field = V4L2_FIELD_NONE };
	struct v4l2_exportbuffer e = { .type = type, .index = pick(4), .flags = O_RDWR | O_CLOEXEC };
	struct dma_buf_sync s = { .flags = pick(8) };
	uint32_t at = pick(KEPT);

	switch (pick(12)) {
	case 0:
		r.memory = (const int[]){ V4L2_MEMORY_MMAP, V4L2_MEMORY_USERPTR,
					  V4L2_MEMORY_DMABUF }[pick(3)];
		r.count = pick(5);
		r.flags = pick(2);
		ioctl(video, VIDIOC_REQBUFS, &r);
		break;
	case 1:
		if (fds[at] >= 0)
			close(fds[at]);
		fds[at] = ioctl(video, VIDIOC_EXPBUF, &e) ? -1 : e.fd;
		break;
	case 2:
		if (views[at])
			munmap(views[at], bytes);
		views[at] = NULL;
		b.memory = V4L2_MEMORY_MMAP;
		if (ioctl(video, VIDIOC_QUERYBUF, &b))
			break;
		views[at] = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, video,
				 b.m.offset);
		if (views[at] == MAP_FAILED)
			views[at] = NULL;
		else
			memset(views[at], 1, 4096);
		break;
	case 3:
		if (fds[at] >= 0)
			ioctl(fds[at], DMA_BUF_IOCTL_SYNC, &s);
		break;
	case 4:
		ioctl(video, VIDIOC_STREAMON, &type);
		break;
	case 5:
		ioctl(video, VIDIOC_STREAMOFF, &type);
		break;
	case 6:
		b.memory = V4L2_MEMORY_USERPTR;
		b.m.userptr = (unsigned long)user + 4096 * pick(4);
		b.length = bytes;
		b.bytesused = bytes;
		ioctl(video, VIDIOC_QBUF, &b);
		break;
	case 7:
	case 8:
		b.memory = V4L2_MEMORY_DMABUF;
		b.m.fd = is_foreign ? foreign[type == type_of(1)][b.index] : fds[at];
		b.length = bytes;
		b.bytesused = bytes;
		ioctl(video, VIDIOC_QBUF, &b);
		break;
	case 9:
	case 10:
		b.memory = V4L2_MEMORY_MMAP;
		b.bytesused = bytes;
		ioctl(video, VIDIOC_QBUF, &b);
		break;
	default:
		b.memory = (const int[]){ V4L2_MEMORY_MMAP, V4L2_MEMORY_USERPTR,
					  V4L2_MEMORY_DMABUF }[pick(3)];
		ioctl(video, VIDIOC_DQBUF, &b);
	}
}

int main(int argc, char **argv)
{
	long count = argc > 3 ? atol(argv[3]) : 1000;

	video = open(argv[1], O_RDWR | O_NONBLOCK);
	if (video < 0)
		return 1;
	state = strtoull(argv[2], NULL, 0);
	for (int i = 0; i < KEPT; i++)
		fds[i] = -1;
	user = mmap(NULL, 2 * bytes, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	is_foreign = argc > 4;
	if (is_foreign) {
		for (int i = 0; i < 8; i++) {
			int fd = heap_buffer(bytes);

			if (fd < 0)
				return 2;
			foreign[i / 4][i % 4] = fd;
		}
	}
	if (argc > 4 && !strcmp(argv[4], "failing")) {
		int fail = open("/proc/self/make-it-fail", O_WRONLY);

		if (fail < 0 || write(fail, "1", 1) != 1)
			return 1;
		close(fail);
	}
	while (count--)
		one();
	return 0;
}
