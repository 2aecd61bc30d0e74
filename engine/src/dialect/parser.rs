//! Tokens of one statement → [`Statement`]. Lakehouse statements are parsed here, clause by clause, so that a clause we do not carry out
//! is refused where it stands; queries and expressions are sqlparser's.

use datafusion::sql::parser::DFParserBuilder;
use datafusion::sql::sqlparser::ast::{ColumnOption, Ident, ObjectName, ObjectNamePart, Query};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::check;
use super::sql_dialect::OrreryDialect;
use super::statement::*;
use crate::{Error, Position, Result};

/// How deep expressions and subqueries may nest before the parser refuses them.
const RECURSION_LIMIT: usize = 128;

/// Parses one statement.
///
/// # Errors
/// What does not parse, and what parses but is not supported, with its place.
pub fn parse(tokens: &[TokenWithSpan]) -> Result<Statement> {
    check::hints(tokens)?;
    let dialect = OrreryDialect;
    let mut parser = StatementParser {
        sql: Parser::new(&dialect).with_recursion_limit(RECURSION_LIMIT).with_tokens_with_locations(tokens.to_vec()),
        tokens,
    };
    let statement = parser.statement()?;
    parser.end()?;
    Ok(statement)
}

struct StatementParser<'a> {
    sql: Parser<'a>,
    tokens: &'a [TokenWithSpan],
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
            _ => self.refuse(&first),
        }
    }

    /// A statement we do not know: if sqlparser knows it, say that it is not supported; else where parsing failed.
    fn refuse(&mut self, first: &TokenWithSpan) -> Result<Statement> {
        let position = Position::of_span(first.span);
        match self.sql.parse_statement() {
            Ok(_) => Err(Error::unsupported(format!("the statement {}", self.leading_words()), position)),
            Err(_) => Err(Error::sql(format!("'{}' does not begin a statement that Orrery knows", first.token)).at(position).hint(
                "statements begin with SELECT, WITH, CREATE, INSERT, DROP, SET, USE, SHOW, DESCRIBE, EXPLAIN, CACHE, SUMMARIZE, ASSERT or COPY",
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
        let query = self.sql.parse_query().map_err(|e| self.syntax(e))?;
        check::query(&query, self.tokens)?;
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

    fn create(&mut self) -> Result<Statement> {
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
        if !or_replace && !temporary {
            if self.word("CATALOG") {
                return self.create_namespace(1).map(Statement::CreateCatalog);
            }
            if self.word("SCHEMA") || self.word("DATABASE") {
                return self.create_namespace(2).map(Statement::CreateSchema);
            }
        }
        let what = self.sql.peek_token();
        Err(Error::unsupported(format!("CREATE {}", what.token), start).hint("CREATE is followed by CATALOG, SCHEMA, [OR REPLACE] TABLE or [TEMP] VIEW"))
    }

    fn create_namespace(&mut self, parts_max: usize) -> Result<CreateNamespace> {
        let if_not_exists = self.if_not_exists()?;
        let name = self.name_up_to(parts_max)?;
        let comment = self.comment()?;
        Ok(CreateNamespace { name, if_not_exists, comment })
    }

    fn create_table(&mut self, or_replace: bool) -> Result<Statement> {
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
                    return Err(Error::unsupported(format!("USING {}", format.token), Position::of_span(format.span)).hint("tables are Delta tables: USING DELTA"));
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
            return Err(Error::unsupported("a column list together with AS query", table.name.position).hint("name and cast the columns in the query"));
        }
        Ok(Statement::CreateTable(Box::new(table)))
    }

    fn columns(&mut self) -> Result<Vec<Column>> {
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

    fn properties(&mut self) -> Result<Vec<(String, String)>> {
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

    fn create_view(&mut self, or_replace: bool, temporary: bool) -> Result<Statement> {
        let if_not_exists = self.if_not_exists()?;
        let name = if temporary { self.name_up_to(1)? } else { self.name()? };
        let columns = if self.sql.peek_token().token == Token::LParen {
            self.parenthesized_idents()?.iter().map(normalize).collect()
        } else {
            Vec::new()
        };
        let comment = self.comment()?;
        self.words(&["AS"])?;
        let query = self.query()?;
        Ok(Statement::CreateView(Box::new(CreateView { name, or_replace, if_not_exists, temporary, columns, comment, query })))
    }

    fn drop(&mut self) -> Result<Statement> {
        let start = self.position();
        self.words(&["DROP"])?;
        if self.word("TABLE") {
            return self.drop_relation().map(Statement::DropTable);
        }
        if self.word("VIEW") {
            return self.drop_relation().map(Statement::DropView);
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
        Err(Error::unsupported(format!("DROP {}", what.token), start).hint("DROP is followed by TABLE, VIEW, SCHEMA or CATALOG"))
    }

    fn drop_relation(&mut self) -> Result<DropRelation> {
        let if_exists = self.if_exists()?;
        Ok(DropRelation { name: self.name()?, if_exists })
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
            return Err(Error::unsupported("INSERT … PARTITION (…)", self.position()).hint("give the partition columns as columns of the query"));
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

    fn describe(&mut self) -> Result<Statement> {
        let _ = self.sql.next_token();
        if self.peek_word("SELECT") || self.peek_word("WITH") || self.peek_word("VALUES") || self.word("QUERY") {
            return Ok(Statement::Describe(Describe::Query(self.query()?)));
        }
        let next_is_name = matches!(self.sql.peek_nth_token(1).token, Token::Word(_));
        if next_is_name && self.word("HISTORY") {
            let name = self.name()?;
            let limit = if self.word("LIMIT") {
                let limit = self.sql.parse_literal_uint().map_err(|e| self.syntax(e))?;
                Some(usize::try_from(limit).unwrap_or(usize::MAX))
            } else {
                None
            };
            return Ok(Statement::Describe(Describe::History { name, limit }));
        }
        if next_is_name && self.word("DETAIL") {
            return Ok(Statement::Describe(Describe::Detail(self.name()?)));
        }
        let _ = next_is_name && self.word("TABLE");
        let extended = matches!(self.sql.peek_nth_token(1).token, Token::Word(_)) && (self.word("EXTENDED") || self.word("FORMATTED"));
        Ok(Statement::Describe(Describe::Relation { name: self.name()?, extended }))
    }

    fn show(&mut self) -> Result<Statement> {
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
            "VARIABLES" => Show::Variables,
            other => {
                return Err(Error::unsupported(format!("SHOW {other}"), start)
                    .hint("SHOW is followed by CATALOGS, SCHEMAS, TABLES, VIEWS, COLUMNS, CREATE TABLE, TBLPROPERTIES, FUNCTIONS or VARIABLES"));
            }
        };
        Ok(Statement::Show(show))
    }

    fn in_name(&mut self, parts_max: usize) -> Result<Option<Name>> {
        if self.word("IN") || self.word("FROM") { self.name_up_to(parts_max).map(Some) } else { Ok(None) }
    }

    fn like(&mut self) -> Result<Option<String>> {
        if !self.word("LIKE") && !matches!(self.sql.peek_token().token, Token::SingleQuotedString(_)) {
            return Ok(None);
        }
        self.sql.parse_literal_string().map(Some).map_err(|e| self.syntax(e))
    }

    fn summarize(&mut self) -> Result<Statement> {
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

    fn assert(&mut self) -> Result<Statement> {
        self.words(&["ASSERT"])?;
        let condition = self.expr()?;
        let message = if self.word("AS") { Some(self.sql.parse_literal_string().map_err(|e| self.syntax(e))?) } else { None };
        Ok(Statement::Assert { text: condition.to_string(), condition: Box::new(condition), message })
    }

    /// `COPY … TO` is DataFusion's own; it parses from text, since its parser takes no tokens.
    fn copy(&mut self) -> Result<Statement> {
        let position = self.position();
        let text: String = self.tokens.iter().map(|t| t.token.to_string()).collect();
        let statement = DFParserBuilder::new(text.as_str())
            .with_dialect(&OrreryDialect)
            .build()
            .and_then(|mut parser| parser.parse_statement())
            .map_err(|e| Error::from(e).at(position))?;
        if !matches!(statement, datafusion::sql::parser::Statement::CopyTo(_)) {
            return Err(Error::unsupported("this form of COPY", position).hint("COPY {table | (query)} TO 'path' [STORED AS PARQUET | CSV | JSON]"));
        }
        while self.sql.next_token().token != Token::EOF {}
        Ok(Statement::DataFusion(Box::new(statement)))
    }

    // ---- pieces ----

    fn expr(&mut self) -> Result<datafusion::sql::sqlparser::ast::Expr> {
        let expr = self.sql.parse_expr().map_err(|e| self.syntax(e))?;
        check::expr(&expr, self.tokens)?;
        Ok(expr)
    }

    fn if_not_exists(&mut self) -> Result<bool> {
        if !self.word("IF") {
            return Ok(false);
        }
        self.words(&["NOT", "EXISTS"]).map(|()| true)
    }

    fn if_exists(&mut self) -> Result<bool> {
        if !self.word("IF") {
            return Ok(false);
        }
        self.words(&["EXISTS"]).map(|()| true)
    }

    fn comment(&mut self) -> Result<Option<String>> {
        if !self.word("COMMENT") {
            return Ok(None);
        }
        let _ = self.sql.consume_token(&Token::Eq);
        self.sql.parse_literal_string().map(Some).map_err(|e| self.syntax(e))
    }

    fn parenthesized_idents(&mut self) -> Result<Vec<Ident>> {
        self.token(&Token::LParen)?;
        let idents = self.sql.parse_comma_separated(Parser::parse_identifier).map_err(|e| self.syntax(e))?;
        self.token(&Token::RParen)?;
        Ok(idents)
    }

    fn name(&mut self) -> Result<Name> {
        self.name_up_to(3)
    }

    fn name_up_to(&mut self, parts_max: usize) -> Result<Name> {
        let position = self.position();
        let name = self.sql.parse_object_name(false).map_err(|e| self.syntax(e))?;
        let name = to_name(&name).at_position(position);
        if name.parts.len() > parts_max {
            let form = ["", "name", "[catalog.]schema", "[catalog.][schema.]name"].get(parts_max).copied().unwrap_or_default();
            return Err(Error::sql(format!("'{name}' has {} parts", name.parts.len())).at(position).hint(format!("expected {form}")));
        }
        Ok(name)
    }

    fn position(&self) -> Option<Position> {
        let token = self.sql.peek_token();
        Position::of_span(token.span).or_else(|| self.tokens.last().and_then(|t| Position::of(t.span.end)))
    }

    fn peek_word(&self, word: &str) -> bool {
        matches!(&self.sql.peek_token().token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.peek_word(word);
        if found {
            let _ = self.sql.next_token();
        }
        found
    }

    fn words(&mut self, words: &[&str]) -> Result<()> {
        for word in words {
            if !self.word(word) {
                return self.expected(word);
            }
        }
        Ok(())
    }

    fn token(&mut self, token: &Token) -> Result<()> {
        if self.sql.consume_token(token) { Ok(()) } else { self.expected(&token.to_string()) }
    }

    fn end(&mut self) -> Result<()> {
        if self.sql.peek_token().token == Token::EOF { Ok(()) } else { self.expected("the end of the statement") }
    }

    fn expected<T>(&self, what: &str) -> Result<T> {
        Err(self.found(what, &self.sql.peek_token()))
    }

    fn found(&self, expected: &str, token: &TokenWithSpan) -> Error {
        let position = Position::of_span(token.span).or_else(|| self.position());
        let found = if token.token == Token::EOF { "the end of the statement".to_string() } else { format!("'{}'", token.token) };
        Error::sql(format!("expected {expected}, found {found}")).at(position)
    }

    /// sqlparser writes the place into its message; take it out into the error's position.
    fn syntax(&self, error: ParserError) -> Error {
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
