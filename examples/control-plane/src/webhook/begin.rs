use std::sync::Arc;

use mesh_core::name::SpiffeId;
use mesh_host::member::Error;
use mesh_identity::authority::{Authority, Names};
use mesh_identity::bundle::BundleSet;
use mesh_identity::serve::Incoming;
use mesh_identity::source::{Identities, LocalSource};
use mesh_identity::task::Tasks;

use super::review::Validator;
use super::serve::Webhook;
use crate::settings;
use crate::spire::OWN_LIFE;

/// Most connections at a time. API servers need one or two each.
const MAX_CONNECTIONS: usize = 256;

/// Serves until `tasks` end.
pub(crate) async fn begin(
    settings: &settings::Webhook,
    validator: Arc<dyn Validator>,
    authority: &Arc<Authority>,
    own: &SpiffeId,
    tasks: &Tasks,
) -> Result<(), Error> {
    let names = Names { dns: settings.names.clone(), ips: vec![settings.listen.ip()] };
    let source = LocalSource::new(Arc::clone(authority), OWN_LIFE.min(authority.rules().max_life), names);
    let identities = Identities::builder(Arc::new(source), BundleSet::default().with(authority.bundle())).build();
    let identity = identities.identity(own).await?;
    let tls = match &settings.certificate {
        Some(path) => crate::trust::web_server(path, tasks)?,
        None => identity.server_config_without_client_certificates(&[b"h2", b"http/1.1"])?,
    };
    let listener = crate::listen::listen(settings.listen)?;
    tracing::info!(listen = %settings.listen, "the admission webhook is served");
    let incoming = Incoming::at_most(MAX_CONNECTIONS, listener, tls, &identity);
    let more = tasks.clone();
    tasks.spawn(async move {
        Webhook::new(validator).serve(incoming, more).await;
        // Until here, the certificate is renewed.
        identities.shutdown().await;
    });
    Ok(())
}
