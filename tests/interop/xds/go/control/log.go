package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	server "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	status "google.golang.org/genproto/googleapis/rpc/status"
)

// event is one line. What has no meaning for an event is left out.
type event struct {
	// ready, published, unreadable: of the file. open, closed: of a stream. subscribe: a request that answers nothing.
	// sent, ack, nack: an answer, and what the client says to it.
	Event   string `json:"event"`
	Variant string `json:"variant,omitempty"`
	Stream  int64  `json:"stream,omitempty"`
	Node    string `json:"node,omitempty"`
	Type    string `json:"type,omitempty"`
	// Of a type; delta requests have none.
	Version string `json:"version,omitempty"`
	Nonce   string `json:"nonce,omitempty"`
	// What is sent; by a request of state-of-the-world, all that is subscribed to; by one of delta, what is from now on.
	Names []string `json:"names,omitempty"`
	// Delta: what is gone; what is no longer subscribed to.
	Removed []string `json:"removed,omitempty"`
	// Delta, the first request of a stream: resources that the client holds, with their versions.
	Held  map[string]string `json:"held,omitempty"`
	Error string            `json:"error,omitempty"`
}

type stream struct {
	variant string
	id      int64
}

// log writes events. Only the first request of a stream must say which node it is.
type log struct {
	mu    sync.Mutex
	nodes map[stream]string
}

func newLog() *log { return &log{nodes: map[stream]string{}} }

func (l *log) write(e event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	line, err := json.Marshal(e)
	if err != nil {
		line = fmt.Appendf(nil, `{"event": "unwritable", "error": %q}`, err)
	}
	fmt.Fprintf(os.Stdout, "%s\n", line)
}

func (l *log) of(s stream, node *core.Node, what string) event {
	l.mu.Lock()
	defer l.mu.Unlock()
	if node.GetId() != "" {
		l.nodes[s] = node.GetId()
	}
	return event{Event: what, Variant: s.variant, Stream: s.id, Node: l.nodes[s]}
}

func (l *log) closed(s stream, node *core.Node) {
	l.write(l.of(s, node, "closed"))
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.nodes, s)
}

// said is what a request says to the answer of its nonce.
func said(nonce string, detail *status.Status) (string, string) {
	switch {
	case detail != nil:
		return "nack", detail.GetMessage()
	case nonce != "":
		return "ack", ""
	default:
		return "subscribe", ""
	}
}

func (l *log) callbacks() server.Callbacks {
	whole := func(id int64) stream { return stream{"sotw", id} }
	delta := func(id int64) stream { return stream{"delta", id} }
	return server.CallbackFuncs{
		StreamOpenFunc: func(_ context.Context, id int64, _ string) error {
			l.write(l.of(whole(id), nil, "open"))
			return nil
		},
		DeltaStreamOpenFunc: func(_ context.Context, id int64, _ string) error {
			l.write(l.of(delta(id), nil, "open"))
			return nil
		},
		StreamClosedFunc:      func(id int64, node *core.Node) { l.closed(whole(id), node) },
		DeltaStreamClosedFunc: func(id int64, node *core.Node) { l.closed(delta(id), node) },
		StreamRequestFunc: func(id int64, request *discovery.DiscoveryRequest) error {
			what, problem := said(request.GetResponseNonce(), request.GetErrorDetail())
			e := l.of(whole(id), request.GetNode(), what)
			e.Type, e.Nonce, e.Version = request.GetTypeUrl(), request.GetResponseNonce(), request.GetVersionInfo()
			e.Names, e.Error = request.GetResourceNames(), problem
			l.write(e)
			if what == "nack" {
				// The cache sends what was rejected again at once, for ever.
				time.Sleep(100 * time.Millisecond)
			}
			return nil
		},
		StreamDeltaRequestFunc: func(id int64, request *discovery.DeltaDiscoveryRequest) error {
			what, problem := said(request.GetResponseNonce(), request.GetErrorDetail())
			e := l.of(delta(id), request.GetNode(), what)
			e.Type, e.Nonce, e.Error = request.GetTypeUrl(), request.GetResponseNonce(), problem
			e.Names, e.Removed = request.GetResourceNamesSubscribe(), request.GetResourceNamesUnsubscribe()
			e.Held = request.GetInitialResourceVersions()
			l.write(e)
			return nil
		},
		StreamResponseFunc: func(_ context.Context, id int64, request *discovery.DiscoveryRequest, response *discovery.DiscoveryResponse) {
			e := l.of(whole(id), request.GetNode(), "sent")
			e.Type, e.Nonce, e.Version = response.GetTypeUrl(), response.GetNonce(), response.GetVersionInfo()
			for _, resource := range response.GetResources() {
				message, err := resource.UnmarshalNew()
				if err != nil {
					e.Error = err.Error()
					continue
				}
				e.Names = append(e.Names, cache.GetResourceName(message))
			}
			slices.Sort(e.Names)
			l.write(e)
		},
		StreamDeltaResponseFunc: func(id int64, request *discovery.DeltaDiscoveryRequest, response *discovery.DeltaDiscoveryResponse) {
			e := l.of(delta(id), request.GetNode(), "sent")
			e.Type, e.Nonce, e.Version = response.GetTypeUrl(), response.GetNonce(), response.GetSystemVersionInfo()
			for _, resource := range response.GetResources() {
				e.Names = append(e.Names, resource.GetName())
			}
			slices.Sort(e.Names)
			e.Removed = response.GetRemovedResources()
			l.write(e)
		},
	}
}

// versions of the types in the snapshot.
func versions(snapshots cache.SnapshotCache) string {
	snapshot, err := snapshots.GetSnapshot(all)
	if err != nil {
		return ""
	}
	parts := make([]string, 0, len(served))
	for _, url := range served {
		parts = append(parts, snapshot.GetVersion(url))
	}
	return strings.Join(parts, " ")
}
