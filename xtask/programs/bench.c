// The client of `cargo xtask bench`: times calls on /dev/video0 and prints `key value` lines.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/videodev2.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "measure.h"

static struct v4l2_buffer buffer(unsigned index)
{
	struct v4l2_buffer b;
	memset(&b, 0, sizeof(b));
	b.index = index;
	b.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
	b.memory = V4L2_MEMORY_MMAP;
	return b;
}

static void set_format(int fd, unsigned width, unsigned height, unsigned fourcc)
{
	struct v4l2_format f;
	memset(&f, 0, sizeof(f));
	f.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
	f.fmt.pix.width = width;
	f.fmt.pix.height = height;
	f.fmt.pix.pixelformat = fourcc;
	must(ioctl(fd, VIDIOC_S_FMT, &f), "VIDIOC_S_FMT");
	if (f.fmt.pix.width != width || f.fmt.pix.height != height || f.fmt.pix.pixelformat != fourcc) {
		fprintf(stderr, "bench: the camera does not offer %ux%u\n", width, height);
		exit(1);
	}
}

static void stream(int fd, unsigned long request)
{
	int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
	must(ioctl(fd, request, &type), request == VIDIOC_STREAMON ? "VIDIOC_STREAMON" : "VIDIOC_STREAMOFF");
}

static void allocate(int fd, unsigned count)
{
	struct v4l2_create_buffers create;
	memset(&create, 0, sizeof(create));
	create.count = count;
	create.memory = V4L2_MEMORY_MMAP;
	create.format.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
	must(ioctl(fd, VIDIOC_G_FMT, &create.format), "VIDIOC_G_FMT");
	must(ioctl(fd, VIDIOC_CREATE_BUFS, &create), "VIDIOC_CREATE_BUFS");
	if (create.count != count) {
		fprintf(stderr, "bench: %u buffers were asked for and %u made\n", count, create.count);
		exit(1);
	}
}

// Medians of four calls: the smallest notification (EBADF without a descriptor), an ioctl that a device
// answers without access to memory (ENOTTY), QBUF and DQBUF.
static void cycles(int fd, unsigned buffers, unsigned count)
{
	uint64_t *bare = calloc(count, sizeof(*bare));
	uint64_t *refused = calloc(count, sizeof(*refused));
	uint64_t *queue = calloc(count, sizeof(*queue));
	uint64_t *dequeue = calloc(count, sizeof(*dequeue));
	if (!bare || !refused || !queue || !dequeue)
		exit(1);
	for (unsigned i = 0; i < count; i++) {
		uint64_t t0 = clock_ns(CLOCK_MONOTONIC);
		(void)!ioctl(-1, _IO('V', 199), 0);
		uint64_t t1 = clock_ns(CLOCK_MONOTONIC);
		(void)!ioctl(fd, _IO('V', 199), 0);
		uint64_t t2 = clock_ns(CLOCK_MONOTONIC);
		bare[i] = t1 - t0;
		refused[i] = t2 - t1;
	}
	set_format(fd, 64, 64, V4L2_PIX_FMT_YUYV);
	allocate(fd, buffers);
	for (unsigned i = 0; i < buffers; i++) {
		struct v4l2_buffer b = buffer(i);
		must(ioctl(fd, VIDIOC_QBUF, &b), "VIDIOC_QBUF");
	}
	stream(fd, VIDIOC_STREAMON);
	uint64_t begin = 0;
	for (unsigned i = 0; i < count + count / 10; i++) {
		// The first tenth warms up.
		unsigned slot = i < count / 10 ? 0 : i - count / 10;
		if (i == count / 10)
			begin = clock_ns(CLOCK_MONOTONIC);
		struct v4l2_buffer b = buffer(0);
		// The camera fills the next buffer meanwhile, outside the measured time.
		(void)!ioctl(-1, _IO('V', 199), 0);
		uint64_t t0 = clock_ns(CLOCK_MONOTONIC);
		must(ioctl(fd, VIDIOC_DQBUF, &b), "VIDIOC_DQBUF");
		uint64_t t1 = clock_ns(CLOCK_MONOTONIC);
		must(ioctl(fd, VIDIOC_QBUF, &b), "VIDIOC_QBUF");
		uint64_t t2 = clock_ns(CLOCK_MONOTONIC);
		dequeue[slot] = t1 - t0;
		queue[slot] = t2 - t1;
	}
	uint64_t whole = clock_ns(CLOCK_MONOTONIC) - begin;
	stream(fd, VIDIOC_STREAMOFF);
	uint64_t bare_ns = median(bare, count), refused_ns = median(refused, count);
	uint64_t cycle_ns = whole / count;
	printf("bare_ns %llu\n", (unsigned long long)bare_ns);
	printf("refused_ns %llu\n", (unsigned long long)refused_ns);
	printf("qbuf_ns %llu\n", (unsigned long long)median(queue, count));
	printf("dqbuf_ns %llu\n", (unsigned long long)median(dequeue, count));
	printf("cycle_ns %llu\n", (unsigned long long)(cycle_ns > bare_ns ? cycle_ns - bare_ns : 0));
}

