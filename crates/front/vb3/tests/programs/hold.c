// Stops one thread of vb3 while its programs run:
//
//   hold THREAD vb3 run …   runs vb3; each line at ./hold stops or continues the thread with that
//                           name, and the answer comes at ./held
//   hold scaled NODE NODE   under that: captures from a camera whose scaler is held, and its sibling
//
// It is the parent of vb3, so that the kernel lets it stop that thread (ptrace).
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BUFFERS = 4, FRAMES = 30 };

static int must(int result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "hold: %s: %s\n", what, strerror(errno));
		exit(1);
	}
	return result;
}

static int thread_of(int process, const char *name)
{
	char path[64], found[32] = "";
	snprintf(path, sizeof path, "/proc/%d/task", process);
	DIR *tasks = opendir(path);
	struct dirent *task;
	while (tasks && (task = readdir(tasks))) {
		snprintf(path, sizeof path, "/proc/%d/task/%.16s/comm", process, task->d_name);
		FILE *comm = fopen(path, "r");
		if (!comm)
			continue;
		int same = fscanf(comm, "%31s", found) == 1 && !strcmp(found, name);
		fclose(comm);
		if (same)
			return atoi(task->d_name);
	}
	fprintf(stderr, "hold: vb3 has no thread %s\n", name);
	exit(1);
}

static int outside(const char *name, char **command)
{
	must(mkfifo("hold", 0600), "mkfifo hold");
	must(mkfifo("held", 0600), "mkfifo held");
	// Both ends are open, so that neither side waits for the other's open.
	int asked = must(open("hold", O_RDWR | O_CLOEXEC), "hold");
	int answer = must(open("held", O_RDWR | O_CLOEXEC), "held");
	int vb3 = must(fork(), "fork");
	if (!vb3) {
		// A failure here leaves no waiter.
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execvp(command[0], command);
		must(-1, command[0]);
	}
	int status = 0, thread = 0;
	for (;;) {
		struct pollfd fd = { .fd = asked, .events = POLLIN };
		if (poll(&fd, 1, 20) == 1) {
			char line;
			must(read(asked, &line, 1), "read");
			if (!thread) {
				thread = thread_of(vb3, name);
				must(ptrace(PTRACE_SEIZE, thread, 0, 0), "PTRACE_SEIZE");
				must(ptrace(PTRACE_INTERRUPT, thread, 0, 0), "PTRACE_INTERRUPT");
				must(waitpid(thread, &status, __WALL), "wait for the thread");
			} else {
				must(ptrace(PTRACE_DETACH, thread, 0, 0), "PTRACE_DETACH");
				thread = 0;
			}
			must(write(answer, &line, 1), "write");
		}
		if (must(waitpid(vb3, &status, WNOHANG), "wait") == vb3)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
	}
}

static int stream(const char *node, int flags)
{
	int fd = must(open(node, O_RDWR | flags), node);
	unsigned type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
	struct v4l2_requestbuffers request = { .count = BUFFERS, .type = type, .memory = V4L2_MEMORY_MMAP };
	must(ioctl(fd, VIDIOC_REQBUFS, &request), "REQBUFS");
	for (unsigned i = 0; i < request.count; i++) {
		struct v4l2_buffer b = { .index = i, .type = type, .memory = V4L2_MEMORY_MMAP };
		must(ioctl(fd, VIDIOC_QBUF, &b), "QBUF");
	}
	must(ioctl(fd, VIDIOC_STREAMON, &type), "STREAMON");
	return fd;
}

static int take(int fd)
{
	struct v4l2_buffer b = { .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP };
	if (ioctl(fd, VIDIOC_DQBUF, &b) < 0)
		return -1;
	return must(ioctl(fd, VIDIOC_QBUF, &b), "QBUF");
}

// Takes the next frame as soon as it comes.
static void await(int fd)
{
	struct pollfd entry = { .fd = fd, .events = POLLIN };
	if (must(poll(&entry, 1, 60000), "poll") != 1) {
		fprintf(stderr, "hold: no frame within a minute\n");
		exit(1);
	}
	must(take(fd), "DQBUF");
}

static void ask(void)
{
	int asked = must(open("hold", O_WRONLY), "hold"), answer = must(open("held", O_RDONLY), "held");
	char line = '\n';
	must(write(asked, &line, 1), "write");
	must(read(answer, &line, 1), "read");
	close(asked);
	close(answer);
}

static int inside(const char *scaled, const char *sibling)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int held = stream(scaled, O_NONBLOCK), other = stream(sibling, 0);
	// The thread exists from the first frame on.
	await(held);
	ask();
	int frames = 0;
	for (int round = 0; round < 2; round++) {
		while (!take(held)) // was scaled before
			;
		for (int i = 0; i < FRAMES; i++, frames++)
			must(take(other), "DQBUF");
	}
	struct v4l2_capability cap;
	must(ioctl(held, VIDIOC_QUERYCAP, &cap), "QUERYCAP");
	int waits = take(held) < 0 && errno == EAGAIN;
	printf("frames beside %d, the scaled one %s\n", frames, waits ? "waits" : "came");
	fflush(stdout);
	ask();
	await(held);
	puts("it came");
	return !waits;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "scaled"))
		return inside(argv[2], argv[3]);
	return argc > 3 ? outside(argv[1], argv + 2) : 2;
}
