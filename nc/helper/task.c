/* Calls that may hang, each on a worker and under a deadline. When the deadline passes, the caller
 * is told ERR_TIMEOUT, the node counts as degraded and the task is an orphan: what its call brings
 * later is dropped, and its argument is released only then. Workers that hang are lost until their
 * call comes back; when all are lost, further tasks wait in the queue and fail by the same
 * deadline. */
#include "helper/helper.h"

#include <assert.h>

struct running_task {
	struct helper *helper;
	struct task task;
	struct loop_timer *timer;
	bool is_orphan;
	int result;
	struct err err;
};

static void
task_free(struct running_task *t)
{
	loop_timer_free(t->timer);
	if (t->task.release)
		t->task.release(t->task.arg);
	free(t);
}

static void
task_finished(void *arg)
{
	struct running_task *t = arg;
	struct helper *h = t->helper;

	if (t->is_orphan) {
		assert(h->stuck > 0);
		h->stuck--;
		log_info(h->log, "libvirt.returned", "stuck=%u", h->stuck);
	} else {
		loop_timer_stop(t->timer);
		t->task.done(t->task.arg, t->result, &t->err);
	}
	task_free(t);
}

static void
task_work(void *arg)
{
	struct running_task *t = arg;

	t->result = t->task.work(t->task.arg, &t->err);
	loop_post(t->helper->loop, task_finished, t);
}

static void
task_expired(void *arg)
{
	struct running_task *t = arg;
	struct helper *h = t->helper;
	struct err e = { 0 };

	t->is_orphan = true;
	h->stuck++;
	err_set(&e, ERR_TIMEOUT, "libvirt did not answer within %u s",
	    h->conf->libvirt_deadline_ms / 1000);
	helper_set_health(h, true, NULL, e.text);
	t->task.done(t->task.arg, ERR_TIMEOUT, &e);
}

void
helper_task(struct helper *h, const struct task *task)
{
	struct running_task *t = xcalloc(1, sizeof(*t));
	struct err e = { 0 };
	int r;

	t->helper = h;
	t->task = *task;
	t->timer = loop_timer_new(h->loop, task_expired, t);
	loop_timer_set(t->timer, h->conf->libvirt_deadline_ms);
	r = workers_run(h->workers, task_work, t, &e);
	if (r < 0) {
		err_wrap(&e, "libvirt is stuck");
		t->task.done(t->task.arg, r, &e);
		task_free(t);
	}
}
