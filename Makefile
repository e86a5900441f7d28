# overbook: build, test, install. `make help` lists the targets.
#
# Out of tree in build/, incremental, parallel-safe, quiet unless V=1. A source file is found by being in its
# folder; headers are tracked by the compiler.

CC	?= gcc
B	:= build
Q	:= $(if $(V),,@)
say	= $(if $(V),,@printf '  %-7s %s\n' '$(1)' '$(2)';)

LIBS	:= glib-2.0 gmodule-2.0 json-glib-1.0 libxxhash libzstd
OPT	?= -O2
WARN	:= -Wall -Wextra -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla $(if $(CI),-Werror)
# x86-64-v2 (every 64-bit server since 2009): SSE4.1 for the TLB's tag compare.
ARCH	?= -march=x86-64-v2
CFLAGS	?= -g
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE $(OPT) $(ARCH) $(CFLAGS) $(WARN) $(SAN) -I. -I$(B)/gen -fno-strict-aliasing \
	     -MMD -MP $(shell pkg-config --cflags $(LIBS))
ALL_LIBS = $(shell pkg-config --libs $(LIBS)) -lnuma -lm -pthread

ROOMS	:= mm shadow ept balloon dedup vmm vmm/policy vmm/sim vmm/kvm workloads workloads/guest
SRC	:= $(wildcard $(addsuffix /*.c,$(ROOMS)))
OBJ	:= $(SRC:%.c=$(B)/obj/%.o)
LIBOBJ	:= $(filter-out $(B)/obj/vmm/main.o,$(OBJ))

TESTSRC	:= $(wildcard tests/*/test_*.c)
TESTLIB	:= $(patsubst %.c,$(B)/obj/%.o,$(wildcard tests/lib/*.c))
TESTS	:= $(patsubst tests/%.c,$(B)/tests/%,$(TESTSRC))
CHECKS	:= $(wildcard tests/*/check_*.sh)

all: $(B)/overbook

$(B)/overbook: $(OBJ)
	$(call say,LD,$@)$(CC) $(SAN) -rdynamic -o $@ $^ $(ALL_LIBS)

$(B)/liboverbook.a: $(LIBOBJ)
	$(call say,AR,$@)rm -f $@ && ar rcs $@ $^

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(B)/tests/%: $(B)/obj/tests/%.o $(TESTLIB) $(B)/liboverbook.a
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(SAN) -rdynamic -o $@ $< $(TESTLIB) $(B)/liboverbook.a \
		$(shell pkg-config --libs check) $(ALL_LIBS)

tests: $(TESTS)

check: $(B)/overbook $(TESTS)
	$(Q)tests/run.sh $(TESTS) $(CHECKS)

clean:
	$(Q)rm -rf $(B)

-include $(OBJ:.o=.d) $(TESTLIB:.o=.d) $(TESTSRC:%.c=$(B)/obj/%.d)

.PHONY: all tests check clean
.SECONDARY:
