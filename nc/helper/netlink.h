#pragma once
/* Talking to the kernel over netlink: requests with an acknowledgement, dumps, and batches.
 * Functions return 0 or a negative errno, because their callers judge ENOENT, EEXIST and kin; the
 * dataplane turns what is left into an error with a noun. */
#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"

struct netlink;
/* In the caller's current network namespace, for the socket's whole life. */
int netlink_open(int protocol, struct netlink **ret_netlink);
void netlink_free(struct netlink *n);
DEFINE_CLEANUP(struct netlink *, netlink_free)

/* A message of at most NETLINK_MESSAGE_MAX bytes in the socket's own buffer, valid until the next.
 */
#define NETLINK_MESSAGE_MAX 8192
struct nlmsghdr *netlink_message(
    struct netlink *n, uint16_t type, uint16_t flags, const void *header, size_t header_size);
/* Sends it and waits for the acknowledgement. */
int netlink_request(struct netlink *n, struct nlmsghdr *h);
/* Sends it as it is (a dump, or a get): fn for each message that comes back. fn returns 0 or a
 * negative errno, which ends the walk; it must not use the same socket. */
int netlink_query(struct netlink *n, struct nlmsghdr *h,
    int (*fn)(const struct nlmsghdr *h, void *arg), void *arg);

/* Many messages sent as one: a transaction of nftables. */
struct netlink_batch {
	char *p;
	size_t n, size;
	uint32_t count; /* messages begun */
	uint16_t family;
};
#define NETLINK_BATCH_MESSAGE_MAX (96 * 1024)
void netlink_batch_done(struct netlink_batch *b);
/* Begins a message; what is put into it must stay below NETLINK_BATCH_MESSAGE_MAX. */
struct nlmsghdr *netlink_batch_begin(
    struct netlink_batch *b, uint16_t type, uint16_t flags, uint8_t family, uint16_t resource);
void netlink_batch_end(struct netlink_batch *b, struct nlmsghdr *h);
/* Sends all; waits for the answer to message number `last`. The first failure's errno, and which
 * message it was. */
int netlink_batch_send(
    struct netlink *n, struct netlink_batch *b, uint32_t last, uint32_t *ret_failed);
