// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Frames of one driver go to another by dma-buf, and nothing is copied on the way.
 *
 *   peers PREFIX NAME m2m SOURCE FOURCC WIDTH HEIGHT M2M FOURCC WIDTH HEIGHT
 *                                                          a camera into a copying device, which
 *                                                          may take the bytes for other pixels
 *   peers PREFIX NAME kms SOURCE CARD WIDTH HEIGHT         a camera onto a display (XR24)
 *
 * Prints one line of JSON: the number of frames, and of wrong bytes or wrong checksums.
 */
#define _GNU_SOURCE
#include <drm/drm.h>
#include <drm/drm_mode.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define FRAMES 12
#define BUFFERS 3

static const char *prefix, *name;

static void fail(const char *what)
{
	printf("{\"step\":\"%s.%s\",\"ok\":false,\"what\":\"%s\",\"error\":\"%s\"}\n", prefix, name,
	       what, strerror(errno));
	exit(1);
}

static void must(int fd, unsigned long request, void *arg, const char *what)
{
	int ret;

	do
		ret = ioctl(fd, request, arg);
	while (ret < 0 && errno == EINTR);
	if (ret < 0)
		fail(what);
}

static int opened(const char *path)
{
	int fd = open(path, O_RDWR);

	if (fd < 0)
		fail(path);
	return fd;
}

/* Sets a format and returns the size of an image. */
static uint32_t format(int fd, uint32_t type, uint32_t fourcc, uint32_t width, uint32_t height)
{
	struct v4l2_format f = { .type = type };

	must(fd, VIDIOC_G_FMT, &f, "G_FMT");
	f.fmt.pix.pixelformat = fourcc;
	f.fmt.pix.width = width;
	f.fmt.pix.height = height;
	f.fmt.pix.field = V4L2_FIELD_NONE;
	f.fmt.pix.bytesperline = 0;
	f.fmt.pix.sizeimage = 0;
	must(fd, VIDIOC_S_FMT, &f, "S_FMT");
	errno = 0;
	if (f.fmt.pix.pixelformat != fourcc || f.fmt.pix.width != width ||
	    f.fmt.pix.height != height)
		fail("another format");
	return f.fmt.pix.sizeimage;
}

static void request(int fd, uint32_t type, uint32_t memory)
{
	struct v4l2_requestbuffers r = { .type = type, .memory = memory, .count = BUFFERS };

	must(fd, VIDIOC_REQBUFS, &r, "REQBUFS");
}

static uint8_t *mapped(int fd, uint32_t type, uint32_t index)
{
	struct v4l2_buffer b = { .type = type, .memory = V4L2_MEMORY_MMAP, .index = index };
	uint8_t *view;

	must(fd, VIDIOC_QUERYBUF, &b, "QUERYBUF");
	view = mmap(NULL, b.length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, b.m.offset);
	if (view == MAP_FAILED)
		fail("mmap");
	return view;
}

static void stream(int fd, int type)
{
	must(fd, VIDIOC_STREAMON, &type, "STREAMON");
}

static void queue(int fd, uint32_t type, uint32_t memory, uint32_t index, int dmabuf,
		  uint32_t bytes)
{
	struct v4l2_buffer b = { .type = type, .memory = memory, .index = index };

	b.field = V4L2_FIELD_NONE;
	if (memory == V4L2_MEMORY_DMABUF) {
		b.m.fd = dmabuf;
		b.bytesused = bytes;
	}
	must(fd, VIDIOC_QBUF, &b, "QBUF");
}

static uint32_t dequeue(int fd, uint32_t type, uint32_t memory)
{
	struct v4l2_buffer b = { .type = type, .memory = memory };

	must(fd, VIDIOC_DQBUF, &b, "DQBUF");
	if (b.flags & V4L2_BUF_FLAG_ERROR)
		fail("a frame with an error");
	return b.index;
}

struct camera {
	int fd, dmabuf[BUFFERS];
	uint32_t bytes;
	uint8_t *view[BUFFERS];
};

