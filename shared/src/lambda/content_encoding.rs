//! Content encoding: what the client accepts, at the cheapest level. A Lambda
//! answer ends at 6 MB, and compressed bytes cost less to pass on than a
//! large JSON string costs to escape.

use std::{cell::RefCell, io::Write};

use flate2::{Compression, write::GzEncoder};
use lambda_http::http::{HeaderMap, header::ACCEPT_ENCODING};
use zstd::bulk::Compressor;

/// The fastest level that pays.
const ZSTD_LEVEL: i32 = 1;
/// At level 1 `zlib-rs` leaves bodies a quarter larger, in as much time.
const GZIP_LEVEL: u32 = 2;
/// Smaller bodies gain nothing.
const WORTHWHILE: usize = 256;

thread_local! {
    /// To make one takes longer than to compress a small body.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
}

/// A content encoding that this service speaks, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Encoding {
    Zstd,
    Gzip,
}

impl Encoding {
    const ALL: [Self; 2] = [Self::Zstd, Self::Gzip];

    /// Its name in headers.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// The best one that the client accepts.
    pub(super) fn accepted(headers: &HeaderMap) -> Option<Self> {
        let offers: Vec<(String, bool)> = headers
            .get_all(ACCEPT_ENCODING)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(offer)
            .collect();
        let says = |wanted: &str| {
            offers
                .iter()
                .find(|(name, _)| name == wanted)
                .map(|(_, ok)| *ok)
        };
        Self::ALL
            .into_iter()
            .find(|known| says(known.as_str()).or_else(|| says("*")) == Some(true))
    }

    /// The compressed body, unless that is not worth it.
    pub(super) fn compress(self, body: &[u8]) -> Option<Vec<u8>> {
        if body.len() < WORTHWHILE {
            return None;
        }
        match self {
            Self::Zstd => COMPRESSOR.with_borrow_mut(|compressor| {
                let compressor = match compressor {
                    Some(compressor) => compressor,
                    None => compressor.insert(Compressor::new(ZSTD_LEVEL).ok()?),
                };
                compressor.compress(body).ok()
            }),
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::new(GZIP_LEVEL));
                encoder.write_all(body).ok()?;
                encoder.finish().ok()
            }
        }
    }
}

/// A name, and whether it is wanted at all (`q=0` refuses it).
fn offer(text: &str) -> (String, bool) {
    let (name, parameters) = text.split_once(';').unwrap_or((text, ""));
    let refused = parameters
        .split(';')
        .filter_map(|parameter| parameter.trim().strip_prefix("q="))
        .any(|weight| {
            weight
                .trim()
                .bytes()
                .all(|byte| matches!(byte, b'0' | b'.'))
        });
    (name.trim().to_ascii_lowercase(), !refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_best_that_is_accepted() {
        for (sent, expected) in [
            ("gzip, deflate, br, zstd", Some(Encoding::Zstd)),
            ("gzip;q=1.0, zstd;q=0", Some(Encoding::Gzip)),
            ("GZIP", Some(Encoding::Gzip)),
            ("*", Some(Encoding::Zstd)),
            ("*;q=0.000", None),
            ("br", None),
            ("identity", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, sent.parse().unwrap());
            assert_eq!(Encoding::accepted(&headers), expected, "{sent}");
        }
        assert_eq!(Encoding::accepted(&HeaderMap::new()), None);
    }
}
