//! Tests of users and rights as the program keeps them: who is let in, what follows from which grant, and that two processes agree.

use std::collections::HashMap;
use std::time::Duration;

use chrono::Utc;
use orrery_lakehouse::{TableName, Warehouse};

use super::rights::AllRows;
use super::*;
use crate::{Blame, Error, Result};

const HERE: &str = "10.0.0.1";

async fn warehouse(folder: &tempfile::TempDir) -> Warehouse {
    Warehouse::open(folder.path().to_str().unwrap(), HashMap::new()).await.unwrap()
}

async fn access(folder: &tempfile::TempDir) -> Access {
    Access::open(warehouse(folder).await)
}

fn secret(text: &str) -> Secret {
    Secret::new(text)
}

fn table(name: &str) -> Securable {
    Securable::table(&TableName::new("dev", "sales", name))
}

async fn user(access: &Access, name: &str) {
    access.create_user(name, None, None, false, LOCAL).await.unwrap();
}

fn message<T>(result: Result<T>) -> String {
    result.err().map(|error: Error| error.to_string()).unwrap_or_default()
}

#[tokio::test]
async fn a_fresh_warehouse_gets_one_administrator() {
    let folder = tempfile::tempdir().unwrap();
    let access = access(&folder).await;
    assert!(!access.has_users().await.unwrap());
    let made = access.bootstrap_administrator(None).await.unwrap().unwrap();
    let password = made.generated.unwrap();
    assert_eq!((made.user, password.expose().len()), ("admin", 24));
    assert!(access.has_users().await.unwrap());
    assert!(access.bootstrap_administrator(Some("something else")).await.unwrap().is_none(), "there is one already");
    let admin = access.authenticate_password("admin", password.expose(), HERE).await.unwrap();
    assert_eq!((admin.user(), admin.address()), ("admin", HERE));
    let rights = access.rights_now().await.unwrap();
    assert!(rights.subject("admin").unwrap().is_administrator());
    assert!(message(access.drop_user("admin", false).await).contains("no administrator left"));
    assert!(message(access.enable_user("admin", false).await).contains("no administrator left"));
    assert!(message(access.revoke_role(ADMINISTRATORS, "admin").await).contains("no administrator left"));
}

#[tokio::test]
async fn who_may_come_in() {
    let folder = tempfile::tempdir().unwrap();
    let access = access(&folder).await;
    access.create_user("ann", Some(&secret("correct horse")), None, false, LOCAL).await.unwrap();
    user(&access, "bob").await;
    assert!(access.authenticate_password("ann", "correct horse", HERE).await.is_ok());
    for (name, password) in [("ann", "correct horsf"), ("bob", ""), ("nobody", "correct horse")] {
        let refused = access.authenticate_password(name, password, HERE).await.unwrap_err();
        assert!(matches!(refused, LoginError::Refused), "{name}");
        assert_eq!(refused.to_string(), "the user, password or token is not right", "nobody is told why");
    }
    access.enable_user("ann", false).await.unwrap();
    assert!(access.authenticate_password("ann", "correct horse", HERE).await.is_err());
    assert!(access.trusted("ann", HERE).await.is_err());
    access.enable_user("ann", true).await.unwrap();
    access.set_password("ann", &secret("another horse")).await.unwrap();
    assert!(access.authenticate_password("ann", "correct horse", HERE).await.is_err());
    assert!(access.authenticate_password("ann", "another horse", HERE).await.is_ok());
}

#[tokio::test]
async fn who_guesses_has_to_wait() {
    let folder = tempfile::tempdir().unwrap();
    let access = access(&folder).await;
    access.create_user("ann", Some(&secret("correct horse")), None, false, LOCAL).await.unwrap();
    for _ in 0..5 {
        assert!(matches!(access.authenticate_password("ann", "guess", HERE).await, Err(LoginError::Refused)));
    }
    // Not even with the right password, or guessing would go on.
    assert!(matches!(access.authenticate_password("ann", "correct horse", HERE).await, Err(LoginError::Throttled { .. })));
    assert!(access.authenticate_password("ann", "correct horse", "10.0.0.2").await.is_ok());
}

