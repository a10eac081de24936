//! Content encoding: what the client accepts, at the cheapest level. A Lambda
//! answer ends at 6 MB, and compressed bytes cost less to pass on than a
//! large JSON string costs to escape.

use std::cell::RefCell;

use flate2::{Compress, Compression, FlushCompress, Status};
use lambda_http::http::{HeaderMap, header::ACCEPT_ENCODING};
use zstd::{bulk::Compressor, zstd_safe::compress_bound};

use super::scratch;

/// The fastest level that pays.
const ZSTD_LEVEL: i32 = 1;
/// At level 1 `zlib-rs` leaves bodies a quarter larger, in as much time.
const GZIP_LEVEL: u32 = 2;
/// Smaller bodies gain nothing.
const WORTHWHILE: usize = 256;

/// The largest window there is: 32 KB.
const GZIP_WINDOW_BITS: u8 = 15;

thread_local! {
    // To make one takes longer than to compress a small body.
    static ZSTD: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static GZIP: RefCell<Option<Compress>> = const { RefCell::new(None) };
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

    /// Passes the compressed body on, unless it is too small to be worth it.
    pub(super) fn compress<T>(self, body: &[u8], pass: impl FnOnce(&[u8]) -> T) -> Option<T> {
        if body.len() < WORTHWHILE {
            return None;
        }
        scratch::with_bytes(|out| {
            match self {
                Self::Zstd => compress_zstd(body, out)?,
                Self::Gzip => compress_gzip(body, out)?,
            }
            Some(pass(out))
        })
    }
}

fn compress_zstd(body: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.reserve(compress_bound(body.len()));
    ZSTD.with_borrow_mut(|zstd| {
        let zstd = match zstd {
            Some(zstd) => zstd,
            None => zstd.insert(Compressor::new(ZSTD_LEVEL).ok()?),
        };
        zstd.compress_to_buffer(body, out).ok()?;
        Some(())
    })
}

fn compress_gzip(body: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.reserve(body.len() / 4 + WORTHWHILE);
    GZIP.with_borrow_mut(|gzip| {
        let level = Compression::new(GZIP_LEVEL);
        let gzip = gzip.get_or_insert_with(|| Compress::new_gzip(level, GZIP_WINDOW_BITS));
        gzip.reset();
        loop {
            let done = usize::try_from(gzip.total_in()).ok()?;
            let rest = body.get(done..)?;
            match gzip.compress_vec(rest, out, FlushCompress::Finish).ok()? {
                Status::StreamEnd => return Some(()),
                // There is no room left.
                Status::Ok | Status::BufError => out.reserve(out.capacity()),
            }
        }
    })
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
    use std::io::Read;

    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    fn decompress(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
        match encoding {
            Encoding::Zstd => zstd::decode_all(bytes).unwrap(),
            Encoding::Gzip => {
                let mut body = Vec::new();
                GzDecoder::new(bytes).read_to_end(&mut body).unwrap();
                body
            }
        }
    }

    proptest! {
        #[test]
        fn bodies_come_back_one_after_another(
            bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..2000), 1..4),
            repeated in 1_usize..40,
        ) {
            for body in bodies {
                let body = body.repeat(repeated);
                for encoding in Encoding::ALL {
                    let compressed = encoding.compress(&body, <[u8]>::to_vec);
                    prop_assert_eq!(compressed.is_some(), body.len() >= WORTHWHILE);
                    if let Some(compressed) = compressed {
                        prop_assert_eq!(&decompress(encoding, &compressed), &body);
                    }
                }
            }
        }
    }

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
