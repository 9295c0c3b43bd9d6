//! `HealthCheck` ↔ [`HealthCheck`].

use std::ops::Range;

use envoy_types::pb::envoy::config::core::v3::health_check::payload::Payload as PayloadKind;
use envoy_types::pb::envoy::config::core::v3::health_check::{
    GrpcHealthCheck, HealthChecker, HttpHealthCheck, Payload, TcpHealthCheck, TlsOptions,
};
use envoy_types::pb::envoy::config::core::v3::{
    HeaderValue, HeaderValueOption, HealthCheck as WireHealthCheck, RequestMethod,
};
use envoy_types::pb::envoy::r#type::v3::{CodecClientType, Int64Range};
use envoy_types::pb::google::protobuf::{Duration as Span, UInt64Value};
use mesh_core::balance::{GrpcProbe, HealthCheck, HttpProbe, Probe, ProbeMethod, TcpProbe};
use mesh_core::name::Text;

use super::number::required_positive;
use crate::envoy::error::{Error, Report};
use crate::envoy::string_matcher::{pattern, wire_pattern};
use crate::envoy::wire::{boolean, duration, optional_duration, port, span, uint32};

pub(super) fn health_check(report: &mut Report, message: &WireHealthCheck) -> Result<HealthCheck, Error> {
    let WireHealthCheck {
        timeout,
        interval,
        initial_jitter,
        interval_jitter,
        interval_jitter_percent,
        unhealthy_threshold,
        healthy_threshold,
        alt_port,
        reuse_connection,
        no_traffic_interval,
        no_traffic_healthy_interval,
        unhealthy_interval,
        unhealthy_edge_interval,
        healthy_edge_interval,
        event_log_path,
        event_logger,
        event_service,
        always_log_health_check_failures,
        always_log_health_check_success,
        tls_options,
        transport_socket_match_criteria,
        health_checker,
    } = message;
    report.ignored("event_log_path", event_log_path);
    report.ignored("event_logger", event_logger);
    report.ignored("event_service", &event_service.is_some());
    report.ignored("always_log_health_check_failures", always_log_health_check_failures);
    report.ignored("always_log_health_check_success", always_log_health_check_success);
    // Probes would be secured otherwise than asked for.
    report.refused("transport_socket_match_criteria", transport_socket_match_criteria)?;
    let probe = match report.required("health_checker", health_checker.as_ref())? {
        HealthChecker::HttpHealthCheck(check) => {
            Probe::Http(report.within("http_health_check", |report| http(report, check))?)
        }
        HealthChecker::TcpHealthCheck(check) => {
            Probe::Tcp(report.within("tcp_health_check", |report| tcp(report, check))?)
        }
        HealthChecker::GrpcHealthCheck(check) => {
            Probe::Grpc(report.within("grpc_health_check", |report| grpc(report, check))?)
        }
        HealthChecker::CustomHealthCheck(_) => {
            return Err(Error::Unsupported { field: report.at("custom_health_check") });
        }
    };
    let alpn = tls_options.as_ref().map(|TlsOptions { alpn_protocols }| texts(alpn_protocols)).unwrap_or_default();
    let time = |field: &str, span: &Option<Span>| optional_duration(report, field, span.as_ref());
    let positive = |field: &str, span: &Option<Span>| match duration(report, field, &report.required(field, *span)?)? {
        zero if zero.is_zero() => Err(report.invalid(field, "must not be 0")),
        duration => Ok(duration),
    };
    let check = HealthCheck::new(probe, positive("timeout", timeout)?, positive("interval", interval)?);
    Ok(HealthCheck {
        unhealthy_threshold: required_positive(report, "unhealthy_threshold", *unhealthy_threshold)?,
        healthy_threshold: required_positive(report, "healthy_threshold", *healthy_threshold)?,
        initial_jitter: time("initial_jitter", initial_jitter)?.unwrap_or_default(),
        interval_jitter: time("interval_jitter", interval_jitter)?.unwrap_or_default(),
        interval_jitter_percent: *interval_jitter_percent,
        port: alt_port.map(|number| port(report, "alt_port", number.value)).transpose()?,
        reuse_connection: reuse_connection.is_none_or(|reuse| reuse.value),
        no_traffic_interval: time("no_traffic_interval", no_traffic_interval)?.unwrap_or(check.no_traffic_interval),
        no_traffic_healthy_interval: time("no_traffic_healthy_interval", no_traffic_healthy_interval)?,
        unhealthy_interval: time("unhealthy_interval", unhealthy_interval)?,
        unhealthy_edge_interval: time("unhealthy_edge_interval", unhealthy_edge_interval)?,
        healthy_edge_interval: time("healthy_edge_interval", healthy_edge_interval)?,
        alpn,
        ..check
    })
}

