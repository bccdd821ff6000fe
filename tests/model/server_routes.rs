//! The routes that are not about one instance alone.

use serde_json::{Value, json};

use super::answers::{Answer, answer, database_down, failure, ok, unauthorized};
use super::gateway::Gateway;
use super::http::Request;
use super::line::Memory;
use super::routes::in_query;
use super::webhook::written;

impl Gateway {
    /// The greeting makes a lookup of its own (A1, N8).
    pub(super) fn root(&mut self) -> Answer {
        let body = json!({
            "status": 200, "message": "Welcome to the Evolution API, it is working!",
            "version": self.config.version, "clientName": "evolution_exchange",
            "manager": "http://127.0.0.1:18080/manager",
            "documentation": "https://doc.evolution-api.com",
            "whatsappWebVersion": "2.3000.1027934701",
        });
        Answer {
            waits_ms: self.whatsapp.lookup_ms.unwrap_or(0) + self.root_ms.unwrap_or(0),
            ..ok(body)
        }
    }

    pub(super) fn has_global_key(&self, request: &Request) -> bool {
        let key = request.key.as_deref();
        key.is_some_and(|key| self.is_global_key(key))
    }

    /// Accepts only the global key (A48, A49).
    pub(super) fn verify_creds(&mut self, request: &Request) -> Answer {
        if self.has_global_key(request) {
            ok(json!({ "status": 200, "message": "Credentials are valid" }))
        } else {
            unauthorized()
        }
    }

    /// Only the global key may (A8 to A12, A38).
    pub(super) fn create(&mut self, request: &Request, body: &Value) -> Answer {
        if !self.database {
            return database_down("prismaRepository.instance.findMany()", true);
        }
        let name = body["instanceName"].as_str().unwrap_or_default();
        if self.id(name).is_some() {
            return failure(
                403,
                json!([format!("This name \"{name}\" is already in use.")]),
            );
        }
        if !self.has_global_key(request) {
            return unauthorized();
        }
        if !matches!(
            body["integration"].as_str(),
            Some("WHATSAPP-BAILEYS" | "WHATSAPP-BUSINESS" | "EVOLUTION")
        ) {
            return failure(400, json!(["Invalid integration"]));
        }
        self.add_unpaired(name);
        let (webhook_id, now) = (self.new_id(), self.gateway_iso());
        let Some(id) = self.id(name) else {
            return failure(500, json!("not created"));
        };
        let instance = &mut self.instances[id];
        let text = |key: &str| body[key].as_str().map(str::to_owned);
        instance.integration = text("integration").unwrap_or_default();
        instance.number = text("number");
        instance.always_online = body["alwaysOnline"] == true;
        if let Some(token) = text("token") {
            instance.token = token;
        }
        let mut webhook = json!({});
        if let Some(given) = body.get("webhook") {
            let mut wanted = given.clone();
            wanted["enabled"] = json!(true); // A38: by being given
            instance.webhook = written(None, &wanted, &webhook_id, &now);
            for (shown, key) in [
                ("webhookUrl", "url"),
                ("webhookHeaders", "headers"),
                ("webhookByEvents", "byEvents"),
                ("webhookBase64", "base64"),
            ] {
                if let Some(value) = given.get(key) {
                    webhook[shown] = value.clone();
                }
            }
        }
        let instance_shown = json!({
            "instanceName": name, "instanceId": instance.id, "integration": instance.integration,
            "webhookWaBusiness": null, "accessTokenWaBusiness": "", "status": "close",
        });
        let created = json!({
            "instance": instance_shown, "hash": instance.token, "webhook": webhook,
            "websocket": {}, "rabbitmq": {}, "nats": {}, "sqs": {},
            "settings": instance.settings(),
        });
        answer(201, created)
    }

    /// The rows, filtered; an instance token sees only itself (A46).
    pub(super) fn fetch_instances(&mut self, request: &Request) -> Answer {
        let key = request.key.as_deref().unwrap_or_default();
        let global = self.is_global_key(key);
        let own = |&id: &usize| self.instances[id].token == key;
        let all: Vec<usize> = self.live_ids().into_iter().collect();
        // A6, A47: a token needs the database to be known.
        let known = global || (self.database && all.iter().any(own));
        if !known {
            return unauthorized();
        }
        if !self.database {
            return database_down("this.prismaRepository.instance.findMany()", false); // I6
        }
        let [name, row_id, number] =
            ["instanceName", "instanceId", "number"].map(|key| in_query(&request.path, key));
        let asked = name
            .as_ref()
            .or(row_id.as_ref())
            .or(number.as_ref())
            .cloned();
        let fits = |&id: &usize| {
            let instance = &self.instances[id];
            name.as_ref().is_none_or(|name| instance.name == *name)
                && row_id.as_ref().is_none_or(|row_id| instance.id == *row_id)
                && (number.is_none() || instance.number == number)
        };
        let found: Vec<usize> = all
            .into_iter()
            .filter(fits)
            .filter(|id| global || own(id))
            .collect();
        if found.is_empty() && !global {
            return unauthorized();
        }
        // N4: by name only what is loaded is found; the bulk lists all (N5).
        let absent = found.iter().any(|&id| self.memory(id) == Memory::Absent);
        match asked {
            Some(asked) if found.is_empty() || absent => {
                failure(404, json!([format!("Instance \"{asked}\" not found")]))
            }
            _ => ok(found
                .iter()
                .map(|&id| self.instances[id].listed())
                .collect()),
        }
    }
}
