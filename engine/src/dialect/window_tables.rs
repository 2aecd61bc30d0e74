//! `TUMBLE`, `HOP` and `SESSION` in `FROM`, in Flink's form and in RisingWave's short one, brought into one: the first argument becomes
//! `TABLE(query)`, whose `OVER (PARTITION BY …)` holds the keys of `TABLE t PARTITION BY …`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName, ObjectNamePart, Query,
    SetExpr, TableFactor, VisitMut, VisitorMut, WindowSpec, WindowType,
};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::sql_dialect::OrreryDialect;
use super::to_name;

/// The functions of this module.
const FUNCTIONS: [&str; 3] = ["tumble", "hop", "session"];

/// Which of the functions a name in `FROM` is.
pub(crate) fn function_named(name: &ObjectName) -> Option<&'static str> {
    let parts = to_name(name).parts;
    let [single] = parts.as_slice() else { return None };
    FUNCTIONS.into_iter().find(|function| function == single)
}

/// What `TABLE t PARTITION BY …` holds.
pub(crate) struct TableArgument {
    pub query: Box<Query>,
    pub keys: Vec<Expr>,
}

/// The rows that a first argument stands for, after [`resolve`].
pub(crate) fn table_argument(expr: &Expr) -> Option<TableArgument> {
    let Expr::Function(Function { name, args: FunctionArguments::Subquery(query), over, .. }) = expr else { return None };
    let keys = match over {
        Some(WindowType::WindowSpec(spec)) => spec.partition_by.clone(),
        _ => Vec::new(),
    };
    (to_name(name).parts == ["table"]).then(|| TableArgument { query: query.clone(), keys })
}

/// Brings the short form into the long one.
pub(super) fn resolve(node: &mut impl VisitMut) {
    let _: ControlFlow<()> = node.visit(&mut Resolve);
}

struct Resolve;

impl VisitorMut for Resolve {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let TableFactor::Table { name, args: Some(args), .. } = factor else { return ControlFlow::Continue(()) };
        if function_named(name).is_none() {
            return ControlFlow::Continue(());
        }
        if let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(first))) = args.args.first_mut() {
            let query = match &*first {
                Expr::Identifier(ident) => select_all_from(ObjectName(vec![ObjectNamePart::Identifier(ident.clone())])),
                Expr::CompoundIdentifier(parts) => {
                    select_all_from(ObjectName(parts.iter().cloned().map(ObjectNamePart::Identifier).collect()))
                }
                Expr::Subquery(query) => Ok(query.clone()),
                _ => return ControlFlow::Continue(()),
            };
            if let Ok(query) = query {
                *first = table_of(query, Vec::new());
            }
        }
        ControlFlow::Continue(())
    }
}

/// Reads `TABLE t [PARTITION BY k, …]` where it is the first argument of one of the functions; `None` anywhere else.
pub(super) fn parse_table_argument(parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
    let is_word =
        |token: &Token, word: &str| matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word));
    if !is_word(&parser.peek_token_ref().token, "TABLE") || !follows_function(parser) {
        return None;
    }
    let _ = parser.next_token();
    Some(table_and_keys(parser))
}

/// Whether the parser stands behind `TUMBLE (`, `HOP (` or `SESSION (`.
fn follows_function(parser: &Parser) -> bool {
    let mut before =
        (0..=parser.get_current_index()).rev().map(|at| &parser.token_at(at).token).filter(|t| !matches!(t, Token::Whitespace(_)));
    before.next() == Some(&Token::LParen)
        && matches!(before.next(), Some(Token::Word(word)) if FUNCTIONS.iter().any(|name| word.value.eq_ignore_ascii_case(name)))
}

fn table_and_keys(parser: &mut Parser) -> Result<Expr, ParserError> {
    let query = if parser.consume_token(&Token::LParen) {
        let query = parser.parse_query()?;
        parser.expect_token(&Token::RParen)?;
        query
    } else {
        select_all_from(parser.parse_object_name(false)?)?
    };
    let mut keys = Vec::new();
    let is_word =
        |token: &Token, word: &str| matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word));
    if is_word(&parser.peek_token_ref().token, "PARTITION") {
        let _ = parser.next_token();
        if !is_word(&parser.peek_token_ref().token, "BY") {
            return parser.expected("BY after PARTITION", parser.peek_token());
        }
        let _ = parser.next_token();
        loop {
            match parser.parse_expr()? {
                Expr::Tuple(several) => keys.extend(several),
                one => keys.push(one),
            }
            // A comma ends the keys where DESCRIPTOR follows.
            if parser.peek_token_ref().token != Token::Comma || is_word(&parser.peek_nth_token(1).token, "DESCRIPTOR") {
                break;
            }
            let _ = parser.next_token();
        }
    }
    Ok(table_of(query, keys))
}

pub(super) fn table_of(query: Box<Query>, keys: Vec<Expr>) -> Expr {
    let spec = WindowSpec { window_name: None, partition_by: keys, order_by: Vec::new(), window_frame: None };
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::new("table"))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::Subquery(query),
        filter: None,
        null_treatment: None,
        over: Some(WindowType::WindowSpec(spec)),
        within_group: Vec::new(),
    })
}

pub(super) fn select_all_from(name: ObjectName) -> Result<Box<Query>, ParserError> {
    let mut query = Parser::new(&OrreryDialect::default()).try_with_sql("SELECT * FROM t")?.parse_query()?;
    if let SetExpr::Select(select) = query.body.as_mut() {
        // It stands nowhere in the statement, and so no hints are its.
        select.select_token = AttachedToken::empty();
        if let Some(TableFactor::Table { name: placeholder, .. }) = select.from.first_mut().map(|from| &mut from.relation) {
            *placeholder = name;
        }
    }
    Ok(query)
}

/// The column or columns that `DESCRIPTOR(…)` names.
pub(crate) fn descriptor(expr: &Expr) -> Option<Vec<Expr>> {
    let Expr::Function(Function { name, args: FunctionArguments::List(FunctionArgumentList { args, .. }), .. }) = expr else { return None };
    if to_name(name).parts != ["descriptor"] {
        return None;
    }
    args.iter()
        .map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
            _ => None,
        })
        .collect()
}
