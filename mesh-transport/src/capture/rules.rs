use std::fmt::Write as _;

use ipnet::IpNet;

/// The mark on the packets of a proxy (Istio's `PACKET_MARK`).
pub const PACKET_MARK: u32 = 1337;

/// The mark on connections that a proxy has made to an application, and the bits of marks that are ours.
const CONNECTION_MARK: u32 = 0x111;
const MARK_BITS: u32 = 0xfff;

/// Routing table and rule priority by which answers to a client's address come back to the proxy.
const ROUTE_TABLE: u32 = 100;
const RULE_PRIORITY: u32 = 32764;

/// From where a node's health probes come into pods (Istio's `HOST_PROBE_SNAT_IP` and its IPv6 brother).
const PROBES: [&str; 2] = ["169.254.7.127", "fd16:9254:7127:1337:ffff:ffff:ffff:ffff"];

/// Name of our table in every namespace.
const TABLE: &str = "mesh_capture";

/// Ports of a proxy to which traffic is redirected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// Out of the workload.
    pub outbound: u16,
    /// Plaintext into it.
    pub inbound_plaintext: u16,
    /// Tunnels into it; these arrive as they are.
    pub inbound_tunnel: u16,
    /// DNS questions; `None` leaves them alone.
    pub dns: Option<u16>,
}

impl Default for Ports {
    /// 15001, 15006, 15008 and 15053.
    fn default() -> Self {
        Self { outbound: 15001, inbound_plaintext: 15006, inbound_tunnel: 15008, dns: Some(15053) }
    }
}

/// What is redirected in one network namespace: the same for a pod and for a whole host.
///
/// TCP out of the namespace goes to the proxy's outbound port, TCP into it to its plaintext port unless it is a tunnel;
/// what the proxy itself sends, known by its mark, and what stays on loopback is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rules {
    /// The proxy's ports.
    pub ports: Ports,
    /// The proxy's mark.
    pub mark: u32,
    /// Whether IPv6 is redirected as well.
    pub ipv6: bool,
    /// Whether traffic into the namespace is redirected. A gateway, which is addressed itself, wants none of it.
    pub inbound: bool,
    /// Destination ports that applications reach without the proxy.
    pub exclude_outbound_ports: Vec<u16>,
    /// Destinations that applications reach without the proxy.
    pub exclude_outbound_ranges: Vec<IpNet>,
    /// Local ports that are reached without the proxy.
    pub exclude_inbound_ports: Vec<u16>,
    /// Devices whose traffic is that of machines behind them: it leaves through the outbound port.
    pub virtual_interfaces: Vec<String>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            ports: Ports::default(),
            mark: PACKET_MARK,
            ipv6: true,
            inbound: true,
            exclude_outbound_ports: Vec::new(),
            exclude_outbound_ranges: Vec::new(),
            exclude_inbound_ports: Vec::new(),
            virtual_interfaces: Vec::new(),
        }
    }
}

impl Rules {
    /// The script for `nft -f`: replaces what an earlier one made, in one transaction.
    #[must_use]
    pub fn nft(&self) -> String {
        let mut text = Self::nft_remove(false);
        let mine = format!("meta mark & {MARK_BITS:#x} == {:#x}", self.mark & MARK_BITS);
        let not_mine = format!("meta mark & {MARK_BITS:#x} != {:#x}", self.mark & MARK_BITS);
        let mut chain = |name: &str, hook: &str, rules: &[String]| {
            let _ = writeln!(text, "\tchain {name} {{\n\t\ttype {hook}; policy accept;");
            for rule in rules {
                let _ = writeln!(text, "\t\t{rule}");
            }
            text.push_str("\t}\n");
        };
        let keep = !MARK_BITS;
        chain(
            "mangle_prerouting",
            "filter hook prerouting priority mangle",
            &[format!("{mine} ct mark set ct mark & {keep:#x} | {CONNECTION_MARK:#x}")],
        );
        chain(
            "mangle_output",
            "route hook output priority mangle",
            &[format!("ct mark & {MARK_BITS:#x} == {CONNECTION_MARK:#x} meta mark set ct mark")],
        );
        chain("nat_prerouting", "nat hook prerouting priority dstnat", &self.nat_prerouting(&not_mine));
        chain("nat_output", "nat hook output priority -100", &self.nat_output(&not_mine));
        if self.ports.dns.is_some() {
            // The proxy asks from the application's own address, and must not share its conntrack entries.
            chain("raw_output", "filter hook output priority raw", &[format!("udp dport 53 {mine} ct zone set 1")]);
            chain(
                "raw_prerouting",
                "filter hook prerouting priority raw",
                &["iifname != \"lo\" udp sport 53 ct zone set 1".to_owned()],
            );
        }
        text.push_str("}\n");
        text
    }

