package main

import (
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"unsafe"
)

// What does it cost to let the other goroutine run? Two of them take turns.
// Expected: about 50 ns a yield with GOMAXPROCS=1.
func yieldPass(ops uint64) (uint64, error) {
	var wg sync.WaitGroup
	var sums [2]uint64

	for id := range sums {
		wg.Add(1)
		go func(id uint64) {
			defer wg.Done()
			var sum uint64
			for i := uint64(0); i < ops/2; i++ {
				sum += mix(i<<1 | id)
				runtime.Gosched()
			}
			sums[id] = sum
		}(uint64(id))
	}
	wg.Wait()
	return sums[0] + sums[1], nil
}

// What does a short-lived goroutine cost, from `go` until its end is known?
// Expected: about 300 ns.
func spawnWaitPass(ops uint64) (uint64, error) {
	var wg sync.WaitGroup
	var sum uint64

	for i := uint64(0); i < ops; i++ {
		wg.Add(1)
		go func(i uint64) {
			sum += mix(i)
			wg.Done()
		}(i)
		wg.Wait()
	}
	return sum, nil
}

// pong answers each value with its mix until the channel is closed.
func pong(in <-chan uint64, out chan<- uint64) {
	for v := range in {
		out <- mix(v)
	}
	close(out)
}

// ping asks ops questions and sums up the answers.
func ping(ops uint64, out chan<- uint64, in <-chan uint64) uint64 {
	var sum uint64
	for i := uint64(0); i < ops; i++ {
		out <- i
		sum += <-in
	}
	close(out)
	return sum
}

// What does a question and its answer cost over two unbuffered channels?
// Expected: about 250 ns a round trip with GOMAXPROCS=1.
func pingPongPass(ops uint64) (uint64, error) {
	there, back := make(chan uint64), make(chan uint64)

	go pong(there, back)
	sum := ping(ops, there, back)
	if _, open := <-back; open {
		return 0, fmt.Errorf("an answer without a question")
	}
	return sum, nil
}

// The same between two goroutines that each own a thread: every message crosses
// threads. Expected: 5 to 60 us a round trip.
func pingPongThreadsPass(ops uint64) (uint64, error) {
	return pingPongLocked(ops, [2]int{-1, -1})
}

// And with the two threads bound to CPU 0 and CPU 1.
func pingPongCPUsPass(ops uint64) (uint64, error) {
	return pingPongLocked(ops, [2]int{0, 1})
}

func pingPongLocked(ops uint64, cpus [2]int) (uint64, error) {
	there, back := make(chan uint64), make(chan uint64)
	sum := make(chan uint64)
	failed := make(chan error, 2)

	go func() {
		// Locked to the end: the thread, and its affinity, die with the goroutine.
		runtime.LockOSThread()
		failed <- bindThread(cpus[1])
		pong(there, back)
	}()
	go func() {
		runtime.LockOSThread()
		failed <- bindThread(cpus[0])
		sum <- ping(ops, there, back)
	}()
	for i := 0; i < 2; i++ {
		if err := <-failed; err != nil {
			return 0, err
		}
	}
	return <-sum, nil
}

// bindThread binds the calling thread to one CPU; -1 leaves it free.
func bindThread(cpu int) error {
	if cpu < 0 {
		return nil
	}
	mask := [16]uint64{}
	mask[cpu/64] = 1 << (cpu % 64)
	_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0,
		unsafe.Sizeof(mask), uintptr(unsafe.Pointer(&mask)))
	if errno != 0 {
		return fmt.Errorf("sched_setaffinity: %w", errno)
	}
	return nil
}

// What does a value through a channel of capacity 128 cost, one sender, one receiver?
// Expected: about 40 ns with GOMAXPROCS=1.
func chan128Pass(ops uint64) (uint64, error) {
	c := make(chan uint64, 128)
	var sum, count uint64

	go func() {
		for i := uint64(0); i < ops; i++ {
			c <- mix(i)
		}
		close(c)
	}()
	for v := range c {
		sum += v ^ count
		count++
	}
	if count != ops {
		return 0, fmt.Errorf("%d values of %d", count, ops)
	}
	return sum, nil
}
