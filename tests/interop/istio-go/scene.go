package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Addresses of the scene, all on loopback. The node proxy serves node "ours"; node "peers" is played by this program.
const (
	controlPlane      = "127.43.0.1:15012"
	controlPlaneAdmin = "127.43.0.1:15014"
	nodeAdmin         = "127.43.1.254:15000"
	clientIP          = "127.43.1.1" // on node "ours": dials through SOCKS5
	serverIP          = "127.43.1.2" // on node "ours": an HTTP server behind our inbound side
	peerIP            = "127.43.2.1" // on node "peers": the workload played with Istio's code
	deniedIP          = "127.43.2.2" // on node "peers": a workload that a policy denies
	socksPort         = "15080"
	greeting          = "hello from behind our node proxy"
)

const manifests = `
apiVersion: v1
kind: Namespace
metadata: {name: interop, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-denied, namespace: interop}
spec:
  action: DENY
  rules:
  - from: [{source: {principals: [cluster.local/ns/interop/sa/denied]}}]
---
apiVersion: v1
kind: Service
metadata: {name: peer, namespace: interop}
spec:
  clusterIP: 10.96.43.1
  selector: {app: peer}
  ports: [{name: http, port: 80, targetPort: 8080}]
`

const pod = `---
apiVersion: v1
kind: ServiceAccount
metadata: {name: %[1]s, namespace: interop}
---
apiVersion: v1
kind: Pod
metadata: {name: %[1]s-0, namespace: interop, labels: {app: %[1]s}}
spec: {nodeName: %[2]s, serviceAccountName: %[1]s}
status: {phase: Running, podIPs: [{ip: %[3]s}], conditions: [{type: Ready, status: "True"}]}
`

type scene struct {
	dir       string
	keep      bool
	processes []*exec.Cmd
}

func layScene(ctx context.Context, bin string, keep bool) (*scene, error) {
	dir, err := os.MkdirTemp("", "mesh-interop-")
	if err != nil {
		return nil, err
	}
	s := &scene{dir: dir, keep: keep}
	for _, part := range []string{"manifests", "authority", "state"} {
		if err := os.MkdirAll(filepath.Join(dir, part), 0o700); err != nil {
			return nil, err
		}
	}
	text := manifests +
		fmt.Sprintf(pod, "client", "ours", clientIP) + fmt.Sprintf(pod, "server", "ours", serverIP) +
		fmt.Sprintf(pod, "peer", "peers", peerIP) + fmt.Sprintf(pod, "denied", "peers", deniedIP)
	if err := s.write("manifests/mesh.yaml", text); err != nil {
		return nil, err
	}
	for _, node := range []string{"ours", "peers"} {
		made := exec.CommandContext(ctx, filepath.Join(bin, "control-plane"), "token", node, "--out", s.path("token-"+node))
		if out, err := made.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("token: %w: %s", err, out)
		}
	}
	settings := fmt.Sprintf(`
trust_domain: cluster.local
sources: {directory: %[1]s/manifests, poll_interval_ms: 100}
authority: {dir: %[1]s/authority}
listen: %[2]s
admin: %[3]s
nodes:
- {name: ours, token_file: %[1]s/token-ours}
- {name: peers, token_file: %[1]s/token-peers}
`, dir, controlPlane, controlPlaneAdmin)
	if err := s.write("control-plane.yaml", settings); err != nil {
		return nil, err
	}
	settings = fmt.Sprintf(`
node: ours
trust_domain: cluster.local
control_plane: %[2]s
trust_bundle: %[1]s/authority/root-cert.pem
token_file: %[1]s/token-ours
state_dir: %[1]s/state
admin: %[3]s
socks5_port: %[4]s
`, dir, controlPlane, nodeAdmin, socksPort)
	if err := s.write("node.yaml", settings); err != nil {
		return nil, err
	}
	if err := s.start(bin, "control-plane", "serve", "--config", s.path("control-plane.yaml")); err != nil {
		return nil, err
	}
	if err := s.start(bin, "node-proxy", "--config", s.path("node.yaml")); err != nil {
		s.stop()
		return nil, err
	}
	listener, err := net.Listen("tcp", serverIP+":8080")
	if err != nil {
		s.stop()
		return nil, err
	}
	go func() { _ = http.Serve(listener, answer(greeting)) }()
	if err := ready(ctx, "http://"+nodeAdmin+"/healthz/ready"); err != nil {
		s.logs()
		s.stop()
		return nil, err
	}
	return s, nil
}

func answer(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
}

func ready(ctx context.Context, url string) error {
	end := time.Now().Add(20 * time.Second)
	for {
		response, err := http.Get(url)
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("status %d", response.StatusCode)
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return fmt.Errorf("%s: %w", url, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (s *scene) start(bin, name string, args ...string) error {
	log, err := os.Create(s.path(name + ".log"))
	if err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(bin, name), args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.processes = append(s.processes, cmd)
	return nil
}

func (s *scene) stop() {
	for _, cmd := range s.processes {
		_ = cmd.Process.Signal(syscall.SIGTERM)
	}
	for _, cmd := range s.processes {
		done := make(chan struct{})
		go func() { _ = cmd.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(8 * time.Second):
			_ = cmd.Process.Kill()
		}
	}
	if s.keep {
		fmt.Println("kept:", s.dir)
		return
	}
	_ = os.RemoveAll(s.dir)
}

func (s *scene) logs() {
	for _, name := range []string{"control-plane", "node-proxy"} {
		text, err := os.ReadFile(s.path(name + ".log"))
		if err != nil {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		fmt.Fprintf(os.Stderr, "\n--- %s, last lines of its log\n%s\n", name, strings.Join(lines[max(0, len(lines)-20):], "\n"))
	}
}

func (s *scene) path(name string) string { return filepath.Join(s.dir, name) }

func (s *scene) write(name, text string) error { return os.WriteFile(s.path(name), []byte(text), 0o600) }
