//! What Evolution's webhooks say. Pure; ids such as E1-1 name samples in
//! `tests/fixtures/evolution-webhooks-2.3.6.jsonl`. Nothing here fails: what cannot be understood is
//! an event that tells nothing.

use serde_json::{Map, Value};

use super::answer::{is_picture_url, is_plausible_moment, phone_number, shown_name};
use crate::monitor::{Event, Profile, RecordedReason};

/// Bytes that an instance's name may have; Evolution's column holds 255 characters.
const MAX_NAME_BYTES: usize = 1_020;

/// Bytes that a QR code may have, as an image in base64; one has some 9 kB.
const MAX_QR_BYTES: usize = 64 * 1024;

/// An event, as it was delivered.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// Which, of those that mean something here.
    pub kind: Kind,
    /// The instance that it says it is about.
    pub instance: Option<String>,
    /// When the gateway says that it was: local time, so it only orders the events of one server.
    pub sent_ms: Option<i64>,
    /// What it tells of the connection.
    pub event: Option<Event>,
    /// What it tells of the account.
    pub profile: Profile,
    /// The QR code that it brings: an image as a `data:` URL, or the text in it.
    pub qr_code: Option<String>,
}

/// The events that mean something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `connection.update`: the live state has changed.
    ConnectionUpdate,
    /// `status.instance`: the session has ended.
    StatusInstance,
    /// `logout.instance`: the session has ended.
    LogoutInstance,
    /// `qrcode.updated`: a QR code waits to be scanned, or there will be none any more.
    QrcodeUpdated,
    /// `remove.instance`: the gateway has forgotten the instance.
    RemoveInstance,
    /// `messages.upsert`: a message.
    MessagesUpsert,
    /// Anything else.
    Other,
}

impl Kind {
    /// The kind of this name, in whatever spelling: `connection.update`, `CONNECTION_UPDATE`,
    /// `connection-update`.
    fn parse(name: &str) -> Self {
        let name: String = name
            .trim()
            .chars()
            .map(|c| match c {
                '.' | '-' => '_',
                c => c.to_ascii_uppercase(),
            })
            .collect();
        match name.as_str() {
            "CONNECTION_UPDATE" => Self::ConnectionUpdate,
            "STATUS_INSTANCE" => Self::StatusInstance,
            "LOGOUT_INSTANCE" => Self::LogoutInstance,
            "QRCODE_UPDATED" => Self::QrcodeUpdated,
            "REMOVE_INSTANCE" => Self::RemoveInstance,
            "MESSAGES_UPSERT" => Self::MessagesUpsert,
            _ => Self::Other,
        }
    }

    /// Its name, as Evolution spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConnectionUpdate => "connection.update",
            Self::StatusInstance => "status.instance",
            Self::LogoutInstance => "logout.instance",
            Self::QrcodeUpdated => "qrcode.updated",
            Self::RemoveInstance => "remove.instance",
            Self::MessagesUpsert => "messages.upsert",
            Self::Other => "other",
        }
    }
}

/// Reads a delivery. `suffix` is what the webhook's path has behind it where the gateway was told to
/// name the event there (G3-1); it counts where the body names none.
pub fn parse(body: &Map<String, Value>, suffix: Option<&str>) -> Delivery {
    let named = body.get("event").and_then(Value::as_str);
    let kind = named.or(suffix).map_or(Kind::Other, Kind::parse);
    let data = body.get("data").unwrap_or(&Value::Null);
    let event = match kind {
        Kind::ConnectionUpdate => connection_update(data),
        Kind::StatusInstance => Some(status_instance(data)),
        Kind::LogoutInstance => Some(Event::LoggedOut),
        Kind::QrcodeUpdated => qrcode_updated(data),
        Kind::RemoveInstance => Some(Event::Removed),
        Kind::MessagesUpsert | Kind::Other => None,
    };
    Delivery {
        kind,
        instance: instance(body),
        sent_ms: body
            .get("date_time")
            .and_then(Value::as_str)
            .and_then(wall_time_ms),
        profile: if event == Some(Event::Open) {
            profile(data)
        } else {
            Profile::default()
        },
        qr_code: (event == Some(Event::QrCode))
            .then(|| qr_code(data))
            .flatten(),
        event,
    }
}

