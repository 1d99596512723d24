#pragma once
/* The service of common/rpc/sc.api with our handlers. */
#include "rpc/codec.h"
#include "sc.h"

const struct service *sc_service_served(void);
