# SPDX-License-Identifier: Apache-2.0
# The fuzz targets: every tests/fuzz/fuzz_*.c is a program of clang's libFuzzer.
#
#   make fuzz                       builds them under build/fuzz and runs each for FUZZ_SECONDS (60)
#   build/fuzz/fuzz/fuzz_qmp FILE   repeats what a run wrote down (crash-…, timeout-…)
#
# "make fuzz-build" is the part that runs with the fuzzing compiler; "make fuzz" calls it.

FUZZ_SRC     := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_SECONDS ?= 60

# The hook that feeds fresh bytes to what devices read.
FUZZ_LDFLAGS_fuzz_devices := -Wl,--wrap=guest_slice

fuzz-targets:
	@$(MAKE) --no-print-directory CC=clang SAN=asan,ubsan O=build/fuzz CFLAGS=-fsanitize=fuzzer-no-link fuzz-build

fuzz: fuzz-targets
	@tests/fuzz/run --seconds $(FUZZ_SECONDS)

fuzz-build: $(FUZZ_SRC:tests/fuzz/%.c=$(O)/fuzz/%)

$(O)/fuzz/%: $(O)/obj/tests/fuzz/%.o $(UNIT_LIB)
	@mkdir -p $(@D)
	$(call quiet,LINK,$@)$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer $(FUZZ_LDFLAGS_$(*F)) -o $@ $< $(UNIT_LIB) $(LDLIBS_ALL)

$(FUZZ_SRC:%.c=$(O)/obj/%.o): CPPFLAGS_ALL += -Isrc
.SECONDARY: $(FUZZ_SRC:%.c=$(O)/obj/%.o)
.PHONY: fuzz fuzz-build fuzz-targets

-include $(FUZZ_SRC:%.c=$(O)/obj/%.d)
