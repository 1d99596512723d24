/* Configuration files: whatever the text, conf_parse either fills every key within its bounds or
 * refuses with a message, and conf_done releases what it left. */
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include "run/conf.h"

struct values {
	char *name, *path, *color, *words;
	uint32_t count, wait_ms;
	uint64_t size;
	bool on;
};
static const struct conf_key keys[] = {
	{ "name", CONF_STRING, offsetof(struct values, name), "anon" },
	{ "path", CONF_PATH, offsetof(struct values, path), "/" },
	{ "color", CONF_ENUM, offsetof(struct values, color), "red", NULL, "red|green" },
	{ "words", CONF_LIST, offsetof(struct values, words), "" },
	{ "count", CONF_U32, offsetof(struct values, count), "5", NULL, NULL, 1, 10 },
	{ "wait", CONF_DURATION, offsetof(struct values, wait_ms), "3" },
	{ "size", CONF_SIZE, offsetof(struct values, size), "1K", NULL, NULL, 1, 1 << 20 },
	{ "on", CONF_BOOL, offsetof(struct values, on), "no" },
	CONF_END,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct values v = { 0 };
	struct err e = { 0 };

	if (conf_parse(keys, "f", (struct str){ (const char *)data, n }, &v, &e) == 0) {
		assert(v.name && v.path[0] == '/' && v.words);
		assert(strcmp(v.color, "red") == 0 || strcmp(v.color, "green") == 0);
		assert(v.count >= 1 && v.count <= 10 && v.size >= 1 && v.size <= 1 << 20);
	} else {
		assert(e.code == ERR_INVALID && e.text[0]);
	}
	conf_done(keys, &v);
	return 0;
}
