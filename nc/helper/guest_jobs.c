/* The guest verbs. A job is one request on its way through steps that alternate between the loop
 * (network, decisions) and tasks (libvirt); jobs that wait for the guest itself (a shutdown, a
 * reboot) sleep on events with a grace period, after which force is used.
 *
 *   start:  look -> [destroy what is of another generation] -> tap -> create paused -> plug ->
 * resume stop:   look -> press power -> (ended | grace -> destroy) -> undefine -> unplug reboot:
 * look -> ask -> (rebooted | grace -> reset)
 *
 * Each may be repeated at any point: what was done is seen by looking. At most one job per guest,
 * but for a forced stop, which takes the place of a job that only waits. */
#include <assert.h>
#include "helper/helper.h"
#include "run/fd.h"

enum wait { WAIT_NOT, WAIT_END, WAIT_REBOOT };

#define PRESS_AGAIN_MS 5000

struct guest_job {
	struct list link;
	struct helper *helper;
	unsigned references; /* the list's, and one per task */
	struct ticket ticket;
	char id[HELPER_INSTANCE_ID_SIZE];
	union {
		struct helper_guest_spec start;
		struct helper_guest_stop stop;
		struct helper_guest_reboot reboot;
		struct helper_guest_cpus cpus;
		struct helper_guest_screen screen;
	} in;
	struct helper_guest looked; /* by the last look */
	bool is_present;            /* start: paused or running already, of this generation */
	struct helper_guest_list *list;
	int screen; /* a descriptor; -1: none */
	enum wait waiting;
	bool has_ended, has_rebooted;     /* events since the job began */
	struct loop_timer *grace, *again; /* again: the power button is pressed once more */
	bool is_over;
};

static void
job_unref(void *arg)
{
	struct guest_job *job = arg;

	assert(job->references > 0);
	if (--job->references > 0)
		return;
	loop_timer_free(job->grace);
	loop_timer_free(job->again);
	fd_close(job->screen);
	free(job->list);
	free(job);
}

static void
task(struct guest_job *job, int (*work)(void *, struct err *),
    void (*done)(void *, int, const struct err *))
{
	const struct task t = { .work = work, .done = done, .release = job_unref, .arg = job };

	job->references++;
	helper_task(job->helper, &t);
}

/* The job's end, after its reply. */
static void
job_close(struct guest_job *job)
{
	job->is_over = true;
	if (job->grace)
		loop_timer_stop(job->grace);
	if (job->again)
		loop_timer_stop(job->again);
	list_remove(&job->link);
	job->helper->job_count--;
	job_unref(job);
}

/* Exactly one reply. */
static void
job_end(struct guest_job *job, const void *payload, size_t n, const struct err *e)
{
	if (job->is_over)
		return;
	if (e)
		helper_reply_error(job->helper, &job->ticket, e);
	else
		helper_reply(job->helper, &job->ticket, payload, n, NULL, 0);
	job_close(job);
}

/* For the end of a task: true when the job cannot go on. */
static bool
job_failed(struct guest_job *job, int r, const struct err *e)
{
	if (r < 0)
		job_end(job, NULL, 0, e);
	return r < 0 || job->is_over;
}

static bool
is_active(uint32_t state)
{
	return state == GUEST_PREPARED || state == GUEST_RUNNING || state == GUEST_PAUSED ||
	       state == GUEST_PAUSED_IO_ERROR;
}

static int
work_look(void *arg, struct err *e)
{
	struct guest_job *job = arg;
	struct hypervisor *h = job->helper->hypervisor;

	return h->ops->look(h, job->id, &job->looked, e);
}

/* -- start -- */

static int
work_start_look(void *arg, struct err *e)
{
	struct guest_job *job = arg;
	struct hypervisor *h = job->helper->hypervisor;
	const struct helper_guest *g = &job->looked;
	int r = work_look(job, e);

	if (r < 0)
		return r;
	if (g->state != GUEST_ABSENT && g->generation == job->in.start.generation) {
		if (is_active(g->state)) {
			job->is_present = true;
			return 0;
		}
		if (g->state != GUEST_DEFINED && g->state != GUEST_FAILED)
			return err_set(e, ERR_CONFLICT,
			    "generation %llu of the guest has run already: %s",
			    (unsigned long long)g->generation, helper_state_name(g->state));
	}
	return g->state == GUEST_ABSENT ? 0 : h->ops->destroy(h, job->id, e);
}

