// Random system calls on device and dma-buf descriptors by eight threads at once:
// threads COUNT SEED shared|unshared NODE…; COUNT of all threads together.
//
// The threads share one table of numbers. Others close and reuse these meanwhile, so a call may find
// any file, or none. `unshared`: each thread has its own descriptor table.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { THREADS = 8, NUMBERS = 48, AREA = 65536 };

static atomic_int shared_numbers[NUMBERS];
static unsigned char *area; // an unmapped page follows
static char **nodes;
static unsigned node_count;
static int unshared;

struct thread {
	pthread_t thread;
	uint64_t state;
	long calls;
	long done;
	long refused;
	int epoll;
	atomic_int own[NUMBERS];
	atomic_int *numbers;
};

static uint64_t draw(struct thread *t)
{
	t->state ^= t->state << 13;
	t->state ^= t->state >> 7;
	t->state ^= t->state << 17;
	return t->state;
}

static void count(struct thread *t, long result)
{
	if (result < 0)
		t->refused++;
	else
		t->done++;
}

static int any(struct thread *t)
{
	return atomic_load(&t->numbers[draw(t) % NUMBERS]);
}

/* Stores a number in the table, and closes the previous one. */
static void put(struct thread *t, int fd)
{
	count(t, fd);
	if (fd < 0)
		return;
	int before = atomic_exchange(&t->numbers[draw(t) % NUMBERS], fd);
	if (before > 2)
		count(t, close(before));
}

static uint32_t value(struct thread *t)
{
	static const uint32_t special[] = { 0, 1, 2, 3, 4, 8, 9, 10, 64, 4096, 0x7fffffff, 0xffffffff };
	if (draw(t) % 3 == 0)
		return special[draw(t) % (sizeof(special) / sizeof(*special))];
	return draw(t) % 2 ? (uint32_t)draw(t) : (uint32_t)(draw(t) % 6);
}

static void random_ioctl(struct thread *t, int fd)
{
	static const unsigned long known[] = {
		VIDIOC_QUERYCAP, VIDIOC_ENUM_FMT, VIDIOC_G_FMT, VIDIOC_S_FMT, VIDIOC_QUERYBUF,
		VIDIOC_QBUF, VIDIOC_DQBUF, VIDIOC_STREAMON, VIDIOC_STREAMOFF, VIDIOC_G_CTRL,
		VIDIOC_S_CTRL, VIDIOC_TRY_FMT, VIDIOC_DQEVENT, VIDIOC_SUBSCRIBE_EVENT,
		VIDIOC_PREPARE_BUF, VIDIOC_G_SELECTION, VIDIOC_CREATE_BUFS, DMA_BUF_IOCTL_SYNC,
		DMA_BUF_IOCTL_EXPORT_SYNC_FILE,
	};
	unsigned long request = known[draw(t) % (sizeof(known) / sizeof(*known))];
	unsigned char *at = area + draw(t) % (AREA / 2);
	for (unsigned i = 0; i < 32; i++) {
		uint32_t v = value(t);
		memcpy(at + 4 * i, &v, 4);
	}
	uint32_t type = draw(t) % 2 ? V4L2_BUF_TYPE_VIDEO_CAPTURE : V4L2_BUF_TYPE_VIDEO_OUTPUT;
	memcpy(at + (draw(t) % 3) * 4, &type, 4);
	if (draw(t) % 16 == 0)
		at = area + AREA - draw(t) % 64;
	count(t, ioctl(fd, request, at));
}

/* Runs a queue for a moment, so that other threads find it active. */
static void stream(struct thread *t, int fd)
{
	unsigned type = draw(t) % 2 ? V4L2_BUF_TYPE_VIDEO_CAPTURE : V4L2_BUF_TYPE_VIDEO_OUTPUT;
	struct v4l2_requestbuffers r = { .count = (unsigned)(draw(t) % 4), .type = type, .memory = V4L2_MEMORY_MMAP };
	count(t, ioctl(fd, VIDIOC_REQBUFS, &r));
	struct v4l2_buffer b = { .type = type, .memory = V4L2_MEMORY_MMAP };
	count(t, ioctl(fd, VIDIOC_QBUF, &b));
	count(t, ioctl(fd, VIDIOC_STREAMON, &type));
}

