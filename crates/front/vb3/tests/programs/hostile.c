// Attacks the devices of a run for some seconds, to delay the calls of other programs:
//
//   hostile protect GIB           user pointers, in a program whose memory map of GIB GiB always changes
//   hostile fork                  user pointers, in a program that forks all the time
//   hostile heap MIB              memory of a heap of MIB MiB, allocated and freed again and again
//   hostile request               32 buffers of 3840x2160, requested and freed again and again
//   hostile create                32 buffers of 3840x2160, created one by one or at once, and freed
//   hostile input                 a decoder's 8 buffers of 20 MiB, requested, queued and started
//   hostile codec STREAM PID      a decoder is closed and stopped in its work; its process, a child of PID, gets no
//                                 processor time
//   hostile start N               N programs at a time, each of which opens the device
//   hostile copy N                N programs at low priority copy a camera's descriptor
//   hostile export N              N programs at low priority export a buffer
//   hostile stream FLIP           pictures of 3840x2160, flipped or not
//   hostile loopback              pictures of 3840x2160 through a loopback
//   hostile poll FILE COUNT N     N threads poll a camera beside COUNT descriptors of FILE
//   hostile ask N                 N threads make calls that end at once
//   hostile stop PID              stops a process ten times for 50 ms
//
// The attacked device is /dev/video1. Each prints how much it did. It exits with 1 if a call fails.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-heap.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SECONDS = 3, LOWEST = 19, POLLED_MAX = 256 };

static const char *const NODE = "/dev/video1";

static int must(long result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "hostile: %s: %s\n", what, strerror(errno));
		exit(1);
	}
	return result;
}

static int64_t now_ms(void)
{
	struct timespec now;
	must(clock_gettime(CLOCK_MONOTONIC, &now), "clock_gettime");
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static int64_t end_ms;

static int goes_on(void)
{
	return now_ms() < end_ms;
}

static int did(const char *what, unsigned long count)
{
	printf("%s %lu times\n", what, count);
	return 0;
}

static void set_4k(int fd, unsigned type, unsigned fourcc)
{
	struct v4l2_format format = { .type = type };
	must(ioctl(fd, VIDIOC_G_FMT, &format), "G_FMT");
	format.fmt.pix.width = 3840;
	format.fmt.pix.height = 2160;
	if (fourcc)
		format.fmt.pix.pixelformat = fourcc;
	must(ioctl(fd, VIDIOC_S_FMT, &format), "S_FMT");
	if (format.fmt.pix.width != 3840) {
		errno = ERANGE;
		must(-1, "the width");
	}
}

static unsigned request(int fd, unsigned type, unsigned memory, unsigned count)
{
	struct v4l2_requestbuffers request = { .count = count, .type = type, .memory = memory };
	must(ioctl(fd, VIDIOC_REQBUFS, &request), "REQBUFS");
	return request.count;
}

static int queue_all(int fd, unsigned type, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct v4l2_buffer b = { .index = i, .type = type, .memory = V4L2_MEMORY_MMAP };
		must(ioctl(fd, VIDIOC_QBUF, &b), "QBUF");
	}
	return must(ioctl(fd, VIDIOC_STREAMON, &type), "STREAMON");
}

static char *map;
static size_t map_len;
static volatile int ended;

// Each change holds the lock of the program's memory map for long.
static void *protect(void *unused)
{
	while (!ended) {
		must(mprotect(map, map_len, PROT_READ), "mprotect");
		must(mprotect(map, map_len, PROT_READ | PROT_WRITE), "mprotect");
	}
	return unused;
}

static void *forks(void *unused)
{
	while (!ended) {
		pid_t child = must(fork(), "fork");
		if (!child)
			_exit(0);
		must(waitpid(child, NULL, 0), "wait");
	}
	return unused;
}

