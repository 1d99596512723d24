/* Guests by libvirt: qemu:///system in earnest, test:///default for error paths.
 *
 * One connection, opened when it is first needed and again after it broke; libvirt's default event
 * loop runs in a thread of its own. Domains are persistent, because then libvirt itself remembers
 * how a guest ended: that is what we re-adopt by when nobody listened at the time. The generation
 * is in the metadata. */
#include "hypervisor.h"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/id.h"
#include "domain_xml.h"
#include "run/fd.h"
#include "run/lock.h"
#include "run/log.h"

struct hyp_libvirt {
	struct hypervisor base;
	struct hypervisor_events events;
	char *uri;
	struct lock lock;
	virConnectPtr connection; /* under lock; a reference of ours */
	bool is_opening;          /* under lock: one thread is in virConnectOpen */
};

static struct hyp_libvirt *
of(struct hypervisor *h)
{
	return CONTAINER_OF(h, struct hyp_libvirt, base);
}

static void
ignore_error(void *data, virErrorPtr error)
{
	/* libvirt would print it; what matters is taken where the call failed. */
}

static int
set_libvirt_error(struct err *e, const char *what)
{
	virErrorPtr error = virGetLastError();
	int code = ERR_IO;

	if (!error)
		return err_set(e, ERR_IO, "%s failed", what);
	switch (error->code) {
	case VIR_ERR_NO_DOMAIN:
		code = ERR_NOT_FOUND;
		break;
	case VIR_ERR_OPERATION_INVALID:
	case VIR_ERR_OPERATION_DENIED:
		code = ERR_CONFLICT;
		break;
	case VIR_ERR_OPERATION_TIMEOUT:
	case VIR_ERR_AGENT_UNRESPONSIVE:
		code = ERR_TIMEOUT;
		break;
	case VIR_ERR_NO_CONNECT:
	case VIR_ERR_INVALID_CONN:
	case VIR_ERR_RPC:
	case VIR_ERR_SYSTEM_ERROR:
		code = error->domain == VIR_FROM_RPC || error->domain == VIR_FROM_REMOTE
			   ? ERR_UNAVAILABLE
			   : ERR_IO;
		break;
	case VIR_ERR_OPERATION_FAILED:
	default:
		break;
	}
	return err_set(e, code, "%s: %s", what, error->message ? error->message : "libvirt failed");
}

/* -- what a domain is -- */

static uint32_t
shutoff_state(int reason)
{
	switch (reason) {
	case VIR_DOMAIN_SHUTOFF_SHUTDOWN:
		return GUEST_SHUT_DOWN;
	case VIR_DOMAIN_SHUTOFF_DESTROYED:
		return GUEST_DESTROYED;
	case VIR_DOMAIN_SHUTOFF_CRASHED:
		return GUEST_CRASHED;
	case VIR_DOMAIN_SHUTOFF_FAILED:
		return GUEST_FAILED;
	default:
		return GUEST_DEFINED;
	}
}

static uint32_t
paused_state(int reason)
{
	switch (reason) {
	case VIR_DOMAIN_PAUSED_STARTING_UP:
	case VIR_DOMAIN_PAUSED_USER: /* what START_PAUSED becomes; nobody else pauses here */
		return GUEST_PREPARED;
	case VIR_DOMAIN_PAUSED_IOERROR:
		return GUEST_PAUSED_IO_ERROR;
	case VIR_DOMAIN_PAUSED_CRASHED:
		return GUEST_CRASHED;
	default:
		return GUEST_PAUSED;
	}
}

static uint32_t
guest_state(virDomainPtr domain)
{
	int state = 0, reason = 0;

	if (virDomainGetState(domain, &state, &reason, 0) < 0)
		return GUEST_ABSENT;
	switch (state) {
	case VIR_DOMAIN_RUNNING:
	case VIR_DOMAIN_BLOCKED:
	case VIR_DOMAIN_SHUTDOWN: /* on its way: the STOPPED event tells the end */
		return GUEST_RUNNING;
	case VIR_DOMAIN_PAUSED:
	case VIR_DOMAIN_PMSUSPENDED:
		return paused_state(reason);
	case VIR_DOMAIN_CRASHED:
		return GUEST_CRASHED;
	default:
		return shutoff_state(reason);
	}
}

