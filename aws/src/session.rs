//! The session: credentials, region, endpoints, retries and account identity.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sts::config::{Credentials, ProvideCredentials};
use aws_smithy_http_client::tls;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_types::service_config::ServiceConfigKey;
use landfall_provider::{Error, ErrorKind, Plan, ProviderIdentity, Result};

use crate::call::during;
use crate::store::Memory;

/// The total attempts of a call unless configured (AWS_MAX_ATTEMPTS, or the profile): a deploy
/// makes a hundred concurrent calls, and new accounts are throttled early.
const ATTEMPTS: u32 = 8;
/// The SDK's default number of attempts.
const SDK_ATTEMPTS: u32 = 3;
/// The multiple of these attempts for the first call while AWS throttles it.
const THROTTLED_ROUNDS: u32 = 3;
/// The time limit of one attempt: AWS answers within seconds or not at all.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The options of a session; the SDK's settings supply the rest: environment, profiles, SSO,
/// container and instance roles, AWS_ENDPOINT_URL and its variants for single services.
///
/// <https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html>
#[derive(Debug, Clone, Default)]
pub struct AwsOptions {
    /// The profile; overrides AWS_PROFILE.
    pub profile: Option<String>,
    /// The region; overrides AWS_REGION and the profile.
    pub region: Option<String>,
    /// The required account, by its twelve digits; any account if not given.
    pub account: Option<String>,
    /// The endpoint URL of every service; overrides AWS's own and AWS_ENDPOINT_URL: for an
    /// emulator.
    pub endpoint: Option<String>,
    /// The access key; overrides the SDK's credential chain.
    pub keys: Option<Keys>,
}

/// An explicit access key.
#[derive(Clone)]
pub struct Keys {
    /// Its id: `AKIA…`.
    pub id: String,
    /// The secret that signs requests.
    pub secret: String,
    /// The session token of a key that expires.
    pub session: Option<String>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A session with one account in one region. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Aws(Arc<Session>);

struct Session {
    config: SdkConfig,
    region: String,
    identity: Identity,
    clients: Mutex<HashMap<TypeId, Box<dyn Any + Send + Sync>>>,
    checks: Vec<Box<dyn Check>>,
    memory: Mutex<Memory>,
}

/// A check of a plan before its first step. Each crate of kinds has one; the code that opens the
/// session passes them.
#[async_trait]
pub trait Check: Send + Sync {
    /// Every objection to the plan; the check only reads.
    ///
    /// # Errors
    /// When the check itself failed: this is reported as a finding and hides no findings of other
    /// checks.
    async fn check(&self, aws: &Aws, plan: &Plan) -> Result<Vec<Error>>;
}

/// The owner of the credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The account, by its twelve digits.
    pub account: String,
    /// The user or role: `arn:aws:iam::123456789012:user/ana`.
    pub arn: String,
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aws")
            .field("region", &self.0.region)
            .field("identity", &self.0.identity)
            .finish_non_exhaustive()
    }
}

impl Aws {
    /// Opens a session, and asks AWS once for the identity.
    ///
    /// # Errors
    /// `Invalid` without a region, or when the account is not the required one; `Denied` without
    /// valid credentials; `Unavailable` when AWS cannot be reached.
    pub async fn open(options: AwsOptions, checks: Vec<Box<dyn Check>>) -> Result<Self> {
        let config = load(&options).await;
        let region = config
            .region()
            .ok_or_else(|| {
                let profile = options.profile.as_deref().map_or(String::new(), |name| {
                    format!(", and there is no profile {name} or it names none")
                });
                Error::new(ErrorKind::Invalid, format_args!("no AWS region is given{profile}"))
                    .hint("region = \"eu-central-1\" in landfall.toml, --region, AWS_REGION, or the profile's")
            })?
            .to_string();
        let identity = match identify(&config).await {
            Ok(identity) => identity,
            Err(error) => return Err(unanswered(&config, &region, error).await),
        };
        if let Some(account) = options
            .account
            .filter(|account| *account != identity.account)
        {
            return Err(Error::new(
                ErrorKind::Invalid,
                format_args!(
                    "the credentials belong to account {}, but landfall.toml allows only account {account}",
                    identity.account
                ),
            )
            .hint("use the credentials of that account (--profile), or change `account` in landfall.toml"));
        }
        Ok(Self(Arc::new(Session {
            config,
            region,
            identity,
            clients: Mutex::default(),
            checks,
            memory: Mutex::default(),
        })))
    }

