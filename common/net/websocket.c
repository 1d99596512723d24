/* WebSocket on an exchange that left HTTP behind: wslay makes and reads the frames, the exchange's
 * queue and its loop do the rest. What comes in is fed to wslay from where it was read; what wslay
 * sends goes to the reply queue, so that back-pressure and slow readers are the server's business.
 * A silent peer is pinged; one that stays silent is cut. */
#include "net/websocket.h"

#include <assert.h>
#include <openssl/evp.h>
#include <string.h>
#include <wslay/wslay.h>
#include "net/http_internal.h"

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define QUEUE_MAX (4 * 1024 * 1024) /* websocket_send refuses past it */
#define CLOSE_WAIT_MS 5000

struct websocket {
	struct http_exchange *x;
	wslay_event_context_ptr frames;
	const struct websocket_handler *handler;
	void *arg;
	struct str input; /* not yet read by wslay */
	bool is_reading;  /* in wslay_event_recv */
	bool is_closing;  /* we sent a close frame */
	bool was_pinged;
	bool is_over;
};

static ssize_t
on_recv(wslay_event_context_ptr frames, uint8_t *p, size_t n, int flags, void *arg)
{
	struct websocket *ws = arg;

	if (ws->input.n == 0) {
		wslay_event_set_error(frames, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	if (n > ws->input.n)
		n = ws->input.n;
	memcpy(p, ws->input.p, n);
	ws->input.p += n;
	ws->input.n -= n;
	return (ssize_t)n;
}

static ssize_t
on_send(wslay_event_context_ptr frames, const uint8_t *p, size_t n, int flags, void *arg)
{
	struct websocket *ws = arg;

	http_out_add(ws->x, p, n);
	return (ssize_t)n;
}

static void
on_message(wslay_event_context_ptr frames, const struct wslay_event_on_msg_recv_arg *m, void *arg)
{
	struct websocket *ws = arg;

	if (m->opcode == WSLAY_TEXT_FRAME || m->opcode == WSLAY_BINARY_FRAME)
		ws->handler->message(
		    ws, m->opcode == WSLAY_TEXT_FRAME, m->msg, m->msg_length, ws->arg);
}

/* Hands wslay's frames to the exchange, and ends it after the last. */
static void
pump(struct websocket *ws)
{
	if (ws->is_over || ws->is_reading)
		return;
	if (wslay_event_send(ws->frames) != 0 ||
	    (!wslay_event_want_read(ws->frames) && !wslay_event_want_write(ws->frames))) {
		ws->is_over = true;
		http_upgrade_end(ws->x);
		return;
	}
	http_connection_kick(ws->x->c);
}

static void
on_input(struct http_exchange *x, const char *p, size_t n, void *arg)
{
	struct websocket *ws = arg;

	ws->was_pinged = false;
	ws->input = (struct str){ p, n };
	while (ws->input.n > 0 && !ws->is_over) {
		size_t before = ws->input.n;
		int r;

		ws->is_reading = true;
		r = wslay_event_recv(ws->frames);
		ws->is_reading = false;
		if (r != 0) {
			http_reply_abort(x);
			return;
		}
		pump(ws);
		if (ws->input.n == before) /* after a close frame wslay reads no more */
			break;
	}
	ws->input = (struct str){ NULL, 0 };
}

static void
on_drained(struct http_exchange *x, void *arg)
{
	struct websocket *ws = arg;

	if (ws->handler->drained)
		ws->handler->drained(ws, ws->arg);
}

static void
on_idle(struct http_exchange *x, void *arg)
{
	struct websocket *ws = arg;
	static const struct wslay_event_msg ping = { .opcode = WSLAY_PING };

	if (ws->is_closing || ws->was_pinged || wslay_event_queue_msg(ws->frames, &ping) != 0) {
		http_reply_abort(x);
		return;
	}
	ws->was_pinged = true;
	pump(ws);
}

static void
on_gone(struct http_exchange *x, void *arg)
{
	struct websocket *ws = arg;

	ws->is_over = true;
	if (ws->handler->closed)
		ws->handler->closed(ws, ws->arg);
	wslay_event_context_free(ws->frames);
	free(ws);
}

static const struct http_upgrade upgrade = {
	.input = on_input,
	.drained = on_drained,
	.idle = on_idle,
	.gone = on_gone,
};

/* -- handshake -- */

static bool
key_is_valid(struct str key)
{
	_cleanup_free_ void *bytes = NULL;
	size_t n;

	return key.n == 24 && base64_decode(key, &bytes, &n) && n == 16;
}

static char *
accept_value(struct str key)
{
	char text[24 + sizeof(GUID)];
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	memcpy(text, key.p, 24);
	memcpy(text + 24, GUID, sizeof(GUID));
	if (EVP_Digest(text, sizeof(text) - 1, digest, &n, EVP_sha1(), NULL) != 1)
		abort();
	return base64_encode(digest, n);
}

static void
refuse(struct http_exchange *x, int status, const char *why)
{
	http_reply_begin(x, status);
	http_reply_header(x, "Content-Type", "text/plain");
	if (status == 426) {
		http_reply_header(x, "Upgrade", "websocket");
		http_reply_header(x, "Sec-WebSocket-Version", "13");
	}
	http_reply_length(x, strlen(why));
	http_reply_add(x, why, strlen(why));
	http_reply_end(x);
}

struct websocket *
websocket_accept(struct http_exchange *x, const char *protocol, size_t message_max,
    const struct websocket_handler *handler, void *arg)
{
	static const struct wslay_event_callbacks callbacks = {
		.recv_callback = on_recv,
		.send_callback = on_send,
		.on_msg_recv_callback = on_message,
	};
	const struct http_head *head = http_request(x);
	struct str key = http_head_find(head, "Sec-WebSocket-Key");
	_cleanup_free_ char *accept = NULL;
	struct websocket *ws;

	if (!str_is(head->method, "GET") || head->minor < 1 || head->content_length != 0) {
		refuse(x, 400, "a WebSocket begins with a GET of HTTP/1.1\n");
		return NULL;
	}
	if (!head->wants_upgrade || !http_list_has(http_head_find(head, "Upgrade"), "websocket") ||
	    !str_is(http_head_find(head, "Sec-WebSocket-Version"), "13")) {
		refuse(x, 426, "this is a WebSocket of version 13\n");
		return NULL;
	}
	if (http_head_count(head, "Sec-WebSocket-Key") != 1 || !key_is_valid(key)) {
		refuse(x, 400, "malformed Sec-WebSocket-Key\n");
		return NULL;
	}
	ws = xcalloc(1, sizeof(*ws));
	ws->x = x;
	ws->handler = handler;
	ws->arg = arg;
	if (wslay_event_context_server_init(&ws->frames, &callbacks, ws) != 0)
		abort();
	wslay_event_config_set_max_recv_msg_length(ws->frames, message_max);

	accept = accept_value(key);
	http_reply_begin(x, 101);
	http_reply_header(x, "Upgrade", "websocket");
	http_reply_header(x, "Connection", "Upgrade");
	http_reply_header(x, "Sec-WebSocket-Accept", accept);
	if (protocol)
		http_reply_header(x, "Sec-WebSocket-Protocol", protocol);
	x->c->deadline_ms = x->hub->now_ms + x->c->lane->server->options.idle_timeout_ms;
	http_upgrade(x, &upgrade, ws);
	return ws;
}

int
websocket_send(struct websocket *ws, bool is_text, const void *p, size_t n, struct err *e)
{
	const struct wslay_event_msg m = {
		.opcode = is_text ? WSLAY_TEXT_FRAME : WSLAY_BINARY_FRAME,
		.msg = p,
		.msg_length = n,
	};

	if (ws->is_over || ws->is_closing)
		return err_set(e, ERR_CANCELLED, "the WebSocket is closing");
	if (websocket_queued(ws) + n > QUEUE_MAX)
		return err_set(e, ERR_LIMIT, "the WebSocket's peer does not read");
	if (wslay_event_queue_msg(ws->frames, &m) != 0)
		return err_set(e, ERR_CANCELLED, "the WebSocket is closing");
	pump(ws);
	return 0;
}

size_t
websocket_queued(const struct websocket *ws)
{
	return ws->x->queued + wslay_event_get_queued_msg_length(ws->frames);
}

void
websocket_close(struct websocket *ws, unsigned code)
{
	if (ws->is_over || ws->is_closing)
		return;
	ws->is_closing = true;
	(void)wslay_event_queue_close(ws->frames, (uint16_t)code, NULL, 0);
	ws->x->c->deadline_ms = ws->x->hub->now_ms + CLOSE_WAIT_MS;
	pump(ws);
}
