//! What a webhook should be, and what is done about what is found, case by case. When, and in the
//! words of which version, is in `webhooks/`.

#![allow(clippy::expect_used, reason = "a test may fail")]

mod answers;
mod webhooks;

use whatsapp_monitor::monitor::Verdict;
use whatsapp_monitor::monitor::webhook::{Drift, Finding, Hook, Occasion, Policy, SECRET_HEADER};

use webhooks::{OURS, SECRET, SOMEBODYS, THEIRS, WANTED, World, hook, ours, texts, wiped};

const CONNECTION_UPDATE: &str = "CONNECTION_UPDATE";

#[test]
fn an_empty_slot_is_filled_and_seen_to_be_right() {
    let off = Hook {
        enabled: false,
        ..wiped()
    };
    for (slot, finding, occasion) in [
        (None, Finding::Empty, Occasion::Empty),
        (Some(off), Finding::Empty, Occasion::Empty),
        (Some(wiped()), Finding::Wiped, Occasion::Wiped),
    ] {
        let mut world = World {
            slot,
            ..World::new()
        };
        assert_eq!(world.look(), (finding, Some(occasion)));
        assert_eq!(world.hook(), &ours());
        assert!(!world.memory.tells_of_dials, "not before it was seen");
        assert!(world.is_due(), "to see what became of it");
        assert_eq!(world.look(), (Finding::Right, None));
        assert_eq!(world.verdicts(), [Some(Verdict::Worked)]);
        assert!(world.memory.tells_of_dials);
        assert!(!world.is_due());
    }
}

#[test]
fn whatever_drifted_is_told_and_repaired() {
    type Change = fn(&mut Hook);
    let drifts: [(Change, &[Drift]); 10] = [
        (|it| it.enabled = false, &[Drift::Disabled]),
        (|it| it.by_events = true, &[Drift::ByEvents]),
        (|it| it.base64 = true, &[Drift::Base64]),
        (|it| it.url.push_str("?secret=old"), &[Drift::Url]),
        (|it| it.events.clear(), &[Drift::Events]),
        (
            |it| {
                it.events.insert("CALL".to_owned());
            },
            &[Drift::Events],
        ),
        (
            |it| {
                it.events.remove("QRCODE_UPDATED");
                it.events.insert("CALL".to_owned());
            },
            &[Drift::Events],
        ),
        (|it| it.headers.clear(), &[Drift::Headers]),
        (
            |it| {
                it.headers
                    .insert(SECRET_HEADER.to_owned(), "old".to_owned());
            },
            &[Drift::Headers],
        ),
        (
            |it| {
                // Turned off by hand (A31).
                it.enabled = false;
                it.events.clear();
                it.headers
                    .insert("X-Monitor-Webhook-Secret".to_owned(), "2".to_owned());
            },
            &[Drift::Disabled, Drift::Events, Drift::Headers],
        ),
    ];
    for (change, drift) in drifts {
        let mut slot = ours();
        change(&mut slot);
        let mut world = World::with(slot);
        let seen = (Finding::Drifted, Some(Occasion::Drifted));
        assert_eq!(world.look(), seen, "{drift:?}");
        assert_eq!(world.memory.drift, drift);
        assert_eq!(world.hook(), &ours(), "{drift:?}");
        assert_eq!(world.look(), (Finding::Right, None), "{drift:?}");
        assert_eq!(world.memory.drift, []);
    }
}

#[test]
fn headers_that_somebody_added_to_ours_are_kept() {
    let mut slot = ours();
    slot.headers
        .insert("jwt_key".to_owned(), "theirs".to_owned());
    let mut world = World::with(slot.clone());
    assert_eq!(world.look(), (Finding::Right, None));
    slot.enabled = false;
    world.slot = Some(slot);
    world.look();
    assert_eq!(world.hook().headers.len(), 2);
    assert_eq!(world.hook().headers["jwt_key"], "theirs");
}

