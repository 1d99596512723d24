/* A statement that finds no row compares nothing. So a parameter gets its meaning from the text:
 * the column it is compared with, assigned to or inserted into. Values then come from rows that are
 * there (often all from one row, so that keys of several columns match), from the parent table of a
 * foreign key, from literals that the catalogue or a CHECK puts beside the same column, and from a
 * small pool with what tends to differ between engines: upper case, accents, empty, NULL, negative.
 */
#include "tests/store/values.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

struct token {
	char kind; /* w word, p parameter, s text in quotes, d digits, or the character itself */
	struct str text;
};

struct literal {
	char *column, *text;
};

struct kin { /* columns that are compared with each other somewhere */
	char *column, *other;
};

struct reference {
	char *table, *column, *parent_table, *parent_column;
};

struct column {
	char *table, *name;
	char type; /* s, i, b */
};

struct values {
	sqlite3 *db;
	uint64_t state;
	VEC(struct literal) literals;
	VEC(struct kin) kin;
	VEC(struct reference) references;
	VEC(struct column) columns;
	VEC(const char *) tables;
	VEC(struct store_query) scrambles;
};

typedef VEC(struct token) tokens;

unsigned
values_random(struct values *v, unsigned below)
{
	v->state ^= v->state << 13;
	v->state ^= v->state >> 7;
	v->state ^= v->state << 17;
	return (unsigned)((v->state >> 20) % below);
}

/* ---- reading SQL ---- */

static void
tokenize(const char *p, tokens *out)
{
	while (*p) {
		const char *start = p;
		char kind = *p;

		if (isspace((unsigned char)*p)) {
			p++;
			continue;
		}
		if (*p == '\'') {
			p++;
			while (*p && *p != '\'')
				p++;
			if (*p)
				p++;
			vec_add(
			    out, ((struct token){ 's', { start + 1, (size_t)(p - start) - 2 } }));
			continue;
		}
		if (*p == '$') {
			kind = 'p';
			start = ++p;
			while (isdigit((unsigned char)*p))
				p++;
		} else if (isdigit((unsigned char)*p)) {
			kind = 'd';
			while (isdigit((unsigned char)*p))
				p++;
		} else if (isalpha((unsigned char)*p) || *p == '_') {
			kind = 'w';
			while (isalnum((unsigned char)*p) || *p == '_')
				p++;
		} else {
			if (strchr("<>=!", *p))
				kind = '=';
			p++;
			while (kind == '=' && *p && strchr("<>=!", *p))
				p++;
		}
		vec_add(out, ((struct token){ kind, { start, (size_t)(p - start) } }));
	}
}

static bool
word_at(const tokens *t, long i, const char *word)
{
	return i >= 0 && (size_t)i < t->count && t->items[i].kind == 'w' &&
	       str_is_nocase(t->items[i].text, word);
}

static char
kind_at(const tokens *t, long i)
{
	return i >= 0 && (size_t)i < t->count ? t->items[i].kind : 0;
}

/* The matching "(" of the ")" at i, or the "(" that encloses i. */
static long
opening(const tokens *t, long i)
{
	int depth = 0;

	for (i--; i >= 0; i--) {
		if (t->items[i].kind == ')')
			depth++;
		if (t->items[i].kind == '(' && depth-- == 0)
			return i;
	}
	return -1;
}

/* Number of commas between the "(" at `from` and i, on its level. */
static unsigned
position_in_list(const tokens *t, long from, long i)
{
	unsigned position = 0;
	int depth = 0;

	for (long k = from + 1; k < i; k++) {
		depth += t->items[k].kind == '(' ? 1 : t->items[k].kind == ')' ? -1 : 0;
		if (depth == 0 && t->items[k].kind == ',')
			position++;
	}
	return position;
}

/* The last word of item `position` in the list that opens at `from`: "t.a" gives "a". */
static struct str
item_of_list(const tokens *t, long from, unsigned position)
{
	struct str word = { NULL, 0 };

	for (long k = from + 1; k < (long)t->count && t->items[k].kind != ')'; k++) {
		if (t->items[k].kind == ',') {
			if (position-- == 0)
				break;
		} else if (position == 0 && t->items[k].kind == 'w') {
			word = t->items[k].text;
		}
	}
	return word;
}

/* The "(" of the column list of an INSERT, or -1. */
static long
insert_list(const tokens *t)
{
	for (long k = 0; k + 2 < (long)t->count; k++) {
		if (word_at(t, k, "INTO") && kind_at(t, k + 2) == '(')
			return k + 2;
	}
	return -1;
}

