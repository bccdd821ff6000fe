//! JSON as JavaScript writes it.

use serde_json::Value;

/// Reads a JSON text. A text that JavaScript has cut in the middle of a character holds half of a
/// surrogate pair, which it writes as an escape and no Unicode text can hold: it is replaced.
///
/// # Errors
/// What is wrong with the text.
pub fn parse(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(text).or_else(|error| match without_halves(text) {
        Some(mended) => serde_json::from_str(&mended),
        None => Err(error),
    })
}

/// The text with every half of a surrogate pair replaced; `None` where there is none.
fn without_halves(text: &str) -> Option<String> {
    let mut mended = String::new();
    let mut rest = text;
    let mut found = false;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        mended.push_str(before);
        let (kept, length) = match (unit(escape), unit(escape.get(6..).unwrap_or_default())) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (true, 12),
            (Some(0xd800..=0xdfff), _) => (false, 6),
            // An escaped backslash begins no other escape.
            _ => (true, escape.chars().take(2).map(char::len_utf8).sum()),
        };
        let (escape, after) = escape.split_at(length);
        mended.push_str(if kept { escape } else { "\\ufffd" });
        found |= !kept;
        rest = after;
    }
    mended.push_str(rest);
    found.then_some(mended)
}

/// The code unit of an escape such as `\ud83d` at the beginning of a text.
fn unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_a_character_are_replaced_and_nothing_else_is() {
        for (text, expected) in [
            (r#""a\ud83d""#, "a\u{fffd}"),
            (r#""\ude00b""#, "\u{fffd}b"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}\u{1f600}"),
            (r#""\ud83dé""#, "\u{fffd}é"),
            (r#""\\ud83d\ud83d\n""#, "\\ud83d\u{fffd}\n"),
            (r#""\ud83d\ude00""#, "\u{1f600}"),
        ] {
            assert_eq!(parse(text).ok(), Some(expected.into()), "{text}");
        }
        for broken in [r#""\ud83d"#, r#""\ud8""#, "\"\\", "\\", r#"{"a":"\ud83d"#] {
            assert!(parse(broken).is_err(), "{broken}");
        }
    }
}
