#pragma once
/* What mallee-admin asks of the clc over its admin socket. */
#include "net/status_server.h"

extern const struct admin_verb clc_admin_verbs[];
extern const size_t clc_admin_verb_count;
