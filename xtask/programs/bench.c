// The client of `cargo xtask bench`: times calls on /dev/video0 and prints `key value` lines.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "measure.h"

static struct v4l2_buffer buffer(unsigned index)
{
	struct v4l2_buffer b;
	memset(&b, 0, sizeof(b));
	b.index = index;
	b.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
	b.memory = V4L2_MEMORY_MMAP;
	return b;
}

static void set_format(int fd, unsigned width, unsigned height, unsigned fourcc)
{
	struct v4l2_format f;
	memset(&f, 0, sizeof(f));
	f.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
	f.fmt.pix.width = width;
	f.fmt.pix.height = height;
	f.fmt.pix.pixelformat = fourcc;
	must(ioctl(fd, VIDIOC_S_FMT, &f), "VIDIOC_S_FMT");
	if (f.fmt.pix.width != width || f.fmt.pix.height != height || f.fmt.pix.pixelformat != fourcc) {
		fprintf(stderr, "bench: the camera does not offer %ux%u\n", width, height);
		exit(1);
	}
}

static void stream(int fd, unsigned long request)
{
	int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
	must(ioctl(fd, request, &type), request == VIDIOC_STREAMON ? "VIDIOC_STREAMON" : "VIDIOC_STREAMOFF");
}

static void allocate(int fd, unsigned count)
{
	struct v4l2_create_buffers create;
	memset(&create, 0, sizeof(create));
	create.count = count;
	create.memory = V4L2_MEMORY_MMAP;
	create.format.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
	must(ioctl(fd, VIDIOC_G_FMT, &create.format), "VIDIOC_G_FMT");
	must(ioctl(fd, VIDIOC_CREATE_BUFS, &create), "VIDIOC_CREATE_BUFS");
	if (create.count != count) {
		fprintf(stderr, "bench: %u buffers were asked for and %u made\n", count, create.count);
		exit(1);
	}
}

// Medians of four calls: the smallest notification (EBADF without a descriptor), an ioctl that a device
// answers without access to memory (ENOTTY), QBUF and DQBUF.
static void cycles(int fd, unsigned buffers, unsigned count)
{
	uint64_t *bare = calloc(count, sizeof(*bare));
	uint64_t *refused = calloc(count, sizeof(*refused));
	uint64_t *queue = calloc(count, sizeof(*queue));
	uint64_t *dequeue = calloc(count, sizeof(*dequeue));
	if (!bare || !refused || !queue || !dequeue)
		exit(1);
	for (unsigned i = 0; i < count; i++) {
		uint64_t t0 = clock_ns(CLOCK_MONOTONIC);
		(void)!ioctl(-1, _IO('V', 199), 0);
		uint64_t t1 = clock_ns(CLOCK_MONOTONIC);
		(void)!ioctl(fd, _IO('V', 199), 0);
		uint64_t t2 = clock_ns(CLOCK_MONOTONIC);
		bare[i] = t1 - t0;
		refused[i] = t2 - t1;
	}
	set_format(fd, 64, 64, V4L2_PIX_FMT_YUYV);
	allocate(fd, buffers);
	for (unsigned i = 0; i < buffers; i++) {
		struct v4l2_buffer b = buffer(i);
		must(ioctl(fd, VIDIOC_QBUF, &b), "VIDIOC_QBUF");
	}
	stream(fd, VIDIOC_STREAMON);
	uint64_t begin = 0;
	for (unsigned i = 0; i < count + count / 10; i++) {
		// The first tenth warms up.
		unsigned slot = i < count / 10 ? 0 : i - count / 10;
		if (i == count / 10)
			begin = clock_ns(CLOCK_MONOTONIC);
		struct v4l2_buffer b = buffer(0);
		// The camera fills the next buffer meanwhile, outside the measured time.
		(void)!ioctl(-1, _IO('V', 199), 0);
		uint64_t t0 = clock_ns(CLOCK_MONOTONIC);
		must(ioctl(fd, VIDIOC_DQBUF, &b), "VIDIOC_DQBUF");
		uint64_t t1 = clock_ns(CLOCK_MONOTONIC);
		must(ioctl(fd, VIDIOC_QBUF, &b), "VIDIOC_QBUF");
		uint64_t t2 = clock_ns(CLOCK_MONOTONIC);
		dequeue[slot] = t1 - t0;
		queue[slot] = t2 - t1;
	}
	uint64_t whole = clock_ns(CLOCK_MONOTONIC) - begin;
	stream(fd, VIDIOC_STREAMOFF);
	uint64_t bare_ns = median(bare, count), refused_ns = median(refused, count);
	uint64_t cycle_ns = whole / count;
	printf("bare_ns %llu\n", (unsigned long long)bare_ns);
	printf("refused_ns %llu\n", (unsigned long long)refused_ns);
	printf("qbuf_ns %llu\n", (unsigned long long)median(queue, count));
	printf("dqbuf_ns %llu\n", (unsigned long long)median(dequeue, count));
	printf("cycle_ns %llu\n", (unsigned long long)(cycle_ns > bare_ns ? cycle_ns - bare_ns : 0));
}

