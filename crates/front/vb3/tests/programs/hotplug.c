/* A program whose device is unplugged and plugged in while it is used.
 *
 * hotplug gone DEVICE: unplugs it during waiting calls, and with a poll, an epoll set, mappings and a dma-buf.
 * hotplug events DEVICE: receives the device's uevents on netlink sockets, without a library.
 * hotplug storm DEVICE ROUNDS SEED: unplugs and plugs at random call numbers while threads stream. */
#define _GNU_SOURCE
#include "check.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define BUFFERS 4
/* The directories of a webcam, which appear and disappear. */
#define DEVICE "@/devices/platform/vb3-hcd.0/usb60/60-1"
#define INTERFACE DEVICE "/60-1:1.0"
#define STREAMING DEVICE "/60-1:1.1"
#define VIDEO INTERFACE "/video4linux/video0"
#define METADATA INTERFACE "/video4linux/video2"
#define MEDIA INTERFACE "/media0"
#define EVENTS 9

static const char *device;

/* Sends an order to the run and waits for its end; returns whether it was carried out. */
static int order(const char *word)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char text[128], answer[128] = "";
	int length = 0, got;
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(s >= 0 && getenv("VB3_CONTROL"));
	strncpy(address.sun_path, getenv("VB3_CONTROL"), sizeof(address.sun_path) - 1);
	CHECK(connect(s, (struct sockaddr *)&address, sizeof(address)) == 0);
	snprintf(text, sizeof(text), "{\"do\":\"%s\",\"device\":\"%s\"}\n", word, device);
	CHECK(write(s, text, strlen(text)) == (ssize_t)strlen(text));
	while (!strchr(answer, '\n') &&
	       (got = read(s, answer + length, sizeof(answer) - 1 - length)) > 0)
		length += got;
	close(s);
	return strcmp(answer, "{\"ok\":true}\n") == 0;
}

struct stream {
	int fd;
	unsigned int count;
	void *at[BUFFERS];
	size_t length[BUFFERS];
};

static struct v4l2_buffer buffer(unsigned int index)
{
	return (struct v4l2_buffer){ .index = index,
				     .type = V4L2_BUF_TYPE_VIDEO_CAPTURE,
				     .memory = V4L2_MEMORY_MMAP };
}

/* Opens the device and maps buffers; returns -1 if a call fails. */
static int begin(struct stream *s)
{
	struct v4l2_requestbuffers req = { .count = BUFFERS,
					   .type = V4L2_BUF_TYPE_VIDEO_CAPTURE,
					   .memory = V4L2_MEMORY_MMAP };
	*s = (struct stream){ .fd = open(device, O_RDWR | O_CLOEXEC) };
	if (s->fd < 0 || ioctl(s->fd, VIDIOC_REQBUFS, &req))
		return -1;
	for (s->count = 0; s->count < BUFFERS; s->count++) {
		struct v4l2_buffer b = buffer(s->count);

		if (ioctl(s->fd, VIDIOC_QUERYBUF, &b))
			return -1;
		s->length[s->count] = b.length;
		s->at[s->count] = mmap(NULL, b.length, PROT_READ, MAP_SHARED, s->fd, b.m.offset);
		if (s->at[s->count] == MAP_FAILED)
			return -1;
	}
	return 0;
}

static int stream_on(struct stream *s)
{
	int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;

	return ioctl(s->fd, VIDIOC_STREAMON, &type);
}

static void end(struct stream *s)
{
	for (unsigned int i = 0; i < s->count; i++)
		munmap(s->at[i], s->length[i]);
	if (s->fd >= 0)
		close(s->fd);
}

/* Waits for frames; returns -1 if a call fails. */
static int frames(struct stream *s, int wanted)
{
	for (unsigned int i = 0; i < s->count; i++) {
		struct v4l2_buffer b = buffer(i);

		if (ioctl(s->fd, VIDIOC_QBUF, &b))
			return -1;
	}
	if (stream_on(s))
		return -1;
	while (wanted-- > 0) {
		struct v4l2_buffer b = buffer(0);

		if (ioctl(s->fd, VIDIOC_DQBUF, &b) || ioctl(s->fd, VIDIOC_QBUF, &b))
			return -1;
	}
	return 0;
}

