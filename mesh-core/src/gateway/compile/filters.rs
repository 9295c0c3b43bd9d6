use http::HeaderName;

use super::cors::cors_policy;
use super::filter_name;
use crate::gateway::edits::{authority, mutation};
use crate::gateway::{Backend, Extension, Filter, HeaderModifier, PathModifier, Persistence, RequestRedirect};
use crate::name::{Hostname, Text};
use crate::route::{
    AppendAction, ClusterName, CookieKey, FilterOverride, FilterOverrides, HeaderEdits, Mirror, Mutation, SessionState,
    StatefulSession, Template,
};

/// All that the filters of a rule, or of a reference to a backend, do.
#[derive(Clone, Default)]
pub(super) struct Filters<'f> {
    pub(super) headers: HeaderEdits,
    pub(super) host: Option<Text>,
    pub(super) path: Option<&'f PathModifier>,
    pub(super) redirect: Option<&'f RequestRedirect>,
    pub(super) mirrors: Vec<Mirror>,
    pub(super) settings: FilterOverrides,
    /// Whether one of them cannot be resolved.
    pub(super) unresolved: bool,
}

impl<'f> Filters<'f> {
    /// `rule` is the name of the rule, of which that of a cookie is made.
    pub(super) fn new(filters: &'f [Filter], rule: &Text, session: Option<&Persistence>) -> Self {
        let mut all = Self::default();
        if let Some(session) = session {
            all.set(filter_name::SESSION, FilterOverride::Session(stateful_session(session, rule)));
        }
        for filter in filters {
            all.add(filter);
        }
        all
    }

    fn add(&mut self, filter: &'f Filter) {
        match filter {
            Filter::RequestHeaders(modifier) => {
                self.headers.request = edits(modifier);
                // Rewriting the host name says the same more plainly.
                self.host = self.host.take().or_else(|| authority(&modifier.set).cloned());
            }
            Filter::ResponseHeaders(modifier) => self.headers.response = edits(modifier),
            Filter::Mirror(mirror) => {
                if let Backend::Cluster(cluster) = &mirror.backend {
                    let (cluster, fraction) = (ClusterName::Named(cluster.clone()), mirror.fraction);
                    self.mirrors.push(Mirror { cluster, fraction, keep_host: true, host: None });
                }
            }
            Filter::Redirect(redirect) => self.redirect = Some(redirect),
            Filter::Rewrite(rewrite) => {
                self.path = rewrite.path.as_ref();
                if let Some(hostname) = &rewrite.hostname {
                    self.host = Some(text(hostname));
                }
            }
            Filter::Cors(cors) => self.set(filter_name::CORS, FilterOverride::Cors(cors_policy(cors))),
            Filter::Extension(Extension::Settings(settings)) => {
                self.settings.extend(settings.iter().map(|(name, setting)| (name.clone(), setting.clone())));
            }
            Filter::Extension(Extension::Unresolved) => self.unresolved = true,
        }
    }

    fn set(&mut self, name: &str, setting: FilterOverride) {
        self.settings.insert(name.into(), setting);
    }

    /// These, and then those of a backend.
    pub(super) fn with(&self, own: &Self) -> Self {
        let mut settings = self.settings.clone();
        settings.extend(own.settings.iter().map(|(name, setting)| (name.clone(), setting.clone())));
        Self {
            headers: one_after_other(&self.headers, &own.headers),
            host: own.host.clone().or_else(|| self.host.clone()),
            path: own.path.or(self.path),
            redirect: own.redirect.or(self.redirect),
            mirrors: self.mirrors.iter().chain(&own.mirrors).cloned().collect(),
            settings,
            unresolved: self.unresolved || own.unresolved,
        }
    }

    /// Whether they do nothing that a weighted cluster would have to be told.
    pub(super) fn is_plain(&self) -> bool {
        !self.edits_headers() && self.host.is_none() && self.settings.is_empty()
    }

    pub(super) fn edits_headers(&self) -> bool {
        self.headers != HeaderEdits::default()
    }
}

/// What a rule does to headers and then a backend, in one.
pub(super) fn one_after_other(rule: &HeaderEdits, own: &HeaderEdits) -> HeaderEdits {
    let mutation = |rule: &Mutation, own: &Mutation| {
        let sets = |name: &HeaderName| {
            own.add.iter().any(|own| own.name == *name && own.action == AppendAction::OverwriteIfExistsOrAdd)
        };
        let kept = rule.add.iter().filter(|addition| !sets(&addition.name) && !own.remove.contains(&addition.name));
        Mutation {
            remove: rule.remove.iter().chain(&own.remove).cloned().collect(),
            add: kept.chain(&own.add).cloned().collect(),
        }
    };
    HeaderEdits { request: mutation(&rule.request, &own.request), response: mutation(&rule.response, &own.response) }
}

/// Values are passed on as they are, whatever percent signs are in them.
fn edits(modifier: &HeaderModifier) -> Mutation {
    let literal = |(name, value): &(HeaderName, Text)| (name.clone(), Template::literal(value.as_str()));
    mutation(modifier.set.iter().map(literal), modifier.add.iter().map(literal), &modifier.remove)
}

pub(super) fn text(hostname: &Hostname) -> Text {
    hostname.as_str().into()
}

fn stateful_session(session: &Persistence, rule: &Text) -> StatefulSession {
    let state = match session {
        Persistence::Header(name) => SessionState::Header(name.clone()),
        Persistence::Cookie { name, path, permanent } => SessionState::Cookie(CookieKey {
            name: name.clone().unwrap_or_else(|| cookie_name(rule)),
            lifetime: *permanent,
            path: path.clone().unwrap_or_else(|| "/".into()),
            attributes: vec![("Secure".into(), Text::default()), ("SameSite".into(), "Strict".into())],
        }),
    };
    StatefulSession { state, strict: false }
}

/// A name that no other rule has, and every replica makes.
fn cookie_name(rule: &Text) -> Text {
    let hash = twox_hash::XxHash64::oneshot(0, rule.as_str().as_bytes());
    format!("mesh-session-{hash:016x}").into()
}
