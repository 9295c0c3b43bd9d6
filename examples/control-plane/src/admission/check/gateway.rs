use super::Faults;
use super::text::is_hostname;
use crate::admission::schema::{Gateway, LabelSelector, Listener};

/// Class of the Gateways that are waypoints.
pub(crate) const WAYPOINT_CLASS: &str = "istio-waypoint";

/// A Gateway by itself.
pub(crate) fn gateway(gateway: &Gateway, faults: &mut Faults<'_>) {
    let spec = &gateway.spec;
    let is_waypoint = spec.gateway_class_name == WAYPOINT_CLASS;
    faults.at_most("listeners", spec.listeners.len(), 64);
    if spec.listeners.is_empty() {
        faults.error("listeners", "there is none");
    }
    faults.distinct("listeners", spec.listeners.iter().map(|listener| &listener.name), "name");
    let places = spec.listeners.iter().map(|listener| (listener.port, &listener.protocol, &listener.hostname));
    faults.distinct("listeners", places, "port, protocol and host name");
    faults.each("listeners", &spec.listeners, |faults, one| listener(one, is_waypoint, faults));
    if is_waypoint {
        if !spec.listeners.iter().any(|listener| listener.protocol == "HBONE") {
            faults.error("listeners", "a waypoint has a listener of protocol HBONE");
        }
        let purpose = gateway.metadata.labels.get("istio.io/waypoint-for").map(String::as_str);
        let known = ["service", "workload", "all", "none"];
        if let Some(purpose) = purpose.filter(|purpose| !known.contains(purpose)) {
            let message =
                format_args!("the label `istio.io/waypoint-for` is `{purpose}`, none of {}", known.join(", "));
            faults.error("gatewayClassName", message);
        }
    } else {
        let class = &spec.gateway_class_name;
        faults.warning("gatewayClassName", format_args!("Gateways of class `{class}` are not served here"));
    }
}

fn listener(listener: &Listener, is_waypoint: bool, faults: &mut Faults<'_>) {
    let Listener { name, hostname, port, protocol, tls, allowed_routes } = listener;
    if !is_hostname(name) || name.starts_with('*') {
        faults.error("name", format_args!("`{name}` is no name"));
    }
    if *port == 0 {
        faults.error("port", "0 is no port");
    }
    if let Some(hostname) = hostname.as_ref().filter(|name| !name.is_empty()) {
        if !is_hostname(hostname) {
            faults.error("hostname", format_args!("`{hostname}` is no host name"));
        }
        if matches!(protocol.as_str(), "TCP" | "UDP") {
            faults.error("hostname", format_args!("{protocol} has no host names"));
        }
    }
    match (protocol.as_str(), tls) {
        ("HTTP" | "TCP" | "UDP", Some(_)) => faults.error("tls", format_args!("{protocol} has no TLS")),
        ("HTTPS" | "TLS", None) => faults.error("tls", format_args!("{protocol} needs it")),
        _ => {}
    }
    if is_waypoint && protocol != "HBONE" {
        faults.warning("protocol", format_args!("`{protocol}` is not served by waypoints"));
    }
    faults.within("allowedRoutes.namespaces", |faults| {
        let namespaces = &allowed_routes.namespaces;
        faults.one_of("from", namespaces.from.as_deref(), &["Same", "All", "Selector"]);
        match (&namespaces.selector, namespaces.from.as_deref()) {
            (Some(selector), _) => label_selector(selector, faults),
            (None, Some("Selector")) => faults.error("selector", "is missing"),
            (None, _) => {}
        }
    });
}

fn label_selector(selector: &LabelSelector, faults: &mut Faults<'_>) {
    faults.each("selector.matchExpressions", &selector.match_expressions, |faults, expression| {
        faults.one_of("operator", Some(&expression.operator), &["In", "NotIn", "Exists", "DoesNotExist"]);
        let takes_values = matches!(expression.operator.as_str(), "In" | "NotIn");
        if takes_values == expression.values.is_empty() {
            let message = if takes_values { "there is none" } else { "this operator takes none" };
            faults.error("values", message);
        }
    });
}
