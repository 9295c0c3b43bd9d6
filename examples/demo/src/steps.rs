//! The steps: each shows one thing and asserts it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use http_body_util::BodyExt;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::Error;
use crate::client::{Caller, Refused, admin};
use crate::load::Load;
use crate::observe::{DEADLINE, dump, eventually, logged, peer_seen_by, ready, serials};
use crate::process::{Cast, Part};
use crate::report::Report;
use crate::scene::{CATALOG_VIP, Node, Scene, Who, policies, policies_without_frontend};

const CATALOG: &str = "catalog.shop.svc.cluster.local";
const CHECKOUT: &str = "checkout.shop.svc.cluster.local";

/// SOCKS5 reply: connection not allowed by ruleset (RFC 1928 section 6).
const NOT_ALLOWED: u8 = 2;

/// Plays all steps in order; the first that misses what it is to show ends the play.
pub(crate) async fn play(scene: &Scene, cast: &mut Cast, report: &mut Report) -> Result<(), Error> {
    report.step("a control plane and two node proxies start", start(scene)).await?;
    report.step("an allowed HTTP call, by host name and by VIP", allowed_http(scene)).await?;
    report.step("an allowed gRPC call", allowed_grpc(scene)).await?;
    report.step("a call refused by policy", refused(scene)).await?;
    report.step("a bad policy file changes nothing", bad_policy(scene)).await?;
    report.step("a policy edited under open connections", edited_policy(scene)).await?;

    let load = Load::start(Caller::new(scene, Who::Frontend));
    report.step("certificates rotate under load", rotation(scene, &load)).await?;
    report.step("the control plane is killed", control_plane_killed(cast, &load)).await?;
    drop(load);
    report.step("a node proxy restarts without it", node_restarted(scene, cast)).await?;
    report.step("the control plane comes back", control_plane_back(scene, cast)).await
}

async fn start(scene: &Scene) -> Result<String, Error> {
    // The servers are up long before the proxies, which wait for certificates.
    eventually(DEADLINE, || ready(scene, Node::A)).await?;
    eventually(DEADLINE, || ready(scene, Node::B)).await?;
    let identities = serials(scene, Node::A).await?.len() + serials(scene, Node::B).await?.len();
    Ok(format!("ready, with {identities} workload identities issued"))
}

async fn allowed_http(scene: &Scene) -> Result<String, Error> {
    let caller = Caller::new(scene, Who::Frontend);
    for host in [CATALOG, CATALOG_VIP] {
        let mut http = eventually(DEADLINE, || caller.http(host, 80)).await?;
        let body = http.get("/").await?;
        if body != "hello from catalog" {
            return Err(format!("{host} answered {body:?}").into());
        }
        let peer = peer_seen_by(scene, Who::Catalog).await?;
        if peer != Who::Frontend.id() {
            return Err(format!("the server's side saw {peer}").into());
        }
    }
    Ok(format!("200, and the server's side saw {}", Who::Frontend.id()))
}

async fn allowed_grpc(scene: &Scene) -> Result<String, Error> {
    let (channel, _) = Caller::new(scene, Who::Frontend).grpc(CHECKOUT, 9090).await?;
    let mut health = HealthClient::new(channel);
    let status = check(&mut health).await?;
    let peer = peer_seen_by(scene, Who::Checkout).await?;
    if peer != Who::Frontend.id() {
        return Err(format!("the server's side saw {peer}").into());
    }
    Ok(format!("{status}, and the server's side saw {peer}"))
}

async fn refused(scene: &Scene) -> Result<String, Error> {
    let Err(error) = Caller::new(scene, Who::Batch).dial(CATALOG, 80).await else {
        return Err("the batch job reached the catalog".into());
    };
    let reply = error.downcast_ref::<Refused>().map(|refused| refused.0);
    if reply != Some(NOT_ALLOWED) {
        return Err(format!("expected a refusal by rule, got: {error}").into());
    }
    let identity = Who::Batch.id();
    let line = eventually(DEADLINE, || async { logged(scene, Node::B, &[("src.identity", &identity)]) }).await?;
    let policy = line["policy"].as_str().ok_or("the access log names no policy")?;
    if policy != "shop/no-batch-jobs" {
        return Err(format!("refused by {policy}").into());
    }
    Ok(format!("{identity} refused by {policy}"))
}

async fn bad_policy(scene: &Scene) -> Result<String, Error> {
    // One letter too many: taken for "no such condition", it would open what it is to close.
    scene.publish_policies(&policies().replace("principals", "principalss"))?;
    let findings = eventually(DEADLINE, || async {
        let findings = admin(scene.control_plane_admin(), "/findings").await?;
        if findings.contains("policies.yaml") { Ok(findings) } else { Err("the bad file was not reported".into()) }
    })
    .await?;
    let findings: serde_json::Value = serde_json::from_str(&findings)?;
    let found = findings
        .as_array()
        .and_then(|all| all.iter().find(|finding| finding["severity"] == "error"))
        .ok_or("no error among the findings")?;
    let line = found["line"].as_u64().ok_or("the finding names no line")?;
    Caller::new(scene, Who::Frontend).http(CATALOG, 80).await?.get("/").await?;
    if Caller::new(scene, Who::Batch).dial(CATALOG, 80).await.is_ok() {
        return Err("the batch job got through while the file was bad".into());
    }
    scene.publish_policies(&policies())?;
    eventually(DEADLINE, || async {
        let findings = admin(scene.control_plane_admin(), "/findings").await?;
        if findings.contains("policies.yaml") { Err("the mended file is still reported".into()) } else { Ok(()) }
    })
    .await?;
    Ok(format!("policies.yaml:{line} was named, the last good policies went on"))
}

