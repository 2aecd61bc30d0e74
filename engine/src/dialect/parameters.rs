//! Parameters of a statement: `?`, `$1` or `$name`. Their values come beside the text and never become text.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::lexer::StatementText;
use crate::{Error, Position, Result};

/// Largest number of a parameter.
const LARGEST_NUMBER: usize = 65_535;

/// The parameters of a statement: `1`, `2` … up to the largest number, or names in the order in which they first stand.
///
/// # Errors
/// Parameters of several kinds, or a number that cannot be one.
pub fn parameters(statement: &StatementText) -> Result<Vec<String>> {
    let mut tokens = statement.tokens.clone();
    number(&mut tokens)?;
    let mut largest = 0;
    let mut names: Vec<String> = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        let Some(name) = name_of(&tokens, i) else { continue };
        let position = Position::of_span(token.span);
        if name.bytes().all(|b| b.is_ascii_digit()) {
            let number = name.parse().ok().filter(|number| (1..=LARGEST_NUMBER).contains(number));
            let number =
                number.ok_or_else(|| Error::sql(format!("${name} is no parameter")).at(position).hint("parameters are $1, $2, …"))?;
            largest = largest.max(number);
        } else if !names.iter().any(|known| known == name) {
            names.push(name.to_string());
        }
        if largest > 0 && !names.is_empty() {
            return Err(Error::sql("a statement has numbered or named parameters, not both").at(position));
        }
    }
    if largest > 0 { Ok((1..=largest).map(|number| number.to_string()).collect()) } else { Ok(names) }
}

/// Gives each `?` its number: `? … ?` becomes `$1 … $2`.
pub(super) fn number(tokens: &mut [TokenWithSpan]) -> Result<()> {
    let has_others = (0..tokens.len()).any(|i| name_of(tokens, i).is_some());
    let mut marks = 0;
    for token in tokens {
        let Token::Placeholder(text) = &mut token.token else { continue };
        let Some(digits) = text.strip_prefix('?') else { continue };
        if has_others || !digits.is_empty() {
            return Err(Error::sql(format!("the parameter {text} stands beside parameters of another kind"))
                .at(Position::of_span(token.span))
                .hint("write all of them as ?, as $1, $2, … or as $name"));
        }
        marks += 1;
        *text = format!("${marks}");
    }
    Ok(())
}

/// The name of the parameter at a place, without its `$`; `${name}` is a variable.
fn name_of(tokens: &[TokenWithSpan], i: usize) -> Option<&str> {
    match &tokens[i].token {
        Token::Placeholder(text) => text.strip_prefix('$').filter(|name| !name.is_empty()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::split;

    fn of(sql: &str) -> Result<Vec<String>> {
        parameters(&split(sql).unwrap()[0])
    }

    #[test]
    fn are_numbered_or_named() {
        assert_eq!(of("SELECT ?, '?', ? -- ?").unwrap(), ["1", "2"]);
        assert_eq!(of("SELECT $2, $1, $2").unwrap(), ["1", "2"]);
        assert_eq!(of("SELECT $b, ${v}, $a, $b").unwrap(), ["b", "a"]);
        assert_eq!(of("SELECT '${x}', a FROM t").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn of_several_kinds_are_refused() {
        for sql in ["SELECT ?, $1", "SELECT $1, $name", "SELECT $0", "SELECT $99999999999999999999", "SELECT ?7"] {
            assert!(of(sql).unwrap_err().position.is_some(), "{sql}");
        }
    }
}
