#pragma once
#include "request.h"

/* The smallest string of bytes that is larger than all that begin with `prefix`; p NULL: there is none. */
struct str list_successor(struct str prefix, struct arena *arena);
int list_objects(struct request *rq, struct err *e); /* both versions */
