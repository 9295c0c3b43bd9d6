use mesh_core::live::Live;
use mesh_core::name::SpiffeId;
use mesh_identity::authority::{Caller, CallerPolicy, Grant, Outcome, Refusal};

use super::assignments::Assignments;
use super::authenticate::{Identified, Known, Unidentified};
use crate::metrics::Metrics;

/// Which certificates a caller may have. Certificates are of this trust domain, and go to callers of this trust domain.
#[derive(Debug)]
pub struct Grants {
    assignments: Live<Assignments>,
    /// What the proxy of a node is, if its token does not say.
    node_identity: SpiffeId,
    metrics: Metrics,
}

impl Grants {
    pub(crate) fn new(assignments: Live<Assignments>, node_identity: SpiffeId, metrics: Metrics) -> Self {
        Self { assignments, node_identity, metrics }
    }

    fn of(&self, who: &Identified, wanted: Option<&SpiffeId>) -> Result<Grant, Refusal> {
        let caller = who.to_string();
        let own = match who {
            Identified::Node { identity, .. } => identity.as_ref().unwrap_or(&self.node_identity),
            Identified::ServiceAccount(id) | Identified::Svid(id) => id,
        };
        let wanted = wanted.unwrap_or(own);
        // What a caller may have follows from the configuration, which could name an identity of another trust domain.
        if [own, wanted].iter().any(|id| id.trust_domain() != self.node_identity.trust_domain()) {
            return Err(Refusal::TrustDomain { caller, wanted: wanted.to_string() });
        }
        let may = match who {
            Identified::Node { node, .. } => wanted == own || self.assignments.load().runs_on(node, wanted),
            Identified::ServiceAccount(_) => wanted == own,
            // A certificate does not tell of the pod that it was issued for: it is renewed as long as there is one.
            Identified::Svid(_) => wanted == own && self.assignments.load().runs(wanted),
        };
        if may {
            return Ok(Grant { caller, identity: wanted.clone() });
        }
        Err(Refusal::Forbidden { caller, wanted: wanted.to_string() })
    }
}

impl CallerPolicy for Grants {
    fn grant(&self, caller: &Caller<'_>, wanted: Option<&SpiffeId>) -> Result<Grant, Refusal> {
        match caller.extensions.get::<Known>() {
            Some(Ok(who)) => self.of(who, wanted),
            Some(Err(reason)) => Err(Refusal::Unauthenticated(reason.to_string())),
            None => Err(Refusal::Unauthenticated(Unidentified::Nothing.to_string())),
        }
    }

    fn decided(&self, outcome: Outcome) {
        self.metrics.certificate(outcome);
    }
}
