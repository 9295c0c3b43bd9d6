use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use http::{Extensions, Request, Response};
use http_body::Body;
use tower::{Service, ServiceExt};

use super::super::balancer::Balancer;
use super::super::pick::{self, Pick, PickError, pick_another};
use super::body::BalancedBody;
use super::error::BalancedError;
use super::future::BalancedFuture;
use super::hint::PickHint;
use super::make::{Classify, MakeEndpoint, Services, Unreached};
use super::tried::Tried;

/// How often another endpoint is picked before one that was tried is taken again.
const OTHERS: u32 = 8;

/// A service that hands each request to the service of an endpoint, as its [`Balancer`] picks it; clones share all of it.
///
/// What is to be known of a request stands in its extensions ([`PickHint`], [`Tried`]). It is in flight until the body of its response
/// has ended or is dropped, and what the response says of the endpoint is reported: its status, or that of a gRPC call,
/// which may stand in the trailers; or that the endpoint was not reached or broke off.
///
/// `M` makes the services of endpoints, which are kept as long as the endpoint is assigned; `C` says what their errors mean.
pub struct Balanced<M: MakeEndpoint, C = Unreached> {
    balancer: Balancer,
    make: Arc<M>,
    services: Arc<Services<M::Service>>,
    classify: C,
    clock: fn() -> Instant,
}

impl<M: MakeEndpoint> Balanced<M> {
    /// A service over the endpoints of a balancer. Every error of an endpoint means that it was not reached. `clock` reads
    /// the time.
    #[must_use]
    pub fn new(balancer: Balancer, make: M, clock: fn() -> Instant) -> Self {
        let services = Arc::new(Services::new());
        Self { balancer, make: Arc::new(make), services, classify: Unreached, clock }
    }
}

impl<M: MakeEndpoint, C> Balanced<M, C> {
    /// The same, and this says what errors mean.
    #[must_use]
    pub fn classify<D>(self, classify: D) -> Balanced<M, D> {
        let Self { balancer, make, services, clock, .. } = self;
        Balanced { balancer, make, services, classify, clock }
    }

    /// The balancer.
    #[must_use]
    pub fn balancer(&self) -> &Balancer {
        &self.balancer
    }
}

impl<M: MakeEndpoint, C> Balanced<M, C> {
    /// An endpoint for a request with these extensions; it is added to those that were tried.
    fn pick(&self, extensions: &Extensions) -> Result<Pick, PickError> {
        let mut rng = fastrand::Rng::new();
        let mut pick = |hint: &pick::Request<'_>| self.balancer.pick(hint, &mut rng, (self.clock)());
        let hint = extensions.get::<PickHint>().map(PickHint::request).unwrap_or_default();
        let Some(tried) = extensions.get::<Tried>() else { return pick(&hint) };
        let preferred = hint.preferred.filter(|preferred| preferred.strict || !tried.contains(preferred.address));
        let attempt = hint.attempt.saturating_add(tried.attempts());
        let hint = pick::Request { attempt, preferred, ..hint };
        let picked = pick_another(&hint, OTHERS, |pick| tried.contains(pick.address()), pick)?;
        tried.add(picked.address());
        Ok(picked)
    }
}

impl<M, C, B, R> Service<Request<B>> for Balanced<M, C>
where
    M: MakeEndpoint<Service: Service<Request<B>, Response = Response<R>>>,
    C: Classify<<M::Service as Service<Request<B>>>::Error> + Clone,
    R: Body,
{
    type Response = Response<BalancedBody<R>>;
    type Error = BalancedError<<M::Service as Service<Request<B>>>::Error>;
    type Future = BalancedFuture<M::Service, C, B>;

    /// Always ready: who is to be ready is known when the request is.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.pick(request.extensions()) {
            Ok(pick) => {
                let member = pick.member();
                let make = || self.make.make(&member.cluster, &member.endpoint);
                let service = self.services.get(&self.balancer, member, make);
                BalancedFuture::sent(service.oneshot(request), pick, self.classify.clone(), self.clock)
            }
            Err(error) => BalancedFuture::refused(error),
        }
    }
}

impl<M: MakeEndpoint, C: Clone> Clone for Balanced<M, C> {
    fn clone(&self) -> Self {
        Self {
            balancer: self.balancer.clone(),
            make: Arc::clone(&self.make),
            services: Arc::clone(&self.services),
            classify: self.classify.clone(),
            clock: self.clock,
        }
    }
}

impl<M: MakeEndpoint, C> fmt::Debug for Balanced<M, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balanced").field("balancer", &self.balancer).finish_non_exhaustive()
    }
}
