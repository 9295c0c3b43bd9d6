package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"istio.io/istio/pkg/workloadapi"
	"istio.io/istio/pkg/workloadapi/security"
)

const (
	addressType = "type.googleapis.com/istio.workload.Address"
	policyType  = "type.googleapis.com/istio.security.Authorization"
)

type adsStream = discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesClient

func (s *scene) ads(ctx context.Context) (adsStream, error) {
	ctx, err := s.withToken(ctx, "peers")
	if err != nil {
		return nil, err
	}
	conn, err := s.channel()
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	return discovery.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
}

// fetch asks for everything of a type, as ztunnel does, and acknowledges the answer.
func fetch(stream adsStream, url string, held map[string]string) (*discovery.DeltaDiscoveryResponse, error) {
	node := &core.Node{Id: "ztunnel~127.43.2.1~peer-0.interop~interop.svc.cluster.local"}
	request := &discovery.DeltaDiscoveryRequest{Node: node, TypeUrl: url, InitialResourceVersions: held}
	if err := stream.Send(request); err != nil {
		return nil, err
	}
	response, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	if response.TypeUrl != url {
		return nil, fmt.Errorf("asked for %s, got %s", url, response.TypeUrl)
	}
	return response, stream.Send(&discovery.DeltaDiscoveryRequest{TypeUrl: url, ResponseNonce: response.Nonce})
}

func discovers(ctx context.Context, s *scene) (string, error) {
	stream, err := s.ads(ctx)
	if err != nil {
		return "", err
	}
	response, err := fetch(stream, addressType, nil)
	if err != nil {
		return "", err
	}
	workloads, services := 0, 0
	for _, resource := range response.Resources {
		address := &workloadapi.Address{}
		if err := resource.Resource.UnmarshalTo(address); err != nil {
			return "", err
		}
		switch {
		case address.GetWorkload() != nil:
			workloads++
			if name := address.GetWorkload().Uid; name != resource.Name {
				return "", fmt.Errorf("workload %s is named %s", name, resource.Name)
			}
			if address.GetWorkload().TunnelProtocol != workloadapi.TunnelProtocol_HBONE {
				return "", fmt.Errorf("%s does not speak HBONE", resource.Name)
			}
		case address.GetService() != nil:
			services++
		}
	}
	if workloads != 4 || services != 1 {
		return "", fmt.Errorf("%d workloads and %d services", workloads, services)
	}
	response, err = fetch(stream, policyType, nil)
	if err != nil {
		return "", err
	}
	for _, resource := range response.Resources {
		policy := &security.Authorization{}
		if err := resource.Resource.UnmarshalTo(policy); err != nil {
			return "", err
		}
		if policy.Name == "no-denied" && policy.Action == security.Action_DENY {
			return fmt.Sprintf("%d workloads, %d service, the policy", workloads, services), nil
		}
	}
	return "", errors.New("the policy did not come")
}

func reconnects(ctx context.Context, s *scene) (string, error) {
	stream, err := s.ads(ctx)
	if err != nil {
		return "", err
	}
	first, err := fetch(stream, addressType, nil)
	if err != nil {
		return "", err
	}
	held := map[string]string{"cluster1//Pod/interop/gone": "1"}
	for _, resource := range first.Resources {
		held[resource.Name] = resource.Version
	}
	again, err := s.ads(ctx)
	if err != nil {
		return "", err
	}
	second, err := fetch(again, addressType, held)
	if err != nil {
		return "", err
	}
	if len(second.Resources) != 0 {
		return "", fmt.Errorf("%d unchanged resources were sent again", len(second.Resources))
	}
	// What is gone comes last, in an answer of its own.
	if len(second.RemovedResources) == 0 {
		if second, err = again.Recv(); err != nil {
			return "", err
		}
	}
	if len(second.Resources) != 0 || len(second.RemovedResources) != 1 || second.RemovedResources[0] != "cluster1//Pod/interop/gone" {
		return "", fmt.Errorf("removed: %v", second.RemovedResources)
	}
	_ = again.CloseSend()
	time.Sleep(10 * time.Millisecond)
	return "0 resent, 1 removed", nil
}