struct waiter {
	struct stream *stream;
	atomic_int tid;
	int by_poll, error, seen;
};

static void *waits(void *given)
{
	struct waiter *w = given;

	atomic_store(&w->tid, (int)syscall(SYS_gettid));
	if (w->by_poll) {
		struct pollfd p = { .fd = w->stream->fd, .events = POLLIN };

		CHECK(poll(&p, 1, -1) == 1);
		w->seen = p.revents;
	} else {
		struct v4l2_buffer b = buffer(0);

		CHECK(ioctl(w->stream->fd, VIDIOC_DQBUF, &b) == -1);
		w->error = errno;
	}
	return NULL;
}

/* Waits until a thread sleeps. */
static void until_asleep(atomic_int *tid)
{
	for (;;) {
		char path[64], state = 0;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%d/stat", atomic_load(tid));
		f = fopen(path, "r");
		if (f) {
			if (fscanf(f, "%*d %*s %c", &state) != 1)
				state = 0;
			fclose(f);
		}
		if (state == 'S')
			return;
		sched_yield();
	}
}

/* Returns whether a directory lists a name. */
static int lists(const char *path, const char *name)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	int found = 0;

	if (!dir)
		return 0;
	while ((entry = readdir(dir)))
		found |= strcmp(entry->d_name, name) == 0;
	closedir(dir);
	return found;
}

