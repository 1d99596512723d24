# build/bin/mallee-admin, the operator's tool, from tools/mallee-admin/*.c.

ADMIN_SOURCES := $(sort $(wildcard tools/mallee-admin/*.c))
ifneq ($(ADMIN_SOURCES),)
OBJECTS += $(call objects,$(ADMIN_SOURCES))
PROGRAMS += $(BUILD)/bin/mallee-admin
$(BUILD)/bin/mallee-admin: $(call objects,$(ADMIN_SOURCES)) $(BUILD)/libcommon.a
	$(call link,$(common_pkgs))
endif
