/* SPDX-License-Identifier: MIT */
/*
 * tsan_glib.c - under ThreadSanitizer (make tsan), GLib's locks made known to it
 *
 * The sanitizer sees pthread's locks and what it compiled; GLib's are futexes in a library that it did not compile, so
 * that everything they protect would be called a race. These definitions come before the library's, call them, and say
 * what they order.
 */
#ifdef __SANITIZE_THREAD__
#include <dlfcn.h>
#include <glib.h>

void __tsan_acquire(void *at);
void __tsan_release(void *at);

#define LIBRARY(function)                                             \
	static __typeof__(&function) library;                         \
	if (!library)                                                 \
	library = (__typeof__(&function))dlsym(RTLD_NEXT, #function)

void g_mutex_lock(GMutex *m)
{
	LIBRARY(g_mutex_lock);
	library(m);
	__tsan_acquire(m);
}

gboolean g_mutex_trylock(GMutex *m)
{
	LIBRARY(g_mutex_trylock);
	gboolean ok = library(m);

	if (ok)
		__tsan_acquire(m);
	return ok;
}

void g_mutex_unlock(GMutex *m)
{
	LIBRARY(g_mutex_unlock);
	__tsan_release(m);
	library(m);
}

void g_cond_wait(GCond *c, GMutex *m)
{
	LIBRARY(g_cond_wait);
	__tsan_release(m);
	library(c, m);
	__tsan_acquire(m);
}

gboolean g_cond_wait_until(GCond *c, GMutex *m, gint64 end)
{
	LIBRARY(g_cond_wait_until);
	__tsan_release(m);
	gboolean ok = library(c, m, end);

	__tsan_acquire(m);
	return ok;
}
#endif
