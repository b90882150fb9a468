// Gives a camera the program's memory, and replaces it before the frame comes:
//
//   userptr replaced NODE FILE   other memory at its address keeps its contents, and gets the next frame
//   userptr moved NODE FILE      the frame goes to the memory's new address, and into FILE
//   userptr partly NODE FILE     one page of it is replaced: only that page is kept
//   userptr dropped NODE FILE    madvise(MADV_DONTNEED): the program sees zeros
//   userptr shared NODE FILE     as moved, with shared memory
//   userptr exec NODE FILE       as replaced, in a program started by one that did it before
//   userptr gap NODE FILE        nothing goes to a gap between mappings, where a thread may map
//   userptr pageless NODE FILE   memory that no kernel can pin is refused
//   userptr huge NODE FILE       as replaced, inside a mapping of huge pages
//   userptr watched NODE FILE    the program's own userfaultfd watches the memory
//   userptr all NODE FILE        all of these, by two threads, for a hundred buffers
//
// A kernel pins the pages at QBUF: the frame goes to those pages, in any mapping.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <linux/videodev2.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FILL = 0x5a, HUGE = 2 << 20, HUGE_2MB = 21 << 26 };

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

static void replaced(void)
{
	unsigned char *at = memory(NULL, span, MAP_PRIVATE);
	queue(at);
	must(munmap(at, span), "munmap");
	memory(at, span, MAP_PRIVATE | MAP_FIXED_NOREPLACE);
	frame();
	kept(at, span);
	// Memory given now gets the next frame. (vb2 keeps the pages of the first QBUF.)
	queue(at);
	frame();
	is_frame(at, size);
	must(munmap(at, span), "munmap");
}

static void huge(void)
{
	size_t whole = (page + span + HUGE - 1) / HUGE * HUGE;
	int flags = MAP_ANONYMOUS | MAP_PRIVATE | MAP_HUGETLB | HUGE_2MB;
	unsigned char *at = mmap(NULL, whole, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (at == MAP_FAILED) {
		printf("skipped: no huge pages\n");
		return;
	}
	memset(at, FILL, whole);
	queue(at + page);
	must(munmap(at, whole), "munmap");
	memory(at, whole, MAP_PRIVATE | MAP_FIXED_NOREPLACE);
	frame();
	kept(at, whole);
	must(munmap(at, whole), "munmap");
}

static void watched(void)
{
	unsigned char *at = memory(NULL, span, MAP_PRIVATE);
	int own = syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register all = { .range = { (unsigned long)at, span }, .mode = UFFDIO_REGISTER_MODE_MISSING };
	must(own, "userfaultfd");
	must(ioctl(own, UFFDIO_API, &api), "UFFDIO_API");
	must(ioctl(own, UFFDIO_REGISTER, &all), "UFFDIO_REGISTER");
	for (int i = 0; i < 2; i++) {
		queue(at);
		frame();
	}
	is_frame(at, size);
	must(close(own), "close");
	must(munmap(at, span), "munmap");
}

static void refused(void *at, const char *what)
{
	struct v4l2_buffer b = { .type = type, .memory = V4L2_MEMORY_USERPTR, .m.userptr = (unsigned long)at,
				 .length = size };
	if (ioctl(camera, VIDIOC_QBUF, &b) != -1 || errno != EFAULT)
		fail(what);
}

// A device file system's answer, read from Linux 7.2 mm/gup.c: EFAULT.
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

static void moved(const char *file, int flags)
{
	unsigned char *at = memory(NULL, span, flags);
	queue(at);
	unsigned char *to = mmap(NULL, span, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mremap(at, span, span, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to)
		fail("mremap");
	memory(at, span, MAP_PRIVATE | MAP_FIXED_NOREPLACE);
	frame();
	kept(at, span);
	is_frame(to, size);
	save(file, to);
	must(munmap(at, span), "munmap");
	must(munmap(to, span), "munmap");
}

static void partly(void)
{
	unsigned char *at = memory(NULL, span, MAP_PRIVATE);
	queue(at);
	memory(at + page, page, MAP_PRIVATE | MAP_FIXED);
	frame();
	is_frame(at, page);
	kept(at + page, page);
	is_frame(at + 2 * page, size - 2 * page);
	must(munmap(at, span), "munmap");
}

static void dropped(void)
{
	unsigned char *at = memory(NULL, span, MAP_PRIVATE);
	queue(at);
	must(madvise(at, span, MADV_DONTNEED), "madvise");
	frame();
	if (count(at, span, 0) != span)
		fail("pages that were dropped were written to");
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

struct gap {
	unsigned char *at;
	int stop, is_filled;
};

static void *look(void *arg)
{
	struct gap *gap = arg;
	unsigned char in_core;
	while (!__atomic_load_n(&gap->stop, __ATOMIC_RELAXED))
		if (mincore(gap->at, page, &in_core) == 0)
			gap->is_filled = 1;
	return NULL;
}

// The first gap of one page, which mmap without an address would take.
static void gap(const char *node)
{
	page = sysconf(_SC_PAGESIZE);
	struct gap gap = { .at = mmap(NULL, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) };
	unsigned char *at = memory(NULL, 1 << 20, MAP_PRIVATE);
	pthread_t thread;
	begin(node);
	must(munmap(gap.at, page), "munmap");
	pthread_create(&thread, NULL, look, &gap);
	queue(at);
	__atomic_store_n(&gap.stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	if (gap.is_filled)
		fail("something was mapped in a gap of the program's");
	end();
}

// Each in a process that is new to the camera.
static void gaps(const char *node)
{
	for (int i = 0; i < 20; i++) {
		int status;
		if (fork() == 0) {
			gap(node);
			exit(0);
		}
		must(wait(&status), "wait");
		if (status)
			exit(1);
	}
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
		for (int i = 0; i < 25; i++) {
			begin(node), replaced(), end();
			begin(node), moved(file, MAP_PRIVATE), end();
			begin(node), partly(), end();
			begin(node), dropped(), end();
		}
		__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
		pthread_join(thread, NULL);
		return 0;
	}
	if (!strcmp(word, "gap")) {
		gaps(node);
		return 0;
	}
	begin(node);
	if (!strcmp(word, "replaced") || !strcmp(word, "exec"))
		replaced();
	else if (!strcmp(word, "moved"))
		moved(file, MAP_PRIVATE);
	else if (!strcmp(word, "shared"))
		moved(file, MAP_SHARED);
	else if (!strcmp(word, "partly"))
		partly();
	else if (!strcmp(word, "dropped"))
		dropped();
	else if (!strcmp(word, "pageless"))
		pageless();
	else if (!strcmp(word, "huge"))
		huge();
	else if (!strcmp(word, "watched"))
		watched();
	else
		return 2;
	end();
	if (!strcmp(word, "exec"))
		execl("/proc/self/exe", "userptr", "replaced", node, file, NULL);
	return 0;
}
