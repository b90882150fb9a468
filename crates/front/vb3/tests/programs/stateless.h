// Calls that clients of stateless decoders share.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/media.h>
#include <linux/v4l2-controls.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BUFFERS = 4, OUTPUT = V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE };
enum { CAPTURE = V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE };

static int video, media;
static uint8_t *slices[BUFFERS], *pictures[BUFFERS];

static void die(const char *what)
{
	fprintf(stderr, "stateless: %s: %s\n", what, strerror(errno));
	exit(1);
}

static const char *word(long result)
{
	return result < 0 ? strerrorname_np(errno) : "ok";
}

static long controls(unsigned long call, int request, unsigned id, void *value, unsigned *size)
{
	struct v4l2_ext_control control = { .id = id, .size = *size, .ptr = value };
	struct v4l2_ext_controls all = {
		.which = request < 0 ? V4L2_CTRL_WHICH_CUR_VAL : V4L2_CTRL_WHICH_REQUEST_VAL,
		.count = 1,
		.request_fd = request,
		.controls = &control,
	};
	long done = ioctl(video, call, &all);
	*size = control.size;
	return done;
}

static long set(int request, unsigned id, void *value, unsigned size)
{
	return controls(VIDIOC_S_EXT_CTRLS, request, id, value, &size);
}

static void buffers(unsigned type, uint8_t **to)
{
	struct v4l2_requestbuffers wanted = { .count = BUFFERS, .type = type };
	wanted.memory = V4L2_MEMORY_MMAP;
	if (ioctl(video, VIDIOC_REQBUFS, &wanted) < 0 || wanted.count != BUFFERS)
		die("REQBUFS");
	if (type == OUTPUT)
		printf("requests=%d hold=%d\n",
		       !!(wanted.capabilities & V4L2_BUF_CAP_SUPPORTS_REQUESTS),
		       !!(wanted.capabilities & V4L2_BUF_CAP_SUPPORTS_M2M_HOLD_CAPTURE_BUF));
	for (unsigned i = 0; i < BUFFERS; i++) {
		struct v4l2_plane plane = { 0 };
		struct v4l2_buffer b = { .index = i, .type = type, .length = 1 };
		b.m.planes = &plane;
		if (ioctl(video, VIDIOC_QUERYBUF, &b) < 0)
			die("QUERYBUF");
		to[i] = mmap(NULL, plane.length, PROT_READ | PROT_WRITE, MAP_SHARED, video,
			     plane.m.mem_offset);
		if (to[i] == MAP_FAILED)
			die("mmap");
	}
}

static long queue(unsigned type, unsigned index, unsigned len, int request, unsigned flags,
		  long stamp)
{
	struct v4l2_plane plane = { .bytesused = len };
	struct v4l2_buffer b = { .index = index, .type = type, .length = 1, .flags = flags };
	b.memory = V4L2_MEMORY_MMAP;
	b.m.planes = &plane;
	b.timestamp.tv_usec = stamp;
	if (request >= 0) {
		b.flags |= V4L2_BUF_FLAG_REQUEST_FD;
		b.request_fd = request;
	}
	return ioctl(video, VIDIOC_QBUF, &b);
}

// Returns the index of the next buffer with its flags and timestamp, or -1.
static int dequeue(unsigned type, unsigned *flags, long *stamp)
{
	struct v4l2_plane plane = { 0 };
	struct v4l2_buffer b = { .type = type, .length = 1, .memory = V4L2_MEMORY_MMAP };
	b.m.planes = &plane;
	if (ioctl(video, VIDIOC_DQBUF, &b) < 0)
		return -1;
	*flags = b.flags;
	*stamp = b.timestamp.tv_usec;
	return b.index;
}

static int new_request(void)
{
	int fd = -1;
	if (ioctl(media, MEDIA_IOC_REQUEST_ALLOC, &fd) < 0)
		die("REQUEST_ALLOC");
	return fd;
}

// Queues a request and waits until it is complete.
static void go(int request)
{
	struct pollfd p = { .fd = request, .events = POLLPRI };
	if (ioctl(request, MEDIA_REQUEST_IOC_QUEUE) < 0)
		die("REQUEST_IOC_QUEUE");
	if (poll(&p, 1, 60000) != 1 || !(p.revents & POLLPRI))
		die("the request does not come back");
	if (ioctl(request, MEDIA_REQUEST_IOC_REINIT) < 0)
		die("REINIT");
}

static uint64_t state;

static uint8_t draw(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state >> 24;
}

static void scramble(void *what, unsigned len, unsigned times)
{
	for (unsigned i = 0; i < times; i++) {
		unsigned at = (draw() << 16 | draw() << 8 | draw()) % len;
		((uint8_t *)what)[at] = draw();
	}
}

// Opens the decoder for pictures of a size, and starts both queues.
static void start(char **argv, unsigned pixelformat, unsigned width, unsigned height)
{
	struct v4l2_format format = { .type = OUTPUT };
	int types[] = { OUTPUT, CAPTURE };
	video = open(argv[1], O_RDWR | O_NONBLOCK);
	media = open(argv[2], O_RDWR);
	if (video < 0 || media < 0)
		die("open");
	format.fmt.pix_mp.pixelformat = pixelformat;
	format.fmt.pix_mp.width = width;
	format.fmt.pix_mp.height = height;
	if (ioctl(video, VIDIOC_S_FMT, &format) < 0)
		die("S_FMT");
	printf("%ux%u\n", format.fmt.pix_mp.width, format.fmt.pix_mp.height);
	buffers(OUTPUT, slices);
	buffers(CAPTURE, pictures);
	for (int i = 0; i < 2; i++)
		if (ioctl(video, VIDIOC_STREAMON, &types[i]) < 0)
			die("STREAMON");
}
