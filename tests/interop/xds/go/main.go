// gRPC-Go's own discovery client, driven by our server: a health service that says who it is, and a client that asks for it by
// an xds name for a while and writes down who answered each time.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	_ "google.golang.org/grpc/xds"
)

type server struct {
	health.UnimplementedHealthServer
	name string
}

func (s server) Check(ctx context.Context, _ *health.HealthCheckRequest) (*health.HealthCheckResponse, error) {
	if err := grpc.SetHeader(ctx, metadata.Pairs("served-by", s.name)); err != nil {
		return nil, err
	}
	return &health.HealthCheckResponse{Status: health.HealthCheckResponse_SERVING}, nil
}

func serve(address, name string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	grpcServer := grpc.NewServer()
	health.RegisterHealthServer(grpcServer, server{name: name})
	return grpcServer.Serve(listener)
}

func load(target, seconds, path string) error {
	lasts, err := strconv.Atoi(seconds)
	if err != nil {
		return err
	}
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer out.Close()
	connection, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	client := health.NewHealthClient(connection)
	for end := time.Now().Add(time.Duration(lasts) * time.Second); time.Now().Before(end); {
		var header metadata.MD
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		_, err := client.Check(ctx, &health.HealthCheckRequest{}, grpc.Header(&header))
		cancel()
		if err != nil {
			fmt.Fprintf(out, "failed: %v\n", status.Convert(err))
			// What fails two requests in a row is one failure, if it is over soon.
			time.Sleep(50 * time.Millisecond)
		} else {
			fmt.Fprintln(out, header.Get("served-by")[0])
		}
		time.Sleep(2 * time.Millisecond)
	}
	return nil
}

func main() {
	var err error
	switch {
	case len(os.Args) == 4 && os.Args[1] == "serve":
		err = serve(os.Args[2], os.Args[3])
	case len(os.Args) == 5 && os.Args[1] == "load":
		err = load(os.Args[2], os.Args[3], os.Args[4])
	default:
		err = fmt.Errorf("serve ADDRESS NAME | load TARGET SECONDS FILE")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
