//! Statements that change users and rights.

use chrono::{DateTime, Utc};
use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{CastKind, DataType, Expr, Ident, TimezoneInfo, Visit as _, Visitor};
use orrery_lakehouse::{Relation, TableName};

use super::Verdict;
use crate::access::tables::PolicyRow;
use crate::access::{Kind, NewFunction, NewPolicy, NewToken, Privilege, Securable};
use crate::dialect::{AccessStatement, CreateFunction, Expiry, GrantRights, Name, ObjectRef, Policy, UserChange, normalize};
use crate::session::rows::{Cells, table};
use crate::session::{Mode, Outcome, Session, Tracker, planning};
use crate::{Blame, Error, Position, Result};

fn done(text: impl Into<String>) -> Result<Outcome> {
    Ok(Outcome::Done(text.into()))
}

impl Session {
    /// Carries out a statement about users and rights.
    ///
    /// # Errors
    /// A right is missing, a name does not exist, or the tables of rights cannot be written.
    pub(in crate::session) async fn change_access(&self, statement: &AccessStatement, mode: Mode, tracker: &Tracker) -> Result<Outcome> {
        let guard = self.names.guard();
        let (access, by) = (guard.access(), guard.user());
        match statement {
            AccessStatement::ShowUsers
            | AccessStatement::ShowRoles
            | AccessStatement::ShowTokens
            | AccessStatement::ShowLimits
            | AccessStatement::ShowGrants { .. } => {
                return self.show_access(statement).await;
            }
            AccessStatement::CreateUser { .. }
            | AccessStatement::SetLimits { .. }
            | AccessStatement::DropUser(_)
            | AccessStatement::CreateRole { .. }
            | AccessStatement::DropRole(_)
            | AccessStatement::GrantRole { .. }
            | AccessStatement::RevokeRole { .. } => guard.require_administrator(statement.kind())?,
            AccessStatement::AlterUser { name, change } => {
                let own_password = matches!(change, UserChange::Password(_)) && name == by;
                if !own_password {
                    guard.require_administrator(statement.kind())?;
                }
                guard.refuse_by_token("a password is changed")?;
            }
            AccessStatement::CreateToken { expires, .. } => {
                guard.refuse_by_token("a token is made")?;
                if let Some(Expiry::At(expr) | Expiry::In(expr)) = expires.as_deref() {
                    planning::refuse_subqueries(expr, "EXPIRES")?;
                }
            }
            _ => {}
        }
        if mode == Mode::Check {
            return done(format!("would carry out {}", statement.kind()));
        }
        match statement {
            AccessStatement::CreateUser { name, if_not_exists, password, comment } => {
                let made = access.create_user(name, password.as_ref(), comment.as_deref(), *if_not_exists, by).await?;
                done(if made { format!("user {name} is there") } else { format!("user {name} exists already") })
            }
            AccessStatement::AlterUser { name, change } => {
                match change {
                    UserChange::Password(password) => {
                        access.set_password(name, password).await?;
                        if let Some(principal) = guard.principal().filter(|principal| principal.user() == name) {
                            principal.renew();
                        }
                    }
                    UserChange::Enable => access.enable_user(name, true).await?,
                    UserChange::Disable => access.enable_user(name, false).await?,
                }
                done(format!("user {name} is changed"))
            }
            AccessStatement::DropUser(drop) => {
                let dropped = access.drop_user(&drop.name, drop.if_exists).await?;
                done(format!("user {} {}", drop.name, if dropped { "is dropped" } else { "does not exist" }))
            }
            AccessStatement::CreateRole { name, if_not_exists, comment } => {
                let made = access.create_role(name, comment.as_deref(), *if_not_exists, by).await?;
                done(if made { format!("role {name} is there") } else { format!("role {name} exists already") })
            }
            AccessStatement::DropRole(drop) => {
                let dropped = access.drop_role(&drop.name, drop.if_exists).await?;
                done(format!("role {} {}", drop.name, if dropped { "is dropped" } else { "does not exist" }))
            }
            AccessStatement::GrantRole { role, members } => {
                for member in members {
                    access.grant_role(role, member, by).await?;
                }
                done(format!("{} in role {role}", are(members)))
            }
            AccessStatement::RevokeRole { role, members } => {
                for member in members {
                    access.revoke_role(role, member).await?;
                }
                done(format!("{} not in role {role} any more", are(members)))
            }
            AccessStatement::CreateToken { name, user, expires, comment } => {
                self.create_token(name.as_deref(), user.as_deref(), expires.as_deref(), comment.as_deref(), tracker).await
            }
            AccessStatement::DropToken { token, user, if_exists } => self.drop_token(token, user.as_deref(), *if_exists).await,
            AccessStatement::Grant(grant) => {
                let on = self.object_to_grant(grant).await?;
                access.grant(&grant.privileges, &on, &grant.principals, by).await.map_err(|e| e.at(grant.position))?;
                done(format!("granted on {on} to {}", grant.principals.join(", ")))
            }
            AccessStatement::Revoke(grant) => {
                let on = self.object_to_grant(grant).await?;
                let gone = access.revoke(&grant.privileges, &on, &grant.principals).await.map_err(|e| e.at(grant.position))?;
                done(format!("{gone} {} on {on} revoked", if gone == 1 { "grant" } else { "grants" }))
            }
            AccessStatement::SetOwner { object, owner } => self.set_owner(object, owner).await,
            AccessStatement::SetRowFilter { table, policy } => self.set_row_filter(table, policy).await,
            AccessStatement::SetMask { table, column, policy } => self.set_mask(table, column, policy).await,
            AccessStatement::DropRowFilter(table) => {
                let (name, _) = self.table_to_protect(table).await?;
                let found = access.drop_row_filter(&name).await?;
                if !found {
                    return Err(Error::sql(format!("{name} has no row filter")).at(table.position));
                }
                done(format!("{name} has no row filter any more"))
            }
            AccessStatement::DropMask { table, column } => {
                let (name, _) = self.table_to_protect(table).await?;
                let column_name = normalize(column);
                if !access.drop_column_mask(&name, &column_name).await? {
                    let error = Error::sql(format!("the column '{column_name}' of {name} has no mask"));
                    return Err(error.at(Position::of_span(column.span)));
                }
                done(format!("{name}.{column_name} has no mask any more"))
            }
            AccessStatement::CreateFunction(create) => self.create_function(create).await,
            AccessStatement::DropFunction { name, if_exists } => self.drop_function(name, *if_exists).await,
            AccessStatement::SetLimits { principal, limits } => self.set_limits(principal, limits).await,
            AccessStatement::ShowUsers
            | AccessStatement::ShowRoles
            | AccessStatement::ShowTokens
            | AccessStatement::ShowLimits
            | AccessStatement::ShowGrants { .. } => Err(Error::new(Blame::Bug, "a listing is no change")),
        }
    }

