//! Every reason has its words.

use whatsapp_monitor::monitor::{ConfigFault, Fault, FinalReason, GatewayFault, Reason, diagnosis};

fn all() -> Vec<Reason> {
    let own = [
        Reason::LoggedOut,
        Reason::NeverPaired,
        Reason::WaitingForScan,
        Reason::QrLimit,
        Reason::Zombie,
        Reason::MadeWorse,
        Reason::Unstable,
        Reason::Socketless,
        Reason::Booting,
    ];
    let finals = [
        FinalReason::LoggedOut,
        FinalReason::Restricted,
        FinalReason::Banned,
        FinalReason::NotAcceptable,
        FinalReason::ConnectionLost,
    ];
    let gateway = [
        GatewayFault::Refused,
        GatewayFault::NameNotFound,
        GatewayFault::Tls,
        GatewayFault::Broken,
        GatewayFault::TimedOut,
        GatewayFault::ServerError(500),
        GatewayFault::DatabaseDown,
        GatewayFault::KeyUnconfirmed,
        GatewayFault::NotJson(502),
        GatewayFault::Unintelligible(200),
        GatewayFault::TooLarge,
        GatewayFault::Untrusted,
    ];
    let config = [
        ConfigFault::WrongKey,
        ConfigFault::UnknownInstance,
        ConfigFault::UnknownRoute,
        ConfigFault::BadUrl,
        ConfigFault::PrivateAddress,
        ConfigFault::Redirected,
        ConfigFault::LicenceRequired,
    ];
    let faults = gateway
        .map(Fault::from)
        .into_iter()
        .chain(config.map(Fault::from));
    own.into_iter()
        .chain(finals.map(Reason::Final))
        .chain(faults.map(Reason::Fault))
        .collect()
}

#[test]
fn every_reason_has_its_words() {
    for reason in all() {
        assert_eq!(reason.diagnosis().code, reason.code(), "{reason:?}");
    }
    assert_eq!(diagnosis::diagnosis("no such code"), None);
}
