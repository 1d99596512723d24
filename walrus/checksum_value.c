/* CRCs of parts are combined by multiplication in GF(2)[x]: appending n bytes multiplies what was
 * by x^8n. Polynomials are written bit-reflected, as the CRCs are: bit 31 or 63 is x^0. */
#include "checksum_value.h"

#include <stdio.h>
#include <string.h>

static const struct {
	const char *name, *element;
	uint64_t polynomial; /* 0: no CRC */
	unsigned bits;
} algorithms[CHECKSUM_MAX] = {
	[CHECKSUM_CRC32] = { "CRC32", "ChecksumCRC32", UINT64_C(0xedb88320), 32 },
	[CHECKSUM_CRC32C] = { "CRC32C", "ChecksumCRC32C", UINT64_C(0x82f63b78), 32 },
	[CHECKSUM_CRC64NVME] = { "CRC64NVME", "ChecksumCRC64NVME", UINT64_C(0x9a6c9329ac4bc9b5),
	    64 },
	[CHECKSUM_SHA1] = { "SHA1", "ChecksumSHA1", 0, 0 },
	[CHECKSUM_SHA256] = { "SHA256", "ChecksumSHA256", 0, 0 },
};
static const char *const types[] = { "FULL_OBJECT", "COMPOSITE" };

const char *
checksum_name(enum checksum_algorithm a)
{
	return algorithms[a].name;
}

const char *
checksum_element(enum checksum_algorithm a)
{
	return algorithms[a].element;
}

const char *
checksum_type_name(enum checksum_type t)
{
	return types[t];
}

bool
checksum_from_name(struct str name, enum checksum_algorithm *ret)
{
	for (unsigned a = 0; a < CHECKSUM_MAX; a++)
		if (str_is_nocase(name, algorithms[a].name)) {
			*ret = a;
			return true;
		}
	return false;
}

static bool
type_from_name(struct str name, enum checksum_type *ret)
{
	for (unsigned t = 0; t < ARRAY_SIZE(types); t++)
		if (str_is(name, types[t])) {
			*ret = t;
			return true;
		}
	return false;
}

/* -- texts -- */

/* "BASE64" or "BASE64-PARTS". */
static bool
read_value(struct str text, struct checksum_value *ret)
{
	const char *dash = text.n ? memrchr(text.p, '-', text.n) : NULL;
	_cleanup_free_ void *bytes = NULL;
	size_t n;

	ret->part_count = 0;
	if (dash) {
		struct str count = { dash + 1, text.n - (size_t)(dash + 1 - text.p) };

		if (!str_to_u32(count, &ret->part_count))
			return false;
		text.n = (size_t)(dash - text.p);
	}
	if (text.n > 64 || !base64_decode(text, &bytes, &n) || n != checksum_size(ret->algorithm))
		return false;
	memcpy(ret->bytes, bytes, n);
	ret->size = n;
	return true;
}

bool
checksum_value_read(enum checksum_algorithm a, struct str text, struct checksum_value *ret)
{
	struct checksum_value v = { .algorithm = a };

	if (!read_value(text, &v))
		return false;
	v.type = v.part_count ? CHECKSUM_COMPOSITE : CHECKSUM_FULL_OBJECT;
	*ret = v;
	return true;
}

void
checksum_value_parse(const char *text, struct checksum_value *ret)
{
	struct str rest = str_of(text), word;

	*ret = (struct checksum_value){ .algorithm = CHECKSUM_MAX };
	if (!text || !str_split(&rest, ' ', &word) || !checksum_from_name(word, &ret->algorithm))
		return;
	if (str_split(&rest, ' ', &word))
		(void)type_from_name(word, &ret->type);
	(void)read_value(rest, ret);
}

char *
checksum_value_text(const struct checksum_value *v, struct arena *arena)
{
	_cleanup_free_ char *text = NULL;

	if (v->algorithm == CHECKSUM_MAX || v->size == 0)
		return NULL;
	text = base64_encode(v->bytes, v->size);
	return v->part_count ? arena_printf(arena, "%s-%u", text, v->part_count)
			     : arena_strdup(arena, text);
}

