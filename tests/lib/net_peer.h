#pragma once
/* For tests of what speaks HTTP: a server on a loop of its own, raw clients that can misbehave, and
 * certificates made on the spot. Helpers abort the test (cmocka assertions) when they fail. */
#include <pthread.h>
#include <stdbool.h>
#include "base/strbuf.h"
#include "net/http_server.h"
#include "run/loop.h"

struct net_loop { /* a loop in a thread */
	struct loop *loop;
	pthread_t thread;
};
void net_loop_start(struct net_loop *l); /* makes the loop, too */
void net_loop_run(struct net_loop *l);   /* returns when it runs */
void net_loop_stop(struct net_loop *l);  /* joins; the loop remains */
void net_loop_free(struct net_loop *l);

struct net_server {
	struct net_loop on;
	struct http_server *server;
	uint16_t port;
};
void net_server_start(struct net_server *s, const struct http_server_options *options);
void net_server_stop(struct net_server *s);

int net_listen(uint16_t *ret_port);  /* 127.0.0.1 */
int net_listen6(uint16_t *ret_port); /* [::1]; -1 where there is none */
int net_listen_unix(const char *path);
int net_connect(uint16_t port); /* blocking, reads time out after 10 s */
int net_connect_unix(const char *path);
void net_send(int fd, const void *p, size_t n);
void net_sends(int fd, const char *s);
/* Waits up to timeout_ms for the peer to close; throws away what comes before. */
bool net_closes(int fd, int timeout_ms);
bool net_has_input(int fd, int timeout_ms);

struct net_reply {
	int status;
	struct strbuf head; /* with the status line */
	struct strbuf body; /* without transfer coding */
	bool is_cut;        /* the connection ended before the reply did */
};
/* Reads one reply, skipping 100. `is_head`: it has no body. Returns its status, 0 on a closed
 * connection. */
int net_read_reply(int fd, bool is_head, struct net_reply *r);
void net_reply_done(struct net_reply *r);
bool net_reply_has(const struct net_reply *r, const char *header_line); /* any case */
/* One request on a fresh connection that then closes. */
int net_get(uint16_t port, const char *path, struct net_reply *r);

/* \r \n \t \\ \xHH and {text*COUNT}. */
void net_unescape(struct str in, struct strbuf *out);

/* ca.pem, other-ca.pem; server.pem/.key, client.pem/.key of ca; stranger.pem/.key of other-ca;
 * expired.pem with server.key. server.pem holds its CA, too. */
void net_certificates(const char *directory);
char *net_temporary_directory(void); /* heap */
void net_remove_directory(const char *path);
uint64_t net_cpu_us(void); /* of this process */
