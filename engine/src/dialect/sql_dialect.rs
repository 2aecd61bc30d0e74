//! The token and grammar rules handed to sqlparser: its permissive generic dialect, plus table versions and the
//! usual precedence of `||`.

use std::any::TypeId;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::sql::sqlparser::ast::{Expr, Function, FunctionArgumentList, FunctionArguments, ObjectName};
use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::model_names;
use super::window_tables::parse_table_argument;

/// Expressions that are begun at least before a statement is given up, and for each of its tokens. sqlparser tries one reading after another where it cannot
/// know; when such places stand in each other and something is wrong with the innermost, it tries all combinations, of which there may be no end.
const STEPS_AT_LEAST: u64 = 100_000;
const STEPS_PER_TOKEN: u64 = 20;

/// sqlparser's generic dialect with `VERSION AS OF` and `TIMESTAMP AS OF`, for one reading of one text.
#[derive(Debug)]
pub struct OrreryDialect {
    steps_left: AtomicU64,
}

impl Default for OrreryDialect {
    fn default() -> Self {
        Self::for_tokens(0)
    }
}

impl OrreryDialect {
    /// For a text of so many tokens.
    pub fn for_tokens(count: usize) -> Self {
        Self { steps_left: AtomicU64::new(STEPS_AT_LEAST + STEPS_PER_TOKEN * count as u64) }
    }

    /// Whether the text was given up because it could be read in too many ways.
    pub(super) fn has_given_up(&self) -> bool {
        self.steps_left.load(Ordering::Relaxed) == 0
    }

    fn step(&self) -> Result<(), ParserError> {
        let left = self.steps_left.load(Ordering::Relaxed);
        self.steps_left.store(left.saturating_sub(1), Ordering::Relaxed);
        // The one error that is not taken for the failure of one reading among several.
        if left == 0 { Err(ParserError::RecursionLimitExceeded) } else { Ok(()) }
    }
}

/// Words of clauses that are seldom used, and often the names of columns.
const CLAUSE_WORDS: &[Keyword] = &[
    Keyword::ANALYZE,
    Keyword::CLUSTER,
    Keyword::DISTRIBUTE,
    Keyword::END,
    Keyword::EXCLUDE,
    Keyword::EXPLAIN,
    Keyword::MINUS,
    Keyword::OFFSET,
    Keyword::RETURNING,
    Keyword::SORT,
    Keyword::TOP,
    Keyword::VALUES,
    Keyword::VIEW,
];

/// What stands behind a column, and behind none of the words of a clause.
fn follows_column(token: &Token) -> bool {
    use Token as T;
    match token {
        T::Comma | T::RParen | T::EOF | T::Period | T::DoubleColon | T::StringConcat | T::Plus | T::Minus | T::Mul | T::Div | T::Mod => {
            true
        }
        T::Eq | T::Neq | T::Lt | T::LtEq | T::Gt | T::GtEq => true,
        Token::Word(word) => word.keyword == Keyword::FROM || word.keyword == Keyword::AS,
        _ => false,
    }
}

macro_rules! like_generic {
    ($($name:ident),* $(,)?) => {
        $(fn $name(&self) -> bool { GenericDialect.$name() })*
    };
}

