package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	streamsCount = 8
	blockBytes   = 4096
)

// stream is one connection to the peer. Twin of struct stream in rows_net.c.
type stream struct {
	conn net.Conn
	id   uint64
	buf  []byte
	sum  uint64
}

type netBench struct {
	addr    string
	streams []*stream
	file    *os.File
}

func check(err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "spgbench: %v\n", err)
		os.Exit(1)
	}
}

func (b *netBench) dial() *net.TCPConn {
	conn, err := net.Dial("tcp", b.addr)
	check(err)
	return conn.(*net.TCPConn) // no delay is net's default
}

func (b *netBench) open() {
	for i := 0; len(b.streams) < streamsCount; i++ {
		b.streams = append(b.streams, &stream{conn: b.dial(), id: uint64(i), buf: make([]byte, 32*4096)})
	}
	for _, s := range b.streams {
		s.sum = 0
	}
}

func (b *netBench) sum() uint64 {
	var sum uint64
	for i, s := range b.streams {
		sum += s.sum * uint64(i+1)
	}
	return sum
}

func least(a, b uint64) uint64 {
	if a < b {
		return a
	}
	return b
}

// exchange sends frames there and back at once.
func (s *stream) exchange(first, frames, payload uint64) {
	for k := uint64(0); k < frames; k++ {
		s.buf[k*payload] = byte(first + k)
	}
	_, err := s.conn.Write(s.buf[:frames*payload])
	check(err)
	_, err = io.ReadFull(s.conn, s.buf[:frames*payload])
	check(err)
	for k := uint64(0); k < frames; k++ {
		s.sum += uint64(s.buf[k*payload])
	}
}

// windowed sends frames there and back, up to window at once. Each window is timed.
func (s *stream) windowed(first, frames, payload, window uint64) {
	for i := uint64(0); i < frames; {
		batch := least(frames-i, window)
		start := time.Now()
		s.exchange(first+i, batch, payload)
		record(start)
		i += batch
	}
}

func (b *netBench) each(fn func(s *stream)) {
	var done sync.WaitGroup
	done.Add(streamsCount)
	for _, s := range b.streams {
		go func(s *stream) {
			fn(s)
			done.Done()
		}(s)
	}
	done.Wait()
}

func (b *netBench) rtt(ops uint64) {
	b.streams[0].windowed(0, ops, 256, 1)
}

func (b *netBench) window(ops uint64) {
	b.streams[0].windowed(0, ops, 4096, 32)
}

func (b *netBench) imbalanced(ops uint64) {
	b.each(func(s *stream) {
		frames := ops / 23
		if s.id == 0 {
			frames = ops * 16 / 23
		}
		s.windowed(0, frames, 4096, 32)
	})
}

func (b *netBench) rotationSync(ops uint64) {
	for step := uint64(0); step < ops/46; step++ {
		b.each(func(s *stream) {
			frames := uint64(2)
			if step%streamsCount == s.id {
				frames = 32
			}
			s.windowed(step, frames, 4096, 32)
		})
	}
}

func (b *netBench) rotate(steps, heavy, light, payload, window uint64, owners []chan uint64, sums []atomic.Uint64) {
	b.each(func(s *stream) {
		for step := uint64(0); step < steps; step++ {
			frames := light
			if step%streamsCount == s.id {
				frames = heavy
			}
			s.windowed(step, frames, payload, window)
			for i := uint64(0); owners != nil && i < frames*16; i++ {
				owners[step%2] <- 1
			}
			for i := uint64(0); sums != nil && i < frames*16; i++ {
				sums[step%2].Add(1)
			}
		}
	})
}

func (b *netBench) rotation(ops uint64) {
	b.rotate(ops/46, 32, 2, 4096, 32, nil, nil)
}

func (b *netBench) keyed(ops uint64) uint64 {
	owners := []chan uint64{make(chan uint64, 4096), make(chan uint64, 4096)}
	var totals [2]uint64
	var done sync.WaitGroup
	done.Add(2)
	for i := range owners {
		go func(i int) {
			for n := range owners[i] {
				totals[i] += n
			}
			done.Done()
		}(i)
	}
	b.rotate(ops/46, 32, 2, 4096, 32, owners, nil)
	close(owners[0])
	close(owners[1])
	done.Wait()
	return totals[0] + totals[1]*3
}

