package main

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// The twins of rows_service.c.

func (b *netBench) sparse(ops uint64) {
	commands, replies := make(chan uint64, 1), make(chan uint64, 1)
	var done sync.WaitGroup
	done.Add(1)
	go func() {
		for n := range commands {
			b.streams[0].windowed(n, 1, 64, 1)
			replies <- n
		}
		done.Done()
	}()
	for n := uint64(0); n < ops; n++ {
		commands <- n
		<-replies
		time.Sleep(50 * time.Microsecond)
	}
	close(commands)
	done.Wait()
}

// Timers armed for 200 us and dropped, in rounds that end with a sleep of 1 us.
func timerStorm(rounds, batch uint64, timed bool) {
	timer := time.NewTimer(time.Hour)
	for r := uint64(0); r < rounds; r++ {
		start := time.Now()
		for i := uint64(0); i < batch; i++ {
			timer.Reset(200 * time.Microsecond)
			timer.Stop()
		}
		time.Sleep(time.Microsecond)
		if timed {
			record(start)
		}
	}
}

func (b *netBench) deadline(ops uint64) uint64 {
	b.openFile()
	buf := make([]byte, blockBytes)
	var read uint64
	for part := uint64(0); part < ops/1024; part++ {
		timerStorm(32, 4, false)
		for i := uint64(0); i < 64; i++ {
			read += b.readBlock(buf, (part*64+i)%256)
		}
		b.rotate(1024, 1, 0, 256, 1, nil, nil)
	}
	return read
}

func (b *netBench) churn(ops uint64) {
	b.each(func(s *stream) {
		for i := uint64(0); i < ops/streamsCount; i++ {
			conn := b.dial()
			one := stream{conn: conn, buf: s.buf}
			one.windowed(i, 1, 256, 1)
			s.sum += one.sum
			check(conn.SetLinger(0))
			check(conn.Close())
		}
	})
}

func timerStormPass(ops uint64) (uint64, error) {
	timerStorm(ops, 8, true)
	return ops * 8, nil
}

func startPass(ops uint64) (uint64, error) { return ops, nil }

// fs: a request is a cached read, then a round trip.
func (b *netBench) fs(ops uint64) uint64 {
	b.openFile()
	buf := make([]byte, blockBytes)
	var read uint64
	for i := uint64(0); i < ops; i++ {
		read += b.readBlock(buf, i%128)
		b.streams[0].windowed(i, 1, 256, 1)
	}
	return read
}

const firstK = 2

// firstK: the first 2 answers on 8 streams end a request; the reads that still wait are canceled.
func (b *netBench) firstK(ops uint64) uint64 {
	var canceled uint64
	for n := uint64(0); n < ops; n++ {
		start := time.Now()
		canceled += b.race(n)
		record(start)
	}
	return canceled
}

func (b *netBench) race(n uint64) uint64 {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var answers, canceled atomic.Uint64
	b.each(func(s *stream) {
		if (s.id+streamsCount-firstK*n%streamsCount)%streamsCount < firstK {
			s.exchange(n, 1, 256)
			if answers.Add(1) == firstK {
				cancel()
			}
			return
		}
		s.readCanceled(ctx)
		canceled.Add(1)
	})
	return canceled.Load()
}

// readCanceled waits for what never comes until ctx ends: a connection's deadline is how
// a read is canceled in Go.
func (s *stream) readCanceled(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { s.conn.SetReadDeadline(time.Unix(1, 0)) })
	var one [1]byte
	if _, err := s.conn.Read(one[:]); !errors.Is(err, os.ErrDeadlineExceeded) {
		check(errors.New("first k: a loser was not canceled"))
	}
	stop()
	check(s.conn.SetReadDeadline(time.Time{}))
}
