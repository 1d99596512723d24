#pragma once
/* Carries requests between the loops and the workers; see exchange.c. */
#include "net/http_server.h"
#include "walrus.h"

struct exchanges;
struct exchanges *exchanges_new(struct walrus *w, bool is_website);
/* Waits until none is left: after http_server_free. */
void exchanges_free(struct exchanges *s);
DEFINE_CLEANUP(struct exchanges *, exchanges_free)
/* For store_on_told, with the struct walrus: passes on what a commit made of requests. */
void exchanges_told(void *arg);
/* arg: the struct exchanges. */
extern const struct http_handler exchange_handler;
