// `$VB3 ctl revoke ORDER...` revokes a camera's buffer. A program and its children access all their
// mappings of it. Prints one line each: SIGBUS or the value read. Arguments: camera, another camera,
// the order, and "filtered" for a program with its own seccomp filter.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/videodev2.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, TYPE = V4L2_BUF_TYPE_VIDEO_CAPTURE };

static int cameras[2];
static __thread sigjmp_buf back;
static __thread siginfo_t fault;

// Reports of children and threads.
struct told {
	// The thread that will wait next.
	volatile pid_t waits;
	volatile int go;
	char text[64];
};
static struct told *told;

static void on_fault(int signal, siginfo_t *info, void *context)
{
	(void)context;
	fault = *info;
	siglongjmp(back, signal);
}

// Reads a byte, or writes one and reads it.
static const char *touch(volatile unsigned char *at, int writes)
{
	static __thread char text[64];

	if (sigsetjmp(back, 1))
		snprintf(text, sizeof text, "%s%s", fault.si_signo == SIGBUS ? "SIGBUS" : "another signal",
			 fault.si_addr == at ? "" : " elsewhere");
	else {
		if (writes)
			*at = 7;
		snprintf(text, sizeof text, "%d", *at);
	}
	return text;
}

static const char *result(long result)
{
	return result < 0 ? strerrorname_np(errno) : "ok";
}

static int call(int camera, unsigned long request, int index, unsigned *at)
{
	struct v4l2_buffer buffer = { .index = index, .type = TYPE, .memory = V4L2_MEMORY_MMAP };
	int result = ioctl(camera, request, &buffer);
	if (at)
		*at = buffer.m.offset;
	return result;
}

// Waits until a thread sleeps in the call that follows its report.
static void until_it_waits(const struct told *who, pid_t pid)
{
	char path[64], text[512], *state;

	while (!who->waits)
		;
	snprintf(path, sizeof path, "/proc/%d/task/%d/stat", pid, who->waits);
	do {
		int file = open(path, O_RDONLY);
		ssize_t n = read(file, text, sizeof text - 1);
		close(file);
		text[n < 0 ? 0 : n] = 0;
		state = strrchr(text, ')');
	} while (!state || !strchr("DS", state[2]));
}

static void wait_for_a_frame(struct told *who, int camera, unsigned char *mapping)
{
	who->waits = gettid();
	int dequeued = call(camera, VIDIOC_DQBUF, 0, NULL);
	strcpy(who->text, dequeued ? result(dequeued) : touch(mapping, 0));
}

static void *be_a_thread(void *mapping)
{
	wait_for_a_frame(told, cameras[0], mapping);
	return NULL;
}

static void be_filtered(void)
{
	struct sock_filter allow = { .code = BPF_RET | BPF_K, .k = SECCOMP_RET_ALLOW };
	struct sock_fprog filter = { .len = 1, .filter = &allow };
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
}

static int is(const unsigned char *bytes, int value, int count)
{
	for (int i = 0; i < count; i++)
		if (bytes[i] != value)
			return 0;
	return 1;
}

int main(int argc, char **argv)
{
	struct v4l2_requestbuffers req = { .count = 3, .type = TYPE, .memory = V4L2_MEMORY_MMAP };
	struct v4l2_exportbuffer expbuf = { .type = TYPE, .index = 0, .flags = O_RDWR };
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	int both = PROT_READ | PROT_WRITE, type = TYPE;
	char number[64] = "", order[256];
	unsigned at[2];

	if (argc > 4)
		be_filtered();
	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	told = mmap(NULL, PAGE, both, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < 2; i++) {
		cameras[i] = open(argv[1 + i], O_RDWR);
		ioctl(cameras[i], VIDIOC_REQBUFS, &req);
		call(cameras[0], VIDIOC_QUERYBUF, i, at + i);
		ioctl(cameras[i], VIDIOC_STREAMON, &type);
	}
	ioctl(cameras[0], VIDIOC_EXPBUF, &expbuf);

	// The program's page, the buffer, another buffer, the program's page.
	unsigned char *all = mmap(NULL, 6 * PAGE, both, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned char *one = mmap(all + PAGE, 2 * PAGE, both, MAP_SHARED | MAP_FIXED, cameras[0], at[0]);
	unsigned char *other = mmap(one + 2 * PAGE, 2 * PAGE, both, MAP_SHARED | MAP_FIXED, cameras[0], at[1]);
	unsigned char *last = other + 2 * PAGE;
	unsigned char *exported = mmap(NULL, 2 * PAGE, both, MAP_SHARED, expbuf.fd, 0);
	unsigned char *part = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, expbuf.fd, PAGE);
	unsigned char *own = mmap(NULL, PAGE, both, MAP_PRIVATE, expbuf.fd, 0);
	memset(all, 0x11, PAGE);
	memset(one, 0x5a, 2 * PAGE);
	memset(other, 0x22, 6144);
	memset(last, 0x33, PAGE);
	printf("before: %s %s\n", touch(part, 0), touch(exported, 0));
	fflush(stdout);

	pid_t spins = fork();
	if (!spins) {
		told[1].waits = 1;
		while (!told[1].go)
			;
		strcpy(told[1].text, touch(exported, 0));
		_exit(0);
	}
	pid_t waits = fork();
	if (!waits) {
		wait_for_a_frame(told + 2, cameras[1], one);
		_exit(0);
	}
	pthread_t thread;
	pthread_create(&thread, NULL, be_a_thread, one);
	until_it_waits(told, getpid());
	until_it_waits(told + 2, waits);
	while (!told[1].waits)
		;

	FILE *list = popen("$VB3 ctl buffers", "r");
	for (char line[512]; list && fgets(line, sizeof line, list);)
		if (strstr(line, "/dev/video0 video-capture buffer 0 "))
			sscanf(line, "%63s", number);
	pclose(list);
	snprintf(order, sizeof order, "$VB3 ctl revoke %s %s", argv[3], number);
	printf("revoke: %d\n", WEXITSTATUS(system(order)));

	printf("device's mapping: %s\n", touch(one, 0));
	printf("its last byte: %s\n", touch(one + 2 * PAGE - 1, 0));
	printf("dma-buf's: %s\n", touch(exported, 0));
	printf("a part: %s\n", touch(part + 100, 0));
	if (own != MAP_FAILED)
		printf("a copy: %s\n", touch(own, 0));
	int pipes[2];
	pipe(pipes);
	printf("write: %s\n", result(write(pipes[1], one, 1)));
	printf("beside: %s\n", is(all, 0x11, PAGE) && is(other, 0x22, 6144) && is(last, 0x33, PAGE) ?
	       "untouched" : "changed");
	told[1].go = 1;
	waitpid(spins, NULL, 0);
	printf("child without a call: %s\n", told[1].text);
	for (int i = 0; i < 2; i++)
		call(cameras[i], VIDIOC_QBUF, 1, NULL);
	pthread_join(thread, NULL);
	printf("thread that waited: %s\n", told[0].text);
	waitpid(waits, NULL, 0);
	printf("child that waited: %s\n", told[2].text);

	printf("mmap: %s\n", result((long)mmap(NULL, PAGE, both, MAP_SHARED, expbuf.fd, 0)));
	printf("written: %s\n", touch(exported, 1));
	printf("mprotect: %s\n", result(mprotect(exported, PAGE, PROT_READ)));
	printf("munmap: %s\n", result(munmap(one, 2 * PAGE)));
	printf("beside: %s\n", is(all, 0x11, PAGE) && is(last, 0x33, PAGE) ? "untouched" : "changed");
	return 0;
}
