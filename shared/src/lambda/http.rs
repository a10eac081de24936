//! An HTTP request in, an HTTP answer out.

use std::{
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use futures::FutureExt;
use lambda_http::http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, RETRY_AFTER,
        VARY, X_CONTENT_TYPE_OPTIONS,
    },
};

use serde_json::value::RawValue;
use tracing::Instrument;

use super::{
    access_log::{AccessLog, LogContext, span},
    body_cache::BodyCache,
    cache_headers,
    content_encoding::Encoding,
    event::{
        http::{HttpReply, HttpRequest, Origin, ReplyBody},
        payload::read_message,
    },
    invocation::Invocation,
    page::{self, Envelope},
    problem::{Allowed, Code, Problem},
};
use crate::{
    config::{Config, ResponseCache},
    domain::{
        address::Address,
        query::{InvalidParameter, Query},
        scope::Scope,
    },
    service::{MIN_REVALIDATION_INTERVAL, Request, Service},
};

/// What a client is told who asks for another path.
pub(crate) const PATHS: &str =
    "There are /v1/wallets/{address}/defi, /wallet, /aggregate and /cache.";

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// Answers HTTP requests of one scope.
pub struct HttpHandler {
    pub(super) service: Service,
    pub(super) scope: Scope,
    pub(super) deadline: Duration,
    pub(super) concurrency: usize,
    cache: ResponseCache,
    rest_api_binary: bool,
    pub(super) log_addresses: bool,
    bodies: BodyCache,
}

impl HttpHandler {
    /// A handler of `scope`'s path.
    pub fn new(service: Service, scope: Scope, config: &Config) -> Self {
        Self {
            service,
            scope,
            deadline: config.request_deadline,
            concurrency: config.upstream_concurrency,
            cache: config.response_cache,
            rest_api_binary: config.rest_api_binary,
            log_addresses: config.log_addresses,
            bodies: BodyCache::new(config.memory_cache_bytes / 4),
        }
    }

