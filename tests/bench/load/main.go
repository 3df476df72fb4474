// load writes the requests and reads the results of the bench.
//
//	load topics   makes the topics
//	load drop     takes them away
//	load fill     writes -n requests, as fast as it can or -rate a second
//	load verify   reads all results and prints what is missing, double or out of order, and how long each took
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

var (
	brokers = flag.String("b", "127.0.0.1:29192", "bootstrap")
	in      = flag.String("in", "call-requests", "")
	out     = flag.String("out", "call-results", "")
	dead    = flag.String("dead", "dead-letters", "")
	n       = flag.Int("n", 10000, "events")
	parts   = flag.Int("p", 8, "topics: partitions of the requests")
	others  = flag.Int("others", 8, "topics: partitions of the others")
	copies  = flag.Int("rf", 1, "topics: replicas")
	size    = flag.Int("size", 0, "fill: bytes of a request, at least what it needs")
	seed    = flag.Int64("seed", 1, "")
	zs      = flag.Float64("s", 1.1, "Zipf exponent")
	zv      = flag.Float64("v", 1, "Zipf offset: P(k) ~ (v+k)^-s; v=1 is the plain Zipf, larger v flattens the head")
	orders  = flag.Uint64("orders", 100000, "")
	timeout = flag.Duration("timeout", 15*time.Second, "verify: give up after this without a new record")
	settle  = flag.Duration("settle", 700*time.Millisecond, "verify: after the last expected id wait so long for duplicates")
	idf     = flag.String("id", "Caller", "verify: JSON member of the result that holds the event id")
	hard    = flag.Duration("max", 20*time.Second, "verify: give up after this in any case")
	rate    = flag.Float64("rate", 0, "fill: requests a second; 0: as fast as it goes")
	first   = flag.Int("first", 0, "fill: number of the first request")
	skip    = flag.Int64("skip", 0, "verify: times count from this request on")
	since   = flag.Int64("since", 0, "verify: report first append after this unix ms")
)

func die(e error) {
	if e != nil {
		fmt.Fprintln(os.Stderr, e)
		os.Exit(1)
	}
}

func topics(ctx context.Context) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(*brokers, ",")...))
	die(err)
	defer cl.Close()
	adm := kadm.NewClient(cl)
	// The broker's time in the results and the sender's in the requests: their difference is what a requester waits for.
	for topic, kind := range map[string]string{*in: "CreateTime", *out: "LogAppendTime", *dead: "CreateTime"} {
		count := *others
		if topic == *in {
			count = *parts
		}
		for i := 0; ; i++ {
			r, err := adm.CreateTopic(ctx, int32(count), int16(*copies), map[string]*string{"message.timestamp.type": &kind}, topic)
			if err == nil && r.Err == nil {
				break
			}
			if i > 100 {
				die(fmt.Errorf("create %s: %v %v", topic, err, r.Err))
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// The broker takes its time over a topic of many partitions: whoever needs topics at once makes others.
func drop(ctx context.Context) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(*brokers, ",")...))
	die(err)
	defer cl.Close()
	_, err = kadm.NewClient(cl).DeleteTopics(ctx, *in, *out, *dead)
	die(err)
}

var noise = func() string { // compresses badly, so that a request is as large on its way as it says
	b := make([]byte, 1<<17)
	r := rand.New(rand.NewSource(1))
	for i := range b {
		b[i] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-"[r.Intn(64)]
	}
	return string(b)
}()

// The request with a member more that nobody reads, where it is to be larger.
func padded(v string) string {
	const member = `,"note":""`
	n := *size - len(v) - len(member)
	if n <= 0 {
		return v
	}
	from := rand.Intn(len(noise) - min(n, len(noise)-1))
	return v[:len(v)-1] + `,"note":"` + noise[from:min(from+n, len(noise))] + `"}`
}

