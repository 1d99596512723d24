/* Tokens: base64 of expiry (8 bytes, big-endian seconds) and HMAC-SHA256. 40 bytes, 56 characters.
 */
#include "metadata_token.h"
#include <endian.h>
#include <stdio.h>
#include <string.h>
#include "auth/digest.h"
#include "base/id.h"
#include "base/strbuf.h"
#include "run/fs.h"

#define KEY_FILE "metadata-token.key"
#define MAC_SIZE 32
#define TOKEN_BYTES (8 + MAC_SIZE)

int
metadata_key_load(const char *directory, struct metadata_key *ret, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/" KEY_FILE, directory);
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	char hex[2 * sizeof(ret->bytes) + 1];
	size_t n = 0;
	int r;

	if (fs_exists(path)) {
		r = fs_read(path, 4096, &text, e);
		if (r < 0)
			return r;
		if (!hex_decode(str_trim((struct str){ text.p, text.n ? text.n - 1 : 0 }),
			ret->bytes, sizeof(ret->bytes), &n) ||
		    n != sizeof(ret->bytes))
			return err_set(e, ERR_CORRUPT, "'%s' holds no key", path);
		return 0;
	}
	random_bytes(ret->bytes, sizeof(ret->bytes));
	hex_encode(ret->bytes, sizeof(ret->bytes), hex);
	strbuf_addf(&text, "%s\n", hex);
	return fs_write_atomic(path, strbuf_str(&text), 0600, e);
}

static void
sign(const struct metadata_key *key, const struct metadata_token_owner *owner,
    const uint8_t expiry[8], uint8_t mac[MAC_SIZE])
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

	strbuf_add(&b, expiry, 8);
	strbuf_addf(&b, "%u %u %s", owner->vni, ntohl(owner->address.s_addr), owner->instance_id);
	hmac(DIGEST_SHA256, (struct str){ (const char *)key->bytes, sizeof(key->bytes) },
	    strbuf_str(&b), mac);
}

void
metadata_token_make(const struct metadata_key *key, const struct metadata_token_owner *owner,
    int64_t now_us, uint32_t ttl_seconds, char out[METADATA_TOKEN_SIZE])
{
	uint64_t expiry = htobe64((uint64_t)(now_us / 1000000) + ttl_seconds);
	_cleanup_free_ char *text = NULL;
	uint8_t bytes[TOKEN_BYTES];

	memcpy(bytes, &expiry, 8);
	sign(key, owner, bytes, bytes + 8);
	text = base64_encode(bytes, sizeof(bytes));
	(void)snprintf(out, METADATA_TOKEN_SIZE, "%s", text);
}

uint32_t
metadata_token_check(const struct metadata_key *key, const struct metadata_token_owner *owner,
    int64_t now_us, struct str token)
{
	_cleanup_free_ void *bytes = NULL;
	uint64_t expiry, now = (uint64_t)(now_us / 1000000);
	uint8_t mac[MAC_SIZE];
	size_t n;

	if (token.n >= METADATA_TOKEN_SIZE || !base64_decode(token, &bytes, &n) || n != TOKEN_BYTES)
		return 0;
	sign(key, owner, bytes, mac);
	if (!digest_equal(mac, (const uint8_t *)bytes + 8, MAC_SIZE))
		return 0;
	memcpy(&expiry, bytes, 8);
	expiry = be64toh(expiry);
	return expiry > now && expiry - now <= METADATA_TOKEN_TTL_MAX ? (uint32_t)(expiry - now)
								      : 0;
}
