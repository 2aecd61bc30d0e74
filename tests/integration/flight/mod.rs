//! Flight SQL as clients see it: the same tests against `orrery serve` and against a cluster of two executors.

mod cancel;
mod ingest;
mod limits;
mod metadata;
mod prepared;
mod python_clients;
mod queries;
mod readme;
mod refused;
mod serve_tls;
mod served;
mod sessions;
mod users;

/// A test for each kind of server.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod on_one_machine {
            $(#[test] fn $name() { super::super::served::on_one_machine(super::$name); })*
        }
        mod on_a_cluster {
            $(#[test] fn $name() { super::super::served::on_a_cluster(super::$name); })*
        }
    };
}
pub(crate) use on_both;
