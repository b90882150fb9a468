/*
 * Record locks on one file, as several processes see them. A failed check prints its condition and ends the
 * program with 1. Without vb3, on an ordinary file, the program shows what the kernel does.
 *
 *   locks FILE
 */
#define _GNU_SOURCE
#include "check.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *node;

static int opened(int flags)
{
	int fd = open(node, flags);

	CHECK(fd >= 0);
	return fd;
}

static int lock_by(int fd, int command, int type, off_t start, off_t len)
{
	struct flock lock = { .l_type = type, .l_start = start, .l_len = len };

	return fcntl(fd, command, &lock);
}

static int lock(int fd, int type, off_t start, off_t len)
{
	return lock_by(fd, F_SETLK, type, start, len);
}

/* Returns the result of another process's lock attempt on the file: 0 or an errno. */
static int others(int type, off_t start, off_t len)
{
	int status;
	pid_t other = fork();

	if (other == 0)
		_exit(lock(opened(O_RDWR), type, start, len) ? errno : 0);
	CHECK(waitpid(other, &status, 0) == other && WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* A process that locks, reports that, and waits until it is killed. */
static pid_t holder(off_t start, off_t len)
{
	char said;
	int ready[2];
	pid_t other;

	CHECK(pipe(ready) == 0);
	if ((other = fork()) == 0) {
		CHECK(lock(opened(O_RDWR), F_WRLCK, start, len) == 0);
		CHECK(write(ready[1], "", 1) == 1);
		for (;;)
			pause();
	}
	CHECK(read(ready[0], &said, 1) == 1);
	close(ready[0]);
	close(ready[1]);
	return other;
}

static void ranges(void)
{
	struct flock seen = { .l_type = F_RDLCK, .l_start = 15, .l_len = 10 };
	int fd = opened(O_RDWR), again = opened(O_RDWR), status;

	CHECK(lockf(fd, F_TLOCK, 0) == 0);
	CHECK(others(F_WRLCK, 0, 0) == EAGAIN && others(F_RDLCK, 5, 1) == EAGAIN);
	/* Locks of one process do not exclude each other. */
	CHECK(lockf(again, F_TLOCK, 0) == 0);
	CHECK(lock(fd, F_UNLCK, 10, 10) == 0);
	CHECK(others(F_WRLCK, 10, 10) == 0);
	CHECK(others(F_WRLCK, 9, 1) == EAGAIN && others(F_WRLCK, 20, 0) == EAGAIN);
	CHECK(lock(again, F_RDLCK, 0, 10) == 0);
	CHECK(others(F_RDLCK, 0, 10) == 0 && others(F_WRLCK, 0, 10) == EAGAIN);
	if (fork() == 0) {
		CHECK(fcntl(fd, F_GETLK, &seen) == 0);
		CHECK(seen.l_type == F_WRLCK && seen.l_pid == getppid());
		CHECK(seen.l_start == 20 && seen.l_len == 0 && seen.l_whence == SEEK_SET);
		/* A child inherits no locks, and its closes release none of its parent's. */
		FAILS(lock(again, F_WRLCK, 0, 0), EAGAIN);
		close(fd);
		close(again);
		_exit(0);
	}
	CHECK(wait(&status) > 0 && status == 0);
	CHECK(others(F_WRLCK, 30, 1) == EAGAIN);
	CHECK(fcntl(fd, F_GETLK, &seen) == 0 && seen.l_type == F_UNLCK);
	/* The close of any descriptor of the file releases all the process's locks. */
	close(again);
	CHECK(others(F_WRLCK, 0, 0) == 0);
	CHECK(lock(fd, F_WRLCK, 0, 0) == 0);
	close(dup(fd));
	CHECK(others(F_WRLCK, 0, 0) == 0);
	CHECK(lock(fd, F_WRLCK, 0, 0) == 0);
	CHECK((again = opened(O_RDWR)) >= 0 && dup2(fd, again) == again);
	CHECK(others(F_WRLCK, 0, 0) == 0);
	CHECK(lock(fd, F_WRLCK, 0, 0) == 0);
	/* A close without effect. */
	FAILS(dup2(999, again), EBADF);
	CHECK(dup2(fd, fd) == fd && others(F_WRLCK, 0, 0) == EAGAIN);
	CHECK(syscall(SYS_close_range, again, again, 0) == 0);
	CHECK(others(F_WRLCK, 0, 0) == 0);
}

static void refused(void)
{
	struct flock lock_ = { .l_type = F_WRLCK, .l_pid = 1 };
	int fd = opened(O_RDWR), reader = opened(O_RDONLY);

	FAILS(lock(reader, F_WRLCK, 0, 0), EBADF);
	CHECK(lock(reader, F_RDLCK, 0, 0) == 0 && lock(reader, F_UNLCK, 0, 0) == 0);
	FAILS(lock(fd, 7, 0, 0), EINVAL);
	FAILS(lock(fd, F_WRLCK, -1, 0), EINVAL);
	FAILS(lock(fd, F_WRLCK, 4, -5), EINVAL);
	FAILS(lock(fd, F_WRLCK, 1L << 62, 1L << 62 | 1L << 61), EOVERFLOW);
	FAILS(lock_by(fd, F_GETLK, F_UNLCK, 0, 0), EINVAL);
	FAILS(fcntl(fd, F_OFD_SETLK, &lock_), EINVAL);
	FAILS(fcntl(fd, F_SETLK, NULL), EFAULT);
	lock_ = (struct flock){ .l_type = F_WRLCK, .l_whence = 3 };
	FAILS(fcntl(fd, F_SETLK, &lock_), EINVAL);
	CHECK(lock(fd, F_WRLCK, 10, -5) == 0);
	CHECK(others(F_WRLCK, 9, 1) == EAGAIN && others(F_WRLCK, 10, 1) == 0);
	close(fd);
	close(reader);
}

static void ends(void)
{
	int fd = opened(O_RDWR);
	pid_t other = holder(0, 0);

	FAILS(lock(fd, F_RDLCK, 7, 1), EAGAIN);
	kill(other, SIGKILL);
	CHECK(waitpid(other, NULL, 0) == other);
	CHECK(lock(fd, F_WRLCK, 0, 0) == 0);
	CHECK(lock(fd, F_UNLCK, 0, 0) == 0);
	/* A waiting lock is granted when the holder ends. */
	other = holder(0, 0);
	if (fork() == 0) {
		kill(other, SIGKILL);
		_exit(0);
	}
	CHECK(lock_by(fd, F_SETLKW, F_WRLCK, 0, 1) == 0);
	while (wait(NULL) > 0)
		;
	CHECK(lock(fd, F_UNLCK, 0, 0) == 0);
	close(fd);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	node = argv[1];
	ranges();
	refused();
	ends();
	return 0;
}
