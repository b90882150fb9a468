// Gives a camera the program's memory. Its bytes come back with DQBUF:
//
//   userptr frame NODE FILE      frames arrive where the memory is, and nowhere else; the last goes into FILE
//   userptr unmapped NODE FILE   memory that is unmapped before the frame comes gets none; the calls succeed
//   userptr partly NODE FILE     one page of it is unmapped: the others get the frame
//   userptr pageless NODE FILE   memory that no kernel can pin is refused
//   userptr exec NODE FILE       as frame, in a program started by one that did it before
//   userptr all NODE FILE        the first three, for a hundred buffers, while another thread maps memory
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FILL = 0x5a };

static unsigned type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
static size_t page, size, span;
static int camera;

static void fail(const char *what)
{
	fprintf(stderr, "userptr: %s\n", what);
	exit(1);
}

static void must(int result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(1);
	}
}

static void begin(const char *node)
{
	camera = open(node, O_RDWR);
	must(camera, node);
	struct v4l2_format f = { .type = type };
	must(ioctl(camera, VIDIOC_G_FMT, &f), "G_FMT");
	page = sysconf(_SC_PAGESIZE);
	size = f.fmt.pix.sizeimage;
	span = (size + page - 1) / page * page;
	struct v4l2_requestbuffers r = { .count = 1, .type = type, .memory = V4L2_MEMORY_USERPTR };
	must(ioctl(camera, VIDIOC_REQBUFS, &r), "REQBUFS");
}

static void end(void)
{
	must(ioctl(camera, VIDIOC_STREAMOFF, &type), "STREAMOFF");
	must(close(camera), "close");
}

static unsigned char *memory(void *at, size_t len, int flags)
{
	unsigned char *new = mmap(at, len, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1, 0);
	if (new == MAP_FAILED)
		fail("no memory");
	memset(new, FILL, len);
	return new;
}

static void queue(void *at)
{
	struct v4l2_buffer b = { .type = type, .memory = V4L2_MEMORY_USERPTR, .m.userptr = (unsigned long)at,
				 .length = size };
	must(ioctl(camera, VIDIOC_QBUF, &b), "QBUF");
}

// The kernel's answer: a frame without an error, of full length.
static void frame(void)
{
	must(ioctl(camera, VIDIOC_STREAMON, &type), "STREAMON");
	struct v4l2_buffer b = { .type = type, .memory = V4L2_MEMORY_USERPTR };
	must(ioctl(camera, VIDIOC_DQBUF, &b), "DQBUF");
	if (b.bytesused != size || b.flags & V4L2_BUF_FLAG_ERROR)
		fail("the frame is not whole");
}

static size_t count(const unsigned char *at, size_t len, unsigned char value)
{
	size_t n = 0;
	for (size_t i = 0; i < len; i++)
		n += at[i] == value;
	return n;
}

static void kept(const unsigned char *at, size_t len)
{
	if (count(at, len, FILL) != len)
		fail("memory that was never given to the camera was written to");
}

static void is_frame(const unsigned char *at, size_t len)
{
	if (count(at, len, FILL) > len / 2)
		fail("no frame where the memory is");
}

static void save(const char *file, const void *at)
{
	int fd = open(file, O_CREAT | O_TRUNC | O_WRONLY, 0600);
	must(fd, file);
	if (write(fd, at, size) != (ssize_t)size)
		fail("FILE is not whole");
	close(fd);
}

static void whole(const char *file)
{
	unsigned char *at = memory(NULL, span + 2 * page, MAP_PRIVATE);
	for (int i = 0; i < 2; i++) {
		memset(at, FILL, span + 2 * page);
		queue(at + page + 8 * i);
		frame();
		kept(at, page + 8 * i);
		is_frame(at + page + 8 * i, size);
		kept(at + page + 8 * i + size, span + page - 8 * i - size);
	}
	save(file, at + page + 8);
	must(munmap(at, span + 2 * page), "munmap");
}

static void refused(void *at, const char *what)
{
	struct v4l2_buffer b = { .type = type, .memory = V4L2_MEMORY_USERPTR, .m.userptr = (unsigned long)at,
				 .length = size };
	if (ioctl(camera, VIDIOC_QBUF, &b) != -1 || errno != EFAULT)
		fail(what);
}

// A kernel refuses memory that it cannot pin with EFAULT. Source: Linux 7.2 mm/gup.c.
static void pageless(void)
{
	int fd = memfd_create("short", 0);
	must(fd, "memfd_create");
	must(ftruncate(fd, page), "ftruncate");
	void *at = mmap(NULL, span, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		fail("no mapping of a file");
	refused(at, "memory past a file's end was taken");
	must(munmap(at, span), "munmap");
	close(fd);
	// Secret memory is locked memory.
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	setrlimit(RLIMIT_MEMLOCK, &all);
	fd = syscall(SYS_memfd_secret, 0);
	if (fd < 0)
		return;
	must(ftruncate(fd, span), "ftruncate");
	at = mmap(NULL, span, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at != MAP_FAILED) {
		memset(at, FILL, span);
		refused(at, "secret memory was taken");
		must(munmap(at, span), "munmap");
	}
	close(fd);
}

static void unmapped(void)
{
	unsigned char *at = memory(NULL, span, MAP_PRIVATE);
	queue(at);
	must(munmap(at, span), "munmap");
	frame();
	refused(at, "memory that is not there was taken");
	// Memory given now gets the next frame. (vb2 keeps the pages of the first QBUF.)
	memory(at, span, MAP_PRIVATE | MAP_FIXED_NOREPLACE);
	queue(at);
	frame();
	is_frame(at, size);
	must(munmap(at, span), "munmap");
}

static void partly(void)
{
	unsigned char *at = memory(NULL, span, MAP_PRIVATE);
	queue(at);
	must(munmap(at + 2 * page, page), "munmap");
	frame();
	is_frame(at, 2 * page);
	must(munmap(at, span), "munmap");
}

// Another thread concurrently maps and unmaps at a separate address.
static void *churn(void *stop)
{
	unsigned char *at = mmap(NULL, 16 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	while (!__atomic_load_n((int *)stop, __ATOMIC_RELAXED)) {
		memory(at, 16 * page, MAP_PRIVATE | MAP_FIXED);
		munmap(at + page, page);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	const char *word = argv[1], *node = argv[2], *file = argv[3];
	if (!strcmp(word, "all")) {
		int stop = 0;
		pthread_t thread;
		page = sysconf(_SC_PAGESIZE);
		pthread_create(&thread, NULL, churn, &stop);
		for (int i = 0; i < 33; i++) {
			begin(node), whole(file), end();
			begin(node), unmapped(), end();
			begin(node), partly(), end();
		}
		__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
		pthread_join(thread, NULL);
		return 0;
	}
	begin(node);
	if (!strcmp(word, "frame") || !strcmp(word, "exec"))
		whole(file);
	else if (!strcmp(word, "unmapped"))
		unmapped();
	else if (!strcmp(word, "partly"))
		partly();
	else if (!strcmp(word, "pageless"))
		pageless();
	else
		return 2;
	end();
	if (!strcmp(word, "exec"))
		execl("/proc/self/exe", "userptr", "frame", node, file, NULL);
	return 0;
}
