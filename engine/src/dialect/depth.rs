//! Refuses statements whose syntax tree would be too deep for a thread's stack. The parser counts how deep parentheses nest; what it does not count are
//! chains: each operator of `a + b + c + …` and each part of `… UNION … UNION …` makes the tree deeper by one.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::{Error, Position, Result};

/// Operators of one expression.
const OPERATORS_MAX: usize = 2_000;
/// Joins, or parts of a `UNION`, of one query.
const RELATIONS_MAX: usize = 1_000;

/// What has been counted between a pair of parentheses.
#[derive(Default, Clone, Copy)]
struct Level {
    operators: usize,
    relations: usize,
}

/// Checks the tokens of a statement.
pub(super) fn check(tokens: &[TokenWithSpan]) -> Result<()> {
    let mut levels = vec![Level::default()];
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => levels.push(Level::default()),
            Token::RParen | Token::RBracket | Token::RBrace if levels.len() > 1 => {
                levels.pop();
            }
            other => {
                let Some(level) = levels.last_mut() else { continue };
                count(level, other);
                let position = Position::of_span(token.span);
                if level.operators > OPERATORS_MAX {
                    let problem = format!("an expression has more than {OPERATORS_MAX} operators");
                    return Err(Error::sql(problem)
                        .at(position)
                        .hint("write a long chain of OR as IN (…), or join with a table of the values"));
                }
                if level.relations > RELATIONS_MAX {
                    let problem = format!("a query joins or unites more than {RELATIONS_MAX} relations");
                    return Err(Error::sql(problem).at(position).hint("split it with views or tables"));
                }
            }
        }
    }
    Ok(())
}

fn count(level: &mut Level, token: &Token) {
    match token {
        Token::Comma => level.operators = 0,
        Token::Word(word) => match word.keyword {
            Keyword::WHEN | Keyword::THEN | Keyword::ELSE | Keyword::SELECT | Keyword::FROM | Keyword::WHERE => level.operators = 0,
            Keyword::AND | Keyword::OR | Keyword::NOT | Keyword::IS | Keyword::IN | Keyword::LIKE | Keyword::ILIKE | Keyword::BETWEEN => {
                level.operators += 1;
            }
            Keyword::JOIN | Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT => level.relations += 1,
            _ => {}
        },
        Token::Whitespace(_)
        | Token::EOF
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::EscapedStringLiteral(_)
        | Token::Period
        | Token::Placeholder(_)
        | Token::RParen
        | Token::RBracket
        | Token::RBrace => {}
        _ => level.operators += 1,
    }
}
