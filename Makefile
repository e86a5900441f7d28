# overbook: build, test, install. `make help` lists the targets.
#
# Out of tree in build/, incremental, parallel-safe, quiet unless V=1. A source file is found by being in its
# folder; headers are tracked by the compiler.

ifeq ($(origin CC),default)
CC	:= gcc
endif
B	:= build
Q	:= $(if $(V),,@)
say	= $(if $(V),,@printf '  %-7s %s\n' '$(1)' '$(2)';)
PREFIX	?= /usr/local

# Before `make deps` there may be no pkg-config; then only targets that compile nothing work.
LIBS	:= glib-2.0 gmodule-2.0 json-glib-1.0 libxxhash libzstd liblz4 liburing
LIBS_CFLAGS := $(shell pkg-config --cflags $(LIBS) 2>/dev/null)
LIBS_LIBS := $(shell pkg-config --libs $(LIBS) 2>/dev/null)
CHECK_LIBS := $(shell pkg-config --libs check 2>/dev/null)

OPT	?= -O2
CFLAGS	?= -g
WARN	:= -Wall -Wextra -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla $(if $(CI),-Werror)
# x86-64-v2 (every 64-bit server since 2009): SSE4.1 for the TLB's tag compare.
ARCH	?= -march=x86-64-v2
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE $(OPT) $(ARCH) $(CFLAGS) $(WARN) $(SAN) -I. -fno-strict-aliasing -MMD -MP $(LIBS_CFLAGS)
ALL_LIBS = $(LIBS_LIBS) -lnuma -lZydis -lm -pthread

ROOMS	:= mm shadow ept balloon dedup vmm vmm/policy vmm/sim vmm/kvm workloads workloads/guest
SRC	:= $(wildcard $(addsuffix /*.c,$(ROOMS)))
OBJ	:= $(SRC:%.c=$(B)/obj/%.o) $(B)/obj/commit.o $(B)/obj/vmm/kvm/image.o $(B)/obj/vmm/kvm/shadow_stub.o
LIBOBJ	:= $(filter-out $(B)/obj/vmm/main.o,$(OBJ))

TESTSRC	:= $(wildcard tests/*/test_*.c)
TESTLIB	:= $(patsubst %.c,$(B)/obj/%.o,$(wildcard tests/lib/*.c))
TESTS	:= $(patsubst tests/%.c,$(B)/tests/%,$(TESTSRC))
CHECKS	:= $(wildcard tests/*/check_*.sh)
BENCHES	:= $(patsubst tests/%.c,$(B)/%,$(wildcard tests/bench/bench_*.c))

all: $(B)/overbook

help:
	@echo 'make             build build/overbook (V=1: show commands; CC=clang)'
	@echo 'make deps        install what is missing (Debian, Ubuntu; elsewhere: says what)'
	@echo 'make demo        deps, build, run an experiment on a real trace, draw it'
	@echo 'make check       every test; make asan: the same under sanitizers; make tsan: threads of real guests'
	@echo 'make check-nested  the kvm suites under QEMU'"'"'s emulation of SVM, with npt=1 and npt=0: needs no /dev/kvm'
	@echo 'make check-twin  simulator and KVM count the same: the table'
	@echo 'make soak        ten million fuzzed virtio accesses, ten million events of accounting, 50 kills, under sanitizers;'
	@echo '                 make soak-kvm: two real guests check their memory for ten minutes, if there is KVM'
	@echo 'make golden      rewrite the golden results (then review the diff)'
	@echo 'make bench       speed and memory, into results/bench/'
	@echo 'make tidy        clang-tidy'
	@echo 'make install     PREFIX=/usr/local DESTDIR=; make uninstall'
	@echo 'make clean'

deps:
	$(Q).ci/deps

$(B)/overbook: $(OBJ)
	$(call say,LD,$@)$(CC) $(SAN) -rdynamic -o $@ $^ $(ALL_LIBS)

$(B)/liboverbook.a: $(LIBOBJ)
	$(call say,AR,$@)rm -f $@ && ar rcs $@ $^

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) -c -o $@ $<

# The commit a binary was built from goes into every manifest; rewritten only when it changes.
COMMIT	:= $(shell git describe --always --dirty=+ 2>/dev/null || echo unknown)
$(B)/commit.c: FORCE
	@mkdir -p $(@D)
	@echo '#include "vmm/version.h"' >$@.new
	@echo 'const char overbook_commit[] = "$(COMMIT)";' >>$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@
$(B)/obj/commit.o: $(B)/commit.c
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) -c -o $@ $<

