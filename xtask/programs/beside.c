// Makes calls on a device that change nothing, one every 0.2 ms, and prints how long they took.
//
//   beside NODE SECONDS   prints calls, p50_ns, p99_ns, max_ns
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 1 << 20, PAUSE_NS = 200000 };

static uint64_t took[MOST];

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * UINT64_C(1000000000) + t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
	uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;
	return (one > other) - (one < other);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	int fd = open(argv[1], O_RDWR);
	size_t calls = 0;
	for (uint64_t end = now() + atoi(argv[2]) * UINT64_C(1000000000); calls < MOST && now() < end; calls++) {
		struct v4l2_capability capability;
		uint64_t began = now();
		if (ioctl(fd, VIDIOC_QUERYCAP, &capability)) {
			perror(argv[1]);
			return 1;
		}
		took[calls] = now() - began;
		nanosleep(&(struct timespec){ .tv_nsec = PAUSE_NS }, NULL);
	}
	qsort(took, calls, sizeof(took[0]), by_size);
	printf("calls %zu\np50_ns %ju\np99_ns %ju\nmax_ns %ju\n", calls, (uintmax_t)took[calls / 2],
	       (uintmax_t)took[calls * 99 / 100], (uintmax_t)took[calls - 1]);
	return 0;
}
