# spg: one Makefile; only the sanitizer and clang builds call it again, into folders of
# their own. Floors in order: a folder includes itself and those before it (tools/check-layers).
FLOORS := coro sched io runtime net fs

# B: where everything is built. SAN: address,undefined or thread. WERROR=1 (or CI=true): warnings
# are errors.
B ?= build
SAN ?=
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
VERSION := 0.1.0
SONAME := libspg.so.0

ifeq ($(origin CC),default)
CC := gcc
endif

# Of the same family, for the tests in C++.
ifeq ($(origin CXX),default)
CXX := $(if $(findstring clang,$(notdir $(CC))),clang++,g++)
endif

MAKEFLAGS += --no-builtin-rules --no-print-directory
.SUFFIXES:
.SECONDARY:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

WARN := -Wall -Wextra -Wshadow -Wundef -Wvla -Wstrict-prototypes -Wmissing-prototypes \
	-Wpointer-arith -Wwrite-strings
override CPPFLAGS := -D_GNU_SOURCE -iquote . -iquote $(B) -Iruntime/include $(CPPFLAGS)
LIB_FLAGS := -fPIC -fno-semantic-interposition -ftls-model=initial-exec -include coro/errno.h
# gcc optimises the library as a whole, over the floors' borders: a spawn takes 0.65 of the time it
# takes file by file at -O2 (bench/ATTEMPTS.md). LTO=0: without.
LTO ?= $(if $(SAN)$(filter-out gcc%,$(notdir $(CC))),0,1)
ifeq ($(LTO),1)
LIB_FLAGS += -O3 -flto=auto
endif
ifeq ($(SAN),)
OPT := -O2
# A parked coroutine's frames should fit in one page. Sanitizers pad frames.
LIB_FLAGS += -Wframe-larger-than=1024
NO_UNDEFINED := -Wl,-z,defs
else
OPT := -O1
SAN_FLAGS := -fsanitize=$(SAN) -fno-sanitize-recover=all
# Our own assertions as well.
override CPPFLAGS += -DSPG__DEBUG
endif
override CFLAGS := -std=gnu11 $(OPT) -g -fno-omit-frame-pointer -fstack-clash-protection \
	-fvisibility=hidden $(WARN) $(SAN_FLAGS) $(CFLAGS)
# What users' compilers may be told; warnings are errors always, for they are in the headers.
CXX_FLAGS := -std=c++17 $(OPT) -g -fno-omit-frame-pointer -Wall -Wextra -pedantic -Wshadow -Wundef -Werror \
	$(SAN_FLAGS)
override LDFLAGS := $(SAN_FLAGS) $(LDFLAGS)
COMPILE := $(CC) $(CPPFLAGS) $(CFLAGS)
LINK := $(CC) $(CFLAGS) $(LDFLAGS)
ifneq ($(filter 1 true,$(CI) $(WERROR)),)
WERROR_FLAG := -Werror
endif

empty :=
comma := ,

# V=1 shows whole commands.
ifneq ($(V),1)
Q = @echo '  $(1) $(@:$(B)/%=%)';
endif

# The context switch is always linked statically.
LIBS := -l:libboost_context.a -luring -pthread
# Asked for late: pkg-config may have to be installed first.
CHECK_LIBS = $(shell pkg-config --libs check)

objects = $(patsubst %.c,$(B)/%.o,$(sort $(wildcard $(1))))

OBJS := $(call objects,$(FLOORS:%=%/*.c))

# tools/NAME.c or tools/NAME/*.c is the program $(B)/NAME; these know nothing of the library.
TOOLS := $(sort $(patsubst tools/%.c,%,$(wildcard tools/*.c)) $(patsubst tools/%/,%,$(dir $(wildcard tools/*/*.c))))
TOOLS_PLAIN := $(filter load echo_pthread httpd_pthread,$(TOOLS))
TOOL_OBJS := $(call objects,tools/*.c tools/*/*.c)
TOOL_BINS := $(TOOLS:%=$(B)/%)
TOOL_BINS_PLAIN := $(TOOLS_PLAIN:%=$(B)/%)

