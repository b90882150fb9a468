/* For test programs: conditions that must hold, or the program ends with status 1. */
#pragma once
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(what) \
	do { \
		if (!(what)) { \
			fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #what, errno); \
			exit(1); \
		} \
	} while (0)

/* The call fails with this errno. */
#define FAILS(call, with) CHECK((errno = 0, (long)(call) == -1) && errno == (with))
