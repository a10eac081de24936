//! The page cursor.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use portfolio::domain::{
    address::Address, amount::Amount, cursor::Cursor, query::Query, scope::Scope,
};
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::{ADDRESS, wallet};

/// Longer ones are not read.
const LONGEST: usize = 8192;

/// Any bytes as a cursor, and their lines as what a cursor is made of: value,
/// ordinal, id.
pub fn cursor(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    read(text);
    read(&URL_SAFE_NO_PAD.encode(bytes));
    let (value, rest) = text.split_once('\n').unwrap_or((text, ""));
    let (ordinal, id) = rest.split_once('\n').unwrap_or((rest, ""));
    let ordinal = ordinal.parse().unwrap_or(0);
    let value = (value != "-").then_some(value);
    forged(value, ordinal, id);
    if let Some(value) = value.map_or(Some(None), |value| Amount::parse(value).map(Some)) {
        for value in [value.as_ref().map(Amount::negated), value] {
            given_out(&Cursor {
                value,
                id: id.to_owned(),
                ordinal,
            });
        }
    }
}

fn query(scope: Scope) -> Query {
    Query::all(Address::parse(ADDRESS).expect("an address"), scope)
}

/// A text as a client sends it. What it is read as does not depend on the way,
/// and is read again from what is given out for it.
fn read(text: &str) -> Option<Cursor> {
    let query = query(Scope::Aggregate);
    let cursor = Cursor::parse(text, &query.selection()).ok();
    let asked = Query::parse(query.address.clone(), query.scope, [("cursor", text)]);
    assert_eq!(asked.ok().and_then(|asked| asked.cursor), cursor);
    if let Some(cursor) = &cursor {
        given_out(cursor);
        wallet::page_of_sample(&Query {
            cursor: Some(cursor.clone()),
            limit: 2,
            ..query
        });
    }
    cursor
}

/// A cursor comes back from its text, for the same selection alone.
fn given_out(cursor: &Cursor) {
    let own = query(Scope::Aggregate);
    let text = cursor.to_text(&own.selection());
    if text.len() <= LONGEST {
        assert_eq!(Cursor::parse(&text, &own.selection()).as_ref(), Ok(cursor));
        assert!(Cursor::parse(&text, &query(Scope::Defi).selection()).is_err());
    }
}

/// What a cursor's text is made of. The checksum keeps guessed texts out and
/// is no secret: it must not be all that keeps bad ones from doing harm.
#[derive(Serialize)]
struct Forged<'f> {
    version: u8,
    selection: u64,
    value: Option<&'f str>,
    id: &'f str,
    ordinal: u32,
    checksum: u64,
}

/// A cursor that the service did not give out, with the right checksum.
fn forged(value: Option<&str>, ordinal: u32, id: &str) -> Option<Cursor> {
    let selection = xxh3_64(query(Scope::Aggregate).selection().as_bytes());
    let checked = format!("1 {selection} {value:?} {id} {ordinal}");
    let packed = postcard::to_allocvec(&Forged {
        version: 1,
        selection,
        value,
        id,
        ordinal,
        checksum: xxh3_64(checked.as_bytes()),
    });
    read(&URL_SAFE_NO_PAD.encode(packed.expect("there is memory")))
}

/// A cursor that is read as it is: a seed of [`cursor`].
pub fn whole_seed() -> String {
    let cursor = Cursor {
        value: Amount::parse("3961.71"),
        id: "base-ethereum-asset-asset".to_owned(),
        ordinal: 0,
    };
    cursor.to_text(&query(Scope::Aggregate).selection())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds;

    #[test]
    fn seeds_are_read() {
        for (name, bytes) in seeds::of("cursor") {
            cursor(&bytes);
            let text = str::from_utf8(&bytes).expect("text");
            assert_eq!(read(text).is_some(), name.starts_with("whole-"), "{name}");
        }
    }

    /// Else nothing that is forged would get past the checksum.
    #[test]
    fn forged_cursors_look_like_real_ones() {
        let real = Cursor {
            value: Amount::parse("12.5"),
            id: "base-ethereum-asset-asset".to_owned(),
            ordinal: 3,
        };
        assert_eq!(forged(Some("12.5"), 3, &real.id), Some(real));
        assert!(forged(None, 0, "").is_some());
        assert_eq!(forged(Some("12,5"), 0, ""), None);
    }
}
