# An API server with etcd, on the loopback interface. To be sourced, with `skip` defined and the repository's root as the
# directory; sets `work`, and defines `programs`, which has `apiserver` and `etcd` made or found, and `cluster`, which starts them.
#
# KUBE_APISERVER and ETCD name the programs. Without them they are built from their Go modules, which takes minutes the first
# time; what was built is kept beside what cargo builds.
kube_minor=34.4 etcd_version=v3.6.5
kept=$(mkdir -p "${CARGO_TARGET_DIR:-target}/interop" && cd "${CARGO_TARGET_DIR:-target}/interop" && pwd) || exit 1
work=$(mktemp -d)
finish() {
    # shellcheck disable=SC2046
    kill $(jobs -p) 2>/dev/null
    wait 2>/dev/null
    rm -rf "$work"
}
trap finish EXIT

built() { # name, package: in a module of its own in the present directory
    printf 'building %s from its Go module\n' "$2"
    GOFLAGS=-mod=mod go build -trimpath -ldflags '-s -w' -o "$kept/$1.part" "$2" 2>build.log || { tail -3 build.log; return 1; }
    mv "$kept/$1.part" "$kept/$1"
}

module() { go mod download -json "$1" 2>/dev/null | sed -n 's/^\t"Dir": "\(.*\)",*$/\1/p'; }

programs() {
    apiserver=${KUBE_APISERVER:-$kept/kube-apiserver-1.$kube_minor}
    if [ ! -x "$apiserver" ]; then
        mkdir -p "$work/kubernetes" && cd "$work/kubernetes" || exit 1
        dir=$(module "k8s.io/kubernetes@v1.$kube_minor")
        [ -n "$dir" ] || skip "KUBE_APISERVER is not set, and its Go module cannot be had here"
        # Its parts are modules of their own, which it names by a path in its repository only.
        {
            printf 'module peer\nrequire k8s.io/kubernetes v1.%s\nreplace (\n' "$kube_minor"
            sed -n 's|^\t\(k8s.io/[a-z-]*\) => ./staging/.*|\1|p' "$dir/go.mod" | sed "s|.*|\t& => & v0.$kube_minor|"
            grep -q '=> ./staging' "$dir/go.mod" ||
                sed -n 's|^\t\(k8s.io/[a-z-]*\) v0.0.0$|\1|p' "$dir/go.mod" | sed "s|.*|\t& => & v0.$kube_minor|"
            printf ')\n'
        } >go.mod
        built "kube-apiserver-1.$kube_minor" k8s.io/kubernetes/cmd/kube-apiserver || skip "its API server cannot be built here"
    fi
    etcd=${ETCD:-$kept/etcd-$etcd_version}
    if [ ! -x "$etcd" ]; then
        mkdir -p "$work/etcd-module" && cd "$work/etcd-module" && printf 'module peer\n' >go.mod || exit 1
        go get "go.etcd.io/etcd/server/v3@$etcd_version" 2>/dev/null || skip "ETCD is not set, and its Go module cannot be had here"
        built "etcd-$etcd_version" go.etcd.io/etcd/server/v3 || skip "etcd cannot be built here"
    fi
    cd "$work" || exit 1
}

# Starts etcd, and writes `kubeconfig`, an administrator's, and `start`, which runs the API server.
cluster() {
    cd "$work" || exit 1
    free() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
    local port store peers token
    port=$(free) store=$(free) peers=$(free)
    {
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=ca
        openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=kube-apiserver
        printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\n' >extensions
        openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -days 2 -extfile extensions -out server.crt
        openssl genrsa -out accounts.key 2048
    } >openssl.log 2>&1 || { cat openssl.log; exit 1; }
    token=$(openssl rand -hex 16)
    printf '%s,admin,admin,"system:masters"\n' "$token" >tokens.csv
    cat >kubeconfig <<Y
apiVersion: v1
kind: Config
current-context: test
clusters: [{name: test, cluster: {server: "https://127.0.0.1:$port", certificate-authority: $work/ca.crt}}]
users: [{name: admin, user: {token: "$token"}}]
contexts: [{name: test, context: {cluster: test, user: admin}}]
Y
    cat >start <<S
#!/bin/sh
exec "$apiserver" --etcd-servers=http://127.0.0.1:$store --bind-address=127.0.0.1 --advertise-address=192.0.2.1 --secure-port=$port \\
    --tls-cert-file=$work/server.crt --tls-private-key-file=$work/server.key --token-auth-file=$work/tokens.csv \\
    --service-account-key-file=$work/accounts.key --service-account-signing-key-file=$work/accounts.key \\
    --service-account-issuer=https://kubernetes.default.svc --service-cluster-ip-range=10.96.0.0/16 \\
    --authorization-mode=RBAC --disable-admission-plugins=ServiceAccount >>$work/apiserver.log 2>&1
S
    chmod +x start
    "$etcd" --data-dir "$work/etcd-data" --listen-client-urls "http://127.0.0.1:$store" \
        --advertise-client-urls "http://127.0.0.1:$store" --listen-peer-urls "http://127.0.0.1:$peers" >etcd.log 2>&1 &
}
