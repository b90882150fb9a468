// Both sides of a loopback with the same buffers: share OWNER FRAME_BYTES. The reader or the writer
// allocates them, and the other side imports them. Frames come from pattern.raw; the reader writes its
// frames to got.raw. Every buffer returns with its frame's fields.
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define BUFFERS 3
#define OUT V4L2_BUF_TYPE_VIDEO_OUTPUT
#define CAP V4L2_BUF_TYPE_VIDEO_CAPTURE

static int shared[BUFFERS];
static unsigned owner;

static void must(int good, const char *what)
{
	if (!good) {
		fprintf(stderr, "share: %s: %s\n", what, strerror(errno));
		exit(1);
	}
}

static void want(long long wanted, long long found, const char *what)
{
	if (wanted != found) {
		fprintf(stderr, "share: %s: %lld instead of %lld\n", what, found, wanted);
		exit(1);
	}
}

static void allocate(int fd, unsigned type)
{
	struct v4l2_requestbuffers request = { .count = BUFFERS, .type = type,
		.memory = type == owner ? V4L2_MEMORY_MMAP : V4L2_MEMORY_DMABUF };
	must(ioctl(fd, VIDIOC_REQBUFS, &request) == 0, "REQBUFS");
	want(BUFFERS, request.count, "buffers");
	for (unsigned i = 0; type == owner && i < BUFFERS; i++) {
		struct v4l2_exportbuffer export = { .type = type, .index = i, .flags = O_RDWR | O_CLOEXEC };
		must(ioctl(fd, VIDIOC_EXPBUF, &export) == 0, "EXPBUF");
		shared[i] = export.fd;
	}
}

// What a writer says of a frame; it gives the first one no timestamp.
static struct v4l2_buffer frame_at(unsigned sequence)
{
	struct v4l2_buffer b = { .flags = sequence % 3 ? 0 : V4L2_BUF_FLAG_TIMECODE | V4L2_BUF_FLAG_KEYFRAME };
	b.field = sequence % 2 ? V4L2_FIELD_INTERLACED : V4L2_FIELD_NONE;
	b.timestamp.tv_sec = sequence ? 5000 + sequence : 0;
	b.timestamp.tv_usec = sequence ? 250000 : 0;
	b.timecode.frames = sequence % 3 ? 0 : sequence;
	return b;
}

static void queue(int fd, unsigned type, unsigned index, unsigned used, struct v4l2_buffer b)
{
	b.type = type;
	b.index = index;
	b.bytesused = used;
	b.memory = V4L2_MEMORY_MMAP;
	if (type != owner) {
		b.memory = V4L2_MEMORY_DMABUF;
		b.m.fd = shared[index];
	}
	must(ioctl(fd, VIDIOC_QBUF, &b) == 0, type == OUT ? "QBUF by the writer" : "QBUF by the reader");
}

// The ways to wait for a buffer: poll, epoll, or DQBUF alone.
static void await(int fd, unsigned type, unsigned way)
{
	struct pollfd ready = { .fd = fd, .events = type == OUT ? POLLOUT : POLLIN };
	struct epoll_event event = { .events = type == OUT ? EPOLLOUT : EPOLLIN };
	if (way == 1) {
		must(poll(&ready, 1, 10000) == 1, "poll");
	} else if (way == 3) {
		int set = epoll_create1(EPOLL_CLOEXEC);
		must(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0, "epoll_ctl");
		must(epoll_wait(set, &event, 1, 10000) == 1, "epoll_wait");
		close(set);
	}
}

static struct v4l2_buffer dequeue(int fd, unsigned type, unsigned index, unsigned sequence)
{
	struct v4l2_buffer b = { .type = type, .memory = type == owner ? V4L2_MEMORY_MMAP : V4L2_MEMORY_DMABUF };
	await(fd, type, sequence % 6);
	must(ioctl(fd, VIDIOC_DQBUF, &b) == 0, type == OUT ? "DQBUF by the writer" : "DQBUF by the reader");
	want(index, b.index, "index");
	want(sequence, b.sequence, "sequence");
	want(0, b.flags & (V4L2_BUF_FLAG_ERROR | V4L2_BUF_FLAG_QUEUED), "flags");
	return b;
}

