package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
)

// Echo of 256 bytes between the goroutines of one program. Twin of rows_local.c.

const (
	clientsCount = 16
	messageBytes = 256
)

// ask makes ops round trips and sums up what comes back.
func ask(conn net.Conn, ops uint64) uint64 {
	buf := make([]byte, messageBytes)
	for i := range buf {
		buf[i] = 0x5A
	}
	var sum uint64
	for i := uint64(0); i < ops; i++ {
		binary.NativeEndian.PutUint64(buf, mix(i))
		_, err := conn.Write(buf)
		check(err)
		_, err = io.ReadFull(conn, buf)
		check(err)
		sum += binary.NativeEndian.Uint64(buf) + uint64(buf[messageBytes-1])
	}
	return sum
}

func echoAll(o options, r *report, dial func() net.Conn) error {
	conns := make([]net.Conn, clientsCount)
	for i := range conns {
		conns[i] = dial()
		defer conns[i].Close()
	}
	return measure(o, r, func(ops uint64) (uint64, error) {
		sums := make([]uint64, clientsCount)
		var done sync.WaitGroup
		done.Add(clientsCount)
		for i := range conns {
			go func(i int) {
				sums[i] = ask(conns[i], ops/clientsCount)
				done.Done()
			}(i)
		}
		done.Wait()
		var sum uint64
		for _, s := range sums {
			sum += s
		}
		return sum, nil
	})
}

func echoUDPRow(o options, r *report) error {
	server, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	check(err)
	defer server.Close()
	go func() {
		buf := make([]byte, 4096)
		for {
			// The forms without an allocation.
			n, from, err := server.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, err = server.WriteToUDPAddrPort(buf[:n], from)
			check(err)
		}
	}()
	return echoAll(o, r, func() net.Conn {
		conn, err := net.Dial("udp4", server.LocalAddr().String())
		check(err)
		return conn
	})
}

func abstractName(suffix string) string {
	return fmt.Sprintf("@spg-bench-go-%d%s", os.Getpid(), suffix)
}

func echoUnixRow(o options, r *report) error {
	name := abstractName("")
	listener, err := net.Listen("unix", name)
	check(err)
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go echoConn(conn)
		}
	}()
	return echoAll(o, r, func() net.Conn {
		conn, err := net.Dial("unix", name)
		check(err)
		return conn
	})
}

func echoUnixgramRow(o options, r *report) error {
	at := &net.UnixAddr{Name: abstractName(""), Net: "unixgram"}
	server, err := net.ListenUnixgram("unixgram", at)
	check(err)
	defer server.Close()
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := server.ReadFromUnix(buf)
			if err != nil {
				return
			}
			_, err = server.WriteToUnix(buf[:n], from)
			check(err)
		}
	}()
	clients := 0
	return echoAll(o, r, func() net.Conn {
		clients++
		own := &net.UnixAddr{Name: abstractName(fmt.Sprint("-", clients)), Net: "unixgram"}
		conn, err := net.DialUnix("unixgram", own, at)
		check(err)
		return conn
	})
}
