/* The root helper's core: the one user that may ask, dispatch, the hypervisor's events, the beat.
 *
 * A request was read whole (connections.c); it is checked by helper_payload_check, and only then
 * looked at. Network verbs run at once; guest verbs become jobs (guest_jobs.c). Either program may
 * be killed: nc connects again and asks what there is, the helper begins by looking at what libvirt
 * and the kernel hold. */
#include "helper/helper.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "helper/probe.h"
#include "run/fd.h"
#include "run/fs.h"

#define BEAT_MS 10000
#define BEAT_DEGRADED_MS 2000
#define HELPER_WORKERS 8
#define HELPER_TASKS_MAX 1024

/* -- requests -- */

static void
dispatch(struct helper *h, const struct ticket *t, struct str payload)
{
	struct err e = { 0 };

	if (helper_payload_check(t->verb, false, payload, &e) < 0 || t->verb >= HELPER_VERB_MAX) {
		helper_reply_error(h, t, &e);
		return;
	}
	switch (t->verb) {
	case HELPER_HELLO:
	case HELPER_PROBE:
		helper_reply(h, t, &h->health, sizeof(h->health), NULL, 0);
		break;
	case HELPER_NIC_PROBE:
		neighbour_verb(h, t, payload);
		break;
	case HELPER_CONSOLE:
		console_verb(h, t, payload);
		break;
	case HELPER_SLEEP:
		power_verb(h, t);
		break;
	case HELPER_GUEST_START:
	case HELPER_GUEST_STOP:
	case HELPER_GUEST_REBOOT:
	case HELPER_GUEST_RESUME:
	case HELPER_GUEST_CPUS:
	case HELPER_GUEST_SCREEN:
	case HELPER_GUEST_FORGET:
	case HELPER_GUEST_LIST:
		guest_verb(h, t, payload);
		break;
	default:
		net_verb(h, t, payload);
		break;
	}
}

static void
accept_ready(void *arg, uint32_t events)
{
	struct helper *h = arg;

	for (size_t i = 0; i < h->listener_count; i++) {
		_cleanup_close_ int fd =
		    accept4(h->listener_fds[i], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		struct ucred peer = { 0 };
		socklen_t n = sizeof(peer);

		if (fd < 0)
			continue;
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0 ||
		    peer.uid != h->client_uid) {
			log_warn(h->log, "helper.stranger", "uid=%u", peer.uid);
			continue;
		}
		if (h->connection_count >= HELPER_CONNECTIONS_MAX) {
			log_warn(h->log, "helper.crowded", "connections=%u", h->connection_count);
			continue;
		}
		log_info(h->log, "helper.connected", "connection=%llu pid=%d",
		    (unsigned long long)h->last_connection + 1, peer.pid);
		helper_connect(h, TAKE_FD(fd));
	}
}

/* -- events of the hypervisor: from its thread to the loop -- */

struct posted {
	struct helper *helper;
	struct helper_guest guest;
	bool is_reboot, is_link, is_up;
	char reason[200];
};

static void
posted_arrives(void *arg)
{
	_cleanup_free_ struct posted *p = arg;
	struct helper_lifecycle out = { p->guest };

	if (p->is_link) {
		/* The beat says that it is healthy: only then a list came back. */
		if (!p->is_up)
			helper_set_health(p->helper, true, NULL, p->reason);
		if (p->helper->beat)
			loop_timer_set(p->helper->beat, p->is_up ? 0 : BEAT_DEGRADED_MS);
	} else if (p->is_reboot) {
		log_info(p->helper->log, "guest.rebooted", "instance=%s", p->guest.instance_id);
		guest_jobs_rebooted(p->helper, p->guest.instance_id);
	} else {
		log_info(p->helper->log, "guest.event", "instance=%s state=\"%s\"",
		    p->guest.instance_id, helper_state_name(p->guest.state));
		guest_jobs_lifecycle(p->helper, &p->guest);
		helper_event(p->helper, HELPER_EVENT_LIFECYCLE, &out, sizeof(out));
	}
}

