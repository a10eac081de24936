//! Query strings, decoded.

use axum::extract::Query as Decoded;
use axum::http::Uri;

/// The parameters of a request in the order they came.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// The parameters of an address; none for a query string that cannot be decoded.
    pub fn of(uri: &Uri) -> Self {
        Decoded::try_from_uri(uri).map_or_else(|_| Self::default(), |Decoded(pairs)| Self(pairs))
    }

    /// The first value under a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find_map(|(key, value)| (key == name).then_some(value))
    }

    /// Every name with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The first name that is none of these.
    pub fn first_unknown(&self, known: &[&str]) -> Option<&str> {
        self.iter()
            .map(|(key, _)| key)
            .find(|key| !known.contains(key))
    }
}

/// The last segment of a path, with `%3A` and the like decoded.
pub fn decoded_last_segment(uri: &Uri) -> String {
    let segment = uri.path().rsplit('/').next().unwrap_or_default();
    percent_decoded(segment)
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match tail {
            [high, low, ..] if *first == b'%' => hex_digit(*high).zip(hex_digit(*low)),
            _ => None,
        };
        if let Some((high, low)) = escaped {
            bytes.push(high << 4 | low);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

/// A value as it is written in a query string; commas stay, brackets do not.
pub fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'_' | b'.' | b'~' | b',' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded() {
        let uri = "/x?filter%5Bpositions%5D=no_filter&a=b%2Cc&filter[trash]=x"
            .parse()
            .expect("a valid address");
        let query = Query::of(&uri);
        assert_eq!(query.get("filter[positions]"), Some("no_filter"));
        assert_eq!(query.get("a"), Some("b,c"));
        assert_eq!(query.get("filter[trash]"), Some("x"));
        assert_eq!(
            query.first_unknown(&["a", "filter[trash]"]),
            Some("filter[positions]")
        );
    }

    #[test]
    fn a_path_segment_is_decoded() {
        let uri = "/prices/current/base%3A0xAb,x%zz"
            .parse()
            .expect("a valid address");
        assert_eq!(decoded_last_segment(&uri), "base:0xAb,x%zz");
        assert_eq!(percent_encoded("filter[a]"), "filter%5Ba%5D");
    }
}
