// A control plane by go-control-plane: the state of a text file, to any client, in both variants of the protocol on one port.
// Every callback is told as a line of JSON.
//
// The file holds lines: `listen ADDRESS` (a listener of Envoy), `api NAME` (what gRPC calls `xds:///NAME`), `cluster NAME
// ADDRESS...`, `route CLUSTER...` (or `route CLUSTER=WEIGHT...`). `broken` before the first two makes one that is rejected.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/sotw/v3"
	server "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
)

// all is the key of the one snapshot that every client gets.
const all = "all"

type everybody struct{}

func (everybody) ID(*core.Node) string { return all }

func run(address, path string, partial bool) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	ctx := context.Background()
	// Its mode for ADS sends types in order, and answers a request that names resources only when it names all there are.
	snapshots := cache.NewSnapshotCache(!partial, everybody{}, nil)
	text, err := publish(ctx, snapshots, path, nil)
	if err != nil {
		return err
	}
	log := newLog()
	go follow(ctx, snapshots, path, text, log)
	grpcServer := grpc.NewServer()
	discovery.RegisterAggregatedDiscoveryServiceServer(grpcServer,
		server.NewServer(ctx, snapshots, log.callbacks(), sotw.WithOrderedADS()))
	log.write(event{Event: "ready", Version: versions(snapshots)})
	return grpcServer.Serve(listener)
}

// publish takes the file if it is another than before, and gives what it holds.
func publish(ctx context.Context, snapshots cache.SnapshotCache, path string, before []byte) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil || before != nil && bytes.Equal(text, before) {
		return before, err
	}
	snapshot, err := parse(string(text))
	if err != nil {
		return text, err
	}
	return text, snapshots.SetSnapshot(ctx, all, snapshot)
}

// follow looks at the file ten times a second: no notification tells alike of a file that is written and one put in its place.
func follow(ctx context.Context, snapshots cache.SnapshotCache, path string, text []byte, log *log) {
	for range time.Tick(100 * time.Millisecond) {
		now, err := publish(ctx, snapshots, path, text)
		switch {
		case err != nil:
			log.write(event{Event: "unreadable", Error: err.Error()})
		case !bytes.Equal(now, text):
			log.write(event{Event: "published", Version: versions(snapshots)})
		}
		text = now
	}
}

func main() {
	address := flag.String("listen", "127.0.0.1:18000", "where clients connect")
	partial := flag.Bool("partial", false, "answer also requests that name only some of the resources; types come in any order then")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "control [-listen ADDRESS] [-partial] FILE")
		os.Exit(2)
	}
	if err := run(*address, flag.Arg(0), *partial); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
