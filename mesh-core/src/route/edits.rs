use super::Mutation;

/// Edits of headers by a filter. Envoy's `envoy.extensions.filters.http.header_mutation.v3.HeaderMutation`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderMutation {
    /// On the way to the server, in this order.
    pub request: Vec<Mutation>,
    /// On the way back, in this order.
    pub response: Vec<Mutation>,
    /// Of what several levels of a route table say, whether the most specific edits last, so that it wins; otherwise it edits
    /// first. It counts where the filter itself says it.
    pub most_specific_wins: bool,
}
