//! The world: everything that was read and is whole, by kind, namespace and name.

mod lookup;
mod objects;

use std::sync::Arc;

use mesh_core::name::NamespacedName;

pub use self::lookup::Lookup;
pub use self::objects::{Objects, Placed};
use crate::finding::Origin;
use crate::resource::{
    AuthorizationPolicy, BackendTlsPolicy, ConfigMap, DestinationRule, EndpointSlice, Gateway, GatewayClass, GrpcRoute,
    HttpRoute, ListenerSet, MESH_CONFIG, MeshConfig, Namespace, Node, Object, ObjectId, PeerAuthentication, Pod,
    ReferenceGrant, RequestAuthentication, Secret, Service, ServiceAccount, ServiceEntry, ServiceExport, ServiceImport,
    TcpRoute, Telemetry, TlsRoute, UdpRoute, VirtualService, WorkloadEntry, for_each_kind,
};

macro_rules! world {
    ($($variant:ident($type:ty), $field:ident, $group:literal, $kind:literal, $namespaced:literal;)*) => {
        /// Everything that was read. A copy costs nothing; see [`Objects`].
        #[derive(Debug, Clone, Default)]
        pub struct World {
            $(#[doc = concat!("Objects of kind `", $kind, "`.")] pub $field: Objects<$type>,)*
        }

        impl World {
            /// Puts an object in the place of that of its name.
            pub fn put(&mut self, origin: Origin, digest: u128, object: Object) {
                let name = object.id().name;
                match object {
                    $(Object::$variant(object) => {
                        let created = object.metadata.created();
                        self.$field.set(name, Some(Arc::new(Placed { origin, digest, created, object })));
                    })*
                }
            }

            /// Takes an object away.
            pub fn remove(&mut self, id: &ObjectId) {
                use crate::resource::Kind;
                match id.kind {
                    $(Kind::$variant => self.$field.set(id.name.clone(), None),)*
                }
            }

            /// Where an object stands, and the digest of what it holds.
            #[must_use]
            pub fn origin(&self, id: &ObjectId) -> Option<(&Origin, u128)> {
                use crate::resource::Kind;
                match id.kind {
                    $(Kind::$variant => self.$field.placed(&id.name).map(|placed| (&placed.origin, placed.digest)),)*
                }
            }

            /// An object, where it stands, and the digest of what it holds.
            #[must_use]
            pub fn get(&self, id: &ObjectId) -> Option<(&Origin, u128, Object)> {
                use crate::resource::Kind;
                match id.kind {
                    $(Kind::$variant => self.$field.placed(&id.name).map(|placed| {
                        (&placed.origin, placed.digest, Object::$variant(Arc::clone(&placed.object)))
                    }),)*
                }
            }

            /// The objects that differ between this world and an earlier one, or only stand elsewhere. The cost is
            /// that of what differs.
            #[must_use]
            pub fn moved_since(&self, earlier: &Self) -> Vec<ObjectId> {
                use crate::resource::Kind;
                let mut moved = Vec::new();
                $(moved.extend(self.$field.moved_since(&earlier.$field).map(|name| {
                    ObjectId { kind: Kind::$variant, name: name.clone() }
                }));)*
                moved
            }

            /// Whether there is an object of a kind.
            #[must_use]
            pub fn has(&self, kind: crate::resource::Kind) -> bool {
                use crate::resource::Kind;
                match kind {
                    $(Kind::$variant => !self.$field.is_empty(),)*
                }
            }

            /// The objects of a kind.
            #[must_use]
            pub fn ids(&self, kind: crate::resource::Kind) -> Vec<ObjectId> {
                use crate::resource::Kind;
                match kind {
                    $(Kind::$variant => {
                        self.$field.iter().map(|(name, _)| ObjectId { kind, name: name.clone() }).collect()
                    })*
                }
            }

            /// The objects whose content differs between this world and an earlier one. The cost is that of what differs.
            #[must_use]
            pub fn changed_since(&self, earlier: &Self) -> Vec<ObjectId> {
                use crate::resource::Kind;
                let mut changed = Vec::new();
                $(changed.extend(self.$field.changed_since(&earlier.$field).map(|name| {
                    ObjectId { kind: Kind::$variant, name: name.clone() }
                }));)*
                changed
            }

            /// How many objects there are.
            #[must_use]
            pub fn len(&self) -> usize {
                [$(self.$field.len(),)*].iter().sum()
            }
        }
    };
}
for_each_kind!(world);

impl World {
    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The settings of the mesh, by the ConfigMaps that hold them. That of the root namespace counts.
    pub fn mesh_configs(&self) -> impl Iterator<Item = (&NamespacedName, (&Origin, &MeshConfig))> {
        let named = self.config_maps.iter().filter(|(key, _)| key.name == *MESH_CONFIG);
        named.filter_map(|(key, (origin, map))| Some((key, (origin, map.mesh.as_deref()?))))
    }
}
