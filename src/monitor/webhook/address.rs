//! URLs of webhooks: compared, whatever their spelling, and shown without what may be secret.

/// The path segment that the system this replaces has after its slug: the same receiver with it and
/// without.
const LEGACY_SEGMENT: &str = "/make-server-67caf26a/";

/// Characters of a URL that are shown.
const MAX_SHOWN_CHARS: usize = 500;

/// An `http` or `https` URL in one spelling: scheme and host in lower case, no default port, no slash
/// at the end of the path, no fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// A user and password, with the `@`; mostly empty.
    user: String,
    /// Scheme, host, port and path.
    base: String,
    /// What follows the `?`.
    query: String,
}

impl Place {
    /// Takes a URL; `None` where it is none that a gateway would call.
    pub fn parse(url: &str) -> Option<Self> {
        let url = url.trim();
        if url.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return None;
        }
        let (scheme, rest) = url.split('#').next()?.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let port = match &*scheme {
            "http" => ":80",
            "https" => ":443",
            _ => return None,
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user, host) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        let host = host.to_lowercase();
        let host = host.strip_suffix(port).unwrap_or(&host);
        (!host.is_empty()).then(|| Self {
            user: user.to_owned(),
            base: format!("{scheme}://{host}{}", path.trim_end_matches('/')),
            query: query.to_owned(),
        })
    }

    /// The URL without user and query, which may hold secrets; of a length fit to be stored.
    pub fn shown(&self) -> String {
        self.base.chars().take(MAX_SHOWN_CHARS).collect()
    }

    /// Whether both are the same receiver of ours, whatever stands in the query.
    pub fn is_receiver(&self, receiver: &Self) -> bool {
        let plain = |place: &Self| place.base.replacen(LEGACY_SEGMENT, "/", 1);
        plain(self) == plain(receiver)
    }

    /// Whether both are the same but for the query and the user.
    pub fn same_base(&self, other: &Self) -> bool {
        self.base == other.base
    }
}
