// The client of `cargo xtask bench pipeline`. It decodes STREAM on /dev/video0, converts it on
// /dev/video1 once for each size and shows it on /dev/video2, by dma-buf all the way:
// `pipeline STREAM WIDTHxHEIGHT...`
#include "client.h"

// Buffers of the decoder for pictures.
#define BUFFERS 8
#define MAX_HOPS 4
// Bytes of the stream in each OUTPUT buffer, and the number of OUTPUT buffers.
#define PIECE (64 << 10)
#define PIECES 4
// Buffers of each other queue.
#define FEW 4

// Waits for a completed buffer; returns its index.
static unsigned finish(struct queue q, unsigned *bytes, unsigned *flags)
{
	struct v4l2_plane plane;
	struct v4l2_buffer b = take(q, &plane);
	if (b.flags & V4L2_BUF_FLAG_ERROR) {
		fprintf(stderr, "pipeline: a buffer came back with an error\n");
		exit(1);
	}
	*bytes = plane.bytesused;
	*flags = b.flags;
	return b.index;
}

static unsigned finish_one(struct queue q)
{
	unsigned bytes, flags;
	return finish(q, &bytes, &flags);
}

static int open_node(const char *path)
{
	return (int)must(open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC), path);
}

// Allocates the buffers of a CAPTURE queue, and exports them.
static void export_all(struct queue q, unsigned count, int *exported)
{
	allocate(q, count);
	for (unsigned i = 0; i < count; i++)
		exported[i] = export(q, i);
}

// The decoder and its input.
struct decoder {
	struct queue in, out;
	FILE *stream;
	unsigned char *pieces[PIECES];
	int exported[BUFFERS];
	int drained;
	unsigned width, height;
};

static void feed_one(struct decoder *d, unsigned index)
{
	size_t bytes = fread(d->pieces[index], 1, PIECE, d->stream);
	if (bytes > 0) {
		put(d->in, index, -1, (unsigned)bytes);
		return;
	}
	if (!d->drained) {
		struct v4l2_decoder_cmd stop = { .cmd = V4L2_DEC_CMD_STOP };
		must(ioctl(d->in.fd, VIDIOC_DECODER_CMD, &stop), "VIDIOC_DECODER_CMD");
	}
	d->drained = 1;
}

// Feeds the decoder until poll reports `wanted`.
static void feed_until(struct decoder *d, short wanted)
{
	for (;;) {
		struct pollfd p = { .fd = d->in.fd, .events = wanted | (d->drained ? 0 : POLLOUT) };
		must(poll(&p, 1, 10000) > 0 ? 0 : -1, "poll");
		if (p.revents & wanted)
			return;
		if (p.revents & POLLOUT)
			feed_one(d, finish_one(d->in));
	}
}

static void start_decoder(struct decoder *d, const char *path)
{
	struct v4l2_event_subscription wish = { .type = V4L2_EVENT_SOURCE_CHANGE };
	struct v4l2_event event;
	struct v4l2_format f = { .type = CAPTURE };
	int fd = open_node("/dev/video0");
	d->stream = fopen(path, "rb");
	must(d->stream ? 0 : -1, path);
	d->in = (struct queue){ .fd = fd, .type = OUTPUT, .memory = V4L2_MEMORY_MMAP };
	d->out = (struct queue){ .fd = fd, .type = CAPTURE, .memory = V4L2_MEMORY_MMAP };
	set_format(d->in, V4L2_PIX_FMT_H264, 640, 480, PIECE);
	must(ioctl(fd, VIDIOC_SUBSCRIBE_EVENT, &wish), "VIDIOC_SUBSCRIBE_EVENT");
	allocate(d->in, PIECES);
	for (unsigned i = 0; i < PIECES; i++) {
		must(map(d->in, i, &d->pieces[i]) < PIECE ? -1 : 0, "a short buffer");
		feed_one(d, i);
	}
	stream(d->in, VIDIOC_STREAMON);
	feed_until(d, POLLPRI);
	must(ioctl(fd, VIDIOC_DQEVENT, &event), "VIDIOC_DQEVENT");
	must(ioctl(fd, VIDIOC_G_FMT, &f), "VIDIOC_G_FMT");
	d->width = f.fmt.pix_mp.width;
	d->height = f.fmt.pix_mp.height;
	set_format(d->out, V4L2_PIX_FMT_NV12, d->width, d->height, 0);
	export_all(d->out, BUFFERS, d->exported);
	for (unsigned i = 0; i < BUFFERS; i++)
		put(d->out, i, -1, 0);
	stream(d->out, VIDIOC_STREAMON);
}

// A converter, or a display without `out`.
struct stage {
	struct queue in, out;
	int exported[FEW];
	unsigned turn;
};

static struct queue start_input(int fd, unsigned width, unsigned height)
{
	struct queue q = { .fd = fd, .type = OUTPUT, .memory = V4L2_MEMORY_DMABUF };
	set_format(q, V4L2_PIX_FMT_NV12, width, height, 0);
	allocate(q, FEW);
	return q;
}

static void start_converter(struct stage *s, unsigned from[2], unsigned to[2])
{
	int fd = open_node("/dev/video1");
	s->in = start_input(fd, from[0], from[1]);
	s->out = (struct queue){ .fd = fd, .type = CAPTURE, .memory = V4L2_MEMORY_MMAP };
	set_format(s->out, V4L2_PIX_FMT_NV12, to[0], to[1], 0);
	export_all(s->out, FEW, s->exported);
	stream(s->in, VIDIOC_STREAMON);
	stream(s->out, VIDIOC_STREAMON);
}

// Queues a picture in the next buffer.
static void show(struct stage *s, int dmabuf, unsigned bytes)
{
	put(s->in, s->turn++ % FEW, dmabuf, bytes);
}

// Converts a picture; returns the dma-buf of the result.
static int convert(struct stage *s, int dmabuf, unsigned *bytes)
{
	unsigned flags;
	put(s->out, s->turn % FEW, -1, 0);
	show(s, dmabuf, *bytes);
	unsigned index = finish(s->out, bytes, &flags);
	finish_one(s->in);
	return s->exported[index];
}

int main(int argc, char **argv)
{
	static struct decoder decoder;
	static struct stage hops[MAX_HOPS], display;
	unsigned count = (unsigned)argc - 2;
	if (argc < 3 || count > MAX_HOPS) {
		fprintf(stderr, "pipeline STREAM WIDTHxHEIGHT...\n");
		return 2;
	}
	start_decoder(&decoder, argv[1]);
	unsigned size[2] = { decoder.width, decoder.height };
	for (unsigned i = 0; i < count; i++) {
		unsigned to[2];
		if (sscanf(argv[2 + i], "%ux%u", &to[0], &to[1]) != 2)
			return 2;
		start_converter(&hops[i], size, to);
		memcpy(size, to, sizeof(size));
	}
	display.in = start_input(open_node("/dev/video2"), size[0], size[1]);
	stream(display.in, VIDIOC_STREAMON);

	unsigned flags = 0;
	while (!(flags & V4L2_BUF_FLAG_LAST)) {
		unsigned bytes;
		feed_until(&decoder, POLLIN);
		unsigned index = finish(decoder.out, &bytes, &flags);
		if (bytes == 0)
			continue;
		int picture = decoder.exported[index];
		for (unsigned i = 0; i < count; i++)
			picture = convert(&hops[i], picture, &bytes);
		show(&display, picture, bytes);
		finish_one(display.in);
		put(decoder.out, index, -1, 0);
	}
	return 0;
}
