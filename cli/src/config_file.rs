//! The configuration file of the servers: its values become the defaults of the flags of the same names, so every setting is declared once, as a flag.

use std::path::Path;

use clap::{Arg, Command};

/// Reads the table of `server` in a TOML file into the flags of that subcommand.
///
/// # Errors
/// A file that cannot be read, is not TOML, or has a key that is no flag; in a sentence for the operator.
pub(crate) fn apply(command: Command, server: &str, path: &Path) -> Result<Command, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("the configuration file {shown} cannot be read: {error}"))?;
    let file: toml::Table = text.parse().map_err(|error| format!("the configuration file {shown} is not valid: {error}"))?;
    for table in file.keys() {
        if command.find_subcommand(table).is_none() || !["serve", "scheduler", "executor"].contains(&table.as_str()) {
            return Err(format!("the configuration file {shown} has '{table}'; expected are tables [serve], [scheduler] and [executor]"));
        }
    }
    let Some(settings) = file.get(server) else { return Ok(command) };
    let settings = settings.as_table().ok_or_else(|| format!("'{server}' in {shown} has to be a table"))?;
    let known: Vec<String> = command.find_subcommand(server).map(|found| keys(found).collect()).unwrap_or_default();
    let mut values = Vec::new();
    for (key, value) in settings {
        if !known.contains(key) {
            let near = known.iter().max_by(|a, b| strsim(a, key).total_cmp(&strsim(b, key))).cloned().unwrap_or_default();
            return Err(format!("'{key}' in [{server}] of {shown} is not a setting; did you mean '{near}'?"));
        }
        let value = match value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Float(number) => number.to_string(),
            toml::Value::Boolean(flag) => flag.to_string(),
            _ => return Err(format!("'{key}' in [{server}] of {shown} has to be a single value")),
        };
        values.push((key.clone(), value));
    }
    Ok(command.mut_subcommand(server, |mut found| {
        for (key, value) in values {
            found = found.mut_arg(key, |arg| arg.default_value(value));
        }
        found
    }))
}

/// Keys are the flags' names with `_` for `-`; the flag that names the file is none.
fn keys(command: &Command) -> impl Iterator<Item = String> {
    let flags = command.get_arguments().filter(|arg| arg.get_long().is_some_and(|long| !["config", "help"].contains(&long)));
    flags.map(Arg::get_id).map(ToString::to_string)
}

fn strsim(a: &str, b: &str) -> f64 {
    strsim::jaro_winkler(a, b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Arguments, Command as Parsed};
    use clap::{CommandFactory as _, FromArgMatches as _};

    fn parse(file: &str, arguments: &[&str]) -> Result<orrery_scheduler::Settings, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("orrery.toml");
        std::fs::write(&path, file).unwrap();
        let command = apply(Arguments::command(), "scheduler", &path)?;
        let matches = command.try_get_matches_from(["orrery", "scheduler"].iter().chain(arguments)).map_err(|e| e.to_string())?;
        match Arguments::from_arg_matches(&matches).unwrap().command {
            Parsed::Scheduler(server) => Ok(server.settings),
            _ => unreachable!(),
        }
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let file = "[scheduler]\nclient_port = 1234\npartition_size = \"64MB\"\n[executor]\nvcores = 3\n";
        let settings = parse(file, &["--partition-size", "32MB"]).unwrap();
        assert_eq!(settings.client_port, 1234);
        assert_eq!(settings.partition_size, bytesize::ByteSize::mb(32));
        assert_eq!(settings.internal_port, 50050);
    }

    #[test]
    fn switches_and_settings_that_servers_share_can_be_in_the_file() {
        let file = "[scheduler]\ninsecure = true\ncluster_tls_ca = \"ca.pem\"\n[executor]\ncluster_tls_name = \"node\"\n";
        let settings = parse(file, &[]).unwrap();
        assert!(settings.cluster.insecure);
        assert_eq!(settings.cluster.cluster_tls_ca, Some("ca.pem".into()));
        assert!(!parse("[scheduler]\ninsecure = false\n", &[]).unwrap().cluster.insecure);
        assert!(!parse("", &[]).unwrap().cluster.insecure);
    }

    #[test]
    fn unknown_keys_and_bad_values_are_refused() {
        let unknown = parse("[scheduler]\nclientport = 1\n", &[]).unwrap_err();
        assert!(unknown.contains("'clientport'") && unknown.contains("did you mean 'client_port'"), "{unknown}");
        let table = parse("[shceduler]\n", &[]).unwrap_err();
        assert!(table.contains("'shceduler'"), "{table}");
        let value = parse("[scheduler]\nclient_port = \"many\"\n", &[]).unwrap_err();
        assert!(value.contains("many"), "{value}");
        let list = parse("[scheduler]\nclient_port = [1]\n", &[]).unwrap_err();
        assert!(list.contains("single value"), "{list}");
    }
}
