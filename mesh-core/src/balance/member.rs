//! An endpoint as pickers see it.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use super::assignment::Endpoint;
use super::balancer::Inner;
use super::cluster::Cluster;
use super::load::Track;
use super::policy::Hashing;
use crate::name::Locality;

#[derive(Debug)]
pub(super) struct Member {
    pub(super) endpoint: Endpoint,
    pub(super) locality: Arc<Locality>,
    pub(super) priority: u32,
    pub(super) track: Arc<Track>,
    pub(super) cluster: Arc<Cluster>,
    /// Who is told when it is detected as an outlier.
    pub(super) balancer: Weak<Inner>,
}

impl Member {
    pub(super) fn address(&self) -> SocketAddr {
        self.endpoint.address
    }

    pub(super) fn weight(&self) -> f64 {
        self.endpoint.weight.get().into()
    }

    /// What stands for it where endpoints are hashed.
    pub(super) fn hash_key(&self, hashing: &Hashing) -> String {
        match &self.endpoint.hash_key {
            Some(key) => key.as_str().to_owned(),
            None if hashing.by_hostname => self.endpoint.hostname.as_str().to_owned(),
            None => self.endpoint.address.to_string(),
        }
    }
}
