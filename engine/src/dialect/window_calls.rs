//! `window(…)` and `session_window(…)` in query blocks: their lengths of time are read here, and `window`, `window.start` and `window.end` beside
//! them in the block become the call.
//!
//! What is handed to the planner is `window(time, size, slide, offset, places)` and `session_window(time, gap, places)`, with lengths as numbers of
//! microseconds and the places of the arguments as text. Equal calls of a block get the places of the first, so that they stay equal.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, ObjectName, Query, Select, SelectItem,
    SetExpr, Spanned, Subscript, TableFactor, Value, Visit, VisitMut, Visitor, VisitorMut,
};

use super::growth::{Growth, Size};
use super::{durations, normalize, to_name};
use crate::{Error, Position, Result};

/// Rows fall into no more windows than this.
const WINDOWS_PER_ROW_MAX: i64 = 100_000;
/// Windows that differ in a query block: each call is compared with all of them.
const WINDOWS_MAX: usize = 1_000;

/// Rewrites the calls of a query or expression.
///
/// # Errors
/// Arguments that are missing, too many, or no lengths of time; with their place.
pub(super) fn resolve(node: &mut impl VisitMut) -> Result<()> {
    match node.visit(&mut Resolve { blocks: Vec::new(), growth: Growth::default() }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// What a query block says of windows.
#[derive(Default)]
struct Block {
    /// The call that the names `window` or `session_window` stand for.
    call: Option<Expr>,
    /// Calls that were rewritten, without and with their place.
    done: Vec<(Vec<Expr>, Expr)>,
}

struct Resolve {
    blocks: Vec<Block>,
    /// `window, window, …` grows by the size of the call with every name.
    growth: Growth,
}

impl VisitorMut for Resolve {
    type Break = Error;

    /// `ORDER BY` belongs to the query and speaks of its block.
    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        let block = match query.body.as_mut() {
            SetExpr::Select(select) => {
                name_items(select);
                Block::of(select)
            }
            _ => Block::default(),
        };
        self.blocks.push(block);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
        self.blocks.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        name_items(select);
        let mut block = Block::of(select);
        if let Some(query) = self.blocks.last_mut() {
            block.done = std::mem::take(&mut query.done);
        }
        self.blocks.push(block);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &mut Select) -> ControlFlow<Error> {
        if let (Some(select), Some(query)) = (self.blocks.pop(), self.blocks.last_mut()) {
            query.done = select.done;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let mut outside = Block::default();
        let block = self.blocks.last_mut().unwrap_or(&mut outside);
        match block.rewrite(expr, &self.growth) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Block {
    fn of(select: &Select) -> Self {
        let mut find = FindCall { call: None, depth: 0 };
        if let GroupByExpr::Expressions(keys, _) = &select.group_by {
            let _ = keys.visit(&mut find);
        }
        if find.call.is_none() {
            // `GROUP BY 1`, `GROUP BY ALL`, or an alias.
            let _ = select.projection.visit(&mut find);
        }
        let hides = |factor: &TableFactor| {
            let name = match factor {
                TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => normalize(&alias.name),
                TableFactor::Table { name, .. } => to_name(name).parts.pop().unwrap_or_default(),
                _ => return false,
            };
            matches!(name.as_str(), "window" | "session_window")
        };
        let hidden = select.from.iter().any(|from| hides(&from.relation) || from.joins.iter().any(|join| hides(&join.relation)));
        Self { call: find.call.filter(|call| !hidden && !names_itself(call)), done: Vec::new() }
    }

    fn rewrite(&mut self, expr: &mut Expr, growth: &Growth) -> Result<()> {
        match expr {
            Expr::Identifier(ident) => {
                if let Some(call) = self.named(ident, growth)? {
                    *expr = self.planned(&call)?;
                }
            }
            Expr::CompoundIdentifier(parts) => {
                if let [window, edge] = parts.as_slice()
                    && is_edge(edge)
                    && let Some(call) = self.named(window, growth)?
                {
                    // The call is rewritten when the visitor comes to it.
                    *expr = Expr::CompoundFieldAccess { root: Box::new(call), access_chain: vec![field(edge)] };
                }
            }
            Expr::CompoundFieldAccess { root, access_chain } if window_name(root).is_some() => {
                if let Some(AccessExpr::Dot(Expr::Identifier(edge))) = access_chain.first() {
                    access_chain[0] = field(edge);
                }
            }
            Expr::Function(_) if window_name(expr).is_some() => *expr = self.planned(expr)?,
            _ => {}
        }
        Ok(())
    }

    /// The call that a name stands for in this block.
    fn named(&self, ident: &Ident, growth: &Growth) -> Result<Option<Expr>> {
        let Some(call) = self.call.as_ref().filter(|call| window_name(call).is_some_and(|name| name == normalize(ident))) else {
            return Ok(None);
        };
        if !growth.allows(Size::of(call).count) {
            return Err(Error::sql(format!("what {ident} stands for is too large to be written so often"))
                .at(Position::of_span(ident.span))
                .hint(format!("select {ident} in a subquery, and use that column")));
        }
        Ok(Some(call.clone()))
    }

    fn planned(&mut self, call: &Expr) -> Result<Expr> {
        let Expr::Function(function) = call else { return Ok(call.clone()) };
        let args = match window_name(call) {
            Some("window") => window_args(function)?,
            _ => session_args(function)?,
        };
        if let Some((_, done)) = self.done.iter().find(|(known, _)| *known == args) {
            return Ok(done.clone());
        }
        if self.done.len() >= WINDOWS_MAX {
            return Err(Error::sql(format!("a query has more than {WINDOWS_MAX} windows that differ"))
                .at(Position::of_span(function.name.span()))
                .hint("split it with views or tables"));
        }
        let places = arg_places(function);
        let mut planned = function.clone();
        if let FunctionArguments::List(list) = &mut planned.args {
            let places = Expr::value(Value::SingleQuotedString(places));
            list.args = args.iter().cloned().chain([places]).map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
        }
        self.done.push((args, Expr::Function(planned.clone())));
        Ok(Expr::Function(planned))
    }
}

/// Whether the arguments of a call speak of a column of its own name: then that name stands for the column and not for the call, which would go on without end.
fn names_itself(call: &Expr) -> bool {
    struct Mentions(&'static str);
    impl Visitor for Mentions {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            let first = match expr {
                Expr::Identifier(ident) => Some(ident),
                Expr::CompoundIdentifier(parts) => parts.first(),
                _ => None,
            };
            if first.is_some_and(|ident| normalize(ident) == self.0) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    window_name(call).is_some_and(|name| call.visit(&mut Mentions(name)).is_break())
}

/// Where each argument stands: `line:column line:column …`.
fn arg_places(call: &Function) -> String {
    let FunctionArguments::List(list) = &call.args else { return String::new() };
    let of_call = Position::of_span(call.name.span());
    let places = list.args.iter().filter_map(|arg| Position::of_span(arg.span()).or(of_call));
    places.map(|place| format!("{}:{}", place.line, place.column)).collect::<Vec<_>>().join(" ")
}

/// `['start']`: DataFusion takes fields by dots from columns only.
fn field(name: &Ident) -> AccessExpr {
    AccessExpr::Subscript(Subscript::Index { index: Expr::value(Value::SingleQuotedString(normalize(name))) })
}

fn is_edge(ident: &Ident) -> bool {
    matches!(normalize(ident).as_str(), "start" | "end")
}

/// The name of the function if the expression is a call of one of ours.
fn window_name(expr: &Expr) -> Option<&'static str> {
    let Expr::Function(Function { name: ObjectName(parts), .. }) = expr else { return None };
    let [part] = parts.as_slice() else { return None };
    match normalize(part.as_ident()?).as_str() {
        "window" => Some("window"),
        "session_window" => Some("session_window"),
        _ => None,
    }
}

/// `time, size, slide, offset`.
fn window_args(call: &Function) -> Result<Vec<Expr>> {
    let args = plain_args(call, 2..=4, "window(time, size [, slide [, offset]])")?;
    let (time, lengths) = args.split_first().map_or((None, [].as_slice()), |(time, lengths)| (Some(time), lengths));
    let size = lengths.first().map_or(Ok(0), |size| durations::positive_micros(size, "the size of window()"))?;
    let slide = lengths.get(1).map_or(Ok(size), |slide| durations::positive_micros(slide, "the slide of window()"))?;
    let offset = lengths.get(2).map_or(Ok(0), |offset| durations::micros(offset, "the offset of window()"))?;
    if let Some(written) = lengths.get(1) {
        check_slide(size, slide, written, "window()")?;
    }
    let lengths = [size, slide, offset.rem_euclid(slide.max(1))];
    Ok(time.cloned().into_iter().chain(lengths.map(number)).collect())
}

/// A slide that loses no rows, and does not multiply them beyond reason.
pub(crate) fn check_slide(size: i64, slide: i64, written: &Expr, function: &str) -> Result<()> {
    let position = Position::of_span(written.span());
    if slide > size {
        return Err(Error::sql(format!(
            "the slide of {function} is {written}, which is more than the size: rows between windows would be lost"
        ))
        .at(position)
        .hint("the slide is at most the size"));
    }
    let windows = size.div_euclid(slide);
    if windows > WINDOWS_PER_ROW_MAX {
        return Err(Error::sql(format!("with a slide of {written}, {function} puts every row into {windows} windows"))
            .at(position)
            .hint(format!("at most {WINDOWS_PER_ROW_MAX}")));
    }
    Ok(())
}

/// `time, gap`, the gap as a number where it is written as a length of time.
fn session_args(call: &Function) -> Result<Vec<Expr>> {
    let mut args = plain_args(call, 2..=2, "session_window(time, gap)")?;
    if let Some(gap) = args.get_mut(1)
        && durations::is_duration(gap)
    {
        *gap = number(durations::positive_micros(gap, "the gap of session_window()")?);
    }
    Ok(args)
}

fn number(value: i64) -> Expr {
    Expr::value(Value::Number(value.to_string(), false))
}

fn plain_args(call: &Function, count: std::ops::RangeInclusive<usize>, form: &str) -> Result<Vec<Expr>> {
    let wrong = |what: String| Error::sql(what).at(Position::of_span(call.name.span())).hint(form);
    let FunctionArguments::List(list) = &call.args else { return Err(wrong(format!("{} has no arguments", call.name))) };
    let has_clauses = call.over.is_some() || call.filter.is_some() || call.null_treatment.is_some() || !call.within_group.is_empty();
    if has_clauses || list.duplicate_treatment.is_some() || !list.clauses.is_empty() {
        return Err(wrong(format!("{}() takes no OVER, FILTER, DISTINCT, ORDER BY or treatment of NULL", call.name)));
    }
    // They may hold calls with the same arguments, which would be taken for this one, and go on without end.
    if call.parameters != FunctionArguments::None {
        return Err(wrong(format!("{}() takes one list of arguments", call.name)));
    }
    if !count.contains(&list.args.len()) {
        return Err(wrong(format!("{}() is called with {} arguments", call.name, list.args.len())));
    }
    let plain = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Ok(expr.clone()),
        other => Err(wrong(format!("{}() takes its arguments by place, found {other}", call.name))),
    };
    list.args.iter().map(plain).collect()
}

/// Names the selected expressions as Spark does: `window` for the window, `start` and `end` for its edges.
fn name_items(select: &mut Select) {
    let call = Block::of(select).call;
    let stands_for = |ident: &Ident| call.as_ref().and_then(window_name).is_some_and(|name| name == normalize(ident));
    for item in &mut select.projection {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        let name = match &*expr {
            Expr::Identifier(ident) if stands_for(ident) => normalize(ident),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [window, edge] if stands_for(window) && is_edge(edge) => normalize(edge),
                _ => continue,
            },
            Expr::CompoundFieldAccess { root, access_chain } if window_name(root).is_some() => match access_chain.as_slice() {
                [AccessExpr::Dot(Expr::Identifier(edge))] => normalize(edge),
                _ => expr.to_string(),
            },
            call if window_name(call).is_some() => window_name(call).unwrap_or_default().to_string(),
            other => {
                let mut find = FindCall { call: None, depth: 0 };
                let _ = other.visit(&mut find);
                if find.call.is_none() {
                    continue;
                }
                other.to_string()
            }
        };
        *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::with_quote('"', name) };
    }
}

/// Finds the first call that is not in a subquery.
struct FindCall {
    call: Option<Expr>,
    depth: usize,
}

impl Visitor for FindCall {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if self.depth > 0 || window_name(expr).is_none() {
            return ControlFlow::Continue(());
        }
        self.call = Some(expr.clone());
        ControlFlow::Break(())
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{dialect::GenericDialect, parser::Parser};

    use crate::dialect::{parse, split};

    fn refused(sql: &str) -> String {
        parse(&split(sql).unwrap()[0].tokens).unwrap_err().message
    }

    /// Calls whose second list of arguments is that of a call in their first one: taken for it, each would hold itself.
    #[test]
    fn calls_with_two_lists_are_refused() {
        let sql = "SELECT 1 FROM t GROUP BY window(a, window(b, '1 hour'), window(b, '1 hour'))(b, '1 hour')";
        assert_eq!(refused(sql), "window(…)(…) is not supported");
        // By the rewrite, too, which is also given what nobody has checked.
        let mut statements = Parser::parse_sql(&GenericDialect, sql).unwrap();
        let error = super::resolve(&mut statements).unwrap_err();
        assert_eq!(error.message, "window() takes one list of arguments");
    }

    #[test]
    fn names_of_windows_do_not_grow_without_end() {
        let query = |names: usize, sum: usize| {
            let (names, sum) = (vec!["window"; names].join(", "), vec!["1"; sum].join(", "));
            format!("SELECT {names} FROM t GROUP BY window(f({sum}), '1 hour')")
        };
        parse(&split(&query(100, 100)).unwrap()[0].tokens).unwrap();
        assert_eq!(refused(&query(2_000, 2_000)), "what window stands for is too large to be written so often");
        let differing: Vec<String> = (0..2_000).map(|i| format!("window(t{i}, '1 hour')")).collect();
        assert_eq!(refused(&format!("SELECT {}", differing.join(", "))), "a query has more than 1000 windows that differ");
    }
}
