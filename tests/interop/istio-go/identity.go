package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
	ca "istio.io/api/security/v1alpha1"
)

// The name that Istio's own clients verify.
const serverName = "istiod.istio-system.svc"

func id(account string) string { return "spiffe://cluster.local/ns/interop/sa/" + account }

func (s *scene) roots() (*x509.CertPool, error) {
	text, err := os.ReadFile(s.path("authority/root-cert.pem"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New("root-cert.pem holds no certificate")
	}
	return pool, nil
}

// channel is a gRPC connection as istiod's clients make it: server authentication only, identity by token.
func (s *scene) channel() (*grpc.ClientConn, error) {
	roots, err := s.roots()
	if err != nil {
		return nil, err
	}
	creds := credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: serverName, MinVersion: tls.VersionTLS13})
	return grpc.NewClient(controlPlane, grpc.WithTransportCredentials(creds))
}

func (s *scene) withToken(ctx context.Context, node string) (context.Context, error) {
	token, err := os.ReadFile(s.path("token-" + node))
	if err != nil {
		return nil, err
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+strings.TrimSpace(string(token))), nil
}

// issue asks for an identity as a node agent does, and gives it as a TLS certificate.
func (s *scene) issue(ctx context.Context, account string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, err
	}
	conn, err := s.channel()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	meta, err := structpb.NewStruct(map[string]any{"ImpersonatedIdentity": id(account)})
	if err != nil {
		return nil, err
	}
	response, err := ca.NewIstioCertificateServiceClient(conn).CreateCertificate(ctx, &ca.IstioCertificateRequest{
		Csr:              string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})),
		ValidityDuration: 3600,
		Metadata:         meta,
	})
	if err != nil {
		return nil, err
	}
	if len(response.CertChain) < 2 {
		return nil, fmt.Errorf("%d chain elements; clients need a leaf and the roots", len(response.CertChain))
	}
	cert := &tls.Certificate{PrivateKey: key}
	for _, text := range response.CertChain[:len(response.CertChain)-1] {
		for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
			cert.Certificate = append(cert.Certificate, block.Bytes)
		}
	}
	cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0])
	return cert, err
}

func (s *scene) issueAs(ctx context.Context, account string) (*tls.Certificate, error) {
	ctx, err := s.withToken(ctx, "peers")
	if err != nil {
		return nil, err
	}
	return s.issue(ctx, account)
}

func issues(ctx context.Context, s *scene) (string, error) {
	cert, err := s.issueAs(ctx, "peer")
	if err != nil {
		return "", err
	}
	if len(cert.Leaf.URIs) != 1 || cert.Leaf.URIs[0].String() != id("peer") {
		return "", fmt.Errorf("URI SANs %v", cert.Leaf.URIs)
	}
	return cert.Leaf.URIs[0].String(), nil
}

func refused(err error, want ...codes.Code) (string, error) {
	if err == nil {
		return "", errors.New("a certificate was issued")
	}
	for _, code := range want {
		if status.Code(err) == code {
			return code.String(), nil
		}
	}
	return "", fmt.Errorf("refused with %v", err)
}

func refusesToken(ctx context.Context, s *scene) (string, error) {
	_, err := s.issue(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer forged"), "peer")
	return refused(err, codes.Unauthenticated)
}

func refusesOtherNode(ctx context.Context, s *scene) (string, error) {
	_, err := s.issueAs(ctx, "server")
	return refused(err, codes.Unauthenticated, codes.PermissionDenied)
}

func spiffeVerifies(ctx context.Context, s *scene) (string, error) {
	cert, err := s.issueAs(ctx, "peer")
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(s.path("authority/root-cert.pem"))
	if err != nil {
		return "", err
	}
	bundle, err := x509bundle.Parse(spiffeid.RequireTrustDomainFromString("cluster.local"), text)
	if err != nil {
		return "", err
	}
	verified, _, err := x509svid.ParseAndVerify(cert.Certificate, bundle)
	return verified.String(), err
}
