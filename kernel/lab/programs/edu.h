// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Shared by the programs for the test driver: steps, buffers of every kind, and the transfer of bytes
 * from one buffer through the device to the other.
 */
#ifndef EDU_H
#define EDU_H

#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "foreign.h"

#define OUT V4L2_BUF_TYPE_VIDEO_OUTPUT
#define CAP V4L2_BUF_TYPE_VIDEO_CAPTURE
#define CHUNK 2048
#define HUGE (2u << 20)

static const char *prefix = "";
static int video = -1;
static uint32_t bytes;
/* The errno with which the next round trips must end; -1 if the reader of the output knows it. */
static int want = -1;

static UNUSED void step(const char *name, const char *format, ...)
{
	va_list args;

	printf("{\"step\":\"%s.%s\",", prefix, name);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	puts("}");
	fflush(stdout);
}

static UNUSED void parameter(const char *name, const char *value)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/sys/module/vb3edu/parameters/%s", name);
	fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		step("parameter", "\"ok\":false,\"name\":\"%s\"", name);
	close(fd);
}

/* Makes the Nth step from now inside our module fail; 0: none. */
static UNUSED void fail_at(unsigned int number)
{
	char text[16];
	int fd = open("/sys/module/videobuf2_dma_contig/parameters/fail_at", O_WRONLY);

	snprintf(text, sizeof(text), "%u", number);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		step("fail_at", "\"ok\":false,\"errno\":%d", errno);
	close(fd);
}

/* Returns a file's text, which is empty without the file. */
static UNUSED char *text_of(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t got = 0, more;

	while (fd >= 0 && (more = read(fd, text + got, size - 1 - got)) > 0)
		got += more;
	text[got] = 0;
	close(fd);
	return text;
}

static UNUSED int set_size(uint32_t size)
{
	struct v4l2_format f = { .type = OUT };
	int ret;

	f.fmt.pix.sizeimage = size;
	ret = call(video, VIDIOC_S_FMT, &f);
	bytes = size;
	return ret;
}

static UNUSED int reqbufs(int type, int memory, int count, unsigned int flags)
{
	struct v4l2_requestbuffers r = {
		.type = type, .memory = memory, .count = count, .flags = flags,
	};

	return call(video, VIDIOC_REQBUFS, &r);
}

/* A buffer of one of the three memory types, with the program's mapping of it. `flags` are hints for QBUF. */
struct buffer {
	int type, memory;
	uint8_t *view;
	int fd;
	unsigned int index, flags;
};

static UNUSED int mmap_buffer(struct buffer *b)
{
	struct v4l2_buffer v = { .type = b->type, .memory = V4L2_MEMORY_MMAP };
	int ret = call(video, VIDIOC_QUERYBUF, &v);

	if (ret)
		return ret;
	b->view = mmap(NULL, v.length, PROT_READ | PROT_WRITE, MAP_SHARED, video, v.m.offset);
	return b->view == MAP_FAILED ? errno : 0;
}

static UNUSED int qbuf(struct buffer *b)
{
	struct v4l2_buffer v = { .type = b->type, .memory = b->memory, .index = b->index,
				 .flags = b->flags, .field = V4L2_FIELD_NONE };

	if (b->memory == V4L2_MEMORY_USERPTR)
		v.m.userptr = (unsigned long)b->view;
	if (b->memory == V4L2_MEMORY_DMABUF)
		v.m.fd = b->fd;
	if (b->memory != V4L2_MEMORY_MMAP)
		v.length = bytes;
	v.bytesused = bytes;
	return call(video, VIDIOC_QBUF, &v);
}

static UNUSED int dqbuf(struct buffer *b)
{
	struct v4l2_buffer v = { .type = b->type, .memory = b->memory };
	int ret = call(video, VIDIOC_DQBUF, &v);

	if (ret)
		return ret;
	return v.flags & V4L2_BUF_FLAG_ERROR ? EIO : 0;
}

/* Returns user memory whose pages are not adjacent: touches every second page of a larger range
 * first, then the others, and prevents huge pages. */
static UNUSED uint8_t *scattered(uint32_t size)
{
	uint8_t *at = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint32_t page;

	madvise(at, 2 * size, MADV_NOHUGEPAGE);
	for (page = 0; page < size; page += 8192)
		at[page] = 1;
	for (page = size; page < 2 * size; page += 4096)
		at[page] = 1;
	for (page = 4096; page < size; page += 8192)
		at[page] = 1;
	munmap(at + size, size);
	return at;
}

/* Returns memory of one huge page, so that parts of it are contiguous. The page before it belongs to the
 * program, too. With memory above 4 GiB, the huge page lies there as long as there is room. */
