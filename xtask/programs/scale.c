// The client of `cargo xtask bench scale`: scale WHAT COUNT. Makes COUNT objects of one kind and prints
// `key value` lines: the cost of one more object, of a call and of the removal of all, the latency of a
// waiter for a picture, and the lost frames of a concurrent camera at 60 fps.
//
// /dev/video0 is a converter, /dev/video1 a camera.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "measure.h"

enum { CALLS = 501, POLLS = 21 };

static uint64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

static void *got(void *memory)
{
	if (!memory) {
		fprintf(stderr, "scale: no memory\n");
		exit(1);
	}
	return memory;
}

enum {
	OUTPUT = V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE,
	CAPTURE = V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE,
	CAMERA = V4L2_BUF_TYPE_VIDEO_CAPTURE,
};

static struct v4l2_buffer buffer(unsigned type, unsigned index, struct v4l2_plane *plane)
{
	struct v4l2_buffer b;
	memset(&b, 0, sizeof(b));
	memset(plane, 0, sizeof(*plane));
	b.index = index;
	b.type = type;
	b.memory = V4L2_MEMORY_MMAP;
	b.field = V4L2_FIELD_NONE;
	if (type != CAMERA) {
		b.m.planes = plane;
		b.length = 1;
	}
	return b;
}

static void request(int fd, unsigned type, unsigned count)
{
	struct v4l2_requestbuffers r = { .count = count, .type = type, .memory = V4L2_MEMORY_MMAP };
	must(ioctl(fd, VIDIOC_REQBUFS, &r), "REQBUFS");
}

static void queue(int fd, unsigned type, unsigned index)
{
	struct v4l2_plane plane;
	struct v4l2_buffer b = buffer(type, index, &plane);
	if (type == OUTPUT) {
		must(ioctl(fd, VIDIOC_QUERYBUF, &b), "QUERYBUF");
		plane.bytesused = plane.length;
	}
	must(ioctl(fd, VIDIOC_QBUF, &b), "QBUF");
}

/* A converter of small pictures that streams, and waits for one. */
static int converter(void)
{
	static const unsigned types[] = { OUTPUT, CAPTURE };
	int fd = open("/dev/video0", O_RDWR);
	must(fd, "/dev/video0");
	for (unsigned i = 0; i < 2; i++) {
		struct v4l2_format f;
		memset(&f, 0, sizeof(f));
		f.type = types[i];
		f.fmt.pix_mp.width = 64;
		f.fmt.pix_mp.height = 64;
		f.fmt.pix_mp.pixelformat = V4L2_PIX_FMT_YUYV;
		must(ioctl(fd, VIDIOC_S_FMT, &f), "S_FMT");
		request(fd, types[i], 1);
		must(ioctl(fd, VIDIOC_STREAMON, &types[i]), "STREAMON");
	}
	queue(fd, CAPTURE, 0);
	return fd;
}

static void convert_one(int fd)
{
	queue(fd, OUTPUT, 0);
}

static void take(int fd, unsigned type)
{
	struct v4l2_plane plane;
	struct v4l2_buffer b = buffer(type, 0, &plane);
	must(ioctl(fd, VIDIOC_DQBUF, &b), "DQBUF");
}

/* A thread that waits for a converter: by DQBUF for its own, since a queue has at most one such
 * waiter, or by poll for the shared one. */
struct waiter {
	pthread_t thread;
	int fd;
	int polls;
	atomic_int tid;
};

static atomic_uint heard;
static atomic_ullong heard_ns;

static void *wait_there(void *given)
{
	struct waiter *w = given;
	struct v4l2_plane plane;
	struct v4l2_buffer b = buffer(CAPTURE, 0, &plane);
	struct pollfd p = { .fd = w->fd, .events = POLLIN };
	atomic_store(&w->tid, (int)syscall(SYS_gettid));
	if (w->polls)
		poll(&p, 1, -1);
	else
		ioctl(w->fd, VIDIOC_DQBUF, &b);
	atomic_store(&heard_ns, now_ns());
	atomic_fetch_add(&heard, 1);
	return NULL;
}

/* Waits until a thread sleeps in the kernel, as its state shows. */
static void until_asleep(int pid, int tid)
{
	char path[64], text[512];
	for (;;) {
		snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, tid);
		int fd = open(path, O_RDONLY);
		ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
		must(len, path);
		close(fd);
		text[len] = 0;
		char *state = strrchr(text, ')');
		if (state && state[2] == 'S')
			return;
		sched_yield();
	}
}

static void say(const char *key, uint64_t value)
{
	printf("%s %llu\n", key, (unsigned long long)value);
}

