#pragma once
/* Launch templates: named sets of parameters for RunInstances, in numbered versions that never change. */
#include "base/id.h"
#include "clc/ec2.api.h"
#include "request.h"

struct clc_template { /* strings from the arena it was read into */
	const char *template_id, *name, *created_by;
	int64_t default_version, latest_version; /* latest: of those that there are */
	int64_t last_version;                    /* the last number given; none is given twice */
	int64_t created_us;
};

/* By exactly one of id and name: MISSING_PARAMETER, INVALID_PARAMETER_COMBINATION,
 * LAUNCH_TEMPLATE_ID_MALFORMED, LAUNCH_TEMPLATE_ID_NOT_FOUND, LAUNCH_TEMPLATE_NAME_NOT_FOUND. */
int clc_template_load(struct store_tx *tx, struct request *rq, const char *id, const char *name,
    struct clc_template *ret, struct err *e);
void clc_template_read(struct store_rows *rows, struct arena *arena, struct clc_template *ret);
int clc_template_describe(struct store_tx *tx, const struct clc_template *t, struct arena *arena,
    struct launch_template *ret, struct err *e);

/* "$Latest", "$Default", NULL for the default, or a number. INVALID_PARAMETER_VALUE. */
int clc_template_version_parse(
    const struct clc_template *t, const char *text, int64_t *ret, struct err *e);
/* LAUNCH_TEMPLATE_VERSION_NOT_FOUND */
int clc_template_version_load(struct store_tx *tx, const struct clc_template *t, int64_t version,
    struct arena *arena, struct launch_template_version *ret, struct err *e);
int clc_template_version_read(struct store_rows *rows, const struct clc_template *t, struct arena *arena,
    struct launch_template_version *ret, struct err *e);

/* A version's parameters as they are kept. */
char *clc_template_data_format(const struct launch_template_data *data, struct arena *arena);
/* They as a RunInstances that a client had sent. What is refused in a request is refused here. */
int clc_template_data_request(const struct launch_template_data *data, struct arena *arena,
    struct run_instances_in *ret, struct err *e);
/* What of it RunInstances would refuse, without looking at what there is; NULL: nothing. */
struct validation_warning *clc_template_warning(
    const struct launch_template_data *data, struct arena *arena);

/* RunInstances: what `in` leaves open is as its template says; *ret_in is `in` itself when it names none.
 * What is refused in a request is refused here, with the template named. */
struct clc_template_used {
	char template_id[ID_MAX]; /* "": none */
	int64_t version;
};
int clc_template_apply(struct request *rq, const struct run_instances_in *in,
    const struct run_instances_in **ret_in, struct clc_template_used *ret, struct err *e);
/* The tags of the system that say what an instance was launched from. */
int clc_template_tag(struct store_tx *tx, const char *account_id, const char *instance_id,
    const struct clc_template_used *used, struct err *e);
