//! Refuses statements whose syntax tree would be too deep for a thread's stack. The parser counts how deep parentheses nest; what it does not count are
//! chains: each operator of `a + b + c + …`, each part of `… UNION … UNION …` and each join makes the tree deeper by one, wherever in the chain a pair of
//! parentheses with a chain of its own stands.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::{Error, Position, Result};

/// Operators of an expression, with those of the expressions that it stands in.
const OPERATORS_MAX: usize = 2_000;
/// Joins and parts of a `UNION` of a query, with those of the queries that it stands in.
const RELATIONS_MAX: usize = 1_000;
/// Pairs of parentheses in each other. Expressions and queries may nest less; but types are read without any limit.
const PARENTHESES_MAX: usize = 1_000;

/// What has been counted between a pair of parentheses, or from `CASE` to its `END`.
#[derive(Default, Clone, Copy)]
struct Level {
    is_case: bool,
    /// Operators of the expression so far, of the longest one, and of those that the level stands in.
    operators: usize,
    operators_most: usize,
    operators_outside: usize,
    /// The same of relations, where joins begin anew with every part of a `UNION`.
    joins: usize,
    joins_most: usize,
    unions: usize,
    relations_outside: usize,
    /// Whether a comma is a join.
    is_in_from: bool,
    /// Whether it stands between the rows of `FROM VALUES (…), (…)`.
    is_in_values: bool,
    /// Whether these are the parentheses of `OPERATOR(…)`.
    names_operator: bool,
    names_operator_next: bool,
}

impl Level {
    fn within(&self, is_case: bool) -> Self {
        Self {
            is_case,
            operators_outside: self.operators_outside + self.operators,
            relations_outside: self.relations_outside + self.joins + self.unions,
            ..Self::default()
        }
    }

    /// Takes up what a level within it has come to.
    fn hold(&mut self, inner: &Self) {
        self.operators = self.operators.max(inner.operators_most.max(inner.operators));
        self.joins = self.joins.max(inner.joins_most.max(inner.joins) + inner.unions);
    }

    fn begin_expression(&mut self) {
        self.operators_most = self.operators_most.max(self.operators);
        self.operators = 0;
    }

    fn begin_select(&mut self) {
        self.begin_expression();
        self.joins_most = self.joins_most.max(self.joins);
        self.joins = 0;
        self.is_in_from = false;
    }
}

/// Checks the tokens of a statement.
pub(super) fn check(tokens: &[TokenWithSpan]) -> Result<()> {
    let mut levels = vec![Level::default()];
    // Where a value is expected, a word is one: `1 + then + then`.
    let mut is_value_next = true;
    for token in tokens {
        if matches!(token.token, Token::Whitespace(_) | Token::EOF) {
            continue;
        }
        let closed = read(&mut levels, &token.token, is_value_next);
        is_value_next = expects_value(&token.token, is_value_next) || closed.is_some_and(|level| level.names_operator);
        if let Some((problem, hint)) = levels.last().and_then(|level| too_deep(level, levels.len())) {
            return Err(Error::sql(problem).at(Position::of_span(token.span)).hint(hint));
        }
    }
    Ok(())
}

fn too_deep(level: &Level, depth: usize) -> Option<(String, &'static str)> {
    if level.operators_outside + level.operators > OPERATORS_MAX {
        let hint = "write a long chain of OR as IN (…), or join with a table of the values";
        return Some((format!("an expression has more than {OPERATORS_MAX} operators"), hint));
    }
    if level.relations_outside + level.joins + level.unions > RELATIONS_MAX {
        return Some((format!("a query joins or unites more than {RELATIONS_MAX} relations"), "split it with views or tables"));
    }
    (depth > PARENTHESES_MAX).then(|| ("the statement nests too deeply".to_string(), "split it with WITH clauses or views"))
}

/// Takes a token up, and gives the level that it closes.
fn read(levels: &mut Vec<Level>, token: &Token, is_value_next: bool) -> Option<Level> {
    let is_bracket = *token == Token::LBracket;
    let level = levels.last_mut()?;
    match token {
        Token::LParen | Token::LBracket | Token::LBrace => {
            // `INT[][]` and `x[1][2]`.
            level.operators += usize::from(is_bracket && !is_value_next);
            let inner = Level { names_operator: std::mem::take(&mut level.names_operator_next), ..level.within(false) };
            levels.push(inner);
            None
        }
        Token::RParen | Token::RBracket | Token::RBrace => {
            while levels.last().is_some_and(|level| level.is_case) {
                close(levels);
            }
            close(levels)
        }
        Token::Word(word) if word.keyword == Keyword::CASE => {
            let inner = level.within(true);
            levels.push(inner);
            None
        }
        Token::Word(word) if word.keyword == Keyword::END && level.is_case && !is_value_next => close(levels),
        other => {
            count(level, other, is_value_next);
            None
        }
    }
}