// CPU time to capture frames, here and in the supervisor, and to copy as many bytes.
static void capture(int fd, unsigned frames)
{
	unsigned char *mapped[4];
	size_t length = 0;
	set_format(fd, 1920, 1080, V4L2_PIX_FMT_NV12);
	allocate(fd, 4);
	for (unsigned i = 0; i < 4; i++) {
		struct v4l2_buffer b = buffer(i);
		must(ioctl(fd, VIDIOC_QUERYBUF, &b), "VIDIOC_QUERYBUF");
		length = b.length;
		mapped[i] = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, b.m.offset);
		if (mapped[i] == MAP_FAILED)
			must(-1, "mmap");
		must(ioctl(fd, VIDIOC_QBUF, &b), "VIDIOC_QBUF");
	}
	uint64_t own = clock_ns(CLOCK_PROCESS_CPUTIME_ID), theirs = cpu_of(getppid());
	uint64_t begin = clock_ns(CLOCK_MONOTONIC);
	stream(fd, VIDIOC_STREAMON);
	for (unsigned i = 0; i < frames; i++) {
		struct v4l2_buffer b = buffer(0);
		must(ioctl(fd, VIDIOC_DQBUF, &b), "VIDIOC_DQBUF");
		must(ioctl(fd, VIDIOC_QBUF, &b), "VIDIOC_QBUF");
	}
	stream(fd, VIDIOC_STREAMOFF);
	uint64_t whole = clock_ns(CLOCK_MONOTONIC) - begin;
	own = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - own;
	theirs = cpu_of(getppid()) - theirs;

	unsigned char *copy = malloc(length);
	if (!copy)
		exit(1);
	memset(copy, 1, length);
	uint64_t memcpy_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	for (unsigned i = 0; i < frames; i++) {
		memcpy(copy, mapped[i % 4], length);
		__asm__ volatile("" : : "r"(copy) : "memory");
	}
	memcpy_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - memcpy_ns;
	printf("wall_ns %llu\n", (unsigned long long)whole);
	printf("client_cpu_ns %llu\n", (unsigned long long)own);
	printf("supervisor_cpu_ns %llu\n", (unsigned long long)theirs);
	printf("memcpy_ns %llu\n", (unsigned long long)memcpy_ns);
	printf("bytes %llu\n", (unsigned long long)length * frames);
}

int main(int argc, char **argv)
{
	int fd = open("/dev/video0", O_RDWR | O_CLOEXEC);
	must(fd, "/dev/video0");
	if (argc == 4 && !strcmp(argv[1], "cycles"))
		cycles(fd, (unsigned)atoi(argv[2]), (unsigned)atoi(argv[3]));
	else if (argc == 3 && !strcmp(argv[1], "capture"))
		capture(fd, (unsigned)atoi(argv[2]));
	else {
		fprintf(stderr, "usage: bench cycles BUFFERS COUNT | bench capture FRAMES\n");
		return 2;
	}
	return 0;
}
