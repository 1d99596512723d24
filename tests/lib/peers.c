/* Nodes for the tests of messages: everything real but the daemon around it. */
#include "tests/lib/peers.h"

#include <arpa/inet.h>
#include <ftw.h>
#include <netinet/in.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/clock.h"
#include "rpc/rpc_internal.h"
#include "run/fs.h"
#include "test_api/test.handlers.h"
#include "tests/lib/store_fixture.h"

static void
must(int r, const struct err *e)
{
	if (r >= 0)
		return;
	fprintf(stderr, "peers: %s\n", e->text);
	abort();
}

/* -- handlers of tests/data/api/test.api; state is the node -- */

static struct test_node *
node_of(struct rpc_request *rq)
{
	struct test_node *n = rq->state;

	n->served++;
	return n;
}

int
test_handle_echo(
    struct rpc_request *rq, const struct test_echo_in *in, struct test_echo_out *out, struct err *e)
{
	(void)node_of(rq);
	out->text = in->text;
	out->number = in->number;
	out->has_number = in->has_number;
	out->volume = in->volume;
	out->names.items = in->names.items;
	out->names.count = in->names.count;
	out->caller = rq->peer_id;
	out->role = rq->peer_role;
	out->request_id = rq->addressing->request_id;
	out->account_id = rq->addressing->account_id;
	out->left_ms = rpc_time_left_ms(rq);
	return 0;
}

int
test_handle_only_clc(struct rpc_request *rq, const struct test_only_clc_in *in,
    struct test_only_clc_out *out, struct err *e)
{
	(void)node_of(rq);
	return 0;
}

int
test_handle_fail(
    struct rpc_request *rq, const struct test_fail_in *in, struct test_fail_out *out, struct err *e)
{
	(void)node_of(rq);
	return err_set(e, fault_from_name(in->fault), "told to fail with '%s'", in->fault);
}

int
test_handle_slow(
    struct rpc_request *rq, const struct test_slow_in *in, struct test_slow_out *out, struct err *e)
{
	(void)node_of(rq);
	(void)poll(NULL, 0, (int)in->ms);
	return 0;
}

struct look {
	struct rpc_request *rq;
	const struct test_changes_in *in;
	struct test_changes_out *out;
};

static int
look(struct store_tx *tx, void *arg, struct err *e)
{
	struct look *l = arg;
	struct outbox_event *events;
	size_t count;
	bool gap;
	int r = outbox_read(tx, l->in->revision, 100, l->rq->arena, &events, &count, &gap, e);

	if (r < 0)
		return r;
	l->out->ids.items = arena_alloc(l->rq->arena, (count + 1) * sizeof(char *));
	l->out->ids.count = count;
	l->out->revision = l->in->revision;
	for (size_t i = 0; i < count; i++) {
		l->out->ids.items[i] = events[i].id;
		l->out->revision = events[i].revision;
	}
	l->out->complete = gap;
	return 0;
}

int
test_handle_changes(struct rpc_request *rq, const struct test_changes_in *in,
    struct test_changes_out *out, struct err *e)
{
	struct test_node *n = node_of(rq);
	struct look l = { rq, in, out };

	if (changes_park(n->changes, rq, in->epoch, in->revision))
		return 0;
	out->epoch = store_epoch(n->store);
	return store_read(n->store, look, &l, e);
}

static int
add_event(struct store_tx *tx, void *arg, struct err *e)
{
	return outbox_add(tx, "thing", arg, NULL, NULL, e);
}

void
test_node_event(struct test_node *n, const char *id)
{
	struct err e = { 0 };

	must(store_write(n->store, add_event, (void *)id, &e), &e);
}

/* -- the cloud -- */

