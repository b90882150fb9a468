// Passes frames from a camera to a display, in the camera's buffers. Arguments: camera, display,
// frames, and the time when the display gets a buffer. "wait": after the camera returns it. "never": at
// once, without a wait. "fences": at once, with the camera's fence imported.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/videodev2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BUFFERS 3

static int camera, display, bufs[BUFFERS];
static unsigned sizes[BUFFERS];

static void try(const char *what, int result)
{
	if (result) {
		perror(what);
		exit(1);
	}
}

static struct v4l2_buffer buffer_of(int fd, int index)
{
	struct v4l2_buffer buffer = {
		.index = index,
		.type = fd == display ? V4L2_BUF_TYPE_VIDEO_OUTPUT : V4L2_BUF_TYPE_VIDEO_CAPTURE,
		.memory = fd == display ? V4L2_MEMORY_DMABUF : V4L2_MEMORY_MMAP,
	};
	if (fd == display) {
		buffer.m.fd = bufs[index];
		buffer.length = buffer.bytesused = sizes[index];
	}
	return buffer;
}

static void queue(int fd, int index)
{
	struct v4l2_buffer buffer = buffer_of(fd, index);
	try("QBUF", ioctl(fd, VIDIOC_QBUF, &buffer));
}

static void dequeue(int fd, unsigned index)
{
	struct v4l2_buffer buffer = buffer_of(fd, index);
	try("DQBUF", ioctl(fd, VIDIOC_DQBUF, &buffer));
	if (buffer.index != index) {
		fprintf(stderr, "buffer %u, not %u\n", buffer.index, index);
		exit(1);
	}
}

static void stream(int fd)
{
	int type = buffer_of(fd, 0).type;
	try("STREAMON", ioctl(fd, VIDIOC_STREAMON, &type));
}

static void make_buffers(void)
{
	struct v4l2_format format = { .type = V4L2_BUF_TYPE_VIDEO_CAPTURE };
	try("G_FMT", ioctl(camera, VIDIOC_G_FMT, &format));
	format.type = V4L2_BUF_TYPE_VIDEO_OUTPUT;
	try("S_FMT", ioctl(display, VIDIOC_S_FMT, &format));
	struct v4l2_requestbuffers own = { .count = BUFFERS, .memory = V4L2_MEMORY_MMAP,
					   .type = V4L2_BUF_TYPE_VIDEO_CAPTURE };
	struct v4l2_requestbuffers shown = { .count = BUFFERS, .memory = V4L2_MEMORY_DMABUF,
					     .type = V4L2_BUF_TYPE_VIDEO_OUTPUT };
	try("REQBUFS", ioctl(camera, VIDIOC_REQBUFS, &own));
	try("REQBUFS", ioctl(display, VIDIOC_REQBUFS, &shown));
	for (int i = 0; i < BUFFERS; i++) {
		struct v4l2_exportbuffer export = { .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .index = i,
						    .flags = O_RDWR | O_CLOEXEC };
		try("EXPBUF", ioctl(camera, VIDIOC_EXPBUF, &export));
		bufs[i] = export.fd;
		sizes[i] = format.fmt.pix.sizeimage;
	}
}

int main(int argc, char **argv)
{
	if (argc < 5)
		return 2;
	camera = open(argv[1], O_RDWR);
	display = open(argv[2], O_RDWR);
	int frames = atoi(argv[3]), waits = !strcmp(argv[4], "wait"), fences = !strcmp(argv[4], "fences");
	make_buffers();
	stream(camera);
	stream(display);
	for (int frame = 0; frame < frames; frame++) {
		int i = frame % BUFFERS;
		queue(camera, i);
		if (waits)
			dequeue(camera, i);
		if (fences) {
			struct dma_buf_export_sync_file export = { .flags = DMA_BUF_SYNC_READ };
			try("EXPORT", ioctl(bufs[i], DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &export));
			struct dma_buf_import_sync_file import = { .flags = DMA_BUF_SYNC_WRITE,
								   .fd = export.fd };
			try("IMPORT", ioctl(bufs[i], DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &import));
			close(export.fd);
		}
		queue(display, i);
		struct dma_buf_sync sync = { DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ };
		try("SYNC", ioctl(bufs[i], DMA_BUF_IOCTL_SYNC, &sync));
		sync.flags = DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ;
		try("SYNC", ioctl(bufs[i], DMA_BUF_IOCTL_SYNC, &sync));
		if (!waits)
			dequeue(camera, i);
		dequeue(display, i);
	}
	return 0;
}