static int
work_create(void *arg, struct err *e)
{
	struct guest_job *job = arg;
	struct helper *helper = job->helper;
	struct hypervisor *h = helper->hypervisor;
	_cleanup_strbuf_ struct strbuf xml = STRBUF_INIT;
	struct domain_surroundings around = { .type = helper->health.hypervisor,
		.instances_dir = helper->conf->instances_dir,
		.cache_dir = helper->conf->cache_dir,
		.console_dir = helper->console_dir,
		.screen_dir = helper->screen_dir,
		.default_shares = helper_bounds(helper),
		.seclabel = helper->seclabel };
	bool is_direct = false;
	int r;

	r = guest_files_check(helper->conf, &job->in.start, &is_direct, e);
	if (r < 0)
		return r;
	around.disk_cache = is_direct ? "none" : "writeback";
	if (strcmp(around.type, "test") != 0)
		around.emulator = helper->conf->emulator;
	domain_xml_write(&job->in.start, &around, &xml);
	return h->ops->create_paused(h, job->id, strbuf_c(&xml), e);
}

static int
work_resume(void *arg, struct err *e)
{
	struct guest_job *job = arg;
	struct hypervisor *h = job->helper->hypervisor;

	return h->ops->resume(h, job->id, e);
}

/* A guest that could not be given its network never runs. */
static int
work_withdraw(void *arg, struct err *e)
{
	struct guest_job *job = arg;
	struct hypervisor *h = job->helper->hypervisor;
	int r = h->ops->destroy(h, job->id, e);

	return r < 0 ? r : h->ops->undefine(h, job->id, e);
}

static void
withdrawn(void *arg, int r, const struct err *e)
{
	struct guest_job *job = arg;

	if (r < 0)
		log_warn(job->helper->log, "guest.withdraw", "instance=%s error=\"%s\"", job->id,
		    e->text);
}

static void
start_reply(struct guest_job *job)
{
	struct helper_guest_started started = { 0 };

	started.was_running = job->is_present && job->looked.state != GUEST_PREPARED;
	for (uint32_t i = 0; i < job->in.start.nic_count; i++) {
		const struct helper_nic *nic = &job->in.start.nics[i];
		struct err e = { 0 };

		if (dataplane_nic_ifindex(job->helper->dataplane, nic->vni, nic->index,
			&started.ifindex[i], &e) < 0) {
			job_end(job, NULL, 0, &e);
			return;
		}
	}
	job_end(job, &started, sizeof(started), NULL);
}

static void
start_resumed(void *arg, int r, const struct err *e)
{
	struct guest_job *job = arg;

	if (job_failed(job, r, e))
		return;
	log_info(job->helper->log, "guest.started", "instance=%s generation=%llu", job->id,
	    (unsigned long long)job->in.start.generation);
	start_reply(job);
}

static void
start_plug(struct guest_job *job)
{
	for (uint32_t i = 0; i < job->in.start.nic_count; i++) {
		struct dataplane_nic nic;
		struct err e = { 0 };

		helper_nic_to_dataplane(&job->in.start.nics[i], &nic);
		if (dataplane_nic_plug(job->helper->dataplane, &nic, &e) < 0) {
			err_wrap(&e, "plugging the guest in");
			if (!job->is_present || job->looked.state == GUEST_PREPARED)
				task(job, work_withdraw, withdrawn);
			job_end(job, NULL, 0, &e);
			return;
		}
	}
	if (job->is_present && job->looked.state != GUEST_PREPARED)
		start_reply(job);
	else
		task(job, work_resume, start_resumed);
}

static void
start_created(void *arg, int r, const struct err *e)
{
	struct guest_job *job = arg;

	if (!job_failed(job, r, e))
		start_plug(job);
}

static void
start_looked(void *arg, int r, const struct err *error)
{
	struct guest_job *job = arg;
	struct err e = { 0 };

	if (job_failed(job, r, error))
		return;
	if (job->is_present) {
		start_plug(job);
		return;
	}
	r = console_prepare(job->helper, job->id, &e);
	for (uint32_t i = 0; r == 0 && i < job->in.start.nic_count; i++)
		r = dataplane_tap_create(job->helper->dataplane, job->in.start.nics[i].index, &e);
	if (r < 0)
		job_end(job, NULL, 0, &e);
	else
		task(job, work_create, start_created);
}

