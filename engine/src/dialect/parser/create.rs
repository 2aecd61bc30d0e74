//! `CREATE` and `DROP`, clause by clause.

use datafusion::sql::sqlparser::ast::ColumnOption;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::super::render::render;
use super::super::statement::*;
use super::{StatementParser, normalize};
use crate::{Error, Position, Result};

impl StatementParser<'_> {
    pub(super) fn create(&mut self) -> Result<Statement> {
        let start = self.position();
        self.words(&["CREATE"])?;
        let or_replace = self.sql.parse_keywords(&[Keyword::OR, Keyword::REPLACE]);
        let temporary = self.word("TEMP") || self.word("TEMPORARY");
        if self.word("TABLE") {
            if temporary {
                return Err(Error::unsupported("CREATE TEMPORARY TABLE", start).hint("use CACHE TABLE name AS query, or CREATE TEMP VIEW"));
            }
            return self.create_table(or_replace);
        }
        if self.word("VIEW") {
            return self.create_view(or_replace, temporary);
        }
        if !temporary && self.word("MODEL") {
            return self.create_model(or_replace);
        }
        if !temporary && self.peek_word("FUNCTION") {
            return self.create_function(or_replace);
        }
        if !or_replace && !temporary {
            if let Some(access) = self.create_access()? {
                return Ok(Statement::Access(Box::new(access)));
            }
            if self.word("CATALOG") {
                return self.create_namespace(1).map(Statement::CreateCatalog);
            }
            if self.word("SCHEMA") || self.word("DATABASE") {
                return self.create_namespace(2).map(Statement::CreateSchema);
            }
        }
        let what = self.sql.peek_token();
        Err(Error::unsupported(format!("CREATE {}", what.token), start)
            .hint("CREATE is followed by CATALOG, SCHEMA, [OR REPLACE] TABLE, [OR REPLACE] MODEL, [TEMP] VIEW, [OR REPLACE] FUNCTION, USER, ROLE or TOKEN"))
    }

    pub(super) fn create_namespace(&mut self, parts_max: usize) -> Result<CreateNamespace> {
        let if_not_exists = self.if_not_exists()?;
        let name = self.name_up_to(parts_max)?;
        let comment = self.comment()?;
        Ok(CreateNamespace { name, if_not_exists, comment })
    }

    pub(super) fn create_table(&mut self, or_replace: bool) -> Result<Statement> {
        let if_not_exists = self.if_not_exists()?;
        if or_replace && if_not_exists {
            return Err(Error::sql("OR REPLACE and IF NOT EXISTS contradict each other").at(self.position()));
        }
        let name = self.name()?;
        let columns = if self.sql.peek_token().token == Token::LParen { self.columns()? } else { Vec::new() };
        let mut table = CreateTable {
            name,
            or_replace,
            if_not_exists,
            columns,
            partitioned_by: Vec::new(),
            comment: None,
            properties: Vec::new(),
            query: None,
        };
        loop {
            if self.word("USING") {
                let format = self.sql.next_token();
                if !format.token.to_string().eq_ignore_ascii_case("delta") {
                    return Err(Error::unsupported(format!("USING {}", format.token), Position::of_span(format.span))
                        .hint("tables are Delta tables: USING DELTA"));
                }
            } else if self.word("PARTITIONED") {
                self.words(&["BY"])?;
                let idents = self.parenthesized_idents()?;
                table.partitioned_by = idents.iter().map(normalize).collect();
            } else if self.peek_word("COMMENT") {
                table.comment = self.comment()?;
            } else if self.word("TBLPROPERTIES") {
                table.properties = self.properties()?;
            } else if self.word("AS") {
                table.query = Some(self.query()?);
                break;
            } else {
                break;
            }
        }
        let clause = self.sql.peek_token();
        if let Token::Word(word) = &clause.token {
            return Err(Error::unsupported(format!("{} in CREATE TABLE", word.value.to_ascii_uppercase()), Position::of_span(clause.span))
                .hint("CREATE TABLE takes (columns), USING DELTA, PARTITIONED BY (…), COMMENT, TBLPROPERTIES (…) and, last, AS query"));
        }
        if table.query.is_none() && table.columns.is_empty() {
            return self.expected("columns in parentheses, or AS and a query");
        }
        if table.query.is_some() && !table.columns.is_empty() {
            return Err(Error::unsupported("a column list together with AS query", table.name.position)
                .hint("name and cast the columns in the query"));
        }
        Ok(Statement::CreateTable(Box::new(table)))
    }

    pub(super) fn columns(&mut self) -> Result<Vec<Column>> {
        self.token(&Token::LParen)?;
        let mut columns = Vec::new();
        loop {
            let position = self.position();
            let definition = self.sql.parse_column_def().map_err(|e| self.syntax(e))?;
            let (mut not_null, mut comment) = (false, None);
            for option in &definition.options {
                match &option.option {
                    ColumnOption::NotNull => not_null = true,
                    ColumnOption::Null => not_null = false,
                    ColumnOption::Comment(text) => comment = Some(text.clone()),
                    other => return Err(Error::unsupported(format!("the column option {other}"), position)),
                }
            }
            columns.push(Column { name: normalize(&definition.name), data_type: definition.data_type, not_null, comment, position });
            if !self.sql.consume_token(&Token::Comma) {
                break;
            }
        }
        self.token(&Token::RParen)?;
        Ok(columns)
    }

    pub(super) fn properties(&mut self) -> Result<Vec<(String, String)>> {
        self.token(&Token::LParen)?;
        let mut properties = Vec::new();
        loop {
            let key = self.sql.next_token();
            let key = match &key.token {
                Token::SingleQuotedString(text) => text.clone(),
                Token::Word(word) => {
                    let mut text = word.value.clone();
                    while self.sql.consume_token(&Token::Period) {
                        text = format!("{text}.{}", self.sql.next_token().token);
                    }
                    text
                }
                _ => return Err(self.found("a property name", &key)),
            };
            self.token(&Token::Eq)?;
            let value = self.sql.next_token();
            let value = match &value.token {
                Token::SingleQuotedString(text) | Token::Number(text, _) => text.clone(),
                Token::Word(word) => word.value.to_lowercase(),
                _ => return Err(self.found("a property value", &value)),
            };
            properties.push((key, value));
            if !self.sql.consume_token(&Token::Comma) {
                break;
            }
        }
        self.token(&Token::RParen)?;
        Ok(properties)
    }

    pub(super) fn create_view(&mut self, or_replace: bool, temporary: bool) -> Result<Statement> {
        let if_not_exists = self.if_not_exists()?;
        let name = if temporary { self.name_up_to(1)? } else { self.name()? };
        let columns = if self.sql.peek_token().token == Token::LParen {
            self.parenthesized_idents()?.iter().map(normalize).collect()
        } else {
            Vec::new()
        };
        let comment = self.comment()?;
        self.words(&["AS"])?;
        let start = self.sql.index();
        let query = self.query()?;
        let text = render(&self.tokens[start..self.sql.index().min(self.tokens.len())]).trim().to_string();
        Ok(Statement::CreateView(Box::new(CreateView { name, or_replace, if_not_exists, temporary, columns, comment, query, text })))
    }

    pub(super) fn drop(&mut self) -> Result<Statement> {
        let start = self.position();
        self.words(&["DROP"])?;
        if self.word("TABLE") {
            return self.drop_relation().map(Statement::DropTable);
        }
        if self.word("VIEW") {
            return self.drop_relation().map(Statement::DropView);
        }
        if self.word("MODEL") {
            return self.drop_model();
        }
        if let Some(access) = self.drop_access()? {
            return Ok(Statement::Access(Box::new(access)));
        }
        let catalog = self.word("CATALOG");
        if catalog || self.word("SCHEMA") || self.word("DATABASE") {
            let if_exists = self.if_exists()?;
            let name = self.name_up_to(if catalog { 1 } else { 2 })?;
            let cascade = self.word("CASCADE");
            let _restrict_is_the_default = !cascade && self.word("RESTRICT");
            let drop = DropNamespace { name, if_exists, cascade };
            return Ok(if catalog { Statement::DropCatalog(drop) } else { Statement::DropSchema(drop) });
        }
        let what = self.sql.peek_token();
        Err(Error::unsupported(format!("DROP {}", what.token), start)
            .hint("DROP is followed by TABLE, VIEW, MODEL, SCHEMA, CATALOG, FUNCTION, USER, ROLE or TOKEN"))
    }

    pub(super) fn drop_relation(&mut self) -> Result<DropRelation> {
        let if_exists = self.if_exists()?;
        Ok(DropRelation { name: self.name()?, if_exists })
    }
}
