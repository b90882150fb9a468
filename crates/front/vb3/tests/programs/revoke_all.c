// `$VB3 ctl revoke` revokes all buffers of a camera at the same time. An order is answered when accesses of
// its buffer fault. Argument: the camera.
#include <fcntl.h>
#include <linux/videodev2.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

enum { BUFFERS = 8, PAGE = 4096, TYPE = V4L2_BUF_TYPE_VIDEO_CAPTURE };

static volatile char *mapped[BUFFERS];
static char numbers[BUFFERS][32];
static atomic_int answered, early;
static __thread sigjmp_buf back;

static void on_fault(int signal)
{
	siglongjmp(back, signal);
}

static int faults(volatile char *at)
{
	if (sigsetjmp(back, 1))
		return 1;
	(void)*at;
	return 0;
}

static void *revoke(void *number)
{
	int index = (char(*)[32])number - numbers;
	char order[100];

	snprintf(order, sizeof order, "$VB3 ctl revoke --mappings=fault %s", numbers[index]);
	if (system(order))
		exit(2);
	answered++;
	early += !faults(mapped[index]);
	return NULL;
}

int main(int argc, char **argv)
{
	struct v4l2_requestbuffers req = { .count = BUFFERS, .type = TYPE, .memory = V4L2_MEMORY_MMAP };
	pthread_t threads[BUFFERS];
	int fd = open(argv[argc - 1], O_RDWR);

	signal(SIGBUS, on_fault);
	if (ioctl(fd, VIDIOC_REQBUFS, &req) || req.count != BUFFERS)
		return 3;
	for (int i = 0; i < BUFFERS; i++) {
		struct v4l2_buffer b = { .index = i, .type = TYPE, .memory = V4L2_MEMORY_MMAP };
		if (ioctl(fd, VIDIOC_QUERYBUF, &b))
			return 4;
		mapped[i] = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, b.m.offset);
		if (mapped[i] == MAP_FAILED)
			return 5;
	}
	FILE *list = popen("$VB3 ctl buffers", "r");
	for (char line[512]; list && fgets(line, sizeof line, list);) {
		char number[32];
		int index;
		if (sscanf(line, "%31s /dev/video0 video-capture buffer %d ", number, &index) == 2)
			strcpy(numbers[index], number);
	}
	pclose(list);
	for (int i = 0; i < BUFFERS; i++)
		pthread_create(&threads[i], NULL, revoke, numbers[i]);
	for (int i = 0; i < BUFFERS; i++)
		pthread_join(threads[i], NULL);
	printf("answered %d, early %d\n", answered, early);
	return 0;
}
