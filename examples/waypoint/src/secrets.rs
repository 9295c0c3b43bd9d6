//! Certificates and authorities that listeners and clusters name, from files.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::live::{Live, Publisher};
use mesh_core::name::Text;
use mesh_core::tls::{
    Certificate, CertificateSource, DataSource, DownstreamTls, Secret, SecretKind, Sensitive, TrustedCa, UpstreamTls,
    Validation, ValidationSource,
};
use mesh_host::member::Error;
use mesh_identity::task::Tasks;
use mesh_identity::tls::{Credentials, Origination, Secrets, Termination};

use crate::settings::SecretFiles;

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_secs(5);

/// Reads secrets and follows their files. What is wrong at the start ends the program, what is wrong later leaves in force what
/// was: a key that does not fit its certificate, because only one of both has been replaced yet, is never used.
pub(crate) fn follow(files: &BTreeMap<String, SecretFiles>, tasks: &Tasks) -> Result<Live<Secrets>, Error> {
    let mut last = Secrets::new();
    for (name, files) in files {
        let secret = read(name, files).map_err(|error| in_words(name, &error))?;
        last.insert(secret.name.clone(), Arc::new(secret));
    }
    let (publisher, secrets) = Publisher::new(last.clone());
    if !files.is_empty() {
        tasks.spawn(again(files.clone(), last, publisher));
    }
    Ok(secrets)
}

async fn again(files: BTreeMap<String, SecretFiles>, mut last: Secrets, publisher: Publisher<Secrets>) {
    let mut told = BTreeMap::new();
    loop {
        tokio::time::sleep(INTERVAL).await;
        let mut changed = false;
        for (name, files) in &files {
            let key = Text::from(name.as_str());
            match read(name, files) {
                Ok(secret) if last.get(&key).is_some_and(|before| **before == secret) => drop(told.remove(name)),
                Ok(secret) => {
                    tracing::info!(secret = name, "read anew");
                    last.insert(key, Arc::new(secret));
                    told.remove(name);
                    changed = true;
                }
                Err(error) => {
                    let error = in_words(name, &error);
                    if told.get(name) != Some(&error) {
                        tracing::error!(error, "a secret is not taken; what was taken before stays in force");
                        told.insert(name.clone(), error);
                    }
                }
            }
        }
        if changed {
            publisher.publish(last.clone());
        }
    }
}

fn in_words(name: &str, error: &Error) -> String {
    format!("secrets: {name}: {}", mesh_core::report::chain(&**error))
}

/// A secret that can be used.
fn read(name: &str, files: &SecretFiles) -> Result<Secret, Error> {
    let kind = match files {
        SecretFiles { certificate: Some(chain), key: Some(key), roots: None } => {
            let certificate = Certificate { chain: inline(chain)?, key: Sensitive(inline(key)?), ocsp_staple: None };
            let shown = vec![CertificateSource::Inline(certificate.clone())];
            Termination::new(DownstreamTls::new(shown), Credentials::default()).ready()?;
            SecretKind::Certificate(certificate)
        }
        SecretFiles { certificate: None, key: None, roots: Some(roots) } => {
            let trusted_ca = Some(TrustedCa::Bundle(inline(roots)?));
            let validation = Validation { trusted_ca, ..Validation::default() };
            let source = ValidationSource::Inline(validation.clone());
            Origination::new(UpstreamTls::new(source), Credentials::default()).ready()?;
            SecretKind::Validation(Box::new(validation))
        }
        _ => return Err("either certificate and key, or roots".into()),
    };
    Ok(Secret { name: name.into(), kind })
}

fn inline(path: &Path) -> Result<DataSource, Error> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(DataSource::Inline(bytes.into()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use mesh_identity::pem;
    use mesh_test_support::pki::{Ca, Spec};

    use super::*;

    #[test]
    fn what_cannot_be_used_is_named_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::root("td.test");
        let (one, two) = (ca.leaf(&Spec::new("spiffe://td.test/one")), ca.leaf(&Spec::new("spiffe://td.test/two")));
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            Some(path)
        };
        let chain = write("one.crt", &pem::encode_certificates(&one.chain));
        let key = write("one.key", &pem::encode("PRIVATE KEY", one.key.secret_der()));
        let other = write("two.key", &pem::encode("PRIVATE KEY", two.key.secret_der()));
        let roots = write("roots.pem", &pem::encode_certificates(&[ca.certificate]));
        let none = SecretFiles::default;
        let pair = |key| SecretFiles { certificate: chain.clone(), key, roots: None };
        let both = SecretFiles { roots: roots.clone(), ..pair(key.clone()) };

        let secret = read("front", &pair(key.clone())).unwrap();
        assert!(secret.name == "front" && matches!(secret.kind, SecretKind::Certificate(_)));
        let secret = read("roots", &SecretFiles { roots, ..none() }).unwrap();
        assert!(matches!(secret.kind, SecretKind::Validation(_)));
        let wrong = |files: &SecretFiles| in_words("front", &read("front", files).unwrap_err());
        assert!(wrong(&pair(other)).starts_with("secrets: front: TLS cannot be set up"));
        assert!(wrong(&pair(chain.clone())).contains("the private key"));
        assert!(wrong(&SecretFiles { roots: key, ..none() }).contains("the trusted authorities"));
        assert!(wrong(&SecretFiles { roots: Some(dir.path().join("none.pem")), ..none() }).contains("none.pem"));
        for files in [none(), both, pair(None)] {
            assert_eq!(wrong(&files), "secrets: front: either certificate and key, or roots");
        }
    }
}
