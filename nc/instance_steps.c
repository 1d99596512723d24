/* What is done for an instance, one idempotent step after the other. A step looks at the record and
 * at the guest, does the next thing, and writes what came of it; whatever dies in between, the next
 * look finds the same work to do, or finds it done. The evidence for "a guest was started for this
 * generation" is libvirt's own: the domain carries the generation. */
#include <stdio.h>
#include <string.h>
#include "export.h"
#include "nc.h"

#define START_TIMEOUT_MS 120000
#define CALL_TIMEOUT_MS 40000
#define STEP_RETRY_MS 1000
#define SOURCE_RETRY_MS 2000

/* -- words -- */

static int
say(struct nc_step *s, const char *step, bool needs_sources, struct err *e)
{
	return instance_set_step(
	    s->nc->store, s->i->instance_id, s->i->generation, step, needs_sources, e);
}

static int
news(struct nc_step *s, enum instance_event event, const char *code, const char *message,
    struct err *e)
{
	const struct instance_news n = { .instance_id = s->i->instance_id,
		.generation = s->i->generation,
		.event = event,
		.reason_code = code,
		.reason_message = message };
	int r = instance_event(s->nc->store, &n, e);

	if (r == 0)
		log_info(s->nc->log, "instance.event",
		    "instance=%s generation=%llu event=%s reason=\"%s\"", s->i->instance_id,
		    (unsigned long long)s->i->generation, instance_event_to_string(event),
		    message ? message : "");
	return r;
}

static int
wait(struct nc_step *s, uint32_t retry_ms)
{
	s->retry_ms = retry_ms;
	return 1;
}

/* -- what became of the guest -- */

static bool
is_alive(uint32_t state)
{
	return state == GUEST_RUNNING || state == GUEST_PAUSED || state == GUEST_PAUSED_IO_ERROR ||
	       state == GUEST_PREPARED;
}

static int
look(struct nc_step *s, struct helper_guest *ret, struct err *e)
{
	_cleanup_helper_reply_ struct helper_reply guests = { 0 };
	int r = nc_guests_list(s->nc, &guests, e);

	if (r == 0)
		*ret = nc_guest_find(&guests, s->i->instance_id);
	return r;
}

static int
guest_off(struct nc_step *s, struct err *e)
{
	bool terminates = strcmp(s->i->spec->shutdown_behavior, "terminate") == 0;

	return news(s, terminates ? EVENT_OFF_TERMINATE : EVENT_OFF,
	    "Client.InstanceInitiatedShutdown",
	    "Client.InstanceInitiatedShutdown: Instance initiated shutdown", e);
}

static int
guest_ended(struct nc_step *s, const struct helper_guest *g, struct err *e)
{
	const char *message;

	if (g->state == GUEST_SHUT_DOWN)
		return guest_off(s, e);
	message = g->state == GUEST_CRASHED ? "Server.InternalError: the guest crashed"
		  : g->state == GUEST_DESTROYED
		      ? "Server.InternalError: the guest was ended on its node by hand"
		      : "Server.InternalError: the guest disappeared from its node";
	return news(s, EVENT_CRASHED, "Server.InternalError", message, e);
}

/* -- start -- */

static int
start_failed(struct nc_step *s, const char *code, struct err *error, struct err *e)
{
	const char *message = arena_printf(s->arena, "%s: %s", code, error->text);

	err_clear(e);
	return news(s, EVENT_START_FAILED, code, message, e);
}

/* 1: it is there; 0: the step is over with *ret_r. */
static bool
have_file(
    struct nc_step *s, const struct image_file *image, const char *what, int *ret_r, struct err *e)
{
	unsigned percent = 0;
	struct err why = { 0 };
	int r = image_cache_want(s->nc->cache, image, &percent, &why);

	if (r == 1)
		return true;
	if (r == 0) {
		*ret_r = say(s,
		    arena_printf(
			s->arena, "downloading %s '%s' (%u%%)", what, image->image_id, percent),
		    false, e);
		if (*ret_r == 0)
			*ret_r = wait(s, STEP_RETRY_MS);
		return false;
	}
	switch (r) {
	case ERR_CORRUPT:
		err_wrap(&why, "%s '%s' is damaged", what, image->image_id);
		*ret_r = start_failed(s, "Server.InvalidImage", &why, e);
		break;
	case ERR_INVALID:
		err_wrap(&why, "%s '%s' cannot be used", what, image->image_id);
		*ret_r = start_failed(s, "Server.InvalidImage", &why, e);
		break;
	case ERR_NOT_FOUND:
		err_wrap(&why, "%s '%s' is missing", what, image->image_id);
		*ret_r = start_failed(s, "Server.InvalidImage", &why, e);
		break;
	case ERR_NO_SPACE:
		err_wrap(&why, "%s '%s'", what, image->image_id);
		*ret_r = start_failed(s, "Server.InsufficientInstanceCapacity", &why, e);
		break;
	case ERR_REQUEST_EXPIRED:
		*ret_r = say(s,
		    arena_printf(
			s->arena, "waiting for a fresh address of %s '%s'", what, image->image_id),
		    true, e);
		if (*ret_r == 0)
			*ret_r = wait(s, SOURCE_RETRY_MS);
		break;
	default:
		*ret_r = say(s,
		    arena_printf(
			s->arena, "downloading %s '%s' again: %s", what, image->image_id, why.text),
		    false, e);
		if (*ret_r == 0)
			*ret_r = wait(s, SOURCE_RETRY_MS);
		break;
	}
	return false;
}