/* "INSERT INTO t (a, b) SELECT $1, COALESCE(MAX(b), $2) FROM ..." */
static struct str
insert_select_column(const tokens *t, long i)
{
	long columns = insert_list(t), start = columns + 1;
	int depth = 0;

	while (start < i && kind_at(t, start) != ')')
		start++;
	if (columns < 0 || !word_at(t, ++start, "SELECT"))
		return (struct str){ NULL, 0 };
	for (long k = start + 1; k < i; k++) {
		depth += t->items[k].kind == '(' ? 1 : t->items[k].kind == ')' ? -1 : 0;
		if (depth == 0 && word_at(t, k, "FROM"))
			return (struct str){ NULL, 0 };
	}
	return item_of_list(t, columns, position_in_list(t, start, i));
}

static struct str
insert_column(const tokens *t, long i)
{
	long list = opening(t, i);

	while (list >= 0 && !word_at(t, list - 1, "VALUES") && kind_at(t, list - 1) != ',')
		list = opening(t, list);
	if (list < 0)
		return insert_select_column(t, i);
	if (insert_list(t) < 0)
		return (struct str){ NULL, 0 };
	return item_of_list(t, insert_list(t), position_in_list(t, list, i));
}

/* The column that the parameter or literal at i is about; empty when the text does not tell. */
static struct str
column_at(const tokens *t, long i)
{
	long list;

	if (word_at(t, i - 1, "LIMIT") || word_at(t, i - 1, "OFFSET"))
		return STR("limit");
	if (word_at(t, i - 1, "CAST") || (kind_at(t, i - 1) == '(' && word_at(t, i - 2, "CAST")))
		i -= 2;
	if (strchr("=+-", kind_at(t, i - 1)) && kind_at(t, i - 1)) {
		if (kind_at(t, i - 2) == 'w')
			return t->items[i - 2].text;
		/* "used + 1 <= $2", "(a + b) = $1": any word of it */
		for (long k = i - 2; k >= 0 && k > i - 8; k--) {
			if (t->items[k].kind == 'w')
				return t->items[k].text;
		}
	}
	if (kind_at(t, i + 1) == '=' && kind_at(t, i + 2) == 'w')
		return kind_at(t, i + 3) == '.' ? t->items[i + 4].text : t->items[i + 2].text;
	if (word_at(t, i - 1, "BETWEEN") && kind_at(t, i - 2) == 'w')
		return t->items[i - 2].text;
	if (word_at(t, i - 1, "AND") && word_at(t, i - 3, "BETWEEN"))
		return t->items[i - 4].text;
	list = opening(t, i);
	if (list > 0 && word_at(t, list - 1, "IN"))
		return t->items[list - (word_at(t, list - 2, "NOT") ? 3 : 2)].text;
	if (list > 1 && kind_at(t, list - 1) == '=' && kind_at(t, list - 2) == ')')
		return item_of_list(t, opening(t, list - 2), position_in_list(t, list, i));
	return insert_column(t, i);
}

static void
add_kin(struct values *v, struct str a, struct str b)
{
	if (str_eq(a, b))
		return;
	vec_add(&v->kin, ((struct kin){ str_dup(a), str_dup(b) }));
	vec_add(&v->kin, ((struct kin){ str_dup(b), str_dup(a) }));
}

/* "a.x = b.y" and "x IN (SELECT b.y": values of one are values of the other. */
static void
collect_kin(struct values *v, const tokens *t)
{
	for (long i = 1; i < (long)t->count; i++) {
		long next = 0;

		if (t->items[i].kind == '=')
			next = i + 1;
		else if (word_at(t, i, "IN") && kind_at(t, i + 1) == '(' &&
			 word_at(t, i + 2, "SELECT"))
			next = i + 3;
		if (next && kind_at(t, next + 1) == '.')
			next += 2;
		if (next && kind_at(t, next) == 'w' && kind_at(t, next + 1) != '(' &&
		    kind_at(t, i - 1) == 'w')
			add_kin(v, t->items[i - 1].text, t->items[next].text);
	}
}

