# Unit tests: tests/unit/DIR/test_*.c is a cmocka program each, linked with libcommon.a and, where DIR
# is a daemon, with its lib. Fuzz targets: tests/fuzz/fuzz_*.c, linked here with a driver that replays
# the corpus tests/data/fuzz/NAME/, and by `make fuzz` with libFuzzer. tests/lib/*.c is for all of them.
# Programs run in the top directory with MALLEE_BUILD set to the build directory.

UNIT_SOURCES := $(sort $(wildcard tests/unit/*/test_*.c))
FUZZ_SOURCES := $(sort $(wildcard tests/fuzz/fuzz_*.c))
TEST_LIB_SOURCES := $(sort $(wildcard tests/lib/*.c))
UNIT_PROGRAMS := $(UNIT_SOURCES:%.c=$(BUILD)/%)
FUZZ_PROGRAMS := $(FUZZ_SOURCES:%.c=$(BUILD)/%)
TEST_OBJECTS := $(call objects,$(UNIT_SOURCES) $(FUZZ_SOURCES) $(TEST_LIB_SOURCES))
TEST_LIB := $(BUILD)/libtest.a
FUZZ_SANITIZE := address,undefined
all_pkgs := $(common_pkgs) $(foreach d,$(DAEMONS),$($(d)_pkgs))

# Message sets and APIs made for tests: "test_api/test.api.h", "test_api/test.handlers.h" ...
TEST_API := $(if $(APIGEN),$(wildcard tests/data/api/*.api))
TEST_GEN := $(TEST_API:tests/data/api/%.api=$(BUILD)/gen/test_api/%.api.c)
GEN_SOURCES += $(TEST_GEN)
$(BUILD)/gen/test_api/%.api.c $(BUILD)/gen/test_api/%.api.h &: tests/data/api/%.api $(TEST_API) $(COMMON_API) $(APIGEN)
	$(apigen)

$(TEST_LIB): $(call objects,$(TEST_LIB_SOURCES) $(TEST_GEN))
# The same without the driver: libFuzzer brings its own.
FUZZ_LIB := $(BUILD)/libfuzz.a
$(FUZZ_LIB): $(filter-out %/fuzz_replay.o,$(call objects,$(TEST_LIB_SOURCES) $(TEST_GEN)))

test_dir = $(word 3,$(subst /, ,$(1)))
define unit_rules
$(BUILD)/$(1): $(BUILD)/obj/$(1).o $$($(2)_lib) $(TEST_LIB) $(BUILD)/libcommon.a
	$$(call link,cmocka $$($(2)_pkgs) $$(common_pkgs))
$(BUILD)/obj/$(1).o: EXTRA_CFLAGS = $(CFLAGS_cmocka) $$(call owner_flags,$(2))
endef
$(foreach t,$(UNIT_SOURCES:.c=),$(eval $(call unit_rules,$(t),$(call test_dir,$(t)))))

$(BUILD)/tests/unit/tools/test_admin: | $(BUILD)/bin/mallee-admin # which it runs

$(BUILD)/obj/tests/%.o: EXTRA_CFLAGS ?= $(CFLAGS_cmocka) $(call pkg_cflags,$(all_pkgs))

# A target is linked with the daemons whose headers it includes ("nc/spec.h").
fuzz_daemons = $(foreach d,$(DAEMONS),$(shell grep -q '#include "$(d)/' $(1) && echo $(d)))
define fuzz_rules
$(BUILD)/tests/fuzz/fuzz_$(1): $(BUILD)/obj/tests/fuzz/fuzz_$(1).o $(foreach d,$(2),$$($(d)_lib)) $(TEST_LIB) $(BUILD)/libcommon.a
	$$(call link,$(foreach d,$(2),$$($(d)_pkgs)) $$(common_pkgs))
$(BUILD)/fuzzer/$(1): $(BUILD)/obj/tests/fuzz/fuzz_$(1).o $(foreach d,$(2),$$($(d)_lib)) $(FUZZ_LIB) $(BUILD)/libcommon.a
	$$(call link,$(foreach d,$(2),$$($(d)_pkgs)) $$(common_pkgs)) -fsanitize=fuzzer,$$(FUZZ_SANITIZE)
endef
$(foreach f,$(FUZZ_SOURCES),$(eval $(call fuzz_rules,$(f:tests/fuzz/fuzz_%.c=%),$(call fuzz_daemons,$(f)))))

# The second HTTP parser of the differential fuzzers, compiled from what node-llhttp installs.
LLHTTP_SOURCES := $(wildcard /usr/share/llhttp/*.c)
ifneq ($(LLHTTP_SOURCES),)
LLHTTP_CFLAGS := -DHAVE_LLHTTP -DLLHTTP_STRICT_MODE=1 -isystem /usr/share/include/llhttp
$(BUILD)/obj/llhttp/%.o: /usr/share/llhttp/%.c
	$(call say,CC,$<) mkdir -p $(@D) && $(CC) -O2 -g -w -fPIE $(LLHTTP_CFLAGS) -c -o $@ $<
$(BUILD)/libllhttp.a: $(LLHTTP_SOURCES:/usr/share/llhttp/%.c=$(BUILD)/obj/llhttp/%.o)
$(foreach f,head chunked,$(BUILD)/tests/fuzz/fuzz_http_$(f) $(BUILD)/fuzzer/http_$(f)): $(BUILD)/libllhttp.a
$(BUILD)/obj/tests/fuzz/fuzz_http_%.o: EXTRA_CFLAGS := $(LLHTTP_CFLAGS)
endif

SELECTED := $(strip $(if $(T),$(foreach p,$(UNIT_PROGRAMS) $(FUZZ_PROGRAMS),$(if $(strip $(foreach t,$(T),$(findstring $(t),$(p)))),$(p))),$(UNIT_PROGRAMS) $(FUZZ_PROGRAMS)))
.PHONY: check-programs
check-programs: $(SELECTED) $(BUILD)/includes.ok $(if $(T),,all)
check: check-programs
	@MALLEE_BUILD=$(BUILD) $(PYTHON) tools/run-unit $(SELECTED)

# libFuzzer: everything is compiled anew with coverage, in build/fuzz; findings land beside the corpus.
SECONDS ?= 60
fuzz:
	@test -f tests/fuzz/fuzz_$(F).c || { echo 'usage: make fuzz F=NAME [SECONDS=60]; names: $(FUZZ_SOURCES:tests/fuzz/fuzz_%.c=%)' >&2; exit 2; }
	@$(MAKE) --no-print-directory CC=clang BUILD=build/fuzz SANITIZE=fuzzer-no-link,$(FUZZ_SANITIZE) build/fuzz/fuzzer/$(F)
	@mkdir -p build/fuzz/corpus/$(F) build/fuzz/findings
	build/fuzz/fuzzer/$(F) -max_total_time=$(SECONDS) -timeout=10 -artifact_prefix=build/fuzz/findings/$(F)- build/fuzz/corpus/$(F) $(wildcard tests/data/fuzz/$(F))