static void start(struct camera *c, const char *path, uint32_t fourcc, uint32_t width,
		  uint32_t height)
{
	uint32_t type = V4L2_BUF_TYPE_VIDEO_CAPTURE;

	c->fd = opened(path);
	c->bytes = format(c->fd, type, fourcc, width, height);
	request(c->fd, type, V4L2_MEMORY_MMAP);
	for (uint32_t i = 0; i < BUFFERS; i++) {
		struct v4l2_exportbuffer e = { .type = type, .index = i, .flags = O_RDWR };

		c->view[i] = mapped(c->fd, type, i);
		must(c->fd, VIDIOC_EXPBUF, &e, "EXPBUF");
		c->dmabuf[i] = e.fd;
		queue(c->fd, type, V4L2_MEMORY_MMAP, i, -1, 0);
	}
	stream(c->fd, type);
}

static uint64_t sum(const uint8_t *at, uint32_t bytes)
{
	uint64_t hash = 1469598103934665603ull;

	for (uint32_t i = 0; i < bytes; i += 61)
		hash = (hash ^ at[i]) * 1099511628211ull;
	return hash;
}

static void tell(uint32_t distinct, long wrong)
{
	printf("{\"step\":\"%s.%s\",\"errno\":0,\"want\":0,\"frames\":%d,\"distinct\":%u,"
	       "\"wrong\":%ld,\"ok\":%s}\n", prefix, name, FRAMES, distinct, wrong,
	       distinct > 1 && !wrong ? "true" : "false");
}

/* A picture format: a path, FOURCC, width and height. */
struct kind {
	const char *path;
	uint32_t fourcc, width, height;
};

static struct kind kind(char **words)
{
	errno = 0;
	if (strlen(words[1]) != 4)
		fail("no FOURCC");
	return (struct kind){
		words[0], v4l2_fourcc(words[1][0], words[1][1], words[1][2], words[1][3]),
		atoi(words[2]), atoi(words[3]),
	};
}

static void through(struct kind from, struct kind to)
{
	uint32_t out = V4L2_BUF_TYPE_VIDEO_OUTPUT, cap = V4L2_BUF_TYPE_VIDEO_CAPTURE;
	struct camera c;
	uint8_t *view[BUFFERS];
	uint64_t last = 0;
	uint32_t distinct = 0;
	long wrong = 0;
	int fd;

	start(&c, from.path, from.fourcc, from.width, from.height);
	fd = opened(to.path);
	format(fd, out, to.fourcc, to.width, to.height);
	errno = 0;
	if (format(fd, cap, to.fourcc, to.width, to.height) != c.bytes)
		fail("another size");
	request(fd, out, V4L2_MEMORY_DMABUF);
	request(fd, cap, V4L2_MEMORY_MMAP);
	for (uint32_t i = 0; i < BUFFERS; i++)
		view[i] = mapped(fd, cap, i);
	stream(fd, out);
	stream(fd, cap);
	for (int frame = 0; frame < FRAMES; frame++) {
		uint32_t at = dequeue(c.fd, cap, V4L2_MEMORY_MMAP), got;

		queue(fd, out, V4L2_MEMORY_DMABUF, at, c.dmabuf[at], c.bytes);
		queue(fd, cap, V4L2_MEMORY_MMAP, at, -1, 0);
		dequeue(fd, out, V4L2_MEMORY_DMABUF);
		got = dequeue(fd, cap, V4L2_MEMORY_MMAP);
		for (uint32_t i = 0; i < c.bytes; i++)
			wrong += view[got][i] != c.view[at][i];
		distinct += sum(c.view[at], c.bytes) != last;
		last = sum(c.view[at], c.bytes);
		queue(c.fd, cap, V4L2_MEMORY_MMAP, at, -1, 0);
	}
	tell(distinct, wrong);
}

static uint32_t framebuffer(int card, uint32_t handle, uint32_t pitch, uint32_t width,
			    uint32_t height)
{
	struct drm_mode_fb_cmd2 f = {
		.width = width, .height = height, .pixel_format = 0x34325258, /* XR24 */
		.handles = { handle }, .pitches = { pitch },
	};

	must(card, DRM_IOCTL_MODE_ADDFB2, &f, "ADDFB2");
	return f.fb_id;
}

