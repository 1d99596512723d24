/* Manifests. Only a part of the document is signed, as text: so that nothing else can slip in, the
 * two signed elements are cut out of the text, and what is read is read from that cutting. Tools
 * print the document in one line when they sign it; some indent it afterwards, which is undone
 * before the signature is tried again. Nothing here has state. */
#include "manifest.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "auth/digest.h"
#include "base/vec.h"
#include "run/fs.h"
#include "xml/xml_read.h"
#include "xml/xml_write.h"

#define VERSION "2007-10-10"
#define TEXT_MAX 1024
#define HEX_MAX 2048 /* of a signature or a wrapped key: RSA of 8192 bits */
#define KEY_FILE_MAX 65536
#define BUNDLED_MAX (UINT64_C(1) << 44)

DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)
DEFINE_CLEANUP(EVP_PKEY_CTX *, EVP_PKEY_CTX_free)
DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free)
DEFINE_CLEANUP(X509 *, X509_free)
DEFINE_CLEANUP(BIO *, BIO_free_all)

static const struct xml_limits limits = {
	.bytes = MANIFEST_BYTES_MAX, .attributes = 8, .depth = 8, .elements = 5 * MANIFEST_PARTS_MAX
};

/* -- reading -- */

static int
wrong(struct err *e, const char *what, const char *why)
{
	return err_set(e, ERR_INVALID_MANIFEST, "The manifest is invalid: %s %s", what, why);
}

/* The element from its first opening tag at or after `from`. */
static bool
cut(struct str text, size_t from, const char *open, const char *close, struct str *ret)
{
	const char *start = memmem(text.p + from, text.n - from, open, strlen(open)), *end;

	if (!start)
		return false;
	end = memmem(start, (size_t)(text.p + text.n - start), close, strlen(close));
	if (!end)
		return false;
	*ret = (struct str){ start, (size_t)(end - start) + strlen(close) };
	return true;
}

static int
cut_signed(struct str text, struct arena *arena, struct str *ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf both = STRBUF_INIT;
	struct str machine, image;

	if (!cut(text, 0, "<machine_configuration>", "</machine_configuration>", &machine))
		return wrong(e, "machine_configuration", "is missing");
	if (!cut(text, (size_t)(machine.p + machine.n - text.p), "<image>", "</image>", &image))
		return wrong(e, "image", "is missing behind machine_configuration");
	strbuf_addstr(&both, machine);
	strbuf_addstr(&both, image);
	ret->n = both.n;
	ret->p = arena_memdup(arena, strbuf_c(&both), both.n + 1);
	return 0;
}

static bool
is_hex(const char *text, size_t n)
{
	return strlen(text) == n && strspn(text, "0123456789abcdefABCDEF") == n;
}

static const char *
text_of(xmlNode *node, size_t limit, struct arena *arena)
{
	char *text = node ? xml_text_of(node, limit, arena) : NULL;
	size_t n;

	if (!text)
		return NULL;
	text += strspn(text, " \t\r\n");
	for (n = strlen(text); n && strchr(" \t\r\n", text[n - 1]); n--)
		text[n - 1] = '\0';
	return text;
}

static int
take_text(xmlNode *parent, const char *name, size_t limit, struct arena *arena, const char **ret,
    struct err *e)
{
	*ret = text_of(xml_find(parent, name), limit, arena);
	return *ret && **ret ? 0 : wrong(e, name, "is missing, empty or too long");
}

static int
take_number(xmlNode *parent, const char *name, struct arena *arena, uint64_t *ret, struct err *e)
{
	const char *text;
	int r = take_text(parent, name, 20, arena, &text, e);

	if (r < 0)
		return r;
	return str_to_u64(str_of(text), ret) && *ret > 0 && *ret <= BUNDLED_MAX
		   ? 0
		   : wrong(e, name, "is no possible size");
}

/* In lower case. */
static int
take_sha1(xmlNode *parent, struct arena *arena, const char **ret, struct err *e)
{
	xmlNode *node = xml_find(parent, "digest");
	_cleanup_free_ char *algorithm = NULL;
	xmlChar *value;
	const char *text;
	char *lower;
	int r = take_text(parent, "digest", 40, arena, &text, e);

	if (r < 0)
		return r;
	value = xmlGetNoNsProp(node, (const xmlChar *)"algorithm");
	algorithm = xstrdup(value ? (const char *)value : "SHA1");
	xmlFree(value);
	if (strcasecmp(algorithm, "SHA1") != 0 || !is_hex(text, 40))
		return wrong(e, "digest", "is no SHA1");
	lower = arena_strdup(arena, text);
	for (char *p = lower; *p; p++)
		if (*p >= 'A' && *p <= 'F')
			*p |= 0x20;
	*ret = lower;
	return 0;
}