void
test_cloud_setup(struct test_cloud *cloud)
{
	_cleanup_free_ char *directory = NULL;
	struct err e = { 0 };

	(void)signal(SIGPIPE, SIG_IGN); /* as daemon_main does */
	*cloud = (struct test_cloud){ .directory = "/tmp/peers-XXXXXX" };
	if (!mkdtemp(cloud->directory))
		abort();
	directory = xasprintf("%s/ca", cloud->directory);
	must(trust_ca_create(directory, "test cloud", &e), &e);
	must(trust_ca_load(directory, &cloud->ca, &e), &e);
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

void
test_cloud_teardown(struct test_cloud *cloud)
{
	trust_ca_done(&cloud->ca);
	(void)nftw(cloud->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* -- nodes -- */

static void
make_identity(struct test_node *n, int from_day, int to_day)
{
	_cleanup_free_ char *directory = xasprintf("%s/trust", n->state_dir);
	_cleanup_free_ char *key = xasprintf("%s/key.pem", directory);
	_cleanup_free_ char *ca_path = xasprintf("%s/ca/ca.pem", n->cloud->directory);
	_cleanup_strbuf_ struct strbuf csr = STRBUF_INIT, certificate = STRBUF_INIT,
				       ca = STRBUF_INIT;
	const int64_t day_us = 24 * 3600 * INT64_C(1000000);
	struct trust_peer peer = { n->id, n->role, "zone-a", n->url };
	struct trust_subject subject = { n->id, n->role, NULL };
	int64_t now = clock_now_us();
	struct err e = { 0 };

	must(fs_mkdir_p(directory, 0700, &e), &e);
	must(trust_key_create(key, &e), &e);
	must(trust_csr(key, &csr, &e), &e);
	must(trust_sign_dates(&n->cloud->ca, strbuf_c(&csr), &subject, now + from_day * day_us,
		 now + to_day * day_us, &certificate, &e),
	    &e);
	must(fs_read(ca_path, 65536, &ca, &e), &e);
	must(trust_install(n->state_dir, &peer, strbuf_c(&certificate), strbuf_c(&ca), &e), &e);
}

void
test_node_setup(struct test_node *n, struct test_cloud *cloud, const char *id, const char *role,
    int from_day, int to_day)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);

	*n = (struct test_node){ .cloud = cloud, .id = xstrdup(id), .role = xstrdup(role) };
	n->state_dir = xasprintf("%s/%s", cloud->directory, id);
	n->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (n->listener < 0 || bind(n->listener, (struct sockaddr *)&address, size) < 0 ||
	    listen(n->listener, 64) < 0 ||
	    getsockname(n->listener, (struct sockaddr *)&address, &size) < 0)
		abort();
	n->port = ntohs(address.sin_port);
	n->url = xasprintf("https://127.0.0.1:%u", n->port);
	make_identity(n, from_day, to_day);
}

static void
release(struct test_node *n)
{
	if (n->rpc)
		rpc_cancel(n->rpc);
	rpc_server_free(n->server);
	changes_free(n->changes);
	rpc_free(n->rpc);
	store_close(n->store);
	workers_free(n->workers);
	n->server = NULL;
	n->changes = NULL;
	n->rpc = NULL;
	n->store = NULL;
	n->workers = NULL;
}

static void *
thread_main(void *arg)
{
	struct test_node *n = arg;

	loop_run(n->loop);
	release(n);
	return NULL;
}

static void
post(void *arg)
{
	(void)sem_post(arg);
}

static void
wait_for(sem_t *s)
{
	while (sem_wait(s) < 0)
		;
}

static int
open_node(struct test_node *n, struct err *e)
{
	_cleanup_free_ char *url = xasprintf("sqlite:%s/test.db", n->state_dir);
	struct log log = { .daemon = n->id };
	int r, fd;

	if ((r = loop_new(&n->loop, e)) < 0 || (r = workers_new(4, 64, &n->workers, e)) < 0 ||
	    (r = store_open(url, &fixture_schema, &log, &n->store, e)) < 0 ||
	    (r = rpc_open(n->loop, n->workers, &log, NULL, n->state_dir, &n->rpc, e)) < 0)
		return r;
	n->changes = changes_new(n->store, n->loop);
	fd = dup(n->listener);
	return rpc_serve(n->rpc, n->service ? n->service : &test_served, n, &fd, 1, &n->server, e);
}

int
test_node_start(struct test_node *n, struct err *e)
{
	sem_t turning;
	int r = open_node(n, e);

	if (r < 0) {
		release(n);
		loop_free(TAKE(n->loop));
		return r;
	}
	if (pthread_create(&n->thread, NULL, thread_main, n) != 0)
		abort();
	(void)sem_init(&turning, 0, 0);
	loop_post(n->loop, post, &turning);
	wait_for(&turning);
	return 0;
}

static void
drain(void *arg)
{
	struct test_node *n = arg;

	rpc_server_drain(n->server);
}

void
test_node_stop(struct test_node *n)
{
	if (!n->loop)
		return;
	test_node_on_loop(n, drain, n);
	loop_stop(n->loop);
	(void)pthread_join(n->thread, NULL);
	loop_free(TAKE(n->loop));
}

void
test_node_teardown(struct test_node *n)
{
	test_node_stop(n);
	if (n->listener >= 0)
		close(n->listener);
	free(n->id);
	free(n->role);
	free(n->state_dir);
	free(n->url);
}

struct errand {
	void (*fn)(void *);
	void *arg;
	sem_t done;
};

static void
run_errand(void *arg)
{
	struct errand *errand = arg;

	errand->fn(errand->arg);
	(void)sem_post(&errand->done);
}

void
test_node_on_loop(struct test_node *n, void (*fn)(void *), void *arg)
{
	struct errand errand = { fn, arg };

	(void)sem_init(&errand.done, 0, 0);
	loop_post(n->loop, run_errand, &errand);
	wait_for(&errand.done);
}
