# The whole build, not recursive. A new .c file needs no edit here: every directory is globbed, and its
# local.mk states only exceptions:
#
#   X_pkgs = openssl curl       libraries (config.mk) that directory X of a daemon or common needs
#
# common/*/*.c and the code generated from common/rpc/*.api are build/libcommon.a. Of a daemon's
# directory X, X/*.c, X/*/*.c and the code generated from X/api/*.api, all but the mains are
# build/libX.a; X/main.c is build/bin/mallee-X, X/NAME_main.c and X/NAME/main.c are
# build/bin/mallee-X-NAME, each linked with libX.a and libcommon.a.
#
#   make [CC=clang] [SANITIZE=address,undefined|thread]   each combination in a subdirectory of build/
#   make check [T=names]     unit tests and fuzz corpora (of those whose path holds one of the words)
#   make fuzz F=name [SECONDS=60]
#   make bench [B=name]      make install [DESTDIR= PREFIX=/usr]     make format[-check]    make clean

-include config.mk

DAEMONS := clc walrus cc sc nc
LAYERS := base run net xml auth store rpc
PREFIX ?= /usr
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules

# Compiler and output directory ---------------------------------------------------------------------

ifeq ($(origin CC),default)
CC := $(or $(CONFIGURED_CC),gcc)
endif
comma := ,
variant := $(if $(filter $(CONFIGURED_CC),$(CC)),,$(notdir $(CC)))
variant += $(if $(findstring address,$(SANITIZE)),asan,$(if $(findstring thread,$(SANITIZE)),tsan,$(subst $(comma),-,$(SANITIZE))))
variant := $(strip $(variant))
empty :=
BUILD ?= build$(if $(variant),/$(subst $(empty) ,-,$(variant)))

cc_option = $(shell $(CC) -Werror $(1) -E -x c /dev/null >/dev/null 2>&1 && echo '$(1)')

WARNINGS := -Wall -Wextra -Wshadow -Wmissing-prototypes -Wformat=2 -Wvla -Walloca -Wundef -Werror
# Callbacks have the signature of their table, and tables leave trailing members zero.
WARNINGS += -Wno-unused-parameter -Wno-missing-field-initializers
HARDENING := -fno-common -fno-strict-aliasing -fwrapv -fstack-protector-strong
HARDENING += $(or $(call cc_option,-ftrivial-auto-var-init=zero),$(call cc_option,-ftrivial-auto-var-init=zero -enable-trivial-auto-var-init-zero-knowing-it-will-be-removed-from-clang))
ifdef SANITIZE
OPTIMISE := -O1 -g -fno-omit-frame-pointer -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -DLOCK_CHECKS
LDHARDENING := -fsanitize=$(SANITIZE)
# What GCC concludes from flow is confused by the sanitizers' checks; plain builds keep these.
WARNINGS += $(call cc_option,-Wno-format-truncation) $(call cc_option,-Wno-maybe-uninitialized)
else
OPTIMISE := -O2 -g -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$(if $(findstring clang,$(CC)),2,3)
HARDENING += -fstack-clash-protection -fcf-protection=full
LDHARDENING := -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code
endif
CPPFLAGS_ALL := -D_GNU_SOURCE -DMALLEE_VERSION='"$(VERSION)"' -Icommon -I$(BUILD)/gen -I. $(CPPFLAGS)
CFLAGS_ALL := -std=gnu11 $(OPTIMISE) $(WARNINGS) $(HARDENING) -fPIE -pthread $(CFLAGS)
LDFLAGS_ALL := -pie -pthread $(LDHARDENING) -Wl,--as-needed $(LDFLAGS)

# Sources -------------------------------------------------------------------------------------------

