//! The compose file, really started: built, scaled up and down while scripts run, taken down. Skipped where no Docker Engine answers.

use std::process::Command;

use super::data;
use super::orrery::finished;

#[test]
fn the_compose_file_runs_the_pipeline_while_executors_come_and_go() {
    let script = data::root().join("tests/containers/compose.sh");
    let ran = finished(Command::new("bash").arg(script).arg(env!("CARGO_BIN_EXE_orrery")).output().unwrap());
    if ran.code == Some(77) {
        eprintln!("{}", ran.stdout);
        return;
    }
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout, ran.stderr);
}
