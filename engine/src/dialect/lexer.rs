//! Cuts a script into statements of positioned tokens. `${name}` stays as three tokens here; `variables` replaces it.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, TokenizerError, Whitespace};

use super::sql_dialect::OrreryDialect;
use crate::{Error, Position, Result};

/// One statement of a script as it was written.
#[derive(Debug, Clone)]
pub struct StatementText {
    /// The statement's own text, without the semicolon and the comments before it.
    pub text: String,
    /// Where its first token stands.
    pub position: Position,
    /// Its tokens with positions in the whole script, comments and blanks included.
    pub tokens: Vec<TokenWithSpan>,
}

impl StatementText {
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

    /// Where the word `name` (an identifier, quoted or not) first stands; for errors that carry no place of their own.
    pub fn find_word(&self, name: &str) -> Option<Position> {
        self.tokens.iter().find_map(|t| match &t.token {
            Token::Word(word) if word.value.eq_ignore_ascii_case(name) => Position::of_span(t.span),
            _ => None,
        })
    }
}

/// Splits a script at its semicolons. Strings, quoted names and comments may hold semicolons of their own.
///
/// # Errors
/// A string, quoted name or comment that never ends, with the place where it began.
pub fn split(script: &str) -> Result<Vec<StatementText>> {
    let tokens = Tokenizer::new(&OrreryDialect, script).tokenize_with_location().map_err(|error| unfinished(script, &error))?;
    let offsets = line_offsets(script);
    let mut statements = Vec::new();
    let mut current = Vec::new();
    for token in tokens {
        if token.token == Token::SemiColon {
            push(&mut statements, std::mem::take(&mut current), script, &offsets);
        } else {
            current.push(token);
        }
    }
    push(&mut statements, current, script, &offsets);
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

fn push(statements: &mut Vec<StatementText>, tokens: Vec<TokenWithSpan>, script: &str, offsets: &[usize]) {
    let first = tokens.iter().position(|t| !is_blank(&t.token));
    let last = tokens.iter().rposition(|t| !is_blank(&t.token));
    let (Some(first), Some(last)) = (first, last) else { return };
    let tokens: Vec<_> = tokens[first..=last].to_vec();
    let start = tokens[0].span.start;
    let end = tokens[tokens.len() - 1].span.end;
    let text = script
        .get(offset_of(script, offsets, start.line, start.column)..offset_of(script, offsets, end.line, end.column))
        .unwrap_or_default()
        .to_string();
    statements.push(StatementText { text, position: Position { line: start.line, column: start.column }, tokens });
}

/// Byte offset at which each line starts.
fn line_offsets(script: &str) -> Vec<usize> {
    std::iter::once(0).chain(script.match_indices('\n').map(|(i, _)| i + 1)).collect()
}

fn offset_of(script: &str, offsets: &[usize], line: u64, column: u64) -> usize {
    let start = usize::try_from(line).ok().and_then(|l| offsets.get(l.saturating_sub(1))).copied().unwrap_or(script.len());
    let skip = usize::try_from(column).unwrap_or(usize::MAX).saturating_sub(1);
    script[start..].char_indices().nth(skip).map_or(script.len(), |(i, _)| start + i)
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
