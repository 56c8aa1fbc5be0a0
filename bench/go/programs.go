package main

import (
	"fmt"
	"sync"
	"time"
)

const (
	children = 10
	branches = 16
)

func skynet(parent chan<- uint64, number, leaves uint64) {
	if leaves == 1 {
		parent <- number
		return
	}
	below := make(chan uint64, children)
	var sum uint64
	for i := uint64(0); i < children; i++ {
		go skynet(below, number+i*(leaves/children), leaves/children)
	}
	for i := 0; i < children; i++ {
		sum += <-below
	}
	parent <- sum
}

// What does a leaf of a tree of goroutines cost, ten children each?
func skynetPass(ops uint64) (uint64, error) {
	root := make(chan uint64, 1)
	leaves := uint64(1)
	for leaves*children <= ops {
		leaves *= children
	}
	go skynet(root, 0, leaves)
	sum := <-root
	if sum != leaves*(leaves-1)/2 {
		return 0, fmt.Errorf("skynet: %d", sum)
	}
	return sum, nil
}

// primeLast is the n-th prime, by trial division: where the numbers may end.
func primeLast(n uint64) uint64 {
	found := uint64(0)
	for candidate := uint64(2); ; candidate++ {
		d := uint64(2)
		for d*d <= candidate && candidate%d != 0 {
			d++
		}
		if d*d > candidate {
			if found++; found == n {
				return candidate
			}
		}
	}
}

// What does a prime cost through a chain of filters, one a prime?
func sievePass(ops uint64) (uint64, error) {
	var done sync.WaitGroup
	var sum uint64

	in := make(chan uint64)
	done.Add(1)
	go func(out chan<- uint64, last uint64) {
		for i := uint64(2); i <= last; i++ {
			out <- i
		}
		close(out)
		done.Done()
	}(in, primeLast(ops))
	for n := uint64(0); n < ops; n++ {
		prime := <-in
		sum += prime
		out := make(chan uint64)
		done.Add(1)
		go func(in <-chan uint64, out chan<- uint64) {
			for i := range in {
				if i%prime != 0 {
					out <- i
				}
			}
			close(out)
			done.Done()
		}(in, out)
		in = out
	}
	if _, open := <-in; open {
		return 0, fmt.Errorf("a prime too many")
	}
	done.Wait()
	return sum, nil
}

func syntheticWork(seed, n uint64) uint64 {
	x := seed ^ 0x9E3779B97F4A7C15
	for i := uint64(0); i < n; i++ {
		x = x*6364136223846793005 + (1442695040888963407 ^ i)
		x ^= x >> 29
	}
	return x
}

// What does a request of 16 branches cost, one of which may be hot?
func fanoutPass(light, hot uint64) pass {
	return func(ops uint64) (uint64, error) {
		var results [branches]uint64
		var sum uint64
		for request := uint64(0); request < ops; request++ {
			var done sync.WaitGroup
			start := time.Now()
			done.Add(branches)
			for i := uint64(0); i < branches; i++ {
				go func(i uint64) {
					defer done.Done()
					steps := light
					if i == request%branches {
						steps = hot
					}
					results[i] = syntheticWork(request<<8|i, steps)
				}(i)
			}
			done.Wait()
			record(start)
			for _, r := range results {
				sum += r
			}
		}
		return sum, nil
	}
}

const (
	chunks     = 128
	chunkSteps = 200000
)

// How far from half of one processor's time do two need for what one goroutine started?
func chunksPass(ops uint64) (uint64, error) {
	var results [chunks]uint64
	var sum uint64
	for start := uint64(0); start < ops; start += chunks {
		var done sync.WaitGroup
		done.Add(chunks)
		for i := uint64(0); i < chunks; i++ {
			go func(i uint64) {
				defer done.Done()
				results[i] = syntheticWork(start+i, chunkSteps)
			}(i)
		}
		done.Wait()
		for _, r := range results {
			sum += r
		}
	}
	return sum, nil
}
