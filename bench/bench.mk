# The programs bench/run starts: the C rows, the raw ring loop, and the Go twins where Go is installed.
BENCH_ROWS_OBJS := $(patsubst %.c,$(B)/%.o,bench/bench.c $(wildcard bench/rows_*.c))
BENCH_BINS := $(B)/bench/rows $(B)/bench/echo_uring
ifneq ($(shell command -v go),)
BENCH_BINS += $(B)/bench/spgbench
endif

.PHONY: bench-programs
bench-programs: $(B)/load $(B)/echo $(BENCH_BINS)

$(B)/bench/rows: $(BENCH_ROWS_OBJS) $(B)/libspg.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(BENCH_ROWS_OBJS) $(B)/libspg.a $(LIBS)

$(B)/bench/echo_uring: bench/echo_uring.c $(B)/spg_probe.h
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -MF $@.d $(LDFLAGS) -o $@ $< -luring

$(B)/bench/spgbench: $(wildcard bench/go/*.go) bench/go/go.mod
	@mkdir -p $(@D)
	cd bench/go && go build -o $(abspath $@) .
