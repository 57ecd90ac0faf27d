# SPDX-License-Identifier: Apache-2.0
# The library of faults, $(O)/fault.so. Included by the top Makefile. Without sanitizers, whatever the VMM has.

FAULT_LIB := $(O)/fault.so

.PHONY: faults
faults: $(FAULT_LIB)

$(FAULT_LIB): tests/fault/shim.c
	@mkdir -p $(@D)
	$(call quiet,LINK,$@)$(CC) -std=gnu11 -O2 -g -Wall -Wextra -Werror -Wshadow -fPIC -shared -o $@ $< \
		$(shell $(PKG_CONFIG) --cflags liburing) -ldl -pthread
