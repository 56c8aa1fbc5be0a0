package main

import "fmt"

// The twins of rows_msg.c. A question and its answer are pingPongPass and
// pingPongThreadsPass of rows.go: unbuffered channels, the goroutines free or locked to
// threads of their own.

// One iteration: so many messages, then FLUSH, then the wait for its ACK.
const iteration = 2048

// message is one value, or FLUSH.
type message struct {
	value uint32
	flush bool
}

// What does a one-way message cost, one at a time, through a channel that holds an
// iteration? Expected: 40 to 80 ns.
func oneWayPass(ops uint64) (uint64, error) {
	values, ack := make(chan message, iteration), make(chan struct{})

	go func() {
		for at := uint64(0); at < ops; at += iteration {
			for i := at; i < ops && i < at+iteration; i++ {
				values <- message{value: uint32(mix(i))}
			}
			values <- message{flush: true}
			<-ack
		}
		close(values)
	}()

	var sum, count uint64
	for m := range values {
		if m.flush {
			ack <- struct{}{}
			continue
		}
		sum += uint64(m.value) ^ count
		count++
	}
	if count != ops {
		return 0, fmt.Errorf("%d values of %d", count, ops)
	}
	return sum, nil
}

// And in slices of 64, or of the whole iteration; nil is FLUSH. Expected: 2 to 10 ns a
// message.
func oneWayBatched(ops, batch uint64) (uint64, error) {
	batches, ack := make(chan []uint32, iteration), make(chan struct{})

	go func() {
		for at := uint64(0); at < ops; at += iteration {
			end := at + iteration
			if end > ops {
				end = ops
			}
			for first := at; first < end; first += batch {
				some := make([]uint32, 0, batch)
				for i := first; i < end && i < first+batch; i++ {
					some = append(some, uint32(mix(i)))
				}
				batches <- some
			}
			batches <- nil
			<-ack
		}
		close(batches)
	}()

	var sum, count uint64
	for some := range batches {
		if some == nil {
			ack <- struct{}{}
			continue
		}
		for _, value := range some {
			sum += uint64(value) ^ count
			count++
		}
	}
	if count != ops {
		return 0, fmt.Errorf("%d values of %d", count, ops)
	}
	return sum, nil
}

func oneWay64Pass(ops uint64) (uint64, error)  { return oneWayBatched(ops, 64) }
func oneWayAllPass(ops uint64) (uint64, error) { return oneWayBatched(ops, iteration) }

func init() {
	for name, p := range map[string]pass{
		"steady_ping_pong_rtt":                 pingPongPass,
		"steady_ping_pong_rtt_threads":         pingPongThreadsPass,
		"steady_one_way_send_drain":            oneWayPass,
		"steady_one_way_send_drain_batched_64": oneWay64Pass,
		"steady_one_way_send_drain_all":        oneWayAllPass,
	} {
		p := p // one for each row
		rows[name] = func(o options, r *report) error { return measure(o, r, p) }
	}
}