// Allocates four buffers of 1920x1080 NV12, maps and queues them. Returns the length of each.
static size_t prepare(int fd, unsigned char *mapped[4])
{
	size_t length = 0;
	set_format(fd, 1920, 1080, V4L2_PIX_FMT_NV12);
	allocate(fd, 4);
	for (unsigned i = 0; i < 4; i++) {
		struct v4l2_buffer b = buffer(i);
		must(ioctl(fd, VIDIOC_QUERYBUF, &b), "VIDIOC_QUERYBUF");
		length = b.length;
		mapped[i] = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, b.m.offset);
		if (mapped[i] == MAP_FAILED)
			must(-1, "mmap");
		must(ioctl(fd, VIDIOC_QBUF, &b), "VIDIOC_QBUF");
	}
	return length;
}

static void dequeue_and_queue(int fd)
{
	struct v4l2_buffer b = buffer(0);
	must(ioctl(fd, VIDIOC_DQBUF, &b), "VIDIOC_DQBUF");
	must(ioctl(fd, VIDIOC_QBUF, &b), "VIDIOC_QBUF");
}

// CPU time of copying `bytes` bytes again and again, between buffers that hold `room` bytes in all. With
// much room, the copies come from memory and not from a cache.
static uint64_t copying_ns(size_t bytes, size_t room, unsigned times)
{
	size_t count = room / bytes > 2 ? room / bytes : 2;
	unsigned char *all = malloc(count * bytes);
	if (!all)
		exit(1);
	memset(all, 1, count * bytes);
	uint64_t begin = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	for (unsigned i = 0; i < times; i++) {
		memcpy(all + i % (count / 2) * 2 * bytes, all + (i % (count / 2) * 2 + 1) * bytes, bytes);
		__asm__ volatile("" : : "r"(all) : "memory");
	}
	begin = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - begin;
	free(all);
	return begin;
}

// CPU time to capture frames, here and in the supervisor, and to copy as many bytes.
static void capture(int fd, unsigned frames)
{
	unsigned char *mapped[4];
	size_t length = prepare(fd, mapped);
	uint64_t own = clock_ns(CLOCK_PROCESS_CPUTIME_ID), theirs = cpu_of(getppid());
	uint64_t begin = clock_ns(CLOCK_MONOTONIC);
	stream(fd, VIDIOC_STREAMON);
	for (unsigned i = 0; i < frames; i++)
		dequeue_and_queue(fd);
	stream(fd, VIDIOC_STREAMOFF);
	uint64_t whole = clock_ns(CLOCK_MONOTONIC) - begin;
	own = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - own;
	theirs = cpu_of(getppid()) - theirs;
	printf("wall_ns %llu\n", (unsigned long long)whole);
	printf("client_cpu_ns %llu\n", (unsigned long long)own);
	printf("supervisor_cpu_ns %llu\n", (unsigned long long)theirs);
	printf("cached_ns %llu\n", (unsigned long long)copying_ns(length, 0, frames));
	printf("uncached_ns %llu\n", (unsigned long long)copying_ns(length, 512u << 20, frames));
}

