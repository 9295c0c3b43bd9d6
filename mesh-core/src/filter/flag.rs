use std::fmt;

/// Why a response is not simply what the service said. Envoy's response flags, by the same names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Flag {
    /// `UH`: the cluster has no healthy endpoint.
    NoHealthyUpstream,
    /// `UF`: no connection to the endpoint came about.
    UpstreamConnectionFailure,
    /// `UO`: a limit of the cluster was reached.
    UpstreamOverflow,
    /// `UC`: the endpoint ended the connection.
    UpstreamConnectionTermination,
    /// `UR`: the endpoint reset the stream.
    UpstreamRemoteReset,
    /// `LR`: we reset the stream to the endpoint.
    LocalReset,
    /// `UT`: the endpoint took too long.
    UpstreamRequestTimeout,
    /// `URX`: tried as often as allowed.
    UpstreamRetryLimitExceeded,
    /// `UPE`: the endpoint spoke no HTTP.
    UpstreamProtocolError,
    /// `UMSDR`: the stream lived as long as it may.
    UpstreamMaxStreamDurationReached,
    /// `NR`: no route.
    NoRoute,
    /// `NC`: the route's cluster is not known.
    NoCluster,
    /// `DC`: the client ended the connection.
    DownstreamConnectionTermination,
    /// `DR`: the client reset the stream.
    DownstreamRemoteReset,
    /// `DPE`: the client spoke no proper HTTP.
    DownstreamProtocolError,
    /// `SI`: nothing moved for too long.
    StreamIdleTimeout,
    /// `DT`: the request lasted longer than it may.
    DurationTimeout,
    /// `DO`: dropped on purpose.
    DropOverload,
    /// `DI`: delayed on purpose.
    DelayInjected,
    /// `FI`: failed on purpose.
    FaultInjected,
    /// `RL`: refused by a rate limit.
    RateLimited,
    /// `RLSE`: the rate limit service failed.
    RateLimitServiceError,
    /// `UAEX`: refused by an external authorizer.
    UnauthorizedExternal,
    /// `RFCF`: filters could not be configured.
    NoFilterConfig,
}

/// Every flag, in the order in which they are printed.
const ALL: [(Flag, &str); 24] = [
    (Flag::NoHealthyUpstream, "UH"),
    (Flag::UpstreamConnectionFailure, "UF"),
    (Flag::UpstreamOverflow, "UO"),
    (Flag::UpstreamConnectionTermination, "UC"),
    (Flag::UpstreamRemoteReset, "UR"),
    (Flag::LocalReset, "LR"),
    (Flag::UpstreamRequestTimeout, "UT"),
    (Flag::UpstreamRetryLimitExceeded, "URX"),
    (Flag::UpstreamProtocolError, "UPE"),
    (Flag::UpstreamMaxStreamDurationReached, "UMSDR"),
    (Flag::NoRoute, "NR"),
    (Flag::NoCluster, "NC"),
    (Flag::DownstreamConnectionTermination, "DC"),
    (Flag::DownstreamRemoteReset, "DR"),
    (Flag::DownstreamProtocolError, "DPE"),
    (Flag::StreamIdleTimeout, "SI"),
    (Flag::DurationTimeout, "DT"),
    (Flag::DropOverload, "DO"),
    (Flag::DelayInjected, "DI"),
    (Flag::FaultInjected, "FI"),
    (Flag::RateLimited, "RL"),
    (Flag::RateLimitServiceError, "RLSE"),
    (Flag::UnauthorizedExternal, "UAEX"),
    (Flag::NoFilterConfig, "RFCF"),
];

/// A set of flags. Prints as Envoy's access log does: `-` when empty, else the names with commas.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags(u32);

impl Flags {
    /// Adds a flag.
    pub fn insert(&mut self, flag: Flag) {
        self.0 |= 1 << flag as u32;
    }

    /// Takes a flag away. Gives whether it was in the set.
    pub fn remove(&mut self, flag: Flag) -> bool {
        let known = self.contains(flag);
        self.0 &= !(1 << flag as u32);
        known
    }

    /// Whether a flag is in the set.
    #[must_use]
    pub fn contains(self, flag: Flag) -> bool {
        self.0 & (1 << flag as u32) != 0
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("-");
        }
        let set = ALL.iter().filter(|(flag, _)| self.contains(*flag));
        set.enumerate().try_for_each(|(at, (_, name))| write!(f, "{}{name}", if at == 0 { "" } else { "," }))
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({self})")
    }
}