# An archive too: a test that brings a world of its own (fake_hal.c) gets that one, the others the simulator's.
$(B)/libtest.a: $(TESTLIB)
	$(call say,AR,$@)rm -f $@ && ar rcs $@ $^

$(B)/tests/%: $(B)/obj/tests/%.o $(B)/libtest.a $(B)/liboverbook.a
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(SAN) -rdynamic -o $@ $< $(B)/libtest.a $(B)/liboverbook.a $(CHECK_LIBS) $(ALL_LIBS)

$(B)/bench/%: $(B)/obj/tests/bench/%.o $(B)/libtest.a $(B)/liboverbook.a
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(SAN) -rdynamic -o $@ $^ $(CHECK_LIBS) $(ALL_LIBS)

# The guest image: the guest kernel and the generators once more, freestanding, linked at the addresses of
# workloads/guest/kvm/layout.h, and embedded as bytes by vmm/kvm/image.S. Kernel and processes share no page, so
# each has its own copy of the generators, hidden inside user.o and kernel.o.
G	:= $(B)/guest
GUEST_CFLAGS := -std=c11 -O2 $(ARCH) $(WARN) -mgeneral-regs-only -mno-red-zone -ffreestanding -fPIE \
		-fno-stack-protector -fno-strict-aliasing -fno-asynchronous-unwind-tables -fcf-protection=none -I. \
		-include workloads/guest/kvm/hidden.h -MMD -MP