    /// The region: `ap-south-1`.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.0.region
    }

    /// The owner of the credentials.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// The account's partition, as in ARNs: `aws`, `aws-cn`, `aws-us-gov`.
    #[must_use]
    pub fn partition(&self) -> &str {
        self.0.identity.arn.split(':').nth(1).unwrap_or("aws")
    }

    /// Whether the endpoint is an emulator on this machine and not AWS: instances that it reports
    /// as running cannot be reached.
    #[must_use]
    pub fn is_emulated(&self) -> bool {
        let url = self.0.config.endpoint_url().unwrap_or_default();
        let host = url.split_once("://").map_or(url, |(_, rest)| rest);
        ["127.", "localhost", "[::1]"]
            .iter()
            .any(|loopback| host.starts_with(loopback))
    }

    /// The client of a service, created once per session: `aws.client(aws_sdk_ec2::Client::new)`.
    pub fn client<C: Clone + Send + Sync + 'static>(
        &self,
        make: impl FnOnce(&SdkConfig) -> C,
    ) -> C {
        let mut clients = self
            .0
            .clients
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        clients
            .entry(TypeId::of::<C>())
            .or_insert_with(|| Box::new(make(&self.0.config)))
            .downcast_ref::<C>()
            .expect("what stands under a type's id is of that type")
            .clone()
    }

    pub(crate) fn locked_memory(&self) -> &Mutex<Memory> {
        &self.0.memory
    }

    pub(crate) fn checks(&self) -> &[Box<dyn Check>] {
        &self.0.checks
    }
}

#[async_trait]
impl ProviderIdentity for Aws {
    async fn provider_identity(&self) -> Result<String> {
        let account = &self.0.identity.account;
        Ok(format!("aws, account {account}, {}", self.0.region))
    }
}

async fn load(options: &AwsOptions) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client())
        .timeout_config(timeouts);
    if let Some(profile) = &options.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = &options.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(endpoint) = &options.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    if let Some(Keys {
        id,
        secret,
        session,
    }) = options.keys.clone()
    {
        loader = loader.credentials_provider(Credentials::new(
            id,
            secret,
            session,
            None,
            "given to Landfall",
        ));
    }
    let config = loader.load().await;
    // Mode, backoff and a configured number stay as they are; only the SDK's default number is
    // raised.
    match config.retry_config() {
        Some(retry) if !says_attempts(&config) => {
            let retry = retry.clone().with_max_attempts(ATTEMPTS);
            config.into_builder().retry_config(retry).build()
        }
        _ => config,
    }
}

/// Whether the environment or the profile sets the number of attempts.
///
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html>
fn says_attempts(config: &SdkConfig) -> bool {
    let key = ServiceConfigKey::builder()
        .service_id("landfall")
        .env("AWS_MAX_ATTEMPTS")
        .profile("max_attempts")
        .build();
    let settings = config.service_config().zip(key.ok());
    settings.is_some_and(|(settings, key)| settings.load_config(key).is_some())
}

/// One connection pool for all services, with the TLS implementation of the rest of Landfall.
fn http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(
            tls::rustls_provider::CryptoMode::Ring,
        ))
        .build_https()
}

/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html>: needs no permission.
///
/// A missing endpoint, or one that is not AWS, is reported within seconds: here only throttling is
/// retried as often as in later calls.
async fn identify(config: &SdkConfig) -> Result<Identity> {
    let mut own = aws_sdk_sts::config::Builder::from(config);
    if let Some(retry) = config.retry_config() {
        let attempts = retry.max_attempts().min(SDK_ATTEMPTS);
        own.set_retry_config(Some(retry.clone().with_max_attempts(attempts)));
    }
    let client = aws_sdk_sts::Client::from_conf(own.build());
    let mut rounds = 1;
    let answer = loop {
        let asked = client.get_caller_identity().send().await;
        match asked.map_err(during("sts:GetCallerIdentity")) {
            Err(error) if error.kind() == ErrorKind::Throttled && rounds < THROTTLED_ROUNDS => {
                rounds += 1;
            }
            answer => break answer?,
        }
    };
    match (answer.account, answer.arn) {
        (Some(account), Some(arn)) => Ok(Identity { account, arn }),
        _ => Err(Error::new(
            ErrorKind::Unavailable,
            "sts:GetCallerIdentity was answered without an account",
        )),
    }
}

/// The reason for the first call's failure, if a setting causes it: the SDK reports missing
/// credentials as a connection failure.
async fn unanswered(config: &SdkConfig, region: &str, error: Error) -> Error {
    // An answer that is not in AWS's format is already shown.
    if error.kind() != ErrorKind::Unavailable || !error.detail_lines().is_empty() {
        return error;
    }
    if let Some(credentials) = config.credentials_provider()
        && let Err(why) = credentials.provide_credentials().await
    {
        return Error::new(ErrorKind::Denied, "no AWS credentials could be loaded")
            .hint(
                "sign in (aws sso login), name a profile (--profile or AWS_PROFILE), or set AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY",
            )
            .caused_by(why);
    }
    match config.endpoint_url() {
        Some(url) => error.hint(format_args!(
            "it was asked at {url}: check AWS_ENDPOINT_URL, and that what it names is running"
        )),
        None => error.hint(format_args!(
            "check the network, and that {region} is a region of AWS"
        )),
    }
}
