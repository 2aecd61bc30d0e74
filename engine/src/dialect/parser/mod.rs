//! Tokens of one statement → [`Statement`]. Lakehouse statements are parsed here, clause by clause, so that a clause we do not carry out
//! is refused where it stands; queries and expressions are sqlparser's.

mod access;
mod create;
mod look;
mod models;
mod pieces;
mod upkeep;

use datafusion::sql::parser::{CopyToSource, DFParserBuilder};
use datafusion::sql::sqlparser::ast::{Ident, ObjectName, ObjectNamePart, Query};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::check;
use super::hints::Hints;
use super::name_expressions::name_expressions;
use super::render::render;
use super::row_ids::write_row_ids;
use super::secrets;
use super::sql_dialect::OrreryDialect;
use super::statement::*;
use super::{depth, ml_calls, model_names, parameters, window_calls, window_tables};
use crate::{Error, Position, Result};

/// How deep expressions and subqueries may nest before the parser refuses them.
const RECURSION_LIMIT: usize = 128;

/// Parses one statement.
///
/// # Errors
/// What does not parse, and what parses but is not supported, with its place.
pub fn parse(tokens: &[TokenWithSpan]) -> Result<Statement> {
    depth::check(tokens)?;
    let hints = Hints::read(tokens)?;
    let mut numbered = tokens.to_vec();
    parameters::number(&mut numbered)?;
    let tokens = numbered.as_slice();
    let dialect = OrreryDialect::for_tokens(tokens.len());
    let mut parser = StatementParser {
        sql: Parser::new(&dialect).with_recursion_limit(RECURSION_LIMIT).with_tokens_with_locations(tokens.to_vec()),
        tokens,
        hints,
    };
    let statement = parser.statement().and_then(|statement| parser.end().map(|()| statement));
    let statement = statement.map_err(|error| if dialect.has_given_up() { read_in_too_many_ways(&error) } else { error });
    statement.map_err(|error| Error { message: secrets::without_secrets(error.message, tokens), ..error })
}

fn read_in_too_many_ways(error: &Error) -> Error {
    Error::sql("the statement could be read in too many ways, and in none of those that were tried to its end")
        .at(error.position)
        .hint("something is wrong within its innermost parentheses; try parts of it by themselves")
}

struct StatementParser<'a> {
    sql: Parser<'a>,
    tokens: &'a [TokenWithSpan],
    hints: Hints,
}

