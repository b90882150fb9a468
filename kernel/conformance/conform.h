// SPDX-License-Identifier: MIT OR Apache-2.0
/* Shared by the conformance programs: calls, and output of their results. */
#ifndef CONFORM_H
#define CONFORM_H

#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define CAP V4L2_BUF_TYPE_VIDEO_CAPTURE
#define OUT V4L2_BUF_TYPE_VIDEO_OUTPUT
#define MMAP V4L2_MEMORY_MMAP
#define DMABUF V4L2_MEMORY_DMABUF
#define UNUSED __attribute__((unused))

static int fd;
static UNUSED uint32_t size;

static UNUSED void say(const char *name, const char *value)
{
	printf("%s %s\n", name, value);
	fflush(stdout);
}

static UNUSED const char *error_name(int error)
{
	return error ? strerrorname_np(error) : "0";
}

static UNUSED void check(const char *name, int ret)
{
	say(name, error_name(ret < 0 ? errno : 0));
}

static UNUSED void number(const char *name, long value)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", value);
	say(name, text);
}

static UNUSED int call(int on, unsigned long request, void *arg)
{
	int ret;

	do
		ret = ioctl(on, request, arg);
	while (ret < 0 && errno == EINTR);
	return ret;
}

static UNUSED int reqbufs(int on, int type, int memory, int count)
{
	struct v4l2_requestbuffers r = { .type = type, .memory = memory, .count = count };

	return call(on, VIDIOC_REQBUFS, &r);
}

static UNUSED struct v4l2_buffer buffer(int type, int memory, uint32_t index)
{
	return (struct v4l2_buffer){ .type = type, .memory = memory, .index = index };
}

static UNUSED int on_buffer(int on, unsigned long request, int type, int memory, uint32_t index)
{
	struct v4l2_buffer b = buffer(type, memory, index);

	return call(on, request, &b);
}

static UNUSED int expbuf(int on, uint32_t index, uint32_t plane, uint32_t flags, int *got)
{
	struct v4l2_exportbuffer e = {
		.type = CAP, .index = index, .plane = plane, .flags = flags,
	};
	int ret = call(on, VIDIOC_EXPBUF, &e);

	*got = ret ? -1 : e.fd;
	return ret;
}

static UNUSED long offset_of(uint32_t index)
{
	struct v4l2_buffer b = buffer(CAP, MMAP, index);

	return call(fd, VIDIOC_QUERYBUF, &b) ? -1 : (long)b.m.offset;
}

static UNUSED void try_mmap(const char *name, int on, size_t length, int prot, int flags, long offset)
{
	void *at = mmap(NULL, length, prot, flags, on, offset);

	say(name, error_name(at == MAP_FAILED ? errno : 0));
	if (at != MAP_FAILED)
		munmap(at, length);
}

#endif
