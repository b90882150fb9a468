// A display imports a camera's buffer, and `$VB3 ctl revoke` revokes it. Prints what the program finds
// in its mappings, and the results of calls, one line each. Arguments: camera, display.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static int camera, display;

static void say(const char *what, long result)
{
	printf("%s: %s\n", what, result < 0 ? strerrorname_np(errno) : "ok");
	fflush(stdout);
}

static int reqbufs(int fd, int type, int memory, int count)
{
	struct v4l2_requestbuffers req = { .count = count, .type = type, .memory = memory };
	return ioctl(fd, VIDIOC_REQBUFS, &req);
}

static int own(unsigned long request, int index, unsigned *at)
{
	struct v4l2_buffer buffer = { .index = index, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE,
				      .memory = V4L2_MEMORY_MMAP };
	int result = ioctl(camera, request, &buffer);
	if (at)
		*at = buffer.m.offset;
	return result;
}

static int export(int index)
{
	struct v4l2_exportbuffer expbuf = { .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .index = index,
					    .flags = O_RDWR };
	return ioctl(camera, VIDIOC_EXPBUF, &expbuf) ? -1 : expbuf.fd;
}

static int show(int buf)
{
	struct v4l2_buffer buffer = { .type = V4L2_BUF_TYPE_VIDEO_OUTPUT, .memory = V4L2_MEMORY_DMABUF,
				      .m.fd = buf, .bytesused = 6144 };
	return ioctl(display, VIDIOC_QBUF, &buffer);
}

static int zeroes(const unsigned char *bytes)
{
	for (int i = 0; i < 4096; i++)
		if (bytes[i])
			return 0;
	return 1;
}

int main(int argc, char **argv)
{
	char number[64] = "", order[256];
	unsigned at;
	int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;

	if (argc < 3)
		return 2;
	camera = open(argv[1], O_RDWR);
	display = open(argv[2], O_RDWR);
	say("REQBUFS", reqbufs(camera, V4L2_BUF_TYPE_VIDEO_CAPTURE, V4L2_MEMORY_MMAP, 2));
	say("REQBUFS", reqbufs(display, V4L2_BUF_TYPE_VIDEO_OUTPUT, V4L2_MEMORY_DMABUF, 2));
	int buf = export(0);
	unsigned char *one = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, buf, 0);
	own(VIDIOC_QUERYBUF, 0, &at);
	unsigned char *two = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, camera, at);
	memset(one, 0x5a, 4096);
	say("QBUF", show(buf));

	FILE *list = popen("$VB3 ctl buffers", "r");
	for (char line[512]; list && fgets(line, sizeof line, list);)
		if (strstr(line, " buffer 0 "))
			sscanf(line, "%63s", number);
	pclose(list);
	snprintf(order, sizeof order, "$VB3 ctl revoke %s", number);
	printf("revoke: %d\n", WEXITSTATUS(system(order)));
	printf("the mappings: %s\n", zeroes(one) && zeroes(two) ? "zeroes" : "what was there");
	one[7] = 1;
	printf("a write: %s\n", two[7] == 1 ? "goes to memory" : "is lost");
	struct pollfd poll_buf = { .fd = buf, .events = POLLIN | POLLOUT };
	int ready = poll(&poll_buf, 1, 2000);
	printf("poll: %d %#x\n", ready, poll_buf.revents);
	reqbufs(display, V4L2_BUF_TYPE_VIDEO_OUTPUT, V4L2_MEMORY_DMABUF, 2);
	say("QBUF at the display", show(buf));
	say("QBUF at the camera", own(VIDIOC_QBUF, 0, NULL));
	say("EXPBUF", export(0));
	say("mmap", (long)mmap(NULL, 4096, PROT_READ, MAP_SHARED, camera, at));
	struct dma_buf_sync sync = { .flags = DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ };
	say("SYNC", ioctl(buf, DMA_BUF_IOCTL_SYNC, &sync));
	printf("revoke: %d\n", WEXITSTATUS(system(order)));
	printf("revoke: %d\n", WEXITSTATUS(system("$VB3 ctl revoke nothing")));

	say("QBUF of the other", own(VIDIOC_QBUF, 1, NULL));
	say("STREAMON", ioctl(camera, VIDIOC_STREAMON, &type));
	say("DQBUF", own(VIDIOC_DQBUF, 1, NULL));
	ioctl(camera, VIDIOC_STREAMOFF, &type);
	say("REQBUFS", reqbufs(camera, V4L2_BUF_TYPE_VIDEO_CAPTURE, V4L2_MEMORY_MMAP, 0));
	say("REQBUFS", reqbufs(camera, V4L2_BUF_TYPE_VIDEO_CAPTURE, V4L2_MEMORY_MMAP, 2));
	say("QBUF of a new one", own(VIDIOC_QBUF, 0, NULL));
	return 0;
}
