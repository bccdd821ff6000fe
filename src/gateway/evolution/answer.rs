//! What Evolution's answers mean. Pure; ids such as A18 name recorded exchanges in
//! `tests/fixtures/evolution-2.3.6.jsonl`.

use serde_json::Value;

use super::version::Version;
use crate::monitor::{
    Ack, ConfigFault, Fault, GatewayFault, Integration, MemoryState, Profile, RecordedReason, Row,
    RowStatus, Socket,
};
use crate::web::fetch::Incoming;

/// Reads the answer of `GET /instance/connectionState/{name}`.
///
/// # Errors
/// [`Fault`] for every answer that does not tell the state.
pub fn connection_state(answer: &Incoming) -> Result<MemoryState, Fault> {
    let body = success(answer)?;
    let instance = body
        .get("instance")
        .and_then(Value::as_object)
        .ok_or(GatewayFault::Unintelligible(answer.status))?;
    match instance.get("state") {
        // Known, and not in the process's memory yet (N1).
        None | Some(Value::Null) => Ok(MemoryState::NotLoaded),
        Some(Value::String(state)) => Ok(match state.as_str() {
            "open" => MemoryState::Open,
            "connecting" => MemoryState::Connecting,
            _ => MemoryState::Close,
        }),
        Some(_) => Err(GatewayFault::Unintelligible(answer.status).into()),
    }
}

/// Reads the answer of `GET /instance/fetchInstances?instanceName=…`, by its shape and not by the
/// server's version. The body holds tokens in clear: nothing of it but what [`Row`] names leaves
/// this function.
///
/// # Errors
/// [`Fault`] for every answer that holds no rows; a row that is not there, or not in memory yet
/// (N4), is `None`.
pub fn row(answer: &Incoming, instance: &str) -> Result<Option<Row>, Fault> {
    let body = match success(answer) {
        Ok(body) => body,
        Err(Fault::Config(ConfigFault::UnknownInstance)) => return Ok(None),
        Err(fault) => return Err(fault),
    };
    let rows = match &body {
        Value::Array(rows) => rows.as_slice(),
        // Evolution 1, asked with the server's key for one instance, puts no list around it.
        Value::Object(row) if row.get("instance").is_some_and(Value::is_object) => {
            std::slice::from_ref(&body)
        }
        _ => return Err(GatewayFault::Unintelligible(answer.status).into()),
    };
    Ok(rows.iter().find_map(|row| match row.get("instance") {
        Some(wrapped @ Value::Object(_)) => wrapped_row(wrapped, instance),
        _ => flat_row(row, instance),
    }))
}

/// A row of Evolution 2: that of the database.
fn flat_row(row: &Value, instance: &str) -> Option<Row> {
    if text(row, "name") != Some(instance) {
        return None;
    }
    let status = match text(row, "connectionStatus") {
        Some("open") => Some(RowStatus::Open),
        Some("connecting") => Some(RowStatus::Connecting),
        Some("close") => Some(RowStatus::Close),
        _ => None,
    };
    Some(Row {
        status,
        reason: recorded_reason(row),
        profile: profile(row, ["ownerJid", "profilePicUrl"]),
        integration: integration(row),
    })
}

/// An element of Evolution 1's list. Its status is the live state, which says nothing about
/// pairing; its account is there only while it is open; reasons are not kept.
fn wrapped_row(row: &Value, instance: &str) -> Option<Row> {
    (text(row, "instanceName") == Some(instance)).then(|| Row {
        status: None,
        reason: None,
        profile: profile(row, ["owner", "profilePictureUrl"]),
        integration: integration(row),
    })
}

/// Reads the answer of `GET /settings/find/{name}`.
pub fn always_online(answer: &Incoming) -> Option<bool> {
    success(answer).ok()?.get("alwaysOnline")?.as_bool()
}

/// Reads the answer of `POST /instance/setPresence/{name}`: 201 where there is a socket (K1), 400
/// with these words where there is none (J1). Anything else tells nothing of it.
pub fn socket(answer: &Incoming) -> Option<Socket> {
    match answer.status {
        201 => Some(Socket::There),
        400 => {
            let body: Value = serde_json::from_str(&answer.body).ok()?;
            let message = body.pointer("/response/message")?.to_string();
            message
                .contains("Connection Closed")
                .then_some(Socket::Missing)
        }
        _ => None,
    }
}

/// Reads the answer of `GET /instance/connect/{name}` and `POST /instance/restart/{name}`: a 200 may
/// say `{"error":true}` (A18). The body of `connect` holds a QR code; nothing of it goes further.
pub fn acted(answer: &Incoming) -> Ack {
    match success(answer) {
        Ok(body) if body.get("error").and_then(Value::as_bool) == Some(true) => Ack::Refused,
        Ok(_) => Ack::Accepted,
        Err(Fault::Config(_)) => Ack::Refused,
        Err(Fault::Gateway(_)) => Ack::Lost,
    }
}

