//! Statements about users and rights. No message here repeats a text in quotes: it may be a password.

use datafusion::sql::sqlparser::ast::Ident;
use datafusion::sql::sqlparser::tokenizer::{Token, Word};

use super::super::statement::*;
use super::{StatementParser, normalize};
use crate::access::{Kind, Privilege, Secret};
use crate::{Error, Position, Result};

/// What can be granted on, given away and asked for.
const OBJECTS: &str = "SERVER, CATALOG, SCHEMA, TABLE, VIEW, MODEL, FUNCTION or LOCATION";

impl StatementParser<'_> {
    /// Behind `CREATE`: `USER`, `ROLE`, `TOKEN`, or nothing of ours.
    pub(super) fn create_access(&mut self) -> Result<Option<AccessStatement>> {
        if self.word("USER") {
            return self.create_user().map(Some);
        }
        if self.word("ROLE") {
            let if_not_exists = self.if_not_exists()?;
            return Ok(Some(AccessStatement::CreateRole { name: self.principal()?, if_not_exists, comment: self.comment()? }));
        }
        if self.word("TOKEN") {
            return self.create_token().map(Some);
        }
        Ok(None)
    }

    fn create_user(&mut self) -> Result<AccessStatement> {
        let if_not_exists = self.if_not_exists()?;
        let name = self.principal()?;
        let (mut password, mut comment) = (None, None);
        loop {
            if password.is_none() && self.word("PASSWORD") {
                password = Some(self.secret()?);
            } else if comment.is_none() && self.peek_word("COMMENT") {
                comment = self.comment()?;
            } else {
                return Ok(AccessStatement::CreateUser { name, if_not_exists, password, comment });
            }
        }
    }

    fn create_token(&mut self) -> Result<AccessStatement> {
        let starts_clause = ["FOR", "EXPIRES", "COMMENT"].iter().any(|word| self.peek_word(word));
        let at_end = self.sql.peek_token().token == Token::EOF;
        let name = if starts_clause || at_end { None } else { Some(self.principal()?) };
        let (mut user, mut expires, mut comment) = (None, None, None);
        loop {
            if user.is_none() && self.word("FOR") {
                let _ = self.word("USER");
                user = Some(self.principal()?);
            } else if expires.is_none() && self.word("EXPIRES") {
                expires = Some(Box::new(if self.word("IN") {
                    Expiry::In(self.expr()?)
                } else {
                    self.words(&["AT"])?;
                    Expiry::At(self.expr()?)
                }));
            } else if comment.is_none() && self.peek_word("COMMENT") {
                comment = self.comment()?;
            } else {
                return Ok(AccessStatement::CreateToken { name, user, expires, comment });
            }
        }
    }

    /// Behind `ALTER`: `USER`, `ROLE`, the owner of anything, row filters and masks; or nothing of ours.
    pub(super) fn alter_access(&mut self) -> Result<Option<AccessStatement>> {
        if self.word("USER") {
            return self.alter_user().map(Some);
        }
        if self.word("ROLE") {
            let role = self.principal()?;
            return match self.limits(&role)? {
                Some(limits) => Ok(Some(limits)),
                None => self.expected_word("SET LIMITS (…) or DROP LIMITS"),
            };
        }
        let object_words = ["SERVER", "CATALOG", "SCHEMA", "DATABASE", "TABLE", "VIEW", "FUNCTION", "LOCATION", "EXTERNAL"];
        if !object_words.iter().any(|word| self.peek_word(word)) {
            return Ok(None);
        }
        let object = self.object()?;
        let gives_away = self.peek_word("OWNER") || self.peek_word("SET") && self.next_is("OWNER");
        if object.kind == Kind::Table && !object.is_view && !gives_away {
            return self.alter_table(object.name).map(Some);
        }
        self.owner(object).map(Some)
    }

    /// `[SET] OWNER TO principal`, behind an object.
    pub(super) fn owner(&mut self, object: ObjectRef) -> Result<AccessStatement> {
        let _ = self.word("SET");
        self.words(&["OWNER", "TO"])?;
        Ok(AccessStatement::SetOwner { object, owner: self.principal()? })
    }

    fn alter_user(&mut self) -> Result<AccessStatement> {
        let name = self.principal()?;
        if let Some(limits) = self.limits(&name)? {
            return Ok(limits);
        }
        let change = if self.word("ENABLE") {
            UserChange::Enable
        } else if self.word("DISABLE") {
            UserChange::Disable
        } else if self.word("SET") {
            self.words(&["PASSWORD"])?;
            UserChange::Password(self.secret()?)
        } else {
            return self.expected_word("SET PASSWORD, SET LIMITS (…), DROP LIMITS, ENABLE or DISABLE");
        };
        Ok(AccessStatement::AlterUser { name, change })
    }

    /// `SET LIMITS (…)` or `DROP LIMITS`, if either stands here.
    fn limits(&mut self, principal: &str) -> Result<Option<AccessStatement>> {
        let (sets, drops) = (self.peek_word("SET"), self.peek_word("DROP"));
        if !(sets || drops) || !self.next_is("LIMITS") {
            return Ok(None);
        }
        self.words(&[if sets { "SET" } else { "DROP" }, "LIMITS"])?;
        let limits = if sets { self.model_options()? } else { ModelOptions::default() };
        Ok(Some(AccessStatement::SetLimits { principal: principal.to_string(), limits }))
    }

    fn alter_table(&mut self, table: Name) -> Result<AccessStatement> {
        if self.word("SET") {
            self.words(&["ROW", "FILTER"])?;
            return Ok(AccessStatement::SetRowFilter { table, policy: self.policy("ON")? });
        }
        if self.word("DROP") {
            self.words(&["ROW", "FILTER"])?;
            return Ok(AccessStatement::DropRowFilter(table));
        }
        if self.word("ALTER") {
            let _ = self.word("COLUMN");
            let column = self.sql.parse_identifier().map_err(|e| self.syntax(e))?;
            if self.word("DROP") {
                self.words(&["MASK"])?;
                return Ok(AccessStatement::DropMask { table, column });
            }
            self.words(&["SET", "MASK"])?;
            return Ok(AccessStatement::SetMask { table, column, policy: self.policy("USING")? });
        }
        let what = self.sql.peek_token();
        Err(Error::unsupported(format!("ALTER TABLE … {}", what.token), Position::of_span(what.span))
            .hint("ALTER TABLE t takes SET ROW FILTER, DROP ROW FILTER, ALTER COLUMN c SET MASK, ALTER COLUMN c DROP MASK or OWNER TO"))
    }

    /// `f ON (columns)`, `f USING COLUMNS (columns)`, or an expression in parentheses.
    fn policy(&mut self, before_columns: &str) -> Result<Policy> {
        let position = self.position();
        if self.sql.consume_token(&Token::LParen) {
            let start = self.sql.index();
            self.expr()?;
            let text = self.text_from(start);
            self.token(&Token::RParen)?;
            return Ok(Policy::Expression { text, position });
        }
        let name = self.name()?;
        let columns = if self.word(before_columns) {
            if before_columns == "USING" {
                self.words(&["COLUMNS"])?;
            }
            let is_empty = self.sql.peek_nth_token(1).token == Token::RParen;
            if is_empty {
                self.token(&Token::LParen)?;
                self.token(&Token::RParen)?;
                Vec::new()
            } else {
                self.parenthesized_idents()?
            }
        } else if before_columns == "ON" {
            return self.expected("ON and the columns that are handed to the function");
        } else {
            Vec::new()
        };
        Ok(Policy::Function { name, columns })
    }

    /// Behind `DROP`: `USER`, `ROLE`, `TOKEN`, `FUNCTION`, or nothing of ours.
    pub(super) fn drop_access(&mut self) -> Result<Option<AccessStatement>> {
        let is_user = self.word("USER");
        if is_user || self.word("ROLE") {
            let drop = DropPrincipal { if_exists: self.if_exists()?, name: self.principal()? };
            return Ok(Some(if is_user { AccessStatement::DropUser(drop) } else { AccessStatement::DropRole(drop) }));
        }
        if self.word("TOKEN") {
            let if_exists = self.if_exists()?;
            let token = self.principal()?;
            let user = if self.word("FOR") {
                let _ = self.word("USER");
                Some(self.principal()?)
            } else {
                None
            };
            return Ok(Some(AccessStatement::DropToken { token, user, if_exists }));
        }
        if self.word("FUNCTION") {
            let if_exists = self.if_exists()?;
            return Ok(Some(AccessStatement::DropFunction { name: self.name()?, if_exists }));
        }
        Ok(None)
    }

    pub(super) fn grant(&mut self) -> Result<Statement> {
        self.words(&["GRANT"])?;
        let (role, rights) = self.role_or_rights("TO")?;
        let statement = match (role, rights) {
            (Some((role, members)), _) => AccessStatement::GrantRole { role, members },
            (None, Some(rights)) => AccessStatement::Grant(rights),
            (None, None) => return self.expected("privileges or a role"),
        };
        if self.peek_word("WITH") {
            return Err(Error::unsupported("WITH GRANT OPTION", self.position()).hint("owners and holders of MANAGE may grant"));
        }
        Ok(Statement::Access(Box::new(statement)))
    }

    pub(super) fn revoke(&mut self) -> Result<Statement> {
        self.words(&["REVOKE"])?;
        let (role, rights) = self.role_or_rights("FROM")?;
        let statement = match (role, rights) {
            (Some((role, members)), _) => AccessStatement::RevokeRole { role, members },
            (None, Some(rights)) => AccessStatement::Revoke(rights),
            (None, None) => return self.expected("privileges or a role"),
        };
        Ok(Statement::Access(Box::new(statement)))
    }

    /// `[ROLE] role TO …`, or `privilege, … ON object TO …`: only what follows tells them apart.
    #[allow(clippy::type_complexity)]
    fn role_or_rights(&mut self, before_principals: &str) -> Result<(Option<(String, Vec<String>)>, Option<GrantRights>)> {
        let position = self.position();
        let is_role = self.word("ROLE") || (!self.peek_privilege() && !self.next_is("ON") && !self.next_is(","));
        if is_role {
            let role = self.principal()?;
            self.words(&[before_principals])?;
            return Ok((Some((role, self.principals()?)), None));
        }
        let mut privileges = vec![self.privilege()?];
        while self.sql.consume_token(&Token::Comma) {
            privileges.push(self.privilege()?);
        }
        self.words(&["ON"])?;
        let object = self.object()?;
        self.words(&[before_principals])?;
        Ok((None, Some(GrantRights { privileges, object, principals: self.principals()?, position })))
    }

    /// Whether a privilege stands here: a word of one that is not followed by `TO` or `FROM`, by which it would be a role of that name.
    fn peek_privilege(&self) -> bool {
        let first: Vec<&str> = Privilege::ALL.iter().filter_map(|p| p.name().split(' ').next()).collect();
        first.iter().any(|word| self.peek_word(word)) && !self.next_is("TO") && !self.next_is("FROM")
    }

    fn next_is(&self, text: &str) -> bool {
        match &self.sql.peek_nth_token(1).token {
            Token::Word(word) => word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text),
            Token::Comma => text == ",",
            _ => false,
        }
    }

    fn privilege(&mut self) -> Result<Privilege> {
        let start = self.sql.peek_token();
        let mut name = String::new();
        while let Token::Word(Word { value, quote_style: None, .. }) = self.sql.peek_token().token {
            if ["ON", "TO", "FROM"].iter().any(|word| value.eq_ignore_ascii_case(word)) {
                break;
            }
            let _ = self.sql.next_token();
            if !name.is_empty() {
                name.push(' ');
            }
            name.push_str(&value.to_ascii_uppercase());
        }
        let name = match name.as_str() {
            "ALL" => "ALL PRIVILEGES",
            "USE DATABASE" => "USE SCHEMA",
            "CREATE DATABASE" => "CREATE SCHEMA",
            other => other,
        };
        Privilege::named(name).ok_or_else(|| {
            let problem = if name.is_empty() { "a privilege is missing".to_string() } else { format!("'{name}' is no privilege") };
            let known = Privilege::ALL.iter().map(|p| p.name()).collect::<Vec<_>>().join(", ");
            let also = if name == "CREATE VIEW" { "CREATE TABLE allows views too; " } else { "" };
            Error::sql(problem).at(Position::of_span(start.span)).hint(format!("{also}privileges are: {known}"))
        })
    }

    /// An object behind `ON`, `ALTER`; a name alone is a table's.
    pub(super) fn object(&mut self) -> Result<ObjectRef> {
        let none = |position| Name { parts: Vec::new(), position };
        let position = self.position();
        let next_is_name = matches!(self.sql.peek_nth_token(1).token, Token::Word(_) | Token::SingleQuotedString(_));
        let of = |kind, name| ObjectRef { kind, name, location: None, is_view: false };
        if self.peek_word("SERVER") && !matches!(self.sql.peek_nth_token(1).token, Token::Period) {
            let _ = self.word("SERVER");
            return Ok(of(Kind::Server, none(position)));
        }
        let next_is_keyword = |parser: &Self| parser.next_is("TO") || parser.next_is("FROM");
        if next_is_name && !next_is_keyword(self) {
            if self.word("EXTERNAL") {
                self.words(&["LOCATION"])?;
                return self.location(position);
            }
            if self.word("LOCATION") {
                return self.location(position);
            }
            if self.word("CATALOG") {
                return Ok(of(Kind::Catalog, self.name_up_to(1)?));
            }
            if self.word("SCHEMA") || self.word("DATABASE") {
                return Ok(of(Kind::Schema, self.name_up_to(2)?));
            }
            if self.word("MODEL") {
                return Ok(of(Kind::Model, self.name()?));
            }
            if self.word("FUNCTION") {
                return Ok(of(Kind::Function, self.name()?));
            }
            if self.word("VIEW") {
                return Ok(ObjectRef { is_view: true, ..of(Kind::Table, self.name()?) });
            }
            let _ = self.word("TABLE");
        }
        if !matches!(self.sql.peek_token().token, Token::Word(_)) {
            return self.expected_word(OBJECTS);
        }
        Ok(of(Kind::Table, self.name()?))
    }

    fn location(&mut self, position: Option<Position>) -> Result<ObjectRef> {
        let place = self.position();
        let text = match self.sql.next_token().token {
            Token::SingleQuotedString(text) => text,
            _ => return Err(Error::sql("expected a path or URL in quotes").at(place)),
        };
        let name = Name { parts: Vec::new(), position: place.or(position) };
        Ok(ObjectRef { kind: Kind::Location, name, location: Some(text), is_view: false })
    }

    /// Behind `SHOW`: `USERS`, `ROLES`, `TOKENS`, `LIMITS`, `GRANTS`, or nothing of ours.
    pub(super) fn show_access(&mut self, word: &str) -> Result<Option<AccessStatement>> {
        Ok(Some(match word {
            "USERS" => AccessStatement::ShowUsers,
            "ROLES" => AccessStatement::ShowRoles,
            "TOKENS" => AccessStatement::ShowTokens,
            "LIMITS" => AccessStatement::ShowLimits,
            "GRANTS" => {
                let (mut principal, mut object) = (None, None);
                loop {
                    if principal.is_none() && (self.word("TO") || self.word("FOR")) {
                        principal = Some(self.principal()?);
                    } else if object.is_none() && self.word("ON") {
                        object = Some(self.object()?);
                    } else if principal.is_none() && object.is_none() && matches!(self.sql.peek_token().token, Token::Word(_)) {
                        principal = Some(self.principal()?);
                    } else {
                        break;
                    }
                }
                AccessStatement::ShowGrants { principal, object }
            }
            _ => return Ok(None),
        }))
    }

    /// Behind `CREATE [OR REPLACE]`.
    pub(super) fn create_function(&mut self, or_replace: bool) -> Result<Statement> {
        self.words(&["FUNCTION"])?;
        let if_not_exists = self.if_not_exists()?;
        if or_replace && if_not_exists {
            return Err(Error::sql("OR REPLACE and IF NOT EXISTS contradict each other").at(self.position()));
        }
        let name = self.name()?;
        self.token(&Token::LParen)?;
        let mut parameters: Vec<(Ident, _)> = Vec::new();
        while self.sql.peek_token().token != Token::RParen {
            let parameter = self.sql.parse_identifier().map_err(|e| self.syntax(e))?;
            if parameters.iter().any(|(other, _)| normalize(other) == normalize(&parameter)) {
                return Err(Error::sql(format!("the parameter {parameter} occurs twice")).at(Position::of_span(parameter.span)));
            }
            parameters.push((parameter, self.sql.parse_data_type().map_err(|e| self.syntax(e))?));
            if !self.sql.consume_token(&Token::Comma) {
                break;
            }
        }
        self.token(&Token::RParen)?;
        let (mut returns, mut comment) = (None, None);
        loop {
            if returns.is_none() && self.word("RETURNS") {
                returns = Some(self.sql.parse_data_type().map_err(|e| self.syntax(e))?);
            } else if comment.is_none() && self.peek_word("COMMENT") {
                comment = self.comment()?;
            } else {
                break;
            }
        }
        self.words(&["RETURN"])?;
        let position = self.position();
        let start = self.sql.index();
        let body = Box::new(self.expr()?);
        let expression = self.text_from(start);
        let create = CreateFunction { name, or_replace, if_not_exists, parameters, returns, comment, expression, body, position };
        Ok(Statement::Access(Box::new(AccessStatement::CreateFunction(Box::new(create)))))
    }

    fn principals(&mut self) -> Result<Vec<String>> {
        let mut principals = vec![self.principal()?];
        while self.sql.consume_token(&Token::Comma) {
            principals.push(self.principal()?);
        }
        Ok(principals)
    }

    /// The name of a user, role or token: a word, a quoted name, or a text in quotes.
    fn principal(&mut self) -> Result<String> {
        let token = self.sql.next_token();
        match &token.token {
            Token::Word(Word { value, quote_style: None, .. }) => Ok(value.to_lowercase()),
            Token::Word(Word { value, .. }) | Token::SingleQuotedString(value) => Ok(value.clone()),
            _ => Err(Error::sql("expected a name").at(Position::of_span(token.span).or_else(|| self.position()))),
        }
    }

    fn secret(&mut self) -> Result<Secret> {
        let token = self.sql.next_token();
        match token.token {
            Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) | Token::UnicodeStringLiteral(text) => {
                Ok(Secret::new(text))
            }
            Token::DollarQuotedString(text) => Ok(Secret::new(text.value)),
            _ => Err(Error::sql("expected a password in quotes").at(Position::of_span(token.span).or_else(|| self.position()))),
        }
    }

    /// As `expected`, without what was found.
    fn expected_word<T>(&self, what: &str) -> Result<T> {
        Err(Error::sql(format!("expected {what}")).at(self.position()))
    }
}
