# Programs of the tests that need root (tests/node): `make node-tools`, then pytest tests/node.
NODE_PROGRAMS := $(patsubst %.c,$(BUILD)/%,$(sort $(wildcard tests/node/*.c)))
.PHONY: node-tools
node-tools: $(NODE_PROGRAMS) $(BUILD)/bin/mallee-nc $(BUILD)/bin/mallee-nc-helper
$(NODE_PROGRAMS): $(BUILD)/%: $(BUILD)/obj/%.o $(DAEMON_LIBS) $(BUILD)/libcommon.a
	$(call link,$(all_pkgs))
$(call objects,$(wildcard tests/node/*.c)): EXTRA_CFLAGS := $(call pkg_cflags,$(all_pkgs)) -Inc
