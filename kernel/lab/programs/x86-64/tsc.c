/*
 * Measures the rate of this processor's time stamp counter, in kHz. A guest whose instructions are
 * translated reads the host's counter. If the guest itself measured the rate, the result could be far
 * off on a busy host. So the guest gets this program's result.
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

/* One moment on both clocks. */
struct moment {
	uint64_t ticks;
	int64_t ns;
};

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

/* Returns the closest of several reads of both clocks, since an interruption may separate two reads. */
static struct moment look(void)
{
	struct moment best = { 0, 0 };
	uint64_t shortest = UINT64_MAX;

	for (int i = 0; i < 100; i++) {
		uint64_t before = __rdtsc();
		int64_t ns = now();
		uint64_t after = __rdtsc();

		if (after - before < shortest) {
			shortest = after - before;
			best.ticks = before + (after - before) / 2;
			best.ns = ns;
		}
	}
	return best;
}

int main(void)
{
	const struct timespec pause = { 0, 200000000 };
	struct moment first = look(), last;

	nanosleep(&pause, NULL);
	last = look();
	printf("%.0f\n", (double)(last.ticks - first.ticks) * 1e6 / (double)(last.ns - first.ns));
	return 0;
}
