// The client of `cargo xtask bench scale`: scale WHAT COUNT. Makes COUNT objects of one kind and prints
// `key value` lines: the cost of one more object, of a call and of the removal of all, the latency of a
// waiter for a picture, and the lost frames of a concurrent camera at 60 fps.
//
// /dev/video0 is a converter, /dev/video1 a camera.
#include "client.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { CALLS = 501, POLLS = 21, SIDE = 64 };

static struct queue queue(int fd, unsigned type)
{
	return (struct queue){ .fd = fd, .type = type, .memory = V4L2_MEMORY_MMAP };
}

// Opens a converter of small pictures, which streams and waits for a picture.
static int converter(void)
{
	static const unsigned types[] = { OUTPUT, CAPTURE };
	int fd = (int)must(open("/dev/video0", O_RDWR), "/dev/video0");
	for (unsigned i = 0; i < 2; i++) {
		struct queue q = queue(fd, types[i]);
		set_format(q, V4L2_PIX_FMT_YUYV, SIDE, SIDE, 0);
		allocate(q, 1);
		stream(q, VIDIOC_STREAMON);
	}
	put(queue(fd, CAPTURE), 0, -1, 0);
	return fd;
}

static void convert_one(int fd)
{
	put(queue(fd, OUTPUT), 0, -1, SIDE * SIDE * 2);
}

// A thread that waits for a converter: by DQBUF for its own, since a queue has at most one such
// waiter, or by poll for the shared one.
struct waiter {
	pthread_t thread;
	int fd;
	int polls;
	atomic_int tid;
};

static atomic_ullong heard_ns;

static void *wait_there(void *given)
{
	struct waiter *w = given;
	struct v4l2_plane plane;
	struct v4l2_buffer b = buffer(queue(w->fd, CAPTURE), 0, &plane);
	struct pollfd p = { .fd = w->fd, .events = POLLIN };
	atomic_store(&w->tid, (int)syscall(SYS_gettid));
	if (w->polls)
		poll(&p, 1, -1);
	else
		ioctl(w->fd, VIDIOC_DQBUF, &b);
	atomic_store(&heard_ns, now_ns());
	return NULL;
}

// Waits until a thread sleeps in the kernel, as its state shows.
static void until_asleep(int pid, int tid)
{
	char path[64], text[512];
	for (;;) {
		snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, tid);
		FILE *file = fopen(path, "r");
		must(file && fgets(text, sizeof(text), file) ? 0 : -1, path);
		fclose(file);
		char *state = strrchr(text, ')');
		if (state && state[2] == 'S')
			return;
		sched_yield();
	}
}

static uint64_t start, start_cpu;

// CPU time of this process and of the supervisor, its parent.
static uint64_t cpu_ns(void)
{
	return clock_ns(CLOCK_PROCESS_CPUTIME_ID) + cpu_of(getppid());
}

static void begin(void)
{
	start = now_ns();
	start_cpu = cpu_ns();
}

// Prints the average cost of one more object, since begin().
static void say_added(unsigned count)
{
	say("add_ns", (now_ns() - start) / count);
	say("add_cpu_ns", (cpu_ns() - start_cpu) / count);
}

// The cost of a call that changes nothing.
static void say_call(int fd)
{
	static uint64_t times[CALLS];
	struct v4l2_capability c;
	for (unsigned i = 0; i < CALLS; i++) {
		uint64_t began = now_ns();
		must(ioctl(fd, VIDIOC_QUERYCAP, &c), "QUERYCAP");
		times[i] = now_ns() - began;
	}
	say("call_ns", median(times, CALLS));
}

static void threads(unsigned count, int polls)
{
	struct waiter *all = got(calloc(count, sizeof(*all)));
	pthread_attr_t small;
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 64 * 1024);
	begin();
	for (unsigned i = 0; i < count; i++) {
		all[i].fd = polls && i ? all[0].fd : converter();
		all[i].polls = polls;
		errno = pthread_create(&all[i].thread, &small, wait_there, &all[i]);
		must(-errno, "a thread");
	}
	for (unsigned i = 0; i < count; i++) {
		while (!atomic_load(&all[i].tid))
			sched_yield();
		until_asleep(getpid(), all[i].tid);
	}
	say_added(count);
	say_call(all[0].fd);
	start = now_ns();
	convert_one(all[count - 1].fd);
	while (!atomic_load(&heard_ns))
		sched_yield();
	say("wake_ns", atomic_load(&heard_ns) - start);
	start = now_ns();
	for (unsigned i = 0; i < (polls ? 1 : count); i++)
		stream(queue(all[i].fd, CAPTURE), VIDIOC_STREAMOFF);
	for (unsigned i = 0; i < count; i++)
		pthread_join(all[i].thread, NULL);
	say("end_ns", (now_ns() - start) / count);
}