#[tokio::test]
async fn tokens_stand_for_their_users_until_they_end() {
    let folder = tempfile::tempdir().unwrap();
    let access = access(&folder).await;
    user(&access, "ann").await;
    let new = |name: &str, expires_at| NewToken {
        name: Some(name.to_string()),
        user: "ann".to_string(),
        comment: None,
        expires_at,
        by: LOCAL.to_string(),
    };
    let (lasting, row) = access.create_token(new("lasting", None)).await.unwrap();
    let soon = Utc::now() + chrono::Duration::seconds(2);
    let (ending, _) = access.create_token(new("ending", Some(soon))).await.unwrap();
    assert!(lasting.expose().starts_with("orrery_"));
    assert!(!row.secret_hash.contains(lasting.expose().strip_prefix("orrery_").unwrap()));
    assert!(message(access.create_token(new("lasting", None)).await).contains("already"));
    assert!(access.create_token(new("past", Some(Utc::now() - chrono::Duration::days(1)))).await.is_err());
    let principal = access.authenticate_token(lasting.expose(), HERE).await.unwrap();
    assert_eq!((principal.user(), principal.token_id()), ("ann", Some(row.id.as_str())));
    tokio::time::sleep(Duration::from_millis(2100)).await;
    for refused in [ending.expose(), "orrery_0000", ""] {
        assert!(matches!(access.authenticate_token(refused, HERE).await, Err(LoginError::Refused)), "{refused}");
    }
    access.drop_token(&row.id).await.unwrap();
    assert!(access.authenticate_token(lasting.expose(), HERE).await.is_err());
    // The tables tell why, the answer does not.
    let rights = access.rights_now().await.unwrap();
    let reasons: Vec<_> = rights.tokens.values().map(|token| authenticate::refusal_of(token, Some(true)).unwrap()).collect();
    assert!(reasons.contains(&"the token was dropped") && reasons.contains(&"the token has expired"), "{reasons:?}");
}

#[tokio::test]
async fn names_are_given_once_and_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let access = access(&folder).await;
    user(&access, "ann").await;
    assert!(message(access.create_user("ann", None, None, false, LOCAL).await).contains("exists already"));
    assert!(!access.create_user("ann", None, None, true, LOCAL).await.unwrap());
    assert!(message(access.create_role("ann", None, false, LOCAL).await).contains("exists already"));
    for name in ["administrators", "everyone", "local", "", " x", "a\nb"] {
        assert!(access.create_user(name, None, None, false, LOCAL).await.is_err(), "{name:?}");
    }
    access.create_role("analysts", None, false, LOCAL).await.unwrap();
    access.grant_role("analysts", "ann", LOCAL).await.unwrap();
    access.grant(&[Privilege::Select], &table("t"), &["ann".to_string()], LOCAL).await.unwrap();
    access.set_owner(&table("mine"), "ann", LOCAL).await.unwrap();
    assert!(message(access.drop_user("ann", false).await).contains("owns TABLE dev.sales.mine"));
    access.set_owner(&table("mine"), "analysts", LOCAL).await.unwrap();
    assert!(access.drop_user("ann", false).await.unwrap());
    assert!(message(access.drop_user("ann", false).await).contains("does not exist"));
    assert!(!access.drop_user("ann", true).await.unwrap());
    // Another of the same name has nothing of it.
    user(&access, "ann").await;
    let rights = access.rights_now().await.unwrap();
    let ann = rights.subject("ann").unwrap();
    assert_eq!(ann.principals.iter().collect::<Vec<_>>(), ["ann", EVERYONE]);
    assert!(!rights.holds(&ann, Privilege::Select, &table("t")));
}

