package main

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// A log-linear histogram of latencies: twin of tools/hist.h, buckets no wider than 1/128
// of a value. All goroutines share it.
const (
	subBits     = 7
	sub         = 1 << subBits
	histBuckets = (64-subBits-1)*sub + 2*sub
)

var (
	latencies  [histBuckets]atomic.Uint64
	latencyMax atomic.Uint64
)

func bucket(value uint64) int {
	if value < 2*sub {
		return int(value)
	}
	shift := 63 - bits.LeadingZeros64(value) - subBits
	return shift*sub + int(value>>shift)
}

// upper is the largest value of a bucket.
func upper(index int) uint64 {
	shift := 0
	if index >= 2*sub {
		shift = index/sub - 1
	}
	return uint64(index-shift*sub)<<shift + (1<<shift - 1)
}

// record notes that what began at start is done.
func record(start time.Time) {
	value := uint64(time.Since(start))
	latencies[bucket(value)].Add(1)
	for {
		max := latencyMax.Load()
		if value <= max || latencyMax.CompareAndSwap(max, value) {
			return
		}
	}
}

func resetLatencies() {
	for i := range latencies {
		latencies[i].Store(0)
	}
	latencyMax.Store(0)
}

// percentile is the value in us that ppm millionths do not exceed; 0 where nothing was recorded.
func percentile(ppm uint64) float64 {
	var count, seen uint64
	for i := range latencies {
		count += latencies[i].Load()
	}
	if count == 0 {
		return 0
	}
	rank := (count*ppm + 999999) / 1000000
	if rank == 0 {
		rank = 1
	}
	value := latencyMax.Load()
	for i := range latencies {
		seen += latencies[i].Load()
		if seen >= rank {
			value = least(upper(i), value)
			break
		}
	}
	return float64(value) / 1e3
}