/// Reads the answer of `GET /`.
///
/// # Errors
/// [`Fault`] for every answer without a version.
pub fn version(answer: &Incoming) -> Result<Version, Fault> {
    text(&success(answer)?, "version")
        .and_then(Version::parse)
        .ok_or_else(|| ConfigFault::UnknownRoute.into())
}

fn text<'a>(row: &'a Value, key: &str) -> Option<&'a str> {
    row.get(key)?.as_str()
}

/// The integrations without a socket say `open` whatever happens; 1.x names none as a rule.
fn integration(row: &Value) -> Integration {
    match text(row, "integration") {
        Some("WHATSAPP-BUSINESS" | "EVOLUTION") => Integration::Socketless,
        _ => Integration::Socket,
    }
}

fn profile(row: &Value, [owner, picture]: [&str; 2]) -> Profile {
    Profile {
        phone_number: text(row, owner).and_then(phone_number),
        profile_name: text(row, "profileName").and_then(shown_name),
        profile_picture_url: text(row, picture)
            .filter(|url| is_picture_url(url))
            .map(str::to_owned),
    }
}

/// The number in an address such as `5511999990000:12@s.whatsapp.net`: E.164 has 15 digits at most.
pub(super) fn phone_number(owner: &str) -> Option<String> {
    let (user, server) = owner.split_once('@').unwrap_or((owner, PHONE_SERVER));
    let number = user.split(':').next()?;
    let plausible = (5..=15).contains(&number.len())
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && server == PHONE_SERVER;
    plausible.then(|| number.to_owned())
}

/// Where WhatsApp's addresses are phone numbers; elsewhere they are but identifiers.
const PHONE_SERVER: &str = "s.whatsapp.net";

/// Characters that a profile's name may have; WhatsApp itself allows 25.
const MAX_NAME_CHARS: usize = 100;

/// A name without control characters, in one line of bounded length.
pub(super) fn shown_name(name: &str) -> Option<String> {
    let printable: String = name
        .chars()
        .filter(|c| !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}'))
        .take(MAX_NAME_CHARS)
        .collect();
    let name = printable.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// Bytes that the URL of a picture may have; WhatsApp's have some 300.
const MAX_URL_BYTES: usize = 2_000;

pub(super) fn is_picture_url(url: &str) -> bool {
    let host = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    host.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '['))
        && url.len() <= MAX_URL_BYTES
        && url.bytes().all(|byte| byte.is_ascii_graphic())
}

fn recorded_reason(row: &Value) -> Option<RecordedReason> {
    let code = row.get("disconnectionReasonCode")?.as_u64()?;
    Some(RecordedReason {
        code: u16::try_from(code).ok()?,
        at: row
            .get("disconnectionAt")
            .and_then(Value::as_str)
            .filter(|at| is_plausible_moment(at))
            .map(str::to_owned),
    })
}

/// What a gateway sends is stored, so it must be what it is said to be: a text of any length, or
/// with a zero byte, would make the database refuse the whole tick.
pub(super) fn is_plausible_moment(text: &str) -> bool {
    (1..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The JSON of an answer of status 2xx; a typed fault for every other.
pub(super) fn success(answer: &Incoming) -> Result<Value, Fault> {
    let status = answer.status;
    if (300..400).contains(&status) {
        return Err(ConfigFault::Redirected.into());
    }
    // A page instead of JSON is a proxy's, whatever its status says.
    let body: Value =
        serde_json::from_str(&answer.body).map_err(|_| GatewayFault::NotJson(status))?;
    match status {
        200..=299 => Ok(body),
        401 => Err(ConfigFault::WrongKey.into()),
        404 => Err(not_found(&body).into()),
        503 if body.get("code").and_then(Value::as_str) == Some("LICENSE_REQUIRED") => {
            Err(ConfigFault::LicenceRequired.into())
        }
        500..=599 => Err(GatewayFault::ServerError(status).into()),
        _ => Err(GatewayFault::Unintelligible(status).into()),
    }
}

/// A message that begins with "Cannot" is about the route (A35 to A37), else it is about the
/// instance (A2, A42).
fn not_found(body: &Value) -> ConfigFault {
    let message = match body.pointer("/response/message") {
        Some(Value::Array(messages)) => messages.first(),
        message => message,
    };
    match message.and_then(Value::as_str) {
        Some(text) if text.starts_with("Cannot ") => ConfigFault::UnknownRoute,
        Some(text) if text.contains("does not exist") || text.contains("not found") => {
            ConfigFault::UnknownInstance
        }
        _ => ConfigFault::UnknownRoute,
    }
}
