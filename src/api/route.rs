//! Paths and verbs.

/// A verb that some resource accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads, or triggers where the caller can do no better.
    Get,
    /// As GET, and the answer has no body.
    Head,
    /// Triggers.
    Post,
}

impl Method {
    /// The verb of this name, in the spelling of HTTP.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "GET" => Some(Self::Get),
            "HEAD" => Some(Self::Head),
            "POST" => Some(Self::Post),
            _ => None,
        }
    }
}

/// Something that a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Runs ticks.
    Start,
    /// How every instance is.
    Status,
    /// Whether ticks arrive.
    Health,
    /// How one organization is, for its frontend.
    Poll,
    /// The same, as its chat asks for it.
    ChannelPoll,
    /// The same, where the chat has always asked for it.
    ChatPoll,
    /// Panics on demand; only where the environment says so.
    Drill,
    /// Takes events from gateways.
    Webhook,
}

impl Resource {
    /// All of them.
    const ALL: [Self; 8] = [
        Self::Start,
        Self::Status,
        Self::Health,
        Self::Poll,
        Self::ChannelPoll,
        Self::ChatPoll,
        Self::Drill,
        Self::Webhook,
    ];

    /// Whether it accepts this verb.
    pub const fn allows(self, method: Method) -> bool {
        match self {
            Self::Start => true,
            Self::Status | Self::Health | Self::Poll => {
                matches!(method, Method::Get | Method::Head)
            }
            Self::ChannelPoll | Self::ChatPoll | Self::Drill | Self::Webhook => {
                matches!(method, Method::Post)
            }
        }
    }

    /// The verbs it accepts, as the header `Allow` lists them.
    pub const fn allowed(self) -> &'static str {
        match self {
            Self::Start => "POST, GET, HEAD, OPTIONS",
            Self::Status | Self::Health | Self::Poll => "GET, HEAD, OPTIONS",
            Self::ChannelPoll | Self::ChatPoll | Self::Drill | Self::Webhook => "POST, OPTIONS",
        }
    }

    /// Its path, without anything before it.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Start => "/whatsapp/monitor/start",
            Self::Status => "/whatsapp/monitor/status",
            Self::Health => "/whatsapp/monitor/health",
            Self::Poll => "/whatsapp/status",
            Self::ChannelPoll => "/channels/whatsapp/status",
            Self::ChatPoll => "/chat/channels/whatsapp/status",
            Self::Drill => "/whatsapp/monitor/drill",
            Self::Webhook => "/whatsapp/webhook",
        }
    }

    /// Whether one of these patterns names it: its path, or the beginning of it and `/*`.
    pub fn is_among(self, patterns: &[String]) -> bool {
        patterns
            .iter()
            .any(|pattern| match pattern.strip_suffix("/*") {
                Some(folder) => self
                    .path()
                    .strip_prefix(folder)
                    .is_some_and(|rest| rest.starts_with('/')),
                None => self.path() == pattern,
            })
    }
}

/// The path segment that the system this replaces has after its slug.
const LEGACY_SEGMENT: &str = "make-server-67caf26a";

/// What stands before the slug where the project's gateway is asked.
const FUNCTIONS: &str = "/functions/v1";

/// Where the project's gateway has what a path names, the slug included; `None` where the path does
/// not tell the slug.
pub fn public(path: &str) -> Option<String> {
    let path = path.strip_prefix(FUNCTIONS).unwrap_or(path);
    let (slug, rest) = path.strip_prefix('/')?.split_once('/')?;
    let told = !slug.is_empty()
        && slug != LEGACY_SEGMENT
        && Resource::ALL
            .into_iter()
            .any(|resource| format!("/{rest}").ends_with(resource.path()));
    told.then(|| format!("{FUNCTIONS}{path}"))
}

/// The words below the webhook's path that are routes of the system that this one replaces.
const LEGACY_WORDS: [&str; 3] = ["setup", "status", "events"];

/// The event that the path of the webhook names behind it, where the gateway was told to put it there.
pub fn event(path: &str) -> Option<&str> {
    let (before, name) = path.rsplit_once('/')?;
    let named = before.ends_with(Resource::Webhook.path())
        && !name.is_empty()
        && !LEGACY_WORDS.contains(&name);
    named.then_some(name)
}

