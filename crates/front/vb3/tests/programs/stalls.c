// Makes one of its calls stall while another process captures:
//
//   stalls watch COUNT NODE     captures that many frames, or until SIGTERM; each writes a byte to
//                               descriptor 9, if there is one; prints how many frames were lost
//   stalls frames               waits for frames from that process
//   stalls page                 an argument's page is filled late, by a thread that calls devices
//   stalls userptr              the same for pages that a device must fill
//   stalls fuse DIR             a path leads through a file system that this program serves
//   stalls held DIR             such a file system's file is held, and answers late
//   stalls queued DIR           such a file, which never answers, is queued as a dma-buf, and copied
//   stalls replaced DIR         such a file is closed by a dup2, and the program copies other descriptors
//   stalls shared DIR           such a file is held, and called by threads that wait for ever; another
//                               program opens, polls, locks, reads and streams a device again and again
//   stalls around DIR COMMAND   runs a command while DIR is such a file system
//   stalls within DIR           as `shared`, with the file system of `around`
//   stalls set                  the kernel holds the lock of an epoll set with a streaming camera
//   stalls stopped NODE         a process that makes calls all the time is stopped at random moments
//   stalls traced               a mapping is refused, and the supervisor must print a remark
//
// Each exits with 0 if its call returned the kernel's result.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <linux/userfaultfd.h>
#include <linux/videodev2.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, FRAMES = 9, LATE = 300 };

static int must(int result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "stalls: %s: %s\n", what, strerror(errno));
		exit(1);
	}
	return result;
}

// Buffers of a camera. One is mapped, to check that streaming continues.
static int stream(const char *node, unsigned count)
{
	int fd = must(open(node, O_RDWR), node);
	unsigned type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
	struct v4l2_requestbuffers request = { .count = count, .type = type, .memory = V4L2_MEMORY_MMAP };
	must(ioctl(fd, VIDIOC_REQBUFS, &request), "REQBUFS");
	for (unsigned i = 0; i < request.count; i++) {
		struct v4l2_buffer b = { .index = i, .type = type, .memory = V4L2_MEMORY_MMAP };
		must(ioctl(fd, VIDIOC_QBUF, &b), "QBUF");
	}
	must(ioctl(fd, VIDIOC_STREAMON, &type), "STREAMON");
	return fd;
}

static volatile sig_atomic_t terminated;

static void terminate(int signal)
{
	(void)signal;
	terminated = 1;
}

static int watch(unsigned count, const char *node)
{
	struct sigaction action = { .sa_handler = terminate };
	int tell = fcntl(FRAMES, F_GETFD) >= 0;
	unsigned frames = 0, lost = 0, next = 0;
	long long last = 0, gap = 0;
	must(sigaction(SIGTERM, &action, NULL), "sigaction");
	int fd = stream(node, 4);
	while (frames < count && !terminated) {
		struct v4l2_buffer b = { .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP };
		if (ioctl(fd, VIDIOC_DQBUF, &b) && errno == EINTR)
			continue;
		struct timespec now;
		must(clock_gettime(CLOCK_MONOTONIC, &now), "clock_gettime");
		long long ms = now.tv_sec * 1000LL + now.tv_nsec / 1000000;
		if (frames++ && ms - last > gap)
			gap = ms - last;
		last = ms;
		lost += b.sequence - next;
		next = b.sequence + 1;
		if (ioctl(fd, VIDIOC_QBUF, &b) && !(terminated && errno == EINTR))
			must(-1, "QBUF");
		if (tell)
			must(write(FRAMES, "", 1), "write");
	}
	printf("frames %u lost %u gap %lld\n", frames, lost, gap);
	return 0;
}

// Waits until the watching process has taken that many more frames.
static void late(void)
{
	static char bytes[1 << 16];
	struct pollfd pipe = { .fd = FRAMES, .events = POLLIN };
	while (poll(&pipe, 1, 0) > 0)
		must(read(FRAMES, bytes, sizeof bytes), "read");
	for (int frames = 0; frames < LATE;)
		frames += must(read(FRAMES, bytes, sizeof bytes), "read");
}

