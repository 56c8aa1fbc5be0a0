// Command spgbench holds the Go twins of the rows in bench/: the same loops, the
// same data and the same checksums as the C side, written as a Go programmer would.
//
// Usage: spgbench <row> [-procs N] [-ops N] [-min-ms N] [-n N] [-addr host:port]
//
// Each row prints one JSON line.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"sort"
	"strings"
)

// options are the knobs every row shares; a row uses those that mean something to it.
type options struct {
	procs int    // GOMAXPROCS
	ops   uint64 // operations in one pass; the checksum belongs to one pass
	minMs int64  // passes are repeated until this much time was measured
	n     int    // how many goroutines a memory row parks
	addr  string // where a server listens, or the peer does
	dir   string // what the file server serves, or WalkDir walks

	peerPid int  // the peer, whose CPU time is read around the passes; 0: none
	once    bool // one pass and no warm-up: the program is measured from outside
}

// report is the line a row prints. Fields of another kind of row stay out of it.
type report struct {
	Row            string  `json:"row"`
	NsPerOp        float64 `json:"ns_per_op,omitempty"`
	CPUNsPerOp     float64 `json:"cpu_ns_per_op,omitempty"`
	PeerCPUNsPerOp float64 `json:"peer_cpu_ns_per_op,omitempty"`
	SwitchesPerOp  float64 `json:"switches_per_op"`
	PreemptedPerOp float64 `json:"preempted_per_op"`
	P50Us          float64 `json:"p50_us,omitempty"`
	P99Us          float64 `json:"p99_us,omitempty"`
	P999Us         float64 `json:"p999_us,omitempty"`
	Threads        int     `json:"threads,omitempty"`
	RSSKiB         int64   `json:"rss_kib,omitempty"`
	Ops            uint64  `json:"ops,omitempty"`
	Passes         int     `json:"passes,omitempty"`
	N              int     `json:"n,omitempty"`
	BytesEach      float64 `json:"bytes_each,omitempty"`
	LateP50Us      float64 `json:"late_p50_us,omitempty"`
	LateP99Us      float64 `json:"late_p99_us,omitempty"`
	Checksum       string  `json:"checksum"`
	GoMaxProcs     int     `json:"gomaxprocs"`
	GoVersion      string  `json:"go_version"`
}

// A row fills its report; the error ends the program.
var rows = map[string]func(o options, r *report) error{
	"yield":             func(o options, r *report) error { return measure(o, r, yieldPass) },
	"spawn_wait":        func(o options, r *report) error { return measure(o, r, spawnWaitPass) },
	"pingpong":          func(o options, r *report) error { return measure(o, r, pingPongPass) },
	"pingpong_threads":  func(o options, r *report) error { return measure(o, r, pingPongThreadsPass) },
	"pingpong_cpus":     func(o options, r *report) error { return measure(o, r, pingPongCPUsPass) },
	"chan128":           func(o options, r *report) error { return measure(o, r, chan128Pass) },
	"select4":           func(o options, r *report) error { return measure(o, r, selectPass(0)) },
	"select4_buf":       func(o options, r *report) error { return measure(o, r, selectPass(128)) },
	"chan4x4":           func(o options, r *report) error { return measure(o, r, chan4x4Pass) },
	"mutex":             func(o options, r *report) error { return measure(o, r, mutexPass(1)) },
	"mutex_two":         func(o options, r *report) error { return measure(o, r, mutexPass(2)) },
	"wg_fanout":         func(o options, r *report) error { return measure(o, r, wgFanoutPass) },
	"sleepers":          sleepersRow,
	"skynet":            func(o options, r *report) error { return measure(o, r, skynetPass) },
	"sieve":             func(o options, r *report) error { return measure(o, r, sievePass) },
	"fanout_balanced":   func(o options, r *report) error { return measure(o, r, fanoutPass(2000, 2000)) },
	"fanout_skewed":     func(o options, r *report) error { return measure(o, r, fanoutPass(500, 20000)) },
	"chunks":            func(o options, r *report) error { return measure(o, r, chunksPass) },
	"net_rtt":           netOnly((*netBench).rtt),
	"net_window":        netOnly((*netBench).window),
	"net_imbalanced":    netOnly((*netBench).imbalanced),
	"net_rotation":      netOnly((*netBench).rotation),
	"net_keyed":         netRow((*netBench).keyed),
	"net_pipeline":      netOnly((*netBench).pipeline),
	"net_flip":          netOnly((*netBench).flip),
	"net_rotation_sync": netOnly((*netBench).rotationSync),
	"net_keyed_sum":     netRow((*netBench).keyedSum),
	"net_sparse":        netOnly((*netBench).sparse),
	"net_fs":            netRow((*netBench).fs),
	"net_deadline":      netRow((*netBench).deadline),
	"net_first_k":       netRow((*netBench).firstK),
	"net_churn":         netOnly((*netBench).churn),
	"timer_storm":       func(o options, r *report) error { return measure(o, r, timerStormPass) },
	"start":             func(o options, r *report) error { return measure(o, r, startPass) },
	"write_rtt":         writeRow(1),
	"write_qd32":        writeRow(32),
	"stat_qd32":         statRow,
	"walkdir":           walkDirRow,
	"echo_udp":          echoUDPRow,
	"echo_unix":         echoUnixRow,
	"echo_unixgram":     echoUnixgramRow,
	"read_rtt":          fileRow((*netBench).readRTT),
	"read_qd32":         fileRow((*netBench).readQD32),
	"parked":            parkedRow,
	"idle":              idleRow,
	"echo":              echoRow,
	"httpd":             httpdRow,
}

func main() {
	if len(os.Args) < 2 || rows[os.Args[1]] == nil {
		usage()
		os.Exit(2)
	}

	var o options
	row := os.Args[1]
	flags := flag.NewFlagSet(row, flag.ExitOnError)
	flags.IntVar(&o.procs, "procs", runtime.NumCPU(), "GOMAXPROCS")
	flags.Uint64Var(&o.ops, "ops", 100000, "operations in one pass")
	flags.Int64Var(&o.minMs, "min-ms", 200, "measure at least this long")
	flags.IntVar(&o.n, "n", 10000, "goroutines of a memory row")
	flags.StringVar(&o.addr, "addr", "127.0.0.1:0", "address of the echo server")
	flags.StringVar(&o.dir, "dir", ".", "folder of the file server")
	flags.IntVar(&o.peerPid, "peer-pid", 0, "the peer")
	flags.BoolVar(&o.once, "once", false, "one pass and no warm-up")
	if err := flags.Parse(os.Args[2:]); err != nil {
		os.Exit(2)
	}

	runtime.GOMAXPROCS(o.procs)
	r := report{Row: row, GoMaxProcs: o.procs, GoVersion: runtime.Version()}
	if err := rows[row](o, &r); err != nil {
		fmt.Fprintf(os.Stderr, "spgbench: %s: %v\n", row, err)
		os.Exit(1)
	}
	line, err := json.Marshal(&r)
	if err != nil {
		fmt.Fprintf(os.Stderr, "spgbench: %v\n", err)
		os.Exit(1)
	}
	fmt.Println(string(line))
}

func usage() {
	names := make([]string, 0, len(rows))
	for name := range rows {
		names = append(names, name)
	}
	sort.Strings(names)
	fmt.Fprintf(os.Stderr, "usage: spgbench row [flags]\nrows: %s\n", strings.Join(names, " "))
}
