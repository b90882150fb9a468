/*
 * Each word on the command line selects one way to wait for a device among other files, and checks it. A
 * failed check prints its condition and ends the program with 1.
 *
 *   waits WORD /dev/video0
 */
#define _GNU_SOURCE
#include "check.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int device;

/* select does not end at a hang-up that no set reports. */
static void select_hang_up(void)
{
	struct timeval time = { .tv_usec = 300000 };
	fd_set events, errors;
	int pipes[2];

	CHECK(pipe(pipes) == 0 && close(pipes[1]) == 0);
	FD_ZERO(&events);
	FD_ZERO(&errors);
	FD_SET(device, &events);
	FD_SET(pipes[0], &errors);
	CHECK(select(FD_SETSIZE, NULL, NULL, &errors, &time) == 0);
	time.tv_usec = 300000;
	FD_SET(pipes[0], &errors);
	FD_SET(device, &errors);
	CHECK(select(FD_SETSIZE, NULL, NULL, &errors, &time) == 0);
	/* The time was used up. */
	CHECK(time.tv_sec == 0 && time.tv_usec == 0);
}

/* ppoll succeeds even if the remaining time cannot be written back. */
static void read_only_time(void)
{
	struct pollfd p = { .fd = device, .events = POLLPRI };
	struct v4l2_event_subscription sub = {
		.type = V4L2_EVENT_CTRL,
		.id = V4L2_CID_BRIGHTNESS,
		.flags = V4L2_EVENT_SUB_FL_SEND_INITIAL,
	};
	struct timespec *time = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	time->tv_nsec = 1000000;
	CHECK(mprotect(time, 4096, PROT_READ) == 0);
	CHECK(syscall(SYS_ppoll, &p, 1, time, NULL, 8) == 0);
	CHECK(ioctl(device, VIDIOC_SUBSCRIBE_EVENT, &sub) == 0);
	CHECK(syscall(SYS_ppoll, &p, 1, time, NULL, 8) == 1 && p.revents == POLLPRI);
}

#ifdef SYS_poll
static void nothing(int signal)
{
	(void)signal;
}
#endif

/* A handler ends a poll. The thread's next wait, which is not a poll, is stopped and continued. */
static void restart_of_another(void)
{
#ifdef SYS_poll
	enum { COUNT = FUTEX_WAIT_PRIVATE };
	static struct pollfd p[COUNT];
	struct sigaction action = { .sa_handler = nothing };
	struct itimerval alarm = { .it_value.tv_usec = 50000 };
	struct timespec time = { .tv_nsec = 500000000 };
	pid_t child;

	memset(p, 0xff, sizeof(p));
	p[0] = (struct pollfd){ .fd = device, .events = POLLPRI };
	CHECK(sigaction(SIGALRM, &action, NULL) == 0);
	CHECK(setitimer(ITIMER_REAL, &alarm, NULL) == 0);
	CHECK(syscall(SYS_poll, p, 1, 60000) == -1 && errno == EINTR);
	child = fork();
	if (child == 0) {
		usleep(100000);
		kill(getppid(), SIGSTOP);
		usleep(100000);
		kill(getppid(), SIGCONT);
		_exit(0);
	}
	/* Its first two arguments could be those of a poll. */
	CHECK(syscall(SYS_futex, p, COUNT, device, &time) == -1 && errno == ETIMEDOUT);
	CHECK(waitpid(child, NULL, 0) == child);
#endif
}

int main(int argc, char **argv)
{
	static const struct {
		const char *word;
		void (*run)(void);
	} all[] = {
		{ "select-hang-up", select_hang_up },
		{ "read-only-time", read_only_time },
		{ "restart-of-another", restart_of_another },
	};

	if (argc != 3)
		return 2;
	device = open(argv[2], O_RDWR);
	CHECK(device >= 0);
	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (strcmp(all[i].word, argv[1]) == 0) {
			all[i].run();
			return 0;
		}
	}
	return 2;
}
