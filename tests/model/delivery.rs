//! The webhooks that the gateway sends: late, out of order, tried again, summarised in storms.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::clock::iso;
use super::gateway::{Gateway, Plan};

/// After so many tries an event is given up.
const TRIES: u32 = 10;

/// A webhook on its way, or arrived. `count` equal events that were sent from `first_ms` to
/// `sent_ms` are one of these: a storm of 120 a second is one every 10 s.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// Tells it from all others; a repeated try has the same.
    pub id: u64,
    /// The instance it is about.
    pub instance: String,
    /// `connection.update` …
    pub event: &'static str,
    /// When the first of them was sent.
    pub first_ms: i64,
    /// When the last of them was sent.
    pub sent_ms: i64,
    /// How many they are.
    pub count: u64,
    /// When it reaches the receiver.
    pub arrives_ms: i64,
    /// The how manieth try it is.
    pub attempt: u32,
    /// Where it goes, the event's name behind it where the webhook says so (G3).
    pub url: String,
    /// The webhook's own headers, `jwt_key` among them: a receiver that checks the JWT makes it.
    pub headers: Map<String, Value>,
    /// The body, that of the last of them.
    pub body: Value,
}

/// What a receiver makes of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reception {
    /// It answered so.
    Answered(u16),
    /// It gave no answer.
    Unreachable,
}

/// The webhooks on their way.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox {
    serial: u64,
    on_the_way: BTreeMap<u64, Delivery>,
    arrived: Vec<Delivery>,
    /// Nothing arrives: every try fails.
    pub lost: bool,
    /// Half of them take up to so long.
    pub late_ms: Option<i64>,
}

impl Outbox {
    /// The process is gone, and with it what it kept in memory.
    pub fn forget(&mut self) {
        self.on_the_way.clear();
    }
}

impl Gateway {
    /// The webhooks that have arrived since the last call, in the order of their arrival. Each is
    /// to be answered by [`answer_delivery`](Self::answer_delivery), at once or later.
    pub fn take_deliveries(&mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.outbox.arrived)
    }

    /// What the receiver answered. 400, 401, 403, 404 and 422 drop the event at once (G2a); any
    /// other failure is tried again: after 5 s, doubling to 300 s, ±20 %, 10 tries in all (G2b).
    pub fn answer_delivery(&mut self, id: u64, reception: Reception) {
        let Some(mut delivery) = self.outbox.on_the_way.remove(&id) else {
            return;
        };
        let done = matches!(
            reception,
            Reception::Answered(200..=299 | 400 | 401 | 403 | 404 | 422)
        );
        if done || delivery.attempt >= TRIES {
            return;
        }
        let doubled_ms = (5_000_i64 << (delivery.attempt - 1)).min(300_000);
        let wait_ms = (doubled_ms * self.rng.between(80, 120) / 100).max(5_000);
        delivery.attempt += 1;
        self.put_on_the_way(delivery, wait_ms);
    }

    /// `connection.update`.
    pub(super) fn send_state(&mut self, id: usize, state: &str, reason: u16) {
        let data = self.state_data(id, state, reason);
        self.send(id, "connection.update", data);
    }

    /// Many equal ones, the first of them after `after_ms`.
    pub(super) fn send_states(&mut self, id: usize, state: &str, after_ms: i64, count: u64) {
        let data = self.state_data(id, state, 200);
        self.send_many(id, "connection.update", data, after_ms, count);
    }

    fn state_data(&self, id: usize, state: &str, reason: u16) -> Value {
        let instance = &self.instances[id];
        let mut data = json!({
            "instance": instance.name, "state": state, "statusReason": reason,
        });
        if matches!(state, "open" | "refused") && instance.owner {
            data["wuid"] = json!(instance.jid());
        }
        if state == "open" {
            data["profileName"] = json!("Loja Teste"); // C7-2
        }
        data
    }

    /// Sends one event, if the instance's webhook asks for it.
    pub(super) fn send(&mut self, id: usize, event: &'static str, data: Value) {
        self.send_many(id, event, data, self.now_ms, 1);
    }

    fn send_many(
        &mut self,
        id: usize,
        event: &'static str,
        data: Value,
        first_ms: i64,
        count: u64,
    ) {
        let instance = &self.instances[id];
        let Some(webhook) = instance
            .webhook
            .as_ref()
            .filter(|webhook| webhook.wants(event))
        else {
            return;
        };
        if instance.mute {
            return;
        }
        // L2: local wall time with a Z.
        let local_ms = self.gateway_ms() + self.config.zone_ms;
        let mut body = json!({
            "event": event, "instance": instance.name, "data": data, "destination": webhook.url,
            "date_time": iso(local_ms), "server_url": "http://127.0.0.1:18080",
            "apikey": instance.token,
        });
        if instance.sender {
            body["sender"] = json!(instance.jid());
        }
        let url = if webhook.by_events {
            format!("{}/{}", webhook.url, event.replace('.', "-"))
        } else {
            webhook.url.clone()
        };
        self.outbox.serial += 1;
        let delivery = Delivery {
            id: self.outbox.serial,
            instance: instance.name.clone(),
            event,
            first_ms,
            sent_ms: self.now_ms,
            count,
            arrives_ms: 0,
            attempt: 1,
            url,
            headers: webhook.headers.clone().unwrap_or_default(),
            body,
        };
        self.put_on_the_way(delivery, 0);
    }

    fn put_on_the_way(&mut self, mut delivery: Delivery, wait_ms: i64) {
        let mut ms = wait_ms + self.rng.between(5, 200);
        if let Some(late_ms) = self.outbox.late_ms
            && self.rng.one_in(2)
        {
            ms += self.rng.between(0, late_ms);
        }
        delivery.arrives_ms = self.now_ms + ms;
        self.plan_in(ms, Plan::Arrival(delivery.id));
        self.outbox.on_the_way.insert(delivery.id, delivery);
    }

    pub(super) fn arrive(&mut self, id: u64) {
        if self.network_lost || self.outbox.lost {
            self.answer_delivery(id, Reception::Unreachable);
        } else if let Some(delivery) = self.outbox.on_the_way.get(&id) {
            self.outbox.arrived.push(delivery.clone());
        }
    }
}
