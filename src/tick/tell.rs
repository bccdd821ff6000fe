//! Telling: the alerts that a run holds, and its sign of life, once all that it found is written.

use std::cell::Cell;

use futures_util::stream::{self, StreamExt};

use super::{Clock, Done, Run};
use crate::alert::heartbeat;
use crate::alert::send::{Failure, Receiver};
use crate::alert::{MAX_PER_RUN, pause_s};
use crate::log;
use crate::store::alerts::{
    Alert, Alerts, Failed, Heartbeat, SettleAlerts, SettleHeartbeat, Settled,
};
use crate::store::tick::FinishTick;
use crate::web::console;
use crate::web::performance::now_ms;

/// Requests in flight at once. Discord takes five messages in two seconds, Slack one a second and
/// short bursts.
const AT_ONCE: usize = 4;

/// The status that asks for fewer requests.
const TOO_MANY_REQUESTS: u16 = 429;

impl Run<'_> {
    /// Claims what is to be told, with a tick that has nothing else to do.
    pub(super) async fn claim(&self, tick_id: &str, heartbeat: bool, done: &mut Done) {
        let finish = FinishTick {
            tick_id,
            organization_id: None,
            report: false,
            results: &[],
            settled: &[],
            carried_over: &[],
            gateways: &[],
            max_alerts: MAX_PER_RUN,
            heartbeat,
        };
        match self.store.finish_tick(&finish).await {
            Ok(finished) => {
                done.alerts = finished.alerts.map(|alerts| (tick_id.to_owned(), alerts));
                done.heartbeat = finished.heartbeat.map(|beat| (tick_id.to_owned(), beat));
            }
            Err(error) => console::error(&format!("❌ Erro ao ler os alertas: {error}")),
        }
    }

    /// Gives a sign of life. Whatever comes of it, the run is none the worse.
    pub(super) async fn beat(&self, heartbeat: Option<(String, Result<Heartbeat, Failed>)>) {
        let (tick_id, Heartbeat { url, failing }) = match heartbeat {
            None => return,
            Some((_, Err(Failed { error }))) => {
                console::error(&log::no_heartbeat(&error));
                return;
            }
            Some((tick_id, Ok(heartbeat))) => (tick_id, heartbeat),
        };
        let pinged =
            heartbeat::ping(&url, self.order.reach, self.settings.request_timeout_ms).await;
        let error = pinged.err().map(|failure| failure.code());
        if let Some(error) = &error {
            console::error(&log::no_heartbeat(error));
        }
        if error.is_none() && !failing {
            return;
        }
        let request = SettleHeartbeat {
            tick_id: &tick_id,
            error: error.as_deref(),
        };
        if let Err(error) = self.store.settle_heartbeat(&request).await {
            console::error(&log::no_heartbeat(&error.to_string()));
        }
    }

    /// Sends alerts and writes down what came of them. Nothing that goes wrong here makes the run
    /// a failure: what is not settled is due again when the lease ends.
    pub(super) async fn tell(&self, alerts: Option<(String, Result<Alerts, Failed>)>) {
        let (tick_id, held) = match alerts {
            None => return,
            Some((tick_id, Ok(held))) => (tick_id, held),
            Some((_, Err(Failed { error }))) => {
                console::error(&format!("❌ Erro ao ler os alertas: {error}"));
                return;
            }
        };
        let settled = self.send(&held).await;
        for line in log::alert_lines(&settled) {
            console::log(&line);
        }
        let request = SettleAlerts {
            tick_id: &tick_id,
            alerts: &settled,
        };
        if let Err(error) = self.store.settle_alerts(&request).await {
            console::error(&format!("❌ Erro ao registrar os alertas: {error}"));
        }
    }

    /// Sends alerts, all of them within the time of one request. Those that there was no time for,
    /// or that the receiver would not take, are due as before.
    async fn send(&self, held: &Alerts) -> Vec<Settled> {
        let receiver = Receiver::new(&held.url, &held.secret, self.order.reach);
        let clock = Clock::read(held.now_ms);
        let end_ms = now_ms() + f64::from(self.settings.request_timeout_ms);
        let enough = Cell::new(false);
        stream::iter(&held.alerts)
            .map(|alert| async {
                let receiver = match &receiver {
                    Ok(receiver) => receiver,
                    Err(failure) => return failed(alert, *failure),
                };
                #[allow(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "clamped"
                )]
                let timeout_ms = (end_ms - now_ms()).max(0.0) as u32;
                if enough.get() || timeout_ms == 0 {
                    return postponed(alert);
                }
                match receiver.post(alert, clock.now(), timeout_ms).await {
                    Ok(()) => delivered(alert),
                    Err(failure) => {
                        enough.set(enough.get() || failure == Failure::Status(TOO_MANY_REQUESTS));
                        failed(alert, failure)
                    }
                }
            })
            .buffered(AT_ONCE)
            .collect()
            .await
    }
}

fn delivered(alert: &Alert) -> Settled {
    Settled {
        id: alert.id.clone(),
        delivered: true,
        attempts: alert.attempts + 1,
        error: None,
        retry_in_s: None,
    }
}

fn failed(alert: &Alert, failure: Failure) -> Settled {
    Settled {
        delivered: false,
        error: Some(failure.code()),
        retry_in_s: pause_s(alert.attempts + 1),
        ..delivered(alert)
    }
}

fn postponed(alert: &Alert) -> Settled {
    Settled {
        delivered: false,
        attempts: alert.attempts,
        error: Some("postponed".to_owned()),
        retry_in_s: Some(0),
        ..delivered(alert)
    }
}
