//! Asking: what a tick holds, gateway by gateway.

use std::cell::RefCell;
use std::collections::BTreeMap;

use futures_util::future::{OptionFuture, join, join_all};
use futures_util::stream::{self, StreamExt};

use super::{Clock, Run};
use crate::gateway::Gateway;
use crate::gateway::address::Address;
use crate::gateway::evolution::Evolution;
use crate::log;
use crate::monitor::webhook::Hook;
use crate::monitor::{
    self, Action, Answer, Budget, Check, Conclusion, ConfigFault, Decision, Fault, Heard,
    Observation, Question, Reachability, Standing, Tally, Timestamp, Visited, conclude,
};
use crate::store::check::Outcome;
use crate::store::gateways::{GatewayKnown, GatewaySeen};
use crate::store::tick::{Begun, Claimed, Held};

/// What a tick found.
#[derive(Default)]
pub(super) struct Swept {
    /// The checks.
    pub checks: Vec<Checked>,
    /// The claims for which there was no time.
    pub carried_over: Vec<Held>,
    /// What was learned of the gateways.
    pub gateways: Vec<GatewaySeen>,
}

/// A check.
pub(super) struct Checked {
    /// What the monitor makes of it.
    pub outcome: Outcome,
    /// What it saw, as far as that counts.
    pub observation: Observation,
    /// What is to be done.
    pub wanted: Option<Wanted>,
    /// Whether it left nothing to remember but when it was.
    is_settled: bool,
    /// What the log is to say, once it is written.
    pub told: log::Checked,
}

impl Checked {
    /// Whether it found nothing new, of the instance or of its webhook.
    pub fn is_settled(&self) -> bool {
        self.is_settled && self.outcome.webhook.is_none()
    }
}

/// An action that helps, as far as the monitor knows.
pub(super) struct Wanted {
    /// Which.
    pub deed: Deed,
    /// On which evidence, or occasion.
    pub grounds: &'static str,
    /// What it must keep to.
    pub budgets: Vec<Budget>,
}

/// What may be done to an instance.
pub(super) enum Deed {
    /// Something against its outage.
    Recover(Action),
    /// To write its webhook.
    SetWebhook(Hook),
}

impl Deed {
    /// Its name in reports and tables.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Recover(action) => action.name(),
            Self::SetWebhook(_) => "webhook_set",
        }
    }
}

/// What was seen of one instance.
pub(super) struct Look<'a> {
    /// The claim.
    pub claimed: &'a Claimed,
    /// When the question was sent.
    at: Timestamp,
    /// What was answered.
    pub observation: Observation,
    /// Whether the gateway was asked: another instance's finding may be shared.
    asked: bool,
}

/// One gateway, while its instances are asked for.
pub(super) struct Visit<'a> {
    url: &'a str,
    /// Where it lives.
    pub address: Result<Address, ConfigFault>,
    reachability: RefCell<Reachability>,
    /// The database's clock.
    pub clock: Clock,
}

