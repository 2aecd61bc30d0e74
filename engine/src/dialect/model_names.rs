//! How a model is named: `m`, `m@alias`, `m@3`, `m VERSION AS OF 3` or `m VERSION 3`, in statements, as `MODEL m` among the arguments of `ML.X(…)`, and in
//! a text of its own. `TABLE t` and subqueries among these arguments become `TABLE(query)`, as those of windows do.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName, ObjectNamePart, Query,
    SetExpr, TableFactor, Value, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::sql_dialect::OrreryDialect;
use super::statement::Name;
use super::window_tables::{select_all_from, table_of};
use super::{normalize, to_name};
use crate::models::Selector;
use crate::{Error, Position, Result};

/// The alias that every model has: its newest version.
pub(crate) const LATEST: &str = "latest";
/// Levels of a model's name.
const PARTS_MAX: usize = 3;
/// What a model's name looks like, for errors.
pub(crate) const FORM: &str = "[catalog.][schema.]model, model@alias or model VERSION AS OF number";

/// A model as a statement names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelName {
    /// `[catalog.[schema.]]model`.
    pub name: Name,
    /// Which version.
    pub selector: Selector,
}

impl std::fmt::Display for ModelName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.selector {
            Selector::Latest => write!(f, "{}", self.name),
            Selector::Alias(alias) => write!(f, "{}@{alias}", self.name),
            Selector::Version(version) => write!(f, "{} VERSION {version}", self.name),
        }
    }
}

/// The function that a name means: `predict` for `ML.PREDICT` and `ML_PREDICT`, whatever the case; `None` for any other name.
pub(crate) fn ml_function(name: &ObjectName) -> Option<String> {
    let parts: Vec<String> = to_name(name).parts.into_iter().map(|part| part.to_lowercase()).collect();
    match parts.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["ml", function] => Some((*function).to_string()),
        [single] => single.strip_prefix("ml_").filter(|rest| !rest.is_empty()).map(str::to_string),
        _ => None,
    }
}

/// The model that an argument names: `MODEL m@alias`, as the dialect's parser has read it.
pub(crate) fn model_argument(expr: &Expr) -> Option<ModelName> {
    let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = expr else { return None };
    let [ObjectNamePart::Identifier(function)] = name.0.as_slice() else { return None };
    if function.value != MARKER {
        return None;
    }
    let mut texts = list.args.iter().map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) => match &value.value {
            Value::SingleQuotedString(text) => Some(text.clone()),
            _ => None,
        },
        _ => None,
    });
    let kind = texts.next()??;
    let which = texts.next()??;
    let parts = texts.collect::<Option<Vec<String>>>()?;
    let selector = match kind.as_str() {
        "alias" => Selector::Alias(which),
        "version" => Selector::Version(which.parse().ok()?),
        _ => Selector::Latest,
    };
    Some(ModelName { name: Name { parts, position: Position::of_span(function.span) }, selector })
}

/// A model from a text of its own: `'m@alias'`, `'a.b.m VERSION 3'`.
///
/// # Errors
/// What is no name of a model, with the form that one has.
pub(crate) fn parse_model_text(text: &str) -> Result<ModelName> {
    let refuse = || Error::sql(format!("'{text}' is no name of a model")).hint(FORM);
    let tokens = Tokenizer::new(&OrreryDialect::default(), text).tokenize_with_location().map_err(|_| refuse())?;
    let dialect = OrreryDialect::default();
    let mut parser = Parser::new(&dialect).with_tokens_with_locations(tokens);
    let mut model = parse_model_name(&mut parser).map_err(|_| refuse())?;
    // Places in a text are not those of the statement.
    model.name.position = None;
    if parser.peek_token_ref().token == Token::EOF { Ok(model) } else { Err(refuse()) }
}

/// Reads a name with its selector.
pub(crate) fn parse_model_name(parser: &mut Parser) -> Result<ModelName, ParserError> {
    let first = parser.peek_token();
    let written = parser.parse_object_name(false)?;
    let mut name = to_name(&written);
    name.position = name.position.or(Position::of_span(first.span));
    if name.parts.is_empty() || name.parts.len() > PARTS_MAX {
        return parser.expected("[catalog.][schema.]model", first);
    }
    Ok(ModelName { name, selector: parse_selector(parser)? })
}

fn parse_selector(parser: &mut Parser) -> Result<Selector, ParserError> {
    if parser.consume_token(&Token::AtSign) {
        let token = parser.next_token();
        return match &token.token {
            Token::Word(word) => {
                let alias = normalize(&Ident { value: word.value.clone(), quote_style: word.quote_style, span: token.span });
                Ok(if alias == LATEST { Selector::Latest } else { Selector::Alias(alias) })
            }
            Token::Number(text, _) if text.parse::<u64>().is_ok() => Ok(text.parse().map_or(Selector::Latest, Selector::Version)),
            _ => parser.expected("an alias or a version after @", token),
        };
    }
    if !is_word(&parser.peek_token_ref().token, "VERSION") {
        return Ok(Selector::Latest);
    }
    let _ = parser.next_token();
    if is_word(&parser.peek_token_ref().token, "AS") && is_word(&parser.peek_nth_token(1).token, "OF") {
        let _ = (parser.next_token(), parser.next_token());
    }
    parse_version_number(parser).map(Selector::Version)
}