static void
post_lifecycle(void *arg, const struct helper_guest *guest)
{
	struct posted *p = xcalloc(1, sizeof(*p));

	p->helper = arg;
	p->guest = *guest;
	loop_post(p->helper->loop, posted_arrives, p);
}

static void
post_rebooted(void *arg, const char *instance_id)
{
	struct posted *p = xcalloc(1, sizeof(*p));

	p->helper = arg;
	p->is_reboot = true;
	helper_copy_printable(p->guest.instance_id, sizeof(p->guest.instance_id), instance_id);
	loop_post(p->helper->loop, posted_arrives, p);
}

static void
post_connected(void *arg, bool up, const char *reason)
{
	struct posted *p = xcalloc(1, sizeof(*p));

	p->helper = arg;
	p->is_link = true;
	p->is_up = up;
	helper_copy_printable(p->reason, sizeof(p->reason), reason);
	loop_post(p->helper->loop, posted_arrives, p);
}

/* -- the beat: is libvirt there, what can this host run -- */

struct beat {
	struct helper *helper;
	char hypervisor[16]; /* found by the probe; "" unless it ran */
	char why[160];
};

static int
beat_work(void *arg, struct err *e)
{
	struct beat *b = arg;
	struct helper *h = b->helper;
	struct helper_guest *one;
	struct err why = { 0 };
	size_t count;
	int r;

	if (b->hypervisor[0] == '?') {
		if (probe_kvm(h->conf->emulator, h->probe_dir, &why) == 0)
			strcpy(b->hypervisor, "kvm");
		else {
			strcpy(b->hypervisor, "qemu");
			helper_copy_printable(b->why, sizeof(b->why), why.text);
		}
	}
	one = xcalloc(HELPER_GUESTS_MAX, sizeof(*one));
	r = h->hypervisor->ops->list(h->hypervisor, one, HELPER_GUESTS_MAX, &count, e);
	free(one);
	return r;
}

/* In the background: who starts a guest meanwhile waits for the same thing inside libvirt. */
static int
warm_work(void *arg, struct err *e)
{
	struct helper *h = arg;

	int r = h->hypervisor->ops->warm(h->hypervisor, h->health.hypervisor, h->conf->emulator, e);

	if (r == 0)
		(void)helper_bounds(h);
	return r;
}

static void
warm_done(void *arg, int r, const struct err *e)
{
	struct helper *h = arg;

	if (r < 0)
		log_warn(h->log, "helper.warm", "error=\"%s\"", e->text);
	if (h->default_shares == 0) {
		snprintf(h->health.note, sizeof(h->health.note),
		    "libvirt has no cpu controller here: guests share processors unbounded");
		log_warn(h->log, "helper.unbounded", "reason=\"%s\"", h->health.note);
		helper_event(h, HELPER_EVENT_HEALTH, &h->health, sizeof(h->health));
	}
}

static void
beat_done(void *arg, int r, const struct err *e)
{
	struct beat *b = arg;
	struct helper *h = b->helper;
	const char *found = r != ERR_TIMEOUT && b->hypervisor[0] ? b->hypervisor : NULL;
	char why[sizeof(e->text) + 32] = "";

	if (found)
		log_info(h->log, "helper.probe", "hypervisor=%s why=\"%s\"", found, b->why);
	if (r < 0 && r != ERR_TIMEOUT)
		snprintf(why, sizeof(why), "libvirt does not work: %s", e->text);
	helper_set_health(h, r < 0, found, r == ERR_TIMEOUT ? e->text : why);
	if (r == 0 && !h->is_warm) {
		const struct task warm = { .work = warm_work, .done = warm_done, .arg = h };

		h->is_warm = true;
		helper_task(h, &warm);
	}
	if (h->beat)
		loop_timer_set(h->beat, r < 0 ? BEAT_DEGRADED_MS : BEAT_MS);
}

