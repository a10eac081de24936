//! A position with its value.

use std::{borrow::Cow, cmp::Ordering};

use crate::{
    amount::Amount,
    cursor::Cursor,
    holdings::{Holdings, Position},
    price::{Price, RejectReason},
    response::{Kind, Missing, PositionBody, PriceBody, TokenBody, UnpricedReason},
    scope::Part,
};

/// A position with all that is computed about it.
pub(super) struct ValuedPosition<'s> {
    pub part: Part,
    pub holdings: &'s Holdings<'s>,
    pub index: usize,
    pub position: &'s Position<'s>,
    pub price: Option<&'s Price>,
    /// Why its newest price is not used.
    pub refused: Option<RejectReason>,
    /// Price × quantity, not negative; or why there is none.
    pub value: Result<Amount, UnpricedReason>,
    pub kind: Kind,
}

impl<'s> ValuedPosition<'s> {
    /// Hidden positions are never counted in totals.
    pub fn hidden(&self) -> bool {
        !self.position.displayable || self.position.trash
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

    /// Returns it as it is answered.
    pub fn body(&'s self) -> PositionBody<'s> {
        let (holdings, position) = (self.holdings, self.position);
        let token = holdings.token(position);
        PositionBody {
            id: holdings.packed_id(position),
            r#type: holdings.types[position.kind as usize],
            kind: self.kind,
            chain: holdings.chain(token),
            name: holdings.names[position.name as usize],
            token: TokenBody {
                id: token.id.as_ref(),
                symbol: token.symbol,
                name: token.name,
                icon: &token.icon,
                address: token.address.as_ref(),
                decimals: token.decimals,
                verified: token.verified,
            },
            quantity: position.quantity.as_ref(),
            quantity_raw: position.quantity.as_ref(),
            value: self.value.as_ref().ok(),
            price: self.price.map(PriceBody::from),
            unpriced_reason: self.value.as_ref().err().copied(),
            displayable: position.displayable,
            trash: position.trash,
        }
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
