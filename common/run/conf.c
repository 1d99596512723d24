/* Configuration files. The table of keys is the whole knowledge: parsing, fallbacks, release and
 * --help walk it. A file is read strictly, because a misspelt key that is silently ignored is found
 * by the customer. */
#include "run/conf.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "run/fs.h"

#define FILE_MAX_BYTES (256 << 10)
#define KEYS_MAX 128

struct unit {
	const char *suffix;
	uint64_t factor;
};
static const struct unit size_units[] = {
	{ "", 1 },
	{ "K", UINT64_C(1) << 10 },
	{ "M", UINT64_C(1) << 20 },
	{ "G", UINT64_C(1) << 30 },
	{ "T", UINT64_C(1) << 40 },
	{ NULL, 0 },
};
static const struct unit duration_units[] = {
	{ "", 1000 },
	{ "ms", 1 },
	{ "s", 1000 },
	{ "m", 60 * 1000 },
	{ "h", 60 * 60 * 1000 },
	{ "d", 24 * 60 * 60 * 1000 },
	{ NULL, 0 },
};

static bool
parse_scaled(struct str text, const struct unit *units, uint64_t *ret)
{
	size_t digits = 0;
	uint64_t number;

	while (digits < text.n && text.p[digits] >= '0' && text.p[digits] <= '9')
		digits++;
	if (!str_to_u64((struct str){ text.p, digits }, &number))
		return false;
	for (const struct unit *u = units; u->suffix; u++) {
		if (str_is((struct str){ text.p + digits, text.n - digits }, u->suffix))
			return !__builtin_mul_overflow(number, u->factor, ret);
	}
	return false;
}

static bool
is_choice(const char *choices, struct str value)
{
	struct str rest = str_of(choices), choice;

	while (str_split(&rest, '|', &choice)) {
		if (str_eq(choice, value))
			return true;
	}
	return false;
}

static char *
join_words(struct str value)
{
	struct strbuf out = STRBUF_INIT;

	for (size_t i = 0; i < value.n;) {
		size_t start = i;

		while (i < value.n && value.p[i] != ' ' && value.p[i] != '\t')
			i++;
		if (i > start) {
			if (out.n > 0)
				strbuf_addc(&out, ' ');
			strbuf_add(&out, value.p + start, i - start);
		}
		i++;
	}
	return strbuf_take(&out);
}

static int
check_range(const struct conf_key *key, uint64_t number, uint64_t type_max, struct err *e)
{
	uint64_t max = key->max ? key->max : type_max;

	if (number < key->min || number > max)
		return err_set(e, ERR_INVALID, "%s must be between %llu and %llu", key->name,
		    (unsigned long long)key->min, (unsigned long long)max);
	return 0;
}

static bool
is_text(enum conf_type type)
{
	switch (type) {
	case CONF_STRING:
	case CONF_PATH:
	case CONF_ENUM:
	case CONF_LIST:
		return true;
	case CONF_U32:
	case CONF_BOOL:
	case CONF_SIZE:
	case CONF_DURATION:
		return false;
	}
	return false;
}

static int
store_text(const struct conf_key *key, struct str value, char **field, struct err *e)
{
	if (key->type == CONF_PATH && !str_starts(value, "/"))
		return err_set(e, ERR_INVALID, "%s must be an absolute path, not '%.*s'", key->name,
		    (int)value.n, value.p);
	if (key->type == CONF_ENUM && !is_choice(key->choices, value))
		return err_set(e, ERR_INVALID, "%s must be one of %s, not '%.*s'", key->name,
		    key->choices, (int)value.n, value.p);
	free(*field);
	*field = key->type == CONF_LIST ? join_words(value) : str_dup(value);
	return 0;
}

static int
store_number(const struct conf_key *key, struct str value, void *field, struct err *e)
{
	const struct unit *units = key->type == CONF_DURATION ? duration_units : size_units;
	uint64_t type_max = key->type == CONF_SIZE ? UINT64_MAX : UINT32_MAX, number;
	bool is_number = key->type == CONF_U32 ? str_to_u64(value, &number)
					       : parse_scaled(value, units, &number);
	int r;

	if (!is_number)
		return err_set(e, ERR_INVALID, "%s must be a %s, not '%.*s'", key->name,
		    key->type == CONF_DURATION ? "duration (5s, 200ms, 10m, 2h, 1d)"
		    : key->type == CONF_SIZE   ? "size (512, 64K, 10M, 2G, 1T)"
					       : "number",
		    (int)value.n, value.p);
	r = check_range(key, number, type_max, e);
	if (r < 0)
		return r;
	if (key->type == CONF_SIZE)
		*(uint64_t *)field = number;
	else
		*(uint32_t *)field = (uint32_t)number;
	return 0;
}

