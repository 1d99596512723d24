#pragma once
/* Ids of versions: VERSION_NULL, or the place of the version among those of its key followed by
 * something random, so that it is found without an index and without looking at the others. */
#include "content.h"

/* position: from 0 on. */
void version_id_new(int64_t position, char out[VERSION_ID_SIZE]);
/* false: it is none that version_id_new could have made. */
bool version_id_position(const char *id, int64_t *ret);
/* Whether it looks like an id at all: one that another service gave is unknown, not malformed. */
bool version_id_is_valid(struct str id);
#define VERSION_ID_INVALID "Invalid version id specified" /* ERR_INVALID_ARGUMENT */
/* x-amz-mfa: a code that no device of ours has shown. ERR_ACCESS_DENIED. */
int version_refuse_mfa(struct err *e);
struct request;
/* The parameter versionId, if the request has one. ERR_INVALID_ARGUMENT. */
int version_id_check(struct request *rq, struct err *e);
