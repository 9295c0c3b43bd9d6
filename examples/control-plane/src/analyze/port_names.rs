//! Ports of which nobody says what is spoken.

use mesh_core::service::AppProtocol;

use super::context::{Context, Report};
use crate::finding::Code;
use crate::resource::Kind;
use crate::translate::binding::Traffic;
use crate::translate::{is_tcp, protocol};

/// Ports of services with a waypoint that are neither named `<protocol>[-<suffix>]` nor declare `appProtocol`.
pub(super) fn analyze(context: &Context<'_>, report: &mut Report) {
    for (origin, service) in context.world.services.values() {
        let unnamed = service.spec.ports.iter().enumerate().filter(|(_, port)| {
            let known = protocol(port.app_protocol.as_deref(), &port.name) != AppProtocol::Unknown;
            is_tcp(port.protocol.as_deref()) && !known && !is_known_to_be_no_http(&port.name)
        });
        let mut unnamed = unnamed.peekable();
        if unnamed.peek().is_none() || context.waypoint(Traffic::Service, &service.metadata).is_none() {
            continue;
        }
        for (index, port) in unnamed {
            let message = format!(
                "port {} (`{}`) says neither by its name nor by appProtocol what is spoken; the waypoint has to guess it from the first bytes",
                port.port, port.name
            );
            let field = format!("spec.ports[{index}].name");
            report.say(Code::PORT_NAME, (Kind::Service, &service.metadata), origin, field, message);
        }
    }
}

/// Protocols that Istio knows by name, and that are TCP to a waypoint.
fn is_known_to_be_no_http(name: &str) -> bool {
    matches!(name.split('-').next(), Some("mongo" | "mysql" | "redis" | "udp"))
}