static int
take_hex(xmlNode *parent, const char *name, struct arena *arena, const char **ret, struct err *e)
{
	int r = take_text(parent, name, HEX_MAX, arena, ret, e);

	if (r < 0)
		return r;
	return strlen(*ret) % 2 == 0 && is_hex(*ret, strlen(*ret)) ? 0
								   : wrong(e, name, "is no hex");
}

static int
read_mappings(xmlNode *machine, struct arena *arena, struct manifest *m, struct err *e)
{
	xmlNode *list = xml_find(machine, "block_device_mapping");
	VEC(struct manifest_mapping) found = { 0 };
	int r = 0;

	for (xmlNode *n = list ? xml_first(list) : NULL; r == 0 && n; n = xml_next(n)) {
		struct manifest_mapping mapping = { 0 };

		if (!xml_is(n, NULL, "mapping"))
			continue;
		if (found.count == MANIFEST_MAPPINGS_MAX)
			r = wrong(e, "block_device_mapping", "is too long");
		if (r == 0)
			r = take_text(n, "virtual", 32, arena, &mapping.virtual_name, e);
		if (r == 0)
			r = take_text(n, "device", 32, arena, &mapping.device, e);
		vec_add(&found, mapping);
	}
	m->mappings = arena_memdup(arena, found.items, found.count * sizeof(*found.items));
	m->mapping_count = found.count;
	vec_done(&found);
	return r;
}

static int
read_machine(xmlNode *machine, struct arena *arena, struct manifest *m, struct err *e)
{
	int r = take_text(machine, "architecture", 16, arena, &m->architecture, e);

	if (r < 0)
		return r;
	m->kernel_id = text_of(xml_find(machine, "kernel_id"), 64, arena);
	m->ramdisk_id = text_of(xml_find(machine, "ramdisk_id"), 64, arena);
	if (m->kernel_id && !m->kernel_id[0])
		m->kernel_id = NULL;
	if (m->ramdisk_id && !m->ramdisk_id[0])
		m->ramdisk_id = NULL;
	return read_mappings(machine, arena, m, e);
}

static bool
attribute_number(xmlNode *node, const char *name, uint32_t *ret)
{
	xmlChar *value = xmlGetNoNsProp(node, (const xmlChar *)name);
	bool is_one = value && str_to_u32(str_of((const char *)value), ret);

	xmlFree(value);
	return is_one;
}

static int
read_part(xmlNode *node, struct arena *arena, struct manifest *m, struct err *e)
{
	struct manifest_part *part;
	uint32_t index;
	int r;

	if (!attribute_number(node, "index", &index) || index >= m->part_count)
		return wrong(e, "part", "has no index among the parts");
	part = &m->parts[index];
	if (part->filename)
		return wrong(e, "part", "is there twice");
	r = take_text(node, "filename", TEXT_MAX, arena, &part->filename, e);
	if (r == 0 && (strchr(part->filename, '/') || part->filename[0] == '.'))
		return wrong(e, "filename", "is not one beside the manifest");
	return r < 0 ? r : take_sha1(node, arena, &part->sha1, e);
}

static int
read_parts(xmlNode *image, struct arena *arena, struct manifest *m, struct err *e)
{
	xmlNode *list = xml_find(image, "parts");
	uint32_t count = 0;
	size_t found = 0;
	int r = 0;

	if (!list || !attribute_number(list, "count", &count) || count == 0)
		return wrong(e, "parts", "are missing or not counted");
	if (count > MANIFEST_PARTS_MAX)
		return wrong(e, "parts", "are too many");
	m->part_count = count;
	m->parts = arena_alloc(arena, count * sizeof(*m->parts));
	for (xmlNode *n = xml_first(list); r == 0 && n; n = xml_next(n)) {
		if (!xml_is(n, NULL, "part"))
			continue;
		r = read_part(n, arena, m, e);
		found++;
	}
	return r < 0 || found == count ? r : wrong(e, "parts", "are fewer than their count");
}