include $(sort $(wildcard common/*/local.mk $(DAEMONS:=/local.mk)))

objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(filter-out $(BUILD)/%,$(1))) \
    $(patsubst $(BUILD)/gen/%.c,$(BUILD)/obj/gen/%.o,$(filter $(BUILD)/%,$(1)))
pkg_cflags = $(foreach p,$(sort $(1)),$(CFLAGS_$(p)))
pkg_libs = $(foreach p,$(sort $(1)),$(LIBS_$(p)))
is_main = $(filter %/main.c %_main.c,$(1))
# Directory of a source: "common/net/http.c" and "nc/dhcp/reply.c" -> "net" and "nc".
owner = $(if $(filter common/% gen/rpc/%,$(1)),common,$(if $(filter gen/%,$(1)),$(word 2,$(subst /, ,$(1))),$(firstword $(subst /, ,$(1)))))

APIGEN := $(wildcard tools/apigen tools/apigen_*.py)
COMMON_API := $(if $(APIGEN),$(wildcard common/rpc/*.api))
COMMON_GEN := $(COMMON_API:common/rpc/%.api=$(BUILD)/gen/rpc/%.api.c)
COMMON_SOURCES := $(sort $(wildcard common/*/*.c)) $(COMMON_GEN)
common_pkgs := $(foreach l,$(LAYERS),$($(l)_pkgs))
OBJECTS := $(call objects,$(COMMON_SOURCES))
GEN_SOURCES := $(COMMON_GEN)