static UNUSED uint8_t *huge_page(void)
{
	uint8_t *at = mmap(NULL, 3 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		exit(1);
	at = (uint8_t *)(((uintptr_t)at + 2 * HUGE - 1) & ~(uintptr_t)(HUGE - 1));
	madvise(at, HUGE, MADV_HUGEPAGE);
	memset(at, 1, HUGE);
	return at;
}

static UNUSED void cpu_access(struct buffer *b, int begin)
{
	struct dma_buf_sync s = {
		.flags = DMA_BUF_SYNC_RW | (begin ? DMA_BUF_SYNC_START : DMA_BUF_SYNC_END),
	};

	if (b->memory == V4L2_MEMORY_DMABUF)
		call(b->fd, DMA_BUF_IOCTL_SYNC, &s);
}

static UNUSED uint8_t pattern(uint32_t at, uint32_t seed)
{
	return (uint8_t)((at * 2654435761u + seed * 40503u) >> 11);
}

/* Counts wrong bytes in the device's copy: in `samples` chunks spread over the frame, or if that is 0,
 * in the whole frame. */
static UNUSED int wrong(const uint8_t *view, uint32_t seed, int samples)
{
	uint32_t chunk = samples ? CHUNK : bytes, n = samples ? samples : 1;
	int bad = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t at = n > 1 ? (uint64_t)(bytes - chunk) * i / (n - 1) : 0;

		for (uint32_t j = 0; j < chunk; j++)
			bad += view[at + j] != pattern(at + j, seed);
	}
	return bad;
}

/* Passes bytes through the device from one buffer to the other, and prints the result. Returns an errno. */
static UNUSED int round_trip(const char *name, struct buffer *out, struct buffer *cap, int samples)
{
	int on[2] = { OUT, CAP }, error = 0, bad = -1;
	static uint32_t seed;

	seed++;
	cpu_access(out, 1);
	for (uint32_t i = 0; i < bytes; i++)
		out->view[i] = pattern(i, seed);
	cpu_access(out, 0);
	cpu_access(cap, 1);
	memset(cap->view, 0xee, bytes);
	cpu_access(cap, 0);
	error = qbuf(out);
	if (!error)
		error = qbuf(cap);
	if (!error)
		error = call(video, VIDIOC_STREAMON, &on[0]);
	if (!error)
		error = call(video, VIDIOC_STREAMON, &on[1]);
	if (!error)
		error = dqbuf(out);
	if (!error)
		error = dqbuf(cap);
	if (!error) {
		cpu_access(cap, 1);
		bad = wrong(cap->view, seed, samples);
		cpu_access(cap, 0);
	}
	call(video, VIDIOC_STREAMOFF, &on[0]);
	call(video, VIDIOC_STREAMOFF, &on[1]);
	if (want < 0)
		step(name, "\"bytes\":%u,\"errno\":%d,\"wrong\":%d", bytes, error, bad);
	else
		step(name, "\"bytes\":%u,\"errno\":%d,\"wrong\":%d,\"want\":%d", bytes, error,
		     bad, want);
	return error;
}

/* Makes a buffer of the named kind. Returns an errno. */
static UNUSED int make(struct buffer *b, int type, const char *kind)
{
	int ret = 0;

	*b = (struct buffer){ .type = type, .fd = -1 };
	if (!strcmp(kind, "coherent") || !strcmp(kind, "noncoherent")) {
		b->memory = V4L2_MEMORY_MMAP;
		ret = reqbufs(type, b->memory, 1,
			      kind[0] == 'n' ? V4L2_MEMORY_FLAG_NON_COHERENT : 0);
		return ret ? ret : mmap_buffer(b);
	}
	b->memory = !strcmp(kind, "userptr") ? V4L2_MEMORY_USERPTR : V4L2_MEMORY_DMABUF;
	ret = reqbufs(type, b->memory, 1, 0);
	if (ret)
		return ret;
	if (b->memory == V4L2_MEMORY_USERPTR) {
		b->view = scattered(bytes);
		return b->view == MAP_FAILED ? errno : 0;
	}
	b->fd = !strcmp(kind, "heap") ? heap_buffer(bytes) : udmabuf(bytes);
	if (b->fd < 0)
		return ENODEV;
	b->view = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, 0);
	return b->view == MAP_FAILED ? errno : 0;
}

static UNUSED void unmake(struct buffer *b)
{
	if (b->view && b->view != MAP_FAILED)
		munmap(b->view, bytes);
	if (b->fd >= 0)
		close(b->fd);
	reqbufs(b->type, b->memory, 0, 0);
}

#endif
