use std::collections::{BTreeSet, HashMap, HashSet};

use super::precedence::{Candidate, candidates, in_order};
use super::rule::Place;
use super::{Entry, Listener};
use crate::gateway::{GatewayRoute, GrpcMatch, HttpMatch, intersection};
use crate::name::Hostname;
use crate::route::Route;

/// Which of several listeners a host belongs to.
pub(super) struct ListenerChoice<'l> {
    named: HashMap<&'l str, usize>,
    any: Option<usize>,
}

impl<'l> ListenerChoice<'l> {
    pub(super) fn new(listeners: &'l [Listener<'_>]) -> Self {
        let mut choice = Self { named: HashMap::new(), any: None };
        for (at, listener) in listeners.iter().enumerate() {
            match &listener.hostname {
                Some(hostname) => drop(choice.named.entry(hostname.as_str()).or_insert(at)),
                None => drop(choice.any.get_or_insert(at)),
            }
        }
        choice
    }

    /// The position of the listener that is for a host, or for all that a wildcard stands for; `None` is any host.
    pub(super) fn of(&self, host: Option<&Hostname>) -> Option<usize> {
        host.and_then(|host| names_covering(host).find_map(|name| self.named.get(&*name).copied())).or(self.any)
    }
}

/// The routes of a listener by the hosts that they name.
pub(super) struct Hosts<'l> {
    listener: &'l Listener<'l>,
    named: HashMap<&'l str, Attached<'l>>,
    unnamed: Attached<'l>,
}

#[derive(Default)]
struct Attached<'l> {
    http: Vec<&'l GatewayRoute<HttpMatch>>,
    grpc: Vec<&'l GatewayRoute<GrpcMatch>>,
}

impl<'l> Hosts<'l> {
    pub(super) fn new(listener: &'l Listener<'l>) -> Self {
        let mut hosts = Self { listener, named: HashMap::new(), unnamed: Attached::default() };
        for &route in &listener.http {
            hosts.attach(&route.hostnames, |attached| attached.http.push(route));
        }
        for &route in &listener.grpc {
            hosts.attach(&route.hostnames, |attached| attached.grpc.push(route));
        }
        hosts
    }

    fn attach(&mut self, hostnames: &'l [Hostname], mut push: impl FnMut(&mut Attached<'l>)) {
        if hostnames.is_empty() {
            push(&mut self.unnamed);
        }
        for hostname in hostnames {
            push(self.named.entry(hostname.as_str()).or_default());
        }
    }

    /// The hosts that need routes of their own: that of the listener, and those that it shares with its routes.
    pub(super) fn served(&self) -> BTreeSet<Option<Hostname>> {
        let hostname = self.listener.hostname.as_ref();
        let http = self.listener.http.iter().flat_map(|route| &route.hostnames);
        let named = http.chain(self.listener.grpc.iter().flat_map(|route| &route.hostnames));
        let shared = named.filter_map(|name| intersection(hostname, name)).map(Some);
        std::iter::once(hostname.cloned()).chain(shared).collect()
    }

    /// The routes of all rules for a host, in the order in which they are tried.
    pub(super) fn routes(&self, entry: Entry, host: Option<&Hostname>) -> Vec<Route> {
        let named = host.into_iter().flat_map(names_covering).filter_map(|name| self.named.get(&*name));
        let mut all: Vec<Candidate<'_>> = Vec::new();
        // A route that is for this host by several names is taken by the most specific of them or not at all.
        let mut seen = HashSet::new();
        for (rank, attached) in named.chain(std::iter::once(&self.unnamed)).enumerate() {
            let grpc = attached.grpc.iter().filter(|route| seen.insert(std::ptr::from_ref(**route).cast::<()>()));
            all.extend(grpc.flat_map(|route| candidates(rank, route)));
            let http = attached.http.iter().filter(|route| seen.insert(std::ptr::from_ref(**route).cast::<()>()));
            all.extend(http.flat_map(|route| candidates(rank, route)));
        }
        in_order(all, Place { entry, host })
    }
}

/// A name and the wildcards that are for it, most specific first.
fn names_covering(host: &Hostname) -> impl Iterator<Item = String> {
    std::iter::once(host.as_str().to_owned()).chain(host.wildcards())
}
