//! `ALTER {USER | ROLE} … SET LIMITS (…)` and `DROP LIMITS`.

use bytesize::ByteSize;
use orrery_models::OptionValue;

use crate::access::LimitRow;
use crate::dialect::{ModelOption, ModelOptions};
use crate::session::{Outcome, Session};
use crate::{Error, Result};

const KNOWN: &str = "max_statements, memory_bytes, run_time_s and result_bytes";
/// With less memory than this not even a small sort runs, which sets 10 MB aside in each thread for merging what it will have spilled.
const LEAST_MEMORY_BYTES: u64 = 64_000_000;
/// Ten years: more is no limit, and no time that a clock could tell.
const LONGEST_S: u64 = 10 * 366 * 24 * 3600;

impl Session {
    /// Gives a user or role limits in the place of those it had.
    ///
    /// # Errors
    /// A limit that does not exist or a value that it cannot have; no such user or role.
    pub(super) async fn set_limits(&self, principal: &str, limits: &ModelOptions) -> Result<Outcome> {
        let row = row(principal, limits)?;
        let guard = self.names.guard();
        if limits.0.is_empty() {
            let found = guard.access().drop_limits(principal).await?;
            let words = if found { "has no limits any more" } else { "has no limits" };
            return Ok(Outcome::Done(format!("{principal} {words}")));
        }
        guard.access().set_limits(&row, guard.user()).await?;
        Ok(Outcome::Done(format!("the limits of {principal} are set")))
    }
}

fn row(principal: &str, limits: &ModelOptions) -> Result<LimitRow> {
    let mut row = LimitRow { principal: principal.to_string(), ..LimitRow::default() };
    for limit in &limits.0 {
        match limit.name.as_str() {
            "max_statements" => row.max_statements = Some(whole(limit)?),
            "run_time_s" => row.run_time_s = Some(whole(limit)?.min(LONGEST_S)),
            "memory_bytes" => row.memory_bytes = Some(size(limit, LEAST_MEMORY_BYTES)?),
            "result_bytes" => row.result_bytes = Some(size(limit, 1)?),
            other => return Err(Error::sql(format!("there is no limit '{other}'")).at(limit.position).hint(format!("limits are {KNOWN}"))),
        }
    }
    Ok(row)
}

fn whole(limit: &ModelOption) -> Result<u64> {
    match limit.value {
        OptionValue::Int(value @ 1..) => Ok(value.unsigned_abs()),
        _ => Err(Error::sql(format!("{} takes a whole number of at least 1", limit.name)).at(limit.position)),
    }
}

fn size(limit: &ModelOption, least: u64) -> Result<u64> {
    let bytes = match &limit.value {
        OptionValue::Int(value) => u64::try_from(*value).ok(),
        OptionValue::Text(text) => text.trim().parse::<ByteSize>().ok().map(|size| size.as_u64()),
        _ => None,
    };
    let wrong = || {
        let hint = format!("a number of bytes, or a text such as '4GB', of at least {}", ByteSize(least).display().si());
        Error::sql(format!("{} takes a size", limit.name)).at(limit.position).hint(hint)
    };
    bytes.filter(|bytes| *bytes >= least).ok_or_else(wrong)
}
