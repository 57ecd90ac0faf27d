# SPDX-License-Identifier: Apache-2.0
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
ifneq ($(ARCH),aarch64)
guests: $(GUEST_ELF) $(GUEST_OUT)/firmware.bin
endif

$(GUEST_ELF): $(GUEST_OBJS) $(GUEST_DIR)/link.ld
	$(call quiet,LINK,$@)$(GUEST_CC) $(GUEST_LDFLAGS) -T $(GUEST_DIR)/link.ld -o $@ $(GUEST_OBJS)

$(GUEST_OUT)/%.o: $(GUEST_DIR)/% $(GUEST_DIR)/build.mk
	@mkdir -p $(@D)
	$(call quiet,CC,$<)$(GUEST_CC) $(GUEST_CFLAGS) -MMD -MP -c -o $@ $<

-include $(GUEST_OBJS:.o=.d)

# Firmware: 64 KiB of flash. Freestanding 32-bit code, which needs no 32-bit libraries.
FIRMWARE_BIN := $(GUEST_OUT)/firmware.bin
FIRMWARE_CFLAGS := $(filter-out -m64 -march=x86-64 -mno-red-zone -mcmodel=small,$(GUEST_CFLAGS)) -m32 -march=i686 \
	-DRESET16_OFFSET=0xf000
FIRMWARE_SRCS := $(wildcard $(GUEST_DIR)/firmware/*.c $(GUEST_DIR)/firmware/*.S)
FIRMWARE_OBJS := $(patsubst $(GUEST_DIR)/%,$(GUEST_OUT)/%.o,$(FIRMWARE_SRCS))

$(FIRMWARE_OBJS): GUEST_CFLAGS := $(FIRMWARE_CFLAGS)

$(GUEST_OUT)/firmware.elf: $(FIRMWARE_OBJS) $(GUEST_DIR)/firmware/link.ld
	$(call quiet,LINK,$@)$(GUEST_CC) $(filter-out -m64,$(GUEST_LDFLAGS)) -m32 -T $(GUEST_DIR)/firmware/link.ld \
		-o $@ $(FIRMWARE_OBJS)

$(FIRMWARE_BIN): $(GUEST_OUT)/firmware.elf
	$(call quiet,OBJCOPY,$@)objcopy -O binary --gap-fill 0xff $< $@

-include $(FIRMWARE_OBJS:.o=.d)

# The guest of aarch64: an Image, with the library's parts that are the same there.
ARM_GUEST := $(GUEST_OUT)/guest.bin
ARM_GUEST_CFLAGS := $(filter-out -m64 -march=x86-64 -mno-red-zone -mcmodel=small -fcf-protection=none,$(GUEST_CFLAGS)) \
	-fno-tree-loop-distribute-patterns -mno-outline-atomics
ARM_GUEST_SRCS := $(wildcard $(GUEST_DIR)/aarch64/*.c $(GUEST_DIR)/aarch64/*.S) \
	$(addprefix $(GUEST_DIR)/,blk.c rng.c lib/blk.c lib/cmdline.c lib/console.c lib/string.c lib/virtio.c)
ARM_GUEST_OBJS := $(patsubst $(GUEST_DIR)/%,$(GUEST_OUT)/%.o,$(ARM_GUEST_SRCS))

ifeq ($(ARCH),aarch64)
guests: $(ARM_GUEST)

$(ARM_GUEST_OBJS): GUEST_CC := $(CROSS_COMPILE)gcc
$(ARM_GUEST_OBJS): GUEST_CFLAGS := $(ARM_GUEST_CFLAGS)

$(GUEST_OUT)/guest-aarch64.elf: $(ARM_GUEST_OBJS) $(GUEST_DIR)/aarch64/link.ld
	$(call quiet,LINK,$@)$(CROSS_COMPILE)gcc $(filter-out -m64,$(GUEST_LDFLAGS)) -T $(GUEST_DIR)/aarch64/link.ld \
		-o $@ $(ARM_GUEST_OBJS)

$(ARM_GUEST): $(GUEST_OUT)/guest-aarch64.elf
	$(call quiet,OBJCOPY,$@)$(CROSS_COMPILE)objcopy -O binary $< $@

-include $(wildcard $(GUEST_OUT)/aarch64/*.d)
endif
