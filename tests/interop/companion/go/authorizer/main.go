// An external authorizer by gRPC-Go and Envoy's own stubs. It lets in who shows a token that it knows, says who that is, and
// takes the token away.
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"strings"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
)

type authorizer struct {
	auth.UnimplementedAuthorizationServer
}

func header(name, value string) *core.HeaderValueOption {
	return &core.HeaderValueOption{Header: &core.HeaderValue{Key: name, Value: value}}
}

func denied(code codes.Code, as typev3.StatusCode, body string) *auth.CheckResponse {
	response := &auth.DeniedHttpResponse{
		Status:  &typev3.HttpStatus{Code: as},
		Headers: []*core.HeaderValueOption{header("www-authenticate", "Bearer")},
		Body:    body,
	}
	return &auth.CheckResponse{
		Status:       &status.Status{Code: int32(code)},
		HttpResponse: &auth.CheckResponse_DeniedResponse{DeniedResponse: response},
	}
}

func (authorizer) Check(ctx context.Context, check *auth.CheckRequest) (*auth.CheckResponse, error) {
	request := check.GetAttributes().GetRequest()
	http := request.GetHttp()
	// What every request of ours must say of itself.
	if http.GetPath() != http.GetHeaders()[":path"] || http.GetProtocol() != "HTTP/1.1" || http.GetScheme() != "http" ||
		time.Since(request.GetTime().AsTime()) > time.Minute {
		return nil, grpcstatus.Errorf(codes.InvalidArgument, "odd attributes: %v", check)
	}
	switch {
	case strings.HasPrefix(http.GetPath(), "/slow"):
		<-ctx.Done()
		log.Println("given up")
		return nil, ctx.Err()
	case strings.HasPrefix(http.GetPath(), "/broken"):
		return nil, grpcstatus.Error(codes.Internal, "out of order")
	case strings.HasPrefix(http.GetPath(), "/evil"):
		ok := &auth.OkHttpResponse{Headers: []*core.HeaderValueOption{header("x-user", "eve\r\nx-admin: 1")}}
		return &auth.CheckResponse{HttpResponse: &auth.CheckResponse_OkResponse{OkResponse: ok}}, nil
	case strings.Contains(http.GetBody(), "secret"):
		return denied(codes.PermissionDenied, typev3.StatusCode_Forbidden, "not with this\n"), nil
	}
	user, known := strings.CutPrefix(http.GetHeaders()["authorization"], "Bearer ")
	if !known {
		return denied(codes.Unauthenticated, typev3.StatusCode_Unauthorized, "who are you?\n"), nil
	}
	ok := &auth.OkHttpResponse{
		Headers:                 []*core.HeaderValueOption{header("x-user", user), header("host", "elsewhere")},
		HeadersToRemove:         []string{"authorization"},
		ResponseHeadersToAdd:    []*core.HeaderValueOption{header("x-checked", "yes")},
		QueryParametersToSet:    []*core.QueryParameter{{Key: "by", Value: "authorizer"}},
		QueryParametersToRemove: []string{"debug"},
	}
	return &auth.CheckResponse{Status: &status.Status{}, HttpResponse: &auth.CheckResponse_OkResponse{OkResponse: ok}}, nil
}

func main() {
	listen := flag.String("listen", "127.0.0.1:9191", "where it listens")
	flag.Parse()
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer()
	auth.RegisterAuthorizationServer(server, authorizer{})
	log.Fatal(server.Serve(listener))
}
