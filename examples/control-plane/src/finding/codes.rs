//! What kinds of findings there are.

use std::fmt;

use serde::Serialize;

/// Kind of a finding: a name that stays the same, for those who sort, count and silence findings. The numbers below 1000
/// are those of Istio's analysis messages, where they mean the same (`MESH0106` is `IST0106`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Code(pub &'static str);

macro_rules! codes {
    ($($name:ident $code:literal $means:literal;)*) => {
        impl Code {
            $(#[doc = concat!($means, ".")] pub const $name: Self = Self($code);)*

            /// All codes, each with what it means.
            pub const ALL: &[(Self, &str)] = &[$((Self::$name, $means),)*];
        }
    };
}

codes! {
    NOT_FOUND "MESH0101" "Something is referred to that is not there";
    INVALID "MESH0106" "What was read is not what its kind demands; it is not used";
    ANNOTATION "MESH0125" "An annotation has a value that it may not have";
    NO_EFFECT "MESH0133" "Something in it has no effect, or another one than was meant";
    UNREADABLE "MESH1101" "A document is no YAML, or more than may be read; what it holds is not known";
    NO_OBJECT "MESH1102" "A document is no object: `apiVersion`, `kind` or the name is missing";
    UNKNOWN_FIELD "MESH1103" "A field is not known; it has no effect";
    UNKNOWN_KIND "MESH1104" "A kind is not known; it has no effect";
    UNKNOWN_VERSION "MESH1105" "A version of a known kind is not known";
    WITHOUT_EFFECT "MESH1106" "A kind is known and has no effect here";
    NOT_ENFORCED "MESH1107" "An object that is meant to protect, or to change traffic, is of a kind that has no effect here";
    DUPLICATE "MESH1108" "Two objects have one kind and name; the first counts";
    VIRTUAL_SERVICES_CONFLICT "MESH0109" "Two VirtualServices say of one host where its requests go; one of them has no effect";
    PORT_NAME "MESH0118" "A port's name does not say what is spoken on it, and nothing else does";
    NOTHING_SELECTED "MESH0127" "A selector selects no workload";
    UNREACHABLE_RULE "MESH0130" "A rule is never reached: one before it takes all that it matches";
    ADDRESSES_REQUIRED "MESH0134" "A ServiceEntry without addresses is told from others by nothing but its port";
    PORT_NEEDED "MESH0112" "A destination has several ports, and it is not said which is meant";
    LISTENER_CREDENTIAL "MESH0161" "A listener has a certificate that is not there";
    LISTENER_PORT "MESH0162" "A listener has a port that the Service of its Gateway does not have";
    SELECTOR_INEFFECTIVE "MESH0166" "A policy selects the pods of a Gateway by labels, which has no effect on what they forward";
    SUBSET_SELECTS_NOTHING "MESH0173" "A subset of a DestinationRule selects no endpoint of its host";
    UNKNOWN_RULE_HOST "MESH0174" "The host of a DestinationRule is no service";
    KEYS_FROM_AFAR "MESH0175" "The keys of tokens are fetched without the protection of TLS, or from nowhere";
    PROTOCOLS_CONFLICT "MESH0177" "Two ServiceEntries say of one host and port that different things are spoken";
    POLICY_DENIES "MESH1001" "An admission policy denies an object";
    POLICY_WARNS "MESH1002" "An admission policy warns of an object";
    POLICY_FAULTY "MESH1003" "An admission policy cannot be read, or cannot judge an object, which refuses it";
    WAYPOINT_NOT_READY "MESH1010" "A waypoint that is referred to has no instance that is ready: what is bound to it is refused";
    WAYPOINT_NOT_ALLOWED "MESH1011" "An allow list of workloads omits the waypoint through which their traffic comes";
    SHADOWED_POLICY "MESH1013" "What a policy allows, another one denies altogether";
    NO_ENDPOINTS "MESH1014" "A service has no endpoint";
    SHARED_ADDRESS "MESH1015" "Two services have one address";
    UNKNOWN_TRUST_DOMAIN "MESH1016" "A policy names a trust domain that nobody here has";
    STRICT_OUTSIDE_MESH "MESH1017" "Plaintext is to be refused at workloads that are outside the mesh, where nobody refuses it";
    NETWORK_MISSING "MESH1018" "Some say on which network they are, and others do not";
    ROUTES_CONFLICT "MESH1020" "Two routes match the same; the older one takes it";
    TELEMETRY_IGNORED "MESH1170" "What a Telemetry asks for is not done here";
    NO_AUTOMATIC_ADDRESS "MESH1171" "A host without an address gets no automatic one";
    GLOBAL_LABEL "MESH1172" "A service that is labelled for all networks is not, by the settings of the mesh";
    SEVERAL_CONTROLLERS "MESH1022" "Several control planes say what holds in one mesh";
    NO_SUCH_PORT "MESH1060" "A port is referred to that is not there";
    NO_WAYPOINT "MESH1061" "Something is for a waypoint, and what it is about has none: it has no effect";
    NOT_A_PARENT "MESH1062" "A route is attached to a kind of objects whose routes have no effect here";
    NOT_A_BACKEND "MESH1063" "Requests are sent to what can be no backend";
    WAYPOINT_LABEL "MESH1064" "A label that binds to a waypoint has another effect than was meant";
    NO_ADDRESS "MESH1065" "A waypoint has no address, and no Service of its name";
    SHARED_AT_WAYPOINT "MESH1066" "Two hosts have one address and port: their waypoint cannot tell them apart";
    ROUTES_MIXED "MESH1067" "A VirtualService and routes of the Gateway API are for one service; those of the latter count";
    OTHER_NAMESPACE "MESH1068" "A VirtualService is for a service of another namespace, whose waypoint does not look there";
    NO_DECISION "MESH1069" "An extension provider is to decide that decides nothing";
    L7_WITHOUT_WAYPOINT "MESH1070" "A rule looks at requests, and its policy is for no waypoint: the rule has no effect";
    CLASS_NOT_SERVED "MESH1071" "A Gateway is of a class that is not served here";
    GATEWAY_UNREACHABLE "MESH1072" "A Gateway has no address, or no pod that is ready: nobody answers for it";
    LISTENERS_CONFLICT "MESH1073" "Two listeners of one Gateway cannot have one port together";
    WITHOUT_ROUTES "MESH1074" "No route is attached to a Gateway: whatever is asked of it is answered with an error";
    ROUTE_DETACHED "MESH1075" "A route names a Gateway none of whose listeners takes it";
    OLD_VERSION "MESH1076" "A cluster serves a kind in an older version only than the one that is known";
    REVISIONS "MESH1077" "Objects are for several revisions of a control plane; here all of them count";
    PROXY_VERSIONS "MESH1078" "Proxies are more than one minor version behind others";
    SOURCE_UNREADABLE "MESH2001" "The source cannot be read, or what it offers is not taken; what was taken before stays in force";
    SHADOWED "MESH2002" "Another source, which comes first, says something else of the same object";
    DIVERGES "MESH2003" "It is not what the source says that alone has the say about objects of its kind";
    RESTORED "MESH2004" "What was in force before a restart still is, as nothing newer could be read";
    NOT_KEPT "MESH2005" "The last good state cannot be put on disk";
    REWRITTEN "MESH2006" "The history was rewritten";
    LINK "MESH2007" "A symbolic link of a repository is not followed";
}

impl Code {
    /// What it means, in one line. Empty for a code that is not listed.
    #[must_use]
    pub fn means(self) -> &'static str {
        Self::ALL.iter().find(|(code, _)| *code == self).map_or("", |(_, means)| means)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_distinct_and_explained() {
        let distinct: BTreeSet<_> = Code::ALL.iter().map(|(code, _)| code).collect();
        assert_eq!(distinct.len(), Code::ALL.len());
        for (code, means) in Code::ALL {
            let number = code.0.strip_prefix("MESH").unwrap();
            assert!(number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit()), "{code}");
            assert_eq!(code.means(), *means);
            assert!(!means.ends_with('.') && means.len() < 120, "{means}");
        }
    }
}