static uint64_t
guest_generation(virDomainPtr domain)
{
	char *text =
	    virDomainGetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, DOMAIN_METADATA_URI, 0);
	uint64_t generation = 0;
	const char *p;

	if (!text)
		return 0;
	p = strstr(text, "generation>");
	if (p) {
		struct str rest = str_of(p + strlen("generation>")), digits;

		if (str_split(&rest, '<', &digits))
			(void)str_to_u64(digits, &generation); /* stays 0: unknown */
	}
	free(text);
	return generation;
}

/* False for domains that are not ours. */
static bool
guest_fill(virDomainPtr domain, struct helper_guest *ret)
{
	const char *name = virDomainGetName(domain);

	if (!name || !id_is_valid(name, "i") || strlen(name) >= sizeof(ret->instance_id))
		return false;
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->instance_id, name, strlen(name));
	ret->state = guest_state(domain);
	ret->generation = guest_generation(domain);
	return true;
}

/* -- events, on libvirt's thread -- */

static uint32_t
stopped_state(int detail)
{
	switch (detail) {
	case VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN:
		return GUEST_SHUT_DOWN;
	case VIR_DOMAIN_EVENT_STOPPED_CRASHED:
		return GUEST_CRASHED;
	case VIR_DOMAIN_EVENT_STOPPED_FAILED:
		return GUEST_FAILED;
	default:
		return GUEST_DESTROYED;
	}
}

static int
on_lifecycle(virConnectPtr connection, virDomainPtr domain, int event, int detail, void *opaque)
{
	struct hyp_libvirt *h = opaque;
	const char *name = virDomainGetName(domain);
	struct helper_guest guest = { 0 };

	/* Calls into libvirt are not allowed to block here: only what the event itself says. */
	if (!name || !id_is_valid(name, "i") || strlen(name) >= sizeof(guest.instance_id))
		return 0;
	memcpy(guest.instance_id, name, strlen(name));
	switch (event) {
	case VIR_DOMAIN_EVENT_STARTED:
	case VIR_DOMAIN_EVENT_RESUMED:
		guest.state = GUEST_RUNNING;
		break;
	case VIR_DOMAIN_EVENT_SUSPENDED:
		if (detail != VIR_DOMAIN_EVENT_SUSPENDED_IOERROR)
			return 0;
		guest.state = GUEST_PAUSED_IO_ERROR;
		break;
	case VIR_DOMAIN_EVENT_STOPPED:
		guest.state = stopped_state(detail);
		break;
	case VIR_DOMAIN_EVENT_CRASHED:
		guest.state = GUEST_CRASHED;
		break;
	default:
		return 0;
	}
	h->events.lifecycle(h->events.arg, &guest);
	return 0;
}

static int
on_reboot(virConnectPtr connection, virDomainPtr domain, void *opaque)
{
	struct hyp_libvirt *h = opaque;
	const char *name = virDomainGetName(domain);

	if (name && id_is_valid(name, "i"))
		h->events.rebooted(h->events.arg, name);
	return 0;
}

/* Inside libvirt, which holds the connection: it is only looked at. The next call puts it away. */
static void
on_close(virConnectPtr connection, int reason, void *opaque)
{
	struct hyp_libvirt *h = opaque;

	h->events.connected(h->events.arg, false, "libvirt closed its connection");
}

static void
on_tick(int timer, void *opaque)
{
}

static const struct log event_log = { .daemon = "nc-helper" };

static void *
event_thread(void *arg)
{
	/* Without a timeout of libvirt's own the loop would sleep through the first registration.
	 */
	(void)virEventAddTimeout(5000, on_tick, NULL, NULL);
	for (;;) {
		if (virEventRunDefaultImpl() == 0)
			continue;
		log_warn(&event_log, "libvirt.events", "error=\"%s\"", virGetLastErrorMessage());
		(void)poll(NULL, 0, 100); /* it is tried again, and not in a busy loop */
	}
	return NULL;
}