impl Run<'_> {
    /// Checks what a tick holds, all gateways at once.
    pub(super) async fn sweep(&self, begun: &Begun, clock: Clock) -> Swept {
        let mut by_gateway: BTreeMap<&str, Vec<&Claimed>> = BTreeMap::new();
        for instance in &begun.instances {
            by_gateway
                .entry(&instance.gateway_url)
                .or_default()
                .push(instance);
        }
        let visits = by_gateway.into_iter().map(|(url, claimed)| {
            let before = begun.gateways.iter().find(|known| known.url == url);
            let before = before.cloned().unwrap_or_else(|| GatewayKnown::new(url));
            self.visit(before, claimed, clock)
        });
        let mut all = Swept::default();
        for swept in join_all(visits).await {
            all.checks.extend(swept.checks);
            all.carried_over.extend(swept.carried_over);
            all.gateways.extend(swept.gateways);
        }
        all
    }

    /// Checks the instances of one gateway: looks at them, finds what is to be thought of the
    /// gateway, and only then what of the instances.
    async fn visit(&self, before: GatewayKnown, claimed: Vec<&Claimed>, clock: Clock) -> Swept {
        let visit = Visit {
            url: &before.url,
            address: Address::parse(&before.url, self.order.reach),
            reachability: RefCell::new(self.known(&before.url).reachability),
            clock,
        };
        let due = self.recall(&before);
        let ask_root = async || match &visit.address {
            Ok(address) => Some(self.ask_root(visit.url, address, clock).await),
            Err(_) => None,
        };
        let ((looks, carried_over), root) = join(
            self.look_at_all(&visit, claimed),
            OptionFuture::from(due.then(&ask_root)),
        )
        .await;
        let mut root = root.flatten();

        let mut tally = Tally::beside(before.answered_elsewhere);
        for look in &looks {
            tally.note(look.observation.fault());
        }
        if root.is_none() && tally.wants_root() {
            root = ask_root().await;
        }
        let asked = root.is_some();
        let finding = tally.finding(root);

        let reachability = visit.reachability.take();
        self.learn(&before.url, |known| known.reachability = reachability);
        let visited: Vec<Visited> = looks
            .iter()
            .map(|look| look.visited(self.heard(look.claimed, look.at)))
            .collect();
        let (after, conclusions) = conclude(
            monitor::Visit {
                gateway: &before.state.value,
                finding,
                may_act: self.capabilities(&before.url).may_act,
                open_elsewhere: before.open_elsewhere,
                at: clock.now(),
            },
            &visited,
            &self.settings,
        );
        let mut checks: Vec<Checked> = looks
            .iter()
            .zip(conclusions)
            .map(|(look, conclusion)| look.checked(conclusion))
            .collect();
        if after.standing(finding, clock.now()) == Standing::Sound {
            self.look_at_webhooks(&visit, &looks, &mut checks).await;
        }
        Swept {
            checks,
            carried_over,
            gateways: vec![self.seen(&before, (after, finding), asked)],
        }
    }

    /// Looks at the instances of one gateway in their order, `concurrency` at a time. What there is
    /// no time for is given back.
    async fn look_at_all<'a>(
        &self,
        visit: &Visit<'_>,
        claimed: Vec<&'a Claimed>,
    ) -> (Vec<Look<'a>>, Vec<Held>) {
        let concurrency = usize::try_from(self.settings.concurrency).unwrap_or(1);
        let looks = stream::iter(claimed)
            .map(|claimed| async move {
                if self.has_time() {
                    Ok(self.look(visit, claimed).await)
                } else {
                    Err(Held {
                        id: claimed.id,
                        fence: claimed.fence,
                    })
                }
            })
            .buffer_unordered(concurrency);
        looks
            .fold(
                (Vec::new(), Vec::new()),
                |(mut seen, mut held), each| async {
                    match each {
                        Ok(look) => seen.push(look),
                        Err(claim) => held.push(claim),
                    }
                    (seen, held)
                },
            )
            .await
    }

    /// Looks at one instance, unless its gateway is silent.
    async fn look<'a>(&self, visit: &Visit<'_>, claimed: &'a Claimed) -> Look<'a> {
        let at = visit.clock.now();
        let silence = visit.reachability.borrow().silence();
        let (observation, asked) = match (&visit.address, silence) {
            (Err(fault), _) => (Observation::Failed(Fault::Config(*fault)), true),
            (Ok(_), Some(fault)) => (Observation::Failed(fault.into()), false),
            (Ok(address), None) => (self.observe(address, claimed, at).await, true),
        };
        if asked {
            let fault = observation.fault();
            visit.reachability.borrow_mut().note(fault);
        }
        Look {
            claimed,
            at,
            observation,
            asked,
        }
    }

    /// Asks a gateway about one instance, question by question.
    async fn observe(&self, address: &Address, claimed: &Claimed, at: Timestamp) -> Observation {
        let gateway = match Evolution::new(address, &claimed.api_key, || self.timeout_ms()) {
            Ok(gateway) => gateway,
            Err(fault) => return Observation::Failed(fault.into()),
        };
        // The version may be learned while this is asked.
        let capabilities = || self.capabilities(&claimed.gateway_url);
        let (id, state, name) = (claimed.id, &claimed.state.value, &*claimed.name);
        let mut check = Check::new(id, state, at, capabilities(), &self.settings);
        while let Some(question) = check.question() {
            let answer = match question {
                Question::State | Question::StateAgain => {
                    Answer::State(gateway.connection_state(name).await)
                }
                Question::Row => Answer::Row(gateway.row(name).await.unwrap_or_default()),
                Question::AlwaysOnline => Answer::AlwaysOnline(gateway.always_online(name).await),
                Question::Socket => Answer::Socket(gateway.socket(name).await),
            };
            check.answer(answer, capabilities());
        }
        check.observation(capabilities())
    }
}

impl Look<'_> {
    fn visited(&self, heard: Heard) -> Visited<'_> {
        Visited {
            id: self.claimed.id,
            instance: &self.claimed.state.value,
            attempts: &self.claimed.attempts,
            heard,
            at: self.at,
            observation: &self.observation,
        }
    }

    fn checked(&self, conclusion: Conclusion) -> Checked {
        let Self { claimed, at, .. } = *self;
        let told = log::Checked {
            organization_id: claimed.organization_id.clone(),
            before: claimed.state.value.status,
            now: conclusion.instance.status,
            reason: conclusion.instance.reason,
            pause: conclusion.pause,
            verdicts: conclusion
                .verdicts
                .iter()
                .map(|(_, verdict)| *verdict)
                .collect(),
        };
        let is_settled = self.asked
            && matches!(conclusion.decision, Decision::Nothing)
            && conclusion.verdicts.is_empty()
            && conclusion.observation.profile().is_none()
            && conclusion.instance.is_settled(&claimed.state.value, at);
        // What is not granted was not done.
        let (decision, wanted) = match conclusion.decision {
            Decision::Act(action, grounds) => (
                Decision::Wait,
                Some(Wanted {
                    deed: Deed::Recover(action),
                    grounds: grounds.name(),
                    budgets: conclusion.budgets,
                }),
            ),
            decision => (decision, None),
        };
        let claim = (claimed.id, claimed.fence, claimed.version);
        let profile = conclusion.observation.profile();
        let outcome = Outcome {
            decision: Some(decision.name()),
            ..Outcome::new(claim, at, conclusion.instance, self.asked, profile)
        }
        .with_verdicts(conclusion.verdicts);
        Checked {
            outcome,
            observation: conclusion.observation,
            wanted,
            is_settled,
            told,
        }
    }
}