static void gone(void)
{
	const char *name = strrchr(device, '/') + 1;
	const char *link = "platform-vb3-hcd.0-usb-0:1:1.0-video-index0";
	struct stream s, again;
	struct waiter dqbuf = { .stream = &s }, polled = { .stream = &s, .by_poll = 1 };
	struct v4l2_exportbuffer export = { .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .flags = O_RDWR };
	struct v4l2_capability cap;
	struct v4l2_buffer b;
	struct epoll_event event = { .events = EPOLLIN }, told = { 0 };
	struct pollfd p;
	struct stat stat_buf;
	pthread_t threads[2];
	char *copy;
	void *shared;
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	CHECK(begin(&s) == 0);
	CHECK(ioctl(s.fd, VIDIOC_EXPBUF, &export) == 0);
	for (unsigned int i = 0; i < BUFFERS; i++) {
		b = buffer(i);
		CHECK(ioctl(s.fd, VIDIOC_QBUF, &b) == 0);
	}
	CHECK(stream_on(&s) == 0);
	for (unsigned int i = 0; i < BUFFERS; i++) {
		b = buffer(0);
		CHECK(ioctl(s.fd, VIDIOC_DQBUF, &b) == 0);
	}
	copy = malloc(s.length[0]);
	memcpy(copy, s.at[0], s.length[0]);
	/* No buffer is queued, so every call waits. */
	CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, s.fd, &event) == 0);
	CHECK(pthread_create(&threads[0], NULL, waits, &dqbuf) == 0);
	CHECK(pthread_create(&threads[1], NULL, waits, &polled) == 0);
	until_asleep(&dqbuf.tid);
	until_asleep(&polled.tid);
	CHECK(lists("/dev", name) && lists("/sys/class/video4linux", name));
	CHECK(order("unplug"));
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	CHECK(dqbuf.error == ENODEV);
	CHECK(polled.seen == (POLLERR | POLLHUP));
	CHECK(epoll_wait(epoll, &told, 1, -1) == 1 && told.events == (EPOLLERR | EPOLLHUP));
	p = (struct pollfd){ .fd = s.fd, .events = POLLPRI | POLLOUT };
	CHECK(poll(&p, 1, -1) == 1 && p.revents == (POLLERR | POLLHUP | POLLPRI));

	/* The file stays open, and refuses every call. */
	CHECK(ioctl(s.fd, VIDIOC_QUERYCAP, &cap) == -1 && errno == ENODEV);
	CHECK(ioctl(s.fd, VIDIOC_QBUF, &b) == -1 && errno == ENODEV);
	CHECK(stream_on(&s) == -1 && errno == ENODEV);
	CHECK(read(s.fd, copy, 0) == -1 && errno == ENODEV);
	CHECK(mmap(NULL, s.length[1], PROT_READ, MAP_SHARED, s.fd, 0) == MAP_FAILED && errno == ENODEV);
	CHECK(fstat(s.fd, &stat_buf) == 0 && S_ISCHR(stat_buf.st_mode));

	/* The node has disappeared under all its names. */
	CHECK(open(device, O_RDWR) == -1 && errno == ENOENT);
	CHECK(stat(device, &stat_buf) == -1 && errno == ENOENT);
	CHECK(access(device, F_OK) == -1 && errno == ENOENT);
	CHECK(!lists("/dev", name) && !lists("/sys/class/video4linux", name));
	CHECK(lists("/sys/class", "video4linux"));
	CHECK(!lists("/run/udev/data", "c81:0") && !lists("/dev/v4l/by-path", link));
	CHECK(access("/run/udev/data/c81:0", F_OK) == -1 && errno == ENOENT);
	CHECK(!order("unplug"));

	/* Its buffers stay until they are closed. */
	CHECK(memcmp(copy, s.at[0], s.length[0]) == 0);
	CHECK(lseek(export.fd, 0, SEEK_END) >= (off_t)s.length[0]);
	shared = mmap(NULL, s.length[0], PROT_READ, MAP_SHARED, export.fd, 0);
	CHECK(shared != MAP_FAILED && memcmp(copy, shared, s.length[0]) == 0);

	CHECK(order("plug"));
	CHECK(!order("plug"));
	CHECK(lists("/dev", name) && lists("/sys/class/video4linux", name));
	CHECK(lists("/run/udev/data", "c81:0") && lists("/dev/v4l/by-path", link));
	CHECK(begin(&again) == 0 && frames(&again, 3) == 0);
	CHECK(ioctl(s.fd, VIDIOC_QUERYCAP, &cap) == -1 && errno == ENODEV);
	CHECK(memcmp(copy, s.at[0], s.length[0]) == 0);
	end(&again);
	end(&s);
	CHECK(memcmp(copy, shared, s.length[0]) == 0);
	munmap(shared, s.length[0]);
	close(export.fd);
	close(epoll);
	puts("gone and back");
}

struct heard {
	char text[4096];
	struct sockaddr_nl from;
	struct ucred who;
	int length, flags;
};

/* Receives one message as clients of udev do. */
static struct heard hear(int fd, int flags, size_t room)
{
	struct heard h = { 0 };
	char control[CMSG_SPACE(sizeof(struct ucred))];
	struct iovec parts[2] = { { h.text, room / 2 }, { h.text + room / 2, room - room / 2 } };
	struct msghdr msg = { .msg_name = &h.from,
			      .msg_namelen = sizeof(h.from),
			      .msg_iov = parts,
			      .msg_iovlen = 2,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };

	h.length = recvmsg(fd, &msg, flags);
	h.flags = msg.msg_flags;
	if (h.length >= 0) {
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

		CHECK(msg.msg_namelen == sizeof(h.from) && c && c->cmsg_type == SCM_CREDENTIALS);
		memcpy(&h.who, CMSG_DATA(c), sizeof(h.who));
	}
	return h;
}

static void *hears(void *given)
{
	struct waiter *w = given;
	struct heard *h = calloc(1, sizeof(*h));

	atomic_store(&w->tid, (int)syscall(SYS_gettid));
	*h = hear(w->error, 0, sizeof(h->text));
	return h;
}