static int
start_event_thread(struct err *e)
{
	static bool is_started;
	pthread_attr_t attributes;
	pthread_t thread;
	int r;

	if (is_started)
		return 0;
	if (virInitialize() < 0 || virEventRegisterDefaultImpl() < 0)
		return set_libvirt_error(e, "starting libvirt's event loop");
	virSetErrorFunc(NULL, ignore_error);
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	r = pthread_create(&thread, &attributes, event_thread, NULL);
	pthread_attr_destroy(&attributes);
	if (r != 0)
		return err_set_errno(e, r, "cannot start the thread of libvirt's events");
	is_started = true;
	return 0;
}

/* -- the connection -- */

static int
open_connection(struct hyp_libvirt *h, virConnectPtr *ret, struct err *e)
{
	virConnectPtr c = virConnectOpen(h->uri);

	if (!c)
		return set_libvirt_error(e, "cannot connect to libvirt");
	/* No keepalive: when it runs out while several calls wait, libvirt 9.0's client library
	 * reads freed memory. Deadlines are ours anyway. The test driver knows no close callback.
	 */
	(void)virConnectRegisterCloseCallback(c, on_close, h, NULL);
	if (virConnectDomainEventRegisterAny(c, NULL, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
		VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle), h, NULL) < 0 ||
	    virConnectDomainEventRegisterAny(c, NULL, VIR_DOMAIN_EVENT_ID_REBOOT,
		VIR_DOMAIN_EVENT_CALLBACK(on_reboot), h, NULL) < 0) {
		int r = set_libvirt_error(e, "cannot subscribe to libvirt's events");

		virConnectUnregisterCloseCallback(c, on_close);
		virConnectClose(c);
		return r;
	}
	*ret = c;
	return 0;
}

/* libvirt does not always call back when a connection has died with a call under way: one that is
 * closed is put away here. Asking costs no message. */
static void
drop_dead_connection(struct hyp_libvirt *h)
{
	virConnectPtr dead = NULL;

	{
		LOCK_SCOPE(&h->lock);
		if (h->connection && virConnectIsAlive(h->connection) == 0)
			dead = TAKE(h->connection);
	}
	if (dead) {
		(void)virConnectUnregisterCloseCallback(dead, on_close); /* too late is fine */
		virConnectClose(dead);
	}
}

/* A reference of the caller's. */
static int
get_connection(struct hyp_libvirt *h, virConnectPtr *ret, struct err *e)
{
	virConnectPtr c = NULL;
	int r;

	drop_dead_connection(h);
	{
		LOCK_SCOPE(&h->lock);
		if (h->connection) {
			virConnectRef(h->connection);
			*ret = h->connection;
			return 0;
		}
		if (h->is_opening)
			return err_set(e, ERR_UNAVAILABLE, "still connecting to libvirt");
		h->is_opening = true;
	}
	r = open_connection(h, &c, e);
	{
		LOCK_SCOPE(&h->lock);
		h->is_opening = false;
		if (r == 0) {
			h->connection = c;
			virConnectRef(c);
		}
	}
	if (r < 0)
		return r;
	h->events.connected(h->events.arg, true, "");
	*ret = c;
	return 0;
}

static void
connection_closep(virConnectPtr *c)
{
	if (*c)
		virConnectClose(*c);
}
#define _cleanup_connection_ _cleanup_(connection_closep)

static void
domain_freep(virDomainPtr *d)
{
	if (*d)
		virDomainFree(*d);
}
#define _cleanup_domain_ _cleanup_(domain_freep)

static int
get_domain(struct hypervisor *h, const char *id, virDomainPtr *ret, struct err *e)
{
	_cleanup_connection_ virConnectPtr c = NULL;
	int r = get_connection(of(h), &c, e);

	if (r < 0)
		return r;
	*ret = virDomainLookupByName(c, id); /* holds a reference to the connection */
	return *ret ? 0 : set_libvirt_error(e, "cannot find the guest");
}

static int
libvirt_connect(struct hypervisor *h, struct err *e)
{
	_cleanup_connection_ virConnectPtr c = NULL;

	return get_connection(of(h), &c, e);
}

