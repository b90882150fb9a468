// Random ioctls with random arguments and pointers on a device: random COUNT SEED NODE.
//
// A child makes the calls, so that the test detects a crash of the client itself.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/media.h>
#include <linux/v4l2-subdev.h>
#include <linux/videodev2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t state;

static uint64_t number(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static const unsigned long KNOWN[] = {
	VIDIOC_QUERYCAP, VIDIOC_ENUM_FMT, VIDIOC_G_FMT, VIDIOC_S_FMT, VIDIOC_REQBUFS, VIDIOC_QUERYBUF,
	VIDIOC_QBUF, VIDIOC_EXPBUF, VIDIOC_DQBUF, VIDIOC_STREAMON, VIDIOC_STREAMOFF, VIDIOC_G_PARM,
	VIDIOC_S_PARM, VIDIOC_G_STD, VIDIOC_ENUMINPUT, VIDIOC_G_CTRL, VIDIOC_S_CTRL, VIDIOC_QUERYCTRL,
	VIDIOC_QUERYMENU, VIDIOC_G_INPUT, VIDIOC_S_INPUT, VIDIOC_ENUMOUTPUT, VIDIOC_G_OUTPUT,
	VIDIOC_S_OUTPUT, VIDIOC_TRY_FMT, VIDIOC_G_PRIORITY, VIDIOC_S_PRIORITY, VIDIOC_G_EXT_CTRLS,
	VIDIOC_S_EXT_CTRLS, VIDIOC_TRY_EXT_CTRLS, VIDIOC_ENUM_FRAMESIZES, VIDIOC_ENUM_FRAMEINTERVALS,
	VIDIOC_DQEVENT, VIDIOC_SUBSCRIBE_EVENT, VIDIOC_UNSUBSCRIBE_EVENT, VIDIOC_CREATE_BUFS,
	VIDIOC_PREPARE_BUF, VIDIOC_G_SELECTION, VIDIOC_S_SELECTION, VIDIOC_QUERY_EXT_CTRL,
	VIDIOC_LOG_STATUS, _IOWR('V', 104, char[64]), DMA_BUF_IOCTL_SYNC,
	MEDIA_IOC_DEVICE_INFO, MEDIA_IOC_ENUM_ENTITIES, MEDIA_IOC_ENUM_LINKS, MEDIA_IOC_SETUP_LINK,
	MEDIA_IOC_G_TOPOLOGY, VIDIOC_SUBDEV_G_FMT, VIDIOC_SUBDEV_S_FMT, VIDIOC_SUBDEV_ENUM_MBUS_CODE,
	VIDIOC_SUBDEV_ENUM_FRAME_SIZE, VIDIOC_SUBDEV_G_SELECTION, VIDIOC_SUBDEV_S_SELECTION,
};

#define AREA 65536

static unsigned char *area; // an unmapped page follows
static unsigned char *read_only;

static uint32_t value(void)
{
	static const uint32_t SPECIAL[] = { 0, 1, 2, 3, 4, 8, 9, 10, 31, 32, 64, 4096, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffff000 };
	switch (number() % 3) {
	case 0:
		return (uint32_t)number();
	case 1:
		return SPECIAL[number() % (sizeof(SPECIAL) / sizeof(*SPECIAL))];
	default:
		return (uint32_t)(number() % 6);
	}
}

static uint64_t pointer(void)
{
	switch (number() % 8) {
	case 0:
		return 0;
	case 1:
		return number();
	case 2:
		return (uint64_t)(area + AREA - number() % 64); // runs over the end
	case 3:
		return (uint64_t)read_only;
	default:
		return (uint64_t)(area + number() % (AREA / 2)); // odd addresses, too
	}
}

static void fill(unsigned char *at, size_t length)
{
	for (size_t i = 0; i + 4 <= length; i += 4) {
		uint32_t v = value();
		memcpy(at + i, &v, 4);
	}
	// Pointers at the structures' offsets, and existing types.
	for (int i = 0; i < 3; i++) {
		uint64_t p = pointer();
		memcpy(at + (number() % (length / 8)) * 8, &p, 8);
	}
	uint32_t type = (uint32_t[]){ 1, 2, 9, 10 }[number() % 4];
	if (number() % 2)
		memcpy(at + (number() % 3) * 4, &type, 4);
}

static int calls(long count, const char *node)
{
	int fds[3];
	for (int i = 0; i < 3; i++) {
		fds[i] = open(node, O_RDWR | O_NONBLOCK);
		if (fds[i] < 0) {
			perror(node);
			return 1;
		}
	}
	long done = 0, refused = 0;
	for (long i = 0; i < count; i++) {
		unsigned long request = KNOWN[number() % (sizeof(KNOWN) / sizeof(*KNOWN))];
		if (number() % 8 == 0)
			request = _IOC(number() % 4, 'V', number() % 256, number() % 512);
		fill(area, 512);
		uint64_t argument = number() % 4 ? (uint64_t)area : pointer();
		if (ioctl(fds[number() % 3], request, argument) < 0)
			refused++;
		else
			done++;
		if (number() % 64 == 0) {
			size_t length = number() % 3 ? 4096 * (1 + number() % 64) : number();
			void *map = mmap(NULL, length, (int)(number() % 4), number() % 4 ? MAP_SHARED : MAP_PRIVATE, fds[number() % 3], (long)(number() % 256) * 4096);
			if (map != MAP_FAILED && number() % 2)
				munmap(map, length);
		}
		if (number() % 256 == 0 && close(fds[0]) == 0)
			fds[0] = open(node, O_RDWR | O_NONBLOCK);
		if (read(fds[1], (void *)pointer(), number() % 5 ? 0 : number() % AREA) < 0)
			refused++;
	}
	printf("done %ld refused %ld\n", done, refused);
	return done > 0 && refused > 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	state = strtoull(argv[2], NULL, 0) * 0x9e3779b97f4a7c15u + 1;
	area = mmap(NULL, AREA + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(area + AREA, 4096);
	read_only = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		int status = calls(atol(argv[1]), argv[3]);
		fflush(stdout);
		_exit(status);
	}
	int status;
	if (waitpid(child, &status, 0) != child)
		return 1;
	if (!WIFEXITED(status)) {
		fprintf(stderr, "random: the client ended by signal %d\n", WTERMSIG(status));
		return 1;
	}
	return WEXITSTATUS(status);
}
