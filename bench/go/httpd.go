package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

// httpdRow serves the folder o.dir over HTTP/1.1 until SIGTERM, as net/http's file server
// does it; measured from outside.
func httpdRow(o options, r *report) error {
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
	http.Serve(ln, http.FileServer(http.Dir(o.dir)))
	return nil
}
