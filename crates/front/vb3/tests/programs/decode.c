// Drives a stateful decoder by plain ioctls, as the kernel's documentation demands: decode FOURCC
// STREAM PICTURES [COMMANDS [CODED]]. Commands come from a file or standard input. CODED is the
// stream's fourcc, H264 if absent.
//
//   feed N     the next N bytes of STREAM in one OUTPUT buffer; its timestamp is its number, from 1
//   jump N M   continues at byte N of STREAM with timestamp M
//   seek       STREAMOFF and STREAMON at OUTPUT
//   seek-both  the same, and at CAPTURE
//   drain      V4L2_DEC_CMD_STOP; then the last buffer, EPIPE and the end event must come
//   start      V4L2_DEC_CMD_START
//   restart    STREAMOFF and STREAMON at CAPTURE, the other way to continue after a drain
//   wait N     waits until N pictures have come in total
//   ready      waits until the stream's format is known and CAPTURE streams
//   capture    starts CAPTURE before the stream's format is known
//
// Prints what arrives: "picture TIMESTAMP WIDTHxHEIGHT", "damaged TIMESTAMP …", "refused TIMESTAMP",
// "field NUMBER" for an interlaced picture, "change WIDTHxHEIGHT", "last", "end". It writes pictures to
// a file, in lines without padding.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define OUT V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE
#define CAP V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE
#define OUTPUTS 4
#define CAPTURES 4
#define INPUT_BYTES (1 << 20)
#define PATIENCE_MS 60000

static int node;
static FILE *pictures;
static unsigned fourcc, coded = V4L2_PIX_FMT_H264;
static struct v4l2_pix_format_mplane shape;
static unsigned char *out_map[OUTPUTS];
static unsigned char *cap_map[CAPTURES][2];
static size_t cap_len[CAPTURES][2];
static unsigned captures, out_free, next_stamp = 1, came;
// Whether CAPTURE streams, whether the last buffer and the end event came, and whether a size change is
// pending.
static int capturing, last, end, change;