#[tokio::test]
async fn roles_are_in_roles_but_not_in_a_circle() {
    let folder = tempfile::tempdir().unwrap();
    let access = access(&folder).await;
    user(&access, "ann").await;
    for role in ["a", "b", "c"] {
        access.create_role(role, None, false, LOCAL).await.unwrap();
    }
    access.grant_role("a", "ann", LOCAL).await.unwrap();
    access.grant_role("b", "a", LOCAL).await.unwrap();
    access.grant_role("c", "b", LOCAL).await.unwrap();
    assert!(message(access.grant_role("a", "c", LOCAL).await).contains("'a' is in 'c' itself"));
    assert!(message(access.grant_role("a", "a", LOCAL).await).contains("'a' is in 'a' itself"));
    assert!(message(access.grant_role("nothing", "ann", LOCAL).await).contains("does not exist"));
    access.grant(&[Privilege::Select], &Securable::schema("dev", "sales"), &["c".to_string()], LOCAL).await.unwrap();
    let rights = access.rights_now().await.unwrap();
    assert!(rights.holds(&rights.subject("ann").unwrap(), Privilege::Select, &table("t")));
    assert!(access.revoke_role("b", "a").await.unwrap());
    assert!(!access.revoke_role("b", "a").await.unwrap());
    let rights = access.rights_now().await.unwrap();
    assert!(!rights.holds(&rights.subject("ann").unwrap(), Privilege::Select, &table("t")));
}

/// What is granted where holds for what; a row per decision.
#[tokio::test]
async fn privileges_hold_downwards() {
    let folder = tempfile::tempdir().unwrap();
    let access = access(&folder).await;
    let (catalog, schema) = (Securable::catalog("dev"), Securable::schema("dev", "sales"));
    let (model, other) = (Securable::model(&TableName::new("dev", "sales", "m")), Securable::schema("dev", "hr"));
    let cases = [
        (Privilege::Select, Securable::server(), table("t"), Privilege::Select, true),
        (Privilege::Select, catalog.clone(), table("t"), Privilege::Select, true),
        (Privilege::Select, schema.clone(), table("t"), Privilege::Select, true),
        (Privilege::Select, table("t"), table("t"), Privilege::Select, true),
        (Privilege::Select, table("t"), table("u"), Privilege::Select, false),
        (Privilege::Select, other.clone(), table("t"), Privilege::Select, false),
        (Privilege::Select, schema.clone(), table("t"), Privilege::Modify, false),
        (Privilege::Select, schema.clone(), model.clone(), Privilege::Execute, false),
        (Privilege::All, schema.clone(), table("t"), Privilege::Modify, true),
        (Privilege::All, schema.clone(), model.clone(), Privilege::Execute, true),
        (Privilege::All, schema.clone(), schema.clone(), Privilege::CreateTable, true),
        (Privilege::All, schema.clone(), table("t"), Privilege::Manage, false),
        (Privilege::Manage, schema.clone(), table("t"), Privilege::Manage, true),
        (Privilege::Manage, schema.clone(), table("t"), Privilege::Select, false),
        (Privilege::UseCatalog, catalog.clone(), schema.clone(), Privilege::UseSchema, false),
        (Privilege::Execute, catalog.clone(), model.clone(), Privilege::Execute, true),
    ];
    for (n, (granted, on, asked_on, asked, expected)) in cases.into_iter().enumerate() {
        let name = format!("u{n}");
        user(&access, &name).await;
        access.grant(&[granted], &on, std::slice::from_ref(&name), LOCAL).await.unwrap();
        let rights = access.rights_now().await.unwrap();
        let subject = rights.subject(&name).unwrap();
        assert_eq!(rights.holds(&subject, asked, &asked_on), expected, "{granted} on {on}: {asked} on {asked_on}");
    }
    assert!(message(access.grant(&[Privilege::Execute], &table("t"), &["u0".into()], LOCAL).await).contains("no privilege on a table"));
    assert!(message(access.grant(&[Privilege::Select], &table("t"), &["nobody".into()], LOCAL).await).contains("does not exist"));
}

