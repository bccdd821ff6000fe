//! The routes that name an instance in the path.

use serde_json::{Value, json};

use super::answers::{Answer, answer, database_down, error_object, failure, ok, success};
use super::gateway::{Gateway, Plan};
use super::http::Request;
use super::line::{Line, Memory};
use super::routes::in_query;
use super::webhook::{complaints, written};

/// What a presence may be (K3).
const PRESENCES: [&str; 5] = [
    "unavailable",
    "available",
    "composing",
    "recording",
    "paused",
];

impl Gateway {
    /// Memory only; no database is asked.
    pub(super) fn connection_state(&mut self, id: usize) -> Answer {
        let instance = &self.instances[id];
        let mut shown = json!({ "instanceName": instance.name });
        if let Some(word) = instance.state(self.now_ms).word() {
            shown["state"] = json!(word); // N1: left out, not null
        }
        ok(json!({ "instance": shown }))
    }

    /// The QR, or a dial; always 200.
    pub(super) fn connect_route(&mut self, id: usize, request: &Request, _: &Value) -> Answer {
        match self.instances[id].state(self.now_ms) {
            Memory::Open => self.connection_state(id), // C9
            Memory::Connecting => ok(self.instances[id].qr.object()), // C2, C5; dead at times (D4)
            Memory::Absent => error_object(),          // N2
            Memory::Close => {
                self.connect(id, in_query(&request.path, "number").is_some());
                let waits_ms = 2_000 + self.rng.between(0, 90);
                Answer {
                    waits_ms,
                    ..ok(self.qr_after_connect(id))
                }
            }
        }
    }

    /// F3, F5: the answer waits for 2 s, in which an unpaired dial that comes through has shown its
    /// first QR (B1: else there is none).
    pub(super) fn qr_after_connect(&self, id: usize) -> Value {
        let instance = &self.instances[id];
        let mut qr = instance.qr;
        let slow_ms = self.whatsapp.lookup_ms.unwrap_or(40) + self.whatsapp.login_ms.unwrap_or(150);
        let comes = instance.line == Line::Lookup && self.barrier(id).is_none() && slow_ms < 2_000;
        if comes && !instance.session && instance.hang.is_none() {
            qr.count += 1;
            qr.shown = true;
        }
        qr.object()
    }

    /// 200 for everything; the answer is made before anything happens (D1, C4, I3).
    pub(super) fn restart_route(&mut self, id: usize) -> Answer {
        let before = match self.instances[id].state(self.now_ms) {
            Memory::Close | Memory::Absent => return error_object(), // A18, N3
            Memory::Open => self.connection_state(id),
            Memory::Connecting => ok(self.instances[id].qr.object()),
        };
        self.restart(id);
        before
    }

    /// A pure socket write: a socket is enough, a login is not asked for (J1, K1, K11, K12).
    pub(super) fn set_presence(&mut self, id: usize, body: &Value) -> Answer {
        let Some(presence) = body.get("presence") else {
            return failure(400, json!([["instance requires property \"presence\""]]));
        };
        if !presence
            .as_str()
            .is_some_and(|presence| PRESENCES.contains(&presence))
        {
            let all = PRESENCES.join(",");
            return failure(
                400,
                json!([[format!("presence is not one of enum values: {all}")]]),
            );
        }
        let instance = &self.instances[id];
        if !instance.loaded {
            let text = "Cannot read properties of undefined (reading 'setPresence')";
            failure(500, json!(text))
        } else if instance.line.sockets(self.now_ms) > 0 {
            answer(201, json!({ "presence": presence }))
        } else {
            failure(400, json!(["Error: Connection Closed"]))
        }
    }

    /// SUCCESS before anything is done, and where nothing will be (F1, J8, N7).
    pub(super) fn logout(&mut self, id: usize) -> Answer {
        let instance = &self.instances[id];
        if instance.state(self.now_ms) == Memory::Close {
            let text = format!("The \"{}\" instance is not connected", instance.name);
            return failure(400, json!([text])); // A20
        }
        self.plan_in(30, Plan::LogOut(id));
        success("Instance logged out")
    }

    pub(super) fn delete_route(&mut self, id: usize) -> Answer {
        if !self.database {
            return database_down("this.prismaRepository.instance.delete()", false);
        }
        self.delete(id);
        success("Instance deleted")
    }

    pub(super) fn webhook_find(&mut self, id: usize) -> Answer {
        let instance = &self.instances[id];
        if !instance.loaded {
            return ok(Value::Null); // N6: although one may be set
        }
        if !self.database {
            return database_down("this.prisma[this.name].findUnique()", false); // I8
        }
        let found = instance
            .webhook
            .as_ref()
            .map(|webhook| webhook.found(&instance.id));
        ok(found.unwrap_or_default())
    }

    /// Replaces the one webhook of the instance.
    pub(super) fn webhook_set(&mut self, id: usize, body: &Value) -> Answer {
        let wrong = complaints(body);
        if !wrong.is_empty() {
            return failure(400, json!([wrong]));
        }
        let (webhook_id, now) = (self.new_id(), self.gateway_iso());
        let instance = &mut self.instances[id];
        let old = instance.webhook.as_ref();
        let Some(webhook) = written(old, &body["webhook"], &webhook_id, &now) else {
            return failure(
                500,
                json!("Cannot read properties of undefined (reading 'length')"),
            );
        };
        if !self.database {
            return database_down("this.prisma[this.name].upsert()", false);
        }
        if !instance.loaded {
            let text = "Cannot read properties of undefined (reading 'instanceId')";
            return failure(500, json!(text));
        }
        let row = webhook.found(&instance.id);
        instance.webhook = Some(webhook);
        answer(201, row)
    }

    /// Needs no socket (J7).
    pub(super) fn settings_find(&mut self, id: usize) -> Answer {
        if !self.database {
            return database_down("this.prismaRepository.setting.findUnique()", false);
        }
        ok(self.instances[id].settings())
    }
}