impl Dialect for OrreryDialect {
    /// sqlparser asks for the type of a dialect in places that have no hook; there we are the generic one.
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '"' || ch == '`'
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_'
    }

    /// `||` binds less tightly than arithmetic, as in PostgreSQL and DuckDB: `'n' || a + 1` is `'n' || (a + 1)`.
    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        (parser.peek_token_ref().token == Token::StringConcat).then(|| Ok(self.prec_value(Precedence::PlusMinus) - 1))
    }

    /// `current_user()`, which sqlparser reads without its parentheses, `TABLE t PARTITION BY k` in `SESSION(TABLE t PARTITION BY k, …)`, `MODEL m@alias` and `TABLE t` in `ML.PREDICT(MODEL m@alias, TABLE t)`.
    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        if let Err(error) = self.step() {
            return Some(Err(error));
        }
        parse_table_argument(parser).or_else(|| model_names::parse_argument(parser)).or_else(|| parse_identity(parser))
    }

    /// Words that begin a clause somewhere, such as `offset` and `cluster`, are columns and their names where no clause can follow them.
    fn is_column_alias(&self, keyword: &Keyword, parser: &mut Parser) -> bool {
        GenericDialect.is_column_alias(keyword, parser)
            || (CLAUSE_WORDS.contains(keyword) && follows_column(&parser.peek_token_ref().token))
    }

    fn supports_table_versioning(&self) -> bool {
        true
    }

    like_generic!(
        supports_unicode_string_literal,
        supports_partition_by_after_order_by,
        supports_array_join_syntax,
        supports_group_by_expr,
        supports_group_by_with_modifier,
        supports_left_associative_joins_without_parens,
        supports_match_recognize,
        supports_window_function_null_treatment_arg,
        supports_dictionary_syntax,
        supports_window_clause_named_window_reference,
        supports_select_wildcard_except,
        support_map_literal_syntax,
        allow_extract_custom,
        allow_extract_single_quotes,
        supports_extract_comma_syntax,
        supports_parens_around_table_factor,
        supports_values_as_table_factor,
        supports_explain_with_utility_options,
        supports_limit_comma,
        supports_from_first_select,
        supports_projection_trailing_commas,
        supports_try_convert,
        supports_bitwise_shift_operators,
        supports_named_fn_args_with_assignment_operator,
        supports_struct_literal,
        supports_nested_comments,
        supports_string_escape_constant,
        supports_array_typedef_with_brackets,
        supports_filter_during_aggregation,
        supports_select_wildcard_exclude,
        supports_interval_options,
        supports_select_wildcard_replace,
        supports_select_wildcard_ilike,
        supports_select_wildcard_rename,
        supports_comment_optimizer_hint,
        supports_comma_separated_trim,
    );
}

/// `current_user()` and `session_user()`.
fn parse_identity(parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
    let Token::Word(word) = &parser.peek_token_ref().token else { return None };
    let is_identity =
        word.quote_style.is_none() && ["current_user", "session_user"].iter().any(|name| word.value.eq_ignore_ascii_case(name));
    if !is_identity || parser.peek_nth_token(1).token != Token::LParen || parser.peek_nth_token(2).token != Token::RParen {
        return None;
    }
    let name = parser.parse_identifier();
    (0..2).for_each(|_| parser.advance_token());
    Some(name.map(|name| {
        Expr::Function(Function {
            name: ObjectName::from(vec![name]),
            uses_odbc_syntax: false,
            parameters: FunctionArguments::None,
            args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args: Vec::new(), clauses: Vec::new() }),
            filter: None,
            null_treatment: None,
            over: None,
            within_group: Vec::new(),
        })
    }))
}

#[cfg(test)]
mod tests {
    use crate::dialect::{parse, split};

    fn refused(sql: &str) -> String {
        parse(&split(sql).unwrap()[0].tokens).unwrap_err().message
    }

    #[test]
    fn what_can_be_read_in_too_many_ways_is_given_up() {
        // As deep as the program's own threads: syntax trees are walked by recursion.
        let reader = std::thread::Builder::new().stack_size(16 << 20).spawn(give_up).unwrap();
        reader.join().unwrap();
    }

    /// Each of these has as many readings as there are subsets of its parts.
    fn give_up() {
        let message = refused(&format!("SELECT a FROM l WHERE a {}SELECT", "NOT IN (SELECT + g ".repeat(16)));
        assert!(message.contains("in too many ways"), "{message}");
        // Whatever is said of them, it is said soon.
        refused(&format!("SELECT {}f", "funnel(ts, INTERVAL (ts, ".repeat(60)));
        refused(&format!("SELECT {}f", "funnel(ts, INTERVAL ".repeat(100)));
        refused(&format!("SELECT funnel(ts, INTERVAL {}f", " funnel(ts, (ts, INTERVAL ".repeat(40)));
        refused(&format!("SELECT count(*) FROM facts JOIN dims AS d ON facts.k = d{}.", ".kd".repeat(200)));
    }

    #[test]
    fn long_statements_are_read_to_their_end() {
        let list = (0..200_000).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
        parse(&split(&format!("SELECT 1 WHERE 1 IN ({list})")).unwrap()[0].tokens).unwrap();
        let nested = (0..30).fold("SELECT 1".to_string(), |inner, _| format!("SELECT 1 WHERE 1 IN ({inner})"));
        parse(&split(&nested).unwrap()[0].tokens).unwrap();
    }
}
