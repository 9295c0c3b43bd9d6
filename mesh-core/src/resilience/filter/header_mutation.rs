use http::{request, response};

use crate::filter::{Exchange, Filter, Step};
use crate::route::{FilterOverride, HeaderMutation, Mutation};

/// The filter of [`HeaderMutation`]. What it is told by levels of a route table it does beside what it does itself.
#[derive(Debug, Default)]
pub struct EditHeaders {
    mutation: HeaderMutation,
}

impl EditHeaders {
    /// Edits of all requests and responses.
    #[must_use]
    pub fn new(mutation: HeaderMutation) -> Self {
        Self { mutation }
    }

    /// All that is to be done, in order.
    fn each<'a>(&'a self, exchange: &'a Exchange, mut edit: impl FnMut(&'a HeaderMutation)) {
        edit(&self.mutation);
        let of_levels = exchange.overrides().filter_map(|level| match level {
            FilterOverride::HeaderMutation(mutation) => Some(mutation),
            _ => None,
        });
        match self.mutation.most_specific_wins {
            false => of_levels.for_each(edit),
            true => of_levels.collect::<Vec<_>>().into_iter().rev().for_each(edit),
        }
    }
}

/// The head of the request, for edits of the response that speak of it.
#[derive(Clone)]
struct Sent(request::Parts);

impl Filter for EditHeaders {
    fn on_request(&self, head: &mut request::Parts, exchange: &mut Exchange) -> Step {
        let mut request: Vec<&Mutation> = Vec::new();
        let mut edits_response = false;
        self.each(exchange, |level| {
            request.extend(&level.request);
            edits_response |= !level.response.is_empty();
        });
        if !request.is_empty() {
            let came = head.clone();
            let view = exchange.request(&came).head;
            request.iter().for_each(|mutation| mutation.edit_request(&view, &mut head.headers));
        }
        if edits_response {
            let mut sent = head.clone();
            sent.extensions.clear();
            exchange.keep(Sent(sent));
        }
        Step::Next
    }

    fn on_response(&self, head: &mut response::Parts, exchange: &mut Exchange) {
        let Some(Sent(sent)) = exchange.take_kept() else { return };
        let request = exchange.request(&sent);
        self.each(exchange, |level| {
            level.response.iter().for_each(|mutation| mutation.edit_response(&request, &mut head.headers));
        });
    }
}
