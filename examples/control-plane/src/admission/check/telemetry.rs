use crate::finding::{Code, Faults};
use crate::resource::{Telemetry, TelemetrySpec};

const MODES: [&str; 3] = ["CLIENT_AND_SERVER", "CLIENT", "SERVER"];

/// What has no effect, each part of a Telemetry once. No part of one is told to proxies: xDS has fields for some of it,
/// which ours do not read, and workload discovery has none.
fn ignored(spec: &TelemetrySpec, faults: &mut Faults<'_>) {
    let mut ignored = |part: &str, is_said: bool, instead: &str| {
        if is_said {
            faults.note(Code::TELEMETRY_IGNORED, part, format_args!("has no effect here: {instead}"));
        }
    };
    ignored(
        "accessLogging",
        !spec.access_logging.is_empty(),
        "what is logged is said by the settings of each proxy (target `access` of its log)",
    );
    ignored(
        "metrics",
        !spec.metrics.is_empty(),
        "proxies have Istio's standard metrics, with their labels as they are",
    );
    ignored("tracing", !spec.tracing.is_empty(), "proxies report no spans");
}

/// A Telemetry by itself.
pub(super) fn telemetry(telemetry: &Telemetry, faults: &mut Faults<'_>) {
    let spec = &telemetry.spec;
    if spec.selector.is_some() && (spec.target_ref.is_some() || !spec.target_refs.is_empty()) {
        faults.error("selector", "there are `targetRefs` too");
    }
    faults.at_most("targetRefs", spec.target_refs.len(), 16);
    ignored(spec, faults);
    faults.each("tracing", &spec.tracing, |faults, tracing| {
        faults.one_of("match.mode", tracing.r#match.as_ref().and_then(|of| of.mode.as_deref()), &MODES);
        if tracing.providers.len() > 1 {
            faults.error("providers", "there may be one");
        }
        if let Some(percent) = tracing.random_sampling_percentage.filter(|part| !(0.0..=100.0).contains(part)) {
            faults.error("randomSamplingPercentage", format_args!("{percent} is no share in percent"));
        }
    });
    faults.each("metrics", &spec.metrics, |faults, metrics| {
        faults.duration("reportingInterval", metrics.reporting_interval.as_deref());
        faults.each("overrides", &metrics.overrides, |faults, one| {
            let of = one.r#match.as_ref();
            faults.one_of("match.mode", of.and_then(|of| of.mode.as_deref()), &MODES);
            if of.is_some_and(|of| of.metric.is_some() && of.custom_metric.is_some()) {
                faults.error("match.customMetric", "there is `metric` too");
            }
            for (name, tag) in &one.tag_overrides {
                let operation = tag.operation.as_deref().unwrap_or("UPSERT");
                let value = tag.value.as_deref().is_some_and(|value| !value.is_empty());
                faults.within(format_args!("tagOverrides.{name}"), |faults| {
                    faults.one_of("operation", Some(operation), &["UPSERT", "REMOVE"]);
                    match (operation, value) {
                        ("UPSERT", false) => faults.error("value", "is missing"),
                        ("REMOVE", true) => faults.error("value", "is for UPSERT"),
                        _ => {}
                    }
                });
            }
        });
    });
    faults.each("accessLogging", &spec.access_logging, |faults, log| {
        faults.one_of("match.mode", log.r#match.as_ref().and_then(|of| of.mode.as_deref()), &MODES);
    });
}
