// A process of the Workload API and a federation peer by go-spiffe, for the interop script beside it.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/federation"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	if len(os.Args) < 2 {
		fail(errors.New("a command is missing"))
	}
	args := os.Args[2:]
	switch os.Args[1] {
	case "show":
		fail(show(ctx))
	case "watch":
		fail(watch(ctx, number(args[0])))
	case "token":
		fail(token(ctx, args[0]))
	case "verify":
		fail(verify(ctx, args[0], args[1]))
	case "validate":
		fail(validate(ctx, args[0], args[1]))
	case "listen":
		fail(listen(ctx, args[0], args[1]))
	case "connect":
		fail(connect(ctx, args[0], args[1], number(args[2])))
	case "fetch-spiffe":
		fail(fetchSpiffe(ctx, args[0], args[1], args[2], args[3]))
	case "fetch-web":
		fail(fetchWeb(ctx, args[0], args[1], args[2]))
	case "serve-bundle":
		fail(serveBundle(ctx, args[0], args[1], args[2]))
	default:
		fail(fmt.Errorf("unknown command %q", os.Args[1]))
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	fail(err)
	return n
}

func show(ctx context.Context) error {
	all, err := workloadapi.FetchX509Context(ctx)
	if err != nil {
		return err
	}
	for _, svid := range all.SVIDs {
		fmt.Println(svid.ID, len(svid.Certificates), "certificates", svid.Hint)
	}
	for _, bundle := range all.Bundles.Bundles() {
		fmt.Println("trusts", bundle.TrustDomain().Name(), len(bundle.X509Authorities()), "authorities")
	}
	return nil
}

type watcher struct {
	serials chan string
}

func (w *watcher) OnX509ContextUpdate(all *workloadapi.X509Context) {
	w.serials <- all.DefaultSVID().Certificates[0].SerialNumber.Text(16)
}

func (w *watcher) OnX509ContextWatchError(err error) {
	fmt.Fprintln(os.Stderr, err)
}

// watch waits for so many different serial numbers.
func watch(ctx context.Context, times int) error {
	w := &watcher{serials: make(chan string, 16)}
	go func() { _ = workloadapi.WatchX509Context(ctx, w) }()
	seen := map[string]bool{}
	for len(seen) < times {
		select {
		case serial := <-w.serials:
			if !seen[serial] {
				fmt.Println(serial)
			}
			seen[serial] = true
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func token(ctx context.Context, audience string) error {
	svid, err := workloadapi.FetchJWTSVID(ctx, jwtsvid.Params{Audience: audience})
	if err != nil {
		return err
	}
	fmt.Println(svid.Marshal())
	return nil
}

// verify checks a token here, with the bundles of the Workload API.
func verify(ctx context.Context, audience, text string) error {
	bundles, err := workloadapi.FetchJWTBundles(ctx)
	if err != nil {
		return err
	}
	svid, err := jwtsvid.ParseAndValidate(text, bundles, []string{audience})
	if err != nil {
		return err
	}
	fmt.Println(svid.ID)
	return nil
}

// validate lets the server check a token.
func validate(ctx context.Context, audience, text string) error {
	svid, err := workloadapi.ValidateJWTSVID(ctx, text, audience)
	if err != nil {
		return err
	}
	fmt.Println(svid.ID)
	return nil
}

func listen(ctx context.Context, address, allow string) error {
	source, err := workloadapi.NewX509Source(ctx)
	if err != nil {
		return err
	}
	authorize := tlsconfig.AuthorizeAny()
	if allow != "any" {
		authorize = tlsconfig.AuthorizeID(spiffeid.RequireFromString(allow))
	}
	listener, err := tls.Listen("tcp", address, tlsconfig.MTLSServerConfig(source, source, authorize))
	if err != nil {
		return err
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			secure := conn.(*tls.Conn)
			if err := secure.HandshakeContext(ctx); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return
			}
			fmt.Fprintf(conn, "hello %s\n", secure.ConnectionState().PeerCertificates[0].URIs[0])
			_, _ = io.Copy(io.Discard, conn)
		}()
	}
}

func connect(ctx context.Context, address, expect string, times int) error {
	source, err := workloadapi.NewX509Source(ctx)
	if err != nil {
		return err
	}
	config := tlsconfig.MTLSClientConfig(source, source, tlsconfig.AuthorizeID(spiffeid.RequireFromString(expect)))
	for range times {
		raw, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		conn := tls.Client(raw, config)
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil {
			return err
		}
		fmt.Print(line)
		conn.Close()
	}
	return nil
}

func fetchSpiffe(ctx context.Context, domain, url, who, file string) error {
	td := spiffeid.RequireTrustDomainFromString(domain)
	known, err := spiffebundle.Load(td, file)
	if err != nil {
		return err
	}
	id := spiffeid.RequireFromString(who)
	bundle, err := federation.FetchBundle(ctx, td, url, federation.WithSPIFFEAuth(known, id))
	return told(bundle, err)
}

func fetchWeb(ctx context.Context, domain, url, roots string) error {
	text, err := os.ReadFile(roots)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	td := spiffeid.RequireTrustDomainFromString(domain)
	bundle, err := federation.FetchBundle(ctx, td, url, federation.WithWebPKIRoots(pool))
	return told(bundle, err)
}

func told(bundle *spiffebundle.Bundle, err error) error {
	if err != nil {
		return err
	}
	hint, _ := bundle.RefreshHint()
	_, counted := bundle.SequenceNumber()
	fmt.Println(bundle.TrustDomain().Name(), len(bundle.X509Authorities()), len(bundle.JWTAuthorities()), hint > 0, counted)
	return nil
}

// serveBundle serves the bundle of the Workload API's own trust domain: by its SVID, or as a web server by a PEM file.
func serveBundle(ctx context.Context, address, domain, web string) error {
	source, err := workloadapi.NewBundleSource(context.Background())
	if err != nil {
		return err
	}
	td := spiffeid.RequireTrustDomainFromString(domain)
	handler, err := federation.NewHandler(td, source)
	if err != nil {
		return err
	}
	server := &http.Server{Addr: address, Handler: handler}
	if web != "spiffe" {
		return server.ListenAndServeTLS(web, web)
	}
	svid, err := workloadapi.NewX509Source(context.Background())
	if err != nil {
		return err
	}
	server.TLSConfig = tlsconfig.TLSServerConfig(svid)
	return server.ListenAndServeTLS("", "")
}
