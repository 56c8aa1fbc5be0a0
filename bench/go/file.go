package main

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

const (
	blocksCount = 4096
	namesCount  = 64
)

// newFile is a file of 16 MiB in the page cache: each block holds its number and 0xA5.
func newFile() *os.File {
	file, err := os.CreateTemp("", "spg-bench-")
	check(err)
	check(os.Remove(file.Name()))
	block := make([]byte, blockBytes)
	fill(block)
	for i := uint64(0); i < blocksCount; i++ {
		binary.LittleEndian.PutUint64(block, i)
		_, err := file.WriteAt(block, int64(i*blockBytes))
		check(err)
	}
	check(file.Sync())
	return file
}

func fill(block []byte) {
	for i := range block {
		block[i] = 0xA5
	}
}

func blockValue(block []byte) uint64 {
	return binary.LittleEndian.Uint64(block) + uint64(block[8])
}

// writeOne writes what is there already.
func writeOne(file *os.File, buf []byte, i uint64) uint64 {
	i = mix(i) % blocksCount
	fill(buf)
	binary.LittleEndian.PutUint64(buf, i)
	_, err := file.WriteAt(buf, int64(i*blockBytes))
	check(err)
	return blockValue(buf)
}

// atOnce runs one(i) for all i below ops in depth goroutines and sums up.
func atOnce(depth int, ops uint64, one func(buf []byte, i uint64) uint64) uint64 {
	sums := make([]uint64, depth)
	var done sync.WaitGroup
	done.Add(depth)
	for d := range sums {
		go func(d int) {
			buf := make([]byte, blockBytes)
			var sum uint64
			for i := uint64(d); i < ops; i += uint64(depth) {
				sum += one(buf, i)
			}
			sums[d] = sum
			done.Done()
		}(d)
	}
	done.Wait()
	var sum uint64
	for _, s := range sums {
		sum += s
	}
	return sum
}

func writeRow(depth int) func(o options, r *report) error {
	return func(o options, r *report) error {
		file := newFile()
		return measure(o, r, func(ops uint64) (uint64, error) {
			return atOnce(depth, ops, func(buf []byte, i uint64) uint64 { return writeOne(file, buf, i) }), nil
		})
	}
}

// What does os.Stat cost, in 32 goroutines? File i of 64 is i bytes long.
func statRow(o options, r *report) error {
	dir, err := os.MkdirTemp("", "spg-bench-")
	check(err)
	defer os.RemoveAll(dir)
	names := make([]string, namesCount)
	for i := range names {
		names[i] = filepath.Join(dir, strconv.Itoa(i))
		check(os.WriteFile(names[i], make([]byte, i), 0o600))
	}
	return measure(o, r, func(ops uint64) (uint64, error) {
		return atOnce(32, ops, func(_ []byte, i uint64) uint64 {
			info, err := os.Stat(names[i%namesCount])
			check(err)
			return uint64(info.Size())
		}), nil
	})
}

// walkDirRow counts what du -s counts, of a tree without hard links, and prints as du does.
func walkDirRow(o options, _ *report) error {
	var blocks int64
	err := filepath.WalkDir(o.dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			blocks += info.Sys().(*syscall.Stat_t).Blocks
		}
		return err
	})
	fmt.Printf("%d\t%s\n", blocks/2, o.dir)
	return err
}
