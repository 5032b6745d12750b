# Tally: the One Million Request Challenge as a machine of its own. `make help` lists the commands.
#
# Sources are found by wildcard: a new file in its room needs no edit here. Everything made goes to
# build/. Commands with more than a line to them are scripts/.

VERSION := 0.1.0

CC := gcc
AR := gcc-ar
NM := gcc-nm
STRIP := strip

all: ## Build the appliance: build/tally.elf (the default)

# Every core, unless -j was given.
ifeq ($(filter -j% --jobserver%,$(MAKEFLAGS)),)
MAKEFLAGS += -j$(shell nproc)
endif
MAKEFLAGS += -rR --no-print-directory
.DELETE_ON_ERROR:
.SUFFIXES:

# V=1 shows the commands themselves; -s shows nothing.
Q := $(if $(V),,@)
silent = $(findstring s,$(filter-out -%,$(firstword $(MAKEFLAGS))))
say = $(if $(V)$(silent),,@printf '  %-5s %s\n' '$(1)' '$(2)')

# What the commands take, from the command line. What is not set below is taken from the
# environment, too: make hands both on to the scripts. Empty: the default.
#: ARGS               run, debug: options of the appliance (a wrong one is answered with the list)
#: MACHINE            run, debug: microvm (default), q35 or pc
#: MEM                run, debug: memory of the machine (default 128M)
#: ACCEL              run: auto (default: KVM where it works), kvm or tcg; debug, e2e: tcg or kvm;
#:                    guest: both where they work
#: DISK               run: file or block device that keeps what was counted (default: nothing does);
#:                    a file is made if it is not there; disk-check, disk-export: what is looked at
#: DISK_SIZE          run: how large it is made (default 1G; it takes the room that is used)
#: PORT               run: port of this host that leads to the appliance (default 8080), or none
#: BIND               run: address of this host that PORT is on (default 127.0.0.1)
#: NETNS              run, load: name of the network namespace (default tally)
#: VHOST              run: auto (default: vhost-net moves the tap's frames where it works), on, off
#: IMAGE              run, debug: what is booted (default build/tally.elf)
#: QEMU_EXTRA         run, debug: more arguments for QEMU (PCI devices need MACHINE=q35)
#: LOAD_ARGS          load: options of the client, as --connections 64 --depth 16 (or --help)
#: GDB_ARGS           debug: more arguments for gdb, with quotes as in a shell
#: FILTER             unit, e2e: only the tests with this in their name
#: TIME               sim, sim-store, fuzz: seconds (default 60), of each fuzzer
#: SEED               sim, sim-store: this seed alone, as 0x1234
#: STEPS              sim: how many steps things go wrong for, whatever the seed says
#: MINUTES            soak: how long (default 10; a round, half a minute, is the least)
#: FUZZ               fuzz: names of the fuzzers to run (default all)
#: BENCH_ARGS         bench: options (--help lists them)
#: PLOT_ARGS          plot: options, and the bench's JSON (--help lists them)
#: LWIP_TARBALL       build: this file instead of one from the mirror
#: PICOLIBC_TARBALL   build: likewise
#: XDG_CACHE_HOME     build: where fetched tarballs are kept, in tally/ (default ~/.cache)
#: V                  build: V=1 shows the commands themselves
TIME := 60
MINUTES := 10
FUZZ :=
FILTER :=
SEED :=
STEPS :=
BENCH_ARGS :=
PLOT_ARGS :=

# A misspelt variable would be ignored. Those of `others` are taken, too.
variables := $(shell sed -nE 's/^\#: ([A-Z_]+) .*/\1/p' $(firstword $(MAKEFILE_LIST)))
others := CC AR NM STRIP Q VERSION REVISION SHELL MAKEFLAGS
given := $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
guess = $(shell python3 -c 'import difflib, sys; \
	found = difflib.get_close_matches(sys.argv[1].upper(), sys.argv[2:], 1, 0.65); \
	print(*(f"did you mean {name}=?" for name in found))' '$(1)' $(variables) 2>/dev/null)
$(foreach name,$(filter-out $(variables) $(others),$(given)),$(error \
	$(strip $(name)=: no such variable; $(call guess,$(name)) `make help` lists them)))

#### Flags

