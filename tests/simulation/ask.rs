//! What a tick asks the gateway, and what it makes of the answers: as `Evolution` does.

use whatsapp_monitor::gateway::evolution::answer;
use whatsapp_monitor::gateway::evolution::version::Version;
use whatsapp_monitor::monitor::{Answer, ConfigFault, Fault, GatewayFault, MemoryState, Question};
use whatsapp_monitor::web::fetch::Incoming;

use super::World;
use super::sabotage::Sabotage;
use crate::model::{Failure, Request};

/// An instance name that nobody has.
const NO_SUCH_INSTANCE: &str = "whatsapp-monitor-no-such-instance";

/// A request and its answer, within the time that a request may take.
pub fn exchange(
    world: &mut World,
    at_ms: i64,
    request: &Request,
) -> (Result<Incoming, Fault>, i64) {
    let limit_ms = i64::from(world.settings.request_timeout_ms);
    let (seen, takes_ms) = world.gateway.request(at_ms, request).within(limit_ms);
    let incoming = seen
        .map(|(status, body)| Incoming { status, body })
        .map_err(|failure| {
            match failure {
                Failure::Refused => GatewayFault::Refused,
                Failure::Broken => GatewayFault::Broken,
                Failure::TimedOut => GatewayFault::TimedOut,
            }
            .into()
        });
    (incoming, takes_ms)
}

/// The answer to a question of the monitor, and how long it takes.
pub fn ask(world: &mut World, at_ms: i64, question: Question, name: &str) -> (Answer, i64) {
    let key = world.key.clone();
    let (mut answer, takes_ms) = match question {
        Question::State | Question::StateAgain => {
            let (state, takes_ms) = state(world, at_ms, name);
            (Answer::State(state), takes_ms)
        }
        Question::Row => {
            let (incoming, takes_ms) = exchange(world, at_ms, &Request::row(name, &key));
            let row = incoming.and_then(|incoming| answer::row(&incoming, name));
            (Answer::Row(row.unwrap_or_default()), takes_ms)
        }
        Question::AlwaysOnline => {
            let path = format!("/settings/find/{name}");
            let (incoming, takes_ms) = exchange(world, at_ms, &Request::new("GET", &path, &key));
            let always = incoming
                .ok()
                .and_then(|incoming| answer::always_online(&incoming));
            (Answer::AlwaysOnline(always), takes_ms)
        }
        Question::Socket => {
            let presence = match world.sabotage {
                Some(Sabotage::ShowOnline) => "available",
                _ => "unavailable",
            };
            let request = Request::set_presence(name, &key, presence);
            let (incoming, takes_ms) = exchange(world, at_ms, &request);
            let socket = incoming.ok().and_then(|incoming| answer::socket(&incoming));
            (Answer::Socket(socket), takes_ms)
        }
    };
    if let Some(sabotage) = world.sabotage {
        sabotage.of_answer(&mut answer);
    }
    (answer, takes_ms)
}

/// The live state; a 401 is confirmed, as `Evolution` does.
fn state(world: &mut World, at_ms: i64, name: &str) -> (Result<MemoryState, Fault>, i64) {
    let key = world.key.clone();
    let asked = |world: &mut World, at_ms, name: &str| {
        let (incoming, takes_ms) = exchange(world, at_ms, &Request::connection_state(name, &key));
        let state = incoming.and_then(|incoming| answer::connection_state(&incoming));
        (state, takes_ms)
    };
    let (state, takes_ms) = asked(world, at_ms, name);
    if state != Err(Fault::Config(ConfigFault::WrongKey)) {
        return (state, takes_ms);
    }
    let (again, more_ms) = asked(world, at_ms + takes_ms, NO_SUCH_INSTANCE);
    let fault = match again {
        Err(Fault::Gateway(GatewayFault::ServerError(_))) => GatewayFault::DatabaseDown.into(),
        Err(Fault::Gateway(_)) => GatewayFault::KeyUnconfirmed.into(),
        _ => ConfigFault::WrongKey.into(),
    };
    (Err(fault), takes_ms + more_ms)
}

/// What the version says, where it is known.
pub fn capabilities(version: Option<&str>) -> whatsapp_monitor::monitor::Capabilities {
    version
        .and_then(Version::parse)
        .map(|version| version.capabilities())
        .unwrap_or_default()
}
