//! Captured workloads: the pods that a node agent tells of, each in its own network namespace, or the one of this process.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mesh_core::name::{Hostname, SpiffeId};
use mesh_identity::task::Tasks;
use mesh_transport::capture::agent::{PodInfo, Pods};
use mesh_transport::capture::{self, Ports, Rules};
use mesh_transport::dns::{Dns, Forwarder, Zone, parse_resolv_conf};
use mesh_transport::proxy::{Drain, Inputs, LocalWorkload, Pod, Ways};
use mesh_transport::socket::{NetNamespace, Sockets};
use parking_lot::Mutex;

use crate::metrics::Metrics;
use crate::settings::{Mode, Settings};
use mesh_host::member::Error;

/// Starts and stops captured workloads.
pub(crate) struct Captured {
    settings: Settings,
    inputs: Inputs,
    drain: Drain,
    ways: Ways,
    names: Option<(Zone, Forwarder)>,
    metrics: Arc<Metrics>,
    /// Ends of pods go on beside everything else.
    endings: Tasks,
    running: BTreeMap<String, Running>,
    served: Served,
}

struct Running {
    pod: Pod,
    info: PodInfo,
    namespace: Option<NetNamespace>,
}

/// Who is served now, for dumps. Cheap to clone.
pub(crate) type Served = Arc<Mutex<BTreeMap<String, (PodInfo, LocalWorkload)>>>;

impl Captured {
    pub(crate) fn new(
        settings: &Settings,
        inputs: &Inputs,
        drain: &Drain,
        metrics: &Arc<Metrics>,
        endings: &Tasks,
    ) -> Result<Self, Error> {
        let mut ways = Ways::default();
        ways.inbound_tunnel = settings.hbone_port;
        ways.socks5 = (settings.socks5_port != 0).then_some(settings.socks5_port);
        ways.ipv6 = settings.capture.ipv6;
        ways.drain = Duration::from_secs(settings.drain_seconds);
        Ok(Self {
            names: names(settings)?,
            settings: settings.clone(),
            inputs: inputs.clone(),
            drain: drain.clone(),
            ways,
            metrics: Arc::clone(metrics),
            endings: endings.clone(),
            running: BTreeMap::new(),
            served: Served::default(),
        })
    }

    pub(crate) fn served(&self) -> Served {
        Arc::clone(&self.served)
    }

    /// Serves a workload in a namespace, that of the process when `None`.
    pub(crate) fn serve(&mut self, uid: &str, info: &PodInfo, namespace: Option<&NetNamespace>) -> io::Result<()> {
        let mut sockets = self.settings.sockets();
        sockets.namespace = namespace.cloned();
        let local = LocalWorkload::pod(&info.namespace, &info.name, &info.service_account);
        let pod = Pod::start(&self.inputs, sockets.clone(), &local, &self.ways, &self.drain)?;
        if let Some((zone, forwarder)) = &self.names {
            self.answer_names(&pod, &local, zone, forwarder, &sockets)?;
        }
        if self.settings.capture.install_rules {
            // Last: what is redirected must find somebody who listens.
            capture::install(&self.rules(), namespace).map_err(io::Error::other)?;
        }
        tracing::info!(uid, pod = info.name, namespace = info.namespace, "workload is served");
        self.metrics.workload_started();
        self.served.lock().insert(uid.to_owned(), (info.clone(), local));
        self.running.insert(uid.to_owned(), Running { pod, info: info.clone(), namespace: namespace.cloned() });
        Ok(())
    }

