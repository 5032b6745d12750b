# Tally: the One Million Request Challenge as a machine of its own. `make help` lists the commands.
#
# Sources are found by wildcard: a new file in its room needs no edit here. Everything made goes to
# build/. Commands with more than a line to them are scripts/.

VERSION := 0.1.0

CC := gcc
AR := gcc-ar
NM := gcc-nm
STRIP := strip

all: ## Build the appliance, build/tally.elf (the default)

# Every core, unless -j was given.
ifeq ($(filter -j% --jobserver%,$(MAKEFLAGS)),)
MAKEFLAGS += -j$(shell nproc)
endif
MAKEFLAGS += -rR --no-print-directory
.DELETE_ON_ERROR:
.SUFFIXES:

# V=1 shows the commands themselves.
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-5s %s\n' '$(1)' '$(2)')

#### Flags

warnings := -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Werror
# One machine, one static image: no position independence, no red zone (a trap would run over it),
# a canary in a variable (there is no %fs segment to hold it). Hosted, not -ffreestanding, which
# would take away gcc's built-in memcpy and its like. Baseline x86-64: one image for all processors.
guest_flags := -O2 -g -flto -std=gnu17 -m64 -mno-red-zone -fno-pic -no-pie -mcmodel=small \
	-fstack-protector-strong -mstack-protector-guard=global -fno-asynchronous-unwind-tables \
	-ffunction-sections -fdata-sections
# The tree's own place does not reach the image: two clones give the same bytes.
reproducible := -ffile-prefix-map=$(CURDIR)=. -frandom-seed=tally
# picolibc stays out of the link-time optimisation: gcc's plugin does not see references to built-ins
# (printf, abort, memcpy, __stack_chk_fail...) and leaves them undefined when their definitions are
# in its intermediate form. Nothing is lost: its mem* and str* are assembly.
picolibc_flags := $(filter-out -std=% -flto -fstack-protector%,$(guest_flags))
# picolibc's headers and gcc's own; none of the host's. (picolibc has ssize_t but no SSIZE_MAX, by
# which lwIP tells whether there is one.)
guest_includes = -nostdinc -isystem build/picolibc/include \
	-isystem $$($(CC) -print-file-name=include) -DSSIZE_MAX=__LONG_MAX__
lwip_includes := -Inet -isystem build/lwip/src/include
host_flags := -O1 -g -std=gnu17 -fno-omit-frame-pointer -fsanitize=address,undefined \
	-fno-sanitize-recover=all

#### Sources