static int faults;

// Fills the page late, and calls a device first.
static void *fill(void *page)
{
	struct uffd_msg fault;
	if (read(faults, &fault, sizeof fault) != sizeof fault)
		return NULL;
	int fd = must(open("/dev/video1", O_RDWR), "open by the handler");
	struct v4l2_capability cap;
	must(ioctl(fd, VIDIOC_QUERYCAP, &cap), "QUERYCAP by the handler");
	late();
	static char content[PAGE] __attribute__((aligned(PAGE)));
	((struct v4l2_format *)content)->type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
	struct uffdio_copy copy = { .dst = (uintptr_t)page, .src = (uintptr_t)content, .len = PAGE };
	must(ioctl(faults, UFFDIO_COPY, &copy), "UFFDIO_COPY");
	return NULL;
}

// Memory whose pages a thread of this program fills. Returns NULL and prints a line if that is not
// allowed.
static void *memory_filled_by(void *(*fill)(void *), size_t len, pthread_t *handler)
{
	faults = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (faults < 0) {
		printf("skipped: userfaultfd: %s\n", strerror(errno));
		return NULL;
	}
	struct uffdio_api api = { .api = UFFD_API };
	must(ioctl(faults, UFFDIO_API, &api), "UFFDIO_API");
	void *memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_register range = {
		.range = { .start = (uintptr_t)memory, .len = len },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	must(ioctl(faults, UFFDIO_REGISTER, &range), "UFFDIO_REGISTER");
	pthread_create(handler, NULL, fill, memory);
	return memory;
}

static int late_page(void)
{
	pthread_t handler;
	void *page = memory_filled_by(fill, PAGE, &handler);
	if (!page)
		return 0;
	int fd = must(open("/dev/video1", O_RDWR), "/dev/video1");
	must(ioctl(fd, VIDIOC_G_FMT, page), "G_FMT");
	if (((struct v4l2_format *)page)->fmt.pix.width == 0)
		return 1;
	pthread_join(handler, NULL);
	printf("stalled\n");
	return 0;
}

// Fills every requested page, and the first one late.
static void *fill_all(void *unused)
{
	(void)unused;
	struct uffd_msg fault;
	for (int first = 1; read(faults, &fault, sizeof fault) == sizeof fault; first = 0) {
		if (first)
			late();
		struct uffdio_zeropage zero = {
			.range = { .start = fault.arg.pagefault.address & ~(uint64_t)(PAGE - 1), .len = PAGE },
		};
		if (ioctl(faults, UFFDIO_ZEROPAGE, &zero) && errno != EEXIST)
			must(-1, "UFFDIO_ZEROPAGE");
	}
	return NULL;
}

// A kernel faults in all pages in the call that gives them to the device.
static int late_buffer(void)
{
	int fd = must(open("/dev/video1", O_RDWR), "/dev/video1");
	unsigned type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
	struct v4l2_format format = { .type = type };
	must(ioctl(fd, VIDIOC_G_FMT, &format), "G_FMT");
	size_t len = (format.fmt.pix.sizeimage + PAGE - 1) / PAGE * PAGE;
	pthread_t handler;
	char *memory = memory_filled_by(fill_all, len, &handler);
	if (!memory)
		return 0;
	struct v4l2_requestbuffers request = { .count = 1, .type = type, .memory = V4L2_MEMORY_USERPTR };
	must(ioctl(fd, VIDIOC_REQBUFS, &request), "REQBUFS");
	must(ioctl(fd, VIDIOC_STREAMON, &type), "STREAMON");
	struct v4l2_buffer b = {
		.type = type, .memory = V4L2_MEMORY_USERPTR, .m.userptr = (uintptr_t)memory, .length = len,
	};
	must(ioctl(fd, VIDIOC_QBUF, &b), "QBUF");
	printf("stalled\n");
	must(ioctl(fd, VIDIOC_DQBUF, &b), "DQBUF");
	return b.bytesused != format.fmt.pix.sizeimage;
}

static int streaming, set;

static void *poll_set(void *unused)
{
	(void)unused;
	struct pollfd both[] = { { .fd = streaming, .events = POLLPRI }, { .fd = set, .events = POLLIN } };
	must(poll(both, 2, -1), "poll of the set");
	return NULL;
}

// Takes frames of the camera in the set while the kernel writes that set's events, which fills the
// page.
static void *take_frames(void *page)
{
	struct uffd_msg fault;
	if (read(faults, &fault, sizeof fault) != sizeof fault)
		return NULL;
	for (int i = 0; i < 4; i++) {
		struct v4l2_buffer b = { .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP };
		must(ioctl(streaming, VIDIOC_DQBUF, &b), "DQBUF by the handler");
		must(ioctl(streaming, VIDIOC_QBUF, &b), "QBUF by the handler");
	}
	// A poll of the set waits for its lock.
	pthread_t poller;
	pthread_create(&poller, NULL, poll_set, NULL);
	late();
	static char content[PAGE] __attribute__((aligned(PAGE)));
	struct uffdio_copy copy = { .dst = (uintptr_t)page, .src = (uintptr_t)content, .len = PAGE };
	must(ioctl(faults, UFFDIO_COPY, &copy), "UFFDIO_COPY");
	pthread_join(poller, NULL);
	return NULL;
}

// The kernel holds the lock of a set while it writes events.
static int late_events(void)
{
	pthread_t handler;
	struct epoll_event *events = memory_filled_by(take_frames, PAGE, &handler);
	if (!events)
		return 0;
	int pipes[2];
	must(pipe(pipes), "pipe");
	must(write(pipes[1], "", 1), "write");
	streaming = stream("/dev/video1", 4);
	set = must(epoll_create1(0), "epoll_create1");
	// A one-shot entry; the kernel reports its state under the same lock.
	struct epoll_event once = { .events = EPOLLIN | EPOLLONESHOT, .data.u32 = 1 };
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = 2 };
	must(epoll_ctl(set, EPOLL_CTL_ADD, streaming, &once), "epoll_ctl");
	must(epoll_ctl(set, EPOLL_CTL_ADD, must(dup(streaming), "dup"), &event), "epoll_ctl");
	must(epoll_ctl(set, EPOLL_CTL_ADD, pipes[0], &event), "epoll_ctl");
	int n = must(epoll_wait(set, events, 8, -1), "epoll_wait");
	pthread_join(handler, NULL);
	printf("stalled\n");
	// The set watches the camera again.
	must(epoll_ctl(set, EPOLL_CTL_MOD, streaming, &once), "epoll_ctl");
	while (!(must(epoll_wait(set, &event, 1, -1), "epoll_wait") && event.data.u32 == 1))
		;
	return n < 1;
}