    async fn object_to_grant(&self, grant: &GrantRights) -> Result<Securable> {
        let on = self.object(&grant.object, Privilege::Manage).await?;
        self.refuse_wrong_kind(&grant.object, &on).await?;
        Ok(on)
    }

    /// `VIEW t` of a table, and the other way round, is a slip.
    async fn refuse_wrong_kind(&self, object: &ObjectRef, on: &Securable) -> Result<()> {
        if object.is_view && on.kind == Kind::Table && matches!(self.warehouse.relation(&on.table_name()).await?, Some(Relation::Table(_)))
        {
            return Err(Error::sql(format!("{} is a table, not a view", on.name))
                .at(object.name.position)
                .hint(format!("ON TABLE {}", on.name)));
        }
        Ok(())
    }

    async fn set_owner(&self, object: &ObjectRef, owner: &str) -> Result<Outcome> {
        let guard = self.names.guard();
        let on = self.object(object, Privilege::Manage).await?;
        if on.kind == Kind::Server {
            return Err(Error::sql("the server has no owner; its administrators do what owners do").at(object.name.position));
        }
        self.refuse_wrong_kind(object, &on).await?;
        // Views run with their owners' rights: nobody may lend himself those of somebody else.
        if !guard.reader_is_administrator() && !guard.reader_is(owner) {
            return Err(Error::new(Blame::Rights, format!("{} may give {on} to himself and to roles that he is in", guard.user()))
                .hint("an administrator may give it to anybody"));
        }
        guard.access().set_owner(&on, owner, guard.user()).await?;
        done(format!("{owner} owns {on}"))
    }