#[test]
fn what_is_done_follows_from_the_policy_and_what_is_there() {
    let off = Hook {
        enabled: false,
        ..ours()
    };
    let slots = [
        (None, Finding::Empty, Occasion::Empty),
        (Some(wiped()), Finding::Wiped, Occasion::Wiped),
        (Some(off), Finding::Drifted, Occasion::Drifted),
        (Some(hook(SOMEBODYS)), Finding::Foreign, Occasion::Foreign),
        // Who set this meant something by it.
        (Some(hook("not-a-url")), Finding::Foreign, Occasion::Foreign),
    ];
    for (slot, finding, occasion) in slots {
        for policy in [
            Policy::Manage,
            Policy::TakeOver,
            Policy::Verify,
            Policy::Off,
        ] {
            let acts = match policy {
                Policy::Manage => finding != Finding::Foreign,
                Policy::TakeOver => true,
                Policy::Verify | Policy::Off => false,
            };
            let mut world = World {
                policy,
                slot: slot.clone(),
                ..World::new()
            };
            assert_eq!(world.is_due(), policy != Policy::Off);
            let seen = (finding, acts.then_some(occasion));
            assert_eq!(world.look(), seen, "{policy:?} {slot:?}");
            let expected = if acts { Some(ours()) } else { slot.clone() };
            assert_eq!(world.slot, expected, "{policy:?}");
        }
    }
}

#[test]
fn somebody_elses_url_is_shown_without_what_may_be_secret() {
    let mut slot = hook("https://user:word@Somebody.example:443/hook/?key=k#f");
    slot.headers
        .insert("authorization".to_owned(), "k".to_owned());
    let mut world = World::with(slot);
    let told = world.conclude();
    assert_eq!(told.found_url.as_deref(), Some(SOMEBODYS));
    assert_eq!(told.memory.finding, Some(Finding::Foreign));
    world.policy = Policy::TakeOver;
    world.look();
    assert_eq!(world.hook(), &ours(), "nothing of theirs comes along");
}

#[test]
fn another_spelling_of_our_url_is_ours_and_right() {
    for url in [
        "https://loja.supabase.co/functions/v1/rendizy-server/whatsapp/webhook/",
        "https://loja.supabase.co:443/functions/v1/rendizy-server/whatsapp/webhook",
        "HTTPS://LOJA.Supabase.Co/functions/v1/rendizy-server/whatsapp/webhook",
        " https://loja.supabase.co/functions/v1/rendizy-server/whatsapp/webhook#x",
    ] {
        let mut world = World::with(Hook {
            url: url.to_owned(),
            ..ours()
        });
        assert_eq!(world.look(), (Finding::Right, None), "{url}");
    }
}

#[test]
fn our_receiver_by_another_road_is_ours_and_set_straight() {
    for url in [
        "https://loja.supabase.co/functions/v1/rendizy-server/make-server-67caf26a/whatsapp/webhook",
        "https://loja.supabase.co/functions/v1/rendizy-server/whatsapp/webhook/?secret=old",
        "https://user@loja.supabase.co/functions/v1/rendizy-server/whatsapp/webhook",
    ] {
        let mut world = World::with(Hook {
            url: url.to_owned(),
            ..ours()
        });
        let seen = (Finding::Drifted, Some(Occasion::Drifted));
        assert_eq!(world.look(), seen, "{url}");
        assert_eq!(world.memory.drift, [Drift::Url], "{url}");
        assert_eq!(world.hook(), &ours());
    }
}

