package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	router "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	manager "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

var served = []string{resource.ClusterType, resource.EndpointType, resource.ListenerType, resource.RouteType}

// parse makes a snapshot of the text. A type's version is that of its content, so that another type's change is none of it.
func parse(text string) (*cache.Snapshot, error) {
	resources := map[string][]types.Resource{}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if err := add(resources, words); err != nil {
			return nil, fmt.Errorf("`%s`: %w", strings.Join(words, " "), err)
		}
	}
	snapshot := &cache.Snapshot{}
	for _, url := range served {
		items := resources[url]
		slices.SortFunc(items, func(a, b types.Resource) int {
			return cmp.Compare(cache.GetResourceName(a), cache.GetResourceName(b))
		})
		version, err := version(items)
		if err != nil {
			return nil, err
		}
		snapshot.Resources[cache.GetResponseType(url)] = cache.NewResources(version, items)
	}
	return snapshot, nil
}

func version(items []types.Resource) (string, error) {
	sum := sha256.New()
	for _, item := range items {
		bytes, err := proto.MarshalOptions{Deterministic: true}.Marshal(item)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%d ", len(bytes))
		sum.Write(bytes)
	}
	return hex.EncodeToString(sum.Sum(nil)[:6]), nil
}

func add(to map[string][]types.Resource, words []string) error {
	broken := words[0] == "broken" && len(words) > 1
	if broken {
		words = words[1:]
	}
	put := func(url string, item types.Resource, err error) error {
		to[url] = append(to[url], item)
		return err
	}
	switch {
	case words[0] == "listen" && len(words) == 2:
		name := "listener"
		if broken {
			name = "broken"
		}
		item, err := listening(name, words[1], broken)
		return put(resource.ListenerType, item, err)
	case words[0] == "api" && len(words) == 2:
		item, err := api(words[1], broken)
		return put(resource.ListenerType, item, err)
	case words[0] == "route" && !broken:
		item, err := routes(words[1:])
		return put(resource.RouteType, item, err)
	case words[0] == "cluster" && len(words) >= 2 && !broken:
		item, err := assignment(words[1], words[2:])
		if err := put(resource.EndpointType, item, err); err != nil {
			return err
		}
		return put(resource.ClusterType, byEndpoints(words[1]), nil)
	}
	return fmt.Errorf("not understood")
}

func byADS() *core.ConfigSource {
	return &core.ConfigSource{
		ResourceApiVersion:    core.ApiVersion_V3,
		ConfigSourceSpecifier: &core.ConfigSource_Ads{Ads: &core.AggregatedConfigSource{}},
	}
}

func place(text string) (*core.Address, error) {
	at, err := netip.ParseAddrPort(text)
	if err != nil {
		return nil, err
	}
	return &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
		Address:       at.Addr().String(),
		PortSpecifier: &core.SocketAddress_PortValue{PortValue: uint32(at.Port())},
	}}}, nil
}

// serving is what serves HTTP by the route; broken: with a filter that nobody has.
func serving(broken bool) (*anypb.Any, error) {
	filter, err := anypb.New(&router.Router{})
	if err != nil {
		return nil, err
	}
	if broken {
		filter.TypeUrl = "type.googleapis.com/nobody.knows.This"
	}
	return anypb.New(&manager.HttpConnectionManager{
		StatPrefix: "ingress",
		RouteSpecifier: &manager.HttpConnectionManager_Rds{
			Rds: &manager.Rds{ConfigSource: byADS(), RouteConfigName: "route"},
		},
		HttpFilters: []*manager.HttpFilter{{
			Name:       "envoy.filters.http.router",
			ConfigType: &manager.HttpFilter_TypedConfig{TypedConfig: filter},
		}},
	})
}

func listening(name, address string, broken bool) (*listener.Listener, error) {
	at, err := place(address)
	if err != nil {
		return nil, err
	}
	config, err := serving(broken)
	if err != nil {
		return nil, err
	}
	return &listener.Listener{
		Name:    name,
		Address: at,
		FilterChains: []*listener.FilterChain{{Filters: []*listener.Filter{{
			Name:       "envoy.filters.network.http_connection_manager",
			ConfigType: &listener.Filter_TypedConfig{TypedConfig: config},
		}}}},
	}, nil
}

func api(name string, broken bool) (*listener.Listener, error) {
	config, err := serving(broken)
	if err != nil {
		return nil, err
	}
	return &listener.Listener{Name: name, ApiListener: &listener.ApiListener{ApiListener: config}}, nil
}

func routes(clusters []string) (*route.RouteConfiguration, error) {
	var weighted []*route.WeightedCluster_ClusterWeight
	for _, text := range clusters {
		name, weight, found := strings.Cut(text, "=")
		value := uint64(1)
		if found {
			var err error
			if value, err = strconv.ParseUint(weight, 10, 32); err != nil {
				return nil, err
			}
		}
		weighted = append(weighted, &route.WeightedCluster_ClusterWeight{Name: name, Weight: wrapperspb.UInt32(uint32(value))})
	}
	return &route.RouteConfiguration{
		Name: "route",
		VirtualHosts: []*route.VirtualHost{{
			Name:    "all",
			Domains: []string{"*"},
			Routes: []*route.Route{{
				Match: &route.RouteMatch{PathSpecifier: &route.RouteMatch_Prefix{}},
				Action: &route.Route_Route{Route: &route.RouteAction{ClusterSpecifier: &route.RouteAction_WeightedClusters{
					WeightedClusters: &route.WeightedCluster{Clusters: weighted},
				}}},
			}},
		}},
	}, nil
}

func byEndpoints(name string) *cluster.Cluster {
	return &cluster.Cluster{
		Name:                 name,
		ClusterDiscoveryType: &cluster.Cluster_Type{Type: cluster.Cluster_EDS},
		EdsClusterConfig:     &cluster.Cluster_EdsClusterConfig{EdsConfig: byADS()},
		ConnectTimeout:       durationpb.New(time.Second),
	}
}

func assignment(name string, addresses []string) (*endpoint.ClusterLoadAssignment, error) {
	var endpoints []*endpoint.LbEndpoint
	for _, address := range addresses {
		at, err := place(address)
		if err != nil {
			return nil, err
		}
		endpoints = append(endpoints, &endpoint.LbEndpoint{
			HostIdentifier:      &endpoint.LbEndpoint_Endpoint{Endpoint: &endpoint.Endpoint{Address: at}},
			LoadBalancingWeight: wrapperspb.UInt32(1),
		})
	}
	// gRPC rejects endpoints without a locality, and ignores a locality without a weight.
	return &endpoint.ClusterLoadAssignment{
		ClusterName: name,
		Endpoints: []*endpoint.LocalityLbEndpoints{{
			Locality:            &core.Locality{},
			LbEndpoints:         endpoints,
			LoadBalancingWeight: wrapperspb.UInt32(1),
		}},
	}, nil
}
