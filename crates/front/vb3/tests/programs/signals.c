// Streams while signals come 10,000 times a second: signals FRAMES restart|interrupt.
//
// A QBUF that ran twice would fail with EINVAL; a lost one would leave the camera without buffers.
// Without SA_RESTART any call may be interrupted, as the kernel's own calls may be while they wait for
// the queue's lock. Such a call must have no effect, and its repetition must succeed.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <unistd.h>

static volatile sig_atomic_t signals;

static void count_signal(int number)
{
	(void)number;
	signals++;
}

static int restart, interrupted;

// Repeats a call until it is not interrupted.
static int call(int fd, unsigned long request, void *argument)
{
	for (;;) {
		int result = ioctl(fd, request, argument);
		if (result >= 0 || errno != EINTR || restart)
			return result;
		interrupted++;
	}
}

static void must(int result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "signals: %s: %s after %d signals\n", what, strerror(errno), (int)signals);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	restart = !strcmp(argv[2], "restart");
	unsigned type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
	int fd = open("/dev/video0", O_RDWR);
	must(fd, "/dev/video0");
	struct v4l2_requestbuffers request = { .count = 4, .type = type, .memory = V4L2_MEMORY_MMAP };
	must(call(fd, VIDIOC_REQBUFS, &request), "REQBUFS");
	for (unsigned i = 0; i < request.count; i++) {
		struct v4l2_buffer b = { .index = i, .type = type, .memory = V4L2_MEMORY_MMAP };
		must(call(fd, VIDIOC_QBUF, &b), "QBUF");
	}
	struct sigaction action = { .sa_handler = count_signal, .sa_flags = restart ? SA_RESTART : 0 };
	sigaction(SIGALRM, &action, NULL);
	struct itimerval every = { { 0, 100 }, { 0, 100 } };
	setitimer(ITIMER_REAL, &every, NULL);
	must(call(fd, VIDIOC_STREAMON, &type), "STREAMON");
	long last = -1;
	for (int i = 0; i < atoi(argv[1]); i++) {
		struct v4l2_buffer b;
		for (;;) {
			if (i % 2) {
				struct pollfd waiting = { .fd = fd, .events = POLLIN };
				int ready = poll(&waiting, 1, 5000);
				if (ready < 0 && errno == EINTR) {
					interrupted++;
					continue;
				}
				must(ready, "poll");
				if (ready == 0) {
					fprintf(stderr, "signals: no frame in 5 s\n");
					return 1;
				}
			}
			memset(&b, 0, sizeof(b));
			b.type = type;
			b.memory = V4L2_MEMORY_MMAP;
			must(call(fd, VIDIOC_DQBUF, &b), "DQBUF");
			break;
		}
		if ((long)b.sequence <= last) {
			fprintf(stderr, "signals: frame %u came after %ld\n", b.sequence, last);
			return 1;
		}
		last = b.sequence;
		must(call(fd, VIDIOC_QBUF, &b), "QBUF");
	}
	must(call(fd, VIDIOC_STREAMOFF, &type), "STREAMOFF");
	if (printf("signals %d interrupted %d\n", (int)signals, interrupted) < 0 || fflush(stdout))
		return 3;
	return 0;
}
