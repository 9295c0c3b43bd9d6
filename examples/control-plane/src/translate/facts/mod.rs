//! All that translation reads: the world, what was made of it so far, and indexes over both.
//!
//! Nothing is read but through a [`Reader`], which notes what was read. So whoever computes a value knows when it must be
//! computed again, and a value that was computed from scratch is the one that comes about step by step.

mod index;
mod reader;
mod tables;

use mesh_core::name::{Hostname, NamespacedHostname, Text};
use mesh_core::service::GatewayAddress;

pub(crate) use self::index::parent;
pub(super) use self::index::{By, Index};
pub(super) use self::reader::Reader;
pub(crate) use self::tables::Differs;
pub(super) use self::tables::{Facts, Labels, Located, PolicySource};
use crate::resource::{Kind, ObjectId};

/// Something that can be read, and changes as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Fact {
    /// An object, or that there is none.
    Object(ObjectId),
    /// The objects of a kind in a namespace.
    InNamespace(Kind, Text),
    /// The objects that an index gives.
    Index(By),
    /// The service of a key, and the objects that declare it.
    Service(NamespacedHostname),
    /// The keys of the services with a host name.
    Host(Hostname),
    /// The endpoints of a service, with all that is known of them.
    Endpoints(NamespacedHostname),
    /// The keys of the services that are bound to a waypoint.
    BoundServices(GatewayAddress),
    /// The workloads that are bound to a waypoint, with all that is known of them.
    BoundWorkloads(GatewayAddress),
}
