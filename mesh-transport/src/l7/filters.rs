use std::sync::Arc;

use http::{StatusCode, request};
use mesh_core::authn::{Authenticate, Verifier};
use mesh_core::companion::ext_authz::{Authorizer, ExternalAuthorization, ExternalAuthz};
use mesh_core::companion::rate_limit::{GlobalRateLimit, GlobalRateLimiting, RateLimiter};
use mesh_core::filter::{Answer, Authorize, Exchange, Filter, Flag, Named, NormalizePath, Step};
use mesh_core::listener::{HttpFilterKind, HttpManager, UpgradeSupport};
use mesh_core::name::Text;
use mesh_core::path::PathNormalization;
use mesh_core::resilience::{BodyLimit, Cors, EditHeaders, Faults, LocalRateLimiting, Sessions};

use super::runtime::Shared;
use super::upstreams::ClustersAtWork;

use crate::http::upgrade;

/// What filters need that is not in their configuration: whom they ask. Without anybody to ask, a filter refuses: what it was
/// to hold back is held back.
pub trait Extensions: Send + Sync + 'static {
    /// Who verifies tokens.
    fn verifier(&self) -> Option<Arc<dyn Verifier>> {
        None
    }

    /// Who authorizes requests, as the settings of a filter say.
    fn authorizer(&self, settings: &ExternalAuthz, clusters: &ClustersAtWork) -> Option<Arc<dyn Authorizer>> {
        let _ = (settings, clusters);
        None
    }

    /// Who counts requests, as the settings of a filter say.
    fn rate_limiter(&self, settings: &GlobalRateLimit, clusters: &ClustersAtWork) -> Option<Arc<dyn RateLimiter>> {
        let _ = (settings, clusters);
        None
    }

    /// Filters of your own, which requests pass after those of the configuration and before they are sent on. Asked for once
    /// per chain.
    fn filters(&self) -> Vec<Named> {
        Vec::new()
    }

    /// The cluster that we are of ourselves, by which requests may be counted.
    fn own_cluster(&self) -> Text {
        Text::default()
    }
}

/// Nobody is asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoExtensions;

impl Extensions for NoExtensions {}

/// The filters of a manager, in their order, between what makes paths normal and what lets protocols be changed.
pub(super) fn of(manager: &HttpManager, shared: &Shared) -> Vec<Named> {
    // Routes name no filter by this name.
    let first = (manager.path != PathNormalization::default()).then(|| Named::new("", NormalizePath(manager.path)));
    let mut named: Vec<Named> = first.into_iter().collect();
    let filters = manager.filters.iter().map(|filter| Named {
        name: filter.name.clone(),
        filter: made(&filter.kind, shared),
        disabled: filter.disabled,
    });
    named.extend(filters);
    named.extend(shared.extensions.filters());
    named.push(Named::new(manager.router.clone(), Upgrades(manager.upgrades.clone())));
    named
}

fn made(kind: &HttpFilterKind, shared: &Shared) -> Arc<dyn Filter> {
    let extensions = &*shared.extensions;
    match kind {
        HttpFilterKind::Rbac(filter) => Arc::new(Authorize::new(filter.clone())),
        HttpFilterKind::Cors => Arc::new(Cors::default()),
        HttpFilterKind::Fault(fault) => Arc::new(Faults::new((**fault).clone())),
        HttpFilterKind::Session(session) => Arc::new(Sessions::new(session.clone())),
        HttpFilterKind::LocalRateLimit(limit) => {
            Arc::new(LocalRateLimiting::new((**limit).clone(), extensions.own_cluster()))
        }
        HttpFilterKind::HeaderMutation(mutation) => Arc::new(EditHeaders::new(mutation.clone())),
        HttpFilterKind::BodyLimit(most) => Arc::new(BodyLimit::new(*most)),
        HttpFilterKind::ExternalAuthz(settings) => match extensions.authorizer(settings, &shared.clusters) {
            Some(authorizer) => Arc::new(ExternalAuthorization::new((**settings).clone(), authorizer)),
            None => Arc::new(Refuse("nobody authorizes requests here")),
        },
        HttpFilterKind::RateLimit(settings) => match extensions.rate_limiter(settings, &shared.clusters) {
            Some(limiter) => Arc::new(GlobalRateLimiting::new((**settings).clone(), extensions.own_cluster(), limiter)),
            None => Arc::new(Refuse("nobody counts requests here")),
        },
        HttpFilterKind::Authn(authentication) => {
            let Some(verifier) = extensions.verifier() else { return Arc::new(Refuse("nobody verifies tokens here")) };
            match Authenticate::new((**authentication).clone(), verifier) {
                Ok(filter) => Arc::new(filter),
                Err(error) => {
                    tracing::error!(%error, "authentication cannot be carried out: all requests are refused");
                    Arc::new(Refuse("authentication cannot be carried out"))
                }
            }
        }
    }
}

/// Stands for a filter that cannot be: what it was to hold back is held back.
struct Refuse(&'static str);

impl Filter for Refuse {
    fn on_request(&self, _: &mut request::Parts, _: &mut Exchange) -> Step {
        let answer = Answer::new(StatusCode::INTERNAL_SERVER_ERROR, "", self.0.replace(' ', "_"));
        Step::Answer(answer.flagged(Flag::NoFilterConfig))
    }
}

/// Refuses changes of protocol that neither the listener nor the route allows: 403, as Envoy does.
struct Upgrades(Vec<UpgradeSupport>);

impl Filter for Upgrades {
    fn on_request(&self, head: &mut request::Parts, exchange: &mut Exchange) -> Step {
        let Some(protocol) = upgrade::requested(&head.method, &head.headers) else { return Step::Next };
        let forward = exchange.selection().and_then(|selection| selection.selected().forward());
        let of_route = forward.map_or(&[][..], |forward| &forward.upgrades);
        match upgrade::is_allowed(protocol, &self.0, of_route) {
            true => Step::Next,
            false => Step::Answer(Answer::new(StatusCode::FORBIDDEN, "", "upgrade_failed")),
        }
    }
}
