// Holds one buffer by all handles that a program can have, and closes them one by one. Arguments: v4l2,
// heap, udmabuf or own; a camera, a display, and another display. The test runs `$VB3 ctl buffers`
// after each line that begins with ==.
#define _GNU_SOURCE
#include "other.h"
#include <linux/videodev2.h>

#define SIZE (320 * 240 * 2)

enum { CAP = V4L2_BUF_TYPE_VIDEO_CAPTURE, OUT = V4L2_BUF_TYPE_VIDEO_OUTPUT };

static void list(const char *when)
{
	printf("== %s\n", when);
	fflush(stdout);
	if (system("$VB3 ctl buffers"))
		exit(1);
}

static void must(int result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(1);
	}
}

static void reqbufs(int fd, int type, int memory, int count)
{
	struct v4l2_requestbuffers req = { .count = count, .type = type, .memory = memory };
	must(ioctl(fd, VIDIOC_REQBUFS, &req), "REQBUFS");
}

static int export(int camera)
{
	struct v4l2_exportbuffer expbuf = { .type = CAP, .flags = O_RDWR };
	must(ioctl(camera, VIDIOC_EXPBUF, &expbuf), "EXPBUF");
	return expbuf.fd;
}

static void import(int display, int index, int buf)
{
	struct v4l2_buffer buffer = { .index = index, .type = OUT, .memory = V4L2_MEMORY_DMABUF,
				      .m.fd = buf, .bytesused = SIZE };
	must(ioctl(display, VIDIOC_QBUF, &buffer), "QBUF");
}

static void give(int display, void *at)
{
	struct v4l2_buffer buffer = { .type = OUT, .memory = V4L2_MEMORY_USERPTR, .length = SIZE,
				      .m.userptr = (unsigned long)at, .bytesused = SIZE };
	int result = ioctl(display, VIDIOC_QBUF, &buffer);
	printf("a user pointer to it: %s\n", result ? strerrorname_np(errno) : "ok");
}

static void *map(int fd, unsigned at)
{
	void *new = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, at);
	must(new == MAP_FAILED ? -1 : 0, "mmap");
	return new;
}

// Like udmabuf(), but the program can map the memfd.
static int udmabuf_of(int memfd)
{
	int device = open(UDMABUF, O_RDWR | O_CLOEXEC);
	struct udmabuf_create create = { .memfd = memfd, .flags = UDMABUF_FLAGS_CLOEXEC,
					 .size = whole_pages(SIZE) };
	int fd = ioctl(device, UDMABUF_CREATE, &create);
	close(device);
	return fd;
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	int camera = open(argv[2], O_RDWR), display = open(argv[3], O_RDWR);
	int other = open(argv[4], O_RDWR), buf = -1, again = -1;
	char *one = NULL;
	reqbufs(other, OUT, V4L2_MEMORY_USERPTR, 1);
	if (!strcmp(argv[1], "own")) {
		must(posix_memalign((void **)&one, 4096, SIZE), "memory");
		printf("%p\n", (void *)one);
		give(other, one);
		list("all");
		reqbufs(other, OUT, V4L2_MEMORY_USERPTR, 0);
		list("none");
		return 0;
	}
	if (!strcmp(argv[1], "v4l2")) {
		reqbufs(camera, CAP, V4L2_MEMORY_MMAP, 1);
		one = map(camera, 0);
		buf = export(camera);
		again = export(camera);
	} else if (!strcmp(argv[1], "heap")) {
		buf = other_buffer("heap", SIZE);
	} else {
		int memfd = memfd_create("handles", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		must(ftruncate(memfd, whole_pages(SIZE)) | fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK),
		     "memfd");
		one = map(memfd, 0);
		// Before the memfd becomes a udmabuf, so that no device pins it.
		give(other, one);
		buf = udmabuf_of(memfd);
		close(memfd);
	}
	must(buf, argv[1]);
	char *two = map(buf, 0);
	int copy = dup(buf);
	reqbufs(display, OUT, V4L2_MEMORY_DMABUF, 2);
	import(display, 0, copy);
	import(display, 1, again < 0 ? buf : again);
	if (strcmp(argv[1], "udmabuf"))
		give(other, one ? one : two);
	two[7] = 0x5a;
	printf("the same bytes: %s\n", !one || one[7] == 0x5a ? "yes" : "no");
	list("all");

	if (one)
		munmap(one, SIZE);
	if (!strcmp(argv[1], "v4l2"))
		reqbufs(camera, CAP, V4L2_MEMORY_MMAP, 0);
	list("without its queue and the first mapping");
	reqbufs(other, OUT, V4L2_MEMORY_USERPTR, 0);
	close(again);
	close(buf);
	munmap(two, SIZE);
	list("without all but a copy and a device");
	close(copy);
	list("without all but a device");
	reqbufs(display, OUT, V4L2_MEMORY_DMABUF, 0);
	// The supervisor notices a close a moment later.
	must(system("until test -z \"$($VB3 ctl buffers)\"; do sleep 0.02; done"), "sh");
	list("none");
	return 0;
}
