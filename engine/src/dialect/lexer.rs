//! Cuts a script into statements of positioned tokens. `${name}` stays as three tokens here; `variables` replaces it.

use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, TokenizerError, Whitespace};

use super::secrets;
use super::sql_dialect::OrreryDialect;
use crate::{Error, Position, Result};

/// One statement of a script as it was written.
#[derive(Debug, Clone)]
pub struct StatementText {
    /// The statement's own text, without the semicolon and the comments before it. Secrets are left out; only the tokens hold them.
    pub text: String,
    /// Where its first token stands.
    pub position: Position,
    /// Its tokens with positions in the whole script, comments and blanks included.
    pub tokens: Vec<TokenWithSpan>,
}

impl StatementText {
    /// The statement as it stands in its script, secrets included; for whoever passes it on.
    pub fn source_in<'a>(&self, script: &'a str) -> &'a str {
        let (Some(first), Some(last)) = (self.tokens.first(), self.tokens.last()) else { return "" };
        let at = |place: Location| {
            let line = usize::try_from(place.line).unwrap_or(usize::MAX).max(1) - 1;
            let start: usize = script.split_inclusive('\n').take(line).map(str::len).sum();
            let column = usize::try_from(place.column).unwrap_or(usize::MAX).max(1) - 1;
            let rest = script.get(start..).unwrap_or_default();
            start + rest.char_indices().nth(column).map_or(rest.len(), |(i, _)| i)
        };
        script.get(at(first.span.start)..at(last.span.end)).unwrap_or_default()
    }

    /// The first line, shortened to `width` characters, for progress lines.
    pub fn headline(&self, width: usize) -> String {
        let flat = self.text.split_whitespace().collect::<Vec<_>>().join(" ");
        if flat.chars().count() <= width {
            return flat;
        }
        let mut short: String = flat.chars().take(width.saturating_sub(1)).collect();
        short.push('…');
        short
    }

    /// Whether the statement holds a secret, or its result does (`CREATE USER … PASSWORD`, `CREATE TOKEN`). Who keeps statements or results refuses it.
    pub fn tells_secrets(&self) -> bool {
        secrets::tells_secrets(&self.tokens)
    }

    /// Where the word `name` (an identifier, quoted or not) first stands; for errors that carry no place of their own.
    pub fn find_word(&self, name: &str) -> Option<Position> {
        self.tokens.iter().find_map(|t| match &t.token {
            Token::Word(word) if word.value.eq_ignore_ascii_case(name) => Position::of_span(t.span),
            _ => None,
        })
    }
}

/// Begins names that the program makes for itself, which nobody else can write.
const RESERVED: char = '\u{1}';

/// Splits a script at its semicolons. Strings, quoted names and comments may hold semicolons of their own.
///
/// # Errors
/// A string, quoted name or comment that never ends, with the place where it began; a name that is not for users.
pub fn split(script: &str) -> Result<Vec<StatementText>> {
    let statements = split_own(script)?;
    let reserved = |token: &&TokenWithSpan| matches!(&token.token, Token::Word(word) if word.value.starts_with(RESERVED));
    match statements.iter().flat_map(|statement| &statement.tokens).find(reserved) {
        None => Ok(statements),
        Some(token) => Err(Error::sql("a name cannot begin with the control character U+0001").at(Position::of_span(token.span))),
    }
}

/// The same for what the program has written itself, with names of its own.
///
/// # Errors
/// As [`split`], but for the names.
pub(crate) fn split_own(script: &str) -> Result<Vec<StatementText>> {
    let tokens = Tokenizer::new(&OrreryDialect::default(), script).tokenize_with_location().map_err(|error| unfinished(script, &error))?;
    let mut places = Places::of(script);
    let mut statements = Vec::new();
    let mut current = Vec::new();
    for token in tokens {
        if token.token == Token::SemiColon {
            push(&mut statements, std::mem::take(&mut current), &mut places);
        } else {
            current.push(token);
        }
    }
    push(&mut statements, current, &mut places);
    Ok(statements)
}

/// Is this token a blank or an ordinary comment? A hint comment (`/*+ … */`) is neither.
pub(super) fn is_blank(token: &Token) -> bool {
    match token {
        Token::Whitespace(Whitespace::MultiLineComment(text)) => !text.starts_with('+'),
        Token::Whitespace(_) | Token::EOF => true,
        _ => false,
    }
}

