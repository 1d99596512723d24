# `make check-postgres [C="clc walrus"]`: every statement of every catalogue on SQLite and PostgreSQL.
# A daemon takes part by having schema.c and schema.h (see common/store/README.md).

COMPARE_CATALOGUES := $(patsubst %/schema.c,%,$(wildcard $(DAEMONS:=/schema.c)))
COMPARE_SOURCES := $(wildcard tests/store/*.c)
COMPARE_OBJECTS := $(call objects,$(COMPARE_SOURCES))
COMPARE_SCHEMAS := $(call objects,$(COMPARE_CATALOGUES:=/schema.c))
COMPARE_DEF := $(BUILD)/gen/tests/store/catalogues.def
TEST_OBJECTS += $(COMPARE_OBJECTS)
PQ_CFLAGS = $(shell pkg-config --cflags libpq)
PQ_LIBS = $(shell pkg-config --libs libpq)

$(COMPARE_DEF): $(wildcard $(DAEMONS:=/schema.c)) tests/store/local.mk
	@mkdir -p $(@D) && printf 'CATALOGUE(%s)\n' $(COMPARE_CATALOGUES) | grep -v '()' >$@; true
$(COMPARE_OBJECTS): $(COMPARE_DEF)
$(COMPARE_OBJECTS): EXTRA_CFLAGS = $(PQ_CFLAGS)
$(BUILD)/tests/store/compare: $(COMPARE_OBJECTS) $(COMPARE_SCHEMAS) $(TEST_LIB) $(BUILD)/libcommon.a
	$(call link,$(common_pkgs)) $(PQ_LIBS)

.PHONY: check-postgres
check-postgres: $(BUILD)/tests/store/compare
	@tests/store/run-postgres $< $(C)