/* -- stop -- */

static int
work_stop_begin(void *arg, struct err *e)
{
	struct guest_job *job = arg;
	struct hypervisor *h = job->helper->hypervisor;
	int r = work_look(job, e);

	if (r < 0 || !is_active(job->looked.state))
		return r;
	/* A paused guest cannot hear the button. */
	if (job->in.stop.force || job->looked.state != GUEST_RUNNING)
		return h->ops->destroy(h, job->id, e);
	return h->ops->press_power(h, job->id, e);
}

static int
work_destroy(void *arg, struct err *e)
{
	struct guest_job *job = arg;
	struct hypervisor *h = job->helper->hypervisor;

	return h->ops->destroy(h, job->id, e);
}

static int
work_undefine(void *arg, struct err *e)
{
	struct guest_job *job = arg;
	struct hypervisor *h = job->helper->hypervisor;

	return h->ops->undefine(h, job->id, e);
}

static void
stop_undefined(void *arg, int r, const struct err *error)
{
	struct guest_job *job = arg;
	struct err e = { 0 };

	if (job_failed(job, r, error))
		return;
	screen_remove(job->helper, job->id);
	r = 0;
	for (uint32_t i = 0; r == 0 && i < job->in.stop.nic_count; i++) {
		struct dataplane_nic nic;

		helper_nic_to_dataplane(&job->in.stop.nics[i], &nic);
		r = dataplane_nic_unplug(job->helper->dataplane, &nic, &e);
	}
	if (r < 0) {
		job_end(job, NULL, 0, &e);
		return;
	}
	log_info(job->helper->log, "guest.stopped", "instance=%s", job->id);
	job_end(job, NULL, 0, NULL);
}

static void
stop_destroyed(void *arg, int r, const struct err *e)
{
	struct guest_job *job = arg;

	if (!job_failed(job, r, e))
		task(job, work_undefine, stop_undefined);
}

/* -- waiting -- */

static void grace_over(void *arg);

static void
wait_for(struct guest_job *job, enum wait what, uint32_t grace_ms)
{
	job->waiting = what;
	job->grace = loop_timer_new(job->helper->loop, grace_over, job);
	loop_timer_set(job->grace, grace_ms);
}

/* A guest that is still booting misses the button; it is pressed until the guest has ended or the
 * grace is over. That it could not be pressed is no failure yet: force follows. */
static int
work_press(void *arg, struct err *e)
{
	struct guest_job *job = arg;
	struct hypervisor *h = job->helper->hypervisor;

	return h->ops->press_power(h, job->id, e);
}

static void
pressed(void *arg, int r, const struct err *e)
{
	struct guest_job *job = arg;

	if (!job->is_over && job->waiting == WAIT_END)
		loop_timer_set(job->again, PRESS_AGAIN_MS);
}

static void
press_again(void *arg)
{
	struct guest_job *job = arg;

	if (!job->is_over && job->waiting == WAIT_END)
		task(job, work_press, pressed);
}

static void
stop_begun(void *arg, int r, const struct err *e)
{
	struct guest_job *job = arg;

	if (job_failed(job, r, e))
		return;
	if (job->has_ended || job->in.stop.force || job->looked.state != GUEST_RUNNING)
		task(job, work_undefine, stop_undefined);
	else {
		wait_for(job, WAIT_END, job->in.stop.grace_ms);
		job->again = loop_timer_new(job->helper->loop, press_again, job);
		loop_timer_set(job->again, PRESS_AGAIN_MS);
	}
}

/* -- reboot -- */

static int
work_reboot(void *arg, struct err *e)
{
	struct guest_job *job = arg;
	struct hypervisor *h = job->helper->hypervisor;
	int r = work_look(job, e);

	if (r < 0)
		return r;
	if (job->looked.state != GUEST_RUNNING)
		return err_set(e, ERR_CONFLICT, "cannot reboot a guest that is %s",
		    helper_state_name(job->looked.state));
	return h->ops->reboot(h, job->id, e);
}

static int
work_reset(void *arg, struct err *e)
{
	struct guest_job *job = arg;
	struct hypervisor *h = job->helper->hypervisor;

	return h->ops->reset(h, job->id, e);
}

