//! Capture, in network namespaces joined by a bridge: pods in both directions, both families, in plaintext and by tunnel;
//! pods that come and go; names; a host of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    dead_code,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    reason = "a test"
)]

mod lab;

use std::net::SocketAddr;
use std::time::Duration;

use lab::{Lab, application, call, call_within, can_run, sh, sockets, until};
use mesh_transport::socket::NetNamespace;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ONLY_CLIENT: &str = "
policies:
- name: only-client
  namespace: shop
  scope: Namespace
  action: Allow
  rules: [[[{principals: [!Exact cluster.local/ns/shop/sa/client]}]]]
";

struct Scene {
    lab: Lab,
    client: NetNamespace,
    server: NetNamespace,
    outside: NetNamespace,
}

/// A client and a server, each behind a proxy of its own, and somebody outside the mesh.
async fn scene(policies: &str, extra: &str) -> Scene {
    let mut lab = Lab::new();
    let (client, server, outside) = (lab.pod(1), lab.pod(2), lab.pod(3));
    let mesh = format!(
        "workloads:\n{}{}services:\n- {{name: web, namespace: shop, hostname: web.shop.svc.cluster.local, vips: [\"/10.96.0.1\", \"/fd96::1\"], ports: {{80: 8080}}}}\n{policies}",
        lab.workload("client", 1, "services: {}"),
        lab.workload("server", 2, "services: {\"shop/web.shop.svc.cluster.local\": {80: 8080}}"),
    );
    let (near, far) = (lab.proxy("near", &mesh, extra).await, lab.proxy("far", &mesh, extra).await);
    lab.enrol(near, "client", &client).await;
    lab.enrol(far, "server", &server).await;
    application(&server, "[::]:8080".parse().unwrap());
    application(&outside, "[::]:8080".parse().unwrap());
    Scene { lab, client, server, outside }
}