/* CPU time of this process and of the supervisor, its parent. */
static uint64_t cpu_ns(void)
{
	return clock_ns(CLOCK_PROCESS_CPUTIME_ID) + cpu_of(getppid());
}

/* The cost of one more object since `start` and `cpu`. */
static void say_added(uint64_t start, uint64_t cpu, unsigned count)
{
	say("add_ns", (now_ns() - start) / count);
	say("add_cpu_ns", (cpu_ns() - cpu) / count);
}

/* The cost of a call that changes nothing. */
static void say_call(int fd)
{
	static uint64_t times[CALLS];
	struct v4l2_capability c;
	for (unsigned i = 0; i < CALLS; i++) {
		uint64_t start = now_ns();
		must(ioctl(fd, VIDIOC_QUERYCAP, &c), "QUERYCAP");
		times[i] = now_ns() - start;
	}
	say("call_ns", median(times, CALLS));
}

static void threads(unsigned count, int polls)
{
	unsigned type = CAPTURE;
	struct waiter *all = got(calloc(count, sizeof(*all)));
	pthread_attr_t small;
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 64 * 1024);
	uint64_t start = now_ns(), cpu = cpu_ns();
	for (unsigned i = 0; i < count; i++) {
		all[i].fd = polls && i ? all[0].fd : converter();
		all[i].polls = polls;
		if (pthread_create(&all[i].thread, &small, wait_there, &all[i])) {
			fprintf(stderr, "scale: no thread %u\n", i);
			exit(1);
		}
	}
	for (unsigned i = 0; i < count; i++) {
		while (!atomic_load(&all[i].tid))
			sched_yield();
		until_asleep(getpid(), all[i].tid);
	}
	say_added(start, cpu, count);
	say_call(all[0].fd);
	start = now_ns();
	convert_one(all[count - 1].fd);
	while (!atomic_load(&heard))
		sched_yield();
	say("wake_ns", atomic_load(&heard_ns) - start);
	start = now_ns();
	for (unsigned i = 0; i < (polls ? 1 : count); i++)
		must(ioctl(all[i].fd, VIDIOC_STREAMOFF, &type), "STREAMOFF");
	for (unsigned i = 0; i < count; i++)
		pthread_join(all[i].thread, NULL);
	say("end_ns", (now_ns() - start) / count);
}

/* Many descriptors of one buffer. */
static void exports(unsigned count)
{
	int fd = converter();
	int *all = got(calloc(count, sizeof(*all)));
	uint64_t start = now_ns(), cpu = cpu_ns();
	for (unsigned i = 0; i < count; i++) {
		struct v4l2_exportbuffer e = { .type = CAPTURE, .flags = O_CLOEXEC };
		must(ioctl(fd, VIDIOC_EXPBUF, &e), "EXPBUF");
		all[i] = e.fd;
	}
	say_added(start, cpu, count);
	say_call(fd);
	start = now_ns();
	convert_one(fd);
	take(fd, CAPTURE);
	say("wake_ns", now_ns() - start);
	start = now_ns();
	for (unsigned i = 0; i < count; i++)
		close(all[i]);
	say("end_ns", (now_ns() - start) / count);
}

/* One poll of many descriptors, all of one device. */
static void pollfds(unsigned count)
{
	static uint64_t times[POLLS];
	int fd = converter();
	struct pollfd *all = got(calloc(count, sizeof(*all)));
	uint64_t start = now_ns(), cpu = cpu_ns();
	for (unsigned i = 0; i < count; i++) {
		all[i].fd = dup(fd);
		must(all[i].fd, "dup");
		all[i].events = POLLIN;
	}
	say_added(start, cpu, count);
	for (unsigned i = 0; i < POLLS; i++) {
		start = now_ns();
		must(poll(all, count, 0), "poll");
		times[i] = now_ns() - start;
	}
	/* Of one descriptor. */
	say("call_ns", median(times, POLLS) / count);
	start = now_ns();
	convert_one(fd);
	must(poll(all, count, -1), "poll");
	say("wake_ns", (now_ns() - start) / count);
	start = now_ns();
	for (unsigned i = 0; i < count; i++)
		close(all[i].fd);
	say("end_ns", (now_ns() - start) / count);
}

/* One file in many epoll sets. */
static void sets(unsigned count)
{
	int fd = converter();
	int *all = got(calloc(count, sizeof(*all)));
	struct epoll_event event = { .events = EPOLLIN };
	uint64_t start = now_ns(), cpu = cpu_ns();
	for (unsigned i = 0; i < count; i++) {
		all[i] = epoll_create1(0);
		must(all[i], "epoll_create1");
		must(epoll_ctl(all[i], EPOLL_CTL_ADD, fd, &event), "EPOLL_CTL_ADD");
	}
	say_added(start, cpu, count);
	say_call(fd);
	start = now_ns();
	convert_one(fd);
	must(epoll_wait(all[count - 1], &event, 1, -1), "epoll_wait");
	say("wake_ns", now_ns() - start);
	start = now_ns();
	for (unsigned i = 0; i < count; i++)
		close(all[i]);
	say("end_ns", (now_ns() - start) / count);
}

