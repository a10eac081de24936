//! Errors as RFC 9457 problem details: the one place that maps them to HTTP.

use std::time::Duration;

use lambda_http::http::{Method, StatusCode};
use serde::Serialize;

use crate::{
    domain::{address::AddressError, query::InvalidParameter},
    service::ServiceError,
    upstream::Failure,
};

/// Told to clients when the source of a failure says nothing itself.
const DEFAULT_RETRY: Duration = Duration::from_secs(5);

/// What kind of problem it is; clients tell them apart by the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The path's address is none.
    InvalidAddress,
    /// A parameter is unknown or has a bad value.
    InvalidParameter,
    /// No such path.
    NotFound,
    /// The path takes other methods.
    MethodNotAllowed,
    /// The provider does not track this wallet.
    WalletNotTrackable,
    /// The provider limits our requests.
    RateLimited,
    /// The provider has trouble.
    UpstreamUnavailable,
    /// The provider is still gathering the wallet's data.
    WalletPreparing,
    /// The provider refused us or answered nonsense.
    UpstreamError,
    /// No answer in time.
    DeadlineExceeded,
    /// Our own fault.
    Internal,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::InvalidAddress,
        Self::InvalidParameter,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::WalletNotTrackable,
        Self::RateLimited,
        Self::UpstreamUnavailable,
        Self::WalletPreparing,
        Self::UpstreamError,
        Self::DeadlineExceeded,
        Self::Internal,
    ];

    /// The code, the status and the title.
    fn parts(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::InvalidAddress => (
                "invalid_address",
                StatusCode::BAD_REQUEST,
                "The address is not valid",
            ),
            Self::InvalidParameter => (
                "invalid_parameter",
                StatusCode::BAD_REQUEST,
                "A parameter is not valid",
            ),
            Self::NotFound => ("not_found", StatusCode::NOT_FOUND, "Not found"),
            Self::MethodNotAllowed => (
                "method_not_allowed",
                StatusCode::METHOD_NOT_ALLOWED,
                "The method is not allowed here",
            ),
            Self::WalletNotTrackable => (
                "wallet_not_trackable",
                StatusCode::UNPROCESSABLE_ENTITY,
                "The wallet cannot be tracked",
            ),
            Self::RateLimited => (
                "rate_limited",
                StatusCode::TOO_MANY_REQUESTS,
                "Too many requests to the data provider",
            ),
            Self::UpstreamUnavailable => (
                "upstream_unavailable",
                StatusCode::SERVICE_UNAVAILABLE,
                "The data provider is unavailable",
            ),
            Self::WalletPreparing => (
                "wallet_preparing",
                StatusCode::SERVICE_UNAVAILABLE,
                "The wallet's data is being prepared",
            ),
            Self::UpstreamError => (
                "upstream_error",
                StatusCode::BAD_GATEWAY,
                "The data provider gave no usable answer",
            ),
            Self::DeadlineExceeded => (
                "deadline_exceeded",
                StatusCode::GATEWAY_TIMEOUT,
                "There was no answer in time",
            ),
            Self::Internal => (
                "internal",
                StatusCode::INTERNAL_SERVER_ERROR,
                "Something went wrong here",
            ),
        }
    }

    /// Its HTTP status.
    pub fn status(self) -> StatusCode {
        self.parts().1
    }

    /// The word that clients see.
    pub fn as_str(self) -> &'static str {
        self.parts().0
    }
}

/// A problem on its way to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its kind.
    pub code: Code,
    /// What happened this time; never internals, keys or upstream bodies.
    pub detail: String,
    /// When asking again makes sense.
    pub retry_after: Option<Duration>,
    /// The methods that would be allowed.
    pub allowed: Option<Allowed>,
}

/// The methods that a path takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// To read.
    GetHead,
    /// To forget.
    Delete,
}

impl Allowed {
    /// Returns what `Allow` says.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GetHead => "GET, HEAD",
            Self::Delete => "DELETE",
        }
    }

    /// Says whether `method` is one of them.
    pub fn contains(self, method: &Method) -> bool {
        match self {
            Self::GetHead => matches!(*method, Method::GET | Method::HEAD),
            Self::Delete => *method == Method::DELETE,
        }
    }
}

/// An error (RFC 9457).
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Problem))]
pub(crate) struct Body<'p> {
    /// `urn:portfolio:problem:` and the code.
    #[cfg_attr(feature = "openapi", schema(format = "uri"))]
    r#type: String,
    /// The same for every problem of this code.
    title: &'p str,
    /// The HTTP status.
    status: u16,
    /// What happened this time, for people to read.
    detail: &'p str,
    #[cfg_attr(feature = "openapi", schema(value_type = Code))]
    code: &'p str,
    /// Name it when you report the problem.
    request_id: &'p str,
}