/* Shows a framebuffer, and returns the display's checksum of its output. */
static uint64_t shown(int card, uint32_t crtc, uint32_t connector, uint32_t fb, uint32_t width,
		      uint32_t height)
{
	struct drm_mode_crtc s = {
		.crtc_id = crtc, .fb_id = fb, .mode_valid = 1, .count_connectors = 1,
		.set_connectors_ptr = (uintptr_t)&connector,
		.mode = {
			.hdisplay = width, .hsync_start = width + 16, .hsync_end = width + 64,
			.htotal = width + 160, .vdisplay = height, .vsync_start = height + 3,
			.vsync_end = height + 8, .vtotal = height + 20, .vrefresh = 30,
			.name = "test",
		},
	};
	char line[128] = "", *word;
	int control, data;

	s.mode.clock = s.mode.htotal * s.mode.vtotal * 30 / 1000;
	must(card, DRM_IOCTL_MODE_SETCRTC, &s, "SETCRTC");
	control = opened("/sys/kernel/debug/dri/0/crtc-0/crc/control");
	if (write(control, "auto", 4) != 4)
		fail("crc/control");
	data = open("/sys/kernel/debug/dri/0/crtc-0/crc/data", O_RDONLY);
	/* The first checksum may belong to the previous picture. */
	for (int i = 0; i < 3; i++) {
		ssize_t got = read(data, line, sizeof(line) - 1);

		if (got <= 0)
			fail("crc/data");
		line[got] = 0;
	}
	close(data);
	close(control);
	word = strchr(line, ' ');
	return word ? strtoull(word, NULL, 16) : 0;
}

static void onto(const char *source, const char *path, uint32_t width, uint32_t height)
{
	struct drm_mode_card_res r = {};
	struct drm_mode_create_dumb dumb = { .width = width, .height = height, .bpp = 32 };
	struct drm_mode_map_dumb map = {};
	uint32_t crtc[8], connector[8], fb[BUFFERS] = {}, own;
	uint32_t cap = V4L2_BUF_TYPE_VIDEO_CAPTURE;
	uint64_t last = 0;
	uint32_t distinct = 0;
	struct camera c;
	int card = opened(path);
	uint8_t *view;
	long wrong = 0;

	must(card, DRM_IOCTL_MODE_GETRESOURCES, &r, "GETRESOURCES");
	r = (struct drm_mode_card_res){
		.count_crtcs = r.count_crtcs < 8 ? r.count_crtcs : 8, .crtc_id_ptr = (uintptr_t)crtc,
		.count_connectors = r.count_connectors < 8 ? r.count_connectors : 8,
		.connector_id_ptr = (uintptr_t)connector,
	};
	must(card, DRM_IOCTL_MODE_GETRESOURCES, &r, "GETRESOURCES");
	start(&c, source, V4L2_PIX_FMT_XBGR32, width, height);
	must(card, DRM_IOCTL_MODE_CREATE_DUMB, &dumb, "CREATE_DUMB");
	map.handle = dumb.handle;
	must(card, DRM_IOCTL_MODE_MAP_DUMB, &map, "MAP_DUMB");
	view = mmap(NULL, dumb.size, PROT_READ | PROT_WRITE, MAP_SHARED, card, map.offset);
	own = framebuffer(card, dumb.handle, dumb.pitch, width, height);
	for (int i = 0; i < BUFFERS; i++) {
		struct drm_prime_handle p = { .fd = c.dmabuf[i] };

		must(card, DRM_IOCTL_PRIME_FD_TO_HANDLE, &p, "PRIME_FD_TO_HANDLE");
		fb[i] = framebuffer(card, p.handle, width * 4, width, height);
	}
	for (int frame = 0; frame < FRAMES; frame++) {
		uint32_t at = dequeue(c.fd, cap, V4L2_MEMORY_MMAP);
		uint64_t by_import = shown(card, crtc[0], connector[0], fb[at], width, height);

		for (uint32_t y = 0; y < height; y++)
			memcpy(view + y * dumb.pitch, c.view[at] + y * width * 4, width * 4);
		wrong += by_import != shown(card, crtc[0], connector[0], own, width, height);
		distinct += by_import != last;
		last = by_import;
		queue(c.fd, cap, V4L2_MEMORY_MMAP, at, -1, 0);
	}
	tell(distinct, wrong);
}

int main(int argc, char **argv)
{
	prefix = argc > 2 ? argv[1] : "x";
	name = argc > 2 ? argv[2] : "x";
	if (argc == 12 && !strcmp(argv[3], "m2m"))
		through(kind(argv + 4), kind(argv + 8));
	else if (argc == 8 && !strcmp(argv[3], "kms"))
		onto(argv[4], argv[5], atoi(argv[6]), atoi(argv[7]));
	else
		return 2;
	return 0;
}
