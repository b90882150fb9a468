// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Waits for a device by poll, select, epoll and DQBUF, and tests everything that ends such a wait: states of
 * the queue, edges, signals, stops and closed files. Also tests locks on the node, and calls that a device's
 * file answers in its own way. Prints one line per test, as conform.c does. The device is a single-planar
 * capture device that offers MMAP and read.
 *
 *   waits /dev/videoN
 */
#define _GNU_SOURCE
#include "conform.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define LONG_MS 10000

static const char *path;

static int open_node(int flags)
{
	int got = open(path, O_RDWR | flags);

	if (got < 0) {
		perror(path);
		exit(1);
	}
	return got;
}

/* Prints poll's answer in words. */
static void events(const char *name, int ready, uint32_t got)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} bits[] = {
		{ POLLIN, "IN" }, { POLLRDNORM, "RDNORM" }, { POLLPRI, "PRI" }, { POLLOUT, "OUT" },
		{ POLLERR, "ERR" }, { POLLHUP, "HUP" }, { POLLNVAL, "NVAL" },
	};
	char text[64] = "";

	for (size_t i = 0; i < sizeof(bits) / sizeof(*bits); i++)
		if (got & bits[i].bit)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s",
				 text[0] ? "," : "", bits[i].name);
	say(name, ready < 0 ? error_name(errno) : ready ? text : "none");
}

static void polled(const char *name, int on, short asked, int timeout)
{
	struct pollfd p = { .fd = on, .events = asked };
	int ready = poll(&p, 1, timeout);

	events(name, ready, p.revents);
}

static void selected(const char *name, int on)
{
	fd_set in, out, urgent;
	struct timeval none = { 0 };
	char text[16] = "";
	int ready;

	FD_ZERO(&in);
	FD_SET(on, &in);
	out = urgent = in;
	ready = select(on + 1, &in, &out, &urgent, &none);
	if (ready > 0) {
		if (FD_ISSET(on, &in))
			strcat(text, "r");
		if (FD_ISSET(on, &out))
			strcat(text, "w");
		if (FD_ISSET(on, &urgent))
			strcat(text, "x");
	}
	say(name, ready < 0 ? error_name(errno) : ready ? text : "none");
}

static void stream(int on, int count)
{
	reqbufs(on, CAP, MMAP, 3);
	for (int i = 0; i < count; i++)
		on_buffer(on, VIDIOC_QBUF, CAP, MMAP, i);
	call(on, VIDIOC_STREAMON, &(int){ CAP });
}

static void stop(int on)
{
	call(on, VIDIOC_STREAMOFF, &(int){ CAP });
	reqbufs(on, CAP, MMAP, 0);
}

static void polling(void)
{
	int on = open_node(O_NONBLOCK);

	polled("poll.idle.pri", on, POLLPRI, 0);
	polled("poll.idle.nothing", on, 0, 0);
	polled("poll.idle.out", on, POLLOUT, 0);
	reqbufs(on, CAP, MMAP, 3);
	polled("poll.buffers.in", on, POLLIN, 0);
	polled("poll.buffers.pri", on, POLLPRI, 0);
	selected("select.buffers", on);
	on_buffer(on, VIDIOC_QBUF, CAP, MMAP, 0);
	polled("poll.queued.in", on, POLLIN, 0);
	polled("poll.queued.in-waits", on, POLLIN, LONG_MS);
	call(on, VIDIOC_STREAMON, &(int){ CAP });
	polled("poll.frame.in", on, POLLIN, LONG_MS);
	polled("poll.frame.in-and-rdnorm", on, POLLIN | POLLRDNORM, 0);
	polled("poll.frame.out", on, POLLOUT, 0);
	polled("poll.frame.pri", on, POLLPRI, 0);
	selected("select.frame", on);
	on_buffer(on, VIDIOC_DQBUF, CAP, MMAP, 0);
	polled("poll.none-queued.in", on, POLLIN, 0);
	selected("select.none-queued", on);
	call(on, VIDIOC_STREAMOFF, &(int){ CAP });
	polled("poll.off.in", on, POLLIN, 0);
	stop(on);
	polled("poll.read.in", on, POLLIN, LONG_MS);
	check("poll.read.takes-the-queue", reqbufs(on, CAP, MMAP, 3));
	close(on);
	on = open_node(O_NONBLOCK);
	check("poll.read.ends-with-the-file", reqbufs(on, CAP, MMAP, 3));
	close(on);
}

