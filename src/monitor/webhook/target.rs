//! What the slot of an instance should hold, and in what that which it holds differs.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::address::Place;
use super::events::{self, CONNECTION_UPDATE};
use super::{Drift, Hook, Known};
use crate::monitor::capabilities::Webhooks;
use crate::monitor::time::Timestamp;

/// The header in which a gateway presents the secret to our receiver.
pub const SECRET_HEADER: &str = "x-monitor-webhook-secret";

/// The same in the URL, where the version knows no headers.
const SECRET_PARAMETER: &str = "secret";

/// What a slot should hold.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Where events are to go, complete.
    url: String,
    /// The same, to be compared.
    pub place: Place,
    /// Whether that is the monitor's own receiver.
    pub receiver: bool,
    events: BTreeSet<String>,
    /// Whether those and no others are wanted. Where nobody has said which, more are no harm.
    exactly: bool,
    /// The secret that goes along as a header.
    secret: Option<String>,
    webhooks: Webhooks,
}

impl Target {
    /// What follows from the user's tables, the settings and the version, the first of them that says
    /// where; `None` where nothing does. The secret goes to our own receiver alone.
    pub fn of(known: &Known<'_>, webhooks: Webhooks) -> Option<Self> {
        let place = |url: &str| Some((url.trim().to_owned(), Place::parse(url)?));
        let receiver = known.receiver.and_then(place);
        let is_receiver = |it: &Place| {
            receiver
                .as_ref()
                .is_some_and(|(_, place)| it.is_receiver(place))
        };
        let listed = known.own_url.and_then(place);
        let named = listed.clone().or_else(|| known.setting_url.and_then(place));
        match named.filter(|(_, place)| !is_receiver(place)) {
            Some((url, place)) => {
                let of_theirs = listed.map_or(&[][..], |_| known.own_events);
                let theirs = events::known(webhooks, of_theirs);
                Some(Self {
                    url,
                    place,
                    receiver: false,
                    exactly: !theirs.is_empty(),
                    events: if theirs.is_empty() {
                        events::wanted(webhooks)
                    } else {
                        theirs
                    },
                    secret: None,
                    webhooks,
                })
            }
            None => {
                let (url, _) = receiver?;
                let url = if webhooks.headers {
                    url
                } else {
                    format!("{url}?{SECRET_PARAMETER}={}", known.secret)
                };
                Some(Self {
                    place: Place::parse(&url)?,
                    url,
                    receiver: true,
                    events: events::wanted(webhooks),
                    exactly: true,
                    secret: webhooks.headers.then(|| known.secret.to_owned()),
                    webhooks,
                })
            }
        }
    }

    /// The same during a storm: our own webhook does without the event that comes in thousands.
    pub fn in_storm(mut self, storm: bool) -> Self {
        if self.receiver && storm {
            self.events.remove(CONNECTION_UPDATE);
        }
        self
    }

    /// Whether events of dials are told to our receiver by it.
    pub fn tells_of_dials(&self) -> bool {
        self.receiver && self.events.contains(CONNECTION_UPDATE)
    }

    /// A short word that is another one when anything of this is.
    pub fn fingerprint(&self) -> String {
        let mut hasher = DefaultHasher::new();
        (&self.url, &self.events, self.exactly, &self.secret).hash(&mut hasher);
        self.webhooks.hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }

    /// Whether what is in the slot is ours to change: it leads to our receiver (with whatever secret),
    /// to where the user or the settings say, or to where we have set it before.
    pub fn is_ours(&self, found: &Hook, known: &Known<'_>) -> bool {
        let Some(place) = Place::parse(&found.url) else {
            return false;
        };
        let named = [known.own_url, known.setting_url]
            .into_iter()
            .flatten()
            .filter_map(Place::parse);
        place == self.place
            || named.into_iter().any(|each| each == place)
            || known
                .receiver
                .and_then(Place::parse)
                .is_some_and(|receiver| place.is_receiver(&receiver))
            || known
                .memory
                .set_url
                .as_deref()
                .and_then(Place::parse)
                .is_some_and(|set| place.same_base(&set))
    }

    /// In what it differs.
    pub fn drift(&self, found: &Hook) -> Vec<Drift> {
        let missing = !self.events.is_subset(&found.events);
        let more = self.exactly && found.events.len() > self.events.len();
        [
            (Drift::Disabled, !found.enabled),
            (
                Drift::Url,
                Place::parse(&found.url).as_ref() != Some(&self.place),
            ),
            (Drift::Events, missing || more),
            (
                Drift::Headers,
                self.webhooks.headers && !self.right_secret(found),
            ),
            (Drift::ByEvents, self.receiver && found.by_events),
            (Drift::Base64, self.receiver && found.base64),
        ]
        .into_iter()
        .filter_map(|(drift, differs)| differs.then_some(drift))
        .collect()
    }

    /// Whether our secret, or none, is sent along as it should be.
    fn right_secret(&self, found: &Hook) -> bool {
        let mut sent = found.headers.iter().filter(|(name, _)| is_secret(name));
        sent.next().map(|(_, value)| value) == self.secret.as_ref() && sent.next().is_none()
    }

    /// What is to be written over what was found. What somebody has added to the same URL is kept as
    /// far as nothing speaks against it; our secret stays with our receiver, theirs with theirs.
    pub fn setting(&self, found: Option<&Hook>) -> Hook {
        let kept = found.filter(|found| {
            Place::parse(&found.url).is_some_and(|place| {
                place == self.place || self.receiver && place.is_receiver(&self.place)
            })
        });
        let mut events = self.events.clone();
        if let Some(kept) = kept.filter(|_| !self.exactly) {
            events.extend(kept.events.iter().cloned());
        }
        let mut headers: BTreeMap<String, String> = kept
            .map(|kept| kept.headers.clone())
            .unwrap_or_default()
            .into_iter()
            .filter(|(name, _)| !is_secret(name))
            .collect();
        if let Some(secret) = &self.secret {
            headers.insert(SECRET_HEADER.to_owned(), secret.clone());
        }
        Hook {
            enabled: true,
            url: self.url.clone(),
            events,
            headers,
            by_events: !self.receiver && kept.is_some_and(|kept| kept.by_events),
            base64: !self.receiver && kept.is_some_and(|kept| kept.base64),
        }
    }
}

impl Known<'_> {
    /// Whether connection events are not asked for at the moment.
    pub(super) fn storm(&self, at: Timestamp) -> bool {
        self.storm_until.is_some_and(|until| at < until)
    }
}

fn is_secret(header: &str) -> bool {
    header.eq_ignore_ascii_case(SECRET_HEADER)
}