warnings := -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Werror
# One machine, one static image: no position independence, no red zone (a trap would run over it),
# a canary in a variable (there is no %fs segment to hold it). Hosted, not -ffreestanding, which
# would take away gcc's built-in memcpy and its like. Baseline x86-64: one image for all. Loops are
# not made vectors: none of them is long and hot, and unrolled for SSE they are 600 instructions
# more to be translated at boot by an emulator (the IDT's alone 560), and 1 % more a request.
# Structures are copied and cleared by words of 8 bytes, not of SSE: see lib/bytes.h.
guest_flags := -O2 -g -flto -std=gnu17 -m64 -mno-red-zone -fno-pic -no-pie -mcmodel=small \
	-fstack-protector-strong -mstack-protector-guard=global -fno-asynchronous-unwind-tables \
	-ffunction-sections -fdata-sections -fno-tree-vectorize \
	-mtune-ctrl=^sse_unaligned_load_optimal,^sse_unaligned_store_optimal
# The tree's own place does not reach the image: two clones give the same bytes.
reproducible = '-ffile-prefix-map=$(CURDIR)=.' -frandom-seed=$<
# Ring 0 has general registers alone (nobody saves others there), calls nothing outside of its
# folder, and stays where boot/image.ld puts it: out of the link-time optimisation.
ring0_flags := -fno-lto -mgeneral-regs-only -ffreestanding -fno-stack-protector -fno-jump-tables \
	-fno-tree-loop-distribute-patterns
# picolibc stays out of the link-time optimisation: gcc's plugin does not see references to
# built-ins (printf, abort, memcpy, __stack_chk_fail...), and leaves them undefined when their
# definitions are in its intermediate form. Nothing is lost: its mem* and str* are assembly. For the
# same reason what the library itself refers to (stdout, _exit...) carries __attribute__((used))
# where we define it.
picolibc_flags := $(filter-out -std=% -flto -fstack-protector%,$(guest_flags))
# picolibc's headers and gcc's own; none of the host's. (picolibc has ssize_t but no SSIZE_MAX, by
# which lwIP tells whether there is one.)
guest_includes = -nostdinc -isystem build/picolibc/include \
	-isystem $$($(CC) -print-file-name=include) -DSSIZE_MAX=__LONG_MAX__
lwip_includes := -Inet -isystem build/lwip/src/include
tool_flags := -O2 -g -std=gnu17
host_flags := -O1 -g -std=gnu17 -fno-omit-frame-pointer -fsanitize=address,undefined \
	-fno-sanitize-recover=all
# Branches are those of the source, not of each place where a function is inlined.
coverage_flags := -O0 -g -std=gnu17 --coverage -D_exit=exit -Dalways_inline=unused
# Traps, not messages: those would be data, among the variables that are put back for each input.
fuzz_flags := -O1 -g -std=gnu17 -fno-omit-frame-pointer \
	-fsanitize=fuzzer-no-link,address,undefined -fsanitize-trap=undefined -D__SANITIZE_ADDRESS__

#### Sources

sources := $(sort $(wildcard boot/*.[cS] kernel/*/*.[cS] net/*.c net/*/*.c app/*.c app/*/*.c))
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

comma := ,
# objects(side, sources)
objects = $(patsubst %,build/$(1)/%.o,$(patsubst build/lwip/%,lwip/%,$(2)))

image_objects := $(call objects,guest,$(sources) $(lwip_sources))
test_objects := $(call objects,guest,$(filter-out app/main%.c,$(sources)) $(tests_guest) \
	$(lwip_sources))
# On the host a test pulls from a library what it names, and may bring fakes of the rest. What only
# compiles against picolibc is not in it.
host_library := $(call objects,host, \
	$(filter-out app/main%.c kernel/plat/libc.c kernel/plat/start.c boot/enter.c, \
	$(filter %.c,$(sources))) \
	$(lwip_sources))
