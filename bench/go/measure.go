package main

import (
	"fmt"
	"syscall"
	"time"
	"unsafe"
)

// A pass runs ops operations and returns the checksum of the data that moved.
type pass func(ops uint64) (uint64, error)

const clockProcessCPU = 2 // CLOCK_PROCESS_CPUTIME_ID, clock_gettime(2)

// cpuNs is the CPU time of the whole process, all threads, in ns.
func cpuNs() int64 {
	var ts syscall.Timespec
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockProcessCPU,
		uintptr(unsafe.Pointer(&ts)), 0)
	if errno != 0 {
		panic(errno)
	}
	return ts.Nano()
}

// measure repeats p until o.minMs have been measured, after one pass of a tenth as
// warm-up. Each pass must give the same checksum.
func measure(o options, r *report, p pass) error {
	if _, err := p(o.ops/10 + 1); err != nil {
		return err
	}

	var sum uint64
	var wall time.Duration
	var cpu int64
	passes := 0
	for wall < time.Duration(o.minMs)*time.Millisecond || passes == 0 {
		cpuStart, start := cpuNs(), time.Now()
		got, err := p(o.ops)
		wall += time.Since(start)
		cpu += cpuNs() - cpuStart
		if err != nil {
			return err
		}
		if passes > 0 && got != sum {
			return fmt.Errorf("checksum %#x after pass %d, %#x before", got, passes, sum)
		}
		sum = got
		passes++
	}

	total := float64(o.ops) * float64(passes)
	r.NsPerOp = float64(wall.Nanoseconds()) / total
	r.CPUNsPerOp = float64(cpu) / total
	r.Ops = o.ops
	r.Passes = passes
	r.Checksum = fmt.Sprintf("%016x", sum)
	return nil
}

// mix spreads a counter over 64 bits (one step of splitmix64's output function), so
// that a lost, repeated or altered value changes the sum. Twin of mix() in bench.h.
func mix(x uint64) uint64 {
	x ^= x >> 31
	x *= 0x9E3779B97F4A7C15
	return x ^ x>>29
}