static void
collect_literals(struct values *v, const char *sql)
{
	tokens t = { 0 };

	tokenize(sql, &t);
	collect_kin(v, &t);
	for (long i = 0; i < (long)t.count; i++) {
		struct str column;

		if (t.items[i].kind != 's' && t.items[i].kind != 'd')
			continue;
		column = column_at(&t, i);
		if (column.n) {
			_cleanup_free_ char *name = str_dup(column),
					    *text = str_dup(t.items[i].text);

			values_hint(v, name, text);
		}
	}
	vec_done(&t);
}

/* ---- what the tables are ---- */

static char *
column_text(sqlite3_stmt *stmt, int i)
{
	const char *text = (const char *)sqlite3_column_text(stmt, i);

	return text ? xstrdup(text) : NULL;
}

static sqlite3_stmt *
prepared(struct values *v, const char *sql)
{
	sqlite3_stmt *stmt;

	if (sqlite3_prepare_v2(v->db, sql, -1, &stmt, NULL) != SQLITE_OK)
		die("SQLite: %s in: %s", sqlite3_errmsg(v->db), sql);
	return stmt;
}

static void
add_scramble(struct values *v, const struct column *key, const struct column *column)
{
	struct store_query scramble = { column->name, xasprintf("%c%c", column->type, key->type),
		xasprintf(
		    "UPDATE %s SET %s = $1 WHERE %s = $2", column->table, column->name, key->name),
		NULL };

	vec_add(&v->scrambles, scramble);
}

static void
read_schema(struct values *v)
{
	const struct column *key = NULL; /* the first column of the table */
	sqlite3_stmt *stmt = prepared(v,
	    "SELECT m.name, c.name, c.type FROM sqlite_schema m, pragma_table_info(m.name) c"
	    " WHERE m.type = 'table' ORDER BY m.name, c.cid");

	while (sqlite3_step(stmt) == SQLITE_ROW) {
		const char *type = (const char *)sqlite3_column_text(stmt, 2);
		struct column column = { column_text(stmt, 0), column_text(stmt, 1), 'i' };

		if (strcmp(type, "TEXT") == 0 || strcmp(type, "BLOB") == 0)
			column.type = type[0] == 'T' ? 's' : 'b';
		vec_add(&v->columns, column);
	}
	sqlite3_finalize(stmt);
	VEC_FOREACH (&v->columns, c) {
		if (!key || strcmp(c->table, key->table) != 0) {
			key = c;
			vec_add(&v->tables, c->table);
		} else {
			add_scramble(v, key, c);
		}
	}
	stmt = prepared(v,
	    "SELECT m.name, k.\"from\", k.\"table\", COALESCE(k.\"to\", (SELECT name FROM"
	    " pragma_table_info(k.\"table\") WHERE pk = k.seq + 1)) FROM sqlite_schema m,"
	    " pragma_foreign_key_list(m.name) k WHERE m.type = 'table' ORDER BY 1, 2, 3");
	while (sqlite3_step(stmt) == SQLITE_ROW)
		vec_add(
		    &v->references, ((struct reference){ column_text(stmt, 0), column_text(stmt, 1),
					column_text(stmt, 2), column_text(stmt, 3) }));
	sqlite3_finalize(stmt);
}

struct values *
values_new(sqlite3 *db, const struct store_schema *schema, uint64_t seed)
{
	struct values *v = xcalloc(1, sizeof(*v));

	v->db = db;
	v->state = seed * 2654435761u + 88172645463325252u;
	read_schema(v);
	for (unsigned i = 0; i < schema->migration_count; i++)
		collect_literals(v, schema->migrations[i].sql);
	for (unsigned i = 0; i < schema->query_count; i++)
		collect_literals(v, schema->queries[i].text);
	return v;
}

void
values_free(struct values *v)
{
	if (!v)
		return;
	VEC_FOREACH (&v->literals, l) {
		free(l->column);
		free(l->text);
	}
	VEC_FOREACH (&v->kin, k) {
		free(k->column);
		free(k->other);
	}
	vec_done(&v->kin);
	VEC_FOREACH (&v->scrambles, q) {
		free((char *)q->types);
		free((char *)q->text);
	}
	vec_done(&v->scrambles);
	VEC_FOREACH (&v->references, r) {
		free(r->table);
		free(r->column);
		free(r->parent_table);
		free(r->parent_column);
	}
	VEC_FOREACH (&v->columns, c) {
		free(c->table);
		free(c->name);
	}
	vec_done(&v->literals);
	vec_done(&v->references);
	vec_done(&v->columns);
	vec_done(&v->tables);
	free(v);
}