static void
job_done(void *arg, int r, const struct err *e)
{
	struct guest_job *job = arg;

	if (!job_failed(job, r, e))
		job_end(job, NULL, 0, NULL);
}

static void
reboot_asked(void *arg, int r, const struct err *e)
{
	struct guest_job *job = arg;

	if (job_failed(job, r, e))
		return;
	if (job->has_rebooted)
		job_end(job, NULL, 0, NULL);
	else
		wait_for(job, WAIT_REBOOT, job->in.reboot.grace_ms);
}

static void
grace_over(void *arg)
{
	struct guest_job *job = arg;
	enum wait what = job->waiting;

	job->waiting = WAIT_NOT;
	log_info(job->helper->log, "guest.grace_over", "instance=%s verb=%s", job->id,
	    helper_verb_name(job->ticket.verb));
	if (what == WAIT_END)
		task(job, work_destroy, stop_destroyed);
	else
		task(job, work_reset, job_done);
}

void
guest_jobs_lifecycle(struct helper *h, const struct helper_guest *guest)
{
	struct guest_job *job, *following;

	if (is_active(guest->state))
		return;
	LIST_FOREACH (&h->jobs, job, following, link) {
		enum wait what = job->waiting;

		if (strcmp(job->id, guest->instance_id) != 0)
			continue;
		job->has_ended = true;
		if (what == WAIT_NOT)
			continue;
		job->waiting = WAIT_NOT;
		loop_timer_stop(job->grace);
		if (what == WAIT_END)
			task(job, work_undefine, stop_undefined);
		else {
			struct err e = { 0 };

			err_set(&e, ERR_CONFLICT, "the guest ended instead of rebooting");
			job_end(job, NULL, 0, &e);
		}
	}
}

void
guest_jobs_rebooted(struct helper *h, const char *instance_id)
{
	struct guest_job *job, *following;

	LIST_FOREACH (&h->jobs, job, following, link) {
		if (strcmp(job->id, instance_id) != 0)
			continue;
		job->has_rebooted = true;
		if (job->waiting == WAIT_REBOOT)
			job_end(job, NULL, 0, NULL);
	}
}

/* -- the short ones -- */

static int
work_io_resume(void *arg, struct err *e)
{
	struct guest_job *job = arg;
	struct hypervisor *h = job->helper->hypervisor;
	int r = work_look(job, e);

	if (r < 0)
		return r;
	if (job->looked.state != GUEST_PAUSED_IO_ERROR)
		return err_set(e, ERR_CONFLICT, "cannot resume a guest that is %s",
		    helper_state_name(job->looked.state));
	return h->ops->resume(h, job->id, e);
}

static int
work_set_cpus(void *arg, struct err *e)
{
	struct guest_job *job = arg;
	struct hypervisor *h = job->helper->hypervisor;
	int r = work_look(job, e);

	if (r < 0)
		return r;
	if (!is_active(job->looked.state))
		return err_set(e, ERR_CONFLICT, "cannot move a guest that is %s",
		    helper_state_name(job->looked.state));
	return h->ops->set_cpus(h, job->id, &job->in.cpus.cpus, e);
}

static int
work_screen(void *arg, struct err *e)
{
	struct guest_job *job = arg;
	struct hypervisor *h = job->helper->hypervisor;
	int r = work_look(job, e);

	if (r < 0)
		return r;
	if (job->looked.state != GUEST_RUNNING)
		return err_set(e, ERR_CONFLICT, "cannot take a picture of a guest that is %s",
		    helper_state_name(job->looked.state));
	return h->ops->screenshot(h, job->id, job->in.screen.wakes, &job->screen, e);
}

static void
screen_taken(void *arg, int r, const struct err *e)
{
	struct guest_job *job = arg;

	if (r == 0 && !job->is_over)
		helper_reply(job->helper, &job->ticket, NULL, 0, &job->screen, 1);
	if (!job_failed(job, r, e))
		job_close(job);
}

static int
work_forget(void *arg, struct err *e)
{
	struct guest_job *job = arg;
	struct hypervisor *h = job->helper->hypervisor;
	int r = work_look(job, e);

	if (r < 0)
		return r;
	if (is_active(job->looked.state))
		return err_set(e, ERR_CONFLICT, "cannot forget a guest that is %s",
		    helper_state_name(job->looked.state));
	return h->ops->undefine(h, job->id, e);
}

