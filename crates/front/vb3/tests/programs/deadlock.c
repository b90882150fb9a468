// Makes a converter's OUTPUT buffer wait for its own picture. Argument: the converter.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int device;

static void try(const char *what, int result)
{
	if (result) {
		perror(what);
		exit(1);
	}
}

static int make_buffer(int type)
{
	struct v4l2_requestbuffers request = { .count = 1, .memory = V4L2_MEMORY_MMAP, .type = type };
	try("REQBUFS", ioctl(device, VIDIOC_REQBUFS, &request));
	struct v4l2_exportbuffer export = { .type = type, .flags = O_RDWR | O_CLOEXEC };
	try("EXPBUF", ioctl(device, VIDIOC_EXPBUF, &export));
	try("STREAMON", ioctl(device, VIDIOC_STREAMON, &type));
	return export.fd;
}

static void queue(int type)
{
	struct v4l2_plane plane = { 0 };
	struct v4l2_buffer buffer = { .type = type, .memory = V4L2_MEMORY_MMAP, .length = 1,
				      .m.planes = &plane };
	try("QBUF", ioctl(device, VIDIOC_QBUF, &buffer));
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	device = open(argv[1], O_RDWR);
	int output = V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE;
	int capture = V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE;
	int from = make_buffer(output), to = make_buffer(capture);
	queue(capture);
	struct dma_buf_export_sync_file export = { .flags = DMA_BUF_SYNC_READ };
	try("EXPORT", ioctl(to, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &export));
	struct dma_buf_import_sync_file import = { .flags = DMA_BUF_SYNC_WRITE, .fd = export.fd };
	try("IMPORT", ioctl(from, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &import));
	queue(output);
	struct pollfd ready = { .fd = export.fd, .events = POLLIN };
	printf("after 3 s: %d\n", poll(&ready, 1, 3000));
	try("STREAMOFF", ioctl(device, VIDIOC_STREAMOFF, &output));
	try("STREAMOFF", ioctl(device, VIDIOC_STREAMOFF, &capture));
	printf("after STREAMOFF: %d\n", poll(&ready, 1, 3000));
	return 0;
}