impl Problem {
    /// A problem that no waiting mends.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            retry_after: None,
            allowed: None,
        }
    }

    /// A known path with another method.
    pub fn not_allowed(method: &Method, allowed: Allowed) -> Self {
        let detail = format!(
            "{method} is not allowed here, only {}.",
            allowed.as_str().replace(", ", " and ")
        );
        Self {
            allowed: Some(allowed),
            ..Self::new(Code::MethodNotAllowed, detail)
        }
    }

    /// Its HTTP status.
    pub fn status(&self) -> StatusCode {
        self.code.status()
    }

    /// The `application/problem+json` body.
    pub fn body(&self, request_id: &str) -> String {
        let (code, status, title) = self.code.parts();
        let body = Body {
            r#type: format!("urn:portfolio:problem:{code}"),
            title,
            status: status.as_u16(),
            detail: &self.detail,
            code,
            request_id,
        };
        serde_json::to_string(&body).unwrap_or_default()
    }

    fn later(code: Code, detail: &str, retry_after: Option<Duration>) -> Self {
        Self {
            retry_after: Some(retry_after.unwrap_or(DEFAULT_RETRY)),
            ..Self::new(code, detail)
        }
    }
}

impl From<AddressError> for Problem {
    fn from(error: AddressError) -> Self {
        Self::new(Code::InvalidAddress, error.to_string())
    }
}

impl From<InvalidParameter> for Problem {
    fn from(error: InvalidParameter) -> Self {
        Self::new(Code::InvalidParameter, error.to_string())
    }
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        let error = match error {
            ServiceError::Provider(error) => error,
            ServiceError::Deadline => {
                return Self::new(
                    Code::DeadlineExceeded,
                    "The data provider did not answer within the time limit.",
                );
            }
            ServiceError::CacheUnavailable => {
                return Self::later(
                    Code::UpstreamUnavailable,
                    "The cache could not be reached.",
                    None,
                );
            }
            ServiceError::Internal(reason) => {
                // The client is not told: this is where it would be lost.
                tracing::error!(reason, "internal error");
                return Self::new(Code::Internal, "The request could not be answered.");
            }
        };
        match error.failure {
            Failure::NotTrackable => Self::new(
                Code::WalletNotTrackable,
                "The data provider does not track this wallet; contracts, burn addresses and exchange wallets are not tracked.",
            ),
            Failure::Preparing { retry_after } => Self::later(
                Code::WalletPreparing,
                "The data provider is still gathering this wallet's data.",
                retry_after,
            ),
            Failure::RateLimited { retry_after, .. } => Self::later(
                Code::RateLimited,
                "The data provider takes no more requests for now.",
                retry_after,
            ),
            Failure::CircuitOpen { retry_after } => Self::later(
                Code::UpstreamUnavailable,
                "The data provider is failing; requests to it are paused.",
                Some(retry_after),
            ),
            Failure::Unavailable(_) | Failure::Busy => Self::later(
                Code::UpstreamUnavailable,
                "The data provider could not be reached or has trouble.",
                None,
            ),
            Failure::Timeout => Self::new(
                Code::DeadlineExceeded,
                "The data provider did not answer within the time limit.",
            ),
            Failure::Unauthorized(_) => Self::new(
                Code::UpstreamError,
                "The data provider refused this service.",
            ),
            Failure::Rejected(_) => Self::new(
                Code::UpstreamError,
                "The data provider refused the request.",
            ),
            Failure::Malformed(_) | Failure::TooLarge(_) => Self::new(
                Code::UpstreamError,
                "The data provider's answer could not be read.",
            ),
        }
    }
}

#[cfg(feature = "openapi")]
crate::domain::schema!(
    Code,
    "ProblemCode",
    crate::domain::schema::words(Code::ALL.map(Code::as_str))
        .description(Some("What kind of problem it is; tell them apart by this."))
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{Provider, Quota, UpstreamError};

    fn problem(failure: Failure) -> Problem {
        ServiceError::from(UpstreamError {
            upstream: Provider::Zerion,
            failure,
        })
        .into()
    }

    #[test]
    fn tells_failures_apart() {
        let status = |failure| problem(failure).status().as_u16();
        assert_eq!(status(Failure::NotTrackable), 422);
        let limited = Failure::RateLimited {
            retry_after: None,
            quota: Quota::Requests,
        };
        assert_eq!(status(limited), 429);
        assert_eq!(status(Failure::Preparing { retry_after: None }), 503);
        assert_eq!(status(Failure::Unavailable("HTTP 500".into())), 503);
        assert_eq!(status(Failure::Unauthorized(401)), 502);
        assert_eq!(status(Failure::Malformed("x".into())), 502);
        assert_eq!(status(Failure::Timeout), 504);
    }

    #[test]
    fn says_when_to_come_back() {
        let told = Failure::Preparing {
            retry_after: Some(Duration::from_secs(10)),
        };
        assert_eq!(problem(told).retry_after, Some(Duration::from_secs(10)));
        let untold = Failure::Unavailable("unreachable".into());
        assert_eq!(problem(untold).retry_after, Some(DEFAULT_RETRY));
    }

    #[test]
    fn keeps_internals_to_itself() {
        let body = problem(Failure::Malformed("secret body".into())).body("r-1");
        assert!(!body.contains("secret body"));
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["status"], 502);
        assert_eq!(body["code"], "upstream_error");
        assert_eq!(body["request_id"], "r-1");
    }
}