#[test]
fn a_url_that_only_resembles_ours_is_somebody_elses() {
    for url in [
        "http://loja.supabase.co/functions/v1/rendizy-server/whatsapp/webhook",
        "https://loja.supabase.co:8443/functions/v1/rendizy-server/whatsapp/webhook",
        "https://loja.supabase.co/functions/v1/rendizy-server/whatsapp/webhook/x",
        "https://loja.supabase.co/functions/v1/rendizy-server/whatsapp/Webhook",
        "https://loja.supabase.co/functions/v1/rendizy-server/whatsapp",
        "https://other.supabase.co/functions/v1/rendizy-server/whatsapp/webhook",
        "https://loja.supabase.co@evil.example/functions/v1/rendizy-server/whatsapp/webhook",
        "https://evil.example/?https://loja.supabase.co/functions/v1/rendizy-server/whatsapp/webhook",
    ] {
        let mut world = World::with(Hook {
            url: url.to_owned(),
            ..ours()
        });
        assert_eq!(world.look(), (Finding::Foreign, None), "{url}");
    }
}

#[test]
fn the_users_own_url_and_events_win_and_get_no_secret() {
    let events = [
        "GROUPS_UPDATE",
        "messages.upsert",
        " Connection-Update ",
        "NEW_JWT_TOKEN",
        "x",
    ];
    let mut world = World {
        own_url: Some(format!(" {THEIRS} ")),
        own_events: events.map(str::to_owned).to_vec(),
        setting_url: Some(SOMEBODYS.to_owned()),
        ..World::with(ours())
    };
    let seen = (Finding::Drifted, Some(Occasion::Drifted));
    assert_eq!(world.look(), seen, "what we set before is ours to change");
    let expected = Hook {
        events: texts(&["GROUP_UPDATE", "MESSAGES_UPSERT", CONNECTION_UPDATE]),
        ..hook(THEIRS)
    };
    assert_eq!(world.hook(), &expected);
    assert_eq!(world.look(), (Finding::Right, None));
    assert!(!world.memory.tells_of_dials, "not to our receiver");
    assert_eq!(
        world.memory.set_url.as_deref(),
        Some("https://n8n.example/webhook/abc")
    );
}

#[test]
fn at_the_users_own_url_nothing_of_theirs_is_lost() {
    let theirs = Hook {
        headers: [("authorization", "k"), (SECRET_HEADER, SECRET)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        events: texts(&["CALL", CONNECTION_UPDATE]),
        by_events: true,
        base64: true,
        ..hook(THEIRS)
    };
    let mut world = World {
        own_url: Some(THEIRS.to_owned()),
        own_events: vec!["unknown".to_owned()],
        ..World::with(theirs.clone())
    };
    world.look();
    assert_eq!(world.memory.drift, [Drift::Events, Drift::Headers]);
    let mut expected = theirs;
    expected.headers.remove(SECRET_HEADER);
    expected.events.extend(texts(&WANTED));
    assert_eq!(world.hook(), &expected, "but for our secret");
    assert_eq!(
        world.look(),
        (Finding::Right, None),
        "more events are no harm"
    );
}

#[test]
fn an_own_url_that_is_our_receiver_or_none_at_all_changes_nothing() {
    for own_url in [OURS, "", "n8n.example/webhook", "ftp://n8n.example/webhook"] {
        let mut world = World {
            own_url: Some(own_url.to_owned()),
            own_events: vec!["CALL".to_owned()],
            ..World::new()
        };
        world.look();
        assert_eq!(world.hook(), &ours(), "{own_url}");
    }
}

#[test]
fn what_was_set_for_the_settings_is_ours_when_they_change() {
    let mut world = World {
        setting_url: Some(THEIRS.to_owned()),
        own_events: vec!["CALL".to_owned()],
        ..World::new()
    };
    world.look();
    assert_eq!(
        world.hook(),
        &hook(THEIRS),
        "whose events are not those of the tables"
    );
    assert_eq!(world.look(), (Finding::Right, None));
    world.wait_s(300);
    world.setting_url = None;
    assert!(world.is_due());
    assert_eq!(world.look(), (Finding::Drifted, Some(Occasion::Changed)));
    assert_eq!(world.hook(), &ours());
    world.wait_s(300);
    world.slot = Some(hook(THEIRS));
    assert_eq!(
        world.look(),
        (Finding::Foreign, None),
        "by now it is somebody else's"
    );
}
