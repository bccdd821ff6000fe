//! Evolution's own answers. Order matters as on the real server: body parser, route, existence
//! (404), name in use (403), key (401), handler.

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::gateway::{Gateway, Plan};
use super::http::Request;
use super::line::{Line, Memory};
use super::webhook::{complaints, written};

/// What a presence may be (K3).
const PRESENCES: [&str; 5] = [
    "unavailable",
    "available",
    "composing",
    "recording",
    "paused",
];

/// What a route answers.
pub(super) struct Answer {
    pub status: u16,
    pub body: Value,
    /// In place of the body, what is no JSON.
    pub text: Option<String>,
    /// How long the server takes on purpose.
    pub waits_ms: i64,
}

/// A plain answer.
pub(super) fn ok(body: Value) -> Answer {
    answer(200, body)
}

fn answer(status: u16, body: Value) -> Answer {
    Answer {
        status,
        body,
        text: None,
        waits_ms: 0,
    }
}

/// An error body; `message` is a string or an array, by the case.
pub(super) fn failure(status: u16, message: Value) -> Answer {
    let error = match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    };
    let body = json!({ "status": status, "error": error, "response": { "message": message } });
    answer(status, body)
}

/// 401: the message is a string here, not an array (A15).
fn unauthorized() -> Answer {
    failure(401, json!("Unauthorized"))
}

/// The 200 that reports a failure (A18, N2).
fn error_object() -> Answer {
    ok(json!({ "error": true, "message": "[object Object]" }))
}

/// 500 of the database layer: its text in a string (I6, I8) or in a list (I7).
fn database_down(call: &str, in_list: bool) -> Answer {
    let text = format!(
        "\nInvalid `{call}` invocation in\n/evolution/dist/main.js:1:1\n\n\
         Can't reach database server at `127.0.0.1:5432`"
    );
    if in_list {
        failure(
            500,
            json!([format!("PrismaClientKnownRequestError: {text}")]),
        )
    } else {
        failure(500, json!(text))
    }
}

/// The gate of 2.4: another shape than all other errors.
pub(super) fn licence_required() -> Answer {
    let body = json!({
        "error": "service not activated", "code": "LICENSE_REQUIRED",
        "register_url": "http://127.0.0.1/manager/register",
        "instance_id": "00000000-0000-4000-8000-000000000000",
        "docs_url": "https://doc.evolution-api.com",
        "message": "License required. Activate this server to use the API.",
    });
    answer(503, body)
}