    /// Answers a request that came by `origin`; every failure becomes a
    /// problem.
    #[expect(clippy::disallowed_methods, reason = "measures one request")]
    pub async fn handle(
        &self,
        request: &HttpRequest,
        origin: Origin,
        invocation: &Invocation,
    ) -> HttpReply {
        let id = request
            .request_id
            .as_deref()
            .filter(|id| !id.is_empty())
            .unwrap_or(&invocation.id);
        let started = Instant::now();
        let context = Request {
            deadline: invocation.deadline_of(self.service.now(), self.deadline),
            max_age: revalidates(&request.headers).then_some(MIN_REVALIDATION_INTERVAL),
            ..Request::default()
        };
        let mut log_context = LogContext::default();
        let answered = self
            .catch_panic(self.answer(request, origin, &context, &mut log_context))
            .instrument(span(id, invocation))
            .await;
        let code = answered.as_ref().err().map(|problem| problem.code);
        let mut reply = answered.unwrap_or_else(|problem| problem_reply(&problem, id));
        let took = started.elapsed();
        context.cost.phase("total", took);
        let phases = cache_headers::server_timing(&context.cost);
        AccessLog {
            function: self.scope.as_str(),
            request_id: id,
            invocation,
            trigger: "http",
            status: reply.status.as_u16(),
            code,
            log_context: &log_context,
            cost: &context.cost,
            phases: &phases,
            took,
        }
        .emit();
        let headers = &mut reply.headers;
        set(headers, SERVER_TIMING, &phases);
        set(headers, REQUEST_ID, id);
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding, Origin"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        if request.method == Method::HEAD {
            without_body(&mut reply);
        }
        reply
    }

    /// Answers a payload: with the body that a client of its query would get.
    ///
    /// # Errors
    /// What a client would be told.
    #[expect(clippy::disallowed_methods, reason = "measures one request")]
    pub async fn direct(
        &self,
        payload: &RawValue,
        invocation: &Invocation,
    ) -> Result<String, Problem> {
        let context = Request {
            deadline: invocation.deadline_of(self.service.now(), self.deadline),
            ..Request::default()
        };
        let (started, mut log_context) = (Instant::now(), LogContext::default());
        let answered = async {
            let query = read_message(self.scope, payload.get())?;
            log_context.wallet(&query.address, self.log_addresses);
            let snapshot = self.service.portfolio(&query, &context).await?;
            log_context.answer(&snapshot);
            page::text(&query, &snapshot)
        };
        let id = &*invocation.id;
        let answered = self
            .catch_panic(answered)
            .instrument(span(id, invocation))
            .await;
        let code = answered.as_ref().err().map(|problem| problem.code);
        AccessLog {
            function: self.scope.as_str(),
            request_id: id,
            invocation,
            trigger: "direct",
            status: code.map_or(StatusCode::OK, Code::status).as_u16(),
            code,
            log_context: &log_context,
            cost: &context.cost,
            phases: &cache_headers::server_timing(&context.cost),
            took: started.elapsed(),
        }
        .emit();
        answered
    }

    /// A panic is a bug, but one client's: it gets a problem, and the sandbox
    /// lives on.
    async fn catch_panic<T>(
        &self,
        answer: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        AssertUnwindSafe(answer)
            .catch_unwind()
            .await
            .unwrap_or_else(|_| {
                tracing::error!("the request handler panicked");
                Err(Problem::new(
                    Code::Internal,
                    "The request could not be answered.",
                ))
            })
    }

    #[expect(clippy::disallowed_methods, reason = "measures phases of one request")]
    async fn answer(
        &self,
        request: &HttpRequest,
        origin: Origin,
        context: &Request,
        log_context: &mut LogContext,
    ) -> Result<HttpReply, Problem> {
        let parameters = request
            .query
            .iter()
            .map(|(name, value)| (&**name, &**value));
        let (address, scope) = match self.route(request)? {
            Route::Portfolio(address, scope) => (Address::parse(address)?, scope),
            Route::Cache(address) => {
                let address = Address::parse(address)?;
                log_context.wallet(&address, self.log_addresses);
                if let Some((name, _)) = parameters.into_iter().next() {
                    return Err(InvalidParameter::new(name, "is not known here").into());
                }
                self.service.invalidate(&address, context).await?;
                return Ok(forgotten());
            }
        };
        log_context.wallet(&address, self.log_addresses);
        let query = Query::parse(address, scope, parameters)?;
        let started = Instant::now();
        let snapshot = self.service.portfolio(&query, context).await?;
        context.cost.phase("portfolio", started.elapsed());
        log_context.answer(&snapshot);

        let validator = cache_headers::validator(&query, &snapshot);
        let etag = validator.etag();
        let mut headers = HeaderMap::new();
        let policy = &self.service.policy;
        let stale = policy.structure.stale.min(policy.prices.stale);
        set(&mut headers, ETAG, &etag);
        set(
            &mut headers,
            CACHE_CONTROL,
            &cache_headers::cache_control(&snapshot, self.cache, stale),
        );
        set(
            &mut headers,
            CACHE_STATUS,
            &cache_headers::cache_status(&snapshot),
        );
        if cache_headers::matches(&request.headers, &etag) {
            return Ok(HttpReply {
                status: StatusCode::NOT_MODIFIED,
                headers,
                body: ReplyBody::default(),
            });
        }
        let started = Instant::now();
        let envelope = Envelope {
            origin,
            encoding: self.encoding(request, origin),
        };
        let page = match self.bodies.get(validator, envelope) {
            Some(page) => page,
            None => {
                let page = page::page(&query, &snapshot, envelope)?;
                let until = snapshot.fresh_until().plus(stale);
                self.bodies
                    .keep(validator, envelope, &page, until, snapshot.now);
                page
            }
        };
        context.cost.phase("render", started.elapsed());
        headers.insert(CONTENT_TYPE, JSON);
        if let Some(encoding) = page.encoding {
            set(&mut headers, CONTENT_ENCODING, encoding.as_str());
        }
        Ok(HttpReply {
            status: StatusCode::OK,
            headers,
            body: page.body,
        })
    }

    /// Returns the best encoding that the client accepts, if bytes reach it. A
    /// REST API hands base64 on as it is, unless it has binary media types.
    fn encoding(&self, request: &HttpRequest, origin: Origin) -> Option<Encoding> {
        let decoded = origin != Origin::ApiGatewayV1 || self.rest_api_binary;
        decoded
            .then(|| Encoding::accepted(&request.headers))
            .flatten()
    }

    /// What is asked for, if this function serves it.
    fn route<'r>(&self, request: &'r HttpRequest) -> Result<Route<'r>, Problem> {
        let path = request.path.strip_suffix('/').unwrap_or(&request.path);
        let segments: Vec<&str> = path.split('/').collect();
        let nowhere = Problem::new(Code::NotFound, PATHS);
        let ["", "v1", "wallets", address, leaf] = segments[..] else {
            return Err(nowhere);
        };
        // Any of the paths: a gateway may send what it has no route for to one
        // of the functions.
        let (allowed, route) = match (leaf, Scope::parse(leaf)) {
            ("cache", _) => (Allowed::Delete, Route::Cache(address)),
            (_, Some(scope)) => (Allowed::GetHead, Route::Portfolio(address, scope)),
            _ => return Err(nowhere),
        };
        if !allowed.contains(&request.method) {
            return Err(Problem::not_allowed(&request.method, allowed));
        }
        // Gateways send what they have no route for to `aggregate`, which serves
        // all paths: with a slash at its end a path may be no route.
        match route {
            Route::Portfolio(_, scope) if scope == self.scope => Ok(route),
            _ if self.scope == Scope::Aggregate => Ok(route),
            _ => Err(nowhere),
        }
    }
}

/// What a request asks for.
enum Route<'r> {
    /// A portfolio of this address.
    Portfolio(&'r str, Scope),
    /// To forget what is cached of it.
    Cache(&'r str),
}

/// Whether the client wants holdings that are not from a cache.
fn revalidates(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CACHE_CONTROL).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case("no-cache"))
}

fn forgotten() -> HttpReply {
    let mut headers = HeaderMap::new();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    HttpReply {
        status: StatusCode::NO_CONTENT,
        headers,
        body: ReplyBody::default(),
    }
}

/// Takes the body off an answer to HEAD and says how long it would be.
fn without_body(reply: &mut HttpReply) {
    let length = reply.body.len();
    if length > 0 {
        reply.headers.insert(CONTENT_LENGTH, length.into());
        reply.body = ReplyBody::default();
    }
}

fn problem_reply(problem: &Problem, request_id: &str) -> HttpReply {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, PROBLEM_JSON);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(wait) = problem.retry_after {
        set(
            &mut headers,
            RETRY_AFTER,
            &wait.as_secs().max(1).to_string(),
        );
    }
    if let Some(allowed) = &problem.allowed {
        set(&mut headers, ALLOW, allowed.as_str());
    }
    HttpReply {
        status: problem.status(),
        headers,
        body: ReplyBody::text(&problem.body(request_id)),
    }
}

/// Values that are no header text (a strange request id) are left out.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
