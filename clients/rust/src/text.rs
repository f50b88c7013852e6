//! Makes the server's text safe for a terminal: a title may contain escape codes.

/// Replaces control characters and direction overrides, so that text cannot move the cursor or hide other text.
#[must_use]
pub fn sanitize(text: &str) -> String {
    text.chars().map(|each| if is_harmful(each) { '\u{fffd}' } else { each }).collect()
}

pub(crate) fn is_harmful(each: char) -> bool {
    each.is_control()
        || matches!(each, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::sanitize;

    #[test]
    fn escape_codes_and_overrides_are_replaced_but_letters_stay() {
        assert_eq!(sanitize("a\x1b[2Jb\u{9b}c\u{202e}d"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d");
        assert_eq!(sanitize("Träume – 夢 🎵"), "Träume – 夢 🎵");
    }
}
