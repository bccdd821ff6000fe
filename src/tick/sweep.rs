//! Asking: what a tick holds, gateway by gateway.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};

use super::{Clock, Run};
use crate::gateway::Gateway;
use crate::gateway::address::Address;
use crate::gateway::evolution::version::{Generation, Version};
use crate::gateway::evolution::{self, Evolution};
use crate::log;
use crate::monitor::{Fault, FinalCodes, Observation, Timestamp};
use crate::store::tick::{Claimed, GatewaySeen, Held, Outcome};

/// What became of one claim.
pub(super) enum Swept {
    /// It was checked.
    Checked(Box<Checked>),
    /// There was no time for it.
    CarriedOver(Held),
}

/// A check.
pub(super) struct Checked {
    /// What the monitor makes of it.
    pub outcome: Outcome,
    /// What it saw.
    pub observation: Observation,
    /// What the log is to say, once it is written.
    pub told: log::Checked,
}

impl Run<'_> {
    /// Checks what a tick holds, gateway by gateway, all gateways at once.
    pub(super) async fn sweep(&self, claimed: &[Claimed], clock: Clock) -> Vec<Swept> {
        let mut by_gateway: BTreeMap<&str, Vec<&Claimed>> = BTreeMap::new();
        for instance in claimed {
            by_gateway
                .entry(&instance.gateway_url)
                .or_default()
                .push(instance);
        }
        join_all(
            by_gateway
                .into_iter()
                .map(|(url, instances)| self.sweep_gateway(url, instances, clock)),
        )
        .await
        .into_iter()
        .flatten()
        .collect()
    }

    /// Checks the instances of one gateway in their order, `concurrency` at a time.
    async fn sweep_gateway(&self, url: &str, claimed: Vec<&Claimed>, clock: Clock) -> Vec<Swept> {
        let address = Address::parse(url, self.order.reach);
        let known = self.gateways.borrow().get(url).cloned();
        let reachability = RefCell::new(known.unwrap_or_default());
        let concurrency = usize::try_from(self.settings.concurrency).unwrap_or(1);
        let swept = stream::iter(claimed)
            .map(|claimed| async {
                if !self.has_time() {
                    return Swept::CarriedOver(Held {
                        id: claimed.id,
                        fence: claimed.fence,
                    });
                }
                let at = clock.now();
                let silence = reachability.borrow().silence();
                let (observation, asked) = match (&address, silence) {
                    (Err(fault), _) => (Observation::Failed(Fault::Config(*fault)), true),
                    (Ok(_), Some(fault)) => (Observation::Failed(fault.into()), false),
                    (Ok(address), None) => (self.observe(address, claimed, at).await, true),
                };
                if asked {
                    reachability.borrow_mut().note(match &observation {
                        Observation::Failed(fault) => Some(*fault),
                        Observation::Seen { .. } => None,
                    });
                }
                let state = claimed.state.observe(&observation, at, &self.settings);
                let claim = (claimed.id, claimed.fence, claimed.version);
                let told = log::Checked {
                    organization_id: claimed.organization_id.clone(),
                    before: claimed.state.status,
                    now: state.status,
                    reason: state.reason,
                };
                Swept::Checked(Box::new(Checked {
                    outcome: Outcome::new(claim, at, state, asked, observation.profile()),
                    observation,
                    told,
                }))
            })
            .buffer_unordered(concurrency)
            .collect()
            .await;
        self.gateways
            .borrow_mut()
            .insert(url.to_owned(), reachability.into_inner());
        swept
    }

    /// Asks a gateway about one instance: its live state, and its row where that is needed.
    async fn observe(&self, address: &Address, claimed: &Claimed, at: Timestamp) -> Observation {
        let gateway = match Evolution::new(address, &claimed.api_key, || self.timeout_ms()) {
            Ok(gateway) => gateway,
            Err(fault) => return Observation::Failed(fault.into()),
        };
        match gateway.connection_state(&claimed.name).await {
            Err(fault) => Observation::Failed(fault),
            Ok(memory) => {
                let row = if claimed.state.wants_row(memory, at) {
                    // Without the row the live state still counts.
                    gateway.row(&claimed.name).await.unwrap_or_default()
                } else {
                    None
                };
                Observation::Seen {
                    memory,
                    row,
                    final_codes: self.final_codes(&claimed.gateway_url),
                }
            }
        }
    }

    /// The codes that are final to a gateway; those of 2.3 while its version is not known.
    fn final_codes(&self, url: &str) -> FinalCodes {
        let generation = self.versions.borrow().get(url).map(Version::generation);
        generation
            .unwrap_or(Generation::Other)
            .capabilities()
            .final_codes
    }

    /// Takes the versions that are known already, and gives the gateways that are to be asked.
    pub(super) fn versions_due(&self, claimed: &[Claimed]) -> BTreeSet<String> {
        let mut versions = self.versions.borrow_mut();
        for instance in claimed {
            let known = instance.gateway_version.as_deref().and_then(Version::parse);
            if let Some(version) = known {
                versions
                    .entry(instance.gateway_url.clone())
                    .or_insert(version);
            }
        }
        let mut asked = self.versions_asked.borrow_mut();
        claimed
            .iter()
            .filter(|instance| instance.version_due)
            .map(|instance| instance.gateway_url.clone())
            .filter(|url| asked.insert(url.clone()))
            .collect()
    }

    /// Asks each gateway for its version.
    pub(super) async fn ask_versions(&self, urls: &BTreeSet<String>) {
        let ask = async |url: &String| {
            let Ok(address) = Address::parse(url, self.order.reach) else {
                return;
            };
            if let Ok(version) = evolution::version(&address, self.timeout_ms()).await {
                self.versions.borrow_mut().insert(url.clone(), version);
            }
        };
        join_all(urls.iter().map(ask)).await;
    }

    /// What is known by now of the gateways of these claims.
    pub(super) fn seen(&self, claimed: &[Claimed], asked: &BTreeSet<String>) -> Vec<GatewaySeen> {
        let urls: BTreeSet<&String> = claimed.iter().map(|each| &each.gateway_url).collect();
        let (versions, gateways) = (self.versions.borrow(), self.gateways.borrow());
        urls.into_iter()
            .filter_map(|url| {
                let reachable = gateways.get(url)?.answered();
                Some(GatewaySeen {
                    url: url.clone(),
                    version: versions.get(url).map(ToString::to_string),
                    // One that was away is asked again when it is back.
                    version_asked: asked.contains(url) && reachable,
                    reachable,
                })
            })
            .collect()
    }
}
