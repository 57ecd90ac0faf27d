# SPDX-License-Identifier: Apache-2.0
# The fuzz targets: every tests/fuzz/fuzz_*.c is a program of clang's libFuzzer.
#
#   make fuzz                       builds them under build/fuzz and runs each for FUZZ_SECONDS (60)
#   build/fuzz/fuzz/fuzz_qmp FILE   repeats what a run wrote down (crash-…, timeout-…)
#
# "make fuzz-build" is the part that runs with the fuzzing compiler; "make fuzz" calls it.

FUZZ_SRC     := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_SECONDS ?= 60

# The hook that feeds fresh bytes to what devices read, and a tap without a kernel.
FUZZ_LDFLAGS_fuzz_devices := -Wl,--wrap=guest_slice,--wrap=tap_take
# Builders of aarch64's machines, which compute and ask no kernel.
FUZZ_OBJ_fuzz_acpi := $(if $(filter x86_64,$(ARCH)),$(O)/obj/src/boot/aarch64/acpi_virt.o)
FUZZ_OBJ_fuzz_fdt := $(if $(filter x86_64,$(ARCH)),$(O)/obj/src/boot/aarch64/fdt.o)
FUZZ_LIBS_fuzz_fdt := -lfdt
FUZZ_OBJ_fuzz_kernel_arm64 := $(if $(filter x86_64,$(ARCH)),$(patsubst %,$(O)/obj/src/boot/aarch64/%.o,fdt gunzip load source))
FUZZ_LIBS_fuzz_kernel_arm64 := -lfdt -lz
FUZZ_OBJ := $(sort $(FUZZ_OBJ_fuzz_acpi) $(FUZZ_OBJ_fuzz_fdt) $(FUZZ_OBJ_fuzz_kernel_arm64))
FUZZ_SHARED := $(O)/obj/tests/fuzz/shared.o

fuzz-targets:
	@$(MAKE) --no-print-directory CC=clang SAN=asan,ubsan O=build/fuzz CFLAGS=-fsanitize=fuzzer-no-link fuzz-build

fuzz: fuzz-targets
	@tests/fuzz/run --seconds $(FUZZ_SECONDS)

fuzz-build: $(FUZZ_SRC:tests/fuzz/%.c=$(O)/fuzz/%)

$(O)/fuzz/%: $(O)/obj/tests/fuzz/%.o $(FUZZ_SHARED) $(FUZZ_OBJ) $(UNIT_LIB)
	@mkdir -p $(@D)
	$(call quiet,LINK,$@)$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer $(FUZZ_LDFLAGS_$(*F)) -o $@ $< $(FUZZ_SHARED) \
		$(FUZZ_OBJ_$(*F)) $(UNIT_LIB) $(LDLIBS_ALL) $(FUZZ_LIBS_$(*F))

$(FUZZ_SRC:%.c=$(O)/obj/%.o) $(FUZZ_SHARED): CPPFLAGS_ALL += -Isrc
# A format that only that architecture knows.
$(FUZZ_OBJ_fuzz_kernel_arm64): CPPFLAGS_ALL += -DBOOT_ARM64_IMAGE=BOOT_RAW
.SECONDARY: $(FUZZ_SRC:%.c=$(O)/obj/%.o) $(FUZZ_OBJ)
.PHONY: fuzz fuzz-build fuzz-targets

-include $(FUZZ_SRC:%.c=$(O)/obj/%.d) $(FUZZ_SHARED:.o=.d)
