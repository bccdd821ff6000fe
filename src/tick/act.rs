//! Acting: what helps is recorded and granted first, then sent.

use std::collections::{BTreeMap, HashMap};

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};

use super::Run;
use super::sweep::{Checked, Deed, Wanted};
use crate::gateway::Gateway;
use crate::gateway::address::Address;
use crate::gateway::evolution::Evolution;
use crate::log;
use crate::monitor::Ack;
use crate::store::actions::{RecordActions, WantedAction};
use crate::store::tick::Claimed;
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
                    kind: wanted.deed.name(),
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
        // Each of a few has its lines; of many at once there is one.
        let told = granted.len() <= log::SMALL_FLEET;
        if !told {
            console::log(&log::acting_on_many(granted.len()));
        }
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
                self.act_on(claim, wanted, check, told)
            })
        }))
        .await;
    }

    /// Sends an action. What there is no time for is not sent, and counts all the same.
    async fn act_on(&self, claimed: &Claimed, wanted: Wanted, check: &mut Checked, told: bool) {
        if !self.has_time() {
            return;
        }
        let deed = &wanted.deed;
        let tell = |line: String| {
            if told {
                console::log(&line);
            }
        };
        tell(match deed {
            Deed::Recover(action) => log::acting(&claimed.organization_id, *action),
            Deed::SetWebhook(hook) => log::setting_webhook(hook),
        });
        let ack = match Address::parse(&claimed.gateway_url, self.order.reach) {
            Ok(address) => match Evolution::new(&address, &claimed.api_key, || self.timeout_ms()) {
                Ok(gateway) => self.do_to(&gateway, claimed, deed).await,
                Err(_) => Ack::Refused,
            },
            Err(_) => Ack::Refused,
        };
        tell(match deed {
            Deed::Recover(action) => log::acted(*action, ack),
            Deed::SetWebhook(_) => log::webhook_set(ack),
        });
        check.outcome.decision = Some(deed.name());
        check.outcome.ack = Some(ack);
        if let (Deed::SetWebhook(hook), Some(seen)) = (deed, &mut check.outcome.webhook) {
            seen.memory.set_url = hook.shown_url();
        }
    }

    async fn do_to(&self, gateway: &impl Gateway, claimed: &Claimed, deed: &Deed) -> Ack {
        let name = &claimed.name;
        match deed {
            Deed::Recover(action) => gateway.act(name, *action).await,
            Deed::SetWebhook(hook) => {
                let capabilities = self.capabilities(&claimed.gateway_url);
                match capabilities.webhooks {
                    Some(webhooks) => gateway.set_webhook(name, hook, webhooks).await,
                    None => Ack::Refused,
                }
            }
        }
    }
}
