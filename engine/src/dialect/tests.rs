//! Properties of the dialect over random text: it never panics, every error has a place, and statements are cut where they end.

use proptest::prelude::*;

use super::{Statement, Variables, parse, split};

/// Words that begin, join and end statements, and things that go wrong in them.
fn word() -> impl Strategy<Value = String> {
    let fixed = [
        "SELECT",
        "FROM",
        "WHERE",
        "CREATE",
        "OR",
        "REPLACE",
        "TABLE",
        "VIEW",
        "TEMP",
        "IF",
        "NOT",
        "EXISTS",
        "AS",
        "INSERT",
        "INTO",
        "OVERWRITE",
        "VALUES",
        "(",
        ")",
        ",",
        ";",
        "*",
        "=",
        "=>",
        ".",
        "+",
        "-",
        "1",
        "2.5",
        "'text'",
        "\"name\"",
        "`other`",
        "t",
        "a.b.c",
        "PARTITIONED",
        "BY",
        "COMMENT",
        "TBLPROPERTIES",
        "VERSION",
        "TIMESTAMP",
        "OF",
        "DESCRIBE",
        "HISTORY",
        "DETAIL",
        "SHOW",
        "TABLES",
        "LIKE",
        "CACHE",
        "UNCACHE",
        "SUMMARIZE",
        "ASSERT",
        "EXPLAIN",
        "ANALYZE",
        "SET",
        "USE",
        "CATALOG",
        "SCHEMA",
        "DROP",
        "CASCADE",
        "COPY",
        "TO",
        "read_csv",
        "QUALIFY",
        "OVER",
        "WITH",
        "UNION",
        "GROUP",
        "/*+ HINT */",
        "-- note\n",
        "${v}",
        "CASE",
        "END",
        "LIMIT",
    ];
    prop_oneof![9 => proptest::sample::select(fixed.to_vec()).prop_map(str::to_string), 1 => "\\PC{0,6}"]
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(words in proptest::collection::vec(word(), 0..24)) {
        let text = words.join(" ");
        let Ok(statements) = split(&text) else { return Ok(()) };
        for statement in statements {
            let Ok(tokens) = Variables::default().substitute(&statement) else { continue };
            if let Err(error) = parse(&tokens) {
                prop_assert!(!error.message.is_empty());
            }
        }
    }

    #[test]
    fn any_characters_are_cut_or_refused(text in "\\PC{0,80}") {
        if let Err(error) = split(&text) {
            prop_assert!(error.position.is_some(), "{error}");
        }
    }

    /// What a statement is does not depend on its neighbours, on comments or on how it is laid out.
    #[test]
    fn statements_are_independent_of_their_neighbours(
        which in proptest::collection::vec(0usize..5, 1..6),
        gap in proptest::sample::select(vec![" ", "\n\n", " -- note; not a statement\n", " /* ; */ "]),
    ) {
        let known = [
            ("SELECT ';' AS a", "SELECT"),
            ("CREATE TABLE t PARTITIONED BY (b) AS SELECT 1 AS a, 2 AS b", "CREATE TABLE AS"),
            ("INSERT INTO s.t (a) VALUES (1), (2)", "INSERT INTO"),
            ("SET x = 'a;b'", "SET"),
            ("DESCRIBE HISTORY t LIMIT 3", "DESCRIBE"),
        ];
        let script: String = which.iter().map(|i| format!("{gap}{}{gap};", known[*i].0)).collect();
        let statements = split(&script).unwrap();
        prop_assert_eq!(statements.len(), which.len());
        for (statement, i) in statements.iter().zip(&which) {
            prop_assert_eq!(&statement.text, known[*i].0);
            prop_assert_eq!(parse(&statement.tokens).unwrap().kind(), known[*i].1);
        }
    }

    /// A view's query read from the text it is stored as is the same query.
    #[test]
    fn the_text_of_a_view_reads_back(column in "[^\\pC$]{1,6}", number in 0u32..1000, text in "[^\\pC$]{0,12}") {
        let (name, literal) = (column.replace('"', "\"\""), text.replace('\'', "''"));
        let query = format!("WITH c AS (SELECT \"{name}\", '{literal}' AS t FROM s.t VERSION AS OF {number}) -- why\n SELECT * FROM c WHERE \"{name}\" > {number}");
        let parsed = |sql: &str| parse(&split(sql).unwrap()[0].tokens).unwrap();
        let Statement::CreateView(view) = parsed(&format!("CREATE VIEW v AS {query}")) else { panic!("not a view") };
        let Statement::Query(again) = parsed(&view.text) else { panic!("not a query: {}", view.text) };
        prop_assert!(again == view.query, "{}", view.text);
        prop_assert!(view.text.contains("-- why"));
    }
}
