//! Where a page of positions starts.
//!
//! A cursor names the last position that the page before it listed, by the
//! order of the list (value, id). It goes on from there even when prices have
//! changed meanwhile.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

use crate::amount::Amount;

/// Longest cursor that is read, in characters: about what gateways let through
/// as a whole URL.
pub const MAX_LENGTH: usize = 8192;
const VERSION: u8 = 1;

/// The last position of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Its value; none for an unpriced one.
    pub value: Option<Amount>,
    /// Its id.
    pub id: String,
    /// How many positions of the same value and id were listed before it.
    pub ordinal: u32,
}

/// Why a text is not a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CursorError {
    /// Nothing this service gave out.
    #[error("is not a cursor of this service")]
    Malformed,
    /// A cursor of another wallet, path or filter.
    #[error("belongs to a request for another wallet, path or filter")]
    OtherRequest,
}

#[derive(Serialize, Deserialize)]
struct Packed {
    version: u8,
    selection: u64,
    value: Option<String>,
    id: String,
    ordinal: u32,
    checksum: u64,
}

impl Packed {
    fn checksum(&self) -> u64 {
        let text = format!(
            "{} {} {:?} {} {}",
            self.version, self.selection, self.value, self.id, self.ordinal
        );
        xxh3_64(text.as_bytes())
    }
}

impl Cursor {
    /// Returns the text for clients. It fits only requests of the same
    /// `selection` (`Query::selection`).
    pub fn to_text(&self, selection: &str) -> String {
        let mut packed = Packed {
            version: VERSION,
            selection: xxh3_64(selection.as_bytes()),
            value: self.value.as_ref().map(Amount::to_string),
            id: self.id.clone(),
            ordinal: self.ordinal,
            checksum: 0,
        };
        packed.checksum = packed.checksum();
        URL_SAFE_NO_PAD.encode(postcard::to_allocvec(&packed).unwrap_or_default())
    }

    /// Reads what [`Cursor::to_text`] wrote for the same selection.
    ///
    /// # Errors
    /// When the text is not a cursor, or one of another selection.
    pub fn parse(text: &str, selection: &str) -> Result<Self, CursorError> {
        let malformed = CursorError::Malformed;
        if text.len() > MAX_LENGTH {
            return Err(malformed);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed)?;
        let packed: Packed = postcard::from_bytes(&bytes).map_err(|_| malformed)?;
        if packed.version != VERSION || packed.checksum != packed.checksum() {
            return Err(malformed);
        }
        if packed.selection != xxh3_64(selection.as_bytes()) {
            return Err(CursorError::OtherRequest);
        }
        let value = match &packed.value {
            Some(text) => Some(parse_signed(text).ok_or(malformed)?),
            None => None,
        };
        Ok(Self {
            value,
            id: packed.id,
            ordinal: packed.ordinal,
        })
    }
}

fn parse_signed(text: &str) -> Option<Amount> {
    match text.strip_prefix('-') {
        Some(rest) => Amount::parse_unbounded(rest).map(|amount| amount.negated()),
        None => Amount::parse_unbounded(text),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{address::Address, query::Query, scope::Scope};

    fn selection(scope: Scope) -> String {
        let address = Address::parse(&format!("0x{}", "cd".repeat(20))).unwrap();
        Query::all(address, scope).selection()
    }

    #[test]
    fn fits_only_the_request_it_was_made_for() {
        let cursor = Cursor {
            value: Amount::parse("12.5"),
            id: "base-ethereum-asset-asset".into(),
            ordinal: 0,
        };
        let text = cursor.to_text(&selection(Scope::Wallet));
        assert_eq!(Cursor::parse(&text, &selection(Scope::Wallet)), Ok(cursor));
        assert_eq!(
            Cursor::parse(&text, &selection(Scope::Defi)),
            Err(CursorError::OtherRequest)
        );
    }

    #[test]
    fn a_cursor_may_be_as_long_as_a_url() {
        let cursor = |length| Cursor {
            value: None,
            id: "x".repeat(length),
            ordinal: 0,
        };
        let selection = selection(Scope::Wallet);
        let read = |length| {
            let text = cursor(length).to_text(&selection);
            (text.len(), Cursor::parse(&text, &selection))
        };
        // Of any length, up to the longest that is read.
        let lengths = 6000..6200;
        let read: Vec<_> = lengths.map(read).collect();
        assert!(read.iter().any(|(length, _)| *length == MAX_LENGTH));
        for (length, cursor) in read {
            assert_eq!(cursor.is_ok(), length <= MAX_LENGTH, "{length}");
        }
    }

    #[test]
    fn one_changed_letter_is_noticed() {
        let cursor = Cursor {
            value: None,
            id: "x".into(),
            ordinal: 3,
        };
        let text = cursor.to_text(&selection(Scope::Wallet));
        for at in 0..text.len() {
            let mut forged = text.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert!(Cursor::parse(&forged, &selection(Scope::Wallet)).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "\\PC{0,80}") {
            prop_assert!(Cursor::parse(&text, &selection(Scope::Wallet)).is_err());
        }

        #[test]
        fn any_position_comes_back(units in any::<Option<i64>>(), id in ".{0,60}", ordinal in any::<u32>()) {
            let value = units.map(|units| Amount::from_units(i128::from(units)));
            let cursor = Cursor { value, id, ordinal };
            let text = cursor.to_text(&selection(Scope::Wallet));
            prop_assert_eq!(Cursor::parse(&text, &selection(Scope::Wallet)), Ok(cursor));
        }
    }
}
