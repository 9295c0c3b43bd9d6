// Package conformance has the conformance suite of the Gateway API judge a control plane that reads a real API server. It plays
// what a cluster has beside that: the controllers of Deployments and endpoints, a kubelet whose containers are processes in
// network namespaces, and whoever runs a proxy for each Gateway.
package conformance

import (
	"context"
	"fmt"
	"log"
	"maps"
	"time"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
)

const (
	nodeName     = "node-1"
	deploymentOf = "deployment"
	gatewayLabel = "gateway.networking.k8s.io/gateway-name"
)

// Node is the one machine of the cluster, and its controllers.
type Node struct {
	Client client.Client
	// Class is the GatewayClass whose Gateways get a proxy.
	Class string
	// Containers runs what pods consist of.
	Containers *Containers
}

// Run looks at the cluster again and again, until the context ends.
func (n *Node) Run(ctx context.Context) {
	defer n.Containers.Close()
	for {
		for _, step := range []func(context.Context) error{n.deployments, n.gateways, n.pods, n.endpoints} {
			if err := step(ctx); err != nil && ctx.Err() == nil {
				log.Print(err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func key(object client.Object) types.NamespacedName { return client.ObjectKeyFromObject(object) }

// create makes an object, or takes it that it is there.
func (n *Node) create(ctx context.Context, object client.Object) error {
	if err := n.Client.Create(ctx, object); err != nil && !errors.IsAlreadyExists(err) {
		return fmt.Errorf("%T %s: %w", object, key(object), err)
	}
	return nil
}

// deployments makes the pods of each Deployment, and deletes those that belong to none.
func (n *Node) deployments(ctx context.Context) error {
	var deployments apps.DeploymentList
	var pods core.PodList
	if err := n.Client.List(ctx, &deployments); err != nil {
		return err
	}
	if err := n.Client.List(ctx, &pods, client.HasLabels{deploymentOf}); err != nil {
		return err
	}
	there := map[types.NamespacedName]*core.Pod{}
	for i := range pods.Items {
		there[key(&pods.Items[i])] = &pods.Items[i]
	}
	for _, deployment := range deployments.Items {
		replicas := 1
		if deployment.Spec.Replicas != nil {
			replicas = int(*deployment.Spec.Replicas)
		}
		for number := range replicas {
			// As a ReplicaSet's: the suite tells backends by what stands before the last two parts.
			name := types.NamespacedName{Namespace: deployment.Namespace, Name: fmt.Sprintf("%s-0-%d", deployment.Name, number)}
			if there[name] != nil {
				delete(there, name)
				continue
			}
			template := deployment.Spec.Template
			labels := maps.Clone(template.Labels)
			labels[deploymentOf] = deployment.Name
			pod := core.Pod{
				ObjectMeta: meta.ObjectMeta{Name: name.Name, Namespace: name.Namespace, Labels: labels},
				Spec:       *template.Spec.DeepCopy(),
			}
			pod.Spec.NodeName = nodeName
			if err := n.create(ctx, &pod); err != nil {
				return err
			}
		}
	}
	return n.delete(ctx, there)
}

func (n *Node) delete(ctx context.Context, pods map[types.NamespacedName]*core.Pod) error {
	for _, pod := range pods {
		if err := n.Client.Delete(ctx, pod, client.GracePeriodSeconds(0)); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	return nil
}

// gateways makes a pod with a proxy for each Gateway, and a Service by which it is reached.
func (n *Node) gateways(ctx context.Context) error {
	var gateways gateway.GatewayList
	var sets gateway.ListenerSetList
	var pods core.PodList
	if err := n.Client.List(ctx, &gateways); err != nil {
		return err
	}
	if err := n.Client.List(ctx, &sets); err != nil {
		return err
	}
	if err := n.Client.List(ctx, &pods, client.HasLabels{gatewayLabel}); err != nil {
		return err
	}
	there := map[types.NamespacedName]*core.Pod{}
	for i := range pods.Items {
		there[key(&pods.Items[i])] = &pods.Items[i]
	}
	for i := range gateways.Items {
		object := &gateways.Items[i]
		if string(object.Spec.GatewayClassName) != n.Class || object.DeletionTimestamp != nil {
			continue
		}
		name := types.NamespacedName{Namespace: object.Namespace, Name: object.Name + "-" + n.Class}
		pod := there[name]
		delete(there, name)
		if pod == nil {
			if err := n.create(ctx, proxy(name, object.Name)); err != nil {
				return err
			}
			continue
		}
		if err := n.reach(ctx, name, object, sets.Items, pod); err != nil {
			return err
		}
	}
	return n.delete(ctx, there)
}

func proxy(name types.NamespacedName, of string) *core.Pod {
	return &core.Pod{
		ObjectMeta: meta.ObjectMeta{Name: name.Name, Namespace: name.Namespace, Labels: map[string]string{gatewayLabel: of}},
		Spec: core.PodSpec{
			NodeName:           nodeName,
			ServiceAccountName: name.Name,
			Containers:         []core.Container{{Name: "proxy", Image: "envoy"}},
		},
	}
}

// reach keeps the Service of a Gateway: its ports are those of the listeners, its address is the pod's, as if a load balancer
// gave it.
func (n *Node) reach(ctx context.Context, name types.NamespacedName, of *gateway.Gateway, sets []gateway.ListenerSet, pod *core.Pod) error {
	numbers := map[int32]bool{}
	for _, listener := range of.Spec.Listeners {
		numbers[int32(listener.Port)] = true
	}
	for _, set := range sets {
		parent := set.Spec.ParentRef
		if string(parent.Name) == of.Name && (parent.Namespace == nil || string(*parent.Namespace) == of.Namespace) {
			for _, listener := range set.Spec.Listeners {
				numbers[int32(listener.Port)] = true
			}
		}
	}
	service := core.Service{ObjectMeta: meta.ObjectMeta{
		Name: name.Name, Namespace: name.Namespace, Labels: map[string]string{gatewayLabel: of.Name},
		// It goes with its Gateway.
		OwnerReferences: []meta.OwnerReference{{
			APIVersion: "gateway.networking.k8s.io/v1", Kind: "Gateway", Name: of.Name, UID: of.UID,
		}},
	}}
	var ports []core.ServicePort
	for number := range numbers {
		ports = append(ports, core.ServicePort{Name: fmt.Sprintf("port-%d", number), Port: number})
	}
	found := n.Client.Get(ctx, name, &service)
	if client.IgnoreNotFound(found) != nil {
		return found
	}
	if found != nil || len(service.Spec.Ports) != len(ports) {
		service.Spec.Type = core.ServiceTypeLoadBalancer
		service.Spec.Selector = map[string]string{gatewayLabel: of.Name}
		service.Spec.Ports = ports
		var err error
		if found != nil {
			err = n.Client.Create(ctx, &service)
		} else {
			err = n.Client.Update(ctx, &service)
		}
		if err != nil {
			return err
		}
	}
	if len(service.Status.LoadBalancer.Ingress) == 0 && pod.Status.PodIP != "" {
		service.Status.LoadBalancer.Ingress = []core.LoadBalancerIngress{{IP: pod.Status.PodIP}}
		return n.Client.Status().Update(ctx, &service)
	}
	return nil
}

// pods starts what is there and ends what is not there any more.
func (n *Node) pods(ctx context.Context) error {
	var pods core.PodList
	if err := n.Client.List(ctx, &pods); err != nil {
		return err
	}
	wanted := map[types.UID]bool{}
	for i := range pods.Items {
		pod := &pods.Items[i]
		if pod.Spec.NodeName != nodeName || pod.DeletionTimestamp != nil {
			continue
		}
		wanted[pod.UID] = true
		ip, err := n.Containers.Start(ctx, n.Client, pod)
		if err != nil {
			log.Printf("pod %s: %v", key(pod), err)
			continue
		}
		if pod.Status.PodIP == "" {
			now := meta.Now()
			pod.Status.Phase, pod.Status.PodIP, pod.Status.PodIPs = core.PodRunning, ip, []core.PodIP{{IP: ip}}
			pod.Status.StartTime = &now
			pod.Status.Conditions = []core.PodCondition{{Type: core.PodReady, Status: core.ConditionTrue, LastTransitionTime: now}}
			if err := n.Client.Status().Update(ctx, pod); err != nil {
				return err
			}
		}
	}
	n.Containers.Keep(wanted)
	return nil
}

// endpoints keeps one EndpointSlice for each Service that selects, and deletes the Services of Gateways that have gone.
func (n *Node) endpoints(ctx context.Context) error {
	var services core.ServiceList
	if err := n.Client.List(ctx, &services); err != nil {
		return err
	}
	for i := range services.Items {
		service := &services.Items[i]
		for _, owner := range service.OwnerReferences {
			var of gateway.Gateway
			err := n.Client.Get(ctx, types.NamespacedName{Namespace: service.Namespace, Name: owner.Name}, &of)
			if errors.IsNotFound(err) || err == nil && of.UID != owner.UID {
				if err := n.Client.Delete(ctx, service); client.IgnoreNotFound(err) != nil {
					return err
				}
			}
		}
		if len(service.Spec.Selector) == 0 {
			continue
		}
		if err := n.slice(ctx, service); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) slice(ctx context.Context, service *core.Service) error {
	var pods core.PodList
	if err := n.Client.List(ctx, &pods, client.InNamespace(service.Namespace), client.MatchingLabels(service.Spec.Selector)); err != nil {
		return err
	}
	wanted := discovery.EndpointSlice{
		ObjectMeta: meta.ObjectMeta{
			Name: service.Name, Namespace: service.Namespace,
			Labels: map[string]string{discovery.LabelServiceName: service.Name},
			OwnerReferences: []meta.OwnerReference{{
				APIVersion: "v1", Kind: "Service", Name: service.Name, UID: service.UID,
			}},
		},
		AddressType: discovery.AddressTypeIPv4,
	}
	yes, node := true, nodeName
	for _, pod := range pods.Items {
		if pod.Status.PodIP == "" || pod.DeletionTimestamp != nil {
			continue
		}
		wanted.Endpoints = append(wanted.Endpoints, discovery.Endpoint{
			Addresses: []string{pod.Status.PodIP}, NodeName: &node,
			Conditions: discovery.EndpointConditions{Ready: &yes, Serving: &yes},
			TargetRef:  &core.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		})
	}
	for _, port := range service.Spec.Ports {
		number := port.TargetPort.IntVal
		if number == 0 {
			number = port.Port
		}
		name, protocol := port.Name, port.Protocol
		wanted.Ports = append(wanted.Ports, discovery.EndpointPort{Name: &name, Port: &number, Protocol: &protocol, AppProtocol: port.AppProtocol})
	}
	var there discovery.EndpointSlice
	switch err := n.Client.Get(ctx, key(&wanted), &there); {
	case errors.IsNotFound(err):
		return n.create(ctx, &wanted)
	case err != nil:
		return err
	case equality.Semantic.DeepEqual(there.Endpoints, wanted.Endpoints) && equality.Semantic.DeepEqual(there.Ports, wanted.Ports):
		return nil
	}
	there.Endpoints, there.Ports = wanted.Endpoints, wanted.Ports
	return n.Client.Update(ctx, &there)
}
