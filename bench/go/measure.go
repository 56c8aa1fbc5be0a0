package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// A pass runs ops operations and returns the checksum of the data that moved.
type pass func(ops uint64) (uint64, error)

const clockProcessCPU = 2 // CLOCK_PROCESS_CPUTIME_ID, clock_gettime(2)

// cpuNs is the CPU time of the whole process, all threads, in ns.
func cpuNs() int64 {
	return clockNs(clockProcessCPU)
}

func clockNs(clock int) int64 {
	var ts syscall.Timespec
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, uintptr(clock),
		uintptr(unsafe.Pointer(&ts)), 0)
	if errno != 0 {
		panic(errno)
	}
	return ts.Nano()
}

// used is what the process, and its peer, have used up.
type used struct {
	wall                time.Time
	cpu, peer           int64
	switches, preempted int64
}

func usageNow(o options) used {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	u := used{cpu: cpuNs(), switches: r.Nvcsw + r.Nivcsw, preempted: r.Nivcsw}
	if o.peerPid > 0 {
		u.peer = clockNs(^o.peerPid<<3 | clockProcessCPU)
	}
	u.wall = time.Now()
	return u
}

// measure repeats p until o.minMs have been measured, after one pass of a tenth as
// warm-up. Each pass must give the same checksum. With o.once it is one pass, cold.
func measure(o options, r *report, p pass) error {
	if !o.once {
		if _, err := p(o.ops/10 + 1); err != nil {
			return err
		}
	}
	resetLatencies()

	var sum uint64
	var wall time.Duration
	var total used
	passes := 0
	for passes == 0 || (wall < time.Duration(o.minMs)*time.Millisecond && !o.once) {
		before := usageNow(o)
		got, err := p(o.ops)
		after := usageNow(o)
		wall += after.wall.Sub(before.wall)
		total.cpu += after.cpu - before.cpu
		total.peer += after.peer - before.peer
		total.switches += after.switches - before.switches
		total.preempted += after.preempted - before.preempted
		if err != nil {
			return err
		}
		if passes > 0 && got != sum {
			return fmt.Errorf("checksum %#x after pass %d, %#x before", got, passes, sum)
		}
		sum = got
		passes++
	}

	ops := float64(o.ops) * float64(passes)
	r.NsPerOp = float64(wall.Nanoseconds()) / ops
	r.CPUNsPerOp = float64(total.cpu) / ops
	r.PeerCPUNsPerOp = float64(total.peer) / ops
	r.SwitchesPerOp = float64(total.switches) / ops
	r.PreemptedPerOp = float64(total.preempted) / ops
	r.P50Us, r.P99Us, r.P999Us = percentile(500000), percentile(990000), percentile(999000)
	r.Threads, r.RSSKiB = threadsAndPeak()
	r.Ops = o.ops
	r.Passes = passes
	r.Checksum = fmt.Sprintf("%016x", sum)
	return nil
}

// threadsAndPeak is how many threads there are, and the largest resident set in KiB. (Getrusage's
// begins with that of the program before exec.)
func threadsAndPeak() (threads int, peakKiB int64) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		panic(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		// A line that is another's leaves the numbers as they are.
		fmt.Sscanf(line, "Threads: %d", &threads)
		fmt.Sscanf(line, "VmHWM: %d", &peakKiB)
	}
	return threads, peakKiB
}

// mix spreads a counter over 64 bits (one step of splitmix64's output function), so
// that a lost, repeated or altered value changes the sum. Twin of mix() in bench.h.
func mix(x uint64) uint64 {
	x ^= x >> 31
	x *= 0x9E3779B97F4A7C15
	return x ^ x>>29
}
