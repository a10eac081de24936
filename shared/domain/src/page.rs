//! Cutting a page out of all positions.

use std::cmp::Ordering;

use crate::{cursor::Cursor, query::Query, valued_position::ValuedPosition};

/// Returns the page of `listed` that starts where the query says, in order, with at
/// most `limit` positions; and where the next one starts, if there is one.
pub(super) fn cut<'v>(
    mut listed: Vec<&'v ValuedPosition<'v>>,
    query: &Query,
    limit: u32,
) -> (Vec<&'v ValuedPosition<'v>>, Option<String>) {
    let limit = limit as usize;
    let before = match &query.cursor {
        Some(cursor) => skip_to(&mut listed, cursor),
        None => 0,
    };
    if listed.len() <= limit {
        listed.sort_unstable_by(|a, b| a.order(b));
        return (listed, None);
    }
    // Only what is on the page is put in order.
    listed.select_nth_unstable_by(limit, |a, b| a.order(b));
    listed.truncate(limit);
    listed.sort_unstable_by(|a, b| a.order(b));
    let next = listed.last().map(|last| {
        let mut cursor = Cursor {
            value: last.value.as_ref().ok().cloned(),
            id: last.id().into_owned(),
            ordinal: 0,
        };
        // Those of the same value and id: on this page, and on the ones before if
        // it has no other.
        let alike = listed.iter().rev();
        let alike = alike.take_while(|one| one.follows(&cursor) == Ordering::Equal);
        let alike = alike.count();
        let earlier = match &query.cursor {
            Some(start) if alike == listed.len() && same(start, &cursor) => before,
            _ => 0,
        };
        cursor.ordinal = u32::try_from(earlier + alike - 1).unwrap_or(0);
        cursor.to_text(&query.selection())
    });
    (listed, next)
}

/// Removes what comes before the page that starts after `cursor`. Returns how many
/// of those removed have the cursor's value and id.
fn skip_to(listed: &mut Vec<&ValuedPosition<'_>>, cursor: &Cursor) -> usize {
    let mut alike = Vec::new();
    listed.retain(|one| match one.follows(cursor) {
        Ordering::Less => false,
        Ordering::Equal => {
            alike.push(*one);
            false
        }
        Ordering::Greater => true,
    });
    alike.sort_unstable_by(|a, b| a.order(b));
    let seen = (cursor.ordinal as usize).saturating_add(1).min(alike.len());
    listed.extend(alike.drain(seen..));
    seen
}

fn same(a: &Cursor, b: &Cursor) -> bool {
    a.value == b.value && a.id == b.id
}
