// Encodes parts in sequence with one open stateful encoder:
// encode WIDTH HEIGHT FRAMES BITRATE PICTURES STREAM [WIDTH ...]
// PICTURES is I420 without gaps. In STREAM, each packet follows its length in four bytes, lowest first.
// A bitrate of 0 leaves the setting; else the second half of a part has half the bitrate.
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define OUT V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE
#define CAP V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE

static int node;

static void die(const char *what)
{
	fprintf(stderr, "encode: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void call(unsigned long request, void *argument, const char *what)
{
	if (ioctl(node, request, argument) < 0)
		die(what);
}

static struct v4l2_buffer buffer(unsigned type, struct v4l2_plane *plane)
{
	memset(plane, 0, sizeof(*plane));
	return (struct v4l2_buffer){
		.type = type, .memory = V4L2_MEMORY_MMAP, .m.planes = plane, .length = 1
	};
}

// The only buffer of a queue.
static unsigned char *make(unsigned type, size_t *len)
{
	struct v4l2_requestbuffers wanted = { .count = 2, .type = type, .memory = V4L2_MEMORY_MMAP };
	struct v4l2_plane plane;
	struct v4l2_buffer b = buffer(type, &plane);
	call(VIDIOC_REQBUFS, &wanted, "REQBUFS");
	call(VIDIOC_QUERYBUF, &b, "QUERYBUF");
	*len = plane.length;
	void *at = mmap(NULL, *len, PROT_READ | PROT_WRITE, MAP_SHARED, node, plane.m.mem_offset);
	if (at == MAP_FAILED)
		die("mmap");
	return at;
}

static void end(unsigned type, unsigned char *at, size_t len)
{
	struct v4l2_requestbuffers none = { .type = type, .memory = V4L2_MEMORY_MMAP };
	munmap(at, len);
	call(VIDIOC_STREAMOFF, &type, "STREAMOFF");
	call(VIDIOC_REQBUFS, &none, "REQBUFS of none");
}

static void set_bitrate(int bitrate)
{
	struct v4l2_control control = { .id = V4L2_CID_MPEG_VIDEO_BITRATE, .value = bitrate };
	if (bitrate)
		call(VIDIOC_S_CTRL, &control, "S_CTRL");
}

static void frame(unsigned char *to, size_t len, unsigned char *from, FILE *pictures, FILE *stream)
{
	struct v4l2_plane plane;
	struct v4l2_buffer b = buffer(OUT, &plane);
	if (fread(to, 1, len, pictures) != len)
		die("pictures");
	plane.bytesused = len;
	call(VIDIOC_QBUF, &b, "QBUF at OUTPUT");
	b = buffer(CAP, &plane);
	call(VIDIOC_QBUF, &b, "QBUF at CAPTURE");
	b = buffer(CAP, &plane);
	call(VIDIOC_DQBUF, &b, "DQBUF at CAPTURE");
	if (b.flags & V4L2_BUF_FLAG_ERROR)
		die("a damaged packet");
	unsigned n = plane.bytesused;
	unsigned char head[4] = { n, n >> 8, n >> 16, n >> 24 };
	if (fwrite(head, 1, 4, stream) != 4 || fwrite(from, 1, n, stream) != n)
		die("stream");
	b = buffer(OUT, &plane);
	call(VIDIOC_DQBUF, &b, "DQBUF at OUTPUT");
}

static void part(char **words)
{
	unsigned width = atoi(words[0]), height = atoi(words[1]), frames = atoi(words[2]);
	unsigned out_type = OUT, cap_type = CAP;
	int bitrate = atoi(words[3]);
	size_t out_len, cap_len, picture = (size_t)width * height * 3 / 2;
	FILE *pictures = fopen(words[4], "rb"), *stream = fopen(words[5], "wb");
	struct v4l2_format format = { .type = OUT };
	if (!pictures || !stream)
		die("fopen");
	format.fmt.pix_mp.width = width;
	format.fmt.pix_mp.height = height;
	format.fmt.pix_mp.pixelformat = V4L2_PIX_FMT_YUV420;
	call(VIDIOC_S_FMT, &format, "S_FMT");
	if (format.fmt.pix_mp.plane_fmt[0].sizeimage != picture)
		die("another size");
	set_bitrate(bitrate);
	unsigned char *to = make(OUT, &out_len), *from = make(CAP, &cap_len);
	call(VIDIOC_STREAMON, &out_type, "STREAMON at OUTPUT");
	call(VIDIOC_STREAMON, &cap_type, "STREAMON at CAPTURE");
	for (unsigned i = 0; i < frames; i++) {
		if (i == frames / 2)
			set_bitrate(bitrate / 2);
		frame(to, picture, from, pictures, stream);
	}
	end(OUT, to, out_len);
	end(CAP, from, cap_len);
	fclose(pictures);
	if (fclose(stream))
		die("fclose");
}

int main(int argc, char **argv)
{
	node = open("/dev/video0", O_RDWR);
	if (node < 0)
		die("open");
	for (int word = 1; word + 6 <= argc; word += 6)
		part(argv + word);
	return 0;
}
