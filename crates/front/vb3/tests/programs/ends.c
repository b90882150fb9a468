// Exports each of twelve buffers seventy times and frees the queue's references. A child then holds all
// descriptors alone. Kills it, and requests twelve buffers again, argv[2] times. Prints how many it
// got.
#include <fcntl.h>
#include <linux/videodev2.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BUFFERS = 12, EXPORTS = 70, CAP = V4L2_BUF_TYPE_VIDEO_CAPTURE };

static unsigned reqbufs(int fd, unsigned count)
{
	struct v4l2_requestbuffers req = { .count = count, .type = CAP, .memory = V4L2_MEMORY_MMAP };
	if (ioctl(fd, VIDIOC_REQBUFS, &req)) {
		perror("REQBUFS");
		return 0;
	}
	return req.count;
}

int main(int argc, char **argv)
{
	int camera = argc == 3 ? open(argv[1], O_RDWR) : -1;
	if (camera < 0)
		return 2;
	unsigned got = reqbufs(camera, BUFFERS);
	for (int round = atoi(argv[2]); round > 0 && got == BUFFERS; round--) {
		int exports[BUFFERS * EXPORTS];
		for (unsigned i = 0; i < BUFFERS * EXPORTS; i++) {
			struct v4l2_exportbuffer export = { .type = CAP, .index = i % BUFFERS, .flags = O_RDWR };
			if (ioctl(camera, VIDIOC_EXPBUF, &export)) {
				perror("EXPBUF");
				return 1;
			}
			exports[i] = export.fd;
		}
		pid_t child = fork();
		if (child < 0) {
			perror("fork");
			return 1;
		}
		while (!child)
			pause();
		reqbufs(camera, 0);
		for (int i = 0; i < BUFFERS * EXPORTS; i++)
			close(exports[i]);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		got = reqbufs(camera, BUFFERS);
	}
	printf("%u buffers\n", got);
	return 0;
}
