#pragma once
/* What the zone sends and the store keeps: XML by the codec, so that fields of later versions need no column. */
#include "base/arena.h"
#include "base/err.h"
#include "base/strbuf.h"
#include "rpc/codec.h"

void spec_encode(const struct shape *shape, const void *in, struct strbuf *out);
int spec_decode(
    const struct shape *shape, struct str text, struct arena *arena, void *out, struct err *e);
