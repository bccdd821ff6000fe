//! Looking at the webhooks of what is open, once it is known that the gateway's word counts.

use futures_util::stream::{self, StreamExt};

use super::sweep::{Checked, Deed, Look, Visit, Wanted};
use super::{Run, Timestamp};
use crate::gateway::Gateway;
use crate::gateway::evolution::Evolution;
use crate::log;
use crate::monitor::webhook::{Due, Known};
use crate::monitor::{Heard, MemoryState, Observation, Reading, Status};
use crate::store::check::Judged;
use crate::store::tick::Claimed;
use crate::store::webhooks::WebhookSeen;
use crate::web::console;

impl Run<'_> {
    /// Looks at the webhooks for which it is time, `concurrency` at a time. What there is no time for
    /// is looked at by the next tick.
    pub(super) async fn look_at_webhooks(
        &self,
        visit: &Visit<'_>,
        looks: &[Look<'_>],
        checks: &mut [Checked],
    ) {
        let concurrency = usize::try_from(self.settings.concurrency).unwrap_or(1);
        stream::iter(looks.iter().zip(checks))
            .for_each_concurrent(concurrency, |(look, check)| async move {
                if look.is_open() && check.wanted.is_none() && self.has_time() {
                    self.look_at_webhook(visit, look.claimed, check).await;
                }
            })
            .await;
    }

    async fn look_at_webhook(&self, visit: &Visit<'_>, claimed: &Claimed, check: &mut Checked) {
        let Some(known) = self.known_webhook(claimed) else {
            return;
        };
        // An action on a zombie's behalf would be in vain, and so would this.
        if check.outcome.status == Status::Zombie {
            return;
        }
        let at = visit.clock.now();
        let became_open = claimed.state.value.reading != Some(Reading::Open);
        match known.due(became_open, at) {
            Due::No => {}
            Due::Nowhere(memory) => {
                check.outcome.webhook = Some(WebhookSeen::from(*memory));
            }
            Due::Look => {
                let Ok(address) = &visit.address else { return };
                let key = &claimed.api_key;
                let Ok(gateway) = Evolution::new(address, key, || self.timeout_ms()) else {
                    return;
                };
                let found = gateway.webhook(&claimed.name).await;
                if let Err(fault) = &found {
                    console::error(&log::webhook_not_read(*fault));
                }
                let found = found.as_ref().map(Option::as_ref).map_err(|_| ());
                if let Some(mut conclusion) = known.conclude(found, at) {
                    let verdicts = conclusion.verdicts.drain(..);
                    check.outcome.verdicts.extend(verdicts.map(Judged::from));
                    check.wanted = conclusion.repair.take().map(|repair| Wanted {
                        grounds: repair.occasion.name(),
                        budgets: repair.occasion.budgets(),
                        deed: Deed::SetWebhook(repair.hook),
                    });
                    check.outcome.webhook = Some(WebhookSeen::from(conclusion));
                }
            }
        }
    }

    /// What our receiver heard of an instance, as far as that is evidence.
    pub(super) fn heard(&self, claimed: &Claimed, at: Timestamp) -> Heard {
        self.known_webhook(claimed)
            .map(|known| known.heard(at))
            .unwrap_or_default()
    }

    /// All that is known of the webhook of an instance; `None` where the gateway's version is not.
    fn known_webhook<'a>(&'a self, claimed: &'a Claimed) -> Option<Known<'a>> {
        let webhooks = self.capabilities(&claimed.gateway_url).webhooks?;
        let receiver = self.receiver_url.as_deref();
        let webhook = claimed.webhook.as_ref()?;
        Some(webhook.known(claimed.id, &self.settings, receiver, webhooks))
    }
}

impl Look<'_> {
    /// Whether the instance was seen to be open.
    fn is_open(&self) -> bool {
        matches!(
            self.observation,
            Observation::Seen {
                memory: MemoryState::Open,
                ..
            }
        )
    }
}
