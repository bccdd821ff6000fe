//! What the monitor remembers, as the database gives it back.

use std::mem::take;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::monitor::{Instance, Timestamp};

/// The memory of an instance or a gateway. None yet, and one that this version cannot read, is that
/// of one never checked: a row that somebody edited must not keep the tick from all the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory<T> {
    /// The memory.
    pub value: T,
    /// Whether there was another one, which could not be read.
    pub is_lost: bool,
}

impl Memory<Instance> {
    /// The same, where a later check found the instance just so.
    pub(super) fn settle(&mut self, settled: Option<Timestamp>) {
        if let Some(at) = settled {
            self.value = take(&mut self.value).settled(at);
        }
    }
}

impl<'de, T: Default + DeserializeOwned> Deserialize<'de> for Memory<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&RawValue>::deserialize(deserializer)?;
        Ok(match serde_json::from_str::<Option<T>>(text.get()) {
            Ok(kept) => Self {
                value: kept.unwrap_or_default(),
                is_lost: false,
            },
            Err(_) => Self {
                value: T::default(),
                is_lost: true,
            },
        })
    }
}
