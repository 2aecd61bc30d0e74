//! Tokens back to SQL text that reads as the same tokens.
//!
//! sqlparser's own rendering leaves quotes inside of strings and names as they are: text made that way may not parse, or
//! parse as something else.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// The text of a run of tokens, comments and blanks included.
pub(crate) fn render(tokens: &[TokenWithSpan]) -> String {
    tokens.iter().map(|token| one(&token.token)).collect()
}

fn one(token: &Token) -> String {
    match token {
        // Escapes of E'…' and U&'…' are resolved in the token; a plain string holds any character.
        Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) | Token::UnicodeStringLiteral(text) => quoted(text, '\'', '\''),
        Token::Word(word) => match word.quote_style {
            Some(quote) => quoted(&word.value, quote, if quote == '[' { ']' } else { quote }),
            None => word.value.clone(),
        },
        other => other.to_string(),
    }
}

fn quoted(text: &str, open: char, close: char) -> String {
    let doubled = format!("{close}{close}");
    format!("{open}{}{close}", text.replace(close, &doubled))
}
