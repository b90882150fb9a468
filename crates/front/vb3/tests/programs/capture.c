// Captures frames with raw system calls and no C library call in between, and writes them to a
// file: capture mmap|read|poll|loop COUNT FILE [NODE].
//
// "loop" streams forever with exported buffers mapped, until a test kills it at some moment.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BUFFERS 4

static long must(long result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "capture: %s: %s\n", what, strerror(errno));
		exit(1);
	}
	return result;
}

static void write_all(int fd, const unsigned char *bytes, size_t length)
{
	while (length > 0) {
		long done = must(syscall(SYS_write, fd, bytes, length), "write");
		bytes += done;
		length -= (size_t)done;
	}
}

static struct v4l2_buffer buffer(unsigned index)
{
	struct v4l2_buffer b;
	memset(&b, 0, sizeof(b));
	b.index = index;
	b.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
	b.memory = V4L2_MEMORY_MMAP;
	return b;
}

static long control(int fd, unsigned long request, void *argument)
{
	return syscall(SYS_ioctl, fd, request, argument);
}

/* Waits at most 5 seconds. Not every architecture has a call named poll. */
static long wait_for(struct pollfd *waiting)
{
#ifdef SYS_poll
	return syscall(SYS_poll, waiting, 1, 5000);
#else
	struct timespec limit = { .tv_sec = 5 };

	return syscall(SYS_ppoll, waiting, 1, &limit, NULL, 8);
#endif
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	const char *mode = argv[1];
	int loop = !strcmp(mode, "loop");
	long count = loop ? -1 : atol(argv[2]);
	int out = (int)must(syscall(SYS_openat, AT_FDCWD, argv[3], O_WRONLY | O_CREAT | O_TRUNC, 0644), argv[3]);
	const char *node = argc > 4 ? argv[4] : "/dev/video0";
	int fd = (int)must(syscall(SYS_openat, AT_FDCWD, node, O_RDWR, 0), node);

	struct v4l2_format format;
	memset(&format, 0, sizeof(format));
	format.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
	must(control(fd, VIDIOC_G_FMT, &format), "G_FMT");
	size_t size = format.fmt.pix.sizeimage;

	if (!strcmp(mode, "read")) {
		unsigned char *frame = malloc(size);
		for (long i = 0; frame && i < count; i++) {
			long done = must(syscall(SYS_read, fd, frame, size), "read");
			if ((size_t)done != size) {
				fprintf(stderr, "capture: read gave %ld of %zu bytes\n", done, size);
				return 1;
			}
			write_all(out, frame, size);
		}
		return 0;
	}

	struct v4l2_requestbuffers request;
	memset(&request, 0, sizeof(request));
	request.count = BUFFERS;
	request.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
	request.memory = V4L2_MEMORY_MMAP;
	must(control(fd, VIDIOC_REQBUFS, &request), "REQBUFS");
	if (request.count > BUFFERS)
		request.count = BUFFERS;
	unsigned char *mapped[BUFFERS];
	for (unsigned i = 0; i < request.count; i++) {
		struct v4l2_buffer b = buffer(i);
		must(control(fd, VIDIOC_QUERYBUF, &b), "QUERYBUF");
		mapped[i] = (unsigned char *)must(
			syscall(SYS_mmap, 0, b.length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, b.m.offset), "mmap");
		if (loop) {
			struct v4l2_exportbuffer e;
			memset(&e, 0, sizeof(e));
			e.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
			e.index = i;
			e.flags = O_RDWR | O_CLOEXEC;
			must(control(fd, VIDIOC_EXPBUF, &e), "EXPBUF");
			must(syscall(SYS_mmap, 0, b.length, PROT_READ, MAP_SHARED, e.fd, 0), "mmap of a dma-buf");
		}
		must(control(fd, VIDIOC_QBUF, &b), "QBUF");
	}
	int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
	must(control(fd, VIDIOC_STREAMON, &type), "STREAMON");
	for (long i = 0; i != count; i++) {
		struct pollfd waiting = { .fd = fd, .events = POLLIN };
		if (loop || !strcmp(mode, "poll"))
			must(wait_for(&waiting), "poll");
		struct v4l2_buffer b = buffer(0);
		must(control(fd, VIDIOC_DQBUF, &b), "DQBUF");
		if (!loop)
			write_all(out, mapped[b.index], b.bytesused);
		must(control(fd, VIDIOC_QBUF, &b), "QBUF");
	}
	must(control(fd, VIDIOC_STREAMOFF, &type), "STREAMOFF");
	return 0;
}