static int set_add(int set, int on, uint32_t asked)
{
	struct epoll_event e = { .events = asked, .data.fd = on };

	return epoll_ctl(set, EPOLL_CTL_ADD, on, &e);
}

static int set_change(int set, int on, uint32_t asked)
{
	struct epoll_event e = { .events = asked, .data.fd = on };

	return epoll_ctl(set, EPOLL_CTL_MOD, on, &e);
}

static void waited(const char *name, int set, int timeout)
{
	struct epoll_event e = { 0 };
	int ready = epoll_wait(set, &e, 1, timeout);

	events(name, ready, e.events);
}

static void epolling(void)
{
	struct epoll_event e[4];
	int on = open_node(O_NONBLOCK), set = epoll_create1(0), outer = epoll_create1(0), copy;

	reqbufs(on, CAP, MMAP, 3);
	check("epoll.add", set_add(set, on, EPOLLIN));
	check("epoll.add.again", set_add(set, on, EPOLLIN));
	copy = dup(on);
	check("epoll.change.copy", set_change(set, copy, EPOLLIN));
	check("epoll.add.copy", set_add(set, copy, EPOLLIN));
	number("epoll.buffers.both", epoll_wait(set, e, 4, 0));
	check("epoll.delete.copy", epoll_ctl(set, EPOLL_CTL_DEL, copy, NULL));
	check("epoll.delete.copy-again", epoll_ctl(set, EPOLL_CTL_DEL, copy, NULL));
	waited("epoll.buffers", set, 0);
	check("epoll.nested.add", set_add(outer, set, EPOLLIN));
	waited("epoll.nested.buffers", outer, 0);
	on_buffer(on, VIDIOC_QBUF, CAP, MMAP, 0);
	call(on, VIDIOC_STREAMON, &(int){ CAP });
	waited("epoll.frame", set, LONG_MS);
	waited("epoll.frame.again", set, 0);
	waited("epoll.nested.frame", outer, 0);
	check("epoll.change.edge", set_change(set, on, EPOLLIN | EPOLLET));
	waited("epoll.edge", set, 0);
	waited("epoll.edge.again", set, 0);
	check("epoll.change.edge-again", set_change(set, on, EPOLLIN | EPOLLET));
	waited("epoll.edge.changed", set, 0);
	on_buffer(on, VIDIOC_QBUF, CAP, MMAP, 1);
	waited("epoll.edge.second-frame", set, LONG_MS);
	waited("epoll.edge.second-frame-again", set, 0);
	on_buffer(on, VIDIOC_DQBUF, CAP, MMAP, 0);
	waited("epoll.edge.one-taken", set, 0);
	check("epoll.change.once", set_change(set, on, EPOLLIN | EPOLLONESHOT));
	waited("epoll.once", set, LONG_MS);
	waited("epoll.once.again", set, 0);
	check("epoll.change.once-again", set_change(set, on, EPOLLIN | EPOLLONESHOT));
	waited("epoll.once.changed", set, 0);
	check("epoll.change.pri", set_change(set, on, EPOLLPRI));
	waited("epoll.pri", set, 0);
	call(on, VIDIOC_STREAMOFF, &(int){ CAP });
	waited("epoll.off.pri", set, 0);
	check("epoll.change.in", set_change(set, on, EPOLLIN));
	waited("epoll.off.in", set, 0);
	check("epoll.exclusive.change", set_change(set, on, EPOLLIN | EPOLLEXCLUSIVE));
	close(on);
	waited("epoll.closed-with-a-copy", set, 0);
	close(copy);
	waited("epoll.closed", set, 0);
	close(outer);
	close(set);
}

/* A waiting call of another thread or process, and the call's result. */
struct waiter {
	void (*act)(struct waiter *);
	int on;
	int result, error;
	uint32_t got;
	atomic_int tid;
};

static void *run(void *arg)
{
	struct waiter *w = arg;

	w->tid = gettid();
	w->act(w);
	return NULL;
}

static void take(struct waiter *w)
{
	struct v4l2_buffer b = buffer(CAP, MMAP, 0);

	w->result = ioctl(w->on, VIDIOC_DQBUF, &b);
	w->error = errno;
}

static void wait_by_poll(struct waiter *w)
{
	struct pollfd p = { .fd = w->on, .events = POLLIN };

	w->result = poll(&p, 1, LONG_MS);
	w->error = errno;
	w->got = p.revents;
}