static int
store_value(const struct conf_key *key, struct str value, void *values, struct err *e)
{
	void *field = (char *)values + key->offset;

	if (is_text(key->type))
		return store_text(key, value, field, e);
	if (key->type != CONF_BOOL)
		return store_number(key, value, field, e);
	if (!str_to_bool(value, field))
		return err_set(e, ERR_INVALID, "%s must be yes or no, not '%.*s'", key->name,
		    (int)value.n, value.p);
	return 0;
}

static const struct conf_key *
find_key(const struct conf_key *keys, struct str name)
{
	for (const struct conf_key *key = keys; key->name; key++) {
		if (str_is(name, key->name))
			return key;
	}
	return NULL;
}

/* A comment begins a line or follows white space. */
static struct str
without_comment(struct str line)
{
	for (size_t i = 0; i < line.n; i++) {
		if (line.p[i] == '#' && (i == 0 || line.p[i - 1] == ' ' || line.p[i - 1] == '\t'))
			line.n = i;
	}
	return str_trim(line);
}

static int
parse_line(const struct conf_key *keys, struct str line, bool *seen, void *values, struct err *e)
{
	const struct conf_key *key;
	struct str name;

	if (line.n > 0 && line.p[line.n - 1] == '\r')
		line.n--;
	line = without_comment(line);
	if (line.n == 0)
		return 0;
	if (!memchr(line.p, '=', line.n))
		return err_set(
		    e, ERR_INVALID, "'%.*s' is not of the form key = value", (int)line.n, line.p);
	(void)str_split(&line, '=', &name);
	name = str_trim(name);
	key = find_key(keys, name);
	if (!key)
		return err_set(e, ERR_INVALID, "unknown key '%.*s'", (int)name.n, name.p);
	if (seen[key - keys])
		return err_set(e, ERR_INVALID, "%s is given twice", key->name);
	seen[key - keys] = true;
	return store_value(key, str_trim(line), values, e);
}

static int
apply_fallbacks(
    const struct conf_key *keys, const char *name, const bool *seen, void *values, struct err *e)
{
	for (const struct conf_key *key = keys; key->name; key++) {
		int r;

		if (seen[key - keys])
			continue;
		if (!key->fallback)
			return err_set(e, ERR_INVALID, "%s: %s is required", name, key->name);
		r = store_value(key, str_of(key->fallback), values, e);
		assert(r == 0); /* the table's own fallback is ill-formed */
	}
	return 0;
}

int
conf_parse(
    const struct conf_key *keys, const char *name, struct str text, void *values, struct err *e)
{
	bool seen[KEYS_MAX] = { false };
	unsigned number = 0;
	struct str line;

	if (text.n > 0 && (memchr(text.p, '\0', text.n) || !is_utf8(text)))
		return err_set(e, ERR_INVALID, "%s: not a text file", name);
	while (str_split(&text, '\n', &line)) {
		int r = parse_line(keys, line, seen, values, e);

		number++;
		if (r < 0)
			return err_wrap(e, "%s:%u", name, number);
	}
	return apply_fallbacks(keys, name, seen, values, e);
}

int
conf_load(const struct conf_key *keys, const char *path, void *values, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	int r;

	if (!path)
		return conf_parse(keys, "configuration", STR(""), values, e);
	r = fs_read(path, FILE_MAX_BYTES, &text, e);
	if (r < 0)
		return r;
	return conf_parse(keys, path, strbuf_str(&text), values, e);
}

void
conf_done(const struct conf_key *keys, void *values)
{
	for (const struct conf_key *key = keys; key->name; key++) {
		char **field = (char **)((char *)values + key->offset);

		if (!is_text(key->type))
			continue;
		free(*field);
		*field = NULL;
	}
}

void
conf_describe(const struct conf_key *keys, struct strbuf *out)
{
	for (const struct conf_key *key = keys; key->name; key++) {
		strbuf_addf(
		    out, "  %s = %s\n", key->name, key->fallback ? key->fallback : "(required)");
		strbuf_addf(out, "      %s", key->help ? key->help : "");
		if (key->choices)
			strbuf_addf(out, " (%s)", key->choices);
		strbuf_addc(out, '\n');
	}
}
