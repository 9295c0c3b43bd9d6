package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"istio.io/istio/pkg/hbone"
)

// peerTLS is how Istio's HBONE ends are configured: mutual TLS, chain verified to the roots, names ignored.
func (s *scene) peerTLS(cert *tls.Certificate) (*tls.Config, error) {
	roots, err := s.roots()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates:       []tls.Certificate{*cert},
		NextProtos:         []string{"h2"},
		MinVersion:         tls.VersionTLS13,
		ClientCAs:          roots,
		ClientAuth:         tls.RequireAndVerifyClientCert,
		InsecureSkipVerify: true, // no DNS names in SVIDs; the chain is verified below
		VerifyConnection: func(state tls.ConnectionState) error {
			_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{
				Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
			})
			return err
		},
	}, nil
}

// through makes an HTTP request in a tunnel of Istio's client to our node proxy's inbound side.
func (s *scene) through(ctx context.Context, account, authority string) (string, error) {
	cert, err := s.issueAs(ctx, account)
	if err != nil {
		return "", err
	}
	config, err := s.peerTLS(cert)
	if err != nil {
		return "", err
	}
	dialer := hbone.NewDialer(hbone.Config{ProxyAddress: serverIP + ":15008", TLS: config})
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, authority)
		},
	}}
	return get(ctx, client, "http://"+serverIP+":8080/")
}

func get(ctx context.Context, client *http.Client, address string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

func hboneClient(ctx context.Context, s *scene) (string, error) {
	body, err := s.through(ctx, "peer", serverIP+":8080")
	if err == nil && body != greeting {
		err = fmt.Errorf("answered %q", body)
	}
	return "200", err
}

func refusedWith(status string, err error) (string, error) {
	if err == nil {
		return "", errors.New("it got through")
	}
	if !strings.Contains(err.Error(), status) {
		return "", err
	}
	return status, nil
}

func hboneDenied(ctx context.Context, s *scene) (string, error) {
	_, err := s.through(ctx, "denied", serverIP+":8080")
	return refusedWith("401", err)
}

func hboneWrongAddress(ctx context.Context, s *scene) (string, error) {
	_, err := s.through(ctx, "peer", "127.43.1.99:8080")
	return refusedWith("400", err)
}

// serve plays a workload with Istio's HBONE server in front of an HTTP server, and calls it through our node proxy.
func (s *scene) serve(ctx context.Context, account string) (string, error) {
	const text = "hello from behind Istio's server"
	cert, err := s.issueAs(ctx, account)
	if err != nil {
		return "", err
	}
	config, err := s.peerTLS(cert)
	if err != nil {
		return "", err
	}
	application, err := net.Listen("tcp", peerIP+":8080")
	if err != nil {
		return "", err
	}
	defer application.Close()
	go func() { _ = http.Serve(application, answer(text)) }()

	listener, err := net.Listen("tcp", peerIP+":15008")
	if err != nil {
		return "", err
	}
	server := hbone.NewServer()
	server.TLSConfig = config
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	server.Protocols = protocols
	go func() { _ = server.ServeTLS(listener, "", "") }()
	defer server.Close()

	proxy := &url.URL{Scheme: "socks5h", Host: clientIP + ":" + socksPort}
	client := &http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{Proxy: http.ProxyURL(proxy), DisableKeepAlives: true},
	}
	body, err := get(ctx, client, "http://peer.interop.svc.cluster.local/")
	if err == nil && body != text {
		err = fmt.Errorf("answered %q", body)
	}
	return "200", err
}

func hboneServer(ctx context.Context, s *scene) (string, error) { return s.serve(ctx, "peer") }

func hboneImpostor(ctx context.Context, s *scene) (string, error) {
	if _, err := s.serve(ctx, "denied"); err == nil {
		return "", errors.New("our node proxy sent bytes to a server of another identity")
	}
	return "refused", nil
}
