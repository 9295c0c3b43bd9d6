//! What of the Gateway API belongs together: listeners of Gateways and ListenerSets, the routes that attach to them, and what
//! all of these refer to. Pure.
//!
//! Everything is read through [`Read`], which a [`Whole`] world answers, and what takes note of what was read. So translation
//! computes anew only what a change is about, and who says statuses sees exactly what is served:
//!
//! | function | gives |
//! | --- | --- |
//! | [`attach`] | of one Gateway: its listeners with those of its ListenerSets, each with what attaches to it, or why it does not |
//! | [`of_service`] | of one Service or ServiceEntry: the routes that name it as parent (mesh, GAMMA) |
//! | [`Route::backends`] | of one route: what its backends come to |
//! | [`backend_tls`] | of one Service: the BackendTLSPolicies that name it, and which of them counts |
//!
//! # Where the specification leaves a choice
//!
//! | what | here |
//! | --- | --- |
//! | HTTPS and TLS on one port | distinct if their host names are |
//! | TLS ended and TLS passed through on one port | distinct if their host names are |
//! | ports of the proxies themselves (15000, 15020, 15021, 15090) | `PortUnavailable` |
//! | listeners of a Gateway with those of its ListenerSets | 1024 at most; beyond, `TooManyListeners` |
//! | an HTTPRoute and a GRPCRoute for one host of a listener | the older counts, the other one is `Conflicted` |
//! | TLSRoutes and TCPRoutes with a Service as parent | are refused: waypoints have none |

mod backend;
pub mod backend_tls;
mod certificate;
mod conflict;
mod controller;
mod gateway;
mod grant;
mod listener;
mod mesh;
mod read;
mod reference;
mod route;

pub use self::backend::{Backend, BackendFault, BackendUse};
pub use self::certificate::{Authorities, certificate};
pub use self::conflict::Conflict;
pub use self::controller::{Controller, Role};
pub use self::gateway::{Attachment, Parent, Set, attach};
pub use self::grant::{Referrer, is_granted};
pub use self::listener::{Attached, ClientAuthentication, Listener, ListenerFault, Protocol, Tls};
pub use self::mesh::{MeshParent, of_service};
pub use self::read::{HostPorts, Read, Whole};
pub use self::reference::{RefFault, parent};
pub use self::route::{Refusal, Route, RuleFault, RuleFaults};