/// Reads the number of a version; a text that holds one does as well, since variables may.
pub(crate) fn parse_version_number(parser: &mut Parser) -> Result<u64, ParserError> {
    let token = parser.next_token();
    let text = match &token.token {
        Token::Number(text, _) | Token::SingleQuotedString(text) => text.as_str(),
        _ => "",
    };
    match text.parse() {
        Ok(version) => Ok(version),
        Err(_) => parser.expected("the number of a version", token),
    }
}

/// Name of the function that stands for `MODEL m`; no user can write it.
const MARKER: &str = "\u{1}model";

/// Reads `MODEL m` and `TABLE t` where they are arguments of `ML.X(`; `None` anywhere else.
pub(super) fn parse_argument(parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
    let token = &parser.peek_token_ref().token;
    let (model, table) = (is_word(token, "MODEL"), is_word(token, "TABLE"));
    let names_something = matches!(parser.peek_nth_token(1).token, Token::Word(_)) || (table && opens_query(parser));
    if !(model || table) || !names_something || !begins_argument_of_ml(parser) {
        return None;
    }
    let _ = parser.next_token();
    Some(if model { parse_model_name(parser).map(|model| marked(&model)) } else { table_argument(parser) })
}

fn opens_query(parser: &Parser) -> bool {
    parser.peek_nth_token(1).token == Token::LParen
}

/// Whether the parser stands behind the parenthesis or a comma of a call of `ML.X` or `ML_X`.
fn begins_argument_of_ml(parser: &Parser) -> bool {
    let mut before = (0..=parser.get_current_index())
        .rev()
        .map(|at| &parser.token_at(at).token)
        .filter(|t| !matches!(t, Token::Whitespace(_)))
        .peekable();
    if !matches!(before.peek(), Some(Token::LParen | Token::Comma)) {
        return false;
    }
    let mut open = 1_usize;
    for token in before.by_ref() {
        match token {
            Token::RParen => open += 1,
            Token::LParen => open -= 1,
            _ => {}
        }
        if open == 0 {
            break;
        }
    }
    let (Some(Token::Word(function)), next) = (before.next(), before.next()) else { return false };
    let whole = function.value.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("ml_"));
    let prefixed =
        matches!(next, Some(Token::Period)) && matches!(before.next(), Some(Token::Word(w)) if w.value.eq_ignore_ascii_case("ml"));
    prefixed || (whole && !matches!(next, Some(Token::Period)))
}

fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

fn marked(model: &ModelName) -> Expr {
    let (kind, which) = match &model.selector {
        Selector::Latest => ("", String::new()),
        Selector::Alias(alias) => ("alias", alias.clone()),
        Selector::Version(version) => ("version", version.to_string()),
    };
    let texts = [kind.to_string(), which].into_iter().chain(model.name.parts.iter().cloned());
    let args = texts.map(|text| FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::value(Value::SingleQuotedString(text))))).collect();
    let mut function = Ident::with_quote('"', MARKER);
    if let Some(position) = model.name.position {
        function.span = position.to_span();
    }
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(function)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// `t`, `t VERSION AS OF 3` or `(query)` behind the word `TABLE`.
fn table_argument(parser: &mut Parser) -> Result<Expr, ParserError> {
    if parser.consume_token(&Token::LParen) {
        let query = parser.parse_query()?;
        parser.expect_token(&Token::RParen)?;
        return Ok(table_of(query, Vec::new()));
    }
    let factor = parser.parse_table_factor()?;
    let TableFactor::Table { name, .. } = &factor else { return parser.expected("a table", parser.peek_token()) };
    let mut query = select_all_from(name.clone())?;
    put_factor(&mut query, factor);
    Ok(table_of(query, Vec::new()))
}

fn put_factor(query: &mut Query, factor: TableFactor) {
    if let SetExpr::Select(select) = query.body.as_mut()
        && let Some(from) = select.from.first_mut()
    {
        from.relation = factor;
    }
}

/// Brings subqueries among the arguments of `ML.X` in `FROM` into the form that `TABLE t` has.
pub(super) fn resolve(node: &mut impl VisitMut) {
    let _: ControlFlow<()> = node.visit(&mut Resolve);
}

struct Resolve;