fn at(ip: std::net::IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip, port)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn captured_pods_reach_each_other_by_tunnel() {
    if !can_run() {
        return;
    }
    let scene = scene("", "").await;
    let lab = &scene.lab;
    let (v4, v6) = (lab.ip(1).to_string(), lab.ip6(1).to_string());
    // By VIP and by address, over both families; the application sees its client's own address.
    for (to, client) in [
        ("10.96.0.1:80".parse().unwrap(), &v4),
        (at(lab.ip(2), 8080), &v4),
        ("[fd96::1]:80".parse().unwrap(), &v6),
        (at(lab.ip6(2), 8080), &v6),
    ] {
        let (seen, stream) = call(&scene.client, to).await.unwrap_or_else(|error| panic!("{to}: {error}"));
        assert_eq!(seen, *client, "{to}");
        let open: serde_json::Value = serde_json::from_str(&lab.get(1, "/connections")).unwrap();
        let into = open.as_array().unwrap().iter().find(|one| one["direction"] == "inbound").expect("tracked");
        assert_eq!(into["src.identity"], "spiffe://cluster.local/ns/shop/sa/client", "{to}");
        drop(stream);
        // The next round must not find this one.
        until("the connection is forgotten", || lab.get(1, "/connections").trim() == "[]").await;
    }
    // Out of the mesh, unchanged.
    let (seen, _) = call(&scene.client, at(lab.ip(3), 8080)).await.unwrap();
    assert_eq!(seen, v4);

    let metrics = lab.get(0, "/metrics");
    let line = metrics
        .lines()
        .find(|line| {
            line.starts_with("istio_tcp_connections_opened_total") && line.contains("destination_service=\"web")
        })
        .unwrap();
    for label in [
        "reporter=\"source\"",
        "source_workload=\"client\"",
        "destination_workload=\"server\"",
        "connection_security_policy=\"mutual_tls\"",
        "destination_principal=\"spiffe://cluster.local/ns/shop/sa/server\"",
    ] {
        assert!(line.contains(label), "{label} is not in {line}");
    }
    assert!(metrics.contains("workload_manager_active_proxy_count 1"));
    let explained: serde_json::Value =
        serde_json::from_str(&lab.get(0, "/explain?from=shop/client&to=10.96.0.1:80")).unwrap();
    assert_eq!(
        (explained["verdict"].as_str(), explained["reason"].as_str()),
        (Some("allowed"), Some("service_endpoint"))
    );
    let dump: serde_json::Value = serde_json::from_str(&lab.get(0, "/config_dump")).unwrap();
    assert_eq!(dump["workloadState"]["uid-client"]["info"]["name"], "client");
    assert_eq!(dump["certificates"][0]["state"], "Available");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plaintext_into_a_pod_is_judged_without_an_identity() {
    if !can_run() {
        return;
    }
    let open = scene("", "").await;
    let (seen, _) = call(&open.outside, at(open.lab.ip(2), 8080)).await.unwrap();
    assert_eq!(seen, open.lab.ip(3).to_string(), "the client's address is kept");
    let (seen, _) = call(&open.outside, at(open.lab.ip6(2), 8080)).await.unwrap();
    assert_eq!(seen, open.lab.ip6(3).to_string());

    let strict = scene(ONLY_CLIENT, "").await;
    assert!(call(&strict.outside, at(strict.lab.ip(2), 8080)).await.is_err(), "plaintext has no identity");
    assert!(call(&strict.client, at(strict.lab.ip(2), 8080)).await.is_ok(), "a tunnel has");
    assert!(strict.lab.log(1).contains("no_allow_policy_matches"), "the log names the reason");
    // The other way round: the server's own identity is not allowed into the client.
    application(&strict.client, "[::]:8080".parse().unwrap());
    assert!(call(&strict.server, at(strict.lab.ip(1), 8080)).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proxys_own_ports_lead_nowhere() {
    if !can_run() {
        return;
    }
    let scene = scene("", "").await;
    let lab = &scene.lab;
    for port in [15001, 15006, 15008, 15053] {
        for (who, from) in [("the pod itself", &scene.server), ("outside", &scene.outside), ("a peer", &scene.client)] {
            for to in [
                at(lab.ip(2), port),
                SocketAddr::from(([127, 0, 0, 1], port)),
                SocketAddr::from(([127, 0, 0, 9], port)),
            ] {
                // A port that waits for a handshake keeps the connection; nothing ever comes back on it.
                let reached = call_within(Duration::from_millis(500), from, to).await;
                assert!(reached.is_err(), "{who} reaches {to}: {reached:?}");
            }
        }
    }
    assert!(call(&scene.client, at(lab.ip(2), 8080)).await.is_ok(), "and everybody else is served as before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_come_and_go_under_load() {
    if !can_run() {
        return;
    }
    let mut scene = scene("", "").await;
    let (client, to) = (scene.client.clone(), at(scene.lab.ip(2), 8080));
    let load = tokio::spawn(async move {
        let mut calls = 0;
        for _ in 0..400 {
            call(&client, to).await.unwrap_or_else(|error| panic!("after {calls} calls: {error}"));
            calls += 1;
        }
        calls
    });
    let far = 1;
    let fds = |lab: &Lab| std::fs::read_dir(format!("/proc/{}/fd", lab.pid(far))).unwrap().count();
    let before = fds(&scene.lab);
    for round in 0..12 {
        let namespace = scene.lab.pod(20);
        scene.lab.enrol(far, "passing", &namespace).await;
        // Told again, as after a restart of the agent: nothing changes.
        scene.lab.enrol(far, "passing", &namespace).await;
        assert!(scene.lab.get(far, "/metrics").contains("workload_manager_active_proxy_count 2"), "round {round}");
        // Every other time the pod is gone before anybody says so.
        if round % 2 == 0 {
            drop(namespace);
            scene.lab.remove_pod(20);
            scene.lab.expel(far, "passing").await;
        } else {
            scene.lab.expel(far, "passing").await;
            scene.lab.remove_pod(20);
        }
    }
    assert_eq!(load.await.unwrap(), 400);
    assert!(scene.lab.get(far, "/metrics").contains("workload_manager_active_proxy_count 1"));
    until(&format!("descriptors are closed, as {before} were open before"), || fds(&scene.lab) <= before + 8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_proxy_takes_over() {
    if !can_run() {
        return;
    }
    let mut scene = scene("", "").await;
    let to = at(scene.lab.ip(2), 8080);
    let (_, mut old) = call(&scene.client, to).await.unwrap();
    let alone = scene.lab.listeners(2, 15008);
    assert!(alone > 0);
    // The new one connects to the same agent and is told of the same pods; both listen.
    let (mut second, log) = scene.lab.second(1);
    scene.lab.accept_again(1).await;
    until("both listen", || scene.lab.listeners(2, 15008) == 2 * alone).await;
    sh(&format!("kill {}", scene.lab.pid(1)));
    // The connection through the first one goes on for as long as it drains.
    old.write_all(b"still").await.unwrap();
    let mut echo = [0; 5];
    old.read_exact(&mut echo).await.unwrap();
    until("the first proxy listens no more", || scene.lab.listeners(2, 15008) == alone).await;
    for _ in 0..20 {
        call(&scene.client, to)
            .await
            .unwrap_or_else(|error| panic!("{error}\n{}", std::fs::read_to_string(&log).unwrap()));
    }
    second.kill().unwrap();
    second.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_the_mesh_are_answered_and_others_passed_on() {
    if !can_run() {
        return;
    }
    let mut lab = Lab::new();
    let outside = lab.pod(3);
    let conf = lab.dir.path().join("resolv.conf");
    std::fs::write(&conf, format!("nameserver {}\n", lab.ip(3))).unwrap();
    let client = lab.pod(1);
    let mesh = format!(
        "workloads:\n{}services:\n- {{name: web, namespace: shop, hostname: web.shop.svc.cluster.local, vips: [\"/10.96.0.1\"], ports: {{80: 8080}}}}\n",
        lab.workload("client", 1, "services: {}")
    );
    let near = lab.proxy("near", &mesh, &format!("dns: {{enabled: true, resolv_conf: {}}}", conf.display())).await;
    lab.enrol(near, "client", &client).await;

    // A server outside that echoes questions as answers: only what reaches it comes back so.
    let udp = sockets(&outside).udp(at(lab.ip(3), 53)).unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = udp.recv_from(&mut buffer).await {
            buffer[2] |= 0x80;
            udp.send_to(&buffer[..length], from).await.unwrap();
        }
    });
    let question = |name: &str, kind: u8| {
        let mut bytes = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            bytes.push(u8::try_from(label.len()).unwrap());
            bytes.extend(label.as_bytes());
        }
        bytes.extend([0, 0, kind, 0, 1]);
        bytes
    };
    let ask = async |name: &str, kind: u8| {
        let socket = sockets(&client).udp("0.0.0.0:0".parse().unwrap()).unwrap();
        // Whatever server the application asks.
        socket.send_to(&question(name, kind), at(lab.ip(200), 53)).await.unwrap();
        let mut answer = vec![0; 1500];
        let (length, from) =
            tokio::time::timeout(Duration::from_secs(5), socket.recv_from(&mut answer)).await.unwrap().unwrap();
        assert_eq!(from, at(lab.ip(200), 53), "the answer comes from whom was asked");
        answer.truncate(length);
        answer
    };
    for name in ["web", "web.shop.svc.cluster.local"] {
        let answer = ask(name, 1).await;
        assert!(answer.ends_with(&[10, 96, 0, 1]), "{name}: {answer:?}");
    }
    let none = ask("web", 28).await;
    assert_eq!((none[3] & 0x0f, none[7]), (0, 0), "known, and without such an address");
    assert_eq!(&ask("example.com", 1).await[12..], &question("example.com", 1)[12..], "passed on");

    // Over TCP.
    let mut tcp = sockets(&client).connect(at(lab.ip(200), 53)).await.unwrap();
    let bytes = question("web", 1);
    tcp.write_u16(u16::try_from(bytes.len()).unwrap()).await.unwrap();
    tcp.write_all(&bytes).await.unwrap();
    let length = tcp.read_u16().await.unwrap();
    let mut answer = vec![0; usize::from(length)];
    tcp.read_exact(&mut answer).await.unwrap();
    assert!(answer.ends_with(&[10, 96, 0, 1]));
    let metrics = lab.get(near, "/metrics");
    assert!(metrics.contains("istio_dns_requests_total{request_query_type=\"A\""), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_of_its_own_is_captured_and_released() {
    if !can_run() {
        return;
    }
    let mut scene = scene("", "").await;
    // The outside machine joins: a dedicated proxy in its namespace, for one workload.
    let name = scene.lab.pod_name(3);
    let dir = scene.lab.dir.path().to_owned();
    let mesh = format!(
        "workloads:\n{}{}",
        scene.lab.workload("machine", 3, "services: {}"),
        scene.lab.workload("server", 2, "services: {}")
    );
    std::fs::write(dir.join("machine.yaml"), mesh).unwrap();
    let mut child = std::process::Command::new("ip")
        .args(["netns", "exec", &name, env!("CARGO_BIN_EXE_node-proxy")])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .envs([
            ("PROXY_MODE", "dedicated"),
            ("PROXY_WORKLOAD_INFO", "shop/machine/machine"),
            ("XDS_ADDRESS", ""),
            ("FAKE_CA", "true"),
            ("CAPTURE_RULES", "true"),
            ("ISTIO_META_DNS_CAPTURE", "false"),
            ("CONNECTION_TERMINATION_DEADLINE", "1s"),
        ])
        .env("LOCAL_CA_DIR", dir.join("authority"))
        .env("LOCAL_XDS_PATH", dir.join("machine.yaml"))
        .stderr(std::fs::File::create(dir.join("machine.log")).unwrap())
        .spawn()
        .unwrap();
    let ready = format!("ip netns exec {name} nft list table inet mesh_capture >/dev/null 2>&1");
    let is_captured = || std::process::Command::new("sh").args(["-c", &ready]).status().unwrap().success();
    until("the rules stand", is_captured).await;
    let to = at(scene.lab.ip(2), 8080);
    let (seen, stream) = call(&scene.outside, to)
        .await
        .unwrap_or_else(|error| panic!("{error}\n{}", std::fs::read_to_string(dir.join("machine.log")).unwrap()));
    assert_eq!(seen, scene.lab.ip(3).to_string());
    let open: serde_json::Value = serde_json::from_str(&scene.lab.get(1, "/connections")).unwrap();
    assert_eq!(open[0]["src.identity"], "spiffe://cluster.local/ns/shop/sa/machine");
    drop(stream);

    // It ends, and leaves nothing behind.
    sh(&format!("kill {}", child.id()));
    let status = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    assert!(status.success(), "{}", std::fs::read_to_string(dir.join("machine.log")).unwrap());
    sh(&format!("! ip netns exec {name} nft list table inet mesh_capture 2>/dev/null"));
    sh(&format!("test -z \"$(ip -n {name} rule show table 100)\""));
    assert!(call(&scene.outside, to).await.is_ok(), "as plaintext again");
    scene.lab.expel(1, "server").await;
}
