//! Script variables: `SET name = value`, `--set name=value`, `${name}`.
//!
//! A value is put in as tokens, never as text, so it can neither end a string nor start a statement: outside of quotes `${name}` becomes
//! one literal of the variable's type; inside a string or a quoted name its text becomes part of that string or name.

use std::collections::BTreeMap;
use std::fmt;

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan, Word};

use super::lexer::StatementText;
use crate::{Error, Position, Result};

/// A typed value of a script variable.
#[derive(Debug, Clone, PartialEq)]
pub enum Variable {
    /// SQL NULL.
    Null,
    /// TRUE or FALSE.
    Boolean(bool),
    /// A number in SQL's own notation, sign included.
    Number(String),
    /// Text.
    String(String),
    /// `YYYY-MM-DD`.
    Date(String),
    /// `YYYY-MM-DD HH:MM:SS[.ffffff]`.
    Timestamp(String),
}

impl Variable {
    /// Reads a value given on the command line: quoted text, TRUE, FALSE, NULL and plain numbers are what they look like; all else is text.
    pub fn from_argument(text: &str) -> Self {
        let trimmed = text.trim();
        if let Some(inner) = trimmed.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')).filter(|_| trimmed.len() >= 2) {
            return Self::String(inner.replace("''", "'"));
        }
        match trimmed.to_ascii_lowercase().as_str() {
            "true" => Self::Boolean(true),
            "false" => Self::Boolean(false),
            "null" => Self::Null,
            _ if is_number(trimmed) => Self::Number(trimmed.to_string()),
            _ => Self::String(text.to_string()),
        }
    }

    /// The tokens of the SQL literal.
    fn tokens(&self) -> Vec<Token> {
        let typed = |keyword: &str, text: &str| {
            vec![Token::make_keyword(keyword), Token::Whitespace(datafusion::sql::sqlparser::tokenizer::Whitespace::Space), string(text)]
        };
        match self {
            Self::Null => vec![Token::make_keyword("NULL")],
            Self::Boolean(true) => vec![Token::make_keyword("TRUE")],
            Self::Boolean(false) => vec![Token::make_keyword("FALSE")],
            Self::Number(text) => match text.strip_prefix('-') {
                Some(digits) => vec![Token::LParen, Token::Minus, Token::Number(digits.to_string(), false), Token::RParen],
                None => vec![Token::Number(text.clone(), false)],
            },
            Self::String(text) => vec![string(text)],
            Self::Date(text) => typed("DATE", text),
            Self::Timestamp(text) => typed("TIMESTAMP", text),
        }
    }

    /// The name of the value's SQL type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Boolean(_) => "BOOLEAN",
            Self::Number(_) => "NUMBER",
            Self::String(_) => "STRING",
            Self::Date(_) => "DATE",
            Self::Timestamp(_) => "TIMESTAMP",
        }
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Number(text) | Self::String(text) | Self::Date(text) | Self::Timestamp(text) => f.write_str(text),
        }
    }
}

/// The variables of a session. Those given on the command line win over a script's `SET` of the same name, so that a script's `SET` is
/// its default. Names are not case sensitive.
#[derive(Debug, Clone, Default)]
pub struct Variables {
    values: BTreeMap<String, Variable>,
    given: BTreeMap<String, Variable>,
}

impl Variables {
    /// A variable from outside, which no `SET` of a script changes.
    pub fn give(&mut self, name: &str, value: Variable) {
        self.given.insert(name.to_lowercase(), value);
    }

    /// A script's `SET`. Returns whether it took effect.
    pub fn set(&mut self, name: &str, value: Variable) -> bool {
        self.values.insert(name.to_lowercase(), value);
        !self.given.contains_key(&name.to_lowercase())
    }

    /// The value in force.
    pub fn get(&self, name: &str) -> Option<&Variable> {
        let name = name.to_lowercase();
        self.given.get(&name).or_else(|| self.values.get(&name))
    }

