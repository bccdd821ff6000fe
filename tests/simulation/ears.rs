//! Our receiver of webhooks: what arrives late, doubled, out of order or never is heard so.

use whatsapp_monitor::monitor::Timestamp;

use super::World;
use crate::model::{Delivery, Reception, Rng};

/// Where our events go.
pub const RECEIVER: &str = "https://project.example/functions/v1/rendizy-server/whatsapp/webhook";

/// The receiver.
#[derive(Clone, Debug)]
pub struct Ears {
    rng: Rng,
    /// It hears nothing until then.
    pub away_until_ms: i64,
    /// How it is away: no answer, or one that makes the gateway drop the event.
    pub away: Reception,
    /// Events that it has heard, those that came doubled among them, and those it has missed.
    pub heard: [u64; 3],
}

impl Ears {
    /// Drawn from a seed.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed ^ 0xea75),
            away_until_ms: 0,
            away: Reception::Unreachable,
            heard: [0; 3],
        }
    }

    /// What it makes of an event, and whether it has heard it.
    fn receive(&mut self, delivery: &Delivery) -> (Reception, bool) {
        if delivery.arrives_ms < self.away_until_ms {
            self.heard[2] += 1;
            return (self.away, false);
        }
        self.heard[0] += 1;
        self.heard[1] += u64::from(delivery.attempt > 1);
        // An answer that gets lost brings the event once more.
        let reception = if self.rng.one_in(50) {
            Reception::Unreachable
        } else {
            Reception::Answered(200)
        };
        (reception, true)
    }
}

impl World {
    /// Lets the gateway go on until now, and takes each webhook when it arrives.
    pub fn listen(&mut self) {
        loop {
            self.take_webhooks();
            match self.gateway.next_event_ms() {
                Some(at_ms) if at_ms <= self.now_ms => self.gateway.advance(at_ms),
                _ => break,
            }
        }
        self.gateway.advance(self.now_ms.max(self.gateway.now_ms()));
    }

    fn take_webhooks(&mut self) {
        for delivery in self.gateway.take_deliveries() {
            let ours = delivery.url.starts_with(RECEIVER);
            let (reception, heard) = if ours {
                self.ears.receive(&delivery)
            } else {
                (Reception::Answered(200), false)
            };
            self.gateway.answer_delivery(delivery.id, reception);
            let name = &delivery.instance;
            let index = self.names.iter().position(|each| each == name);
            let (Some(index), true) = (index, heard) else {
                continue;
            };
            let arrived = Some(Timestamp::from_ms(delivery.arrives_ms));
            let heard = &mut self.database.rows[index].heard;
            heard.last_event = heard.last_event.max(arrived);
            if delivery.body["data"]["state"] == "connecting" {
                heard.last_connecting = heard.last_connecting.max(arrived);
            }
        }
    }
}