static int
libvirt_warm(struct hypervisor *h, const char *type, const char *emulator, struct err *e)
{
	_cleanup_connection_ virConnectPtr c = NULL;
	int r = get_connection(of(h), &c, e);
	char *text;

	if (r < 0 || strcmp(type, "test") == 0)
		return r;
	text = virConnectGetDomainCapabilities(c, emulator, "x86_64", "pc", type, 0);
	if (!text)
		return set_libvirt_error(e, "cannot ask for QEMU's abilities");
	free(text);
	return 0;
}

/* -- bounds -- */

static int
scheduler_shares(virDomainPtr d, uint32_t *ret)
{
	virTypedParameterPtr parameters;
	unsigned long long shares = 0;
	int count = 0, wanted;
	char *kind = virDomainGetSchedulerType(d, &wanted);

	if (!kind) /* libvirt has no cpu controller */
		return 0;
	free(kind);
	parameters = xcalloc((size_t)wanted + 1, sizeof(*parameters));
	count = wanted;
	if (virDomainGetSchedulerParametersFlags(d, parameters, &count, VIR_DOMAIN_AFFECT_LIVE) ==
	    0)
		(void)virTypedParamsGetULLong(
		    parameters, count, VIR_DOMAIN_SCHEDULER_CPU_SHARES, &shares);
	virTypedParamsFree(parameters, count);
	*ret = (uint32_t)shares;
	return 0;
}

/* Only a guest that is there can be asked for its shares: one without disks, paused before its
 * first instruction and gone with our connection whatever happens. */
static int
libvirt_default_shares(
    struct hypervisor *h, const char *type, const char *emulator, uint32_t *ret, struct err *e)
{
	_cleanup_connection_ virConnectPtr c = NULL;
	_cleanup_domain_ virDomainPtr d = NULL;
	_cleanup_free_ char *xml = NULL;
	static atomic_uint number; /* two may ask at once */
	int r = get_connection(of(h), &c, e);

	if (r < 0)
		return r;
	*ret = 0;
	if (strcmp(type, "test") == 0) { /* bounds nothing, as it runs nothing */
		*ret = 1024;
		return 0;
	}
	xml = xasprintf(
	    "<domain type='%s'><name>mallee-bounds-%u</name><memory unit='MiB'>16</memory>"
	    "<os><type arch='x86_64' machine='pc'>hvm</type></os><devices>"
	    "<emulator>%s</emulator><controller type='usb' model='none'/>"
	    "<memballoon model='none'/></devices></domain>",
	    type, atomic_fetch_add(&number, 1), emulator);
	d = virDomainCreateXML(c, xml, VIR_DOMAIN_START_PAUSED | VIR_DOMAIN_START_AUTODESTROY);
	if (!d)
		return set_libvirt_error(e, "cannot find out how guests are bounded");
	r = scheduler_shares(d, ret);
	if (virDomainDestroy(d) < 0)
		r = set_libvirt_error(e, "cannot end the guest that was asked for its bounds");
	return r;
}

static int
libvirt_set_cpus(
    struct hypervisor *h, const char *id, const struct helper_cpus *cpus, struct err *e)
{
	_cleanup_domain_ virDomainPtr d = NULL;
	struct helper_cpus map = *cpus; /* libvirt's parameter is not const */
	virDomainInfo info;
	int r = get_domain(h, id, &d, e);

	if (r < 0)
		return r;
	if (virDomainGetInfo(d, &info) < 0)
		return set_libvirt_error(e, "cannot look at the guest");
	for (unsigned i = 0; i < info.nrVirtCpu; i++)
		if (virDomainPinVcpuFlags(
			d, i, map.bits, sizeof(map.bits), VIR_DOMAIN_AFFECT_LIVE) < 0)
			return set_libvirt_error(e, "cannot move the guest's processors");
	if (virDomainPinEmulator(d, map.bits, sizeof(map.bits), VIR_DOMAIN_AFFECT_LIVE) < 0)
		return set_libvirt_error(e, "cannot move the guest's threads");
	return 0;
}

/* -- the screen -- */

