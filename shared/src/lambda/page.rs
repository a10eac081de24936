//! Pages that fit into what carries them.

use super::{
    content_encoding::Encoding,
    event::http::{Origin, ReplyBody},
    problem::{Code, Problem},
    scratch,
};
use crate::{domain::query::Query, service::Snapshot};

/// Largest body, uncompressed.
pub(crate) const MAX_BODY: usize = 5_000_000;
/// Largest answer to a load balancer, which takes 1 MB of JSON.
pub(crate) const MAX_FOR_BALANCER: usize = 1_000_000;
/// Largest answer to anything else: those of Lambda end at 6 MB.
const MAX_ANSWER: usize = 6_000_000;
/// What an envelope has besides the body: headers, which a load balancer gets
/// twice.
const AROUND: usize = 20_000;

/// What a body travels in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Envelope {
    /// What carries it to the client.
    pub origin: Origin,
    /// How it may be compressed.
    pub encoding: Option<Encoding>,
}

impl Envelope {
    /// Returns how many bytes a body may take in it.
    fn room(self) -> usize {
        let all = match self.origin {
            Origin::LoadBalancer => MAX_FOR_BALANCER,
            Origin::ApiGatewayV1 | Origin::ApiGatewayV2 => MAX_ANSWER,
        };
        all - AROUND
    }
}

/// A page as it leaves.
#[derive(Clone, Debug)]
pub(super) struct Page {
    /// Its body.
    pub body: ReplyBody,
    /// How that is compressed.
    pub encoding: Option<Encoding>,
}

impl Page {
    fn new(json: &str, encoding: Option<Encoding>) -> Self {
        let compressed = encoding.and_then(|it| it.compress(json.as_bytes(), ReplyBody::binary));
        match compressed {
            Some(body) => Self { body, encoding },
            None => Self {
                body: ReplyBody::text(json),
                encoding: None,
            },
        }
    }
}

/// Renders a page, with fewer positions where it would not fit.
pub(super) fn page(
    query: &Query,
    snapshot: &Snapshot,
    envelope: Envelope,
) -> Result<Page, Problem> {
    let room = envelope.room();
    fitting(query, snapshot, |json| {
        let page = Page::new(json, envelope.encoding);
        let size = page.body.size();
        (page, size, room)
    })
}

/// Renders a page for a direct invocation, whose result is the body itself.
pub(super) fn text(query: &Query, snapshot: &Snapshot) -> Result<String, Problem> {
    fitting(query, snapshot, |json| {
        (json.to_owned(), json.len(), MAX_ANSWER)
    })
}

/// Renders with fewer positions until the body and what `pack` makes of it are
/// small enough; `pack` gives that, its size, and the largest size.
fn fitting<T>(
    query: &Query,
    snapshot: &Snapshot,
    pack: impl Fn(&str) -> (T, usize, usize),
) -> Result<T, Problem> {
    let portfolio = snapshot.portfolio();
    let valuation = portfolio.value(query)?;
    let mut limit = query.limit;
    loop {
        let answer = valuation.answer(limit);
        let rendered = scratch::with_text(|json| {
            answer.write_json(json)?;
            serde_json::Result::Ok(match json.len() > MAX_BODY {
                true => (None, json.len(), MAX_BODY),
                false => {
                    let (packed, size, room) = pack(json);
                    (Some(packed), size, room)
                }
            })
        });
        let (packed, size, room) = rendered
            .map_err(|_| Problem::new(Code::Internal, "The answer could not be written."))?;
        if let Some(packed) = packed.filter(|_| size <= room) {
            return Ok(packed);
        }
        // What stands on every page alone is too much.
        if limit == 1 {
            tracing::error!(size, room, "an answer of one position does not fit");
            return Err(Problem::new(
                Code::Internal,
                "The answer does not fit into what carries it; a compressed one may.",
            ));
        }
        let fitting = u64::from(limit) * room as u64 / size as u64 * 9 / 10;
        limit = u32::try_from(fitting).unwrap_or(1).clamp(1, limit - 1);
    }
}

#[cfg(test)]
mod tests {
    use lambda_http::http::{HeaderMap, StatusCode};
    use serde_json::{Value, to_string};

    use super::*;
    use crate::lambda::event::http::HttpReply;

    #[test]
    fn sizes_are_those_inside_of_a_json_string() {
        let json = format!(r#"{{"a": "{}\\ \"é"}}"#, "text ".repeat(100));
        for encoding in [None, Some(Encoding::Gzip), Some(Encoding::Zstd)] {
            let page = Page::new(&json, encoding);
            assert_eq!(page.encoding, encoding);
            let size = page.body.size();
            let reply = HttpReply {
                status: StatusCode::OK,
                headers: HeaderMap::new(),
                body: page.body,
            };
            let envelope = reply.into_envelope(Origin::ApiGatewayV2).unwrap();
            let envelope: Value = serde_json::from_str(envelope.get()).unwrap();
            let written = to_string(&envelope["body"]);
            // Without the quotes.
            assert_eq!(written.unwrap().len() - 2, size, "{encoding:?}");
        }
    }
}