static int
read_image(xmlNode *image, struct arena *arena, struct manifest *m, struct err *e)
{
	int r = take_text(image, "name", TEXT_MAX, arena, &m->name, e);

	if (r == 0)
		r = take_text(image, "user", 64, arena, &m->user, e);
	if (r == 0)
		r = take_text(image, "type", 16, arena, &m->type, e);
	if (r == 0 && strcmp(m->type, "machine") != 0 && strcmp(m->type, "kernel") != 0 &&
	    strcmp(m->type, "ramdisk") != 0)
		r = wrong(e, "type", "is none of machine, kernel and ramdisk");
	if (r == 0)
		r = take_sha1(image, arena, &m->sha1, e);
	if (r == 0)
		r = take_number(image, "size", arena, &m->size_bytes, e);
	if (r == 0)
		r = take_number(image, "bundled_size", arena, &m->bundled_bytes, e);
	if (r == 0)
		r = take_hex(image, "ec2_encrypted_key", arena, &m->cloud_key, e);
	if (r == 0)
		r = take_hex(image, "ec2_encrypted_iv", arena, &m->cloud_iv, e);
	if (r == 0)
		r = take_hex(image, "user_encrypted_key", arena, &m->user_key, e);
	if (r == 0)
		r = take_hex(image, "user_encrypted_iv", arena, &m->user_iv, e);
	return r < 0 ? r : read_parts(image, arena, m, e);
}

/* The frame: what is around the signed elements counts for nothing but version and signature. */
static int
read_frame(struct str text, struct arena *arena, struct manifest *m, struct err *e)
{
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	const char *version;
	xmlNode *root;
	int r = xml_parse(text, &limits, &doc, e);

	if (r < 0)
		return wrong(e, "it", "is not XML, or too large");
	root = xmlDocGetRootElement(doc);
	if (!xml_is(root, NULL, "manifest"))
		return wrong(e, "manifest", "is not its root element");
	r = take_text(root, "version", 32, arena, &version, e);
	if (r == 0 && strcmp(version, VERSION) != 0)
		r = wrong(e, "version", "is not " VERSION);
	return r < 0 ? r : take_hex(root, "signature", arena, &m->signature, e);
}

int
manifest_parse(struct str text, struct arena *arena, struct manifest *ret, struct err *e)
{
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	_cleanup_strbuf_ struct strbuf whole = STRBUF_INIT;
	struct manifest m = { 0 };
	xmlNode *root;
	int r;

	if (text.n > MANIFEST_BYTES_MAX)
		return wrong(e, "it", "is too large");
	r = read_frame(text, arena, &m, e);
	if (r == 0)
		r = cut_signed(text, arena, &m.signed_text, e);
	if (r < 0)
		return r;
	strbuf_adds(&whole, "<manifest>");
	strbuf_addstr(&whole, m.signed_text);
	strbuf_adds(&whole, "</manifest>");
	if (xml_parse(strbuf_str(&whole), &limits, &doc, e) < 0)
		return wrong(e, "what is signed", "is not XML");
	root = xmlDocGetRootElement(doc);
	if (!xml_find(root, "machine_configuration") || !xml_find(root, "image"))
		return wrong(e, "what is signed", "is not a machine_configuration and an image");
	r = read_machine(xml_find(root, "machine_configuration"), arena, &m, e);
	if (r == 0)
		r = read_image(xml_find(root, "image"), arena, &m, e);
	if (r == 0)
		*ret = m;
	return r;
}

/* -- the signature -- */

static EVP_PKEY *
certificate_key(const char *pem)
{
	_cleanup_(BIO_free_allp) BIO *b = BIO_new_mem_buf(pem, -1);
	_cleanup_(X509_freep) X509 *certificate = b ? PEM_read_bio_X509(b, NULL, NULL, NULL) : NULL;
	EVP_PKEY *key = certificate ? X509_get_pubkey(certificate) : NULL;

	ERR_clear_error();
	if (key && EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA) {
		EVP_PKEY_free(key);
		return NULL;
	}
	return key;
}

static bool
verify(EVP_PKEY *key, struct str text, struct str signature)
{
	_cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *c = EVP_MD_CTX_new();
	bool is_good = c && EVP_DigestVerifyInit(c, NULL, EVP_sha1(), NULL, key) == 1 &&
		       EVP_DigestVerify(c, (const uint8_t *)signature.p, signature.n,
			   (const uint8_t *)text.p, text.n) == 1;

	ERR_clear_error();
	return is_good;
}