#define WAKE_KEY 42 /* Linux's KEY_LEFTSHIFT: types nothing */
#define WAKE_MS 200

static void
stream_freep(virStreamPtr *s)
{
	if (*s)
		virStreamFree(*s);
}

static int
receive(virStreamPtr stream, int fd, struct err *e)
{
	_cleanup_free_ char *piece = xmalloc(65536);
	size_t all = 0;
	int n;

	while ((n = virStreamRecv(stream, piece, 65536)) > 0) {
		all += (size_t)n;
		if (all > HELPER_SCREEN_MAX)
			return err_set(
			    e, ERR_LIMIT, "the picture has more than %u bytes", HELPER_SCREEN_MAX);
		if (write(fd, piece, (size_t)n) != n)
			return err_set_errno(e, errno, "cannot keep the picture");
	}
	return n < 0 ? set_libvirt_error(e, "cannot read the picture") : 0;
}

static int
libvirt_screenshot(struct hypervisor *h, const char *id, bool wakes, int *ret_fd, struct err *e)
{
	_cleanup_domain_ virDomainPtr d = NULL;
	_cleanup_(stream_freep) virStreamPtr stream = NULL;
	_cleanup_close_ int fd = memfd_create("screen", MFD_CLOEXEC);
	unsigned key = WAKE_KEY;
	char *mime;
	int r = get_domain(h, id, &d, e);

	if (r < 0)
		return r;
	if (fd < 0)
		return err_set_errno(e, errno, "cannot keep a picture");
	if (wakes) {
		if (virDomainSendKey(d, VIR_KEYCODE_SET_LINUX, WAKE_MS / 2, &key, 1, 0) < 0)
			return set_libvirt_error(e, "cannot press a key");
		(void)poll(NULL, 0, WAKE_MS); /* for the guest to draw */
	}
	stream = virStreamNew(virDomainGetConnect(d), 0);
	mime = stream ? virDomainScreenshot(d, stream, 0, 0) : NULL;
	if (!mime)
		return set_libvirt_error(e, "cannot take a picture of the guest's screen");
	free(mime); /* PPM, or PNG where QEMU makes it: the bytes tell */
	r = receive(stream, fd, e);
	if (r == 0 && virStreamFinish(stream) < 0)
		r = set_libvirt_error(e, "cannot end the picture");
	else if (r < 0)
		(void)virStreamAbort(stream);
	if (r == 0)
		*ret_fd = TAKE_FD(fd);
	return r;
}

/* -- the operations -- */

static int
libvirt_list(
    struct hypervisor *h, struct helper_guest *guests, size_t max, size_t *ret_count, struct err *e)
{
	_cleanup_connection_ virConnectPtr c = NULL;
	virDomainPtr *domains = NULL;
	size_t count = 0;
	int n, r;

	r = get_connection(of(h), &c, e);
	if (r < 0)
		return r;
	n = virConnectListAllDomains(c, &domains, 0);
	if (n < 0)
		return set_libvirt_error(e, "cannot list the guests");
	for (int i = 0; i < n; i++) {
		if (count < max && guest_fill(domains[i], &guests[count]))
			count++;
		virDomainFree(domains[i]);
	}
	free(domains);
	*ret_count = count;
	return 0;
}

static int
libvirt_look(struct hypervisor *h, const char *id, struct helper_guest *ret, struct err *e)
{
	_cleanup_domain_ virDomainPtr d = NULL;
	int r = get_domain(h, id, &d, e);

	if (r == ERR_NOT_FOUND) {
		err_clear(e);
		*ret = (struct helper_guest){ .state = GUEST_ABSENT };
		return 0;
	}
	if (r < 0)
		return r;
	if (!guest_fill(d, ret))
		return err_set(e, ERR_INVALID, "'%s' is no guest of ours", id);
	return 0;
}