/* Joins or leaves a group. Returns the groups that the socket is then in. */
static unsigned int member(int fd, int change, unsigned int group)
{
	struct sockaddr_nl name;
	socklen_t length = sizeof(name);

	CHECK(setsockopt(fd, SOL_NETLINK, change, &group, sizeof(group)) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)&name, &length) == 0);
	return name.nl_groups;
}

static int monitor(unsigned int groups, int flags)
{
	struct sockaddr_nl name = { .nl_family = AF_NETLINK, .nl_groups = groups };
	socklen_t length = sizeof(name);
	int on = 1, fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | flags, NETLINK_KOBJECT_UEVENT);

	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&name, sizeof(name)) == 0);
	CHECK(setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)&name, &length) == 0 && length == sizeof(name));
	CHECK(name.nl_family == AF_NETLINK && name.nl_groups == groups && name.nl_pid);
	return fd;
}

static void events(void)
{
	/* In a kernel's order for a webcam. */
	static const char *const gone[EVENTS] = {
		"remove" VIDEO, "remove" METADATA, "remove" MEDIA,
		"unbind" INTERFACE, "remove" INTERFACE, "unbind" STREAMING, "remove" STREAMING,
		"unbind" DEVICE, "remove" DEVICE,
	};
	static const char *const come[EVENTS] = {
		"add" DEVICE, "add" STREAMING, "add" INTERFACE, "add" VIDEO, "add" METADATA, "add" MEDIA,
		"bind" INTERFACE, "bind" STREAMING, "bind" DEVICE,
	};
	int kernel = monitor(1, 0), udev = monitor(2, SOCK_NONBLOCK), none = monitor(0, SOCK_NONBLOCK);
	int route = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	struct waiter listener = { .error = kernel };
	struct epoll_event event = { .events = EPOLLIN }, told;
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct sockaddr_nl name = { .nl_family = AF_NETLINK, .nl_groups = 2 };
	struct heard h, *first;
	pthread_t thread;
	char text[4096];
	int on = 0, found;

	CHECK(member(none, NETLINK_ADD_MEMBERSHIP, 2) == 2);
	CHECK(member(none, NETLINK_DROP_MEMBERSHIP, 2) == 0);
	CHECK(hear(udev, 0, 100).length == -1 && errno == EAGAIN);
	CHECK(hear(kernel, MSG_DONTWAIT, 100).length == -1 && errno == EAGAIN);
	/* hear asks for the sender, so the call does not run in the kernel. */
	CHECK(setsockopt(kernel, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ .tv_usec = 1000 },
			 sizeof(struct timeval)) == 0);
	CHECK(hear(kernel, 0, 100).length == -1 && errno == EAGAIN);
	CHECK(setsockopt(kernel, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ 0 },
			 sizeof(struct timeval)) == 0);
	CHECK(sendto(udev, "x", 1, 0, (struct sockaddr *)&name, sizeof(name)) == -1 && errno == EPERM);
	CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, udev, &event) == 0);
	CHECK(epoll_wait(epoll, &told, 1, 0) == 0);
	CHECK(pthread_create(&thread, NULL, hears, &listener) == 0);
	until_asleep(&listener.tid);
	CHECK(order("unplug"));
	pthread_join(thread, (void **)&first);
	CHECK(strcmp(first->text, gone[0]) == 0);
	CHECK(first->from.nl_groups == 1 && first->from.nl_pid == 0 && first->who.uid == 0);
	/* The node's parent devices follow it. */
	for (int i = 1; i < EVENTS; i++) {
		CHECK(recv(kernel, text, sizeof(text), 0) > 0);
		CHECK(strcmp(text, gone[i]) == 0);
	}

	CHECK(epoll_wait(epoll, &told, 1, -1) == 1 && told.events == EPOLLIN);
	h = hear(udev, MSG_PEEK, 20);
	CHECK(h.length == 20 && h.flags & MSG_TRUNC && strcmp(h.text, "libudev") == 0);
	h = hear(udev, 0, sizeof(h.text));
	CHECK(h.length > 100 && !(h.flags & MSG_TRUNC) && h.from.nl_groups == 2 && h.who.uid == 0);
	for (int i = 1; i < EVENTS; i++)
		CHECK(read(udev, text, sizeof(text)) > 40);

	CHECK(order("plug"));
	/* When a listener gets the event, the node exists. */
	for (int i = 0; i < EVENTS; i++) {
		CHECK(recv(kernel, text, sizeof(text), 0) > 0);
		CHECK(strcmp(text, come[i]) == 0);
	}
	CHECK((found = open(device, O_RDWR)) >= 0 && close(found) == 0);
	CHECK(hear(none, 0, 100).length == -1 && errno == EAGAIN);

	/* Without SO_PASSCRED the message has no sender; the kernel serves other protocols. */
	CHECK(setsockopt(udev, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) == 0);
	CHECK(recvfrom(udev, text, sizeof(text), 0, NULL, NULL) > 40);
	name = (struct sockaddr_nl){ .nl_family = AF_NETLINK };
	CHECK(bind(route, (struct sockaddr *)&name, sizeof(name)) == 0 && route < 512);
	puts("heard");
}

