#pragma once
/* SOAP 1.1 envelopes with WS-Addressing headers, and SOAP faults that carry an err. */
#include "base/err.h"
#include "xml/xml_read.h"
#include "xml/xml_write.h"

#define NS_SOAP "http://schemas.xmlsoap.org/soap/envelope/"
#define NS_ADDRESSING "http://www.w3.org/2005/08/addressing"
#define NS_MALLEE "urn:mallee:2026" /* of all messages between daemons; header fields too */

struct soap_addressing {        /* all strings borrowed */
	const char *to;         /* URL of the service called, or for replies the caller's id */
	const char *action;     /* "urn:mallee:2026:nc:PutInstance", replies add "Reply" */
	const char *message_id; /* "urn:uuid:..." */
	const char *relates_to; /* replies only */
	/* our own signed context: travels in one mallee:Context header element */
	const char *request_id; /* of the user's request, for logs */
	const char *account_id;
	const char *from;        /* sender's peer id, e.g. "nc-0a1b..." */
	uint64_t deadline_ms;    /* how long the caller will wait, 0: unsaid */
	uint64_t receiver_epoch; /* boot epoch of the receiver, learnt in Hello; 0 in Hello */
	uint64_t sender_epoch;
	uint32_t version; /* of the message set */
};
/* A fault as the Body's only child; the prefix soap: must be in scope. */
void soap_fault_write(struct xml_writer *w, const struct err *e);
/* True when `body` (the Body or its child) is a fault: fills *e from it (code by name; unknown
 * codes read as INTERNAL). */
bool soap_fault_read(xmlNode *body, struct err *e);
