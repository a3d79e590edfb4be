//! What an examination finds.

use std::fmt;

use serde_json::{Value, json};

/// How much a finding matters, in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Ok,
    /// Good to know.
    Note,
    /// Something is lost or slow, or will be.
    Warning,
    /// Events do not arrive.
    Error,
}

impl Level {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The fixed name of the check.
    pub check: &'static str,
    pub level: Level,
    /// The table, role, webhook or process that it is about.
    pub subject: Option<String>,
    pub what: String,
    pub cause: Option<String>,
    pub remedy: Option<String>,
    /// The figure behind it.
    pub value: Option<f64>,
}

impl Finding {
    fn new(check: &'static str, level: Level, what: impl Into<String>) -> Self {
        Self {
            check,
            level,
            subject: None,
            what: what.into(),
            cause: None,
            remedy: None,
            value: None,
        }
    }

    pub(super) fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(check, Level::Ok, what)
    }

    pub(super) fn note(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(check, Level::Note, what)
    }

    pub(super) fn warning(
        check: &'static str,
        what: impl Into<String>,
        cause: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(check, Level::Warning, what).because(cause, remedy)
    }

    pub(super) fn error(
        check: &'static str,
        what: impl Into<String>,
        cause: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(check, Level::Error, what).because(cause, remedy)
    }

    pub(super) fn because(mut self, cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self.remedy = Some(remedy.into());
        self
    }

    pub(super) fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    pub(super) const fn measured(mut self, value: f64) -> Self {
        self.value = Some(value);
        self
    }

    /// As a JSON object; what is missing is null.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "check": self.check,
            "level": self.level.name(),
            "subject": self.subject,
            "what": self.what,
            "cause": self.cause,
            "remedy": self.remedy,
            "value": self.value,
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(cause) = &self.cause {
            write!(f, "\n  cause:  {cause}")?;
        }
        if let Some(remedy) = &self.remedy {
            write!(f, "\n  remedy: {remedy}")?;
        }
        Ok(())
    }
}

/// All findings, in the order of the checks.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    pub findings: Vec<Finding>,
}

impl Report {
    pub(super) fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    pub(super) fn add_all(&mut self, findings: Vec<Finding>) {
        self.findings.extend(findings);
    }

    /// Adds the findings of a check, or the finding that it could not be made.
    pub(super) fn take(&mut self, checked: Result<Vec<Finding>, Finding>) {
        match checked {
            Ok(findings) => self.add_all(findings),
            Err(finding) => self.add(finding),
        }
    }

    /// The worst level; [`Level::Ok`] if there are no findings.
    #[must_use]
    pub fn worst(&self) -> Level {
        self.findings.iter().map(|f| f.level).max().unwrap_or(Level::Ok)
    }

    /// How many findings have this level.
    #[must_use]
    pub fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|f| f.level == level).count()
    }

    /// As one JSON object.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "level": self.worst().name(),
            "findings": self.findings.iter().map(Finding::json).collect::<Vec<_>>(),
        })
    }
}