    /// All variables in force, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Variable)> {
        let mut all: BTreeMap<&str, &Variable> = self.values.iter().map(|(k, v)| (k.as_str(), v)).collect();
        all.extend(self.given.iter().map(|(k, v)| (k.as_str(), v)));
        all.into_iter()
    }

    /// The statement with every `${name}` replaced.
    ///
    /// # Errors
    /// A name that is not set (with the names that are), or `${` without a name and `}`.
    pub fn substitute(&self, statement: &StatementText) -> Result<Vec<TokenWithSpan>> {
        substitute(&statement.tokens, |name, position| {
            self.get(name).cloned().ok_or_else(|| {
                let known: Vec<_> = self.iter().map(|(k, _)| k).collect();
                let hint = if known.is_empty() {
                    format!("set it before use: SET {name} = …; or on the command line: --set {name}=…")
                } else {
                    format!("set it: --set {name}=… (set now: {})", known.join(", "))
                };
                Error::sql(format!("the variable ${{{name}}} is not set")).at(position).hint(hint)
            })
        })
    }
}

/// Splits `name=value` of the command line and types the value.
///
/// # Errors
/// No `=`, or a name that is not a plain identifier.
pub fn parse_assignment(text: &str) -> Result<(String, Variable), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("'{text}' is not of the form name=value"))?;
    let name = name.trim();
    if !is_name(name) {
        return Err(format!("'{name}' is not a variable name: letters, digits and _ only, not starting with a digit"));
    }
    Ok((name.to_lowercase(), Variable::from_argument(value)))
}

fn substitute(tokens: &[TokenWithSpan], value_of: impl Fn(&str, Option<Position>) -> Result<Variable>) -> Result<Vec<TokenWithSpan>> {
    let mut out = Vec::with_capacity(tokens.len());
    let mut i = 0;
    while i < tokens.len() {
        let token = &tokens[i];
        match &token.token {
            Token::Placeholder(text) if text == "$" && matches!(tokens.get(i + 1).map(|t| &t.token), Some(Token::LBrace)) => {
                let position = Position::of_span(token.span);
                let (Some(Token::Word(name)), Some(Token::RBrace)) =
                    (tokens.get(i + 2).map(|t| &t.token), tokens.get(i + 3).map(|t| &t.token))
                else {
                    return Err(Error::sql("${ must be followed by a variable's name and }").at(position));
                };
                let value = value_of(&name.value, position)?;
                let span = Span { start: token.span.start, end: tokens[i + 3].span.end };
                out.extend(value.tokens().into_iter().map(|token| TokenWithSpan { token, span }));
                i += 4;
                continue;
            }
            Token::SingleQuotedString(text) if text.contains("${") => {
                let text = interpolate(text, Position::of_span(token.span), &value_of)?;
                out.push(TokenWithSpan { token: Token::SingleQuotedString(text), span: token.span });
            }
            Token::EscapedStringLiteral(text) if text.contains("${") => {
                let text = interpolate(text, Position::of_span(token.span), &value_of)?;
                out.push(TokenWithSpan { token: Token::SingleQuotedString(text), span: token.span });
            }
            Token::DollarQuotedString(text) if text.value.contains("${") => {
                return Err(Error::sql("a variable inside of $$ … $$ is not filled in")
                    .at(Position::of_span(token.span))
                    .hint("write the string in single quotes"));
            }
            Token::Word(word) if word.quote_style.is_some() && word.value.contains("${") => {
                let value = interpolate(&word.value, Position::of_span(token.span), &value_of)?;
                let word = Word { value, quote_style: word.quote_style, keyword: Keyword::NoKeyword };
                out.push(TokenWithSpan { token: Token::Word(word), span: token.span });
            }
            _ => out.push(token.clone()),
        }
        i += 1;
    }
    Ok(out)
}

