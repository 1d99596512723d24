/* Conditions: each operator compares one value of the request with one of the policy by its type;
 * sets, negation and what is absent are the same for all of them. */
#include <arpa/inet.h>
#include <ctype.h>
#include <math.h>
#include <stdlib.h>

#include "auth/policy_internal.h"
#include "base/clock.h"

static const struct condition_operator operators[] = {
	{ "StringEquals", CONDITION_STRING, IS_EQUAL, false },
	{ "StringNotEquals", CONDITION_STRING, IS_EQUAL, true },
	{ "StringEqualsIgnoreCase", CONDITION_STRING, IS_EQUAL_NOCASE, false },
	{ "StringNotEqualsIgnoreCase", CONDITION_STRING, IS_EQUAL_NOCASE, true },
	{ "StringLike", CONDITION_STRING, IS_LIKE, false },
	{ "StringNotLike", CONDITION_STRING, IS_LIKE, true },
	{ "NumericEquals", CONDITION_NUMBER, IS_EQUAL, false },
	{ "NumericNotEquals", CONDITION_NUMBER, IS_EQUAL, true },
	{ "NumericLessThan", CONDITION_NUMBER, IS_LESS, false },
	{ "NumericLessThanEquals", CONDITION_NUMBER, IS_AT_MOST, false },
	{ "NumericGreaterThan", CONDITION_NUMBER, IS_MORE, false },
	{ "NumericGreaterThanEquals", CONDITION_NUMBER, IS_AT_LEAST, false },
	{ "DateEquals", CONDITION_DATE, IS_EQUAL, false },
	{ "DateNotEquals", CONDITION_DATE, IS_EQUAL, true },
	{ "DateLessThan", CONDITION_DATE, IS_LESS, false },
	{ "DateLessThanEquals", CONDITION_DATE, IS_AT_MOST, false },
	{ "DateGreaterThan", CONDITION_DATE, IS_MORE, false },
	{ "DateGreaterThanEquals", CONDITION_DATE, IS_AT_LEAST, false },
	{ "Bool", CONDITION_BOOL, IS_EQUAL, false },
	{ "BinaryEquals", CONDITION_BINARY, IS_EQUAL, false },
	{ "IpAddress", CONDITION_ADDRESS, IS_LIKE, false },
	{ "NotIpAddress", CONDITION_ADDRESS, IS_LIKE, true },
	{ "ArnEquals", CONDITION_ARN, IS_LIKE, false },
	{ "ArnLike", CONDITION_ARN, IS_LIKE, false },
	{ "ArnNotEquals", CONDITION_ARN, IS_LIKE, true },
	{ "ArnNotLike", CONDITION_ARN, IS_LIKE, true },
	{ "Null", CONDITION_NULL, IS_EQUAL, false },
};

static bool
take_prefix(struct str *text, const char *prefix)
{
	size_t n = strlen(prefix);

	if (!str_starts(*text, prefix))
		return false;
	*text = (struct str){ text->p + n, text->n - n };
	return true;
}

bool
condition_operator_parse(struct str text, struct condition *ret)
{
	static const char suffix[] = "IfExists";
	size_t n = sizeof(suffix) - 1;

	ret->set = OF_ONE;
	if (take_prefix(&text, "ForAnyValue:"))
		ret->set = FOR_ANY_VALUE;
	else if (take_prefix(&text, "ForAllValues:"))
		ret->set = FOR_ALL_VALUES;
	ret->if_exists = text.n > n && memcmp(text.p + text.n - n, suffix, n) == 0;
	if (ret->if_exists)
		text.n -= n;
	for (size_t i = 0; i < ARRAY_SIZE(operators); i++)
		if (str_is(text, operators[i].name)) {
			ret->operator= & operators[i];
			return operators[i].type != CONDITION_NULL || !ret->if_exists;
		}
	return false;
}

bool
condition_has_wildcards(const struct condition_operator *o)
{
	return o->relation == IS_LIKE && o->type != CONDITION_ADDRESS;
}

/* -- values by type -- */

static bool
read_number(struct str text, double *ret)
{
	char copy[64], *end;

	if (text.n == 0 || text.n >= sizeof(copy))
		return false;
	memcpy(copy, text.p, text.n);
	copy[text.n] = '\0';
	if (strspn(copy, "0123456789.+-eE") != text.n)
		return false;
	*ret = strtod(copy, &end);
	return *end == '\0' && isfinite(*ret);
}

/* ISO 8601, a day of it, or seconds since 1970. */
static bool
read_date(struct str text, double *ret)
{
	char day[32];
	int64_t us;

	if (text.n == 10 && text.p[4] == '-') {
		memcpy(day, text.p, 10);
		memcpy(day + 10, "T00:00:00Z", sizeof("T00:00:00Z"));
		text = str_of(day);
	}
	if (!time_parse_iso(text, &us))
		return read_number(text, ret);
	*ret = (double)us / 1e6;
	return true;
}

struct range {
	int family;
	unsigned bits;
	uint8_t bytes[16];
};

static bool
read_range(struct str text, struct range *ret)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	char copy[INET6_ADDRSTRLEN];
	struct str rest = text, address;
	uint32_t bits;

	(void)str_split(&rest, '/', &address);
	if (address.n == 0 || address.n >= sizeof(copy))
		return false;
	memcpy(copy, address.p, address.n);
	copy[address.n] = '\0';
	ret->family = memchr(copy, ':', address.n) ? AF_INET6 : AF_INET;
	if (inet_pton(ret->family, copy, ret->bytes) != 1)
		return false;
	bits = ret->family == AF_INET ? 32 : 128;
	if (rest.p && (!str_to_u32(rest, &ret->bits) || ret->bits > bits))
		return false;
	if (!rest.p)
		ret->bits = bits;
	if (ret->family == AF_INET6 && ret->bits >= 96 && memcmp(ret->bytes, mapped, 12) == 0) {
		memmove(ret->bytes, ret->bytes + 12, 4);
		ret->family = AF_INET;
		ret->bits -= 96;
	}
	return true;
}

