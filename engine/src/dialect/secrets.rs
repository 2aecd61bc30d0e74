//! Secrets in statements: found by their place among the tokens, so that no text that is shown, kept or sent holds one, even of a statement that does not parse.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::lexer::is_blank;

/// Stands for a secret.
pub(super) const SHOWN: &str = "'***'";

/// Places in `tokens` of what may be a secret: in `CREATE USER` and `ALTER USER` all texts but comments, and whatever follows the word `PASSWORD`.
pub(super) fn secrets_in(tokens: &[TokenWithSpan]) -> Vec<usize> {
    let words: Vec<(usize, &Token)> = tokens.iter().enumerate().map(|(i, t)| (i, &t.token)).filter(|(_, token)| !is_blank(token)).collect();
    let is = |at: usize, word: &str| words.get(at).is_some_and(|(_, token)| is_word(token, word));
    // `EXPLAIN CREATE USER …` and the like are refused, with their text.
    let Some(start) = (0..words.len().min(4)).find(|at| (is(*at, "CREATE") || is(*at, "ALTER")) && is(at + 1, "USER")) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (at, (place, token)) in words.iter().enumerate().skip(start + 3) {
        let after = |word: &str| is(at - 1, word) || (matches!(words.get(at - 1), Some((_, Token::Eq))) && is(at - 2, word));
        let is_clause = ["PASSWORD", "COMMENT", "SET", "ENABLE", "DISABLE"].iter().any(|word| is_word(token, word));
        if (is_text(token) && !after("COMMENT")) || (after("PASSWORD") && !is_clause && !is_variable(token)) {
            found.push(*place);
        }
    }
    found
}

/// Whether a statement holds a secret, or its result does.
pub(super) fn tells_secrets(tokens: &[TokenWithSpan]) -> bool {
    let words: Vec<&Token> = tokens.iter().map(|t| &t.token).filter(|token| !is_blank(token)).collect();
    let begins = |first: &str, second: &str| matches!(words.as_slice(), [a, b, ..] if is_word(a, first) && is_word(b, second));
    // A password may be a variable's value.
    let sets_password = (begins("CREATE", "USER") || begins("ALTER", "USER")) && words.iter().any(|token| is_word(token, "PASSWORD"));
    sets_password || begins("CREATE", "TOKEN") || !secrets_in(tokens).is_empty()
}

/// An error's message without the secrets of the statement that it is about.
pub(super) fn without_secrets(message: String, tokens: &[TokenWithSpan]) -> String {
    secrets_in(tokens).into_iter().filter_map(|place| tokens.get(place)).fold(message, |message, token| {
        let text = match &token.token {
            Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) | Token::UnicodeStringLiteral(text) => text.clone(),
            Token::DollarQuotedString(text) => text.value.clone(),
            Token::Word(word) => word.value.clone(),
            other => other.to_string(),
        };
        if text.is_empty() { message } else { message.replace(&text, "***") }
    })
}

fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

/// Begins `${name}`, or stands between the word and its value.
fn is_variable(token: &Token) -> bool {
    matches!(token, Token::Eq) || token.to_string() == "$"
}

fn is_text(token: &Token) -> bool {
    matches!(
        token,
        Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::TripleSingleQuotedString(_)
            | Token::TripleDoubleQuotedString(_)
            | Token::DollarQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::NationalStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::SingleQuotedByteStringLiteral(_)
            | Token::SingleQuotedRawStringLiteral(_)
    )
}

#[cfg(test)]
mod tests {
    use crate::dialect::{parse, split};

    #[test]
    fn texts_of_statements_hold_no_secrets() {
        for (sql, shown) in [
            ("CREATE USER ann PASSWORD 'hunter22' COMMENT 'an analyst'", "CREATE USER ann PASSWORD '***' COMMENT 'an analyst'"),
            ("create user if not exists ann\n  password E'hunter22'", "create user if not exists ann\n  password '***'"),
            ("ALTER USER ann SET PASSWORD 'hunter22'", "ALTER USER ann SET PASSWORD '***'"),
            ("ALTER USER ann SET PASSWORD = 'hunter22'", "ALTER USER ann SET PASSWORD = '***'"),
            ("ALTER USER ann SET PASSWORD hunter22", "ALTER USER ann SET PASSWORD '***'"),
            ("CREATE USER ann IDENTIFIED BY 'hunter22'", "CREATE USER ann IDENTIFIED BY '***'"),
            ("CREATE USER ann PASSWORD $$hunter22$$", "CREATE USER ann PASSWORD '***'"),
            ("EXPLAIN CREATE USER ann PASSWORD 'hunter22'", "EXPLAIN CREATE USER ann PASSWORD '***'"),
            ("CREATE USER 'hunter22' 'hunter22'", "CREATE USER 'hunter22' '***'"),
            ("SELECT 'hunter22'", "SELECT 'hunter22'"),
            ("ALTER USER ann /* why */ SET PASSWORD ${pw}", "ALTER USER ann /* why */ SET PASSWORD ${pw}"),
        ] {
            let statement = split(sql).unwrap().remove(0);
            assert_eq!(statement.text, shown);
        }
    }

    #[test]
    fn errors_hold_no_secrets() {
        for sql in [
            "CREATE USER ann 'hunter22'",
            "CREATE USER ann PASSWORD 'x1234567' 'hunter22'",
            "CREATE USER ann PASSWORD hunter22",
            "ALTER USER ann SET PASSWORD = 'hunter22'",
            "ALTER USER ann 'hunter22'",
            "CREATE USER ann IDENTIFIED BY 'hunter22'",
            "EXPLAIN ALTER USER ann SET PASSWORD 'hunter22' AND",
        ] {
            let statement = split(sql).unwrap().remove(0);
            let error = parse(&statement.tokens).unwrap_err();
            assert!(!format!("{error} {:?}", error.hint).contains("hunter22"), "{sql}: {error}");
        }
        let statement = split("CREATE USER ann PASSWORD 'hunter22'").unwrap().remove(0);
        assert!(!format!("{:?}", parse(&statement.tokens).unwrap()).contains("hunter22"));
    }
}