define daemon_rules
$(1)_sources := $$(sort $$(wildcard $(1)/*.c $(1)/*/*.c))
$(1)_gen := $$(patsubst $(1)/api/%.api,$(BUILD)/gen/$(1)/%.api.c,$$(if $(APIGEN),$$(wildcard $(1)/api/*.api)))
GEN_SOURCES += $$($(1)_gen)
$(1)_mains := $$(call is_main,$$($(1)_sources))
$(1)_objects := $$(call objects,$$(filter-out $$($(1)_mains),$$($(1)_sources)) $$($(1)_gen))
OBJECTS += $$($(1)_objects) $$(call objects,$$($(1)_mains))
ifneq ($$(strip $$($(1)_objects)),)
$(1)_lib := $(BUILD)/lib$(1).a
$$($(1)_lib): $$($(1)_objects)
DAEMON_LIBS += $$($(1)_lib)
endif
$$(foreach m,$$($(1)_mains),$$(eval $$(call program_rules,$(1),$$(m),$$(call program_name,$(1),$$(m)))))
endef
# nc/main.c: mallee-nc; nc/helper_main.c and nc/helper/main.c: mallee-nc-helper
program_name = mallee-$(1)$(addprefix -,$(filter-out main,$(patsubst %_main,%,$(patsubst %/main,%,$(patsubst $(1)/%.c,%,$(2))))))
define program_rules
$(BUILD)/bin/$(3): $$(call objects,$(2)) $$($(1)_lib) $(BUILD)/libcommon.a
	$$(call link,$$($(1)_pkgs) $$(common_pkgs))
PROGRAMS += $(BUILD)/bin/$(3)
endef

say = @printf '  %-7s %s\n' '$(1)' '$(2)';
link = $(call say,LINK,$@) mkdir -p $(@D) && $(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(call pkg_libs,$(1)) -lm

$(foreach d,$(DAEMONS),$(eval $(call daemon_rules,$(d))))
include $(wildcard tools/local.mk tests/local.mk tests/*/local.mk)

API_PAGES := $(patsubst clc/api/%.api,$(BUILD)/docs/%.md,$(wildcard clc/api/*.api))
GEN_HEADERS := $(GEN_SOURCES:.c=.h)

# Rules ---------------------------------------------------------------------------------------------

.PHONY: all check fuzz bench install format format-check clean
all: $(BUILD)/libcommon.a $(DAEMON_LIBS) $(PROGRAMS) $(BUILD)/includes.ok $(API_PAGES)

configure: configure.ac
	@command -v autoconf >/dev/null || { echo 'autoconf is missing: apt-get install autoconf' >&2; exit 1; }
	autoconf
config.mk: configure config.mk.in
	./configure --quiet

$(BUILD)/libcommon.a: $(call objects,$(COMMON_SOURCES))
$(BUILD)/%.a:
	$(call say,AR,$@) mkdir -p $(@D) && rm -f $@ && $(AR) rcsD $@ $(filter %.o,$^)

owner_flags = $(call pkg_cflags,$($(1)_pkgs) $(common_pkgs)) $(if $(filter $(1),$(DAEMONS)),-I$(1))
$(BUILD)/obj/gen/%.o: $(BUILD)/gen/%.c config.mk Makefile | $(GEN_HEADERS)
	$(call say,CC,$<) mkdir -p $(@D) && $(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(call owner_flags,$(call owner,gen/$*)) -MMD -MP -c -o $@ $<
$(BUILD)/obj/%.o: %.c config.mk Makefile | $(GEN_HEADERS)
	$(call say,CC,$<) mkdir -p $(@D) && $(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(call owner_flags,$(call owner,$*)) $(EXTRA_CFLAGS) -MMD -MP -c -o $@ $<

# tools/apigen --out DIRECTORY FILE.api writes DIRECTORY/FILE.api.h, FILE.api.c and, for a service,
# FILE.handlers.h. A definition may include its neighbours: each depends on all of its directory.
apigen = $(call say,API,$<) mkdir -p $(@D) && $(PYTHON) tools/apigen --out $(@D) $<
$(BUILD)/gen/rpc/%.api.c $(BUILD)/gen/rpc/%.api.h &: common/rpc/%.api $(COMMON_API) $(APIGEN)
	$(apigen)
define daemon_api_rules
$(BUILD)/gen/$(1)/%.api.c $(BUILD)/gen/$(1)/%.api.h &: $(1)/api/%.api $(wildcard $(1)/api/*.api $(1)/api/*/*.api) $(APIGEN)
	$$(apigen)
endef
$(foreach d,$(DAEMONS),$(eval $(call daemon_api_rules,$(d))))

# For people: a page for each API that users call.
$(BUILD)/docs/%.md: clc/api/%.api $(wildcard clc/api/*.api clc/api/*/*.api) $(APIGEN)
	$(call say,DOC,$@) mkdir -p $(@D) && $(PYTHON) tools/apigen --reference $< >$@

$(BUILD)/includes.ok: tools/check-includes $(wildcard common/*/*.[ch] $(foreach d,$(DAEMONS),$(d)/*.[ch] $(d)/*/*.[ch]) tools/*/*.[ch])
	$(call say,CHECK,includes) mkdir -p $(@D) && $(PYTHON) tools/check-includes && touch $@

bench: all
	@if [ -x tests/bench/run ]; then BUILD=$(BUILD) tests/bench/run $(B); else echo 'no benchmarks: tests/bench/run is absent' >&2; exit 1; fi

install: all
	install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/bin $(DESTDIR)/etc/mallee $(DESTDIR)/lib/systemd/system
	for p in $(PROGRAMS); do case $$p in \
	  */mallee-admin) install -m 755 $$p $(DESTDIR)$(PREFIX)/bin/ ;; \
	  *) install -m 755 $$p $(DESTDIR)$(PREFIX)/sbin/ ;; esac || exit 1; done
	for f in $(wildcard packaging/*.service packaging/*.socket packaging/*.path packaging/*.target); do install -m 644 $$f $(DESTDIR)/lib/systemd/system/ || exit 1; done
	for d in sysusers.d tmpfiles.d; do install -D -m 644 packaging/$$d/mallee.conf $(DESTDIR)$(PREFIX)/lib/$$d/mallee.conf || exit 1; done
	for f in $(wildcard packaging/*.conf); do t=$(DESTDIR)/etc/mallee/$${f##*/}; [ -e $$t ] || install -m 644 $$f $$t || exit 1; done
	for f in $(wildcard docs/man/*.[1-8]); do install -D -m 644 $$f $(DESTDIR)$(PREFIX)/share/man/man$${f##*.}/$${f##*/} || exit 1; done

# Sources only: headers align their comments and tables by hand.
format-check:
	@clang-format --dry-run --Werror $$(git ls-files '*.c')
format:
	clang-format -i $$(git ls-files '*.c')

clean:
	rm -rf build

-include $(OBJECTS:.o=.d) $(TEST_OBJECTS:.o=.d)
