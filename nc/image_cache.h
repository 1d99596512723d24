#pragma once
/* Image files on this node, by content: <directory>/<sha256>. However many instances want one, it
 * is fetched once; what is there was verified byte by byte against its digest. */
#include "net/http_client.h"
#include "rpc/common.api.h"
#include "run/log.h"

struct image_cache;
struct image_cache_options {
	const char *directory;
	uint64_t limit; /* bytes of finished files; 0: what the disk holds */
	struct loop *loop;
	struct http_client *http;          /* on that loop */
	const struct http_client_tls *tls; /* for https sources, borrowed; NULL: the system's CAs */
	unsigned fetches;                  /* at once */
	uint32_t low_speed_ms; /* a source slower than 1 KiB/s for so long is given up */
	const struct log *log;
	/* Whether an instance stands on that file: then it is not evicted. On a cache thread. */
	bool (*is_used)(void *arg, const char *digest);
	/* A fetch ended, well or not: ask again. On a cache thread. */
	void (*done)(void *arg, const char *digest);
	void *arg;
};
/* Removes partial files that a kill left behind. */
int image_cache_new(
    const struct image_cache_options *options, struct image_cache **ret, struct err *e);
/* On the loop, before its http client is freed: no transfer begins after that. */
void image_cache_cancel(struct image_cache *c);
/* Waits for fetches under way. */
void image_cache_free(struct image_cache *c);
DEFINE_CLEANUP(struct image_cache *, image_cache_free)

/* 1: the file is there. 0: it is being fetched, *ret_percent tells how far; `done` will be called.
 * ERR_CORRUPT: what came is not what was registered. ERR_NOT_FOUND: no source has it. ERR_INVALID:
 * no image we can use (a qcow2 that names another file ...). ERR_REQUEST_EXPIRED: the sources' URLs
 * ran out, or there are none. ERR_UNAVAILABLE: no source can be reached now. ERR_NO_SPACE. An error
 * is told to everybody who asks within a few seconds; who asks later starts a new attempt. */
int image_cache_want(
    struct image_cache *c, const struct image_file *image, unsigned *ret_percent, struct err *e);
/* Nobody wants it any more: a fetch under way ends with its next bytes, unless somebody asks again.
 */
void image_cache_forget(struct image_cache *c, const char *digest);
char *image_cache_path(const struct image_cache *c, const char *digest); /* heap */
bool image_digest_is_valid(const char *digest);