static bool
is_in_range(const struct range *range, const struct range *one)
{
	unsigned whole = range->bits / 8, rest = range->bits % 8;

	if (range->family != one->family || one->bits < range->bits ||
	    memcmp(range->bytes, one->bytes, whole) != 0)
		return false;
	return rest == 0 || (range->bytes[whole] ^ one->bytes[whole]) >> (8 - rest) == 0;
}

bool
condition_address_is_narrow(struct str range)
{
	struct range r;

	/* Amazon's bounds: a /8 of IPv4 is the widest that counts, a /32 of IPv6. */
	return read_range(range, &r) && r.bits >= (r.family == AF_INET ? 8 : 32);
}

/* Part by part, so that a star does not reach over a colon; the last of six may have colons. */
static bool
arn_is_like(struct str pattern, struct str text)
{
	struct str a, b;

	for (unsigned i = 0; i < 5; i++)
		if (!str_split(&pattern, ':', &a) || !str_split(&text, ':', &b) || !pattern.p ||
		    !text.p || !pattern_match(a, b, false))
			return false;
	return pattern_match(pattern, text, false);
}

static bool
compare(enum condition_relation relation, double a, double b)
{
	switch (relation) {
	case IS_EQUAL:
	case IS_EQUAL_NOCASE:
	case IS_LIKE:
		return a == b;
	case IS_LESS:
		return a < b;
	case IS_AT_MOST:
		return a <= b;
	case IS_MORE:
		return a > b;
	case IS_AT_LEAST:
		return a >= b;
	}
	abort();
}

static bool
binary_is(struct str base64, struct str is)
{
	_cleanup_free_ void *bytes = NULL;
	size_t n;

	return base64_decode(base64, &bytes, &n) && str_eq((struct str){ bytes, n }, is);
}

static bool
matches(const struct condition_operator *o, struct str is, struct str wanted)
{
	struct range a, b;
	double x, y;
	bool p, q;

	switch (o->type) {
	case CONDITION_STRING:
		return pattern_match(wanted, is, o->relation == IS_EQUAL_NOCASE);
	case CONDITION_NUMBER:
		return read_number(is, &x) && read_number(wanted, &y) && compare(o->relation, x, y);
	case CONDITION_DATE:
		return read_date(is, &x) && read_date(wanted, &y) && compare(o->relation, x, y);
	case CONDITION_BOOL:
	case CONDITION_NULL:
		return str_to_bool(is, &p) && str_to_bool(wanted, &q) && p == q;
	case CONDITION_BINARY:
		return binary_is(wanted, is);
	case CONDITION_ADDRESS:
		return read_range(is, &a) && read_range(wanted, &b) && is_in_range(&b, &a);
	case CONDITION_ARN:
		return arn_is_like(wanted, is);
	}
	abort();
}

bool
condition_value_is_valid(const struct condition_operator *o, const struct pattern *value)
{
	_cleanup_free_ void *bytes = NULL;
	struct range range;
	double number;
	size_t n;

	if (value->has_variables)
		return true;
	switch (o->type) {
	case CONDITION_STRING:
	case CONDITION_ARN:
		return true;
	case CONDITION_NUMBER:
		return read_number(value->text, &number);
	case CONDITION_DATE:
		return read_date(value->text, &number);
	case CONDITION_BOOL:
	case CONDITION_NULL:
		return str_is_nocase(value->text, "true") || str_is_nocase(value->text, "false");
	case CONDITION_BINARY:
		return base64_decode(value->text, &bytes, &n);
	case CONDITION_ADDRESS:
		return read_range(value->text, &range);
	}
	abort();
}

/* -- conditions -- */

/* Whether one of the policy's values fits. */
static bool
matches_any(const struct condition *c, const struct policy_request *rq, struct str is)
{
	_cleanup_strbuf_ struct strbuf scratch = STRBUF_INIT;
	struct str wanted;

	for (unsigned i = 0; i < c->values.count; i++)
		if (pattern_expand(&c->values.items[i], rq, &scratch, &wanted) &&
		    matches(c->operator, is, wanted))
			return true;
	return false;
}

bool
condition_holds(const struct condition *c, const struct policy_request *rq)
{
	const struct condition_operator *o = c->operator;
	struct policy_values values = { NULL, 0 };
	struct str *items = NULL;
	unsigned fitting = 0;
	bool exists = rq->lookup && rq->lookup(rq->arg, c->key, &values);

	if (o->type == CONDITION_NULL)
		return matches_any(c, rq, exists ? STR("false") : STR("true"));
	if (!exists || values.count == 0)
		return c->if_exists || c->set == FOR_ALL_VALUES ||
		       (o->is_negated && c->set == OF_ONE);
	/* Variables in our values may ask the lookup again. */
	items = xcalloc(values.count, sizeof(*items));
	memcpy(items, values.items, values.count * sizeof(*items));
	for (unsigned i = 0; i < values.count; i++)
		fitting += matches_any(c, rq, items[i]);
	free(items);
	switch (c->set) {
	case OF_ONE:
		return o->is_negated ? fitting == 0 : fitting > 0;
	case FOR_ANY_VALUE:
		return o->is_negated ? fitting < values.count : fitting > 0;
	case FOR_ALL_VALUES:
		return o->is_negated ? fitting == 0 : fitting == values.count;
	}
	abort();
}
