//! Hints to the planner: `/*+ … */` directly behind `SELECT`, for that query block.
//!
//! They are read from the tokens, where their places are known, and then put around the relations that they speak of: a hinted relation becomes a
//! parenthesized one, `(relation) AS "<mark> BROADCAST" ("d")`, which no user can write and which `planner::hints` takes apart again. A hint for the whole
//! block stands around its first relation.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Ident, Select, TableAlias, TableAliasColumnDef, TableFactor, TableWithJoins, VisitMut, VisitorMut};
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, Whitespace};

use super::sql_dialect::OrreryDialect;
use super::{normalize, to_name};
use crate::{Error, Position, Result};

/// Begins the name that marks a hinted relation.
const MARK: &str = "\u{1}hint ";
/// Partitions that a hint may ask for.
const PARTITIONS_MAX: u64 = 1 << 16;
const KNOWN: &str =
    "BROADCAST(t, …), MERGE(t, …), SHUFFLE_HASH(t, …), REPARTITION([n] [, column, …]), COALESCE(n) and SKEW('t', 'column', …)";

/// What a hint asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Hash)]
pub(crate) enum HintKind {
    /// The join collects the relation and hands it to all its tasks.
    Broadcast,
    /// The join sorts and merges.
    Merge,
    /// The join hashes the relation, both sides shuffled.
    ShuffleHash,
    /// The block's rows are dealt out anew.
    Repartition,
    /// The block's rows come in fewer partitions.
    Coalesce,
    /// Some values of the relation's columns are frequent.
    Skew,
    /// No hint: where a query block in `FROM` ends.
    BlockEnd,
}

impl HintKind {
    const ALL: [(&'static str, HintKind); 11] = [
        ("BROADCAST", HintKind::Broadcast),
        ("BROADCASTJOIN", HintKind::Broadcast),
        ("MAPJOIN", HintKind::Broadcast),
        ("MERGE", HintKind::Merge),
        ("SHUFFLE_MERGE", HintKind::Merge),
        ("MERGEJOIN", HintKind::Merge),
        ("SHUFFLE_HASH", HintKind::ShuffleHash),
        ("REPARTITION", HintKind::Repartition),
        ("COALESCE", HintKind::Coalesce),
        ("SKEW", HintKind::Skew),
        ("BLOCK_END", HintKind::BlockEnd),
    ];

    fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find_map(|(known, kind)| known.eq_ignore_ascii_case(name).then_some(*kind))
    }

    /// The name that plans show.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find_map(|(name, kind)| (*kind == self).then_some(*name)).unwrap_or_default()
    }

    /// Whether the hint is for the rows of a query block, and not for one of its relations.
    pub fn is_for_block(self) -> bool {
        matches!(self, HintKind::Repartition | HintKind::Coalesce)
    }

    fn is_for_join(self) -> bool {
        matches!(self, HintKind::Broadcast | HintKind::Merge | HintKind::ShuffleHash)
    }
}

/// One hint with its place; names are as they resolve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hint {
    pub kind: HintKind,
    pub args: Vec<String>,
    pub position: Option<Position>,
}

impl std::fmt::Display for Hint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({})", self.kind.name(), self.args.join(", "))
    }
}

/// The hints of a statement, by the place of their `SELECT`.
#[derive(Debug, Default)]
pub(super) struct Hints {
    blocks: Vec<(Location, Vec<Hint>)>,
}

impl Hints {
    /// Reads the hint comments of a statement.
    ///
    /// # Errors
    /// Hints that are not known, have wrong arguments, or stand elsewhere than behind `SELECT`; with their place.
    pub fn read(tokens: &[TokenWithSpan]) -> Result<Self> {
        let mut hints = Self::default();
        let mut select = None;
        for token in tokens {
            let (text, shown) = match &token.token {
                Token::Whitespace(Whitespace::MultiLineComment(text)) if text.starts_with('+') => (&text[1..], format!("/*{text}*/")),
                Token::Whitespace(Whitespace::SingleLineComment { comment, prefix }) if comment.starts_with('+') && select.is_some() => {
                    (&comment[1..], format!("{prefix}{comment}").trim_end().to_string())
                }
                Token::Whitespace(_) => continue,
                Token::Word(word) => {
                    select = (word.quote_style.is_none() && word.value.eq_ignore_ascii_case("SELECT")).then_some(token.span.start);
                    continue;
                }
                _ => {
                    select = None;
                    continue;
                }
            };
            let Some(select) = select else {
                return Err(Error::sql(format!("the hint {shown} stands elsewhere than directly behind SELECT"))
                    .at(Position::of_span(token.span))
                    .hint("move it there; a comment without the + is ignored"));
            };
            let found = parse(text, token.span.start)?;
            match hints.blocks.iter_mut().find(|(place, _)| *place == select) {
                Some((_, known)) => known.extend(found),
                None => hints.blocks.push((select, found)),
            }
        }
        hints.blocks.iter().try_for_each(|(_, block)| check_together(block))?;
        Ok(hints)
    }

