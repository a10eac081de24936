//! Buffers that the thread's next answer uses again. Fresh memory costs a fault for
//! each of its pages: a fifth of an answer of 300 positions.

use std::cell::Cell;

/// Larger buffers are not kept: few answers need them.
const MAX_KEPT: usize = 2 * 1024 * 1024;

thread_local! {
    static TEXT: Cell<String> = const { Cell::new(String::new()) };
    static BYTES: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Does `work` with an empty text.
pub(super) fn with_text<T>(work: impl FnOnce(&mut String) -> T) -> T {
    let mut text = TEXT.take();
    text.clear();
    let done = work(&mut text);
    if text.capacity() <= MAX_KEPT {
        TEXT.set(text);
    }
    done
}

/// Does `work` with no bytes.
pub(super) fn with_bytes<T>(work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let mut bytes = BYTES.take();
    bytes.clear();
    let done = work(&mut bytes);
    if bytes.capacity() <= MAX_KEPT {
        BYTES.set(bytes);
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_empty_however_it_was_left() {
        with_text(|text| text.push_str("left"));
        with_text(|text| assert!(text.is_empty() && text.capacity() >= 4));
        with_bytes(|bytes| bytes.extend([1, 2]));
        with_bytes(|bytes| assert!(bytes.is_empty() && bytes.capacity() >= 2));
    }

    #[test]
    fn buffers_inside_of_each_other_are_two() {
        with_text(|outer| {
            outer.push('a');
            with_text(|inner| inner.push('b'));
            assert_eq!(outer, "a");
        });
    }

    #[test]
    fn a_large_buffer_is_given_back() {
        with_bytes(|bytes| bytes.reserve(MAX_KEPT + 1));
        with_bytes(|bytes| assert!(bytes.capacity() <= MAX_KEPT));
    }
}
