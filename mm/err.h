/* SPDX-License-Identifier: MIT */
/*
 * err.h - an error code that remembers where it was born
 *
 * The core returns 0 or a negative errno. `return ERR(-ENOMEM);` is plain -ENOMEM, but with OVERBOOK_TRACE_ERRORS set
 * in the environment the line where it arose is printed, so a bare number can be followed to its source.
 */
#ifndef OVERBOOK_MM_ERR_H
#define OVERBOOK_MM_ERR_H

#include <errno.h>

int err_trace(int err, const char *file, int line);

#ifdef __clang_analyzer__ /* which otherwise considers that an error may turn into 0 on the way */
#define ERR(code) (code)
#else
#define ERR(code) err_trace((code), __FILE__, __LINE__)
#endif

#endif
