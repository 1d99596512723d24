#pragma once
/* PostObject: a browser's form as a PUT. S3 API reference, "POST Object" and "Browser-based
 * uploads". */
#include "base/err.h"
#include "base/str.h"

struct request;

int post_begin(struct request *rq, struct err *e);
/* Bytes of the form: once its fields are there it is decided who asks, for what, and whether they
 * may; then the file goes the way of a PUT's body. */
int post_take(struct request *rq, struct str bytes, struct err *e);
int post_run(struct request *rq, struct err *e);
void post_answer(struct request *rq);
void post_done(struct request *rq);
