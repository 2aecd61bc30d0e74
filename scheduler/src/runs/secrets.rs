//! Scripts with secrets are not run here: the journal keeps what was asked and what came back.

use orrery_engine::dialect::split;
use orrery_proto::v1::SubmitScriptRequest;

use super::Refusal;

/// Refuses a script that sets a password or makes a token.
///
/// # Errors
/// The statement's place.
pub(super) fn refuse(request: &SubmitScriptRequest) -> Result<(), Refusal> {
    for file in &request.files {
        let place = match split(&file.text) {
            Ok(statements) => statements.into_iter().find(|statement| statement.tells_secrets()).map(|statement| statement.position.line),
            // It will be told where the script is broken; what might be a secret in it is not kept for that.
            Err(_) => file.text.lines().position(|line| line.to_ascii_lowercase().contains("password")).map(|line| line as u64 + 1),
        };
        if let Some(line) = place {
            let problem = format!(
                "{}:{line}: a submitted script cannot set passwords or make tokens, since its text and its results are kept; run the statement in a shell",
                file.path
            );
            return Err(Refusal::Invalid(problem));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_proto::v1::ScriptFile;

    fn refused(text: &str) -> bool {
        let file = ScriptFile { path: "a.sql".to_string(), text: text.to_string() };
        refuse(&SubmitScriptRequest { files: vec![file], ..SubmitScriptRequest::default() }).is_err()
    }

    #[test]
    fn scripts_with_secrets_are_refused() {
        for text in [
            "SELECT 1; CREATE USER ann PASSWORD 'hunter22'",
            "alter user ann set password 'hunter22'",
            "CREATE USER ann PASSWORD ${pw}",
            "CREATE TOKEN t FOR USER ann",
            "ALTER USER ann SET PASSWORD 'hunter22'; SELECT 'open",
        ] {
            assert!(refused(text), "{text}");
        }
        for text in ["SELECT 'password'", "CREATE USER ann; GRANT SELECT ON TABLE t TO ann", "DROP TOKEN t", "SELECT 'open"] {
            assert!(!refused(text), "{text}");
        }
    }
}
