// Streams through dma-bufs of another driver, and writes what the CPU read of each picture:
//
//   other show KIND FRAMES FILE    the CPU fills buffers, the display /dev/video1 shows them
//   other pass KIND FRAMES FILE    the camera /dev/video0 fills them, the CPU reads them, the display
//                                  shows them
//   other many KIND FRAMES FILE    the display shows a new buffer each time, and releases it
#define _GNU_SOURCE
#include "other.h"
#include <linux/dma-buf.h>
#include <linux/videodev2.h>
#include <stdint.h>
#include <stdlib.h>

#define BUFFERS 4

static const unsigned CAP = V4L2_BUF_TYPE_VIDEO_CAPTURE, OUT = V4L2_BUF_TYPE_VIDEO_OUTPUT;

static void die(const char *what)
{
	fprintf(stderr, "other: %s: %s\n", what, strerror(errno));
	exit(1);
}

static unsigned size_of_picture(int fd, unsigned type)
{
	struct v4l2_format f = { .type = type };
	if (ioctl(fd, VIDIOC_G_FMT, &f))
		die("G_FMT");
	return f.fmt.pix.sizeimage;
}

static int open_device(const char *path, unsigned type)
{
	struct v4l2_requestbuffers r = { .count = BUFFERS, .type = type,
					 .memory = V4L2_MEMORY_DMABUF };
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, VIDIOC_REQBUFS, &r) || r.count != BUFFERS)
		die(path);
	return fd;
}

static void queue(int fd, unsigned type, unsigned index, int dmabuf, unsigned used)
{
	struct v4l2_buffer b = { .index = index, .type = type, .memory = V4L2_MEMORY_DMABUF,
				 .bytesused = used, .m.fd = dmabuf };
	if (ioctl(fd, VIDIOC_QBUF, &b))
		die("QBUF");
}

static unsigned dequeue(int fd, unsigned type)
{
	struct v4l2_buffer b = { .type = type, .memory = V4L2_MEMORY_DMABUF };
	if (ioctl(fd, VIDIOC_DQBUF, &b))
		die("DQBUF");
	if (b.flags & V4L2_BUF_FLAG_ERROR) {
		fprintf(stderr, "other: a picture came with an error\n");
		exit(1);
	}
	return b.index;
}

static void bracket(int dmabuf, uint64_t flags)
{
	struct dma_buf_sync sync = { .flags = flags };
	if (ioctl(dmabuf, DMA_BUF_IOCTL_SYNC, &sync))
		die("DMA_BUF_IOCTL_SYNC");
}

static void save(FILE *file, const void *bytes, size_t size)
{
	if (fwrite(bytes, 1, size, file) != size)
		die("write");
}

static void fill(unsigned char *at, unsigned size, unsigned frame)
{
	uint32_t state = frame * 2654435761u + 1;
	for (unsigned i = 0; i < size; i++) {
		state = state * 1664525u + 1013904223u;
		at[i] = (unsigned char)(state >> 24);
	}
}

// Returns the number of a process's open dma-bufs.
static unsigned dmabufs_of(pid_t pid)
{
	char path[64], to[64];
	unsigned count = 0;
	for (int fd = 0; fd < 128; fd++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
		ssize_t length = readlink(path, to, sizeof(to) - 1);
		to[length < 0 ? 0 : length] = 0;
		count += !strncmp(to, "/dmabuf:", 8);
	}
	return count;
}

static int many(const char *kind, unsigned frames, FILE *file)
{
	unsigned type = OUT;
	int display = open_device("/dev/video1", OUT);
	unsigned size = size_of_picture(display, OUT);
	if (ioctl(display, VIDIOC_STREAMON, &type))
		die("STREAMON");
	for (unsigned frame = 0; frame < frames; frame++) {
		int dmabuf = other_buffer(kind, size);
		void *at = dmabuf < 0 ? MAP_FAILED
				      : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
		if (at == MAP_FAILED)
			die(kind);
		bracket(dmabuf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE);
		fill(at, size, frame);
		save(file, at, size);
		bracket(dmabuf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_WRITE);
		// The first stays at a separate index, so that the queue is never empty.
		queue(display, OUT, frame == 0, dmabuf, size);
		dequeue(display, OUT);
		if (frame > 0) {
			munmap(at, size);
			close(dmabuf);
		}
	}
	// The device's queue still refers to the first and the last one. The others are released later.
	unsigned held = 0;
	for (int look = 0; look < 500; look++) {
		held = dmabufs_of(getppid());
		if (held <= 2)
			return fclose(file) ? 1 : 0;
		usleep(10000);
	}
	fprintf(stderr, "other: %u dma-bufs are still held\n", held);
	return 1;
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	if (!strcmp(argv[1], "many")) {
		FILE *all = fopen(argv[4], "w");
		return all ? many(argv[2], (unsigned)atoi(argv[3]), all) : 1;
	}
	int pass = !strcmp(argv[1], "pass");
	unsigned frames = (unsigned)atoi(argv[3]), type = OUT, type_in = CAP;
	int display = open_device("/dev/video1", OUT);
	int camera = pass ? open_device("/dev/video0", CAP) : -1;
	unsigned size = size_of_picture(display, OUT);
	FILE *file = fopen(argv[4], "w");
	int dmabufs[BUFFERS];
	unsigned char *maps[BUFFERS];
	for (unsigned i = 0; i < BUFFERS; i++) {
		dmabufs[i] = other_buffer(argv[2], size);
		if (dmabufs[i] < 0 || !file)
			die(argv[2]);
		maps[i] = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, dmabufs[i], 0);
		if (maps[i] == MAP_FAILED)
			die("mmap");
		if (pass)
			queue(camera, CAP, i, dmabufs[i], 0);
	}
	if (ioctl(display, VIDIOC_STREAMON, &type) || (pass && ioctl(camera, VIDIOC_STREAMON, &type_in)))
		die("STREAMON");
	for (unsigned frame = 0; frame < frames; frame++) {
		unsigned i = pass ? dequeue(camera, CAP) : frame % BUFFERS;
		uint64_t access = pass ? DMA_BUF_SYNC_READ : DMA_BUF_SYNC_WRITE;
		if (!pass && frame >= BUFFERS)
			dequeue(display, OUT);
		bracket(dmabufs[i], DMA_BUF_SYNC_START | access);
		if (!pass)
			fill(maps[i], size, frame);
		save(file, maps[i], size);
		bracket(dmabufs[i], DMA_BUF_SYNC_END | access);
		queue(display, OUT, i, dmabufs[i], size);
		if (pass) {
			dequeue(display, OUT);
			queue(camera, CAP, i, dmabufs[i], 0);
		}
	}
	for (unsigned left = frames < BUFFERS ? frames : BUFFERS; !pass && left; left--)
		dequeue(display, OUT);
	if (fclose(file))
		die("write");
	return 0;
}
