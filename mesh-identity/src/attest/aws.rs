use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

use super::aws_pkcs7;
use super::{
    Answer, Asked, Attest, AttestError, Attested, Attestor, Challenges, Evidence, MAX_EVIDENCE_BYTES, from_json,
};
use crate::jose::PublicKey;

/// How long after the start of an instance its document counts, by default.
const WINDOW: Duration = Duration::from_secs(10 * 60);

/// How far the clock of AWS may be ahead.
const LEEWAY: Duration = Duration::from_secs(60);

/// The keys by which AWS signs instance identity documents, by region.
#[derive(Debug, Clone)]
pub struct AwsRegions(BTreeMap<String, PublicKey>);

impl AwsRegions {
    /// The keys that AWS has published for its regions.
    ///
    /// # Errors
    /// [`AttestError::Unavailable`] never, but for a broken build.
    pub fn published() -> Result<Self, AttestError> {
        Self::parse(include_str!("../../data/aws-instance-identity.pem"))
    }

    /// Reads keys from a text that holds, for each region, a line `region <name>` and a certificate in PEM. Lines that begin
    /// with `#` are comments.
    ///
    /// # Errors
    /// [`AttestError::Unavailable`] with the region that has no single certificate or stands twice, and for a text without
    /// regions, or with something before the first.
    pub fn parse(text: &str) -> Result<Self, AttestError> {
        let wrong = |what: &dyn fmt::Display| AttestError::Unavailable(format!("the keys of regions: {what}"));
        let mut parts: Vec<(&str, String)> = Vec::new();
        for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match (line.strip_prefix("region "), parts.last_mut()) {
                (Some(region), _) => parts.push((region.trim(), String::new())),
                (None, Some((_, pem))) => pem.extend([line, "\n"]),
                (None, None) => return Err(wrong(&"there is something before the first region")),
            }
        }
        let mut regions = BTreeMap::new();
        for (region, pem) in parts {
            let wrong = |what: &dyn fmt::Display| wrong(&format_args!("`{region}`: {what}"));
            let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
            let certificates = certificates.unwrap_or_default();
            let [certificate] = &certificates[..] else { return Err(wrong(&"one certificate is needed")) };
            // Read for its key alone: these certificates are older than today's rules.
            let parsed = x509_parser::parse_x509_certificate(certificate).map_err(|_| wrong(&"no certificate"))?;
            let key = PublicKey::from_info(parsed.1.public_key()).map_err(|error| wrong(&error))?;
            if regions.insert(region.to_owned(), key).is_some() {
                return Err(wrong(&"it stands twice"));
            }
        }
        if regions.is_empty() {
            return Err(wrong(&"there is none"));
        }
        Ok(Self(regions))
    }

    /// These keys, and `others` in their place where both have a region.
    #[must_use]
    pub fn with(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// The regions.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// Instance identity documents of AWS EC2 (SPIRE's `aws_iid`), verified offline by the pinned key of their region.
///
/// Whoever has read a document can show it: it carries no nonce. So it counts once, soon after the start of the instance,
/// and only for accounts that are named here.
#[derive(Debug)]
pub struct AwsIdentityDocument {
    keys: AwsRegions,
    accounts: BTreeSet<String>,
    regions: Option<BTreeSet<String>>,
    window: Duration,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    document: String,
    #[serde(default)]
    signature: String,
    #[serde(default)]
    rsa2048: String,
}

/// Members of the document that count.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    account_id: String,
    availability_zone: String,
    image_id: String,
    instance_id: String,
    pending_time: String,
    region: String,
}

impl AwsIdentityDocument {
    /// Believes documents of instances in these accounts.
    #[must_use]
    pub fn new(keys: AwsRegions, accounts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let accounts = accounts.into_iter().map(Into::into).collect();
        Self { keys, accounts, regions: None, window: WINDOW }
    }

    /// Only in these regions. Default: all whose keys are known.
    #[must_use]
    pub fn in_regions(self, regions: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { regions: Some(regions.into_iter().map(Into::into).collect()), ..self }
    }

    /// How long after the start of an instance its document counts. Default: 10 minutes.
    #[must_use]
    pub fn within(self, window: Duration) -> Self {
        Self { window, ..self }
    }