static void die(const char *what)
{
	fprintf(stderr, "decode: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void call(unsigned long request, void *argument, const char *what)
{
	if (ioctl(node, request, argument) < 0)
		die(what);
}

static struct v4l2_buffer buffer(unsigned type, unsigned index, struct v4l2_plane *planes)
{
	struct v4l2_buffer b;
	memset(&b, 0, sizeof(b));
	memset(planes, 0, sizeof(*planes) * VIDEO_MAX_PLANES);
	b.type = type;
	b.index = index;
	b.memory = V4L2_MEMORY_MMAP;
	b.m.planes = planes;
	b.length = type == CAP ? shape.num_planes : 1;
	return b;
}

static unsigned request_buffers(unsigned type, unsigned count)
{
	struct v4l2_requestbuffers r;
	memset(&r, 0, sizeof(r));
	r.count = count;
	r.type = type;
	r.memory = V4L2_MEMORY_MMAP;
	call(VIDIOC_REQBUFS, &r, "REQBUFS");
	return r.count;
}

static void *map(const struct v4l2_plane *plane)
{
	void *at = mmap(NULL, plane->length, PROT_READ | PROT_WRITE, MAP_SHARED, node,
			plane->m.mem_offset);
	if (at == MAP_FAILED)
		die("mmap");
	return at;
}

static void stream(unsigned type, int on)
{
	int t = (int)type;
	call(on ? VIDIOC_STREAMON : VIDIOC_STREAMOFF, &t, on ? "STREAMON" : "STREAMOFF");
}

static void queue_capture(unsigned index)
{
	struct v4l2_plane planes[VIDEO_MAX_PLANES];
	struct v4l2_buffer b = buffer(CAP, index, planes);
	call(VIDIOC_QBUF, &b, "QBUF at CAPTURE");
}

static void stop_capture(void)
{
	if (!capturing)
		return;
	stream(CAP, 0);
	for (unsigned i = 0; i < captures; i++)
		for (unsigned p = 0; p < shape.num_planes; p++)
			munmap(cap_map[i][p], cap_len[i][p]);
	request_buffers(CAP, 0);
	capturing = 0;
}

static void start_capture(void)
{
	struct v4l2_format f;
	memset(&f, 0, sizeof(f));
	f.type = CAP;
	call(VIDIOC_G_FMT, &f, "G_FMT");
	f.fmt.pix_mp.pixelformat = fourcc;
	memset(f.fmt.pix_mp.plane_fmt, 0, sizeof(f.fmt.pix_mp.plane_fmt));
	call(VIDIOC_S_FMT, &f, "S_FMT");
	shape = f.fmt.pix_mp;
	captures = request_buffers(CAP, CAPTURES);
	if (captures > CAPTURES || shape.pixelformat != fourcc || shape.num_planes > 2)
		die("unexpected CAPTURE buffers");
	for (unsigned i = 0; i < captures; i++) {
		struct v4l2_plane planes[VIDEO_MAX_PLANES];
		struct v4l2_buffer b = buffer(CAP, i, planes);
		call(VIDIOC_QUERYBUF, &b, "QUERYBUF");
		for (unsigned p = 0; p < shape.num_planes; p++) {
			cap_map[i][p] = map(&planes[p]);
			cap_len[i][p] = planes[p].length;
		}
		queue_capture(i);
	}
	stream(CAP, 1);
	capturing = 1;
	last = 0;
}

static void write_lines(const unsigned char *from, unsigned stride, unsigned width, unsigned lines)
{
	for (unsigned y = 0; y < lines; y++)
		if (fwrite(from + (size_t)y * stride, 1, width, pictures) != width)
			die("write");
}

static void write_picture(unsigned index)
{
	// P010 has two bytes per sample.
	unsigned sample = fourcc == V4L2_PIX_FMT_P010 ? 2 : 1;
	unsigned width = sample * shape.width, height = shape.height;
	unsigned stride = shape.plane_fmt[0].bytesperline;
	const unsigned char *at = cap_map[index][0];
	write_lines(at, stride, width, height);
	at += (size_t)stride * height;
	if (fourcc == V4L2_PIX_FMT_YUV420) {
		for (int c = 0; c < 2; c++, at += (size_t)stride / 2 * height / 2)
			write_lines(at, stride / 2, width / 2, height / 2);
	} else if (fourcc == V4L2_PIX_FMT_NV12M) {
		write_lines(cap_map[index][1], shape.plane_fmt[1].bytesperline, width, height / 2);
	} else {
		write_lines(at, stride, width, height / 2);
	}
}

static void take_event(void)
{
	struct v4l2_event e;
	memset(&e, 0, sizeof(e));
	call(VIDIOC_DQEVENT, &e, "DQEVENT");
	if (e.type == V4L2_EVENT_EOS)
		end = 1;
	if (e.type == V4L2_EVENT_SOURCE_CHANGE)
		change = 1;
}

static void take_output(void)
{
	for (;;) {
		struct v4l2_plane planes[VIDEO_MAX_PLANES];
		struct v4l2_buffer b = buffer(OUT, 0, planes);
		if (ioctl(node, VIDIOC_DQBUF, &b) < 0) {
			if (errno != EAGAIN)
				die("DQBUF at OUTPUT");
			return;
		}
		out_free |= 1u << b.index;
	}
}

static void take_capture(void)
{
	while (capturing && !last) {
		struct v4l2_plane planes[VIDEO_MAX_PLANES];
		struct v4l2_buffer b = buffer(CAP, 0, planes);
		if (ioctl(node, VIDIOC_DQBUF, &b) < 0) {
			if (errno != EAGAIN)
				die("DQBUF at CAPTURE");
			return;
		}
		if (planes[0].bytesused > 0 && b.field != V4L2_FIELD_NONE)
			printf("field %u\n", b.field);
		if (planes[0].bytesused > 0) {
			printf("%s %ld %ux%u\n", b.flags & V4L2_BUF_FLAG_ERROR ? "damaged" : "picture",
			       (long)b.timestamp.tv_sec, shape.width, shape.height);
			write_picture(b.index);
			came++;
		} else if (b.flags & V4L2_BUF_FLAG_ERROR) {
			printf("refused %ld\n", (long)b.timestamp.tv_sec);
		}
		if (b.flags & V4L2_BUF_FLAG_LAST)
			last = 1;
		else
			queue_capture(b.index);
	}
}

// Handles a change of size: pictures of the old size come first.
static void take_change(void)
{
	if (!change || (capturing && !last))
		return;
	change = 0;
	stop_capture();
	start_capture();
	printf("change %ux%u\n", shape.width, shape.height);
}

// Waits for the next result, and takes it.
static void step(void)
{
	struct pollfd waiting = { .fd = node, .events = POLLPRI };
	if (capturing && !last)
		waiting.events |= POLLIN;
	if (out_free != (1u << OUTPUTS) - 1)
		waiting.events |= POLLOUT;
	int ready = poll(&waiting, 1, PATIENCE_MS);
	if (ready <= 0)
		die("nothing comes");
	if (waiting.revents & POLLPRI)
		take_event();
	if (waiting.revents & POLLOUT)
		take_output();
	if (waiting.revents & POLLIN)
		take_capture();
	if (waiting.revents & POLLERR && !(waiting.revents & (POLLIN | POLLOUT | POLLPRI)))
		die("POLLERR");
	take_change();
}

static void feed(int file, size_t bytes)
{
	while (out_free == 0)
		step();
	unsigned index = (unsigned)__builtin_ctz(out_free);
	if (bytes > INPUT_BYTES || read(file, out_map[index], bytes) != (ssize_t)bytes)
		die("the stream");
	struct v4l2_plane planes[VIDEO_MAX_PLANES];
	struct v4l2_buffer b = buffer(OUT, index, planes);
	planes[0].bytesused = (unsigned)bytes;
	b.timestamp.tv_sec = next_stamp++;
	call(VIDIOC_QBUF, &b, "QBUF at OUTPUT");
	out_free &= ~(1u << index);
}

static void drain(void)
{
	struct v4l2_decoder_cmd stop = { .cmd = V4L2_DEC_CMD_STOP };
	call(VIDIOC_DECODER_CMD, &stop, "V4L2_DEC_CMD_STOP");
	// Without a format CAPTURE does not stream, so no picture can come.
	while (!capturing) {
		if (out_free == (1u << OUTPUTS) - 1)
			return;
		step();
	}
	while (!last || !end || change)
		step();
	puts("last");
	struct v4l2_plane planes[VIDEO_MAX_PLANES];
	struct v4l2_buffer b = buffer(CAP, 0, planes);
	if (ioctl(node, VIDIOC_DQBUF, &b) == 0 || errno != EPIPE)
		die("DQBUF after the last buffer");
	end = 0;
	puts("end");
}

static void open_decoder(unsigned width, unsigned height)
{
	node = open("/dev/video0", O_RDWR | O_NONBLOCK);
	if (node < 0)
		die("/dev/video0");
	for (unsigned type = 0; type < 2; type++) {
		struct v4l2_event_subscription s;
		memset(&s, 0, sizeof(s));
		s.type = type ? V4L2_EVENT_EOS : V4L2_EVENT_SOURCE_CHANGE;
		call(VIDIOC_SUBSCRIBE_EVENT, &s, "SUBSCRIBE_EVENT");
	}
	struct v4l2_format f;
	memset(&f, 0, sizeof(f));
	f.type = OUT;
	f.fmt.pix_mp.pixelformat = coded;
	f.fmt.pix_mp.width = width;
	f.fmt.pix_mp.height = height;
	f.fmt.pix_mp.num_planes = 1;
	f.fmt.pix_mp.plane_fmt[0].sizeimage = INPUT_BYTES;
	call(VIDIOC_S_FMT, &f, "S_FMT at OUTPUT");
	if (request_buffers(OUT, OUTPUTS) != OUTPUTS)
		die("OUTPUT buffers");
	for (unsigned i = 0; i < OUTPUTS; i++) {
		struct v4l2_plane planes[VIDEO_MAX_PLANES];
		struct v4l2_buffer b = buffer(OUT, i, planes);
		call(VIDIOC_QUERYBUF, &b, "QUERYBUF at OUTPUT");
		out_map[i] = map(&planes[0]);
		out_free |= 1u << i;
	}
	stream(OUT, 1);
}

static void seek(int both)
{
	stream(OUT, 0);
	out_free = (1u << OUTPUTS) - 1;
	if (both && capturing)
		stream(CAP, 0);
	stream(OUT, 1);
	if (both && capturing) {
		for (unsigned i = 0; i < captures; i++)
			queue_capture(i);
		stream(CAP, 1);
		last = 0;
	}
}

static void restart(void)
{
	stream(CAP, 0);
	for (unsigned i = 0; i < captures; i++)
		queue_capture(i);
	stream(CAP, 1);
	last = 0;
}

static void start(void)
{
	struct v4l2_decoder_cmd again = { .cmd = V4L2_DEC_CMD_START };
	call(VIDIOC_DECODER_CMD, &again, "V4L2_DEC_CMD_START");
	last = 0;
	// The program has the last buffer, the only one that is not queued.
	for (unsigned i = 0; i < captures; i++) {
		struct v4l2_plane planes[VIDEO_MAX_PLANES];
		struct v4l2_buffer b = buffer(CAP, i, planes);
		call(VIDIOC_QUERYBUF, &b, "QUERYBUF");
		if (!(b.flags & (V4L2_BUF_FLAG_QUEUED | V4L2_BUF_FLAG_DONE)))
			queue_capture(i);
	}
}

int main(int argc, char **argv)
{
	if (argc < 4 || strlen(argv[1]) != 4)
		return 2;
	if (argc > 4 && !freopen(argv[4], "r", stdin))
		die(argv[4]);
	fourcc = v4l2_fourcc(argv[1][0], argv[1][1], argv[1][2], argv[1][3]);
	if (argc > 5 && strlen(argv[5]) == 4)
		coded = v4l2_fourcc(argv[5][0], argv[5][1], argv[5][2], argv[5][3]);
	int file = open(argv[2], O_RDONLY);
	pictures = fopen(argv[3], "wb");
	if (file < 0 || !pictures)
		die("files");
	open_decoder(16, 16);
	char word[16];
	while (scanf("%15s", word) == 1) {
		unsigned long number = 0, stamp = 0;
		if (!strcmp(word, "feed") && scanf("%lu", &number) == 1) {
			feed(file, number);
		} else if (!strcmp(word, "jump") && scanf("%lu %lu", &number, &stamp) == 2) {
			if (lseek(file, (off_t)number, SEEK_SET) < 0)
				die("lseek");
			next_stamp = (unsigned)stamp;
		} else if (!strcmp(word, "wait") && scanf("%lu", &number) == 1) {
			while (came < number)
				step();
		} else if (!strcmp(word, "ready")) {
			while (!capturing)
				step();
		} else if (!strcmp(word, "capture")) {
			start_capture();
		} else if (!strcmp(word, "seek") || !strcmp(word, "seek-both")) {
			seek(word[4] != 0);
		} else if (!strcmp(word, "drain")) {
			drain();
		} else if (!strcmp(word, "start")) {
			start();
		} else if (!strcmp(word, "restart")) {
			restart();
		} else {
			errno = EINVAL;
			die(word);
		}
	}
	return fclose(pictures) ? 1 : 0;
}