size_t
values_tables(const struct values *v, const char *const **ret_names)
{
	*ret_names = v->tables.items;
	return v->tables.count;
}

size_t
values_scrambles(const struct values *v, const struct store_query **ret_queries)
{
	*ret_queries = v->scrambles.items;
	return v->scrambles.count;
}

void
values_hint(struct values *v, const char *column, const char *text)
{
	vec_add(&v->literals, ((struct literal){ xstrdup(column), xstrdup(text) }));
}

/* ---- picking ---- */

/* Value of `column` in row `offset` of `table`; false when it is NULL or of another type. */
static bool
value_in_table(struct values *v, const char *table, const char *column, unsigned offset, char type,
    struct value *out)
{
	_cleanup_free_ char *sql =
	    xasprintf("SELECT \"%s\" FROM \"%s\" LIMIT 1 OFFSET %u", column, table, offset);
	sqlite3_stmt *stmt = prepared(v, sql);
	bool found = false;

	if (sqlite3_step(stmt) == SQLITE_ROW) {
		int stored = sqlite3_column_type(stmt, 0);

		found = (type == 's' && stored == SQLITE_TEXT) ||
			(type == 'i' && stored == SQLITE_INTEGER) ||
			(type == 'b' && stored == SQLITE_BLOB);
		if (found && type == 'b') {
			size_t n = (size_t)sqlite3_column_bytes(stmt, 0);
			char *hex = xmalloc(2 * n + 1);

			hex_encode(n ? sqlite3_column_blob(stmt, 0) : "", n, hex);
			*out = (struct value){ type, hex };
		} else if (found) {
			*out = (struct value){ type, column_text(stmt, 0) };
		}
	}
	sqlite3_finalize(stmt);
	return found;
}

static unsigned
row_count(struct values *v, const char *table)
{
	_cleanup_free_ char *sql = xasprintf("SELECT COUNT(*) FROM \"%s\"", table);
	sqlite3_stmt *stmt = prepared(v, sql);
	unsigned n = 0;

	if (sqlite3_step(stmt) == SQLITE_ROW)
		n = (unsigned)sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	return n;
}

static bool
has_column(struct values *v, const char *table, const char *name)
{
	VEC_FOREACH (&v->columns, c) {
		if (strcmp(c->table, table) == 0 && strcmp(c->name, name) == 0)
			return true;
	}
	return false;
}

static bool
value_of_parent(
    struct values *v, const char *table, const char *column, char type, struct value *out)
{
	VEC_FOREACH (&v->references, r) {
		unsigned n;

		if (strcmp(r->table, table) != 0 || strcmp(r->column, column) != 0)
			continue;
		n = row_count(v, r->parent_table);
		return n && value_in_table(v, r->parent_table, r->parent_column,
				values_random(v, n), type, out);
	}
	return false;
}

/* A value that some table has in a column of this name. */
static bool
value_of_any(struct values *v, const char *column, char type, struct value *out)
{
	unsigned start = values_random(v, (unsigned)v->columns.count);

	for (unsigned i = 0; i < v->columns.count; i++) {
		const struct column *c = &v->columns.items[(start + i) % v->columns.count];
		unsigned n;

		if (strcmp(c->name, column) != 0 || (n = row_count(v, c->table)) == 0)
			continue;
		if (value_in_table(v, c->table, c->name, values_random(v, n), type, out))
			return true;
	}
	return false;
}

static bool
value_of_kin(struct values *v, const char *column, char type, struct value *out)
{
	unsigned start = values_random(v, (unsigned)v->kin.count + 1);

	for (unsigned i = 0; i < v->kin.count; i++) {
		const struct kin *k = &v->kin.items[(start + i) % v->kin.count];

		if (strcmp(k->column, column) == 0 && value_of_any(v, k->other, type, out))
			return true;
	}
	return false;
}

static bool
value_of_literal(struct values *v, const char *column, char type, struct value *out)
{
	const char *found = NULL;
	unsigned count = 0;
	int64_t number;

	VEC_FOREACH (&v->literals, l) {
		if (strcmp(l->column, column) == 0 &&
		    (type == 's' || (type == 'i' && str_to_i64(str_of(l->text), &number))) &&
		    values_random(v, ++count) == 0)
			found = l->text;
	}
	if (!found)
		return false;
	*out = (struct value){ type, xstrdup(found) };
	return true;
}