// User pointers of a program while other threads of it run `disturb`.
static int user_pointers(size_t len, void *(*disturb)(void *), int threads)
{
	int fd = must(open(NODE, O_RDWR), NODE);
	unsigned type = V4L2_BUF_TYPE_VIDEO_CAPTURE, count = 0;
	struct v4l2_format format = { .type = type };
	must(ioctl(fd, VIDIOC_G_FMT, &format), "G_FMT");
	unsigned size = (format.fmt.pix.sizeimage + 4095) / 4096 * 4096;
	map_len = len;
	map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(map == MAP_FAILED ? -1 : 0, "mmap");
	// Small pages, all present, so that each has an entry to change.
	madvise(map, len, MADV_NOHUGEPAGE);
	for (size_t at = 0; at < len; at += 4096)
		map[at] = 1;
	char *buffers = mmap(NULL, 4 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	must(buffers == MAP_FAILED ? -1 : 0, "mmap");
	request(fd, type, V4L2_MEMORY_USERPTR, 4);
	pthread_t disturbers[8];
	end_ms = now_ms() + SECONDS * 1000;
	for (int i = 0; i < threads; i++)
		must(-pthread_create(&disturbers[i], NULL, disturb, NULL), "a thread");
	for (unsigned i = 0; i < 4; i++) {
		struct v4l2_buffer b = { .index = i, .type = type, .memory = V4L2_MEMORY_USERPTR,
			.m.userptr = (uintptr_t)buffers + (uintptr_t)i * size, .length = size };
		must(ioctl(fd, VIDIOC_QBUF, &b), "QBUF");
	}
	must(ioctl(fd, VIDIOC_STREAMON, &type), "STREAMON");
	for (; goes_on(); count++) {
		struct v4l2_buffer b = { .type = type, .memory = V4L2_MEMORY_USERPTR };
		must(ioctl(fd, VIDIOC_DQBUF, &b), "DQBUF");
		must(ioctl(fd, VIDIOC_QBUF, &b), "QBUF");
	}
	ended = 1;
	for (int i = 0; i < threads; i++)
		pthread_join(disturbers[i], NULL);
	return did("queued user pointers", count);
}

static int heap(unsigned mib)
{
	int fd = must(open("/dev/dma_heap/system", O_RDWR), "the heap");
	unsigned rounds = 0;
	for (; goes_on(); rounds++) {
		struct dma_heap_allocation_data data = { .len = (uint64_t)mib << 20, .fd_flags = O_RDWR };
		must(ioctl(fd, DMA_HEAP_IOCTL_ALLOC, &data), "ALLOC");
		close(data.fd);
	}
	return did("allocated", rounds);
}

static int request_4k(void)
{
	int fd = must(open(NODE, O_RDWR), NODE);
	unsigned type = V4L2_BUF_TYPE_VIDEO_CAPTURE, rounds = 0;
	set_4k(fd, type, 0);
	for (; goes_on(); rounds++) {
		must(request(fd, type, V4L2_MEMORY_MMAP, 32) == 32 ? 0 : -1, "32 buffers");
		request(fd, type, V4L2_MEMORY_MMAP, 0);
	}
	return did("requested", rounds);
}

static int create_4k(void)
{
	int fd = must(open(NODE, O_RDWR), NODE);
	unsigned type = V4L2_BUF_TYPE_VIDEO_CAPTURE, rounds = 0;
	set_4k(fd, type, 0);
	for (; goes_on(); rounds++) {
		struct v4l2_create_buffers create = { .memory = V4L2_MEMORY_MMAP };
		create.format.type = type;
		must(ioctl(fd, VIDIOC_G_FMT, &create.format), "G_FMT");
		for (unsigned made = 0; made < 32; made += create.count) {
			create.count = rounds % 2 ? 32 : 1;
			must(ioctl(fd, VIDIOC_CREATE_BUFS, &create), "CREATE_BUFS");
		}
		request(fd, type, V4L2_MEMORY_MMAP, 0);
	}
	return did("created", rounds);
}

// Sets up a decoder's input: `count` buffers of `bytes` bytes.
static void coded_input(int fd, unsigned bytes, unsigned count)
{
	struct v4l2_format format = { .type = V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE };
	format.fmt.pix_mp.width = 3840;
	format.fmt.pix_mp.height = 2160;
	format.fmt.pix_mp.pixelformat = V4L2_PIX_FMT_H264;
	format.fmt.pix_mp.num_planes = 1;
	format.fmt.pix_mp.plane_fmt[0].sizeimage = bytes;
	must(ioctl(fd, VIDIOC_S_FMT, &format), "S_FMT of the input");
	must(request(fd, format.type, V4L2_MEMORY_MMAP, count) == count ? 0 : -1, "the input's buffers");
}

static void queue_input(int fd, unsigned index, unsigned bytes)
{
	struct v4l2_plane plane = { .bytesused = bytes };
	struct v4l2_buffer b = { .index = index, .type = V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE,
		.memory = V4L2_MEMORY_MMAP, .m.planes = &plane, .length = 1 };
	must(ioctl(fd, VIDIOC_QBUF, &b), "QBUF of the input");
}

static int input(void)
{
	int fd = must(open(NODE, O_RDWR), NODE);
	unsigned type = V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE, rounds = 0;
	for (; goes_on(); rounds++) {
		coded_input(fd, 20 << 20, 8);
		for (unsigned i = 0; i < 8; i++)
			queue_input(fd, i, 20 << 20);
		must(ioctl(fd, VIDIOC_STREAMON, &type), "STREAMON");
		must(ioctl(fd, VIDIOC_STREAMOFF, &type), "STREAMOFF");
		request(fd, type, V4L2_MEMORY_MMAP, 0);
	}
	return did("started", rounds);
}

// Gives the codec processes of `vb3`, and all their threads, the lowest priority. Returns their number.
static int starve(pid_t vb3)
{
	char path[64], name[32];
	int found = 0, thread, process;
	snprintf(path, sizeof path, "/proc/%d/task", vb3);
	DIR *threads = opendir(path);
	must(threads ? 0 : -1, path);
	for (struct dirent *at; (at = readdir(threads));) {
		snprintf(path, sizeof path, "/proc/%d/task/%d/children", vb3, atoi(at->d_name));
		FILE *children = fopen(path, "r");
		while (children && fscanf(children, "%d", &process) == 1) {
			snprintf(path, sizeof path, "/proc/%d/comm", process);
			FILE *comm = fopen(path, "r");
			int is_codec = comm && fgets(name, sizeof name, comm) && !strncmp(name, "vb3-codec", 9);
			if (comm)
				fclose(comm);
			snprintf(path, sizeof path, "/proc/%d/task", process);
			DIR *all = is_codec ? opendir(path) : NULL;
			for (struct dirent *one; all && (one = readdir(all));)
				if ((thread = atoi(one->d_name)))
					setpriority(PRIO_PROCESS, thread, LOWEST);
			if (all)
				closedir(all);
			found += is_codec;
		}
		if (children)
			fclose(children);
	}
	closedir(threads);
	return found;
}

static void spin(void)
{
	while (goes_on())
		;
}

// Decodes until the first picture has come, beside the process that decodes; then stops or closes the decoder while
// that process writes further pictures.
static int codec(const char *file, pid_t vb3)
{
	unsigned rounds = 0, out = V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE, in = V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE;
	pid_t spinning[4];
	for (int i = 0; i < 4; i++)
		if (!(spinning[i] = must(fork(), "fork"))) {
			spin();
			exit(0);
		}
	int stream = must(open(file, O_RDONLY), file);
	for (; goes_on(); rounds++) {
		int fd = must(open(NODE, O_RDWR), NODE);
		struct v4l2_event_subscription change = { .type = V4L2_EVENT_SOURCE_CHANGE };
		must(ioctl(fd, VIDIOC_SUBSCRIBE_EVENT, &change), "SUBSCRIBE_EVENT");
		coded_input(fd, 1 << 20, 4);
		must(lseek(stream, 0, SEEK_SET), "lseek");
		for (unsigned i = 0; i < 4; i++) {
			struct v4l2_plane plane = { 0 };
			struct v4l2_buffer b = { .index = i, .type = out, .memory = V4L2_MEMORY_MMAP, .m.planes = &plane, .length = 1 };
			must(ioctl(fd, VIDIOC_QUERYBUF, &b), "QUERYBUF");
			void *at = mmap(NULL, plane.length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, plane.m.mem_offset);
			must(at == MAP_FAILED ? -1 : 0, "mmap");
			queue_input(fd, i, must(read(stream, at, 1 << 20), "the stream"));
			munmap(at, plane.length);
		}
		must(ioctl(fd, VIDIOC_STREAMON, &out), "STREAMON of the input");
		while (!starve(vb3) && goes_on())
			sched_yield();
		struct pollfd first = { .fd = fd, .events = POLLPRI };
		if (must(poll(&first, 1, SECONDS * 1000), "poll")) {
			struct v4l2_format format = { .type = in };
			must(ioctl(fd, VIDIOC_G_FMT, &format), "G_FMT");
			unsigned count = request(fd, in, V4L2_MEMORY_MMAP, 8);
			for (unsigned i = 0; i < count; i++) {
				struct v4l2_plane planes[VIDEO_MAX_PLANES] = { 0 };
				struct v4l2_buffer b = { .index = i, .type = in, .memory = V4L2_MEMORY_MMAP,
					.m.planes = planes, .length = format.fmt.pix_mp.num_planes };
				must(ioctl(fd, VIDIOC_QBUF, &b), "QBUF");
			}
			must(ioctl(fd, VIDIOC_STREAMON, &in), "STREAMON");
			first.events = POLLIN;
			starve(vb3);
			must(poll(&first, 1, SECONDS * 1000), "poll");
			if (rounds % 2)
				must(ioctl(fd, VIDIOC_STREAMOFF, &in), "STREAMOFF");
		}
		close(fd);
	}
	for (int i = 0; i < 4; i++)
		must(waitpid(spinning[i], NULL, 0), "wait");
	return did("stopped a decoder", rounds);
}

static int starts(int programs)
{
	unsigned rounds = 0;
	for (; goes_on(); rounds++) {
		for (int i = 0; i < programs; i++)
			if (!must(fork(), "fork")) {
				char *words[] = { (char *)"hostile", (char *)"once", NULL };
				execv("/proc/self/exe", words);
				exit(1);
			}
		int status;
		while (wait(&status) > 0)
			must(status ? -1 : 0, "a program");
	}
	return did("programs started", rounds * programs);
}

// Runs `attack` in programs at the lowest priority.
static int at_low_priority(int programs, void (*attack)(void))
{
	for (int i = 0; i < programs; i++) {
		if (must(fork(), "fork"))
			continue;
		must(setpriority(PRIO_PROCESS, 0, LOWEST), "setpriority");
		attack();
		exit(0);
	}
	int failed = 0, status;
	while (wait(&status) > 0)
		failed |= status;
	did("programs ran", programs);
	return failed != 0;
}

static void copies(void)
{
	int fd = must(open(NODE, O_RDWR), NODE);
	while (goes_on())
		close(must(dup(fd), "dup"));
}

static int exported;

static void exports(void)
{
	while (goes_on()) {
		struct v4l2_exportbuffer export = { .type = V4L2_BUF_TYPE_VIDEO_CAPTURE };
		must(ioctl(exported, VIDIOC_EXPBUF, &export), "EXPBUF");
		close(export.fd);
	}
}

static int export_at_low_priority(int programs)
{
	exported = must(open(NODE, O_RDWR), NODE);
	request(exported, V4L2_BUF_TYPE_VIDEO_CAPTURE, V4L2_MEMORY_MMAP, 1);
	return at_low_priority(programs, exports);
}

static int frames(int flip)
{
	int fd = must(open(NODE, O_RDWR), NODE);
	unsigned type = V4L2_BUF_TYPE_VIDEO_CAPTURE, count = 0;
	struct v4l2_control control = { .id = V4L2_CID_HFLIP, .value = flip };
	if (flip)
		must(ioctl(fd, VIDIOC_S_CTRL, &control), "S_CTRL");
	set_4k(fd, type, 0);
	queue_all(fd, type, request(fd, type, V4L2_MEMORY_MMAP, 4));
	for (; goes_on(); count++) {
		struct v4l2_buffer b = { .type = type, .memory = V4L2_MEMORY_MMAP };
		must(ioctl(fd, VIDIOC_DQBUF, &b), "DQBUF");
		must(ioctl(fd, VIDIOC_QBUF, &b), "QBUF");
	}
	return did("frames came", count);
}

static int loopback(void)
{
	int writer = must(open(NODE, O_RDWR), NODE);
	unsigned out = V4L2_BUF_TYPE_VIDEO_OUTPUT, in = V4L2_BUF_TYPE_VIDEO_CAPTURE, count = 0;
	set_4k(writer, out, V4L2_PIX_FMT_YUYV);
	unsigned written = request(writer, out, V4L2_MEMORY_MMAP, 4);
	queue_all(writer, out, written);
	int reader = must(open("/dev/video2", O_RDWR), "/dev/video2");
	queue_all(reader, in, request(reader, in, V4L2_MEMORY_MMAP, 4));
	struct pollfd both[] = { { .fd = writer, .events = POLLOUT }, { .fd = reader, .events = POLLIN } };
	while (goes_on()) {
		must(poll(both, 2, 1000), "poll");
		if (both[0].revents & POLLOUT) {
			struct v4l2_buffer b = { .type = out, .memory = V4L2_MEMORY_MMAP };
			must(ioctl(writer, VIDIOC_DQBUF, &b), "DQBUF of the writer");
			must(ioctl(writer, VIDIOC_QBUF, &b), "QBUF of the writer");
		}
		if (both[1].revents & POLLIN) {
			struct v4l2_buffer b = { .type = in, .memory = V4L2_MEMORY_MMAP };
			must(ioctl(reader, VIDIOC_DQBUF, &b), "DQBUF of the reader");
			must(ioctl(reader, VIDIOC_QBUF, &b), "QBUF of the reader");
			count++;
		}
	}
	return did("frames came", count);
}

static const char *polled;
static int polled_count;

static void *polls(void *unused)
{
	struct pollfd all[POLLED_MAX + 1] = { { .fd = must(open(NODE, O_RDWR), NODE), .events = POLLPRI } };
	for (int i = 1; i <= polled_count; i++)
		all[i].fd = must(open(polled, O_RDONLY), polled);
	while (goes_on())
		must(poll(all, polled_count + 1, 0), "poll");
	return unused;
}

static int in_threads(void *(*attack)(void *), int threads)
{
	pthread_t all[64];
	for (int i = 0; i < threads; i++)
		must(-pthread_create(&all[i], NULL, attack, NULL), "a thread");
	for (int i = 0; i < threads; i++)
		pthread_join(all[i], NULL);
	return did("threads ran", threads);
}

static void *asks(void *unused)
{
	int fd = must(open(NODE, O_RDWR), NODE);
	for (struct v4l2_capability cap; goes_on();)
		must(ioctl(fd, VIDIOC_QUERYCAP, &cap), "QUERYCAP");
	return unused;
}

static int stops(pid_t pid)
{
	for (int i = 0; i < 10; i++) {
		must(kill(pid, SIGSTOP), "SIGSTOP");
		usleep(50000);
		must(kill(pid, SIGCONT), "SIGCONT");
		usleep(150000);
	}
	return did("stopped", 10);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	int n = argc > 2 ? atoi(argv[2]) : 0;
	end_ms = now_ms() + SECONDS * 1000;
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!strcmp(what, "protect"))
		return user_pointers((size_t)n << 30, protect, 1);
	if (!strcmp(what, "fork"))
		return user_pointers(256 << 20, forks, 2);
	if (!strcmp(what, "heap"))
		return heap(n);
	if (!strcmp(what, "request"))
		return request_4k();
	if (!strcmp(what, "create"))
		return create_4k();
	if (!strcmp(what, "input"))
		return input();
	if (!strcmp(what, "codec") && argc == 4)
		return codec(argv[2], atoi(argv[3]));
	if (!strcmp(what, "ask"))
		return in_threads(asks, n);
	if (!strcmp(what, "start"))
		return starts(n);
	if (!strcmp(what, "once"))
		return must(open(NODE, O_RDWR), NODE) < 0;
	if (!strcmp(what, "copy"))
		return at_low_priority(n, copies);
	if (!strcmp(what, "export"))
		return export_at_low_priority(n);
	if (!strcmp(what, "stream"))
		return frames(n);
	if (!strcmp(what, "loopback"))
		return loopback();
	if (!strcmp(what, "poll") && argc == 5) {
		polled = argv[2];
		polled_count = atoi(argv[3]) < POLLED_MAX ? atoi(argv[3]) : POLLED_MAX;
		return in_threads(polls, atoi(argv[4]));
	}
	if (!strcmp(what, "stop"))
		return stops(n);
	return 2;
}
