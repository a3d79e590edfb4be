//! What every page has around its view: who looks, in which language, and where the rest is.

use chrono::{DateTime, Utc};

use super::assets::{self, Asset};
use super::language::Language;
use super::when;
use crate::ocs::Refusal;

/// What every template is given.
#[derive(Debug, Clone)]
pub(crate) struct Chrome {
    /// The path of the page, without a slash at its end.
    pub(crate) base: String,
    pub(crate) language: Language,
    /// The first part of the path below the page: which link of the navigation leads here.
    pub(crate) section: String,
    /// Who is logged in.
    pub(crate) user: Option<String>,
    /// Whether this user may change something.
    pub(crate) operator: bool,
    /// The token of this browser's forms.
    pub(crate) token: String,
    /// Whether one logs in and out here, not in Nextcloud.
    pub(crate) standalone: bool,
    /// Lets the page's own scripts and style work, and no other.
    pub(crate) nonce: String,
    /// This view with the other language; `None` if the answer is of an action, whose path shows nothing.
    pub(crate) switch: Option<String>,
    /// What was done a moment ago, by its name.
    pub(crate) notice: Option<String>,
    pub(crate) now: DateTime<Utc>,
}

/// A link of the navigation.
pub(crate) struct Link {
    pub(crate) href: String,
    pub(crate) label: &'static str,
    pub(crate) here: bool,
}

impl Chrome {
    /// A text in the language of the page.
    pub(crate) const fn t<'a>(&self, english: &'a str, dutch: &'a str) -> &'a str {
        self.language.choose(english, dutch)
    }

    /// A refusal in the language of the page.
    pub(crate) fn refusal(&self, status: u16, english: &str, dutch: &str) -> Refusal {
        Refusal {
            status,
            message: self.t(english, dutch).to_owned(),
            language: self.language.code(),
        }
    }

    /// What a reader is told who wants to change something.
    pub(crate) fn only_looks(&self) -> Refusal {
        let dutch = "U mag hier alles bekijken en niets wijzigen.";
        self.refusal(403, "You may look at everything here and change nothing.", dutch)
    }

    pub(crate) fn asset(&self, name: &str) -> String {
        let hash = Asset::find(name).map_or("", |asset| asset.hash());
        format!("{}/{}/{hash}/{name}", self.base, assets::FOLDER)
    }

    /// The links to every view.
    pub(crate) fn links(&self) -> Vec<Link> {
        let all: [(&str, &'static str, &'static str); 7] = [
            ("", "Overview", "Overzicht"),
            ("webhooks", "Webhooks", "Webhooks"),
            ("deliveries", "Deliveries", "Leveringen"),
            ("jobs", "Jobs", "Taken"),
            ("live", "Live", "Live"),
            ("events", "Events", "Gebeurtenissen"),
            ("audit", "Audit", "Logboek"),
        ];
        all.into_iter()
            .map(|(section, english, dutch)| Link {
                href: format!("{}/{section}", self.base),
                label: self.language.choose(english, dutch),
                here: self.section == section && self.user.is_some(),
            })
            .collect()
    }

    /// What was done a moment ago, in words.
    pub(crate) fn notice_text(&self) -> Option<&'static str> {
        let (english, dutch) = match self.notice.as_deref()? {
            "enable" => ("The webhook is enabled.", "De webhook staat aan."),
            "resume" => ("The webhook goes on delivering.", "De webhook levert weer."),
            "pause" => (
                "The webhook is paused: it collects events and delivers none.",
                "De webhook is gepauzeerd: gebeurtenissen worden verzameld en niet geleverd.",
            ),
            "disable" => ("The webhook is disabled.", "De webhook staat uit."),
            "saved" => ("The webhook is saved.", "De webhook is opgeslagen."),
            "deleted" => ("The webhook is deleted.", "De webhook is verwijderd."),
            "retried" => (
                "It is in the queue again and will be sent in a moment.",
                "De levering staat weer in de wachtrij en wordt zo verstuurd.",
            ),
            "retried-all" => (
                "What was given up is in the queue again and will be sent in a moment.",
                "Wat was opgegeven staat weer in de wachtrij en wordt zo verstuurd.",
            ),
            "retried-some" => (
                "A part of what was given up is in the queue again. Press again for the rest.",
                "Een deel van wat was opgegeven staat weer in de wachtrij. Druk nog eens voor de rest.",
            ),
            "retried-none" => (
                "There was nothing to retry: what was given up is already in the queue again, or its events are no longer kept.",
                "Er was niets om opnieuw te proberen: wat was opgegeven staat al weer in de wachtrij, of de gebeurtenissen zijn niet meer bewaard.",
            ),
            "started" => ("The job has started.", "De taak is gestart."),
            "cancel" => ("The job is being cancelled.", "De taak wordt afgebroken."),
            _ => return None,
        };
        Some(self.language.choose(english, dutch))
    }

    pub(crate) fn n(&self, number: &i64) -> String {
        when::number(*number, self.language)
    }

    pub(crate) fn ms(&self, milliseconds: &i64) -> String {
        when::milliseconds(*milliseconds, self.language)
    }

    pub(crate) fn exact(&self, at: &DateTime<Utc>) -> String {
        when::exact(*at)
    }

    pub(crate) fn written(&self, at: &DateTime<Utc>) -> String {
        when::written(*at)
    }

    pub(crate) fn ago(&self, at: &DateTime<Utc>) -> String {
        when::ago(*at, self.now, self.language)
    }

    /// When something is tried next: how long until then, or that it is due.
    pub(crate) fn next(&self, at: &DateTime<Utc>) -> String {
        if *at <= self.now {
            return self.t("due now", "nu aan de beurt").to_owned();
        }
        when::ago(*at, self.now, self.language)
    }

    /// The name of a state of a delivery, a webhook or a job.
    pub(crate) fn state<'a>(&self, name: &'a str) -> &'a str {
        match name {
            "pending" => self.t("waiting", "wacht"),
            "awaiting_user" => self.t("waiting for the user", "wacht op gebruiker"),
            "leased" => self.t("being sent", "wordt verstuurd"),
            "retrying" => self.t("to be retried", "wordt herhaald"),
            "succeeded" => self.t("succeeded", "gelukt"),
            "given_up" => self.t("given up", "opgegeven"),
            "cancelled" => self.t("cancelled", "afgebroken"),
            "enabled" => self.t("enabled", "aan"),
            "paused" => self.t("paused", "gepauzeerd"),
            "disabled" => self.t("disabled", "uit"),
            "running" => self.t("running", "bezig"),
            "cancelling" => self.t("being cancelled", "wordt afgebroken"),
            "done" => self.t("done", "klaar"),
            "ok" => self.t("fine", "in orde"),
            "note" => self.t("note", "opmerking"),
            "warning" => self.t("warning", "waarschuwing"),
            "error" => self.t("error", "fout"),
            other => other,
        }
    }
}
