//! External authorizers.

mod attributes;
mod grpc;
mod http;

pub use self::grpc::GrpcAuthorizer;
pub use self::http::HttpAuthorizer;
