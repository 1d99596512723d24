/* Each setting, and the module that reads and writes it. */
#include "accelerate.h"
#include "acl.h"
#include "bucket_policy.h"
#include "cors.h"
#include "encryption_request.h"
#include "lifecycle.h"
#include "lock.h"
#include "logging.h"
#include "notification.h"
#include "ownership.h"
#include "payment.h"
#include "public_access.h"
#include "setting.h"
#include "tags.h"
#include "website.h"

const struct setting_kind setting_kinds[SETTING_MAX + 1] = {
#define SETTING(name, sub_resource, root, missing, missing_text, parse, write, check)              \
	{ root, missing, missing_text, parse, write },
#include "settings.def"
#undef SETTING
	{ 0 },
};
