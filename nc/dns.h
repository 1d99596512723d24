#pragma once
/* DNS messages (RFC 1035) as far as a resolver for guests needs them: names of addresses are
 * computed, everything else is left to an upstream resolver. No I/O here. */
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DNS_MESSAGE_MAX 65535
#define DNS_UDP_MAX 4096 /* of a query; answers computed here stay below 512 */
#define DNS_NAME_MAX 256
#define DNS_REPLY_MAX 512

enum dns_action {
	DNS_DROP,    /* not a query: no answer */
	DNS_REPLY,   /* *ret_size bytes of reply are ready */
	DNS_FORWARD, /* well-formed, and not ours to answer */
};
/* Answered here: under `domain`, ip-A-B-C-D (private addresses) and ec2-A-B-C-D (any), and the
 * reverse of private addresses; other names under `domain` do not exist. */
enum dns_action dns_answer(const char *domain, const void *query, size_t query_size,
    uint8_t reply[DNS_REPLY_MAX], size_t *ret_size);
/* The query's header and question with SERVFAIL: the upstream resolver said nothing. */
size_t dns_failure(const void *query, size_t query_size, uint8_t reply[DNS_REPLY_MAX]);
/* Whether `reply` answers `query`: same id, same question. */
bool dns_is_reply_to(const void *reply, size_t reply_size, const void *query, size_t query_size);