#[tokio::test]
async fn owners_have_what_they_own_and_manage_what_lies_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let access = access(&folder).await;
    user(&access, "ann").await;
    user(&access, "bob").await;
    let schema = Securable::schema("dev", "sales");
    access.set_owner(&schema, "ann", LOCAL).await.unwrap();
    access.set_owner(&table("bobs"), "bob", LOCAL).await.unwrap();
    let rights = access.rights_now().await.unwrap();
    let (ann, bob) = (rights.subject("ann").unwrap(), rights.subject("bob").unwrap());
    assert!(rights.holds(&ann, Privilege::CreateTable, &schema));
    assert!(rights.manages(&ann, &table("bobs")));
    assert!(!rights.holds(&ann, Privilege::Select, &table("bobs")), "rows are read by whom they were granted to");
    assert!(rights.holds(&bob, Privilege::Select, &table("bobs")) && rights.manages(&bob, &table("bobs")));
    assert!(!rights.manages(&bob, &schema));
    // Names are seen by who has any right in them.
    assert!(rights.sees(&bob, &schema) && rights.sees(&bob, &Securable::catalog("dev")));
    assert!(!rights.sees(&bob, &table("others")) && !rights.sees(&bob, &Securable::schema("dev", "hr")));
    access.forget(&schema, &rights).await.unwrap();
    let rights = access.rights_now().await.unwrap();
    assert_eq!((rights.owner(&schema), rights.owner(&table("bobs"))), (None, None), "what lies in it goes with it");
}

/// Two make a table of the same name at the same time: what the first has granted on it is not taken for what was left of an older one.
#[tokio::test]
async fn only_rights_of_before_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let access = access(&folder).await;
    user(&access, "ann").await;
    user(&access, "ben").await;
    let name = TableName::new("dev", "sales", "t");
    let (select, ann, ben) = ([Privilege::Select], ["ann".to_string()], ["ben".to_string()]);
    let policy = |expression: &str| NewPolicy {
        expression: expression.to_string(),
        function: None,
        columns: Vec::new(),
        in_catalog: "dev".to_string(),
        in_schema: "sales".to_string(),
        by: "ann".to_string(),
    };
    access.grant(&select, &table("t"), &ann, LOCAL).await.unwrap();
    access.own_new(&table("t"), "ann").await.unwrap();
    access.set_row_filter(&name, &policy("a > 1")).await.unwrap();
    access.set_column_mask(&name, "a", &policy("1")).await.unwrap();
    // Both look the table up, and there is none. The first makes it and grants, the second comes to clear up only then.
    let known = access.rights_now().await.unwrap();
    access.forget(&table("t"), &known).await.unwrap();
    let rights = access.rights_now().await.unwrap();
    assert!(rights.grants.is_empty() && rights.owner(&table("t")).is_none() && rights.policies().next().is_none());
    access.own_new(&table("t"), "ben").await.unwrap();
    access.grant(&select, &table("t"), &ann, "ben").await.unwrap();
    access.grant(&select, &table("t"), &ben, "ben").await.unwrap();
    access.set_row_filter(&name, &policy("a > 2")).await.unwrap();
    access.set_column_mask(&name, "a", &policy("2")).await.unwrap();
    access.forget(&table("t"), &known).await.unwrap();
    access.own_new(&table("t"), "ann").await.unwrap();
    let rights = access.rights_now().await.unwrap();
    assert_eq!(rights.owner(&table("t")), Some("ben"), "who comes second owns nothing");
    assert_eq!(rights.grants.len(), 2);
    assert_eq!(rights.row_filter(&name).map(|row| row.expression.as_str()), Some("a > 2"));
    assert_eq!(rights.column_masks(&name).iter().map(|row| row.expression.as_str()).collect::<Vec<_>>(), ["2"]);
}

#[tokio::test]
async fn revoking_takes_what_was_granted_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let access = access(&folder).await;
    user(&access, "ann").await;
    let ann = ["ann".to_string()];
    access.grant(&[Privilege::Select, Privilege::Modify], &table("t"), &ann, LOCAL).await.unwrap();
    access.grant(&[Privilege::Select], &table("t"), &ann, LOCAL).await.unwrap();
    assert_eq!(access.rights_now().await.unwrap().grants.len(), 2, "a grant is given once");
    assert_eq!(access.revoke(&[Privilege::Select], &table("t"), &ann).await.unwrap(), 1);
    assert_eq!(access.revoke(&[Privilege::Select], &table("t"), &ann).await.unwrap(), 0);
    access.grant(&[Privilege::Select], &table("u"), &ann, LOCAL).await.unwrap();
    assert_eq!(access.revoke(&[Privilege::All], &table("t"), &ann).await.unwrap(), 1);
    assert_eq!(access.rights_now().await.unwrap().grants.len(), 1);
}