static void export(struct thread *t, int fd)
{
	struct v4l2_exportbuffer e = { .type = draw(t) % 2 ? V4L2_BUF_TYPE_VIDEO_CAPTURE : V4L2_BUF_TYPE_VIDEO_OUTPUT, .flags = O_RDWR };
	int result = ioctl(fd, VIDIOC_EXPBUF, &e);
	put(t, result < 0 ? result : e.fd);
}

static void map(struct thread *t, int fd)
{
	size_t length = 4096 * (1 + draw(t) % 16);
	void *at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	count(t, at == MAP_FAILED ? -1 : 0);
	if (at != MAP_FAILED)
		munmap(at, length);
}

static void wait_for(struct thread *t, int fd)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT };
	struct pollfd p[2] = { { .fd = fd, .events = POLLIN }, { .fd = any(t), .events = POLLOUT } };
	switch (draw(t) % 4) {
	case 0:
		count(t, epoll_ctl(t->epoll, draw(t) % 3 ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, fd, &event));
		break;
	case 1:
		count(t, epoll_wait(t->epoll, &event, 1, 0));
		break;
	default:
		count(t, poll(p, 2, (int)(draw(t) % 2)));
	}
}

static void one(struct thread *t)
{
	int fd = any(t);
	struct stat stat;
	switch (draw(t) % 16) {
	case 0:
	case 1:
		put(t, open(nodes[draw(t) % node_count], O_RDWR | O_NONBLOCK | (draw(t) % 2 ? O_CLOEXEC : 0)));
		break;
	case 2:
		put(t, dup(fd));
		break;
	case 3:
		put(t, fcntl(fd, F_DUPFD, (int)(draw(t) % 2 ? draw(t) % 1024 : 0)));
		break;
	case 4: {
		/* Onto a number of the table, which may refer to any file by now. */
		int onto = any(t);
		if (onto > 2)
			count(t, dup2(fd, onto));
		break;
	}
	case 5:
		export(t, fd);
		break;
	case 6:
		map(t, fd);
		break;
	case 7:
		stream(t, fd);
		break;
	case 8:
		count(t, read(fd, area, draw(t) % AREA));
		break;
	case 9:
		count(t, fstat(fd, &stat));
		break;
	case 10:
	case 11:
		wait_for(t, fd);
		break;
	default:
		random_ioctl(t, fd);
	}
}

static void *work(void *given)
{
	struct thread *t = given;
	t->numbers = shared_numbers;
	if (unshared) {
		if (unshare(CLONE_FILES)) {
			perror("threads: unshare");
			exit(1);
		}
		t->numbers = t->own;
	}
	t->epoll = epoll_create1(EPOLL_CLOEXEC);
	for (long i = 0; i < t->calls; i++)
		one(t);
	/* A separate table ends with its thread. */
	return NULL;
}

int main(int argc, char **argv)
{
	if (argc < 5)
		return 2;
	unshared = !strcmp(argv[3], "unshared");
	nodes = argv + 4;
	node_count = (unsigned)argc - 4;
	area = mmap(NULL, AREA + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(area + AREA, 4096);
	static struct thread all[THREADS];
	long done = 0, refused = 0;
	for (unsigned i = 0; i < NUMBERS; i++)
		atomic_store(&shared_numbers[i], -1);
	for (unsigned i = 0; i < THREADS; i++) {
		all[i].state = (strtoull(argv[2], NULL, 0) * THREADS + i + 1) * 0x9e3779b97f4a7c15u;
		all[i].calls = atol(argv[1]) / THREADS;
		for (unsigned n = 0; n < NUMBERS; n++)
			atomic_store(&all[i].own[n], -1);
		if (pthread_create(&all[i].thread, NULL, work, &all[i]))
			return 1;
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(all[i].thread, NULL);
		done += all[i].done;
		refused += all[i].refused;
	}
	printf("done %ld refused %ld\n", done, refused);
	return done > 0 && refused > 0 ? 0 : 1;
}