    /// The script for `nft -f` that takes everything away again. Takes no offence when nothing is there.
    #[must_use]
    pub(super) fn nft_remove(only: bool) -> String {
        let head = format!("add table inet {TABLE}\ndelete table inet {TABLE}\n");
        if only { head } else { format!("{head}table inet {TABLE} {{\n") }
    }

    fn nat_prerouting(&self, not_mine: &str) -> Vec<String> {
        let mut rules: Vec<String> = self.probes("saddr");
        for device in &self.virtual_interfaces {
            rules.push(format!("iifname \"{device}\" meta l4proto tcp redirect to :{}", self.ports.outbound));
            rules.push(format!("iifname \"{device}\" return"));
        }
        if self.inbound {
            rules.extend(self.exclude_inbound_ports.iter().map(|port| format!("tcp dport {port} accept")));
            let (tunnel, plaintext) = (self.ports.inbound_tunnel, self.ports.inbound_plaintext);
            let redirect = format!("tcp dport != {tunnel} {not_mine} redirect to :{plaintext}");
            rules.push(format!("ip daddr != 127.0.0.1 {redirect}"));
            rules.extend(self.ipv6.then(|| format!("ip6 daddr != ::1 {redirect}")));
        }
        rules
    }

    fn nat_output(&self, not_mine: &str) -> Vec<String> {
        let mut rules: Vec<String> = self.probes("daddr");
        let families: &[&str] =
            if self.ipv6 { &["ip daddr != 127.0.0.1", "ip6 daddr != ::1"] } else { &["ip daddr != 127.0.0.1"] };
        if let Some(port) = self.ports.dns {
            for family in families {
                rules.push(format!("oifname != \"lo\" {family} udp dport 53 {not_mine} redirect to :{port}"));
                rules.push(format!("{family} tcp dport 53 {not_mine} redirect to :{port}"));
            }
        }
        rules.push(format!("meta l4proto tcp meta mark & {MARK_BITS:#x} == {CONNECTION_MARK:#x} accept"));
        rules.extend(families.iter().map(|family| format!("oifname \"lo\" {family} accept")));
        rules.extend(self.exclude_outbound_ports.iter().map(|port| format!("tcp dport {port} accept")));
        for range in &self.exclude_outbound_ranges {
            let family = if range.addr().is_ipv4() { "ip" } else { "ip6" };
            rules.push(format!("{family} daddr {} meta l4proto tcp accept", range.trunc()));
        }
        let outbound = self.ports.outbound;
        for family in families {
            rules.push(format!("{family} meta l4proto tcp {not_mine} redirect to :{outbound}"));
        }
        rules
    }

    fn probes(&self, side: &str) -> Vec<String> {
        let mut rules = vec![format!("ip {side} {} meta l4proto tcp accept", PROBES[0])];
        rules.extend(self.ipv6.then(|| format!("ip6 {side} {} meta l4proto tcp accept", PROBES[1])));
        rules
    }