/* White space between two tags goes. */
static void
unindent(struct str text, struct strbuf *out)
{
	for (size_t i = 0; i < text.n;) {
		size_t n = 0;

		strbuf_addc(out, text.p[i]);
		if (text.p[i++] != '>')
			continue;
		while (i + n < text.n && strchr(" \t\r\n", text.p[i + n]) && text.p[i + n])
			n++;
		if (i + n < text.n && text.p[i + n] == '<')
			i += n;
	}
}

bool
manifest_is_signed_by(const struct manifest *m, const char *certificate_pem)
{
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = certificate_key(certificate_pem);
	_cleanup_strbuf_ struct strbuf flat = STRBUF_INIT;
	uint8_t bytes[HEX_MAX / 2];
	struct str signature = { (const char *)bytes, 0 };

	if (!key || !hex_decode(str_of(m->signature), bytes, sizeof(bytes), &signature.n))
		return false;
	if (verify(key, m->signed_text, signature))
		return true;
	unindent(m->signed_text, &flat);
	return verify(key, strbuf_str(&flat), signature);
}

/* -- keys -- */

static int
read_key(const char *path, EVP_PKEY **ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf pem = STRBUF_INIT;
	_cleanup_(BIO_free_allp) BIO *b = NULL;
	int r = fs_read(path, KEY_FILE_MAX, &pem, e);

	if (r < 0)
		return r;
	b = BIO_new_mem_buf(strbuf_c(&pem), -1);
	*ret = b ? PEM_read_bio_PrivateKey(b, NULL, NULL, (void *)"") : NULL;
	OPENSSL_cleanse(pem.p, pem.n);
	ERR_clear_error();
	return *ret ? 0 : err_set(e, ERR_INTERNAL, "'%s' holds no private key", path);
}

int
manifest_unwrap(
    const char *key_path, const char *wrapped_hex, char ret[MANIFEST_KEY_HEX + 1], struct err *e)
{
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	_cleanup_(EVP_PKEY_CTX_freep) EVP_PKEY_CTX *c = NULL;
	uint8_t wrapped[HEX_MAX / 2], clear[HEX_MAX / 2];
	size_t n = 0, clear_n = sizeof(clear);
	bool is_good;
	int r = read_key(key_path, &key, e);

	if (r < 0)
		return r;
	c = EVP_PKEY_CTX_new(key, NULL);
	is_good = hex_decode(str_of(wrapped_hex), wrapped, sizeof(wrapped), &n) &&
		  EVP_PKEY_decrypt_init(c) == 1 &&
		  EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_PADDING) == 1 &&
		  EVP_PKEY_decrypt(c, clear, &clear_n, wrapped, n) == 1 &&
		  clear_n == MANIFEST_KEY_HEX;
	ERR_clear_error();
	if (is_good) {
		memcpy(ret, clear, clear_n);
		ret[clear_n] = '\0';
		is_good = is_hex(ret, MANIFEST_KEY_HEX);
	}
	OPENSSL_cleanse(clear, sizeof(clear));
	return is_good ? 0
		       : err_set(e, ERR_INVALID_MANIFEST,
			     "The manifest is invalid: its key is not encrypted for this cloud");
}

int
manifest_wrap(const char *certificate_pem, const char *hex, struct arena *arena, const char **ret,
    struct err *e)
{
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = certificate_key(certificate_pem);
	_cleanup_(EVP_PKEY_CTX_freep) EVP_PKEY_CTX *c = key ? EVP_PKEY_CTX_new(key, NULL) : NULL;
	uint8_t wrapped[HEX_MAX / 2];
	size_t n = sizeof(wrapped);
	char *text;

	if (!c || EVP_PKEY_encrypt_init(c) != 1 ||
	    EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_PADDING) != 1 ||
	    EVP_PKEY_encrypt(c, wrapped, &n, (const uint8_t *)hex, strlen(hex)) != 1) {
		ERR_clear_error();
		return err_set(e, ERR_INVALID, "nothing can be encrypted for that certificate");
	}
	text = arena_alloc(arena, 2 * n + 1);
	hex_encode(wrapped, n, text);
	*ret = text;
	return 0;
}

/* -- writing -- */