# httpd parses with llhttp, whose C sources Debian's node-llhttp brings. Its twin has calls of its own.
LLHTTP_OBJS := $(B)/llhttp/api.o $(B)/llhttp/http.o $(B)/llhttp/llhttp.o
HTTPD_OBJS := $(call objects,tools/httpd/*.c)

# `make test T=chan` runs test/test_chan.c alone.
T ?= *
TEST_OBJS := $(call objects,$(T:%=test/test_%.c))
CXX_OBJS := $(patsubst %.cc,$(B)/%.o,$(sort $(wildcard $(T:%=test/test_%.cc))))
CXX_BINS := $(CXX_OBJS:.o=)
TEST_BINS := $(TEST_OBJS:.o=) $(CXX_BINS)
TEST_SCRIPTS := $(patsubst test/%.py,$(B)/test/%,$(sort $(wildcard $(T:%=test/test_%.py))))
# Model checkers: programs of their own, without the library.
MODEL_OBJS := $(call objects,test/model_*.c)
MODEL_BINS := $(MODEL_OBJS:.o=)

# What runs in reasonable time under Valgrind.
VALGRIND_TESTS := go mutex sync cond
VALGRIND_BINS := $(filter $(VALGRIND_TESTS:%=$(B)/test/test_%),$(TEST_BINS))

.PHONY: all lib tools setup demo test test-programs test-asan test-tsan test-clang test-fallbacks test-valgrind \
	fuzz bench bench-quick perf-gate stress install uninstall clean FORCE

all: lib tools
lib: $(B)/libspg.a $(B)/libspg.so $(B)/libspg-locks.so
tools: $(TOOL_BINS)

# Installs what is missing before the first compilation; silent when nothing is.
setup:
	@tools/setup

# Changes when a compiler or a flag does, so that everything is built anew.
$(B)/flags: FORCE | setup
	@mkdir -p $(@D)
	@echo '$(COMPILE) $(LIB_FLAGS) $(LDFLAGS)' | cmp -s - $@ || echo '$(COMPILE) $(LIB_FLAGS) $(LDFLAGS)' > $@

$(B)/spg_probe.h: tools/probe $(B)/flags
	@CC="$(CC)" tools/probe $@

$(OBJS): override CFLAGS += $(LIB_FLAGS)
# Thread-locals are looked at anew by each call (see there).
$(B)/coro/errno.o $(B)/sched/self.o: override CFLAGS += -fno-lto
$(B)/%.o: %.c $(B)/spg_probe.h
	@mkdir -p $(@D)
	$(call Q,CC  )$(CC) $(CPPFLAGS) $(CFLAGS) $(WERROR_FLAG) -MMD -MP -c $< -o $@

# One object with nothing left to optimise: who links it needs no LTO. Its parts see each other's
# statics under names of gcc's making, which are local again in the end.
$(B)/spg.o: $(OBJS)
	$(call Q,LTO )$(CC) $(CFLAGS) $(LIB_FLAGS) $(WERROR_FLAG) -r -flinker-output=nolto-rel -o $@ $^
	@objcopy --wildcard --keep-global-symbol='spg*' $@

LIB_OBJS := $(if $(filter 1,$(LTO)),$(B)/spg.o,$(OBJS))

$(B)/libspg.a: $(LIB_OBJS)
	@rm -f $@
	$(call Q,AR  )$(AR) rcs $@ $^

$(B)/libspg.so: $(LIB_OBJS)
	$(call Q,LINK)$(LINK) -shared -Wl,-soname,$(SONAME) -Wl,--exclude-libs,ALL $(NO_UNDEFINED) -o $@ $^ $(LIBS)
	@ln -sf libspg.so $(B)/$(SONAME)

# To be preloaded: what each thread has locked, for SPG_DEBUG=locks.
$(B)/libspg-locks.so: runtime/preload/locks.c runtime/preload/locks.h $(B)/flags
	$(call Q,LINK)$(CC) $(CPPFLAGS) $(filter-out $(SAN_FLAGS),$(CFLAGS)) $(WERROR_FLAG) -fPIC -shared -ftls-model=initial-exec \
		-o $@ $<

.SECONDEXPANSION:
# Bound at once: the lazy binder needs 2.5 KiB of the stack it is called on.
$(TOOL_BINS): $(B)/%: $$(call objects,tools/%.c tools/%/*.c)
	$(call Q,LINK)$(LINK) -Wl,-z,now -o $@ $^ $(if $(filter $@,$(TOOL_BINS_PLAIN)),-pthread,$(LIBS))
$(filter-out $(TOOL_BINS_PLAIN),$(TOOL_BINS)): $(B)/libspg.a

$(LLHTTP_OBJS): $(B)/llhttp/%.o: $(B)/flags
	@mkdir -p $(@D)
	$(call Q,CC  )$(CC) $(CFLAGS) -w -I/usr/share/include/llhttp -c /usr/share/llhttp/$*.c -o $@
$(HTTPD_OBJS): override CPPFLAGS += -I/usr/share/include
$(B)/httpd $(B)/httpd_pthread: $(LLHTTP_OBJS)
$(B)/httpd_pthread: $(filter-out $(B)/tools/httpd/calls.o,$(HTTPD_OBJS))

$(CXX_OBJS): $(B)/%.o: %.cc $(B)/spg_probe.h
	@mkdir -p $(@D)
	$(call Q,CXX )$(CXX) $(CPPFLAGS) $(CXX_FLAGS) -MMD -MP -c $< -o $@
$(CXX_BINS): LINK = $(CXX) $(CXX_FLAGS) $(LDFLAGS)

$(TEST_BINS): %: %.o $(B)/test/t.o $(B)/libspg.a
	$(call Q,LINK)$(LINK) -o $@ $(filter %.o,$^) $(B)/libspg.a $(LIBS) $(CHECK_LIBS)

# httpd's parts, with calls that the test makes fail.
$(B)/test/test_httpd_faults: $(filter-out %/main.o %/options.o,$(HTTPD_OBJS)) $(LLHTTP_OBJS)
$(B)/test/test_httpd_faults: LINK += $(addprefix -Wl$(comma)--wrap=,call_open call_pread call_sendfile buffer_take)

$(TEST_SCRIPTS): $(B)/test/%: test/%.py
	@install -D -m 755 $< $@

$(MODEL_BINS): %: %.o
	$(call Q,LINK)$(LINK) -o $@ $^ -pthread

demo: all
	@B=$(B) tools/demo

RUN_TESTS = B=$(B) CC="$(CC)" tools/run-tests

# The rules of the house, the models, then every test program.
test: all $(TEST_BINS) $(TEST_SCRIPTS) $(MODEL_BINS)
	@$(RUN_TESTS) --checks $(MODEL_BINS) $(TEST_BINS) $(TEST_SCRIPTS)

test-programs: tools $(B)/libspg-locks.so $(TEST_BINS) $(TEST_SCRIPTS)
	@$(RUN_TESTS) $(RUN_FLAGS) $(TEST_BINS) $(TEST_SCRIPTS)

test-asan:
	@$(MAKE) B=$(B)/asan SAN=address,undefined RUN_FLAGS="--slow 4" test-programs
test-tsan:
	@$(MAKE) B=$(B)/tsan SAN=thread RUN_FLAGS="--slow 4 --fixed-addresses" test-programs
test-clang:
	@tools/setup clang
	@$(MAKE) B=$(B)/clang CC=clang test-programs

# Every feature of the kernel has a way without it.
FALLBACK_TESTS_OP := uring net process cached
FALLBACK_TESTS_RING := go serve cancel_lost
FALLBACK_BINS := $(filter $(patsubst %,$(B)/test/test_%,$(FALLBACK_TESTS_OP) $(FALLBACK_TESTS_RING)),$(TEST_BINS))
test-fallbacks: tools $(FALLBACK_BINS)
	@$(RUN_TESTS) --fallbacks --ring-only $(subst $(empty) $(empty),$(comma),$(FALLBACK_TESTS_RING)) $(FALLBACK_BINS)

test-valgrind: $(VALGRIND_BINS)
	@tools/setup valgrind
	@$(RUN_TESTS) --slow 5 --valgrind $(VALGRIND_BINS)

# The request path of httpd on requests that libFuzzer makes up. It begins with what it learned in half an
# hour (docs/fuzzing.md); what it learns stays in B.
FUZZ_SECONDS ?= 60
FUZZ_SOURCES := $(filter-out %/calls.c %/main.c %/options.c,$(wildcard tools/httpd/*.c))
fuzz:
	@tools/setup clang
	@mkdir -p $(B)/fuzz_corpus
	@tar xzf test/fuzz_request_corpus.tar.gz -C $(B)/fuzz_corpus
	$(call Q,FUZZ)clang $(CPPFLAGS) -I/usr/share/include -I/usr/share/include/llhttp -std=gnu11 -O1 -g \
		-fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -o $(B)/fuzz_request \
		test/fuzz_request.c $(FUZZ_SOURCES) $(LLHTTP_OBJS:$(B)/llhttp/%.o=/usr/share/llhttp/%.c) -pthread
	@$(B)/fuzz_request -max_total_time=$(FUZZ_SECONDS) -timeout=10 -max_len=4096 -dict=test/fuzz_request.dict \
		-print_final_stats=1 -artifact_prefix=$(B)/ $(B)/fuzz_corpus
	@echo '1 passed, 0 failed'

# bench/run builds its own programs and their twins.
bench: all
	@B=$(B) bench/run
bench-quick: all
	@B=$(B) bench/run --quick

# Every stress and property test, again and again, for an hour.
MINUTES ?= 60
stress: tools $(TEST_BINS)
	@B=$(B) tools/stress $(MINUTES)

# Instructions of the hot paths against bench/gate.json, and ratios to Go.
perf-gate: all
	@tools/setup valgrind
	@B=$(B) bench/gate

install: lib $(B)/spg-probe
	install -d $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(PREFIX)/include/spg $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(B)/spg-probe $(DESTDIR)$(PREFIX)/bin/
	install -m 644 runtime/include/spg/*.h $(DESTDIR)$(PREFIX)/include/spg/
	install -m 644 $(B)/libspg.a $(DESTDIR)$(LIBDIR)/
	install -m 755 $(B)/libspg.so $(DESTDIR)$(LIBDIR)/$(SONAME)
	install -m 755 $(B)/libspg-locks.so $(DESTDIR)$(LIBDIR)/
	ln -sf $(SONAME) $(DESTDIR)$(LIBDIR)/libspg.so
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@VERSION@|$(VERSION)|' spg.pc.in \
		> $(DESTDIR)$(LIBDIR)/pkgconfig/spg.pc
	chmod 644 $(DESTDIR)$(LIBDIR)/pkgconfig/spg.pc

uninstall:
	rm -rf $(DESTDIR)$(PREFIX)/include/spg
	rm -f $(DESTDIR)$(PREFIX)/bin/spg-probe $(DESTDIR)$(LIBDIR)/libspg.a $(DESTDIR)$(LIBDIR)/libspg.so $(DESTDIR)$(LIBDIR)/$(SONAME) \
		$(DESTDIR)$(LIBDIR)/libspg-locks.so \
		$(DESTDIR)$(LIBDIR)/pkgconfig/spg.pc

clean:
	rm -rf $(B)

-include $(patsubst %.o,%.d,$(OBJS) $(TOOL_OBJS) $(TEST_OBJS) $(CXX_OBJS) $(MODEL_OBJS) $(B)/test/t.o)
