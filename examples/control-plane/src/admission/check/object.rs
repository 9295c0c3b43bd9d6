use super::{core, entry, gateway, stream_route, telemetry, traffic};
use crate::finding::{Code, Faults, Finding, Origin};
use crate::resource::Object;

/// What is wrong with an object by itself: the rules that an API server would apply, and those of whoever honours it. It
/// depends on nothing else, so that an object that was good once stays good whatever comes beside it.
#[must_use]
pub fn validate(object: &Object, origin: &Origin) -> Vec<Finding> {
    let mut findings = Vec::new();
    let faults = &mut Faults::new(origin, &mut findings);
    match object {
        Object::Namespace(_) | Object::Node(_) | Object::ServiceAccount(_) | Object::ServiceExport(_) => {}
        Object::ConfigMap(map) => {
            if let Some(mesh) = &map.mesh {
                super::mesh_config(mesh, &mut Faults::at("data.mesh", origin, &mut findings));
            }
        }
        Object::Secret(secret) => {
            let faults = &mut Faults::at("data", origin, &mut findings);
            if secret.r#type.as_deref() == Some("kubernetes.io/tls") {
                for key in ["tls.crt", "tls.key"].into_iter().filter(|key| secret.get(key).is_none()) {
                    faults.key(key, "is missing");
                }
            }
        }
        Object::Service(service) => core::service(service, faults),
        Object::Pod(pod) => core::pod_status(pod, &mut Faults::at("status", origin, &mut findings)),
        Object::EndpointSlice(slice) => core::endpoint_slice(slice, &mut Faults::at("", origin, &mut findings)),
        Object::WorkloadEntry(entry) => entry::workload_entry(entry, faults),
        Object::ServiceEntry(entry) => entry::service_entry(entry, faults),
        Object::DestinationRule(rule) => traffic::destination_rule(rule, faults),
        Object::VirtualService(service) => super::virtual_service(service, faults),
        Object::AuthorizationPolicy(policy) => {
            let (_, said) = crate::translate::policy(&object.id().name, policy, "");
            said.iter().for_each(|(severity, text)| faults.said(*severity, Code::L7_WITHOUT_WAYPOINT, text));
        }
        Object::RequestAuthentication(tokens) => {
            let said = crate::translate::waypoint::token_faults(tokens);
            said.iter().for_each(|(severity, text)| faults.said(*severity, Code::NO_EFFECT, text));
        }
        Object::PeerAuthentication(peer) => {
            for port in peer.spec.port_level_mtls.keys() {
                if !port.parse::<u16>().is_ok_and(|port| port > 0) {
                    faults.error("portLevelMtls", format_args!("`{port}` is no port; keys are port numbers"));
                }
            }
        }
        Object::Telemetry(telemetry) => telemetry::telemetry(telemetry, faults),
        Object::GatewayClass(class) => gateway::class(class, faults),
        Object::Gateway(gateway) => gateway::gateway(gateway, faults),
        Object::ListenerSet(set) => stream_route::listener_set(set, faults),
        Object::HttpRoute(route) => super::http_route(route, faults),
        Object::GrpcRoute(route) => super::grpc_route(route, faults),
        Object::TlsRoute(route) => stream_route::tls_route(route, faults),
        Object::TcpRoute(route) => stream_route::tcp_route(&route.spec, faults),
        Object::UdpRoute(route) => stream_route::tcp_route(&route.spec, faults),
        Object::ReferenceGrant(grant) => stream_route::reference_grant(grant, faults),
        Object::BackendTlsPolicy(policy) => stream_route::backend_tls(policy, faults),
        Object::ServiceImport(import) => stream_route::service_import(import, faults),
    }
    findings
}