char *
checksum_value_format(const struct checksum_value *v, struct arena *arena)
{
	const char *text = checksum_value_text(v, arena);

	if (v->algorithm == CHECKSUM_MAX)
		return NULL;
	return arena_printf(arena, "%s %s%s%s", algorithms[v->algorithm].name, types[v->type],
	    text ? " " : "", text ? text : "");
}

void
checksum_value_end(struct checksum *c, struct checksum_value *ret)
{
	*ret = (struct checksum_value){ .algorithm = c->algorithm };
	ret->size = checksum_end(c, ret->bytes);
}

bool
checksum_is_same(const struct checksum_value *a, const struct checksum_value *b)
{
	return a->algorithm == b->algorithm && a->size == b->size &&
	       a->part_count == b->part_count && memcmp(a->bytes, b->bytes, a->size) == 0;
}

/* -- of parts -- */

static uint64_t
multiply(uint64_t a, uint64_t b, uint64_t polynomial, unsigned bits)
{
	uint64_t product = 0;

	for (uint64_t m = UINT64_C(1) << (bits - 1); m; m >>= 1) {
		if (a & m)
			product ^= b;
		b = b & 1 ? b >> 1 ^ polynomial : b >> 1;
	}
	return product;
}

/* x^8n modulo the polynomial. */
static uint64_t
power(uint64_t n, uint64_t polynomial, unsigned bits)
{
	uint64_t result = UINT64_C(1) << (bits - 1), square = UINT64_C(1) << (bits - 9);

	for (; n; n >>= 1) {
		if (n & 1)
			result = multiply(result, square, polynomial, bits);
		square = multiply(square, square, polynomial, bits);
	}
	return result;
}

uint64_t
checksum_combine(enum checksum_algorithm a, uint64_t crc_a, uint64_t crc_b, uint64_t bytes_b)
{
	uint64_t polynomial = algorithms[a].polynomial;
	unsigned bits = algorithms[a].bits;

	return multiply(power(bytes_b, polynomial, bits), crc_a, polynomial, bits) ^ crc_b;
}

void
checksum_sum_begin(struct checksum_sum *s, enum checksum_algorithm a, enum checksum_type type)
{
	*s = (struct checksum_sum){ .value = { .algorithm = a, .type = type } };
	if (type == CHECKSUM_COMPOSITE)
		checksum_begin(&s->hashes, a);
}

static uint64_t
number_of(const struct checksum_value *v)
{
	uint64_t number = 0;

	for (size_t i = 0; i < v->size; i++)
		number = number << 8 | v->bytes[i];
	return number;
}

void
checksum_sum_add(struct checksum_sum *s, const struct checksum_value *part, uint64_t part_bytes)
{
	if (s->value.type == CHECKSUM_COMPOSITE) {
		checksum_add(&s->hashes, (struct str){ (const char *)part->bytes, part->size });
		s->value.part_count++;
		return;
	}
	s->crc = s->size_bytes == 0
		     ? number_of(part)
		     : checksum_combine(s->value.algorithm, s->crc, number_of(part), part_bytes);
	s->size_bytes += part_bytes;
}

void
checksum_sum_end(struct checksum_sum *s, struct checksum_value *ret)
{
	if (s->value.type == CHECKSUM_COMPOSITE) {
		s->value.size = checksum_end(&s->hashes, s->value.bytes);
	} else {
		s->value.size = checksum_size(s->value.algorithm);
		for (size_t i = 0; i < s->value.size; i++)
			s->value.bytes[i] = (uint8_t)(s->crc >> 8 * (s->value.size - 1 - i));
	}
	*ret = s->value;
}

/* -- requests -- */

