//! The real clients of Python: ADBC's driver, `pyarrow.flight`, pandas and polars. `scripts/test.sh` makes their environment.

use super::on_both;
use super::served::Server;
use crate::data;
use crate::python::{interpreter, python};

on_both!(adbc, pyarrow_flight, data_frames);

fn run(server: &Server, script: &str) {
    let Some(interpreter) = interpreter() else { return };
    let path = data::root().join("tests/flight").join(script);
    let ran = python(&interpreter, &[path.to_str().unwrap(), &server.port.to_string()]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
}

async fn adbc(server: Server) {
    run(&server, "adbc.py");
}

async fn pyarrow_flight(server: Server) {
    run(&server, "arrow_flight.py");
}

async fn data_frames(server: Server) {
    run(&server, "data_frames.py");
}
