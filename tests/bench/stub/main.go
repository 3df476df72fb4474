// stub stands in for the platform in the bench: HTTP/1.1 with keep-alive over TLS, a fixed latency, and little CPU of its own.
// It counts what was asked twice, out of order or side by side: a request is its "Caller" (digits that grow in the order of the
// requests), an order is its "Callee". The counts are at /stats of a second, plain address.
package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

type keyState struct {
	max            int64
	inflight, peak int32
}
type shard struct {
	sync.Mutex
	seen map[int64]int32
	keys map[int64]*keyState
}

var (
	shards                                             [64]shard
	total, unique, dup, dupEvents, order, overlap, bad atomic.Int64
	inflight, inflightMax, conns, connsMax, connsTotal atomic.Int64
	firstNs, lastNs                                    atomic.Int64
	latency                                            = flag.Duration("latency", 50*time.Millisecond, "fixed answer latency")
	tlsAddr                                            = flag.String("addr", "127.0.0.1:9443", "HTTPS address")
	statAddr                                           = flag.String("stats", "127.0.0.1:9444", "plain HTTP address of /stats")
	cert                                               = flag.String("cert", "cert/cert.pem", "")
	plain                                              = flag.Bool("plain", false, "without TLS")
	key                                                = flag.String("key", "cert/key.pem", "")
	answer                                             = []byte(`{"Flag":1,"Msg":"8617115230000"}`)
	bCaller, bCallee, bPath, bEnd                      = []byte(`"Caller"`), []byte(`"Callee"`), []byte("POST /20171220/bind/callEvent/v1?sig="), []byte("\r\n\r\n")
)

func num(b, name []byte) int64 {
	i := bytes.Index(b, name)
	if i < 0 {
		return -1
	}
	i += len(name)
	for i < len(b) && (b[i] < '0' || b[i] > '9') {
		if b[i] == ',' || b[i] == '}' {
			return -1
		}
		i++
	}
	v := int64(0)
	for ; i < len(b) && b[i] >= '0' && b[i] <= '9'; i++ {
		v = v*10 + int64(b[i]-'0')
	}
	return v
}

func maxTo(a *atomic.Int64, v int64) {
	for o := a.Load(); v > o && !a.CompareAndSwap(o, v); o = a.Load() {
	}
}

func begin(caller, callee int64) {
	now := time.Now().UnixNano()
	firstNs.CompareAndSwap(0, now)
	lastNs.Store(now)
	total.Add(1)
	maxTo(&inflightMax, inflight.Add(1))
	s := &shards[uint64(callee)&63]
	s.Lock()
	n := s.seen[caller] + 1
	s.seen[caller] = n
	k := s.keys[callee]
	if k == nil {
		k = &keyState{}
		s.keys[callee] = k
	}
	if n > 1 {
		dup.Add(1)
		if n == 2 {
			dupEvents.Add(1)
		}
	} else {
		unique.Add(1)
		if caller < k.max {
			order.Add(1)
		}
	}
	if caller > k.max {
		k.max = caller
	}
	if k.inflight++; k.inflight > 1 {
		overlap.Add(1)
	}
	if k.inflight > k.peak {
		k.peak = k.inflight
	}
	s.Unlock()
}
func end(callee int64) {
	s := &shards[uint64(callee)&63]
	s.Lock()
	s.keys[callee].inflight--
	s.Unlock()
	inflight.Add(-1)
}

var contentLength = []byte("content-length:")

func clen(h []byte) int {
	for i := 0; i+15 < len(h); i++ {
		if h[i] == '\n' && (h[i+1]|32) == 'c' && bytes.EqualFold(h[i+1:i+16], contentLength) {
			j := i + 16
			for j < len(h) && h[j] == ' ' {
				j++
			}
			v := 0
			for ; j < len(h) && h[j] >= '0' && h[j] <= '9'; j++ {
				v = v*10 + int(h[j]-'0')
			}
			return v
		}
	}
	return 0
}

func serve(c net.Conn) {
	maxTo(&connsMax, conns.Add(1))
	connsTotal.Add(1)
	defer func() { c.Close(); conns.Add(-1) }()
	ok := []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json;charset=utf-8\r\nContent-Length: " + strconv.Itoa(len(answer)) + "\r\n\r\n" + string(answer))
	no := []byte("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
	buf := make([]byte, 4096)
	n := 0
	for {
		h := -1
		for {
			if h = bytes.Index(buf[:n], bEnd); h >= 0 {
				break
			}
			if n == len(buf) {
				return
			}
			r, err := c.Read(buf[n:])
			if err != nil {
				return
			}
			n += r
		}
		need := h + 4 + clen(buf[:h+2])
		if need > len(buf) {
			return
		}
		if n < need {
			if bytes.Contains(buf[:h], []byte("100-continue")) {
				c.Write([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
			}
			r, err := io.ReadFull(c, buf[n:need])
			if err != nil {
				return
			}
			n += r
		}
		body := buf[h+4 : need]
		out := ok
		if !bytes.HasPrefix(buf[:n], bPath) {
			bad.Add(1)
			out = no
		} else if caller, callee := num(body, bCaller), num(body, bCallee); caller < 0 || callee < 0 {
			bad.Add(1)
			out = no
		} else {
			begin(caller, callee)
			if *latency > 0 {
				time.Sleep(*latency)
			}
			end(callee)
		}
		if _, err := c.Write(out); err != nil {
			return
		}
		copy(buf, buf[need:n])
		n -= need
	}
}

func stats() map[string]any {
	peak := int32(0)
	keys := 0
	for i := range shards {
		s := &shards[i]
		s.Lock()
		keys += len(s.keys)
		for _, k := range s.keys {
			peak = max(peak, k.peak)
		}
		s.Unlock()
	}
	var ru syscall.Rusage
	syscall.Getrusage(0, &ru)
	return map[string]any{"total": total.Load(), "unique": unique.Load(), "dup_posts": dup.Load(), "dup_events": dupEvents.Load(),
		"order_violations": order.Load(), "overlaps": overlap.Load(), "max_concurrent_per_key": peak, "keys": keys, "bad": bad.Load(),
		"inflight_max": inflightMax.Load(), "conns_max": connsMax.Load(), "conns_total": connsTotal.Load(), "first_ms": firstNs.Load() / 1e6, "last_ms": lastNs.Load() / 1e6,
		"cpu_s": float64(ru.Utime.Sec+ru.Stime.Sec) + float64(ru.Utime.Usec+ru.Stime.Usec)/1e6}
}

func main() {
	flag.Parse()
	for i := range shards {
		shards[i].seen, shards[i].keys = map[int64]int32{}, map[int64]*keyState{}
	}
	l, err := net.Listen("tcp", *tlsAddr)
	if err != nil {
		panic(err)
	}
	if !*plain {
		crt, err := tls.LoadX509KeyPair(*cert, *key)
		if err != nil {
			panic(err)
		}
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{crt}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
	}
	go func() {
		http.HandleFunc("/stats", func(w http.ResponseWriter, r *http.Request) { json.NewEncoder(w).Encode(stats()) })
		http.HandleFunc("/unique", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, unique.Load()) })
		panic(http.ListenAndServe(*statAddr, nil))
	}()
	sig := make(chan os.Signal, 1)
	signal.Notify(sig, syscall.SIGTERM, syscall.SIGINT)
	go func() { <-sig; os.Exit(0) }()
	for {
		c, err := l.Accept()
		if err != nil {
			continue
		}
		go serve(c)
	}
}