/// What a path names. Before the resource there may be `/functions/v1`, the function's slug
/// (whatever it was deployed as), and after the slug the legacy segment.
pub fn resource(path: &str, drill: bool) -> Option<Resource> {
    let path = path.strip_prefix(FUNCTIONS).unwrap_or(path);
    let path = match event(path) {
        Some(name) => &path[..path.len() - name.len() - 1],
        None => path,
    };
    let own = |path: &str| {
        Resource::ALL
            .into_iter()
            .filter(|resource| drill || *resource != Resource::Drill)
            .find(|resource| resource.path() == path)
    };
    own(path).or_else(|| {
        let (_slug, rest) = path.strip_prefix('/')?.split_once('/')?;
        let rest = rest
            .strip_prefix(LEGACY_SEGMENT)
            .and_then(|rest| rest.strip_prefix('/'))
            .unwrap_or(rest);
        own(&format!("/{rest}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_path_is_accepted() {
        for path in [
            "/whatsapp/monitor/start",
            "/rendizy-server/whatsapp/monitor/start",
            "/functions/v1/rendizy-server/whatsapp/monitor/start",
            "/rendizy-server/make-server-67caf26a/whatsapp/monitor/start",
            "/functions/v1/rendizy-server/make-server-67caf26a/whatsapp/monitor/start",
            "/another-slug/whatsapp/monitor/start",
        ] {
            assert_eq!(resource(path, false), Some(Resource::Start), "{path}");
        }
    }

    #[test]
    fn the_chats_two_paths_are_told_apart_wherever_they_stand() {
        for prefix in [
            "",
            "/rendizy-server",
            "/rendizy-server/make-server-67caf26a",
        ] {
            for expected in [Resource::ChannelPoll, Resource::ChatPoll, Resource::Poll] {
                let path = format!("{prefix}{}", expected.path());
                assert_eq!(resource(&path, false), Some(expected), "{path}");
            }
        }
        assert_eq!(
            resource("/rendizy-server/chat/whatsapp/status", false),
            None
        );
    }

    #[test]
    fn the_webhook_may_name_its_event() {
        for (path, named) in [
            ("/rendizy-server/whatsapp/webhook", None),
            (
                "/whatsapp/webhook/connection-update",
                Some("connection-update"),
            ),
            (
                "/functions/v1/s/make-server-67caf26a/whatsapp/webhook/call",
                Some("call"),
            ),
        ] {
            assert_eq!(resource(path, false), Some(Resource::Webhook), "{path}");
            assert_eq!(event(path), named, "{path}");
        }
        for path in [
            "/whatsapp/webhook/",
            "/whatsapp/webhook/setup",
            "/s/whatsapp/webhook/status",
            "/s/whatsapp/webhook/a/b",
            "/a/b/whatsapp/webhook/call",
            "/whatsapp/monitor/start/call",
        ] {
            assert_eq!(resource(path, false), None, "{path}");
        }
    }

    #[test]
    fn nothing_else_is() {
        for path in [
            "/",
            "",
            "/whatsapp/monitor",
            "/whatsapp/monitor/start/",
            "/whatsapp/monitor/starter",
            "/a/b/whatsapp/monitor/start",
            "//whatsapp/monitor/start/x",
            "/rendizy-server",
            "/make-server-67caf26a",
        ] {
            assert_eq!(resource(path, false), None, "{path}");
        }
    }

    #[test]
    fn the_public_path_is_the_one_that_was_taken() {
        let public_start = Some("/functions/v1/rendizy-server/whatsapp/monitor/start".to_owned());
        for path in [
            "/rendizy-server/whatsapp/monitor/start",
            "/functions/v1/rendizy-server/whatsapp/monitor/start",
        ] {
            assert_eq!(public(path), public_start, "{path}");
        }
        assert_eq!(
            public("/a-slug/make-server-67caf26a/whatsapp/monitor/start").as_deref(),
            Some("/functions/v1/a-slug/make-server-67caf26a/whatsapp/monitor/start")
        );
        for path in [
            "/whatsapp/monitor/start",
            "/functions/v1/whatsapp/monitor/start",
            "/make-server-67caf26a/whatsapp/monitor/start",
            "//whatsapp/monitor/start",
        ] {
            assert_eq!(public(path), None, "{path}");
        }
    }

    #[test]
    fn a_mount_takes_what_its_patterns_name() {
        for (patterns, expected) in [
            (&["/whatsapp/monitor/*"][..], true),
            (&["/*"], true),
            (&["/whatsapp/monitor/start"], true),
            (&["/nothing", "/whatsapp/monitor/start"], true),
            (&[], false),
            (&["/whatsapp/monitor"], false),
            (&["/whatsapp/mon/*"], false),
            (&["/whatsapp/monitor/start/*"], false),
            (&["/whatsapp/monitor/status"], false),
        ] {
            let patterns: Vec<String> = patterns.iter().map(|&text| text.to_owned()).collect();
            assert_eq!(
                Resource::Start.is_among(&patterns),
                expected,
                "{patterns:?}"
            );
        }
    }

    #[test]
    fn the_drill_exists_only_where_it_is_switched_on() {
        let path = "/rendizy-server/whatsapp/monitor/drill";
        assert_eq!(resource(path, false), None);
        assert_eq!(resource(path, true), Some(Resource::Drill));
    }
}