    async fn create_token(
        &self,
        name: Option<&str>,
        user: Option<&str>,
        expires: Option<&Expiry>,
        comment: Option<&str>,
        tracker: &Tracker,
    ) -> Result<Outcome> {
        let guard = self.names.guard();
        let user = self.user_of_tokens(user)?;
        let expires_at = match expires {
            None => None,
            Some(expiry) => Some(self.expiry(expiry, tracker).await?),
        };
        let new = NewToken {
            name: name.map(str::to_string),
            user,
            comment: comment.map(str::to_string),
            expires_at,
            by: guard.user().to_string(),
        };
        let (secret, row) = guard.access().create_token(new).await?;
        let shown = |at: DateTime<Utc>| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        Self::batch(table(vec![
            ("token", Cells::text([secret.expose().to_string()].into_iter())),
            ("id", Cells::text([row.id].into_iter())),
            ("name", Cells::Text(vec![row.name])),
            ("user_name", Cells::text([row.user].into_iter())),
            ("expires_at", Cells::Text(vec![row.expires_at.map(shown)])),
        ])?)
    }

    /// The user himself, or, of administrators, anybody.
    fn user_of_tokens(&self, named: Option<&str>) -> Result<String> {
        let guard = self.names.guard();
        match named {
            Some(named) if named != guard.user() => {
                guard.require_administrator("a token of another user")?;
                Ok(named.to_string())
            }
            _ if guard.is_unrestricted() => {
                Err(Error::sql("nobody has logged in here whose token it could be").hint("say whose: FOR USER name"))
            }
            _ => Ok(guard.user().to_string()),
        }
    }

    async fn drop_token(&self, token: &str, user: Option<&str>, if_exists: bool) -> Result<Outcome> {
        let guard = self.names.guard();
        let rights = guard.access().rights_now().await?;
        let is_administrator = guard.reader_is_administrator();
        let whose = user.or_else(|| guard.principal().map(|principal| principal.user()));
        let found = rights.token(whose, token).filter(|found| is_administrator || found.user == guard.user());
        let Some(found) = found else {
            let text = format!("the token '{token}' does not exist");
            return if if_exists { done(text) } else { Err(Error::sql(text).hint("SHOW TOKENS lists tokens")) };
        };
        guard.access().drop_token(&found.id).await?;
        done(format!("token {} of {} is dropped", found.id, found.user))
    }

    /// When a token ends.
    async fn expiry(&self, expiry: &Expiry, tracker: &Tracker) -> Result<DateTime<Utc>> {
        let expr = match expiry {
            Expiry::At(at) => at.clone(),
            Expiry::In(interval) => Expr::BinaryOp {
                left: Box::new(constant("now()")?),
                op: datafusion::sql::sqlparser::ast::BinaryOperator::Plus,
                right: Box::new(interval.clone()),
            },
        };
        let cast = Expr::Cast {
            kind: CastKind::Cast,
            expr: Box::new(expr),
            data_type: DataType::Timestamp(Some(6), TimezoneInfo::WithoutTimeZone),
            array: false,
            format: None,
        };
        let values = self.evaluate(vec![cast], tracker).await?;
        let stored = datafusion::arrow::datatypes::DataType::Timestamp(datafusion::arrow::datatypes::TimeUnit::Microsecond, None);
        match values.first().map(|value| value.cast_to(&stored)).transpose()? {
            Some(ScalarValue::TimestampMicrosecond(Some(micros), _)) => DateTime::from_timestamp_micros(micros),
            _ => None,
        }
        .ok_or_else(|| Error::sql("EXPIRES takes IN INTERVAL '30' DAY or AT TIMESTAMP '…'"))
    }

