#pragma once
/* The service of common/rpc/cc.api with our handlers. */
#include "rpc/codec.h"

const struct service *cc_service_served(void);