func fill(ctx context.Context) {
	linger := 5 * time.Millisecond
	if *rate > 0 {
		linger = 0
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(*brokers, ",")...), kgo.ProducerLinger(linger), kgo.MaxBufferedRecords(100000),
		kgo.UnknownTopicRetries(-1)) // of a thousand new partitions a busy broker learns late
	die(err)
	began := time.Now()
	z := rand.NewZipf(rand.New(rand.NewSource(*seed)), *zs, *zv, *orders-1)
	cnt := map[uint64]int{}
	var perr error
	for i := 0; i < *n; i++ {
		if *rate > 0 {
			time.Sleep(time.Until(began.Add(time.Duration(float64(i) / *rate * float64(time.Second)))))
		}
		o := z.Uint64()
		cnt[o]++
		id := "order-" + strconv.FormatUint(o, 10)
		v := fmt.Sprintf(`{"orderId":"%s","requestId":"1%010d","Caller":"1%010d","Callee":"%d","Direct":"0"}`, id, *first+i, *first+i, 13000000000+o)
		v = padded(v)
		cl.Produce(ctx, &kgo.Record{Topic: *in, Key: []byte(id), Value: []byte(v)}, func(_ *kgo.Record, e error) {
			if e != nil {
				perr = e
			}
		})
	}
	die(cl.Flush(ctx))
	die(perr)
	m := 0
	for _, c := range cnt {
		m = max(m, c)
	}
	json.NewEncoder(os.Stdout).Encode(map[string]any{"n": *n, "keys": len(cnt), "max_key_events": m})
}

func verify(ctx context.Context) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(*brokers, ",")...), kgo.ConsumeTopics(*out, *in), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(100*time.Millisecond))
	die(err)
	defer cl.Close()
	seen := map[int64]int{}
	keymax := map[string]int64{}
	var count, dups, viol, badkey, notok int
	first, last, firstSince := int64(math.MaxInt64), int64(0), int64(0)
	var app []int64
	asked, answered := map[int64]int64{}, map[int64]int64{}
	quiet, began := time.Now(), time.Now()
	for {
		c2, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		f := cl.PollFetches(c2)
		cancel()
		f.EachRecord(func(r *kgo.Record) {
			quiet = time.Now()
			var m map[string]any
			d := json.Unmarshal(r.Value, &m)
			if r.Topic == *in {
				caller, _ := m["Caller"].(string)
				if id, e := strconv.ParseInt(caller, 10, 64); e == nil {
					asked[id] = r.Timestamp.UnixMilli()
				}
				return
			}
			count++
			ids, _ := m[*idf].(string)
			id, e := strconv.ParseInt(ids, 10, 64)
			if d != nil || e != nil {
				notok++
				return
			}
			if o, _ := m["orderId"].(string); o != string(r.Key) {
				badkey++
			}
			ms := r.Timestamp.UnixMilli()
			app = append(app, ms)
			first, last = min(first, ms), max(last, ms)
			if ms > *since && (firstSince == 0 || ms < firstSince) {
				firstSince = ms
			}
			k := string(r.Key)
			if seen[id]++; seen[id] > 1 {
				dups++
				return
			}
			answered[id] = ms
			if id < keymax[k] {
				viol++
			} else {
				keymax[k] = id
			}
		})
		q := time.Since(quiet)
		if time.Since(began) > *hard || len(seen) >= *n && q > *settle || q > *timeout {
			break
		}
	}
	var waits []int64
	for id, ms := range answered {
		if from, ok := asked[id]; ok && id >= 10000000000+*skip {
			waits = append(waits, ms-from)
		}
	}
	sort.Slice(waits, func(i, j int) bool { return waits[i] < waits[j] })
	wait := func(q float64) int64 {
		if len(waits) == 0 {
			return -1
		}
		return waits[int(q*float64(len(waits)-1))]
	}
	sort.Slice(app, func(i, j int) bool { return app[i] < app[j] })
	p := func(q float64) int64 {
		if len(app) == 0 {
			return 0
		}
		return app[int(q*float64(len(app)-1))]
	}
	mid := 0.0 // rate between the 20 % and the 90 % quantile of results: steady state without start and tail
	if d := p(.9) - p(.2); d > 0 {
		mid = 0.7 * float64(len(app)) / (float64(d) / 1e3)
	}
	json.NewEncoder(os.Stdout).Encode(map[string]any{"results": count, "unique": len(seen), "missing": *n - len(seen), "dups": dups,
		"order_violations": viol, "bad": notok + badkey, "first_ms": first, "last_ms": last, "elapsed_s": float64(last-first) / 1e3, "mid_eps": math.Round(mid), "first_since_ms": firstSince, "latency_ms_p50": wait(.5), "latency_ms_p99": wait(.99), "latency_ms_max": wait(1)})
}

func main() {
	flag.CommandLine.Parse(os.Args[2:])
	ctx := context.Background()
	switch os.Args[1] {
	case "topics":
		topics(ctx)
	case "drop":
		drop(ctx)
	case "fill":
		fill(ctx)
	case "verify":
		verify(ctx)
	}
}