    /// A table whose rows and columns the user may hide from others, and its columns.
    async fn table_to_protect(&self, written: &Name) -> Result<(TableName, std::sync::Arc<orrery_lakehouse::Table>)> {
        let at = |error: Error| error.at(written.position);
        let name = self.names.resolve(written);
        self.refuse_system(&name.catalog, written)?;
        let on = Securable::table(&name);
        let relation = self.warehouse.relation(&name).await.map_err(|e| at(e.into()))?;
        self.require(&on, Privilege::Manage, relation.is_some()).await.map_err(at)?;
        match relation {
            Some(Relation::Table(table)) => Ok((name, table)),
            _ => Err(at(
                Error::sql(format!("{name} is a view; row filters and masks belong to tables")).hint("write it in the view's query")
            )),
        }
    }

    async fn set_row_filter(&self, written: &Name, policy: &Policy) -> Result<Outcome> {
        let (name, stored) = self.table_to_protect(written).await?;
        let new = self.policy(policy, &name, &stored, None)?;
        let row = checked_row(&name, None, &new);
        let planned = self.check_policy(&name, &stored, Some(&row), &[]).await;
        planned.map_err(|error| Error { message: format!("the row filter of {name}: {}", error.message), ..error })?;
        self.names.guard().access().set_row_filter(&name, &new).await?;
        self.names.drop_cached(&name);
        done(format!("{name} has a row filter"))
    }

    async fn set_mask(&self, written: &Name, column: &Ident, policy: &Policy) -> Result<Outcome> {
        let (name, stored) = self.table_to_protect(written).await?;
        let column_name = normalize(column);
        require_column(&stored, &name, column)?;
        let new = self.policy(policy, &name, &stored, Some(column))?;
        let row = checked_row(&name, Some(column_name.clone()), &new);
        let planned = self.check_policy(&name, &stored, None, &[std::sync::Arc::new(row)]).await;
        planned.map_err(|error| Error { message: format!("the mask of {name}.{column_name}: {}", error.message), ..error })?;
        self.names.guard().access().set_column_mask(&name, &column_name, &new).await?;
        self.names.drop_cached(&name);
        done(format!("{name}.{column_name} has a mask"))
    }

    /// The expression of a policy, in full names.
    fn policy(&self, policy: &Policy, table: &TableName, stored: &orrery_lakehouse::Table, column: Option<&Ident>) -> Result<NewPolicy> {
        let by = self.names.guard().user().to_string();
        let (expression, function, columns) = match policy {
            Policy::Expression { text, .. } => (text.clone(), None, Vec::new()),
            Policy::Function { name, columns } => {
                let full = self.names.resolve(name);
                let on = Securable::function(&full);
                let exists = self.names.guard().rights().function(&full).is_some();
                match self.names.guard().may(Privilege::Execute, &on) {
                    Verdict::Allowed if exists => {}
                    Verdict::Refused(error) if exists => return Err(error.at(name.position)),
                    _ => return Err(Error::sql(format!("the function '{full}' does not exist")).at(name.position)),
                }
                let mut args: Vec<String> = Vec::new();
                for ident in column.into_iter().chain(columns) {
                    require_column(stored, table, ident)?;
                    args.push(normalize(ident));
                }
                let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
                let called = [&full.catalog, &full.schema, &full.table].map(|level| quoted(level)).join(".");
                let expression = format!("{called}({})", args.iter().map(|arg| quoted(arg)).collect::<Vec<_>>().join(", "));
                (expression, Some(full.to_string()), columns.iter().map(normalize).collect())
            }
        };
        Ok(NewPolicy { expression, function, columns, in_catalog: table.catalog.clone(), in_schema: table.schema.clone(), by })
    }

