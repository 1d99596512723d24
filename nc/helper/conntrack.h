#pragma once
/* Ends the flows of an address, so that a released address takes no established connection along.
 */
#include <netinet/in.h>
#include "helper/netlink.h"

/* `n` is a NETLINK_NETFILTER socket of the namespace. Deletes every entry that names the address at
 * any of its four ends. 0 or a negative errno. */
int conntrack_flush(struct netlink *n, struct in_addr address);
