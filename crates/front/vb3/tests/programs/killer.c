// Starts a program and kills it with SIGKILL at a random moment, again and again:
// killer TIMES[:MS] SEED PROGRAM ARGUMENTS…; within the first 12 milliseconds, or MS.
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t state;

static uint64_t random_number(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	char *rest;
	int times = (int)strtol(argv[1], &rest, 10), killed = 0;
	uint64_t within = (*rest == ':' ? strtoull(rest + 1, NULL, 10) : 12) * 1000000;
	if (within == 0 || within > 999999999)
		return 2;
	state = strtoull(argv[2], NULL, 0) * 2654435761u + 88172645463325252u;
	for (int i = 0; i < times; i++) {
		pid_t child = fork();
		if (child < 0)
			return 1;
		if (child == 0) {
			execvp(argv[3], argv + 3);
			_exit(127);
		}
		// The moment is what is tested: from before the first call to well into streaming.
		struct timespec moment = { 0, (long)(random_number() % within) };
		nanosleep(&moment, NULL);
		kill(child, SIGKILL);
		int status;
		if (waitpid(child, &status, 0) != child)
			return 1;
		if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
			killed++;
		else {
			fprintf(stderr, "killer: run %d ended by itself, status %#x\n", i, status);
			return 1;
		}
	}
	printf("killed %d\n", killed);
	return 0;
}
