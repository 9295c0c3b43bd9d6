//! What a waypoint is programmed with: by a control plane, or by manifests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_control_plane::standalone;
use mesh_control_plane::translate::Place;
use mesh_control_plane::translate::waypoint::Resources as Translated;
use mesh_core::config::{Assembly, Config, Resources};
use mesh_core::live::{Live, Publisher};
use mesh_core::name::parse_trust_domain;
use mesh_host::member::{ControlPlane, Error, Member};
use mesh_identity::clock::{Clock, SystemClock};
use mesh_identity::task::Tasks;
use mesh_identity::tls::Identity;
use mesh_xds::client::machine::{ServerTraits, Variant};
use mesh_xds::client::{Client, Group};
use mesh_xds::pb::{Kind, Locality as WireLocality, Node, Struct, Value};
use mesh_xds::proxy::Keeper;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::settings::Settings;

/// Follows a control plane, as `identity` if there is one.
pub(crate) fn by_control_plane(
    settings: &Settings,
    member: &Member,
    identity: Option<&Identity>,
    stop: &CancellationToken,
    following: &Tasks,
) -> Result<Live<Config>, Error> {
    let connects: Vec<ControlPlane> = match identity {
        Some(identity) => member.connects_as(identity)?,
        None => member.connects()?,
    };
    let names = settings.member().control_planes;
    let mut group = Group::new(names.iter().map(|name| ServerTraits::new(name, Variant::Delta)).collect());
    if let Some(directory) = &settings.state_dir {
        group = group.file(directory.join("configuration.state"));
    }
    let now: fn() -> SystemTime = || SystemClock.now();
    let (client, driver) = Client::new(&node(settings), vec![group], BTreeMap::new(), now);
    let (keeper, config) = Keeper::new(&client);
    following.spawn(driver.run(vec![connects], stop.clone()));
    following.spawn(keeper.at(settings.whereabouts()).run(stop.clone()));
    Ok(config)
}

/// Reads manifests and follows them. What is wrong at the start ends the program, what is wrong later leaves in force what
/// was.
pub(crate) fn by_manifests(settings: &Settings, tasks: &Tasks) -> Result<Live<Config>, Error> {
    let settings = settings.clone();
    let mut assembly = Assembly::probing().at(settings.whereabouts());
    let mut last = read(&settings).map_err(|problems| problems.join("\n"))?;
    let (publisher, config) = Publisher::new(assembly.assemble(&resources(&last), Instant::now().into_std()));
    tasks.spawn(async move {
        let mut told = Vec::new();
        loop {
            tokio::time::sleep(Duration::from_millis(settings.poll_interval_ms.max(10))).await;
            match read(&settings) {
                Ok(translated) if translated == last => {}
                Ok(translated) => {
                    tracing::info!("manifests read anew");
                    publisher.publish(assembly.assemble(&resources(&translated), Instant::now().into_std()));
                    last = translated;
                    told.clear();
                }
                Err(problems) if problems == told => {}
                Err(problems) => {
                    for problem in &problems {
                        tracing::error!(problem, "manifests are not taken; what was taken before stays in force");
                    }
                    told = problems;
                }
            }
        }
    });
    Ok(config)
}

fn read(settings: &Settings) -> Result<Translated, Vec<String>> {
    let one = |problem: String| vec![problem];
    let trust_domain = parse_trust_domain(&settings.trust_domain).map_err(|error| one(error.to_string()))?;
    let place = Place {
        network: settings.network.clone(),
        cluster_domain: settings.cluster_domain.clone(),
        ..Place::new(trust_domain, settings.cluster_id.clone())
    };
    let manifests = settings.manifests.as_deref().ok_or_else(|| one("no manifests are named".to_owned()))?;
    let read = standalone::resources(manifests, &place, &settings.gateway(), &settings.locality());
    let (translated, findings) =
        read.map_err(|findings| findings.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    for finding in findings {
        tracing::debug!(%finding, "manifests");
    }
    Ok(translated)
}

fn resources(translated: &Translated) -> Resources {
    let Translated { listeners, clusters, assignments } = translated;
    Resources {
        listeners: listeners.iter().map(|one| (one.name.clone(), Arc::new(one.clone()))).collect(),
        routes: BTreeMap::new(),
        clusters: clusters.iter().map(|one| (one.name.clone(), Arc::new(one.clone()))).collect(),
        assignments: assignments.iter().map(|one| (one.cluster.clone(), Arc::new(one.clone()))).collect(),
    }
}

/// Who this instance is to a control plane, in the form of Istio's waypoints.
fn node(settings: &Settings) -> Node {
    let waypoint = &settings.waypoint;
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
    let map = |pairs: &[(&str, Value)]| Struct {
        fields: pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
    };
    let labels = map(&[
        ("gateway.networking.k8s.io/gateway-name", text(&waypoint.name)),
        ("gateway.istio.io/managed", text("istio.io-mesh-controller")),
    ]);
    let account = waypoint.service_account.as_ref().unwrap_or(&waypoint.name);
    let metadata = map(&[
        ("NAME", text(&waypoint.pod)),
        ("NAMESPACE", text(&waypoint.namespace)),
        ("SERVICE_ACCOUNT", text(account)),
        ("INSTANCE_IPS", text(&waypoint.ip.to_string())),
        ("CLUSTER_ID", text(&settings.cluster_id)),
        ("NETWORK", text(&settings.network)),
        ("LABELS", Value { kind: Some(Kind::StructValue(labels)) }),
    ]);
    let namespace = &waypoint.namespace;
    Node {
        id: format!(
            "waypoint~{}~{}.{namespace}~{namespace}.svc.{}",
            waypoint.ip, waypoint.pod, settings.cluster_domain
        ),
        cluster: format!("{}.{namespace}", waypoint.name),
        metadata: Some(metadata),
        locality: Some(WireLocality {
            region: settings.locality.region.clone(),
            zone: settings.locality.zone.clone(),
            sub_zone: settings.locality.subzone.clone(),
        }),
        user_agent_name: "mesh-waypoint".to_owned(),
        ..Node::default()
    }
}