static atomic_uint calls;
static atomic_int over;

/* Streams again and again, whether the device exists or not. */
static void *streams(void *given)
{
	unsigned int *whole = given;

	while (!atomic_load(&over)) {
		struct stream s;
		int done = begin(&s);

		atomic_fetch_add(&calls, 1);
		for (int i = 0; done == 0 && i < 3; i++) {
			done = i ? 0 : frames(&s, 1);
			atomic_fetch_add(&calls, 1);
		}
		if (done == 0)
			(*whole)++;
		else
			CHECK(errno == ENODEV || errno == ENOENT || errno == EBUSY);
		end(&s);
		atomic_fetch_add(&calls, 1);
	}
	return NULL;
}

/* Polls again and again. */
static void *polls(void *given)
{
	unsigned int *hung_up = given;

	while (!atomic_load(&over)) {
		struct pollfd p = { .fd = open(device, O_RDWR | O_CLOEXEC), .events = POLLPRI };

		atomic_fetch_add(&calls, 1);
		if (p.fd < 0) {
			CHECK(errno == ENODEV || errno == ENOENT);
			continue;
		}
		/* Only the unplugging ends this. */
		while (!atomic_load(&over) && poll(&p, 1, 100) == 0)
			;
		*hung_up += p.revents & POLLHUP ? 1 : 0;
		close(p.fd);
	}
	return NULL;
}

static void storm(unsigned int rounds, unsigned int seed)
{
	pthread_t threads[3];
	unsigned int whole[2] = { 0 }, hung_up = 0;

	srandom(seed);
	CHECK(pthread_create(&threads[0], NULL, streams, &whole[0]) == 0);
	CHECK(pthread_create(&threads[1], NULL, streams, &whole[1]) == 0);
	CHECK(pthread_create(&threads[2], NULL, polls, &hung_up) == 0);
	for (unsigned int i = 0; i < rounds; i++) {
		unsigned int until = atomic_load(&calls) + random() % 8;

		while ((int)(until - atomic_load(&calls)) > 0)
			sched_yield();
		CHECK(order("unplug"));
		until = atomic_load(&calls) + random() % 8;
		while ((int)(until - atomic_load(&calls)) > 0)
			sched_yield();
		CHECK(order("plug"));
	}
	atomic_store(&over, 1);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	printf("%u rounds, %u streams, %u hang-ups\n", rounds, whole[0] + whole[1], hung_up);
}

int main(int argc, char **argv)
{
	CHECK(argc >= 3);
	device = argv[2];
	if (strcmp(argv[1], "storm") == 0 && argc == 5)
		storm(atoi(argv[3]), atoi(argv[4]));
	else if (strcmp(argv[1], "events") == 0)
		events();
	else
		gone();
	return 0;
}
