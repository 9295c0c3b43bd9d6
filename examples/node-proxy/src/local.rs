//! The workloads of this node: what each needs is started when it comes and stopped when it goes.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mesh_core::name::{SpiffeId, Uid};
use mesh_core::resolve::Destination;
use mesh_core::workload::{TunnelProtocol, Workload};
use mesh_host::ready::Ready;
use mesh_transport::proxy::{Drain, Inbound, Inputs, Outbound, WayIn};
use mesh_transport::socket::Listener;
use mesh_xds::workload::State;
use tokio::time::{Duration, sleep};

use crate::settings::Settings;
use mesh_host::member::Error;

/// Pause before a listener or a certificate is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Starts and stops what local workloads need.
pub(crate) struct Local {
    settings: Settings,
    inputs: Inputs,
    drain: Drain,
    ready: Ready,
    fixed: Vec<(SocketAddr, IpAddr, Destination)>,
    running: BTreeMap<Uid, Running>,
}

struct Running {
    identity: SpiffeId,
    addresses: Vec<IpAddr>,
    stop: Drain,
}

impl Local {
    pub(crate) fn new(settings: Settings, inputs: Inputs, drain: Drain, ready: Ready) -> Result<Self, Error> {
        let fixed = settings
            .listeners
            .iter()
            .map(|fixed| Ok((fixed.listen, fixed.workload, fixed.destination.parse()?)))
            .collect::<Result<_, Error>>()?;
        Ok(Self { settings, inputs, drain, ready, fixed, running: BTreeMap::new() })
    }

    /// Follows the catalog until dropped.
    pub(crate) async fn run(mut self, state: State, without_control_plane: bool) {
        let mut catalog = state.catalog.changes();
        let mut status = state.status.changes();
        loop {
            let synced = without_control_plane || state.status.load().ready;
            if synced {
                self.reconcile();
                // Ready when every local workload can present itself; a node without workloads is ready at once.
                self.wait_for_identities().await;
                self.ready.set("workloads", true);
            }
            let changed = tokio::select! {
                changed = catalog.changed() => changed.map(drop),
                changed = status.changed(), if !synced => changed.map(drop),
            };
            if changed.is_err() {
                return;
            }
        }
    }

    /// Before the first readiness only; afterwards identities come and go with their workloads.
    async fn wait_for_identities(&self) {
        if self.ready.missing().is_empty() {
            return;
        }
        for running in self.running.values() {
            while let Err(error) = self.inputs.identities.identity(&running.identity).await {
                tracing::warn!(identity = %running.identity, %error, "not ready without a certificate");
                sleep(RETRY).await;
            }
        }
    }

    fn reconcile(&mut self) {
        let catalog = self.inputs.catalog.snapshot();
        let here = |workload: &&Arc<Workload>| {
            (workload.node == *self.settings.node || self.settings.node.is_empty())
                && workload.tunnel == TunnelProtocol::Hbone
        };
        let wanted: BTreeMap<Uid, Arc<Workload>> =
            catalog.workloads().filter(here).map(|workload| (workload.uid.clone(), Arc::clone(workload))).collect();
        let same = |running: &Running, workload: &Workload| {
            running.identity == workload.spiffe_id() && running.addresses == workload.addresses
        };
        let gone: Vec<Uid> = self
            .running
            .iter()
            .filter(|(uid, running)| wanted.get(*uid).is_none_or(|workload| !same(running, workload)))
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in gone {
            if let Some(running) = self.running.remove(&uid) {
                tracing::info!(%uid, "workload left");
                running.stop.begin();
                if !wanted.values().any(|workload| workload.spiffe_id() == running.identity) {
                    self.inputs.identities.forget(&running.identity);
                }
            }
        }
        for (uid, workload) in wanted {
            if !self.running.contains_key(&uid) {
                tracing::info!(%uid, identity = %workload.identity, "workload came");
                let running = self.start(&workload);
                self.running.insert(uid, running);
            }
        }
    }

    fn start(&self, workload: &Workload) -> Running {
        let (identity, stop) = (workload.spiffe_id(), self.drain.child());
        self.inputs.identities.prefetch(&identity);
        for ip in &workload.addresses {
            let address = SocketAddr::new(*ip, self.settings.hbone_port);
            let task = inbound(self.inputs.clone(), workload.uid.clone(), identity.clone(), address, stop.clone());
            self.inputs.tasks.spawn(task);
            let socks = self.settings.socks5_port != 0 && (ip.is_loopback() || self.settings.socks5_anywhere);
            if socks {
                let address = SocketAddr::new(*ip, self.settings.socks5_port);
                self.way_in(WayIn::Socks5, workload.uid.clone(), address, &stop);
            }
            for (listen, _, destination) in self.fixed.iter().filter(|(_, workload, _)| workload == ip) {
                self.way_in(WayIn::Fixed(destination.clone()), workload.uid.clone(), *listen, &stop);
            }
        }
        Running { identity, addresses: workload.addresses.clone(), stop }
    }

    fn way_in(&self, way_in: WayIn, uid: Uid, address: SocketAddr, stop: &Drain) {
        let (inputs, stop) = (self.inputs.clone(), stop.clone());
        self.inputs.tasks.spawn(async move {
            let Some(listener) = listen(address, &stop).await else { return };
            let outbound = Outbound::new(inputs.clone(), uid);
            way_in.serve(inputs, outbound, listener, stop).await;
        });
    }
}

async fn inbound(inputs: Inputs, uid: Uid, id: SpiffeId, address: SocketAddr, stop: Drain) {
    let identity = loop {
        let fetched = tokio::select! {
            () = stop.begun() => return,
            fetched = inputs.identities.identity(&id) => fetched,
        };
        match fetched {
            Ok(identity) => break identity,
            Err(error) => {
                tracing::warn!(%uid, %error, "no certificate yet; tunnels into the workload have to wait");
                sleep(RETRY).await;
            }
        }
    };
    match Inbound::new(inputs, uid.clone(), identity) {
        Ok(inbound) => {
            if let Some(listener) = listen(address, &stop).await {
                inbound.serve(listener, stop).await;
            }
        }
        Err(error) => tracing::error!(%uid, %error, "tunnels into the workload cannot be served"),
    }
}

/// Listens, and tries again as long as the address is not to be had: its interface may come later.
async fn listen(address: SocketAddr, stop: &Drain) -> Option<Listener> {
    loop {
        match Listener::bind(address) {
            Ok(listener) => return Some(listener),
            Err(error) => tracing::warn!(%address, %error, "cannot listen; trying again"),
        }
        tokio::select! {
            () = stop.begun() => return None,
            () = sleep(RETRY) => {}
        }
    }
}
