/* Messages are Amazon's: clients show them to people. */
#include "encryption_request.h"

#include <string.h>

#include "auth/digest.h"
#include "bucket.h"

#define ALGORITHM "AES256"

struct customer {
	bool is_given;
	uint8_t key[CUSTOMER_KEY_SIZE];
	const char *md5; /* as it was sent */
};

/* -- headers -- */

static int
invalid_algorithm(struct err *e)
{
	return err_set(e, ERR_INVALID_ENCRYPTION,
	    "The encryption request you specified is not valid. Supported value: AES256.");
}

static int
read_key(struct str key, struct str md5, struct customer *ret, struct err *e)
{
	_cleanup_free_ void *bytes = NULL, *wanted = NULL;
	uint8_t seen[16];
	size_t n;

	if (key.n > 256 || !base64_decode(key, &bytes, &n) || n != sizeof(ret->key))
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "The secret key was invalid for the specified algorithm.");
	memcpy(ret->key, bytes, n);
	explicit_bzero(bytes, n);
	digest(DIGEST_MD5, (struct str){ (const char *)ret->key, sizeof(ret->key) }, seen);
	if (md5.n > 64 || !base64_decode(md5, &wanted, &n) || n != sizeof(seen) ||
	    memcmp(wanted, seen, n) != 0)
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "The calculated MD5 hash of the key did not match the hash that was provided.");
	return 0;
}

#define CUSTOMER_HEADERS(prefix)                                                                   \
	{                                                                                          \
		STR(prefix "server-side-encryption-customer-algorithm"),                           \
		    STR(prefix "server-side-encryption-customer-key"),                             \
		    STR(prefix "server-side-encryption-customer-key-md5")                          \
	}

enum whose { OF_OBJECT, OF_SOURCE }; /* the key of what is written or read, or of what is copied */

static int
read_customer(struct request *rq, enum whose whose, struct customer *ret, struct err *e)
{
	const struct str names[][3] = { [OF_OBJECT] = CUSTOMER_HEADERS("x-amz-"),
		[OF_SOURCE] = CUSTOMER_HEADERS("x-amz-copy-source-") };
	struct str values[3];

	*ret = (struct customer){ 0 };
	for (unsigned i = 0; i < 3; i++) {
		values[i] = http_head_find_str(rq->head, names[whose][i]);
		ret->is_given |= values[i].p != NULL;
	}
	if (!ret->is_given)
		return 0;
	if (!rq->peer.is_tls)
		return err_set(e, ERR_INVALID_REQUEST,
		    "Requests specifying Server Side Encryption with Customer provided keys must "
		    "be "
		    "made over a secure connection.");
	if (!values[0].p)
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "Requests specifying Server Side Encryption with Customer provided keys must "
		    "provide a valid encryption algorithm.");
	if (!str_is(values[0], ALGORITHM))
		return invalid_algorithm(e);
	if (!values[1].p)
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "Requests specifying Server Side Encryption with Customer provided keys must "
		    "provide an appropriate secret key.");
	if (!values[2].p)
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "Requests specifying Server Side Encryption with Customer provided keys must "
		    "provide the client calculated MD5 of the secret key.");
	ret->md5 = arena_str(rq->arena, values[2]);
	return read_key(values[1], values[2], ret, e);
}

static int
check_service(struct str algorithm, bool has_key_id, struct err *e)
{
	if (str_is(algorithm, "aws:kms") || str_is(algorithm, "aws:kms:dsse"))
		return err_set(e, ERR_KMS_NOT_FOUND,
		    "There is no key management service: keys of KMS can't be used");
	if (!str_is(algorithm, ALGORITHM))
		return invalid_algorithm(e);
	if (has_key_id)
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "Server Side Encryption with AWS KMS managed key requires HTTP header "
		    "x-amz-server-side-encryption : aws:kms");
	return 0;
}

/* -- writing -- */

/* Which kind an object that the request makes has. */
static int
choose(struct request *rq, struct customer *ret_customer, enum encryption *ret, struct err *e)
{
	struct str service = request_header(rq, "x-amz-server-side-encryption");
	struct str key_id = request_header(rq, "x-amz-server-side-encryption-aws-kms-key-id");
	int r = read_customer(rq, OF_OBJECT, ret_customer, e);

	if (r < 0)
		return r;
	if (service.p && ret_customer->is_given)
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "Server Side Encryption with Customer provided key is incompatible with the "
		    "encryption method specified");
	*ret = ENCRYPTION_NONE;
	if (ret_customer->is_given)
		*ret = ENCRYPTION_CUSTOMER;
	else if (service.p || key_id.p || rq->bucket->settings[SETTING_ENCRYPTION])
		*ret = ENCRYPTION_SERVICE;
	return service.p || key_id.p ? check_service(service, key_id.p != NULL, e) : 0;
}

int
encryption_begin(struct request *rq, char **ret_text, struct cipher **ret_cipher, struct err *e)
{
	uint8_t key[DATA_KEY_SIZE];
	struct customer customer;
	enum encryption kind;
	int r = choose(rq, &customer, &kind, e);

	*ret_text = NULL;
	if (ret_cipher)
		*ret_cipher = NULL;
	if (r < 0 || kind == ENCRYPTION_NONE)
		return r;
	if (kind == ENCRYPTION_CUSTOMER)
		encryption_new_customer(customer.key, rq->arena, ret_text, key);
	else
		encryption_new_service(rq->walrus->keyring, rq->arena, ret_text, key);
	if (ret_cipher)
		*ret_cipher = cipher_new(key);
	explicit_bzero(key, sizeof(key));
	explicit_bzero(&customer, sizeof(customer));
	return 0;
}

