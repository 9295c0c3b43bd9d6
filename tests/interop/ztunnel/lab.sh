# The scene of `matrix`, `bench` and `waypoint`: a client, a server and a gateway in namespaces on one bridge, our redirection
# rules in both ends unless `captured` is `no`, and `proxy` to put either program there. To be sourced; needs `bin`, ZTUNNEL
# and ZTUNNEL_CA.
work=$(mktemp -d)
id=mm$$ failed=0
finish() {
    kill $(jobs -p) 2>/dev/null
    for ns in b c s g; do ip netns del $id$ns 2>/dev/null; done
    rm -rf "$work"
}
trap finish EXIT
cd "$work" || exit 1
# The shell says of every process that it was killed; that is what is meant to happen here.
exec 2>shell.log
mkdir authority files
cp "$ZTUNNEL_CA/root-cert.pem" authority/root-cert.pem
cp authority/root-cert.pem authority/ca-cert.pem
cp authority/root-cert.pem authority/cert-chain.pem
cp "$ZTUNNEL_CA/ca-key.pem" authority/ca-key.pem
head -c 20000000 /dev/urandom >files/big
sum=$(sha256sum <files/big)

mesh() { # network of server and gateway
    cat <<Y
workloads:
- {uid: lab//v1/Pod/default/client, name: client, namespace: default, serviceAccount: client, trustDomain: cluster.local,
   workloadIps: ["10.99.0.1", "fd99::1"], protocol: HBONE, node: n1, network: "", services: {}}
- uid: lab//v1/Pod/default/server
  name: server
  namespace: default
  serviceAccount: server
  trustDomain: cluster.local
  workloadIps: ["10.99.0.2", "fd99::2"]
  protocol: HBONE
  node: n2
  network: "$1"
  services: {"default/srv.default.svc.cluster.local": {80: 8080}}
  authorizationPolicies: ["default/only-client"]
  ${1:+networkGateway: {destination: "$1/10.99.0.3", hboneMtlsPort: 15008\}}
- {uid: lab//v1/Pod/default/gateway, name: gateway, namespace: default, serviceAccount: gateway, trustDomain: cluster.local,
   workloadIps: ["10.99.0.3"], protocol: HBONE, node: n3, network: "$1", services: {}}
services:
- {name: srv, namespace: default, hostname: srv.default.svc.cluster.local, vips: ["/10.96.0.10", "/fd96::10"], ports: {80: 8080},
   subjectAltNames: ["spiffe://cluster.local/ns/default/sa/server"]}
policies:
- name: only-client
  namespace: default
  scope: WorkloadSelector
  action: Allow
  dryRun: false
  rules:
  -
    -
      - principals: [!Exact cluster.local/ns/default/sa/client]
        destinationPorts: [8080]
Y
}
mesh "" >near.yaml
mesh far >far.yaml

ip netns add ${id}b
ip -n ${id}b link add br0 type bridge && ip -n ${id}b link set br0 up || exit 1
host=1
for ns in c s g; do
    ip netns add $id$ns && ip link add $ns netns ${id}b type veth peer name eth0 netns $id$ns || exit 1
    ip -n ${id}b link set $ns master br0 up
    ip -n $id$ns link set lo up; ip -n $id$ns link set eth0 up
    ip -n $id$ns addr add 10.99.0.$host/24 dev eth0; ip -n $id$ns addr add fd99::$host/64 dev eth0 nodad
    ip -n $id$ns route add default dev eth0; ip -n $id$ns -6 route add default dev eth0
    # Redirected connections that have ended would make new ones look for a free port.
    ip netns exec $id$ns sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_time_wait=1 net.netfilter.nf_conntrack_tcp_timeout_close=1
    host=$((host + 1))
done
for ns in c s; do
    [ "${captured:-}" = no ] && break
    # Twice: it is idempotent.
    ISTIO_META_DNS_CAPTURE=false "$bin/node-proxy" capture install --namespace /run/netns/$id$ns || exit 1
    ISTIO_META_DNS_CAPTURE=false "$bin/node-proxy" capture install --namespace /run/netns/$id$ns || exit 1
done
for port in 8080 8081; do
    (cd files && exec ip netns exec ${id}s python3 -m http.server $port --bind :: >/dev/null 2>&1) &
    (cd files && exec ip netns exec ${id}c python3 -m http.server $port --bind :: >/dev/null 2>&1) &
done

# Waits for something to come true, ten seconds at most.
eventually() {
    local left=100
    until "$@" 2>/dev/null; do
        left=$((left - 1))
        [ $left -gt 0 ] || return 1
        sleep 0.1
    done
}

# The servers listen before anything is judged by whether they answer.
for ns in c s; do
    for port in 8080 8081; do
        eventually ip netns exec $id$ns bash -c ": <>/dev/tcp/127.0.0.1/$port" || exit 1
    done
done

proxy() { # ours|ztunnel namespace workload file network
    local program=$bin/node-proxy
    [ "$1" = ztunnel ] && program=$ZTUNNEL
    ip netns exec $id$2 env -i PATH="$PATH" FAKE_CA=true LOCAL_CA_DIR="$work/authority" XDS_ADDRESS= LOCAL_XDS_PATH="$work/$4.yaml" \
        PROXY_MODE=dedicated PROXY_WORKLOAD_INFO=default/$3/$3 PACKET_MARK=1337 NETWORK="$5" ISTIO_META_DNS_CAPTURE=false \
        UNSTABLE_ENABLE_SOCKS5=true CONNECTION_TERMINATION_DEADLINE=20s ZTUNNEL_WORKER_THREADS=2 RUST_LOG=info \
        timeout 120 "$program" >>"$work/$1-$3.log" 2>&1 &
    pid=$!
    for _ in $(seq 1 100); do
        ip netns exec $id$2 curl -fs -o /dev/null http://127.0.0.1:15021/healthz/ready && return
        sleep 0.1
    done
    echo "FAIL  $1 as $3 does not become ready"; failed=1
}
