use mesh_core::filter::Named;
use mesh_core::listener::HttpManager;

use crate::http::Server;

/// What filters need that is not in their configuration: whom they ask.
pub trait Extensions: Send + Sync + 'static {}

/// Nobody is asked: filters that would have to ask somebody refuse.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoExtensions;

impl Extensions for NoExtensions {}

/// The filters of a manager, in their order.
pub(super) fn of(manager: &HttpManager, extensions: &dyn Extensions) -> Vec<Named> {
    let _ = extensions;
    let _ = &manager.filters;
    Vec::new()
}

/// What serves the connections of a manager.
pub(super) fn server(manager: &HttpManager) -> Server {
    Server::new(manager)
}
