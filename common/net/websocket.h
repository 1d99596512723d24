#pragma once
/* WebSocket (RFC 6455) on an exchange of the HTTP server; frames by wslay. Loop thread only. */
#include "net/http_server.h"

struct websocket; /* valid until `closed` returns */
struct websocket_handler {
	void (*message)(struct websocket *ws, bool is_text, const void *p, size_t n, void *arg);
	void (*drained)(struct websocket *ws, void *arg);
	void (*closed)(struct websocket *ws, void *arg); /* last call */
};
/* From a head handler: checks the handshake (400, 426 otherwise) and takes the exchange over.
 * `protocol` is the subprotocol to choose, NULL for none. Messages over message_max close with
 * 1009. */
struct websocket *websocket_accept(struct http_exchange *x, const char *protocol,
    size_t message_max, const struct websocket_handler *handler, void *arg);
int websocket_send(struct websocket *ws, bool is_text, const void *p, size_t n, struct err *e);
size_t websocket_queued(const struct websocket *ws);
void websocket_close(struct websocket *ws, unsigned code);
