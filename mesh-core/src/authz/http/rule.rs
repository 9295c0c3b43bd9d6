use super::condition::{Conditions, Dropped, Lenience};
use super::policy::{Operation, Rule, Source, Values};
use super::problem::Unusable;
use super::trust::with_aliases;
use super::value;
use crate::authz::rbac::{Permission, Policy, Principal};
use crate::name::Text;
use crate::request::Field;

/// What is known where a rule is compiled.
pub(super) struct Place<'a> {
    /// The policy's namespace.
    pub(super) namespace: &'a Text,
    /// The names of the mesh's trust domain.
    pub(super) trust_domains: &'a [Text],
    pub(super) lenience: Lenience,
}

/// What the key of a condition is about.
enum Key {
    Permission(OnPermission),
    Principal(OnPrincipal),
}

enum OnPermission {
    DestinationIp,
    DestinationPort,
    ServerName,
    Metadata { filter: Text, key: Text },
}

enum OnPrincipal {
    SourceIp,
    RemoteIp,
    Namespace,
    Principal,
    ServiceAccount,
    RequestPrincipal,
    Claim(Vec<Text>),
    Header(Field),
}

impl Place<'_> {
    /// A rule as Envoy's policy. What cannot be used is told to `refuse`.
    pub(super) fn compile(&self, rule: &Rule, refuse: &mut dyn FnMut(String, Unusable)) -> Result<Policy, Dropped> {
        let mut keys = Vec::with_capacity(rule.when.len());
        for (at, condition) in rule.when.iter().enumerate() {
            let field = format!("when[{at}]");
            let key = key(condition.key.as_str()).and_then(|key| match condition.values.is_empty() {
                true => Err((".values", Unusable::Empty)),
                false => Ok(key),
            });
            match key {
                Ok(key) => keys.push((field, key, &condition.values)),
                Err((part, reason)) => {
                    refuse(format!("{field}{part}"), reason);
                    if self.lenience == Lenience::Drop {
                        return Err(Dropped);
                    }
                }
            }
        }
        let each = |field: &str, at: usize| format!("{field}[{at}]");
        // Conditions without a source or operation stand alone.
        let no_source = [Source::default()];
        let sources = if rule.from.is_empty() { &no_source[..] } else { &rule.from };
        let principals = sources.iter().enumerate().map(|(at, source)| {
            let mut conditions = Conditions::new(self.lenience, refuse);
            self.source(&mut conditions, &each("from", at), source)?;
            for (field, key, values) in &keys {
                if let Key::Principal(key) = key {
                    self.on_principal(&mut conditions, &format!("{field}.values"), key, values)?;
                }
            }
            Ok(conditions.finish())
        });
        let principals = principals.collect::<Result<_, Dropped>>()?;
        let no_operation = [Operation::default()];
        let operations = if rule.to.is_empty() { &no_operation[..] } else { &rule.to };
        let permissions = operations.iter().enumerate().map(|(at, operation)| {
            let mut conditions = Conditions::new(self.lenience, refuse);
            operation_conditions(&mut conditions, &each("to", at), operation)?;
            for (field, key, values) in &keys {
                if let Key::Permission(key) = key {
                    on_permission(&mut conditions, &format!("{field}.values"), key, values)?;
                }
            }
            Ok(conditions.finish())
        });
        Ok(Policy { permissions: permissions.collect::<Result<_, Dropped>>()?, principals })
    }

    fn source(&self, conditions: &mut Conditions<'_, Principal>, at: &str, source: &Source) -> Result<(), Dropped> {
        let Source {
            principals,
            request_principals,
            namespaces,
            service_accounts,
            trust_domains,
            ip_blocks,
            remote_ip_blocks,
        } = source;
        let mut add = |name: &str, key: OnPrincipal, values: &Values| {
            self.on_principal(conditions, &format!("{at}.{name}"), &key, values)
        };
        add("principals", OnPrincipal::Principal, principals)?;
        add("requestPrincipals", OnPrincipal::RequestPrincipal, request_principals)?;
        add("serviceAccounts", OnPrincipal::ServiceAccount, service_accounts)?;
        add("namespaces", OnPrincipal::Namespace, namespaces)?;
        add("remoteIpBlocks", OnPrincipal::RemoteIp, remote_ip_blocks)?;
        add("ipBlocks", OnPrincipal::SourceIp, ip_blocks)?;
        conditions.add(&format!("{at}.trustDomains"), trust_domains, value::trust_domain)
    }

    fn on_principal(
        &self,
        conditions: &mut Conditions<'_, Principal>,
        field: &str,
        key: &OnPrincipal,
        values: &Values,
    ) -> Result<(), Dropped> {
        match key {
            OnPrincipal::SourceIp => {
                conditions.add(field, values, |text| value::range(text).map(Principal::DirectRemoteIp))
            }
            OnPrincipal::RemoteIp => conditions.add(field, values, |text| value::range(text).map(Principal::RemoteIp)),
            OnPrincipal::Namespace => conditions.add(field, values, value::namespace),
            OnPrincipal::Principal => {
                let aliases = |values: &[Text]| with_aliases(values, self.trust_domains);
                let values = Values { any_of: aliases(&values.any_of), none_of: aliases(&values.none_of) };
                conditions.add(field, &values, value::principal)
            }
            OnPrincipal::ServiceAccount => {
                conditions.add(field, values, |text| value::service_account(self.namespace, text))
            }
            OnPrincipal::RequestPrincipal => conditions.add(field, values, value::request_principal),
            OnPrincipal::Claim(path) => conditions.add(field, values, |text| value::claim(path, text)),
            OnPrincipal::Header(name) => {
                conditions.add(field, values, |text| value::header(name, text, false).map(Principal::Header))
            }
        }
    }
}