    fn check(&self, asked: Asked<'_>) -> Result<Attested, AttestError> {
        let refuse = |why: &str| AttestError::Evidence(why.to_owned());
        let payload: Payload = from_json(asked.payload).ok_or_else(|| refuse("not JSON of an identity document"))?;
        let bare: String = payload.rsa2048.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        if bare.is_empty() {
            return Err(refuse("no RSA-2048 signature"));
        }
        let signed = STANDARD.decode(bare).map_err(|_| refuse("the signature is not base64"))?;
        let document: Document =
            from_json(payload.document.as_bytes()).ok_or_else(|| refuse("the document lacks what it must say"))?;

        // The region is believed only so far as to choose the key: with another region's key nothing verifies.
        let key = self.keys.0.get(&document.region);
        let key = key.ok_or_else(|| AttestError::Evidence(format!("no key of region `{}`", document.region)))?;
        let content = aws_pkcs7::verify(&signed, key).map_err(refuse)?;
        if content != payload.document.as_bytes() {
            return Err(refuse("the signature is for another document"));
        }
        if !self.accounts.contains(&document.account_id) {
            return Err(AttestError::Evidence(format!("account `{}` is not allowed", document.account_id)));
        }
        if self.regions.as_ref().is_some_and(|regions| !regions.contains(&document.region)) {
            return Err(AttestError::Evidence(format!("region `{}` is not allowed", document.region)));
        }
        let started =
            parse_time(&document.pending_time).ok_or_else(|| refuse("the start of the instance is no time"))?;
        if started > asked.now + LEEWAY {
            return Err(refuse("the instance starts in the future"));
        }
        if asked.now.duration_since(started).unwrap_or_default() > self.window {
            return Err(refuse("the instance started too long ago"));
        }
        let Document { account_id, availability_zone, image_id, instance_id, region, .. } = document;
        let selectors = [
            format!("account_id:{account_id}"),
            format!("az:{availability_zone}"),
            format!("image:id:{image_id}"),
            format!("instance:id:{instance_id}"),
            format!("region:{region}"),
        ];
        Ok(Attested::new(format!("aws_iid/{account_id}/{region}/{instance_id}"), selectors).once())
    }
}

/// A time as `2026-11-20T12:00:00Z`.
fn parse_time(text: &str) -> Option<SystemTime> {
    let shape = text.len() == 20
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            10 => byte == b'T',
            13 | 16 => byte == b':',
            19 => byte == b'Z',
            _ => byte.is_ascii_digit(),
        });
    if !shape {
        return None;
    }
    // Without its marks it is a GeneralizedTime, whose rules know the months.
    let generalized: String = text.chars().filter(|c| !matches!(c, '-' | ':' | 'T')).collect();
    use x509_parser::prelude::FromDer as _;
    let der = crate::der::value(0x18, generalized.as_bytes());
    let (_, time) = x509_parser::time::ASN1Time::from_der(&der).ok()?;
    let seconds = u64::try_from(time.timestamp()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

impl Attestor for AwsIdentityDocument {
    fn kind(&self) -> &'static str {
        "aws_iid"
    }

    fn attest<'a>(&'a self, asked: Asked<'a>, _challenges: &'a mut dyn Challenges) -> Attest<'a> {
        Box::pin(std::future::ready(self.check(asked)))
    }
}

/// Deadline of one request to the metadata service.
const METADATA_DEADLINE: Duration = Duration::from_secs(5);

/// The identity document of this EC2 instance, from its metadata service (IMDSv2).
#[derive(Clone)]
pub struct AwsEvidence {
    endpoint: String,
}

impl AwsEvidence {
    /// From the usual address, `169.254.169.254:80`.
    #[must_use]
    pub fn new() -> Self {
        Self::at("169.254.169.254:80")
    }

    /// From another host and port.
    #[must_use]
    pub fn at(endpoint: impl Into<String>) -> Self {
        Self { endpoint: endpoint.into() }
    }