/// Another process serves no rights that are older than a second.
#[tokio::test]
async fn what_one_process_changes_holds_in_another() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (access(&folder).await, access(&folder).await);
    user(&here, "ann").await;
    here.grant(&[Privilege::Select], &table("t"), &["ann".to_string()], LOCAL).await.unwrap();
    fn holds(rights: &Rights) -> bool {
        rights.subject("ann").is_some_and(|ann| rights.holds(&ann, Privilege::Select, &table("t")))
    }
    assert!(holds(&there.rights().await.unwrap()));
    here.revoke(&[Privilege::Select], &table("t"), &["ann".to_string()]).await.unwrap();
    assert!(!holds(&here.rights().await.unwrap()), "at once, where it was said");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!holds(&there.rights().await.unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_two_processes_are_all_kept() {
    const EACH: usize = 6;
    let folder = tempfile::tempdir().unwrap();
    let both = [access(&folder).await, access(&folder).await];
    let mut tasks = Vec::new();
    for (process, access) in both.iter().enumerate() {
        for number in 0..EACH {
            let access = access.clone();
            tasks.push(tokio::spawn(async move { access.create_user(&format!("u{process}{number}"), None, None, false, LOCAL).await }));
        }
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(access(&folder).await.rights_now().await.unwrap().users.len(), 2 * EACH);
}

#[tokio::test]
async fn rights_that_cannot_be_read_are_no_rights() {
    let folder = tempfile::tempdir().unwrap();
    let access = access(&folder).await;
    user(&access, "ann").await;
    let log = folder.path().join("system/access/users/_delta_log");
    for entry in std::fs::read_dir(&log).unwrap() {
        std::fs::write(entry.unwrap().path(), "damaged").unwrap();
    }
    let other = self::access(&folder).await;
    let error = other.rights().await.unwrap_err();
    assert_eq!(error.blame, Blame::Storage, "{error}");
    assert!(matches!(other.authenticate_password("ann", "x", HERE).await, Err(LoginError::Unavailable(_))));
}

/// Rows that a newer version has written grant nothing here, and take nothing away.
#[test]
fn unknown_privileges_grant_nothing() {
    let row = |privilege: &str| tables::GrantRow {
        principal: "ann".to_string(),
        privilege: privilege.to_string(),
        object_type: "TABLE".to_string(),
        object: "dev.sales.t".to_string(),
        levels: ["dev", "sales", "t"].map(str::to_string).to_vec(),
        granted_by: None,
        granted_at: Utc::now(),
    };
    let rights = Rights::new(AllRows { grants: vec![row("TELEPORT"), row("SELECT")], ..AllRows::default() });
    let ann = Subject { name: "ann".to_string(), principals: ["ann".to_string()].into() };
    assert!(rights.holds(&ann, Privilege::Select, &table("t")));
    assert!(!rights.holds(&ann, Privilege::Modify, &table("t")));
}

#[tokio::test]
async fn the_audit_is_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let access = access(&folder).await;
    user(&access, "ann").await;
    let _ = access.authenticate_password("ann", "guess", HERE).await;
    access.audit(AuditEntry {
        user: Some("ann".into()),
        rows: Some(3),
        objects: vec!["dev.sales.t".into()],
        ..AuditEntry::new("SELECT", "succeeded")
    });
    access.flush_audit().await.unwrap();
    let name = TableName::new("system", "access", "audit");
    let Some(orrery_lakehouse::Relation::Table(stored)) = warehouse(&folder).await.relation(&name).await.unwrap() else {
        panic!("there is no audit");
    };
    let context = datafusion::prelude::SessionContext::new();
    access.warehouse().register_with(&context.runtime_env());
    context.register_table("audit", stored.provider_with(orrery_lakehouse::ScanOptions { view_types: false })).unwrap();
    let sql = "SELECT user_name, kind, outcome, error, \"rows\", objects FROM audit ORDER BY kind";
    let rows = context.sql(sql).await.unwrap().collect().await.unwrap();
    let text = datafusion::arrow::util::pretty::pretty_format_batches(&rows).unwrap().to_string();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("ann | LOGIN | refused | password: the user has no password |"), "{text}");
    assert!(text.contains("ann | SELECT | succeeded |"), "{text}");
    assert!(text.contains("[dev.sales.t]"), "{text}");
}