static void wait_by_select(struct waiter *w)
{
	struct timeval limit = { .tv_sec = LONG_MS / 1000 };
	fd_set in;

	FD_ZERO(&in);
	FD_SET(w->on, &in);
	w->result = select(w->on + 1, &in, NULL, NULL, &limit);
	w->error = errno;
	w->got = POLLIN;
}

static void wait_by_epoll(struct waiter *w)
{
	struct epoll_event e = { 0 };
	int set = epoll_create1(0);

	set_add(set, w->on, EPOLLIN);
	w->result = epoll_wait(set, &e, 1, LONG_MS);
	w->error = errno;
	w->got = e.events;
	close(set);
}

static void wait_by_read(struct waiter *w)
{
	char byte;

	w->result = read(w->on, &byte, 1);
	w->error = errno;
}

/*
 * Waits until a thread sleeps or has ended, so that it has reached its call. Under `vb3 run`, a call
 * may sleep in state D, in which only a kill wakes it. A thread may also sleep briefly before its
 * call, so it must sleep in 20 checks in a row.
 */
static void until_asleep(int tid)
{
	char name[64], text[512];

	snprintf(name, sizeof(name), "/proc/%d/stat", tid);
	for (int asleep = 0; asleep < 20; usleep(5000)) {
		FILE *file = fopen(name, "r");
		char *state = file ? fgets(text, sizeof(text), file) : NULL;

		if (file)
			fclose(file);
		if (!state)
			return;
		state = strrchr(text, ')');
		asleep = state && strchr("SD", state[2]) ? asleep + 1 : 0;
	}
}

static pthread_t start(struct waiter *w, void (*act)(struct waiter *), int on)
{
	pthread_t thread;

	*w = (struct waiter){ .act = act, .on = on };
	pthread_create(&thread, NULL, run, w);
	while (!w->tid)
		usleep(1000);
	until_asleep(w->tid);
	return thread;
}

/* Prints the result of a call that has ended. */
static void tell(const char *name, struct waiter *w)
{
	errno = w->error;
	if (w->got || w->result < 0)
		events(name, w->result, w->got);
	else
		number(name, w->result);
}

static void finish(const char *name, pthread_t thread, struct waiter *w)
{
	pthread_join(thread, NULL);
	tell(name, w);
}

static const struct {
	const char *name;
	void (*act)(struct waiter *);
} kinds[] = {
	{ "dqbuf", take }, { "poll", wait_by_poll }, { "select", wait_by_select },
	{ "epoll", wait_by_epoll },
};

/* Opens a file that streams without queued buffers, so only the test's actions end waits on it. */
static int starved(void)
{
	int on = open_node(0);

	stream(on, 1);
	on_buffer(on, VIDIOC_DQBUF, CAP, MMAP, 0);
	return on;
}

static void ending(void)
{
	struct waiter w, w2;
	pthread_t thread, thread2;
	char name[64];
	int on;

	for (size_t i = 0; i < 4; i++) {
		on = starved();
		thread = start(&w, kinds[i].act, on);
		call(on, VIDIOC_STREAMOFF, &(int){ CAP });
		snprintf(name, sizeof(name), "streamoff.ends.%s", kinds[i].name);
		finish(name, thread, &w);
		close(on);

		on = starved();
		thread = start(&w, kinds[i].act, on);
		thread2 = start(&w2, kinds[i].act, on);
		on_buffer(on, VIDIOC_QBUF, CAP, MMAP, 0);
		snprintf(name, sizeof(name), "frame.ends.%s", kinds[i].name);
		finish(name, thread, &w);
		snprintf(name, sizeof(name), "frame.ends.%s.second", kinds[i].name);
		finish(name, thread2, &w2);
		close(on);

		/* The waiting call keeps the file alive. */
		on = starved();
		int copy = dup(on);
		thread = start(&w, kinds[i].act, on);
		close(on);
		on_buffer(copy, VIDIOC_QBUF, CAP, MMAP, 0);
		snprintf(name, sizeof(name), "close.lets-go-on.%s", kinds[i].name);
		finish(name, thread, &w);
		close(copy);
	}
	on = open_node(0);
	number("read.one-byte", read(on, name, 1));
	check("read.takes-the-queue", reqbufs(on, CAP, MMAP, 1));
	close(on);
	on = open_node(O_NONBLOCK);
	reqbufs(on, CAP, MMAP, 1);
	check("read.buffers", read(on, name, 1));
	check("write", write(on, name, 1));
	close(on);
	on = open_node(0);
	thread = start(&w, wait_by_read, on);
	finish("read.waits-for-a-frame", thread, &w);
	close(on);
}

