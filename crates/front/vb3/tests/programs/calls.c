// Single calls whose refusals a test reads:
// calls create BYTES | calls request COUNT… | calls userptr | calls stale sync|skip node|dmabuf.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/videodev2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef V4L2_MEMORY_FLAG_NON_COHERENT
#define V4L2_MEMORY_FLAG_NON_COHERENT 1
#endif

static void must(int result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "calls: %s: %s\n", what, strerror(errno));
		exit(1);
	}
}

static void say(const char *what, int result)
{
	printf("%s %s\n", what, result < 0 ? strerrorname_np(errno) : "0");
}

static struct v4l2_format format(int fd, unsigned type)
{
	struct v4l2_format f;
	memset(&f, 0, sizeof(f));
	f.type = type;
	must(ioctl(fd, VIDIOC_G_FMT, &f), "G_FMT");
	return f;
}

static int request(int fd, unsigned type, unsigned memory, unsigned flags)
{
	struct v4l2_requestbuffers r;
	memset(&r, 0, sizeof(r));
	r.count = 2;
	r.type = type;
	r.memory = memory;
	// The field was "reserved" in older headers.
	memcpy((char *)&r + 16, &flags, 1);
	return ioctl(fd, VIDIOC_REQBUFS, &r);
}

static struct v4l2_buffer buffer(unsigned type, unsigned memory)
{
	struct v4l2_buffer b;
	memset(&b, 0, sizeof(b));
	b.type = type;
	b.memory = memory;
	return b;
}

static void create(int fd, unsigned bytes)
{
	struct v4l2_create_buffers c;
	memset(&c, 0, sizeof(c));
	c.count = 1;
	c.memory = V4L2_MEMORY_MMAP;
	c.format = format(fd, V4L2_BUF_TYPE_VIDEO_CAPTURE);
	c.format.fmt.pix.sizeimage = bytes;
	say("CREATE_BUFS", ioctl(fd, VIDIOC_CREATE_BUFS, &c));
}

// Calls REQBUFS with each number of buffers; prints how many it gets, and whether all can be queued.
static void counts(int fd, char **words)
{
	unsigned type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
	for (; *words; words++) {
		struct v4l2_requestbuffers r = { .count = (unsigned)atoi(*words), .type = type, .memory = V4L2_MEMORY_MMAP };
		if (ioctl(fd, VIDIOC_REQBUFS, &r) < 0) {
			printf("%s: %s\n", *words, strerrorname_np(errno));
			// A call in between that succeeds.
			format(fd, type);
			continue;
		}
		unsigned queued = 0;
		for (; queued < r.count; queued++) {
			struct v4l2_buffer b = buffer(type, V4L2_MEMORY_MMAP);
			b.index = queued;
			if (ioctl(fd, VIDIOC_QBUF, &b) < 0)
				break;
		}
		printf("%s: %u, %u queued\n", *words, r.count, queued);
	}
}

static void userptr(int fd)
{
	int result = request(fd, V4L2_BUF_TYPE_VIDEO_CAPTURE, V4L2_MEMORY_USERPTR, 0);
	say("REQBUFS", result);
	if (result < 0)
		return;
	size_t size = format(fd, V4L2_BUF_TYPE_VIDEO_CAPTURE).fmt.pix.sizeimage;
	void *memory = aligned_alloc(4096, (size + 4095) & ~4095ul);
	if (!memory)
		exit(1);
	memset(memory, 1, size);
	struct v4l2_buffer b = buffer(V4L2_BUF_TYPE_VIDEO_CAPTURE, V4L2_MEMORY_USERPTR);
	b.m.userptr = (unsigned long)memory;
	b.length = (unsigned)size;
	say("QBUF", ioctl(fd, VIDIOC_QBUF, &b));
}

// A display's cached buffer, filled by the camera and read with or without the necessary sync.
static void stale(int camera, int sync, int by_node)
{
	unsigned in = V4L2_BUF_TYPE_VIDEO_CAPTURE, out = V4L2_BUF_TYPE_VIDEO_OUTPUT;
	int display = open("/dev/video1", O_RDWR);
	must(display, "/dev/video1");
	must(request(display, out, V4L2_MEMORY_MMAP, V4L2_MEMORY_FLAG_NON_COHERENT), "REQBUFS at the display");
	struct v4l2_exportbuffer e = { .type = out, .flags = O_RDWR | O_CLOEXEC };
	must(ioctl(display, VIDIOC_EXPBUF, &e), "EXPBUF");
	size_t size = format(camera, in).fmt.pix.sizeimage;
	unsigned char *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, by_node ? display : e.fd, 0);
	if (mapped == MAP_FAILED)
		must(-1, "mmap");
	must(request(camera, in, V4L2_MEMORY_DMABUF, 0), "REQBUFS at the camera");
	for (int i = 0; i < 2; i++) {
		struct v4l2_buffer b = buffer(in, V4L2_MEMORY_DMABUF);
		b.m.fd = e.fd;
		b.length = (unsigned)size;
		must(ioctl(camera, VIDIOC_QBUF, &b), "QBUF");
		if (i == 0)
			must(ioctl(camera, VIDIOC_STREAMON, &in), "STREAMON");
		must(ioctl(camera, VIDIOC_DQBUF, &b), "DQBUF");
		struct dma_buf_sync access = { .flags = DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ };
		if (sync)
			must(ioctl(e.fd, DMA_BUF_IOCTL_SYNC, &access), "DMA_BUF_IOCTL_SYNC");
		int file = open("seen.raw", O_WRONLY | O_CREAT | O_TRUNC, 0644);
		must(file, "seen.raw");
		for (size_t done = 0; done < size;) {
			ssize_t some = write(file, mapped + done, size - done);
			must((int)some, "write");
			done += (size_t)some;
		}
		close(file);
		access.flags = DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ;
		if (sync)
			must(ioctl(e.fd, DMA_BUF_IOCTL_SYNC, &access), "DMA_BUF_IOCTL_SYNC");
	}
	must(ioctl(camera, VIDIOC_STREAMOFF, &in), "STREAMOFF");
}

int main(int argc, char **argv)
{
	int fd = open("/dev/video0", O_RDWR);
	must(fd, "/dev/video0");
	if (argc == 3 && !strcmp(argv[1], "create"))
		create(fd, (unsigned)strtoul(argv[2], NULL, 0));
	else if (argc > 2 && !strcmp(argv[1], "request"))
		counts(fd, argv + 2);
	else if (argc == 2 && !strcmp(argv[1], "userptr"))
		userptr(fd);
	else if (argc == 4 && !strcmp(argv[1], "stale"))
		stale(fd, !strcmp(argv[2], "sync"), !strcmp(argv[3], "node"));
	else
		return 2;
	return 0;
}
