// Shared by the clients of `cargo xtask bench`: times, and calls on the queues of devices.
#define _GNU_SOURCE
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
#define CAMERA V4L2_BUF_TYPE_VIDEO_CAPTURE

// Ends the program if a call has failed; returns its result otherwise.
static inline long must(long result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "%s: %s\n", what, strerror(errno));
		exit(1);
	}
	return result;
}

static inline void *got(void *memory)
{
	must(memory && memory != MAP_FAILED ? 0 : -1, "memory");
	return memory;
}

static inline uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline uint64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

// CPU time of all threads of a process.
static inline uint64_t cpu_of(pid_t pid)
{
	clockid_t clock;
	return clock_getcpuclockid(pid, &clock) ? 0 : clock_ns(clock);
}

static inline int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static inline uint64_t median(uint64_t *times, size_t count)
{
	qsort(times, count, sizeof(*times), by_value);
	return times[count / 2];
}

// Prints a line for the task.
static inline void say(const char *key, uint64_t value)
{
	printf("%s %llu\n", key, (unsigned long long)value);
}

// One queue of a device, with its own buffers or with imports of another queue's.
struct queue {
	int fd;
	unsigned type;
	unsigned memory;
};

static inline struct v4l2_buffer buffer(struct queue q, unsigned index, struct v4l2_plane *plane)
{
	struct v4l2_buffer b;
	memset(&b, 0, sizeof(b));
	memset(plane, 0, sizeof(*plane));
	b.index = index;
	b.type = q.type;
	b.memory = q.memory;
	if (V4L2_TYPE_IS_MULTIPLANAR(q.type)) {
		b.m.planes = plane;
		b.length = 1;
	}
	return b;
}

// Sets a format with one plane, which the device must accept unchanged. If `bytes` is 0, the device chooses the length.
static inline void set_format(struct queue q, unsigned fourcc, unsigned width, unsigned height, unsigned bytes)
{
	struct v4l2_format f = { .type = q.type };
	// Width, height and format have the same places in both structures.
	struct v4l2_pix_format_mplane *pix = &f.fmt.pix_mp;
	pix->pixelformat = fourcc;
	pix->width = width;
	pix->height = height;
	if (V4L2_TYPE_IS_MULTIPLANAR(q.type)) {
		pix->field = V4L2_FIELD_NONE;
		pix->colorspace = V4L2_COLORSPACE_REC709;
		pix->num_planes = 1;
		pix->plane_fmt[0].sizeimage = bytes;
	}
	must(ioctl(q.fd, VIDIOC_S_FMT, &f), "VIDIOC_S_FMT");
	if (pix->pixelformat != fourcc || pix->width != width || pix->height != height) {
		fprintf(stderr, "%ux%u is not offered\n", width, height);
		exit(1);
	}
}

static inline void allocate(struct queue q, unsigned count)
{
	struct v4l2_requestbuffers r = { .count = count, .type = q.type, .memory = q.memory };
	must(ioctl(q.fd, VIDIOC_REQBUFS, &r), "VIDIOC_REQBUFS");
	if (r.count != count) {
		fprintf(stderr, "%u buffers were asked for and %u made\n", count, r.count);
		exit(1);
	}
}

// Maps a buffer. Returns its length.
static inline size_t map(struct queue q, unsigned index, unsigned char **mapped)
{
	struct v4l2_plane plane;
	struct v4l2_buffer b = buffer(q, index, &plane);
	must(ioctl(q.fd, VIDIOC_QUERYBUF, &b), "VIDIOC_QUERYBUF");
	size_t length = b.m.planes == &plane ? plane.length : b.length;
	off_t offset = b.m.planes == &plane ? plane.m.mem_offset : b.m.offset;
	*mapped = got(mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, q.fd, offset));
	return length;
}

static inline int export(struct queue q, unsigned index)
{
	struct v4l2_exportbuffer e = { .type = q.type, .index = index, .flags = O_RDWR | O_CLOEXEC };
	must(ioctl(q.fd, VIDIOC_EXPBUF, &e), "VIDIOC_EXPBUF");
	return e.fd;
}

static inline void stream(struct queue q, unsigned long request)
{
	int type = (int)q.type;
	must(ioctl(q.fd, request, &type), "VIDIOC_STREAMON or VIDIOC_STREAMOFF");
}

// Queues a buffer: a dma-buf, if the queue imports, with `bytes` of data, if it is an OUTPUT queue.
static inline void put(struct queue q, unsigned index, int dmabuf, unsigned bytes)
{
	struct v4l2_plane plane;
	struct v4l2_buffer b = buffer(q, index, &plane);
	plane.bytesused = bytes;
	if (q.memory == V4L2_MEMORY_DMABUF)
		plane.m.fd = dmabuf;
	must(ioctl(q.fd, VIDIOC_QBUF, &b), "VIDIOC_QBUF");
}

// Takes a completed buffer, and waits for it.
static inline struct v4l2_buffer take(struct queue q, struct v4l2_plane *plane)
{
	struct v4l2_buffer b = buffer(q, 0, plane);
	while (ioctl(q.fd, VIDIOC_DQBUF, &b) < 0) {
		struct pollfd p = { .fd = q.fd, .events = V4L2_TYPE_IS_OUTPUT(q.type) ? POLLOUT : POLLIN };
		if (errno != EAGAIN || poll(&p, 1, 10000) <= 0)
			must(-1, "VIDIOC_DQBUF");
	}
	return b;
}