static void
forgotten(void *arg, int r, const struct err *e)
{
	struct guest_job *job = arg;

	if (job_failed(job, r, e))
		return;
	console_remove(job->helper, job->id);
	job_end(job, NULL, 0, NULL);
}

static int
work_list(void *arg, struct err *e)
{
	struct guest_job *job = arg;
	struct hypervisor *h = job->helper->hypervisor;
	size_t count = 0;
	int r;

	r = h->ops->list(h, job->list->guests, HELPER_GUESTS_MAX, &count, e);
	job->list->count = (uint32_t)count;
	return r;
}

static void
listed(void *arg, int r, const struct err *e)
{
	struct guest_job *job = arg;

	if (!job_failed(job, r, e))
		job_end(job, job->list,
		    sizeof(*job->list) + job->list->count * sizeof(struct helper_guest), NULL);
}

/* -- dispatch -- */

/* False when another job has the guest; a job that only waits gives way to a forced stop. */
static bool
make_way(struct helper *h, const char *id, bool by_force)
{
	struct guest_job *job, *following;
	struct err e = { 0 };

	LIST_FOREACH (&h->jobs, job, following, link) {
		if (strcmp(job->id, id) != 0)
			continue;
		if (!by_force || job->waiting == WAIT_NOT)
			return false;
		err_set(&e, ERR_CANCELLED, "the guest is stopped by force meanwhile");
		job_end(job, NULL, 0, &e);
	}
	return true;
}

static void
job_begin(struct guest_job *job)
{
	switch (job->ticket.verb) {
	case HELPER_GUEST_START:
		task(job, work_start_look, start_looked);
		break;
	case HELPER_GUEST_STOP:
		task(job, work_stop_begin, stop_begun);
		break;
	case HELPER_GUEST_REBOOT:
		task(job, work_reboot, reboot_asked);
		break;
	case HELPER_GUEST_RESUME:
		task(job, work_io_resume, job_done);
		break;
	case HELPER_GUEST_CPUS:
		task(job, work_set_cpus, job_done);
		break;
	case HELPER_GUEST_SCREEN:
		task(job, work_screen, screen_taken);
		break;
	case HELPER_GUEST_FORGET:
		task(job, work_forget, forgotten);
		break;
	default:
		assert(job->ticket.verb == HELPER_GUEST_LIST);
		job->list = xcalloc(
		    1, sizeof(*job->list) + HELPER_GUESTS_MAX * sizeof(struct helper_guest));
		task(job, work_list, listed);
		break;
	}
}

void
guest_verb(struct helper *h, const struct ticket *t, struct str payload)
{
	const struct helper_guest_stop *stop = (const void *)payload.p;
	const struct helper_guest_spec *start = (const void *)payload.p;
	bool has_id = t->verb != HELPER_GUEST_LIST;
	struct guest_job *job;
	struct err e = { 0 };
	int r = 0;

	/* Every guest verb but the list begins with the instance id. */
	if (has_id && !make_way(h, start->instance_id, t->verb == HELPER_GUEST_STOP && stop->force))
		r = err_set(
		    &e, ERR_CONFLICT, "another request for '%s' is under way", start->instance_id);
	else if (h->job_count >= HELPER_JOBS_MAX)
		r = err_set(&e, ERR_LIMIT, "%u requests are under way", h->job_count);
	else if (!h->hypervisor || !h->health.hypervisor[0])
		r = err_set(&e, ERR_UNAVAILABLE, "still finding out what this host can run");
	if (r < 0) {
		helper_reply_error(h, t, &e);
		return;
	}
	job = xcalloc(1, sizeof(*job));
	job->references = 1;
	job->screen = -1;
	job->helper = h;
	job->ticket = *t;
	if (has_id) {
		memcpy(job->id, start->instance_id, sizeof(job->id));
		assert(payload.n <= sizeof(job->in));
		memcpy(&job->in, payload.p, payload.n);
	}
	list_add_tail(&h->jobs, &job->link);
	h->job_count++;
	job_begin(job);
}

void
guest_jobs_free(struct helper *h)
{
	struct guest_job *job, *following;
	struct err e = { 0 };

	err_set(&e, ERR_CANCELLED, "the helper stops");
	LIST_FOREACH (&h->jobs, job, following, link)
		job_end(job, NULL, 0, &e);
}
