//! Statements that look at things: `DESCRIBE`, `SHOW`, `SUMMARIZE`.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::super::statement::*;
use super::{StatementParser, parse};
use crate::{Error, Result};

impl StatementParser<'_> {
    pub(super) fn describe(&mut self) -> Result<Statement> {
        let _ = self.sql.next_token();
        if self.peek_word("SELECT") || self.peek_word("WITH") || self.peek_word("VALUES") || self.word("QUERY") {
            return Ok(Statement::Describe(Describe::Query(self.query()?)));
        }
        let next_is_name = matches!(self.sql.peek_nth_token(1).token, Token::Word(_));
        if next_is_name && self.word("HISTORY") {
            let names_model = matches!(&self.sql.peek_nth_token(1).token, Token::Word(w) if !w.value.eq_ignore_ascii_case("LIMIT"));
            if names_model && self.word("MODEL") {
                return Ok(Statement::Describe(Describe::ModelHistory { name: self.name()?, limit: self.limit()? }));
            }
            return Ok(Statement::Describe(Describe::History { name: self.name()?, limit: self.limit()? }));
        }
        if next_is_name && self.word("MODEL") {
            return Ok(Statement::Describe(Describe::Model(self.model_name()?)));
        }
        if next_is_name && self.word("DETAIL") {
            return Ok(Statement::Describe(Describe::Detail(self.name()?)));
        }
        let _ = next_is_name && self.word("TABLE");
        let extended = matches!(self.sql.peek_nth_token(1).token, Token::Word(_)) && (self.word("EXTENDED") || self.word("FORMATTED"));
        Ok(Statement::Describe(Describe::Relation { name: self.name()?, extended }))
    }

    fn limit(&mut self) -> Result<Option<usize>> {
        if !self.word("LIMIT") {
            return Ok(None);
        }
        let limit = self.sql.parse_literal_uint().map_err(|e| self.syntax(e))?;
        Ok(Some(usize::try_from(limit).unwrap_or(usize::MAX)))
    }

    pub(super) fn show(&mut self) -> Result<Statement> {
        let start = self.position();
        self.words(&["SHOW"])?;
        let word = self.sql.next_token();
        let show = match word.token.to_string().to_ascii_uppercase().as_str() {
            "CATALOGS" => Show::Catalogs { like: self.like()? },
            "SCHEMAS" | "DATABASES" => Show::Schemas { catalog: self.in_name(1)?, like: self.like()? },
            "TABLES" => Show::Tables { schema: self.in_name(2)?, like: self.like()? },
            "VIEWS" => Show::Views { schema: self.in_name(2)?, like: self.like()? },
            "COLUMNS" => {
                if !self.word("IN") && !self.word("FROM") {
                    return self.expected("IN and a table");
                }
                Show::Columns { name: self.name()? }
            }
            "CREATE" if self.word("TABLE") || self.word("VIEW") => Show::CreateTable { name: self.name()? },
            "TBLPROPERTIES" => Show::Properties { name: self.name()? },
            "FUNCTIONS" => Show::Functions { like: self.like()? },
            "MODELS" => Show::Models { schema: self.in_name(2)?, like: self.like()? },
            "MODEL" if self.word("VERSIONS") => {
                let _ = self.word("IN") || self.word("FROM");
                Show::ModelVersions { name: self.name()? }
            }
            "VARIABLES" => Show::Variables,
            other => {
                if let Some(access) = self.show_access(other)? {
                    return Ok(Statement::Access(Box::new(access)));
                }
                return Err(Error::unsupported(format!("SHOW {other}"), start).hint(
                    "SHOW is followed by CATALOGS, SCHEMAS, TABLES, VIEWS, COLUMNS, CREATE TABLE, TBLPROPERTIES, FUNCTIONS, MODELS, MODEL VERSIONS, VARIABLES, USERS, ROLES, TOKENS or GRANTS",
                ));
            }
        };
        Ok(Statement::Show(show))
    }

    pub(super) fn in_name(&mut self, parts_max: usize) -> Result<Option<Name>> {
        if self.word("IN") || self.word("FROM") { self.name_up_to(parts_max).map(Some) } else { Ok(None) }
    }

    pub(super) fn like(&mut self) -> Result<Option<String>> {
        if !self.word("LIKE") && !matches!(self.sql.peek_token().token, Token::SingleQuotedString(_)) {
            return Ok(None);
        }
        self.sql.parse_literal_string().map(Some).map_err(|e| self.syntax(e))
    }

    pub(super) fn summarize(&mut self) -> Result<Statement> {
        self.words(&["SUMMARIZE"])?;
        if self.peek_word("SELECT") || self.peek_word("WITH") || self.peek_word("VALUES") || self.sql.peek_token().token == Token::LParen {
            return Ok(Statement::Summarize(self.query()?));
        }
        // `SUMMARIZE t [VERSION AS OF n]` is `SUMMARIZE SELECT * FROM t …`.
        let rest = self.tokens[self.sql.index().min(self.tokens.len())..].to_vec();
        let mut tokens: Vec<TokenWithSpan> = ["SELECT", " ", "*", " ", "FROM", " "]
            .into_iter()
            .map(|word| match word {
                " " => Token::Whitespace(datafusion::sql::sqlparser::tokenizer::Whitespace::Space),
                "*" => Token::Mul,
                keyword => Token::make_keyword(keyword),
            })
            .map(TokenWithSpan::wrap)
            .collect();
        tokens.extend(rest);
        let Statement::Query(query) = parse(&tokens)? else { return self.expected("a table or a query") };
        while self.sql.next_token().token != Token::EOF {}
        Ok(Statement::Summarize(query))
    }
}
