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
    /// Panics on demand; only where the environment says so.
    Drill,
}

impl Resource {
    /// Whether it accepts this verb.
    pub const fn allows(self, method: Method) -> bool {
        match self {
            Self::Start => true,
            Self::Status => matches!(method, Method::Get | Method::Head),
            Self::Drill => matches!(method, Method::Post),
        }
    }

    /// The verbs it accepts, as the header `Allow` lists them.
    pub const fn allowed(self) -> &'static str {
        match self {
            Self::Start => "POST, GET, HEAD, OPTIONS",
            Self::Status => "GET, HEAD, OPTIONS",
            Self::Drill => "POST, OPTIONS",
        }
    }

    /// Its path, without anything before it.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Start => "/whatsapp/monitor/start",
            Self::Status => "/whatsapp/monitor/status",
            Self::Drill => "/whatsapp/monitor/drill",
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

/// What a path names. Before the resource there may be `/functions/v1`, the function's slug
/// (whatever it was deployed as), and after the slug the legacy segment.
pub fn resource(path: &str, drill: bool) -> Option<Resource> {
    let path = path.strip_prefix("/functions/v1").unwrap_or(path);
    let own = |path: &str| {
        [Resource::Start, Resource::Status, Resource::Drill]
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
