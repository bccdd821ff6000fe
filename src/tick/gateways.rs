//! What a run knows of the gateways it asks.

use super::{Clock, Run};
use crate::gateway::address::Address;
use crate::gateway::evolution;
use crate::gateway::evolution::version::Version;
use crate::monitor::{Capabilities, Fault, Finding, Gateway, Reachability, Timestamp};
use crate::report::GatewayReport;
use crate::store::gateways::{GatewayChange, GatewayKnown, GatewaySeen};

/// The header `Date` has whole seconds: on average it is half of one behind.
const HALF_A_SECOND_MS: i64 = 500;

/// What a run knows of one gateway.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// What the questions so far told.
    pub reachability: Reachability,
    /// Its version.
    version: Option<Version>,
    /// Whether it was asked for that in this run.
    version_asked: bool,
    /// Milliseconds by which its clock is ahead of the database's.
    clock_ahead_ms: Option<i64>,
}

impl Known {
    /// What can be asked and expected of it.
    fn capabilities(&self) -> Capabilities {
        self.version
            .as_ref()
            .map(Version::capabilities)
            .unwrap_or_default()
    }
}

impl Run<'_> {
    /// What is known of a gateway by now.
    pub(super) fn known(&self, url: &str) -> Known {
        self.gateways.borrow().get(url).cloned().unwrap_or_default()
    }

    /// What can be asked and expected of a gateway, as far as is known by now.
    pub(super) fn capabilities(&self, url: &str) -> Capabilities {
        let gateways = self.gateways.borrow();
        gateways
            .get(url)
            .map_or_else(Capabilities::default, Known::capabilities)
    }

    /// Changes what is known of a gateway.
    pub(super) fn learn(&self, url: &str, change: impl FnOnce(&mut Known)) {
        change(
            self.gateways
                .borrow_mut()
                .entry(url.to_owned())
                .or_default(),
        );
    }

    /// Takes what the database knows, and says whether the gateway is to be asked about itself.
    pub(super) fn recall(&self, before: &GatewayKnown) -> bool {
        let mut due = false;
        self.learn(&before.url, |known| {
            let version = before.version.as_deref().and_then(Version::parse);
            known.version = known.version.take().or(version);
            due = before.version_due && !known.version_asked;
        });
        due
    }

    /// Asks a gateway about itself.
    ///
    /// # Errors
    /// [`Fault`], where it does not tell.
    pub(super) async fn ask_root(
        &self,
        url: &str,
        address: &Address,
        clock: Clock,
    ) -> Result<(), Fault> {
        self.learn(url, |known| known.version_asked = true);
        let root = evolution::root(address, self.timeout_ms()).await?;
        let ahead_ms =
            |clock_ms: i64| Timestamp::from_ms(clock_ms + HALF_A_SECOND_MS).ms_since(clock.now());
        self.learn(url, |known| {
            known.version = Some(root.version);
            known.clock_ahead_ms = root.clock_ms.map(ahead_ms);
        });
        Ok(())
    }

    /// What a tick that came to `finding` has to say of a gateway; `asked` is whether it asked the
    /// gateway about itself.
    pub(super) fn seen(
        &self,
        before: &GatewayKnown,
        (after, finding): (Gateway, Finding),
        asked: bool,
    ) -> GatewaySeen {
        let known = self.known(&before.url);
        let reachable = known.reachability.answered();
        let news = after != before.state.value && finding != Finding::Nothing;
        GatewaySeen {
            url: before.url.clone(),
            version: known.version.as_ref().map(ToString::to_string),
            capabilities: known.version.as_ref().map(Version::capabilities),
            // One that was away is asked again when it is back.
            version_asked: asked && reachable,
            clock_ahead_ms: known.clock_ahead_ms.filter(|_| asked),
            reachable,
            change: news.then(|| GatewayChange::new(before.state_version, after)),
        }
    }

    /// The gateways as the report shows them.
    pub(super) fn gateways_report(&self) -> Vec<GatewayReport> {
        let gateways = self.gateways.borrow();
        gateways
            .iter()
            .map(|(url, known)| GatewayReport {
                version: known.version.as_ref().map(ToString::to_string),
                reachable: known.reachability.answered(),
                url: url.clone(),
            })
            .collect()
    }
}
