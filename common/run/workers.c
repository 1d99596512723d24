/* A fixed number of threads and a bounded queue between them and whoever has blocking work. A full
 * queue refuses at once, so that overload shows as 503s and not as memory and latency. */
#include "run/workers.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>

#include "run/lock.h"

struct job {
	void (*fn)(void *arg);
	void *arg;
};

struct workers {
	struct lock lock;
	pthread_cond_t wake;
	struct job *queue; /* a ring; under lock, like what follows */
	unsigned first, queued, queue_max;
	bool stopping;
	unsigned thread_count;
	pthread_t threads[];
};

static bool
take_job(struct workers *w, struct job *ret_job)
{
	LOCK_SCOPE(&w->lock);
	while (w->queued == 0 && !w->stopping)
		(void)lock_wait(&w->lock, &w->wake, -1);
	if (w->queued == 0)
		return false;
	*ret_job = w->queue[w->first];
	w->first = (w->first + 1) % w->queue_max;
	w->queued--;
	return true;
}

static void *
worker_main(void *arg)
{
	struct workers *w = arg;
	struct job job;

	while (take_job(w, &job))
		job.fn(job.arg);
	return NULL;
}

/* With all signals blocked: they are the main thread's. */
static int
start_thread(struct workers *w)
{
	char name[16];
	sigset_t all, before;
	int r;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&w->threads[w->thread_count], NULL, worker_main, w);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r != 0)
		return r;
	(void)snprintf(name, sizeof(name), "worker-%u", w->thread_count);
	(void)pthread_setname_np(w->threads[w->thread_count], name);
	w->thread_count++;
	return 0;
}

int
workers_new(unsigned threads, unsigned queue_max, struct workers **ret_workers, struct err *e)
{
	_cleanup_(workers_freep) struct workers *w = NULL;

	if (threads == 0 || queue_max == 0)
		return err_set(e, ERR_INVALID, "a pool needs at least one thread and one place");
	w = xcalloc(1, sizeof(*w) + threads * sizeof(*w->threads));
	lock_init(&w->lock, LOCK_WORKERS);
	(void)pthread_cond_init(&w->wake, NULL);
	w->queue_max = queue_max;
	w->queue = xcalloc(queue_max, sizeof(*w->queue));
	while (w->thread_count < threads) {
		int r = start_thread(w);

		if (r != 0)
			return err_set_errno(
			    e, r, "cannot start worker thread %u", w->thread_count);
	}
	*ret_workers = TAKE(w);
	return 0;
}

void
workers_free(struct workers *w)
{
	if (!w)
		return;
	lock_take(&w->lock);
	w->stopping = true;
	(void)pthread_cond_broadcast(&w->wake);
	lock_release(&w->lock);
	for (unsigned i = 0; i < w->thread_count; i++)
		(void)pthread_join(w->threads[i], NULL);
	(void)pthread_cond_destroy(&w->wake);
	lock_done(&w->lock);
	free(w->queue);
	free(w);
}

int
workers_run(struct workers *w, void (*fn)(void *arg), void *arg, struct err *e)
{
	LOCK_SCOPE(&w->lock);
	if (w->queued == w->queue_max)
		return err_set(e, ERR_LIMIT, "all %u workers are busy and %u jobs wait",
		    w->thread_count, w->queued);
	w->queue[(w->first + w->queued) % w->queue_max] = (struct job){ fn, arg };
	w->queued++;
	(void)pthread_cond_signal(&w->wake);
	return 0;
}

unsigned
workers_queued(struct workers *w)
{
	LOCK_SCOPE(&w->lock);
	return w->queued;
}