impl StatementParser<'_> {
    fn statement(&mut self) -> Result<Statement> {
        let first = self.sql.peek_token();
        let Token::Word(word) = &first.token else {
            return if first.token == Token::LParen { self.query().map(Statement::Query) } else { self.expected("a statement") };
        };
        match word.value.to_ascii_uppercase().as_str() {
            "SELECT" | "WITH" | "VALUES" | "FROM" => self.query().map(Statement::Query),
            "EXPLAIN" => self.explain(),
            "SET" => self.set(),
            "CREATE" => self.create(),
            "DROP" => self.drop(),
            "USE" => self.use_namespace(),
            "INSERT" => self.insert(),
            "CACHE" => self.cache(),
            "UNCACHE" => {
                self.words(&["UNCACHE", "TABLE"])?;
                self.drop_relation().map(Statement::Uncache)
            }
            "DESCRIBE" | "DESC" => self.describe(),
            "SHOW" => self.show(),
            "SUMMARIZE" => self.summarize(),
            "ASSERT" => self.assert(),
            "COPY" => self.copy(),
            "VACUUM" => self.vacuum(),
            "ALTER" => self.alter(),
            "EXPORT" => self.export(),
            "GRANT" => self.grant(),
            "REVOKE" => self.revoke(),
            _ => self.refuse(&first),
        }
    }

    /// A statement we do not know: if sqlparser knows it, say that it is not supported; else where parsing failed.
    fn refuse(&mut self, first: &TokenWithSpan) -> Result<Statement> {
        let position = Position::of_span(first.span);
        match self.sql.parse_statement() {
            Ok(_) => Err(Error::unsupported(format!("the statement {}", self.leading_words()), position)),
            Err(_) => Err(Error::sql(format!("'{}' does not begin a statement that Orrery knows", first.token)).at(position).hint(
                "statements begin with SELECT, WITH, CREATE, ALTER, INSERT, DROP, SET, USE, SHOW, DESCRIBE, EXPLAIN, CACHE, SUMMARIZE, ASSERT, COPY, EXPORT, VACUUM, GRANT or REVOKE",
            )),
        }
    }

    fn leading_words(&self) -> String {
        let words = self.tokens.iter().filter_map(|t| match &t.token {
            Token::Whitespace(_) => None,
            Token::Word(word) if word.keyword != Keyword::NoKeyword => Some(Some(word.value.to_ascii_uppercase())),
            _ => Some(None),
        });
        words.map_while(|w| w).take(2).collect::<Vec<_>>().join(" ")
    }

    fn query(&mut self) -> Result<Box<Query>> {
        let mut query = self.sql.parse_query().map_err(|e| self.syntax(e))?;
        check::query(&query, self.tokens)?;
        rewrite_query(&mut query)?;
        self.hints.attach(&mut query)?;
        Ok(query)
    }

    fn explain(&mut self) -> Result<Statement> {
        self.words(&["EXPLAIN"])?;
        let (mut analyze, mut verbose) = (false, false);
        loop {
            if self.word("ANALYZE") {
                analyze = true;
            } else if self.word("VERBOSE") {
                verbose = true;
            } else {
                break;
            }
        }
        Ok(Statement::Explain { analyze, verbose, statement: Box::new(self.statement()?) })
    }

    fn set(&mut self) -> Result<Statement> {
        self.words(&["SET"])?;
        let name = self.name_up_to(usize::MAX)?;
        if !self.sql.consume_token(&Token::Eq) && !self.word("TO") {
            return self.expected("= after the name");
        }
        if let [variable] = name.parts.as_slice() {
            let value = self.expr()?;
            return Ok(Statement::SetVariable { name: variable.clone(), value: Box::new(value) });
        }
        let token = self.sql.next_token();
        let value = match &token.token {
            Token::Word(word) => word.value.clone(),
            Token::Number(text, _) | Token::SingleQuotedString(text) => text.clone(),
            _ => return Err(self.found("a literal", &token)),
        };
        Ok(Statement::SetOption { key: name, value })
    }

    fn use_namespace(&mut self) -> Result<Statement> {
        self.words(&["USE"])?;
        let catalog = self.word("CATALOG");
        if !catalog {
            let _ = self.word("SCHEMA") || self.word("DATABASE");
        }
        let name = self.name_up_to(if catalog { 1 } else { 2 })?;
        Ok(Statement::Use { catalog, name })
    }

    fn insert(&mut self) -> Result<Statement> {
        self.words(&["INSERT"])?;
        let overwrite = self.word("OVERWRITE");
        if !overwrite {
            self.words(&["INTO"])?;
        }
        let _ = self.word("TABLE");
        let name = self.name()?;
        let columns = if self.sql.peek_token().token == Token::LParen && !self.parenthesis_opens_query() {
            self.parenthesized_idents()?
        } else {
            Vec::new()
        };
        if self.peek_word("PARTITION") {
            return Err(
                Error::unsupported("INSERT … PARTITION (…)", self.position()).hint("give the partition columns as columns of the query")
            );
        }
        let query = self.query()?;
        Ok(Statement::Insert(Box::new(Insert { name, columns, overwrite, query })))
    }

    fn parenthesis_opens_query(&self) -> bool {
        let next = self.sql.peek_nth_token(1);
        matches!(&next.token, Token::LParen)
            || matches!(&next.token, Token::Word(w) if matches!(w.keyword, Keyword::SELECT | Keyword::WITH | Keyword::VALUES | Keyword::FROM) && w.quote_style.is_none())
    }

    fn cache(&mut self) -> Result<Statement> {
        self.words(&["CACHE"])?;
        if self.peek_word("LAZY") {
            return Err(Error::unsupported("CACHE LAZY TABLE", self.position()).hint("CACHE TABLE stores the rows at once"));
        }
        self.words(&["TABLE"])?;
        let name = self.name()?;
        let starts_query = self.peek_word("SELECT") || self.peek_word("WITH") || self.peek_word("VALUES");
        let query = if self.word("AS") || starts_query { Some(self.query()?) } else { None };
        Ok(Statement::Cache { name, query })
    }

    fn assert(&mut self) -> Result<Statement> {
        self.words(&["ASSERT"])?;
        let condition = self.expr()?;
        let message = if self.word("AS") { Some(self.sql.parse_literal_string().map_err(|e| self.syntax(e))?) } else { None };
        Ok(Statement::Assert { text: condition.to_string(), condition: Box::new(condition), message })
    }

    /// `COPY … TO` is DataFusion's own; it parses from text, since its parser takes no tokens.
    fn copy(&mut self) -> Result<Statement> {
        let position = self.position();
        if let Some(hint) = self.hints.first() {
            return Err(Error::unsupported(format!("the hint {hint} in COPY"), hint.position).hint("write it in a view, and copy that"));
        }
        let text = render(self.tokens);
        let mut statement = DFParserBuilder::new(text.as_str())
            .with_dialect(&OrreryDialect::for_tokens(self.tokens.len()))
            .build()
            .and_then(|mut parser| parser.parse_statement())
            .map_err(|e| Error::from(e).at(position))?;
        let datafusion::sql::parser::Statement::CopyTo(copy) = &mut statement else {
            return Err(
                Error::unsupported("this form of COPY", position).hint("COPY {table | (query)} TO 'path' [STORED AS PARQUET | CSV | JSON]")
            );
        };
        if let Some(format) = &copy.stored_as
            && !["PARQUET", "CSV", "JSON"].iter().any(|known| format.eq_ignore_ascii_case(known))
        {
            return Err(Error::unsupported(format!("STORED AS {format}"), position).hint("STORED AS PARQUET, CSV or JSON"));
        }
        if let CopyToSource::Query(query) = &mut copy.source {
            check::query(query, self.tokens)?;
            rewrite_query(query)?;
        }
        while self.sql.next_token().token != Token::EOF {}
        Ok(Statement::DataFusion(Box::new(statement)))
    }
}

/// What sqlparser's tree says in several ways, or in ways that DataFusion does not know, is brought into one that it knows.
fn rewrite_query(query: &mut Query) -> Result<()> {
    window_tables::resolve(query);
    model_names::resolve(query);
    ml_calls::resolve(query)?;
    window_calls::resolve(query)?;
    write_row_ids(query).map_err(|error| Error::new(crate::Blame::Bug, error.to_string()))?;
    name_expressions(query);
    Ok(())
}

/// Lower-cases what was not quoted, as DataFusion does.
pub(crate) fn normalize(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// The parts of a parsed name.
pub(crate) fn to_name(name: &ObjectName) -> Name {
    let idents: Vec<&Ident> = name
        .0
        .iter()
        .filter_map(|part| match part {
            ObjectNamePart::Identifier(ident) => Some(ident),
            ObjectNamePart::Function(_) => None,
        })
        .collect();
    Name { position: idents.first().and_then(|i| Position::of_span(i.span)), parts: idents.into_iter().map(normalize).collect() }
}

impl Name {
    fn at_position(mut self, position: Option<Position>) -> Self {
        self.position = self.position.or(position);
        self
    }
}
