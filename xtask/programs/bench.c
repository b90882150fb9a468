// The client of `cargo xtask bench`, `bench camera` and `bench beside`: times calls, and prints `key value`
// lines.
#include "client.h"
#include <sys/resource.h>
#include <sys/wait.h>

static struct queue camera(const char *path)
{
	int fd = (int)must(open(path, O_RDWR | O_CLOEXEC), path);
	return (struct queue){ .fd = fd, .type = CAMERA, .memory = V4L2_MEMORY_MMAP };
}

// Medians of four calls: the smallest notification (EBADF without a descriptor), an ioctl that a device
// answers without access to memory (ENOTTY), QBUF and DQBUF.
static void cycles(struct queue q, unsigned buffers, unsigned count)
{
	uint64_t *bare = got(calloc(count, sizeof(*bare)));
	uint64_t *refused = got(calloc(count, sizeof(*refused)));
	uint64_t *queue = got(calloc(count, sizeof(*queue)));
	uint64_t *dequeue = got(calloc(count, sizeof(*dequeue)));
	struct v4l2_plane none;
	for (unsigned i = 0; i < count; i++) {
		uint64_t t0 = now_ns();
		(void)!ioctl(-1, _IO('V', 199), 0);
		uint64_t t1 = now_ns();
		(void)!ioctl(q.fd, _IO('V', 199), 0);
		uint64_t t2 = now_ns();
		bare[i] = t1 - t0;
		refused[i] = t2 - t1;
	}
	set_format(q, V4L2_PIX_FMT_YUYV, 64, 64, 0);
	allocate(q, buffers);
	for (unsigned i = 0; i < buffers; i++)
		put(q, i, -1, 0);
	stream(q, VIDIOC_STREAMON);
	uint64_t begin = 0;
	for (unsigned i = 0; i < count + count / 10; i++) {
		// The first tenth warms up.
		unsigned slot = i < count / 10 ? 0 : i - count / 10;
		if (i == count / 10)
			begin = now_ns();
		struct v4l2_buffer b = buffer(q, 0, &none);
		// The camera fills the next buffer meanwhile, outside the measured time.
		(void)!ioctl(-1, _IO('V', 199), 0);
		uint64_t t0 = now_ns();
		must(ioctl(q.fd, VIDIOC_DQBUF, &b), "VIDIOC_DQBUF");
		uint64_t t1 = now_ns();
		must(ioctl(q.fd, VIDIOC_QBUF, &b), "VIDIOC_QBUF");
		uint64_t t2 = now_ns();
		dequeue[slot] = t1 - t0;
		queue[slot] = t2 - t1;
	}
	uint64_t cycle_ns = (now_ns() - begin) / count, bare_ns = median(bare, count);
	stream(q, VIDIOC_STREAMOFF);
	say("bare_ns", bare_ns);
	say("refused_ns", median(refused, count));
	say("qbuf_ns", median(queue, count));
	say("dqbuf_ns", median(dequeue, count));
	say("cycle_ns", cycle_ns > bare_ns ? cycle_ns - bare_ns : 0);
}

// Allocates four buffers of 1920x1080 NV12, maps and queues them. Returns the length of each.
static size_t prepare(struct queue q)
{
	size_t length = 0;
	unsigned char *mapped;
	set_format(q, V4L2_PIX_FMT_NV12, 1920, 1080, 0);
	allocate(q, 4);
	for (unsigned i = 0; i < 4; i++) {
		length = map(q, i, &mapped);
		put(q, i, -1, 0);
	}
	return length;
}

static void dequeue_and_queue(struct queue q)
{
	struct v4l2_plane none;
	put(q, take(q, &none).index, -1, 0);
}