static void bracket(int fd, unsigned long long flags)
{
	struct dma_buf_sync sync = { .flags = flags };
	must(ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync) == 0, "DMA_BUF_IOCTL_SYNC");
}

int main(int argc, char **argv)
{
	must(argc == 3, "share OWNER FRAME_BYTES");
	owner = strcmp(argv[1], "reader") == 0 ? CAP : OUT;
	size_t bytes = strtoul(argv[2], NULL, 10);
	int writer = open("/dev/video0", O_RDWR), reader = open("/dev/video1", O_RDWR);
	must(writer >= 0 && reader >= 0, "open");
	unsigned order[] = { owner, owner == OUT ? CAP : OUT };
	for (int i = 0; i < 2; i++)
		allocate(order[i] == OUT ? writer : reader, order[i]);
	char *map[BUFFERS];
	for (unsigned i = 0; i < BUFFERS; i++) {
		map[i] = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, shared[i], 0);
		must(map[i] != MAP_FAILED, "mmap");
		queue(reader, CAP, i, 0, (struct v4l2_buffer){ 0 });
	}
	unsigned cap = CAP, out = OUT;
	must(ioctl(reader, VIDIOC_STREAMON, &cap) == 0, "STREAMON by the reader");
	FILE *pattern = fopen("pattern.raw", "rb"), *got = fopen("got.raw", "wb");
	char *frame = malloc(bytes);
	must(pattern && got && frame, "files");
	unsigned sequence = 0;
	for (; fread(frame, bytes, 1, pattern) == 1; sequence++) {
		// Buffers may return in another order than the reader's.
		unsigned index = (sequence * 2) % BUFFERS;
		bracket(shared[index], DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE);
		memcpy(map[index], frame, bytes);
		bracket(shared[index], DMA_BUF_SYNC_END | DMA_BUF_SYNC_WRITE);
		struct v4l2_buffer given = frame_at(sequence);
		queue(writer, OUT, index, bytes, given);
		if (sequence == 0)
			must(ioctl(writer, VIDIOC_STREAMON, &out) == 0, "STREAMON by the writer");
		struct v4l2_buffer read = dequeue(reader, CAP, index, sequence);
		want(bytes, read.bytesused, "bytes used");
		bracket(shared[index], DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ);
		must(fwrite(map[index], bytes, 1, got) == 1, "got.raw");
		bracket(shared[index], DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ);
		// The writer gets its buffer back, even if the reader has not continued.
		if (sequence % 2 == 0)
			queue(reader, CAP, index, 0, (struct v4l2_buffer){ 0 });
		struct v4l2_buffer written = dequeue(writer, OUT, index, sequence);
		want(bytes, written.bytesused, "bytes used");
		want(written.timestamp.tv_sec, read.timestamp.tv_sec, "seconds");
		want(written.timestamp.tv_usec, read.timestamp.tv_usec, "microseconds");
		want(1, read.timestamp.tv_sec > 0 || read.timestamp.tv_usec > 0, "timestamps above 0");
		unsigned kept = V4L2_BUF_FLAG_TIMECODE | V4L2_BUF_FLAG_KEYFRAME;
		want(given.flags, read.flags & kept, "flags");
		want(given.field, read.field, "field");
		want(given.timecode.frames, read.timecode.frames, "timecode");
		if (sequence) {
			want(given.timestamp.tv_sec, read.timestamp.tv_sec, "given seconds");
			want(given.timestamp.tv_usec, read.timestamp.tv_usec, "given microseconds");
		}
		if (sequence % 2 == 1)
			queue(reader, CAP, index, 0, (struct v4l2_buffer){ 0 });
	}
	must(fclose(got) == 0, "got.raw");
	printf("%u frames\n", sequence);
	return 0;
}
