use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{HttpClient, HttpConnector, HttpRequestBody, ReqwestConnector};
use object_store::{ClientOptions, CredentialProvider, Error as StoreError};
use parking_lot::Mutex;

use crate::clock::Clock;

/// Credentials are renewed so long before their end.
const AHEAD: Duration = Duration::from_secs(5 * 60);

/// Largest answer that is read.
const MAX_ANSWER: usize = 64 * 1024;

/// Short-lived credentials of a role, by STS `AssumeRole` (AWS, MinIO, Ceph): renewed five minutes before their end.
pub struct AssumeRole {
    endpoint: String,
    region: String,
    role: String,
    session: String,
    life: Duration,
    base: Arc<dyn CredentialProvider<Credential = AwsCredential>>,
    client: HttpClient,
    clock: Arc<dyn Clock>,
    known: Mutex<Option<(Arc<AwsCredential>, SystemTime)>>,
}

impl AssumeRole {
    /// Credentials of a role, asked for at an STS endpoint (`https://sts.<region>.amazonaws.com`) with others as the base.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(
        endpoint: &str,
        region: &str,
        role: &str,
        session: &str,
        base: Arc<dyn CredentialProvider<Credential = AwsCredential>>,
        options: &ClientOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            region: region.to_owned(),
            role: role.to_owned(),
            session: session.to_owned(),
            life: Duration::from_secs(60 * 60),
            base,
            client,
            clock,
            known: Mutex::default(),
        })
    }

    /// How long credentials should live: 15 minutes to 12 hours. Default: an hour.
    #[must_use]
    pub fn life(self, life: Duration) -> Self {
        Self { life, ..self }
    }

    async fn ask(&self) -> Result<(Arc<AwsCredential>, SystemTime), StoreError> {
        let failed = |why: String| StoreError::Generic { store: "STS", source: why.into() };
        let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let body = format!(
            "Action=AssumeRole&Version=2011-06-15&RoleArn={}&RoleSessionName={}&DurationSeconds={}",
            encode(&self.role),
            encode(&self.session),
            self.life.as_secs()
        );
        let mut request = http::Request::new(HttpRequestBody::from(body));
        *request.method_mut() = Method::POST;
        let address = format!("{}/", self.endpoint).parse();
        *request.uri_mut() = address.map_err(|_| failed(format!("`{}` is no address", self.endpoint)))?;
        let form = http::HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(http::header::CONTENT_TYPE, form);
        let base = self.base.get_credential().await?;
        AwsAuthorizer::new(&base, "sts", &self.region).try_authorize(&mut request, None)?;
        let response = self.client.execute(request).await.map_err(|error| failed(error.to_string()))?;
        let status = response.status();
        let body = http_body_util::Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| failed(error.to_string()))?.to_bytes();
        let text = std::str::from_utf8(&body).map_err(|_| failed("the answer is no text".to_owned()))?;
        if status != StatusCode::OK {
            let code = element(text, "Code").unwrap_or("no reason");
            return Err(failed(format!("AssumeRole was answered {status}: {code}")));
        }
        let needed = |name: &'static str| {
            element(text, name).map(str::to_owned).ok_or_else(|| failed(format!("the answer lacks `{name}`")))
        };
        let credential = AwsCredential {
            key_id: needed("AccessKeyId")?,
            secret_key: needed("SecretAccessKey")?,
            token: Some(needed("SessionToken")?),
        };
        let end: jiff::Timestamp =
            needed("Expiration")?.parse().map_err(|_| failed("the end is no time".to_owned()))?;
        Ok((Arc::new(credential), SystemTime::from(end)))
    }
}

/// The text of the only element of a name. Keys and tokens hold nothing that XML escapes.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let (_, rest) = xml.split_once(&open)?;
    let (content, after) = rest.split_once(&close)?;
    let plain = !content.contains(['<', '&']) && !after.contains(&open);
    plain.then(|| content.trim())
}

#[tough::async_trait]
impl CredentialProvider for AssumeRole {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> Result<Arc<AwsCredential>, StoreError> {
        let now = self.clock.now();
        let known = self.known.lock().clone();
        if let Some((credential, end)) = &known
            && now + AHEAD < *end
        {
            return Ok(Arc::clone(credential));
        }
        match (self.ask().await, known) {
            (Ok((credential, end)), _) => {
                *self.known.lock() = Some((Arc::clone(&credential), end));
                Ok(credential)
            }
            // The old ones are good for some minutes yet.
            (Err(error), Some((credential, end))) if now < end => {
                tracing::warn!(%error, role = self.role, "credentials are not renewed; the last ones still count");
                Ok(credential)
            }
            (Err(error), _) => Err(error),
        }
    }
}

impl fmt::Debug for AssumeRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssumeRole").field("endpoint", &self.endpoint).field("role", &self.role).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::element;

    #[test]
    fn one_element_and_plain() {
        let xml = "<A><AccessKeyId>k</AccessKeyId><Arn>x</Arn><Arn>y</Arn><T>a&amp;b</T></A>";
        assert_eq!(element(xml, "AccessKeyId"), Some("k"));
        for bad in ["Arn", "T", "None", "A"] {
            assert_eq!(element(xml, bad), None, "{bad}");
        }
    }
}
