//! Refuses queries whose `WITH` clauses stand for far more than they say: `b AS (SELECT … FROM a UNION ALL SELECT … FROM a)` reads `a` twice, `c` reads `b` twice,
//! and with thirty of them the query has a thousand million parts, which are all written out when it is planned.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{ObjectName, Query, Select, Spanned as _, Visit, Visitor};

use super::{normalize, to_name};
use crate::{Error, Position, Result};

/// Blocks and relations of a query and of each that its `WITH` clauses name, with those of the named ones wherever they are named. With it, no more than 800
/// queries stand on each other.
const PARTS_MAX: usize = 300_000;

/// Checks a query, or an expression and the queries in it.
///
/// # Errors
/// More parts than can be planned.
pub(super) fn check(node: &impl Visit) -> Result<()> {
    match node.visit(&mut Count { open: Vec::new(), parts: 0 }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// A query that is being read.
struct Open {
    parts: usize,
    /// The names of its `WITH` clause, of which as many have been read as there are in `named`.
    names: Vec<String>,
    named: HashMap<String, usize>,
    read: usize,
}

struct Count {
    open: Vec<Open>,
    /// Of all named queries and of the one that names them.
    parts: usize,
}

impl Count {
    fn check(&mut self, query: &Query, parts: usize) -> ControlFlow<Error> {
        self.parts = self.parts.saturating_add(parts);
        if self.parts <= PARTS_MAX {
            return ControlFlow::Continue(());
        }
        let problem = format!("with its WITH clauses written out, the query has more than {PARTS_MAX} parts");
        let at = Position::of_span(query.span());
        ControlFlow::Break(Error::sql(problem).at(at).hint("store what is read again and again with CREATE TABLE … AS or CACHE TABLE"))
    }
}

impl Visitor for Count {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        let ctes = query.with.iter().flat_map(|with| &with.cte_tables);
        let names = ctes.map(|cte| normalize(&cte.alias.name)).collect();
        self.open.push(Open { parts: 0, names, named: HashMap::new(), read: 0 });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        let Some(Open { parts, .. }) = self.open.pop() else { return ControlFlow::Continue(()) };
        match self.open.last_mut() {
            // The queries of a WITH clause come before all others.
            Some(outer) if outer.read < outer.names.len() => {
                outer.named.insert(outer.names[outer.read].clone(), parts);
                outer.read += 1;
                self.check(query, parts)
            }
            Some(outer) => {
                outer.parts = outer.parts.saturating_add(parts);
                ControlFlow::Continue(())
            }
            None => self.check(query, parts),
        }
    }

    fn pre_visit_select(&mut self, _: &Select) -> ControlFlow<Error> {
        if let Some(open) = self.open.last_mut() {
            open.parts = open.parts.saturating_add(1);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Error> {
        let name = to_name(relation);
        let named = match name.parts.as_slice() {
            [single] => self.open.iter().rev().find_map(|open| open.named.get(single)).copied(),
            _ => None,
        };
        if let Some(open) = self.open.last_mut() {
            open.parts = open.parts.saturating_add(named.unwrap_or(1));
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use crate::dialect::{parse, split};

    fn problem(sql: &str) -> Option<String> {
        parse(&split(sql).unwrap()[0].tokens).err().map(|error| error.message)
    }

    fn doubled(times: usize) -> String {
        let parts: Vec<String> = (1..=times).map(|i| format!("a{i} AS (SELECT x FROM a{0} UNION ALL SELECT x FROM A{0})", i - 1)).collect();
        format!("WITH a0 AS (SELECT 1 AS x), {}", parts.join(", "))
    }

    #[test]
    fn what_is_named_counts_wherever_it_is() {
        let too_many = Some("with its WITH clauses written out, the query has more than 300000 parts".to_string());
        assert_eq!(problem(&format!("{} SELECT count(*) FROM a10", doubled(10))), None);
        assert_eq!(problem(&format!("{} SELECT count(*) FROM a60", doubled(60))), too_many);
        // Whether it is used or not, and in subqueries too.
        assert_eq!(problem(&format!("{} SELECT 1", doubled(60))), too_many);
        let uses = vec!["(SELECT count(*) FROM a12)"; 60].join(" + ");
        assert_eq!(problem(&format!("{} SELECT {uses}", doubled(12))), too_many);
        assert_eq!(problem(&format!("SELECT * FROM ({} SELECT count(*) FROM a60)", doubled(60))), too_many);
        // A table of the same name elsewhere is not meant.
        assert_eq!(problem(&format!("SELECT * FROM ({} SELECT 1), a11", doubled(11))), None);
    }

    #[test]
    fn chains_of_queries_are_read() {
        let chain = |count: usize| {
            let parts: Vec<String> = (1..=count).map(|i| format!("a{i} AS (SELECT x + 1 AS x FROM a{} LIMIT 5)", i - 1)).collect();
            format!("WITH a0 AS (SELECT 1 AS x), {} SELECT * FROM a{count}", parts.join(", "))
        };
        assert_eq!(problem(&chain(500)), None);
        assert!(problem(&chain(1_000)).is_some());
    }
}