static int
libvirt_create_paused(struct hypervisor *h, const char *id, const char *xml, struct err *e)
{
	_cleanup_connection_ virConnectPtr c = NULL;
	_cleanup_domain_ virDomainPtr d = NULL;
	int r = get_connection(of(h), &c, e);

	if (r < 0)
		return r;
	d = virDomainDefineXMLFlags(c, xml, VIR_DOMAIN_DEFINE_VALIDATE);
	if (!d)
		return set_libvirt_error(e, "cannot define the guest");
	/* The test driver cannot start paused, and has no instructions to run either. */
	if (str_starts(str_of(of(h)->uri), "test:")
		? virDomainCreate(d) < 0 || virDomainSuspend(d) < 0
		: virDomainCreateWithFlags(d, VIR_DOMAIN_START_PAUSED) < 0)
		return set_libvirt_error(e, "cannot start the guest");
	return 0;
}

typedef int (*domain_call)(virDomainPtr);

static int
call(struct hypervisor *h, const char *id, domain_call fn, const char *what, struct err *e)
{
	_cleanup_domain_ virDomainPtr d = NULL;
	int r = get_domain(h, id, &d, e);

	if (r < 0)
		return r;
	return fn(d) < 0 ? set_libvirt_error(e, what) : 0;
}

static int
press_power(virDomainPtr d)
{
	return virDomainShutdown(d); /* by ACPI: our guests have no agent's channel */
}

static int
destroy(virDomainPtr d)
{
	return virDomainIsActive(d) == 0 ? 0 : virDomainDestroy(d);
}

static int
reboot(virDomainPtr d)
{
	return virDomainReboot(d, 0);
}

static int
reset(virDomainPtr d)
{
	return virDomainReset(d, 0);
}

static int
libvirt_resume(struct hypervisor *h, const char *id, struct err *e)
{
	return call(h, id, virDomainResume, "cannot resume the guest", e);
}

static int
libvirt_press_power(struct hypervisor *h, const char *id, struct err *e)
{
	return call(h, id, press_power, "cannot ask the guest to shut down", e);
}

static int
libvirt_destroy(struct hypervisor *h, const char *id, struct err *e)
{
	int r = call(h, id, destroy, "cannot stop the guest", e);

	return r == ERR_NOT_FOUND ? (err_clear(e), 0) : r;
}

static int
libvirt_reboot(struct hypervisor *h, const char *id, struct err *e)
{
	return call(h, id, reboot, "cannot ask the guest to reboot", e);
}

static int
libvirt_reset(struct hypervisor *h, const char *id, struct err *e)
{
	return call(h, id, reset, "cannot reset the guest", e);
}

static int
libvirt_undefine(struct hypervisor *h, const char *id, struct err *e)
{
	int r = call(h, id, virDomainUndefine, "cannot forget the guest", e);

	return r == ERR_NOT_FOUND ? (err_clear(e), 0) : r;
}

static void
libvirt_free(struct hypervisor *base)
{
	struct hyp_libvirt *h = of(base);

	/* The process ends: the event thread may be inside one of our callbacks, so nothing that it
	 * could touch is freed. */
	if (h->connection)
		(void)virConnectUnregisterCloseCallback(h->connection, on_close);
}

static const struct hypervisor_ops libvirt_ops = {
	.connect = libvirt_connect,
	.warm = libvirt_warm,
	.default_shares = libvirt_default_shares,
	.list = libvirt_list,
	.look = libvirt_look,
	.create_paused = libvirt_create_paused,
	.resume = libvirt_resume,
	.press_power = libvirt_press_power,
	.destroy = libvirt_destroy,
	.reboot = libvirt_reboot,
	.reset = libvirt_reset,
	.set_cpus = libvirt_set_cpus,
	.screenshot = libvirt_screenshot,
	.undefine = libvirt_undefine,
	.free = libvirt_free,
};

int
hyp_libvirt_new(
    const char *uri, const struct hypervisor_events *events, struct hypervisor **ret, struct err *e)
{
	struct hyp_libvirt *h;
	int r;

	r = start_event_thread(e);
	if (r < 0)
		return r;
	h = xcalloc(1, sizeof(*h));
	h->base.ops = &libvirt_ops;
	h->events = *events;
	h->uri = xstrdup(uri);
	lock_init(&h->lock, LOCK_STATE);
	*ret = &h->base;
	return 0;
}