async fn edited_policy(scene: &Scene) -> Result<String, Error> {
    let caller = Caller::new(scene, Who::Frontend);
    let mut http = caller.http(CATALOG, 80).await?;
    let mut ticks = http.send("/ticks").await?.into_body();
    ticks.frame().await.ok_or("no tick came")??;
    let (channel, dials) = caller.grpc(CHECKOUT, 9090).await?;
    let mut health = HealthClient::new(channel);
    check(&mut health).await?;

    scene.publish_policies(&policies_without_frontend())?;
    let edited = tokio::time::Instant::now();
    let cut = async { while let Some(Ok(_)) = ticks.frame().await {} };
    tokio::time::timeout(DEADLINE, cut).await.map_err(|_| "the connection that is now forbidden was not cut")?;
    let after = edited.elapsed().as_millis();
    let wanted = [("direction", "inbound"), ("policy", "shop/catalog-closed")];
    eventually(DEADLINE, || async { logged(scene, Node::B, &wanted) }).await?;

    check(&mut health).await.map_err(|error| format!("the allowed connection did not live on: {error}"))?;
    if dials.load(Ordering::Relaxed) != 1 {
        return Err("the allowed connection was made anew".into());
    }
    scene.publish_policies(&policies())?;
    eventually(DEADLINE, || async { caller.http(CATALOG, 80).await?.get("/").await }).await?;
    Ok(format!("the forbidden one was cut by shop/catalog-closed after {after} ms, the other lives"))
}

async fn rotation(scene: &Scene, load: &Load) -> Result<String, Error> {
    let before = (serials(scene, Node::A).await?, serials(scene, Node::B).await?);
    let (caller, server) = (Who::Frontend.id(), Who::Catalog.id());
    eventually(scene.svid_ttl, || async {
        let now = (serials(scene, Node::A).await?, serials(scene, Node::B).await?);
        let rotated = now.0.get(&caller) != before.0.get(&caller) && now.1.get(&server) != before.1.get(&server);
        if rotated { Ok(()) } else { Err("the certificates were not renewed in time".into()) }
    })
    .await?;
    let (requests, connections) = load.check(Duration::from_millis(500)).await?;
    Ok(format!("caller and server renewed; {requests} requests over {connections} connections, none failed"))
}

async fn control_plane_killed(cast: &mut Cast, load: &Load) -> Result<String, Error> {
    cast.kill(Part::ControlPlane).await?;
    let (before, _) = load.check(Duration::from_millis(100)).await?;
    let (after, _) = load.check(Duration::from_millis(1500)).await?;
    Ok(format!("{} more requests on old and new connections, none failed", after - before))
}

async fn node_restarted(scene: &Scene, cast: &mut Cast) -> Result<String, Error> {
    cast.kill(Part::NodeProxy(Node::B)).await?;
    cast.run(Part::NodeProxy(Node::B))?;
    let begun = tokio::time::Instant::now();
    eventually(DEADLINE, || ready(scene, Node::B)).await?;
    let took = begun.elapsed().as_millis();
    let dump = dump(scene, Node::B).await?;
    if dump["mesh"]["xds"]["connected"] != false || dump["mesh"]["xds"]["loaded_from_disk"] != true {
        return Err(format!("expected state from disk and no control plane: {}", dump["mesh"]["xds"]).into());
    }
    let caller = Caller::new(scene, Who::Frontend);
    eventually(DEADLINE, || async { caller.http(CATALOG, 80).await?.get("/").await }).await?;
    if Caller::new(scene, Who::Batch).dial(CATALOG, 80).await.is_ok() {
        return Err("the batch job got through after the restart".into());
    }
    Ok(format!("ready from disk after {took} ms; the allowed call passes, the refused one is refused"))
}

async fn control_plane_back(scene: &Scene, cast: &mut Cast) -> Result<String, Error> {
    cast.run(Part::ControlPlane)?;
    for node in [Node::A, Node::B] {
        eventually(DEADLINE, || async {
            let connected = dump(scene, node).await?["mesh"]["xds"]["connected"] == true;
            if connected { Ok(()) } else { Err(format!("{} did not reconnect", node.name()).into()) }
        })
        .await?;
    }
    let caller = Caller::new(scene, Who::Frontend);
    scene.publish_policies(&policies_without_frontend())?;
    eventually(DEADLINE, || async {
        if caller.dial(CATALOG, 80).await.is_ok() { Err("the new policy did not arrive".into()) } else { Ok(()) }
    })
    .await?;
    scene.publish_policies(&policies())?;
    eventually(DEADLINE, || async { caller.http(CATALOG, 80).await?.get("/").await }).await?;
    Ok("both node proxies reconnected, and policy edits arrive again".into())
}

async fn check(health: &mut HealthClient<tonic::transport::Channel>) -> Result<String, Error> {
    let request = HealthCheckRequest { service: "checkout".into() };
    let status = health.check(request).await?.into_inner().status();
    if status != tonic_health::pb::health_check_response::ServingStatus::Serving {
        return Err(format!("the server says {}", status.as_str_name()).into());
    }
    Ok(status.as_str_name().to_owned())
}
