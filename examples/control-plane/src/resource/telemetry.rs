//! `telemetry.istio.io` Telemetry.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Metadata, PolicyTarget, Selector};

/// `telemetry.istio.io Telemetry`: what is told about requests.
#[derive(Debug, Clone, Deserialize)]
pub struct Telemetry {
    /// Name and namespace. In the root namespace, and without a selection, it is for the whole mesh.
    pub metadata: Metadata,
    /// What it says.
    #[serde(default)]
    pub spec: TelemetrySpec,
}

/// Specification of a Telemetry.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TelemetrySpec {
    /// The workloads that it is for.
    pub selector: Option<Selector>,
    /// What it is for, as it was written before there could be several.
    pub target_ref: Option<PolicyTarget>,
    /// What it is for: services, waypoints, or all waypoints of a class.
    pub target_refs: Vec<PolicyTarget>,
    /// Traces.
    pub tracing: Vec<Tracing>,
    /// Metrics.
    pub metrics: Vec<Metrics>,
    /// Access logs.
    pub access_logging: Vec<AccessLogging>,
}

/// Something by its name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Named {
    /// The name.
    pub name: String,
}

/// How requests are traced.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tracing {
    /// Which side of requests.
    pub r#match: Option<TracingSelection>,
    /// Who gets spans: names of extension providers.
    pub providers: Vec<Named>,
    /// Which part of the requests, in percent.
    pub random_sampling_percentage: Option<f64>,
    /// Whether no spans are reported.
    pub disable_span_reporting: Option<bool>,
    /// Tags of spans by name.
    pub custom_tags: BTreeMap<String, serde_json::Value>,
    /// Whether spans have Istio's tags.
    pub enable_istio_tags: Option<bool>,
    /// Whether a new identity is made for a request that has one from elsewhere.
    pub use_request_id_for_trace_sampling: Option<bool>,
    /// Whether the context of another's trace is not gone on with.
    pub disable_context_propagation: Option<bool>,
}

/// Which side of requests is traced.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct TracingSelection {
    /// `CLIENT_AND_SERVER` when absent; `CLIENT`, `SERVER`.
    pub mode: Option<String>,
}

/// Which metrics there are.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metrics {
    /// Who gets them: names of extension providers.
    pub providers: Vec<Named>,
    /// How they differ from what is usual.
    pub overrides: Vec<MetricOverride>,
    /// How often they are reported.
    pub reporting_interval: Option<String>,
}

/// How a metric differs from what is usual.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricOverride {
    /// Which metric.
    pub r#match: Option<MetricSelection>,
    /// Whether there is none.
    pub disabled: Option<bool>,
    /// How its labels differ, by name.
    pub tag_overrides: BTreeMap<String, TagOverride>,
}

/// A metric.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricSelection {
    /// One of Istio's, or `ALL_METRICS`.
    pub metric: Option<String>,
    /// Another, by its name.
    pub custom_metric: Option<String>,
    /// `CLIENT_AND_SERVER` when absent; `CLIENT`, `SERVER`.
    pub mode: Option<String>,
}

/// How a label of a metric differs.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct TagOverride {
    /// `UPSERT` when absent, or `REMOVE`.
    pub operation: Option<String>,
    /// An expression for its value.
    pub value: Option<String>,
}

/// How requests are logged.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct AccessLogging {
    /// Which side of requests.
    pub r#match: Option<LogSelection>,
    /// Who gets them: names of extension providers.
    pub providers: Vec<Named>,
    /// Whether nothing is logged.
    pub disabled: Option<bool>,
    /// Which of them.
    pub filter: Option<Expression>,
}

/// Which side of requests is logged.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct LogSelection {
    /// `CLIENT_AND_SERVER` when absent; `CLIENT`, `SERVER`.
    pub mode: Option<String>,
}

/// A condition in CEL.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Expression {
    /// The condition.
    pub expression: String,
}