/* CRC-64/NVME is of whole objects only, a SHA of parts. */
static int
read_type(const struct request *rq, struct checksum_value *io, struct err *e)
{
	struct str type = request_header(rq, "x-amz-checksum-type");
	bool is_crc = algorithms[io->algorithm].polynomial != 0;

	io->type = io->algorithm == CHECKSUM_CRC64NVME ? CHECKSUM_FULL_OBJECT : CHECKSUM_COMPOSITE;
	if (!type.p)
		return 0;
	if (!type_from_name(type, &io->type))
		return err_set(
		    e, ERR_INVALID_REQUEST, "Value for x-amz-checksum-type header is invalid.");
	if (io->type == CHECKSUM_FULL_OBJECT ? !is_crc : io->algorithm == CHECKSUM_CRC64NVME)
		return err_set(e, ERR_INVALID_REQUEST,
		    "The %s checksum type cannot be used with the %s checksum algorithm.",
		    types[io->type], checksum_header(io->algorithm) + strlen("x-amz-checksum-"));
	return 0;
}

int
checksum_wanted(const struct request *rq, struct checksum_value *ret, struct err *e)
{
	struct str name = request_header(rq, "x-amz-checksum-algorithm");

	*ret = (struct checksum_value){ .algorithm = CHECKSUM_MAX };
	if (!name.p && request_header(rq, "x-amz-checksum-type").p)
		return err_set(e, ERR_INVALID_REQUEST,
		    "The x-amz-checksum-type header can only be used with the "
		    "x-amz-checksum-algorithm header.");
	if (!name.p)
		return 0;
	if (!checksum_from_name(name, &ret->algorithm))
		return err_set(e, ERR_INVALID_REQUEST,
		    "Checksum algorithm provided is unsupported. Please try again with any of the "
		    "valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]");
	return read_type(rq, ret, e);
}

int
checksum_named(const struct request *rq, struct checksum_value *ret, struct err *e)
{
	enum checksum_algorithm a;

	*ret = (struct checksum_value){ .algorithm = CHECKSUM_MAX };
	for (unsigned i = 0; i < rq->head->header_count; i++) {
		const struct http_header *h = &rq->head->headers[i];

		if (!checksum_from_header(h->name, &a))
			continue;
		if (ret->algorithm != CHECKSUM_MAX)
			return err_set(e, ERR_INVALID_REQUEST,
			    "Expecting a single x-amz-checksum- header. Multiple checksum Types "
			    "are not allowed.");
		if (!checksum_value_read(a, h->value, ret))
			return err_set(e, ERR_INVALID_REQUEST, "Value for %s header is invalid.",
			    checksum_header(a));
	}
	return 0;
}

void
checksum_of_body(const struct request *rq, struct checksum_value *ret)
{
	*ret = (struct checksum_value){ .algorithm = rq->checksum.algorithm };
	ret->size = checksum_size(ret->algorithm);
	memcpy(ret->bytes, rq->checksum_bytes, ret->size);
}

void
checksum_reply(struct request *rq, const char *text)
{
	struct checksum_value v;

	checksum_value_parse(text, &v);
	if (v.algorithm == CHECKSUM_MAX || v.size == 0)
		return;
	reply_header(rq, checksum_header(v.algorithm), checksum_value_text(&v, rq->arena));
	reply_header(rq, "x-amz-checksum-type", types[v.type]);
}

void
checksum_write(struct request *rq, struct xml_writer *w, const char *text, bool with_type)
{
	struct checksum_value v;

	checksum_value_parse(text, &v);
	if (v.algorithm == CHECKSUM_MAX || v.size == 0)
		return;
	xml_element(w, checksum_element(v.algorithm), checksum_value_text(&v, rq->arena));
	if (with_type)
		xml_element(w, "ChecksumType", types[v.type]);
}

void
checksum_write_kind(struct xml_writer *w, const char *text)
{
	struct checksum_value v;

	checksum_value_parse(text, &v);
	if (v.algorithm == CHECKSUM_MAX)
		return;
	xml_element(w, "ChecksumAlgorithm", algorithms[v.algorithm].name);
	xml_element(w, "ChecksumType", types[v.type]);
}
