// Large read()s of one file by several readers:
// reads together NODE BYTES COUNT   two threads, which read COUNT frames each
// reads killed NODE BYTES           a child, killed in the middle of a read(), and its parent
// reads fault NODE BYTES            into memory that ends within a frame
// reads vector NODE BYTES           readv() of two frames, then read()
// Each appends what it has read to frames.raw.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <linux/videodev2.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096 };

static int fd, out, count, told[2];
static size_t bytes;
static unsigned char *memory;
static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;

static long must(long result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "reads: %s: %s\n", what, strerror(errno));
		exit(1);
	}
	return result;
}

static unsigned char *map(size_t len)
{
	void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(at == MAP_FAILED ? -1 : 0, "mmap");
	return at;
}

static void expect(ssize_t got, size_t wanted, const char *what)
{
	must(got, what);
	if ((size_t)got != wanted) {
		fprintf(stderr, "reads: %s: %zd of %zu bytes\n", what, got, wanted);
		exit(1);
	}
}

static void keep(const unsigned char *frame, size_t len)
{
	pthread_mutex_lock(&one);
	for (size_t done = 0; done < len;)
		done += must(write(out, frame + done, len - done), "frames.raw");
	pthread_mutex_unlock(&one);
}

// A reader is refused (EBUSY) while the other waits for a frame, and retries at once. So some of its
// calls come while the other's frame is copied.
static void *read_frames(void *unused)
{
	(void)unused;
	unsigned char *frame = map(bytes);
	for (int i = 0; i < count;) {
		ssize_t got = read(fd, frame, bytes);
		if (got < 0 && errno == EBUSY) {
			sched_yield();
			continue;
		}
		expect(got, bytes, "read");
		keep(frame, bytes);
		i++;
	}
	return NULL;
}

static void together(void)
{
	pthread_t threads[2];
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, read_frames, NULL);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
}

// Fills the pages of the first half; reports a request for a later page, and leaves it.
static void *fill(void *faults)
{
	struct uffd_msg fault;
	while (read(*(int *)faults, &fault, sizeof fault) == sizeof fault) {
		uint64_t at = fault.arg.pagefault.address & ~(uint64_t)(PAGE - 1);
		if (at >= (uintptr_t)memory + bytes / 2)
			break;
		struct uffdio_zeropage zero = { .range = { .start = at, .len = PAGE } };
		ioctl(*(int *)faults, UFFDIO_ZEROPAGE, &zero);
	}
	must(write(told[1], "", 1), "write");
	pause();
	return NULL;
}

static void read_into_what_nobody_fills(void)
{
	int faults = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (faults < 0) {
		printf("skipped: userfaultfd: %s\n", strerror(errno));
		exit(77);
	}
	struct uffdio_api api = { .api = UFFD_API };
	must(ioctl(faults, UFFDIO_API, &api), "UFFDIO_API");
	memory = map((bytes + PAGE - 1) / PAGE * PAGE);
	struct uffdio_register range = {
		.range = { .start = (uintptr_t)memory, .len = (bytes + PAGE - 1) / PAGE * PAGE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	must(ioctl(faults, UFFDIO_REGISTER, &range), "UFFDIO_REGISTER");
	pthread_t handler;
	pthread_create(&handler, NULL, fill, &faults);
	must(read(fd, memory, bytes), "the child's read");
	fprintf(stderr, "reads: the child's read has ended\n");
	exit(1);
}

static void killed(void)
{
	must(pipe(told), "pipe");
	pid_t child = must(fork(), "fork");
	if (!child)
		read_into_what_nobody_fills();
	close(told[1]);
	char byte;
	if (read(told[0], &byte, 1) != 1) {
		int status;
		must(waitpid(child, &status, 0), "waitpid");
		exit(WIFEXITED(status) && WEXITSTATUS(status) == 77 ? 0 : 1);
	}
	must(kill(child, SIGKILL), "kill");
	must(waitpid(child, NULL, 0), "waitpid");
	unsigned char *frame = map(bytes);
	expect(read(fd, frame, bytes), bytes, "the parent's read");
	keep(frame, bytes);
}

// A kernel keeps its position in the frame.
static void fault(void)
{
	unsigned char *frame = map(bytes + PAGE);
	expect(read(fd, frame, 1000), 1000, "a short read");
	keep(frame, 1000);
	size_t half = bytes / 2 / PAGE * PAGE;
	unsigned char *less = map(bytes);
	must(mprotect(less + half, bytes - half, PROT_NONE), "mprotect");
	if (read(fd, less, bytes) >= 0 || errno != EFAULT) {
		fprintf(stderr, "reads: no EFAULT\n");
		exit(1);
	}
	expect(read(fd, frame, bytes), bytes - 1000, "the rest");
	keep(frame, bytes - 1000);
	expect(read(fd, frame, bytes), bytes, "the next frame");
	keep(frame, bytes);
}

// The second frame may come too late for readv(), which then returns the first.
static void vector(void)
{
	unsigned char *frames = map(2 * bytes);
	struct iovec parts[] = { { frames, bytes }, { frames + bytes, bytes } };
	size_t got = must(readv(fd, parts, 2), "readv");
	keep(frames, got);
	expect(read(fd, frames, bytes), bytes, "a read after readv");
	keep(frames, bytes);
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	fd = must(open(argv[2], O_RDWR), argv[2]);
	out = must(open("frames.raw", O_WRONLY | O_CREAT | O_APPEND, 0600), "frames.raw");
	bytes = strtoul(argv[3], NULL, 10);
	count = argc > 4 ? atoi(argv[4]) : 1;
	if (!strcmp(argv[1], "together"))
		together();
	else if (!strcmp(argv[1], "killed"))
		killed();
	else if (!strcmp(argv[1], "fault"))
		fault();
	else if (!strcmp(argv[1], "vector"))
		vector();
	else
		return 2;
	return 0;
}
