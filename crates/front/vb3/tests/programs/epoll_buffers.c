// Tests epoll on a dma-buf and on sync files, level and edge, with a device and an eventfd in the same
// set. Prints one line with the result of each wait. Argument: camera.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/videodev2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct create { __u32 value; char name[32]; __s32 fence; };
#define CREATE_FENCE _IOWR('W', 0, struct create)
#define INCREMENT _IOW('W', 1, __u32)

#define BOTH (EPOLLIN | EPOLLOUT)

static int set, timeline;
static unsigned value;

static void say(const char *what, long result)
{
	printf("%s: %s\n", what, result < 0 ? strerrorname_np(errno) : "ok");
	fflush(stdout);
}

static int control(int op, int fd, unsigned events, unsigned data)
{
	struct epoll_event event = { .events = events, .data.u32 = data };
	return epoll_ctl(set, op, fd, &event);
}

// Prints the reported events, sorted by their data.
static void reported(const char *what, int timeout)
{
	struct epoll_event events[8];
	unsigned by[16] = { 0 };
	int count = epoll_wait(set, events, 8, timeout);

	printf("%s:", what);
	for (int i = 0; i < count; i++)
		by[events[i].data.u32 % 16] = events[i].events;
	for (int i = 0; i < 16; i++)
		if (by[i])
			printf(" %d %s%s", i, by[i] & EPOLLIN ? "in" : "", by[i] & EPOLLOUT ? "out" : "");
	puts(count ? "" : " nothing");
	fflush(stdout);
}

// A fence that signals at the next increment.
static int fence(void)
{
	struct create create = { .value = value + 1, .name = "epoll" };
	return ioctl(timeline, CREATE_FENCE, &create) ? -1 : create.fence;
}

static void increment(void)
{
	__u32 by = 1;
	value++;
	if (ioctl(timeline, INCREMENT, &by))
		perror("INCREMENT");
}

static void import(int buf, unsigned flags)
{
	struct dma_buf_import_sync_file import = { .flags = flags, .fd = fence() };
	if (ioctl(buf, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &import))
		perror("IMPORT_SYNC_FILE");
	close(import.fd);
}

static int export(int camera, int index)
{
	struct v4l2_exportbuffer expbuf = { .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .index = index,
					    .flags = O_RDWR | O_CLOEXEC };
	return ioctl(camera, VIDIOC_EXPBUF, &expbuf) ? -1 : expbuf.fd;
}

static void levels(int buf)
{
	say("add", control(EPOLL_CTL_ADD, buf, BOTH, 1));
	say("add again", control(EPOLL_CTL_ADD, buf, BOTH, 1));
	reported("idle", 0);
	reported("idle again", 0);
	import(buf, DMA_BUF_SYNC_WRITE);
	reported("being written", 0);
	increment();
	reported("written", 10000);
	import(buf, DMA_BUF_SYNC_READ);
	reported("being read", 0);
	increment();
	reported("read", 10000);
	say("delete", control(EPOLL_CTL_DEL, buf, 0, 0));
	say("delete again", control(EPOLL_CTL_DEL, buf, 0, 0));
	say("modify", control(EPOLL_CTL_MOD, buf, BOTH, 1));
	import(buf, DMA_BUF_SYNC_WRITE);
	say("add while it is written", control(EPOLL_CTL_ADD, buf, EPOLLIN, 1));
	reported("being written", 0);
	if (!fork()) {
		increment();
		_exit(0);
	}
	reported("by another process", 10000);
	wait(NULL);
	value++;
	control(EPOLL_CTL_DEL, buf, 0, 0);
}

static void edges(int buf)
{
	say("add for edges", control(EPOLL_CTL_ADD, buf, BOTH | EPOLLET, 2));
	reported("idle", 0);
	reported("idle again", 0);
	import(buf, DMA_BUF_SYNC_WRITE);
	say("modify while it is written", control(EPOLL_CTL_MOD, buf, BOTH | EPOLLET, 2));
	reported("being written", 0);
	increment();
	reported("written", 10000);
	reported("written, again", 0);
	import(buf, DMA_BUF_SYNC_WRITE);
	increment();
	reported("of a fence that poll has not seen", 0);
	import(buf, DMA_BUF_SYNC_WRITE);
	say("once", control(EPOLL_CTL_MOD, buf, EPOLLOUT | EPOLLONESHOT, 2));
	increment();
	reported("written", 10000);
	reported("written, again", 0);
	control(EPOLL_CTL_DEL, buf, 0, 0);
}

static void sync_files(void)
{
	int early = fence(), edge = fence();

	say("add a sync file", control(EPOLL_CTL_ADD, early, EPOLLIN, 3));
	say("add one for edges", control(EPOLL_CTL_ADD, edge, EPOLLIN | EPOLLET, 4));
	reported("pending", 0);
	increment();
	reported("ended", 10000);
	reported("ended, again", 0);
	control(EPOLL_CTL_DEL, early, 0, 0);
	int late = fence();
	increment();
	say("add what has ended", control(EPOLL_CTL_ADD, late, EPOLLIN | EPOLLET, 5));
	reported("ended", 0);
	reported("ended, again", 0);
	close(early);
	close(edge);
	close(late);
}

static void mixed(int camera, int buf)
{
	int event = eventfd(0, EFD_CLOEXEC), file = fence();
	int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
	struct v4l2_buffer buffer = { .index = 1, .type = type, .memory = V4L2_MEMORY_MMAP };

	import(buf, DMA_BUF_SYNC_WRITE);
	control(EPOLL_CTL_ADD, buf, EPOLLIN, 1);
	control(EPOLL_CTL_ADD, file, EPOLLIN, 2);
	control(EPOLL_CTL_ADD, event, EPOLLIN, 3);
	say("QBUF", ioctl(camera, VIDIOC_QBUF, &buffer));
	say("STREAMON", ioctl(camera, VIDIOC_STREAMON, &type));
	reported("a buffer and a fence pend", 0);
	eventfd_write(event, 1);
	reported("an event", 0);
	increment();
	reported("all but the camera", 0);
	control(EPOLL_CTL_DEL, buf, 0, 0);
	control(EPOLL_CTL_DEL, file, 0, 0);
	control(EPOLL_CTL_DEL, event, 0, 0);
	say("add the camera", control(EPOLL_CTL_ADD, camera, EPOLLIN, 4));
	reported("a frame", 10000);
	int written = export(camera, 1);
	say("add its buffer", control(EPOLL_CTL_ADD, written, EPOLLIN, 5));
	reported("both", 0);
	say("STREAMOFF", ioctl(camera, VIDIOC_STREAMOFF, &type));
	control(EPOLL_CTL_DEL, camera, 0, 0);
	reported("the buffer", 0);
	close(written);
	reported("closed", 0);
	close(event);
	close(file);
}

int main(int argc, char **argv)
{
	struct v4l2_requestbuffers req = { .count = 2, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE,
					   .memory = V4L2_MEMORY_MMAP };

	if (argc < 2)
		return 2;
	set = epoll_create1(EPOLL_CLOEXEC);
	timeline = open("/sys/kernel/debug/sync/sw_sync", O_RDWR);
	int camera = open(argv[1], O_RDWR);
	say("REQBUFS", ioctl(camera, VIDIOC_REQBUFS, &req));
	int buf = export(camera, 0);
	levels(buf);
	edges(buf);
	sync_files();
	mixed(camera, buf);
	return 0;
}
