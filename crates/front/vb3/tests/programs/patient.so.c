// Waits thirty times as long in select, poll, ppoll and epoll_wait. v4l2-compliance gives a frame two seconds, and
// GStreamer gives a request one, which a busy machine can take. v4l2-compliance's test of blocking gives STREAMOFF in
// a second thread 0.1 s (usleep) to end both threads.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <unistd.h>

enum { TIMES = 30, SECOND_NS = 1000000000 };

static int longer(int milliseconds)
{
	return milliseconds > 0 ? milliseconds * TIMES : milliseconds;
}

static unsigned int created;

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
	static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

	if (!real)
		real = dlsym(RTLD_NEXT, "pthread_create");
	created++;
	return real(thread, attr, start, arg);
}

static bool is_alone(void)
{
	struct stat tasks;

	// The directory has two links, and one for each thread.
	return stat("/proc/self/task", &tasks) < 0 || tasks.st_nlink <= 3;
}

int usleep(useconds_t microseconds)
{
	static int (*real)(useconds_t);
	int left = TIMES, done;

	if (!real)
		real = dlsym(RTLD_NEXT, "usleep");
	do {
		done = real(microseconds);
	} while (!done && created % 2 == 0 && left-- && !is_alone());
	return done;
}

int select(int count, fd_set *in, fd_set *out, fd_set *except, struct timeval *timeout)
{
	static int (*real)(int, fd_set *, fd_set *, fd_set *, struct timeval *);
	struct timeval patient;

	if (!real)
		real = dlsym(RTLD_NEXT, "select");
	if (!timeout)
		return real(count, in, out, except, timeout);
	patient = *timeout;
	patient.tv_sec *= TIMES;
	return real(count, in, out, except, &patient);
}

int poll(struct pollfd *fds, nfds_t count, int timeout)
{
	static int (*real)(struct pollfd *, nfds_t, int);

	if (!real)
		real = dlsym(RTLD_NEXT, "poll");
	return real(fds, count, longer(timeout));
}

int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
	static int (*real)(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *);
	struct timespec patient;

	if (!real)
		real = dlsym(RTLD_NEXT, "ppoll");
	if (!timeout)
		return real(fds, count, timeout, mask);
	patient.tv_sec = timeout->tv_sec * TIMES + timeout->tv_nsec * TIMES / SECOND_NS;
	patient.tv_nsec = timeout->tv_nsec * TIMES % SECOND_NS;
	return real(fds, count, &patient, mask);
}

int epoll_wait(int set, struct epoll_event *events, int most, int timeout)
{
	static int (*real)(int, struct epoll_event *, int, int);

	if (!real)
		real = dlsym(RTLD_NEXT, "epoll_wait");
	return real(set, events, most, longer(timeout));
}