fn close(levels: &mut Vec<Level>) -> Option<Level> {
    let inner = if levels.len() > 1 { levels.pop()? } else { return None };
    levels.last_mut()?.hold(&inner);
    Some(inner)
}

fn count(level: &mut Level, token: &Token, is_value_next: bool) {
    match token {
        Token::Comma => {
            level.joins += usize::from(level.is_in_from && !level.is_in_values);
            level.begin_expression();
        }
        Token::Word(word) => count_word(level, word.keyword, is_value_next),
        other => level.operators += usize::from(is_operator(other)),
    }
}

fn count_word(level: &mut Level, word: Keyword, is_value_next: bool) {
    level.is_in_values = level.is_in_from && word == Keyword::VALUES;
    level.names_operator_next = word == Keyword::OPERATOR;
    match word {
        Keyword::AND
        | Keyword::OR
        | Keyword::XOR
        | Keyword::NOT
        | Keyword::IS
        | Keyword::IN
        | Keyword::AT
        | Keyword::BETWEEN
        | Keyword::COLLATE
        | Keyword::DIV
        | Keyword::ILIKE
        | Keyword::LIKE
        | Keyword::MATCH
        | Keyword::MEMBER
        | Keyword::NOTNULL
        | Keyword::OPERATOR
        | Keyword::OVERLAPS
        | Keyword::REGEXP
        | Keyword::RLIKE
        | Keyword::SIMILAR => level.operators += 1,
        Keyword::JOIN => {
            level.joins += 1;
            level.begin_expression();
        }
        Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT => {
            level.unions += 1;
            level.begin_select();
        }
        _ if is_value_next => {}
        Keyword::WHEN | Keyword::THEN | Keyword::ELSE if level.is_case => level.begin_expression(),
        Keyword::ON | Keyword::BY | Keyword::HAVING | Keyword::QUALIFY => level.begin_expression(),
        Keyword::FROM => {
            level.begin_expression();
            level.is_in_from = true;
        }
        Keyword::SELECT | Keyword::WHERE | Keyword::GROUP | Keyword::ORDER | Keyword::LIMIT | Keyword::WINDOW => {
            level.begin_expression();
            level.is_in_from = false;
        }
        _ => {}
    }
}

fn is_operator(token: &Token) -> bool {
    !matches!(
        token,
        Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::DollarQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::NationalStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::Period
            | Token::Placeholder(_)
    )
}

/// Whether what follows a token is a value, and not a word of a clause.
fn expects_value(token: &Token, is_value: bool) -> bool {
    match token {
        // `SELECT * FROM`.
        Token::Mul => !is_value,
        Token::Word(word) => matches!(
            word.keyword,
            Keyword::AND
                | Keyword::AS
                | Keyword::ESCAPE
                | Keyword::FROM
                | Keyword::OR
                | Keyword::TO
                | Keyword::WITHIN
                | Keyword::XOR
                | Keyword::ZONE
                | Keyword::NOT
                | Keyword::IN
                | Keyword::BETWEEN
                | Keyword::COLLATE
                | Keyword::DISTINCT
                | Keyword::DIV
                | Keyword::ILIKE
                | Keyword::LIKE
                | Keyword::OVERLAPS
                | Keyword::REGEXP
                | Keyword::RLIKE
                | Keyword::SELECT
        ),
        Token::Period | Token::Comma | Token::LParen | Token::LBracket => true,
        Token::RParen | Token::RBracket | Token::RBrace | Token::LBrace => false,
        other => is_operator(other),
    }
}

#[cfg(test)]
mod tests {
    use crate::dialect::split;

    /// What is wrong with a statement, told by its tokens alone.
    fn problem(sql: &str) -> Option<String> {
        super::check(&split(sql).unwrap()[0].tokens).err().map(|error| error.message)
    }

    fn nested(levels: usize, open: &str, close: &str) -> String {
        format!("SELECT {}1{}", open.repeat(levels), close.repeat(levels))
    }

