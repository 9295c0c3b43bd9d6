// gRPC-Go's own discovery client, driven by a discovery server: a health service that says who it is, and a client that asks
// for it by an xds name for a while and writes down who answered each time.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	_ "google.golang.org/grpc/xds"
)

type server struct {
	health.UnimplementedHealthServer
	name  string
	every uint64
	slow  time.Duration
	calls atomic.Uint64
}

func (s *server) Check(ctx context.Context, _ *health.HealthCheckRequest) (*health.HealthCheckResponse, error) {
	time.Sleep(s.slow)
	if call := s.calls.Add(1); s.every > 0 && call%s.every == 0 {
		return nil, status.Error(codes.Unavailable, s.name+" fails as it was told")
	}
	if err := grpc.SetHeader(ctx, metadata.Pairs("served-by", s.name)); err != nil {
		return nil, err
	}
	return &health.HealthCheckResponse{Status: health.HealthCheckResponse_SERVING}, nil
}

func serve(arguments []string) error {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	every := flags.Uint64("every", 0, "fail every so many calls")
	slow := flags.Duration("slow", 0, "how long a call takes")
	if err := flags.Parse(arguments); err != nil || flags.NArg() != 2 {
		return errors.New("serve [FLAGS] ADDRESS NAME")
	}
	listener, err := net.Listen("tcp", flags.Arg(0))
	if err != nil {
		return err
	}
	grpcServer := grpc.NewServer()
	health.RegisterHealthServer(grpcServer, &server{name: flags.Arg(1), every: *every, slow: *slow})
	return grpcServer.Serve(listener)
}

type caller struct {
	client health.HealthClient
	// Sent with each call.
	headers []string
	users   int
	most    int64
	made    atomic.Int64
	end     time.Time
	out     io.Writer
}

func (c *caller) work() {
	for time.Now().Before(c.end) {
		call := c.made.Add(1) - 1
		if c.most > 0 && call >= c.most {
			return
		}
		headers := c.headers
		if c.users > 0 {
			headers = append(headers[:len(headers):len(headers)], "user", strconv.FormatInt(call%int64(c.users), 10))
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		var header metadata.MD
		_, err := c.client.Check(metadata.AppendToOutgoingContext(ctx, headers...), &health.HealthCheckRequest{}, grpc.Header(&header))
		cancel()
		if err != nil {
			failed := status.Convert(err)
			fmt.Fprintf(c.out, "failed: %v: %s\n", failed.Code(), failed.Message())
			// What fails two requests in a row is one failure, if it is over soon.
			time.Sleep(50 * time.Millisecond)
		} else {
			fmt.Fprintln(c.out, header.Get("served-by")[0])
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func load(arguments []string) error {
	flags := flag.NewFlagSet("load", flag.ExitOnError)
	header := flags.String("header", "", "to send with each call, `name: value`")
	users := flags.Int("users", 0, "a header `user`, 0 to N - 1 in turn")
	calls := flags.Int64("calls", 0, "so many at most")
	parallel := flags.Int("parallel", 1, "so many at once")
	if err := flags.Parse(arguments); err != nil || flags.NArg() != 3 {
		return errors.New("load [FLAGS] TARGET SECONDS FILE")
	}
	lasts, err := strconv.Atoi(flags.Arg(1))
	if err != nil {
		return err
	}
	out, err := os.Create(flags.Arg(2))
	if err != nil {
		return err
	}
	defer out.Close()
	connection, err := grpc.NewClient(flags.Arg(0), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	caller := caller{client: health.NewHealthClient(connection), users: *users, most: *calls, out: out}
	caller.end = time.Now().Add(time.Duration(lasts) * time.Second)
	if name, value, found := strings.Cut(*header, ":"); found {
		caller.headers = []string{strings.TrimSpace(name), strings.TrimSpace(value)}
	}
	var workers sync.WaitGroup
	for range *parallel {
		workers.Go(caller.work)
	}
	workers.Wait()
	return nil
}

func main() {
	var err error
	switch {
	case len(os.Args) > 1 && os.Args[1] == "serve":
		err = serve(os.Args[2:])
	case len(os.Args) > 1 && os.Args[1] == "load":
		err = load(os.Args[2:])
	default:
		err = errors.New("serve [FLAGS] ADDRESS NAME | load [FLAGS] TARGET SECONDS FILE")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
