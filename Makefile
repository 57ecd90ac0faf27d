# SPDX-License-Identifier: Apache-2.0
# StratoVirt in C. One non-recursive makefile; objects live under $(O).
#
#   make                  build/stratovirt, build/stratovirt-ctl and build/stratovirt-jail
#   make CC=clang         the same with clang (objects of their own with O=)
#   make STATIC=1         one static file        -> build/static/stratovirt
#   make SAN=asan,ubsan   with sanitizers        -> build/asan-ubsan/stratovirt
#   make ARCH=aarch64 CROSS_COMPILE=aarch64-linux-gnu-    -> build/aarch64/stratovirt
#   make install DESTDIR= PREFIX=/usr/local
#   make check            every test ring this machine allows (installs what it needs, as root)
#   make fuzz             each fuzz target for a minute (clang)
#   make nightly          ten minutes of random requests for each device, with sanitizers; thousands of crashes
#   make soak             an hour of plug, unplug, resets, stop/cont, balloon and I/O at once
#   make coverage         which lines the tests execute; writes the table in docs/testing.md
#   make bench            figures beside QEMU's, in build/bench.md and build/bench.json; bench-quick looks for losses alone
#   make demo             boot a stock kernel on microvm
#
# V=1 shows the commands.

MAKEFLAGS += --no-builtin-rules --no-builtin-variables
.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

VERSION := 0.1.0
COMMIT  := $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)

CROSS_COMPILE ?=
ifeq ($(origin CC),default)
CC := $(CROSS_COMPILE)gcc
endif
CC         ?= $(CROSS_COMPILE)gcc
HOST_ARCH  := $(shell uname -m)
ARCH       ?= $(HOST_ARCH)
# Debian's libraries of another architecture have their descriptions in a folder of its name.
ifneq ($(CROSS_COMPILE),)
PKG_CONFIG ?= PKG_CONFIG_LIBDIR=/usr/lib/$(CROSS_COMPILE:%-=%)/pkgconfig:/usr/share/pkgconfig pkg-config
endif
PKG_CONFIG ?= pkg-config
STRIP      ?= $(CROSS_COMPILE)strip
INSTALL    ?= install
PREFIX     ?= /usr/local
DESTDIR    ?=
STATIC     ?=
SAN        ?=

# Each architecture but this machine's, and each kind of build, has a folder of its own.
comma := ,
BASE  := build$(if $(filter-out $(HOST_ARCH),$(ARCH)),/$(ARCH))
ifneq ($(SAN),)
O ?= $(BASE)/$(subst $(comma),-,$(SAN))
else ifneq ($(STATIC),)
O ?= $(BASE)/static
else
O ?= $(BASE)
endif

# --- flags -----------------------------------------------------------------

WARN := -Wall -Wextra -Werror -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes \
	-Wpointer-arith -Wwrite-strings -Wundef
LIBS := json-c liburing

CPPFLAGS_ALL := -D_GNU_SOURCE -Iinclude $(shell $(PKG_CONFIG) --cflags $(LIBS))
CFLAGS_ALL   := -std=gnu11 -g $(WARN) -fno-strict-aliasing -fstack-protector-strong -fPIE \
		-ffunction-sections -fdata-sections
LDFLAGS_ALL  := -pthread -Wl,--gc-sections -Wl,-z,relro,-z,now,-z,noexecstack
LDLIBS_ALL   := $(shell $(PKG_CONFIG) --libs $(if $(STATIC),--static) $(LIBS))

# The FDT is aarch64's; zlib unpacks Image.gz.
ifeq ($(ARCH),aarch64)
LDLIBS_ALL += -lfdt -lz
ifneq ($(CROSS_COMPILE),)
LDFLAGS_ALL += -L/usr/local/lib/$(CROSS_COMPILE:%-=%)
endif
endif

ifneq ($(SAN),)
SANFLAG := -fsanitize=$(subst asan,address,$(subst ubsan,undefined,$(subst tsan,thread,$(SAN))))
CFLAGS_ALL  += -O1 -fno-omit-frame-pointer $(SANFLAG) -fno-sanitize-recover=all
LDFLAGS_ALL += $(SANFLAG)
else
CFLAGS_ALL  += -O2 -D_FORTIFY_SOURCE=2
endif
ifneq ($(STATIC),)
LDFLAGS_ALL += -static-pie
else
LDFLAGS_ALL += -pie
endif
CFLAGS_ALL  += $(CFLAGS)
LDFLAGS_ALL += $(LDFLAGS)

