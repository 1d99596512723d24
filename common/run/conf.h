#pragma once
/* Configuration files: `key = value` lines, # comments. Unknown, repeated and ill-formed keys are
 * refused with file, line and key. Keys are rows of a table; --help and the man page print it. */
#include <stddef.h>
#include "base/err.h"
#include "base/strbuf.h"

enum conf_type {
	CONF_STRING,   /* char * (heap, freed by conf_done) */
	CONF_PATH,     /* char *, must be absolute */
	CONF_U32,      /* uint32_t, min..max */
	CONF_BOOL,     /* bool */
	CONF_SIZE,     /* uint64_t bytes; suffix K M G T (powers of 1024) */
	CONF_DURATION, /* uint32_t ms; suffix ms s m h d; bare numbers are seconds */
	CONF_ENUM,     /* char *, one of `choices`, separated by | */
	CONF_LIST,     /* char *: the words, separated by one space */
};
struct conf_key {
	const char *name;
	enum conf_type type;
	size_t offset;
	const char *fallback; /* as written in a file; NULL: required */
	const char *help;
	const char *choices;  /* CONF_ENUM */
	uint64_t min, max;    /* CONF_U32, CONF_SIZE, CONF_DURATION; max 0: none */
};
#define CONF_END { 0 }

/* Fills `values` (zeroed by the caller) with fallbacks, then with the file. `path` NULL: fallbacks
 * only. ERR_INVALID names "file:line: key"; ERR_NOT_FOUND when the file is absent. */
int conf_load(const struct conf_key *keys, const char *path, void *values, struct err *e);
int conf_parse(const struct conf_key *keys, const char *name, struct str text, void *values,
    struct err *e);
void conf_done(const struct conf_key *keys, void *values);
void conf_describe(const struct conf_key *keys, struct strbuf *out); /* table for --help */