static bool
have_files(struct nc_step *s, int *ret_r, struct err *e)
{
	const struct instance_spec *spec = s->i->spec;
	unsigned percent;

	/* All of them begin at once; what they say is asked below. */
	(void)image_cache_want(s->nc->cache, spec->image, &percent, NULL);
	if (spec->kernel)
		(void)image_cache_want(s->nc->cache, spec->kernel, &percent, NULL);
	if (spec->ramdisk)
		(void)image_cache_want(s->nc->cache, spec->ramdisk, &percent, NULL);
	return have_file(s, spec->image, "image", ret_r, e) &&
	       (!spec->kernel || have_file(s, spec->kernel, "kernel", ret_r, e)) &&
	       (!spec->ramdisk || have_file(s, spec->ramdisk, "ramdisk", ret_r, e));
}

static void
fill_file(struct helper_file *out, const struct image_file *in)
{
	size_t n;

	if (!in)
		return;
	(void)hex_decode(
	    str_of(in->digest), out->digest, sizeof(out->digest), &n); /* was checked */
	out->format = strcmp(in->format, "qcow2") == 0 ? HELPER_FORMAT_QCOW2 : HELPER_FORMAT_RAW;
}

static int
fill_spec(struct nc_step *s, struct helper_guest_spec *out, struct err *e)
{
	const struct instance_spec *in = s->i->spec;
	const char *arguments = in->kernel_arguments && in->kernel_arguments[0]
				    ? in->kernel_arguments
				    : "root=/dev/vda console=ttyS0";

	if (strlen(arguments) >= sizeof(out->kernel_arguments))
		return err_set(e, ERR_INVALID,
		    "the kernel's arguments are longer than %zu characters",
		    sizeof(out->kernel_arguments) - 1);
	memcpy(out->instance_id, in->instance_id,
	    strnlen(in->instance_id, sizeof(out->instance_id) - 1));
	out->vcpus = in->vcpus;
	out->generation = s->i->generation;
	out->memory_mib = in->memory_mib;
	out->has_ephemeral = in->ephemeral_gib > 0;
	fill_file(&out->base, in->image);
	fill_file(&out->kernel, in->kernel);
	fill_file(&out->ramdisk, in->ramdisk);
	if (in->kernel)
		strcpy(out->kernel_arguments, arguments);
	return nc_network_nics(s->nc, in, s->arena, out->nics, &out->nic_count, e);
}

/* The helper's (or qemu-img's) failures that another try may cure. */
static bool
is_passing(int r)
{
	return r == ERR_UNAVAILABLE || r == ERR_TIMEOUT || r == ERR_CANCELLED ||
	       r == ERR_CONFLICT || r == ERR_STALE || r == ERR_INCORRECT_INSTANCE_STATE;
}

/* Idempotent: a guest of this generation that runs is only plugged in and served. */
static int
run_guest(struct nc_step *s, bool *ret_started, struct err *e)
{
	_cleanup_helper_reply_ struct helper_reply reply = { 0 };
	struct helper_guest_spec spec = { 0 };
	const struct helper_guest_started *started;
	int r;

	r = fill_spec(s, &spec, e);
	if (r == 0)
		r = helper_call(s->nc->helper, HELPER_GUEST_START, &spec, sizeof(spec),
		    START_TIMEOUT_MS, &reply, e);
	if (r < 0)
		return r;
	started = reply.payload;
	*ret_started = !started->was_running;
	r = nc_network_serve(s->nc, s->i->spec, spec.nics, started->ifindex, spec.nic_count, e);
	if (r == 0)
		s->is_adopted = true;
	return r;
}

static int
record_start(struct nc_step *s, bool has_started, struct err *e)
{
	const struct instance_news n = { .instance_id = s->i->instance_id,
		.generation = s->i->generation,
		.event = EVENT_STARTED,
		.has_started = has_started,
		.host_boot = s->nc->host_boot };
	int r = instance_event(s->nc->store, &n, e);

	if (r == 0)
		log_info(s->nc->log, "instance.started", "instance=%s generation=%llu new=%d",
		    s->i->instance_id, (unsigned long long)s->i->generation, has_started);
	return r;
}