/* What a hint says of "table.column". */
static bool
value_of_hint(struct values *v, const char *table, const char *column, char type, struct value *out)
{
	_cleanup_free_ char *name = xasprintf("%s.%s", table, column);

	return value_of_literal(v, name, type, out);
}

static void
value_of_pool(struct values *v, const char *column, char type, struct value *out)
{
	static const char *const texts[] = { "a", "B", "b", "a/b", "\xc3\xa9", "", "Z_%", "10",
		"9" };
	static const char *const numbers[] = { "1", "2", "3", "4", "0", "-1", "1000", "4000000000",
		"7", "12" };
	static const char *const blobs[] = { "61", "612f62", "42", "00ff", "ff", "", "c3a9",
		"6130" };

	if (strcmp(column, "limit") == 0)
		*out = (struct value){ type, xasprintf("%u", 1 + values_random(v, 6)) };
	else if (type == 's')
		*out = (struct value){ type, xstrdup(texts[values_random(v, ARRAY_SIZE(texts))]) };
	else if (type == 'i')
		*out =
		    (struct value){ type, xstrdup(numbers[values_random(v, ARRAY_SIZE(numbers))]) };
	else
		*out = (struct value){ type, xstrdup(blobs[values_random(v, ARRAY_SIZE(blobs))]) };
}

/* The tables the statement names, the first being the one it is about. */
static const char *
first_table(struct values *v, const tokens *t)
{
	for (long i = 0; i < (long)t->count; i++) {
		if (!word_at(t, i, "FROM") && !word_at(t, i, "INTO") && !word_at(t, i, "UPDATE"))
			continue;
		VEC_FOREACH (&v->tables, name) {
			if (kind_at(t, i + 1) == 'w' && str_is(t->items[i + 1].text, *name))
				return *name;
		}
	}
	return NULL;
}

void
values_pick(
    struct values *v, const struct store_query *query, struct value out[STORE_PARAMETERS_MAX])
{
	char *columns[STORE_PARAMETERS_MAX] = { 0 };
	tokens t = { 0 };
	const char *table;
	bool is_insert, from_row, is_range[STORE_PARAMETERS_MAX] = { false };
	unsigned row = 0;

	tokenize(query->text, &t);
	is_insert = word_at(&t, 0, "INSERT");
	table = first_table(v, &t);
	from_row = table && row_count(v, table) && values_random(v, 10) < (is_insert ? 2 : 7);
	if (from_row)
		row = values_random(v, row_count(v, table));
	for (long i = 0; i < (long)t.count; i++) {
		uint32_t number;
		struct str column;

		if (t.items[i].kind != 'p' || !str_to_u32(t.items[i].text, &number) ||
		    number == 0 || number > strlen(query->types) || columns[number - 1])
			continue;
		column = column_at(&t, i);
		if (!column.n)
			continue;
		columns[number - 1] = str_dup(column);
		is_range[number - 1] =
		    kind_at(&t, i - 1) == '=' &&
		    (t.items[i - 1].text.p[0] == '<' || t.items[i - 1].text.p[0] == '>');
	}
	for (unsigned i = 0; query->types[i]; i++) {
		const char *column = columns[i] ? columns[i] : "";
		char type = query->types[i];

		if (type != 'i' && values_random(v, 12) == 0)
			out[i] = (struct value){ 'n', NULL };
		else if (is_range[i] &&
			 values_random(v, 2)) /* a bound is rarely a value that is there */
			value_of_pool(v, column, type, &out[i]);
		else if (from_row && values_random(v, 12) && has_column(v, table, column) &&
			 value_in_table(v, table, column, row, type, &out[i]))
			;
		else if (table && values_random(v, 10) &&
			 value_of_parent(v, table, column, type, &out[i]))
			;
		else if (values_random(v, 2) && value_of_kin(v, column, type, &out[i]))
			;
		else if (table && values_random(v, 3) &&
			 value_of_hint(v, table, column, type, &out[i]))
			;
		else if (values_random(v, 3) && value_of_literal(v, column, type, &out[i]))
			;
		else if (!is_insert && values_random(v, 2) &&
			 value_of_any(v, column, type, &out[i]))
			;
		else
			value_of_pool(v, column, type, &out[i]);
	}
	for (unsigned i = 0; i < STORE_PARAMETERS_MAX; i++)
		free(columns[i]);
	vec_done(&t);
}

void
values_done(const struct store_query *query, struct value values[STORE_PARAMETERS_MAX])
{
	for (unsigned i = 0; query->types[i]; i++)
		free(values[i].text);
}
