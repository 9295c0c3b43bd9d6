//! Kinds of Istio that are read for waypoints.

use super::{POLICY, findings};

#[test]
fn virtual_services_that_would_treat_requests_otherwise_are_refused() {
    let to = "route: [{destination: {host: s}}]";
    for (spec, wanted) in [
        ("{hosts: [s]}".to_owned(), "spec.http: there is none, and neither `tls` nor `tcp`"),
        (format!("{{http: [{{{to}}}]}}"), "spec.hosts: is empty"),
        (format!("{{hosts: [a.*.b], http: [{{{to}}}]}}"), "spec.hosts[0]: `a.*.b` is no host name"),
        (format!("{{hosts: [s], gateways: [edge], http: [{{{to}}}]}}"), "spec.gateways: `mesh` is none of them"),
        (format!("{{hosts: [s], http: [{{{to}}}, {{{to}}}]}}"), "spec.http[0]: takes all requests"),
        ("{hosts: [s], http: [{}]}".to_owned(), "spec.http[0].route: one of `route`, `redirect` and `directResponse`"),
        (
            format!("{{hosts: [s], http: [{{{to}, directResponse: {{status: 200}}}}]}}"),
            "spec.http[0].route: one of `route`, `redirect` and `directResponse`",
        ),
        ("{hosts: [s], http: [{delegate: {name: d}}]}".to_owned(), "spec.http[0].delegate: is not supported"),
        (format!("{{hosts: [s], http: [{{{to}, rout: []}}]}}"), "unknown field `rout`"),
        ("{hosts: [s], http: [{route: [{destination: {hos: s}}]}]}".to_owned(), "unknown field `hos`"),
        (
            "{hosts: [s], http: [{route: [{destination: {host: s}}, {destination: {host: s}}]}]}".to_owned(),
            "spec.http[0].route: of several destinations one needs a weight above 0",
        ),
        (format!("{{hosts: [s], http: [{{{to}, timeout: soon}}]}}"), "spec.http[0].timeout: `soon` is no duration"),
        (format!("{{hosts: [s], http: [{{{to}, match: [{{uri: {{regex: '('}}}}]}}]}}"), "spec.http[0].match[0].uri: "),
        (
            format!("{{hosts: [s], http: [{{{to}, match: [{{uri: {{exact: /a, prefix: /}}}}]}}]}}"),
            "spec.http[0].match[0].uri: of `exact`, `prefix` and `regex` there may be one",
        ),
        (
            format!("{{hosts: [s], http: [{{{to}, match: [{{method: {{}}}}]}}]}}"),
            "spec.http[0].match[0].method: one of `exact`, `prefix` and `regex` is needed",
        ),
        (
            format!(
                "{{hosts: [s], http: [{{{to}, match: [{{headers: {{'@request.auth.claims.a': {{exact: b}}}}}}]}}]}}"
            ),
            "spec.http[0].match[0].headers: `@request.auth.claims.a`: routes by claims of tokens are not supported",
        ),
        (
            format!("{{hosts: [s], http: [{{{to}, match: [{{sourceLabels: {{app: a}}}}]}}]}}"),
            "spec.http[0].match[0].sourceLabels: a waypoint does not know the labels of clients",
        ),
        (
            format!(
                "{{hosts: [s], http: [{{{to}, fault: {{abort: {{httpStatus: 999, percentage: {{value: 1}}}}}}}}]}}"
            ),
            "spec.http[0].fault.abort.httpStatus: 999 is none of 200 to 599",
        ),
        (
            format!("{{hosts: [s], http: [{{{to}, fault: {{abort: {{grpcStatus: NEVER}}}}}}]}}"),
            "spec.http[0].fault.abort.grpcStatus: `NEVER` is no status of gRPC",
        ),
        (
            format!("{{hosts: [s], http: [{{{to}, fault: {{delay: {{fixedDelay: 1s}}}}}}]}}"),
            "spec.http[0].fault.delay.percentage: there is none; no request is affected",
        ),
        (
            format!("{{hosts: [s], http: [{{{to}, retries: {{attempts: 1, retryOn: '5xx,never'}}}}]}}"),
            "spec.http[0].retries.retryOn: `never` is neither a status nor a condition of Envoy",
        ),
        (
            format!("{{hosts: [s], http: [{{{to}, rewrite: {{uriRegexRewrite: {{match: '(', rewrite: a}}}}}}]}}"),
            "spec.http[0].rewrite.uriRegexRewrite: ",
        ),
        (
            "{hosts: [s], http: [{redirect: {redirectCode: 305}}]}".to_owned(),
            "spec.http[0].redirect.redirectCode: 305 is none of",
        ),
        (
            "{hosts: [s], http: [{directResponse: {status: 200, body: {bytes: AAAA}}}]}".to_owned(),
            "spec.http[0].directResponse.body.bytes: is not supported",
        ),
        (
            format!("{{hosts: [s], http: [{{{to}, headers: {{request: {{set: {{'a b': c}}}}}}}}]}}"),
            "spec.http[0].headers.request.set: `a b` is no header",
        ),
        (
            format!("{{hosts: [s], http: [{{{to}, corsPolicy: {{allowOrigins: [{{}}]}}}}]}}"),
            "spec.http[0].corsPolicy.allowOrigins[0]: one of `exact`, `prefix` and `regex` is needed",
        ),
        (
            format!(
                "{{hosts: [s], http: [{{{to}, mirrors: [{{destination: {{host: s}}, percentage: {{value: 101}}}}]}}]}}"
            ),
            "spec.http[0].mirrors[0].percentage: 101 is no share in percent",
        ),
        ("{hosts: [s], tcp: [{}]}".to_owned(), "spec.tcp[0].route: is empty"),
        (
            format!("{{hosts: [s], tcp: [{{match: [{{sourceSubnet: 10.0.0.0/8}}], {to}}}]}}"),
            "spec.tcp[0].match[0].sourceSubnet: is not known where connections of a service arrive",
        ),
        (format!("{{hosts: [s], tls: [{{{to}}}]}}"), "spec.tls[0].match: is missing; TLS is matched by `sniHosts`"),
        (
            format!("{{hosts: [s], tls: [{{match: [{{sniHosts: [other]}}], {to}}}]}}"),
            "spec.tls[0].match[0].sniHosts: `other` is none of the hosts",
        ),
        (format!("{{hosts: [none], http: [{{{to}}}]}}"), "spec.hosts[0]: `none` is no service that is there"),
        (
            format!("{{hosts: [s], http: [{{{to}}}]}}"),
            "spec.hosts[0]: `default/s` has no waypoint; the object has no effect",
        ),
        (
            "{hosts: [bound], http: [{route: [{destination: {host: none}}]}]}".to_owned(),
            "spec.http[0].route[0].destination.host: `none` is not there; its share is answered with 503",
        ),
        (
            "{hosts: [bound], http: [{route: [{destination: {host: s, port: {number: 81}}}]}]}".to_owned(),
            "spec.http[0].route[0].destination.port: `s` has no such port",
        ),
        (
            "{hosts: [bound], http: [{mirror: {host: s, subset: v9}, route: [{destination: {host: s}}]}]}".to_owned(),
            "spec.http[0].mirror.destination.subset: `v9` is in no DestinationRule",
        ),
        (
            "{hosts: [routed.default.svc.cluster.local], http: [{directResponse: {status: 200}}]}".to_owned(),
            "spec.hosts[0]: `default/routed`: route `default/r` of the Gateway API is attached to it",
        ),
        ("{hosts: [bound], http: [{route: [{destination: {host: s}}]}]}".to_owned(), ""),
        ("{hosts: ['*'], tcp: [{route: [{destination: {host: s}}]}]}".to_owned(), "`default/s` has no waypoint"),
    ] {
        let bound = "labels: {istio.io/use-waypoint: w}";
        let found = findings(&format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: s}}\nspec: {{ports: [{{name: http, port: 80}}]}}\n---\n\
             apiVersion: v1\nkind: Service\nmetadata: {{name: bound, {bound}}}\nspec: {{ports: [{{name: http, port: 80}}]}}\n---\n\
             apiVersion: v1\nkind: Service\nmetadata: {{name: routed, {bound}}}\nspec: {{ports: [{{name: http, port: 80}}]}}\n---\n\
             apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: r}}\n\
             spec: {{parentRefs: [{{group: '', kind: Service, name: routed}}]}}\n---\n\
             apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v}}\nspec: {spec}\n"
        ));
        let found: Vec<_> = found.into_iter().filter(|finding| !finding.contains("Gateway `default/w`")).collect();
        match wanted {
            "" => assert!(found.is_empty(), "{spec}: {found:#?}"),
            wanted => assert!(found.iter().any(|finding| finding.contains(wanted)), "{wanted} is not in {found:#?}"),
        }
    }
}