    /// Plans a policy as readers will, so that what is wrong is found while its author is looking.
    async fn check_policy(
        &self,
        name: &TableName,
        stored: &std::sync::Arc<orrery_lakehouse::Table>,
        filter: Option<&PolicyRow>,
        masks: &[std::sync::Arc<PolicyRow>],
    ) -> Result<()> {
        let plan = self.names.apply_policies(name, self.names.scan(stored), filter, masks).await?;
        self.physical(&plan).await?;
        Ok(())
    }

    async fn create_function(&self, create: &CreateFunction) -> Result<Outcome> {
        let at = |error: Error| error.at(create.name.position);
        let name = self.names.resolve(&create.name);
        self.refuse_system(&name.catalog, &create.name)?;
        let (on, schema) = (Securable::function(&name), Securable::schema(&name.catalog, &name.schema));
        let schema_exists = self.exists(&schema).await.map_err(at)?;
        let exists = self.names.guard().access().rights_now().await?.function(&name).is_some();
        if exists && create.or_replace {
            self.require(&on, Privilege::Manage, true).await.map_err(at)?;
        } else {
            self.require(&schema, Privilege::CreateFunction, schema_exists).await.map_err(at)?;
        }
        if exists && create.if_not_exists {
            return done(format!("function {name} exists already"));
        }
        check_body(create)?;
        let state = self.context.state();
        self.names.check_function_body(&state, &name, &create.body).map_err(|e| e.at(create.position))?;
        self.check_function_types(create).await?;
        let guard = self.names.guard();
        let new = NewFunction {
            parameters: create.parameters.iter().map(|(name, _)| normalize(name)).collect(),
            types: create.parameters.iter().map(|(_, data_type)| data_type.to_string()).collect(),
            returns: create.returns.as_ref().map(ToString::to_string),
            expression: create.expression.clone(),
            comment: create.comment.clone(),
            by: guard.user().to_string(),
        };
        if !exists {
            self.forget_if_gone(&on).await?;
        }
        guard.access().create_function(&name, &new, create.or_replace).await.map_err(at)?;
        if !exists && let Some(principal) = guard.principal() {
            guard.access().own_new(&on, principal.user()).await?;
        }
        done(format!("function {name} is there"))
    }

    /// Plans the expression over NULLs of the parameters' types.
    async fn check_function_types(&self, create: &CreateFunction) -> Result<()> {
        let at = |error: Error| error.at(create.position);
        let nulls = create
            .parameters
            .iter()
            .map(|(name, data_type)| format!("CAST(NULL AS {data_type}) AS \"{}\"", normalize(name).replace('"', "\"\"")));
        let mut columns: Vec<String> = nulls.collect();
        columns.push("1 AS \"\u{1}one\"".to_string());
        let value = match &create.returns {
            Some(data_type) => format!("CAST(({}) AS {data_type})", create.expression),
            None => format!("({})", create.expression),
        };
        let sql = format!("SELECT {value} AS v FROM (SELECT {}) AS parameters", columns.join(", "));
        let statement = crate::dialect::split_own(&sql).map_err(at)?.into_iter().next();
        let Some(crate::dialect::Statement::Query(query)) =
            statement.map(|text| crate::dialect::parse(&text.tokens)).transpose().map_err(at)?
        else {
            return Err(at(Error::sql("RETURN takes one expression")));
        };
        let planned = planning::plan_query(&self.context.state(), &self.names, query).await;
        // Places in the text made here mean nothing to its author.
        let plan = planned.map_err(|error| at(Error { position: None, ..error }))?;
        self.physical(&plan).await.map(|_| ()).map_err(|error| at(Error { position: None, ..error }))
    }