// Measures objects of one converter. `make` makes an object and returns its number, `wake` waits for a picture by
// means of the last object, and `end` removes all objects.
static void objects(unsigned count, int (*make)(int fd), void (*wake)(int fd, int last),
		    void (*end)(int *all, unsigned count))
{
	int fd = converter();
	int *all = got(calloc(count, sizeof(*all)));
	begin();
	for (unsigned i = 0; i < count; i++)
		all[i] = (int)must(make(fd), "one more");
	say_added(count);
	say_call(fd);
	start = now_ns();
	convert_one(fd);
	wake(fd, all[count - 1]);
	say("wake_ns", now_ns() - start);
	start = now_ns();
	end(all, count);
	say("end_ns", (now_ns() - start) / count);
}

static void by_dqbuf(int fd, int last)
{
	struct v4l2_plane plane;
	(void)last;
	take(queue(fd, CAPTURE), &plane);
}

static void close_all(int *all, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		close(all[i]);
}

// One more descriptor of the same buffer.
static int one_export(int fd)
{
	return export(queue(fd, CAPTURE), 0);
}

// One more epoll set with the same file.
static int one_set(int fd)
{
	struct epoll_event event = { .events = EPOLLIN };
	int set = (int)must(epoll_create1(0), "epoll_create1");
	must(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event), "EPOLL_CTL_ADD");
	return set;
}

static void by_epoll(int fd, int last)
{
	struct epoll_event event;
	(void)fd;
	must(epoll_wait(last, &event, 1, -1), "epoll_wait");
}

// One more program that has the converter open and waits for it.
static int one_process(int fd)
{
	int ready[2];
	char byte;
	(void)fd;
	must(pipe(ready), "pipe");
	pid_t pid = (pid_t)must(fork(), "fork");
	if (!pid) {
		struct pollfd p = { .fd = converter(), .events = POLLIN };
		must(write(ready[1], "", 1), "write");
		poll(&p, 1, -1);
		_exit(0);
	}
	must(read(ready[0], &byte, 1), "read");
	close(ready[0]);
	close(ready[1]);
	until_asleep(pid, pid);
	return pid;
}

static void kill_all(int *all, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		kill(all[i], SIGKILL);
	for (unsigned i = 0; i < count; i++)
		waitpid(all[i], NULL, 0);
}

// One poll of many descriptors, all of one device.
static void pollfds(unsigned count)
{
	static uint64_t times[POLLS];
	int fd = converter();
	struct pollfd *all = got(calloc(count, sizeof(*all)));
	begin();
	for (unsigned i = 0; i < count; i++)
		all[i] = (struct pollfd){ .fd = (int)must(dup(fd), "dup"), .events = POLLIN };
	say_added(count);
	for (unsigned i = 0; i < POLLS; i++) {
		start = now_ns();
		must(poll(all, count, 0), "poll");
		times[i] = now_ns() - start;
	}
	// Of one descriptor.
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

static volatile sig_atomic_t enough;

static void stop(int number)
{
	(void)number;
	enough = 1;
}

// A concurrent camera program: its lost pictures, and the longest time without one.
static void watch(int to)
{
	enum { BUFFERS = 4 };
	struct queue q = queue((int)must(open("/dev/video1", O_RDWR), "/dev/video1"), CAMERA);
	allocate(q, BUFFERS);
	for (unsigned i = 0; i < BUFFERS; i++)
		put(q, i, -1, 0);
	stream(q, VIDIOC_STREAMON);
	uint64_t lost = 0, longest = 0, last = 0, taken = 0;
	unsigned next = 0;
	while (!enough) {
		struct v4l2_plane none;
		struct v4l2_buffer b = buffer(q, 0, &none);
		if (ioctl(q.fd, VIDIOC_DQBUF, &b) < 0)
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
		put(q, b.index, -1, 0);
	}
	say("camera_frames", taken);
	say("camera_lost", lost);
	say("camera_longest_ns", longest);
	fflush(stdout);
	_exit(0);
}

static void measure(const char *kind, unsigned count)
{
	if (!strcmp(kind, "dqbuf") || !strcmp(kind, "poll"))
		threads(count, kind[0] == 'p');
	else if (!strcmp(kind, "pollfds"))
		pollfds(count);
	else if (!strcmp(kind, "exports"))
		objects(count, one_export, by_dqbuf, close_all);
	else if (!strcmp(kind, "sets"))
		objects(count, one_set, by_epoll, close_all);
	else if (!strcmp(kind, "processes"))
		objects(count, one_process, by_dqbuf, kill_all);
	else
		fprintf(stderr, "%s is no kind of objects\n", kind);
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
	int streams[2], status;
	char byte;
	must(pipe(streams), "pipe");
	struct sigaction action = { .sa_handler = stop };
	sigaction(SIGTERM, &action, NULL);
	pid_t camera = (pid_t)must(fork(), "fork");
	if (!camera) {
		must(prctl(PR_SET_PDEATHSIG, SIGKILL), "PDEATHSIG");
		watch(streams[1]);
	}
	close(streams[1]);
	must(read(streams[0], &byte, 1) == 1 ? 0 : -1, "the camera");
	measure(argv[1], count);
	fflush(stdout);
	must(kill(camera, SIGTERM), "kill");
	must(waitpid(camera, &status, 0), "waitpid");
	return status != 0;
}
