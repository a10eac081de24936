//! A position with its value.

use std::{borrow::Cow, cmp::Ordering};

use crate::{
    amount::Amount,
    cursor::Cursor,
    holdings::{Holdings, Position},
    price::Price,
    price::RejectReason,
    response::{Kind, Missing, UnpricedReason},
    scope::Part,
};

/// A position with all that is computed about it.
pub(super) struct ValuedPosition<'s, 'a> {
    pub part: Part,
    pub holdings: &'s Holdings<'a>,
    pub index: usize,
    pub position: &'s Position<'a>,
    pub price: Option<&'s Price>,
    /// Why its newest price is not used.
    pub refused: Option<RejectReason>,
    /// Price × quantity, not negative; or why there is none.
    pub value: Result<Amount, UnpricedReason>,
    pub kind: Kind,
}

impl<'s> ValuedPosition<'s, '_> {
    /// Hidden positions are never counted in totals.
    pub fn hidden(&self) -> bool {
        !self.position.displayable || self.position.trash
    }

    /// The value with the sign of its kind: the one place where debt is
    /// negated.
    pub fn signed(&self) -> Option<Amount> {
        let value = self.value.as_ref().ok()?;
        Some(match self.kind {
            Kind::Asset => value.clone(),
            Kind::Debt => value.negated(),
        })
    }

    pub fn id(&self) -> Cow<'s, str> {
        self.holdings.position_id(self.position)
    }

    pub fn refused_price(&self, reason: RejectReason) -> Missing<'s> {
        let token = self.holdings.token(self.position);
        let id = token.id.as_ref().or(token.address.as_ref());
        Missing {
            what: "price",
            chain: Some(Cow::Borrowed(self.holdings.chain(token))),
            token: Some(id.map_or(Cow::Borrowed(token.symbol), |id| id.to_string().into())),
            reason: reason.into(),
        }
    }

    /// Largest value first, unpriced last, ties by id.
    pub fn order(&self, other: &Self) -> Ordering {
        by_value(self.value.as_ref().ok(), other.value.as_ref().ok()).then_with(|| {
            if self.part == other.part {
                // Positions are stored ordered by id.
                self.index.cmp(&other.index)
            } else {
                self.id().cmp(&other.id()).then(self.part.cmp(&other.part))
            }
        })
    }

    pub fn follows(&self, cursor: &Cursor) -> Ordering {
        by_value(self.value.as_ref().ok(), cursor.value.as_ref())
            .then_with(|| self.id().as_ref().cmp(&cursor.id))
    }
}

fn by_value(a: Option<&Amount>, b: Option<&Amount>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => b.cmp(a),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}
