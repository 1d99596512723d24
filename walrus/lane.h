#pragma once
/* A digest of a large body, computed on another worker beside what the request's own worker does with the
 * same bytes: MD5 is slower than all the rest together. */
#include <openssl/evp.h>
#include "base/str.h"
#include "net/http_server.h"
#include "run/workers.h"

/* A piece of the body, counted: its credit goes back to the connection when the last user is done. */
struct piece;
/* Takes the body; one count. */
struct piece *piece_new(struct http_body *body, void (*release)(struct http_body *body));
void piece_unref(struct piece *p);

struct lane;
struct lane *lane_new(struct workers *workers, EVP_MD_CTX *context); /* borrows both */
/* In order. `bytes` lie in the piece, which is held until they are summed. */
void lane_add(struct lane *l, struct str bytes, struct piece *p);
/* All that was added is in the context. Does itself what no worker has begun, so that workers which wait
 * here never wait for each other. */
void lane_finish(struct lane *l);
void lane_free(struct lane *l); /* finishes; NULL is fine */
