#pragma once
/* The one shape a signed envelope has, written and checked by the same code. Private to wsse. */
#include "base/clock.h"
#include "xml/soap.h"

#define NS_WSSE "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
#define NS_WSU "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
#define NS_DS "http://www.w3.org/2000/09/xmldsig#"
#define WSSE_X509V3                                                                                \
	"http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#X509v3"
#define WSSE_BASE64                                                                                \
	"http://docs.oasis-open.org/wss/2004/01/"                                                  \
	"oasis-200401-wss-soap-message-security-1.0#Base64Binary"
#define DS_EXC_C14N "http://www.w3.org/2001/10/xml-exc-c14n#"
#define DS_ECDSA_SHA256 "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"
#define DS_SHA256 "http://www.w3.org/2001/04/xmlenc#sha256"

/* What is signed, in the order of the references in SignedInfo. */
enum envelope_part {
	PART_TO,
	PART_ACTION,
	PART_MESSAGE_ID,
	PART_RELATES_TO, /* replies only */
	PART_CONTEXT,
	PART_TIMESTAMP,
	PART_TOKEN,
	PART_BODY,
	PART_MAX
};
extern const char *const envelope_part_ids[PART_MAX]; /* wsu:Id */

struct envelope_span {
	size_t at, n;
};
struct envelope {
	/* given */
	const struct soap_addressing *addressing;
	const char *created, *expires;
	const char *token;     /* certificate, DER, base64 on one line */
	const char *signature; /* r and s, base64 on one line; needed by envelope_assemble only */
	/* made */
	struct strbuf scratch;
	struct envelope_span parts[PART_MAX]; /* canonical bytes in scratch; n 0: absent */
	char digests[PART_MAX][45];           /* base64 of SHA-256 */
	struct envelope_span signed_info;
};
void envelope_done(struct envelope *env);
/* Puts the Body element around canonical content into scratch, as part PART_BODY. */
void envelope_wrap_body(struct envelope *env, struct str content);
/* Writes the other parts and SignedInfo. PART_BODY must be there already. */
void envelope_compose(struct envelope *env);
struct str envelope_span_str(const struct envelope *env, struct envelope_span span);
/* Appends the whole envelope. */
void envelope_assemble(const struct envelope *env, struct strbuf *out);
