#pragma once
/* Daemons in miniature for the tests of common/rpc: a CA in a directory of its own, and nodes with
 * key, certificate, loop thread, workers, store and listener on loopback, serving
 * tests/data/api/test.api. A node can be stopped and started again on the same port, as a new boot.
 */
#include <pthread.h>
#include "rpc/changes.h"
#include "rpc/rpc.h"
#include "rpc/trust.h"
#include "test_api/test.api.h"

struct test_cloud {
	char directory[64];
	struct trust_ca ca;
};
void test_cloud_setup(struct test_cloud *cloud);
void test_cloud_teardown(struct test_cloud *cloud); /* removes the directory */

struct test_node {
	struct test_cloud *cloud;
	char *id, *role, *state_dir, *url;
	const struct service *service; /* NULL: test_served */
	int listener;                  /* kept across restarts */
	uint16_t port;
	/* while it runs */
	pthread_t thread;
	struct loop *loop;
	struct workers *workers;
	struct store *store;
	struct changes *changes;
	struct rpc *rpc;
	struct rpc_server *server;
	_Atomic unsigned served; /* handlers run since it was made */
};
/* Makes key and certificate (valid between the given days from now) and the listening socket. */
void test_node_setup(struct test_node *n, struct test_cloud *cloud, const char *id,
    const char *role, int from_day, int to_day);
void test_node_teardown(struct test_node *n); /* stops it, too */
int test_node_start(struct test_node *n, struct err *e);
void test_node_stop(struct test_node *n);
/* Runs on the node's loop thread, and waits for it. */
void test_node_on_loop(struct test_node *n, void (*fn)(void *), void *arg);
/* An event for Changes, durable when it returns. */
void test_node_event(struct test_node *n, const char *id);
