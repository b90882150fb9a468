// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What a program gets of a driver (vb3edu late=1 or 2) that completes a buffer once more after STREAMOFF,
 * when the program has queued it again: no device has filled it.
 *
 *   late DEVICE STEP WANT
 *
 * One line of JSON: the errno of DQBUF, and the one that is due.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#define OUT V4L2_BUF_TYPE_VIDEO_OUTPUT

static const char *step;

static void must(int fd, unsigned long request, void *arg, const char *what)
{
	if (ioctl(fd, request, arg) == 0)
		return;
	printf("{\"step\":\"%s\",\"at\":\"%s\",\"errno\":%d,\"ok\":false}\n", step, what, errno);
	exit(1);
}

static void start(int video)
{
	struct v4l2_buffer v = { .type = OUT, .memory = V4L2_MEMORY_MMAP, .bytesused = 4096 };
	int type = OUT;

	must(video, VIDIOC_QBUF, &v, "qbuf");
	must(video, VIDIOC_STREAMON, &type, "streamon");
}

int main(int argc, char **argv)
{
	struct v4l2_format f = { .type = OUT, .fmt.pix.sizeimage = 4096 };
	struct v4l2_requestbuffers r = { .type = OUT, .memory = V4L2_MEMORY_MMAP, .count = 1 };
	struct v4l2_buffer v = { .type = OUT, .memory = V4L2_MEMORY_MMAP };
	int video, type = OUT;

	if (argc != 4)
		return 2;
	step = argv[2];
	video = open(argv[1], O_RDWR | O_NONBLOCK);
	must(video, VIDIOC_S_FMT, &f, "format");
	must(video, VIDIOC_REQBUFS, &r, "reqbufs");
	start(video);
	must(video, VIDIOC_STREAMOFF, &type, "streamoff");
	start(video);
	printf("{\"step\":\"%s\",\"errno\":%d,\"want\":%s}\n", step,
	       ioctl(video, VIDIOC_DQBUF, &v) ? errno : 0, argv[3]);
	must(video, VIDIOC_STREAMOFF, &type, "second streamoff");
	return 0;
}
