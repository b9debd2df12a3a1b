//! A received call: its service, its action and its parameters.

use std::collections::BTreeMap;
use std::fmt;

use hyper::header::HeaderMap;
use hyper::http::request::Parts;
use serde_json::Value;

use super::Answer;

/// The protocol of a service, which defines the form of its errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// EC2's own XML.
    Ec2,
    /// XML of IAM, STS, Auto Scaling and Elastic Load Balancing.
    Query,
    /// JSON, the action in `X-Amz-Target`.
    Json,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The service, as in its signature: `ec2`, `elasticloadbalancing`, `ssm`.
    pub service: String,
    /// The action: `CreateVpc`.
    pub action: String,
    /// The fields of a form by name (`Tag.1.Key`); empty for JSON, whose fields are in [`json`](Self::json).
    pub fields: BTreeMap<String, String>,
    /// The body as received.
    pub body: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
}

/// `ec2:CreateVpc`
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.service, self.action)
    }
}

impl Call {
    pub(super) fn read(head: &Parts, body: &[u8]) -> Self {
        let header = |name: &str| {
            let value = head.headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default()
        };
        let body = String::from_utf8_lossy(body).into_owned();
        let target = header("x-amz-target");
        let fields = if target.is_empty() {
            serde_urlencoded::from_str(&body).unwrap_or_default()
        } else {
            BTreeMap::new()
        };
        let action = match target.rsplit_once('.') {
            Some((_, action)) => action.to_owned(),
            None => fields.get("Action").cloned().unwrap_or_default(),
        };
        // Credential=AKID/20261122/eu-central-1/ec2/aws4_request
        let service = header("authorization")
            .split_once("Credential=")
            .and_then(|(_, scope)| scope.split('/').nth(3))
            .unwrap_or_default();
        Self {
            service: service.to_owned(),
            action,
            fields,
            body,
            method: head.method.to_string(),
            path: head.uri.to_string(),
            headers: head.headers.clone(),
        }
    }

    /// Whether it is this action of this service: `call.is("ec2:CreateVpc")`.
    #[must_use]
    pub fn is(&self, action: &str) -> bool {
        action
            .split_once(':')
            .is_some_and(|(service, action)| self.service == service && self.action == action)
    }

    /// A form's field, empty if it is missing.
    #[must_use]
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// The body as JSON; `null` if it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// An answer to `DescribeTags` that shows a resource of a stack: without one, none of its kinds
    /// is listed.
    #[must_use]
    pub fn tagged(&self) -> Answer {
        self.result(
            "<tagSet><item><resourceId>vpc-0</resourceId><resourceType>vpc</resourceType>\
             <key>landfall:stack</key><value>digipay</value></item></tagSet>",
        )
    }

    /// The protocol of its service.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        if self.headers.contains_key("x-amz-target") {
            Protocol::Json
        } else if self.service == "ec2" {
            Protocol::Ec2
        } else {
            Protocol::Query
        }
    }

    /// An error in the service's form.
    #[must_use]
    pub fn error(&self, status: u16, code: &str, message: &str) -> Answer {
        let message = message.replace('&', "&amp;").replace('<', "&lt;");
        let answer = match self.protocol() {
            Protocol::Ec2 => Answer::xml(format!(
                "<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>\
                 <RequestID>scripted</RequestID></Response>"
            )),
            Protocol::Query => Answer::xml(format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>\
                 <RequestId>scripted</RequestId></ErrorResponse>"
            )),
            Protocol::Json => {
                Answer::json(&serde_json::json!({ "__type": code, "message": message }))
            }
        };
        answer.with_status(status)
    }

    /// A throttling error in the service's form.
    #[must_use]
    pub fn throttled(&self) -> Answer {
        match self.protocol() {
            // https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html
            Protocol::Ec2 => self.error(503, "RequestLimitExceeded", "Request limit exceeded."),
            Protocol::Query => self.error(400, "Throttling", "Rate exceeded"),
            Protocol::Json => self.error(400, "ThrottlingException", "Rate exceeded"),
        }
    }

    /// A successful answer of this action in its service's XML, around `inner`.
    #[must_use]
    pub fn result(&self, inner: &str) -> Answer {
        let action = &self.action;
        Answer::xml(match self.protocol() {
            Protocol::Ec2 => format!(
                "<{action}Response><requestId>scripted</requestId>{inner}</{action}Response>"
            ),
            _ => format!(
                "<{action}Response><{action}Result>{inner}</{action}Result>\
                 <ResponseMetadata><RequestId>scripted</RequestId></ResponseMetadata></{action}Response>"
            ),
        })
    }
}
