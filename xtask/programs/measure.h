// Measurements shared by the clients of `cargo xtask bench`.
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void must(long result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "%s: %s\n", what, strerror(errno));
		exit(1);
	}
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static uint64_t median(uint64_t *times, unsigned count)
{
	qsort(times, count, sizeof(*times), by_value);
	return times[count / 2];
}

// CPU time of all threads of a process, in nanoseconds.
static uint64_t cpu_of(pid_t pid)
{
	char path[320];
	uint64_t sum = 0;
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	DIR *dir = opendir(path);
	if (!dir)
		return 0;
	for (struct dirent *entry; (entry = readdir(dir));) {
		unsigned long long ran = 0;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", pid, entry->d_name);
		FILE *file = fopen(path, "r");
		if (!file)
			continue;
		if (fscanf(file, "%llu", &ran) == 1)
			sum += ran;
		fclose(file);
	}
	closedir(dir);
	return sum;
}
