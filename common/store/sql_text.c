/* Statements and migration steps are written once, in the subset that SQLite and PostgreSQL share.
 * Four words stand for what differs; they are replaced here, token by token. BIGINT becomes INT in
 * SQLite and not INTEGER, because "INTEGER PRIMARY KEY" would turn a column into the row id, which
 * fills itself in for NULL where PostgreSQL refuses. */
#include "store/sql_text.h"

#include <ctype.h>
#include <openssl/evp.h>

static const struct {
	const char *word;
	const char *text[2]; /* by enum sql_engine */
} words[] = {
	{ "BLOB_TYPE", { "BLOB", "BYTEA" } },
	{ "BIGINT", { "INT", "BIGINT" } },
	{ "TABLE_OPTIONS", { "STRICT", "" } },
	{ "TABLE_OPTIONS_CLUSTERED", { "STRICT, WITHOUT ROWID", "" } },
};

static bool
is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '$';
}

static void
add_word(struct strbuf *out, enum sql_engine engine, struct str word)
{
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (str_is(word, words[i].word)) {
			strbuf_adds(out, words[i].text[engine]);
			return;
		}
	}
	strbuf_addstr(out, word);
}

void
sql_translate(struct strbuf *out, enum sql_engine engine, const char *sql)
{
	while (*sql) {
		const char *end = sql + 1;

		if (*sql == '\'' || *sql == '"') {
			while (*end && *end != *sql)
				end++;
			if (*end)
				end++;
			strbuf_add(out, sql, (size_t)(end - sql));
		} else if (is_word(*sql)) {
			while (is_word(*end))
				end++;
			add_word(out, engine, (struct str){ sql, (size_t)(end - sql) });
		} else {
			strbuf_addc(out, *sql);
		}
		sql = end;
	}
}

const char *
sql_query_text(const struct store_query *query, enum sql_engine engine)
{
	return engine == SQL_POSTGRES && query->postgres ? query->postgres : query->text;
}

void
sql_digest(const char *sql, char out[SQL_DIGEST_SIZE])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	if (EVP_Digest(sql, strlen(sql), digest, &n, EVP_sha256(), NULL) != 1 || n != 32)
		abort(); /* out of memory, or a libcrypto without SHA-256 */
	hex_encode(digest, n, out);
}

int
sql_schema_check(const struct store_schema *schema, struct err *e)
{
	for (unsigned i = 0; i < schema->migration_count; i++) {
		if (schema->migrations[i].version != i + 1)
			return err_set(e, ERR_INTERNAL, "step %u of schema '%s' has number %u",
			    i + 1, schema->daemon, schema->migrations[i].version);
	}
	for (unsigned i = 0; i < schema->query_count; i++) {
		const struct store_query *query = &schema->queries[i];

		if (strspn(query->types, "sib") != strlen(query->types) ||
		    strlen(query->types) > STORE_PARAMETERS_MAX)
			return err_set(e, ERR_INTERNAL, "statement '%s' has bad types '%s'",
			    query->name, query->types);
	}
	return 0;
}