/// Replaces `${name}` in the text of a string or quoted name; `$${` stands for a plain `${`.
fn interpolate(text: &str, position: Option<Position>, value_of: &impl Fn(&str, Option<Position>) -> Result<Variable>) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            out.push_str(&rest[..at]);
            out.push('{');
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let inner = &rest[at + 2..];
        let name = inner.split_once('}').map(|(name, _)| name).filter(|name| is_name(name)).ok_or_else(|| {
            Error::sql("${ in a string must be followed by a variable's name and }").at(position).hint("write $${ for a plain ${")
        })?;
        out.push_str(&value_of(name, position)?.to_string());
        rest = &inner[name.len() + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

fn string(text: &str) -> Token {
    Token::SingleQuotedString(text.to_string())
}

fn is_name(text: &str) -> bool {
    text.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_') && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// Plain decimal notation; a leading zero (`007`) or a bare sign means text.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(w, f)| (w, Some(f)));
    let all_digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    all_digits(whole) && (whole == "0" || !whole.starts_with('0')) && fraction.is_none_or(all_digits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dialect::split;

    fn render(sql: &str, variables: &Variables) -> Result<String> {
        let statement = split(sql)?.remove(0);
        Ok(crate::dialect::render::render(&variables.substitute(&statement)?))
    }

    fn with(name: &str, value: &str) -> Variables {
        let mut variables = Variables::default();
        variables.give(name, Variable::from_argument(value));
        variables
    }

    #[test]
    fn types_command_line_values() {
        for (text, expected) in [
            ("12", Variable::Number("12".into())),
            ("-1.50", Variable::Number("-1.50".into())),
            ("007", Variable::String("007".into())),
            ("1e5", Variable::String("1e5".into())),
            ("'12'", Variable::String("12".into())),
            ("TRUE", Variable::Boolean(true)),
            ("null", Variable::Null),
            ("data/*.parquet", Variable::String("data/*.parquet".into())),
            ("", Variable::String(String::new())),
        ] {
            assert_eq!(Variable::from_argument(text), expected, "{text}");
        }
    }

    #[test]
    fn replaces_outside_and_inside_of_quotes() {
        assert_eq!(render("SELECT ${x}", &with("x", "-3")).unwrap(), "SELECT (-3)");
        assert_eq!(render("SELECT ${X}", &with("x", "o'k")).unwrap(), "SELECT 'o''k'");
        assert_eq!(render("SELECT 'a/${x}/b'", &with("x", "c'd")).unwrap(), "SELECT 'a/c'd/b'".replace("c'd", "c''d"));
        assert_eq!(render("SELECT '$${x}'", &with("x", "1")).unwrap(), "SELECT '${x}'");
        assert_eq!(render("SELECT \"col_${x}\"", &with("x", "1")).unwrap(), "SELECT \"col_1\"");
    }

    #[test]
    fn names_the_unset_variable_and_its_place() {
        let error = render("SELECT\n  ${missing}", &with("source", "a")).unwrap_err();
        assert_eq!(error.position, Some(Position { line: 2, column: 3 }));
        assert!(error.message.contains("${missing}") && error.hint.unwrap().contains("source"));
    }

    #[test]
    fn given_values_win_over_set() {
        let mut variables = with("x", "1");
        assert!(!variables.set("X", Variable::Number("2".into())));
        assert!(variables.set("y", Variable::Null));
        assert_eq!(variables.get("x"), Some(&Variable::Number("1".into())));
        assert_eq!(variables.iter().count(), 2);
    }

    proptest! {
        /// Whatever a value holds, a statement keeps its number of tokens and the value comes back unchanged.
        #[test]
        fn a_string_value_cannot_inject(value in "\\PC{0,40}") {
            let mut variables = Variables::default();
            variables.give("v", Variable::String(value.clone()));
            let statement = split("SELECT ${v}, 'x${v}y' FROM t").unwrap().remove(0);
            let tokens = variables.substitute(&statement).unwrap();
            let strings: Vec<_> = tokens.iter().filter_map(|t| match &t.token {
                Token::SingleQuotedString(s) => Some(s.clone()),
                _ => None,
            }).collect();
            prop_assert_eq!(strings, vec![value.clone(), format!("x{value}y")]);
            // Written out as SQL and read again it is still one statement with the same literal.
            let text = crate::dialect::render::render(&tokens);
            let again = split(&text).unwrap();
            prop_assert_eq!(again.len(), 1);
            let literal = again[0].tokens.iter().find_map(|t| match &t.token { Token::SingleQuotedString(s) => Some(s.clone()), _ => None });
            prop_assert_eq!(literal, Some(value));
        }
    }
}
