//! `orrery submit`: `orrery run` on a cluster.

use orrery_engine::dialect::Variable as EngineVariable;
use orrery_engine::script;
use orrery_proto::v1::variable::Value;
use orrery_proto::v1::{ScriptFile, SubmitScriptRequest, Variable};

use super::follow::Follower;
use super::{VERSION, connect, refused};
use crate::args::Submit;
use crate::exit;
use crate::output::Output;
use crate::report::{self, RunReport, Style};

/// Submits scripts and follows the run; returns the exit code.
pub(crate) async fn submit(args: Submit) -> u8 {
    let files = match script::load(&args.paths) {
        Ok(files) => files,
        Err(failure) => return report::failure(&failure),
    };
    // What does not even divide into statements need not travel.
    let statements = match script::statements(&files) {
        Ok(statements) => statements.len(),
        Err(failure) => return report::failure(&failure),
    };
    if args.from > statements.max(1) {
        eprintln!("error: --from {} is past the last statement ({statements})", args.from);
        return exit::USAGE;
    }
    let mut client = match connect(&args.remote).await {
        Ok(client) => client,
        Err(code) => return code,
    };
    let request = SubmitScriptRequest {
        files: files.into_iter().map(|file| ScriptFile { path: file.path, text: file.text }).collect(),
        variables: args.variables.into_iter().map(variable).collect(),
        catalog: args.catalog,
        run_id: args.run_id.unwrap_or_default(),
        dry_run: args.dry_run,
        from: u32::try_from(args.from).unwrap_or(u32::MAX),
        resume_run_id: args.resume.unwrap_or_default(),
        client_version: VERSION.to_string(),
        // The server knows who calls.
        user_name: String::new(),
    };
    let mut events = match client.submit_script(request).await {
        Ok(events) => events.into_inner(),
        Err(status) => return refused(&status),
    };
    if args.detach {
        return match events.message().await {
            Ok(Some(event)) => {
                println!("{}", event.run_id);
                exit::DONE
            }
            Ok(None) => exit::FAILED,
            Err(status) => refused(&status),
        };
    }
    let style = match (args.quiet, args.dry_run) {
        (true, _) => Style::Quiet,
        (false, true) => Style::DryRun,
        (false, false) => Style::Script,
    };
    Follower::new(args.remote, client, RunReport::new(Output::new(&args.display), style), style).follow(events, true).await
}

fn variable((name, value): (String, EngineVariable)) -> Variable {
    let value = match value {
        EngineVariable::Null => Value::Null(true),
        EngineVariable::Boolean(boolean) => Value::Boolean(boolean),
        EngineVariable::Number(number) => Value::Number(number),
        EngineVariable::String(text) | EngineVariable::Date(text) | EngineVariable::Timestamp(text) => Value::Text(text),
    };
    Variable { name, value: Some(value) }
}
