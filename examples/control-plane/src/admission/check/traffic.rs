use mesh_core::name::Hostname;

use crate::finding::Faults;
use crate::resource::{
    ClientTls, ConnectionPool, ConsistentHash, DestinationRule, LoadBalancer, LocalityLb, OutlierDetection,
    TrafficPolicy,
};

/// A DestinationRule by itself.
pub(crate) fn destination_rule(rule: &DestinationRule, faults: &mut Faults<'_>) {
    let spec = &rule.spec;
    if spec.host.is_empty() {
        faults.error("host", "is empty");
    }
    if spec.workload_selector.is_some() {
        faults.warning("workloadSelector", "the rule does not count at waypoints, which serve the whole host");
    }
    faults.distinct("subsets", spec.subsets.iter().map(|subset| &subset.name), "name");
    if let Some(policy) = &spec.traffic_policy {
        faults.within("trafficPolicy", |faults| traffic_policy(policy, faults));
    }
    faults.each("subsets", &spec.subsets, |faults, subset| {
        if subset.name.is_empty() || subset.name.contains('|') {
            faults.error("name", format_args!("`{}` is no name", subset.name));
        }
        if let Some(policy) = &subset.traffic_policy {
            faults.within("trafficPolicy", |faults| traffic_policy(policy, faults));
        }
    });
}

fn traffic_policy(policy: &TrafficPolicy, faults: &mut Faults<'_>) {
    let TrafficPolicy { load_balancer, connection_pool, outlier_detection, tls, port_level_settings, retry_budget } =
        policy;
    settings(load_balancer.as_ref(), connection_pool.as_ref(), outlier_detection.as_ref(), tls.as_ref(), faults);
    faults.each("portLevelSettings", port_level_settings, |faults, port| {
        if port.port.number == 0 {
            faults.error("port.number", "0 is no port");
        }
        let (balancer, pool) = (port.load_balancer.as_ref(), port.connection_pool.as_ref());
        settings(balancer, pool, port.outlier_detection.as_ref(), port.tls.as_ref(), faults);
    });
    if let Some(percent) = retry_budget.as_ref().and_then(|budget| budget.percent) {
        share(faults, "retryBudget.percent", percent);
    }
}

fn share(faults: &mut Faults<'_>, field: &str, percent: f64) {
    if !(0.0..=100.0).contains(&percent) {
        faults.error(field, format_args!("{percent} is no share in percent"));
    }
}

fn settings(
    balancer: Option<&LoadBalancer>,
    pool: Option<&ConnectionPool>,
    outliers: Option<&OutlierDetection>,
    tls: Option<&ClientTls>,
    faults: &mut Faults<'_>,
) {
    if let Some(balancer) = balancer {
        faults.within("loadBalancer", |faults| load_balancer(balancer, faults));
    }
    if let Some(pool) = pool {
        faults.within("connectionPool", |faults| connection_pool(pool, faults));
    }
    if let Some(outliers) = outliers {
        faults.within("outlierDetection", |faults| outlier_detection(outliers, faults));
    }
    if let Some(tls) = tls {
        faults.within("tls", |faults| client_tls(tls, faults));
    }
}

fn client_tls(tls: &ClientTls, faults: &mut Faults<'_>) {
    let ClientTls {
        mode,
        client_certificate,
        private_key,
        ca_certificates,
        ca_crl,
        subject_alt_names,
        sni,
        credential_name,
        insecure_skip_verify,
    } = tls;
    let mode = mode.as_deref().unwrap_or("DISABLE");
    faults.one_of("mode", Some(mode), &["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"]);
    if credential_name.is_some() {
        faults.error("credentialName", "secrets are not read; name files where the waypoint runs");
    }
    if *insecure_skip_verify == Some(true) {
        faults.error("insecureSkipVerify", "is not supported; name the authorities in `caCertificates`");
    }
    if let Some(name) = sni.as_ref().filter(|name| Hostname::parse(name).is_err()) {
        faults.error("sni", format_args!("`{name}` is no host name"));
    }
    let pair = [("clientCertificate", client_certificate), ("privateKey", private_key)];
    for (field, file) in pair {
        match (mode, file) {
            ("MUTUAL", None) => faults.error(field, "is missing"),
            ("MUTUAL", Some(_)) | (_, None) => {}
            _ => faults.error(field, "belongs to the mode MUTUAL"),
        }
    }
    let of_others = [
        ("caCertificates", ca_certificates.is_some()),
        ("caCrl", ca_crl.is_some()),
        ("subjectAltNames", !subject_alt_names.is_empty()),
        ("sni", sni.is_some()),
    ];
    if mode == "DISABLE" {
        for (field, _) in of_others.iter().filter(|(_, given)| *given) {
            faults.error(*field, "says how TLS is to be, and the mode that there is none");
        }
    }
}

