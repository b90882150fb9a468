// Shared by the clients of the errno table: calls that return a number or -1, and output of the result.
#pragma once
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef VIDIOC_REMOVE_BUFS
struct v4l2_remove_buffers {
	__u32 index, count, type, reserved[13];
};
#define VIDIOC_REMOVE_BUFS _IOWR('V', 104, struct v4l2_remove_buffers)
#endif

#define MAX_PLANES_GIVEN 9

// Each client uses some of these.
#pragma GCC diagnostic ignored "-Wunused-function"

static const char *node, *exporter_node;
static int out, mplane;
static unsigned type;
static unsigned size; // sizeimage of plane 0
static unsigned planes = 1;
static struct v4l2_plane plane_array[MAX_PLANES_GIVEN];

static void die(const char *what)
{
	fprintf(stderr, "rows: %s: %s\n", what, strerror(errno));
	exit(1);
}

// Prints a row: the errno's name, or the number.
static void say(const char *id, long result)
{
	if (result < 0)
		printf("%s %s\n", id, strerrorname_np(errno));
	else
		printf("%s %ld\n", id, result);
	fflush(stdout);
}

static void say_poll(const char *id, int fd, short events, int timeout)
{
	struct pollfd p = { .fd = fd, .events = events };
	int n = poll(&p, 1, timeout);
	printf("%s ret=%d rev=%x\n", id, n, n > 0 ? (unsigned)p.revents : 0u);
	fflush(stdout);
}

static int open_node(const char *path, int flags)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | flags);
	if (fd < 0)
		die(path);
	return fd;
}

static int device(void)
{
	return open_node(node, O_NONBLOCK);
}

static unsigned other_type(void)
{
	if (mplane)
		return out ? V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE : V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE;
	return out ? V4L2_BUF_TYPE_VIDEO_CAPTURE : V4L2_BUF_TYPE_VIDEO_OUTPUT;
}

static long request(int fd, unsigned of, unsigned memory, unsigned count)
{
	struct v4l2_requestbuffers r;
	memset(&r, 0, sizeof(r));
	r.count = count;
	r.type = of;
	r.memory = memory;
	return ioctl(fd, VIDIOC_REQBUFS, &r) < 0 ? -1 : (long)r.count;
}

static long mmap_buffers(int fd, unsigned count)
{
	return request(fd, type, V4L2_MEMORY_MMAP, count);
}

static struct v4l2_format get_format(int fd, unsigned of)
{
	struct v4l2_format f;
	memset(&f, 0, sizeof(f));
	f.type = of;
	if (ioctl(fd, VIDIOC_G_FMT, &f) < 0)
		die("G_FMT");
	return f;
}

static long set_same_format(int fd)
{
	struct v4l2_format f = get_format(fd, type);
	return ioctl(fd, VIDIOC_S_FMT, &f);
}

static struct v4l2_create_buffers creation(int fd, unsigned count, unsigned memory)
{
	struct v4l2_create_buffers c;
	memset(&c, 0, sizeof(c));
	c.count = count;
	c.memory = memory;
	c.format = get_format(fd, type);
	return c;
}

static long create(int fd, struct v4l2_create_buffers c)
{
	return ioctl(fd, VIDIOC_CREATE_BUFS, &c) < 0 ? -1 : (long)c.count;
}

static long create_count(int fd, unsigned count)
{
	return create(fd, creation(fd, count, V4L2_MEMORY_MMAP));
}

static long remove_of(int fd, unsigned of, unsigned index, unsigned count)
{
	struct v4l2_remove_buffers r;
	memset(&r, 0, sizeof(r));
	r.index = index;
	r.count = count;
	r.type = of;
	return ioctl(fd, VIDIOC_REMOVE_BUFS, &r);
}

static long remove_range(int fd, unsigned index, unsigned count)
{
	return remove_of(fd, type, index, count);
}

static struct v4l2_buffer buffer(unsigned index)
{
	struct v4l2_buffer b;
	memset(&b, 0, sizeof(b));
	b.index = index;
	b.type = type;
	b.memory = V4L2_MEMORY_MMAP;
	if (mplane) {
		memset(plane_array, 0, sizeof(plane_array));
		b.m.planes = plane_array;
		b.length = planes;
	}
	return b;
}

static long call(int fd, unsigned long what, struct v4l2_buffer b)
{
	return ioctl(fd, what, &b);
}

static long qbuf(int fd, unsigned index)
{
	return call(fd, VIDIOC_QBUF, buffer(index));
}

