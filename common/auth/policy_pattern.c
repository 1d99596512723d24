/* Strings of policies: wildcards and variables. Between two stars a pattern is a fixed run of
 * characters; the leftmost place where each run fits is as good as any, so nothing is ever tried
 * twice. */
#include <ctype.h>

#include "auth/policy_internal.h"

/* -- matching -- */

static size_t
character_size(struct str text) /* of UTF-8; what is none counts byte by byte */
{
	size_t n = 1;

	if (((unsigned char)text.p[0] & 0xc0) == 0xc0)
		while (n < text.n && n < 4 && ((unsigned char)text.p[n] & 0xc0) == 0x80)
			n++;
	return n;
}

static bool
same(char a, char b, bool ignores_case)
{
	return a == b || (ignores_case && tolower((unsigned char)a) == tolower((unsigned char)b));
}

/* Whether the run fits at the beginning of the text, and how much of it that takes. */
static bool
fits(struct str run, struct str text, bool ignores_case, size_t *ret_n)
{
	size_t at = 0;

	for (size_t i = 0; i < run.n; i++) {
		if (at == text.n)
			return false;
		if (run.p[i] == PATTERN_ONE)
			at += character_size((struct str){ text.p + at, text.n - at });
		else if (!same(run.p[i], text.p[at++], ignores_case))
			return false;
	}
	*ret_n = at;
	return true;
}

/* Whether the text ends with the run. */
static bool
ends(struct str run, struct str text, bool ignores_case)
{
	size_t at = text.n;

	for (size_t i = run.n; i > 0; i--) {
		if (at == 0)
			return false;
		at--;
		if (run.p[i - 1] != PATTERN_ONE) {
			if (!same(run.p[i - 1], text.p[at], ignores_case))
				return false;
			continue;
		}
		for (unsigned n = 1; n < 4 && at > 0; n++) {
			if (((unsigned char)text.p[at] & 0xc0) != 0x80)
				break;
			at--;
		}
	}
	return true;
}

/* Goes behind the first place where the run fits. */
static bool
skip_to(struct str run, struct str *text, bool ignores_case)
{
	size_t n;

	if (!ignores_case && !memchr(run.p, PATTERN_ONE, run.n)) {
		const char *at = text->p;

		if (run.n)
			at = text->n < run.n ? NULL : memmem(text->p, text->n, run.p, run.n);
		if (!at)
			return false;
		n = (size_t)(at - text->p) + run.n;
		*text = (struct str){ text->p + n, text->n - n };
		return true;
	}
	for (;; text->p++, text->n--) {
		if (fits(run, *text, ignores_case, &n)) {
			*text = (struct str){ text->p + n, text->n - n };
			return true;
		}
		if (text->n == 0)
			return false;
	}
}

/* The run before the next star; false when there is no star any more. */
static bool
take_run(struct str *pattern, struct str *ret)
{
	const char *star = pattern->n ? memchr(pattern->p, PATTERN_ANY, pattern->n) : NULL;

	*ret = *pattern;
	if (!star)
		return false;
	ret->n = (size_t)(star - pattern->p);
	*pattern = (struct str){ star + 1, pattern->n - ret->n - 1 };
	return true;
}

bool
pattern_match(struct str pattern, struct str text, bool ignores_case)
{
	struct str run;
	bool has_star = take_run(&pattern, &run);
	size_t n;

	if (!fits(run, text, ignores_case, &n))
		return false;
	if (!has_star)
		return n == text.n;
	text = (struct str){ text.p + n, text.n - n };
	while (take_run(&pattern, &run))
		if (!skip_to(run, &text, ignores_case))
			return false;
	return ends(run, text, ignores_case);
}

/* -- compiling -- */

/* ${KEY} or ${KEY, 'TEXT'}; also ${*}, ${?} and ${$}, which mean the character. */
static void
add_variable(struct strbuf *out, struct str inside, bool *ret_is_variable)
{
	struct str rest = inside, key;

	*ret_is_variable = false;
	if (inside.n == 1 && strchr("*?$", inside.p[0])) {
		strbuf_addc(out, inside.p[0]);
		return;
	}
	(void)str_split(&rest, ',', &key);
	strbuf_addc(out, PATTERN_VARIABLE);
	strbuf_addstr(out, str_trim(key));
	rest = rest.p ? str_trim(rest) : (struct str){ NULL, 0 };
	if (rest.n >= 2 && rest.p[0] == '\'' && rest.p[rest.n - 1] == '\'') {
		strbuf_addc(out, PATTERN_DEFAULT);
		strbuf_add(out, rest.p + 1, rest.n - 2);
	}
	strbuf_addc(out, PATTERN_END);
	*ret_is_variable = true;
}

bool
pattern_compile(struct str text, bool has_variables, bool has_wildcards, struct arena *arena,
    struct pattern *ret)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	bool is_variable;

	ret->has_variables = false;
	for (size_t i = 0; i < text.n; i++) {
		if (has_variables && text.p[i] == '$' && i + 1 < text.n && text.p[i + 1] == '{') {
			struct str inside = { text.p + i + 2, text.n - i - 2 };
			const char *end = inside.n ? memchr(inside.p, '}', inside.n) : NULL;

			if (!end)
				return false;
			inside.n = (size_t)(end - inside.p);
			add_variable(&out, inside, &is_variable);
			ret->has_variables |= is_variable;
			i += inside.n + 2;
		} else if (has_wildcards && (text.p[i] == '*' || text.p[i] == '?')) {
			strbuf_addc(&out, text.p[i] == '*' ? PATTERN_ANY : PATTERN_ONE);
		} else {
			strbuf_addc(&out, text.p[i]);
		}
	}
	ret->text = (struct str){ arena_memdup(arena, strbuf_c(&out), out.n + 1), out.n };
	return true;
}

/* What a request says is never a wildcard, whatever bytes it has. */
static void
add_literal(struct strbuf *out, struct str value)
{
	for (size_t i = 0; i < value.n; i++)
		strbuf_addc(out, (unsigned char)value.p[i] >= 0xf8 ? '\xf8' : value.p[i]);
}

bool
pattern_expand(const struct pattern *p, const struct policy_request *rq, struct strbuf *scratch,
    struct str *ret)
{
	struct str rest = p->text, inside, key, before;
	struct policy_values values;

	*ret = p->text;
	if (!p->has_variables)
		return true;
	strbuf_reset(scratch);
	while (str_split(&rest, PATTERN_VARIABLE, &before)) {
		strbuf_addstr(scratch, before);
		if (!rest.p || !str_split(&rest, PATTERN_END, &inside))
			break;
		(void)str_split(&inside, PATTERN_DEFAULT, &key);
		if (rq->lookup && rq->lookup(rq->arg, key, &values) && values.count == 1)
			add_literal(scratch, values.items[0]);
		else if (inside.p)
			strbuf_addstr(scratch, inside);
		else
			return false;
	}
	*ret = strbuf_str(scratch);
	return true;
}

bool
policy_wildcard(struct str pattern, struct str text, bool ignores_case)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct pattern compiled;

	return pattern_compile(pattern, false, true, arena, &compiled) &&
	       pattern_match(compiled.text, text, ignores_case);
}
