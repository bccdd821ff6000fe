//! What the web platform gives, one concept a file, named as the web names it.

pub mod abort;
pub mod body;
pub mod console;
pub mod crypto;
pub mod fetch;
pub mod json;
pub mod performance;