static long queue_user(int fd, unsigned index, void *at, unsigned length)
{
	struct v4l2_buffer b = buffer(index);
	b.memory = V4L2_MEMORY_USERPTR;
	b.m.userptr = (unsigned long)at;
	b.length = length;
	return call(fd, VIDIOC_QBUF, b);
}

static long queue_dmabuf(int fd, unsigned index, int dmabuf, unsigned length, unsigned used)
{
	struct v4l2_buffer b = buffer(index);
	b.memory = V4L2_MEMORY_DMABUF;
	b.m.fd = dmabuf;
	b.length = length;
	b.bytesused = used;
	return call(fd, VIDIOC_QBUF, b);
}

static long stream_of(int fd, int on, unsigned of)
{
	return ioctl(fd, on ? VIDIOC_STREAMON : VIDIOC_STREAMOFF, &of);
}

static long stream(int fd, int on)
{
	return stream_of(fd, on, type);
}

// Returns a dma-buf's descriptor, or -1.
static long export_of(int fd, unsigned of, unsigned index, unsigned plane, unsigned flags)
{
	struct v4l2_exportbuffer e;
	memset(&e, 0, sizeof(e));
	e.type = of;
	e.index = index;
	e.plane = plane;
	e.flags = flags;
	return ioctl(fd, VIDIOC_EXPBUF, &e) < 0 ? -1 : e.fd;
}

static long export_buffer(int fd, unsigned index, unsigned plane, unsigned flags)
{
	long result = export_of(fd, type, index, plane, flags);
	if (result < 0)
		return -1;
	close((int)result);
	return 0;
}

static void *map(int fd, size_t length, int prot, int flags, long offset)
{
	return mmap(NULL, length, prot, flags, fd, offset);
}

static long try_map(int fd, size_t length, int prot, int flags, long offset)
{
	void *at = map(fd, length, prot, flags, offset);
	if (at == MAP_FAILED)
		return -1;
	munmap(at, length);
	return 0;
}

static long cookie(int fd, unsigned index)
{
	struct v4l2_buffer b = buffer(index);
	if (ioctl(fd, VIDIOC_QUERYBUF, &b) < 0)
		die("QUERYBUF");
	return mplane ? (long)plane_array[0].m.mem_offset : (long)b.m.offset;
}

// Calls read() or write(), according to the device's direction.
static long transfer(int fd, void *at, size_t length)
{
	return out ? write(fd, at, length) : read(fd, at, length);
}

// Returns a dma-buf of at least `bytes` from a single-planar device of the other direction.
static int foreign_dmabuf(unsigned bytes)
{
	unsigned of = out ? V4L2_BUF_TYPE_VIDEO_CAPTURE : V4L2_BUF_TYPE_VIDEO_OUTPUT;
	int fd = open_node(exporter_node, O_NONBLOCK);
	struct v4l2_create_buffers c;
	memset(&c, 0, sizeof(c));
	c.count = 1;
	c.memory = V4L2_MEMORY_MMAP;
	c.format = get_format(fd, of);
	if (bytes <= 4096) {
		// The smallest possible picture: one page.
		c.format.fmt.pix.width = c.format.fmt.pix.height = 2;
		if (ioctl(fd, VIDIOC_S_FMT, &c.format) < 0)
			die("S_FMT at the exporter");
	} else if (c.format.fmt.pix.sizeimage < bytes) {
		c.format.fmt.pix.sizeimage = bytes;
	}
	if (ioctl(fd, VIDIOC_CREATE_BUFS, &c) < 0)
		die("CREATE_BUFS at the exporter");
	long dmabuf = export_of(fd, of, c.index, 0, O_RDWR | O_CLOEXEC);
	if (dmabuf < 0)
		die("EXPBUF at the exporter");
	// The close orphans the buffer; the dma-buf survives.
	close(fd);
	return (int)dmabuf;
}

static void set_up(int argc, char **argv, int is_mplane)
{
	if (argc < 4) {
		fprintf(stderr, "usage: %s cap|out NODE EXPORTER [userptr]\n", argv[0]);
		exit(2);
	}
	out = !strcmp(argv[1], "out");
	mplane = is_mplane;
	node = argv[2];
	exporter_node = argv[3];
	type = mplane ? (out ? V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE : V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE)
		      : (out ? V4L2_BUF_TYPE_VIDEO_OUTPUT : V4L2_BUF_TYPE_VIDEO_CAPTURE);
	int fd = device();
	struct v4l2_format f = get_format(fd, type);
	size = mplane ? f.fmt.pix_mp.plane_fmt[0].sizeimage : f.fmt.pix.sizeimage;
	planes = mplane ? f.fmt.pix_mp.num_planes : 1;
	close(fd);
}
