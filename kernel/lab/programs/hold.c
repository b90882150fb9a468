// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Allocates COUNT buffers, exports them as dma-bufs, and closes the device. Then prints a line, and holds the
 * dma-bufs until it can read a line.
 *
 *   hold DEVICE COUNT
 */
#define _GNU_SOURCE
#include "edu.h"

int main(int argc, char **argv)
{
	int count = argc > 2 ? atoi(argv[2]) : 0;
	char line[16];

	video = argc > 2 ? open(argv[1], O_RDWR) : -1;
	if (video < 0 || set_size(65536) || reqbufs(CAP, V4L2_MEMORY_MMAP, count, 0))
		return 1;
	for (int i = 0; i < count; i++) {
		struct v4l2_exportbuffer e = { .type = CAP, .index = i, .flags = O_RDWR };

		if (call(video, VIDIOC_EXPBUF, &e))
			return 1;
	}
	close(video);
	puts("held");
	fflush(stdout);
	return read(0, line, sizeof(line)) < 0;
}