    /// The first hint of all.
    pub fn first(&self) -> Option<&Hint> {
        self.blocks.iter().find_map(|(_, hints)| hints.first())
    }

    /// Puts the hints around the relations of a query or expression.
    ///
    /// # Errors
    /// A hint that names no relation of its query block, with its place.
    pub fn attach(&self, node: &mut impl VisitMut) -> Result<()> {
        if self.blocks.is_empty() {
            return Ok(());
        }
        match node.visit(&mut Attach { hints: self }) {
            ControlFlow::Break(error) => Err(error),
            ControlFlow::Continue(()) => Ok(()),
        }
    }
}

/// The hint of a relation that was marked, and the relation.
pub(crate) fn unmark(factor: &TableFactor) -> Option<(Hint, &TableFactor)> {
    let TableFactor::NestedJoin { table_with_joins, alias: Some(alias) } = factor else { return None };
    let kind = HintKind::named(alias.name.value.strip_prefix(MARK)?)?;
    let args = alias.columns.iter().map(|column| column.name.value.clone()).collect();
    Some((Hint { kind, args, position: Position::of_span(alias.name.span) }, &table_with_joins.relation))
}

fn mark(factor: &mut TableFactor, hint: &Hint) {
    let at = hint.position.map_or(Location::empty(), |p| Location::new(p.line, p.column));
    let name = Ident::with_quote_and_span('"', Span::new(at, at), format!("{MARK}{}", hint.kind.name()));
    let columns = hint.args.iter().map(|arg| TableAliasColumnDef { name: Ident::with_quote('"', arg), data_type: None }).collect();
    let marked = TableFactor::NestedJoin {
        table_with_joins: Box::new(TableWithJoins { relation: factor.clone(), joins: Vec::new() }),
        alias: Some(TableAlias { explicit: true, name, columns, at: None }),
    };
    *factor = marked;
}

struct Attach<'a> {
    hints: &'a Hints,
}

impl VisitorMut for Attach<'_> {
    type Break = Error;

    /// From the inside out, so that a relation is not visited again once it has been marked.
    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        select.optimizer_hints.clear();
        let place = select.select_token.0.span.start;
        let Some((_, hints)) = self.hints.blocks.iter().find(|(at, _)| *at == place) else { return ControlFlow::Continue(()) };
        match hints.iter().try_for_each(|hint| attach_one(select, hint)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    /// A query in `FROM` without an alias leaves nothing in the plan that shows where its block ends.
    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        if let TableFactor::Derived { alias: None, lateral: false, .. } = factor {
            mark(factor, &Hint { kind: HintKind::BlockEnd, args: Vec::new(), position: None });
        }
        ControlFlow::Continue(())
    }
}

fn attach_one(select: &mut Select, hint: &Hint) -> Result<()> {
    if hint.kind.is_for_block() {
        let Some(first) = select.from.first_mut() else {
            return Err(Error::sql(format!("{hint} stands in a query block without FROM")).at(hint.position));
        };
        mark(&mut first.relation, hint);
        return Ok(());
    }
    let tables = if hint.kind == HintKind::Skew { &hint.args[..1] } else { &hint.args[..] };
    for table in tables {
        let mut found = false;
        let mut known = Vec::new();
        for from in &mut select.from {
            for factor in std::iter::once(&mut from.relation).chain(from.joins.iter_mut().map(|join| &mut join.relation)) {
                found |= mark_named(factor, table, hint, &mut known);
            }
        }
        if !found {
            return Err(Error::sql(format!("{} names '{table}', which is no table of its query block", hint.kind.name()))
                .at(hint.position)
                .hint(format!("the block's tables are: {}; a table with an alias goes by that", known.join(", "))));
        }
    }
    Ok(())
}