static void reply(int fuse, uint64_t unique, int error, const void *data, size_t len)
{
	static char out[PAGE];
	struct fuse_out_header head = { .len = sizeof head + len, .error = error, .unique = unique };
	memcpy(out, &head, sizeof head);
	if (len)
		memcpy(out + sizeof head, data, len);
	if (write(fuse, out, head.len) < 0 && errno != ENOENT)
		exit(3);
}

enum { LINK = 2, LATE_FILE = 3 };

static int never_answers;

// A directory where every name is a link to a device, and answers are late. Only "file" is a file, with
// late answers to lookup, poll and release, or without answers once it is open.
static void serve(int fuse)
{
	static char in[1 << 17] __attribute__((aligned(8)));
	for (;;) {
		ssize_t n = read(fuse, in, sizeof in);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < (ssize_t)sizeof(struct fuse_in_header))
			exit(0);
		struct fuse_in_header *head = (void *)in;
		struct fuse_attr dir = { .ino = 1, .mode = S_IFDIR | 0755, .nlink = 2 };
		struct fuse_attr link = { .ino = LINK, .mode = S_IFLNK | 0777, .nlink = 1, .size = 11 };
		struct fuse_attr file = { .ino = LATE_FILE, .mode = S_IFREG | 0666, .nlink = 1 };
		if (head->opcode == FUSE_INIT) {
			struct fuse_init_out init = { .major = 7, .minor = 31, .max_write = PAGE };
			reply(fuse, head->unique, 0, &init, sizeof init);
		} else if (head->opcode == FUSE_LOOKUP && !strcmp((char *)(head + 1), "file")) {
			struct fuse_entry_out entry = { .nodeid = LATE_FILE, .attr = file };
			reply(fuse, head->unique, 0, &entry, sizeof entry);
		} else if (head->opcode == FUSE_OPEN) {
			struct fuse_open_out opened = { .fh = 1 };
			reply(fuse, head->unique, 0, &opened, sizeof opened);
		} else if (never_answers && head->nodeid == LATE_FILE && head->opcode != FUSE_FORGET) {
			continue;
		} else if (head->opcode == FUSE_POLL) {
			struct fuse_poll_out polled = { .revents = 0 };
			late();
			reply(fuse, head->unique, 0, &polled, sizeof polled);
		} else if (head->opcode == FUSE_FLUSH || head->opcode == FUSE_RELEASE) {
			late();
			reply(fuse, head->unique, 0, NULL, 0);
		} else if (head->opcode == FUSE_LOOKUP) {
			// A server makes further calls.
			struct stat st;
			must(stat("/dev/video1", &st), "stat by the server");
			late();
			struct fuse_entry_out entry = { .nodeid = 2, .attr = link };
			reply(fuse, head->unique, 0, &entry, sizeof entry);
		} else if (head->opcode == FUSE_GETATTR && head->nodeid == LATE_FILE) {
			struct fuse_attr_out attr = { .attr = file };
			late();
			reply(fuse, head->unique, 0, &attr, sizeof attr);
		} else if (head->opcode == FUSE_GETATTR) {
			struct fuse_attr_out attr = { .attr = head->nodeid == 1 ? dir : link };
			reply(fuse, head->unique, 0, &attr, sizeof attr);
		} else if (head->opcode == FUSE_READLINK) {
			reply(fuse, head->unique, 0, "/dev/video1", 11);
		} else if (head->opcode == FUSE_FORGET || head->opcode == FUSE_BATCH_FORGET) {
			continue;
		} else {
			reply(fuse, head->unique, -ENOSYS, NULL, 0);
		}
	}
}