    async fn gather(&self) -> Result<Vec<u8>, AttestError> {
        let session = ("x-aws-ec2-metadata-token-ttl-seconds", "60");
        let token = self.ask(Method::PUT, "/latest/api/token", session).await?;
        let read = async |name: &str| {
            let path = format!("/latest/dynamic/instance-identity/{name}");
            self.ask(Method::GET, &path, ("x-aws-ec2-metadata-token", &token)).await
        };
        let payload = Payload {
            document: read("document").await?,
            signature: read("signature").await?,
            rsa2048: read("rsa2048").await?,
        };
        serde_json::to_vec(&payload).map_err(|error| AttestError::Gather(error.to_string()))
    }

    async fn ask(&self, method: Method, path: &str, header: (&str, &str)) -> Result<String, AttestError> {
        let exchange = async {
            let failed = |why: &dyn fmt::Display| AttestError::Gather(format!("instance metadata: {why}"));
            let stream = TcpStream::connect(&self.endpoint).await.map_err(|error| failed(&error))?;
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
            let request = Request::builder().method(method).uri(path).header("host", &self.endpoint);
            let request = request.header(header.0, header.1).body(Empty::<Bytes>::new());
            let request = request.map_err(|error| failed(&error))?;
            let answer = async {
                let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
                if response.status() != StatusCode::OK {
                    return Err(failed(&response.status()));
                }
                let body = Limited::new(response.into_body(), MAX_EVIDENCE_BYTES).collect().await;
                let body = body.map_err(|error| failed(&error))?.to_bytes();
                String::from_utf8(body.to_vec()).map_err(|_| failed(&"not text"))
            };
            let (mut answer, mut connection) = (std::pin::pin!(answer), std::pin::pin!(connection));
            let mut driving = true;
            loop {
                tokio::select! {
                    biased;
                    answer = &mut answer => return answer,
                    _ = &mut connection, if driving => driving = false,
                }
            }
        };
        let late = || AttestError::Gather("instance metadata: no answer in time".to_owned());
        tokio::time::timeout(METADATA_DEADLINE, exchange).await.map_err(|_| late())?
    }
}

impl Default for AwsEvidence {
    fn default() -> Self {
        Self::new()
    }
}

impl Evidence for AwsEvidence {
    fn kind(&self) -> &'static str {
        "aws_iid"
    }

    fn payload(&self) -> Answer<'_> {
        Box::pin(self.gather())
    }
}

impl fmt::Debug for AwsEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsEvidence").field("endpoint", &self.endpoint).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let at = |text| parse_time(text).map(|time| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs());
        assert_eq!(at("1970-01-02T00:00:01Z"), Some(86_401));
        for bad in ["", "1970-01-02T00:00:01", "1970-13-02T00:00:01Z", "1970-01-02 00:00:01Z", "197é-01-0T00:00:01Z"] {
            assert_eq!(at(bad), None, "{bad}");
        }
    }

    #[test]
    fn regions_of_a_text() {
        let keys = include_str!("../../tests/evidence/aws/keys.pem");
        let names =
            |text: &str| AwsRegions::parse(text).map(|regions| regions.names().map(str::to_owned).collect::<Vec<_>>());
        let both = ["eu-central-1".to_owned(), "us-east-1".to_owned()];
        for good in [keys.to_owned(), format!("# comment\n\n{keys}"), keys.replace('\n', "\r\n")] {
            assert_eq!(names(&good).unwrap(), both);
        }
        let (one, _) = keys.split_once("region eu-central-1").unwrap();
        let certificate = one.strip_prefix("region us-east-1\n").unwrap();
        for (what, bad) in [
            ("nothing", String::new()),
            ("comments only", "# none\n".to_owned()),
            ("a misspelt first region", keys.replacen("region", "Region", 1)),
            ("a certificate before the first region", format!("{certificate}{keys}")),
            ("a region without a certificate", format!("region eu-west-1\n{keys}")),
            ("a region with two", format!("{one}{certificate}")),
            ("a region twice", format!("{one}{one}")),
        ] {
            assert!(matches!(names(&bad), Err(AttestError::Unavailable(_))), "{what}");
        }
    }

    #[test]
    fn published_keys_are_all_usable() {
        let regions = AwsRegions::published().unwrap();
        assert!(regions.names().count() >= 30, "{}", regions.names().count());
        for wanted in ["us-east-1", "eu-central-1", "cn-north-1", "us-gov-west-1"] {
            assert!(regions.names().any(|name| name == wanted), "{wanted}");
        }
    }
}