/// Marks the factor if it goes by the name; collects the names that there are.
fn mark_named(factor: &mut TableFactor, table: &str, hint: &Hint, known: &mut Vec<String>) -> bool {
    if let TableFactor::NestedJoin { table_with_joins, .. } = factor {
        let joins = &mut **table_with_joins;
        let factors = std::iter::once(&mut joins.relation).chain(joins.joins.iter_mut().map(|join| &mut join.relation));
        return factors.fold(false, |found, inner| mark_named(inner, table, hint, known) | found);
    }
    let name = match factor {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), lateral: false, .. } => {
            normalize(&alias.name)
        }
        TableFactor::Table { name, .. } => to_name(name).to_string(),
        _ => return false,
    };
    known.push(name.clone());
    let is_meant = name == table || name.ends_with(&format!(".{table}"));
    if is_meant {
        mark(factor, &Hint { args: if hint.kind == HintKind::Skew { hint.args.clone() } else { vec![table.to_string()] }, ..hint.clone() });
    }
    is_meant
}

/// The hints of a comment whose text, behind the `+`, is `text`; the comment begins at `start`.
fn parse(text: &str, start: Location) -> Result<Vec<Hint>> {
    let place = |at: Location| {
        // Behind the three characters that begin the comment.
        let column = if at.line == 1 { start.column + 2 + at.column } else { at.column };
        Position { line: start.line + at.line - 1, column }
    };
    let tokens = Tokenizer::new(&OrreryDialect::default(), text)
        .tokenize_with_location()
        .map_err(|e| Error::sql(format!("the hint cannot be read: {}", e.message)).at(Some(place(e.location))))?;
    let mut tokens = tokens.into_iter().filter(|t| !matches!(t.token, Token::Whitespace(_) | Token::EOF)).peekable();
    let mut hints = Vec::new();
    while let Some(token) = tokens.next() {
        let position = Some(place(token.span.start));
        let name = match token.token {
            Token::Comma => continue,
            Token::Word(word) => word.value,
            other => return Err(Error::sql(format!("'{other}' begins no hint")).at(position).hint(format!("hints are {KNOWN}"))),
        };
        let Some(kind) = HintKind::named(&name).filter(|kind| *kind != HintKind::BlockEnd) else {
            return Err(Error::sql(format!("the hint {name} is not known")).at(position).hint(format!("hints are {KNOWN}")));
        };
        let args = match tokens.next_if(|t| t.token == Token::LParen) {
            Some(_) => parse_args(&mut tokens, &name, position)?,
            None => Vec::new(),
        };
        let hint = Hint { kind, args, position };
        check_args(&hint, &name)?;
        hints.push(hint);
    }
    Ok(hints)
}

/// Up to the closing parenthesis: names, dotted or quoted, and numbers.
fn parse_args(tokens: &mut impl Iterator<Item = TokenWithSpan>, name: &str, position: Option<Position>) -> Result<Vec<String>> {
    let mut args = vec![String::new()];
    for token in tokens {
        let Some(last) = args.last_mut() else { break };
        match token.token {
            Token::RParen => {
                if args.last().is_some_and(String::is_empty) {
                    args.pop();
                }
                return Ok(args);
            }
            Token::Comma => args.push(String::new()),
            Token::Period => last.push('.'),
            Token::Word(word) => {
                let quoted = word.quote_style.is_some();
                last.push_str(&if quoted { word.value } else { word.value.to_lowercase() });
            }
            Token::SingleQuotedString(text) => last.push_str(&text.to_lowercase()),
            Token::Number(number, _) => last.push_str(&number),
            Token::Minus => last.push('-'),
            other => return Err(Error::sql(format!("'{other}' is no argument of {name}")).at(position).hint(format!("hints are {KNOWN}"))),
        }
    }
    Err(Error::sql(format!("the parenthesis of {name} is never closed")).at(position))
}