static void on_signal(int number)
{
	(void)number;
}

/* Tests signals during a wait: a handler with restart, one without, and a stop. */
static void interrupting(void)
{
	struct waiter w;
	char name[64];

	for (size_t i = 0; i < 4; i++) {
		for (int restart = 0; restart < 2; restart++) {
			struct sigaction action = {
				.sa_handler = on_signal,
				.sa_flags = restart ? SA_RESTART : 0,
			};
			int on = starved();
			pthread_t thread = start(&w, kinds[i].act, on);

			sigaction(SIGUSR1, &action, NULL);
			pthread_kill(thread, SIGUSR1);
			/* DQBUF continues and sleeps again; any handler ends the other calls. */
			if (restart && i == 0) {
				until_asleep(w.tid);
				call(on, VIDIOC_STREAMOFF, &(int){ CAP });
			}
			snprintf(name, sizeof(name), "signal%s.%s", restart ? ".restart" : "", kinds[i].name);
			finish(name, thread, &w);
			close(on);
		}
		int on = starved(), status, pair[2];

		if (pipe(pair))
			exit(1);
		pid_t child = fork();
		if (child == 0) {
			w = (struct waiter){ .act = kinds[i].act, .on = on };
			kinds[i].act(&w);
			_exit(write(pair[1], &w, sizeof(w)) != sizeof(w));
		}
		until_asleep(child);
		kill(child, SIGSTOP);
		waitpid(child, &status, WUNTRACED);
		kill(child, SIGCONT);
		waitpid(child, &status, WCONTINUED);
		/* The stop ends epoll_wait only; the other calls continue to wait. */
		if (kinds[i].act != wait_by_epoll)
			until_asleep(child);
		call(on, VIDIOC_STREAMOFF, &(int){ CAP });
		snprintf(name, sizeof(name), "stop.%s", kinds[i].name);
		if (read(pair[0], &w, sizeof(w)) == sizeof(w))
			tell(name, &w);
		waitpid(child, &status, 0);
		close(pair[0]);
		close(pair[1]);
		close(on);
	}
}

static void closing(void)
{
	int on = open_node(O_NONBLOCK), second = open_node(O_NONBLOCK), copy, buf, status;
	long at;
	void *view;

	reqbufs(on, CAP, MMAP, 2);
	copy = dup(on);
	close(on);
	check("close.copy-owns", reqbufs(second, CAP, MMAP, 1));
	check("close.copy-goes-on", on_buffer(copy, VIDIOC_QBUF, CAP, MMAP, 0));
	if (fork() == 0)
		_exit(close(copy));
	wait(&status);
	check("close.by-a-child", on_buffer(copy, VIDIOC_QUERYBUF, CAP, MMAP, 0));
	fd = copy;
	at = offset_of(1);
	view = mmap(NULL, 4096, PROT_READ, MAP_SHARED, copy, at);
	expbuf(copy, 1, 0, O_RDWR, &buf);
	close(copy);
	check("close.mapping-owns", reqbufs(second, CAP, MMAP, 1));
	number("close.mapping-is-there", ((void)*(volatile char *)view, 1));
	munmap(view, 4096);
	check("close.unmapped", reqbufs(second, CAP, MMAP, 1));
	try_mmap("close.dmabuf-is-there", buf, 4096, PROT_READ, MAP_SHARED, 0);
	close(buf);
	if (fork() == 0) {
		reqbufs(second, CAP, MMAP, 0);
		stream(second, 2);
		_exit(0);
	}
	wait(&status);
	on = open_node(O_NONBLOCK);
	check("close.dead-child-shares", reqbufs(on, CAP, MMAP, 1));
	close(second);
	check("close.last-ends-the-stream", reqbufs(on, CAP, MMAP, 1));
	close(on);
	if (fork() == 0) {
		on = open_node(O_NONBLOCK);
		stream(on, 2);
		raise(SIGKILL);
	}
	wait(&status);
	on = open_node(O_NONBLOCK);
	check("close.by-a-kill", reqbufs(on, CAP, MMAP, 1));
	close(on);
	check("close.twice", close(on));
}

static int lock(int on, int command, int type)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_len = 1 };

	return fcntl(on, command, &l);
}

/* Prints the result of another process's lock on this file, or on one that it opens itself (-1). */
static void lock_in_a_child(const char *name, int on)
{
	int status;

	if (fork() == 0) {
		if (on < 0)
			on = open_node(0);
		errno = 0;
		lock(on, F_SETLK, F_WRLCK);
		_exit(errno);
	}
	wait(&status);
	say(name, error_name(WEXITSTATUS(status)));
}

