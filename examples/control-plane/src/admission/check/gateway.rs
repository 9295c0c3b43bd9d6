use std::net::IpAddr;

use crate::finding::Faults;
use crate::resource::text::is_hostname;
use crate::resource::{
    AddressValue, AllowedNamespaces, ClientValidation, FrontendTls, Gateway, GatewayClass, LabelSelector, Listener,
    ListenerTls, WAYPOINT_CLASS,
};

/// A GatewayClass by itself.
pub(super) fn class(class: &GatewayClass, faults: &mut Faults<'_>) {
    let name = &class.spec.controller_name;
    let good = name.split_once('/').is_some_and(|(domain, path)| {
        is_hostname(domain) && !path.is_empty() && path.bytes().all(|byte| byte.is_ascii_graphic()) && name.len() <= 253
    });
    // Classes of waypoints are known without one.
    if !good && !name.is_empty() {
        faults.error("controllerName", format_args!("`{name}` is not `domain/path`"));
    }
    if class.spec.description.as_ref().is_some_and(|text| text.chars().count() > 64) {
        faults.error("description", "is longer than 64 characters");
    }
}

/// A Gateway by itself.
pub(super) fn gateway(gateway: &Gateway, faults: &mut Faults<'_>) {
    let spec = &gateway.spec;
    let is_waypoint = spec.gateway_class_name == WAYPOINT_CLASS;
    if spec.gateway_class_name.is_empty() {
        faults.error("gatewayClassName", "is empty");
    }
    listeners(&spec.listeners, is_waypoint, faults);
    addresses(&spec.addresses, faults);
    faults.at_most("infrastructure.labels", spec.infrastructure.labels.len(), 8);
    faults.at_most("infrastructure.annotations", spec.infrastructure.annotations.len(), 16);
    faults.within("allowedListeners.namespaces", |faults| {
        namespaces(&spec.allowed_listeners.namespaces, &["None", "Same", "All", "Selector"], faults);
    });
    faults.within("tls.frontend", |faults| frontend(&spec.tls.frontend, faults));
    faults.one_of("defaultScope", spec.default_scope.as_deref(), &["All", "None"]);
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
    }
}

/// Listeners of a Gateway or ListenerSet.
pub(super) fn listeners(list: &[Listener], is_waypoint: bool, faults: &mut Faults<'_>) {
    faults.at_most("listeners", list.len(), 64);
    faults.some("listeners", list.len());
    faults.distinct("listeners", list.iter().map(|listener| &listener.name), "name");
    let places = list.iter().map(|listener| (listener.port, &listener.protocol, &listener.hostname));
    faults.distinct("listeners", places, "port, protocol and host name");
    faults.each("listeners", list, |faults, one| listener(one, is_waypoint, faults));
}

fn addresses(list: &[AddressValue], faults: &mut Faults<'_>) {
    faults.at_most("addresses", list.len(), 16);
    let given = list.iter().filter(|address| !address.value.is_empty());
    let pairs = given.map(|address| (address.r#type.as_deref().unwrap_or("IPAddress"), &address.value));
    faults.distinct("addresses", pairs, "type and value");
    faults.each("addresses", list, |faults, address| match address.r#type.as_deref().unwrap_or("IPAddress") {
        _ if address.value.is_empty() => {}
        "IPAddress" if address.value.parse::<IpAddr>().is_err() => {
            faults.error("value", format_args!("`{}` is no IP address", address.value));
        }
        "Hostname" if !is_hostname(&address.value) => {
            faults.error("value", format_args!("`{}` is no host name", address.value));
        }
        "IPAddress" | "Hostname" => {}
        other if other.contains('/') => {}
        other => faults.error("type", format_args!("`{other}` is none of IPAddress, Hostname, and has no domain")),
    });
}

fn frontend(frontend: &FrontendTls, faults: &mut Faults<'_>) {
    faults.at_most("perPort", frontend.per_port.len(), 64);
    faults.distinct("perPort", frontend.per_port.iter().map(|one| one.port), "port");
    if let Some(one) = &frontend.default.validation {
        faults.within("default.validation", |faults| client_validation(one, faults));
    }
    faults.each("perPort", &frontend.per_port, |faults, one| {
        faults.port("port", one.port);
        if let Some(one) = &one.tls.validation {
            faults.within("tls.validation", |faults| client_validation(one, faults));
        }
    });
}

fn client_validation(validation: &ClientValidation, faults: &mut Faults<'_>) {
    faults.some("caCertificateRefs", validation.ca_certificate_refs.len());
    faults.at_most("caCertificateRefs", validation.ca_certificate_refs.len(), 16);
    faults.one_of("mode", validation.mode.as_deref(), &["AllowValidOnly", "AllowInsecureFallback"]);
}

fn listener(listener: &Listener, is_waypoint: bool, faults: &mut Faults<'_>) {
    let Listener { name, hostname, port, protocol, tls, allowed_routes } = listener;
    if !is_hostname(name) || name.starts_with('*') {
        faults.error("name", format_args!("`{name}` is no name"));
    }
    faults.port("port", *port);
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
        (_, Some(tls)) => faults.within("tls", |faults| listener_tls(tls, protocol, faults)),
        _ => {}
    }
    if is_waypoint && protocol != "HBONE" {
        faults.warning("protocol", format_args!("`{protocol}` is not served by waypoints"));
    }
    faults.at_most("allowedRoutes.kinds", allowed_routes.kinds.len(), 8);
    faults.within("allowedRoutes.namespaces", |faults| {
        namespaces(&allowed_routes.namespaces, &["Same", "All", "Selector"], faults);
    });
}

fn listener_tls(tls: &ListenerTls, protocol: &str, faults: &mut Faults<'_>) {
    faults.one_of("mode", tls.mode.as_deref(), &["Terminate", "Passthrough"]);
    match (protocol, tls.mode.as_deref()) {
        ("HTTPS", Some("Passthrough")) => faults.error("mode", "HTTPS is ended here; `TLS` is passed through"),
        ("TLS", None) => faults.error("mode", "is missing; for TLS it must be written"),
        _ => {}
    }
    let ends = tls.mode.as_deref() != Some("Passthrough") && matches!(protocol, "HTTPS" | "TLS");
    if ends && tls.certificate_refs.is_empty() && tls.options.is_empty() {
        faults.error("certificateRefs", "there is none, and no `options` either");
    }
    faults.at_most("certificateRefs", tls.certificate_refs.len(), 64);
    faults.at_most("options", tls.options.len(), 16);
}

fn namespaces(namespaces: &AllowedNamespaces, known: &[&str], faults: &mut Faults<'_>) {
    faults.one_of("from", namespaces.from.as_deref(), known);
    match (&namespaces.selector, namespaces.from.as_deref()) {
        (Some(selector), _) => label_selector(selector, faults),
        (None, Some("Selector")) => faults.error("selector", "is missing"),
        (None, _) => {}
    }
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
