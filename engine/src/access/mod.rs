//! Users and rights: who may do what with which object.
//!
//! ```text
//! system.access.users, roles, role_members, tokens      who there is, and how he shows that it is he
//! system.access.grants, owners                          who may do what
//! system.access.row_filters, column_masks, functions    what of a table its readers see
//! system.access.limits                                  how much of the server his statements may take
//! system.access.audit                                   what was done, by whom, from where
//! ```
//!
//! [`Access`] is the one door: servers let users in by it, statements change rights by it, and the session asks it for the [rights](rights) of the moment,
//! which are at most half a second old in every process. Decisions are made in memory ([`rights`]); where they are asked for is the session's business
//! (`session/access`).

mod audit;
mod authenticate;
mod grants;
mod limits;
mod location;
mod memory;
mod passwords;
mod policies;
mod principal;
mod privilege;
pub(crate) mod rights;
mod secret;
mod securable;
mod store;
pub(crate) mod tables;
mod throttle;
mod tokens;
mod users;
mod workload;

#[cfg(test)]
mod tests;

pub use audit::{AuditEntry, called_from};
pub use authenticate::{Bootstrapped, LoginError};
pub use principal::Principal;
pub use privilege::Privilege;
pub use secret::Secret;
pub use securable::{Kind, Securable};
pub use store::Access;
pub use workload::Capacity;

pub(crate) use audit::call_address;
pub(crate) use limits::{Bound, LimitRow};
pub(crate) use location::{Location, refuse_parents};
pub(crate) use memory::UserPool;
pub(crate) use policies::{NewFunction, NewPolicy};
pub(crate) use rights::{Rights, Subject};
pub(crate) use tokens::NewToken;
pub(crate) use workload::Slot;

/// The role whose members may do everything.
pub const ADMINISTRATORS: &str = "administrators";
/// The role that every user is in.
pub const EVERYONE: &str = "everyone";
/// Who acts in the embedded engine, where nobody has logged in.
pub const LOCAL: &str = "local";
/// The user that a fresh server makes.
pub const FIRST_ADMINISTRATOR: &str = "admin";
