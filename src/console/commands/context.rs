//! What commands work on.

use std::fmt;
use std::sync::Arc;

use deadpool_postgres::Pool;
use orw_egress::Client;

use crate::delivery::Feed;
use crate::registry::Registry;
use crate::traces::Traces;

/// One setting, as `config` shows it: secrets are masked.
#[derive(Debug, Clone)]
pub struct ShownSetting {
    pub name: &'static str,
    pub value: Option<String>,
    pub origin: String,
    pub about: &'static str,
}

/// All settings, as `config` shows them; empty if they come from no source. Cheap to clone.
#[derive(Clone, Default)]
pub struct ShownSettings(Arc<[ShownSetting]>);

/// They repeat what stands elsewhere.
impl fmt::Debug for ShownSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShownSettings").finish_non_exhaustive()
    }
}

impl FromIterator<ShownSetting> for ShownSettings {
    fn from_iter<I: IntoIterator<Item = ShownSetting>>(all: I) -> Self {
        Self(all.into_iter().collect())
    }
}

impl ShownSettings {
    pub(super) fn iter(&self) -> impl Iterator<Item = &ShownSetting> {
        self.0.iter()
    }
}

/// What commands work on; cheap to clone.
#[derive(Clone)]
pub struct Context {
    pub registry: Arc<Registry>,
    /// The console's own connections: however busy it is, the rest of the process is not.
    pub pool: Pool,
    /// Sends tests.
    pub client: Client,
    pub settings: ShownSettings,
    /// The attempts of this process, for `LISTEN`.
    pub feed: Feed,
    /// What a test adds to the traces.
    pub traces: Traces,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}