pub(super) fn wire_health_check(check: &HealthCheck) -> WireHealthCheck {
    let HealthCheck {
        probe,
        timeout,
        interval,
        unhealthy_threshold,
        healthy_threshold,
        initial_jitter,
        interval_jitter,
        interval_jitter_percent,
        port,
        reuse_connection,
        no_traffic_interval,
        no_traffic_healthy_interval,
        unhealthy_interval,
        unhealthy_edge_interval,
        healthy_edge_interval,
        alpn,
    } = check;
    let checker = match probe {
        Probe::Http(probe) => HealthChecker::HttpHealthCheck(wire_http(probe)),
        Probe::Tcp(probe) => HealthChecker::TcpHealthCheck(wire_tcp(probe)),
        Probe::Grpc(probe) => HealthChecker::GrpcHealthCheck(wire_grpc(probe)),
    };
    WireHealthCheck {
        timeout: Some(span(*timeout)),
        interval: Some(span(*interval)),
        unhealthy_threshold: Some(uint32(unhealthy_threshold.get())),
        healthy_threshold: Some(uint32(healthy_threshold.get())),
        initial_jitter: Some(span(*initial_jitter)),
        interval_jitter: Some(span(*interval_jitter)),
        interval_jitter_percent: *interval_jitter_percent,
        alt_port: port.map(|port| uint32(port.into())),
        reuse_connection: Some(boolean(*reuse_connection)),
        no_traffic_interval: Some(span(*no_traffic_interval)),
        no_traffic_healthy_interval: no_traffic_healthy_interval.map(span),
        unhealthy_interval: unhealthy_interval.map(span),
        unhealthy_edge_interval: unhealthy_edge_interval.map(span),
        healthy_edge_interval: healthy_edge_interval.map(span),
        tls_options: (!alpn.is_empty()).then(|| TlsOptions { alpn_protocols: strings(alpn) }),
        health_checker: Some(checker),
        ..WireHealthCheck::default()
    }
}

fn http(report: &mut Report, message: &HttpHealthCheck) -> Result<HttpProbe, Error> {
    let HttpHealthCheck {
        host,
        path,
        send,
        receive,
        response_buffer_size,
        request_headers_to_add,
        request_headers_to_remove,
        expected_statuses,
        retriable_statuses,
        codec_client_type,
        service_name_matcher,
        method,
    } = message;
    let method = read_method(report, *method)?;
    let send = report.optional("send", send.as_ref(), |report, message| payload(report, message))?.unwrap_or_default();
    let has_body = matches!(method, ProbeMethod::Post | ProbeMethod::Put | ProbeMethod::Patch | ProbeMethod::Options);
    if !send.is_empty() && !has_body {
        return Err(report.invalid("send", "the method has no body"));
    }
    if !path.starts_with('/') {
        return Err(report.invalid("path", format_args!("`{path}` does not begin with `/`")));
    }
    let http2 = match CodecClientType::try_from(*codec_client_type) {
        Ok(CodecClientType::Http1) => false,
        Ok(CodecClientType::Http2) => true,
        _ => return Err(Error::Unsupported { field: report.at("codec_client_type") }),
    };
    Ok(HttpProbe {
        host: host.as_str().into(),
        path: path.as_str().into(),
        method,
        headers: report.each("request_headers_to_add", request_headers_to_add, header)?,
        remove_headers: texts(request_headers_to_remove),
        send,
        receive: report.each("receive", receive, |report, message| payload(report, message))?,
        body_limit: match response_buffer_size.map(|size| size.value) {
            None => Some(1024),
            Some(0) => None,
            limit => limit,
        },
        service_name: report.optional("service_name_matcher", service_name_matcher.as_ref(), pattern)?,
        expected_statuses: report.each("expected_statuses", expected_statuses, statuses)?,
        retriable_statuses: report.each("retriable_statuses", retriable_statuses, statuses)?,
        http2,
    })
}

fn read_method(report: &Report, method: i32) -> Result<ProbeMethod, Error> {
    match RequestMethod::try_from(method) {
        Ok(RequestMethod::MethodUnspecified | RequestMethod::Get) => Ok(ProbeMethod::Get),
        Ok(RequestMethod::Head) => Ok(ProbeMethod::Head),
        Ok(RequestMethod::Post) => Ok(ProbeMethod::Post),
        Ok(RequestMethod::Put) => Ok(ProbeMethod::Put),
        Ok(RequestMethod::Delete) => Ok(ProbeMethod::Delete),
        Ok(RequestMethod::Options) => Ok(ProbeMethod::Options),
        Ok(RequestMethod::Trace) => Ok(ProbeMethod::Trace),
        Ok(RequestMethod::Patch) => Ok(ProbeMethod::Patch),
        Ok(RequestMethod::Connect) | Err(_) => Err(report.invalid("method", "not a method of probes")),
    }
}

fn header(report: &mut Report, message: &HeaderValueOption) -> Result<(Text, Text), Error> {
    let HeaderValueOption { header, append, append_action, keep_empty_value } = message;
    report.ignored("append", append);
    report.ignored("append_action", append_action);
    report.ignored("keep_empty_value", keep_empty_value);
    let HeaderValue { key, value, raw_value } = report.required("header", header.as_ref())?;
    report.refused("header.raw_value", raw_value)?;
    match () {
        () if key.is_empty() => Err(Error::Missing { field: report.at("header.key") }),
        // Values of Envoy are formats; only plain ones mean the same here.
        () if value.contains('%') => Err(report.invalid("header.value", "formats are not supported")),
        () => Ok((key.as_str().into(), value.as_str().into())),
    }
}