static void
write_digest(struct xml_writer *w, const char *sha1)
{
	xml_open(w, "digest");
	xml_attribute(w, "algorithm", "SHA1");
	xml_text(w, str_of(sha1));
	xml_close(w, "digest");
}

static void
write_wrapped_key(struct xml_writer *w, const char *name, const char *hex)
{
	xml_open(w, name);
	xml_attribute(w, "algorithm", "AES-128-CBC");
	xml_text(w, str_of(hex));
	xml_close(w, name);
}

static void
write_machine(struct xml_writer *w, const struct manifest *m)
{
	xml_open(w, "machine_configuration");
	xml_element(w, "architecture", m->architecture);
	xml_element(w, "kernel_id", m->kernel_id);
	xml_element(w, "ramdisk_id", m->ramdisk_id);
	if (m->mapping_count) {
		xml_open(w, "block_device_mapping");
		for (size_t i = 0; i < m->mapping_count; i++) {
			xml_open(w, "mapping");
			xml_element(w, "device", m->mappings[i].device);
			xml_element(w, "virtual", m->mappings[i].virtual_name);
			xml_close(w, "mapping");
		}
		xml_close(w, "block_device_mapping");
	}
	xml_close(w, "machine_configuration");
}

static void
write_parts(struct xml_writer *w, const struct manifest *m)
{
	char number[24];

	xml_open(w, "parts");
	(void)snprintf(number, sizeof(number), "%zu", m->part_count);
	xml_attribute(w, "count", number);
	for (size_t i = 0; i < m->part_count; i++) {
		(void)snprintf(number, sizeof(number), "%zu", i);
		xml_open(w, "part");
		xml_attribute(w, "index", number);
		xml_element(w, "filename", m->parts[i].filename);
		write_digest(w, m->parts[i].sha1);
		xml_close(w, "part");
	}
	xml_close(w, "parts");
}

static void
write_image(struct xml_writer *w, const struct manifest *m)
{
	xml_open(w, "image");
	xml_element(w, "name", m->name);
	xml_element(w, "user", m->user);
	xml_element(w, "type", m->type);
	write_digest(w, m->sha1);
	xml_elementf(w, "size", "%llu", (unsigned long long)m->size_bytes);
	xml_elementf(w, "bundled_size", "%llu", (unsigned long long)m->bundled_bytes);
	write_wrapped_key(w, "ec2_encrypted_key", m->cloud_key);
	write_wrapped_key(w, "user_encrypted_key", m->user_key);
	xml_element(w, "ec2_encrypted_iv", m->cloud_iv);
	xml_element(w, "user_encrypted_iv", m->user_iv);
	write_parts(w, m);
	xml_close(w, "image");
}

static int
sign(const char *key_path, struct str text, struct strbuf *ret_hex, struct err *e)
{
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	_cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *c = EVP_MD_CTX_new();
	uint8_t signature[HEX_MAX / 2];
	char hex[HEX_MAX + 1];
	size_t n = sizeof(signature);
	int r = read_key(key_path, &key, e);

	if (r < 0)
		return r;
	if (!c || EVP_DigestSignInit(c, NULL, EVP_sha1(), NULL, key) != 1 ||
	    EVP_DigestSign(c, signature, &n, (const uint8_t *)text.p, text.n) != 1) {
		ERR_clear_error();
		return err_set(e, ERR_INTERNAL, "cannot sign with '%s'", key_path);
	}
	hex_encode(signature, n, hex);
	strbuf_adds(ret_hex, hex);
	return 0;
}

int
manifest_write(const struct manifest *m, const char *key_path, struct strbuf *out, struct err *e)
{
	_cleanup_strbuf_ struct strbuf body = STRBUF_INIT, signature = STRBUF_INIT;
	struct xml_writer inner, w;
	int r;

	xml_writer_init(&inner, &body, false);
	write_machine(&inner, m);
	write_image(&inner, m);
	r = sign(key_path, strbuf_str(&body), &signature, e);
	if (r < 0)
		return r;
	xml_writer_init(&w, out, false);
	xml_open(&w, "manifest");
	xml_element(&w, "version", VERSION);
	xml_open(&w, "bundler");
	xml_element(&w, "name", "mallee");
	xml_element(&w, "version", "1");
	xml_element(&w, "release", "0");
	xml_close(&w, "bundler");
	xml_raw(&w, strbuf_str(&body));
	xml_element(&w, "signature", strbuf_c(&signature));
	xml_close(&w, "manifest");
	return 0;
}