/* Programs that each have the converter open and wait for it. */
static void processes(unsigned count)
{
	int ready[2];
	pid_t *all = got(calloc(count, sizeof(*all)));
	int fd = converter();
	must(pipe(ready), "pipe");
	uint64_t start = now_ns(), cpu = cpu_ns();
	for (unsigned i = 0; i < count; i++) {
		all[i] = fork();
		must(all[i], "fork");
		if (!all[i]) {
			int own = converter();
			struct pollfd p = { .fd = own, .events = POLLIN };
			must(write(ready[1], "", 1), "write");
			poll(&p, 1, -1);
			_exit(0);
		}
	}
	for (unsigned i = 0; i < count; i++) {
		char byte;
		must(read(ready[0], &byte, 1), "read");
	}
	for (unsigned i = 0; i < count; i++)
		until_asleep(all[i], all[i]);
	say_added(start, cpu, count);
	say_call(fd);
	start = now_ns();
	convert_one(fd);
	take(fd, CAPTURE);
	say("wake_ns", now_ns() - start);
	start = now_ns();
	for (unsigned i = 0; i < count; i++)
		kill(all[i], SIGKILL);
	for (unsigned i = 0; i < count; i++)
		waitpid(all[i], NULL, 0);
	say("end_ns", (now_ns() - start) / count);
}

static volatile sig_atomic_t enough;

static void stop(int number)
{
	(void)number;
	enough = 1;
}

/* A concurrent camera program: its lost pictures, and the longest time without one. */
static void watch(int to)
{
	enum { BUFFERS = 4 };
	unsigned type = CAMERA;
	int fd = open("/dev/video1", O_RDWR);
	must(fd, "/dev/video1");
	request(fd, type, BUFFERS);
	for (unsigned i = 0; i < BUFFERS; i++)
		queue(fd, type, i);
	must(ioctl(fd, VIDIOC_STREAMON, &type), "STREAMON");
	uint64_t lost = 0, longest = 0, last = 0, taken = 0;
	unsigned next = 0;
	while (!enough) {
		struct v4l2_plane none;
		struct v4l2_buffer b = buffer(type, 0, &none);
		if (ioctl(fd, VIDIOC_DQBUF, &b) < 0)
			break;
		uint64_t at = now_ns();
		if (taken++) {
			lost += b.sequence - next;
			if (at - last > longest)
				longest = at - last;
		} else {
			must(write(to, "", 1), "write");
		}
		next = b.sequence + 1;
		last = at;
		queue(fd, type, b.index);
	}
	say("camera_frames", taken);
	say("camera_lost", lost);
	say("camera_longest_ns", longest);
	fflush(stdout);
	_exit(0);
}

int main(int argc, char **argv)
{
	unsigned count = argc == 3 ? (unsigned)atoi(argv[2]) : 0;
	if (!count) {
		fprintf(stderr, "usage: scale dqbuf|poll|exports|pollfds|sets|processes COUNT\n");
		return 2;
	}
	struct rlimit files;
	must(getrlimit(RLIMIT_NOFILE, &files), "RLIMIT_NOFILE");
	files.rlim_cur = files.rlim_max;
	must(setrlimit(RLIMIT_NOFILE, &files), "RLIMIT_NOFILE");
	int streams[2];
	char byte;
	must(pipe(streams), "pipe");
	struct sigaction action = { .sa_handler = stop };
	sigaction(SIGTERM, &action, NULL);
	pid_t camera = fork();
	must(camera, "fork");
	if (!camera) {
		must(prctl(PR_SET_PDEATHSIG, SIGKILL), "PDEATHSIG");
		watch(streams[1]);
	}
	close(streams[1]);
	must(read(streams[0], &byte, 1) == 1 ? 0 : -1, "the camera");
	if (!strcmp(argv[1], "dqbuf"))
		threads(count, 0);
	else if (!strcmp(argv[1], "poll"))
		threads(count, 1);
	else if (!strcmp(argv[1], "exports"))
		exports(count);
	else if (!strcmp(argv[1], "pollfds"))
		pollfds(count);
	else if (!strcmp(argv[1], "sets"))
		sets(count);
	else if (!strcmp(argv[1], "processes"))
		processes(count);
	else
		return 2;
	fflush(stdout);
	int status;
	must(kill(camera, SIGTERM), "kill");
	must(waitpid(camera, &status, 0), "waitpid");
	return status != 0;
}