fn check_args(hint: &Hint, name: &str) -> Result<()> {
    let wrong = |problem: String| Err(Error::sql(problem).at(hint.position).hint(format!("hints are {KNOWN}")));
    let is_number = |arg: &String| arg.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    match hint.kind {
        HintKind::Repartition if hint.args.is_empty() => return wrong(format!("{name} has neither a number of partitions nor columns")),
        HintKind::Coalesce if hint.args.len() != 1 || !is_number(&hint.args[0]) => {
            return wrong(format!("{name} takes one number of partitions"));
        }
        kind if kind.is_for_block() => {}
        _ if hint.args.is_empty() => return wrong(format!("{name} names no table")),
        _ => {}
    }
    if hint.kind.is_for_block()
        && let Some(number) = hint.args.first().filter(|arg| is_number(arg))
        && !number.parse().is_ok_and(|n: u64| (1..=PARTITIONS_MAX).contains(&n))
    {
        return wrong(format!("{name} asks for {number} partitions, which is not between 1 and {PARTITIONS_MAX}"));
    }
    Ok(())
}

/// Refuses hints of one block that contradict each other.
fn check_together(hints: &[Hint]) -> Result<()> {
    for (at, later) in hints.iter().enumerate() {
        for earlier in &hints[..at] {
            let both_for_block = earlier.kind.is_for_block() && later.kind.is_for_block();
            let both_for_join = earlier.kind.is_for_join() && later.kind.is_for_join() && earlier.kind != later.kind;
            let table = later.args.iter().find(|table| both_for_join && earlier.args.contains(table));
            if both_for_block {
                return Err(Error::sql(format!("{later} contradicts {earlier} of the same query block")).at(later.position));
            }
            if let Some(table) = table {
                let message = format!("{} contradicts {} for '{table}'", later.kind.name(), earlier.kind.name());
                return Err(Error::sql(message).at(later.position));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::split;

    fn read(sql: &str) -> Result<Vec<Hint>> {
        let hints = Hints::read(&split(sql)?[0].tokens)?;
        Ok(hints.blocks.into_iter().flat_map(|(_, hints)| hints).collect())
    }

    #[test]
    fn hints_have_places_and_names_as_they_resolve() {
        let hints = read("SELECT /*+ BROADCAST(D, s.\"T\"), repartition(8, a)\n  SKEW('x', 'y') */ 1").unwrap();
        let shown: Vec<String> = hints.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["BROADCAST(d, s.T)", "REPARTITION(8, a)", "SKEW(x, y)"]);
        let places: Vec<_> = hints.iter().map(|hint| hint.position.map(|p| (p.line, p.column))).collect();
        assert_eq!(places, [Some((1, 12)), Some((1, 33)), Some((2, 3))]);
        assert_eq!(read("SELECT --+ MAPJOIN(d)\n 1").unwrap()[0].kind, HintKind::Broadcast);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (sql, said, column) in [
            ("SELECT /*+ BRODCAST(t) */ 1", "the hint BRODCAST is not known", 12),
            ("SELECT 1 /*+ BROADCAST(t) */", "stands elsewhere", 10),
            ("SELECT /*+ MERGE(a), BROADCAST(a) */ 1", "BROADCAST contradicts MERGE for 'a'", 22),
            ("SELECT /*+ COALESCE(2) REPARTITION(3) */ 1", "contradicts", 24),
            ("SELECT /*+ REPARTITION(0) */ 1", "0 partitions, which is not between 1 and 65536", 12),
            ("SELECT /*+ COALESCE(65537) */ 1", "65537 partitions", 12),
            ("SELECT /*+ COALESCE(a) */ 1", "COALESCE takes one number", 12),
            ("SELECT /*+ REPARTITION(-2) */ 1", "-2 partitions", 12),
            ("SELECT /*+ MERGE() */ 1", "MERGE names no table", 12),
            ("SELECT /*+ BROADCAST(t */ 1", "never closed", 12),
            ("SELECT /*+ 5 */ 1", "'5' begins no hint", 12),
        ] {
            let error = read(sql).unwrap_err();
            assert!(error.message.contains(said), "{sql}: {error}");
            assert_eq!(error.position.map(|p| p.column), Some(column), "{sql}: {error}");
        }
    }
}