// Serves such a file system at DIR while `use` accesses it.
static int with_own_files(const char *dir, int (*use)(const char *dir))
{
	int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	char options[100];
	snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=%d,group_id=%d", fuse, getuid(), getgid());
	if (fuse < 0 || mount("stalls", dir, "fuse.stalls", 0, options)) {
		printf("skipped: no file system of our own: %s\n", strerror(errno));
		return 0;
	}
	pid_t server = fork();
	if (!server)
		serve(fuse);
	close(fuse);
	int status = use(dir);
	umount2(dir, MNT_DETACH);
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	return status;
}

static char **command;

static int run_command(const char *unused)
{
	(void)unused;
	pid_t child = fork();
	if (!child) {
		execvp(command[0], command);
		exit(127);
	}
	int status = 0;
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int open_link(const char *dir)
{
	char path[PAGE];
	snprintf(path, sizeof path, "%s/camera", dir);
	int fd = open(path, O_RDWR);
	struct v4l2_capability cap;
	int ok = fd >= 0 && !ioctl(fd, VIDIOC_QUERYCAP, &cap);
	printf("stalled\n");
	close(fd);
	return !ok;
}

// Calls on other files than a device's, with a late release; the end of a device in an epoll set, which
// requires a search of all descriptors; a poll of both.
static int hold_file(const char *dir)
{
	char path[PAGE];
	snprintf(path, sizeof path, "%s/file", dir);
	int file = must(open(path, O_RDWR), path);
	int camera = must(open("/dev/video1", O_RDWR), "/dev/video1");
	must(flock(file, LOCK_SH), "flock");
	struct v4l2_capability cap;
	if (ioctl(file, VIDIOC_QUERYCAP, &cap) == 0)
		return 1;
	int set = must(epoll_create1(0), "epoll_create1");
	struct epoll_event event = { .events = EPOLLPRI };
	must(epoll_ctl(set, EPOLL_CTL_ADD, camera, &event), "epoll_ctl");
	struct pollfd both[] = { { .fd = camera, .events = POLLPRI }, { .fd = file, .events = POLLIN } };
	// The file is never ready. It answers late, at first and after the timeout.
	if (must(poll(both, 2, 100), "poll") != 0)
		return 1;
	close(camera);
	// Its own close takes long, for any waiter.
	close(file);
	printf("stalled\n");
	return 0;
}

// Queues a file that is no dma-buf at a device, and uses it as if it were an epoll set. Both calls fail. Then
// copies the file to a number that a device's descriptor may have. The file's system never answers.
static int queue_file(const char *dir)
{
	char path[PAGE], link[64];
	snprintf(path, sizeof path, "%s/file", dir);
	int file = must(open(path, O_RDWR), path);
	int camera = must(open("/dev/video1", O_RDWR), "/dev/video1");
	snprintf(link, sizeof link, "/proc/self/fd/%d", file);
	must(readlink(link, path, sizeof path), "readlink");
	unsigned type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
	struct v4l2_requestbuffers request = { .count = 1, .type = type, .memory = V4L2_MEMORY_DMABUF };
	must(ioctl(camera, VIDIOC_REQBUFS, &request), "REQBUFS");
	struct v4l2_buffer b = { .type = type, .memory = V4L2_MEMORY_DMABUF, .m.fd = file };
	if (ioctl(camera, VIDIOC_QBUF, &b) == 0 || errno != EINVAL)
		must(-1, "QBUF of a file that is no dma-buf");
	struct epoll_event event = { .events = EPOLLIN };
	if (epoll_ctl(file, EPOLL_CTL_ADD, camera, &event) == 0 || errno != EINVAL)
		must(-1, "epoll_ctl of a file that is no set");
	must(fcntl(fcntl(file, F_DUPFD, camera - 10), F_DUPFD, 0), "F_DUPFD");
	late();
	printf("stalled\n");
	return 0;
}

static int camera, replaced;

static void *replace(void *unused)
{
	(void)unused;
	dup2(camera, replaced);
	return NULL;
}

// The kernel puts a camera at the file's number, and then waits for the close of the file.
static int replace_file(const char *dir)
{
	char path[PAGE], link[64];
	snprintf(path, sizeof path, "%s/file", dir);
	int file = must(open(path, O_RDWR), path);
	camera = must(open("/dev/video1", O_RDWR), "/dev/video1");
	replaced = must(fcntl(file, F_DUPFD, camera - 10), "F_DUPFD");
	snprintf(link, sizeof link, "/proc/self/fd/%d", replaced);
	pthread_t thread;
	pthread_create(&thread, NULL, replace, NULL);
	do {
		usleep(1000);
		memset(path, 0, sizeof path);
		must(readlink(link, path, sizeof path - 1), "readlink");
	} while (strstr(path, "/file"));
	must(dup(camera), "dup");
	must(fcntl(camera, F_DUPFD, camera - 20), "F_DUPFD");
	late();
	printf("stalled\n");
	return 0;
}

static int held;

static void *ioctl_held(void *unused)
{
	struct v4l2_capability cap;
	ioctl(held, VIDIOC_QUERYCAP, &cap);
	return unused;
}

static void *poll_held(void *unused)
{
	struct pollfd both[] = { { .fd = camera, .events = POLLPRI }, { .fd = held, .events = POLLIN } };
	poll(both, 2, -1);
	return unused;
}

static void *select_held(void *unused)
{
	fd_set readable, urgent;
	FD_ZERO(&readable);
	FD_ZERO(&urgent);
	FD_SET(held, &readable);
	FD_SET(camera, &urgent);
	select((held > camera ? held : camera) + 1, &readable, NULL, &urgent, NULL);
	return unused;
}

static void *watch_held(void *unused)
{
	struct epoll_event event = { .events = EPOLLPRI };
	int both = must(epoll_create1(0), "epoll_create1");
	must(epoll_ctl(both, EPOLL_CTL_ADD, camera, &event), "epoll_ctl");
	epoll_ctl(both, EPOLL_CTL_ADD, held, &event);
	return unused;
}

static void *stat_held(void *unused)
{
	struct stat st;
	fstat(held, &st);
	return unused;
}

static void *read_held(void *unused)
{
	char byte;
	(void)!pread(held, &byte, 1, 0);
	return unused;
}

static void *truncate_held(void *unused)
{
	(void)!ftruncate(held, 1);
	return unused;
}

static void *close_copy(void *unused)
{
	close(must(dup(held), "dup"));
	return unused;
}

// Uses a device in many ways, until a byte comes. Writes a byte per round.
static void use_device(const char *node, int rounds, int end)
{
	static char frame[1 << 20];
	char byte = 0;
	while (read(end, &byte, 1) < 0) {
		int fd = must(open(node, O_RDWR), node);
		int set = must(epoll_create1(0), "epoll_create1");
		struct epoll_event event = { .events = EPOLLIN };
		struct pollfd one = { .fd = fd, .events = POLLIN };
		struct stat st;
		must(fstat(fd, &st), "fstat");
		must(flock(fd, LOCK_EX), "flock");
		must(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
		must(read(fd, frame, sizeof frame), "read");
		must(poll(&one, 1, -1), "poll");
		must(epoll_wait(set, &event, 1, -1), "epoll_wait");
		close(must(dup(fd), "dup"));
		close(fd);
		close(set);
		fd = stream(node, 2);
		struct v4l2_buffer b = { .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP };
		must(ioctl(fd, VIDIOC_DQBUF, &b), "DQBUF");
		close(fd);
		must(write(rounds, &byte, 1), "write");
	}
	exit(0);
}

// The threads' calls never end. Another program's calls do, and so do a camera's.
static int share_file(const char *dir)
{
	static void *(*const calls[])(void *) = {
		ioctl_held, poll_held, select_held, watch_held, stat_held, read_held, truncate_held, close_copy,
	};
	int rounds[2], end[2], status;
	char path[PAGE], byte;
	must(pipe(rounds), "pipe");
	must(pipe2(end, O_NONBLOCK), "pipe");
	pid_t other = must(fork(), "fork");
	if (other == 0)
		use_device("/dev/video1", rounds[1], end[0]);
	must(read(rounds[0], &byte, 1), "read");
	snprintf(path, sizeof path, "%s/file", dir);
	held = must(open(path, O_RDWR), path);
	camera = must(open("/dev/video1", O_RDWR), "/dev/video1");
	pthread_t threads[sizeof calls / sizeof calls[0]];
	for (unsigned i = 0; i < sizeof calls / sizeof calls[0]; i++)
		pthread_create(&threads[i], NULL, calls[i], NULL);
	late();
	// Rounds that began before and after the calls.
	char many[1 << 12];
	unsigned before = must(read(rounds[0], many, sizeof many), "read"), after = 0;
	for (; after < 3; after++)
		must(read(rounds[0], &byte, 1), "read");
	must(write(end[1], &byte, 1), "write");
	must(waitpid(other, &status, 0), "wait");
	printf("stalled, %u rounds\n", before + after);
	// The calls fail, so that the threads can end.
	umount2(dir, MNT_FORCE);
	return status != 0;
}

static int traced(void)
{
	pid_t child = fork();
	if (!child) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		int fd = stream("/dev/video1", 2);
		void *at = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
		_exit(at == MAP_FAILED && errno == EPERM ? 0 : 1);
	}
	int status = 0;
	waitpid(child, &status, 0);
	return !WIFEXITED(status) || WEXITSTATUS(status);
}

// Opens, streams, maps and closes until a signal to end; writes a byte per round.
static void busy(const char *node, int rounds, int end)
{
	char byte = 0;
	while (read(end, &byte, 1) < 0) {
		int fd = stream(node, 2);
		for (int i = 0; i < 3; i++) {
			struct v4l2_buffer b = { .type = V4L2_BUF_TYPE_VIDEO_CAPTURE,
						 .memory = V4L2_MEMORY_MMAP };
			must(ioctl(fd, VIDIOC_DQBUF, &b), "DQBUF");
			void *at = mmap(NULL, b.length, PROT_READ, MAP_SHARED, fd, b.m.offset);
			must(at == MAP_FAILED ? -1 : munmap(at, b.length), "mmap");
			must(ioctl(fd, VIDIOC_QBUF, &b), "QBUF");
		}
		close(fd);
		must(write(rounds, &byte, 1), "write");
	}
	exit(0);
}

static int stopped(const char *node)
{
	static const int ms[] = { 0, 50, 61, 73, 89, 107, 131, 157, 191, 229 };
	int rounds[2], end[2], status;
	char byte;
	must(pipe(rounds), "pipe");
	must(pipe2(end, O_NONBLOCK), "pipe");
	pid_t child = must(fork(), "fork");
	if (child == 0)
		busy(node, rounds[1], end[0]);
	for (unsigned i = 0; i < sizeof(ms) / sizeof(ms[0]); i++) {
		// It makes progress between two stops.
		must(read(rounds[0], &byte, 1), "read");
		usleep(i * 3000);
		kill(child, SIGSTOP);
		must(waitpid(child, &status, WUNTRACED), "wait");
		if (i == 0)
			late();
		usleep(ms[i] * 1000);
		kill(child, SIGCONT);
	}
	must(write(end[1], &byte, 1), "write");
	must(waitpid(child, &status, 0), "wait");
	printf("stalled\n");
	return status != 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "stopped"))
		return stopped(argv[2]);
	if (argc == 4 && !strcmp(argv[1], "watch"))
		return watch(atoi(argv[2]), argv[3]);
	if (argc == 2 && !strcmp(argv[1], "frames"))
		return late(), 0;
	if (argc == 2 && !strcmp(argv[1], "page"))
		return late_page();
	if (argc == 2 && !strcmp(argv[1], "userptr"))
		return late_buffer();
	if (argc == 3 && !strcmp(argv[1], "fuse"))
		return with_own_files(argv[2], open_link);
	if (argc == 3 && !strcmp(argv[1], "held"))
		return with_own_files(argv[2], hold_file);
	never_answers = argc == 3;
	if (argc > 3 && !strcmp(argv[1], "around")) {
		never_answers = 1;
		command = argv + 3;
		return with_own_files(argv[2], run_command);
	}
	if (argc == 3 && !strcmp(argv[1], "within"))
		return share_file(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "shared"))
		return with_own_files(argv[2], share_file);
	if (argc == 3 && !strcmp(argv[1], "queued"))
		return with_own_files(argv[2], queue_file);
	if (argc == 3 && !strcmp(argv[1], "replaced"))
		return with_own_files(argv[2], replace_file);
	if (argc == 2 && !strcmp(argv[1], "set"))
		return late_events();
	if (argc == 2 && !strcmp(argv[1], "traced"))
		return traced();
	return 2;
}
