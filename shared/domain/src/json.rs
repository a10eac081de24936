//! Writes JSON into one text, by hand where a general serialiser would take most
//! of an answer's time.

use serde::Serialize;

use crate::{
    amount::Amount,
    decimal::Decimal,
    holdings::PackedId,
    identifier::{ICON_PREFIX, ICON_SUFFIX, Icon, Identifier, MAX_TEXT},
    quantity::Quantity,
    timestamp::Timestamp,
};

/// Writes JSON behind a text.
pub(crate) struct JsonWriter<'o> {
    out: &'o mut String,
    /// The moment that was written last: prices of one fetch share theirs.
    moment: Option<(Timestamp, [u8; Timestamp::TEXT_LENGTH])>,
}

impl<'o> JsonWriter<'o> {
    /// Returns a writer that puts what it writes behind `out`.
    pub fn new(out: &'o mut String) -> Self {
        Self { out, moment: None }
    }

    /// Writes JSON as it stands.
    pub fn raw(&mut self, json: &str) {
        self.out.push_str(json);
    }

    /// Writes a value as serde does.
    ///
    /// # Errors
    /// When it does not serialise.
    pub fn value(&mut self, value: &impl Serialize) -> serde_json::Result<()> {
        self.out.push_str(&serde_json::to_string(value)?);
        Ok(())
    }

    /// Writes a string.
    pub fn text(&mut self, text: &str) {
        if is_plain(text) {
            self.quoted(|out| out.push_str(text));
        } else {
            // Strings always serialise.
            self.out
                .push_str(&serde_json::to_string(text).unwrap_or_default());
        }
    }

    /// Writes a string, or null.
    pub fn optional_text(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.text(text),
            None => self.raw("null"),
        }
    }

    /// Writes an identifier, or null.
    pub fn identifier(&mut self, id: Option<&Identifier<'_>>) {
        match id {
            Some(Identifier::Text(text)) => self.text(text),
            Some(packed) => {
                let mut buffer = [0; MAX_TEXT];
                let text = packed.text(&mut buffer);
                self.quoted(|out| out.push_str(text));
            }
            None => self.raw("null"),
        }
    }

    /// Writes a picture's URL, or null.
    pub fn icon(&mut self, icon: &Icon<'_>) {
        match icon {
            Icon::None => self.raw("null"),
            Icon::Url(url) => self.text(url),
            Icon::Zerion(name) => {
                let mut buffer = [0; MAX_TEXT];
                let name = name.text(&mut buffer);
                if is_plain(name) {
                    self.quoted(|out| {
                        out.push_str(ICON_PREFIX);
                        out.push_str(name);
                        out.push_str(ICON_SUFFIX);
                    });
                } else {
                    self.text(&[ICON_PREFIX, name, ICON_SUFFIX].concat());
                }
            }
        }
    }

    /// Writes a position's id.
    pub fn position_id(&mut self, id: &PackedId<'_, '_>) {
        self.checked(|out| id.write(out));
    }

    /// Writes an amount of money.
    pub fn amount(&mut self, amount: &Amount) {
        self.quoted(|out| amount.write(out));
    }

    /// Writes a number as text.
    pub fn decimal(&mut self, number: Decimal) {
        self.quoted(|out| number.write(out));
    }

    /// Writes a quantity's decimal amount.
    pub fn quantity(&mut self, quantity: &Quantity<'_>) {
        self.checked(|out| quantity.write(out));
    }

    /// Writes a quantity's base units, or null.
    pub fn base_units(&mut self, quantity: &Quantity<'_>) {
        self.optional_text(quantity.raw_text(&mut itoa::Buffer::new()));
    }

    /// Writes a moment.
    pub fn moment(&mut self, moment: Timestamp) {
        let known = self.moment.filter(|(known, _)| *known == moment);
        let text = known.map(|(_, text)| text).or_else(|| moment.text());
        let Some(text) = text else {
            return self.text(&moment.to_string());
        };
        self.moment = Some((moment, text));
        self.quoted(|out| out.push_str(str::from_utf8(&text).unwrap_or_default()));
    }

    /// Writes a whole number.
    pub fn number(&mut self, number: impl itoa::Integer) {
        self.out.push_str(itoa::Buffer::new().format(number));
    }

    /// Writes `true` or `false`.
    pub fn flag(&mut self, flag: bool) {
        self.raw(if flag { "true" } else { "false" });
    }

    /// Writes a string that is put together in place.
    fn checked<T>(&mut self, write: impl FnOnce(&mut String) -> T) {
        let start = self.out.len();
        self.quoted(write);
        let written = &self.out[start + 1..self.out.len() - 1];
        if !is_plain(written) {
            let text = written.to_owned();
            self.out.truncate(start);
            self.text(&text);
        }
    }

    fn quoted<T>(&mut self, write: impl FnOnce(&mut String) -> T) {
        self.out.push('"');
        // Writing to a string cannot fail.
        let _ = write(self.out);
        self.out.push('"');
    }
}

/// Returns whether a text stands in JSON as it is.
fn is_plain(text: &str) -> bool {
    // Without an early end, so that several bytes are looked at together.
    let special = |byte: u8| (byte < 0x20) | (byte == b'"') | (byte == b'\\');
    !text.bytes().fold(false, |any, byte| any | special(byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut JsonWriter<'_>)) -> String {
        let mut out = String::new();
        write(&mut JsonWriter::new(&mut out));
        out
    }

    proptest! {
        #[test]
        fn texts_are_written_as_serde_does(text in "[\\x00-\\x7f]{0,9}|\\PC{0,20}|[\"\\\\\\n]{1,4}") {
            prop_assert_eq!(written(|json| json.text(&text)), serde_json::to_string(&text).unwrap());
            let id = Identifier::pack(text.as_str().into());
            prop_assert_eq!(
                written(|json| json.identifier(Some(&id))),
                serde_json::to_string(&text).unwrap()
            );
            for url in [text.clone(), [ICON_PREFIX, &text, ICON_SUFFIX].concat()] {
                let icon = Icon::pack(Some(url.as_str().into()));
                prop_assert_eq!(written(|json| json.icon(&icon)), serde_json::to_string(&url).unwrap());
            }
        }

        #[test]
        fn moments_are_written_as_serde_does(millis in proptest::collection::vec(prop_oneof![any::<i64>(), 0_i64..3, -70_000_000_000_000_i64..260_000_000_000_000], 1..4)) {
            let moments: Vec<Timestamp> = millis.into_iter().map(Timestamp::from_millis).collect();
            let json = written(|json| {
                for moment in &moments {
                    json.moment(*moment);
                }
            });
            let expected: Vec<String> = moments.iter().map(|it| serde_json::to_string(it).unwrap()).collect();
            prop_assert_eq!(json, expected.concat());
        }
    }
}
