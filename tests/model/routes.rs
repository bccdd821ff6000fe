//! Evolution's routes. Order matters as on the real server: body parser, route, existence
//! (404), name in use (403), key (401), handler.

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::answers::{Answer, answer, database_down, failure, unauthorized};
use super::gateway::Gateway;
use super::http::Request;
use super::line::Memory;

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

pub(super) fn in_query(path: &str, name: &str) -> Option<String> {
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
}