impl VisitorMut for Resolve {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let TableFactor::Table { name, args: Some(args), .. } = factor else { return ControlFlow::Continue(()) };
        if ml_function(name).is_none() {
            return ControlFlow::Continue(());
        }
        for argument in &mut args.args {
            if let FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) = argument
                && let Expr::Subquery(query) = &*argument
            {
                *argument = table_of(query.clone(), Vec::new());
            }
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::{Statement, parse, split, window_tables};
    use datafusion::sql::sqlparser::ast::{Visit, Visitor};

    fn model(text: &str) -> ModelName {
        parse_model_text(text).unwrap()
    }

    #[test]
    fn selectors_are_read() {
        assert_eq!(model("m").selector, Selector::Latest);
        assert_eq!(model("a.b.M@Prod").selector, Selector::Alias("prod".into()));
        assert_eq!(model("a.b.M@Prod").name.parts, ["a", "b", "m"]);
        assert_eq!(model("m@\"Prod\"").selector, Selector::Alias("Prod".into()));
        assert_eq!(model("m@latest").selector, Selector::Latest);
        assert_eq!(model("m@3").selector, Selector::Version(3));
        assert_eq!(model("m VERSION AS OF 3").selector, Selector::Version(3));
        assert_eq!(model("m version 12").selector, Selector::Version(12));
        for wrong in ["", "m@", "m VERSION", "m VERSION x", "a.b.c.d", "m@prod x", "m VERSION 1.5", "m@'a'"] {
            assert!(parse_model_text(wrong).is_err(), "{wrong}");
        }
    }

    /// What the arguments of the `ML.X` calls of a statement stand for.
    fn arguments(sql: &str) -> Vec<String> {
        struct Arguments(Vec<String>);
        impl Visitor for Arguments {
            type Break = ();
            fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
                if let TableFactor::Table { name, args: Some(args), .. } = factor
                    && let Some(function) = ml_function(name)
                {
                    self.0.push(function);
                    for arg in &args.args {
                        let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg else { continue };
                        self.0.push(match (model_argument(expr), window_tables::table_argument(expr)) {
                            (Some(model), _) => format!("model {model}"),
                            (_, Some(table)) => table.query.to_string(),
                            _ => expr.to_string(),
                        });
                    }
                }
                ControlFlow::Continue(())
            }
        }
        let statement = parse(&split(sql).unwrap().remove(0).tokens).unwrap();
        let Statement::Query(query) = statement else { panic!("{sql} is a query") };
        let mut found = Arguments(Vec::new());
        let _ = query.visit(&mut found);
        found.0
    }

    #[test]
    fn arguments_of_functions_are_read() {
        assert_eq!(
            arguments("SELECT * FROM ML.PREDICT(MODEL dev.s.m@prod, TABLE t, STRUCT(0.5 AS threshold)) p"),
            ["predict", "model dev.s.m@prod", "SELECT * FROM t", "STRUCT(0.5 AS threshold)"]
        );
        assert_eq!(
            arguments("SELECT * FROM ml_evaluate(model m VERSION AS OF 2, (SELECT a FROM t WHERE (a > 1)))"),
            ["evaluate", "model m VERSION 2", "SELECT a FROM t WHERE (a > 1)"]
        );
        assert_eq!(
            arguments("SELECT * FROM ML.TRANSFORM(MODEL m, TABLE a.t VERSION AS OF 3) JOIN u USING (k)"),
            ["transform", "model m", "SELECT * FROM a.t VERSION AS OF 3"]
        );
        assert_eq!(arguments("SELECT * FROM ML.CENTROIDS(MODEL m)"), ["centroids", "model m"]);
        assert_eq!(
            arguments("SELECT * FROM ML.PREDICT(MODEL m, (SELECT * FROM ML.PREDICT(MODEL n@3, TABLE t)))"),
            [
                "predict",
                "model m",
                "SELECT * FROM ML.PREDICT(\"\u{1}model\"('version', '3', 'n'), table(SELECT * FROM t) OVER ())",
                "predict",
                "model n VERSION 3",
                "SELECT * FROM t"
            ]
        );
    }

    #[test]
    fn the_words_stay_ordinary_elsewhere() {
        for sql in
            ["SELECT model, ml.x FROM t", "SELECT coalesce(model, 1) FROM model", "SELECT * FROM f(model)", "SELECT model AS m FROM ml"]
        {
            assert!(parse(&split(sql).unwrap().remove(0).tokens).is_ok(), "{sql}");
        }
    }

    #[test]
    fn names_keep_their_place() {
        let statement = parse(&split("SELECT *\nFROM ML.PREDICT(MODEL m, TABLE t)").unwrap().remove(0).tokens).unwrap();
        struct Place(Option<Position>);
        impl Visitor for Place {
            type Break = ();
            fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
                self.0 = self.0.or(model_argument(expr).and_then(|model| model.name.position));
                ControlFlow::Continue(())
            }
        }
        let Statement::Query(query) = statement else { panic!("a query") };
        let mut place = Place(None);
        let _ = query.visit(&mut place);
        assert_eq!(place.0, Some(Position { line: 2, column: 23 }));
    }
}
