//! What Evolution's answers mean. Pure; ids such as A18 name recorded exchanges in
//! `tests/fixtures/evolution-2.3.6.jsonl`.

use serde_json::Value;

use crate::monitor::{
    ConfigFault, Fault, GatewayFault, MemoryState, RecordedReason, Row, RowStatus,
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

/// Reads the answer of `GET /instance/fetchInstances?instanceName=…`. The body holds tokens in
/// clear: nothing of it but what [`Row`] names leaves this function.
///
/// # Errors
/// [`Fault`] for every answer that is no list of rows; a row that is not in memory yet (N4), and
/// one whose status is no known word, is `None`.
pub fn row(answer: &Incoming, instance: &str) -> Result<Option<Row>, Fault> {
    let body = match success(answer) {
        Ok(body) => body,
        Err(Fault::Config(ConfigFault::UnknownInstance)) => return Ok(None),
        Err(fault) => return Err(fault),
    };
    let rows = body
        .as_array()
        .ok_or(GatewayFault::Unintelligible(answer.status))?;
    Ok(rows
        .iter()
        .find(|row| row.get("name").and_then(Value::as_str) == Some(instance))
        .and_then(|row| {
            let status = match row.get("connectionStatus")?.as_str()? {
                "open" => RowStatus::Open,
                "connecting" => RowStatus::Connecting,
                "close" => RowStatus::Close,
                _ => return None,
            };
            Some(Row {
                status,
                reason: recorded_reason(row),
            })
        }))
}

/// Reads the answer of `GET /`.
///
/// # Errors
/// [`Fault`] for every answer without a version.
pub fn version(answer: &Incoming) -> Result<String, Fault> {
    success(answer)?
        .get("version")
        .and_then(Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| ConfigFault::UnknownRoute.into())
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
fn is_plausible_moment(text: &str) -> bool {
    (1..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The JSON of an answer of status 2xx; a typed fault for every other.
fn success(answer: &Incoming) -> Result<Value, Fault> {
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
