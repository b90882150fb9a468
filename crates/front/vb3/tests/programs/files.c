/*
 * Each word on the command line selects one behaviour of a kernel's open device files to check. A failed
 * check prints its condition and ends the program with 1.
 *
 *   files WORD /dev/video0
 */
#define _GNU_SOURCE
#include "check.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/sync_file.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *node;

static int device(void)
{
	int fd = open(node, O_RDWR);

	CHECK(fd >= 0);
	return fd;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* An event is pending from here on: POLLPRI. Without IN or OUT, poll asks only for that. */
static void make_urgent(int fd)
{
	struct v4l2_event_subscription sub = {
		.type = V4L2_EVENT_CTRL,
		.id = V4L2_CID_BRIGHTNESS,
		.flags = V4L2_EVENT_SUB_FL_SEND_INITIAL,
	};
	struct v4l2_queryctrl query = { .id = V4L2_CTRL_FLAG_NEXT_CTRL };

	do {
		CHECK(ioctl(fd, VIDIOC_QUERYCTRL, &query) == 0);
		sub.id = query.id;
		query.id |= V4L2_CTRL_FLAG_NEXT_CTRL;
	} while (query.type == V4L2_CTRL_TYPE_CTRL_CLASS);
	CHECK(ioctl(fd, VIDIOC_SUBSCRIBE_EVENT, &sub) == 0);
}

static void request(int fd, unsigned count)
{
	struct v4l2_requestbuffers req = {
		.count = count,
		.type = V4L2_BUF_TYPE_VIDEO_CAPTURE,
		.memory = V4L2_MEMORY_MMAP,
	};

	CHECK(ioctl(fd, VIDIOC_REQBUFS, &req) == 0);
}

static void stream(int fd, unsigned count)
{
	int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;

	request(fd, count);
	for (unsigned i = 0; i < count; i++) {
		struct v4l2_buffer b = {
			.index = i,
			.type = V4L2_BUF_TYPE_VIDEO_CAPTURE,
			.memory = V4L2_MEMORY_MMAP,
		};

		CHECK(ioctl(fd, VIDIOC_QBUF, &b) == 0);
	}
	CHECK(ioctl(fd, VIDIOC_STREAMON, &type) == 0);
}

static int export(int fd, unsigned index)
{
	struct v4l2_exportbuffer e = {
		.type = V4L2_BUF_TYPE_VIDEO_CAPTURE,
		.index = index,
		.flags = O_RDWR | O_CLOEXEC,
	};

	CHECK(ioctl(fd, VIDIOC_EXPBUF, &e) == 0);
	return e.fd;
}

static void control(int set, int op, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event e = { .events = events, .data.u64 = data };

	CHECK(epoll_ctl(set, op, fd, &e) == 0);
}

/* Returns the number of pending events, and the first one's events. */
static int wait_for(int set, uint32_t *events)
{
	struct epoll_event e[8] = { 0 };
	int n = epoll_wait(set, e, 8, 0);

	*events = e[0].events;
	return n;
}

/* After close() returns, epoll_wait reports nothing of the file: its data may be freed. */
static void close_epoll(void)
{
	uint32_t events;
	int set = epoll_create1(0);

	for (int i = 0; i < 200; i++) {
		int fd = device();

		make_urgent(fd);
		control(set, EPOLL_CTL_ADD, fd, EPOLLPRI, i);
		CHECK(wait_for(set, &events) == 1 && events == EPOLLPRI);
		if (i % 3 == 0)
			CHECK(close(fd) == 0);
		else if (i % 3 == 1)
			CHECK(syscall(SYS_close_range, fd, fd, 0) == 0);
		else
			CHECK(dup2(0, fd) == fd);
		CHECK(wait_for(set, &events) == 0);
		if (i % 3 == 2)
			close(fd);
	}
}

/* An entry belongs to the open file: it stays until the file's last descriptor is closed. */
static void close_copies(void)
{
	uint32_t events;
	int set = epoll_create1(0), fd = device(), copy = dup(fd), high = fcntl(fd, F_DUPFD, 900);

	CHECK(copy >= 0 && high >= 900);
	make_urgent(fd);
	control(set, EPOLL_CTL_ADD, fd, EPOLLPRI, 1);
	close(fd);
	CHECK(wait_for(set, &events) == 1);
	close(copy);
	CHECK(wait_for(set, &events) == 1);
	close(high);
	CHECK(wait_for(set, &events) == 0);
}

/* If two processes share a table, the close of a descriptor there is the last one. */
static void close_shared(void)
{
	pid_t child = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	uint32_t events;

	if (child == 0)
		for (;;)
			pause();
	CHECK(child > 0);
	for (int i = 0; i < 50 && syscall(SYS_kcmp, getpid(), child, 2, 0, 0) == 0; i++) {
		int set = epoll_create1(0), fd = device();

		make_urgent(fd);
		control(set, EPOLL_CTL_ADD, fd, EPOLLPRI, 1);
		close(fd);
		CHECK(wait_for(set, &events) == 0);
		close(set);
	}
	kill(child, SIGKILL);
	CHECK(waitpid(child, NULL, 0) == child);
}

/* After a wait for a killed process, its queue is free. */
static void close_killed(void)
{
	for (int i = 0; i < 200; i++) {
		int fd, pipes[2];
		char byte;
		pid_t child;

		CHECK(pipe(pipes) == 0);
		child = fork();
		if (child == 0) {
			struct v4l2_buffer b = {
				.type = V4L2_BUF_TYPE_VIDEO_CAPTURE,
				.memory = V4L2_MEMORY_MMAP,
			};

			fd = device();
			stream(fd, 2);
			export(fd, 0);
			CHECK(write(pipes[1], "x", 1) == 1);
			for (;;)
				if (ioctl(fd, VIDIOC_DQBUF, &b) == 0)
					ioctl(fd, VIDIOC_QBUF, &b);
		}
		CHECK(read(pipes[0], &byte, 1) == 1);
		if (i % 2)
			usleep(i * 20);
		kill(child, SIGKILL);
		CHECK(waitpid(child, NULL, 0) == child);
		fd = device();
		request(fd, 1);
		request(fd, 0);
		close(fd);
		close(pipes[0]);
		close(pipes[1]);
	}
}

/* One entry reports one event with all conditions, and only once if EPOLLONESHOT. */
static void epoll_one(void)
{
	uint32_t events, all = EPOLLIN | EPOLLPRI | EPOLLONESHOT;
	struct pollfd p;
	int set = epoll_create1(0), fd = device();

	stream(fd, 2);
	make_urgent(fd);
	p = (struct pollfd){ .fd = fd, .events = POLLIN };
	CHECK(poll(&p, 1, 10000) == 1 && p.revents == POLLIN);
	control(set, EPOLL_CTL_ADD, fd, all, 1);
	CHECK(wait_for(set, &events) == 1 && events == (EPOLLIN | EPOLLPRI));
	CHECK(wait_for(set, &events) == 0);
	usleep(100000);
	CHECK(wait_for(set, &events) == 0);
	control(set, EPOLL_CTL_MOD, fd, all, 2);
	CHECK(wait_for(set, &events) == 1 && events == (EPOLLIN | EPOLLPRI));
}

/*
 * A program that changes the picture's size between two waits: only its own poll starts read().
 * The entry asks for IN while buffers are there, and stays in the set.
 */
static void epoll_resize(void)
{
	struct v4l2_format format = { .type = V4L2_BUF_TYPE_VIDEO_CAPTURE };
	int fd = device(), set = epoll_create1(0), type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
	struct epoll_event event = { .events = EPOLLIN };

	CHECK(ioctl(fd, VIDIOC_G_FMT, &format) == 0);
	for (int round = 0; round < 3; round++) {
		stream(fd, 2);
		if (round == 0)
			CHECK(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0);
		CHECK(epoll_wait(set, &event, 1, 10000) == 1 && event.events == EPOLLIN);
		CHECK(ioctl(fd, VIDIOC_STREAMOFF, &type) == 0);
		request(fd, 0);
		CHECK(ioctl(fd, VIDIOC_S_FMT, &format) == 0);
		CHECK(epoll_wait(set, &event, 1, 0) == 0);
	}
	/* The program's own poll starts read(). */
	CHECK(epoll_ctl(set, EPOLL_CTL_MOD, fd, &event) == 0);
	FAILS(ioctl(fd, VIDIOC_S_FMT, &format), EBUSY);
}

/* An edge is a wake-up: a call that wakes no waiter causes none. */
static void epoll_edges(void)
{
	struct v4l2_capability cap;
	uint32_t events;
	int set = epoll_create1(0), fd = device();

	make_urgent(fd);
	control(set, EPOLL_CTL_ADD, fd, EPOLLPRI | EPOLLET, 1);
	CHECK(wait_for(set, &events) == 1 && events == EPOLLPRI);
	for (int i = 0; i < 10; i++) {
		CHECK(ioctl(fd, VIDIOC_QUERYCAP, &cap) == 0);
		CHECK(wait_for(set, &events) == 0);
	}
}

static void more_files(rlim_t wanted)
{
	struct rlimit limit;

	CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

static void epoll_sets(void)
{
	uint32_t events;
	int fd, sets[600], status;

	more_files(4096);
	fd = device();
	/* Entries of an ended process no longer count. */
	if (fork() == 0) {
		for (int i = 0; i < 300; i++)
			control(epoll_create1(0), EPOLL_CTL_ADD, fd, EPOLLPRI, i);
		_exit(0);
	}
	CHECK(wait(&status) > 0 && status == 0);
	for (int i = 0; i < 600; i++) {
		sets[i] = epoll_create1(0);
		control(sets[i], EPOLL_CTL_ADD, fd, EPOLLPRI, i);
	}
	make_urgent(fd);
	for (int i = 0; i < 600; i++)
		CHECK(wait_for(sets[i], &events) == 1 && events == EPOLLPRI);
}

/* A stopped and continued poll ends at its original time. */
/* Returns how long a wait of 2.2 s takes that is stopped for 1.8 s. */
static double stopped_wait(int (*wait_for)(struct pollfd *))
{
	struct pollfd p = { .fd = device(), .events = POLLPRI };
	double began;
	pid_t child = fork();

	if (child == 0) {
		usleep(200000);
		kill(getppid(), SIGSTOP);
		usleep(1800000);
		kill(getppid(), SIGCONT);
		_exit(0);
	}
	began = now();
	CHECK(wait_for(&p) == 0);
	began = now() - began;
	printf("took %.3f s\n", began);
	waitpid(child, NULL, 0);
	close(p.fd);
	return began;
}

#ifdef SYS_poll
static int by_poll(struct pollfd *p)
{
	return syscall(SYS_poll, p, 1, 2200);
}
#endif

static int by_ppoll(struct pollfd *p)
{
	struct timespec time = { .tv_sec = 2, .tv_nsec = 200000000 };

	return ppoll(p, 1, &time, NULL);
}

static void *wait_beside(void *set)
{
	struct epoll_event e;
	long strange = 0;
	double until = now() + 1;

	while (now() < until)
		if (epoll_wait(*(int *)set, &e, 1, 10) == 1)
			strange += e.data.u64 != 7;
	return (void *)strange;
}

/* Two sets contain one device with an error. Each reports only its own entries. */
static void epoll_apart(void)
{
	int fd = device(), sets[2] = { epoll_create1(0), epoll_create1(0) };
	double until = now() + 1;
	pthread_t thread;
	void *strange;

	request(fd, 1);
	control(sets[0], EPOLL_CTL_ADD, fd, EPOLLIN, 1);
	CHECK(pthread_create(&thread, NULL, wait_beside, &sets[1]) == 0);
	while (now() < until) {
		control(sets[1], EPOLL_CTL_ADD, fd, EPOLLIN, 7);
		control(sets[1], EPOLL_CTL_DEL, fd, 0, 0);
	}
	CHECK(pthread_join(thread, &strange) == 0 && strange == NULL);
}

/* Closed sets with an entry disappear. */
static void epoll_closed(void)
{
	int fd = device();

	for (int i = 0; i < 3000; i++) {
		int set = epoll_create1(0);

		CHECK(set >= 0);
		control(set, EPOLL_CTL_ADD, fd, EPOLLPRI, i);
		close(set);
	}
}

/* The times differ enough for a busy machine. arm64 has only ppoll. */
static void poll_stopped(void)
{
	double took;

#ifdef SYS_poll
	took = stopped_wait(by_poll);
	CHECK(took >= 2.2 && took < 3.8);
#endif
	/* The stop writes back the remaining time, and the repeated call uses it. */
	took = stopped_wait(by_ppoll);
	CHECK(took >= 3.9 && took < 5.5);
}

static void poll_many(void)
{
	static struct pollfd p[5000];
	int pipes[2], fd;

	more_files(8192);
	CHECK(pipe(pipes) == 0);
	fd = device();
	for (int i = 0; i < 5000; i++)
		p[i] = (struct pollfd){ .fd = pipes[0], .events = POLLIN };
	p[4999] = (struct pollfd){ .fd = fd, .events = POLLPRI };
	CHECK(poll(p, 5000, 50) == 0);
	make_urgent(fd);
	CHECK(poll(p, 5000, 10000) == 1 && p[4999].revents == POLLPRI);
}

/* Operations without meaning for a device or a dma-buf fail with the kernel's errno. */
static void refused(void)
{
	char page[4096] = { 0 };
	int fd = device(), pipes[2], out = memfd_create("out", 0), buffer;

	CHECK(pipe(pipes) == 0 && ftruncate(out, 4096) == 0);
	request(fd, 1);
	buffer = export(fd, 0);
	for (int i = 0; i < 2; i++) {
		int of = i ? buffer : fd;

		FAILS(sendfile(out, of, NULL, 100), EINVAL);
		FAILS(sendfile(of, out, NULL, 100), EINVAL);
		FAILS(splice(of, NULL, pipes[1], NULL, 100, 0), EINVAL);
		FAILS(copy_file_range(of, NULL, out, NULL, 100, 0), EINVAL);
		FAILS(fsync(of), EINVAL);
		FAILS(fallocate(of, 0, 0, 8192), ENODEV);
		FAILS(ftruncate(of, 1 << 20), EINVAL);
	}
	FAILS(write(buffer, page, sizeof(page)), EINVAL);
	FAILS(read(buffer, page, sizeof(page)), EINVAL);
	FAILS(syscall(SYS_io_uring_setup, 8, page), ENOSYS);
}

/* The kernel reads no more bits than the descriptor table has, even for larger numbers. */
static void select_large(void)
{
	unsigned char sets[8192];
	struct timespec time = { .tv_sec = 10 };
	int fd = device();

	CHECK(fd < FD_SETSIZE);
	stream(fd, 2);
	memset(sets, 0xff, sizeof(sets));
	memset(sets, 0, sizeof(fd_set));
	FD_SET(fd, (fd_set *)sets);
	CHECK(syscall(SYS_pselect6, 65536, sets, NULL, NULL,
		      &time, NULL) == 1);
	CHECK(FD_ISSET(fd, (fd_set *)sets));
	for (unsigned i = sizeof(fd_set); i < sizeof(sets); i++)
		CHECK(sets[i] == 0xff);
}

static unsigned descriptors(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < 4096; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

/* If a call cannot write a descriptor's number, it creates none. */
static void untold(void)
{
	struct dma_buf_export_sync_file e = { .flags = DMA_BUF_SYNC_READ, .fd = -1 };
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct sync_merge_data *merge = page;
	int fd = device(), buffer;
	unsigned before;

	request(fd, 1);
	buffer = export(fd, 0);
	CHECK(ioctl(buffer, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &e) == 0 && e.fd >= 0);
	memcpy(page, &e, sizeof(e));
	CHECK(mprotect(page, 4096, PROT_READ) == 0);
	before = descriptors();
	FAILS(ioctl(buffer, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, page), EFAULT);
	CHECK(descriptors() == before);
	CHECK(mprotect(page, 4096, PROT_READ | PROT_WRITE) == 0);
	memset(page, 0, 4096);
	merge->fd2 = e.fd;
	CHECK(mprotect(page, 4096, PROT_READ) == 0);
	FAILS(ioctl(e.fd, SYNC_IOC_MERGE, page), EFAULT);
	CHECK(descriptors() == before);
	CHECK(mprotect(page, 4096, PROT_READ | PROT_WRITE) == 0);
	CHECK(ioctl(e.fd, SYNC_IOC_MERGE, page) == 0 && descriptors() == before + 1);
}

/* The highest memory use of the process that serves this one, in KiB. */
static unsigned long supervisors_peak(void)
{
	char path[64], line[256];
	unsigned long peak = 0;
	FILE *status;

	snprintf(path, sizeof(path), "/proc/%d/status", getppid());
	CHECK((status = fopen(path, "r")) != NULL);
	while (fgets(line, sizeof(line), status))
		sscanf(line, "VmHWM: %lu", &peak);
	fclose(status);
	CHECK(peak > 0);
	return peak;
}

static void *write_vectors(void *memory)
{
	struct iovec vector[128];
	int fd = device();

	for (unsigned i = 0; i < 128; i++)
		vector[i] = (struct iovec){ .iov_base = memory, .iov_len = 2 << 20 };
	for (unsigned i = 0; i < 4; i++)
		FAILS(writev(fd, vector, 128), EINVAL);
	close(fd);
	return NULL;
}

/* A camera refuses write() before it looks at the memory: 20 vectors of 256 MiB. */
static void vectors(void)
{
	void *memory = calloc(1, 2 << 20);
	unsigned long before;
	pthread_t threads[20];

	close(device());
	before = supervisors_peak();
	for (unsigned i = 0; i < 20; i++)
		CHECK(pthread_create(&threads[i], NULL, write_vectors, memory) == 0);
	for (unsigned i = 0; i < 20; i++)
		pthread_join(threads[i], NULL);
	CHECK(supervisors_peak() < before + (100 << 10));
}

/* Locks on a node are the program's: no other party's lock conflicts. */
static void locks(void)
{
	struct flock whole = { .l_type = F_WRLCK };
	int fd = device(), again = device();

	CHECK(lockf(fd, F_TLOCK, 0) == 0);
	CHECK(lockf(fd, F_ULOCK, 0) == 0);
	CHECK(fcntl(fd, F_SETLK, &whole) == 0);
	whole.l_type = F_WRLCK;
	CHECK(fcntl(fd, F_GETLK, &whole) == 0 && whole.l_type == F_UNLCK);
	/* Of two opens, only record locks of another process conflict. */
	whole.l_type = F_WRLCK;
	whole.l_pid = 0;
	CHECK(fcntl(fd, F_OFD_SETLK, &whole) == 0 && fcntl(again, F_OFD_SETLK, &whole) == 0);
	CHECK(flock(fd, LOCK_EX | LOCK_NB) == 0 && flock(again, LOCK_EX | LOCK_NB) == 0);
}

/* Locks of an exported buffer do not disturb those that track it. */
static void locks_of_buffers(void)
{
	struct flock whole = { .l_type = F_WRLCK };
	int fd = device(), buffer;
	void *at;

	request(fd, 1);
	buffer = export(fd, 0);
	CHECK(fcntl(buffer, F_SETLK, &whole) == 0);
	CHECK(fcntl(buffer, F_OFD_SETLK, &whole) == 0);
	whole.l_type = F_UNLCK;
	CHECK(fcntl(buffer, F_SETLK, &whole) == 0);
	CHECK(fcntl(buffer, F_OFD_SETLK, &whole) == 0);
	whole.l_type = F_WRLCK;
	CHECK(fcntl(buffer, F_GETLK, &whole) == 0 && whole.l_type == F_UNLCK);
	whole.l_type = 7;
	FAILS(fcntl(buffer, F_SETLK, &whole), EINVAL);
	/* It is still a dma-buf. */
	CHECK(lseek(buffer, 0, SEEK_END) > 0);
	at = mmap(NULL, 4096, PROT_READ, MAP_SHARED, buffer, 0);
	CHECK(at != MAP_FAILED);
	CHECK(ioctl(buffer, DMA_BUF_IOCTL_SYNC,
		    &(struct dma_buf_sync){ .flags = DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ }) == 0);
}

/* A node is no directory; a reference to one (O_PATH) is of the node; poll's list is bounded. */
static void nodes(void)
{
	struct rlimit limit;
	struct pollfd *list;
	struct stat st;
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%s/", node);
	FAILS(open(path, O_RDWR), ENOTDIR);
	FAILS(stat(path, &st), ENOTDIR);
	FAILS(access(path, R_OK), ENOTDIR);
	CHECK((fd = open(node, O_PATH)) >= 0);
	CHECK(fstat(fd, &st) == 0 && S_ISCHR(st.st_mode));
	close(fd);
	fd = device();
	CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	limit.rlim_cur = 1024;
	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	CHECK((list = calloc(limit.rlim_cur + 1, sizeof(*list))) != NULL);
	for (unsigned i = 0; i <= limit.rlim_cur; i++)
		list[i] = (struct pollfd){ .fd = i ? -1 : fd, .events = POLLPRI };
	FAILS(poll(list, limit.rlim_cur + 1, 0), EINVAL);
	CHECK(poll(list, limit.rlim_cur, 0) == 0);
}

/*
 * The errno of O_DIRECT and preadv2 are read from Linux 7.2 fs/open.c and fs/read_write.c. Any mode of a
 * node stays 0666.
 */
static void flags(void)
{
	char bytes[64];
	struct iovec part = { bytes, sizeof(bytes) }, nothing = { bytes, 0 };
	struct timespec times[2] = { { .tv_nsec = UTIME_NOW }, { .tv_nsec = UTIME_NOW } };
	int owns = geteuid() == 0, fd, watch, events;
	struct stat st;

	FAILS(open(node, O_RDWR | O_DIRECT), EINVAL);
	CHECK((fd = open(node, O_PATH | O_DIRECT)) >= 0);
	close(fd);
	fd = device();
	FAILS(fcntl(fd, F_SETFL, O_NONBLOCK | O_DIRECT), EINVAL);
	CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
	FAILS(preadv2(fd, &part, 1, 0, RWF_NOWAIT), EOPNOTSUPP);
	FAILS(preadv2(fd, &part, 1, -1, 0x40000000), EOPNOTSUPP);
	FAILS(preadv2(fd, &part, 1, -2, 0), EINVAL);
	CHECK(preadv2(fd, &nothing, 1, 0, RWF_NOWAIT) == 0);
	CHECK(preadv2(fd, &part, 1, -1, RWF_HIPRI) == sizeof(bytes) || errno == EAGAIN);
	close(fd);
	if (owns) {
		CHECK(chmod(node, 0600) == 0 && fchmodat(AT_FDCWD, node, 0666, 0) == 0);
		CHECK(chown(node, 0, 0) == 0 && lchown(node, 0, 0) == 0);
		CHECK(utimensat(AT_FDCWD, node, times, 0) == 0);
	} else {
		FAILS(chmod(node, 0600), EPERM);
		FAILS(chown(node, 0, 0), EPERM);
	}
	FAILS(chmod("/dev/video99", 0600), ENOENT);
	CHECK(stat(node, &st) == 0 && st.st_mode == (S_IFCHR | 0666));
	CHECK((events = inotify_init1(IN_CLOEXEC)) >= 0);
	CHECK((watch = inotify_add_watch(events, node, IN_ALL_EVENTS)) > 0);
	CHECK(inotify_rm_watch(events, watch) == 0);
	FAILS(inotify_add_watch(events, node, IN_ALL_EVENTS | IN_ONLYDIR), ENOTDIR);
	FAILS(inotify_add_watch(events, "/dev/video99", IN_ALL_EVENTS), ENOENT);
	CHECK(inotify_add_watch(events, "/sys/class/video4linux", IN_CREATE) > 0);
	CHECK(inotify_add_watch(events, "/tmp", IN_CREATE) > 0);
	close(events);
}

/* Number of files that each thread of `churn` holds. */
enum { HELD = 210 };
static unsigned long opens, full;
static volatile int over;

/* Each descriptor must still be the opened file, which contains its number. */
static void *churn_own(void *arg)
{
	static unsigned long next;
	int held[HELD];
	uint64_t marks[HELD], mark;

	(void)arg;
	for (int i = 0; i < HELD; i++)
		held[i] = -1;
	for (unsigned i = 0; !over; i = (i + 1) % HELD) {
		if (held[i] >= 0) {
			CHECK(read(held[i], &mark, sizeof(mark)) == sizeof(mark));
			CHECK(mark == marks[i]);
			CHECK(close(held[i]) == 0);
		}
		marks[i] = __atomic_add_fetch(&next, 1, __ATOMIC_RELAXED);
		held[i] = eventfd(0, EFD_NONBLOCK);
		if (held[i] < 0) {
			CHECK(errno == EMFILE);
			__atomic_add_fetch(&full, 1, __ATOMIC_RELAXED);
			continue;
		}
		CHECK(write(held[i], &marks[i], sizeof(mark)) == sizeof(mark));
		__atomic_add_fetch(&opens, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Files are opened all the time, up to the limit, together with devices. None may get lost. */
static void churn(void)
{
	const char *slowness = getenv("VB3_SLOWNESS");
	unsigned long wanted = 100000 / (slowness ? strtoul(slowness, NULL, 10) : 1);
	unsigned long devices = 0;
	pthread_t threads[4];

	/* One less than the threads and the standard streams take. */
	more_files(4 * HELD + 3 - 1);
	for (int i = 0; i < 4; i++)
		CHECK(pthread_create(&threads[i], NULL, churn_own, NULL) == 0);
	/* On a busy machine it may take long until no number is free. */
	while (devices < wanted / 500 || __atomic_load_n(&opens, __ATOMIC_RELAXED) < wanted ||
	       __atomic_load_n(&full, __ATOMIC_RELAXED) == 0) {
		struct v4l2_capability cap;
		int fd = open(node, O_RDWR);

		if (fd < 0) {
			CHECK(errno == EMFILE);
			continue;
		}
		CHECK(ioctl(fd, VIDIOC_QUERYCAP, &cap) == 0);
		CHECK(close(fd) == 0);
		devices++;
	}
	over = 1;
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	printf("opens %lu devices %lu full %lu\n", opens, devices, full);
}

/* A process holds thousands of exported buffers, and they end with it. */
static void exports(void)
{
	int fd;

	more_files(8192);
	fd = device();
	request(fd, 2);
	for (int i = 0; i < 3000; i++)
		export(fd, i % 2);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *word;
		void (*run)(void);
	} all[] = {
		{ "close-epoll", close_epoll }, { "close-copies", close_copies },
		{ "close-shared", close_shared }, { "close-killed", close_killed }, { "epoll-one", epoll_one },
		{ "epoll-edges", epoll_edges }, { "epoll-resize", epoll_resize },
		{ "epoll-apart", epoll_apart }, { "epoll-closed", epoll_closed }, { "epoll-sets", epoll_sets },
		{ "poll-stopped", poll_stopped }, { "poll-many", poll_many },
		{ "select-large", select_large }, { "untold", untold },
		{ "vectors", vectors }, { "refused", refused }, { "locks", locks },
		{ "locks-buffers", locks_of_buffers }, { "nodes", nodes }, { "flags", flags }, { "churn", churn },
		{ "exports", exports },
	};

	if (argc != 3)
		return 2;
	node = argv[2];
	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (strcmp(all[i].word, argv[1]) == 0) {
			all[i].run();
			return 0;
		}
	}
	return 2;
}
