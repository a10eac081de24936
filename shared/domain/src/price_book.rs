//! The shared price book: what is priced once for all wallets.
//!
//! Its prices are spread over pages by a hash. One process at a time refreshes
//! those of one provider in one currency: it asks for what it needs and, with the
//! room that is left in the request, for the oldest of what else was wanted lately.
//! How many requests there are then depends on the number of tokens, not on the
//! number of wallets.

use std::{fmt, str::FromStr, time::Duration};

use xxhash_rust::xxh3::xxh3_64;

use crate::{price::CmcId, provider::Provider, timestamp::Timestamp};

/// Pages per provider and currency.
pub const PAGES: u8 = 16;

/// What a provider calls an asset.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QuoteId {
    /// A number, such as CoinMarketCap's ids.
    Number(u32),
    /// A text, such as `chain:contract`.
    Text(String),
}

impl QuoteId {
    /// Reads what `Display` wrote: digits are a number.
    pub fn of(text: &str) -> Self {
        match text.parse::<u32>() {
            Ok(number) if number.to_string() == text => Self::Number(number),
            _ => Self::Text(text.to_owned()),
        }
    }
}

impl fmt::Display for QuoteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(id) => write!(f, "{id}"),
            Self::Text(name) => f.write_str(name),
        }
    }
}

/// What the book has a price of: an asset as one provider knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuoteKey {
    /// The provider that is asked for it.
    pub provider: Provider,
    /// What that calls it.
    pub id: QuoteId,
}

impl QuoteKey {
    /// Returns the key of a coin that CoinMarketCap lists.
    pub fn cmc(id: CmcId) -> Self {
        Self {
            provider: Provider::CoinMarketCap,
            id: QuoteId::Number(id.0),
        }
    }

    /// Reads what a key's `Display` wrote on one of the provider's pages.
    pub fn parse(provider: Provider, text: &str) -> Self {
        Self {
            provider,
            id: QuoteId::of(text),
        }
    }

    /// Returns the page that it stands on.
    pub fn page(&self) -> Page {
        let hash = xxh3_64(self.to_string().as_bytes());
        Page {
            provider: self.provider,
            number: u8::try_from(hash % u64::from(PAGES)).unwrap_or_default(),
        }
    }
}

impl fmt::Display for QuoteKey {
    /// Writes the id alone: on a page all keys are of one provider.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

/// A page of the book, in some currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Page {
    /// Whose prices it holds.
    pub provider: Provider,
    /// From 0 to [`PAGES`] - 1.
    pub number: u8,
}

impl Page {
    /// Returns all pages of a provider.
    pub fn all(provider: Provider) -> impl Iterator<Item = Self> {
        (0..PAGES).map(move |number| Self { provider, number })
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:02}", self.provider.page_prefix(), self.number)
    }
}

impl FromStr for Page {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let of = |provider: Provider| {
            let number = text.strip_prefix(provider.page_prefix())?;
            let digits = number.bytes().all(|digit| digit.is_ascii_digit());
            let number = number.parse().ok().filter(|it| digits && *it < PAGES)?;
            Some(Self { provider, number })
        };
        Provider::ALL.into_iter().find_map(of).ok_or(())
    }
}

/// Some pages of one provider, as a bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageSet(pub u64);

impl PageSet {
    /// Returns whether a page is among them.
    pub fn contains(self, page: Page) -> bool {
        self.0 & Self::bit(page) != 0
    }

    fn bit(page: Page) -> u64 {
        1_u64.checked_shl(page.number.into()).unwrap_or_default()
    }
}

impl FromIterator<Page> for PageSet {
    fn from_iter<T: IntoIterator<Item = Page>>(pages: T) -> Self {
        let bits = pages.into_iter().map(Self::bit);
        Self(bits.fold(0, |all, bit| all | bit))
    }
}

/// A stretch of five minutes, by its number. A price that is wanted is noted with
/// the stretch in which it was; what was wanted long ago is refreshed no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DemandWindow(pub i64);

impl DemandWindow {
    const LENGTH: Duration = Duration::from_secs(300);
    /// Notes of windows further back than this do not count: what was wanted
    /// in the last ten minutes is always kept, and nothing for longer than
    /// fifteen.
    const KEPT: i64 = 2;
    /// No note counts for longer than this.
    pub const KEPT_FOR: Duration = Duration::from_secs(900);

    /// Returns the window of a moment.
    pub fn of(time: Timestamp) -> Self {
        Self(
            time.as_secs()
                .div_euclid(i64::try_from(Self::LENGTH.as_secs()).unwrap_or(i64::MAX)),
        )
    }

    /// Returns whether what was wanted in this window still counts in `now`.
    pub fn is_live_in(self, now: Self) -> bool {
        self.0 >= now.0 - Self::KEPT
    }

    /// Returns whether what was wanted in this window need not be noted again in
    /// `now`.
    pub fn is_current_in(self, now: Self) -> bool {
        self.0 >= now.0 - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back_and_keep_their_page() {
        let text = QuoteKey {
            provider: Provider::DefiLlama,
            id: QuoteId::Text("base:0xa".to_owned()),
        };
        for key in [QuoteKey::cmc(CmcId(1027)), text] {
            assert_eq!(QuoteKey::parse(key.provider, &key.to_string()), key);
            assert!(key.page().number < PAGES);
        }
        // Where a key stands must not change between versions.
        assert_eq!(QuoteKey::cmc(CmcId(1027)).page().to_string(), "04");
        let seventh = Page {
            provider: Provider::DefiLlama,
            number: 7,
        };
        assert_eq!(seventh.to_string(), "u07");
        assert_eq!("u07".parse::<Page>(), Ok(seventh));
        assert_eq!("04".parse(), Ok(QuoteKey::cmc(CmcId(1027)).page()));
        assert!("16".parse::<Page>().is_err() && "+1".parse::<Page>().is_err());
    }

    #[test]
    fn only_plain_digits_are_a_number() {
        assert_eq!(QuoteId::of("1027"), QuoteId::Number(1027));
        for text in ["01027", "+1", "4294967296", "", "base:1"] {
            assert_eq!(QuoteId::of(text), QuoteId::Text(text.to_owned()));
            assert_eq!(QuoteId::of(text).to_string(), text);
        }
    }

    #[test]
    fn sets_of_pages_tell_their_pages() {
        let all: Vec<Page> = Page::all(Provider::CoinMarketCap).collect();
        let some: PageSet = [all[0], all[15]].into_iter().collect();
        let told = all.iter().filter(|page| some.contains(**page));
        assert_eq!(told.count(), 2);
        assert_eq!(some, PageSet(1 << 15 | 1));
        let twice: PageSet = [all[3], all[3]].into_iter().collect();
        assert_eq!(twice, PageSet(1 << 3));
    }

    #[test]
    fn wants_last_ten_to_fifteen_minutes() {
        let window = |seconds: i64| DemandWindow::of(Timestamp::from_millis(seconds * 1000));
        let noted = window(299);
        assert!(noted.is_current_in(window(599)) && !noted.is_current_in(window(600)));
        assert!(noted.is_live_in(window(899)) && !noted.is_live_in(window(900)));
    }
}
