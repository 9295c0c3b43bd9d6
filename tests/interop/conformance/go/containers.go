package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Containers are processes, each pod's in a network namespace of its own on one bridge. The namespaces are made in the present
// one, which should be nobody else's.
type Containers struct {
	// Directory for what they write and are given.
	Directory string
	// Echo is the suite's server, Gateway a command that is given pod, namespace, service account and address, and becomes a
	// Gateway's proxy.
	Echo, Gateway string
	// Logs has what they write.
	Logs Logs

	mutex   sync.Mutex
	last    int
	running map[types.UID]*container
}

type container struct {
	namespace, ip string
	processes     []*exec.Cmd
}

// Bridge makes the network. Its own address, where the control plane is found, is 10.244.0.1.
func (c *Containers) Bridge() error {
	c.running = map[types.UID]*container{}
	return ip("link add pods type bridge", "addr add 10.244.0.1/16 dev pods", "link set pods up", "link set lo up")
}

func ip(commands ...string) error {
	for _, command := range commands {
		if said, err := exec.Command("ip", strings.Fields(command)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", command, err, said)
		}
	}
	return nil
}

// Start runs a pod unless it runs already, and gives its address.
func (c *Containers) Start(ctx context.Context, cluster client.Client, pod *core.Pod) (string, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if found := c.running[pod.UID]; found != nil {
		return found.ip, nil
	}
	files, err := c.volumes(ctx, cluster, pod)
	if err != nil {
		return "", err
	}
	c.last++
	ns, inside, outside := fmt.Sprintf("pod%d", c.last), fmt.Sprintf("i%d", c.last), fmt.Sprintf("o%d", c.last)
	started := &container{namespace: ns, ip: fmt.Sprintf("10.244.%d.%d", 1+c.last/250, 1+c.last%250)}
	if err := ip(
		"netns add "+ns,
		"link add "+outside+" type veth peer name "+inside,
		"link set "+inside+" netns "+ns,
		"link set "+outside+" master pods up",
		"-n "+ns+" addr add "+started.ip+"/16 dev "+inside,
		"-n "+ns+" link set "+inside+" up",
		"-n "+ns+" link set lo up",
	); err != nil {
		return "", err
	}
	for _, of := range pod.Spec.Containers {
		if err := c.process(pod, &of, started, files); err != nil {
			return "", err
		}
	}
	c.running[pod.UID] = started
	return started.ip, nil
}

func (c *Containers) process(pod *core.Pod, of *core.Container, in *container, files map[string]string) error {
	var program []string
	environment := os.Environ()
	switch {
	case strings.Contains(of.Image, "echo-basic"):
		program = []string{c.Echo}
	case of.Image == "envoy":
		program = []string{c.Gateway, pod.Name, pod.Namespace, pod.Spec.ServiceAccountName, in.ip, pod.Labels[gatewayLabel]}
	default:
		return nil
	}
	for _, variable := range of.Env {
		value := variable.Value
		if from := variable.ValueFrom; from != nil && from.FieldRef != nil {
			value = map[string]string{
				"metadata.name": pod.Name, "metadata.namespace": pod.Namespace, "status.podIP": in.ip,
			}[from.FieldRef.FieldPath]
		}
		for _, mount := range of.VolumeMounts {
			if rest, found := strings.CutPrefix(value, mount.MountPath); found {
				value = files[mount.Name] + rest
			}
		}
		environment = append(environment, variable.Name+"="+value)
	}
	output, err := c.Logs.open(pod, of, c.Directory)
	if err != nil {
		return err
	}
	command := exec.Command("ip", append([]string{"netns", "exec", in.namespace}, program...)...)
	command.Env, command.Stdout, command.Stderr, command.Dir = environment, output, output, c.Directory
	in.processes = append(in.processes, command)
	return command.Start()
}

// volumes writes the Secrets and ConfigMaps that a pod mounts into files, and gives their directories by the names of the volumes.
func (c *Containers) volumes(ctx context.Context, cluster client.Client, pod *core.Pod) (map[string]string, error) {
	files := map[string]string{}
	for _, volume := range pod.Spec.Volumes {
		content := map[string][]byte{}
		var items []core.KeyToPath
		switch {
		case volume.Secret != nil:
			var secret core.Secret
			name := types.NamespacedName{Namespace: pod.Namespace, Name: volume.Secret.SecretName}
			if err := cluster.Get(ctx, name, &secret); err != nil {
				return nil, err
			}
			content, items = secret.Data, volume.Secret.Items
		case volume.ConfigMap != nil:
			var found core.ConfigMap
			name := types.NamespacedName{Namespace: pod.Namespace, Name: volume.ConfigMap.Name}
			if err := cluster.Get(ctx, name, &found); err != nil {
				return nil, err
			}
			for file, text := range found.Data {
				content[file] = []byte(text)
			}
			items = volume.ConfigMap.Items
		}
		directory := filepath.Join(c.Directory, string(pod.UID), volume.Name)
		if err := os.MkdirAll(directory, 0o700); err != nil {
			return nil, err
		}
		for file, text := range content {
			for _, item := range items {
				if item.Key == file {
					file = item.Path
				}
			}
			if err := os.WriteFile(filepath.Join(directory, file), text, 0o600); err != nil {
				return nil, err
			}
		}
		files[volume.Name] = directory
	}
	return files, nil
}

// Keep ends all pods but these.
func (c *Containers) Keep(wanted map[types.UID]bool) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for uid, found := range c.running {
		if wanted[uid] {
			continue
		}
		for _, process := range found.processes {
			err := errors.Join(process.Process.Kill(), process.Wait())
			_ = err // It was killed; that is what is meant to happen here.
		}
		_ = ip("netns del " + found.namespace)
		delete(c.running, uid)
	}
}

// Close ends all of them.
func (c *Containers) Close() { c.Keep(nil) }