host_objects := $(call objects,host,$(tests_host))
net_objects := $(call objects,host,$(sort $(wildcard tests/net/*.c)) tests/fake_netdev.c \
	tests/test.c)
sim_objects := $(call objects,host,$(sort $(wildcard tests/sim/*.c)) tests/fake_netdev.c)
store_objects := $(call objects,host,$(sort $(wildcard tests/store/*.c)) tests/test.c)
as_coverage = $(patsubst build/host/%,build/coverage/%,$(1))
coverage_programs := $(addprefix build/coverage/unit/,run net sim store)
fuzz_names := $(patsubst tests/fuzz/fuzz_%.c,%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
fuzzers := $(addprefix build/fuzz/fuzz_,$(fuzz_names))
fuzz_library := $(patsubst build/host/%,build/clang/%,$(host_library))
fuzz_appliance := $(patsubst build/host/%,build/clang/%, \
	$(filter-out build/host/app/store/% build/host/app/gate.c.o, \
	$(filter build/host/net/% build/host/app/% build/host/kernel/lib/% build/host/lwip/%, \
	$(host_library))))
fuzz_objects := $(call objects,clang,$(sort $(wildcard tests/fuzz/*.c)) tests/fake_netdev.c \
	tests/sim/frame.c tests/sim/inside.c)

#### What the build stands on: packages, third-party trees

.PRECIOUS: build/packages-%
build/packages-%: scripts/packages
	$(Q)mkdir -p $(@D) && scripts/packages $* && touch $@

# All that the goals need is named, or installed, at once.
tasks := build $(filter debug bench fuzz coverage e2e,$(MAKECMDGOALS))
ifneq ($(filter run load debug guest e2e soak bench test,$(MAKECMDGOALS)),)
tasks += run
endif
ifneq ($(filter test,$(MAKECMDGOALS)),)
tasks += debug fuzz coverage e2e
endif
tasks := $(sort $(tasks))
stamps := $(addprefix build/packages-,$(tasks))
$(stamps) &: scripts/packages
	$(Q)mkdir -p $(@D) && scripts/packages $(tasks) && touch $(stamps)

build/lwip.fetched: scripts/fetch | build/packages-build
	$(Q)scripts/fetch lwip build/lwip && touch $@

build/src/picolibc.fetched: scripts/fetch | build/packages-build
	$(Q)mkdir -p $(@D) && scripts/fetch picolibc build/src/picolibc && touch $@

build/picolibc.built: build/src/picolibc.fetched scripts/picolibc build/picolibc.flags
	$(call say,LIBC,picolibc (once: about 20 s))
	$(Q)CC='$(CC)' AR='$(AR)' NM='$(NM)' GUEST_CFLAGS='$(picolibc_flags)' \
		scripts/picolibc build/src/picolibc build/picolibc.work build/picolibc && touch $@

# Files that change only when what they say does: versions, flags.
remember = @mkdir -p $(@D); echo '$(1)' | cmp -s - $@ || echo '$(1)' >$@
build/picolibc.flags: always
	$(call remember,$(CC) $(picolibc_flags))

third_party := build/lwip.fetched build/picolibc.built
$(lwip_sources): | build/lwip.fetched ;

#### The image

# The version reaches the files that name it and no others: a commit does not rebuild the world.
REVISION := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
version := $(VERSION)+$(REVISION)
# Told at once, and not by each shell that tries.
ifneq ($(filter-out help load,$(or $(MAKECMDGOALS),all)),)
ifneq ($(shell test -w build || { test ! -e build && test -w .; } || \
	grep -sqxF '$(version)' build/version || echo no),)
$(error this user may not write to build/, which is not up to date: build in a clone of your own)
endif
endif
versioned := $(shell grep -lw TALLY_VERSION $(sources) /dev/null)
versioned_objects := $(foreach side,guest host coverage clang tools native, \
	$(call objects,$(side),$(versioned)))
$(versioned_objects): version_define := -DTALLY_VERSION='"$(version)"'
$(versioned_objects): build/version
build/version: always
	$(call remember,$(version))

build/guest/lwip/%.o: build/lwip/% $(third_party) Makefile
	$(call say,CC,lwip/$*)
	$(Q)mkdir -p $(@D) && $(CC) $(guest_flags) $(reproducible) -w $(guest_includes) -I. \
		$(lwip_includes) -MD -MP -c $< -o $@

build/guest/%.c.o: %.c $(third_party) Makefile
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(guest_flags) $(reproducible) $(warnings) $(guest_includes) -I. \
		$(lwip_includes) $(version_define) -MD -MP -c $< -o $@

build/guest/kernel/ring0/%.c.o: guest_flags += $(ring0_flags)

build/guest/%.S.o: %.S Makefile | build/packages-build
	$(call say,AS,$<)
	$(Q)mkdir -p $(@D) && $(CC) -m64 -g '-ffile-prefix-map=$(CURDIR)=.' -I. -MD -MP -c $< -o $@

# Renamed into place when it is whole, for whoever boots it meanwhile.
link = $(Q)$(CC) $(guest_flags) $(reproducible) -flto=auto -nostdlib -static -Wl,--gc-sections \
	-Wl,--build-id=none -Wl,-z,noexecstack -Wl,-z,max-page-size=4096 \
	$(addprefix -T ,$(linker_script)) -o $@.new $(1) build/picolibc/lib/libc.a -lgcc && \
	mv $@.new $@

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

build/host/lwip/%.o: build/lwip/% build/lwip.fetched Makefile
	$(call say,HOST,lwip/$*)
	$(Q)mkdir -p $(@D) && $(CC) $(host_flags) -w -I. $(lwip_includes) -MD -MP -c $< -o $@

build/host/%.c.o: %.c build/lwip.fetched Makefile
	$(call say,HOST,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(host_flags) $(warnings) -I. $(lwip_includes) $(version_define) \
		-MD -MP -c $< -o $@

build/unit/library.a: $(host_library)
	$(Q)mkdir -p $(@D) && rm -f $@ && ar rcsD $@ $^

# Programs of their own, for each has another world under net/ or app/store/: the unit tests, the
# tests of net/ over a device made by hand, the simulator, the tests of the store over a simulated
# disk.
build/unit/run: $(host_objects)
build/unit/net: $(net_objects)
build/unit/sim: $(sim_objects)
build/unit/store: $(store_objects)
host_programs := $(addprefix build/unit/,run net sim store)
# Tests may stand between some functions and their callers: those that they define as __wrap_NAME.
wraps_in = $(addprefix -Wl$(comma)--wrap=,$(sort $(patsubst __wrap_%,%, \
	$(shell grep -oh '__wrap_[a-z0-9_]*' $(1)))))
build/unit/net build/coverage/unit/net: wraps = $(call wraps_in,tests/net/*.c)
build/unit/sim build/coverage/unit/sim: wraps = $(call wraps_in,tests/sim/*.c)
$(host_programs): build/unit/library.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(host_flags) $(wraps) -o $@ $(filter %.o,$^) $(filter %.a,$^) -lm

# The same programs with gcov's counters, and without sanitizers, whose checks would be branches.
# What a test forks off ends by _exit(), which would not write its counters down.
build/coverage/lwip/%.o: build/lwip/% build/lwip.fetched Makefile
	$(call say,COV,lwip/$*)
	$(Q)mkdir -p $(@D) && $(CC) $(tool_flags) -w -I. $(lwip_includes) -MD -MP -c $< -o $@

build/coverage/%.c.o: %.c build/lwip.fetched Makefile
	$(call say,COV,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(coverage_flags) $(warnings) -I. $(lwip_includes) \
		$(version_define) -MD -MP -c $< -o $@

build/coverage/unit/library.a: $(call as_coverage,$(host_library))
	$(Q)mkdir -p $(@D) && rm -f $@ && ar rcsD $@ $^

build/coverage/unit/run: $(call as_coverage,$(host_objects))
build/coverage/unit/net: $(call as_coverage,$(net_objects))
build/coverage/unit/sim: $(call as_coverage,$(sim_objects))
build/coverage/unit/store: $(call as_coverage,$(store_objects))
$(coverage_programs): build/coverage/unit/library.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(coverage_flags) $(wraps) -o $@ $(filter %.o,$^) $(filter %.a,$^) -lm

#### The fuzzers: the same sources, by clang for libFuzzer

build/clang/lwip/%.o: build/lwip/% build/lwip.fetched Makefile | build/packages-fuzz
	$(call say,CLANG,lwip/$*)
	$(Q)mkdir -p $(@D) && clang $(fuzz_flags) -w -I. $(lwip_includes) -MD -MP -c $< -o $@

build/clang/%.c.o: %.c build/lwip.fetched Makefile | build/packages-fuzz
	$(call say,CLANG,$<)
	$(Q)mkdir -p $(@D) && clang $(fuzz_flags) $(filter-out -Wconversion,$(warnings)) -I. \
		$(lwip_includes) $(version_define) -MD -MP -c $< -o $@

build/clang/library.a: $(fuzz_library)
	$(Q)rm -f $@ && ar rcsD $@ $^

# One object, whose variables lie in sections of their own: see tests/fuzz/appliance.h.
build/clang/appliance.o: tests/fuzz/appliance.ld $(fuzz_appliance)
	$(Q)ld -r --force-group-allocation -o $@ -T $^

build/fuzz/fuzz_event: libraries := -ljansson
build/fuzz/fuzz_frames: build/clang/appliance.o $(filter-out build/clang/tests/fuzz/fuzz_%, \
	$(fuzz_objects))
$(fuzzers): build/fuzz/fuzz_%: build/clang/tests/fuzz/fuzz_%.c.o \
	build/clang/library.a
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && clang $(fuzz_flags) -fsanitize=fuzzer -o $@ $(filter %.o,$^) \
		$(filter %.a,$^) $(libraries) -lm

#### The host's tools: the load client, what the appliance is measured against and with

build/tools/%.c.o: %.c Makefile | build/packages-build
	$(call say,TOOL,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(tool_flags) $(warnings) -I. $(version_define) -MD -MP -c $< -o $@

# The path natively: net/, app/ and lwIP as the image has them, but for the machine.
build/native/lwip/%.o: build/lwip/% build/lwip.fetched Makefile
	$(call say,TOOL,lwip/$*)
	$(Q)mkdir -p $(@D) && $(CC) $(tool_flags) -flto -w -I. $(lwip_includes) -MD -MP -c $< -o $@

build/native/%.c.o: %.c build/lwip.fetched Makefile
	$(call say,TOOL,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(tool_flags) -flto $(warnings) -I. $(lwip_includes) \
		$(version_define) -MD -MP -c $< -o $@

load_objects := $(call objects,tools,$(sort $(wildcard tests/load/*.c)))
abuse_objects := $(call objects,tools,$(sort $(wildcard tests/abuse/*.c)))
null_objects := $(call objects,tools,$(sort $(wildcard tests/load/null/*.c)))
baseline_objects := $(call objects,tools,$(sort $(wildcard tests/baseline/*.c)) \
	$(filter-out app/main%.c app/gate.c app/store/%,$(filter app/% kernel/lib/%,$(sources))))
disk_objects := $(call objects,tools,$(sort $(wildcard tests/disk/*.c)) \
	$(filter app/store/% app/aggregate/% app/text/% app/event/% kernel/lib/%,$(sources)))
init_objects := $(call objects,tools,$(sort $(wildcard tests/baseline/init/*.c)))
vhost_objects := $(call objects,tools,$(sort $(wildcard tests/vhost/*.c)))
native_objects := $(call objects,native,$(sort $(wildcard tests/bench/*.c)) \
	tests/load/workload.c kernel/plat/chacha.c kernel/plat/entropy.c \
	$(filter-out app/main%.c app/gate.c app/store/%, \
	$(filter net/% app/% kernel/lib/%,$(sources))) \
	$(lwip_sources))
tool_objects := $(load_objects) $(abuse_objects) $(null_objects) $(baseline_objects) \
	$(disk_objects) $(init_objects) $(vhost_objects) $(native_objects)

build/tally-load: $(load_objects)
build/tally-abuse: $(abuse_objects)
build/null-server: $(null_objects)
build/tally-disk: $(disk_objects)
build/epoll-server: $(baseline_objects)
build/tools/load.a: $(load_objects)
	$(Q)rm -f $@ && ar rcsD $@ $^

build/tally-vhost: $(vhost_objects) build/tools/load.a
build/bench/epoll-server-static: $(baseline_objects)
build/bench/linux-init: $(init_objects)
build/bench/native: $(native_objects)
build/bench/%: static := -static
build/bench/native: static := -flto=auto
test_tools := build/tally-load build/tally-abuse build/tally-vhost build/null-server \
	build/tally-disk
bench_tools := build/tally-load build/tally-abuse build/tally-vhost build/epoll-server \
	build/bench/native build/bench/epoll-server-static build/bench/linux-init
tools := $(sort $(test_tools) $(bench_tools))
$(tools):
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(tool_flags) $(static) -o $@ $^ -lm

#### Commands

all: build/tally.elf build/tally.stripped
	@printf 'build/tally.elf: %s bytes without symbols\n' "$$(stat -c %s build/tally.stripped)"

run: build/tally.elf build/packages-run ## Boot the appliance, its console here; Ctrl-C stops it
	@exec scripts/run

load: build/tally-load build/packages-run ## Run the challenge, 1,000,000 events, against `make run`
	@exec scripts/load

disk-check: build/tally-disk ## Say whether DISK=FILE is sound, and what it holds; it is only read
	@build/tally-disk check "$$DISK"

disk-export: build/tally-disk ## Print every userId on DISK=FILE, one a line, as JSON strings
	@build/tally-disk export "$$DISK"

debug: build/tally.elf build/packages-run build/packages-debug ## Boot it stopped, with gdb attached
	@exec scripts/debug

test: $(fuzzers) $(coverage_programs) $(bench_tools) build/packages-coverage build/packages-debug
test: build/packages-e2e
test: all build/tally-test.elf $(host_programs) $(test_tools) build/packages-run ## Run all tests
	@exec scripts/test

unit: build/unit/run build/unit/net build/unit/store
unit: ## Run the host's tests, under ASan and UBSan (FILTER=NAME)
	@build/unit/run $(if $(FILTER),"$$FILTER")
	@build/unit/net $(if $(FILTER),"$$FILTER")
	@build/unit/store $(if $(FILTER),"$$FILTER")

sim: build/unit/sim ## Run the simulator for TIME=60 seconds, or one SEED=0x... again
	@build/unit/sim $(if $(STEPS),--steps $(STEPS)) $(if $(SEED),--seed $(SEED),--time $(TIME))

sim-store: build/unit/store ## As sim: the store on a simulated disk, power cut after power cut
	@$(if $(SEED),STORE_SEED=$(SEED),STORE_SECONDS=$(TIME)) build/unit/store crashes_lose

mutants: build/unit/store ## Break the store on purpose, and see that its tests notice
	@exec scripts/mutants

coverage: $(coverage_programs) build/packages-coverage ## See what the host's tests reach, by gcov
	@exec scripts/coverage

guest: all build/tally-test.elf build/packages-run ## Run the guest's own tests, in QEMU and KVM
	@exec scripts/guest

e2e: all $(test_tools) build/packages-run build/packages-e2e
e2e: ## Run the end-to-end tests, over a tap (FILTER=NAME ACCEL=kvm)
	@exec python3 tests/e2e/run.py $(if $(FILTER),--filter "$$FILTER") \
		$(if $(ACCEL),--accel "$$ACCEL")

soak: all $(test_tools) build/packages-run ## Load and abuse for MINUTES=10, then an exact check
	@exec python3 tests/e2e/soak.py $(MINUTES)

ifeq ($(filter -h --help,$(BENCH_ARGS)),)
bench: all $(bench_tools) build/packages-run build/packages-bench
endif
bench: ## Measure (BENCH_ARGS=--help)
	@exec scripts/bench $(BENCH_ARGS)

plot: ## Draw a bench's JSON as an SVG (PLOT_ARGS="--output FILE JSON")
	@exec scripts/plot $(PLOT_ARGS)

check: all ## Hold the rules of the tree: includes, layout, lengths, what ring 0 executes
	@scripts/check-ring0
	@exec scripts/check

reproducible: all ## Build in another place, and see that the bytes are the same
	@exec scripts/reproducible

fuzz: $(addprefix build/fuzz/fuzz_,$(or $(FUZZ),$(fuzz_names))) ## Fuzz, TIME=60 s each (FUZZ=names)
	@exec scripts/fuzz $(TIME) $(FUZZ)

clean: ## Remove what was compiled; keep third-party sources and picolibc
	rm -rf build/guest build/host build/native build/unit build/tools build/clang build/fuzz \
		build/bench build/coverage $(tools) build/*.elf build/tally.stripped

distclean: ## Remove build/; the cache of fetched tarballs, outside of the tree, stays
	rm -rf build

help: ## List all this
	@echo 'Commands:'
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | \
		expand -t 21
	@echo 'Variables, as in `make run PORT=9000 ARGS="max-users=1000000 log=debug"`:'
	@sed -nE 's/^#: ([^ ]*) +(.*)/  \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 21

always:
.PHONY: all run load disk-check disk-export debug test unit sim sim-store mutants coverage guest \
	e2e soak bench plot check reproducible fuzz clean distclean help always

host_side := $(host_library) $(host_objects) $(net_objects) $(sim_objects) $(store_objects)
-include $(patsubst %.o,%.d,$(sort $(image_objects) $(test_objects) $(host_side) \
	$(call as_coverage,$(host_side)) $(tool_objects) $(fuzz_library) $(fuzz_objects)))
