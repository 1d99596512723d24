#pragma once
/* What the connections of one loop share: the queue through which other threads reach it, a timer
 * wheel, turns for what has work, spare buffers. It knows nothing of what stands above it but the
 * struct http_task inside of each connection. All of it belongs to the loop's thread but what the
 * comments name otherwise. */
#include <stdatomic.h>
#include "base/err.h"
#include "base/id.h"
#include "base/list.h"
#include "run/loop.h"

#define HTTP_TICK_MS 100
#define HTTP_WHEEL 512 /* slots of one tick: deadlines further off go round again */
#define HTTP_SCRATCH (64 * 1024)
#define HTTP_RANDOM 64

struct http_hub;

/* What another thread asks of a loop; run(h, m) is called there, with h NULL when the loop is gone.
 */
struct http_message {
	struct http_message *next;
	struct loop *loop; /* http_hub_post_all: whose hub is meant */
	void (*run)(struct http_hub *h, struct http_message *m);
};

/* What the hub calls, inside of what it belongs to (a connection). Either call may free it. */
struct http_task {
	struct list timed;                /* in the wheel */
	struct list kicked;               /* of the hub */
	uint64_t due_ms;                  /* where the wheel has it, 0: nowhere */
	void (*run)(struct http_task *t); /* it was kicked */
	void (*due)(struct http_task *t); /* the wheel came round */
};

/* Memory kept for reuse: blocks of one size, whose first bytes are the list's meanwhile. */
struct http_spares {
	struct http_spare *first;
	unsigned count, max;
};

struct http_slot { /* what a struct http_ref names: see http_ref.c */
	struct http_exchange *x; /* NULL: free */
	uint32_t generation;
	uint32_t next_free;
};

struct http_hub {
	struct list link; /* under the HTTP lock */
	struct loop *loop;
	unsigned servers;    /* under the HTTP lock */
	atomic_uint holders; /* servers' one and each piece out: freed at 0 */
	bool is_closed;      /* under the HTTP lock */
	int wake_fd;
	struct loop_watch *wake_watch;
	struct http_message *messages, **messages_tail; /* under the HTTP lock */
	bool is_wake_due;                               /* the same */

	struct http_slot *slots;
	uint32_t slot_count, slot_free;

	struct list wheel[HTTP_WHEEL];
	uint64_t tick; /* of the wheel: monotonic ms / HTTP_TICK_MS */
	unsigned timed;
	bool is_ticking;
	struct loop_timer *timer;
	uint64_t now_us, now_ms; /* read once per callback */

	struct list kicked; /* tasks to run when the hub wakes */
	bool is_waking;     /* in the wake callback: no need to wake again */
	struct http_spares spare_pieces, spare_exchanges;
	int64_t date_s;
	char date[40];
	uint8_t random[HTTP_RANDOM][UUID_SIZE]; /* for ids: drawn many at a time */
	unsigned random_left;
	char *scratch; /* HTTP_SCRATCH bytes for what is used up within one call */
};

struct http_hub *http_hub_get(struct loop *loop, struct err *e); /* the loop's, shared by servers */
void http_hub_put(struct http_hub *h);
void http_hub_hold(struct http_hub *h); /* any thread */
void http_hub_drop(struct http_hub *h);

/* Any thread. False, and m is the caller's, when the hub is closed. */
bool http_hub_post(struct http_hub *h, struct http_message *m);
bool http_hub_post_to(struct loop *loop, struct http_message *m); /* to the loop's, if it has one */
/* A chain of them, in their order, each to the hub of its own loop; a hub is woken once for all of
 * its own. What is left, in order too, has no hub and is the caller's. */
struct http_message *http_hub_post_all(struct http_message *first);
bool http_hub_is_mine(struct http_hub *h); /* any thread: is it the loop's, and the hub open? */

void http_task_init(
    struct http_task *t, void (*run)(struct http_task *), void (*due)(struct http_task *));
void http_hub_kick(struct http_hub *h, struct http_task *t); /* runs it soon */
/* Calls `due` then or up to a tick later. Only moves it forward: a deadline that moved away is
 * noticed when the old one comes round. UINT64_MAX: none. */
void http_hub_set_due(struct http_hub *h, struct http_task *t, uint64_t deadline_ms);
void http_hub_forget(struct http_hub *h, struct http_task *t); /* neither is called from now on */

uint64_t http_hub_now(struct http_hub *h); /* reads the clock */
const char *http_hub_date(struct http_hub *h);
void http_hub_uuid(struct http_hub *h, char out[UUID_TEXT_SIZE]);

void *http_spares_take(struct http_spares *s); /* NULL: none */
bool http_spares_put(struct http_spares *s, void *block); /* false: enough, it is the caller's */
