package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
)

// echoRow serves until SIGTERM. What it costs is measured from outside: the CPU of
// this process per request. One goroutine a connection, TCP_NODELAY (net's default).
func echoRow(o options, r *report) error {
	ln, err := net.Listen("tcp", o.addr)
	if err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-stop
		ln.Close()
	}()

	fmt.Printf("listening on %s\n", ln.Addr())
	for {
		conn, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go echoConn(conn)
	}
}

func echoConn(conn net.Conn) {
	defer conn.Close()
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			if err != io.EOF && !errors.Is(err, syscall.ECONNRESET) {
				fmt.Fprintf(os.Stderr, "spgbench: echo: %v\n", err)
			}
			return
		}
		if _, err := conn.Write(buf[:n]); err != nil {
			return
		}
	}
}
