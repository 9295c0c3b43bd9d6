use tonic::{Request, Response, Status};

use super::super::convert::{bundle_message, trust_domain};
use super::SpireServer;
use crate::proto::spire::api::server::bundle::v1::bundle_server::Bundle;
use crate::proto::spire::api::server::bundle::v1::{GetBundleRequest, GetFederatedBundleRequest};
use crate::proto::spire::api::types;

#[tonic::async_trait]
impl Bundle for SpireServer {
    /// Everybody may know it: it is public, and whoever does not know it yet cannot show a certificate.
    async fn get_bundle(&self, _request: Request<GetBundleRequest>) -> Result<Response<types::Bundle>, Status> {
        Ok(Response::new(bundle_message(&self.parts().authority.bundle())))
    }

    async fn get_federated_bundle(
        &self,
        request: Request<GetFederatedBundleRequest>,
    ) -> Result<Response<types::Bundle>, Status> {
        self.node(&request).await?;
        let domain = trust_domain(&request.get_ref().trust_domain);
        let domain = domain.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let (bundles, now) = (self.parts().bundles.load(), self.parts().clock.now());
        // Nodes count from what they are told: what does not count here any more would begin anew with them.
        let foreign = bundles.trusted(&domain).filter(|_| domain != *self.parts().authority.trust_domain());
        let trusted = foreign.filter(|trusted| trusted.counts_at(now));
        let trusted = trusted.ok_or_else(|| Status::not_found("the trust domain is not federated with"))?;
        Ok(Response::new(bundle_message(&trusted.bundle)))
    }
}
