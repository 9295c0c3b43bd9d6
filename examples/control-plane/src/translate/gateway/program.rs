//! A Gateway in whole, but for its endpoints.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_core::listener::Listener;
use mesh_core::name::Text;
use mesh_core::route::RouteTable;
use mesh_core::tls::Secret;

use super::{Frame, Port};
use crate::translate::waypoint::Specs;

/// What a Gateway is programmed with wherever it is, by name.
#[derive(Debug, Default)]
pub(in crate::translate) struct Program {
    pub(in crate::translate) listeners: BTreeMap<Text, Listener>,
    pub(in crate::translate) routes: BTreeMap<Text, Arc<RouteTable>>,
    pub(in crate::translate) clusters: Specs,
    pub(in crate::translate) secrets: BTreeMap<Text, Secret>,
}

impl Program {
    /// Puts the ports together.
    pub(in crate::translate) fn of<'p>(frame: &Frame, ports: impl Iterator<Item = &'p Port>) -> Self {
        let mut program = Self { secrets: frame.secrets.clone(), ..Self::default() };
        for Port { listener, routes, clusters } in ports {
            program.listeners.extend(listener.iter().map(|listener| (listener.name.clone(), listener.clone())));
            program.routes.extend(routes.iter().map(|(name, table)| (name.clone(), Arc::clone(table))));
            program.clusters.extend(clusters.iter().map(|(name, spec)| (name.clone(), spec.clone())));
        }
        program
    }
}

/// What differs between two states, by name; `None` for what is gone.
pub(in crate::translate) fn different<'a, T: PartialEq>(
    before: &'a BTreeMap<Text, T>,
    now: &'a BTreeMap<Text, T>,
) -> impl Iterator<Item = (&'a Text, Option<&'a T>)> {
    let gone = before.keys().filter(|name| !now.contains_key(*name)).map(|name| (name, None));
    let come = now.iter().filter(|(name, value)| before.get(*name) != Some(*value));
    gone.chain(come.map(|(name, value)| (name, Some(value))))
}
