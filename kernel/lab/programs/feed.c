// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Writes NV12 frames of 1920x1080 to a video output, 30 a second, until it is killed.
 *
 *   feed DEVICE
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/videodev2.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { WIDTH = 1920, HEIGHT = 1080, SIZE = WIDTH * HEIGHT * 3 / 2, PERIOD_NS = 33333333 };

static char frame[SIZE];

int main(int argc, char **argv)
{
	struct v4l2_format format = {
		.type = V4L2_BUF_TYPE_VIDEO_OUTPUT,
		.fmt.pix = { .width = WIDTH, .height = HEIGHT, .pixelformat = V4L2_PIX_FMT_NV12 },
	};
	struct timespec next;
	int video = argc > 1 ? open(argv[1], O_RDWR) : -1;

	if (video < 0 || ioctl(video, VIDIOC_S_FMT, &format) || format.fmt.pix.sizeimage != SIZE)
		return 1;
	clock_gettime(CLOCK_MONOTONIC, &next);
	while (write(video, frame, SIZE) == SIZE) {
		next.tv_nsec += PERIOD_NS;
		if (next.tv_nsec >= 1000000000) {
			next.tv_nsec -= 1000000000;
			next.tv_sec++;
		}
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, 0);
	}
	return 1;
}