GUEST_SHARED := $(wildcard workloads/*.c) workloads/guest/kvm/string.c
GUEST_KERNEL := $(wildcard workloads/guest/*.c) balloon/driver.c balloon/driver_free.c $(addprefix workloads/guest/kvm/,entry.c hal_kvm.c) $(GUEST_SHARED)
GUEST_USER := workloads/guest/kvm/user.c $(GUEST_SHARED)
GUEST_OBJ := $(patsubst %.c,$(G)/obj/%.o,$(sort $(GUEST_KERNEL) $(GUEST_USER)))

$(G)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,GUEST,$<)$(CC) $(GUEST_CFLAGS) -c -o $@ $<

$(G)/stub.o: workloads/guest/kvm/stub.S workloads/guest/kvm/layout.h
	@mkdir -p $(@D)
	$(call say,GUEST,$<)$(CC) -I. -c -o $@ $<

$(G)/guest.lds: workloads/guest/kvm/guest.lds.S workloads/guest/kvm/layout.h
	@mkdir -p $(@D)
	$(call say,GUEST,$<)$(CC) -I. -D__ASSEMBLER__ -E -P -x c -o $@ $<

$(G)/kernel.o: $(GUEST_KERNEL:%.c=$(G)/obj/%.o)
	$(call say,LD,$@)ld -r -o $@ $^ && \
		objcopy --keep-global-symbol=kernel_start --keep-global-symbol=kernel_event_entry $@

$(G)/user.o: $(GUEST_USER:%.c=$(G)/obj/%.o)
	$(call say,LD,$@)ld -r -o $@ $^ && objcopy --keep-global-symbol=user_start $@

# For whoever executes it beside a guest.
$(G)/user_loop.o: $(GUEST_USER:%.c=$(G)/obj/%.o)
	$(call say,LD,$@)ld -r -o $@ $^ && objcopy --keep-global-symbol=user_loop $@

$(B)/bench/bench_warm: $(G)/user_loop.o

$(G)/kernel.elf: $(G)/guest.lds $(G)/stub.o $(G)/user.o $(G)/kernel.o
	$(call say,LD,$@)ld -nostdlib -static --build-id=none -z noexecstack -o $@ -T $^

$(G)/kernel.bin: $(G)/kernel.elf
	$(call say,OBJCOPY,$@)objcopy -O binary $< $@

$(B)/obj/vmm/kvm/image.o: vmm/kvm/image.S $(G)/kernel.bin
	@mkdir -p $(@D)
	$(call say,AS,$<)$(CC) -DGUEST_IMAGE='"$(G)/kernel.bin"' -c -o $@ $<

$(B)/obj/vmm/kvm/shadow_stub.o: vmm/kvm/shadow_stub.S vmm/kvm/shadow.h
	@mkdir -p $(@D)
	$(call say,AS,$<)$(CC) -I. -c -o $@ $<

tests: $(TESTS)

check: $(B)/overbook $(TESTS)
	$(Q)B=$(B) CC='$(CC)' tests/run.sh $(TESTS) $(CHECKS)

check-twin: $(B)/tests/twin/test_twin
	$(Q)TWIN_TABLE=1 $<

# The suites that want /dev/kvm, or test what only vmm/kvm uses, found by how they ask for it.
KVM_TESTS := $(patsubst tests/%.c,$(B)/tests/%,$(shell grep -lE \
		'kvm_or_skip|/dev/kvm|kvm_probe\.h|vmm/kvm/|linux/(kvm|userfaultfd)\.h' $(TESTSRC)))
check-nested: $(B)/overbook $(KVM_TESTS)
	$(Q)B=$(B) tests/nested/run.sh $(KVM_TESTS) $(wildcard tests/cli/check_kvm*.sh)

# Every test program, and of the scripts those that run overbook. Sanitizers and busy machines are slow: generous timeouts.
asan:
	$(Q)$(MAKE) --no-print-directory $(if $(findstring j,$(MAKEFLAGS)),,-j$(shell nproc)) B=build/asan OPT=-O1 \
		SAN='-fsanitize=address,undefined -fno-sanitize-recover=all' asan-tests
asan-tests: $(B)/overbook $(TESTS)
	$(Q)ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1 CK_TIMEOUT_MULTIPLIER=10 B=$(B) \
		tests/run.sh $(TESTS) $(filter-out %/check_install.sh,$(wildcard tests/cli/check_*.sh))

# The free schedule on real guests, a thread each, where every access of memory is watched.
TSAN_TESTS = $(addprefix $(B)/tests/,guest/test_kvm_free guest/test_kvm_hostile twin/test_free)
tsan:
	$(Q)$(MAKE) --no-print-directory $(if $(findstring j,$(MAKEFLAGS)),,-j$(shell nproc)) B=build/tsan OPT=-O1 \
		SAN='-fsanitize=thread -Wl,-u,g_mutex_lock' tsan-tests
tsan-tests: $(TSAN_TESTS)
	$(Q)TSAN_OPTIONS=history_size=4 CK_FORK=no CK_TIMEOUT_MULTIPLIER=10 tests/run.sh $(TSAN_TESTS)

# Ten million descriptors and register accesses under sanitizers; make check tries a share of them without.
soak:
	$(Q)$(MAKE) --no-print-directory B=build/asan OPT=-O1 SAN='-fsanitize=address,undefined -fno-sanitize-recover=all' soak-tests
	$(Q)$(MAKE) --no-print-directory soak-kvm
soak-tests: $(B)/tests/fuzz/test_virtio_fuzz $(B)/tests/fuzz/test_blk_fuzz $(B)/tests/model/test_accounting \
		$(B)/tests/model/test_accounting_hash | $(B)/overbook
	$(Q)for t in $^; do SOAK=10000000 UBSAN_OPTIONS=print_stacktrace=1 $$t || exit 1; done
	$(Q)KILLS=50 B=$(B) tests/cli/check_kill.sh

# Real guests check every word while their memory is evicted, merged, logged, ballooned and moved, for ten minutes.
soak-kvm: $(B)/tests/guest/test_kvm_memory $(B)/tests/guest/test_kvm_integrity $(B)/tests/twin/test_free
	$(Q)SOAK=600 CK_RUN_CASE=integrity $(B)/tests/guest/test_kvm_memory
	$(Q)SOAK=600 $(B)/tests/guest/test_kvm_integrity
	$(Q)SOAK=1 $(B)/tests/twin/test_free

golden: $(B)/overbook
	$(Q)B=$(B) tests/golden/check_golden.sh --rewrite

bench: $(BENCHES) $(B)/overbook
	$(Q)mkdir -p results/bench
	$(Q)for b in $(BENCHES); do echo "== $$b"; csv=results/bench/$${b#$(B)/bench/bench_}.csv; \
		$$b >$$csv || exit 1; cat $$csv; done

# The checks are in .clang-tidy; a few files at a time, so that every processor has work.
tidy:
	$(Q)printf '%s\n' $(SRC) | xargs -P $$(nproc) -n 4 sh -c 'clang-tidy --quiet "$$@" -- -std=c11 -D_GNU_SOURCE \
		$(ARCH) -I. $(LIBS_CFLAGS) 2>/dev/null' sh && echo 'clang-tidy finds nothing in $(words $(SRC)) files'

# Two steps: what is installed first decides what the second make finds.
demo:
	$(Q)$(MAKE) --no-print-directory deps
	$(Q)$(MAKE) --no-print-directory -j$$(nproc) all
	$(Q)workloads/demo.sh $(B)/overbook

install: $(B)/overbook
	install -d '$(DESTDIR)$(PREFIX)/bin' '$(DESTDIR)$(PREFIX)/share/man/man1' \
		'$(DESTDIR)$(PREFIX)/share/bash-completion/completions' '$(DESTDIR)$(PREFIX)/share/overbook/figures' \
		'$(DESTDIR)$(PREFIX)/share/overbook/workloads/traces'
	install -m 755 $(B)/overbook '$(DESTDIR)$(PREFIX)/bin/overbook'
	install -d '$(DESTDIR)$(PREFIX)/include/overbook'
	install -m 644 vmm/policy.h '$(DESTDIR)$(PREFIX)/include/overbook/policy.h'
	install -m 644 docs/overbook.1 '$(DESTDIR)$(PREFIX)/share/man/man1/overbook.1'
	install -m 644 docs/overbook.bash '$(DESTDIR)$(PREFIX)/share/bash-completion/completions/overbook'
	install -m 644 results/figures/*.gp '$(DESTDIR)$(PREFIX)/share/overbook/figures/'
	install -m 644 workloads/*.ini '$(DESTDIR)$(PREFIX)/share/overbook/workloads/'
	install -m 644 workloads/traces/* '$(DESTDIR)$(PREFIX)/share/overbook/workloads/traces/'

uninstall:
	rm -f '$(DESTDIR)$(PREFIX)/bin/overbook' '$(DESTDIR)$(PREFIX)/share/man/man1/overbook.1' \
		'$(DESTDIR)$(PREFIX)/share/bash-completion/completions/overbook'
	rm -rf '$(DESTDIR)$(PREFIX)/share/overbook' '$(DESTDIR)$(PREFIX)/include/overbook'

clean:
	$(Q)rm -rf $(B)

-include $(OBJ:.o=.d) $(GUEST_OBJ:.o=.d) $(TESTLIB:.o=.d) $(TESTSRC:%.c=$(B)/obj/%.d) \
		$(BENCHES:$(B)/%=$(B)/obj/tests/%.d)

.PHONY: all help deps tests check check-twin check-nested asan asan-tests tsan tsan-tests soak soak-tests soak-kvm golden bench tidy demo install uninstall clean FORCE
.SECONDARY:
