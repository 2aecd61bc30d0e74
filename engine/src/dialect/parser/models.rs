//! Statements about models: `CREATE`, `ALTER`, `DROP` and `EXPORT MODEL`, and the values of `OPTIONS (…)`.

use datafusion::sql::sqlparser::ast::{Ident, SetExpr};
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use orrery_models::OptionValue;

use super::super::model_names::{LATEST, parse_model_name, parse_version_number};
use super::super::render::render;
use super::super::statement::*;
use super::super::{ModelName, check};
use super::{StatementParser, normalize, parse, rewrite_query};
use crate::models::Selector;
use crate::{Error, Position, Result};

impl StatementParser<'_> {
    /// Behind `CREATE [OR REPLACE] MODEL`.
    pub(super) fn create_model(&mut self, or_replace: bool) -> Result<Statement> {
        let if_not_exists = self.if_not_exists()?;
        if or_replace && if_not_exists {
            return Err(Error::sql("OR REPLACE and IF NOT EXISTS contradict each other").at(self.position()));
        }
        let ModelName { name, selector } = self.model_name()?;
        if selector != Selector::Latest {
            return Err(Error::sql("CREATE MODEL gives the version itself").at(name.position).hint("name the model alone"));
        }
        let (mut transform, mut options) = (None, None);
        loop {
            let position = self.position();
            let given_twice = |what: &str| Err(Error::sql(format!("{what} is given twice")).at(position));
            if self.word("TRANSFORM") {
                if transform.is_some() {
                    return given_twice("TRANSFORM");
                }
                transform = Some(self.transform(position)?);
            } else if self.word("OPTIONS") {
                if options.is_some() {
                    return given_twice("OPTIONS");
                }
                options = Some(self.model_options()?);
            } else {
                break;
            }
        }
        let clause = self.sql.peek_token();
        if !self.word("AS") {
            return match &clause.token {
                Token::Word(word) => {
                    Err(Error::unsupported(format!("{} in CREATE MODEL", word.value.to_ascii_uppercase()), Position::of_span(clause.span))
                        .hint("CREATE MODEL name takes TRANSFORM (…), OPTIONS (…) and, last, AS query"))
                }
                _ => self.expected("OPTIONS (…), or AS and the training query"),
            };
        }
        let start = self.sql.index();
        let query = self.query()?;
        let query_text = self.text_from(start);
        let options = options.unwrap_or_default();
        Ok(Statement::CreateModel(Box::new(CreateModel { name, or_replace, if_not_exists, transform, options, query, query_text })))
    }

    fn transform(&mut self, position: Option<Position>) -> Result<Transform> {
        self.token(&Token::LParen)?;
        let start = self.sql.index();
        let items = self.sql.parse_comma_separated(Parser::parse_select_item).map_err(|e| self.syntax(e))?;
        let text = self.text_from(start);
        self.token(&Token::RParen)?;
        // Checked and rewritten as the select list that it is.
        let Statement::Query(mut query) = parse(&select_null())? else { return self.expected("a select list") };
        put_items(&mut query, items);
        check::query(&query, self.tokens)?;
        rewrite_query(&mut query)?;
        self.hints.attach(&mut query)?;
        let items = match *query.body {
            SetExpr::Select(select) => select.projection,
            _ => Vec::new(),
        };
        Ok(Transform { items, text, position })
    }

    /// What was written from a token on, up to where the parser stands.
    pub(super) fn text_from(&self, start: usize) -> String {
        let end = self.sql.index().min(self.tokens.len());
        render(self.tokens.get(start..end).unwrap_or_default()).trim().to_string()
    }

    pub(super) fn model_name(&mut self) -> Result<ModelName> {
        parse_model_name(&mut self.sql).map_err(|e| self.syntax(e))
    }

    /// `ALTER`: models, and what the parser of rights knows.
    pub(super) fn alter(&mut self) -> Result<Statement> {
        let start = self.position();
        self.words(&["ALTER"])?;
        if let Some(access) = self.alter_access()? {
            return Ok(Statement::Access(Box::new(access)));
        }
        if !self.word("MODEL") {
            let what = self.sql.peek_token();
            return Err(Error::unsupported(format!("ALTER {}", what.token), start)
                .hint("ALTER is followed by MODEL, TABLE, VIEW, SCHEMA, CATALOG, FUNCTION, LOCATION, SERVER or USER"));
        }
        let if_exists = self.if_exists()?;
        let name = self.name()?;
        if self.peek_word("OWNER") {
            let object = ObjectRef { kind: crate::access::Kind::Model, name, location: None, is_view: false };
            return Ok(Statement::Access(Box::new(self.owner(object)?)));
        }
        let change = if self.word("SET") {
            if self.word("ALIAS") {
                let (alias, position) = self.alias()?;
                self.token(&Token::Eq)?;
                self.words(&["VERSION"])?;
                let version = parse_version_number(&mut self.sql).map_err(|e| self.syntax(e))?;
                ModelChange::SetAlias { alias, version, position }
            } else if self.word("OPTIONS") {
                ModelChange::SetOptions(self.model_options()?)
            } else {
                return self.expected("ALIAS alias = VERSION number, or OPTIONS (…)");
            }
        } else if self.word("DROP") {
            self.words(&["ALIAS"])?;
            let (alias, position) = self.alias()?;
            ModelChange::DropAlias { alias, position }
        } else {
            return self.expected("SET ALIAS, DROP ALIAS or SET OPTIONS");
        };
        Ok(Statement::AlterModel(Box::new(AlterModel { name, if_exists, change })))
    }

    /// An alias; numbers are versions, and `latest` is every model's newest.
    fn alias(&mut self) -> Result<(String, Option<Position>)> {
        let position = self.position();
        let token = self.sql.next_token();
        let reserved = |what: String, hint: &str| Err(Error::sql(what).at(position).hint(hint));
        match &token.token {
            Token::Word(word) => {
                let alias = normalize(&Ident { value: word.value.clone(), quote_style: word.quote_style, span: token.span });
                if alias == LATEST {
                    return reserved(format!("the alias '{alias}' is the newest version of every model"), "choose another name");
                }
                if alias.is_empty() || alias.bytes().all(|b| b.is_ascii_digit()) {
                    return reserved(format!("'{alias}' cannot be an alias, since numbers are versions"), "begin it with a letter");
                }
                Ok((alias, position))
            }
            Token::Number(text, _) => {
                reserved(format!("'{text}' cannot be an alias, since numbers are versions"), "begin it with a letter")
            }
            _ => Err(self.found("an alias", &token)),
        }
    }

    /// Behind `DROP MODEL`.
    pub(super) fn drop_model(&mut self) -> Result<Statement> {
        let if_exists = self.if_exists()?;
        let ModelName { name, selector } = self.model_name()?;
        let version = match selector {
            Selector::Latest => None,
            Selector::Version(version) => Some(version),
            Selector::Alias(alias) => {
                return Err(Error::sql(format!("DROP MODEL takes a version, found the alias '{alias}'"))
                    .at(name.position)
                    .hint("DROP MODEL name VERSION number; ALTER MODEL name DROP ALIAS alias drops the alias alone"));
            }
        };
        Ok(Statement::DropModel(DropModel { name, if_exists, version }))
    }

    pub(super) fn export(&mut self) -> Result<Statement> {
        let start = self.position();
        self.words(&["EXPORT"])?;
        if !self.word("MODEL") {
            let what = self.sql.peek_token();
            return Err(Error::unsupported(format!("EXPORT {}", what.token), start).hint("EXPORT is followed by MODEL"));
        }
        let model = self.model_name()?;
        let options = if self.word("OPTIONS") { self.model_options()? } else { ModelOptions::default() };
        Ok(Statement::ExportModel(ExportModel { model, options }))
    }

    /// `(name = value, …)`.
    pub(super) fn model_options(&mut self) -> Result<ModelOptions> {
        self.token(&Token::LParen)?;
        let mut options: Vec<ModelOption> = Vec::new();
        if self.sql.consume_token(&Token::RParen) {
            return Ok(ModelOptions(options));
        }
        loop {
            let position = self.position();
            let token = self.sql.next_token();
            let Token::Word(word) = &token.token else { return Err(self.found("the name of an option", &token)) };
            let name = word.value.to_lowercase();
            if options.iter().any(|option| option.name == name) {
                return Err(Error::sql(format!("the option '{name}' is given twice")).at(position));
            }
            self.token(&Token::Eq)?;
            let value = self.option_value()?;
            options.push(ModelOption { name, value, position });
            if !self.sql.consume_token(&Token::Comma) {
                break;
            }
        }
        self.token(&Token::RParen)?;
        Ok(ModelOptions(options))
    }

    fn option_value(&mut self) -> Result<OptionValue> {
        let token = self.sql.next_token();
        match &token.token {
            Token::Minus | Token::Plus => {
                let number = self.sql.next_token();
                match &number.token {
                    Token::Number(text, _) if token.token == Token::Minus => self.number(&format!("-{text}"), &number),
                    Token::Number(text, _) => self.number(text, &number),
                    _ => Err(self.found("a number", &number)),
                }
            }
            Token::Number(text, _) => self.number(text, &token),
            Token::SingleQuotedString(text) => Ok(OptionValue::Text(text.clone())),
            Token::LBracket => self.values_up_to(&Token::RBracket).map(OptionValue::List),
            Token::LParen => self.values_up_to(&Token::RParen).map(OptionValue::List),
            Token::Word(word) if word.quote_style.is_none() => match word.value.to_ascii_uppercase().as_str() {
                "TRUE" => Ok(OptionValue::Bool(true)),
                "FALSE" => Ok(OptionValue::Bool(false)),
                "ARRAY" => {
                    self.token(&Token::LBracket)?;
                    self.values_up_to(&Token::RBracket).map(OptionValue::List)
                }
                "HPARAM_RANGE" => self.range(),
                "HPARAM_CANDIDATES" => self.candidates(),
                _ => Err(self.found(OPTION_VALUE, &token)),
            },
            _ => Err(self.found(OPTION_VALUE, &token)),
        }
    }

    fn number(&self, text: &str, token: &TokenWithSpan) -> Result<OptionValue> {
        if let Ok(value) = text.parse() {
            return Ok(OptionValue::Int(value));
        }
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(OptionValue::Float(value)),
            _ => Err(self.found("a number that 64 bits hold", token)),
        }
    }

    fn values_up_to(&mut self, end: &Token) -> Result<Vec<OptionValue>> {
        let mut values = Vec::new();
        if self.sql.consume_token(end) {
            return Ok(values);
        }
        loop {
            values.push(self.option_value()?);
            if !self.sql.consume_token(&Token::Comma) {
                break;
            }
        }
        self.token(end)?;
        Ok(values)
    }

    fn range(&mut self) -> Result<OptionValue> {
        let position = self.position();
        self.token(&Token::LParen)?;
        let ends: Vec<f64> = self
            .values_up_to(&Token::RParen)?
            .iter()
            .filter_map(|value| match value {
                OptionValue::Int(value) => Some(*value as f64),
                OptionValue::Float(value) => Some(*value),
                _ => None,
            })
            .collect();
        match ends.as_slice() {
            [low, high] if low <= high => Ok(OptionValue::Range(*low, *high)),
            _ => Err(Error::sql("HPARAM_RANGE takes two numbers, the lower one first").at(position).hint("HPARAM_RANGE(2, 10)")),
        }
    }

    fn candidates(&mut self) -> Result<OptionValue> {
        let position = self.position();
        self.token(&Token::LParen)?;
        match self.values_up_to(&Token::RParen)?.as_slice() {
            [OptionValue::List(values)] if !values.is_empty() => Ok(OptionValue::Candidates(values.clone())),
            _ => Err(Error::sql("HPARAM_CANDIDATES takes one list").at(position).hint("HPARAM_CANDIDATES([2, 4, 8])")),
        }
    }
}

const OPTION_VALUE: &str = "a number, a text, TRUE, FALSE, a list, HPARAM_RANGE(low, high) or HPARAM_CANDIDATES([…])";

fn select_null() -> Vec<TokenWithSpan> {
    use datafusion::sql::sqlparser::tokenizer::Whitespace::Space;
    [Token::make_keyword("SELECT"), Token::Whitespace(Space), Token::make_keyword("NULL")].map(TokenWithSpan::wrap).to_vec()
}

fn put_items(query: &mut datafusion::sql::sqlparser::ast::Query, items: Vec<datafusion::sql::sqlparser::ast::SelectItem>) {
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.projection = items;
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{parse, split};
    use super::*;

    fn statement(sql: &str) -> Result<Statement> {
        parse(&split(sql)?.remove(0).tokens)
    }

    fn create(sql: &str) -> CreateModel {
        match statement(sql).unwrap() {
            Statement::CreateModel(create) => *create,
            other => panic!("{sql} is {}", other.kind()),
        }
    }

    #[test]
    fn create_model_is_read_clause_by_clause() {
        let create = create(
            "CREATE OR REPLACE MODEL dev.s.M\n  TRANSFORM (ML.STANDARD_SCALER(a) OVER () AS a, b, * EXCEPT (c))\n  \
             OPTIONS (Model_Type = 'kmeans', num_clusters = HPARAM_RANGE(2, 10), tol = -1.5e-3, seed = +7, early = FALSE,\n    \
             cols = ['a', 'it''s'], tried = HPARAM_CANDIDATES([2, 0.5]), labels = [('team', 'x')])\n  AS SELECT a, b FROM t -- rows",
        );
        assert_eq!(create.name.parts, ["dev", "s", "m"]);
        assert!(create.or_replace && !create.if_not_exists);
        assert_eq!(create.query_text, "SELECT a, b FROM t");
        let transform = create.transform.unwrap();
        assert_eq!(transform.text, "ML.STANDARD_SCALER(a) OVER () AS a, b, * EXCEPT (c)");
        assert_eq!(transform.items.len(), 3);
        let value = |name: &str| create.options.get(name).unwrap().value.clone();
        let text = |text: &str| OptionValue::Text(text.to_string());
        assert_eq!(value("model_type"), text("kmeans"));
        assert_eq!(value("num_clusters"), OptionValue::Range(2.0, 10.0));
        assert_eq!(value("tol"), OptionValue::Float(-0.0015));
        assert_eq!(value("seed"), OptionValue::Int(7));
        assert_eq!(value("early"), OptionValue::Bool(false));
        assert_eq!(value("cols"), OptionValue::List(vec![text("a"), text("it's")]));
        assert_eq!(value("tried"), OptionValue::Candidates(vec![OptionValue::Int(2), OptionValue::Float(0.5)]));
        assert_eq!(value("labels"), OptionValue::List(vec![OptionValue::List(vec![text("team"), text("x")])]));
        assert_eq!(create.options.get("seed").unwrap().position, Some(Position { line: 3, column: 86 }));
    }

    #[test]
    fn other_statements_are_read() {
        let change = |sql: &str| match statement(sql).unwrap() {
            Statement::AlterModel(alter) => (alter.name.to_string(), alter.if_exists, alter.change),
            other => panic!("{sql} is {}", other.kind()),
        };
        let (name, if_exists, set) = change("ALTER MODEL IF EXISTS a.m SET ALIAS Production = VERSION 3");
        assert!(if_exists && name == "a.m");
        assert!(matches!(set, ModelChange::SetAlias { alias, version: 3, .. } if alias == "production"));
        assert!(matches!(change("ALTER MODEL m DROP ALIAS old").2, ModelChange::DropAlias { alias, .. } if alias == "old"));
        assert!(matches!(change("ALTER MODEL m SET OPTIONS (description = 'x')").2, ModelChange::SetOptions(o) if o.0.len() == 1));
        let version = |sql: &str| match statement(sql).unwrap() {
            Statement::DropModel(drop) => (drop.if_exists, drop.version),
            other => panic!("{sql} is {}", other.kind()),
        };
        assert_eq!(version("DROP MODEL IF EXISTS m"), (true, None));
        assert_eq!(version("DROP MODEL m VERSION 2"), (false, Some(2)));
        let export = statement("EXPORT MODEL m@prod OPTIONS (uri = '/tmp/x', format = 'onnx')").unwrap();
        assert!(matches!(export, Statement::ExportModel(e) if e.model.to_string() == "m@prod" && e.options.0.len() == 2));
        assert!(matches!(
            statement("SHOW MODELS IN s LIKE 'a%'").unwrap(),
            Statement::Show(Show::Models { schema: Some(_), like: Some(_) })
        ));
        assert!(matches!(statement("SHOW MODEL VERSIONS m").unwrap(), Statement::Show(Show::ModelVersions { .. })));
        assert!(
            matches!(statement("DESCRIBE MODEL m@3").unwrap(), Statement::Describe(Describe::Model(m)) if m.selector == Selector::Version(3))
        );
        assert!(matches!(
            statement("DESCRIBE HISTORY MODEL m LIMIT 2").unwrap(),
            Statement::Describe(Describe::ModelHistory { limit: Some(2), .. })
        ));
        assert!(matches!(
            statement("DESCRIBE HISTORY model LIMIT 2").unwrap(),
            Statement::Describe(Describe::History { limit: Some(2), .. })
        ));
        assert!(matches!(statement("DESCRIBE model").unwrap(), Statement::Describe(Describe::Relation { .. })));
    }

    #[test]
    fn slips_are_named_with_their_place() {
        let error = |sql: &str| statement(sql).unwrap_err();
        let as_ = "AS SELECT 1";
        for (sql, message, line_and_column) in [
            (format!("CREATE OR REPLACE MODEL IF NOT EXISTS m OPTIONS () {as_}"), "contradict", (1, 39)),
            (format!("CREATE MODEL m OPTIONS (k = 1, K = 2) {as_}"), "'k' is given twice", (1, 32)),
            (format!("CREATE MODEL m OPTIONS (k = ) {as_}"), "expected a number, a text", (1, 29)),
            (format!("CREATE MODEL m OPTIONS (k = nope) {as_}"), "found 'nope'", (1, 29)),
            (format!("CREATE MODEL m OPTIONS (k = HPARAM_RANGE(5, 2)) {as_}"), "two numbers", (1, 41)),
            (format!("CREATE MODEL m OPTIONS (k = HPARAM_CANDIDATES(2)) {as_}"), "one list", (1, 46)),
            (format!("CREATE MODEL m REMOTE WITH x {as_}"), "REMOTE in CREATE MODEL is not supported", (1, 16)),
            (format!("CREATE MODEL m@prod {as_}"), "gives the version itself", (1, 14)),
            ("CREATE MODEL m OPTIONS (k = 1)".to_string(), "expected OPTIONS (…), or AS", (1, 31)),
            ("ALTER MODEL m SET ALIAS 3 = VERSION 1".to_string(), "numbers are versions", (1, 25)),
            ("ALTER MODEL m SET ALIAS \"3\" = VERSION 1".to_string(), "numbers are versions", (1, 25)),
            ("ALTER MODEL m SET ALIAS latest = VERSION 1".to_string(), "newest version", (1, 25)),
            ("ALTER MODEL m SET ALIAS a = 1".to_string(), "expected VERSION", (1, 29)),
            ("ALTER TABLE t ADD COLUMN c INT".to_string(), "ALTER TABLE … ADD is not supported", (1, 15)),
            ("DROP MODEL m@prod".to_string(), "found the alias 'prod'", (1, 12)),
            ("EXPORT TABLE t".to_string(), "EXPORT TABLE is not supported", (1, 1)),
        ] {
            let error = error(&sql);
            assert!(error.message.contains(message), "{sql}: {}", error.message);
            let (line, column) = line_and_column;
            assert_eq!(error.position, Some(Position { line, column }), "{sql}: {}", error.message);
        }
    }
}