// The greatest amount of memory that a process has had, in KiB.
static unsigned long peak_kib(pid_t pid)
{
	char path[64], line[256];
	unsigned long peak = 0;
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	FILE *file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file))
		(void)!sscanf(line, "VmHWM: %lu", &peak);
	if (file)
		fclose(file);
	return peak;
}

// CPU time and memory of capturing from /dev/video0 and the next ones at once.
static void cameras(unsigned count, unsigned frames)
{
	enum { MOST = 64 };
	unsigned char *mapped[4];
	struct pollfd fds[MOST];
	unsigned left[MOST], streaming = count;
	if (!count || count > MOST)
		exit(2);
	for (unsigned i = 0; i < count; i++) {
		char path[32];
		snprintf(path, sizeof(path), "/dev/video%u", i);
		fds[i] = (struct pollfd){ .fd = open(path, O_RDWR | O_CLOEXEC), .events = POLLIN };
		must(fds[i].fd, path);
		left[i] = frames;
		prepare(fds[i].fd, mapped);
	}
	uint64_t own = clock_ns(CLOCK_PROCESS_CPUTIME_ID), theirs = cpu_of(getppid());
	uint64_t begin = clock_ns(CLOCK_MONOTONIC);
	for (unsigned i = 0; i < count; i++)
		stream(fds[i].fd, VIDIOC_STREAMON);
	while (streaming) {
		must(poll(fds, count, -1), "poll");
		for (unsigned i = 0; i < count; i++) {
			if (fds[i].fd < 0 || !fds[i].revents)
				continue;
			dequeue_and_queue(fds[i].fd);
			if (!--left[i]) {
				stream(fds[i].fd, VIDIOC_STREAMOFF);
				fds[i].fd = -1;
				streaming--;
			}
		}
	}
	printf("wall_ns %llu\n", (unsigned long long)(clock_ns(CLOCK_MONOTONIC) - begin));
	printf("client_cpu_ns %llu\n",
	       (unsigned long long)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - own));
	printf("supervisor_cpu_ns %llu\n", (unsigned long long)(cpu_of(getppid()) - theirs));
	printf("peak_kib %lu\n", peak_kib(getppid()));
}

// CPU time and memory of a command that writes frames to a pipe, and of reading them.
static void piped(const char *command)
{
	static char bytes[1 << 20];
	struct rusage used;
	uint64_t own = clock_ns(CLOCK_PROCESS_CPUTIME_ID), begin = clock_ns(CLOCK_MONOTONIC), read_bytes = 0;
	FILE *pipe = popen(command, "r");
	if (!pipe)
		must(-1, command);
	for (ssize_t len; (len = read(fileno(pipe), bytes, sizeof(bytes))) > 0;)
		read_bytes += (uint64_t)len;
	if (pclose(pipe))
		exit(1);
	must(getrusage(RUSAGE_CHILDREN, &used), "getrusage");
	own = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - own;
	uint64_t us = (uint64_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000u +
		      (uint64_t)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
	printf("wall_ns %llu\n", (unsigned long long)(clock_ns(CLOCK_MONOTONIC) - begin));
	printf("client_cpu_ns %llu\n", (unsigned long long)own);
	printf("supervisor_cpu_ns %llu\n", (unsigned long long)us * 1000);
	printf("peak_kib %ld\n", used.ru_maxrss);
	printf("bytes %llu\n", (unsigned long long)read_bytes);
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "cameras")) {
		cameras((unsigned)atoi(argv[2]), (unsigned)atoi(argv[3]));
		return 0;
	}
	if (argc == 3 && !strcmp(argv[1], "piped")) {
		piped(argv[2]);
		return 0;
	}
	int fd = open("/dev/video0", O_RDWR | O_CLOEXEC);
	must(fd, "/dev/video0");
	if (argc == 4 && !strcmp(argv[1], "cycles"))
		cycles(fd, (unsigned)atoi(argv[2]), (unsigned)atoi(argv[3]));
	else if (argc == 3 && !strcmp(argv[1], "capture"))
		capture(fd, (unsigned)atoi(argv[2]));
	else {
		fprintf(stderr, "usage: bench cycles BUFFERS COUNT | capture FRAMES | cameras COUNT FRAMES | "
				"piped COMMAND\n");
		return 2;
	}
	return 0;
}
