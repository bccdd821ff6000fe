//! The ledger: who triggers, and the call that counts those who are refused.

use serde::Serialize;
use serde::de::IgnoredAny;

use super::{Patience, Store, StoreError};

/// A try that got no answer may have counted: it leaves no time for another.
const PATIENCE: Patience = Patience {
    total_ms: 5_000,
    try_ms: 5_000,
};

/// Who triggers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The database itself: `pg_cron`, which calls through `pg_net`.
    PgCron,
    /// cron-job.org.
    CronJobOrg,
    /// `UptimeRobot`.
    Uptimerobot,
    /// `EasyCron`.
    Easycron,
    /// A frontend that asks for the status.
    Poll,
    /// A gateway that tells of an event.
    Webhook,
    /// Somebody at a browser, a terminal or a Supabase client.
    Person,
    /// Anything else.
    Other,
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::PgCron,
        Self::CronJobOrg,
        Self::Uptimerobot,
        Self::Easycron,
        Self::Poll,
        Self::Webhook,
        Self::Person,
        Self::Other,
    ];

    /// The name that the database and the report use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PgCron => "pg_cron",
            Self::CronJobOrg => "cron_job_org",
            Self::Uptimerobot => "uptimerobot",
            Self::Easycron => "easycron",
            Self::Poll => "poll",
            Self::Webhook => "webhook",
            Self::Person => "person",
            Self::Other => "other",
        }
    }

    /// The one of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.name() == name)
    }
}

/// Why a trigger is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It presented nothing that could open a door.
    NoToken,
    /// It presented a token that is not in force.
    BadToken,
    /// It named an organization that has no instance.
    UnknownOrganization,
}

/// Refused triggers of one kind.
#[derive(Clone, Debug, Serialize)]
pub struct Refused {
    /// Who triggered.
    pub source: Source,
    /// Why not.
    pub why: Why,
    /// How many.
    pub count: u32,
    /// How long ago the last one came, in milliseconds.
    pub ago_ms: f64,
}

impl Store {
    /// Adds to the counts.
    ///
    /// # Errors
    /// [`StoreError`], after 5 s at the latest.
    pub async fn record_refusals(&self, refusals: &[Refused]) -> Result<(), StoreError> {
        #[derive(Serialize)]
        struct Request<'a> {
            refusals: &'a [Refused],
        }
        let request = Request { refusals };
        self.call("whatsapp_monitor_record_refusals", &request, PATIENCE)
            .await
            .map(|IgnoredAny| ())
    }
}