sources := $(sort $(wildcard boot/*.[cS] kernel/*.[cS] net/*.c app/*.c))
linker_script := $(sort $(wildcard boot/*.ld))
# Of lwIP: TCP over IPv4 over Ethernet, DHCP, and nothing else.
lwip_sources := $(addprefix build/lwip/src/, \
	$(addprefix core/,def.c inet_chksum.c init.c ip.c mem.c memp.c netif.c pbuf.c stats.c tcp.c \
	tcp_in.c tcp_out.c timeouts.c udp.c) \
	$(addprefix core/ipv4/,acd.c dhcp.c etharp.c icmp.c ip4.c ip4_addr.c ip4_frag.c) \
	netif/ethernet.c)
tests_shared := tests/test.c $(sort $(wildcard tests/unit/test_*.c))
tests_guest := $(tests_shared) $(sort $(wildcard tests/guest/*.[cS]))
tests_host := $(tests_shared) $(sort $(wildcard tests/unit/host_*.c))

# objects(side, sources)
objects = $(patsubst %,build/$(1)/%.o,$(patsubst build/lwip/%,lwip/%,$(2)))

image_objects := $(call objects,guest,$(sources) $(lwip_sources))
test_objects := $(call objects,guest,$(filter-out app/main.c,$(sources)) $(tests_guest) \
	$(lwip_sources))
# On the host a test pulls from a library what it names, and may bring fakes of the rest. What only
# compiles against picolibc is not in it.
host_library := $(call objects,host, \
	$(filter-out app/main.c kernel/libc.c kernel/start.c boot/enter.c,$(filter %.c,$(sources))) \
	$(lwip_sources))
host_objects := $(call objects,host,$(tests_host))

#### What the build stands on: packages, third-party trees

build/packages-%: scripts/packages
	$(Q)mkdir -p $(@D) && scripts/packages $* && touch $@

build/lwip.fetched: scripts/fetch | build/packages-build
	$(Q)scripts/fetch lwip build/lwip && touch $@

build/src/picolibc.fetched: scripts/fetch | build/packages-build
	$(Q)mkdir -p $(@D) && scripts/fetch picolibc build/src/picolibc && touch $@

build/picolibc.built: build/src/picolibc.fetched scripts/picolibc
	$(call say,LIBC,picolibc (once: about 20 s))
	$(Q)CC='$(CC)' AR='$(AR)' NM='$(NM)' GUEST_CFLAGS='$(picolibc_flags)' \
		scripts/picolibc build/src/picolibc build/picolibc.work build/picolibc && touch $@

third_party := build/lwip.fetched build/picolibc.built
$(lwip_sources): | build/lwip.fetched ;

#### The image

# The version reaches the files that name it and no others: a commit does not rebuild the world.
revision := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
version := $(VERSION)+$(revision)
versioned := $(shell grep -lw TALLY_VERSION $(sources) /dev/null)
$(foreach side,guest host,$(call objects,$(side),$(versioned))): version_define := \
	-DTALLY_VERSION='"$(version)"'
$(foreach side,guest host,$(call objects,$(side),$(versioned))): build/version
build/version: always
	$(Q)mkdir -p $(@D); echo '$(version)' | cmp -s - $@ || echo '$(version)' >$@

build/guest/lwip/%.o: build/lwip/% $(third_party)
	$(call say,CC,lwip/$*)
	$(Q)mkdir -p $(@D) && $(CC) $(guest_flags) $(reproducible) -w $(guest_includes) -I. \
		$(lwip_includes) -MMD -MP -c $< -o $@

build/guest/%.c.o: %.c $(third_party) Makefile
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(guest_flags) $(reproducible) $(warnings) $(guest_includes) -I. \
		$(lwip_includes) $(version_define) -MMD -MP -c $< -o $@

build/guest/%.S.o: %.S Makefile | build/packages-build
	$(call say,AS,$<)
	$(Q)mkdir -p $(@D) && $(CC) -m64 -g -ffile-prefix-map=$(CURDIR)=. -I. -MMD -MP -c $< -o $@

link = $(Q)$(CC) $(guest_flags) $(reproducible) -flto=auto -nostdlib -static -Wl,--gc-sections \
	-Wl,--build-id=none -Wl,-z,noexecstack -Wl,-z,max-page-size=4096 -Wl,--no-warn-rwx-segments \
	$(addprefix -T ,$(linker_script)) -o $@ $(1) build/picolibc/lib/libc.a -lgcc

build/tally.elf: $(image_objects) $(linker_script)
	$(call say,LINK,$@)
	$(call link,$(image_objects))

build/tally-test.elf: $(test_objects) $(linker_script)
	$(call say,LINK,$@)
	$(call link,$(test_objects))

# What a boot needs, without symbols: the size that counts.
build/tally.stripped: build/tally.elf
	$(Q)$(STRIP) -o $@ $<

#### The host's side: unit tests

build/host/lwip/%.o: build/lwip/% build/lwip.fetched
	$(call say,HOST,lwip/$*)
	$(Q)mkdir -p $(@D) && $(CC) $(host_flags) -w -I. $(lwip_includes) -MMD -MP -c $< -o $@

build/host/%.c.o: %.c build/lwip.fetched Makefile
	$(call say,HOST,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(host_flags) $(warnings) -I. $(lwip_includes) $(version_define) \
		-MMD -MP -c $< -o $@

build/unit/library.a: $(host_library)
	$(Q)mkdir -p $(@D) && rm -f $@ && ar rcsD $@ $^

build/unit/run: $(host_objects) build/unit/library.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(host_flags) -o $@ $^ -lm

#### Commands

all: build/tally.elf build/tally.stripped
	@printf 'build/tally.elf: %s bytes stripped (build/tally.stripped)\n' \
		"$$(stat -c %s build/tally.stripped)"

help: ## List these commands and the variables they take
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

clean: ## Remove what was compiled; keep the fetched sources and picolibc
	rm -rf build/guest build/host build/unit build/*.elf build/tally.stripped

distclean: ## Remove build/; the cache of fetched tarballs outside of the tree stays
	rm -rf build

always:
.PHONY: all help clean distclean always

-include $(wildcard build/guest/*/*.d build/host/*/*.d build/guest/*/*/*.d build/host/*/*/*.d)
