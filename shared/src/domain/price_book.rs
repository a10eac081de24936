//! The shared price book: what is priced once for all wallets.
//!
//! Its prices are spread over pages by a hash, and refreshed a page at a time:
//! whoever finds a page stale asks, with the one request that it makes anyway,
//! for everything on it that anybody wanted lately. How many requests there
//! are then depends on the number of pages, not on the number of wallets.

use std::{fmt, str::FromStr, time::Duration};

use xxhash_rust::xxh3::xxh3_64;

use super::{price::CmcId, provider::Provider};
use crate::clock::Timestamp;

/// Pages per shelf and currency.
pub const PAGES: u8 = 64;

/// What the book has a price of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QuoteKey {
    /// A coin that CoinMarketCap lists.
    Listed(CmcId),
    /// A token that it does not, by the fallback's `chain:contract`.
    Unlisted(String),
}

impl QuoteKey {
    /// Reads what `Display` wrote; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        if text.contains(':') {
            return Some(Self::Unlisted(text.to_owned()));
        }
        text.parse().ok().map(|id| Self::Listed(CmcId(id)))
    }

    /// The page that it stands on.
    pub fn page(&self) -> Page {
        let hash = xxh3_64(self.to_string().as_bytes());
        Page {
            shelf: match self {
                Self::Listed(_) => Shelf::Listed,
                Self::Unlisted(_) => Shelf::Unlisted,
            },
            number: u8::try_from(hash % u64::from(PAGES)).unwrap_or_default(),
        }
    }
}

impl fmt::Display for QuoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listed(id) => write!(f, "{}", id.0),
            Self::Unlisted(name) => f.write_str(name),
        }
    }
}

/// Whose prices a page holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shelf {
    /// CoinMarketCap's.
    Listed,
    /// The fallback's.
    Unlisted,
}

impl Shelf {
    /// Returns the provider that is asked for its prices.
    pub fn provider(self) -> Provider {
        match self {
            Self::Listed => Provider::CoinMarketCap,
            Self::Unlisted => Provider::DefiLlama,
        }
    }
}

/// A page of the book, in some currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Page {
    /// On which shelf.
    pub shelf: Shelf,
    /// From 0 to [`PAGES`] - 1.
    pub number: u8,
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shelf {
            Shelf::Listed => write!(f, "{:02}", self.number),
            Shelf::Unlisted => write!(f, "u{:02}", self.number),
        }
    }
}

impl FromStr for Page {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (shelf, number) = match text.strip_prefix('u') {
            Some(number) => (Shelf::Unlisted, number),
            None => (Shelf::Listed, text),
        };
        let number = number.parse().ok().filter(|number| *number < PAGES);
        number.map(|number| Self { shelf, number }).ok_or(())
    }
}

/// A stretch of five minutes. What is wanted is noted per stretch, so that
/// what nobody wants any more is forgotten by dropping old stretches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DemandWindow(pub i64);

impl DemandWindow {
    const LENGTH: Duration = Duration::from_secs(300);
    /// Older slots than the one this many back are forgotten: what was wanted
    /// in the last ten minutes is always kept, and nothing for longer than
    /// fifteen.
    const KEPT: i64 = 2;

    /// The slot of a moment.
    pub fn of(time: Timestamp) -> Self {
        Self(
            time.as_secs()
                .div_euclid(i64::try_from(Self::LENGTH.as_secs()).unwrap_or(i64::MAX)),
        )
    }

    /// The last slots that count no more in this one.
    pub fn expired(self) -> impl Iterator<Item = Self> {
        (1..=20).map(move |back| Self(self.0 - Self::KEPT - back))
    }

    /// Whether what was wanted in this slot still counts in slot `now`.
    pub fn is_live_in(self, now: Self) -> bool {
        self.0 >= now.0 - Self::KEPT
    }

    /// Whether what was wanted in this slot need not be noted again in `now`.
    pub fn is_current_in(self, now: Self) -> bool {
        self.0 >= now.0 - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back_and_keep_their_page() {
        let unlisted = QuoteKey::Unlisted("base:0xa".to_owned());
        for key in [QuoteKey::Listed(CmcId(1027)), unlisted] {
            assert_eq!(QuoteKey::parse(&key.to_string()), Some(key.clone()));
            assert!(key.page().number < PAGES);
        }
        assert_eq!(QuoteKey::parse("expires_at"), None);
        assert_eq!("u07".parse::<Page>().unwrap().to_string(), "u07");
        assert!("64".parse::<Page>().is_err());
        // Where a key stands must not change between versions.
        assert_eq!(QuoteKey::Listed(CmcId(1027)).page().to_string(), "04");
    }

    #[test]
    fn wants_last_ten_to_fifteen_minutes() {
        let slot = |seconds: i64| DemandWindow::of(Timestamp::from_millis(seconds * 1000));
        let noted = slot(299);
        assert!(noted.is_current_in(slot(599)) && !noted.is_current_in(slot(600)));
        assert!(noted.is_live_in(slot(899)) && !noted.is_live_in(slot(900)));
    }
}