/// The QR code of `qrcode.updated`.
fn qr_code(data: &Value) -> Option<String> {
    let text = |key: &str| {
        let code = data.get("qrcode")?.get(key)?.as_str()?;
        let plain = code.bytes().all(|byte| byte.is_ascii_graphic());
        ((1..=MAX_QR_BYTES).contains(&code.len()) && plain).then(|| code.to_owned())
    };
    text("base64").or_else(|| text("code"))
}

/// The instance's name: a text, or an object that holds it.
fn instance(body: &Map<String, Value>) -> Option<String> {
    let name = match body.get("instance") {
        Some(Value::Object(instance)) => instance.get("instanceName"),
        Some(name) => Some(name),
        None => body.get("instanceName"),
    };
    // What is no name is another name: it must not pass for none.
    match name {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) if name.len() <= MAX_NAME_BYTES => Some(name.clone()),
        Some(_) => Some(String::new()),
    }
}

/// `statusReason` is 200 unless it closes (B2-1, E1-3); Evolution 1 sends every close, with its code.
fn connection_update(data: &Value) -> Option<Event> {
    match data.get("state")?.as_str()? {
        "open" => Some(Event::Open),
        "connecting" => Some(Event::Connecting),
        "close" => Some(Event::Closed(data.get("statusReason").and_then(code))),
        // The QR limit (F4-3).
        "refused" => Some(Event::QrLimit),
        _ => None,
    }
}

/// A final logout, with its reason (E1-1); Evolution 1 tells none.
fn status_instance(data: &Value) -> Event {
    let recorded = data
        .get("disconnectionReasonCode")
        .and_then(code)
        .or_else(|| data.get("disconnectionObject").and_then(code_inside));
    recorded.map_or(Event::LoggedOut, |code| {
        Event::Ended(RecordedReason {
            code,
            at: data
                .get("disconnectionAt")
                .and_then(Value::as_str)
                .filter(|at| is_plausible_moment(at))
                .map(str::to_owned),
        })
    })
}

/// The code in a `disconnectionObject`, which is JSON inside a text, or not.
fn code_inside(object: &Value) -> Option<u16> {
    let parsed;
    let object = match object {
        Value::String(text) => {
            parsed = serde_json::from_str::<Value>(text).ok()?;
            &parsed
        }
        object => object,
    };
    ["/error/output/statusCode", "/error/data/reason"]
        .into_iter()
        .find_map(|path| object.pointer(path).and_then(code))
}

/// A disconnect code: a number, or a text that is one.
fn code(value: &Value) -> Option<u16> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        value => u16::try_from(value.as_u64()?).ok(),
    }
}

/// A QR code (C6-1), or the word that there will be none any more (F4-2).
fn qrcode_updated(data: &Value) -> Option<Event> {
    if data.get("qrcode").is_some_and(Value::is_object) {
        Some(Event::QrCode)
    } else {
        let refused = data.get("statusCode").and_then(code) == Some(500);
        refused.then_some(Event::QrLimit)
    }
}

/// The account that has logged in (C7-2).
fn profile(data: &Value) -> Profile {
    let text = |key: &str| data.get(key).and_then(Value::as_str);
    Profile {
        phone_number: text("wuid").and_then(phone_number),
        profile_name: text("profileName").and_then(shown_name),
        profile_picture_url: text("profilePictureUrl")
            .filter(|url| is_picture_url(url))
            .map(str::to_owned),
    }
}

/// A wall clock's time such as `2026-11-23T13:48:51.178Z`, in milliseconds since 1970 **by that
/// clock**: what zone it names is false (L2).
fn wall_time_ms(text: &str) -> Option<i64> {
    let digits = |from: usize, to: usize| -> Option<i64> {
        let part = text.get(from..to)?;
        let plain = part.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| part.parse().ok()).flatten()
    };
    let separators = [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")];
    let shaped = separators
        .into_iter()
        .all(|(at, expected)| text.get(at..=at) == Some(expected));
    let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
    let (hour, minute, second) = (digits(11, 13)?, digits(14, 16)?, digits(17, 19)?);
    let ms = if text.get(19..20) == Some(".") {
        digits(20, 23)?
    } else {
        0
    };
    let valid = shaped
        && (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    let days = days_since_1970(year, month, day);
    valid.then(|| (((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000 + ms)
}

/// Days of the Gregorian calendar, counted in years that begin in March.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let months = (month + 9) % 12;
    year * 365 + year / 4 - year / 100 + year / 400 + (months * 153 + 2) / 5 + day - 719_469
}