static int
network_ready(struct nc_step *s, struct err *e)
{
	struct err why = { 0 };
	int r = nc_network_is_ready(s->nc, s->i->spec, s->arena, &why);

	if (r == 0)
		return 0;
	if (r != ERR_NOT_FOUND && r != ERR_UNAVAILABLE) {
		*e = why;
		return r;
	}
	r = say(s,
	    r == ERR_NOT_FOUND ? "waiting for the zone to describe the network"
			       : "preparing the network",
	    false, e);
	return r < 0 ? r : wait(s, STEP_RETRY_MS);
}

static int
step_start(struct nc_step *s, struct err *e)
{
	struct helper_guest g = { 0 };
	bool has_started = false;
	int r;

	nc_export_clear(s->nc, s->i->instance_id); /* the disk changes from now on */
	r = look(s, &g, e);
	if (r < 0)
		return r;
	if (g.generation == s->i->generation &&
	    (g.state == GUEST_SHUT_DOWN || g.state == GUEST_CRASHED || g.state == GUEST_DESTROYED))
		return guest_ended(s, &g, e);
	r = network_ready(s, e);
	if (r != 0)
		return r;
	if (!have_files(s, &r, e))
		return r;
	r = say(s, "preparing disks", false, e);
	if (r == 0)
		r = nc_disks_prepare(s->nc, s->i, e);
	if (r == ERR_CORRUPT || r == ERR_INVALID) {
		struct err why = *e;

		return start_failed(s, "Server.InvalidImage", &why, e);
	}
	if (r == 0)
		r = say(s, "starting guest", false, e);
	if (r == 0)
		r = run_guest(s, &has_started, e);
	if (r < 0 && !is_passing(r)) {
		struct err why = *e;

		return start_failed(s,
		    r == ERR_NO_SPACE ? "Server.InsufficientInstanceCapacity"
				      : "Server.InternalError",
		    &why, e);
	}
	return r < 0 ? r : record_start(s, has_started, e);
}

/* -- running -- */

static int
adopt(struct nc_step *s, struct err *e)
{
	struct helper_nic nics[HELPER_NICS_MAX];
	uint32_t ifindex[HELPER_NICS_MAX], count = 0;
	int r;

	r = network_ready(s, e);
	if (r != 0)
		return r;
	r = nc_network_nics(s->nc, s->i->spec, s->arena, nics, &count, e);
	for (uint32_t i = 0; r == 0 && i < count; i++) {
		_cleanup_helper_reply_ struct helper_reply reply = { 0 };

		r = helper_call(s->nc->helper, HELPER_NIC_PLUG, &nics[i], sizeof(nics[i]),
		    CALL_TIMEOUT_MS, &reply, e);
		if (r == 0)
			ifindex[i] = ((const struct helper_nic_plugged *)reply.payload)->ifindex;
	}
	if (r == 0)
		r = nc_network_serve(s->nc, s->i->spec, nics, ifindex, count, e);
	if (r < 0)
		return r;
	s->is_adopted = true;
	log_info(s->nc->log, "instance.adopted", "instance=%s generation=%llu", s->i->instance_id,
	    (unsigned long long)s->i->generation);
	return say(s, NULL, s->i->needs_sources, e);
}

static int
reboot(struct nc_step *s, struct err *e)
{
	struct helper_guest_reboot request = { .grace_ms = s->nc->conf->reboot_grace_ms };
	uint32_t serial = s->i->spec->reboot_serial;
	int r;

	memcpy(request.instance_id, s->i->instance_id,
	    strnlen(s->i->instance_id, sizeof(request.instance_id) - 1));
	r = say(s, "rebooting", false, e);
	if (r == 0)
		r = helper_call(s->nc->helper, HELPER_GUEST_REBOOT, &request, sizeof(request),
		    request.grace_ms + 2 * CALL_TIMEOUT_MS, NULL, e);
	if (r < 0)
		return r;
	return instance_set_rebooted(s->nc->store, s->i->instance_id, s->i->generation, serial, e);
}

static int
resume_from_io_error(struct nc_step *s, struct err *e)
{
	struct helper_guest_ref ref = { 0 };
	int r = say(s, "paused: a disk of the guest had an I/O error", false, e);

	memcpy(ref.instance_id, s->i->instance_id,
	    strnlen(s->i->instance_id, sizeof(ref.instance_id) - 1));
	if (r == 0)
		r = helper_call(s->nc->helper, HELPER_GUEST_RESUME, &ref, sizeof(ref),
		    CALL_TIMEOUT_MS, NULL, e);
	return r < 0 ? r : wait(s, SOURCE_RETRY_MS);
}

