//! Statements that look after tables: `VACUUM`.

use super::super::statement::*;
use super::StatementParser;
use crate::Result;

impl StatementParser<'_> {
    pub(super) fn vacuum(&mut self) -> Result<Statement> {
        self.words(&["VACUUM"])?;
        let _ = self.word("TABLE");
        let name = self.name()?;
        let retain_hours = if self.word("RETAIN") {
            let hours = self.sql.parse_literal_uint().map_err(|e| self.syntax(e))?;
            self.words(&["HOURS"])?;
            Some(hours)
        } else {
            None
        };
        let force = self.word("FORCE");
        let dry_run = self.word("DRY");
        if dry_run {
            self.words(&["RUN"])?;
        }
        Ok(Statement::Vacuum(Vacuum { name, retain_hours, force, dry_run }))
    }
}
