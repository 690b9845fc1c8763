//! A plan as text.

use std::fmt::{Display, Formatter, Result};

use super::planning::Plan;

impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(f, "{} on {} ({})", self.script, self.engine, self.address)?;
        let mut within = None;
        for step in self.changes() {
            if step.within != within {
                within.clone_from(&step.within);
                if let Some(title) = &within {
                    writeln!(f, "  {title}")?;
                }
            }
            let mark = if step.irreversible.is_some() { '!' } else { ' ' };
            let line = format!("  {mark} {} {}", step.kind, step.subject);
            writeln!(f, "{}", line.trim_end())?;
        }
        match self.changes().count() {
            0 => writeln!(f, "nothing to do")?,
            1 => writeln!(f, "1 change")?,
            count => writeln!(f, "{count} changes")?,
        }
        for why in &self.irreversible {
            writeln!(f, "cannot be undone: {why}")?;
        }
        for (url, requests) in &self.load {
            writeln!(f, "load: {requests} requests would be sent to {url}")?;
        }
        match self.downtime_ms {
            None => writeln!(f, "downtime: unknown, because the public port is unknown")?,
            Some(0) => writeln!(f, "downtime: none")?,
            Some(ms) => writeln!(f, "downtime: about {}.{} s", ms / 1_000, ms % 1_000 / 100)?,
        }
        for name in &self.missing_secrets {
            writeln!(f, "missing: secret `{name}` is not set")?;
        }
        for name in &self.missing_programs {
            writeln!(f, "missing: program `{name}` is not installed")?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        if let Some(failed) = &self.fails {
            writeln!(f, "the run would end `{}`: {}", failed.status, failed.error)?;
        }
        Ok(())
    }
}
