/* SPDX-License-Identifier: MIT */
/* err.c - where an error was born; see err.h */
#include "mm/err.h"

#include <stdio.h>
#include <stdlib.h>

int err_trace(int err, const char *file, int line)
{
	/* Errors are off the fast paths, so asking the environment each time is cheaper than keeping state. */
	if (err && getenv("OVERBOOK_TRACE_ERRORS"))
		fprintf(stderr, "%s:%d: error %d\n", file, line, err);
	return err;
}