// CPU time of copying `bytes` bytes again and again, between buffers that hold `room` bytes in all. With
// much room, the copies come from memory and not from a cache. A copy begins every `period_ns`, as a camera's
// frames do, or at once if this is 0.
static uint64_t copying_ns(size_t bytes, size_t room, unsigned times, uint64_t period_ns)
{
	size_t count = room / bytes > 2 ? room / bytes : 2;
	unsigned char *all = got(malloc(count * bytes));
	memset(all, 1, count * bytes);
	uint64_t begin = clock_ns(CLOCK_PROCESS_CPUTIME_ID), next = now_ns();
	for (unsigned i = 0; i < times; i++) {
		memcpy(all + i % (count / 2) * 2 * bytes, all + (i % (count / 2) * 2 + 1) * bytes, bytes);
		__asm__ volatile("" : : "r"(all) : "memory");
		next += period_ns;
		struct timespec at = { (time_t)(next / 1000000000), (long)(next % 1000000000) };
		if (period_ns)
			clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
	}
	begin = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - begin;
	free(all);
	return begin;
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

// Captures from `count` cameras at once, from /dev/video0 on. Prints the CPU time of this process and of the
// supervisor, and the memory. For one camera, also prints the CPU time of copying as many bytes.
static void cameras(unsigned count, unsigned frames)
{
	enum { MOST = 64 };
	struct queue queues[MOST];
	struct pollfd fds[MOST];
	unsigned left[MOST], streaming = count;
	size_t length = 0;
	if (!count || count > MOST)
		exit(2);
	for (unsigned i = 0; i < count; i++) {
		char path[32];
		snprintf(path, sizeof(path), "/dev/video%u", i);
		queues[i] = camera(path);
		fds[i] = (struct pollfd){ .fd = queues[i].fd, .events = POLLIN };
		left[i] = frames;
		length = prepare(queues[i]);
	}
	uint64_t own = clock_ns(CLOCK_PROCESS_CPUTIME_ID), theirs = cpu_of(getppid()), begin = now_ns();
	for (unsigned i = 0; i < count; i++)
		stream(queues[i], VIDIOC_STREAMON);
	while (streaming) {
		// One camera waits in DQBUF.
		if (count > 1)
			must(poll(fds, count, -1), "poll");
		for (unsigned i = 0; i < count; i++) {
			if (fds[i].fd < 0 || (count > 1 && !fds[i].revents))
				continue;
			dequeue_and_queue(queues[i]);
			if (!--left[i]) {
				stream(queues[i], VIDIOC_STREAMOFF);
				fds[i].fd = -1;
				streaming--;
			}
		}
	}
	say("wall_ns", now_ns() - begin);
	say("client_cpu_ns", clock_ns(CLOCK_PROCESS_CPUTIME_ID) - own);
	say("supervisor_cpu_ns", cpu_of(getppid()) - theirs);
	say("peak_kib", peak_kib(getppid()));
	if (count == 1) {
		say("cached_ns", copying_ns(length, 0, frames, 0));
		say("uncached_ns", copying_ns(length, 512u << 20, frames, 0));
		say("paced_ns", copying_ns(length, 512u << 20, frames, 1000000000 / 60));
	}
}

// CPU time and memory of a command that writes frames to a pipe, and of reading them.
static void piped(const char *command)
{
	static char bytes[1 << 20];
	struct rusage used;
	uint64_t own = clock_ns(CLOCK_PROCESS_CPUTIME_ID), begin = now_ns();
	FILE *pipe = popen(command, "r");
	must(pipe ? 0 : -1, command);
	while (read(fileno(pipe), bytes, sizeof(bytes)) > 0)
		;
	if (pclose(pipe))
		exit(1);
	must(getrusage(RUSAGE_CHILDREN, &used), "getrusage");
	own = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - own;
	uint64_t us = (uint64_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000u +
		      (uint64_t)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
	say("wall_ns", now_ns() - begin);
	say("client_cpu_ns", own);
	say("supervisor_cpu_ns", us * 1000);
	say("peak_kib", (uint64_t)used.ru_maxrss);
}

// Captures 640x480. Prints the longest time between two frames.
static void gaps(const char *path, unsigned seconds)
{
	struct queue q = camera(path);
	uint64_t longest = 0, last = 0;
	set_format(q, V4L2_PIX_FMT_YUYV, 640, 480, 0);
	allocate(q, 4);
	for (unsigned i = 0; i < 4; i++)
		put(q, i, -1, 0);
	stream(q, VIDIOC_STREAMON);
	for (uint64_t end = now_ns() + seconds * UINT64_C(1000000000); last < end;) {
		dequeue_and_queue(q);
		uint64_t at = now_ns();
		if (last && at - last > longest)
			longest = at - last;
		last = at;
	}
	say("gap_ns", longest);
}

// Makes calls on a camera that change nothing, one every 0.2 ms, while another process captures its frames.
static void calls(const char *path, unsigned seconds)
{
	enum { MOST = 1 << 20, PAUSE_NS = 200000 };
	static uint64_t took[MOST];
	pid_t other = (pid_t)must(fork(), "fork");
	if (!other) {
		gaps(path, seconds);
		exit(0);
	}
	int fd = (int)must(open(path, O_RDWR), path);
	size_t count = 0;
	for (uint64_t end = now_ns() + seconds * UINT64_C(1000000000); count < MOST && now_ns() < end; count++) {
		struct v4l2_capability capability;
		uint64_t began = now_ns();
		must(ioctl(fd, VIDIOC_QUERYCAP, &capability), path);
		took[count] = now_ns() - began;
		nanosleep(&(struct timespec){ .tv_nsec = PAUSE_NS }, NULL);
	}
	qsort(took, count, sizeof(*took), by_value);
	say("p99_ns", took[count * 99 / 100]);
	say("max_ns", took[count - 1]);
	must(waitpid(other, NULL, 0), "waitpid");
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";
	unsigned last = argc > 3 ? (unsigned)atoi(argv[3]) : 0;
	if (!strcmp(what, "cycles") && last)
		cycles(camera("/dev/video0"), (unsigned)atoi(argv[2]), last);
	else if (!strcmp(what, "cameras") && last)
		cameras((unsigned)atoi(argv[2]), last);
	else if (!strcmp(what, "calls") && last)
		calls(argv[2], last);
	else if (!strcmp(what, "piped"))
		piped(argv[2]);
	else {
		fprintf(stderr, "usage: bench cycles BUFFERS COUNT | cameras COUNT FRAMES | calls NODE SECONDS | "
				"piped COMMAND\n");
		return 2;
	}
	return 0;
}
