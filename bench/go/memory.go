package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// How much does a parked goroutine hold? Each has run, printed a line to /dev/null,
// yielded, and waits in a receive. Expected: 2.7 KB.
func parkedRow(o options, r *report) error {
	before, err := residentBytes()
	if err != nil {
		return err
	}
	p, err := park(o.n)
	if err != nil {
		return err
	}
	after, err := residentBytes()
	if err != nil {
		return err
	}
	r.N = o.n
	r.BytesEach = float64(after-before) / float64(o.n)
	r.Checksum = fmt.Sprintf("%016x", p.wakeAll())
	return nil
}

// What does a parked crowd cost while nothing happens? Prints "ready" and waits, for
// whoever looks at the process from outside, until a line comes in on stdin.
func idleRow(o options, r *report) error {
	p, err := park(o.n)
	if err != nil {
		return err
	}
	far := time.AfterFunc(time.Hour, func() {})
	defer far.Stop()

	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	r.N = o.n
	r.Checksum = fmt.Sprintf("%016x", p.wakeAll())
	return nil
}

// parked is a crowd of goroutines that all wait on one channel.
type parked struct {
	n    int
	gate chan uint64
	done sync.WaitGroup
	sum  atomic.Uint64
}

func park(n int) (*parked, error) {
	p := &parked{n: n, gate: make(chan uint64)}
	sink, err := os.OpenFile("/dev/null", os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}

	var arrived atomic.Int64
	var lock sync.Mutex
	out := bufio.NewWriter(sink)
	p.done.Add(n)
	for i := 0; i < n; i++ {
		go func(i int) {
			lock.Lock()
			fmt.Fprintf(out, "coroutine %d of %d runs\n", i, n)
			lock.Unlock()
			runtime.Gosched()
			arrived.Add(1)
			p.sum.Add(mix(<-p.gate))
			p.done.Done()
		}(i)
	}
	for arrived.Load() < int64(n) {
		runtime.Gosched()
	}
	return p, nil
}

// wakeAll hands each of the crowd a number and returns the sum of their mixes.
func (p *parked) wakeAll() uint64 {
	for i := 0; i < p.n; i++ {
		p.gate <- uint64(i)
	}
	p.done.Wait()
	return p.sum.Load()
}

// residentBytes is VmRSS + VmPTE of this process.
func residentBytes() (int64, error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	var total int64
	for _, line := range strings.Split(string(text), "\n") {
		var kib int64
		if strings.HasPrefix(line, "VmRSS:") || strings.HasPrefix(line, "VmPTE:") {
			if _, err := fmt.Sscanf(line[len("VmRSS:"):], "%d", &kib); err != nil {
				return 0, err
			}
			total += kib << 10
		}
	}
	return total, nil
}