#[test]
fn authorizers_that_nobody_can_ask_are_told_of() {
    let config = |providers: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: a, namespace: b}}\nspec: {{ports: [{{port: 80}}]}}\n---\n\
             apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: |\n    {providers}\n"
        )
    };
    let http = |fields: &str| {
        let service = "service: a.b.svc.cluster.local, port: 80";
        config(&format!("extensionProviders: [{{name: p, envoyExtAuthzHttp: {{{service}, {fields}}}}}]"))
    };
    let policy = |provider: &str| {
        let config = config("extensionProviders: [{name: t, zipkin: {}}]");
        format!(
            "{config}---\n{POLICY}spec: {{action: CUSTOM, provider: {{name: {provider}}}, rules: [{{}}], targetRefs: [{{group: gateway.networking.k8s.io, kind: Gateway, name: g}}]}}\n"
        )
    };
    for (text, wanted) in [
        (config("extensionProviders: 1"), "error: data.mesh: "),
        (config("accessLogFile: a"), "warning: data.mesh.(other): accessLogFile have no effect here"),
        (config("extensionProviders: [{name: A_B, zipkin: {}}]"), "extensionProviders[0].name: `A_B` is no DNS name"),
        (config("extensionProviders: [{name: a}]"), "extensionProviders[0].(kind): a provider is of one kind"),
        (
            config("extensionProviders: [{name: a, zipkin: {}}, {name: a, zipkin: {}}]"),
            "extensionProviders: two have one name",
        ),
        (
            config("extensionProviders: [{name: a, envoyExtAuthzGrpc: {}}]"),
            "envoyExtAuthzGrpc.service: `` is not `[namespace/]host`",
        ),
        (
            config("extensionProviders: [{name: a, envoyExtAuthzGrpc: {service: x.y, port: 1}}]"),
            "extensionProviders[0].service: `x.y` is not there; what would be put to it is denied",
        ),
        (
            config("extensionProviders: [{name: a, envoyExtAuthzGrpc: {service: a.b.svc.cluster.local, port: 1}}]"),
            "extensionProviders[0].port: `a.b.svc.cluster.local` has no port 1; what would be put to it is denied",
        ),
        (http("timeout: soon"), "envoyExtAuthzHttp.timeout: `soon` is no duration"),
        (http("pathPrefix: check"), "envoyExtAuthzHttp.pathPrefix: does not begin with /"),
        (http("statusOnError: often"), "envoyExtAuthzHttp.statusOnError: `often` is no status"),
        (http("includeRequestBodyInCheck: {}"), "includeRequestBodyInCheck.maxRequestBytes: must be above 0"),
        (http("includeAdditionalHeadersInCheck: {'a b': c}"), "includeAdditionalHeadersInCheck: `a b` is no header"),
        (http("unheard: 1"), "unknown field `unheard`"),
        (http("failOpen: true"), ""),
        (
            policy("p"),
            "warning: spec.provider.name: `p` is no extension provider of the ConfigMap `istio`; what the policy matches is denied",
        ),
        (policy("t"), "warning: spec.provider.name: `t` decides nothing; what the policy matches is denied"),
    ] {
        let found = findings(&text);
        match wanted {
            "" => assert!(found.is_empty(), "{found:#?}"),
            wanted => assert!(found.iter().any(|finding| finding.contains(wanted)), "{wanted} is not in {found:#?}"),
        }
    }
}