fn load_balancer(balancer: &LoadBalancer, faults: &mut Faults<'_>) {
    let LoadBalancer { simple, consistent_hash, locality_lb_setting, warmup, warmup_duration_secs } = balancer;
    let known = ["UNSPECIFIED", "LEAST_CONN", "LEAST_REQUEST", "RANDOM", "ROUND_ROBIN", "PASSTHROUGH"];
    faults.one_of("simple", simple.as_deref(), &known);
    if simple.is_some() && consistent_hash.is_some() {
        faults.error("consistentHash", "there is `simple` too");
    }
    if let Some(hash) = consistent_hash {
        faults.within("consistentHash", |faults| consistent_hash_of(hash, faults));
    }
    if let Some(warmup) = warmup {
        faults.duration("warmup.duration", Some(&warmup.duration));
        if let Some(percent) = warmup.minimum_percent {
            share(faults, "warmup.minimumPercent", percent);
        }
        if warmup.aggression.is_some_and(|aggression| !(aggression.is_finite() && aggression >= 1.0)) {
            faults.error("warmup.aggression", "must not be below 1");
        }
    }
    faults.duration("warmupDurationSecs", warmup_duration_secs.as_deref());
    if let Some(setting) = locality_lb_setting {
        faults.within("localityLbSetting", |faults| locality(setting, faults));
    }
}

fn consistent_hash_of(hash: &ConsistentHash, faults: &mut Faults<'_>) {
    let keys = [
        hash.http_header_name.is_some(),
        hash.http_cookie.is_some(),
        hash.use_source_ip,
        hash.http_query_parameter_name.is_some(),
    ];
    if keys.iter().filter(|given| **given).count() != 1 {
        faults.error("(key)", "one of httpHeaderName, httpCookie, useSourceIp, httpQueryParameterName must be given");
    }
    if hash.ring_hash.is_some() && hash.maglev.is_some() {
        faults.error("maglev", "there is `ringHash` too");
    }
    if let Some(cookie) = &hash.http_cookie {
        faults.duration("httpCookie.ttl", cookie.ttl.as_deref());
    }
    let ring = hash.ring_hash.and_then(|ring| ring.minimum_ring_size).or(hash.minimum_ring_size);
    if ring.is_some_and(|size| size > 8 * 1024 * 1024) {
        faults.error("ringHash.minimumRingSize", "there may be 8388608");
    }
}

fn locality(setting: &LocalityLb, faults: &mut Faults<'_>) {
    let LocalityLb { distribute, failover, failover_priority, enabled: _ } = setting;
    if [!distribute.is_empty(), !failover.is_empty() || !failover_priority.is_empty()] == [true, true] {
        faults.error("distribute", "there is `failover` or `failoverPriority` too");
    }
    faults.each("distribute", distribute, |faults, one| {
        let sum: u64 = one.to.values().map(|share| u64::from(*share)).sum();
        if sum != 100 {
            faults.error("to", format_args!("the shares sum up to {sum}, not 100"));
        }
    });
    faults.each("failover", failover, |faults, one| {
        if one.from == one.to || one.from.contains('/') || one.to.contains('/') {
            faults.error("to", "two different regions are named");
        }
    });
}

fn connection_pool(pool: &ConnectionPool, faults: &mut Faults<'_>) {
    if let Some(tcp) = &pool.tcp {
        faults.within("tcp", |faults| {
            faults.duration("connectTimeout", tcp.connect_timeout.as_deref());
            faults.duration("maxConnectionDuration", tcp.max_connection_duration.as_deref());
            faults.duration("idleTimeout", tcp.idle_timeout.as_deref());
            if tcp.tcp_keepalive.is_some() {
                faults.warning("tcpKeepalive", "has no effect here");
            }
        });
    }
    if let Some(http) = &pool.http {
        faults.within("http", |faults| {
            faults.duration("idleTimeout", http.idle_timeout.as_deref());
            let policies = ["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"];
            faults.one_of("h2UpgradePolicy", http.h2_upgrade_policy.as_deref(), &policies);
            for (field, given) in [
                ("idleTimeout", http.idle_timeout.is_some()),
                ("maxConcurrentStreams", http.max_concurrent_streams.is_some()),
            ] {
                if given {
                    faults.warning(field, "has no effect here");
                }
            }
        });
    }
}

fn outlier_detection(outliers: &OutlierDetection, faults: &mut Faults<'_>) {
    faults.duration("interval", outliers.interval.as_deref());
    faults.duration("baseEjectionTime", outliers.base_ejection_time.as_deref());
    for (field, percent) in
        [("maxEjectionPercent", outliers.max_ejection_percent), ("minHealthPercent", outliers.min_health_percent)]
    {
        if let Some(percent) = percent {
            share(faults, field, percent.into());
        }
    }
}
