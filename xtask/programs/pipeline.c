// The client of `cargo xtask bench pipeline`. It decodes STREAM on /dev/video0, converts it on
// /dev/video1 once for each size and shows it on /dev/video2, by dma-buf all the way. Prints `key
// value` lines. `pipeline STREAM BUFFERS WIDTHxHEIGHT...`
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define CAPTURE V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE
#define OUTPUT V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE
#define MAX_BUFFERS 512
#define MAX_HOPS 4
// Bytes of the stream in each OUTPUT buffer, and the number of OUTPUT buffers.
#define PIECE (64 << 10)
#define PIECES 4

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void fail(const char *what)
{
	fprintf(stderr, "pipeline: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void call(int fd, unsigned long request, void *argument, const char *what)
{
	if (ioctl(fd, request, argument) < 0)
		fail(what);
}

// One queue, with its own buffers or with imports of another queue's.
struct queue {
	int fd;
	unsigned type;
	unsigned memory;
	unsigned count;
	int exported[MAX_BUFFERS];
};

static struct v4l2_buffer buffer(const struct queue *q, unsigned index, struct v4l2_plane *plane)
{
	struct v4l2_buffer b = { .index = index, .type = q->type, .memory = q->memory, .length = 1 };
	memset(plane, 0, sizeof(*plane));
	b.m.planes = plane;
	return b;
}

static void queue(const struct queue *q, unsigned index, int dmabuf, unsigned bytes)
{
	struct v4l2_plane plane;
	struct v4l2_buffer b = buffer(q, index, &plane);
	plane.bytesused = bytes;
	if (q->memory == V4L2_MEMORY_DMABUF)
		plane.m.fd = dmabuf;
	call(q->fd, VIDIOC_QBUF, &b, "VIDIOC_QBUF");
}

// Waits for a completed buffer; returns its flags too.
static unsigned dequeue(const struct queue *q, unsigned *bytes, unsigned *flags)
{
	struct v4l2_plane plane;
	struct v4l2_buffer b = buffer(q, 0, &plane);
	while (ioctl(q->fd, VIDIOC_DQBUF, &b) < 0) {
		struct pollfd p = { .fd = q->fd, .events = q->type == CAPTURE ? POLLIN : POLLOUT };
		if (errno != EAGAIN || poll(&p, 1, 10000) <= 0)
			fail("VIDIOC_DQBUF");
	}
	if (b.flags & V4L2_BUF_FLAG_ERROR) {
		fprintf(stderr, "pipeline: a buffer came back with an error\n");
		exit(1);
	}
	if (bytes)
		*bytes = plane.bytesused;
	if (flags)
		*flags = b.flags;
	return b.index;
}

static void stream_on(const struct queue *q)
{
	int type = (int)q->type;
	call(q->fd, VIDIOC_STREAMON, &type, "VIDIOC_STREAMON");
}

static void allocate(struct queue *q, unsigned count)
{
	struct v4l2_requestbuffers request = { .count = count, .type = q->type, .memory = q->memory };
	call(q->fd, VIDIOC_REQBUFS, &request, "VIDIOC_REQBUFS");
	if (request.count != count) {
		fprintf(stderr, "pipeline: %u buffers were asked for and %u made\n", count, request.count);
		exit(1);
	}
	q->count = count;
	for (unsigned i = 0; q->memory == V4L2_MEMORY_MMAP && q->type == CAPTURE && i < count; i++) {
		struct v4l2_exportbuffer e = { .type = q->type, .index = i, .flags = O_RDWR | O_CLOEXEC };
		call(q->fd, VIDIOC_EXPBUF, &e, "VIDIOC_EXPBUF");
		q->exported[i] = e.fd;
	}
}

static void set_format(const struct queue *q, unsigned fourcc, unsigned width, unsigned height, unsigned bytes)
{
	struct v4l2_format f = { .type = q->type };
	struct v4l2_pix_format_mplane *pix = &f.fmt.pix_mp;
	pix->pixelformat = fourcc;
	pix->width = width;
	pix->height = height;
	pix->field = V4L2_FIELD_NONE;
	pix->colorspace = V4L2_COLORSPACE_REC709;
	pix->num_planes = 1;
	pix->plane_fmt[0].sizeimage = bytes;
	call(q->fd, VIDIOC_S_FMT, &f, "VIDIOC_S_FMT");
	if (pix->pixelformat != fourcc || pix->width != width || pix->height != height) {
		fprintf(stderr, "pipeline: %ux%u is not offered\n", width, height);
		exit(1);
	}
}

static int open_node(const char *path)
{
	int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		fail(path);
	return fd;
}

// The decoder and its input.
struct decoder {
	struct queue in, out;
	FILE *stream;
	uint8_t *pieces[PIECES];
	unsigned used;
	int drained;
	unsigned width, height;
};

static void feed_one(struct decoder *d, unsigned index)
{
	size_t bytes = fread(d->pieces[index], 1, PIECE, d->stream);
	if (bytes > 0) {
		queue(&d->in, index, -1, (unsigned)bytes);
		return;
	}
	if (!d->drained) {
		struct v4l2_decoder_cmd stop = { .cmd = V4L2_DEC_CMD_STOP };
		call(d->in.fd, VIDIOC_DECODER_CMD, &stop, "VIDIOC_DECODER_CMD");
	}
	d->drained = 1;
}

// Feeds the decoder until poll reports `wanted`.
static void feed_until(struct decoder *d, short wanted)
{
	for (;;) {
		struct pollfd p = { .fd = d->in.fd, .events = wanted | (d->drained ? 0 : POLLOUT) };
		if (poll(&p, 1, 10000) <= 0)
			fail("poll");
		if (p.revents & wanted)
			return;
		if (p.revents & POLLOUT)
			feed_one(d, dequeue(&d->in, NULL, NULL));
	}
}

static void start_decoder(struct decoder *d, const char *path, unsigned buffers)
{
	struct v4l2_event_subscription wish = { .type = V4L2_EVENT_SOURCE_CHANGE };
	struct v4l2_event event;
	struct v4l2_format f = { .type = CAPTURE };
	int fd = open_node("/dev/video0");
	d->stream = fopen(path, "rb");
	if (!d->stream)
		fail(path);
	d->in = (struct queue){ .fd = fd, .type = OUTPUT, .memory = V4L2_MEMORY_MMAP };
	d->out = (struct queue){ .fd = fd, .type = CAPTURE, .memory = V4L2_MEMORY_MMAP };
	set_format(&d->in, V4L2_PIX_FMT_H264, 640, 480, PIECE);
	call(fd, VIDIOC_SUBSCRIBE_EVENT, &wish, "VIDIOC_SUBSCRIBE_EVENT");
	allocate(&d->in, PIECES);
	for (unsigned i = 0; i < PIECES; i++) {
		struct v4l2_plane plane;
		struct v4l2_buffer b = buffer(&d->in, i, &plane);
		call(fd, VIDIOC_QUERYBUF, &b, "VIDIOC_QUERYBUF");
		d->pieces[i] = mmap(NULL, plane.length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, plane.m.mem_offset);
		if (d->pieces[i] == MAP_FAILED || plane.length < PIECE)
			fail("mmap");
		feed_one(d, i);
	}
	stream_on(&d->in);
	feed_until(d, POLLPRI);
	call(fd, VIDIOC_DQEVENT, &event, "VIDIOC_DQEVENT");
	call(fd, VIDIOC_G_FMT, &f, "VIDIOC_G_FMT");
	d->width = f.fmt.pix_mp.width;
	d->height = f.fmt.pix_mp.height;
	set_format(&d->out, V4L2_PIX_FMT_NV12, d->width, d->height, 0);
	allocate(&d->out, buffers);
	for (unsigned i = 0; i < buffers; i++)
		queue(&d->out, i, -1, 0);
	stream_on(&d->out);
}

// A converter, or a display without `out`.
struct stage {
	struct queue in, out;
	unsigned turn;
};

static void start_input(struct queue *q, int fd, unsigned width, unsigned height)
{
	*q = (struct queue){ .fd = fd, .type = OUTPUT, .memory = V4L2_MEMORY_DMABUF };
	set_format(q, V4L2_PIX_FMT_NV12, width, height, 0);
	allocate(q, 4);
}

static void start_converter(struct stage *s, unsigned from[2], unsigned to[2])
{
	int fd = open_node("/dev/video1");
	start_input(&s->in, fd, from[0], from[1]);
	s->out = (struct queue){ .fd = fd, .type = CAPTURE, .memory = V4L2_MEMORY_MMAP };
	set_format(&s->out, V4L2_PIX_FMT_NV12, to[0], to[1], 0);
	allocate(&s->out, 4);
	stream_on(&s->in);
	stream_on(&s->out);
}

// Queues a picture in the next buffer; returns its index.
static unsigned put(struct stage *s, int dmabuf, unsigned bytes)
{
	unsigned index = s->turn++ % s->in.count;
	queue(&s->in, index, dmabuf, bytes);
	return index;
}

// Converts a picture; returns the dma-buf of the result.
static int convert(struct stage *s, int dmabuf, unsigned *bytes)
{
	queue(&s->out, s->turn % s->out.count, -1, 0);
	put(s, dmabuf, *bytes);
	unsigned index = dequeue(&s->out, bytes, NULL);
	dequeue(&s->in, NULL, NULL);
	return s->out.exported[index];
}

int main(int argc, char **argv)
{
	static struct decoder decoder;
	static struct stage hops[MAX_HOPS], display;
	unsigned count = (unsigned)argc - 3;
	unsigned buffers = argc > 2 ? (unsigned)atoi(argv[2]) : 0;
	if (argc < 4 || count > MAX_HOPS || buffers < 2 || buffers > MAX_BUFFERS) {
		fprintf(stderr, "pipeline STREAM BUFFERS WIDTHxHEIGHT...\n");
		return 2;
	}
	start_decoder(&decoder, argv[1], buffers);
	unsigned size[2] = { decoder.width, decoder.height };
	for (unsigned i = 0; i < count; i++) {
		unsigned to[2];
		if (sscanf(argv[3 + i], "%ux%u", &to[0], &to[1]) != 2)
			return 2;
		start_converter(&hops[i], size, to);
		memcpy(size, to, sizeof(size));
	}
	start_input(&display.in, open_node("/dev/video2"), size[0], size[1]);
	stream_on(&display.in);

	uint64_t start = now_ns();
	unsigned frames = 0, flags = 0;
	while (!(flags & V4L2_BUF_FLAG_LAST)) {
		unsigned bytes;
		feed_until(&decoder, POLLIN);
		unsigned index = dequeue(&decoder.out, &bytes, &flags);
		if (bytes == 0)
			continue;
		int picture = decoder.out.exported[index];
		for (unsigned i = 0; i < count; i++)
			picture = convert(&hops[i], picture, &bytes);
		put(&display, picture, bytes);
		dequeue(&display.in, NULL, NULL);
		queue(&decoder.out, index, -1, 0);
		frames++;
	}
	printf("frames %u\nwall_ns %llu\n", frames, (unsigned long long)(now_ns() - start));
	return 0;
}