ifeq ($(V),)
quiet = @printf '  %-7s %s\n' '$(1)' '$(2)';
endif

# --- sources ---------------------------------------------------------------

SRC  := $(wildcard src/*/*.c src/*/$(ARCH)/*.c)
OBJ  := $(SRC:%.c=$(O)/obj/%.o)
MAIN := $(O)/obj/src/main.o
BIN  := $(O)/stratovirt

# The small client of the monitors stands on the util room alone.
CTL_SRC := $(wildcard tools/ctl/*.c)
CTL_OBJ := $(CTL_SRC:%.c=$(O)/obj/%.o)
CTL     := $(O)/stratovirt-ctl

# So does the launcher that jails a VMM.
JAIL_SRC := $(wildcard tools/jail/*.c)
JAIL_OBJ := $(JAIL_SRC:%.c=$(O)/obj/%.o)
JAIL     := $(O)/stratovirt-jail

# The jail holds a static VMM; the launcher itself stays outside.
all: $(BIN) $(CTL) $(if $(STATIC),,$(JAIL))

$(BIN): $(OBJ) $(MAIN)
	$(call quiet,LINK,$@)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL)

$(CTL): $(CTL_OBJ) $(filter $(O)/obj/src/util/%,$(OBJ))
	$(call quiet,LINK,$@)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL)

$(JAIL): $(JAIL_OBJ) $(filter $(O)/obj/src/util/%,$(OBJ))
	$(call quiet,LINK,$@)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL) -lcap-ng

# Objects depend on the flags: a change of compiler or options rebuilds them, a second make does nothing.
FLAGS_TEXT := $(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(LDFLAGS_ALL) $(LDLIBS_ALL)
$(O)/.flags: FORCE
	@mkdir -p $(@D)
	@echo '$(FLAGS_TEXT)' | cmp -s - $@ || echo '$(FLAGS_TEXT)' > $@

$(O)/obj/%.o: %.c $(O)/.flags
	@mkdir -p $(@D)
	$(call quiet,CC,$<)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(CFLAGS_$(notdir $*)) -MMD -MP -c -o $@ $<

# The version is compiled into one file only, which alone is rebuilt on a new commit.
VERSION_TEXT := StratoVirt $(VERSION) commit-id $(COMMIT)
$(O)/.version: FORCE
	@mkdir -p $(@D)
	@echo '$(VERSION_TEXT)' | cmp -s - $@ || echo '$(VERSION_TEXT)' > $@
$(O)/obj/src/util/version.o: $(O)/.version
CFLAGS_version = -DSTRATOVIRT_VERSION='"$(VERSION)"' -DSTRATOVIRT_COMMIT='"$(COMMIT)"'

FORCE:

# The filters of system calls are made by a tool of the build machine, which is where libseccomp is needed.
HOSTCC ?= cc
SECCOMP := $(O)/seccomp-compile
$(SECCOMP): tools/seccomp/compile.c src/seccomp/rules.c src/seccomp/rules.h
	@mkdir -p $(@D)
	$(call quiet,HOSTCC,$@)$(HOSTCC) -std=gnu11 -D_GNU_SOURCE -DRULES_$(ARCH) -O1 -Wall -Wextra -o $@ $(filter %.c,$^) -lseccomp
$(O)/gen/seccomp_filters.h: $(SECCOMP)
	@mkdir -p $(@D)
	$(call quiet,GEN,$@)$(SECCOMP) $(ARCH) > $@
$(O)/obj/src/seccomp/sandbox.o: $(O)/gen/seccomp_filters.h
CFLAGS_sandbox = -I$(O)/gen
CFLAGS_rules = -DRULES_$(ARCH)

# --- unit tests: every tests/unit/test_*.c is a program of its own ------------

# Those of the rooms' code for one architecture are there for that one only.
UNIT_x86_64  := $(wildcard tests/unit/test_cpu_x86_*.c tests/unit/test_boot_*.c)
UNIT_aarch64 := $(wildcard tests/unit/test_arm_*.c)
# Sanitizers make system calls of their own: their builds run without filters.
UNIT_SANDBOX := $(if $(SAN),tests/unit/test_seccomp_sandbox.c)
UNIT_SRC := $(filter-out $(UNIT_SANDBOX) $(if $(filter x86_64,$(ARCH)),$(UNIT_aarch64),$(UNIT_x86_64)),$(wildcard tests/unit/test_*.c))
UNIT     := $(UNIT_SRC:tests/unit/%.c=$(O)/unit/%)
UNIT_LIB := $(O)/unit/stratovirt.a

$(UNIT_LIB): $(OBJ)
	@mkdir -p $(@D)
	$(call quiet,AR,$@)rm -f $@ && ar rcs $@ $^

$(O)/unit/%: $(O)/obj/tests/unit/%.o $(UNIT_LIB)
	@mkdir -p $(@D)
	$(call quiet,LINK,$@)$(CC) $(LDFLAGS_ALL) -o $@ $< $(UNIT_LIB) $(LDLIBS_ALL) $(shell $(PKG_CONFIG) --libs check)

$(UNIT_SRC:%.c=$(O)/obj/%.o): CPPFLAGS_ALL += -Itests/unit -Isrc
.SECONDARY: $(UNIT_SRC:%.c=$(O)/obj/%.o)

unit-build: $(UNIT)

# --- bare-metal guests -----------------------------------------------------------

-include tests/guest/build.mk

# --- faults of the host --------------------------------------------------------------

-include tests/fault/build.mk

# --- fuzz targets ------------------------------------------------------------------

-include tests/fuzz/build.mk

# --- test rings and the demo ------------------------------------------------------

check:
	@tests/tools/install-deps check
	@tests/tools/check

nightly:
	@$(MAKE) --no-print-directory SAN=asan,ubsan all
	STRATOVIRT=build/asan-ubsan/stratovirt DEVICE_SECONDS=600 /usr/bin/python3 -m pytest -q -rP -p no:cacheprovider \
		tests/device/test_random.py
	CRASHES=500 /usr/bin/python3 -m pytest -q -p no:cacheprovider tests/device/test_crash.py
	@$(MAKE) --no-print-directory fuzz-targets soak
	SLOW=1 tests/fuzz/run --seconds 300 acpi fdt

SOAK_SECONDS ?= 3600
soak: all
	SOAK_SECONDS=$(SOAK_SECONDS) /usr/bin/python3 -m pytest -q -rP -p no:cacheprovider tests/device/test_soak.py

coverage:
	@tests/tools/coverage --write

# The floor: a program of system calls alone, beside which start-up is measured. The wire: the other end of a guest's network cable.
BENCH_TOOLS := $(O)/bench/floor $(O)/bench/wire
$(BENCH_TOOLS): $(O)/bench/%: tests/bench/%.c
	@mkdir -p $(@D)
	$(call quiet,CC,$<)$(CC) -O2 -Wall -Wextra -Werror -o $@ $<

BENCH_ROUNDS ?= 11
bench: all guests $(BENCH_TOOLS)
	tests/bench/run --rounds $(BENCH_ROUNDS)

bench-quick: all guests $(BENCH_TOOLS)
	tests/bench/run --quick

demo:
	@tests/tools/install-deps demo
	@$(MAKE) --no-print-directory all
	@tests/demo/run

install: $(BIN) $(CTL) $(if $(STATIC),,$(JAIL))
	$(INSTALL) -D -m 0755 $(BIN) $(DESTDIR)$(PREFIX)/bin/stratovirt
	$(INSTALL) -D -m 0755 $(CTL) $(DESTDIR)$(PREFIX)/bin/stratovirt-ctl
	$(if $(STATIC),,$(INSTALL) -D -m 0755 $(JAIL) $(DESTDIR)$(PREFIX)/bin/stratovirt-jail)
	$(INSTALL) -D -m 0644 tools/jail/stratovirt@.service $(DESTDIR)$(PREFIX)/lib/systemd/system/stratovirt@.service

# References generated from the tables of the code.
docs: $(BIN)
	$(BIN) -dump-docs qmp > docs/qmp.md

clean:
	rm -rf build

format:
	clang-format -i $(shell git ls-files '*.c' '*.h')

.PHONY: all check nightly soak coverage bench bench-quick demo install docs clean format unit-build FORCE

-include $(OBJ:.o=.d) $(MAIN:.o=.d) $(CTL_OBJ:.o=.d) $(JAIL_OBJ:.o=.d) $(UNIT_SRC:%.c=$(O)/obj/%.d)