static void
beat_release(void *arg)
{
	struct beat *b = arg;

	b->helper->is_beating = false;
	free(b);
}

static void
beat(void *arg)
{
	struct helper *h = arg;
	struct task t = { .work = beat_work, .done = beat_done, .release = beat_release };
	struct beat *b;

	console_trim_all(h);
	if (h->is_beating || h->stuck > HELPER_WORKERS / 2) { /* one that hangs is enough */
		loop_timer_set(h->beat, BEAT_DEGRADED_MS);
		return;
	}
	h->is_beating = true;
	b = xcalloc(1, sizeof(*b));
	b->helper = h;
	if (!h->health.hypervisor[0])
		strcpy(b->hypervisor, "?");
	t.arg = b;
	helper_task(h, &t);
}

/* -- life -- */

static int
find_user(const char *name, uid_t *ret_uid, gid_t *ret_gid, struct err *e)
{
	struct passwd *p;

	errno = 0;
	p = getpwnam(name);
	if (!p)
		return err_set(e, ERR_NOT_FOUND, "there is no user '%s'", name);
	*ret_uid = p->pw_uid;
	*ret_gid = p->pw_gid;
	return 0;
}

static int
find_group(const char *name, gid_t *ret_gid, struct err *e)
{
	struct group *g = getgrnam(name);

	if (!g)
		return err_set(e, ERR_NOT_FOUND, "there is no group '%s'", name);
	*ret_gid = g->gr_gid;
	return 0;
}

static int
prepare_users(struct helper *h, gid_t *ret_socket_group, uid_t *ret_guest_uid, struct err *e)
{
	uid_t guest_uid = 0;
	gid_t guest_gid, ignored;
	int r;

	r = find_user(h->conf->client_user, &h->client_uid, ret_socket_group, e);
	if (r == 0 && h->conf->client_group[0])
		r = find_group(h->conf->client_group, ret_socket_group, e);
	if (r == 0)
		r = find_user(h->conf->guest_user, &guest_uid, &ignored, e);
	if (r == 0)
		r = find_group(h->conf->guest_group, &guest_gid, e);
	if (r == 0)
		h->seclabel = xasprintf("+%u:+%u", guest_uid, guest_gid);
	if (r == 0)
		*ret_guest_uid = guest_uid;
	return r;
}

/* QEMU makes the sockets of guests' screens, as its own user. */
static int
prepare_screens(struct helper *h, uid_t guest_uid, struct err *e)
{
	int r;

	h->screen_dir = xasprintf("%s/screens", h->conf->daemon.runtime_dir);
	r = fs_mkdir_p(h->screen_dir, 0700, e);
	if (r == 0 && chown(h->screen_dir, guest_uid, 0) < 0)
		r = err_set_errno(e, errno, "cannot give '%s' to the guests' user", h->screen_dir);
	return r;
}

static int
prepare_directories(struct helper *h, uid_t guest_uid, struct err *e)
{
	int r;

	h->console_dir = xasprintf("%s/consoles", h->conf->daemon.state_dir);
	h->probe_dir = xasprintf("%s/probe", h->conf->daemon.state_dir);
	r = fs_mkdir_p(h->console_dir, 0711, e);
	if (r == 0)
		r = fs_mkdir_p(h->probe_dir, 0700, e);
	return r < 0 ? r : prepare_screens(h, guest_uid, e);
}