static void locking(void)
{
	int on = open_node(0), second = open_node(0), copy = dup(on), status;
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	check("flock.exclusive", flock(on, LOCK_EX | LOCK_NB));
	check("flock.second", flock(second, LOCK_EX | LOCK_NB));
	check("flock.second-shared", flock(second, LOCK_SH | LOCK_NB));
	check("flock.copy", flock(copy, LOCK_SH | LOCK_NB));
	check("flock.both-shared", flock(second, LOCK_SH | LOCK_NB));
	check("flock.no-upgrade", flock(on, LOCK_EX | LOCK_NB));
	close(on);
	check("flock.copy-holds", flock(second, LOCK_EX | LOCK_NB));
	close(copy);
	check("flock.closed", flock(second, LOCK_EX | LOCK_NB));
	if (fork() == 0) {
		close(second);
		on = open_node(0);
		errno = 0;
		flock(on, LOCK_EX | LOCK_NB);
		_exit(errno);
	}
	wait(&status);
	say("flock.of-the-parent", error_name(WEXITSTATUS(status)));
	check("flock.release", flock(second, LOCK_UN));
	on = open_node(0);
	check("lock.write", lock(on, F_SETLK, F_WRLCK));
	check("lock.same-process", lock(second, F_SETLK, F_WRLCK));
	lock_in_a_child("lock.another-process", on);
	lock_in_a_child("lock.another-process-opens", -1);
	check("lock.open-file", lock(second, F_OFD_SETLK, F_WRLCK));
	l.l_pid = 0;
	check("lock.get", fcntl(second, F_OFD_GETLK, &l));
	number("lock.get.type", l.l_type);
	close(second);
	lock_in_a_child("lock.gone-with-any-close", on);
	check("lease", fcntl(on, F_SETLEASE, F_RDLCK));
	close(on);
}

static void other_calls(void)
{
	struct stat facts;
	int on = open_node(O_NONBLOCK), null = open("/dev/null", O_WRONLY), yes = 1;
	off_t from = 0;

	fstat(on, &facts);
	number("file.is-a-character-device", S_ISCHR(facts.st_mode));
	number("file.major", facts.st_rdev >> 8);
	number("file.size", facts.st_size);
	check("file.seek", lseek(on, 0, SEEK_SET));
	check("file.truncate", ftruncate(on, 0));
	check("file.allocate", fallocate(on, 0, 0, 4096));
	check("file.sync", fsync(on));
	check("file.advise", posix_fadvise(on, 0, 0, POSIX_FADV_DONTNEED) ? (errno = EINVAL, -1) : 0);
	check("file.pread", pread(on, &yes, 1, 0));
	check("file.sendfile", sendfile(null, on, &from, 1));
	check("file.unknown-ioctl", ioctl(on, _IO('V', 250), 0));
	check("file.foreign-ioctl", ioctl(on, _IO('q', 1), 0));
	check("file.nonblock", ioctl(on, FIONBIO, &(int){ 0 }));
	number("file.nonblock.off", fcntl(on, F_GETFL) & O_NONBLOCK);
	check("file.async", ioctl(on, FIOASYNC, &yes));
	check("file.seals", fcntl(on, F_GET_SEALS));
	check("file.mprotect-of-nothing", mmap(NULL, 0, PROT_READ, MAP_SHARED, on, 0) == MAP_FAILED ? -1 : 0);
	check("file.directory", openat(on, "x", O_RDONLY));
	check("file.open.directory", open(path, O_RDONLY | O_DIRECTORY));
	check("file.open.exclusive", open(path, O_RDWR | O_CREAT | O_EXCL, 0600));
	int truncated = open(path, O_RDWR | O_TRUNC | O_CREAT, 0600);
	check("file.open.truncate", truncated);
	close(truncated);
	int read_only = open(path, O_RDONLY | O_NONBLOCK);
	check("file.read-only.reqbufs", reqbufs(read_only, CAP, MMAP, 1));
	close(read_only);
	int nothing = open(path, O_PATH);
	check("file.path.querycap", ioctl(nothing, VIDIOC_QUERYCAP, &facts));
	close(nothing);
	close(null);
	close(on);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: waits /dev/videoN\n");
		return 2;
	}
	path = argv[1];
	alarm(480);
	polling();
	epolling();
	ending();
	interrupting();
	closing();
	locking();
	other_calls();
	return 0;
}