static int
step_run(struct nc_step *s, struct err *e)
{
	struct helper_guest g = { 0 };
	bool ignored;
	int r;

	r = look(s, &g, e);
	if (r < 0)
		return r;
	if (g.generation != s->i->generation)
		g.state = GUEST_ABSENT;
	if (!is_alive(g.state)) {
		bool host_restarted = !strings_equal(s->i->host_boot, s->nc->host_boot);

		if (host_restarted && (g.state == GUEST_ABSENT || g.state == GUEST_DEFINED))
			return news(s, EVENT_LOST, NULL, NULL, e);
		return guest_ended(s, &g, e);
	}
	if (g.state == GUEST_PREPARED)
		return run_guest(s, &ignored, e);
	if (!s->is_adopted)
		return adopt(s, e);
	if (g.state == GUEST_PAUSED_IO_ERROR)
		return resume_from_io_error(s, e);
	if (s->i->spec->reboot_serial > s->i->reboot_done)
		return reboot(s, e);
	if (s->i->step) {
		r = say(s, NULL, false, e);
		if (r < 0)
			return r;
	}
	return wait(s, NC_SETTLED);
}

/* -- the end -- */

static int
release(struct nc_step *s, bool force, uint32_t grace_ms, struct err *e)
{
	struct helper_guest_stop request = { .force = force, .grace_ms = grace_ms };
	int r;

	memcpy(request.instance_id, s->i->instance_id,
	    strnlen(s->i->instance_id, sizeof(request.instance_id) - 1));
	r = nc_network_nics(s->nc, s->i->spec, s->arena, request.nics, &request.nic_count, e);
	if (r == ERR_NOT_FOUND) { /* a VPC that was never described: nothing was plugged in */
		err_clear(e);
		request.nic_count = 0;
		r = 0;
	}
	if (r == 0)
		r = helper_call(s->nc->helper, HELPER_GUEST_STOP, &request, sizeof(request),
		    grace_ms + 2 * CALL_TIMEOUT_MS, NULL, e);
	if (r < 0)
		return r;
	nc_network_unserve(s->nc, request.nics, request.nic_count);
	s->is_adopted = false;
	return 0;
}

static int
step_stop(struct nc_step *s, struct err *e)
{
	int r = say(s, "shutting down the guest", false, e);

	if (r == 0)
		r = release(s, s->i->spec->force, s->nc->conf->stop_grace_ms, e);
	return r < 0 ? r : news(s, EVENT_RELEASED, NULL, NULL, e);
}

static void
forget_image(struct nc_step *s, const struct image_file *image)
{
	if (image && !nc_image_is_used(s->nc, image->digest))
		image_cache_forget(s->nc->cache, image->digest);
}

static int
step_terminate(struct nc_step *s, struct err *e)
{
	int r = say(s, "shutting down the guest", false, e);

	if (r == 0)
		r = release(s, s->i->spec->force, s->nc->conf->terminate_grace_ms, e);
	if (r == 0)
		r = nc_disks_remove(s->nc, s->i->instance_id, e);
	if (r == 0)
		r = nic_release(s->nc->store, s->i->instance_id, e);
	if (r == 0)
		r = news(s, EVENT_RELEASED, NULL, NULL, e);
	if (r < 0)
		return r;
	forget_image(s, s->i->spec->image);
	forget_image(s, s->i->spec->kernel);
	forget_image(s, s->i->spec->ramdisk);
	return 0;
}

static int
step_failed(struct nc_step *s, struct err *e)
{
	int r;

	if (!s->is_released) {
		r = release(s, true, 0, e);
		if (r < 0)
			return r;
		s->is_released = true;
	}
	return wait(s, NC_SETTLED);
}

static int
step_stopped(struct nc_step *s, struct err *e)
{
	if (nc_export_is_due(s->i))
		return nc_export_step(s, e);
	if (!s->is_clear) {
		nc_export_clear(s->nc, s->i->instance_id);
		s->is_clear = true;
	}
	return wait(s, NC_SETTLED);
}

int
nc_instance_step(struct nc_step *s, struct err *e)
{
	switch (s->i->state) {
	case INSTANCE_PENDING:
		return step_start(s, e);
	case INSTANCE_RUNNING:
		return step_run(s, e);
	case INSTANCE_STOPPING:
		return step_stop(s, e);
	case INSTANCE_SHUTTING_DOWN:
		return step_terminate(s, e);
	case INSTANCE_FAILED:
		return step_failed(s, e);
	case INSTANCE_STOPPED:
		return step_stopped(s, e);
	case INSTANCE_TERMINATED:
	case INSTANCE_STATE_MAX:
		break;
	}
	return wait(s, NC_SETTLED);
}
