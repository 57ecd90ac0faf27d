# The test guest: one freestanding ELF, $(O)/guest/guest.elf. Included by the top Makefile; also
# usable alone: make -f tests/guest/build.mk O=build

O ?= build
GUEST_DIR := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
GUEST_OUT := $(O)/guest
GUEST_ELF := $(GUEST_OUT)/guest.elf

# Nothing of the VMM's flags: no libc, no hardening that needs one, no vector registers.
# It is an x86_64 program even where the VMM is cross-compiled.
GUEST_CC ?= $(if $(CROSS_COMPILE),gcc,$(CC))
GUEST_CFLAGS := -std=gnu11 -O2 -g -Wall -Wextra -Werror -Wshadow -Wvla -Wmissing-prototypes \
	-Wstrict-prototypes -m64 -march=x86-64 -ffreestanding -fno-builtin -fno-pic -fno-pie \
	-fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none \
	-mno-red-zone -mgeneral-regs-only -mcmodel=small -U_FORTIFY_SOURCE
GUEST_LDFLAGS := -m64 -nostdlib -static -Wl,--build-id=none -Wl,-z,noexecstack \
	-Wl,-z,max-page-size=4096 -Wl,--no-warn-rwx-segments

GUEST_SRCS := $(wildcard $(GUEST_DIR)/*.c $(GUEST_DIR)/lib/*.c $(GUEST_DIR)/lib/*.S)
GUEST_OBJS := $(patsubst $(GUEST_DIR)/%,$(GUEST_OUT)/%.o,$(GUEST_SRCS))

.PHONY: guests
guests: $(GUEST_ELF)

$(GUEST_ELF): $(GUEST_OBJS) $(GUEST_DIR)/link.ld
	$(call quiet,LINK,$@)$(GUEST_CC) $(GUEST_LDFLAGS) -T $(GUEST_DIR)/link.ld -o $@ $(GUEST_OBJS)

$(GUEST_OUT)/%.o: $(GUEST_DIR)/% $(GUEST_DIR)/build.mk
	@mkdir -p $(@D)
	$(call quiet,CC,$<)$(GUEST_CC) $(GUEST_CFLAGS) -MMD -MP -c -o $@ $<

-include $(GUEST_OBJS:.o=.d)
