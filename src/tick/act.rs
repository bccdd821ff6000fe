//! Acting: what helps is recorded and granted first, then sent.

use std::collections::{BTreeMap, HashMap};

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};

use super::Run;
use super::sweep::{Checked, Wanted};
use crate::gateway::Gateway;
use crate::gateway::address::Address;
use crate::gateway::evolution::Evolution;
use crate::log;
use crate::monitor::Ack;
use crate::store::tick::{Claimed, RecordActions, WantedAction};
use crate::web::console;

/// Milliseconds of lease that must be left when an action starts, besides those that it may take.
const LEASE_MARGIN_MS: u32 = 2_000;

impl Run<'_> {
    /// Does what the checks ask for, as far as the database grants it, `concurrency` at a time on each
    /// gateway. Where it does not answer, nothing is done: the next tick sees for itself.
    pub(super) async fn act(&self, tick_id: &str, claimed: &[Claimed], checks: &mut [Checked]) {
        let wanted: Vec<WantedAction<'_>> = checks
            .iter()
            .filter_map(|check| {
                let wanted = check.wanted.as_ref()?;
                Some(WantedAction {
                    instance_id: check.outcome.id,
                    fence: check.outcome.fence,
                    version: check.outcome.version,
                    kind: wanted.action,
                    grounds: wanted.grounds,
                    min_lease_ms: self.settings.request_timeout_ms + LEASE_MARGIN_MS,
                    budgets: &wanted.budgets,
                })
            })
            .collect();
        if wanted.is_empty() || !self.has_time() {
            return;
        }
        let request = RecordActions {
            tick_id,
            actions: &wanted,
        };
        let granted = match self.store.record_actions(&request).await {
            Ok(answer) => answer.granted,
            Err(error) => {
                console::error(&log::not_granted(&error.to_string()));
                return;
            }
        };
        let claims: HashMap<i64, &Claimed> = claimed.iter().map(|each| (each.id, each)).collect();
        let mut by_gateway: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for check in checks {
            if let Some(wanted) = check.wanted.take()
                && granted.contains(&check.outcome.id)
                && let Some(claim) = claims.get(&check.outcome.id)
            {
                by_gateway
                    .entry(&claim.gateway_url)
                    .or_default()
                    .push((*claim, wanted, check));
            }
        }
        let concurrency = usize::try_from(self.settings.concurrency).unwrap_or(1);
        join_all(by_gateway.into_values().map(|granted| {
            stream::iter(granted).for_each_concurrent(concurrency, |(claim, wanted, check)| {
                self.act_on(claim, wanted, check)
            })
        }))
        .await;
    }

    /// Sends an action. What there is no time for is not sent, and counts all the same.
    async fn act_on(&self, claimed: &Claimed, wanted: Wanted, check: &mut Checked) {
        if !self.has_time() {
            return;
        }
        console::log(&log::acting(&claimed.organization_id, wanted.action));
        let ack = match Address::parse(&claimed.gateway_url, self.order.reach) {
            Ok(address) => match Evolution::new(&address, &claimed.api_key, || self.timeout_ms()) {
                Ok(gateway) => gateway.act(&claimed.name, wanted.action).await,
                Err(_) => Ack::Refused,
            },
            Err(_) => Ack::Refused,
        };
        console::log(&log::acted(wanted.action, ack));
        check.outcome.decision = Some(wanted.action.name());
        check.outcome.ack = Some(ack);
    }
}