/// 404: the word Cannot tells a wrong route or verb from an unknown instance (A35 to A37).
fn cannot(request: &Request) -> Answer {
    failure(
        404,
        json!([format!("Cannot {} {}", request.method, request.path)]),
    )
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn split(path: &str) -> (&str, &str) {
    path.split_once('?').unwrap_or((path, ""))
}

fn in_query(path: &str, name: &str) -> Option<String> {
    let mut pairs = split(path)
        .1
        .split('&')
        .filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    Some(decoded(&value.replace('+', " ")))
}

/// The route and the instance of a path of three parts.
fn named(path: &str) -> Option<(&str, String)> {
    let route = split(path).0;
    let (route, name) = route.trim_end_matches('/').rsplit_once('/')?;
    (route.matches('/').count() == 2).then(|| (route, decoded(name)))
}

/// The instance that a path names, wherever it does.
pub(super) fn name_in(path: &str) -> Option<String> {
    named(path)
        .map(|(_, name)| name)
        .or_else(|| in_query(path, "instanceName"))
}

impl Gateway {
    /// Answers, and changes what the request changes.
    pub(super) fn answer(&mut self, request: &Request) -> Answer {
        let Ok(body) = serde_json::from_str(request.body.as_deref().unwrap_or("{}")) else {
            // A34: status 400 with the error text of a 500.
            let message = "Expected property name or '}' in JSON at position 1";
            let error = "Internal Server Error";
            let response = json!({ "message": message });
            return answer(
                400,
                json!({ "status": 400, "error": error, "response": response }),
            );
        };
        match (request.method, split(&request.path).0) {
            ("GET", "/") => return self.root(),
            ("POST", "/verify-creds") => return self.verify_creds(request),
            ("POST", "/instance/create") => return self.create(request, &body),
            ("GET", "/instance/fetchInstances") => return self.fetch_instances(request),
            _ => {}
        }
        let Some((route, name)) = named(&request.path) else {
            return cannot(request);
        };
        let handler: fn(&mut Self, usize, &Request, &Value) -> Answer =
            match (request.method, route) {
                ("GET", "/instance/connectionState") => |g, id, _, _| g.connection_state(id),
                ("GET", "/instance/connect") => Self::connect_route,
                ("POST", "/instance/restart") => |g, id, _, _| g.restart_route(id),
                ("POST", "/instance/setPresence") => |g, id, _, body| g.set_presence(id, body),
                ("DELETE", "/instance/logout") => |g, id, _, _| g.logout(id),
                ("DELETE", "/instance/delete") => |g, id, _, _| g.delete_route(id),
                ("GET", "/webhook/find") => |g, id, _, _| g.webhook_find(id),
                ("POST", "/webhook/set") => |g, id, _, body| g.webhook_set(id, body),
                ("GET", "/settings/find") => |g, id, _, _| g.settings_find(id),
                _ => return cannot(request),
            };
        let id = self.id(&name);
        let loaded = id.is_some_and(|id| self.memory(id) != Memory::Absent);
        // I7: only a name that is not in memory is looked up in the database.
        if !loaded && !self.database {
            return database_down("prismaRepository.instance.findMany()", true);
        }
        // A3, A4: before the key is looked at.
        let Some(id) = id else {
            return failure(
                404,
                json!([format!("The \"{name}\" instance does not exist")]),
            );
        };
        // I5: with the database down an instance token cannot be checked.
        let key = request.key.as_deref().unwrap_or_default();
        let its_own = self.database && key == self.instances[id].token;
        if !self.is_global_key(key) && !its_own {
            return unauthorized();
        }
        handler(self, id, request, &body)
    }

    /// Memory only; no database is asked.
    fn connection_state(&mut self, id: usize) -> Answer {
        let instance = &self.instances[id];
        let mut shown = json!({ "instanceName": instance.name });
        if let Some(word) = instance.state(self.now_ms).word() {
            shown["state"] = json!(word); // N1: left out, not null
        }
        ok(json!({ "instance": shown }))
    }

    /// The QR, or a dial; always 200.
    fn connect_route(&mut self, id: usize, request: &Request, _: &Value) -> Answer {
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
    fn qr_after_connect(&self, id: usize) -> Value {
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
    fn restart_route(&mut self, id: usize) -> Answer {
        let before = match self.instances[id].state(self.now_ms) {
            Memory::Close | Memory::Absent => return error_object(), // A18, N3
            Memory::Open => self.connection_state(id),
            Memory::Connecting => ok(self.instances[id].qr.object()),
        };
        self.restart(id);
        before
    }

    /// A pure socket write: a socket is enough, a login is not asked for (J1, K1, K11, K12).
    fn set_presence(&mut self, id: usize, body: &Value) -> Answer {
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
    fn logout(&mut self, id: usize) -> Answer {
        let instance = &self.instances[id];
        if instance.state(self.now_ms) == Memory::Close {
            let text = format!("The \"{}\" instance is not connected", instance.name);
            return failure(400, json!([text])); // A20
        }
        self.plan_in(30, Plan::LogOut(id));
        success("Instance logged out")
    }

    fn delete_route(&mut self, id: usize) -> Answer {
        if !self.database {
            return database_down("this.prismaRepository.instance.delete()", false);
        }
        self.delete(id);
        success("Instance deleted")
    }

    fn webhook_find(&mut self, id: usize) -> Answer {
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
    fn webhook_set(&mut self, id: usize, body: &Value) -> Answer {
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
    fn settings_find(&mut self, id: usize) -> Answer {
        if !self.database {
            return database_down("this.prismaRepository.setting.findUnique()", false);
        }
        ok(self.instances[id].settings())
    }

    /// The greeting makes a lookup of its own (A1, N8).
    fn root(&mut self) -> Answer {
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

    fn has_global_key(&self, request: &Request) -> bool {
        let key = request.key.as_deref();
        key.is_some_and(|key| self.is_global_key(key))
    }

    /// Accepts only the global key (A48, A49).
    fn verify_creds(&mut self, request: &Request) -> Answer {
        if self.has_global_key(request) {
            ok(json!({ "status": 200, "message": "Credentials are valid" }))
        } else {
            unauthorized()
        }
    }

    /// Only the global key may (A8 to A12, A38).
    fn create(&mut self, request: &Request, body: &Value) -> Answer {
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
    fn fetch_instances(&mut self, request: &Request) -> Answer {
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

fn success(message: &str) -> Answer {
    ok(json!({ "status": "SUCCESS", "error": false, "response": { "message": message } }))
}
