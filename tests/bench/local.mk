# Benchmarks: tests/bench/bench_NAME.c is a program of its own, tests/bench/bench_NAME.py a script; both
# print rows for tests/bench/run, which `make bench [B=NAME]` calls. Any other .c is a program that scripts use.

BENCH_SOURCES := $(wildcard tests/bench/*.c)
BENCH_PROGRAMS := $(BENCH_SOURCES:%.c=$(BUILD)/%)
TEST_OBJECTS += $(call objects,$(BENCH_SOURCES))

$(BENCH_PROGRAMS): $(BUILD)/tests/bench/%: $(BUILD)/obj/tests/bench/%.o $(TEST_LIB) $(BUILD)/libcommon.a
	$(call link,cmocka $(common_pkgs))
bench: $(BENCH_PROGRAMS)