fn operation_conditions(
    conditions: &mut Conditions<'_, Permission>,
    at: &str,
    Operation { hosts, ports, methods, paths }: &Operation,
) -> Result<(), Dropped> {
    let header =
        |field: Field, ignore_case| move |text: &str| value::header(&field, text, ignore_case).map(Permission::Header);
    conditions.add(&format!("{at}.hosts"), hosts, header(Field::Authority, true))?;
    conditions.add(&format!("{at}.methods"), methods, header(Field::Method, false))?;
    conditions.add(&format!("{at}.paths"), paths, value::path)?;
    conditions.add(&format!("{at}.ports"), ports, value::port)
}

fn on_permission(
    conditions: &mut Conditions<'_, Permission>,
    field: &str,
    key: &OnPermission,
    values: &Values,
) -> Result<(), Dropped> {
    match key {
        OnPermission::DestinationIp => {
            conditions.add(field, values, |text| value::range(text).map(Permission::DestinationIp))
        }
        OnPermission::DestinationPort => conditions.add(field, values, value::port),
        OnPermission::ServerName => conditions.add(field, values, |text| value::text(text).map(Permission::ServerName)),
        OnPermission::Metadata { filter, key } => {
            conditions.add(field, values, |text| value::metadata(filter, key, text))
        }
    }
}

/// What a key is about, or what is wrong with it and where.
fn key(text: &str) -> Result<Key, (&'static str, Unusable)> {
    let unknown = || (".key", Unusable::Key(text.to_owned()));
    Ok(match text {
        "destination.ip" => Key::Permission(OnPermission::DestinationIp),
        "destination.port" => Key::Permission(OnPermission::DestinationPort),
        "connection.sni" => Key::Permission(OnPermission::ServerName),
        "source.ip" => Key::Principal(OnPrincipal::SourceIp),
        "remote.ip" => Key::Principal(OnPrincipal::RemoteIp),
        "source.namespace" => Key::Principal(OnPrincipal::Namespace),
        "source.principal" => Key::Principal(OnPrincipal::Principal),
        "source.serviceAccount" => Key::Principal(OnPrincipal::ServiceAccount),
        "request.auth.principal" => Key::Principal(OnPrincipal::RequestPrincipal),
        "request.auth.audiences" => Key::Principal(OnPrincipal::Claim(vec!["aud".into()])),
        "request.auth.presenter" => Key::Principal(OnPrincipal::Claim(vec!["azp".into()])),
        text => {
            if let Some(names) = text.strip_prefix("request.auth.claims") {
                Key::Principal(OnPrincipal::Claim(bracketed(names).ok_or_else(unknown)?))
            } else if let Some(name) = text.strip_prefix("request.headers") {
                let names = bracketed(name).ok_or_else(unknown)?;
                let [name] = names.as_slice() else { return Err(unknown()) };
                Key::Principal(OnPrincipal::Header(name.as_str().parse().map_err(|_| unknown())?))
            } else if let Some(filter) = text.strip_prefix("experimental.")
                && filter.starts_with("envoy.filters.")
                && let Some((filter, key)) = filter.strip_suffix(']').and_then(|filter| filter.split_once('['))
            {
                Key::Permission(OnPermission::Metadata { filter: filter.into(), key: key.into() })
            } else {
                return Err(unknown());
            }
        }
    })
}

/// The names within brackets: `[a]`, `[a][b]`.
fn bracketed(text: &str) -> Option<Vec<Text>> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    let names: Vec<Text> = inner.split("][").map(Text::from).collect();
    let fits = |name: &Text| !name.is_empty() && !name.as_str().contains(['[', ']']);
    names.iter().all(fits).then_some(names)
}
