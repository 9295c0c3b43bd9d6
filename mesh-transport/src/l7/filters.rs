use std::sync::Arc;

use http::{StatusCode, request};
use mesh_core::authn::{Authenticate, Verifier};
use mesh_core::filter::{Answer, Authorize, Exchange, Filter, Flag, Named, NormalizePath, Step};
use mesh_core::listener::{HttpFilterKind, HttpManager, UpgradeSupport};
use mesh_core::path::PathNormalization;

use crate::http::upgrade;

/// What filters need that is not in their configuration: whom they ask.
pub trait Extensions: Send + Sync + 'static {
    /// Who verifies tokens. Without anybody, whatever asks for tokens refuses.
    fn verifier(&self) -> Option<Arc<dyn Verifier>> {
        None
    }
}

/// Nobody is asked: filters that would have to ask somebody refuse.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoExtensions;

impl Extensions for NoExtensions {}

/// The filters of a manager, in their order, between what makes paths normal and what lets protocols be changed.
pub(super) fn of(manager: &HttpManager, extensions: &dyn Extensions) -> Vec<Named> {
    // Routes name no filter by this name.
    let first = (manager.path != PathNormalization::default()).then(|| Named::new("", NormalizePath(manager.path)));
    let mut named: Vec<Named> = first.into_iter().collect();
    let filters = manager.filters.iter().map(|filter| Named {
        name: filter.name.clone(),
        filter: made(&filter.kind, extensions),
        disabled: filter.disabled,
    });
    named.extend(filters);
    named.push(Named::new(manager.router.clone(), Upgrades(manager.upgrades.clone())));
    named
}

fn made(kind: &HttpFilterKind, extensions: &dyn Extensions) -> Arc<dyn Filter> {
    match kind {
        HttpFilterKind::Rbac(filter) => Arc::new(Authorize::new(filter.clone())),
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
