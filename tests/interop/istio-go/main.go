// Interop with Istio's and gRPC's own Go code: Istio's HBONE client and server (istio.io/istio/pkg/hbone), its
// certificate service stub (istio.io/api), gRPC-Go with Envoy's discovery stubs, and go-spiffe as verifier.
//
// It starts our control plane and one node proxy from their binaries, plays every peer itself, and prints a matrix.
// Everything runs on loopback; it needs neither root nor Kubernetes.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"
)

type check struct {
	peer string
	what string
	run  func(context.Context, *scene) (string, error)
}

var checks = []check{
	{"grpc-go + istio.io/api", "CreateCertificate by node token, impersonating", issues},
	{"grpc-go + istio.io/api", "a foreign token is refused", refusesToken},
	{"grpc-go + istio.io/api", "an identity of another node is refused", refusesOtherNode},
	{"go-spiffe", "the issued chain verifies against the published bundle", spiffeVerifies},
	{"grpc-go + Envoy stubs", "delta ADS: wildcard, ACK, decoded by Istio's types", discovers},
	{"grpc-go + Envoy stubs", "delta ADS: reconnect with held versions resends nothing", reconnects},
	{"istio pkg/hbone client", "bytes through our node proxy", hboneClient},
	{"istio pkg/hbone client", "a denied identity gets 401", hboneDenied},
	{"istio pkg/hbone client", "an authority with another address gets 400", hboneWrongAddress},
	{"istio pkg/hbone server", "bytes from our node proxy", hboneServer},
	{"istio pkg/hbone server", "a server of another identity is refused", hboneImpostor},
}

func main() {
	bin := flag.String("bin", "target/debug", "folder of the control-plane and node-proxy binaries")
	keep := flag.Bool("keep", false, "keep the working folder and print where it is")
	flag.Parse()
	os.Exit(run(*bin, *keep))
}

func run(bin string, keep bool) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()

	s, err := layScene(ctx, bin, keep)
	if err != nil {
		fmt.Fprintln(os.Stderr, "cannot start:", err)
		return 1
	}
	defer s.stop()

	failed := 0
	for _, c := range checks {
		one, done := context.WithTimeout(ctx, 15*time.Second)
		seen, err := c.run(one, s)
		done()
		mark := "ok  "
		if err != nil {
			failed++
			mark, seen = "FAIL", err.Error()
		}
		fmt.Printf("%s  %-24s %-58s %s\n", mark, c.peer, c.what, seen)
	}
	fmt.Printf("\n%d passed, %d failed\n", len(checks)-failed, failed)
	if failed > 0 {
		s.logs()
		return 1
	}
	return 0
}
