//! The small parts that statements are made of: words, names, comments, and the errors where one is missing.

use datafusion::sql::sqlparser::ast::Ident;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::super::{check, ml_calls, model_names, statement::Name, window_calls, window_tables};
use super::{StatementParser, to_name};
use crate::{Error, Position, Result};

impl StatementParser<'_> {
    pub(super) fn expr(&mut self) -> Result<datafusion::sql::sqlparser::ast::Expr> {
        let mut expr = self.sql.parse_expr().map_err(|e| self.syntax(e))?;
        check::expr(&expr, self.tokens)?;
        window_tables::resolve(&mut expr);
        model_names::resolve(&mut expr);
        ml_calls::resolve(&mut expr)?;
        window_calls::resolve(&mut expr)?;
        self.hints.attach(&mut expr)?;
        Ok(expr)
    }

    pub(super) fn if_not_exists(&mut self) -> Result<bool> {
        if !self.word("IF") {
            return Ok(false);
        }
        self.words(&["NOT", "EXISTS"]).map(|()| true)
    }

    pub(super) fn if_exists(&mut self) -> Result<bool> {
        if !self.word("IF") {
            return Ok(false);
        }
        self.words(&["EXISTS"]).map(|()| true)
    }

    pub(super) fn comment(&mut self) -> Result<Option<String>> {
        if !self.word("COMMENT") {
            return Ok(None);
        }
        let _ = self.sql.consume_token(&Token::Eq);
        self.sql.parse_literal_string().map(Some).map_err(|e| self.syntax(e))
    }

    pub(super) fn parenthesized_idents(&mut self) -> Result<Vec<Ident>> {
        self.token(&Token::LParen)?;
        let idents = self.sql.parse_comma_separated(Parser::parse_identifier).map_err(|e| self.syntax(e))?;
        self.token(&Token::RParen)?;
        Ok(idents)
    }

    pub(super) fn name(&mut self) -> Result<Name> {
        self.name_up_to(3)
    }

    pub(super) fn name_up_to(&mut self, parts_max: usize) -> Result<Name> {
        let position = self.position();
        let name = self.sql.parse_object_name(false).map_err(|e| self.syntax(e))?;
        let name = to_name(&name).at_position(position);
        if name.parts.len() > parts_max {
            let form = ["", "name", "[catalog.]schema", "[catalog.][schema.]name"].get(parts_max).copied().unwrap_or_default();
            return Err(Error::sql(format!("'{name}' has {} parts", name.parts.len())).at(position).hint(format!("expected {form}")));
        }
        Ok(name)
    }

    pub(super) fn position(&self) -> Option<Position> {
        let token = self.sql.peek_token();
        Position::of_span(token.span).or_else(|| self.tokens.last().and_then(|t| Position::of(t.span.end)))
    }

    pub(super) fn peek_word(&self, word: &str) -> bool {
        matches!(&self.sql.peek_token().token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
    }

    pub(super) fn word(&mut self, word: &str) -> bool {
        let found = self.peek_word(word);
        if found {
            let _ = self.sql.next_token();
        }
        found
    }

    pub(super) fn words(&mut self, words: &[&str]) -> Result<()> {
        for word in words {
            if !self.word(word) {
                return self.expected(word);
            }
        }
        Ok(())
    }

    pub(super) fn token(&mut self, token: &Token) -> Result<()> {
        if self.sql.consume_token(token) { Ok(()) } else { self.expected(&token.to_string()) }
    }

    pub(super) fn end(&mut self) -> Result<()> {
        if self.sql.peek_token().token == Token::EOF { Ok(()) } else { self.expected("the end of the statement") }
    }

    pub(super) fn expected<T>(&self, what: &str) -> Result<T> {
        Err(self.found(what, &self.sql.peek_token()))
    }

    pub(super) fn found(&self, expected: &str, token: &TokenWithSpan) -> Error {
        let position = Position::of_span(token.span).or_else(|| self.position());
        let found = if token.token == Token::EOF { "the end of the statement".to_string() } else { format!("'{}'", token.token) };
        Error::sql(format!("expected {expected}, found {found}")).at(position)
    }

    /// sqlparser writes the place into its message; take it out into the error's position.
    pub(super) fn syntax(&self, error: ParserError) -> Error {
        let (ParserError::ParserError(text) | ParserError::TokenizerError(text)) = error else {
            return Error::sql("the statement nests too deeply").at(self.position()).hint("split it with WITH clauses or views");
        };
        let text = text.replace("EOF", "the end of the statement");
        match text.rsplit_once(" at Line: ") {
            Some((message, place)) => {
                let mut numbers = place.split(", Column: ").filter_map(|n| n.trim().parse::<u64>().ok());
                let position = match (numbers.next(), numbers.next()) {
                    (Some(line), Some(column)) if line > 0 => Some(Position { line, column }),
                    _ => self.position(),
                };
                Error::sql(message.replace("Expected: ", "expected ")).at(position)
            }
            None => Error::sql(text.replace("Expected: ", "expected ")).at(self.position()),
        }
    }
}