fn push(statements: &mut Vec<StatementText>, tokens: Vec<TokenWithSpan>, places: &mut Places<'_>) {
    let first = tokens.iter().position(|t| !is_blank(&t.token));
    let last = tokens.iter().rposition(|t| !is_blank(&t.token));
    let (Some(first), Some(last)) = (first, last) else { return };
    let tokens: Vec<_> = tokens[first..=last].to_vec();
    let start = tokens[0].span.start;
    let end = tokens[tokens.len() - 1].span.end;
    let mut text = String::new();
    let mut from = places.byte_at(start.line, start.column);
    for secret in secrets::secrets_in(&tokens) {
        let span = tokens[secret].span;
        let to = places.byte_at(span.start.line, span.start.column);
        text.push_str(places.script.get(from..to).unwrap_or_default());
        text.push_str(secrets::SHOWN);
        from = places.byte_at(span.end.line, span.end.column);
    }
    let to = places.byte_at(end.line, end.column);
    text.push_str(places.script.get(from..to).unwrap_or_default());
    statements.push(StatementText { text, position: Position { line: start.line, column: start.column }, tokens });
}

/// Walks through a script once, from place to place, however many statements stand on one line.
struct Places<'a> {
    script: &'a str,
    byte: usize,
    line: u64,
    column: u64,
}

impl<'a> Places<'a> {
    fn of(script: &'a str) -> Self {
        Self { script, byte: 0, line: 1, column: 1 }
    }

    /// The byte at which a place stands, which is not before the one that was asked for last.
    fn byte_at(&mut self, line: u64, column: u64) -> usize {
        for character in self.script[self.byte..].chars() {
            if (self.line, self.column) >= (line, column) {
                break;
            }
            self.byte += character.len_utf8();
            if character == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        self.byte
    }
}

/// The tokenizer reports where it gave up; for open strings and comments the reader needs the place where they began.
fn unfinished(script: &str, error: &TokenizerError) -> Error {
    let position = Position::of(error.location);
    let text = error.message.to_lowercase();
    let what = if text.contains("comment") {
        "a comment that is never closed"
    } else if text.contains("string") || text.contains("literal") {
        "a string that is never closed"
    } else if text.contains("close delimiter") || text.contains("identifier") {
        "a quoted name that is never closed"
    } else {
        return Error::sql(error.message.clone()).at(position);
    };
    let opened = if text.contains("comment") { open_comment(script) } else { position };
    Error::sql(format!("the script ends inside {what}")).at(opened.or(position)).hint("close it, or look for a stray quote before it")
}

/// Where the last `/*` stands that no `*/` follows.
fn open_comment(script: &str) -> Option<Position> {
    let at = script.rfind("/*")?;
    let line = script[..at].matches('\n').count() as u64 + 1;
    let column = script[script[..at].rfind('\n').map_or(0, |i| i + 1)..at].chars().count() as u64 + 1;
    Some(Position { line, column })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_at_semicolons_outside_of_strings_and_comments() {
        let script = "-- intro; not a statement\nSELECT ';' AS a; /* ; */\n\n  SELECT 2 -- tail\n;;\n";
        let statements = split(script).unwrap();
        assert_eq!(statements.len(), 2);
        assert_eq!(statements[0].text, "SELECT ';' AS a");
        assert_eq!(statements[0].position, Position { line: 2, column: 1 });
        assert_eq!(statements[1].text, "SELECT 2");
        assert_eq!(statements[1].position, Position { line: 4, column: 3 });
    }

    #[test]
    fn the_source_of_a_statement_holds_its_secrets() {
        let script = "SELECT 'ä;' AS a;\n CREATE USER ann\n  PASSWORD 'it''s ünknown';SELECT 1 -- end";
        let statements = split(script).unwrap();
        let sources: Vec<&str> = statements.iter().map(|statement| statement.source_in(script).trim()).collect();
        assert_eq!(sources[..2], ["SELECT 'ä;' AS a", "CREATE USER ann\n  PASSWORD 'it''s ünknown'"]);
        assert!(sources[2].starts_with("SELECT 1"));
        assert!(!statements[1].text.contains("ünknown"));
    }

    #[test]
    fn keeps_text_with_multibyte_characters() {
        let statements = split("SELECT 'é' AS a; SELECT 'naïve'").unwrap();
        assert_eq!(statements[1].text, "SELECT 'naïve'");
        assert_eq!(statements[1].position.column, 18);
    }

    #[test]
    fn names_the_place_where_an_open_string_began() {
        let error = split("SELECT 1;\nSELECT 'open\n, 2;").unwrap_err();
        assert_eq!(error.position, Some(Position { line: 2, column: 8 }), "{error}");
        assert!(error.message.contains("string"), "{error}");
        let error = split("SELECT 1 /* never\nclosed").unwrap_err();
        assert_eq!(error.position, Some(Position { line: 1, column: 10 }), "{error}");
    }

    #[test]
    fn shows_variables_as_three_tokens() {
        let statements = split("SELECT ${a_b}").unwrap();
        let tokens: Vec<String> = statements[0].tokens.iter().map(|t| t.token.to_string()).collect();
        assert_eq!(tokens, ["SELECT", " ", "$", "{", "a_b", "}"]);
    }
}
