use std::error::Error;

use mesh_core::balance::{Assignment, Cluster};
use mesh_core::listener::Listener;
use mesh_core::route::RouteTable;
use mesh_core::tls::Secret;

use super::cluster::decode_cluster;
use super::endpoint::decode_assignment;
use super::listener::decode_listener;
use super::route::decode_route_table;
use super::tls::decode_secret;
use super::{CLUSTER_TYPE, Decoded, ENDPOINT_TYPE, LISTENER_TYPE, ROUTE_TYPE, SECRET_TYPE};
use crate::resource::{Read, Resource};

impl Resource for Listener {
    const TYPE_URL: &'static str = LISTENER_TYPE;

    fn decode(bytes: &[u8]) -> Result<Read<Self>, Box<dyn Error + Send + Sync>> {
        Ok(read(decode_listener(bytes)?, |listener| listener.name.to_string()))
    }
}

impl Resource for RouteTable {
    const TYPE_URL: &'static str = ROUTE_TYPE;

    fn decode(bytes: &[u8]) -> Result<Read<Self>, Box<dyn Error + Send + Sync>> {
        Ok(read(decode_route_table(bytes)?, |table| table.config().name.to_string()))
    }
}

impl Resource for Cluster {
    const TYPE_URL: &'static str = CLUSTER_TYPE;

    fn decode(bytes: &[u8]) -> Result<Read<Self>, Box<dyn Error + Send + Sync>> {
        Ok(read(decode_cluster(bytes)?, |cluster| cluster.name.to_string()))
    }
}

impl Resource for Assignment {
    const TYPE_URL: &'static str = ENDPOINT_TYPE;

    fn decode(bytes: &[u8]) -> Result<Read<Self>, Box<dyn Error + Send + Sync>> {
        Ok(read(decode_assignment(bytes)?, |assignment| assignment.cluster.to_string()))
    }
}

impl Resource for Secret {
    const TYPE_URL: &'static str = SECRET_TYPE;
    const MAY_BE_KEPT: bool = false;

    fn decode(bytes: &[u8]) -> Result<Read<Self>, Box<dyn Error + Send + Sync>> {
        Ok(read(decode_secret(bytes)?, |secret| secret.name.to_string()))
    }
}

fn read<T>(decoded: Decoded<T>, name: impl Fn(&T) -> String) -> Read<T> {
    Read { name: name(&decoded.value), value: decoded.value, warnings: decoded.warnings }
}
