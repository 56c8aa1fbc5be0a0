package main

import (
	"fmt"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

const (
	ways     = 4
	fan      = 1000
	sleepers = 10000
)

// What does a value through one of four channels cost, by select?
// Expected: 150 to 350 ns unbuffered with GOMAXPROCS=1.
func selectPass(capacity int) pass {
	return func(ops uint64) (uint64, error) {
		var c [ways]chan uint64
		var sum uint64

		for i := range c {
			c[i] = make(chan uint64, capacity)
		}
		go func() {
			for i := uint64(0); i < ops; i++ {
				c[i%ways] <- mix(i)
			}
		}()
		for i := uint64(0); i < ops; i++ {
			select {
			case v := <-c[0]:
				sum += v
			case v := <-c[1]:
				sum += v
			case v := <-c[2]:
				sum += v
			case v := <-c[3]:
				sum += v
			}
		}
		return sum, nil
	}
}

// What does a value through one channel of 128 cost, four senders, four receivers?
func chan4x4Pass(ops uint64) (uint64, error) {
	c := make(chan uint64, 128)
	var senders, receivers sync.WaitGroup
	var sum, count atomic.Uint64
	each := ops / ways

	for i := uint64(0); i < ways; i++ {
		receivers.Add(1)
		go func() {
			defer receivers.Done()
			var s, n uint64
			for v := range c {
				s += v
				n++
			}
			sum.Add(s)
			count.Add(n)
		}()
		senders.Add(1)
		go func(first uint64) {
			defer senders.Done()
			for j := uint64(0); j < each; j++ {
				c <- mix(first + j)
			}
		}(i * each)
	}
	senders.Wait()
	close(c)
	receivers.Wait()
	if count.Load() != each*ways {
		return 0, fmt.Errorf("%d values of %d", count.Load(), each*ways)
	}
	return sum.Load(), nil
}

// What does a lock and its unlock cost, alone or fought over by n goroutines?
func mutexPass(n uint64) pass {
	return func(ops uint64) (uint64, error) {
		var lock sync.Mutex
		var done sync.WaitGroup
		var value uint64

		for i := uint64(0); i < n; i++ {
			done.Add(1)
			go func() {
				defer done.Done()
				for j := uint64(0); j < ops/n; j++ {
					lock.Lock()
					value++
					lock.Unlock()
				}
			}()
		}
		done.Wait()
		return value, nil
	}
}

// What does one of 1,000 goroutines cost that are started, then awaited together?
func wgFanoutPass(ops uint64) (uint64, error) {
	var done sync.WaitGroup
	var sum atomic.Uint64

	for start := uint64(0); start < ops; start += fan {
		done.Add(fan)
		for i := uint64(0); i < fan; i++ {
			go func(number uint64) {
				sum.Add(mix(number))
				done.Done()
			}(start + i)
		}
		done.Wait()
	}
	return sum.Load(), nil
}

// The n-th nap of a sleeper: 1 to 50 ms.
func nap(seed, n uint64) time.Duration {
	return time.Millisecond + time.Duration(mix(seed*1000003+n)%uint64(49*time.Millisecond))
}

// How late do 10,000 sleepers wake, and what does a wake cost?
func sleepersRow(o options, r *report) error {
	naps := o.ops / sleepers
	if naps == 0 {
		naps = 1
	}
	late := make([]int64, sleepers*naps)
	var done sync.WaitGroup
	var sum uint64

	cpuStart, start := cpuNs(), time.Now()
	done.Add(sleepers)
	for i := uint64(0); i < sleepers; i++ {
		go func(i uint64) {
			defer done.Done()
			for n := uint64(0); n < naps; n++ {
				d := nap(i, n)
				due := time.Now().Add(d)
				time.Sleep(d)
				late[i*naps+n] = int64(time.Since(due))
			}
		}(i)
		for n := uint64(0); n < naps; n++ {
			sum += uint64(nap(i, n))
		}
	}
	done.Wait()
	total := float64(sleepers * naps)
	r.NsPerOp = float64(time.Since(start)) / total
	r.CPUNsPerOp = float64(cpuNs()-cpuStart) / total
	r.Ops, r.Passes = sleepers*naps, 1
	sort.Slice(late, func(a, b int) bool { return late[a] < late[b] })
	r.LateP50Us = float64(late[len(late)/2]) / 1e3
	r.LateP99Us = float64(late[len(late)*99/100]) / 1e3
	r.Checksum = fmt.Sprintf("%016x", sum)
	return nil
}