fn statuses(report: &mut Report, message: &Int64Range) -> Result<Range<u16>, Error> {
    let Int64Range { start, end } = message;
    let invalid = || report.invalid("start", format_args!("{start}..{end} is no range of statuses"));
    match (u16::try_from(*start), u16::try_from(*end)) {
        (Ok(start), Ok(end)) if (100..end).contains(&start) && end <= 600 => Ok(start..end),
        _ => Err(invalid()),
    }
}

fn wire_http(probe: &HttpProbe) -> HttpHealthCheck {
    let HttpProbe {
        host,
        path,
        method,
        headers,
        remove_headers,
        send,
        receive,
        body_limit,
        service_name,
        expected_statuses,
        retriable_statuses,
        http2,
    } = probe;
    let method = match method {
        ProbeMethod::Get => RequestMethod::Get,
        ProbeMethod::Head => RequestMethod::Head,
        ProbeMethod::Post => RequestMethod::Post,
        ProbeMethod::Put => RequestMethod::Put,
        ProbeMethod::Delete => RequestMethod::Delete,
        ProbeMethod::Options => RequestMethod::Options,
        ProbeMethod::Trace => RequestMethod::Trace,
        ProbeMethod::Patch => RequestMethod::Patch,
    };
    let range = |range: &Range<u16>| Int64Range { start: range.start.into(), end: range.end.into() };
    HttpHealthCheck {
        host: host.to_string(),
        path: path.to_string(),
        send: (!send.is_empty()).then(|| wire_payload(send)),
        receive: receive.iter().map(wire_payload).collect(),
        response_buffer_size: Some(UInt64Value { value: body_limit.unwrap_or(0) }),
        service_name_matcher: service_name.as_ref().map(wire_pattern),
        request_headers_to_add: headers.iter().map(wire_header).collect(),
        request_headers_to_remove: strings(remove_headers),
        expected_statuses: expected_statuses.iter().map(range).collect(),
        retriable_statuses: retriable_statuses.iter().map(range).collect(),
        codec_client_type: if *http2 { CodecClientType::Http2 } else { CodecClientType::Http1 }.into(),
        method: method.into(),
    }
}

fn wire_header((key, value): &(Text, Text)) -> HeaderValueOption {
    let header = HeaderValue { key: key.to_string(), value: value.to_string(), raw_value: Vec::new() };
    HeaderValueOption { header: Some(header), ..HeaderValueOption::default() }
}

fn tcp(report: &mut Report, message: &TcpHealthCheck) -> Result<TcpProbe, Error> {
    let TcpHealthCheck { send, receive, proxy_protocol_config } = message;
    report.refused("proxy_protocol_config", proxy_protocol_config)?;
    let send = send.as_ref().map(|send| payload(report, send)).transpose()?.unwrap_or_default();
    Ok(TcpProbe { send, receive: report.each("receive", receive, |report, message| payload(report, message))? })
}

fn payload(report: &Report, message: &Payload) -> Result<Vec<u8>, Error> {
    let Payload { payload } = message;
    match report.required("payload", payload.as_ref())? {
        PayloadKind::Binary(bytes) => Ok(bytes.clone()),
        PayloadKind::Text(hex) => {
            let digits: Option<Vec<u8>> =
                hex.chars().map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok())).collect();
            match digits {
                Some(digits) if digits.len().is_multiple_of(2) => Ok(digits
                    .chunks_exact(2)
                    .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
                    .collect()),
                _ => Err(report.invalid("text", format_args!("`{hex}` is not hexadecimal"))),
            }
        }
    }
}

fn wire_tcp(probe: &TcpProbe) -> TcpHealthCheck {
    let TcpProbe { send, receive } = probe;
    TcpHealthCheck {
        send: (!send.is_empty()).then(|| wire_payload(send)),
        receive: receive.iter().map(wire_payload).collect(),
        proxy_protocol_config: None,
    }
}

fn wire_payload(bytes: impl AsRef<[u8]>) -> Payload {
    Payload { payload: Some(PayloadKind::Binary(bytes.as_ref().to_owned())) }
}

fn grpc(report: &mut Report, message: &GrpcHealthCheck) -> Result<GrpcProbe, Error> {
    let GrpcHealthCheck { service_name, authority, initial_metadata } = message;
    Ok(GrpcProbe {
        service: service_name.as_str().into(),
        authority: authority.as_str().into(),
        metadata: report.each("initial_metadata", initial_metadata, header)?,
    })
}

fn wire_grpc(probe: &GrpcProbe) -> GrpcHealthCheck {
    let GrpcProbe { service, authority, metadata } = probe;
    GrpcHealthCheck {
        service_name: service.to_string(),
        authority: authority.to_string(),
        initial_metadata: metadata.iter().map(wire_header).collect(),
    }
}

fn texts(list: &[String]) -> Vec<Text> {
    list.iter().map(|text| text.as_str().into()).collect()
}

fn strings(list: &[Text]) -> Vec<String> {
    list.iter().map(Text::to_string).collect()
}
