//! What ties an instance to WhatsApp at a moment, and what `connectionState` reads of it.

/// Why a dial never ends. The next dial of the instance is the one that hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hang {
    /// In the lookup of the web version, which has no time limit: reads `close` for ever (N9).
    Lookup,
    /// In the login: reads `connecting` for ever (I2); a restart dials anew (I3).
    Login,
}

/// In which way WhatsApp cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// Its name does not resolve: a dial fails at once, 120 to 150 a second, and the state reads
    /// steadily `close` (B2).
    Unresolvable,
    /// Each new socket is dropped: `connecting` but for some 25 ms between two dials, two a
    /// second (D2).
    Dropping,
    /// Nothing answers: each dial waits for 30 s in `connecting`, then 408 and the next (I2).
    Silent,
}

/// What an endless redial comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// WhatsApp cannot be reached.
    Unreachable(Unreachable),
    /// WhatsApp refuses the client's version (405).
    VersionRefused,
    /// Another process uses the session: each login is answered with 440 (L3).
    Replaced,
    /// Two sockets of this process replace each other (O2).
    Doubled,
}

/// Redials without end and without back-off, summarised: each round reads `close`, then
/// `connecting`, then `open`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rounds {
    /// What they come from.
    pub cause: Cause,
    /// When the first began.
    pub since_ms: i64,
    /// Length of a round, in microseconds.
    pub round_us: i64,
    /// The part of it that reads `close`.
    pub close_us: i64,
    /// The part of it that then reads `connecting`; in the rest it reads `open`.
    pub connecting_us: i64,
    /// Up to when its `connecting` events were sent.
    pub told_until_ms: i64,
}

impl Rounds {
    /// What is read at a moment.
    pub fn memory(&self, at_ms: i64) -> Memory {
        let phase = ((at_ms - self.since_ms).max(0) * 1_000) % self.round_us;
        if phase < self.close_us {
            Memory::Close
        } else if phase < self.close_us + self.connecting_us {
            Memory::Connecting
        } else {
            Memory::Open
        }
    }

    /// How many rounds began in a span, its first moment excluded.
    pub fn begun(&self, after_ms: i64, until_ms: i64) -> u64 {
        let whole = |ms: i64| (ms - self.since_ms).max(0) * 1_000 / self.round_us;
        u64::try_from(whole(until_ms) - whole(after_ms)).unwrap_or(0)
    }

    /// Whether nearly every look reads `open`, as over a good connection.
    pub fn look_open(&self) -> bool {
        10 * (self.close_us + self.connecting_us) < self.round_us
    }

    /// Whether rounds read `open` at times: then each also sends `open`.
    pub fn opens(&self) -> bool {
        self.close_us + self.connecting_us < self.round_us
    }
}

/// What ties an instance to WhatsApp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// No socket, and nothing dials.
    Cut,
    /// A dial looks up the web version (N9).
    Lookup,
    /// A dial whose lookup never ends: nothing redials any more.
    LookupHung,
    /// A socket waits for WhatsApp's answer to the login, or for its first QR.
    Login,
    /// A socket that waits for ever.
    LoginHung,
    /// A QR is on offer.
    Pairing,
    /// Logged in: the only line over which messages flow.
    Live,
    /// The socket closed while the gateway's database was away: memory stays `open` (I10, K5).
    Zombie,
    /// Endless redials.
    Rounds(Rounds),
}

/// The live state of the process, as `connectionState` reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// The key `state` is left out: the process boots, or the dial at boot hangs (N1).
    Absent,
    /// `open`.
    Open,
    /// `connecting`.
    Connecting,
    /// `close`.
    Close,
}

impl Memory {
    /// The word of the API; none where the key is left out.
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::Absent => None,
            Self::Open => Some("open"),
            Self::Connecting => Some("connecting"),
            Self::Close => Some("close"),
        }
    }
}

impl Line {
    /// What a loaded instance reads.
    pub fn memory(&self, at_ms: i64) -> Memory {
        match self {
            Self::Cut | Self::Lookup | Self::LookupHung => Memory::Close,
            Self::Login | Self::LoginHung | Self::Pairing => Memory::Connecting,
            Self::Live | Self::Zombie => Memory::Open,
            Self::Rounds(rounds) => rounds.memory(at_ms),
        }
    }

    /// How many sockets are alive.
    pub fn sockets(&self, at_ms: i64) -> u8 {
        match self {
            Self::Cut | Self::Lookup | Self::LookupHung | Self::Zombie => 0,
            Self::Login | Self::LoginHung | Self::Pairing | Self::Live => 1,
            Self::Rounds(rounds) if rounds.cause == Cause::Doubled => 2,
            Self::Rounds(rounds) => u8::from(rounds.memory(at_ms) != Memory::Close),
        }
    }

    /// Whether the gateway goes on by itself: a dial is under way.
    pub fn redials(&self) -> bool {
        matches!(self, Self::Lookup | Self::Login | Self::Rounds(_))
    }

    /// Its name, for the history.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Lookup => "lookup",
            Self::LookupHung => "lookup_hung",
            Self::Login => "login",
            Self::LoginHung => "login_hung",
            Self::Pairing => "pairing",
            Self::Live => "live",
            Self::Zombie => "zombie",
            Self::Rounds(rounds) => match rounds.cause {
                Cause::Unreachable(_) => "unreachable",
                Cause::VersionRefused => "version_refused",
                Cause::Replaced => "replaced",
                Cause::Doubled => "doubled",
            },
        }
    }
}