// keyedSum is keyed where only the owners' sums matter.
func (b *netBench) keyedSum(ops uint64) uint64 {
	var totals [2]atomic.Uint64
	b.rotate(ops/46, 32, 2, 4096, 32, nil, totals[:])
	return totals[0].Load() + totals[1].Load()*3
}

func cpuStage(seed, stream, frame, iters uint64) uint64 {
	x := seed<<40 ^ stream<<17 ^ frame<<3 ^ 0x9E3779B97F4A7C15
	for i := uint64(0); i < iters; i++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		x += i * 0x27D4EB2D
	}
	return x
}

func (b *netBench) pipeline(ops uint64) {
	frames := ops / streamsCount
	b.each(func(s *stream) {
		for first := uint64(0); first < frames; first += 32 {
			batch := least(frames-first, 32)
			s.windowed(first, batch, 4096, 32)
			for frame := first; frame < first+batch; frame++ {
				iters := uint64(150)
				if frame/64%streamsCount == s.id {
					iters = 4000
				}
				s.sum += cpuStage(1, s.id, frame, iters)
			}
		}
	})
}

func (b *netBench) flip(ops uint64) {
	for n := uint64(0); n < ops/110; n++ {
		b.each(func(s *stream) {
			frames := uint64(2)
			if n/10%streamsCount == s.id {
				frames = 96
			}
			s.windowed(n, frames, 4096, 32)
		})
	}
}

func (b *netBench) openFile() {
	if b.file != nil {
		return
	}
	file, err := os.CreateTemp("", "spg-bench-")
	check(err)
	check(os.Remove(file.Name()))
	block := make([]byte, blockBytes)
	for i := range block {
		block[i] = 0xA5
	}
	for i := uint64(0); i < 4096; i++ {
		binary.LittleEndian.PutUint64(block, i)
		_, err := file.WriteAt(block, int64(i*blockBytes))
		check(err)
	}
	check(file.Sync())
	b.file = file
}

func (b *netBench) readBlock(buf []byte, n uint64) uint64 {
	_, err := b.file.ReadAt(buf, int64(n*blockBytes))
	check(err)
	return binary.LittleEndian.Uint64(buf) + uint64(buf[8])
}

// timedRead times every sixteenth read: two looks at the clock cost a tenth of one.
func (b *netBench) timedRead(buf []byte, i uint64) uint64 {
	if i/32%16 != 0 {
		return b.readBlock(buf, mix(i)%4096)
	}
	start := time.Now()
	sum := b.readBlock(buf, mix(i)%4096)
	record(start)
	return sum
}

func (b *netBench) readRTT(ops uint64) uint64 {
	b.openFile()
	buf := make([]byte, blockBytes)
	var sum uint64
	for i := uint64(0); i < ops; i++ {
		sum += b.timedRead(buf, i)
	}
	return sum
}

func (b *netBench) readQD32(ops uint64) uint64 {
	b.openFile()
	var sums [32]uint64
	var done sync.WaitGroup
	done.Add(32)
	for i := range sums {
		go func(i int) {
			buf := make([]byte, blockBytes)
			for n := uint64(i); n < ops; n += 32 {
				sums[i] += b.timedRead(buf, n)
			}
			done.Done()
		}(i)
	}
	done.Wait()
	var sum uint64
	for _, s := range sums {
		sum += s
	}
	return sum
}

// netRow measures fn, a workload over the streams; what it returns is added to their sum.
func netRow(fn func(b *netBench, ops uint64) uint64) func(o options, r *report) error {
	return func(o options, r *report) error {
		b := &netBench{addr: o.addr}
		return measure(o, r, func(ops uint64) (uint64, error) {
			b.open()
			more := fn(b, ops)
			return b.sum() + more, nil
		})
	}
}

func netOnly(fn func(b *netBench, ops uint64)) func(o options, r *report) error {
	return netRow(func(b *netBench, ops uint64) uint64 {
		fn(b, ops)
		return 0
	})
}

func fileRow(fn func(b *netBench, ops uint64) uint64) func(o options, r *report) error {
	return func(o options, r *report) error {
		b := &netBench{}
		return measure(o, r, func(ops uint64) (uint64, error) { return fn(b, ops), nil })
	}
}