    /// Arguments of `ip`, one list per call: the policy route by which answers of applications come back to the proxy,
    /// which has spoken to them from its clients' addresses. The first of each pair takes away what was there before, and
    /// may fail.
    #[must_use]
    pub fn routes(&self) -> Vec<Route> {
        let families: &[&str] = if self.ipv6 { &["-4", "-6"] } else { &["-4"] };
        let mut calls = Vec::new();
        for family in families {
            let everything = if *family == "-4" { "0.0.0.0/0" } else { "::/0" };
            let rule =
                format!("fwmark {CONNECTION_MARK:#x}/{MARK_BITS:#x} priority {RULE_PRIORITY} table {ROUTE_TABLE}");
            calls.push(Route { arguments: format!("{family} rule del {rule}"), may_fail: true });
            calls.push(Route { arguments: format!("{family} rule add {rule}"), may_fail: false });
            let route = format!("{family} route replace local {everything} dev lo table {ROUTE_TABLE}");
            calls.push(Route { arguments: route, may_fail: false });
        }
        calls
    }

    /// The calls of `ip` that take the policy routes away.
    pub(super) fn routes_remove() -> Vec<Route> {
        let rule = format!("fwmark {CONNECTION_MARK:#x}/{MARK_BITS:#x} priority {RULE_PRIORITY} table {ROUTE_TABLE}");
        ["-4", "-6"]
            .into_iter()
            .flat_map(|family| {
                [format!("{family} rule del {rule}"), format!("{family} route flush table {ROUTE_TABLE}")]
            })
            .map(|arguments| Route { arguments, may_fail: true })
            .collect()
    }

    /// Everything as a person would type it: for a dry run.
    #[must_use]
    pub fn script(&self) -> String {
        let mut text = format!("nft -f - <<'END'\n{}END\n", self.nft());
        for route in self.routes() {
            let _ = writeln!(text, "ip {}{}", route.arguments, if route.may_fail { " || true" } else { "" });
        }
        text
    }
}

/// One call of `ip`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its arguments, separated by spaces.
    pub arguments: String,
    /// Whether a failure means nothing.
    pub may_fail: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pods_rules() {
        let script = Rules::default().script();
        for wanted in [
            "add table inet mesh_capture\ndelete table inet mesh_capture\ntable inet mesh_capture {",
            "meta mark & 0xfff == 0x539 ct mark set ct mark & 0xfffff000 | 0x111",
            "ip daddr != 127.0.0.1 tcp dport != 15008 meta mark & 0xfff != 0x539 redirect to :15006",
            "ip6 daddr != ::1 meta l4proto tcp meta mark & 0xfff != 0x539 redirect to :15001",
            "oifname != \"lo\" ip daddr != 127.0.0.1 udp dport 53 meta mark & 0xfff != 0x539 redirect to :15053",
            "ip -4 rule add fwmark 0x111/0xfff priority 32764 table 100",
            "ip -6 route replace local ::/0 dev lo table 100",
        ] {
            assert!(script.contains(wanted), "{wanted} is not in\n{script}");
        }
    }

    #[test]
    fn what_is_left_out_leaves_no_trace() {
        let mut rules = Rules { ipv6: false, inbound: false, ..Rules::default() };
        rules.ports.dns = None;
        rules.exclude_outbound_ports = vec![22];
        rules.exclude_outbound_ranges = vec!["10.1.2.3/8".parse().unwrap()];
        rules.virtual_interfaces = vec!["tap0".to_owned()];
        let script = rules.script();
        for absent in ["ip6", "-6", "15006", "15053", "ct zone"] {
            assert!(!script.contains(absent), "{absent} is in\n{script}");
        }
        for wanted in ["tcp dport 22 accept", "ip daddr 10.0.0.0/8 meta l4proto tcp accept", "iifname \"tap0\" return"]
        {
            assert!(script.contains(wanted), "{wanted} is not in\n{script}");
        }
    }
}