    #[test]
    fn chains_within_chains_are_counted_together() {
        let operators = Some("an expression has more than 2000 operators".to_string());
        // On either side.
        assert_eq!(problem(&nested(30, "(", &format!("){}", " + 1".repeat(100)))), operators);
        assert_eq!(problem(&nested(30, &format!("{}(", "1 + ".repeat(100)), ")")), operators);
        assert_eq!(problem(&nested(15, "(", &format!("){}", " + 1".repeat(100)))), None);
        // Words that begin a part of an expression elsewhere.
        assert_eq!(problem(&format!("SELECT 1{}", " + CASE WHEN a THEN b END".repeat(3_000))), operators);
        assert_eq!(problem(&format!("SELECT 1{}", " + then".repeat(3_000))), operators);
        assert_eq!(problem(&format!("SELECT a{}", " IS DISTINCT FROM a".repeat(3_000))), operators);
        assert_eq!(problem(&format!("SELECT a{}", " AT TIME ZONE 'UTC'".repeat(3_000))), operators);
        assert_eq!(problem(&format!("SELECT a{}", " AT TIME ZONE limit".repeat(3_000))), operators);
        assert_eq!(problem(&format!("SELECT a{}", " OPERATOR(x) where".repeat(3_000))), operators);
        assert_eq!(problem(&format!("SELECT a{}", " + f(x) WITHIN GROUP (ORDER BY a)".repeat(3_000))), operators);
        assert_eq!(problem(&format!("SELECT CAST(a AS INT{})", "[]".repeat(3_000))), operators);
        assert_eq!(problem(&format!("SELECT a{}", " + case".repeat(3_000))), Some("the statement nests too deeply".to_string()));
        assert_eq!(problem(&nested(2_000, "f(", ")")), Some("the statement nests too deeply".to_string()));
    }

    #[test]
    fn what_stands_side_by_side_is_not() {
        assert_eq!(problem(&format!("SELECT {}", vec!["(a + b * c)"; 3_000].join(", "))), None);
        assert_eq!(problem(&format!("SELECT CASE {} END", "WHEN a = 1 AND b = 2 THEN 3 ".repeat(3_000))), None);
        assert_eq!(problem(&format!("SELECT f({})", vec!["CASE WHEN a = 1 THEN b + 1 ELSE c END"; 3_000].join(", "))), None);
        let joins: String = (0..900).map(|i| format!(" JOIN t{i} ON t.a = t{i}.a AND t.b = t{i}.b AND t{i}.c IS NOT NULL")).collect();
        assert_eq!(problem(&format!("SELECT 1 FROM t{joins} WHERE a = 1")), None);
        let parts = vec!["SELECT a FROM t JOIN u USING (a) JOIN v USING (a) WHERE a = 1"; 900].join(" UNION ALL ");
        assert_eq!(problem(&parts), None);
    }

    #[test]
    fn relations_of_queries_in_each_other_are_counted_together() {
        let relations = Some("a query joins or unites more than 1000 relations".to_string());
        assert_eq!(problem(&format!("SELECT 1 FROM t{}", ", t".repeat(2_000))), relations);
        assert_eq!(problem(&format!("SELECT * FROM t AS limit{}", ", t".repeat(2_000))), relations);
        assert_eq!(problem(&format!("SELECT * FROM VALUES (1) AS v{}", ", t".repeat(2_000))), relations);
        assert_eq!(problem(&format!("SELECT * FROM VALUES (1, 2){} AS v", ", (1, 2)".repeat(3_000))), None);
        let inner = format!("SELECT 1 FROM t{}", " JOIN t USING (a)".repeat(100));
        let in_each_other =
            (0..15).fold(inner.clone(), |query, _| format!("SELECT 1 FROM ({query}) AS q{}", " JOIN t USING (a)".repeat(100)));
        assert_eq!(problem(&in_each_other), relations);
        assert_eq!(problem(&format!("SELECT * FROM t{}", ", t".repeat(2_000))), relations);
        let unions = (0..15).fold(inner, |query, _| format!("({query}){}", " UNION ALL SELECT 1".repeat(100)));
        assert_eq!(problem(&unions), relations);
        assert_eq!(problem(&format!("SELECT {} FROM t GROUP BY {}", vec!["a"; 3_000].join(", "), vec!["b"; 3_000].join(", "))), None);
    }
}