int
encryption_go_on(struct request *rq, const char *text, struct cipher **ret_cipher, struct err *e)
{
	uint8_t key[DATA_KEY_SIZE];
	struct customer customer;
	enum encryption kind = encryption_kind(text);
	int r = read_customer(rq, OF_OBJECT, &customer, e);

	*ret_cipher = NULL;
	if (r < 0)
		return r;
	if (customer.is_given && kind != ENCRYPTION_CUSTOMER)
		return err_set(e, ERR_INVALID_REQUEST,
		    "The multipart upload initiate did not request encryption. Please resend the "
		    "request without sending encryption parameters.");
	if (!customer.is_given && kind == ENCRYPTION_CUSTOMER)
		return err_set(e, ERR_INVALID_REQUEST,
		    "The multipart upload initiate requested encryption. Subsequent part requests "
		    "must include the appropriate encryption parameters.");
	if (kind == ENCRYPTION_NONE)
		return 0;
	r = encryption_key(rq->walrus->keyring, text, customer.key, key, e);
	explicit_bzero(&customer, sizeof(customer));
	if (r == ERR_ACCESS_DENIED)
		return err_set(e, ERR_INVALID_REQUEST,
		    "The provided encryption parameters did not match the ones used originally.");
	if (r < 0)
		return r;
	*ret_cipher = cipher_new(key);
	explicit_bzero(key, sizeof(key));
	return 0;
}

/* -- reading -- */

static int
unlock(struct request *rq, enum whose whose, const struct object *o, struct content_reader *reader,
    struct err *e)
{
	struct customer customer;
	enum encryption kind = encryption_kind(o->attributes.encryption);
	int r = read_customer(rq, whose, &customer, e);

	if (r < 0)
		return r;
	if (customer.is_given && kind != ENCRYPTION_CUSTOMER)
		return err_set(e, ERR_INVALID_REQUEST,
		    "The encryption parameters are not applicable to this object.");
	if (kind == ENCRYPTION_NONE)
		return 0;
	r = content_reader_unlock(reader, customer.is_given ? customer.key : NULL, e);
	explicit_bzero(&customer, sizeof(customer));
	return r;
}

int
encryption_unlock(
    struct request *rq, const struct object *o, struct content_reader *reader, struct err *e)
{
	int r;

	if (request_header(rq, "x-amz-server-side-encryption").p)
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "x-amz-server-side-encryption header is not supported for this operation.");
	r = unlock(rq, OF_OBJECT, o, reader, e);
	if (r == 0)
		encryption_reply(rq, o->attributes.encryption);
	return r;
}

int
encryption_unlock_source(
    struct request *rq, const struct object *o, struct content_reader *reader, struct err *e)
{
	return unlock(rq, OF_SOURCE, o, reader, e);
}

bool
encryption_is_same(struct request *rq, const char *source_text)
{
	uint8_t key[DATA_KEY_SIZE];
	struct customer customer;
	enum encryption kind;
	struct err ignored;

	if (choose(rq, &customer, &kind, &ignored) < 0 || kind != encryption_kind(source_text))
		return false;
	return kind != ENCRYPTION_CUSTOMER ||
	       encryption_key(rq->walrus->keyring, source_text, customer.key, key, &ignored) == 0;
}

void
encryption_reply(struct request *rq, const char *text)
{
	switch (encryption_kind(text)) {
	case ENCRYPTION_SERVICE:
		reply_header(rq, "x-amz-server-side-encryption", ALGORITHM);
		break;
	case ENCRYPTION_CUSTOMER: {
		struct str md5 =
		    request_header(rq, "x-amz-server-side-encryption-customer-key-md5");

		reply_header(rq, "x-amz-server-side-encryption-customer-algorithm", ALGORITHM);
		if (md5.p)
			reply_header(rq, "x-amz-server-side-encryption-customer-key-MD5",
			    arena_str(rq->arena, md5));
		break;
	}
	case ENCRYPTION_NONE:
		break;
	}
}

/* -- the bucket's default -- */

int
encryption_default_parse(struct str body, struct arena *arena, const void **ret, struct err *e)
{
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	xmlNode *rule, *apply, *algorithm, *key_id;
	char *text;
	int r = setting_parse_xml(body, "ServerSideEncryptionConfiguration", &doc, e);

	if (r < 0)
		return r;
	rule = xml_find(xmlDocGetRootElement(doc), "Rule");
	apply = rule ? xml_find(rule, "ApplyServerSideEncryptionByDefault") : NULL;
	algorithm = apply ? xml_find(apply, "SSEAlgorithm") : NULL;
	text = algorithm ? xml_text_of(algorithm, 32, arena) : NULL;
	if (!text)
		return setting_malformed(e);
	key_id = xml_find(apply, "KMSMasterKeyID");
	if (strcmp(text, ALGORITHM) != 0 && strncmp(text, "aws:kms", 7) != 0)
		return setting_malformed(e);
	if (key_id && strcmp(text, ALGORITHM) == 0)
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "a KMSMasterKeyID is not applicable if the default sse algorithm is not "
		    "aws:kms "
		    "or aws:kms:dsse");
	r = check_service(str_of(text), false, e);
	if (r == 0)
		*ret = ALGORITHM;
	return r;
}

void
encryption_default_write(struct request *rq, struct xml_writer *w, const void *value)
{
	xml_open(w, "Rule");
	xml_open(w, "ApplyServerSideEncryptionByDefault");
	xml_element(w, "SSEAlgorithm", value);
	xml_close(w, "ApplyServerSideEncryptionByDefault");
	xml_element(w, "BucketKeyEnabled", "false");
	xml_close(w, "Rule");
}
