#pragma once
/* An epoll loop: descriptors, timers, work posted from other threads. Everything but loop_post,
 * loop_stop and loop_is_current is for the loop's own thread. Freeing a watch inside a callback is
 * safe, also of one that is ready in the same batch. */
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include "base/err.h"

struct loop;
struct loop_watch;
struct loop_timer;

int loop_new(struct loop **ret_loop, struct err *e);
void loop_free(struct loop *loop);
DEFINE_CLEANUP(struct loop *, loop_free)
void loop_run(struct loop *loop);  /* until loop_stop */
void loop_stop(struct loop *loop); /* any thread */
bool loop_is_current(const struct loop *loop);
uint64_t loop_turned_ms(const struct loop *loop); /* monotonic time of the last turn, any thread */

/* `events` as epoll's (EPOLLIN | EPOLLOUT | EPOLLET ...). The descriptor stays the caller's,
 * who frees the watch before closing it. */
struct loop_watch *loop_watch_new(struct loop *loop, int fd, uint32_t events,
    void (*fn)(void *arg, uint32_t events), void *arg);
void loop_watch_set(struct loop_watch *w, uint32_t events); /* 0: registered but silent, HUP too */
void loop_watch_free(struct loop_watch *w);
DEFINE_CLEANUP(struct loop_watch *, loop_watch_free)

struct loop_timer *loop_timer_new(struct loop *loop, void (*fn)(void *arg), void *arg);
void loop_timer_set(struct loop_timer *t, uint32_t after_ms); /* one shot; again to re-arm */
void loop_timer_stop(struct loop_timer *t);
void loop_timer_free(struct loop_timer *t);
DEFINE_CLEANUP(struct loop_timer *, loop_timer_free)

/* Any thread, in order, under any lock but a leaf. What is still queued when the loop ends is called
 * by loop_free, so that what `arg` owns is released. */
void loop_post(struct loop *loop, void (*fn)(void *arg), void *arg);
/* Calls fn(arg, signo) on the loop thread; blocks the signal in the process (signalfd). Call before
 * any thread is made. */
int loop_signal(struct loop *loop, int signo, void (*fn)(void *arg, int signo), void *arg,
    struct err *e);