    async fn drop_function(&self, written: &Name, if_exists: bool) -> Result<Outcome> {
        let name = self.names.resolve(written);
        let on = Securable::function(&name);
        let exists = self.names.guard().access().rights_now().await?.function(&name).is_some();
        match self.require(&on, Privilege::Manage, exists).await {
            Ok(()) => {}
            Err(error) if if_exists && error.blame != Blame::Rights => return done(format!("function {name} does not exist")),
            Err(error) => return Err(error.at(written.position)),
        }
        let access = self.names.guard().access();
        access.drop_function(&name).await.map_err(|e| e.at(written.position))?;
        self.forget_if_gone(&on).await?;
        done(format!("function {name} is dropped"))
    }
}

fn are(members: &[String]) -> String {
    format!("{} {}", members.join(", "), if members.len() == 1 { "is" } else { "are" })
}

fn constant(text: &str) -> Result<Expr> {
    let statement = crate::dialect::split_own(&format!("SELECT {text}"))?.into_iter().next();
    let Some(crate::dialect::Statement::Query(query)) = statement.map(|text| crate::dialect::parse(&text.tokens)).transpose()? else {
        return Err(Error::new(Blame::Bug, format!("{text} is no query")));
    };
    match *query.body {
        datafusion::sql::sqlparser::ast::SetExpr::Select(select) => match select.projection.into_iter().next() {
            Some(datafusion::sql::sqlparser::ast::SelectItem::UnnamedExpr(expr)) => Ok(expr),
            _ => Err(Error::new(Blame::Bug, format!("{text} is no expression"))),
        },
        _ => Err(Error::new(Blame::Bug, format!("{text} is no expression"))),
    }
}

fn checked_row(name: &TableName, column: Option<String>, new: &NewPolicy) -> PolicyRow {
    PolicyRow {
        table: name.to_string(),
        levels: Vec::new(),
        column,
        expression: new.expression.clone(),
        function: new.function.clone(),
        columns: new.columns.clone(),
        in_catalog: new.in_catalog.clone(),
        in_schema: new.in_schema.clone(),
        set_by: None,
        set_at: Utc::now(),
    }
}

fn require_column(stored: &orrery_lakehouse::Table, table: &TableName, column: &Ident) -> Result<()> {
    let (schema, name) = (stored.schema(), normalize(column));
    if schema.column_with_name(&name).is_some() {
        return Ok(());
    }
    let known: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    Err(Error::sql(format!("{table} has no column '{name}'"))
        .at(Position::of_span(column.span))
        .hint(format!("columns are: {}", known.join(", "))))
}

/// A function computes from its parameters: it reads nothing.
fn check_body(create: &CreateFunction) -> Result<()> {
    struct Reads<'a>(&'a CreateFunction);
    impl Visitor for Reads<'_> {
        type Break = Error;

        fn pre_visit_expr(&mut self, expr: &Expr) -> std::ops::ControlFlow<Error> {
            let problem = match expr {
                Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => Error::unsupported("a subquery in a function", None)
                    .hint("a row filter as an expression in parentheses may hold subqueries"),
                Expr::Identifier(ident) if !self.0.parameters.iter().any(|(name, _)| normalize(name) == normalize(ident)) => {
                    let known: Vec<String> = self.0.parameters.iter().map(|(name, _)| normalize(name)).collect();
                    Error::sql(format!("'{ident}' is no parameter of the function"))
                        .at(Position::of_span(ident.span))
                        .hint(format!("parameters are: {}", known.join(", ")))
                }
                _ => return std::ops::ControlFlow::Continue(()),
            };
            std::ops::ControlFlow::Break(problem.at(self.0.position))
        }
    }
    match create.body.visit(&mut Reads(create)) {
        std::ops::ControlFlow::Break(error) => Err(error),
        std::ops::ControlFlow::Continue(()) => Ok(()),
    }
}
