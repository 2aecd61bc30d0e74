//! Keys with a salt behind them, `key#17`, and the keys alone.

/// `text` without its last `#` and the digits behind it; as it is, where it does not end so.
pub fn without_salt(text: &str) -> &str {
    let key = text.trim_end_matches(|c: char| c.is_ascii_digit());
    match key.strip_suffix('#') {
        Some(stripped) if key.len() < text.len() => stripped,
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_a_last_number_is_a_salt() {
        for (salted, key) in
            [("a#1", "a"), ("a#1#22", "a#1"), ("#0", ""), ("a#", "a#"), ("a1", "a1"), ("a#1x", "a#1x"), ("", ""), ("12", "12")]
        {
            assert_eq!(without_salt(salted), key, "{salted}");
        }
    }

    proptest! {
        #[test]
        fn takes_off_what_was_put_on(key in ".*", salt in 0u32..70_000) {
            let salted = format!("{key}#{salt}");
            prop_assert_eq!(without_salt(&salted), key);
        }
    }
}
