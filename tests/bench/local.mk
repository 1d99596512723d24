# Benchmarks: tests/bench/bench_NAME.c is a program of its own, tests/bench/bench_NAME.py a script; both
# print rows for tests/bench/run, which `make bench [B=NAME]` calls. Any other .c is a program that scripts use;
# nginx_fsync.c is preloaded.

BENCH_SOURCES := $(filter-out tests/bench/nginx_fsync.c,$(wildcard tests/bench/*.c))
BENCH_SHIM := $(BUILD)/tests/bench/nginx_fsync.so
BENCH_PROGRAMS := $(BENCH_SOURCES:%.c=$(BUILD)/%)
TEST_OBJECTS += $(call objects,$(BENCH_SOURCES))

$(BENCH_PROGRAMS): $(BUILD)/tests/bench/%: $(BUILD)/obj/tests/bench/%.o $(TEST_LIB) $(BUILD)/libcommon.a
	$(call link,cmocka $(common_pkgs))
$(BENCH_SHIM): tests/bench/nginx_fsync.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS_ALL) -O2 -Wall -Wextra -Werror -fPIC -shared -o $@ $< -ldl
bench: $(BENCH_PROGRAMS) $(BENCH_SHIM)
