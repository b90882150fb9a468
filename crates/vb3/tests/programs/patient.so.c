// Waits thirty times as long in select, poll and epoll_wait. v4l2-compliance gives a frame two seconds, which a
// busy machine can take.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>

enum { TIMES = 30 };

static int longer(int milliseconds)
{
	return milliseconds > 0 ? milliseconds * TIMES : milliseconds;
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

int epoll_wait(int set, struct epoll_event *events, int most, int timeout)
{
	static int (*real)(int, struct epoll_event *, int, int);

	if (!real)
		real = dlsym(RTLD_NEXT, "epoll_wait");
	return real(set, events, most, longer(timeout));
}
