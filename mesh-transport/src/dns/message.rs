//! The messages of DNS (RFC 1035), as far as a proxy looks into them.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use mesh_core::name::Hostname;

use super::{Family, TTL};

/// Largest answer over UDP to a client that says nothing else (RFC 1035 section 4.2.1).
const UDP_BYTES: u16 = 512;

/// Largest answer over UDP whatever a client says: what passes without fragments nearly everywhere (RFC 9715).
const MAX_UDP_BYTES: u16 = 1400;

/// A client's question.
#[derive(Debug)]
pub struct Question {
    message: Message,
    /// The name, where it could be one of the mesh.
    pub name: Option<Hostname>,
    /// The family of addresses asked for; `None` for other types.
    pub family: Option<Family>,
}

/// How a question is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// With addresses, of the name itself or of the one that it stands for.
    Addresses {
        /// What the name stands for.
        alias: Option<Hostname>,
        /// The addresses.
        addresses: Vec<IpAddr>,
    },
    /// Not: nobody could be asked.
    ServerFailure,
    /// Not: this is no question.
    FormatError,
}

/// Reads a question. `None` for bytes that deserve no answer: what has no header, and what is an answer itself.
#[must_use]
pub fn parse_question(bytes: &[u8]) -> Option<Result<Question, Vec<u8>>> {
    // Two servers that answer each other's answers would never stop.
    let is_response = bytes.get(2)? & 0x80 != 0;
    if bytes.len() < 12 || is_response {
        return None;
    }
    let id = u16::from_be_bytes([bytes[0], bytes[1]]);
    let failure = |code| Message::error_msg(id, OpCode::Query, code).to_vec().unwrap_or_default();
    let Ok(message) = Message::from_vec(bytes) else { return Some(Err(failure(ResponseCode::FormErr))) };
    if message.metadata.op_code != OpCode::Query {
        return Some(Err(failure(ResponseCode::NotImp)));
    }
    let [query] = message.queries.as_slice() else { return Some(Err(failure(ResponseCode::FormErr))) };
    let family = match query.query_type {
        _ if query.query_class != DNSClass::IN => None,
        RecordType::A => Some(Family::V4),
        RecordType::AAAA => Some(Family::V6),
        _ => None,
    };
    let name = Hostname::parse(&query.name.to_ascii()).ok().filter(|name| !name.is_wildcard());
    Some(Ok(Question { name, family, message }))
}

impl Question {
    /// The type asked for, as text.
    #[must_use]
    pub fn kind(&self) -> String {
        self.message.queries.first().map(|query| query.query_type.to_string()).unwrap_or_default()
    }

    /// The bytes of an answer. Over UDP it is cut to what the client takes, and says so.
    #[must_use]
    pub fn answer(&self, reply: &Reply, udp: bool) -> Vec<u8> {
        let asked = &self.message;
        let mut answer = Message::new(asked.metadata.id, MessageType::Response, OpCode::Query);
        answer.metadata.recursion_desired = asked.metadata.recursion_desired;
        answer.metadata.recursion_available = true;
        answer.queries.clone_from(&asked.queries);
        match reply {
            Reply::Addresses { alias, addresses } => {
                answer.metadata.authoritative = true;
                self.records(&mut answer, alias.as_ref(), addresses);
            }
            Reply::ServerFailure => answer.metadata.response_code = ResponseCode::ServFail,
            Reply::FormatError => answer.metadata.response_code = ResponseCode::FormErr,
        }
        let takes = asked.edns.as_ref().map_or(UDP_BYTES, |edns| edns.max_payload().clamp(UDP_BYTES, MAX_UDP_BYTES));
        if asked.edns.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(MAX_UDP_BYTES);
            answer.edns = Some(edns);
        }
        let bytes = answer.to_vec().unwrap_or_default();
        if udp && bytes.len() > usize::from(takes) {
            return answer.truncate().to_vec().unwrap_or_default();
        }
        bytes
    }

    fn records(&self, answer: &mut Message, alias: Option<&Hostname>, addresses: &[IpAddr]) {
        let Some(query) = self.message.queries.first() else { return };
        let mut owner = query.name.clone();
        if let Some(alias) = alias
            && let Ok(name) = Name::from_ascii(format!("{alias}."))
        {
            answer.answers.push(Record::from_rdata(owner, TTL, RData::CNAME(CNAME(name.clone()))));
            owner = name;
        }
        answer.answers.extend(addresses.iter().map(|ip| {
            let data = match ip {
                IpAddr::V4(ip) => RData::A(A(*ip)),
                IpAddr::V6(ip) => RData::AAAA(AAAA(*ip)),
            };
            Record::from_rdata(owner.clone(), TTL, data)
        }));
    }
}
