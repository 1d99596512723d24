#pragma once
/* Commands as rows, and what they are made of. */
#include <stdbool.h>
#include <stddef.h>
#include "base/strbuf.h"

#define EXIT_USAGE 2
#define WORDS_MAX 10

struct options {
	const char *daemon, *runtime_dir, *config, *zone;
	const char *account, *prefix, *bytes, *objects;
	bool help, version, force;
	const char *words[WORDS_MAX]; /* the command's, then its arguments */
	unsigned word_count;
};

struct command {
	const char *name;      /* one or two words */
	const char *arguments; /* as shown */
	unsigned least, most;  /* how many of them */
	const char *help;
	int (*run)(const struct options *o, const char *const *arguments, unsigned count);
	const char *daemon; /* who is asked; NULL: the clc */
};
extern const struct command walrus_commands[];
extern const size_t walrus_command_count;

/* Prints what the daemon answers to a POST of the form, or to a GET: an exit status. */
int ask(const struct options *o, const char *path, const char *form);
void add_pair(struct strbuf *form, const char *name, const char *value); /* NULL: not said */
