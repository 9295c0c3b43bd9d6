//! | field | how it is taken |
//! | --- | --- |
//! | **RedirectAction** all of it | honoured; a `path_rewrite` has the operators of [`Template`](mesh_core::route::Template) |
//! | **DirectResponseAction** `status` 200 to 599, `body` inline, up to the largest of the table | honoured |
//! | `body` in a file or the environment, `body_format`, other values of `status` | NACK |

use envoy_types::pb::envoy::config::core::v3::DataSource;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::route::v3 as wire;
use envoy_types::pb::envoy::config::route::v3::redirect_action::{
    PathRewriteSpecifier, RedirectResponseCode as Code, SchemeRewriteSpecifier,
};
use mesh_core::name::Text;
use mesh_core::route::{DirectResponse, PathRewrite, Redirect, RedirectPath, RedirectStatus};

use super::mutation::template;
use crate::envoy::error::{Error, Report};
use crate::envoy::string_matcher::{substitution, wire_substitution};
use crate::envoy::wire::port;

pub(super) fn redirect(report: &mut Report, wire: &wire::RedirectAction) -> Result<Redirect, Error> {
    let wire::RedirectAction {
        host_redirect,
        port_redirect,
        response_code,
        strip_query,
        scheme_rewrite_specifier,
        path_rewrite_specifier,
    } = wire;
    let status = match Code::try_from(*response_code) {
        Ok(Code::MovedPermanently) => RedirectStatus::MovedPermanently,
        Ok(Code::Found) => RedirectStatus::Found,
        Ok(Code::SeeOther) => RedirectStatus::SeeOther,
        Ok(Code::TemporaryRedirect) => RedirectStatus::TemporaryRedirect,
        Ok(Code::PermanentRedirect) => RedirectStatus::PermanentRedirect,
        Err(_) => return Err(report.invalid("response_code", format_args!("{response_code} is not known"))),
    };
    let scheme = match scheme_rewrite_specifier {
        Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => Some("https".into()),
        Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) => filled(scheme),
        Some(SchemeRewriteSpecifier::HttpsRedirect(false)) | None => None,
    };
    Ok(Redirect {
        scheme,
        host: filled(host_redirect),
        port: Some(port(report, "port_redirect", *port_redirect)?).filter(|port| *port != 0),
        path: redirect_path(report, path_rewrite_specifier.as_ref())?,
        status,
        strip_query: *strip_query,
    })
}

fn redirect_path(report: &mut Report, wire: Option<&PathRewriteSpecifier>) -> Result<Option<RedirectPath>, Error> {
    Ok(match wire {
        None => None,
        Some(PathRewriteSpecifier::PathRedirect(path)) => filled(path).map(RedirectPath::Whole),
        Some(PathRewriteSpecifier::PrefixRewrite(prefix)) => {
            filled(prefix).map(|prefix| RedirectPath::Rewrite(PathRewrite::Prefix(prefix)))
        }
        Some(PathRewriteSpecifier::RegexRewrite(wire)) => {
            let rewrite = report.within("regex_rewrite", |report| substitution(report, wire))?;
            Some(RedirectPath::Rewrite(PathRewrite::Substitute(rewrite)))
        }
        Some(PathRewriteSpecifier::PathRewrite(path)) if path.is_empty() => None,
        Some(PathRewriteSpecifier::PathRewrite(path)) => {
            Some(RedirectPath::Rewrite(PathRewrite::Whole(template(report, "path_rewrite", path)?)))
        }
    })
}

/// Nothing is said with an empty text.
fn filled(text: &str) -> Option<Text> {
    (!text.is_empty()).then(|| text.into())
}

pub(super) fn wire_redirect(redirect: &Redirect) -> wire::RedirectAction {
    let Redirect { scheme, host, port, path, status, strip_query } = redirect;
    let code = match status {
        RedirectStatus::MovedPermanently => Code::MovedPermanently,
        RedirectStatus::Found => Code::Found,
        RedirectStatus::SeeOther => Code::SeeOther,
        RedirectStatus::TemporaryRedirect => Code::TemporaryRedirect,
        RedirectStatus::PermanentRedirect => Code::PermanentRedirect,
    };
    let path = path.as_ref().map(|path| match path {
        RedirectPath::Whole(path) => PathRewriteSpecifier::PathRedirect(path.to_string()),
        RedirectPath::Rewrite(PathRewrite::Prefix(prefix)) => PathRewriteSpecifier::PrefixRewrite(prefix.to_string()),
        RedirectPath::Rewrite(PathRewrite::Substitute(rewrite)) => {
            PathRewriteSpecifier::RegexRewrite(wire_substitution(rewrite))
        }
        RedirectPath::Rewrite(PathRewrite::Whole(template)) => {
            PathRewriteSpecifier::PathRewrite(template.as_str().to_owned())
        }
    });
    wire::RedirectAction {
        host_redirect: host.as_ref().map(Text::to_string).unwrap_or_default(),
        port_redirect: port.unwrap_or_default().into(),
        response_code: code.into(),
        strip_query: *strip_query,
        scheme_rewrite_specifier: scheme
            .as_ref()
            .map(|scheme| SchemeRewriteSpecifier::SchemeRedirect(scheme.to_string())),
        path_rewrite_specifier: path,
    }
}

pub(super) fn direct_response(
    report: &mut Report,
    wire: &wire::DirectResponseAction,
    largest: u32,
) -> Result<DirectResponse, Error> {
    let wire::DirectResponseAction { status, body, body_format } = wire;
    report.refused("body_format", body_format)?;
    let known = u16::try_from(*status).ok().filter(|status| (200..600).contains(status));
    let status = known.ok_or_else(|| report.invalid("status", format_args!("{status} is no status of a response")))?;
    let body = report.optional("body", body.as_ref(), inline)?.unwrap_or_default();
    if u32::try_from(body.len()).is_ok_and(|len| len <= largest) {
        Ok(DirectResponse { status, body })
    } else {
        Err(report.invalid("body", format_args!("has {} bytes, more than {largest}", body.len())))
    }
}

/// Data that stand in the resource itself.
pub(in crate::envoy) fn inline(report: &mut Report, wire: &DataSource) -> Result<Vec<u8>, Error> {
    let DataSource { watched_directory, specifier } = wire;
    report.ignored("watched_directory", watched_directory);
    match specifier {
        None => Ok(Vec::new()),
        Some(Specifier::InlineBytes(bytes)) => Ok(bytes.clone()),
        Some(Specifier::InlineString(text)) => Ok(text.clone().into_bytes()),
        Some(Specifier::Filename(_)) => Err(Error::Unsupported { field: report.at("filename") }),
        Some(Specifier::EnvironmentVariable(_)) => Err(Error::Unsupported { field: report.at("environment_variable") }),
    }
}

pub(super) fn wire_direct_response(response: &DirectResponse) -> wire::DirectResponseAction {
    let DirectResponse { status, body } = response;
    let inline = || DataSource { specifier: Some(Specifier::InlineBytes(body.clone())), watched_directory: None };
    wire::DirectResponseAction { status: (*status).into(), body: (!body.is_empty()).then(inline), body_format: None }
}