    fn answer_names(
        &self,
        pod: &Pod,
        local: &LocalWorkload,
        zone: &Zone,
        forwarder: &Forwarder,
        sockets: &Sockets,
    ) -> io::Result<()> {
        let (inputs, metrics) = (pod.inputs().clone(), Arc::clone(&self.metrics));
        let dns = Dns::new(inputs, local.clone(), zone.clone(), forwarder.clone(), metrics.dns_observer());
        let mut addresses = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, self.settings.dns.port))];
        if self.settings.capture.ipv6 {
            addresses.push(SocketAddr::from((Ipv6Addr::LOCALHOST, self.settings.dns.port)));
        }
        for address in addresses {
            let both = sockets.udp(address).and_then(|udp| Ok((udp, sockets.listen(address)?)));
            match both {
                Ok((udp, tcp)) => {
                    pod.inputs().tasks.spawn(dns.clone().serve_udp(udp, pod.drain().clone()));
                    pod.inputs().tasks.spawn(dns.clone().serve_tcp(tcp, pod.drain().clone()));
                }
                // A namespace without IPv6.
                Err(_) if address.is_ipv6() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The rules for a namespace that is served.
    pub(crate) fn rules(&self) -> Rules {
        rules(&self.settings)
    }

    /// Stops serving a workload.
    pub(crate) fn end(&mut self, uid: &str) {
        let Some(Running { pod, info, namespace }) = self.running.remove(uid) else { return };
        tracing::info!(uid, pod = info.name, namespace = info.namespace, "workload is served no more");
        self.metrics.workload_stopped();
        let gone = self.served.lock().remove(uid);
        self.forget_identity(gone.map(|(_, local)| local));
        let remove_rules = self.settings.capture.install_rules;
        self.endings.spawn(async move {
            if remove_rules && let Err(error) = capture::remove(namespace.as_ref()) {
                tracing::debug!(%error, "rules not removed; the namespace may be gone");
            }
            pod.stop().await;
        });
    }

    /// Drops a certificate that no workload here needs any more.
    fn forget_identity(&self, gone: Option<LocalWorkload>) {
        let catalog = self.inputs.catalog.snapshot();
        let identity = |local: &LocalWorkload| local.find(&catalog).map(|workload| workload.spiffe_id());
        let Some(id): Option<SpiffeId> = gone.as_ref().and_then(identity) else { return };
        if self.served.lock().values().all(|(_, local)| identity(local).as_ref() != Some(&id)) {
            self.inputs.identities.forget(&id);
        }
    }

    /// Takes the rules away that were put in, when the process ends. Without the proxy, redirected traffic would meet
    /// nobody.
    pub(crate) fn remove_rules(settings: &Settings) {
        if settings.capture.install_rules
            && settings.mode == Mode::Dedicated
            && let Err(error) = capture::remove(None)
        {
            tracing::warn!(%error, "rules not removed");
        }
    }
}

impl Pods for Captured {
    fn start(&mut self, uid: &str, info: &PodInfo, namespace: &NetNamespace) -> io::Result<()> {
        self.serve(uid, info, Some(namespace))
    }

    fn stop(&mut self, uid: &str) {
        self.end(uid);
    }
}

/// The rules that these settings ask for.
pub(crate) fn rules(settings: &Settings) -> Rules {
    let mut rules = Rules::default();
    let dns = settings.dns.enabled.then_some(settings.dns.port);
    rules.ports = Ports { inbound_tunnel: settings.hbone_port, dns, ..Ports::default() };
    rules.mark = settings.mark().unwrap_or(rules.mark);
    rules.ipv6 = settings.capture.ipv6;
    rules.exclude_outbound_ports.clone_from(&settings.capture.exclude_outbound_ports);
    rules.exclude_outbound_ranges.clone_from(&settings.capture.exclude_outbound_ranges);
    rules.exclude_inbound_ports.clone_from(&settings.capture.exclude_inbound_ports);
    rules
}

fn names(settings: &Settings) -> Result<Option<(Zone, Forwarder)>, Error> {
    if !settings.dns.enabled {
        return Ok(None);
    }
    let path = &settings.dns.resolv_conf;
    let text = std::fs::read_to_string(path);
    let conf = match text {
        Ok(text) => parse_resolv_conf(&text),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "no servers for names outside the mesh");
            Default::default()
        }
    };
    let mut zone = Zone::new(Hostname::parse(&settings.dns.cluster_domain)?);
    zone.ipv6 = settings.capture.ipv6;
    zone.preferred_namespace = settings.dns.preferred_namespace.as_deref().map(Into::into);
    if settings.mode == Mode::Dedicated {
        zone.search = Some(conf.search);
    }
    Ok(Some((zone, Forwarder::new(conf.nameservers))))
}
