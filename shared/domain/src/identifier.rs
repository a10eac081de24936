//! Identifiers and pictures, packed: hexadecimal text takes half of its bytes.

use std::{borrow::Cow, fmt};

use hex_simd::{AsOut as _, AsciiCase};
use serde::{Deserialize, Serialize, Serializer};
use uuid::{Uuid, fmt::Hyphenated};

/// Where Zerion keeps the pictures of tokens.
pub(crate) const ICON_PREFIX: &str = "https://cdn.zerion.io/";
pub(crate) const ICON_SUFFIX: &str = ".png";

/// An opaque identifier, such as a contract or a fungible's id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Identifier<'a> {
    /// `0x` and 40 lower-case hexadecimal digits.
    Hex(#[serde(with = "at_once")] [u8; 20]),
    /// A UUID in lower case.
    Uuid(#[serde(with = "at_once")] [u8; 16]),
    /// Anything else.
    Text(#[serde(borrow)] Cow<'a, str>),
}

impl<'a> Identifier<'a> {
    /// Packs `text`; it comes back letter for letter.
    pub fn pack(text: Cow<'a, str>) -> Self {
        // Neither would come back with its capitals.
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Self::Text(text);
        }
        let mut bytes = [0; 20];
        if let Some(digits) = text.strip_prefix("0x")
            && digits.len() == 2 * bytes.len()
            && hex_simd::decode(digits.as_bytes(), bytes.as_mut_slice().as_out()).is_ok()
        {
            return Self::Hex(bytes);
        }
        if text.len() == Hyphenated::LENGTH
            && let Ok(id) = Uuid::try_parse(&text)
        {
            return Self::Uuid(id.into_bytes());
        }
        Self::Text(text)
    }
}

impl Identifier<'_> {
    /// The same identifier, borrowing nothing.
    pub fn into_owned(self) -> Identifier<'static> {
        match self {
            Self::Hex(bytes) => Identifier::Hex(bytes),
            Self::Uuid(bytes) => Identifier::Uuid(bytes),
            Self::Text(text) => Identifier::Text(Cow::Owned(text.into_owned())),
        }
    }
}

/// Bytes that any packed identifier fits into as text.
pub const MAX_TEXT: usize = 42;

impl Identifier<'_> {
    /// The text, put into `buffer` where it is packed. Answers hold thousands:
    /// this takes a fraction of the time that formatting does.
    pub fn text<'b>(&'b self, buffer: &'b mut [u8; MAX_TEXT]) -> &'b str {
        match self {
            Self::Text(text) => text,
            Self::Hex(bytes) => {
                buffer[..2].copy_from_slice(b"0x");
                let _ = hex_simd::encode(bytes, buffer[2..].as_out(), AsciiCase::Lower);
                str::from_utf8(&buffer[..]).unwrap_or_default()
            }
            Self::Uuid(bytes) => Uuid::from_bytes(*bytes).hyphenated().encode_lower(buffer),
        }
    }
}

impl fmt::Display for Identifier<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text(&mut [0; MAX_TEXT]))
    }
}

/// Arrays that are read and written at once. Serde's own way, byte by byte, takes a
/// tenth of decoding.
mod at_once {
    use serde::{
        Deserializer, Serializer,
        de::{Error, Visitor},
    };

    pub fn serialize<const N: usize, S: Serializer>(
        bytes: &[u8; N],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, const N: usize, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[u8; N], D::Error> {
        deserializer.deserialize_bytes(Array)
    }

    struct Array<const N: usize>;

    impl<const N: usize> Visitor<'_> for Array<N> {
        type Value = [u8; N];

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{N} bytes")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<[u8; N], E> {
            let length = || E::invalid_length(bytes.len(), &self);
            bytes.try_into().map_err(|_| length())
        }
    }
}

/// A token's picture.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Icon<'a> {
    /// There is none.
    None,
    /// In Zerion's store under this name.
    Zerion(#[serde(borrow)] Identifier<'a>),
    /// Elsewhere.
    Url(#[serde(borrow)] Cow<'a, str>),
}

impl<'a> Icon<'a> {
    /// Packs a picture's URL; it comes back letter for letter.
    pub fn pack(url: Option<Cow<'a, str>>) -> Self {
        let Some(url) = url else { return Self::None };
        let name = url
            .strip_prefix(ICON_PREFIX)
            .and_then(|rest| rest.strip_suffix(ICON_SUFFIX));
        match name {
            Some(name) => match Identifier::pack(Cow::Owned(name.to_owned())) {
                Identifier::Text(_) => Self::Url(url),
                packed => Self::Zerion(packed),
            },
            None => Self::Url(url),
        }
    }
}

impl Serialize for AsText<'_, Identifier<'_>> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.text(&mut [0; MAX_TEXT]))
    }
}

impl Serialize for AsText<'_, Icon<'_>> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Icon::None => serializer.serialize_none(),
            Icon::Zerion(name) => {
                let mut buffer = [0; MAX_TEXT];
                let name = name.text(&mut buffer);
                serializer.serialize_str(&[ICON_PREFIX, name, ICON_SUFFIX].concat())
            }
            Icon::Url(url) => serializer.serialize_str(url),
        }
    }
}

/// Serialises a packed value as the text it stands for.
pub(crate) struct AsText<'s, T>(pub &'s T);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(icon: &Icon<'_>) -> Option<String> {
        serde_json::from_str(&serde_json::to_string(&AsText(icon)).unwrap()).unwrap()
    }

    #[test]
    fn packs_what_is_hexadecimal() {
        let hex = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48";
        assert!(matches!(Identifier::pack(hex.into()), Identifier::Hex(_)));
        let uuid = "7f0b1ad5-e86a-4ef8-b6c4-0a3a1b6c1d2e";
        assert!(matches!(Identifier::pack(uuid.into()), Identifier::Uuid(_)));
        assert_eq!(Identifier::pack(uuid.into()).to_string(), uuid);
        let url = format!("https://cdn.zerion.io/{hex}.png");
        let icon = Icon::pack(Some(url.as_str().into()));
        assert!(matches!(icon, Icon::Zerion(_)));
        assert_eq!(shown(&icon), Some(url));
    }

    proptest! {
        #[test]
        fn comes_back_letter_for_letter(
            text in "(0x[0-9a-fA-F]{38,42}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\\PC{0,40})"
        ) {
            prop_assert_eq!(Identifier::pack(text.as_str().into()).to_string(), text.clone());
            for url in [text.clone(), format!("{ICON_PREFIX}{text}{ICON_SUFFIX}")] {
                prop_assert_eq!(shown(&Icon::pack(Some(url.as_str().into()))), Some(url));
            }
        }
    }
}