static int
listen_on(struct helper *h, struct daemon *d, gid_t group, struct err *e)
{
	int r;

	r = daemon_sockets(
	    d, "helper", h->conf->daemon.listen, &h->listener_fds, &h->listener_count, e);
	if (r < 0)
		return r;
	h->listeners = xcalloc(h->listener_count, sizeof(*h->listeners));
	for (size_t i = 0; i < h->listener_count; i++)
		h->listeners[i] =
		    loop_watch_new(h->loop, h->listener_fds[i], EPOLLIN, accept_ready, h);
	/* Sockets of our own making are for root and the client's group; activated ones came with
	 * the owner that their unit says. */
	for (struct str rest = str_of(h->conf->daemon.listen), word;
	     str_split(&rest, ' ', &word);) {
		_cleanup_free_ char *path = NULL;

		if (!str_starts(word, "unix:"))
			return err_set(e, ERR_INVALID, "'listen' takes unix sockets only");
		path = xstrndup(word.p + 5, word.n - 5);
		if (chown(path, 0, group) < 0 || chmod(path, 0660) < 0)
			return err_set_errno(e, errno, "cannot set the owner of '%s'", path);
	}
	return 0;
}

static int
open_dataplane(struct helper *h, struct err *e)
{
	struct dataplane_options options = { .netns_dir = h->conf->netns_dir,
		.public_interface = h->conf->public_interface[0] ? h->conf->public_interface : NULL,
		.mtu = (uint16_t)h->conf->mtu };

	if (h->conf->vtep[0] && inet_pton(AF_INET, h->conf->vtep, &options.vtep) != 1)
		return err_set(
		    e, ERR_INVALID, "'vtep' is not an IPv4 address: '%s'", h->conf->vtep);
	return dataplane_new(&options, &h->dataplane, e);
}

const struct hypervisor_events *
helper_events(struct helper *h)
{
	h->events = (struct hypervisor_events){ post_lifecycle, post_rebooted, post_connected, h };
	return &h->events;
}

int
helper_init(struct helper *h, struct loop *loop, const struct helper_conf *conf,
    const struct log *log, struct err *e)
{
	h->conf = conf;
	h->loop = loop;
	h->log = log;
	h->serve = dispatch;
	list_init(&h->connections);
	list_init(&h->jobs);
	list_init(&h->probes);
	strcpy(h->health.reason, "connecting to libvirt");
	h->health.degraded = true;
	h->default_shares = -1;
	if (strcmp(conf->hypervisor, "auto") != 0)
		helper_copy_printable(
		    h->health.hypervisor, sizeof(h->health.hypervisor), conf->hypervisor);
	return workers_new(HELPER_WORKERS, HELPER_TASKS_MAX, &h->workers, e);
}

int
helper_new(struct daemon *d, struct helper **ret, struct err *e)
{
	_cleanup_(helper_freep) struct helper *h = xcalloc(1, sizeof(*h));
	gid_t socket_group = 0;
	uid_t guest_uid = 0;
	int r;

	if ((r = helper_init(h, daemon_loop(d), daemon_configuration(d), daemon_log(d), e)) < 0 ||
	    (r = prepare_users(h, &socket_group, &guest_uid, e)) < 0 ||
	    (r = prepare_directories(h, guest_uid, e)) < 0 || (r = open_dataplane(h, e)) < 0 ||
	    (r = hyp_libvirt_new(h->conf->libvirt_uri, helper_events(h), &h->hypervisor, e)) < 0 ||
	    (r = listen_on(h, d, socket_group, e)) < 0)
		return r;
	h->beat = loop_timer_new(h->loop, beat, h);
	loop_timer_set(h->beat, 0);
	*ret = TAKE(h);
	return 0;
}

/* Guests and networks stay as they are. */
void
helper_free(struct helper *h)
{
	if (!h)
		return;
	guest_jobs_free(h);
	neighbour_probes_free(h);
	helper_disconnect(h);
	for (size_t i = 0; i < h->listener_count; i++) {
		if (h->listeners)
			loop_watch_free(h->listeners[i]);
		fd_close(h->listener_fds[i]);
	}
	free(h->listeners);
	free(h->listener_fds);
	loop_timer_free(h->beat);
	h->beat = NULL;
	dataplane_free(h->dataplane);
	hypervisor_free(h->hypervisor);
	free(h->console_dir);
	free(h->screen_dir);
	free(h->probe_dir);
	free(h->seclabel);
	free(h);
}
